//! The blocks of a set, by their numbers.
//!
//! The first block, whose number is 0, is always there. The next ones, up to [`DIRECT_BLOCKS`], are
//! in one vector, of which only the end is given back. The others are in regions, each in an
//! allocation of its own, so that what is left of many costs little.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::block::{Block, SLOTS};
use crate::util::parent_waker::DIRECT_BLOCKS;

pub(super) struct Blocks<C> {
    pub(super) first: Block<C>,
    /// `None` if there is no other.
    others: Option<Box<Others<C>>>,
}

struct Others<C> {
    /// Those from number 1 on.
    direct: Vec<Block<C>>,
    regions: Vec<Region<C>>,
    /// No region before this one has a free number.
    vacant_region: usize,
    /// How many blocks there are in here.
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
        Self { first: Block::new(None), others: None }
    }

    /// Returns how many blocks there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        1 + self.others.as_ref().map_or(0, |others| others.len)
    }

    /// Returns the block with that number, or `None` if there is none.
    #[inline]
    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Block<C>> {
        match number.checked_sub(1) {
            None => Some(&mut self.first),
            Some(_) => self.others.as_mut()?.get_mut(number),
        }
    }

    /// Returns the block with that number. There is one.
    #[inline]
    pub(super) fn block(&mut self, number: usize) -> &mut Block<C> {
        match self.get_mut(number) {
            Some(block) => block,
            None => unreachable!("a block was given back that has children"),
        }
    }

    /// Returns a number above those of all blocks. Not each number below it is a block's.
    pub(super) fn end(&self) -> usize {
        self.others.as_ref().map_or(1, |others| others.end())
    }

    /// Returns the lowest number that a new block may have.
    pub(super) fn vacant_number(&mut self) -> usize {
        self.others.as_mut().map_or(1, |others| others.vacant_number())
    }

    /// Adds a block under a [vacant number](Self::vacant_number).
    pub(super) fn insert(&mut self, number: usize, block: Block<C>) {
        self.others.get_or_insert_with(|| Box::new(Others::new())).insert(number, block);
    }

    /// Returns the last block.
    pub(super) fn last_mut(&mut self) -> &mut Block<C> {
        match self.others.as_mut().and_then(|others| others.last_mut()) {
            Some(block) => block,
            None => &mut self.first,
        }
    }

    /// Drops the last block. Returns `false` if it is the first one, which is not dropped.
    pub(super) fn pop(&mut self) -> bool {
        match &mut self.others {
            Some(others) if others.len > 0 => {
                others.pop();
                true
            }
            _ => false,
        }
    }

    /// Gives back what no child needs. Then calls `visit` with the number of each block that is
    /// left, the last one first.
    pub(super) fn trim(&mut self, mut visit: impl FnMut(usize, &mut Block<C>)) {
        if let Some(others) = &mut self.others {
            others.trim(&mut visit);
        }
        self.first.trim();
        visit(0, &mut self.first);
    }
}

// === impl Others ===

impl<C> Others<C> {
    fn new() -> Self {
        Self { direct: Vec::new(), regions: Vec::new(), vacant_region: 0, len: 0 }
    }

    #[inline]
    fn get_mut(&mut self, number: usize) -> Option<&mut Block<C>> {
        if number < DIRECT_BLOCKS {
            return self.direct.get_mut(number - 1);
        }
        let (region, at) = in_region(number);
        self.regions.get_mut(region)?.blocks.get_mut(at)?.as_deref_mut()
    }

    fn end(&self) -> usize {
        match self.regions.last() {
            Some(last) => DIRECT_BLOCKS + (self.regions.len() - 1) * SLOTS + last.blocks.len(),
            None => 1 + self.direct.len(),
        }
    }

    fn vacant_number(&mut self) -> usize {
        if 1 + self.direct.len() < DIRECT_BLOCKS {
            return 1 + self.direct.len();
        }
        while self.regions.get(self.vacant_region).is_some_and(|it| it.used == usize::MAX) {
            self.vacant_region += 1;
        }
        let used = self.regions.get(self.vacant_region).map_or(0, |region| region.used);
        DIRECT_BLOCKS + self.vacant_region * SLOTS + used.trailing_ones() as usize
    }

    fn insert(&mut self, number: usize, block: Block<C>) {
        self.len += 1;
        if number < DIRECT_BLOCKS {
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

    fn last_mut(&mut self) -> Option<&mut Block<C>> {
        match self.regions.last_mut() {
            Some(region) => region.blocks.last_mut()?.as_deref_mut(),
            None => self.direct.last_mut(),
        }
    }

    /// Drops the last block. There is one.
    fn pop(&mut self) {
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

    fn trim(&mut self, visit: &mut impl FnMut(usize, &mut Block<C>)) {
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
        for (at, block) in self.direct.iter_mut().enumerate().rev() {
            block.trim();
            visit(1 + at, block);
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
