//! A group as a stream of its children's results: as they come, or in order.

use std::cell::Cell;
use std::future::{pending, ready};
use std::panic::panic_any;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;

use crate::common::{
    Bomb, Calls, DropCounter, Gate, Job, Log, Meter, MockTask, OnDrop, Probe, Value, ValueJob,
    Values, count_polls, fails, job, logged_child, panic_message, ping_pong, value_job, waits,
    yield_now,
};
use errgroup::{Boxed, Child, Children, Group, Handle, Reason, TryGoError, task};
use futures::future::{Either, FutureExt, TryFutureExt};
use futures::stream::{self, FusedStream, Stream, StreamExt, TryStreamExt};

type Jobs = Group<Boxed<'static, usize, &'static str>>;
type Tap = crate::common::Tap<Job>;

/// Polls for the next result once.
fn next<S: Stream + Unpin>(task: &MockTask, results: &mut S) -> Poll<Option<S::Item>> {
    task.poll(&mut results.next())
}

/// Returns the items that a stream yields without a wake-up from elsewhere.
fn available<S: Stream + Unpin>(task: &MockTask, results: &mut S) -> Vec<S::Item> {
    let mut all = Vec::new();
    while let Poll::Ready(Some(item)) = task.run(&mut results.next()) {
        all.push(item);
    }
    all
}

// === order ===

