//! Admission of a group that has it to itself: children that are plain or have a weight, first
//! come, first admitted.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::closed::ClosedEvent;
use super::ended::Ended;
use super::load::{ChildWeights, Load, Weights};
use super::queue::QueuedChild;
use super::state::State;
use crate::child::set::SpawnChild;
use crate::observe::Outcome;
use crate::snapshot::{ChildSnapshot, ChildState, LISTED, Snapshot, WaitsFor};
use crate::stats::Stats;
use crate::util::dropped_by::DroppedBy;
use crate::util::rare_box::RareBox;
use crate::util::slab::Slab;
use crate::util::sparse_queue::shrink;

/// What a group without handles needs: numbers, and the children that wait.
pub(super) struct Local<C> {
    /// Holds if `has_limit`.
    limit: usize,
    has_limit: bool,
    /// It has ended, and not by a stop.
    pub(super) finished: bool,
    at_end: AtEnd,
    /// How many plain children may start without a further look. A cache: there may be room for
    /// more.
    pub(super) fast_credit: u32,
    next_index: usize,
    ok: usize,
    /// Of the children that have ended otherwise.
    not_ok: usize,
    /// Made when the group first needs something of it.
    extra: RareBox<Extra<C>>,
}

/// What is done when a child ends, beyond counting it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    Nothing,
    /// The limit is 1, and no other child runs: there is room for one, unless children wait, which
    /// take it at the end of the round.
    SetCredit,
    /// There are [`weights`](Extra::weights).
    FreeWeight,
}

/// What few groups need.
struct Extra<C> {
    /// The children that wait, oldest first.
    waiting: VecDeque<C>,
    /// How many of `waiting`, from its front, have room since the limit was raised. They start
    /// before all others.
    admitted: usize,
    /// How many children of `not_ok` did not fail but were dropped.
    dropped: usize,
    /// How many children were dropped that had not started.
    refused: usize,
    closed: Option<DroppedBy<Arc<ClosedEvent>>>,
    /// Of spawned children.
    ended: Option<Box<Ended>>,
    /// `None` in a group in which no child has had another weight than 1.
    weights: Option<Box<dyn ChildWeights>>,
}

impl<C> Local<C> {
    pub(super) fn new() -> Self {
        Self {
            limit: 0,
            has_limit: false,
            finished: false,
            at_end: AtEnd::Nothing,
            fast_credit: 0,
            next_index: 0,
            ok: 0,
            not_ok: 0,
            extra: RareBox::none(),
        }
    }

    fn extra(&mut self) -> &mut Extra<C> {
        self.extra.get_or_insert_with(|| {
            let waiting = VecDeque::new();
            Box::new(Extra {
                waiting,
                admitted: 0,
                dropped: 0,
                refused: 0,
                closed: None,
                ended: None,
                weights: None,
            })
        })
    }

    fn has_weights(&self) -> bool {
        self.at_end == AtEnd::FreeWeight
    }

    fn weights(&self) -> Option<&dyn ChildWeights> {
        self.extra.as_ref()?.weights.as_deref()
    }

    fn weights_mut(&mut self) -> Option<&mut Box<dyn ChildWeights>> {
        self.extra.as_mut()?.weights.as_mut()
    }

    /// Returns the weights, known from now on.
    fn make_weights(&mut self) -> &mut Box<dyn ChildWeights> {
        self.at_end = AtEnd::FreeWeight;
        let Extra { waiting, weights, .. } = self.extra();
        weights.get_or_insert_with(|| Box::new(Weights::new(waiting.len())))
    }

    /// Returns the same as a [`State`], and the children that wait.
    pub(super) fn into_state(mut self) -> (State, Slab<C>) {
        let stats = Stats { running: self.running(), ..self.told_stats() };
        let mut state = State::resume(&stats, self.next_index);
        state.lifecycle.finished = self.finished;
        let mut children = Slab::new();
        let Some(extra) = self.extra.take() else {
            return (state, children);
        };
        let Extra { waiting, admitted, closed, weights, .. } = *extra;
        state.lifecycle.closed_event = closed.map(|event| Arc::clone(&event));
        let (mut weights, running) = weights.map(|it| it.into_parts()).unwrap_or_default();
        running.into_iter().for_each(|(index, weight)| state.resume_weight(index, weight));
        weights.resize(waiting.len(), 1);
        for (at, (child, weight)) in waiting.into_iter().zip(weights).enumerate() {
            let child = QueuedChild::weighted(children.insert(child), weight);
            if at < admitted {
                state.room.take(weight);
                state.admit(child);
            } else {
                state.enqueue(child);
            }
        }
        (state, children)
    }

