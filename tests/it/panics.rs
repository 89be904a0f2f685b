//! A panic stops the group, loses no child, and comes out of the group's poll.

use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use crate::common::{
    Bomb, Calls, DropCounter, Gate, Job, MockTask, Probe, Value, Values, fails, is_ok, job,
    panic_message, ping_pong, waits, yield_now,
};
use errgroup::{Boxed, Child, ChildInfo, Children, Group, Policy, Reason, TryGoError, Verdict};
use futures::future::FusedFuture;
use futures::stream;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// Makes a child that waits at its door, then panics.
fn panics(gate: &Gate, number: usize, message: &'static str) -> Job {
    let gate = gate.wait(number);
    job(async move {
        gate.await;
        panic_any(message)
    })
}

/// Makes a child with a destructor that panics, after it has finished or been dropped.
fn explodes(message: &'static str, child: Job) -> Job {
    let (mut child, bomb) = (child, Bomb(message));
    job(poll_fn(move |cx| {
        let _ = &bomb;
        child.as_mut().poll(cx)
    }))
}

#[test]
fn the_child_of_a_go_begins_though_a_newer_one_has_panicked_with_the_last_poll_of_the_budget() {
    const RUNNING: usize = 4095;
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(RUNNING);
    let handle = group.handle();
    (0..RUNNING).for_each(|n| group.queue(waits(&gate, n)));
    let begun = DropCounter::default();
    let guard = begun.guard();
    let mut go = group.go(job(async move {
        drop(guard);
        Ok(0)
    }));
    assert!(task.poll(&mut go).is_pending());
    handle.queue(job(async { panic_any("newer") }));
    (0..RUNNING).for_each(|n| gate.open(n));
    assert!(is_ok(task.poll(&mut go)));
    drop(go);
    assert_eq!(begun.get(), 1);
    assert_eq!(panic_message(|| task.run(&mut group)), "newer");
}

#[test]
fn a_panic_stops_the_group_drains_the_siblings_and_then_resumes() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let (sibling, culprit, queued) = (Probe::new(), Probe::new(), Probe::new());
        let mut group = group.with_limit(2);
        let token = group.token().clone();
        group.queue(culprit.watch(panics(&gate, 0, "oh no")));
        group.queue(sibling.watch(waits(&gate, 1)));
        group.queue(queued.watch(ready(Ok(2))));
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        assert!(task.poll(&mut group).is_pending(), "a sibling runs");
        assert_eq!(token.reason(), Some(Reason::Panicked));
        assert_eq!((culprit.polls(), culprit.drops()), (2, 1));
        assert_eq!((queued.polls(), queued.drops()), (0, 1));
        assert_eq!((sibling.polls(), sibling.drops()), (1, 0));
        assert!(!group.is_terminated());
        assert!(task.poll(&mut group).is_pending());
        gate.open(1);
        assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
        assert_eq!((sibling.polls(), sibling.drops()), (2, 1));
        assert!(group.is_terminated());
        let stats = group.stats();
        assert_eq!((stats.ok, stats.failed, stats.dropped), (1, 0, 2));
        assert_eq!((stats.running, stats.queued), (0, 0));
        // It counts as resolved.
        for _ in 0..2 {
            assert!(task.poll(&mut group).is_pending());
        }
        let refused = task.finish(group.go(waits(&gate, 1)));
        assert!(refused.is_err());
        assert_eq!((culprit.polls(), culprit.drops()), (2, 1));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn the_payload_is_the_childs_own() {
    let this = Arc::new(());
    let payload = Arc::clone(&this);
    let mut group = Jobs::new();
    group.queue(async move { panic_any(payload) });
    let task = MockTask::new();
    let payload = catch_unwind(AssertUnwindSafe(|| task.poll(&mut group))).unwrap_err();
    let that = payload.downcast::<Arc<()>>().unwrap();
    assert!(Arc::ptr_eq(&this, &that));
}

