//! The state and the children that wait, behind their locks, for a group that has handles, an
//! observer or a semaphore, or children with options.
//!
//! # Locks
//!
//! Two: one around the children that wait, one around the [`State`]; the second is taken inside the
//! first, never the other way. No user code runs while one is held: no waker is woken, cloned or
//! dropped, no child dropped or polled, no permit given back. What is to be done for others comes
//! out as [`Effects`], which [`Core::apply`] carries out. Other locks are taken inside them for a
//! moment, and mostly none inside these: the token's to read the reason of a stop, for an observer;
//! that of a joinable child's cell, to link it; the inspector's; the one around an executor's
//! reports, inside which the inspector's is taken as well. [`Core`] has three more, around the
//! token of newcomers, the watch over the group's token and the wait for a permit: none of them is
//! taken inside these two.
//!
//! # Ways to the state
//!
//! | | gives freed room first | then |
//! | --- | --- | --- |
//! | `Shared::with`: a child or a waiter comes or goes | yes | processes the queue, updates the hints, carries out the effects, spawns |
//! | `CoreCalls::update`: any other change, by the group's task | yes | the same, but spawns nothing |
//! | `Core::process_queue`: nothing else changes | yes, and that is the pass over the queue unless the group has stopped | the same |
//! | `Core::update_as`: one by any task | yes | the same; the group's task spawns what starts |
//! | `CoreCalls::finish_child`: a child has ended | no: it frees room; after a stop, or if children wait inside others, what was freed before | nothing; `update` follows when the round is over, if something waits |
//! | `Shared::add_simply`: a child comes, and that concerns no other | no: ends of spawned children are noted, and if room was freed, the child comes by `with` | a child that starts is spawned, and the group's task is notified if a handle has brought it |
//! | `CoreCalls::try_start`: a plain child starts | no: if some was freed, none starts | nothing: it has taken room, and nothing else has changed |
//! | `CoreCalls::keep_room`, `start_in_kept_room`: the group's own feed asks its stream, and its plain child starts | no: if some was freed, none is kept | nothing, as above; without such a child, `give_up_room` is an `update` |
//! | `CoreCalls::log`, `log_finished`: only the observer's log changes | yes | nothing; an `update` follows if room was freed |
//! | `Core::abort_queued`: a handle of one child takes it out of the queue | yes | as `update`; the group's task is notified |
//! | `Core::with_state`: what the queue does not depend on | no | nothing; if the numbers are read, ends of spawned children are noted first, and the next change gives their room |
//! | `Shared::take_started`: children that have started go to the set | no | nothing |
//! | `Core::wake`: the token was cancelled | yes | carries out the effects of that, and wakes all waiters |

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::task::{Context, Poll};

use super::access::{Access, Add, Offer, Want, request_of, take_options};
use super::hints::Hints;
use super::queue::{ChildKey, QueuedChild, WaiterKey};
use super::shared_core::{Core, CoreCalls};
use super::state::{Acquire, Caller, Dropped, Effects, Refused, Simply, State, WaiterPoll};
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::{Child, Kind};
use crate::error::TryGoError;
use crate::key::Key;
use crate::snapshot::{ChildState, Snapshot};
use crate::token::CancelToken;
use crate::util::dropped_by::DroppedBy;
use crate::util::lock::Mutex;
use crate::util::panic::quietly;
use crate::util::parent_waker::ParentWaker;
use crate::util::slab::Slab;

pub(crate) type SpawnerOf<C> = <<C as Kind>::Set as ChildSet<C>>::Spawner;

type SpawnsOf<C> = <SpawnerOf<C> as SpawnChild<C>>::Spawns;

/// What a group and its handles have in common.
pub(crate) struct Shared<C: Kind> {
    /// What it contains takes much code to drop.
    pub(crate) core: DroppedBy<Arc<Core>>,
    /// The same `Core`, by what only shared groups call.
    pub(crate) calls: Arc<dyn CoreCalls>,
    /// Not `DroppedBy` a pointer: a handle may be dropped after what the children borrow, as long
    /// as no type that contains them has a destructor.
    waiting: Mutex<Waiting<C>>,
    pub(super) operations: Operations<C>,
}

struct Waiting<C> {
    /// The children that wait: for room, or to go to the set.
    children: Slab<C>,
    /// What starts children outside of the group's polls, [wrapped](SpawnChild::wrap).
    spawner: Option<C>,
}

/// What a group's own code calls of [`Shared`]. It is reached by these pointers, so a program whose
/// groups have no handles does not contain it.
pub(super) struct Operations<C: Kind> {
    pub(super) add: AddOffer<C>,
    pub(super) poll: PollTicket<C>,
    pub(super) abandon: fn(&Shared<C>, WaiterKey),
    pub(super) take_started: fn(&Shared<C>, &mut dyn FnMut(usize, C)),
    pub(super) drop_queue: fn(&Shared<C>, bool, &mut Vec<C>),
    pub(super) add_ending: fn(&Shared<C>, &mut C::Set),
    pub(super) abort: AbortAll<C>,
}

