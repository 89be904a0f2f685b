//! The workloads, each in several sizes.

use std::future::Future;
use std::sync::Arc;

use errgroup::{CancelToken, Child, Children, Group, task};
use future_queue::StreamExt as _;
use futures::TryStreamExt;
use futures::channel::oneshot;
use futures::stream::{self, FuturesUnordered, StreamExt};
use futures_buffered::BufferedTryStreamExt;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::common::block_on::block_on;
use crate::common::children::{Failure, Outcome, yields};
use crate::common::table::thousands;
use crate::common::workload::{Workload, measured};

/// A workload that grows.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What grows.
    pub(crate) size: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) points: Vec<(usize, Workload)>,
}

pub(crate) fn all() -> Vec<Series> {
    vec![children(), limit(), keys(), waiters(), mutex(), depth()]
}

/// From ten to a million.
const SIZES: [usize; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];

fn children() -> Series {
    let size = |count: usize| {
        (count, workload("children", count, count, Some(64), move || (0..count).map(|_| yields(1))))
    };
    Series {
        name: "children",
        title: "More children, 64 at a time",
        size: "children, which yield once",
        unit: "child",
        points: [1_000, 10_000, 100_000, 1_000_000].map(size).into(),
    }
}

fn limit() -> Series {
    const COUNT: usize = 100_000;
    let size = |limit: usize| {
        (limit, workload("limit", limit, COUNT, Some(limit), || (0..COUNT).map(|_| yields(1))))
    };
    Series {
        name: "limit",
        title: "A higher limit, for 100,000 children",
        size: "limit, the children yield once",
        unit: "child",
        points: [1, 10, 100, 1_000, 10_000, 100_000].map(size).into(),
    }
}

fn keys() -> Series {
    let size = |count: usize| {
        let mut workload = named("keys", count, count);
        let mut add = |name: &str, run: fn(usize) -> Outcome| {
            workload.add_prepared(name, || (), move |()| run(count), Ok(()));
        };
        add("errgroup, a key each", |count| {
            queue(Group::unboxed().with_key_limit(1), (0..count).map(|n| task(yields(1)).key(n)))
        });
        add("errgroup, a weight each", |count| {
            queue(Group::unboxed(), (0..count).map(|_| task(yields(1)).weight(2)))
        });
        add("errgroup, neither", |count| queue(Group::unboxed(), (0..count).map(|_| yields(1))));
        // It goes through all groups for each child that ends.
        if count <= 10_000 {
            add("future-queue, a group each", |count| {
                let children = (0..count).map(|n| (1, Some(n), |_| yields(1)));
                let groups = (0..count).map(|n| (n, 1));
                block_on(stream::iter(children).future_queue_grouped(count, groups).try_collect())
            });
        }
        (count, workload)
    };
    Series {
        name: "keys",
        title: "More keys, with a child each, all at once",
        size: "keys, their children yield once",
        unit: "child",
        points: SIZES.map(size).into(),
    }
}

fn waiters() -> Series {
    const LIMIT: usize = 64;
    let size = |count: usize| {
        let mut workload = named("waiters", count, count);
        let mut add = |name: &str, run: fn(usize) -> Outcome| {
            workload.add_prepared(name, || (), move |()| run(count), Ok(()));
        };
        add("errgroup, queued", |count| {
            queue(Group::unboxed().with_limit(LIMIT), (0..count).map(|_| yields(1)))
        });
        add("errgroup, a weight each", |count| {
            let children = (0..count).map(|n| task(yields(1)).weight(1 + n % 3));
            queue(Group::unboxed().with_limit(LIMIT), children)
        });
        add("errgroup, a priority each", |count| {
            let children = (0..count).map(|n| task(yields(1)).priority((n % 3) as i32));
            queue(Group::unboxed().with_limit(LIMIT), children)
        });
        add("errgroup, a key each", |count| {
            let group = Group::unboxed().with_limit(LIMIT).with_key_limit(1);
            queue(group, (0..count).map(|n| task(yields(1)).key(n)))
        });
        add("errgroup, `go` of a handle", |count| {
            let group = Group::unboxed().with_limit(LIMIT);
            let handle = group.handle();
            let gos = async move |_| {
                let mut gos: FuturesUnordered<_> =
                    (0..count).map(|_| handle.go(yields(1))).collect();
                while let Some(added) = gos.next().await {
                    assert!(added.is_ok());
                }
            };
            block_on(group.scope(gos)).1
        });
        add("futures set, async-lock permits", |count| {
            let room = async_lock::Semaphore::new(LIMIT);
            let child = async |_| {
                let _permit = room.acquire().await;
                yields(1).await
            };
            block_on(drain((0..count).map(child).collect()))
        });
        add("futures set, tokio permits", |count| {
            let room = tokio::sync::Semaphore::new(LIMIT);
            let child = async |_| {
                let _permit = room.acquire().await.expect("it is never closed");
                yields(1).await
            };
            block_on(drain((0..count).map(child).collect()))
        });
        (count, workload)
    };
    Series {
        name: "waiters",
        title: "More children that wait for room, 64 at a time",
        size: "children, which yield once",
        unit: "child",
        points: SIZES.map(size).into(),
    }
}

