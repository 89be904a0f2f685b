//! Groups and other tasks that share a semaphore, in random schedules.
//!
//! **Each task is polled only when it was woken.** Between two polls of one task the others take
//! their steps, and permits come and go. A task that was woken may stay unpolled for long, so it
//! may keep the semaphore's notification from those that wait behind it. Children, deadlines,
//! observers, streams and wakers take and release permits in the midst of a group's poll.
//!
//! Which task gets a permit next is not promised, so no model says it. What is promised whichever
//! it is, is in [`World::check`], [`World::check_at_rest`] and [`World::end`].
//!
//! A group lets go of a permit that it has taken over from its own children 32 times in a row.
//! Few random schedules add so many children, so one stream in three has about as many.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use proptest::prelude::*;

use crate::tasks::{Act, Env, Item, Kid, Order, Plan};

/// A step of a schedule. A `pick` chooses among those that there are.
#[derive(Clone, Debug)]
pub enum Step {
    /// Orders what the owner of a group does next.
    Order {
        at: usize,
        orders: Vec<Order>,
    },
    /// Starts a task that waits for a permit, as any other code does.
    Acquire {
        waker: Option<Act>,
    },
    /// Starts a task that waits in a `go`, or in a `feed`, of a handle.
    Go {
        at: usize,
        kid: Kid,
        waker: Option<Act>,
    },
    Feed {
        at: usize,
        items: Vec<Item>,
        waker: Option<Act>,
    },
    /// Polls a task that was woken.
    Poll {
        pick: usize,
    },
    /// Polls the tasks that were woken until none is.
    Rest {
        pick: usize,
    },
    /// Drops a task that does not own a group.
    Drop {
        pick: usize,
    },
    /// Opens a gate.
    Open {
        pick: usize,
    },
    /// Takes a permit, or gives one back.
    Take,
    Give,
    /// Adds a permit, up to four in all.
    Add,
    Limit {
        at: usize,
        limit: Option<usize>,
    },
    Cancel {
        at: usize,
    },
}

/// The name of each task that waits for a permit as any other code does.
const ACQUIRER: &str = "a waiter at the semaphore";

struct Running {
    name: String,
    future: Pin<Box<dyn Future<Output = ()>>>,
    wakes: Arc<Wakes>,
    /// Its wake-ups when it was last polled.
    seen: usize,
}

/// What a task's waker does: it counts, and acts.
struct Wakes {
    count: AtomicUsize,
    env: Env,
    act: Option<Act>,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        if let Some(act) = &self.act {
            self.env.act(0, act.clone());
        }
    }
}

pub struct World {
    permits: usize,
    env: Env,
    /// The owner of each group, then the others.
    tasks: Vec<Running>,
}

// === impl Running ===

impl Running {
    fn is_woken(&self) -> bool {
        self.wakes.count.load(Ordering::SeqCst) > self.seen
    }
}

// === impl World ===

impl World {
    pub fn new(permits: usize, plans: &[Plan]) -> Self {
        let env = Env::new(permits, plans);
        let mut world = Self { permits, env, tasks: Vec::new() };
        for (at, plan) in plans.iter().enumerate() {
            let name = format!("the owner of group {at}");
            world.spawn(name, plan.waker.clone(), world.env.clone().own(at));
        }
        world
    }

    /// Starts a task, and polls it for the first time.
    fn spawn(
        &mut self,
        name: String,
        act: Option<Act>,
        future: impl Future<Output = ()> + 'static,
    ) {
        let wakes = Wakes { count: AtomicUsize::new(0), env: self.env.clone(), act };
        let (future, wakes) = (Box::pin(future), Arc::new(wakes));
        self.tasks.push(Running { name, future, wakes, seen: 0 });
        self.poll(self.tasks.len() - 1);
    }

