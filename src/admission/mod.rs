//! Which children may run: the limit, the queue, and the counts.
//!
//! A group has its admission to itself, without a lock, as long as it needs no more than a limit, a
//! queue and weights: that is [`Local`]. From its first handle or hold on, it is [`Shared`];
//! likewise once it was closed, with a name, an observer, a semaphore, gates, a limit by key or of
//! the queue, and from the first child that has a priority or a key, is a daemon or joinable, or
//! ends with the stop. Then all decisions are made by a [`State`], which is plain data. The ways to
//! it are in a table at the head of `shared.rs`.
//!
//! # Invariants
//!
//! - A group that has its admission to itself has no children but plain ones and, if it polls them
//!   itself, ones that have a weight and no other option. Its own `go` or `feed` that
//!   waits holds the group, so all queued children came before it, and it needs no waiter.
//! - A cancelled token admits nothing. Children that are queued then are dropped, and reservations
//!   taken back, by the group's next poll, or by its drop.

mod access;
mod closed;
mod ended;
mod events;
mod hints;
mod inspector;
mod joins;
mod keys;
mod load;
mod local;
mod named;
mod nested;
mod passes;
mod permits;
mod queue;
mod read_ahead;
mod shared;
mod shared_core;
mod state;
mod stop;
mod weights;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Context, Poll};

use async_lock::Semaphore;

use self::access::Offer;
pub(crate) use self::access::{Add, Want};
pub(crate) use self::closed::{ClosedEvent, ClosedWaiter};
pub(crate) use self::ended::EndNotes;
use self::events::EventLog;
pub(crate) use self::inspector::Inspector;
use self::local::{Local, take_first};
use self::passes::{Asked, Pass};
use self::permits::Permits;
use self::read_ahead::ReadAhead;
use self::shared::Spawner;
pub(crate) use self::shared::{Shared, Ticket};
pub(crate) use self::shared_core::Core;
use self::shared_core::{CoreCalls, StateChange};
pub(crate) use self::state::{Caller, ChildRecord, GroupPhase, Refused};
use self::state::{Dropped, State};
use self::stop::StopSignal;
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::task::Options;
use crate::child::{Child, Kind, Seal};
use crate::error::TryGoError;
use crate::key::Key;
use crate::observe::{Event, Outcome, PollObserver};
use crate::reason::Reason;
use crate::snapshot::{self, ChildState, Snapshot};
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::dropped_by::DroppedBy;
use crate::util::lock::Mutex;
use crate::util::panic::quietly;
use crate::util::parent_waker::ParentWaker;
use crate::util::slab::Slab;

/// The group's side of admission.
pub(crate) struct Admission<C: Kind> {
    pub(crate) parent: Arc<ParentWaker>,
    stop: StopSignal,
    /// How far the group has come. [`State`] has a copy for the handles.
    phase: GroupPhase,
    /// The policy may ask for the names of the children that finish.
    keeps_names: bool,
    /// Of children that end outside of the group's polls.
    notes: EndNotes,
    /// The lock is for `&self` alone; the group's own task goes past it.
    storage: Mutex<Storage<C>>,
    spawner: Spawner<C>,
    /// Of results that may wait to be fetched without the room of their children.
    read_ahead: Option<Box<ReadAhead>>,
}

