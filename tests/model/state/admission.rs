//! The parts of the crate's `admission` that make up its `State`.

#[path = "../../../src/admission/ended.rs"]
mod ended;
#[path = "../../../src/admission/events.rs"]
mod events;
#[path = "../../../src/admission/joins.rs"]
mod joins;
#[path = "../../../src/admission/load.rs"]
mod load;
#[path = "../../../src/admission/nested.rs"]
mod nested;
#[path = "../../../src/admission/passes.rs"]
pub(crate) mod passes;
#[path = "../../../src/admission/permits.rs"]
pub(crate) mod permits;
#[path = "../../../src/admission/queue.rs"]
pub(crate) mod queue;
#[path = "../../../src/admission/state.rs"]
pub(crate) mod state;

/// What the state keeps for snapshots; here there are none.
mod inspector {
    use std::sync::Arc;

    pub(crate) struct Inspector;

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Probed {
        pub(crate) polls: usize,
        pub(crate) is_woken: bool,
        pub(crate) is_polled: bool,
        pub(crate) is_unfetched: bool,
        pub(crate) is_completed: bool,
    }

    impl Inspector {
        pub(crate) fn start(&self, _: usize) {}
        pub(crate) fn finish(&self, _: usize) {}
        pub(crate) fn finish_unfetched(&self, _: usize) {}
        pub(crate) fn complete(&self, _: usize) {}
        pub(crate) fn clear(&self) {}
        pub(crate) fn look(&self, _: usize) -> Option<Probed> {
            None
        }
    }
}

/// The state only keeps the event of the group's end.
mod closed {
    #[derive(Default)]
    pub(crate) struct ClosedEvent;
}
