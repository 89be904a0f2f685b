//! The children that run, the ones that wait, and which of them is next.
//!
//! A [`State`] is plain data: nothing is locked, woken, spawned or dropped in here, and it does
//! not depend on the type of the children, which are known by their keys. After a change the caller
//! [processes the queue](State::process_queue) and carries out the [`Effects`]; the ways to do so
//! are listed in the head of `shared.rs`.
//!
//! Its parts keep their own counts: [`Lifecycle`], how far the group has come; [`Room`], what is
//! taken of the limit; [`Starts`], the order in which children start; [`RunningChildren`], what is
//! known of them; [`WaitQueue`], the order in which the others are admitted. The state is what
//! concerns more than one of them. What it says of newcomers is in `newcomers.rs`.
//!
//! # Invariants, whenever the queue has been processed
//!
//! - The head of `queue` does not fit, or lacks only a permit; or `queue` has no head, since all
//!   its entries wait for their keys, or it is empty.
//! - The first slot of `starts`, if there is one, is `Reserved`: children start in the order in
//!   which they got room.
//! - `room` is what running children and reservations take. With a semaphore, each of them has a
//!   permit. Those that have a key take as much room in it.
//! - A waiter is in `queue` exactly while it is `Waiting` or `MustQueue`, and has a slot of
//!   `starts` exactly while it is `Reserved`.
//! - If every running child but the daemons contains a waiter, and nothing is reserved but what is
//!   detached, the oldest of these waiters is `MustQueue`.
//! - Once the group is closing, no waiter is `Waiting`, unless a limit was lowered since.
//! - From `GroupPhase::Resolved` on nothing is admitted or queued. What is in the queue by then is
//!   dropped by the stop that follows.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;

pub(crate) use self::lifecycle::GroupPhase;
use self::lifecycle::Lifecycle;
use self::room::Room;
use self::running::{Running, RunningChildren};
use self::starts::{StartSlot, Starts};
use self::waiters::Waiter;
pub(crate) use self::waiters::{Acquire, WaiterPoll};
use super::ended::{EndNotes, Ended};
use super::events::{EventLog, Name, name};
use super::inspector::Inspector;
use super::joins::Joins;
use super::nested::Nested;
use super::passes::{Asked, Pass};
use super::queue::{
    ChildKey, ChildOptions, Entry, KeyId, Position, QueuedChild, Request, SimpleHead, WaitQueue,
    WaiterKey,
};
use crate::child::task::Options;
use crate::key::Key;
use crate::observe::Outcome;
use crate::stats::Stats;
use crate::util::slab::Slab;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) room: Room,
    pub(crate) starts: Starts,
    pub(crate) running: RunningChildren,
    pub(crate) queue: WaitQueue,
    /// How many children are queued.
    queued: usize,
    /// How many children may be.
    pub(crate) queue_limit: Option<usize>,
    waiters: Slab<Waiter>,
    nested: Nested,
    /// How many waiters have room reserved.
    reserved: usize,
    /// How many of them are [detached](waiters::WaiterStage::Reserved::slot).
    detached: usize,
    /// A feed of the group itself asks its stream, and has [kept](Self::keep_room) room for a
    /// child.
    keeps_room: bool,
    /// Waiters that have got their turn and are to be woken.
    to_wake: Vec<WaiterKey>,
    /// A waiter of the group's own task has its turn or is refused, and was not polled since.
    pub(crate) group_turn: bool,
    /// The limit was lowered, and [more](Self::revoke) reservations are to be taken back.
    pub(crate) is_revoking: bool,
    revocation: waiters::Revocation,
    /// Waiters that were polled meanwhile, and wait until that is done.
    held_back: Vec<WaiterKey>,
    ok: usize,
    failed: usize,
    dropped: usize,
    notes: EndNotes,
    ended: Ended,
    /// How many finished children keep their room until an earlier result has been fetched.
    pub(crate) blocked_results: usize,
    /// From the first joinable child on.
    joins: Option<Box<Joins>>,
    /// Kept for an observer.
    pub(crate) log: Option<Box<EventLog>>,
    /// Of a group with a name, whose children are all remembered.
    pub(crate) inspector: Option<Arc<Inspector>>,
    /// There is an observer or an inspector, and so each child that starts is looked at.
    pub(crate) looks_at_all: bool,
    /// There are gates or an inspector, and so a waiter has its child's name.
    names_waiters: bool,
    /// The policy may ask for the names of the children that finish.
    pub(crate) keeps_names: bool,
    /// An executor runs the children.
    spawns: bool,
    /// Children have ended, before any stop, whose room was not given to the queue yet, and
    /// something [waits](Self::must_process).
    pub(crate) has_freed_room: bool,
    /// A waiter or a hold has gone that may have held the group open.
    recheck_end: bool,
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

