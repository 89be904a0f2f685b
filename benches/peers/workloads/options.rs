//! Children with a weight, a key or a priority.

use std::collections::BinaryHeap;
use std::sync::Arc;

use async_lock::Semaphore;
use buffer_unordered_weighted::StreamExt as _;
use errgroup::{Group, task};
use future_queue::StreamExt as _;
use futures::TryStreamExt;
use futures::future::try_join_all;
use futures::stream::{self, FuturesUnordered, StreamExt};
use tokio::task::JoinSet;

use super::crowd::{feed, queue};
use crate::common::block_on::block_on;
use crate::common::children::{Outcome, yields};
use crate::common::runtime::ONE_THREAD;
use crate::common::workload::Workload;

const COUNT: usize = 20_000;
const LIMIT: usize = 64;
const EACH_KEY: usize = 2;

const KINDS: [(&str, &str, u32); 2] =
    [("ready", "that are ready", 0), ("yield1", "that yield once", 1)];

pub(crate) fn workloads() -> Vec<Workload> {
    KINDS
        .into_iter()
        .flat_map(|(kind, what, times)| {
            [
                weights(kind, what, times),
                keys(&format!("keys64/{kind}"), what, times, 100),
                keys(&format!("keys64-full/{kind}"), what, times, 16),
                priorities(kind, what, times),
            ]
        })
        .collect()
}

fn weight(n: usize) -> usize {
    1 + n % 3
}

fn weights(kind: &str, what: &str, times: u32) -> Workload {
    let title =
        format!("20,000 children {what}, of a weight of 1 to 3, at most 64 of it at a time");
    let mut workload =
        Workload::new(format!("weights64/{kind}"), title, COUNT, "errgroup unboxed, `feed`");
    let children = move || (0..COUNT).map(move |n| task(yields(times)).weight(weight(n)));
    add(&mut workload, "errgroup unboxed, `feed`", move || {
        block_on(feed(Group::unboxed().with_limit(LIMIT), children()))
    });
    add(&mut workload, "errgroup unboxed, `queue`", move || {
        block_on(queue(Group::unboxed().with_limit(LIMIT), children()))
    });
    add(&mut workload, "errgroup boxed, `feed`", move || {
        block_on(feed(Group::new().with_limit(LIMIT), children()))
    });
    add(&mut workload, "future-queue `future_queue`", move || {
        let children = (0..COUNT).map(|n| (weight(n), move |_| yields(times)));
        block_on(stream::iter(children).future_queue(LIMIT).try_collect())
    });
    // It lets the last child exceed the limit.
    add(&mut workload, "buffer-unordered-weighted `buffer_unordered_weighted`", move || {
        let children = (0..COUNT).map(|n| (weight(n), yields(times)));
        block_on(stream::iter(children).buffer_unordered_weighted(LIMIT).try_collect())
    });
    add(&mut workload, "tokio `JoinSet`, owned permits", move || {
        ONE_THREAD.block_on(async {
            let room = Arc::new(tokio::sync::Semaphore::new(LIMIT));
            let mut set = JoinSet::new();
            for n in 0..COUNT {
                let permits = Arc::clone(&room).acquire_many_owned(weight(n) as u32);
                let permits = permits.await.expect("it is never closed");
                set.spawn(async move {
                    let outcome = yields(times).await;
                    drop(permits);
                    outcome
                });
                while let Some(outcome) = set.try_join_next() {
                    outcome.expect("no child panics")?;
                }
            }
            set.join_all().await.into_iter().collect()
        })
    });
    workload
}

fn keys(name: &str, what: &str, times: u32, keys: usize) -> Workload {
    let title =
        format!("20,000 children {what}, of {keys} keys, at most 64 at a time and 2 of each key");
    let mut workload = Workload::new(name, title, COUNT, "errgroup unboxed, `queue`");
    let children = move || (0..COUNT).map(move |n| task(yields(times)).key(n % keys));
    add(&mut workload, "errgroup unboxed, `queue`", move || {
        let group = Group::unboxed().with_limit(LIMIT).with_key_limit(EACH_KEY);
        block_on(queue(group, children()))
    });
    add(&mut workload, "errgroup unboxed, `feed`", move || {
        let group = Group::unboxed().with_limit(LIMIT).with_key_limit(EACH_KEY);
        block_on(feed(group, children()))
    });
    add(&mut workload, "errgroup boxed, `queue`", move || {
        let group = Group::new().with_limit(LIMIT).with_key_limit(EACH_KEY);
        block_on(queue(group, children()))
    });
    add(&mut workload, "future-queue `future_queue_grouped`", move || {
        let children = (0..COUNT).map(|n| (1, Some(n % keys), move |_| yields(times)));
        let groups = (0..keys).map(|key| (key, EACH_KEY));
        block_on(stream::iter(children).future_queue_grouped(LIMIT, groups).try_collect())
    });
    add(&mut workload, "futures `try_join_all`, async-lock permits", move || {
        let room = Semaphore::new(LIMIT);
        let rooms: Vec<_> = (0..keys).map(|_| Semaphore::new(EACH_KEY)).collect();
        let children = (0..COUNT).map(async |n| {
            let _of_key = rooms[n % keys].acquire().await;
            let _permit = room.acquire().await;
            yields(times).await
        });
        block_on(try_join_all(children)).map(drop)
    });
    workload
}

fn priority(n: usize) -> i32 {
    (n % 3) as i32
}

fn priorities(kind: &str, what: &str, times: u32) -> Workload {
    let title = format!("20,000 children {what}, of three priorities, at most 64 at a time");
    let mut workload =
        Workload::new(format!("priorities64/{kind}"), title, COUNT, "errgroup unboxed, `queue`");
    let children = move || (0..COUNT).map(move |n| task(yields(times)).priority(priority(n)));
    add(&mut workload, "errgroup unboxed, `queue`", move || {
        block_on(queue(Group::unboxed().with_limit(LIMIT), children()))
    });
    add(&mut workload, "errgroup boxed, `queue`", move || {
        block_on(queue(Group::new().with_limit(LIMIT), children()))
    });
    add(&mut workload, "futures `FuturesUnordered`, a `BinaryHeap`", move || {
        block_on(async {
            let mut waiting: BinaryHeap<_> = (0..COUNT).map(|n| (priority(n), COUNT - n)).collect();
            let mut set = FuturesUnordered::new();
            while waiting.pop().is_some() {
                if set.len() == LIMIT {
                    set.next().await.expect("it is full")?;
                }
                set.push(yields(times));
            }
            while let Some(outcome) = set.next().await {
                outcome?;
            }
            Ok(())
        })
    });
    add(&mut workload, "future-queue `future_queue`, no priorities", move || {
        let children = (0..COUNT).map(|_| (1, move |_| yields(times)));
        block_on(stream::iter(children).future_queue(LIMIT).try_collect())
    });
    workload
}

/// Adds a peer, none of whose children fails.
fn add(workload: &mut Workload, name: &str, run: impl Fn() -> Outcome + 'static) {
    workload.add_prepared(name, || (), move |()| run(), Ok(()));
}
