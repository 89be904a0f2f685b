//! A stop is a signal: running children are polled to their end, and no other is admitted.

use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::common::{Gate, Job, MockTask, Probe, fails, job, panic_message, waits};
use errgroup::{Boxed, CancelToken, Child, Children, Group, Reason, TryGoError};
use futures::future::FusedFuture;
use futures::stream;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

#[test]
fn after_a_failure_the_running_children_are_polled_to_their_end() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        group.queue(probe.watch(waits(&gate, 0)));
        group.queue(fails(&gate, 1, "broken"));
        let token = group.token().clone();
        let steps = (gate.wait(2), gate.wait(3));
        group.queue(probe.watch(async move {
            assert_eq!(token.cancelled().await, Reason::Failed);
            // Cleaning up takes a while.
            steps.0.await;
            steps.1.await;
            Ok(0)
        }));
        assert!(task.poll(&mut group).is_pending());
        gate.open(1);
        for n in [2, 3, 0] {
            assert!(task.run(&mut group).is_pending());
            gate.open(n);
        }
        assert_eq!(task.run(&mut group), Poll::Ready(Err("broken")));
        assert_eq!((group.stats().ok, probe.drops()), (2, 2));
        assert_eq!(probe.polls(), 2 + 4);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_child_admitted_and_not_yet_polled_is_polled_after_the_stop() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group;
        assert!(group.try_go(probe.watch(ready(Ok(1)))).is_ok());
        group.queue(probe.watch(ready(Ok(2))));
        group.token().cancel();
        assert_eq!(group.stats().running, 2);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.polls(), probe.drops(), group.stats().ok), (2, 2, 2));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_cancelled_token_stops_the_group_at_once_and_is_no_error() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe, queued) =
            (MockTask::new(), Gate::new(), Probe::new(), Probe::new());
        let mut group = group.with_limit(1);
        let handle = group.handle();
        group.queue(probe.watch(waits(&gate, 0)));
        group.queue(queued.watch(ready(Ok(1))));
        assert!(task.poll(&mut group).is_pending());
        assert!(!group.is_stopped());
        assert!(group.token().clone().cancel());
        // Without a poll:
        assert!(group.is_stopped() && handle.is_stopped());
        assert!(matches!(group.try_go(waits(&gate, 8)), Err(TryGoError::Stopped(_))));
        assert!(matches!(handle.try_go(waits(&gate, 8)), Err(TryGoError::Stopped(_))));
        let going = MockTask::new();
        assert!(matches!(going.poll_pinned(pin!(handle.go(waits(&gate, 8)))), Poll::Ready(Err(_))));
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((queued.polls(), queued.drops()), (0, 1));
        gate.open(0);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.polls(), probe.drops()), (2, 1));
        let stats = group.stats();
        assert_eq!((stats.ok, stats.failed, stats.dropped), (1, 0, 1));
        assert_eq!(group.token().reason(), Some(Reason::Cancelled));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_child_that_fails_after_a_cancel_is_an_error() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new();
    group.queue(fails(&gate, 0, "broken"));
    group.queue(fails(&gate, 1, "later"));
    assert!(task.poll(&mut group).is_pending());
    group.token().cancel_with(Reason::Deadline);
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    gate.open(1);
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
    // The first reason wins.
    assert_eq!(group.token().reason(), Some(Reason::Deadline));
}

