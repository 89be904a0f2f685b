//! Who stands in order: those who wait for room, in the line; behind its head those who have
//! been given room, in the inbox.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry as Ranked;
use core::cmp::Reverse;

use super::roll::Key;
use crate::child::task::Options;
use crate::child::{Child, Kind, Seal};
use crate::util::sparse_queue::SparseQueue;

/// A place in the line. Who came earlier has the lower; whose turn is first, the
/// [`WaitQueue`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Its number in the order of coming.
    pub(super) came: u64,
    pub(super) priority: i32,
}

/// Those who wait for room: children in the queue, and callers of `go` and `feed`. Higher
/// priority first, then who came first.
pub(super) struct WaitQueue<C> {
    /// Those of priority 0, as most are.
    plain: SparseQueue<Entry<C>>,
    /// The others by their priority; no row is empty.
    ranked: BTreeMap<Reverse<i32>, SparseQueue<Entry<C>>>,
}

/// Those who have room, and somebody before them or themselves are awaited.
pub(super) type Inbox<C> = SparseQueue<Slot<C>>;

pub(super) enum Entry<C> {
    /// A child that is admitted as soon as its turn comes.
    Queued(QueuedChild<C>),
    /// Somebody who is granted room when his turn comes, and then brings his child.
    Waiter(Waiter),
}

pub(super) enum Slot<C> {
    Child(QueuedChild<C>),
    /// Room that is granted to one who waited, and who has not come yet.
    Granted(Waiter),
    /// Room, so much, of one who has come, and brings the child.
    Taken(usize),
}

/// A child on its way to the set, with what was asked for it.
pub(super) struct QueuedChild<C> {
    pub(super) child: C,
    pub(super) options: Option<Box<Options>>,
}

/// What somebody wants who wants room.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) weight: usize,
    pub(super) priority: i32,
}

pub(super) struct Waiter {
    /// Its waker, if not woken yet; `None` where it is the group's own task, which is told by
    /// the bell.
    pub(super) key: Option<Key>,
    /// How much room it needs.
    pub(super) weight: usize,
    /// Where it stands, or stood before room was granted.
    pub(super) place: Place,
    /// Has been told to come, and has not come yet.
    pub(super) told: bool,
    /// Is to put its child into the queue and be done: it waits within a child, and waiting
    /// could never end.
    pub(super) to_queue: bool,
}

// === impl Line ===

impl<C> Default for WaitQueue<C> {
    fn default() -> Self {
        Self { plain: SparseQueue::default(), ranked: BTreeMap::new() }
    }
}

