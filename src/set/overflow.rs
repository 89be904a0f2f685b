//! Which blocks have somebody awake.
//!
//! The first blocks ring the bell by name. The others are in regions, each as many as a word
//! has bits; a region is an entry in a `FuturesUnordered`, which holds any number of them.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::block::{SLOTS, bits};
use super::child_waker::{Parent, ReadyBits};
use crate::util::lock::Mutex;
use crate::util::parent_waker::{DIRECT_BLOCKS, ParentWaker, ReadyBlocks};
use crate::util::sync::{Arc, AtomicWaker, waker};

#[derive(Default)]
pub(super) struct Overflow {
    /// Those of the blocks that have no cord.
    far: Option<Region>,
}

struct Region {
    words: Vec<Arc<ReadyBits>>,
    entries: FuturesUnordered<Entry>,
    /// The regions whose entry was woken.
    woken: Arc<Mutex<Vec<usize>>>,
    /// An entry was added that has not been polled yet.
    grown: bool,
    parent: Waker,
}

/// A region's entry: never ready; when it is polled, it notes that its region has news.
struct Entry {
    bits: Arc<ReadyBits>,
    overflow: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Overflow {
    /// The word for a new block, the next in number.
    pub(super) fn add(&mut self, number: usize, parent: &Arc<ParentWaker>) -> Arc<ReadyBits> {
        let Some(number) = number.checked_sub(DIRECT_BLOCKS) else {
            return ReadyBits::new(Parent::ParentWaker {
                parent: Arc::clone(parent),
                cord: number as u8,
            });
        };
        let far = self.far.get_or_insert_with(|| Region::new(parent));
        let bits = Arc::clone(far.bits(number / SLOTS));
        ReadyBits::new(Parent::ReadyBits { bits, bit: (number % SLOTS) as u8 })
    }

    /// Whether there is something to gather that no ring of the bell tells of.
    pub(super) fn has_grown(&self) -> bool {
        self.far.as_ref().is_some_and(|far| far.grown)
    }

    /// Calls `visit` with each block that may have somebody awake, by what has rung.
    pub(super) fn gather(&mut self, news: ReadyBlocks, mut visit: impl FnMut(usize)) {
        bits(news.blocks()).for_each(&mut visit);
        if let Some(far) = &mut self.far {
            far.gather(visit);
        }
    }
}

impl Region {
    fn new(parent: &Arc<ParentWaker>) -> Self {
        Self {
            words: Vec::new(),
            entries: FuturesUnordered::new(),
            woken: Arc::default(),
            grown: false,
            parent: waker(Arc::clone(parent)),
        }
    }

    fn bits(&mut self, overflow: usize) -> &Arc<ReadyBits> {
        if overflow == self.words.len() {
            let bits = ReadyBits::new(Parent::Entry(AtomicWaker::new()));
            self.words.push(Arc::clone(&bits));
            self.entries.push(Entry { bits, overflow, woken: Arc::clone(&self.woken) });
            self.grown = true;
        }
        &self.words[overflow]
    }

    fn gather(&mut self, mut visit: impl FnMut(usize)) {
        self.grown = false;
        // Never ready, and it ends: an entry does not wake itself. (It may ring the bell for
        // nothing, after it has polled as many entries as there are; the next call is cheap.)
        let _ = self.entries.poll_next_unpin(&mut Context::from_waker(&self.parent));
        let mut woken = self.woken.lock();
        for overflow in woken.drain(..) {
            let first = DIRECT_BLOCKS + overflow * SLOTS;
            bits(self.words[overflow].take()).for_each(|block| visit(first + block));
        }
    }
}

impl Future for Entry {
    type Output = Infallible;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Infallible> {
        if let Parent::Entry(waker) = self.bits.up() {
            // Registered before the bits are taken: a bit that is set in between is taken, one
            // that is set after wakes the entry. Here the registration must be an exchange, as
            // the `AtomicWaker`'s is: a load of the bits may overtake a plain store.
            waker.register(cx.waker());
        }
        self.woken.lock().push(self.overflow);
        Poll::Pending
    }
}
