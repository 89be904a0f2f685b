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
    /// The one waiter that the group itself may have, in its place among the others. Apart,
    /// since it comes and goes with nearly every child of a group at its limit.
    owner: Option<(Place, Entry<C>)>,
    next: Place,
}

impl<C> Default for Line<C> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), owner: None, next: 0 }
    }
}

impl<C> Line<C> {
    pub(super) fn is_empty(&self) -> bool {
        self.owner.is_none() && self.entries.is_empty()
    }

    pub(super) fn push(&mut self, entry: Entry<C>) -> Place {
        let place = self.next;
        self.next += 1;
        match &entry {
            Entry::Waiter(waiter) if waiter.waker.is_none() && self.owner.is_none() => {
                self.owner = Some((place, entry));
            }
            _ => {
                self.entries.insert(place, entry);
            }
        }
        place
    }

    fn first_place(&self) -> Option<Place> {
        let owner = self.owner.as_ref().map(|&(place, _)| place);
        let other = self.entries.first_key_value().map(|(&place, _)| place);
        owner.into_iter().chain(other).min()
    }

    pub(super) fn is_first(&self, place: Place) -> bool {
        self.first_place() == Some(place)
    }

    pub(super) fn first(&mut self) -> Option<&mut Entry<C>> {
        let place = self.first_place()?;
        self.get(place)
    }

    pub(super) fn pop(&mut self) -> Option<Entry<C>> {
        let place = self.first_place()?;
        self.remove(place)
    }

    fn get(&mut self, place: Place) -> Option<&mut Entry<C>> {
        match &mut self.owner {
            Some((at, entry)) if *at == place => Some(entry),
            _ => self.entries.get_mut(&place),
        }
    }

    pub(super) fn waiter(&mut self, place: Place) -> Option<&mut Waiter> {
        match self.get(place) {
            Some(Entry::Waiter(waiter)) => Some(waiter),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Entry<C>> {
        match self.owner.take_if(|(at, _)| *at == place) {
            Some((_, entry)) => Some(entry),
            None => self.entries.remove(&place),
        }
    }

    /// Puts a child where its waiter stood.
    pub(super) fn replace(&mut self, place: Place, child: C) -> Option<Entry<C>> {
        let waiter = self.remove(place);
        self.entries.insert(place, Entry::Queued(child));
        waiter
    }

    /// The children of the queue, in order; the waiters are forgotten.
    pub(super) fn into_queued(self) -> impl Iterator<Item = C> {
        self.entries.into_values().filter_map(|entry| match entry {
            Entry::Queued(child) => Some(child),
            Entry::Waiter(_) => None,
        })
    }
}
