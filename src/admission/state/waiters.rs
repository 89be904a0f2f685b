//! Waiters: callers of `go`, `feed`, `reserve` or `ready` that wait for room.

use alloc::sync::Arc;
use core::task::Waker;

use super::starts::StartSlot;
use super::{Caller, Effects, State};
use crate::admission::events::Name;
use crate::admission::passes::Pass;
use crate::admission::queue::{Entry, KeyId, Position, QueuedChild, Request, WaiterKey};
use crate::key::Key;
use crate::util::current::current_child;

/// So many reservations are taken back at a time. The group's polls take back the others.
const REVOKED_AT_ONCE: usize = 64;

/// Capacity for this many waiters that have got their turn at once is kept.
const RETAINED_KEYS: usize = 64;

/// A caller of `go`, `feed`, `reserve` or `ready` that waits for room, or has it reserved, and then
/// delivers a child.
pub(super) struct Waiter {
    pub(super) stage: WaiterStage,
    pub(super) weight: usize,
    /// A `go` knows the key of its child, a `feed` does not.
    pub(super) key: Option<Key>,
    unique: bool,
    feed: bool,
    /// The child's, for a gate or a snapshot.
    pub(super) name: Name,
    /// What it has beside room that is reserved, in a group with gates.
    pub(super) pass: Option<Pass>,
    /// It has had its turn in a `reserve`, and its room is [detached](WaiterStage::Reserved::slot)
    /// if it has any.
    pub(super) detached: bool,
    pub(super) caller: Caller,
    /// `None` once it has been woken, and for the group's own task.
    pub(super) waker: Option<Waker>,
    /// The running child inside which it was polled last.
    pub(super) inside: Option<usize>,
}