#[test]
fn results_come_in_the_order_in_which_children_finish() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut results = group.results();
        (0..3).for_each(|n| results.queue(waits(&gate, n)));
        results.queue(fails(&gate, 3, "three"));
        assert!(next(&task, &mut results).is_pending());
        for n in [2, 0, 3] {
            gate.open(n);
        }
        // Children that were woken together are polled in the order of their slots.
        assert_eq!(available(&task, &mut results), [Ok(0), Ok(2), Err("three")]);
        gate.open(1);
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
        assert_eq!(next(&task, &mut results), Poll::Ready(None));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn results_in_order_wait_for_earlier_ones() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut results = group.results().in_order();
        (0..5).for_each(|n| results.queue(waits(&gate, n)));
        assert!(next(&task, &mut results).is_pending());
        for n in [4, 2, 1] {
            gate.open(n);
            assert!(next(&task, &mut results).is_pending());
        }
        gate.open(0);
        assert_eq!(available(&task, &mut results), [Ok(0), Ok(1), Ok(2)]);
        gate.open(3);
        assert_eq!(available(&task, &mut results), [Ok(3), Ok(4)]);
        assert_eq!(next(&task, &mut results), Poll::Ready(None));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn many_children_give_each_result_once() {
    let names: &[&'static str] = Box::leak((0..2_000).map(|n| &*n.to_string().leak()).collect());
    let result = |n: usize| if n % 5 == 0 { Err(names[n]) } else { Ok(n) };
    let child = |n: usize| {
        let result = result(n);
        job(async move {
            for _ in 0..n % 4 {
                yield_now().await;
            }
            result
        })
    };
    for limit in [1, 2, 7, 64, 500, usize::MAX] {
        for with_handle in [false, true] {
            let task = MockTask::new();
            let results = || {
                let results = Group::unboxed().with_limit(limit).results();
                let handle = with_handle.then(|| results.handle());
                (results, handle)
            };
            let expected: Vec<_> = (0..2_000).map(result).collect();

            let (fed, _handle) = results();
            let fed = fed.in_order().feed(stream::iter((0..2_000).map(child)));
            assert_eq!(task.finish(fed.collect::<Vec<_>>()), expected);

            let (mut queued, _handle) = results();
            queued = queued.in_order();
            (0..2_000).for_each(|n| queued.queue(child(n)));
            assert_eq!(task.finish(queued.collect::<Vec<_>>()), expected);

            let (fed, _handle) = results();
            let fed = fed.feed(stream::iter((0..2_000).map(child)));
            let mut all = task.finish(fed.collect::<Vec<_>>());
            all.sort_by_key(|result| result.unwrap_or_else(|name| name.parse().unwrap()));
            assert_eq!(all, expected);
        }
    }
}

// === the end ===

#[test]
fn the_options_of_fed_children_are_heeded() {
    let (gate, driver) = (Gate::new(), MockTask::new());
    let children = (0..3).map(|n| task(waits(&gate, n)).weight(2));
    let children = stream::iter(children.collect::<Vec<_>>());
    let mut results = Jobs::new().with_limit(3).results().feed(children);
    for n in 0..3 {
        assert!(driver.run(&mut results.next()).is_pending());
        assert_eq!((results.stats().running, results.stats().ok), (1, n));
        gate.open(n);
        assert_eq!(driver.run(&mut results.next()), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(driver.run(&mut results.next()), Poll::Ready(None));
}

#[test]
fn a_stream_whose_feed_has_ended_gives_no_result_and_stays_at_its_end() {
    let task = MockTask::new();
    let mut results = Jobs::new().results().feed(stream::empty::<Job>());
    let token = results.token().clone();
    assert!(!results.is_terminated());
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert!(results.is_terminated());
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert_eq!(token.reason(), Some(Reason::Finished));
    assert!(matches!(results.try_go(job(ready(Ok(1)))), Err(TryGoError::Stopped(_))));
    assert!(matches!(results.try_queue(job(ready(Ok(1)))), Err(TryGoError::Closed(_))));
    assert_eq!(results.size_hint(), (0, Some(0)));
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_stream_that_is_empty_goes_on_with_what_is_added_afterwards() {
    fn scenario<C>(group: Group<C>, in_order: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut results = group.with_limit(2).results();
        if in_order {
            results = results.in_order();
        }
        let handle = results.handle();
        assert!(!results.is_terminated());
        for n in 0..3 {
            for _ in 0..2 {
                assert_eq!(next(&task, &mut results), Poll::Ready(None));
                assert!(results.is_terminated() && results.is_empty());
            }
            assert!(!results.is_stopped() && !results.token().is_cancelled());
            match n {
                0 => results.queue(waits(&gate, n)),
                1 => assert!(results.try_go(waits(&gate, n)).is_ok()),
                _ => assert!(handle.try_queue(waits(&gate, n)).is_ok()),
            }
            assert!(!results.is_terminated());
            let wakes = task.wakes();
            assert!(next(&task, &mut results).is_pending());
            assert!(!results.is_terminated() && !results.is_empty());
            gate.open(n);
            assert_eq!(task.wakes(), wakes + 1);
            assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(n))));
            assert!(!results.is_terminated() && results.is_empty());
        }
        let stats = results.stats();
        assert_eq!((stats.ok, stats.dropped), (3, 0));
    }
    for in_order in [false, true] {
        scenario(Group::new(), in_order);
        scenario(Group::local(), in_order);
        scenario(Group::unboxed(), in_order);
    }
}

#[test]
fn a_go_of_a_handle_revives_an_empty_stream() {
    let (task, adder) = (MockTask::new(), MockTask::new());
    let mut results = Jobs::new().with_limit(1).results();
    let handle = results.handle();
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert!(matches!(adder.poll(&mut handle.go(job(ready(Ok(1))))), Poll::Ready(Ok(()))));
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
}

#[test]
fn an_empty_stream_is_over_once_it_has_stopped() {
    let task = MockTask::new();
    let mut results = Jobs::new().results();
    let (handle, probe) = (results.handle(), Probe::new());
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    results.token().cancel();
    results.queue(probe.watch(ready(Ok(1))));
    assert_eq!((probe.polls(), probe.drops(), results.stats().dropped), (0, 1, 1));
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert!(results.is_terminated() && handle.is_closed());
    assert!(matches!(results.try_queue(job(ready(Ok(1)))), Err(TryGoError::Stopped(_))));
}

#[test]
fn children_that_fail_fast_or_panic_end_a_stream_for_good() {
    let task = MockTask::new();
    let mut results = Jobs::new().results().fail_fast();
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    results.queue(job(ready(Err("it"))));
    assert_eq!(available(&task, &mut results), [Err("it")]);
    assert!(results.is_terminated() && results.is_stopped());

    let mut results = Jobs::new().results();
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    results.queue(job(async { panic_any("a child") }));
    assert_eq!(panic_message(|| next(&task, &mut results)), "a child");
    assert!(results.is_terminated());
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn daemons_alone_are_ended_and_end_the_stream() {
    let task = MockTask::new();
    let mut results = Jobs::new().results();
    let token = results.token().clone();
    results.queue(
        errgroup::task(job(
            async move { Ok(token.cancelled().await == Reason::Finished) }.map_ok(usize::from)
        ))
        .daemon(),
    );
    available(&task, &mut results);
    assert!(results.is_terminated() && results.is_stopped());
}

#[test]
fn a_loop_over_messages_and_results_loses_nothing() {
    let task = MockTask::new();
    let tap = crate::common::Tap::new();
    let mut results = Jobs::new().with_limit(2).results();
    let mut got = Vec::new();
    let mut messages = tap.clone();
    let mut looping = Box::pin(async {
        let mut ended = false;
        while !(ended && results.is_empty()) {
            // As `select!` does, with its branch disabled by a pattern that does not match.
            let result = results.next().map(|result| result.map_or(Poll::Pending, Poll::Ready));
            let message = async { if ended { pending().await } else { messages.next().await } };
            futures::pin_mut!(result, message);
            match futures::future::select(message, result).await {
                Either::Left((Some(n), _)) => results.queue(job(async move {
                    yield_now().await;
                    Ok(n)
                })),
                Either::Left((None, _)) => ended = true,
                Either::Right((Poll::Ready(result), _)) => got.push(result.unwrap()),
                Either::Right((Poll::Pending, message)) => match message.await {
                    Some(n) => results.queue(job(ready(Ok(n)))),
                    None => ended = true,
                },
            }
        }
    });
    for n in 0..4 {
        assert!(task.run(&mut looping).is_pending());
        tap.put(n);
    }
    assert!(task.run(&mut looping).is_pending());
    tap.end();
    assert!(task.run(&mut looping).is_ready());
    drop(looping);
    assert_eq!((got, results.stats().dropped), (vec![0, 1, 2, 3], 0));
}

#[tokio::test(start_paused = true)]
async fn a_select_loop_that_leaves_the_empty_stream_out_loses_nothing() {
    let (send, mut receive) = tokio::sync::mpsc::channel(8);
    let sending = async {
        for n in 1..=4 {
            send.send(n).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        drop(send);
    };
    let mut results = Jobs::new().with_limit(2).results();
    let receiving = async {
        let mut got = Vec::new();
        loop {
            tokio::select! {
                Some(n) = receive.recv() => results.queue(job(ready(Ok(n)))),
                Some(result) = results.next() => got.push(result.unwrap()),
                else => break,
            }
        }
        (got, results.stats().dropped)
    };
    assert_eq!(futures::join!(sending, receiving).1, (vec![1, 2, 3, 4], 0));
}

#[test]
fn the_length_counts_what_runs_what_is_queued_and_what_is_unread() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().with_limit(2).results();
    (0..4).for_each(|n| results.queue(waits(&gate, n)));
    assert_eq!(results.len(), 4);
    gate.open(0);
    gate.open(1);
    assert!(next(&task, &mut results).is_ready());
    // One is unread, one runs, one is queued.
    assert_eq!(results.len(), 3);
    gate.open(2);
    gate.open(3);
    assert_eq!(available(&task, &mut results).len(), 3);
    assert!(results.is_empty());
}

#[test]
fn the_size_of_a_fed_stream_is_that_of_its_feed_and_its_children() {
    let task = MockTask::new();
    let children = || stream::iter((0..5).map(|n| job(ready(Ok(n)))));
    let mut results = Jobs::new().with_limit(2).results().feed(children());
    for n in (0..=5).rev() {
        assert_eq!(results.size_hint(), (n, Some(n)));
        assert_eq!(matches!(next(&task, &mut results), Poll::Ready(Some(_))), n > 0);
    }
    // A handle may add more.
    let mut results = Jobs::new().with_limit(2).results().feed(children());
    let handle = results.handle();
    assert_eq!(results.size_hint(), (5, None));
    handle.queue(job(ready(Ok(6))));
    assert_eq!(results.size_hint(), (6, None));
    // What is left after a stop, no count of children says.
    assert!(next(&task, &mut results).is_ready());
    results.token().cancel();
    assert_eq!(results.size_hint(), (1, None));
    // After a close, the stream is asked for no more.
    let mut results = Jobs::new().with_limit(2).results().feed(children());
    assert!(next(&task, &mut results).is_ready());
    results.close();
    let (fewest, _) = results.size_hint();
    assert_eq!((fewest, available(&task, &mut results).len()), (1, 1));
}

#[test]
fn a_waiter_at_a_handle_holds_the_stream_open() {
    let (task, adder, gate) = (MockTask::new(), MockTask::new(), Gate::new());
    let mut results = Jobs::new().with_limit(1).results();
    let handle = results.handle();
    results.queue(waits(&gate, 0));
    let mut go = handle.go(waits(&gate, 1));
    assert!(adder.poll(&mut go).is_pending());
    gate.open(0);
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
    assert_eq!(adder.wakes(), 1, "the fetched result has made room");
    assert!(next(&task, &mut results).is_pending(), "the waiter has not claimed yet");
    assert!(matches!(adder.poll(&mut go), Poll::Ready(Ok(()))));
    assert_eq!(task.wakes(), 1);
    gate.open(1);
    assert_eq!(available(&task, &mut results), [Ok(1)]);
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert!(results.is_empty());
}

#[test]
fn the_end_of_the_results_ends_a_loop_that_adds_children() {
    let task = MockTask::new();
    let mut results = Jobs::new().with_limit(2).results();
    results.queue(job(ready(Ok(6))));
    let mut sum = 0;
    task.finish(async {
        while let Some(Ok(n)) = results.next().await {
            sum += n;
            for m in 0..n {
                results.queue(job(ready(Ok(m / 2))));
            }
        }
    });
    // 6 adds 0, 0, 1, 1, 2 and 2; each of the 2s adds 0 and 0; each of the 1s adds 0.
    assert_eq!(sum, 6 + 1 + 1 + 2 + 2);
}

// === errors ===

#[test]
fn no_result_stops_the_group_unless_it_fails_fast() {
    let task = MockTask::new();
    let children =
        (0..10).map(|n| job(async move { if n % 2 == 0 { Err("even") } else { Ok(n) } }));
    let mut results = Group::unboxed().with_limit(2).results().feed(stream::iter(children));
    let handle = results.handle();
    assert_eq!(available(&task, &mut results).len(), 10);
    assert_eq!((handle.stats().ok, handle.stats().failed), (5, 5));
    assert_eq!(handle.token().reason(), Some(Reason::Finished));
}

#[test]
fn failing_fast_stops_the_running_children_and_gives_their_results() {
    for in_order in [false, true] {
        let (task, adder, gate, probe) =
            (MockTask::new(), MockTask::new(), Gate::new(), Probe::new());
        let mut results = Jobs::new().with_limit(3).results().fail_fast();
        if in_order {
            results = results.in_order();
        }
        let handle = results.handle();
        let token = results.token().clone();
        let cleans_up = gate.wait(7);
        results.queue(job(async move {
            assert_eq!(token.cancelled().await, Reason::Failed);
            cleans_up.await;
            Ok(0)
        }));
        results.queue(fails(&gate, 1, "one"));
        results.queue(fails(&gate, 2, "two"));
        results.queue(probe.watch(pending()));
        let mut go = handle.go(probe.watch(pending()));
        assert!(adder.poll(&mut go).is_pending());
        assert!(next(&task, &mut results).is_pending());
        gate.open(1);
        gate.open(2);
        // It stops when the child fails, even if the result is held back.
        let first = next(&task, &mut results);
        assert_eq!(first.is_pending(), in_order);
        assert_eq!(results.token().reason(), Some(Reason::Failed));
        assert_eq!((probe.polls(), probe.drops()), (0, 1));
        assert!(matches!(adder.poll(&mut go), Poll::Ready(Err(_))));
        if in_order {
            gate.open(7);
            assert_eq!(available(&task, &mut results), [Ok(0), Err("one"), Err("two")]);
        } else {
            assert_eq!(first, Poll::Ready(Some(Err("one"))));
            assert_eq!(next(&task, &mut results), Poll::Ready(Some(Err("two"))));
            assert!(next(&task, &mut results).is_pending());
            gate.open(7);
            assert_eq!(available(&task, &mut results), [Ok(0)]);
        }
        assert_eq!(next(&task, &mut results), Poll::Ready(None));
        let stats = handle.stats();
        assert_eq!((stats.running, stats.ok, stats.failed, stats.dropped), (0, 1, 2, 1));
    }
}

#[test]
fn failing_fast_drops_the_stream_of_children() {
    let (task, tap, drops) = (MockTask::new(), Tap::new(), DropCounter::default());
    tap.put(job(ready(Err("first"))));
    let guard = drops.guard();
    let children = tap.clone().map(move |child| {
        let _ = &guard;
        child
    });
    let mut results = Jobs::new().with_limit(1).results().fail_fast().feed(children);
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Err("first"))));
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert_eq!((drops.get(), tap.polls()), (1, 1));
}

