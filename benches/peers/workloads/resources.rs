//! Children that use tokio's resources, which become pending once the task has used its budget.

use std::future::Future;
use std::sync::Arc;

use errgroup::Group;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use futures_buffered::FuturesUnorderedBounded;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::common::children::Outcome;
use crate::common::runtime::{ONE_THREAD, TWO_THREADS};
use crate::common::table::thousands;
use crate::common::workload::Workload;

const COUNT: usize = 10_000;

type Child = BoxFuture<'static, Outcome>;

/// Makes the children of a run.
type Make = fn() -> Vec<Child>;

pub(crate) fn workloads() -> Vec<Workload> {
    let kinds: [(&str, &str, Make); 4] = [
        ("mutex", "lock tokio's mutex twice", mutex),
        ("semaphore", "acquire a permit of tokio's semaphore twice", semaphore),
        ("mpsc", "send to a channel of tokio twice", channel),
        ("oneshot", "receive from a channel of tokio each", oneshots),
    ];
    let workload = |(key, what, make): (&str, &str, Make)| {
        let title = format!("{} children that {what}, all at once", thousands(COUNT));
        let name = format!("none{COUNT}/{key}");
        let mut workload = Workload::new(name, title, COUNT, "errgroup unboxed, `queue`");
        add(&mut workload, make);
        workload
    };
    kinds.map(workload).into()
}

fn add(workload: &mut Workload, make: Make) {
    contender(workload, make, "errgroup unboxed, `queue`", |children| async move {
        let mut group = Group::unboxed();
        group.extend(children);
        group.await
    });
    contender(workload, make, "errgroup unboxed, `go`", |children| async move {
        let mut group = Group::unboxed();
        for child in children {
            if group.go(child).await.is_err() {
                break;
            }
        }
        group.await
    });
    contender(workload, make, "futures `FuturesUnordered`", |children| async move {
        let mut set: FuturesUnordered<_> = children.into_iter().collect();
        while let Some(outcome) = set.next().await {
            outcome?;
        }
        Ok(())
    });
    contender(
        workload,
        make,
        "futures-buffered `FuturesUnorderedBounded`",
        |children| async move {
            let mut set: FuturesUnorderedBounded<_> = children.into_iter().collect();
            while let Some(outcome) = set.next().await {
                outcome?;
            }
            Ok(())
        },
    );
    contender(workload, make, "tokio `JoinSet`", |children| async move {
        let mut set: JoinSet<Outcome> = children.into_iter().collect();
        while let Some(outcome) = set.join_next().await {
            outcome.expect("no child panics")?;
        }
        Ok(())
    });
}

/// Adds a contender on each kind of runtime.
fn contender<F>(workload: &mut Workload, make: Make, name: &str, run: fn(Vec<Child>) -> F)
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let within = move |runtime: &Runtime, children| {
        // Within a task, which has a budget on both.
        runtime.block_on(runtime.spawn(run(children))).expect("it does not panic")
    };
    workload.add_prepared(name, make, move |children| within(&ONE_THREAD, children), Ok(()));
    let name = format!("{name}, 2 threads");
    workload.add_prepared(&name, make, move |children| within(&TWO_THREADS, children), Ok(()));
}

fn mutex() -> Vec<Child> {
    let mutex = Arc::new(Mutex::new(()));
    let child = |_| -> Child {
        let mutex = Arc::clone(&mutex);
        Box::pin(async move {
            drop(mutex.lock().await);
            drop(mutex.lock().await);
            Ok(())
        })
    };
    (0..COUNT).map(child).collect()
}

fn semaphore() -> Vec<Child> {
    let semaphore = Arc::new(Semaphore::new(1_000));
    let child = |_| -> Child {
        let semaphore = Arc::clone(&semaphore);
        Box::pin(async move {
            for _ in 0..2 {
                drop(semaphore.acquire().await.expect("it is never closed"));
            }
            Ok(())
        })
    };
    (0..COUNT).map(child).collect()
}

/// Makes one child that receives what the others send.
fn channel() -> Vec<Child> {
    let (sender, mut receiver) = mpsc::channel(100);
    let sends = |n| -> Child {
        let sender = sender.clone();
        Box::pin(async move {
            for _ in 0..2 {
                sender.send(n).await.expect("the other end lives");
            }
            Ok(())
        })
    };
    let mut children: Vec<Child> = (1..COUNT).map(sends).collect();
    children.push(Box::pin(async move {
        for _ in 0..2 * (COUNT - 1) {
            receiver.recv().await.expect("a message for each");
        }
        Ok(())
    }));
    children
}

/// Makes pairs of which one sends and the other receives.
fn oneshots() -> Vec<Child> {
    let pair = |_| -> [Child; 2] {
        let (sender, receiver) = oneshot::channel();
        let receives = async move { receiver.await.expect("it is sent") };
        let sends = async move {
            sender.send(Ok(())).expect("the other end lives");
            Ok(())
        };
        [Box::pin(receives), Box::pin(sends)]
    };
    (0..COUNT / 2).flat_map(pair).collect()
}