/// How far reservations have been taken back since the limit changed, by the numbers of their slots
/// in the order of starts.
#[derive(Clone, Copy, Default)]
pub(super) struct Revocation {
    /// Those from here on were made later, or taken back.
    below: u64,
    /// Those between this and `below` take no room, but for the `target`.
    looked_below: u64,
    /// The next one that gives room back. Those behind it are taken back first.
    target: Option<u64>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum WaiterStage {
    Waiting(Position),
    /// It is to put its child into the queue, since waiting could never end.
    MustQueue(Position),
    Reserved {
        /// Its place in the order of starts. `None` if the room is *detached*: its owner may keep
        /// it for long, and holds up no other child.
        slot: Option<u64>,
        position: Position,
        /// Its owner has been polled since, and knows.
        claimed: bool,
        /// It had its turn before, as [`MustQueue`](Self::MustQueue), and has it again if the room
        /// is revoked.
        must_queue: bool,
    },
    /// The group has stopped, or was closed before the waiter had its turn.
    Stopped,
}

/// A poll of a waiter.
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

// === impl Waiter, WaiterPoll ===

impl Waiter {
    pub(super) fn new(stage: WaiterStage, request: Request<'_>, caller: Caller) -> Self {
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
    pub(super) fn entry(&self, key: WaiterKey, key_id: Option<KeyId>) -> Entry {
        let Self { weight, unique, feed, .. } = *self;
        Entry::Waiter { key, weight, key_id, unique, feed }
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

// === waiting for room ===

impl State {
    /// Registers a newcomer that has to wait. Returns `None` if it can't be told of its turn: it
    /// needs a clone of its waker.
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
        let key_id = request.key.map(|key| self.queue.use_key(key));
        let entry = waiter.entry(self.waiters.next_key(), key_id);
        let key = self.waiters.insert(waiter);
        self.queue.insert(position, entry);
        self.set_inside(key, current_child(poller.group));
        Some(key)
    }

    /// Reserves the room that a newcomer has taken for a child that it does not have yet.
    pub(crate) fn reserve_newcomer(&mut self, request: Request<'_>, caller: Caller) -> WaiterKey {
        let position = self.queue.next_position(request.priority);
        let key = self.waiters.insert(Waiter::new(WaiterStage::Waiting(position), request, caller));
        self.reserve(key, position, true);
        key
    }

    /// Takes a waiter that has its turn out of the order of starts.
    pub(crate) fn detach(&mut self, key: WaiterKey) {
        let Some(waiter) = self.waiters.get_mut(key) else { return };
        waiter.detached = true;
        if let WaiterStage::Reserved { slot, claimed, .. } = &mut waiter.stage {
            *claimed = true;
            if let Some(slot) = slot.take() {
                self.detached += 1;
                self.starts.remove(slot);
            }
        }
    }

    /// Looks whether a waiter has its turn; if not, registers its task.
    pub(crate) fn poll_waiter(&mut self, key: WaiterKey, poller: &mut WaiterPoll<'_>) -> Acquire {
        if self.is_revoking && self.is_unclaimed(key) {
            return self.hold_back(key, poller);
        }
        if poller.caller == Caller::Group {
            self.check_key_room(key);
        }
        let Some(waiter) = self.waiters.get_mut(key) else {
            debug_assert!(false, "a waiter is polled that has gone");
            return Acquire::Stopped;
        };
        match &mut waiter.stage {
            WaiterStage::Stopped => return Acquire::Stopped,
            WaiterStage::MustQueue(_) => {}
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

    /// Lets a waiter whose reservation may still be taken back wait until that is decided. If it is
    /// taken back, the waiter waits on.
    fn hold_back(&mut self, key: WaiterKey, poller: &mut WaiterPoll<'_>) -> Acquire {
        if current_child(poller.group).is_some() {
            // It is decided now: a child that waits has to be known as one.
            self.revoke_all();
            return self.poll_waiter(key, poller);
        }
        let Some(waiter) = self.waiters.get_mut(key) else { return Acquire::Stopped };
        if let WaiterStage::Reserved { must_queue: true, .. } = waiter.stage {
            self.take_back(key);
            return Acquire::Ready;
        }
        // One that was held back before has its waker here.
        let is_first = waiter.waker.is_none() && self.held_back.last() != Some(&key);
        if !poller.is_registered(waiter) {
            return Acquire::NeedsWaker;
        }
        if is_first {
            self.held_back.push(key);
        }
        Acquire::Pending
    }

    /// Takes the reservation of a `go` of the group itself back if its key has lost the room: the
    /// `go` waits on. (That of a handle queues its child.)
    fn check_key_room(&mut self, key: WaiterKey) {
        let Some(waiter) = self.waiters.get(key) else { return };
        if let (WaiterStage::Reserved { .. }, Some(of)) = (waiter.stage, &waiter.key) {
            if self.queue.exceeds_key_limit(of, waiter.weight) {
                self.take_back(key);
            }
        }
    }

    /// Returns `true` if [`fill`](Self::fill) accepts the child of this waiter.
    pub(crate) fn has_turn(&self, key: WaiterKey) -> bool {
        let stage = self.waiters.get(key).map(|waiter| waiter.stage);
        matches!(stage, Some(WaiterStage::Reserved { .. } | WaiterStage::MustQueue(_)))
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
            WaiterStage::Reserved { slot, position, .. } => {
                // It keeps the position. Behind the next waiters of the same feed, each of its
                // children would find room reserved, and go to the queue.
                let priority = request.priority.max(position.priority);
                let position = Position { priority, ..position };
                let fits_key = match request.key {
                    // The room is in this key, unless its limit was lowered since.
                    Some(of) if key.is_some() => !self.queue.exceeds_key_limit(of, weight),
                    _ => {
                        self.queue.has_key_room(request, position)
                            && slot.is_none_or(|slot| !self.precedes_unique(slot, request.key))
                    }
                };
                self.detached -= usize::from(slot.is_none());
                self.reserved -= 1;
                let key = key.and_then(|key| self.queue.find_key(&key));
                self.put_room_back(weight, key);
                // Detached room is not taken back when the limit is lowered, so it looks again.
                let fits_group =
                    (slot.is_some() && request.weight <= weight) || self.room.fits(request.weight);
                if fits_group && fits_key {
                    self.take_room_for(request);
                    match slot {
                        Some(slot) => self.fill_start(slot, child, pass),
                        None => self.admit_with(child, pass),
                    }
                    return;
                }
                if let Some(slot) = slot {
                    self.starts.remove(slot);
                }
                self.room.passes.give_up(pass);
                self.room.free_permits(1);
                self.enqueue_at(position, child);
                self.recheck_end = true;
            }
            WaiterStage::Stopped => {
                debug_assert!(false, "a child comes of a waiter that has stopped");
                self.enqueue(child);
            }
        }
    }

    /// Leaves the pass of a waiter to the next child of its weight.
    pub(crate) fn spare_pass(&mut self, key: WaiterKey) {
        let Some(waiter) = self.waiters.get_mut(key) else { return };
        if let Some(pass) = waiter.pass.take() {
            self.room.passes.add(waiter.weight, pass);
        }
    }

    /// Forgets a waiter that has gone; room that is reserved for it is free.
    pub(crate) fn abandon(&mut self, key: WaiterKey, effects: &mut Effects) {
        self.set_inside(key, None);
        let Some(waiter) = self.waiters.remove(key) else {
            return;
        };
        effects.discard = waiter.waker;
        self.room.passes.give_up(waiter.pass);
        let key = waiter.key.as_ref();
        match waiter.stage {
            WaiterStage::Waiting(position) | WaiterStage::MustQueue(position) => {
                self.queue.remove(position, key);
            }
            WaiterStage::Reserved { slot, .. } => {
                match slot {
                    Some(slot) => self.starts.remove(slot),
                    None => self.detached -= 1,
                }
                self.reserved -= 1;
                self.free_room(waiter.weight, key.and_then(|key| self.queue.find_key(key)));
            }
            WaiterStage::Stopped => {}
        }
        self.group_turn &= waiter.caller != Caller::Group;
        self.recheck_end = true;
    }

    /// Reserves room that has been taken: the waiter starts its child in this order.
    pub(super) fn reserve(&mut self, key: WaiterKey, position: Position, claimed: bool) {
        self.reserved += 1;
        let slot = self.starts.next_slot();
        let Some(waiter) = self.waiters.get_mut(key) else { return };
        waiter.pass = self.room.passes.give();
        let must_queue = matches!(waiter.stage, WaiterStage::MustQueue(_));
        if waiter.detached {
            waiter.stage =
                WaiterStage::Reserved { slot: None, position, claimed: true, must_queue };
            self.detached += 1;
            return;
        }
        waiter.stage = WaiterStage::Reserved { slot: Some(slot), position, claimed, must_queue };
        if let (true, Some(of)) = (waiter.unique, &waiter.key) {
            self.queue.record_unique_start(of, slot);
        }
        self.starts.push(StartSlot::Reserved(key));
    }

    /// Returns `true` if a unique child of that key has room, and starts after that slot. It would
    /// start beside another one of its key that starts there.
    fn precedes_unique(&self, slot: u64, key: Option<&Key>) -> bool {
        let start = key.and_then(|key| self.queue.unique_start(key));
        start.is_some_and(|start| start > slot && self.starts.contains(start))
    }

    /// Puts a child into the slot that was reserved for it.
    fn fill_start(&mut self, slot: u64, child: QueuedChild, pass: Option<Pass>) {
        self.record_unique_start(child.request(), slot);
        if let Err(child) = self.starts.fill(slot, child, pass) {
            debug_assert!(false, "a reservation has no slot");
            self.admit_with(child, pass);
        }
    }

    /// Records inside which running child a waiter in the queue is polled; daemons do not count.
    pub(super) fn set_inside(&mut self, key: WaiterKey, inside: Option<usize>) {
        let Some(waiter) = self.waiters.get_mut(key) else {
            return;
        };
        let (WaiterStage::Waiting(position) | WaiterStage::MustQueue(position)) = waiter.stage
        else {
            return;
        };
        let running = &self.running;
        let inside = inside.filter(|&index| !running.get(index).is_some_and(|child| child.daemon));
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

// === having a turn, and losing it ===

impl State {
    /// Lets the reservations that there are now be looked at anew: the limit has changed.
    pub(super) fn begin_revocation(&mut self) {
        let below = self.starts.next_slot();
        self.revocation = Revocation { below, looked_below: below, target: None };
    }

    /// Takes room back after the limit was lowered: from reservations that are not claimed yet,
    /// the newest first, up to one that a child is behind. Returns `true` if there are more than
    /// are taken back at a time; until they are, none can be claimed.
    #[inline]
    pub(super) fn revoke(&mut self) -> bool {
        self.room.is_over_limit() && self.revoke_some(REVOKED_AT_ONCE)
    }

    /// Takes back at once what is left to be taken back.
    pub(super) fn revoke_all(&mut self) {
        self.is_revoking = self.is_revoking && self.revoke_some(usize::MAX);
    }

    fn revoke_some(&mut self, most: usize) -> bool {
        (0..most).all(|_| self.revoke_next()) && self.room.is_over_limit()
    }

    /// Tells the waiters that were [held back](Self::hold_back) and have kept their reservations.
    pub(super) fn tell_held_back(&mut self, effects: &mut Effects) {
        for key in core::mem::take(&mut self.held_back) {
            if self.has_turn(key) {
                self.tell(key, effects);
            }
        }
    }

    /// Takes one reservation back, or looks at one more. Returns `false` if none is left.
    ///
    /// One that takes no room gives none back. It is taken back only before one that does, and that
    /// came earlier: it must not overtake that one. So first such a one is looked for.
    fn revoke_next(&mut self) -> bool {
        if !self.room.is_over_limit() {
            return false;
        }
        let Revocation { below, looked_below, mut target } = self.revocation;
        if target.is_none() {
            let Some((slot, StartSlot::Reserved(key))) = self.starts.last_below(looked_below)
            else {
                return false;
            };
            let key = *key;
            if !self.is_unclaimed(key) {
                return false;
            }
            self.revocation.looked_below = slot;
            let takes_room = |it: &Waiter| it.weight > 0 || self.room.limit() == Some(0);
            if !self.waiters.get(key).is_some_and(takes_room) {
                return true;
            }
            target = Some(slot);
        }
        match self.starts.last_below(below) {
            Some((slot, StartSlot::Reserved(key))) if Some(slot) >= target => {
                let key = *key;
                self.revocation.below = slot;
                self.revocation.target = target.filter(|target| *target != slot);
                self.take_back(key);
            }
            // Its waiter has gone meanwhile.
            _ => self.revocation.target = None,
        }
        true
    }

    /// Returns `true` if a waiter has room reserved that it has not claimed.
    fn is_unclaimed(&self, key: WaiterKey) -> bool {
        let waiter = self.waiters.get(key);
        waiter.is_some_and(|it| matches!(it.stage, WaiterStage::Reserved { claimed: false, .. }))
    }

    /// Takes the reservation of a waiter back, which returns to its position.
    fn take_back(&mut self, key: WaiterKey) {
        let Some(waiter) = self.waiters.get_mut(key) else { return };
        let WaiterStage::Reserved { slot: Some(slot), position, must_queue, .. } = waiter.stage
        else {
            return;
        };
        let mut inside = None;
        if must_queue {
            waiter.stage = WaiterStage::MustQueue(position);
        } else {
            waiter.stage = WaiterStage::Waiting(position);
            self.group_turn &= waiter.caller != Caller::Group;
            // Its child is not woken in vain, so it is blocked as before.
            inside = self.nested.remove_wake(key);
        }
        let (weight, pass, of) = (waiter.weight, waiter.pass.take(), waiter.key.clone());
        self.room.passes.give_up(pass);
        self.starts.remove(slot);
        self.reserved -= 1;
        let of_room = of.as_ref().and_then(|of| self.queue.find_key(of));
        self.free_room(weight, of_room);
        // The key may have got another number.
        let key_id = of.as_ref().map(|of| self.queue.use_key(of));
        let Some(waiter) = self.waiters.get(key) else { return };
        self.queue.insert(position, waiter.entry(key, key_id));
        if inside.is_some() {
            self.set_inside(key, inside);
        }
    }

    /// Lets the oldest nested waiter put its child into the queue, if waiting could never end:
    /// every running child contains a waiter.
    pub(super) fn unblock(&mut self, effects: &mut Effects) {
        // A reservation's owner brings a child that may run, or gives the room back; but that of a
        // detached one may be a child that waits.
        let stuck = self.reserved == self.detached
            && !self.keeps_room
            && self.nested.blocked_children() + self.running.daemons()
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
    pub(super) fn leave_child(&mut self, key: WaiterKey, position: Position) {
        let Some(waiter) = self.waiters.get_mut(key) else { return };
        if let Some(child) = waiter.inside.take() {
            if waiter.caller != Caller::Group {
                self.nested.add_wake(key, child);
            }
            self.nested.remove(position.arrival, child);
        }
    }

    /// Tells a waiter that it has its turn; no other function does.
    pub(super) fn tell(&mut self, key: WaiterKey, effects: &mut Effects) {
        if self.waiters.get(key).is_some_and(|waiter| waiter.caller == Caller::Group) {
            self.group_turn = true;
            effects.notify = true;
        } else {
            self.to_wake.push(key);
        }
    }

    /// Takes the wakers of the waiters that have got their turn, but for those that have been
    /// polled since.
    #[inline]
    pub(crate) fn take_to_wake(&mut self, effects: &mut Effects) {
        if !self.to_wake.is_empty() {
            self.take_wakers_of_turns(effects);
        }
        self.nested.clear_wakes();
    }

    fn take_wakers_of_turns(&mut self, effects: &mut Effects) {
        let Self { to_wake, waiters, .. } = self;
        for key in to_wake.drain(..) {
            let Some(waiter) = waiters.get_mut(key) else { continue };
            if let WaiterStage::MustQueue(_) | WaiterStage::Reserved { claimed: false, .. } =
                waiter.stage
            {
                waiter.waker.take().into_iter().for_each(|waker| effects.wake.push(waker));
            }
        }
        to_wake.shrink_to(RETAINED_KEYS);
    }
}
