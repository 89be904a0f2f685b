//! The blocks of a set, by their numbers.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::block::{Block, BlockState};
use super::child_waker::ReadyBits;
use crate::util::parent_waker::ParentWaker;
use crate::util::rare_box::RareBox;
use crate::util::sync::Arc;

/// The first block, whose number is 0, is always there. The others come and go.
pub(super) struct Blocks<C> {
    pub(super) first: Block<C>,
    /// `None` if there never was another.
    others: RareBox<Others<C>>,
}

/// The states of the blocks, by their numbers: so the code that needs no more is the same for all
/// types of children.
pub(super) trait BlockStates {
    /// Returns the state of the block with that number, or `None` if there is none.
    fn get(&mut self, number: usize) -> Option<&mut BlockState>;

    /// Adds the children that were woken to those of their block that are ready. Returns `true` if
    /// these are the first.
    fn ready_woken(&mut self, number: usize, parent: &Arc<ParentWaker>) -> bool;

    /// Returns the children that wait for a wake-up, and whose index `is_meant`.
    fn find_waiting(&mut self, number: usize, is_meant: &mut dyn FnMut(usize) -> bool) -> usize;

    /// Adds a block with the ready bits that are made for its number. Returns the number.
    fn add(&mut self, make_bits: &mut dyn FnMut(usize) -> Arc<ReadyBits>) -> usize;

    /// Returns a number above those of all blocks.
    fn end(&self) -> usize;
}

impl dyn BlockStates + '_ {
    /// Returns the state of the block with that number. There is one.
    pub(super) fn state(&mut self, number: usize) -> &mut BlockState {
        match self.get(number) {
            Some(state) => state,
            None => unreachable!("a block was given back that has children"),
        }
    }
}

struct Others<C> {
    /// The place of a block is one less than its number. `None` is the place of one that was given
    /// back.
    blocks: Vec<Option<Box<Block<C>>>>,
    /// The free places, the next one last.
    free: Vec<usize>,
}

impl<C> Blocks<C> {
    pub(super) fn new() -> Self {
        Self { first: Block::new(None), others: RareBox::none() }
    }

    /// Returns how many blocks there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        1 + self.others.as_ref().map_or(0, |others| others.blocks.len() - others.free.len())
    }

    /// Returns the block with that number, or `None` if there is none.
    #[inline]
    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Block<C>> {
        match number.checked_sub(1) {
            None => Some(&mut self.first),
            Some(place) => self.others.as_mut()?.blocks.get_mut(place)?.as_deref_mut(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Block<C>> {
        let others = self.others.iter().flat_map(|others| &others.blocks);
        core::iter::once(&self.first).chain(others.filter_map(|block| block.as_deref()))
    }

    /// Returns the block with that number. There is one.
    #[inline]
    pub(super) fn block(&mut self, number: usize) -> &mut Block<C> {
        match self.get_mut(number) {
            Some(block) => block,
            None => unreachable!("a block was given back that has children"),
        }
    }

    /// Gives back what no child needs.
    pub(super) fn trim(&mut self) {
        self.first.trim();
        let Some(others) = &mut *self.others else { return };
        let Others { blocks, free } = &mut **others;
        for place in blocks.iter_mut() {
            match place {
                Some(block) if block.state.occupied() == 0 => *place = None,
                Some(block) => block.trim(),
                None => {}
            }
        }
        while let Some(None) = blocks.last() {
            blocks.pop();
        }
        blocks.shrink_to_fit();
        // Of the free numbers, the lowest is the next one.
        *free = Vec::new();
        for (place, block) in blocks.iter().enumerate().rev() {
            if block.is_none() {
                free.push(place);
            }
        }
    }
}

impl<C> BlockStates for Blocks<C> {
    fn get(&mut self, number: usize) -> Option<&mut BlockState> {
        self.get_mut(number).map(|block| &mut block.state)
    }

    fn ready_woken(&mut self, number: usize, parent: &Arc<ParentWaker>) -> bool {
        let Some(block) = self.get_mut(number) else { return false };
        let before = block.state.ready;
        block.state.ready |= block.take_woken(parent);
        before == 0 && block.state.ready != 0
    }

    fn find_waiting(&mut self, number: usize, is_meant: &mut dyn FnMut(usize) -> bool) -> usize {
        self.get_mut(number).map_or(0, |block| block.find_waiting(is_meant))
    }

    fn add(&mut self, make_bits: &mut dyn FnMut(usize) -> Arc<ReadyBits>) -> usize {
        let Others { blocks, free } = &mut **self.others.get_or_insert_default();
        let place = free.last().copied().unwrap_or(blocks.len());
        let block = Some(Box::new(Block::new(Some(make_bits(1 + place)))));
        match blocks.get_mut(place) {
            None => blocks.push(block),
            Some(vacant) => *vacant = block,
        }
        free.pop();
        1 + place
    }

    fn end(&self) -> usize {
        1 + self.others.as_ref().map_or(0, |others| others.blocks.len())
    }
}

impl<C> Default for Others<C> {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: Vec::new() }
    }
}
