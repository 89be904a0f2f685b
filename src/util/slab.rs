//! Values under small keys, which are used again once they are free.

use alloc::vec::Vec;
use core::{iter, mem};

/// A page with a capacity of more entries than this gives its memory back when it is empty.
const RETAINED_ENTRIES: usize = 32;

/// The most entries of a page.
const PAGE: usize = 512;

/// The end of a list of free entries, or of pages.
const NONE: usize = usize::MAX;

/// Values in pages, which have lists of their free entries, and are in one of those with room.
///
/// Inserting and removing take constant time. A page that becomes empty gives its memory back if
/// it is large, so that many values that are long gone cost little, whichever are left. It keeps a
/// small one, so that a value that is inserted and removed again and again allocates once.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    /// Apart from the others, so that a small slab allocates no list of them.
    first: Page<T>,
    others: Vec<Page<T>>,
    /// The page that takes the next value; each page with room links to another one.
    open: usize,
    len: usize,
}

#[derive(Debug)]
struct Page<T> {
    entries: Vec<PageEntry<T>>,
    /// The entry that was freed last; each free entry links to the one that was freed before it.
    free: usize,
    len: usize,
    next_open: usize,
}

#[derive(Debug)]
enum PageEntry<T> {
    Full(T),
    Free(usize),
}

impl<T> Page<T> {
    const fn new() -> Self {
        Self { entries: Vec::new(), free: NONE, len: 0, next_open: NONE }
    }

    fn next_key(&self) -> usize {
        if self.free == NONE { self.entries.len() } else { self.free }
    }

    /// Inserts a value, and returns its key.
    #[inline]
    fn insert(&mut self, value: T) -> usize {
        let key = self.next_key();
        match self.entries.get_mut(key) {
            None => self.entries.push(PageEntry::Full(value)),
            Some(entry) => {
                if let PageEntry::Free(before) = entry {
                    self.free = *before;
                }
                // It was free, so nothing is dropped here.
                *entry = PageEntry::Full(value);
            }
        }
        self.len += 1;
        key
    }

    fn remove(&mut self, key: usize) -> Option<T> {
        let entry = self.entries.get_mut(key)?;
        if matches!(entry, PageEntry::Free(_)) {
            return None;
        }
        let PageEntry::Full(value) = mem::replace(entry, PageEntry::Free(self.free)) else {
            return None;
        };
        self.link_free(key);
        Some(value)
    }

    /// Drops a value in its place, without a copy of it.
    fn discard(&mut self, key: usize) -> Option<()> {
        let entry = self.entries.get_mut(key)?;
        if matches!(entry, PageEntry::Free(_)) {
            return None;
        }
        *entry = PageEntry::Free(self.free);
        self.link_free(key);
        Some(())
    }

