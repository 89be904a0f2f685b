//! A semaphore that groups share.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use crate::common::{
    Gate, Job, Log, Meter, MockTask, OnDrop, job, logged_child, panic_message, waits, yield_now,
};
use async_lock::{Semaphore, SemaphoreGuardArc};
use errgroup::{Boxed, Group, Handle, TryGoError, task};
use futures::executor::block_on;
use futures::stream;

type Kind = Boxed<'static, usize, &'static str>;

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits))
}

fn group(cap: &Arc<Semaphore>) -> Group<Kind> {
    Group::new().with_semaphore(Arc::clone(cap))
}

/// Returns the number of free permits.
fn free(cap: &Semaphore) -> usize {
    let all: Vec<_> = std::iter::from_fn(|| cap.try_acquire()).collect();
    all.len()
}

fn numbers(group: &Group<Kind>) -> (usize, usize) {
    (group.stats().running, group.stats().queued)
}

#[test]
fn a_child_with_room_and_no_permit_waits_and_the_group_waits_for_the_permit() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let cap = semaphore(1);
    let mut group = group(&cap);
    let held = cap.try_acquire().unwrap();
    assert!(matches!(group.try_go(waits(&gate, 0)), Err(TryGoError::AtLimit(_))));
    group.queue(waits(&gate, 0));
    assert_eq!(numbers(&group), (0, 1));
    assert!(driver.run(&mut group).is_pending());
    let wakes = driver.wakes();
    drop(held);
    assert_eq!(driver.wakes(), wakes + 1);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((numbers(&group), free(&cap)), ((1, 0), 0));
    gate.open(0);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(free(&cap), 1);
}

#[test]
fn ten_groups_of_ten_stay_under_a_cap_of_twenty() {
    let cap = semaphore(20);
    let (running, most) = (Cell::new(0), Cell::new(0));
    let groups = (0..10).map(|_| {
        let mut group = Group::local().with_limit(10).with_semaphore(Arc::clone(&cap));
        for _ in 0..100 {
            let (running, most) = (&running, &most);
            group.queue(async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                yield_now().await;
                running.set(running.get() - 1);
                Ok::<usize, &str>(0)
            });
        }
        group
    });
    MockTask::new().finish(futures::future::try_join_all(groups)).unwrap();
    assert_eq!((most.get(), free(&cap)), (20, 20));
}

#[test]
fn a_permit_goes_back_when_its_child_finishes_fails_or_panics() {
    for end in [Some(Ok(1)), Some(Err("no")), None] {
        let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(3));
        let mut group = group(&cap);
        let open = gate.wait(0);
        group.queue(job(async move {
            open.await;
            end.unwrap_or_else(|| std::panic::panic_any("thrown"))
        }));
        group.queue(waits(&gate, 1));
        assert!(driver.run(&mut group).is_pending());
        assert_eq!(free(&cap), 1);
        gate.open(0);
        assert!(driver.run(&mut group).is_pending());
        assert_eq!(free(&cap), 2);
        gate.open(1);
        if end.is_some() {
            assert!(driver.run(&mut group).is_ready());
        } else {
            assert_eq!(panic_message(|| driver.run(&mut group)), "thrown");
        }
        assert_eq!(free(&cap), 3, "even before the group is dropped");
    }
}

#[test]
fn a_dropped_group_gives_each_permit_back_when_its_child_is_dropped_and_no_sooner() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(3));
    let least = Arc::new(Semaphore::new(0));
    let mut group = group(&cap);
    for n in 0..2 {
        let (cap, least, open) = (Arc::clone(&cap), Arc::clone(&least), gate.wait(n));
        group.queue(job(async move {
            // Notes the free permits while this polled child is being dropped.
            let _gone = OnDrop(move || least.add_permits(free(&cap)));
            open.await;
            Ok(n)
        }));
    }
    assert!(driver.run(&mut group).is_pending());
    // A third has room and is not polled.
    group.queue(waits(&gate, 2));
    assert_eq!(free(&cap), 0);
    drop(group);
    assert_eq!(
        free(&least),
        0,
        "another group could have begun beside a child that is not dropped"
    );
    assert_eq!(free(&cap), 3);
}

