//! `with_deadline`: a future that stops the group when it resolves first.

use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::common::{
    Bomb, DropCounter, Gate, Log, MockTask, OnDrop, OrCancel, Probe, Tap, count_polls, fails,
    is_ok, is_stopped, job, panic_message, waits, yield_now,
};
use errgroup::{CancelToken, Group, Reason, TryGoError};
use futures::stream;

/// The door at which deadlines wait.
const TIME: usize = 1000;

#[test]
fn a_deadline_that_passes_stops_the_group_with_its_reason() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut group = Group::new().with_deadline(gate.wait(TIME));
    let token = group.token().clone();
    group.queue(waits(&gate, 0));
    assert!(task.run(&mut group).is_pending());
    gate.open(TIME);
    assert_eq!(task.wakes(), 1);
    assert!(task.run(&mut group).is_pending(), "the running child is waited for");
    assert_eq!(token.reason(), Some(Reason::Deadline));
    assert!(matches!(group.try_go(job(ready(Ok(1)))), Err(TryGoError::Stopped(_))));
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(token.reason(), Some(Reason::Deadline));
}

#[test]
fn a_deadline_that_is_found_by_the_last_poll_of_the_budget_is_heard_by_the_groups_next_poll() {
    for drops in [false, true] {
        let (gate, task, drop_count) = (Gate::new(), MockTask::new(), DropCounter::default());
        // Without handles, and nothing asks for its token.
        let mut group = Group::new().with_limit(1).with_deadline(gate.wait(TIME));
        if drops {
            group = group.drop_on_stop();
        }
        for n in 0..4095 {
            assert!(is_ok(task.poll(&mut group.go(job(ready(Ok(n)))))));
        }
        gate.open(TIME);
        let guard = drop_count.guard();
        group.queue(waits(&gate, 0));
        group.queue(job(async move {
            drop(guard);
            Ok(1)
        }));
        assert!(matches!(task.poll(&mut group.ready()), Poll::Ready(Err(_))));
        assert_eq!(task.poll(&mut group).is_ready(), drops);
        assert_eq!(drop_count.get(), 1, "the queue is dropped");
        if !drops {
            gate.open(0);
            assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
        }
    }
}

#[test]
fn a_deadline_that_passes_after_a_round_that_spent_the_budget_is_heard_by_the_next_poll() {
    for limit in [4096, 4095, 1] {
        let task = MockTask::new();
        let mut group = Group::new().with_limit(limit).with_deadline(ready(()));
        // Each poll of a child counts, so the last one that is in the set spends the budget.
        (0..4096 - limit).for_each(|n| assert!(is_ok(task.poll(&mut group.go(job(ready(Ok(n))))))));
        (0..=limit).for_each(|n| group.queue(job(ready(Ok(n)))));
        assert!(task.poll(&mut group).is_pending(), "a child is queued, which the stop drops");
        assert_eq!(task.wakes(), 1);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!(group.stats().dropped, 1);
    }
}

