//! Small tools that know nothing of groups: locks, wakers, collections, caught panics.

pub(crate) mod current;
pub(crate) mod digest_table;
pub(crate) mod dropped_by;
pub(crate) mod flagged;
pub(crate) mod in_order;
pub(crate) mod lock;
pub(crate) mod nesting;
pub(crate) mod panic;
pub(crate) mod parent_waker;
pub(crate) mod rare_box;
pub(crate) mod slab;
pub(crate) mod sparse_queue;
pub(crate) mod sync;
pub(crate) mod task_waker;
pub(crate) mod wake_all;
pub(crate) mod wake_flag;
pub(crate) mod wake_state;
