//! Limits by key: which entries of the queue wait for their key alone.
//!
//! # Invariants
//!
//! - Of the entries of a key, at most one is in the main queue: the first, in the order of their
//!   positions, and only if the key has room for it. The others are parked, in the same order. So
//!   an entry of the main queue lacks at most what all children need, and each step costs a few
//!   look-ups, whatever the number of keys.
//! - `fed` is the number of queued children that have a key and came of a feed. The group's limit
//!   bounds them together with the children that run: while it is reached, feeds are parked.
//! - A key is known while a child of it has room or an entry of it waits. A limit that was set for
//!   one key is kept until it is set to that of all keys.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
#[cfg(not(loom))]
use alloc::vec::Vec;

use super::queue::{Entry, Obstacle, Position, QueuedChild, Request, WaitQueue};
use crate::key::Key;
#[cfg(not(loom))]
use crate::snapshot::KeySnapshot;

/// How many keys a snapshot looks at.
const INSPECTED_KEYS: usize = 4096;

/// What is known of keys.
#[derive(Default)]
pub(crate) struct Keys {
    /// The limit of each key that has none of its own.
    limit: Option<usize>,
    own_limits: BTreeMap<Key, Option<usize>>,
    used: BTreeMap<Key, KeyState>,
    fed: usize,
    /// The feeds that wait until fewer of their children do.
    held: BTreeMap<Position, Entry>,
}

/// What is known of a key that has children or waiters.
#[derive(Default)]
struct KeyState {
    /// How many children and reservations have room.
    occupied: usize,
    /// The room that they take.
    weight: u128,
    waiting: Option<Box<Waiting>>,
}

/// The entries of a key.
#[derive(Default)]
struct Waiting {
    /// The position of the one in the main queue.
    head: Option<Position>,
    parked: BTreeMap<Position, Entry>,
}

// === impl Keys, KeyState, Waiting ===

impl Keys {
    #[cfg(test)]
    pub(super) fn parked(&self) -> impl Iterator<Item = (Position, &Entry)> + Clone {
        let waiting = self.used.values().filter_map(|state| state.waiting.as_deref());
        let parked = waiting.flat_map(|waiting| &waiting.parked).chain(&self.held);
        parked.map(|(position, entry)| (*position, entry))
    }

    fn limit(&self, key: &Key) -> Option<usize> {
        self.own_limits.get(key).copied().unwrap_or(self.limit)
    }
}

impl KeyState {
    fn is_unused(&self) -> bool {
        self.occupied == 0 && self.waiting.is_none()
    }

    fn fits(&self, limit: Option<usize>, weight: usize, unique: bool) -> bool {
        if unique && self.occupied > 0 {
            return false;
        }
        limit.is_none_or(|limit| {
            // A child that is heavier than the limit runs alone. A limit of 0 admits none, not even
            // one without a weight.
            limit > 0
                && (weight == 0
                    || self.weight == 0
                    || self.weight + weight as u128 <= limit as u128)
        })
    }
}

impl Waiting {
    /// Returns the position of the first entry.
    fn first(&self) -> Option<Position> {
        let parked = self.parked.first_key_value().map(|(position, _)| *position);
        self.head.into_iter().chain(parked).min()
    }
}

// === impl WaitQueue ===

impl WaitQueue {
    pub(crate) fn set_key_limits(&mut self, limit: usize) {
        self.keys.get_or_insert_default().limit = Some(limit);
    }

    pub(crate) fn set_key_limit(&mut self, key: &Key, limit: Option<usize>) {
        let keys = self.keys.get_or_insert_default();
        if limit == keys.limit {
            keys.own_limits.remove(key);
        } else {
            keys.own_limits.insert(key.clone(), limit);
        }
        self.refresh(key);
    }

