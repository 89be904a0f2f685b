//! The promises, in plain code. It knows nothing of how a group does it.
//!
//! Each promise stands in one place: who fits ([`Model::fits`]: limits, weights; and
//! [`Model::has_permit`]: semaphores), who is before whom in line ([`Model::stand`]:
//! priorities), what keeps a group open ([`Model::is_over`]: daemons), what a result means
//! ([`Rule`](crate::results::Rule): policies), what ends those who run ([`Model::cut_off`]: a
//! grace). What is new to a group is added there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use errgroup::{Reason, TryGoError};

use crate::results::{Heard, Output, Rule};

/// A child; the numbers are given in the order in which the children are made.
pub type Id = usize;
/// Somebody who waits in a `go` or a `feed`.
pub type Ticket = usize;

/// Where a child is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// In the hands of one who wants it admitted.
    Outside,
    Queued,
    /// Accepted, behind one who was granted room and has not come: it starts after his.
    Held,
    /// Admitted; with its place in the order of admission.
    Running(usize),
    /// Finished, refused or dropped: it must have been dropped by now.
    Gone,
}

/// What was asked for a child.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traits {
    pub weight: usize,
    pub priority: i32,
    pub daemon: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry {
    Queued(Id),
    Waiter(Ticket),
}

/// Where somebody stands in line: the higher priority first, then who came first.
type Rank = (Reverse<i32>, u64);

/// One who has room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slot {
    Child(Id),
    /// Who waited, and has not come yet.
    Granted(Ticket),
}

#[derive(Debug)]
pub struct Waiter {
    /// The child within which it waits, and which is woken in its stead.
    pub inside: Option<Id>,
    pub kind: Kind,
    /// Somebody has called it since it was last polled.
    pub woken: bool,
    /// It waits within a child and is to put its own into the queue.
    pub to_queue: bool,
    /// Where it stands, or stood before it was granted room.
    rank: Rank,
}

#[derive(Debug)]
pub enum Kind {
    Go(Id),
    Feed { items: VecDeque<Id>, ended: bool, stalled: bool, put: bool, admitted: usize },
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
    /// The stop has not come, or nobody ran then.
    Waiting,
    Running,
    Over,
}

#[derive(Debug, Default)]
pub struct Model {
    pub limit: Option<usize>,
    /// How many permits the semaphore has that nobody else holds; `None` without one.
    pub permits: Option<usize>,
    /// The group stood in the semaphore's own line when it was last polled.
    pub stands_for_permit: bool,
    pub rule: Rule,
    pub grace: Grace,
    pub places: Vec<Place>,
    pub traits: Vec<Traits>,
    /// Children of the queue, and those who wait.
    pub line: BTreeMap<Rank, Entry>,
    /// How many have come to the line.
    pub came: u64,
    pub waiters: BTreeMap<Ticket, Waiter>,
    /// Those who have room and do not start before all that came earlier have come.
    pub inbox: VecDeque<Slot>,
    /// In order of admission; with those who are held.
    pub running: Vec<Id>,
    /// Admitted and not polled yet, in order.
    pub fresh: VecDeque<Id>,
    /// The children that were woken since they were last polled; the fresh among them.
    pub awake: BTreeSet<Id>,
    pub admitted: usize,
    pub ok: usize,
    pub failed: usize,
    pub dropped: usize,
    pub stopped: Option<Reason>,
    /// The group has not been polled since the stop.
    pub stop_unseen: bool,
    pub heard: Vec<Heard>,
    pub first_panic: Option<Id>,
    /// Resolved or gone.
    pub closed: bool,
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
        self.line.values().filter(|entry| matches!(entry, Entry::Queued(_))).count()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    fn granted(&self) -> usize {
        self.inbox.iter().filter(|slot| matches!(slot, Slot::Granted(_))).count()
    }

    /// How many have room; room that was granted is taken.
    fn count(&self) -> usize {
        self.running.len() + self.granted()
    }

    /// How much room they have.
    fn used(&self) -> usize {
        let running = self.running.iter().map(|id| self.traits[*id].weight);
        let granted = self.inbox.iter().map(|slot| match slot {
            Slot::Child(_) => 0,
            Slot::Granted(ticket) => self.ticket_weight(*ticket),
        });
        running.chain(granted).sum()
    }

