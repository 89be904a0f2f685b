//! `queue` never waits and never fails, and no queued child is forgotten.

use std::future::ready;
use std::task::Poll;

use crate::common::{Gate, Job, Log, MockTask, OnDrop, Probe, job, panic_message, waits};
use errgroup::{Boxed, Child, Children, Group, TryGoError};

type Jobs = Group<Boxed<'static, usize, &'static str>>;

#[test]
fn with_room_a_child_is_admitted_at_the_call_and_polled_by_the_group() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group.with_limit(2);
        group.queue(probe.watch(ready(Ok(1))));
        group.handle().queue(probe.watch(ready(Ok(2))));
        assert_eq!((group.stats().running, group.stats().queued), (2, 0));
        group.queue(probe.watch(ready(Ok(3))));
        assert_eq!((group.stats().running, group.stats().queued), (2, 1));
        assert_eq!(probe.polls(), 0);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.polls(), probe.drops(), group.stats().ok), (3, 3, 3));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn room_left_in_a_poll_is_used_in_that_poll() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(1);
        group.queue(waits(&gate, 0));
        for n in 0..10 {
            group.queue(probe.watch(ready(Ok(n))));
        }
        group.queue(probe.watch(waits(&gate, 1)));
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(probe.polls(), 0);
        gate.open(0);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((probe.polls(), probe.drops(), task.wakes()), (11, 10, 1));
        gate.open(1);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_stop_drops_queued_children_unpolled_and_counts_them() {
    fn scenario<C>(group: Group<C>, how: &str)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(1);
        let (handle, token) = (group.handle(), group.token().clone());
        let wait = gate.wait(0);
        let how_it_ends = how.to_owned();
        group.queue(job(async move {
            wait.await;
            match &*how_it_ends {
                "a failure" => Err("broken"),
                "a panic" => std::panic::panic_any("oh no"),
                _ => Ok(0),
            }
        }));
        for n in 0..100 {
            group.queue(probe.watch(ready(Ok(n))));
        }
        assert!(task.poll(&mut group).is_pending());
        if how == "a cancel" {
            token.cancel();
        }
        gate.open(0);
        match how {
            "a drop" => drop(group),
            "a panic" => assert_eq!(panic_message(|| task.poll(&mut group)), "oh no"),
            "a failure" => assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken"))),
            _ => assert_eq!(task.poll(&mut group), Poll::Ready(Ok(()))),
        }
        assert_eq!((probe.polls(), probe.drops()), (0, 100), "{how}");
        let (stats, ended) = (handle.stats(), usize::from(how == "a panic" || how == "a drop"));
        assert_eq!((stats.queued, stats.running), (0, 0));
        assert_eq!((stats.dropped, stats.ok + stats.failed), (100 + ended, 1 - ended), "{how}");
    }
    for how in ["a failure", "a cancel", "a panic", "a drop"] {
        scenario(Group::new(), how);
        scenario(Group::local(), how);
        scenario(Group::unboxed(), how);
    }
}

#[test]
fn a_child_queued_after_a_stop_is_dropped_at_the_call_and_counted() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        assert!(task.poll(&mut group).is_pending());
        group.token().cancel();
        group.queue(probe.watch(ready(Ok(1))));
        assert_eq!((probe.drops(), group.stats().dropped), (1, 1));
        handle.queue(probe.watch(ready(Ok(2))));
        assert_eq!((probe.drops(), group.stats().dropped), (2, 2));
        gate.open(0);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        group.queue(probe.watch(ready(Ok(3))));
        handle.queue(probe.watch(ready(Ok(4))));
        assert_eq!((probe.drops(), group.stats().dropped), (4, 4));
        drop(group);
        handle.queue(probe.watch(ready(Ok(5))));
        assert_eq!((probe.drops(), handle.stats().dropped), (5, 5));
        assert_eq!(probe.polls(), 0);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_child_queued_by_a_child_is_run() {
    let (task, log) = (MockTask::new(), Log::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    let child_log = log.clone();
    group.queue(async move {
        child_log.add("the first");
        for n in 0..3 {
            let child_log = child_log.clone();
            handle.queue(async move {
                child_log.add(format!("its {n}"));
                Ok(n)
            });
        }
        child_log.add("the first, still");
        Ok(0)
    });
    let child_log = log.clone();
    group.queue(async move {
        child_log.add("the second");
        Ok(0)
    });
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    let expected = ["the first", "the first, still", "the second", "its 0", "its 1", "its 2"];
    assert_eq!(log.take(), expected);
    assert_eq!(task.wakes(), 0);
}

#[test]
fn the_last_child_may_queue_another_as_it_ends() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    let handle = group.handle();
    let other = probe.clone();
    let gone = OnDrop(move || handle.queue(other.watch(ready(Ok(1)))));
    group.queue(std::future::poll_fn(move |_| {
        let _ = &gone;
        Poll::Ready(Ok(0))
    }));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), group.stats().ok), (1, 2));
}

#[test]
fn an_iterator_that_extends_a_group_may_use_its_handle() {
    let task = MockTask::new();
    let mut group = Jobs::new().with_limit(1).collect();
    let handle = group.handle();
    group.extend((0..3).map(|n| {
        handle.queue(job(ready(Ok(10 + n))));
        job(ready(Ok(n)))
    }));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![10, 0, 11, 1, 12, 2])));
}

