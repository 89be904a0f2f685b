//! `joinable`: a handle of one child, which is told the child's value and aborts it.

use std::error::Error;
use std::future::{Future, pending, ready};
use std::panic::panic_any;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;

use crate::common::{
    Bomb, DropCounter, Gate, Job, MockTask, OnDrop, Probe, fails, job, panic_message, poll_with,
    waits, waker_and_count, waker_fn, yield_now,
};
use crate::on::Pool;
use errgroup::{
    Boxed, ChildHandle, Event, Group, Joinable, Lost, Outcome, Plain, Reason, Stats, Stopped, Task,
    TryGoError, task,
};
use futures::executor::block_on;
use futures::future::{BoxFuture, FusedFuture};
use futures::{StreamExt, stream};

fn joinable(child: Job) -> (Task<Joinable<Job>>, ChildHandle<usize>) {
    task(child).joinable()
}

/// Returns what a handle has resolved to.
#[track_caller]
fn told<T>(handle: &mut ChildHandle<T>) -> Result<T, Lost> {
    assert!(handle.is_finished());
    match MockTask::new().poll(handle) {
        Poll::Ready(ending) => ending,
        Poll::Pending => panic!("the handle is still pending"),
    }
}

/// Returns queued, running, ok, failed and dropped.
fn numbers(stats: Stats) -> [usize; 5] {
    [stats.queued, stats.running, stats.ok, stats.failed, stats.dropped]
}

// === endings ===

#[test]
fn the_handle_is_told_the_value_and_the_group_the_error() {
    let mock = MockTask::new();
    let mut group = Group::new();
    let (good, mut value) = joinable(job(ready(Ok(7))));
    let (bad, mut lost) = joinable(job(ready(Err("broken"))));
    group.queue(good);
    group.queue(bad);
    assert!(!value.is_finished() && !lost.is_finished());
    assert!(mock.poll(&mut value).is_pending());
    assert_eq!(mock.poll(&mut group), Poll::Ready(Err("broken")));
    assert_eq!(mock.wakes(), 1);
    assert_eq!(told(&mut value), Ok(7));
    assert_eq!(told(&mut lost), Err(Lost::Failed));
    assert_eq!(numbers(group.stats()), [0, 0, 1, 1, 0]);
}

#[test]
fn a_handle_is_fused() {
    let mock = MockTask::new();
    let mut group = Group::new();
    let (child, mut handle) = joinable(job(ready(Ok(7))));
    group.queue(child);
    assert!(mock.poll(&mut group).is_ready());
    assert!(!handle.is_terminated());
    assert_eq!(told(&mut handle), Ok(7));
    assert!(handle.is_terminated() && handle.is_finished());
    assert!(mock.poll(&mut handle).is_pending());
}

#[test]
fn a_panic_is_told_to_both() {
    let mock = MockTask::new();
    let mut group = Group::new();
    let (child, mut handle) = joinable(job(async { panic_any("a child") }));
    group.queue(child);
    assert_eq!(panic_message(|| mock.poll(&mut group)), "a child");
    assert_eq!(told(&mut handle), Err(Lost::Panicked));
    assert_eq!(numbers(group.stats()), [0, 0, 0, 0, 1]);
}

#[test]
fn a_panic_of_the_destructor_is_one_of_the_child() {
    let mock = MockTask::new();
    let bomb = || {
        let bomb = Bomb("in a destructor");
        job(async move {
            let _bomb = bomb;
            yield_now().await;
            Ok(1)
        })
    };
    // When the child has finished, is aborted, and is dropped with its group.
    let mut group = Group::new();
    let (child, mut handle) = joinable(bomb());
    group.queue(child);
    assert_eq!(panic_message(|| mock.run(&mut group)), "in a destructor");
    assert_eq!(told(&mut handle), Err(Lost::Panicked));

    let mut group = Group::new();
    let (child, mut handle) = joinable(bomb());
    group.queue(child);
    assert!(mock.poll(&mut group).is_pending());
    handle.abort();
    assert_eq!(panic_message(|| mock.run(&mut group)), "in a destructor");
    assert_eq!(told(&mut handle), Err(Lost::Panicked));

    let mut group = Group::new();
    let (child, mut handle) = joinable(bomb());
    group.queue(child);
    assert!(mock.poll(&mut group).is_pending());
    assert_eq!(panic_message(|| drop(group)), "in a destructor");
    assert_eq!(told(&mut handle), Err(Lost::Panicked));
}