    /// **Never above the limit**: a child is admitted only where this holds. One that is
    /// heavier than the limit runs alone.
    fn fits(&self, weight: usize) -> bool {
        self.limit
            .is_none_or(|limit| self.used() + weight <= limit || (self.count() == 0 && limit > 0))
    }

    /// **Never more than there are permits**, one for each.
    pub fn has_permit(&self) -> bool {
        self.permits.is_none_or(|permits| self.count() < permits)
    }

    /// **Admission in order**: nobody is admitted past those who wait, but for those of a
    /// lower priority.
    fn admits_newcomer(&self, Traits { weight, priority, .. }: Traits) -> bool {
        let first = self.line.first_key_value();
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

    /// One who brings a child that he doesn't know yet, asks for plain room.
    fn ticket_traits(&self, ticket: Ticket) -> Traits {
        match self.waiters[&ticket].kind {
            Kind::Go(id) => self.traits[id],
            Kind::Feed { .. } => Traits { weight: 1, priority: 0, daemon: false },
        }
    }

    /// Higher priority first, then first come, first admitted.
    fn rank(&mut self, priority: i32) -> Rank {
        self.came += 1;
        (Reverse(priority), self.came)
    }

    fn stand(&mut self, rank: Rank, entry: Entry) {
        assert_eq!(self.line.insert(rank, entry), None);
    }

    fn is_daemon(&self, id: Id) -> bool {
        self.traits[id].daemon
    }

    /// **Open as long as** something runs, daemons apart, or somebody waits; after a stop,
    /// those who run count, daemons too.
    fn is_over(&self) -> bool {
        if self.is_stopped() {
            return self.running.is_empty();
        }
        // Those that wait in the queue hold it open no more than those that run.
        let is_daemon = |entry: &Entry| matches!(entry, Entry::Queued(id) if self.is_daemon(*id));
        self.running.iter().all(|id| self.is_daemon(*id))
            && self.line.values().all(is_daemon)
            && self.inbox.is_empty()
    }

    /// **Where only daemons are left**, they are told to end.
    pub fn has_daemons_only(&self) -> bool {
        let nobody = self.running.is_empty() && self.line.is_empty();
        !self.is_stopped() && !nobody && self.is_over()
    }

    /// Whether the first in line has room, and no permit.
    pub fn lacks_permit(&self) -> bool {
        let first = self.line.first_key_value();
        !self.is_stopped()
            && !self.closed
            && first.is_some_and(|(_, entry)| self.fits(self.weight(*entry)))
            && !self.has_permit()
    }

    fn admit(&mut self, id: Id) {
        assert!(self.fits(self.traits[id].weight) && self.has_permit() && !self.is_stopped());
        self.accept(id);
        self.inbox.push_back(Slot::Child(id));
        self.release();
    }

    fn accept(&mut self, id: Id) {
        self.set(id, Place::Held);
        self.running.push(id);
    }

    /// **Starts are in order**: those before whom nobody is awaited may start.
    fn release(&mut self) {
        while let Some(&Slot::Child(id)) = self.inbox.front() {
            self.inbox.pop_front();
            self.set(id, Place::Running(self.admitted));
            self.admitted += 1;
            self.fresh.push_back(id);
            self.awake.insert(id);
        }
    }

    /// One who was granted room comes with his child. It may be heavier than the room; then
    /// it waits in the queue where he stood, or by its priority where that is higher.
    fn fill(&mut self, ticket: Ticket, id: Id) {
        assert!(!self.is_stopped());
        let at = self.slot(ticket).unwrap();
        let more = self.traits[id].weight - self.ticket_weight(ticket);
        if more == 0 || self.count() == 1 || self.fits(more) {
            self.inbox[at] = Slot::Child(id);
            self.accept(id);
        } else {
            self.inbox.remove(at);
            let (Reverse(priority), came) = self.waiters[&ticket].rank;
            let priority = priority.max(self.traits[id].priority);
            self.set(id, Place::Queued);
            self.stand((Reverse(priority), came), Entry::Queued(id));
        }
        self.release();
    }

    /// One who was granted room gives it back.
    fn give_back(&mut self, ticket: Ticket) {
        if let Some(at) = self.slot(ticket) {
            self.inbox.remove(at);
            self.release();
        }
    }

    fn slot(&self, ticket: Ticket) -> Option<usize> {
        self.inbox.iter().position(|slot| *slot == Slot::Granted(ticket))
    }

    /// Room goes to those who are first in line: to a child of the queue at once, to one who
    /// waits by granting it to him and calling him.
    fn settle(&mut self) {
        if self.is_stopped() || self.closed {
            return;
        }
        // **A lowered limit** takes back what was granted, but where somebody stands behind,
        // or it is one alone.
        while self
            .limit
            .is_some_and(|limit| self.used() > limit && (self.count() > 1 || limit == 0))
        {
            let Some(&Slot::Granted(ticket)) = self.inbox.back() else {
                break;
            };
            self.inbox.pop_back();
            self.stand(self.waiters[&ticket].rank, Entry::Waiter(ticket));
        }
        while let Some((&rank, &entry)) = self.line.first_key_value() {
            // **Nobody slips past** one who needs more room than there is.
            if !self.fits(self.weight(entry)) || !self.has_permit() {
                break;
            }
            self.line.remove(&rank);
            match entry {
                Entry::Queued(id) => self.admit(id),
                Entry::Waiter(ticket) => {
                    self.inbox.push_back(Slot::Granted(ticket));
                    self.call(ticket);
                }
            }
        }
        self.settle_nested();
    }

    /// **A group never deadlocks on itself**: where all who run, daemons apart, wait for room
    /// in their own group, the one of them who has waited longest is told to use the queue.
    fn settle_nested(&mut self) {
        // Who was called goes on.
        let waits =
            |waiter: &Waiter| waiter.inside.is_some_and(|id| !self.is_daemon(id)) && !waiter.woken;
        let child_waits = |id: &Id| {
            self.waiters.values().any(|waiter| waiter.inside == Some(*id) && waits(waiter))
        };
        // Who was granted room brings a child that may run.
        let mut others = self.running.iter().filter(|id| !self.is_daemon(**id)).peekable();
        if self.granted() > 0 || others.peek().is_none() || !others.all(child_waits) {
            return;
        }
        let waiters = self.line.iter().filter_map(|(&(_, came), entry)| match entry {
            Entry::Waiter(ticket) if waits(&self.waiters[ticket]) => Some((came, *ticket)),
            _ => None,
        });
        let oldest = waiters.min().map(|(_, ticket)| ticket);
        let oldest = oldest.expect("all who run wait");
        self.waiters.get_mut(&oldest).unwrap().to_queue = true;
        self.call(oldest);
    }

    /// Wakes one who waits.
    fn call(&mut self, ticket: Ticket) {
        let waiter = self.waiters.get_mut(&ticket).unwrap();
        waiter.woken = true;
        if let Some(id) = waiter.inside {
            self.awake.insert(id);
        }
    }

    // --- adding children ---

    pub fn try_go(&mut self, id: Id) -> Result<(), TryGoError<()>> {
        if self.is_stopped() {
            self.set(id, Place::Gone);
            Err(TryGoError::Stopped(()))
        } else if self.line.is_empty() && self.admits_newcomer(self.traits[id]) {
            // **It overtakes nobody** who waits, whatever its priority.
            self.admit(id);
            self.settle();
            Ok(())
        } else {
            self.set(id, Place::Gone);
            // A permit may have come for the first in line.
            self.settle();
            Err(TryGoError::AtLimit(()))
        }
    }

    pub fn queue(&mut self, id: Id) {
        if self.is_stopped() {
            self.set(id, Place::Gone);
            self.dropped += 1;
        } else {
            self.set(id, Place::Queued);
            let rank = self.rank(self.traits[id].priority);
            self.stand(rank, Entry::Queued(id));
            self.settle();
        }
    }

    pub fn go(&mut self, id: Id, inside: Option<Id>) -> Ticket {
        self.waiter(Kind::Go(id), inside)
    }

    pub fn feed(&mut self) -> Ticket {
        let (items, put) = (VecDeque::new(), false);
        self.waiter(Kind::Feed { items, ended: false, stalled: false, put, admitted: 0 }, None)
    }

    fn waiter(&mut self, kind: Kind, inside: Option<Id>) -> Ticket {
        let ticket = self.waiters.keys().next_back().map_or(0, |last| last + 1);
        let rank = (Reverse(0), 0);
        let waiter = Waiter { inside, kind, woken: false, to_queue: false, rank };
        self.waiters.insert(ticket, waiter);
        ticket
    }

    /// Puts a child into a feed's stream, or ends it; a stream that was pending wakes.
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

    fn stands(&self, ticket: Ticket) -> bool {
        self.line.get(&self.waiters[&ticket].rank) == Some(&Entry::Waiter(ticket))
    }

    /// Somebody comes who may stand in line; a permit may have come before him.
    pub fn comes(&mut self, ticket: Ticket) {
        if self.stands(ticket) {
            self.settle();
        }
    }

    /// Whether somebody has room; if not, he stands in line.
    fn turn(&mut self, ticket: Ticket) -> bool {
        if self.slot(ticket).is_some() {
            return true;
        }
        if self.stands(ticket) {
            return false;
        }
        let traits = self.ticket_traits(ticket);
        let rank = self.rank(traits.priority);
        self.waiters.get_mut(&ticket).unwrap().rank = rank;
        if self.admits_newcomer(traits) {
            self.inbox.push_back(Slot::Granted(ticket));
            return true;
        }
        self.stand(rank, Entry::Waiter(ticket));
        false
    }

    /// A `go` is polled.
    pub fn poll_go(&mut self, ticket: Ticket) -> Answer {
        let waiter = self.waiters.get_mut(&ticket).unwrap();
        waiter.woken = false;
        let &mut Waiter { kind: Kind::Go(id), to_queue, rank, .. } = waiter else {
            panic!("not a go");
        };
        let answer = if self.is_stopped() {
            self.set(id, Place::Gone);
            self.give_back(ticket);
            Answer::Stopped
        } else if self.turn(ticket) {
            self.fill(ticket, id);
            Answer::Ok
        } else if to_queue {
            // Its child stands where it stood itself.
            *self.line.get_mut(&rank).unwrap() = Entry::Queued(id);
            self.set(id, Place::Queued);
            Answer::Ok
        } else {
            Answer::Wait
        };
        if answer != Answer::Wait {
            self.waiters.remove(&ticket);
        }
        self.settle();
        answer
    }

    /// A `feed` is polled; its answer is how many it has admitted.
    pub fn poll_feed(&mut self, ticket: Ticket) -> Option<usize> {
        self.waiters.get_mut(&ticket).unwrap().woken = false;
        let answer = loop {
            let stop = self.is_stopped();
            let Kind::Feed { stalled, put, admitted, .. } =
                &mut self.waiters.get_mut(&ticket).unwrap().kind
            else {
                panic!("not a feed");
            };
            if stop {
                break Some(*admitted);
            }
            // A stream that was pending is asked again only once it has woken.
            if *stalled && !*put {
                break None;
            }
            (*stalled, *put) = (false, false);
            if !self.turn(ticket) {
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
                    self.fill(ticket, id);
                }
                None if *ended => break Some(*admitted),
                // It holds neither room nor a place.
                None => {
                    *stalled = true;
                    self.give_back(ticket);
                }
            }
            self.settle();
        };
        if answer.is_some() {
            self.leave(ticket);
        }
        self.settle();
        answer
    }