    fn poll(&mut self, at: usize) {
        let task = &mut self.tasks[at];
        task.seen = task.wakes.count.load(Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&task.wakes));
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.tasks.remove(at);
        }
    }

    /// Polls one of the tasks that were woken. Returns `false` if there is none.
    fn poll_woken(&mut self, pick: usize) -> bool {
        let woken: Vec<_> = (0..self.tasks.len()).filter(|&at| self.tasks[at].is_woken()).collect();
        if woken.is_empty() {
            return false;
        }
        self.poll(woken[pick % woken.len()]);
        true
    }

    /// Polls as an executor would, until no task is woken.
    fn rest(&mut self, pick: usize) {
        for _ in 0..10_000 {
            if !self.poll_woken(pick) {
                return self.check_at_rest();
            }
            self.check();
        }
        panic!("the tasks never come to rest");
    }

    pub fn step(&mut self, step: &Step) {
        let env = self.env.clone();
        match step.clone() {
            Step::Order { at, orders } => {
                orders.into_iter().for_each(|order| env.order(at, order));
            }
            Step::Acquire { waker } => self.spawn(ACQUIRER.into(), waker, env.acquire()),
            Step::Go { at, kid, waker } => {
                let name = format!("a go of a handle of group {at}");
                self.spawn(name, waker, env.clone().go(at, kid));
                // From now on the group is polled.
                env.order(at, Order::Poll);
            }
            Step::Feed { at, items, waker } => {
                let name = format!("a feed of a handle of group {at}");
                self.spawn(name, waker, env.clone().feed(at, items));
                env.order(at, Order::Poll);
            }
            Step::Poll { pick } => {
                self.poll_woken(pick);
            }
            Step::Rest { pick } => self.rest(pick),
            Step::Drop { pick } => {
                let owners = env.groups();
                if self.tasks.len() > owners {
                    let others = self.tasks.len() - owners;
                    drop(self.tasks.remove(owners + pick % others));
                }
            }
            Step::Open { pick } => {
                env.open(pick);
            }
            Step::Take => env.take(),
            Step::Give => {
                env.give();
            }
            Step::Add => {
                if self.permits < 4 {
                    self.permits += 1;
                    env.add(1);
                }
            }
            Step::Limit { at, limit } => {
                env.handle(at).into_iter().for_each(|handle| handle.set_limit(limit));
            }
            Step::Cancel { at } => {
                env.handle(at).into_iter().for_each(|handle| {
                    handle.token().cancel();
                });
            }
        }
        self.check();
        if !self.tasks.iter().any(Running::is_woken) {
            self.check_at_rest();
        }
    }

    /// Returns how many children run, in all groups.
    fn running(&self) -> usize {
        let handles = (0..self.env.groups()).filter_map(|at| self.env.handle(at));
        handles.map(|handle| handle.stats().running).sum()
    }

    /// Checks what holds at any time.
    ///
    /// **Never more than there are permits**: each running child has one.
    fn check(&self) {
        let used = self.env.free() + self.env.taken() + self.running();
        assert!(used <= self.permits, "{used} permits are used, of {}", self.permits);
    }

    /// Checks what holds when no task is woken, so that none is polled before the next step.
    fn check_at_rest(&self) {
        let env = &self.env;
        let (free, taken, running) = (env.free(), env.taken(), self.running());
        let tasks: Vec<_> = self.tasks.iter().map(|running| &running.name).collect();

        // **No permit is lost**: each is free, taken, or of a child that runs. A waiter for
        // which one is reserved was woken, and has claimed it by now.
        assert_eq!(
            free + taken + running,
            self.permits,
            "{free} permits are free, {taken} taken, {running} children run; {tasks:?}"
        );

        // **No task sleeps** while a permit is free that it could use.
        if free == 0 {
            return;
        }
        assert!(!tasks.iter().any(|name| *name == ACQUIRER), "{free} are free");
        for at in (0..env.groups()).filter(|&at| env.is_polled(at)) {
            let Some(handle) = env.handle(at) else {
                continue;
            };
            let stats = handle.stats();
            let waits = stats.queued + env.waiting(at) > 0 && !handle.is_stopped();
            let sleeps = waits && env.has_room(at, stats);
            assert!(!sleeps, "group {at} sleeps, {free} permits are free; {tasks:?}");
        }
    }

    /// Opens all gates, gives all permits back, and lets no limit be 0. **Everything ends** then,
    /// and nothing is left.
    pub fn end(mut self) {
        (0..self.env.groups()).for_each(|at| self.env.end(at));
        for _ in 0..1000 {
            self.rest(0);
            if self.tasks.is_empty() {
                break;
            }
            while self.env.give() {}
            while self.env.open(0) {}
            let handles = (0..self.env.groups()).filter_map(|at| self.env.handle(at));
            handles.filter(|handle| handle.limit() == Some(0)).for_each(|handle| {
                handle.set_limit(Some(1));
            });
        }
        let left: Vec<_> = self.tasks.iter().map(|running| &running.name).collect();
        assert!(left.is_empty(), "it never ends: {left:?}");
        while self.env.give() {}
        assert_eq!(self.env.free(), self.permits, "all permits are back");
        let (made, dropped) = self.env.children();
        assert_eq!(made, dropped, "each child is dropped once");
    }
}

// --- the schedules ---

fn limit() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![2 => Just(None), 3 => (1..4_usize).prop_map(Some)]
}

/// Generates a limit that may be 0. A waker does not set it: it could take the room back each
/// time that it is woken for it.
fn any_limit() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![1 => Just(Some(0)), 12 => limit()]
}

/// Generates what neither waits nor adds a child.
fn quick() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Take),
        8 => Just(Act::Give),
        2 => limit().prop_map(Act::Limit),
    ]
}

/// Generates what a waker does that only groups wake.
fn waker_of_a_group() -> impl Strategy<Value = Option<Act>> {
    prop::option::weighted(0.2, quick())
}