#[test]
fn a_hundred_thousand_queued_children_run_in_turn() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new().with_limit(3);
    for n in 0..100_000 {
        group.queue(probe.watch(ready(Ok(n))));
    }
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (100_000, 100_000));
    assert_eq!(task.wakes(), 100_000 / 4096);
}

// === try_queue, and a bounded queue ===

#[test]
fn try_queue_queues_or_gives_the_child_back() {
    fn scenario<C>(group: Group<C>, with_handle: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group.with_limit(1);
        let handle = with_handle.then(|| group.handle());
        let child = || probe.watch(ready(Ok(1)));
        assert!(group.try_queue(child()).is_ok());
        assert!(group.try_queue(child()).is_ok());
        assert_eq!((group.stats().running, group.stats().queued), (1, 1));
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!(probe.drops(), 2);
        let Err(TryGoError::Closed(back)) = group.try_queue(child()) else { panic!("resolved") };
        assert_eq!((probe.drops(), group.stats().dropped), (2, 0));
        if let Some(handle) = handle {
            assert!(matches!(handle.try_queue(back), Err(TryGoError::Closed(_))));
        }
        assert!(matches!(group.try_go(child()), Err(TryGoError::Stopped(_))));
        assert_eq!(group.stats().dropped, 0);
    }
    for with_handle in [false, true] {
        scenario(Group::new(), with_handle);
        scenario(Group::local(), with_handle);
        scenario(Group::unboxed(), with_handle);
    }
}

#[test]
fn try_queue_gives_the_child_back_after_a_stop() {
    for with_handle in [false, true] {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = Jobs::new().with_limit(1);
        let handle = with_handle.then(|| group.handle());
        group.queue(waits(&gate, 0));
        group.token().cancel();
        assert!(matches!(group.try_queue(waits(&gate, 1)), Err(TryGoError::Stopped(_))));
        gate.open(0);
        assert!(task.poll(&mut group).is_ready());
        assert!(matches!(group.try_queue(waits(&gate, 1)), Err(TryGoError::Stopped(_))));
        drop(group);
        if let Some(handle) = handle {
            assert!(matches!(handle.try_queue(waits(&gate, 1)), Err(TryGoError::Stopped(_))));
        }
    }
}

#[test]
fn a_full_queue_takes_no_child() {
    fn scenario<C>(group: Group<C>, with_handle: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(1).with_queue_limit(2);
        let handle = with_handle.then(|| group.handle());
        for n in 0..3 {
            assert!(group.try_queue(waits(&gate, n)).is_ok());
        }
        let refused = group.try_queue(probe.watch(ready(Ok(3))));
        assert!(matches!(refused, Err(TryGoError::AtLimit(_))));
        drop(refused);
        group.queue(probe.watch(ready(Ok(3))));
        assert_eq!((probe.drops(), probe.polls()), (2, 0));
        let stats = group.stats();
        assert_eq!((stats.running, stats.queued, stats.dropped), (1, 2, 1));
        if let Some(handle) = &handle {
            assert!(matches!(handle.try_queue(waits(&gate, 3)), Err(TryGoError::AtLimit(_))));
            // A waiter is no child in the queue.
            let mut go = handle.go(waits(&gate, 4));
            assert!(task.poll(&mut go).is_pending());
        }
        gate.open(0);
        assert!(task.poll(&mut group).is_pending());
        assert!(group.try_queue(waits(&gate, 3)).is_ok());
        (1..4).for_each(|n| gate.open(n));
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((group.stats().ok, group.stats().dropped), (4, 1));
    }
    for with_handle in [false, true] {
        scenario(Group::new(), with_handle);
        scenario(Group::local(), with_handle);
        scenario(Group::unboxed(), with_handle);
    }
}

#[test]
fn with_a_queue_of_none_a_child_needs_room_at_once() {
    let gate = Gate::new();
    let mut group = Jobs::new().with_limit(1).with_queue_limit(0);
    assert!(group.try_queue(waits(&gate, 0)).is_ok());
    assert!(matches!(group.try_queue(waits(&gate, 1)), Err(TryGoError::AtLimit(_))));
    group.extend([waits(&gate, 2), waits(&gate, 3)]);
    assert_eq!((group.stats().queued, group.stats().dropped), (0, 2));
}

#[test]
fn an_observer_is_told_what_a_full_queue_drops() {
    let (log, task) = (Log::new(), MockTask::new());
    let told = log.clone();
    let mut group = Jobs::new()
        .with_limit(1)
        .with_queue_limit(0)
        .with_observer(move |event: &errgroup::Event| told.add(format!("{event:?}")));
    group.queue(job(ready(Ok(0))));
    group.queue(job(ready(Ok(1))));
    assert!(group.try_queue(job(ready(Ok(2)))).is_err());
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    let rejected = "Rejected { name: None, key: None, stopped: false }";
    assert_eq!(log.take().iter().filter(|event| *event == rejected).count(), 2);
}

#[test]
#[cfg(feature = "std")]
fn the_child_of_a_nested_go_is_queued_though_the_queue_is_full() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1).with_queue_limit(1);
    let handle = group.handle();
    let inner = waits(&gate, 0);
    group.queue(job(async move {
        assert!(handle.go(inner).await.is_ok());
        Ok(1)
    }));
    group.queue(job(ready(Ok(2))));
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((group.stats().ok, group.stats().dropped), (3, 0));
}
