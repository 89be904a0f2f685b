//! The engine: holds the children, polls those that were woken, and hands out what they return.
//!
//! It knows nothing of limits, policies or tokens. Children are in blocks of 64 slots (a machine
//! word's bits) that the set owns. A slot holds one child after another, and its waker serves them
//! one after another. A child's waker sets a bit in the ready bits of its block. Each of the first
//! 62 blocks has a bit in the group's [`ParentWaker`]. Each of the others has one in the ready bits
//! of its *region*, and each region is a future in a `FuturesUnordered`. So the cost of finding the
//! woken children depends only on how many were woken.
//!
//! Children are polled in *turns* and *rounds*. A turn is one poll of the set's owner. A round is
//! fixed when it starts: all children that have been woken by then, then all that were inserted
//! and never polled, in the order of insertion; each is polled once. A turn goes on with rounds as
//! long as children are woken or inserted, except that a child that was woken while it was polled
//! has *yielded*: it is polled again in the next turn, or in a later one if the round goes on that
//! long. A turn may end within a round; the next turn goes on there.
//!
//! # Invariants
//!
//! - A slot has a child exactly if its block's `vacant` has no bit for it; its `child` is
//!   then `Some`. `len` counts the children.
//! - The unpolled children of a block are in slots in the order in which they came: a block takes
//!   a child only into a slot behind them all. Each block that takes a child is the `current` one
//!   or in `with_room`, once, and then its `in_with_room` is set; or it takes one only since the
//!   batch that is being polled.
//! - A block is in `round` exactly while its `ready` is not 0; likewise with `yielded` and
//!   `deferred`.
//! - `ready`, `yielded`, `deferred` and `unpolled` have bits of occupied slots only, and no two of
//!   them the same.

mod block;
mod blocks;
mod budget;
mod child_waker;
mod lists;
mod overflow;
mod slots;

use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use self::block::{Batch, Block, SLOTS, bits};
use self::blocks::Blocks;
pub(crate) use self::budget::Budget;
use self::lists::{BlockList, RunQueue};
use self::overflow::Overflow;
use self::slots::slots_in;
use crate::util::panic::{Payload, catch};
use crate::util::parent_waker::{ParentWaker, ReadyBlocks};
use crate::util::sync::Arc;

/// How many blocks a set retains for the children to come, if they are small.
const RETAINED_BLOCKS: usize = 16;

/// What these take at most, in bytes, for larger children.
const RETAINED_BYTES: usize = 256 << 10;

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
    Turn,
}

pub struct BlockSet<C> {
    blocks: Blocks<C>,
    overflow: Overflow,
    /// The block that gets the next child, if it takes one.
    current: usize,
    /// Other blocks that take children.
    with_room: Vec<usize>,
    /// How many children there are.
    len: usize,
    /// Once there are no more than this, memory is given back. It is half of what there were when
    /// that was last done, or when a block was added.
    low: usize,
    /// The blocks of the children that were inserted and not yet polled, oldest first.
    unpolled: RunQueue,
    /// Those of them that were there when the round began.
    unpolled_in_round: RunQueue,
    /// The blocks that this round still has to visit.
    round: BlockList,
    /// The blocks with children that have yielded in this turn.
    yielded: BlockList,
    /// The blocks with children that had yielded when this turn began.
    deferred: BlockList,
    batch: Batch,
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
            overflow: Overflow::default(),
            current: 0,
            with_room: Vec::new(),
            len: 0,
            low: 0,
            unpolled: RunQueue::default(),
            unpolled_in_round: RunQueue::default(),
            round: BlockList::default(),
            yielded: BlockList::default(),
            deferred: BlockList::default(),
            batch: Batch::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Inserts a child; it is polled in the next round. Its wakers wake `parent`.
    #[inline(always)]
    pub(crate) fn insert(&mut self, child: C, index: usize, parent: &Arc<ParentWaker>) {
        self.insert_with(|| child, index, parent);
    }

