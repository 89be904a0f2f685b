//! The state behind its lock: the part of [`Shared`](super::shared::Shared) that does not depend on
//! the type of the children. The head of `shared.rs` says when the locks are taken, and which ways
//! lead to the state.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::pin::Pin;
use core::task::{Context, Waker};

use super::closed::ClosedEvent;
use super::hints::{Hints, OwnChild};
use super::named::NamedGroup;
use super::permits::{PermitSource, Permits};
use super::state::{Caller, ChildRecord, Dropped, Effects, GroupPhase, State, Wakers};
use crate::child::join::{AbortChild, JoinId};
use crate::child::set::EndReports;
use crate::observe::Outcome;
use crate::set::budget::POLLS;
use crate::snapshot::{ChildState, LEVELS, Snapshot};
use crate::stats::Stats;
use crate::token::{CancelToken, Cancelled};
use crate::util::lock::{Mutex, MutexGuard};
use crate::util::panic::{FirstPanic, quietly};
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::{AtomicBool, AtomicUsize, Ordering};
use crate::util::wake_all::wake_all;

/// The part of [`Shared`](super::shared::Shared) that does not depend on the type of the children.
pub(crate) struct Core {
    token: CancelToken,
    parent: Arc<ParentWaker>,
    /// Of children that run outside of the group's polls.
    reports: Option<Arc<dyn EndReports>>,
    pub(crate) hints: Hints,
    pub(super) own_child: OwnChild,
    /// A [`Hold`](crate::Hold) keeps the group open. A hint, for newcomers of the group itself.
    is_held: AtomicBool,
    /// The body of the group's scope has not ended.
    has_body: AtomicBool,
    /// How many children handles have brought, or slots for them, since the group was last polled,
    /// or a task has yielded.
    entries: AtomicUsize,
    state: Mutex<State>,
    /// `true` if an observer is told of events.
    observed: bool,
    /// No child starts at once without a look at others: each needs a permit or a pass.
    pub(super) needs_more: bool,
    source: Option<Box<PermitSource>>,
    /// A child of the token that is cancelled when newcomers are refused, made on demand.
    newcomers: Mutex<Option<CancelToken>>,
    /// Wakes all waiters when the token is cancelled. It has a reference to the core.
    watch: Mutex<Option<Cancelled>>,
}

/// So many children, or slots for them, may handles bring before the group is polled or a task
/// yields. So the children of an endless loop begin, and its task's other futures run.
const MOST_ENTRIES: usize = POLLS as usize;

pub(crate) type StateChange<'a> = &'a mut dyn FnMut(&mut State);

/// What a group's own code calls of [`Core`]. It is reached by a trait object, so a program whose
/// groups have no handles does not contain it, as with [`Operations`](super::shared::Operations).
pub(crate) trait CoreCalls: Send + Sync {
    /// Returns the only thing that has these calls.
    fn core(&self) -> &Core;

    /// Changes the state, processes the queue, and carries out the effects. For changes by the
    /// group's task, which takes in the children that start.
    fn update(&self, change: StateChange<'_>) {
        self.core().update_as(Caller::Group, change);
    }

    /// Processes the queue, and carries out the effects, as an [`update`](Self::update) that
    /// changes nothing.
    fn process_queue(&self) {
        self.core().process_queue(Caller::Group);
    }

    /// Records events for the observer; changes nothing else.
    fn log(&self, log: StateChange<'_>) {
        if self.core().observed {
            log(&mut self.core().begin_log());
        }
    }

    /// Starts a plain child by the group's task, if that concerns no other: returns its index. The
    /// queue need not be processed.
    fn try_start(&self) -> Option<usize> {
        let Core { state, hints, needs_more, .. } = self.core();
        if *needs_more || hints.has(Hints::MUST_WAIT) {
            return None;
        }
        let mut state = state.lock();
        let index = state.try_start(self.core().is_stopped())?;
        hints.update(Hints::MUST_WAIT, &state);
        Some(index)
    }

    /// Keeps room for a plain child of a feed of the group itself, which asks its stream next.
    /// Returns `false` if the feed has to wait.
    fn keep_room(&self) -> bool {
        let Core { state, hints, needs_more, .. } = self.core();
        if *needs_more || hints.has(Hints::MUST_WAIT) {
            return false;
        }
        let mut state = state.lock();
        let keeps = state.keep_room(self.core().is_stopped());
        hints.update(Hints::MUST_WAIT, &state);
        keeps
    }

