//! As many slots for children as a word has bits (64, mostly), a ready bit and a waker each.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use core::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;

use crate::lock::Lock;

/// How many slots a block has: the bits of its word.
pub(super) const SLOTS: usize = usize::BITS as usize;

pub(super) struct Block<C, M> {
    pub(super) word: Arc<Word>,
    pub(super) slots: Vec<Slot<C, M>>,
    /// Slots that this round still polls.
    pub(super) ready: usize,
    /// Slots that woke themselves in a poll of this turn and wait for the next.
    pub(super) late: usize,
}

impl<C, M> Block<C, M> {
    pub(super) fn new() -> Self {
        let word = Arc::new(Word { bits: AtomicUsize::new(0), ding: AtomicWaker::new() });
        Self { word, slots: Vec::new(), ready: 0, late: 0 }
    }

    /// Takes the bits that were set since the last call, those of children who are there
    /// and really were woken: a bit may also come from a waker that outlived its child.
    pub(super) fn take_woken(&self) -> usize {
        // Acquire pairs with the release in `ring`: a bit that is seen here comes with its
        // slot's `woken`. One that is set later finds the word empty, and rings.
        let set = self.word.bits.swap(0, Ordering::AcqRel);
        bits(set).filter(|&slot| self.slots[slot].is_woken()).fold(0, |mask, slot| mask | 1 << slot)
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

pub(super) struct Slot<C, M> {
    /// Allocated once; the children that follow one another in this slot move into it.
    pub(super) child: Pin<Box<Option<C>>>,
    pub(super) meta: Option<M>,
    /// The turn in which the child last woke itself during its own poll.
    pub(super) yielded: u32,
    flag: Arc<Flag>,
    pub(super) waker: Waker,
}

impl<C, M> Slot<C, M> {
    pub(super) fn new(word: &Arc<Word>, bit: usize) -> Self {
        let flag = Flag::new(word, bit as u32);
        let waker = Waker::from(Arc::clone(&flag));
        Self { child: Box::pin(None), meta: None, yielded: 0, flag, waker }
    }

    pub(super) fn is_woken(&self) -> bool {
        self.meta.is_some() && self.flag.woken.load(Ordering::Acquire)
    }

    /// Called before each poll: from here on a wake is news.
    pub(super) fn clear_woken(&self) {
        // Acquire: the child sees what was done before it was woken.
        self.flag.woken.swap(false, Ordering::AcqRel);
    }

    /// Makes the slot fit for its next child: the wakers that its last one left somewhere
    /// must not reach it.
    pub(super) fn renew(&mut self) {
        // Two counts are the slot's own, `flag` and `waker`; nobody else can make more of
        // them.
        if Arc::strong_count(&self.flag) > 2 {
            // Set for good: whoever wakes it now stops there, and rings for nobody.
            self.flag.woken.store(true, Ordering::Relaxed);
            self.flag = Flag::new(&self.flag.word, self.flag.bit);
            self.waker = Waker::from(Arc::clone(&self.flag));
        } else {
            // Pairs with the release by which the last of the others let go, so that its
            // wake, if it made one, lies before the store.
            fence(Ordering::Acquire);
            self.flag.woken.store(false, Ordering::Relaxed);
        }
    }
}

/// One bit a slot, and whom to tell when the first of them is set.
pub(super) struct Word {
    bits: AtomicUsize,
    ding: AtomicWaker,
}

/// What a child's waker points to.
struct Flag {
    word: Arc<Word>,
    bit: u32,
    /// Set from a wake until the poll that answers it; while it is set, further wakes do
    /// nothing. A child that leaves wakers behind takes its flag with it, and the slot gets
    /// another: so a stale waker finds it set for good, or, if it was in the middle of its
    /// wake, sets a bit that `take_woken` sees through.
    woken: AtomicBool,
}

impl Flag {
    fn new(word: &Arc<Word>, bit: u32) -> Arc<Self> {
        Arc::new(Self { word: Arc::clone(word), bit, woken: AtomicBool::new(false) })
    }

    fn ring(&self) {
        // First the flag, then the bit: whoever takes the bit sees the flag.
        if !self.woken.swap(true, Ordering::AcqRel)
            && self.word.bits.fetch_or(1 << self.bit, Ordering::AcqRel) == 0
        {
            self.word.ding.wake();
        }
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// A block's entry in the `FuturesUnordered`: never ready; when it is polled, it notes that
/// its block has bits to look at.
pub(super) struct Ding {
    pub(super) word: Arc<Word>,
    pub(super) block: usize,
    pub(super) rung: Arc<Lock<Vec<usize>>>,
}

impl Future for Ding {
    type Output = core::convert::Infallible;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Registered before the bits are taken: a bit that is set in between is taken, one
        // that is set after rings.
        self.word.ding.register(cx.waker());
        self.rung.lock().push(self.block);
        Poll::Pending
    }
}
