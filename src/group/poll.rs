//! The polls of a group by its task: how one begins and ends, and what comes before a round.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::drive::{Driven, Extent};
use super::{Base, Group};
use crate::admission::GroupPhase;
use crate::child::Kind;
use crate::child::set::{ChildSet, SpawnChild};
use crate::reason::Reason;
use crate::set::Budget;
use crate::util::parent_waker::ReadyBlocks;

/// What polls a group, or the children of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolledBy {
    /// The group itself, or what owns it.
    Owner,
    /// A stream of results, which is polled on after each answer.
    Stream,
    /// A `go`, a `feed` or a `ready` of the group. Its task need not go on polling after the
    /// answer.
    Waiter,
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// Polls the group by the task of `cx`, with what is left of the budget of the task's poll.
    pub(crate) fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>, &mut Budget) -> Poll<R>,
    ) -> Poll<R> {
        Self::poll_through(self, |group| group, PolledBy::Owner, cx, poll)
    }

    /// Polls the group that `owner` has: a `go` or a `feed` of the group, or a type that owns one.
    pub(crate) fn poll_through<X, R>(
        owner: &mut X,
        group: impl Fn(&mut X) -> &mut Self,
        polled_by: PolledBy,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut X, &mut Context<'_>, &mut Budget) -> Poll<R>,
    ) -> Poll<R> {
        group(owner).base.begin_poll();
        let mut budget = group(owner).base.budget;
        let answer = poll(owner, cx, &mut budget);
        group(owner).base.budget = budget;
        group(owner).base.end_poll(cx, answer.is_pending(), polled_by);
        answer
    }

    /// Takes one poll from the budget of the task's poll, if one is left.
    pub(crate) fn spend_poll(&mut self) {
        let budget = &mut self.base.budget;
        budget.polls = budget.polls.saturating_sub(1);
    }

    /// Polls the child that a `go` has admitted, and goes through a round. There is budget for one
    /// child at least, and at least one poll is taken from it.
    #[inline]
    pub(crate) fn start_newcomer(&mut self, cx: &mut Context<'_>) {
        let before = self.base.budget.polls;
        self.poll_newcomer(cx);
        if <C::Set as ChildSet<C>>::Spawner::SPAWNS && self.base.budget.polls == before {
            // An executor polls the child. Without this, a loop of `go` would never yield, and an
            // executor with one thread would run none of its children.
            self.spend_poll();
        }
    }

    /// Polls that child, unless an executor does, and goes through a round.
    #[inline]
    fn poll_newcomer(&mut self, cx: &mut Context<'_>) {
        // A timer or a gate is polled by the task, in a poll of the group's own.
        let is_due = self.base.has_futures()
            && self.base.call_hook(|calls| calls.must_poll_hooks).unwrap_or(false);
        if is_due || self.base.admission.has_semaphore() {
            let _ = Self::poll_through(
                self,
                |group| group,
                PolledBy::Waiter,
                cx,
                |group, _, budget| {
                    group.drive_newcomer(budget);
                    Poll::Ready(())
                },
            );
        } else {
            // The task goes on, so it need not be told of what wakes the children.
            let mut budget = self.base.budget;
            self.drive_newcomer(&mut budget);
            self.base.budget = budget;
        }
    }

    pub(crate) fn drive_newcomer(&mut self, budget: &mut Budget) {
        (self.advance)(self, budget, Extent::Newcomer);
    }

    /// Polls the children until some have finished, none is ready, or the budget is spent.
    pub(crate) fn advance(&mut self, budget: &mut Budget) -> Driven {
        (self.advance)(self, budget, Extent::Progress)
    }

    /// Resolves, after the children were polled, if that was the end.
    pub(crate) fn conclude(&mut self, budget: &mut Budget) -> Poll<O> {
        loop {
            self.end_daemons(budget);
            let resolved = self.try_resolve();
            if resolved.is_ready() || !self.base.poll_deadline() {
                return resolved;
            }
            while self.advance(budget) == Driven::Progress {}
        }
    }

    /// Ends the daemons if nothing else is left.
    pub(crate) fn end_daemons(&mut self, budget: &mut Budget) {
        self.base.call_hook(|calls| calls.deliver_events);
        if self.base.admission.calls().is_some_and(|calls| calls.has_only_daemons()) {
            self.base.stop(Reason::Finished);
            while self.advance(budget) == Driven::Progress {}
        }
    }
}

