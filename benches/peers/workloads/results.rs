//! A stream of the results of a stream of children, as they finish or in order.

use std::pin::pin;

use errgroup::Group;
use futures::stream::{self, Stream, StreamExt};
use futures_buffered::BufferedStreamExt;

use crate::common::block_on::block_on;
use crate::common::children::{Outcome, yields};
use crate::common::table::thousands;
use crate::common::workload::Workload;

const COUNT: usize = 20_000;

const KINDS: [(&str, &str, u32); 2] =
    [("ready", "that are ready", 0), ("yield1", "that yield once", 1)];

pub(crate) fn workloads() -> Vec<Workload> {
    let workloads = KINDS.into_iter().flat_map(|(kind, what, times)| {
        let title = move |limit: usize, order| {
            let count = thousands(COUNT);
            format!("a stream of the results of {count} children {what}, {order}, at most {limit}")
        };
        [64, 1].into_iter().flat_map(move |limit| {
            let name = format!("results{limit}/{kind}");
            let as_they_come = as_they_come(name, title(limit, "as they come"), limit, times);
            let name = format!("results{limit}-in-order/{kind}");
            [as_they_come, in_order(name, title(limit, "in order"), limit, times)]
        })
    });
    workloads.collect()
}

fn as_they_come(name: String, title: String, limit: usize, times: u32) -> Workload {
    let mut workload = Workload::new(name, title, COUNT, "errgroup unboxed, `results`");
    let children = move || stream::iter((0..COUNT).map(move |_| yields(times)));
    workload.add("errgroup unboxed, `results`", move || {
        all(Group::unboxed().with_limit(limit).results().feed(children()))
    });
    workload.add("errgroup boxed, `results`", move || {
        all(Group::new().with_limit(limit).results().feed(children()))
    });
    workload.add("errgroup unboxed, `feed`: no stream", move || {
        block_on(async {
            let mut group = Group::unboxed().with_limit(limit);
            group.feed(children()).await;
            group.await
        })
    });
    workload.add("futures `buffer_unordered`", move || all(children().buffer_unordered(limit)));
    workload.add("futures-buffered `buffered_unordered`", move || {
        all(children().buffered_unordered(limit))
    });
    workload
}

fn in_order(name: String, title: String, limit: usize, times: u32) -> Workload {
    let mut workload = Workload::new(name, title, COUNT, "errgroup unboxed, `results`");
    let children = move || stream::iter((0..COUNT).map(move |_| yields(times)));
    workload.add("errgroup unboxed, `results`", move || {
        all(Group::unboxed().with_limit(limit).results().in_order().feed(children()))
    });
    workload.add("errgroup boxed, `results`", move || {
        all(Group::new().with_limit(limit).results().in_order().feed(children()))
    });
    workload.add("errgroup unboxed, `feed`: no stream", move || {
        block_on(async {
            let mut group = Group::unboxed().with_limit(limit);
            group.feed(children()).await;
            group.await
        })
    });
    workload.add("futures `buffered`", move || all(children().buffered(limit)));
    workload.add("futures-buffered `buffered_ordered`", move || {
        all(children().buffered_ordered(limit))
    });
    workload
}

/// Takes all results and counts them.
fn all(results: impl Stream<Item = Outcome>) {
    block_on(async {
        let (mut results, mut count) = (pin!(results), 0);
        while let Some(outcome) = results.next().await {
            outcome.expect("no child fails");
            count += 1;
        }
        assert_eq!(count, COUNT);
    });
}
