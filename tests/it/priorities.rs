//! Priorities: which child of the queue is admitted first.

use std::task::Poll;

use crate::common::{Fixture, Gate, Job, Log, MockTask, Tap, job, logged_child};
use errgroup::{Group, TryGoError, task};
use futures::stream;

fn child(f: &Fixture, number: usize, priority: i32) -> errgroup::Task<Job> {
    task(f.child(number)).priority(priority)
}

/// Lets these children finish one after the other, and returns which started meanwhile.
fn finish(f: &mut Fixture, numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    for number in numbers {
        f.gate.open(number);
        let _ = f.run();
    }
    let mut log = f.log.take();
    log.retain(|entry| entry.starts_with('+'));
    log
}

#[test]
fn the_queue_is_ordered_by_priority_and_then_by_arrival() {
    let mut f = Fixture::new(1);
    for (n, priority) in [0, i32::MIN, 3, 0, 3, -1, i32::MAX, 0].into_iter().enumerate() {
        f.handle.queue(child(&f, n, priority));
    }
    assert!(f.run().is_pending());
    let started = finish(&mut f, [0, 6, 2, 4, 3, 7, 5, 1]);
    assert_eq!(started, ["+0", "+6", "+2", "+4", "+3", "+7", "+5", "+1"]);
}

#[test]
fn gos_feeds_and_queued_children_share_one_queue() {
    let mut f = Fixture::new(1);
    f.handle.queue(child(&f, 0, 0));
    assert!(f.run().is_pending());
    let mut gos: Vec<_> = [(1, -1), (2, 4), (3, 0)]
        .map(|(n, priority)| (MockTask::new(), f.handle.go(child(&f, n, priority))))
        .into();
    for (waiter, go) in &mut gos {
        assert!(waiter.poll(go).is_pending());
    }
    f.handle.queue(child(&f, 4, 4));
    // A feed doesn't know what child it will take: it is queued with priority 0.
    let (feeder, mut feed) = (MockTask::new(), f.handle.feed(stream::iter([child(&f, 5, 9)])));
    assert!(feeder.poll(&mut feed).is_pending());
    f.handle.queue(child(&f, 6, 0));
    let mut order = Vec::new();
    for last in [0, 2, 4, 3, 5, 6] {
        order.extend(finish(&mut f, [last]));
        // When its turn comes again, the feed sees its end and lets the next child in.
        let fed = feeder.wakes() > 0 && feeder.poll(&mut feed).is_ready();
        assert_eq!(fed, last == 6);
        gos.retain_mut(|(waiter, go)| waiter.wakes() == 0 || waiter.poll(go).is_pending());
        assert!(f.run().is_pending());
        order.extend(finish(&mut f, []));
    }
    assert_eq!(order, ["+0", "+2", "+4", "+3", "+5", "+6", "+1"]);
    let _ = finish(&mut f, [1]);
    assert!(f.group.is_stopped());
}

#[test]
fn the_groups_own_go_queues_by_its_priority() {
    for (priority, turn) in [(-1, 3), (0, 2), (1, 1)] {
        let mut f = Fixture::new(1);
        for (n, priority) in [(0, 0), (1, 0), (2, -1)] {
            f.handle.queue(child(&f, n, priority));
        }
        let own = child(&f, 3, priority);
        let mut go = f.group.go(own);
        assert!(f.task.run(&mut go).is_pending());
        let mut finished = 0;
        for n in 0..3 {
            f.gate.open(n);
            finished += 1;
            if f.task.run(&mut go).is_ready() {
                break;
            }
        }
        assert_eq!(finished, turn, "priority {priority}");
        drop(go);
        (0..4).for_each(|n| f.gate.open(n));
        assert!(f.run().is_ready());
    }
}

#[test]
fn a_newcomer_of_higher_priority_takes_room_kept_for_a_heavy_child() {
    let mut f = Fixture::new(3);
    f.handle.queue(child(&f, 0, 0));
    f.handle.queue(child(&f, 1, 0));
    f.handle.queue(child(&f, 2, 0).weight(3));
    assert_eq!(f.group.stats().queued, 1);
    // No child of the same priority, and no `try_go` at all.
    f.handle.queue(child(&f, 3, 0));
    assert!(matches!(f.handle.try_go(child(&f, 4, 7)), Err(TryGoError::AtLimit(_))));
    let (waiter, mut equal) = (MockTask::new(), f.handle.go(child(&f, 5, 0)));
    assert!(waiter.poll(&mut equal).is_pending());
    assert_eq!(f.group.stats().queued, 2);
    let (higher, mut go) = (MockTask::new(), f.handle.go(child(&f, 6, 1)));
    assert!(higher.poll(&mut go).is_ready());
    // Now the group is full for these as well.
    f.handle.queue(child(&f, 7, 9));
    assert_eq!((f.group.stats().running, f.group.stats().queued), (3, 3));
    drop(equal);
    assert!(f.run().is_pending());
    assert_eq!(finish(&mut f, []), ["+0", "+1", "+6"]);
    // The heavy child has to wait for the one of priority 9, too.
    assert_eq!(finish(&mut f, [0]), ["+7"]);
    assert_eq!(finish(&mut f, [1, 6]), Vec::<String>::new());
    assert_eq!(finish(&mut f, [7]), ["+2"]);
    assert_eq!(finish(&mut f, [2]), ["+3"]);
    let _ = finish(&mut f, [3]);
    assert!(f.group.is_stopped());
}

