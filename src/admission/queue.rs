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

/// A position in the queue; the lower is admitted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    priority: Reverse<i32>,
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
    /// The entries of other priorities.
    ranked: BTreeMap<Position, Entry>,
    arrivals: u64,
    /// How many entries hold the group open: all but queued daemons.
    binding: usize,
}

// === impl Request ===

impl Request {
    /// What a plain child asks for.
    pub(crate) const PLAIN: Self = Self { weight: 1, priority: 0 };

    /// Returns what a child with these options asks for.
    #[inline]
    pub(crate) fn new(options: Option<&Options>) -> Self {
        options.map_or(Self::PLAIN, |it| Self { weight: it.weight, priority: it.priority })
    }
}

// === impl Position ===

impl Position {
    /// Returns the position of the same arrival among those of another priority.
    pub(crate) fn with_priority(self, priority: i32) -> Self {
        Self { priority: Reverse(priority), ..self }
    }

    pub(crate) fn priority(self) -> i32 {
        self.priority.0
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
    pub(crate) fn next_position(&mut self, priority: i32) -> Position {
        self.arrivals += 1;
        Position { priority: Reverse(priority), arrival: self.arrivals }
    }

    /// Returns `true` if the head of the queue is in `plain`.
    #[inline]
    fn is_plain_next(&self) -> bool {
        !self.plain.is_empty()
            && (self.ranked.is_empty()
                || self.ranked.keys().next().is_some_and(|it| it.priority() < 0))
    }

    /// Returns `true` if all entries have a lower priority.
    #[inline]
    pub(crate) fn yields_to(&self, priority: i32) -> bool {
        if self.is_empty() {
            return true;
        }
        let first = match self.ranked.keys().next() {
            Some(position) if !self.is_plain_next() => position.priority(),
            _ => 0,
        };
        first < priority
    }

    pub(crate) fn first(&self) -> Option<&Entry> {
        if self.is_plain_next() { self.plain.first() } else { self.ranked.values().next() }
    }

    pub(crate) fn pop(&mut self) -> Option<(Position, Entry)> {
        let (position, entry) = if self.is_plain_next() {
            let (arrival, entry) = self.plain.pop()?;
            (Position { priority: Reverse(0), arrival }, entry)
        } else {
            self.ranked.pop_first()?
        };
        self.binding -= usize::from(entry.is_binding());
        Some((position, entry))
    }

    /// Adds an entry, mostly behind all others of its priority.
    pub(crate) fn insert(&mut self, position: Position, entry: Entry) {
        self.binding += usize::from(entry.is_binding());
        if position.priority() != 0 {
            self.ranked.insert(position, entry);
        } else if position.arrival == self.arrivals {
            self.plain.push(position.arrival, entry);
        } else {
            self.plain.insert(position.arrival, entry);
        }
    }

    pub(crate) fn remove(&mut self, position: Position) -> Option<Entry> {
        let entry = if position.priority() == 0 {
            self.plain.remove(position.arrival)
        } else {
            self.ranked.remove(&position)
        }?;
        self.binding -= usize::from(entry.is_binding());
        Some(entry)
    }

    /// Takes all entries out, and returns the children among them, in order.
    pub(crate) fn take_children(&mut self) -> impl Iterator<Item = QueuedChild> + '_ {
        core::iter::from_fn(|| {
            loop {
                if let (_, Entry::Child(child)) = self.pop()? {
                    return Some(child);
                }
            }
        })
    }
}
