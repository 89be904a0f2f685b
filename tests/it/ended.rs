//! Children of `Group::on` that have ended on their threads before the group was polled: they run
//! no more, and their room is free.

use std::future::{pending, ready};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::common::{Gate, MockTask, fails, waits};
use errgroup::{
    FirstOk, Group, Reason, Semaphore, Spawned, TryGoError, WithReason, task as task_of,
};
use futures::future::BoxFuture;
use futures::stream::StreamExt;

type Spawns = Group<Spawned<usize, &'static str>>;

#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Pool {
    fn group(&self) -> Spawns {
        let pool = self.clone();
        Group::on(move |work| pool.0.lock().unwrap().push(work))
    }

    /// Polls each future once, and returns how many are left.
    fn poll_all(&self) -> usize {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap());
        all.retain_mut(|work| MockTask::new().poll(work).is_pending());
        let mut pool = self.0.lock().unwrap();
        pool.extend(all);
        pool.len()
    }
}

/// Returns how many are queued, running, ok, failed and dropped.
macro_rules! numbers {
    ($group:expr) => {{
        let stats = $group.stats();
        [stats.queued, stats.running, stats.ok, stats.failed, stats.dropped]
    }};
}

#[test]
fn a_child_that_has_ended_on_its_thread_is_not_running() {
    for shared in [false, true] {
        let (pool, task, gate) = (Pool::default(), MockTask::new(), Gate::new());
        let mut group = pool.group().with_limit(5).settle();
        let handle = shared.then(|| group.handle());
        for n in 0..3 {
            group.queue(waits(&gate, n));
        }
        group.queue(fails(&gate, 3, "broken"));
        #[cfg(feature = "std")]
        group.queue(async { std::panic::panic_any("a child's") });
        #[cfg(not(feature = "std"))]
        group.queue(ready(Ok(9)));
        gate.open(0);
        gate.open(3);
        assert_eq!(pool.poll_all(), 2);
        let expected = if cfg!(feature = "std") { [0, 2, 1, 1, 1] } else { [0, 2, 2, 1, 0] };
        assert_eq!(numbers!(group), expected);
        assert_eq!(numbers!(group), expected, "each is counted once");
        if let Some(handle) = &handle {
            assert_eq!(numbers!(handle), expected);
        }
        assert!(task.run(&mut group).is_pending());
        assert_eq!(numbers!(group), expected);
    }
}

#[test]
fn the_groups_own_methods_take_in_what_has_ended_first() {
    for shared in [false, true] {
        let pool = Pool::default();
        let mut group = pool.group().with_limit(1).collect();
        let handle = shared.then(|| group.handle());
        assert!(group.try_go(ready(Ok(0))).is_ok());
        assert!(matches!(group.try_go(ready(Ok(1))), Err(TryGoError::AtLimit(_))));
        assert_eq!(pool.poll_all(), 0);
        assert!(group.try_go(ready(Ok(1))).is_ok());
        assert_eq!(pool.poll_all(), 0);
        group.queue(ready(Ok(2)));
        assert_eq!(numbers!(group), [0, 1, 2, 0, 0], "admitted at the call");
        assert_eq!(pool.poll_all(), 0);
        let task = MockTask::new();
        assert!(matches!(task.poll(&mut group.go(ready(Ok(3)))), Poll::Ready(Ok(()))));
        assert_eq!(pool.poll_all(), 0);
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![0, 1, 2, 3])));
        drop(handle);
    }
}

#[test]
fn what_waits_in_the_queue_comes_before_a_newcomer() {
    let (pool, gate) = (Pool::default(), Gate::new());
    let mut group = pool.group().with_limit(1);
    group.queue(ready(Ok(0)));
    group.queue(waits(&gate, 1));
    assert_eq!(pool.poll_all(), 0);
    assert!(matches!(group.try_go(ready(Ok(2))), Err(TryGoError::AtLimit(_))));
    assert_eq!(numbers!(group), [0, 1, 1, 0, 0]);
}