    /// Starts a plain child in the room that is kept: returns its index. `None` if none is kept, if
    /// others have started meanwhile, or if the group has stopped.
    fn start_in_kept_room(&self) -> Option<usize> {
        self.core().with_state(|state| state.start_in_kept_room(self.core().is_stopped()))
    }

    /// Frees the room that is kept, if some is.
    fn give_up_room(&self) {
        self.update(&mut State::give_up_room);
    }

    /// Counts a child that is gone, and frees its room, without processing the queue.
    fn finish_child(&self, index: usize, outcome: Outcome) {
        let Core { state, hints, .. } = self.core();
        let mut state = state.lock();
        if state.finish(index, outcome, self.core().is_stopped()) {
            hints.record_freed_room();
        } else if hints.has(Hints::MUST_WAIT | Hints::RECORDS) {
            // Mostly they say so already.
            hints.update(Hints::MUST_WAIT | Hints::RECORDS, &state);
        }
    }

    /// Returns what is known of a running child, or `None` if that is nothing beyond its index.
    fn record_of(&self, index: usize) -> Option<ChildRecord> {
        self.core().with_state(|state| state.running.record(index))
    }

    /// Records how a running child has ended.
    fn log_finished(&self, index: usize, outcome: Outcome) {
        if self.core().observed {
            self.core().begin_log().log_finished(index, outcome);
        }
    }

    /// Records that a child was dropped which was not in the set.
    fn log_dropped(&self, child: &Dropped) {
        self.log(&mut |state| match child {
            Dropped::Started(index) => state.log_finished(*index, Outcome::Dropped),
            Dropped::Unstarted(key, options) => state.log_unstarted(*key, options.boxed()),
        });
    }

    /// Returns `true` if the group has stopped, and the child of that index is to end with it.
    fn ends_now(&self, index: usize) -> bool {
        self.core().is_stopped() && self.core().with_state(|state| state.is_until_stop(index))
    }

    /// Returns `true` if there may be joinable children.
    fn has_joinable(&self) -> bool {
        self.core().with_state(|state| state.has_joinable())
    }

    /// Returns `true` if the result of the child of that index, which has returned, is none.
    fn has_no_result(&self, index: usize) -> bool {
        self.core().with_state(|state| state.has_no_result(index))
    }

    /// Returns the indexes of the running children that end with the stop, lowest first.
    fn until_stop(&self) -> Vec<usize> {
        self.core().with_state(|state| state.running.until_stop())
    }

    /// Returns `true` if nothing but daemons is left.
    fn has_only_daemons(&self) -> bool {
        !self.core().is_stopped() && self.core().with_state(|state| state.has_only_daemons())
    }

    /// Returns `true` if the group need not wait: at most daemons run, and nothing waits. After a
    /// stop: if nothing runs.
    fn is_over(&self) -> bool {
        self.core().with_state(|state| state.is_over(self.core().is_stopped()))
    }

    /// Resolves the group if nothing runs and nothing waits.
    fn try_resolve(&self) -> bool {
        self.core().with_state(|state| state.try_resolve(self.core().is_stopped()))
    }

    /// Announces the end to callers of `closed`.
    fn announce_end(&self) {
        let event = self.core().with_state(|state| {
            state.lifecycle.phase = GroupPhase::Ended;
            state.lifecycle.closed_event.clone()
        });
        if let Some(event) = event {
            event.set();
        }
    }

    /// Forgets the running children, which were dropped.
    fn forget_running(&self) {
        drop(self.core().with_state(State::forget_running));
    }

    /// Returns the group's numbers, taken at one moment.
    fn stats(&self) -> Stats {
        self.core().with_state(|state| {
            self.core().note_ends(state);
            state.stats()
        })
    }

    /// Begins a poll of the group.
    fn begin_poll(&self) {
        self.core().entries.store(0, Ordering::Relaxed);
        if self.core().hints.has(Hints::REVOKING) {
            self.process_queue();
        }
        self.core().with_permits(Permits::begin_poll);
    }

    /// Ends a poll. Returns `true` if there is work left in the state for the group's task.
    /// `has_waiter`: it was a poll of a `go`, `feed` or `ready` of the group, or of a stream of its
    /// results, which may have its turn.
    fn end_poll(&self, has_waiter: bool) -> bool {
        let left = (has_waiter && self.core().hints.has(Hints::GROUP_TURN))
            || self.core().must_acquire()
            || self.core().hints.has(Hints::REVOKING);
        self.core().with_permits(Permits::end_poll);
        left
    }

