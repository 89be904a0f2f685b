//! The state behind its lock, for a group that has handles, an observer or a semaphore, or
//! children with options.
//!
//! No waker is woken, cloned or dropped, no child dropped or polled, no permit given back while
//! the lock is held: what is to be woken, dropped or given back is carried out of it. The token's
//! own lock is taken inside it only to read the reason of a stop, for an observer; nothing is
//! ever taken inside that one.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};

use super::ClosedEvent;
use super::line::{Inbox, WaitQueue};
use super::permits::Source;
use super::roll::Roll;
use super::settle::Effects;
use super::state::State;
use crate::child::Kind;
use crate::child::task::Options;
use crate::future::Cancelled;
use crate::observe::{Event, Outcome};
use crate::spawned::Spawner;
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::lock::{Mutex, MutexGuard};
use crate::util::panic::FirstPanic;
use crate::util::parent_waker::ParentWaker;

/// What a group and its handles have in common.
pub(crate) struct Shared<C> {
    pub(crate) token: CancelToken,
    pub(super) parent: Arc<ParentWaker>,
    /// Whether there is a child that may go to the set; written under the lock only.
    mailed: AtomicBool,
    /// Whether a newcomer had to wait when the lock was free last; written under it only.
    pub(super) crowded: AtomicBool,
    pub(super) state: Mutex<State<C>>,
    /// Whether an observer is told what happens.
    observed: bool,
    /// Where the state's permits come from.
    source: Option<Box<Source>>,
    pub(super) roll: Arc<Roll>,
    /// Where the children run, if not where the group does.
    spawner: Option<Spawner<C>>,
    /// Wakes those who stand in line when the token is cancelled.
    _watch: Cancelled,
}

/// On whose behalf the state is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The group's own task, which looks into the inbox by itself.
    Owner,
    /// A handle, which has to ring.
    Handle,
}

// === impl Shared ===

impl<C: Kind> Shared<C> {
    /// `state` is a group's that had it to itself until now.
    pub(super) fn new(
        token: CancelToken,
        parent: Arc<ParentWaker>,
        state: State<C>,
        spawner: Option<Spawner<C>>,
    ) -> Arc<Self> {
        let mailed = AtomicBool::new(state.has_mail());
        let crowded = AtomicBool::new(!state.admits_newcomers());
        let roll = Arc::<Roll>::default();
        let mut watch = token.cancelled();
        // Should the stop come just now: nobody stands in line yet, and who comes sees it.
        let waker = Waker::from(Arc::clone(&roll));
        let _ = Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
        let observed = state.log.is_some();
        let source = state.permits.as_ref().map(|permits| Source::new(permits.semaphore()));
        let state = Mutex::new(state);
        Arc::new(Self {
            token,
            parent,
            mailed,
            crowded,
            state,
            observed,
            source,
            roll,
            spawner,
            _watch: watch,
        })
    }

    /// The state, where nobody else has it.
    pub(super) fn into_state(self: Arc<Self>) -> Result<State<C>, Arc<Self>> {
        Arc::try_unwrap(self).map(|shared| shared.state.into_inner())
    }

