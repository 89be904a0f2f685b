//! The order in which waiters and queued children are admitted: higher priority first, then
//! first come, first admitted.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};

use super::keys::{KeyId, Keys};
use crate::child::join::JoinId;
use crate::child::task::Options;
use crate::key::Key;
use crate::util::sparse_queue::SparseQueue;

/// Names a child in the group's store, from its acceptance until it goes to the set.
pub(crate) type ChildKey = usize;

/// Names a waiter, for as long as its owner keeps it.
pub(crate) type WaiterKey = usize;

/// What a child or a waiter asks for, as far as admission decides by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) weight: usize,
    pub(crate) priority: i32,
    pub(crate) key: Option<&'a Key>,
    /// It runs only if no other child of its key does.
    pub(crate) unique: bool,
    /// A `feed` asks, which does not know its child yet.
    pub(crate) feed: bool,
    pub(crate) name: Option<&'a str>,
}

/// A child that is not in the set yet.
#[derive(Debug)]
pub(crate) struct QueuedChild {
    pub(crate) key: ChildKey,
    pub(crate) options: ChildOptions,
    /// The name under which it can be aborted, if it is joinable.
    pub(crate) join: Option<JoinId>,
}

/// The options of a child that is not in the set yet.
#[derive(Debug)]
pub(crate) enum ChildOptions {
    /// The others are the usual ones. This needs no box.
    Inline {
        weight: u32,
        priority: i32,
        key: Option<Key>,
        /// The number of the key, once the child is queued.
        key_id: Option<KeyId>,
        unique: bool,
        fed: bool,
    },
    Boxed {
        options: Box<Options>,
        key_id: Option<KeyId>,
        fed: bool,
    },
}

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

/// The head of the queue, if it is a child that needs nothing but room: for its weight, in the
/// group and in its key.
#[derive(Clone, Copy)]
pub(crate) struct SimpleHead {
    pub(crate) key: ChildKey,
    pub(crate) weight: usize,
    pub(crate) priority: i32,
    pub(crate) key_id: Option<KeyId>,
    place: Place,
}

/// Waiters and queued children, in the order of admission.
///
/// The entries whose key has no room are *parked*: they wait behind their key, and the others pass
/// them by. So are feeds that wait for their children's keys.
#[derive(Default)]
pub(crate) struct WaitQueue {
    /// The entries that are not parked.
    pub(super) main: Entries,
    arrivals: u64,
    /// How many entries hold the group open: all but queued daemons.
    binding: usize,
    /// How many entries are parked.
    pub(super) parked: usize,
    /// Made for the first key.
    pub(super) keys: Option<Box<Keys>>,
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
enum Place {
    Normal,
    /// The lane at this place.
    Lane(usize),
    Others,
}

/// At most so many lanes are made; some may be empty.
const LANES: usize = if cfg!(test) { 2 } else { 8 };

/// An empty lane keeps capacity for so many entries.
const RETAINED_ENTRIES: usize = if cfg!(test) { 1 } else { 64 };

/// What an entry waits for, beside the entries before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    Nothing,
    /// Its key.
    Key,
    /// It is a feed, whose children wait for their keys.
    Feeds,
}

// === impl Request ===

impl<'a> Request<'a> {
    /// What a plain child asks for.
    pub(crate) const PLAIN: Self =
        Self { weight: 1, priority: 0, key: None, unique: false, feed: false, name: None };

    /// What a `feed` asks for.
    pub(crate) const FEED: Self = Self { feed: true, ..Self::PLAIN };

    /// What a plain child asks for that overtakes nothing.
    pub(crate) const LAST: Self = Self { priority: i32::MIN, ..Self::PLAIN };

    /// Returns what a child with these options asks for.
    #[inline]
    pub(crate) fn new(options: Option<&'a Options>) -> Self {
        options.map_or(Self::PLAIN, |it| Self {
            weight: it.weight,
            priority: it.priority,
            key: it.key.as_ref(),
            unique: it.unique,
            feed: false,
            name: it.name.as_deref(),
        })
    }

    /// Returns the same request of a child that overtakes no entry of the queue.
    pub(crate) fn behind_all(self) -> Self {
        Self { priority: i32::MIN, ..self }
    }
}

// === impl QueuedChild, ChildOptions, Position, Entry ===

impl QueuedChild {
    /// Returns a child without options.
    #[cfg(test)]
    pub(crate) fn plain(key: ChildKey) -> Self {
        Self { key, options: ChildOptions::DEFAULT, join: None }
    }

