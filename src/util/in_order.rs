//! A reorder buffer.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::mem;

use super::sparse_queue::shrink;

/// Values that come in any order and are taken in the order of their indexes.
///
/// Indexes count from 0 without gaps. If a value of a higher index has come, each missing one
/// leaves a hole. The last entry is never a hole, so there are never more entries than indexes up
/// to the highest that has come.
#[derive(Clone)]
pub(crate) struct InOrder<V> {
    /// The entries from the index `next` on.
    values: VecDeque<Option<V>>,
    /// The index of the first entry; those below it were taken or skipped.
    next: usize,
    /// How many entries are not holes.
    len: usize,
    /// Indexes from `next` on that have no value. `None` as long as there was none.
    skipped: Option<BTreeSet<usize>>,
}

impl<V> InOrder<V> {
    pub(crate) const fn new() -> Self {
        Self { values: VecDeque::new(), next: 0, len: 0, skipped: None }
    }

    /// Adds the value of an index that was neither taken nor skipped; one that was is dropped.
    ///
    /// Replaces the value that is held for the index, if there is one.
    #[inline]
    pub(crate) fn put(&mut self, index: usize, value: V) {
        debug_assert!(index >= self.next);
        let Some(at) = index.checked_sub(self.next) else {
            return;
        };
        // Mostly the next to come is the next in order.
        if at == self.values.len() {
            self.values.push_back(Some(value));
            self.len += 1;
            return;
        }
        if at > self.values.len() {
            self.values.resize_with(at.saturating_add(1), || None);
        }
        if let Some(entry) = self.values.get_mut(at) {
            self.len += usize::from(entry.replace(value).is_none());
        }
    }

    /// Returns the indexes of the values that were not taken.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = usize> {
        let values = (self.next..).zip(&self.values);
        values.filter_map(|(index, value)| value.as_ref().map(|_| index))
    }

    /// Takes the next value in order, with its index, or returns `None` if it has not come.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<(usize, V)> {
        let value = self.values.front_mut()?.take()?;
        self.values.pop_front();
        shrink(&mut self.values);
        self.len -= 1;
        let index = self.next;
        self.next += 1;
        self.pass_skipped();
        Some((index, value))
    }

    /// Expects no value of an index that has none so far.
    pub(crate) fn skip(&mut self, index: usize) {
        if index >= self.next {
            self.skipped.get_or_insert_default().insert(index);
            self.pass_skipped();
        }
    }

    #[inline]
    fn pass_skipped(&mut self) {
        let Some(skipped) = &mut self.skipped else { return };
        while skipped.remove(&self.next) {
            self.values.pop_front();
            self.next += 1;
        }
    }

    /// Returns the index of the next value if it is missing and a later one is held.
    pub(crate) fn missing(&self) -> Option<usize> {
        matches!(self.values.front(), Some(None)).then_some(self.next)
    }

    /// Returns `true` if the next value in order has come.
    #[inline]
    pub(crate) fn has_next(&self) -> bool {
        matches!(self.values.front(), Some(Some(_)))
    }

    /// Returns how many values are held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Drops the holes before the first value held, which becomes the next in order.
    pub(crate) fn skip_missing(&mut self) {
        while let Some(None) = self.values.front() {
            self.values.pop_front();
            self.next += 1;
        }
        if let Some(skipped) = &mut self.skipped {
            *skipped = skipped.split_off(&self.next);
        }
    }

    /// Takes all values, in order and without the holes. The buffer is then as new.
    pub(crate) fn take_all(&mut self) -> Vec<V> {
        let entries = mem::replace(self, Self::new()).values;
        // By way of a vector, whose memory the collected one can take over.
        Vec::from(entries).into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(values: &[(usize, char)]) -> InOrder<char> {
        let mut buffer = InOrder::new();
        for &(index, value) in values {
            buffer.put(index, value);
        }
        buffer
    }

    #[test]
    fn values_are_taken_in_the_order_of_their_indexes() {
        let mut buffer = buffer(&[(2, 'c'), (0, 'a')]);
        assert_eq!((buffer.len(), buffer.has_next()), (2, true));
        assert_eq!(buffer.next(), Some((0, 'a')));
        // The value of 1 has not come.
        assert_eq!((buffer.len(), buffer.has_next()), (1, false));
        assert_eq!(buffer.next(), None);
        buffer.put(1, 'b');
        buffer.put(3, 'd');
        assert_eq!(buffer.next(), Some((1, 'b')));
        assert_eq!(buffer.next(), Some((2, 'c')));
        assert_eq!(buffer.next(), Some((3, 'd')));
        assert_eq!((buffer.next(), buffer.len()), (None, 0));
        buffer.put(4, 'e');
        assert_eq!(buffer.next(), Some((4, 'e')));
    }

    #[test]
    fn a_missing_value_is_skipped_up_to_the_next_one_held() {
        let mut buffer = buffer(&[(1, 'b'), (4, 'e')]);
        buffer.skip_missing();
        assert_eq!(buffer.next(), Some((1, 'b')));
        assert!(!buffer.has_next());
        buffer.skip_missing();
        assert_eq!(buffer.next(), Some((4, 'e')));
        buffer.skip_missing();
        assert_eq!((buffer.next(), buffer.len()), (None, 0));
    }

    #[test]
    fn an_index_without_a_value_is_passed_by() {
        let mut buffer = buffer(&[(2, 'c')]);
        buffer.skip(1);
        assert_eq!((buffer.missing(), buffer.has_next()), (Some(0), false));
        buffer.put(0, 'a');
        buffer.skip(3);
        assert_eq!(
            [buffer.next(), buffer.next(), buffer.next()],
            [Some((0, 'a')), Some((2, 'c')), None]
        );
        buffer.put(4, 'e');
        buffer.skip(3);
        assert_eq!((buffer.next(), buffer.missing(), buffer.len()), (Some((4, 'e')), None, 0));
    }

    #[test]
    fn an_index_that_is_skipped_holds_no_value_up() {
        let mut buffer = buffer(&[(1, 'b'), (5, 'f')]);
        buffer.skip(3);
        buffer.skip(0);
        assert_eq!(buffer.next(), Some((1, 'b')));
        assert!(!buffer.has_next());
        buffer.put(2, 'c');
        assert_eq!(buffer.next(), Some((2, 'c')));
        assert_eq!(buffer.next(), None);
        buffer.skip(4);
        assert_eq!(buffer.next(), Some((5, 'f')));
        buffer.skip(6);
        buffer.skip(8);
        buffer.put(7, 'h');
        assert_eq!(buffer.next(), Some((7, 'h')));
        buffer.put(9, 'j');
        assert_eq!(buffer.next(), Some((9, 'j')));
    }

    #[test]
    fn all_values_are_taken_without_the_holes() {
        let mut buffer = buffer(&[(3, 'd'), (0, 'a'), (1, 'b')]);
        assert_eq!(buffer.next(), Some((0, 'a')));
        assert_eq!(buffer.take_all(), ['b', 'd']);
        assert_eq!((buffer.len(), buffer.has_next()), (0, false));
        buffer.put(0, 'e');
        assert_eq!(buffer.next(), Some((0, 'e')));
    }

    #[test]
    fn a_second_value_of_an_index_replaces_the_first() {
        let mut buffer = buffer(&[(1, 'b'), (1, 'c')]);
        assert_eq!(buffer.len(), 1);
        assert_eq!(buffer.take_all(), ['c']);
    }
}