    pub(super) fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.state.lock().stats()
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.state.lock().stats.limit
    }

    pub(crate) fn set_limit(&self, limit: Option<usize>, who: Who) {
        self.update(who, |state| {
            let before = core::mem::replace(&mut state.stats.limit, limit);
            if before != limit {
                if let Some(log) = &mut state.log {
                    log.limit_changed(limit);
                }
            }
        });
    }

    /// What the group is known by while one of its children is polled.
    pub(crate) fn id(&self) -> usize {
        match &self.spawner {
            None => core::ptr::from_ref(self).addr(),
            // Their children have it with them from before the first handle was made.
            Some(spawner) => spawner.completions().id(),
        }
    }

    /// Changes the state, settles the line, and tells whom it concerns.
    pub(super) fn update<R>(&self, who: Who, change: impl FnOnce(&mut State<C>) -> R) -> R {
        let mut effects = Effects::default();
        let (mut state, result) = self.change(&mut effects, change);
        if let Some(permits) = &mut state.permits {
            effects.permits = permits.give_back();
        }
        drop(state);
        self.make(effects, who);
        result
    }

    /// Changes the state and settles the line. Whoever did makes the calls; permits that are
    /// left over stay with the group until its next [`update`](Self::update).
    fn change<R>(
        &self,
        effects: &mut Effects,
        change: impl FnOnce(&mut State<C>) -> R,
    ) -> (MutexGuard<'_, State<C>>, R) {
        let mut state = self.state.lock();
        self.log_stop(&mut state);
        let result = change(&mut state);
        self.log_stop(&mut state);
        state.settle(self.is_stopped(), effects);
        if let Some(spawner) = &self.spawner {
            state.send(spawner, &mut effects.starts);
        }
        self.note(&state);
        (state, result)
    }

    /// Tells the observer of a stop, if it has not heard of it.
    fn log_stop(&self, state: &mut State<C>) {
        if let Some(log) = &mut state.log {
            if self.is_stopped() {
                log.stopped(|| self.token.reason());
            }
        }
    }

    /// Says to those who look without the lock what they may find.
    fn note(&self, state: &State<C>) {
        if state.has_mail() && !self.mailed.load(Ordering::Relaxed) {
            self.mailed.store(true, Ordering::Release);
        }
        let crowded = !state.admits_newcomers();
        if crowded != self.crowded.load(Ordering::Relaxed) {
            self.crowded.store(crowded, Ordering::Relaxed);
        }
    }

    /// Whether the first in line lacks a permit alone.
    pub(super) fn lacks_permit(&self) -> bool {
        self.state.lock().permits.as_ref().is_some_and(|permits| permits.wanted)
    }

    pub(super) fn make(&self, effects: Effects, who: Who) {
        // A waker that panics is its executor's fault, who has heard of it; it must not cost
        // anybody his child or his wake-up.
        let mut panic = FirstPanic::default();
        if let Some(source) = &self.source {
            if effects.leave && !self.lacks_permit() {
                panic.guard(|| source.leave());
                if self.lacks_permit() {
                    // Somebody has come in between, for whom the group has begun to wait.
                    panic.guard(|| self.parent.notify());
                }
            }
            if effects.permits > 0 {
                panic.guard(|| source.add_permits(effects.permits));
            }
        }
        if effects.ring && who == Who::Handle {
            panic.guard(|| self.parent.notify());
        }
        if let Some(waker) = effects.first.and_then(|key| self.roll.remove(key)) {
            panic.guard(|| waker.wake());
        }
        if !effects.more.is_empty() {
            panic.guard(|| self.roll.wake(effects.more));
        }
        panic.discard();
        // Last: a spawner may run the child in the call, which may wait for who was woken.
        if let Some(spawner) = &self.spawner {
            spawner.spawn_all(effects.starts);
        }
    }

    /// Whether there are children that may go to the set.
    pub(crate) fn has_mail(&self) -> bool {
        // Acquire: who rang for them did so after the store.
        self.mailed.load(Ordering::Acquire)
    }

    /// Swaps the children that may go to the set with `batch`; gives the index of the first.
    pub(super) fn take_outbox(&self, batch: &mut VecDeque<C>) -> usize {
        let mut state = self.state.lock();
        self.mailed.store(false, Ordering::Release);
        state.take_outbox(batch)
    }

    /// Clears the line after a stop, and takes back what was granted.
    pub(super) fn clear_line(&self) -> WaitQueue<C> {
        // Those who stood behind one who was awaited may start.
        self.update(Who::Owner, State::clear_line)
    }

    /// A running child is gone; its room goes to the next in line, who are told later: so a
    /// poll of the group that makes room for many wakes them together, and each finds room for
    /// more than one child. The observer is [told](Self::report) before.
    pub(super) fn finish(&self, index: usize, outcome: Outcome, effects: &mut Effects) {
        drop(self.change(effects, |state| state.end(index, outcome)));
    }

    /// Tells the observer that a running child has ended, and of what came before.
    pub(super) fn report(&self, index: usize, outcome: Outcome) {
        self.report_with(|state| state.report(index, outcome));
    }

    /// Tells the observer of a child that was admitted, and dropped before it started.
    pub(super) fn report_unstarted(&self, options: Option<Box<Options>>) {
        self.report_with(|state| state.report_unstarted(options.as_deref()));
    }

    /// Changes what the observer is to be told, and nothing else.
    pub(super) fn report_with(&self, report: impl FnOnce(&mut State<C>)) {
        if self.observed {
            let mut state = self.state.lock();
            self.log_stop(&mut state);
            report(&mut state);
        }
    }

    /// Tells the observer of a stop that has just come.
    pub(super) fn report_stop(&self) {
        self.report_with(|_| {});
    }

    /// Swaps what the observer is to be told, oldest first, with `events`, which is empty.
    pub(super) fn take_events(&self, events: &mut VecDeque<Event>) {
        if let Some(log) = &mut self.state.lock().log {
            log.take(events);
        }
    }

    /// Tells the observer nothing more.
    pub(super) fn end_log(&self) {
        let log = self.state.lock().log.take();
        drop(log);
    }

    /// Closes the group whatever runs.
    pub(super) fn close_now(&self) -> (usize, VecDeque<C>, Inbox<C>) {
        let mut effects = Effects::default();
        let (state, mailed) = self.change(&mut effects, State::close_now);
        drop(state);
        self.make(effects, Who::Owner);
        mailed
    }

    pub(crate) fn end(&self) -> Arc<ClosedEvent> {
        let (end, ended) = {
            let mut state = self.state.lock();
            (Arc::clone(state.end.get_or_insert_default()), state.ended)
        };
        if ended {
            end.reach();
        }
        end
    }

    pub(crate) fn is_ended(&self) -> bool {
        let state = self.state.lock();
        state.ended || state.end.as_ref().is_some_and(|end| end.is_reached())
    }
}