    /// Returns a child that has at most a weight.
    pub(crate) fn weighted(key: ChildKey, weight: usize) -> Self {
        let mut options = Options { weight, ..Options::DEFAULT };
        Self { key, options: ChildOptions::take(&mut options, false), join: None }
    }

    #[inline]
    pub(crate) fn request(&self) -> Request<'_> {
        match &self.options {
            ChildOptions::Inline { weight, priority, key, unique, .. } => Request {
                weight: *weight as usize,
                priority: *priority,
                key: key.as_ref(),
                unique: *unique,
                ..Request::PLAIN
            },
            ChildOptions::Boxed { options, .. } => Request::new(Some(options)),
        }
    }

    pub(crate) fn is_daemon(&self) -> bool {
        self.options.boxed().is_some_and(|options| options.daemon)
    }

    /// Returns `true` if it came of a `feed` that waits if there are many such children.
    #[inline]
    pub(crate) fn is_fed(&self) -> bool {
        match &self.options {
            ChildOptions::Inline { fed, .. } | ChildOptions::Boxed { fed, .. } => *fed,
        }
    }
}

impl ChildOptions {
    pub(crate) const DEFAULT: Self =
        Self::Inline { weight: 1, priority: 0, key: None, key_id: None, unique: false, fed: false };

    /// Takes the options that a task was given. With `keeps_all`, they are in a box if one of them
    /// is set.
    #[inline]
    pub(crate) fn take(given: &mut Options, keeps_all: bool) -> Self {
        match u32::try_from(given.weight) {
            Ok(weight) if given.fit_inline() && (!keeps_all || given.are_default()) => {
                let Options { priority, unique, .. } = *given;
                let key = given.key.take();
                Self::Inline { weight, priority, key, key_id: None, unique, fed: false }
            }
            _ => {
                let options = Box::new(core::mem::take(given));
                Self::Boxed { options, key_id: None, fed: false }
            }
        }
    }

    /// Returns what is in the box, if there is one.
    #[inline]
    pub(crate) fn boxed(&self) -> Option<&Options> {
        match self {
            Self::Inline { .. } => None,
            Self::Boxed { options, .. } => Some(options),
        }
    }

    /// Takes the key out of them.
    #[inline]
    pub(crate) fn take_key(&mut self) -> Option<Key> {
        match self {
            Self::Inline { key, .. } => key.take(),
            Self::Boxed { options, .. } => options.key.take(),
        }
    }

    /// Records that the child comes of a `feed`, if `feed`, which waits if many such children do.
    #[inline]
    pub(crate) fn set_fed(&mut self, feed: bool) {
        match self {
            Self::Inline { key, fed, .. } => *fed = feed && key.is_some(),
            Self::Boxed { options, fed, .. } => *fed = feed && options.key.is_some(),
        }
    }

    /// Returns the number of the key of a child that is or was queued.
    #[inline]
    pub(crate) fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Inline { key_id, .. } | Self::Boxed { key_id, .. } => *key_id,
        }
    }

    #[inline]
    pub(crate) fn set_key_id(&mut self, id: Option<KeyId>) {
        match self {
            Self::Inline { key_id, .. } | Self::Boxed { key_id, .. } => *key_id = id,
        }
    }
}

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
    fn is_binding(&self) -> bool {
        !matches!(self, Self::Child(child) if child.is_daemon())
    }
}

// === impl WaitQueue ===

