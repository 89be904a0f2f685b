//! One group of joinable children, and their handles.
//!
//! The model here knows no weights, priorities, waiters or permits, but what becomes of each child
//! whose handle aborts it, or whose group stops: its handle says so, it counts once, and it is
//! dropped once. In which order children are polled is not promised, so the model follows what
//! they note.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use errgroup::{Boxed, ChildHandle, Group, Handle, Hold, Joinable, Lost, Task, TryGoError, task};
use proptest::prelude::*;

use crate::common::MockTask;

type Kids = Boxed<'static, (), usize>;

/// How a group is made.
#[derive(Clone, Debug)]
pub struct Plan {
    pub limit: Option<usize>,
    pub queue_limit: Option<usize>,
    pub drop_on_stop: bool,
}

/// A step of a schedule. A `pick` chooses among those that there are.
#[derive(Clone, Debug)]
pub enum Step {
    Queue {
        until_stop: bool,
    },
    TryQueue {
        until_stop: bool,
    },
    TryGo {
        until_stop: bool,
    },
    /// A running child ends at its next poll.
    Tell {
        pick: usize,
        ok: bool,
    },
    Abort {
        pick: usize,
    },
    DropHandle {
        pick: usize,
        aborts: bool,
    },
    Limit(Option<usize>),
    Hold,
    Release,
    Cancel,
    Close,
    Run,
    DropGroup,
}

/// Where a child is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Queued,
    Running,
    /// It was aborted in the queue, and is dropped in the group's next poll.
    Leaving,
    Gone,
}

#[derive(Debug)]
struct Child {
    place: Place,
    until_stop: bool,
    aborted: bool,
    /// It has not been polled since it was admitted, told or aborted.
    awake: bool,
    ending: Option<Result<usize, Lost>>,
}

/// What a child has done.
#[derive(Debug)]
enum Event {
    Ended(usize, bool),
    Polled(usize),
    Dropped(usize),
}

#[derive(Default)]
struct Wire {
    /// `true` for an `Ok`.
    ends: Option<bool>,
    waker: Option<Waker>,
}

#[derive(Clone, Default)]
struct Wires(Arc<Mutex<(Vec<Wire>, Vec<Event>)>>);

struct Puppet(usize, Wires);

impl Future for Puppet {
    type Output = Result<usize, usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.0;
        let (wires, events) = &mut *self.1.0.lock().unwrap();
        wires[id].waker = Some(cx.waker().clone());
        match wires[id].ends {
            Some(ok) => {
                events.push(Event::Ended(id, ok));
                Poll::Ready(if ok { Ok(id) } else { Err(id) })
            }
            None => {
                events.push(Event::Polled(id));
                Poll::Pending
            }
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.1.0.lock().unwrap().1.push(Event::Dropped(self.0));
    }
}

pub struct World {
    plan: Plan,
    group: Option<Group<Kids>>,
    handle: Handle<Kids>,
    task: MockTask,
    wakes: usize,
    wires: Wires,
    children: Vec<Child>,
    /// The handles that there are still, each with a task.
    handles: Vec<(usize, ChildHandle<usize>, MockTask)>,
    holds: Vec<Hold>,
    queue: VecDeque<usize>,
    running: BTreeSet<usize>,
    dropped: BTreeSet<usize>,
    /// How many have ended well, with an error, and without a result.
    counts: (usize, usize, usize),
    error: Option<usize>,
    stopped: bool,
    closing: bool,
    /// Resolved or gone.
    over: bool,
    /// Resolved, and nothing had stopped it.
    finished: bool,
}

impl World {
    pub fn new(plan: &Plan) -> Self {
        let mut group = Group::new();
        if let Some(limit) = plan.queue_limit {
            group = group.with_queue_limit(limit);
        }
        if plan.drop_on_stop {
            group = group.drop_on_stop();
        }
        let handle = group.handle();
        handle.set_limit(plan.limit);
        Self {
            plan: plan.clone(),
            group: Some(group),
            handle,
            task: MockTask::new(),
            wakes: 0,
            wires: Wires::default(),
            children: Vec::new(),
            handles: Vec::new(),
            holds: Vec::new(),
            queue: VecDeque::new(),
            running: BTreeSet::new(),
            dropped: BTreeSet::new(),
            counts: (0, 0, 0),
            error: None,
            stopped: false,
            closing: false,
            over: false,
            finished: false,
        }
    }

