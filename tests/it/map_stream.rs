//! `map_stream` and `for_each_stream`: as `map` and `for_each`, with inputs that may be late; and
//! `value`, a child without an error.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Poll;

use crate::common::{
    DropCounter, Gate, Log, MockTask, OnDrop, Tap, count_polls, fails, job, logged_child,
    panic_message, waits, yield_now,
};
use errgroup::{Group, for_each_stream, map_stream, value};
use futures::future::FusedFuture;
use futures::stream::{self, StreamExt};

#[test]
fn values_come_in_the_order_of_the_inputs_whichever_is_first() {
    for limit in [3, 5, 100, usize::MAX] {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut all = map_stream(limit, stream::iter(0..5), |n| waits(&gate, n));
        assert!(task.poll(&mut all).is_pending());
        for n in [2, 0, 1, 4, 3] {
            gate.open(n);
        }
        assert_eq!(task.poll(&mut all), Poll::Ready(Ok(vec![0, 1, 2, 3, 4])), "limit {limit}");
        assert_eq!(task.wakes(), 1);
        assert!(all.is_terminated() && task.poll(&mut all).is_pending());
    }
}

#[test]
fn the_futures_run_on_while_the_stream_is_pending() {
    let (task, gate, tap) = (MockTask::new(), Gate::new(), Tap::new());
    let mut all = map_stream(2, tap.clone(), |n| waits(&gate, n));
    assert!(task.poll(&mut all).is_pending());
    tap.put(0);
    assert_eq!(task.wakes(), 1);
    assert!(task.poll(&mut all).is_pending());
    gate.open(0);
    assert!(task.poll(&mut all).is_pending());
    // Only the futures have woken it since the stream was last asked.
    assert_eq!(tap.polls(), 3);
    tap.put(1);
    tap.end();
    gate.open(1);
    assert_eq!(task.poll(&mut all), Poll::Ready(Ok(vec![0, 1])));
}

#[test]
fn the_stream_is_asked_only_with_room_and_never_after_its_end() {
    let (task, gate, tap) = (MockTask::new(), Gate::new(), Tap::new());
    for n in 0..3 {
        tap.put(n);
    }
    let mut all = for_each_stream(2, tap.clone(), |n| waits(&gate, n));
    assert_eq!(tap.polls(), 0);
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(tap.polls(), 2);
    tap.end();
    assert_eq!(task.wakes(), 0);
    gate.open(1);
    assert!(task.poll(&mut all).is_pending());
    // The end is seen with room only.
    assert_eq!(tap.polls(), 3);
    gate.open(0);
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(tap.polls(), 4);
    gate.open(2);
    assert_eq!(task.poll(&mut all), Poll::Ready(Ok(())));
    assert_eq!(tap.polls(), 4);
}

#[test]
fn a_stream_that_wakes_itself_is_asked_once_a_poll() {
    let (task, asked) = (MockTask::new(), Cell::new(0));
    let stream = stream::poll_fn(|cx| {
        asked.set(asked.get() + 1);
        if asked.get() % 2 == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready((asked.get() < 9).then_some(asked.get()))
    });
    let mut all = map_stream(8, stream, |n| job(ready(Ok(n))));
    for poll in 1..=5 {
        let polled = task.poll(&mut all);
        assert_eq!((asked.get(), task.wakes()), (2 * poll - 1, poll), "poll {poll}");
        assert!(polled.is_pending());
    }
    assert_eq!(task.poll(&mut all), Poll::Ready(Ok(vec![2, 4, 6, 8])));
}

#[test]
fn a_future_may_fill_the_stream() {
    let (task, tap) = (MockTask::new(), Tap::new());
    tap.put(3);
    let sums = map_stream(1, tap.clone(), |n: usize| {
        let tap = tap.clone();
        job(async move {
            yield_now().await;
            if n > 0 {
                tap.put(n - 1)
            } else {
                tap.end()
            }
            Ok(n)
        })
    });
    assert_eq!(task.finish(sums), Ok(vec![3, 2, 1, 0]));
}

#[test]
fn one_poll_asks_at_most_4096_times_then_yields() {
    let (task, asked) = (MockTask::new(), Cell::new(0));
    let stream = stream::iter(0..10_000).inspect(|_| asked.set(asked.get() + 1));
    let mut all = for_each_stream(usize::MAX, stream, |n| job(ready(Ok(n))));
    let mut polls = 0;
    while task.poll(&mut all).is_pending() {
        polls += 1;
        assert!(asked.get() <= 4096 * polls);
        assert_eq!(task.wakes(), polls);
    }
    assert_eq!((asked.get(), polls), (10_000, 2));
}

