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
use crate::bell::{Bell, CORDS};
use crate::engine::Child;
use crate::sync::Arc;

/// Blocks of one region, with a child in each.
pub(crate) struct Far<'a> {
    bell: Arc<Bell>,
    regions: Regions,
    blocks: Vec<Block<Child<'a>>>,
    fresh: bool,
    left: usize,
}

impl<'a> Far<'a> {
    pub(crate) fn new(children: Vec<Child<'a>>) -> Self {
        let bell = Bell::new();
        let mut regions = Regions::default();
        let left = children.len();
        let blocks = (CORDS..).zip(children).map(|(number, child)| {
            let mut block = Block::new(regions.add(number, &bell));
            block.insert(child, number);
            block
        });
        let blocks = blocks.collect();
        Self { bell, regions, blocks, fresh: true, left }
    }

    /// As the group's, with the set's `start_round` and `gather`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut news = self.bell.open(cx);
        for block in &mut self.blocks {
            block.ready |= core::mem::take(&mut block.late);
        }
        loop {
            news = news.and(self.bell.take());
            let fresh = core::mem::take(&mut self.fresh);
            if news.any() || self.regions.has_grown() {
                let blocks = &mut self.blocks;
                self.regions.gather(core::mem::take(&mut news), |number| {
                    let block = &mut blocks[number - CORDS];
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
            if !polled && !self.bell.is_rung() {
                break;
            }
        }
        if self.blocks.iter().any(|block| block.late != 0) {
            self.bell.ring();
        }
        self.bell.close(cx, self.left != 0);
        if self.left != 0 { Poll::Pending } else { Poll::Ready(()) }
    }
}