    /// Waits for a permit on behalf of the head of the queue, for as long as the head lacks only
    /// a permit.
    fn acquire_permits(&self) {
        let Some(source) = &self.core().source else {
            return;
        };
        let may_wait = || self.core().with_permits(|permits| permits.may_wait()).unwrap_or(false);
        // The entries behind the head may lack one, too: then the wait begins anew.
        while may_wait() {
            if source.poll_acquire(&self.core().parent) {
                self.update(&mut |state| state.room.permits.iter_mut().for_each(Permits::add));
            } else if may_wait() {
                return;
            }
            // Else the head has left meanwhile, on another thread, which found nothing to cancel.
        }
        // The next waiter of the semaphore is told now.
        source.cancel();
    }

    /// Cancels the wait for a permit: the group is not polled any more.
    fn cancel_acquire(&self) {
        if let Some(source) = &self.core().source {
            source.cancel();
        }
    }

    /// Gives all permits back, when the children of a resolved group are gone.
    fn give_permits_back(&self) {
        if self.core().source.is_some() {
            self.update(&mut |state| state.room.permits.iter_mut().for_each(Permits::free_all));
        }
    }
}

// === impl Core ===

// As `Shared`: user code that panics does so while nothing is locked.
impl UnwindSafe for Core {}
impl RefUnwindSafe for Core {}

impl Core {
    pub(super) fn new(
        token: CancelToken,
        parent: Arc<ParentWaker>,
        reports: Option<Arc<dyn EndReports>>,
        state: State,
    ) -> Arc<Self> {
        let inspector = state.inspector.clone();
        let source =
            state.room.permits.as_ref().map(|permits| PermitSource::new(permits.semaphore()));
        let hints = Hints::default();
        hints.update(Hints::PROCESSED, &state);
        let core = Arc::new(Self {
            token,
            parent,
            reports,
            hints,
            own_child: OwnChild::default(),
            is_held: AtomicBool::new(false),
            has_body: AtomicBool::new(false),
            entries: AtomicUsize::new(0),
            observed: state.log.is_some(),
            needs_more: state.needs_more(),
            state: Mutex::new(state),
            source,
            newcomers: Mutex::default(),
            watch: Mutex::default(),
        });
        let mut watch = core.token.cancelled();
        // If the stop comes just now: there is no waiter yet, and a newcomer sees it.
        let waker = Waker::from(Arc::clone(&core));
        let _ = Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
        *core.watch.lock() = Some(watch);
        if let Some(inspector) = inspector {
            inspector.register(&(Arc::clone(&core) as _));
        }
        core
    }

    /// Ends the watch over the token, which has a reference to the core.
    pub(super) fn end_watch(&self) {
        let watch = self.watch.lock().take();
        drop(watch);
    }

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

