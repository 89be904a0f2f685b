//! Room is reserved for every waiter that has room, and no child starts before an earlier one.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crate::common::{
    Calls, Fixture, Gate, Job, Log, MockTask, Probe, Tap, is_ok, is_stopped, job, panic_message,
    waits, waker_and_count, waker_fn,
};
use errgroup::future::Go;
use errgroup::{Boxed, Child, Children, Group, Handle, Reason, TryGoError, Verdict};
use futures::stream;

type Kind = Boxed<'static, usize, &'static str>;
type Jobs = Group<Kind>;
type Waiting = Go<Handle<Kind>, Kind, Job>;

/// Makes a child that logs its first poll and is done.
fn logs(log: &Log, what: &'static str) -> Job {
    let log = log.clone();
    job(async move {
        log.add(what);
        Ok(0)
    })
}

/// Returns a group at its limit: as many children as may run wait at the doors from 0 on.
fn full(limit: usize) -> Fixture {
    let mut f = Fixture::new(limit);
    for n in 0..limit {
        f.group.queue(waits(&f.gate, n));
    }
    assert!(f.poll().is_pending());
    f
}

/// Returns a waiter, a `go` of the handle that is polled, and the task that polled it.
fn waiter(f: &Fixture, child: Job) -> (MockTask, Waiting) {
    let (task, mut go) = (MockTask::new(), f.handle.go(child));
    assert!(task.poll(&mut go).is_pending());
    (task, go)
}

/// Lets the children that a full group began with finish.
fn make_room(f: &mut Fixture, children: usize) {
    for n in 0..children {
        f.gate.open(n);
    }
    assert!(f.run().is_pending());
}

#[test]
fn reservations_made_at_once_start_in_order_whichever_is_claimed_first() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (log, gate, task) = (Log::new(), Gate::new(), MockTask::new());
        let mut group = group.with_limit(2);
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        group.queue(waits(&gate, 1));
        let tasks = [MockTask::new(), MockTask::new(), MockTask::new()];
        let mut goes = ["first", "second", "third"].map(|what| handle.go(logs(&log, what)));
        for (task, go) in tasks.iter().zip(&mut goes) {
            assert!(task.poll(go).is_pending());
        }
        gate.open(0);
        gate.open(1);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(tasks.each_ref().map(MockTask::wakes), [1, 1, 0]);
        assert_eq!(handle.stats().running, 0, "they have not claimed yet");

        assert!(is_ok(tasks[1].poll(&mut goes[1])));
        assert_eq!(handle.stats().running, 1);
        assert!(task.run(&mut group).is_pending());
        assert_eq!(log.take(), [""; 0], "it does not start before the first");
        assert!(tasks[2].poll(&mut goes[2]).is_pending(), "the room is taken");
        assert!(is_ok(tasks[0].poll(&mut goes[0])));
        assert_eq!(handle.stats().running, 2);
        assert!(task.run(&mut group).is_pending());
        assert_eq!(log.take(), ["first", "second"]);
        assert_eq!(tasks.each_ref().map(MockTask::wakes), [1, 1, 1]);
        assert!(is_ok(tasks[2].poll(&mut goes[2])));
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
        assert_eq!(log.take(), ["third"]);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn reserved_room_counts_as_taken() {
    let mut f = full(2);
    let (task, mut go) = waiter(&f, waits(&f.gate, 9));
    make_room(&mut f, 2);
    assert!(f.handle.try_go(waits(&f.gate, 8)).is_ok());
    assert!(matches!(f.handle.try_go(waits(&f.gate, 7)), Err(TryGoError::AtLimit(_))));
    f.handle.queue(waits(&f.gate, 7));
    assert_eq!((f.handle.stats().running, f.handle.stats().queued), (1, 1));
    assert!(is_ok(task.poll(&mut go)));
    assert_eq!((f.handle.stats().running, f.handle.stats().queued), (2, 1));
}

