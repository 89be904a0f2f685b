//! Who stands in order: those who wait for room, in the line; behind its head those who have
//! been given room, in the inbox.

use super::roll::Key;
use super::row::Row;

/// Those who wait for room: children in the queue, and callers of `go` and `feed`.
pub(super) type Line<C> = Row<Entry<C>>;

/// Those who have room and are not yet with the group's set.
pub(super) type Inbox<C> = Row<Slot<C>>;

pub(super) enum Entry<C> {
    /// A child that is admitted as soon as its turn comes.
    Queued(C),
    /// Somebody who is granted room when his turn comes, and then brings his child.
    Waiter(Waiter),
}

pub(super) enum Slot<C> {
    Child(C),
    /// Room that is granted to one who waited, and who has not come yet.
    Granted(Waiter),
    /// Room of one who has come, and asks his stream for the child.
    Taken,
}

pub(super) struct Waiter {
    /// Its waker, if not woken yet; `None` where it is the group's own task, which is told by
    /// the bell.
    pub(super) key: Option<Key>,
    /// Has been told to come, and has not come yet.
    pub(super) told: bool,
    /// Is to put its child into the queue and be done: it waits within a child, and waiting
    /// could never end.
    pub(super) to_queue: bool,
}

/// The children of the queue, in order; the waiters are forgotten.
pub(super) fn queued<C>(line: Line<C>) -> impl Iterator<Item = C> {
    line.into_values().filter_map(|entry| match entry {
        Entry::Queued(child) => Some(child),
        Entry::Waiter(_) => None,
    })
}

/// The children of an inbox, in order.
pub(super) fn child<C>(slot: Slot<C>) -> Option<C> {
    match slot {
        Slot::Child(child) => Some(child),
        Slot::Granted(_) | Slot::Taken => None,
    }
}