#[test]
fn the_first_panic_comes_out() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new();
    group.queue(panics(&gate, 0, "second"));
    group.queue(panics(&gate, 1, "first"));
    assert!(task.poll(&mut group).is_pending());
    gate.open(1);
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    assert_eq!(panic_message(|| task.poll(&mut group)), "first");
    assert!(task.poll(&mut group).is_pending(), "the other panic is not thrown as well");
    drop(group);
}

#[test]
fn a_panic_outranks_an_error_whichever_came_first() {
    fn scenario<C>(group: Group<C>, panic_first: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = group;
        group.queue(panics(&gate, 0, "oh no"));
        group.queue(fails(&gate, 1, "broken"));
        assert!(task.poll(&mut group).is_pending());
        gate.open(usize::from(!panic_first));
        assert!(task.poll(&mut group).is_pending());
        let reason = if panic_first { Reason::Panicked } else { Reason::Failed };
        assert_eq!(group.token().reason(), Some(reason.clone()));
        gate.open(usize::from(panic_first));
        assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
        // The first reason wins.
        assert_eq!(group.token().reason(), Some(reason));
        assert_eq!((group.stats().failed, group.stats().dropped), (1, 1));
    }
    for panic_first in [true, false] {
        scenario(Group::new(), panic_first);
        scenario(Group::local(), panic_first);
        scenario(Group::unboxed(), panic_first);
    }
}

#[test]
fn a_child_that_panicked_is_never_polled_again_even_if_it_is_woken() {
    let (task, gate, sibling) = (MockTask::new(), Gate::new(), Gate::new());
    let mut group = Jobs::new();
    let polls = Arc::new(AtomicUsize::new(0));
    let mut inner = gate.wait(0);
    let counted = Arc::clone(&polls);
    group.queue(poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        let _ = std::pin::Pin::new(&mut inner).poll(cx);
        counted.fetch_add(1, SeqCst);
        panic_any("oh no")
    }));
    group.queue(waits(&sibling, 0));
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    sibling.open(0);
    assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
    assert_eq!(polls.load(SeqCst), 1);
}

#[test]
fn a_panic_of_the_only_child_comes_out_of_the_same_poll() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let task = MockTask::new();
        let mut group = group;
        let handle = group.handle();
        group.queue(job(async { panic_any("oh no") }));
        assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
        assert!(group.is_terminated() && handle.is_closed());
        assert_eq!(task.wakes(), 0);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_panic_in_the_last_poll_of_a_child_that_a_poll_of_the_group_has_left_is_the_childs() {
    // Two children that wake one another are polled 4,096 times in a poll of the group.
    for last in 4_090..4_100 {
        let mut group = Group::local();
        group.extend(ping_pong(last, || panic_any("broken")));
        let task = MockTask::new();
        let message = panic_message(|| while task.poll(&mut group).is_pending() {});
        assert_eq!(message, "broken", "in poll {last}");
    }
}

#[test]
fn a_panic_while_go_drives_comes_out_of_the_group() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group.with_limit(1);
        group.queue(job(async { panic_any("oh no") }));
        let stopped = task.finish(group.go(probe.watch(ready(Ok(7)))));
        let child = stopped.unwrap_err().into_inner();
        assert_eq!((probe.polls(), probe.drops()), (0, 0));
        let Err(TryGoError::Stopped(child)) = group.try_go(child) else {
            panic!("it has stopped");
        };
        assert_eq!(task.finish(child), Ok(7));
        assert!(!group.is_terminated());
        assert_eq!(group.token().reason(), Some(Reason::Panicked));
        assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_go_beside_a_child_that_panics_starts_its_child() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new();
    (0..3).for_each(|n| group.queue(panics(&gate, n, "a sibling")));
    assert!(task.run(&mut group).is_pending());
    (0..3).for_each(|n| gate.open(n));
    assert!(matches!(task.poll(&mut group.go(probe.watch(waits(&gate, 9)))), Poll::Ready(Ok(()))));
    assert_eq!((probe.polls(), group.stats().dropped), (1, 3));
    gate.open(9);
    assert_eq!(panic_message(|| task.run(&mut group)), "a sibling");
}