    pub fn step(&mut self, step: &Step) {
        match *step {
            Step::Queue { until_stop } => {
                let (id, child) = self.make(until_stop);
                self.handle.queue(child);
                if self.add(id, true).is_err() {
                    self.counts.2 += 1;
                }
            }
            Step::TryQueue { until_stop } => {
                let (id, child) = self.make(until_stop);
                let real = self.handle.try_queue(child).map_err(plain);
                assert_eq!(real, self.add(id, true));
            }
            Step::TryGo { until_stop } => {
                let (id, child) = self.make(until_stop);
                let real = self.handle.try_go(child).map_err(plain);
                assert_eq!(real, self.add(id, false));
            }
            Step::Tell { pick, ok } => {
                if let Some(&id) = self.running.iter().nth(pick % self.running.len().max(1)) {
                    self.children[id].awake = true;
                    let waker = {
                        let wire = &mut self.wires.0.lock().unwrap().0[id];
                        wire.ends = Some(ok);
                        wire.waker.clone()
                    };
                    waker.into_iter().for_each(Waker::wake);
                }
            }
            Step::Abort { pick } => {
                if let Some((id, handle, _)) = self.handles.get(pick % self.handles.len().max(1)) {
                    handle.abort();
                    let id = *id;
                    self.abort(id);
                }
            }
            Step::DropHandle { pick, aborts } => {
                if !self.handles.is_empty() {
                    let (id, handle, _) = self.handles.remove(pick % self.handles.len());
                    if aborts {
                        drop(handle.abort_on_drop());
                        self.abort(id);
                    }
                }
            }
            Step::Limit(limit) => {
                self.handle.set_limit(limit);
                self.plan.limit = limit;
                self.admit();
            }
            Step::Hold => self.holds.push(self.handle.hold()),
            Step::Release => drop(self.holds.pop()),
            Step::Cancel => {
                self.handle.token().cancel();
                self.stopped |= !self.over;
            }
            Step::Close => {
                self.handle.close();
                self.closing = true;
            }
            Step::Run => self.run(),
            Step::DropGroup => {
                self.stopped |= !self.over;
                self.over = true;
                for id in std::mem::take(&mut self.queue).into_iter().chain(self.running.clone()) {
                    self.lose(id);
                }
                self.group = None;
                self.follow();
            }
        }
        self.follow();
        self.check();
    }

    fn make(&mut self, until_stop: bool) -> (usize, Task<Joinable<Puppet, usize>>) {
        let id = self.children.len();
        self.wires.0.lock().unwrap().0.push(Wire::default());
        let (child, handle) = task(Puppet(id, self.wires.clone())).joinable();
        self.handles.push((id, handle, MockTask::new()));
        let (place, ending) = (Place::Gone, Some(Err(Lost::Dropped)));
        self.children.push(Child { place, until_stop, aborted: false, awake: false, ending });
        (id, if until_stop { child.until_stop() } else { child })
    }

    fn fits(&self) -> bool {
        self.plan.limit.is_none_or(|limit| self.running.len() < limit)
    }

    /// Accepts a child, or says why not.
    fn add(&mut self, id: usize, may_wait: bool) -> Result<(), TryGoError<()>> {
        if self.closing && (self.finished || !self.stopped) || (may_wait && self.finished) {
            return Err(TryGoError::Closed(()));
        }
        if self.stopped || self.over {
            return Err(TryGoError::Stopped(()));
        }
        let room = self.queue.is_empty() && self.fits();
        let is_full = self.plan.queue_limit.is_some_and(|limit| self.queue.len() >= limit);
        if !room && (!may_wait || is_full) {
            return Err(TryGoError::AtLimit(()));
        }
        self.children[id].ending = None;
        self.children[id].place = Place::Queued;
        self.queue.push_back(id);
        self.admit();
        Ok(())
    }

