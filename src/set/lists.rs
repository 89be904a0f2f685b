//! Queues of blocks: one that is linked through the blocks, and needs no allocation, and one that
//! counts repetitions.

use alloc::collections::VecDeque;

use super::block::NO_BLOCK;
use super::blocks::BlockStates;
use crate::util::sparse_queue::shrink;

/// The link to the next block that the round still has to visit.
pub(super) const ROUND: usize = 0;
/// The link to the next block with children that have yielded in this tick.
pub(super) const YIELDED: usize = 1;
/// The link to the next block with children that had yielded when this tick began.
pub(super) const DEFERRED: usize = 2;

/// A queue of blocks, each of which links to the next by that `LINK`; none is in it twice.
pub(super) struct BlockList<const LINK: usize> {
    head: u32,
    tail: u32,
}

impl<const LINK: usize> Default for BlockList<LINK> {
    fn default() -> Self {
        Self { head: NO_BLOCK, tail: NO_BLOCK }
    }
}

impl<const LINK: usize> BlockList<LINK> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head == NO_BLOCK
    }

    /// Returns `true` if no other block is in it.
    #[inline]
    pub(super) fn has_no_other(&self, block: usize) -> bool {
        self.is_empty() || (self.head == block as u32 && self.tail == block as u32)
    }

    /// Returns the only block, or `None` if there are none or several.
    #[inline]
    pub(super) fn only(&self) -> Option<usize> {
        self.first().filter(|_| self.head == self.tail)
    }

    #[inline]
    pub(super) fn first(&self) -> Option<usize> {
        (self.head != NO_BLOCK).then_some(self.head as usize)
    }

    #[inline]
    pub(super) fn push(&mut self, blocks: &mut dyn BlockStates, number: usize) {
        match self.first() {
            None => self.head = number as u32,
            Some(_) => blocks.state(self.tail as usize).next[LINK] = number as u32,
        }
        self.tail = number as u32;
    }

    #[inline]
    pub(super) fn pop(&mut self, blocks: &mut dyn BlockStates) -> Option<usize> {
        let number = self.first()?;
        // The link of the last block is stale.
        let is_last = self.head == self.tail;
        self.head = if is_last { NO_BLOCK } else { blocks.state(number).next[LINK] };
        Some(number)
    }
}

/// A queue of blocks that may contain a block many times. Equal neighbours are stored as one run.
#[derive(Default)]
pub(super) struct RunQueue {
    /// Empty if the last run is.
    earlier: VecDeque<BlockRun>,
    last: BlockRun,
}

#[derive(Clone, Copy, Default)]
struct BlockRun {
    block: u32,
    count: u32,
}

impl RunQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.last.count == 0
    }

    /// Returns the block of the only entry, or `None` if there are none or several.
    #[inline]
    pub(super) fn only(&self) -> Option<usize> {
        (self.last.count == 1 && self.earlier.is_empty()).then_some(self.last.block as usize)
    }

    /// Adds `count` entries of the same block.
    #[inline]
    pub(super) fn push(&mut self, block: usize, count: u32) {
        let block = block as u32;
        if self.last.block != block {
            self.start_run(block);
        }
        self.last.count += count;
    }

    #[cold]
    fn start_run(&mut self, block: u32) {
        if self.last.count != 0 {
            self.earlier.push_back(self.last);
        }
        self.last = BlockRun { block, count: 0 };
    }

    /// Returns the block of the first run and the run's length, or `None` if the queue is empty.
    #[inline]
    pub(super) fn first(&self) -> Option<(usize, usize)> {
        let run = self.earlier.front().unwrap_or(&self.last);
        (run.count != 0).then_some((run.block as usize, run.count as usize))
    }

    /// Returns the last entry, or `None` if the queue is empty.
    pub(super) fn last(&self) -> Option<usize> {
        (self.last.count != 0).then_some(self.last.block as usize)
    }

    /// Removes the last entry, and returns it, or `None` if the queue is empty.
    #[inline]
    pub(super) fn pop_last(&mut self) -> Option<usize> {
        let block = self.last.block as usize;
        self.last.count = self.last.count.checked_sub(1)?;
        if self.last.count == 0 {
            if let Some(run) = self.earlier.pop_back() {
                self.last = run;
            }
        }
        Some(block)
    }

    /// Removes `count` entries, no more than the first run has.
    pub(super) fn pop_many(&mut self, count: usize) {
        let Some(run) = self.earlier.front_mut() else {
            self.last.count -= count as u32;
            return;
        };
        run.count -= count as u32;
        if run.count == 0 {
            self.earlier.pop_front();
            shrink(&mut self.earlier);
        }
    }
}
