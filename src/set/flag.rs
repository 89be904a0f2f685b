//! How a child that is woken makes itself known: a flag of its own, a bit in its block's
//! word, a bit for the block one level up, and at the top the group's bell.
//!
//! A bit wakes the next level only where it is the first of its word, so that what many
//! wake-ups cost is shared, and nobody has to be searched for.
//!
//! # Invariants
//!
//! - A flag's `WOKEN` is set from a wake until the poll that answers it begins. Who sets it
//!   sets the bit next, unless the flag is `POLLING`: then the one who polls looks at it
//!   when the poll ends.
//! - A word that is not 0 has been noted one level up, or its first setter is about to: bits
//!   are set from below, and taken from above. So one that is set while they are taken is
//!   either taken too, or finds its word empty and is noted anew.
//! - A bit says: look at the flag. It may be stale; a flag that is not `WOKEN` has no news.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};

use futures_util::task::{ArcWake, AtomicWaker};

use crate::bell::Bell;

/// Its child was woken and has not been polled since.
const WOKEN: u8 = 1;
/// Its child is being polled.
const POLLING: u8 = 2;

/// What the waker of a child points to.
pub(super) struct Flag {
    state: AtomicU8,
    /// The child's bit in the word. Fixed before each poll by the one who polls; nobody else
    /// has the flag when it changes.
    bit: AtomicU8,
    /// Its child woke itself in the poll that goes on, while nobody else had the flag.
    yielded: AtomicBool,
    word: Arc<Word>,
}

/// As many bits as a block has slots, or a region has blocks.
pub(super) struct Word {
    bits: AtomicUsize,
    up: Up,
}

/// Who is told when a word has its first bit.
pub(super) enum Up {
    Bell(Arc<Bell>),
    Word {
        word: Arc<Word>,
        bit: u8,
    },
    /// The region's entry among the others.
    Entry(AtomicWaker),
}

// === impl Flag ===

impl Flag {
    pub(super) fn new(word: &Arc<Word>) -> Arc<Self> {
        let word = Arc::clone(word);
        Arc::new(Self {
            state: AtomicU8::new(0),
            bit: AtomicU8::new(0),
            yielded: AtomicBool::new(false),
            word,
        })
    }

    /// Begins a poll of whichever child it is lent to. Nobody else holds it.
    #[inline]
    pub(super) fn lend(&self, bit: usize) {
        // Relaxed: whoever gets a clone gets it after this, in the poll that follows.
        self.bit.store(bit as u8, Ordering::Relaxed);
        self.state.store(POLLING, Ordering::Relaxed);
        self.yielded.store(false, Ordering::Relaxed);
    }

    /// Whether nobody has a clone, so that nobody can wake it.
    #[inline]
    pub(super) fn is_sole(self: &Arc<Self>) -> bool {
        let sole = Arc::strong_count(self) == 1;
        if sole {
            // Pairs with the release by which the last of the others let go, so that its
            // wake, if it made one, lies before what follows.
            fence(Ordering::Acquire);
        }
        sole
    }

    #[inline]
    pub(super) fn is_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) & WOKEN != 0
    }

    /// Begins a poll: from here on a wake is news.
    #[inline]
    pub(super) fn begin_poll(self: &Arc<Self>) {
        if self.is_sole() {
            self.state.store(POLLING, Ordering::Relaxed);
        } else {
            // Acquire: the child sees what was done before it was woken. An exchange, since
            // it must be the last wake that it reads from.
            self.state.swap(POLLING, Ordering::AcqRel);
        }
    }

    /// Ends a poll that was pending, and tells whether the child was woken meanwhile.
    #[inline]
    pub(super) fn end_poll(self: &Arc<Self>) -> bool {
        // Written in the poll only, which is over.
        let yielded = self.yielded.load(Ordering::Relaxed);
        if yielded {
            self.yielded.store(false, Ordering::Relaxed);
        }
        let woken = if yielded { WOKEN } else { 0 };
        if self.is_sole() {
            let woken = self.state.load(Ordering::Relaxed) & WOKEN | woken;
            self.state.store(woken, Ordering::Relaxed);
            return woken != 0;
        }
        match woken {
            0 => self.state.fetch_and(!POLLING, Ordering::AcqRel) & WOKEN != 0,
            _ => self.state.swap(WOKEN, Ordering::AcqRel) != 0,
        }
    }

    /// Makes the flag fit for the next child; false where somebody still has a clone.
    #[inline]
    pub(super) fn renew(self: &Arc<Self>) -> bool {
        let sole = self.is_sole();
        self.yielded.store(false, Ordering::Relaxed);
        // Woken for good, if it can't be used again: a wake stops there and rings for nobody.
        self.state.store(if sole { 0 } else { WOKEN }, Ordering::Relaxed);
        sole
    }
}

impl ArcWake for Flag {
    #[inline]
    fn wake_by_ref(flag: &Arc<Self>) {
        if Arc::strong_count(flag) == 1 {
            // Whoever has a clone counts at least two. So this is the waker that was lent to
            // the child for the poll that goes on: it looks there when the poll ends.
            flag.yielded.store(true, Ordering::Relaxed);
            return;
        }
        // First the flag, then the bit: whoever takes the bit sees the flag.
        if flag.state.fetch_or(WOKEN, Ordering::AcqRel) == 0 {
            flag.word.set(flag.bit.load(Ordering::Relaxed));
        }
    }
}

// === impl Word ===

impl Word {
    pub(super) fn new(up: Up) -> Arc<Self> {
        Arc::new(Self { bits: AtomicUsize::new(0), up })
    }

    pub(super) fn up(&self) -> &Up {
        &self.up
    }

    fn set(&self, bit: u8) {
        // Release: whoever takes the bit sees the flag, or the word below.
        if self.bits.fetch_or(1 << bit, Ordering::AcqRel) != 0 {
            return;
        }
        match &self.up {
            Up::Bell(bell) => bell.ring(),
            Up::Word { word, bit } => word.set(*bit),
            Up::Entry(waker) => waker.wake(),
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

/// The places of the bits that are set in `mask`, lowest first.
pub(super) fn bits(mut mask: usize) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        Some(bit as usize)
    })
}
