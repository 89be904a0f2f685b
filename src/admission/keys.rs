//! Limits by key: which entries of the queue wait for their key alone.
//!
//! # Invariants
//!
//! - Of the entries of a key, at most one is in the main queue: the first, in the order of their
//!   positions, and only if the key has room for it. The others are parked, in the same order. So
//!   an entry of the main queue lacks at most what all children need, and each step costs a few
//!   look-ups, whatever the number of keys. A child takes one when it is queued, one when it is
//!   admitted, and one when it ends.
//! - `fed` is the number of queued children that have a key and came of a feed. The group's limit
//!   bounds them together with the children that run: while it is reached, feeds are parked.
//! - A key is known while a child of it has room or an entry of it waits. A limit that was set for
//!   one key is kept until it is set to that of all keys.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map;
#[cfg(not(loom))]
use alloc::vec::Vec;

use super::queue::{Entry, MainQueue, Obstacle, Position, QueuedChild, Request, WaitQueue};
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
    /// The position of its entry in the main queue.
    head: Option<Position>,
    /// The other entries. Most keys have none, and there may be a million keys.
    #[allow(clippy::box_collection)]
    parked: Option<Box<BTreeMap<Position, Entry>>>,
}

// === impl Keys, KeyState ===

impl Keys {
    #[cfg(test)]
    pub(super) fn parked(&self) -> impl Iterator<Item = (Position, &Entry)> + Clone {
        let parked = self.used.values().filter_map(|state| state.parked.as_deref());
        let parked = parked.flatten().chain(&self.held);
        parked.map(|(position, entry)| (*position, entry))
    }

    fn limit(&self, key: &Key) -> Option<usize> {
        self.own_limits.get(key).copied().unwrap_or(self.limit)
    }
}

impl KeyState {
    fn is_unused(&self) -> bool {
        self.occupied == 0 && self.head.is_none() && self.parked.is_none()
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

    /// Returns the position of the first entry.
    fn first(&self) -> Option<Position> {
        let parked = self.parked.as_ref().and_then(|parked| parked.first_key_value());
        self.head.into_iter().chain(parked.map(|(position, _)| *position)).min()
    }

    /// Restores the invariants of a key; `parked` counts the entries that are parked.
    fn refresh(&mut self, limit: Option<usize>, main: &mut MainQueue, parked: &mut usize) {
        if let Some(head) = self.head {
            let fits = |entry: &Entry| self.fits(limit, entry.weight(), entry.is_unique());
            if self.first() != Some(head) || !main.get(head).is_some_and(fits) {
                self.head = None;
                if let Some(entry) = main.take(head) {
                    self.parked.get_or_insert_default().insert(head, entry);
                    *parked += 1;
                }
            }
        }
        if self.head.is_some() {
            return;
        }
        let Some(mut waiting) = self.parked.take() else { return };
        let fits = |entry: &Entry| self.fits(limit, entry.weight(), entry.is_unique());
        let first = waiting.first_entry().filter(|first| fits(first.get()));
        if let Some((position, entry)) = first.map(|first| first.remove_entry()) {
            self.head = Some(position);
            main.restore(position, entry);
            *parked -= 1;
        }
        self.parked = Some(waiting).filter(|waiting| !waiting.is_empty());
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
        self.change(key, |_, _, _| {});
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
                state.first().is_none_or(|first| position < first)
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
            let parked = keys.used.values().take(INSPECTED_KEYS);
            let parked = parked.filter_map(|state| state.parked.as_deref()).flatten().take(most);
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
            let waiting = state.parked.as_ref()?.len();
            let room = usize::try_from(state.weight).unwrap_or(usize::MAX);
            let of = KeySnapshot { key: key.clone(), limit: keys.limit(key), room, waiting };
            (waiting > 0).then_some(of)
        });
        waiting.take(most).collect()
    }

    /// Takes the room of a key for a child, which is in the queue no longer, if it was.
    pub(crate) fn take_key(&mut self, position: Option<Position>, key: &Key, weight: usize) {
        let keys = self.keys.get_or_insert_default();
        let limit = keys.limit(key);
        let state = keys.used.entry(key.clone()).or_default();
        state.occupied += 1;
        state.weight += weight as u128;
        state.head = state.head.filter(|head| Some(*head) != position);
        state.refresh(limit, &mut self.main, &mut self.parked);
    }

    /// Frees the room of a child.
    pub(crate) fn free_key(&mut self, key: &Key, weight: usize) {
        self.change(key, |state, _, _| {
            state.occupied -= 1;
            state.weight -= weight as u128;
        });
    }

    /// Adds an entry that has a key.
    pub(super) fn park(&mut self, position: Position, entry: Entry, key: &Key) {
        let keys = self.keys.get_or_insert_default();
        let limit = keys.limit(key);
        let state = keys.used.entry(key.clone()).or_default();
        let first = state.first();
        if first.is_none() && state.fits(limit, entry.weight(), entry.is_unique()) {
            state.head = Some(position);
            self.main.insert(position, entry);
            return;
        }
        state.parked.get_or_insert_default().insert(position, entry);
        self.parked += 1;
        if first.is_some_and(|first| position < first) {
            state.refresh(limit, &mut self.main, &mut self.parked);
        }
    }

    /// Takes out an entry that has a key.
    pub(super) fn take_keyed(&mut self, position: Position, key: &Key) -> Option<Entry> {
        self.change(key, |state, main, parked| {
            if state.head == Some(position) {
                state.head = None;
                return main.take(position);
            }
            let waiting = state.parked.as_mut()?;
            let entry = waiting.remove(&position);
            *parked -= usize::from(entry.is_some());
            if waiting.is_empty() {
                state.parked = None;
            }
            entry
        })?
    }

    /// Changes the state of a key, if it is known, and restores its invariants.
    fn change<R>(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut KeyState, &mut MainQueue, &mut usize) -> R,
    ) -> Option<R> {
        let keys = self.keys.as_mut()?;
        let limit = keys.limit(key);
        let btree_map::Entry::Occupied(mut used) = keys.used.entry(key.clone()) else {
            return None;
        };
        let state = used.get_mut();
        let changed = change(state, &mut self.main, &mut self.parked);
        state.refresh(limit, &mut self.main, &mut self.parked);
        if state.is_unused() {
            used.remove();
        }
        Some(changed)
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
        if let Some((position, feed)) = head.and_then(|head| Some((head, self.main.take(head)?))) {
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
        held.into_iter().for_each(|(position, feed)| self.main.restore(position, feed));
    }

    /// Takes out a feed that is parked.
    pub(super) fn take_held(&mut self, position: Position) -> Option<Entry> {
        let held = self.keys.as_mut()?.held.remove(&position);
        self.parked -= usize::from(held.is_some());
        held
    }

    /// Moves all parked entries into the main queue, to be dropped, and forgets the keys: the group
    /// has stopped.
    pub(crate) fn drop_keys(&mut self) {
        self.parked = 0;
        let Some(keys) = self.keys.take() else { return };
        let parked = keys.used.into_values().filter_map(|state| state.parked);
        let parked = parked.flat_map(|parked| *parked).chain(keys.held);
        parked.for_each(|(position, entry)| self.main.restore(position, entry));
    }
}