#[test]
fn a_waiter_in_go_or_feed_is_woken_by_the_cancel_itself() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (gate, probe, fed) = (Gate::new(), Probe::new(), Probe::new());
        let mut group = group.with_limit(1);
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        let (going, feeding, stalling) = (MockTask::new(), MockTask::new(), MockTask::new());
        let mut go = pin!(handle.go(probe.watch(ready(Ok(7)))));
        let mut feed = pin!(handle.feed(stream::iter([fed.watch(ready(Ok(8)))])));
        assert!(going.poll(&mut go).is_pending());
        assert!(feeding.poll(&mut feed).is_pending());
        // With room, the feed waits for its stream.
        handle.set_limit(None);
        assert!(going.poll(&mut go).is_ready());
        let mut go = pin!(handle.go(probe.watch(ready(Ok(7)))));
        let mut stalled = pin!(handle.feed(stream::pending::<Job>()));
        let _ = feeding.run(&mut feed);
        assert!(stalling.poll(&mut stalled).is_pending());
        handle.set_limit(Some(1));
        assert!(going.poll(&mut go).is_pending());

        let before = (going.wakes(), stalling.wakes());
        handle.token().cancel();
        assert_eq!((going.wakes(), stalling.wakes()), (before.0 + 1, before.1 + 1));
        let Poll::Ready(Err(stopped)) = going.poll(&mut go) else {
            panic!("it has stopped");
        };
        assert_eq!(probe.polls(), 0);
        assert_eq!(MockTask::new().finish(stopped.into_inner()), Ok(7));
        assert_eq!(stalling.poll(&mut stalled), Poll::Ready(0));
        drop(group);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_waiting_feed_is_woken_by_the_cancel_and_drops_no_child_it_has_not_taken() {
    let (gate, feeding) = (Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut asked = 0;
    let mut feed = pin!(handle.feed(stream::poll_fn(|_| {
        asked += 1;
        Poll::Ready(Some(ready(Ok(1))))
    })));
    assert!(feeding.poll(&mut feed).is_pending());
    handle.token().cancel();
    assert_eq!(feeding.wakes(), 1);
    assert_eq!(feeding.poll(&mut feed), Poll::Ready(0));
    assert!(feeding.poll(&mut feed).is_pending(), "it is over");
    assert_eq!(asked, 0);
}

#[test]
fn the_groups_own_go_and_feed_are_woken_by_a_cancel() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let token = group.token().clone();
    group.queue(waits(&gate, 0));
    {
        let mut go = pin!(group.go(waits(&gate, 1)));
        assert!(task.poll(&mut go).is_pending());
        token.cancel();
        assert_eq!(task.wakes(), 1);
        assert!(matches!(task.poll(&mut go), Poll::Ready(Err(_))));
    }
    let mut group = Jobs::new();
    let token = group.token().clone();
    let mut feed = pin!(group.feed(stream::pending::<Job>()));
    assert!(task.poll(&mut feed).is_pending());
    token.cancel();
    assert_eq!(task.wakes(), 2);
    assert_eq!(task.poll(&mut feed), Poll::Ready(0));
}

#[test]
fn a_cancel_wakes_a_group_that_only_waits_for_room() {
    let task = MockTask::new();
    let probe = Probe::new();
    let mut group = Jobs::new();
    group.set_limit(Some(0));
    group.queue(probe.watch(ready(Ok(1))));
    assert!(task.poll(&mut group).is_pending());
    group.token().cancel();
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops(), group.stats().dropped), (0, 1, 1));

    // The same if it waits for a waiter in a handle's `go` that is not polled again.
    let mut group = Jobs::new();
    group.set_limit(Some(0));
    let handle = group.handle();
    let going = MockTask::new();
    let mut go = pin!(handle.go(ready(Ok(1))));
    assert!(going.poll(&mut go).is_pending());
    assert!(task.poll(&mut group).is_pending());
    handle.token().cancel();
    assert_eq!(task.wakes(), 2);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert!(matches!(going.poll(&mut go), Poll::Ready(Err(_))));
}

#[test]
fn a_cancel_from_another_thread_while_the_group_is_polled_is_not_lost() {
    for _ in 0..50 {
        let mut group = Jobs::new().with_limit(2);
        let token = group.token().clone();
        for _ in 0..4 {
            let token = group.token().clone();
            group.queue(async move {
                token.cancelled().await;
                Ok(1)
            });
        }
        std::thread::scope(|threads| {
            threads.spawn(|| token.cancel());
            assert_eq!(futures::executor::block_on(&mut group), Ok(()));
        });
        assert_eq!(group.stats().ok + group.stats().dropped, 4);
    }
}

