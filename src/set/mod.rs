//! The engine: holds the children, polls those that were woken, and hands out what they return.
//!
//! It knows nothing of limits, policies or tokens. Children are in blocks of 64 slots (a machine
//! word's bits) that the set owns. A slot holds one child after another, and its waker serves them
//! one after another. A child's waker sets a bit in the ready bits of its block. Each of the first
//! 45 blocks has a bit in the group's [`ParentWaker`]. Each of the others has one in the ready bits
//! of its *region*. The first 16 regions have a bit in the `ParentWaker`, too, and each of the
//! others is a future in a `FuturesUnordered`. So the cost of finding the woken children depends
//! only on how many were woken.
//!
//! Children are polled in *ticks* and *rounds*. A tick is one poll of the set's owner. A round is
//! fixed when it starts: all children that have been woken by then, then all that were inserted
//! and never polled, in the order of insertion; each is polled once. A tick goes on with rounds as
//! long as children are woken or inserted, except that a child that was woken while it was polled
//! has *yielded*: it is polled again in the next tick, or in a later one if the round goes on that
//! long. A tick may end within a round; the next tick goes on there.
//!
//! As long as the first block has been enough, its masks say everything, and there is no queue.
//! With the second block the set gets its [`Many`], which lists blocks by what they have to do.
//!
//! # Invariants
//!
//! - A slot has a child exactly if its block's `vacant` has no bit for it; its `child` is
//!   then `Some`. `many`, if there is one, counts the children; else the mask does.
//! - The unpolled children of a block are in slots in the order in which they came: a block takes
//!   a child only into a slot behind them all. With `many`, each block that takes a child is the
//!   `current` one or in `with_room`, once, and then its `in_with_room` is set; or it takes one
//!   only since the batch that is being polled.
//! - With `many`, a block is in `round` exactly while its `ready` is not 0; likewise with `yielded`
//!   and `deferred`.
//! - `ready`, `yielded`, `deferred` and `unpolled` have bits of occupied slots only, and no two of
//!   them the same.

mod block;
mod blocks;
pub(crate) mod budget;
mod child_waker;
mod lists;
mod many;
mod overflow;
#[cfg(feature = "testing")]
mod schedule;
mod slots;

use alloc::boxed::Box;
use core::fmt;
use core::mem::take;
use core::pin::Pin;
use core::task::{Context, Poll};

pub(crate) use self::block::Batch;
use self::block::{Polled, bits};
use self::blocks::{BlockStates, Blocks};
pub(crate) use self::budget::Budget;
use self::lists::BlockList;
use self::many::Many;
use self::slots::SLOTS;
use crate::util::panic::{Payload, catch};
use crate::util::parent_waker::{ParentWaker, ReadyBlocks};
use crate::util::rare_box::RareBox;
use crate::util::sync::Arc;

/// Names a child's slot, for as long as the child is in the set.
#[derive(Clone, Copy)]
pub(crate) struct SlotKey {
    block: usize,
    slot: usize,
}

/// Which children are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Round,
    Newest,
    Tick,
}

/// How far a running child has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It was never polled.
    Unpolled,
    /// It was woken, and not polled since.
    Woken,
    /// It waits to be woken.
    Waiting,
    /// An executor runs it.
    Spawned,
    /// It has ended on its executor, and the group has not been polled since.
    Completed,
}

pub struct BlockSet<C> {
    blocks: Blocks<C>,
    /// `None` as long as all children fit into the first block, whose masks say everything then.
    many: RareBox<Many>,
    /// The children of the first block that are in the round and were never polled, if there is no
    /// `many`.
    unpolled_in_round: usize,
    /// What the children wake. `None` before the first child.
    parent: Option<Arc<ParentWaker>>,
    /// The order in which a test wants the children to be polled.
    #[cfg(feature = "testing")]
    schedule: Option<Box<schedule::Schedule>>,
}

impl<C> fmt::Debug for BlockSet<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockSet(..)")
    }
}