#[test]
fn one_that_is_dropped_is_lost() {
    let mock = MockTask::new();
    // Never accepted.
    let (child, mut handle) = joinable(job(ready(Ok(1))));
    drop(child);
    assert_eq!(told(&mut handle), Err(Lost::Dropped));

    // Given back by a stopped group, and not taken by one.
    let mut group = Group::new();
    group.token().cancel();
    let (child, mut handle) = joinable(job(ready(Ok(1))));
    let child = mock.finish(group.go(child)).map_err(Stopped::into_inner).unwrap_err();
    assert!(!handle.is_finished());
    group.queue(child);
    assert_eq!(told(&mut handle), Err(Lost::Dropped));

    // Queued at a stop, and after a grace; with the group.
    for stop in [true, false] {
        let mut group = Group::new().with_limit(1).with_grace(|| ready(()));
        let (child, mut running) = joinable(job(pending()));
        group.queue(child);
        let (child, mut queued) = joinable(job(pending()));
        group.queue(child);
        assert!(mock.run(&mut group).is_pending());
        if stop {
            group.token().cancel();
            assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
        } else {
            drop(group);
        }
        assert_eq!(told(&mut queued), Err(Lost::Dropped));
        assert_eq!(told(&mut running), Err(Lost::Dropped));
    }
}

#[test]
fn the_future_is_gone_before_the_handle_is_told() {
    let (mock, drops) = (MockTask::new(), DropCounter::default());
    let mut group = Group::new();
    let guard = drops.guard();
    let (child, mut handle) = task(async move {
        let _guard = guard;
        Ok::<_, &str>(7)
    })
    .joinable();
    group.queue(child);
    let seen = Arc::<AtomicUsize>::default();
    let waker = {
        let (seen, drops) = (Arc::clone(&seen), drops.clone());
        waker_fn(move || seen.store(10 + drops.get(), Ordering::SeqCst))
    };
    assert!(poll_with(&mut handle, &waker).is_pending());
    assert!(mock.poll(&mut group).is_ready());
    assert_eq!(seen.load(Ordering::SeqCst), 11);
}

#[test]
fn without_a_handle_the_child_goes_on_and_its_value_is_dropped() {
    let (mock, drops) = (MockTask::new(), DropCounter::default());
    let mut group = Group::new();
    let value = drops.guard();
    let (child, mut handle) = task(async {
        yield_now().await;
        Ok::<_, &str>(value)
    })
    .joinable();
    group.queue(child);
    let (waker, wakes) = waker_and_count();
    assert!(poll_with(&mut handle, &waker).is_pending());
    assert_eq!(Arc::strong_count(&wakes), 3);
    drop(handle);
    assert_eq!(Arc::strong_count(&wakes), 2, "its waker goes with it");
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((drops.get(), wakes.get()), (1, 0));
    assert_eq!(group.stats().ok, 1);
}

#[test]
fn an_unread_value_is_dropped_with_the_handle() {
    let drops = DropCounter::default();
    let mut group = Group::new();
    let value = drops.guard();
    let (child, handle) = task(async { Ok::<_, &str>(value) }).joinable();
    group.queue(child);
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(drops.get(), 0);
    drop(handle);
    assert_eq!(drops.get(), 1);
}

