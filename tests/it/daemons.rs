//! Daemons: children that do not hold their group open.

use std::future::ready;
use std::task::Poll;

use crate::common::{
    Fixture, Gate, Job, Log, MockTask, Probe, Tap, fails, job, panic_message, waits,
};
use errgroup::{Boxed, CancelToken, Group, Handle, Reason, TryGoError, task};
use futures::{StreamExt, stream};

type Kind = Boxed<'static, usize, &'static str>;

/// Makes a daemon that logs its start and the reason of the stop, and then returns `result`.
fn listens(
    token: &CancelToken,
    log: &Log,
    result: Result<usize, &'static str>,
) -> errgroup::Task<Job> {
    let (token, log) = (token.clone(), log.clone());
    task(job(async move {
        log.add("on");
        let reason = token.cancelled().await;
        log.add(format!("{reason:?}"));
        result
    }))
    .daemon()
}

fn daemon(f: &Fixture) -> errgroup::Task<Job> {
    listens(f.handle.token(), &f.log, Ok(0))
}

#[test]
fn a_lone_daemon_is_polled_and_stopped_by_the_first_poll_of_its_group() {
    let mut f = Fixture::of(Group::new());
    f.group.queue(daemon(&f));
    f.group.queue(daemon(&f));
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!(f.log.take(), ["on", "on", "Finished", "Finished"]);
    assert_eq!(f.handle.token().reason(), Some(Reason::Finished));
    assert_eq!((f.group.stats().ok, f.group.stats().dropped), (2, 0));
}

#[test]
fn several_daemons_end_with_the_last_other_child() {
    let mut f = Fixture::of(Group::new());
    f.group.queue(waits(&f.gate, 0));
    f.group.queue(daemon(&f));
    f.group.queue(waits(&f.gate, 1));
    f.group.queue(daemon(&f));
    for n in 0..2 {
        assert!(f.run().is_pending());
        assert_eq!(f.log.take().len(), if n == 0 { 2 } else { 0 });
        f.gate.open(n);
    }
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!(f.log.take(), ["Finished", "Finished"]);
}

#[test]
fn a_go_or_a_feed_that_drives_the_group_ends_no_daemon() {
    let mut f = Fixture::of(Group::new().with_limit(2));
    f.group.queue(daemon(&f));
    f.group.queue(waits(&f.gate, 0));
    {
        let mut go = f.group.go(waits(&f.gate, 1));
        assert!(f.task.run(&mut go).is_pending());
        f.gate.open(0);
        assert!(f.task.run(&mut go).is_ready());
    }
    {
        let tap = Tap::new();
        let mut feed = f.group.feed(tap.clone());
        f.gate.open(1);
        // Only the daemon is left, and the stream may produce more.
        assert!(f.task.run(&mut feed).is_pending());
        assert_eq!(f.log.take(), ["on"]);
        tap.put(waits(&f.gate, 2));
        tap.end();
        assert!(f.task.run(&mut feed).is_pending());
        f.gate.open(2);
        assert!(f.task.run(&mut feed).is_ready());
    }
    assert!(!f.handle.token().is_cancelled());
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!(f.log.take(), ["Finished"]);
    assert_eq!(f.group.stats().ok, 4);
}

#[test]
fn a_scope_ends_its_daemons_when_its_body_and_the_others_are_done() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let group = Group::<Kind>::new();
    let (token, open) = (group.token().clone(), gate.wait(0));
    let daemon = listens(&token, &log, Ok(0));
    let late = waits(&gate, 1);
    let mut scope = Box::pin(group.scope(|handle: Handle<Kind>| async move {
        handle.go(daemon).await.unwrap();
        open.await;
        handle.go(late).await.unwrap();
        7
    }));
    assert!(driver.run(&mut scope).is_pending());
    assert!(driver.run(&mut scope).is_pending());
    assert_eq!(log.take(), ["on"]);
    gate.open(0);
    assert!(driver.run(&mut scope).is_pending());
    assert!(log.take().is_empty());
    gate.open(1);
    assert_eq!(driver.run(&mut scope), Poll::Ready((7, Ok(()))));
    assert_eq!(log.take(), ["Finished"]);
}