#[test]
fn a_newcomer_with_room_does_not_sleep_behind_an_unclaimed_reservation() {
    let mut f = full(3);
    let log = Log::new();
    let (task, mut go) = waiter(&f, logs(&log, "waited"));
    make_room(&mut f, 3);
    let new = MockTask::new();
    assert!(is_ok(new.poll(&mut f.handle.go(logs(&log, "came later")))));
    assert!(f.handle.try_go(logs(&log, "came last")).is_ok());
    assert!(f.task.run(&mut f.group).is_pending());
    assert_eq!(log.take(), [""; 0]);
    assert!(is_ok(task.poll(&mut go)));
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["waited", "came later", "came last"]);
    assert_eq!((task.wakes(), new.wakes()), (1, 0));
}

#[test]
fn a_waiter_dropped_with_its_reservation_lets_the_children_behind_it_start() {
    let mut f = full(2);
    let (log, probe) = (Log::new(), Probe::new());
    let (_, first) = waiter(&f, probe.watch(std::future::ready(Ok(1))));
    let (second, mut go) = waiter(&f, logs(&log, "second"));
    let (third, mut last) = waiter(&f, logs(&log, "third"));
    make_room(&mut f, 2);
    assert!(is_ok(second.poll(&mut go)));
    assert!(f.task.run(&mut f.group).is_pending());
    assert_eq!((log.take(), third.wakes()), (Vec::new(), 0));
    let wakes = f.task.wakes();
    drop(first);
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    assert_eq!((f.task.wakes(), third.wakes()), (wakes + 1, 1));
    assert!(f.task.run(&mut f.group).is_pending());
    assert_eq!(log.take(), ["second"]);
    assert!(is_ok(third.poll(&mut last)));
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["third"]);
}

#[test]
fn the_index_has_no_gap_after_a_dropped_reservation() {
    let (log, gate, task) = (Log::new(), Gate::new(), MockTask::new());
    let told = log.clone();
    let indices = Calls::new(move |child, result| {
        told.add(format!("{}: {}", child.index(), result.unwrap()));
        Verdict::Continue
    });
    let mut group: Group<Kind, _> = Group::new().with_limit(3).with_policy(indices);
    let handle = group.handle();
    for n in 0..3 {
        group.queue(waits(&gate, n));
    }
    let going = MockTask::new();
    let mut goes = [3, 4, 5].map(|n| Some(handle.go(waits(&gate, n))));
    for go in goes.iter_mut().flatten() {
        assert!(going.poll(go).is_pending());
    }
    for n in 0..7 {
        gate.open(n);
    }
    assert!(task.run(&mut group).is_pending());
    // The last claims first; the one before it is dropped.
    assert!(is_ok(going.poll(goes[2].as_mut().unwrap())));
    assert!(is_ok(going.poll(goes[0].as_mut().unwrap())));
    assert!(task.run(&mut group).is_pending());
    goes[1] = None;
    assert!(handle.try_go(waits(&gate, 6)).is_ok());
    assert_eq!(task.run(&mut group), Poll::Ready(()));
    assert_eq!(log.take(), ["0: 0", "1: 1", "2: 2", "3: 3", "4: 5", "5: 6"]);
}

#[test]
fn an_unclaimed_reservation_holds_the_children_behind_it_until_a_stop() {
    let mut f = full(2);
    let log = Log::new();
    let (_, mut forgotten) = waiter(&f, logs(&log, "forgotten"));
    let (second, mut go) = waiter(&f, logs(&log, "second"));
    make_room(&mut f, 2);
    assert!(is_ok(second.poll(&mut go)));
    for _ in 0..3 {
        assert!(f.task.run(&mut f.group).is_pending());
    }
    assert_eq!(log.take(), [""; 0]);
    assert!(f.handle.token().cancel());
    // The accepted child runs to its end, and the group does not wait for the other.
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["second"]);
    assert!(is_stopped(MockTask::new().poll(&mut forgotten)));
    let stats = f.handle.stats();
    assert_eq!((stats.running, stats.ok, stats.dropped), (0, 3, 0));
}

