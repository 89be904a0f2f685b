//! The promises of a group, in plain code. The model knows nothing of how a group keeps them.
//!
//! Each promise has one place. [`Model::fits`] says which child has room (limits, weights),
//! and [`Model::has_permit`] which has a permit (semaphores). [`Model::enqueue`] says what is
//! first in the queue (priorities), [`Model::is_over`] what keeps a group open (daemons), and
//! [`Model::cut_off`] what ends the running children (a grace). [`Rule`](crate::results::Rule)
//! says what a result means (policies). A new promise is added there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use errgroup::{Key, Reason, TryGoError};

use crate::results::{Ended, Output, Rule};

/// A child. The numbers are given in the order in which the children are made.
pub type Id = usize;
/// A `go` or a `feed` that waits.
pub type Ticket = usize;

/// Where a child is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// Not handed over yet: a `go` or a `feed` has it.
    Outside,
    Queued,
    /// Accepted, behind a waiter that has room reserved. It starts after that waiter's child.
    Held,
    /// Admitted, with its place in the order of admission.
    Running(usize),
    /// Finished, refused or dropped. The child is gone by now.
    Gone,
}

/// What was asked for a child.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traits {
    pub weight: usize,
    pub priority: i32,
    pub daemon: bool,
    pub until_stop: bool,
    /// What the child works on. Keys have no limits here, so they change nothing.
    pub key: Option<u8>,
}

impl Traits {
    pub const PLAIN: Self =
        Self { weight: 1, priority: 0, daemon: false, until_stop: false, key: None };
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry {
    Queued(Id),
    Waiter(Ticket),
}

/// The order in the queue: the higher priority first, then the earlier arrival.
type Rank = (Reverse<i32>, u64);

/// What has room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slot {
    Child(Id),
    /// A waiter whose room is reserved and not claimed yet.
    Reserved(Ticket),
}

#[derive(Debug)]
pub struct Waiter {
    /// The child within which it waits, which is woken in its place.
    pub inside: Option<Id>,
    pub kind: Kind,
    /// It was woken since it was last polled.
    pub woken: bool,
    /// It waits within a child, and is to put its own child into the queue.
    pub to_queue: bool,
    /// It waited when the group was closed.
    refused: bool,
    /// Where it is in the queue, or was before room was reserved for it.
    rank: Rank,
}

#[derive(Debug)]
pub enum Kind {
    Go(Id),
    Feed {
        items: VecDeque<Id>,
        ended: bool,
        stalled: bool,
        put: bool,
        admitted: usize,
    },
    /// It waits for room, and has no child yet.
    Reserve,
    /// The group itself waits until a child on offer would be admitted: behind all others.
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Ok,
    Wait,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    Ok,
    Failed,
    Panicked,
}

#[derive(Clone, Debug, PartialEq)]
pub enum End {
    Output(Output),
    Panic(Id),
}

/// How long children may go on after a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Grace {
    #[default]
    Endless,
    /// The stop has not come, or no child ran then.
    Waiting,
    Running,
    Over,
}

#[derive(Debug, Default)]
pub struct Model {
    pub limit: Option<usize>,
    /// How many permits the semaphore has that no other code holds, or `None` without a
    /// semaphore.
    pub permits: Option<usize>,
    /// The group waited at the semaphore when it was last polled.
    pub waited_for_permit: bool,
    pub rule: Rule,
    pub grace: Grace,
    /// How many children may be in the queue.
    pub queue_limit: Option<usize>,
    /// All children end with the stop.
    pub drops: bool,
    pub places: Vec<Place>,
    pub traits: Vec<Traits>,
    /// The queued children and the waiters.
    pub queue: BTreeMap<Rank, Entry>,
    /// How many arrivals there were.
    pub came: u64,
    pub waiters: BTreeMap<Ticket, Waiter>,
    /// How many waiters there were.
    pub tickets: usize,
    /// What has room and does not start before all earlier arrivals have come.
    pub starting: VecDeque<Slot>,
    /// The waiters that have room for as long as they like, and hold up no other child.
    pub detached: BTreeSet<Ticket>,
    /// Only daemons were left for a moment, between two children of a feed.
    pub was_over: bool,
    /// The group's own `ready`, while it polls the children.
    pub ready: Option<Ticket>,
    /// How many hold the group open.
    pub holds: usize,
    /// No newcomers are taken.
    pub closing: bool,
    /// In order of admission, those that are held among them.
    pub running: Vec<Id>,
    /// The admitted children that were not polled yet, in order.
    pub unpolled: VecDeque<Id>,
    /// The children that were woken since they were last polled. Those that were never polled are
    /// among them.
    pub awake: BTreeSet<Id>,
    pub admitted: usize,
    pub ok: usize,
    pub failed: usize,
    pub dropped: usize,
    pub stopped: Option<Reason>,
    /// The group has not been polled since the stop.
    pub stop_unseen: bool,
    pub ended: Vec<Ended>,
    pub first_panic: Option<Id>,
    /// Resolved or gone.
    pub closed: bool,
    /// Resolved, and nothing had stopped it.
    pub finished: bool,
}

