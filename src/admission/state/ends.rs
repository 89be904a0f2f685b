//! How children and the group end.

use alloc::vec::Vec;
use core::mem::take;

use super::running::{Running, RunningChildren};
use super::starts::StartSlot;
use super::waiters::WaiterStage;
use super::{Caller, Dropped, Effects, GroupPhase, State};
use crate::admission::ended::{EndNotes, Ended};
use crate::admission::joins::Joins;
use crate::admission::queue::{ChildKey, Entry, QueuedChild};
use crate::child::join::JoinId;
use crate::observe::Outcome;
use crate::stats::Stats;

// === aborting children ===

impl State {
    pub(crate) fn joins(&mut self) -> &mut Joins {
        self.joins.get_or_insert_default()
    }

    /// Takes a child out of the queue. Returns `false` if it is not there.
    pub(crate) fn abort_queued(&mut self, id: JoinId) -> bool {
        let Some((position, key)) = self.joins().leave_queue(id) else {
            return false;
        };
        if let Some(Entry::Child(child)) = self.queue.remove(position, key.as_ref()) {
            self.queue.leave(&child);
            self.drop_aborted(child);
        }
        true
    }

    /// Leaves a child that was aborted in the queue to the group, which drops it.
    pub(super) fn drop_aborted(&mut self, child: QueuedChild) {
        self.queued -= 1;
        self.dropped += 1;
        self.log_unstarted(child.key, child.options.boxed());
        self.joins().dropped.push(child.key);
    }

    /// Returns `true` if there are children that were aborted in the queue, for the group to drop.
    pub(crate) fn has_aborted(&self) -> bool {
        self.joins.as_ref().is_some_and(|joins| !joins.dropped.is_empty())
    }

    /// Moves the children that were aborted in the queue to `keys`, for the caller to drop.
    pub(crate) fn take_aborted(&mut self, keys: &mut Vec<ChildKey>) {
        // Its memory goes with it.
        self.joins.iter_mut().for_each(|joins| keys.append(&mut take(&mut joins.dropped)));
    }

    /// Returns `true` if the result of the running child of that index is none.
    pub(crate) fn has_no_result(&mut self, index: usize) -> bool {
        let id = self.running.get(index).and_then(|child| child.join);
        id.is_some_and(|id| self.joins().take_aborted(id))
    }

    /// Records that a child leaves the queue.
    #[inline]
    pub(super) fn leave_queue(&mut self, child: &QueuedChild) {
        self.queued -= 1;
        self.queue.leave(child);
        if let (Some(id), Some(joins)) = (child.join, &mut self.joins) {
            joins.leave_queue(id);
        }
    }
}

// === ending ===

