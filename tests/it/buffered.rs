//! Results ahead of the reader: up to a number of them keep no room.

use std::task::Poll;

use crate::common::{Gate, Job, Log, MockTask, Tap, logged_child, waits};
use errgroup::{Boxed, Group, task};
use futures::StreamExt;
use futures::stream::Stream;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

fn next<S: Stream + Unpin>(task: &MockTask, results: &mut S) -> Poll<Option<S::Item>> {
    task.poll(&mut results.next())
}

#[test]
fn so_many_results_wait_without_room_and_no_more() {
    for with_handle in [false, true] {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut results = Jobs::new().with_limit(2).results().buffered(3);
        let _handle = with_handle.then(|| results.handle());
        (0..10).for_each(|n| gate.open(n));
        (0..10).for_each(|n| results.queue(waits(&gate, n)));
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
        // Three results wait, and have no room. Two children have it, and were not polled.
        let stats = results.stats();
        assert_eq!((stats.ok, stats.running, stats.queued), (4, 2, 4));
        assert_eq!(results.len(), 9);
        for n in 1..10 {
            assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(n))));
            assert_eq!(results.len(), 9 - n);
        }
        assert_eq!(next(&task, &mut results), Poll::Ready(None));
        assert_eq!((results.stats().ok, results.stats().running), (10, 0));
    }
}

#[test]
fn children_start_while_results_wait_to_be_read() {
    let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    for (buffered, started) in [(0, vec![]), (2, vec!["+2", "+3"])] {
        let mut results = Jobs::new().with_limit(2).results().buffered(buffered);
        gate.open(0);
        gate.open(1);
        (0..4).for_each(|n| results.queue(logged_child(n, &gate, &log)));
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
        // The reader awaits something else; the children have been polled, if any may run.
        let seen = log.take();
        assert_eq!(seen[4..], started[..]);
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
        drop(results);
        log.take();
    }
}

#[test]
fn in_order_as_many_go_ahead_of_a_slow_one() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().with_limit(2).results().in_order().buffered(3);
    (1..10).for_each(|n| gate.open(n));
    (0..10).for_each(|n| results.queue(waits(&gate, n)));
    assert!(next(&task, &mut results).is_pending());
    // The slow one has room, three of those behind it have none, and one keeps it.
    let stats = results.stats();
    assert_eq!((stats.ok, stats.running, stats.queued), (3, 2, 5));
    gate.open(0);
    for n in 0..10 {
        assert_eq!(task.run(&mut results.next()), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert_eq!((results.stats().ok, results.stats().running), (10, 0));
}

#[test]
fn a_fed_stream_is_asked_ahead_of_the_reader() {
    let (task, gate, tap) = (MockTask::new(), Gate::new(), Tap::<Job>::new());
    (0..10).for_each(|n| gate.open(n));
    (0..10).for_each(|n| tap.put(waits(&gate, n)));
    tap.end();
    let mut results = Jobs::new().with_limit(2).results().buffered(4).feed(tap.clone());
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
    assert!(tap.polls() >= 6, "{}", tap.polls());
    for n in 1..10 {
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn results_that_wait_are_given_after_a_stop_and_before_a_panic() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().results().buffered(8);
    (0..3).for_each(|n| gate.open(n));
    (0..3).for_each(|n| results.queue(waits(&gate, n)));
    results.queue(crate::common::job(async { std::panic::panic_any("a child") }));
    for n in 0..3 {
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(crate::common::panic_message(|| next(&task, &mut results)), "a child");

    let mut results = Jobs::new().results().buffered(8);
    (0..3).for_each(|n| results.queue(waits(&gate, n)));
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
    results.token().cancel();
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(2))));
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn the_room_of_a_heavy_child_comes_back_whole() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().with_limit(4).results().buffered(1);
    (0..3).for_each(|n| gate.open(n));
    results.queue(task_of(&gate, 0, 1));
    results.queue(task_of(&gate, 1, 3));
    results.queue(task_of(&gate, 2, 4));
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
    assert_eq!(results.stats().running, 1);
    for n in 1..3 {
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert!(results.try_go(task_of(&gate, 0, 4)).is_ok());
}

fn task_of(gate: &Gate, number: usize, weight: usize) -> errgroup::Task<Job> {
    task(waits(gate, number)).weight(weight)
}

#[test]
fn children_that_wait_for_room_in_order_are_not_stuck_behind_results() {
    // The first child waits in a `go` of its own group, and those behind it have finished.
    #[cfg(feature = "std")]
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut results = Jobs::new().with_limit(2).results().in_order().buffered(1);
        let handle = results.handle();
        let inner = waits(&gate, 4);
        results.queue(crate::common::job(async move {
            assert!(handle.go(inner).await.is_ok());
            Ok(0)
        }));
        (1..5).for_each(|n| gate.open(n));
        (1..4).for_each(|n| results.queue(waits(&gate, n)));
        for n in 0..5 {
            assert_eq!(task.run(&mut results.next()), Poll::Ready(Some(Ok(n))));
        }
    }
}

#[test]
fn as_many_results_are_ahead_after_others_were_fetched() {
    let (gate, driver, log) = (Gate::new(), MockTask::new(), Log::new());
    let mut results = Jobs::new().with_limit(2).results().in_order().buffered(1);
    (0..8).for_each(|n| results.queue(logged_child(n, &gate, &log)));
    assert!(driver.run(&mut results.next()).is_pending());
    log.take();
    for n in [0, 2, 4] {
        // The second one of the two ends first: its result is ahead, and the next child starts.
        gate.open(n + 1);
        assert!(driver.run(&mut results.next()).is_pending());
        assert_eq!(log.take(), [format!("-{}", n + 1), format!("+{}", n + 2)]);
        gate.open(n);
        assert_eq!(driver.run(&mut results.next()), Poll::Ready(Some(Ok(n))));
        assert_eq!(driver.run(&mut results.next()), Poll::Ready(Some(Ok(n + 1))));
        assert!(driver.run(&mut results.next()).is_pending());
        assert_eq!(log.take(), [format!("-{n}"), format!("+{}", n + 3)]);
    }
}