impl<C> BlockSet<C> {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Blocks::new(),
            many: RareBox::none(),
            unpolled_in_round: 0,
            parent: None,
            #[cfg(feature = "testing")]
            schedule: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match &*self.many {
            None => self.blocks.first.state.occupied() == 0,
            Some(many) => many.is_empty(),
        }
    }

    /// Inserts a child; it is polled in the next round. Its wakers wake `parent`.
    #[inline(never)]
    pub(crate) fn insert(&mut self, child: C, index: usize, parent: &Arc<ParentWaker>) {
        self.insert_with(|| child, index, parent);
    }

    /// Inserts a child that is made when its slot is there.
    #[inline(always)]
    pub(crate) fn insert_with(
        &mut self,
        make: impl FnOnce() -> C,
        index: usize,
        parent: &Arc<ParentWaker>,
    ) {
        let (number, at) = self.find_slot(parent);
        // A child that panics while it is made leaves the slot vacant.
        self.blocks.block(number).insert_with(at, make, index);
        if let Some(many) = &mut *self.many {
            many.add_child();
        }
    }

    /// Returns the block that takes the next child, and the slot.
    #[inline]
    fn find_slot(&mut self, parent: &Arc<ParentWaker>) -> (usize, usize) {
        let current = self.many.as_ref().map_or(0, |many| many.current);
        // It may have been given back.
        let slot = self.blocks.get_mut(current).and_then(|block| block.state.next_slot());
        match slot {
            Some(at) if self.parent.is_some() => (current, at),
            _ => self.add_room(parent),
        }
    }

    #[cold]
    fn add_room(&mut self, parent: &Arc<ParentWaker>) -> (usize, usize) {
        if self.parent.is_none() {
            self.parent = Some(Arc::clone(parent));
            return (0, 0);
        }
        let Self { blocks, many, unpolled_in_round, .. } = self;
        let many = many.get_or_insert_with(|| Box::new(Many::of(blocks, take(unpolled_in_round))));
        many.find_room(blocks, parent);
        match blocks.block(many.current).state.next_slot() {
            Some(at) => (many.current, at),
            None => unreachable!("a block with room has no slot for a child"),
        }
    }

    /// Begins a tick: the children that yielded in the last one may be polled again in the next
    /// round that begins.
    #[inline]
    pub(crate) fn begin_tick(&mut self) {
        match &mut *self.many {
            None => self.blocks.first.state.deferred |= take(&mut self.blocks.first.state.yielded),
            Some(many) => many.begin_tick(&mut self.blocks),
        }
    }

    /// Returns `true` if a round was begun that is not over.
    #[inline]
    pub(crate) fn is_in_round(&self) -> bool {
        match &*self.many {
            None => self.blocks.first.state.ready | self.unpolled_in_round != 0,
            Some(many) => many.is_in_round(),
        }
    }

    /// Fixes the next round, after the last one is over. Children may have been
    /// [added](Self::add_to_round) to it already. Returns `false` if no child is to be polled in
    /// this tick. `ready` is what was taken from the `ParentWaker` since the last call.
    #[inline]
    pub(crate) fn start_round(&mut self, ready: ReadyBlocks) -> bool {
        let Some(parent) = &self.parent else {
            return false;
        };
        match &mut *self.many {
            None => {
                let first = &mut self.blocks.first;
                // All children that have yielded are in one round, or some would be polled more
                // often.
                if first.state.yielded == 0 {
                    first.state.ready |= take(&mut first.state.deferred);
                }
                if ready.blocks() != 0 {
                    first.state.ready |= first.take_woken(parent);
                }
                self.unpolled_in_round = first.state.unpolled;
            }
            Some(many) => many.start_round(&mut self.blocks, ready, parent),
        }
        #[cfg(feature = "testing")]
        self.delay_some();
        self.is_in_round()
    }

    /// Adds to the round the children that wait for a wake-up, and whose index `is_meant`.
    pub(crate) fn add_to_round(&mut self, is_meant: &mut dyn FnMut(usize) -> bool) {
        match &mut *self.many {
            None => {
                let first = &mut self.blocks.first;
                first.state.ready |= first.find_waiting(is_meant);
            }
            Some(many) => many.add_to_round(&mut self.blocks, is_meant),
        }
    }

    /// Returns how many children were woken, about, of which the rounds do not know yet; `ready` is
    /// what the `ParentWaker` tells.
    #[cold]
    pub(crate) fn count_woken(&mut self, ready: ReadyBlocks) -> usize {
        match (&*self.many, &self.parent) {
            (_, None) => 0,
            (None, Some(parent)) => self.blocks.first.state.count_woken(parent),
            (Some(many), Some(parent)) => many.count_woken(&mut self.blocks, ready, parent),
        }
    }

    /// Calls `visit` with the index of each child, and how far it has come.
    pub(crate) fn inspect(&self, visit: &mut dyn FnMut(usize, Progress)) {
        let Some(parent) = &self.parent else { return };
        for block in self.blocks.iter() {
            block.inspect(parent, visit);
        }
    }

    /// Returns `true` if some child is known to be ready: left over from this tick's rounds,
    /// never polled, or yielded.
    pub(crate) fn has_ready(&self) -> bool {
        match &*self.many {
            None => {
                let first = &self.blocks.first;
                first.state.ready
                    | first.state.yielded
                    | first.state.deferred
                    | first.state.unpolled
                    != 0
            }
            Some(many) => many.has_ready(),
        }
    }

    /// Returns `true` if a child was inserted and never polled.
    pub(crate) fn has_newcomer(&self) -> bool {
        match &*self.many {
            None => self.blocks.first.state.unpolled != 0,
            Some(many) => many.has_newcomer(),
        }
    }

    /// Returns the index of the child that was inserted last, of those that were never polled.
    #[cold]
    pub(crate) fn newest(&mut self) -> Option<usize> {
        let number = self.many.as_ref().map_or(Some(0), |many| many.newest())?;
        let block = self.blocks.get_mut(number)?;
        Some(block.child_index(block.state.unpolled.checked_ilog2()? as usize))
    }

    /// Returns the index of the child that was inserted first, of those that were never polled.
    #[cold]
    pub(crate) fn oldest_newcomer(&mut self) -> Option<usize> {
        let number = self.many.as_ref().map_or(Some(0), |many| many.oldest())?;
        let block = self.blocks.get_mut(number)?;
        let unpolled = block.state.unpolled;
        (unpolled != 0).then(|| block.child_index(unpolled.trailing_zeros() as usize))
    }

    /// Goes on with the round, until it is over, the budget is spent, or `on_done` returns `false`.
    /// `on_done` is called with the index of each child that is done and what it returned, after
    /// the child has been dropped. Returns `true` when the round is over.
    ///
    /// With [`Part::Newest`], polls the child that was inserted last instead, if it has never been
    /// polled; with [`Part::Tick`], that one and those that have yielded, which
    /// [is a tick](Self::is_simple_tick).
    ///
    /// A child that panics, in its poll or its destructor, is the
    /// [`interrupted`](Self::interrupted) one of the batch, and must be [removed](Self::remove). If
    /// its destructor panicked, `returned` holds its value.
    #[inline]
    pub(crate) fn poll_round<R>(
        &mut self,
        part: Part,
        batch: &mut Batch,
        budget: &mut Budget,
        returned: &mut Option<R>,
        mut poll: impl FnMut(Pin<&mut C>, usize, &mut Context<'_>) -> Poll<R>,
        mut on_done: impl FnMut(usize, R) -> bool,
    ) -> bool {
        loop {
            let Some((mask, count)) = self.begin_batch(part, batch) else {
                return true;
            };
            #[cfg(feature = "testing")]
            let (mask, count) = self.choose(batch, (mask, count));
            let Self { blocks, parent: Some(parent), .. } = self else {
                return true;
            };
            let block = blocks.block(batch.block as usize);
            let scope = (mask, count.min(budget.polls.into()));
            let (go_on, polled) =
                block.poll(parent, batch, scope, budget, returned, &mut poll, &mut on_done);
            self.end_batch(batch, &polled);
            if self.many.is_some() {
                budget.count_done_of_many(polled.freed);
            }
            #[cfg(feature = "testing")]
            self.spend_early(batch, budget);
            let is_over = !self.is_in_round();
            if !go_on || budget.polls == 0 || is_over {
                return is_over;
            }
            if part != Part::Round {
                return true;
            }
        }
    }

    /// Prepares the next batch. Returns which children of a block it is of, and how many of them
    /// there are at most, or `None` if there is none.
    #[inline]
    fn begin_batch(&mut self, part: Part, batch: &mut Batch) -> Option<(usize, usize)> {
        // One by one: the other fields are set while the batch is polled.
        batch.detached = part != Part::Round;
        batch.unpolled = false;
        batch.others = 0;
        let Some(many) = &mut *self.many else {
            let first = &mut self.blocks.first;
            batch.block = 0;
            if part != Part::Round {
                if first.state.unpolled == 0 {
                    return None;
                }
                let yielded = if part == Part::Tick { take(&mut first.state.yielded) } else { 0 };
                batch.others = first.state.detach_newest(yielded);
                self.unpolled_in_round &= first.state.unpolled;
            } else if first.state.ready == 0 {
                batch.unpolled = true;
                return (self.unpolled_in_round != 0).then_some((self.unpolled_in_round, SLOTS));
            }
            return Some((usize::MAX, SLOTS));
        };
        many.begin_batch(&mut self.blocks, part, batch).map(|count| (usize::MAX, count))
    }

    /// Updates what the set knows after a batch of children was polled.
    #[inline]
    fn end_batch(&mut self, batch: &Batch, polled: &Polled) {
        if self.many.is_some() {
            return self.end_batch_of_many(batch, polled);
        }
        let first = &mut self.blocks.first;
        first.state.ready |= batch.others;
        self.unpolled_in_round &= first.state.unpolled;
        self.reset_if_empty();
    }

    /// Gives all memory back if no child is left in the first block, which is the only one, and
    /// not even that one is retained.
    #[inline]
    fn reset_if_empty(&mut self) {
        if Self::RETAINED == 0 && self.blocks.first.state.occupied() == 0 {
            self.reset();
        }
    }

    /// Gives all memory back, when there is no child.
    #[cold]
    fn reset(&mut self) {
        let parent = self.parent.take();
        #[cfg(feature = "testing")]
        let schedule = self.schedule.take();
        *self = Self {
            parent,
            #[cfg(feature = "testing")]
            schedule,
            ..Self::new()
        };
    }

    /// Returns `true` if all that is known to be ready are one child that was never polled, and
    /// some in its block that have yielded, as few as one poll may poll.
    #[inline]
    pub(crate) fn is_simple_tick(&mut self, budget: &Budget) -> bool {
        #[cfg(feature = "testing")]
        if self.schedule.is_some() {
            return false;
        }
        match &*self.many {
            None => {
                let first = &self.blocks.first;
                let is_short = match first.state.yielded {
                    0 => !budget.is_spent(),
                    // Without `popcnt`, a count takes a while.
                    yielded if yielded.is_power_of_two() => budget.most() > 1,
                    yielded => yielded.count_ones() < budget.most(),
                };
                is_short
                    && first.state.unpolled.is_power_of_two()
                    && first.state.ready | first.state.deferred | self.unpolled_in_round == 0
            }
            Some(many) => many.is_simple_tick(&mut self.blocks, budget),
        }
    }

    /// Returns `true` if one child is all that is left of a round or, if there is one block, all
    /// that is to be polled in a [simple tick](Self::is_simple_tick).
    #[inline]
    pub(crate) fn is_lone(&mut self, part: Part) -> bool {
        #[cfg(feature = "testing")]
        if self.schedule.is_some() {
            return false;
        }
        if let Some(many) = &*self.many {
            return part == Part::Round && many.has_one_woken(&mut self.blocks);
        }
        let first = &self.blocks.first;
        match part {
            Part::Round if self.unpolled_in_round == 0 => first.state.ready.is_power_of_two(),
            Part::Round => first.state.ready == 0 && first.state.unpolled.is_power_of_two(),
            Part::Tick => first.state.yielded == 0,
            Part::Newest => false,
        }
    }

    /// Does what [`poll_round`](Self::poll_round) does if [there is but one](Self::is_lone) child.
    #[inline]
    pub(crate) fn poll_lone<R>(
        &mut self,
        part: Part,
        batch: &mut Batch,
        budget: &mut Budget,
        returned: &mut Option<R>,
        poll: impl FnOnce(Pin<&mut C>, &mut Context<'_>) -> Poll<R>,
        on_done: impl FnOnce(usize, R),
    ) {
        let Self { blocks, many, parent: Some(parent), .. } = self else {
            return;
        };
        let number = many.as_ref().and_then(|many| many.round.first()).unwrap_or(0);
        let is_unpolled = part == Part::Tick || self.unpolled_in_round != 0;
        (batch.block, batch.unpolled, batch.others) = (number as u32, is_unpolled, 0);
        batch.detached = false;
        self.unpolled_in_round = 0;
        let block = blocks.block(number);
        let freed = block.poll_lone(parent, batch, budget, returned, poll, on_done);
        let Some(many) = &mut *self.many else {
            return self.reset_if_empty();
        };
        budget.count_done_of_many(freed);
        if freed == 0 && block.state.yielded == 0 {
            // It waits.
            many.round = BlockList::default();
        } else {
            self.end_batch_of_many(batch, &Polled { count: 1, freed });
        }
    }

    /// Returns `true` if some child is known to be ready that has not yielded in this tick.
    #[inline]
    pub(crate) fn has_next(&self) -> bool {
        match &*self.many {
            None => {
                let first = &self.blocks.first;
                first.state.ready | first.state.deferred | first.state.unpolled != 0
            }
            Some(many) => many.has_next(),
        }
    }

    /// Updates what the set knows after a panic.
    pub(crate) fn recover_counts(&mut self, batch: &Batch, budget: &mut Budget) {
        let Some(parent) = &self.parent else { return };
        let block = self.blocks.block(batch.block as usize);
        let polled = block.state.recover(batch, parent);
        budget.polls -= polled.count as u16;
        self.end_batch(batch, &polled);
    }

    /// Returns the slot of the child that was being polled or dropped when a panic came, and its
    /// index, which is known even if the child is gone.
    pub(crate) fn interrupted(&mut self, batch: &Batch) -> (SlotKey, usize) {
        let (block, slot) = (batch.block as usize, usize::from(batch.slot));
        (SlotKey { block, slot }, self.blocks.block(block).child_index(slot))
    }

    /// Drops a child. If its destructor panics, call this again: the child is gone then, but its
    /// slot is not yet free.
    pub(crate) fn remove(&mut self, key: SlotKey) {
        let Some(parent) = &self.parent else { return };
        self.blocks.block(key.block).remove(key.slot, parent);
        match &*self.many {
            None => self.reset_if_empty(),
            Some(_) => self.free_slots_of_many(key.block, 1),
        }
    }

    /// Takes the set out; an empty one is left in its place. Stale wakers of the children may cause
    /// a spurious wake-up.
    #[cold]
    #[inline(never)]
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }

    /// Drops all children. Calls `on_dropped` with the index of each, and the panic of its
    /// destructor.
    pub(crate) fn drop_all(self, on_dropped: &mut dyn FnMut(usize, Result<(), Payload>)) {
        let Some(parent) = &self.parent else { return };
        let mut blocks = self.blocks;
        for number in 0..blocks.end() {
            let Some(block) = blocks.get_mut(number) else { continue };
            for slot in bits(block.state.occupied()) {
                let index = block.child_index(slot);
                let dropped = catch(|| block.remove(slot, parent));
                if dropped.is_err() {
                    block.remove(slot, parent);
                }
                on_dropped(index, dropped);
            }
        }
    }
}
