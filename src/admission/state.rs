//! The children that run, the ones that wait, and which of them is next.
//!
//! A [`State`] is plain data: nothing is locked, woken, spawned or dropped in here, and it does
//! not depend on the type of the children, which are known by their keys. After a change the caller
//! [processes the queue](State::process_queue) and carries out the [`Effects`]; the ways to do so
//! are listed in the head of `shared.rs`.
//!
//! # Invariants, whenever the queue has been processed
//!
//! - The head of `queue` does not fit, or lacks only a permit; or `queue` has no head, since all
//!   its entries wait for their keys, or it is empty.
//! - `starting` is empty, or its head is `Reserved`: children start in the order in which they
//!   got room. A child's index is given when it starts, so the indexes have no gaps.
//! - `occupied` is the number of running children and of reservations. `weightless` of them take
//!   no room; `extra_weight` is what the others take beyond one each. With a semaphore, each of
//!   `occupied` has a permit. Those that have a key take as much room in it.
//! - A waiter is in `queue` exactly while it is `Waiting` or `MustQueue`, and in `starting`
//!   exactly while it is `Reserved`.
//! - If every running child but the daemons contains a waiter, and nothing is reserved but what is
//!   `Detached`, the oldest of these waiters is `MustQueue`.
//! - Once the group is closing, no waiter is `Waiting`.
//! - From `GroupPhase::Closed` on nothing is admitted, and the queue stays empty.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;

use super::closed::ClosedEvent;
use super::ended::{EndNotes, Ended};
use super::events::{EventLog, Name};
use super::inspector::Inspector;
use super::joins::Joins;
use super::keys::KeyId;
use super::nested::Nested;
use super::passes::{Asked, Pass, Passes};
use super::permits::Permits;
use super::queue::{
    ChildKey, ChildOptions, Entry, Position, QueuedChild, Request, WaitQueue, WaiterKey,
};
use crate::child::join::JoinId;
use crate::child::task::Options;
use crate::key::Key;
use crate::observe::Outcome;
use crate::stats::Stats;
use crate::util::current::current_child;
use crate::util::slab::Slab;
use crate::util::sparse_queue::{SparseQueue, shrink};

/// Capacity for this many waiters that have got their turn at once is kept.
const RETAINED_KEYS: usize = 64;

pub(crate) struct State {
    limit: Option<usize>,
    queued: usize,
    ok: usize,
    failed: usize,
    dropped: usize,
    /// How many running children and reservations have room.
    occupied: usize,
    /// How many of them take no room.
    weightless: usize,
    /// The room that the others take beyond one each.
    extra_weight: u128,
    reserved: usize,
    /// How many of the reservations are [`Detached`](WaiterStage::Detached).
    detached: usize,
    /// How many finished children keep their room until an earlier result has been fetched.
    blocked_results: usize,
    next_index: usize,
    queue: WaitQueue,
    waiters: Slab<Waiter>,
    nested: Nested,
    /// Waiters that have got their turn and are to be woken.
    told: Vec<WaiterKey>,
    /// Children and reservations that have room, behind a reservation.
    starting: VecDeque<StartSlot>,
    /// The number of the first slot of `starting`.
    first_slot: u64,
    /// Children that have started and are not in the set yet. Their indexes are the last given, so
    /// they go to the set before any other child starts there.
    ready: VecDeque<ChildKey>,
    /// How many of `ready`, from its front, were passed to the executor.
    spawned: usize,
    /// What is known of running children, by their index; of plain ones nothing.
    running: SparseQueue<Running>,
    daemons: usize,
    notes: EndNotes,
    ended: Ended,
    /// The policy may ask for the names of the children that finish.
    keeps_names: bool,
    /// How many running children end with the stop.
    until_stop: usize,
    permits: Option<Permits>,
    /// Of a group with gates.
    passes: Option<Box<Passes>>,
    /// From the first joinable child on.
    joins: Option<Box<Joins>>,
    /// Kept for an observer.
    log: Option<Box<EventLog>>,
    /// Of a group with a name, whose children are all remembered.
    inspector: Option<Arc<Inspector>>,
    /// There is an observer or an inspector, and so each child that starts is looked at.
    looks_at_all: bool,
    /// There are gates or an inspector, and so a waiter has its child's name.
    names_waiters: bool,
    /// An executor runs the children.
    spawns: bool,
    /// Children have ended, before any stop, whose room was not given to the queue yet.
    has_freed_room: bool,
    /// A waiter has gone that may have held the group open.
    recheck_end: bool,
    /// A waiter of the group's own task has its turn, and has not been polled since.
    group_turn: bool,
    phase: GroupPhase,
    /// Newcomers are refused; what was accepted goes on.
    closing: bool,
    /// The group has resolved, and nothing had stopped it.
    pub(super) finished: bool,
    /// How many callers hold the group open while it is empty.
    holds: usize,
    /// How many children may be queued.
    queue_limit: usize,
    /// Made when it is first asked for.
    closed: Option<Arc<ClosedEvent>>,
}

/// How far a group has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GroupPhase {
    /// It admits children, unless its token is cancelled.
    Open,
    /// Its token is cancelled, and its queue has been dropped.
    Stopped,
    /// It has resolved, or is being dropped.
    Closed,
    /// Its children are gone, too.
    Ended,
}

/// A caller of `go`, `feed` or `reserve` that waits for room, or has it reserved, and then delivers
/// a child.
struct Waiter {
    stage: WaiterStage,
    weight: usize,
    /// A `go` knows the key of its child, a `feed` does not.
    key: Option<Key>,
    unique: bool,
    feed: bool,
    /// The child's, for a gate or a snapshot.
    name: Name,
    /// What it has beside room that is reserved, in a group with gates.
    pass: Option<Pass>,
    /// It has had its turn in a `reserve`, and its room is [detached](WaiterStage::Detached) if it
    /// has any.
    detached: bool,
    caller: Caller,
    /// `None` once it has been woken, and for the group's own task.
    waker: Option<Waker>,
    /// The running child inside which it was polled last.
    inside: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum WaiterStage {
    Waiting(Position),
    /// It is to put its child into the queue, since waiting could never end.
    MustQueue(Position),
    Reserved {
        /// The room is in this slot of `starting`.
        slot: u64,
        position: Position,
        /// Its owner has been polled since, and knows.
        claimed: bool,
        /// It had its turn before, as [`MustQueue`](Self::MustQueue), and has it again if the room
        /// is revoked.
        must_queue: bool,
    },
    /// The same, without a place in the order of starts: its owner may keep the room for long, and
    /// holds up no other child.
    Detached(Position),
    /// The group has stopped, or was closed before the waiter had its turn.
    Stopped,
}

/// A place in the order of starts.
enum StartSlot {
    Child(QueuedChild),
    Reserved(WaiterKey),
    Free,
}

/// A running child that is not like most.
struct Running {
    weight: usize,
    priority: i32,
    daemon: bool,
    key: Option<Key>,
    key_id: Option<KeyId>,
    pass: Option<Pass>,
    /// It is dropped at the stop.
    until_stop: bool,
    /// Its name, if it is joinable.
    join: Option<JoinId>,
    /// Kept for an observer or a snapshot, or for a policy that may ask for it.
    name: Name,
}

/// What the policy is told of a child that has finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChildRecord {
    pub(crate) name: Name,
    pub(crate) key: Option<Key>,
    pub(crate) daemon: bool,
}