#[test]
fn a_stop_revokes_reservations() {
    let mut f = full(3);
    let log = Log::new();
    let (task, mut go) = waiter(&f, logs(&log, "waited"));
    let (_, unpolled) = waiter(&f, logs(&log, "waited too"));
    make_room(&mut f, 3);
    f.handle.token().cancel_with(Reason::Cancelled);
    assert_eq!(task.wakes(), 1, "it was woken and has not claimed");
    let Poll::Ready(Err(stopped)) = task.poll(&mut go) else {
        panic!("the group has stopped");
    };
    assert!(matches!(task.poll(&mut stopped.into_inner()), Poll::Ready(Ok(0))));
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
    assert!(f.handle.is_closed());
    let stats = f.handle.stats();
    drop((go, unpolled));
    assert_eq!(f.handle.stats(), stats);
    assert_eq!(stats.running, 0);
}

#[test]
fn a_reservation_holds_the_group_open_until_it_is_claimed_or_dropped() {
    for claims in [true, false] {
        let mut f = full(1);
        let (task, mut go) = waiter(&f, job(std::future::ready(Ok(1))));
        make_room(&mut f, 1);
        assert!(f.task.run(&mut f.group).is_pending());
        let wakes = f.task.wakes();
        assert!(!claims || is_ok(task.poll(&mut go)));
        drop(go);
        assert_eq!(f.task.wakes(), wakes + 1);
        assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
        assert_eq!(f.handle.stats().ok, 1 + usize::from(claims));
    }
}

#[test]
fn a_dropped_group_revokes_reservations_and_drops_the_children_behind_them() {
    let mut f = full(2);
    let probe = Probe::new();
    let (task, mut go) = waiter(&f, job(std::future::ready(Ok(1))));
    let (second, mut held) = waiter(&f, probe.watch(std::future::ready(Ok(2))));
    make_room(&mut f, 2);
    assert!(is_ok(second.poll(&mut held)));
    drop(f.group);
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    assert!(is_stopped(task.poll(&mut go)));
    let stats = f.handle.stats();
    assert_eq!((stats.running, stats.ok, stats.dropped), (0, 2, 1));
}

#[test]
fn a_lowered_limit_revokes_unclaimed_reservations() {
    let mut f = full(2);
    let log = Log::new();
    let (first, mut go) = waiter(&f, logs(&log, "first"));
    let (second, mut behind) = waiter(&f, logs(&log, "second"));
    make_room(&mut f, 2);
    f.handle.set_limit(Some(1));
    assert!(second.poll(&mut behind).is_pending(), "there is no room for it any more");
    assert!(is_ok(first.poll(&mut go)));
    assert!(f.task.run(&mut f.group).is_pending());
    assert_eq!((log.take(), second.wakes()), (vec!["first".to_string()], 2));
    assert!(is_ok(second.poll(&mut behind)));
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
}

#[test]
fn a_lowered_limit_keeps_a_reservation_ahead_of_a_claimed_one() {
    let mut f = full(2);
    let log = Log::new();
    let (first, mut go) = waiter(&f, logs(&log, "first"));
    let (second, mut behind) = waiter(&f, logs(&log, "second"));
    make_room(&mut f, 2);
    assert!(is_ok(second.poll(&mut behind)));
    f.handle.set_limit(Some(0));
    assert!(is_ok(first.poll(&mut go)), "else the second could not start");
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["first", "second"]);
}

#[test]
fn room_is_reserved_for_feeds_too() {
    let mut f = full(3);
    let log = Log::new();
    let (one, two) = (MockTask::new(), MockTask::new());
    let mut feed = f.handle.feed(stream::iter([logs(&log, "fed")]));
    assert!(one.poll(&mut feed).is_pending());
    let tap = Tap::<Job>::new();
    let mut stalls = f.handle.feed(tap.clone());
    assert!(two.poll(&mut stalls).is_pending());
    let (third, mut go) = waiter(&f, logs(&log, "third"));
    make_room(&mut f, 3);
    assert_eq!((one.wakes(), two.wakes(), third.wakes()), (1, 1, 1));
    assert!(is_ok(third.poll(&mut go)));
    assert!(f.task.run(&mut f.group).is_pending());
    assert!(one.poll(&mut feed).is_pending(), "it is at the limit again");
    assert!(f.task.run(&mut f.group).is_pending());
    assert_eq!(log.take(), ["fed"], "the third is queued behind the second");
    // Its stream is pending, so it holds neither room nor a position.
    assert!(two.poll(&mut stalls).is_pending());
    assert!(f.task.run(&mut f.group).is_pending());
    assert_eq!((log.take(), one.wakes()), (vec!["third".to_string()], 2));
    assert_eq!(one.poll(&mut feed), Poll::Ready(1));
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
    drop(tap);
}