impl Model {
    pub fn make(&mut self, traits: Traits) -> Id {
        self.traits.push(traits);
        self.places.push(Place::Outside);
        self.places.len() - 1
    }

    pub fn place(&self, id: Id) -> Place {
        self.places[id]
    }

    fn set(&mut self, id: Id, place: Place) {
        self.places[id] = place;
    }

    pub fn queued(&self) -> usize {
        self.queue.values().filter(|entry| matches!(entry, Entry::Queued(_))).count()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Returns `true` if a child has room, and is behind what has room and has yet to come.
    pub fn is_held(&self, id: Id) -> bool {
        self.places[id] == Place::Held
    }

    fn reserved(&self) -> usize {
        self.starting.iter().filter(|slot| matches!(slot, Slot::Reserved(_))).count()
    }

    /// How many children and waiters have room.
    fn count(&self) -> usize {
        self.running.len() + self.reserved() + self.detached.len()
    }

    /// How much room they take.
    fn used(&self) -> usize {
        self.weights().sum()
    }

    fn weights(&self) -> impl Iterator<Item = usize> + '_ {
        let running = self.running.iter().map(|id| self.traits[*id].weight);
        let reserved = self.starting.iter().filter_map(|slot| match slot {
            Slot::Child(_) => None,
            Slot::Reserved(ticket) => Some(self.ticket_weight(*ticket)),
        });
        let detached = self.detached.iter().map(|_| 1);
        running.chain(reserved).chain(detached)
    }

    /// **Never above the limit**: a child is admitted only if this holds. A child that is heavier
    /// than the limit runs alone. One without a weight needs no room, unless admission is paused.
    fn fits(&self, weight: usize) -> bool {
        self.limit.is_none_or(|limit| {
            let used = self.used();
            limit > 0 && (used == 0 || weight == 0 || used + weight <= limit)
        })
    }

    /// Returns `true` if more room is taken than there is, but for a child that runs alone.
    fn is_over_limit(&self) -> bool {
        self.limit.is_some_and(|limit| match limit {
            0 => self.count() > 0,
            _ => self.used() > limit && self.weights().filter(|weight| *weight > 0).count() > 1,
        })
    }

    /// **Never more than there are permits**, one for each child.
    pub fn has_permit(&self) -> bool {
        self.permits.is_none_or(|permits| self.count() < permits)
    }

    /// **Admission in order**: a newcomer overtakes only what has a lower priority.
    fn admits_newcomer(&self, Traits { weight, priority, .. }: Traits) -> bool {
        let first = self.queue.first_key_value();
        let goes_first = first.is_none_or(|(&(Reverse(first), _), _)| priority > first);
        goes_first && self.fits(weight) && self.has_permit()
    }

    fn weight(&self, entry: Entry) -> usize {
        match entry {
            Entry::Queued(id) => self.traits[id].weight,
            Entry::Waiter(ticket) => self.ticket_weight(ticket),
        }
    }

    fn ticket_weight(&self, ticket: Ticket) -> usize {
        self.ticket_traits(ticket).weight
    }

    /// Returns what is asked for. A `feed` does not know its next child yet, and asks for plain
    /// room.
    fn ticket_traits(&self, ticket: Ticket) -> Traits {
        match self.waiters[&ticket].kind {
            Kind::Go(id) => self.traits[id],
            Kind::Feed { .. } | Kind::Reserve => Traits::PLAIN,
            Kind::Ready => Traits { priority: i32::MIN, ..Traits::PLAIN },
        }
    }