    /// Returns `true` if a child of that key runs or waits.
    pub(crate) fn is_used(&self, key: &Key) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.used.contains_key(key))
    }

    /// Returns `true` if the key of a request has room for it, and no entry of that key comes
    /// before that position.
    #[inline]
    pub(crate) fn has_key_room(&self, request: Request<'_>, position: Position) -> bool {
        match (request.key, &self.keys) {
            (Some(key), Some(keys)) => {
                let (limit, unused) = (keys.limit(key), KeyState::default());
                let state = keys.used.get(key).unwrap_or(&unused);
                let first = state.waiting.as_ref().and_then(|waiting| waiting.first());
                first.is_none_or(|first| position < first)
                    && state.fits(limit, request.weight, request.unique)
            }
            _ => true,
        }
    }

    /// Returns `true` if the children of a key take more room than it has, but for one that runs
    /// alone.
    pub(crate) fn is_key_over_limit(&self, key: &Key) -> bool {
        self.keys.as_ref().is_some_and(|keys| {
            let limit = keys.limit(key).unwrap_or(usize::MAX);
            keys.used.get(key).is_some_and(|state| {
                state.weight > limit as u128 && (state.occupied > 1 || limit == 0)
            })
        })
    }

    /// Returns entries that are parked.
    pub(super) fn inspect_parked(
        &self,
        most: usize,
    ) -> impl Iterator<Item = (Position, &Entry, Obstacle)> {
        let keys = self.keys.iter().filter(|_| self.parked > 0);
        keys.flat_map(move |keys| {
            let waiting = keys.used.values().take(INSPECTED_KEYS);
            let waiting = waiting.filter_map(|state| state.waiting.as_deref());
            let parked = waiting.flat_map(|waiting| &waiting.parked).take(most);
            let parked = parked.map(|(position, entry)| (*position, entry, Obstacle::Key));
            let held = keys.held.iter().take(most);
            parked.chain(held.map(|(position, entry)| (*position, entry, Obstacle::Feeds)))
        })
    }

    /// Returns the keys for which entries wait, as many as `most`.
    #[cfg(not(loom))]
    pub(super) fn inspect_keys(&self, most: usize) -> Vec<KeySnapshot> {
        let keys = self.keys.iter().filter(|_| self.parked > 0);
        let used = keys.flat_map(|keys| keys.used.iter().map(move |used| (keys, used)));
        let waiting = used.take(INSPECTED_KEYS).filter_map(|(keys, (key, state))| {
            let waiting = state.waiting.as_ref()?.parked.len();
            let room = usize::try_from(state.weight).unwrap_or(usize::MAX);
            let of = KeySnapshot { key: key.clone(), limit: keys.limit(key), room, waiting };
            (waiting > 0).then_some(of)
        });
        waiting.take(most).collect()
    }

    /// Takes the room of a key for a child, which is in the queue no longer, if it was.
    pub(crate) fn take_key(&mut self, position: Option<Position>, key: &Key, weight: usize) {
        let used = &mut self.keys.get_or_insert_default().used;
        let state = match used.get_mut(key) {
            Some(state) => state,
            None => used.entry(key.clone()).or_default(),
        };
        state.occupied += 1;
        state.weight += weight as u128;
        if let Some(waiting) = &mut state.waiting {
            waiting.head = waiting.head.filter(|head| Some(*head) != position);
            self.refresh(key);
        }
    }

    /// Frees the room of a child.
    pub(crate) fn free_key(&mut self, key: &Key, weight: usize) {
        let Some(state) = self.keys.as_mut().and_then(|keys| keys.used.get_mut(key)) else {
            return;
        };
        state.occupied -= 1;
        state.weight -= weight as u128;
        if state.occupied == 0 || state.waiting.is_some() {
            self.refresh(key);
        }
    }

    /// Adds an entry that has a key.
    pub(super) fn park(&mut self, position: Position, entry: Entry, key: &Key) {
        let used = &mut self.keys.get_or_insert_default().used;
        let state = match used.get_mut(key) {
            Some(state) => state,
            None => used.entry(key.clone()).or_default(),
        };
        state.waiting.get_or_insert_default().parked.insert(position, entry);
        self.parked += 1;
        self.refresh(key);
    }

    /// Takes out an entry that has a key.
    pub(super) fn take_keyed(&mut self, position: Position, key: &Key) -> Option<Entry> {
        let state = self.keys.as_mut()?.used.get_mut(key)?;
        let waiting = state.waiting.as_mut()?;
        let entry = if waiting.head == Some(position) {
            waiting.head = None;
            self.take(position)
        } else {
            let entry = waiting.parked.remove(&position);
            self.parked -= usize::from(entry.is_some());
            entry
        };
        self.refresh(key);
        entry
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
        if child.options.as_ref().is_some_and(|options| options.fed) {
            self.keys.iter_mut().for_each(|keys| keys.fed -= 1);
        }
    }

    /// Parks the head, which is a feed.
    pub(crate) fn hold_head(&mut self) {
        let head = self.first().map(|(position, _)| position);
        if let Some((position, feed)) = head.and_then(|head| Some((head, self.take(head)?))) {
            self.keys.get_or_insert_default().held.insert(position, feed);
            self.parked += 1;
        }
    }

    pub(crate) fn has_held(&self) -> bool {
        self.keys.as_ref().is_some_and(|keys| !keys.held.is_empty())
    }

    /// Lets the first feed that is parked return to its position.
    pub(crate) fn release_held(&mut self) {
        let held = self.keys.as_mut().and_then(|keys| keys.held.pop_first());
        self.parked -= usize::from(held.is_some());
        self.others.extend(held);
    }

    /// Takes out a feed that is parked.
    pub(super) fn take_held(&mut self, position: Position) -> Option<Entry> {
        let held = self.keys.as_mut()?.held.remove(&position);
        self.parked -= usize::from(held.is_some());
        held
    }

    /// Restores the invariants of a key.
    fn refresh(&mut self, key: &Key) {
        let Self { keys: Some(keys), others, parked, .. } = self else { return };
        let limit = keys.limit(key);
        let Some(state) = keys.used.get_mut(key) else { return };
        if let Some(mut waiting) = state.waiting.take() {
            let fits = |entry: &Entry| state.fits(limit, entry.weight(), entry.is_unique());
            let keeps_head =
                |head| waiting.first() == Some(head) && others.get(&head).is_some_and(fits);
            if let Some(head) = waiting.head.filter(|head| !keeps_head(*head)) {
                waiting.head = None;
                waiting.parked.extend(others.remove(&head).map(|entry| (head, entry)));
                *parked += 1;
            }
            if waiting.head.is_none() {
                let first = waiting.parked.first_entry().filter(|first| fits(first.get()));
                if let Some((position, entry)) = first.map(|first| first.remove_entry()) {
                    waiting.head = Some(position);
                    others.insert(position, entry);
                    *parked -= 1;
                }
            }
            state.waiting = waiting.first().map(|_| waiting);
        }
        if state.is_unused() {
            keys.used.remove(key);
        }
    }

    /// Moves all parked entries into the main queue, to be dropped, and forgets the keys: the group
    /// has stopped.
    pub(crate) fn drop_keys(&mut self) {
        self.parked = 0;
        let Some(keys) = self.keys.take() else { return };
        let waiting = keys.used.into_values().filter_map(|state| state.waiting);
        self.others.extend(waiting.flat_map(|waiting| waiting.parked).chain(keys.held));
    }
}