// === room ===

#[test]
fn no_more_children_and_results_exist_than_may_run() {
    fn scenario<C>(group: Group<C>, in_order: bool, with_handle: bool)
    where
        C: Children<Ok = Value, Err = Value>,
        ValueJob: Child<C>,
    {
        let (task, exist) = (MockTask::new(), Meter::new());
        let children = (0..50).map(|n| {
            let inside = exist.enter();
            let value = Value::new("inside", move || {
                let _ = &inside;
            });
            value_job(async move {
                for _ in 0..(n * 7) % 5 {
                    yield_now().await;
                }
                Ok(value)
            })
        });
        let mut results = group.with_limit(3).results();
        if in_order {
            results = results.in_order();
        }
        let _handle = with_handle.then(|| results.handle());
        let mut results = results.feed(stream::iter(children));
        let mut count = 0;
        while let Poll::Ready(Some(result)) = task.run(&mut results.next()) {
            assert!(exist.now() <= 3 && results.stats().running < 3);
            drop(result);
            count += 1;
        }
        assert_eq!((count, exist.peak(), exist.now()), (50, 3, 0));
    }
    for in_order in [false, true] {
        for with_handle in [false, true] {
            scenario(Group::new(), in_order, with_handle);
            scenario(Group::local(), in_order, with_handle);
            scenario(Group::unboxed(), in_order, with_handle);
        }
    }
}

