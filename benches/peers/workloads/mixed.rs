//! Children of several types.

use std::hint::black_box;

use errgroup::{Boxed, Child, Group};

use super::crowd::{self, Crowd, Plan, limited};
use crate::common::block_on::block_on;
use crate::common::children::{BoxedChild, Failure, Outcome, yields};
use crate::common::workload::{FLOOR, Workload};

const COUNT: usize = 20_000;

async fn large(index: usize) -> Outcome {
    let state = black_box([index; 32]);
    yields(2).await?;
    black_box(state);
    Ok(())
}

async fn counts_down(mut left: u32) -> Outcome {
    while left > 0 {
        yields(1).await?;
        left -= 1;
    }
    Ok(())
}

/// Returns the child of this index in a box, for sets that hold futures of one type.
fn boxed(index: usize) -> BoxedChild {
    match index % 4 {
        0 => Box::pin(yields(1)),
        1 => Box::pin(std::future::ready(Ok(()))),
        2 => Box::pin(large(index)),
        _ => Box::pin(counts_down(1)),
    }
}

pub(crate) fn workloads() -> Vec<Workload> {
    [("limit64/mixed", Some(64)), ("none20000/mixed", None)]
        .map(|(name, limit)| {
            let plan = Plan::new(name, "20,000 boxed children of four types", limit, COUNT);
            let mut crowd = Crowd::new(&plan, || (0..COUNT).map(boxed));
            crowd.workload.reference = match limit {
                Some(_) => "errgroup boxed, `go`",
                None => "errgroup boxed, `queue`",
            };
            crowd.add("errgroup boxed, `go`", move |_| block_on(go(limit)));
            crowd.add("errgroup boxed, `queue`", move |_| block_on(queue(limit)));
            crowd.add("errgroup unboxed, `feed`", move |children| {
                block_on(async {
                    let mut group = limited(Group::unboxed(), limit);
                    group.feed(futures::stream::iter(children)).await;
                    group.await
                })
            });
            crowd::peers(&mut crowd, &plan);
            crowd.add(FLOOR, |children| {
                block_on(async {
                    for child in children {
                        child.await?;
                    }
                    Ok(())
                })
            });
            crowd.workload
        })
        .into()
}

type Mixed = Boxed<'static, (), Failure>;

/// Adds the children as they are, since a group made by `new` boxes them itself.
async fn go(limit: Option<usize>) -> Outcome {
    async fn add(group: &mut Group<Mixed>, child: impl Child<Mixed>) -> bool {
        group.go(child).await.is_ok()
    }
    let mut group = limited(Group::new(), limit);
    for index in 0..COUNT {
        let added = match index % 4 {
            0 => add(&mut group, yields(1)).await,
            1 => add(&mut group, std::future::ready(Ok(()))).await,
            2 => add(&mut group, large(index)).await,
            _ => add(&mut group, counts_down(1)).await,
        };
        if !added {
            break;
        }
    }
    group.await
}

async fn queue(limit: Option<usize>) -> Outcome {
    let mut group: Group<Mixed> = limited(Group::new(), limit);
    for index in 0..COUNT {
        match index % 4 {
            0 => group.queue(yields(1)),
            1 => group.queue(std::future::ready(Ok(()))),
            2 => group.queue(large(index)),
            _ => group.queue(counts_down(1)),
        }
    }
    group.await
}