impl State {
    #[inline]
    pub(super) fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Failed => &mut self.failed,
            Outcome::Panicked | Outcome::Dropped => &mut self.dropped,
        } += 1;
    }

    /// Counts a running child that is gone, and frees its room. The queue gets the room by
    /// [`give_freed_room`](Self::give_freed_room), at the latest before the next other change.
    /// Returns `false` if the queue need not be processed.
    #[inline]
    pub(crate) fn finish(&mut self, index: usize, outcome: Outcome, stopped: bool) -> bool {
        if stopped {
            // Room that was freed before the stop goes to the queue, no more than that.
            self.give_freed_room(&mut Effects::default());
        }
        self.count(outcome);
        if self.knows_children() {
            self.finish_known(index, outcome, stopped);
            return true;
        }
        self.room.free_plain();
        self.has_freed_room |= !stopped && self.must_process();
        self.has_freed_room || stopped
    }

    /// Returns `true` if more may be known of a running child than that it has room.
    #[inline]
    fn knows_children(&self) -> bool {
        !self.running.is_empty()
            || !self.ended.is_empty()
            || !self.nested.is_empty()
            || self.room.needs_beside()
    }

    #[inline]
    fn finish_known(&mut self, index: usize, outcome: Outcome, stopped: bool) {
        self.nested.forget_child(index);
        let Self { running, inspector, joins, .. } = self;
        let known = running.remove(index, |child| {
            if let Some(inspector) = inspector {
                inspector.finish(index);
            }
            if let (Some(id), Some(joins)) = (child.join, joins) {
                joins.take_aborted(id);
            }
            (child.weight, child.key_id, child.pass)
        });
        let (weight, key, pass) = known.unwrap_or((1, None, None));
        self.room.passes.over.extend(pass);
        let is_plain = weight == 1 && key.is_none() && pass.is_none();
        if self.ended.forget(outcome) && is_plain && self.ended.roomless > 0 {
            self.ended.roomless -= 1;
        } else {
            self.free_room(weight, key);
            self.has_freed_room |= !stopped && self.must_process();
        }
        if self.nested.blocked_children() > 0 {
            // If all children that are left wait, it must not depend on whether another ends in
            // the same round that one of them is told to queue its child.
            self.give_freed_room(&mut Effects::default());
        }
    }

    /// Sets what is noted of children that have ended outside of the group's polls. Those that are
    /// noted run again, in the room that they have freed. A permit that they have given back may be
    /// another group's by now, so with a semaphore they run without room and permit.
    pub(crate) fn set_notes(&mut self, notes: EndNotes) {
        let roomless = self.ended.forget_all();
        if self.room.permits.is_some() {
            self.ended.roomless = roomless;
        } else {
            self.room.retake(roomless);
        }
        self.notes = notes;
    }

    /// Notes that a child has ended outside of the group's polls. It frees its room at once if it
    /// may, unless it `keeps_room`.
    pub(crate) fn note_ended(&mut self, index: usize, outcome: Outcome, keeps_room: bool) {
        if self.notes == EndNotes::Nothing || self.lifecycle.is_resolved() {
            return;
        }
        if let Some(inspector) = &self.inspector {
            inspector.complete(index);
        }
        let is_aborted = self.joins.as_ref().is_some_and(|joins| {
            let join = self.running.get(index).and_then(|child| child.join);
            join.is_some_and(|id| joins.is_aborted(id))
        });
        // What an aborted child has returned is no result.
        let outcome = if is_aborted { Outcome::Dropped } else { outcome };
        let frees_room = self.ended.note(outcome)
            && self.notes == EndNotes::FreesRoom
            && !keeps_room
            && self.log.is_none()
            && self.running.get(index).is_none_or(Running::is_plain);
        if frees_room {
            self.ended.roomless += 1;
            self.free_room(1, None);
            self.has_freed_room |= self.must_process();
        }
    }

    /// Gives the queue the room of children that have ended since it was last processed.
    #[inline]
    pub(crate) fn give_freed_room(&mut self, effects: &mut Effects) {
        if self.has_freed_room {
            self.process_queue(false, effects);
        }
    }

    /// Records a child that has finished and keeps its room until its result is fetched. It holds
    /// nothing up any more: no waiter is inside it, and a daemon counts as any other child. Nor
    /// can a stop drop it.
    pub(crate) fn finish_unfetched(&mut self, index: usize) {
        self.nested.forget_child(index);
        if let Some(pass) = self.running.finish_unfetched(index) {
            if let Some(inspector) = &self.inspector {
                inspector.finish_unfetched(index);
            }
            self.room.passes.over.extend(pass);
        }
    }

    /// Returns `true` if children may run that end without a result: with the stop, or aborted.
    pub(crate) fn has_endings(&self) -> bool {
        self.running.has_until_stop() || self.joins.is_some()
    }

    /// Returns `true` if there may be joinable children.
    pub(crate) fn has_joinable(&self) -> bool {
        self.joins.is_some()
    }

    /// Returns `true` if the running child of that index ends with the stop.
    pub(crate) fn is_until_stop(&self, index: usize) -> bool {
        self.running.get(index).is_some_and(|child| child.until_stop)
    }

    /// Drops the queue after a stop, and takes back what is reserved. Adds the children that were
    /// queued to `keys`, for the caller to drop.
    pub(crate) fn stop(&mut self, keys: &mut Vec<ChildKey>) {
        self.queue.drop_keys();
        while let Some((_, entry)) = self.queue.pop() {
            if let Entry::Child(child) = entry {
                self.leave_queue(&child);
                self.dropped += 1;
                self.log_unstarted(child.key, child.options.boxed());
                keys.push(child.key);
            }
        }
        let mut waiters = core::mem::take(&mut self.waiters);
        for waiter in waiters.iter_mut() {
            if let WaiterStage::Reserved { slot, .. } = waiter.stage {
                slot.into_iter().for_each(|slot| self.starts.remove(slot));
                // The queue knows its key no longer.
                self.room.put_back(waiter.weight);
                self.room.passes.give_up(waiter.pass.take());
            }
            (waiter.stage, waiter.inside) = (WaiterStage::Stopped, None);
        }
        self.waiters = waiters;
        self.room.free_permits(self.reserved);
        self.room.passes.end_spare();
        (self.reserved, self.detached) = (0, 0);
        self.group_turn = false;
        self.nested.clear();
    }

    /// Refuses newcomers from now on. What was accepted goes on, and so do waiters that have their
    /// turn; the others are as after a stop.
    pub(crate) fn refuse_newcomers(&mut self, effects: &mut Effects) {
        if core::mem::replace(&mut self.lifecycle.closing, true) {
            return;
        }
        // Those that lose their turn wait, and so are refused.
        self.revoke_all();
        let Self { waiters, queue, group_turn, .. } = self;
        for waiter in waiters.iter_mut() {
            if let WaiterStage::Waiting(position) = waiter.stage {
                queue.remove(position, waiter.key.as_ref());
                *group_turn |= waiter.caller == Caller::Group;
                (waiter.stage, waiter.inside) = (WaiterStage::Stopped, None);
                waiter.waker.take().into_iter().for_each(|waker| effects.wake.push(waker));
            }
        }
        // A waiter that has its turn is inside no child.
        self.nested.clear();
        // The group may be over, and its own `go` or `feed` is to look.
        effects.notify = true;
    }

    pub(crate) fn release_hold(&mut self) {
        self.recheck_end |= self.lifecycle.release_hold();
    }

    /// Returns `true` if the group need not wait: for a running child, or a waiter. After a stop
    /// it waits for daemons, too, and for no waiter.
    pub(crate) fn is_over(&self, stopped: bool) -> bool {
        if stopped {
            self.running() == 0
        } else {
            self.holding() - self.blocked_results == self.running.daemons()
                && self.queue.is_empty()
                && !self.lifecycle.is_held()
        }
    }

    /// Returns `true` if nothing runs and nothing waits, or `None` if newcomers are refused.
    pub(crate) fn is_idle(&self, stopped: bool) -> Option<bool> {
        let accepts = self.lifecycle.refusal(stopped).is_none();
        accepts.then(|| self.running() == 0 && self.is_over(false))
    }

    /// Returns `true` if newcomers are accepted, and there is neither a child nor a waiter.
    pub(crate) fn is_vacant(&self, stopped: bool) -> bool {
        self.lifecycle.refusal(stopped).is_none()
            && self.holding() + self.queued + self.waiters.len() == 0
    }

    /// Returns `true` if nothing but daemons is left; queued ones hold nothing open either.
    pub(crate) fn has_only_daemons(&self) -> bool {
        let daemons = self.running.daemons();
        self.holding() - self.blocked_results == daemons
            && (daemons > 0 || !self.queue.is_empty())
            && self.queue.has_only_daemons()
            && !self.lifecycle.is_held()
    }

    /// Resolves the group if nothing runs and nothing waits.
    pub(crate) fn try_resolve(&mut self, stopped: bool) -> bool {
        let over = self.running() == 0 && self.is_over(stopped);
        if over {
            (self.lifecycle.phase, self.lifecycle.finished) = (GroupPhase::Resolved, !stopped);
        }
        over
    }

    /// Ends the group whatever runs; it counts as dropped.
    fn resolve_by_drop(&mut self) {
        self.lifecycle.phase = GroupPhase::Resolved;
        // An observer is told that all that run were dropped, also those that have ended.
        let Stats { running, ok, failed, dropped, .. } =
            if self.log.is_none() { self.stats() } else { self.told_stats() };
        (self.ok, self.failed, self.dropped) = (ok, failed, dropped + running);
        self.ended = Ended::default();
        if let Some(inspector) = &self.inspector {
            inspector.clear();
        }
        self.room.clear();
        self.running.count_none();
        (self.reserved, self.detached, self.blocked_results) = (0, 0, 0);
    }

    /// Forgets the children that ran when the group was dropped. Returns what was known of them, to
    /// be dropped.
    pub(crate) fn forget_running(&mut self) -> RunningChildren {
        self.joins.iter_mut().for_each(|joins| joins.forget_running());
        core::mem::take(&mut self.running)
    }

    /// Ends the group whatever runs, and adds the children that have room and are not in the set to
    /// `keys`.
    pub(crate) fn abort(&mut self, keys: &mut Vec<(Dropped, ChildKey)>) {
        self.resolve_by_drop();
        for waiter in self.waiters.iter_mut() {
            if let WaiterStage::Reserved { .. } = waiter.stage {
                (waiter.stage, waiter.inside) = (WaiterStage::Stopped, None);
            }
        }
        while let Some((index, key)) = self.starts.pop_started() {
            keys.push((Dropped::Started(index), key));
        }
        while let Some(start) = self.starts.pop() {
            if let StartSlot::Child(child, _) = start {
                keys.push((Dropped::Unstarted(child.key, child.options), child.key));
            }
        }
    }
}
