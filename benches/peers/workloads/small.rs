//! Groups of a few children, made and awaited.

use std::hint::black_box;

use errgroup::Group;
use futures::future::{join_all, try_join_all};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::try_join;
use futures_buffered::FuturesUnorderedBounded;
use futures_concurrency::future::TryJoin;
use tokio::task::JoinSet;

use crate::common::block_on::block_on;
use crate::common::children::{Outcome, yields};
use crate::common::runtime::ONE_THREAD;
use crate::common::table::thousands;
use crate::common::workload::{FLOOR, Workload};

/// How many groups are made in a run, one after the other.
const GROUPS: usize = 2_000;

pub(crate) fn workloads() -> Vec<Workload> {
    let mut workloads = Vec::new();
    for size in [1, 3, 8] {
        for (kind, what, times) in [("ready", "ready", 0), ("yield1", "yielding once", 1)] {
            let title = format!(
                "{} times a group of {size}, made and awaited, the children {what}",
                thousands(GROUPS),
            );
            let name = format!("small{size}/{kind}");
            let mut workload =
                Workload::new(&name, title, GROUPS * size, "errgroup unboxed, `queue`");
            workload.go = (name, size);
            let mut small = Small { workload, size };
            ours(&mut small, times);
            peers(&mut small, times);
            joined(&mut small, times);
            workloads.push(small.workload);
        }
    }
    workloads
}

struct Small {
    workload: Workload,
    size: usize,
}

impl Small {
    /// Adds a contender: a function that runs one group of this many children.
    fn add(&mut self, name: &str, group: impl AsyncFn(usize) -> Outcome + 'static) {
        let size = self.size;
        self.workload.add(name, move || block_on(repeat(size, &group)));
    }

    fn add_under_tokio(&mut self, name: &str, group: impl AsyncFn(usize) -> Outcome + 'static) {
        let size = self.size;
        self.workload.add(name, move || ONE_THREAD.block_on(repeat(size, &group)));
    }
}

async fn repeat(size: usize, group: &impl AsyncFn(usize) -> Outcome) {
    for _ in 0..GROUPS {
        group(black_box(size)).await.expect("no child fails");
    }
}

fn ours(small: &mut Small, times: u32) {
    small.add("errgroup unboxed, `queue`", async move |size| {
        let mut group = Group::unboxed();
        for _ in 0..size {
            group.queue(yields(times));
        }
        group.await
    });
    small.add("errgroup unboxed, `go`", async move |size| {
        let mut group = Group::unboxed();
        for _ in 0..size {
            if group.go(yields(times)).await.is_err() {
                break;
            }
        }
        group.await
    });
    small.add("errgroup boxed, `queue`", async move |size| {
        let mut group = Group::new();
        for _ in 0..size {
            group.queue(yields(times));
        }
        group.await
    });
    small.add("errgroup boxed, `go`", async move |size| {
        let mut group = Group::new();
        for _ in 0..size {
            if group.go(yields(times)).await.is_err() {
                break;
            }
        }
        group.await
    });
}

fn peers(small: &mut Small, times: u32) {
    small.add("futures `FuturesUnordered`", async move |size| {
        let mut set: FuturesUnordered<_> = (0..size).map(|_| yields(times)).collect();
        while let Some(outcome) = set.next().await {
            outcome?;
        }
        Ok(())
    });
    small.add("futures `join_all`", async move |size| {
        join_all((0..size).map(|_| yields(times))).await.into_iter().collect()
    });
    small.add("futures `try_join_all`", async move |size| {
        try_join_all((0..size).map(|_| yields(times))).await.map(drop)
    });
    small.add("futures-buffered `FuturesUnorderedBounded`", async move |size| {
        let mut set = FuturesUnorderedBounded::new(size);
        for _ in 0..size {
            set.push(yields(times));
        }
        while let Some(outcome) = set.next().await {
            outcome?;
        }
        Ok(())
    });
    small.add("futures-buffered `FuturesUnordered`", async move |size| {
        let mut set = futures_buffered::FuturesUnordered::new();
        for _ in 0..size {
            set.push(yields(times));
        }
        while let Some(outcome) = set.next().await {
            outcome?;
        }
        Ok(())
    });
    small.add("futures-buffered `try_join_all`", async move |size| {
        futures_buffered::try_join_all((0..size).map(|_| yields(times))).await.map(drop)
    });
    small.add("futures-concurrency `try_join` of a `Vec`", async move |size| {
        let children: Vec<_> = (0..size).map(|_| yields(times)).collect();
        children.try_join().await.map(drop)
    });
    small.add_under_tokio("tokio `JoinSet`", async move |size| {
        let mut set = JoinSet::new();
        for _ in 0..size {
            set.spawn(yields(times));
        }
        while let Some(outcome) = set.join_next().await {
            outcome.expect("no child panics")?;
        }
        Ok(())
    });
    small.add(FLOOR, async move |size| {
        for _ in 0..size {
            yields(times).await?;
        }
        Ok(())
    });
}

/// Adds the contenders that have their size in the source.
fn joined(small: &mut Small, times: u32) {
    let child = move || yields(times);
    let (try_join, array) = ("futures `try_join!`", "futures-concurrency `try_join` of an array");
    match small.size {
        1 => {
            small.add(try_join, async move |_| try_join!(child()).map(drop));
            small.add(array, async move |_| [child()].try_join().await.map(drop));
        }
        3 => {
            small.add(try_join, async move |_| try_join!(child(), child(), child()).map(drop));
            small.add(array, async move |_| [(); 3].map(|()| child()).try_join().await.map(drop));
        }
        _ => {
            small.add(try_join, async move |_| {
                try_join!(child(), child(), child(), child(), child(), child(), child(), child(),)
                    .map(drop)
            });
            small.add(array, async move |_| [(); 8].map(|()| child()).try_join().await.map(drop));
        }
    }
}
