//! A real group and all around it, in step with the [`Model`].

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use async_lock::{Semaphore, SemaphoreGuardArc};
use errgroup::future::{Feed, Go, Reserve};
use errgroup::{Group, Handle, Hold, Reason, Slot, TryGoError};

use crate::common::{Gate, MockTask, Tap};
use crate::promises::{Answer, End, Grace, Id, Model, Outcome, Place, Ticket, Traits};
use crate::puppet::{Event, Held, Info, Kids, Maker, NotingPolicy, Order, Puppet, answer, dressed};
use crate::results::Rule;

/// A child to be: what is asked for it, and what it does at its first poll.
#[derive(Clone, Debug)]
pub struct Kid {
    pub traits: Traits,
    pub order: Option<Order>,
}

/// How a group is made.
#[derive(Clone, Debug)]
pub struct Plan {
    pub limit: Option<usize>,
    pub rule: Rule,
    pub grace: bool,
    pub permits: Option<usize>,
    pub queue_limit: Option<usize>,
    /// Without a grace only.
    pub drops: bool,
    /// Its errors say whose they are.
    pub named: bool,
    /// It has an observer.
    pub observed: bool,
}

/// A step of a schedule. A `pick` chooses among those that there are.
#[derive(Clone, Debug)]
pub enum Step {
    TryGo {
        own: bool,
        kid: Kid,
    },
    Queue {
        own: bool,
        kid: Kid,
    },
    TryQueue {
        own: bool,
        kid: Kid,
    },
    OwnGo {
        kid: Kid,
        meanwhile: Vec<Step>,
    },
    /// The group itself waits for room, and adds a plain child if there is some.
    Ready {
        kid: Kid,
    },
    Reserve,
    SlotGo {
        pick: usize,
        kid: Kid,
    },
    SlotDrop {
        pick: usize,
    },
    Hold,
    Release,
    Close,
    Go {
        kid: Kid,
    },
    Feed {
        kids: Vec<Kid>,
        ended: bool,
    },
    Put {
        pick: usize,
        kid: Option<Kid>,
    },
    PollWaiter {
        pick: usize,
    },
    DropWaiter {
        pick: usize,
    },
    Tell {
        pick: usize,
        order: Order,
    },
    WakeGone {
        pick: usize,
    },
    Limit {
        limit: Option<usize>,
    },
    Cancel,
    /// Ends the grace, if it has begun.
    Over,
    /// Other code takes a permit, or gives one back.
    Take,
    Give,
    Poll,
    Run,
    DropGroup,
}

type Child = errgroup::Task<Puppet>;

/// A waiter outside of the group, which has a task of its own.
struct Outside {
    ticket: Ticket,
    future: Waiting,
    task: MockTask,
    /// The task's wake-ups when it was last polled.
    wakes: usize,
}

enum Waiting {
    Go(Go<Handle<Kids>, Kids, Child>),
    Feed(Feed<Handle<Kids>, Kids, Tap<Child>>, Tap<Child>),
    Reserve(Reserve<Kids>),
}

pub struct World {
    model: Model,
    /// `None` while its own `go` holds it.
    group: Option<Held>,
    /// The group's own `go`, while it waits.
    own: Option<Ticket>,
    handle: Handle<Kids>,
    maker: Maker,
    task: MockTask,
    outside: Vec<Outside>,
    slots: Vec<(Ticket, Slot<Kids>)>,
    holds: Vec<Hold>,
    dropped: BTreeSet<Id>,
    /// While the group's task sleeps: its wake-ups when it was last polled, and whether there was
    /// any reason to wake it since.
    asleep: Option<(usize, bool)>,
    /// The children that have yielded in the last polls, which were of the group's own `go` or
    /// `ready`.
    yielded: BTreeSet<Id>,
    /// The gate at which the grace waits.
    gate: Gate,
    semaphore: Option<Arc<Semaphore>>,
    /// The permits that other code holds.
    taken: Vec<SemaphoreGuardArc>,
}

