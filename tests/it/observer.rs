//! Which events an observer sees, and in which order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use crate::common::{
    Bomb, Calls, Gate, Log, MockTask, OnDrop, fails, job, logged_child, panic_message, waits,
    yield_now,
};
use async_lock::Semaphore;
use errgroup::{Boxed, CancelToken, Event, Group, Handle, Outcome, Reason, Stats, Verdict, task};
use futures::executor::block_on;
use futures::{StreamExt, stream};

type Group0<'a> = Group<Boxed<'a, usize, &'static str>>;

/// Returns a group that logs the events its observer sees.
fn observed<'a>(log: &Log) -> Group0<'a> {
    let log = log.clone();
    Group::new().with_observer(move |event: &Event| log.add(event.to_string()))
}

// === the life of a child ===

#[test]
fn events_come_in_the_order_in_which_they_happened() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(2);
    for n in 0..4 {
        let child = if n == 1 { fails(&gate, n, "one") } else { waits(&gate, n) };
        group.queue(task(child).name(format!("{n}")));
    }
    assert!(group.try_go(waits(&gate, 9)).is_err());
    assert!(driver.run(&mut group).is_pending());
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    group.set_limit(Some(3));
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    gate.open(2);
    gate.open(3);
    assert!(driver.run(&mut group).is_ready());
    drop(group);
    assert_eq!(
        log.take(),
        [
            "#0 (0) started",
            "#1 (1) started",
            "(2) queued",
            "(3) queued",
            "rejected: no room",
            "#0 (0) finished: Ok",
            "#2 (2) started",
            "limit: 3",
            "#3 (3) started",
            "#1 (1) finished: Failed",
            "stopped: a child failed",
            "#2 (2) finished: Ok",
            "#3 (3) finished: Ok",
        ]
    );
}

#[test]
fn a_start_is_reported_before_the_first_poll_and_the_end_when_the_child_is_dropped() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(1);
    group.queue(logged_child(0, &gate, &log));
    group.queue(logged_child(1, &gate, &log));
    gate.open(0);
    gate.open(1);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        [
            "#0 started",
            "queued",
            "+0",
            "-0",
            "#0 finished: Ok",
            "#1 started",
            "+1",
            "-1",
            "#1 finished: Ok",
            "stopped: the work has finished",
        ]
    );
}

#[test]
fn a_start_is_reported_before_the_first_poll_even_after_a_wait_for_a_permit() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let semaphore = Arc::new(Semaphore::new(1));
    let held = semaphore.try_acquire_arc();
    let mut group = observed(&log).with_semaphore(semaphore);
    group.queue(logged_child(0, &gate, &log));
    assert!(driver.run(&mut group).is_pending());
    drop(held);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["queued", "#0 started", "+0"]);
}

#[test]
fn a_waiting_go_is_not_reported_before_its_child_starts() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(1);
    assert!(driver.finish(group.go(task(waits(&gate, 0)).name("a"))).is_ok());
    {
        let mut go = group.go(task(waits(&gate, 1)).name("b"));
        assert!(driver.run(&mut go).is_pending());
        assert_eq!(log.take(), ["#0 (a) started"]);
        gate.open(0);
        assert!(driver.run(&mut go).is_ready());
    }
    gate.open(1);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        [
            "#0 (a) finished: Ok",
            "#1 (b) started",
            "#1 (b) finished: Ok",
            "stopped: the work has finished"
        ]
    );
}

#[test]
fn a_feeds_children_start_without_being_queued_unless_one_is_too_heavy() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(2);
    let children = [(0, 1), (1, 2), (2, 1)]
        .map(|(n, weight)| task(waits(&gate, n)).weight(weight).name(n.to_string()));
    {
        let mut feed = group.feed(stream::iter(children));
        assert!(driver.run(&mut feed).is_pending());
        assert_eq!(log.take(), ["#0 (0) started", "(1) queued"]);
        gate.open(0);
        assert!(driver.run(&mut feed).is_pending());
        gate.open(1);
        assert_eq!(driver.run(&mut feed), std::task::Poll::Ready(3));
    }
    gate.open(2);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        [
            "#0 (0) finished: Ok",
            "#1 (1) started",
            "#1 (1) finished: Ok",
            "#2 (2) started",
            "#2 (2) finished: Ok",
            "stopped: the work has finished"
        ]
    );
}

