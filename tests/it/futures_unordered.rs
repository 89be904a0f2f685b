//! What `FuturesUnordered` promises, promised by `Group::unboxed().results()`.
//!
//! A port replaces `FuturesUnordered::new()` by `Group::unboxed().results()`, `push` by `queue`.
//! A future that has no error goes in as `value(future)`. What has no counterpart:
//!
//! - `iter`, `iter_mut`, `iter_pin_mut` and `into_iter`: the children can't be looked at while they
//!   run. A child that others are to reach shares what they need with them, or is `joinable`.
//! - `clear`: a stream is dropped, and another is made.
//! - `new()` in a `const`, `Default` and `FromIterator` of the set itself: a set has a limit and a
//!   token, so it is made by a group's builder, and then extended.
//! - A panic that leaves the set usable. In a group it is a failure of the whole: the children are
//!   drained, the panic goes on, and the stream is over.
//! - `Sync`: a stream of results is not shared between threads; its handle is.

use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use crate::common::{
    DropCounter, Gate, MockTask, Probe, job, unboxed, value_job, waits, yield_now,
};
use errgroup::stream::Results;
use errgroup::{Group, Plain, value};
use futures::executor::{block_on, block_on_stream};
use futures::stream::{FusedStream, StreamExt};
use futures::{FutureExt, Stream, select};

type Jobs = Plain<crate::common::Job>;

fn set() -> Results<Jobs, usize, &'static str> {
    Group::unboxed().results()
}

/// Polls the stream once for each item that is there.
fn all(task: &MockTask, stream: &mut Results<Jobs, usize, &'static str>) -> Vec<usize> {
    let mut items = Vec::new();
    while let Poll::Ready(Some(item)) = task.poll(&mut stream.next()) {
        items.push(item.unwrap());
    }
    items
}

#[test]
fn an_empty_set_is_over_and_lives_on_when_a_future_is_pushed() {
    let (task, mut set) = (MockTask::new(), set());
    assert!(set.is_empty());
    assert_eq!(task.poll(&mut set.next()), Poll::Ready(None));
    assert!(set.is_terminated());
    set.queue(job(ready(Ok(1))));
    assert!(!set.is_terminated());
    assert_eq!(set.len(), 1);
    assert_eq!(task.poll(&mut set.next()), Poll::Ready(Some(Ok(1))));
    assert_eq!(task.poll(&mut set.next()), Poll::Ready(None));
    assert!(set.is_terminated());
}

#[test]
fn results_come_in_the_order_in_which_the_futures_end() {
    let (task, gate, mut set) = (MockTask::new(), Gate::new(), set());
    set.extend((0..3).map(|number| waits(&gate, number)));
    assert!(task.poll(&mut set.next()).is_pending());
    for number in [2, 0, 1] {
        gate.open(number);
        assert_eq!(task.poll(&mut set.next()), Poll::Ready(Some(Ok(number))));
    }
    assert_eq!(task.poll(&mut set.next()), Poll::Ready(None));
}

#[test]
fn an_error_is_a_result_like_any_other() {
    let mut set = set();
    set.queue(job(ready(Err("no"))));
    set.queue(job(ready(Ok(1))));
    let all: Vec<_> = block_on_stream(set).collect();
    assert_eq!(all, [Err("no"), Ok(1)]);
}

#[test]
fn a_future_without_an_error_is_a_value() {
    let mut set = Group::unboxed().results();
    set.extend((0..3).map(|number| value(ready(number))));
    let sum: usize = block_on_stream(set).map(|item| item.unwrap()).sum();
    assert_eq!(sum, 3);
}

