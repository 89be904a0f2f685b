//! How the task that polls a group (or a handle's `feed`) is told that there is work.
//!
//! # Invariants
//!
//! - `RUNG` is set from the moment somebody rings until the one who polls takes it. While
//!   it is set, further rings wake nobody: the task knows already.
//! - `OPEN` is set while the task is inside its poll. A ring then only sets `RUNG`, since
//!   the poll looks once more before it ends, or wakes its task as it ends; so work that a poll makes for itself (a child
//!   that wakes its neighbour) costs the task no wake-up.
//! - A bell that is muted stays `OPEN`: a group that has resolved or is being dropped.
//! - Whoever ends a poll with `Pending` while `RUNG` is set wakes its own task. So a set
//!   `RUNG` outside of a poll means: the task has been woken, or will poll anyway.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use core::task::{Context, Waker};

use futures_util::task::AtomicWaker;

/// Set by a ring, cleared by the poll that answers it.
const RUNG: u8 = 1;
/// Set while the task polls.
const OPEN: u8 = 2;

#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Bell {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Says that there is work; wakes the task unless it polls now or was woken before.
    pub(crate) fn ring(&self) {
        // Release: what was done before the ring is seen by the poll that takes it.
        if self.state.fetch_or(RUNG, Ordering::AcqRel) == 0 {
            self.task.wake();
        }
    }

    /// Begins a poll: later rings reach the task of `cx`.
    pub(crate) fn open(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
        self.state.fetch_or(OPEN, Ordering::AcqRel);
    }

    /// Lets no ring through any more, and lets go of the task: there will be no work.
    pub(crate) fn mute(&self) {
        self.state.fetch_or(OPEN, Ordering::Relaxed);
        drop(self.task.take());
    }

    /// Whether somebody has rung since the last call.
    pub(crate) fn take(&self) -> bool {
        // The load first: most calls find nothing and need no exclusive cache line.
        // Acquire pairs with the release of `ring`.
        self.state.load(Ordering::Acquire) & RUNG != 0
            && self.state.fetch_and(!RUNG, Ordering::AcqRel) & RUNG != 0
    }

    /// Whether somebody has rung since the last [`take`](Self::take).
    pub(crate) fn is_rung(&self) -> bool {
        self.state.load(Ordering::Acquire) & RUNG != 0
    }

    /// Ends a poll. Where it ends with `Pending` and somebody rang after the last look, the
    /// task is woken.
    pub(crate) fn close(&self, cx: &Context<'_>, pending: bool) {
        if self.state.fetch_and(!OPEN, Ordering::AcqRel) & RUNG != 0 && pending {
            cx.waker().wake_by_ref();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// The waker of one future that stands beside the children (a scope's body, a feed's
/// stream): remembers that it was woken, so that it is polled only then.
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

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }
}