#[test]
fn without_a_fetch_no_further_child_starts() {
    for with_handle in [false, true] {
        let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
        (0..6).for_each(|n| gate.open(n));
        let mut results = Group::<Boxed<'_, usize, &'static str>>::new().with_limit(2).results();
        let _handle = with_handle.then(|| results.handle());
        (0..6).for_each(|n| results.queue(logged_child(n, &gate, &log)));
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
        assert_eq!(log.take(), ["+0", "-0", "+1", "-1"]);
        let stats = results.stats();
        assert_eq!((stats.running, stats.queued, stats.ok), (2, 3, 1), "one child took the room");
        assert_eq!(results.size_hint(), (1, None));
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
        assert_eq!(log.take(), [""; 0], "a result that waited is given without a poll");
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(2))));
        assert_eq!(log.take(), ["+2", "-2", "+3", "-3"]);
        assert_eq!(task.wakes(), 0);
    }
}

#[test]
fn in_order_no_more_children_run_ahead_than_the_limit() {
    let (task, gate, tap) = (MockTask::new(), Gate::new(), Tap::new());
    (0..8).for_each(|n| tap.put(waits(&gate, n)));
    tap.end();
    let mut results = Jobs::new().with_limit(3).results().in_order().feed(tap.clone());
    (1..8).for_each(|n| gate.open(n));
    assert!(next(&task, &mut results).is_pending());
    assert_eq!(tap.polls(), 3);
    gate.open(0);
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
    assert_eq!(available(&task, &mut results), (1..8).map(Ok).collect::<Vec<_>>());
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn a_raised_limit_wakes_the_stream() {
    let (task, tap, gate) = (MockTask::new(), Tap::new(), Gate::new());
    (0..3).for_each(|n| tap.put(waits(&gate, n)));
    let mut results = Jobs::new().with_limit(1).results().feed(tap.clone());
    let handle = results.handle();
    assert!(next(&task, &mut results).is_pending());
    assert_eq!((tap.polls(), results.limit()), (1, Some(1)));
    handle.set_limit(Some(2));
    assert_eq!(task.wakes(), 1);
    assert!(next(&task, &mut results).is_pending());
    assert_eq!(tap.polls(), 2);
    results.set_limit(None);
    assert!(task.run(&mut results.next()).is_pending());
    assert_eq!((tap.polls(), results.stats().running), (4, 3));
}

// === adding meanwhile ===

#[test]
fn a_child_adds_others_and_never_waits_for_itself() {
    fn visit(handle: Handle<Boxed<'static, usize, &'static str>>, depth: usize) -> Job2 {
        Box::pin(async move {
            if depth < 4 {
                for _ in 0..2 {
                    assert!(handle.go(visit(handle.clone(), depth + 1)).await.is_ok());
                }
            }
            Ok(depth)
        })
    }
    type Job2 = Pin<Box<dyn Future<Output = Result<usize, &'static str>> + Send>>;
    for limit in 1..5 {
        for in_order in [false, true] {
            let task = MockTask::new();
            let mut results = Group::new().with_limit(limit).results();
            if in_order {
                results = results.in_order();
            }
            results.queue(visit(results.handle(), 0));
            let depths: Vec<usize> = task.finish(results.try_collect()).unwrap();
            assert_eq!(depths.len(), 31);
            assert_eq!(depths[0], 0, "limit {limit}");
        }
    }
}

#[test]
fn in_order_a_waiting_child_is_not_queued_while_a_sibling_may_make_room() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().with_limit(3).results().in_order();
    let handle = results.handle();
    let added = waits(&gate, 9);
    results.queue(job(async move {
        assert!(handle.go(added).await.is_ok());
        Ok(0)
    }));
    results.queue(waits(&gate, 1));
    results.queue(waits(&gate, 2));
    assert!(next(&task, &mut results).is_pending());
    gate.open(1);
    assert!(task.run(&mut results.next()).is_pending());
    assert_eq!(results.stats().queued, 0, "one child can still make room");
    gate.open(2);
    assert_eq!(available(&task, &mut results), [Ok(0), Ok(1), Ok(2)]);
    gate.open(9);
    assert_eq!(available(&task, &mut results), [Ok(9)]);
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn once_an_awaited_result_has_come_children_wait_for_room_again() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().with_limit(3).results().in_order();
    let handle = results.handle();
    (0..3).for_each(|n| results.queue(waits(&gate, n)));
    gate.open(1);
    gate.open(2);
    assert!(next(&task, &mut results).is_pending());
    results.queue(waits(&gate, 3));
    results.queue(waits(&gate, 4));
    results.queue(job(async move {
        assert!(handle.go(job(ready(Ok(6)))).await.is_ok());
        Ok(5)
    }));
    gate.open(0);
    assert_eq!(available(&task, &mut results), [Ok(0), Ok(1), Ok(2)]);
    assert_eq!((results.stats().running, results.stats().queued), (3, 0));
    gate.open(3);
    gate.open(4);
    assert_eq!(available(&task, &mut results), [Ok(3), Ok(4), Ok(5), Ok(6)]);
}

#[test]
fn in_order_a_later_waiter_goes_on_too() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().with_limit(2).results().in_order();
    let handle = results.handle();
    let wait = gate.wait(0);
    results.queue(job(async move {
        wait.await;
        for _ in 0..3 {
            assert!(handle.go(job(ready(Ok(7)))).await.is_ok());
        }
        Ok(0)
    }));
    results.queue(job(ready(Ok(1))));
    assert!(task.run(&mut results.next()).is_pending());
    gate.open(0);
    let all = available(&task, &mut results);
    assert_eq!(all, [Ok(0), Ok(1), Ok(7), Ok(7), Ok(7)]);
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn in_order_a_waiter_goes_on_if_a_poll_had_no_more_than_the_child_that_makes_it_so() {
    for last in 4_080..4_100 {
        let task = MockTask::new();
        let mut results = Group::local().with_limit(3).results().in_order();
        let handle = results.handle();
        // It waits until the results of the other two wait for its own.
        results.queue(async move {
            assert!(handle.go(ready(Ok(7))).await.is_ok());
            Ok(5)
        });
        results.extend(ping_pong(last, || ()));
        let all = available(&task, &mut results);
        assert_eq!(all, [Ok(5), Ok(0), Ok(1), Ok(7)], "in poll {last}");
    }
}