#[test]
fn a_child_that_a_stream_yields_after_its_own_stop_is_rejected() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = observed(&log).with_limit(2);
    let handle = group.handle();
    let token = group.token().clone();
    let children = stream::iter([1]).map(|n| {
        token.cancel();
        task(job(async move { Ok(n) })).name("late")
    });
    assert_eq!(driver.finish(group.feed(children)), 0);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(log.take(), ["stopped: cancelled", "(late) rejected: the group has stopped"]);
    assert_eq!(handle.stats().dropped, 1);
}

#[test]
fn a_go_within_a_child_that_can_never_have_room_is_reported_as_queued() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = observed(&log).with_limit(1);
    let handle = group.handle();
    let outer = async move {
        let inner = task(job(async { Ok(1) })).name("inner");
        handle.go(inner).await.map_err(|_| "stopped")?;
        Ok(0)
    };
    group.queue(task(outer).name("outer"));
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        [
            "#0 (outer) started",
            "(inner) queued",
            "#0 (outer) finished: Ok",
            "#1 (inner) started",
            "#1 (inner) finished: Ok",
            "stopped: the work has finished",
        ]
    );
}

#[test]
fn weights_and_priorities_show_in_the_order_of_starts() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(3);
    group.queue(task(waits(&gate, 0)).name("first").weight(3));
    group.queue(task(waits(&gate, 1)).name("light"));
    group.queue(task(waits(&gate, 2)).name("low").priority(-1));
    group.queue(task(waits(&gate, 3)).name("urgent").priority(1).weight(2));
    (0..4).for_each(|n| gate.open(n));
    assert!(driver.run(&mut group).is_ready());
    let starts: Vec<_> = log.take().into_iter().filter(|it| it.ends_with("started")).collect();
    assert_eq!(
        starts,
        ["#0 (first) started", "#1 (urgent) started", "#2 (light) started", "#3 (low) started"]
    );
}

#[test]
fn the_body_of_a_scope_is_not_reported() {
    let (driver, log) = (MockTask::new(), Log::new());
    let scope = observed(&log).scope(async |handle: Handle<_>| {
        let _ = handle.go(job(async { Ok(1) })).await;
    });
    assert_eq!(driver.finish(scope).1, Ok(()));
    assert_eq!(log.take(), ["#0 started", "#0 finished: Ok", "stopped: the work has finished"]);
}

#[test]
fn the_stop_is_reported_before_a_daemons_end() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = observed(&log);
    let token = group.token().clone();
    let daemon = async move {
        token.cancelled().await;
        Err("late")
    };
    group.queue(task(daemon).name("daemon").daemon());
    group.queue(job(async { Ok(1) }));
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        [
            "#0 (daemon) started",
            "#1 started",
            "#1 finished: Ok",
            "stopped: the work has finished",
            "#0 (daemon) finished: Failed",
        ]
    );
}

// === the stop ===

#[test]
fn after_a_failure_come_the_stop_then_the_queue_then_the_siblings() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(2);
    group.queue(task(fails(&gate, 0, "no")).name("culprit"));
    group.queue(task(waits(&gate, 1)).name("sibling"));
    // The queue is reported in the order in which it would have been admitted.
    group.queue(task(waits(&gate, 2)).name("low").priority(-7));
    group.queue(task(waits(&gate, 3)).name("plain"));
    group.queue(task(waits(&gate, 4)).name("high").priority(7));
    assert!(driver.run(&mut group).is_pending());
    log.take();
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    gate.open(1);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        [
            "#0 (culprit) finished: Failed",
            "stopped: a child failed",
            "(high) finished: Dropped",
            "(plain) finished: Dropped",
            "(low) finished: Dropped",
            "#1 (sibling) finished: Ok",
        ]
    );
}