#[test]
fn a_go_beside_children_that_yield_and_then_panic_or_fail_starts_its_child() {
    for fails in [false, true] {
        for (waiting, siblings, shared) in
            [(0, 1, false), (0, 3, false), (0, 1, true), (70, 2, false), (70, 2, true)]
        {
            let (task, probe) = (MockTask::new(), Probe::new());
            let polls = Arc::new(AtomicUsize::new(0));
            let mut group = Jobs::new();
            let _handle = shared.then(|| group.handle());
            (0..waiting).for_each(|_| group.queue(job(pending())));
            for _ in 0..siblings {
                // It ends in its second poll, which is that of the next `go`.
                let polls = Arc::clone(&polls);
                group.queue(job(async move {
                    yield_now().await;
                    polls.fetch_add(1, SeqCst);
                    if fails { Err("a sibling") } else { panic_any("a sibling") }
                }));
            }
            // It yields on.
            let other = poll_fn({
                let polls = Arc::clone(&polls);
                move |cx| {
                    polls.fetch_add(1, SeqCst);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            });
            assert!(matches!(task.poll(&mut group.go(job(other))), Poll::Ready(Ok(()))));
            polls.store(0, SeqCst);
            let newcomer = probe.watch(pending());
            assert!(matches!(task.poll(&mut group.go(newcomer)), Poll::Ready(Ok(()))));
            let stats = group.stats();
            assert_eq!((probe.polls(), stats.dropped + stats.failed), (1, siblings));
            assert_eq!(polls.load(SeqCst), siblings + 1, "each is polled once");
        }
    }
}

#[test]
fn a_go_with_little_budget_left_starts_its_child_beside_one_that_panics() {
    for before in 4085..4100 {
        let (gate, probe) = (Gate::new(), Probe::new());
        let mut group = Group::unboxed();
        group.queue(panics(&gate, 0, "a sibling"));
        MockTask::new().finish(async {
            for _ in 0..before {
                group.go(job(ready(Ok(0)))).await.unwrap();
            }
            gate.open(0);
            group.go(probe.watch(pending())).await.unwrap();
            assert_eq!(probe.polls(), 1, "after {before}");
        });
    }
}

#[test]
fn a_panic_while_feed_drives_ends_it_and_comes_out_of_the_group() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new().with_limit(1);
    let children = [job(async { panic_any("oh no") }), probe.watch(ready(Ok(1)))];
    assert_eq!(task.finish(group.feed(stream::iter(children))), 1);
    assert_eq!(probe.polls(), 0);
    assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");

    let (feeding, task) = (MockTask::new(), MockTask::new());
    let mut group = Jobs::new();
    let handle = group.handle();
    group.queue(async { panic_any("oh no") });
    let mut feed = pin!(handle.feed(stream::pending::<Job>()));
    assert!(feeding.poll(&mut feed).is_pending());
    assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
    assert_eq!(feeding.wakes(), 1);
    assert_eq!(feeding.poll(&mut feed), Poll::Ready(0));
}

#[test]
fn waiters_get_their_children_back_when_a_child_panics() {
    let (task, going, gate, probe) = (MockTask::new(), MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(panics(&gate, 0, "oh no"));
    let mut go = pin!(handle.go(probe.watch(ready(Ok(7)))));
    assert!(going.poll(&mut go).is_pending());
    gate.open(0);
    assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
    assert_eq!(going.wakes(), 1);
    let Poll::Ready(Err(stopped)) = going.poll(&mut go) else {
        panic!("it has stopped");
    };
    assert_eq!(probe.polls(), 0);
    assert_eq!(going.finish(stopped.into_inner()), Ok(7));
}

#[test]
fn a_destructor_that_panics_when_its_child_finishes_counts_as_the_childs_panic() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, sibling) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(2);
        group.queue(sibling.watch(waits(&gate, 0)));
        group.queue(explodes("in a destructor", job(ready(Ok(1)))));
        group.queue(sibling.watch(ready(Ok(2))));
        assert!(task.run(&mut group).is_pending());
        assert_eq!(group.token().reason(), Some(Reason::Panicked));
        assert_eq!((sibling.polls(), sibling.drops()), (1, 1));
        // No lock is left held.
        let stats = group.stats();
        assert_eq!((stats.running, stats.queued), (1, 0));
        assert_eq!(stats.ok + stats.failed + stats.dropped, 2);
        gate.open(0);
        assert_eq!(panic_message(|| task.poll(&mut group)), "in a destructor");
        assert_eq!((sibling.polls(), sibling.drops()), (2, 2));
        assert!(group.is_terminated());
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_child_that_panics_in_its_poll_and_in_its_destructor_is_removed_all_the_same() {
    let (task, drops) = (MockTask::new(), DropCounter::default());
    let mut group = Jobs::new();
    let (bomb, dropped) = (Bomb("in the destructor"), drops.guard());
    group.queue(poll_fn(move |_| {
        let _ = (&bomb, &dropped);
        panic_any("in the poll")
    }));
    assert_eq!(panic_message(|| task.poll(&mut group)), "in the poll");
    assert_eq!(drops.get(), 1);
    assert!(group.is_terminated());
    drop(group);
}

