//! Wakers that end in a bell.

use core::task::Waker;

use crate::bell::Bell;
use crate::sync::{Arc, ArcWake, AtomicBool, Ordering, waker};

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.ring();
    }
}

/// The waker of one future that stands beside the children (a scope's body, a feed's
/// stream, a deadline): remembers that it was woken, so that it is polled only then.
#[derive(Debug)]
pub(crate) struct Signal {
    woken: AtomicBool,
    bell: Arc<Bell>,
}

impl Signal {
    /// A signal that counts as woken, so that its future gets its first poll.
    pub(crate) fn new(bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self { woken: AtomicBool::new(true), bell })
    }

    /// Whether it was woken since the last call.
    pub(crate) fn take(&self) -> bool {
        // Acquire pairs with the release of the wake.
        self.woken.load(Ordering::Acquire) && self.woken.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Rings no more: what it was for is gone.
    pub(crate) fn mute(&self) {
        self.woken.store(true, Ordering::Relaxed);
    }

    pub(crate) fn waker(this: &Arc<Self>) -> Waker {
        waker(Arc::clone(this))
    }
}

impl ArcWake for Signal {
    fn wake_by_ref(signal: &Arc<Self>) {
        if !signal.woken.swap(true, Ordering::AcqRel) {
            signal.bell.ring();
        }
    }
}