    /// Does the same for a child that is made when its slot is there.
    #[inline(always)]
    pub(crate) fn insert_with(
        &mut self,
        make: impl FnOnce() -> C,
        index: usize,
        parent: &Arc<ParentWaker>,
    ) {
        if !self.blocks.get_mut(self.current).is_some_and(|block| block.has_room()) {
            self.find_room(parent);
        }
        // A child that panics while it is made leaves the slot vacant.
        self.blocks[self.current].insert_with(make, index);
        self.len += 1;
        self.unpolled.push(self.current);
    }

    /// Makes a block that takes a child the current one.
    #[cold]
    fn find_room(&mut self, parent: &Arc<ParentWaker>) {
        self.current = self.with_room.pop().unwrap_or_else(|| {
            let number = self.blocks.vacant_number();
            self.blocks.insert(number, Block::new(self.overflow.add(number, parent)));
            self.low = self.low.max(self.len / 2);
            number
        });
        self.blocks[self.current].in_with_room = false;
    }

    /// Begins a turn: the children that yielded in the last one may be polled again in the next
    /// round that begins.
    pub(crate) fn begin_turn(&mut self) {
        while let Some(number) = self.yielded.pop(&mut self.blocks, |block| &mut block.next_yielded)
        {
            let block = &mut self.blocks[number];
            let before = block.deferred;
            block.deferred |= core::mem::take(&mut block.yielded);
            block.in_yielded = false;
            if before == 0 {
                self.deferred.push(&mut self.blocks, number, |block| &mut block.next_deferred);
            }
        }
    }

    /// Returns `true` if a round was begun that is not over.
    #[inline]
    pub(crate) fn is_in_round(&self) -> bool {
        !self.round.is_empty() || !self.unpolled_in_round.is_empty()
    }

    /// Fixes the next round, after the last one is over. Returns `false` if no child is to be
    /// polled in this turn. `ready` is what was taken from the `ParentWaker` since the last call.
    pub(crate) fn start_round(&mut self, ready: ReadyBlocks) -> bool {
        debug_assert!(!self.is_in_round());
        // All children that have yielded are in one round, or some would be polled more often.
        while self.yielded.is_empty() {
            let next = self.deferred.pop(&mut self.blocks, |block| &mut block.next_deferred);
            let Some(number) = next else { break };
            let block = &mut self.blocks[number];
            block.ready = core::mem::take(&mut block.deferred);
            self.round.push(&mut self.blocks, number, |block| &mut block.next);
        }
        if ready.any() || self.overflow.has_grown() {
            self.gather(ready);
        }
        core::mem::swap(&mut self.unpolled, &mut self.unpolled_in_round);
        self.is_in_round()
    }

    /// Adds the children that have been woken to the round.
    fn gather(&mut self, ready: ReadyBlocks) {
        let Self { blocks, round, overflow, .. } = self;
        overflow.gather(ready, |number| {
            let Some(block) = blocks.get_mut(number) else {
                return;
            };
            let (woken, before) = (block.take_woken(), block.ready);
            block.ready |= woken;
            if before == 0 && woken != 0 {
                round.push(blocks, number, |block| &mut block.next);
            }
        });
    }

    /// Adds to the round the children that wait for a wake-up, and whose index `is_meant`.
    pub(crate) fn add_to_round(&mut self, mut is_meant: impl FnMut(usize) -> bool) {
        for number in 0..self.blocks.end() {
            let Some(block) = self.blocks.get_mut(number) else { continue };
            let before = block.ready;
            block.ready |= block.find_waiting(&mut is_meant);
            if before == 0 && block.ready != 0 {
                self.round.push(&mut self.blocks, number, |block| &mut block.next);
            }
        }
    }

    /// Returns how many children were woken of which the rounds do not know yet; `ready` is what
    /// the `ParentWaker` tells.
    pub(crate) fn count_woken(&mut self, ready: ReadyBlocks) -> usize {
        let Self { blocks, overflow, .. } = self;
        let mut count = 0;
        let mut visit = |number| count += blocks.get_mut(number).map_or(0, |it| it.count_woken());
        bits(ready.blocks()).for_each(&mut visit);
        overflow.peek(visit);
        count
    }

