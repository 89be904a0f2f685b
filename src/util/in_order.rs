//! A reorder buffer, and what collects all values in order.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::mem;

use super::sparse_queue::shrink;

/// So many holes are made whatever the number of values is.
const FEW_HOLES: usize = 64;

/// Values that come in any order and are taken in the order of their indexes.
///
/// Indexes count from 0 without gaps. If a value of a higher index has come, each missing one
/// leaves a hole, unless these would be most of the entries. The last entry is never a hole.
#[derive(Clone)]
pub(crate) struct InOrder<V> {
    /// The entries from the index `next` on.
    values: VecDeque<Option<V>>,
    /// The index of the first entry; those below it were taken or skipped.
    next: usize,
    /// How many values are held.
    len: usize,
    /// What few buffers have. `None` as long as there was none of it.
    rare: Option<Box<Rare<V>>>,
}

#[derive(Clone)]
struct Rare<V> {
    /// The values of indexes far behind the last entry; none would be the next one.
    far: BTreeMap<usize, V>,
    /// Indexes from `next` on that have no value: the first of each run, and the one after it.
    skipped: BTreeMap<usize, usize>,
}

impl<V> InOrder<V> {
    pub(crate) const fn new() -> Self {
        Self { values: VecDeque::new(), next: 0, len: 0, rare: None }
    }

    fn rare(&mut self) -> &mut Rare<V> {
        let make = || Box::new(Rare { far: BTreeMap::new(), skipped: BTreeMap::new() });
        self.rare.get_or_insert_with(make)
    }

    /// Adds the value of an index that was neither taken nor skipped; one that was is dropped.
    ///
    /// Replaces the value that is held for the index, if there is one.
    #[inline]
    pub(crate) fn put(&mut self, index: usize, value: V) {
        debug_assert!(index >= self.next);
        let at = index.wrapping_sub(self.next);
        // Mostly the next to come is the next in order.
        if at == self.values.len() && self.rare.is_none() {
            self.values.push_back(Some(value));
            self.len += 1;
        } else if index >= self.next {
            self.put_apart(at, value);
        }
    }

    #[inline(never)]
    fn put_apart(&mut self, at: usize, value: V) {
        let index = self.next + at;
        if at >= self.values.len() {
            let is_far = |rare: &Rare<V>| rare.far.contains_key(&index);
            if at >= 2 * self.len + FEW_HOLES || self.rare.as_deref().is_some_and(is_far) {
                let before = self.rare().far.insert(index, value);
                self.len += usize::from(before.is_none());
                return;
            }
            self.values.resize_with(at + 1, || None);
        }
        self.len += usize::from(self.values[at].replace(value).is_none());
        self.take_near();
    }

    /// Makes entries of the values that are not far any more.
    fn take_near(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        while let Some(first) = rare.far.first_entry() {
            match self.values.len().checked_sub(*first.key() - self.next) {
                None => break,
                Some(0) => self.values.push_back(Some(first.remove())),
                Some(back) => {
                    let at = self.values.len() - back;
                    self.values[at] = Some(first.remove());
                }
            }
        }
    }

    /// Returns the indexes of the values that were not taken.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = usize> {
        let values = (self.next..).zip(&self.values);
        let near = values.filter_map(|(index, value)| value.as_ref().map(|_| index));
        near.chain(self.rare.iter().flat_map(|rare| rare.far.keys().copied()))
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
        if self.rare.is_some() {
            self.pass_skipped();
        }
        Some((index, value))
    }

    /// Expects no value of an index that has none so far.
    pub(crate) fn skip(&mut self, index: usize) {
        if index < self.next {
            return;
        }
        let skipped = &mut self.rare().skipped;
        let end = skipped.remove(&(index + 1)).unwrap_or(index + 1);
        match skipped.range_mut(..=index).next_back() {
            Some((_, last)) if *last >= index => *last = end.max(*last),
            _ => _ = skipped.insert(index, end),
        }
        self.pass_skipped();
    }

    /// Passes by the indexes that are skipped next, and makes entries of what is near then.
    #[inline(never)]
    fn pass_skipped(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        while let Some(end) = rare.skipped.remove(&self.next) {
            self.values.drain(..self.values.len().min(end - self.next));
            self.next = end;
        }
        self.take_near();
    }

    /// Returns the index of the next value if it is missing and a later one is held.
    pub(crate) fn missing(&self) -> Option<usize> {
        (self.len > 0 && !self.has_next()).then_some(self.next)
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

    /// Passes by the missing values before the first one held, which becomes the next in order.
    pub(crate) fn skip_missing(&mut self) {
        while let Some(None) = self.values.front() {
            self.values.pop_front();
            self.next += 1;
        }
        let Some(rare) = &mut self.rare else { return };
        if let (true, Some((first, _))) = (self.values.is_empty(), rare.far.first_key_value()) {
            self.next = *first;
        }
        rare.skipped = rare.skipped.split_off(&self.next);
        self.take_near();
    }

    /// Returns all values, in order and without the holes.
    fn into_values(self) -> impl Iterator<Item = V> {
        let far = self.rare.into_iter().flat_map(|rare| rare.far.into_values());
        self.values.into_iter().flatten().chain(far)
    }
}

