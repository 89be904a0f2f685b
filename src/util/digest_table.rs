//! Numbers of keys, found by digests of the keys.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// How many numbers a bucket holds: with its length, it fills a line of the cache.
const BUCKET: usize = 7;

/// The table grows before its buckets hold more than this on average, so that few are full.
const GROW: usize = 4;

/// So many buckets are kept when they are empty.
const RETAINED_BUCKETS: usize = if cfg!(test) { 1 } else { 8 };

/// A hash table whose buckets have a fixed size.
///
/// Keys whose bucket is full are in a tree instead. So each step looks at one bucket and perhaps at
/// the tree, and is logarithmic even if someone chooses keys whose digests collide. A step in which
/// the table grows or shrinks looks at all of it; their cost is constant for each insertion.
pub(crate) struct DigestTable<K> {
    /// As many as a power of two, sorted by the first bits of the hashes, or none.
    buckets: Vec<Bucket>,
    /// How many numbers the buckets hold.
    len: usize,
    others: BTreeMap<K, u32>,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    len: u8,
    /// It was full when a key came that belongs into it, which is in the tree.
    has_others: bool,
    entries: [Entry; BUCKET],
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Entry {
    hash: u32,
    number: u32,
}

// === impl Bucket ===

impl Bucket {
    #[inline]
    fn entries(&self) -> &[Entry] {
        &self.entries[..usize::from(self.len)]
    }

    /// Returns `false` if there is no room.
    #[inline]
    fn push(&mut self, entry: Entry) -> bool {
        let Some(free) = self.entries.get_mut(usize::from(self.len)) else { return false };
        *free = entry;
        self.len += 1;
        true
    }

