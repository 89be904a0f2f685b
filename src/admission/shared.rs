//! The state behind its lock, for a group that has handles, an observer or a semaphore, or
//! children with options.
//!
//! # Locks
//!
//! Two: one around the children that wait, one around the [`State`]; the second is taken inside
//! the first, never the other way. No user code runs while one is held: no waker is woken, cloned
//! or dropped, no child dropped or polled, no permit given back. What is to be done for others
//! comes out as [`Effects`], which [`Core::apply`] carries out. The token's own lock is taken
//! inside them only to read the reason of a stop, for an observer; nothing is taken inside that
//! one.
//!
//! # Ways to the state
//!
//! | | gives freed room first | then |
//! | --- | --- | --- |
//! | `Shared::with`: a child or a waiter comes or goes | yes | processes the queue, updates the hints, carries out the effects, spawns |
//! | `Core::update`: any other change, by the group's task | yes | the same, but spawns nothing |
//! | `Core::update_as`: one by any task | yes | the same; the group's task spawns what starts |
//! | `Core::finish_child`: a child has ended | no: it frees room | nothing; `update` follows when the round is over, if something waits |
//! | `Shared::add_simply`: a child comes, and that concerns no other | no: if some was freed, the child comes by `with` | the group's task is notified if the child starts |
//! | `Core::try_start`: a plain child starts | no: if some was freed, none starts | nothing: it has taken room, and nothing else has changed |
//! | `Core::record`: only the observer's log changes | yes | nothing; an `update` follows |
//! | `Core::abort_queued`: a handle of one child takes it out of the queue | yes | as `update`; the group's task is notified |
//! | `Core::read`: what the queue does not depend on | no | nothing |

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::closed::ClosedEvent;
use super::permits::{PermitSource, Permits};
use super::queue::{ChildOptions, QueuedChild, Request, WaiterKey};
use super::state::{
    Acquire, Caller, ChildRecord, Dropped, Effects, GroupPhase, Refused, State, WaiterPoll, Wakers,
};
use crate::child::join::{AbortChild, JoinId, JoinLink};
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::task::Options;
use crate::child::{Child, Kind, Seal};
use crate::error::TryGoError;
use crate::key::Key;
use crate::observe::Outcome;
use crate::snapshot::{ChildState, Snapshot};
use crate::stats::Stats;
use crate::token::{CancelToken, Cancelled, wake_all};
use crate::util::dropped_by::DroppedBy;
use crate::util::lock::{Mutex, MutexGuard};
use crate::util::panic::{FirstPanic, catch, discard};
use crate::util::parent_waker::ParentWaker;
use crate::util::slab::Slab;
use crate::util::sync::{AtomicBool, Ordering};

pub(crate) type Spawner<C> = <<C as Kind>::Set as ChildSet<C>>::Spawner;

/// What a group and its handles have in common.
pub(crate) struct Shared<C: Kind> {
    /// What it contains takes much code to drop.
    pub(crate) core: DroppedBy<Arc<Core>>,
    waiting: Mutex<Waiting<C>>,
    pub(super) operations: Operations<C>,
}

struct Waiting<C> {
    /// The children that wait: for room, or to go to the set.
    children: Slab<C>,
    /// What starts children outside of the group's polls, [wrapped](SpawnChild::wrap).
    spawner: Option<C>,
}

/// The part of [`Shared`] that does not depend on the type of the children.
pub(crate) struct Core {
    token: CancelToken,
    parent: Arc<ParentWaker>,
    /// `true` if a child may go to the set; written under the lock only.
    has_ready: AtomicBool,
    /// `true` if a newcomer had to wait when the lock was last free; written under it only.
    must_wait: AtomicBool,
    /// `true` if a waiter of the group's own task has its turn; written under the lock only.
    group_turn: AtomicBool,
    /// `true` if the policy is to be told more of a running child than its index; written under
    /// the lock only.
    has_records: AtomicBool,
    /// `true` if the set may have children that end without a result; of the group's task only.
    has_endings: AtomicBool,
    /// `true` if children were aborted in the queue; written under the lock only.
    has_aborted: AtomicBool,
    /// `true` if children have ended since the queue was last processed, and something may wait;
    /// written under the lock only.
    must_process: AtomicBool,
    /// `true` if more reservations are to be taken back; written under the lock only.
    is_revoking: AtomicBool,
    state: Mutex<State>,
    /// `true` if an observer is told of events.
    observed: bool,
    /// `true` if an observer is told of each child, or each needs a permit or a pass.
    needs_more: bool,
    source: Option<Box<PermitSource>>,
    /// A child of the token that is cancelled when newcomers are refused, made on demand.
    newcomers: Mutex<Option<CancelToken>>,
    /// Wakes all waiters when the token is cancelled. It has a reference to the core.
    watch: Mutex<Option<Cancelled>>,
    pub(super) operations: CoreOperations,
}

/// A child that is offered to a group: it is taken only if it is accepted, and so the code that
/// decides is the same for all types of children.
pub(crate) trait Offer<C> {
    fn options(&mut self) -> Option<&mut Options>;
    fn link(&self) -> Option<&JoinLink>;
    fn take(&mut self) -> C;
}

/// The state and the children that wait, both unlocked: all operations on children.
pub(crate) struct Access<'a, C> {
    core: &'a Arc<Core>,
    pub(crate) state: &'a mut State,
    children: &'a mut Slab<C>,
    stopped: bool,
    pub(crate) effects: &'a mut Effects,
}