type AbortAll<C> = fn(&Shared<C>, Vec<usize>, &mut Vec<C>) -> Box<dyn FnMut()>;

type AddOffer<C> = fn(&Shared<C>, Caller, Add, &mut dyn Offer<C>) -> Result<(), Refused>;

type PollTicket<C> = fn(
    &Arc<Shared<C>>,
    Caller,
    Want<'_, C>,
    &mut Option<Ticket<C>>,
    &Context<'_>,
) -> Poll<Result<(), Refused>>;

// User code that panics does so while nothing is locked, and leaves nothing half changed.
impl<C: Kind> UnwindSafe for Shared<C> {}
impl<C: Kind> RefUnwindSafe for Shared<C> {}

/// A waiter's registration; dropped, it gives up the place in the queue or the reserved room.
pub(crate) struct Ticket<C: Kind> {
    shared: Arc<Shared<C>>,
    /// `None` while it does not wait.
    key: Option<WaiterKey>,
}

// === impl Shared ===

impl<C: Kind> Shared<C> {
    /// Shares what a group had to itself until now.
    pub(super) fn new(
        token: CancelToken,
        parent: Arc<ParentWaker>,
        mut state: State,
        children: Slab<C>,
        spawner: &SpawnerOf<C>,
    ) -> Arc<Self> {
        state.prepare(<SpawnerOf<C>>::SPAWNS);
        let core = Core::new(token, parent, spawner.reports(), state);
        let operations = Operations {
            add: Self::add,
            poll: Self::poll,
            abandon: Self::abandon,
            take_started: Self::take_started,
            drop_queue: Self::drop_queue,
            add_ending: Self::add_ending,
            abort: Self::abort,
        };
        let waiting = Mutex::new(Waiting { children, spawner: spawner.wrap() });
        let calls = Arc::clone(&core) as _;
        let core = DroppedBy::new(core, |core| core.end_watch());
        Arc::new(Self { core, calls, waiting, operations })
    }