/// All values that come, in the order of their indexes.
#[derive(Clone)]
pub(crate) struct Collected<V> {
    /// The values of the first indexes, without gaps.
    values: Vec<V>,
    /// Those behind a missing one. Made for the first of these.
    rest: Option<Box<InOrder<V>>>,
}

impl<V> Collected<V> {
    pub(crate) const fn new() -> Self {
        Self { values: Vec::new(), rest: None }
    }

    /// Adds the value of an index, or replaces it if there is one.
    #[inline]
    pub(crate) fn put(&mut self, index: usize, value: V) {
        // Mostly the next to come is the next in order.
        if index == self.values.len() && self.rest.as_ref().is_none_or(|rest| rest.len == 0) {
            self.values.push(value);
        } else {
            self.put_apart(index, value);
        }
    }

    #[inline(never)]
    fn put_apart(&mut self, index: usize, value: V) {
        if let Some(before) = self.values.get_mut(index) {
            *before = value;
            return;
        }
        let rest = self.rest.get_or_insert_with(|| Box::new(InOrder::new()));
        if rest.len == 0 {
            rest.next = self.values.len();
        }
        rest.put(index, value);
        while let Some((_, value)) = rest.next() {
            self.values.push(value);
        }
    }

    /// Returns how many values there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len() + self.rest.as_ref().map_or(0, |rest| rest.len)
    }

    /// Takes all values. There are none then.
    pub(crate) fn take(&mut self) -> Vec<V> {
        let Self { mut values, rest } = mem::replace(self, Self::new());
        if let Some(rest) = rest {
            values.reserve(rest.len);
            values.extend(rest.into_values());
        }
        values
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
    fn holes_are_few_beside_the_values_however_far_these_are() {
        let mut buffer = InOrder::new();
        for n in 1..1_000 {
            buffer.put(1_000 * n, n);
            assert!(buffer.values.len() <= 2 * buffer.len() + FEW_HOLES);
        }
        assert_eq!((buffer.len(), buffer.has_next(), buffer.missing()), (999, false, Some(0)));
        assert!(buffer.indexes().eq((1..1_000).map(|n| 1_000 * n)));
        (0..1_000).for_each(|index| buffer.skip(index));
        assert_eq!(buffer.next(), Some((1_000, 1)));
        // What was far is near.
        (1_001..2_000).rev().for_each(|index| buffer.put(index, 0));
        for index in 1_001..2_000 {
            assert_eq!(buffer.next(), Some((index, 0)));
        }
        assert_eq!(buffer.next(), Some((2_000, 2)));
        buffer.skip_missing();
        assert_eq!(buffer.next(), Some((3_000, 3)));
        buffer.put(5_000, 6);
        assert!(buffer.into_values().eq([4, 6].into_iter().chain(6..1_000)));
    }

    #[test]
    fn as_many_holes_as_values_need_no_tree() {
        let mut buffer = InOrder::new();
        (0..500).for_each(|index| buffer.put(index, ()));
        buffer.put(999, ());
        assert!(buffer.rare.is_none());
        assert_eq!((buffer.len(), buffer.values.len()), (501, 1_000));
    }

    #[test]
    fn runs_of_skipped_indexes_take_no_memory_each() {
        let mut buffer = InOrder::<()>::new();
        let runs = |buffer: &InOrder<()>| buffer.rare.as_ref().unwrap().skipped.len();
        (1..1_000).step_by(2).for_each(|index| buffer.skip(index));
        assert_eq!(runs(&buffer), 500);
        (2..1_000).step_by(2).for_each(|index| buffer.skip(index));
        assert_eq!(runs(&buffer), 1);
        (1..1_000).for_each(|index| buffer.skip(index));
        assert_eq!(runs(&buffer), 1);
        buffer.put(0, ());
        assert_eq!(buffer.next(), Some((0, ())));
        assert_eq!((buffer.next, buffer.missing()), (1_000, None));
    }

    /// Does what a buffer does, with a map.
    #[derive(Default)]
    struct Reference {
        values: BTreeMap<usize, usize>,
        skipped: Vec<usize>,
        next: usize,
    }

    impl Reference {
        fn pass(&mut self) {
            while self.skipped.contains(&self.next) {
                self.next += 1;
            }
        }

        fn next(&mut self) -> Option<(usize, usize)> {
            let next = self.values.remove(&self.next).map(|value| (self.next, value));
            self.next += usize::from(next.is_some());
            self.pass();
            next
        }
    }

    #[test]
    fn a_buffer_does_what_a_map_does() {
        let mut random = 1_u64;
        let mut below = |end: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % end
        };
        for _ in 0..300 {
            let (mut buffer, mut reference) = (InOrder::new(), Reference::default());
            let reach = [3, 30, 300][below(3)];
            for value in 0..300 {
                let index = reference.next + below(reach);
                match below(10) {
                    0 if !reference.values.contains_key(&index) => {
                        buffer.skip(index);
                        reference.skipped.push(index);
                        reference.pass();
                    }
                    1..6 if !reference.skipped.contains(&index) => {
                        buffer.put(index, value);
                        reference.values.insert(index, value);
                    }
                    6 if below(5) == 0 => {
                        buffer.skip_missing();
                        let first = reference.values.keys().next();
                        reference.next = first.map_or(reference.next, |first| *first);
                    }
                    _ => assert_eq!(buffer.next(), reference.next()),
                }
                let Reference { values, next, .. } = &reference;
                assert_eq!((buffer.next, buffer.len()), (*next, values.len()));
                assert_eq!(buffer.has_next(), values.contains_key(next));
                assert!(buffer.indexes().eq(values.keys().copied()));
                assert!(buffer.values.len() <= 2 * reach + FEW_HOLES);
            }
            assert!(buffer.into_values().eq(reference.values.into_values()));
        }
    }

    #[test]
    fn a_second_value_of_an_index_replaces_the_first() {
        let buffer = buffer(&[(1, 'b'), (1, 'c')]);
        assert_eq!(buffer.len(), 1);
        assert!(buffer.into_values().eq(['c']));
    }

    fn collected(values: &[(usize, char)]) -> Collected<char> {
        let mut collected = Collected::new();
        values.iter().for_each(|&(index, value)| collected.put(index, value));
        collected
    }

    #[test]
    fn all_values_are_collected_in_order_without_the_missing_ones() {
        let mut all = collected(&[(3, 'd'), (0, 'a'), (1, 'b'), (5, 'f')]);
        assert_eq!((all.len(), all.take()), (4, vec!['a', 'b', 'd', 'f']));
        assert_eq!((all.len(), all.take()), (0, vec![]));
        all.put(0, 'e');
        assert_eq!(all.take(), ['e']);
    }

    #[test]
    fn values_that_have_come_in_order_do_not_stay_behind_a_missing_one() {
        let mut all = collected(&[(0, 'a'), (2, 'c'), (1, 'b'), (3, 'd'), (5, 'f'), (4, 'e')]);
        assert_eq!((all.values.len(), all.rest.as_ref().unwrap().len), (6, 0));
        // Each of them is replaced.
        (0..6).for_each(|index| all.put(index, 'x'));
        all.put(7, 'y');
        all.put(7, 'z');
        assert_eq!((all.len(), all.take()), (7, "xxxxxxz".chars().collect()));
    }

    #[test]
    fn values_in_any_order_are_collected() {
        for step in [1, 7, 31, 99] {
            let mut all = Collected::new();
            for n in 0..100 {
                all.put(n * step % 100, n * step % 100);
                assert_eq!(all.len(), n + 1);
            }
            assert!(all.take().into_iter().eq(0..100));
        }
    }
}