#[test]
fn a_waiter_at_a_handle_holds_the_group_open_beside_a_daemon() {
    let mut f = Fixture::of(Group::new().with_limit(2));
    f.group.queue(daemon(&f));
    f.group.queue(waits(&f.gate, 0));
    let (waiter, mut go) = (MockTask::new(), f.handle.go(waits(&f.gate, 1)));
    assert!(waiter.poll(&mut go).is_pending());
    f.gate.open(0);
    // The waiter has a reservation and has not claimed it.
    assert!(f.run().is_pending());
    assert_eq!((waiter.wakes(), f.handle.token().is_cancelled()), (1, false));
    let wakes = f.task.wakes();
    drop(go);
    // Only the daemon is left: the group is woken, to end.
    assert_eq!(f.task.wakes(), wakes + 1);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!(f.log.take(), ["on", "Finished"]);
}

#[test]
fn a_paused_queue_holds_the_group_open_beside_a_daemon() {
    let mut f = Fixture::of(Group::new());
    f.group.queue(daemon(&f));
    f.group.set_limit(Some(0));
    f.group.queue(waits(&f.gate, 0));
    assert!(f.run().is_pending());
    assert!(!f.handle.token().is_cancelled());
    f.group.set_limit(Some(2));
    assert!(f.run().is_pending());
    f.gate.open(0);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!(f.group.stats().ok, 2);
}

#[test]
fn a_queued_daemon_is_admitted_and_stopped_before_the_group_ends() {
    let mut f = Fixture::of(Group::new().with_limit(1));
    f.group.queue(waits(&f.gate, 0));
    f.group.queue(daemon(&f));
    assert!(f.run().is_pending());
    assert!(f.log.take().is_empty());
    f.gate.open(0);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!(f.log.take(), ["on", "Finished"]);
}

#[test]
fn the_group_runs_as_long_as_its_daemon_adds_children() {
    let mut f = Fixture::of(Group::new());
    let (handle, gate) = (f.handle.clone(), f.gate.clone());
    let token = f.handle.token().clone();
    f.group.queue(
        task(job(async move {
            for n in 0..3 {
                gate.wait(n).await;
                handle.queue(waits(&gate, n + 11));
            }
            token.cancelled().await;
            // The group takes no more children after that.
            assert!(matches!(handle.try_go(waits(&gate, 0)), Err(TryGoError::Stopped(_))));
            Ok(9)
        }))
        .daemon(),
    );
    f.group.queue(waits(&f.gate, 10));
    assert!(f.run().is_pending());
    for n in 0..3 {
        f.gate.open(n);
        assert!(f.run().is_pending(), "{n}");
        f.gate.open(n + 10);
        assert!(f.run().is_pending(), "{n}");
        assert!(!f.handle.token().is_cancelled());
    }
    f.gate.open(13);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!(f.group.stats().ok, 5);
}

#[test]
fn the_stop_that_ends_a_daemon_spares_what_it_adds_in_the_same_poll() {
    // The last child finishes and wakes the daemon in the same poll.
    let mut f = Fixture::of(Group::new());
    let (handle, gate) = (f.handle.clone(), f.gate.clone());
    let (said, hears) = futures::channel::oneshot::channel();
    let token = f.handle.token().clone();
    f.group.queue(
        task(job(async move {
            hears.await.unwrap();
            handle.queue(waits(&gate, 1));
            token.cancelled().await;
            Ok(0)
        }))
        .daemon(),
    );
    let open = f.gate.wait(0);
    f.group.queue(job(async move {
        open.await;
        said.send(()).unwrap();
        Ok(1)
    }));
    assert!(f.run().is_pending());
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert_eq!((f.group.stats().running, f.handle.token().is_cancelled()), (2, false));
    f.gate.open(1);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
}

#[test]
fn children_beside_a_daemon_never_deadlock() {
    for limit in 2..5 {
        let mut f = Fixture::of(Group::new().with_limit(limit));
        f.group.queue(daemon(&f));
        for n in 0..limit {
            let (handle, gate) = (f.handle.clone(), f.gate.clone());
            f.group.queue(job(async move {
                handle.go(waits(&gate, 0)).await.unwrap();
                Ok(n)
            }));
        }
        f.gate.open(0);
        assert_eq!(f.run(), Poll::Ready(Ok(())), "limit {limit}");
        assert_eq!(f.group.stats().ok, 2 * limit + 1);
    }
}