    fn admit(&mut self) {
        while !self.stopped && !self.over && self.fits() {
            let Some(id) = self.queue.pop_front() else { return };
            self.children[id].place = Place::Running;
            self.children[id].awake = true;
            self.running.insert(id);
        }
    }

    fn abort(&mut self, id: usize) {
        let child = &mut self.children[id];
        match child.place {
            Place::Queued => {
                self.queue.retain(|other| *other != id);
                child.place = Place::Leaving;
                child.ending = Some(Err(Lost::Aborted));
                self.counts.2 += 1;
                self.admit();
            }
            Place::Running if child.ending.is_none() => {
                child.aborted = true;
                child.awake = true;
            }
            _ => {}
        }
    }

    /// A child that was accepted ends without a result.
    fn lose(&mut self, id: usize) {
        self.queue.retain(|other| *other != id);
        self.running.remove(&id);
        let child = &mut self.children[id];
        child.place = Place::Gone;
        child.ending = Some(Err(if child.aborted { Lost::Aborted } else { Lost::Dropped }));
        self.counts.2 += 1;
    }

    fn ends_with_stop(&self, id: usize) -> bool {
        self.stopped && (self.plan.drop_on_stop || self.children[id].until_stop)
    }

    /// Follows what the children have done.
    fn follow(&mut self) {
        let events = std::mem::take(&mut self.wires.0.lock().unwrap().1);
        for event in events {
            match event {
                Event::Polled(id) | Event::Ended(id, _) => {
                    let may_end = self.ends_with_stop(id);
                    let child = &mut self.children[id];
                    assert_eq!(child.place, Place::Running, "{id} is polled");
                    assert!(child.awake && !child.aborted && !may_end, "{id} is polled");
                    child.awake = false;
                    let Event::Ended(_, ok) = event else { continue };
                    child.place = Place::Gone;
                    child.ending = Some(if ok { Ok(id) } else { Err(Lost::Failed) });
                    self.running.remove(&id);
                    if ok {
                        self.counts.0 += 1;
                        self.admit();
                    } else {
                        self.counts.1 += 1;
                        // The first error counts, unless a cancel came before it.
                        self.error.get_or_insert(id);
                        self.stopped = true;
                    }
                }
                Event::Dropped(id) => {
                    let may_end = self.ends_with_stop(id) || self.children[id].aborted;
                    match self.children[id].place {
                        Place::Gone => {}
                        Place::Leaving => self.children[id].place = Place::Gone,
                        Place::Queued => {
                            assert!(self.stopped, "{id} is dropped in the queue");
                            self.lose(id);
                        }
                        Place::Running => {
                            assert!(may_end, "{id} is dropped while it runs");
                            self.lose(id);
                            self.admit();
                        }
                    }
                    assert!(self.dropped.insert(id), "{id} is dropped again");
                }
            }
        }
    }

    /// Polls the group as an executor would, until it rests.
    fn run(&mut self) {
        let Some(group) = &mut self.group else { return };
        let real = if self.over { Poll::Pending } else { self.task.run(group) };
        self.wakes = self.task.wakes();
        self.follow();
        if self.over {
            return;
        }
        for (id, child) in self.children.iter().enumerate() {
            assert!(!child.awake || child.place != Place::Running, "{id} was not polled");
            assert_ne!(child.place, Place::Leaving, "{id} is still there");
            assert!(!self.stopped || child.place != Place::Queued, "{id} is still queued");
            let late = self.ends_with_stop(id) && child.place == Place::Running;
            assert!(!late, "{id} has not ended with the stop");
        }
        let held = !self.holds.is_empty() && !self.closing && !self.stopped;
        let ends = self.running.is_empty() && self.queue.is_empty() && !held;
        let expected = ends.then(|| self.error.map_or(Ok(()), Err));
        assert_eq!(real, expected.map_or(Poll::Pending, Poll::Ready));
        self.over = ends;
        self.finished = ends && !self.stopped;
    }