#[test]
fn a_queued_childs_destructor_that_panics_loses_no_other_child() {
    fn scenario<C>(group: Group<C>, how: Reason)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(2);
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        group.queue(fails(&gate, 1, "broken"));
        for n in 0..5 {
            group.queue(probe.watch(ready(Ok(n))));
            group.queue(explodes("in a destructor", probe.watch(ready(Ok(n)))));
        }
        assert!(task.poll(&mut group).is_pending());
        if how == Reason::Failed {
            gate.open(1);
        } else {
            group.token().cancel();
        }
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(group.token().reason(), Some(how), "the first reason wins");
        assert_eq!((probe.polls(), probe.drops()), (0, 10));
        assert_eq!((handle.stats().queued, handle.stats().dropped), (0, 10));
        gate.open(0);
        gate.open(1);
        assert_eq!(panic_message(|| task.poll(&mut group)), "in a destructor");
        assert!(task.poll(&mut group).is_pending());
    }
    for how in [Reason::Failed, Reason::Cancelled] {
        scenario(Group::new(), how.clone());
        scenario(Group::local(), how.clone());
        scenario(Group::unboxed(), how);
    }
}

#[test]
fn a_destructor_that_panics_in_a_queue_after_the_stop_loses_no_child() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new();
    let handle = group.handle();
    group.queue(probe.watch(waits(&gate, 0)));
    group.token().cancel();
    // It is dropped at the call: its panic comes out there, or else out of the group.
    let mut thrown_by = Vec::new();
    let called = catch_unwind(AssertUnwindSafe(|| {
        handle.queue(explodes("in a destructor", probe.watch(ready(Ok(1)))));
    }));
    thrown_by.extend(called.err());
    assert_eq!((probe.polls(), probe.drops(), handle.stats().dropped), (0, 1, 1));
    gate.open(0);
    let polled = catch_unwind(AssertUnwindSafe(|| task.poll(&mut group)));
    thrown_by.extend(polled.err());
    assert_eq!(thrown_by.len(), 1, "once, and not swallowed");
    assert_eq!(probe.drops(), 2);
}

