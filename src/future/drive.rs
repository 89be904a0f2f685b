//! What differs between a `go` (or `feed`) of a group and one of a handle: the group's polls
//! the children while it waits, the handle's only waits.

use alloc::sync::Arc;
use core::task::Context;

use crate::admission::{Shared, Start, Who};
use crate::group::run::Driven;
use crate::{Group, Handle, Kind};

/// One who wants room in a group, and what he does while he waits.
pub(crate) trait Drive<C> {
    fn shared(&self) -> &Arc<Shared<C>>;

    fn who(&self) -> Who;

    /// Begins a poll.
    fn begin(&mut self, cx: &mut Context<'_>);

    /// Polls the children until one of them finishes or nothing is left to do.
    fn advance(&mut self, budget: &mut usize) -> Driven;

    /// Takes care of a child that was admitted.
    fn start(&mut self, child: Start<C>);

    /// Ends a poll.
    fn end(&mut self, cx: &mut Context<'_>, pending: bool);
}

impl<C: Kind, P, O> Drive<C> for &mut Group<C, P, O> {
    fn shared(&self) -> &Arc<Shared<C>> {
        &self.shared
    }

    fn who(&self) -> Who {
        Who::Owner
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        Group::begin(self, cx);
    }

    fn advance(&mut self, budget: &mut usize) -> Driven {
        Group::advance(self, budget)
    }

    fn start(&mut self, child: Start<C>) {
        if let Start::Now(admitted) = child {
            self.set.insert(admitted.child, admitted.index);
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, pending: bool) {
        Group::end(self, cx, pending);
    }
}

impl<C: Kind> Drive<C> for Handle<C> {
    fn shared(&self) -> &Arc<Shared<C>> {
        &self.shared
    }

    fn who(&self) -> Who {
        Who::Handle
    }

    fn begin(&mut self, _: &mut Context<'_>) {}

    fn advance(&mut self, _: &mut usize) -> Driven {
        Driven::Idle
    }

    /// A handle's are mailed, and the group is told.
    fn start(&mut self, _: Start<C>) {}

    fn end(&mut self, _: &mut Context<'_>, _: bool) {}
}
