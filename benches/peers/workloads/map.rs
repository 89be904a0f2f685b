//! A future for each input, and the values in the order of the inputs.

use errgroup::Group;
use futures::stream::{self, StreamExt, TryStreamExt};
use futures_buffered::BufferedTryStreamExt;

use crate::common::block_on::block_on;
use crate::common::children::{Failure, yields};
use crate::common::workload::Workload;

const COUNT: usize = 20_000;
const LIMIT: usize = 64;

const KINDS: [(&str, &str, u32); 2] =
    [("ready", "that are ready", 0), ("yield1", "that yield once", 1)];

type Values = Result<Vec<usize>, Failure>;

pub(crate) fn workloads() -> Vec<Workload> {
    KINDS.map(|(kind, what, times)| workload(kind, what, times)).into()
}

fn workload(kind: &str, what: &str, times: u32) -> Workload {
    let make = move |input| child(input, times);
    let name = format!("map64/{kind}");
    let title = format!("20,000 futures {what}, each with a value, at most 64 at a time");
    let mut workload = Workload::new(name, title, COUNT, "errgroup `map`");
    add(&mut workload, "errgroup `map`", move || block_on(errgroup::map(LIMIT, 0..COUNT, make)));
    add(&mut workload, "errgroup unboxed, `collect`, `feed`", move || {
        block_on(async {
            let mut group = Group::unboxed().with_limit(LIMIT).collect();
            group.feed(stream::iter((0..COUNT).map(make))).await;
            group.await
        })
    });
    add(&mut workload, "futures `buffered`, `try_collect`", move || {
        block_on(stream::iter(0..COUNT).map(make).buffered(LIMIT).try_collect())
    });
    add(&mut workload, "futures `try_buffered`, `try_collect`", move || {
        let futures = stream::iter((0..COUNT).map(|input| Ok(make(input))));
        block_on(futures.try_buffered(LIMIT).try_collect())
    });
    add(&mut workload, "futures-buffered `try_buffered_ordered`", move || {
        let futures = stream::iter((0..COUNT).map(|input| Ok(make(input))));
        block_on(futures.try_buffered_ordered(LIMIT).try_collect())
    });
    // The same without values, to show what the values cost.
    workload.add("errgroup `for_each`, no values", move || {
        block_on(errgroup::for_each(LIMIT, 0..COUNT, make)).expect("none fails");
    });
    workload.add("errgroup unboxed, `feed`, no values", move || {
        let fed = block_on(async {
            let mut group = Group::unboxed().with_limit(LIMIT);
            group.feed(stream::iter((0..COUNT).map(make))).await;
            group.await
        });
        fed.expect("none fails");
    });
    workload
}

async fn child(input: usize, times: u32) -> Result<usize, Failure> {
    yields(times).await?;
    Ok(input)
}

/// Adds a contender. Its values are checked after the clock has stopped.
fn add(workload: &mut Workload, name: &str, run: impl Fn() -> Values + 'static) {
    workload.add_prepared(name, || (), move |()| run(), Ok((0..COUNT).collect()));
}
