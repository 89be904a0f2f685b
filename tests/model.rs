//! Random schedules, against a model of what a group promises.
//!
//! [`Model`] says in plain code what has to come of each step; it knows nothing of how the
//! group does it. [`World`] takes the same steps with a real group, its children, and those
//! who wait at its handles, all polled by hand. After each step the two are compared: the
//! answers, the numbers, who was woken, who is gone.
//!
//! What the model does not say is in which order the group polls children that are awake at
//! the same time. There it follows: each child writes down what it does, and the model
//! checks that it was allowed to.

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use common::{Tap, Task};
use errgroup::future::{Feed, Go};
use errgroup::{Boxed, Group, Handle, Policy, Reason, TryGoError, Verdict};
use proptest::prelude::*;

/// A child; the numbers are given in the order in which the children are made.
type Id = usize;
/// Somebody who waits in a `go` or a `feed`.
type Ticket = usize;

// === the model ===

/// Where a child is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// In the hands of one who wants it admitted.
    Outside,
    Queued,
    /// Admitted; with its place in the order of admission.
    Running(usize),
    /// Finished, refused or dropped: it must have been dropped by now.
    Gone,
}

#[derive(Debug)]
enum Entry {
    Queued(Id),
    Waiter(Ticket),
}

#[derive(Debug)]
struct Waiter {
    /// The child within which it waits, and which is woken in its stead.
    inside: Option<Id>,
    kind: Kind,
    /// Somebody has called it since it was last polled.
    woken: bool,
    /// It waits within a child and is to put its own into the queue.
    to_queue: bool,
}

#[derive(Debug)]
enum Kind {
    Go(Id),
    Feed { items: VecDeque<Id>, ended: bool, stalled: bool, put: bool, admitted: usize },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Ok,
    Wait,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Ok,
    Failed,
    Panicked,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Output(Result<(), Id>),
    Panic(Id),
}

#[derive(Debug, Default)]
struct Model {
    limit: Option<usize>,
    places: Vec<Place>,
    /// First come, first admitted: children of the queue, and those who wait.
    line: VecDeque<Entry>,
    waiters: BTreeMap<Ticket, Waiter>,
    /// In order of admission.
    running: Vec<Id>,
    /// Admitted and not polled yet, in order.
    fresh: VecDeque<Id>,
    /// The children that were woken since they were last polled; the fresh among them.
    awake: BTreeSet<Id>,
    admitted: usize,
    ok: usize,
    failed: usize,
    dropped: usize,
    stopped: Option<Reason>,
    /// The group has not been polled since the stop.
    stop_unseen: bool,
    first_error: Option<Id>,
    first_panic: Option<Id>,
    /// Resolved or gone.
    closed: bool,
}

impl Model {
    fn make(&mut self) -> Id {
        self.places.push(Place::Outside);
        self.places.len() - 1
    }

    fn place(&self, id: Id) -> Place {
        self.places[id]
    }

    fn set(&mut self, id: Id, place: Place) {
        self.places[id] = place;
    }

