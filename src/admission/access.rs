//! What can be done with a child or a waiter: the operations on the state and the children that
//! wait, both unlocked.

use alloc::sync::Arc;

use super::queue::{ChildOptions, QueuedChild, Request, WaiterKey};
use super::shared_core::Core;
use super::state::{Acquire, Caller, Effects, Refused, State, WaiterPoll};
use crate::child::join::JoinLink;
use crate::child::task::Options;
use crate::child::{Child, Kind, Seal};
use crate::util::slab::Slab;

/// A child that is offered to a group: it is taken only if it is accepted, and so the code that
/// decides is the same for all types of children.
pub(crate) trait Offer<C> {
    fn options(&mut self) -> Option<&mut Options>;
    fn link(&self) -> Option<&JoinLink>;
    fn take(&mut self) -> C;
}

/// How a child is brought.
#[derive(Clone, Copy)]
pub(crate) enum Add {
    /// To be admitted at once.
    TryGo,
    /// To be admitted, now or in its turn. One that is refused counts as dropped, unless the caller
    /// keeps it.
    Queue { keeps: bool },
    /// A feed of the group itself has asked for it, because there was room for a plain child.
    Fed,
    /// Room was reserved for it. As with `Queue`, one that comes too late is counted or kept.
    Fill { key: WaiterKey, keeps: bool },
}

/// What is waited for.
pub(crate) enum Want<'a, C> {
    /// Room for this child, which is then admitted.
    Go(&'a mut dyn Offer<C>),
    /// Room for a child that a stream is yet to be asked for.
    Feed,
    /// Room to be kept for as long as the caller likes.
    Slot,
    /// That a plain child would be admitted.
    Ready,
}

/// The state and the children that wait, both unlocked: all operations on children.
pub(super) struct Access<'a, C> {
    pub(super) core: &'a Arc<Core>,
    pub(super) state: &'a mut State,
    pub(super) children: &'a mut Slab<C>,
    pub(super) stopped: bool,
    pub(super) effects: &'a mut Effects,
}

// === impl Offer ===

impl<C: Kind, A: Child<C>> Offer<C> for Option<A> {
    fn options(&mut self) -> Option<&mut Options> {
        self.as_mut()?.options(Seal::new())
    }

    fn link(&self) -> Option<&JoinLink> {
        self.as_ref()?.link(Seal::new())
    }

    fn take(&mut self) -> C {
        take_offered(self).into_child(Seal::new())
    }
}

/// Takes an offered child. Apart: without optimizations, a large one would be copied more often.
#[inline]
fn take_offered<A>(offer: &mut Option<A>) -> A {
    match offer.take() {
        Some(child) => child,
        None => unreachable!("an offered child is taken once"),
    }
}

/// Takes the options that a child was given. One that is no `Task` has none, and pays for none of
/// it.
#[inline]
pub(super) fn take_options<C>(offer: &mut dyn Offer<C>, keeps_all: bool) -> ChildOptions {
    match offer.options() {
        None => ChildOptions::DEFAULT,
        Some(given) => ChildOptions::take(given, keeps_all),
    }
}

/// Returns what the child asks for.
pub(super) fn request_of<C>(offer: &mut dyn Offer<C>) -> Request<'_> {
    Request::new(offer.options().map(|options| &*options))
}

// === impl Access ===

