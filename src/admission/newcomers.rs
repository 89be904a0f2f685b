//! How children come in by the group itself.
//!
//! Into a group that has its admission to itself, a child comes by a [`Vacancy`], or is queued. In
//! any other, the state that is shared decides.

use alloc::sync::Arc;
use core::task::{Context, Poll};

use super::access::{Add, Offer, Want};
use super::local::{Local, take_first};
use super::shared::{SpawnerOf, Ticket};
use super::state::{Caller, GroupPhase, Refused};
use super::stop::StopSignal;
use super::{Admission, Storage};
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::task::Options;
use crate::child::{Child, Kind, Seal};
use crate::error::TryGoError;
use crate::util::parent_waker::ParentWaker;

/// Room for a child in a group without handles.
pub(crate) struct Vacancy<'g, C: Kind> {
    /// Of the child.
    weight: usize,
    local: &'g mut Local<C>,
    set: &'g mut C::Set,
    parent: &'g Arc<ParentWaker>,
    stop: &'g StopSignal,
    keeps_names: bool,
}

// === impl Vacancy ===

impl<C: Kind> Vacancy<'_, C> {
    /// Returns `true` if the child is plain and the group has not stopped meanwhile.
    #[inline(always)]
    pub(crate) fn takes<A: Child<C>>(&self, child: &mut A) -> bool {
        !self.stop.is_set() && is_plain(child, self.keeps_names)
    }

    /// Starts the child that the room was looked for.
    #[inline(always)]
    pub(crate) fn insert<A: Child<C>>(self, child: A) {
        self.insert_with(|| child.into_child(Seal::new()));
    }

    /// Starts the child that the room was looked for. It is taken only when its slot is there, so
    /// that a large one is moved as few times as can be.
    #[inline(always)]
    pub(crate) fn insert_from<A: Child<C>>(self, child: &mut Option<A>) {
        self.insert_with(|| Offer::take(child));
    }

    #[inline(always)]
    fn insert_with(self, make: impl FnOnce() -> C) {
        let index = match self.weight {
            1 => {
                self.local.fast_credit -= 1;
                self.local.start()
            }
            weight => self.local.start_weighted(weight),
        };
        self.set.insert_with(make, index, self.parent);
    }

    pub(crate) fn parent(&self) -> &Arc<ParentWaker> {
        self.parent
    }
}

/// Returns `true` if a child needs no more than plain room.
#[inline(always)]
fn is_plain<C: Kind, A: Child<C>>(child: &mut A, keeps_names: bool) -> bool {
    let is_known = |it: &mut Options| !it.is_plain() || (keeps_names && it.name.is_some());
    !child.options(Seal::new()).is_some_and(is_known) && child.link(Seal::new()).is_none()
}

/// Returns the weight of a child that has no other option, or `None` if it has one.
fn weight_of<C: Kind, A: Child<C>>(child: &mut A) -> Option<usize> {
    if child.link(Seal::new()).is_some() {
        return None;
    }
    let Some(options) = child.options(Seal::new()) else { return Some(1) };
    options.has_at_most_weight().then_some(options.weight)
}

// === impl Refused ===

impl Refused {
    /// Returns the answer to the caller, with the child that was not taken.
    pub(crate) fn give_back<A>(
        answer: Result<(), Self>,
        child: Option<A>,
    ) -> Result<(), TryGoError<A>> {
        let Err(refused) = answer else { return Ok(()) };
        let error = match refused {
            Self::AtLimit => TryGoError::AtLimit,
            Self::Stopped => TryGoError::Stopped,
            Self::Closed => TryGoError::Closed,
        };
        child.map_or(Ok(()), |child| Err(error(child)))
    }
}

// === impl Admission ===

impl<C: Kind> Admission<C> {
    /// Shares the state if a child needs more than room. Returns the weight of the child, if the
    /// state is not shared.
    #[inline(always)]
    pub(crate) fn prepare<A: Child<C>>(&mut self, child: &mut A) -> Option<usize> {
        if self.shared().is_some() {
            return None;
        }
        if is_plain(child, self.keeps_names) {
            return Some(1);
        }
        self.keep_or_share(weight_of(child))
    }

    /// Shares the state, unless a child has at most that weight and the group polls it itself.
    #[inline(never)]
    fn keep_or_share(&mut self, weight: Option<usize>) -> Option<usize> {
        let weight = weight.filter(|_| !<SpawnerOf<C>>::SPAWNS);
        if weight.is_none() {
            self.share();
        }
        weight
    }