#[test]
fn a_stop_from_outside_is_reported_once_at_the_next_poll() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(1);
    group.queue(waits(&gate, 0));
    group.queue(task(waits(&gate, 1)).name("queued"));
    assert!(driver.run(&mut group).is_pending());
    log.take();
    group.token().cancel();
    assert!(log.take().is_empty(), "the group was not polled");
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["stopped: cancelled", "(queued) finished: Dropped"]);
    gate.open(0);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(log.take(), ["#0 finished: Ok"]);
}

#[test]
fn a_child_that_cancels_its_own_group_ends_after_the_stop() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = observed(&log);
    let token = group.token().clone();
    group.queue(job(async move {
        token.cancel();
        Ok(1)
    }));
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(log.take(), ["#0 started", "stopped: cancelled", "#0 finished: Ok"]);
}

/// Makes a policy that stops the group at the first child, by its verdict or by the token.
fn enough(token: Option<CancelToken>) -> Calls {
    Calls::new(move |_, _| match &token {
        None => Verdict::Stop(Reason::Done),
        Some(token) => {
            token.cancel_with(Reason::Done);
            Verdict::Continue
        }
    })
}

#[test]
fn a_stop_of_the_policy_is_reported_after_the_end_that_caused_it() {
    for by_token in [false, true] {
        let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
        let token = CancelToken::new();
        let policy = enough(by_token.then(|| token.clone()));
        let mut group = observed(&log).with_parent(&token).with_policy(policy);
        group.queue(job(async { Ok(0) }));
        group.queue(waits(&gate, 1));
        assert!(driver.run(&mut group).is_pending());
        gate.open(1);
        assert!(driver.run(&mut group).is_ready());
        assert_eq!(
            log.take(),
            [
                "#0 started",
                "#1 started",
                "#0 finished: Ok",
                "stopped: the rest is no longer needed",
                "#1 finished: Ok"
            ]
        );
    }
}

#[test]
fn a_deadline_stops_and_the_grace_drops() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let grace = gate.wait(8);
    let mut group = observed(&log).with_deadline(gate.wait(7)).with_grace(|| grace).with_limit(2);
    group.queue(task(waits(&gate, 0)).name("quick"));
    group.queue(task(waits(&gate, 1)).name("slow"));
    group.queue(task(waits(&gate, 2)).name("queued"));
    assert!(driver.run(&mut group).is_pending());
    log.take();
    gate.open(7);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["stopped: the deadline has passed", "(queued) finished: Dropped"]);
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["#0 (quick) finished: Ok"]);
    gate.open(8);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(log.take(), ["#1 (slow) finished: Dropped"]);
}

#[test]
fn a_panic_is_reported_before_the_stop_that_it_causes() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log);
    let dies = gate.wait(0);
    group.queue(task(job(async move {
        dies.await;
        std::panic::panic_any("child")
    })));
    group.queue(waits(&gate, 1));
    group.queue(job(async {
        let _bomb = OnDrop(|| std::panic::panic_any("second"));
        std::future::pending().await
    }));
    assert!(driver.run(&mut group).is_pending());
    log.take();
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["#0 finished: Panicked", "stopped: a child panicked"]);
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(panic_message(|| drop(group)), "second");
    assert_eq!(log.take(), ["#1 finished: Ok", "#2 finished: Dropped"]);
}

#[test]
fn a_panic_of_a_destructor_after_a_result_is_a_childs_panic() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = observed(&log);
    let bomb = Bomb("destructor");
    group.queue(job(futures::future::poll_fn(move |_| {
        let _in_here = &bomb;
        std::task::Poll::Ready(Ok(1))
    })));
    assert_eq!(panic_message(|| driver.run(&mut group)), "destructor");
    assert_eq!(log.take(), ["#0 started", "#0 finished: Panicked", "stopped: a child panicked"]);
}

#[test]
fn a_child_is_reported_as_it_ended_even_if_the_policy_panics() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = observed(&log).with_policy(Calls::new(|_, _| std::panic::panic_any("policy")));
    group.queue(job(async { Err("no") }));
    group.queue(job(async { Ok(1) }));
    assert_eq!(panic_message(|| driver.run(&mut group)), "policy");
    assert_eq!(
        log.take(),
        [
            "#0 started",
            "#1 started",
            "#0 finished: Failed",
            "stopped: a child panicked",
            "#1 finished: Ok"
        ]
    );
}

