//! Limits by key: which entries of the queue wait for their key alone.
//!
//! # Invariants
//!
//! - The entries of a key wait with the key, not in the main queue. The first of them, in the order
//!   of their positions, is a *head* if the key has room for it; the others are parked. So a head
//!   lacks at most what all children need, and each step costs a few look-ups, whatever the number
//!   of keys.
//! - A key is looked up when a child of it is queued. From then on it is known by a number, which
//!   it keeps as long as a child of it has room or an entry of it waits, and a few keys a while
//!   longer. A limit that was set for one key is kept until it is set to that of all keys.
//! - `heads` contains every head. It may also contain entries that are heads no longer, but its
//!   first entry is never such a one.
//! - `fed` is the number of queued children that have a key and came of a feed. The group's limit
//!   bounds them together with the children that run: while it is reached, feeds are parked.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BinaryHeap, VecDeque};
#[cfg(not(loom))]
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::load::fits;
use super::queue::{Entries, Entry, Obstacle, Position, QueuedChild, Request, WaitQueue};
use crate::key::Key;
#[cfg(not(loom))]
use crate::snapshot::KeySnapshot;
use crate::util::digest_table::{DigestTable, Hash};
use crate::util::slab::Slab;
use crate::util::sparse_queue::shrink;

/// How many keys a snapshot looks at.
const INSPECTED_KEYS: usize = 4096;

/// Capacity for this many heads is kept.
const RETAINED_HEADS: usize = if cfg!(test) { 1 } else { 64 };

/// So many keys without children and entries are kept, since many come back soon.
const RETAINED_KEYS: usize = if cfg!(test) { 1 } else { 128 };

/// None is kept if so many keys were known at a time: they would lie scattered in much memory.
const MANY_KEYS: usize = 1024;

/// The number of a key. There are fewer keys than this type has values.
pub(crate) type KeyId = u32;

/// What is known of keys.
#[derive(Default)]
pub(crate) struct Keys {
    /// The limit of each key that has none of its own.
    limit: Option<usize>,
    own_limits: BTreeMap<Key, Option<usize>>,
    ids: DigestTable<Key>,
    states: Slab<KeyState>,
    /// The key that was looked up last, if it is still known.
    last: KeyId,
    /// Each unused key, and those of others that were unused when they came here.
    unused: VecDeque<KeyId>,
    heads: Heads,
    /// How many heads there are.
    live: usize,
    fed: usize,
    /// The feeds that wait until fewer of their children do.
    parked_feeds: BTreeMap<Position, Entry>,
}

/// What is known of a key that has children or waiters.
struct KeyState {
    key: Key,
    limit: Option<usize>,
    /// How many children and reservations have room.
    occupied: usize,
    /// The room that they take.
    weight: u128,
    first: Option<(Position, Entry)>,
    /// The first entry is a head.
    is_ready: bool,
    /// It is in [`Keys::unused`].
    is_listed: bool,
    /// A number above that of the start of the last unique child of the key, if that child did not
    /// start as soon as it had room.
    unique_below: u64,
    /// The other entries. Most keys have none, and there may be a million keys.
    rest: Option<Box<Entries>>,
}

/// The first entry of a key that has room for it: its position and its key, as one number, so that
/// two are compared at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head(u128);

/// A set of heads, of which the first is taken out.
#[derive(Default)]
struct Heads {
    /// Those that came in order, as many do.
    in_order: VecDeque<Head>,
    others: BinaryHeap<Reverse<Head>>,
}

// === impl Head, Heads, KeyState ===

impl Head {
    fn new(position: Position, key: KeyId) -> Self {
        let Position { priority, arrival } = position;
        // The highest priority is the lowest number.
        let rank = (i32::MAX ^ priority) as u32;
        Self(u128::from(rank) << 96 | u128::from(arrival) << 32 | u128::from(key))
    }

    fn key(self) -> KeyId {
        self.0 as KeyId
    }

    fn arrival(self) -> u64 {
        (self.0 >> 32) as u64
    }
}

impl Heads {
    #[inline]
    fn first(&self) -> Option<Head> {
        let front = self.in_order.front().copied();
        match (front, self.others.peek()) {
            (Some(front), Some(Reverse(other))) => Some(front.min(*other)),
            (front, other) => front.or(other.map(|Reverse(other)| *other)),
        }
    }

    #[inline]
    fn push(&mut self, head: Head) {
        if self.in_order.back().is_none_or(|last| *last < head) {
            self.in_order.push_back(head);
        } else {
            self.others.push(Reverse(head));
        }
    }