#[test]
fn a_stop_gives_back_reserved_permits_and_a_grace_those_it_cuts_off() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(2));
    let over = gate.wait(9);
    let mut group = group(&cap).with_grace(move || over);
    let handle = group.handle();
    let held = cap.try_acquire().unwrap();
    handle.queue(waits(&gate, 0));
    let (waiter, mut go) = (MockTask::new(), handle.go(waits(&gate, 1)));
    assert!(waiter.poll(&mut go).is_pending());
    assert!(driver.run(&mut group).is_pending());
    drop(held);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((waiter.wakes(), free(&cap)), (1, 0));
    group.token().cancel();
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(free(&cap), 1);
    assert!(matches!(waiter.poll(&mut go), Poll::Ready(Err(_))));
    gate.open(9);
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(free(&cap), 2);
}

#[test]
fn the_permit_of_a_child_that_stops_its_group_goes_back_at_its_end() {
    for drops in [false, true] {
        let (driver, cap) = (MockTask::new(), semaphore(3));
        let mut group = group(&cap);
        if drops {
            group = group.drop_on_stop();
        }
        group.queue(job(async {
            yield_now().await;
            Err("the first")
        }));
        assert!(driver.poll(&mut group).is_pending());
        // It polls the children, of which one fails.
        let sibling = job(std::future::pending());
        assert!(matches!(driver.poll(&mut group.go(sibling)), Poll::Ready(Ok(()))));
        assert_eq!((group.is_stopped(), free(&cap)), (true, 2));
    }
}

#[test]
fn a_go_dropped_with_its_reservation_gives_its_permit_to_the_next_or_back() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(1));
    let mut group = group(&cap);
    let handle = group.handle();
    handle.queue(waits(&gate, 0));
    let (first, second) = (MockTask::new(), MockTask::new());
    let mut gos = [handle.go(waits(&gate, 1)), handle.go(waits(&gate, 2))];
    assert!(first.poll(&mut gos[0]).is_pending() && second.poll(&mut gos[1]).is_pending());
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((first.wakes(), second.wakes(), free(&cap)), (1, 0, 0));
    let [go, mut next] = gos;
    drop(go);
    assert_eq!((second.wakes(), free(&cap)), (1, 0));
    assert!(second.poll(&mut next).is_ready());
    gate.open(2);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(free(&cap), 1);
}

#[test]
fn a_permit_that_is_not_needed_goes_to_another_group_at_once() {
    // The waiter of the first group is dropped before the permit comes, or after.
    for late in [false, true] {
        let (gate, cap) = (Gate::new(), semaphore(1));
        let (mut one, mut two) = (group(&cap), group(&cap));
        let drivers = [MockTask::new(), MockTask::new()];
        let held = cap.try_acquire().unwrap();
        let (waiter, mut go) = (MockTask::new(), one.handle().go(waits(&gate, 0)));
        one.queue(task(waits(&gate, 9)).priority(-1));
        assert!(waiter.poll(&mut go).is_pending());
        assert!(drivers[0].run(&mut one).is_pending());
        two.queue(waits(&gate, 1));
        assert!(drivers[1].run(&mut two).is_pending());
        let wakes = drivers[1].wakes();
        if late {
            drop(held);
            one.token().cancel();
            drop(go);
        } else {
            one.token().cancel();
            drop(go);
            drop(held);
        }
        // It passes the permit on.
        assert!(drivers[0].run(&mut one).is_ready());
        assert_eq!(drivers[1].wakes(), wakes + 1, "late: {late}");
        assert!(drivers[1].run(&mut two).is_pending());
        assert_eq!(numbers(&two), (1, 0));
        // The first group still exists and is in no other group's way.
        gate.open(1);
        assert!(drivers[1].run(&mut two).is_ready());
        assert_eq!(free(&cap), 1);
    }
}

