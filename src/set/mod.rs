//! The engine: holds the children, polls those that were woken, tells who has finished.
//!
//! It knows nothing of limits, policies or tokens. Children sit in blocks of 64 seats that
//! the set owns; a seat serves one child after another, and so does its waker. A child's
//! waker sets a bit in its block's word. The first 62 blocks ring the group's bell by name;
//! the others are noted in the word of their *region*, which is an entry of a
//! `FuturesUnordered`. So finding who is awake costs only what is awake.
//!
//! Polling goes in *turns* and *rounds*. A turn is one poll of the set's owner. A round is
//! fixed when it starts: all who have been woken by then, then all who were admitted and
//! never polled, in order of admission; each is polled once. A turn has as many rounds as
//! there is news for, except that a child that was woken while it was polled has yielded:
//! it comes up again in the next turn. A turn may end within a round; the next goes on there.
//!
//! # Invariants
//!
//! - A seat is occupied exactly where its block's `open` has no bit for it; its `child` is
//!   then `Some`. `settled` counts those whose child has been polled.
//! - The children of a block that were never polled sit in the order in which they came: it
//!   takes one only into a seat behind them all. Each block that takes one is the `roomy` one
//!   or stands in `vacant`, once, and says so; or it has come to do so in the bunch that is
//!   being polled.
//! - A block stands in `round` exactly while its `ready` is not 0, and so with `late` and
//!   `due`.
//! - `ready`, `late`, `due` and `fresh` name occupied seats only, and no seat twice.

mod block;
mod child_waker;
mod lists;
mod overflow;
mod slots;

use alloc::vec::Vec;
use core::pin::Pin;
use core::task::{Context, Poll};

use self::block::{Batch, Block, SLOTS};
use self::lists::{BlockList, RunQueue};
use self::overflow::Overflow;
use crate::util::panic::{Payload, catch};
use crate::util::parent_waker::{ParentWaker, ReadyBlocks};
use crate::util::sync::Arc;

/// Blocks that an emptied set keeps for the children to come.
const KEEP: usize = 16;

/// Where a child sits, for as long as it is in the set.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    block: usize,
    seat: usize,
}

pub(crate) struct BlockSet<C> {
    blocks: Vec<Block<C>>,
    regions: Overflow,
    /// The block that gets the next child, if it has a seat.
    roomy: usize,
    /// Other blocks that take children.
    vacant: Vec<usize>,
    /// How many are in the set and have been polled.
    settled: usize,
    /// The blocks of those who were admitted and not yet polled, oldest first.
    fresh: RunQueue,
    /// Those of them who were there when the round began.
    newcomers: RunQueue,
    /// The blocks that this round still has to visit.
    round: BlockList,
    /// The blocks with children that have yielded in this turn.
    late: BlockList,
    /// The blocks with children that had yielded when it began.
    due: BlockList,
    bunch: Batch,
}

impl<C> BlockSet<C> {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            regions: Overflow::default(),
            roomy: 0,
            vacant: Vec::new(),
            settled: 0,
            fresh: RunQueue::default(),
            newcomers: RunQueue::default(),
            round: BlockList::default(),
            late: BlockList::default(),
            due: BlockList::default(),
            bunch: Batch::default(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.settled == 0 && self.fresh.is_empty() && self.newcomers.is_empty()
    }

    /// Admits a child; it is polled in the next round. Its wakers ring `parent`.
    #[inline(always)]
    pub(crate) fn insert(&mut self, child: C, index: usize, parent: &Arc<ParentWaker>) {
        match self.blocks.get_mut(self.roomy) {
            Some(block) if block.has_room() => {
                block.insert(child, index);
                self.fresh.push(self.roomy);
            }
            _ => {
                self.find_room(parent);
                self.blocks[self.roomy].insert(child, index);
                self.fresh.push(self.roomy);
            }
        }
    }

    /// Makes a block that takes a child the roomy one.
    #[cold]
    fn find_room(&mut self, parent: &Arc<ParentWaker>) {
        self.roomy = self.vacant.pop().unwrap_or_else(|| {
            let number = self.blocks.len();
            if number == 0 {
                self.blocks.reserve_exact(1);
            }
            self.blocks.push(Block::new(self.regions.add(number, parent)));
            number
        });
        self.blocks[self.roomy].vacant = false;
    }

    /// Begins a turn: who yielded in the last one is to be polled again, in the next round
    /// that begins.
    pub(crate) fn begin_turn(&mut self) {
        while let Some(number) = self.late.pop(&mut self.blocks, |block| &mut block.next_late) {
            let block = &mut self.blocks[number];
            let before = block.due;
            block.due |= core::mem::take(&mut block.late);
            block.is_late = false;
            if before == 0 {
                self.due.push(&mut self.blocks, number, |block| &mut block.next_due);
            }
        }
    }

    /// Whether a round was begun that is not over.
    #[inline]
    pub(crate) fn is_in_round(&self) -> bool {
        !self.round.is_empty() || !self.newcomers.is_empty()
    }

