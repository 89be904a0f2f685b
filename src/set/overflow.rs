//! Which blocks have children that were woken.
//!
//! The first [`DIRECT_BLOCKS`] blocks have a bit of their own in the [`ParentWaker`]. The others
//! are in *regions*, each of as many blocks as a `usize` has bits. A region is a future in a
//! `FuturesUnordered`, which takes any number of them.

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
use crate::util::sync::{Arc, AtomicWaker};
use crate::util::wake_flag::notifier;

#[derive(Default)]
pub(super) struct Overflow {
    /// `None` until there is a block without a bit in the `ParentWaker`.
    regions: Option<Regions>,
}

struct Regions {
    /// The ready bits of each region, which has one for each of its blocks.
    bits: Vec<Arc<ReadyBits>>,
    futures: FuturesUnordered<RegionFuture>,
    /// The regions that were woken: their future has been polled since.
    woken: Arc<Mutex<Vec<usize>>>,
    /// A future was added that has not been polled yet.
    has_grown: bool,
    parent: Waker,
}

/// Stands for a region. It is never ready; when it is polled, it records that its region was woken.
struct RegionFuture {
    bits: Arc<ReadyBits>,
    region: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Overflow {
    /// Returns the ready bits for the new block of that number.
    pub(super) fn add(&mut self, number: usize, parent: &Arc<ParentWaker>) -> Arc<ReadyBits> {
        let Some(number) = number.checked_sub(DIRECT_BLOCKS) else {
            return ReadyBits::new(Parent::Task { waker: Arc::clone(parent), block: number as u8 });
        };
        let regions = self.regions.get_or_insert_with(|| Regions::new(parent));
        let bits = Arc::clone(regions.bits_or_add(number / SLOTS));
        ReadyBits::new(Parent::Region { bits, bit: (number % SLOTS) as u8 })
    }

    /// Returns `true` if there is something to gather of which the `ParentWaker` does not tell.
    pub(super) fn has_grown(&self) -> bool {
        self.regions.as_ref().is_some_and(|regions| regions.has_grown)
    }

    /// Calls `visit` with each block that may have woken children, and leaves them so.
    pub(super) fn peek(&self, ready: ReadyBlocks, visit: &mut dyn FnMut(usize)) {
        bits(ready.blocks()).for_each(&mut *visit);
        for (region, word) in self.regions.iter().flat_map(|regions| &regions.bits).enumerate() {
            let first = DIRECT_BLOCKS + region * SLOTS;
            bits(word.peek()).for_each(|block| visit(first + block));
        }
    }

    /// Calls `visit` with each block that may have woken children, of those of which the
    /// `ParentWaker` does not tell.
    #[inline]
    pub(super) fn gather(&mut self, visit: &mut dyn FnMut(usize)) {
        if let Some(regions) = &mut self.regions {
            regions.gather(visit);
        }
    }
}

impl Regions {
    fn new(parent: &Arc<ParentWaker>) -> Self {
        Self {
            bits: Vec::new(),
            futures: FuturesUnordered::new(),
            woken: Arc::default(),
            has_grown: false,
            parent: notifier(parent),
        }
    }

    fn bits_or_add(&mut self, region: usize) -> &Arc<ReadyBits> {
        if region == self.bits.len() {
            let bits = ReadyBits::new(Parent::Future(AtomicWaker::new()));
            self.bits.push(Arc::clone(&bits));
            self.futures.push(RegionFuture { bits, region, woken: Arc::clone(&self.woken) });
            self.has_grown = true;
        }
        &self.bits[region]
    }

    #[inline(never)]
    fn gather(&mut self, visit: &mut dyn FnMut(usize)) {
        self.has_grown = false;
        // Never ready, and it ends: such a future does not wake itself. (It may wake the parent for
        // nothing, after it has polled as many of them as there are; the next call is cheap.)
        let _ = self.futures.poll_next_unpin(&mut Context::from_waker(&self.parent));
        let mut woken = self.woken.lock();
        for region in woken.drain(..) {
            let first = DIRECT_BLOCKS + region * SLOTS;
            bits(self.bits[region].take_bits()).for_each(|block| visit(first + block));
        }
    }
}

impl Future for RegionFuture {
    type Output = Infallible;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Infallible> {
        if let Parent::Future(waker) = self.bits.parent() {
            // Registered before the bits are taken: a bit that is set in between is taken, one
            // that is set after wakes the future. Here the registration must be an exchange, as
            // the `AtomicWaker`'s is: a load of the bits may overtake a plain store.
            waker.register(cx.waker());
        }
        self.woken.lock().push(self.region);
        Poll::Pending
    }
}