/// What becomes of a newcomer, if that concerns no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Simply {
    Starts,
    /// It is queued.
    Waits,
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
    /// The group's task has work: children to take in or drop, an end, a permit or a gate to wait
    /// for, guards to drop.
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

// === impl Effects, Wakers ===

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
        let (room, starts) = (Room::resume(limit, occupied), Starts::resume(next_index));
        Self { room, starts, ok, failed, dropped, ..Self::default() }
    }

    /// Records the weight of a running child of a group that resumes. They come in order.
    pub(super) fn resume_weight(&mut self, index: usize, weight: usize) {
        self.room.resume_weight(weight);
        self.running.add(index, Running { weight, ..Running::PLAIN });
    }

    /// Returns how many children run or have ended without the policy being told.
    fn running(&self) -> usize {
        self.holding() - self.reserved - usize::from(self.keeps_room)
    }

    /// Returns how many running children and reservations there are, and counts room that is kept.
    fn holding(&self) -> usize {
        self.room.occupied() + self.ended.roomless
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.told_stats();
        self.ended.apply(&mut stats);
        stats
    }

    /// Returns the numbers as far as the policy was told.
    fn told_stats(&self) -> Stats {
        let Self { queued, ok, failed, dropped, .. } = *self;
        Stats { limit: self.room.limit(), queued, running: self.running(), ok, failed, dropped }
    }

    /// Returns `true` if the policy was told of a child.
    pub(crate) fn has_told_policy(&self) -> bool {
        self.ok > 0 || self.failed > 0
    }

    /// Returns `true` if a child was ever accepted.
    pub(crate) fn has_accepted(&self) -> bool {
        self.starts.count() > 0 || self.running() > 0 || self.queued > 0 || self.dropped > 0
    }

    /// Sets the limit of a group that is being made.
    pub(crate) fn start_with_limit(&mut self, limit: usize) {
        self.room.set_limit(Some(limit));
    }

    pub(crate) fn set_limit(&mut self, limit: Option<usize>) {
        if self.room.set_limit(limit) {
            if let Some(log) = &mut self.log {
                log.limit_changed(limit);
            }
        }
        self.begin_revocation();
    }

    /// Returns what a gate is told of the head of the queue, or `None` if it lacks no pass.
    pub(crate) fn asked(&self) -> Option<Asked> {
        if !self.room.lacks_pass() {
            return None;
        }
        Some(match self.queue.first()?.1 {
            Entry::Child(child) => Asked::new(child.request()),
            Entry::Waiter { key, weight, .. } => {
                let waiter = self.waiters.get(*key)?;
                let (key, name) = (waiter.key.as_ref(), waiter.name.as_deref());
                Asked::new(Request { weight: *weight, key, name, ..Request::PLAIN })
            }
        })
    }

    /// Returns `true` if the head of the queue fits, and the group is to ask a gate or the
    /// semaphore.
    pub(crate) fn must_ask(&self) -> bool {
        self.room.lacks_permit() || self.room.lacks_pass()
    }

    /// Takes room in the group, and in the key of a child or a waiter.
    #[inline]
    fn take_room(&mut self, weight: usize, key: Option<KeyId>) {
        self.room.take(weight);
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

    /// Frees room whose permit is kept.
    #[inline]
    fn put_room_back(&mut self, weight: usize, key: Option<KeyId>) {
        self.room.put_back(weight);
        if let Some(key) = key {
            self.queue.free_key(key, weight);
        }
    }

    /// Frees room in the group, and in the key of a child or a waiter.
    #[inline]
    pub(crate) fn free_room(&mut self, weight: usize, key: Option<KeyId>) {
        self.put_room_back(weight, key);
        self.room.give_beside_back();
    }
}

// === accepting children ===

impl State {
    /// Admits a child that has room; it starts once the children before it have.
    #[inline]
    pub(crate) fn admit(&mut self, child: QueuedChild) {
        let pass = self.room.passes.give();
        self.admit_with(child, pass);
    }

    /// Admits it with its pass.
    #[inline]
    fn admit_with(&mut self, child: QueuedChild, pass: Option<Pass>) {
        if self.starts.is_clear() {
            self.start(child, pass);
        } else {
            self.record_unique_start(child.request(), self.starts.next_slot());
            self.starts.push(StartSlot::Child(child, pass));
        }
    }