    /// Returns the rank of the next arrival.
    fn rank(&mut self, priority: i32) -> Rank {
        self.came += 1;
        (Reverse(priority), self.came)
    }

    fn enqueue(&mut self, rank: Rank, entry: Entry) {
        assert_eq!(self.queue.insert(rank, entry), None);
    }

    pub fn key(&self, id: Id) -> Option<Key> {
        self.traits[id].key.map(Key::from)
    }

    pub fn is_daemon(&self, id: Id) -> bool {
        self.traits[id].daemon
    }

    /// **Open as long as** a child runs that is no daemon, or something waits. After a stop, each
    /// running child counts, daemons too.
    fn is_over(&self) -> bool {
        if self.is_stopped() {
            return self.running.is_empty();
        }
        // A daemon in the queue keeps it open no more than one that runs.
        let is_daemon = |entry: &Entry| matches!(entry, Entry::Queued(id) if self.is_daemon(*id));
        self.running.iter().all(|id| self.is_daemon(*id))
            && self.queue.values().all(is_daemon)
            && self.starting.is_empty()
            && self.detached.is_empty()
            && (self.holds == 0 || self.closing)
    }

    /// **When only daemons are left**, they are told to end.
    pub fn has_daemons_only(&self) -> bool {
        let empty = self.running.is_empty() && self.queue.is_empty();
        !self.is_stopped() && !empty && self.is_over()
    }

    /// Returns `true` if the first in the queue has room, and no permit.
    pub fn lacks_permit(&self) -> bool {
        let first = self.queue.first_key_value();
        !self.is_stopped()
            && !self.closed
            && first.is_some_and(|(_, entry)| self.fits(self.weight(*entry)))
            && !self.has_permit()
    }

    fn admit(&mut self, id: Id) {
        assert!(self.fits(self.traits[id].weight) && self.has_permit() && !self.is_stopped());
        self.accept(id);
        self.starting.push_back(Slot::Child(id));
        self.start_ready();
    }

    fn accept(&mut self, id: Id) {
        self.set(id, Place::Held);
        self.running.push(id);
    }

    /// **Starts are in order**: a child starts when no earlier waiter has yet to come.
    fn start_ready(&mut self) {
        while let Some(&Slot::Child(id)) = self.starting.front() {
            self.starting.pop_front();
            self.set(id, Place::Running(self.admitted));
            self.admitted += 1;
            self.unpolled.push_back(id);
            self.awake.insert(id);
        }
    }

    /// A waiter brings a child for the room that is reserved for it. The child may be heavier
    /// than that room. Then it is queued where the waiter was, or by its own priority if that is
    /// higher.
    fn fulfil(&mut self, ticket: Ticket, id: Id) {
        assert!(!self.is_stopped());
        let at = self.slot(ticket).unwrap();
        let (weight, reserved) = (self.traits[id].weight, self.ticket_weight(ticket));
        let alone = self.used() == reserved && self.limit != Some(0);
        if weight <= reserved || alone || self.fits(weight - reserved) {
            self.starting[at] = Slot::Child(id);
            self.accept(id);
        } else {
            self.starting.remove(at);
            let (Reverse(priority), came) = self.waiters[&ticket].rank;
            let priority = priority.max(self.traits[id].priority);
            self.set(id, Place::Queued);
            self.enqueue((Reverse(priority), came), Entry::Queued(id));
        }
        self.start_ready();
    }

    /// Gives back the room that is reserved for a waiter.
    fn give_room_back(&mut self, ticket: Ticket) {
        if let Some(at) = self.slot(ticket) {
            self.starting.remove(at);
            self.start_ready();
        }
    }

    /// Returns `true` if room is reserved for a waiter.
    pub fn has_slot(&self, ticket: Ticket) -> bool {
        self.waiters.contains_key(&ticket) && self.slot(ticket).is_some()
    }

    fn slot(&self, ticket: Ticket) -> Option<usize> {
        self.starting.iter().position(|slot| *slot == Slot::Reserved(ticket))
    }