    /// **A raised limit** admits those who wait at once; a lowered one lets the running
    /// finish.
    pub fn set_limit(&mut self, limit: Option<usize>) {
        self.limit = limit;
        self.settle();
    }

    /// Somebody who waits is dropped, with what he has: **no trace**, and those behind him
    /// move up.
    pub fn leave(&mut self, ticket: Ticket) {
        if self.stands(ticket) {
            self.line.remove(&self.waiters[&ticket].rank);
        }
        self.give_back(ticket);
        match self.waiters.remove(&ticket).unwrap().kind {
            Kind::Go(id) => self.set(id, Place::Gone),
            Kind::Feed { items, .. } => {
                for id in items {
                    self.set(id, Place::Gone);
                }
            }
        }
        self.settle();
    }

    // --- what children do ---

    /// A child is woken by somebody else.
    pub fn wake(&mut self, id: Id) {
        if matches!(self.place(id), Place::Running(_)) {
            self.awake.insert(id);
        }
    }

    /// **Polled only when woken**, never before it is admitted, never after its end; and
    /// first polled in order of admission.
    pub fn polled(&mut self, id: Id) {
        assert!(matches!(self.place(id), Place::Running(_)), "{id} does not run");
        assert!(self.awake.remove(&id), "{id} was not woken");
        if self.fresh.contains(&id) {
            assert_eq!(self.fresh.pop_front(), Some(id), "out of order");
        }
    }