#[test]
fn a_group_that_was_born_stopped_reports_the_stop() {
    let (driver, log, parent) = (MockTask::new(), Log::new(), CancelToken::new());
    parent.cancel_with(Reason::Deadline);
    let mut group = observed(&log).with_parent(&parent);
    group.queue(task(job(async { Ok(1) })).name("late"));
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        ["stopped: the deadline has passed", "(late) rejected: the group has stopped"]
    );
}

#[test]
fn a_dropped_group_reports_all_children_that_are_dropped_with_it() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(1);
    group.queue(waits(&gate, 0));
    group.queue(task(waits(&gate, 1)).name("second"));
    assert!(driver.run(&mut group).is_pending());
    drop(group);
    assert_eq!(
        log.take(),
        [
            "#0 started",
            "(second) queued",
            "stopped: the owner was dropped",
            "#0 finished: Dropped",
            "(second) finished: Dropped",
        ]
    );
}

#[test]
fn a_dropped_group_reports_children_behind_an_unclaimed_reservation_too() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(2);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    let waiter = MockTask::new();
    let mut go = handle.go(task(waits(&gate, 2)).name("awaited"));
    assert!(waiter.poll(&mut go).is_pending());
    group.queue(task(waits(&gate, 3)).name("was queued"));
    assert!(driver.run(&mut group).is_pending());
    gate.open(0);
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    assert!(group.try_go(task(waits(&gate, 4)).name("too many")).is_err());
    log.take();
    let Stats { limit, queued, running, ok, .. } = group.stats();
    assert_eq!((limit, queued, running, ok), (Some(2), 0, 1, 2));
    drop(group);
    assert_eq!(
        log.take(),
        [
            "(too many) rejected: no room",
            "stopped: the owner was dropped",
            "(was queued) finished: Dropped"
        ]
    );
    assert_eq!(handle.stats().dropped, 1);
}

#[test]
fn a_group_that_never_ran_reports_its_end() {
    let log = Log::new();
    drop(observed(&log));
    assert_eq!(log.take(), ["stopped: the owner was dropped"]);
    let mut group = observed(&log);
    group.queue(job(async { Ok(1) }));
    assert!(log.take().is_empty());
    drop(group);
    assert_eq!(
        log.take(),
        ["#0 started", "stopped: the owner was dropped", "#0 finished: Dropped"]
    );
    assert_eq!(block_on(observed(&log)), Ok(()));
    assert_eq!(log.take(), ["stopped: the work has finished"]);
}

#[test]
fn a_resolved_group_reports_nothing_more() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = observed(&log);
    let handle = group.handle();
    assert!(driver.run(&mut group).is_ready());
    log.take();
    group.queue(job(async { Ok(1) }));
    assert!(handle.try_go(job(async { Ok(1) })).is_err());
    assert!(driver.finish(handle.go(job(async { Ok(1) }))).is_err());
    handle.set_limit(Some(7));
    assert!(driver.run(&mut group).is_pending());
    drop(group);
    assert!(log.take().is_empty());
}

// === rejected, limit changed ===

#[test]
fn a_rejected_child_is_reported_with_the_reason() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let named = |name: &'static str| task(job(async { Ok(1) })).name(name);
    assert!(group.try_go(named("a")).is_err());
    assert!(handle.try_go(named("b")).is_err());
    group.token().cancel();
    assert!(group.try_go(named("c")).is_err());
    assert!(driver.finish(group.go(named("d"))).is_err());
    assert!(driver.finish(handle.go(named("e"))).is_err());
    group.queue(named("f"));
    handle.queue(job(async { Ok(1) }));
    gate.open(0);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        [
            "#0 started",
            "(a) rejected: no room",
            "(b) rejected: no room",
            "stopped: cancelled",
            "(c) rejected: the group has stopped",
            "(d) rejected: the group has stopped",
            "(e) rejected: the group has stopped",
            "(f) rejected: the group has stopped",
            "rejected: the group has stopped",
            "#0 finished: Ok",
        ]
    );
}

