//! Worlds of one group and a long loop that adds children to it.
//!
//! The other worlds are short, so a list that is never emptied, or a poll that never ends, stays
//! small in them. Here one loop adds hundreds or thousands of children, by one method, and checks
//! after each what a user relies on however long the loop is:
//!
//! - the task yields after a bounded number of children;
//! - of the children that have ended, few are not told to the policy;
//! - a child that has failed stops the group within a bounded number of further children;
//! - no more children run than the limit and the limits of keys allow;
//! - the policy is told of each child once;
//! - no standstill has a child that is ready;
//! - in the end each future and each value has been dropped once, and the group has resolved only
//!   after all have ended.

use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use errgroup::{Child, Children, Group, Handle, Policy, Reason, TryGoError, Verdict, task};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};

/// How many children one poll of a group polls.
const POLLS: usize = if cfg!(errgroup_small_budget) { 7 } else { 4096 };

/// How often a poll of a `feed` asks its stream, and how many children a handle adds in one poll.
const ASKS: usize = POLLS;

type Value = Result<Counted, Counted>;
type Polled = Arc<World>;

/// A sequence of numbers that a seed determines.
struct Dice(Cell<u64>);

impl Dice {
    fn below(&self, bound: usize) -> usize {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn one_in(&self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// What is known of a world, without the crate.
#[derive(Default)]
struct Seen {
    wrong: Option<String>,
    /// The children that were polled and have not ended, with weight and key.
    running: HashMap<usize, (usize, Option<u8>)>,
    begun: HashSet<usize>,
    ended: HashSet<usize>,
    told: HashSet<usize>,
    /// How many children were accepted.
    accepted: usize,
    accepted_in_poll: usize,
    accepted_since_error: Option<usize>,
    futures: isize,
    values: isize,
    weight: usize,
    /// Futures that the executor has.
    spawned: VecDeque<BoxFuture<'static, ()>>,
    /// The wakers of children that wait.
    parked: Vec<Waker>,
    dice: u64,
}

struct World {
    seen: Mutex<Seen>,
    limit: usize,
    key_limit: usize,
    stops: bool,
    mode: usize,
}

impl World {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Returns how many children have begun, and how many have ended.
    fn progress(&self) -> (usize, usize) {
        let seen = self.seen();
        (seen.begun.len(), seen.ended.len())
    }

    fn fault(&self, why: impl FnOnce() -> String) {
        let mut seen = self.seen();
        if seen.wrong.is_none() {
            seen.wrong = Some(why());
        }
    }

    fn below(&self, bound: usize) -> usize {
        let mut seen = self.seen();
        let dice = Dice(Cell::new(seen.dice));
        let number = dice.below(bound);
        seen.dice = dice.0.get();
        number
    }

    /// Polls some of the futures that the executor has.
    fn run_spawned(&self, count: usize, on_thread: bool) {
        for _ in 0..count {
            let future = {
                let mut seen = self.seen();
                let back = seen.dice % 3 == 0;
                if back { seen.spawned.pop_back() } else { seen.spawned.pop_front() }
            };
            let Some(mut future) = future else { return };
            let poll = move || {
                let pending = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                pending.is_pending().then_some(future)
            };
            let left = match on_thread {
                true => std::thread::spawn(poll).join().unwrap(),
                false => poll(),
            };
            self.seen().spawned.extend(left);
        }
    }

    /// Runs some of these futures, or none, as an executor may at any moment.
    fn run_some_at_random(&self) {
        if self.mode == 2 && self.below(3) == 0 {
            let (count, on_thread) = (self.below(6), self.below(64) == 0);
            self.run_spawned(count, on_thread);
        }
    }

    fn count_accepted(&self) {
        let mut seen = self.seen();
        seen.accepted += 1;
        seen.accepted_in_poll += 1;
        if let Some(count) = &mut seen.accepted_since_error {
            *count += 1;
        }
    }
}

/// A value of a child, whose drops are counted.
struct Counted {
    index: usize,
    world: Polled,
}

impl Counted {
    fn new(index: usize, world: &Polled) -> Self {
        world.seen().values += 1;
        Self { index, world: world.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.world.seen().values -= 1;
    }
}

/// A child.
struct Work {
    index: usize,
    weight: usize,
    key: Option<u8>,
    yields: usize,
    /// It waits for a wake-up from outside so many times.
    parks: usize,
    fails: bool,
    ended: bool,
    world: Polled,
}

impl Future for Work {
    type Output = Value;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Value> {
        let this = &mut *self;
        let world = &this.world;
        {
            let mut seen = world.seen();
            if this.ended {
                seen.wrong = Some(format!("child {} is polled after its end", this.index));
            }
            if seen.begun.insert(this.index) {
                seen.running.insert(this.index, (this.weight, this.key));
                seen.weight += this.weight;
                // One that is heavier than the limit runs alone.
                if seen.weight > world.limit && seen.running.len() > 1 {
                    seen.wrong = Some(format!("{} of {} run", seen.weight, world.limit));
                }
                let same = seen.running.values().filter(|(_, key)| *key == this.key);
                if this.key.is_some() && same.count() > world.key_limit {
                    seen.wrong = Some(format!("too many of key {:?}", this.key));
                }
            }
        }
        if this.yields > 0 {
            this.yields -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.parks > 0 {
            this.parks -= 1;
            world.seen().parked.push(cx.waker().clone());
            return Poll::Pending;
        }
        this.ended = true;
        {
            let mut seen = world.seen();
            seen.running.remove(&this.index);
            seen.weight -= this.weight;
            seen.ended.insert(this.index);
            if this.fails && seen.accepted_since_error.is_none() {
                seen.accepted_since_error = Some(0);
            }
        }
        let value = Counted::new(this.index, world);
        Poll::Ready(if this.fails { Err(value) } else { Ok(value) })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut seen = self.world.seen();
        seen.futures -= 1;
        if seen.running.remove(&self.index).is_some() {
            seen.weight -= self.weight;
        }
    }
}

/// A policy that counts, and stops as that of `Group::new` does if the world wants it.
struct Told(Polled);

impl Policy<Counted, Counted> for Told {
    type Output = usize;

    fn on_child(&mut self, _: &errgroup::ChildInfo<'_>, result: Value) -> Verdict {
        let stops = self.0.stops && result.is_err();
        let (Ok(value) | Err(value)) = &result;
        let is_new = self.0.seen().told.insert(value.index);
        if !is_new {
            self.0.fault(|| format!("the policy is told twice of child {}", value.index));
        }
        drop(result);
        if stops { Verdict::Stop(Reason::Failed) } else { Verdict::Continue }
    }

    fn finish(&mut self, _: &Reason) -> usize {
        self.0.seen().told.len()
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How the loop adds its children.
#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    Go,
    TryGo,
    Ready,
    Queue,
    Feed,
    HandleGo,
    HandleTryGo,
    HandleFeed,
    Results,
}

const HOWS: [How; 9] = [
    How::Go,
    How::TryGo,
    How::Ready,
    How::Queue,
    How::Feed,
    How::HandleGo,
    How::HandleTryGo,
    How::HandleFeed,
    How::Results,
];

/// What the children of a world are like.
#[derive(Clone, Copy, Debug)]
struct Kinds {
    count: usize,
    yields: usize,
    parks: bool,
    /// One in so many fails.
    fails: usize,
    weights: bool,
    keys: bool,
    has_handle: bool,
    spawns: bool,
}

impl Kinds {
    fn child(&self, world: &Polled, index: usize) -> Work {
        world.seen().futures += 1;
        let weight = if self.weights && world.below(3) == 0 { 1 + world.below(3) } else { 1 };
        Work {
            index,
            weight,
            key: (self.keys && world.below(2) == 0).then(|| world.below(3) as u8),
            yields: if self.yields == 0 { 0 } else { world.below(self.yields + 1) },
            parks: usize::from(self.parks && world.below(4) == 0),
            fails: self.fails != 0 && world.below(self.fails) == 0,
            ended: false,
            world: world.clone(),
        }
    }

    fn is_plain(&self) -> bool {
        !self.weights && !self.keys
    }
}

/// Gives a child its options.
fn with_options(work: Work) -> errgroup::Task<Work> {
    let (weight, key) = (work.weight, work.key);
    let child = task(work).weight(weight);
    match key {
        Some(key) => child.key(u64::from(key)),
        None => child,
    }
}

/// Checks what holds after each child that was added.
fn check_added(world: &Polled, kinds: &Kinds, how: How) {
    world.count_accepted();
    let seen = world.seen();
    let most = match how {
        How::Feed | How::HandleFeed | How::HandleGo => 2 * ASKS,
        _ => 2 * POLLS + 2,
    };
    let awaits = !matches!(how, How::TryGo | How::Queue | How::HandleTryGo);
    let (in_poll, since) = (seen.accepted_in_poll, seen.accepted_since_error);
    let backlog = seen.ended.len() - seen.told.len();
    drop(seen);
    if awaits && in_poll > most {
        world.fault(|| format!("{in_poll} children in one poll"));
    }
    // A `feed` takes in as many in a poll as it adds. So what a slow executor has left stays, and
    // only if it leaves nothing is there a bound.
    let is_prompt = !kinds.spawns || (world.mode == 0 && kinds.yields == 0 && !kinds.parks);
    let drives = match how {
        How::Go | How::TryGo | How::Ready => true,
        How::Feed => is_prompt,
        _ => false,
    };
    let most = if how == How::Feed { 3 * ASKS } else { 2 * POLLS + 2 };
    // A group that polls its children is told at once; the others when they are taken in.
    if drives && backlog > most {
        world.fault(|| format!("{backlog} children have ended, and are not told"));
    }
    if drives && world.stops && since.is_some_and(|count| count > most) {
        world.fault(|| format!("{since:?} children since the error"));
    }
}

/// Adds the children, and awaits the group.
async fn add_all<C>(mut group: Group<C, Told, usize>, how: How, kinds: Kinds, world: Polled)
where
    C: Children<Ok = Counted, Err = Counted>,
    Work: Child<C>,
    errgroup::Task<Work>: Child<C>,
{
    let handle = kinds.has_handle.then(|| group.handle());
    match how {
        How::Go => {
            for index in 0..kinds.count {
                world.run_some_at_random();
                if group.go(with_options(kinds.child(&world, index))).await.is_err() {
                    break;
                }
                let is_free = !kinds.spawns && kinds.is_plain();
                if is_free && !world.seen().begun.contains(&index) {
                    world.fault(|| format!("child {index} has not begun after its `go`"));
                }
                check_added(&world, &kinds, how);
            }
        }
        How::Ready => {
            for index in 0..kinds.count {
                world.run_some_at_random();
                if group.ready().await.is_err() {
                    break;
                }
                match group.try_go(kinds.child(&world, index)) {
                    Ok(()) => check_added(&world, &kinds, how),
                    Err(TryGoError::AtLimit(_)) => {
                        world.fault(|| "no room after `ready`".to_string())
                    }
                    Err(_) => break,
                }
            }
        }
        How::TryGo => {
            for index in 0..kinds.count {
                world.run_some_at_random();
                match group.try_go(with_options(kinds.child(&world, index))) {
                    Ok(()) => check_added(&world, &kinds, how),
                    // As a loop does that has something else to await.
                    Err(TryGoError::AtLimit(_)) => {
                        if group.ready().await.is_err() {
                            break;
                        }
                    }
                    Err(_) => break,
                }
            }
        }
        How::Queue => {
            for index in 0..kinds.count {
                world.run_some_at_random();
                group.queue(with_options(kinds.child(&world, index)));
                check_added(&world, &kinds, how);
            }
        }
        How::Feed => {
            let (fed, counted) = (world.clone(), world.clone());
            let children = stream::iter(0..kinds.count).map(move |index| {
                fed.run_some_at_random();
                check_added(&counted, &kinds, how);
                with_options(kinds.child(&fed, index))
            });
            group.feed(children).await;
        }
        How::HandleGo | How::HandleTryGo | How::HandleFeed | How::Results => unreachable!(),
    }
    drop(handle);
    finish(group, &world).await;
}

async fn finish<C: Children>(group: Group<C, Told, usize>, world: &Polled) {
    let told = group.await;
    let seen = world.seen();
    let (told_by_now, running) = (seen.told.len(), seen.running.len());
    drop(seen);
    if told != told_by_now || running != 0 {
        world.fault(|| format!("resolved to {told}; {told_by_now} told, {running} run"));
    }
}

/// Adds the children by a handle while the group is polled.
async fn add_by_handle<C>(handle: Handle<C>, how: How, kinds: Kinds, world: Polled)
where
    C: Children<Ok = Counted, Err = Counted>,
    errgroup::Task<Work>: Child<C>,
{
    if how == How::HandleFeed {
        let (fed, counted) = (world.clone(), world.clone());
        let children = stream::iter(0..kinds.count).map(move |index| {
            fed.run_some_at_random();
            check_added(&counted, &kinds, how);
            with_options(kinds.child(&fed, index))
        });
        handle.feed(children).await;
        return;
    }
    for index in 0..kinds.count {
        world.run_some_at_random();
        let child = with_options(kinds.child(&world, index));
        if how == How::HandleGo {
            if handle.go(child).await.is_err() {
                break;
            }
            check_added(&world, &kinds, how);
        } else {
            match handle.try_go(child) {
                Ok(()) => check_added(&world, &kinds, how),
                Err(TryGoError::AtLimit(_)) => crate::executor::Yield::default().await,
                Err(_) => break,
            }
        }
    }
}

/// Queues children, and fetches their results.
async fn read_results<C>(group: Group<C>, kinds: Kinds, world: Polled)
where
    C: Children<Ok = Counted, Err = Counted>,
    errgroup::Task<Work>: Child<C>,
{
    let mut results = group.results();
    if world.below(3) == 0 {
        results = results.in_order();
    }
    if world.below(3) == 0 {
        results = results.buffered(1 + world.below(20));
    }
    let (most, eager) = (world.below(12), world.below(2) == 0);
    let mut added = 0;
    let mut in_poll = 0;
    loop {
        while added < kinds.count && (results.len() <= most || (eager && world.below(8) == 0)) {
            world.run_some_at_random();
            results.queue(with_options(kinds.child(&world, added)));
            added += 1;
        }
        let Some(result) = results.next().await else { break };
        let (Ok(value) | Err(value)) = &result;
        let mut seen = world.seen();
        in_poll = in_poll.max(seen.accepted_in_poll);
        seen.accepted_in_poll += 1;
        let is_new = seen.told.insert(value.index);
        let count = seen.accepted_in_poll;
        drop(seen);
        if !is_new {
            world.fault(|| format!("two results of child {}", value.index));
        }
        if count > 2 * POLLS + 40 {
            world.fault(|| format!("{count} results in one poll"));
        }
    }
    let seen = world.seen();
    let (told, running) = (seen.told.len(), seen.running.len());
    drop(seen);
    if told != added || added != kinds.count || running != 0 {
        world.fault(|| format!("{told} results of {added}, of {}; {running} run", kinds.count));
    }
}

/// Makes the future of a world's only task.
fn task_of<C>(
    group: Group<C>,
    how: How,
    kinds: Kinds,
    world: &Polled,
) -> Pin<Box<dyn Future<Output = ()>>>
where
    C: Children<Ok = Counted, Err = Counted> + 'static,
    Work: Child<C>,
    errgroup::Task<Work>: Child<C>,
{
    let group = if world.limit == usize::MAX { group } else { group.with_limit(world.limit) };
    let group = if kinds.keys { group.with_key_limit(world.key_limit) } else { group };
    let world = world.clone();
    if how == How::Results {
        return Box::pin(read_results(group, kinds, world));
    }
    let group = group.with_policy(Told(world.clone()));
    if matches!(how, How::HandleGo | How::HandleTryGo | How::HandleFeed) {
        let adding = add_by_handle(group.handle(), how, kinds, world.clone());
        return Box::pin(async move {
            let (adding, waiting) = (pin!(adding), pin!(finish(group, &world)));
            futures::join!(adding, waiting);
        });
    }
    Box::pin(add_all(group, how, kinds, world))
}

/// Runs the long world of a seed.
///
/// # Errors
///
/// What is wrong, if anything is.
pub fn run_long(seed: u64) -> Result<(), String> {
    let dice = Dice(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1));
    (0..4).for_each(|_| _ = dice.below(2));
    let executor = dice.below(6);
    let how = HOWS[dice.below(HOWS.len())];
    let may_have_options = how != How::Ready;
    let kinds = Kinds {
        count: POLLS * (1 + dice.below(4)) + dice.below(if dice.one_in(10) { 4_000 } else { 400 }),
        yields: if dice.one_in(2) { 0 } else { dice.below(4) },
        parks: dice.one_in(3),
        fails: if dice.one_in(3) { 1 + dice.below(2 * POLLS) } else { 0 },
        weights: may_have_options && dice.one_in(4),
        keys: may_have_options && dice.one_in(6),
        has_handle: dice.one_in(2),
        spawns: executor > 1,
    };
    let limits = [usize::MAX, 1, 2, 3, 8, 50];
    let world = Arc::new(World {
        seen: Mutex::new(Seen { dice: dice.0.get() | 1, ..Seen::default() }),
        limit: limits[dice.below(limits.len())],
        key_limit: if kinds.keys { 1 + dice.below(3) } else { usize::MAX },
        stops: dice.one_in(2),
        mode: dice.below(3),
    });
    let facts = format!(
        "{how:?} {kinds:?} executor {executor} mode {} limit {} stops {}",
        world.mode, world.limit, world.stops
    );
    live(&world, how, kinds, executor).map_err(|why| format!("{why}\n{facts}"))
}

/// Hands a future to the world's executor.
fn spawn(world: &Polled, future: BoxFuture<'static, ()>) {
    world.seen().spawned.push_back(future);
    match world.mode {
        // At once, by the spawner.
        0 => world.run_spawned(1, false),
        // At the next turn.
        1 => {}
        // At any moment.
        _ => world.run_some_at_random(),
    }
}

fn live(world: &Polled, how: How, kinds: Kinds, executor: usize) -> Result<(), String> {
    let spawner = world.clone();
    let mut task = match executor {
        0 => task_of(Group::new(), how, kinds, world),
        1 => task_of(Group::local(), how, kinds, world),
        2 => {
            // A local child is no `Send` future to this crate, though this one is.
            let spawned = move |future: futures::future::LocalBoxFuture<'static, ()>| {
                LOCAL.with_borrow_mut(|local| local.push_back(future));
                if spawner.mode == 0 || (spawner.mode == 2 && spawner.below(2) == 0) {
                    run_local(1);
                }
            };
            task_of(Group::on_local(spawned), how, kinds, world)
        }
        _ => task_of(Group::on(move |future| spawn(&spawner, future)), how, kinds, world),
    };
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let (mut idle, mut before) = (0, (0, 0));
    let outcome = loop {
        let is_woken = woken.0.swap(false, Ordering::SeqCst);
        if is_woken || world.below(50) == 0 {
            world.seen().accepted_in_poll = 0;
            let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
            let seen = world.seen();
            if let Some(why) = &seen.wrong {
                break Err(why.clone());
            }
            if polled.is_ready() {
                break Ok(());
            }
            drop(seen);
            let after = world.progress();
            idle = if before == after { idle + 1 } else { 0 };
            before = after;
            if idle > 20_000 {
                break Err("it is polled over and over, to no purpose".to_string());
            }
        }
        let count = world.below(8);
        world.run_spawned(count, false);
        run_local(world.below(8));
        let is_still = !woken.0.load(Ordering::SeqCst);
        if is_still || world.below(4) == 0 {
            let left = world.seen().parked.len();
            let at = world.below(1 << 20);
            if left > 0 {
                let waker = world.seen().parked.swap_remove(at % left);
                waker.wake();
            } else if is_still {
                let is_idle =
                    world.seen().spawned.is_empty() && LOCAL.with_borrow(VecDeque::is_empty);
                if is_idle && !woken.0.load(Ordering::SeqCst) {
                    let seen = world.seen();
                    break Err(format!(
                        "it stands still: {} accepted, {} begun, {} ended, {} told",
                        seen.accepted,
                        seen.begun.len(),
                        seen.ended.len(),
                        seen.told.len()
                    ));
                }
            }
        }
    };
    drop(task);
    let left = std::mem::take(&mut world.seen().spawned);
    drop(left);
    LOCAL.take();
    let parked = std::mem::take(&mut world.seen().parked);
    drop(parked);
    outcome?;
    let seen = world.seen();
    if let Some(why) = &seen.wrong {
        return Err(why.clone());
    }
    if seen.futures != 0 || seen.values != 0 {
        return Err(format!("{} futures and {} values are left", seen.futures, seen.values));
    }
    Ok(())
}

thread_local! {
    /// The futures of an executor of this thread.
    static LOCAL: std::cell::RefCell<VecDeque<futures::future::LocalBoxFuture<'static, ()>>> =
        const { std::cell::RefCell::new(VecDeque::new()) };
}

fn run_local(count: usize) {
    for _ in 0..count {
        let Some(mut future) = LOCAL.with_borrow_mut(VecDeque::pop_front) else { return };
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            LOCAL.with_borrow_mut(|local| local.push_back(future));
        }
    }
}
