//! The waker of the task that polls a group (or a handle's `feed`), which also tells which of the
//! first blocks of children have something to do.
//!
//! # Invariants
//!
//! - `NOTIFIED` is set from a notification until the poll takes it. While it is set, further
//!   notifications wake no task, since the task is woken already or is polling. A block's bit is
//!   never set without it.
//! - `POLLING` is set while the task is inside its poll. A notification then only sets `NOTIFIED`,
//!   since the poll looks once more before it ends, or wakes its task as it ends. So work that a
//!   poll makes for itself (a child that wakes another one) costs the task no wake-up.
//! - A disarmed waker stays `POLLING`: that of a group that has resolved or is being dropped.
//! - A poll that ends with `Pending` while `NOTIFIED` is set wakes its own task. So if `NOTIFIED`
//!   is set outside of a poll, the task has been woken, or will poll anyway.

use core::task::Context;

use crate::util::sync::{Arc, AtomicUsize, Ordering};
use crate::util::task_waker::TaskWaker;

/// Set by a notification, cleared by the poll that takes it.
const NOTIFIED: usize = 1;
/// Set while the task polls.
const POLLING: usize = 2;

/// How many blocks have a bit of their own.
pub(crate) const DIRECT_BLOCKS: usize = usize::BITS as usize - 2;

#[derive(Debug)]
pub struct ParentWaker {
    /// `NOTIFIED`, `POLLING`, and a bit for each block.
    state: AtomicUsize,
    task: TaskWaker,
}

/// What a poll has taken of the state: `NOTIFIED`, and the bits of the blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadyBlocks(usize);

// === impl ParentWaker ===

impl ParentWaker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicUsize::new(0), task: TaskWaker::new() })
    }

    /// Returns what a group is known by while one of its children is polled.
    pub(crate) fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Notifies of work. Wakes the task unless it is polling or has been woken already.
    pub(crate) fn notify(&self) {
        self.set(NOTIFIED);
    }

    /// Notifies of work in a block; its number is below [`DIRECT_BLOCKS`].
    pub(crate) fn notify_block(&self, block: u8) {
        self.set(NOTIFIED | 1 << (block + 2));
    }

    fn set(&self, bits: usize) {
        // Release: the poll that takes the bits sees what was done before they were set.
        if self.state.fetch_or(bits, Ordering::AcqRel) & (NOTIFIED | POLLING) == 0 {
            self.task.wake();
        }
    }

    /// Begins a poll: later notifications reach the task of `cx`. Takes the earlier ones.
    ///
    /// If the clone of the task's waker panics, nothing has been taken.
    pub(crate) fn begin_poll(&self, cx: &Context<'_>) -> ReadyBlocks {
        if self.is_notified() {
            // The notification has taken the last waker, or is about to.
            self.task.replace(cx.waker());
        } else {
            self.task.register(cx.waker());
        }
        // It is this exchange that loses no notification, however the task is registered: one
        // before it is taken here, and acquired; one after it finds `POLLING`, and is seen by
        // `end_poll` at the latest; one after `end_poll` thereby sees the task that was
        // registered above. An earlier one may take that task's waker, too, and wakes it then.
        ReadyBlocks(self.state.swap(POLLING, Ordering::AcqRel) & !POLLING)
    }

    /// Lets no notification through any more, and drops the task's waker: there will be no work.
    pub(crate) fn disarm(&self) {
        self.state.fetch_or(POLLING, Ordering::Relaxed);
        self.task.clear();
    }

    /// Takes the notifications since the last call.
    pub(crate) fn take_ready(&self) -> ReadyBlocks {
        // The load first: most calls find nothing and need no exclusive cache line.
        if !self.is_notified() {
            return ReadyBlocks::default();
        }
        // Acquire pairs with the release of `set`.
        ReadyBlocks(self.state.fetch_and(POLLING, Ordering::AcqRel) & !POLLING)
    }

    /// Returns the notifications since the last [`take_ready`](Self::take_ready), and leaves them.
    pub(crate) fn peek_ready(&self) -> ReadyBlocks {
        ReadyBlocks(self.state.load(Ordering::Relaxed) & !POLLING)
    }

    /// Returns `true` if there was a notification since the last [`take_ready`](Self::take_ready).
    pub(crate) fn is_notified(&self) -> bool {
        self.state.load(Ordering::Relaxed) & NOTIFIED != 0
    }

    /// Ends a poll. If it ends with `Pending` and there was a notification after the last look,
    /// wakes the task.
    pub(crate) fn end_poll(&self, cx: &Context<'_>, pending: bool) {
        if self.state.fetch_and(!POLLING, Ordering::AcqRel) & NOTIFIED != 0 && pending {
            cx.waker().wake_by_ref();
        }
    }
}

// === impl ReadyBlocks ===

impl ReadyBlocks {
    /// Returns `true` if there was a notification, of a block or without one.
    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    /// Returns the blocks that have work, a bit each.
    pub(crate) fn blocks(self) -> usize {
        self.0 >> 2
    }

    pub(crate) fn merge(self, later: Self) -> Self {
        Self(self.0 | later.0)
    }
}
