//! Admission of a group that has it to itself: plain children, first come, first admitted.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::closed::ClosedEvent;
use super::ended::Ended;
use super::queue::QueuedChild;
use super::state::State;
use crate::child::set::SpawnChild;
use crate::observe::Outcome;
use crate::stats::Stats;
use crate::util::slab::Slab;
use crate::util::sparse_queue::shrink;

/// What a group without handles needs: numbers, and the children that wait.
pub(super) struct Local<C> {
    limit: Option<usize>,
    /// How many children are in the set.
    running: usize,
    next_index: usize,
    ok: usize,
    failed: usize,
    dropped: usize,
    /// How many children may start without a further look. A cache: there may be room for more.
    pub(super) fast_credit: usize,
    /// The children that wait, oldest first.
    waiting: VecDeque<C>,
    /// How many of `waiting`, from its front, have room since the limit was raised. They start
    /// before all others.
    admitted: usize,
    /// It has ended, and not by a stop.
    finished: bool,
    closed: Option<Arc<ClosedEvent>>,
    /// Of spawned children.
    ended: Option<Box<Ended>>,
}

impl<C> Local<C> {
    pub(super) fn new() -> Self {
        Self {
            limit: None,
            running: 0,
            next_index: 0,
            ok: 0,
            failed: 0,
            dropped: 0,
            fast_credit: 0,
            waiting: VecDeque::new(),
            admitted: 0,
            finished: false,
            closed: None,
            ended: None,
        }
    }

    /// Returns the same as a [`State`], and the children that wait.
    pub(super) fn into_state(self) -> (State, Slab<C>) {
        let stats = Stats { running: self.running, ..self.told_stats() };
        let Self { next_index, admitted, waiting, finished, closed, .. } = self;
        let (mut state, mut children) = (State::resume(&stats, next_index), Slab::new());
        state.finished = finished;
        *state.closed_event() = closed;
        for (at, child) in waiting.into_iter().enumerate() {
            let child = QueuedChild { key: children.insert(child), options: None, join: None };
            if at < admitted {
                state.take_plain_room(1);
                state.admit(child);
            } else {
                state.enqueue(child);
            }
        }
        (state, children)
    }

    // --- numbers

    pub(super) fn limit(&self) -> Option<usize> {
        self.limit
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = self.told_stats();
        self.ended.iter().for_each(|ended| ended.apply(&mut stats));
        stats
    }

    /// Returns `true` if the policy was told of a child.
    pub(super) fn has_told_policy(&self) -> bool {
        self.ok > 0 || self.failed > 0
    }

    /// Returns the numbers as far as the policy was told.
    fn told_stats(&self) -> Stats {
        let Self { limit, running, ok, failed, dropped, admitted, .. } = *self;
        let queued = self.waiting.len() - admitted;
        Stats { limit, queued, running: running + admitted, ok, failed, dropped }
    }

    /// Returns `true` if a child was ever accepted.
    pub(super) fn has_accepted(&self) -> bool {
        self.next_index > 0 || !self.waiting.is_empty() || self.dropped > 0
    }

    pub(super) fn closed_event(&mut self) -> &mut Option<Arc<ClosedEvent>> {
        &mut self.closed
    }

    /// Returns `true` if other code may wait for the end.
    pub(super) fn is_heard(&self) -> bool {
        self.closed.is_some()
    }

    fn room(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.running + self.admitted))
    }

    // --- children that come

    /// Looks whether a newcomer may start, and how many may after it.
    pub(super) fn look_for_room(&mut self) -> bool {
        self.fast_credit = if self.waiting.is_empty() { self.room() } else { 0 };
        self.fast_credit > 0
    }

    /// Returns the index of a child that goes to the set now.
    #[inline]
    pub(super) fn start(&mut self) -> usize {
        debug_assert!(self.admitted == 0, "admitted children start first");
        self.running += 1;
        self.next_index += 1;
        self.next_index - 1
    }

    pub(super) fn enqueue(&mut self, child: C) {
        self.waiting.push_back(child);
    }

    /// Counts a child that comes after a stop.
    pub(super) fn refuse(&mut self) {
        self.dropped += 1;
    }

    // --- children that wait

    pub(super) fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit;
        self.fast_credit = 0;
    }

    /// Admits the children that wait, as many as there is room for.
    pub(super) fn admit_waiting(&mut self) {
        self.admitted += self.room().min(self.waiting.len() - self.admitted);
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn has_admitted(&self) -> bool {
        self.admitted > 0
    }

    /// Passes the admitted children to the executor, unless that has been done.
    pub(super) fn spawn_admitted<S: SpawnChild<C>>(&mut self, spawner: &S, spawns: &mut S::Spawns) {
        for (child, index) in self.waiting.iter_mut().zip(self.next_index..).take(self.admitted) {
            spawner.start(child, index, None, spawns);
        }
    }

    /// Starts the next of the admitted children: returns its index. It is to be
    /// [taken](Self::take_started) next.
    pub(super) fn start_admitted(&mut self) -> Option<usize> {
        self.admitted = self.admitted.checked_sub(1)?;
        self.running += 1;
        self.next_index += 1;
        Some(self.next_index - 1)
    }

    /// Takes out the child that has started.
    pub(super) fn take_started(&mut self) -> C {
        match self.waiting.pop_front() {
            Some(child) => {
                shrink(&mut self.waiting);
                child
            }
            None => unreachable!("an admitted child waits"),
        }
    }

    /// Takes out the children that have no room, which count as dropped.
    pub(super) fn drop_queue(&mut self, dropped: &mut Vec<C>) {
        self.dropped += self.waiting.len() - self.admitted;
        dropped.extend(self.waiting.drain(self.admitted..));
    }

    // --- children that end

    #[inline]
    pub(super) fn finish(&mut self, outcome: Outcome) {
        self.running -= 1;
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Panicked | Outcome::Dropped => self.dropped += 1,
        }
    }

    /// Notes that a child has ended outside of the group's polls.
    pub(super) fn note_ended(&mut self, outcome: Outcome) {
        self.ended.get_or_insert_default().note(outcome);
    }

    /// Forgets one of these, of which the policy was told.
    pub(super) fn forget_ended(&mut self, outcome: Outcome) {
        self.ended.iter_mut().for_each(|ended| {
            ended.forget(outcome);
        });
    }

    pub(super) fn forget_notes(&mut self) {
        self.ended = None;
    }

    /// Returns `true` if no child runs and none waits.
    pub(super) fn is_over(&self) -> bool {
        self.running == 0 && self.waiting.is_empty()
    }

    /// Returns `true` if no child runs and none waits, or `None` if newcomers are refused.
    pub(super) fn is_idle(&self, stopped: bool) -> Option<bool> {
        (!stopped && !self.finished).then(|| self.is_over())
    }

    /// Ends the group if no child runs and none waits.
    pub(super) fn try_close(&mut self, stopped: bool) -> bool {
        let over = self.is_over();
        self.finished = over && !stopped;
        over
    }

    /// Returns `true` if the group has ended, and not by a stop.
    pub(super) fn has_finished(&self) -> bool {
        self.finished
    }

    /// Counts the running children as dropped.
    pub(super) fn close(&mut self) {
        let Stats { ok, failed, dropped, .. } = self.stats();
        let ended = self.ended.take().map_or(0, |ended| ended.count());
        (self.ok, self.failed) = (ok, failed);
        self.dropped = dropped + core::mem::take(&mut self.running) - ended;
    }
}
