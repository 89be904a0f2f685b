//! `with_grace`: how long children may run on after a stop.

use std::cell::RefCell;
use std::future::{pending, poll_fn, ready};
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::common::{
    Bomb, CountOnDrop, DropCounter, Gate, Job, Log, MockTask, OnDrop, Probe, count_polls, fails,
    job, panic_message, unboxed, waits, yield_now,
};
use crate::on::Pool;
use errgroup::{Boxed, CancelToken, Group, Handle, Reason};
use futures::stream;

/// The door at which graces wait.
const GRACE: usize = 1000;

type Jobs = Boxed<'static, usize, &'static str>;

/// Returns a group with a grace, and the count of how often the grace begins.
fn graced(gate: &Gate) -> (Group<Jobs>, Arc<AtomicUsize>) {
    let begun = Arc::<AtomicUsize>::default();
    let (count, wait) = (Arc::clone(&begun), gate.wait(GRACE));
    let group = Group::new().with_grace(move || {
        count.fetch_add(1, Ordering::SeqCst);
        wait
    });
    (group, begun)
}

fn begun(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

#[test]
fn children_that_still_run_when_the_grace_is_over_are_dropped() {
    let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let (mut group, count) = graced(&gate);
    let handle = group.handle();
    group.queue(fails(&gate, 0, "broken"));
    group.queue(probe.watch(waits(&gate, 1)));
    group.queue(probe.watch(job(pending())));
    assert!(task.run(&mut group).is_pending());
    assert_eq!(begun(&count), 0);
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert_eq!((begun(&count), probe.drops()), (1, 0), "a signal first");
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!((begun(&count), probe.drops()), (1, 1));
    let wakes = task.wakes();
    gate.open(GRACE);
    assert_eq!(task.wakes(), wakes + 1);
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
    assert_eq!((begun(&count), probe.drops()), (1, 2));
    let stats = handle.stats();
    assert_eq!((stats.ok, stats.failed, stats.dropped, stats.running), (1, 1, 1, 0));
    assert_eq!(handle.token().reason(), Some(Reason::Failed));
}

#[test]
fn the_grace_begins_at_a_stop_for_any_reason() {
    type Stop = fn(Group<Jobs>, &CancelToken) -> Group<Jobs>;
    let stops: [(Reason, Stop); 5] = [
        (Reason::Failed, |mut group, _| {
            group.queue(job(ready(Err("broken"))));
            group
        }),
        (Reason::Panicked, |mut group, _| {
            group.queue(job(async { panic_any("a child") }));
            group
        }),
        (Reason::Cancelled, |group, _| {
            group.token().cancel();
            group
        }),
        (Reason::Done, |group, parent| {
            parent.cancel_with(Reason::Done);
            group
        }),
        (Reason::Deadline, |mut group, _| {
            let token = group.token().clone();
            group.queue(job(async move {
                token.cancel_with(Reason::Deadline);
                Ok(0)
            }));
            group
        }),
    ];
    for (reason, stop) in stops {
        let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
        let (group, count) = graced(&gate);
        let parent = CancelToken::new();
        let mut group = group.with_parent(&parent);
        let handle = group.handle();
        group.queue(probe.watch(job(pending())));
        assert!(task.run(&mut group).is_pending());
        let mut group = stop(group, &parent);
        assert!(task.run(&mut group).is_pending());
        assert_eq!((begun(&count), probe.drops()), (1, 0), "{reason}");
        assert_eq!(handle.token().reason(), Some(reason.clone()));
        gate.open(GRACE);
        match reason {
            Reason::Panicked => assert_eq!(panic_message(|| task.run(&mut group)), "a child"),
            Reason::Failed => assert_eq!(task.run(&mut group), Poll::Ready(Err("broken"))),
            _ => assert_eq!(task.run(&mut group), Poll::Ready(Ok(()))),
        }
        assert_eq!(probe.drops(), 1);
        assert_eq!(handle.stats().running, 0);
    }
}

#[test]
fn the_grace_begins_when_the_deadline_passes_or_the_policy_stops() {
    let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let mut group =
        Group::new().with_deadline(gate.wait(0)).with_grace(|| gate.wait(GRACE)).settle();
    group.queue(probe.watch(job(pending())));
    group.queue(probe.watch(job(ready(Ok(1)))));
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    gate.open(GRACE);
    assert_eq!(task.run(&mut group), Poll::Ready(vec![Ok(1)]));
    assert_eq!(probe.drops(), 2);

    let mut group = Group::new().first_ok().with_grace(|| ready(()));
    group.queue(probe.watch(job(pending())));
    group.queue(probe.watch(job(ready(Ok(1)))));
    assert_eq!(task.finish(group), Ok(1));
    assert_eq!(probe.drops(), 4);
}

#[test]
fn the_grace_never_begins_if_no_child_runs_at_the_stop() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let (mut group, count) = graced(&gate);
    group.queue(job(ready(Ok(0))));
    group.queue(job(ready(Err("the last"))));
    assert_eq!(task.run(&mut group), Poll::Ready(Err("the last")));
    assert_eq!(begun(&count), 0);

    let (group, count) = graced(&gate);
    let mut group = group.with_limit(1);
    group.token().cancel();
    group.queue(job(ready(Ok(0))));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((begun(&count), task.wakes()), (0, 0));

    let (mut group, count) = graced(&gate);
    group.queue(job(ready(Ok(0))));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(begun(&count), 0, "nor if it ends without a stop");
}