impl<C> WaitQueue<C> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.ranked.is_empty()
    }

    /// The priority of those whose turn is next; somebody waits.
    fn next_priority(&self) -> i32 {
        match self.ranked.first_key_value() {
            Some((&Reverse(priority), _)) if priority > 0 || self.plain.is_empty() => priority,
            _ => 0,
        }
    }

    /// Whether all who wait are of a lower priority.
    pub(super) fn gives_way_to(&self, priority: i32) -> bool {
        self.is_empty() || self.next_priority() < priority
    }

    fn row(&self, priority: i32) -> Option<&SparseQueue<Entry<C>>> {
        if priority == 0 { Some(&self.plain) } else { self.ranked.get(&Reverse(priority)) }
    }

    /// Whose turn is next.
    pub(super) fn first(&self) -> Option<&Entry<C>> {
        self.row(self.next_priority())?.first()
    }

    pub(super) fn pop(&mut self) -> Option<(Place, Entry<C>)> {
        let priority = self.next_priority();
        let (came, entry) = self.change(priority, SparseQueue::pop)?;
        Some((Place { came, priority }, entry))
    }

    /// Changes the row of that priority, if there is one.
    fn change<R>(
        &mut self,
        priority: i32,
        change: impl FnOnce(&mut SparseQueue<Entry<C>>) -> Option<R>,
    ) -> Option<R> {
        if priority == 0 {
            return change(&mut self.plain);
        }
        let Ranked::Occupied(mut row) = self.ranked.entry(Reverse(priority)) else {
            return None;
        };
        let result = change(row.get_mut());
        if row.get().is_empty() {
            row.remove();
        }
        result
    }

    fn row_or_add(&mut self, priority: i32) -> &mut SparseQueue<Entry<C>> {
        if priority == 0 {
            &mut self.plain
        } else {
            self.ranked.entry(Reverse(priority)).or_default()
        }
    }

    /// Adds one who comes behind all others of his priority.
    pub(super) fn push(&mut self, place: Place, entry: Entry<C>) {
        self.row_or_add(place.priority).push(place.came, entry);
    }

    /// Adds one who came before others that stand in line now.
    pub(super) fn insert(&mut self, place: Place, entry: Entry<C>) {
        self.row_or_add(place.priority).insert(place.came, entry);
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Entry<C>> {
        if place.priority == 0 {
            self.plain.get_mut(place.came)
        } else {
            self.ranked.get_mut(&Reverse(place.priority))?.get_mut(place.came)
        }
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Entry<C>> {
        self.change(place.priority, |row| row.remove(place.came))
    }

    /// Whether nobody waits but daemons in the queue.
    pub(super) fn has_daemons_only(&self) -> bool {
        let is_daemon = |entry: &Entry<C>| matches!(entry, Entry::Queued(load) if load.is_daemon());
        self.rows().flat_map(SparseQueue::iter).all(is_daemon)
    }

    /// In order.
    fn rows(&self) -> impl Iterator<Item = &SparseQueue<Entry<C>>> {
        let before = self.ranked.range(..Reverse(0)).map(|(_, row)| row);
        let after = self.ranked.range(Reverse(0)..).map(|(_, row)| row);
        before.chain([&self.plain]).chain(after)
    }

    /// The children of the queue, in order; the waiters are forgotten.
    pub(super) fn queued(mut self) -> impl Iterator<Item = QueuedChild<C>> {
        core::iter::from_fn(move || {
            loop {
                if let (_, Entry::Queued(load)) = self.pop()? {
                    return Some(load);
                }
            }
        })
    }

    /// The children of the queue, in order.
    pub(super) fn iter_queued(&self) -> impl Iterator<Item = &QueuedChild<C>> {
        self.rows().flat_map(SparseQueue::iter).filter_map(|entry| match entry {
            Entry::Queued(load) => Some(load),
            Entry::Waiter(_) => None,
        })
    }
}

// === impl Entry, Slot, Load, Want ===

impl<C> Entry<C> {
    /// How much room it needs.
    #[inline]
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Queued(load) => load.weight(),
            Self::Waiter(waiter) => waiter.weight,
        }
    }
}

impl<C> Slot<C> {
    /// How much room it has, if it is awaited.
    pub(super) fn awaited(&self) -> Option<usize> {
        match self {
            Self::Child(_) => None,
            Self::Granted(waiter) => Some(waiter.weight),
            Self::Taken(weight) => Some(*weight),
        }
    }
}

impl<C: Kind> QueuedChild<C> {
    #[inline]
    pub(super) fn new<A: Child<C>>(mut child: A) -> Self {
        // A child that is no `Task` has none, and pays for none.
        let options = child.options(Seal::new()).map(|options| Box::new(core::mem::take(options)));
        Self { child: child.into_child(Seal::new()), options }
    }
}

impl<C> QueuedChild<C> {
    #[inline]
    pub(super) fn weight(&self) -> usize {
        self.options.as_ref().map_or(1, |options| options.weight)
    }

    pub(super) fn priority(&self) -> i32 {
        self.options.as_ref().map_or(0, |options| options.priority)
    }

    fn is_daemon(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.daemon)
    }
}

impl Request {
    /// Of somebody who does not know yet what child he brings.
    pub(super) const PLAIN: Self = Self { weight: 1, priority: 0 };

    #[inline]
    pub(super) fn of<C: Kind, A: Child<C>>(child: &mut A) -> Self {
        match child.options(Seal::new()) {
            None => Self::PLAIN,
            Some(options) => Self { weight: options.weight, priority: options.priority },
        }
    }
}