#[test]
fn the_last_waker_of_a_handle_is_woken() {
    let (mock, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new();
    let (child, mut handle) = joinable(waits(&gate, 7));
    group.queue(child);
    let ((first, firsts), (second, seconds)) = (waker_and_count(), waker_and_count());
    assert!(poll_with(&mut handle, &first).is_pending());
    assert!(poll_with(&mut handle, &second).is_pending());
    gate.open(7);
    assert!(mock.run(&mut group).is_ready());
    assert_eq!((firsts.get(), seconds.get()), (0, 1));
}

#[test]
fn a_waker_that_panics_keeps_nothing_from_the_group() {
    let mock = MockTask::new();
    let mut group = Group::new();
    let (child, mut handle) = joinable(job(ready(Ok(7))));
    group.queue(child);
    assert!(poll_with(&mut handle, &waker_fn(|| panic_any("a waker"))).is_pending());
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(told(&mut handle), Ok(7));
}

// === options ===

#[test]
fn options_are_kept_and_can_be_set_afterwards() {
    let (gate, mock) = (Gate::new(), MockTask::new());
    let mut named = Vec::new();
    let mut group = Group::new().with_limit(3).with_observer(|event: &Event| {
        if let Event::Started { name, .. } = event {
            named.push(name.as_deref().map(str::to_owned));
        }
    });
    let (child, _first) = task(waits(&gate, 0)).name("first").weight(2).joinable();
    group.queue(child);
    let (child, _second) = joinable(waits(&gate, 1));
    group.queue(child.name("second").weight(2));
    let (child, _third) = task(waits(&gate, 2)).priority(1).joinable();
    group.queue(child.name("third"));
    let (child, _daemon) = task(waits(&gate, 3)).joinable();
    group.queue(child.daemon().until_stop());
    assert!(mock.run(&mut group).is_pending());
    assert_eq!(numbers(group.stats())[..2], [2, 2]);
    (0..3).for_each(|n| gate.open(n));
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    drop(group);
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(named, [name("first"), name("third"), name("second"), None]);
}

#[test]
fn a_refused_child_is_given_back_and_still_joinable() {
    let mock = MockTask::new();
    let mut group = Group::new().with_limit(1);
    assert!(group.try_go(joinable(job(ready(Ok(1)))).0).is_ok());
    let (child, mut handle) = joinable(job(ready(Ok(2))));
    let Err(TryGoError::AtLimit(child)) = group.try_go(child) else { panic!("there is no room") };
    group.queue(child);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(told(&mut handle), Ok(2));
}

#[test]
fn all_ways_to_add_a_child_take_it() {
    let mock = MockTask::new();
    let mut handles = Vec::new();
    let mut child = |n| {
        let (child, handle) = joinable(job(ready(Ok(n))));
        handles.push(handle);
        child
    };
    let mut group = Group::new();
    assert!(mock.finish(group.go(child(0))).is_ok());
    assert!(group.try_go(child(1)).is_ok());
    group.queue(child(2));
    let handle = group.handle();
    assert!(mock.finish(handle.go(child(3))).is_ok());
    assert!(handle.try_go(child(4)).is_ok());
    handle.queue(child(5));
    let children = [child(6), child(7)];
    assert_eq!(mock.finish(group.feed(stream::iter(children))), 2);
    assert_eq!(mock.finish(handle.feed(stream::iter([child(8)]))), 1);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    for (n, handle) in handles.iter_mut().enumerate() {
        assert_eq!(told(handle), Ok(n));
    }
}

// === abort ===

#[test]
fn a_running_child_is_woken_and_dropped_by_the_next_poll() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new().with_limit(1);
    let (child, mut handle) = joinable(probe.watch(job(pending())));
    group.queue(child);
    let (next, mut after) = joinable(job(ready(Ok(2))));
    group.queue(next);
    assert!(mock.run(&mut group).is_pending());
    let before = mock.wakes();
    handle.abort();
    assert_eq!(mock.wakes(), before + 1, "without another wake-up");
    assert!(!handle.is_finished());
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (1, 1));
    assert_eq!(told(&mut handle), Err(Lost::Aborted));
    assert_eq!(told(&mut after), Ok(2), "its room is free");
    assert_eq!(numbers(group.stats()), [0, 0, 1, 0, 1]);
    assert_eq!(group.token().reason(), Some(Reason::Finished));
}

#[test]
fn a_child_that_was_never_polled_is_not_polled() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new();
    let (child, mut handle) = joinable(probe.watch(job(pending())));
    group.queue(child);
    handle.abort();
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    assert_eq!(told(&mut handle), Err(Lost::Aborted));
}

#[test]
fn the_policy_is_not_told_of_it() {
    let mock = MockTask::new();
    let mut group = Group::new().settle();
    let (child, handle) = joinable(job(pending()));
    group.queue(child);
    group.queue(joinable(job(ready(Ok(1)))).0);
    group.queue(joinable(job(ready(Err("broken")))).0);
    assert!(mock.run(&mut group).is_pending());
    handle.abort();
    assert_eq!(mock.poll(&mut group), Poll::Ready(vec![Ok(()), Err("broken")]));
}