#[test]
fn the_grace_never_begins_if_all_children_have_ended_on_their_executor_at_the_stop() {
    let (pool, task, begun) = (Pool::new(), MockTask::new(), Arc::<AtomicUsize>::default());
    for (left, expected) in [(0, 0), (1, 1)] {
        let count = Arc::clone(&begun);
        let mut group = Group::on(pool.spawn()).with_grace(move || {
            count.fetch_add(1, Ordering::SeqCst);
            pending::<()>()
        });
        group.queue(ready(Ok::<usize, &str>(0)));
        (0..left).for_each(|_| group.queue(pending()));
        pool.poll_all();
        group.token().cancel();
        assert_eq!(task.poll(&mut group).is_ready(), left == 0);
        assert_eq!(begun.load(Ordering::SeqCst), expected);
    }
}

#[test]
fn the_grace_is_dropped_when_the_children_end_first() {
    let (gate, task, drops) = (Gate::new(), MockTask::new(), DropCounter::default());
    let kept = drops.guard();
    let wait = gate.wait(GRACE);
    let mut group = Group::new().with_grace(move || async move {
        let _kept = kept;
        wait.await;
    });
    group.queue(waits(&gate, 0));
    assert!(task.run(&mut group).is_pending());
    group.token().cancel();
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(drops.get(), 1);
    let wakes = task.wakes();
    gate.open(GRACE);
    assert_eq!(task.wakes(), wakes);
}

#[test]
fn a_grace_is_polled_only_when_it_was_woken() {
    let (gate, task, polls) = (Gate::new(), MockTask::new(), Arc::<AtomicUsize>::default());
    let mut group = Group::new().with_grace(|| count_polls(&polls, gate.wait(GRACE)));
    for number in 0..3 {
        group.queue(waits(&gate, number));
    }
    assert!(task.poll(&mut group).is_pending());
    group.token().cancel();
    assert_eq!(task.wakes(), 1);
    for number in 0..2 {
        assert!(task.poll(&mut group).is_pending());
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((task.wakes(), polls.load(Ordering::SeqCst)), (number + 1, 1));
        gate.open(number);
    }
    assert!(task.poll(&mut group).is_pending());
    gate.waker(GRACE).unwrap().wake();
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((task.wakes(), polls.load(Ordering::SeqCst)), (4, 2));
    gate.open(GRACE);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((task.wakes(), polls.load(Ordering::SeqCst)), (5, 3));
}

#[test]
fn a_grace_that_wakes_itself_is_polled_again_in_the_next_poll() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new().with_grace(async || {
        yield_now().await;
        yield_now().await;
    });
    group.queue(probe.watch(job(pending())));
    group.token().cancel();
    for wakes in 1..=2 {
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((task.wakes(), probe.drops()), (wakes, 0));
    }
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((task.wakes(), probe.drops()), (2, 1));
}

