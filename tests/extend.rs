//! What a group is extended by is queued, one after another, with nothing held meanwhile.

mod common;

use std::future::ready;
use std::task::Poll;

use common::{Job, Probe, Task, job, thrown};
use errgroup::{Boxed, Group, task};
use futures::stream::StreamExt;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

#[test]
fn all_are_queued_in_their_order_and_none_is_polled() {
    let (task, probe) = (Task::new(), Probe::new());
    let mut group = Group::unboxed().with_limit(2).collect();
    group.extend((0..5).map(|n| probe.watch(ready(Ok(n)))));
    group.handle().extend((5..7).map(|n| probe.watch(ready(Ok(n)))));
    assert_eq!((group.stats().running, group.stats().queued, probe.polls()), (2, 5, 0));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok((0..7).collect())));
}

#[test]
fn options_go_along_and_a_stream_of_results_is_extended_as_well() {
    let mut results = Group::new().with_limit(1).results();
    results.extend([0, 5, 1].map(|n| task(ready(Ok::<i32, ()>(n))).priority(n)));
    assert_eq!(
        Task::new().run(&mut results.collect::<Vec<_>>()),
        Poll::Ready(vec![Ok(0), Ok(5), Ok(1)])
    );
}

#[test]
fn after_a_stop_they_are_dropped_and_counted() {
    let probe = Probe::new();
    let mut group = Jobs::new();
    group.token().cancel();
    group.extend((0..3).map(|n| probe.watch(ready(Ok(n)))));
    assert_eq!((probe.polls(), probe.drops(), group.stats().dropped), (0, 3, 3));
}

#[test]
fn an_iterator_may_use_the_group_and_one_that_panics_leaves_what_it_gave() {
    let task = Task::new();
    let mut group = Jobs::new().with_limit(1).collect();
    let handle = group.handle();
    let panic = thrown(|| {
        group.extend((0..3).map(|n| -> Job {
            assert!(n < 2, "no third");
            handle.queue(job(ready(Ok(10 * n))));
            job(ready(Ok(n)))
        }));
    });
    assert_eq!(panic, "no third");
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(vec![0, 0, 10, 1])));
}
