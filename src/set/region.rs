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

use super::block::{SEATS, bits};
use super::flag::{Up, Word};
use crate::bell::{Bell, CORDS, News};
use crate::lock::Lock;
use crate::sync::{Arc, AtomicWaker, waker};

#[derive(Default)]
pub(super) struct Regions {
    /// Those of the blocks that have no cord.
    far: Option<Far>,
}

struct Far {
    words: Vec<Arc<Word>>,
    entries: FuturesUnordered<Entry>,
    /// The regions whose entry was woken.
    woken: Arc<Lock<Vec<usize>>>,
    /// An entry was added that has not been polled yet.
    grown: bool,
    bell: Waker,
}

/// A region's entry: never ready; when it is polled, it notes that its region has news.
struct Entry {
    word: Arc<Word>,
    region: usize,
    woken: Arc<Lock<Vec<usize>>>,
}

impl Regions {
    /// The word for a new block, the next in number.
    pub(super) fn add(&mut self, number: usize, bell: &Arc<Bell>) -> Arc<Word> {
        let Some(number) = number.checked_sub(CORDS) else {
            return Word::new(Up::Bell { bell: Arc::clone(bell), cord: number as u8 });
        };
        let far = self.far.get_or_insert_with(|| Far::new(bell));
        let word = Arc::clone(far.word(number / SEATS));
        Word::new(Up::Word { word, bit: (number % SEATS) as u8 })
    }

    /// Whether there is something to gather that no ring of the bell tells of.
    pub(super) fn has_grown(&self) -> bool {
        self.far.as_ref().is_some_and(|far| far.grown)
    }

    /// Calls `visit` with each block that may have somebody awake, by what has rung.
    pub(super) fn gather(&mut self, news: News, mut visit: impl FnMut(usize)) {
        bits(news.cords()).for_each(&mut visit);
        if let Some(far) = &mut self.far {
            far.gather(visit);
        }
    }
}

impl Far {
    fn new(bell: &Arc<Bell>) -> Self {
        Self {
            words: Vec::new(),
            entries: FuturesUnordered::new(),
            woken: Arc::default(),
            grown: false,
            bell: waker(Arc::clone(bell)),
        }
    }

    fn word(&mut self, region: usize) -> &Arc<Word> {
        if region == self.words.len() {
            let word = Word::new(Up::Entry(AtomicWaker::new()));
            self.words.push(Arc::clone(&word));
            self.entries.push(Entry { word, region, woken: Arc::clone(&self.woken) });
            self.grown = true;
        }
        &self.words[region]
    }

    fn gather(&mut self, mut visit: impl FnMut(usize)) {
        self.grown = false;
        // Never ready, and it ends: an entry does not wake itself. (It may ring the bell for
        // nothing, after it has polled as many entries as there are; the next call is cheap.)
        let _ = self.entries.poll_next_unpin(&mut Context::from_waker(&self.bell));
        let mut woken = self.woken.lock();
        for region in woken.drain(..) {
            let first = CORDS + region * SEATS;
            bits(self.words[region].take()).for_each(|block| visit(first + block));
        }
    }
}

impl Future for Entry {
    type Output = Infallible;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Infallible> {
        if let Up::Entry(waker) = self.word.up() {
            // Registered before the bits are taken: a bit that is set in between is taken, one
            // that is set after wakes the entry. Here the registration must be an exchange, as
            // the `AtomicWaker`'s is: a load of the bits may overtake a plain store.
            waker.register(cx.waker());
        }
        self.woken.lock().push(self.region);
        Poll::Pending
    }
}
