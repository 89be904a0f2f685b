//! Children of one kind; `benches/instructions/run` counts their instructions.

use std::cell::RefCell;
use std::env;
use std::future::{Future, pending};
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use buffer_unordered_weighted::StreamExt as _;
use errgroup::{
    Ask, Boxed, CancelToken, Child, Children, Event, Group, Handle, Joinable, Kind, Spawned, Task,
    task,
};
use future_queue::StreamExt as _;
use futures::executor::block_on;
use futures::stream::{self, FuturesUnordered, Stream, StreamExt, TryStreamExt};
use futures_buffered::BufferedStreamExt;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const LIMIT: usize = 64;

/// Yields so many times, then is ready.
struct Yields(usize);

impl Future for Yields {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.checked_sub(1) {
            None => Poll::Ready(Ok(())),
            Some(left) => {
                self.0 = left;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

async fn go<C>(mut group: Group<C>, count: usize)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    for _ in 0..count {
        assert!(group.go(Yields(1)).await.is_ok());
    }
    group.await.expect("no child fails");
}

async fn feed<C>(mut group: Group<C>, count: usize)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    group.feed(stream::iter((0..count).map(|_| Yields(1)))).await;
    group.await.expect("no child fails");
}

async fn results<C>(group: Group<C>, count: usize, in_order: bool, ahead: usize)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    let results = group.results().buffered(ahead);
    let results = if in_order { results.in_order() } else { results };
    let mut results = results.feed(stream::iter((0..count).map(|_| Yields(1))));
    while let Some(result) = results.next().await {
        result.expect("no child fails");
    }
}

async fn queue<C>(mut group: Group<C>, count: usize)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    (0..count).for_each(|_| group.queue(Yields(1)));
    group.await.expect("no child fails");
}

/// Runs the children while `extra` lives, which could watch the group, stop it or add to it.
async fn with<C, T>(group: Group<C>, count: usize, extra: impl FnOnce(&Group<C>) -> T)
where
    C: Kind + Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    let extra = extra(&group);
    go(group, count).await;
    drop(extra);
}

/// Queues children with options.
async fn tasks<C>(group: Group<C>, count: usize, options: fn(Task<Yields>) -> Task<Yields>)
where
    C: Children<Ok = (), Err = ()>,
    Task<Yields>: Child<C>,
{
    numbered(group, count, |_| options(task(Yields(1)))).await;
}

/// Queues children whose options depend on their number.
async fn numbered<C, A>(mut group: Group<C>, count: usize, child: impl Fn(usize) -> A)
where
    C: Children<Ok = (), Err = ()>,
    A: Child<C>,
{
    (0..count).for_each(|n| group.queue(child(n)));
    group.await.expect("no child fails");
}

/// Feeds them to the group.
async fn fed_numbered<C, A>(mut group: Group<C>, count: usize, child: impl Fn(usize) -> A)
where
    C: Children<Ok = (), Err = ()>,
    A: Child<C>,
{
    group.feed(stream::iter((0..count).map(child))).await;
    group.await.expect("no child fails");
}

/// Weights of 1 to 3, a hundred keys, three priorities.
fn weighted(n: usize) -> Task<Yields> {
    task(Yields(1)).weight(weight(n))
}

fn weight(n: usize) -> usize {
    1 + n % 3
}

fn keyed(n: usize) -> Task<Yields> {
    task(Yields(1)).key(n % KEYS)
}

fn prioritized(n: usize) -> Task<Yields> {
    task(Yields(1)).priority((n % 3) as i32)
}

const KEYS: usize = 100;
const EACH_KEY: usize = 2;

/// Takes the results of a peer's stream.
async fn drain(mut results: impl Stream<Item = Result<(), ()>> + Unpin) {
    while let Some(result) = results.next().await {
        result.expect("no child fails");
    }
}

