//! A minimal executor. All peers that need no runtime are polled by it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

thread_local! {
    // Made once for each thread, so that no workload pays for it.
    static PARKER: Arc<Parker> =
        Arc::new(Parker { thread: thread::current(), woken: AtomicBool::new(false) });
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let parker = PARKER.with(Arc::clone);
    let waker = Waker::from(Arc::clone(&parker));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        while !parker.woken.swap(false, Ordering::AcqRel) {
            if !idle() {
                thread::park();
            }
        }
    }
}

/// Does something while no task is awake. Returns `true` if it did.
type Hook = Box<dyn FnMut() -> bool>;

thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

/// Sets a hook that this thread calls before it parks, as a reactor is asked for events.
pub(crate) fn when_idle(hook: impl FnMut() -> bool + 'static) {
    HOOK.set(Some(Box::new(hook)));
}

pub(crate) fn idle() -> bool {
    HOOK.with_borrow_mut(|hook| hook.as_mut().is_some_and(|hook| hook()))
}
