//! What a set with several blocks knows of them, beyond what each knows of its children.

use alloc::vec::Vec;

use super::block::{Batch, Polled};
use super::blocks::{BlockStates, Blocks};
use super::budget::Budget;
use super::lists::{BlockList, DEFERRED, ROUND, RunQueue, YIELDED};
use super::overflow::Overflow;
use super::slots::{SLOTS, slots_in};
use super::{BlockSet, Part};
use crate::util::parent_waker::{ParentWaker, ReadyBlocks};
use crate::util::sync::Arc;

/// How many blocks a set retains for the children to come, if they are small.
const RETAINED_BLOCKS: usize = 16;

/// What these take at most, in bytes, for larger children.
const RETAINED_BYTES: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Many {
    /// How many children there are.
    len: usize,
    overflow: Overflow,
    /// The block that gets the next child, if it takes one.
    pub(super) current: usize,
    /// Other blocks that take children.
    with_room: Vec<usize>,
    /// Once there are no more children than this, memory is given back. It is half of what there
    /// were when that was last done, or when a block was added.
    low: usize,
    /// The blocks of the children that were inserted and not yet polled, oldest first.
    pub(super) unpolled: RunQueue,
    /// Those of them that were there when the round began.
    pub(super) unpolled_in_round: RunQueue,
    /// The blocks that this round still has to visit.
    pub(super) round: BlockList<ROUND>,
    /// The blocks with children that have yielded in this tick.
    pub(super) yielded: BlockList<YIELDED>,
    /// The blocks with children that had yielded when this tick began.
    pub(super) deferred: BlockList<DEFERRED>,
}

impl Many {
    /// Returns what there is to know of a first block, of which the children of `in_round` were
    /// never polled and are in the round.
    pub(super) fn of(blocks: &mut dyn BlockStates, in_round: usize) -> Self {
        let mut many = Self::default();
        let first = blocks.state(0);
        many.len = first.occupied().count_ones() as usize;
        many.unpolled.push(0, (first.unpolled & !in_round).count_ones());
        many.unpolled_in_round.push(0, in_round.count_ones());
        let (ready, deferred) = (first.ready, first.deferred);
        first.in_yielded = first.yielded != 0;
        if first.in_yielded {
            many.yielded.push(blocks, 0);
        }
        if ready != 0 {
            many.round.push(blocks, 0);
        }
        if deferred != 0 {
            many.deferred.push(blocks, 0);
        }
        many
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a child, which is in the current block.
    #[inline]
    pub(super) fn add_child(&mut self) {
        self.len += 1;
        self.unpolled.push(self.current, 1);
    }

    /// Makes a block that takes a child the current one.
    #[cold]
    pub(super) fn find_room(&mut self, blocks: &mut dyn BlockStates, parent: &Arc<ParentWaker>) {
        self.current = self.with_room.pop().unwrap_or_else(|| {
            self.low = self.low.max(self.len / 2);
            blocks.add(&mut |number| self.overflow.add(number, parent))
        });
        blocks.state(self.current).in_with_room = false;
    }

    #[inline]
    pub(super) fn begin_tick(&mut self, blocks: &mut dyn BlockStates) {
        if !self.yielded.is_empty() {
            self.defer_yielded(blocks);
        }
    }

    #[cold]
    fn defer_yielded(&mut self, blocks: &mut dyn BlockStates) {
        while let Some(number) = self.yielded.pop(blocks) {
            let block = blocks.state(number);
            let before = block.deferred;
            block.deferred |= core::mem::take(&mut block.yielded);
            block.in_yielded = false;
            if before == 0 {
                self.deferred.push(blocks, number);
            }
        }
    }

    #[inline]
    pub(super) fn is_in_round(&self) -> bool {
        !self.round.is_empty() || !self.unpolled_in_round.is_empty()
    }

    pub(super) fn start_round(
        &mut self,
        blocks: &mut dyn BlockStates,
        ready: ReadyBlocks,
        parent: &Arc<ParentWaker>,
    ) {
        // All children that have yielded are in one round, or some would be polled more often.
        while self.yielded.is_empty() {
            let next = self.deferred.pop(blocks);
            let Some(number) = next else { break };
            let block = blocks.state(number);
            let before = block.ready;
            block.ready |= core::mem::take(&mut block.deferred);
            if before == 0 {
                self.round.push(blocks, number);
            }
        }
        let Self { round, overflow, .. } = self;
        // Adds the children that have been woken to the round.
        let gather = |number| {
            if blocks.ready_woken(number, parent) {
                round.push(blocks, number);
            }
        };
        overflow.gather(ready, gather);
        if !self.unpolled.is_empty() {
            core::mem::swap(&mut self.unpolled, &mut self.unpolled_in_round);
        }
    }

    pub(super) fn add_to_round(
        &mut self,
        blocks: &mut dyn BlockStates,
        is_meant: &mut dyn FnMut(usize) -> bool,
    ) {
        for number in (0..blocks.end()).rev() {
            let waiting = blocks.find_waiting(number, is_meant);
            let Some(block) = blocks.get(number).filter(|_| waiting != 0) else { continue };
            let before = block.ready;
            block.ready |= waiting;
            if before == 0 {
                self.round.push(blocks, number);
            }
        }
    }

    pub(super) fn count_woken(
        &self,
        blocks: &mut dyn BlockStates,
        ready: ReadyBlocks,
        parent: &ParentWaker,
    ) -> usize {
        let mut count = 0;
        self.overflow.peek(ready, &mut |number| {
            count += blocks.get(number).map_or(0, |block| block.count_woken(parent));
        });
        count
    }

    pub(super) fn has_ready(&self) -> bool {
        self.has_next() || !self.yielded.is_empty()
    }

    /// Returns `true` if some child is ready that has not yielded in this tick.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        self.is_in_round() || !self.deferred.is_empty() || !self.unpolled.is_empty()
    }