impl World {
    pub fn new(plan: &Plan) -> Self {
        let &Plan { limit, rule, grace, permits, queue_limit, drops, named, observed } = plan;
        let drops = drops && !grace;
        let (maker, gate) = (Maker::default(), Gate::new());
        let semaphore = permits.map(|permits| Arc::new(Semaphore::new(permits)));
        let mut group = Group::new().with_policy(NotingPolicy::new(&maker, rule, named));
        if observed {
            let maker = maker.clone();
            group = group.with_observer(move |event: &errgroup::Event| {
                maker.note(Event::Observed(event.clone()));
            });
        }
        if grace {
            let (maker, over) = (maker.clone(), gate.wait(0));
            group = group.with_grace(move || {
                maker.note(Event::Grace);
                over
            });
        }
        if let Some(semaphore) = &semaphore {
            group = group.with_semaphore(Arc::clone(semaphore));
        }
        if let Some(limit) = queue_limit {
            group = group.with_queue_limit(limit);
        }
        if drops {
            group = group.drop_on_stop();
        }
        let handle = group.handle();
        handle.set_limit(limit);
        maker.set_handle(Some(handle.clone()));
        let grace = if grace { Grace::Waiting } else { Grace::Endless };
        Self {
            model: Model { limit, rule, grace, permits, queue_limit, drops, ..Model::default() },
            gate,
            semaphore,
            taken: Vec::new(),
            group: Some(group),
            own: None,
            handle,
            maker,
            task: MockTask::new(),
            outside: Vec::new(),
            slots: Vec::new(),
            holds: Vec::new(),
            dropped: BTreeSet::new(),
            asleep: None,
            yielded: BTreeSet::new(),
        }
    }

    fn make(&mut self, mut kid: Kid) -> (Id, Child) {
        self.restrict(&mut kid.traits);
        kid.order.iter_mut().for_each(|order| self.restrict_order(order));
        let puppet = self.maker.make(kid.order);
        assert_eq!(self.model.make(kid.traits), puppet.id);
        (puppet.id, dressed(puppet, kid.traits))
    }

    /// Makes a child without a key. Of a keyed child that comes of a feed, or goes into a slot, the
    /// model does not know that it comes behind the waiting ones of its key.
    fn make_keyless(&mut self, mut kid: Kid) -> (Id, Child) {
        kid.traits.key = None;
        self.make(kid)
    }

    /// A daemon that a stop drops looks as one that has finished, until its result is told.
    fn restrict(&self, traits: &mut Traits) {
        traits.daemon &= !self.model.drops;
    }

    fn restrict_order(&self, order: &mut Order) {
        if let Order::Go(traits) = order {
            self.restrict(traits);
        }
    }

    /// Returns `true` if no further child is to be made. A group lets go of a permit after it has
    /// used it 32 times in a row. The model does not say so, so there are too few children for
    /// that; [`sharing`](crate::sharing) has enough.
    fn is_full(&self) -> bool {
        self.semaphore.is_some() && self.model.places.len() >= 16
    }

    pub fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::TryGo { .. }
            | Step::Queue { .. }
            | Step::TryQueue { .. }
            | Step::OwnGo { .. }
            | Step::Ready { .. }
            | Step::SlotGo { .. }
            | Step::Go { .. }
            | Step::Feed { .. }
            | Step::Put { kid: Some(_), .. }
                if self.is_full() => {}
            Step::TryGo { own, kid } => self.try_go(own, kid),
            Step::Queue { own, kid } => self.queue(own, kid),
            Step::TryQueue { own, kid } => self.try_queue(own, kid),
            Step::Ready { kid } => self.ready(kid),
            Step::Reserve => {
                let ticket = self.model.reserve();
                self.wait(ticket, Waiting::Reserve(self.handle.reserve()));
            }
            Step::SlotGo { pick, kid } => self.slot_go(pick, kid),
            Step::SlotDrop { pick } => {
                if !self.slots.is_empty() {
                    let (ticket, slot) = self.slots.remove(pick % self.slots.len());
                    drop(slot);
                    self.model.leave(ticket);
                }
            }
            Step::Hold => {
                self.holds.push(self.handle.hold());
                self.model.holds += 1;
            }
            Step::Release => {
                if self.holds.pop().is_some() {
                    self.model.holds -= 1;
                    self.model.process_queue();
                }
            }
            Step::Close => {
                self.handle.close();
                self.model.close();
                // The group is woken to look, whatever it finds.
                if let Some((_, reason)) = &mut self.asleep {
                    *reason = true;
                }
            }
            Step::OwnGo { kid, meanwhile } => self.own_go(kid, &meanwhile),
            Step::Go { kid } => self.go(kid),
            Step::Feed { kids, ended } => self.feed(kids, ended),
            Step::Put { pick, kid } => self.put(pick, kid),
            Step::PollWaiter { pick } => self.poll_waiter(pick),
            Step::DropWaiter { pick } => self.drop_waiter(pick),
            Step::Tell { pick, order } => self.tell(pick, order),
            Step::WakeGone { pick } => self.wake_gone(pick),
            Step::Limit { limit } => {
                self.handle.set_limit(limit);
                self.model.set_limit(limit);
            }
            Step::Cancel => {
                let first = self.handle.token().cancel();
                assert_eq!(first, !self.model.is_stopped());
                self.model.stop(Reason::Cancelled);
            }
            Step::Over => {
                if self.model.grace == Grace::Running {
                    self.model.grace = Grace::Over;
                    self.gate.open(0);
                }
            }
            Step::Take => self.take(),
            Step::Give => {
                if let Some(permit) = self.taken.pop() {
                    drop(permit);
                    *self.model.permits.as_mut().unwrap() += 1;
                }
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
        self.follow();
        self.check();
    }