/// Queues children with handles of their own, and drops the handles.
async fn joinable<C>(mut group: Group<C>, count: usize)
where
    C: Children<Ok = (), Err = ()>,
    Task<Joinable<Yields>>: Child<C>,
{
    (0..count).for_each(|_| group.queue(task(Yields(1)).joinable().0));
    group.await.expect("no child fails");
}

async fn with_queue<C>(group: Group<C>, count: usize)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    let handle = group.handle();
    queue(group, count).await;
    drop(handle);
}

/// Makes a group in which each child is a task.
fn spawning() -> Group<Spawned<(), ()>> {
    Group::on(|child| drop(tokio::spawn(child))).with_limit(LIMIT)
}

/// Does the same without a group.
async fn join_set(count: usize) {
    let room = Arc::new(Semaphore::new(LIMIT));
    let mut set = JoinSet::new();
    for _ in 0..count {
        let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
        set.spawn(async move {
            let outcome = Yields(1).await;
            drop(permit);
            outcome
        });
        while let Some(outcome) = set.try_join_next() {
            outcome.expect("no child panics").expect("no child fails");
        }
    }
    while let Some(outcome) = set.join_next().await {
        outcome.expect("no child panics").expect("no child fails");
    }
}

/// Runs children that yield so many times.
async fn gone(limit: usize, count: usize, yields: usize) {
    goes(Group::unboxed().with_limit(limit), count, yields, |_| ()).await;
}

/// Adds children by `go`, beside something else.
async fn goes<C: Kind + Children<Ok = (), Err = ()>, T>(
    mut group: Group<C>,
    count: usize,
    yields: usize,
    extra: impl FnOnce(&Group<C>) -> T,
) where
    Yields: Child<C>,
{
    let extra = extra(&group);
    for _ in 0..count {
        assert!(group.go(Yields(yields)).await.is_ok());
    }
    group.await.expect("no child fails");
    drop(extra);
}

async fn fed(limit: usize, count: usize, yields: usize) {
    feeds(Group::unboxed().with_limit(limit), count, yields).await;
}

async fn feeds<C>(mut group: Group<C>, count: usize, yields: usize)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    group.feed(stream::iter((0..count).map(|_| Yields(yields)))).await;
    group.await.expect("no child fails");
}

/// Fetches the result of each child.
async fn fetched(limit: usize, count: usize) {
    let results = Group::unboxed().with_limit(limit).results();
    let mut results = results.feed(stream::iter((0..count).map(|_| Yields(0))));
    while let Some(result) = results.next().await {
        result.expect("no child fails");
    }
}

/// Does the work of these by the stream adaptor of futures-buffered.
async fn buffered(limit: usize, count: usize, yields: usize) {
    let children = stream::iter((0..count).map(|_| Yields(yields)));
    let mut results = children.buffered_unordered(limit);
    while let Some(result) = results.next().await {
        result.expect("no child fails");
    }
}

/// Children of which the eleventh fails, as in the benchmark `limit64/error`.
async fn failing(index: usize) -> Result<(), usize> {
    if index == 10 {
        return Err(index);
    }
    Yields(1).await.map_err(|()| index)
}

const CHILDREN: usize = 100_000;

/// Runs groups until their first error, one after the other.
async fn first_errors(groups: usize) {
    for _ in 0..groups {
        let mut group = Group::unboxed().with_limit(LIMIT);
        group.feed(stream::iter((0..CHILDREN).map(failing))).await;
        assert_eq!(group.await, Err(10));
    }
}

/// The same with the fastest peer.
async fn first_errors_of_a_peer(runs: usize) {
    for _ in 0..runs {
        let children = stream::iter((0..CHILDREN).map(|index| Ok(failing(index))));
        let done = children.try_for_each_concurrent(LIMIT, |child| child);
        assert_eq!(done.await, Err(10));
    }
}

/// Waits until it is woken, over and over.
struct Waits {
    wakers: Rc<RefCell<Vec<Option<Waker>>>>,
    at: usize,
    left: usize,
}

