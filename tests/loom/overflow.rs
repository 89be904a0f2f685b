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
        let parent = ParentWaker::new();
        let mut overflow = Overflow::default();
        let left = children.len();
        for before in 0..region {
            overflow.add(DIRECT_BLOCKS + before * SLOTS, &parent);
        }
        let first = DIRECT_BLOCKS + region * SLOTS;
        let blocks = (first..).zip(children).map(|(number, child)| {
            let mut block = Block::new(Some(overflow.add(number, &parent)));
            block.insert_with(0, || child, number);
            block
        });
        let blocks = blocks.collect();
        Self { parent, overflow, first, blocks, unpolled: true, left }
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
                let block = &mut blocks[number - first];
                block.state.ready |= block.take_woken(&self.parent);
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