/// The task that changes the state, which decides whether the group's task is notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The group's own: it looks for its work itself, and is not notified.
    Group,
    /// Perhaps another one: the group's is notified. So it is for a handle, and for a change that
    /// the group's own task may make without polling the group after it.
    Handle,
}

/// A poll of a `go` or a `feed`.
pub(crate) struct WaiterPoll<'a> {
    pub(crate) caller: Caller,
    pub(crate) task: &'a Waker,
    /// A clone of `task` for the waiter to keep; afterwards the one that it has replaced.
    pub(crate) clone: Option<Waker>,
    /// What its group is known by while a child of it is polled.
    pub(crate) group: usize,
}

/// The answer to a waiter that is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquire {
    /// It has its turn: [`fill`](State::fill) accepts its child.
    Ready,
    Pending,
    /// It has to wait, with a [clone](WaiterPoll::clone) of its waker.
    NeedsWaker,
    /// The group has stopped or is closed.
    Stopped,
}

/// Why a child is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    AtLimit,
    Stopped,
    Closed,
}

/// What is to be done once the state is unlocked.
#[derive(Default)]
#[must_use]
pub(crate) struct Effects {
    /// The wakers of waiters that have their turn.
    pub(crate) wake: Wakers,
    /// A waker that is not needed any more.
    pub(crate) discard: Option<Waker>,
    /// The change left the queue in order, so it need not be [processed](State::process_queue).
    pub(crate) in_order: bool,
    /// The group's task has children to take in, an end to come to, or a permit to wait for.
    pub(crate) notify: bool,
    /// The group need not wait for a permit any more.
    pub(crate) cancel_acquire: bool,
    /// How many permits go back to the semaphore.
    pub(crate) permits: usize,
}

/// Wakers; mostly there is at most one.
#[derive(Default)]
pub(crate) struct Wakers {
    pub(crate) first: Option<Waker>,
    pub(crate) more: Vec<Waker>,
}

/// A child of a group that is dropped, which is not in the set.
#[derive(Debug)]
pub(crate) enum Dropped {
    /// It has started, and has this index.
    Started(usize),
    /// It had room, and waited for a child before it to start.
    Unstarted(ChildKey, ChildOptions),
}

// === impl Waiter, Running, WaiterPoll, Wakers ===

impl Waiter {
    fn new(stage: WaiterStage, request: Request<'_>, caller: Caller) -> Self {
        let Request { weight, key, unique, feed, .. } = request;
        Self {
            stage,
            weight,
            key: key.cloned(),
            unique,
            feed,
            name: None,
            pass: None,
            detached: false,
            caller,
            waker: None,
            inside: None,
        }
    }

    /// Returns its entry in the queue.
    fn entry(&self, key: WaiterKey) -> Entry {
        let Self { weight, unique, feed, .. } = *self;
        Entry::Waiter { key, weight, unique, feed }
    }
}

impl Running {
    /// Returns `true` if it is as a child without options, but perhaps for its name.
    fn is_plain(&self) -> bool {
        self.weight == 1
            && !self.daemon
            && !self.until_stop
            && self.key.is_none()
            && self.pass.is_none()
            && self.join.is_none()
    }
}

impl WaiterPoll<'_> {
    /// Returns `true` if a waiter can be told of its turn from now on.
    fn is_registered(&mut self, waiter: &mut Waiter) -> bool {
        if self.caller == Caller::Group
            || waiter.waker.as_ref().is_some_and(|waker| waker.will_wake(self.task))
        {
            return true;
        }
        let Some(clone) = self.clone.take() else { return false };
        self.clone = waiter.waker.replace(clone);
        true
    }
}

impl Effects {
    /// Forgets effects that say nothing is to be done, which is cheaper than dropping them.
    #[inline]
    pub(crate) fn forget(self) {
        debug_assert!(self.wake.first.is_none() && self.discard.is_none());
        core::mem::forget(self);
    }
}

impl Wakers {
    fn push(&mut self, waker: Waker) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.more.push(waker);
        }
    }
}

// === numbers ===

impl State {
    pub(crate) fn new() -> Self {
        Self {
            limit: None,
            queued: 0,
            ok: 0,
            failed: 0,
            dropped: 0,
            occupied: 0,
            weightless: 0,
            extra_weight: 0,
            reserved: 0,
            detached: 0,
            blocked_results: 0,
            next_index: 0,
            queue: WaitQueue::default(),
            waiters: Slab::new(),
            nested: Nested::default(),
            told: Vec::new(),
            starting: VecDeque::new(),
            first_slot: 0,
            ready: VecDeque::new(),
            spawned: 0,
            running: SparseQueue::default(),
            daemons: 0,
            notes: EndNotes::Nothing,
            ended: Ended::default(),
            keeps_names: false,
            until_stop: 0,
            permits: None,
            passes: None,
            joins: None,
            log: None,
            inspector: None,
            looks_at_all: false,
            names_waiters: false,
            spawns: false,
            has_freed_room: false,
            recheck_end: false,
            group_turn: false,
            phase: GroupPhase::Open,
            closing: false,
            finished: false,
            holds: 0,
            queue_limit: usize::MAX,
            closed: None,
        }
    }

    /// Returns the state of a group that goes on with these children, none of which waits.
    pub(crate) fn resume(stats: &Stats, next_index: usize) -> Self {
        let Stats { limit, running: occupied, ok, failed, dropped, .. } = *stats;
        Self { limit, occupied, ok, failed, dropped, next_index, ..Self::new() }
    }

    /// Returns how many children run or have ended without the policy being told.
    fn running(&self) -> usize {
        self.holding() - self.reserved
    }

    /// Returns how many running children and reservations there are.
    fn holding(&self) -> usize {
        self.occupied + self.ended.roomless
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.told_stats();
        self.ended.apply(&mut stats);
        stats
    }

    /// Returns the numbers as far as the policy was told.
    fn told_stats(&self) -> Stats {
        let Self { limit, queued, ok, failed, dropped, .. } = *self;
        Stats { limit, queued, running: self.running(), ok, failed, dropped }
    }

    /// Returns `true` if the policy was told of a child.
    pub(crate) fn has_told_policy(&self) -> bool {
        self.ok > 0 || self.failed > 0
    }

    /// Returns `true` if a child was ever accepted.
    pub(crate) fn has_accepted(&self) -> bool {
        self.next_index > 0 || self.running() > 0 || self.queued > 0 || self.dropped > 0
    }

    /// Returns `true` if the group is held, or was closed.
    pub(crate) fn is_held_or_closing(&self) -> bool {
        self.holds > 0 || self.closing
    }

    /// Sets the limit of a group that is being made.
    pub(crate) fn start_with_limit(&mut self, limit: usize) {
        self.limit = Some(limit);
    }

