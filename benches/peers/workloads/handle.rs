//! Four threads that add children to one group, all at the same time.

use std::future::Future;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use errgroup::{Child, Children, Group, Handle};
use futures::channel::{mpsc, oneshot};
use futures::future::join_all;
use futures::{SinkExt, TryStreamExt};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::common::block_on::block_on;
use crate::common::children::{Failure, Outcome, yields};
use crate::common::runtime::{ONE_THREAD, TWO_THREADS};
use crate::common::table::thousands;
use crate::common::workload::{Meter, Workload, measured};

const THREADS: usize = 4;
const EACH: usize = 5_000;

pub(crate) fn workloads() -> Vec<Workload> {
    [("limit64/handles", 64), ("limit1000/handles", 1_000)]
        .map(|(name, limit)| {
            let title = format!(
                "4 threads add 5,000 children each, that yield once, at most {} at a time",
                thousands(limit),
            );
            let workload =
                Workload::new(name, title, THREADS * EACH, "errgroup unboxed, `go` of a handle");
            contenders(workload, limit)
        })
        .into()
}

fn contenders(mut workload: Workload, limit: usize) -> Workload {
    workload.add_parts("errgroup unboxed, `go` of a handle", move |meter| {
        ours(meter, Group::unboxed().with_limit(limit), || yields(1));
    });
    workload.add_parts("errgroup boxed, `go` of a handle", move |meter| {
        ours(meter, Group::new().with_limit(limit), || yields(1));
    });
    workload.add_parts("futures `mpsc`, `try_for_each_concurrent`", move |meter| {
        channel(meter, limit);
    });
    workload.add_parts("async-lock `Semaphore`, tokio `JoinSet`", move |meter| {
        join_set(meter, limit, &ONE_THREAD);
    });
    workload.add_parts("async-lock `Semaphore`, tokio `JoinSet`, 2 threads", move |meter| {
        join_set(meter, limit, &TWO_THREADS);
    });
    workload.add_parts("tokio `Semaphore`, tokio-util `TaskTracker`", move |meter| {
        tracker(meter, limit, &ONE_THREAD);
    });
    workload.add_parts("tokio `Semaphore`, tokio-util `TaskTracker`, 2 threads", move |meter| {
        tracker(meter, limit, &TWO_THREADS);
    });
    workload
}

/// Threads that wait for the start.
struct Adders {
    start: Arc<Barrier>,
    done: Vec<oneshot::Receiver<()>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Adders {
    /// Makes threads, each of which runs a future that `adder` makes.
    fn new<F>(adder: impl Fn() -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let start = Arc::new(Barrier::new(THREADS + 1));
        let (mut done, mut threads) = (Vec::new(), Vec::new());
        for _ in 0..THREADS {
            let (start, adder) = (Arc::clone(&start), adder());
            let (sender, receiver) = oneshot::channel();
            done.push(receiver);
            threads.push(thread::spawn(move || {
                start.wait();
                block_on(adder);
                // A contender that does not wait for this waits for the children.
                let _ = sender.send(());
            }));
        }
        Self { start, done, threads }
    }

    /// Starts the threads, and waits until they are done.
    async fn run(&mut self) {
        self.start.wait();
        join_all(self.done.drain(..)).await;
    }

    fn join(self) {
        for thread in self.threads {
            thread.join().expect("no thread panics");
        }
    }
}

fn ours<C, A>(meter: &mut dyn Meter, group: Group<C>, child: fn() -> A)
where
    C: Children<Ok = (), Err = Failure> + Send + 'static,
    A: Child<C> + Send + 'static,
{
    async fn add<C: Children, A: Child<C>>(handle: Handle<C>, child: fn() -> A) {
        for _ in 0..EACH {
            if handle.go(child()).await.is_err() {
                break;
            }
        }
    }
    let handle = group.handle();
    let mut adders = Adders::new(|| add(handle.clone(), child));
    let ((), outcome) = measured(meter, || block_on(group.scope(async |_| adders.run().await)));
    assert_eq!(outcome, Ok(()));
    adders.join();
}

/// The other way without a runtime: a channel carries the children.
fn channel(meter: &mut dyn Meter, limit: usize) {
    let (sender, receiver) = mpsc::channel(0);
    let mut adders = Adders::new(|| {
        let mut sender = sender.clone();
        async move {
            for _ in 0..EACH {
                if sender.send(Ok(yields(1))).await.is_err() {
                    break;
                }
            }
        }
    });
    drop(sender);
    let outcome: Outcome = measured(meter, || {
        adders.start.wait();
        block_on(receiver.try_for_each_concurrent(limit, |child| child))
    });
    assert_eq!(outcome, Ok(()));
    adders.done.clear();
    adders.join();
}

fn join_set(meter: &mut dyn Meter, limit: usize, runtime: &'static Runtime) {
    let room = Arc::new(async_lock::Semaphore::new(limit));
    let set = Arc::new(Mutex::new(JoinSet::new()));
    let mut adders = Adders::new(|| {
        let (room, set) = (Arc::clone(&room), Arc::clone(&set));
        async move {
            for _ in 0..EACH {
                let permit = room.acquire_arc().await;
                let child = async move {
                    let outcome = yields(1).await;
                    drop(permit);
                    outcome
                };
                let mut set = set.lock().expect("no thread panics");
                set.spawn_on(child, runtime.handle());
                while let Some(outcome) = set.try_join_next() {
                    assert_eq!(outcome.expect("no child panics"), Ok(()));
                }
            }
        }
    });
    measured(meter, || {
        runtime.block_on(async {
            adders.run().await;
            let set = std::mem::take(&mut *set.lock().expect("no thread panics"));
            for outcome in set.join_all().await {
                assert_eq!(outcome, Ok(()));
            }
        });
    });
    adders.join();
}

fn tracker(meter: &mut dyn Meter, limit: usize, runtime: &'static Runtime) {
    let room = Arc::new(Semaphore::new(limit));
    let tracker = TaskTracker::new();
    let mut adders = Adders::new(|| {
        let (room, tracker) = (Arc::clone(&room), tracker.clone());
        async move {
            for _ in 0..EACH {
                let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
                let child = async move {
                    let outcome = yields(1).await;
                    drop(permit);
                    assert_eq!(outcome, Ok(()));
                };
                tracker.spawn_on(child, runtime.handle());
            }
        }
    });
    measured(meter, || {
        runtime.block_on(async {
            adders.run().await;
            tracker.close();
            tracker.wait().await;
        });
    });
    adders.join();
}