#[test]
fn a_deadline_is_dropped_before_the_task_sleeps_though_a_destructor_stops_the_group() {
    let (task, drops) = (MockTask::new(), DropCounter::default());
    let guard = drops.guard();
    let mut group = Group::new().with_limit(1).with_deadline(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    group.queue(errgroup::task(job(pending())).joinable().0);
    let token = group.token().clone();
    let stops = OnDrop(move || {
        token.cancel();
    });
    let (child, handle) = errgroup::task(job(async move {
        let _stops = stops;
        pending().await
    }))
    .joinable();
    group.queue(child);
    assert!(task.run(&mut group).is_pending());
    handle.abort();
    assert!(task.run(&mut group).is_pending());
    assert!(group.is_stopped());
    assert_eq!(drops.get(), 1);
}

#[test]
fn a_group_that_ends_first_ignores_its_deadline() {
    let (gate, task, drops) = (Gate::new(), MockTask::new(), DropCounter::default());
    let (time, kept) = (gate.wait(TIME), drops.guard());
    let mut group = Group::new().with_deadline(async move {
        let _kept = kept;
        time.await;
    });
    let token = group.token().clone();
    group.queue(waits(&gate, 0));
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(token.reason(), Some(Reason::Finished));
    assert_eq!(drops.get(), 1, "it is dropped when the group resolves");
    let wakes = task.wakes();
    gate.open(TIME);
    assert_eq!(task.wakes(), wakes);
}

#[test]
fn a_pending_deadline_is_polled_only_when_woken_and_costs_no_wake_up() {
    let (gate, task, polls) = (Gate::new(), MockTask::new(), Arc::<AtomicUsize>::default());
    let mut group = Group::new().with_deadline(count_polls(&polls, gate.wait(TIME)));
    for number in 0..3 {
        group.queue(waits(&gate, number));
    }
    assert_eq!(polls.load(Ordering::SeqCst), 0);
    for number in 0..2 {
        assert!(task.poll(&mut group).is_pending());
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((task.wakes(), polls.load(Ordering::SeqCst)), (number, 1));
        gate.open(number);
        assert_eq!(task.wakes(), number + 1);
    }
    assert!(task.poll(&mut group).is_pending());
    // A needless wake-up polls only the deadline.
    gate.waker(TIME).unwrap().wake();
    assert_eq!(task.wakes(), 3);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((task.wakes(), polls.load(Ordering::SeqCst)), (3, 2));
    gate.open(2);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((task.wakes(), polls.load(Ordering::SeqCst)), (4, 2));
}

#[test]
fn the_deadline_is_polled_with_the_waker_of_the_task_that_polled_last() {
    let (gate, first, second) = (Gate::new(), MockTask::new(), MockTask::new());
    let mut group = Group::new().with_deadline(gate.wait(TIME));
    group.queue(job(pending()));
    assert!(first.poll(&mut group).is_pending());
    assert!(second.poll(&mut group).is_pending());
    gate.open(TIME);
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
}

#[test]
fn a_deadline_that_wakes_itself_is_polled_again_in_the_next_poll() {
    let (task, polls) = (MockTask::new(), Arc::<AtomicUsize>::default());
    let mut group = Group::new().with_deadline(count_polls(&polls, async {
        for _ in 0..3 {
            yield_now().await;
        }
    }));
    let token = group.token().clone();
    let listener = token.clone();
    group.queue(async move {
        listener.cancelled().await;
        Ok::<usize, &str>(0)
    });
    for poll in 1..=3 {
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((polls.load(Ordering::SeqCst), task.wakes()), (poll, poll));
        assert!(!token.is_cancelled());
    }
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((polls.load(Ordering::SeqCst), task.wakes()), (4, 3));
}

#[test]
fn a_deadline_that_wakes_itself_is_polled_again_in_the_next_go() {
    let (task, polls) = (MockTask::new(), Arc::<AtomicUsize>::default());
    let mut group = Group::new().with_deadline(count_polls(&polls, async {
        for _ in 0..3 {
            yield_now().await;
        }
    }));
    group.queue(job(pending()));
    for poll in 1..=4 {
        assert!(!group.is_stopped());
        // Each of them is ready, so the task does not poll the group itself.
        assert!(is_ok(task.poll(&mut group.go(job(ready(Ok(poll)))))));
        assert_eq!(polls.load(Ordering::SeqCst), poll);
    }
    assert_eq!(group.token().reason(), Some(Reason::Deadline));
    assert!(is_stopped(task.poll(&mut group.go(job(ready(Ok(5)))))));
}

#[test]
fn a_child_may_trigger_the_deadline_within_one_poll() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut group = Group::new().with_deadline(gate.wait(TIME));
    let token = group.token().clone();
    let (opener, listener) = (gate.clone(), token.clone());
    group.queue(async move {
        opener.open(TIME);
        Ok::<usize, &str>(0)
    });
    group.queue(async move {
        listener.cancelled().await;
        Ok(0)
    });
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((token.reason(), task.wakes()), (Some(Reason::Deadline), 0));
}