    pub(crate) fn set_queue_limit(&mut self, limit: usize) {
        self.queue_limit = limit;
    }

    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        if core::mem::replace(&mut self.limit, limit) != limit {
            if let Some(log) = &mut self.log {
                log.limit_changed(limit);
            }
        }
    }

    #[inline]
    fn fits(&self, weight: usize) -> bool {
        let Some(limit) = self.limit else {
            return true;
        };
        if self.extra_weight == 0 && weight == 1 {
            return self.weighty() < limit;
        }
        let taken = self.taken();
        // A child that is heavier than the limit runs alone, but for those without a weight. A
        // limit of 0 admits none, not even those.
        limit > 0 && (weight == 0 || taken == 0 || taken + weight as u128 <= limit as u128)
    }

    /// Returns how many running children and reservations take room.
    #[inline]
    fn weighty(&self) -> usize {
        self.occupied - self.weightless
    }

    /// Returns the room that they take.
    fn taken(&self) -> u128 {
        self.weighty() as u128 + self.extra_weight
    }

    /// Returns `true` if a feed may ask its stream: together with the children of feeds that are
    /// queued behind their keys, no more children exist than may run.
    fn may_ask(&self) -> bool {
        let fed = self.queue.fed();
        fed == 0 || self.limit.is_none_or(|limit| self.taken() + (fed as u128) < limit as u128)
    }

    /// Returns `true` if more room is taken than there is, but for a child that runs alone.
    fn is_over_limit(&self) -> bool {
        self.limit.is_some_and(|limit| match limit {
            0 => self.occupied > 0,
            _ => self.taken() > limit as u128 && self.weighty() > 1,
        })
    }

    /// Sets the limit of each key of a group that is being made.
    pub(crate) fn set_key_limits(&mut self, limit: usize) {
        self.queue.set_key_limits(limit);
    }

    pub(crate) fn set_key_limit(&mut self, key: &Key, limit: Option<usize>) {
        self.queue.set_key_limit(key, limit);
    }

    /// Returns `true` if a plain newcomer need not wait for room.
    pub(crate) fn admits_newcomers(&self) -> bool {
        !self.queue.has_head() && self.fits(1)
    }

    pub(crate) fn phase(&self) -> GroupPhase {
        self.phase
    }

    pub(crate) fn set_phase(&mut self, phase: GroupPhase) {
        self.phase = phase;
    }

    /// Returns the event of the group's end, made now if it is first asked for.
    pub(crate) fn closed_event(&mut self) -> &mut Option<Arc<ClosedEvent>> {
        &mut self.closed
    }

    pub(crate) fn permits(&mut self) -> &mut Option<Permits> {
        &mut self.permits
    }

    pub(crate) fn passes(&mut self) -> &mut Option<Box<Passes>> {
        &mut self.passes
    }

    /// Returns what a gate is told of the head of the queue, or `None` if it lacks no pass.
    pub(crate) fn asked(&self) -> Option<Asked> {
        if !self.passes.as_ref()?.wanted {
            return None;
        }
        Some(match self.queue.first()?.1 {
            Entry::Child(child) => Asked::new(child.request(), name(child.options.boxed())),
            Entry::Waiter { key, weight, .. } => {
                let waiter = self.waiters.get(*key)?;
                let key = waiter.key.as_ref();
                let request = Request { weight: *weight, key, ..Request::PLAIN };
                Asked::new(request, waiter.name.clone())
            }
        })
    }

    /// Returns what a gate is told of a child on offer, or `None` if the child does not lack a pass
    /// alone.
    pub(crate) fn asked_for(&mut self, options: Option<&Options>, stopped: bool) -> Option<Asked> {
        let request = Request::new(options).behind_all();
        let lacks = !self.passes.as_ref()?.has_spare()
            && self.refusal(stopped).is_none()
            && !self.is_duplicate(request)
            && self.has_room(request);
        lacks.then(|| Asked::new(request, name(options)))
    }

    pub(crate) fn lacks_permit(&self) -> bool {
        self.permits.as_ref().is_some_and(|permits| permits.wanted)
    }

    pub(crate) fn has_group_turn(&self) -> bool {
        self.group_turn
    }

    /// Takes what a child needs beside room: a pass of the gates, and a permit.
    #[inline]
    fn take_permit(&mut self) -> bool {
        if self.passes.as_mut().is_some_and(|passes| !passes.try_take()) {
            return false;
        }
        let taken = self.permits.as_mut().is_none_or(Permits::try_take);
        if !taken {
            self.return_pass(None);
        }
        taken
    }

    /// Gives a pass to the next child. `None`: the one that was taken just now.
    #[inline]
    fn return_pass(&mut self, pass: Option<Pass>) {
        if let Some(passes) = &mut self.passes {
            passes.put_back(pass);
        }
    }

    /// Records that the guards of a child are to be dropped: it has ended.
    #[inline]
    fn end_pass(&mut self, pass: Option<Pass>) {
        if let Some(passes) = &mut self.passes {
            passes.over.extend(pass);
        }
    }

    /// Lets a child have the pass that was taken for it, or the one of its reservation.
    #[inline]
    fn give_pass(&mut self, child: &mut QueuedChild, pass: Option<Pass>) {
        if let Some(passes) = &mut self.passes {
            if let Some(pass) = pass.or_else(|| passes.give()) {
                child.options.make_boxed().pass = Some(pass);
            }
        }
    }

    /// Takes room in the group, and in the key of a child or a waiter.
    #[inline]
    fn take_room(&mut self, weight: usize, key: Option<KeyId>) {
        self.take_plain_room(weight);
        if let Some(key) = key {
            self.queue.take_key(key, weight);
        }
    }

    /// Takes the room that is asked for.
    #[inline]
    fn take_room_for(&mut self, request: Request<'_>) {
        let key = request.key.map(|key| self.queue.use_key(key));
        self.take_room(request.weight, key);
    }

    /// Takes room for a child without a key.
    #[inline]
    pub(super) fn take_plain_room(&mut self, weight: usize) {
        self.occupied += 1;
        self.weightless += usize::from(weight == 0);
        self.extra_weight += weight.saturating_sub(1) as u128;
    }

    /// Frees room whose permit is kept.
    #[inline]
    fn return_room(&mut self, weight: usize, key: Option<KeyId>) {
        self.occupied -= 1;
        self.weightless -= usize::from(weight == 0);
        self.extra_weight -= weight.saturating_sub(1) as u128;
        if let Some(key) = key {
            self.queue.free_key(key, weight);
        }
    }

    #[inline]
    pub(crate) fn free_room(&mut self, weight: usize, key: Option<KeyId>) {
        self.return_room(weight, key);
        self.return_pass(None);
        if let Some(permits) = &mut self.permits {
            permits.free(1);
        }
    }
}

// === accepting children ===

impl State {
    /// Takes room, and a permit, for a newcomer, if no entry of the queue comes before it.
    #[inline]
    pub(crate) fn try_take_room(&mut self, request: Request<'_>) -> bool {
        let free = self.has_room(request) && self.take_permit();
        if free {
            self.take_room_for(request);
        }
        free
    }

    /// Returns `true` if there is room for a newcomer, and no entry of the queue comes before it.
    #[inline]
    fn has_room(&mut self, request: Request<'_>) -> bool {
        let position = Position::last(request.priority);
        // In this order: most newcomers are stopped by the cheapest look.
        self.fits(request.weight)
            && (!request.feed || self.may_ask())
            && self.queue.yields_to(position)
            && self.queue.has_key_room(request, position)
    }

    /// Starts a plain child that goes to the set at once, past those that have room: returns its
    /// index. `None` if there are some, or no room, or if more is to be done than to count it.
    pub(crate) fn try_start(&mut self, stopped: bool) -> Option<usize> {
        // A group with an observer or a semaphore does not get here.
        debug_assert!(self.log.is_none() && self.permits.is_none());
        let needs_more = self.passes.is_some() || self.inspector.is_some();
        let is_first = self.ready.is_empty() && self.starting.is_empty() && !self.has_freed_room;
        if needs_more || !is_first || self.refusal(stopped).is_some() || !self.admits_newcomers() {
            return None;
        }
        self.take_plain_room(1);
        self.next_index += 1;
        Some(self.next_index - 1)
    }

