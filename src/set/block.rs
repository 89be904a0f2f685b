//! A block: as many slots for children as a `usize` has bits (64, mostly), and the state of each.

use core::mem::{ManuallyDrop, needs_drop};
use core::pin::Pin;
use core::task::{Context, Poll};

use super::Progress;
use super::budget::Budget;
use super::child_waker::{ChildWaker, Lent, ReadyBits};
use super::slots::{SLOTS, SlotMut, Slots};
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::Arc;

/// No block: the end of a [`BlockList`](super::lists::BlockList).
pub(super) const NO_BLOCK: u32 = u32::MAX;

/// The children of one block that are polled one after another, for the case that one panics.
#[derive(Clone, Copy, Default)]
pub(crate) struct Batch {
    pub(super) block: u32,
    /// The slot of the child that is being polled.
    pub(super) slot: u8,
    /// These children have never been polled.
    pub(super) unpolled: bool,
    /// They are not a part of the round: the newest child, perhaps with those that have yielded.
    pub(super) detached: bool,
    /// The block's `unpolled` or `ready`, before the first of them was polled.
    todo: usize,
    /// The block's `vacant`, likewise.
    vacant: usize,
    /// What was in the block's `ready` before a detached batch.
    pub(super) others: usize,
}

/// How far a batch has come.
pub(super) struct Polled {
    /// How many children were polled.
    pub(super) count: usize,
    /// How many of these were done, and have freed their slot.
    pub(super) freed: usize,
}

/// No slot, of a block.
const NO_SLOT: u8 = u8::MAX;

pub(super) struct Block<C> {
    pub(super) state: BlockState,
    slots: Slots<C>,
}

/// The part of a [`Block`] that does not depend on the type of the children. It is dropped by a
/// function, as a [`Slots`] is.
pub(super) struct BlockState {
    /// `None` if it is the first block, whose bits the `ParentWaker` has.
    bits: ManuallyDrop<Option<Arc<ReadyBits>>>,
    /// Lent, for one poll, to each child without a waker of its own; most never keep a clone. A
    /// child that does gets this one for good. Between two polls there is no clone of it. The
    /// first block lends the `ParentWaker` instead, if it can.
    shared_waker: ManuallyDrop<Option<Arc<ChildWaker>>>,
    /// The slot of the child that has kept the `ParentWaker` for its waker.
    parent_kept_by: u8,
    /// Slots without a child.
    vacant: usize,
    /// Children that were never polled.
    pub(super) unpolled: usize,
    /// Children that this round still polls.
    pub(super) ready: usize,
    /// Children that were woken in their own poll in this tick, and wait for the next.
    pub(super) yielded: usize,
    /// Children that had yielded when this tick began, for the next round.
    pub(super) deferred: usize,
    /// The next block of each [`BlockList`](super::lists::BlockList) that this one is in.
    pub(super) next: [u32; 3],
    /// The block is in the set's `yielded`.
    pub(super) in_yielded: bool,
    /// The block is in the set's `with_room`.
    pub(super) in_with_room: bool,
}

impl BlockState {
    fn new(bits: Option<Arc<ReadyBits>>) -> Self {
        Self {
            shared_waker: ManuallyDrop::new(None),
            parent_kept_by: NO_SLOT,
            bits: ManuallyDrop::new(bits),
            vacant: usize::MAX,
            unpolled: 0,
            ready: 0,
            yielded: 0,
            deferred: 0,
            next: [NO_BLOCK; 3],
            in_yielded: false,
            in_with_room: false,
        }
    }

    /// Returns `true` if there is a slot that takes a child.
    pub(super) fn has_room(&self) -> bool {
        self.insertable() != 0
    }

    /// Returns the slot that takes the next child, if there is one.
    #[inline]
    pub(super) fn next_slot(&self) -> Option<usize> {
        match self.insertable() {
            0 => None,
            slots => Some(slots.trailing_zeros() as usize),
        }
    }

    /// Returns the vacant slots behind all children that were never polled. These may take the next
    /// child: then it is polled after them.
    #[inline]
    fn insertable(&self) -> usize {
        match self.unpolled {
            0 => self.vacant,
            unpolled => self.vacant & (usize::MAX - 1) << unpolled.ilog2(),
        }
    }

    /// Returns the slots that hold a child.
    pub(super) fn occupied(&self) -> usize {
        !self.vacant
    }

    /// Makes the newest child, which was never polled, and those of `others` the ones that are
    /// `ready`. Returns which were `ready` before.
    #[inline]
    pub(super) fn detach_newest(&mut self, others: usize) -> usize {
        let newest = 1 << (SLOTS - 1 - self.unpolled.leading_zeros() as usize);
        self.unpolled ^= newest;
        core::mem::replace(&mut self.ready, others | newest)
    }