    /// Takes out the first.
    #[inline]
    fn pop(&mut self) -> Option<Head> {
        let first = self.first()?;
        if self.in_order.front() == Some(&first) {
            self.in_order.pop_front()
        } else {
            self.others.pop().map(|Reverse(first)| first)
        }
    }

    fn len(&self) -> usize {
        self.in_order.len() + self.others.len()
    }

    fn iter(&self) -> impl Iterator<Item = Head> {
        self.in_order.iter().copied().chain(self.others.iter().map(|Reverse(head)| *head))
    }

    /// Retains only those for which `keep` returns `true`, each once.
    fn retain(&mut self, keep: impl Fn(Head) -> bool) {
        self.in_order.retain(|head| keep(*head));
        let mut others = core::mem::take(&mut self.others).into_vec();
        others.retain(|Reverse(head)| keep(*head) && self.in_order.binary_search(head).is_err());
        others.sort_unstable();
        others.dedup();
        self.others = others.into();
    }

    /// Gives memory back that is not needed.
    #[inline]
    fn shrink(&mut self) {
        shrink(&mut self.in_order);
        if self.others.capacity() > RETAINED_HEADS && self.others.len() < self.others.capacity() / 4
        {
            self.others.shrink_to(2 * self.others.len());
        }
    }
}

impl KeyState {
    fn new(key: Key, limit: Option<usize>) -> Self {
        let (first, rest) = (None, None);
        let (is_ready, is_listed, unique_below) = (false, false, 0);
        Self { key, limit, occupied: 0, weight: 0, first, is_ready, is_listed, unique_below, rest }
    }

    fn is_unused(&self) -> bool {
        self.occupied == 0 && self.first.is_none()
    }

    fn fits(&self, weight: usize, unique: bool) -> bool {
        !(unique && self.occupied > 0) && fits(self.limit, self.weight, weight)
    }

    /// Returns `true` if that is its first entry, and a head. (No two have the same arrival.)
    fn is_head(&self, head: Head) -> bool {
        let is_first = |(first, _): &(Position, Entry)| first.arrival == head.arrival();
        self.is_ready && self.first.as_ref().is_some_and(is_first)
    }

    /// Returns the number of entries that are parked.
    #[cfg(any(test, not(loom)))]
    fn parked_len(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.len());
        usize::from(self.first.is_some() && !self.is_ready) + rest
    }

    /// Returns the entries that are parked, those of each part in the order of their positions, and
    /// at most so many of each.
    fn parked(&self, most: usize) -> impl Iterator<Item = (Position, &Entry)> + Clone {
        let first = self.first.as_ref().filter(|_| !self.is_ready);
        let first = first.map(|(position, entry)| (*position, entry));
        let rest = self.rest.iter().flat_map(move |rest| rest.iter(most));
        first.into_iter().chain(rest)
    }

    /// Takes out the first entry. The next one is no head yet.
    #[inline]
    fn pop(&mut self) -> Option<(Position, Entry)> {
        self.is_ready = false;
        if self.rest.is_none() {
            return self.first.take();
        }
        let next = self.rest.as_mut().and_then(|rest| rest.pop());
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
        core::mem::replace(&mut self.first, next)
    }
}

// === impl Keys ===

/// Returns `true` if a key has that number.
#[inline]
fn is_of(states: &Slab<KeyState>, id: KeyId, key: &Key) -> bool {
    states.get(id as usize).is_some_and(|state| state.key == *key)
}

impl Keys {
    fn limit(&self, key: &Key) -> Option<usize> {
        self.own_limits.get(key).copied().unwrap_or(self.limit)
    }

    fn get(&self, id: KeyId) -> Option<&KeyState> {
        self.states.get(id as usize)
    }

    fn get_mut(&mut self, id: KeyId) -> Option<&mut KeyState> {
        self.states.get_mut(id as usize)
    }

    /// Returns `true` if all heads have a lower priority.
    #[inline]
    pub(super) fn heads_yield_to(&self, priority: i32) -> bool {
        let last = Head::new(Position::last(priority), KeyId::MAX);
        self.heads.first().is_none_or(|first| last < first)
    }

    fn is_last(&self, key: &Key) -> bool {
        is_of(&self.states, self.last, key)
    }

    fn find(&self, key: &Key) -> Option<KeyId> {
        if self.is_last(key) {
            return Some(self.last);
        }
        self.find_in_table(Hash::new(key.digest()), key)
    }