    /// Returns `true` if the child is unique, and another one of its key runs or waits.
    pub(crate) fn is_duplicate(&self, request: Request<'_>) -> bool {
        request.unique && request.key.is_some_and(|key| self.queue.is_used(key))
    }

    /// Admits a child that has room; it starts once the children before it have.
    #[inline]
    pub(crate) fn admit(&mut self, child: QueuedChild) {
        self.admit_with(child, None);
    }

    /// Admits it; its key is known if it was queued.
    #[inline]
    fn admit_with(&mut self, mut child: QueuedChild, key: Option<KeyId>) {
        self.give_pass(&mut child, None);
        if self.starting.is_empty() {
            self.start(child, key);
        } else {
            self.starting.push_back(StartSlot::Child(child));
        }
    }

    /// Queues a child behind all others of its priority.
    pub(crate) fn enqueue(&mut self, child: QueuedChild) {
        let position = self.queue.next_position(child.request().priority);
        self.enqueue_at(position, child);
    }

    #[inline]
    fn enqueue_at(&mut self, position: Position, child: QueuedChild) {
        self.queued += 1;
        if let Some(log) = &mut self.log {
            log.queued(child.key, child.options.boxed());
        }
        let key = child.request().key.cloned();
        if let Some(id) = child.join {
            if !self.joins().enqueue(id, position, key.clone()) {
                return self.drop_aborted(child);
            }
        }
        if child.is_fed() {
            self.queue.add_fed();
        }
        self.queue.insert(position, Entry::Child(child), key.as_ref());
    }

    /// Returns why a newcomer is refused, or `None` if it is accepted.
    pub(crate) fn refusal(&self, stopped: bool) -> Option<Refused> {
        // A stop comes before a close, unless it is the one of the group's own end.
        if self.closing && (self.finished || !stopped) {
            Some(Refused::Closed)
        } else {
            (stopped || self.phase >= GroupPhase::Closed).then_some(Refused::Stopped)
        }
    }

    /// Returns why a child without room is not queued, or `None` if it is.
    pub(crate) fn queue_refusal(&self, stopped: bool) -> Option<Refused> {
        if self.finished {
            return Some(Refused::Closed);
        }
        self.refusal(stopped).or((self.queued >= self.queue_limit).then_some(Refused::AtLimit))
    }

    /// Counts and records a child that `queue` or a `feed` brings too late, or to a full queue.
    pub(crate) fn refuse(&mut self, refused: Refused, options: Option<&Options>) {
        self.dropped += 1;
        self.reject(refused, options);
    }

    /// Records a child that is given back.
    pub(crate) fn reject(&mut self, refused: Refused, options: Option<&Options>) {
        if let Some(log) = &mut self.log {
            log.rejected(refused != Refused::AtLimit, options);
        }
    }

    #[inline]
    fn start(&mut self, child: QueuedChild, key: Option<KeyId>) {
        let index = self.next_index;
        self.next_index += 1;
        self.ready.push_back(child.key);
        if self.looks_at_all || !child.options.are_default() || child.join.is_some() {
            self.remember(index, child, key);
        }
    }

    #[cold]
    fn remember(&mut self, index: usize, child: QueuedChild, key_id: Option<KeyId>) {
        let Request { weight, priority, .. } = child.request();
        let QueuedChild { key: child, mut options, join } = child;
        let key = options.take_key();
        let key_id = key_id.or_else(|| self.queue.find_key(key.as_ref()?));
        let options = options.boxed().unwrap_or(&Options::DEFAULT);
        let Options { daemon, until_stop, pass, .. } = *options;
        let is_kept = self.keeps_names || self.looks_at_all;
        let name = if is_kept { name(Some(options)) } else { None };
        if let Some(log) = &mut self.log {
            log.started(index, child, options, name.clone(), key.clone());
        }
        self.daemons += usize::from(daemon);
        self.until_stop += usize::from(until_stop);
        let is_known = daemon || until_stop || key.is_some() || pass.is_some() || join.is_some();
        if let Some(inspector) = &self.inspector {
            inspector.start(index);
        }
        if weight != 1 || is_known || name.is_some() || self.inspector.is_some() {
            self.running.push(
                index as u64,
                Running { weight, priority, daemon, key, key_id, pass, until_stop, join, name },
            );
        }
    }

    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes out the next child that has started: its index and key.
    #[inline]
    pub(crate) fn pop_ready(&mut self) -> Option<(usize, ChildKey)> {
        let index = self.next_index - self.ready.len();
        let key = self.ready.pop_front()?;
        self.spawned = self.spawned.saturating_sub(1);
        shrink(&mut self.ready);
        Some((index, key))
    }

    /// Calls `take` with each started child for which that was not done before: its index and key,
    /// and for an observer its name.
    pub(crate) fn take_unspawned(
        &mut self,
        mut take: impl FnMut(usize, ChildKey, Option<&Arc<str>>),
    ) {
        let first = self.next_index - self.ready.len();
        let spawned = core::mem::replace(&mut self.spawned, self.ready.len());
        for (index, key) in (first + spawned..).zip(self.ready.range(spawned..).copied()) {
            let observed = self.log.as_ref().and_then(|_| self.running.get_mut(index as u64));
            take(index, key, observed.and_then(|child| child.name.as_ref()));
        }
    }
}

// === waiting for room ===

impl State {
    /// Returns `true` if a newcomer that has to wait can be told of its turn.
    pub(crate) fn wait(
        &mut self,
        request: Request<'_>,
        poller: &mut WaiterPoll<'_>,
    ) -> Option<WaiterKey> {
        let position = self.queue.next_position(request.priority);
        let mut waiter = Waiter::new(WaiterStage::Waiting(position), request, poller.caller);
        if !poller.is_registered(&mut waiter) {
            return None;
        }
        if self.names_waiters {
            waiter.name = request.name.map(Arc::from);
        }
        let entry = waiter.entry(self.waiters.next_key());
        let key = self.waiters.insert(waiter);
        self.queue.insert(position, entry, request.key);
        self.set_inside(key, current_child(poller.group));
        Some(key)
    }

    /// Reserves the room that a newcomer has taken for a child that it does not have yet.
    pub(crate) fn reserve_newcomer(&mut self, request: Request<'_>, caller: Caller) -> WaiterKey {
        let position = self.queue.next_position(request.priority);
        let key = self.waiters.insert(Waiter::new(WaiterStage::Stopped, request, caller));
        self.reserve(key, position, true);
        key
    }

    /// Takes a waiter that has its turn out of the order of starts.
    pub(crate) fn detach(&mut self, key: WaiterKey) {
        let Some(waiter) = self.waiters.get_mut(key) else { return };
        waiter.detached = true;
        if let WaiterStage::Reserved { slot, position, .. } = waiter.stage {
            waiter.stage = WaiterStage::Detached(position);
            self.detached += 1;
            *self.slot(slot) = StartSlot::Free;
        }
    }

    /// Looks whether a waiter has its turn; if not, registers its task.
    pub(crate) fn poll_waiter(&mut self, key: WaiterKey, poller: &mut WaiterPoll<'_>) -> Acquire {
        let Some(waiter) = self.waiters.get_mut(key) else {
            debug_assert!(false, "a waiter is polled that has gone");
            return Acquire::Stopped;
        };
        match &mut waiter.stage {
            WaiterStage::Stopped => return Acquire::Stopped,
            WaiterStage::MustQueue(_) | WaiterStage::Detached(_) => {}
            WaiterStage::Reserved { claimed, .. } => *claimed = true,
            WaiterStage::Waiting(_) => {
                if !poller.is_registered(waiter) {
                    return Acquire::NeedsWaker;
                }
                self.set_inside(key, current_child(poller.group));
                return Acquire::Pending;
            }
        }
        self.group_turn &= poller.caller != Caller::Group;
        Acquire::Ready
    }