    /// Records a unique child that has room and starts in that slot.
    fn record_unique_start(&mut self, request: Request<'_>, slot: u64) {
        if let (true, Some(key)) = (request.unique, request.key) {
            self.queue.record_unique_start(key, slot);
        }
    }

    /// Starts a child for which there is room.
    #[inline(never)]
    pub(crate) fn start_only(&mut self, child: QueuedChild) {
        self.room.take(child.request().weight);
        self.start(child, None);
    }

    /// Queues a child behind all others of its priority.
    #[inline(never)]
    pub(crate) fn enqueue(&mut self, child: QueuedChild) {
        let position = self.queue.next_position(child.request().priority);
        self.enqueue_at(position, child);
    }

    #[inline(always)]
    fn enqueue_at(&mut self, position: Position, mut child: QueuedChild) {
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
        child.options.set_key_id(key);
        self.queue.insert(position, Entry::Child(child));
    }

    #[inline]
    fn start(&mut self, child: QueuedChild, pass: Option<Pass>) {
        match child.options {
            _ if self.looks_at_all || child.join.is_some() || pass.is_some() => {
                self.start_known(child, pass);
            }
            ChildOptions::Inline { weight, priority, key: None, .. } => {
                self.start_simple_child(child.key, weight as usize, priority);
            }
            ChildOptions::Inline { weight, priority, key: Some(key), key_id, .. } => {
                let key_id = key_id.or_else(|| self.queue.find_key(&key));
                let (weight, key) = (weight as usize, Some(key));
                let known = Running { weight, priority, key, key_id, ..Running::PLAIN };
                let index = self.starts.start(child.key);
                self.running.add_uncounted(index, known);
            }
            ChildOptions::Boxed { .. } => self.start_known(child, pass),
        }
    }

    /// Starts a child of which more is known than that it runs.
    #[inline(never)]
    fn start_known(&mut self, child: QueuedChild, pass: Option<Pass>) {
        let index = self.starts.start(child.key);
        self.remember(index, child, pass);
    }

    /// Starts a child that has at most a weight and a priority.
    #[inline]
    fn start_simple_child(&mut self, child: ChildKey, weight: usize, priority: i32) {
        let index = self.starts.start(child);
        if weight != 1 {
            let child = Running { weight, priority, ..Running::PLAIN };
            self.running.add_uncounted(index, child);
        }
    }

    fn remember(&mut self, index: usize, child: QueuedChild, pass: Option<Pass>) {
        let Request { weight, priority, .. } = child.request();
        let QueuedChild { key: child, mut options, join } = child;
        let key = options.take_key();
        let key_id = options.key_id().or_else(|| self.queue.find_key(key.as_ref()?));
        let options = options.boxed().unwrap_or(&Options::DEFAULT);
        let Options { daemon, until_stop, .. } = *options;
        let is_kept = self.keeps_names || self.looks_at_all;
        let name = if is_kept { name(Some(options)) } else { None };
        if let Some(log) = &mut self.log {
            log.started(index, child, options, name.clone(), key.clone());
        }
        let is_known = daemon || until_stop || key.is_some() || pass.is_some() || join.is_some();
        if let Some(inspector) = &self.inspector {
            inspector.start(index);
        }
        if weight != 1 || is_known || name.is_some() || self.inspector.is_some() {
            self.running.add(
                index,
                Running { weight, priority, daemon, key, key_id, pass, until_stop, join, name },
            );
        }
    }

    /// Calls `take` with each started child for which that was not done before: its index and key,
    /// and for an observer its name.
    pub(crate) fn take_unspawned(
        &mut self,
        mut take: impl FnMut(usize, ChildKey, Option<&Arc<str>>),
    ) {
        for (index, key) in self.starts.take_unspawned() {
            let observed = self.log.as_ref().and_then(|_| self.running.get(index));
            take(index, key, observed.and_then(|child| child.name.as_ref()));
        }
    }
}

// === what the policy is told ===

impl State {
    /// Returns `true` if the policy is to be told more of a running child than its index.
    pub(crate) fn has_records(&self) -> bool {
        self.running.daemons() > 0 || (self.keeps_names && !self.running.is_empty())
    }
}

// === observing ===

impl State {
    /// Sets what depends on the other parts of the state, which is complete.
    pub(crate) fn prepare(&mut self, spawns: bool) {
        self.looks_at_all = self.log.is_some() || self.inspector.is_some();
        self.names_waiters = self.room.passes.are_needed || self.inspector.is_some();
        self.spawns = spawns;
    }

