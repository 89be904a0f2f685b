//! What the tasks of a [`sharing`](crate::sharing) world do. Each is an ordinary `async fn`.
//!
//! They have one [`Env`] in common. It has the semaphore, the permits that no group has, and
//! the gates at which children wait. For each group it has a handle, and the orders for the task
//! that owns the group.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use async_lock::{Semaphore, SemaphoreGuardArc};
use errgroup::{Boxed, Event, Group, Handle, Stats, Task, task};
use futures::stream::{self, Stream, StreamExt};

use crate::common::{DropCounter, Gate, yield_now};

type Kids = Boxed<'static, (), ()>;
type Acting = Pin<Box<dyn Future<Output = Result<(), ()>> + Send>>;

/// What a child, a deadline, an observer, a stream of children or a waker does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Wakes itself and is pending.
    Yield,
    /// Waits at a gate until a step of the world opens it.
    Wait,
    /// Takes a permit, if one is free.
    Take,
    /// Gives a taken permit back.
    Give,
    /// Sets the limit of its own group.
    Limit(Option<usize>),
    /// Stops its own group.
    Cancel,
    /// Adds a child to its own group.
    Queue(Kid),
    TryGo(Kid),
    /// Adds a child to its own group, and waits in `go` until it is admitted.
    Go(Kid),
}

/// A child to be: it acts, and then ends.
#[derive(Clone, Debug)]
pub struct Kid {
    pub weight: usize,
    pub priority: i32,
    pub daemon: bool,
    pub acts: Vec<Act>,
    pub fails: bool,
}

/// An item of a stream: what the stream does when it is asked for it, and the child.
#[derive(Clone, Debug)]
pub struct Item {
    pub first: Option<Act>,
    pub kid: Kid,
}

/// What the task that owns a group does next. While it has no order, it polls its group.
#[derive(Clone, Debug)]
pub enum Order {
    Queue(Kid),
    TryGo(Kid),
    /// Awaits a `go`, or a `feed`, of the group.
    Go(Kid),
    Feed(Vec<Item>),
    /// Turns the group into a scope whose body adds these children, or into a stream of results
    /// that another stream feeds, and awaits its end.
    Scope(Vec<Kid>),
    Results(Vec<Item>),
    /// Drops what it awaits.
    Leave,
    Poll,
    /// Drops the group, and makes another.
    Drop,
}

/// How a group is made.
#[derive(Clone, Debug)]
pub struct Plan {
    pub limit: Option<usize>,
    /// What the deadline does; it never comes.
    pub deadline: Vec<Act>,
    /// What the grace does before it is over, if there is one.
    pub grace: Option<Vec<Act>>,
    /// What an observer does at each event, if there is one.
    pub observer: Option<Act>,
    /// What the waker of its owner's task does.
    pub waker: Option<Act>,
}

/// What all tasks have in common.
#[derive(Clone)]
pub struct Env(Arc<Shared>);

struct Shared {
    semaphore: Arc<Semaphore>,
    /// The permits that are neither free nor a group's; no particular task has them.
    taken: Mutex<Vec<SemaphoreGuardArc>>,
    gate: Gate,
    /// Which gates there are. A gate is known by its number.
    gates: Mutex<Gates>,
    groups: Vec<Member>,
    children: DropCounter,
}

#[derive(Default)]
struct Gates {
    /// How many there ever were.
    count: usize,
    closed: Vec<usize>,
}

/// A group, and each further group that its owner makes in its place.
struct Member {
    plan: Plan,
    state: Mutex<GroupState>,
}

#[derive(Default)]
struct GroupState {
    orders: VecDeque<Order>,
    /// The waker of the owner's task, while it waits for orders.
    owner: Option<Waker>,
    /// No further group is to be made.
    ends: bool,
    handle: Option<Handle<Kids>>,
    /// The owner has had its first order, and polls the group from then on.
    polled: bool,
    /// How many children were made for it.
    made: usize,
    /// A child that takes more room than one was made for it.
    heavy: bool,
    /// How many `go` and `feed` futures wait.
    waiting: usize,
}

/// Counts a `go` or a `feed` that waits, until it is dropped.
struct Waiting(Env, usize);

impl Waiting {
    fn new(env: &Env, at: usize) -> Self {
        env.group(at).waiting += 1;
        Self(env.clone(), at)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.group(self.1).waiting -= 1;
    }
}

// === impl Env ===

impl Env {
    pub fn new(permits: usize, plans: &[Plan]) -> Self {
        let group = |plan: &Plan| Member { plan: plan.clone(), state: Mutex::default() };
        Self(Arc::new(Shared {
            semaphore: Arc::new(Semaphore::new(permits)),
            taken: Mutex::default(),
            gate: Gate::new(),
            gates: Mutex::default(),
            groups: plans.iter().map(group).collect(),
            children: DropCounter::default(),
        }))
    }

