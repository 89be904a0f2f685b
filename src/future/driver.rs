//! What differs between a `go` (or `feed`) of a group and one of a handle: the group's polls
//! the children while it waits, the handle's only waits.

use alloc::sync::Arc;
use core::task::Context;

use crate::admission::{Desk, Who};
use crate::child::{Child, Kind};
use crate::group::Group;
use crate::group::poll::Driven;
use crate::handle::Handle;
use crate::token::CancelToken;
use crate::util::parent_waker::ParentWaker;

/// One who wants room in a group, and what he does while he waits.
pub(crate) trait Driver<C: Kind> {
    const WHO: Who;

    /// Where he asks for room.
    fn desk(&mut self) -> Desk<'_, C>;

    /// Where he asks for room for that child.
    fn desk_for<A: Child<C>>(&mut self, child: &mut A) -> Desk<'_, C>;

    fn token(&self) -> &CancelToken;

    fn is_stopped(&self) -> bool;

    /// What rings for a stream that he asks for children.
    fn parent(&self) -> Arc<ParentWaker>;

    /// Begins a poll.
    fn begin(&mut self, cx: &mut Context<'_>);

    /// Polls the children until some of them finish or nothing is left to do.
    fn advance(&mut self, budget: &mut usize) -> Driven;

    /// Ends a poll.
    fn end(&mut self, cx: &mut Context<'_>, pending: bool);
}

impl<C: Kind, P, O> Driver<C> for &mut Group<C, P, O> {
    const WHO: Who = Who::Owner;

    #[inline]
    fn desk(&mut self) -> Desk<'_, C> {
        Group::desk(self)
    }

    #[inline]
    fn desk_for<A: Child<C>>(&mut self, child: &mut A) -> Desk<'_, C> {
        Group::desk_for(self, child)
    }

    fn token(&self) -> &CancelToken {
        Group::token(self)
    }

    fn is_stopped(&self) -> bool {
        Group::is_stopped(self)
    }

    fn parent(&self) -> Arc<ParentWaker> {
        Arc::clone(&self.admission.parent)
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        Group::begin(self, cx);
    }

    fn advance(&mut self, budget: &mut usize) -> Driven {
        Group::advance(self, budget)
    }

    fn end(&mut self, cx: &mut Context<'_>, pending: bool) {
        Group::end(self, cx, pending);
    }
}

impl<C: Kind> Driver<C> for Handle<C> {
    const WHO: Who = Who::Handle;

    fn desk(&mut self) -> Desk<'_, C> {
        Desk::Shared(&self.shared)
    }

    fn desk_for<A: Child<C>>(&mut self, _: &mut A) -> Desk<'_, C> {
        self.desk()
    }

    fn token(&self) -> &CancelToken {
        Handle::token(self)
    }

    fn is_stopped(&self) -> bool {
        Handle::is_stopped(self)
    }

    /// One of its own: what rings the group's is not for its task.
    fn parent(&self) -> Arc<ParentWaker> {
        ParentWaker::new()
    }

    fn begin(&mut self, _: &mut Context<'_>) {}

    fn advance(&mut self, _: &mut usize) -> Driven {
        Driven::Idle
    }

    fn end(&mut self, _: &mut Context<'_>, _: bool) {}
}
