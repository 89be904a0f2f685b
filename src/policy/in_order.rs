//! Values in the order of admission, though they come in the order in which children finish.

use alloc::vec::Vec;

/// A place for each child up to the last one that was heard of; empty where nothing came.
///
/// Indexes count from 0 without gaps, so there are never more places than children were
/// admitted. Mostly the next to come is the next in order, and is pushed.
#[derive(Clone)]
pub(super) struct InOrder<V> {
    places: Vec<Option<V>>,
    /// How many places are taken.
    taken: usize,
}

impl<V> InOrder<V> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), taken: 0 }
    }

    pub(super) fn put(&mut self, index: usize, value: V) {
        if index == self.places.len() {
            self.places.push(Some(value));
            self.taken += 1;
            return;
        }
        if index > self.places.len() {
            self.places.resize_with(index.saturating_add(1), || None);
        }
        if let Some(place) = self.places.get_mut(index) {
            self.taken += usize::from(place.replace(value).is_none());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// Takes the values out, in order; holes are left out.
    pub(super) fn take(&mut self) -> Vec<V> {
        self.taken = 0;
        core::mem::take(&mut self.places).into_iter().flatten().collect()
    }
}
