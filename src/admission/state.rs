//! The numbers, the line and the inbox of a group, and what keeps them settled: its own, or
//! behind the lock that it shares with its handles.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Ended;
use super::end::End;
use super::line::{Entry, Inbox, Line, Slot, Waiter};
use super::nested::Nested;
use super::roll::Key;
use super::row::Place;
use crate::Stats;

pub(super) struct State<C> {
    /// `queued` to `dropped` and the limit, as users see them; but who runs is counted in
    /// `used`.
    pub(super) stats: Stats,
    /// Room that is taken.
    pub(super) used: usize,
    /// How many may enter a group without handles with no further look; there may be room for
    /// more.
    pub(super) quick: usize,
    /// How many of those who run have finished, and keep their room until another child's
    /// result has been fetched.
    pub(super) held: usize,
    /// Room whose child is awaited: so many slots of the inbox are.
    pub(super) granted: usize,
    /// The index of the next child to leave the inbox.
    pub(super) next_index: usize,
    next_place: Place,
    pub(super) line: Line<C>,
    pub(super) nested: Nested,
    pub(super) inbox: Inbox<C>,
    /// Somebody who held the group open may have gone; for `settle` to look at.
    pub(super) left: bool,
    pub(super) closed: bool,
    /// The end has been announced: the children are gone too.
    pub(super) ended: bool,
    /// Made for the first who waits for it.
    pub(super) end: Option<Arc<End>>,
}

/// Who is to be told of a change once the lock is free: each waiter once, when room is granted
/// to it, or when it is to use the queue.
#[derive(Default)]
#[must_use]
pub(super) struct Calls {
    /// The first; mostly there is one.
    pub(super) first: Option<Key>,
    pub(super) more: Vec<Key>,
    pub(super) ring: bool,
}

// === impl State ===

impl<C> State<C> {
    pub(super) fn new() -> Self {
        Self {
            stats: Stats::default(),
            used: 0,
            quick: 0,
            held: 0,
            granted: 0,
            next_index: 0,
            next_place: 0,
            line: Line::default(),
            nested: Nested::default(),
            inbox: Inbox::default(),
            left: false,
            closed: false,
            ended: false,
            end: None,
        }
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.used - self.granted
    }

    /// The numbers for users.
    pub(super) fn stats(&self) -> Stats {
        Stats { running: self.running(), ..self.stats }
    }

    /// Whether there is room for one more.
    #[inline]
    pub(super) fn fits(&self) -> bool {
        self.stats.limit.is_none_or(|limit| self.used < limit)
    }

    /// Whether there is room for one who does not stand in line.
    pub(super) fn admits_newcomers(&self) -> bool {
        self.line.is_empty() && self.fits()
    }

    /// The place of one who comes now.
    fn next_place(&mut self) -> Place {
        let place = self.next_place;
        self.next_place += 1;
        place
    }

    /// Puts one who waits at the end of the line.
    pub(super) fn stand(&mut self, entry: Entry<C>) -> Place {
        let place = self.next_place();
        self.line.push(place, entry);
        place
    }

    /// Takes room for a child that goes to the set at once; gives its index.
    #[inline]
    pub(super) fn enter(&mut self) -> usize {
        self.used += 1;
        let index = self.next_index;
        self.next_index += 1;
        index
    }

    /// Admits a newcomer.
    pub(super) fn admit(&mut self, child: C) {
        self.used += 1;
        let place = self.next_place();
        self.inbox.push(place, Slot::Child(child));
    }

    /// Takes room for a newcomer whose child is awaited.
    pub(super) fn grant_newcomer(&mut self) -> Place {
        let place = self.next_place();
        self.grant(place, Slot::Taken);
        place
    }

    fn grant(&mut self, place: Place, slot: Slot<C>) {
        self.used += 1;
        self.granted += 1;
        self.inbox.push(place, slot);
    }

    /// Whether there is room for one who waited; if so, he has come, and has it.
    /// Gives his key.
    pub(super) fn take_grant(&mut self, place: Place) -> Option<Option<Key>> {
        if self.granted == 0 {
            return None;
        }
        match self.inbox.get_mut(place) {
            Some(slot @ Slot::Granted(_)) => match core::mem::replace(slot, Slot::Taken) {
                Slot::Granted(waiter) => Some(waiter.key),
                _ => None,
            },
            _ => None,
        }
    }

    /// Brings the child for which room was granted. Gives it back where it is not any more.
    pub(super) fn fill(&mut self, place: Place, child: C) -> Result<(), C> {
        match self.inbox.get_mut(place) {
            Some(slot @ (Slot::Granted(_) | Slot::Taken)) => {
                *slot = Slot::Child(child);
                self.granted -= 1;
                Ok(())
            }
            _ => Err(child),
        }
    }

    /// Gives back room that was granted, if it is still. Gives the key of who had it.
    pub(super) fn give_back(&mut self, place: Place) -> Option<Key> {
        let slot = if self.granted > 0 { self.inbox.get_mut(place) } else { None };
        let key = match slot {
            Some(Slot::Granted(waiter)) => waiter.key,
            Some(Slot::Taken) => None,
            _ => return None,
        };
        self.inbox.remove(place);
        self.granted -= 1;
        self.used -= 1;
        key
    }