#[test]
fn once_the_group_has_stopped_the_deadline_is_dropped_unpolled() {
    for by_child in [true, false] {
        let (gate, task, drops) = (Gate::new(), MockTask::new(), DropCounter::default());
        let (polls, kept) = (Arc::<AtomicUsize>::default(), drops.guard());
        let time = gate.wait(TIME);
        let mut group = Group::new().with_deadline(count_polls(&polls, async move {
            let _kept = kept;
            time.await;
        }));
        group.queue(waits(&gate, 0));
        group.queue(fails(&gate, 1, "broken"));
        assert!(task.run(&mut group).is_pending());
        let waker = gate.waker(TIME).unwrap();
        if by_child {
            gate.open(1);
        } else {
            group.token().cancel();
        }
        assert!(task.run(&mut group).is_pending());
        assert_eq!((drops.get(), polls.load(Ordering::SeqCst)), (1, 1));
        let wakes = task.wakes();
        waker.wake();
        assert_eq!(task.wakes(), wakes, "and its waker wakes no task");
        assert!(group.is_stopped());
        gate.open(0);
        gate.open(1);
        assert_eq!(task.run(&mut group), Poll::Ready(Err("broken")));
    }
}

#[test]
fn a_deadline_that_has_already_passed_starts_no_queued_child() {
    let task = MockTask::new();
    let mut group = Group::new().with_limit(1).with_deadline(ready("any output"));
    let probe = Probe::new();
    for number in 0..3 {
        group.queue(probe.watch(ready(Ok(number))));
    }
    let handle = group.handle();
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!((probe.polls(), probe.drops()), (1, 3), "the admitted child runs");
    assert_eq!((handle.stats().ok, handle.stats().dropped), (1, 2));
    assert_eq!(handle.token().reason(), Some(Reason::Deadline));
}

#[test]
fn a_waiting_go_ends_at_the_deadline() {
    for with_handle in [false, true] {
        let (gate, task) = (Gate::new(), MockTask::new());
        let mut group = Group::new().with_limit(1).with_deadline(gate.wait(TIME));
        let _handle = with_handle.then(|| group.handle());
        group.queue(waits(&gate, 0));
        let mut go = group.go(waits(&gate, 1));
        assert!(task.poll(&mut go).is_pending());
        gate.open(TIME);
        assert_eq!(task.wakes(), 1);
        assert!(matches!(task.poll(&mut go), Poll::Ready(Err(_))));
        drop(go);
        gate.open(0);
        assert_eq!(task.finish(group), Ok(()));
    }
}

#[test]
fn a_handles_go_ends_at_the_deadline_when_the_group_is_polled() {
    let (gate, task, other) = (Gate::new(), MockTask::new(), MockTask::new());
    let mut group = Group::new().with_limit(1).with_deadline(gate.wait(TIME));
    group.queue(waits(&gate, 0));
    let mut go = group.handle().go(waits(&gate, 1));
    assert!(task.poll(&mut group).is_pending());
    assert!(other.poll(&mut go).is_pending());
    gate.open(TIME);
    assert_eq!((task.wakes(), other.wakes()), (1, 0));
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(other.wakes(), 1);
    assert!(matches!(other.poll(&mut go), Poll::Ready(Err(_))));
}

#[test]
fn a_feed_ends_at_the_deadline_even_if_its_stream_is_pending() {
    let (gate, task, tap) = (Gate::new(), MockTask::new(), Tap::new());
    let mut group = Group::new().with_deadline(gate.wait(TIME));
    tap.put(waits(&gate, 0));
    let mut feed = group.feed(tap.clone());
    assert!(task.poll(&mut feed).is_pending());
    gate.open(TIME);
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.poll(&mut feed), Poll::Ready(1));
}