    /// A child has come to its end.
    ///
    /// **What decides** stops the group before the room is given away. After a stop, those
    /// who run go on; their results stop nobody any more.
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
                self.settle();
                return;
            }
        };
        self.heard.push(Heard { index, result });
        if let Some(reason) = self.rule.stops(result) {
            self.stop(reason);
        }
        if self.is_stopped() {
            self.drop_queue();
        }
        self.settle();
    }

    // --- stops and ends ---

    /// **The first reason stays**. All who wait are called.
    pub fn stop(&mut self, reason: Reason) {
        if self.is_stopped() {
            return;
        }
        self.stopped = Some(reason);
        self.stop_unseen = true;
        for ticket in self.waiters.keys().copied().collect::<Vec<_>>() {
            let waits = self.stands(ticket) || self.slot(ticket).is_some();
            let stalls = matches!(self.waiters[&ticket].kind, Kind::Feed { stalled: true, .. });
            if waits || stalls {
                self.call(ticket);
            }
        }
    }

    /// What is queued when the group stops is dropped unpolled; **nobody is awaited** any
    /// more, and those who were held behind him may start.
    fn drop_queue(&mut self) {
        self.stop_unseen = false;
        self.inbox.retain(|slot| matches!(slot, Slot::Child(_)));
        self.release();
        for (_, entry) in std::mem::take(&mut self.line) {
            match entry {
                Entry::Queued(id) => {
                    self.set(id, Place::Gone);
                    self.dropped += 1;
                }
                // Nobody has to wait in line any more.
                Entry::Waiter(_) => {}
            }
        }
    }

    /// The group is polled, or polls its children while its own `go` waits.
    pub fn driven(&mut self) {
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
        self.settle();
    }

    /// The grace begins.
    pub fn grace_begins(&mut self) {
        assert!(self.grace == Grace::Waiting && self.is_stopped() && !self.running.is_empty());
        self.grace = Grace::Running;
    }

    /// **When the grace is over**, who still runs is dropped.
    fn cut_off(&mut self) {
        for id in std::mem::take(&mut self.running) {
            self.set(id, Place::Gone);
            self.dropped += 1;
            // With it goes what it waits with.
            let inside = self.waiters.iter().find(|(_, waiter)| waiter.inside == Some(id));
            if let Some((&ticket, _)) = inside {
                self.leave(ticket);
            }
        }
    }

    /// After a poll that has not come to the end.
    pub fn rests(&mut self) {
        self.stands_for_permit = self.lacks_permit();
        assert!(!self.has_daemons_only(), "they were not told");
        assert!(!self.grace_is_due(), "the grace has not begun");
    }

    fn grace_is_due(&self) -> bool {
        self.is_stopped() && self.grace == Grace::Waiting && !self.running.is_empty()
    }

    /// **Resolves exactly when** nothing runs and nothing waits. A panic outranks an error.
    pub fn resolve(&mut self) -> Option<End> {
        if self.closed || !self.is_over() {
            return None;
        }
        self.stop(Reason::Finished);
        self.drop_queue();
        self.closed = true;
        Some(match self.first_panic {
            Some(id) => End::Panic(id),
            None => End::Output(self.rule.output(&self.heard)),
        })
    }

    /// **Nothing outlives it.**
    pub fn drop_group(&mut self) {
        if self.closed {
            return;
        }
        self.stop(Reason::Dropped);
        self.closed = true;
        self.inbox.clear();
        self.cut_off();
        self.drop_queue();
    }

    /// Whether there is a permit for the first in line, of which nobody has told him yet.
    fn has_unclaimed_permit(&self) -> bool {
        let first = self.line.first_key_value();
        !self.is_stopped()
            && first.is_some_and(|(_, entry)| self.fits(self.weight(*entry)))
            && self.has_permit()
    }

    /// Whether the group has something to do: **no lost wake-up**, and none for nothing.
    pub fn has_work(&self) -> bool {
        !self.closed
            && (!self.awake.is_disjoint(&self.running.iter().copied().collect())
                || (self.stop_unseen && self.queued() + self.inbox.len() > 0)
                || (self.stop_unseen && self.grace_is_due())
                || (self.is_stopped() && self.grace == Grace::Over)
                || self.has_unclaimed_permit()
                || self.is_over())
    }
}