    fn has_work(&self) -> bool {
        let wakes = |child: &Child| {
            (child.place == Place::Running && child.awake) || child.place == Place::Leaving
        };
        let held = !self.holds.is_empty() && !self.closing;
        let is_idle = self.running.is_empty() && (self.queue.is_empty() || self.stopped);
        self.group.is_some()
            && !self.over
            && (self.children.iter().any(wakes)
                || (self.stopped && !self.queue.is_empty())
                || self.running.iter().any(|id| self.ends_with_stop(*id))
                || (is_idle && (self.stopped || !held)))
    }

    /// Checks what can be seen from outside.
    fn check(&mut self) {
        let stats = self.handle.stats();
        let numbers = (stats.queued, stats.running, (stats.ok, stats.failed, stats.dropped));
        assert_eq!(numbers, (self.queue.len(), self.running.len(), self.counts));
        if self.has_work() {
            assert!(self.task.wakes() > self.wakes || self.wakes == 0, "the group sleeps");
        }
        // **The handle is told as soon as the child has ended**, and the child is gone by then.
        for (id, child) in self.children.iter().enumerate() {
            let is_gone = child.place == Place::Gone;
            assert_eq!(is_gone, self.dropped.contains(&id), "child {id} is {child:?}");
        }
        let children = &self.children;
        self.handles.retain_mut(|(id, handle, task)| {
            let expected = children[*id].ending;
            assert_eq!(handle.is_finished(), expected.is_some());
            let real = task.poll(handle);
            assert_eq!(real, expected.map_or(Poll::Pending, Poll::Ready), "the handle of {id}");
            expected.is_none()
        });
    }

    /// Ends all children. **The group always ends** then.
    pub fn end(mut self) {
        self.holds.clear();
        self.step(&Step::Limit(None));
        self.step(&Step::Run);
        while !self.running.is_empty() && self.group.is_some() {
            self.step(&Step::Tell { pick: 0, ok: true });
            self.step(&Step::Run);
        }
        self.step(&Step::Run);
        assert!(self.over, "it never ends");
        self.step(&Step::DropGroup);
        assert_eq!(self.dropped.len(), self.children.len(), "all children are dropped");
        assert!(self.handles.is_empty(), "all handles are told");
    }
}

fn plain<A>(refused: TryGoError<A>) -> TryGoError<()> {
    match refused {
        TryGoError::AtLimit(_) => TryGoError::AtLimit(()),
        TryGoError::Stopped(_) => TryGoError::Stopped(()),
        TryGoError::Closed(_) => TryGoError::Closed(()),
        _ => panic!("an answer that the model does not know"),
    }
}

pub fn plan() -> impl Strategy<Value = Plan> {
    let queue_limit = prop::option::weighted(0.3, 0..4_usize);
    (limit(), queue_limit, any::<bool>()).prop_map(|(limit, queue_limit, drop_on_stop)| Plan {
        limit,
        queue_limit,
        drop_on_stop,
    })
}

fn limit() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![1 => Just(None), 6 => (0..4_usize).prop_map(Some)]
}

pub fn step() -> impl Strategy<Value = Step> {
    let (until_stop, pick) = (prop::bool::weighted(0.3), 0..8_usize);
    prop_oneof![
        6 => until_stop.prop_map(|until_stop| Step::Queue { until_stop }),
        2 => until_stop.prop_map(|until_stop| Step::TryQueue { until_stop }),
        3 => until_stop.prop_map(|until_stop| Step::TryGo { until_stop }),
        6 => (pick.clone(), prop::bool::weighted(0.9))
            .prop_map(|(pick, ok)| Step::Tell { pick, ok }),
        5 => pick.clone().prop_map(|pick| Step::Abort { pick }),
        2 => (pick, any::<bool>()).prop_map(|(pick, aborts)| Step::DropHandle { pick, aborts }),
        2 => limit().prop_map(Step::Limit),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
        1 => Just(Step::Cancel),
        1 => Just(Step::Close),
        8 => Just(Step::Run),
        1 => Just(Step::DropGroup),
    ]
}