#[test]
fn a_group_waits_at_the_semaphore_only_while_it_needs_a_permit() {
    let (gate, cap) = (Gate::new(), semaphore(1));
    let (mut one, mut two) = (group(&cap), group(&cap));
    let drivers = [MockTask::new(), MockTask::new()];
    let held = cap.try_acquire().unwrap();
    let (waiter, mut go) = (MockTask::new(), one.handle().go(waits(&gate, 0)));
    assert!(waiter.poll(&mut go).is_pending());
    assert!(drivers[0].run(&mut one).is_pending());
    two.queue(waits(&gate, 1));
    assert!(drivers[1].run(&mut two).is_pending());
    drop(go);
    // It has ended, and its task is woken.
    assert!(drivers[0].run(&mut one).is_ready());
    let wakes = drivers[1].wakes();
    drop(held);
    assert_eq!(drivers[1].wakes(), wakes + 1);
    assert!(drivers[1].run(&mut two).is_pending());
    assert_eq!(numbers(&two), (1, 0));
}

#[test]
fn a_group_that_is_dropped_while_it_waits_passes_the_permit_on() {
    let (gate, cap) = (Gate::new(), semaphore(1));
    let (mut one, mut two) = (group(&cap), group(&cap));
    let drivers = [MockTask::new(), MockTask::new()];
    let held = cap.try_acquire().unwrap();
    one.queue(waits(&gate, 0));
    two.queue(waits(&gate, 1));
    assert!(drivers[0].run(&mut one).is_pending());
    assert!(drivers[1].run(&mut two).is_pending());
    let wakes = drivers[1].wakes();
    drop(held);
    drop(one);
    assert_eq!(drivers[1].wakes(), wakes + 1);
    assert!(drivers[1].run(&mut two).is_pending());
    assert_eq!(numbers(&two), (1, 0));
}

#[test]
fn the_queue_keeps_its_order_while_it_waits_for_permits() {
    let (driver, gate, log, cap) = (MockTask::new(), Gate::new(), Log::new(), semaphore(1));
    let mut group = group(&cap).with_limit(2);
    let child = |n| logged_child::<&'static str>(n, &gate, &log) as Job;
    let held = cap.try_acquire().unwrap();
    group.queue(child(0));
    group.queue(task(child(1)).weight(2));
    group.queue(task(child(2)).priority(1));
    assert!(driver.run(&mut group).is_pending());
    drop(held);
    assert!(driver.run(&mut group).is_pending());
    // No child overtakes one that waits for a permit, even if another permit is free.
    assert!(matches!(group.try_go(child(3)), Err(TryGoError::AtLimit(_))));
    for n in [2, 0, 1] {
        assert_eq!(group.stats().running, 1);
        gate.open(n);
        let _ = driver.run(&mut group);
    }
    assert_eq!(log.take(), ["+2", "-3", "-2", "+0", "-0", "+1", "-1"]);
    assert!(group.is_stopped());
}

#[test]
fn a_heavy_child_takes_one_permit_and_waits_for_it_only_with_room() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(2));
    let mut group = group(&cap).with_limit(3);
    group.queue(waits(&gate, 0));
    group.queue(task(waits(&gate, 1)).weight(3));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((numbers(&group), free(&cap)), ((1, 1), 1));
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((numbers(&group), free(&cap)), ((1, 0), 1));
    gate.open(1);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(free(&cap), 2);
}

#[test]
fn permits_added_or_forgotten_from_outside_count() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(0));
    let mut group = group(&cap);
    for n in 0..4 {
        group.queue(waits(&gate, n));
    }
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(numbers(&group), (0, 4));
    cap.add_permits(3);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(numbers(&group), (3, 1));
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((numbers(&group), free(&cap)), ((3, 0), 0));
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    cap.try_acquire().unwrap().forget();
    (2..4).for_each(|n| gate.open(n));
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(free(&cap), 2);
}

#[test]
fn the_group_is_woken_once_for_each_permit_that_it_can_use() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(0));
    let mut group = group(&cap);
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    assert!(driver.run(&mut group).is_pending());
    for n in 0..2 {
        let wakes = driver.wakes();
        cap.add_permits(1);
        assert_eq!(driver.wakes(), wakes + 1, "{n}");
        assert!(driver.poll(&mut group).is_pending());
        assert_eq!(numbers(&group), (n + 1, 1 - n));
        // No second poll is needed to find that no permit is left.
        assert_eq!(driver.wakes(), wakes + 1, "{n}");
    }
    let wakes = driver.wakes();
    cap.add_permits(5);
    assert_eq!(driver.wakes(), wakes);
    (0..2).for_each(|n| gate.open(n));
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(free(&cap), 7);
}

