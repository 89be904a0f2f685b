//! Limits by key: which entries of the queue wait for their key alone.
//!
//! # Invariants
//!
//! - The first entry of a key, in the order of their positions, is a *head* if the key has room for
//!   it: it waits in the main queue, as an entry without a key does, since it lacks at most what
//!   all children need. The others are parked: they wait with the key. So each step costs a few
//!   look-ups, whatever the number of keys.
//! - A key is looked up when a child of it is queued. From then on it is known by a number, which
//!   it keeps as long as a child of it has room or an entry of it waits, and a few keys a while
//!   longer. A limit that was set for one key is kept until it is set to that of all keys.
//! - `fed` is the number of queued children that have a key and came of a feed. The group's limit
//!   bounds them together with the children that run: while it is reached, feeds are parked.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
#[cfg(not(loom))]
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::{Entries, Entry, Obstacle, Position, QueuedChild, Request, WaitQueue};
use crate::admission::load::fits;
use crate::key::Key;
#[cfg(not(loom))]
use crate::snapshot::KeySnapshot;
use crate::util::digest_table::{DigestTable, Hash};
use crate::util::slab::Slab;

/// How many keys a snapshot looks at.
const INSPECTED_KEYS: usize = 4096;

/// So many keys without children and entries are kept, since many come back soon.
const RETAINED_KEYS: usize = if cfg!(test) { 1 } else { 128 };

/// None is kept if so many keys were known at a time: they would lie scattered in much memory.
const MANY_KEYS: usize = 1024;

/// The number of a key. There are fewer keys than this type has values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyId(NonZeroU32);

/// What is known of keys.
#[derive(Default)]
pub(crate) struct Keys {
    /// The limit of each key that has none of its own.
    limit: Option<usize>,
    own_limits: BTreeMap<Key, Option<usize>>,
    ids: DigestTable<Key>,
    states: Slab<KeyState>,
    /// The key that was looked up last, if it is still known.
    last: Option<KeyId>,
    /// Each unused key, and those of others that were unused when they came here.
    unused: VecDeque<KeyId>,
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
    head: Option<Head>,
    /// It is in [`Keys::unused`].
    is_listed: bool,
    /// A number above that of the start of the last unique child of the key, if that child did not
    /// start as soon as it had room.
    unique_below: u64,
    /// The entries that are parked. Most keys have none, and there may be a million keys.
    parked: Option<Box<Entries>>,
}

/// The first entry of a key, which has room for it and waits in the main queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    position: Position,
    weight: usize,
    unique: bool,
}

// === impl KeyState ===

impl KeyState {
    fn new(key: Key, limit: Option<usize>) -> Self {
        let (head, parked, is_listed) = (None, None, false);
        Self { key, limit, occupied: 0, weight: 0, head, is_listed, unique_below: 0, parked }
    }

    fn has_entries(&self) -> bool {
        self.head.is_some() || self.parked.is_some()
    }

    fn is_unused(&self) -> bool {
        self.occupied == 0 && !self.has_entries()
    }

    fn fits(&self, weight: usize, unique: bool) -> bool {
        !(unique && self.occupied > 0) && fits(self.limit, self.weight, weight)
    }

    /// Returns the position of the first entry.
    fn first(&self) -> Option<Position> {
        match self.head {
            Some(head) => Some(head.position),
            None => Some(self.parked.as_ref()?.first()?.0),
        }
    }

    /// Returns the number of entries that are parked.
    #[cfg(any(test, not(loom)))]
    fn parked_len(&self) -> usize {
        self.parked.as_ref().map_or(0, |parked| parked.len())
    }

    fn park(&mut self, position: Position, entry: Entry) {
        self.parked.get_or_insert_default().add(position, entry);
    }

    /// Takes out an entry that is parked.
    fn take_parked(&mut self, take: impl FnOnce(&mut Entries) -> Option<Entry>) -> Option<Entry> {
        let parked = self.parked.as_mut()?;
        let entry = take(parked);
        if parked.is_empty() {
            self.parked = None;
        }
        entry
    }
}