impl<C: Kind> Base<C> {
    /// Returns `true` if a loop of ready `go`s or `next`s has spent the budget of the task's poll:
    /// the task yields, so that it polls its other futures, and is woken at once.
    #[inline]
    pub(crate) fn must_yield(&mut self, cx: &Context<'_>) -> bool {
        self.budget.is_spent() && self.yield_task(cx)
    }

    #[cold]
    fn yield_task(&mut self, cx: &Context<'_>) -> bool {
        if self.budget.has_ended() {
            self.renew_budget();
            return false;
        }
        self.budget.end();
        cx.waker().wake_by_ref();
        true
    }

    /// Renews the budget if the task's last poll has ended.
    pub(super) fn renew_if_ended(&mut self) {
        if self.budget.has_ended() {
            self.renew_budget();
        }
    }

    #[inline(never)]
    fn renew_budget(&mut self) {
        let parent = &self.admission.parent;
        self.budget.renew(&mut || self.set.blocks().count_woken(parent.peek_ready()));
    }

    fn begin_poll(&mut self) {
        self.admission.parent.begin_poll();
        if self.budget.has_ended() {
            self.renew_budget();
        } else if self.budget.is_spent() {
            self.put_off();
        }
        self.set.blocks().begin_tick();
        self.admission.calls().into_iter().for_each(|calls| calls.begin_poll());
        if let Some(hooks) = &mut *self.hooks {
            hooks.begin_poll();
        }
    }

    /// Leaves all to the next poll: a `go`, a `feed` or a `ready` before this one has spent the
    /// budget, and had its answer. Only a stop is heard now.
    #[cold]
    fn put_off(&mut self) {
        if !self.is_bare() || self.is_stopped() {
            self.admission.parent.leave_work();
        }
        if self.is_stopped() {
            self.drop_stopped();
        }
    }

    /// Returns `true` if nothing but the policy sees to the children that run: no hooks but timers,
    /// and nothing that admission has to know of them before they end.
    #[inline]
    pub(super) fn is_plain(&mut self) -> bool {
        (self.hooks.is_none() || !self.hooks_concern_children())
            && self.admission.runs_plain_children()
    }

    /// Returns `true` if the group has neither hooks nor handles.
    #[inline]
    pub(super) fn is_bare(&mut self) -> bool {
        self.hooks.is_none() && self.admission.shared().is_none()
    }

    /// Returns `true` if it is known at a glance that nothing comes before a round.
    #[inline]
    pub(super) fn is_calm(&mut self) -> bool {
        let spawns = <C::Set as ChildSet<C>>::Spawner::SPAWNS;
        let shared = self.admission.shared();
        let is_calm = shared.is_none_or(|shared| shared.core.is_calm() && !spawns);
        is_calm && self.hooks.is_none() && !self.is_stopped()
    }

    /// Does what comes before a round, and starts it, unless one goes on. Returns `false` if no
    /// child is to be polled.
    #[inline]
    pub(super) fn next_round(&mut self) -> bool {
        let goes_on = self.set.blocks().is_in_round();
        // First: what user code or another thread does from here on notifies anew.
        let ready = match goes_on {
            true => ReadyBlocks::default(),
            false => self.admission.parent.take_ready(),
        };
        if !self.is_bare() || self.is_stopped() {
            self.prepare_round();
        }
        // The children of the round may have been dropped.
        (goes_on && self.set.blocks().is_in_round()) || self.start_round(ready)
    }