#[test]
fn a_grace_of_no_time_drops_unpolled_children() {
    for with_handle in [false, true] {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = Group::new().with_limit(2).with_grace(|| ready(()));
        let handle = with_handle.then(|| group.handle());
        for number in 0..5 {
            group.queue(probe.watch(job(ready(Ok(number)))));
        }
        group.token().cancel();
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.polls(), probe.drops()), (0, 5));
        assert_eq!(group.stats().dropped, 5);
        assert!(handle.is_none_or(|handle| handle.is_closed() && handle.stats().running == 0));
    }
}

#[test]
fn admitted_children_not_yet_in_the_set_are_dropped_too() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new().with_grace(|| ready(()));
    let handle = group.handle();
    let (inner, child) = (handle.clone(), probe.watch(ready(Ok(1))));
    group.queue(job(async move {
        inner.queue(child);
        inner.token().cancel();
        Ok(0)
    }));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    let stats = handle.stats();
    assert_eq!((stats.ok, stats.dropped, stats.running), (1, 1, 0));
}

#[test]
fn a_round_cut_short_by_the_budget_is_not_resumed_after_the_grace() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new().with_grace(|| ready(()));
    let token = group.token().clone();
    group.queue(job(async move {
        token.cancel();
        Ok(0)
    }));
    for _ in 1..10_000 {
        group.queue(probe.watch(job(pending())));
    }
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((probe.polls(), probe.drops(), task.wakes()), (4_095, 0, 1));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (4_095, 9_999));
    assert_eq!((group.stats().ok, group.stats().dropped), (1, 9_999));
}

#[test]
fn a_stop_at_the_very_end_of_the_budget_begins_the_grace_too() {
    // Two children wake each other until the last poll of the budget; no wake-up comes after it.
    let (task, probe, polls) = (MockTask::new(), Probe::new(), Arc::<AtomicUsize>::default());
    let wakers = Arc::new(Mutex::new([None::<Waker>, None]));
    let mut group = Group::new().with_grace(|| ready(()));
    for me in 0..2 {
        let (wakers, polls) = (Arc::clone(&wakers), Arc::clone(&polls));
        group.queue(probe.watch(poll_fn(move |cx| {
            if polls.fetch_add(1, Ordering::SeqCst) == 4_095 {
                return Poll::Ready(Err("the last"));
            }
            let mut wakers = wakers.lock().unwrap();
            wakers[me] = Some(cx.waker().clone());
            if let Some(other) = wakers[1 - me].take() {
                other.wake();
            }
            Poll::Pending
        })));
    }
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((probe.drops(), task.wakes()), (1, 1));
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("the last")));
    assert_eq!((probe.drops(), polls.load(Ordering::SeqCst)), (2, 4_096));
}

#[test]
fn children_behind_an_unclaimed_reservation_are_dropped_unpolled() {
    let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let mut group = Group::new().with_limit(2).with_grace(|| ready(()));
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    let mut go = handle.go(probe.watch(ready(Ok(2))));
    assert!(MockTask::new().poll(&mut go).is_pending());
    handle.queue(probe.watch(ready(Ok(3))));
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!((handle.stats().running, handle.stats().queued), (1, 0), "3 waits for 2");
    handle.token().cancel();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    assert_eq!((handle.stats().ok, handle.stats().dropped), (2, 1));
}

#[test]
fn a_child_may_end_the_grace_within_one_poll() {
    let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let (mut group, _) = graced(&gate);
    let (token, opener) = (group.token().clone(), gate.clone());
    group.queue(probe.watch(job(async move {
        token.cancelled().await;
        opener.open(GRACE);
        pending().await
    })));
    group.queue(job(ready(Err("broken"))));
    assert_eq!(task.run(&mut group), Poll::Ready(Err("broken")));
    assert_eq!(probe.drops(), 1);
}

