//! Children are admitted in the order in which they came, over `go`, `queue`, `feed` and handles.

use std::future::ready;
use std::pin::pin;
use std::task::Poll;

use crate::common::{Gate, Job, Log, MockTask, Probe, job, waits};
use errgroup::{Boxed, Child, Children, Group, TryGoError};
use futures::stream;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// Makes a child that logs its first poll and is done.
fn logs(log: &Log, what: &'static str) -> Job {
    let log = log.clone();
    job(async move {
        log.add(what);
        Ok(0)
    })
}

#[test]
fn children_are_first_polled_in_the_order_in_which_they_were_admitted() {
    fn scenario<C>(group: Group<C>, limit: Option<usize>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let log = Log::new();
        let mut group = group;
        group.set_limit(limit);
        for n in 0..300 {
            let log = log.clone();
            group.queue(job(async move {
                log.add(n.to_string());
                Ok(n)
            }));
        }
        assert_eq!(MockTask::new().finish(group), Ok(()));
        let expected: Vec<_> = (0..300).map(|n: usize| n.to_string()).collect();
        assert_eq!(log.take(), expected);
    }
    for limit in [None, Some(1), Some(2), Some(64), Some(65)] {
        scenario(Group::new(), limit);
        scenario(Group::local(), limit);
        scenario(Group::unboxed(), limit);
    }
}

#[test]
fn however_they_are_added_children_are_first_polled_in_the_order_of_admission() {
    let (task, log) = (MockTask::new(), Log::new());
    let mut group = Jobs::new();
    let handle = group.handle();
    assert!(handle.try_go(logs(&log, "a handle's try_go")).is_ok());
    assert!(task.finish(group.go(logs(&log, "the group's go"))).is_ok());
    handle.queue(logs(&log, "a handle's queue"));
    assert!(group.try_go(logs(&log, "the group's try_go")).is_ok());
    assert!(task.finish(handle.go(logs(&log, "a handle's go"))).is_ok());
    group.queue(logs(&log, "the group's queue"));
    let children = stream::iter([logs(&log, "a handle's feed")]);
    assert_eq!(task.finish(handle.feed(children)), 1);
    assert!(task.finish(group.go(logs(&log, "the group's go, again"))).is_ok());
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    let expected = [
        "a handle's try_go",
        "the group's go",
        "a handle's queue",
        "the group's try_go",
        "a handle's go",
        "the group's queue",
        "a handle's feed",
        "the group's go, again",
    ];
    assert_eq!(log.take(), expected);
}