    /// Other code takes a permit, if there is one. **It is there** if the model says so.
    fn take(&mut self) {
        let Some(semaphore) = &self.semaphore else {
            return;
        };
        let permit = semaphore.try_acquire_arc();
        assert_eq!(permit.is_some(), self.model.has_permit(), "a permit is left");
        if let Some(permit) = permit {
            self.taken.push(permit);
            *self.model.permits.as_mut().unwrap() -= 1;
        }
    }

    fn try_go(&mut self, own: bool, kid: Kid) {
        let (id, puppet) = self.make(kid);
        let answer = match &mut self.group {
            Some(group) if own => {
                self.asleep = None;
                group.try_go(puppet)
            }
            _ => self.handle.try_go(puppet),
        };
        let expected = self.model.try_go(id);
        assert_eq!(given_back(answer), expected);
    }

    fn try_queue(&mut self, own: bool, kid: Kid) {
        let (id, puppet) = self.make(kid);
        let answer = match &mut self.group {
            Some(group) if own => {
                self.asleep = None;
                group.try_queue(puppet)
            }
            _ => self.handle.try_queue(puppet),
        };
        let expected = self.model.try_queue(id);
        assert_eq!(given_back(answer), expected);
    }

    /// Polls the group's own `ready` once, and drops it. **If it is ready, a plain child is
    /// admitted.**
    fn ready(&mut self, kid: Kid) {
        let Some(mut group) = self.group.take() else {
            return;
        };
        self.asleep = None;
        let real = answer(&self.task.poll(&mut group.ready()));
        let ticket = self.model.ready();
        let mut expected = self.model.poll_ready(ticket);
        if expected == Answer::Wait {
            // It polls the children meanwhile.
            self.model.ready = Some(ticket);
            self.model.drive();
            let polled = self.follow();
            self.yielded.extend(polled.intersection(&self.model.awake));
            self.model.ready = None;
            expected = self.model.poll_ready(ticket);
        }
        assert_eq!(real, expected);
        self.model.leave(ticket);
        self.group = Some(group);
        if real == Answer::Ok {
            self.try_go(true, Kid { traits: Traits::PLAIN, ..kid });
            assert_ne!(self.model.places.last(), Some(&Place::Gone), "it is admitted");
        }
    }

    fn slot_go(&mut self, pick: usize, kid: Kid) {
        if self.slots.is_empty() {
            return;
        }
        let (ticket, slot) = self.slots.remove(pick % self.slots.len());
        let (id, puppet) = self.make_keyless(kid);
        let real = if slot.go(puppet).is_ok() { Answer::Ok } else { Answer::Stopped };
        assert_eq!(real, self.model.slot_go(ticket, id));
    }

    fn queue(&mut self, own: bool, kid: Kid) {
        let (id, puppet) = self.make(kid);
        match &mut self.group {
            Some(group) if own => {
                self.asleep = None;
                group.queue(puppet);
            }
            _ => self.handle.queue(puppet),
        }
        self.model.queue(id);
    }