#[test]
fn a_future_is_polled_when_it_is_pushed_and_then_only_when_it_is_woken() {
    let (task, gate, mut set) = (MockTask::new(), Gate::new(), set());
    let probes: Vec<_> = (0..200).map(|_| Probe::new()).collect();
    for (number, probe) in probes.iter().enumerate() {
        set.queue(probe.watch(waits(&gate, number)));
    }
    let polls = || probes.iter().map(Probe::polls).sum::<usize>();
    assert_eq!(polls(), 0, "only a poll of the set polls its futures");
    assert!(task.poll(&mut set.next()).is_pending());
    assert_eq!(polls(), 200);
    for _ in 0..3 {
        assert!(task.poll(&mut set.next()).is_pending());
    }
    assert_eq!(polls(), 200);
    gate.open(150);
    assert_eq!(task.poll(&mut set.next()), Poll::Ready(Some(Ok(150))));
    assert_eq!((polls(), probes[150].polls()), (201, 2));
}

#[test]
fn a_future_is_dropped_when_it_has_ended_and_the_others_with_the_set() {
    let (task, gate, probe, mut set) = (MockTask::new(), Gate::new(), Probe::new(), set());
    set.extend((0..3).map(|number| probe.watch(waits(&gate, number))));
    gate.open(0);
    assert_eq!(task.poll(&mut set.next()), Poll::Ready(Some(Ok(0))));
    assert_eq!(probe.drops(), 1);
    drop(set);
    assert_eq!(probe.drops(), 3);
}

#[test]
fn a_result_that_was_not_read_is_dropped_with_the_set() {
    let (task, drops) = (MockTask::new(), DropCounter::default());
    let mut set = Group::unboxed().results();
    set.extend(["a", "b", "c"].map(|name| value_job(ready(Ok(drops.value(name))))));
    drop(task.poll(&mut set.next()));
    assert_eq!(drops.get(), 1);
    drop(set);
    assert_eq!(drops.get(), 3);
}

#[test]
fn a_wake_up_from_another_thread_brings_the_result() {
    let (gate, mut set) = (Gate::new(), set());
    set.extend((0..50).map(|number| waits(&gate, number)));
    let opens = std::thread::spawn({
        let gate = gate.clone();
        move || (0..50).rev().for_each(|number| gate.open(number))
    });
    let sum: usize = block_on_stream(set).map(|item| item.unwrap()).sum();
    assert_eq!(sum, (0..50).sum());
    opens.join().unwrap();
}

#[test]
fn futures_are_pushed_while_others_run() {
    let (task, gate, mut set) = (MockTask::new(), Gate::new(), set());
    for number in 0..100 {
        set.queue(waits(&gate, number));
        assert!(task.poll(&mut set.next()).is_pending());
    }
    assert_eq!(set.len(), 100);
    (0..100).step_by(2).for_each(|number| gate.open(number));
    assert_eq!(all(&task, &mut set).len(), 50);
    (100..150).for_each(|number| set.queue(waits(&gate, number)));
    (0..150).for_each(|number| gate.open(number));
    assert_eq!(all(&task, &mut set).len(), 100);
    assert!(set.is_terminated());
}

#[test]
fn a_task_that_polls_the_set_later_is_the_one_that_is_woken() {
    let (first, second) = (MockTask::new(), MockTask::new());
    let (gate, mut set) = (Gate::new(), set());
    set.queue(waits(&gate, 0));
    assert!(first.poll(&mut set.next()).is_pending());
    assert!(second.poll(&mut set.next()).is_pending());
    gate.open(0);
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert_eq!(second.poll(&mut set.next()), Poll::Ready(Some(Ok(0))));
}

#[test]
fn futures_that_wake_themselves_for_ever_let_the_task_yield() {
    let (task, polls) = (MockTask::new(), Arc::new(AtomicUsize::new(0)));
    let mut set = set();
    for _ in 0..10 {
        let polls = Arc::clone(&polls);
        set.queue(job(async move {
            loop {
                polls.fetch_add(1, Ordering::SeqCst);
                yield_now().await;
            }
        }));
    }
    assert!(task.poll(&mut set.next()).is_pending());
    assert_eq!(task.wakes(), 1);
    let once = polls.load(Ordering::SeqCst);
    assert!((1..=20).contains(&once), "{once} polls");
}

