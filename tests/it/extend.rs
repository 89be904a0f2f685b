//! `extend`: many children added at once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::common::{self, Job};
use errgroup::Group;
use futures::executor::block_on;
use futures::stream::{StreamExt, TryStreamExt};

fn job(n: usize) -> Job {
    common::job(async move { if n < 9 { Ok(n) } else { Err("too much") } })
}

#[test]
fn extend_queues_in_order() {
    let mut group = Group::new().with_limit(2).collect();
    group.queue(job(0));
    group.extend((1..4).map(job));
    group.handle().extend([job(4)]);
    let stats = group.stats();
    assert_eq!((stats.running, stats.queued), (2, 3));
    assert_eq!(block_on(group), Ok(vec![0, 1, 2, 3, 4]));
}

#[test]
fn extend_keeps_the_options_of_each_child() {
    let mut group = Group::new().with_limit(1).results();
    group.queue(job(0));
    group.extend((1..4).map(|n| errgroup::task(job(n)).priority(n as i32)));
    assert_eq!(block_on(group.try_collect::<Vec<_>>()), Ok(vec![0, 3, 2, 1]));
}

#[test]
fn extend_drops_and_counts_the_children_if_the_group_has_stopped() {
    let mut group = Group::unboxed();
    group.token().cancel();
    group.extend((0..3).map(job));
    assert_eq!(group.stats().dropped, 3);
    assert_eq!(block_on(group), Ok(()));
}

#[test]
fn a_panic_of_the_iterator_keeps_the_children_made_before() {
    let mut results = Group::new().results();
    let children = (0..5).map(|n| if n < 3 { job(n) } else { panic!("no more") });
    let panicked = catch_unwind(AssertUnwindSafe(|| results.extend(children)));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"no more"));
    assert_eq!(block_on(results.collect::<Vec<_>>()), [Ok(0), Ok(1), Ok(2)]);
}