/// What a group's own code calls of [`Shared`] and [`Core`]. It is reached by these pointers, so a
/// program whose groups have no handles does not contain it.
pub(super) struct Operations<C: Kind> {
    pub(super) try_go: AcceptOffer<C>,
    pub(super) queue: AcceptOffer<C>,
    pub(super) try_queue: AcceptOffer<C>,
    pub(super) accept: AcceptOffer<C>,
    pub(super) abandon: fn(&Shared<C>, WaiterKey),
    pub(super) fill: FillOffer<C>,
    pub(super) poll_go: PollOffer<C>,
    pub(super) poll_reserve: PollTicket<C>,
    pub(super) take_ready: fn(&Shared<C>, &mut dyn FnMut(usize, C)),
    pub(super) drop_queue: fn(&Shared<C>, bool, &mut Vec<C>),
    pub(super) abort: fn(&Shared<C>, &mut Vec<(Dropped, C)>),
}

type AcceptOffer<C> = fn(&Shared<C>, Caller, &mut dyn Offer<C>) -> Result<(), Refused>;

type FillOffer<C> = fn(&Shared<C>, Caller, WaiterKey, &mut dyn Offer<C>) -> Result<(), Refused>;

type PollTicket<C> =
    fn(&Arc<Shared<C>>, Caller, &mut Option<Ticket<C>>, &Context<'_>) -> Poll<Result<(), Refused>>;

type PollOffer<C> = fn(
    &Arc<Shared<C>>,
    Caller,
    &mut Option<Ticket<C>>,
    &mut dyn Offer<C>,
    &Context<'_>,
) -> Poll<Result<(), Refused>>;

pub(super) type StateChange<'a> = &'a mut dyn FnMut(&mut State);

/// The part of [`Operations`] that does not depend on the type of the children.
pub(super) struct CoreOperations {
    pub(super) update: fn(&Core, StateChange<'_>),
    pub(super) record: fn(&Core, StateChange<'_>),
    pub(super) try_start: fn(&Core) -> Option<usize>,
    pub(super) finish_child: fn(&Core, usize, Outcome),
    pub(super) record_of: fn(&Core, usize) -> Option<ChildRecord>,
    pub(super) log_finished: fn(&Core, usize, Outcome),
    pub(super) log_dropped: fn(&Core, &Dropped),
    pub(super) ends_now: fn(&Core, usize) -> bool,
    pub(super) has_no_result: fn(&Core, usize) -> bool,
    pub(super) until_stop: fn(&Core) -> Vec<usize>,
    pub(super) has_only_daemons: fn(&Core) -> bool,
    pub(super) is_over: fn(&Core) -> bool,
    pub(super) try_close: fn(&Core) -> bool,
    pub(super) announce_end: fn(&Core),
    pub(super) stats: fn(&Core) -> Stats,
    pub(super) begin_poll: fn(&Core),
    pub(super) end_poll: fn(&Core, bool) -> bool,
    pub(super) acquire_permits: fn(&Core),
    pub(super) cancel_acquire: fn(&Core),
    pub(super) give_permits_back: fn(&Core),
}

/// A waiter's registration; dropped, it gives up the place in the queue or the reserved room.
pub(crate) struct Ticket<C: Kind> {
    shared: Arc<Shared<C>>,
    /// `None` while it does not wait.
    key: Option<WaiterKey>,
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
        match Option::take(self) {
            Some(child) => child.into_child(Seal::new()),
            None => unreachable!("an offered child is taken once"),
        }
    }
}

/// Puts a child among those that wait; `attach` links one that is joinable to the group.
#[inline]
pub(super) fn store<C, O: Offer<C> + ?Sized>(
    children: &mut Slab<C>,
    offer: &mut O,
    keeps_all: bool,
    attach: impl FnOnce(&JoinLink) -> Option<JoinId>,
) -> QueuedChild {
    // A child that is no `Task` has no options, is not joinable, and pays for none of it.
    let (options, join) = match offer.options() {
        None => (ChildOptions::DEFAULT, None),
        Some(given) => {
            let options = ChildOptions::take(given, keeps_all);
            (options, offer.link().and_then(attach))
        }
    };
    QueuedChild { key: children.insert(offer.take()), options, join }
}

/// Returns what the child asks for.
fn request_of<C>(offer: &mut dyn Offer<C>) -> Request<'_> {
    Request::new(offer.options().map(|options| &*options))
}

// === impl Access ===

impl<C: Kind> Access<'_, C> {
    /// Returns `true` if not even a waiter that has its turn may deliver its child.
    fn is_over(&self) -> bool {
        self.stopped || self.state.phase() >= GroupPhase::Closed
    }

    /// Puts a child among those that wait.
    #[inline]
    fn store(&mut self, offer: &mut dyn Offer<C>) -> QueuedChild {
        let Self { core, state, children, .. } = self;
        store(children, offer, state.looks_at_all(), |link| {
            let id = state.next_join_id();
            if link.attach(Arc::clone(core) as _, id) {
                state.abort_early(id);
            }
            Some(id)
        })
    }

    fn refusal(&self) -> Option<Refused> {
        self.state.refusal(self.stopped)
    }

    /// Admits a child if it need not wait. It overtakes no entry of the queue, whatever its
    /// priority: it is not one of those that wait.
    pub(crate) fn try_go(&mut self, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        let refusal = self.refusal();
        let request = request_of(offer);
        let admitted = refusal.is_none()
            && !self.state.is_duplicate(request)
            && self.state.try_take_room(request.behind_all());
        if admitted {
            let child = self.store(offer);
            self.state.admit(child);
            return Ok(());
        }
        let refused = refusal.unwrap_or(Refused::AtLimit);
        self.state.reject(refused, offer.options().as_deref());
        Err(refused)
    }

    /// Admits a child, now or in its turn. One that is refused is counted, and left to the caller
    /// to drop.
    pub(crate) fn queue(&mut self, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        self.enqueue(offer)
            .inspect_err(|refused| self.state.refuse(*refused, offer.options().as_deref()))
    }

    /// Does the same, but leaves a child that is refused to the caller.
    pub(crate) fn try_queue(&mut self, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        let duplicate = self.refusal().is_none() && self.state.is_duplicate(request_of(offer));
        let queued = if duplicate { Err(Refused::AtLimit) } else { self.enqueue(offer) };
        queued.inspect_err(|refused| self.state.reject(*refused, offer.options().as_deref()))
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
            let needs_more = self.state.permits().is_some() || self.state.passes().is_some();
            self.effects.in_order = !needs_more && !has_key;
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
            self.state.reject(Refused::Stopped, offer.options().as_deref());
        }
        if answer == Acquire::Ready {
            let child = self.store(offer);
            match key.take() {
                None => self.state.admit(child),
                Some(key) => self.state.fill(key, child, self.effects),
            }
        }
        answer
    }

    /// Reserves room for a child that a stream is yet to be asked for, or registers a waiter.
    fn poll_reserve(
        &mut self,
        key: &mut Option<WaiterKey>,
        poller: &mut WaiterPoll<'_>,
    ) -> Acquire {
        // A close is the end of a feed, even if it has its turn.
        if self.refusal().is_some() {
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
            // What waits behind it comes first: a child on offer overtakes nothing.
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
        if self.is_over() || (key.is_none() && self.refusal().is_some()) {
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

    /// Accepts the child of a waiter that has had its turn; it may be queued if it needs more
    /// room. One that comes too late is counted, and left to the caller to drop.
    fn fill(&mut self, key: WaiterKey, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        self.deliver(key, offer)
            .inspect_err(|refused| self.state.refuse(*refused, offer.options().as_deref()))
    }

    /// Does the same, but leaves a child that comes too late to the caller.
    fn fill_slot(&mut self, key: WaiterKey, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        self.deliver(key, offer)
            .inspect_err(|refused| self.state.reject(*refused, offer.options().as_deref()))
    }

    #[inline]
    fn deliver(&mut self, key: WaiterKey, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        if self.is_over() || !self.state.has_turn(key) {
            self.state.abandon(key, self.effects);
            return Err(Refused::Stopped);
        }
        let child = self.store(offer);
        self.state.fill(key, child, self.effects);
        Ok(())
    }

    /// Accepts a child that was asked for because there was room for a plain one; it may be
    /// queued if it needs more. One that comes too late is counted, and left to the caller to drop.
    pub(crate) fn accept(&mut self, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        if self.refusal().is_some() || !self.state.has_room(Request::FEED) {
            return self.queue(offer);
        }
        if self.state.try_take_room_asked(request_of(offer)) {
            let child = self.store(offer);
            self.state.admit(child);
            return Ok(());
        }
        if self.state.try_take_room(Request::FEED) {
            let key = self.state.reserve_newcomer(Request::FEED, Caller::Group);
            return self.fill(key, offer);
        }
        self.queue(offer)
    }
}

// === impl Shared ===

impl<C: Kind> Shared<C> {
    /// Shares what a group had to itself until now.
    pub(super) fn new(
        token: CancelToken,
        parent: Arc<ParentWaker>,
        mut state: State,
        children: Slab<C>,
        spawner: &Spawner<C>,
    ) -> Arc<Self> {
        state.prepare(<Spawner<C>>::SPAWNS);
        let inspector = state.inspector().cloned();
        let source = state.permits().as_ref().map(|permits| PermitSource::new(permits.semaphore()));
        let core = Arc::new(Core {
            token,
            parent,
            has_ready: AtomicBool::new(state.has_ready()),
            must_wait: AtomicBool::new(!state.admits_newcomers()),
            group_turn: AtomicBool::new(false),
            has_records: AtomicBool::new(false),
            has_endings: AtomicBool::new(false),
            has_aborted: AtomicBool::new(false),
            must_process: AtomicBool::new(false),
            is_revoking: AtomicBool::new(false),
            observed: state.log().is_some(),
            needs_more: state.needs_more(),
            state: Mutex::new(state),
            source,
            newcomers: Mutex::default(),
            watch: Mutex::default(),
            operations: CoreOperations::NEW,
        });
        let mut watch = core.token.cancelled();
        // If the stop comes just now: there is no waiter yet, and a newcomer sees it.
        let waker = Waker::from(Arc::clone(&core));
        let _ = Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
        *core.watch.lock() = Some(watch);
        if let Some(inspector) = inspector {
            inspector.register(&core);
        }
        let operations = Operations {
            try_go: Self::try_go,
            queue: Self::queue,
            try_queue: Self::try_queue,
            accept: Self::accept,
            abandon: Self::abandon,
            fill: Self::fill,
            poll_go: Self::poll_go,
            poll_reserve: Self::poll_reserve,
            take_ready: Self::take_ready,
            drop_queue: Self::drop_queue,
            abort: Self::abort,
        };
        let waiting = Mutex::new(Waiting { children, spawner: spawner.wrap() });
        let core = DroppedBy::new(core, |core| {
            // It has a reference to the core.
            let watch = core.watch.lock().take();
            drop(watch);
        });
        Arc::new(Self { core, waiting, operations })
    }

    /// Returns the state and the children if no handle has them.
    pub(super) fn into_inner(self: Arc<Self>) -> Result<(State, Slab<C>), Arc<Self>> {
        let Self { core, waiting, .. } = Arc::try_unwrap(self)?;
        let state = core::mem::replace(&mut *core.state.lock(), State::new());
        Ok((state, waiting.into_inner().children))
    }

    /// Changes the state and the children that wait, processes the queue, and carries out the
    /// effects.
    #[inline(always)]
    fn with<R>(&self, caller: Caller, change: impl FnOnce(&mut Access<'_, C>) -> R) -> R {
        let mut effects = Effects::default();
        let mut spawns = Default::default();
        let result = {
            let mut waiting = self.waiting.lock();
            let Waiting { children, spawner } = &mut *waiting;
            let spawner = spawner.as_ref().and_then(<Spawner<C>>::unwrap);
            let mut state = self.core.begin(&mut effects);
            if let Some(spawner) = spawner {
                self.core.note_ended(spawner, &mut state);
                state.give_freed_room(&mut effects);
            }
            let result = change(&mut Access {
                core: &self.core,
                state: &mut state,
                children,
                stopped: self.core.is_stopped(),
                effects: &mut effects,
            });
            self.core.finish(&mut state, &mut effects);
            if let Some(spawner) = spawner {
                start_unspawned(spawner, &mut state, children, &mut spawns);
            }
            result
        };
        self.core.apply(effects, caller);
        // Last: the executor may run a child in this call, which may wait for a task woken here.
        <Spawner<C>>::spawn_all(spawns);
        result
    }

    pub(crate) fn try_go(&self, caller: Caller, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        if self.add_simply(caller, offer, false) {
            return Ok(());
        }
        self.with(caller, |access| access.try_go(offer))
    }

    pub(crate) fn queue(&self, caller: Caller, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        if self.add_simply(caller, offer, true) {
            return Ok(());
        }
        self.with(caller, |access| access.queue(offer))
    }

    /// Accepts a child if that concerns no other: it starts at once, or with `queues` it is queued
    /// behind the head. Most children come in this way. Returns `false` if more is to be done.
    fn add_simply(&self, caller: Caller, offer: &mut dyn Offer<C>, queues: bool) -> bool {
        let core = &*self.core;
        let starts = !core.must_wait.load(Ordering::Relaxed);
        if <Spawner<C>>::SPAWNS || core.needs_more || !(starts || queues) || offer.link().is_some()
        {
            return false;
        }
        {
            let mut waiting = self.waiting.lock();
            let mut state = core.state.lock();
            let (request, stopped) = (request_of(offer), core.is_stopped());
            let is_simple = match starts {
                true => state.must_only_start(request, stopped),
                false => state.must_only_queue(request, stopped),
            };
            if !is_simple {
                return false;
            }
            let keeps_all = state.looks_at_all();
            let child = store(&mut waiting.children, offer, keeps_all, |_| None);
            if starts {
                state.start_only(child);
                core.has_ready.store(true, Ordering::Release);
                core.must_wait.store(!state.admits_newcomers(), Ordering::Relaxed);
                core.has_records.store(state.has_records(), Ordering::Relaxed);
            } else {
                state.enqueue(child);
            }
        }
        if starts && caller == Caller::Handle {
            core.notify();
        }
        true
    }

    pub(crate) fn try_queue(
        &self,
        caller: Caller,
        offer: &mut dyn Offer<C>,
    ) -> Result<(), Refused> {
        let is_unique = request_of(offer).unique;
        if !is_unique && self.add_simply(caller, offer, true) {
            return Ok(());
        }
        self.with(caller, |access| access.try_queue(offer))
    }

    pub(crate) fn accept(&self, caller: Caller, offer: &mut dyn Offer<C>) -> Result<(), Refused> {
        self.with(caller, |access| access.accept(offer))
    }

    fn fill(
        &self,
        caller: Caller,
        key: WaiterKey,
        offer: &mut dyn Offer<C>,
    ) -> Result<(), Refused> {
        self.with(caller, |access| access.fill(key, offer))
    }

    /// Gives up the place of a waiter.
    fn abandon(&self, key: WaiterKey) {
        // As by a handle: the group's task is told, since a `go` may be dropped at any time.
        self.with(Caller::Handle, |access| access.state.abandon(key, access.effects));
    }

    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        self.with(Caller::Handle, |access| access.state.set_limit(limit));
    }

    pub(crate) fn set_key_limit(&self, key: &Key, limit: Option<usize>) {
        self.with(Caller::Handle, |access| access.state.set_key_limit(key, limit));
    }

    /// Looks for room for the child of a `go`, and admits it; `Err` after a stop.
    pub(crate) fn poll_go(
        self: &Arc<Self>,
        caller: Caller,
        ticket: &mut Option<Ticket<C>>,
        offer: &mut dyn Offer<C>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        if !Ticket::is_waiting(ticket) && self.add_simply(caller, offer, false) {
            return Poll::Ready(Ok(()));
        }
        self.poll_ticket(caller, ticket, cx, |access, key, poller| {
            access.poll_go(key, offer, poller)
        })
    }

    /// Looks for room for a child that is yet to be asked for, and reserves it in `ticket`; `Err`
    /// after a stop.
    pub(crate) fn poll_reserve(
        self: &Arc<Self>,
        caller: Caller,
        ticket: &mut Option<Ticket<C>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        self.poll_ticket(caller, ticket, cx, |access, key, poller| access.poll_reserve(key, poller))
    }

    #[inline]
    fn poll_ticket(
        self: &Arc<Self>,
        caller: Caller,
        ticket: &mut Option<Ticket<C>>,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Access<'_, C>, &mut Option<WaiterKey>, &mut WaiterPoll<'_>) -> Acquire,
    ) -> Poll<Result<(), Refused>> {
        let mut key = ticket.as_ref().and_then(|ticket| ticket.key);
        let (task, group) = (cx.waker(), self.core.id());
        let mut poller = WaiterPoll { caller, task, clone: None, group };
        // Most newcomers find room and need no waker: they look without a clone, unless there was
        // no room a moment ago.
        if caller == Caller::Handle && key.is_none() && self.core.must_wait.load(Ordering::Relaxed)
        {
            poller.clone = Some(task.clone());
        }
        let answer = loop {
            match self.with(caller, |access| poll(access, &mut key, &mut poller)) {
                Acquire::NeedsWaker => poller.clone = Some(task.clone()),
                answer => break answer,
            }
        };
        if poller.clone.is_some() {
            // A waker's destructor that panics must not cost the caller its answer.
            let _ = catch(|| drop(poller.clone.take())).map_err(discard);
        }
        match ticket {
            Some(ticket) => ticket.key = key,
            None if key.is_some() => *ticket = Some(Ticket { shared: Arc::clone(self), key }),
            None => {}
        }
        match answer {
            Acquire::Ready => Poll::Ready(Ok(())),
            Acquire::Stopped => Poll::Ready(Err(Refused::Stopped)),
            Acquire::Pending | Acquire::NeedsWaker => Poll::Pending,
        }
    }

    /// Reserves room in `ticket` for as long as the caller likes; `Err` after a stop or a close.
    pub(crate) fn poll_slot(
        self: &Arc<Self>,
        ticket: &mut Option<Ticket<C>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        self.poll_ticket(Caller::Handle, ticket, cx, |access, key, poller| {
            access.poll_slot(key, poller)
        })
    }

    /// Waits, by the group's task, until a plain child would be admitted; `Err` after a stop or a
    /// close.
    pub(super) fn poll_ready(
        self: &Arc<Self>,
        ticket: &mut Option<Ticket<C>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        self.poll_ticket(Caller::Group, ticket, cx, |access, key, poller| {
            access.poll_ready(key, poller)
        })
    }

    /// Refuses newcomers from now on.
    pub(crate) fn close(&self) {
        self.with(Caller::Handle, |access| access.state.refuse_newcomers(access.effects));
        // A feed of a handle that waits for its stream is no waiter of the state. A waker that
        // panics is its executor's fault.
        let _ = catch(|| self.core.newcomers().cancel()).map_err(discard);
    }

    /// Calls `take` with each child that may go to the set, and its index, under the locks.
    fn take_ready(&self, take: &mut dyn FnMut(usize, C)) {
        let mut spawns = Default::default();
        {
            let mut waiting = self.waiting.lock();
            let Waiting { children, spawner } = &mut *waiting;
            let mut state = self.core.state.lock();
            if let Some(spawner) = spawner.as_ref().and_then(<Spawner<C>>::unwrap) {
                start_unspawned(spawner, &mut state, children, &mut spawns);
            }
            self.core.has_ready.store(false, Ordering::Release);
            self.core.has_endings.store(state.has_endings(), Ordering::Relaxed);
            while let Some((index, key)) = state.pop_ready() {
                if let Some(child) = children.remove(key) {
                    take(index, child);
                }
            }
        }
        <Spawner<C>>::spawn_all(spawns);
    }

    /// Moves the children that were aborted in the queue to `dropped`; if the group has `stopped`,
    /// all that were queued.
    fn drop_queue(&self, stopped: bool, dropped: &mut Vec<C>) {
        let mut keys = Vec::new();
        self.core.update(&mut |state| {
            state.take_aborted(&mut keys);
            self.core.has_aborted.store(false, Ordering::Relaxed);
            if stopped {
                // Children behind a reservation that is taken back may start.
                state.stop(&mut keys);
            }
        });
        let children = &mut self.waiting.lock().children;
        dropped.extend(keys.into_iter().filter_map(|key| children.remove(key)));
    }

    /// Closes the group whatever runs: moves the children that are not in the set to `dropped`.
    fn abort(&self, dropped: &mut Vec<(Dropped, C)>) {
        let mut keys = Vec::new();
        self.core.update(&mut |state| state.abort(&mut keys));
        let children = &mut self.waiting.lock().children;
        for (whose, key) in keys {
            dropped.extend(children.remove(key).map(|child| (whose, child)));
        }
    }
}

impl<C: Kind> Shared<C> {
    /// Replaces what starts children.
    pub(super) fn set_spawner(&self, spawner: &Spawner<C>) {
        let wrapped = spawner.wrap();
        let before = core::mem::replace(&mut self.waiting.lock().spawner, wrapped);
        drop(before);
    }

    /// Returns the group's numbers, taken at one moment.
    pub(crate) fn stats(&self) -> Stats {
        if !<Spawner<C>>::SPAWNS {
            return (self.core.operations.stats)(&self.core);
        }
        let waiting = self.waiting.lock();
        let spawner = waiting.spawner.as_ref().and_then(<Spawner<C>>::unwrap);
        self.core.read(|state| {
            if let Some(spawner) = spawner {
                self.core.note_ended(spawner, state);
            }
            state.stats()
        })
    }

    /// Takes a snapshot. `known` are running children of which the caller knows more, by their
    /// indexes.
    pub(crate) fn inspect(&self, known: &[(usize, ChildState)]) -> Snapshot {
        if !<Spawner<C>>::SPAWNS {
            return self.core.inspect(known);
        }
        // Notes the children that have ended by now.
        self.stats();
        let mut known = known.to_vec();
        {
            let waiting = self.waiting.lock();
            let spawner = waiting.spawner.as_ref().and_then(<Spawner<C>>::unwrap);
            let has_ended = |key| {
                let child = waiting.children.get(key);
                spawner.zip(child).is_some_and(|(spawner, child)| spawner.has_ended(child))
            };
            // Those that the group has not taken in yet come after those of its set.
            self.core.read(|state| {
                let ended = state.spawned().filter(|(_, key)| has_ended(*key));
                known.extend(ended.map(|(index, _)| (index, ChildState::Completed)));
            });
        }
        self.core.inspect(&known)
    }

    /// Looks for room for a child that is yet to be asked for, and reserves it in `ticket`; `Err`
    /// after a stop.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        caller: Caller,
        ticket: &mut Option<Ticket<C>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        (self.operations.poll_reserve)(self, caller, ticket, cx)
    }

    /// Returns `true` if the group has stopped, and the child of that index is to end with it.
    pub(crate) fn ends_now(&self, index: usize) -> bool {
        (self.core.operations.ends_now)(&self.core, index)
    }

    /// Returns `true` if the result of the child of that index, which has returned, is none.
    pub(crate) fn has_no_result(&self, index: usize) -> bool {
        (self.core.operations.has_no_result)(&self.core, index)
    }

    /// Changes the state, by the group's task.
    pub(super) fn update(&self, change: StateChange<'_>) {
        (self.core.operations.update)(&self.core, change);
    }
}