/// Generates what a waker does that the semaphore may wake. It gives no permit back, since the
/// semaphore wakes under its lock.
fn waker() -> impl Strategy<Value = Option<Act>> {
    prop::option::weighted(0.2, Just(Act::Take))
}

fn act(kid: impl Strategy<Value = Kid> + Clone + 'static) -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Yield),
        8 => Just(Act::Wait),
        6 => quick(),
        1 => Just(Act::Cancel),
        2 => kid.clone().prop_map(Act::Queue),
        2 => kid.clone().prop_map(Act::TryGo),
        2 => kid.prop_map(Act::Go),
    ]
}

/// Generates a child that mostly ends at once.
fn leaf() -> BoxedStrategy<Kid> {
    let acts = prop_oneof![
        4 => Just(Vec::new()),
        1 => Just(vec![Act::Yield]),
        2 => Just(vec![Act::Wait]),
    ];
    let priority = prop_oneof![6 => Just(0), 4 => Just(-1), 1 => Just(1)];
    let weight = prop_oneof![20 => Just(1), 1 => Just(0), 1 => 2..4_usize];
    let (daemon, fails) = (prop::bool::weighted(0.03), prop::bool::weighted(0.01));
    (weight, priority, daemon, acts, fails)
        .prop_map(|(weight, priority, daemon, acts, fails)| Kid {
            weight,
            priority,
            daemon,
            acts,
            fails,
        })
        .boxed()
}

/// Generates a child. A daemon waits in no `go`: its group does not help it out there.
fn kid() -> impl Strategy<Value = Kid> {
    let acting = (leaf(), prop::collection::vec(act(leaf()), 1..4)).prop_map(|(kid, acts)| Kid {
        acts,
        daemon: false,
        ..kid
    });
    prop_oneof![2 => leaf(), 1 => acting]
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item =
        (prop::option::weighted(0.1, quick()), kid()).prop_map(|(first, kid)| Item { first, kid });
    let ready = Item {
        first: None,
        kid: Kid { weight: 1, priority: 0, daemon: false, acts: Vec::new(), fails: false },
    };
    prop_oneof![
        2 => prop::collection::vec(item, 0..4),
        // About as many as take over a permit before the group lets go of it.
        1 => (29..36_usize).prop_map(move |count| vec![ready.clone(); count]),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        4 => kid().prop_map(Order::Queue),
        1 => kid().prop_map(Order::TryGo),
        6 => kid().prop_map(Order::Go),
        6 => items().prop_map(Order::Feed),
        1 => prop::collection::vec(kid(), 0..4).prop_map(Order::Scope),
        1 => items().prop_map(Order::Results),
        2 => Just(Order::Leave),
        2 => Just(Order::Poll),
        1 => Just(Order::Drop),
    ]
}

/// Generates what a deadline or a grace does.
fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![1 => Just(Act::Yield), 4 => Just(Act::Wait), 4 => quick()];
    prop::collection::vec(act, 1..8)
}

pub fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let deadline = prop_oneof![2 => Just(Vec::new()), 1 => acts()];
    let observer = prop::option::weighted(0.15, quick());
    let grace = prop::option::weighted(0.15, acts());
    let plan = (any_limit(), deadline, grace, observer, waker()).prop_map(
        |(limit, deadline, grace, observer, waker)| Plan {
            limit,
            deadline,
            grace,
            observer,
            waker,
        },
    );
    prop::collection::vec(plan, 1..3)
}

/// Generates the steps of a world with that many groups.
pub fn steps(groups: usize) -> impl Strategy<Value = Vec<Step>> {
    let (at, pick) = (0..groups, 0..8_usize);
    let step = prop_oneof![
        12 => (at.clone(), prop::collection::vec(order(), 1..4))
            .prop_map(|(at, orders)| Step::Order { at, orders }),
        5 => waker().prop_map(|waker| Step::Acquire { waker }),
        4 => (at.clone(), kid(), waker_of_a_group())
            .prop_map(|(at, kid, waker)| Step::Go { at, kid, waker }),
        2 => (at.clone(), items(), waker_of_a_group())
            .prop_map(|(at, items, waker)| Step::Feed { at, items, waker }),
        16 => pick.clone().prop_map(|pick| Step::Poll { pick }),
        3 => pick.clone().prop_map(|pick| Step::Rest { pick }),
        2 => pick.clone().prop_map(|pick| Step::Drop { pick }),
        6 => pick.prop_map(|pick| Step::Open { pick }),
        3 => Just(Step::Take),
        5 => Just(Step::Give),
        1 => Just(Step::Add),
        2 => (at.clone(), any_limit()).prop_map(|(at, limit)| Step::Limit { at, limit }),
        1 => at.prop_map(|at| Step::Cancel { at }),
    ];
    prop::collection::vec(step, 1..60)
}