    /// Locks the state, for changes that must not process the queue.
    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Calls `f` with the state, for what the queue does not depend on.
    pub(crate) fn with_state<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock())
    }

    /// Takes a snapshot. `known` are running children of which the caller knows more, by their
    /// indexes.
    pub(crate) fn inspect(&self, known: &[(usize, ChildState)]) -> Snapshot {
        self.inspect_known(LEVELS, known)
    }

    /// Takes a snapshot with the named groups below it, on so many levels.
    fn inspect_known(&self, levels: usize, known: &[(usize, ChildState)]) -> Snapshot {
        let (mut snapshot, inspector) = self.with_state(|state| {
            self.note_ends(state);
            (state.inspect(self.is_stopped(), known), state.inspector.clone())
        });
        snapshot.complete(self.token().reason(), &self.parent);
        snapshot.has_body = self.has_body.load(Ordering::Relaxed);
        if let Some(inspector) = inspector {
            snapshot.name = Some(Arc::clone(&inspector.name));
            if let Some(levels) = levels.checked_sub(1) {
                let below = inspector.groups_below();
                snapshot.groups = below.iter().map(|it| it.inspect_down_to(levels)).collect();
            }
        }
        snapshot
    }

    /// Records that the body of the group's scope begins or has ended.
    pub(crate) fn set_body(&self, runs: bool) {
        self.has_body.store(runs, Ordering::Relaxed);
    }

    pub(crate) fn parent(&self) -> &ParentWaker {
        &self.parent
    }

    /// Begins a change: locks the state.
    #[inline(never)]
    pub(super) fn begin_change(&self, effects: &mut Effects) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        // First: a newcomer finds what the queue leaves, and a stop what had room before it.
        state.give_freed_room(effects);
        self.log_stop(&mut state);
        state
    }

    /// Locks the state to record an event, after those that came before.
    #[inline]
    fn begin_log(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.has_freed_room {
            // Children start in room that was freed before a stop, and so come before it. What
            // these effects say is in the state as well, and the group's task, which is the
            // caller, changes it next.
            state.give_freed_room(&mut Effects::default());
        }
        self.log_stop(&mut state);
        state
    }

    /// Notes the children that have ended outside of the group's polls.
    pub(super) fn note_ends(&self, state: &mut State) {
        let Some(reports) = &self.reports else { return };
        let mut ended = false;
        reports.note(&mut |index, outcome| {
            state.note_ended(index, outcome, self.is_stopped());
            ended = true;
        });
        if ended {
            self.hints.record_freed_room();
        }
    }

    /// Finishes a change: processes the queue, and updates the hints for readers without the lock.
    #[inline(never)]
    pub(super) fn end_change(&self, state: &mut State, effects: &mut Effects) {
        self.log_stop(state);
        if !effects.in_order {
            state.process_queue(self.is_stopped(), effects);
        }
        self.hints.update(Hints::PROCESSED, state);
        effects.notify |= state.has_aborted();
        state.take_to_wake(effects);
        if let Some(permits) = &mut state.room.permits {
            effects.permits = permits.take_spare();
            effects.cancel_acquire = core::mem::take(&mut permits.cancel_acquire);
        }
    }

    fn update_as(&self, caller: Caller, change: StateChange<'_>) {
        let mut effects = Effects::default();
        let mut state = self.begin_change(&mut effects);
        change(&mut state);
        self.end_change(&mut state, &mut effects);
        drop(state);
        self.apply(effects, caller);
    }

    fn process_queue(&self, caller: Caller) {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        // Room that was freed is given away by the same pass over the queue.
        effects.in_order = state.has_freed_room && !self.is_stopped();
        state.give_freed_room(&mut effects);
        self.end_change(&mut state, &mut effects);
        drop(state);
        self.apply(effects, caller);
    }

    /// Holds the group open while it is empty.
    pub(crate) fn hold(&self) {
        self.with_state(|state| {
            state.lifecycle.holds += 1;
            self.is_held.store(true, Ordering::Relaxed);
        });
    }

    pub(crate) fn release_hold(&self) {
        self.update_as(Caller::Handle, &mut |state| {
            state.release_hold();
            self.is_held.store(state.lifecycle.is_held(), Ordering::Relaxed);
        });
    }

    /// Notifies the group's task of a child that the group itself has added, if a hold may let it
    /// sleep without children.
    #[inline]
    pub(super) fn notify_if_held(&self, caller: Caller) {
        if caller == Caller::Group
            && self.is_held.load(Ordering::Relaxed)
            && (self.hints.has(Hints::STARTED)
                || (self.needs_more && self.with_state(|state| state.must_ask())))
        {
            self.notify();
        }
    }

    /// Returns `true` if the group is open, and has nothing to do before a child is added.
    pub(crate) fn is_vacant(&self) -> bool {
        self.with_state(|state| state.is_vacant(self.is_stopped()))
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.with_state(|state| state.lifecycle.closing)
    }

    /// Returns a token that is cancelled by a stop, and when the group is closed.
    pub(crate) fn newcomers(&self) -> CancelToken {
        let mut newcomers = self.newcomers.lock();
        newcomers.get_or_insert_with(|| self.token().child()).clone()
    }

    /// Records the stop for the observer, if it has not been recorded.
    fn log_stop(&self, state: &mut State) {
        if self.observed {
            if let Some(log) = state.log.as_mut().filter(|_| self.is_stopped()) {
                log.stopped(|| self.token().reason());
            }
        }
    }

    /// Carries out the effects of a change. No lock is held.
    #[inline]
    pub(super) fn apply(&self, effects: Effects, caller: Caller) {
        // The group's task looks for its work itself.
        let notify = effects.notify && caller == Caller::Handle;
        let wakes = effects.wake.first.is_some() || effects.discard.is_some();
        if notify || wakes || effects.cancel_acquire || effects.permits > 0 {
            self.apply_all(effects, notify);
        } else {
            effects.forget();
        }
    }

    /// Notifies the group's task. A waker that panics is its executor's fault.
    pub(super) fn notify(&self) {
        quietly(|| self.parent.notify());
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
            panic.guard(|| wake_all(more));
        }
        if discard.is_some() {
            panic.guard(|| drop(discard));
        }
        panic.discard();
    }

    // --- handles

    /// Counts a child that a handle has brought, a slot, or a feed without a child.
    #[inline]
    pub(crate) fn count_entry(&self) {
        // It need not be exact if several threads do so.
        self.entries.store(self.entries.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Returns `true` if a handle's task is to yield before it brings one more; it is woken then.
    #[inline]
    pub(crate) fn must_yield(&self, cx: &Context<'_>) -> bool {
        self.entries.load(Ordering::Relaxed) >= MOST_ENTRIES && self.yield_task(cx)
    }

    #[cold]
    fn yield_task(&self, cx: &Context<'_>) -> bool {
        self.entries.store(0, Ordering::Relaxed);
        cx.waker().wake_by_ref();
        true
    }

    // --- the group's side

    /// Returns `true` if it is known at a glance that the children in the set have no record and
    /// no end without a result, and the group waits for no permit.
    #[inline]
    pub(super) fn runs_plain_children(&self) -> bool {
        !self.hints.has(Hints::RECORDS | Hints::ENDINGS) && self.source.is_none()
    }

    /// Returns `false` if it is known at a glance that a waiter of the group itself, which was
    /// polled before, has no answer yet.
    pub(super) fn may_have_turn(&self) -> bool {
        // The queue may not have got room that was freed, and the state cannot know of a permit
        // that has come.
        self.hints.has(Hints::GROUP_TURN | Hints::FREED_ROOM)
            || self.needs_more
            || self.is_stopped()
    }

    /// Returns `true` if there is nothing for the group's task to take in, to drop or to wait for.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        !self.hints.has(Hints::STARTED | Hints::ABORTED) && self.source.is_none()
    }

    /// Returns `true` if the queue is to be processed: children have ended, or there is a
    /// semaphore.
    #[inline]
    pub(super) fn must_process(&self) -> bool {
        self.hints.has(Hints::FREED_ROOM) || self.source.is_some()
    }

    pub(crate) fn has_semaphore(&self) -> bool {
        self.source.is_some()
    }

    fn with_permits<R>(&self, f: impl FnOnce(&mut Permits) -> R) -> Option<R> {
        self.source.as_ref()?;
        self.state.lock().room.permits.as_mut().map(f)
    }

    fn lacks_permit(&self) -> bool {
        self.state.lock().room.lacks_permit()
    }

    /// Returns `true` if the head of the queue lacks only a permit, and the wait for it has not
    /// begun, or was woken.
    fn must_acquire(&self) -> bool {
        // A wake-up after the last look may have been taken together with those for children.
        let source = self.source.as_ref().filter(|source| !source.is_waiting());
        source.is_some() && self.lacks_permit()
    }

    // --- the end

    /// Returns the event of the group's end.
    pub(crate) fn closed_event(&self) -> Arc<ClosedEvent> {
        let (event, ended) = self.with_state(|state| {
            let event = Arc::clone(state.lifecycle.closed_event.get_or_insert_default());
            (event, state.lifecycle.phase == GroupPhase::Ended)
        });
        if ended {
            event.set();
        }
        event
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.with_state(|state| {
            state.lifecycle.phase == GroupPhase::Ended
                || state.lifecycle.closed_event.as_ref().is_some_and(|event| event.is_set())
        })
    }
}

impl CoreCalls for Core {
    fn core(&self) -> &Core {
        self
    }
}

impl NamedGroup for Core {
    fn token(&self) -> &CancelToken {
        &self.token
    }

    fn inspect_down_to(&self, levels: usize) -> Snapshot {
        self.inspect_known(levels, &[])
    }
}

impl AbortChild for Core {
    fn abort_queued(&self, id: JoinId) -> bool {
        let mut found = false;
        // The group's task takes in, and spawns, the children that start.
        self.update_as(Caller::Handle, &mut |state| found = state.abort_queued(id));
        found
    }

    fn void_result(&self, id: JoinId) {
        self.with_state(|state| state.joins().void_result(id));
    }
}

/// Woken by a stop, it wakes all waiters, though the group's children may belong to one thread.
impl Wake for Core {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Not by a hint: another thread may have freed it just now.
        if self.with_state(|state| state.has_freed_room) {
            // Room that was freed before the stop was the queue's. It has it now, rather than
            // after others have seen its children queued in a group that has stopped.
            self.process_queue(Caller::Handle);
        }
        let mut effects = Effects::default();
        self.state.lock().take_wakers(&mut effects);
        let Wakers { first, more } = effects.wake;
        wake_all(first.into_iter().chain(more));
    }
}