    /// Returns `true` if [`fill`](Self::fill) accepts the child of this waiter.
    pub(crate) fn has_turn(&self, key: WaiterKey) -> bool {
        let stage = self.waiters.get(key).map(|waiter| waiter.stage);
        matches!(
            stage,
            Some(
                WaiterStage::Reserved { .. } | WaiterStage::Detached(_) | WaiterStage::MustQueue(_)
            )
        )
    }

    /// Accepts the child of a waiter that has its turn, and forgets the waiter. A child that
    /// needs more room than was reserved and does not fit is queued, at the waiter's position.
    pub(crate) fn fill(&mut self, key: WaiterKey, mut child: QueuedChild, effects: &mut Effects) {
        self.set_inside(key, None);
        let Some(Waiter { stage, weight, key, feed, pass, waker, .. }) = self.waiters.remove(key)
        else {
            debug_assert!(false, "a child comes of a waiter that has gone");
            return self.enqueue(child);
        };
        effects.discard = waker;
        child.options.set_fed(feed);
        let request = child.request();
        match stage {
            WaiterStage::Waiting(position) | WaiterStage::MustQueue(position) => {
                self.queue.remove(position, key.as_ref());
                self.enqueue_at(Position { priority: request.priority, ..position }, child);
                // The child may be a daemon.
                self.recheck_end = true;
            }
            WaiterStage::Reserved { position, .. } | WaiterStage::Detached(position) => {
                let slot =
                    if let WaiterStage::Reserved { slot, .. } = stage { Some(slot) } else { None };
                // It keeps the position. Behind the next waiters of the same feed, each of its
                // children would find room reserved, and go to the queue.
                let priority = request.priority.max(position.priority);
                let position = Position { priority, ..position };
                let fits_key = match request.key {
                    // The room is in this key, unless its limit was lowered since.
                    Some(of) if key.is_some() => !self.queue.is_key_over_limit(of),
                    _ => self.queue.has_key_room(request, position),
                };
                self.detached -= usize::from(slot.is_none());
                self.reserved -= 1;
                let key = key.and_then(|key| self.queue.find_key(&key));
                self.return_room(weight, key);
                // Detached room is not taken back when the limit is lowered, so it looks again.
                let fits_group =
                    (slot.is_some() && request.weight <= weight) || self.fits(request.weight);
                if fits_group && fits_key {
                    self.take_room_for(request);
                    self.give_pass(&mut child, pass);
                    match slot {
                        Some(slot) => *self.slot(slot) = StartSlot::Child(child),
                        None => self.admit(child),
                    }
                    return;
                }
                if let Some(slot) = slot {
                    *self.slot(slot) = StartSlot::Free;
                }
                self.return_pass(pass);
                if let Some(permits) = &mut self.permits {
                    permits.free(1);
                }
                self.enqueue_at(position, child);
                self.recheck_end = true;
            }
            WaiterStage::Stopped => {
                debug_assert!(false, "a child comes of a waiter that has stopped");
                self.enqueue(child);
            }
        }
    }

    /// Forgets a waiter that has gone; room that is reserved for it is free.
    pub(crate) fn abandon(&mut self, key: WaiterKey, effects: &mut Effects) {
        self.set_inside(key, None);
        let Some(waiter) = self.waiters.remove(key) else {
            return;
        };
        effects.discard = waiter.waker;
        self.return_pass(waiter.pass);
        let key = waiter.key.as_ref();
        match waiter.stage {
            WaiterStage::Waiting(position) | WaiterStage::MustQueue(position) => {
                self.queue.remove(position, key);
            }
            WaiterStage::Reserved { slot, .. } => {
                *self.slot(slot) = StartSlot::Free;
                self.reserved -= 1;
                self.free_room(waiter.weight, key.and_then(|key| self.queue.find_key(key)));
            }
            WaiterStage::Detached(_) => {
                self.detached -= 1;
                self.reserved -= 1;
                self.free_room(waiter.weight, key.and_then(|key| self.queue.find_key(key)));
            }
            WaiterStage::Stopped => {}
        }
        self.group_turn &= waiter.caller != Caller::Group;
        self.recheck_end = true;
    }

    /// Reserves room that has been taken: the waiter starts its child in this order.
    fn reserve(&mut self, key: WaiterKey, position: Position, claimed: bool) {
        self.reserved += 1;
        let slot = self.first_slot + self.starting.len() as u64;
        if let Some(waiter) = self.waiters.get_mut(key) {
            waiter.pass = self.passes.as_mut().and_then(|passes| passes.give());
            if waiter.detached {
                waiter.stage = WaiterStage::Detached(position);
                self.detached += 1;
                return;
            }
            self.starting.push_back(StartSlot::Reserved(key));
            let must_queue = matches!(waiter.stage, WaiterStage::MustQueue(_));
            waiter.stage = WaiterStage::Reserved { slot, position, claimed, must_queue };
        }
    }

    fn slot(&mut self, slot: u64) -> &mut StartSlot {
        &mut self.starting[(slot - self.first_slot) as usize]
    }

    /// Records inside which running child a waiter in the queue is polled; daemons do not count.
    fn set_inside(&mut self, key: WaiterKey, inside: Option<usize>) {
        let Some(waiter) = self.waiters.get_mut(key) else {
            return;
        };
        let (WaiterStage::Waiting(position) | WaiterStage::MustQueue(position)) = waiter.stage
        else {
            return;
        };
        let running = &mut self.running;
        let inside = inside
            .filter(|&index| !running.get_mut(index as u64).is_some_and(|child| child.daemon));
        let before = core::mem::replace(&mut waiter.inside, inside);
        if before == inside {
            return;
        }
        if let Some(child) = before {
            self.nested.remove(position.arrival, child);
        }
        if let Some(child) = inside {
            self.nested.insert(position.arrival, key, child);
        }
    }

    /// Takes the wakers of all waiters: the group has stopped.
    pub(crate) fn take_wakers(&mut self, effects: &mut Effects) {
        for waiter in self.waiters.iter_mut() {
            waiter.waker.take().into_iter().for_each(|waker| effects.wake.push(waker));
        }
    }
}

// === aborting children ===

impl State {
    fn joins(&mut self) -> &mut Joins {
        self.joins.get_or_insert_default()
    }

    /// Names a joinable child that is about to be accepted.
    pub(crate) fn next_join_id(&mut self) -> JoinId {
        self.joins().next_id()
    }

    /// Records that the child which comes next was aborted before: it waits for no room.
    pub(crate) fn abort_early(&mut self, id: JoinId) {
        self.joins().abort_early(id);
    }

    /// Takes a child out of the queue. Returns `false` if it is not there.
    pub(crate) fn abort_queued(&mut self, id: JoinId) -> bool {
        let Some((position, key)) = self.joins().leave_queue(id) else {
            return false;
        };
        if let Some(Entry::Child(child)) = self.queue.remove(position, key.as_ref()) {
            self.queue.leave(&child);
            self.drop_aborted(child);
        }
        true
    }

