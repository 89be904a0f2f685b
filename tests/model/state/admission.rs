//! The parts of the crate's `admission` that make up its `State`.

#[path = "../../../src/admission/ended.rs"]
mod ended;
#[path = "../../../src/admission/events.rs"]
mod events;
#[path = "../../../src/admission/joins.rs"]
mod joins;
#[path = "../../../src/admission/keys.rs"]
mod keys;
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

/// The state only keeps the event of the group's end.
mod closed {
    #[derive(Default)]
    pub(crate) struct ClosedEvent;
}