    /// Records how a running child has ended.
    pub(crate) fn log_finished(&mut self, index: usize, outcome: Outcome) {
        if let Some(log) = &mut self.log {
            let child = self.running.get(index);
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

// === processing the queue ===

impl State {
    /// Restores the invariants after a change.
    #[inline]
    pub(crate) fn process_queue(&mut self, stopped: bool, effects: &mut Effects) {
        self.has_freed_room = false;
        if self.must_process() {
            self.process_entries(stopped, effects);
        } else {
            effects.notify |= self.starts.has_started();
        }
    }

    /// Returns `true` if something waits for room that is freed, or for an end.
    #[inline]
    fn must_process(&self) -> bool {
        self.has_freed_room
            || !self.queue.is_empty()
            || !self.starts.is_clear()
            || self.recheck_end
            || self.room.needs_beside()
    }

    #[inline(never)]
    fn process_entries(&mut self, stopped: bool, effects: &mut Effects) {
        let mut lacks_more = false;
        let admits = self.lifecycle.admits(stopped);
        self.is_revoking = admits && self.reserved > 0 && self.revoke();
        effects.notify |= self.is_revoking;
        if !self.is_revoking && !self.held_back.is_empty() {
            self.tell_held_back(effects);
        }
        // Those that were taken back must not overtake those whose turn is still to be taken back.
        if admits && !self.is_revoking && !self.queue.is_empty() {
            lacks_more = self.admit_queue(effects);
        }
        if !self.starts.is_clear() {
            self.start_front();
        }
        // After a stop as well: each waiter is woken then, and refused whatever its stage.
        if self.nested.blocked_children() > 0 {
            self.unblock(effects);
        }
        if self.room.needs_beside() {
            let Self { room, queue, .. } = self;
            room.record_lack(lacks_more, || queue.first().map(|(_, head)| head.weight()), effects);
        }
        let recheck_end = core::mem::take(&mut self.recheck_end);
        let may_end = || self.is_over(stopped) || (!stopped && self.has_only_daemons());
        effects.notify |= self.starts.has_started() || (recheck_end && may_end());
    }

    /// Gives room to the head of the queue while it fits. Returns `true` if the head then lacks
    /// only what it needs beside room.
    fn admit_queue(&mut self, effects: &mut Effects) -> bool {
        self.start_simple();
        loop {
            if self.queue.has_parked_feed() && self.may_feed() {
                self.queue.unpark_feed();
            }
            let Some((_, entry)) = self.queue.first() else { return false };
            let weight = entry.weight();
            if entry.is_feed() && !self.may_feed() {
                self.queue.park_feed();
                continue;
            }
            if !self.room.fits(weight) {
                return false;
            }
            if !self.room.take_beside(weight) {
                return true;
            }
            match self.queue.pop() {
                Some((_, Entry::Child(child))) => {
                    self.leave_queue(&child);
                    self.take_room(weight, child.options.key_id());
                    let pass = self.room.passes.give();
                    self.admit_with(child, pass);
                }
                Some((position, Entry::Waiter { key, key_id, .. })) => {
                    self.take_room(weight, key_id);
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
            || !self.starts.is_clear()
            || self.queue.has_parked_feed()
        {
            return;
        }
        while let Some(head) = self.queue.simple_head() {
            let SimpleHead { key, weight, priority, key_id, .. } = head;
            if !self.room.fits(weight) {
                return;
            }
            match key_id {
                None => {
                    self.queue.forget_simple_head(head);
                    self.room.take(weight);
                    self.start_simple_child(key, weight, priority);
                }
                Some(id) => {
                    let Some(child) = self.queue.pop_simple_head(head, id) else { return };
                    self.take_room(weight, key_id);
                    self.start(child, None);
                }
            }
            self.queued -= 1;
        }
    }

    /// Starts the children that wait for no reservation any more.
    fn start_front(&mut self) {
        while let Some((child, pass)) = self.starts.pop_child() {
            self.start(child, pass);
        }
    }
}

// The paths are written out since packages of tests compile this file as well.
#[path = "state/ends.rs"]
mod ends;
#[cfg(not(loom))]
#[path = "state/inspect.rs"]
mod inspect;
#[path = "state/lifecycle.rs"]
mod lifecycle;
#[path = "state/newcomers.rs"]
mod newcomers;
#[path = "state/room.rs"]
mod room;
#[path = "state/running.rs"]
mod running;
#[path = "state/starts.rs"]
mod starts;
#[cfg(all(test, not(loom)))]
#[path = "state/tests.rs"]
pub(crate) mod tests;
#[path = "state/waiters.rs"]
mod waiters;
