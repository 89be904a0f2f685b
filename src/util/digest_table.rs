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
///
/// Up to 64 digests that follow each other have buckets that lie side by side. So a million keys
/// that are numbered are added and removed without a look at distant memory for each.
pub(crate) struct DigestTable<K> {
    /// As many as a power of two, or none. The last bits of a hash tell its bucket.
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
    entries: [Hashed; BUCKET],
}

/// Tells the bucket of a digest, by its last bits.
///
/// The last six count on with the digest. The others look random, and spread blocks of 64 evenly if
/// these follow each other.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hash(u32);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Hashed {
    hash: Hash,
    number: u32,
}

// === impl Bucket ===

impl Bucket {
    #[inline]
    fn entries(&self) -> &[Hashed] {
        &self.entries[..usize::from(self.len)]
    }

    /// Returns `false` if there is no room.
    #[inline]
    fn push(&mut self, entry: Hashed) -> bool {
        let Some(free) = self.entries.get_mut(usize::from(self.len)) else { return false };
        *free = entry;
        self.len += 1;
        true
    }

    #[inline]
    fn remove(&mut self, entry: Hashed) -> bool {
        let Some(at) = self.entries().iter().position(|it| *it == entry) else { return false };
        self.len -= 1;
        self.entries.swap(at, usize::from(self.len));
        true
    }
}

// === impl Hash ===

impl Hash {
    #[inline]
    pub(crate) fn new(digest: u64) -> Self {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let (block, at) = (digest >> 6, digest % 64);
        let product = block.wrapping_mul(FACTOR);
        // Each block begins somewhere else: all digests may be multiples of 64.
        let start = (product ^ product >> 32).wrapping_mul(FACTOR) >> 58;
        let at = (at + start) % 64;
        // The first bits of the product are the best.
        Self((product.reverse_bits() << 6 | at) as u32)
    }

    /// Returns which of so many buckets it tells.
    #[inline]
    fn bucket(self, buckets: usize) -> usize {
        self.0 as usize & buckets.wrapping_sub(1)
    }
}

// === impl DigestTable ===

impl<K: Ord + Clone> DigestTable<K> {
    /// Returns the number of a key. `is_it` returns `true` for the number of a key that equals it.
    #[inline]
    pub(crate) fn find(&self, hash: Hash, key: &K, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let bucket = self.buckets.get(hash.bucket(self.buckets.len()))?;
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
    pub(crate) fn insert(&mut self, hash: Hash, key: &K, number: u32) {
        if self.len >= GROW * self.buckets.len() {
            self.grow();
        }
        let at = hash.bucket(self.buckets.len());
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        if bucket.push(Hashed { hash, number }) {
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
        hash: Hash,
        key: &K,
        number: u32,
        key_of: impl Fn(u32) -> Option<K>,
    ) {
        let at = hash.bucket(self.buckets.len());
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        if bucket.remove(Hashed { hash, number }) {
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

    /// Doubles the number of buckets.
    #[cold]
    fn grow(&mut self) {
        let before = self.buckets.len();
        self.buckets.resize((2 * before).max(1), Bucket::default());
        let count = self.buckets.len();
        let (lower, upper) = self.buckets.split_at_mut(before);
        for (lower, upper) in lower.iter_mut().zip(upper) {
            let whole = core::mem::take(lower);
            (lower.has_others, upper.has_others) = (whole.has_others, whole.has_others);
            for entry in whole.entries() {
                let is_upper = entry.hash.bucket(count) >= before;
                let half = if is_upper { &mut *upper } else { &mut *lower };
                let has_room = half.push(*entry);
                debug_assert!(has_room, "a half holds no more than the whole");
            }
        }
    }

    /// Halves the number of buckets.
    #[cold]
    fn shrink(&mut self, key_of: impl Fn(u32) -> Option<K>) {
        let count = self.buckets.len() / 2;
        let (lower, upper) = self.buckets.split_at_mut(count);
        for (lower, upper) in lower.iter_mut().zip(upper) {
            lower.has_others |= upper.has_others;
            for entry in upper.entries() {
                if !lower.push(*entry) {
                    lower.has_others = true;
                    self.len -= 1;
                    self.others.extend(key_of(entry.number).map(|key| (key, entry.number)));
                }
            }
        }
        self.buckets.truncate(count);
        self.buckets.shrink_to_fit();
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
        table.find(Hash::new(key.0), key, |number| known.get(&number) == Some(key))
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
                    table.insert(Hash::new(key.0), &key, step);
                    known.insert(step, key);
                } else if let Some((number, key)) = known.pop_first() {
                    table.remove(Hash::new(key.0), &key, number, |number| {
                        known.get(&number).copied()
                    });
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
                table.remove(Hash::new(key.0), &key, number, |number| known.get(&number).copied());
            }
            assert_eq!((table.buckets.len(), table.len, table.others.len()), (1, 0, 0));
        }
    }

    #[test]
    fn two_full_buckets_that_become_one_lose_no_key() {
        let (mut table, mut known) = (DigestTable::default(), BTreeMap::new());
        // A bucket of 64, the one that it shares its keys with, and others, which make the table as
        // large. When there are 16, another one has taken in both.
        let digest_in = |bucket| (0..).find(|it| Hash::new(*it).bucket(64) == bucket).unwrap();
        let pair = [digest_in(16), digest_in(48)];
        let kept = (0..2 * BUCKET as u32).map(|n| (pair[n as usize % 2], n));
        // Those come spread over the table, so that none of its buckets is full.
        let buckets = (0..3 * 64).map(|n| (n, n * 37 % 64)).filter(|(_, bucket)| bucket % 32 != 16);
        let others = buckets.map(|(n, bucket)| (digest_in(bucket), 100 + n as u32));
        for key in others.clone().chain(kept.clone()) {
            table.insert(Hash::new(key.0), &key, key.1);
            known.insert(key.1, key);
        }
        assert_eq!((table.buckets.len(), table.others.len()), (64, 0));
        let key_of = |number| known.get(&number).copied();
        for key in others {
            table.remove(Hash::new(key.0), &key, key.1, key_of);
        }
        assert_eq!((table.len, table.others.len()), (BUCKET, BUCKET));
        assert!(kept.clone().all(|key| find(&table, &known, &key) == Some(key.1)));
        for key in kept {
            assert_eq!(find(&table, &known, &key), Some(key.1));
            table.remove(Hash::new(key.0), &key, key.1, key_of);
            assert_eq!(find(&table, &known, &key), None);
        }
        assert_eq!((table.buckets.len(), table.len, table.others.len()), (1, 0, 0));
    }

    #[test]
    fn digests_that_follow_each_other_lie_side_by_side() {
        let buckets = 1 << 12;
        let at = |digest| Hash::new(digest).bucket(buckets);
        let next = |digest| if at(digest) % 64 == 63 { at(digest) - 63 } else { at(digest) + 1 };
        assert!((0..64 * 100).filter(|digest| digest % 64 < 63).all(|it| at(it + 1) == next(it)));
    }

    #[test]
    fn few_keys_find_their_bucket_full_whatever_their_digests_have_in_common() {
        for (step, most) in [(1, 0), (3, 1_000), (64, 2_000), (1 << 20, 2_000), (1 << 44, 2_000)] {
            let mut table = DigestTable::default();
            for number in 0..50_000 {
                let digest = u64::from(number).wrapping_mul(step);
                table.insert(Hash::new(digest), &(digest, number), number);
            }
            assert!(table.others.len() <= most, "{step}: {}", table.others.len());
        }
    }
}