#[test]
fn another_thread_adds_children_while_the_results_are_taken() {
    for in_order in [false, true] {
        let mut results = Group::<Boxed<'_, usize, &'static str>>::new().with_limit(3).results();
        if in_order {
            results = results.in_order();
        }
        let mut results = results.feed(stream::iter((0..1_000).map(|n| ready(Ok(n)))));
        let handle = results.handle();
        let adder = thread::spawn(move || {
            futures::executor::block_on(async {
                let mut added = 0;
                for n in 1_000..2_000 {
                    let child = async move {
                        yield_now().await;
                        Ok(n)
                    };
                    added += usize::from(handle.go(child).await.is_ok());
                }
                added
            })
        });
        let mut all = Vec::new();
        futures::executor::block_on(async {
            while let Some(result) = results.next().await {
                all.push(result.unwrap());
            }
        });
        let added = adder.join().unwrap();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 1_000 + added);
    }
}

// === the stream of children ===

#[test]
fn a_pending_stream_delays_only_the_end() {
    let (task, tap, gate) = (MockTask::new(), Tap::new(), Gate::new());
    let mut results = Jobs::new().with_limit(2).results().feed(tap.clone());
    assert!(next(&task, &mut results).is_pending());
    assert_eq!((tap.polls(), results.stats().running), (1, 0));
    tap.put(waits(&gate, 0));
    assert_eq!(task.wakes(), 1);
    assert!(next(&task, &mut results).is_pending());
    assert_eq!(tap.polls(), 3);
    gate.open(0);
    assert_eq!(task.wakes(), 2);
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
    assert!(next(&task, &mut results).is_pending());
    assert_eq!(tap.polls(), 3, "it is left alone until it wakes");
    assert_eq!(task.wakes(), 2);
    tap.end();
    assert_eq!(task.wakes(), 3);
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn after_the_stream_has_ended_the_children_are_polled_on() {
    let (task, tap, gate) = (MockTask::new(), Tap::new(), Gate::new());
    (0..3).for_each(|n| tap.put(waits(&gate, n)));
    tap.end();
    let mut results = Jobs::new().results().feed(tap.clone());
    assert!(next(&task, &mut results).is_pending());
    assert_eq!((task.wakes(), tap.polls()), (0, 4));
    for n in [1, 0, 2] {
        gate.open(n);
        assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert_eq!(task.wakes(), 3);
}

#[test]
fn a_streams_panic_leaves_at_once_and_its_children_run_on() {
    for with_handle in [false, true] {
        let (task, gate) = (MockTask::new(), Gate::new());
        let children = stream::iter(0..).map({
            let gate = gate.clone();
            move |n| if n < 2 { waits(&gate, n) } else { panic_any("the stream") }
        });
        let mut results = Jobs::new().results().feed(children);
        let _handle = with_handle.then(|| results.handle());
        assert_eq!(panic_message(|| next(&task, &mut results)), "the stream");
        assert!(next(&task, &mut results).is_pending());
        assert!(!results.is_stopped());
        gate.open(1);
        gate.open(0);
        assert_eq!(available(&task, &mut results), [Ok(0), Ok(1)]);
        assert_eq!(next(&task, &mut results), Poll::Ready(None));
    }
}

/// Returns a stream of children that panics at a 9.
fn touchy(tap: &crate::common::Tap<usize>, gate: &Gate) -> impl Stream<Item = Job> + use<> {
    let gate = gate.clone();
    tap.clone().map(move |n| if n == 9 { panic_any("the stream") } else { waits(&gate, n) })
}

#[test]
fn after_a_streams_panic_children_wake_the_task_as_before() {
    let (task, gate, tap) = (MockTask::new(), Gate::new(), crate::common::Tap::new());
    let mut results = Jobs::new().results().feed(touchy(&tap, &gate));
    tap.put(0);
    assert!(next(&task, &mut results).is_pending());
    tap.put(9);
    assert_eq!(task.wakes(), 1);
    assert_eq!(panic_message(|| next(&task, &mut results)), "the stream");
    assert!(next(&task, &mut results).is_pending());
    gate.open(0);
    assert_eq!(task.wakes(), 2);
    assert_eq!(available(&task, &mut results), [Ok(0)]);
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn a_streams_panic_loses_no_result_of_the_same_poll() {
    let (task, gate, tap) = (MockTask::new(), Gate::new(), crate::common::Tap::new());
    let mut results = Jobs::new().results();
    let put = tap.clone();
    results.queue(job(async move {
        put.put(9);
        Ok(1)
    }));
    let mut results = results.feed(touchy(&tap, &gate));
    assert_eq!(panic_message(|| next(&task, &mut results)), "the stream");
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

// === stops, panics, drops ===

#[test]
fn a_cancel_stops_the_group_and_the_results_still_come() {
    for in_order in [false, true] {
        let (task, gate, probe, tap) = (MockTask::new(), Gate::new(), Probe::new(), Tap::new());
        let mut results = Jobs::new().with_limit(3).results();
        if in_order {
            results = results.in_order();
        }
        (0..3).for_each(|n| results.queue(probe.watch(waits(&gate, n))));
        results.queue(probe.watch(pending()));
        let token = results.token().clone();
        let mut results = results.feed(tap.clone());
        assert!(next(&task, &mut results).is_pending());
        gate.open(1);
        let woken = task.wakes();
        token.cancel();
        assert!(results.is_stopped());
        assert_eq!(task.wakes(), woken, "it was woken and has not polled since");
        let first = next(&task, &mut results);
        assert_eq!(probe.drops(), 2, "the queued child and the finished one");
        assert_eq!(tap.polls(), 0);
        gate.open(0);
        gate.open(2);
        let mut all = available(&task, &mut results);
        if let Poll::Ready(Some(result)) = first {
            all.insert(0, result);
        }
        assert_eq!(all, if in_order { [Ok(0), Ok(1), Ok(2)] } else { [Ok(1), Ok(0), Ok(2)] });
        assert_eq!(next(&task, &mut results), Poll::Ready(None));
        assert_eq!((token.reason(), probe.drops()), (Some(Reason::Cancelled), 4));
    }
}

#[test]
fn a_cancel_ends_the_results_even_if_the_stream_of_children_is_pending() {
    let (task, tap) = (MockTask::new(), Tap::new());
    let mut results = Jobs::new().results().feed(tap.clone());
    let token = results.token().clone();
    assert!(next(&task, &mut results).is_pending());
    token.cancel();
    assert_eq!(task.wakes(), 1);
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn a_panic_comes_after_the_siblings_results() {
    for in_order in [false, true] {
        for with_handle in [false, true] {
            let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
            let mut results = Jobs::new().results();
            if in_order {
                results = results.in_order();
            }
            let handle = with_handle.then(|| results.handle());
            results.queue(probe.watch(waits(&gate, 0)));
            let wait = gate.wait(1);
            results.queue(probe.watch(async move {
                wait.await;
                panic_any("the child")
            }));
            (2..4).for_each(|n| results.queue(probe.watch(waits(&gate, n))));
            assert!(next(&task, &mut results).is_pending());
            gate.open(1);
            gate.open(2);
            let mut all = available(&task, &mut results);
            assert_eq!(all, if in_order { vec![] } else { vec![Ok(2)] });
            assert_eq!(results.token().reason(), Some(Reason::Panicked));
            gate.open(0);
            all.extend(available(&task, &mut results));
            assert_eq!(all, if in_order { [Ok(0)].to_vec() } else { [Ok(2), Ok(0)].to_vec() });
            gate.open(3);
            let rest = if in_order { [Ok(2), Ok(3)].to_vec() } else { [Ok(3)].to_vec() };
            for result in rest {
                assert_eq!(next(&task, &mut results), Poll::Ready(Some(result)));
            }
            assert_eq!(panic_message(|| next(&task, &mut results)), "the child");
            assert!(results.is_terminated());
            assert_eq!(next(&task, &mut results), Poll::Ready(None));
            assert_eq!(probe.drops(), 4);
            if let Some(handle) = handle {
                let stats = handle.stats();
                assert_eq!((stats.running, stats.ok, stats.dropped), (0, 3, 1));
                assert!(handle.is_closed());
            }
        }
    }
}

#[test]
fn in_order_several_panics_leave_gaps_that_delay_no_result() {
    let task = MockTask::new();
    let mut results = Jobs::new().results().in_order();
    for n in 0..8 {
        results.queue(job(async move { if n % 3 == 0 { panic_any("a third") } else { Ok(n) } }));
    }
    assert_eq!(available_until_panic(&task, &mut results), [1, 2, 4, 5, 7]);
}

/// Returns the results that come before a panic.
fn available_until_panic<S>(task: &MockTask, results: &mut S) -> Vec<usize>
where
    S: Stream<Item = Result<usize, &'static str>> + Unpin,
{
    let all = Rc::new(Cell::new(Vec::new()));
    let kept = Rc::clone(&all);
    panic_message(|| {
        while let Poll::Ready(Some(Ok(n))) = next(task, results) {
            let mut all = kept.take();
            all.push(n);
            kept.set(all);
        }
    });
    all.take()
}

#[test]
fn a_panic_of_a_childs_destructor_takes_its_result_with_it() {
    for in_order in [false, true] {
        let task = MockTask::new();
        let mut results = Jobs::new().results();
        if in_order {
            results = results.in_order();
        }
        let bomb = Bomb("the destructor");
        results.queue(job(std::future::poll_fn(move |_| {
            let _ = &bomb;
            Poll::Ready(Ok(0))
        })));
        results.queue(job(ready(Ok(1))));
        assert_eq!(available_until_panic(&task, &mut results), [1]);
        assert_eq!(next(&task, &mut results), Poll::Ready(None));
    }
}

#[test]
fn a_panic_of_a_daemons_value_loses_no_result() {
    for (in_order, ahead) in [(false, 0), (true, 0), (false, 4), (true, 4)] {
        let task = MockTask::new();
        let mut results = Values::new().results().buffered(ahead);
        if in_order {
            results = results.in_order();
        }
        results.queue(async { Ok(Value::new("first", || ())) });
        results.queue(errgroup::task(async { Ok(Value::bomb("of the daemon")) }).daemon());
        results.queue(async { Ok(Value::new("last", || ())) });
        let handle = results.handle();
        for name in ["first", "last"] {
            let Poll::Ready(Some(Ok(value))) = next(&task, &mut results) else {
                panic!("{name} does not come")
            };
            assert_eq!(value.name, name);
        }
        assert_eq!(panic_message(|| next(&task, &mut results)), "of the daemon");
        assert!(matches!(next(&task, &mut results), Poll::Ready(None)));
        let stats = handle.stats();
        assert_eq!((stats.running, stats.ok, stats.dropped), (0, 3, 0));
    }
}

#[test]
fn a_panic_before_the_group_became_a_stream_is_not_lost() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new();
    group.queue(job(async { panic_any("early") }));
    group.queue(waits(&gate, 1));
    assert!(task.poll(&mut group).is_pending());
    let mut results = group.results().in_order();
    assert!(next(&task, &mut results).is_pending());
    gate.open(1);
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
    assert_eq!(panic_message(|| next(&task, &mut results)), "early");
}

#[test]
fn dropping_the_stream_drops_children_and_results_once() {
    for in_order in [false, true] {
        for with_handle in [false, true] {
            let (task, gate, probe, values) =
                (MockTask::new(), Gate::new(), Probe::new(), DropCounter::default());
            let children = DropCounter::default();
            let mut results = Values::new().with_limit(4).results();
            if in_order {
                results = results.in_order();
            }
            for n in 0..6 {
                let (value, child, wait) = (values.value("kept"), children.guard(), gate.wait(n));
                results.queue(async move {
                    let _child = child;
                    wait.await;
                    Ok(value)
                });
            }
            let handle = with_handle.then(|| results.handle());
            let token = results.token().clone();
            assert!(next(&task, &mut results).is_pending());
            (0..3).for_each(|n| gate.open(n));
            assert!(next(&task, &mut results).is_ready());
            assert_eq!((values.get(), children.get()), (1, 3));
            if with_handle {
                drop(results.feed(stream::empty::<futures::future::Ready<_>>()));
            } else {
                drop(results);
            }
            assert_eq!((values.get(), children.get()), (6, 6));
            assert_eq!(token.reason(), Some(Reason::Dropped));
            if let Some(handle) = handle {
                let stats = handle.stats();
                assert_eq!((stats.ok, stats.dropped, stats.running, stats.queued), (1, 5, 0, 0));
            }
            assert_eq!(probe.drops(), 0);
        }
    }
}

#[test]
fn dropping_a_fed_stream_cancels_the_token_then_drops_the_children_then_the_stream() {
    let (task, log) = (MockTask::new(), Log::new());
    let tap = Tap::new();
    let (first, second) = (log.clone(), log.clone());
    let guard = OnDrop(move || second.add("stream"));
    let children = tap.clone().map(move |child| {
        let _ = &guard;
        child
    });
    let mut results = Jobs::new().results().feed(children);
    let token = results.token().clone();
    tap.put(job(async move {
        let _guard = OnDrop(move || first.add(format!("child, {:?}", token.reason())));
        pending().await
    }));
    assert!(next(&task, &mut results).is_pending());
    drop(results);
    assert_eq!(log.take(), ["child, Some(Dropped)", "stream"]);
}

#[test]
fn a_fed_stream_throws_the_first_panic_of_its_childs_and_its_streams_destructors() {
    let (task, tap) = (MockTask::new(), Tap::new());
    let bomb = Bomb("the stream");
    let children = tap.clone().map(move |child| {
        let _ = &bomb;
        child
    });
    let mut results = Jobs::new().results().feed(children);
    tap.put(job(async {
        let _bomb = Bomb("the child");
        pending().await
    }));
    assert!(next(&task, &mut results).is_pending());
    assert_eq!(panic_message(|| drop(results)), "the child");
}

#[test]
fn each_returned_result_belongs_to_the_caller() {
    let (task, drops) = (MockTask::new(), DropCounter::default());
    let mut results = Values::new().results();
    for _ in 0..3 {
        let value = drops.value("kept");
        results.queue(async { Ok(value) });
    }
    let Poll::Ready(Some(Ok(value))) = next(&task, &mut results) else { panic!("it is ready") };
    drop(results);
    assert_eq!(drops.get(), 2);
    drop(value);
    assert_eq!(drops.get(), 3);
}

// === wake-ups ===

#[test]
fn each_wake_up_is_for_work_and_none_is_lost() {
    for in_order in [false, true] {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut results = Jobs::new().results();
        if in_order {
            results = results.in_order();
        }
        (0..10).for_each(|n| results.queue(waits(&gate, n)));
        assert!(next(&task, &mut results).is_pending());
        for n in 0..10 {
            assert_eq!(task.wakes(), n);
            gate.open(n);
            assert_eq!(task.wakes(), n + 1);
            assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(n))));
            if n < 9 {
                assert!(next(&task, &mut results).is_pending());
            }
        }
        assert_eq!(next(&task, &mut results), Poll::Ready(None));
        assert_eq!(task.wakes(), 10);
    }
}

#[test]
fn a_waiter_that_comes_while_results_are_taken_is_not_forgotten() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().results();
    let handle = results.handle();
    (0..3).for_each(|n| results.queue(waits(&gate, n)));
    assert!(next(&task, &mut results).is_pending());
    gate.open(0);
    gate.open(1);
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
    // One result waits. Another child is woken, and one is added.
    gate.open(2);
    handle.queue(waits(&gate, 3));
    gate.open(3);
    assert_eq!(available(&task, &mut results), [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let (first, second, gate) = (MockTask::new(), MockTask::new(), Gate::new());
    let mut results = Jobs::new().results();
    (0..3).for_each(|n| results.queue(waits(&gate, n)));
    assert!(next(&first, &mut results).is_pending());
    gate.open(0);
    gate.open(1);
    assert_eq!(next(&first, &mut results), Poll::Ready(Some(Ok(0))));
    assert_eq!(next(&second, &mut results), Poll::Ready(Some(Ok(1))));
    assert!(next(&second, &mut results).is_pending());
    let woken = first.wakes();
    gate.open(2);
    assert_eq!((first.wakes(), second.wakes()), (woken, 1));
    assert_eq!(next(&second, &mut results), Poll::Ready(Some(Ok(2))));
}

#[test]
fn one_poll_polls_at_most_4096_children() {
    fn endless(polls: &Arc<AtomicUsize>) -> Job {
        job(count_polls(polls, pending()))
    }
    let (task, polls) = (MockTask::new(), Arc::<AtomicUsize>::default());
    let mut queued = Group::unboxed().results();
    (0..5_000).for_each(|_| queued.queue(endless(&polls)));
    assert!(next(&task, &mut queued).is_pending());
    assert_eq!((polls.load(Ordering::SeqCst), task.wakes()), (4_096, 1));

    // A stream of children that ends within the poll does not reset the budget.
    let (task, polls, tap) = (MockTask::new(), Probe::new(), Tap::new());
    let mut queued = Jobs::new().results();
    for n in 0..5_000 {
        let tap = tap.clone();
        queued.queue(polls.watch(async move {
            if n == 0 {
                tap.end();
            }
            pending().await
        }));
    }
    let mut fed = queued.feed(tap.clone());
    assert!(next(&task, &mut fed).is_pending());
    assert_eq!((polls.polls(), tap.polls(), task.wakes()), (4_096, 2, 1));
    assert!(next(&task, &mut fed).is_pending());
    assert_eq!((polls.polls(), task.wakes()), (5_000, 1));
}

#[test]
fn a_returned_result_causes_no_wake_up_for_the_work_that_is_left() {
    let yields = || async {
        yield_now().await;
        Ok(1)
    };
    let task = MockTask::new();
    let mut results = Jobs::new().results();
    results.queue(job(ready(Ok(0))));
    results.queue(job(yields()));
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
    let mut results = results.feed(stream::iter([job(ready(Ok(2))), job(yields())]));
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(2))));
    assert_eq!(task.wakes(), 0, "a caller that got a result polls again");
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_rounds_results_are_returned_before_the_next_round_begins() {
    let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    (0..4).for_each(|n| gate.open(n));
    let mut results = Group::<Boxed<'_, usize, &'static str>>::new().results();
    let handle = results.handle();
    (0..2).for_each(|n| results.queue(logged_child(n, &gate, &log)));
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(0))));
    (2..4).for_each(|n| handle.queue(logged_child(n, &gate, &log)));
    assert_eq!(log.take(), ["+0", "-0", "+1", "-1"]);
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
    assert_eq!(log.take(), [""; 0]);
    assert_eq!(available(&task, &mut results), [Ok(2), Ok(3)]);
}

