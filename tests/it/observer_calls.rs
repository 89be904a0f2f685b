//! What an observer may do: call the group's handle, panic, be dropped.

use std::panic::panic_any;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use crate::common::{
    Bomb, DropCounter, Gate, Log, MockTask, fails, job, logged_child, panic_message, waits,
};
use errgroup::{Boxed, ChildInfo, Event, Group, Handle, Reason, task};

type Group0<'a> = Group<Boxed<'a, usize, &'static str>>;

/// The handle that an observer gets after it was made.
type Slot = Arc<OnceLock<Handle<Boxed<'static, usize, &'static str>>>>;

/// Returns a group with an observer that logs its events and calls `f` with the handle.
fn calling(
    log: &Log,
    limit: usize,
    mut f: impl FnMut(&Event, &Handle<Boxed<'static, usize, &'static str>>) + Send + 'static,
) -> Group0<'static> {
    let (log, slot) = (log.clone(), Slot::default());
    let own = Arc::clone(&slot);
    let group = Group::new().with_limit(limit).with_observer(move |event: &Event| {
        log.add(event.to_string());
        f(event, own.get().unwrap());
    });
    slot.set(group.handle()).unwrap();
    group
}

// === an observer calls the handle ===

#[test]
fn an_observer_may_raise_the_limit_and_sees_that_event_next() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = calling(&log, 1, |event, handle| {
        if let Event::Queued { .. } = event {
            handle.set_limit(handle.limit().map(|limit| limit + 1));
        }
    });
    for n in 0..3 {
        group.queue(logged_child(n, &gate, &log));
    }
    // No other wake-up comes for the children that are admitted.
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(group.stats().running, 3);
    let events = log.take();
    assert_eq!(events[..3], ["#0 started", "queued", "queued"]);
    for entry in ["limit: 2", "limit: 3", "#1 started", "#2 started", "+1", "+2"] {
        assert_eq!(events.iter().filter(|it| *it == entry).count(), 1, "{entry} in {events:?}");
    }
}

#[test]
fn a_child_that_an_observer_adds_before_it_stops_the_group_is_told_before_it_is_polled() {
    let (log, mut done) = (Log::new(), false);
    let polled = log.clone();
    let mut group = calling(&log, 2, move |event, handle| {
        if let (Event::Started { .. }, false) = (event, done) {
            done = true;
            let polled = polled.clone();
            handle.queue(job(async move {
                polled.add("polled");
                Ok(1)
            }));
            handle.token().cancel_with(Reason::Done);
        }
    });
    group.queue(task(job(std::future::pending())).until_stop());
    assert_eq!(MockTask::new().run(&mut group), Poll::Ready(Ok(())));
    let told = log.take();
    let at = |entry: &str| told.iter().position(|it| it == entry).unwrap();
    assert!(at("#1 started") < at("polled"), "{told:?}");
}

#[test]
fn an_observer_may_queue_a_child_at_the_last_moment() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut left = 2;
    let mut group = calling(&log, 1, move |event, handle| {
        if let Event::Finished { .. } = event {
            if left > 0 {
                left -= 1;
                handle.queue(job(async { Ok(1) }));
            }
        }
    });
    group.queue(job(async { Ok(0) }));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(group.stats().ok, 3);
    assert_eq!(log.take().len(), 7);
}

#[test]
fn an_observer_that_adds_a_child_after_the_stop_sees_its_rejection() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = calling(&log, 1, |event, handle| {
        if let Event::Stopped(_) = event {
            handle.queue(task(job(async { Ok(1) })).name("late"));
        }
    });
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        ["stopped: the work has finished", "(late) rejected: the group has stopped"]
    );
    assert_eq!(group.stats().dropped, 1);
}

#[test]
fn an_observer_that_answers_every_event_does_not_delay_the_end() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = calling(&log, 1, |_, handle| {
        let limit = handle.limit().unwrap_or_default();
        handle.set_limit(Some(limit + 1));
    });
    assert!(driver.run(&mut group).is_ready());
    assert!(log.take().len() > 1);
}