    #[inline]
    fn find_in_table(&self, hash: Hash, key: &Key) -> Option<KeyId> {
        self.ids.find(hash, key, |id| is_of(&self.states, id, key))
    }

    fn state(&self, key: &Key) -> Option<&KeyState> {
        self.get(self.find(key)?)
    }

    /// Returns what is known of a key that is about to be used.
    fn look_up(&mut self, key: &Key) -> Option<&KeyState> {
        self.last = self.find(key)?;
        self.get(self.last)
    }

    /// Returns a key, known from now on.
    fn find_or_add(&mut self, key: &Key) -> KeyId {
        if !self.is_last(key) {
            let hash = Hash::new(key.digest());
            self.last = self.find_in_table(hash, key).unwrap_or_else(|| {
                let limit = self.limit(key);
                let id = self.states.insert(KeyState::new(key.clone(), limit)) as KeyId;
                self.ids.insert(hash, key, id);
                id
            });
        }
        self.last
    }

    /// Returns the position of the first head.
    #[cfg(test)]
    fn first(&self) -> Option<Position> {
        let head = self.heads.first()?;
        self.get(head.key())?.first.as_ref().map(|(position, _)| *position)
    }

    /// Makes the first entry of a key a head if there is room for it, and parks it if not.
    fn refresh(&mut self, id: KeyId, parked: &mut usize) {
        let Some(state) = self.states.get_mut(id as usize) else { return };
        let Some((position, entry)) = &state.first else { return };
        let is_ready = state.fits(entry.weight(), entry.is_unique());
        if is_ready == state.is_ready {
            return;
        }
        state.is_ready = is_ready;
        if is_ready {
            self.heads.push(Head::new(*position, id));
            self.live += 1;
            *parked -= 1;
            self.trim();
        } else {
            *parked += 1;
            self.lose_head();
        }
    }

    /// Records that a head is none any more.
    #[inline]
    fn lose_head(&mut self) {
        self.live -= 1;
        while let Some(head) = self.heads.first().filter(|head| !self.is_head(*head)) {
            let first = self.heads.pop();
            debug_assert!(first == Some(head));
        }
        self.trim();
    }

    fn is_head(&self, head: Head) -> bool {
        self.get(head.key()).is_some_and(|state| state.is_head(head))
    }

    /// Forgets what are no heads, if these are most, and gives memory back.
    #[inline]
    fn trim(&mut self) {
        if self.heads.len() > 2 * self.live + RETAINED_HEADS {
            let mut heads = core::mem::take(&mut self.heads);
            // One that was lost and came back is there twice.
            heads.retain(|head| self.is_head(head));
            self.heads = heads;
        }
        self.heads.shrink();
    }

    /// Records that a key may be unused, and forgets those that were before, if there are many.
    #[inline]
    fn release(&mut self, id: KeyId) {
        let Some(state) = self.get_mut(id).filter(|state| state.is_unused()) else { return };
        if !core::mem::replace(&mut state.is_listed, true) {
            self.unused.push_back(id);
            let retained = if self.states.end() > MANY_KEYS { 0 } else { RETAINED_KEYS };
            while self.unused.len() > retained {
                self.forget_unused();
            }
        }
    }