#[test]
fn a_stream_that_panics_with_reserved_room_gives_it_back() {
    let mut f = full(2);
    let log = Log::new();
    let bad = stream::poll_fn(|_| -> Poll<Option<Job>> { std::panic::panic_any("bad") });
    let (one, mut feed) = (MockTask::new(), f.handle.feed(bad));
    assert!(one.poll(&mut feed).is_pending());
    let (second, mut go) = waiter(&f, logs(&log, "second"));
    let (third, mut last) = waiter(&f, logs(&log, "third"));
    make_room(&mut f, 2);
    assert!(is_ok(second.poll(&mut go)));
    assert_eq!(panic_message(|| one.poll(&mut feed)), "bad");
    assert!(f.task.run(&mut f.group).is_pending());
    assert_eq!((log.take(), third.wakes()), (vec!["second".to_string()], 1));
    assert!(is_ok(third.poll(&mut last)));
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
}

#[test]
fn the_groups_own_go_may_have_a_reservation_and_hold_others_behind_it() {
    let (log, gate, task) = (Log::new(), Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(2);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    let other = MockTask::new();
    {
        let mut own = group.go(logs(&log, "own"));
        assert!(task.poll(&mut own).is_pending());
        let mut behind = handle.go(logs(&log, "behind"));
        assert!(other.poll(&mut behind).is_pending());
        // Reserved from elsewhere: it is woken through the group's task.
        let wakes = task.wakes();
        handle.set_limit(Some(4));
        assert_eq!((task.wakes(), other.wakes()), (wakes + 1, 1));
        assert!(is_ok(other.poll(&mut behind)));
        assert!(is_ok(task.poll(&mut own)));
    }
    gate.open(0);
    gate.open(1);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["own", "behind"]);
}

#[test]
fn children_with_reservations_in_their_own_group_never_wait_for_later_ones() {
    // A child that waits in a `go` has a reservation; a newcomer is held behind it.
    let (log, gate, task) = (Log::new(), Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(2);
    let handle = group.handle();
    let (inner, second) = (handle.clone(), logs(&log, "second"));
    let first = waits(&gate, 9);
    group.queue(job(async move {
        inner.go(second).await.map_err(|_| "stopped")?;
        first.await
    }));
    group.queue(waits(&gate, 1));
    assert!(task.poll(&mut group).is_pending());
    handle.set_limit(Some(4));
    assert!(handle.try_go(logs(&log, "third")).is_ok());
    gate.open(1);
    gate.open(9);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["second", "third"]);
}

#[test]
fn a_child_that_claims_in_the_round_of_its_reservation_is_not_woken_again() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(2);
    let handle = group.handle();
    let probe = Probe::new();
    group.queue(waits(&gate, 0));
    let (go, wait) = (handle.go(waits(&gate, 7)), waits(&gate, 1));
    group.queue(probe.watch(async move {
        let (gone, waited) = futures::join!(go, wait);
        gone.map_err(|_| "stopped").and(waited)?;
        std::future::pending().await
    }));
    assert!(task.run(&mut group).is_pending());
    assert_eq!(probe.polls(), 1);
    // The second child is woken as well, and polled after the first has made room.
    gate.open(0);
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!((handle.stats().running, probe.polls()), (2, 2));
}