    // --- numbers

    pub(super) fn limit(&self) -> Option<usize> {
        self.has_limit.then_some(self.limit)
    }

    /// Returns how many children have gone to the set.
    pub(super) fn taken_in(&self) -> usize {
        self.next_index
    }

    /// Returns how many children are in the set.
    fn running(&self) -> usize {
        self.next_index - self.ok - self.not_ok
    }

    /// Returns how many of the children that had started were dropped.
    fn dropped(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.dropped)
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = self.told_stats();
        let ended = self.extra.as_ref().and_then(|extra| extra.ended.as_ref());
        if let Some(ended) = ended {
            ended.apply(&mut stats);
        }
        stats
    }

    /// Returns `true` if the policy was told of a child.
    pub(super) fn has_told_policy(&self) -> bool {
        self.ok + self.not_ok > self.dropped()
    }

    /// Returns the numbers as far as the policy was told.
    fn told_stats(&self) -> Stats {
        let (ok, dropped, running) = (self.ok, self.dropped(), self.running());
        let failed = self.not_ok - dropped;
        let stats = Stats { limit: self.limit(), queued: 0, running, ok, failed, dropped };
        match &*self.extra {
            None => stats,
            Some(extra) => Stats {
                queued: extra.waiting.len() - extra.admitted,
                running: running + extra.admitted,
                dropped: dropped + extra.refused,
                ..stats
            },
        }
    }

    /// Returns `true` if a child was ever accepted.
    pub(super) fn has_accepted(&self) -> bool {
        self.next_index > 0 || self.has_waiting() || self.told_stats().dropped > 0
    }

    pub(super) fn set_closed_event(&mut self, event: Arc<ClosedEvent>) {
        self.extra().closed = Some(DroppedBy::new(event, drop));
    }

    /// Takes a snapshot. `known` are the running children.
    pub(super) fn inspect(&self, stats: Stats, known: &[(usize, ChildState)]) -> Snapshot {
        let mut snapshot = Snapshot::new(stats);
        snapshot.room = usize::try_from(self.taken()).unwrap_or(usize::MAX);
        let admitted = self.admitted();
        let weights = self.weights();
        let of_running = |index: usize| weights.and_then(|it| it.of_running(index));
        let of_waiting = |at: usize| weights.and_then(|it| it.of_waiting(at));
        let child = |index, state, weight: Option<usize>| ChildSnapshot {
            index,
            weight: weight.unwrap_or(1),
            ..ChildSnapshot::plain(state)
        };
        let running = known.iter().map(|&(at, state)| child(Some(at), state, of_running(at)));
        let to_start = (0..admitted)
            .map(|at| child(Some(self.next_index + at), ChildState::Unpolled, of_waiting(at)));
        let queued = (0..stats.queued).map(|behind| {
            let waits_for = if behind == 0 { WaitsFor::Room } else { WaitsFor::Turn };
            let state = ChildState::Queued { behind, waits_for };
            child(None, state, of_waiting(admitted + behind))
        });
        snapshot.children.extend(running.chain(to_start).chain(queued).take(LISTED));
        let listed = snapshot.children.len() - snapshot.completed();
        snapshot.omitted = (stats.running + stats.queued).saturating_sub(listed);
        snapshot
    }

    /// Returns how many children that wait have room.
    fn admitted(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.admitted)
    }

    /// Returns how many children have room.
    fn occupied(&self) -> usize {
        self.running() + self.admitted() - self.roomless()
    }

    /// Returns how many children are in the set whose room is free: they have ended.
    fn roomless(&self) -> usize {
        let ended = self.extra.as_ref().and_then(|extra| extra.ended.as_ref());
        ended.map_or(0, |ended| ended.roomless)
    }

    fn load(&self) -> Load {
        self.weights().map(|it| it.load()).unwrap_or_default()
    }

    /// Returns the room that children take.
    fn taken(&self) -> u128 {
        self.load().taken(self.occupied())
    }

    /// Returns the room that is left if no child has another weight than 1.
    fn room(&self) -> usize {
        self.limit().map_or(usize::MAX, |limit| limit.saturating_sub(self.occupied()))
    }

    // --- children that come

    /// Looks whether a plain newcomer may start, and how many may after it.
    pub(super) fn look_for_room(&mut self) -> bool {
        if self.has_weights() {
            return self.look_by_weight();
        }
        let room = if self.has_waiting() { 0 } else { self.room() };
        self.give_credit(room)
    }

    #[inline(never)]
    fn look_by_weight(&mut self) -> bool {
        let taken = usize::try_from(self.taken()).unwrap_or(usize::MAX);
        let room = self.limit().map_or(usize::MAX, |limit| limit.saturating_sub(taken));
        self.give_credit(if self.has_waiting() { 0 } else { room })
    }

    #[inline]
    fn give_credit(&mut self, room: usize) -> bool {
        self.fast_credit = u32::try_from(room).unwrap_or(u32::MAX);
        self.fast_credit > 0
    }

    /// Returns `true` if a newcomer of that weight may start.
    pub(super) fn has_room(&self, weight: usize) -> bool {
        !self.has_waiting() && self.load().fits(self.limit(), self.occupied(), weight)
    }

    /// Returns the index of a child that goes to the set now.
    #[inline]
    pub(super) fn start(&mut self) -> usize {
        debug_assert!(!self.has_admitted(), "admitted children start first");
        self.next_index += 1;
        self.next_index - 1
    }

    /// Returns the index of a child of that weight, which is not 1.
    pub(super) fn start_weighted(&mut self, weight: usize) -> usize {
        debug_assert_ne!(weight, 1, "one that is plain takes from the credit");
        let index = self.start();
        self.make_weights().start_newcomer(index, weight);
        self.fast_credit = 0;
        index
    }

    #[inline]
    pub(super) fn enqueue(&mut self, child: C, weight: usize) {
        if weight != 1 {
            // The next child comes after it, though there may be room for it.
            self.fast_credit = 0;
            self.make_weights().enqueue(weight);
        } else if self.has_weights() {
            self.weights_mut().into_iter().for_each(|it| it.enqueue(1));
        }
        self.extra().waiting.push_back(child);
    }

    /// Counts a child that comes after a stop.
    pub(super) fn refuse(&mut self) {
        self.extra().refused += 1;
    }

    // --- children that wait

    pub(super) fn set_limit(&mut self, limit: Option<usize>) {
        (self.has_limit, self.limit) = (limit.is_some(), limit.unwrap_or_default());
        self.fast_credit = 0;
        if !self.has_weights() {
            // With a higher limit, the looks for room are few.
            let is_simple = || self.running() <= 1 && self.roomless() == 0 && !self.has_waiting();
            let one_by_one = limit == Some(1) && is_simple();
            self.at_end = if one_by_one { AtEnd::SetCredit } else { AtEnd::Nothing };
            self.fast_credit = u32::from(one_by_one && self.running() == 0);
        }
    }

    /// Returns `true` if a look may find room that the `fast_credit` does not tell of.
    #[inline]
    pub(super) fn must_look(&self) -> bool {
        self.at_end != AtEnd::SetCredit
    }

    /// Admits the children that wait, as many as there is room for. Returns how many were admitted
    /// before.
    pub(super) fn admit_waiting(&mut self) -> usize {
        if self.has_weights() {
            return self.admit_by_weight();
        }
        let room = self.room();
        let Some(extra) = &mut *self.extra else { return 0 };
        let before = extra.admitted;
        extra.admitted += room.min(extra.waiting.len() - before);
        before
    }

    fn admit_by_weight(&mut self) -> usize {
        let (limit, running) = (self.limit(), self.running());
        let Some(Extra { admitted, weights: Some(weights), .. }) = self.extra.as_deref_mut() else {
            return 0;
        };
        let before = *admitted;
        *admitted = weights.admit(before, limit, running);
        before
    }

    #[inline]
    pub(super) fn has_waiting(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.waiting.is_empty())
    }

    #[inline]
    pub(super) fn has_admitted(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.admitted > 0)
    }

    /// Passes the admitted children to the executor, but for so many, from the front, for which
    /// that has been done.
    pub(super) fn spawn_admitted<S: SpawnChild<C>>(
        &mut self,
        done: usize,
        spawner: &S,
        spawns: &mut S::Spawns,
    ) {
        let Some(Extra { waiting, admitted, .. }) = self.extra.as_deref_mut() else {
            return;
        };
        let children = waiting.range_mut(done..*admitted);
        for (child, index) in children.zip(self.next_index + done..) {
            spawner.start(child, index, None, spawns);
        }
    }

    /// Starts the admitted children: calls `start` with the index of each, which is to
    /// [take](take_first) it out of those that wait.
    pub(super) fn start_admitted(&mut self, mut start: impl FnMut(usize, &mut VecDeque<C>)) {
        let Some(Extra { waiting, admitted, weights, .. }) = self.extra.as_deref_mut() else {
            return;
        };
        if let Some(weights) = weights {
            weights.start(self.next_index, *admitted);
        }
        while let Some(left) = admitted.checked_sub(1) {
            *admitted = left;
            self.next_index += 1;
            start(self.next_index - 1, waiting);
        }
        shrink(waiting);
    }

    /// Takes out the children that have no room, which count as dropped.
    pub(super) fn drop_queue(&mut self, dropped: &mut Vec<C>) {
        if let Some(extra) = &mut *self.extra {
            extra.refused += extra.waiting.len() - extra.admitted;
            let first = dropped.len();
            while extra.waiting.len() > extra.admitted {
                dropped.extend(extra.waiting.pop_back());
            }
            // The oldest is dropped first.
            dropped[first..].reverse();
            if let Some(weights) = &mut extra.weights {
                weights.truncate(extra.admitted);
            }
        }
    }

    // --- children that end

    #[inline]
    pub(super) fn finish(&mut self, index: usize, outcome: Outcome) {
        match self.at_end {
            AtEnd::Nothing => {}
            AtEnd::SetCredit => self.fast_credit = 1,
            AtEnd::FreeWeight => self.free_weight(index),
        }
        if outcome == Outcome::Ok {
            self.ok += 1;
        } else {
            self.count_not_ok(outcome);
        }
    }

    #[inline(never)]
    fn count_not_ok(&mut self, outcome: Outcome) {
        self.not_ok += 1;
        if outcome != Outcome::Failed {
            self.extra().dropped += 1;
        }
    }

    /// Frees the room that a child takes beyond its number.
    #[cold]
    #[inline(never)]
    fn free_weight(&mut self, index: usize) {
        self.weights_mut().into_iter().for_each(|it| it.finish(index));
    }

    /// Notes that a child has ended outside of the group's polls. It frees its room at once, unless
    /// it `keeps_room` or the policy may stop the group when it is told. (It has no weight: only
    /// children that the group polls itself have one here.)
    pub(super) fn note_ended(&mut self, outcome: Outcome, keeps_room: bool) {
        let ended = self.extra().ended.get_or_insert_default();
        if ended.note(outcome) && !keeps_room {
            ended.roomless += 1;
            // Its room must not be freed a second time when the policy is told.
            self.at_end = AtEnd::Nothing;
        }
    }

    /// Notes the children that have ended on their executor.
    pub(super) fn note_ends<S: SpawnChild<C>>(&mut self, spawner: &S, keep_room: bool) {
        let note = &mut |_, outcome| self.note_ended(outcome, keep_room);
        spawner.reports().into_iter().for_each(|reports| reports.note(note));
    }

    /// Forgets one of these, of which the policy was told.
    pub(super) fn forget_ended(&mut self, outcome: Outcome) {
        if let Some(ended) = self.extra.as_mut().and_then(|extra| extra.ended.as_mut()) {
            if ended.forget(outcome) {
                ended.roomless = ended.roomless.saturating_sub(1);
            }
        }
    }

    pub(super) fn forget_notes(&mut self) {
        let ended = self.extra.as_mut().and_then(|extra| extra.ended.take());
        if ended.is_some_and(|ended| ended.roomless > 0) {
            // They have their room again.
            self.fast_credit = 0;
        }
    }

    /// Returns `true` if no child runs and none waits.
    pub(super) fn is_over(&self) -> bool {
        self.running() == 0 && !self.has_waiting()
    }

    /// Returns `true` if no child runs and none waits, or `None` if newcomers are refused.
    pub(super) fn is_idle(&self, stopped: bool) -> Option<bool> {
        (!stopped && !self.finished).then(|| self.is_over())
    }

    /// Resolves the group if no child runs and none waits.
    pub(super) fn try_resolve(&mut self, stopped: bool) -> bool {
        let over = self.is_over();
        self.finished = over && !stopped;
        over
    }
}

/// Takes out the first of the children that wait.
#[inline]
pub(super) fn take_first<C>(waiting: &mut VecDeque<C>) -> C {
    match waiting.pop_front() {
        Some(child) => child,
        None => unreachable!("an admitted child waits"),
    }
}
