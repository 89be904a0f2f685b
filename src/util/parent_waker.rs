//! The waker of the task that polls a group (or a handle's `feed`), which also tells which of the
//! first blocks of children have something to do, and which children of the very first one.
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
//! - `MARKED` is set only while `NOTIFIED` is and `POLLING` is not, and a poll clears it. So if it
//!   is there outside of a poll, the task has not polled since. Several watchers may leave it: each
//!   knows by `cleared_marks` if it is still its own.
//! - A poll that ends with `Pending` while `NOTIFIED` is set wakes its own task. So if `NOTIFIED`
//!   is set outside of a poll, the task has been woken, or will poll anyway.
//! - Only the owner's thread uses `taken`. If `taken` is not 0 at the end of a poll, the poll sets
//!   `NOTIFIED` as it ends.

use core::task::Context;

use crate::util::panic::{catch, discard, resume};
use crate::util::sync::{Arc, ArcWake, AtomicU32, AtomicUsize, Ordering};
use crate::util::task_waker::TaskWaker;
use crate::util::wake_state::WakeState;

/// Set by a notification, or by a poll that leaves work; cleared by the poll that takes it.
const NOTIFIED: usize = 1;
/// Set while the task polls.
const POLLING: usize = 2;

/// Set by a watcher while the task is notified and does not poll. The beginning of a poll, and
/// whatever else takes `NOTIFIED`, clears it.
const MARKED: usize = 4;

/// The position of the first block's bit.
const FIRST_BLOCK: u8 = 3;

/// How many blocks, or regions of blocks, have a bit of their own.
pub(crate) const BLOCK_BITS: usize = usize::BITS as usize - FIRST_BLOCK as usize;

#[derive(Debug, Default)]
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub struct ParentWaker {
    /// `NOTIFIED`, `POLLING`, `MARKED`, and a bit for each block.
    state: AtomicUsize,
    /// What the beginning of the poll has taken of these bits, until it is asked for; `NOTIFIED` if
    /// the poll leaves work to the next one.
    taken: AtomicUsize,
    task: TaskWaker,
    /// The ready bits of the first block.
    first_bits: AtomicUsize,
    /// For the child of the first block to which this is lent as its waker.
    first_waker: WakeState,
    /// How often `MARKED` was found by what clears it.
    cleared_marks: AtomicU32,
}

/// By what a mark is known that was left on a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(u32);

/// What a poll has taken of the state: `NOTIFIED`, and the bits of the blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadyBlocks(usize);

// === impl ParentWaker ===