#[test]
fn a_go_that_waits_at_the_stop_is_rejected() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let waiter = MockTask::new();
    let mut go = handle.go(task(waits(&gate, 1)).name("waits"));
    assert!(waiter.poll(&mut go).is_pending());
    group.token().cancel();
    assert!(waiter.poll(&mut go).is_ready());
    gate.open(0);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        [
            "#0 started",
            "stopped: cancelled",
            "(waits) rejected: the group has stopped",
            "#0 finished: Ok",
        ]
    );
}

#[test]
fn of_more_than_1024_rejections_between_two_polls_the_rest_is_not_reported() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(1);
    group.queue(waits(&gate, 0));
    let reject = |group: &mut Group0<'_>, count| {
        (0..count).for_each(|_| drop(group.try_go(waits(&gate, 1))));
        group.set_limit(Some(1));
        assert!(driver.run(group).is_pending());
        log.take().iter().filter(|it| it.starts_with("rejected")).count()
    };
    assert_eq!(reject(&mut group, 2000), 1024);
    assert_eq!(reject(&mut group, 1024), 1024);
    assert_eq!(reject(&mut group, 3), 3);
}

#[test]
fn a_limit_set_to_its_old_value_is_no_change() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(3);
    group.queue(waits(&gate, 0));
    group.set_limit(Some(3));
    group.set_limit(Some(0));
    group.handle().set_limit(None);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["#0 started", "limit: none"]);
}

#[test]
fn of_several_limits_in_a_row_the_last_is_told() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(3);
    group.queue(waits(&gate, 0));
    assert!(driver.run(&mut group).is_pending());
    log.take();
    (0..10_000).for_each(|n| group.set_limit(Some(n % 2)));
    group.queue(waits(&gate, 1));
    group.set_limit(Some(7));
    group.set_limit(Some(1));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["limit: 1", "queued", "limit: 7", "#1 started", "limit: 1"]);
    group.set_limit(Some(5));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["limit: 5"]);
}

#[test]
fn an_event_alone_does_not_wake_the_group() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = observed(&log).with_limit(2);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    assert!(driver.run(&mut group).is_pending());
    log.take();
    let before = driver.wakes();
    handle.queue(waits(&gate, 2));
    assert!(handle.try_go(waits(&gate, 3)).is_err());
    handle.set_limit(Some(1));
    assert_eq!(driver.wakes(), before);
    assert!(log.take().is_empty());
    // A poll without other work reports them.
    assert!(driver.poll(&mut group).is_pending());
    assert_eq!(log.take(), ["queued", "rejected: no room", "limit: 1"]);
    assert_eq!(driver.wakes(), before);
}

// === kinds of observers ===

#[test]
fn an_observer_of_a_local_group_need_not_be_send_and_may_borrow() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut count = 0;
    let watch = Rc::clone(&seen);
    let counter = &mut count;
    let mut group = Group::local().with_observer(move |event: &Event| {
        *counter += 1;
        watch.borrow_mut().push(event.index());
    });
    group.queue(async { Ok::<usize, &str>(1) });
    assert_eq!(block_on(group), Ok(()));
    assert_eq!(*seen.borrow(), [Some(0), Some(0), None]);
    assert_eq!(count, 3);
    assert_eq!(Rc::strong_count(&seen), 1, "the observer is dropped at the group's end");
}

#[test]
fn groups_of_any_kind_and_policy_are_observed_whichever_builder_comes_first() {
    let log = Log::new();
    let observer = |log: &Log| {
        let log = log.clone();
        move |event: &Event| log.add(format!("{:?}", event.index()))
    };
    let mut group = Group::unboxed().with_observer(observer(&log)).with_limit(3).collect();
    group.queue(waits(&Gate::new(), 0));
    drop(group);
    assert_eq!(log.take(), ["Some(0)", "None", "Some(0)"]);
    let mut group = Group::new()
        .first_ok()
        .with_observer(observer(&log))
        .with_semaphore(Arc::new(Semaphore::new(1)))
        .with_deadline(std::future::pending::<()>())
        .with_parent(&CancelToken::new());
    group.queue(async { Ok::<usize, &str>(5) });
    assert_eq!(block_on(group), Ok(5));
    assert_eq!(log.take(), ["Some(0)", "Some(0)", "None"]);
}