#[test]
fn a_queued_child_gives_up_its_place_at_once() {
    let (mock, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::new().with_limit(2);
    group.queue(joinable(waits(&gate, 0)).0);
    let (heavy, mut handle) = joinable(probe.watch(job(pending())));
    group.queue(heavy.weight(2));
    let (light, mut after) = joinable(job(ready(Ok(2))));
    group.queue(light);
    assert!(mock.run(&mut group).is_pending());
    assert_eq!(numbers(group.stats()), [2, 1, 0, 0, 0]);
    let before = mock.wakes();
    handle.abort();
    assert_eq!(numbers(group.stats()), [0, 2, 0, 0, 1], "the next has its room");
    assert_eq!(told(&mut handle), Err(Lost::Aborted));
    assert_eq!(mock.wakes(), before + 1);
    assert!(mock.poll(&mut group).is_pending());
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    assert_eq!(told(&mut after), Ok(2));
    gate.open(0);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn waiters_do_not_wait_behind_a_queued_child_that_is_gone() {
    let (mock, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(2);
    let handle = group.handle();
    group.queue(joinable(waits(&gate, 0)).0);
    let (heavy, aborted) = joinable(job(pending()));
    group.queue(heavy.weight(2));
    let go_task = MockTask::new();
    let mut go = handle.go(joinable(job(ready(Ok(1)))).0);
    assert!(go_task.poll(&mut go).is_pending());
    assert!(mock.run(&mut group).is_pending());
    aborted.abort();
    assert_eq!(go_task.wakes(), 1);
    assert!(go_task.poll(&mut go).is_ready());
    gate.open(0);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn many_queued_children_are_aborted_in_any_order() {
    let (mock, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::new().with_limit(1);
    group.queue(joinable(waits(&gate, 0)).0);
    let mut handles = Vec::new();
    for n in 0..1_000 {
        let (child, handle) = joinable(probe.watch(job(ready(Ok(n)))));
        group.queue(child.priority((n % 3) as i32));
        handles.push(handle);
    }
    assert!(mock.run(&mut group).is_pending());
    for n in (0..1_000).rev().filter(|n| n % 10 != 0) {
        handles[n].abort();
    }
    assert_eq!(numbers(group.stats()), [100, 1, 0, 0, 900]);
    assert!(mock.run(&mut group).is_pending());
    assert_eq!((probe.polls(), probe.drops()), (0, 900));
    gate.open(0);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    for (n, handle) in handles.iter_mut().enumerate() {
        assert_eq!(told(handle), if n % 10 == 0 { Ok(n) } else { Err(Lost::Aborted) });
    }
    assert_eq!(numbers(group.stats()), [0, 0, 101, 0, 900]);
}

#[test]
fn the_last_of_the_queue_may_be_aborted_and_the_group_resolves() {
    let (mock, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::new().with_limit(1);
    group.queue(joinable(waits(&gate, 0)).0);
    group.set_limit(Some(0));
    let (child, handle) = joinable(probe.watch(job(pending())));
    group.queue(child);
    gate.open(0);
    assert!(mock.run(&mut group).is_pending());
    let before = mock.wakes();
    handle.abort();
    assert_eq!(mock.wakes(), before + 1);
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(probe.drops(), 1);
}

#[test]
fn one_aborted_in_the_queue_is_dropped_with_its_group() {
    let (probe, gate) = (Probe::new(), Gate::new());
    let mut group = Group::new().with_limit(1);
    group.queue(joinable(waits(&gate, 0)).0);
    let (child, handle) = joinable(probe.watch(job(pending())));
    group.queue(child);
    handle.abort();
    let watch = group.handle();
    drop(group);
    assert_eq!(probe.drops(), 1);
    assert_eq!(numbers(watch.stats()), [0, 0, 0, 0, 2]);
}

#[test]
fn a_panic_of_the_destructor_of_one_aborted_in_the_queue_comes_out() {
    let (mock, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(1);
    let watch = group.handle();
    group.queue(joinable(waits(&gate, 0)).0);
    let bomb = Bomb("in the queue");
    let (child, mut handle) = joinable(job(async move {
        let _bomb = bomb;
        Ok(1)
    }));
    group.queue(child);
    assert!(mock.run(&mut group).is_pending());
    handle.abort();
    assert_eq!(told(&mut handle), Err(Lost::Aborted));
    assert!(mock.run(&mut group).is_pending(), "the other is drained");
    assert_eq!(watch.token().reason(), Some(Reason::Panicked));
    gate.open(0);
    assert_eq!(panic_message(|| mock.run(&mut group)), "in the queue");
}

#[test]
fn one_that_was_aborted_before_it_came_waits_for_no_room() {
    let (mock, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::new().with_limit(1);
    group.queue(joinable(waits(&gate, 0)).0);
    let (child, mut handle) = joinable(probe.watch(job(pending())));
    handle.abort();
    assert!(!handle.is_finished());
    group.queue(child);
    assert_eq!(numbers(group.stats()), [0, 1, 0, 0, 1]);
    assert!(mock.run(&mut group).is_pending());
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    assert_eq!(told(&mut handle), Err(Lost::Aborted));
    gate.open(0);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));

    // With room, it is admitted, and dropped at its first poll.
    let mut group = Group::new();
    let (child, mut handle) = joinable(probe.watch(job(pending())));
    handle.abort();
    group.queue(child);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (0, 2));
    assert_eq!(told(&mut handle), Err(Lost::Aborted));
    assert_eq!(numbers(group.stats()), [0, 0, 0, 0, 1]);
}

#[test]
fn one_that_has_finished_keeps_its_value() {
    let mock = MockTask::new();
    let mut group = Group::new();
    let (child, mut handle) = joinable(job(ready(Ok(7))));
    group.queue(child);
    assert!(mock.run(&mut group).is_ready());
    handle.abort();
    assert_eq!(told(&mut handle), Ok(7));
    assert_eq!(numbers(group.stats()), [0, 0, 1, 0, 0]);
}

#[test]
fn one_that_finishes_in_the_poll_that_goes_on_keeps_its_value() {
    let mock = MockTask::new();
    let mut group = Group::new();
    let slot = Arc::new(std::sync::Mutex::new(None::<ChildHandle<usize>>));
    let own = Arc::clone(&slot);
    let (child, handle) = task(async move {
        own.lock().unwrap().as_ref().expect("it is there").abort();
        Ok::<_, &str>(7)
    })
    .joinable();
    *slot.lock().unwrap() = Some(handle);
    group.queue(child);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    let mut handle = slot.lock().unwrap().take().unwrap();
    assert_eq!(told(&mut handle), Ok(7));
    assert_eq!(group.stats().ok, 1);
}

#[test]
fn a_child_may_abort_itself_and_is_gone_after_that_poll() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new();
    let slot = Arc::new(std::sync::Mutex::new(None::<ChildHandle<usize>>));
    let own = Arc::clone(&slot);
    let (child, handle) = joinable(probe.watch(job(async move {
        own.lock().unwrap().as_ref().expect("it is there").abort();
        pending().await
    })));
    *slot.lock().unwrap() = Some(handle);
    group.queue(child);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (1, 1));
    assert_eq!(numbers(group.stats()), [0, 0, 0, 0, 1]);
}

#[test]
fn a_drop_after_the_abort_is_an_abort() {
    let mut group = Group::new();
    let (child, mut handle) = joinable(job(pending()));
    group.queue(child);
    assert!(MockTask::new().run(&mut group).is_pending());
    handle.abort();
    drop(group);
    assert_eq!(told(&mut handle), Err(Lost::Aborted));
}

#[test]
fn abort_on_drop_aborts_unless_the_child_has_ended() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new();
    let (child, handle) = joinable(probe.watch(job(pending())));
    group.queue(child);
    let handle = handle.abort_on_drop();
    assert!(mock.run(&mut group).is_pending());
    drop(handle);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops(), group.stats().dropped), (1, 1, 1));

    let mut group = Group::new();
    let (child, handle) = joinable(job(ready(Ok(1))));
    group.queue(child);
    let handle = handle.abort_on_drop();
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    drop(handle);
    assert_eq!(numbers(group.stats()), [0, 0, 1, 0, 0]);
}