    /// Fixes the next round, after the last one is over. False where nobody is to be polled
    /// in this turn. `news` is what has rung since the last call.
    pub(crate) fn start_round(&mut self, news: ReadyBlocks) -> bool {
        debug_assert!(!self.is_in_round());
        while let Some(number) = self.due.pop(&mut self.blocks, |block| &mut block.next_due) {
            let block = &mut self.blocks[number];
            block.ready = core::mem::take(&mut block.due);
            self.round.push(&mut self.blocks, number, |block| &mut block.next);
        }
        if news.any() || self.regions.has_grown() {
            self.gather(news);
        }
        core::mem::swap(&mut self.fresh, &mut self.newcomers);
        self.is_in_round()
    }

    /// Learns who has been woken.
    fn gather(&mut self, news: ReadyBlocks) {
        let Self { blocks, round, regions, .. } = self;
        regions.gather(news, |number| {
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

    /// Whether some child is known to be ready: left over from this turn's rounds, never
    /// polled, or has yielded.
    pub(crate) fn has_ready(&self) -> bool {
        self.is_in_round()
            || !self.late.is_empty()
            || !self.due.is_empty()
            || !self.fresh.is_empty()
    }

    /// Goes on with the round, until it is over, the budget, one for each child polled, is
    /// spent, or `ended` says so: it is called with the index of each child that is done and
    /// what it returned, when the child has been dropped. True when the round is over.
    ///
    /// A child that panics, in its poll or its destructor, is [current](Self::current), and to
    /// be [removed](Self::remove). `returned` holds the value of one that did the latter.
    #[inline]
    pub(crate) fn poll_round<R>(
        &mut self,
        budget: &mut usize,
        returned: &mut Option<R>,
        mut poll: impl FnMut(Pin<&mut C>, usize, &mut Context<'_>) -> Poll<R>,
        mut ended: impl FnMut(usize, R) -> bool,
    ) -> bool {
        loop {
            self.bunch = match (self.round.first(), self.newcomers.first()) {
                (Some(block), _) => {
                    let count = self.blocks[block].ready.count_ones() as usize;
                    Batch { block, fresh: false, count, ..Batch::default() }
                }
                (None, Some((block, count))) => {
                    Batch { block, fresh: true, count, ..Batch::default() }
                }
                (None, None) => return true,
            };
            self.bunch.count = self.bunch.count.min(*budget);
            if self.bunch.count == 0 {
                return false;
            }
            let block = &mut self.blocks[self.bunch.block];
            let go_on = block.poll(&mut self.bunch, returned, &mut poll, &mut ended);
            *budget -= self.settle();
            if !go_on {
                return false;
            }
        }
    }

    /// Brings the numbers up to date after a panic; gives how many children were polled.
    pub(crate) fn settle_interrupted(&mut self) -> usize {
        self.blocks[self.bunch.block].interrupted(&mut self.bunch);
        self.settle()
    }

    /// Brings the numbers up to date after a bunch of children was polled; gives how many.
    #[inline]
    fn settle(&mut self) -> usize {
        let Batch { block: number, fresh, polled, freed, .. } = self.bunch;
        let block = &mut self.blocks[number];
        let late = block.late != 0 && !block.is_late;
        block.is_late |= late;
        if fresh {
            self.newcomers.take(polled);
            self.settled += polled;
        } else if block.ready == 0 {
            self.round.pop(&mut self.blocks, |block| &mut block.next);
        }
        if late {
            self.late.push(&mut self.blocks, number, |block| &mut block.next_late);
        }
        // Where fresh children were polled, seats before them may take children again.
        if fresh || freed != 0 {
            self.vacate(number, freed);
        }
        polled
    }

    /// Notes that children have left a block.
    #[inline]
    fn vacate(&mut self, number: usize, count: usize) {
        let block = &mut self.blocks[number];
        block.make_room();
        if !block.vacant && number != self.roomy && block.has_room() {
            block.vacant = true;
            self.vacant.push(number);
        }
        self.settled -= count;
        if self.blocks.len() > KEEP && self.is_empty() {
            self.shrink();
        }
    }

    /// Gives all memory back. Nobody is in the set.
    #[cold]
    fn shrink(&mut self) {
        *self = Self::new();
    }

    /// The child that was being polled or dropped when a panic came, and its index, which is
    /// known though the child be gone.
    pub(crate) fn current(&mut self) -> (Place, usize) {
        let Batch { block, seat, .. } = self.bunch;
        (Place { block, seat }, self.blocks[block].index(seat))
    }

    /// Drops a child. Where its destructor panics, call it again: the child is gone then, the
    /// seat not yet free.
    pub(crate) fn remove(&mut self, place: Place) {
        self.blocks[place.block].remove(place.seat);
        self.vacate(place.block, 1);
    }

    /// Drops one of the children, whoever it is; gives its index, and what its destructor
    /// panicked with. For a set that is not used any more.
    pub(crate) fn drop_one(&mut self) -> Option<(usize, Result<(), Payload>)> {
        while let Some(block) = self.blocks.last_mut() {
            let taken = block.taken();
            if taken != 0 {
                let seat = SLOTS - 1 - taken.leading_zeros() as usize;
                let dropped = catch(|| block.remove(seat));
                if dropped.is_err() {
                    block.remove(seat);
                }
                return Some((block.index(seat), dropped));
            }
            self.blocks.pop();
        }
        None
    }
}
