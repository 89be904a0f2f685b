//! No child outlives its group or the group's end.

use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::common::{Gate, Job, Log, MockTask, OnDrop, Probe, Value, Values, job, waits};
use errgroup::{Boxed, Child, Children, Group, Handle, Reason};
use futures::stream;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

#[test]
fn every_child_is_dropped_as_soon_as_it_finishes() {
    fn scenario<C>(group: Group<C>, count: usize)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        for n in 0..count {
            group.queue(probe.watch(waits(&gate, n)));
        }
        for n in 0..count {
            assert!(task.poll(&mut group).is_pending());
            assert_eq!(probe.drops(), n);
            gate.open(n);
        }
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!(probe.drops(), count);
        drop(group);
        assert_eq!(probe.drops(), count);
    }
    for count in [1, 2, 63, 64, 65, 130] {
        scenario(Group::new(), count);
        scenario(Group::local(), count);
        scenario(Group::unboxed(), count);
    }
}

#[test]
fn a_finished_child_is_dropped_before_the_next_one_is_polled() {
    let (task, log) = (MockTask::new(), Log::new());
    let mut group = Jobs::new();
    for n in 0..3 {
        let (polled, dropped) = (log.clone(), log.clone());
        let gone = OnDrop(move || dropped.add(format!("{n} gone")));
        group.queue(poll_fn(move |_| {
            let _ = &gone;
            polled.add(format!("{n} polled"));
            Poll::Ready(Ok(n))
        }));
    }
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    let expected = ["0 polled", "0 gone", "1 polled", "1 gone", "2 polled", "2 gone"];
    assert_eq!(log.take(), expected);
}

#[test]
fn a_dropped_group_cancels_its_token_first_and_then_drops_the_children() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
        let mut group = group.with_limit(2);
        let token = group.token().clone();
        let child = |what: &'static str, number| {
            let (log, token, gate) = (log.clone(), token.clone(), gate.wait(number));
            let gone = OnDrop(move || log.add(format!("{what}: {:?}", token.reason())));
            job(async move {
                let _gone = gone;
                gate.await;
                Ok(number)
            })
        };
        group.queue(child("running", 0));
        assert!(task.poll(&mut group).is_pending());
        group.queue(child("admitted", 1));
        group.queue(child("queued", 2));
        group.queue(child("queued", 3));
        drop(group);
        let mut gone = log.take();
        gone.sort();
        let expected = ["admitted", "queued", "queued", "running"]
            .map(|what| format!("{what}: Some(Dropped)"));
        assert_eq!(gone, expected);
        assert_eq!(token.reason(), Some(Reason::Dropped));
        assert_eq!(task.wakes(), 0);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_dropped_group_drops_each_child_once_and_polls_none() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(100);
        let handle = group.handle();
        for n in 0..150 {
            group.queue(probe.watch(waits(&gate, n)));
        }
        (0..30).for_each(|n| gate.open(n));
        assert!(task.poll(&mut group).is_pending());
        let polls = probe.polls();
        assert_eq!((polls, probe.drops()), (130, 30));
        drop(group);
        assert_eq!((probe.polls(), probe.drops()), (polls, 150));
        let stats = handle.stats();
        assert_eq!((stats.ok, stats.dropped, stats.running, stats.queued), (30, 120, 0, 0));
        // The children's wakers now wake no task.
        (30..150).for_each(|n| gate.open(n));
        assert_eq!((probe.polls(), task.wakes()), (polls, 0));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_dropped_group_gives_waiters_their_children_back() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (gate, probe) = (Gate::new(), Probe::new());
        let mut group = group.with_limit(1);
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        let (going, feeding) = (MockTask::new(), MockTask::new());
        let mut go = pin!(handle.go(probe.watch(ready(Ok(7)))));
        let mut feed = pin!(handle.feed(stream::iter([probe.watch(ready(Ok(8)))])));
        assert!(going.poll(&mut go).is_pending());
        assert!(feeding.poll(&mut feed).is_pending());
        drop(group);
        assert_eq!((going.wakes(), feeding.wakes()), (1, 1));
        let Poll::Ready(Err(stopped)) = going.poll(&mut go) else {
            panic!("the group was not dropped");
        };
        assert_eq!(feeding.poll(&mut feed), Poll::Ready(0));
        assert_eq!(probe.polls(), 0);
        assert_eq!(going.finish(stopped.into_inner()), Ok(7));
        assert!(handle.is_stopped());
        handle.queue(probe.watch(ready(Ok(9))));
        assert_eq!((probe.polls(), handle.stats().dropped), (1, 2));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn every_child_is_dropped_when_the_output_comes() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new().with_limit(2);
    group.queue(probe.watch(waits(&gate, 0)));
    group.queue(probe.watch(ready(Err("broken"))));
    for n in 0..5 {
        group.queue(probe.watch(ready(Ok(n))));
    }
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(probe.drops(), 6);
    gate.open(0);
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
    assert_eq!(probe.drops(), 7);
}

#[test]
fn a_group_dropped_without_a_poll_never_polls_its_children() {
    let probe = Probe::new();
    let mut group = Jobs::new().with_limit(2);
    for n in 0..5 {
        group.queue(probe.watch(ready(Ok(n))));
    }
    drop(group);
    assert_eq!((probe.polls(), probe.drops()), (0, 5));
}