#[test]
fn the_last_observer_set_holds() {
    let (first, last) = (Log::new(), Log::new());
    let log = last.clone();
    let group = observed(&first).with_observer(move |event: &Event| log.add(event.to_string()));
    assert_eq!(block_on(group), Ok(()));
    assert!(first.take().is_empty());
    assert_eq!(last.take().len(), 1);
}

#[test]
#[should_panic = "call `with_observer` before the group's first child or `handle`"]
fn an_observer_set_after_a_handle_is_refused() {
    let group = Group0::new();
    let _handle = group.handle();
    drop(group.with_observer(|_: &Event| {}));
}

// === threads ===

#[test]
fn no_event_is_lost_with_threads_and_all_are_reported_where_the_group_is_polled() {
    const THREADS: usize = 4;
    const CHILDREN: usize = 500;
    let events = Arc::new(Mutex::new(Vec::<(ThreadId, Event)>::new()));
    let observer = Arc::clone(&events);
    let group = Group::new().with_limit(7).with_observer(move |event: &Event| {
        observer.lock().unwrap().push((thread::current().id(), event.clone()));
    });
    let handle: Handle<Boxed<'static, usize, &'static str>> = group.handle();
    let (alive, mut over) = futures::channel::mpsc::unbounded::<()>();
    let adders: Vec<_> = (0..THREADS)
        .map(|n| {
            let (handle, alive) = (handle.clone(), alive.clone());
            thread::spawn(move || {
                let _alive = alive;
                for child_number in 0..CHILDREN {
                    let child = task(async move {
                        yield_now().await;
                        Ok(child_number)
                    });
                    let child = child.name(format!("{n}/{child_number}"));
                    match n {
                        0 => assert!(block_on(handle.go(child)).is_ok()),
                        1 => assert_eq!(block_on(handle.feed(stream::iter([child]))), 1),
                        _ => handle.queue(child),
                    }
                }
            })
        })
        .collect();
    drop(alive);
    // The group stays open until the threads are done.
    let (_, output) = block_on(group.scope(async |_| over.next().await));
    assert_eq!(output, Ok(()));
    adders.into_iter().for_each(|adder| adder.join().unwrap());

    let events = events.lock().unwrap();
    assert!(events.iter().all(|(id, _)| *id == thread::current().id()));
    let mut replay = Replay::default();
    events.iter().for_each(|(_, event)| replay.add(event));
    assert_eq!((replay.ok, replay.started), (THREADS * CHILDREN, THREADS * CHILDREN));
    assert_eq!((replay.running.len(), replay.stops), (0, 1));
}

// === events and stats ===

/// Adds up the events and checks that they are consistent.
#[derive(Default)]
struct Replay {
    queued: Vec<String>,
    running: BTreeMap<usize, String>,
    started: usize,
    ok: usize,
    failed: usize,
    dropped: usize,
    stops: usize,
}

impl Replay {
    fn add(&mut self, event: &Event) {
        let name = || event.name().unwrap_or_default().to_string();
        match event {
            Event::Queued { .. } => {
                assert_eq!(self.stops, 0, "{event}");
                self.queued.push(name());
            }
            Event::Started { index, .. } => {
                assert_eq!(*index, self.started, "{event}");
                self.started += 1;
                self.queued.retain(|it| *it != name());
                self.running.insert(*index, name());
            }
            Event::Finished { index: Some(index), outcome, .. } => {
                assert_eq!(self.running.remove(index), Some(name()), "{event}");
                *match outcome {
                    Outcome::Ok => &mut self.ok,
                    Outcome::Failed => &mut self.failed,
                    _ => &mut self.dropped,
                } += 1;
            }
            Event::Finished { index: None, outcome, .. } => {
                assert_eq!(*outcome, Outcome::Dropped);
                let at = self.queued.iter().position(|it| *it == name()).expect("was queued");
                self.queued.remove(at);
                self.dropped += 1;
            }
            Event::Stopped(_) => {
                self.stops += 1;
                assert_eq!(self.stops, 1);
            }
            _ => {}
        }
    }