#[test]
fn a_deadline_stops_a_scope_without_children() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let scope = Group::new().with_deadline(gate.wait(TIME)).scope(async |handle| {
        handle.queue(job(ready(Ok(0))));
        handle.token().cancelled().await
    });
    let mut scope = pin!(scope);
    assert!(task.run(&mut scope.as_mut()).is_pending());
    let wakes = task.wakes();
    gate.open(TIME);
    assert_eq!(task.wakes(), wakes + 1);
    assert_eq!(task.run(&mut scope.as_mut()), Poll::Ready((Reason::Deadline, Ok(()))));
}

#[test]
fn a_round_of_many_polls_is_stopped_midway() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut group = Group::new().with_deadline(gate.wait(TIME));
    let (opener, token) = (gate.clone(), group.token().clone());
    let seen = Arc::<AtomicUsize>::default();
    for number in 0..10_000 {
        let (opener, token, seen) = (opener.clone(), token.clone(), Arc::clone(&seen));
        group.queue(async move {
            if number == 0 {
                opener.open(TIME);
            }
            seen.fetch_add(token.is_cancelled().into(), Ordering::SeqCst);
            Ok::<usize, &str>(0)
        });
    }
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(seen.load(Ordering::SeqCst), 0, "one poll polls the first 4,096");
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(seen.load(Ordering::SeqCst), 10_000 - 4_096);
}

#[test]
fn a_panic_of_the_deadline_counts_as_a_childs() {
    let (gate, task, time) = (Gate::new(), MockTask::new(), Gate::new());
    let wait = time.wait(TIME);
    let mut group = Group::new().with_deadline(async move {
        wait.await;
        std::panic::panic_any("the deadline");
    });
    let token = group.token().clone();
    let probe = Probe::new();
    group.queue(probe.watch(waits(&gate, 0)));
    assert!(task.run(&mut group).is_pending());
    time.open(TIME);
    assert!(task.run(&mut group).is_pending(), "the siblings are drained");
    assert_eq!((token.reason(), probe.drops()), (Some(Reason::Panicked), 0));
    gate.open(0);
    assert_eq!(panic_message(|| task.run(&mut group)), "the deadline");
    assert_eq!(probe.drops(), 1);
    assert!(task.poll(&mut group).is_pending());
}

#[test]
fn a_panic_of_the_deadlines_destructor_comes_out_once_wherever_it_is_dropped() {
    let bomb = || {
        let bomb = Bomb("its destructor");
        async move {
            let _bomb = bomb;
            pending::<()>().await;
        }
    };
    let probe = Probe::new();
    // When the group resolves, with handles and without.
    for with_handle in [false, true] {
        let task = MockTask::new();
        let mut group = Group::new().with_deadline(bomb());
        let handle = with_handle.then(|| group.handle());
        group.queue(probe.watch(ready(Ok(0))));
        assert_eq!(panic_message(|| task.run(&mut group)), "its destructor");
        assert!(task.poll(&mut group).is_pending());
        assert!(handle.is_none_or(|handle| handle.is_closed()));
    }
    assert_eq!(probe.drops(), 2);
    // When the group is dropped; after the children.
    let mut group = Group::new().with_deadline(bomb());
    let handle = group.handle();
    group.queue(probe.watch(ready(Ok(0))));
    assert_eq!(panic_message(|| drop(group)), "its destructor");
    assert_eq!(probe.drops(), 3);
    assert!(handle.is_closed());
    // When the group has stopped.
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut group = Group::new().with_deadline(bomb());
    group.queue(probe.watch(waits(&gate, 0)));
    assert!(task.run(&mut group).is_pending());
    group.token().cancel();
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert_eq!(panic_message(|| task.run(&mut group)), "its destructor");
    assert_eq!(probe.drops(), 4);
    // When it has passed.
    let task = MockTask::new();
    let bomb = Bomb("its destructor");
    let mut group = Group::new().with_deadline(async move { drop(bomb) });
    group.queue(probe.watch(ready(Ok(0))));
    assert_eq!(panic_message(|| task.run(&mut group)), "its destructor");
    assert_eq!(probe.drops(), 5);
}