    /// Finds out how far a batch had come when a panic ended it.
    pub(super) fn recover(&mut self, batch: &Batch, parent: &Arc<ParentWaker>) -> Polled {
        if self.parent_kept_by == batch.slot && self.vacant & 1 << batch.slot != 0 {
            // What panicked was told of the child's result, when the child was gone.
            self.parent_kept_by = NO_SLOT;
        }
        // The child may have left a clone of the waker that it was lent.
        self.recycle_lent(parent);
        let todo = if batch.unpolled { self.unpolled } else { self.ready };
        Polled {
            count: (batch.todo & !todo).count_ones() as usize,
            freed: (self.vacant & !batch.vacant).count_ones() as usize,
        }
    }

    /// Makes the wakers that were lent fit for the next child.
    #[inline]
    fn recycle_lent(&mut self, parent: &Arc<ParentWaker>) {
        if self.bits.is_none() && self.parent_kept_by == NO_SLOT {
            Lent::Parent(parent).recycle();
        }
        if self.shared_waker.as_ref().is_some_and(|waker| !Lent::Child(waker).recycle()) {
            *self.shared_waker = None;
        }
    }

    /// Returns how many children were woken, at least, since their bits were taken.
    pub(super) fn count_woken(&self, parent: &ParentWaker) -> usize {
        let woken = match &*self.bits {
            None => parent.peek_first_bits(),
            Some(bits) => bits.peek(),
        };
        woken.count_ones() as usize
    }
}

impl Drop for BlockState {
    #[inline(never)]
    fn drop(&mut self) {
        drop((self.bits.take(), self.shared_waker.take()));
    }
}

impl<C> Block<C> {
    pub(super) fn new(bits: Option<Arc<ReadyBits>>) -> Self {
        Self { state: BlockState::new(bits), slots: Slots::new() }
    }

    /// Gives the memory back that no child needs.
    pub(super) fn trim(&mut self) {
        self.slots.trim(self.state.vacant);
        // It is made anew on demand.
        *self.state.shared_waker = None;
    }

    /// Puts a child into a slot that [takes it](BlockState::next_slot).
    #[inline(always)]
    pub(super) fn insert_with(&mut self, at: usize, make: impl FnOnce() -> C, index: usize) {
        let bit = 1 << at;
        loop {
            if let Some(mut slot) = self.slots.get(at) {
                slot.child.set(Some(make()));
                *slot.index = index;
                break;
            }
            self.slots.allocate(at);
        }
        self.state.vacant ^= bit;
        self.state.unpolled |= bit;
    }