#[test]
fn a_go_of_the_group_itself_waits_for_the_permit_and_drives_the_children() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(1));
    let mut group = group(&cap);
    assert!(driver.run(&mut group.go(waits(&gate, 0))).is_ready());
    {
        let mut go = group.go(waits(&gate, 1));
        assert!(driver.run(&mut go).is_pending());
        gate.open(0);
        assert!(driver.run(&mut go).is_ready());
    }
    assert_eq!((numbers(&group), free(&cap)), ((1, 0), 0));
    gate.open(1);
    assert!(driver.run(&mut group).is_pending() || group.stats().ok == 2);
    // Now the permit is taken elsewhere.
    let mut group = self::group(&cap);
    let held = cap.try_acquire().unwrap();
    {
        let mut go = group.go(waits(&gate, 2));
        assert!(driver.run(&mut go).is_pending());
        let wakes = driver.wakes();
        drop(held);
        assert_eq!(driver.wakes(), wakes + 1);
        assert!(driver.poll(&mut go).is_ready());
    }
    assert_eq!((numbers(&group), free(&cap)), ((1, 0), 0));
    drop(group);
    assert_eq!(free(&cap), 1);
}

#[test]
fn a_go_and_a_feed_of_a_handle_wait_for_the_permit_while_the_group_is_polled() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(1));
    let mut group = group(&cap);
    let handle = group.handle();
    let held = cap.try_acquire().unwrap();
    let (goer, mut go) = (MockTask::new(), handle.go(waits(&gate, 0)));
    let feeder = MockTask::new();
    let mut feed = handle.feed(stream::iter([waits(&gate, 1), waits(&gate, 2)]));
    assert!(goer.poll(&mut go).is_pending() && feeder.poll(&mut feed).is_pending());
    assert!(driver.run(&mut group).is_pending());
    drop(held);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((goer.wakes(), feeder.wakes()), (1, 0));
    assert!(goer.poll(&mut go).is_ready());
    for n in 0..3 {
        assert!(driver.run(&mut group).is_pending());
        assert_eq!(free(&cap), 0);
        gate.open(n);
        let _ = driver.run(&mut group);
        let _ = feeder.run(&mut feed);
    }
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(free(&cap), 1);
}

#[test]
fn a_scopes_children_take_permits_and_its_body_takes_none() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(1));
    let kids: Vec<_> = (0..3).map(|n| waits(&gate, n)).collect();
    let seen = Arc::clone(&cap);
    let mut scope = Box::pin(group(&cap).scope(|handle| async move {
        for child in kids {
            handle.go(child).await.unwrap();
        }
        seen.try_acquire().is_none()
    }));
    for n in 0..3 {
        assert!(driver.run(&mut scope).is_pending());
        gate.open(n);
    }
    assert_eq!(driver.run(&mut scope), Poll::Ready((true, Ok(()))));
    assert_eq!(free(&cap), 1);
}

#[test]
fn children_that_wait_for_each_other_keep_their_permits_and_go_on() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(2));
    let mut group = group(&cap);
    for n in 0..2 {
        let (handle, gate) = (group.handle(), gate.clone());
        group.queue(job(async move {
            handle.go(waits(&gate, n)).await.unwrap();
            Ok(n)
        }));
    }
    (0..2).for_each(|n| gate.open(n));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((group.stats().ok, free(&cap)), (4, 2));
}

/// Returns a group of many children that are ready at once.
fn busy(cap: &Arc<Semaphore>, children: usize) -> Group<Kind> {
    let mut group = group(cap);
    for n in 0..children {
        group.queue(job(async move { Ok(n) }));
    }
    group
}

#[test]
fn two_busy_groups_take_turns() {
    let cap = semaphore(1);
    let mut groups = [busy(&cap, 1000), busy(&cap, 1000)];
    let drivers = [MockTask::new(), MockTask::new()];
    let mut seen = [0, 0];
    let mut most = 0;
    while groups.iter().any(|group| !group.is_stopped()) {
        for n in 0..2 {
            let _ = drivers[n].poll(&mut groups[n]);
            most = most.max(groups[n].stats().ok - seen[n]);
            seen[n] = groups[n].stats().ok;
        }
        let [one, two] = seen;
        assert!(one.abs_diff(two) <= 100, "{one} and {two}");
    }
    assert_eq!(seen, [1000, 1000]);
    assert!(most < 100, "{most} in one poll");
    assert_eq!(free(&cap), 1);
}