impl<C: Kind> Access<'_, C> {
    /// Puts a child among those that wait. Links one that is joinable to the group.
    #[inline]
    fn store(&mut self, offer: &mut dyn Offer<C>) -> QueuedChild {
        let Self { core, state, children, .. } = self;
        let options = take_options(offer, state.looks_at_all);
        let join = offer.link().map(|link| {
            let id = state.joins().next_id();
            if link.attach(Arc::clone(core) as _, id) {
                state.joins().abort_early(id);
            }
            id
        });
        QueuedChild { key: children.insert(offer.take()), options, join }
    }

    /// Returns `true` if newcomers are refused.
    fn refuses(&self) -> bool {
        self.state.lifecycle.refusal(self.stopped).is_some()
    }

    /// Accepts a child, or leaves it to the caller.
    #[inline(always)]
    pub(super) fn add(&mut self, how: Add, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        match how {
            Add::TryGo => self.try_go(offer),
            Add::Queue { keeps } => self.queue(offer, keeps),
            Add::Fed => self.accept(offer),
            Add::Fill { key, keeps } => self.fill(key, offer, keeps),
        }
    }

    /// Looks for what is wanted, or registers a waiter.
    #[inline(always)]
    pub(super) fn poll(
        &mut self,
        want: &mut Want<'_, C>,
        key: &mut Option<WaiterKey>,
        poller: &mut WaiterPoll<'_>,
    ) -> Acquire {
        match want {
            Want::Go(offer) => self.poll_go(key, *offer, poller),
            Want::Feed => self.poll_feed(key, poller),
            Want::Slot => self.poll_slot(key, poller),
            Want::Ready => self.poll_ready(key, poller),
        }
    }

    /// Records why a child is refused. One that the caller does not keep counts as dropped.
    fn refuse(&mut self, refused: Refused, offer: &mut dyn Offer<C>, keeps: bool) {
        self.state.refuse(refused, offer.options().as_deref(), keeps);
    }

    /// Admits a child if it need not wait. It overtakes no entry of the queue, whatever its
    /// priority: it is not one of those that wait.
    fn try_go(&mut self, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        let request = request_of(offer).behind_all();
        let refusal = self.state.refusal(request, self.stopped);
        if refusal.is_none() && self.state.try_take_room(request) {
            let child = self.store(offer);
            self.state.admit(child);
            return Ok(());
        }
        let refused = refusal.unwrap_or(Refused::AtLimit);
        self.refuse(refused, offer, true);
        Err(refused)
    }

    /// Admits a child, now or in its turn. A duplicate that the caller keeps is refused.
    #[inline]
    fn queue(&mut self, offer: &mut dyn Offer<C>, keeps: bool) -> Result<(), Refused> {
        let at_limit = Some(Refused::AtLimit);
        let is_duplicate = keeps && self.state.refusal(request_of(offer), self.stopped) == at_limit;
        let queued = if is_duplicate { Err(Refused::AtLimit) } else { self.enqueue(offer) };
        queued.inspect_err(|refused| self.refuse(*refused, offer, keeps))
    }

    #[inline]
    fn enqueue(&mut self, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        let refusal = self.state.queue_refusal(self.stopped);
        let request = request_of(offer);
        let has_key = request.key.is_some();
        let room =
            matches!(refusal, None | Some(Refused::AtLimit)) && self.state.try_take_room(request);
        if let Some(refused) = refusal.filter(|_| !room) {
            return Err(refused);
        }
        let child = self.store(offer);
        if room {
            self.state.admit(child);
        } else {
            self.state.enqueue(child);
            // The head had no room before, nor has it now. A permit may have come, a gate may be
            // asked, or the child may have parked the head.
            self.effects.in_order = !self.state.room.needs_beside() && !has_key;
        }
        Ok(())
    }

    /// Admits the child of a `go`, or registers it as a waiter.
    fn poll_go(
        &mut self,
        key: &mut Option<WaiterKey>,
        offer: &mut dyn Offer<C>,
        poller: &mut WaiterPoll<'_>,
    ) -> Acquire {
        let answer = self.poll_turn(key, request_of(offer), poller);
        if answer == Acquire::Stopped {
            self.refuse(Refused::Stopped, offer, true);
        }
        if answer == Acquire::Ready {
            let child = self.store(offer);
            if poller.caller == Caller::Group {
                self.core.own_child.set_key(child.key);
            }
            match key.take() {
                None => self.state.admit(child),
                Some(key) => self.state.fill(key, child, self.effects),
            }
        }
        answer
    }

    /// Reserves room for a child that a stream is yet to be asked for, or registers a waiter.
    fn poll_feed(&mut self, key: &mut Option<WaiterKey>, poller: &mut WaiterPoll<'_>) -> Acquire {
        // A close is the end of a feed, even if it has its turn.
        if self.refuses() {
            return Acquire::Stopped;
        }
        self.reserve(key, Request::FEED, poller)
    }

    /// Reserves room for as long as the caller likes, or registers a waiter.
    fn poll_slot(&mut self, key: &mut Option<WaiterKey>, poller: &mut WaiterPoll<'_>) -> Acquire {
        let answer = self.reserve(key, Request::PLAIN, poller);
        if answer == Acquire::Ready {
            if let Some(key) = *key {
                self.state.detach(key);
            }
        }
        answer
    }

    fn reserve(
        &mut self,
        key: &mut Option<WaiterKey>,
        request: Request<'_>,
        poller: &mut WaiterPoll<'_>,
    ) -> Acquire {
        let answer = self.poll_turn(key, request, poller);
        if answer == Acquire::Ready && key.is_none() {
            *key = Some(self.state.reserve_newcomer(request, poller.caller));
        }
        answer
    }

    /// Looks whether a plain child would be admitted, or registers a waiter behind all others.
    fn poll_ready(&mut self, key: &mut Option<WaiterKey>, poller: &mut WaiterPoll<'_>) -> Acquire {
        loop {
            let answer = self.poll_turn(key, Request::LAST, poller);
            if answer != Acquire::Ready {
                return answer;
            }
            let Some(key) = key.take() else {
                self.state.free_room(Request::LAST.weight, None);
                return answer;
            };
            // What waits behind it comes first: a child on offer overtakes nothing. The pass goes
            // to that, or to the child on offer.
            self.state.spare_pass(key);
            self.state.abandon(key, self.effects);
            self.state.process_queue(self.stopped, self.effects);
        }
    }

    /// Looks for room. A newcomer that is `Ready` has taken it; one that is not stands in the
    /// queue from now on, under `key`.
    fn poll_turn(
        &mut self,
        key: &mut Option<WaiterKey>,
        request: Request<'_>,
        poller: &mut WaiterPoll<'_>,
    ) -> Acquire {
        if !self.state.lifecycle.admits(self.stopped) || (key.is_none() && self.refuses()) {
            return Acquire::Stopped;
        }
        if let Some(key) = *key {
            if !self.state.has_turn(key) {
                // A permit may have come, of which the state cannot know.
                self.state.process_queue(self.stopped, self.effects);
            }
            return self.state.poll_waiter(key, poller);
        }
        if self.state.try_take_room(request) {
            return Acquire::Ready;
        }
        *key = self.state.wait(request, poller);
        if key.is_some() { Acquire::Pending } else { Acquire::NeedsWaker }
    }

    /// Accepts the child of a waiter that has had its turn; it may be queued if it needs more room.
    fn fill(
        &mut self,
        key: WaiterKey,
        offer: &mut dyn Offer<C>,
        keeps: bool,
    ) -> Result<(), Refused> {
        if !self.state.lifecycle.admits(self.stopped) || !self.state.has_turn(key) {
            self.state.abandon(key, self.effects);
            self.refuse(Refused::Stopped, offer, keeps);
            return Err(Refused::Stopped);
        }
        let child = self.store(offer);
        self.state.fill(key, child, self.effects);
        Ok(())
    }

    /// Accepts a child that was asked for because there was room for a plain one; it may be
    /// queued if it needs more. One that comes too late is counted, and left to the caller to drop.
    fn accept(&mut self, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        self.state.give_up_room();
        if self.refuses() || !self.state.has_room(Request::FEED) {
            return self.queue(offer, false);
        }
        // A plain child had room when it was asked for, so it passes what that would have passed.
        let request = request_of(offer);
        if self.state.try_take_room(Request { priority: request.priority.max(0), ..request }) {
            let child = self.store(offer);
            self.state.admit(child);
            return Ok(());
        }
        if self.state.try_take_room(Request::FEED) {
            let key = self.state.reserve_newcomer(Request::FEED, Caller::Group);
            return self.fill(key, offer, false);
        }
        self.queue(offer, false)
    }
}
