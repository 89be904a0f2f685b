//! Values under small keys, which are used again once they are free.

use alloc::vec::{self, Vec};
use core::mem;

/// An empty slab with a capacity of more entries than this gives its memory back.
const RETAINED_ENTRIES: usize = 32;

/// The end of the list of free entries.
const NO_ENTRY: usize = usize::MAX;

/// A vector with free entries, and the list of these.
///
/// Inserting and removing take constant time. A slab that becomes empty gives its memory back if
/// it is large, so that many values that are long gone cost nothing. It keeps a small one, so that
/// a value that is inserted and removed again and again allocates once.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    /// The entry that was freed last; each free entry links to the one that was freed before it.
    free: usize,
    len: usize,
}

#[derive(Debug)]
enum Entry<T> {
    Full(T),
    Free(usize),
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), free: NO_ENTRY, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the key that the next insertion will return.
    pub(crate) fn next_key(&self) -> usize {
        if self.free == NO_ENTRY { self.entries.len() } else { self.free }
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        let key = self.next_key();
        match self.entries.get_mut(key) {
            None => self.entries.push(Entry::Full(value)),
            Some(entry) => {
                if let Entry::Free(before) = mem::replace(entry, Entry::Full(value)) {
                    self.free = before;
                }
            }
        }
        self.len += 1;
        key
    }

    pub(crate) fn get(&self, key: usize) -> Option<&T> {
        match self.entries.get(key) {
            Some(Entry::Full(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        match self.entries.get_mut(key) {
            Some(Entry::Full(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<T> {
        let entry = self.entries.get_mut(key)?;
        if matches!(entry, Entry::Free(_)) {
            return None;
        }
        let Entry::Full(value) = mem::replace(entry, Entry::Free(self.free)) else {
            return None;
        };
        self.free = key;
        self.len -= 1;
        if self.len == 0 && self.entries.capacity() > RETAINED_ENTRIES {
            // Only free entries are left: no value of the user's is dropped here.
            self.entries = Vec::new();
            self.free = NO_ENTRY;
        }
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Full(value) => Some(value),
            Entry::Free(_) => None,
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().filter_map(|entry| match entry {
            Entry::Full(value) => Some(value),
            Entry::Free(_) => None,
        })
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> FromIterator<T> for Slab<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut slab = Self::new();
        for value in values {
            slab.insert(value);
        }
        slab
    }
}

impl<T> IntoIterator for Slab<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self.entries.into_iter())
    }
}

/// The values of a slab, in the order of their keys.
#[derive(Debug)]
pub(crate) struct IntoIter<T>(vec::IntoIter<Entry<T>>);

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Entry::Full(value) = self.0.next()? {
                return Some(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_used_again_newest_first() {
        let mut slab = Slab::new();
        let keys: Vec<usize> = (0..4).map(|n| slab.insert(n)).collect();
        assert_eq!(keys, [0, 1, 2, 3]);
        assert_eq!(slab.remove(1), Some(1));
        assert_eq!(slab.remove(3), Some(3));
        assert_eq!(slab.remove(3), None);
        assert_eq!(slab.next_key(), 3);
        assert_eq!(slab.insert(5), 3);
        assert_eq!(slab.insert(6), 1);
        assert_eq!(slab.insert(7), 4);
        assert_eq!(slab.iter().copied().collect::<Vec<_>>(), [0, 6, 2, 5, 7]);
        assert_eq!((slab.get(9), slab.get(1)), (None, Some(&6)));
        *slab.get_mut(1).unwrap() = 8;
        assert_eq!(slab.len(), 5);
        assert_eq!(slab.into_iter().collect::<Vec<_>>(), [0, 8, 2, 5, 7]);
    }

    #[test]
    fn an_empty_slab_keeps_little_memory() {
        let mut slab = Slab::new();
        for n in 0..1_000 {
            slab.insert(n);
        }
        for n in 0..1_000 {
            assert_eq!(slab.remove(n), Some(n));
        }
        assert_eq!(slab.entries.capacity(), 0);

        slab.insert(0);
        let capacity = slab.entries.capacity();
        for _ in 0..10 {
            assert_eq!(slab.remove(0), Some(0));
            assert_eq!(slab.insert(0), 0);
        }
        assert_eq!(slab.entries.capacity(), capacity);
    }
}