/// Adds all children, and runs them.
fn queue<C>(mut group: Group<C>, children: impl Iterator<Item: Child<C>>) -> Outcome
where
    C: Children<Ok = (), Err = Failure>,
{
    children.for_each(|child| group.queue(child));
    block_on(group)
}

async fn drain(mut set: FuturesUnordered<impl Future<Output = Outcome>>) -> Outcome {
    while let Some(outcome) = set.next().await {
        outcome?;
    }
    Ok(())
}

fn mutex() -> Series {
    let size =
        |count: usize| (count, workload("mutex", count, count, None, move || contend(count)));
    Series {
        name: "mutex",
        title: "Children that contend for one mutex, all at once",
        size: "children",
        unit: "child",
        points: [10_000, 20_000, 40_000, 80_000, 160_000].map(size).into(),
    }
}

/// Makes children of which the first holds the mutex until the last one runs.
fn contend(count: usize) -> impl Iterator<Item = impl Future<Output = Outcome> + Send> + Send {
    let sum = Arc::new(Mutex::new(0));
    let (sender, receiver) = oneshot::channel();
    let (mut all_here, mut until_all_here) = (Some(sender), Some(receiver));
    (0..count).map(move |index| {
        let sum = Arc::clone(&sum);
        let until_all_here = until_all_here.take();
        let all_here = if index + 1 == count { all_here.take() } else { None };
        async move {
            if let Some(all_here) = all_here {
                all_here.send(()).map_err(|()| index)?;
            }
            let mut sum = sum.lock().await;
            if let Some(until_all_here) = until_all_here {
                until_all_here.await.map_err(|_| index)?;
            }
            *sum += 1;
            Ok(())
        }
    })
}

fn depth() -> Series {
    let size = |depth: usize| {
        let mut workload = named("depth", depth, depth);
        workload.add_parts("errgroup `CancelToken`", move |meter| {
            let root = CancelToken::new();
            let mut tree = vec![root.clone()];
            (1..depth).for_each(|above| tree.push(tree[above - 1].child()));
            measured(meter, || root.cancel());
            assert!(tree[depth - 1].is_cancelled());
        });
        workload.add_parts("tokio-util `CancellationToken`", move |meter| {
            let root = CancellationToken::new();
            let mut tree = vec![root.clone()];
            (1..depth).for_each(|above| tree.push(tree[above - 1].child_token()));
            measured(meter, || root.cancel());
            assert!(tree[depth - 1].is_cancelled());
        });
        (depth, workload)
    };
    Series {
        name: "depth",
        title: "A deeper tree of tokens, cancelled at its root",
        size: "depth",
        unit: "token",
        points: [10, 100, 1_000, 10_000, 100_000].map(size).into(),
    }
}

fn named(series: &str, size: usize, units: usize) -> Workload {
    Workload::new(format!("{series}/{size}"), thousands(size), units, "")
}

/// Adds the contenders that run the children of `source`.
fn workload<S, I>(
    series: &str,
    size: usize,
    units: usize,
    limit: Option<usize>,
    source: S,
) -> Workload
where
    S: Fn() -> I + Clone + 'static,
    I: Iterator + Send + 'static,
    I::Item: Future<Output = Outcome> + Send + 'static,
{
    let mut workload = named(series, size, units);
    let mut add = |name: &str, run: fn(I, Option<usize>) -> Outcome| {
        workload.add_prepared(name, source.clone(), move |children| run(children, limit), Ok(()));
    };
    add("errgroup unboxed", |children, limit| {
        let mut group = Group::unboxed();
        group.set_limit(limit);
        block_on(async {
            group.feed(stream::iter(children)).await;
            group.await
        })
    });
    add("errgroup boxed", |children, limit| {
        let mut group = Group::new();
        group.set_limit(limit);
        block_on(async {
            group.feed(stream::iter(children)).await;
            group.await
        })
    });
    add("futures `try_for_each_concurrent`", |children, limit| {
        let children = stream::iter(children.map(Ok));
        block_on(children.try_for_each_concurrent(limit, |child| child))
    });
    add("futures `FuturesUnordered`", |children, limit| {
        block_on(async {
            let mut set = FuturesUnordered::new();
            for child in children {
                if Some(set.len()) == limit {
                    set.next().await.expect("it is full")?;
                }
                set.push(child);
            }
            while let Some(outcome) = set.next().await {
                outcome?;
            }
            Ok(())
        })
    });
    if limit.is_some() {
        add("futures-buffered `try_buffered_unordered`", |children, limit| {
            let children = stream::iter(children.map(Ok));
            let set = children.try_buffered_unordered(limit.unwrap_or(usize::MAX));
            block_on(set.try_for_each(|()| std::future::ready(Ok(()))))
        });
    }
    workload
}
