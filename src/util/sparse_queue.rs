//! A queue of values in the order of their keys, from which any of them can be removed.

use alloc::collections::VecDeque;

/// A position in the order of arrival: the lower the earlier.
type SortKey = u64;

/// A queue with a capacity of more values than this gives memory back that it does not need.
const RETAINED_CAPACITY: usize = 1024;

/// At most so many values are moved, to make room for one between them.
const NEAR: usize = if cfg!(test) { 2 } else { 32 };

/// A queue in which a value that is removed from the middle leaves a hole. It is compacted when
/// more than half of it are holes, or more were walked over than it is long. The first and the last
/// are never holes.
pub(crate) struct SparseQueue<T> {
    values: VecDeque<(SortKey, Option<T>)>,
    holes: usize,
    /// How many holes were walked over since it was compacted.
    walked: usize,
}

impl<T> Default for SparseQueue<T> {
    fn default() -> Self {
        Self { values: VecDeque::new(), holes: 0, walked: 0 }
    }
}

impl<T> SparseQueue<T> {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len() - self.holes
    }

    pub(crate) fn capacity(&self) -> usize {
        self.values.capacity()
    }

    /// Adds a value at the end: its key is higher than all others.
    #[inline]
    pub(crate) fn push(&mut self, key: SortKey, value: T) {
        debug_assert!(self.is_behind(key));
        self.values.push_back((key, Some(value)));
    }

    /// Returns `true` if that key is higher than all others.
    #[inline]
    pub(crate) fn is_behind(&self, key: SortKey) -> bool {
        self.values.back().is_none_or(|(last, _)| *last < key)
    }

    /// Returns `true` if the place of a value with that key is near one of the ends.
    pub(crate) fn is_near(&self, key: SortKey) -> bool {
        let at = self.place(key);
        at.min(self.values.len() - at) <= NEAR
    }

    /// Adds a value in its place, which is to be [near](Self::is_near) one of the ends.
    pub(crate) fn insert(&mut self, key: SortKey, value: T) {
        let at = self.place(key);
        match self.values.get_mut(at) {
            // One of the same key was removed.
            Some((of, hole @ None)) if *of == key => {
                *hole = Some(value);
                self.holes -= 1;
            }
            _ => self.values.insert(at, (key, Some(value))),
        }
    }

    fn place(&self, key: SortKey) -> usize {
        self.values.partition_point(|(at, _)| *at < key)
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<(SortKey, &T)> {
        self.values.front().and_then(|(key, value)| Some((*key, value.as_ref()?)))
    }

    /// Returns the last value whose key is below that one.
    pub(crate) fn last_below(&mut self, key: SortKey) -> Option<(SortKey, &T)> {
        let mut end = self.values.partition_point(|(at, _)| *at < key);
        let holes = self.values.range(..end).rev().take_while(|(_, value)| value.is_none()).count();
        end -= holes;
        self.walked += holes;
        if self.walked > self.values.len() {
            self.retain(|_| true);
            end = self.values.partition_point(|(at, _)| *at < key);
        }
        let (key, value) = self.values.get(end.checked_sub(1)?)?;
        Some((*key, value.as_ref()?))
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(SortKey, T)> {
        let (key, value) = self.values.pop_front()?;
        self.trim();
        value.map(|value| (key, value))
    }

    /// Takes out the first value, which owns nothing: it is forgotten, which is cheaper than
    /// dropping it.
    #[inline]
    pub(crate) fn forget_first(&mut self) {
        core::mem::forget(self.values.pop_front());
        self.trim();
    }

    /// Removes a value, after a last look at it in its place.
    #[inline]
    pub(crate) fn remove_with<R>(
        &mut self,
        key: SortKey,
        last: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        self.free(key, |value| value.as_mut().map(last))
    }

    pub(crate) fn remove(&mut self, key: SortKey) -> Option<T> {
        self.free(key, Option::take)
    }

    /// Removes a value, of which `take` makes the result. It returns `None` for a hole.
    #[inline]
    fn free<R>(
        &mut self,
        key: SortKey,
        take: impl FnOnce(&mut Option<T>) -> Option<R>,
    ) -> Option<R> {
        let at = match self.values.front()? {
            (first, _) if *first == key => 0,
            _ => self.find(key)?,
        };
        let (_, value) = self.values.get_mut(at)?;
        let result = take(value)?;
        if at == 0 {
            self.values.pop_front();
        } else {
            *value = None;
            self.holes += 1;
        }
        self.trim();
        Some(result)
    }

    pub(crate) fn get(&self, key: SortKey) -> Option<&T> {
        self.values.get(self.find(key)?).and_then(|(_, value)| value.as_ref())
    }

    pub(crate) fn get_mut(&mut self, key: SortKey) -> Option<&mut T> {
        let at = self.find(key)?;
        self.values.get_mut(at).and_then(|(_, value)| value.as_mut())
    }

    /// Retains only the values for which `keep` returns `true`.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.values.retain(|(_, value)| value.as_ref().is_some_and(&mut keep));
        (self.holes, self.walked) = (0, 0);
    }

    /// Returns the values, each with its key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SortKey, &T)> + Clone {
        self.values.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?)))
    }

    /// Returns the values, each with its key.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (SortKey, T)> {
        self.values.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }

    fn find(&self, key: SortKey) -> Option<usize> {
        let (first, _) = self.values.front()?;
        let ahead = usize::try_from(key.checked_sub(*first)?).ok()?;
        // Mostly no key is missing between the two.
        match self.values.get(ahead) {
            Some((at, _)) if *at == key => Some(ahead),
            _ => self.values.binary_search_by_key(&key, |(at, _)| *at).ok(),
        }
    }

    #[inline]
    fn trim(&mut self) {
        if self.holes > 0 {
            self.compact();
        }
        shrink(&mut self.values);
    }

    fn compact(&mut self) {
        while let Some((_, None)) = self.values.front() {
            self.values.pop_front();
            self.holes -= 1;
        }
        while let Some((_, None)) = self.values.back() {
            self.values.pop_back();
            self.holes -= 1;
        }
        if self.holes > self.values.len() / 2 {
            self.retain(|_| true);
        }
    }
}