    /// Returns `true` if some child is known to be ready: left over from this turn's rounds,
    /// never polled, or yielded.
    pub(crate) fn has_ready(&self) -> bool {
        self.is_in_round()
            || !self.yielded.is_empty()
            || !self.deferred.is_empty()
            || !self.unpolled.is_empty()
    }

    /// Returns `true` if a child was inserted and never polled.
    pub(crate) fn has_newcomer(&self) -> bool {
        !self.unpolled.is_empty() || !self.unpolled_in_round.is_empty()
    }

    /// Goes on with the round, until it is over, the budget is spent, or `on_done` returns `false`.
    /// `on_done` is called with the index of each child that is done and what it returned, after
    /// the child has been dropped. Returns `true` when the round is over.
    ///
    /// With [`Part::Newest`], polls the child that was inserted last instead, if it has never been
    /// polled; with [`Part::Turn`], that one and those that have yielded, which
    /// [is a turn](Self::is_simple_turn).
    ///
    /// A child that panics, in its poll or its destructor, is the
    /// [`interrupted`](Self::interrupted) one, and must be [removed](Self::remove). If its
    /// destructor panicked, `returned` holds its value.
    #[inline]
    pub(crate) fn poll_round<R>(
        &mut self,
        part: Part,
        budget: &mut Budget,
        returned: &mut Option<R>,
        mut poll: impl FnMut(Pin<&mut C>, usize, &mut Context<'_>) -> Poll<R>,
        mut on_done: impl FnMut(usize, R) -> bool,
    ) -> bool {
        loop {
            let (block, count, unpolled, detached, others) = if part == Part::Round {
                match (self.round.first(), self.unpolled_in_round.first()) {
                    (Some(block), _) => {
                        (block, self.blocks[block].ready.count_ones() as usize, false, false, 0)
                    }
                    (None, Some((block, count))) => (block, count, true, false, 0),
                    (None, None) => return true,
                }
            } else {
                let Some((block, count, others)) = self.detach_newest(part == Part::Turn) else {
                    return true;
                };
                (block, count, false, true, others)
            };
            // One by one: the other fields are set while the batch is polled.
            let batch = &mut self.batch;
            batch.block = block;
            batch.count = count.min(budget.polls);
            (batch.unpolled, batch.detached, batch.others) = (unpolled, detached, others);
            let block = &mut self.blocks[self.batch.block];
            let go_on = block.poll(&mut self.batch, budget, returned, &mut poll, &mut on_done);
            budget.polls -= self.update_counts();
            if !go_on || budget.polls == 0 {
                return !self.is_in_round();
            }
            if part != Part::Round {
                return true;
            }
        }
    }

    /// Prepares the batch of the newest child that was never polled. Returns the block, how many
    /// they are, and which were `ready` before.
    #[inline(always)]
    fn detach_newest(&mut self, with_yielded: bool) -> Option<(usize, usize, usize)> {
        let block = match self.unpolled.pop_last() {
            None => self.unpolled_in_round.pop_last()?,
            Some(block) => block,
        };
        let it = &mut self.blocks[block];
        let mut yielded = 0;
        if with_yielded && it.in_yielded {
            it.in_yielded = false;
            yielded = core::mem::take(&mut it.yielded);
            self.yielded = BlockList::default();
        }
        let (count, others) = it.detach_newest(yielded);
        Some((block, count, others))
    }

    /// Returns `true` if all that is known to be ready are one child that was never polled, and
    /// some in its block that have yielded, as few as one poll may poll.
    #[inline]
    pub(crate) fn is_simple_turn(&mut self, budget: &Budget) -> bool {
        let Some(block) = self.unpolled.only() else {
            return false;
        };
        self.yielded.has_no_other(block)
            && !self.is_in_round()
            && self.deferred.is_empty()
            && self.blocks.get_mut(block).is_some_and(|it| it.yielded.count_ones() < budget.most())
    }

    /// Updates the counts after a panic. Returns how many children were polled.
    pub(crate) fn recover_counts(&mut self) -> usize {
        self.blocks[self.batch.block].recover(&mut self.batch);
        self.update_counts()
    }

    /// Updates the counts after a batch of children was polled. Returns how many were polled.
    #[inline]
    fn update_counts(&mut self) -> usize {
        let Batch { block: number, unpolled, detached, polled, freed, others, .. } = self.batch;
        let block = &mut self.blocks[number];
        let has_yielded = block.yielded != 0 && !block.in_yielded;
        block.in_yielded |= has_yielded;
        if detached {
            let is_left = block.ready != 0 && others == 0;
            block.ready |= others;
            if is_left {
                self.round.push(&mut self.blocks, number, |block| &mut block.next);
            }
        } else if unpolled {
            self.unpolled_in_round.pop_many(polled);
        } else if block.ready == 0 {
            self.round.pop(&mut self.blocks, |block| &mut block.next);
        }
        if has_yielded {
            self.yielded.push(&mut self.blocks, number, |block| &mut block.next_yielded);
        }
        // When unpolled children were polled, slots before them may take children again.
        if unpolled || detached || freed != 0 {
            self.free_slots(number, freed);
        }
        polled
    }

    /// Records that `count` slots of a block have been freed.
    #[inline]
    fn free_slots(&mut self, number: usize, count: usize) {
        let block = &mut self.blocks[number];
        block.reset_insertable();
        if !block.in_with_room && number != self.current && block.has_room() {
            block.in_with_room = true;
            self.with_room.push(number);
        }
        self.len -= count;
        if self.len <= self.low && self.blocks.len() > Self::RETAINED {
            self.trim();
        }
    }

    /// How many blocks are retained for the children to come.
    const RETAINED: usize = {
        let blocks = slots_in::<C>(RETAINED_BYTES) / SLOTS;
        if blocks < RETAINED_BLOCKS { blocks } else { RETAINED_BLOCKS }
    };

    /// Gives back what no child needs. It goes through all blocks: since it was last called, about
    /// as many children have gone.
    #[cold]
    fn trim(&mut self) {
        if self.len == 0 {
            *self = Self::new();
            return;
        }
        self.low = self.len / 2;
        let Self { blocks, with_room, current, .. } = self;
        *with_room = Vec::new();
        blocks.trim(|number, block| {
            block.in_with_room = number != *current && block.has_room();
            if block.in_with_room {
                with_room.push(number);
            }
        });
    }

    /// Returns the slot of the child that was being polled or dropped when a panic came, and its
    /// index, which is known even if the child is gone.
    pub(crate) fn interrupted(&mut self) -> (SlotKey, usize) {
        let Batch { block, slot, .. } = self.batch;
        (SlotKey { block, slot }, self.blocks[block].child_index(slot))
    }

    /// Drops a child. If its destructor panics, call this again: the child is gone then, but its
    /// slot is not yet free.
    pub(crate) fn remove(&mut self, key: SlotKey) {
        self.blocks[key.block].remove(key.slot);
        self.free_slots(key.block, 1);
    }

    /// Drops any one of the children. Returns its index, and the panic of its destructor, or
    /// `None` if there is no child. For a set that is not used any more.
    pub(crate) fn drop_one(&mut self) -> Option<(usize, Result<(), Payload>)> {
        while let Some(block) = self.blocks.last_mut() {
            let occupied = block.occupied();
            if occupied != 0 {
                let slot = SLOTS - 1 - occupied.leading_zeros() as usize;
                let dropped = catch(|| block.remove(slot));
                if dropped.is_err() {
                    block.remove(slot);
                }
                return Some((block.child_index(slot), dropped));
            }
            self.blocks.pop();
        }
        None
    }
}