#[test]
fn wakers_of_dropped_children_wake_no_newcomer() {
    // A scope's group lives on after its children were cut off.
    let (gate, task) = (Gate::new(), MockTask::new());
    let scope = Group::new().with_grace(|| ready(())).scope(async |handle: Handle<Jobs>| {
        for number in 0..200 {
            handle.queue(waits(&gate, number));
        }
        yield_now().await;
        handle.token().cancel();
        gate.wait(GRACE).await;
        handle.stats().dropped
    });
    let mut scope = pin!(scope);
    assert!(task.run(&mut scope.as_mut()).is_pending(), "the body is not cut off");
    for number in 0..200 {
        gate.open(number);
    }
    assert!(task.run(&mut scope.as_mut()).is_pending());
    gate.open(GRACE);
    assert_eq!(task.run(&mut scope.as_mut()), Poll::Ready((200, Ok(()))));
}

#[test]
fn a_scopes_children_are_cut_off_while_its_body_goes_on() {
    let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let child = probe.watch(job(pending()));
    let wait = gate.wait(GRACE);
    let scope = Group::new().with_grace(|| wait).try_scope(async |handle| {
        handle.queue(child);
        handle.queue(job(ready(Err("broken"))));
        gate.wait(0).await;
        assert!(handle.try_go(job(ready(Ok(0)))).is_err());
        Ok("the body")
    });
    let mut scope = pin!(scope);
    assert!(task.run(&mut scope.as_mut()).is_pending());
    gate.open(GRACE);
    assert!(task.run(&mut scope.as_mut()).is_pending());
    assert_eq!(probe.drops(), 1);
    gate.open(0);
    assert_eq!(task.run(&mut scope.as_mut()), Poll::Ready(Err("broken")));
}

#[test]
fn a_body_that_fails_begins_the_grace() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let child = probe.watch(job(pending()));
    let scope = Group::new().with_grace(|| ready(())).try_scope(async |handle| {
        handle.queue(child);
        Err::<(), _>("the body")
    });
    assert_eq!(task.finish(scope), Err("the body"));
    assert_eq!(probe.drops(), 1);
}

#[test]
fn a_waiting_go_cuts_off_no_child_but_the_group_after_it_does() {
    let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let (group, count) = graced(&gate);
    let mut group = group.with_limit(1);
    group.queue(probe.watch(job(pending())));
    let mut go = group.go(job(ready(Ok(1))));
    assert!(task.poll(&mut go).is_pending());
    drop(go);
    group.token().cancel();
    let mut go = group.go(job(ready(Ok(1))));
    assert!(task.poll(&mut go).is_ready());
    drop(go);
    assert_eq!(begun(&count), 0);
    gate.open(GRACE);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((begun(&count), probe.drops()), (1, 1));
}

#[test]
fn a_child_that_waits_in_its_own_group_is_cut_off_too() {
    let task = MockTask::new();
    let mut group = Group::new().with_limit(1).with_grace(|| ready(()));
    let handle = group.handle();
    let (inner, token) = (handle.clone(), group.token().clone());
    group.queue(job(async move {
        token.cancelled().await;
        // The group has stopped: a `go` returns at once.
        assert!(inner.go(job(ready(Ok(0)))).await.is_err());
        inner.feed(stream::pending::<Job>()).await;
        pending().await
    }));
    handle.queue(job(ready(Ok(1))));
    assert!(task.run(&mut group).is_pending());
    handle.token().cancel();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    let stats = handle.stats();
    assert_eq!((stats.ok, stats.dropped, stats.running, stats.queued), (0, 2, 0, 0));
    assert!(handle.is_closed());
}

#[test]
fn a_destructor_that_panics_at_the_cut_off_loses_no_other_child() {
    for bombs in [vec![1], vec![0, 2], vec![0, 1, 2]] {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = Group::new().with_grace(|| ready(()));
        let handle = group.handle();
        for number in 0..3 {
            let bomb = bombs.contains(&number).then(|| Bomb("a destructor"));
            group.queue(probe.watch(async move {
                let _bomb = bomb;
                pending().await
            }));
        }
        assert!(task.run(&mut group).is_pending());
        handle.token().cancel();
        assert_eq!(panic_message(|| task.run(&mut group)), "a destructor");
        assert_eq!(probe.drops(), 3);
        assert_eq!((handle.stats().dropped, handle.stats().running), (3, 0));
        assert!(handle.is_closed());
        assert!(task.poll(&mut group).is_pending());
    }
}