#[test]
fn two_groups_of_slow_children_take_turns() {
    // In each round a child finishes, and a sibling could take its permit.
    for ways in [[true, true], [true, false], [false, false]] {
        let cap = semaphore(1);
        let seen = [Cell::new(0), Cell::new(0)];
        let run = |n: usize| {
            let (cap, seen) = (&cap, &seen);
            async move {
                let mut group = Group::local().with_semaphore(Arc::clone(cap));
                for _ in 0..300 {
                    let child = async move {
                        yield_now().await;
                        seen[n].set(seen[n].get() + 1);
                        let [one, two] = [seen[0].get(), seen[1].get()];
                        assert!(usize::abs_diff(one, two) < 100, "{one} and {two}");
                        Ok::<usize, &str>(0)
                    };
                    if ways[n] {
                        group.queue(child);
                    } else {
                        group.go(child).await.unwrap();
                    }
                }
                group.await
            }
        };
        let (one, two) = MockTask::new().finish(async {
            // Each is woken by itself, as tasks are.
            use futures::stream::{FuturesUnordered, StreamExt};
            let both: FuturesUnordered<_> = [run(0), run(1)].into_iter().collect();
            let all: Vec<_> = both.collect().await;
            (all[0], all[1])
        });
        assert_eq!((one, two, free(&cap)), (Ok(()), Ok(()), 1));
    }
}

#[test]
fn a_busy_group_lets_other_groups_have_a_permit_between_its_polls() {
    let cap = semaphore(1);
    let (driver, other) = (MockTask::new(), MockTask::new());
    let mut group = busy(&cap, 1000);
    let mut acquire = Box::pin(cap.acquire());
    assert!(other.poll(&mut acquire).is_pending());
    assert!(driver.poll(&mut group).is_pending());
    assert_eq!(other.wakes(), 1);
    let permit = other.poll(&mut acquire);
    assert!(permit.is_ready());
    // The waiter would still get the next permit.
    drop(acquire);
    let ok = group.stats().ok;
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(group.stats().ok, ok);
    drop(permit);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(free(&cap), 1);
}

#[test]
fn a_newcomer_after_a_busy_poll_finds_the_free_permits() {
    // However many permits it has taken over from its own children before.
    for children in 0..100 {
        let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(2));
        let mut group = group(&cap);
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        for n in 0..children {
            group.queue(job(async move { Ok(n) }));
        }
        assert!(driver.run(&mut group).is_pending());
        assert_eq!((group.stats().ok, numbers(&group), free(&cap)), (children, (1, 0), 1));
        assert!(handle.try_go(waits(&gate, 1)).is_ok(), "{children}");
        assert_eq!(free(&cap), 0);
        (0..2).for_each(|n| gate.open(n));
        assert!(driver.run(&mut group).is_ready());
    }
}

#[test]
fn two_groups_on_two_threads_fed_by_handles_on_others_never_lose_a_permit() {
    const EACH: usize = 500;
    let cap = semaphore(3);
    let (now, most) = (Meter::new(), 3);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            let group = group(&cap).with_limit(2);
            let handles = [group.handle(), group.handle()];
            for handle in handles {
                let now = now.clone();
                threads.spawn(move || {
                    for n in 0..EACH {
                        let now = now.clone();
                        let child = job(async move {
                            let inside = now.enter();
                            yield_now().await;
                            drop(inside);
                            Ok(n)
                        });
                        match n % 3 {
                            0 => block_on(handle.go(child)).unwrap(),
                            1 => handle.queue(child),
                            _ => {
                                // A waiter that is dropped, with or without a reservation.
                                let given_up = handle.go(job(async { Ok(0) }));
                                let _ = MockTask::new().poll(&mut { given_up });
                                handle.queue(child);
                            }
                        }
                    }
                });
            }
            threads.spawn(move || {
                block_on(async {
                    // Holds the group open until all children are added.
                    let handle = group.handle();
                    let group = group.scope(|_| async move {
                        while handle.stats().ok < 2 * EACH {
                            yield_now().await;
                        }
                    });
                    group.await.1.unwrap();
                });
            });
        }
        // Another user of the semaphore takes permits too.
        let (cap, done) = (&cap, &done);
        threads.spawn(move || {
            for _ in 0..2000 {
                drop(block_on(cap.acquire()));
            }
            done.store(true, Ordering::SeqCst);
        });
    });
    assert!(done.load(Ordering::SeqCst));
    assert!(now.peak() <= most, "{} at a time", now.peak());
    assert_eq!((now.now(), free(&cap)), (0, 3));
}