    /// Forgets the key that is listed longest, unless it is in use again.
    fn forget_unused(&mut self) {
        let Some(id) = self.unused.pop_front() else { return };
        let Some(state) = self.states.get_mut(id as usize) else { return };
        state.is_listed = false;
        if state.is_unused() {
            let key = state.key.clone();
            let key_of = |id: KeyId| self.states.get(id as usize).map(|state| state.key.clone());
            self.ids.remove(Hash::new(key.digest()), &key, id, key_of);
            self.states.discard(id as usize);
        }
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> impl Iterator<Item = (Position, &Entry)> {
        let heads = self.states.iter().filter_map(|state| state.first.as_ref());
        let heads = heads.map(|(position, entry)| (*position, entry));
        let rest = self.states.iter().flat_map(|state| {
            let is_first = |at| state.first.as_ref().is_some_and(|(first, _)| *first == at);
            state.parked(usize::MAX).filter(move |(at, _)| !is_first(*at))
        });
        heads
            .chain(rest)
            .chain(self.parked_feeds.iter().map(|(position, entry)| (*position, entry)))
    }

    /// Checks the heads, and returns how many entries are parked.
    #[cfg(test)]
    pub(super) fn check(&self) -> usize {
        let ready = || self.states.iter().filter(|state| state.is_ready);
        assert_eq!(ready().count(), self.live);
        let first = ready().filter_map(|state| Some(state.first.as_ref()?.0)).min();
        assert_eq!(self.first(), first);
        assert_eq!(self.ids.iter().count(), self.states.len());
        assert!(self.states.iter().all(|state| self.find(&state.key).is_some()));
        assert!(self.heads.len() <= 2 * self.live + RETAINED_HEADS);
        for state in self.states.iter() {
            let first = state.first.as_ref();
            let is_ready = first.is_some_and(|(_, it)| state.fits(it.weight(), it.is_unique()));
            assert_eq!((state.is_ready, state.limit), (is_ready, self.limit(&state.key)));
            let rest = state.rest.as_ref().and_then(|rest| Some(rest.first()?.0));
            assert!(rest.is_none_or(|rest| first.unwrap().0 < rest));
        }
        assert!(self.states.iter().all(|state| state.is_listed || !state.is_unused()));
        let listed = self.states.iter().filter(|state| state.is_listed).count();
        assert!(listed == self.unused.len() && listed <= RETAINED_KEYS);
        self.parked_feeds.len() + self.states.iter().map(KeyState::parked_len).sum::<usize>()
    }
}

// === impl WaitQueue ===

impl WaitQueue {
    pub(crate) fn set_key_limits(&mut self, limit: usize) {
        let keys = self.keys.get_or_insert_default();
        keys.limit = Some(limit);
        for id in 0..keys.states.end() {
            self.update_limit(id as KeyId);
        }
    }

    pub(crate) fn set_key_limit(&mut self, key: &Key, limit: Option<usize>) {
        let keys = self.keys.get_or_insert_default();
        if limit == keys.limit {
            keys.own_limits.remove(key);
        } else {
            keys.own_limits.insert(key.clone(), limit);
        }
        if let Some(id) = keys.find(key) {
            self.update_limit(id);
        }
    }

    fn update_limit(&mut self, id: KeyId) {
        let Some(keys) = &mut self.keys else { return };
        let Some(limit) = keys.get(id).map(|state| keys.limit(&state.key)) else { return };
        if let Some(state) = keys.get_mut(id) {
            state.limit = limit;
        }
        keys.refresh(id, &mut self.parked);
    }

    /// Returns `true` if a child of that key runs or waits.
    pub(crate) fn is_used(&self, key: &Key) -> bool {
        let state = self.keys.as_ref().and_then(|keys| keys.state(key));
        state.is_some_and(|state| !state.is_unused())
    }

    /// Returns a key, which is known if a child of it runs or waits.
    pub(crate) fn find_key(&self, key: &Key) -> Option<KeyId> {
        self.keys.as_ref()?.find(key)
    }

    /// Returns a key for which a child is about to take room, or to wait.
    pub(crate) fn use_key(&mut self, key: &Key) -> KeyId {
        self.keys.get_or_insert_default().find_or_add(key)
    }

    /// Returns `true` if the key of a request has room for it, and no entry of that key comes
    /// before that position.
    #[inline]
    pub(crate) fn has_key_room(&mut self, request: Request<'_>, position: Position) -> bool {
        match (request.key, &mut self.keys) {
            (Some(key), Some(keys)) => match keys.look_up(key) {
                Some(state) => {
                    state.first.as_ref().is_none_or(|(first, _)| position < *first)
                        && state.fits(request.weight, request.unique)
                }
                None => fits(keys.limit(key), 0, request.weight),
            },
            _ => true,
        }
    }

    /// Notes the number of the start of a unique child of a key, which is known.
    pub(crate) fn note_unique_start(&mut self, key: &Key, start: u64) {
        let Some(keys) = &mut self.keys else { return };
        if let Some(state) = keys.find(key).and_then(|id| keys.get_mut(id)) {
            state.unique_below = start + 1;
        }
    }

    /// Returns the number that was noted last.
    pub(crate) fn unique_start(&self, key: &Key) -> Option<u64> {
        self.keys.as_ref()?.state(key)?.unique_below.checked_sub(1)
    }

    /// Returns `true` if a reservation of that weight has lost its room in its key: the limit was
    /// lowered since, and the key has too little room for all its children.
    pub(crate) fn has_lost_key_room(&self, key: &Key, weight: usize) -> bool {
        let state = self.keys.as_ref().and_then(|keys| keys.state(key));
        state.is_some_and(|state| {
            let limit = state.limit.unwrap_or(usize::MAX);
            let (weight, taken) = (weight as u128, state.weight);
            // One that is heavier than the limit runs alone, but for those without a weight.
            let is_alone = taken == weight;
            limit == 0 || (weight > 0 && !is_alone && taken > limit as u128)
        })
    }

