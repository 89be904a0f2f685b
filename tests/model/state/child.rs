//! The options of a child.

#[path = "../../../src/child/task.rs"]
pub(crate) mod task;
