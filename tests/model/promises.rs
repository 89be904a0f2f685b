//! The promises, in plain code. It knows nothing of how a group does it.
//!
//! Each promise stands in one place: who fits ([`Model::fits`]: limits, weights), who is
//! before whom in line ([`Model::stand`]: priorities), what keeps a group open
//! ([`Model::is_over`]: daemons), what a result means ([`Model::finished`]: policies), what
//! ends those who run ([`Model::drop_group`]: a grace). What is new to a group is added there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use errgroup::{Reason, TryGoError};

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

#[derive(Debug)]
pub enum Entry {
    Queued(Id),
    Waiter(Ticket),
}

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

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Output(Result<(), Id>),
    Panic(Id),
}

#[derive(Debug, Default)]
pub struct Model {
    pub limit: Option<usize>,
    pub places: Vec<Place>,
    /// First come, first admitted: children of the queue, and those who wait.
    pub line: VecDeque<Entry>,
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
    pub first_error: Option<Id>,
    pub first_panic: Option<Id>,
    /// Resolved or gone.
    pub closed: bool,
}

impl Model {
    pub fn make(&mut self) -> Id {
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
        self.line.iter().filter(|entry| matches!(entry, Entry::Queued(_))).count()
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    fn granted(&self) -> usize {
        self.inbox.iter().filter(|slot| matches!(slot, Slot::Granted(_))).count()
    }

    /// Room that was granted is taken.
    fn used(&self) -> usize {
        self.running.len() + self.granted()
    }

    /// **Never above the limit**: a child is admitted only where this holds.
    fn fits(&self) -> bool {
        self.limit.is_none_or(|limit| self.used() < limit)
    }

    /// **Admission in order**: nobody is admitted past those who wait, except where nobody
    /// waits.
    fn admits_newcomers(&self) -> bool {
        self.fits() && self.line.is_empty()
    }

    /// First come, first admitted.
    fn stand(&mut self, entry: Entry) {
        self.line.push_back(entry);
    }

    /// **Open as long as** something runs or somebody waits; after a stop, only those who run
    /// count.
    fn is_over(&self) -> bool {
        self.running.is_empty()
            && (self.is_stopped() || (self.line.is_empty() && self.inbox.is_empty()))
    }

    fn admit(&mut self, id: Id) {
        assert!(self.fits() && !self.is_stopped());
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

    /// One who was granted room comes with his child.
    fn fill(&mut self, ticket: Ticket, id: Id) {
        assert!(!self.is_stopped());
        let at = self.slot(ticket).unwrap();
        self.inbox[at] = Slot::Child(id);
        self.accept(id);
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
        // **A lowered limit** takes back what was granted, but where somebody stands behind.
        while self.limit.is_some_and(|limit| self.used() > limit) {
            let Some(&Slot::Granted(ticket)) = self.inbox.back() else {
                break;
            };
            self.inbox.pop_back();
            self.line.push_front(Entry::Waiter(ticket));
        }
        while self.fits() {
            match self.line.pop_front() {
                Some(Entry::Queued(id)) => self.admit(id),
                Some(Entry::Waiter(ticket)) => {
                    self.inbox.push_back(Slot::Granted(ticket));
                    self.call(ticket);
                }
                None => break,
            }
        }
        self.settle_nested();
    }

    /// **A group never deadlocks on itself**: where all who run wait for room in their own
    /// group, the one of them who has waited longest is told to use the queue.
    fn settle_nested(&mut self) {
        // Who was called goes on.
        let waits = |waiter: &Waiter| waiter.inside.is_some() && !waiter.woken;
        let child_waits = |id: &Id| {
            self.waiters.values().any(|waiter| waiter.inside == Some(*id) && waits(waiter))
        };
        // Who was granted room brings a child that may run.
        if self.fits()
            || self.granted() > 0
            || self.running.is_empty()
            || !self.running.iter().all(child_waits)
        {
            return;
        }
        let oldest = self.line.iter().find_map(|entry| match entry {
            Entry::Waiter(ticket) if waits(&self.waiters[ticket]) => Some(*ticket),
            _ => None,
        });
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
        } else if self.admits_newcomers() {
            self.admit(id);
            self.settle();
            Ok(())
        } else {
            self.set(id, Place::Gone);
            Err(TryGoError::AtLimit(()))
        }
    }

    pub fn queue(&mut self, id: Id) {
        if self.is_stopped() {
            self.set(id, Place::Gone);
            self.dropped += 1;
        } else {
            self.set(id, Place::Queued);
            self.stand(Entry::Queued(id));
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
        let waiter = Waiter { inside, kind, woken: false, to_queue: false };
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

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.line.iter().position(|entry| matches!(entry, Entry::Waiter(t) if *t == ticket))
    }

    /// Whether somebody has room; if not, he stands in line.
    fn turn(&mut self, ticket: Ticket) -> bool {
        if self.slot(ticket).is_some() {
            return true;
        }
        if self.position(ticket).is_some() {
            return false;
        }
        if self.admits_newcomers() {
            self.inbox.push_back(Slot::Granted(ticket));
            return true;
        }
        self.stand(Entry::Waiter(ticket));
        false
    }

    /// A `go` is polled.
    pub fn poll_go(&mut self, ticket: Ticket) -> Answer {
        let waiter = self.waiters.get_mut(&ticket).unwrap();
        waiter.woken = false;
        let &mut Waiter { kind: Kind::Go(id), to_queue, .. } = waiter else {
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
            let at = self.position(ticket).unwrap();
            self.line[at] = Entry::Queued(id);
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
        if let Some(at) = self.position(ticket) {
            self.line.remove(at);
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
    /// **The first error decides**, and stops the group before the room is given away. After
    /// a stop, those who run go on; their results change nothing.
    pub fn finished(&mut self, id: Id, outcome: Outcome) {
        self.set(id, Place::Gone);
        self.running.retain(|other| *other != id);
        match outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Failed => {
                self.failed += 1;
                if self.first_error.is_none() {
                    self.first_error = Some(id);
                    self.stop(Reason::Failed);
                }
            }
            Outcome::Panicked => {
                self.dropped += 1;
                self.first_panic.get_or_insert(id);
                self.stop(Reason::Panicked);
            }
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
            let waits = self.position(ticket).is_some() || self.slot(ticket).is_some();
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
        for entry in std::mem::take(&mut self.line) {
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
        if self.is_stopped() {
            self.drop_queue();
        }
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
            None => End::Output(self.first_error.map_or(Ok(()), Err)),
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
        for id in std::mem::take(&mut self.running) {
            self.set(id, Place::Gone);
            self.dropped += 1;
            // With it goes what it waits with.
            let inside = self.waiters.iter().find(|(_, waiter)| waiter.inside == Some(id));
            if let Some((&ticket, _)) = inside {
                self.leave(ticket);
            }
        }
        self.drop_queue();
    }

    /// Whether the group has something to do: **no lost wake-up**, and none for nothing.
    pub fn has_work(&self) -> bool {
        !self.closed
            && (!self.awake.is_disjoint(&self.running.iter().copied().collect())
                || (self.stop_unseen && self.queued() + self.inbox.len() > 0)
                || self.is_over())
    }
}