    fn group(&self, at: usize) -> MutexGuard<'_, GroupState> {
        self.0.groups[at].state.lock().unwrap()
    }

    // --- what can be seen ---

    pub fn groups(&self) -> usize {
        self.0.groups.len()
    }

    /// Returns how many permits are free.
    pub fn free(&self) -> usize {
        self.0.semaphore.available_permits()
    }

    /// Returns how many permits are taken.
    pub fn taken(&self) -> usize {
        self.0.taken.lock().unwrap().len()
    }

    /// Returns the group's handle, or `None` between two groups.
    pub fn handle(&self, at: usize) -> Option<Handle<Kids>> {
        self.group(at).handle.clone()
    }

    /// Returns `true` if the owner polls that group.
    pub fn is_polled(&self, at: usize) -> bool {
        self.group(at).polled
    }

    /// Returns `true` if one more child runs in that group when it has its turn and a permit.
    pub fn has_room(&self, at: usize, stats: Stats) -> bool {
        // How much room heavy children take and need is not counted here.
        stats.limit.is_none_or(|limit| stats.running < limit && !self.group(at).heavy)
    }

    /// Returns how many `go` and `feed` futures of that group wait.
    pub fn waiting(&self, at: usize) -> usize {
        self.group(at).waiting
    }

    /// Returns how many children were made, and how many are dropped.
    pub fn children(&self) -> (usize, usize) {
        let made = (0..self.groups()).map(|at| self.group(at).made).sum();
        (made, self.0.children.get())
    }

    // --- what steps do ---

    /// Takes a permit, if one is free.
    pub fn take(&self) {
        let permit = self.0.semaphore.try_acquire_arc();
        self.0.taken.lock().unwrap().extend(permit);
    }

    /// Gives a taken permit back. Returns `false` if there is none.
    pub fn give(&self) -> bool {
        let permit = self.0.taken.lock().unwrap().pop();
        permit.is_some()
    }

    /// Adds permits to the semaphore.
    pub fn add(&self, permits: usize) {
        self.0.semaphore.add_permits(permits);
    }

    /// Opens a gate at which a child waits. Returns `false` if there is none.
    pub fn open(&self, pick: usize) -> bool {
        let mut gates = self.0.gates.lock().unwrap();
        if gates.closed.is_empty() {
            return false;
        }
        let at = pick % gates.closed.len();
        let number = gates.closed.remove(at);
        drop(gates);
        self.0.gate.open(number);
        true
    }

    pub fn order(&self, at: usize, order: Order) {
        self.change_orders(at, |state| state.orders.push_back(order));
    }

    /// Ends the owner's task when its group has ended.
    pub fn end(&self, at: usize) {
        self.change_orders(at, |state| state.ends = true);
    }

    fn change_orders(&self, at: usize, change: impl FnOnce(&mut GroupState)) {
        let owner = {
            let mut state = self.group(at);
            change(&mut state);
            state.owner.take()
        };
        owner.into_iter().for_each(Waker::wake);
    }

    // --- the tasks ---

    /// Owns a group, and makes another when that one has ended.
    pub async fn own(self, at: usize) {
        while !self.group(at).ends {
            let group = self.make_group(at);
            self.run(at, group).await;
            let mut state = self.group(at);
            (state.handle, state.polled) = (None, false);
        }
    }

    /// Follows the orders for a group, and polls it when there is none, until it has ended.
    async fn run(&self, at: usize, mut group: Group<Kids>) {
        // An empty group would end at once if it were polled.
        let mut order = poll_fn(|cx| self.next_order(at, cx)).await;
        self.group(at).polled = true;
        while let Some(next) = order {
            match next {
                Order::Queue(kid) => group.queue(self.child(at, kid)),
                Order::TryGo(kid) => drop(group.try_go(self.child(at, kid))),
                Order::Go(kid) => {
                    let _waiting = Waiting::new(self, at);
                    self.unless_left(at, group.go(self.child(at, kid))).await;
                }
                Order::Feed(items) => {
                    let feed = group.feed(self.clone().stream(at, items));
                    self.unless_left(at, feed).await;
                }
                Order::Scope(kids) => {
                    let env = self.clone();
                    let scope = group.scope(|_| async move {
                        for kid in kids {
                            env.clone().go(at, kid).await;
                        }
                    });
                    return self.unless_left(at, scope).await;
                }
                // Once it has results, a group does not become a stream of them.
                Order::Results(_) if group.stats().ok + group.stats().failed > 0 => {}
                Order::Results(items) => {
                    let results = group.results().feed(self.clone().stream(at, items));
                    return self.unless_left(at, results.count()).await;
                }
                Order::Leave | Order::Poll => {}
                Order::Drop => return,
            }
            order = poll_fn(|cx| match self.next_order(at, cx) {
                Poll::Ready(Some(order)) => Poll::Ready(Some(order)),
                _ => Pin::new(&mut group).poll(cx).map(|_| None),
            })
            .await;
        }
    }

    fn make_group(&self, at: usize) -> Group<Kids> {
        let plan = &self.0.groups[at].plan;
        let mut group = Group::new().with_semaphore(Arc::clone(&self.0.semaphore));
        if !plan.deadline.is_empty() {
            let (env, acts) = (self.clone(), plan.deadline.clone());
            group = group.with_deadline(async move {
                env.perform(at, acts).await;
                pending::<()>().await;
            });
        }
        if let Some(acts) = &plan.grace {
            let (env, acts) = (self.clone(), acts.clone());
            group = group.with_grace(move || async move { env.perform(at, acts).await });
        }
        if let Some(act) = &plan.observer {
            let (env, act) = (self.clone(), act.clone());
            group = group.with_observer(move |_: &Event| env.act(at, act.clone()));
        }
        group.set_limit(plan.limit);
        self.group(at).handle = Some(group.handle());
        group
    }

    /// Takes the next order, or `None` if there is none and none is to come.
    fn next_order(&self, at: usize, cx: &Context<'_>) -> Poll<Option<Order>> {
        let mut state = self.group(at);
        match state.orders.pop_front() {
            None if !state.ends => {
                state.owner = Some(cx.waker().clone());
                Poll::Pending
            }
            order => Poll::Ready(order),
        }
    }

    /// Awaits a future, until it is ordered to leave it.
    async fn unless_left(&self, at: usize, future: impl Future) {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let mut state = self.group(at);
            if let Some(Order::Leave) = state.orders.front() {
                state.orders.pop_front();
                return Poll::Ready(());
            }
            state.owner = Some(cx.waker().clone());
            drop(state);
            future.as_mut().poll(cx).map(drop)
        })
        .await;
    }

    /// Waits for a permit as any other code does.
    pub async fn acquire(self) {
        let permit = self.0.semaphore.acquire_arc().await;
        self.0.taken.lock().unwrap().push(permit);
    }

    /// Waits in a `go` of a handle.
    pub async fn go(self, at: usize, kid: Kid) {
        if let Some(handle) = self.handle(at) {
            let _waiting = Waiting::new(&self, at);
            let _ = handle.go(self.child(at, kid)).await;
        }
    }

    /// Waits in a `feed` of a handle.
    pub async fn feed(self, at: usize, items: Vec<Item>) {
        if let Some(handle) = self.handle(at) {
            handle.feed(self.clone().stream(at, items)).await;
        }
    }

    // --- the children ---

    /// Makes a child of that group.
    fn child(&self, at: usize, kid: Kid) -> Task<Acting> {
        let Kid { weight, priority, daemon, acts, fails } = kid;
        let mut state = self.group(at);
        state.made += 1;
        state.heavy |= weight != 1;
        drop(state);
        let (env, drops) = (self.clone(), self.0.children.guard());
        let acting = async move {
            let _drops = drops;
            env.perform(at, acts).await;
            if fails { Err(()) } else { Ok(()) }
        };
        let child = task(Box::pin(acting) as Acting).weight(weight).priority(priority);
        if daemon { child.daemon() } else { child }
    }

    fn stream(self, at: usize, items: Vec<Item>) -> impl Stream<Item = Task<Acting>> {
        // A `feed` drops its stream when it waits no more.
        let waiting = Waiting::new(&self, at);
        stream::iter(items.into_iter().map(move |Item { first, kid }| {
            let _waiting = &waiting;
            first.into_iter().for_each(|act| self.act(at, act));
            self.child(at, kid)
        }))
    }

    async fn perform(&self, at: usize, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Yield => yield_now().await,
                Act::Wait => {
                    let number = {
                        let mut gates = self.0.gates.lock().unwrap();
                        gates.count += 1;
                        let number = gates.count;
                        gates.closed.push(number);
                        number
                    };
                    self.0.gate.wait(number).await;
                }
                Act::Go(kid) => self.clone().go(at, kid).await,
                act => self.act(at, act),
            }
        }
    }

    /// Does what neither waits nor yields.
    pub fn act(&self, at: usize, act: Act) {
        let handle = self.handle(at);
        match (act, handle) {
            (Act::Take, _) => self.take(),
            (Act::Give, _) => {
                self.give();
            }
            (Act::Limit(limit), Some(handle)) => handle.set_limit(limit),
            (Act::Cancel, Some(handle)) => {
                handle.token().cancel();
            }
            (Act::Queue(kid), Some(handle)) => handle.queue(self.child(at, kid)),
            (Act::TryGo(kid), Some(handle)) => drop(handle.try_go(self.child(at, kid))),
            _ => {}
        }
    }
}
