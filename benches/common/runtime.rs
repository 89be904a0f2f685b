//! The runtimes of the peers that need one, made before the clock runs.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

use super::block_on::idle;

/// Runs its tasks on the thread that waits for them, as the peers without a runtime do.
pub(crate) static ONE_THREAD: LazyLock<Runtime> = LazyLock::new(|| {
    let idle = || {
        idle();
    };
    Builder::new_current_thread().on_thread_park(idle).build().expect("a runtime")
});

/// Runs futures on the thread that waits for them, and has timers.
pub(crate) static WITH_TIMER: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));

/// Runs its tasks on two threads.
pub(crate) static TWO_THREADS: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).build().expect("a runtime"));