enum Storage<C: Kind> {
    Local(Local<C>),
    Shared(Arc<Shared<C>>),
}

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
    pub(crate) fn new(spawner: Spawner<C>, parent: Arc<ParentWaker>) -> Self {
        Self {
            stop: StopSignal::new(&parent),
            phase: GroupPhase::Open,
            keeps_names: false,
            notes: EndNotes::Nothing,
            storage: Mutex::new(Storage::Local(Local::new())),
            read_ahead: None,
            spawner,
            parent,
        }
    }

    /// The state that it shares with its handles, if it has any.
    #[inline]
    pub(crate) fn shared(&mut self) -> Option<&Arc<Shared<C>>> {
        match self.storage.get_mut() {
            Storage::Shared(shared) => Some(shared),
            Storage::Local(_) => None,
        }
    }

    /// What the group calls of that state.
    fn calls(&mut self) -> Option<&dyn CoreCalls> {
        self.shared().map(|shared| &*shared.calls)
    }

    /// Returns `true` if the state is shared.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(*self.storage.lock(), Storage::Shared(_))
    }

    /// Returns what handles share with the group, from now on if it had it to itself.
    pub(crate) fn share(&self) -> Arc<Shared<C>> {
        let token = self.token();
        let mut storage = self.storage.lock();
        let local = match &mut *storage {
            Storage::Shared(shared) => return Arc::clone(shared),
            Storage::Local(local) => core::mem::replace(local, Local::new()),
        };
        // What has ended outside of the group's polls is noted again, and frees its room.
        self.spawner.forget_notes();
        let (state, children) = self.state_of(local);
        let shared = self.shared_with(token, state, children);
        *storage = Storage::Shared(Arc::clone(&shared));
        shared
    }

    fn state_of(&self, local: Local<C>) -> (State, Slab<C>) {
        let (mut state, children) = local.into_state();
        state.set_phase(self.phase);
        state.note_ends(self.notes);
        if self.keeps_names {
            state.keep_names();
        }
        (state, children)
    }

    fn shared_with(&self, token: &CancelToken, state: State, children: Slab<C>) -> Arc<Shared<C>> {
        Shared::new(token.clone(), Arc::clone(&self.parent), state, children, &self.spawner)
    }

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
        let weight = weight.filter(|_| !<Spawner<C>>::SPAWNS);
        if weight.is_none() {
            self.share();
        }
        weight
    }

    // --- the token

    pub(crate) fn token(&self) -> &CancelToken {
        self.stop.token(&self.parent)
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Returns the token, or `None` if it has not been asked for: then nothing but the group itself
    /// can stop it now.
    pub(crate) fn made_token(&self) -> Option<DroppedBy<CancelToken>> {
        self.stop.made_token()
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.stop.reason()
    }

    /// Cancels the token. Returns `true` if it was not cancelled before. A waker may panic in
    /// here.
    pub(crate) fn cancel(&mut self, reason: Reason) -> bool {
        self.stop.set(reason)
    }

    // --- building

    /// Sets the limit of a group that is being made.
    pub(crate) fn start_with_limit(&mut self, limit: usize) {
        match self.storage.get_mut() {
            Storage::Local(local) => local.set_limit(Some(limit)),
            Storage::Shared(shared) => shared.core.read(|state| state.start_with_limit(limit)),
        }
    }

    /// Sets how many children may be queued.
    pub(crate) fn set_queue_limit(&mut self, limit: usize) {
        self.share().core.read(|state| state.set_queue_limit(limit));
    }

    /// Sets the limit of each key of a group that is being made.
    pub(crate) fn set_key_limits(&mut self, limit: usize) {
        self.share().core.read(|state| state.set_key_limits(limit));
    }

    /// Makes the group's token a child of `token`. Returns `false` if the group has children, or
    /// other code may have its token or a handle.
    pub(crate) fn set_parent(&mut self, token: &CancelToken) -> bool {
        match self.storage.get_mut() {
            Storage::Local(local) => {
                !local.has_accepted() && self.stop.set_parent(token, &self.parent)
            }
            Storage::Shared(_) => {
                let mut changed = false;
                self.rebuild(|admission, _| {
                    changed = admission.stop.set_parent(token, &admission.parent)
                }) && changed
            }
        }
    }

    /// Takes a permit of the semaphore for each child. Returns `false` if the group has children
    /// or handles, or another semaphore.
    pub(crate) fn set_semaphore(&mut self, semaphore: Arc<Semaphore>) -> bool {
        let mut is_first = false;
        self.rebuild(|_, state| {
            is_first = state.permits().is_none();
            state.permits().get_or_insert_with(|| Permits::new(semaphore));
        }) && is_first
    }

    /// Demands a pass for each child. Returns `false` if the group has children or handles.
    pub(crate) fn demand_passes(&mut self) -> bool {
        self.rebuild(|_, state| _ = state.passes().get_or_insert_default())
    }

    /// Records events from now on. `polls` surrounds the polls of children that run outside of the
    /// group's. Returns `false` if the group has children or handles.
    pub(crate) fn observe(&mut self, polls: Option<&Arc<dyn PollObserver>>) -> bool {
        self.rebuild(|admission, state| {
            *state.log() = Some(EventLog::new());
            admission.spawner.observe_polls(polls);
        })
    }

    /// Gives the group a name, and keeps from now on what a snapshot tells of its children. Returns
    /// `None` if the group has children or handles.
    pub(crate) fn inspect_children(&mut self, name: Arc<str>) -> Option<Arc<Inspector>> {
        let inspector = Inspector::new(name);
        let changed = self.rebuild(|admission, state| {
            admission.spawner.inspect_polls(&(Arc::clone(&inspector) as _));
            state.set_inspector(Arc::clone(&inspector));
        });
        changed.then_some(inspector)
    }

    /// Counts a child that has ended outside of the group's polls as running until the policy is
    /// told, or not; and whether its room is free for handles before that.
    pub(crate) fn note_ends(&mut self, notes: EndNotes) {
        self.notes = notes;
        match self.storage.get_mut() {
            Storage::Local(local) => local.forget_notes(),
            Storage::Shared(shared) => shared.core.read(|state| state.note_ends(notes)),
        }
    }

    /// Keeps the names of running children from now on, for a policy that may ask for them.
    pub(crate) fn keep_names(&mut self) {
        self.keeps_names = true;
        if let Storage::Shared(shared) = self.storage.get_mut() {
            shared.core.read(State::keep_names);
        }
    }

    /// Sets the event of the end of a group that is being made. It is otherwise made on demand.
    pub(crate) fn set_closed_event(&mut self, event: Arc<ClosedEvent>) {
        if let Storage::Local(local) = self.storage.get_mut() {
            local.set_closed_event(event);
        }
    }

    /// Changes what is shared with handles, of a group that is being made. Returns `false` if it
    /// has children or handles.
    fn rebuild(&mut self, change: impl FnOnce(&mut Self, &mut State)) -> bool {
        if self.has_accepted() || self.read(|_| false, |state| state.is_held_or_closing()) {
            return false;
        }
        let fresh = Storage::Local(Local::new());
        let (mut state, children) = match core::mem::replace(self.storage.get_mut(), fresh) {
            Storage::Local(local) => self.state_of(local),
            Storage::Shared(shared) => match shared.into_inner() {
                Ok(parts) => parts,
                Err(shared) => {
                    *self.storage.get_mut() = Storage::Shared(shared);
                    return false;
                }
            },
        };
        change(self, &mut state);
        let shared = self.shared_with(self.token(), state, children);
        *self.storage.get_mut() = Storage::Shared(shared);
        true
    }

    // --- adding children

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
                    let finished = local.has_finished();
                    let refused = if finished { Refused::Closed } else { Refused::Stopped };
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
            Storage::Shared(shared) => {
                (shared.operations.add)(shared, Caller::Group, Add::Asked, &mut Some(child)).is_ok()
            }
        }
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
        match self.storage.get_mut() {
            Storage::Shared(shared) => {
                let may_start = !<Spawner<C>>::SPAWNS
                    && !Ticket::is_waiting(ticket)
                    && child.as_mut().is_some_and(|child| is_plain(child, self.keeps_names));
                if may_start {
                    if let Some(index) = shared.calls.try_start() {
                        // It goes past the children that wait: there are none.
                        set.insert(Offer::take(child), index, &self.parent);
                        return Poll::Ready(Ok(()));
                    }
                }
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
            Storage::Shared(shared) => shared.poll(Caller::Group, Want::Ready, ticket, cx),
            Storage::Local(_) if self.stop.is_set() => Poll::Ready(Err(Refused::Stopped)),
            Storage::Local(_) => Poll::Pending,
        }
    }

    /// Changes the limit at any time.
    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        let mut storage = self.storage.lock();
        let local = match &mut *storage {
            Storage::Local(local) => local,
            Storage::Shared(shared) => {
                let shared = Arc::clone(shared);
                drop(storage);
                return shared.set_limit(limit);
            }
        };
        local.set_limit(limit);
        // There are no other tasks to wake.
        let mut spawns = Default::default();
        if !self.is_stopped() {
            let done = local.admit_waiting();
            if <Spawner<C>>::SPAWNS {
                local.spawn_admitted(done, &self.spawner, &mut spawns);
            }
        }
        let has_ready = local.has_admitted();
        drop(storage);
        if has_ready {
            // The group may be polled by another task than the one that `&self` came from.
            self.parent.notify();
        }
        <Spawner<C>>::spawn_all(spawns);
    }

    /// Changes the limit of a key at any time.
    pub(crate) fn set_key_limit(&self, key: &Key, limit: Option<usize>) {
        self.share().set_key_limit(key, limit);
    }

    // --- moving children to the set

    /// Moves the children that have started into the set.
    #[inline]
    pub(crate) fn take_in(&mut self, set: &mut C::Set) {
        if <Spawner<C>>::SPAWNS && set.has_completed() {
            // The policy is told next: no room is freed before that.
            let notes = self.notes;
            match self.storage.get_mut() {
                Storage::Local(local) => {
                    set.take_completed(&mut |_, outcome| {
                        if notes != EndNotes::Nothing {
                            local.note_ended(outcome);
                        }
                    });
                }
                Storage::Shared(shared) => shared.core.read(|state| {
                    set.take_completed(&mut |index, it| state.note_ended(index, it, true));
                }),
            }
        }
        match self.storage.get_mut() {
            Storage::Local(local) => {
                if local.has_admitted() {
                    insert_admitted::<C>(local, set, &self.parent);
                }
            }
            Storage::Shared(shared) => {
                if shared.core.hints.has_ready() {
                    let take_ready = shared.operations.take_ready;
                    set.insert_all(&mut |insert| take_ready(shared, insert), &self.parent);
                }
            }
        }
        if <Spawner<C>>::SPAWNS {
            set.collect_completed(&self.parent, self.stop.is_set());
        }
    }

    /// Returns `true` if there are children to be taken in.
    pub(crate) fn has_ready(&mut self, set: &C::Set) -> bool {
        set.has_completed()
            || match self.storage.get_mut() {
                Storage::Local(local) => local.has_admitted(),
                Storage::Shared(shared) => shared.core.hints.has_ready(),
            }
    }

    /// Returns the index of the child that a `go` has brought last, if that has started and others
    /// may have started after it.
    pub(crate) fn own_index(&mut self) -> Option<usize> {
        self.shared().and_then(|shared| shared.core.own_child.index())
    }

    /// Returns `true` if the child that a `go` has brought last may be among those to be taken in.
    pub(crate) fn may_start_own(&mut self) -> bool {
        self.shared().is_some_and(|shared| {
            let core = &shared.core;
            core.hints.has_ready() && core.own_child.waits()
        })
    }

    // --- ends of children

    /// Returns `true` if no running child can ask for room in the group, ends without a result, or
    /// has a record for the policy; and the group waits for no permit.
    #[inline]
    pub(crate) fn runs_plain_children(&mut self) -> bool {
        match self.storage.get_mut() {
            Storage::Local(_) => true,
            // A child asks for room by a handle, which is a reference beside the group's own.
            Storage::Shared(shared) => {
                Arc::strong_count(shared) == 1 && shared.core.runs_plain_children()
            }
        }
    }

    /// Returns `true` if the set may have children that end without a result.
    pub(crate) fn has_endings(&mut self) -> bool {
        self.shared().is_some_and(|shared| shared.core.hints.has_endings())
    }

    /// Returns the indexes of the running children that end with the stop, lowest first.
    pub(crate) fn until_stop(&mut self) -> Vec<usize> {
        self.calls().map_or_else(Vec::new, |calls| calls.until_stop())
    }

    /// Counts a running child that is gone, and frees its room. The queue gets the room by
    /// [`admit_next`](Self::admit_next), at once for all children that end in a round: so waiters
    /// are woken together, and each finds room for more than one child.
    #[inline]
    pub(crate) fn finish(&mut self, index: usize, outcome: Outcome) {
        if <Spawner<C>>::SPAWNS && outcome == Outcome::Dropped {
            // It may have ended just before it was dropped.
            self.stats();
        }
        match self.storage.get_mut() {
            Storage::Local(local) => {
                if <Spawner<C>>::SPAWNS {
                    local.forget_ended(outcome);
                }
                local.finish(index, outcome);
            }
            Storage::Shared(shared) => {
                shared.calls.finish_child(index, outcome);
            }
        }
    }

    /// Notes a child that is dropped instead of running on.
    pub(crate) fn note_dropped(&mut self, index: usize) {
        if self.notes == EndNotes::Nothing {
            return;
        }
        match self.storage.get_mut() {
            Storage::Local(local) => local.note_ended(Outcome::Dropped),
            Storage::Shared(shared) => {
                shared.core.read(|state| state.note_ended(index, Outcome::Dropped, true));
            }
        }
    }

    /// Returns what is known of a running child that the policy is about to be told of, or `None`
    /// if that is nothing beyond its index.
    #[inline]
    pub(crate) fn record_of(&mut self, index: usize) -> Option<ChildRecord> {
        match self.storage.get_mut() {
            Storage::Shared(shared) if shared.core.hints.has_records() => {
                shared.calls.record_of(index)
            }
            _ => None,
        }
    }

    /// Lets so many results wait to be fetched without the room of their children.
    pub(crate) fn set_read_ahead(&mut self, limit: usize) {
        self.read_ahead = (limit > 0).then(|| Box::new(ReadAhead::new(limit)));
    }

    /// Records a child that has finished and keeps its room until its result is fetched, unless
    /// the result may be ahead of its reader.
    #[inline]
    pub(crate) fn finish_unfetched(&mut self, index: usize, outcome: Outcome) {
        if self.read_ahead.as_mut().is_some_and(|ahead| ahead.put(index, outcome)) {
            return self.finish(index, outcome);
        }
        if let Storage::Shared(shared) = self.storage.get_mut() {
            shared.core.read(|state| state.finish_unfetched(index));
        }
    }

    /// Returns `true` if a child keeps its room whose result was not fetched.
    pub(crate) fn keeps_room(&self, index: usize) -> bool {
        self.read_ahead.as_ref().is_none_or(|ahead| ahead.is_holder(index))
    }

    /// Frees room, since a result was fetched: that of its child or, if the child had none any
    /// more, that of another one.
    #[inline]
    pub(crate) fn release(&mut self, index: usize, outcome: Outcome) {
        let holder = match &mut self.read_ahead {
            None => Some((index, outcome)),
            Some(ahead) => ahead.take(index),
        };
        if let Some((index, outcome)) = holder {
            self.finish(index, outcome);
        }
    }

    /// Records how many finished children keep their room until an earlier result is fetched.
    /// Returns `false` if the group has no handle: no running child can wait for room then.
    pub(crate) fn set_blocked_results(&mut self, count: usize) -> bool {
        let Storage::Shared(shared) = self.storage.get_mut() else {
            return false;
        };
        shared.update(&mut |state| state.set_blocked_results(count));
        true
    }

    /// Admits queued children for which there is room now, and wakes the waiters that have got
    /// their turn.
    #[inline]
    pub(crate) fn admit_next(&mut self, set: &mut C::Set) {
        let nothing_waits = match self.storage.get_mut() {
            Storage::Local(local) => !local.has_waiting(),
            Storage::Shared(shared) => !<Spawner<C>>::SPAWNS && !shared.core.must_process(),
        };
        if !nothing_waits {
            self.admit_queued(set);
        }
    }

    #[inline(never)]
    fn admit_queued(&mut self, set: &mut C::Set) {
        match self.storage.get_mut() {
            Storage::Local(local) => {
                if !self.stop.is_set() {
                    local.admit_waiting();
                    insert_admitted::<C>(local, set, &self.parent);
                    local.fast_credit = 0;
                }
            }
            Storage::Shared(shared) => {
                if shared.core.must_process() {
                    shared.update(&mut |_| ());
                }
                if <Spawner<C>>::SPAWNS && shared.core.hints.has_ready() {
                    self.take_in(set);
                }
            }
        }
    }

    /// Gives the room of children that have ended in this round to the queue: another child is
    /// about to stop the group. A shared state does so by itself when that child ends. If the token
    /// was cancelled before, nothing is admitted.
    pub(crate) fn give_freed_room(&mut self) {
        match self.storage.get_mut() {
            Storage::Local(local) if !self.stop.is_set() => _ = local.admit_waiting(),
            _ => {}
        }
    }

    /// Gives the room of children that have ended in this round to no other: a deadline stops the
    /// group.
    pub(crate) fn withhold_freed_room(&mut self) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            shared.core.read(State::withhold_freed_room);
        }
    }

    // --- passes

    /// Returns what a gate is told of the head of the queue, or `None` if it lacks no pass.
    pub(crate) fn asked(&mut self) -> Option<Asked> {
        self.shared()?.core.read(|state| state.asked())
    }

    /// Returns what a gate is told of a child on offer, or `None` if the child does not lack a pass
    /// alone.
    pub(crate) fn asked_for(&mut self, options: Option<&mut Options>) -> Option<Asked> {
        let core = &self.shared()?.core;
        core.read(|state| state.asked_for(options.as_deref(), core.is_stopped()))
    }

    /// Adds a pass, for the head of the queue or a child on offer, of that weight.
    pub(crate) fn add_pass(&mut self, weight: usize, pass: Pass) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            let add = &mut |state: &mut State| {
                state.passes().iter_mut().for_each(|passes| passes.add(weight, pass));
            };
            shared.update(add);
        }
    }

    /// Returns `true` if passes are over whose guards are still there.
    pub(crate) fn has_ended_passes(&mut self) -> bool {
        self.shared().is_some_and(|shared| {
            shared
                .core
                .read(|state| state.passes().as_ref().is_some_and(|passes| !passes.over.is_empty()))
        })
    }

    /// Moves the passes of children that have ended to `passes`.
    pub(crate) fn take_ended_passes(&mut self, passes: &mut Vec<Pass>) {
        if let Some(shared) = self.shared() {
            shared.core.read(|state| state.take_ended_passes(passes));
        }
    }

    // --- permits

    #[inline]
    pub(crate) fn has_semaphore(&mut self) -> bool {
        self.shared().is_some_and(|shared| shared.core.has_semaphore())
    }

    /// Waits for a permit on behalf of the head of the queue, if it lacks one.
    pub(crate) fn acquire_permits(&mut self) {
        if let Some(calls) = self.calls() {
            // A foreign waker that panics is its executor's fault.
            quietly(|| calls.acquire_permits());
        }
    }

    /// Gives all permits back, when the children of a resolved group are gone.
    pub(crate) fn give_permits_back(&mut self) {
        self.calls().into_iter().for_each(|calls| calls.give_permits_back());
    }

    fn cancel_acquire(&mut self) {
        self.calls().into_iter().for_each(|calls| calls.cancel_acquire());
    }

    // --- polls

    #[inline]
    pub(crate) fn begin_poll(&mut self) {
        self.calls().into_iter().for_each(|calls| calls.begin_poll());
    }

    /// Ends a poll. Returns `true` if there is work left in the state for the group's task.
    /// `has_waiter`: it was a poll of a `go`, `feed` or `ready` of the group, or of a stream of its
    /// results, which may have its turn.
    #[inline]
    pub(crate) fn end_poll(&mut self, has_waiter: bool) -> bool {
        self.calls().is_some_and(|calls| calls.end_poll(has_waiter))
    }

    // --- numbers

    /// Reads the numbers, whichever way they are held.
    fn read<R>(
        &self,
        local: impl FnOnce(&Local<C>) -> R,
        shared: impl FnOnce(&mut State) -> R,
    ) -> R {
        match &*self.storage.lock() {
            Storage::Local(numbers) => local(numbers),
            Storage::Shared(it) => it.core.read(shared),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        match &mut *self.storage.lock() {
            Storage::Shared(shared) => shared.stats(),
            Storage::Local(local) => {
                if self.notes != EndNotes::Nothing && self.phase < GroupPhase::Resolved {
                    self.spawner.note_ended(&mut |_, outcome| local.note_ended(outcome));
                }
                local.stats()
            }
        }
    }

    /// Takes a snapshot. `known` are running children, by their indexes.
    pub(crate) fn inspect(&self, known: &[(usize, ChildState)]) -> Snapshot {
        let stats = self.stats();
        let storage = self.storage.lock();
        let mut snapshot = match &*storage {
            Storage::Local(local) => local.inspect(stats, known),
            Storage::Shared(shared) => {
                let shared = Arc::clone(shared);
                drop(storage);
                return shared.inspect(known);
            }
        };
        drop(storage);
        snapshot.phase = match self.phase {
            GroupPhase::Resolved | GroupPhase::Ended => snapshot::Phase::Ended,
            _ if self.is_stopped() => snapshot::Phase::Stopped,
            _ => snapshot::Phase::Open,
        };
        snapshot.complete(self.reason(), &self.parent);
        snapshot
    }

    /// Returns the number below which all indexes are of children that have gone to the set, or
    /// have ended.
    pub(crate) fn started(&self) -> usize {
        self.read(Local::started, |state| state.started())
    }

    /// Returns `true` if the policy was told of a child.
    pub(crate) fn has_told_policy(&self) -> bool {
        self.read(Local::has_told_policy, |state| state.has_told_policy())
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.read(Local::limit, |state| state.limit())
    }

    pub(crate) fn has_accepted(&self) -> bool {
        self.read(Local::has_accepted, |state| state.has_accepted())
    }

    /// Returns `true` if nothing but daemons is left.
    pub(crate) fn has_only_daemons(&mut self) -> bool {
        self.calls().is_some_and(|calls| calls.has_only_daemons())
    }

    // --- the end

    pub(crate) fn is_closing(&self) -> bool {
        self.read(|_| false, |state| state.is_closing())
    }

    /// Returns `true` if nothing runs and nothing waits, or `None` if newcomers are refused.
    pub(crate) fn is_idle(&self) -> Option<bool> {
        let stopped = self.is_stopped();
        self.read(|local| local.is_idle(stopped), |state| state.is_idle(stopped))
    }

    #[inline]
    pub(crate) fn phase(&self) -> GroupPhase {
        self.phase
    }

    /// Returns the admission of a group whose parts another one takes over: the group is dropped
    /// without a trace.
    pub(crate) fn retired(&self) -> Self {
        let retired = Self::new(self.spawner.clone(), Arc::clone(&self.parent));
        Self { phase: GroupPhase::Ended, ..retired }
    }

    /// Takes note of a stop. Returns `false` if it is known that nothing waits that is to be
    /// [dropped](Self::drop_queue).
    #[inline]
    pub(crate) fn note_stop(&mut self) -> bool {
        if self.is_stopped() {
            self.phase = self.phase.max(GroupPhase::Stopped);
        }
        match self.storage.get_mut() {
            Storage::Local(local) => local.has_waiting(),
            Storage::Shared(_) => true,
        }
    }

    /// Moves the children that were aborted in the queue to `dropped`; after a stop, all that were
    /// queued.
    pub(crate) fn drop_queue(&mut self, dropped: &mut Vec<C>) {
        let stopped = self.is_stopped();
        match self.storage.get_mut() {
            Storage::Local(local) => local.drop_queue(dropped),
            Storage::Shared(shared) => (shared.operations.drop_queue)(shared, stopped, dropped),
        }
    }

    /// Returns `true` if nothing runs, nothing waits, and no other code can add anything.
    #[inline]
    pub(crate) fn has_run_out(&mut self) -> bool {
        matches!(self.storage.get_mut(), Storage::Local(local) if local.is_over())
    }

    /// Returns `true` if nothing runs and nothing waits.
    pub(crate) fn is_over(&mut self) -> bool {
        match self.storage.get_mut() {
            Storage::Local(local) => local.is_over(),
            Storage::Shared(shared) => shared.calls.is_over(),
        }
    }

    /// Resolves the group if nothing runs and nothing waits.
    pub(crate) fn try_resolve(&mut self) -> bool {
        let stopped = self.is_stopped();
        let closed = match self.storage.get_mut() {
            Storage::Local(local) => local.try_resolve(stopped),
            Storage::Shared(shared) => shared.calls.try_resolve(),
        };
        if closed {
            self.phase = GroupPhase::Resolved;
            self.cancel_acquire();
        }
        closed
    }

    /// Resolves a group that [has run out](Self::has_run_out).
    pub(crate) fn resolve_empty(&mut self) {
        self.phase = GroupPhase::Resolved;
    }

    /// Ends the group whatever runs; it counts as dropped. Returns the children that are not in
    /// the blocks of the set, for the caller to drop.
    pub(crate) fn abort(&mut self, set: &mut C::Set) -> Vec<(Dropped, C)> {
        if <Spawner<C>>::SPAWNS {
            // What has ended by now is not dropped.
            self.stats();
        }
        self.phase = GroupPhase::Resolved;
        self.cancel_acquire();
        let mut dropped = Vec::new();
        for (index, child) in set.drain_spawned() {
            dropped.push((Dropped::Started(index), child));
        }
        match self.storage.get_mut() {
            Storage::Local(local) => {
                local.start_admitted(|index, waiting| {
                    dropped.push((Dropped::Started(index), take_first(waiting)));
                });
            }
            Storage::Shared(shared) => (shared.operations.abort)(shared, &mut dropped),
        }
        dropped
    }

    /// Forgets the running children, which were dropped.
    pub(crate) fn forget_running(&mut self) {
        self.calls().into_iter().for_each(|calls| calls.forget_running());
    }

    /// Returns `true` if no other code waits for the end, or could.
    #[inline]
    pub(crate) fn ends_unheard(&mut self) -> bool {
        matches!(self.storage.get_mut(), Storage::Local(_)) && !<Spawner<C>>::SPAWNS
    }

    /// Ends the group, after everything else.
    pub(crate) fn end(&mut self) {
        self.phase = GroupPhase::Ended;
    }

    /// Announces the end to callers of `closed`, after everything else.
    pub(crate) fn announce_end(&mut self) {
        if self.spawner.group_ended() {
            return;
        }
        self.phase = GroupPhase::Ended;
        self.calls().into_iter().for_each(|calls| calls.announce_end());
    }

    // --- observing

    /// Records how a running child has ended, before its room is given away, and before a stop
    /// that comes of it.
    pub(crate) fn log_finished(&mut self, index: usize, outcome: Outcome) {
        self.calls().into_iter().for_each(|calls| calls.log_finished(index, outcome));
    }

    /// Records that a child was dropped which was not in the set.
    pub(crate) fn log_dropped(&mut self, child: &Dropped) {
        self.calls().into_iter().for_each(|calls| calls.log_dropped(child));
    }

    /// Swaps the recorded events, oldest first, with `events`, which is empty.
    pub(crate) fn take_events(&mut self, events: &mut VecDeque<Event>) {
        self.record(&mut |state| state.log().iter_mut().for_each(|log| log.take(events)));
    }

    /// Records no more events.
    pub(crate) fn end_log(&mut self) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            let log = shared.core.read(|state| state.log().take());
            drop(log);
        }
    }

    /// Lets go of what surrounds the polls of children that run outside of the group's. The futures
    /// of those that were started keep it.
    pub(crate) fn end_poll_observer(&mut self) {
        self.spawner.observe_polls(None);
        if let Storage::Shared(shared) = self.storage.get_mut() {
            shared.set_spawner(&self.spawner);
        }
    }

    #[inline]
    fn record(&mut self, record: StateChange<'_>) {
        self.calls().into_iter().for_each(|calls| calls.record(record));
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
fn insert_admitted<C: Kind>(local: &mut Local<C>, set: &mut C::Set, parent: &Arc<ParentWaker>) {
    local.start_admitted(|index, waiting| {
        // It is taken out only when its slot is there, so that a large one is moved once.
        set.insert_with(|| take_first(waiting), index, parent);
    });
}