    /// Gives room to what is first in the queue. A queued child is admitted. For a waiter the
    /// room is reserved, and it is woken.
    pub fn process_queue(&mut self) {
        if self.is_stopped() || self.closed {
            return;
        }
        // **A lowered limit** takes reserved room back, unless a child is held behind it, or the
        // waiter is alone.
        while self.is_over_limit() {
            // One that takes no room gives none back; it goes before one that does.
            let gives = |slot: &&Slot| match slot {
                Slot::Child(_) => true,
                Slot::Reserved(ticket) => self.ticket_weight(*ticket) > 0 || self.limit == Some(0),
            };
            let Some(Slot::Reserved(_)) = self.starting.iter().rev().find(gives) else { break };
            let Some(Slot::Reserved(ticket)) = self.starting.pop_back() else { break };
            self.enqueue(self.waiters[&ticket].rank, Entry::Waiter(ticket));
        }
        while let Some((&rank, &entry)) = self.queue.first_key_value() {
            // **Nothing overtakes** a child that needs more room than there is.
            if !self.fits(self.weight(entry)) || !self.has_permit() {
                break;
            }
            self.queue.remove(&rank);
            match entry {
                Entry::Queued(id) => self.admit(id),
                Entry::Waiter(ticket) => {
                    self.starting.push_back(Slot::Reserved(ticket));
                    self.wake_waiter(ticket);
                }
            }
        }
        self.unblock_nested();
    }

    /// **A group never deadlocks on itself**: if all running children but daemons wait for room
    /// in their own group, the one that has waited longest is told to use the queue.
    fn unblock_nested(&mut self) {
        // A waiter that was woken goes on.
        let waits =
            |waiter: &Waiter| waiter.inside.is_some_and(|id| !self.is_daemon(id)) && !waiter.woken;
        let child_waits = |id: &Id| {
            self.waiters.values().any(|waiter| waiter.inside == Some(*id) && waits(waiter))
        };
        // A waiter with reserved room brings a child that may run.
        let mut others = self.running.iter().filter(|id| !self.is_daemon(**id)).peekable();
        if self.reserved() > 0 || others.peek().is_none() || !others.all(child_waits) {
            return;
        }
        let waiters = self.queue.iter().filter_map(|(&(_, came), entry)| match entry {
            Entry::Waiter(ticket) if waits(&self.waiters[ticket]) => Some((came, *ticket)),
            _ => None,
        });
        let oldest = waiters.min().map(|(_, ticket)| ticket);
        let oldest = oldest.expect("all running children wait");
        self.waiters.get_mut(&oldest).unwrap().to_queue = true;
        self.wake_waiter(oldest);
    }

    /// Wakes a waiter.
    fn wake_waiter(&mut self, ticket: Ticket) {
        let waiter = self.waiters.get_mut(&ticket).unwrap();
        waiter.woken = true;
        if let Some(id) = waiter.inside {
            self.awake.insert(id);
        }
    }

    // --- adding children ---

    /// **A stop outranks a close.**
    fn refusal(&self) -> Option<TryGoError<()>> {
        if self.closing && (self.finished || !self.is_stopped()) {
            Some(TryGoError::Closed(()))
        } else {
            self.is_stopped().then_some(TryGoError::Stopped(()))
        }
    }

    pub fn try_go(&mut self, id: Id) -> Result<(), TryGoError<()>> {
        if let Some(refused) = self.refusal() {
            self.set(id, Place::Gone);
            // A permit may have come for the first in the queue.
            self.process_queue();
            Err(refused)
        } else if self.queue.is_empty() && self.admits_newcomer(self.traits[id]) {
            // **It overtakes nothing** that waits, whatever its priority.
            self.admit(id);
            self.process_queue();
            Ok(())
        } else {
            self.set(id, Place::Gone);
            // A permit may have come for the first in the queue.
            self.process_queue();
            Err(TryGoError::AtLimit(()))
        }
    }

    pub fn queue(&mut self, id: Id) {
        if self.try_queue(id).is_err() {
            self.dropped += 1;
        }
    }

