//! How a group stops, and how it ends.
//!
//! # Phases
//!
//! A group is [`Open`](GroupPhase::Open) while its token is not cancelled; then it admits. Once the
//! token is cancelled, whatever cancelled it, the group has *stopped*: it admits no more, and polls
//! on the children that run. Its queue is dropped by the next poll at the latest; then it is
//! [`Stopped`](GroupPhase::Stopped). It is [`Resolved`](GroupPhase::Resolved) when no child is left
//! in the set, in the queue or on its way, and [`Ended`](GroupPhase::Ended) once its children are
//! gone as well; after it has given its output or resumed its panic, it stays pending. A group
//! whose children an executor runs stays `Resolved`: they may be gone later, of which its event
//! tells.

use alloc::vec::Vec;
use core::task::Poll;

use super::{Base, Group, OnStop};
use crate::admission::{GroupPhase, Hints};
use crate::child::Kind;
use crate::child::set::{ChildSet, SpawnChild};
use crate::observe::Outcome;
use crate::reason::Reason;
use crate::util::panic::{FirstPanic, Payload, catch, discard, quietly, resume};

// === stopping ===

impl<C: Kind, P, O> Group<C, P, O> {
    #[inline(never)]
    pub(super) fn drop_policy(&mut self) {
        let policy = self.policy.take();
        if core::mem::needs_drop::<P>() {
            self.base.panic.guard(|| drop(policy));
        }
    }
}

impl<C: Kind> Base<C> {
    /// Cancels the token, unless that has been done, and drops what is queued.
    #[inline(never)]
    pub(crate) fn stop(&mut self, reason: Reason) {
        self.cancel(reason);
        self.drop_queued();
    }

    /// Cancels the token, unless that has been done.
    fn cancel(&mut self, reason: Reason) {
        match reason {
            Reason::Cause(_) => self.cancel_for_cause(reason),
            _ => self.cancel_quietly(reason),
        }
    }

    /// Cancels the token for a reason with a destructor, which may panic if the reason comes too
    /// late.
    #[cold]
    fn cancel_for_cause(&mut self, reason: Reason) {
        self.cancel_quietly(reason.clone());
        self.panic.guard(|| drop(reason));
    }

    /// Cancels the token, and discards all panics.
    fn cancel_quietly(&mut self, reason: Reason) {
        // The waker of a waiter may panic, which is none of the group's. It was woken by this call.
        let cancelled = catch(|| self.admission.cancel(reason)).unwrap_or_else(|payload| {
            discard(payload);
            true
        });
        if cancelled {
            self.stopped_by_group = true;
            if self.on_stop == OnStop::Drop {
                // The children are dropped at the next look, which a group without a token would
                // not take.
                self.admission.parent.notify();
            }
        }
    }

    /// Stops as the policy has decided at the end of a child, and counts that child. Returns what
    /// becomes of the others.
    #[cold]
    pub(super) fn apply_stop<const FETCHED: bool>(
        &mut self,
        stop: &mut Option<(Reason, usize, Outcome)>,
    ) -> OnStop {
        if let Some((reason, index, outcome)) = stop.take() {
            self.admission.give_freed_room();
            self.stop(reason);
            if FETCHED {
                self.admission.finish_unfetched(index, outcome);
            } else {
                self.admission.finish(index, outcome);
            }
        }
        self.on_stop
    }

    /// Keeps a panic of user code, and stops.
    pub(crate) fn panicked(&mut self, payload: Payload) {
        self.panic.keep(payload);
        self.stop(Reason::Panicked);
    }

    /// Drops what a stop is to drop at once: the queue, and perhaps the children that run.
    pub(super) fn drop_stopped(&mut self) {
        self.drop_queued();
        if self.on_stop == OnStop::Drop && self.has_running() {
            // Such a group has hooks.
            self.call_hook(|calls| calls.abort_running);
        }
        if self.admission.has_endings() {
            self.end_children();
        }
    }

    /// Drops what is queued after a stop, unless that has been done.
    pub(super) fn drop_queued(&mut self) {
        if self.admission.phase != GroupPhase::Stopped {
            self.drop_waiting();
        }
    }

    /// Drops the children that were aborted in the queue, if there are any.
    #[inline]
    pub(super) fn drop_aborted(&mut self) {
        if self.admission.shared().is_some_and(|shared| shared.core.hints.has(Hints::ABORTED)) {
            self.drop_waiting();
        }
    }