#[test]
fn a_destructor_that_panics_in_a_go_that_waits_lets_those_behind_move_up() {
    let (task, going, behind, gate) =
        (MockTask::new(), MockTask::new(), MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut first = Box::pin(handle.go(explodes("in a destructor", job(ready(Ok(1))))));
    let mut second = pin!(handle.go(waits(&gate, 2)));
    assert!(going.poll(&mut first).is_pending());
    assert!(behind.poll(&mut second).is_pending());
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(panic_message(move || drop(first)), "in a destructor");
    assert_eq!(behind.wakes(), 1);
    assert!(behind.poll(&mut second).is_ready());
    gate.open(2);
    // It was never accepted, so the group does not count it.
    assert_eq!(task.finish(&mut group), Ok(()));
    assert_eq!((group.stats().ok, group.stats().dropped), (2, 0));
}

#[test]
fn a_streams_destructor_that_panics_leaves_the_group_as_it_is() {
    fn scenario<C>(group: Group<C>, own: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = group.with_limit(2);
        let handle = group.handle();
        let bomb = Bomb("of the stream");
        let mut children = vec![waits(&gate, 0)];
        let children = stream::poll_fn(move |_| {
            let _ = &bomb;
            Poll::Ready(children.pop())
        });
        let message = if own {
            panic_message(|| task.finish(group.feed(children)))
        } else {
            panic_message(|| task.finish(handle.feed(children)))
        };
        assert_eq!(message, "of the stream");
        assert!(!group.is_stopped());
        assert!(group.try_go(waits(&gate, 1)).is_ok(), "it holds no room");
        assert!(task.run(&mut group).is_pending());
        let before = task.wakes();
        gate.open(0);
        gate.open(1);
        assert_eq!(task.wakes(), before + 1);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    }
    for own in [true, false] {
        scenario(Group::new(), own);
        scenario(Group::local(), own);
        scenario(Group::unboxed(), own);
    }
}

struct Nervous {
    on_child: Option<&'static str>,
    finish: Option<&'static str>,
    seen: Arc<AtomicUsize>,
    finished: Arc<AtomicUsize>,
}

impl Nervous {
    fn new(on_child: Option<&'static str>, finish: Option<&'static str>) -> Self {
        Self { on_child, finish, seen: Arc::default(), finished: Arc::default() }
    }
}

impl Policy<usize, &'static str> for Nervous {
    type Output = usize;

    fn on_child(&mut self, _: &ChildInfo<'_>, _: Result<usize, &'static str>) -> Verdict {
        self.seen.fetch_add(1, SeqCst);
        self.on_child.take().map_or(Verdict::Continue, |message| panic_any(message))
    }

    fn finish(&mut self, _: &Reason) -> usize {
        self.finished.fetch_add(1, SeqCst);
        self.finish.map_or(7, |message| panic_any(message))
    }
}

#[test]
fn a_policys_panic_counts_as_a_childs() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let policy = Nervous::new(Some("in the policy"), None);
        let (seen, finished) = (Arc::clone(&policy.seen), Arc::clone(&policy.finished));
        let mut group = group.with_limit(2).with_policy(policy);
        group.queue(probe.watch(ready(Ok(0))));
        group.queue(probe.watch(waits(&gate, 1)));
        group.queue(probe.watch(ready(Ok(2))));
        assert!(task.run(&mut group).is_pending());
        assert_eq!(group.token().reason(), Some(Reason::Panicked));
        // The child that finished and the queued child are dropped.
        assert_eq!((probe.polls(), probe.drops()), (2, 2));
        gate.open(1);
        assert_eq!(panic_message(|| task.poll(&mut group)), "in the policy");
        assert_eq!(probe.drops(), 3);
        assert_eq!(finished.load(SeqCst), 0, "`finish` is not called after a panic");
        assert!(seen.load(SeqCst) <= 2);
        assert!(group.is_terminated());
        assert!(task.poll(&mut group).is_pending());
        let stats = group.stats();
        assert_eq!((stats.running, stats.queued), (0, 0));
        assert_eq!(stats.ok + stats.failed + stats.dropped, 3);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_panic_of_finish_comes_out_and_the_group_is_over() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let policy = Nervous::new(None, Some("in finish"));
    let finished = Arc::clone(&policy.finished);
    let mut group = Jobs::new().with_policy(policy);
    let handle = group.handle();
    group.queue(probe.watch(ready(Ok(0))));
    assert_eq!(panic_message(|| task.poll(&mut group)), "in finish");
    assert_eq!((finished.load(SeqCst), probe.drops()), (1, 1));
    assert!(group.is_terminated() && group.is_stopped());
    assert_eq!(group.token().reason(), Some(Reason::Panicked));
    assert!(handle.is_closed());
    assert!(task.poll(&mut group).is_pending());
    drop(group);
    assert_eq!(finished.load(SeqCst), 1);
}