/// Takes the futures out of the children that have started.
pub(super) fn start_unspawned<C, S: SpawnChild<C>>(
    spawner: &S,
    state: &mut State,
    children: &mut Slab<C>,
    spawns: &mut S::Spawns,
) {
    state.take_unspawned(|index, key, name| {
        if let Some(child) = children.get_mut(key) {
            spawner.start(child, index, name, spawns);
        }
    });
}

// === impl Core ===

impl CoreOperations {
    const NEW: Self = Self {
        update: Core::update,
        record: Core::record,
        try_start: Core::try_start,
        finish_child: Core::finish_child,
        record_of: Core::record_of,
        log_finished: Core::log_finished,
        log_dropped: Core::log_dropped,
        ends_now: Core::ends_now,
        has_no_result: Core::has_no_result,
        until_stop: |core| core.read(|state| state.until_stop()),
        has_only_daemons: |core| !core.is_stopped() && core.read(|state| state.has_only_daemons()),
        is_over: |core| core.read(|state| state.is_over(core.is_stopped())),
        try_close: |core| core.read(|state| state.try_close(core.is_stopped())),
        announce_end: Core::announce_end,
        stats: |core| core.read(|state| state.stats()),
        begin_poll: Core::begin_poll,
        end_poll: Core::end_poll,
        acquire_permits: Core::acquire_permits,
        cancel_acquire: Core::cancel_acquire,
        give_permits_back: Core::give_permits_back,
    };
}