#[test]
fn next_may_be_dropped_in_a_select_and_loses_nothing() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().with_limit(4).results().in_order();
    (0..20).for_each(|n| results.queue(waits(&gate, n)));
    let all = Mutex::new(Vec::new());
    task.finish(async {
        let mut ticks = 0;
        while !results.is_terminated() {
            futures::select! {
                result = results.select_next_some() => all.lock().unwrap().push(result.unwrap()),
                () = futures::FutureExt::fuse(yield_now()) => ticks += 1,
            }
            gate.open(20_usize.saturating_sub(ticks));
        }
    });
    assert_eq!(all.into_inner().unwrap(), (0..20).collect::<Vec<_>>());
}

// === when it is made ===

#[test]
fn children_of_a_group_that_was_polled_yield_their_results() {
    let (before, task, gate) = (MockTask::new(), MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(2).settle();
    let handle = group.handle();
    (0..3).for_each(|n| group.queue(waits(&gate, n)));
    assert!(before.poll(&mut group).is_pending());
    // The group's task is woken, and the stream is polled.
    gate.open(1);
    let mut results = group.results().in_order();
    assert!(next(&task, &mut results).is_pending());
    gate.open(2);
    gate.open(0);
    assert_eq!(available(&task, &mut results), [Ok(0), Ok(1), Ok(2)]);
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert_eq!(handle.stats().ok, 3);
}

#[test]
fn a_wake_up_that_the_group_has_received_counts_for_the_stream() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new();
    group.queue(waits(&gate, 0));
    (0..10_000).for_each(|_| group.queue(job(pending())));
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    // It receives the wake-up, and the unpolled children use up its budget.
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(group.stats().ok, 0);
    let mut results = group.results();
    assert_eq!(available(&task, &mut results), [Ok(0)]);
}