impl WaitQueue {
    /// Returns `true` if nothing waits, parked or not.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_head() && self.parked == 0
    }

    /// Returns `true` if there is an entry that lacks nothing but the group's room, or a permit.
    #[inline]
    pub(crate) fn has_head(&self) -> bool {
        !self.main.is_empty()
    }

    /// Returns `true` if nothing but daemons is queued.
    pub(crate) fn has_only_daemons(&self) -> bool {
        self.binding == 0
    }

    /// Returns the position behind all others of that priority.
    #[inline]
    pub(crate) fn next_position(&mut self, priority: i32) -> Position {
        self.arrivals += 1;
        Position { priority, arrival: self.arrivals }
    }

    /// Returns `true` if no entry comes before a newcomer of that priority, but parked ones.
    #[inline(always)]
    pub(crate) fn yields_to(&self, priority: i32) -> bool {
        self.main.yields_to(priority)
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<(Position, &Entry)> {
        self.main.first()
    }

    /// Returns the first entries, as many as `most`, in the order of their positions. Looks at no
    /// more than some thousand keys.
    pub(crate) fn inspect(&self, most: usize) -> Vec<(Position, &Entry, Obstacle)> {
        let unobstructed = self.main.iter(most);
        let unobstructed = unobstructed.map(|(at, entry)| (at, entry, Obstacle::Nothing));
        let mut entries: Vec<_> = unobstructed.chain(self.inspect_parked(most)).collect();
        entries.sort_unstable_by_key(|(position, ..)| *position);
        entries.truncate(most);
        entries
    }

    /// Takes out the head. If it has a key, [`take_key`](Self::take_key) or a stop has to follow.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Position, Entry)> {
        let (position, entry) = self.main.pop()?;
        self.binding -= usize::from(entry.is_binding());
        if let Some(id) = entry.key_id() {
            self.forget_head(id);
        }
        Some((position, entry))
    }

    /// Returns the head if it is known at a glance that it is simple.
    #[inline]
    pub(crate) fn simple_head(&self) -> Option<SimpleHead> {
        let (place, entry) = self.main.head()?;
        let Entry::Child(QueuedChild { key, options, join: None }) = entry else { return None };
        match options {
            ChildOptions::Inline { weight, priority, key_id, fed: false, .. } => Some(SimpleHead {
                key: *key,
                weight: *weight as usize,
                priority: *priority,
                key_id: *key_id,
                place,
            }),
            _ => None,
        }
    }

    /// Takes out the head, which is simple and has no key.
    #[inline]
    pub(crate) fn forget_simple_head(&mut self, head: SimpleHead) {
        self.main.forget_first(head.place);
        self.binding -= 1;
    }

    /// Takes out the head, which is simple and has that key.
    #[inline]
    pub(crate) fn pop_simple_head(&mut self, head: SimpleHead, key: KeyId) -> Option<QueuedChild> {
        let (_, entry) = self.main.pop_in(head.place)?;
        self.binding -= 1;
        self.forget_head(key);
        match entry {
            Entry::Child(child) => Some(child),
            Entry::Waiter { .. } => None,
        }
    }

    /// Adds an entry, mostly behind all others of its priority.
    #[inline(always)]
    pub(crate) fn insert(&mut self, position: Position, entry: Entry) {
        self.binding += usize::from(entry.is_binding());
        match entry.key_id() {
            Some(id) => self.insert_keyed(position, entry, id),
            None => self.main.add(position, entry),
        }
    }

    pub(crate) fn remove(&mut self, position: Position, key: Option<&Key>) -> Option<Entry> {
        let entry = match key {
            None => self.main.take(position).or_else(|| self.take_parked_feed(position)),
            Some(key) => self.take_keyed(position, self.find_key(key)?),
        }?;
        self.binding -= usize::from(entry.is_binding());
        Some(entry)
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
    fn yields_to(&self, priority: i32) -> bool {
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
    fn head(&self) -> Option<(Place, &Entry)> {
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

    fn pop_in(&mut self, place: Place) -> Option<(Position, Entry)> {
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
    fn forget_first(&mut self, place: Place) {
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

#[cfg(test)]
impl WaitQueue {
    /// Calls `visit` with the entries, in the order of their positions, and checks the numbers;
    /// `len` is how many entries there are.
    pub(super) fn check(&self, len: usize, mut visit: impl FnMut(Position, &Entry)) {
        let lanes = &self.main.lanes;
        assert!(lanes.len() <= LANES && lanes.is_sorted_by(|a, b| a.priority > b.priority));
        let in_lanes: usize = lanes.iter().map(|lane| lane.entries.len()).sum();
        assert_eq!(self.main.in_lanes, in_lanes);
        assert_eq!(self.keys.as_ref().map_or(0, |keys| keys.check(&self.main)), self.parked);
        let parked = self.keys.iter().flat_map(|keys| keys.parked());
        let all = self.main.iter(usize::MAX).chain(parked);
        let all: Vec<_> = all.collect();
        let sorted: BTreeMap<_, _> = all.iter().copied().collect();
        assert_eq!((all.len(), sorted.len()), (len, len));
        assert_eq!(self.binding, all.iter().filter(|(_, entry)| entry.is_binding()).count());
        sorted.into_iter().for_each(|(position, entry)| visit(position, entry));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn waiter(key: WaiterKey) -> Entry {
        Entry::Waiter { key, weight: 1, key_id: None, unique: false, feed: false }
    }

    fn daemon(key: ChildKey) -> Entry {
        let options = Options { daemon: true, ..Options::default() };
        let options = ChildOptions::Boxed { options: Box::new(options), key_id: None, fed: false };
        Entry::Child(QueuedChild { options, ..QueuedChild::plain(key) })
    }

    fn keys(queue: &mut WaitQueue, len: usize) -> Vec<usize> {
        let mut keys = Vec::new();
        queue.check(len, |_, entry| match entry {
            Entry::Child(child) => keys.push(child.key),
            Entry::Waiter { key, .. } => keys.push(*key),
        });
        keys
    }

    fn pop(queue: &mut WaitQueue) -> Option<(Position, WaiterKey)> {
        match queue.pop()? {
            (position, Entry::Waiter { key, .. }) => Some((position, key)),
            (position, Entry::Child(child)) => Some((position, child.key)),
        }
    }

    #[test]
    fn entries_leave_by_priority_and_then_by_arrival() {
        let mut queue = WaitQueue::default();
        for (key, priority) in [0, -1, 5, 0, 5, -1].into_iter().enumerate() {
            let position = queue.next_position(priority);
            queue.insert(position, waiter(key));
        }
        assert_eq!(keys(&mut queue, 6), [2, 4, 0, 3, 1, 5]);
        for expected in [2, 4, 0, 3, 1, 5] {
            assert!(
                matches!(queue.first(), Some((_, Entry::Waiter { key, .. })) if *key == expected)
            );
            assert_eq!(pop(&mut queue).unwrap().1, expected);
        }
        assert!(queue.is_empty() && queue.first().is_none() && queue.pop().is_none());
    }

    #[test]
    fn an_entry_that_returns_to_its_position_is_where_it_was() {
        let mut queue = WaitQueue::default();
        for (key, priority) in [2, 2, 0, 0].into_iter().enumerate() {
            let position = queue.next_position(priority);
            queue.insert(position, waiter(key));
        }
        let (first, second) = (pop(&mut queue).unwrap(), pop(&mut queue).unwrap());
        queue.insert(second.0, waiter(second.1));
        queue.insert(first.0, waiter(first.1));
        assert_eq!(keys(&mut queue, 4), [0, 1, 2, 3]);
        assert!(queue.remove(second.0, None).is_some());
        assert!(queue.remove(second.0, None).is_none());
        assert_eq!(keys(&mut queue, 3), [0, 2, 3]);
    }

    #[test]
    fn there_are_few_lanes_and_any_number_of_priorities() {
        let mut queue = WaitQueue::default();
        let mut positions = Vec::new();
        for key in 0..40 {
            let position = queue.next_position(key as i32 % 7);
            queue.insert(position, waiter(key));
            positions.push(position);
        }
        keys(&mut queue, 40);
        for key in (0..40).step_by(3) {
            assert!(queue.remove(positions[key], None).is_some());
            assert!(queue.remove(positions[key], None).is_none());
        }
        let mut left: Vec<_> = (0..40).filter(|key| key % 3 != 0).collect();
        left.sort_by_key(|key| Reverse(key % 7));
        assert_eq!(keys(&mut queue, left.len()), left);
        let popped: Vec<_> = core::iter::from_fn(|| pop(&mut queue)).map(|(_, key)| key).collect();
        assert_eq!(popped, left);

        // An empty lane is given to another priority.
        for priority in [9, 8] {
            let position = queue.next_position(priority);
            queue.insert(position, waiter(0));
        }
        assert!(queue.main.others.is_empty());
        let position = queue.next_position(7);
        queue.insert(position, waiter(0));
        assert_eq!(queue.main.others.len(), 1);
    }

    #[test]
    fn an_empty_lane_keeps_little_memory() {
        let mut queue = WaitQueue::default();
        for _ in 0..100 {
            let position = queue.next_position(1);
            queue.insert(position, waiter(0));
        }
        while pop(&mut queue).is_some() {}
        assert!(queue.main.lanes.iter().all(|lane| lane.entries.capacity() <= RETAINED_ENTRIES));
    }

    #[test]
    fn a_newcomer_comes_before_lower_priorities_only() {
        let mut queue = WaitQueue::default();
        assert!(queue.yields_to(-9));
        let position = queue.next_position(1);
        queue.insert(position, waiter(0));
        assert!(queue.yields_to(2));
        assert!(!queue.yields_to(1));
        assert!(!queue.yields_to(0));
        let position = queue.next_position(0);
        queue.insert(position, waiter(1));
        pop(&mut queue);
        assert!(queue.yields_to(1));
        assert!(!queue.yields_to(0));
    }

    #[test]
    fn a_queue_of_daemons_holds_nothing_open_and_a_waiter_does() {
        let mut queue = WaitQueue::default();
        let position = queue.next_position(0);
        queue.insert(position, daemon(0));
        assert!(queue.has_only_daemons());
        let position = queue.next_position(3);
        queue.insert(position, waiter(1));
        assert!(!queue.has_only_daemons());
        assert!(queue.remove(position, None).is_some());
        assert!(queue.has_only_daemons());
        assert_eq!(keys(&mut queue, 1), [0]);
    }
}
