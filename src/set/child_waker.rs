//! How a child that is woken makes itself known: its waker is marked, its bit is set in the ready
//! bits of its block, the block's bit one level up, and at the top the task of the group is woken.
//!
//! The level above is notified only when the first bit is set. So many wake-ups share the cost of
//! one notification, and no child has to be searched for.
//!
//! # Invariants
//!
//! - A waker is `woken` from a wake-up until the next poll of its child begins. The thread that
//!   sets `woken` sets the bit next; while it is set, further wake-ups do nothing.
//! - If ready bits are not 0, the level above has been notified, or the thread that set the first
//!   of them is about to notify it: bits are set from below, and taken from above. So a bit that
//!   is set while they are taken is either taken too, or is the first again, and notified of anew.
//! - A bit means: look at the waker. It may be stale: if the waker is not `woken`, its child has
//!   nothing to do.

use crate::util::parent_waker::ParentWaker;
use crate::util::sync::{Arc, AtomicBool, AtomicU8, AtomicUsize, AtomicWaker, Ordering, fence};

/// What the waker of a child points to.
pub(super) struct ChildWaker {
    woken: AtomicBool,
    /// The child woke itself in the poll that goes on, when there was no clone of its waker. Apart
    /// from `woken`, so that this needs no read-modify-write: only the poll writes and reads it.
    yielded: AtomicBool,
    /// The child's bit in `bits`. Fixed before the poll in which a clone may be made.
    bit: AtomicU8,
    bits: Arc<ReadyBits>,
}

/// A bit for each slot of a block, or for each block of a region.
pub(super) struct ReadyBits {
    bits: AtomicUsize,
    parent: Parent,
}

/// What is notified when the first bit is set.
pub(super) enum Parent {
    /// Of a block's bits: the task of the group.
    Task { waker: Arc<ParentWaker>, block: u8 },
    /// Of a block's bits: those of its region.
    Region { bits: Arc<ReadyBits>, bit: u8 },
    /// Of a region's bits: the region's future.
    Future(AtomicWaker),
}

// === impl ChildWaker ===

impl ChildWaker {
    pub(super) fn new(bits: &Arc<ReadyBits>) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(false),
            yielded: AtomicBool::new(false),
            bit: AtomicU8::new(0),
            bits: Arc::clone(bits),
        })
    }

    /// Begins a poll of the child with that bit, for which this waker is borrowed. There is no
    /// clone of it.
    #[inline]
    pub(super) fn reset_for(&self, bit: usize) {
        // Relaxed: a clone is made after this, in the poll that follows.
        self.bit.store(bit as u8, Ordering::Relaxed);
        self.woken.store(false, Ordering::Relaxed);
        self.yielded.store(false, Ordering::Relaxed);
    }

    /// Begins a poll of the child that owns this waker: a wake-up from here on counts anew.
    #[inline]
    pub(super) fn begin_poll(this: &Arc<Self>) {
        if Self::is_unique(this) {
            this.woken.store(false, Ordering::Relaxed);
        } else {
            // Acquire: the child sees what was done before it was woken. An exchange, since
            // it must be the last wake-up that it reads from.
            this.woken.swap(false, Ordering::AcqRel);
        }
    }

    /// Ends a poll that was pending. Returns `true` if the child was woken meanwhile; it then
    /// counts as woken.
    #[inline]
    pub(super) fn end_poll(this: &Arc<Self>) -> bool {
        // Relaxed: a child that is woken is polled again, and that begins with an acquire.
        if !this.yielded.load(Ordering::Relaxed) {
            return this.woken.load(Ordering::Relaxed);
        }
        this.yielded.store(false, Ordering::Relaxed);
        if Self::is_unique(this) {
            this.woken.store(true, Ordering::Relaxed);
        } else {
            // An exchange: it must not hide what another wake-up has released.
            this.woken.swap(true, Ordering::AcqRel);
        }
        true
    }

    /// Returns `true` if there is no clone, so that nothing can wake the child outside of its poll.
    #[inline]
    pub(super) fn is_unique(this: &Arc<Self>) -> bool {
        let unique = Arc::strong_count(this) == 1;
        if unique {
            // Pairs with the release by which the last clone was dropped, so that its wake-up,
            // if it made one, lies before what follows.
            fence(Ordering::Acquire);
        }
        unique
    }

    #[inline]
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }

    /// Makes the waker fit for the next child. Returns `false` if a clone is left: then it must
    /// not be used again.
    #[inline]
    pub(super) fn recycle(this: &Arc<Self>) -> bool {
        let unique = Self::is_unique(this);
        this.yielded.store(false, Ordering::Relaxed);
        // Woken for good if it can't be used again: a wake-up by a clone stops there, and wakes
        // no task.
        this.woken.store(!unique, Ordering::Relaxed);
        unique
    }

    /// Does what the `Waker` is to do.
    #[inline]
    pub(super) fn wake(this: &Arc<Self>) {
        if Arc::strong_count(this) == 1 {
            // A clone would make the count two at least. So this is the waker that the child was
            // given for the poll that goes on, which looks at `yielded` when it ends.
            this.yielded.store(true, Ordering::Relaxed);
            return;
        }
        // First `woken`, then the bit: a thread that takes the bit sees `woken`.
        if !this.woken.swap(true, Ordering::AcqRel) {
            this.bits.set(this.bit.load(Ordering::Relaxed));
        }
    }
}

// === impl ReadyBits ===

impl ReadyBits {
    pub(super) fn new(parent: Parent) -> Arc<Self> {
        Arc::new(Self { bits: AtomicUsize::new(0), parent })
    }

    pub(super) fn parent(&self) -> &Parent {
        &self.parent
    }

    fn set(&self, bit: u8) {
        // Release: a thread that takes the bit sees the waker's `woken`, or the bits below.
        if self.bits.fetch_or(1 << bit, Ordering::AcqRel) != 0 {
            return;
        }
        match &self.parent {
            Parent::Task { waker, block } => waker.notify_block(*block),
            Parent::Region { bits, bit } => bits.set(*bit),
            Parent::Future(waker) => waker.wake(),
        }
    }

    /// Returns the bits that are set now.
    pub(super) fn peek(&self) -> usize {
        self.bits.load(Ordering::Relaxed)
    }

    /// Takes the bits that were set since the last call.
    pub(super) fn take_bits(&self) -> usize {
        // The load first: if no bit is set, no exclusive cache line is needed. Relaxed, since a
        // bit that it misses was set after the level above was taken, and is notified of there.
        match self.bits.load(Ordering::Relaxed) {
            0 => 0,
            // Acquire pairs with the release in `set`.
            _ => self.bits.swap(0, Ordering::AcqRel),
        }
    }
}
