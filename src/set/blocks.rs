//! The blocks of a set, by their numbers.

use alloc::boxed::Box;

use super::block::Block;
use crate::util::slab::Slab;

/// The first block, whose number is 0, is always there. The others come and go.
pub(super) struct Blocks<C> {
    pub(super) first: Block<C>,
    /// `None` if there never was another. A block's key is one less than its number.
    others: Option<Box<Slab<Box<Block<C>>>>>,
}

impl<C> Blocks<C> {
    pub(super) fn new() -> Self {
        Self { first: Block::new(None), others: None }
    }

    /// Returns how many blocks there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        1 + self.others.as_ref().map_or(0, |others| others.len())
    }

    /// Returns the block with that number, or `None` if there is none.
    #[inline]
    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Block<C>> {
        match number.checked_sub(1) {
            None => Some(&mut self.first),
            Some(key) => self.others.as_mut()?.get_mut(key).map(|block| &mut **block),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Block<C>> {
        let others = self.others.iter().flat_map(|others| others.iter());
        core::iter::once(&self.first).chain(others.map(|block| &**block))
    }

    /// Returns the block with that number. There is one.
    #[inline]
    pub(super) fn block(&mut self, number: usize) -> &mut Block<C> {
        match self.get_mut(number) {
            Some(block) => block,
            None => unreachable!("a block was given back that has children"),
        }
    }

    /// Adds a block, which `make` makes for its number. Returns the number.
    pub(super) fn add(&mut self, make: impl FnOnce(usize) -> Block<C>) -> usize {
        let others = self.others.get_or_insert_default();
        let number = 1 + others.next_key();
        others.insert(Box::new(make(number)));
        number
    }

    /// Calls `visit` with each block and its number, the last one first.
    pub(super) fn for_each(&mut self, visit: &mut dyn FnMut(usize, &mut Block<C>)) {
        for key in (0..self.others.as_ref().map_or(0, |others| others.end())).rev() {
            if let Some(block) = self.others.as_mut().and_then(|others| others.get_mut(key)) {
                visit(1 + key, block);
            }
        }
        visit(0, &mut self.first);
    }

    /// Gives back what no child needs.
    pub(super) fn trim(&mut self) {
        self.first.trim();
        let Some(others) = &mut self.others else { return };
        // Of the free numbers, the lowest is the next one then.
        for key in (0..others.end()).rev() {
            match others.get_mut(key) {
                Some(block) if block.occupied() == 0 => drop(others.remove(key)),
                Some(block) => block.trim(),
                None => {}
            }
        }
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = Block<C>> {
        let others = self.others.into_iter().flat_map(|others| *others).map(|block| *block);
        core::iter::once(self.first).chain(others)
    }
}
