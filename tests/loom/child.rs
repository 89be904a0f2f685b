//! The crate's `child`, as far as the state and a joinable child need it.

#[allow(dead_code)]
#[path = "../../src/child/ask.rs"]
pub(crate) mod ask;
#[allow(dead_code)]
#[path = "../../src/child/join.rs"]
pub(crate) mod join;
#[allow(dead_code)]
#[path = "../../src/child/task.rs"]
pub(crate) mod task;

#[allow(dead_code)]
pub(crate) mod set {
    use crate::observe::Outcome;

    /// Where spawned children report their ends.
    pub(crate) trait EndReports: Send + Sync {
        fn note(&self, note: &mut dyn FnMut(usize, Outcome));
    }
}
