//! The crate's `util`, with shuttle's own [`sync`] below it.

pub(crate) mod current;
#[path = "../../src/util/digest_table.rs"]
pub(crate) mod digest_table;
#[path = "../../src/util/dropped_by.rs"]
pub(crate) mod dropped_by;
#[path = "../../src/util/flagged.rs"]
pub(crate) mod flagged;
#[path = "../../src/util/in_order.rs"]
pub(crate) mod in_order;
pub(crate) mod lock;
pub(crate) mod nesting;
#[path = "../../src/util/panic.rs"]
pub(crate) mod panic;
#[path = "../../src/util/parent_waker.rs"]
pub(crate) mod parent_waker;
#[allow(dead_code)]
#[path = "../../src/util/rare_box.rs"]
pub(crate) mod rare_box;
#[path = "../../src/util/slab.rs"]
pub(crate) mod slab;
#[path = "../../src/util/sparse_queue.rs"]
pub(crate) mod sparse_queue;
pub(crate) mod sync;
#[path = "../../src/util/task_waker.rs"]
pub(crate) mod task_waker;
#[path = "../../src/util/wake_all.rs"]
pub(crate) mod wake_all;
#[path = "../../src/util/wake_flag.rs"]
pub(crate) mod wake_flag;
#[path = "../../src/util/wake_state.rs"]
pub(crate) mod wake_state;