    pub(super) fn has_newcomer(&self) -> bool {
        !self.unpolled.is_empty() || !self.unpolled_in_round.is_empty()
    }

    /// Returns the block of the oldest child that was never polled.
    pub(super) fn oldest(&self) -> Option<usize> {
        let first = self.unpolled_in_round.first().or(self.unpolled.first());
        first.map(|(number, _)| number)
    }

    /// Returns the block of the newest child that was never polled.
    pub(super) fn newest(&self) -> Option<usize> {
        self.unpolled.last().or(self.unpolled_in_round.last())
    }

    /// Prepares the next batch. Returns how many children of its block are polled at most, or
    /// `None` if there is no batch.
    #[inline(never)]
    pub(super) fn begin_batch(
        &mut self,
        blocks: &mut dyn BlockStates,
        part: Part,
        batch: &mut Batch,
    ) -> Option<usize> {
        let (number, count) = match self.round.first() {
            _ if part != Part::Round => {
                let (number, yielded) = self.detach_newest(blocks, part == Part::Tick)?;
                batch.others = blocks.state(number).detach_newest(yielded);
                (number, SLOTS)
            }
            Some(number) => (number, SLOTS),
            None => {
                batch.unpolled = true;
                self.unpolled_in_round.first()?
            }
        };
        batch.block = number as u32;
        Some(count)
    }

    /// Removes the newest child from the queues, and those of its block that have yielded, if
    /// `with_yielded`. Returns the block, and its children that have yielded.
    fn detach_newest(
        &mut self,
        blocks: &mut dyn BlockStates,
        with_yielded: bool,
    ) -> Option<(usize, usize)> {
        let number = match self.unpolled.pop_last() {
            None => self.unpolled_in_round.pop_last()?,
            Some(number) => number,
        };
        let block = blocks.state(number);
        let mut yielded = 0;
        if with_yielded && block.in_yielded {
            block.in_yielded = false;
            yielded = core::mem::take(&mut block.yielded);
            self.yielded = BlockList::default();
        }
        Some((number, yielded))
    }

