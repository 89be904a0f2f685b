//! How a child that is woken makes itself known: a flag of its own, a bit in its block's
//! word, a bit for the block one level up, and at the top the group's bell.
//!
//! A bit wakes the next level only where it is the first of its word, so that what many
//! wake-ups cost is shared, and nobody has to be searched for.
//!
//! # Invariants
//!
//! - A flag is `woken` from a wake until the next poll of its child begins. Who sets it sets
//!   the bit next; while it is set, further wakes do nothing.
//! - A word that is not 0 has been noted one level up, or its first setter is about to: bits
//!   are set from below, and taken from above. So one that is set while they are taken is
//!   either taken too, or finds its word empty and is noted anew.
//! - A bit says: look at the flag. It may be stale; a flag that is not `woken` has no news.

use crate::util::parent_waker::ParentWaker;
use crate::util::sync::{Arc, AtomicBool, AtomicU8, AtomicUsize, AtomicWaker, Ordering, fence};

/// What the waker of a child points to.
pub(super) struct ChildWaker {
    woken: AtomicBool,
    /// The child woke itself in the poll that goes on, when nobody else had the flag. Apart
    /// from `woken`, so that this needs no read-modify-write: only the poll writes and reads it.
    yielded: AtomicBool,
    /// The child's bit in the word. Fixed before the poll in which others may get the flag.
    bit: AtomicU8,
    bits: Arc<ReadyBits>,
}

/// As many bits as a block has seats, or a region has blocks.
pub(super) struct ReadyBits {
    bits: AtomicUsize,
    up: Parent,
}

/// Who is told when a word has its first bit.
pub(super) enum Parent {
    ParentWaker {
        parent: Arc<ParentWaker>,
        cord: u8,
    },
    ReadyBits {
        bits: Arc<ReadyBits>,
        bit: u8,
    },
    /// The region's entry among the others.
    Entry(AtomicWaker),
}

// === impl Flag ===

impl ChildWaker {
    pub(super) fn new(bits: &Arc<ReadyBits>) -> Arc<Self> {
        Arc::new(Self {
            woken: AtomicBool::new(false),
            yielded: AtomicBool::new(false),
            bit: AtomicU8::new(0),
            bits: Arc::clone(bits),
        })
    }

    /// Begins a poll of whichever child it is lent to. Nobody else holds it.
    #[inline]
    pub(super) fn lend(&self, bit: usize) {
        // Relaxed: whoever gets a clone gets it after this, in the poll that follows.
        self.bit.store(bit as u8, Ordering::Relaxed);
        self.woken.store(false, Ordering::Relaxed);
        self.yielded.store(false, Ordering::Relaxed);
    }

    /// Begins a poll of the child that has kept it: from here on a wake is news.
    #[inline]
    pub(super) fn begin_poll(this: &Arc<Self>) {
        if Self::is_sole(this) {
            this.woken.store(false, Ordering::Relaxed);
        } else {
            // Acquire: the child sees what was done before it was woken. An exchange, since
            // it must be the last wake that it reads from.
            this.woken.swap(false, Ordering::AcqRel);
        }
    }

    /// Ends a poll that was pending, and tells whether the child was woken meanwhile; then it
    /// counts as woken.
    #[inline]
    pub(super) fn end_poll(this: &Arc<Self>) -> bool {
        // Relaxed: who is woken is polled again, and that begins with an acquire.
        if !this.yielded.load(Ordering::Relaxed) {
            return this.woken.load(Ordering::Relaxed);
        }
        this.yielded.store(false, Ordering::Relaxed);
        if Self::is_sole(this) {
            this.woken.store(true, Ordering::Relaxed);
        } else {
            // An exchange: it must not hide what another wake has released.
            this.woken.swap(true, Ordering::AcqRel);
        }
        true
    }

    /// Whether nobody has a clone, so that nobody can wake it.
    #[inline]
    pub(super) fn is_sole(this: &Arc<Self>) -> bool {
        let sole = Arc::strong_count(this) == 1;
        if sole {
            // Pairs with the release by which the last of the others let go, so that its
            // wake, if it made one, lies before what follows.
            fence(Ordering::Acquire);
        }
        sole
    }

    #[inline]
    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }

    /// Makes the flag fit for the next child; false where somebody still has a clone.
    #[inline]
    pub(super) fn renew(this: &Arc<Self>) -> bool {
        let sole = Self::is_sole(this);
        this.yielded.store(false, Ordering::Relaxed);
        // Woken for good, if it can't be used again: a wake stops there and rings for nobody.
        this.woken.store(!sole, Ordering::Relaxed);
        sole
    }

    /// What its waker does.
    #[inline]
    pub(super) fn wake(this: &Arc<Self>) {
        if Arc::strong_count(this) == 1 {
            // Whoever has a clone counts at least two. So this is the waker that was lent to
            // the child for the poll that goes on: it looks there when the poll ends.
            this.yielded.store(true, Ordering::Relaxed);
            return;
        }
        // First the flag, then the bit: whoever takes the bit sees the flag.
        if !this.woken.swap(true, Ordering::AcqRel) {
            this.bits.set(this.bit.load(Ordering::Relaxed));
        }
    }
}

// === impl Word ===

impl ReadyBits {
    pub(super) fn new(up: Parent) -> Arc<Self> {
        Arc::new(Self { bits: AtomicUsize::new(0), up })
    }

    pub(super) fn up(&self) -> &Parent {
        &self.up
    }

    fn set(&self, bit: u8) {
        // Release: whoever takes the bit sees the flag, or the word below.
        if self.bits.fetch_or(1 << bit, Ordering::AcqRel) != 0 {
            return;
        }
        match &self.up {
            Parent::ParentWaker { parent, cord } => parent.notify_block(*cord),
            Parent::ReadyBits { bits, bit } => bits.set(*bit),
            Parent::Entry(waker) => waker.wake(),
        }
    }

    /// Takes the bits that were set since the last call.
    pub(super) fn take(&self) -> usize {
        // The load first: a word without bits needs no exclusive cache line. Relaxed, since a
        // bit that it misses was set after the level above was taken, and is noted there.
        match self.bits.load(Ordering::Relaxed) {
            0 => 0,
            // Acquire pairs with the release in `set`.
            _ => self.bits.swap(0, Ordering::AcqRel),
        }
    }
}