    pub fn try_queue(&mut self, id: Id) -> Result<(), TryGoError<()>> {
        if let Some(refused) = self.refusal() {
            self.set(id, Place::Gone);
            self.process_queue();
            Err(if self.finished { TryGoError::Closed(()) } else { refused })
        } else if self.is_queue_full(self.traits[id]) {
            self.set(id, Place::Gone);
            self.process_queue();
            Err(TryGoError::AtLimit(()))
        } else {
            self.set(id, Place::Queued);
            let rank = self.rank(self.traits[id].priority);
            self.enqueue(rank, Entry::Queued(id));
            self.process_queue();
            Ok(())
        }
    }

    /// **A bounded queue** takes a child that starts at once, and no other if it is full.
    fn is_queue_full(&self, traits: Traits) -> bool {
        let is_full = self.queue_limit.is_some_and(|limit| self.queued() >= limit);
        is_full && !self.admits_newcomer(traits)
    }

    pub fn reserve(&mut self) -> Ticket {
        self.waiter(Kind::Reserve, None)
    }

    pub fn go(&mut self, id: Id, inside: Option<Id>) -> Ticket {
        self.waiter(Kind::Go(id), inside)
    }

    pub fn feed(&mut self) -> Ticket {
        let (items, put) = (VecDeque::new(), false);
        self.waiter(Kind::Feed { items, ended: false, stalled: false, put, admitted: 0 }, None)
    }

    fn waiter(&mut self, kind: Kind, inside: Option<Id>) -> Ticket {
        let ticket = self.tickets;
        self.tickets += 1;
        let rank = (Reverse(0), 0);
        let waiter = Waiter { inside, kind, woken: false, to_queue: false, refused: false, rank };
        self.waiters.insert(ticket, waiter);
        ticket
    }

    /// Puts a child into a feed's stream, or ends the stream. A stream that was pending wakes.
    pub fn put(&mut self, ticket: Ticket, item: Option<Id>) {
        let waiter = self.waiters.get_mut(&ticket).unwrap();
        let Kind::Feed { items, ended, stalled, put, .. } = &mut waiter.kind else {
            panic!("not a feed");
        };
        items.extend(item);
        *ended |= item.is_none();
        if *stalled && !*put {
            *put = true;
            waiter.woken = true;
        }
    }

    fn is_queued(&self, ticket: Ticket) -> bool {
        self.queue.get(&self.waiters[&ticket].rank) == Some(&Entry::Waiter(ticket))
    }

    /// A waiter that may be in the queue is polled. A permit may have come before.
    pub fn looks(&mut self, ticket: Ticket) {
        if self.is_queued(ticket) {
            self.process_queue();
        }
    }

    /// Returns `true` if the waiter has room. If not, it is in the queue.
    fn has_room(&mut self, ticket: Ticket) -> bool {
        if self.slot(ticket).is_some() {
            return true;
        }
        if self.is_queued(ticket) {
            return false;
        }
        let traits = self.ticket_traits(ticket);
        let rank = self.rank(traits.priority);
        self.waiters.get_mut(&ticket).unwrap().rank = rank;
        if self.admits_newcomer(traits) {
            self.starting.push_back(Slot::Reserved(ticket));
            return true;
        }
        self.enqueue(rank, Entry::Waiter(ticket));
        false
    }

    /// Returns `true` if a waiter has no room, and gets none any more.
    fn is_refused(&self, ticket: Ticket) -> bool {
        let is_new = self.slot(ticket).is_none() && !self.is_queued(ticket);
        self.is_stopped() || self.waiters[&ticket].refused || (is_new && self.closing)
    }

    /// Polls a `reserve`. Room that it gets is **out of the order of starts**.
    pub fn poll_reserve(&mut self, ticket: Ticket) -> Answer {
        self.waiters.get_mut(&ticket).unwrap().woken = false;
        let answer = if self.is_refused(ticket) {
            self.leave(ticket);
            Answer::Stopped
        } else if self.has_room(ticket) {
            self.give_room_back(ticket);
            self.detached.insert(ticket);
            Answer::Ok
        } else {
            Answer::Wait
        };
        self.process_queue();
        answer
    }

    pub fn ready(&mut self) -> Ticket {
        self.waiter(Kind::Ready, None)
    }

