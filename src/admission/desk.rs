//! Where a child is admitted: by the group alone, without a lock, or by the group and its handles.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::line::QueuedChild;
use super::state::State;
use super::stop::{StopSignal, is_stopped};
use super::{Shared, Who};
use crate::child::{Child, Kind, Seal};
use crate::error::TryGoError;
use crate::reason::Reason;
use crate::set::BlockSet;
use crate::spawned::SpawnedSet;
use crate::util::lock::LazyInit;
use crate::util::parent_waker::ParentWaker;
use crate::util::sparse_queue::shrink;

/// Where a group's children are admitted.
pub(crate) enum Desk<'g, C: Kind> {
    /// By the group alone.
    Own(Own<'g, C>),
    /// By the group and its handles.
    Shared(&'g Arc<Shared<C>>),
}

pub(crate) struct Own<'g, C: Kind> {
    pub(super) state: &'g mut State<C>,
    pub(super) set: &'g mut BlockSet<C>,
    pub(super) parent: &'g Arc<ParentWaker>,
    pub(super) token: &'g LazyInit<StopSignal>,
    pub(super) stopped: &'g Option<Reason>,
    pub(super) spawned: &'g mut Option<Box<SpawnedSet<C>>>,
}

pub(crate) enum Room {
    Yes,
    No,
    Stopped,
}

// === impl Desk ===

impl<C: Kind> Desk<'_, C> {
    pub(crate) fn try_go<A: Child<C>>(self, child: A) -> Result<(), TryGoError<A>> {
        match self {
            Self::Shared(shared) => shared.try_go(Who::Owner, child),
            Self::Own(mut own) => match own.room() {
                Room::Yes => {
                    own.enter(child);
                    Ok(())
                }
                Room::No => Err(TryGoError::AtLimit(child)),
                Room::Stopped => Err(TryGoError::Stopped(child)),
            },
        }
    }

    pub(crate) fn queue<A: Child<C>>(self, child: A) {
        match self {
            Self::Shared(shared) => {
                shared.queue(Who::Owner, child);
            }
            Self::Own(mut own) => match own.room() {
                Room::Yes => own.enter(child),
                Room::No => own.state.queue(QueuedChild::new(child)),
                Room::Stopped => own.state.stats.dropped += 1,
            },
        }
    }
}

impl<C: Kind> Own<'_, C> {
    #[inline]
    fn is_stopped(&self) -> bool {
        is_stopped(self.token, self.stopped)
    }

    #[inline]
    pub(crate) fn room(&mut self) -> Room {
        if self.is_stopped() {
            Room::Stopped
        } else if self.state.quick != 0 {
            Room::Yes
        } else {
            self.state.look_for_room(self.set, self.parent, self.spawned)
        }
    }

    /// Admits a child for whom there is room.
    #[inline(always)]
    pub(crate) fn enter<A: Child<C>>(&mut self, child: A) {
        self.state.quick -= 1;
        let index = self.state.enter();
        let child = child.into_child(Seal::new());
        match self.spawned {
            Some(spawned) if C::ELSEWHERE => spawned.enter(child, index),
            _ => self.set.insert(child, index, self.parent),
        }
    }
}

// === impl State ===

impl<C: Kind> State<C> {
    /// Moves the admitted children to where they belong.
    #[inline]
    pub(super) fn take_in(
        &mut self,
        set: &mut BlockSet<C>,
        parent: &Arc<ParentWaker>,
        spawned: &mut Option<Box<SpawnedSet<C>>>,
    ) {
        if self.has_mail() {
            self.empty_outbox(set, parent, spawned);
        }
    }

    /// Whether a newcomer may enter a group without handles, and how many may after it.
    #[inline(never)]
    fn look_for_room(
        &mut self,
        set: &mut BlockSet<C>,
        parent: &Arc<ParentWaker>,
        spawned: &mut Option<Box<SpawnedSet<C>>>,
    ) -> Room {
        if self.closed {
            return Room::Stopped;
        }
        self.take_in(set, parent, spawned);
        if !self.admits_newcomers() {
            return Room::No;
        }
        self.quick = self.room();
        Room::Yes
    }

    #[cold]
    fn empty_outbox(
        &mut self,
        set: &mut BlockSet<C>,
        parent: &Arc<ParentWaker>,
        spawned: &mut Option<Box<SpawnedSet<C>>>,
    ) {
        let mut batch = VecDeque::new();
        let first = self.take_outbox(&mut batch);
        receive(first, &mut batch, set, parent, spawned);
        // It keeps its room.
        self.take_outbox(&mut batch);
    }
}

/// Takes a batch of admitted children to where they belong.
pub(super) fn receive<C: Kind>(
    first: usize,
    batch: &mut VecDeque<C>,
    set: &mut BlockSet<C>,
    parent: &Arc<ParentWaker>,
    spawned: &mut Option<Box<SpawnedSet<C>>>,
) {
    if let Some(spawned) = spawned {
        return spawned.receive(first, batch);
    }
    for (index, child) in (first..).zip(batch.drain(..)) {
        set.insert(child, index, parent);
    }
    shrink(batch);
}