    /// Awaits a `go` of the group itself. While it waits, others take their steps, and a `Poll`
    /// or a `Run` polls it again. In the end it is dropped.
    fn own_go(&mut self, kid: Kid, meanwhile: &[Step]) {
        if cfg!(errgroup_small_budget) {
            // It may return before it has polled all that is ready.
            return;
        }
        let Some(mut group) = self.group.take() else {
            return;
        };
        let (id, puppet) = self.make(kid);
        let ticket = self.model.go(id, None);
        let mut go = group.go(puppet);
        let mut waits = self.poll_own(&mut go, ticket, id);
        for step in meanwhile {
            match step {
                _ if !waits => break,
                Step::Poll | Step::Run => waits = self.poll_own(&mut go, ticket, id),
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

    /// Returns `true` if it still waits.
    fn poll_own(&mut self, go: &mut Go<&mut Held, Kids, Child>, ticket: Ticket, id: Id) -> bool {
        let before = self.task.wakes();
        let real = answer(&self.task.poll(go));
        self.model.looks(ticket);
        let mut expected = self.model.poll_go(ticket);
        // **Its child has begun** when it returns, unless it is still behind a reservation, or
        // another child has stopped the group and this one ends with the stop.
        let mut has_begun = false;
        if expected == Answer::Wait {
            // It polls the children meanwhile. Its own is polled once it is admitted.
            self.model.drive();
            let own = (real == Answer::Ok).then_some((ticket, id));
            let (model, dropped) = (&mut self.model, &mut self.dropped);
            let polled = Self::follow_events(model, dropped, &self.maker, own);
            has_begun = polled.contains(&id);
            self.yielded.extend(polled.intersection(&self.model.awake));
            // It was admitted meanwhile if it waits no more.
            let waits = self.model.waiters.contains_key(&ticket);
            expected = if waits { self.model.poll_go(ticket) } else { Answer::Ok };
        }
        assert_eq!(real, expected);
        if expected == Answer::Ok {
            self.model.drive();
            let polled = self.follow();
            has_begun |= polled.contains(&id) || self.dropped.contains(&id);
            self.yielded.extend(polled.intersection(&self.model.awake));
            // Where all children end with the stop, they do in the group's next poll.
            let ends = self.model.drops && self.model.ends_with_stop(id);
            let excused = ends || self.model.is_held(id);
            assert!(has_begun || excused, "it has not begun");
        } else {
            self.follow();
        }
        let waits = expected == Answer::Wait;
        if waits {
            self.model.waited_for_permit = self.model.lacks_permit();
        }
        self.own = waits.then_some(ticket);
        self.asleep = waits.then_some((before, false));
        waits
    }

    fn go(&mut self, kid: Kid) {
        let (id, puppet) = self.make(kid);
        let ticket = self.model.go(id, None);
        let go = self.handle.go(puppet);
        self.wait(ticket, Waiting::Go(go));
    }

    fn feed(&mut self, kids: Vec<Kid>, ended: bool) {
        let ticket = self.model.feed();
        let tap = Tap::new();
        for kid in kids {
            let (id, puppet) = self.make_keyless(kid);
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
        self.outside.push(Outside { ticket, future, task: MockTask::new(), wakes: 0 });
        self.poll_waiter(self.outside.len() - 1);
    }

    fn put(&mut self, pick: usize, kid: Option<Kid>) {
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
        match kid {
            Some(kid) => {
                let (id, puppet) = self.make_keyless(kid);
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
        self.model.looks(*ticket);
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
            Waiting::Reserve(reserve) => {
                let polled = task.poll(reserve);
                let real = answer(&polled);
                if let Poll::Ready(Ok(slot)) = polled {
                    self.slots.push((*ticket, slot));
                }
                (real != Answer::Wait, real == self.model.poll_reserve(*ticket))
            }
        };
        assert!(fits, "the answer of a waiter; it is ready: {ready}");
        let was_over = std::mem::take(&mut self.model.was_over);
        if let Some((_, reason)) = &mut self.asleep {
            *reason |= was_over;
        }
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

    fn tell(&mut self, pick: usize, mut order: Order) {
        self.restrict_order(&mut order);
        let running = &self.model.running;
        if let Some(&id) = running.get(pick % running.len().max(1)) {
            self.model.wake(id);
            self.maker.order(id, Some(order));
        }
    }

    /// Wakes a finished child. **Its waker** reaches nothing.
    fn wake_gone(&mut self, pick: usize) {
        let gone: Vec<_> = self.dropped.iter().copied().collect();
        if let Some(&id) = gone.get(pick % gone.len().max(1)) {
            self.maker.order(id, None);
        }
    }

    /// Polls the group. Returns `true` if it has resolved.
    fn poll(&mut self) -> bool {
        let Some(group) = &mut self.group else {
            return true;
        };
        let (mut wakes, mut real);
        loop {
            wakes = self.task.wakes();
            real = catch_unwind(AssertUnwindSafe(|| self.task.poll(group)));
            // With a small budget this is as many polls as the group asks for.
            let asks = matches!(real, Ok(Poll::Pending)) && self.task.wakes() > wakes;
            if !(asks && cfg!(errgroup_small_budget)) {
                break;
            }
        }
        self.model.drive();
        let mut awake = self.model.awake.clone();
        awake.retain(|id| self.model.running.contains(id));
        let polled = self.follow();
        // Those that end with the stop are dropped instead.
        awake.retain(|id| !self.dropped.contains(id));
        // A `go` may have left a round half done. If children yield in its rest, those that had
        // yielded before come after these.
        let before = std::mem::take(&mut self.yielded);
        if polled.iter().any(|id| self.model.awake.contains(id)) {
            awake.retain(|id| !before.contains(id));
        }
        assert!(
            self.model.closed || awake.is_subset(&polled),
            "not all woken children were polled"
        );
        if self.model.has_daemons_only() {
            self.model.stop(Reason::Finished);
            self.model.drive();
        }
        let expected = self.model.resolve();
        let real = match real {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(output)) => Some(End::Output(output)),
            Err(payload) => Some(End::Panic(*payload.downcast_ref::<Id>().unwrap())),
        };
        assert_eq!(real, expected);
        self.model.sleep();
        self.asleep = Some((wakes, false));
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

    fn follow(&mut self) -> BTreeSet<Id> {
        Self::follow_events(&mut self.model, &mut self.dropped, &self.maker, None)
    }

    /// Follows what the children have done, and checks it. Returns the children that were polled.
    ///
    /// `own` is the group's own `go` that has admitted its child meanwhile, with that child. It did
    /// so at the end of the round in which it got room.
    fn follow_events(
        model: &mut Model,
        dropped: &mut BTreeSet<Id>,
        maker: &Maker,
        own: Option<(Ticket, Id)>,
    ) -> BTreeSet<Id> {
        let mut polled = BTreeSet::new();
        // The children that may be polled in this round.
        let mut round = model.awake.clone();
        for event in maker.events() {
            // **When only daemons are left**, the stop that a child sees now is theirs.
            let seen = matches!(event, Event::Polled(_, true) | Event::Grace);
            if seen && model.has_daemons_only() {
                model.stop(Reason::Finished);
                model.drive();
            }
            if let Some((ticket, child)) = own {
                let is_over = match event {
                    Event::Polled(id, _) => id == child || !round.remove(&id),
                    Event::Panicked(_) | Event::Finished(_, _, false) => model.has_slot(ticket),
                    _ => false,
                };
                if is_over && model.waiters.contains_key(&ticket) {
                    if model.has_slot(ticket)
                        || matches!(event, Event::Polled(id, _) if id == child)
                    {
                        assert_eq!(model.poll_go(ticket), Answer::Ok);
                    }
                    round = model.awake.clone();
                    if let Event::Polled(id, _) = event {
                        round.remove(&id);
                    }
                }
            }
            match event {
                Event::Grace => model.grace_begins(),
                Event::Why(why) => {
                    // **The policy hears why**: what stopped the group, if anything did.
                    assert_eq!(why, model.stopped.clone().unwrap_or(Reason::Finished));
                }
                Event::Polled(id, stopped) => {
                    assert_eq!(stopped, model.is_stopped());
                    all_gone_are_dropped(model, dropped);
                    model.polled(id);
                    polled.insert(id);
                }
                Event::Yielded(id) => {
                    model.awake.insert(id);
                }
                Event::Asked(id, traits) => {
                    let child = model.make(traits);
                    model.go(child, Some(id));
                }
                Event::Went(id, answer) => {
                    let ticket = inside(model, id).unwrap();
                    model.looks(ticket);
                    assert_eq!(answer, model.poll_go(ticket));
                }
                Event::GaveUp(id) => {
                    let ticket = inside(model, id).unwrap();
                    model.leave(ticket);
                }
                Event::Panicked(id) => model.finished(id, Outcome::Panicked),
                // **A daemon's value is no result**: the policy is not told.
                Event::Returned(id) if model.is_daemon(id) => model.finished(id, Outcome::Ok),
                Event::Returned(_) => {}
                Event::Finished(id, info, ok) => {
                    assert!(!ok || !model.is_daemon(id), "the policy is told a daemon's value");
                    // **The policy hears who** it was.
                    assert_eq!(model.place(id), Place::Running(info.index), "the index");
                    assert_eq!(info.key, model.key(id), "the key");
                    model.finished(id, if ok { Outcome::Ok } else { Outcome::Failed });
                }
                Event::Failure(id, info) => {
                    let ended = model.ended.iter().find(|ended| ended.result == Err(id)).unwrap();
                    assert_eq!(info, Info { index: ended.index, key: model.key(id) });
                }
                Event::Observed(event) => observe(model, &event),
                Event::Dropped(id) => {
                    if model.ends_with_stop(id) {
                        model.dropped_by_stop(id);
                    }
                    // **Exactly once.**
                    assert!(dropped.insert(id), "{id} is dropped again");
                }
            }
        }
        polled
    }

    /// Checks what can be seen from outside.
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
            // The group may have dropped the queue already.
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
            let permits = model.lacks_permit() || model.waited_for_permit;
            *reason |= work || model.stop_unseen || permits;
            let woken = self.task.wakes() > *wakes;
            assert!(woken || !work, "the group sleeps and has work");
            assert!(!woken || *reason, "the group was woken for nothing");
        }
        for outside in &self.outside {
            let woken = outside.task.wakes() > outside.wakes;
            assert_eq!(
                woken, model.waiters[&outside.ticket].woken,
                "a waiter is woken when it has to be, and only then"
            );
        }
    }

    /// Finishes all children and polls all waiters. **The group always ends** then.
    pub fn end(mut self) {
        while !self.taken.is_empty() {
            self.step(&Step::Give);
        }
        if self.group.is_some() && self.model.limit == Some(0) {
            self.step(&Step::Limit { limit: Some(1) });
        }
        while !self.holds.is_empty() {
            self.step(&Step::Release);
        }
        for _ in 0..10_000 {
            while !self.slots.is_empty() {
                self.step(&Step::SlotDrop { pick: 0 });
            }
            if self.model.closed {
                break;
            }
            for id in self.model.running.clone() {
                self.model.wake(id);
                self.maker.order(id, Some(Order::Finish(Outcome::Ok)));
            }
            self.step(&Step::Run);
            for pick in (0..self.outside.len()).rev() {
                if self.model.waiters[&self.outside[pick].ticket].woken {
                    self.step(&Step::PollWaiter { pick });
                }
            }
        }
        assert!(self.model.closed, "it never ends");
        while !self.slots.is_empty() {
            self.step(&Step::SlotDrop { pick: 0 });
        }
        self.step(&Step::Poll);
        while !self.outside.is_empty() {
            self.step(&Step::PollWaiter { pick: 0 });
        }
        self.step(&Step::DropGroup);
        while self.model.has_permit() && self.semaphore.is_some() {
            self.step(&Step::Take);
        }
        assert_eq!(self.dropped.len(), self.model.places.len(), "all children are dropped");
        // The children hold the handle, and the group's queue holds children.
        self.maker.set_handle(None);
    }
}

/// Checks an event: **an observer hears what a child was given**. When it is told, the child may
/// have ended.
fn observe(model: &Model, event: &errgroup::Event) {
    let Some(name) = event.name() else { return };
    let id: Id = name.parse().unwrap();
    let Traits { weight, priority, daemon, .. } = model.traits[id];
    assert_eq!(event.key(), model.key(id).as_ref(), "the key of an event");
    match *event {
        errgroup::Event::Queued { weight: of, priority: at, daemon: is, .. }
        | errgroup::Event::Started { weight: of, priority: at, daemon: is, .. } => {
            assert_eq!((of, at, is), (weight, priority, daemon), "the options of an event");
        }
        _ => {}
    }
    if let (Some(index), Place::Running(at)) = (event.index(), model.place(id)) {
        assert_eq!(index, at, "the index of an event");
    }
}

/// Returns the answer without the child, which is dropped.
fn given_back<A>(answer: Result<(), TryGoError<A>>) -> Result<(), TryGoError<()>> {
    answer.map_err(|refused| match refused {
        TryGoError::AtLimit(_) => TryGoError::AtLimit(()),
        TryGoError::Stopped(_) => TryGoError::Stopped(()),
        TryGoError::Closed(_) => TryGoError::Closed(()),
        _ => panic!("an answer that the model does not know"),
    })
}

fn inside(model: &Model, id: Id) -> Option<Ticket> {
    let mut all = model.waiters.iter();
    all.find(|(_, waiter)| waiter.inside == Some(id)).map(|(&ticket, _)| ticket)
}

/// Checks that a child is **dropped as soon as it is over**, and no sooner.
fn all_gone_are_dropped(model: &Model, dropped: &BTreeSet<Id>) {
    for (id, place) in model.places.iter().enumerate() {
        let gone = *place == Place::Gone;
        assert_eq!(dropped.contains(&id), gone, "child {id} is {place:?}");
    }
}