#[test]
fn a_child_may_cancel_its_own_group() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, queued, running) = (MockTask::new(), Probe::new(), Probe::new());
        let mut group = group.with_limit(2);
        let token = group.token().clone();
        group.queue(job(async move {
            assert!(token.cancel_with(Reason::Done));
            Ok(0)
        }));
        group.queue(running.watch(ready(Ok(1))));
        group.queue(queued.watch(ready(Ok(2))));
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((running.polls(), queued.polls(), queued.drops()), (1, 0, 1));
        assert_eq!(group.token().reason(), Some(Reason::Done));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn the_token_gives_the_reason() {
    let task = MockTask::new();
    let mut group = Jobs::new();
    let token = group.token().clone();
    assert_eq!(token.reason(), None);
    group.queue(ready(Ok(1)));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(token.reason(), Some(Reason::Finished));

    let mut group = Jobs::new();
    let token = group.token().clone();
    group.queue(ready(Err("broken")));
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
    assert_eq!(token.reason(), Some(Reason::Failed));
    drop(group);
    assert_eq!(token.reason(), Some(Reason::Failed));

    let group = Jobs::new();
    let token = group.token().clone();
    drop(group);
    assert_eq!(token.reason(), Some(Reason::Dropped));

    let mut group = Jobs::new();
    let token = group.token().clone();
    group.queue(async { panic!("a child's panic") });
    assert_eq!(panic_message(|| task.poll(&mut group)), "a child's panic");
    assert_eq!(token.reason(), Some(Reason::Panicked));

    // The first reason wins.
    let mut group = Jobs::new();
    group.token().cancel();
    group.queue(ready(Err("broken")));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())), "it was stopped before");
    assert_eq!(group.token().reason(), Some(Reason::Cancelled));
}

#[test]
fn a_cancelled_parent_stops_the_group_and_is_no_error() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, parent) = (MockTask::new(), CancelToken::new());
        let mut group = group.with_parent(&parent);
        let token = group.token().clone();
        group.queue(job(async move {
            assert_eq!(token.cancelled().await, Reason::Deadline);
            Ok(1)
        }));
        assert!(task.poll(&mut group).is_pending());
        parent.cancel_with(Reason::Deadline);
        assert!(group.is_stopped());
        assert!(task.wakes() >= 1);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((group.stats().ok, group.token().reason()), (1, Some(Reason::Deadline)));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn what_happens_to_a_group_does_not_reach_its_parent() {
    let (task, parent) = (MockTask::new(), CancelToken::new());
    let mut failed = Jobs::new().with_parent(&parent);
    failed.queue(ready(Err("broken")));
    assert_eq!(task.poll(&mut failed), Poll::Ready(Err("broken")));
    let mut finished = Jobs::new().with_parent(&parent);
    assert_eq!(task.poll(&mut finished), Poll::Ready(Ok(())));
    let cancelled = Jobs::new().with_parent(&parent);
    cancelled.token().cancel();
    drop(Jobs::new().with_parent(&parent));
    assert!(!parent.is_cancelled());
}

#[test]
fn a_group_of_a_cancelled_parent_is_born_stopped() {
    let (task, parent) = (MockTask::new(), CancelToken::new());
    parent.cancel_with(Reason::Done);
    let mut group = Jobs::new().with_parent(&parent);
    assert!(group.is_stopped());
    let stopped = task.finish(group.go(ready(Ok(3)))).unwrap_err();
    assert_eq!(task.finish(stopped.into_inner()), Ok(3));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(group.token().reason(), Some(Reason::Done));
}

