//! The options of a child.

#[path = "../../../src/child/ask.rs"]
pub(crate) mod ask;
#[path = "../../../src/child/join.rs"]
pub(crate) mod join;
#[path = "../../../src/child/task.rs"]
pub(crate) mod task;