#[test]
fn an_observer_is_told_of_an_abort() {
    let (mock, gate) = (MockTask::new(), Gate::new());
    let mut ends = Vec::new();
    let mut group = Group::new().with_limit(1).with_observer(|event: &Event| {
        if let Event::Finished { index, outcome, .. } = event {
            ends.push((*index, event.name().map(str::to_owned), *outcome));
        }
    });
    let (first, running) = task(waits(&gate, 0)).name("running").joinable();
    let (second, queued) = task(waits(&gate, 1)).name("queued").joinable();
    group.queue(first);
    group.queue(second);
    assert!(mock.run(&mut group).is_pending());
    queued.abort();
    running.abort();
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    drop(group);
    let name = |name: &str| Some(name.to_owned());
    let expected =
        [(None, name("queued"), Outcome::Dropped), (Some(0), name("running"), Outcome::Dropped)];
    assert_eq!(ends, expected);
}

#[test]
fn a_stream_gives_nothing_for_an_aborted_child_and_waits_for_nothing() {
    let (mock, gate) = (MockTask::new(), Gate::new());
    for in_order in [false, true] {
        let group = Group::new().with_limit(2);
        let mut results = group.results();
        if in_order {
            results = results.in_order();
        }
        let (child, handle) = joinable(job(pending()));
        results.queue(child);
        results.queue(joinable(job(ready(Err("second")))).0);
        results.queue(joinable(job(ready(Err("third")))).0);
        if in_order {
            assert!(mock.poll(&mut results.next()).is_pending(), "both have their room");
        }
        handle.abort();
        let all = mock.finish(results.by_ref().collect::<Vec<_>>());
        assert_eq!(all, [Err("second"), Err("third")]);
        assert_eq!(numbers(results.stats()), [0, 0, 0, 2, 1]);
    }
    drop(gate);
}

