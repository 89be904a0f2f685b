//! Weights: how much of the limit a child takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use crate::common::{Gate, Job, MockTask, OnDrop, Tap, fails, job, panic_message, waits};
use errgroup::{Child, Children, FirstErr, Group, TryGoError, task};
use futures::stream;

type Kind = errgroup::Boxed<'static, usize, &'static str>;
type Heavy = errgroup::Task<Job>;

/// Adds up the weights of the running children.
#[derive(Clone, Default)]
struct Scale(Arc<AtomicUsize>);

impl Scale {
    fn now(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Makes a child that is on the scale from its first poll to its drop, and waits at its door.
    fn child(&self, gate: &Gate, number: usize, weight: usize) -> Heavy {
        let (scale, open) = (self.clone(), gate.wait(number));
        let child = job(async move {
            scale.0.fetch_add(weight, SeqCst);
            let _left = OnDrop(move || {
                scale.0.fetch_sub(weight, SeqCst);
            });
            open.await;
            Ok(number)
        });
        task(child).weight(weight)
    }
}

fn ready(weight: usize) -> Heavy {
    task(job(async { Ok(0) })).weight(weight)
}

fn numbers<C: Children, P, O>(group: &Group<C, P, O>) -> (usize, usize, usize) {
    let stats = group.stats();
    (stats.running, stats.queued, stats.ok)
}

/// A way to add a child of weight 3 to an empty group.
type Way<C> = fn(&mut Group<C, FirstErr<&'static str>>, Heavy);

/// Checks that the child takes 3 of the limit of 4, however it is added.
fn takes_three_of_four<C>(make: fn() -> Group<C, FirstErr<&'static str>>)
where
    C: Children<Ok = usize, Err = &'static str>,
    Job: Child<C>,
    Heavy: Child<C>,
{
    let ways: [Way<C>; 8] = [
        |group, child| assert!(MockTask::new().run(&mut group.go(child)).is_ready()),
        |group, child| assert!(group.try_go(child).is_ok()),
        |group, child| group.queue(child),
        |group, child| assert_eq!(MockTask::new().finish(group.feed(stream::iter([child]))), 1),
        |group, child| assert!(MockTask::new().run(&mut group.handle().go(child)).is_ready()),
        |group, child| assert!(group.handle().try_go(child).is_ok()),
        |group, child| group.handle().queue(child),
        |group, child| {
            assert_eq!(MockTask::new().finish(group.handle().feed(stream::iter([child]))), 1)
        },
    ];
    for (n, way) in ways.into_iter().enumerate() {
        let (driver, gate) = (MockTask::new(), Gate::new());
        let mut group = make().with_limit(4);
        way(&mut group, Scale::default().child(&gate, 0, 3));
        assert!(matches!(group.try_go(ready(2)), Err(TryGoError::AtLimit(_))), "way {n}");
        assert!(group.try_go(ready(1)).is_ok(), "way {n}");
        assert!(matches!(group.try_go(job(async { Ok(0) })), Err(TryGoError::AtLimit(_))));
        assert_eq!(numbers(&group), (2, 0, 0));
        gate.open(0);
        assert!(driver.run(&mut group).is_ready());
    }
}

#[test]
fn a_child_weighs_the_same_however_it_is_added() {
    takes_three_of_four(Group::new);
    takes_three_of_four(Group::local);
    takes_three_of_four(Group::unboxed);
}

#[test]
fn a_heavy_waiter_in_the_middle_of_the_queue_holds_those_behind_it() {
    let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
    let mut group = Group::new().with_limit(4);
    for (n, weight) in [2, 2, 3, 1, 1].into_iter().enumerate() {
        group.queue(scale.child(&gate, n, weight));
    }
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((numbers(&group), scale.now()), ((2, 3, 0), 4));
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    // There is room for the last two, but not for the first of the queue.
    assert_eq!((numbers(&group), scale.now()), ((1, 3, 1), 2));
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((numbers(&group), scale.now()), ((2, 1, 2), 4));
    gate.open(2);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((numbers(&group), scale.now()), ((2, 0, 3), 2));
    (3..5).for_each(|n| gate.open(n));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn neither_light_nor_heavy_children_starve_the_others() {
    let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
    let mut group = Group::new().with_limit(3);
    let handle = group.handle();
    // Each light child that finishes is followed by another, for ever. A heavy one is still
    // admitted as soon as those before it are done.
    for n in 0..3 {
        handle.queue(scale.child(&gate, n, 1));
    }
    let (heavy, mut go) = (MockTask::new(), handle.go(scale.child(&gate, 100, 3)));
    assert!(heavy.poll(&mut go).is_pending());
    for n in 0..3 {
        assert!(matches!(handle.try_go(ready(1)), Err(TryGoError::AtLimit(_))));
        handle.queue(scale.child(&gate, n + 3, 1));
        assert_eq!(heavy.wakes(), 0, "{n}");
        gate.open(n);
        assert!(driver.run(&mut group).is_pending());
    }
    assert_eq!(heavy.wakes(), 1);
    assert!(heavy.poll(&mut go).is_ready());
    // And each heavy child that finishes is followed by another. The light ones still have
    // their turn.
    handle.queue(scale.child(&gate, 101, 3));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((scale.now(), numbers(&group)), (3, (1, 4, 3)));
    gate.open(100);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((scale.now(), numbers(&group)), (3, (3, 1, 4)));
    (3..6).for_each(|n| gate.open(n));
    gate.open(101);
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn the_sum_of_the_weights_never_exceeds_the_limit() {
    for seed in 0..200_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
        let limit = 1 + random(6);
        let mut group = Group::new().with_limit(limit);
        let handle = group.handle();
        let mut going = Vec::new();
        let mut accepted = 0;
        for n in 0..40 {
            let child = scale.child(&gate, n, 1 + random(8));
            match random(3) {
                0 => {
                    handle.queue(child);
                    accepted += 1;
                }
                1 => accepted += usize::from(group.try_go(child).is_ok()),
                _ => going.push((MockTask::new(), handle.go(child))),
            }
            gate.open(random(n + 1));
            assert!(driver.run(&mut group).is_pending() || accepted == group.stats().ok);
            going.retain_mut(|(task, go)| task.poll(go).is_pending());
            if group.is_stopped() {
                break;
            }
            assert!(driver.run(&mut group).is_pending() || accepted == group.stats().ok);
            assert!(scale.now() <= limit || group.stats().running == 1, "seed {seed}");
        }
        (0..40).for_each(|n| gate.open(n));
        for _ in 0..80 {
            going.retain_mut(|(task, go)| task.poll(go).is_pending());
            if driver.run(&mut group).is_ready() {
                break;
            }
        }
        assert!(group.is_stopped() && scale.now() == 0, "seed {seed}: the group has ended");
    }
}

#[test]
fn a_lower_limit_revokes_a_heavy_reservation_and_it_is_made_again() {
    let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
    let mut group = Group::new().with_limit(6);
    let handle = group.handle();
    for n in 0..3 {
        handle.queue(scale.child(&gate, n, 2));
    }
    let (waiter, mut go) = (MockTask::new(), handle.go(scale.child(&gate, 3, 3)));
    let (light, mut behind) = (MockTask::new(), handle.go(scale.child(&gate, 4, 1)));
    assert!(waiter.poll(&mut go).is_pending() && light.poll(&mut behind).is_pending());
    handle.set_limit(Some(9));
    assert_eq!((waiter.wakes(), light.wakes()), (1, 0));
    handle.set_limit(Some(8));
    // 6 are taken; the light waiter doesn't get the rest.
    assert!(waiter.poll(&mut go).is_pending());
    assert_eq!(light.wakes(), 0);
    handle.set_limit(Some(10));
    assert_eq!((waiter.wakes(), light.wakes()), (2, 1));
    // The last reservation is revoked first, and the first one is kept.
    handle.set_limit(Some(9));
    assert!(light.poll(&mut behind).is_pending());
    assert!(waiter.poll(&mut go).is_ready());
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(scale.now(), 9);
    handle.set_limit(None);
    assert!(light.poll(&mut behind).is_ready());
    (0..5).for_each(|n| gate.open(n));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_child_heavier_than_the_limit_keeps_its_reservation_unless_the_limit_is_zero() {
    let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
    let mut group = Group::new().with_limit(4);
    let handle = group.handle();
    handle.queue(scale.child(&gate, 0, 1));
    let (waiter, mut go) = (MockTask::new(), handle.go(scale.child(&gate, 1, 9)));
    assert!(waiter.poll(&mut go).is_pending());
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(waiter.wakes(), 1);
    handle.set_limit(Some(0));
    assert!(waiter.poll(&mut go).is_pending());
    handle.set_limit(Some(3));
    assert_eq!(waiter.wakes(), 2);
    handle.set_limit(Some(1));
    assert!(waiter.poll(&mut go).is_ready());
    gate.open(1);
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_lowered_limit_lets_running_heavy_children_finish() {
    let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
    let mut group = Group::new().with_limit(6);
    group.queue(scale.child(&gate, 0, 5));
    group.queue(scale.child(&gate, 1, 1));
    group.queue(scale.child(&gate, 2, 2));
    group.set_limit(Some(2));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((scale.now(), numbers(&group)), (6, (2, 1, 0)));
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((scale.now(), numbers(&group)), (1, (1, 1, 1)));
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((scale.now(), numbers(&group)), (2, (1, 0, 2)));
    gate.open(2);
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_dropped_heavy_go_gives_all_its_room_to_those_behind_it() {
    for granted in [false, true] {
        let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
        let mut group = Group::new().with_limit(4);
        let handle = group.handle();
        handle.queue(scale.child(&gate, 0, 2));
        let (waiter, mut go) = (MockTask::new(), handle.go(scale.child(&gate, 1, 4)));
        assert!(waiter.poll(&mut go).is_pending());
        for n in 2..6 {
            handle.queue(scale.child(&gate, n, 1));
        }
        if granted {
            gate.open(0);
        }
        assert!(driver.run(&mut group).is_pending());
        assert_eq!(waiter.wakes(), usize::from(granted));
        assert_eq!(group.stats().queued, 4);
        let wakes = driver.wakes();
        drop(go);
        assert_eq!(driver.wakes(), wakes + 1);
        assert!(driver.run(&mut group).is_pending());
        assert_eq!(scale.now(), 4);
        (0..6).for_each(|n| gate.open(n));
        assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
        assert_eq!(group.stats().ok, 5);
    }
}

#[test]
fn the_groups_own_go_waits_until_there_is_room_for_all_of_its_child() {
    let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
    let mut group = Group::unboxed().with_limit(3);
    for n in 0..3 {
        assert!(driver.run(&mut group.go(scale.child(&gate, n, 1))).is_ready());
    }
    {
        let mut go = group.go(scale.child(&gate, 3, 2));
        assert!(driver.run(&mut go).is_pending());
        gate.open(1);
        assert!(driver.run(&mut go).is_pending());
        gate.open(0);
        assert!(driver.run(&mut go).is_ready());
    }
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((scale.now(), numbers(&group)), (3, (2, 0, 2)));
    (2..4).for_each(|n| gate.open(n));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_failure_without_a_stop_gives_all_the_weight_back() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().all_errors().with_limit(4);
    group.queue(task(fails(&gate, 0, "no")).weight(4));
    for n in 1..=4 {
        group.queue(waits(&gate, n));
    }
    assert!(driver.run(&mut group).is_pending());
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().running, group.stats().failed), (4, 1));
    (1..=4).for_each(|n| gate.open(n));
    assert!(matches!(driver.run(&mut group), Poll::Ready(Err(errors)) if errors.len() == 1));
}

#[test]
fn panics_stops_and_drops_leave_the_stats_right() {
    let driver = MockTask::new();
    // A heavy go with a reservation, a heavy child that runs, a heavy child that is queued; then
    // the end.
    let ends: [fn(&mut Group<Kind>, &Gate); 3] = [
        |group, gate| {
            gate.open(1);
            assert_eq!(panic_message(|| MockTask::new().run(group)), "the child's");
        },
        |group, gate| {
            group.token().cancel();
            gate.open(2);
            assert!(MockTask::new().run(group).is_ready());
        },
        |group, _| drop(std::mem::take(group)),
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let (gate, scale) = (Gate::new(), Scale::default());
        let mut group = Group::new().with_limit(10);
        let handle = group.handle();
        handle.queue(scale.child(&gate, 0, 4));
        let open = gate.wait(1);
        let panics = n == 0;
        handle.queue(
            task(job(async move {
                open.await;
                if panics { std::panic::panic_any("the child's") } else { Ok(1) }
            }))
            .weight(3),
        );
        handle.queue(scale.child(&gate, 2, 3));
        let (waiter, mut go) = (MockTask::new(), handle.go(scale.child(&gate, 3, 4)));
        assert!(waiter.poll(&mut go).is_pending());
        handle.queue(scale.child(&gate, 4, 7));
        gate.open(0);
        assert!(driver.run(&mut group).is_pending());
        assert_eq!(waiter.wakes(), 1);
        if n < 2 {
            gate.open(if n == 0 { 2 } else { 1 });
        }
        end(&mut group, &gate);
        let refused = waiter.poll(&mut go).map(|answer| answer.unwrap_err());
        assert!(refused.is_ready());
        assert_eq!(scale.now(), 0, "{n}");
        let stats = handle.stats();
        assert_eq!((stats.running, stats.queued, stats.failed), (0, 0, 0));
        assert_eq!(stats.ok + stats.dropped, 4, "{n}");
        assert_eq!(stats.ok, [2, 3, 1][n]);
    }
}

#[test]
fn a_stop_drops_what_is_queued_and_a_child_that_a_raised_limit_admitted_runs() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::<Kind>::new().with_limit(2);
    for n in 0..4 {
        group.queue(task(waits(&gate, n)).weight(2));
    }
    assert!(driver.poll(&mut group).is_pending());
    group.set_limit(Some(4));
    group.token().cancel();
    assert!(driver.poll(&mut group).is_pending());
    assert_eq!((numbers(&group), group.stats().dropped), ((2, 0, 0), 2));
    // With a handle as well, each of the two has its weight.
    let snapshot = group.handle().snapshot();
    assert_eq!(snapshot.children.iter().map(|child| child.weight).collect::<Vec<_>>(), [2, 2]);
    (0..2).for_each(|n| gate.open(n));
    assert_eq!(driver.poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_child_without_a_weight_waits_only_for_its_turn() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(2);
    let child = |n, weight| Scale::default().child(&gate, n, weight);
    let now = |group: &Group<Kind>| (group.stats().running, group.stats().queued);
    for n in 0..3 {
        group.queue(child(n, 0));
    }
    assert_eq!(now(&group), (3, 0));
    group.queue(child(3, 2));
    assert_eq!(now(&group), (4, 0), "those without a weight take no room");
    assert!(group.try_go(child(4, 0)).is_ok(), "nor do they need any");
    group.queue(child(5, 1));
    group.queue(child(6, 0));
    assert_eq!(now(&group), (5, 2), "nothing overtakes the head of the queue");
    assert!(matches!(group.try_go(child(7, 0)), Err(TryGoError::AtLimit(_))));
    gate.open(3);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(now(&group), (6, 0));
    // A pause is one for all.
    group.set_limit(Some(0));
    group.queue(child(7, 0));
    assert_eq!(now(&group), (6, 1));
    group.set_limit(Some(1));
    assert_eq!(now(&group), (7, 0));
    (0..8).for_each(|n| gate.open(n));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(group.stats().ok, 8);
}

#[test]
fn a_child_heavier_than_the_limit_runs_alone_but_for_those_without_a_weight() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(2);
    let handle = group.handle();
    let child = |n, weight| Scale::default().child(&gate, n, weight);
    group.queue(child(0, 0));
    group.queue(child(1, 9));
    assert_eq!(group.stats().running, 2);
    group.queue(child(2, 1));
    let waiter = MockTask::new();
    let mut go = handle.go(child(3, 0));
    assert!(waiter.poll(&mut go).is_pending());
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(waiter.wakes(), 1);
    // The limit is lowered before it comes: it needs no room.
    group.set_limit(Some(1));
    assert!(waiter.poll(&mut go).is_ready());
    assert_eq!((group.stats().running, waiter.wakes()), (3, 1));
    [0, 2, 3].into_iter().for_each(|n| gate.open(n));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn reservations_of_no_weight_come_and_go_without_a_trace() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(1);
    let handle = group.handle();
    let child = |n, weight| Scale::default().child(&gate, n, weight);
    group.queue(child(0, 1));
    let [first, second, third] = [(); 3].map(|()| MockTask::new());
    let mut heavy = handle.go(child(1, 3));
    let mut none = handle.go(child(2, 0));
    let mut plain = handle.go(child(3, 1));
    assert!(first.poll(&mut heavy).is_pending());
    assert!(second.poll(&mut none).is_pending());
    assert!(third.poll(&mut plain).is_pending());
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!([first.wakes(), second.wakes(), third.wakes()], [1, 1, 0]);
    drop(none);
    drop(heavy);
    assert_eq!(third.wakes(), 1);
    assert!(third.poll(&mut plain).is_ready());
    gate.open(3);
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((group.stats().ok, group.stats().dropped), (2, 0));
}

#[test]
fn the_greatest_weights_run_together_without_a_limit_and_alone_with_one() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new();
    let child = |n| task(waits(&gate, n)).weight(usize::MAX);
    for n in 0..4 {
        group.queue(child(n));
    }
    assert_eq!((group.stats().running, group.stats().queued), (4, 0));
    group.set_limit(Some(usize::MAX));
    group.queue(child(4));
    group.queue(child(5));
    for n in 0..4 {
        assert_eq!(group.stats().queued, 2);
        gate.open(n);
        assert!(driver.run(&mut group).is_pending());
    }
    assert_eq!((group.stats().running, group.stats().queued), (1, 1));
    gate.open(4);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().running, group.stats().queued), (1, 0));
    gate.open(5);
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_fed_child_that_is_too_heavy_is_queued_and_the_stream_is_not_polled_on() {
    for own in [true, false] {
        let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
        let mut group = Group::new().with_limit(4);
        let handle = group.handle();
        let tap = Tap::new();
        for (n, weight) in [3, 3, 1].into_iter().enumerate() {
            tap.put(scale.child(&gate, n, weight));
        }
        tap.end();
        let feeder = MockTask::new();
        let fed = if own {
            let mut feed = group.feed(tap.clone());
            assert!(driver.run(&mut feed).is_pending());
            assert_eq!((tap.polls(), scale.now()), (2, 3));
            gate.open(0);
            driver.run(&mut feed)
        } else {
            let mut feed = handle.feed(tap.clone());
            assert!(feeder.run(&mut feed).is_pending());
            assert!(driver.run(&mut group).is_pending());
            assert_eq!((tap.polls(), scale.now()), (2, 3));
            gate.open(0);
            assert!(driver.run(&mut group).is_pending());
            assert_eq!(feeder.wakes(), 1);
            assert!(feeder.run(&mut feed).is_pending());
            gate.open(2);
            assert!(driver.run(&mut group).is_pending());
            feeder.run(&mut feed)
        };
        assert_eq!(fed.is_ready(), !own, "the end is seen only with room, as well");
        assert_eq!(tap.polls(), if own { 3 } else { 4 });
        (1..3).for_each(|n| gate.open(n));
        assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
        assert_eq!(group.stats().ok, 3);
    }
}

#[test]
fn heavy_children_of_low_priority_are_not_all_taken_from_the_stream_at_once() {
    let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
    let mut group = Group::new().with_limit(2);
    group.queue(scale.child(&gate, 0, 1));
    let tap = Tap::new();
    (1..100).for_each(|n| tap.put(scale.child(&gate, n, 2).priority(-1)));
    tap.end();
    let fed = {
        let mut feed = group.feed(tap.clone());
        assert!(driver.run(&mut feed).is_pending());
        // One child waits for more room, and no other is admitted past it.
        assert_eq!(tap.polls(), 1);
        for n in 0..10 {
            gate.open(n);
            assert!(driver.run(&mut feed).is_pending());
            assert_eq!((tap.polls(), scale.now()), (n + 1, 2));
        }
        (10..100).for_each(|n| gate.open(n));
        driver.run(&mut feed)
    };
    assert_eq!(fed, Poll::Ready(99));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_fed_child_that_is_too_heavy_waits_by_its_priority_if_that_is_higher() {
    let (driver, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
    let mut group = Group::new().with_limit(2);
    let handle = group.handle();
    handle.queue(scale.child(&gate, 0, 1));
    let children = [scale.child(&gate, 1, 2).priority(5)];
    let (feeder, mut feed) = (MockTask::new(), handle.feed(stream::iter(children)));
    assert!(feeder.run(&mut feed).is_pending());
    handle.queue(scale.child(&gate, 2, 1).priority(4));
    handle.queue(scale.child(&gate, 3, 1).priority(6));
    assert_eq!((group.stats().running, group.stats().queued), (2, 2));
    (0..4).filter(|n| *n != 1).for_each(|n| gate.open(n));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((scale.now(), group.stats().running, group.stats().queued), (2, 1, 1));
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    assert!(feeder.run(&mut feed).is_ready());
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
}

/// **A limit of 0 pauses admission**, for children without a weight too.
#[test]
fn a_limit_of_0_admits_no_child_without_a_weight() {
    let mut group = Group::new();
    let handle = group.handle();
    handle.set_limit(Some(0));
    assert!(matches!(handle.try_go(ready(0)), Err(TryGoError::AtLimit(_))));
    let task = MockTask::new();
    let mut go = handle.go(ready(0));
    assert!(task.poll(&mut go).is_pending());
    handle.queue(ready(0).priority(1));
    assert_eq!(numbers(&group), (0, 1, 0));
    assert_eq!(task.wakes(), 0, "no room is granted");
    assert!(MockTask::new().poll(&mut group).is_pending());

    // A key's limit of 0 holds the children of that key.
    let key = "a".into();
    handle.set_limit(None);
    handle.set_key_limit(&key, Some(0));
    assert_eq!(task.wakes(), 1);
    assert!(task.poll(&mut go).is_ready());
    handle.queue(ready(0).key("a"));
    assert!(MockTask::new().poll(&mut group).is_pending());
    assert_eq!(numbers(&group), (0, 1, 2));
    handle.set_key_limit(&key, None);
    assert_eq!(MockTask::new().poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_handle_that_is_made_at_any_time_changes_nothing_for_children_that_have_weights() {
    let run = |handle_at: usize| {
        let (task, gate, scale) = (MockTask::new(), Gate::new(), Scale::default());
        let mut group = Group::local().with_limit(5);
        let mut seen = Vec::new();
        let mut step = 0;
        let mut look = |group: &Group<_, _>| {
            let handle = (step == handle_at).then(|| group.handle());
            step += 1;
            seen.push((scale.now(), group.stats(), group.snapshot().to_string()));
            handle
        };
        let mut handles = Vec::new();
        let weights = [2, 0, 3, 4, 1, 0, usize::MAX, 1];
        for (number, weight) in weights.into_iter().enumerate() {
            group.queue(scale.child(&gate, number, weight));
            handles.extend(look(&group));
        }
        assert!(task.run(&mut group).is_pending());
        handles.extend(look(&group));
        // These four have room from now on, and start at the next poll.
        group.set_limit(Some(10));
        handles.extend(look(&group));
        for number in [0, 2, 1, 5, 4, 3, 6] {
            gate.open(number);
            assert!(task.run(&mut group).is_pending());
            handles.extend(look(&group));
        }
        drop(handles);
        gate.open(7);
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
        seen
    };
    let never = run(usize::MAX);
    assert_eq!(never.iter().map(|(weight, ..)| *weight).max(), Some(usize::MAX));
    for at in 0..never.len() {
        assert_eq!(run(at), never, "a handle at step {at}");
    }
}

#[test]
fn a_group_that_is_over_or_has_stopped_refuses_a_heavy_child_as_it_does_a_plain_one() {
    let answers = |weight: usize, stopped: bool| {
        let (driver, gate) = (MockTask::new(), Gate::new());
        let mut group = Group::local().with_limit(5);
        group.queue(ready(1));
        if stopped {
            group.queue(waits(&gate, 0));
            group.token().cancel();
        } else {
            assert!(driver.run(&mut group).is_ready());
        }
        let gone = driver.run(&mut group.go(ready(weight))).map(|it| it.is_ok());
        let tried = group.try_go(ready(weight)).map_err(|error| error.to_string());
        let fed = driver.run(&mut group.feed(stream::iter([ready(weight), ready(weight)])));
        group.queue(ready(weight));
        let before = group.stats();
        gate.open(0);
        let _ = driver.run(&mut group);
        (gone, tried, fed, before, group.stats())
    };
    for stopped in [false, true] {
        for weight in [0, 2, usize::MAX] {
            assert_eq!(answers(weight, stopped), answers(1, stopped), "{weight}, {stopped}");
        }
    }
}