#[test]
fn a_failure_that_is_taken_in_stops_the_group_before_the_newcomer() {
    for queues in [false, true] {
        let (pool, task) = (Pool::default(), MockTask::new());
        let mut group = pool.group().with_limit(2);
        group.queue(ready(Err("broken")));
        group.queue(ready(Ok(1)));
        assert_eq!(pool.poll_all(), 0);
        if queues {
            group.queue(ready(Ok(2)));
            assert_eq!(numbers!(group), [1, 0, 1, 1, 0]);
        } else {
            assert!(matches!(group.try_go(ready(Ok(2))), Err(TryGoError::Stopped(_))));
            assert_eq!(numbers!(group), [0, 0, 1, 1, 0]);
            assert_eq!(group.token().reason(), Some(Reason::Failed));
        }
        assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
        assert_eq!(numbers!(group), [0, 0, 1, 1, usize::from(queues)]);
    }
}

#[test]
fn a_child_that_a_stop_drops_does_not_count_in_place_of_one_that_has_ended() {
    for (shared, drops) in [(false, true), (true, true), (true, false)] {
        let pool = Pool::default();
        let mut group = pool.group();
        if drops {
            group = group.drop_on_stop();
        }
        let handle = shared.then(|| group.handle());
        group.queue(ready(Err("broken")));
        group.queue(ready(Ok(1)));
        if drops {
            group.queue(pending());
        } else {
            group.queue(task_of(pending()).until_stop());
        }
        assert_eq!(pool.poll_all(), 1);
        assert_eq!(numbers!(group), [0, 1, 1, 1, 0]);
        group.token().cancel();
        assert!(matches!(group.try_go(ready(Ok(2))), Err(TryGoError::Stopped(_))));
        assert_eq!(numbers!(group), [0, 0, 1, 1, 1]);
        if let Some(handle) = handle {
            drop(group);
            let stats = handle.stats();
            assert_eq!((stats.running, stats.ok, stats.failed, stats.dropped), (0, 1, 1, 1));
        }
    }
}

#[test]
fn what_has_ended_between_two_calls_of_queue_is_among_the_results() {
    for shared in [false, true] {
        let pool = Pool::default();
        let mut group = pool.group().with_limit(5);
        let handle = shared.then(|| group.handle());
        (0..5).for_each(|n| group.queue(ready(Ok(n))));
        assert_eq!(pool.poll_all(), 0);
        group.queue(ready(Ok(5)));
        assert!(group.try_queue(ready(Ok(6))).is_ok());
        assert_eq!(numbers!(group), [0, 2, 5, 0, 0], "admitted at the call");
        drop(handle);
        let (task, mut results) = (MockTask::new(), group.results());
        let mut values = Vec::new();
        while let Poll::Ready(Some(result)) = task.poll(&mut results.next()) {
            values.push(result);
        }
        assert_eq!(pool.poll_all(), 0);
        while let Poll::Ready(Some(result)) = task.poll(&mut results.next()) {
            values.push(result);
        }
        assert_eq!(values, [0, 1, 2, 3, 4, 5, 6].map(Ok));
    }
}

#[test]
fn room_that_queue_has_freed_is_not_free_again_when_the_policy_is_told() {
    for (limit, before_the_poll) in [1, 2].into_iter().flat_map(|it| [(it, 0), (it, 1), (it, 2)]) {
        let (pool, task, gate) = (Pool::default(), MockTask::new(), Gate::new());
        let mut group = pool.group().with_limit(limit);
        (0..limit).for_each(|n| group.queue(ready(Ok(n))));
        assert_eq!(pool.poll_all(), 0);
        (0..5).for_each(|n| group.queue(waits(&gate, n)));
        assert_eq!(pool.poll_all(), limit, "in the room of those that have ended");
        assert_eq!(numbers!(group), [5 - limit, limit, limit, 0, 0]);
        let handle = (before_the_poll == 1).then(|| group.handle());
        if before_the_poll == 2 {
            group.set_limit(Some(limit));
        }
        assert!(task.run(&mut group).is_pending());
        assert_eq!(pool.poll_all(), limit);
        assert_eq!(numbers!(group), [5 - limit, limit, limit, 0, 0]);
        drop(handle);
        for ended in 1..=5 {
            gate.open(ended - 1);
            pool.poll_all();
            assert_eq!(task.run(&mut group).is_ready(), ended == 5);
            assert_eq!(pool.poll_all(), limit.min(5 - ended));
        }
        assert_eq!(numbers!(group), [0, 0, limit + 5, 0, 0]);
    }
}