#[test]
fn a_daemon_that_waits_in_go_does_not_count_as_able_to_go_on() {
    // Its `go` is not sent to the queue: it gets its room when a child has finished.
    let mut f = Fixture::of(Group::new().with_limit(2));
    let (handle, gate, log) = (f.handle.clone(), f.gate.clone(), f.log.clone());
    let token = f.handle.token().clone();
    f.group.queue(
        task(job(async move {
            handle.go(waits(&gate, 0)).await.unwrap();
            log.add("the daemon's go is done");
            token.cancelled().await;
            Ok(0)
        }))
        .daemon(),
    );
    let (handle, gate, log) = (f.handle.clone(), f.gate.clone(), f.log.clone());
    f.group.queue(job(async move {
        gate.wait(1).await;
        handle.go(waits(&gate, 0)).await.unwrap();
        log.add("the child's go is done");
        gate.wait(2).await;
        Ok(1)
    }));
    assert!(f.run().is_pending());
    assert!(f.log.take().is_empty());
    f.gate.open(1);
    assert!(f.run().is_pending());
    assert_eq!(f.log.take(), ["the child's go is done"]);
    assert_eq!((f.group.stats().running, f.group.stats().queued), (2, 1));
    f.gate.open(2);
    assert!(f.run().is_pending());
    // The daemon was first.
    assert_eq!(f.log.take(), ["the daemon's go is done"]);
    f.gate.open(0);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!(f.group.stats().ok, 4);
}

#[test]
fn a_daemon_under_limit_1_holds_the_room_until_it_ends_or_the_group_stops() {
    let mut f = Fixture::of(Group::new().with_limit(1));
    let open = f.gate.wait(0);
    f.group.queue(
        task(job(async move {
            open.await;
            Ok(0)
        }))
        .daemon(),
    );
    f.group.queue(waits(&f.gate, 1));
    assert!(f.run().is_pending());
    assert!(!f.handle.token().is_cancelled());
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert_eq!((f.group.stats().running, f.group.stats().ok), (1, 1));
    f.handle.token().cancel();
    f.gate.open(1);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
}

#[test]
fn a_daemon_that_fails_or_panics_after_the_stop_counts() {
    let mut f = Fixture::of(Group::new());
    f.group.queue(listens(f.handle.token(), &f.log, Err("late")));
    f.group.queue(waits(&f.gate, 0));
    f.gate.open(0);
    assert_eq!(f.run(), Poll::Ready(Err("late")));
    assert_eq!(f.handle.token().reason(), Some(Reason::Finished));
    assert_eq!(f.group.stats().failed, 1);

    let mut f = Fixture::of(Group::new());
    let token = f.handle.token().clone();
    f.group.queue(
        task(job(async move {
            token.cancelled().await;
            std::panic::panic_any("late")
        }))
        .daemon(),
    );
    f.group.queue(daemon(&f));
    assert_eq!(panic_message(|| f.run()), "late");
    assert_eq!(f.log.take(), ["on", "Finished"]);
    assert_eq!((f.group.stats().ok, f.group.stats().dropped), (1, 1));
}

#[test]
fn a_daemon_that_fails_while_others_run_stops_them() {
    let mut f = Fixture::of(Group::new());
    f.group.queue(task(fails(&f.gate, 0, "early")).daemon());
    f.group.queue(waits(&f.gate, 1));
    assert!(f.run().is_pending());
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert_eq!(f.handle.token().reason(), Some(Reason::Failed));
    f.gate.open(1);
    assert_eq!(f.run(), Poll::Ready(Err("early")));
}

#[test]
fn a_daemon_that_ends_by_itself_holds_no_room() {
    let mut f = Fixture::of(Group::new());
    f.group.queue(task(waits(&f.gate, 0)).daemon());
    f.group.queue(waits(&f.gate, 1));
    assert!(f.run().is_pending());
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert!(!f.handle.token().is_cancelled());
    f.gate.open(1);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
}

