//! Which child would be the next to run, and whether it could.

use std::cmp::Reverse;
use std::rc::Rc;

use crate::record::{Call, ChildRecord, GateRecord, GroupRecord, Stage};
use crate::world::World;

/// What waits for room in a group: a child, a reservation, a `feed` or a `ready`.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    came_at: usize,
    priority: i32,
    key: Option<usize>,
    weight: usize,
    unique: bool,
    /// Its place in the queue is not known exactly.
    is_vague: bool,
}

impl Entry {
    /// A `ready` comes last, whatever the priorities of others.
    const LAST: usize = usize::MAX;

    fn new(came_at: usize, is_vague: bool, child: Option<&ChildRecord>) -> Self {
        let options = child.map(|child| &child.options);
        Self {
            came_at,
            is_vague,
            priority: options.map_or(0, |options| options.priority),
            key: options.and_then(|options| options.key),
            weight: options.map_or(1, |options| options.weight),
            unique: options.is_some_and(|options| options.unique),
        }
    }

    fn is_last(&self) -> bool {
        self.came_at == Self::LAST
    }

    fn order(&self) -> (bool, Reverse<i32>, usize) {
        (self.is_last(), Reverse(self.priority), self.came_at)
    }
}

impl GroupRecord {
    /// Returns what waits for room, in its order.
    pub(super) fn entries(&self, polls_end_early: bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        for _ in 0..self.nested_slots.get() {
            entries.push(Entry::new(0, true, None));
        }
        for child in &*self.children.borrow() {
            if child.is_in(Stage::Accepted) && !child.aborted.get() {
                let (came_at, is_vague) = (child.offered_at.get(), child.has_vague_place.get());
                entries.push(Entry::new(came_at, is_vague, Some(child)));
            }
        }
        for waiter in &*self.waiters.borrow() {
            let (child, polled_at) = (waiter.child.as_deref(), waiter.polled_at.get());
            let is_accepted = child.is_some_and(|child| !child.is_in(Stage::Offered));
            match waiter.call {
                Call::Go if is_accepted => {}
                Call::Feed if !waiter.is_in_line() => {}
                Call::Feed => entries.push(Entry::new(polled_at, true, None)),
                Call::Ready => entries.push(Entry::new(Entry::LAST, false, None)),
                Call::Go | Call::Reserve => {
                    // Then the owner's `go` may take its place later than it was polled.
                    let is_late =
                        polls_end_early && child.is_some_and(|child| child.came_by_owner.get());
                    entries.push(Entry::new(polled_at, is_late, child));
                }
            }
        }
        entries.sort_by_key(Entry::order);
        entries
    }

    /// Returns `true` if a child waits that is to be the only one of its key.
    pub(crate) fn awaits_unique_key(&self) -> bool {
        self.entries(false).iter().any(|entry| entry.unique)
    }

    /// Returns `true` if there is room for the entry in its key, beside these children.
    fn key_fits(&self, entry: &Entry, children: &[Rc<ChildRecord>]) -> bool {
        let Some(key) = entry.key else { return true };
        let same = children.iter().filter(|child| child.options.key == Some(key));
        let same: Vec<usize> = same.map(|child| child.options.weight).collect();
        fits(self.key_limits[key].current(), same.iter().sum(), entry.weight)
            && (same.is_empty() || !entry.unique)
    }

    /// Returns the entries that may be the next to be admitted, or `None` if that is not known.
    ///
    /// There are several if the place of some is not known exactly.
    fn heads<'a>(
        &self,
        entries: &'a [Entry],
        children: &[Rc<ChildRecord>],
    ) -> Option<Vec<&'a Entry>> {
        let mut candidates: Vec<&Entry> = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            // Of each key, the first is a candidate.
            if entry.key.is_none() {
                candidates.push(entry);
                continue;
            }
            if entries[..at].iter().any(|before| before.key == entry.key) {
                continue;
            }
            let same = || entries.iter().filter(|other| other.key == entry.key);
            if !same().any(|other| other.is_vague) {
                candidates.extend(self.key_fits(entry, children).then_some(entry));
            } else if same().all(|other| self.key_fits(other, children)) {
                candidates.extend(same());
            } else if same().any(|other| self.key_fits(other, children)) {
                return None;
            }
        }
        candidates.sort_by_key(|entry| entry.order());
        let first = candidates.iter().find(|entry| !entry.is_vague);
        let vague = candidates.iter().filter(|entry| entry.is_vague);
        Some(first.into_iter().chain(vague).copied().collect())
    }
}

impl World {
    /// Checks that no child waits that could run.
    pub(super) fn check_admission(&self, group: &GroupRecord, entries: &[Entry]) {
        let children = group.with_room();
        let Some(heads) = group.heads(entries, &children) else { return };
        let taken: usize = children.iter().map(|child| child.options.weight).sum();
        let taken = taken + group.all_slots();
        // A `ready` waits until the queue is empty.
        let is_queue_first =
            heads.iter().all(|head| head.is_last()) && entries.iter().any(|it| !it.is_last());
        let limit = group.limit.current();
        let all_fit = !heads.is_empty()
            && !is_queue_first
            && heads.iter().all(|head| fits(limit, taken, head.weight));
        if !all_fit {
            self.check_nested(group, entries);
            return;
        }
        // A slot that a child has may have room already.
        let is_child = heads.iter().any(|head| head.came_at > 0);
        // A `feed` may have given a child with a key to the queue, behind which it waits.
        let is_behind_fed = entries.iter().any(|it| it.is_vague && it.key.is_some())
            && entries.iter().any(|it| it.is_vague && it.key.is_none());
        if is_child && !is_behind_fed && self.passes(group) {
            self.fault(format_args!(
                "g{}: stands still, though {heads:?} could run beside {taken}",
                group.id
            ));
        }
    }

    /// Returns `true` if neither a gate nor the semaphore delays the next child.
    fn passes(&self, group: &GroupRecord) -> bool {
        let delays = |gate: &Rc<GateRecord>| {
            let pending = gate.pending.borrow();
            pending.as_ref().is_some_and(|latch| !latch.is_open() && latch.is_waited_for())
        };
        !group.gates.iter().any(delays) && (!group.has_semaphore || self.permit_is_free())
    }

    /// Checks that the children do not all wait for room in their own group.
    fn check_nested(&self, group: &GroupRecord, entries: &[Entry]) {
        let waiters = group.waiters.borrow();
        let waits = |child: &Rc<ChildRecord>| {
            let mut waiters = waiters.iter().filter(|waiter| waiter.call != Call::Ready);
            waiters.any(|waiter| waiter.is_in_line() && waiter.is_inside(child))
        };
        // Documented: a daemon that is alone is not helped on if it waits for room.
        let mut workers = group.running();
        workers.retain(|child| !child.options.daemon);
        if !workers.is_empty()
            && workers.iter().all(waits)
            && group.unread.borrow().is_empty()
            && group.all_slots() == 0
            && group.gates.is_empty()
            && !group.has_semaphore
            && !entries.is_empty()
        {
            self.fault(format_args!("g{}: all children wait for room", group.id));
        }
    }
}

/// Returns `true` if there is room for that weight.
fn fits(limit: Option<usize>, taken: usize, weight: usize) -> bool {
    match limit {
        None => true,
        Some(0) => false,
        Some(limit) => weight == 0 || taken == 0 || taken + weight <= limit,
    }
}