// === impl KeyId, Keys ===

impl KeyId {
    /// Returns the number of the key whose state has that place.
    #[inline]
    fn at(place: usize) -> Self {
        Self(NonZeroU32::MIN.saturating_add(place as u32))
    }

    #[inline]
    fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl Keys {
    fn limit(&self, key: &Key) -> Option<usize> {
        self.own_limits.get(key).copied().unwrap_or(self.limit)
    }

    fn get(&self, id: KeyId) -> Option<&KeyState> {
        self.states.get(id.place())
    }

    fn get_mut(&mut self, id: KeyId) -> Option<&mut KeyState> {
        self.states.get_mut(id.place())
    }

    /// Returns the key that was looked up last if it is this one.
    #[inline]
    fn last(&self, key: &Key) -> Option<KeyId> {
        self.last.filter(|last| self.get(*last).is_some_and(|state| state.key == *key))
    }

    fn find(&self, key: &Key) -> Option<KeyId> {
        self.last(key).or_else(|| self.find_in_table(Hash::new(key.digest()), key))
    }

    #[inline]
    fn find_in_table(&self, hash: Hash, key: &Key) -> Option<KeyId> {
        let is_it = |at| self.states.get(at as usize).is_some_and(|state| state.key == *key);
        self.ids.find(hash, key, is_it).map(|at| KeyId::at(at as usize))
    }

    fn state(&self, key: &Key) -> Option<&KeyState> {
        self.get(self.find(key)?)
    }

    /// Returns what is known of a key that is about to be used.
    fn look_up(&mut self, key: &Key) -> Option<&KeyState> {
        let id = self.find(key)?;
        self.last = Some(id);
        self.get(id)
    }

    /// Returns a key, known from now on.
    fn find_or_add(&mut self, key: &Key) -> KeyId {
        if let Some(last) = self.last(key) {
            return last;
        }
        let hash = Hash::new(key.digest());
        let id = self.find_in_table(hash, key).unwrap_or_else(|| {
            let limit = self.limit(key);
            let place = self.states.insert(KeyState::new(key.clone(), limit));
            self.ids.insert(hash, key, place as u32);
            KeyId::at(place)
        });
        self.last = Some(id);
        id
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
        let Some(state) = self.get_mut(id) else { return };
        state.is_listed = false;
        if state.is_unused() {
            let key = state.key.clone();
            let key_at = |at| self.states.get(at as usize).map(|state| state.key.clone());
            self.ids.remove(Hash::new(key.digest()), &key, id.place() as u32, key_at);
            self.states.discard(id.place());
        }
    }

    /// Returns the entries that are parked.
    #[cfg(test)]
    pub(super) fn parked(&self) -> impl Iterator<Item = (Position, &Entry)> {
        let parked = self.states.iter().filter_map(|state| state.parked.as_ref());
        let feeds = self.parked_feeds.iter().map(|(position, feed)| (*position, feed));
        parked.flat_map(|parked| parked.iter(usize::MAX)).chain(feeds)
    }

    /// Checks the heads, and returns how many entries are parked.
    #[cfg(test)]
    pub(super) fn check(&self, main: &Entries) -> usize {
        let heads = main.iter(usize::MAX).filter_map(|(position, entry)| {
            let (weight, unique) = (entry.weight(), entry.is_unique());
            Some((entry.key_id()?, Head { position, weight, unique }))
        });
        let heads: BTreeMap<_, _> = heads.collect();
        assert_eq!(self.ids.iter().count(), self.states.len());
        for state in self.states.iter() {
            let id = self.find(&state.key).unwrap();
            assert_eq!(
                (state.head, state.limit),
                (heads.get(&id).copied(), self.limit(&state.key))
            );
            assert!(state.head.is_none_or(|it| state.fits(it.weight, it.unique)));
            let parked = state.parked.as_ref().map(|parked| parked.first().unwrap());
            assert!(parked.is_none_or(|(position, entry)| match state.head {
                Some(head) => head.position < position,
                None => !state.fits(entry.weight(), entry.is_unique()),
            }));
            assert!(state.is_listed || !state.is_unused());
        }
        let has_head = |state: &&KeyState| state.head.is_some();
        assert_eq!(self.states.iter().filter(has_head).count(), heads.len());
        let listed = self.states.iter().filter(|state| state.is_listed).count();
        assert!(listed == self.unused.len() && listed <= RETAINED_KEYS);
        self.parked_feeds.len() + self.states.iter().map(KeyState::parked_len).sum::<usize>()
    }
}

// === impl WaitQueue ===

impl WaitQueue {
    /// Sets the limit of each key that has none of its own.
    pub(crate) fn set_key_limits(&mut self, limit: usize) {
        let keys = self.keys.get_or_insert_default();
        keys.limit = Some(limit);
        for place in 0..keys.states.end() {
            self.update_limit(KeyId::at(place));
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
        self.refresh(id);
    }

    /// Makes the first entry of a key a head if there is room for it, and parks it if not.
    fn refresh(&mut self, id: KeyId) {
        let Self { main, parked, keys: Some(keys), .. } = self else { return };
        let Some(state) = keys.get_mut(id) else { return };
        if let Some(head) = state.head {
            if !state.fits(head.weight, head.unique) {
                state.head = None;
                main.take(head.position).into_iter().for_each(|it| state.park(head.position, it));
                *parked += 1;
            }
            return;
        }
        let Some((position, entry)) = state.parked.as_ref().and_then(|parked| parked.first())
        else {
            return;
        };
        let (weight, unique) = (entry.weight(), entry.is_unique());
        if state.fits(weight, unique) {
            state.head = Some(Head { position, weight, unique });
            let first = state.take_parked(|parked| Some(parked.pop()?.1));
            first.into_iter().for_each(|entry| main.add(position, entry));
            *parked -= 1;
        }
    }

    /// Records that the head of a key has left the main queue. After a stop the key is known no
    /// longer.
    #[inline]
    pub(super) fn forget_head(&mut self, id: KeyId) {
        if let Some(state) = self.keys.as_mut().and_then(|keys| keys.get_mut(id)) {
            state.head = None;
        }
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
                    state.first().is_none_or(|first| position < first)
                        && state.fits(request.weight, request.unique)
                }
                None => fits(keys.limit(key), 0, request.weight),
            },
            _ => true,
        }
    }

    /// Records the number of the start of a unique child of a key, which is known.
    pub(crate) fn record_unique_start(&mut self, key: &Key, start: u64) {
        let Some(keys) = &mut self.keys else { return };
        if let Some(state) = keys.find(key).and_then(|id| keys.get_mut(id)) {
            state.unique_below = start + 1;
        }
    }

    /// Returns the number that was recorded last.
    pub(crate) fn unique_start(&self, key: &Key) -> Option<u64> {
        self.keys.as_ref()?.state(key)?.unique_below.checked_sub(1)
    }

    /// Returns `true` if a reservation of that weight has lost its room in its key: the limit was
    /// lowered since, and the key has too little room for all its children.
    pub(crate) fn exceeds_key_limit(&self, key: &Key, weight: usize) -> bool {
        let state = self.keys.as_ref().and_then(|keys| keys.state(key));
        state.is_some_and(|state| {
            let limit = state.limit.unwrap_or(usize::MAX);
            let (weight, taken) = (weight as u128, state.weight);
            // One that is heavier than the limit runs alone, but for those without a weight.
            let is_alone = taken == weight;
            limit == 0 || (weight > 0 && !is_alone && taken > limit as u128)
        })
    }

    /// Returns the entries that are parked, as many as `most` of each key and of all.
    pub(super) fn inspect_parked(
        &self,
        most: usize,
    ) -> impl Iterator<Item = (Position, &Entry, Obstacle)> {
        self.keys.iter().flat_map(move |keys| {
            // There may be a million keys.
            let states =
                keys.ids.iter().take(INSPECTED_KEYS).filter_map(|at| keys.states.get(at as usize));
            let parked = states.flat_map(move |state| {
                // Behind a head, they wait for their turn.
                let obstacle = if state.head.is_some() { Obstacle::Nothing } else { Obstacle::Key };
                let parked = state.parked.iter().flat_map(move |parked| parked.iter(most));
                parked.map(move |(position, entry)| (position, entry, obstacle))
            });
            let feeds = keys.parked_feeds.iter().take(most);
            let feeds = feeds.map(|(position, entry)| (*position, entry, Obstacle::Feeds));
            parked.take(most).chain(feeds)
        })
    }

    /// Returns the keys that have no room for those that wait for them, as many as `most`.
    #[cfg(not(loom))]
    pub(crate) fn inspect_keys(&self, most: usize) -> Vec<KeySnapshot> {
        let keys = self.keys.iter().filter(|_| self.parked > 0);
        let states = keys.flat_map(|keys| {
            keys.ids.iter().take(INSPECTED_KEYS).filter_map(|at| keys.states.get(at as usize))
        });
        let waiting = states.filter(|state| state.head.is_none()).filter_map(|state| {
            let waiting = state.parked_len();
            let room = usize::try_from(state.weight).unwrap_or(usize::MAX);
            let KeyState { key, limit, .. } = state;
            let of = KeySnapshot { key: key.clone(), limit: *limit, room, waiting };
            (waiting > 0).then_some(of)
        });
        waiting.take(most).collect()
    }

    /// Takes the room of a key for a child, which is in the queue no longer, if it was.
    pub(crate) fn take_key(&mut self, id: KeyId, weight: usize) {
        let Some(keys) = &mut self.keys else { return };
        if let Some(state) = keys.get_mut(id) {
            state.occupied += 1;
            state.weight += weight as u128;
            if state.has_entries() {
                self.refresh(id);
            }
        }
    }

    /// Frees the room of a child. After a stop the key is known no longer.
    pub(crate) fn free_key(&mut self, id: KeyId, weight: usize) {
        let Some(keys) = &mut self.keys else { return };
        if let Some(state) = keys.get_mut(id) {
            state.occupied -= 1;
            state.weight -= weight as u128;
            if state.has_entries() {
                self.refresh(id);
            } else if state.occupied == 0 {
                keys.release(id);
            }
        }
    }

    /// Adds an entry that has a key.
    pub(super) fn insert_keyed(&mut self, position: Position, entry: Entry, id: KeyId) {
        let Self { main, parked, keys: Some(keys), .. } = self else { return };
        let Some(state) = keys.get_mut(id) else { return };
        let (weight, unique) = (entry.weight(), entry.is_unique());
        if !state.has_entries() && state.fits(weight, unique) {
            state.head = Some(Head { position, weight, unique });
            return main.add(position, entry);
        }
        state.park(position, entry);
        *parked += 1;
        if let Some(head) = state.head.filter(|head| position < head.position) {
            state.head = None;
            main.take(head.position).into_iter().for_each(|it| state.park(head.position, it));
            *parked += 1;
        }
        if state.head.is_none() {
            self.refresh(id);
        }
    }

    /// Takes out an entry that has a key.
    pub(super) fn take_keyed(&mut self, position: Position, id: KeyId) -> Option<Entry> {
        let Self { main, parked, keys: Some(keys), .. } = self else { return None };
        let state = keys.get_mut(id)?;
        let entry = if state.head.is_some_and(|head| head.position == position) {
            state.head = None;
            main.take(position)?
        } else {
            let entry = state.take_parked(|parked| parked.take(position))?;
            *parked -= 1;
            entry
        };
        keys.release(id);
        self.refresh(id);
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
        parked.into_iter().for_each(|(position, feed)| self.main.add(position, feed));
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
        for mut parked in keys.states.into_values().filter_map(|state| state.parked) {
            while let Some((position, entry)) = parked.pop() {
                self.main.add(position, entry);
            }
        }
        keys.parked_feeds.into_iter().for_each(|(position, feed)| self.main.add(position, feed));
    }
}