    /// Records that an entry, which links to the first free one, is free.
    fn link_free(&mut self, key: usize) {
        self.free = key;
        self.len -= 1;
        if self.len == 0 && self.entries.capacity() > RETAINED_ENTRIES {
            // Only free entries are left: no value of the user's is dropped here.
            (self.entries, self.free) = (Vec::new(), NONE);
        }
    }
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { first: Page::new(), others: Vec::new(), open: 0, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn page(&self, at: usize) -> Option<&Page<T>> {
        if at == 0 { Some(&self.first) } else { self.others.get(at - 1) }
    }

    #[inline]
    fn page_mut(&mut self, at: usize) -> Option<&mut Page<T>> {
        if at == 0 { Some(&mut self.first) } else { self.others.get_mut(at - 1) }
    }

    /// Returns the key that the next insertion will return.
    pub(crate) fn next_key(&self) -> usize {
        self.open * PAGE + self.page(self.open).map_or(0, Page::next_key)
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        let open = self.open;
        if open > self.others.len() {
            self.others.push(Page::new());
        }
        let Some(page) = self.page_mut(open) else {
            unreachable!("the open page is there");
        };
        let key = open * PAGE + page.insert(value);
        if page.len == PAGE {
            let next = mem::replace(&mut page.next_open, NONE);
            self.open = if next == NONE { self.others.len() + 1 } else { next };
        }
        self.len += 1;
        key
    }

    pub(crate) fn get(&self, key: usize) -> Option<&T> {
        match self.page(key / PAGE)?.entries.get(key % PAGE) {
            Some(PageEntry::Full(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        match self.page_mut(key / PAGE)?.entries.get_mut(key % PAGE) {
            Some(PageEntry::Full(value)) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, key: usize) -> Option<T> {
        self.free(key, Page::remove)
    }

    /// Drops a value in its place. Its destructor may not panic.
    pub(crate) fn discard(&mut self, key: usize) {
        self.free(key, Page::discard);
    }

    #[inline]
    fn free<R>(&mut self, key: usize, take: fn(&mut Page<T>, usize) -> Option<R>) -> Option<R> {
        let (at, open) = (key / PAGE, self.open);
        let page = self.page_mut(at)?;
        let value = take(page, key % PAGE)?;
        if page.len == PAGE - 1 {
            page.next_open = open;
            self.open = at;
        }
        self.len -= 1;
        if self.len == 0 && !self.others.is_empty() {
            *self = Self::new();
        }
        Some(value)
    }

    /// Returns a key above those of all values.
    pub(crate) fn end(&self) -> usize {
        let last = self.others.last().unwrap_or(&self.first);
        self.others.len() * PAGE + last.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let pages = iter::once(&self.first).chain(&self.others);
        pages.flat_map(|page| &page.entries).filter_map(|entry| match entry {
            PageEntry::Full(value) => Some(value),
            PageEntry::Free(_) => None,
        })
    }

    /// Returns the values, in the order of their keys.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        let pages = iter::once(self.first).chain(self.others);
        pages.flat_map(|page| page.entries).filter_map(|entry| match entry {
            PageEntry::Full(value) => Some(value),
            PageEntry::Free(_) => None,
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let pages = iter::once(&mut self.first).chain(&mut self.others);
        pages.flat_map(|page| &mut page.entries).filter_map(|entry| match entry {
            PageEntry::Full(value) => Some(value),
            PageEntry::Free(_) => None,
        })
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
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
        assert_eq!(slab.into_values().collect::<Vec<_>>(), [0, 8, 2, 5, 7]);
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
        assert_eq!(slab.first.entries.capacity(), 0);

        slab.insert(0);
        let capacity = slab.first.entries.capacity();
        for _ in 0..10 {
            assert_eq!(slab.remove(0), Some(0));
            assert_eq!(slab.insert(0), 0);
        }
        assert_eq!(slab.first.entries.capacity(), capacity);
    }

    #[test]
    fn what_is_left_of_many_values_keeps_its_page_alone() {
        for left in [0, PAGE - 1, PAGE, 5 * PAGE, 9 * PAGE + 3] {
            let mut slab = Slab::new();
            (0..10 * PAGE).for_each(|value| _ = slab.insert(value));
            for n in (0..10 * PAGE).filter(|n| *n != left) {
                assert_eq!(slab.remove(n), Some(n));
            }
            assert_eq!((slab.len(), slab.get(left)), (1, Some(&left)));
            let kept: usize = iter::once(&slab.first)
                .chain(&slab.others)
                .map(|page| page.entries.capacity())
                .sum();
            assert!(kept <= PAGE, "{kept} entries");
            // All room is found again, each once.
            let mut keys: Vec<usize> = (1..10 * PAGE).map(|n| slab.insert(n)).collect();
            keys.push(left);
            keys.sort_unstable();
            assert!(keys.into_iter().eq(0..10 * PAGE));
            assert_eq!(slab.next_key(), 10 * PAGE);
            assert_eq!(slab.iter_mut().count(), 10 * PAGE);
            assert_eq!(slab.into_values().count(), 10 * PAGE);
        }
    }
}
