//! The crate's `util`, with the model's own [`sync`] below it.

mod arc;
#[allow(dead_code)]
#[path = "../../src/util/digest_table.rs"]
pub(crate) mod digest_table;
#[allow(dead_code)]
#[path = "../../src/util/lock.rs"]
pub(crate) mod lock;
#[allow(dead_code)]
#[path = "../../src/util/panic.rs"]
pub(crate) mod panic;
#[allow(dead_code)]
#[path = "../../src/util/parent_waker.rs"]
pub(crate) mod parent_waker;
#[allow(dead_code)]
#[path = "../../src/util/rare_box.rs"]
pub(crate) mod rare_box;
#[allow(dead_code)]
#[path = "../../src/util/slab.rs"]
pub(crate) mod slab;
#[allow(dead_code)]
#[path = "../../src/util/sparse_queue.rs"]
pub(crate) mod sparse_queue;
pub(crate) mod sync;
#[allow(dead_code)]
#[path = "../../src/util/task_waker.rs"]
pub(crate) mod task_waker;
#[path = "../../src/util/wake_all.rs"]
pub(crate) mod wake_all;

#[allow(dead_code)]
#[path = "../../src/util/wake_flag.rs"]
pub(crate) mod wake_flag;

/// The threads of the model are one thread of the system, and would share its thread-locals.
pub(crate) mod current {
    pub(crate) struct Entered;

    pub(crate) fn enter(_: usize) -> Entered {
        Entered
    }

    impl Entered {
        pub(crate) fn poll<R>(&self, _: usize, poll: impl FnOnce() -> R) -> R {
            poll()
        }
    }

    pub(crate) fn current_child(_: usize) -> Option<usize> {
        None
    }
}
#[allow(dead_code)]
#[path = "../../src/util/wake_state.rs"]
pub(crate) mod wake_state;