    /// Returns the entries of keys, and feeds that are parked.
    pub(super) fn inspect_keyed(
        &self,
        most: usize,
    ) -> impl Iterator<Item = (Position, &Entry, Obstacle)> {
        self.keys.iter().flat_map(move |keys| {
            // The first of a heap are the lowest, and there may be a million.
            let heads = keys.heads.iter().take(INSPECTED_KEYS).filter_map(|head| {
                let state = keys.get(head.key()).filter(|state| state.is_head(head))?;
                let (position, entry) = state.first.as_ref()?;
                Some((*position, entry, Obstacle::Nothing))
            });
            let parked = keys.ids.iter().take(INSPECTED_KEYS).filter_map(|id| keys.get(id));
            let parked = parked.flat_map(move |state| {
                // Behind a head, they wait for their turn.
                let obstacle = if state.is_ready { Obstacle::Nothing } else { Obstacle::Key };
                state.parked(most).map(move |(position, entry)| (position, entry, obstacle))
            });
            let parked = parked.take(most);
            let feeds = keys.parked_feeds.iter().take(most);
            let feeds = feeds.map(|(position, entry)| (*position, entry, Obstacle::Feeds));
            heads.chain(parked).chain(feeds)
        })
    }

    /// Returns the keys that have no room for those that wait for them, as many as `most`.
    #[cfg(not(loom))]
    pub(super) fn inspect_keys(&self, most: usize) -> Vec<KeySnapshot> {
        let keys = self.keys.iter().filter(|_| self.parked > 0);
        let states = keys
            .flat_map(|keys| keys.ids.iter().take(INSPECTED_KEYS).filter_map(|id| keys.get(id)));
        let waiting = states.filter(|state| !state.is_ready).filter_map(|state| {
            let waiting = state.parked_len();
            let room = usize::try_from(state.weight).unwrap_or(usize::MAX);
            let KeyState { key, limit, .. } = state;
            let of = KeySnapshot { key: key.clone(), limit: *limit, room, waiting };
            (waiting > 0).then_some(of)
        });
        waiting.take(most).collect()
    }

    /// Returns `true` if an entry of a key is a head.
    #[inline]
    pub(super) fn has_keyed_head(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.live > 0)
    }

    /// Returns the first entry of the main queue and the heads.
    #[inline(never)]
    pub(super) fn first_of_all(&self) -> Option<(Position, &Entry)> {
        match self.key_of_first() {
            Some(id) => self.first_of(id),
            None => self.main.first(),
        }
    }

    /// Returns the key of the first entry, if that has one.
    #[inline]
    pub(super) fn key_of_first(&self) -> Option<KeyId> {
        let keyed = self.keys.as_ref()?.heads.first()?;
        let main = self.main.first().map(|(position, _)| Head::new(position, 0));
        main.is_none_or(|main| keyed < main).then(|| keyed.key())
    }

    /// Returns the first entry of a key.
    #[inline]
    pub(super) fn first_of(&self, id: KeyId) -> Option<(Position, &Entry)> {
        let (position, entry) = self.keys.as_ref()?.get(id)?.first.as_ref()?;
        Some((*position, entry))
    }

    /// Takes out the first entry, which is the head of a key.
    #[inline]
    pub(super) fn pop_keyed(&mut self, id: KeyId) -> Option<(Position, Entry)> {
        let keys = self.keys.as_mut()?;
        keys.heads.pop()?;
        let first = keys.get_mut(id)?.pop()?;
        keys.lose_head();
        Some(first)
    }

    /// Takes out the first entry of the main queue and the heads, with its key if it is a head.
    #[inline(never)]
    pub(super) fn pop_of_all(&mut self) -> Option<(Position, Entry, Option<KeyId>)> {
        if let Some(key) = self.key_of_first() {
            let (position, entry) = self.pop_keyed(key)?;
            return Some((position, entry, Some(key)));
        }
        let (position, entry) = self.main.pop()?;
        Some((position, entry, None))
    }

    /// Takes the room of a key for a child, which is in the queue no longer, if it was.
    pub(crate) fn take_key(&mut self, id: KeyId, weight: usize) {
        let Some(keys) = &mut self.keys else { return };
        if let Some(state) = keys.get_mut(id) {
            state.occupied += 1;
            state.weight += weight as u128;
            if state.first.is_some() {
                keys.refresh(id, &mut self.parked);
            }
        }
    }