    /// Does what comes before a round: the grace, a stop, gates, a permit.
    pub(super) fn prepare_round(&mut self) {
        let has_futures = self.has_futures();
        if has_futures {
            self.call_hook(|calls| calls.poll_grace_after_stop);
        }
        if self.is_stopped() {
            self.drop_stopped();
        }
        self.drop_aborted();
        if has_futures {
            self.call_hook(|calls| calls.poll_gates);
        }
        if self.admission.has_semaphore() {
            self.admission.acquire_permits();
        }
    }

    /// Starts a round of the children of which `ready` tells, and of those that have started.
    #[inline]
    fn start_round(&mut self, ready: ReadyBlocks) -> bool {
        self.take_in();
        self.set.blocks().start_round(ready)
    }

    /// Moves the children that have started into the set.
    pub(super) fn take_in(&mut self) {
        self.admission.take_in(&mut self.set);
        if self.set.has_lost() {
            self.drop_lost();
        }
        let spawns = <C::Set as ChildSet<C>>::Spawner::SPAWNS;
        if spawns && self.is_stopped() && self.admission.has_endings() {
            // One that was taken in just now does not come into a round.
            self.end_children();
        }
        if self.hooks.is_some() {
            // Before the children that were taken in are polled.
            self.call_hook(|calls| calls.deliver_events);
            if self.is_stopped() {
                self.drop_stopped();
            }
        }
    }

    /// Returns `true` if children may have been woken, or have come or completed meanwhile.
    pub(super) fn is_notified(&mut self) -> bool {
        self.admission.parent.is_notified() || self.admission.has_started(&self.set)
    }

    /// Returns `true` if it is known at a glance that no child is left and none can come.
    #[inline]
    pub(super) fn has_run_out(&mut self) -> bool {
        self.set.blocks().is_empty() && self.admission.has_run_out()
    }

    /// Ends a poll. One that ends pending with work left wakes its task.
    fn end_poll(&mut self, cx: &mut Context<'_>, pending: bool, polled_by: PolledBy) {
        if self.is_resolved() {
            return;
        }
        let is_unheard = pending && {
            self.budget.end();
            // It may have passed before as well, after a round that has spent the budget.
            self.poll_deadline();
            self.is_stopped() && self.admission.phase == GroupPhase::Open
        };
        let has_waiter = polled_by != PolledBy::Owner;
        let has_work = self.admission.calls().is_some_and(|calls| calls.end_poll(has_waiter));
        if pending && (is_unheard || has_work || self.has_work()) {
            self.admission.parent.leave_work();
        }
        let goes_on_polling = polled_by != PolledBy::Waiter;
        self.admission.parent.end_poll(cx, (pending, goes_on_polling));
        if !pending && self.call_hook(|calls| calls.must_drop_guards).unwrap_or(false) {
            // The task may not poll the group again by itself.
            self.admission.parent.notify();
        }
    }

    /// Returns `true` if something is to be polled at once.
    fn has_work(&mut self) -> bool {
        self.admission.has_started(&self.set)
            || self.set.blocks().has_ready()
            || self.call_hook(|calls| calls.must_poll_hooks).unwrap_or(false)
    }
}

impl<C: Kind, P, O> Future for Group<C, P, O> {
    type Output = O;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        if self.is_resolved() {
            return Poll::Pending;
        }
        self.poll_with(cx, |group, _, budget| {
            while group.advance(budget) == Driven::Progress && !group.base.has_run_out() {}
            group.conclude(budget)
        })
    }
}

impl<C: Kind, P, O> FusedFuture for Group<C, P, O> {
    fn is_terminated(&self) -> bool {
        self.is_resolved()
    }
}

// The children are pinned in the set, which does not move them; the policy is not pinned.
impl<C: Kind, P, O> Unpin for Group<C, P, O> {}

impl<C: Kind, P, O> Drop for Group<C, P, O> {
    fn drop(&mut self) {
        self.abort().throw();
    }
}