    /// Drops the children that were aborted in the queue; after a stop, all that are queued.
    #[inline]
    fn drop_waiting(&mut self) {
        if self.admission.record_stop() {
            self.drop_each_waiting();
        }
    }

    #[inline(never)]
    fn drop_each_waiting(&mut self) {
        let mut queued = Vec::new();
        self.admission.drop_queue(&mut queued);
        let mut queued = queued.into_iter();
        // One at a time: a destructor that panics keeps no other from running.
        while !matches!(self.panic.guard(|| queued.next().map(drop)), Some(None)) {}
        if self.panic.is_some() {
            self.cancel(Reason::Panicked);
        }
    }

    /// Ends the children that end with the stop: drops those that run elsewhere, and adds the
    /// others to the round, which drops them. Those that were never polled, or are not in the set
    /// yet, are in a round to come anyway.
    #[cold]
    pub(super) fn end_children(&mut self) {
        if !<C::Set as ChildSet<C>>::Spawner::SPAWNS {
            return self.admission.add_ending(&mut self.set);
        }
        let indexes = self.admission.calls().map_or_else(Vec::new, |calls| calls.until_stop());
        if indexes.is_empty() {
            return;
        }
        // One that has reported by now is in the blocks, and one that is about to comes there; its
        // result is told.
        let take = |index| Some((index, self.set.take_spawned(index)?));
        let children = indexes.into_iter().filter_map(take).collect();
        self.drop_spawned(children);
    }

    /// Drops a part of the group; its panic is as a child's.
    pub(super) fn drop_part<T>(&mut self, part: T) {
        if let Err(payload) = catch(|| drop(part)) {
            self.panicked(payload);
        }
    }

    /// Drops the children that still run, after a stop.
    pub(super) fn abort_running(&mut self) {
        self.admission.take_in(&mut self.set);
        if !<C::Set as ChildSet<C>>::Spawner::SPAWNS {
            self.abort_polled();
            return self.pass_on_room();
        }
        // Children that run as tasks are in the blocks only when they are done: their results, or
        // panics, are still to be told.
        self.drop_lost();
        let spawned = self.set.abandon_spawned();
        self.drop_spawned(spawned);
    }

    /// Drops the children that their executor dropped after the stop. It may have been shut down on
    /// purpose, so that is no panic.
    #[cold]
    pub(super) fn drop_lost(&mut self) {
        let lost = self.set.take_lost();
        self.drop_each_spawned(lost);
    }

    /// Drops children that run outside of the group's polls and have not ended.
    pub(super) fn drop_spawned(&mut self, children: Vec<(usize, C)>) {
        // Each is noted like one that has ended. Otherwise it would take the note of another one.
        children.iter().for_each(|(index, _)| self.admission.note_dropped(*index));
        self.drop_each_spawned(children);
    }

    fn drop_each_spawned(&mut self, children: Vec<(usize, C)>) {
        for (index, child) in children {
            self.drop_part(child);
            self.set.record_missing(index);
            self.admission.log_finished(index, Outcome::Dropped);
            self.admission.finish(index, Outcome::Dropped);
        }
        self.pass_on_room();
    }

    /// Gives back what children had that were dropped.
    fn pass_on_room(&mut self) {
        self.call_hook(|calls| calls.drop_guards);
        self.admission.admit_next(&mut self.set);
    }

    fn abort_polled(&mut self) {
        // They may be in the middle of a round, so they are replaced rather than repaired.
        self.set.blocks().take().drop_all(&mut |index, dropped| {
            self.admission.log_finished(index, Outcome::Dropped);
            if let Err(payload) = dropped {
                self.panicked(payload);
            }
            self.admission.finish(index, Outcome::Dropped);
        });
    }

    /// Returns `true` if children run that have not ended on their executor.
    pub(super) fn has_unended(&mut self) -> bool {
        if <C::Set as ChildSet<C>>::Spawner::SPAWNS {
            self.admission.take_in(&mut self.set);
            return self.set.has_unended();
        }
        self.has_running()
    }

    /// Returns `true` if children run, taken in or not.
    pub(crate) fn has_running(&mut self) -> bool {
        !self.set.blocks().is_empty()
            || self.set.has_spawned()
            || self.admission.has_started(&self.set)
    }
}

// === ending ===