    /// Polls the group's `ready`. **It keeps no room**, and what waits behind it comes first.
    pub fn poll_ready(&mut self, ticket: Ticket) -> Answer {
        loop {
            if self.is_refused(ticket) {
                return Answer::Stopped;
            }
            let was_reserved = self.slot(ticket).is_some();
            if !self.has_room(ticket) {
                self.process_queue();
                return Answer::Wait;
            }
            self.give_room_back(ticket);
            self.process_queue();
            if !was_reserved {
                return Answer::Ok;
            }
        }
    }

    /// Passes a child to a waiter that has room. It starts unless it needs more than that room,
    /// or the limit was lowered.
    pub fn slot_go(&mut self, ticket: Ticket, id: Id) -> Answer {
        let (Reverse(priority), came) = self.waiters[&ticket].rank;
        self.detached.remove(&ticket);
        self.waiters.remove(&ticket);
        let answer = if self.is_stopped() {
            self.set(id, Place::Gone);
            Answer::Stopped
        } else if self.fits(self.traits[id].weight) {
            self.accept(id);
            self.starting.push_back(Slot::Child(id));
            self.start_ready();
            Answer::Ok
        } else {
            let priority = priority.max(self.traits[id].priority);
            self.set(id, Place::Queued);
            self.enqueue((Reverse(priority), came), Entry::Queued(id));
            Answer::Ok
        };
        self.process_queue();
        answer
    }

    /// **Newcomers are refused**, and those that wait without room. The rest goes on.
    pub fn close(&mut self) {
        let was_closing = std::mem::replace(&mut self.closing, true);
        let waiters = if was_closing { Vec::new() } else { self.waiters.keys().copied().collect() };
        for ticket in waiters {
            let Waiter { kind, to_queue, rank, .. } = &self.waiters[&ticket];
            let (stalls, rank) = (matches!(kind, Kind::Feed { stalled: true, .. }), *rank);
            if self.is_queued(ticket) && !to_queue {
                self.queue.remove(&rank);
                self.waiters.get_mut(&ticket).unwrap().refused = true;
                self.wake_waiter(ticket);
            } else if stalls && !self.is_stopped() {
                self.wake_waiter(ticket);
            }
        }
        // A permit may have come, for a close that changes nothing too.
        self.process_queue();
    }

    /// Polls a `go`.
    pub fn poll_go(&mut self, ticket: Ticket) -> Answer {
        let waiter = self.waiters.get_mut(&ticket).unwrap();
        waiter.woken = false;
        let &mut Waiter { kind: Kind::Go(id), to_queue, rank, .. } = waiter else {
            panic!("not a go");
        };
        let answer = if self.is_refused(ticket) {
            self.set(id, Place::Gone);
            self.give_room_back(ticket);
            Answer::Stopped
        } else if self.has_room(ticket) {
            self.fulfil(ticket, id);
            Answer::Ok
        } else if to_queue {
            // The child takes the waiter's place in the queue.
            *self.queue.get_mut(&rank).unwrap() = Entry::Queued(id);
            self.set(id, Place::Queued);
            Answer::Ok
        } else {
            Answer::Wait
        };
        if answer != Answer::Wait {
            self.waiters.remove(&ticket);
        }
        self.process_queue();
        answer
    }

    /// Polls a `feed`. Returns how many children it has admitted, or `None` while it waits.
    pub fn poll_feed(&mut self, ticket: Ticket) -> Option<usize> {
        self.waiters.get_mut(&ticket).unwrap().woken = false;
        let answer = loop {
            // **A close is the end** of a feed, even if it has room.
            let stop = self.is_stopped() || self.closing;
            let Kind::Feed { stalled, put, admitted, .. } =
                &mut self.waiters.get_mut(&ticket).unwrap().kind
            else {
                panic!("not a feed");
            };
            if stop {
                break Some(*admitted);
            }
            // A stream that was pending is asked again only once it has woken. The feed does not
            // look for room before, so it does not find a permit for the queue either.
            if *stalled && !*put {
                return None;
            }
            (*stalled, *put) = (false, false);
            if !self.has_room(ticket) {
                break None;
            }
            let Kind::Feed { items, ended, stalled, admitted, .. } =
                &mut self.waiters.get_mut(&ticket).unwrap().kind
            else {
                panic!("not a feed");
            };
            match items.pop_front() {
                Some(id) => {
                    *admitted += 1;
                    self.fulfil(ticket, id);
                }
                None if *ended => break Some(*admitted),
                // It holds neither room nor a place.
                None => {
                    *stalled = true;
                    self.give_room_back(ticket);
                }
            }
            self.process_queue();
            self.was_over |= self.is_over();
        };
        if answer.is_some() {
            self.leave(ticket);
        }
        self.process_queue();
        answer
    }

