//! The order in which waiters and queued children are admitted: higher priority first, then
//! first come, first admitted.

use alloc::boxed::Box;
use alloc::vec::Vec;

use self::entries::{Entries, Place};
pub(crate) use self::entries::{Entry, Position};
pub(crate) use self::keys::KeyId;
use self::keys::Keys;
use crate::child::join::JoinId;
use crate::child::task::Options;
use crate::key::Key;

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
    main: Entries,
    arrivals: u64,
    /// How many entries hold the group open: all but queued daemons.
    binding: usize,
    /// How many entries are parked.
    parked: usize,
    /// Made for the first key.
    keys: Option<Box<Keys>>,
}

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

// === impl QueuedChild, ChildOptions ===

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

// The paths are written out since packages of tests compile this file as well.
#[path = "queue/entries.rs"]
mod entries;
#[path = "queue/keys.rs"]
mod keys;

#[cfg(test)]
impl WaitQueue {
    /// Calls `visit` with the entries, in the order of their positions, and checks the numbers;
    /// `len` is how many entries there are.
    pub(super) fn check(&self, len: usize, mut visit: impl FnMut(Position, &Entry)) {
        self.main.check();
        assert_eq!(self.keys.as_ref().map_or(0, |keys| keys.check(&self.main)), self.parked);
        let parked = self.keys.iter().flat_map(|keys| keys.parked());
        let all = self.main.iter(usize::MAX).chain(parked);
        let all: Vec<_> = all.collect();
        let sorted: alloc::collections::BTreeMap<_, _> = all.iter().copied().collect();
        assert_eq!((all.len(), sorted.len()), (len, len));
        assert_eq!(self.binding, all.iter().filter(|(_, entry)| entry.is_binding()).count());
        sorted.into_iter().for_each(|(position, entry)| visit(position, entry));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::cmp::Reverse;

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
        assert_eq!(queue.main.in_others(), 0);
        let position = queue.next_position(7);
        queue.insert(position, waiter(0));
        assert_eq!(queue.main.in_others(), 1);
    }

    #[test]
    fn an_empty_lane_keeps_little_memory() {
        let mut queue = WaitQueue::default();
        for _ in 0..100 {
            let position = queue.next_position(1);
            queue.insert(position, waiter(0));
        }
        while pop(&mut queue).is_some() {}
        queue.main.check();
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