    /// Leaves a child that was aborted in the queue to the group, which drops it.
    fn drop_aborted(&mut self, child: QueuedChild) {
        self.queued -= 1;
        self.dropped += 1;
        self.log_unstarted(child.key, child.options.boxed());
        self.joins().dropped.push(child.key);
    }

    /// Returns `true` if there are children that were aborted in the queue, for the group to drop.
    pub(crate) fn has_aborted(&self) -> bool {
        self.joins.as_ref().is_some_and(|joins| !joins.dropped.is_empty())
    }

    /// Moves the children that were aborted in the queue to `keys`, for the caller to drop.
    pub(crate) fn take_aborted(&mut self, keys: &mut Vec<ChildKey>) {
        self.joins.iter_mut().for_each(|joins| keys.append(&mut joins.dropped));
    }

    /// Records that the result of a running child is none.
    pub(crate) fn abort_running(&mut self, id: JoinId) {
        self.joins().abort_running(id);
    }

    /// Returns `true` if the result of the running child of that index is none.
    pub(crate) fn has_no_result(&mut self, index: usize) -> bool {
        let id = self.running.get_mut(index as u64).and_then(|child| child.join);
        id.is_some_and(|id| self.joins().take_aborted(id))
    }

    /// Records that a child leaves the queue.
    #[inline]
    fn leave_queue(&mut self, child: &QueuedChild) {
        self.queued -= 1;
        self.queue.leave(child);
        if let (Some(id), Some(joins)) = (child.join, &mut self.joins) {
            joins.leave_queue(id);
        }
    }
}

// === ending ===

impl State {
    #[inline]
    fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Failed => &mut self.failed,
            Outcome::Panicked | Outcome::Dropped => &mut self.dropped,
        } += 1;
    }

    /// Counts a running child that is gone, and frees its room. The queue gets the room by
    /// [`give_freed_room`](Self::give_freed_room), at the latest before the next other change.
    pub(crate) fn finish(&mut self, index: usize, outcome: Outcome, stopped: bool) {
        if stopped {
            // Room that was freed before the stop goes to the queue, no more than that.
            self.give_freed_room(&mut Effects::default());
        }
        self.count(outcome);
        self.nested.forget_child(index);
        let child = if self.running.is_empty() { None } else { self.running.remove(index as u64) };
        let (weight, key, pass) = child.map_or((1, None, None), |child| {
            self.daemons -= usize::from(child.daemon);
            self.until_stop -= usize::from(child.until_stop);
            if let Some(inspector) = &self.inspector {
                inspector.finish(index);
            }
            if let (Some(id), Some(joins)) = (child.join, &mut self.joins) {
                joins.take_aborted(id);
            }
            (child.weight, child.key_id, child.pass)
        });
        self.end_pass(pass);
        let is_plain = weight == 1 && key.is_none() && pass.is_none();
        if self.ended.forget(outcome) && is_plain && self.ended.roomless > 0 {
            self.ended.roomless -= 1;
        } else {
            self.free_room(weight, key);
            self.has_freed_room |= !stopped;
        }
        if self.nested.blocked_children() > 0 {
            // If all children that are left wait, it must not depend on whether another ends in
            // the same round that one of them is told to queue its child.
            self.give_freed_room(&mut Effects::default());
        }
    }

    /// Sets what is noted of children that have ended outside of the group's polls.
    pub(crate) fn note_ends(&mut self, notes: EndNotes) {
        self.occupied += core::mem::take(&mut self.ended).roomless;
        self.notes = notes;
    }

    /// Notes that a child has ended outside of the group's polls. After a stop it frees no room.
    pub(crate) fn note_ended(&mut self, index: usize, outcome: Outcome, stopped: bool) {
        if self.notes == EndNotes::Nothing || self.phase >= GroupPhase::Closed {
            return;
        }
        let is_aborted = self.joins.as_ref().is_some_and(|joins| {
            let join = self.running.get(index as u64).and_then(|child| child.join);
            join.is_some_and(|id| joins.is_aborted(id))
        });
        // What an aborted child has returned is no result.
        let outcome = if is_aborted { Outcome::Dropped } else { outcome };
        let frees_room = self.ended.note(outcome)
            && self.notes == EndNotes::FreesRoom
            && !stopped
            && self.log.is_none()
            && self.running.get(index as u64).is_none_or(Running::is_plain);
        if frees_room {
            self.ended.roomless += 1;
            self.free_room(1, None);
            self.has_freed_room = true;
        }
    }

    /// Gives the queue the room of children that have ended since it was last processed.
    #[inline]
    pub(crate) fn give_freed_room(&mut self, effects: &mut Effects) {
        if self.has_freed_room {
            self.process_queue(false, effects);
        }
    }

    /// Gives that room to no child: the group is about to stop.
    pub(crate) fn withhold_freed_room(&mut self) {
        self.has_freed_room = false;
    }

    /// Records a child that has finished and keeps its room until its result is fetched. It holds
    /// nothing up any more: no waiter is inside it, and a daemon counts as any other child. Nor
    /// can a stop drop it.
    pub(crate) fn finish_unfetched(&mut self, index: usize) {
        self.nested.forget_child(index);
        if let Some(child) = self.running.get_mut(index as u64) {
            if let Some(inspector) = &self.inspector {
                inspector.finish_unfetched(index);
            }
            if let Some(passes) = &mut self.passes {
                passes.over.extend(child.pass.take());
            }
            self.daemons -= usize::from(core::mem::take(&mut child.daemon));
            self.until_stop -= usize::from(core::mem::take(&mut child.until_stop));
        }
    }

    /// Returns `true` if children may run that end without a result: with the stop, or aborted.
    pub(crate) fn has_endings(&self) -> bool {
        self.until_stop > 0 || self.joins.is_some()
    }

    /// Returns `true` if the running child of that index ends with the stop.
    pub(crate) fn is_until_stop(&mut self, index: usize) -> bool {
        self.running.get_mut(index as u64).is_some_and(|child| child.until_stop)
    }

    /// Returns the indexes of the running children that end with the stop, lowest first.
    pub(crate) fn until_stop(&self) -> Vec<usize> {
        if self.until_stop == 0 {
            // Most looks find none, and there are as many as rounds after the stop.
            return Vec::new();
        }
        let children = self.running.iter().filter(|(_, child)| child.until_stop);
        children.map(|(index, _)| index as usize).collect()
    }

    /// Records how many finished children keep their room until an earlier result is fetched.
    pub(crate) fn set_blocked_results(&mut self, count: usize) {
        self.blocked_results = count;
    }

    /// Takes out the next queued child, to be dropped after a stop.
    pub(crate) fn pop_dropped(&mut self) -> Option<ChildKey> {
        self.phase = self.phase.max(GroupPhase::Stopped);
        self.queue.drop_keys();
        loop {
            if let (_, Entry::Child(child), _) = self.queue.pop()? {
                self.leave_queue(&child);
                self.dropped += 1;
                self.log_unstarted(child.key, child.options.boxed());
                return Some(child.key);
            }
        }
    }

    /// Drops the queue after a stop, and takes back what is reserved. Adds the children that were
    /// queued to `keys`, for the caller to drop.
    pub(crate) fn stop(&mut self, keys: &mut Vec<ChildKey>) {
        while let Some(key) = self.pop_dropped() {
            keys.push(key);
        }
        let mut waiters = core::mem::take(&mut self.waiters);
        for waiter in waiters.iter_mut() {
            if let WaiterStage::Reserved { slot, .. } = waiter.stage {
                *self.slot(slot) = StartSlot::Free;
            }
            if let WaiterStage::Reserved { .. } | WaiterStage::Detached(_) = waiter.stage {
                // The queue knows its key no longer.
                self.return_room(waiter.weight, None);
                self.return_pass(waiter.pass.take());
            }
            (waiter.stage, waiter.inside) = (WaiterStage::Stopped, None);
        }
        self.waiters = waiters;
        if let Some(permits) = &mut self.permits {
            permits.free(self.reserved);
        }
        if let Some(passes) = &mut self.passes {
            passes.end_spare();
        }
        (self.reserved, self.detached) = (0, 0);
        self.group_turn = false;
        self.nested.clear();
    }

    /// Refuses newcomers from now on. What was accepted goes on, and so do waiters that have their
    /// turn; the others are as after a stop.
    pub(crate) fn refuse_newcomers(&mut self, effects: &mut Effects) {
        if core::mem::replace(&mut self.closing, true) {
            return;
        }
        let Self { waiters, queue, .. } = self;
        for waiter in waiters.iter_mut() {
            if let WaiterStage::Waiting(position) = waiter.stage {
                queue.remove(position, waiter.key.as_ref());
                (waiter.stage, waiter.inside) = (WaiterStage::Stopped, None);
                waiter.waker.take().into_iter().for_each(|waker| effects.wake.push(waker));
            }
        }
        // A waiter that has its turn is inside no child.
        self.nested.clear();
        // The group may be over, and its own `go` or `feed` is to look.
        effects.notify = true;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Holds the group open while it is empty.
    pub(crate) fn hold(&mut self) {
        self.holds += 1;
    }

    pub(crate) fn release_hold(&mut self) {
        self.holds -= 1;
        self.recheck_end |= self.holds == 0;
    }

    fn is_held(&self) -> bool {
        self.holds > 0 && !self.closing
    }

    /// Returns `true` if the group need not wait: for a running child, or a waiter. After a stop
    /// it waits for daemons, too, and for no waiter.
    pub(crate) fn is_over(&self, stopped: bool) -> bool {
        if stopped {
            self.running() == 0
        } else {
            self.holding() - self.blocked_results == self.daemons
                && self.queue.is_empty()
                && !self.is_held()
        }
    }

    /// Returns `true` if nothing runs and nothing waits, or `None` if newcomers are refused.
    pub(crate) fn is_idle(&self, stopped: bool) -> Option<bool> {
        let accepts = self.refusal(stopped).is_none();
        accepts.then(|| self.running() == 0 && self.is_over(false))
    }

    /// Returns `true` if nothing but daemons is left; queued ones hold nothing open either.
    pub(crate) fn has_only_daemons(&self) -> bool {
        self.holding() - self.blocked_results == self.daemons
            && (self.daemons > 0 || !self.queue.is_empty())
            && self.queue.has_only_daemons()
            && !self.is_held()
    }

    /// Closes the group if nothing runs and nothing waits.
    pub(crate) fn try_close(&mut self, stopped: bool) -> bool {
        let over = self.running() == 0 && self.is_over(stopped);
        if over {
            self.phase = GroupPhase::Closed;
            self.finished = !stopped;
        }
        over
    }

    /// Closes the group whatever runs; it counts as dropped.
    pub(crate) fn close(&mut self) {
        self.phase = GroupPhase::Closed;
        // An observer is told that all that run were dropped, also those that have ended.
        let Stats { running, ok, failed, dropped, .. } =
            if self.log.is_none() { self.stats() } else { self.told_stats() };
        (self.ok, self.failed, self.dropped) = (ok, failed, dropped + running);
        self.ended = Ended::default();
        if let Some(inspector) = &self.inspector {
            inspector.clear();
        }
        // The permits are kept until the children are dropped.
        (self.occupied, self.weightless, self.extra_weight) = (0, 0, 0);
        (self.reserved, self.detached) = (0, 0);
        (self.blocked_results, self.daemons, self.until_stop) = (0, 0, 0);
    }

    /// [Closes](Self::close) the group, and adds the children that have room and are not in the
    /// set to `keys`.
    pub(crate) fn abort(&mut self, keys: &mut Vec<(Dropped, ChildKey)>) {
        self.close();
        for waiter in self.waiters.iter_mut() {
            if let WaiterStage::Reserved { .. } | WaiterStage::Detached(_) = waiter.stage {
                (waiter.stage, waiter.inside) = (WaiterStage::Stopped, None);
            }
        }
        while let Some((index, key)) = self.pop_ready() {
            keys.push((Dropped::Started(index), key));
        }
        while let Some(slot) = self.starting.pop_front() {
            if let StartSlot::Child(child) = slot {
                keys.push((Dropped::Unstarted(child.key, child.options), child.key));
            }
        }
    }
}