#[test]
fn a_destructor_may_use_the_handle_when_its_child_is_cut_off() {
    let task = MockTask::new();
    let mut group = Group::new().with_grace(|| ready(()));
    let handle = group.handle();
    let seen = Log::new();
    for _ in 0..3 {
        let (handle, seen) = (handle.clone(), seen.clone());
        let last = OnDrop(move || {
            handle.queue(job(ready(Ok(0))));
            seen.add(format!("{}", handle.stats().running));
        });
        group.queue(job(async move {
            let _last = last;
            pending().await
        }));
    }
    assert!(task.run(&mut group).is_pending());
    handle.token().cancel();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(seen.take(), ["3", "2", "1"]);
    assert_eq!(handle.stats().dropped, 6);
}

#[test]
fn a_panic_of_the_closure_or_its_future_counts_as_a_childs_and_the_siblings_are_drained() {
    type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;
    let panics: [fn() -> Wait; 3] = [
        || panic_any("the grace"),
        || Box::pin(async { panic_any("the grace") }),
        || {
            Box::pin(async {
                let _bomb = Bomb("the grace");
                pending::<()>().await;
            })
        },
    ];
    for (case, panics) in panics.into_iter().enumerate() {
        let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
        let mut group = Group::new().with_grace(panics);
        group.queue(probe.watch(waits(&gate, 0)));
        group.queue(probe.watch(waits(&gate, 1)));
        group.queue(fails(&gate, 2, "broken"));
        assert!(task.run(&mut group).is_pending());
        gate.open(2);
        assert!(task.run(&mut group).is_pending());
        gate.open(0);
        assert!(task.run(&mut group).is_pending(), "{case}");
        assert_eq!(probe.drops(), 1);
        gate.open(1);
        assert_eq!(panic_message(|| task.run(&mut group)), "the grace");
        assert_eq!(probe.drops(), 2);
        assert_eq!((group.stats().ok, group.stats().dropped), (2, 0));
    }
}

#[test]
fn a_panic_of_the_expired_graces_destructor_still_cuts_off_the_children() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new().with_grace(|| async {
        let _bomb = Bomb("the grace");
    });
    group.queue(probe.watch(job(pending())));
    group.token().cancel();
    // The bomb is dropped in the poll, so this is a panic of the future.
    assert!(task.run(&mut group).is_pending());
    drop(group);
    assert_eq!(probe.drops(), 1);

    struct Late(Bomb);
    impl Future for Late {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
            let _ = self.0.0;
            Poll::Ready(())
        }
    }
    let mut group = Group::new().with_grace(|| Late(Bomb("the grace")));
    group.queue(probe.watch(job(pending())));
    group.token().cancel();
    assert_eq!(panic_message(|| task.run(&mut group)), "the grace");
    assert_eq!(probe.drops(), 2);
}

#[test]
fn a_grace_bounds_the_drain_after_a_panic_of_the_deadline() {
    let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let mut group = Group::new()
        .with_deadline(async { panic_any("the deadline") })
        .with_grace(|| gate.wait(GRACE));
    group.queue(probe.watch(job(pending())));
    assert!(task.run(&mut group).is_pending());
    assert_eq!(probe.drops(), 0);
    gate.open(GRACE);
    assert_eq!(panic_message(|| task.run(&mut group)), "the deadline");
    assert_eq!(probe.drops(), 1);
}

#[test]
fn a_closure_that_is_never_called_is_dropped_with_its_panic() {
    let probe = Probe::new();
    let graced = || {
        let bomb = Bomb("the closure");
        let mut group = Group::new().with_grace(move || {
            let _bomb = &bomb;
            ready(())
        });
        group.queue(probe.watch(ready(Ok(0))));
        group
    };
    assert_eq!(panic_message(|| MockTask::new().finish(graced())), "the closure");
    assert_eq!(panic_message(|| drop(graced())), "the closure");
    assert_eq!(probe.drops(), 2);
}

