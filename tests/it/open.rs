//! A group that is held lives on while it is empty; one that is closed takes no newcomers, and ends
//! when what it has is done.

use std::future::{pending, ready};
use std::sync::Arc;
use std::task::Poll;

use crate::common::{
    Fixture, Gate, Job, Log, MockTask, Probe, Tap, is_ok, is_stopped, job, panic_message, waits,
};
use errgroup::{Boxed, Child, Children, Event, Group, Hold, Reason, TryGoError, task};

type Jobs = Group<Boxed<'static, usize, &'static str>>;

fn fixture() -> Fixture {
    Fixture::of(Group::new())
}

// === held ===

#[test]
fn a_held_group_that_is_empty_is_pending_until_the_last_hold_is_dropped() {
    fn scenario<C>(mut group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let task = MockTask::new();
        let hold = group.hold();
        let clone = hold.clone();
        let of_a_handle = group.handle().hold();
        for (wakes, hold) in [(0, hold), (0, clone), (0, of_a_handle)] {
            assert!(task.poll(&mut group).is_pending());
            assert_eq!(task.wakes(), wakes);
            drop(hold);
        }
        assert_eq!(task.wakes(), 1);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_child_that_is_added_wakes_a_held_group() {
    let mut f = fixture();
    let hold = f.handle.hold();
    assert!(f.poll().is_pending());
    for n in 0..3 {
        f.handle.queue(f.child(n));
        assert_eq!(f.task.wakes(), 2 * n + 1);
        assert!(f.poll().is_pending());
        f.gate.open(n);
        assert!(f.poll().is_pending());
    }
    assert_eq!((f.handle.stats().ok, f.task.wakes()), (3, 6));
    drop(hold);
    assert_eq!(f.task.wakes(), 7);
    assert!(is_ok(f.poll()));
}

#[test]
fn a_child_that_the_owner_of_a_held_group_adds_wakes_the_task_that_polls_it() {
    type Add = fn(&mut Jobs, Job);
    let ways: [Add; 4] = [
        |group, child| group.queue(child),
        |group, child| assert!(group.try_queue(child).is_ok()),
        |group, child| assert!(group.try_go(child).is_ok()),
        |group, child| group.extend([child]),
    ];
    for add in ways {
        let mut f = fixture();
        let _hold = f.group.hold();
        assert!(f.poll().is_pending());
        // The group may be in a mutex, and another task adds to it.
        add(&mut f.group, waits(&f.gate, 0));
        assert_eq!(f.task.wakes(), 1);
        assert!(f.poll().is_pending());
        assert_eq!(f.task.wakes(), 1);
    }
}

#[test]
fn a_child_that_the_owner_adds_to_a_held_group_and_that_waits_at_a_gate_or_for_a_permit_wakes_it() {
    let permits = Arc::new(errgroup::Semaphore::new(1));
    let mut taken = permits.try_acquire_arc();
    assert!(taken.is_some());
    for shares in [false, true] {
        let mut group = match shares {
            false => Jobs::new().with_gate(|_| ready(())),
            true => Jobs::new().with_semaphore(Arc::clone(&permits)),
        };
        let task = MockTask::new();
        let _hold = group.hold();
        assert!(task.run(&mut group).is_pending());
        assert_eq!(task.wakes(), 0);
        group.queue(job(ready(Ok(1))));
        assert_eq!(task.wakes(), 1);
        assert!(task.poll(&mut group).is_pending());
        if shares {
            assert_eq!((task.wakes(), group.stats().queued), (1, 1));
            taken = None;
            assert_eq!(task.wakes(), 2);
            assert!(task.poll(&mut group).is_pending());
        }
        assert_eq!(group.stats().ok, 1);
    }
    assert!(taken.is_none());
}

#[test]
fn a_hold_that_goes_while_children_run_wakes_nothing() {
    let mut f = fixture();
    let hold = f.group.hold();
    f.group.queue(waits(&f.gate, 0));
    assert!(f.poll().is_pending());
    drop(hold);
    assert_eq!(f.task.wakes(), 0);
    f.gate.open(0);
    assert!(is_ok(f.poll()));
}

#[test]
fn a_stop_ends_a_held_group() {
    let mut f = fixture();
    let _hold = f.handle.hold();
    f.group.queue(job(ready(Err("it"))));
    assert_eq!(f.poll(), Poll::Ready(Err("it")));

    let mut f = fixture();
    let _hold = f.handle.hold();
    assert!(f.poll().is_pending());
    f.handle.token().cancel();
    assert_eq!(f.task.wakes(), 1);
    assert!(is_ok(f.poll()));
}

#[test]
fn daemons_live_as_long_as_a_hold() {
    let mut f = fixture();
    let (hold, token) = (f.group.hold(), f.group.token().clone());
    f.group.queue(
        task(job(async move {
            assert_eq!(token.cancelled().await, Reason::Finished);
            Ok(0)
        }))
        .daemon(),
    );
    assert!(f.poll().is_pending());
    assert!(!f.group.is_stopped());
    drop(hold);
    assert_eq!(f.task.wakes(), 1);
    assert!(is_ok(f.poll()));
}

#[test]
fn a_hold_outlives_its_group_and_changes_no_rule_of_waiting() {
    let hold = Jobs::new().hold();
    drop(hold.clone());
    drop(hold);

    // The only child waits for room in its own group, and goes on though the group is held.
    #[cfg(feature = "std")]
    {
        let mut f = Fixture::new(1);
        let (handle, gate) = (f.handle.clone(), f.gate.clone());
        let hold = f.handle.hold();
        f.group.queue(job(async move {
            assert!(handle.go(waits(&gate, 0)).await.is_ok());
            Ok(1)
        }));
        assert!(f.run().is_pending());
        assert_eq!((f.handle.stats().ok, f.running()), (1, 1));
        f.gate.open(0);
        assert!(f.run().is_pending());
        drop(hold);
        assert!(is_ok(f.run()));
    }
}

#[test]
fn a_stream_that_is_held_is_pending_while_it_is_empty() {
    use futures::StreamExt;
    let task = MockTask::new();
    let mut results = Jobs::new().results();
    let hold = results.hold();
    assert!(task.poll(&mut results.next()).is_pending());
    results.handle().queue(job(ready(Ok(1))));
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.poll(&mut results.next()), Poll::Ready(Some(Ok(1))));
    assert!(task.poll(&mut results.next()).is_pending());
    drop(hold);
    assert_eq!(task.wakes(), 2);
    assert_eq!(task.poll(&mut results.next()), Poll::Ready(None));
    assert!(!results.is_stopped());
}

#[test]
fn a_group_that_is_held_or_closed_is_not_built_further() {
    let parent = errgroup::CancelToken::new();
    let group = Jobs::new();
    let hold = group.hold();
    assert!(panic_message(|| group.with_parent(&parent)).starts_with("call `with_parent` before"));
    drop(hold);
    let group = Jobs::new();
    group.close();
    assert!(panic_message(|| group.with_parent(&parent)).starts_with("call `with_parent` before"));
    let group = Jobs::new();
    drop(group.hold());
    drop(group.with_parent(&parent));
}

#[test]
fn a_hold_goes_wherever_it_likes() {
    fn is_free<T: Send + Sync + Clone + std::fmt::Debug + 'static>(_: &T) {}
    let group: Group<errgroup::LocalBoxed<'_, usize, &'static str>> = Group::local();
    is_free::<Hold>(&group.hold());
}

// === closed ===

#[test]
fn a_closed_group_takes_no_newcomers_and_ends_when_what_it_has_is_done() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(1);
        let _hold = group.hold();
        group.queue(waits(&gate, 0));
        group.queue(waits(&gate, 1));
        assert!(task.poll(&mut group).is_pending());
        assert!(!group.is_closing());
        group.close();
        group.close();
        let handle = group.handle();
        assert!(group.is_closing() && handle.is_closing());
        assert!(!group.is_stopped() && !handle.is_closed());

        let child = || probe.watch(ready(Ok(7)));
        assert!(matches!(group.try_go(child()), Err(TryGoError::Closed(_))));
        assert!(matches!(handle.try_go(child()), Err(TryGoError::Closed(_))));
        assert!(matches!(group.try_queue(child()), Err(TryGoError::Closed(_))));
        assert!(matches!(handle.try_queue(child()), Err(TryGoError::Closed(_))));
        assert!(is_stopped(task.poll(&mut group.go(child()))));
        assert!(is_stopped(task.poll(&mut handle.go(child()))));
        assert!(matches!(task.poll(&mut handle.reserve()), Poll::Ready(Err(_))));
        assert!(is_stopped(task.poll(&mut group.ready())));
        assert_eq!((probe.drops(), handle.stats().dropped), (6, 0));
        group.queue(child());
        handle.queue(child());
        assert_eq!((probe.drops(), handle.stats().dropped), (8, 2));
        assert_eq!(task.finish(group.feed(futures::stream::iter([child()]))), 0);
        assert_eq!(task.finish(handle.feed(futures::stream::iter([child()]))), 0);
        assert_eq!((probe.polls(), handle.stats().dropped), (0, 2));

        gate.open(0);
        assert!(task.run(&mut group).is_pending());
        assert!(!group.token().is_cancelled());
        gate.open(1);
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
        assert_eq!((handle.stats().ok, handle.is_closed()), (2, true));
        assert_eq!(handle.token().reason(), Some(Reason::Finished));
        assert!(matches!(handle.try_go(child()), Err(TryGoError::Closed(_))));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_close_wakes_an_empty_group_that_is_held() {
    let mut f = fixture();
    let _hold = f.handle.hold();
    assert!(f.poll().is_pending());
    f.handle.close();
    assert_eq!(f.task.wakes(), 1);
    assert!(is_ok(f.poll()));
    assert!(matches!(f.handle.try_queue(f.child(0)), Err(TryGoError::Closed(_))));
}

#[test]
fn a_close_wakes_waiters_which_get_their_children_back() {
    let mut f = Fixture::new(1);
    f.group.queue(waits(&f.gate, 0));
    assert!(f.poll().is_pending());
    let tasks = [MockTask::new(), MockTask::new(), MockTask::new(), MockTask::new()];
    let mut go = f.handle.go(f.child(1));
    let mut reserve = f.handle.reserve();
    let mut feed = f.handle.feed(futures::stream::iter([f.child(2)]));
    assert!(tasks[0].poll(&mut go).is_pending());
    assert!(tasks[1].poll(&mut reserve).is_pending());
    assert!(tasks[2].poll(&mut feed).is_pending());
    // It waits for its stream, and is in no queue.
    let tap = Tap::<Job>::new();
    f.handle.set_limit(Some(2));
    let mut tapped = f.handle.feed(tap.clone());
    drop((go, reserve, feed));
    assert!(tasks[3].poll(&mut tapped).is_pending());
    f.handle.set_limit(Some(1));
    let mut go = f.handle.go(f.child(1));
    let mut reserve = f.handle.reserve();
    let mut feed = f.handle.feed(futures::stream::iter([f.child(2)]));
    assert!(tasks[0].poll(&mut go).is_pending());
    assert!(tasks[1].poll(&mut reserve).is_pending());
    assert!(tasks[2].poll(&mut feed).is_pending());
    let before = tasks.each_ref().map(MockTask::wakes);
    f.handle.close();
    assert_eq!(tasks.each_ref().map(MockTask::wakes), before.map(|wakes| wakes + 1));
    let Poll::Ready(Err(stopped)) = tasks[0].poll(&mut go) else { panic!("it is given back") };
    f.log.take();
    drop(stopped.into_inner());
    assert_eq!(f.log.take(), ["-1"]);
    assert!(matches!(tasks[1].poll(&mut reserve), Poll::Ready(Err(_))));
    assert_eq!(tasks[2].poll(&mut feed), Poll::Ready(0));
    assert_eq!(tasks[3].poll(&mut tapped), Poll::Ready(0));
    f.gate.open(0);
    assert!(is_ok(f.run()));
    assert_eq!(f.handle.stats().dropped, 0);
}

#[test]
fn a_close_ends_the_groups_own_go_and_feed() {
    let mut f = Fixture::new(1);
    f.group.queue(waits(&f.gate, 0));
    let mut go = f.group.go(waits(&f.gate, 1));
    assert!(f.task.poll(&mut go).is_pending());
    f.handle.close();
    assert_eq!(f.task.wakes(), 1);
    assert!(is_stopped(f.task.poll(&mut go)));
    drop(go);
    f.gate.open(0);
    assert!(is_ok(f.run()));

    let mut f = fixture();
    let tap = Tap::new();
    let mut feed = f.group.feed(tap.clone());
    tap.put(job(ready(Ok(1))));
    assert!(f.task.run(&mut feed).is_pending());
    let wakes = f.task.wakes();
    f.handle.close();
    assert_eq!(f.task.wakes(), wakes + 1);
    assert_eq!(f.task.poll(&mut feed), Poll::Ready(1));
}

#[test]
fn what_has_room_goes_on_in_a_closed_group() {
    let mut f = Fixture::new(1);
    f.group.queue(waits(&f.gate, 0));
    assert!(f.poll().is_pending());
    let (task, later) = (MockTask::new(), MockTask::new());
    let mut go = f.handle.go(waits(&f.gate, 1));
    assert!(task.poll(&mut go).is_pending());
    let mut behind = f.handle.go(waits(&f.gate, 2));
    assert!(later.poll(&mut behind).is_pending());
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert_eq!(task.wakes(), 1);
    f.handle.close();
    assert_eq!(later.wakes(), 1);
    assert!(f.run().is_pending(), "room is reserved for the first");
    assert!(is_ok(task.poll(&mut go)));
    assert!(is_stopped(later.poll(&mut behind)));
    f.gate.open(1);
    assert!(is_ok(f.run()));
    assert_eq!(f.handle.stats().ok, 2);
}

#[test]
fn a_feed_that_has_its_turn_ends_at_a_close_and_gives_the_room_on() {
    let mut f = Fixture::new(1);
    f.group.queue(waits(&f.gate, 0));
    f.group.queue(waits(&f.gate, 1));
    assert!(f.poll().is_pending());
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut feed = f.handle.feed(futures::stream::iter([probe.watch(ready(Ok(2)))]));
    assert!(task.poll(&mut feed).is_pending());
    f.gate.open(0);
    f.gate.open(1);
    assert!(f.run().is_pending());
    assert_eq!(task.wakes(), 1);
    f.handle.close();
    assert_eq!(task.poll(&mut feed), Poll::Ready(0));
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    assert!(is_ok(f.run()));
}

#[test]
fn a_stop_outranks_a_close() {
    let mut f = Fixture::new(1);
    f.group.queue(waits(&f.gate, 0));
    f.group.queue(f.child(1));
    f.handle.close();
    f.handle.token().cancel();
    assert!(f.group.is_stopped() && f.group.is_closing());
    assert!(matches!(f.handle.try_queue(f.child(2)), Err(TryGoError::Stopped(_))));
    assert!(f.run().is_pending());
    assert_eq!((f.queued(), f.handle.stats().dropped), (0, 1));
    f.gate.open(0);
    assert!(is_ok(f.run()));
    assert!(matches!(f.handle.try_queue(f.child(2)), Err(TryGoError::Stopped(_))));
    let child = f.child(2);
    drop(f.group);
    assert!(matches!(f.handle.try_go(child), Err(TryGoError::Stopped(_))));
}

#[test]
fn a_closed_group_ends_its_daemons_when_nothing_else_is_left() {
    let mut f = fixture();
    let (_hold, token) = (f.group.hold(), f.group.token().clone());
    f.group.queue(
        task(job(async move { Ok(usize::from(token.cancelled().await == Reason::Done)) })).daemon(),
    );
    assert!(f.poll().is_pending());
    f.handle.close();
    assert_eq!(f.task.wakes(), 1);
    assert!(is_ok(f.poll()));
}

#[test]
fn a_scope_ends_when_its_body_does_though_it_holds_or_closes_the_group() {
    let task = MockTask::new();
    let (added, output) = task.finish(Jobs::new().with_limit(1).scope(async |handle| {
        let _hold = handle.hold();
        assert!(handle.go(job(ready(Ok(1)))).await.is_ok());
        handle.close();
        handle.go(job(ready(Err("late")))).await.is_ok()
    }));
    assert_eq!((added, output), (false, Ok(())));
}

#[test]
fn a_closed_stream_gives_what_is_left_and_is_over() {
    use futures::stream::{FusedStream, StreamExt};
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Jobs::new().with_limit(1).results();
    let _hold = results.hold();
    (0..2).for_each(|n| results.queue(waits(&gate, n)));
    assert!(task.poll(&mut results.next()).is_pending());
    results.close();
    assert!(results.is_closing() && !results.is_stopped());
    assert!(matches!(results.try_queue(waits(&gate, 2)), Err(TryGoError::Closed(_))));
    for n in 0..2 {
        gate.open(n);
        assert_eq!(task.run(&mut results.next()), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(task.poll(&mut results.next()), Poll::Ready(None));
    assert!(results.is_terminated() && results.handle().is_closed());

    // One that is fed is closed with its feed.
    let tap = Tap::new();
    let mut results = Jobs::new().results().feed(tap.clone());
    assert!(task.poll(&mut results.next()).is_pending());
    let wakes = task.wakes();
    results.handle().close();
    assert_eq!(task.wakes(), wakes + 1);
    assert_eq!(task.poll(&mut results.next()), Poll::Ready(None));
    tap.put(job(ready(Ok(1))));
    assert!(results.is_terminated());
}

#[test]
fn an_observer_is_told_what_a_closed_group_rejects() {
    let (log, task) = (Log::new(), MockTask::new());
    let mut group = {
        let log = log.clone();
        Jobs::new().with_observer(move |event: &Event| log.add(format!("{event:?}")))
    };
    group.close();
    group.queue(job(ready(Ok(1))));
    assert!(group.try_queue(job(ready(Ok(1)))).is_err());
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(
        log.take(),
        [
            "Rejected { name: None, key: None, stopped: true }",
            "Rejected { name: None, key: None, stopped: true }",
            "Stopped(Finished)",
        ]
    );
}

#[test]
fn children_that_run_on_an_executor_are_waited_for_after_a_close() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let spawned = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut group = {
        let spawned = std::sync::Arc::clone(&spawned);
        Group::on(move |child| spawned.lock().unwrap().push(child)).with_limit(1)
    };
    let hold = group.hold();
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    drop(hold);
    group.close();
    let executor = MockTask::new();
    for n in 0..2 {
        gate.open(n);
        assert!(task.run(&mut group).is_pending());
        let mut child = spawned.lock().unwrap().pop().unwrap();
        assert!(executor.poll(&mut child).is_ready());
    }
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    let _: Poll<()> = executor.poll(&mut Box::pin(async { pending().await }));
}
