//! Wakers that end in a [`ParentWaker`].

use core::task::Waker;

use crate::util::parent_waker::ParentWaker;
use crate::util::sync::{Arc, ArcWake, AtomicBool, Ordering, waker};

/// Notifies the group's task.
struct Notifier(Arc<ParentWaker>);

impl ArcWake for Notifier {
    fn wake_by_ref(notifier: &Arc<Self>) {
        notifier.0.notify();
    }
}

/// Returns a waker that notifies the group's task.
pub(crate) fn notifier(parent: &Arc<ParentWaker>) -> Waker {
    waker(Arc::new(Notifier(Arc::clone(parent))))
}

/// The waker of one future that is polled besides the children (a scope's body, a feed's
/// stream, a deadline). It remembers that it was woken, so that the future is polled only then.
#[derive(Debug)]
pub(crate) struct WakeFlag {
    woken: AtomicBool,
    parent: Arc<ParentWaker>,
}

impl WakeFlag {
    /// Returns a flag that counts as woken, so that its future gets its first poll.
    pub(crate) fn new(parent: Arc<ParentWaker>) -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), parent })
    }

    /// Returns `true` if it was woken since the last call.
    pub(crate) fn take_woken(&self) -> bool {
        // Acquire pairs with the release of the wake-up.
        self.woken.load(Ordering::Acquire) && self.woken.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Notifies the parent no more: the future is gone.
    pub(crate) fn disarm(&self) {
        self.woken.store(true, Ordering::Relaxed);
    }

    pub(crate) fn waker(this: &Arc<Self>) -> Waker {
        waker(Arc::clone(this))
    }
}

impl ArcWake for WakeFlag {
    fn wake_by_ref(flag: &Arc<Self>) {
        if !flag.woken.swap(true, Ordering::AcqRel) {
            flag.parent.notify();
        }
    }
}
