//! Which blocks have children that were woken.
//!
//! The first [`DIRECT_BLOCKS`] blocks have a bit of their own in the [`ParentWaker`]. The others
//! are in *regions*, each of as many blocks as a `usize` has bits. The first [`DIRECT_REGIONS`]
//! regions have a bit in the `ParentWaker` as well. Each of the others is a future in a
//! `FuturesUnordered`, which takes any number of them.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::block::bits;
use super::child_waker::{Parent, ReadyBits};
use super::slots::SLOTS;
use crate::util::lock::Mutex;
use crate::util::parent_waker::{BLOCK_BITS, ParentWaker, ReadyBlocks};
use crate::util::rare_box::RareBox;
use crate::util::sync::{Arc, AtomicWaker};
use crate::util::wake_flag::notifier;

/// How many regions have a bit in the `ParentWaker`: they take some 65,000 children.
pub(super) const DIRECT_REGIONS: usize = SLOTS / 4;

/// How many blocks have one.
pub(super) const DIRECT_BLOCKS: usize = BLOCK_BITS - DIRECT_REGIONS;

/// Their bits; behind them are those of the regions.
const BLOCKS: usize = (1 << DIRECT_BLOCKS) - 1;

#[derive(Default)]
pub(super) struct Overflow {
    /// `None` until there is a block without a bit in the `ParentWaker`.
    regions: RareBox<Regions>,
}

#[derive(Default)]
struct Regions {
    /// The ready bits of each region, which has one for each of its blocks.
    bits: Vec<Arc<ReadyBits>>,
    /// `None` until there is a region without a bit in the `ParentWaker`.
    others: Option<RegionFutures>,
}

/// The regions without a bit in the `ParentWaker`.
struct RegionFutures {
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
            return ReadyBits::new(Parent::Task { waker: Arc::clone(parent), bit: number as u8 });
        };
        let bits = self.regions.get_or_insert_default().bits_or_add(number / SLOTS, parent);
        ReadyBits::new(Parent::Region { bits, bit: (number % SLOTS) as u8 })
    }

    /// Calls `visit` with each block that may have woken children, and leaves them so.
    pub(super) fn peek(&self, ready: ReadyBlocks, visit: &mut dyn FnMut(usize)) {
        bits(ready.blocks() & BLOCKS).for_each(&mut *visit);
        for (region, word) in self.regions.iter().flat_map(|it| &it.bits).enumerate() {
            visit_blocks(region, word.peek(), visit);
        }
    }

    /// Calls `visit` with each block that may have woken children. `ready` is what was taken from
    /// the `ParentWaker`.
    #[inline]
    pub(super) fn gather(&mut self, ready: ReadyBlocks, mut visit: impl FnMut(usize)) {
        bits(ready.blocks() & BLOCKS).for_each(&mut visit);
        if let Some(regions) = &mut *self.regions {
            regions.gather(ready, &mut visit);
        }
    }
}

impl Regions {
    /// Returns the ready bits of a region, which is added if it is a new one.
    fn bits_or_add(&mut self, region: usize, parent: &Arc<ParentWaker>) -> Arc<ReadyBits> {
        if region == self.bits.len() {
            self.bits.push(match DIRECT_BLOCKS + region {
                bit if bit < BLOCK_BITS => {
                    ReadyBits::new(Parent::Task { waker: Arc::clone(parent), bit: bit as u8 })
                }
                _ => self.others.get_or_insert_with(|| RegionFutures::new(parent)).add(region),
            });
        }
        Arc::clone(&self.bits[region])
    }

    #[inline(never)]
    fn gather(&mut self, ready: ReadyBlocks, visit: &mut dyn FnMut(usize)) {
        let Self { bits: words, others } = self;
        // The parent's waker outlives a reset of the set, so it may tell of a region that is gone.
        let visit = &mut |region: usize| {
            if let Some(word) = words.get(region) {
                visit_blocks(region, word.take_bits(), visit);
            }
        };
        bits(ready.blocks() >> DIRECT_BLOCKS).for_each(&mut *visit);
        if let Some(others) = others {
            // The notification may be of one of these.
            if ready.any() || others.has_grown {
                others.gather(visit);
            }
        }
    }
}

impl RegionFutures {
    fn new(parent: &Arc<ParentWaker>) -> Self {
        Self {
            futures: FuturesUnordered::new(),
            woken: Arc::default(),
            has_grown: false,
            parent: notifier(parent),
        }
    }

    /// Adds the future of a region. Returns the region's ready bits.
    fn add(&mut self, region: usize) -> Arc<ReadyBits> {
        let (bits, woken) =
            (ReadyBits::new(Parent::Future(AtomicWaker::new())), Arc::clone(&self.woken));
        self.futures.push(RegionFuture { bits: Arc::clone(&bits), region, woken });
        self.has_grown = true;
        bits
    }

    /// Calls `visit` with each region that may have woken children.
    fn gather(&mut self, visit: &mut dyn FnMut(usize)) {
        self.has_grown = false;
        // Never ready, and it ends: such a future does not wake itself. (It may wake the parent for
        // nothing, after it has polled as many of them as there are; the next call is cheap.)
        let _ = self.futures.poll_next_unpin(&mut Context::from_waker(&self.parent));
        self.woken.lock().drain(..).for_each(visit);
    }
}

/// Calls `visit` with the blocks of a region that have a bit.
fn visit_blocks(region: usize, word: usize, visit: &mut dyn FnMut(usize)) {
    let first = DIRECT_BLOCKS + region * SLOTS;
    bits(word).for_each(|block| visit(first + block));
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
