//! A block: as many slots for children as a `usize` has bits (64, mostly), and the state of each.

use core::mem::needs_drop;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::budget::{Budget, YIELDS};
use super::child_waker::{ChildWaker, ReadyBits};
use super::slots::{SlotMut, Slots};
use crate::util::sync::{Arc, ArcWake, waker_ref};

/// How many slots a block has: one for each of its ready bits.
pub(super) const SLOTS: usize = usize::BITS as usize;

/// No block: the end of a [`BlockList`](super::lists::BlockList).
pub(super) const NO_BLOCK: u32 = u32::MAX;

/// The children of one block that are polled one after another.
#[derive(Clone, Copy, Default)]
pub(super) struct Batch {
    pub(super) block: usize,
    /// These children have never been polled.
    pub(super) unpolled: bool,
    /// There is one child, the newest of the set.
    pub(super) newest: bool,
    /// How many there are.
    pub(super) count: usize,
    /// The slot of the child that is being polled.
    pub(super) slot: usize,
    /// How many have been polled. This and `freed` are stored at the end; if a panic comes
    /// before, [`recover`](Block::recover) stores them.
    pub(super) polled: usize,
    /// How many of these were done, and have freed their slot.
    pub(super) freed: usize,
    /// The block's `unpolled` or `ready`, before the first of them was polled.
    pub(super) todo: usize,
    /// The block's `vacant`, likewise.
    pub(super) vacant: usize,
    /// What was taken out of the block's `unpolled`, since it is not part of the batch.
    pub(super) others: usize,
}

pub(super) struct Block<C> {
    pub(super) bits: Arc<ReadyBits>,
    /// Borrowed, for one poll, by each child without a waker of its own; most never keep a clone.
    /// A child that does gets this one for good. Between two polls there is no clone of it.
    shared_waker: Arc<ChildWaker>,
    slots: Slots<C>,
    /// Slots without a child.
    vacant: usize,
    /// Those of them that are behind all children that were never polled, and so may take the
    /// next one: then it is polled after them.
    insertable: usize,
    /// Children that were never polled.
    unpolled: usize,
    /// Children that this round still polls.
    pub(super) ready: usize,
    /// Children that were woken in their own poll in this turn, and wait for the next.
    pub(super) yielded: usize,
    /// The next block of the round.
    pub(super) next: u32,
    /// Children that had yielded when this turn began, for the next round.
    pub(super) deferred: usize,
    /// The next block with `yielded` children.
    pub(super) next_yielded: u32,
    /// The next block with `deferred` children.
    pub(super) next_deferred: u32,
    /// The block is in the set's `yielded`.
    pub(super) in_yielded: bool,
    /// The block is in the set's `with_room`.
    pub(super) in_with_room: bool,
}

impl<C> Block<C> {
    pub(super) fn new(bits: Arc<ReadyBits>) -> Self {
        Self {
            shared_waker: ChildWaker::new(&bits),
            bits,
            slots: Slots::new(),
            vacant: usize::MAX,
            insertable: usize::MAX,
            unpolled: 0,
            ready: 0,
            yielded: 0,
            deferred: 0,
            next: NO_BLOCK,
            next_yielded: NO_BLOCK,
            next_deferred: NO_BLOCK,
            in_yielded: false,
            in_with_room: false,
        }
    }