#[test]
fn the_deadline_is_dropped_with_the_group_after_the_children() {
    let log = Log::new();
    let (first, second) = (log.clone(), log.clone());
    let kept = OnDrop(move || second.add("deadline"));
    let mut group = Group::new().with_deadline(async move {
        let _kept = kept;
        pending::<()>().await;
    });
    let token = group.token().clone();
    let kept = OnDrop(move || first.add(format!("child: {}", token.is_cancelled())));
    group.queue(async move {
        let _kept = kept;
        pending::<Result<usize, &str>>().await
    });
    drop(group);
    assert_eq!(log.take(), ["child: true", "deadline"]);
}

#[test]
fn with_deadline_works_before_or_after_the_other_builders() {
    let parent = CancelToken::new();
    let early = Group::new().with_deadline(ready(())).collect().with_limit(2).with_parent(&parent);
    let late = Group::new().collect().with_limit(2).with_parent(&parent).with_deadline(ready(()));
    for mut group in [early, late] {
        let token = group.token().clone();
        group.queue(job(async {
            yield_now().await;
            Ok(7)
        }));
        assert_eq!(MockTask::new().finish(group), Ok(vec![7]));
        assert_eq!(token.reason(), Some(Reason::Deadline));
    }
    // After `token` and `handle` as well.
    let group = Group::new();
    let (_handle, token) = (group.handle(), group.token().clone());
    let mut group = group.with_deadline(ready(()));
    group.queue(job(async {
        yield_now().await;
        Ok(7)
    }));
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(token.reason(), Some(Reason::Deadline));
}

#[test]
fn the_last_deadline_set_holds() {
    let drops = DropCounter::default();
    let kept = drops.guard();
    let group = Group::new().with_deadline(async move { drop(kept) });
    let mut group = group.with_deadline(pending::<()>());
    assert_eq!(drops.get(), 1);
    let token = group.token().clone();
    group.queue(job(ready(Ok(7))));
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(token.reason(), Some(Reason::Finished));
}

#[test]
fn with_deadline_called_too_late_says_where_it_belongs() {
    let call = || {
        let mut group = Group::new();
        group.queue(job(ready(Ok(7))));
        group.with_deadline(pending::<()>())
    };
    assert_eq!(panic_message(call), "call `with_deadline` before the group's first child");
}

#[test]
fn a_wake_up_from_another_thread_is_not_lost() {
    for _ in 0..200 {
        let (task, slot) = (MockTask::new(), Arc::new(std::sync::Mutex::new(None::<Waker>)));
        let (set, done) = (Arc::clone(&slot), Arc::<AtomicUsize>::default());
        let seen = Arc::clone(&done);
        let mut group = Group::new().with_deadline(poll_fn(move |cx| {
            if seen.load(Ordering::SeqCst) == 1 {
                return Poll::Ready(());
            }
            *set.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        }));
        let token = group.token().clone();
        group.queue(async move {
            token.cancelled().await;
            Ok::<usize, &str>(0)
        });
        assert!(task.poll(&mut group).is_pending());
        let waker = slot.lock().unwrap().take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                done.store(1, Ordering::SeqCst);
                waker.wake();
            });
            // The deadline passes during the poll.
            if task.poll(&mut group).is_ready() {
                return;
            }
            while task.wakes() == 0 {
                std::thread::yield_now();
            }
            assert!(task.run(&mut group).is_ready());
        });
    }
}