#[test]
fn the_policy_that_was_set_is_dropped_and_the_children_are_not() {
    let (task, drops, probe) = (MockTask::new(), DropCounter::default(), Probe::new());
    let kept = drops.guard();
    let mut group = Jobs::new().with_policy(Calls::new(move |_, _| {
        let _ = &kept;
        unreachable!("the stream has replaced the policy")
    }));
    group.queue(probe.watch(ready(Ok(1))));
    let mut results = group.results();
    assert_eq!((drops.get(), probe.drops()), (1, 0));
    assert!(!results.is_stopped());
    assert_eq!(available(&task, &mut results), [Ok(1)]);
}

#[test]
#[should_panic(expected = "call `results` before the group's first child has finished")]
fn a_group_with_a_finished_child_is_refused_as_a_stream() {
    let mut group = Jobs::new();
    group.queue(job(ready(Ok(1))));
    group.queue(job(pending()));
    assert!(MockTask::new().poll(&mut group).is_pending());
    drop(group.results());
}

#[test]
#[should_panic(expected = "call `results` before")]
fn a_resolved_group_is_refused_as_a_stream() {
    let mut group = Jobs::new();
    assert!(MockTask::new().poll(&mut group).is_ready());
    drop(group.results());
}

#[test]
#[should_panic(expected = "call `in_order` before the first child has finished")]
fn results_that_came_before_are_not_put_in_order() {
    let mut results = Jobs::new().results();
    (0..2).for_each(|n| results.queue(job(ready(Ok(n)))));
    assert!(next(&MockTask::new(), &mut results).is_ready());
    drop(results.in_order());
}