#[test]
fn a_daemon_that_ignores_the_stop_is_waited_for_as_long_as_the_grace_lasts() {
    let gate = Gate::new();
    let over = gate.wait(9);
    let mut f = Fixture::of(Group::new().with_grace(move || over));
    let probe = Probe::new();
    f.group.queue(task(probe.watch(waits(&f.gate, 0))).daemon());
    assert!(f.run().is_pending());
    assert_eq!(f.handle.token().reason(), Some(Reason::Finished));
    assert_eq!(probe.drops(), 0);
    gate.open(9);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!((probe.drops(), f.group.stats().dropped), (1, 1));
}

#[test]
fn a_stalled_feed_of_a_handle_does_not_hold_a_group_of_daemons_open() {
    let mut f = Fixture::of(Group::new());
    f.group.queue(daemon(&f));
    let mut feed = f.handle.feed(stream::pending::<Job>());
    let feeder = MockTask::new();
    assert!(feeder.poll(&mut feed).is_pending());
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!((feeder.wakes(), feeder.poll(&mut feed)), (1, Poll::Ready(0)));
}

#[test]
fn a_daemon_may_be_heavy_and_of_high_priority() {
    let mut f = Fixture::of(Group::new().with_limit(3));
    f.group.queue(waits(&f.gate, 0));
    f.group.queue(task(waits(&f.gate, 1)).weight(3));
    f.group.queue(daemon(&f).weight(2).priority(1));
    assert!(f.run().is_pending());
    assert_eq!(f.log.take(), ["on"]);
    assert!(matches!(f.group.try_go(waits(&f.gate, 2)), Err(TryGoError::AtLimit(_))));
    f.gate.open(0);
    assert!(f.run().is_pending());
    // It leaves too little room for the waiter.
    assert_eq!((f.group.stats().running, f.group.stats().queued), (1, 1));
    f.group.set_limit(Some(5));
    assert!(f.run().is_pending());
    f.gate.open(1);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
}

#[test]
fn the_value_of_a_daemon_goes_to_no_policy() {
    fn fill<P, O>(mut group: Group<Kind, P, O>, result: Result<usize, &'static str>) -> O {
        let (log, token) = (Log::new(), group.token().clone());
        group.queue(listens(&token, &log, result));
        for n in 1..3 {
            group.queue(job(ready(Ok(n))));
        }
        let handle = group.handle();
        let output = MockTask::new().finish(group);
        assert_eq!(handle.stats().ok + handle.stats().failed, 3, "it is counted");
        output
    }
    let group = || Group::<Kind>::new();
    assert_eq!(fill(group().collect(), Ok(0)), Ok(vec![1, 2]));
    assert_eq!(fill(group().settle(), Ok(0)), [Ok(1), Ok(2)]);
    assert_eq!(fill(group().settle(), Err("broken")), [Err("broken"), Ok(1), Ok(2)]);
    assert_eq!(fill(group().collect(), Err("broken")), Err("broken"));
    assert_eq!(fill(group(), Err("broken")), Err("broken"));

    // One that ends early is no first result either.
    let mut group = Group::<Kind>::new().with_limit(1).first_ok();
    group.queue(task(job(ready(Ok(0)))).daemon());
    group.queue(job(ready(Ok(1))));
    assert_eq!(MockTask::new().finish(group), Ok(1));
}

#[test]
fn the_value_of_a_daemon_goes_to_no_stream_and_frees_its_room() {
    for in_order in [false, true] {
        let driver = MockTask::new();
        let (drops, gate) = (Probe::new(), Gate::new());
        let mut results = Group::<Kind>::new().with_limit(1).results();
        if in_order {
            results = results.in_order();
        }
        results.queue(task(drops.watch(ready(Ok(0)))).daemon());
        results.queue(waits(&gate, 1));
        assert!(driver.poll(&mut results.next()).is_pending());
        assert_eq!((drops.drops(), results.stats().running, results.stats().ok), (1, 1, 1));
        gate.open(1);
        assert_eq!(driver.poll(&mut results.next()), Poll::Ready(Some(Ok(1))));
        assert_eq!(driver.poll(&mut results.next()), Poll::Ready(None));
    }
}

