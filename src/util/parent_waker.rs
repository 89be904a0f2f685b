//! How the task that polls a group (or a handle's `feed`) is told that there is work, and by
//! which of the first blocks of children.
//!
//! # Invariants
//!
//! - `NOTIFIED` is set from the moment somebody rings until the one who polls takes it. While
//!   it is set, further rings wake nobody: the task knows already. A block is never set
//!   without it.
//! - `POLLING` is set while the task is inside its poll. A ring then only sets `NOTIFIED`, since
//!   the poll looks once more before it ends, or wakes its task as it ends; so work that a
//!   poll makes for itself (a child that wakes its neighbour) costs the task no wake-up.
//! - A bell that is muted stays `POLLING`: a group that has resolved or is being dropped.
//! - Whoever ends a poll with `Pending` while `NOTIFIED` is set wakes its own task. So a set
//!   `NOTIFIED` outside of a poll means: the task has been woken, or will poll anyway.

use core::task::Context;

use crate::util::sync::{Arc, AtomicUsize, AtomicWaker, Ordering};

/// Set by a ring, cleared by the poll that answers it.
const NOTIFIED: usize = 1;
/// Set while the task polls.
const POLLING: usize = 2;

/// How many blocks can ring by name.
pub(crate) const DIRECT_BLOCKS: usize = usize::BITS as usize - 2;

#[derive(Debug)]
pub(crate) struct ParentWaker {
    /// `NOTIFIED`, `POLLING`, and a bit for each block.
    state: AtomicUsize,
    task: AtomicWaker,
}

/// What has rung.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadyBlocks(usize);

// === impl Bell ===

impl ParentWaker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicUsize::new(0), task: AtomicWaker::new() })
    }

    /// Says that there is work; wakes the task unless it polls now or was woken before.
    pub(crate) fn notify(&self) {
        self.set(NOTIFIED);
    }

    /// Rings for a block, which is below [`DIRECT_BLOCKS`].
    pub(crate) fn notify_block(&self, block: u8) {
        self.set(NOTIFIED | 1 << (block + 2));
    }

    fn set(&self, bits: usize) {
        // Release: what was done before the ring is seen by the poll that takes it.
        if self.state.fetch_or(bits, Ordering::AcqRel) & (NOTIFIED | POLLING) == 0 {
            self.task.wake();
        }
    }

    /// Begins a poll: later rings reach the task of `cx`. Takes what has rung before.
    pub(crate) fn begin_poll(&self, cx: &Context<'_>) -> ReadyBlocks {
        // It is this exchange that loses no ring, whatever the registration is made of: a ring
        // before it is taken here, and acquired; one after it finds `POLLING` and is seen by the
        // close at the latest; one after the close sees by that who is registered.
        let before = self.state.swap(POLLING, Ordering::AcqRel);
        self.task.register(cx.waker());
        ReadyBlocks(before & !POLLING)
    }

    /// Lets no ring through any more, and lets go of the task: there will be no work.
    pub(crate) fn disarm(&self) {
        self.state.fetch_or(POLLING, Ordering::Relaxed);
        drop(self.task.take());
    }

    /// Takes what has rung since the last call.
    pub(crate) fn take_ready(&self) -> ReadyBlocks {
        // The load first: most calls find nothing and need no exclusive cache line.
        if !self.is_notified() {
            return ReadyBlocks::default();
        }
        // Acquire pairs with the release of `set`.
        ReadyBlocks(self.state.fetch_and(POLLING, Ordering::AcqRel) & !POLLING)
    }

    /// Whether somebody has rung since the last [`take`](Self::take).
    pub(crate) fn is_notified(&self) -> bool {
        self.state.load(Ordering::Relaxed) & NOTIFIED != 0
    }

    /// Ends a poll. Where it ends with `Pending` and somebody rang after the last look, the
    /// task is woken.
    pub(crate) fn end_poll(&self, cx: &Context<'_>, pending: bool) {
        if self.state.fetch_and(!POLLING, Ordering::AcqRel) & NOTIFIED != 0 && pending {
            cx.waker().wake_by_ref();
        }
    }
}

// === impl News ===

impl ReadyBlocks {
    /// Whether anybody rang.
    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    /// The blocks that rang by name, a bit each.
    pub(crate) fn blocks(self) -> usize {
        self.0 >> 2
    }

    pub(crate) fn merge(self, later: Self) -> Self {
        Self(self.0 | later.0)
    }
}