#[test]
fn a_panic_of_one_waker_costs_no_other_waiter_its_wake_up() {
    let mut f = full(3);
    let bad = waker_fn(|| std::panic::panic_any("a waker"));
    let (first, mut one) = waiter(&f, waits(&f.gate, 7));
    let mut two = f.handle.go(waits(&f.gate, 8));
    assert!(Pin::new(&mut two).poll(&mut Context::from_waker(&bad)).is_pending());
    let (third, mut three) = waiter(&f, waits(&f.gate, 9));
    make_room(&mut f, 3);
    assert_eq!((first.wakes(), third.wakes()), (1, 1));
    assert!(is_ok(third.poll(&mut three)) && is_ok(first.poll(&mut one)));
    assert!(is_ok(third.poll(&mut two)));
}

#[test]
fn a_waker_may_use_the_handle_while_it_wakes() {
    let mut f = full(2);
    let slot = Arc::new(Mutex::new(None::<Waiting>));
    let (held, task) = (Arc::clone(&slot), Arc::new(MockTask::new()));
    let polls = Arc::clone(&task);
    let inline = waker_fn(move || {
        let mut go = held.lock().unwrap();
        assert!(is_ok(polls.poll(go.as_mut().unwrap())));
    });
    let mut go = f.handle.go(waits(&f.gate, 9));
    assert!(Pin::new(&mut go).poll(&mut Context::from_waker(&inline)).is_pending());
    *slot.lock().unwrap() = Some(go);
    let (second, _go) = waiter(&f, waits(&f.gate, 8));
    make_room(&mut f, 2);
    assert_eq!((f.handle.stats().running, second.wakes()), (1, 1));
}

#[test]
fn the_waker_of_a_claimed_or_dropped_waiter_is_not_kept() {
    let mut f = full(2);
    let (waker, held) = waker_and_count();
    let mut goes = [7, 8, 9].map(|n| f.handle.go(waits(&f.gate, n)));
    for go in &mut goes {
        assert!(Pin::new(go).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&held), 4);
    make_room(&mut f, 2);
    let [first, mut second, third] = goes;
    assert!(is_ok(MockTask::new().poll(&mut second)));
    drop(third);
    assert_eq!(Arc::strong_count(&held), 1);
    drop(first);
}

#[test]
fn waiters_that_come_and_go_behind_a_reservation_leave_room_and_order_as_they_were() {
    let mut f = full(8);
    let log = Log::new();
    let (first, mut go) = waiter(&f, logs(&log, "first"));
    make_room(&mut f, 8);
    f.handle.set_limit(Some(1));
    let other = MockTask::new();
    for round in 0..50 {
        let mut goes: Vec<_> = (0..20).map(|_| Some(f.handle.go(waits(&f.gate, 9)))).collect();
        for go in goes.iter_mut().flatten() {
            assert!(other.poll(go).is_pending());
        }
        for n in 0..10 {
            goes[(n * 7 + round) % 20] = None;
        }
        f.handle.set_limit(Some(6));
        // Five of the ten have room now. Some are dropped, and the waiters behind them get it.
        let before = other.wakes();
        for n in (0..20).rev().step_by(2) {
            goes[n] = None;
        }
        f.handle.set_limit(Some(1));
        assert!(goes.iter_mut().flatten().all(|go| other.poll(go).is_pending()));
        assert!(other.wakes() <= before + 5);
        assert_eq!(f.handle.stats().running, 0);
    }
    assert!(is_ok(first.poll(&mut go)));
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["first"]);
}

#[test]
fn a_group_whose_own_go_lost_its_reservation_to_a_lowered_limit_sleeps() {
    let (task, log) = (MockTask::new(), Log::new());
    let mut group = Group::new().with_limit(1);
    let handle = group.handle();
    handle.set_limit(Some(0));
    let mut go = Box::pin(group.go(logs(&log, "first")));
    assert!(task.poll(&mut go).is_pending());
    // Room is reserved for the `go`, and taken back before it is polled.
    handle.set_limit(Some(1));
    handle.set_limit(Some(0));
    let woken = task.wakes();
    assert!(task.poll(&mut go).is_pending());
    assert_eq!(task.wakes(), woken, "it has no turn, and so no work");
    handle.set_limit(Some(1));
    assert!(task.wakes() > woken);
    assert!(task.poll(&mut go).is_ready());
}