#[test]
fn room_that_queue_has_freed_is_taken_again_when_the_group_becomes_a_stream() {
    for (limit, has_handle) in [(1, false), (3, false), (3, true)] {
        let (pool, gate) = (Pool::default(), Gate::new());
        let mut group = pool.group().with_limit(limit);
        let handle = has_handle.then(|| group.handle());
        (0..limit).for_each(|n| group.queue(ready(Ok(n))));
        assert_eq!(pool.poll_all(), 0);
        group.queue(waits(&gate, 0));
        assert_eq!(numbers!(group), [0, 1, limit, 0, 0]);
        let mut results = group.results();
        assert_eq!(numbers!(results), [0, limit + 1, 0, 0, 0]);
        assert!(matches!(results.try_go(ready(Ok(0))), Err(TryGoError::AtLimit(_))));
        drop(handle);
    }
}

#[test]
fn with_a_limit_of_one_the_next_child_waits_though_the_policy_is_told_of_the_one_before() {
    let (pool, task, gate) = (Pool::default(), MockTask::new(), Gate::new());
    let mut group = pool.group().with_limit(1);
    group.queue(ready(Ok(0)));
    assert_eq!(pool.poll_all(), 0);
    group.queue(waits(&gate, 1));
    assert_eq!(numbers!(group), [0, 1, 1, 0, 0], "admitted at the call");
    assert!(task.run(&mut group).is_pending());
    group.queue(waits(&gate, 2));
    assert_eq!(numbers!(group), [1, 1, 1, 0, 0]);
}

#[test]
fn a_child_that_a_queue_had_no_room_for_starts_when_another_call_finds_that_one_has_ended() {
    let (pool, gate) = (Pool::default(), Gate::new());
    let mut group = pool.group().with_limit(2);
    group.queue(waits(&gate, 0));
    group.queue(ready(Ok(1)));
    group.queue(waits(&gate, 2));
    assert_eq!(numbers!(group), [1, 2, 0, 0, 0]);
    assert_eq!(pool.poll_all(), 1);
    group.queue(ready(Ok(3)));
    assert_eq!(numbers!(group), [1, 2, 1, 0, 0], "the one that came first has started");
    assert_eq!(pool.poll_all(), 2);
}

#[test]
fn ready_takes_in_what_has_ended_before_it_answers() {
    // The end of the first frees the key for the second, which takes all the room.
    let (pool, task) = (Pool::default(), MockTask::new());
    let mut group = pool.group().with_limit(2).with_key_limit(1);
    group.queue(task_of(async { Ok(1) }).key("k"));
    group.queue(task_of(pending()).key("k").weight(2));
    assert!(task.run(&mut group).is_pending());
    assert_eq!(pool.poll_all(), 0);
    assert!(task.poll(&mut group.ready()).is_pending());
    assert_eq!(numbers!(group), [0, 1, 1, 0, 0]);

    // Now nothing waits, and the child of the next `try_go` is admitted.
    let (pool, gate) = (Pool::default(), Gate::new());
    for shared in [false, true] {
        let mut group = pool.group().with_limit(1);
        let _handle = shared.then(|| group.handle());
        group.queue(async { Ok(1) });
        assert_eq!(pool.poll_all(), 0);
        assert!(matches!(task.poll(&mut group.ready()), Poll::Ready(Ok(()))));
        assert!(group.try_go(waits(&gate, 0)).is_ok());
        gate.open(0);
        assert_eq!(pool.poll_all(), 0);

        // A failure that is taken in stops the group.
        let mut group = pool.group().with_limit(2);
        let _handle = shared.then(|| group.handle());
        group.queue(async { Err("broken") });
        group.queue(pending());
        assert_eq!(pool.poll_all(), 1);
        assert!(matches!(task.poll(&mut group.ready()), Poll::Ready(Err(_))));
        pool.0.lock().unwrap().clear();
    }
}