    /// Frees the room of a child. After a stop the key is known no longer.
    pub(crate) fn free_key(&mut self, id: KeyId, weight: usize) {
        let Some(keys) = &mut self.keys else { return };
        if let Some(state) = keys.get_mut(id) {
            state.occupied -= 1;
            state.weight -= weight as u128;
            if state.first.is_some() {
                keys.refresh(id, &mut self.parked);
            } else if state.occupied == 0 {
                keys.release(id);
            }
        }
    }

    /// Adds an entry that has a key.
    pub(super) fn insert_keyed(&mut self, position: Position, entry: Entry, id: KeyId) {
        let Some(keys) = &mut self.keys else { return };
        let Some(state) = keys.get_mut(id) else { return };
        self.parked += 1;
        match &mut state.first {
            None => state.first = Some((position, entry)),
            Some((first, _)) if *first < position => {
                state.rest.get_or_insert_default().add(position, entry);
                return;
            }
            Some(first) => {
                let (next, entry) = core::mem::replace(first, (position, entry));
                state.rest.get_or_insert_default().restore(next, entry);
                if core::mem::take(&mut state.is_ready) {
                    self.parked += 1;
                    keys.lose_head();
                }
            }
        }
        keys.refresh(id, &mut self.parked);
    }

    /// Takes out an entry that has a key.
    pub(super) fn take_keyed(&mut self, position: Position, id: KeyId) -> Option<Entry> {
        let keys = self.keys.as_mut()?;
        let state = keys.get_mut(id)?;
        if state.first.as_ref().is_some_and(|(first, _)| *first == position) {
            let was_ready = state.is_ready;
            let (_, entry) = state.pop()?;
            if was_ready {
                keys.lose_head();
            } else {
                self.parked -= 1;
            }
            keys.refresh(id, &mut self.parked);
            keys.release(id);
            return Some(entry);
        }
        let rest = state.rest.as_mut()?;
        let entry = rest.take(position)?;
        if rest.is_empty() {
            state.rest = None;
        }
        self.parked -= 1;
        Some(entry)
    }

    /// Returns how many children of feeds are queued behind their keys.
    #[inline]
    pub(crate) fn fed(&self) -> usize {
        self.keys.as_ref().map_or(0, |keys| keys.fed)
    }

    /// Records that a child of a feed is queued.
    pub(crate) fn add_fed(&mut self) {
        self.keys.get_or_insert_default().fed += 1;
    }

    /// Records that a child is queued no longer.
    #[inline]
    pub(crate) fn leave(&mut self, child: &QueuedChild) {
        if child.is_fed() {
            self.keys.iter_mut().for_each(|keys| keys.fed -= 1);
        }
    }

    /// Parks the head, which is a feed.
    pub(crate) fn park_feed(&mut self) {
        let head = self.first().map(|(position, _)| position);
        if let Some((position, feed)) = head.and_then(|head| Some((head, self.main.take(head)?))) {
            self.keys.get_or_insert_default().parked_feeds.insert(position, feed);
            self.parked += 1;
        }
    }

    pub(crate) fn has_parked_feed(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| !keys.parked_feeds.is_empty())
    }

    /// Lets the first feed that is parked return to its position.
    pub(crate) fn unpark_feed(&mut self) {
        let parked = self.keys.as_mut().and_then(|keys| keys.parked_feeds.pop_first());
        self.parked -= usize::from(parked.is_some());
        parked.into_iter().for_each(|(position, feed)| self.main.restore(position, feed));
    }

    /// Takes out a feed that is parked.
    pub(super) fn take_parked_feed(&mut self, position: Position) -> Option<Entry> {
        let parked = self.keys.as_mut()?.parked_feeds.remove(&position);
        self.parked -= usize::from(parked.is_some());
        parked
    }

    /// Moves the entries of all keys into the main queue, to be dropped, and forgets the keys: the
    /// group has stopped.
    pub(crate) fn drop_keys(&mut self) {
        self.parked = 0;
        let Some(keys) = self.keys.take() else { return };
        for mut state in keys.states {
            while let Some((position, entry)) = state.pop() {
                self.main.restore(position, entry);
            }
        }
        keys.parked_feeds
            .into_iter()
            .for_each(|(position, feed)| self.main.restore(position, feed));
    }
}