/// Gives the memory of a queue back, if a burst has made it large and few values are left.
#[inline]
pub(crate) fn shrink<T>(values: &mut VecDeque<T>) {
    if values.capacity() > RETAINED_CAPACITY && values.len() < values.capacity() / 4 {
        shrink_now(values);
    }
}

#[cold]
#[inline(never)]
fn shrink_now<T>(values: &mut VecDeque<T>) {
    // So it is again after half of these have gone: the cost of a value does not grow. (`shrink_to`
    // does the same by more machine code, for each type of values.)
    let mut fewer = VecDeque::with_capacity(2 * values.len());
    while let Some(value) = values.pop_front() {
        fewer.push_back(value);
    }
    *values = fewer;
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn queue(keys: impl IntoIterator<Item = SortKey>) -> SparseQueue<SortKey> {
        let mut queue = SparseQueue::default();
        keys.into_iter().for_each(|key| queue.push(key, key));
        queue
    }

    #[test]
    fn any_value_can_be_removed_once() {
        let mut queue = queue([2, 3, 5, 8, 9]);
        assert_eq!(queue.remove(5), Some(5));
        assert_eq!(queue.remove(5), None);
        assert_eq!(queue.remove(4), None);
        assert_eq!(queue.remove(1), None);
        assert_eq!(queue.get_mut(8), Some(&mut 8));
        queue.retain(|value| *value != 3);
        assert_eq!(queue.into_entries().collect::<Vec<_>>(), [(2, 2), (8, 8), (9, 9)]);
    }

    #[test]
    fn a_value_gets_its_place_near_an_end_and_takes_the_hole_of_its_key() {
        let mut queue = queue((0..20).step_by(2));
        assert!(queue.is_near(3) && !queue.is_near(9) && queue.is_near(15));
        assert!(!queue.is_behind(18) && queue.is_behind(19));
        queue.remove(2);
        for key in [3, 2, 15] {
            queue.insert(key, key);
        }
        assert_eq!((queue.holes, queue.len()), (0, 12));
        assert_eq!(queue.remove(2), Some(2));
        assert_eq!(queue.remove(2), None);
        let keys: Vec<_> = queue.iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [0, 3, 4, 6, 8, 10, 12, 14, 15, 16, 18]);
        queue.pop();
        queue.insert(1, 1);
        assert_eq!(queue.first(), Some((1, &1)));
    }

    #[test]
    fn the_last_value_below_a_key_is_found_again_without_a_walk_over_many_holes() {
        let mut queue = queue(0..10_000);
        (3..5_000).for_each(|key| assert_eq!(queue.remove(key), Some(key)));
        for _ in 0..10 {
            assert_eq!(queue.last_below(5_000), Some((2, &2)));
        }
        assert_eq!((queue.holes, queue.values.len()), (0, 5_003));
        assert_eq!(queue.last_below(9_999), Some((9_998, &9_998)));
        assert_eq!(queue.last_below(1), Some((0, &0)));
        assert_eq!(queue.last_below(0), None);
    }

    #[test]
    fn no_hole_is_first_or_last() {
        let mut queue = queue(0..9);
        for key in [1, 2, 7, 0] {
            queue.remove(key);
            assert!(queue.first().is_some());
            assert!(queue.values.back().is_some_and(|(_, value)| value.is_some()));
        }
        assert_eq!(queue.first(), Some((3, &3)));
        queue.remove(8);
        assert_eq!(queue.values.back(), Some(&(6, Some(6))));
        (3..7).rev().for_each(|key| assert_eq!(queue.remove(key), Some(key)));
        assert!(queue.is_empty());
        assert_eq!(queue.holes, 0);
    }

    #[test]
    fn holes_are_never_most_of_a_queue() {
        let mut queue = queue(0..1_000);
        for key in 1..999 {
            assert_eq!(queue.remove(key), Some(key));
            assert!(queue.holes <= queue.values.len() / 2);
        }
        assert_eq!(queue.into_entries().collect::<Vec<_>>(), [(0, 0), (999, 999)]);
    }

    #[test]
    fn a_queue_gives_memory_back_that_it_does_not_need() {
        let mut many = queue(0..100 * RETAINED_CAPACITY as SortKey);
        while many.pop().is_some() {
            let (capacity, len) = (many.values.capacity(), many.values.len());
            assert!(capacity <= RETAINED_CAPACITY.max(5 * len), "{capacity} for {len}");
        }

        let mut few = queue(0..4);
        let capacity = few.values.capacity();
        while few.pop().is_some() {}
        assert_eq!(few.values.capacity(), capacity);
    }
}