    /// **A raised limit** admits at once what waits. A lowered one lets the running children
    /// finish.
    pub fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit;
        self.process_queue();
    }

    /// Drops a waiter with what it has. **It leaves no trace**, and those behind it move up.
    pub fn leave(&mut self, ticket: Ticket) {
        if self.is_queued(ticket) {
            self.queue.remove(&self.waiters[&ticket].rank);
        }
        self.give_room_back(ticket);
        self.detached.remove(&ticket);
        match self.waiters.remove(&ticket).unwrap().kind {
            Kind::Reserve | Kind::Ready => {}
            Kind::Go(id) => self.set(id, Place::Gone),
            Kind::Feed { items, stalled, .. } => {
                for id in items {
                    self.set(id, Place::Gone);
                }
                if stalled {
                    // It had nothing to give up, so the queue is not processed, though a permit may
                    // have come.
                    return;
                }
            }
        }
        self.process_queue();
    }

    // --- what children do ---

    /// Wakes a child from outside of the group.
    pub fn wake(&mut self, id: Id) {
        if matches!(self.place(id), Place::Running(_)) {
            self.awake.insert(id);
        }
    }

    /// **Polled only when woken**, never before its admission and never after its end. The first
    /// polls are in order of admission.
    pub fn polled(&mut self, id: Id) {
        assert!(matches!(self.place(id), Place::Running(_)), "{id} does not run");
        if let (false, Some(ticket)) = (self.awake.contains(&id), self.ready) {
            // The group's own `ready` has had its turn meanwhile, and has given the room on.
            assert_eq!(self.poll_ready(ticket), Answer::Wait);
        }
        assert!(self.awake.remove(&id), "{id} was not woken");
        assert!(!self.ends_with_stop(id), "{id} ends with the stop");
        if self.unpolled.contains(&id) {
            assert_eq!(self.unpolled.pop_front(), Some(id), "out of order");
        }
    }

    /// Ends a child.
    ///
    /// **A deciding result** stops the group before the child's room is given away. After a stop
    /// the running children go on, and their results stop nothing any more.
    pub fn finished(&mut self, id: Id, outcome: Outcome) {
        let Place::Running(index) = self.place(id) else {
            panic!("{id} does not run");
        };
        self.set(id, Place::Gone);
        self.running.retain(|other| *other != id);
        let result = match outcome {
            Outcome::Ok => {
                self.ok += 1;
                Ok(id)
            }
            Outcome::Failed => {
                self.failed += 1;
                Err(id)
            }
            Outcome::Panicked => {
                self.dropped += 1;
                self.first_panic.get_or_insert(id);
                self.stop(Reason::Panicked);
                self.drop_queue();
                self.process_queue();
                return;
            }
        };
        if result.is_err() || !self.is_daemon(id) {
            self.ended.push(Ended { index, result });
            let errors = self.ended.iter().filter(|ended| ended.result.is_err()).count();
            if let Some(reason) = self.rule.stops(result, errors) {
                self.stop(reason);
            }
        }
        if self.is_stopped() {
            self.drop_queue();
        }
        self.process_queue();
    }

    // --- stops and ends ---

    /// **The first reason stays**. All waiters are woken.
    pub fn stop(&mut self, reason: Reason) {
        if self.is_stopped() {
            return;
        }
        self.stopped = Some(reason);
        self.stop_unseen = true;
        for ticket in self.waiters.keys().copied().collect::<Vec<_>>() {
            let waits = self.is_queued(ticket) || self.slot(ticket).is_some();
            let stalls = matches!(self.waiters[&ticket].kind, Kind::Feed { stalled: true, .. });
            if waits || stalls {
                self.wake_waiter(ticket);
            }
        }
    }

    /// Drops the queue after a stop. The children in it are never polled. **No waiter is
    /// expected** any more, so the children that were held behind one start.
    fn drop_queue(&mut self) {
        self.stop_unseen = false;
        self.starting.retain(|slot| matches!(slot, Slot::Child(_)));
        self.detached.clear();
        self.start_ready();
        for (_, entry) in std::mem::take(&mut self.queue) {
            match entry {
                Entry::Queued(id) => {
                    self.set(id, Place::Gone);
                    self.dropped += 1;
                }
                // The waiter was woken for the stop.
                Entry::Waiter(_) => {}
            }
        }
    }

    /// Polls the group, or its children while its own `go` waits.
    pub fn drive(&mut self) {
        if self.closed {
            return;
        }
        if self.is_stopped() {
            self.drop_queue();
            if self.grace == Grace::Over {
                self.cut_off();
            }
        }
        // A permit may have come.
        self.process_queue();
    }

    /// The grace begins.
    pub fn grace_begins(&mut self) {
        assert!(self.grace == Grace::Waiting && self.is_stopped() && !self.running.is_empty());
        self.grace = Grace::Running;
    }

    /// **When the grace is over**, the running children are dropped.
    fn cut_off(&mut self) {
        for id in std::mem::take(&mut self.running) {
            self.gone(id);
        }
    }

    fn gone(&mut self, id: Id) {
        self.set(id, Place::Gone);
        self.dropped += 1;
        // The `go` that it holds is dropped with it.
        let inside = self.waiters.iter().find(|(_, waiter)| waiter.inside == Some(id));
        if let Some((&ticket, _)) = inside {
            self.leave(ticket);
        }
    }

    /// **A child that ends with the stop** is polled no more after it.
    pub fn ends_with_stop(&self, id: Id) -> bool {
        let runs = matches!(self.place(id), Place::Running(_));
        runs && self.is_stopped() && (self.drops || self.traits[id].until_stop)
    }

    /// It is dropped in the group's next poll, or, if it has yielded, in the one after it.
    pub fn dropped_by_stop(&mut self, id: Id) {
        self.running.retain(|other| *other != id);
        self.awake.remove(&id);
        self.unpolled.retain(|other| *other != id);
        self.gone(id);
    }

    /// Ends a poll that the group has not resolved in.
    pub fn sleep(&mut self) {
        self.waited_for_permit = self.lacks_permit();
        assert!(!self.has_daemons_only(), "they were not told");
        assert!(!self.grace_is_due(), "the grace has not begun");
        let late = |id: &Id| self.ends_with_stop(*id) && !self.awake.contains(id);
        assert!(!self.running.iter().any(late), "it has not ended with the stop");
    }

    fn grace_is_due(&self) -> bool {
        self.is_stopped() && self.grace == Grace::Waiting && !self.running.is_empty()
    }

    /// **Resolves exactly when** nothing runs and nothing waits. A panic outranks an error.
    pub fn resolve(&mut self) -> Option<End> {
        if self.closed || !self.is_over() {
            return None;
        }
        self.finished = !self.is_stopped();
        self.stop(Reason::Finished);
        self.drop_queue();
        self.closed = true;
        Some(match self.first_panic {
            Some(id) => End::Panic(id),
            None => End::Output(self.rule.output(&self.ended)),
        })
    }

    /// **Nothing outlives it.**
    pub fn drop_group(&mut self) {
        if self.closed {
            return;
        }
        self.stop(Reason::Dropped);
        self.closed = true;
        self.starting.clear();
        self.detached.clear();
        self.cut_off();
        self.drop_queue();
    }

    /// Returns `true` if there is a permit for the first in the queue, which does not know of it.
    fn has_unclaimed_permit(&self) -> bool {
        let first = self.queue.first_key_value();
        !self.is_stopped()
            && first.is_some_and(|(_, entry)| self.fits(self.weight(*entry)))
            && self.has_permit()
    }

    /// Returns `true` if the group has something to do. **No wake-up is lost**, and none is for
    /// nothing.
    pub fn has_work(&self) -> bool {
        !self.closed
            && (!self.awake.is_disjoint(&self.running.iter().copied().collect())
                || (self.stop_unseen && self.queued() + self.starting.len() > 0)
                || (self.stop_unseen && self.grace_is_due())
                || (self.is_stopped() && self.grace == Grace::Over)
                || self.has_unclaimed_permit()
                || self.is_over())
    }
}