    /// Returns `true` if there is a slot that takes a child.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.insertable != 0
    }

    /// Makes every vacant slot insertable again, if no unpolled child is left, so that there is no
    /// order to keep.
    pub(super) fn reset_insertable(&mut self) {
        if self.unpolled == 0 {
            self.insertable = self.vacant;
        }
    }

    /// Returns the slots that hold a child.
    pub(super) fn occupied(&self) -> usize {
        !self.vacant
    }

    /// Gives the memory back that no child needs.
    pub(super) fn trim(&mut self) {
        self.slots.trim(self.vacant);
    }

    /// Puts a child into a slot; there is one that takes it.
    #[inline]
    pub(super) fn insert(&mut self, child: C, index: usize) {
        let at = self.insertable.trailing_zeros() as usize;
        let bit = self.insertable & self.insertable.wrapping_neg();
        self.insertable ^= bit;
        self.vacant ^= bit;
        self.unpolled |= bit;
        let mut slot = self.slots.slot_or_add(at);
        slot.child.set(Some(child));
        *slot.index = index;
    }

    /// Leaves the newest child as the only one in `unpolled`. Returns the others.
    pub(super) fn single_out_newest(&mut self) -> usize {
        let newest = 1 << (SLOTS - 1 - self.unpolled.leading_zeros() as usize);
        core::mem::replace(&mut self.unpolled, newest) ^ newest
    }

    /// Puts back what was taken out of `unpolled`.
    #[inline]
    pub(super) fn restore_unpolled(&mut self, others: usize) {
        self.unpolled |= others;
    }

    /// Goes on with a batch. Returns `true` when it is over, `false` if `on_done` ended it, or too
    /// many children in a row have yielded.
    #[inline]
    pub(super) fn poll<R>(
        &mut self,
        batch: &mut Batch,
        budget: &mut Budget,
        returned: &mut Option<R>,
        poll: &mut impl FnMut(Pin<&mut C>, usize, &mut Context<'_>) -> Poll<R>,
        on_done: &mut impl FnMut(usize, R) -> bool,
    ) -> bool {
        let Self { bits, shared_waker, slots, vacant, unpolled, ready, yielded, .. } = self;
        let todo = if batch.unpolled { unpolled } else { ready };
        (batch.todo, batch.vacant) = (*todo, *vacant);
        // The children still to be polled; the copy in the block, `todo`, outlasts a panic.
        let mut remaining = *todo;
        let (mut count, mut freed) = (batch.count, 0);
        let (mut yields, mut pended, cost) = (budget.yields, budget.pended, budget.pending_cost());
        let mut go_on = true;
        while go_on && count != 0 {
            let waker = waker_ref(shared_waker);
            let mut shared_cx = Context::from_waker(&waker);
            // The slot of a child that has kept a clone of the shared waker.
            let mut kept_by = None;
            while go_on && count != 0 {
                count -= 1;
                let at = remaining.trailing_zeros() as usize;
                let bit = remaining & remaining.wrapping_neg();
                remaining ^= bit;
                *todo = remaining;
                batch.slot = at;
                let mut slot = slots.slot(at);
                let Some(child) = slot.child.as_mut().as_pin_mut() else {
                    debug_assert!(false, "a vacant slot was to be polled");
                    continue;
                };
                let answer = match slot.waker {
                    None => {
                        shared_waker.reset_for(at);
                        poll(child, *slot.index, &mut shared_cx)
                    }
                    Some(waker) => {
                        ChildWaker::begin_poll(waker);
                        let waker = waker_ref(waker);
                        poll(child, *slot.index, &mut Context::from_waker(&waker))
                    }
                };
                let Poll::Ready(value) = answer else {
                    // First whether there is a clone, then whether it was woken: if there is none,
                    // nothing can wake it after the look.
                    let keeps = slot.waker.is_none() && !ChildWaker::is_unique(shared_waker);
                    if ChildWaker::end_poll(slot.waker.as_ref().unwrap_or(shared_waker)) {
                        *yielded |= bit;
                        yields -= 1;
                    } else {
                        pended += 1;
                        yields -= cost;
                    }
                    go_on = yields != 0;
                    if keeps {
                        kept_by = Some(at);
                        break;
                    }
                    continue;
                };
                (yields, pended) = (YIELDS, 0);
                if needs_drop::<C>() {
                    // The value must outlast a panic of the child's destructor.
                    *returned = Some(value);
                    let index = slot.vacate();
                    *vacant |= bit;
                    freed += 1;
                    go_on = returned.take().is_none_or(|value| on_done(index, value));
                } else {
                    let index = slot.vacate();
                    *vacant |= bit;
                    freed += 1;
                    go_on = on_done(index, value);
                }
                if !ChildWaker::is_unique(shared_waker) {
                    // The child has left a clone, which must not reach the slot's next child.
                    ChildWaker::recycle(shared_waker);
                    break;
                }
            }
            if kept_by.is_some() || !ChildWaker::is_unique(shared_waker) {
                let shared_waker = core::mem::replace(shared_waker, ChildWaker::new(bits));
                if let Some(at) = kept_by {
                    // By now the clone may have been woken and dropped.
                    *slots.slot(at).waker = Some(shared_waker);
                }
            }
        }
        (budget.yields, budget.pended) = (yields, pended);
        (batch.polled, batch.freed) = (batch.count - count, freed);
        go_on
    }

    /// Stores how far a batch had come when a panic ended it.
    pub(super) fn recover(&mut self, batch: &mut Batch) {
        // The child may have left a clone of the shared waker.
        self.recycle_shared_waker();
        let todo = if batch.unpolled { self.unpolled } else { self.ready };
        batch.polled = (batch.todo & !todo).count_ones() as usize;
        batch.freed = (self.vacant & !batch.vacant).count_ones() as usize;
    }

    /// Returns the children that are not to be polled before they are woken, and whose index
    /// `is_meant`.
    pub(super) fn find_waiting(&mut self, mut is_meant: impl FnMut(usize) -> bool) -> usize {
        let busy = self.unpolled | self.ready | self.yielded | self.deferred;
        bits(self.occupied() & !busy)
            .filter(|&at| is_meant(self.child_index(at)))
            .fold(0, |mask, at| mask | 1 << at)
    }

    /// Returns the index of the child in that slot, or of the last one that was there.
    pub(super) fn child_index(&mut self, at: usize) -> usize {
        *self.slots.slot(at).index
    }

    /// Drops a child.
    pub(super) fn remove(&mut self, at: usize) {
        self.slots.slot(at).vacate();
        self.vacant |= 1 << at;
        self.recycle_shared_waker();
    }

    fn recycle_shared_waker(&mut self) {
        if !ChildWaker::recycle(&self.shared_waker) {
            self.shared_waker = ChildWaker::new(&self.bits);
        }
    }

    /// Returns how many children were woken, at least, since their bits were taken.
    pub(super) fn count_woken(&self) -> usize {
        self.bits.peek().count_ones() as usize
    }

    /// Takes the bits of the children that were woken since the last call, except of those that
    /// have yielded, which are polled again anyway. A bit may also come from a clone of a waker
    /// that outlived its child.
    pub(super) fn take_woken(&mut self) -> usize {
        let set = self.bits.take_bits() & !(self.vacant | self.yielded | self.deferred);
        bits(set)
            .filter(|&at| self.slots.slot(at).waker.as_ref().is_some_and(|waker| waker.is_woken()))
            .fold(0, |mask, at| mask | 1 << at)
    }
}

impl<C> SlotMut<'_, C> {
    /// Drops the child, and returns its index. If clones of its waker are left, the slot gives
    /// that waker up, so that they don't reach the slot's next child.
    #[inline]
    fn vacate(mut self) -> usize {
        // An assignment that unwinds from the old value's destructor has stored the new one.
        self.child.set(None);
        if self.waker.as_ref().is_some_and(|waker| !ChildWaker::recycle(waker)) {
            *self.waker = None;
        }
        *self.index
    }
}

impl ArcWake for ChildWaker {
    #[inline]
    fn wake_by_ref(waker: &Arc<Self>) {
        Self::wake(waker);
    }
}

/// Returns the positions of the bits that are set in `mask`, lowest first.
pub(super) fn bits(mut mask: usize) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        Some(bit as usize)
    })
}