#[test]
fn finish_is_not_called_after_a_childs_panic() {
    let task = MockTask::new();
    let policy = Nervous::new(None, None);
    let (seen, finished) = (Arc::clone(&policy.seen), Arc::clone(&policy.finished));
    let mut group = Jobs::new().with_policy(policy);
    group.queue(async { panic_any("oh no") });
    group.queue(ready(Ok(1)));
    assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
    assert_eq!((seen.load(SeqCst), finished.load(SeqCst)), (1, 0));
}

#[test]
fn a_caught_panic_is_dropped_with_its_group() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        group.queue(panics(&gate, 0, "oh no"));
        group.queue(probe.watch(waits(&gate, 1)));
        gate.open(0);
        assert!(task.poll(&mut group).is_pending());
        drop(group);
        assert_eq!((probe.polls(), probe.drops()), (1, 1));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn destructors_that_panic_when_the_group_is_dropped_lose_no_child_and_one_panic_comes_out() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(4);
        let (handle, token) = (group.handle(), group.token().clone());
        // Running:
        group.queue(probe.watch(waits(&gate, 0)));
        group.queue(explodes("in a destructor", probe.watch(waits(&gate, 1))));
        group.queue(probe.watch(waits(&gate, 2)));
        assert!(task.poll(&mut group).is_pending());
        // Admitted, queued:
        for n in 3..10 {
            group.queue(explodes("in a destructor", probe.watch(waits(&gate, n))));
        }
        assert_eq!(panic_message(move || drop(group)), "in a destructor");
        assert_eq!((probe.polls(), probe.drops()), (3, 10));
        assert_eq!(token.reason(), Some(Reason::Dropped));
        let stats = handle.stats();
        assert_eq!((stats.running, stats.queued, stats.dropped), (0, 0, 10));
        assert!(handle.is_closed());
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_group_dropped_by_a_panic_does_not_panic_again() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let message = panic_message(|| {
        let mut group = Jobs::new().with_limit(2);
        for n in 0..4 {
            group.queue(explodes("in a destructor", probe.watch(waits(&gate, n))));
        }
        assert!(task.poll(&mut group).is_pending());
        // A second panic while this one unwinds would abort.
        panic_any("outside")
    });
    assert_eq!((message, probe.drops()), ("outside", 4));
}

#[test]
fn a_destructors_panic_at_the_drop_comes_out_and_the_caught_one_does_not() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new();
    group.queue(panics(&gate, 0, "oh no"));
    group.queue(explodes("in a destructor", probe.watch(waits(&gate, 1))));
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    // The caught panic is dropped; the destructor's is not swallowed.
    assert_eq!(panic_message(move || drop(group)), "in a destructor");
    assert_eq!(probe.drops(), 1);
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_harms_no_child() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    // As the second panic, which is dropped:
    let mut group = Jobs::new();
    group.queue(async { panic_any("first") });
    group.queue(async { panic_any(Bomb("of the payload")) });
    group.queue(probe.watch(waits(&gate, 0)));
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    assert_eq!(panic_message(|| task.poll(&mut group)), "first");
    assert_eq!(probe.drops(), 1);

    // As the caught panic of a group that is dropped:
    let mut group = Jobs::new();
    let handle = group.handle();
    group.queue(async { panic_any(Bomb("of the payload")) });
    group.queue(probe.watch(waits(&gate, 1)));
    assert!(task.poll(&mut group).is_pending());
    drop(group);
    assert_eq!(probe.drops(), 2);
    assert!(handle.is_closed());
}

#[test]
fn a_result_that_panics_when_it_is_dropped_is_not_swallowed() {
    let task = MockTask::new();
    let probe = Probe::new();
    let mut group = Values::new();
    group.queue(async { Ok(Value::bomb("of the result")) });
    let child = probe.watch(ready(Ok(0)));
    group.queue(async move {
        let _ = child.await;
        std::future::pending().await
    });
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((probe.polls(), group.token().reason()), (1, Some(Reason::Panicked)));
}

