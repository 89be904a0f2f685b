//! The blocks of a set, by their numbers.
//!
//! The first [`DIRECT_BLOCKS`] are in one vector, of which only the end is given back. The others
//! are in regions, each in an allocation of its own, so that what is left of many costs little.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::block::{Block, SLOTS};
use crate::util::parent_waker::DIRECT_BLOCKS;

pub(super) struct Blocks<C> {
    direct: Vec<Block<C>>,
    regions: Vec<Region<C>>,
    /// No region before this one has a free number.
    vacant_region: usize,
    /// How many blocks there are.
    len: usize,
}

struct Region<C> {
    /// Has a bit for each block that there is.
    used: usize,
    /// Without an allocation if there is none.
    blocks: Vec<Option<Box<Block<C>>>>,
}

/// Returns a block's region, and its number there.
fn in_region(number: usize) -> (usize, usize) {
    ((number - DIRECT_BLOCKS) / SLOTS, (number - DIRECT_BLOCKS) % SLOTS)
}

// === impl Blocks ===

impl<C> Blocks<C> {
    pub(super) fn new() -> Self {
        Self { direct: Vec::new(), regions: Vec::new(), vacant_region: 0, len: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the block with that number, or `None` if there is none.
    #[inline]
    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Block<C>> {
        if number < DIRECT_BLOCKS {
            return self.direct.get_mut(number);
        }
        let (region, at) = in_region(number);
        self.regions.get_mut(region)?.blocks.get_mut(at)?.as_deref_mut()
    }

    /// Returns a number above those of all blocks. Not each number below it is a block's.
    pub(super) fn end(&self) -> usize {
        match self.regions.last() {
            Some(last) => DIRECT_BLOCKS + (self.regions.len() - 1) * SLOTS + last.blocks.len(),
            None => self.direct.len(),
        }
    }

    /// Returns the lowest number that a new block may have.
    pub(super) fn vacant_number(&mut self) -> usize {
        if self.direct.len() < DIRECT_BLOCKS {
            return self.direct.len();
        }
        while self.regions.get(self.vacant_region).is_some_and(|it| it.used == usize::MAX) {
            self.vacant_region += 1;
        }
        let used = self.regions.get(self.vacant_region).map_or(0, |region| region.used);
        DIRECT_BLOCKS + self.vacant_region * SLOTS + used.trailing_ones() as usize
    }

    /// Adds a block under a [vacant number](Self::vacant_number).
    pub(super) fn insert(&mut self, number: usize, block: Block<C>) {
        self.len += 1;
        if number < DIRECT_BLOCKS {
            if number == 0 {
                self.direct.reserve_exact(1);
            }
            return self.direct.push(block);
        }
        let (region, at) = in_region(number);
        if region == self.regions.len() {
            self.regions.push(Region { used: 0, blocks: Vec::new() });
        }
        let Region { used, blocks } = &mut self.regions[region];
        *used |= 1 << at;
        if at >= blocks.len() {
            blocks.resize_with(at + 1, || None);
        }
        blocks[at] = Some(Box::new(block));
    }

    /// Returns the last block, or `None` if there is none.
    pub(super) fn last_mut(&mut self) -> Option<&mut Block<C>> {
        match self.regions.last_mut() {
            Some(region) => region.blocks.last_mut()?.as_deref_mut(),
            None => self.direct.last_mut(),
        }
    }

    /// Drops the last block. There is one.
    pub(super) fn pop(&mut self) {
        match self.regions.last_mut() {
            None => drop(self.direct.pop()),
            Some(Region { used, blocks }) => {
                blocks.pop();
                *used &= !(1 << blocks.len());
                self.trim_regions();
            }
        }
        self.len -= 1;
    }

    /// Gives back what no child needs. Then calls `visit` with the number of each block that is
    /// left, the last one first.
    pub(super) fn trim(&mut self, mut visit: impl FnMut(usize, &mut Block<C>)) {
        for (at, Region { used, blocks }) in self.regions.iter_mut().enumerate().rev() {
            for bit in (0..blocks.len()).rev() {
                match &mut blocks[bit] {
                    Some(block) if block.occupied() == 0 => {
                        blocks[bit] = None;
                        *used &= !(1 << bit);
                        self.len -= 1;
                    }
                    Some(block) => {
                        block.trim();
                        visit(DIRECT_BLOCKS + at * SLOTS + bit, block);
                    }
                    None => {}
                }
            }
            if *used == 0 {
                *blocks = Vec::new();
            }
            if *used != usize::MAX {
                self.vacant_region = self.vacant_region.min(at);
            }
        }
        self.trim_regions();
        while self.direct.last().is_some_and(|block| block.occupied() == 0) {
            self.direct.pop();
            self.len -= 1;
        }
        for (number, block) in self.direct.iter_mut().enumerate().rev() {
            block.trim();
            visit(number, block);
        }
        if self.direct.capacity() > 2 * self.direct.len() {
            self.direct.shrink_to_fit();
        }
    }

    /// Restores that the last region has a block, which is the last of its entries.
    fn trim_regions(&mut self) {
        while let Some(Region { used, blocks }) = self.regions.last_mut() {
            while let Some(None) = blocks.last() {
                blocks.pop();
            }
            if *used != 0 {
                break;
            }
            self.regions.pop();
        }
        self.vacant_region = self.vacant_region.min(self.regions.len());
    }
}

impl<C> Index<usize> for Blocks<C> {
    type Output = Block<C>;

    fn index(&self, number: usize) -> &Block<C> {
        if number < DIRECT_BLOCKS {
            return &self.direct[number];
        }
        let (region, at) = in_region(number);
        match &self.regions[region].blocks[at] {
            Some(block) => block,
            None => unreachable!("a block was given back that has children"),
        }
    }
}

impl<C> IndexMut<usize> for Blocks<C> {
    #[inline]
    fn index_mut(&mut self, number: usize) -> &mut Block<C> {
        match self.get_mut(number) {
            Some(block) => block,
            None => unreachable!("a block was given back that has children"),
        }
    }
}