#[test]
fn a_group_dropped_while_its_go_waited_drops_all_children() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new().with_limit(1);
    group.queue(probe.watch(waits(&gate, 0)));
    assert!(task.poll_pinned(pin!(group.go(probe.watch(ready(Ok(1)))))).is_pending());
    assert_eq!(probe.drops(), 1);
    drop(group);
    assert_eq!((probe.polls(), probe.drops()), (1, 2));
}

#[test]
fn children_may_borrow_and_are_dropped_when_the_borrow_ends() {
    let task = MockTask::new();
    let log = Log::new();
    let mut names = vec![String::from("a"), String::from("b")];
    {
        let mut group = Group::new();
        for name in &mut names {
            let log = &log;
            group.queue(async move {
                name.push('!');
                log.add(name.clone());
                Ok::<usize, &str>(0)
            });
        }
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    }
    assert_eq!(names, ["a!", "b!"]);
    assert_eq!(log.take(), ["a!", "b!"]);
}

/// Makes a child that uses its group's handle when it is dropped.
fn uses_handle_on_drop(
    handle: Handle<Boxed<'static, usize, &'static str>>,
    probe: &Probe,
    child: Job,
) -> impl Future<Output = Result<usize, &'static str>> + Send + use<> {
    let probe = probe.clone();
    let mut child = child;
    let gone = OnDrop(move || {
        let before = handle.stats();
        handle.queue(probe.watch(ready(Ok(1))));
        let _ = handle.try_go(probe.watch(ready(Ok(1))));
        handle.set_limit(handle.limit());
        let after = handle.stats();
        assert!(
            after.running + after.queued + after.dropped
                > before.running + before.queued + before.dropped
        );
    });
    poll_fn(move |cx| {
        let _ = &gone;
        child.as_mut().poll(cx)
    })
}

#[test]
fn a_childs_destructor_may_use_the_handle() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    // When the child finishes.
    let mut group = Jobs::new();
    let handle = group.handle();
    group.queue(uses_handle_on_drop(handle.clone(), &probe, Box::pin(ready(Ok(0)))));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops(), handle.stats().ok), (2, 2, 3));

    // When a stop drops it from the queue.
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    group.queue(uses_handle_on_drop(handle.clone(), &probe, waits(&gate, 1)));
    assert!(task.poll(&mut group).is_pending());
    group.token().cancel();
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((probe.polls(), probe.drops()), (2, 4));

    // When the group's drop drops it: running, admitted, queued.
    let mut group = Jobs::new().with_limit(2);
    let handle = group.handle();
    group.queue(uses_handle_on_drop(handle.clone(), &probe, waits(&gate, 2)));
    assert!(task.poll(&mut group).is_pending());
    group.queue(uses_handle_on_drop(handle.clone(), &probe, waits(&gate, 3)));
    group.queue(uses_handle_on_drop(handle.clone(), &probe, waits(&gate, 4)));
    drop(group);
    assert_eq!((probe.polls(), probe.drops()), (2, 10));
    let stats = handle.stats();
    assert_eq!((stats.running, stats.queued), (0, 0));

    // When `queue` drops it, because the group is over.
    handle.queue(uses_handle_on_drop(handle.clone(), &probe, waits(&gate, 5)));
    assert_eq!((probe.polls(), probe.drops()), (2, 12));
}

#[test]
fn a_destructor_may_drop_another_waiters_go() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    let (going, behind) = (MockTask::new(), MockTask::new());
    let waiter = Arc::new(Mutex::new(None));
    let gone = OnDrop({
        let waiter = Arc::clone(&waiter);
        move || drop(waiter.lock().unwrap().take())
    });
    let mut inner = gate.wait(0);
    group.queue(poll_fn(move |cx| {
        let _ = &gone;
        std::pin::Pin::new(&mut inner).poll(cx).map(|()| Ok(0))
    }));
    let mut first = Box::pin(handle.go(probe.watch(ready(Ok(1)))));
    assert!(going.poll(&mut first).is_pending());
    *waiter.lock().unwrap() = Some(first);
    let mut second = Box::pin(handle.go(probe.watch(ready(Ok(2)))));
    assert!(behind.poll(&mut second).is_pending());
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert_eq!((going.wakes(), behind.wakes(), probe.drops()), (0, 1, 1));
    assert!(behind.poll(&mut second).is_ready());
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(probe.polls(), 1);
}

#[test]
fn what_a_child_returns_may_use_the_handle_when_it_is_dropped() {
    let task = MockTask::new();
    let mut group = Values::new().with_limit(1);
    let handle = group.handle();
    for _ in 0..2 {
        let handle = handle.clone();
        let value = Value::new("looks", move || assert!(handle.stats().ok < 9));
        group.queue(async move { Ok(value) });
    }
    assert!(task.finish(group).is_ok());
}

#[test]
fn a_hundred_thousand_children_are_dropped_without_recursion() {
    let probe = Probe::new();
    let mut group = Jobs::new().with_limit(10);
    for n in 0..100_000 {
        group.queue(probe.watch(ready(Ok(n))));
    }
    drop(group);
    assert_eq!(probe.drops(), 100_000);
}