impl Core {
    pub(crate) fn token(&self) -> &CancelToken {
        &self.token
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.token().is_cancelled()
    }

    /// Returns what the group is known by while one of its children is polled.
    pub(crate) fn id(&self) -> usize {
        self.parent.id()
    }

    /// Reads the state.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&mut State) -> R) -> R {
        read(&mut self.state.lock())
    }

    /// Takes a snapshot. `known` are running children of which the caller knows more, by their
    /// indexes.
    pub(crate) fn inspect(&self, known: &[(usize, ChildState)]) -> Snapshot {
        let (mut snapshot, inspector) = self
            .read(|state| (state.inspect(self.is_stopped(), known), state.inspector().cloned()));
        snapshot.complete(self.token().reason(), &self.parent);
        if let Some(inspector) = inspector {
            snapshot.name = Some(Arc::clone(&inspector.name));
            let below = inspector.groups_below();
            snapshot.groups = below.iter().map(|core| core.inspect(&[])).collect();
        }
        snapshot
    }

    pub(crate) fn parent(&self) -> &ParentWaker {
        &self.parent
    }

    #[inline(never)]
    fn begin(&self, effects: &mut Effects) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        // First: a newcomer finds what the queue leaves, and a stop what had room before it.
        state.give_freed_room(effects);
        self.log_stop(&mut state);
        state
    }

    /// Notes the children that have ended outside of the group's polls.
    fn note_ended<C>(&self, spawner: &impl SpawnChild<C>, state: &mut State) {
        let mut ended = false;
        spawner.note_ended(&mut |index, outcome| {
            state.note_ended(index, outcome, self.is_stopped());
            ended = true;
        });
        if ended {
            self.must_process.store(true, Ordering::Relaxed);
        }
    }

    /// Processes the queue after a change, and updates the hints for readers without the lock.
    #[inline(never)]
    fn finish(&self, state: &mut State, effects: &mut Effects) {
        self.log_stop(state);
        if !effects.in_order {
            state.process_queue(self.is_stopped(), effects);
        }
        // The hints lie beside the lock, in a cache line that is this thread's by now.
        if state.has_ready() {
            self.has_ready.store(true, Ordering::Release);
        }
        self.must_wait.store(!state.admits_newcomers(), Ordering::Relaxed);
        self.group_turn.store(state.has_group_turn(), Ordering::Relaxed);
        self.has_records.store(state.has_records(), Ordering::Relaxed);
        self.must_process.store(false, Ordering::Relaxed);
        self.is_revoking.store(state.is_revoking(), Ordering::Relaxed);
        if state.has_aborted() {
            self.has_aborted.store(true, Ordering::Relaxed);
            effects.notify = true;
        }
        state.take_told(effects);
        if let Some(permits) = state.permits() {
            effects.permits = permits.take_spare();
            effects.cancel_acquire = core::mem::take(&mut permits.cancel_acquire);
        }
    }

    /// Changes the state, processes the queue, and carries out the effects. For changes by the
    /// group's task, which takes in the children that start.
    fn update(&self, change: StateChange<'_>) {
        self.update_as(Caller::Group, change);
    }

    fn update_as(&self, caller: Caller, change: StateChange<'_>) {
        let mut effects = Effects::default();
        let mut state = self.begin(&mut effects);
        change(&mut state);
        self.finish(&mut state, &mut effects);
        drop(state);
        self.apply(effects, caller);
    }

    /// Holds the group open while it is empty.
    pub(crate) fn hold(&self) {
        self.read(State::hold);
    }

    pub(crate) fn release_hold(&self) {
        self.update_as(Caller::Handle, &mut State::release_hold);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.read(|state| state.is_closing())
    }

    /// Returns a token that is cancelled by a stop, and when the group is closed.
    pub(crate) fn newcomers(&self) -> CancelToken {
        let mut newcomers = self.newcomers.lock();
        newcomers.get_or_insert_with(|| self.token().child()).clone()
    }

    /// Records the stop for the observer, if it has not been recorded.
    fn log_stop(&self, state: &mut State) {
        if self.observed {
            if let Some(log) = state.log().as_mut().filter(|_| self.is_stopped()) {
                log.stopped(|| self.token().reason());
            }
        }
    }

    /// Records events for the observer; changes nothing else.
    fn record(&self, record: StateChange<'_>) {
        if self.observed {
            // What these effects say is in the state as well, and the group's task, which is the
            // caller, changes it next.
            record(&mut self.begin(&mut Effects::default()));
        }
    }

    /// Records how a running child has ended.
    fn log_finished(&self, index: usize, outcome: Outcome) {
        self.record(&mut |state| state.log_finished(index, outcome));
    }

    /// Records that a child was dropped which was not in the set.
    fn log_dropped(&self, child: &Dropped) {
        self.record(&mut |state| match child {
            Dropped::Started(index) => state.log_finished(*index, Outcome::Dropped),
            Dropped::Unstarted(key, options) => state.log_unstarted(*key, options.boxed()),
        });
    }

    /// Carries out the effects of a change. No lock is held.
    #[inline]
    pub(super) fn apply(&self, effects: Effects, caller: Caller) {
        // The group's task looks for its work itself.
        let notify = effects.notify && caller == Caller::Handle;
        let wakes = effects.wake.first.is_some() || effects.discard.is_some();
        if notify || wakes || self.source.is_some() {
            self.apply_all(effects, notify);
        } else {
            effects.forget();
        }
    }

    /// Notifies the group's task. A waker that panics is its executor's fault.
    fn notify(&self) {
        let _ = catch(|| self.parent.notify()).map_err(discard);
    }

    #[inline(never)]
    fn apply_all(&self, effects: Effects, notify: bool) {
        let Effects { wake: Wakers { first, more }, discard, cancel_acquire, permits, .. } =
            effects;
        // A waker that panics is its executor's fault, and the executor has heard of it. It must
        // not cost a caller its child, or another task its wake-up.
        let mut panic = FirstPanic::default();
        if let Some(source) = &self.source {
            if cancel_acquire && !self.lacks_permit() {
                panic.guard(|| source.cancel());
                if self.lacks_permit() {
                    // A child has come in between, on whose behalf the group has begun to wait.
                    panic.guard(|| self.parent.notify());
                }
            }
            if permits > 0 {
                panic.guard(|| source.add_permits(permits));
            }
        }
        if notify {
            self.notify();
        }
        if let Some(waker) = first {
            panic.guard(|| waker.wake());
        }
        if !more.is_empty() {
            panic.guard(|| wake_all([more.into_iter().collect()].into()));
        }
        if discard.is_some() {
            panic.guard(|| drop(discard));
        }
        panic.discard();
    }

    // --- the group's side

    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        // Acquire: the task that notified of the children did so after the store.
        self.has_ready.load(Ordering::Acquire)
    }

    /// Returns `true` if a waiter of the group's own task has its turn and was not polled since.
    fn has_group_turn(&self) -> bool {
        self.group_turn.load(Ordering::Relaxed)
    }

    /// Returns `true` if there may be a [record](Self::record_of) of a child in the set: it was
    /// taken in under the lock, after the store.
    #[inline]
    pub(crate) fn has_records(&self) -> bool {
        self.has_records.load(Ordering::Relaxed)
    }

    /// Returns what is known of a running child, or `None` if that is nothing beyond its index.
    #[inline(never)]
    pub(crate) fn record_of(&self, index: usize) -> Option<ChildRecord> {
        self.read(|state| state.record_of(index))
    }

    /// Returns `true` if the set may have children that end without a result.
    #[inline]
    pub(crate) fn has_endings(&self) -> bool {
        self.has_endings.load(Ordering::Relaxed)
    }

    /// Returns `true` if children were aborted in the queue, for the group to drop.
    #[inline]
    pub(crate) fn has_aborted(&self) -> bool {
        // If the group looks too early, it is notified after the store.
        self.has_aborted.load(Ordering::Relaxed)
    }

    /// Returns `true` if there is nothing for the group's task to take in, to drop or to wait for.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        !self.has_ready() && !self.has_aborted() && self.source.is_none()
    }

    /// Returns `true` if the queue is to be processed: children have ended, or there is an observer
    /// or a semaphore.
    #[inline]
    pub(super) fn must_process(&self) -> bool {
        self.must_process.load(Ordering::Relaxed) || self.observed || self.source.is_some()
    }

    /// Returns `true` if the result of the child of that index, which has returned, is none.
    pub(crate) fn has_no_result(&self, index: usize) -> bool {
        self.read(|state| state.has_no_result(index))
    }

    /// Returns `true` if the group has stopped, and the child of that index is to end with it.
    pub(crate) fn ends_now(&self, index: usize) -> bool {
        self.is_stopped() && self.read(|state| state.is_until_stop(index))
    }

    /// Starts a plain child by the group's task, if that concerns no other: returns its index. The
    /// queue need not be processed.
    fn try_start(&self) -> Option<usize> {
        if self.needs_more {
            return None;
        }
        let mut state = self.state.lock();
        let index = state.try_start(self.is_stopped())?;
        self.must_wait.store(!state.admits_newcomers(), Ordering::Relaxed);
        Some(index)
    }

    /// Counts a child that is gone, and frees its room, without processing the queue.
    #[inline(never)]
    fn finish_child(&self, index: usize, outcome: Outcome) {
        let mut state = self.state.lock();
        if state.finish(index, outcome, self.is_stopped()) {
            self.must_process.store(true, Ordering::Relaxed);
            return;
        }
        // Nothing waits. Mostly the hints say so.
        if self.must_wait.load(Ordering::Relaxed) {
            self.must_wait.store(!state.admits_newcomers(), Ordering::Relaxed);
        }
        if self.has_records() {
            self.has_records.store(state.has_records(), Ordering::Relaxed);
        }
    }

    /// Returns `true` if a feed may ask its stream, and its child may start if it is a plain one,
    /// as long as no other task comes before it.
    pub(crate) fn admits_feed(&self) -> bool {
        !self.needs_more && self.read(|state| state.admits_feed(self.is_stopped()))
    }

    pub(crate) fn has_semaphore(&self) -> bool {
        self.source.is_some()
    }

    fn with_permits<R>(&self, f: impl FnOnce(&mut Permits) -> R) -> Option<R> {
        self.source.as_ref()?;
        self.state.lock().permits().as_mut().map(f)
    }

    fn lacks_permit(&self) -> bool {
        self.state.lock().lacks_permit()
    }

    fn begin_poll(&self) {
        if self.is_revoking.load(Ordering::Relaxed) {
            self.update(&mut |_| ());
        }
        self.with_permits(Permits::begin_poll);
    }

    /// Ends a poll. Returns `true` if there is work left in the state for the group's task.
    fn end_poll(&self, has_waiter: bool) -> bool {
        let left = (has_waiter && self.has_group_turn())
            || self.must_acquire()
            || self.is_revoking.load(Ordering::Relaxed);
        self.with_permits(Permits::end_poll);
        left
    }

    /// Waits for a permit on behalf of the head of the queue, for as long as the head lacks only
    /// a permit.
    fn acquire_permits(&self) {
        let Some(source) = &self.source else {
            return;
        };
        let may_wait = || self.with_permits(|permits| permits.may_wait()).unwrap_or(false);
        // The entries behind the head may lack one, too: then the wait begins anew.
        while may_wait() {
            if source.poll_acquire(&self.parent) {
                self.update(&mut |state| state.permits().iter_mut().for_each(Permits::add));
            } else if may_wait() {
                return;
            }
            // Else the head has left meanwhile, on another thread, which found nothing to cancel.
        }
        // The next waiter of the semaphore is told now.
        source.cancel();
    }

    /// Returns `true` if the head of the queue lacks only a permit, and the wait for it has not
    /// begun, or was woken.
    fn must_acquire(&self) -> bool {
        // A wake-up after the last look may have been taken together with those for children.
        let source = self.source.as_ref().filter(|source| !source.is_waiting());
        source.is_some() && self.lacks_permit()
    }

    /// Cancels the wait for a permit: the group is not polled any more.
    fn cancel_acquire(&self) {
        if let Some(source) = &self.source {
            source.cancel();
        }
    }

    /// Gives all permits back, when the children of a closed group are gone.
    fn give_permits_back(&self) {
        if self.source.is_some() {
            self.update(&mut |state| state.permits().iter_mut().for_each(Permits::free_all));
        }
    }

    // --- the end

    /// Announces the end to callers of `closed`.
    fn announce_end(&self) {
        let event = self.read(|state| {
            state.set_phase(GroupPhase::Ended);
            state.closed_event().clone()
        });
        if let Some(event) = event {
            event.set();
        }
    }

    /// Returns the event of the group's end.
    pub(crate) fn closed_event(&self) -> Arc<ClosedEvent> {
        let (event, ended) = self.read(|state| {
            let event = Arc::clone(state.closed_event().get_or_insert_default());
            (event, state.phase() == GroupPhase::Ended)
        });
        if ended {
            event.set();
        }
        event
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.read(|state| {
            state.phase() == GroupPhase::Ended
                || state.closed_event().as_ref().is_some_and(|event| event.is_set())
        })
    }
}