#[test]
fn a_child_and_its_result_that_both_panic_when_dropped_are_one_panic() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Values::new();
    let bomb = Bomb("of the child");
    group.queue(poll_fn(move |_| {
        let _ = &bomb;
        Poll::Ready(Ok(Value::bomb("of the result")))
    }));
    let sibling = probe.watch(waits(&gate, 0));
    group.queue(async move {
        let _ = sibling.await;
        Ok(Value::new("harmless", || ()))
    });
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((probe.polls(), group.stats().running), (1, 1));
    gate.open(0);
    assert_eq!(panic_message(|| task.poll(&mut group)), "of the child");
    assert!(group.is_terminated());
}

#[test]
fn one_hundred_panics_at_once_are_one() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    for _ in 0..100 {
        group.queue(probe.watch(async { panic_any("oh no") }));
    }
    assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
    assert_eq!((probe.polls(), probe.drops(), group.stats().dropped), (100, 100, 100));
}

#[test]
fn a_panic_in_another_groups_child_stays_there() {
    let task = MockTask::new();
    let mut outer = Group::new();
    let mut inner = Jobs::new();
    inner.queue(async { panic_any("inner") });
    outer.queue(async move { inner.await.map(|()| 0_usize) });
    assert_eq!(panic_message(|| task.poll(&mut outer)), "inner");
    assert!(outer.is_terminated());
}

#[test]
fn a_panic_comes_out_of_a_poll_in_an_unwinding_thread() {
    struct Cleanup<'a>(&'a mut Option<&'static str>);

    impl Drop for Cleanup<'_> {
        fn drop(&mut self) {
            let mut group = Jobs::new();
            group.queue(job(async { panic_any("the child") }));
            *self.0 = Some(panic_message(|| MockTask::new().run(&mut group)));
            assert!(group.is_terminated());
        }
    }

    let mut caught = None;
    assert_eq!(
        panic_message(|| {
            let _cleanup = Cleanup(&mut caught);
            panic_any("the first")
        }),
        "the first"
    );
    assert_eq!(caught, Some("the child"));
}

#[test]
fn a_dropped_group_throws_once_even_if_its_policy_panics_as_well() {
    let of_policy = Bomb("the policy");
    let mut group = Jobs::new().with_policy(Calls::new(move |_, _| {
        let _ = &of_policy;
        Verdict::Continue
    }));
    let bomb = Bomb("the child");
    group.queue(job(async move {
        let _bomb = bomb;
        Ok(0)
    }));
    assert_eq!(panic_message(|| drop(group)), "the child");
}

#[test]
fn of_a_stream_that_panics_twice_the_first_comes_out() {
    struct Grudge(#[allow(dead_code)] Bomb);

    impl stream::Stream for Grudge {
        type Item = Job;

        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Job>> {
            panic_any("its poll")
        }
    }

    let (task, mut group) = (MockTask::new(), Jobs::new());
    let mut feed = Box::pin(group.feed(Grudge(Bomb("its destructor"))));
    assert_eq!(panic_message(|| task.poll(&mut feed)), "its poll");
    drop(feed);
    group.queue(job(ready(Ok(0))));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

/// A policy that panics at the first child and keeps its result.
struct Faints;

impl Policy<Value, Value> for Faints {
    type Output = ();

    fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<Value, Value>) -> Verdict {
        std::mem::forget(result);
        panic_any("the policy")
    }

    fn finish(&mut self, _: &Reason) {}
}

#[test]
fn results_that_panic_after_the_policy_panicked_are_counted_once() {
    for (count, handed_out) in [(2, false), (3, true), (64 * 20, false)] {
        let (task, drops) = (MockTask::new(), DropCounter::default());
        let mut group = Values::new().with_policy(Faints);
        let handle = handed_out.then(|| group.handle());
        for _ in 0..count {
            let guard = drops.guard();
            group.queue(async move {
                let _guard = guard;
                Ok(Value::bomb("a result"))
            });
        }
        assert_eq!(panic_message(|| task.run(&mut group).is_pending()), "the policy");
        let stats = group.stats();
        assert_eq!(drops.get(), count);
        assert_eq!((stats.running, stats.ok + stats.dropped), (0, count));
        drop(handle);
    }
}

#[test]
fn a_waker_left_behind_by_a_policys_panic_wakes_no_other_child() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let kept = Arc::new(std::sync::Mutex::new(None));
    let mut group = Group::new().with_policy(Calls::new(|_, _| panic_any("the policy")));
    let keeps = Arc::clone(&kept);
    group.queue(job(poll_fn(move |cx| {
        *keeps.lock().unwrap() = Some(cx.waker().clone());
        Poll::Ready(Ok(0))
    })));
    group.queue(probe.watch(job(std::future::pending())));
    assert!(task.run(&mut group).is_pending());
    assert_eq!(probe.polls(), 1);
    let waker: Option<std::task::Waker> = kept.lock().unwrap().take();
    waker.expect("it was polled").wake();
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(probe.polls(), 1);
}