#[test]
fn a_child_gets_the_permit_of_one_that_finished_before_it_in_the_same_round() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(2));
    let mut group = group(&cap);
    let (handle, third) = (group.handle(), waits(&gate, 0));
    group.queue(job(async { Ok(0) }));
    group.queue(job(async move {
        assert!(handle.try_go(third).is_ok());
        Ok(1)
    }));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().ok, numbers(&group)), (2, (1, 0)));
    gate.open(0);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(free(&cap), 2);
}

#[test]
fn a_sleeping_group_is_woken_to_wait_for_a_newcomers_permit() {
    let (driver, gate, cap) = (MockTask::new(), Gate::new(), semaphore(2));
    let mut group = group(&cap);
    let handle = group.handle();
    let held = cap.try_acquire().unwrap();
    handle.queue(waits(&gate, 0));
    assert!(driver.run(&mut group).is_pending());
    let wakes = driver.wakes();
    handle.queue(waits(&gate, 1));
    handle.queue(waits(&gate, 2));
    assert_eq!(driver.wakes(), wakes + 1);
    assert!(driver.run(&mut group).is_pending());
    drop(held);
    assert_eq!(driver.wakes(), wakes + 2);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(numbers(&group), (2, 1));
    (0..3).for_each(|n| gate.open(n));
    assert!(driver.run(&mut group).is_ready());
}

#[test]
fn a_group_drops_its_wait_for_a_permit_when_no_child_needs_it_any_more() {
    let (driver, other) = (MockTask::new(), MockTask::new());
    let cap = Arc::new(Semaphore::new(1));
    let mut group = Group::new().with_semaphore(Arc::clone(&cap));
    let handle = group.handle();
    let held = cap.try_acquire().unwrap();
    let mut go = Box::pin(handle.go(async { Ok::<usize, &str>(0) }));
    assert!(other.poll(&mut go).is_pending());
    assert!(driver.run(&mut group).is_pending());
    // A waiter behind the group.
    let mut behind = Box::pin(cap.acquire());
    assert!(other.poll(&mut behind).is_pending());
    drop(held); // tells the group
    let wakes = other.wakes();
    drop(go);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(other.wakes(), wakes + 1);
    assert!(other.poll(&mut behind).is_ready());
}

#[test]
fn a_group_that_is_not_polled_leaves_the_semaphores_queue_when_it_can_use_no_permit() {
    // The permit comes before the waiter is dropped, or after.
    for (early, case) in [false, true].into_iter().flat_map(|early| (0..4).map(move |n| (early, n)))
    {
        let (gate, cap) = (Gate::new(), semaphore(1));
        let (mut one, mut two) = (group(&cap), group(&cap));
        let (driver, waiter) = (MockTask::new(), MockTask::new());
        let mut held = cap.try_acquire();
        two.queue(waits(&gate, 1));
        // Behind the first group in the semaphore's queue.
        let wait = |two: &mut Group<Kind>, held: &mut Option<_>| {
            assert!(driver.run(two).is_pending());
            held.take_if(|_| early);
        };
        match case {
            0 => {
                let mut go = one.go(waits(&gate, 0));
                assert!(driver.poll(&mut go).is_pending());
                wait(&mut two, &mut held);
            }
            1 => {
                let mut feed = Box::pin(one.feed(stream::iter([waits(&gate, 0)])));
                assert!(driver.poll(&mut feed).is_pending());
                wait(&mut two, &mut held);
            }
            2 => {
                let mut go = one.handle().go(waits(&gate, 0));
                assert!(waiter.poll(&mut go).is_pending());
                assert!(driver.poll(&mut one).is_pending());
                wait(&mut two, &mut held);
            }
            _ => {
                one.queue(waits(&gate, 0));
                assert!(driver.poll(&mut one).is_pending());
                wait(&mut two, &mut held);
                one.set_limit(Some(0));
            }
        }
        drop(held);
        assert!(driver.run(&mut two).is_pending());
        assert_eq!(numbers(&two), (1, 0), "early: {early}, case {case}");
    }
}