#[test]
fn try_go_never_overtakes_a_waiter() {
    let mut f = Fixture::new(2);
    f.handle.queue(child(&f, 0, 0));
    f.handle.queue(child(&f, 1, i32::MIN).weight(2));
    let high = child(&f, 2, i32::MAX);
    assert!(matches!(f.group.try_go(high), Err(TryGoError::AtLimit(_))));
    let _ = finish(&mut f, [0]);
    assert_eq!((f.group.stats().running, f.group.stats().queued), (1, 0));
    let _ = finish(&mut f, [1]);
}

#[test]
fn an_overtaken_waiter_with_a_later_reservation_releases_or_claims_it() {
    for claims in [true, false] {
        let mut f = Fixture::new(1);
        f.handle.queue(child(&f, 0, 0));
        assert!(f.run().is_pending());
        let (low, mut low_go) = (MockTask::new(), f.handle.go(child(&f, 1, -1)));
        assert!(low.poll(&mut low_go).is_pending());
        let (high, mut high_go) = (MockTask::new(), f.handle.go(child(&f, 2, 1)));
        assert!(high.poll(&mut high_go).is_pending());
        f.handle.queue(child(&f, 3, 0));
        f.handle.set_limit(Some(4));
        assert_eq!((low.wakes(), high.wakes()), (1, 1));
        // The queued child has room and starts behind the unclaimed reservation.
        assert_eq!((f.group.stats().running, f.group.stats().queued), (2, 0));
        assert!(f.run().is_pending());
        assert_eq!(finish(&mut f, []), ["+0"]);
        if claims {
            // The lower one has room too, but starts in its turn.
            assert!(low.poll(&mut low_go).is_ready());
            assert!(f.run().is_pending());
            assert_eq!(finish(&mut f, []), Vec::<String>::new());
            assert!(high.poll(&mut high_go).is_ready());
            assert!(f.run().is_pending());
            assert_eq!(finish(&mut f, []), ["+2", "+3", "+1"]);
        } else {
            drop(low_go);
            assert!(f.run().is_pending());
            drop(high_go);
            assert!(f.run().is_pending());
            assert_eq!(finish(&mut f, []), ["+3"]);
        }
        assert!(f.group.try_go(child(&f, 4, 0)).is_ok() != claims);
        let _ = finish(&mut f, 0..5);
        assert!(f.group.is_stopped());
    }
}

#[test]
fn reservations_out_of_order_are_revoked_and_made_again_by_priority() {
    let mut f = Fixture::new(1);
    f.handle.queue(child(&f, 0, 0));
    assert!(f.run().is_pending());
    let waiters: Vec<_> = (1..=3).map(|_| MockTask::new()).collect();
    let mut gos: Vec<_> =
        [(1, -1), (2, 0), (3, 1)].map(|(n, priority)| f.handle.go(child(&f, n, priority))).into();
    let wakes = |waiters: &[MockTask]| waiters.iter().map(MockTask::wakes).collect::<Vec<_>>();
    for (waiter, go) in waiters.iter().zip(&mut gos) {
        assert!(waiter.poll(go).is_pending());
    }
    f.handle.set_limit(Some(4));
    assert_eq!(wakes(&waiters), [1, 1, 1]);
    // The last reservation is the lowest: 1, then 2.
    f.handle.set_limit(Some(2));
    assert!(waiters[0].poll(&mut gos[0]).is_pending());
    assert!(waiters[1].poll(&mut gos[1]).is_pending());
    f.handle.set_limit(Some(1));
    // A waiter that has not claimed is woken once.
    f.handle.set_limit(Some(2));
    assert_eq!(wakes(&waiters), [1, 1, 1]);
    f.handle.set_limit(Some(3));
    assert_eq!(wakes(&waiters), [1, 2, 1]);
    assert!(waiters[1].poll(&mut gos[1]).is_ready());
    assert!(waiters[2].poll(&mut gos[2]).is_ready());
    assert!(f.run().is_pending());
    assert_eq!(finish(&mut f, []), ["+0", "+3", "+2"]);
    assert!(waiters[0].poll(&mut gos[0]).is_pending());
    // The waiter is still queued: a newcomer of its priority is behind it.
    f.handle.queue(child(&f, 4, -1));
    let _ = finish(&mut f, [0]);
    assert_eq!(wakes(&waiters), [2, 2, 1]);
    assert!(waiters[0].poll(&mut gos[0]).is_ready());
    assert_eq!(f.group.stats().queued, 1);
    let _ = finish(&mut f, 0..5);
    assert!(f.group.is_stopped());
}