#[test]
fn a_daemon_has_no_place_in_the_order_of_results() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut results = Group::<Kind>::new().with_limit(2).results().in_order();
    let (log, token) = (Log::new(), results.token().clone());
    results.queue(listens(&token, &log, Err("too late")));
    for n in 1..5 {
        results.queue(waits(&gate, n));
    }
    // The daemon runs, and the results behind it come; the queue behind these as well.
    assert!(driver.poll(&mut results.next()).is_pending());
    for n in 1..5 {
        gate.open(n);
        assert_eq!(driver.poll(&mut results.next()), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(driver.poll(&mut results.next()), Poll::Ready(Some(Err("too late"))));
    assert_eq!(driver.poll(&mut results.next()), Poll::Ready(None));
    assert_eq!(results.stats().failed, 1);
}

#[test]
fn the_error_of_a_daemon_is_a_result_that_waits_to_be_fetched() {
    for in_order in [false, true] {
        let (driver, gate) = (MockTask::new(), Gate::new());
        let mut results = Group::<Kind>::new().with_limit(2).results();
        if in_order {
            results = results.in_order();
        }
        results.queue(waits(&gate, 0));
        results.queue(task(fails(&gate, 1, "broken")).daemon());
        results.queue(waits(&gate, 2));
        assert!(driver.poll(&mut results.next()).is_pending());
        gate.open(0);
        gate.open(1);
        assert!(driver.poll(&mut results.next()).is_ready());
        // Either the child's or the daemon's came; the other one waits, and keeps its room.
        assert_eq!((results.len(), results.stats().ok + results.stats().failed), (2, 1));
        assert!(driver.poll(&mut results.next()).is_ready());
        assert_eq!(results.len(), 1);
        gate.open(2);
        assert_eq!(driver.poll(&mut results.next()), Poll::Ready(Some(Ok(2))));
        assert_eq!(driver.poll(&mut results.next()), Poll::Ready(None));
        assert_eq!((results.stats().ok, results.stats().failed), (2, 1));
    }
}

#[test]
fn the_error_of_a_daemon_ends_a_stream_that_fails_fast_and_its_value_does_not() {
    for in_order in [false, true] {
        let (driver, gate) = (MockTask::new(), Gate::new());
        let mut results = Group::<Kind>::new().results().fail_fast();
        if in_order {
            results = results.in_order();
        }
        results.queue(waits(&gate, 0));
        results.queue(task(waits(&gate, 1)).daemon());
        results.queue(task(fails(&gate, 2, "broken")).daemon());
        for n in [1, 2] {
            assert!(driver.poll(&mut results.next()).is_pending());
            assert!(!results.is_stopped());
            gate.open(n);
        }
        assert_eq!(driver.poll(&mut results.next()), Poll::Ready(Some(Err("broken"))));
        assert!(results.is_stopped());
        gate.open(0);
        assert_eq!(driver.poll(&mut results.next()), Poll::Ready(Some(Ok(0))));
        assert_eq!(driver.poll(&mut results.next()), Poll::Ready(None));
    }
}

#[test]
fn the_unread_error_of_a_daemon_counts_in_a_stream_in_order() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut results = Group::<Kind>::new().results().in_order();
    (0..2).for_each(|n| results.queue(task(fails(&gate, n, "broken")).daemon()));
    results.queue(waits(&gate, 2));
    assert!(driver.poll(&mut results.next()).is_pending());
    gate.open(0);
    gate.open(1);
    assert!(driver.poll(&mut results.next()).is_ready());
    assert_eq!(results.len(), 2);
    assert!(driver.poll(&mut results.next()).is_ready());
    assert_eq!(results.len(), 1);
}

#[test]
fn a_daemon_that_has_ended_holds_up_no_result_behind_it() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut results = Group::<Kind>::new().results().in_order();
    results.queue(task(job(ready(Ok(0)))).daemon());
    (1..3).for_each(|n| results.queue(waits(&gate, n)));
    assert!(driver.poll(&mut results.next()).is_pending());
    gate.open(1);
    assert_eq!(driver.poll(&mut results.next()), Poll::Ready(Some(Ok(1))));
}
