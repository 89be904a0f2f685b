//! What is done after each change: room goes to those whose turn it is.

use alloc::vec::Vec;

use super::line::{Entry, Place, Slot, Waiter};
use super::roll::Key;
use super::state::State;
use crate::spawned::Spawns;

/// What is to be done for others once the lock is free.
#[derive(Default)]
#[must_use]
pub(super) struct Effects {
    /// Those to be told, each once, when room is granted to them, or when they are to use the
    /// queue. The first; mostly there is one.
    pub(super) first: Option<Key>,
    pub(super) more: Vec<Key>,
    pub(super) ring: bool,
    /// Nobody waits for a permit any more.
    pub(super) leave: bool,
    /// So many permits go back to the semaphore.
    pub(super) permits: usize,
    /// Children that run elsewhere, and have started.
    pub(super) starts: Spawns,
}

// === impl State ===

impl<C> State<C> {
    /// Restores the invariants of the line after a change.
    pub(super) fn settle(&mut self, stopped: bool, effects: &mut Effects) {
        let mut lacks_permit = false;
        let admits = !stopped && !self.closed;
        if admits {
            if self.granted > 0 {
                self.take_back();
            }
            if !self.line.is_empty() {
                lacks_permit = self.admit_line(effects);
            }
        }
        while let Some(Slot::Child(_)) = self.inbox.first() {
            if let Some((_, Slot::Child(load))) = self.inbox.pop() {
                self.start(load);
            }
        }
        if admits && self.nested.children() > 0 {
            self.settle_nested(effects);
        }
        if let Some(permits) = &mut self.permits {
            // The group waits for it from now on, or no longer.
            let before = core::mem::replace(&mut permits.wanted, lacks_permit);
            effects.ring |= before != lacks_permit;
            effects.leave |= before && !lacks_permit;
        }
        // New children to poll, or an end to come to.
        let left = core::mem::take(&mut self.left);
        effects.ring |= self.has_mail() || (left && self.may_end(stopped));
    }

    /// Gives room to those whose turn it is. Whether the first of those that are left lacks a
    /// permit alone.
    fn admit_line(&mut self, effects: &mut Effects) -> bool {
        while let Some(weight) = self.line.first().map(Entry::weight) {
            if !self.fits(weight) {
                return false;
            }
            if !self.take_permit() {
                return true;
            }
            match self.line.pop() {
                Some((place, Entry::Queued(load))) => {
                    self.stats.queued -= 1;
                    self.take_room(weight);
                    if self.inbox.is_empty() {
                        self.start(load);
                    } else {
                        let came = self.inbox_number(place.came);
                        self.inbox.push(came, Slot::Child(load));
                    }
                }
                Some((place, Entry::Waiter(mut waiter))) => {
                    self.nested.remove(place);
                    waiter.call(effects);
                    self.grant(place, weight, Slot::Granted(waiter));
                }
                None => break,
            }
        }
        false
    }

    /// Notes within which child he waits, if he does in one that the group waits for.
    pub(super) fn waits_within(&mut self, place: Place, child: Option<usize>) {
        let mark = child.and_then(|child| self.marks.get_mut(child as u64));
        let is_daemon = mark.is_some_and(|mark| mark.daemon);
        let child = child.filter(|_| !is_daemon);
        self.nested.set(place, child);
    }

    /// He waits in line no more.
    pub(super) fn waits_no_more(&mut self, place: Place) {
        self.nested.remove(place);
    }

    fn settle_nested(&mut self, effects: &mut Effects) {
        // Where somebody is awaited, it is not the end yet: he brings a child that may run, or
        // gives his room back.
        let stuck = self.nested.children() + self.daemons == self.running() - self.held
            && self.granted == 0;
        if !stuck {
            return;
        }
        if let Some(place) = self.nested.oldest() {
            // It goes on now; so its child no longer counts as waiting for this one.
            self.nested.remove(place);
            if let Some(Entry::Waiter(waiter)) = self.line.get_mut(place) {
                waiter.to_queue = true;
                waiter.call(effects);
            }
        }
    }
}

// === impl Waiter ===

impl Waiter {
    /// Tells it, once, to come.
    pub(super) fn call(&mut self, effects: &mut Effects) {
        if !core::mem::replace(&mut self.told, true) {
            match self.key {
                None => effects.ring = true,
                Some(key) if effects.first.is_none() => effects.first = Some(key),
                Some(key) => effects.more.push(key),
            }
        }
    }
}