#[test]
fn a_queued_child_that_the_destructor_of_another_aborts_is_dropped_before_the_task_sleeps() {
    let (mock, drops) = (MockTask::new(), DropCounter::default());
    let mut group = Group::new().with_limit(1);
    group.queue(joinable(job(pending())).0);
    let guarded = |guard: Box<dyn Send>| {
        joinable(job(async move {
            let _guard = guard;
            pending().await
        }))
    };
    let (second, of_second) = guarded(Box::new(drops.guard()));
    let (first, of_first) = guarded(Box::new(OnDrop(move || of_second.abort())));
    group.queue(first);
    group.queue(second);
    assert!(mock.run(&mut group).is_pending());
    of_first.abort();
    assert!(mock.run(&mut group).is_pending());
    assert_eq!((numbers(group.stats()), drops.get()), ([0, 1, 0, 0, 2], 1));
}

#[test]
fn in_order_no_result_waits_for_a_child_that_was_aborted_before() {
    for is_stream in [false, true] {
        let (mock, gate) = (MockTask::new(), Gate::new());
        let mut group = Group::new().with_limit(3);
        let (child, handle) = joinable(job(pending()));
        group.queue(child);
        group.queue(joinable(fails(&gate, 1, "first")).0);
        group.queue(joinable(fails(&gate, 2, "second")).0);
        handle.abort();
        let results = if is_stream {
            let mut results = group.results();
            assert!(mock.poll(&mut results.next()).is_pending());
            results
        } else {
            assert!(mock.poll(&mut group).is_pending());
            group.results()
        };
        let mut results = results.in_order();
        gate.open(1);
        assert_eq!(mock.poll(&mut results.next()), Poll::Ready(Some(Err("first"))));
        gate.open(2);
        assert_eq!(mock.poll(&mut results.next()), Poll::Ready(Some(Err("second"))));
        assert_eq!(mock.poll(&mut results.next()), Poll::Ready(None));
    }
}

// === kinds ===

#[test]
fn children_may_borrow_and_be_of_one_type_and_not_send() {
    let mock = MockTask::new();
    let text = String::from("borrowed");
    let mut group = Group::new();
    let (child, mut handle) = task(async { Ok::<_, &str>(text.len()) }).joinable();
    group.queue(child);
    assert_eq!(mock.finish(group), Ok(()));
    assert_eq!(told(&mut handle), Ok(8));

    let mut group: Group<Plain<Joinable<Job>>> = Group::unboxed();
    let (child, mut handle) = joinable(job(pending()));
    group.queue(child);
    assert!(mock.run(&mut group).is_pending());
    handle.abort();
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(told(&mut handle), Err(Lost::Aborted));

    let shared = Rc::new(7);
    let mut group = Group::local();
    let (child, mut handle) = task(async { Ok::<_, &str>(Rc::clone(&shared)) }).joinable();
    group.queue(child);
    let waits = async {
        let never: Rc<()> = pending().await;
        Ok::<_, &str>(Rc::strong_count(&never))
    };
    let (child, not_send) = task(waits).joinable();
    group.queue(child);
    assert!(mock.run(&mut group).is_pending());
    thread::scope(|scope| scope.spawn(|| not_send.abort()).join().unwrap());
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(told(&mut handle), Ok(Rc::clone(&shared)));
}

