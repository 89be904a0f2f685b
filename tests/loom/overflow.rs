//! The blocks without a bit in the `ParentWaker`. Built from the parts, since a set has the first
//! of them after some three thousand children, and the first region that is a future after some
//! seventy thousand.

#[allow(dead_code)]
#[path = "../../src/set/block.rs"]
mod block;
#[allow(dead_code)]
#[path = "../../src/set/budget.rs"]
mod budget;
#[allow(dead_code)]
#[path = "../../src/set/child_waker.rs"]
mod child_waker;
#[allow(dead_code)]
#[path = "../../src/set/overflow.rs"]
#[allow(clippy::module_inception)]
mod overflow;
#[allow(dead_code)]
#[path = "../../src/set/slots.rs"]
mod slots;

use std::task::{Context, Poll};

use self::block::{Batch, Block};
use self::budget::Budget;
use self::overflow::{DIRECT_BLOCKS, DIRECT_REGIONS, Overflow};
use self::slots::SLOTS;
use crate::engine::Child;
// What the modules above take from `set`.
use crate::set::Progress;
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::Arc;

/// Blocks of one region, with a child in each.
pub(crate) struct OverflowBlocks<'a> {
    parent: Arc<ParentWaker>,
    overflow: Overflow,
    /// The number of the first block.
    first: usize,
    blocks: Vec<Block<Child<'a>>>,
    unpolled: bool,
    left: usize,
}

impl<'a> OverflowBlocks<'a> {
    /// Makes the blocks of the first region.
    pub(crate) fn in_direct_region(children: Vec<Child<'a>>) -> Self {
        Self::in_region(0, children)
    }

    /// Makes the blocks of the first region that is a future.
    pub(crate) fn in_region_future(children: Vec<Child<'a>>) -> Self {
        Self::in_region(DIRECT_REGIONS, children)
    }

    fn in_region(region: usize, children: Vec<Child<'a>>) -> Self {
        let (parent, overflow) = (ParentWaker::new(), Self::overflow_up_to(region));
        let (overflow, first) = (overflow(&parent), DIRECT_BLOCKS + region * SLOTS);
        let mut blocks =
            Self { parent, overflow, first, blocks: Vec::new(), unpolled: true, left: 0 };
        blocks.add(children);
        blocks
    }

    fn overflow_up_to(region: usize) -> impl Fn(&Arc<ParentWaker>) -> Overflow {
        move |parent| {
            let mut overflow = Overflow::default();
            for before in 0..region {
                overflow.add(DIRECT_BLOCKS + before * SLOTS, parent);
            }
            overflow
        }
    }

    fn add(&mut self, children: Vec<Child<'a>>) {
        let Self { parent, overflow, first, .. } = self;
        self.left = children.len();
        let blocks = (*first..).zip(children).map(|(number, child)| {
            let mut block = Block::new(Some(overflow.add(number, parent)));
            block.insert_with(0, || child, number);
            block
        });
        self.blocks = blocks.collect();
        self.unpolled = true;
    }

    /// Drops its children and blocks, as when a set is trimmed, and gives their numbers to others.
    pub(crate) fn trim(&mut self, children: Vec<Child<'a>>) {
        for mut block in core::mem::take(&mut self.blocks) {
            block.remove(0, &self.parent);
        }
        self.add(children);
    }

    /// Does the same as when a set is reset: the regions go as well, and the new blocks are `back`
    /// regions before these, or among the first blocks if there is no such region.
    pub(crate) fn reset(&mut self, back: usize, children: Vec<Child<'a>>) {
        for mut block in core::mem::take(&mut self.blocks) {
            block.remove(0, &self.parent);
        }
        let region = ((self.first - DIRECT_BLOCKS) / SLOTS).checked_sub(back);
        self.overflow = Self::overflow_up_to(region.unwrap_or(0))(&self.parent);
        self.first = region.map_or(1, |region| DIRECT_BLOCKS + region * SLOTS);
        self.add(children);
    }

    /// Polls as a group does, with the set's `start_round` written again.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.parent.begin_poll();
        for block in &mut self.blocks {
            block.state.ready |= core::mem::take(&mut block.state.yielded);
        }
        loop {
            let ready = self.parent.take_ready();
            let unpolled = core::mem::take(&mut self.unpolled);
            let (first, blocks) = (self.first, &mut self.blocks);
            self.overflow.gather(ready, |number| {
                // A stale bit may tell of a block that is gone.
                let place = number.checked_sub(first);
                if let Some(block) = place.and_then(|place| blocks.get_mut(place)) {
                    block.state.ready |= block.take_woken(&self.parent);
                }
            });
            let mut polled = unpolled;
            for block in &mut self.blocks {
                let count = if unpolled { 1 } else { block.state.ready.count_ones() as usize };
                let mut batch = Batch::default();
                batch.unpolled = unpolled;
                let poll = &mut |child: core::pin::Pin<&mut Child<'a>>, _, cx: &mut Context<'_>| {
                    child.get_mut()(cx)
                };
                let (budget, returned) = (&mut Budget::new(), &mut None);
                let scope = (usize::MAX, count);
                let on_done = &mut |_, ()| true;
                let (_, done) =
                    block.poll(&self.parent, &mut batch, scope, budget, returned, poll, on_done);
                self.left -= done.freed;
                polled |= count != 0;
            }
            if !polled && !self.parent.is_notified() {
                break;
            }
        }
        if self.blocks.iter().any(|block| block.state.yielded != 0) {
            self.parent.leave_work();
        }
        self.parent.end_poll(cx, (self.left != 0, true));
        if self.left != 0 { Poll::Pending } else { Poll::Ready(()) }
    }
}
