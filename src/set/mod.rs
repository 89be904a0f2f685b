//! The engine: holds the children, polls those that were woken, tells who has finished.
//!
//! It knows nothing of limits, policies or tokens. Children sit in blocks of 64 seats that
//! the set owns; a seat serves one child after another, and so does its waker. A child's
//! waker sets a bit in its block's word; the words of 64 blocks, a *region*, are found by the
//! bits of another; the first region rings the group's bell, the others are entries of a
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
//!   then `Some`. `len` counts the occupied.
//! - Each block with an open seat is the `roomy` one, or stands in `vacant`, once.
//! - A block stands in `round` exactly while its `ready` is not 0, in `late` exactly while
//!   its `late` is not 0.
//! - `ready`, `late` and `fresh` name occupied seats only, and no seat twice.

mod block;
mod chain;
mod flag;
mod region;
mod row;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::task::waker_ref;

use self::block::{Block, SEATS};
use self::chain::{Chain, Runs};
use self::region::Regions;
use crate::bell::Bell;
use crate::panic::{Payload, catch};

/// Blocks that an emptied set keeps for the children to come.
const KEEP: usize = 16;

/// Where a child sits, for as long as it is in the set.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    block: usize,
    seat: usize,
}

pub(crate) struct Set<C> {
    blocks: Vec<Block<C>>,
    regions: Regions,
    /// The block that gets the next child, if it has a seat.
    roomy: usize,
    /// Other blocks with open seats.
    vacant: Vec<usize>,
    len: usize,
    /// The blocks of those who were admitted and not yet polled, oldest first.
    fresh: Runs,
    /// How many of `fresh` belong to this round.
    fresh_in_round: usize,
    /// The blocks that this round still has to visit.
    round: Chain,
    /// The blocks with children that yielded in `late_turn`.
    late: Chain,
    late_turn: u32,
    turn: u32,
}

impl<C> Set<C> {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            regions: Regions::default(),
            roomy: 0,
            vacant: Vec::new(),
            len: 0,
            fresh: Runs::default(),
            fresh_in_round: 0,
            round: Chain::default(),
            late: Chain::default(),
            late_turn: 0,
            turn: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Admits a child; it is polled in the next round. Its wakers ring `bell`.
    #[inline]
    pub(crate) fn insert(&mut self, child: C, index: usize, bell: &Arc<Bell>) {
        if self.blocks.get(self.roomy).is_none_or(|block| block.open == 0) {
            self.find_room(bell);
        }
        self.blocks[self.roomy].insert(child, index);
        self.fresh.push(self.roomy);
        self.len += 1;
    }

    /// Makes a block with an open seat the roomy one.
    #[cold]
    fn find_room(&mut self, bell: &Arc<Bell>) {
        self.roomy = self.vacant.pop().unwrap_or_else(|| {
            let number = self.blocks.len();
            if number == 0 {
                self.blocks.reserve_exact(1);
            }
            self.blocks.push(Block::new(self.regions.add(number, bell)));
            number
        });
    }

    /// Begins a turn: who yielded in an earlier one may be polled again.
    pub(crate) fn begin_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// Fixes the next round, after the last one is over. False where nobody is to be polled
    /// in this turn. `rung` says whether the bell was rung since the last call.
    pub(crate) fn start_round(&mut self, rung: bool) -> bool {
        debug_assert!(self.round.is_empty() && self.fresh_in_round == 0);
        if self.late_turn != self.turn {
            self.late_turn = self.turn;
            while let Some(number) = self.late.pop(&mut self.blocks, |block| &mut block.next_late) {
                let block = &mut self.blocks[number];
                block.ready = core::mem::take(&mut block.late);
                self.round.push(&mut self.blocks, number, |block| &mut block.next);
            }
        }
        if rung || self.regions.has_grown() {
            self.gather();
        }
        self.fresh_in_round = self.fresh.len();
        !self.round.is_empty() || self.fresh_in_round != 0
    }

    /// Learns who has been woken.
    fn gather(&mut self) {
        let Self { blocks, round, regions, .. } = self;
        regions.gather(|number| {
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
        !self.round.is_empty() || !self.late.is_empty() || self.fresh.len() != 0
    }

    /// The next child to be polled in this round; `None` when the round is over.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Place> {
        if let Some(number) = self.round.first() {
            let block = &mut self.blocks[number];
            let seat = block.ready.trailing_zeros() as usize;
            block.ready &= block.ready - 1;
            if block.ready == 0 {
                self.round.pop(&mut self.blocks, |block| &mut block.next);
            }
            return Some(Place { block: number, seat });
        }
        self.fresh_in_round = self.fresh_in_round.checked_sub(1)?;
        let number = self.fresh.pop()?;
        Some(Place { block: number, seat: self.blocks[number].next_fresh() })
    }

    /// Polls a child, with its index. One that is done stays to be [removed](Self::remove);
    /// so does one that panicked.
    #[inline]
    pub(crate) fn poll<R>(
        &mut self,
        place: Place,
        poll: impl FnOnce(Pin<&mut C>, usize, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let block = &mut self.blocks[place.block];
        let (seat, mut spare) = block.seat_and_spare(place.seat);
        let mut seat = seat.project();
        let Some(child) = seat.child.as_mut().as_pin_mut() else {
            debug_assert!(false, "an open seat was polled");
            return Poll::Pending;
        };
        let flag = match seat.flag {
            Some(flag) => &*flag,
            None => spare.get(),
        };
        flag.begin_poll();
        let polled = poll(child, *seat.index, &mut Context::from_waker(&waker_ref(flag)));
        if polled.is_pending() {
            let woken = flag.end_poll();
            if seat.flag.is_none() {
                *seat.flag = spare.take_if_kept();
            }
            if woken {
                let before = block.late;
                block.late |= 1 << place.seat;
                if before == 0 {
                    self.late.push(&mut self.blocks, place.block, |block| &mut block.next_late);
                }
            }
        }
        polled
    }

    /// Drops a child that is done, frees its seat, and gives its index. Where the child's
    /// destructor panics, call it again: the child is gone then, the seat not yet free.
    #[inline]
    pub(crate) fn remove(&mut self, place: Place) -> usize {
        let block = &mut self.blocks[place.block];
        let (seat, mut spare) = block.seat_and_spare(place.seat);
        let mut seat = seat.project();
        // An assignment that unwinds from the old value's destructor has stored the new one.
        seat.child.set(None);
        // The wakers that the child left somewhere must not reach the seat's next.
        match seat.flag {
            Some(flag) if flag.renew() => {}
            Some(_) => *seat.flag = None,
            None => spare.renew(),
        }
        let index = *seat.index;
        let full = block.open == 0;
        block.open |= 1 << place.seat;
        if full && place.block != self.roomy {
            self.vacant.push(place.block);
        }
        self.len -= 1;
        if self.len == 0 && self.blocks.len() > KEEP {
            *self = Self { turn: self.turn, ..Self::new() };
        }
        index
    }

    /// Drops one of the children, whoever it is; with what its destructor panicked with.
    pub(crate) fn drop_one(&mut self) -> Option<Result<(), Payload>> {
        while let Some(block) = self.blocks.last() {
            let taken = !block.open;
            if taken != 0 {
                let seat = SEATS - 1 - taken.leading_zeros() as usize;
                let place = Place { block: self.blocks.len() - 1, seat };
                let dropped = catch(|| self.remove(place)).map(|_index| ());
                if dropped.is_err() {
                    self.remove(place);
                }
                return Some(dropped);
            }
            self.blocks.pop();
        }
        None
    }
}
