//! The order in which waiters and queued children are admitted: higher priority first, then
//! first come, first admitted.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::cmp::Reverse;

use crate::child::task::Options;
use crate::util::sparse_queue::SparseQueue;

/// Names a child in the group's store, from its acceptance until it goes to the set.
pub(crate) type ChildKey = usize;

/// Names a waiter, for as long as its owner keeps it.
pub(crate) type WaiterKey = usize;

/// The room that a child or a waiter asks for, and its priority.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) weight: usize,
    pub(crate) priority: i32,
}

/// A child that is not in the set yet: its key, and the options that its task was given.
#[derive(Debug)]
pub(crate) struct QueuedChild {
    pub(crate) key: ChildKey,
    pub(crate) options: Option<Box<Options>>,
}

/// A position in the queue: behind higher priorities, and behind earlier arrivals of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) priority: i32,
    pub(crate) arrival: u64,
}

#[derive(Debug)]
pub(crate) enum Entry {
    /// A child that starts as soon as it has room.
    Child(QueuedChild),
    /// A caller of `go` or `feed` that delivers its child once room is reserved for it.
    Waiter { key: WaiterKey, weight: usize },
}

/// Waiters and queued children, in the order of admission.
#[derive(Default)]
pub(crate) struct WaitQueue {
    /// The entries of priority 0, as most are, by their arrival.
    plain: SparseQueue<Entry>,
    /// The entries of each other priority, by their arrival; no list is empty.
    ranked: BTreeMap<Reverse<i32>, SparseQueue<Entry>>,
    arrivals: u64,
    /// How many entries hold the group open: all but queued daemons.
    binding: usize,
}

// === impl Request ===

impl Request {
    /// What a plain child asks for.
    pub(crate) const PLAIN: Self = Self { weight: 1, priority: 0 };

    /// What a plain child asks for that overtakes nothing.
    pub(crate) const LAST: Self = Self { weight: 1, priority: i32::MIN };

    /// Returns what a child with these options asks for.
    #[inline]
    pub(crate) fn new(options: Option<&Options>) -> Self {
        options.map_or(Self::PLAIN, |it| Self { weight: it.weight, priority: it.priority })
    }
}

// === impl QueuedChild, Entry ===

impl QueuedChild {
    pub(crate) fn request(&self) -> Request {
        Request::new(self.options.as_deref())
    }

    pub(crate) fn is_daemon(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.daemon)
    }
}

impl Entry {
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Child(child) => child.request().weight,
            Self::Waiter { weight, .. } => *weight,
        }
    }

    /// Returns `true` if a group that has this entry can't end.
    fn is_binding(&self) -> bool {
        !matches!(self, Self::Child(child) if child.is_daemon())
    }
}

// === impl WaitQueue ===

impl WaitQueue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.ranked.is_empty()
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

    /// Returns the priority of the head, if there is one.
    #[inline]
    fn first_priority(&self) -> Option<i32> {
        let ranked = self.ranked.keys().next().map(|priority| priority.0);
        if self.plain.is_empty() { ranked } else { Some(ranked.map_or(0, |first| first.max(0))) }
    }

    /// Returns `true` if all entries have a lower priority.
    #[inline]
    pub(crate) fn yields_to(&self, priority: i32) -> bool {
        self.is_empty() || self.first_priority().is_none_or(|first| first < priority)
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<&Entry> {
        if self.ranked.is_empty() {
            return self.plain.first();
        }
        match self.first_priority()? {
            0 => self.plain.first(),
            priority => self.ranked.get(&Reverse(priority))?.first(),
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(Position, Entry)> {
        let (priority, (arrival, entry)) = if self.ranked.is_empty() {
            (0, self.plain.pop()?)
        } else {
            let priority = self.first_priority()?;
            (priority, self.change(priority, SparseQueue::pop)?)
        };
        self.binding -= usize::from(entry.is_binding());
        Some((Position { priority, arrival }, entry))
    }

    /// Adds an entry, mostly behind all others of its priority.
    #[inline]
    pub(crate) fn insert(&mut self, position: Position, entry: Entry) {
        self.binding += usize::from(entry.is_binding());
        let Position { priority, arrival } = position;
        let entries = if priority == 0 {
            &mut self.plain
        } else {
            self.ranked.entry(Reverse(priority)).or_default()
        };
        if arrival == self.arrivals {
            entries.push(arrival, entry);
        } else {
            entries.insert(arrival, entry);
        }
    }

    pub(crate) fn remove(&mut self, position: Position) -> Option<Entry> {
        let entry = self.change(position.priority, |entries| entries.remove(position.arrival))?;
        self.binding -= usize::from(entry.is_binding());
        Some(entry)
    }

    /// Changes the entries of a priority, if there are any.
    #[inline]
    fn change<R>(
        &mut self,
        priority: i32,
        change: impl FnOnce(&mut SparseQueue<Entry>) -> Option<R>,
    ) -> Option<R> {
        if priority == 0 {
            return change(&mut self.plain);
        }
        let entries = self.ranked.get_mut(&Reverse(priority))?;
        let result = change(entries);
        if entries.is_empty() {
            self.ranked.remove(&Reverse(priority));
        }
        result
    }
}
