//! The order in which waiters and queued children are admitted: higher priority first, then
//! first come, first admitted.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::cmp::Reverse;

use crate::child::join::JoinId;
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

/// A child that is not in the set yet: its key, the options that its task was given if they are not
/// the usual ones, and the name under which it can be aborted.
#[derive(Debug)]
pub(crate) struct QueuedChild {
    pub(crate) key: ChildKey,
    pub(crate) options: Option<Box<Options>>,
    /// Its name, if it is joinable.
    pub(crate) join: Option<JoinId>,
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

#[cfg(test)]
impl WaitQueue {
    /// Calls `visit` with the entries, in the order of admission, and checks the numbers; `len` is
    /// how many entries there are. One that came back to a position that another has left may not
    /// be found.
    pub(super) fn check(&mut self, len: usize, mut visit: impl FnMut(Position, &Entry)) {
        let (mut found, mut binding) = (0, 0);
        let ranked = self.ranked.iter_mut().map(|(priority, entries)| (priority.0, entries));
        let mut lists: alloc::vec::Vec<_> = ranked.chain([(0, &mut self.plain)]).collect();
        lists.sort_by_key(|(priority, _)| Reverse(*priority));
        for (priority, entries) in lists {
            assert!(priority == 0 || !entries.is_empty(), "a list is empty");
            for arrival in 1..=self.arrivals {
                if let Some(entry) = entries.get_mut(arrival) {
                    found += 1;
                    binding += usize::from(entry.is_binding());
                    visit(Position { priority, arrival }, entry);
                }
            }
        }
        assert!(found <= len);
        assert!(self.binding == binding || found < len);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn waiter(key: WaiterKey) -> Entry {
        Entry::Waiter { key, weight: 1 }
    }

    fn daemon(key: ChildKey) -> Entry {
        let options = Options { daemon: true, ..Options::default() };
        Entry::Child(QueuedChild { key, options: Some(Box::new(options)), join: None })
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
            assert!(matches!(queue.first(), Some(Entry::Waiter { key, .. }) if *key == expected));
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
        assert!(queue.remove(second.0).is_some());
        assert!(queue.remove(second.0).is_none());
        assert_eq!(keys(&mut queue, 3), [0, 2, 3]);
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
        assert!(queue.remove(position).is_some());
        assert!(queue.has_only_daemons());
        assert_eq!(keys(&mut queue, 1), [0]);
    }
}