    #[inline]
    fn remove(&mut self, entry: Entry) -> bool {
        let Some(at) = self.entries().iter().position(|it| *it == entry) else { return false };
        self.len -= 1;
        self.entries.swap(at, usize::from(self.len));
        true
    }
}

// === impl DigestTable ===

/// Returns a number whose first bits look random.
#[inline]
fn hash(digest: u64) -> u32 {
    (digest.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

/// Returns which of so many buckets a hash belongs into: the product, without its fraction.
#[inline]
fn index(hash: u32, buckets: usize) -> usize {
    ((u64::from(hash) * buckets as u64) >> 32) as usize
}

impl<K: Ord + Clone> DigestTable<K> {
    /// Returns the number of a key. `is_it` returns `true` for the number of a key that equals it.
    #[inline]
    pub(crate) fn find(&self, digest: u64, key: &K, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = hash(digest);
        let bucket = self.buckets.get(self.index(hash))?;
        let mut entries = bucket.entries().iter();
        let found = entries.find(|entry| entry.hash == hash && is_it(entry.number));
        match found {
            Some(entry) => Some(entry.number),
            None if bucket.has_others => self.others.get(key).copied(),
            None => None,
        }
    }

    /// Adds a key that is not there.
    #[inline]
    pub(crate) fn insert(&mut self, digest: u64, key: &K, number: u32) {
        if self.len >= GROW * self.buckets.len() {
            self.grow();
        }
        let hash = hash(digest);
        let at = self.index(hash);
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        if bucket.push(Entry { hash, number }) {
            self.len += 1;
        } else {
            bucket.has_others = true;
            self.others.insert(key.clone(), number);
        }
    }

    /// Removes a key, of that number. `key_of` returns the keys of the others.
    #[inline]
    pub(crate) fn remove(
        &mut self,
        digest: u64,
        key: &K,
        number: u32,
        key_of: impl Fn(u32) -> Option<K>,
    ) {
        let hash = hash(digest);
        let at = self.index(hash);
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        if bucket.remove(Entry { hash, number }) {
            self.len -= 1;
            if self.len < self.buckets.len() / 2 && self.buckets.len() > RETAINED_BUCKETS {
                self.shrink(key_of);
            }
        } else {
            self.others.remove(key);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        let entries = self.buckets.iter().flat_map(|bucket| bucket.entries());
        entries.map(|entry| entry.number).chain(self.others.values().copied())
    }

    #[inline]
    fn index(&self, hash: u32) -> usize {
        index(hash, self.buckets.len())
    }

    /// Doubles the number of buckets.
    #[cold]
    fn grow(&mut self) {
        let count = (2 * self.buckets.len()).max(1);
        let mut buckets = Vec::with_capacity(count);
        for bucket in &self.buckets {
            let empty = Bucket { has_others: bucket.has_others, ..Bucket::default() };
            let mut halves = [empty, empty];
            for entry in bucket.entries() {
                let has_room = halves[index(entry.hash, count) % 2].push(*entry);
                debug_assert!(has_room, "a half holds no more than the whole");
            }
            buckets.extend(halves);
        }
        buckets.resize(count, Bucket::default());
        self.buckets = buckets;
    }

    /// Halves the number of buckets.
    #[cold]
    fn shrink(&mut self, key_of: impl Fn(u32) -> Option<K>) {
        let mut buckets = Vec::with_capacity(self.buckets.len() / 2);
        for pair in self.buckets.chunks(2) {
            let mut both = Bucket::default();
            for half in pair {
                both.has_others |= half.has_others;
                for entry in half.entries() {
                    if !both.push(*entry) {
                        both.has_others = true;
                        self.len -= 1;
                        self.others.extend(key_of(entry.number).map(|key| (key, entry.number)));
                    }
                }
            }
            buckets.push(both);
        }
        self.buckets = buckets;
    }
}

impl<K> Default for DigestTable<K> {
    fn default() -> Self {
        Self { buckets: Vec::new(), len: 0, others: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of a chosen digest.
    type Named = (u64, u32);

    fn find(table: &DigestTable<Named>, known: &BTreeMap<u32, Named>, key: &Named) -> Option<u32> {
        table.find(key.0, key, |number| known.get(&number) == Some(key))
    }

    #[test]
    fn what_is_there_is_found_whatever_the_digests_are() {
        // Digests that differ, that are few, and that are all the same.
        for digests in [u64::MAX, 20, 1] {
            let (mut table, mut known) = (DigestTable::default(), BTreeMap::new());
            let mut random = 1_u64;
            for step in 0..6_000_u32 {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                // It grows at first, and shrinks at the end.
                let adds = if step < 3_000 { 3 } else { 1 };
                if (random >> 33) % 4 < adds {
                    let key = (random % digests, step);
                    table.insert(key.0, &key, step);
                    known.insert(step, key);
                } else if let Some((number, key)) = known.pop_first() {
                    table.remove(key.0, &key, number, |number| known.get(&number).copied());
                    assert_eq!(find(&table, &known, &key), None);
                }
                if step % 64 == 0 {
                    for (number, key) in &known {
                        assert_eq!(find(&table, &known, key), Some(*number), "step {step}");
                    }
                    assert_eq!(table.iter().count(), known.len());
                }
            }
            assert!(table.buckets.len() <= 2 * known.len().max(1));
            while let Some((number, key)) = known.pop_first() {
                table.remove(key.0, &key, number, |number| known.get(&number).copied());
            }
            assert_eq!((table.buckets.len(), table.len, table.others.len()), (1, 0, 0));
        }
    }

    #[test]
    fn two_full_buckets_that_become_one_lose_no_key() {
        let (mut table, mut known) = (DigestTable::default(), BTreeMap::new());
        // A bucket of 64, the one beside it, and others, which make the table as large.
        let digest_in = |bucket| (0..).find(|it| index(hash(*it), 64) == bucket).unwrap();
        let pair = [digest_in(0), digest_in(1)];
        let kept = (0..2 * BUCKET as u32).map(|n| (pair[n as usize % 2], n));
        // Those come spread over the table, so that none of its buckets is full.
        let buckets = (0..3 * 64).map(|n| (n, n * 37 % 64)).filter(|(_, bucket)| *bucket > 1);
        let others = buckets.map(|(n, bucket)| (digest_in(bucket), 100 + n as u32));
        for key in others.clone().chain(kept.clone()) {
            table.insert(key.0, &key, key.1);
            known.insert(key.1, key);
        }
        assert_eq!((table.buckets.len(), table.others.len()), (64, 0));
        let key_of = |number| known.get(&number).copied();
        for key in others {
            table.remove(key.0, &key, key.1, key_of);
        }
        assert_eq!((table.len, table.others.len()), (BUCKET, BUCKET));
        assert!(kept.clone().all(|key| find(&table, &known, &key) == Some(key.1)));
        for key in kept {
            table.remove(key.0, &key, key.1, key_of);
            assert_eq!(find(&table, &known, &key), None);
        }
        assert_eq!((table.buckets.len(), table.len, table.others.len()), (1, 0, 0));
    }
}