    /// Returns the room that there is for a plain child. A group that has handles has none to
    /// offer here: other tasks may want it.
    #[inline]
    pub(crate) fn vacancy<'g>(&'g mut self, set: &'g mut C::Set) -> Option<Vacancy<'g, C>> {
        let Storage::Local(local) = self.storage.get_mut() else {
            return None;
        };
        let (parent, open) = (&self.parent, self.phase < GroupPhase::Resolved);
        if self.stop.is_set()
            || (local.fast_credit == 0
                && !(open && local.must_look() && look_for_room::<C>(local, set, parent)))
        {
            return None;
        }
        let (stop, keeps_names) = (&self.stop, self.keeps_names);
        Some(Vacancy { weight: 1, local, set, parent, stop, keeps_names })
    }

    /// Returns the room that there is for a child, after the state was shared if it needs more.
    #[inline(always)]
    pub(crate) fn vacancy_for<'g, A: Child<C>>(
        &'g mut self,
        child: &mut A,
        set: &'g mut C::Set,
    ) -> Option<Vacancy<'g, C>> {
        if is_plain(child, self.keeps_names) {
            return self.vacancy(set);
        }
        match self.prepare(child)? {
            1 => self.vacancy(set),
            weight => self.weighted_vacancy(weight, set),
        }
    }

    #[inline(never)]
    fn weighted_vacancy<'g>(
        &'g mut self,
        weight: usize,
        set: &'g mut C::Set,
    ) -> Option<Vacancy<'g, C>> {
        let Storage::Local(local) = self.storage.get_mut() else {
            return None;
        };
        let (parent, open) = (&self.parent, self.phase < GroupPhase::Resolved);
        let (stop, keeps_names) = (&self.stop, self.keeps_names);
        if local.has_admitted() {
            insert_admitted::<C>(local, set, parent);
        }
        let has_room = !stop.is_set() && open && local.has_room(weight);
        has_room.then_some(Vacancy { weight, local, set, parent, stop, keeps_names })
    }

    /// Admits a child for which there is no [vacancy](Self::vacancy), if there is room for it among
    /// other tasks. One that is refused is left to the caller.
    pub(crate) fn try_go<A: Child<C>>(&mut self, child: &mut Option<A>) -> Result<(), Refused> {
        match self.storage.get_mut() {
            Storage::Local(_) if self.stop.is_set() => Err(Refused::Stopped),
            Storage::Local(_) => Err(Refused::AtLimit),
            Storage::Shared(shared) => {
                (shared.operations.add)(shared, Caller::Group, Add::TryGo, child)
            }
        }
    }

    /// Queues a child for which there is no [vacancy](Self::vacancy), or admits it if there is room
    /// for it among other tasks. A child that is refused is left to the caller; unless the caller
    /// keeps it, it counts as dropped.
    #[inline]
    pub(crate) fn queue<A: Child<C>>(
        &mut self,
        child: &mut Option<A>,
        keeps: bool,
    ) -> Result<(), Refused> {
        match self.storage.get_mut() {
            Storage::Local(local) => {
                if self.stop.is_set() || self.phase >= GroupPhase::Resolved {
                    let refused = if local.finished { Refused::Closed } else { Refused::Stopped };
                    if !keeps {
                        local.refuse();
                    }
                    return Err(refused);
                }
                let weight = child.options().map_or(1, |options| options.weight);
                local.enqueue(Offer::take(child), weight);
                Ok(())
            }
            Storage::Shared(shared) => {
                (shared.operations.add)(shared, Caller::Group, Add::Queue { keeps }, child)
            }
        }
    }

    /// Accepts a child that was asked for because there was room for a plain one. Returns `false`
    /// if it came too late; it is dropped then, and counts as dropped.
    pub(crate) fn accept<A: Child<C>>(&mut self, set: &mut C::Set, mut child: A) -> bool {
        let weight = self.prepare(&mut child).unwrap_or(1);
        match self.storage.get_mut() {
            Storage::Local(local) if self.stop.is_set() => {
                local.refuse();
                false
            }
            Storage::Local(local) => {
                let make = || child.into_child(Seal::new());
                if local.has_room(weight) {
                    set.insert_with(make, local.start_weighted(weight), &self.parent);
                } else {
                    local.enqueue(make(), weight);
                }
                true
            }
            Storage::Shared(_) => self.accept_shared(set, &mut Some(child)),
        }
    }

    /// Accepts such a child into a group whose state is shared.
    #[inline(never)]
    fn accept_shared<A: Child<C>>(&mut self, set: &mut C::Set, child: &mut Option<A>) -> bool {
        // Room that is kept for another child than a plain one is given up in the same change.
        self.start_in_kept_room(set, child)
            || self.shared().is_some_and(|shared| {
                (shared.operations.add)(shared, Caller::Group, Add::Fed, child).is_ok()
            })
    }

    /// Starts a plain child in the room that is kept for it. Returns `false` if that can't be.
    fn start_in_kept_room<A: Child<C>>(&mut self, set: &mut C::Set, child: &mut Option<A>) -> bool {
        if child.as_mut().is_some_and(|child| is_plain(child, self.keeps_names)) {
            if !<SpawnerOf<C>>::SPAWNS {
                // It can't go to the set past others.
                self.take_in(set);
            }
            if let Some(index) = self.calls().and_then(|calls| calls.start_in_kept_room()) {
                set.insert(Offer::take(child), index, &self.parent);
                return true;
            }
        }
        false
    }

    /// Starts a plain child of a group whose state is shared, if that concerns no other: returns
    /// its index. The child goes to the set at once; no other one waits for that.
    #[inline]
    fn start_shared<A: Child<C>>(
        &mut self,
        set: &mut C::Set,
        child: &mut Option<A>,
    ) -> Option<usize> {
        if !child.as_mut().is_some_and(|child| is_plain(child, self.keeps_names)) {
            return None;
        }
        let index = self.calls()?.try_start()?;
        set.insert(Offer::take(child), index, &self.parent);
        Some(index)
    }

    /// Looks for room for the child of the group's own `go` beside other tasks, and admits it;
    /// `Err` after a stop.
    pub(crate) fn poll_go<A: Child<C>>(
        &mut self,
        set: &mut C::Set,
        ticket: &mut Option<Ticket<C>>,
        child: &mut Option<A>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        if !Ticket::is_waiting(ticket) {
            if let Some(index) = self.start_shared(set, child) {
                self.shared().into_iter().for_each(|shared| shared.core.own_child.set_index(index));
                return Poll::Ready(Ok(()));
            }
        }
        match self.storage.get_mut() {
            Storage::Shared(_) if Ticket::waits_on(ticket) => Poll::Pending,
            Storage::Shared(shared) => {
                (shared.operations.poll)(shared, Caller::Group, Want::Go(child), ticket, cx)
            }
            // The caller has the group to itself: it needs no place in the queue.
            Storage::Local(_) if self.stop.is_set() => Poll::Ready(Err(Refused::Stopped)),
            Storage::Local(_) => Poll::Pending,
        }
    }

    /// Looks whether a plain child would be admitted for which there is no
    /// [vacancy](Self::vacancy); `Err` after a stop or a close.
    pub(crate) fn poll_ready(
        &mut self,
        ticket: &mut Option<Ticket<C>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        match self.storage.get_mut() {
            Storage::Shared(_) if Ticket::waits_on(ticket) => Poll::Pending,
            Storage::Shared(shared) => shared.poll(Caller::Group, Want::Ready, ticket, cx),
            Storage::Local(_) if self.stop.is_set() => Poll::Ready(Err(Refused::Stopped)),
            Storage::Local(_) => Poll::Pending,
        }
    }
}

/// Looks whether a newcomer may enter a group without handles, and how many may after it.
#[inline(never)]
fn look_for_room<C: Kind>(
    local: &mut Local<C>,
    set: &mut C::Set,
    parent: &Arc<ParentWaker>,
) -> bool {
    if local.has_admitted() {
        insert_admitted::<C>(local, set, parent);
    }
    local.look_for_room()
}

/// Moves the admitted children into the set.
#[inline(never)]
pub(super) fn insert_admitted<C: Kind>(
    local: &mut Local<C>,
    set: &mut C::Set,
    parent: &Arc<ParentWaker>,
) {
    local.start_admitted(|index, waiting| {
        // It is taken out only when its slot is there, so that a large one is moved once.
        set.insert_with(|| take_first(waiting), index, parent);
    });
}