#[test]
fn an_observer_may_cancel_the_token() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = calling(&log, 1, |event, handle| {
        if event.name() == Some("trigger") {
            handle.token().cancel();
        }
    });
    let token = group.token().clone();
    group.queue(task(job(async move {
        token.cancelled().await;
        Ok(1)
    })));
    group.queue(task(waits(&gate, 0)).name("trigger"));
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(group.token().reason(), Some(Reason::Cancelled));
    assert_eq!(
        log.take(),
        [
            "#0 started",
            "(trigger) queued",
            "stopped: cancelled",
            "(trigger) finished: Dropped",
            "#0 finished: Ok"
        ]
    );
}

#[test]
fn an_observer_that_cancels_at_the_last_child_stops_the_group() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = calling(&log, 1, |event, handle| {
        if let Event::Finished { .. } = event {
            handle.token().cancel();
        }
    });
    group.queue(job(async { Ok(1) }));
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(log.take(), ["#0 started", "#0 finished: Ok", "stopped: cancelled"]);
}

#[test]
fn an_observer_may_read_the_stats_while_the_group_is_dropped() {
    let (gate, log) = (Gate::new(), Log::new());
    let notes = log.clone();
    let mut group = calling(&Log::new(), 1, move |event, handle| {
        if let Event::Finished { .. } = event {
            notes.add(handle.stats().dropped.to_string());
        }
    });
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    drop(group);
    assert_eq!(log.take(), ["2", "2"]);
}

// === an observer panics ===

/// Returns a group with an observer that panics at the event displayed as `at`. It logs its events
/// and counts its drop.
fn panicking(log: &Log, limit: usize, at: &'static str) -> (Group0<'static>, DropCounter) {
    let (log, drops) = (log.clone(), DropCounter::default());
    let dropped = drops.guard();
    let group = Group::new().with_limit(limit).with_observer(move |event: &Event| {
        let _held = &dropped;
        log.add(event.to_string());
        if event.to_string() == at {
            panic_any(at);
        }
    });
    (group, drops)
}

#[test]
fn an_observer_that_panics_stops_the_group_and_is_not_called_again() {
    for at in ["#0 started", "queued", "#0 finished: Ok"] {
        let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
        let (mut group, drops) = panicking(&log, 2, at);
        group.queue(waits(&gate, 0));
        group.queue(waits(&gate, 1));
        group.queue(waits(&gate, 2));
        gate.open(0);
        assert!(driver.run(&mut group).is_pending(), "{at}");
        assert_eq!(log.take().last().unwrap(), at);
        assert_eq!(drops.get(), 1, "{at}");
        assert_eq!(group.token().reason(), Some(Reason::Panicked));
        assert!(group.try_go(waits(&gate, 3)).is_err());
        // The sibling is polled to its end.
        let (handle, mut group) = (group.handle(), group);
        gate.open(1);
        gate.open(2);
        assert_eq!(panic_message(|| driver.run(&mut group)), at);
        let stats = handle.stats();
        assert_eq!((stats.queued, stats.running, stats.ok + stats.dropped), (0, 0, 3), "{at}");
        assert!(driver.poll(&mut group).is_pending());
        drop(group);
        assert!(log.take().is_empty(), "{at}");
        assert_eq!(drops.get(), 1);
    }
}

#[test]
fn an_observer_may_panic_in_the_last_poll() {
    for at in ["#0 finished: Ok", "stopped: the work has finished"] {
        let (driver, log) = (MockTask::new(), Log::new());
        let (mut group, drops) = panicking(&log, 1, at);
        let closed = group.handle();
        group.queue(job(async { Ok(1) }));
        assert_eq!(panic_message(|| driver.run(&mut group)), at);
        assert_eq!(log.take().last().unwrap(), at);
        assert!(closed.is_closed());
        assert_eq!((drops.get(), closed.stats().ok), (1, 1));
        assert!(driver.poll(&mut group).is_pending());
    }
}

#[test]
fn an_observer_that_panics_outranks_an_error() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let (mut group, _drops) = panicking(&log, 1, "stopped: a child failed");
    group.queue(fails(&gate, 0, "no"));
    gate.open(0);
    assert_eq!(panic_message(|| driver.run(&mut group)), "stopped: a child failed");
}