#[test]
fn a_permit_released_on_another_thread_during_a_poll_is_noticed() {
    const ROUNDS: usize = 2_000;
    let (cap, driver) = (semaphore(1), MockTask::new());
    let slot = std::sync::Mutex::new(None);
    let (turn, released) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=ROUNDS {
                while turn.load(Ordering::SeqCst) < n {
                    std::thread::yield_now();
                }
                for _ in 0..n % 97 {
                    std::hint::spin_loop();
                }
                drop(slot.lock().unwrap().take());
                released.store(n, Ordering::SeqCst);
            }
        });
        for n in 1..=ROUNDS {
            *slot.lock().unwrap() = cap.try_acquire();
            let mut group = group(&cap);
            group.queue(job(std::future::ready(Ok(n))));
            let mut looks = driver.wakes();
            turn.store(n, Ordering::SeqCst);
            while driver.poll(&mut group).is_pending() {
                while driver.wakes() == looks {
                    let over = released.load(Ordering::SeqCst) == n;
                    // The thread that released it has woken every waiter by then.
                    if over && driver.wakes() == looks {
                        turn.store(usize::MAX, Ordering::SeqCst);
                        panic!("round {n}: the group is not woken again");
                    }
                    std::thread::yield_now();
                }
                looks = driver.wakes();
            }
        }
    });
}

#[test]
fn a_newcomer_takes_a_free_permit_in_the_same_poll_and_is_not_woken_for_it() {
    let other = MockTask::new();
    let cap = Arc::new(Semaphore::new(1));
    let group = Group::new().with_semaphore(Arc::clone(&cap));
    let handle = group.handle();
    let held = cap.try_acquire().unwrap();
    let mut go = Box::pin(handle.go(async { Ok::<usize, &str>(0) }));
    assert!(other.poll(&mut go).is_pending());
    drop(held);
    // The group was not polled, so no waiter was woken.
    assert_eq!(other.wakes(), 0);
    assert!(other.poll(&mut go).is_ready());
    assert_eq!(other.wakes(), 0);
}

#[test]
fn a_go_or_feed_gets_the_permit_that_its_group_let_go_of_in_the_poll_before() {
    // However many permits the group has taken over from its own children by then.
    for (children, fed) in (0..100).flat_map(|n| [(n, false), (n, true)]) {
        let (driver, other, cap) = (MockTask::new(), MockTask::new(), semaphore(1));
        let mut group = group(&cap);
        group.queue(job(async { Ok(0) }));
        group.queue(task(job(async { Ok(1) })).priority(-1));
        // Another task waits in front of the group. It is woken first, and does not come.
        let mut acquire = Box::pin(cap.acquire_arc());
        assert!(other.poll(&mut acquire).is_pending());
        let ready = (0..children).map(|n| job(async move { Ok(n) }));
        let mut feed = Box::pin(group.feed(stream::iter(ready)));
        assert_eq!(driver.run(&mut feed), Poll::Ready(children));
        drop(feed);
        if fed {
            let mut feed = Box::pin(group.feed(stream::iter([job(async { Ok(2) })])));
            assert!(driver.run(&mut feed).is_ready(), "{children}");
        } else {
            assert!(driver.run(&mut group.go(job(async { Ok(2) }))).is_ready(), "{children}");
        }
    }
}

