//! Every child that was ever accepted is counted in exactly one number of the stats.

use std::future::{pending, ready};
use std::panic::panic_any;
use std::pin::pin;
use std::task::Poll;

use crate::common::{Gate, Job, MockTask, fails, job, panic_message, waits, yield_now};
use errgroup::{Boxed, Child, Children, Group, Stats};
use futures::stream;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// Returns `queued, running, ok, failed, dropped`.
fn numbers(stats: Stats) -> [usize; 5] {
    [stats.queued, stats.running, stats.ok, stats.failed, stats.dropped]
}

#[test]
fn a_new_group_counts_no_children() {
    let group = Jobs::new();
    assert_eq!((group.stats(), group.stats().limit), (Stats::default(), None));
    assert_eq!(numbers(group.stats()), [0; 5]);
    let group = Jobs::new().with_limit(3);
    let stats = group.handle().stats();
    assert_eq!((stats.limit, numbers(stats)), (Some(3), [0; 5]));
    group.set_limit(Some(0));
    assert_eq!(group.stats().limit, Some(0));
}

#[test]
fn a_child_goes_from_queued_to_running_to_its_end() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = group.with_limit(2);
        let handle = group.handle();
        for n in 0..3 {
            group.queue(waits(&gate, n));
        }
        group.queue(fails(&gate, 3, "broken"));
        group.queue(waits(&gate, 4));
        let mut expect = |numbers_then: [usize; 5]| {
            let _ = task.poll(&mut group);
            assert_eq!(numbers(handle.stats()), numbers_then);
            assert_eq!(handle.stats(), group.stats());
        };
        expect([3, 2, 0, 0, 0]);
        gate.open(0);
        expect([2, 2, 1, 0, 0]);
        gate.open(1);
        expect([1, 2, 2, 0, 0]);
        gate.open(3);
        expect([0, 1, 2, 1, 1]);
        gate.open(2);
        expect([0, 0, 3, 1, 1]);
        drop(group);
        assert_eq!(numbers(handle.stats()), [0, 0, 3, 1, 1]);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn the_child_of_a_waiting_go_is_not_accepted_yet() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut go = Box::pin(handle.go(waits(&gate, 1)));
    assert!(task.poll(&mut go).is_pending());
    assert_eq!(numbers(handle.stats()), [0, 1, 0, 0, 0]);
    drop(go);
    assert_eq!(numbers(handle.stats()), [0, 1, 0, 0, 0]);
    let mut go = Box::pin(handle.go(waits(&gate, 1)));
    assert!(task.poll(&mut go).is_pending());
    let mut feed = pin!(handle.feed(stream::iter([waits(&gate, 1)])));
    assert!(task.poll(&mut feed).is_pending());
    assert!(handle.try_go(waits(&gate, 2)).is_err());
    drop(group);
    assert!(matches!(task.poll(&mut go), Poll::Ready(Err(_))));
    assert_eq!(task.poll(&mut feed), Poll::Ready(0));
    assert!(handle.try_go(waits(&gate, 2)).is_err());
    assert_eq!(numbers(handle.stats()), [0, 0, 0, 0, 1]);
}

#[test]
fn a_child_that_panicked_counts_as_dropped() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let task = MockTask::new();
        let mut group = group.with_limit(2);
        group.queue(job(async { panic_any("oh no") }));
        group.queue(job(ready(Err("broken"))));
        group.queue(job(ready(Ok(0))));
        assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
        assert_eq!(numbers(group.stats()), [0, 0, 0, 1, 2]);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn children_that_a_drop_of_the_group_ends_count_as_dropped() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(3);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    group.queue(ready(Ok(1)));
    group.queue(waits(&gate, 2));
    assert!(task.poll(&mut group).is_pending());
    group.queue(waits(&gate, 3));
    group.queue(waits(&gate, 4));
    assert_eq!(numbers(handle.stats()), [1, 3, 1, 0, 0]);
    drop(group);
    assert_eq!(numbers(handle.stats()), [0, 0, 1, 0, 4]);
}

#[test]
fn a_child_counts_as_running_while_it_is_polled() {
    let task = MockTask::new();
    let mut group = Jobs::new().with_limit(2);
    let handle = group.handle();
    for n in 0..6 {
        let handle = handle.clone();
        group.queue(async move {
            for _ in 0..2 {
                let [queued, running, ok, failed, dropped] = numbers(handle.stats());
                assert!((1..=2).contains(&running));
                assert_eq!((queued + running + ok, failed, dropped), (6, 0, 0));
                yield_now().await;
            }
            Ok(n)
        });
    }
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(numbers(handle.stats()), [0, 0, 6, 0, 0]);
}

#[test]
fn the_stats_are_taken_at_one_moment() {
    let mut group = Jobs::new().with_limit(4);
    let handle = group.handle();
    for n in 0..3000 {
        group.queue(async move {
            yield_now().await;
            Ok(n)
        });
    }
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut before = 0;
            while !handle.is_closed() {
                let [queued, running, ok, failed, dropped] = numbers(handle.stats());
                assert_eq!(queued + running + ok, 3000);
                assert!(running <= 4 && (before..=3000).contains(&ok));
                assert_eq!((failed, dropped), (0, 0));
                before = ok;
            }
        });
        assert_eq!(futures::executor::block_on(group), Ok(()));
    });
    assert_eq!(numbers(handle.stats()), [0, 0, 3000, 0, 0]);
}

#[test]
fn a_feeds_child_counts_where_it_was_admitted() {
    let task = MockTask::new();
    let mut group = Jobs::new().with_limit(2);
    let children = stream::iter((0..2).map(|_| pending()));
    assert!(task.run(&mut pin!(group.feed(children))).is_pending());
    assert_eq!(numbers(group.stats()), [0, 2, 0, 0, 0]);
}