    /// Goes on with a batch: of the children that it is of, those in `mask`, at most `count`.
    /// Returns `true` if it may go on, and how far it came. It may not after `on_done` has returned
    /// `false`, or when too many children in a row have yielded: then `yields` is 0 in the budget.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "the loop that all children go through")]
    pub(super) fn poll<R>(
        &mut self,
        parent: &Arc<ParentWaker>,
        batch: &mut Batch,
        (mask, count): (usize, usize),
        budget: &mut Budget,
        returned: &mut Option<R>,
        poll: &mut impl FnMut(Pin<&mut C>, usize, &mut Context<'_>) -> Poll<R>,
        on_done: &mut impl FnMut(usize, R) -> bool,
    ) -> (bool, Polled) {
        let Self { state, slots } = self;
        let BlockState {
            bits, shared_waker, parent_kept_by, vacant, unpolled, ready, yielded, ..
        } = state;
        let todo = if batch.unpolled { unpolled } else { ready };
        (batch.todo, batch.vacant) = (*todo, *vacant);
        // The children still to be polled; the copy in the block, `todo`, outlasts a panic.
        let mut remaining = *todo & mask;
        let (mut left, mut freed) = (count, 0);
        let (mut yields, mut pended) = (budget.yields, budget.pended);
        let (suspects_pending, most_yields) = (budget.suspects_pending(), budget.most_yields());
        let mut go_on = true;
        while go_on && remaining != 0 && left != 0 {
            let lent =
                Lent::choose(bits.as_ref(), parent, *parent_kept_by == NO_SLOT, shared_waker);
            let waker = lent.waker();
            let mut lent_cx = Context::from_waker(&waker);
            // The slot of a child that has kept a clone of the waker that was lent.
            let mut kept_by = None;
            while go_on && remaining != 0 && left != 0 {
                left -= 1;
                let at = remaining.trailing_zeros() as usize;
                let bit = remaining & remaining.wrapping_neg();
                remaining ^= bit;
                *todo ^= bit;
                batch.slot = at as u8;
                let mut slot = slots.slot(at);
                let Some(child) = slot.child.as_mut().as_pin_mut() else {
                    debug_assert!(false, "a vacant slot was to be polled");
                    continue;
                };
                let own = match slot.waker {
                    Some(waker) => Some(Lent::Child(waker)),
                    None if *parent_kept_by == at as u8 => Some(Lent::Parent(parent)),
                    None => None,
                };
                let answer = match own {
                    None => {
                        lent.reset_for(at);
                        poll(child, *slot.index, &mut lent_cx)
                    }
                    Some(own) => {
                        own.begin_poll();
                        poll(child, *slot.index, &mut Context::from_waker(&own.waker()))
                    }
                };
                let Poll::Ready(value) = answer else {
                    // First whether there is a clone, then whether it was woken: if there is none,
                    // nothing can wake it after the look.
                    let (keeps, woken) = match own {
                        None => {
                            let is_unique = lent.is_unique();
                            (!is_unique, lent.end_poll(is_unique))
                        }
                        Some(own) => (false, own.end_poll(false)),
                    };
                    if woken {
                        *yielded |= bit;
                    }
                    if woken || suspects_pending {
                        yields -= 1;
                        go_on = yields != 0;
                    } else {
                        pended = pended.saturating_add(1);
                    }
                    if keeps {
                        kept_by = Some(at);
                        break;
                    }
                    continue;
                };
                (yields, pended) = (most_yields, 0);
                let (index, value) = slot.vacate_for(value, returned);
                *vacant |= bit;
                freed += 1;
                go_on = value.is_none_or(|value| on_done(index, value));
                if *parent_kept_by == at as u8 {
                    *parent_kept_by = NO_SLOT;
                    Lent::Parent(parent).recycle();
                } else if !lent.is_unique() {
                    // The child has left a clone, which must not reach the slot's next child.
                    lent.recycle();
                    break;
                }
            }
            match (lent, kept_by) {
                (Lent::Parent(_), Some(at)) => *parent_kept_by = at as u8,
                (Lent::Parent(_), None) => {}
                (Lent::Child(_), Some(at)) => {
                    // By now the clone may have been woken and dropped.
                    *slots.slot(at).waker = shared_waker.take();
                }
                (Lent::Child(waker), None) => {
                    if !Lent::Child(waker).is_unique() {
                        **shared_waker = None;
                    }
                }
            }
        }
        (budget.yields, budget.pended) = (yields, pended);
        let count = count - left;
        budget.polls -= count as u16;
        (go_on, Polled { count, freed })
    }

    /// Polls the only child that is `unpolled`, or `ready`. Returns how many slots were freed.
    #[inline]
    pub(super) fn poll_lone<R>(
        &mut self,
        parent: &Arc<ParentWaker>,
        batch: &mut Batch,
        budget: &mut Budget,
        returned: &mut Option<R>,
        poll: impl FnOnce(Pin<&mut C>, &mut Context<'_>) -> Poll<R>,
        on_done: impl FnOnce(usize, R),
    ) -> usize {
        let Self { state, slots } = self;
        let BlockState { bits, shared_waker, parent_kept_by, vacant, unpolled, ready, .. } = state;
        let todo = if batch.unpolled { unpolled } else { ready };
        let (at, bit) = (todo.trailing_zeros() as usize, *todo);
        (batch.todo, batch.vacant, batch.slot) = (bit, *vacant, at as u8);
        *todo = 0;
        let mut slot = slots.slot(at);
        let Some(child) = slot.child.as_mut().as_pin_mut() else {
            debug_assert!(false, "a vacant slot was to be polled");
            budget.polls -= 1;
            return 0;
        };
        let has_parent = *parent_kept_by == at as u8;
        let is_own = slot.waker.is_some() || has_parent;
        let waker = match slot.waker {
            Some(waker) => Lent::Child(waker),
            None if has_parent => Lent::Parent(parent),
            None => {
                let is_free = *parent_kept_by == NO_SLOT;
                Lent::choose(bits.as_ref(), parent, is_free, shared_waker)
            }
        };
        if is_own {
            waker.begin_poll();
        } else {
            waker.reset_for(at);
        }
        let answer = poll(child, &mut Context::from_waker(&waker.waker()));
        let Poll::Ready(value) = answer else {
            // First whether there is a clone, then whether it was woken.
            let keeps = !is_own && !waker.is_unique();
            let woken = waker.end_poll(!is_own && !keeps);
            if woken {
                state.yielded |= bit;
            }
            budget.count_pending(woken);
            match waker {
                _ if !keeps => {}
                Lent::Parent(_) => *parent_kept_by = at as u8,
                Lent::Child(_) => *slot.waker = shared_waker.take(),
            }
            return 0;
        };
        budget.count_done();
        let (index, value) = slot.vacate_for(value, returned);
        *vacant |= bit;
        if let Some(value) = value {
            on_done(index, value);
        }
        // Last: after a panic, `recover` counts the poll.
        budget.polls -= 1;
        if has_parent {
            *parent_kept_by = NO_SLOT;
        }
        if has_parent || !is_own {
            // The child may have left a clone, which must not reach the slot's next child.
            self.state.recycle_lent(parent);
        }
        1
    }

    /// Returns the children that are not to be polled before they are woken, and whose index
    /// `is_meant`.
    pub(super) fn find_waiting(&mut self, is_meant: &mut dyn FnMut(usize) -> bool) -> usize {
        let busy =
            self.state.unpolled | self.state.ready | self.state.yielded | self.state.deferred;
        bits(self.state.occupied() & !busy)
            .filter(|&at| is_meant(self.child_index(at)))
            .fold(0, |mask, at| mask | 1 << at)
    }

    /// Calls `visit` with the index of each child, and how far it has come.
    pub(super) fn inspect(
        &self,
        parent: &Arc<ParentWaker>,
        visit: &mut dyn FnMut(usize, Progress),
    ) {
        let busy = self.state.ready | self.state.yielded | self.state.deferred;
        let kept_by = usize::from(self.state.parent_kept_by);
        for at in bits(self.state.occupied()) {
            let (index, waker) = self.slots.peek(at);
            // A child without a waker of its own has kept no clone, so nothing can wake it.
            let is_woken = || match waker {
                Some(waker) => waker.is_woken(),
                None => at == kept_by && Lent::Parent(parent).is_woken(),
            };
            let progress = match 1 << at {
                bit if self.state.unpolled & bit != 0 => Progress::Unpolled,
                bit if busy & bit != 0 || is_woken() => Progress::Woken,
                _ => Progress::Waiting,
            };
            visit(index, progress);
        }
    }

    /// Returns the index of the child in that slot, or of the last one that was there.
    #[cold]
    #[inline(never)]
    pub(super) fn child_index(&mut self, at: usize) -> usize {
        *self.slots.slot(at).index
    }

    /// Drops a child.
    pub(super) fn remove(&mut self, at: usize, parent: &Arc<ParentWaker>) {
        self.slots.slot(at).vacate();
        self.state.vacant |= 1 << at;
        if self.state.parent_kept_by == at as u8 {
            self.state.parent_kept_by = NO_SLOT;
        }
        self.state.recycle_lent(parent);
    }

    /// Takes the bits of the children that were woken since the last call, except of those that
    /// have yielded, which are polled again anyway. A bit may also come from a clone of a waker
    /// that outlived its child.
    pub(super) fn take_woken(&mut self, parent: &Arc<ParentWaker>) -> usize {
        let taken = match &*self.state.bits {
            None => parent.take_first_bits(),
            Some(bits) => bits.take_bits(),
        };
        let kept_by = usize::from(self.state.parent_kept_by);
        bits(taken & !(self.state.vacant | self.state.yielded | self.state.deferred))
            .filter(|&at| match self.slots.slot(at).waker {
                Some(waker) => waker.is_woken(),
                None => at == kept_by && Lent::Parent(parent).is_woken(),
            })
            .fold(0, |mask, at| mask | 1 << at)
    }
}

impl<C> SlotMut<'_, C> {
    /// [Vacates](Self::vacate) the slot of a child that has returned a value. Returns the child's
    /// index, and the value.
    #[inline(always)]
    fn vacate_for<R>(self, value: R, returned: &mut Option<R>) -> (usize, Option<R>) {
        if !needs_drop::<C>() {
            return (self.vacate(), Some(value));
        }
        // The value must outlast a panic of the child's destructor.
        *returned = Some(value);
        let index = self.vacate();
        (index, returned.take())
    }

    /// Drops the child, and returns its index. If clones of its waker are left, the slot gives
    /// that waker up, so that they don't reach the slot's next child.
    #[inline]
    fn vacate(mut self) -> usize {
        // An assignment that unwinds from the old value's destructor has stored the new one.
        self.child.set(None);
        if self.waker.as_ref().is_some_and(|waker| !Lent::Child(waker).recycle()) {
            *self.waker = None;
        }
        *self.index
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