    /// Returns the state and the children if no handle has them.
    pub(super) fn into_inner(self: Arc<Self>) -> Result<(State, Slab<C>), Arc<Self>> {
        let Self { core, waiting, .. } = Arc::try_unwrap(self)?;
        let state = core::mem::take(&mut *core.lock());
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
            let mut state = self.core.begin_change(&mut effects);
            if <SpawnerOf<C>>::SPAWNS {
                self.core.note_ends(&mut state);
                state.give_freed_room(&mut effects);
            }
            let result = change(&mut Access {
                core: &self.core,
                state: &mut state,
                children: &mut waiting.children,
                stopped: self.core.is_stopped(),
                effects: &mut effects,
            });
            self.core.end_change(&mut state, &mut effects);
            waiting.spawn_started(&mut state, &mut spawns);
            result
        };
        self.core.apply(effects, caller);
        // Last: the executor may run a child in this call, which may wait for a task woken here.
        <SpawnerOf<C>>::spawn_all(spawns);
        result
    }

    /// Adds a child, if it is accepted. One that is refused is left to the caller.
    pub(crate) fn add(
        &self,
        caller: Caller,
        how: Add,
        offer: &mut dyn Offer<C>,
    ) -> Result<(), Refused> {
        let queues = match how {
            Add::TryGo => false,
            // A duplicate is given back.
            Add::Queue { keeps } => !(keeps && request_of(offer).unique),
            Add::Fed | Add::Fill { .. } => {
                return self.with(caller, |access| access.add(how, offer));
            }
        };
        let added = match self.add_simply(caller, offer, queues) {
            Some(_) => Ok(()),
            None => self.with(caller, |access| access.add(how, offer)),
        };
        self.core.notify_if_held(caller);
        added
    }

    /// Accepts a child if that concerns no other: it starts at once, or with `queues` it is queued
    /// behind the head. Most children come in this way. Returns `None` if more is to be done.
    #[inline(always)]
    fn add_simply(
        &self,
        caller: Caller,
        offer: &mut dyn Offer<C>,
        queues: bool,
    ) -> Option<ChildKey> {
        let core = &*self.core;
        let never_starts = core.needs_more || core.hints.has(Hints::MUST_WAIT);
        if (never_starts && !queues) || offer.link().is_some() {
            return None;
        }
        let mut spawns = Default::default();
        let (key, starts) = {
            let mut waiting = self.waiting.lock();
            let mut state = core.lock();
            if <SpawnerOf<C>>::SPAWNS {
                core.note_ends(&mut state);
            }
            let simply = state.simply(request_of(offer), core.is_stopped());
            // One way out, or the guards' drops are no longer inlined.
            let starts = simply.filter(|it| queues || *it == Simply::Starts)? == Simply::Starts;
            let options = take_options(offer, state.looks_at_all);
            let key = waiting.children.insert(offer.take());
            let child = QueuedChild { key, options, join: None };
            if starts {
                state.start_only(child);
                core.hints.update(Hints::STARTED | Hints::MUST_WAIT | Hints::RECORDS, &state);
                waiting.spawn_started(&mut state, &mut spawns);
            } else {
                state.enqueue(child);
            }
            (key, starts)
        };
        if starts && caller == Caller::Handle {
            core.notify();
        }
        <SpawnerOf<C>>::spawn_all(spawns);
        Some(key)
    }

    /// Changes the state, by any task.
    fn change(&self, change: &mut dyn FnMut(&mut State, &mut Effects)) {
        self.with(Caller::Handle, |access| change(access.state, access.effects));
    }

    /// Gives up the place of a waiter.
    fn abandon(&self, key: WaiterKey) {
        // As by a handle: the group's task is told, since a `go` may be dropped at any time.
        self.change(&mut |state, effects| state.abandon(key, effects));
    }

    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        self.change(&mut |state, _| state.set_limit(limit));
    }

    pub(crate) fn set_key_limit(&self, key: &Key, limit: Option<usize>) {
        self.change(&mut |state, _| state.queue.set_key_limit(key, limit));
    }

    /// Looks for what is wanted; registers a waiter in `ticket` while it is not there. `Err` after
    /// a stop, and for most also after a close.
    pub(crate) fn poll(
        self: &Arc<Self>,
        caller: Caller,
        mut want: Want<'_, C>,
        ticket: &mut Option<Ticket<C>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        if let (Want::Go(offer), false) = (&mut want, Ticket::is_waiting(ticket)) {
            if let Some(key) = self.add_simply(caller, *offer, false) {
                if caller == Caller::Group {
                    self.core.own_child.set_key(key);
                }
                return Poll::Ready(Ok(()));
            }
        }
        let mut key = ticket.as_ref().and_then(|ticket| ticket.key);
        let (task, group) = (cx.waker(), self.core.id());
        let mut poller = WaiterPoll { caller, task, clone: None, group };
        // Most newcomers find room and need no waker: they look without a clone, unless there was
        // no room a moment ago.
        if caller == Caller::Handle && key.is_none() && self.core.hints.has(Hints::MUST_WAIT) {
            poller.clone = Some(task.clone());
        }
        let answer = loop {
            match self.with(caller, |access| access.poll(&mut want, &mut key, &mut poller)) {
                Acquire::NeedsWaker => poller.clone = Some(task.clone()),
                answer => break answer,
            }
        };
        if poller.clone.is_some() {
            // A waker's destructor that panics must not cost the caller its answer.
            quietly(|| drop(poller.clone.take()));
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

    /// Refuses newcomers from now on.
    pub(crate) fn close(&self) {
        self.change(&mut State::refuse_newcomers);
        // A feed of a handle that waits for its stream is no waiter of the state. A waker that
        // panics is its executor's fault.
        quietly(|| self.core.newcomers().cancel());
    }

    /// Calls `take` with each child that may go to the set, and its index, under the locks.
    fn take_started(&self, take: &mut dyn FnMut(usize, C)) {
        let mut spawns = Default::default();
        {
            let mut waiting = self.waiting.lock();
            let mut state = self.core.lock();
            waiting.spawn_started(&mut state, &mut spawns);
            while let Some((index, key)) = state.starts.pop_started() {
                self.core.own_child.record_taken(key, index);
                if let Some(child) = waiting.children.remove(key) {
                    take(index, child);
                }
            }
            self.core.hints.update(Hints::STARTED | Hints::ENDINGS, &state);
        }
        <SpawnerOf<C>>::spawn_all(spawns);
    }

    /// Moves the children that were aborted in the queue to `dropped`; if the group has `stopped`,
    /// all that were queued.
    fn drop_queue(&self, stopped: bool, dropped: &mut Vec<C>) {
        let mut keys = Vec::new();
        self.core.update(&mut |state| {
            state.take_aborted(&mut keys);
            if stopped {
                // Children behind a reservation that is taken back may start.
                state.stop(&mut keys);
            }
        });
        let children = &mut self.waiting.lock().children;
        dropped.extend(keys.into_iter().filter_map(|key| children.remove(key)));
    }

    /// Adds the children of the set that end with the stop to the round.
    fn add_ending(&self, set: &mut C::Set) {
        let indexes = self.calls.until_stop();
        if !indexes.is_empty() {
            set.blocks().add_to_round(&mut |index| indexes.binary_search(&index).is_ok());
        }
    }

    /// Ends the group whatever runs: moves the children that are not in the set to `children`,
    /// after those that had `started` and ran elsewhere. Returns what logs the next of all these as
    /// dropped.
    fn abort(&self, started: Vec<usize>, children: &mut Vec<C>) -> Box<dyn FnMut()> {
        let mut dropped: Vec<_> = started.into_iter().map(Dropped::Started).collect();
        let mut keys = Vec::new();
        self.core.update(&mut |state| state.abort(&mut keys));
        let waiting = &mut self.waiting.lock().children;
        for (was, key) in keys {
            if let Some(child) = waiting.remove(key) {
                dropped.push(was);
                children.push(child);
            }
        }
        let (calls, mut dropped) = (Arc::clone(&self.calls), dropped.into_iter());
        Box::new(move || dropped.next().iter().for_each(|child| calls.log_dropped(child)))
    }
}

impl<C: Kind> Shared<C> {
    /// Drops what starts children: the group has ended, so no more will start.
    pub(super) fn drop_spawner(&self) {
        let spawner = self.waiting.lock().spawner.take();
        drop(spawner);
    }

    /// Takes a snapshot. `known` are running children of which the caller knows more, by their
    /// indexes.
    pub(crate) fn inspect(&self, known: &[(usize, ChildState)]) -> Snapshot {
        if !<SpawnerOf<C>>::SPAWNS {
            return self.core.inspect(known);
        }
        // Notes the children that have ended by now.
        self.calls.stats();
        let mut known = known.to_vec();
        {
            let waiting = self.waiting.lock();
            let has_ended = |key| waiting.children.get(key).is_some_and(<SpawnerOf<C>>::has_ended);
            // Those that the group has not taken in yet come after those of its set.
            self.core.with_state(|state| {
                let ended = state.starts.spawned().filter(|(_, key)| has_ended(*key));
                known.extend(ended.map(|(index, _)| (index, ChildState::Completed)));
            });
        }
        self.core.inspect(&known)
    }

    /// Looks for room for a child that is yet to be asked for, and reserves it in `ticket`; `Err`
    /// after a stop.
    pub(crate) fn poll_feed(
        self: &Arc<Self>,
        caller: Caller,
        ticket: &mut Option<Ticket<C>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        if caller == Caller::Group && Ticket::waits_on(ticket) {
            return Poll::Pending;
        }
        (self.operations.poll)(self, caller, Want::Feed, ticket, cx)
    }
}

// === impl Waiting ===

impl<C: Kind> Waiting<C> {
    /// Takes the futures out of the children that have started, for the executor.
    #[inline]
    fn spawn_started(&mut self, state: &mut State, spawns: &mut SpawnsOf<C>) {
        let Self { children, spawner } = self;
        let Some(spawner) = spawner.as_ref().and_then(<SpawnerOf<C>>::unwrap) else { return };
        state.take_unspawned(|index, key, name| {
            if let Some(child) = children.get_mut(key) {
                spawner.start(child, index, name, spawns);
            }
        });
    }
}

// === impl Ticket ===

impl<C: Kind> Ticket<C> {
    pub(crate) fn is_waiting(ticket: &Option<Self>) -> bool {
        ticket.as_ref().is_some_and(|ticket| ticket.key.is_some())
    }

    /// Returns `true` if it is a waiter's of the group itself, and it is known at a glance that the
    /// waiter has no answer yet.
    #[inline]
    pub(super) fn waits_on(ticket: &Option<Self>) -> bool {
        let is_waiting = |it: &Self| it.key.is_some() && !it.shared.core.may_have_turn();
        ticket.as_ref().is_some_and(is_waiting)
    }

    /// Delivers the child for which room was reserved. Returns `false` if it came too late; it is
    /// dropped then, and counts as dropped.
    pub(crate) fn fill<A: Child<C>>(&mut self, caller: Caller, child: A) -> bool {
        let Some(key) = self.key.take() else {
            return false;
        };
        // A child that is refused is dropped here, unlocked.
        let how = Add::Fill { key, keeps: false };
        (self.shared.operations.add)(&self.shared, caller, how, &mut Some(child)).is_ok()
    }

    /// Delivers the child for which room was reserved, or gives it back if the group has stopped.
    pub(crate) fn fill_slot<A: Child<C>>(mut self, child: A) -> Result<(), TryGoError<A>> {
        let mut child = Some(child);
        let answer = match self.key.take() {
            Some(key) => {
                self.shared.add(Caller::Handle, Add::Fill { key, keeps: true }, &mut child)
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
