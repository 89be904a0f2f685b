//! The entries of a queue, in the order of their positions.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use super::keys::KeyId;
use super::{QueuedChild, WaiterKey};
use crate::util::sparse_queue::SparseQueue;

/// A position in the queue: behind higher priorities, and behind earlier arrivals of its own. The
/// lowest is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) priority: i32,
    pub(crate) arrival: u64,
}

#[derive(Debug)]
pub(crate) enum Entry {
    /// A child that starts as soon as it has room.
    Child(QueuedChild),
    /// A caller of `go`, `feed`, `reserve` or `ready`, for which room is reserved in its turn.
    Waiter { key: WaiterKey, weight: usize, key_id: Option<KeyId>, unique: bool, feed: bool },
}

/// Entries in the order of their positions.
#[derive(Default)]
pub(super) struct Entries {
    /// The entries of priority 0, as most are, by their arrival.
    normal: SparseQueue<Entry>,
    /// The entries of a few other priorities, the highest first.
    lanes: Vec<Lane>,
    /// How many entries are in `lanes`.
    in_lanes: usize,
    /// The entries of further priorities, and those that have come back to a position in the midst
    /// of many.
    others: BTreeMap<Position, Entry>,
}

/// The entries of one priority, by their arrival.
struct Lane {
    priority: i32,
    entries: SparseQueue<Entry>,
}

/// What an entry is in.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Normal,
    /// The lane at this place.
    Lane(usize),
    Others,
}

/// At most so many lanes are made; some may be empty.
const LANES: usize = if cfg!(test) { 2 } else { 8 };

/// An empty lane keeps capacity for so many entries.
const RETAINED_ENTRIES: usize = if cfg!(test) { 1 } else { 64 };

// === impl Position, Entry ===

impl Position {
    /// Returns the position behind all entries of that priority.
    pub(crate) fn last(priority: i32) -> Self {
        Self { priority, arrival: u64::MAX }
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (Reverse(it.priority), it.arrival);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Entry {
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Child(child) => child.request().weight,
            Self::Waiter { weight, .. } => *weight,
        }
    }

    pub(super) fn is_unique(&self) -> bool {
        match self {
            Self::Child(child) => child.request().unique,
            Self::Waiter { unique, .. } => *unique,
        }
    }

    /// Returns the number of its key.
    #[inline]
    pub(crate) fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Child(child) => child.options.key_id(),
            Self::Waiter { key_id, .. } => *key_id,
        }
    }

    pub(crate) fn is_feed(&self) -> bool {
        matches!(self, Self::Waiter { feed: true, .. })
    }

    /// Returns `true` if a group that has this entry can't end.
    pub(super) fn is_binding(&self) -> bool {
        !matches!(self, Self::Child(child) if child.is_daemon())
    }
}

// === impl Entries ===