#[test]
fn a_newcomer_that_takes_in_an_end_costs_the_groups_task_no_wake_up() {
    let (pool, task, gate) = (Pool::default(), MockTask::new(), Gate::new());
    let mut group = pool.group().with_limit(2);
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    assert!(task.run(&mut group).is_pending());
    pool.poll_all();
    gate.open(0);
    pool.poll_all();
    assert_eq!(task.wakes(), 1);
    assert!(group.try_go(waits(&gate, 2)).is_ok());
    gate.open(1);
    assert_eq!(pool.poll_all(), 1);
    assert_eq!(task.wakes(), 1, "it was woken, and has not polled since");
    assert!(task.run(&mut group).is_pending());
    gate.open(2);
    assert_eq!(pool.poll_all(), 0);
    assert_eq!(task.wakes(), 2);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

// === handles ===

#[test]
fn a_handle_finds_the_room_of_a_child_that_has_returned_ok() {
    let (pool, task, gate) = (Pool::default(), MockTask::new(), Gate::new());
    let mut group = pool.group().with_limit(2).collect();
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    gate.open(1);
    assert_eq!(pool.poll_all(), 1);
    assert!(handle.try_go(waits(&gate, 2)).is_ok());
    assert!(handle.try_go(waits(&gate, 3)).is_err());
    assert_eq!(numbers!(handle), [0, 2, 1, 0, 0]);
    // The other ends, and the group is told of all of them in the order in which they did.
    gate.open(0);
    assert_eq!(pool.poll_all(), 1);
    handle.queue(waits(&gate, 3));
    assert_eq!(numbers!(handle), [0, 2, 2, 0, 0]);
    (0..5).for_each(|n| gate.open(n));
    assert_eq!(pool.poll_all(), 0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![0, 1, 2, 3])));
    assert_eq!(numbers!(handle), [0, 0, 4, 0, 0]);
}

#[test]
fn a_policy_around_another_one_frees_the_room_of_a_child_that_has_returned_ok_as_that_does() {
    macro_rules! check {
        ($admits:expr, $($build:tt)*) => {{
            let pool = Pool::default();
            let group = pool.group().with_limit(1)$($build)*;
            let handle = group.handle();
            assert!(handle.try_go(ready(Ok(0))).is_ok());
            assert_eq!(pool.poll_all(), 0);
            assert_eq!(handle.try_go(ready(Ok(1))).is_ok(), $admits);
        }};
    }
    check!(true, .named());
    check!(true, .collect().named());
    check!(true, .with_reason(|_| Reason::Failed));
    check!(true, .collect().with_reason(|_| Reason::Failed).named());
    check!(false, .first_ok().named());
    check!(false, .with_policy(WithReason::new(FirstOk::new(), |_: &_| Reason::Failed)));
}

#[test]
fn a_waiter_gets_the_room_before_a_handles_newcomer() {
    let (pool, waiter) = (Pool::default(), MockTask::new());
    let mut group = pool.group().with_limit(1);
    let handle = group.handle();
    group.queue(ready(Ok(0)));
    let mut go = handle.go(ready(Ok(1)));
    assert!(waiter.poll(&mut go).is_pending());
    assert_eq!(pool.poll_all(), 0);
    assert!(handle.try_go(ready(Ok(2))).is_err());
    assert_eq!(waiter.wakes(), 1);
    assert!(matches!(waiter.poll(&mut go), Poll::Ready(Ok(()))));
}

#[test]
fn no_room_is_free_for_handles_behind_a_failure_that_the_policy_is_not_told_of() {
    let pool = Pool::default();
    let mut group = pool.group().with_limit(3);
    let handle = group.handle();
    group.queue(ready(Ok(0)));
    group.queue(ready(Err("broken")));
    group.queue(ready(Ok(2)));
    assert_eq!(pool.poll_all(), 0);
    assert!(handle.try_go(pending()).is_ok(), "the first child's");
    assert!(matches!(handle.try_go(pending()), Err(TryGoError::AtLimit(_))));
    assert_eq!(numbers!(handle), [0, 1, 2, 1, 0]);
}

