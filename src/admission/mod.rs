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
//!   waits borrows the group, so nothing can be queued behind it, and it needs no waiter.
//! - A cancelled token admits nothing. Children that are queued then are dropped, and reservations
//!   taken back, by the group's next poll, or by its drop. Room that was freed before the cancel,
//!   in the same round, is the queue's if the state is shared: it is given at the cancel.

mod access;
mod build;
mod closed;
mod end;
mod ended;
mod events;
mod hints;
mod inspector;
mod joins;
mod load;
mod local;
mod named;
mod nested;
mod newcomers;
mod passes;
mod permits;
mod queue;
mod read_ahead;
mod shared;
mod shared_core;
mod state;
mod stop;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub(crate) use self::access::{Add, Want};
pub(crate) use self::closed::{ClosedEvent, ClosedWaiter};
pub(crate) use self::ended::EndNotes;
pub(crate) use self::hints::Hints;
pub(crate) use self::inspector::Inspector;
use self::local::Local;
pub(crate) use self::newcomers::Vacancy;
use self::newcomers::insert_admitted;
use self::passes::{Asked, Pass};
use self::read_ahead::ReadAhead;
use self::shared::SpawnerOf;
pub(crate) use self::shared::{Shared, Ticket};
pub(crate) use self::shared_core::Core;
use self::shared_core::CoreCalls;
use self::state::State;
pub(crate) use self::state::{Caller, ChildRecord, GroupPhase, Refused};
use self::stop::StopSignal;
use crate::child::Kind;
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::task::Options;
use crate::observe::{Event, Outcome};
use crate::reason::Reason;
use crate::snapshot::{ChildState, Snapshot};
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::dropped_by::DroppedBy;
use crate::util::lock::Mutex;
use crate::util::panic::quietly;
use crate::util::parent_waker::ParentWaker;
use crate::util::rare_box::RareBox;
use crate::util::slab::Slab;

/// The group's side of admission.
pub(crate) struct Admission<C: Kind> {
    pub(crate) parent: Arc<ParentWaker>,
    stop: StopSignal,
    /// How far the group has come. [`State`] has a copy for the handles.
    pub(crate) phase: GroupPhase,
    /// The policy may ask for the names of children, or an observer or a snapshot tells them.
    keeps_names: bool,
    /// Of children that end outside of the group's polls.
    notes: EndNotes,
    /// The lock is for `&self` alone; the group's own task goes past it.
    storage: Mutex<Storage<C>>,
    spawner: SpawnerOf<C>,
    /// Of results that may wait to be fetched without the room of their children.
    read_ahead: RareBox<DroppedBy<ReadAhead>>,
}

enum Storage<C: Kind> {
    Local(Local<C>),
    Shared(Arc<Shared<C>>),
}

// === impl Admission ===