// === what the policy is told ===

impl State {
    pub(crate) fn keep_names(&mut self) {
        self.keeps_names = true;
    }

    /// Returns `true` if the policy is to be told more of a running child than its index.
    pub(crate) fn has_records(&self) -> bool {
        self.daemons > 0 || (self.keeps_names && !self.running.is_empty())
    }

    pub(crate) fn record_of(&mut self, index: usize) -> Option<ChildRecord> {
        let child = self.running.get_mut(index as u64)?;
        Some(ChildRecord { name: child.name.clone(), key: child.key.clone(), daemon: child.daemon })
    }
}

// === observing ===

impl State {
    /// Sets what depends on the other parts of the state, which is complete.
    pub(crate) fn prepare(&mut self, spawns: bool) {
        self.looks_at_all = self.log.is_some() || self.inspector.is_some();
        self.names_waiters = self.passes.is_some() || self.inspector.is_some();
        self.spawns = spawns;
    }

    /// Returns `true` if all options of children that start are looked at.
    pub(crate) fn looks_at_all(&self) -> bool {
        self.looks_at_all
    }

    pub(crate) fn inspector(&self) -> Option<&Arc<Inspector>> {
        self.inspector.as_ref()
    }

    pub(crate) fn set_inspector(&mut self, inspector: Arc<Inspector>) {
        self.inspector = Some(inspector);
    }

    pub(crate) fn log(&mut self) -> &mut Option<Box<EventLog>> {
        &mut self.log
    }

    /// Records how a running child has ended.
    pub(crate) fn log_finished(&mut self, index: usize, outcome: Outcome) {
        if let Some(log) = &mut self.log {
            let child = self.running.get_mut(index as u64);
            let (name, key) = child.map_or((None, None), |it| (it.name.clone(), it.key.clone()));
            log.finished(index, name, key, outcome);
        }
    }

    /// Records that a child which had room was dropped before it started.
    pub(crate) fn log_unstarted(&mut self, child: ChildKey, options: Option<&Options>) {
        if let Some(log) = &mut self.log {
            log.unstarted(child, options);
        }
    }
}

/// Returns the name that a child was given.
pub(crate) fn name(options: Option<&Options>) -> Name {
    options?.name.as_deref().map(Arc::from)
}

// === processing the queue ===

impl State {
    /// Restores the invariants after a change.
    #[inline]
    pub(crate) fn process_queue(&mut self, stopped: bool, effects: &mut Effects) {
        self.has_freed_room = false;
        let waits = !self.queue.is_empty() || !self.starting.is_empty();
        let needs_more = self.permits.is_some() || self.passes.is_some();
        if waits || self.recheck_end || needs_more {
            self.process_entries(stopped, effects);
        } else {
            effects.notify |= self.has_ready();
        }
    }