    pub(super) fn is_simple_tick(&self, blocks: &mut dyn BlockStates, budget: &Budget) -> bool {
        let Some(number) = self.unpolled.only() else {
            return false;
        };
        self.yielded.has_no_other(number)
            && !self.is_in_round()
            && self.deferred.is_empty()
            && blocks.state(number).yielded.count_ones() < budget.most()
    }

    /// Returns `true` if all that is left of the round is one child that was woken.
    #[inline]
    pub(super) fn has_one_woken<C>(&self, blocks: &mut Blocks<C>) -> bool {
        self.unpolled_in_round.is_empty()
            && self.round.only().is_some_and(|it| blocks.block(it).state.ready.is_power_of_two())
    }

    /// Updates the queues of the blocks after a batch.
    pub(super) fn end_batch(
        &mut self,
        blocks: &mut dyn BlockStates,
        batch: &Batch,
        polled: &Polled,
    ) {
        let number = batch.block as usize;
        let block = blocks.state(number);
        let has_yielded = block.yielded != 0 && !block.in_yielded;
        block.in_yielded |= has_yielded;
        if batch.detached {
            let is_left = block.ready != 0 && batch.others == 0;
            block.ready |= batch.others;
            if is_left {
                self.round.push(blocks, number);
            }
        } else if batch.unpolled {
            self.unpolled_in_round.pop_many(polled.count);
        } else if block.ready == 0 {
            self.round.pop(blocks);
        }
        if has_yielded {
            self.yielded.push(blocks, number);
        }
    }

    /// Records that `count` slots of a block have been freed. Returns `true` if memory may be given
    /// back.
    pub(super) fn free_slots(
        &mut self,
        blocks: &mut dyn BlockStates,
        number: usize,
        count: usize,
    ) -> bool {
        self.len -= count;
        let block = blocks.state(number);
        if !block.in_with_room && number != self.current && block.has_room() {
            block.in_with_room = true;
            self.with_room.push(number);
        }
        self.len <= self.low
    }

    /// Lists the blocks anew that take children, after memory was given back.
    fn find_rooms(&mut self, blocks: &mut dyn BlockStates) {
        self.low = self.len / 2;
        self.with_room = Vec::new();
        for number in (0..blocks.end()).rev() {
            let Some(block) = blocks.get(number) else { continue };
            block.in_with_room = number != self.current && block.has_room();
            if block.in_with_room {
                self.with_room.push(number);
            }
        }
    }
}

impl<C> BlockSet<C> {
    /// How many blocks are retained for the children to come.
    pub(super) const RETAINED: usize = {
        let blocks = slots_in::<C>(RETAINED_BYTES) / SLOTS;
        if blocks < RETAINED_BLOCKS { blocks } else { RETAINED_BLOCKS }
    };

    /// Updates the queues of the blocks after a batch.
    #[inline(never)]
    pub(super) fn end_batch_of_many(&mut self, batch: &Batch, polled: &Polled) {
        let number = batch.block as usize;
        let Some(many) = &mut *self.many else { return };
        many.end_batch(&mut self.blocks, batch, polled);
        // When unpolled children were polled, slots before them may take children again.
        if batch.unpolled || batch.detached || polled.freed != 0 {
            self.free_slots_of_many(number, polled.freed);
        }
    }

    /// Records that `count` slots of a block have been freed.
    pub(super) fn free_slots_of_many(&mut self, number: usize, count: usize) {
        let Some(many) = &mut *self.many else { return };
        let is_low = many.free_slots(&mut self.blocks, number, count);
        if is_low && self.blocks.len() > Self::RETAINED {
            self.trim();
        }
    }

    /// Gives back what no child needs. It goes through all blocks: since it was last called, about
    /// as many children have gone.
    #[cold]
    fn trim(&mut self) {
        if self.is_empty() {
            return self.reset();
        }
        let Self { blocks, many, .. } = self;
        let Some(many) = &mut **many else { return };
        blocks.trim();
        many.find_rooms(blocks);
    }
}