#[test]
fn children_that_panic_use_the_budget_up_as_others_do() {
    let task = MockTask::new();
    let mut group = Jobs::new();
    for _ in 0..5_000 {
        group.queue(job(async { std::panic::resume_unwind(Box::new("a child")) }));
    }
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((group.stats().running, group.stats().dropped), (904, 4_096));
    assert_eq!(panic_message(|| task.poll(&mut group)), "a child");
    assert_eq!(group.stats().dropped, 5_000);
}

// === a second destructor that panics ===

/// Panics at its second poll.
fn panics_later<T, E>() -> impl Future<Output = Result<T, E>> + Send + Unpin {
    let mut polled = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            panic_any("the child");
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Awaits a future by value: it is dropped while its panic unwinds. Checks whose panic that is.
fn panics_by_value(future: impl Future) {
    assert_eq!(panic_message(|| futures::executor::block_on(future)), "the child");
}

#[test]
fn what_a_policy_keeps_may_panic_in_its_destructor_beside_a_childs_panic() {
    macro_rules! with {
        ($policy:ident, $first:expr) => {{
            let mut group = Group::new().$policy();
            group.queue(ready($first));
            group.queue(panics_later());
            panics_by_value(group);
        }};
    }
    let mut group = Group::new();
    group.queue(ready(Err::<(), _>(Bomb("the error"))));
    group.queue(panics_later());
    panics_by_value(group);
    with!(collect, Ok::<_, ()>(Bomb("the value")));
    with!(settle, Ok::<_, ()>(Bomb("the value")));
    with!(first_ok, Ok::<_, ()>(Bomb("the value")));
    with!(first_done, Ok::<_, ()>(Bomb("the value")));
    with!(all_errors, Err::<(), _>(Bomb("the error")));
}

#[test]
fn the_value_of_a_scopes_body_may_panic_in_its_destructor_beside_a_childs_panic() {
    fn group<E: Send + 'static>() -> Group<Boxed<'static, (), E>> {
        let mut group = Group::new();
        group.queue(panics_later());
        group
    }
    panics_by_value(group::<()>().scope(|_| ready(Bomb("the value"))));
    panics_by_value(group::<()>().try_scope(|_| ready(Ok(Bomb("the value")))));
    panics_by_value(group().try_scope(|_| ready(Err::<(), _>(Bomb("the error")))));
    // It is dropped after a child whose destructor panics.
    let mut group = Group::new();
    let bomb = Bomb("the child");
    group.queue(async move {
        let _bomb = bomb;
        pending::<Result<(), ()>>().await
    });
    let mut scope = group.scope(|_| ready(Bomb("the value")));
    assert!(MockTask::new().poll(&mut scope).is_pending());
    assert_eq!(panic_message(|| drop(scope)), "the child");
}

#[test]
fn the_output_of_a_future_whose_destructor_panics_may_panic_in_its_own() {
    struct Both(#[expect(dead_code, reason = "it is dropped")] Bomb);
    impl Future for Both {
        type Output = Bomb;

        fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Bomb> {
            Poll::Ready(Bomb("the output"))
        }
    }
    panics_by_value(errgroup::CancelToken::new().run(Both(Bomb("the child"))));
    panics_by_value(errgroup::value(Both(Bomb("the child"))));
}