#[test]
fn on_an_executor_the_value_and_the_ends_come_as_well() {
    let (pool, mock, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = Group::on(pool.spawn()).all_errors();
    let (child, mut value) = joinable(waits(&gate, 0));
    group.queue(child);
    let (child, mut failed) = joinable(fails(&gate, 1, "broken"));
    group.queue(child);
    pool.poll_all();
    assert!(mock.run(&mut group).is_pending());
    gate.open(0);
    pool.poll(0);
    assert_eq!(told(&mut value), Ok(0), "before the group knows");
    gate.open(1);
    pool.poll(1);
    assert_eq!(told(&mut failed), Err(Lost::Failed));
    assert!(mock.run(&mut group).is_ready());

    let mut group = Group::on(pool.spawn());
    let (child, mut dropped) = joinable(job(pending()));
    group.queue(child);
    let (child, mut panicked) = joinable(job(async { panic_any("a child") }));
    group.queue(child);
    pool.poll_all();
    assert_eq!(told(&mut panicked), Err(Lost::Panicked));
    drop(group);
    assert!(!dropped.is_finished());
    pool.poll_all();
    assert_eq!(told(&mut dropped), Err(Lost::Dropped));
}

#[test]
fn on_an_executor_an_abort_reaches_the_task() {
    let (pool, mock, probe) = (Pool::new(), MockTask::new(), Probe::new());
    let mut group = Group::on(pool.spawn()).with_limit(1);
    let (child, mut handle) = joinable(probe.watch(job(pending())));
    group.queue(child);
    let (child, mut queued) = joinable(probe.watch(job(pending())));
    group.queue(child);
    let (child, mut last) = joinable(job(ready(Ok(7))));
    group.queue(child);
    pool.poll_all();
    assert!(mock.run(&mut group).is_pending());
    queued.abort();
    assert_eq!(told(&mut queued), Err(Lost::Aborted));
    let wakes = pool.wakes(0);
    handle.abort();
    assert_eq!(pool.wakes(0), wakes + 1);
    pool.poll(0);
    assert_eq!(told(&mut handle), Err(Lost::Aborted));
    assert!(mock.run(&mut group).is_pending());
    assert_eq!((probe.polls(), probe.drops()), (1, 2));
    pool.poll_all();
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(told(&mut last), Ok(7));
    assert_eq!(numbers(group.stats()), [0, 0, 1, 0, 2]);
}

#[test]
fn on_an_executor_an_aborted_child_counts_as_dropped_before_the_group_is_polled() {
    for is_dropped in [false, true] {
        let (pool, mock) = (Pool::new(), MockTask::new());
        let mut group = Group::on(pool.spawn());
        let (child, handle) = joinable(job(pending()));
        group.queue(child);
        let stats = group.handle();
        pool.poll_all();
        handle.abort();
        pool.poll_all();
        assert_eq!(numbers(stats.stats()), [0, 0, 0, 0, 1]);
        if is_dropped {
            drop(group);
        } else {
            assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
        }
        assert_eq!(numbers(stats.stats()), [0, 0, 0, 0, 1]);
    }
}

#[test]
fn on_an_executor_the_next_of_the_queue_is_spawned_by_the_group() {
    let (pool, mock, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = Group::on(pool.spawn()).with_limit(2);
    group.queue(joinable(waits(&gate, 0)).0);
    let (heavy, handle) = joinable(job(pending()));
    group.queue(heavy.weight(2));
    let (child, mut light) = joinable(job(ready(Ok(7))));
    group.queue(child);
    assert!(mock.run(&mut group).is_pending());
    assert_eq!(pool.spawned(), 1);
    let before = mock.wakes();
    handle.abort();
    assert_eq!(mock.wakes(), before + 1);
    assert!(mock.run(&mut group).is_pending());
    assert_eq!(pool.spawned(), 2);
    pool.poll_all();
    assert_eq!(told(&mut light), Ok(7));
    gate.open(0);
    pool.poll_all();
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
}

// === threads ===

#[test]
fn aborts_from_another_thread_agree_with_the_numbers() {
    for round in 0..40 {
        let mut group = Group::new().with_limit(4);
        let mut handles = Vec::new();
        for n in 0..64 {
            let (child, handle) = joinable(job(async move {
                for _ in 0..n % 5 {
                    yield_now().await;
                }
                Ok(n)
            }));
            group.queue(child);
            handles.push(handle);
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let (first, second) = handles.split_at(round);
                first.iter().chain(second.iter().rev()).for_each(ChildHandle::abort);
            });
            assert_eq!(block_on(&mut group), Ok(()));
        });
        let endings: Vec<_> = handles.iter_mut().map(told).collect();
        let ok = endings.iter().filter(|ending| ending.is_ok()).count();
        assert!(endings.iter().all(|ending| ending.is_ok() || *ending == Err(Lost::Aborted)));
        assert_eq!(numbers(group.stats()), [0, 0, ok, 0, 64 - ok]);
    }
}