#[test]
fn a_waiter_that_leaves_the_middle_of_the_queue_leaves_no_hole() {
    let mut f = Fixture::new(1);
    f.handle.queue(child(&f, 0, 0));
    let mut gos: Vec<_> = (1..=9)
        .map(|n| Some((MockTask::new(), f.handle.go(child(&f, n, [0, 2, -3][n % 3])))))
        .collect();
    for (waiter, go) in gos.iter_mut().flatten() {
        assert!(waiter.poll(go).is_pending());
    }
    // Of priority 2: 1, 4, 7; of -3: 2, 5, 8; of 0: 3, 6, 9.
    for gone in [4, 2, 8, 3, 9] {
        gos[gone - 1] = None;
    }
    let mut order = Vec::new();
    let mut last = 0;
    for _ in 0..4 {
        let _ = finish(&mut f, [last]);
        let woken: Vec<_> = (1..=9)
            .filter(|n| gos[n - 1].as_ref().is_some_and(|(waiter, _)| waiter.wakes() == 1))
            .collect();
        assert_eq!(woken.len(), 1);
        last = woken[0];
        order.push(last);
        let (waiter, mut go) = gos[last - 1].take().unwrap();
        assert!(waiter.poll(&mut go).is_ready());
        assert!(f.run().is_pending());
    }
    assert_eq!(order, [1, 7, 6, 5]);
    let _ = finish(&mut f, [last]);
    assert!(f.group.is_stopped());
}

#[test]
fn a_stop_empties_the_queue_whatever_the_priorities() {
    let mut f = Fixture::new(1);
    f.handle.queue(child(&f, 0, 0));
    assert!(f.run().is_pending());
    let mut gos = Vec::new();
    for n in 1..=6 {
        let priority = [0, 5, -5][n % 3];
        f.handle.queue(child(&f, n, priority));
        let mut waits = (MockTask::new(), f.handle.go(child(&f, n + 10, priority)));
        assert!(waits.0.poll(&mut waits.1).is_pending());
        gos.push(waits);
    }
    f.group.token().cancel();
    assert!(gos.iter().all(|(waiter, _)| waiter.wakes() == 1));
    assert!(f.run().is_pending());
    let mut dropped: Vec<_> = f.log.take().split_off(1);
    dropped.sort();
    assert_eq!(dropped, ["-1", "-2", "-3", "-4", "-5", "-6"]);
    for (waiter, mut go) in gos {
        assert!(matches!(waiter.poll(&mut go), Poll::Ready(Err(_))));
    }
    f.gate.open(0);
    assert_eq!(f.run(), Poll::Ready(Ok(())));
    assert_eq!(f.group.stats().dropped, 6);
}

#[test]
fn a_feed_adds_a_child_of_any_priority_at_its_own_turn() {
    let mut f = Fixture::new(1);
    let tap = Tap::new();
    for (n, priority) in [(0, -9), (1, 9), (2, 0)] {
        tap.put(child(&f, n, priority));
    }
    tap.end();
    let (feeder, mut feed) = (MockTask::new(), f.handle.feed(tap.clone()));
    assert!(feeder.run(&mut feed).is_pending());
    f.handle.queue(child(&f, 3, 0));
    assert!(f.run().is_pending());
    let mut started = Vec::new();
    for n in [0, 1, 3, 2] {
        started.extend(finish(&mut f, [n]));
        let _ = feeder.run(&mut feed);
        assert!(f.run().is_pending() || n == 2);
    }
    started.extend(finish(&mut f, []));
    assert_eq!(started, ["+0", "+1", "+3", "+2"]);
}

#[test]
fn nested_gos_of_any_priority_never_deadlock() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(2);
    let log = Log::new();
    for n in 0..2 {
        let (handle, gate, log) = (group.handle(), gate.clone(), log.clone());
        group.queue(job(async move {
            let child = logged_child::<&'static str>(n + 10, &gate, &log);
            handle.go(task(child).priority(if n == 0 { -1 } else { 1 })).await.unwrap();
            gate.wait(n).await;
            Ok(n)
        }));
    }
    assert!(driver.run(&mut group).is_pending());
    // The waiter that came first was sent to the queue, even if its child is behind the other.
    assert_eq!((group.stats().running, group.stats().queued), (2, 1));
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["+11"]);
    (0..20).for_each(|n| gate.open(n));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["-11", "+10", "-10"]);
}
