//! What differs between a `go` (or `feed`) of a group and one of a handle: the group's polls the
//! children while it waits, the handle's only waits.

use alloc::sync::Arc;
use core::task::{Context, Poll};

use crate::admission::{Caller, Refused, Shared, Ticket, Vacancy, Want};
use crate::child::{Child, Kind};
use crate::group::drive::Driven;
use crate::group::poll::PolledBy;
use crate::group::{Base, Group};
use crate::handle::Handle;
use crate::set::Budget;
use crate::util::parent_waker::ParentWaker;

/// From where a [`Driver`] comes to the group's state.
pub(crate) enum Side<'d, C: Kind> {
    Group(&'d mut Base<C>),
    Handle(&'d Arc<Shared<C>>),
}

/// What a `go` or a `feed` was called on.
pub(crate) trait Driver<C: Kind> {
    const CALLER: Caller;

    /// Returns from where it comes to the state.
    fn side(&mut self) -> Side<'_, C>;

    /// Polls by the task of `cx`; `poll` gets a budget for the children.
    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>, &mut Budget) -> Poll<R>,
    ) -> Poll<R>;

    /// Polls the children until some of them finish or nothing is left to do.
    fn advance(&mut self, budget: &mut Budget) -> Driven;

    /// Tells the policy of the children that have ended on their executor, if this drives the
    /// group, as far as the budget of the task's poll allows.
    #[inline(always)]
    fn take_ends(&mut self) {}

    /// Polls a child that a `go` has just admitted, and those that were woken, if this drives the
    /// group.
    #[inline(always)]
    fn start_newcomer(&mut self, _: &mut Context<'_>) {}

    /// Polls them within a poll of the group.
    fn drive_newcomer(&mut self, _: &mut Budget) {}

    /// Returns the room that there is for a plain child, if the group has no handles.
    #[inline(always)]
    fn vacancy(&mut self) -> Option<Vacancy<'_, C>> {
        match self.side() {
            Side::Group(base) => base.vacancy(),
            Side::Handle(_) => None,
        }
    }

    /// Returns the room that there is for a child, if the group has no handles and the child needs
    /// no more than room. Sees to it that its options are heeded.
    #[inline(always)]
    fn vacancy_for<A: Child<C>>(&mut self, child: &mut A) -> Option<Vacancy<'_, C>> {
        match self.side() {
            Side::Group(base) => base.vacancy_for(child),
            Side::Handle(_) => None,
        }
    }

    /// Accepts a child that was asked for because there was room. Returns `false` if the group has
    /// stopped; the child is dropped then, and counts as dropped. A handle has no such room.
    fn accept<A: Child<C>>(&mut self, child: A) -> bool {
        match self.side() {
            Side::Group(base) => base.admission.accept(&mut base.set, child),
            Side::Handle(_) => unreachable!("a handle's feed reserves room"),
        }
    }

    /// Returns what the group shares with its handles, if there are any.
    #[inline(always)]
    fn shared(&mut self) -> Option<&Arc<Shared<C>>> {
        match self.side() {
            Side::Group(base) => base.admission.shared(),
            Side::Handle(shared) => Some(shared),
        }
    }

    #[inline]
    fn is_stopped(&mut self) -> bool {
        match self.side() {
            Side::Group(base) => base.is_stopped(),
            Side::Handle(shared) => shared.core.is_stopped(),
        }
    }

    fn is_closing(&mut self) -> bool {
        match self.side() {
            Side::Group(base) => base.admission.is_closing(),
            Side::Handle(shared) => shared.core.is_closing(),
        }
    }

    /// Returns what wakes this task when a stream of children is woken.
    fn parent(&mut self) -> Arc<ParentWaker> {
        match self.side() {
            Side::Group(base) => Arc::clone(&base.admission.parent),
            // The group's wakes another task.
            Side::Handle(_) => ParentWaker::new(),
        }
    }

    /// Looks for room for the child of a `go`, and admits it; `Err` after a stop.
    #[inline]
    fn poll_go<A: Child<C>>(
        &mut self,
        ticket: &mut Option<Ticket<C>>,
        child: &mut Option<A>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        match self.side() {
            Side::Group(Base { admission, set, .. }) => admission.poll_go(set, ticket, child, cx),
            Side::Handle(shared) => shared.poll(Caller::Handle, Want::Go(child), ticket, cx),
        }
    }

    /// Counts a feed of no child against what a task does before it yields.
    fn count_empty_feed(&mut self, budget: &mut Budget) {
        match self.side() {
            Side::Group(_) => budget.polls = budget.polls.saturating_sub(1),
            Side::Handle(shared) => shared.core.count_entry(),
        }
    }

    /// Returns `true` if the task is to yield before it goes on; it is woken then.
    #[inline]
    fn must_yield(&mut self, cx: &Context<'_>) -> bool {
        match self.side() {
            Side::Group(base) => base.must_yield(cx),
            Side::Handle(shared) => shared.core.must_yield(cx),
        }
    }
}

impl<C: Kind, P, O> Driver<C> for &mut Group<C, P, O> {
    const CALLER: Caller = Caller::Group;

    #[inline(always)]
    fn side(&mut self) -> Side<'_, C> {
        Side::Group(&mut self.base)
    }

    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>, &mut Budget) -> Poll<R>,
    ) -> Poll<R> {
        Group::poll_through(self, |group| &mut **group, PolledBy::Waiter, cx, poll)
    }

    #[inline]
    fn advance(&mut self, budget: &mut Budget) -> Driven {
        Group::advance(self, budget)
    }

    #[inline]
    fn take_ends(&mut self) {
        Group::take_ends(self);
    }

    #[inline]
    fn start_newcomer(&mut self, cx: &mut Context<'_>) {
        Group::start_newcomer(self, cx);
    }

    fn drive_newcomer(&mut self, budget: &mut Budget) {
        Group::drive_newcomer(self, budget);
    }
}

impl<C: Kind> Driver<C> for Handle<C> {
    const CALLER: Caller = Caller::Handle;

    #[inline(always)]
    fn side(&mut self) -> Side<'_, C> {
        Side::Handle(&self.shared)
    }

    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>, &mut Budget) -> Poll<R>,
    ) -> Poll<R> {
        poll(self, cx, &mut { Budget::new() })
    }

    fn advance(&mut self, _: &mut Budget) -> Driven {
        Driven::Idle
    }

    #[inline]
    fn start_newcomer(&mut self, _: &mut Context<'_>) {
        self.shared.core.count_entry();
    }
}