#[test]
fn an_error_drops_the_futures_then_the_stream_before_it_comes_out() {
    let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let dropped = OnDrop(|| log.add("stream"));
    let inputs = stream::iter(0..9).map(move |n| {
        let _dropped = &dropped;
        n
    });
    let mut all = map_stream(3, inputs, |n| {
        if n == 2 { fails(&gate, n, "broken") } else { logged_child(n, &gate, &log) }
    });
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(log.take(), ["+0", "+1"]);
    gate.open(2);
    assert_eq!(task.poll(&mut all), Poll::Ready(Err("broken")));
    let mut entries = log.take();
    entries[..2].sort();
    assert_eq!(entries, ["-0", "-1", "stream"]);
}

#[test]
fn a_stream_that_is_woken_while_there_is_no_room_does_not_keep_the_task_awake() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let (first, second) = (Tap::new(), Tap::new());
    second.put(0);
    // When it gives an item of the second, it has left its waker with the first.
    let inputs = stream::select(first.clone(), second.clone());
    let mut all = for_each_stream(1, inputs, |n: usize| waits(&gate, n));
    assert!(task.poll(&mut all).is_pending());
    first.put(1);
    assert_eq!(task.wakes(), 1);
    for _ in 0..3 {
        assert!(task.poll(&mut all).is_pending());
    }
    assert_eq!(task.wakes(), 1, "there is no room to ask it for");
    gate.open(0);
    assert_eq!(task.wakes(), 2);
    first.end();
    second.end();
    assert!(task.poll(&mut all).is_pending());
    gate.open(1);
    assert_eq!(task.poll(&mut all), Poll::Ready(Ok(())));
}

#[test]
fn a_dropped_future_drops_its_stream_unless_it_is_borrowed() {
    let (task, drops) = (MockTask::new(), DropCounter::default());
    let guard = drops.guard();
    let mut inputs = stream::iter(0..5).map(move |n| {
        let _guard = &guard;
        n
    });
    let mut all = map_stream(1, &mut inputs, |_| job(pending()));
    assert!(task.poll(&mut all).is_pending());
    drop(all);
    let mut all = for_each_stream(1, inputs, |n| {
        assert_eq!(n, 1);
        job(pending())
    });
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(drops.get(), 0);
    drop(all);
    assert_eq!(drops.get(), 1);
}

#[test]
#[cfg(feature = "std")]
fn a_panic_of_the_stream_drops_the_futures_and_comes_out() {
    let (task, drops) = (MockTask::new(), DropCounter::default());
    let inputs = stream::iter(0..5).inspect(|n| {
        if *n == 2 {
            std::panic::panic_any("the stream's");
        }
    });
    let mut all = map_stream(4, inputs, |_| {
        let guard = drops.guard();
        job(async move {
            let _guard = guard;
            pending().await
        })
    });
    assert_eq!(panic_message(|| task.poll(&mut all)), "the stream's");
    assert_eq!(drops.get(), 2);
    assert!(all.is_terminated() && task.poll(&mut all).is_pending());
}

#[test]
#[should_panic(expected = "the limit must be at least 1")]
fn a_limit_of_zero_is_refused() {
    drop(map_stream(0, stream::iter(0..1), |n| job(ready(Ok(n)))));
}

// === value ===

#[test]
fn a_value_is_a_child_without_an_error_and_its_result_cannot_fail() {
    let task = MockTask::new();
    let Ok(all) = task.finish(errgroup::map(8, 0..5_usize, |n| value(ready(2 * n))));
    assert_eq!(all, [0, 2, 4, 6, 8]);

    let mut group = Group::new().with_limit(2).collect();
    group.queue(value(async { 1_usize }));
    group.queue(errgroup::task(value(ready(2))).name("b"));
    let Ok(all) = task.finish(group);
    assert_eq!(all, [1, 2]);
}

#[test]
fn a_value_drops_its_future_when_that_is_done_and_polls_it_no_more() {
    let (task, drops, polls) = (MockTask::new(), DropCounter::default(), Default::default());
    let guard = drops.guard();
    let mut child = Box::pin(value(count_polls(&polls, async move {
        let _guard = guard;
        yield_now().await;
        7
    })));
    assert!(task.poll(&mut child).is_pending());
    assert_eq!(task.poll(&mut child), Poll::Ready(Ok::<_, Infallible>(7)));
    assert!(child.is_terminated());
    assert!(task.poll(&mut child).is_pending());
    let polls: &AtomicUsize = &polls;
    assert_eq!((drops.get(), polls.load(SeqCst)), (1, 2));
}