impl Entries {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.normal.is_empty() && self.are_normal()
    }

    /// Returns `true` if all are in `normal`.
    #[inline]
    fn are_normal(&self) -> bool {
        self.in_lanes == 0 && self.others.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.normal.len() + self.in_lanes + self.others.len()
    }

    /// Returns `true` if all have a lower priority.
    #[inline]
    pub(super) fn yields_to(&self, priority: i32) -> bool {
        (self.normal.is_empty() || priority > 0)
            && (self.are_normal() || self.others_yield_to(priority))
    }

    /// Returns `true` if all that are not in `normal` have a lower priority.
    fn others_yield_to(&self, priority: i32) -> bool {
        let not_lower = self.lanes.iter().take_while(|lane| lane.priority >= priority);
        let first_of_others = self.others.first_key_value();
        not_lower.map(|lane| &lane.entries).all(SparseQueue::is_empty)
            && first_of_others.is_none_or(|(first, _)| first.priority < priority)
    }

    #[inline]
    pub(super) fn first(&self) -> Option<(Position, &Entry)> {
        self.first_in(self.first_place())
    }

    #[inline]
    fn first_normal(&self) -> Option<(Position, &Entry)> {
        let (arrival, entry) = self.normal.first()?;
        Some((Position { priority: 0, arrival }, entry))
    }

    /// Returns the first entry, and what it is in.
    #[inline]
    pub(super) fn head(&self) -> Option<(Place, &Entry)> {
        let place = self.first_place();
        Some((place, self.first_in(place)?.1))
    }

    /// Returns what the first entry is in, if there is one.
    #[inline]
    fn first_place(&self) -> Place {
        if self.are_normal() { Place::Normal } else { self.find_first_place() }
    }

    fn find_first_place(&self) -> Place {
        let is_first = |lane: &Lane| lane.priority > 0 || self.normal.is_empty();
        let lane = self.lanes.iter().position(|lane| !lane.entries.is_empty());
        let place = match lane.filter(|at| self.lanes.get(*at).is_some_and(is_first)) {
            Some(at) => Place::Lane(at),
            None => Place::Normal,
        };
        let other = self.others.first_key_value().map(|(position, _)| *position);
        let first = other.and_then(|_| self.first_in(place)).map(|(position, _)| position);
        if other.is_none_or(|other| first.is_some_and(|first| first < other)) {
            return place;
        }
        Place::Others
    }

    /// Returns the first entry in a place.
    #[inline]
    fn first_in(&self, place: Place) -> Option<(Position, &Entry)> {
        match place {
            Place::Normal => self.first_normal(),
            Place::Lane(at) => self.lanes.get(at)?.first(),
            Place::Others => self.others.first_key_value().map(|(position, it)| (*position, it)),
        }
    }

    /// Returns the entries of each part, in the order of their positions, at most so many of each.
    pub(super) fn iter(&self, most: usize) -> impl Iterator<Item = (Position, &Entry)> + Clone {
        let normal = self.normal.iter();
        let normal = normal.map(|(arrival, entry)| (Position { priority: 0, arrival }, entry));
        let lanes = self.lanes.iter().flat_map(Lane::iter);
        let others = self.others.iter().map(|(position, entry)| (*position, entry));
        normal.take(most).chain(lanes.take(most)).chain(others.take(most))
    }

    /// Adds an entry, mostly behind all others of its priority.
    #[inline]
    pub(super) fn add(&mut self, position: Position, entry: Entry) {
        if position.priority == 0 && self.normal.is_behind(position.arrival) {
            self.normal.push(position.arrival, entry);
        } else {
            self.add_to_others(position, entry);
        }
    }

    fn add_to_others(&mut self, position: Position, entry: Entry) {
        let Position { priority, arrival } = position;
        let (entries, count) = match priority {
            0 => (Some(&mut self.normal), 0),
            _ => (self.lane_for(priority), 1),
        };
        match entries {
            Some(entries) if entries.is_behind(arrival) => entries.push(arrival, entry),
            Some(entries) if entries.is_near(arrival) => entries.insert(arrival, entry),
            _ => {
                self.others.insert(position, entry);
                return;
            }
        }
        self.in_lanes += count;
    }

    /// Returns the lane of a priority, or `None` if there are too many.
    fn lane_for(&mut self, priority: i32) -> Option<&mut SparseQueue<Entry>> {
        let found = self.lanes.iter().position(|lane| lane.priority == priority);
        let at = match found {
            Some(at) => at,
            None => {
                if self.lanes.len() == LANES {
                    let empty = self.lanes.iter().position(|lane| lane.entries.is_empty())?;
                    self.lanes.remove(empty);
                }
                let at = self.lanes.partition_point(|lane| lane.priority > priority);
                self.lanes.insert(at, Lane { priority, entries: SparseQueue::default() });
                at
            }
        };
        self.lanes.get_mut(at).map(|lane| &mut lane.entries)
    }

    /// Takes out the first entry.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Position, Entry)> {
        self.pop_in(self.first_place())
    }

    pub(super) fn pop_in(&mut self, place: Place) -> Option<(Position, Entry)> {
        match place {
            Place::Normal => {
                let (arrival, entry) = self.normal.pop()?;
                Some((Position { priority: 0, arrival }, entry))
            }
            Place::Lane(at) => {
                let lane = self.lanes.get_mut(at)?;
                let (arrival, entry) = lane.entries.pop()?;
                self.in_lanes -= 1;
                lane.trim();
                Some((Position { priority: lane.priority, arrival }, entry))
            }
            Place::Others => self.others.pop_first(),
        }
    }

    /// Takes out the first entry, which is in that place and owns nothing.
    #[inline]
    pub(super) fn forget_first(&mut self, place: Place) {
        match place {
            Place::Normal => self.normal.forget_first(),
            Place::Lane(at) => {
                if let Some(lane) = self.lanes.get_mut(at) {
                    lane.entries.forget_first();
                    self.in_lanes -= 1;
                    lane.trim();
                }
            }
            Place::Others => drop(self.others.pop_first()),
        }
    }

    /// Takes out an entry.
    #[inline]
    pub(super) fn take(&mut self, position: Position) -> Option<Entry> {
        if !self.others.is_empty() {
            if let Some(entry) = self.others.remove(&position) {
                return Some(entry);
            }
        }
        if position.priority == 0 {
            self.normal.remove(position.arrival)
        } else {
            self.take_from_lane(position)
        }
    }

    fn take_from_lane(&mut self, position: Position) -> Option<Entry> {
        let lane = self.lanes.iter_mut().find(|lane| lane.priority == position.priority)?;
        let entry = lane.entries.remove(position.arrival)?;
        self.in_lanes -= 1;
        lane.trim();
        Some(entry)
    }

    /// Returns how many entries are in no lane.
    #[cfg(test)]
    pub(super) fn in_others(&self) -> usize {
        self.others.len()
    }

    /// Checks the lanes.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let lanes = &self.lanes;
        assert!(lanes.len() <= LANES && lanes.is_sorted_by(|a, b| a.priority > b.priority));
        assert_eq!(self.in_lanes, lanes.iter().map(|lane| lane.entries.len()).sum::<usize>());
        let mut empty = lanes.iter().filter(|lane| lane.entries.is_empty());
        assert!(empty.all(|lane| lane.entries.capacity() <= RETAINED_ENTRIES));
    }
}

impl Lane {
    #[inline]
    fn first(&self) -> Option<(Position, &Entry)> {
        let (arrival, entry) = self.entries.first()?;
        Some((Position { priority: self.priority, arrival }, entry))
    }

    /// Gives back what an empty lane does not need.
    #[inline]
    fn trim(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > RETAINED_ENTRIES {
            self.entries = SparseQueue::default();
        }
    }

    fn iter(&self) -> impl Iterator<Item = (Position, &Entry)> + Clone {
        let priority = self.priority;
        let entries = self.entries.iter();
        entries.map(move |(arrival, entry)| (Position { priority, arrival }, entry))
    }
}
