//! Which children may run: the limit, the queue, and the counts.
//!
//! All decisions are made by a [`State`], which is plain data. A group keeps it to itself, without
//! a lock, as long as it needs no more than a limit and a queue. From its first handle on it is
//! [`Shared`]; likewise with an observer or a semaphore, and from the first child with a weight,
//! a priority or that is a daemon. The shared state is changed by one function, `Shared::with`, or
//! by `Core::update` if no child comes or goes: both process the queue and carry out the effects.
//!
//! # Invariants
//!
//! - A group that keeps its state to itself has plain children only. Its own `go` or `feed` that
//!   waits holds the group, so all queued children came before it, and it needs no waiter.
//! - A cancelled token admits nothing. Children that are queued then are dropped, and reservations
//!   taken back, by the group's next poll, or by its drop.

mod closed;
mod events;
mod nested;
mod permits;
mod queue;
mod shared;
mod state;
mod stop;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Context, Poll};

use async_lock::Semaphore;

pub(crate) use self::closed::{ClosedEvent, ClosedWaiter};
use self::events::EventLog;
use self::permits::Permits;
use self::shared::{Offer, Spawner, StateChange, start_unspawned, store};
pub(crate) use self::shared::{Refused, Shared, Ticket};
pub(crate) use self::state::{Caller, Phase};
use self::state::{Dropped, Effects, State};
use self::stop::StopSignal;
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::{Child, Kind, Seal};
use crate::error::TryGoError;
use crate::observe::{Event, Outcome};
use crate::reason::Reason;
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::lock::Mutex;
use crate::util::panic::{catch, discard};
use crate::util::parent_waker::ParentWaker;
use crate::util::slab::Slab;
use crate::util::sparse_queue::shrink;

/// The group's side of admission.
pub(crate) struct Admission<C: Kind> {
    pub(crate) parent: Arc<ParentWaker>,
    stop: StopSignal,
    /// How far the group has come. [`State`] has a copy for the handles.
    phase: Phase,
    /// The lock is for `&self` alone; the group's own task goes past it.
    storage: Mutex<Storage<C>>,
    /// Holds children on their way to be spawned; empty between.
    batch: VecDeque<(usize, C)>,
    spawner: Spawner<C>,
}

#[expect(clippy::large_enum_variant, reason = "a box would cost each small group an allocation")]
enum Storage<C: Kind> {
    Local(Local<C>),
    Shared(Arc<Shared<C>>),
}

/// What a group without handles has to itself.
struct Local<C> {
    state: State,
    /// The children that wait.
    children: Slab<C>,
}

/// Room for a plain child in a group without handles.
pub(crate) struct Vacancy<'g, C: Kind> {
    state: &'g mut State,
    set: &'g mut C::Set,
    parent: &'g Arc<ParentWaker>,
}

// === impl Vacancy ===

impl<C: Kind> Vacancy<'_, C> {
    /// Starts a plain child.
    #[inline(always)]
    pub(crate) fn insert<A: Child<C>>(self, child: A) {
        self.insert_with(|| child.into_child(Seal::new()));
    }

    /// Starts a plain child. It is taken only when its slot is there, so that a large one is moved
    /// as few times as can be.
    #[inline(always)]
    pub(crate) fn insert_from<A: Child<C>>(self, child: &mut Option<A>) {
        self.insert_with(|| Offer::take(child));
    }

    #[inline(always)]
    fn insert_with(self, make: impl FnOnce() -> C) {
        self.state.fast_credit -= 1;
        let index = self.state.start_plain();
        self.set.insert_with(make, index, self.parent);
    }
}

// === impl Local ===

impl<C> Local<C> {
    fn new() -> Self {
        Self { state: State::new(), children: Slab::new() }
    }
}

// === impl Admission ===

impl<C: Kind> Admission<C> {
    pub(crate) fn new(spawner: Spawner<C>, parent: Arc<ParentWaker>) -> Self {
        Self {
            stop: StopSignal::new(&parent),
            phase: Phase::Open,
            storage: Mutex::new(Storage::Local(Local::new())),
            batch: VecDeque::new(),
            spawner,
            parent,
        }
    }

