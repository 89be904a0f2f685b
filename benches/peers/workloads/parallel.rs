//! Children that are tasks of a runtime: this crate's, and tasks that wait for a semaphore.

use std::future::Future;
use std::hint::black_box;
use std::iter;

use errgroup::{Group, Spawned};
use futures::stream;
use tokio::runtime::Runtime;

use super::crowd::{join_set, join_set_with_permits, tracker_with_permits};
use crate::common::children::{Failure, Outcome, yields};
use crate::common::runtime::{ONE_THREAD, TWO_THREADS};
use crate::common::workload::Workload;

const LIMIT: usize = 64;
const COUNT: usize = 20_000;

const GO: &str = "errgroup on tokio, `go`";
const ON_TWO: &str = "errgroup on tokio, 2 threads";

pub(crate) fn workloads() -> Vec<Workload> {
    let mut workloads = Vec::new();
    for (threads, on) in [("1 thread", "on1"), ("2 threads", "on2")] {
        for (times, kind, what) in [(0, "ready", "are ready"), (1, "yield1", "yield once")] {
            let name = format!("{on}/{kind}");
            let title = format!("20,000 children on {threads} that {what}, at most 64 at a time");
            let mut workload = Workload::new(name, title, COUNT, GO);
            let runtime = move || if on == "on1" { &*ONE_THREAD } else { &*TWO_THREADS };
            let children = move || iter::repeat_with(move || yields(times)).take(COUNT);
            workload.add(GO, move || run(runtime(), go(children())));
            workload.add("errgroup on tokio, `feed`", move || run(runtime(), feed(children())));
            workload.add("errgroup on tokio, `queue`", move || run(runtime(), queue(children())));
            workload.add("tokio `JoinSet`, owned permits", move || {
                run(runtime(), join_set_with_permits(children(), LIMIT));
            });
            workload
                .add("tokio `JoinSet`", move || run(runtime(), join_set(children(), Some(LIMIT))));
            workload.add("tokio-util `TaskTracker`, owned permits", move || {
                run(runtime(), tracker_with_permits(children(), LIMIT));
            });
            workloads.push(workload);
        }
    }
    workloads.push(computing());
    workloads
}

/// Children that keep their thread busy.
fn computing() -> Workload {
    const CHILDREN: usize = 256;
    let title = "256 children that compute for 0.2 ms each, at most 8 at a time";
    let mut workload = Workload::new("on/computing", title, CHILDREN, ON_TWO);
    let children = || iter::repeat_with(compute).take(CHILDREN);
    workload.add(ON_TWO, move || run(&TWO_THREADS, limited(8, children())));
    workload.add("errgroup on tokio, 1 thread", move || run(&ONE_THREAD, limited(8, children())));
    workload.add("tokio `JoinSet`, owned permits, 2 threads", move || {
        run(&TWO_THREADS, join_set_with_permits(children(), 8));
    });
    workload
}

async fn compute() -> Outcome {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for n in 0..black_box(150_000_u64) {
        hash = (hash ^ n).wrapping_mul(0x0100_0000_01b3);
    }
    if black_box(hash) == 0 { Err(0) } else { Ok(()) }
}

/// Runs a future within a task of the runtime, as in a server.
fn run(runtime: &Runtime, work: impl Future<Output = Outcome> + Send + 'static) {
    let outcome = runtime.block_on(async { tokio::spawn(work).await });
    assert_eq!(outcome.expect("it does not panic"), Ok(()));
}

fn group() -> Group<Spawned<(), Failure>> {
    Group::on(|child| drop(tokio::spawn(child)))
}

async fn go<F>(children: impl Iterator<Item = F>) -> Outcome
where
    F: Future<Output = Outcome> + Send + 'static,
{
    limited(LIMIT, children).await
}

async fn limited<F>(limit: usize, children: impl Iterator<Item = F>) -> Outcome
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut group = group().with_limit(limit);
    for child in children {
        if group.go(child).await.is_err() {
            break;
        }
    }
    group.await
}

async fn feed<F>(children: impl Iterator<Item = F>) -> Outcome
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut group = group().with_limit(LIMIT);
    group.feed(stream::iter(children)).await;
    group.await
}

async fn queue<F>(children: impl Iterator<Item = F>) -> Outcome
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut group = group().with_limit(LIMIT);
    for child in children {
        group.queue(child);
    }
    group.await
}