#[test]
fn a_childs_earlier_panic_outranks_the_observers() {
    let (driver, log) = (MockTask::new(), Log::new());
    let (mut group, drops) = panicking(&log, 1, "#0 finished: Panicked");
    group.queue(job(async { panic_any("child") }));
    assert_eq!(panic_message(|| driver.run(&mut group)), "child");
    assert_eq!(drops.get(), 1);
}

#[test]
fn an_observer_may_panic_while_the_group_is_dropped() {
    for at in ["#0 started", "stopped: the owner was dropped", "queued", "finished: Dropped"] {
        let (gate, log) = (Gate::new(), Log::new());
        let (mut group, drops) = panicking(&log, 1, at);
        let handle = group.handle();
        group.queue(logged_child(0, &gate, &log));
        group.queue(logged_child(1, &gate, &log));
        assert_eq!(panic_message(|| drop(group)), at);
        assert!(handle.is_closed());
        assert_eq!((drops.get(), handle.stats().dropped), (1, 2), "{at}");
        let events = log.take();
        assert!(["-0", "-1"].iter().all(|gone| events.iter().any(|it| it == gone)), "{events:?}");
    }
}

#[test]
fn a_panic_of_the_outputs_destructor_does_not_turn_the_observers_into_an_abort() {
    struct Sum;
    impl errgroup::Policy<usize, &'static str> for Sum {
        type Output = Bomb;
        fn on_child(
            &mut self,
            _: &ChildInfo<'_>,
            _: Result<usize, &'static str>,
        ) -> errgroup::Verdict {
            errgroup::Verdict::Continue
        }
        fn finish(&mut self, _: &Reason) -> Bomb {
            Bomb("output")
        }
    }
    let (driver, log) = (MockTask::new(), Log::new());
    let (group, _drops) = panicking(&log, 1, "stopped: the work has finished");
    let mut group = group.with_policy(Sum);
    assert_eq!(panic_message(|| driver.run(&mut group)), "stopped: the work has finished");
}

// === an observer is dropped ===

#[test]
fn a_panic_of_an_observers_destructor_comes_out_at_the_groups_end() {
    let (driver, bomb) = (MockTask::new(), Bomb("observer"));
    let mut group = Group0::new().with_observer(move |_: &Event| {
        let _held = &bomb;
    });
    let handle = group.handle();
    group.queue(job(async { Ok(1) }));
    assert_eq!(panic_message(|| driver.run(&mut group)), "observer");
    assert!(handle.is_closed());
    assert_eq!(handle.stats().ok, 1);

    let bomb = Bomb("observer");
    let group = Group0::new().with_observer(move |_: &Event| {
        let _held = &bomb;
    });
    assert_eq!(panic_message(|| drop(group)), "observer");
}

#[test]
fn an_observer_is_dropped_before_closed_resolves() {
    let (driver, drops) = (MockTask::new(), DropCounter::default());
    let held = drops.guard();
    let mut group = Group0::new().with_observer(move |_: &Event| {
        let _held = &held;
    });
    let mut closed = group.handle().closed();
    let waiter = MockTask::new();
    assert!(waiter.poll(&mut closed).is_pending());
    assert!(driver.run(&mut group).is_ready());
    assert_eq!((waiter.wakes(), drops.get()), (1, 1));
}

#[test]
fn an_observer_of_a_scope_is_called_and_dropped_with_it() {
    let (driver, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let (group, drops) = panicking(&log, 1, "nothing");
    let child = waits(&gate, 0);
    let mut scope = Box::pin(group.scope(async move |handle: Handle<_>| {
        handle.queue(child);
        std::future::pending::<()>().await;
    }));
    assert!(driver.run(&mut scope).is_pending());
    assert_eq!(log.take(), ["#0 started"]);
    drop(scope);
    assert_eq!(log.take(), ["stopped: the owner was dropped", "#0 finished: Dropped"]);
    assert_eq!(drops.get(), 1);
}
