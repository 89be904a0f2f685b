//! The order in which a group [with a schedule](crate::Group::with_schedule) polls its children.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::BlockSet;
use super::block::{Batch, Block, bits};
use super::budget::Budget;
use super::lists::BlockList;
use super::many::Many;

/// A child is delayed with a probability of so many in 16, each time that a round starts.
const DELAYED: usize = 3;

/// One in a slow slot is delayed with this probability.
const DELAYED_IF_SLOW: usize = 12;

/// The budget is spent early after one in this many polls.
const SPENT_EARLY: usize = 16;

/// A sequence of numbers that a seed determines (SplitMix64).
pub(super) struct Schedule {
    state: u64,
    /// The slots, of each block, whose children are delayed more often than others: about a
    /// quarter of them.
    slow: usize,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        let mut schedule = Self { state: seed, slow: 0 };
        schedule.slow = schedule.next() as usize & schedule.next() as usize;
        schedule
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Returns one of the bits of `mask`, which has one.
    fn bit_of(&mut self, mask: usize) -> usize {
        let nth = self.below(mask.count_ones() as usize);
        bits(mask).nth(nth).map_or(mask, |at| 1 << at)
    }

    /// Moves some of a block's children from the round to the next one.
    fn delay<C>(&mut self, block: &mut Block<C>) {
        let delayed = bits(block.state.ready)
            .filter(|&at| {
                let is_slow = self.slow >> at & 1 == 1;
                self.below(16) < if is_slow { DELAYED_IF_SLOW } else { DELAYED }
            })
            .fold(0, |mask, at| mask | 1 << at);
        block.state.ready &= !delayed;
        block.state.deferred |= delayed;
    }
}

impl<C> BlockSet<C> {
    pub(crate) fn set_schedule(&mut self, seed: u64) {
        self.schedule = Some(Box::new(Schedule::new(seed)));
    }

    /// Delays some of the children of a round that has just been started, if there is a schedule.
    pub(super) fn delay_some(&mut self) {
        let Self { blocks, many, schedule: Some(schedule), .. } = self else { return };
        match &mut **many {
            None => schedule.delay(&mut blocks.first),
            Some(many) => {
                let Many { round, deferred, .. } = &mut **many;
                let mut numbers = Vec::new();
                while let Some(number) = round.pop(blocks) {
                    numbers.push(number);
                }
                *round = BlockList::default();
                while !numbers.is_empty() {
                    let number = numbers.swap_remove(schedule.below(numbers.len()));
                    let block = blocks.block(number);
                    let before = block.state.deferred;
                    schedule.delay(block);
                    let (has_ready, has_deferred) =
                        (block.state.ready != 0, block.state.deferred != 0);
                    if has_ready {
                        round.push(blocks, number);
                    }
                    if before == 0 && has_deferred {
                        deferred.push(blocks, number);
                    }
                }
            }
        }
    }

    /// Returns what [`begin_batch`](Self::begin_batch) has chosen; with a schedule, one child of
    /// the round instead.
    pub(super) fn choose(&mut self, batch: &mut Batch, scope: (usize, usize)) -> (usize, usize) {
        let Self { blocks, many, schedule: Some(schedule), unpolled_in_round, .. } = self else {
            return scope;
        };
        if batch.detached {
            return scope;
        }
        let (ready_of, unpolled_of) = match &**many {
            None => {
                let has_ready = blocks.first.state.ready != 0;
                let unpolled = unpolled_in_round.count_ones() as usize;
                (has_ready.then_some(0), (unpolled != 0).then_some((0, unpolled)))
            }
            Some(many) => (many.round.first(), many.unpolled_in_round.first()),
        };
        let candidates = match (ready_of, unpolled_of) {
            (Some(number), other) if other.is_none() || schedule.below(2) == 0 => {
                (batch.block, batch.unpolled) = (number as u32, false);
                blocks.block(number).state.ready
            }
            (_, Some((number, count))) => {
                (batch.block, batch.unpolled) = (number as u32, true);
                // Those that came since the round began are behind these.
                let unpolled = blocks.block(number).state.unpolled;
                bits(unpolled).take(count).fold(0, |mask, at| mask | 1 << at)
            }
            _ => return scope,
        };
        (schedule.bit_of(candidates), 1)
    }

    /// Ends the poll now and then, after a child of a round was polled, if there is a schedule.
    pub(super) fn spend_early(&mut self, batch: &Batch, budget: &mut Budget) {
        if let Some(schedule) = &mut self.schedule {
            if !batch.detached && schedule.below(SPENT_EARLY) == 0 {
                budget.polls = 0;
            }
        }
    }
}