#[test]
fn one_queue_serves_go_queue_feed_and_handles() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (log, gate, task) = (Log::new(), Gate::new(), MockTask::new());
        let mut group = group.with_limit(1);
        let (one, two) = (group.handle(), group.handle());
        group.queue(waits(&gate, 0));
        let waiting = MockTask::new();
        let mut first = pin!(one.go(logs(&log, "a handle's go")));
        assert!(waiting.poll(&mut first).is_pending());
        group.queue(logs(&log, "the group's queue"));
        let mut third = pin!(two.feed(stream::iter([logs(&log, "a handle's feed")])));
        assert!(waiting.poll(&mut third).is_pending());
        two.queue(logs(&log, "a handle's queue"));
        let mut fifth = pin!(two.go(logs(&log, "another handle's go")));
        assert!(waiting.poll(&mut fifth).is_pending());
        one.queue(logs(&log, "the last"));

        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        // The latest waiters are polled first, before their turn.
        let (mut firsts, mut thirds, mut fifths) = (None, None, None);
        for _ in 0..20 {
            if fifths.is_none() && waiting.poll(&mut fifth).is_ready() {
                fifths = Some(());
            }
            if thirds.is_none() && waiting.poll(&mut third).is_ready() {
                thirds = Some(());
            }
            if firsts.is_none() && waiting.poll(&mut first).is_ready() {
                firsts = Some(());
            }
            if task.poll(&mut group).is_ready() {
                break;
            }
        }
        let expected = [
            "a handle's go",
            "the group's queue",
            "a handle's feed",
            "a handle's queue",
            "another handle's go",
            "the last",
        ];
        assert_eq!(log.take(), expected);
        assert!(firsts.is_some() && thirds.is_some() && fifths.is_some());
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn the_groups_own_go_queues_behind_the_queued_children() {
    let (log, gate, task) = (Log::new(), Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    group.queue(waits(&gate, 0));
    group.queue(logs(&log, "queued"));
    let handle = group.handle();
    {
        let mut go = pin!(group.go(logs(&log, "waited in go")));
        assert!(task.poll(&mut go).is_pending());
        handle.queue(logs(&log, "queued behind it"));
        gate.open(0);
        assert!(task.run(&mut go).is_ready());
    }
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(log.take(), ["queued", "waited in go", "queued behind it"]);
}

#[test]
fn a_feed_queues_for_each_of_its_children() {
    let (log, gate, task) = (Log::new(), Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let children = [logs(&log, "fed 1"), logs(&log, "fed 2")];
    let mut feed = pin!(handle.feed(stream::iter(children)));
    assert!(task.poll(&mut feed).is_pending());
    group.queue(logs(&log, "queued"));
    gate.open(0);
    let all = async { futures::join!(feed, group) };
    assert_eq!(task.finish(all), (2, Ok(())));
    assert_eq!(log.take(), ["fed 1", "queued", "fed 2"]);
}

#[test]
fn no_newcomer_overtakes_a_waiter_with_a_reservation() {
    let (log, gate, task, going) = (Log::new(), Gate::new(), MockTask::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut go = pin!(handle.go(logs(&log, "waited")));
    assert!(going.poll(&mut go).is_pending());
    gate.open(0);
    assert!(task.poll(&mut group).is_pending(), "one child waits for room");
    // No child runs, and still there is no room:
    assert_eq!(group.stats().running, 0);
    assert!(matches!(group.try_go(logs(&log, "overtook")), Err(TryGoError::AtLimit(_))));
    assert!(matches!(handle.try_go(logs(&log, "overtook")), Err(TryGoError::AtLimit(_))));
    handle.queue(logs(&log, "was queued"));
    assert_eq!((group.stats().running, group.stats().queued), (0, 1));
    {
        let mut late = pin!(group.go(logs(&log, "came later")));
        assert!(task.poll(&mut late).is_pending());
        assert!(going.poll(&mut go).is_ready());
        assert!(task.run(&mut late).is_ready());
    }
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(log.take(), ["waited", "was queued", "came later"]);
}

#[test]
fn a_queued_child_behind_a_waiter_waits_for_it_even_with_room_left() {
    let (log, gate, task, going) = (Log::new(), Gate::new(), MockTask::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut go = pin!(handle.go(logs(&log, "first")));
    assert!(going.poll(&mut go).is_pending());
    group.queue(logs(&log, "second"));
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), [""; 0], "it is the turn of the waiter in go");
    assert_eq!(going.wakes(), 1);
    assert!(going.poll(&mut go).is_ready());
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(log.take(), ["first", "second"]);
}

#[test]
fn a_go_dropped_while_it_waits_lets_those_behind_it_move_up() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
        let mut group = group.with_limit(1);
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        let (gives_up, behind) = (MockTask::new(), MockTask::new());
        let mut first = Box::pin(handle.go(probe.watch(ready(Ok(1)))));
        let mut second = Box::pin(handle.go(waits(&gate, 2)));
        assert!(gives_up.poll(&mut first).is_pending());
        assert!(behind.poll(&mut second).is_pending());
        drop(first);
        assert_eq!((probe.polls(), probe.drops()), (0, 1));
        assert_eq!(behind.wakes(), 0, "there is no room yet");
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((gives_up.wakes(), behind.wakes()), (0, 1));
        assert!(behind.poll(&mut second).is_ready());
        gate.open(2);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!(group.stats().ok + group.stats().dropped, 2);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_go_dropped_with_its_reservation_passes_the_room_on() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let (gives_up, behind) = (MockTask::new(), MockTask::new());
    let mut first = Box::pin(handle.go(waits(&gate, 1)));
    let mut second = Box::pin(handle.go(waits(&gate, 2)));
    assert!(gives_up.poll(&mut first).is_pending());
    assert!(behind.poll(&mut second).is_pending());
    group.queue(waits(&gate, 3));
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((gives_up.wakes(), behind.wakes()), (1, 0));
    drop(first);
    assert_eq!(behind.wakes(), 1);
    drop(second);
    // The last in the queue was a queued child: that drop admits it, and the group is woken.
    assert_eq!((group.stats().running, group.stats().queued), (1, 0));
    assert_eq!(task.wakes(), 1);
    gate.open(3);
    assert_eq!(task.finish(group), Ok(()));
}

#[test]
fn the_last_waiter_that_gives_up_lets_the_group_resolve() {
    let (gate, task, going) = (Gate::new(), MockTask::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut go = Box::pin(handle.go(waits(&gate, 1)));
    assert!(going.poll(&mut go).is_pending());
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    let before = task.wakes();
    drop(go);
    assert_eq!(task.wakes(), before + 1);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn the_groups_own_go_dropped_while_it_waits_leaves_no_trace() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
        let mut group = group.with_limit(1);
        group.queue(waits(&gate, 0));
        {
            let mut go = pin!(group.go(probe.watch(ready(Ok(1)))));
            assert!(task.poll(&mut go).is_pending());
            gate.open(0);
            // It has a reservation and is not polled any more.
        }
        assert_eq!((probe.polls(), probe.drops()), (0, 1));
        assert!(group.try_go(waits(&gate, 2)).is_err(), "the first has not been polled yet");
        assert!(task.poll(&mut pin!(group.go(waits(&gate, 2)))).is_ready());
        gate.open(2);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!(group.stats().ok, 2);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_go_that_moves_to_another_task_is_woken_there() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let (old, new) = (MockTask::new(), MockTask::new());
    let mut go = pin!(handle.go(waits(&gate, 1)));
    assert!(old.poll(&mut go).is_pending());
    assert!(new.poll(&mut go).is_pending());
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((old.wakes(), new.wakes()), (0, 1));
}

#[test]
fn a_waiter_that_is_polled_again_keeps_its_position() {
    let (log, gate, task) = (Log::new(), Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let going = MockTask::new();
    let mut first = pin!(handle.go(logs(&log, "first")));
    let mut second = pin!(handle.go(logs(&log, "second")));
    assert!(going.poll(&mut first).is_pending());
    assert!(going.poll(&mut second).is_pending());
    for _ in 0..3 {
        assert!(going.poll(&mut first).is_pending());
    }
    gate.open(0);
    let all = async { futures::join!(second, first, group) };
    let (second, first, output) = task.finish(all);
    assert!(second.is_ok() && first.is_ok() && output.is_ok());
    assert_eq!(log.take(), ["first", "second"]);
}

#[test]
fn one_hundred_waiters_are_admitted_one_by_one_in_their_order() {
    let (log, gate, task) = (Log::new(), Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let waiters: Vec<_> = (0..100)
        .map(|n| {
            let log = log.clone();
            let mut go = Box::pin(handle.go(job(async move {
                log.add(n.to_string());
                Ok(n)
            })));
            let going = MockTask::new();
            assert!(going.poll(&mut go).is_pending());
            (going, go)
        })
        .collect();
    gate.open(0);
    for (n, (going, mut go)) in waiters.into_iter().enumerate() {
        // Exactly one waiter more has a reservation.
        assert!(task.run(&mut group).is_pending());
        assert_eq!(going.wakes(), 1, "{n}");
        assert!(going.poll(&mut go).is_ready());
    }
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(log.take(), (0..100).map(|n: usize| n.to_string()).collect::<Vec<_>>());
}