#[test]
fn no_room_is_free_for_handles_if_an_ok_may_stop_the_group_or_an_observer_is_to_be_told() {
    for observed in [false, true] {
        let pool = Pool::default();
        let check = |handle: errgroup::Handle<_>| {
            handle.queue(ready(Ok(0)));
            assert_eq!(pool.poll_all(), 0);
            assert!(matches!(handle.try_go(ready(Ok(1))), Err(TryGoError::AtLimit(_))));
            assert_eq!(numbers!(handle), [0, 0, 1, 0, 0]);
        };
        let group = pool.group().with_limit(1);
        if observed {
            let mut group = group.with_observer(|_: &errgroup::Event| {});
            check(group.handle());
            assert!(group.try_go(ready(Ok(1))).is_ok());
        } else {
            let mut group = group.first_ok();
            check(group.handle());
            assert!(matches!(group.try_go(ready(Ok(1))), Err(TryGoError::Stopped(_))));
        }
    }
}

#[test]
fn a_heavy_child_keeps_its_room_until_the_group_is_polled() {
    let (pool, task) = (Pool::default(), MockTask::new());
    let mut group = pool.group().with_limit(3);
    let handle = group.handle();
    group.queue(errgroup::task(ready(Ok(0))).weight(2));
    group.queue(ready(Ok(1)));
    assert_eq!(pool.poll_all(), 0);
    assert!(handle.try_go(ready(Ok(2))).is_ok());
    assert!(handle.try_go(ready(Ok(3))).is_err());
    assert_eq!(numbers!(handle), [0, 1, 2, 0, 0]);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(numbers!(handle), [0, 1, 2, 0, 0]);
    assert!(handle.try_go(errgroup::task(ready(Ok(3))).weight(2)).is_ok());
    assert_eq!(pool.poll_all(), 0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn nothing_is_given_away_after_a_stop() {
    let (pool, task) = (Pool::default(), MockTask::new());
    let mut group = pool.group().with_limit(1);
    let handle = group.handle();
    group.queue(ready(Ok(0)));
    group.queue(ready(Ok(1)));
    assert_eq!(pool.poll_all(), 0);
    group.token().cancel();
    assert_eq!(numbers!(handle), [1, 0, 1, 0, 0]);
    handle.queue(ready(Ok(2)));
    assert_eq!(pool.poll_all(), 0, "nothing was spawned");
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(numbers!(handle), [0, 0, 1, 0, 2]);
}

#[test]
fn a_group_stays_open_while_the_policy_is_to_be_told() {
    let (pool, task) = (Pool::default(), MockTask::new());
    let mut group = pool.group().with_limit(1).collect();
    let handle = group.handle();
    group.queue(ready(Ok(0)));
    assert_eq!(pool.poll_all(), 0);
    assert_eq!(handle.stats().running, 0);
    assert!(!handle.is_closed());
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![0])));
}

#[test]
fn what_had_ended_when_the_group_was_dropped_is_not_counted_as_dropped() {
    for shared in [false, true] {
        let (pool, gate) = (Pool::default(), Gate::new());
        let mut group = pool.group();
        let early = shared.then(|| group.handle());
        group.queue(ready(Ok(0)));
        group.queue(ready(Err("broken")));
        group.queue(waits(&gate, 2));
        assert_eq!(pool.poll_all(), 1);
        let handle = early.unwrap_or_else(|| group.handle());
        drop(group);
        assert_eq!(numbers!(handle), [0, 0, 1, 1, 1]);
    }
}