impl<C: Kind, P, O> Group<C, P, O> {
    /// Resolves if nothing runs and nothing waits: to the output, or by the panic.
    pub(crate) fn try_resolve(&mut self) -> Poll<O> {
        if self.is_resolved()
            || !self.base.set.blocks().is_empty()
            || !self.base.admission.try_resolve()
        {
            return Poll::Pending;
        }
        self.base.admission.parent.disarm();
        // A cancel, or an abort in the queue, may have come just now.
        self.base.drop_waiting();
        self.base.call_hook(|calls| calls.drop_hooks);
        let late = self.base.set.take_late_panic();
        late.into_iter().for_each(|payload| self.base.panic.keep(payload));
        let output = self.make_output();
        let panicked = self.base.panic.is_some();
        self.base.stop(if panicked { Reason::Panicked } else { Reason::Finished });
        let output = match self.on_cancel {
            Some(on_cancel) => output.and_then(|output| on_cancel(self, output)),
            None => output,
        };
        self.base.call_hook(|calls| calls.drop_observer);
        if self.base.admission.ends_unheard() {
            // Most groups do.
            self.base.admission.phase = GroupPhase::Ended;
        } else {
            // A foreign waker that panics does not replace the output, as in `cancel_quietly`.
            quietly(|| self.base.admission.announce_end());
        }
        self.give_out(output)
    }

    /// Asks the policy for the output, unless there was a panic.
    fn make_output(&mut self) -> Option<O> {
        let why = self.base.admission.reason().unwrap_or(Reason::Finished);
        let policy = self.policy.as_mut().filter(|_| !self.base.panic.is_some())?;
        self.base.panic.guard(|| (self.finish)(policy, &why))
    }

    /// Resolves to the output, or resumes the panic that the group keeps.
    fn give_out(&mut self, output: Option<O>) -> Poll<O> {
        if let Some(payload) = self.base.panic.take() {
            // Before the unwinding, in which a panic of a destructor would abort.
            self.base.panic.guard(|| drop(output));
            self.drop_policy();
            self.base.panic.discard();
            resume(payload);
        }
        output.map_or(Poll::Pending, Poll::Ready)
    }

    /// Ends the group, whatever runs: makes its output of what the policy was told by now, drops
    /// the children, then calls `drop_rest`, which drops what is beside them. The first panic of
    /// all that, or the one that the group keeps, resumes when nothing is left.
    pub(crate) fn finish_now(&mut self, drop_rest: impl FnOnce(&mut FirstPanic)) -> Poll<O> {
        let output = self.make_output();
        let mut panic = core::mem::take(&mut self.base.panic);
        if let Some(payload) = self.abort().take() {
            panic.keep(payload);
        }
        drop_rest(&mut panic);
        self.base.panic = panic;
        self.give_out(output)
    }

    /// Ends a group that has not resolved: cancels its token, then drops its children. Returns
    /// the first panic of their destructors.
    pub(crate) fn abort(&mut self) -> FirstPanic {
        if self.is_resolved() {
            return FirstPanic::default();
        }
        // A panic that was caught and never came out goes with the group. One of a destructor
        // that runs here is resumed when all have run.
        self.base.panic.discard();
        self.base.set.take_late_panic().into_iter().for_each(discard);
        self.base.admission.parent.disarm();
        self.base.panic.guard(|| self.base.admission.cancel(Reason::Dropped));
        if self.base.has_run_out() {
            self.base.admission.phase = GroupPhase::Resolved;
        } else {
            self.base.drop_children();
        }
        self.base.panic.guard(|| self.base.admission.give_permits_back());
        self.base.call_hook(|calls| calls.drop_hooks);
        self.base.call_hook(|calls| calls.drop_observer);
        self.drop_policy();
        self.base.panic.guard(|| self.base.admission.announce_end());
        core::mem::take(&mut self.base.panic)
    }
}

impl<C: Kind> Base<C> {
    /// Returns `true` if the group has given its output or its panic, or is gone.
    pub(crate) fn is_resolved(&self) -> bool {
        self.admission.phase >= GroupPhase::Resolved
    }

    /// Drops all children.
    #[inline(never)]
    fn drop_children(&mut self) {
        let mut unpolled = Vec::new();
        let mut log_next = self.admission.abort(&mut self.set, &mut unpolled);
        self.set.blocks().take().drop_all(&mut |index, dropped| {
            if let Err(payload) = dropped {
                self.panic.keep(payload);
            }
            self.admission.log_finished(index, Outcome::Dropped);
        });
        for child in unpolled {
            self.panic.guard(|| drop(child));
            log_next.iter_mut().for_each(|log_next| log_next());
        }
        self.admission.calls().into_iter().for_each(|calls| calls.forget_running());
        self.drop_queued();
    }
}