    #[inline(never)]
    fn process_entries(&mut self, stopped: bool, effects: &mut Effects) {
        let mut lacks_permit = false;
        let admits = !stopped && self.phase < GroupPhase::Closed;
        if admits {
            if self.reserved > 0 {
                self.revoke();
            }
            if !self.queue.is_empty() {
                lacks_permit = self.admit_queue(effects);
            }
        }
        if !self.starting.is_empty() {
            self.start_front();
        }
        // After a stop as well: each waiter is woken then, and refused whatever its stage.
        if self.nested.blocked_children() > 0 {
            self.unblock(effects);
        }
        if let Some(passes) = &mut self.passes {
            // The group asks the gates from now on, or no longer.
            let lacks_pass = lacks_permit && !passes.has_spare();
            lacks_permit &= !lacks_pass;
            effects.notify |= core::mem::replace(&mut passes.wanted, lacks_pass) != lacks_pass;
        }
        if let Some(permits) = &mut self.permits {
            // The group waits for a permit from now on, or no longer.
            let before = core::mem::replace(&mut permits.wanted, lacks_permit);
            effects.notify |= before != lacks_permit;
            permits.cancel_acquire |= before && !lacks_permit;
        }
        let recheck_end = core::mem::take(&mut self.recheck_end);
        let may_end = || self.is_over(stopped) || (!stopped && self.has_only_daemons());
        effects.notify |= self.has_ready() || (recheck_end && may_end());
    }

    /// Gives room to the head of the queue while it fits. Returns `true` if the head then lacks
    /// only a permit.
    fn admit_queue(&mut self, effects: &mut Effects) -> bool {
        loop {
            if self.queue.has_held() && self.may_ask() {
                self.queue.release_held();
            }
            let Some((_, entry)) = self.queue.first() else { return false };
            let weight = entry.weight();
            if entry.is_feed() && !self.may_ask() {
                self.queue.hold_head();
                continue;
            }
            if !self.fits(weight) {
                return false;
            }
            if !self.take_permit() {
                return true;
            }
            match self.queue.pop() {
                Some((_, Entry::Child(child), of)) => {
                    self.leave_queue(&child);
                    self.take_room(weight, of);
                    self.admit_with(child, of);
                }
                Some((position, Entry::Waiter { key, .. }, of)) => {
                    self.take_room(weight, of);
                    self.leave_child(key, position);
                    self.tell(key, effects);
                    self.reserve(key, position, false);
                }
                None => return false,
            }
        }
    }

    /// Starts the children at the front of `starting`, up to the first reservation.
    fn start_front(&mut self) {
        while let Some(StartSlot::Child(_) | StartSlot::Free) = self.starting.front() {
            self.first_slot += 1;
            if let Some(StartSlot::Child(child)) = self.starting.pop_front() {
                self.start(child, None);
            }
        }
        shrink(&mut self.starting);
    }

    /// Takes room back after the limit was lowered: from reservations that are not claimed yet,
    /// the newest first, up to one that a child is behind. The waiters return to their positions.
    fn revoke(&mut self) {
        while self.reserved > 0 && self.is_over_limit() {
            let key = match self.starting.back() {
                Some(StartSlot::Reserved(key)) => *key,
                Some(StartSlot::Free) => {
                    self.starting.pop_back();
                    continue;
                }
                Some(StartSlot::Child(_)) | None => return,
            };
            let Some(waiter) = self.waiters.get_mut(key) else {
                return;
            };
            let WaiterStage::Reserved { position, claimed: false, must_queue, .. } = waiter.stage
            else {
                return;
            };
            // One that takes no room gives none back.
            if waiter.weight == 0 && self.limit != Some(0) {
                return;
            }
            let mut inside = None;
            if must_queue {
                waiter.stage = WaiterStage::MustQueue(position);
            } else {
                waiter.stage = WaiterStage::Waiting(position);
                self.group_turn &= waiter.caller != Caller::Group;
                // Its child is not woken in vain, so it is blocked as before.
                inside = self.nested.remove_wake(key);
            }
            let (entry, weight, of) = (waiter.entry(key), waiter.weight, waiter.key.clone());
            let pass = waiter.pass.take();
            self.return_pass(pass);
            self.starting.pop_back();
            self.reserved -= 1;
            let of_room = of.as_ref().and_then(|of| self.queue.find_key(of));
            self.free_room(weight, of_room);
            self.queue.insert(position, entry, of.as_ref());
            if inside.is_some() {
                self.set_inside(key, inside);
            }
        }
    }

    /// Lets the oldest nested waiter put its child into the queue, if waiting could never end:
    /// every running child contains a waiter.
    fn unblock(&mut self, effects: &mut Effects) {
        // A reservation's owner brings a child that may run, or gives the room back; but that of a
        // detached one may be a child that waits.
        let stuck = self.reserved == self.detached
            && self.nested.blocked_children() + self.daemons
                == self.running() - self.blocked_results;
        if !stuck {
            return;
        }
        let Self { nested, waiters, .. } = self;
        let oldest = nested.oldest(|key| waiters.get(key).and_then(|waiter| waiter.inside));
        let Some(key) = oldest else { return };
        if let Some(WaiterStage::Waiting(position)) =
            self.waiters.get(key).map(|waiter| waiter.stage)
        {
            // Its child goes on, so it counts as blocked no longer.
            self.leave_child(key, position);
            if let Some(waiter) = self.waiters.get_mut(key) {
                waiter.stage = WaiterStage::MustQueue(position);
            }
            self.tell(key, effects);
        }
    }

    /// Records that a waiter blocks the child that contains it no longer.
    fn leave_child(&mut self, key: WaiterKey, position: Position) {
        let Some(waiter) = self.waiters.get_mut(key) else { return };
        if let Some(child) = waiter.inside.take() {
            if waiter.caller != Caller::Group {
                self.nested.add_wake(key, child);
            }
            self.nested.remove(position.arrival, child);
        }
    }

    /// Tells a waiter that it has its turn; no other function does.
    fn tell(&mut self, key: WaiterKey, effects: &mut Effects) {
        if self.waiters.get(key).is_some_and(|waiter| waiter.caller == Caller::Group) {
            self.group_turn = true;
            effects.notify = true;
        } else {
            self.told.push(key);
        }
    }

    /// Takes the wakers of the waiters that have got their turn, but for those that have been
    /// polled since.
    #[inline]
    pub(crate) fn take_told(&mut self, effects: &mut Effects) {
        if !self.told.is_empty() {
            self.take_wakers_of_told(effects);
        }
        self.nested.clear_wakes();
    }

    fn take_wakers_of_told(&mut self, effects: &mut Effects) {
        let Self { told, waiters, .. } = self;
        for key in told.drain(..) {
            let Some(waiter) = waiters.get_mut(key) else { continue };
            if let WaiterStage::MustQueue(_) | WaiterStage::Reserved { claimed: false, .. } =
                waiter.stage
            {
                waiter.waker.take().into_iter().for_each(|waker| effects.wake.push(waker));
            }
        }
        told.shrink_to(RETAINED_KEYS);
    }
}

#[cfg(not(loom))]
#[path = "state/inspect.rs"]
mod inspect;

// The path is written out since the package `tests/model` compiles this file as well.
#[cfg(all(test, not(loom)))]
#[path = "state/tests.rs"]
pub(crate) mod tests;