#[test]
fn a_go_or_feed_gets_what_a_child_or_the_deadline_makes_room_with_in_the_same_poll() {
    type Act = fn(&Handle<Kind>, Option<SemaphoreGuardArc>);
    // Each case has a limit, and what is done in the midst of the poll.
    let cases: [(usize, Act); 4] = [
        (9, |_, held| drop(held)),
        (9, |handle, _| assert!(handle.token().cancel())),
        (1, |handle, held| {
            drop(held);
            handle.set_limit(None);
        }),
        (1, |handle, held| {
            handle.set_limit(None);
            drop(held);
        }),
    ];
    for n in 0..4 * cases.len() {
        let (limit, act) = cases[n / 4];
        let (by_deadline, fed) = (n & 1 == 0, n & 2 == 0);
        let (driver, other) = (MockTask::new(), MockTask::new());
        let (cap, gate) = (semaphore(2), Gate::new());
        let held = cap.try_acquire_arc();
        let shared = Arc::<OnceLock<Handle<Kind>>>::default();
        let (open, acting) = (gate.wait(0), Arc::clone(&shared));
        let acts = async move {
            open.await;
            act(acting.get().unwrap(), held);
            std::future::pending::<()>().await;
        };
        let mut group = group(&cap).with_limit(limit);
        if by_deadline {
            group = group.with_deadline(acts);
            group.queue(waits(&gate, 1));
        } else {
            group.queue(job(async {
                acts.await;
                Ok(0)
            }));
        }
        let handle = shared.get_or_init(|| group.handle()).clone();
        // Another task waits in front of the group. It is woken first, and does not come.
        let mut acquire = Box::pin(cap.acquire_arc());
        assert!(other.poll(&mut acquire).is_pending());
        let child = waits(&gate, 2);
        if fed {
            let mut feed = Box::pin(group.feed(stream::iter([child])));
            assert!(driver.run(&mut feed).is_pending());
            gate.open(0);
            let _ = driver.run(&mut feed);
            assert!(handle.is_stopped() || handle.stats().running == 2, "case {n}");
        } else {
            let mut go = group.go(child);
            assert!(driver.run(&mut go).is_pending());
            gate.open(0);
            assert!(driver.run(&mut go).is_ready(), "case {n}");
        }
    }
}

#[test]
fn groups_on_four_threads_that_share_one_permit_and_use_their_own_go_and_feed_all_end() {
    const ROUNDS: usize = 50;
    let cap = semaphore(1);
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let cap = &cap;
            threads.spawn(move || {
                for round in 0..ROUNDS {
                    block_on(async {
                        let mut group = group(cap);
                        for n in 0..70 {
                            let child = job(async move { Ok(n) });
                            match (n + 7 * round + thread) % 4 {
                                0 => group.queue(task(child).priority(-1)),
                                1 => {
                                    let ready = (0..round % 34).map(|n| job(async move { Ok(n) }));
                                    group.feed(stream::iter(ready)).await;
                                }
                                _ => group.go(child).await.unwrap(),
                            }
                        }
                        group.await.unwrap();
                    });
                }
            });
        }
    });
    assert_eq!(free(&cap), 1);
}

#[test]
fn while_another_group_waits_one_takes_over_its_own_permits_a_bounded_number_of_times() {
    // Both are polled by one task, in changing order, as `tokio::join!` does.
    for permits in [1, 2, 3] {
        let (cap, task) = (semaphore(permits), MockTask::new());
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut groups = [0, 1].map(|name| {
            let mut group = group(&cap);
            for _ in 0..200 {
                let order = Arc::clone(&order);
                group.queue(job(async move {
                    order.lock().unwrap().push(name);
                    yield_now().await;
                    Ok(0)
                }));
            }
            group
        });
        let (mut turn, mut ended) = (0, [false; 2]);
        while ended != [true; 2] {
            turn += 1;
            for at in [turn % 2, 1 - turn % 2] {
                ended[at] |= !ended[at] && task.poll(&mut groups[at]).is_ready();
            }
        }
        let order = order.lock().unwrap();
        let last = order.iter().rposition(|name| *name == order[0]).unwrap();
        let runs = order[..last].chunk_by(|a, b| a == b).map(|run| run.len());
        let longest = runs.max().unwrap();
        assert!(longest <= 32 + permits, "{longest} in a row with {permits} permits");
    }
}

#[test]
fn a_group_that_has_resolved_takes_no_semaphore() {
    let mut group = group(&semaphore(1));
    assert_eq!(MockTask::new().finish(&mut group), Ok(()));
    let message = panic_message(|| group.with_semaphore(semaphore(1)));
    assert!(message.contains("with_semaphore"), "{message}");

    let mut group = Group::<Boxed<'static, usize, &'static str>>::new();
    assert_eq!(MockTask::new().finish(&mut group), Ok(()));
    assert!(panic_message(|| group.with_semaphore(semaphore(1))).contains("with_semaphore"));
}