#[test]
fn the_debug_form_says_what_waits() {
    let task = MockTask::new();
    let mut results = Jobs::new().results();
    (0..3).for_each(|n| results.queue(job(ready(Ok(n)))));
    assert!(next(&task, &mut results).is_ready());
    let shown = format!("{results:?}");
    assert!(shown.starts_with("Results { waiting: 2, group: Group {"), "{shown}");
    let shown = format!("{:?}", results.feed(stream::empty::<Job>()));
    assert!(shown.starts_with("Results { fed: false, waiting: 2, group"), "{shown}");
}

#[test]
fn in_order_the_results_behind_a_daemon_that_panics_at_the_stop_are_given() {
    let driver = MockTask::new();
    let group: Group<Boxed<'_, usize, &'static str>> = Group::new();
    let token = group.token().clone();
    let mut results = group.results().in_order();
    results.queue(
        task(async move {
            token.cancelled().await;
            panic_any("at the end")
        })
        .daemon(),
    );
    results.queue(async { Ok(1) });
    assert_eq!(driver.run(&mut results.next()), Poll::Ready(Some(Ok(1))));
    assert_eq!(panic_message(|| driver.run(&mut results.next())), "at the end");
}

#[test]
fn in_order_a_limit_raised_between_results_loses_none() {
    let mut results = Group::new().with_limit(2).results().in_order();
    for n in 0..8 {
        results.queue(async move { Ok::<usize, &str>(n) });
    }
    let first = futures::executor::block_on(results.next());
    assert_eq!(first, Some(Ok(0)));
    results.set_limit(Some(3));
    let rest: Vec<_> = futures::executor::block_on(results.map(Result::unwrap).collect());
    assert_eq!(rest, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_stream_that_was_over_is_not_terminated_once_it_is_fed() {
    let task = MockTask::new();
    let mut results = Group::unboxed().results();
    results.queue(job(ready(Ok(1))));
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(1))));
    assert_eq!(next(&task, &mut results), Poll::Ready(None));
    assert!(results.is_terminated());
    let mut results = results.feed(stream::iter([job(ready(Ok(2)))]));
    assert!(!results.is_terminated());
    assert_eq!(next(&task, &mut results), Poll::Ready(Some(Ok(2))));
}
