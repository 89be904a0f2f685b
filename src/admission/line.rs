//! The line of those who wait for room: children in the queue, and callers of `go` and
//! `feed`, in the order in which they came.

use alloc::collections::BTreeMap;
use core::task::Waker;

/// A place in the line; the lower came earlier.
pub(crate) type Place = u64;

pub(super) enum Entry<C> {
    /// A child that is admitted as soon as its turn comes.
    Queued(C),
    /// Somebody who takes the room himself when he is told that there is some.
    Waiter(Waiter),
}

pub(super) struct Waiter {
    /// How to tell; `None` where it is the group's own task, which is told by the bell.
    pub(super) waker: Option<Waker>,
    /// Has been told that there is room for it, and has not come yet.
    pub(super) told: bool,
    /// Is to put its child into the queue and be done: it waits within a child, and waiting
    /// could never end.
    pub(super) to_queue: bool,
}

pub(super) struct Line<C> {
    entries: BTreeMap<Place, Entry<C>>,
    next: Place,
}

impl<C> Default for Line<C> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), next: 0 }
    }
}

impl<C> Line<C> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, entry: Entry<C>) -> Place {
        let place = self.next;
        self.next += 1;
        self.entries.insert(place, entry);
        place
    }

    pub(super) fn is_first(&self, place: Place) -> bool {
        self.entries.first_key_value().is_some_and(|(&first, _)| first == place)
    }

    pub(super) fn first(&mut self) -> Option<&mut Entry<C>> {
        self.entries.first_entry().map(|entry| entry.into_mut())
    }

    pub(super) fn pop(&mut self) -> Option<Entry<C>> {
        self.entries.pop_first().map(|(_, entry)| entry)
    }

    pub(super) fn waiter(&mut self, place: Place) -> Option<&mut Waiter> {
        match self.entries.get_mut(&place) {
            Some(Entry::Waiter(waiter)) => Some(waiter),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Entry<C>> {
        self.entries.remove(&place)
    }

    /// Puts a child where its waiter stood.
    pub(super) fn replace(&mut self, place: Place, child: C) -> Option<Entry<C>> {
        self.entries.insert(place, Entry::Queued(child))
    }

    /// The children of the queue, in order; the waiters are forgotten.
    pub(super) fn into_queued(self) -> impl Iterator<Item = C> {
        self.entries.into_values().filter_map(|entry| match entry {
            Entry::Queued(child) => Some(child),
            Entry::Waiter(_) => None,
        })
    }
}