impl AbortChild for Core {
    fn abort_queued(&self, id: JoinId) -> bool {
        let mut effects = Effects::default();
        let mut state = self.begin(&mut effects);
        let found = state.abort_queued(id);
        self.finish(&mut state, &mut effects);
        drop(state);
        // The group's task takes in, and spawns, the children that start.
        self.apply(effects, Caller::Handle);
        found
    }

    fn abort_running(&self, id: JoinId) {
        self.read(|state| state.abort_running(id));
    }
}

/// Woken by a stop, it wakes all waiters, though the group's children may belong to one thread.
impl Wake for Core {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut effects = Effects::default();
        self.state.lock().take_wakers(&mut effects);
        let Wakers { first, more } = effects.wake;
        wake_all([first.into_iter().chain(more).collect()].into());
    }
}

// === impl Ticket ===

impl<C: Kind> Ticket<C> {
    pub(crate) fn is_waiting(ticket: &Option<Self>) -> bool {
        ticket.as_ref().is_some_and(|ticket| ticket.key.is_some())
    }

    /// Delivers the child for which room was reserved. Returns `false` if it came too late; it is
    /// dropped then, and counts as dropped.
    pub(crate) fn fill<A: Child<C>>(&mut self, caller: Caller, child: A) -> bool {
        let Some(key) = self.key.take() else {
            return false;
        };
        // A child that is refused is dropped here, unlocked.
        (self.shared.operations.fill)(&self.shared, caller, key, &mut Some(child)).is_ok()
    }

    /// Delivers the child for which room was reserved, or gives it back if the group has stopped.
    pub(crate) fn fill_slot<A: Child<C>>(mut self, child: A) -> Result<(), TryGoError<A>> {
        let mut child = Some(child);
        let answer = match self.key.take() {
            Some(key) => {
                let shared = &self.shared;
                shared.with(Caller::Handle, |access| access.fill_slot(key, &mut child))
            }
            None => Err(Refused::Stopped),
        };
        Refused::give_back(answer, child)
    }
}

impl<C: Kind> Drop for Ticket<C> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            (self.shared.operations.abandon)(&self.shared, key);
        }
    }
}