impl ParentWaker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// How many references a group without handles has to it: its own and its set's.
    pub(crate) const OWNERS: usize = 2;

    /// Returns what identifies the group while one of its children is polled or spawned.
    pub(crate) fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Notifies of work. Wakes the task unless it is polling or has been woken already.
    pub(crate) fn notify(&self) {
        self.set(NOTIFIED);
    }

    /// Notifies of work in the block, or region, that has that bit; it is below [`BLOCK_BITS`].
    pub(crate) fn notify_block(&self, bit: u8) {
        self.set(NOTIFIED | 1 << (bit + FIRST_BLOCK));
    }

    /// Notifies of work in a slot of the first block.
    #[inline]
    pub(crate) fn set_first_bit(&self, bit: u8) {
        // Release: a thread that takes the bit sees the waker's `woken`.
        if self.first_bits.fetch_or(1 << bit, Ordering::AcqRel) == 0 {
            self.notify_block(0);
        }
    }

    /// Takes the ready bits of the first block that were set since the last call.
    pub(crate) fn take_first_bits(&self) -> usize {
        take_bits(&self.first_bits)
    }

    /// Returns the ready bits of the first block that are set now.
    pub(crate) fn peek_first_bits(&self) -> usize {
        self.first_bits.load(Ordering::Relaxed)
    }

    pub(crate) fn first_waker(&self) -> &WakeState {
        &self.first_waker
    }

    fn set(&self, bits: usize) {
        // Release: the poll that takes the bits sees what was done before they were set.
        if self.state.fetch_or(bits, Ordering::AcqRel) & (NOTIFIED | POLLING) == 0 {
            self.task.wake();
        }
    }

    /// Begins a poll: until it ends, notifications wake no task.
    pub(crate) fn begin_poll(&self) {
        #[cfg(errgroup_watch)]
        let _ = self.mark_starved();
        // Acquire pairs with the release of `set`.
        let before = self.state.swap(POLLING, Ordering::AcqRel);
        self.count_mark(before);
        let bits = before & !(POLLING | MARKED);
        if bits != 0 {
            self.taken.store(self.taken.load(Ordering::Relaxed) | bits, Ordering::Relaxed);
        }
    }

    /// Leaves work to the next poll of the task, which this poll wakes as it ends.
    pub(crate) fn leave_work(&self) {
        self.taken.store(self.taken.load(Ordering::Relaxed) | NOTIFIED, Ordering::Relaxed);
    }

    /// Counts the mark that is cleared, if there was one in that state.
    #[inline]
    fn count_mark(&self, state: usize) {
        if state & MARKED != 0 {
            // The end of the poll, or a later notification, releases it.
            self.cleared_marks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets no notification through any more, and drops the task's waker: there will be no work.
    pub(crate) fn disarm(&self) {
        self.state.fetch_or(POLLING, Ordering::Relaxed);
        self.task.clear();
    }

    /// Takes the notifications since the last call.
    pub(crate) fn take_ready(&self) -> ReadyBlocks {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken != 0 {
            self.taken.store(0, Ordering::Relaxed);
        }
        // The load first: most calls find nothing and need no exclusive cache line.
        if self.state.load(Ordering::Relaxed) & NOTIFIED == 0 {
            return ReadyBlocks(taken);
        }
        // Acquire pairs with the release of `set`.
        let before = self.state.fetch_and(POLLING, Ordering::AcqRel);
        if before & POLLING == 0 {
            // A `go` drives the children between two polls.
            self.count_mark(before);
        }
        ReadyBlocks(taken | (before & !(POLLING | MARKED)))
    }

    /// Returns the notifications since the last [`take_ready`](Self::take_ready), and leaves them.
    pub(crate) fn peek_ready(&self) -> ReadyBlocks {
        let (state, taken) = (&self.state, &self.taken);
        let bits = state.load(Ordering::Relaxed) | taken.load(Ordering::Relaxed);
        ReadyBlocks(bits & !(POLLING | MARKED))
    }

    /// Returns `true` if there was a notification since the last [`take_ready`](Self::take_ready).
    #[inline]
    pub(crate) fn is_notified(&self) -> bool {
        self.peek_ready().any()
    }

    /// Returns `true` if the task is inside its poll.
    pub(crate) fn is_polling(&self) -> bool {
        self.state.load(Ordering::Relaxed) & POLLING != 0
    }

    /// Returns `true` if there was a notification, and the task has not polled since.
    pub(crate) fn is_starved(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (NOTIFIED | POLLING) == NOTIFIED
    }

    /// Leaves a mark if the task [starves](Self::is_starved), which its next poll removes. Returns
    /// by what the mark is known, or `None` if the task does not starve.
    pub(crate) fn mark_starved(&self) -> Option<Mark> {
        let mark = Mark(self.cleared_marks.load(Ordering::Relaxed));
        // In one step: a mark that is left during a poll would outlast it.
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (NOTIFIED | POLLING | MARKED) == NOTIFIED {
            let marked = state | MARKED;
            // Relaxed: a read-modify-write, which hides nothing that was released before.
            let (set, failed) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.state.compare_exchange(state, marked, set, failed) {
                Ok(_) => return Some(mark),
                Err(changed) => state = changed,
            }
        }
        // Another watcher may have left it.
        (state & (POLLING | MARKED) == MARKED).then_some(mark)
    }

    /// Returns `true` if the task has starved since that [mark](Self::mark_starved) was left.
    pub(crate) fn is_marked(&self, mark: Mark) -> bool {
        let bits = NOTIFIED | POLLING | MARKED;
        // Acquire: if the mark is a later one, the count of those that were cleared is, too.
        self.state.load(Ordering::Acquire) & bits == NOTIFIED | MARKED
            && self.cleared_marks.load(Ordering::Relaxed) == mark.0
    }

    /// Ends a poll. If it ends with `Pending`, later notifications wake the task of `cx`, and one
    /// after the last look wakes it now. If it ends with an answer, later ones wake that task if it
    /// `goes_on_polling`, else the one that was registered last.
    ///
    /// If the clone of the task's waker panics, the task that was registered last stays so; a poll
    /// that has an answer gives it.
    pub(crate) fn end_poll(&self, cx: &Context<'_>, (pending, goes_on_polling): (bool, bool)) {
        // A task that is notified will poll again, and need not be registered.
        let must_register = (pending || goes_on_polling) && !self.is_notified();
        let registered = match must_register {
            true => catch(|| self.task.register(cx.waker())),
            false => Ok(()),
        };
        let left = if self.taken.load(Ordering::Relaxed) == 0 { 0 } else { NOTIFIED };
        // It is this exchange that loses no notification, however the task is registered: one
        // before it is seen here; one after it thereby sees the task that was registered above.
        let end = |state: usize| Some(state & !POLLING | left);
        let (set, failed) = (Ordering::AcqRel, Ordering::Relaxed);
        let (Ok(before) | Err(before)) = self.state.fetch_update(set, failed, end);
        if (before | left) & NOTIFIED != 0 && pending {
            cx.waker().wake_by_ref();
        }
        #[cfg(errgroup_watch)]
        self.assert_unmarked();
        match registered {
            Ok(()) => {}
            Err(payload) if pending => resume(payload),
            Err(payload) => discard(payload),
        }
    }

    /// Panics if a watchdog that has looked just before a poll would report the task after it.
    ///
    /// With `--cfg errgroup_watch`, each poll is so watched: `.ci/watch` runs tests and examples.
    #[cfg(errgroup_watch)]
    fn assert_unmarked(&self) {
        assert!(
            self.state.load(Ordering::Relaxed) & MARKED == 0,
            "a task that has polled counts as starved since before the poll"
        );
    }
}

impl ArcWake for ParentWaker {
    /// Wakes the child of the first block to which it is, or was, lent.
    #[inline]
    fn wake_by_ref(parent: &Arc<Self>) {
        let is_lent = Arc::strong_count(parent) == Self::OWNERS;
        if let Some(bit) = parent.first_waker.wake(is_lent) {
            parent.set_first_bit(bit);
        }
    }
}

/// Takes the ready bits that were set since the last call.
pub(crate) fn take_bits(bits: &AtomicUsize) -> usize {
    // The load first: if no bit is set, no exclusive cache line is needed. Relaxed, since a bit
    // that it misses was set after the level above was taken, and is notified of there.
    match bits.load(Ordering::Relaxed) {
        0 => 0,
        // Acquire pairs with the release by which they were set.
        _ => bits.swap(0, Ordering::AcqRel),
    }
}

// === impl ReadyBlocks ===

impl ReadyBlocks {
    /// Returns `true` if there was a notification, of a block or without one.
    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    /// Returns the blocks and regions that have work, a bit each.
    pub(crate) fn blocks(self) -> usize {
        self.0 >> FIRST_BLOCK
    }
}