#[test]
fn of_many_panics_at_the_end_the_first_comes_out_and_all_children_are_dropped() {
    let probe = Probe::new();
    let bombed = || {
        let (deadline, grace) = (Bomb("the deadline"), Bomb("the grace"));
        let group = Group::new()
            .with_deadline(async move {
                let _bomb = deadline;
                pending::<()>().await;
            })
            .with_grace(move || {
                let _bomb = &grace;
                ready(())
            });
        let handle = group.handle();
        handle.queue(probe.watch(ready(Ok(0))));
        (group, handle)
    };
    let (group, handle) = bombed();
    assert_eq!(panic_message(|| MockTask::new().finish(group)), "the deadline");
    assert!(handle.is_closed());
    let (group, handle) = bombed();
    assert_eq!(panic_message(|| drop(group)), "the deadline");
    assert!(handle.is_closed());
    assert_eq!(probe.drops(), 2);
}

#[test]
fn the_last_grace_set_holds_and_outlives_a_new_policy() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let group = Group::new().with_grace(pending::<()>).with_grace(|| ready(()));
    let mut group = group.collect().with_limit(2);
    group.queue(probe.watch(job(pending())));
    group.queue(probe.watch(ready(Ok(3))));
    assert!(task.run(&mut group).is_pending());
    group.token().cancel();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![3])));
    assert_eq!(probe.drops(), 2);
}

#[test]
fn with_grace_called_too_late_says_where_it_belongs() {
    let call = || {
        let mut group = Group::new();
        group.queue(job(ready(Ok(7))));
        group.with_grace(pending::<()>)
    };
    assert_eq!(panic_message(call), "call `with_grace` before the group's first child");
}

#[test]
fn a_local_groups_grace_need_not_be_send() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let (first, second) = (Rc::clone(&log), Rc::clone(&log));
    let mut group = Group::local().with_grace(|| async {
        first.borrow_mut().push("grace");
        yield_now().await;
    });
    let last = OnDrop(move || second.borrow_mut().push("cut off"));
    group.queue(async move {
        let _last = last;
        pending::<Result<usize, &str>>().await
    });
    group.token().cancel();
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(*log.borrow(), ["grace", "cut off"]);
}

#[test]
fn children_of_one_type_are_cut_off_in_place() {
    // More children than a block holds: some yield, some wait, and some were never polled.
    let (gate, task, drops) = (Gate::new(), MockTask::new(), DropCounter::default());
    let wait = gate.wait(GRACE);
    let mut group = Group::unboxed().with_grace(move || wait);
    let child = |number: usize, gate: &Gate, kept: CountOnDrop| {
        let gate = gate.clone();
        unboxed::<1>(job(async move {
            let _kept = kept;
            match number % 3 {
                0 => loop {
                    yield_now().await;
                },
                _ => gate.wait(number).await,
            }
            Ok(number)
        }))
    };
    for number in 0..150 {
        group.queue(child(number, &gate, drops.guard()));
    }
    for _ in 0..3 {
        assert!(task.poll(&mut group).is_pending());
    }
    for number in 150..200 {
        group.queue(child(number, &gate, drops.guard()));
    }
    for number in 0..50 {
        gate.open(number);
    }
    group.token().cancel();
    gate.open(GRACE);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((drops.get(), group.stats().dropped), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn a_stop_has_two_phases() {
    let start = tokio::time::Instant::now();
    let mut group = Group::new()
        .with_deadline(tokio::time::sleep(Duration::from_secs(30)))
        .with_grace(|| tokio::time::sleep(Duration::from_secs(3)));
    let token = group.token().clone();
    let (polite, stubborn) = (DropCounter::default(), DropCounter::default());
    let (one, other) = (polite.guard(), stubborn.guard());
    group.queue(async move {
        let _one = one;
        token.cancelled().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<usize, &str>(0)
    });
    group.queue(async move {
        let _other = other;
        pending().await
    });
    let handle = group.handle();
    let watch = async {
        tokio::time::sleep(Duration::from_secs(32)).await;
        (polite.get(), stubborn.get())
    };
    assert_eq!(futures::join!(group, watch), (Ok(()), (1, 0)));
    assert_eq!(start.elapsed(), Duration::from_secs(33));
    assert_eq!((handle.stats().ok, handle.stats().dropped), (1, 1));
}