#[test]
fn a_set_that_is_empty_stands_in_a_select_loop() {
    let (mut set, mut fed) = (set(), 0);
    let mut inputs = futures::stream::iter(0..5).fuse();
    let sum = block_on(async {
        let mut sum = 0;
        loop {
            select! {
                input = inputs.next() => if let Some(input) = input {
                    set.queue(job(ready(Ok(input))));
                    fed += 1;
                },
                item = set.select_next_some() => sum += item.unwrap(),
                complete => break sum,
            }
        }
    });
    assert_eq!((sum, fed), (10, 5));
}

#[test]
fn a_next_that_is_dropped_loses_no_result() {
    let (task, gate, mut set) = (MockTask::new(), Gate::new(), set());
    set.extend((0..2).map(|number| waits(&gate, number)));
    {
        let mut next = set.next();
        assert!(task.poll(&mut next).is_pending());
        gate.open(0);
    }
    assert_eq!(set.next().now_or_never(), Some(Some(Ok(0))));
    gate.open(1);
    assert_eq!(block_on(set.next()), Some(Ok(1)));
}

#[test]
fn a_panic_goes_on_when_the_others_have_ended_and_the_stream_is_over() {
    let (task, gate, probe, mut set) = (MockTask::new(), Gate::new(), Probe::new(), set());
    set.queue(probe.watch(waits(&gate, 0)));
    set.queue(job(async { std::panic::panic_any("a child") }));
    assert!(task.poll(&mut set.next()).is_pending(), "the other is drained");
    gate.open(0);
    let message =
        crate::common::panic_message(|| while task.poll(&mut set.next()) != Poll::Ready(None) {});
    assert_eq!((message, probe.drops()), ("a child", 1));
    assert!(set.is_terminated());
}

#[test]
fn a_set_moves_between_polls_and_its_futures_do_not() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut set = Group::unboxed().results();
    set.extend((0..100).map(|number| unboxed::<1>(waits(&gate, number))));
    assert!(task.poll(&mut set.next()).is_pending());
    let mut moved = Box::new(set);
    (0..100).for_each(|number| gate.open(number));
    let mut sum = 0;
    while let Poll::Ready(Some(item)) = task.poll(&mut moved.next()) {
        sum += item.unwrap();
    }
    assert_eq!(sum, (0..100).sum());
}

#[test]
fn a_future_may_push_more_through_a_handle() {
    type Boxed = Pin<Box<dyn Future<Output = Result<usize, &'static str>> + Send>>;
    let mut set = Group::<errgroup::Boxed<'static, usize, &'static str>>::new().results();
    let handle = set.handle();
    let child: Boxed = Box::pin(async move {
        (1..4).for_each(|number| handle.queue(ready(Ok(number))));
        Ok(0)
    });
    set.queue(child);
    let all: Vec<_> = block_on_stream(set).map(|item| item.unwrap()).collect();
    assert_eq!(all, [0, 1, 2, 3]);
}

#[test]
fn a_hundred_thousand_futures_pass_through_one_set() {
    let (task, mut set) = (MockTask::new(), Group::unboxed().results());
    let mut ended = 0;
    for _ in 0..100 {
        set.extend((0..1000).map(|_| job(ready(Ok(0)))));
        while let Poll::Ready(Some(_)) = task.poll(&mut set.next()) {
            ended += 1;
        }
    }
    while ended < 100_000 {
        ended += usize::from(matches!(task.poll(&mut set.next()), Poll::Ready(Some(_))));
    }
    assert_eq!((ended, set.len()), (100_000, 0));
}

#[test]
fn the_size_hint_tells_what_is_there() {
    let mut set = set();
    set.queue(job(pending()));
    set.queue(job(poll_fn(|_| Poll::Ready(Ok(1)))));
    let (least, most) = set.size_hint();
    assert!(least <= 2 && most.is_none_or(|most| most >= 2), "({least}, {most:?})");
}
