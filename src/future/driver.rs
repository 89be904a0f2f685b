//! What differs between a `go` (or `feed`) of a group and one of a handle: the group's polls the
//! children while it waits, the handle's only waits.

use alloc::sync::Arc;
use core::task::{Context, Poll};

use crate::admission::{Caller, Refused, Shared, Ticket, Vacancy, Want};
use crate::child::{Child, Kind};
use crate::group::Group;
use crate::group::drive::Driven;
use crate::group::poll::PolledBy;
use crate::handle::Handle;
use crate::set::Budget;
use crate::util::parent_waker::ParentWaker;

/// What a `feed` was called on.
pub(crate) trait Driver<C: Kind> {
    const CALLER: Caller;

    /// Returns the room that there is for a plain child, if the group has no handles.
    fn vacancy(&mut self) -> Option<Vacancy<'_, C>>;

    /// Accepts a child that was asked for because there was room. Returns `false` if the group has
    /// stopped; the child is dropped then, and counts as dropped.
    fn accept<A: Child<C>>(&mut self, child: A) -> bool;

    /// Returns what the group shares with its handles, if there are any.
    fn shared(&mut self) -> Option<&Arc<Shared<C>>>;

    fn is_stopped(&self) -> bool;

    fn is_closing(&self) -> bool;

    /// Returns what wakes this task when a stream of children is woken.
    fn parent(&self) -> Arc<ParentWaker>;

    /// Polls by the task of `cx`; `poll` gets a budget for the children.
    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>, &mut Budget) -> Poll<R>,
    ) -> Poll<R>;

    /// Polls the children until some of them finish or nothing is left to do.
    fn advance(&mut self, budget: &mut Budget) -> Driven;
}

/// What a `go` was called on.
pub(crate) trait GoDriver<C: Kind>: Driver<C> {
    /// Returns the room that there is for a child, if the group has no handles and the child needs
    /// no more than room. Sees to it that its options are heeded.
    fn vacancy_for<A: Child<C>>(&mut self, child: &mut A) -> Option<Vacancy<'_, C>>;

    /// Looks for room for a child, and admits it; `Err` after a stop.
    fn poll_go<A: Child<C>>(
        &mut self,
        ticket: &mut Option<Ticket<C>>,
        child: &mut Option<A>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>>;

    /// Returns `true` if the task is to yield before it goes on; it is woken then.
    #[inline(always)]
    fn must_yield(&mut self, _: &Context<'_>) -> bool {
        false
    }

    /// Polls a child that was just admitted, and those that were woken, if this drives the group.
    /// Tells the policy of the children that have ended on their executor.
    #[inline(always)]
    fn take_ends(&mut self) {}

    #[inline(always)]
    fn start_newcomer(&mut self, _: &mut Context<'_>) {}

    /// Polls, within a poll of the group, a child that was just admitted and those that were woken.
    fn drive_newcomer(&mut self, _: &mut Budget) {}
}

impl<C: Kind, P, O> Driver<C> for &mut Group<C, P, O> {
    const CALLER: Caller = Caller::Group;

    #[inline(always)]
    fn vacancy(&mut self) -> Option<Vacancy<'_, C>> {
        Group::vacancy(self)
    }

    fn accept<A: Child<C>>(&mut self, child: A) -> bool {
        Group::accept(self, child)
    }

    #[inline]
    fn shared(&mut self) -> Option<&Arc<Shared<C>>> {
        self.admission().shared()
    }

    #[inline]
    fn is_stopped(&self) -> bool {
        Group::is_stopped(self)
    }

    fn is_closing(&self) -> bool {
        Group::is_closing(self)
    }

    fn parent(&self) -> Arc<ParentWaker> {
        Arc::clone(Group::parent(self))
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
}

impl<C: Kind, P, O> GoDriver<C> for &mut Group<C, P, O> {
    #[inline(always)]
    fn vacancy_for<A: Child<C>>(&mut self, child: &mut A) -> Option<Vacancy<'_, C>> {
        Group::vacancy_for(self, child)
    }

    #[inline]
    fn poll_go<A: Child<C>>(
        &mut self,
        ticket: &mut Option<Ticket<C>>,
        child: &mut Option<A>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        Group::poll_go(self, ticket, child, cx)
    }

    #[inline]
    fn must_yield(&mut self, cx: &Context<'_>) -> bool {
        Group::must_yield(self, cx)
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
    fn vacancy(&mut self) -> Option<Vacancy<'_, C>> {
        None
    }

    fn accept<A: Child<C>>(&mut self, _: A) -> bool {
        unreachable!("a handle's feed reserves room")
    }

    #[inline(always)]
    fn shared(&mut self) -> Option<&Arc<Shared<C>>> {
        Some(&self.shared)
    }

    fn is_stopped(&self) -> bool {
        Handle::is_stopped(self)
    }

    fn is_closing(&self) -> bool {
        Handle::is_closing(self)
    }

    /// Returns a new one: the group's wakes another task.
    fn parent(&self) -> Arc<ParentWaker> {
        ParentWaker::new()
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
}

impl<C: Kind> GoDriver<C> for Handle<C> {
    #[inline(always)]
    fn vacancy_for<A: Child<C>>(&mut self, _: &mut A) -> Option<Vacancy<'_, C>> {
        None
    }

    #[inline]
    fn poll_go<A: Child<C>>(
        &mut self,
        ticket: &mut Option<Ticket<C>>,
        child: &mut Option<A>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        self.shared.poll(Caller::Handle, Want::Go(child), ticket, cx)
    }

    #[inline]
    fn must_yield(&mut self, cx: &Context<'_>) -> bool {
        self.shared.core.must_yield(cx)
    }

    /// Counts the child. The group begins it at its next poll.
    #[inline]
    fn start_newcomer(&mut self, _: &mut Context<'_>) {
        self.shared.core.count_entry();
    }
}