impl Future for Waits {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(Ok(()));
        };
        self.left = left;
        let (at, wakers) = (self.at, Rc::clone(&self.wakers));
        let mut wakers = wakers.borrow_mut();
        if !wakers[at].as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            wakers[at] = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

const WAITING: usize = 1_000;

/// Wakes one of many children that wait, and polls their set by `poll`.
fn wakes<S>(count: usize, make: impl FnOnce(Vec<Waits>) -> S, poll: impl Fn(&mut S)) {
    let wakers = Rc::new(RefCell::new(vec![None::<Waker>; WAITING]));
    let child = |at| Waits { wakers: Rc::clone(&wakers), at, left: usize::MAX };
    let mut set = make((0..WAITING).map(child).collect());
    poll(&mut set);
    for n in 0..count {
        let waker = wakers.borrow()[n * 389 % WAITING].clone();
        waker.expect("each child waits").wake();
        poll(&mut set);
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F) {
    assert!(Pin::new(future).poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn small_sets(sets: usize, children: usize) {
    for _ in 0..sets {
        let mut set: FuturesUnordered<_> = (0..black_box(children)).map(|_| Yields(0)).collect();
        while let Some(result) = ready(&mut set.next()) {
            result.expect("no child fails");
        }
    }
}

/// Makes and awaits small groups, one after the other.
fn small(groups: usize, children: usize) {
    for _ in 0..groups {
        let mut group = Group::unboxed();
        (0..black_box(children)).for_each(|_| group.queue(Yields(0)));
        assert_eq!(ready(&mut group), Ok(()));
    }
}

fn small_maps(groups: usize, children: usize) {
    for _ in 0..groups {
        let children = 0..black_box(children);
        let mut map = errgroup::map(8, children, |_| Yields(0));
        ready(&mut map).expect("no child fails");
    }
}

/// Polls a future that is ready.
fn ready<F: Future + Unpin>(future: &mut F) -> F::Output {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the children are ready"),
    }
}

/// Runs a future on one thread, within a task.
fn on_tokio(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async { tokio::spawn(work).await }).expect("it does not panic");
}

fn main() {
    let mut args = env::args().skip(1);
    let (way, count) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let Ok(count) = count.parse() else {
        eprintln!("this is run by benches/instructions/run");
        return;
    };
    let group = || Group::unboxed().with_limit(LIMIT);
    match way.as_str() {
        "go" => block_on(go(group(), count)),
        "go, no limit" => block_on(go(Group::unboxed(), count)),
        "go, limit 1" => block_on(go(Group::unboxed().with_limit(1), count)),
        "feed" => block_on(feed(group(), count)),
        "results" => block_on(results(group(), count, false, 0)),
        "results in order" => block_on(results(group(), count, true, 0)),
        "queue" => block_on(queue(group(), count)),
        "go, boxed" => block_on(go(Group::new().with_limit(LIMIT), count)),
        "go, token asked for" => block_on(with(group(), count, |group| group.token().clone())),
        "go, statistics read" => block_on(with(group(), count, Group::stats)),
        "go, a handle made" => block_on(with(group(), count, Group::handle)),
        "go, observed" => block_on(go(group().with_observer(|_: &Event| {}), count)),
        #[cfg(feature = "tracing")]
        "go, traced, no subscriber" => {
            block_on(go(group().with_observer(errgroup::TracingObserver::default()), count));
        }
        "go, a parent token" => block_on(go(group().with_parent(&CancelToken::new()), count)),
        "go, a deadline" => block_on(go(group().with_deadline(pending::<()>()), count)),
        "go, a grace" => block_on(go(group().with_grace(pending::<()>), count)),
        "go, dropped at a stop" => block_on(go(group().drop_on_stop(), count)),
        "go, a name of the group" => block_on(go(group().with_name("group"), count)),
        "feed, a handle made" => {
            let group = group();
            let handle = group.handle();
            block_on(feed(group, count));
            drop(handle);
        }
        "feed, a deadline" => block_on(feed(group().with_deadline(pending::<()>()), count)),
        "feed, a name of the group" => block_on(feed(group().with_name("group"), count)),
        "feed, observed" => block_on(feed(group().with_observer(|_: &Event| {}), count)),
        "queue, observed" => block_on(queue(group().with_observer(|_: &Event| {}), count)),
        "queue, named" => block_on(tasks(group(), count, |child| child.name("child"))),
        "queue, named, observed" => {
            let group = group().with_observer(|_: &Event| {});
            block_on(tasks(group, count, |child| child.name("child")));
        }
        "queue, a handle made" => block_on(with_queue(group(), count)),
        "queue, a weight of 2" => block_on(tasks(group(), count, |child| child.weight(2))),
        "results, read ahead" => block_on(results(group(), count, false, LIMIT)),
        "queue, no limit" => block_on(queue(Group::unboxed(), count)),
        "queue, a queue limit" => block_on(queue(group().with_queue_limit(count), count)),
        "queue, a key limit, no keys" => block_on(queue(group().with_key_limit(2), count)),
        "queue, a key" => {
            block_on(numbered(group().with_key_limit(EACH_KEY), count, keyed));
        }
        "queue, a key, no limit by key" => block_on(numbered(group(), count, keyed)),
        "queue, a key of its own" => {
            let group = group().with_key_limit(EACH_KEY);
            block_on(numbered(group, count, |n| task(Yields(1)).key(n)));
        }
        "queue, a key of its own, unique" => {
            block_on(numbered(group(), count, |n| task(Yields(1)).key(n).unique()));
        }
        "queue, a gate" => {
            let gate = |_: &Ask<'_>| std::future::ready(());
            block_on(queue(group().with_gate(gate), count));
        }
        "queue, a semaphore" => {
            let permits = Arc::new(errgroup::Semaphore::new(LIMIT));
            block_on(queue(Group::unboxed().with_semaphore(permits), count));
        }
        "queue, weights" => block_on(numbered(group(), count, weighted)),
        "feed, weights" => block_on(fed_numbered(group(), count, weighted)),
        "queue, priorities" => block_on(numbered(group(), count, prioritized)),
        "feed, keys" => {
            block_on(fed_numbered(group().with_key_limit(EACH_KEY), count, keyed));
        }
        "future-queue" => {
            let children = (0..count).map(|_| (1, |_| Yields(1)));
            block_on(drain(stream::iter(children).future_queue(LIMIT)));
        }
        "future-queue, weights" => {
            let children = (0..count).map(|n| (weight(n), |_| Yields(1)));
            block_on(drain(stream::iter(children).future_queue(LIMIT)));
        }
        "buffer-unordered-weighted, weights" => {
            let children = (0..count).map(|n| (weight(n), Yields(1)));
            block_on(drain(stream::iter(children).buffer_unordered_weighted(LIMIT)));
        }
        "future-queue, keys" => {
            let children = (0..count).map(|n| (1, Some(n % KEYS), |_| Yields(1)));
            let groups = (0..KEYS).map(|key| (key, EACH_KEY));
            block_on(drain(stream::iter(children).future_queue_grouped(LIMIT, groups)));
        }
        "queue, until the stop" => block_on(tasks(group(), count, Task::until_stop)),
        "queue, joinable" => block_on(joinable(Group::unboxed().with_limit(LIMIT), count)),
        "queue, a priority" => block_on(tasks(group(), count, |child| child.priority(1))),
        "on tokio, go" => on_tokio(go(spawning(), count)),
        "on tokio, go, handles kept" => {
            on_tokio(go(Group::on(tokio::spawn).with_limit(LIMIT), count))
        }
        "on tokio, go, a handle made" => on_tokio(with(spawning(), count, Group::handle)),
        "on tokio, queue, a handle made" => on_tokio(with_queue(spawning(), count)),
        "on tokio, feed" => on_tokio(feed(spawning(), count)),
        "on tokio, queue" => on_tokio(queue(spawning(), count)),
        "tokio `JoinSet`, owned permits" => on_tokio(join_set(count)),
        "go that waits" => block_on(goes(group(), count, 4, |_| ())),
        "go that waits, a handle made" => block_on(goes(group(), count, 4, Group::handle)),
        "go that waits, limit 1, a handle made" => {
            block_on(goes(Group::unboxed().with_limit(1), count, 4, Group::handle));
        }
        "feed that waits" => block_on(feeds(group(), count, 4)),
        "feed that waits, a handle made" => {
            let group = group();
            let handle = group.handle();
            block_on(feeds(group, count, 4));
            drop(handle);
        }
        "go of a scope's handle" => block_on(async {
            let group = Group::new().with_limit(LIMIT);
            let body = |handle: Handle<Boxed<'static, (), ()>>| async move {
                for _ in 0..count {
                    assert!(handle.go(Yields(1)).await.is_ok());
                }
            };
            group.scope(body).await.1.expect("no child fails");
        }),
        "limit 1, ready" => block_on(gone(1, count, 0)),
        "limit 1, 1 yield" => block_on(gone(1, count, 1)),
        "limit 1, 4 yields" => block_on(gone(1, count, 4)),
        "futures-buffered, limit 1, ready" => block_on(buffered(1, count, 0)),
        "futures-buffered, limit 1, 1 yield" => block_on(buffered(1, count, 1)),
        "futures-buffered, limit 1, 4 yields" => block_on(buffered(1, count, 4)),
        "feed, limit 1, ready" => block_on(fed(1, count, 0)),
        "feed, limit 1, 1 yield" => block_on(fed(1, count, 1)),
        "feed, limit 1, 4 yields" => block_on(fed(1, count, 4)),
        "limit 64, ready" => block_on(gone(LIMIT, count, 0)),
        "limit 64, 1 yield" => block_on(gone(LIMIT, count, 1)),
        "limit 64, 4 yields" => block_on(gone(LIMIT, count, 4)),
        "feed, limit 64, ready" => block_on(fed(LIMIT, count, 0)),
        "feed, limit 64, 1 yield" => block_on(fed(LIMIT, count, 1)),
        "feed, limit 64, 4 yields" => block_on(fed(LIMIT, count, 4)),
        "futures-buffered, limit 64, ready" => block_on(buffered(LIMIT, count, 0)),
        "futures-buffered, limit 64, 1 yield" => block_on(buffered(LIMIT, count, 1)),
        "futures-buffered, limit 64, 4 yields" => block_on(buffered(LIMIT, count, 4)),
        "results, limit 1" => block_on(fetched(1, count)),
        "results, limit 64" => block_on(fetched(LIMIT, count)),
        "first error, limit 64" => block_on(first_errors(count)),
        "`try_for_each_concurrent`, first error" => block_on(first_errors_of_a_peer(count)),
        "one wake among 1,000" => wakes(
            count,
            |children| {
                let mut group = Group::unboxed();
                children.into_iter().for_each(|child| group.queue(child));
                group
            },
            poll_once,
        ),
        "`FuturesUnordered`, one wake among 1,000" => wakes(
            count,
            |children| children.into_iter().collect::<FuturesUnordered<_>>(),
            |set| poll_once(&mut set.next()),
        ),
        "`FuturesUnordered` of 1" => small_sets(count, 1),
        "`FuturesUnordered` of 3" => small_sets(count, 3),
        "`FuturesUnordered` of 8" => small_sets(count, 8),
        "a group of 1" => small(count, 1),
        "a group of 3" => small(count, 3),
        "a group of 8" => small(count, 8),
        "`map` of 1" => small_maps(count, 1),
        "`map` of 3" => small_maps(count, 3),
        "`map` of 8" => small_maps(count, 8),
        other => eprintln!("no such way: {other}"),
    }
}
