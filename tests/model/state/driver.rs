//! Takes each step with a real `State` and with the [`Reference`], and compares the two.
//!
//! It changes the state as the crate's `Core` and `Access` do (`shared_core.rs`, `access.rs`),
//! without their locks: room that was freed is given first, then comes the change, then the queue
//! is processed, and then the effects are carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use async_lock::Semaphore;

use crate::admission::passes::{Asked, Pass, Passes};
use crate::admission::permits::Permits;
use crate::admission::queue::{ChildOptions, QueuedChild, Request, WaiterKey};
use crate::admission::state::tests::check_invariants;
use crate::admission::state::{
    Acquire, Caller, Dropped, Effects, GroupPhase, Refused, Simply, State, WaiterPoll, Wakers,
};
use crate::child::join::JoinId;
use crate::child::task::Options;
use crate::key::Key as KeyOfChildren;
use crate::observe::Outcome;
use crate::reference::{self, Answer, ChildrensKey, Key, Reference, Traits, WaiterId};
use crate::util::current;

/// How many keys there are.
pub(crate) const KEYS: ChildrensKey = 3;

/// What the group is known by.
const GROUP: usize = 1;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    TryGo(Traits),
    Queue {
        child: Traits,
        /// `try_queue`.
        keeps: bool,
    },
    /// A `feed` of the group brings a child since there was room for a plain one.
    Accept(Traits),
    /// A waiter comes: a `go` with its child, or a `feed` without.
    Wait {
        child: Option<Traits>,
        own: bool,
        inside: Option<usize>,
        eager: bool,
    },
    Poll {
        pick: usize,
        inside: Option<usize>,
        fresh: bool,
    },
    /// A `feed` whose turn has come brings a child.
    Fill {
        pick: usize,
        child: Traits,
    },
    Abandon {
        pick: usize,
    },
    /// The children that have started go to the set.
    Take,
    Finish {
        pick: usize,
        outcome: Outcome,
    },
    FinishUnfetched {
        pick: usize,
    },
    Block {
        count: usize,
    },
    Limit(Option<usize>),
    KeyLimit {
        of: ChildrensKey,
        limit: Option<usize>,
    },
    /// The gates are passed, if they are asked.
    PassGates,
    /// A joinable child is aborted.
    AbortChild {
        pick: usize,
    },
    /// The group is polled.
    Round,
    /// Another task takes a permit, or gives one back.
    OtherTakes,
    OtherGives,
    Cancel,
    DropQueue,
    TryClose,
    Abort,
}

/// How a schedule ends if it has not closed the group.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    RunOut,
    Abort,
}

pub(crate) struct Driver {
    both: Both,
    semaphore: Option<Arc<Semaphore>>,
    /// Permits that other tasks have, and of all.
    others: usize,
    permits: usize,
    waiters: Vec<Owner>,
    /// The waiters that were to be woken after the last change.
    woken: Vec<WaiterId>,
    next_key: Key,
    next_waiter: WaiterId,
    /// The children that were accepted and did not come out yet.
    inside: BTreeSet<Key>,
    /// The children that were aborted, before it was noted that they were accepted.
    aborted: BTreeSet<Key>,
    /// The children that were passed to the executor and are not in the set yet.
    spawned: Vec<(usize, Key)>,
    /// The passes that are not over.
    passes: BTreeSet<Pass>,
    next_pass: Pass,
}

/// What a group is made with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) limit: Option<usize>,
    pub(crate) permits: Option<usize>,
    pub(crate) has_gates: bool,
    pub(crate) key_limit: Option<usize>,
    pub(crate) queue_limit: Option<usize>,
}

/// The state and the reference, between the beginning and the end of a change.
struct Both {
    state: State,
    reference: Reference,
    /// The names of the joinable children.
    joins: BTreeMap<Key, JoinId>,
}

/// The owner of a waiter: a `go` or a `feed`.
struct Owner {
    id: WaiterId,
    key: WaiterKey,
    own: bool,
    /// The child of a `go`.
    child: Option<Traits>,
    /// A `feed` knows that it has its turn.
    ready: bool,
    task: Arc<Task>,
    waker: Waker,
    /// The tasks that have polled it before.
    old: Vec<(Arc<Task>, Waker)>,
    /// It is being polled by a new task: its turn may come before the new waker is registered.
    changes_task: bool,
}

impl Owner {
    fn replace_task(&mut self, task: &Arc<Task>, waker: &Waker) {
        let task = std::mem::replace(&mut self.task, Arc::clone(task));
        self.old.push((task, std::mem::replace(&mut self.waker, waker.clone())));
        self.changes_task = true;
    }

    /// Returns `true` if it was woken since this was last called.
    fn take_woken(&self) -> bool {
        let last = self.old.last().filter(|_| self.changes_task);
        let tasks = last.map(|(task, _)| task).into_iter().chain([&self.task]);
        tasks.fold(false, |woken, task| woken | task.woken.swap(false, Ordering::Relaxed))
    }