    /// Reads the state, or makes a change that the queue does not depend on.
    fn read<R>(&self, read: impl FnOnce(&mut State) -> R) -> R {
        match &mut *self.storage.lock() {
            Storage::Local(local) => read(&mut local.state),
            Storage::Shared(shared) => shared.core.read(read),
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

    /// Returns what handles share with the group, from now on if it had it to itself.
    pub(crate) fn share(&self) -> Arc<Shared<C>> {
        let token = self.token();
        let mut storage = self.storage.lock();
        let local = match &mut *storage {
            Storage::Shared(shared) => return Arc::clone(shared),
            Storage::Local(local) => core::mem::replace(local, Local::new()),
        };
        let (parent, spawner) = (Arc::clone(&self.parent), self.spawner.clone());
        let shared = Shared::new(token.clone(), parent, local.state, local.children, spawner);
        *storage = Storage::Shared(Arc::clone(&shared));
        shared
    }

    /// Shares the state if a child needs more than plain room.
    #[inline(always)]
    pub(crate) fn prepare<A: Child<C>>(&mut self, child: &mut A) {
        if child.options(Seal::new()).is_some_and(|options| !options.is_plain()) {
            self.share();
        }
    }

    // --- the token

    pub(crate) fn token(&self) -> &CancelToken {
        self.stop.token(&self.parent)
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_set()
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
        self.read(|state| state.start_with_limit(limit));
    }

    /// Makes the group's token a child of `token`. Returns `false` if the group has children, or
    /// other code may have its token or a handle.
    pub(crate) fn set_parent(&mut self, token: &CancelToken) -> bool {
        self.rebuild(|admission| admission.stop.set_parent(token, &admission.parent))
    }

    /// Takes a permit of the semaphore for each child. Returns `false` if the group has children
    /// or handles.
    pub(crate) fn set_semaphore(&mut self, semaphore: Arc<Semaphore>) -> bool {
        self.rebuild(|admission| {
            admission.read(|state| *state.permits() = Some(Permits::new(semaphore)));
            true
        })
    }

    /// Records events from now on. Returns `false` if the group has children or handles.
    pub(crate) fn observe(&mut self) -> bool {
        self.rebuild(|admission| {
            admission.read(|state| *state.log() = Some(EventLog::new()));
            true
        })
    }

    /// Sets the event of the group's end, which is otherwise made on demand.
    pub(crate) fn set_closed_event(&mut self, event: Arc<ClosedEvent>) {
        self.read(|state| *state.closed_event() = Some(event));
    }

    /// Changes what is shared with handles. Returns `false` if there are any, or children, or if
    /// `change` does.
    fn rebuild(&mut self, change: impl FnOnce(&mut Self) -> bool) -> bool {
        if self.has_accepted() {
            return false;
        }
        let storage = self.storage.get_mut();
        match core::mem::replace(storage, Storage::Local(Local::new())) {
            Storage::Local(local) => *storage = Storage::Local(local),
            Storage::Shared(shared) => match shared.into_inner() {
                Ok((state, children)) => *storage = Storage::Local(Local { state, children }),
                Err(shared) => {
                    *storage = Storage::Shared(shared);
                    return false;
                }
            },
        }
        let changed = change(self);
        if self.read(|state| state.permits().is_some() || state.log().is_some()) {
            self.share();
        }
        changed
    }

    // --- adding children

    /// Returns the room that there is for a plain child. A group that has handles has none to
    /// offer here: other tasks may want it.
    #[inline]
    pub(crate) fn vacancy<'g>(&'g mut self, set: &'g mut C::Set) -> Option<Vacancy<'g, C>> {
        let Storage::Local(Local { state, children }) = self.storage.get_mut() else {
            return None;
        };
        let parent = &self.parent;
        if self.stop.is_set() {
            return None;
        }
        if state.fast_credit == 0 && !look_for_room::<C>(state, children, set, parent) {
            return None;
        }
        Some(Vacancy { state, set, parent })
    }

    /// Admits a child for which there is no [vacancy](Self::vacancy), if there is room for it among
    /// other tasks.
    pub(crate) fn try_go<A: Child<C>>(&mut self, child: A) -> Result<(), TryGoError<A>> {
        let (mut child, mut answer) = (Some(child), Err(Refused::AtLimit));
        match self.storage.get_mut() {
            Storage::Local(_) if self.stop.is_set() => answer = Err(Refused::Stopped),
            Storage::Local(_) => {}
            Storage::Shared(shared) => {
                answer = (shared.operations.try_go)(shared, Caller::Group, &mut child);
            }
        }
        match (answer, child) {
            (Err(Refused::Stopped), Some(child)) => Err(TryGoError::Stopped(child)),
            (Err(Refused::AtLimit), Some(child)) => Err(TryGoError::AtLimit(child)),
            _ => Ok(()),
        }
    }

    /// Queues a child for which there is no [vacancy](Self::vacancy), or admits it if there is room
    /// for it among other tasks; drops one that comes too late.
    #[inline]
    pub(crate) fn queue<A: Child<C>>(&mut self, child: A) {
        let mut child = Some(child);
        match self.storage.get_mut() {
            Storage::Local(Local { state, children }) => {
                if self.stop.is_set() || state.phase() >= Phase::Closed {
                    state.refuse(None);
                } else {
                    state.enqueue(store(children, &mut child));
                }
            }
            Storage::Shared(shared) => {
                // A child that is refused is dropped below, unlocked.
                let _ = (shared.operations.queue)(shared, Caller::Group, &mut child);
            }
        }
    }

    /// Accepts a child that was asked for because there was room for a plain one. Returns `false`
    /// if it came too late; it is dropped then, and counts as dropped.
    pub(crate) fn accept<A: Child<C>>(&mut self, child: A) -> bool {
        match self.storage.get_mut() {
            // There was room a moment ago, so the group has stopped.
            Storage::Local(local) => {
                local.state.refuse(None);
                false
            }
            Storage::Shared(shared) => {
                (shared.operations.accept)(shared, Caller::Group, &mut Some(child)).is_ok()
            }
        }
    }

    /// Looks for room for the child of the group's own `go` beside other tasks, and admits it;
    /// `Err` after a stop.
    pub(crate) fn poll_go<A: Child<C>>(
        &mut self,
        ticket: &mut Option<Ticket<C>>,
        child: &mut Option<A>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        match self.storage.get_mut() {
            Storage::Shared(shared) => {
                (shared.operations.poll_go)(shared, Caller::Group, ticket, child, cx)
            }
            // The caller has the group to itself: it needs no place in the queue.
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
        local.state.set_limit(limit);
        // There are no other tasks, so no effects.
        local.state.process_queue(self.is_stopped(), &mut Effects::default());
        let mut spawns = Default::default();
        start_unspawned(&self.spawner, &mut local.state, &mut local.children, &mut spawns);
        let has_ready = local.state.has_ready();
        drop(storage);
        if has_ready {
            // The group may be polled by another task than the one that `&self` came from.
            self.parent.notify();
        }
        self.spawner.spawn_all(spawns);
    }

    // --- moving children to the set

    /// Moves the children that have started into the set.
    #[inline]
    pub(crate) fn take_in(&mut self, set: &mut C::Set) {
        if <Spawner<C>>::SPAWNS {
            set.take_completed();
        }
        match self.storage.get_mut() {
            Storage::Local(Local { state, children }) => {
                if state.has_ready() {
                    insert_ready::<C>(state, children, set, &self.parent);
                }
            }
            Storage::Shared(shared) => {
                if shared.core.has_ready() {
                    if <Spawner<C>>::SPAWNS {
                        // The spawner is user code, which runs under no lock.
                        (shared.operations.take_ready)(shared, &mut |index, child| {
                            self.batch.push_back((index, child));
                        });
                        for (index, child) in self.batch.drain(..) {
                            set.insert(child, index, &self.parent);
                        }
                        shrink(&mut self.batch);
                    } else {
                        (shared.operations.take_ready)(shared, &mut |index, child| {
                            set.insert(child, index, &self.parent);
                        });
                    }
                }
            }
        }
        if <Spawner<C>>::SPAWNS {
            set.collect_completed(&self.parent);
        }
    }

    /// Returns `true` if there are children to be taken in.
    pub(crate) fn has_ready(&mut self, set: &C::Set) -> bool {
        set.has_completed()
            || match self.storage.get_mut() {
                Storage::Local(local) => local.state.has_ready(),
                Storage::Shared(shared) => shared.core.has_ready(),
            }
    }

    // --- ends of children

    /// Counts a running child that is gone, and frees its room. The queue gets the room by
    /// [`admit_next`](Self::admit_next), at once for all children that end in a round: so waiters
    /// are woken together, and each finds room for more than one child.
    #[inline]
    pub(crate) fn finish(&mut self, index: usize, outcome: Outcome) {
        match self.storage.get_mut() {
            Storage::Local(local) => local.state.finish_plain(outcome),
            Storage::Shared(shared) => {
                (shared.core.operations.finish_child)(&shared.core, index, outcome);
            }
        }
    }

    /// Records a child that has finished and keeps its room until its result is fetched.
    #[inline]
    pub(crate) fn finish_unfetched(&mut self, index: usize) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            shared.core.read(|state| state.finish_unfetched(index));
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
        if !matches!(self.storage.get_mut(), Storage::Local(it) if it.state.has_empty_queue()) {
            self.admit_queued(set);
        }
    }

    #[inline(never)]
    fn admit_queued(&mut self, set: &mut C::Set) {
        match self.storage.get_mut() {
            Storage::Local(local) => {
                let Local { state, children } = local;
                if !self.stop.is_set() {
                    // Children that a raised limit has started come first: they have their indexes.
                    insert_ready::<C>(state, children, set, &self.parent);
                    // No other task waits, so the children need no further look.
                    while let Some((index, key)) = state.pop_plain() {
                        if let Some(child) = children.remove(key) {
                            set.insert(child, index, &self.parent);
                        }
                    }
                    state.fast_credit = 0;
                }
            }
            Storage::Shared(shared) => {
                shared.update(&mut |_| ());
                if <Spawner<C>>::SPAWNS && shared.core.has_ready() {
                    self.take_in(set);
                }
            }
        }
    }

    /// Gives the room of children that have ended in this round to no other: a deadline stops the
    /// group.
    pub(crate) fn withhold_freed_room(&mut self) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            shared.core.read(State::withhold_freed_room);
        }
    }