// === types ===

#[test]
fn a_handle_is_send_and_borrows_nothing_of_the_group() {
    fn check<X: Send + Sync + Unpin + 'static>(x: X) -> X {
        x
    }
    let text = String::from("borrowed");
    let not_send = Rc::new(());
    let (child, handle) = task(async {
        let _rc = Rc::clone(&not_send);
        if text.is_empty() { Err(&text) } else { Ok(7) }
    })
    .joinable();
    let handle = check(handle);
    drop(child);
    assert!(handle.is_finished());
}

#[test]
fn a_joinable_child_fits_where_a_future_does() {
    type Length<'a> = BoxFuture<'a, Result<usize, &'static str>>;
    fn boxed(text: &str) -> (Task<Joinable<Length<'_>>>, ChildHandle<usize>) {
        let future: Length<'_> = Box::pin(async { Ok(text.len()) });
        task(future).joinable()
    }
    async fn run(texts: Vec<String>) -> usize {
        let mut group: Group<Boxed<'_, (), &'static str>> = Group::new().with_limit(2);
        let mut handles = Vec::new();
        for text in &texts {
            let (child, handle) = boxed(text);
            handles.push(handle);
            if group.go(child).await.is_err() {
                break;
            }
        }
        group.await.unwrap();
        let mut sum = 0;
        for handle in handles {
            sum += handle.await.unwrap();
        }
        sum
    }
    fn send<F: Future + Send + 'static>(future: F) -> Pin<Box<F>> {
        Box::pin(future)
    }
    let sum = send(run(vec!["a".into(), "bc".into(), "def".into()]));
    assert_eq!(MockTask::new().finish(sum), 6);
}

#[test]
fn lost_says_what_happened() {
    let texts = [
        (Lost::Failed, "the child failed: its error is the group's"),
        (Lost::Panicked, "the child panicked"),
        (Lost::Dropped, "the child was dropped before it had finished"),
        (Lost::Aborted, "the child was aborted"),
    ];
    for (lost, text) in texts {
        assert_eq!(lost.to_string(), text);
        assert!((&lost as &dyn Error).source().is_none());
    }
}

#[test]
fn a_joinable_child_without_a_group_is_a_future_as_well() {
    let (child, mut handle) = joinable(job(ready(Ok(7))));
    assert_eq!(MockTask::new().finish(child.into_inner()), Ok(()));
    assert_eq!(told(&mut handle), Ok(7));
    let (child, mut handle) = joinable(job(pending()));
    let mut child = Box::pin(child.into_inner());
    let mock = MockTask::new();
    assert!(mock.poll(&mut child).is_pending());
    handle.abort();
    assert_eq!(mock.wakes(), 1);
    assert_eq!(mock.poll(&mut child), Poll::Ready(Ok(())));
    assert_eq!(told(&mut handle), Err(Lost::Aborted));
    assert!(mock.poll(&mut child).is_pending());
}

#[test]
fn a_child_aborted_in_the_queue_of_a_stream_is_dropped_though_results_are_unread() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group: Group<Boxed<'static, (), &str>> = Group::new().with_limit(3);
    // Three of them are before it in the queue.
    (0..6).for_each(|_| group.queue(ready(Ok(()))));
    let (child, handle) = task(probe.watch(pending::<Result<usize, _>>())).joinable();
    group.queue(child);
    let mut results = group.results();
    assert_eq!(mock.poll(&mut results.next()), Poll::Ready(Some(Ok(()))));
    handle.abort();
    for _ in 0..2 {
        assert_eq!(mock.poll(&mut results.next()), Poll::Ready(Some(Ok(()))));
        assert_eq!((probe.polls(), probe.drops()), (0, 1));
    }
    assert_eq!(mock.finish(results.count()), 3);
}