#[test]
fn a_child_that_has_ended_before_the_group_became_a_stream_gives_its_permit_back_once() {
    let (pool, task) = (Pool::default(), MockTask::new());
    let semaphore = Arc::new(Semaphore::new(2));
    for others in [0, 1] {
        let mut group = pool.group().with_semaphore(Arc::clone(&semaphore));
        let handle = group.handle();
        (0..=others).for_each(|n| group.queue(ready(Ok(n))));
        assert_eq!(pool.poll_all(), 0);
        // Its end is noted, and its permit is free.
        assert_eq!(numbers!(handle), [0, 0, others + 1, 0, 0]);
        let mut results = group.results();
        let mut values: Vec<_> = std::iter::from_fn(|| match task.poll(&mut results.next()) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("all have ended"),
        })
        .collect();
        values.sort_unstable();
        assert_eq!(values, (0..=others).map(Ok).collect::<Vec<_>>());
        let free: Vec<_> = std::iter::from_fn(|| semaphore.try_acquire()).collect();
        assert_eq!(free.len(), 2);
        drop(free);
        assert_eq!(numbers!(results), [0, 0, others + 1, 0, 0]);
        results.extend([ready(Ok(7)), ready(Ok(8)), ready(Ok(9))]);
        assert_eq!((results.stats().running, pool.poll_all()), (2, 0));
    }
}

#[test]
fn a_child_of_a_stream_runs_until_its_result_is_fetched() {
    let (pool, task) = (Pool::default(), MockTask::new());
    let mut group = pool.group().with_limit(1);
    group.queue(ready(Ok(0)));
    assert_eq!(pool.poll_all(), 0);
    assert_eq!(numbers!(group), [0, 0, 1, 0, 0]);
    let mut results = group.results();
    assert_eq!(numbers!(results), [0, 1, 0, 0, 0]);
    let handle = results.handle();
    assert_eq!(numbers!(handle), [0, 1, 0, 0, 0]);
    assert!(handle.try_go(ready(Ok(1))).is_err());
    assert_eq!(task.poll(&mut results.next()), Poll::Ready(Some(Ok(0))));
    assert_eq!(numbers!(handle), [0, 0, 1, 0, 0]);
    assert!(handle.try_go(ready(Ok(1))).is_ok());
}

#[test]
fn a_grace_that_ends_counts_each_child_once() {
    let (pool, task, gate) = (Pool::default(), MockTask::new(), Gate::new());
    let grace = Gate::new();
    let over = grace.clone();
    let mut group = pool.group().with_grace(async move || over.wait(0).await);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    assert!(task.run(&mut group).is_pending());
    pool.poll_all();
    group.token().cancel();
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    pool.poll_all();
    assert_eq!(numbers!(handle), [0, 1, 1, 0, 0]);
    grace.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(numbers!(handle), [0, 0, 1, 0, 1]);
}

#[test]
fn a_child_that_a_raised_limit_started_may_end_before_the_group_has_taken_it_in() {
    let (pool, task) = (Pool::default(), MockTask::new());
    let mut group = pool.group().with_limit(1).collect();
    group.set_limit(Some(0));
    group.queue(ready(Ok(0)));
    group.queue(ready(Ok(1)));
    group.set_limit(Some(1));
    assert_eq!(pool.poll_all(), 0);
    assert_eq!(numbers!(group), [1, 0, 1, 0, 0]);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(pool.poll_all(), 0);
    assert_eq!(numbers!(group), [0, 0, 2, 0, 0]);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![0, 1])));
}

#[test]
fn a_child_that_has_ended_is_counted_once_beside_one_with_a_weight_that_the_stop_drops() {
    fn counts_each_once(weight: usize, until_stop: bool, with: fn(Spawns) -> Spawns) {
        let (pool, task) = (Pool::default(), MockTask::new());
        let mut group = with(pool.group());
        let handle = group.handle();
        group.queue(ready(Ok(0)));
        let other = task_of(pending()).weight(weight);
        group.queue(if until_stop { other.until_stop() } else { other });
        assert_eq!(pool.poll_all(), 1);
        assert_eq!(numbers!(handle), [0, 1, 1, 0, 0]);
        group.token().cancel();
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(())), "weight {weight}");
        assert_eq!(numbers!(handle), [0, 0, 1, 0, 1]);
    }
    for weight in 0..3 {
        counts_each_once(weight, true, |group| group);
        counts_each_once(weight, false, Group::drop_on_stop);
        counts_each_once(weight, false, |group| group.with_grace(|| ready(())));
    }
}
