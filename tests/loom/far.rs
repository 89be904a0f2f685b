//! The blocks that have no cord. Built from the parts, since a set has its first one after
//! some four thousand children.

#[allow(dead_code)]
#[path = "../../src/set/block.rs"]
mod block;
#[allow(dead_code)]
#[path = "../../src/set/flag.rs"]
mod flag;
#[allow(dead_code)]
#[path = "../../src/set/region.rs"]
mod region;
#[allow(dead_code)]
#[path = "../../src/set/seats.rs"]
mod seats;

use std::task::{Context, Poll};

use self::block::{Block, Bunch};
use self::region::Regions;
use crate::util::parent_waker::{ParentWaker, DIRECT_BLOCKS};
use crate::engine::Child;
use crate::util::sync::Arc;

/// Blocks of one region, with a child in each.
pub(crate) struct Far<'a> {
    parent: Arc<ParentWaker>,
    regions: Regions,
    blocks: Vec<Block<Child<'a>>>,
    fresh: bool,
    left: usize,
}

impl<'a> Far<'a> {
    pub(crate) fn new(children: Vec<Child<'a>>) -> Self {
        let parent = ParentWaker::new();
        let mut regions = Regions::default();
        let left = children.len();
        let blocks = (DIRECT_BLOCKS..).zip(children).map(|(number, child)| {
            let mut block = Block::new(regions.add(number, &parent));
            block.insert(child, number);
            block
        });
        let blocks = blocks.collect();
        Self { parent, regions, blocks, fresh: true, left }
    }

    /// As the group's, with the set's `start_round` and `gather`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut news = self.parent.begin_poll(cx);
        for block in &mut self.blocks {
            block.ready |= core::mem::take(&mut block.late);
        }
        loop {
            news = news.merge(self.parent.take_ready());
            let fresh = core::mem::take(&mut self.fresh);
            if news.any() || self.regions.has_grown() {
                let blocks = &mut self.blocks;
                self.regions.gather(core::mem::take(&mut news), |number| {
                    let block = &mut blocks[number - DIRECT_BLOCKS];
                    block.ready |= block.take_woken();
                });
            }
            let mut polled = fresh;
            for block in &mut self.blocks {
                let count = if fresh { 1 } else { block.ready.count_ones() as usize };
                let mut bunch = Bunch { fresh, count, ..Bunch::default() };
                let poll = &mut |child: core::pin::Pin<&mut Child<'a>>, _, cx: &mut Context<'_>| {
                    child.get_mut()(cx)
                };
                block.poll(&mut bunch, &mut None, poll, &mut |_, ()| true);
                self.left -= bunch.freed;
                polled |= count != 0;
            }
            if !polled && !self.parent.is_notified() {
                break;
            }
        }
        if self.blocks.iter().any(|block| block.late != 0) {
            self.parent.notify();
        }
        self.parent.end_poll(cx, self.left != 0);
        if self.left != 0 { Poll::Pending } else { Poll::Ready(()) }
    }
}