    /// Whether there is a child that may go to the set.
    pub(super) fn has_mail(&self) -> bool {
        matches!(self.inbox.first(), Some(Slot::Child(_)))
    }

    /// Moves the children that may go to the set into `batch`, which is empty; gives the index
    /// of the first.
    pub(super) fn take_inbox(&mut self, batch: &mut Inbox<C>) -> usize {
        if self.granted == 0 {
            core::mem::swap(&mut self.inbox, batch);
        } else {
            // Whoever stands behind one who is awaited does not start before him.
            while self.has_mail() {
                if let Some((place, slot)) = self.inbox.pop() {
                    batch.push(place, slot);
                }
            }
        }
        let first = self.next_index;
        self.next_index += batch.len();
        first
    }

    /// A running child is gone; its room is free.
    #[inline]
    pub(super) fn end(&mut self, ended: Ended) {
        self.used -= 1;
        *match ended {
            Ended::Ok => &mut self.stats.ok,
            Ended::Failed => &mut self.stats.failed,
            Ended::Dropped => &mut self.stats.dropped,
        } += 1;
    }

    /// Clears the line after a stop, and takes back what was granted; the children that stood
    /// in line are to be dropped.
    pub(super) fn clear_line(&mut self) -> Line<C> {
        self.stats.dropped += core::mem::take(&mut self.stats.queued);
        self.nested = Nested::default();
        if self.granted > 0 {
            self.inbox.retain(|slot| matches!(slot, Slot::Child(_)));
            self.used -= core::mem::take(&mut self.granted);
        }
        core::mem::take(&mut self.line)
    }

    /// Whether nothing runs and nobody waits; after a stop, nobody is waited for.
    fn is_over(&self, stopped: bool) -> bool {
        if stopped { self.running() == 0 } else { self.used == 0 && self.line.is_empty() }
    }

    /// Closes the group if nothing runs and nothing waits.
    pub(super) fn try_close(&mut self, stopped: bool) -> bool {
        self.closed = self.is_over(stopped);
        self.quick = 0;
        self.closed
    }

    /// Closes the group whatever runs: admission ends here. What ran counts as dropped. Gives
    /// those who were admitted and are not in the set.
    pub(super) fn close_now(&mut self) -> Inbox<C> {
        self.closed = true;
        self.quick = 0;
        self.stats.dropped += self.running();
        (self.used, self.granted, self.held) = (0, 0, 0);
        core::mem::take(&mut self.inbox)
    }

    /// Whether a child was ever accepted.
    pub(super) fn has_accepted(&self) -> bool {
        let Stats { queued, dropped, .. } = self.stats;
        self.next_index > 0 || self.running() > 0 || queued > 0 || dropped > 0
    }

    /// Restores the invariants of the line after a change.
    pub(super) fn settle(&mut self, stopped: bool, calls: &mut Calls) {
        if !stopped && !self.closed {
            self.take_back();
            while self.fits() {
                match self.line.pop() {
                    Some((place, Entry::Queued(child))) => {
                        self.stats.queued -= 1;
                        self.used += 1;
                        self.inbox.push(place, Slot::Child(child));
                    }
                    Some((place, Entry::Waiter(mut waiter))) => {
                        self.nested.remove(place);
                        waiter.call(calls);
                        self.grant(place, Slot::Granted(waiter));
                    }
                    None => break,
                }
            }
            self.settle_nested(calls);
        }
        // New children to poll, or an end to come to.
        let left = core::mem::take(&mut self.left);
        calls.ring |= self.has_mail() || (left && self.is_over(stopped));
    }

    /// Takes granted room back, after the limit has been lowered: of those who have not come,
    /// last come first, up to one behind whom a child stands already (it can't go back to the
    /// queue, and does not start before him). Each stands in line again where he stood.
    fn take_back(&mut self) {
        while self.granted > 0 && self.stats.limit.is_some_and(|limit| self.used > limit) {
            let Some((place, Slot::Granted(_))) = self.inbox.last() else {
                return;
            };
            if let Some(Slot::Granted(waiter)) = self.inbox.remove(place) {
                self.granted -= 1;
                self.used -= 1;
                // He has been told, and stands in no child until he has come.
                self.line.push_first(place, Entry::Waiter(waiter));
            }
        }
    }

    fn settle_nested(&mut self, calls: &mut Calls) {
        // Where somebody is awaited, it is not the end yet: he brings a child that may run, or
        // gives his room back.
        let stuck = self.nested.children() > 0
            && self.nested.children() == self.running() - self.held
            && self.granted == 0
            && !self.fits();
        if !stuck {
            return;
        }
        if let Some(place) = self.nested.oldest() {
            // It goes on now; so its child no longer counts as waiting for this one.
            self.nested.remove(place);
            if let Some(Entry::Waiter(waiter)) = self.line.get_mut(place) {
                waiter.to_queue = true;
                waiter.call(calls);
            }
        }
    }
}

// === impl Waiter ===

impl Waiter {
    /// Tells it, once, to come.
    pub(super) fn call(&mut self, calls: &mut Calls) {
        if !core::mem::replace(&mut self.told, true) {
            match self.key {
                None => calls.ring = true,
                Some(key) if calls.first.is_none() => calls.first = Some(key),
                Some(key) => calls.more.push(key),
            }
        }
    }
}