    fn queued(&self) -> usize {
        self.line.iter().filter(|entry| matches!(entry, Entry::Queued(_))).count()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// **Never above the limit**: a child is admitted only where this holds.
    fn fits(&self) -> bool {
        self.limit.is_none_or(|limit| self.running.len() < limit)
    }

    /// **Admission in order**: nobody is admitted past those who wait, except where nobody
    /// waits.
    fn admits_newcomers(&self) -> bool {
        self.fits() && self.line.is_empty()
    }

    /// **Open as long as** something runs or somebody waits; after a stop, only those who run
    /// count.
    fn is_over(&self) -> bool {
        self.running.is_empty() && (self.line.is_empty() || self.is_stopped())
    }

    fn admit(&mut self, id: Id) {
        assert!(self.fits() && !self.is_stopped());
        self.set(id, Place::Running(self.admitted));
        self.admitted += 1;
        self.running.push(id);
        self.fresh.push_back(id);
        self.awake.insert(id);
    }

    /// Room goes to the first in line: to a child of the queue at once, to one who waits by
    /// calling him.
    fn settle(&mut self) {
        if self.is_stopped() || self.closed {
            return;
        }
        while self.fits() {
            match self.line.front() {
                Some(&Entry::Queued(id)) => {
                    self.line.pop_front();
                    self.admit(id);
                }
                Some(&Entry::Waiter(ticket)) => {
                    self.call(ticket);
                    break;
                }
                None => break,
            }
        }
        self.settle_nested();
    }

    /// **A group never deadlocks on itself**: where all who run wait for room in their own
    /// group, the one of them who has waited longest is told to use the queue.
    fn settle_nested(&mut self) {
        let waits = |id: &Id| {
            self.waiters.values().any(|waiter| waiter.inside == Some(*id) && !waiter.to_queue)
        };
        if self.fits() || self.running.is_empty() || !self.running.iter().all(waits) {
            return;
        }
        let oldest = self.line.iter().find_map(|entry| match entry {
            Entry::Waiter(ticket) if self.waiters[ticket].inside.is_some() => Some(*ticket),
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

    fn try_go(&mut self, id: Id) -> Result<(), TryGoError<()>> {
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

    fn queue(&mut self, id: Id) {
        if self.is_stopped() {
            self.set(id, Place::Gone);
            self.dropped += 1;
        } else {
            self.set(id, Place::Queued);
            self.line.push_back(Entry::Queued(id));
            self.settle();
        }
    }

    fn go(&mut self, id: Id, inside: Option<Id>) -> Ticket {
        self.waiter(Kind::Go(id), inside)
    }

    fn feed(&mut self) -> Ticket {
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
    fn put(&mut self, ticket: Ticket, item: Option<Id>) {
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

    /// Whether it is somebody's turn to be admitted; if not, he stands in line.
    fn turn(&mut self, ticket: Ticket) -> bool {
        match self.position(ticket) {
            None if self.admits_newcomers() => true,
            None => {
                self.line.push_back(Entry::Waiter(ticket));
                false
            }
            Some(0) if self.fits() => {
                self.line.pop_front();
                true
            }
            Some(_) => false,
        }
    }

    /// A `go` is polled.
    fn poll_go(&mut self, ticket: Ticket) -> Answer {
        let waiter = self.waiters.get_mut(&ticket).unwrap();
        waiter.woken = false;
        let &mut Waiter { kind: Kind::Go(id), to_queue, .. } = waiter else {
            panic!("not a go");
        };
        let answer = if self.is_stopped() {
            self.set(id, Place::Gone);
            Answer::Stopped
        } else if self.turn(ticket) {
            self.admit(id);
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
    fn poll_feed(&mut self, ticket: Ticket) -> Option<usize> {
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
                    self.admit(id);
                }
                None if *ended => break Some(*admitted),
                // It holds neither room nor a place.
                None => *stalled = true,
            }
            self.settle();
        };
        if answer.is_some() {
            self.leave(ticket);
        }
        self.settle();
        answer
    }

    /// Somebody who waits is dropped, with what he has: **no trace**, and those behind him
    /// move up.
    fn leave(&mut self, ticket: Ticket) {
        if let Some(at) = self.position(ticket) {
            self.line.remove(at);
        }
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
    fn wake(&mut self, id: Id) {
        if matches!(self.place(id), Place::Running(_)) {
            self.awake.insert(id);
        }
    }

    /// **Polled only when woken**, never before it is admitted, never after its end; and
    /// first polled in order of admission.
    fn polled(&mut self, id: Id) {
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
    fn finished(&mut self, id: Id, outcome: Outcome) {
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
    fn stop(&mut self, reason: Reason) {
        if self.is_stopped() {
            return;
        }
        self.stopped = Some(reason);
        self.stop_unseen = true;
        for ticket in self.waiters.keys().copied().collect::<Vec<_>>() {
            let waits = self.position(ticket).is_some();
            let stalls = matches!(self.waiters[&ticket].kind, Kind::Feed { stalled: true, .. });
            if waits || stalls {
                self.call(ticket);
            }
        }
    }

    /// What is queued when the group stops is dropped unpolled.
    fn drop_queue(&mut self) {
        self.stop_unseen = false;
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
    fn driven(&mut self) {
        if self.is_stopped() {
            self.drop_queue();
        }
    }

    /// **Resolves exactly when** nothing runs and nothing waits. A panic outranks an error.
    fn resolve(&mut self) -> Option<End> {
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
    fn drop_group(&mut self) {
        if self.closed {
            return;
        }
        self.stop(Reason::Dropped);
        self.closed = true;
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
    fn has_work(&self) -> bool {
        !self.closed
            && (!self.awake.is_disjoint(&self.running.iter().copied().collect())
                || (self.stop_unseen && self.queued() > 0)
                || self.is_over())
    }
}

// === the children ===

/// What a child does when it is polled next.
#[derive(Clone, Debug)]
enum Order {
    Finish(Outcome),
    /// Wakes itself.
    Yield,
    /// Adds a child to its own group, and waits in `go`; it does one at a time.
    Go,
    /// Nothing: it was woken for nothing.
    Nothing,
}

/// What a child has done.
#[derive(Debug, PartialEq)]
enum Event {
    Polled(Id),
    Yielded(Id),
    /// It has polled a `go`: for the first time, or again.
    Went(Id, Answer),
    Asked(Id),
    /// It has given up what it waits for.
    GaveUp(Id),
    Panicked(Id),
    /// Its result has reached the policy, with its index.
    Finished(Id, usize, bool),
    Dropped(Id),
}

type Events = Arc<Mutex<Vec<Event>>>;
type Returned = Result<Id, Id>;
type Kids = Boxed<'static, Id, Id>;
type Held = Group<Kids, Hears>;

#[derive(Default)]
struct Wire {
    order: Option<Order>,
    waker: Option<Waker>,
}

/// A child that does as it is told.
struct Puppet {
    id: Id,
    wire: Arc<Mutex<Wire>>,
    maker: Maker,
    go: Option<Box<Go<Handle<Kids>, Kids, Puppet>>>,
}

impl Future for Puppet {
    type Output = Returned;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Returned> {
        let this = &mut *self;
        this.maker.note(Event::Polled(this.id));
        let order = {
            let mut wire = this.wire.lock().unwrap();
            wire.waker = Some(cx.waker().clone());
            wire.order.take()
        };
        match order {
            Some(Order::Finish(outcome)) => {
                if this.go.take().is_some() {
                    this.maker.note(Event::GaveUp(this.id));
                }
                match outcome {
                    Outcome::Ok => return Poll::Ready(Ok(this.id)),
                    Outcome::Failed => return Poll::Ready(Err(this.id)),
                    Outcome::Panicked => {
                        this.maker.note(Event::Panicked(this.id));
                        // Without the message of the hook.
                        resume_unwind(Box::new(this.id));
                    }
                }
            }
            Some(Order::Yield) => {
                this.maker.note(Event::Yielded(this.id));
                cx.waker().wake_by_ref();
            }
            Some(Order::Go) if this.go.is_none() => {
                let child = this.maker.make(None);
                this.maker.note(Event::Asked(this.id));
                this.go = Some(Box::new(this.maker.handle().go(child)));
            }
            Some(Order::Go | Order::Nothing) | None => {}
        }
        if let Some(go) = &mut this.go {
            let answer = answer(&Pin::new(go).poll(cx));
            if answer != Answer::Wait {
                // A child that was given back is dropped here.
                this.go = None;
            }
            this.maker.note(Event::Went(this.id, answer));
        }
        Poll::Pending
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        // First what it holds.
        self.go = None;
        self.maker.note(Event::Dropped(self.id));
    }
}

fn answer<T, E>(poll: &Poll<Result<T, E>>) -> Answer {
    match poll {
        Poll::Ready(Ok(_)) => Answer::Ok,
        Poll::Ready(Err(_)) => Answer::Stopped,
        Poll::Pending => Answer::Wait,
    }
}

/// Makes children, and hears of what they do.
#[derive(Clone)]
struct Maker(Arc<Mutex<Made>>, Events);

struct Made {
    wires: Vec<Arc<Mutex<Wire>>>,
    handle: Option<Handle<Kids>>,
}

impl Maker {
    fn make(&self, order: Option<Order>) -> Puppet {
        let wire = Arc::new(Mutex::new(Wire { order, waker: None }));
        let wires = &mut self.0.lock().unwrap().wires;
        wires.push(Arc::clone(&wire));
        Puppet { id: wires.len() - 1, wire, maker: self.clone(), go: None }
    }

    fn note(&self, event: Event) {
        self.1.lock().unwrap().push(event);
    }

    fn handle(&self) -> Handle<Kids> {
        self.0.lock().unwrap().handle.clone().unwrap()
    }
}

/// The first error, as by default; and notes what it hears.
struct Hears(Maker, Option<Id>);

impl Policy<Id, Id> for Hears {
    type Output = Result<(), Id>;

    fn on_child(&mut self, index: usize, result: Returned) -> Verdict {
        let (Ok(id) | Err(id)) = result;
        self.0.note(Event::Finished(id, index, result.is_ok()));
        if result.is_ok() {
            return Verdict::Continue;
        }
        self.1.get_or_insert(id);
        Verdict::Stop(Reason::Failed)
    }

    fn finish(&mut self) -> Self::Output {
        self.1.take().map_or(Ok(()), Err)
    }
}

// === the world ===

/// Who waits outside of the group, each in a task of its own.
struct Outside {
    ticket: Ticket,
    future: Waiting,
    task: Task,
    /// The task's wake-ups when it was last polled.
    wakes: usize,
}

enum Waiting {
    Go(Go<Handle<Kids>, Kids, Puppet>),
    Feed(Feed<Handle<Kids>, Kids, Tap<Puppet>>, Tap<Puppet>),
}

struct World {
    model: Model,
    /// Away while its own `go` holds it.
    group: Option<Held>,
    /// The group's own `go`, where it waits.
    own: Option<Ticket>,
    handle: Handle<Kids>,
    maker: Maker,
    task: Task,
    outside: Vec<Outside>,
    dropped: BTreeSet<Id>,
    /// Where the group's task sleeps: its wake-ups when it was last polled, and whether
    /// there was any reason to wake it since.
    asleep: Option<(usize, bool)>,
}

impl World {
    fn new(limit: Option<usize>) -> Self {
        let made = Made { wires: Vec::new(), handle: None };
        let maker = Maker(Arc::new(Mutex::new(made)), Events::default());
        let group = Group::new().with_policy(Hears(maker.clone(), None));
        let handle = group.handle();
        handle.set_limit(limit);
        maker.0.lock().unwrap().handle = Some(handle.clone());
        Self {
            model: Model { limit, ..Model::default() },
            group: Some(group),
            own: None,
            handle,
            maker,
            task: Task::new(),
            outside: Vec::new(),
            dropped: BTreeSet::new(),
            asleep: None,
        }
    }

    fn make(&mut self, order: Option<Order>) -> (Id, Puppet) {
        let puppet = self.maker.make(order);
        assert_eq!(self.model.make(), puppet.id);
        (puppet.id, puppet)
    }

    fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::TryGo { own, order } => self.try_go(own, order),
            Step::Queue { own, order } => self.queue(own, order),
            Step::OwnGo { order, meanwhile } => self.own_go(order, &meanwhile),
            Step::Go { order } => self.go(order),
            Step::Feed { orders, ended } => self.feed(orders, ended),
            Step::Put { pick, order } => self.put(pick, order),
            Step::PollWaiter { pick } => self.poll_waiter(pick),
            Step::DropWaiter { pick } => self.drop_waiter(pick),
            Step::Tell { pick, order } => self.tell(pick, order),
            Step::WakeGone { pick } => self.wake_gone(pick),
            Step::Limit { limit } => {
                self.handle.set_limit(limit);
                self.model.limit = limit;
                self.model.settle();
            }
            Step::Cancel => {
                let first = self.handle.token().cancel();
                assert_eq!(first, !self.model.is_stopped());
                self.model.stop(Reason::Cancelled);
            }
            Step::Poll => {
                self.poll();
            }
            Step::Run => self.run(),
            Step::DropGroup => {
                self.group = None;
                self.model.drop_group();
                self.asleep = None;
            }
        }
        self.hear();
        self.check();
    }

    fn try_go(&mut self, own: bool, order: Option<Order>) {
        let (id, puppet) = self.make(order);
        let answer = match &mut self.group {
            Some(group) if own => {
                self.asleep = None;
                group.try_go(puppet)
            }
            _ => self.handle.try_go(puppet),
        };
        let expected = self.model.try_go(id);
        match (answer, expected) {
            (Ok(()), Ok(()))
            | (Err(TryGoError::AtLimit(_)), Err(TryGoError::AtLimit(())))
            | (Err(TryGoError::Stopped(_)), Err(TryGoError::Stopped(()))) => {}
            (answer, expected) => panic!("{answer:?}, not {expected:?}"),
        }
    }

    fn queue(&mut self, own: bool, order: Option<Order>) {
        let (id, puppet) = self.make(order);
        match &mut self.group {
            Some(group) if own => {
                self.asleep = None;
                group.queue(puppet);
            }
            _ => self.handle.queue(puppet),
        }
        self.model.queue(id);
    }

    /// A `go` of the group itself; while it waits, others take their steps, and a `Poll` or a
    /// `Run` polls it again. In the end it is dropped.
    fn own_go(&mut self, order: Option<Order>, meanwhile: &[Step]) {
        let Some(mut group) = self.group.take() else {
            return;
        };
        let (id, puppet) = self.make(order);
        let ticket = self.model.go(id, None);
        let mut go = group.go(puppet);
        let mut waits = self.poll_own(&mut go, ticket);
        for step in meanwhile {
            match step {
                _ if !waits => break,
                Step::Poll | Step::Run => waits = self.poll_own(&mut go, ticket),
                Step::DropGroup => {}
                step => self.step(step),
            }
            self.check();
        }
        drop(go);
        if waits {
            self.model.leave(ticket);
        }
        self.own = None;
        self.asleep = None;
        self.group = Some(group);
    }

    /// True where it still waits.
    fn poll_own(&mut self, go: &mut Go<&mut Held, Kids, Puppet>, ticket: Ticket) -> bool {
        let before = self.task.wakes();
        let real = answer(&self.task.poll(go));
        let mut expected = self.model.poll_go(ticket);
        if expected == Answer::Wait {
            // It polls the children meanwhile.
            self.model.driven();
            self.hear();
            expected = self.model.poll_go(ticket);
        }
        assert_eq!(real, expected);
        self.hear();
        let waits = expected == Answer::Wait;
        self.own = waits.then_some(ticket);
        self.asleep = waits.then_some((before, false));
        waits
    }

    fn go(&mut self, order: Option<Order>) {
        let (id, puppet) = self.make(order);
        let ticket = self.model.go(id, None);
        let go = self.handle.go(puppet);
        self.wait(ticket, Waiting::Go(go));
    }

    fn feed(&mut self, orders: Vec<Option<Order>>, ended: bool) {
        let ticket = self.model.feed();
        let tap = Tap::new();
        for order in orders {
            let (id, puppet) = self.make(order);
            tap.put(puppet);
            self.model.put(ticket, Some(id));
        }
        if ended {
            tap.end();
            self.model.put(ticket, None);
        }
        let feed = self.handle.feed(tap.clone());
        self.wait(ticket, Waiting::Feed(feed, tap));
    }

    fn wait(&mut self, ticket: Ticket, future: Waiting) {
        self.outside.push(Outside { ticket, future, task: Task::new(), wakes: 0 });
        self.poll_waiter(self.outside.len() - 1);
    }

    fn put(&mut self, pick: usize, order: Option<Option<Order>>) {
        let feeds: Vec<_> = (0..self.outside.len())
            .filter(|&at| matches!(self.outside[at].future, Waiting::Feed(..)))
            .collect();
        let Some(&at) = feeds.get(pick % feeds.len().max(1)) else {
            return;
        };
        let ticket = self.outside[at].ticket;
        let Waiting::Feed(_, tap) = &self.outside[at].future else {
            unreachable!("it is a feed");
        };
        let tap = tap.clone();
        match order {
            Some(order) => {
                let (id, puppet) = self.make(order);
                self.model.put(ticket, Some(id));
                tap.put(puppet);
            }
            None => {
                self.model.put(ticket, None);
                tap.end();
            }
        }
    }

    fn poll_waiter(&mut self, pick: usize) {
        if self.outside.is_empty() {
            return;
        }
        let at = pick % self.outside.len();
        let Outside { ticket, future, task, wakes } = &mut self.outside[at];
        *wakes = task.wakes();
        let (ready, fits) = match future {
            Waiting::Go(go) => {
                let real = answer(&task.poll(go));
                (real != Answer::Wait, real == self.model.poll_go(*ticket))
            }
            Waiting::Feed(feed, _) => {
                let real = match task.poll(feed) {
                    Poll::Ready(admitted) => Some(admitted),
                    Poll::Pending => None,
                };
                (real.is_some(), real == self.model.poll_feed(*ticket))
            }
        };
        assert!(fits, "the answer of a waiter, which is ready: {ready}");
        if ready {
            self.outside.remove(at);
        }
    }

    fn drop_waiter(&mut self, pick: usize) {
        if !self.outside.is_empty() {
            let outside = self.outside.remove(pick % self.outside.len());
            self.model.leave(outside.ticket);
        }
    }

    fn tell(&mut self, pick: usize, order: Order) {
        let running = &self.model.running;
        if let Some(&id) = running.get(pick % running.len().max(1)) {
            self.model.wake(id);
            self.pull(id, Some(order));
        }
    }

    /// **A waker of a finished child** reaches nobody.
    fn wake_gone(&mut self, pick: usize) {
        let gone: Vec<_> = self.dropped.iter().copied().collect();
        if let Some(&id) = gone.get(pick % gone.len().max(1)) {
            self.pull(id, None);
        }
    }

    fn pull(&self, id: Id, order: Option<Order>) {
        let waker = {
            let wire = Arc::clone(&self.maker.0.lock().unwrap().wires[id]);
            let mut wire = wire.lock().unwrap();
            wire.order = order;
            wire.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Polls the group once. True where it has resolved.
    fn poll(&mut self) -> bool {
        let Some(group) = &mut self.group else {
            return true;
        };
        let awake = self.model.awake.clone();
        let before = self.task.wakes();
        let real = catch_unwind(AssertUnwindSafe(|| self.task.poll(group)));
        self.model.driven();
        let polled = Self::hear_events(&mut self.model, &mut self.dropped, &self.maker);
        assert!(self.model.closed || awake.is_subset(&polled), "not all who were awake");
        let expected = self.model.resolve();
        let real = match real {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(output)) => Some(End::Output(output)),
            Err(payload) => Some(End::Panic(*payload.downcast_ref::<Id>().unwrap())),
        };
        assert_eq!(real, expected);
        self.asleep = Some((before, false));
        self.model.closed
    }

    /// Polls the group as an executor would.
    fn run(&mut self) {
        for _ in 0..1000 {
            let before = self.task.wakes();
            if self.poll() || self.task.wakes() == before {
                return;
            }
            self.check();
        }
        panic!("it never comes to rest");
    }

    fn hear(&mut self) {
        Self::hear_events(&mut self.model, &mut self.dropped, &self.maker);
    }

    /// Follows what the children have done, and checks it. Who was polled?
    fn hear_events(model: &mut Model, dropped: &mut BTreeSet<Id>, maker: &Maker) -> BTreeSet<Id> {
        let mut polled = BTreeSet::new();
        let events = std::mem::take(&mut *maker.1.lock().unwrap());
        for event in events {
            match event {
                Event::Polled(id) => {
                    all_gone_are_dropped(model, dropped);
                    model.polled(id);
                    polled.insert(id);
                }
                Event::Yielded(id) => {
                    model.awake.insert(id);
                }
                Event::Asked(id) => {
                    let child = model.make();
                    model.go(child, Some(id));
                }
                Event::Went(id, answer) => {
                    let ticket = inside(model, id).unwrap();
                    assert_eq!(answer, model.poll_go(ticket));
                }
                Event::GaveUp(id) => {
                    let ticket = inside(model, id).unwrap();
                    model.leave(ticket);
                }
                Event::Panicked(id) => model.finished(id, Outcome::Panicked),
                Event::Finished(id, index, ok) => {
                    assert_eq!(model.place(id), Place::Running(index), "the index");
                    model.finished(id, if ok { Outcome::Ok } else { Outcome::Failed });
                }
                Event::Dropped(id) => {
                    // **Exactly once.**
                    assert!(dropped.insert(id), "{id} is dropped again");
                }
            }
        }
        polled
    }

    /// What can be seen from outside.
    fn check(&mut self) {
        let model = &self.model;
        all_gone_are_dropped(model, &self.dropped);

        // **The numbers**: each child that was accepted counts once.
        let stats = self.handle.stats();
        assert_eq!(stats.limit, model.limit);
        assert_eq!(self.handle.limit(), model.limit);
        assert_eq!(
            (stats.running, stats.ok, stats.failed),
            (model.running.len(), model.ok, model.failed)
        );
        if model.stop_unseen {
            // Whether the queue is gone already, is the group's business.
            assert_eq!(stats.queued + stats.dropped, model.queued() + model.dropped);
        } else {
            assert_eq!((stats.queued, stats.dropped), (model.queued(), model.dropped));
        }
        if let Some(group) = &self.group {
            assert_eq!(group.stats(), stats);
        }

        assert_eq!(self.handle.is_stopped(), model.is_stopped());
        assert_eq!(self.handle.token().reason(), model.stopped);
        assert_eq!(self.handle.is_closed(), model.closed);

        // **Woken when there is work, and only then.**
        if let Some((wakes, reason)) = &mut self.asleep {
            let work = model.has_work() || self.own.is_some_and(|own| model.waiters[&own].woken);
            *reason |= work;
            let woken = self.task.wakes() > *wakes;
            assert!(woken || !work, "the group sleeps over its work");
            let may = *reason || model.is_stopped();
            assert!(!woken || may, "the group was woken for nothing");
        }
        for outside in &self.outside {
            let woken = outside.task.wakes() > outside.wakes;
            assert_eq!(woken, model.waiters[&outside.ticket].woken, "one who waits");
        }
    }

    /// Lets everything come to its end: **it always does**.
    fn end(mut self) {
        if self.group.is_some() && self.model.limit == Some(0) {
            self.step(&Step::Limit { limit: Some(1) });
        }
        for _ in 0..10_000 {
            if self.model.closed {
                break;
            }
            for id in self.model.running.clone() {
                self.model.wake(id);
                self.pull(id, Some(Order::Finish(Outcome::Ok)));
            }
            self.step(&Step::Run);
            for pick in (0..self.outside.len()).rev() {
                if self.model.waiters[&self.outside[pick].ticket].woken {
                    self.step(&Step::PollWaiter { pick });
                }
            }
        }
        assert!(self.model.closed, "it never ends");
        self.step(&Step::Poll);
        while !self.outside.is_empty() {
            self.step(&Step::PollWaiter { pick: 0 });
        }
        self.step(&Step::DropGroup);
        assert_eq!(self.dropped.len(), self.model.places.len(), "nobody is left");
        // A cycle of its own making.
        self.maker.0.lock().unwrap().handle = None;
    }
}

fn inside(model: &Model, id: Id) -> Option<Ticket> {
    let mut all = model.waiters.iter();
    all.find(|(_, waiter)| waiter.inside == Some(id)).map(|(&ticket, _)| ticket)
}

/// **Dropped as soon as it is over**, and no sooner.
fn all_gone_are_dropped(model: &Model, dropped: &BTreeSet<Id>) {
    for (id, place) in model.places.iter().enumerate() {
        let gone = *place == Place::Gone;
        assert_eq!(dropped.contains(&id), gone, "child {id} is {place:?}");
    }
}

// === the schedules ===

/// A step of a schedule. A `pick` chooses among those that there are.
#[derive(Clone, Debug)]
enum Step {
    TryGo { own: bool, order: Option<Order> },
    Queue { own: bool, order: Option<Order> },
    OwnGo { order: Option<Order>, meanwhile: Vec<Step> },
    Go { order: Option<Order> },
    Feed { orders: Vec<Option<Order>>, ended: bool },
    Put { pick: usize, order: Option<Option<Order>> },
    PollWaiter { pick: usize },
    DropWaiter { pick: usize },
    Tell { pick: usize, order: Order },
    WakeGone { pick: usize },
    Limit { limit: Option<usize> },
    Cancel,
    Poll,
    Run,
    DropGroup,
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        10 => Just(Order::Finish(Outcome::Ok)),
        1 => Just(Order::Finish(Outcome::Failed)),
        1 => Just(Order::Finish(Outcome::Panicked)),
        3 => Just(Order::Yield),
        6 => Just(Order::Go),
        2 => Just(Order::Nothing),
    ]
}

/// What a child does at its first poll: mostly nothing.
fn first() -> impl Strategy<Value = Option<Order>> {
    prop_oneof![
        6 => Just(None),
        1 => Just(Some(Order::Finish(Outcome::Ok))),
        2 => Just(Some(Order::Go)),
        1 => order().prop_map(Some),
    ]
}

fn limit() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![1 => Just(None), 8 => (0..5_usize).prop_map(Some)]
}

fn step() -> impl Strategy<Value = Step> {
    let own = (first(), prop::collection::vec(simple(), 0..12));
    prop_oneof![
        1 => own.prop_map(|(order, meanwhile)| Step::OwnGo { order, meanwhile }),
        20 => simple(),
    ]
}

fn simple() -> impl Strategy<Value = Step> {
    let pick = 0..8_usize;
    prop_oneof![
        4 => (any::<bool>(), first()).prop_map(|(own, order)| Step::TryGo { own, order }),
        6 => (any::<bool>(), first()).prop_map(|(own, order)| Step::Queue { own, order }),
        8 => first().prop_map(|order| Step::Go { order }),
        3 => (prop::collection::vec(first(), 0..4), any::<bool>())
            .prop_map(|(orders, ended)| Step::Feed { orders, ended }),
        3 => (pick.clone(), prop::option::weighted(0.8, first()))
            .prop_map(|(pick, order)| Step::Put { pick, order }),
        8 => pick.clone().prop_map(|pick| Step::PollWaiter { pick }),
        3 => pick.clone().prop_map(|pick| Step::DropWaiter { pick }),
        14 => (pick.clone(), order()).prop_map(|(pick, order)| Step::Tell { pick, order }),
        2 => pick.prop_map(|pick| Step::WakeGone { pick }),
        4 => limit().prop_map(|limit| Step::Limit { limit }),
        1 => Just(Step::Cancel),
        10 => Just(Step::Poll),
        6 => Just(Step::Run),
        1 => Just(Step::DropGroup),
    ]
}

fn settings() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(400), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_group_keeps_its_promises_under_any_schedule(
        limit in limit(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new(limit);
        for step in &steps {
            world.step(step);
        }
        world.end();
    }
}