    fn stats(&self, limit: Option<usize>) -> Stats {
        let (queued, running) = (self.queued.len(), self.running.len());
        let mut stats = Stats::default();
        (stats.limit, stats.queued, stats.running) = (limit, queued, running);
        (stats.ok, stats.failed, stats.dropped) = (self.ok, self.failed, self.dropped);
        stats
    }
}

#[test]
fn the_events_add_up_to_the_stats_after_each_poll() {
    for seed in 0..300u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut pick = |count: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % count as u64) as usize
        };
        let (driver, gate) = (MockTask::new(), Gate::new());
        let replay = Arc::new(Mutex::new(Replay::default()));
        let replaying = Arc::clone(&replay);
        let grace = gate.wait(usize::MAX);
        let mut group = Group::new()
            .with_limit(1 + pick(4))
            .with_grace(|| grace)
            .with_observer(move |event: &Event| replaying.lock().unwrap().add(event))
            .all_errors();
        let handle = group.handle();
        let (mut children, mut over) = (0, false);
        for _ in 0..40 {
            match pick(16) {
                0..=5 if !group.is_stopped() => {
                    let n = children;
                    children += 1;
                    let (gate, kind) = (gate.clone(), pick(8));
                    let child = task(async move {
                        gate.wait(n).await;
                        match kind {
                            0 => Err("no"),
                            _ => Ok(n),
                        }
                    });
                    let priority = pick(3) as i32 - 1;
                    let child = child.name(n.to_string()).weight(1 + pick(3)).priority(priority);
                    match pick(3) {
                        0 => drop(group.try_go(child)),
                        1 => group.queue(child),
                        _ => handle.queue(child),
                    }
                }
                6..=9 => gate.open(pick(children + 1)),
                10 => handle.set_limit(Some(pick(5))),
                11 if pick(6) == 0 => drop(group.token().cancel()),
                12 if pick(6) == 0 => gate.open(usize::MAX),
                _ => {
                    over = driver.run(&mut group).is_ready();
                    let replay = replay.lock().unwrap();
                    assert_eq!(replay.stats(group.limit()), group.stats(), "seed {seed}");
                }
            }
            if over {
                break;
            }
        }
        if seed % 2 == 0 && !over {
            (0..children).for_each(|n| gate.open(n));
            handle.set_limit(Some(2));
            assert!(driver.run(&mut group).is_ready());
        }
        drop(group);
        let replay = replay.lock().unwrap();
        assert_eq!(replay.stats(handle.limit()), handle.stats(), "seed {seed}");
        assert_eq!((replay.stops, replay.running.len(), replay.queued.len()), (1, 0, 0));
    }
}

#[test]
fn a_stream_with_unfetched_results_reports_at_its_next_poll() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = observed(&log).with_limit(2);
    for n in 0..3 {
        group.queue(async move { Ok(n) });
    }
    let mut results = group.results();
    assert!(driver.poll(&mut results.next()).is_ready());
    assert!(driver.poll(&mut results.next()).is_ready());
    // The second poll polled no child: the result was there.
    let events = log.take();
    assert!(events.contains(&"#1 finished: Ok".into()), "{events:?}");
    assert!(events.contains(&"#2 started".into()), "{events:?}");
}

#[test]
fn a_child_that_a_grace_cuts_off_is_reported_while_the_scopes_body_goes_on() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let (grace, wait) = (gate.wait(8), gate.wait(9));
    let group = observed(&log).with_grace(|| grace);
    let token = group.token().clone();
    let mut scope = std::pin::pin!(group.scope(async |handle| {
        handle.queue(waits(&gate, 0));
        wait.await;
    }));
    assert!(driver.run(&mut scope).is_pending());
    token.cancel();
    assert!(driver.run(&mut scope).is_pending());
    log.take();
    gate.open(8);
    assert!(driver.run(&mut scope).is_pending());
    assert_eq!(log.take(), ["#0 finished: Dropped"]);
    gate.open(9);
    assert!(driver.run(&mut scope).is_ready());
    assert!(log.take().is_empty());
}