    // --- permits

    #[inline]
    pub(crate) fn has_semaphore(&mut self) -> bool {
        self.shared().is_some_and(|shared| shared.core.has_semaphore())
    }

    /// Waits for a permit on behalf of the head of the queue, if it lacks one.
    pub(crate) fn acquire_permits(&mut self) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            // A foreign waker that panics is its executor's fault.
            let core = &*shared.core;
            let _ = catch(|| (core.operations.acquire_permits)(core)).map_err(discard);
        }
    }

    /// Gives all permits back, when the children of a closed group are gone.
    pub(crate) fn give_permits_back(&mut self) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            (shared.core.operations.give_permits_back)(&shared.core);
        }
    }

    fn cancel_acquire(&mut self) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            // A foreign waker that panics is its executor's fault.
            let core = &*shared.core;
            let _ = catch(|| (core.operations.cancel_acquire)(core)).map_err(discard);
        }
    }

    // --- polls

    #[inline]
    pub(crate) fn begin_poll(&mut self) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            (shared.core.operations.begin_poll)(&shared.core);
        }
    }

    /// Ends a poll. Returns `true` if there is work left in the state for the group's task.
    /// `has_waiter`: it was a poll of the group's own `go` or `feed`, which may have its turn.
    #[inline]
    pub(crate) fn end_poll(&mut self, has_waiter: bool) -> bool {
        match self.storage.get_mut() {
            Storage::Local(_) => false,
            Storage::Shared(shared) => (shared.core.operations.end_poll)(&shared.core, has_waiter),
        }
    }

    // --- numbers

    pub(crate) fn stats(&self) -> Stats {
        self.read(|state| state.stats())
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.read(|state| state.limit())
    }

    pub(crate) fn has_accepted(&self) -> bool {
        self.read(|state| state.has_accepted())
    }

    /// Returns `true` if nothing but daemons is left.
    pub(crate) fn has_only_daemons(&mut self) -> bool {
        match self.storage.get_mut() {
            Storage::Local(_) => false,
            Storage::Shared(shared) => {
                !shared.core.is_stopped() && shared.core.read(|state| state.has_only_daemons())
            }
        }
    }

    // --- the end

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the admission of a group whose parts another one takes over: the group is dropped
    /// without a trace.
    pub(crate) fn retired(&self) -> Self {
        let retired = Self::new(self.spawner.clone(), Arc::clone(&self.parent));
        Self { phase: Phase::Ended, ..retired }
    }

    /// Drops the queue after a stop: moves the children that were queued to `dropped`.
    pub(crate) fn drop_queue(&mut self, dropped: &mut Vec<C>) {
        self.phase = self.phase.max(Phase::Stopped);
        match self.storage.get_mut() {
            Storage::Local(Local { state, children }) => {
                while let Some(key) = state.pop_dropped() {
                    dropped.extend(children.remove(key));
                }
            }
            Storage::Shared(shared) => (shared.operations.drop_queue)(shared, dropped),
        }
    }

    /// Returns `true` if nothing runs and nothing waits.
    pub(crate) fn is_over(&mut self) -> bool {
        let stopped = self.is_stopped();
        match self.storage.get_mut() {
            Storage::Local(local) => local.state.is_over(stopped),
            Storage::Shared(shared) => shared.core.read(|state| state.is_over(stopped)),
        }
    }

    /// Closes the group if nothing runs and nothing waits.
    pub(crate) fn try_close(&mut self) -> bool {
        let stopped = self.is_stopped();
        let closed = match self.storage.get_mut() {
            Storage::Local(local) => local.state.try_close(stopped),
            Storage::Shared(shared) => shared.core.read(|state| state.try_close(stopped)),
        };
        if closed {
            self.phase = Phase::Closed;
            self.cancel_acquire();
        }
        closed
    }

    /// Closes the group whatever runs; it counts as dropped. Returns the children that are not in
    /// the blocks of the set, for the caller to drop.
    pub(crate) fn abort(&mut self, set: &mut C::Set) -> Vec<(Dropped, C)> {
        self.phase = Phase::Closed;
        self.cancel_acquire();
        let mut dropped = Vec::new();
        for (index, child) in set.drain_spawned() {
            dropped.push((Dropped::Started(index), child));
        }
        match self.storage.get_mut() {
            Storage::Local(Local { state, children }) => {
                state.close();
                while let Some((index, key)) = state.pop_ready() {
                    dropped.extend(children.remove(key).map(|it| (Dropped::Started(index), it)));
                }
            }
            Storage::Shared(shared) => (shared.operations.abort)(shared, &mut dropped),
        }
        dropped
    }

    /// Announces the end to callers of `closed`, after everything else.
    pub(crate) fn announce_end(&mut self) {
        if self.spawner.group_ended() {
            return;
        }
        self.phase = Phase::Ended;
        let event = self.read(|state| {
            state.set_phase(Phase::Ended);
            state.closed_event().clone()
        });
        if let Some(event) = event {
            event.set();
        }
    }

    // --- observing

    /// Records how a running child has ended, before its room is given away, and before a stop
    /// that comes of it.
    pub(crate) fn log_finished(&mut self, index: usize, outcome: Outcome) {
        self.record(&mut |state| state.log_finished(index, outcome));
    }

    /// Records that a child was dropped which was not in the set.
    pub(crate) fn log_dropped(&mut self, child: &Dropped) {
        self.record(&mut |state| match child {
            Dropped::Started(index) => state.log_finished(*index, Outcome::Dropped),
            Dropped::Unstarted(options) => state.log_unstarted(options.as_deref()),
        });
    }

    /// Records that the group has stopped.
    pub(crate) fn log_stop(&mut self) {
        self.record(&mut |_| ());
    }

    /// Swaps the recorded events, oldest first, with `events`, which is empty.
    pub(crate) fn take_events(&mut self, events: &mut VecDeque<Event>) {
        self.record(&mut |state| state.log().iter_mut().for_each(|log| log.take(events)));
    }

    /// Records no more events.
    pub(crate) fn end_log(&mut self) {
        let log = self.read(|state| state.log().take());
        drop(log);
    }

    #[inline]
    fn record(&mut self, record: StateChange<'_>) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            (shared.core.operations.record)(&shared.core, record);
        }
    }
}

/// Looks whether a newcomer may enter a group without handles, and how many may after it.
#[inline(never)]
fn look_for_room<C: Kind>(
    state: &mut State,
    children: &mut Slab<C>,
    set: &mut C::Set,
    parent: &Arc<ParentWaker>,
) -> bool {
    if state.phase() >= Phase::Closed {
        return false;
    }
    if state.has_ready() {
        insert_ready::<C>(state, children, set, parent);
    }
    if !state.admits_newcomers() {
        return false;
    }
    state.fast_credit = state.room();
    true
}

/// Moves the children that have started into the set.
#[inline(never)]
fn insert_ready<C: Kind>(
    state: &mut State,
    children: &mut Slab<C>,
    set: &mut C::Set,
    parent: &Arc<ParentWaker>,
) {
    while let Some((index, key)) = state.pop_ready() {
        if let Some(child) = children.remove(key) {
            set.insert(child, index, parent);
        }
    }
}
