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
//! - `occupied` is the number of running children and of reservations, and `load` is what their
//!   weights add. With a semaphore, each of `occupied` has a permit. Those that have a key take as
//!   much room in it.
//! - A waiter is in `queue` exactly while it is `Waiting` or `MustQueue`, and in `starting`
//!   exactly while it is `Reserved`.
//! - If every running child but the daemons contains a waiter, and nothing is reserved but what is
//!   `Detached`, the oldest of these waiters is `MustQueue`.
//! - Once the group is closing, no waiter is `Waiting`, unless the limit was lowered since.
//! - From `GroupPhase::Resolved` on nothing is admitted or queued. What is in the queue by then is
//!   dropped by the stop that follows.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;

use self::waiters::Waiter;
pub(crate) use self::waiters::{Acquire, WaiterPoll};
use super::closed::ClosedEvent;
use super::ended::{EndNotes, Ended};
use super::events::{EventLog, Name};
use super::inspector::Inspector;
use super::joins::Joins;
use super::keys::KeyId;
use super::load::Load;
use super::nested::Nested;
use super::passes::{Asked, Pass, Passes};
use super::permits::Permits;
use super::queue::{
    ChildKey, ChildOptions, Entry, Position, QueuedChild, Request, SimpleHead, WaitQueue, WaiterKey,
};
use crate::child::join::JoinId;
use crate::child::task::Options;
use crate::key::Key;
use crate::observe::Outcome;
use crate::stats::Stats;
use crate::util::slab::Slab;
use crate::util::sparse_queue::{SparseQueue, shrink};

#[derive(Default)]
pub(crate) struct State {
    limit: Option<usize>,
    queued: usize,
    ok: usize,
    failed: usize,
    dropped: usize,
    /// How many running children and reservations have room.
    occupied: usize,
    load: Load,
    reserved: usize,
    /// How many of the reservations are [`Detached`](waiters::WaiterStage::Detached).
    detached: usize,
    /// How many finished children keep their room until an earlier result has been fetched.
    blocked_results: usize,
    next_index: usize,
    queue: WaitQueue,
    waiters: Slab<Waiter>,
    nested: Nested,
    /// Waiters that have got their turn and are to be woken.
    told: Vec<WaiterKey>,
    /// Children and reservations that have room, behind a reservation, by the numbers of their
    /// slots.
    starting: SparseQueue<StartSlot>,
    /// The number of the next slot of `starting`.
    next_start: u64,
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
    /// Children have ended, before any stop, whose room was not given to the queue yet, and
    /// something [waits](Self::must_process).
    has_freed_room: bool,
    /// The limit was lowered, and [more](Self::revoke) reservations are to be taken back.
    is_revoking: bool,
    /// The number of the slot of `starting` before which they are.
    revoked_below: u64,
    /// Waiters that were polled meanwhile, and wait until that is done.
    held_back: Vec<WaiterKey>,
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
    queue_limit: Option<usize>,
    /// Made when it is first asked for.
    closed: Option<Arc<ClosedEvent>>,
}

/// How far a group has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GroupPhase {
    /// It admits children, unless its token is cancelled.
    #[default]
    Open,
    /// Its token is cancelled, and its queue has been dropped.
    Stopped,
    /// It has resolved, or is being dropped.
    Resolved,
    /// Its children are gone, too.
    Ended,
}

/// A place in the order of starts.
enum StartSlot {
    Child(QueuedChild),
    Reserved(WaiterKey),
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

// === impl Running, Effects, Wakers ===

impl Running {
    const PLAIN: Self = Self {
        weight: 1,
        priority: 0,
        daemon: false,
        key: None,
        key_id: None,
        pass: None,
        until_stop: false,
        join: None,
        name: None,
    };

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
    /// Returns the state of a group that goes on with these children, none of which waits.
    pub(crate) fn resume(stats: &Stats, next_index: usize) -> Self {
        let Stats { limit, running: occupied, ok, failed, dropped, .. } = *stats;
        Self { limit, occupied, ok, failed, dropped, next_index, ..Self::default() }
    }