#[test]
fn stopped_gives_back_the_same_child_unpolled() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group;
        let handle = group.handle();
        group.token().cancel();
        let child = probe.watch(ready(Ok(7)));
        let address: *const () = (&raw const *child).cast();
        let child = task.finish(group.go(child)).unwrap_err().into_inner();
        let child = task.finish(handle.go(child)).unwrap_err().into_inner();
        let child = group.try_go(child).unwrap_err().into_inner();
        let child = handle.try_go(child).unwrap_err().into_inner();
        assert_eq!(address, (&raw const *child).cast());
        assert_eq!((probe.polls(), probe.drops()), (0, 0));
        assert_eq!(task.finish(child), Ok(7));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn an_empty_group_resolves_at_once() {
    let task = MockTask::new();
    assert_eq!(task.poll(&mut Jobs::new()), Poll::Ready(Ok(())));
    let mut local = Group::<errgroup::LocalBoxed<'_, usize, &'static str>>::local();
    assert_eq!(task.poll(&mut local), Poll::Ready(Ok(())));
    let mut unboxed = Group::<errgroup::Plain<Job>>::unboxed().with_limit(1);
    assert_eq!(task.poll(&mut unboxed), Poll::Ready(Ok(())));
    // Handles do not keep it open.
    let mut group = Jobs::new();
    let _handle = group.handle();
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_resolved_group_admits_no_more() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group;
        let handle = group.handle();
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert!(group.is_stopped() && handle.is_stopped());
        assert_eq!(group.token().reason(), Some(Reason::Finished));
        let child = task.finish(group.go(probe.watch(ready(Ok(1))))).unwrap_err().into_inner();
        let child = task.finish(handle.go(child)).unwrap_err().into_inner();
        let Err(TryGoError::Stopped(child)) = group.try_go(child) else {
            panic!("it has resolved");
        };
        handle.queue(child);
        group.queue(probe.watch(ready(Ok(1))));
        assert_eq!((probe.polls(), probe.drops()), (0, 2));
        assert_eq!(task.finish(group.feed(stream::pending::<Job>())), 0);
        assert_eq!(task.finish(handle.feed(stream::pending::<Job>())), 0);
        assert!(task.poll(&mut group).is_pending());
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_group_polled_after_completion_stays_pending() {
    let task = MockTask::new();
    let mut group = Jobs::new();
    assert!(!group.is_terminated());
    group.queue(ready(Err("broken")));
    assert!(!group.is_terminated());
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
    for _ in 0..3 {
        assert!(group.is_terminated());
        assert_eq!(task.poll(&mut group), Poll::Pending);
    }
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_group_is_awaited_by_reference() {
    let task = MockTask::new();
    let output = task.finish(async {
        let mut group = Jobs::new();
        group.queue(ready(Ok(1)));
        let output = (&mut group).await;
        assert!(group.is_terminated());
        (output, group.stats().ok)
    });
    assert_eq!(output, (Ok(()), 1));
}

#[test]
fn a_group_works_in_select_until_it_is_over() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new();
    group.queue(waits(&gate, 0));
    let mut other = futures::future::FutureExt::fuse(gate.wait(1));
    let mut seen = Vec::new();
    let mut all = pin!(async {
        loop {
            futures::select! {
                output = group => seen.push(format!("{output:?}")),
                () = other => seen.push("other".into()),
                complete => break seen,
            }
        }
    });
    assert!(task.poll(&mut all).is_pending());
    gate.open(0);
    assert!(task.poll(&mut all).is_pending());
    gate.open(1);
    assert_eq!(task.poll(&mut all), Poll::Ready(vec!["Ok(())".into(), "other".to_string()]));
}

#[test]
fn a_child_that_adds_others_after_the_stop_has_them_refused() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    let handle = group.handle();
    let child = probe.watch(ready(Ok(2)));
    group.queue(async move {
        handle.token().cancelled().await;
        let child = handle.try_go(child).unwrap_err().into_inner();
        let child = handle.go(child).await.unwrap_err().into_inner();
        handle.queue(child);
        Ok(1)
    });
    assert!(task.poll(&mut group).is_pending());
    group.token().cancel();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    assert_eq!((group.stats().ok, group.stats().dropped), (1, 1));
}