    fn restore_task(&mut self) {
        (self.task, self.waker) = self.old.pop().expect("a task was replaced");
    }
}

#[derive(Default)]
struct Task {
    woken: AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        assert!(!self.woken.swap(true, Ordering::Relaxed), "a waiter is woken twice");
    }
}

impl Task {
    fn new() -> (Arc<Self>, Waker) {
        let task = Arc::<Self>::default();
        (Arc::clone(&task), Waker::from(task))
    }
}

fn key_of_children(of: ChildrensKey) -> KeyOfChildren {
    KeyOfChildren::from(of)
}

fn given_options(traits: Traits) -> Options {
    let Traits { weight, priority, daemon, of, unique, .. } = traits;
    let key = of.map(key_of_children);
    Options { weight, priority, daemon, key, unique, ..Options::default() }
}

fn options(traits: Traits) -> ChildOptions {
    ChildOptions::take(&mut given_options(traits), false)
}

/// Calls a function with what a child asks for.
fn with_request<R>(traits: Traits, call: impl FnOnce(Request<'_>) -> R) -> R {
    let Traits { weight, priority, of, unique, feed, .. } = traits;
    let of = of.map(key_of_children);
    call(Request { weight, priority, key: of.as_ref(), unique, feed, name: None })
}

fn caller(own: bool) -> Caller {
    if own { Caller::Group } else { Caller::Handle }
}

/// Runs `f` as a part of the poll of that child.
fn inside<R>(child: Option<usize>, f: impl FnOnce() -> R) -> R {
    let Some(child) = child else { return f() };
    current::enter(GROUP).poll(child, f)
}

fn answer(acquire: Acquire) -> Answer {
    match acquire {
        Acquire::Ready => Answer::Ready,
        Acquire::Pending => Answer::Pending,
        Acquire::NeedsWaker => Answer::NeedsWaker,
        Acquire::Stopped => Answer::Stopped,
    }
}

/// Whether the queue need not be processed after a change, as `Effects` say.
type InOrder = bool;

impl Both {
    /// Makes a child that is about to be accepted.
    fn make(&mut self, key: Key, traits: Traits) -> QueuedChild {
        let join = traits.joinable.then(|| self.state.joins().next_id());
        if let Some(id) = join {
            self.joins.insert(key, id);
            if traits.early {
                self.state.joins().abort_early(id);
                self.reference.early.insert(key);
            }
        }
        QueuedChild { key, options: options(traits), join }
    }

    fn is_duplicate(&self, traits: Traits) -> bool {
        let duplicate = with_request(traits, |request| self.state.is_duplicate(request));
        assert_eq!(duplicate, self.reference.is_duplicate(traits), "another one of its key");
        duplicate
    }

    fn takes_newcomer(&mut self, traits: Traits) -> bool {
        let takes = with_request(traits, |request| self.state.try_take_room(request));
        assert_eq!(takes, self.reference.takes_newcomer(traits), "a newcomer has room");
        takes
    }

    fn refuses(&self) -> bool {
        let refuses = self.reference.stopped || self.state.lifecycle.is_resolved();
        assert_eq!(refuses, self.reference.refuses());
        refuses
    }

    fn refuse(&mut self, traits: Traits) {
        self.state.refuse(Refused::Stopped, options(traits).boxed(), false);
        self.reference.refuse();
    }

    fn has_turn(&self, key: WaiterKey, id: WaiterId) -> bool {
        let has_turn = self.state.has_turn(key);
        assert_eq!(has_turn, self.reference.has_turn(id), "a waiter has its turn");
        has_turn
    }

    /// Accepts every other child in one step, if that concerns no other: it starts, or with
    /// `queues` it is queued behind the head. Returns `true` if it was accepted.
    fn add_simply(
        &mut self,
        key: Key,
        traits: Traits,
        queues: bool,
        effects: &mut Effects,
    ) -> bool {
        if key % 2 == 0 || self.state.needs_more() || traits.joinable {
            return false;
        }
        let stopped = self.reference.stopped;
        let simply = with_request(traits, |request| self.state.simply(request, stopped));
        let Some(simply) = simply.filter(|it| queues || *it == Simply::Starts) else {
            return false;
        };
        let starts = simply == Simply::Starts;
        assert!(!self.refuses());
        assert_eq!(starts, self.reference.takes_newcomer(traits));
        let child = self.make(key, traits);
        if starts {
            self.state.start_only(child);
            self.reference.admit(key, traits);
            effects.notify = true;
        } else {
            self.state.enqueue(child);
            self.reference.enqueue(key, traits);
        }
        effects.in_order = true;
        check_invariants(&mut self.state, stopped);
        true
    }

    /// Returns `true` if the child was accepted.
    fn try_go(&mut self, key: Key, traits: Traits, effects: &mut Effects) -> bool {
        if self.add_simply(key, traits, false, effects) {
            return true;
        }
        // It overtakes no entry of the queue.
        let last = Traits { priority: i32::MIN, ..traits };
        let takes = !self.refuses() && !self.is_duplicate(traits) && self.takes_newcomer(last);
        if takes {
            self.admit(key, traits);
        } else {
            let refused = if self.refuses() { Refused::Stopped } else { Refused::AtLimit };
            self.state.refuse(refused, options(traits).boxed(), true);
        }
        takes
    }

    fn admit(&mut self, key: Key, traits: Traits) {
        let child = self.make(key, traits);
        self.state.admit(child);
        self.reference.admit(key, traits);
    }

    /// Does what `queue` does, or, if the caller `keeps` a child that is refused, `try_queue`.
    fn queue(&mut self, key: Key, traits: Traits, keeps: bool, effects: &mut Effects) -> bool {
        let refusal = self.state.queue_refusal(self.reference.stopped);
        let is_full = self.reference.is_queue_full();
        let expected = if self.refuses() {
            Some(Refused::Stopped)
        } else {
            is_full.then_some(Refused::AtLimit)
        };
        let expected = if self.reference.finished { Some(Refused::Closed) } else { expected };
        assert_eq!(refusal, expected, "why a child is not queued");
        if keeps && !self.refuses() && self.is_duplicate(traits) {
            return false;
        }
        if self.add_simply(key, traits, true, effects) {
            return true;
        }
        if !self.refuses() && self.takes_newcomer(traits) {
            self.admit(key, traits);
            return true;
        }
        if refusal.is_some() {
            if !keeps {
                self.refuse(traits);
            }
            return false;
        }
        let child = self.make(key, traits);
        self.state.enqueue(child);
        self.reference.enqueue(key, traits);
        let needs_more = self.state.room.permits.is_some() || self.state.room.passes.are_needed;
        effects.in_order = !needs_more && traits.of.is_none();
        true
    }

    fn fill(
        &mut self,
        (waiter, id): (WaiterKey, WaiterId),
        key: Key,
        traits: Traits,
        effects: &mut Effects,
    ) -> bool {
        if self.refuses() || !self.has_turn(waiter, id) {
            self.abandon(waiter, id, effects);
            self.refuse(traits);
            return false;
        }
        let child = self.make(key, traits);
        self.state.fill(waiter, child, effects);
        self.reference.fill(id, key, traits);
        true
    }

    fn abandon(&mut self, key: WaiterKey, id: WaiterId, effects: &mut Effects) {
        self.state.abandon(key, effects);
        self.reference.abandon(id);
    }

    /// Compares the numbers. The invariants hold if the queue has been processed.
    fn compare(&mut self) {
        let Self { state, reference, .. } = self;
        assert_eq!(state.stats(), reference.stats());
        assert_eq!(state.room.limit(), reference.limit);
        assert_eq!(state.starts.has_started(), !reference.started.is_empty());
        assert_eq!(state.room.lacks_permit(), reference.lacks_permit(), "the head lacks a permit");
        // A child that ends may let a feed go on that waited: the queue is processed first, and
        // then it has another head.
        if !reference.freed {
            let asked = state.asked();
            let asked = asked.as_ref().map(Asked::as_ask);
            let asked = asked.map(|ask| (ask.weight(), ask.key().cloned()));
            let expected = reference.asked();
            let expected = expected.map(|(weight, of)| (weight, of.map(key_of_children)));
            assert_eq!(asked, expected, "what the gates are asked");
        }
        if !reference.closed {
            assert_eq!(state.group_turn, reference.has_group_turn(), "the group's turn");
        }
        assert_eq!(state.has_only_daemons(), reference.has_only_daemons(), "only daemons");
        assert_eq!(state.lifecycle.phase >= GroupPhase::Resolved, reference.closed);
    }
}

impl Driver {
    pub(crate) fn new(setup: &Setup) -> Self {
        let Setup { limit, permits, has_gates, key_limit, queue_limit } = *setup;
        let mut state = State::default();
        if let Some(limit) = limit {
            state.start_with_limit(limit);
        }
        if let Some(limit) = key_limit {
            state.queue.set_key_limits(limit);
        }
        if let Some(limit) = queue_limit {
            state.queue_limit = Some(limit);
        }
        let mut reference = Reference::new(limit, permits);
        (reference.key_limit, reference.queue_limit) = (key_limit, queue_limit);
        if has_gates {
            state.room.passes.are_needed = true;
            reference.passes = Some(reference::Passes::default());
        }
        let semaphore = permits.map(|permits| Arc::new(Semaphore::new(permits)));
        state.room.permits = semaphore.clone().map(Permits::new);
        Self {
            both: Both { state, reference, joins: BTreeMap::new() },
            semaphore,
            others: 0,
            permits: permits.unwrap_or(0),
            waiters: Vec::new(),
            woken: Vec::new(),
            next_key: 0,
            next_waiter: 0,
            inside: BTreeSet::new(),
            aborted: BTreeSet::new(),
            spawned: Vec::new(),
            passes: BTreeSet::new(),
            next_pass: 0,
        }
    }

    /// Makes a change of both, and carries out its effects.
    fn change<R>(&mut self, change: impl FnOnce(&mut Both, &mut Effects) -> R) -> R {
        let (result, in_order) = self.change_unchecked(change);
        if !in_order {
            check_invariants(&mut self.both.state, self.both.reference.stopped);
        }
        result
    }

    fn change_unchecked<R>(
        &mut self,
        change: impl FnOnce(&mut Both, &mut Effects) -> R,
    ) -> (R, InOrder) {
        let mut effects = Effects::default();
        let both = &mut self.both;
        let before = &both.reference;
        let (ready, lacked) = (before.started.len(), before.lacks_permit());
        let (turn, over, asked) =
            (before.has_group_turn(), before.is_over(), before.asked().is_some());

        both.state.give_freed_room(&mut effects);
        both.reference.begin();
        let result = change(both, &mut effects);
        let stopped = both.reference.stopped;
        if !effects.in_order {
            both.state.process_queue(stopped, &mut effects);
            both.reference.process(stopped);
        }
        both.state.take_to_wake(&mut effects);
        if let Some(permits) = &mut both.state.room.permits {
            effects.permits = permits.take_spare();
            effects.cancel_acquire = std::mem::take(&mut permits.cancel_acquire);
        }

        let (woken, permits) = both.reference.finish_change();
        let after = &mut both.reference;
        assert_eq!(effects.permits, permits, "permits that go back");
        assert_eq!(effects.cancel_acquire, std::mem::take(&mut after.cancel_acquire));
        let has_work = after.started.len() > ready
            || after.lacks_permit() != lacked
            || after.asked().is_some() != asked
            || (after.has_group_turn() && !turn)
            || (after.is_over() && !over && !after.closed);
        let notify = effects.notify || self.both.state.has_aborted();
        assert!(!has_work || notify, "the group is not told of its work");
        if let Some(semaphore) = &self.semaphore {
            semaphore.add_permits(permits);
        }
        self.wake(effects.wake, woken);
        self.take_aborted();
        self.take_ended_passes();
        self.both.compare();
        if !effects.in_order {
            let Both { state, reference, .. } = &self.both;
            // After a stop they are refused whatever there is.
            let counts = !reference.closed && !reference.stopped;
            let admits = state.admits_newcomers();
            assert!(!counts || admits == reference.admits_newcomers(), "newcomers wait");
            reference.check();
        }
        self.both.state.take_unspawned(|index, key, _| self.spawned.push((index, key)));
        assert!(self.spawned.iter().eq(&self.both.reference.started), "each is spawned once");
        (result, effects.in_order)
    }

    /// Wakes the waiters, and checks that these are the ones that are to be woken.
    fn wake(&mut self, Wakers { first, more }: Wakers, expected: Vec<WaiterId>) {
        first.into_iter().chain(more).for_each(Waker::wake);
        let may_wake = std::mem::take(&mut self.both.reference.may_wake);
        for owner in &self.waiters {
            let (Owner { id, old, .. }, woken) = (owner, owner.take_woken());
            if woken && may_wake.contains(id) {
                self.both.reference.woken(*id);
            } else {
                assert_eq!(woken, expected.contains(id), "waiter {id} is woken");
            }
            let stale = old.iter().any(|(task, _)| task.woken.load(Ordering::Relaxed));
            assert!(!stale, "a task is woken that waits no more");
        }
        self.woken = expected;
    }

    fn key(&mut self) -> Key {
        self.next_key += 1;
        self.next_key
    }

    fn accepted(&mut self, key: Key, accepted: bool) {
        if accepted && !self.aborted.remove(&key) {
            self.inside.insert(key);
        }
    }

    /// Takes out the children that were aborted in the queue.
    fn take_aborted(&mut self) {
        let mut keys = Vec::new();
        self.both.state.take_aborted(&mut keys);
        assert_eq!(keys, std::mem::take(&mut self.both.reference.aborted), "aborted children");
        for key in keys {
            if !self.inside.remove(&key) {
                self.aborted.insert(key);
            }
        }
    }

    fn take_ended_passes(&mut self) {
        let Both { state, reference, .. } = &mut self.both;
        let (passes, Some(expected)) = (&mut state.room.passes, &mut reference.passes) else {
            return;
        };
        for weight in 0..8 {
            let is_spare = expected.spare.contains(&weight);
            assert_eq!(passes.has_spare(weight), is_spare, "passes for a weight of {weight}");
        }
        assert_eq!(passes.over.len(), std::mem::take(&mut expected.over), "passes that are over");
        let over = std::mem::take(&mut passes.over);
        self.forget_passes(over);
    }

    fn forget_passes(&mut self, over: Vec<Pass>) {
        for pass in over {
            assert!(self.passes.remove(&pass), "pass {pass} is over twice");
        }
    }

    fn comes_out(&mut self, key: Key) {
        assert!(self.inside.remove(&key), "child {key} comes out twice");
    }

    /// Returns a running child that is in the set and has not finished.
    fn pick_running(&self, pick: usize) -> Option<usize> {
        let running = self.both.reference.running.iter();
        let all: Vec<_> = running.filter(|it| it.in_set && !it.unfetched).collect();
        (!all.is_empty()).then(|| all[pick % all.len()].index)
    }
}

// === steps ===

impl Driver {
    pub(crate) fn step(&mut self, step: &Step) {
        match *step {
            Step::TryGo(traits) => {
                let key = self.key();
                self.ask_gates_for(traits, key % 2 == 0);
                let accepted = self.change(|both, effects| both.try_go(key, traits, effects));
                self.accepted(key, accepted);
            }
            Step::Queue { child, keeps } => {
                let key = self.key();
                let accepted = self.change(|both, effects| both.queue(key, child, keeps, effects));
                self.accepted(key, accepted);
            }
            Step::Accept(traits) => self.accept(traits),
            Step::Wait { child, own, inside, eager } => {
                // There is one `go` or `feed` of the group's own at a time, and it is no child's.
                let own = own && self.waiters.iter().all(|waiter| !waiter.own);
                let inside = inside.filter(|_| !own).and_then(|pick| self.pick_running(pick));
                self.wait(child, own, inside, eager);
            }
            Step::Poll { pick, inside, fresh } => {
                if let Some(at) = pick.checked_rem(self.waiters.len()) {
                    let inside = inside.filter(|_| !self.waiters[at].own);
                    let inside = inside.and_then(|pick| self.pick_running(pick));
                    self.poll(at, inside, fresh);
                }
            }
            Step::Fill { pick, child } => self.fill(pick, child),
            Step::Abandon { pick } => {
                if let Some(at) = pick.checked_rem(self.waiters.len()) {
                    self.abandon(at);
                }
            }
            Step::Take => self.take(),
            Step::Finish { pick, outcome } => {
                let all = &self.both.reference.running;
                let all: Vec<_> = all.iter().filter(|it| it.in_set).map(|it| it.index).collect();
                if let Some(at) = pick.checked_rem(all.len()) {
                    self.finish(all[at], outcome);
                }
            }
            Step::FinishUnfetched { pick } => {
                if let Some(index) = self.pick_running(pick) {
                    self.both.state.finish_unfetched(index);
                    self.both.reference.finish_unfetched(index);
                    self.both.compare();
                }
            }
            Step::Block { count } => self.block(count),
            Step::Limit(limit) => self.set_limit(limit),
            Step::KeyLimit { of, limit } => self.set_key_limit(of, limit),
            Step::PassGates => self.pass_gates(),
            Step::AbortChild { pick } => self.abort_child(pick),
            Step::Round => self.round(),
            Step::OtherTakes => {
                let permit = self.semaphore.as_ref().and_then(|it| it.try_acquire());
                let permits = self.both.reference.permits.as_mut();
                let available = permits.filter(|permits| permits.available > 0);
                assert_eq!(permit.is_some(), available.is_some());
                if let (Some(permit), Some(permits)) = (permit, available) {
                    permit.forget();
                    permits.available -= 1;
                    self.others += 1;
                }
            }
            Step::OtherGives => self.other_gives(),
            Step::Cancel => self.cancel(),
            Step::DropQueue => {
                if self.both.reference.stopped {
                    self.drop_queue();
                }
            }
            Step::TryClose => {
                self.try_resolve();
            }
            Step::Abort => self.abort(),
        }
    }

    fn accept(&mut self, traits: Traits) {
        let (key, id) = (self.key(), self.next_waiter);
        self.next_waiter += 1;
        let accepted = self.change(|both, effects| {
            if !both.refuses() && both.takes_newcomer(Traits::FEED) {
                let waiter = both.state.reserve_newcomer(Request::FEED, Caller::Group);
                both.reference.reserve(id, true);
                return both.fill((waiter, id), key, traits, effects);
            }
            both.queue(key, traits, false, effects)
        });
        self.accepted(key, accepted);
    }

    fn wait(&mut self, child: Option<Traits>, own: bool, place: Option<usize>, eager: bool) {
        let traits = child.unwrap_or(Traits::FEED);
        let (key, id) = (self.key(), self.next_waiter);
        self.next_waiter += 1;
        let (task, waker) = Task::new();
        let mut poller =
            WaiterPoll { caller: caller(own), task: &waker, clone: None, group: GROUP };
        if eager && !own {
            poller.clone = Some(waker.clone());
        }
        let mut waiter = None;
        let answer = loop {
            let answer = self.change(|both, _| {
                if both.refuses() {
                    return Answer::Stopped;
                }
                if both.takes_newcomer(traits) {
                    if child.is_some() {
                        both.admit(key, traits);
                    } else {
                        waiter = Some(both.state.reserve_newcomer(Request::FEED, poller.caller));
                        both.reference.reserve(id, own);
                    }
                    return Answer::Ready;
                }
                let registers = own || poller.clone.is_some();
                waiter = inside(place, || {
                    with_request(traits, |request| both.state.wait(request, &mut poller))
                });
                assert_eq!(waiter.is_some(), registers);
                both.reference.wait(id, own, traits, place, registers)
            });
            match answer {
                Answer::NeedsWaker => poller.clone = Some(waker.clone()),
                answer => break answer,
            }
        };
        let ready = answer == Answer::Ready;
        self.accepted(key, ready && child.is_some());
        if let Some(key) = waiter {
            // It may have its turn from the beginning, inside a child.
            let woken = task.woken.swap(false, Ordering::Relaxed);
            assert_eq!(woken, self.woken.contains(&id), "a newcomer is woken");
            let (old, changes_task) = (Vec::new(), false);
            let owner = Owner { id, key, own, child, ready, task, waker, old, changes_task };
            self.waiters.push(owner);
        }
    }

    fn poll(&mut self, at: usize, place: Option<usize>, fresh: bool) {
        let new_key = self.key();
        let Owner { id, key, own, child, ref waker, .. } = self.waiters[at];
        let (task, new) = Task::new();
        let waker = if fresh { new } else { waker.clone() };
        let mut poller =
            WaiterPoll { caller: caller(own), task: &waker, clone: None, group: GROUP };
        let answer = loop {
            let polled = self.change(|both, effects| {
                if both.refuses() {
                    return Answer::Stopped;
                }
                let known = own || (both.reference.has_waker(id) && !fresh);
                let registers = known || poller.clone.is_some();
                if !both.has_turn(key, id) {
                    let stopped = both.reference.stopped;
                    both.state.process_queue(stopped, effects);
                    both.reference.process(stopped);
                }
                let polled = inside(place, || both.state.poll_waiter(key, &mut poller));
                let expected = both.reference.poll(id, place, registers);
                assert_eq!(answer(polled), expected, "the answer to waiter {id}");
                if let (Answer::Ready, Some(traits)) = (expected, child) {
                    let filling = both.make(new_key, traits);
                    both.state.fill(key, filling, effects);
                    both.reference.fill(id, new_key, traits);
                }
                expected
            });
            match polled {
                Answer::NeedsWaker => {
                    poller.clone = Some(waker.clone());
                    if fresh {
                        self.waiters[at].replace_task(&task, &waker);
                    }
                }
                polled => break polled,
            }
        };
        drop(poller);
        self.waiters[at].changes_task = false;
        match (answer, child) {
            (Answer::Stopped, _) => self.abandon(at),
            (Answer::Ready, Some(_)) => {
                self.waiters.remove(at);
                self.accepted(new_key, true);
            }
            (Answer::Ready, None) => {
                let waiter = &mut self.waiters[at];
                waiter.ready = true;
                if Arc::ptr_eq(&waiter.task, &task) {
                    // Its turn came before the new waker was taken.
                    waiter.restore_task();
                }
            }
            _ => {}
        }
    }

    fn fill(&mut self, pick: usize, traits: Traits) {
        let ready: Vec<_> = (0..self.waiters.len()).filter(|&at| self.waiters[at].ready).collect();
        let Some(at) = pick.checked_rem(ready.len()) else { return };
        let Owner { id, key: waiter, .. } = self.waiters.remove(ready[at]);
        let key = self.key();
        let accepted = self.change(|both, effects| both.fill((waiter, id), key, traits, effects));
        self.accepted(key, accepted);
    }

    fn abandon(&mut self, at: usize) {
        let Owner { id, key, .. } = self.waiters.remove(at);
        self.change(|both, effects| both.abandon(key, id, effects));
    }

    fn take(&mut self) {
        while let Some((index, key)) = self.both.state.starts.pop_started() {
            let expected = self.both.reference.started.pop_front();
            assert_eq!(Some((index, key)), expected, "the order in which children start");
            // One that a stop finds with room is not spawned before it is taken in.
            if !self.spawned.is_empty() {
                assert_eq!(self.spawned.remove(0), (index, key));
            }
            self.comes_out(key);
            let started = self.both.reference.running.iter_mut().find(|it| it.index == index);
            started.expect("it runs").in_set = true;
        }
        self.both.compare();
    }

    fn finish(&mut self, index: usize, outcome: Outcome) {
        let all = &self.both.reference.running;
        let unfetched = all.iter().filter(|it| it.unfetched).count();
        let was_unfetched = all.iter().any(|it| it.index == index && it.unfetched);
        if was_unfetched && self.both.reference.blocked == unfetched {
            self.block(unfetched - 1);
        }
        let Both { state, reference, joins } = &mut self.both;
        let child = reference.running.iter().find(|it| it.index == index);
        let key = child.expect("it runs").key;
        assert_eq!(state.has_no_result(index), reference.no_result.remove(&key));
        joins.remove(&key);
        let stopped = reference.stopped;
        let _ = state.finish(index, outcome, stopped);
        reference.finish(index, outcome);
        self.both.compare();
    }

    /// Says that as many results as that, if there are, wait for an earlier one.
    fn block(&mut self, count: usize) {
        let all = self.both.reference.running.iter();
        let count = count.min(all.filter(|it| it.unfetched).count());
        self.change(|both, _| {
            both.state.blocked_results = count;
            both.reference.blocked = count;
        });
    }

    fn set_limit(&mut self, limit: Option<usize>) {
        self.change(|both, _| {
            both.state.set_limit(limit);
            both.reference.limit = limit;
        });
    }

    fn set_key_limit(&mut self, of: ChildrensKey, limit: Option<usize>) {
        self.change(|both, _| {
            both.state.queue.set_key_limit(&key_of_children(of), limit);
            if limit == both.reference.key_limit {
                both.reference.own_limits.remove(&of);
            } else {
                both.reference.own_limits.insert(of, limit);
            }
        });
    }

    fn abort_child(&mut self, pick: usize) {
        let Some(at) = pick.checked_rem(self.both.joins.len()) else { return };
        let Some((&key, &id)) = self.both.joins.iter().nth(at) else { return };
        let found = self.change(|both, _| {
            let found = both.state.abort_queued(id);
            assert_eq!(found, both.reference.abort_queued(key), "it is in the queue");
            found
        });
        if !found && self.both.reference.has_child(key) {
            self.both.state.joins().void_result(id);
            self.both.reference.no_result.insert(key);
        }
    }

    /// Passes the gates on behalf of the head of the queue, if it lacks only that.
    fn pass_gates(&mut self) {
        self.both.reference.end_spare_passes();
        if let Some(expected) = &mut self.both.reference.passes {
            let mut over = Vec::new();
            self.both.state.room.take_ended_passes(&mut over);
            let expected = std::mem::take(&mut expected.over);
            assert_eq!(over.len(), expected, "passes that no child gets");
            self.forget_passes(over);
        }
        if let Some((weight, _)) = self.both.reference.asked() {
            self.add_pass(weight);
        }
    }

    fn add_pass(&mut self, weight: usize) {
        self.next_pass += 1;
        let pass = self.next_pass;
        self.passes.insert(pass);
        self.change(|both, _| {
            both.state.room.passes.add(weight, pass);
            both.reference.passes.iter_mut().for_each(|passes| passes.spare.push(weight));
        });
    }

    /// Asks the gates on behalf of a child on offer, which passes them or not.
    fn ask_gates_for(&mut self, traits: Traits, passes: bool) {
        let Both { state, reference, .. } = &mut self.both;
        let has_spare = |passes: &reference::Passes| passes.spare.contains(&traits.weight);
        let Some(has_spare) = reference.passes.as_ref().map(has_spare) else { return };
        if reference.freed {
            return; // the queue is processed first
        }
        // The look comes first that a change has.
        let options = given_options(traits);
        let asked = state.asked_for(Some(&options), reference.stopped);
        let last = Traits { priority: i32::MIN, ..traits };
        let expected = !has_spare
            && !reference.refuses()
            && !reference.is_duplicate(last)
            && reference.has_room(last);
        assert_eq!(asked.is_some(), expected, "the gates are asked for a child on offer");
        if expected && passes {
            self.add_pass(traits.weight);
        }
    }

    fn round(&mut self) {
        if let Some(permits) = &mut self.both.state.room.permits {
            permits.begin_poll();
        }
        self.both.reference.begin_poll();
        if self.both.reference.stopped {
            self.drop_queue();
        }
        self.acquire();
        self.take();
        self.change(|_, _| ());
        if let Some(permits) = &mut self.both.state.room.permits {
            permits.end_poll();
        }
        self.both.reference.end_poll();
    }

    /// Acquires permits for the head of the queue.
    fn acquire(&mut self) {
        let Some(semaphore) = self.semaphore.clone() else { return };
        loop {
            let waits = self.both.state.room.permits.as_ref().is_some_and(Permits::may_wait);
            assert_eq!(waits, self.both.reference.may_wait());
            let Some(permit) = semaphore.try_acquire().filter(|_| waits) else { return };
            permit.forget();
            self.both.reference.permits.iter_mut().for_each(|permits| permits.available -= 1);
            self.change(|both, _| {
                both.state.room.permits.iter_mut().for_each(Permits::add);
                both.reference.add_permit();
            });
        }
    }

    fn other_gives(&mut self) {
        let Some(semaphore) = self.semaphore.as_ref().filter(|_| self.others > 0) else { return };
        semaphore.add_permits(1);
        self.others -= 1;
        self.both.reference.permits.iter_mut().for_each(|permits| permits.available += 1);
    }

    fn cancel(&mut self) {
        self.both.reference.stopped = true;
        let mut effects = Effects::default();
        self.both.state.take_wakers(&mut effects);
        let expected = self.both.reference.take_wakers();
        self.wake(effects.wake, expected);
    }

    fn drop_queue(&mut self) {
        let keys = self.change(|both, _| {
            let mut keys = Vec::new();
            both.state.stop(&mut keys);
            assert_eq!(keys, both.reference.drop_queue(), "the children that were queued");
            keys
        });
        keys.into_iter().for_each(|key| self.comes_out(key));
    }

    fn try_resolve(&mut self) -> bool {
        let Reference { stopped, queue_dropped, closed, .. } = self.both.reference;
        if closed || (stopped && !queue_dropped) {
            return closed;
        }
        self.change(|_, _| ());
        let Both { state, reference, .. } = &mut self.both;
        let closed = state.try_resolve(reference.stopped);
        assert_eq!(closed, reference.try_resolve(), "nothing runs and nothing waits");
        self.change(|_, _| ());
        closed
    }

    fn abort(&mut self) {
        if self.both.reference.closed {
            return;
        }
        self.cancel();
        self.spawned.clear();
        let (keys, _) = self.change_unchecked(|both, _| {
            let mut keys = Vec::new();
            both.state.abort(&mut keys);
            let found = keys.iter().map(|(whose, key)| match whose {
                Dropped::Started(index) => (Some(*index), *key),
                Dropped::Unstarted(..) => (None, *key),
            });
            assert!(found.eq(both.reference.abort()), "the children that are not in the set");
            // The group drops all guards itself.
            both.reference.passes = None;
            keys
        });
        keys.into_iter().for_each(|(_, key)| self.comes_out(key));
        self.drop_queue();
        self.change(|both, _| {
            both.state.room.permits.iter_mut().for_each(Permits::free_all);
            both.reference.free_all_permits();
        });
    }

    // --- the end

    pub(crate) fn end(mut self, end: End) {
        match end {
            End::Abort => self.abort(),
            End::RunOut => self.run_out(),
        }
        while !self.waiters.is_empty() {
            self.poll(0, None, true);
        }
        let stats = self.both.state.stats();
        assert_eq!((stats.running, stats.queued), (0, 0));
        assert!(self.inside.is_empty(), "children are lost: {:?}", self.inside);
        assert!(self.aborted.is_empty(), "children come out that were not accepted");
        if let (Some(passes), End::RunOut) = (&self.both.reference.passes, end) {
            assert_eq!(self.passes.len(), passes.spare.len(), "passes are lost");
        }
        if let Some(semaphore) = &self.semaphore {
            let left = std::iter::from_fn(|| semaphore.try_acquire().map(|it| it.forget()));
            assert_eq!(left.count(), self.permits - self.others, "permits are lost");
        }
    }

    /// Lets everything go on until nothing is left.
    fn run_out(&mut self) {
        if self.both.reference.limit == Some(0) {
            self.set_limit(Some(2));
        }
        let is_shut = |limit: Option<usize>| limit == Some(0);
        for of in 0..KEYS {
            let own = self.both.reference.own_limits.get(&of).copied();
            if is_shut(own.unwrap_or(self.both.reference.key_limit)) {
                self.set_key_limit(of, None);
            }
        }
        self.block(0);
        // Each round lets a child start, or a waiter go, or is the last.
        for _ in 0..1_000 {
            self.other_gives();
            self.pass_gates();
            self.round();
            while let Some(index) = self.both.reference.running.first().map(|it| it.index) {
                self.take();
                self.finish(index, Outcome::Ok);
                self.change(|_, _| ());
            }
            for at in (0..self.waiters.len()).rev() {
                self.poll(at, None, false);
            }
            while self.waiters.iter().any(|waiter| waiter.ready) {
                self.fill(0, Traits::PLAIN);
            }
            if self.waiters.is_empty() && self.try_resolve() {
                return;
            }
        }
        panic!("the group does not end");
    }
}