    /// Records the weight of a running child of a group that resumes. They come in order.
    pub(super) fn resume_weight(&mut self, index: usize, weight: usize) {
        self.load.add(weight);
        self.running.push(index as u64, Running { weight, ..Running::PLAIN });
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

    /// Returns the index of the first child that waits to go to the set, or of the next to start.
    #[inline]
    pub(crate) fn started(&self) -> usize {
        self.next_index - self.ready.len()
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
        self.queue_limit = Some(limit);
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
        self.load.fits(self.limit, self.occupied, weight)
    }

    /// Returns the room that running children and reservations take.
    fn taken(&self) -> u128 {
        self.load.taken(self.occupied)
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
            _ => self.taken() > limit as u128 && self.load.weighty(self.occupied) > 1,
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
    #[inline]
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

    /// Returns `true` if the group's task is to process the queue again, to take reservations back.
    pub(crate) fn is_revoking(&self) -> bool {
        self.is_revoking
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
        let lacks = !self.passes.as_ref()?.has_spare(request.weight)
            && self.refusal(stopped).is_none()
            && !self.is_duplicate(request)
            && self.has_room(request);
        lacks.then(|| Asked::new(request, name(options)))
    }

    /// Returns `true` if the head of the queue fits, and the group is to ask a gate or the
    /// semaphore.
    pub(crate) fn must_ask(&self) -> bool {
        self.lacks_permit() || self.passes.as_ref().is_some_and(|passes| passes.wanted)
    }

    pub(crate) fn lacks_permit(&self) -> bool {
        self.permits.as_ref().is_some_and(|permits| permits.wanted)
    }

    pub(crate) fn has_group_turn(&self) -> bool {
        self.group_turn
    }

    /// Takes what a child needs beside room: a pass of the gates, and a permit.
    #[inline]
    fn take_permit(&mut self, weight: usize) -> bool {
        if self.passes.as_mut().is_some_and(|passes| !passes.try_take(weight)) {
            return false;
        }
        let taken = self.permits.as_mut().is_none_or(Permits::try_take);
        if !taken {
            self.put_pass_back();
        }
        taken
    }

    /// Puts the pass back that was taken just now.
    #[inline]
    fn put_pass_back(&mut self) {
        if let Some(passes) = &mut self.passes {
            passes.put_back();
        }
    }

    /// Records that a pass is over since its reservation has come to nothing.
    #[inline]
    fn give_pass_up(&mut self, pass: Option<Pass>) {
        if let Some(passes) = &mut self.passes {
            passes.give_up(pass);
        }
    }

    /// Moves the passes that are over to `ended`. Spare ones are over, too, unless the head of the
    /// queue waits for a permit, and has the pass for it.
    pub(crate) fn take_ended_passes(&mut self, ended: &mut Vec<Pass>) {
        let keeps_spare = self.lacks_permit();
        if let Some(passes) = &mut self.passes {
            if !keeps_spare {
                passes.end_spare();
            }
            ended.append(&mut passes.over);
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
        self.load.add(weight);
    }

    /// Frees room whose permit is kept.
    #[inline]
    fn return_room(&mut self, weight: usize, key: Option<KeyId>) {
        self.occupied -= 1;
        self.load.remove(weight);
        if let Some(key) = key {
            self.queue.free_key(key, weight);
        }
    }

    #[inline]
    pub(crate) fn free_room(&mut self, weight: usize, key: Option<KeyId>) {
        self.return_room(weight, key);
        self.put_pass_back();
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
        let free = self.has_room(request) && self.take_permit(request.weight);
        if free {
            self.take_room_for(request);
        }
        free
    }

    /// Takes room for a child that was asked for because there was room for a plain one. Returns
    /// `false` if it needs more than there is, or a permit that is not there.
    #[inline]
    pub(crate) fn try_take_room_asked(&mut self, request: Request<'_>) -> bool {
        let position = Position::last(request.priority.max(0));
        let free = self.fits(request.weight)
            && self.queue.has_key_room(request, position)
            && self.take_permit(request.weight);
        if free {
            self.take_room_for(request);
        }
        free
    }

    /// Returns `true` if a newcomer of a feed need not wait, and no handle of a child can change
    /// that.
    pub(crate) fn admits_feed(&mut self, stopped: bool) -> bool {
        !self.has_freed_room
            && self.joins.is_none()
            && self.refusal(stopped).is_none()
            && self.has_room(Request::FEED)
    }

    /// Returns `true` if there is room for a newcomer, and no entry of the queue comes before it.
    #[inline]
    pub(crate) fn has_room(&mut self, request: Request<'_>) -> bool {
        // In this order: most newcomers are stopped by the cheapest look.
        self.fits(request.weight)
            && (!request.feed || self.may_ask())
            && self.queue.yields_to(request.priority)
            && self.queue.has_key_room(request, Position::last(request.priority))
    }

    /// Starts a plain child that goes to the set at once, past those that have room: returns its
    /// index. `None` if there are some, or no room, or if more is to be done than to count it.
    #[inline]
    pub(crate) fn try_start(&mut self, stopped: bool) -> Option<usize> {
        debug_assert!(!self.needs_more(), "then children do not come here");
        let is_first = self.ready.is_empty() && self.starting.is_empty() && !self.has_freed_room;
        if self.inspector.is_some()
            || !is_first
            || self.refusal(stopped).is_some()
            || !self.admits_newcomers()
        {
            return None;
        }
        self.take_plain_room(1);
        self.next_index += 1;
        Some(self.next_index - 1)
    }

    /// Returns `true` if more is to be done for each child than to count it: for an observer, a
    /// semaphore or a gate.
    pub(crate) fn needs_more(&self) -> bool {
        self.log.is_some() || self.permits.is_some() || self.passes.is_some()
    }

    /// Returns `true` if the child of a newcomer starts at once, and that concerns no other.
    #[inline]
    pub(crate) fn must_only_start(&self, request: Request<'_>, stopped: bool) -> bool {
        debug_assert!(!self.needs_more(), "then children do not come here");
        !self.has_freed_room
            && request.key.is_none()
            && self.fits(request.weight)
            && self.refusal(stopped).is_none()
            && self.queue.is_empty()
            && self.starting.is_empty()
    }

    /// Returns `true` if the child of a newcomer is to be queued, and that changes nothing but the
    /// queue: the head comes before it, and goes on waiting.
    #[inline]
    pub(crate) fn must_only_queue(&self, request: Request<'_>, stopped: bool) -> bool {
        debug_assert!(!self.needs_more(), "then children do not come here");
        !self.has_freed_room
            && self.queue_refusal(stopped).is_none()
            && !self.queue.yields_to(request.priority)
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
            self.note_unique_start(child.request(), self.next_start);
            self.add_start(StartSlot::Child(child));
        }
    }

    /// Takes note of a unique child that has room and starts in that slot.
    fn note_unique_start(&mut self, request: Request<'_>, slot: u64) {
        if let (true, Some(key)) = (request.unique, request.key) {
            self.queue.note_unique_start(key, slot);
        }
    }

    /// Starts a child for which there is room.
    #[inline(never)]
    pub(crate) fn start_only(&mut self, child: QueuedChild) {
        self.take_plain_room(child.request().weight);
        self.start(child, None);
    }

    /// Queues a child behind all others of its priority.
    #[inline(never)]
    pub(crate) fn enqueue(&mut self, child: QueuedChild) {
        let position = self.queue.next_position(child.request().priority);
        self.enqueue_at(position, child);
    }

    #[inline(always)]
    fn enqueue_at(&mut self, position: Position, child: QueuedChild) {
        self.queued += 1;
        if let Some(log) = &mut self.log {
            log.queued(child.key, child.options.boxed());
        }
        if let Some(id) = child.join {
            let key = child.request().key.cloned();
            if !self.joins().enqueue(id, position, key) {
                return self.drop_aborted(child);
            }
        }
        if child.is_fed() {
            self.queue.add_fed();
        }
        let key = child.request().key.map(|key| self.queue.use_key(key));
        self.queue.insert(position, Entry::Child(child), key);
    }

    /// Returns why a newcomer is refused, or `None` if it is accepted.
    pub(crate) fn refusal(&self, stopped: bool) -> Option<Refused> {
        // A stop comes before a close, unless it is the one of the group's own end.
        if self.closing && (self.finished || !stopped) {
            Some(Refused::Closed)
        } else {
            (stopped || self.phase >= GroupPhase::Resolved).then_some(Refused::Stopped)
        }
    }

    /// Returns why a child without room is not queued, or `None` if it is.
    pub(crate) fn queue_refusal(&self, stopped: bool) -> Option<Refused> {
        if self.finished {
            return Some(Refused::Closed);
        }
        let is_full = self.queue_limit.is_some_and(|limit| self.queued >= limit);
        self.refusal(stopped).or(is_full.then_some(Refused::AtLimit))
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
        match child.options {
            _ if self.looks_at_all || child.join.is_some() => self.start_known(child, key),
            ChildOptions::Inline { weight, priority, key: None, .. } => {
                self.start_simple_child(child.key, weight as usize, priority);
            }
            ChildOptions::Inline { weight, priority, key: of, .. } if key.is_some() => {
                let (weight, key_id) = (weight as usize, key);
                let known = Running { weight, priority, key: of, key_id, ..Running::PLAIN };
                self.ready.push_back(child.key);
                self.running.push(self.next_index as u64, known);
                self.next_index += 1;
            }
            _ => self.start_known(child, key),
        }
    }

    /// Starts a child of which more is known than that it runs.
    #[inline(never)]
    fn start_known(&mut self, child: QueuedChild, key: Option<KeyId>) {
        let index = self.next_index;
        self.next_index += 1;
        self.ready.push_back(child.key);
        self.remember(index, child, key);
    }

    /// Starts a child that has at most a weight and a priority.
    #[inline]
    fn start_simple_child(&mut self, child: ChildKey, weight: usize, priority: i32) {
        self.ready.push_back(child);
        if weight != 1 {
            let child = Running { weight, priority, ..Running::PLAIN };
            self.running.push(self.next_index as u64, child);
        }
        self.next_index += 1;
    }

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
        let index = self.started();
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
        let first = self.started();
        let spawned = core::mem::replace(&mut self.spawned, self.ready.len());
        for (index, key) in (first + spawned..).zip(self.ready.range(spawned..).copied()) {
            let observed = self.log.as_ref().and_then(|_| self.running.get_mut(index as u64));
            take(index, key, observed.and_then(|child| child.name.as_ref()));
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
        if self.must_process() {
            self.process_entries(stopped, effects);
        } else {
            effects.notify |= self.has_ready();
        }
    }

    /// Returns `true` if something waits for room that is freed, or for an end.
    #[inline]
    fn must_process(&self) -> bool {
        self.has_freed_room
            || !self.queue.is_empty()
            || !self.starting.is_empty()
            || self.recheck_end
            || self.permits.is_some()
            || self.passes.is_some()
    }

    #[inline(never)]
    fn process_entries(&mut self, stopped: bool, effects: &mut Effects) {
        let mut lacks_permit = false;
        let admits = !stopped && self.phase < GroupPhase::Resolved;
        self.is_revoking = admits && self.reserved > 0 && self.revoke();
        effects.notify |= self.is_revoking;
        if !self.is_revoking && !self.held_back.is_empty() {
            self.tell_held_back(effects);
        }
        if admits && !self.queue.is_empty() {
            lacks_permit = self.admit_queue(effects);
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
            let head = self.queue.first().map(|(_, entry)| entry.weight());
            let lacks_pass = lacks_permit && head.is_some_and(|weight| !passes.has_spare(weight));
            lacks_permit &= !lacks_pass;
            if lacks_pass {
                // No child passes the head, so no other can use them.
                passes.give_up_spare();
            }
            effects.notify |= core::mem::replace(&mut passes.wanted, lacks_pass) != lacks_pass;
            effects.notify |= core::mem::take(&mut passes.notify);
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
        self.start_simple();
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
            if !self.take_permit(weight) {
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

    /// Starts the children at the head of the queue that need nothing but room, while it lasts.
    fn start_simple(&mut self) {
        if self.needs_more()
            || self.looks_at_all
            || !self.starting.is_empty()
            || self.queue.has_held()
        {
            return;
        }
        while let Some(head) = self.queue.simple_head() {
            let SimpleHead { key, weight, priority, of, .. } = head;
            if !self.fits(weight) {
                return;
            }
            match of {
                None => {
                    self.queue.forget_simple_head(head);
                    self.take_plain_room(weight);
                    self.start_simple_child(key, weight, priority);
                }
                Some(of) => {
                    let Some(child) = self.queue.pop_simple_head(of) else { return };
                    self.take_room(weight, Some(of));
                    self.start(child, Some(of));
                }
            }
            self.queued -= 1;
        }
    }

    /// Starts the children at the front of `starting`, up to the first reservation.
    fn start_front(&mut self) {
        while let Some((_, StartSlot::Child(_))) = self.starting.first() {
            if let Some((_, StartSlot::Child(child))) = self.starting.pop() {
                self.start(child, None);
            }
        }
    }

    /// Adds what has room and starts behind a reservation, or is one. Returns the number of its
    /// slot.
    fn add_start(&mut self, start: StartSlot) -> u64 {
        let slot = self.next_start;
        self.starting.push(slot, start);
        self.next_start += 1;
        slot
    }
}

// The paths are written out since packages of tests compile this file as well.
#[path = "state/ends.rs"]
mod ends;
#[cfg(not(loom))]
#[path = "state/inspect.rs"]
mod inspect;
#[cfg(all(test, not(loom)))]
#[path = "state/tests.rs"]
pub(crate) mod tests;
#[path = "state/waiters.rs"]
mod waiters;