#[test]
fn a_child_that_ignores_the_stop_keeps_the_group_waiting() {
    let task = MockTask::new();
    let mut group = Jobs::new();
    group.queue(pending());
    group.queue(ready(Err("broken")));
    let mut polled = 0;
    group.queue(poll_fn(move |cx| {
        polled += 1;
        cx.waker().wake_by_ref();
        if polled < 5 { Poll::Pending } else { Poll::Ready(Ok(polled)) }
    }));
    assert!(task.run(Pin::new(&mut group).get_mut()).is_pending());
    assert_eq!((group.stats().running, group.stats().ok, group.stats().failed), (1, 1, 1));
}

#[test]
fn a_child_that_cancels_drops_the_queue_in_the_same_poll_even_if_no_other_is_woken() {
    let task = MockTask::new();
    let mut group = Jobs::new().with_limit(1);
    let token = group.token().clone();
    let (held, released) = futures::channel::oneshot::channel::<()>();
    // Goes on when the child behind it in the queue is dropped with what it holds.
    group.queue(job(async move {
        token.cancel();
        Ok(usize::from(released.await.is_err()))
    }));
    group.queue(job(async move {
        let _held = held;
        std::future::pending::<()>().await;
        Ok(0)
    }));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((group.stats().ok, group.stats().dropped), (1, 1));
}

#[test]
fn whether_a_group_has_a_handle_does_not_decide_which_queued_child_a_failure_drops() {
    fn ended(has_handle: bool, panics: bool) -> [usize; 3] {
        let mut group = Jobs::new().with_limit(2);
        let handle = has_handle.then(|| group.handle());
        group.queue(job(ready(Ok(0))));
        group.queue(job(async move { if panics { panic!("broken") } else { Err("broken") } }));
        // It gets the room of the first one, which has ended before the failure.
        group.queue(job(ready(Ok(2))));
        group.queue(job(ready(Ok(3))));
        let polled = catch_unwind(AssertUnwindSafe(|| MockTask::new().run(&mut group)));
        assert_eq!(polled.ok(), (!panics).then_some(Poll::Ready(Err("broken"))));
        drop(handle);
        let stats = group.stats();
        [stats.ok, stats.failed, stats.dropped]
    }
    for has_handle in [false, true] {
        assert_eq!(ended(has_handle, false), [2, 1, 1]);
        assert_eq!(ended(has_handle, true), [2, 0, 2]);
    }
}

#[test]
fn a_failure_after_a_cancel_in_the_same_round_admits_no_queued_child() {
    let mut group = Jobs::new().with_limit(2);
    let token = group.token().clone();
    group.queue(job(async move {
        token.cancel();
        Ok(0)
    }));
    group.queue(job(ready(Err("broken"))));
    group.queue(job(ready(Ok(2))));
    assert_eq!(MockTask::new().run(&mut group), Poll::Ready(Err("broken")));
    let stats = group.stats();
    assert_eq!([stats.ok, stats.failed, stats.dropped], [1, 1, 1]);
}

#[test]
fn room_that_was_freed_before_a_cancel_is_the_queues_by_then() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let queued = Arc::new(Mutex::new(None));
    let mut group = Group::<Boxed<'static, usize, &'static str>>::new().with_limit(2);
    let handle = group.handle();
    group.queue(job(ready(Ok(0))));
    let (of_child, seen) = (handle.clone(), Arc::clone(&queued));
    group.queue(job(async move {
        of_child.token().cancel();
        *seen.lock().unwrap() = Some((of_child.is_stopped(), of_child.stats().queued));
        Ok(1)
    }));
    // It has the room of the first child, which has ended in the same round.
    group.queue(probe.watch(ready(Ok(2))));
    group.queue(probe.watch(ready(Ok(3))));
    assert_eq!(task.finish(&mut group), Ok(()));
    // What is queued in a group that has stopped is never polled.
    assert_eq!(*queued.lock().unwrap(), Some((true, 1)));
    assert_eq!((probe.polls(), handle.stats().ok, handle.stats().dropped), (1, 3, 1));
}