impl<C: Kind> Admission<C> {
    /// Makes the admission of a group that has this limit from the start.
    pub(crate) fn new(
        spawner: SpawnerOf<C>,
        parent: Arc<ParentWaker>,
        limit: Option<usize>,
    ) -> Self {
        let mut local = Local::new();
        local.set_limit(limit);
        Self {
            stop: StopSignal::new(&parent),
            phase: GroupPhase::Open,
            keeps_names: false,
            notes: EndNotes::Nothing,
            storage: Mutex::new(Storage::Local(local)),
            read_ahead: RareBox::none(),
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

    /// Returns what the group calls of that state.
    pub(crate) fn calls(&mut self) -> Option<&dyn CoreCalls> {
        self.shared().map(|shared| &*shared.calls)
    }

    /// Calls `f` with that state, for what the queue does not depend on.
    #[inline]
    fn with_state<R>(&mut self, f: impl FnOnce(&mut State) -> R) -> Option<R> {
        self.shared().map(|shared| shared.core.with_state(f))
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
        if self.phase >= GroupPhase::Resolved {
            shared.drop_spawner();
        }
        *storage = Storage::Shared(Arc::clone(&shared));
        shared
    }

    fn state_of(&self, local: Local<C>) -> (State, Slab<C>) {
        let (mut state, children) = local.into_state();
        state.lifecycle.phase = self.phase;
        state.set_notes(self.notes);
        state.keeps_names = self.keeps_names;
        (state, children)
    }

    fn shared_with(&self, token: &CancelToken, state: State, children: Slab<C>) -> Arc<Shared<C>> {
        Shared::new(token.clone(), Arc::clone(&self.parent), state, children, &self.spawner)
    }

    // --- the token

    pub(crate) fn token(&self) -> &CancelToken {
        self.stop.token(&self.parent)
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Returns `true` if the group has stopped, or may do so at any time: its token has been asked
    /// for. Else nothing but the end of a child can stop it during a round.
    pub(crate) fn may_stop_in_round(&self) -> bool {
        self.stop.has_token() || self.stop.is_set()
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
            if <SpawnerOf<C>>::SPAWNS {
                local.spawn_admitted(done, &self.spawner, &mut spawns);
            }
        }
        let has_started = local.has_admitted();
        drop(storage);
        if has_started {
            // The group may be polled by another task than the one that `&self` came from.
            self.parent.notify();
        }
        <SpawnerOf<C>>::spawn_all(spawns);
    }

    // --- moving children to the set

    /// Moves the children that have started into the set.
    #[inline]
    pub(crate) fn take_in(&mut self, set: &mut C::Set) {
        if <SpawnerOf<C>>::SPAWNS && set.has_completed() {
            // The policy is told next: no room is freed before that.
            let notes = self.notes;
            match self.storage.get_mut() {
                Storage::Local(local) => {
                    set.take_completed(&mut |_, outcome| {
                        if notes != EndNotes::Nothing {
                            local.note_ended(outcome, true);
                        }
                    });
                }
                Storage::Shared(shared) => shared.core.with_state(|state| {
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
                if shared.core.hints.has(Hints::STARTED) {
                    let take_started = shared.operations.take_started;
                    set.insert_all(&mut |insert| take_started(shared, insert), &self.parent);
                }
            }
        }
        if <SpawnerOf<C>>::SPAWNS {
            set.collect_completed(&self.parent, self.stop.is_set());
        }
    }

    /// Returns `true` if there are children to be taken in.
    pub(crate) fn has_started(&mut self, set: &C::Set) -> bool {
        set.has_completed()
            || match self.storage.get_mut() {
                Storage::Local(local) => local.has_admitted(),
                Storage::Shared(shared) => shared.core.hints.has(Hints::STARTED),
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
            core.hints.has(Hints::STARTED) && core.own_child.waits()
        })
    }

    // --- ends of children

    /// Returns `true` if a child that has ended on its executor runs until its result is fetched:
    /// the group is a stream.
    pub(crate) fn keeps_results(&self) -> bool {
        self.notes == EndNotes::Nothing
    }

    /// Returns `true` if all children that have ended on their executor keep their room until the
    /// policy is told.
    fn ended_keep_room(&self) -> bool {
        self.notes != EndNotes::FreesRoom || self.is_stopped()
    }

    /// Frees the room of children that have ended on their executor, and gives it to those that
    /// wait, in a group that has its admission to itself. (A state that is shared does so in each
    /// change.)
    pub(crate) fn free_room_of_ended(&mut self, set: &mut C::Set) {
        if self.ended_keep_room() {
            return;
        }
        if let Storage::Local(local) = self.storage.get_mut() {
            local.note_ends(&self.spawner, false);
            local.admit_waiting();
            insert_admitted::<C>(local, set, &self.parent);
        }
    }

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
        self.shared().is_some_and(|shared| shared.core.hints.has(Hints::ENDINGS))
    }

    /// Counts a running child that is gone, and frees its room. The queue gets the room by
    /// [`admit_next`](Self::admit_next), at once for all children that end in a round: so waiters
    /// are woken together, and each finds room for more than one child.
    #[inline]
    pub(crate) fn finish(&mut self, index: usize, outcome: Outcome) {
        if <SpawnerOf<C>>::SPAWNS && outcome == Outcome::Dropped {
            // It may have ended just before it was dropped.
            self.stats();
        }
        match self.storage.get_mut() {
            Storage::Local(local) => {
                if <SpawnerOf<C>>::SPAWNS {
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
            Storage::Local(local) => local.note_ended(Outcome::Dropped, true),
            Storage::Shared(shared) => {
                shared.core.with_state(|state| state.note_ended(index, Outcome::Dropped, true));
            }
        }
    }

    /// Returns what is known of a running child that the policy is about to be told of, or `None`
    /// if that is nothing beyond its index.
    #[inline]
    pub(crate) fn record_of(&mut self, index: usize) -> Option<ChildRecord> {
        match self.storage.get_mut() {
            Storage::Shared(shared) if shared.core.hints.has(Hints::RECORDS) => {
                shared.calls.record_of(index)
            }
            _ => None,
        }
    }

    /// Lets so many results wait to be fetched without the room of their children.
    pub(crate) fn set_read_ahead(&mut self, limit: usize) {
        let make = || Box::new(DroppedBy::new(ReadAhead::new(limit), drop));
        *self.read_ahead = (limit > 0).then(make);
    }

    /// Records a child that has finished and keeps its room until its result is fetched, unless
    /// the result may be ahead of its reader.
    #[inline]
    pub(crate) fn finish_unfetched(&mut self, index: usize, outcome: Outcome) {
        if self.read_ahead.as_mut().is_some_and(|ahead| ahead.put(index, outcome)) {
            return self.finish(index, outcome);
        }
        self.with_state(|state| state.finish_unfetched(index));
    }

    /// Returns `true` if a child keeps its room whose result was not fetched.
    pub(crate) fn keeps_room(&self, index: usize) -> bool {
        self.read_ahead.as_ref().is_none_or(|ahead| ahead.is_holder(index))
    }

    /// Frees room, since a result was fetched: that of its child or, if the child had none any
    /// more, that of another one.
    #[inline]
    pub(crate) fn release(&mut self, index: usize, outcome: Outcome) {
        let holder = match &mut *self.read_ahead {
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
        shared.calls.update(&mut |state| state.blocked_results = count);
        true
    }

    /// Admits queued children for which there is room now, and wakes the waiters that have got
    /// their turn.
    #[inline]
    pub(crate) fn admit_next(&mut self, set: &mut C::Set) {
        let nothing_waits = match self.storage.get_mut() {
            Storage::Local(local) => !local.has_waiting(),
            Storage::Shared(shared) => !<SpawnerOf<C>>::SPAWNS && !shared.core.must_process(),
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
                    shared.calls.process_queue();
                }
                if <SpawnerOf<C>>::SPAWNS && shared.core.hints.has(Hints::STARTED) {
                    self.take_in(set);
                }
            }
        }
    }

    /// Gives the room of children that have ended in this round to the queue: another child is
    /// about to stop the group. A shared state does so by itself when its token is cancelled. Here
    /// nothing is admitted if that has been done before.
    #[inline(never)]
    pub(crate) fn give_freed_room(&mut self) {
        match self.storage.get_mut() {
            Storage::Local(local) if !self.stop.is_set() => _ = local.admit_waiting(),
            _ => {}
        }
    }

    /// Gives the room of children that have ended in this round to no other: a deadline stops the
    /// group.
    pub(crate) fn withhold_freed_room(&mut self) {
        self.with_state(|state| state.has_freed_room = false);
    }

    // --- passes

    /// Returns what a gate is told of the head of the queue, or `None` if it lacks no pass.
    pub(crate) fn asked(&mut self) -> Option<Asked> {
        self.with_state(|state| state.asked())?
    }

    /// Returns what a gate is told of a child on offer, or `None` if the child does not lack a pass
    /// alone.
    pub(crate) fn asked_for(&mut self, options: Option<&mut Options>) -> Option<Asked> {
        let core = &self.shared()?.core;
        core.with_state(|state| state.asked_for(options.as_deref(), core.is_stopped()))
    }

    /// Adds a pass, for the head of the queue or a child on offer, of that weight.
    pub(crate) fn add_pass(&mut self, weight: usize, pass: Pass) {
        if let Some(calls) = self.calls() {
            calls.update(&mut |state| state.room.passes.add(weight, pass));
        }
    }

    /// Returns `true` if passes are over whose guards are still there.
    pub(crate) fn has_ended_passes(&mut self) -> bool {
        self.with_state(|state| !state.room.passes.over.is_empty()).unwrap_or(false)
    }

    /// Moves the passes of children that have ended to `passes`.
    pub(crate) fn take_ended_passes(&mut self, passes: &mut Vec<Pass>) {
        self.with_state(|state| state.room.take_ended_passes(passes));
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

    // --- numbers

    /// Reads the numbers, whichever way they are held.
    fn read<R>(
        &self,
        local: impl FnOnce(&Local<C>) -> R,
        shared: impl FnOnce(&mut State) -> R,
    ) -> R {
        match &*self.storage.lock() {
            Storage::Local(numbers) => local(numbers),
            Storage::Shared(it) => it.core.with_state(shared),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        match &mut *self.storage.lock() {
            Storage::Shared(shared) => shared.calls.stats(),
            Storage::Local(local) => {
                if !self.keeps_results() && self.phase < GroupPhase::Resolved {
                    local.note_ends(&self.spawner, self.ended_keep_room());
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
        snapshot.phase = self.phase.shown(self.is_stopped(), false);
        snapshot.complete(self.reason(), &self.parent);
        snapshot
    }

    /// Returns the number below which all indexes are of children that have gone to the set, or
    /// have ended.
    pub(crate) fn taken_in(&self) -> usize {
        self.read(Local::taken_in, |state| state.starts.first_started())
    }

    /// Returns `true` if the policy was told of a child.
    pub(crate) fn has_told_policy(&self) -> bool {
        self.read(Local::has_told_policy, |state| state.has_told_policy())
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.read(Local::limit, |state| state.room.limit())
    }

    pub(crate) fn has_accepted(&self) -> bool {
        self.read(Local::has_accepted, |state| state.has_accepted())
    }

    // --- observing

    /// Records how a running child has ended, before its room is given away, and before a stop
    /// that comes of it.
    pub(crate) fn log_finished(&mut self, index: usize, outcome: Outcome) {
        self.calls().into_iter().for_each(|calls| calls.log_finished(index, outcome));
    }

    /// Swaps the recorded events, oldest first, with `events`, which is empty.
    pub(crate) fn take_events(&mut self, events: &mut Vec<Event>) {
        if let Some(calls) = self.calls() {
            calls.log(&mut |state| state.log.iter_mut().for_each(|log| log.take(events)));
        }
    }

    /// Records no more events.
    pub(crate) fn end_log(&mut self) {
        drop(self.with_state(|state| state.log.take()));
    }

    /// Lets go of what surrounds the polls of children that run outside of the group's. The futures
    /// of those that were started keep it.
    pub(crate) fn end_poll_observer(&mut self) {
        self.spawner.observe_polls(None);
    }
}