#[test]
fn a_local_groups_deadline_need_not_be_send() {
    let passed = Rc::new(Cell::new(false));
    let note = Rc::clone(&passed);
    let mut group = Group::local().with_deadline(async move {
        yield_now().await;
        note.set(true);
    });
    let token = group.token().clone();
    let seen = Rc::clone(&passed);
    group.queue(async move {
        token.cancelled().await;
        if seen.get() { Err("too late") } else { Ok(0_usize) }
    });
    assert_eq!(MockTask::new().finish(group), Err("too late"));
}

#[tokio::test(start_paused = true)]
async fn tokios_timer_is_a_deadline() {
    let start = tokio::time::Instant::now();
    let mut group = Group::new().with_deadline(tokio::time::sleep(Duration::from_secs(30)));
    let token = group.token().clone();
    group.queue(async move {
        token.cancelled().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok::<usize, &str>(0)
    });
    assert_eq!(group.await, Ok(()));
    assert_eq!(start.elapsed(), Duration::from_secs(35));
}

#[test]
fn smols_timer_is_a_deadline() {
    let mut group =
        Group::new().with_limit(1).with_deadline(smol::Timer::after(Duration::from_millis(1)));
    let token = group.token().clone();
    smol::block_on(async {
        let endless = stream::repeat_with(|| {
            let token = token.clone();
            job(async move {
                token.cancelled().await;
                Ok(0)
            })
        });
        assert_eq!(group.feed(endless).await, 1);
        assert_eq!(group.await, Ok(()));
    });
    assert_eq!(token.reason(), Some(Reason::Deadline));
}

// === work that is done in time, and looked at late ===

#[test]
fn a_child_that_was_woken_before_the_deadline_counts_though_it_is_polled_after_it() {
    for with_handle in [false, true] {
        let (gate, task, probe) = (Gate::new(), MockTask::new(), Probe::new());
        let mut group = Group::new().with_deadline(gate.wait(TIME)).collect();
        let _handle = with_handle.then(|| group.handle());
        let token = group.token().clone();
        group.queue(probe.watch(waits(&gate, 0)));
        assert!(task.poll(&mut group).is_pending());
        // Nothing polls the group meanwhile.
        gate.open(0);
        gate.open(TIME);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(vec![0])));
        assert_eq!((token.reason(), probe.drops()), (Some(Reason::Finished), 1));
    }
}

#[test]
fn the_deadline_is_polled_after_one_round_of_those_that_were_woken() {
    let (gate, task, done, late) = (Gate::new(), MockTask::new(), Probe::new(), Probe::new());
    let mut group = Group::new().with_deadline(gate.wait(TIME));
    let token = group.token().clone();
    (0..100).for_each(|n| group.queue(done.watch(waits(&gate, n))));
    group.queue(late.watch(waits(&gate, 100)));
    assert!(task.poll(&mut group).is_pending());
    (0..100).for_each(|n| gate.open(n));
    gate.open(TIME);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((done.drops(), late.polls(), token.reason()), (100, 1, Some(Reason::Deadline)));
    gate.open(100);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_group_without_children_is_ok_though_its_deadline_has_passed() {
    let mut group = Group::<errgroup::Boxed<'_, usize, OrCancel>>::new()
        .with_deadline(ready(()))
        .err_on_cancel();
    let token = group.token().clone();
    assert_eq!(MockTask::new().poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(token.reason(), Some(Reason::Finished));
}

#[test]
fn a_deadline_passes_in_the_same_poll_though_children_are_always_ready() {
    for children in [1, 100, 5_000] {
        let (gate, task) = (Gate::new(), MockTask::new());
        let mut group = Group::new().with_deadline(gate.wait(TIME));
        for _ in 0..children {
            group.queue(job(poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Pending
            })));
        }
        for _ in 0..3 {
            assert!(task.poll(&mut group).is_pending());
        }
        gate.open(TIME);
        assert!(task.poll(&mut group).is_pending());
        assert!(group.is_stopped());
    }
}
