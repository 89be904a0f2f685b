//! The crate's `util`, as far as the state needs it.

#[path = "../../../src/util/current.rs"]
pub(crate) mod current;
#[path = "../../../src/util/digest_table.rs"]
pub(crate) mod digest_table;
#[path = "../../../src/util/lock.rs"]
pub(crate) mod lock;
#[path = "../../../src/util/panic.rs"]
pub(crate) mod panic;
#[path = "../../../src/util/parent_waker.rs"]
pub(crate) mod parent_waker;
#[allow(dead_code)]
#[path = "../../../src/util/rare_box.rs"]
pub(crate) mod rare_box;
#[path = "../../../src/util/slab.rs"]
pub(crate) mod slab;
#[path = "../../../src/util/sparse_queue.rs"]
pub(crate) mod sparse_queue;
#[path = "../../../src/util/sync.rs"]
pub(crate) mod sync;
#[path = "../../../src/util/task_waker.rs"]
pub(crate) mod task_waker;
#[path = "../../../src/util/wake_flag.rs"]
pub(crate) mod wake_flag;
#[path = "../../../src/util/wake_state.rs"]
pub(crate) mod wake_state;
