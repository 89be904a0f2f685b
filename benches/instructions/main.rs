//! Children of one kind; `benches/instructions/run` counts their instructions.

use std::env;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use errgroup::{Boxed, Child, Children, Event, Group, Handle, Joinable, Kind, Spawned, Task, task};
use futures::executor::block_on;
use futures::stream::{self, StreamExt};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const LIMIT: usize = 64;

/// Yields once, then is ready.
struct Yields(bool);

impl Future for Yields {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if core::mem::replace(&mut self.0, false) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

async fn go<C>(mut group: Group<C>, count: usize)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    for _ in 0..count {
        assert!(group.go(Yields(true)).await.is_ok());
    }
    group.await.expect("no child fails");
}

async fn feed<C>(mut group: Group<C>, count: usize)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    group.feed(stream::iter((0..count).map(|_| Yields(true)))).await;
    group.await.expect("no child fails");
}

async fn results<C>(group: Group<C>, count: usize, in_order: bool)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    let results = group.results();
    let results = if in_order { results.in_order() } else { results };
    let mut results = results.feed(stream::iter((0..count).map(|_| Yields(true))));
    while let Some(result) = results.next().await {
        result.expect("no child fails");
    }
}

async fn queue<C>(mut group: Group<C>, count: usize)
where
    C: Children<Ok = (), Err = ()>,
    Yields: Child<C>,
{
    (0..count).for_each(|_| group.queue(Yields(true)));
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
async fn tasks<C>(mut group: Group<C>, count: usize, options: fn(Task<Yields>) -> Task<Yields>)
where
    C: Children<Ok = (), Err = ()>,
    Task<Yields>: Child<C>,
{
    (0..count).for_each(|_| group.queue(options(task(Yields(true)))));
    group.await.expect("no child fails");
}

/// Queues children with handles of their own, and drops the handles.
async fn joinable<C>(mut group: Group<C>, count: usize)
where
    C: Children<Ok = (), Err = ()>,
    Task<Joinable<Yields>>: Child<C>,
{
    (0..count).for_each(|_| group.queue(task(Yields(true)).joinable().0));
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
            let outcome = Yields(true).await;
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
        "results" => block_on(results(group(), count, false)),
        "results in order" => block_on(results(group(), count, true)),
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
        "queue, named" => block_on(tasks(group(), count, |child| child.name("child"))),
        "queue, named, observed" => {
            let group = group().with_observer(|_: &Event| {});
            block_on(tasks(group, count, |child| child.name("child")));
        }
        "queue, a handle made" => block_on(with_queue(group(), count)),
        "queue, a weight of 2" => block_on(tasks(group(), count, |child| child.weight(2))),
        "queue, until the stop" => block_on(tasks(group(), count, Task::until_stop)),
        "queue, joinable" => block_on(joinable(Group::unboxed().with_limit(LIMIT), count)),
        "queue, a priority" => block_on(tasks(group(), count, |child| child.priority(1))),
        "on tokio, go" => on_tokio(go(spawning(), count)),
        "on tokio, feed" => on_tokio(feed(spawning(), count)),
        "on tokio, queue" => on_tokio(queue(spawning(), count)),
        "tokio `JoinSet`, owned permits" => on_tokio(join_set(count)),
        "go of a scope's handle" => block_on(async {
            let group = Group::new().with_limit(LIMIT);
            let body = |handle: Handle<Boxed<'static, (), ()>>| async move {
                for _ in 0..count {
                    assert!(handle.go(Yields(true)).await.is_ok());
                }
            };
            group.scope(body).await.1.expect("no child fails");
        }),
        other => eprintln!("no such way: {other}"),
    }
}
