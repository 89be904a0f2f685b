//! Room first, then the child: `ready` waits until a child would be admitted, and a `Slot` keeps
//! room for one.

use std::future::ready;
use std::pin::pin;
use std::task::Poll;

use crate::common::{Fixture, Gate, Job, Log, MockTask, Probe, is_ok, is_stopped, job, waits};
use errgroup::future::Reserve;
use errgroup::snapshot::{Cause, ChildState, WaitsFor};
use errgroup::{Boxed, Child, Children, Group, Slot, TryGoError, task};

type Kind = Boxed<'static, usize, &'static str>;
type Jobs = Group<Kind>;

/// Returns a slot, for which there is room.
fn slot(f: &Fixture) -> Slot<Kind> {
    MockTask::new().finish(f.handle.reserve()).expect("it has not stopped")
}

/// Returns a `reserve` that waits, and the task that polled it.
fn waiting(f: &Fixture) -> (MockTask, Reserve<Kind>) {
    let (task, mut reserve) = (MockTask::new(), f.handle.reserve());
    assert!(task.poll(&mut reserve).is_pending());
    (task, reserve)
}

// === ready ===

#[test]
fn after_it_is_ready_the_next_child_is_admitted() {
    fn scenario<C>(group: Group<C>, with_handle: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
        let mut group = group.with_limit(2);
        let _handle = with_handle.then(|| group.handle());
        for n in 0..4 {
            if n >= 2 {
                assert!(task.poll(&mut group.ready()).is_pending());
                assert_eq!(log.take(), if n == 2 { vec!["+0", "+1"] } else { vec!["+2"] });
                gate.open(n - 2);
                assert_eq!(task.wakes(), n - 1);
            }
            assert!(is_ok(task.poll(&mut group.ready())));
            log.take();
            assert!(group.try_go(logged(n, &gate, &log)).is_ok());
        }
        gate.open(2);
        gate.open(3);
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    }
    fn logged(n: usize, gate: &Gate, log: &Log) -> Job {
        let (log, gate) = (log.clone(), gate.wait(n));
        job(async move {
            log.add(format!("+{n}"));
            gate.await;
            Ok(n)
        })
    }
    for with_handle in [false, true] {
        scenario(Group::new(), with_handle);
        scenario(Group::local(), with_handle);
        scenario(Group::unboxed(), with_handle);
    }
}

#[test]
fn ready_comes_after_all_that_wait() {
    let mut f = Fixture::new(1);
    f.group.queue(waits(&f.gate, 0));
    f.group.queue(waits(&f.gate, 1));
    let (task, mut go) = (MockTask::new(), f.handle.go(waits(&f.gate, 2)));
    let (handle, gate) = (f.handle.clone(), f.gate.clone());
    let mut ready = f.group.ready();
    assert!(f.task.poll(&mut ready).is_pending());
    assert!(task.poll(&mut go).is_pending());
    // It came later, and of a lower priority.
    handle.queue(errgroup::task(waits(&gate, 3)).priority(-5));
    for n in 0..4 {
        assert!(f.task.run(&mut ready).is_pending());
        gate.open(n);
        assert!(n != 1 || f.task.run(&mut ready).is_pending());
        assert!(n != 1 || is_ok(task.poll(&mut go)));
    }
    assert!(is_ok(f.task.run(&mut ready)));
    drop(ready);
    assert!(f.group.try_go(waits(&f.gate, 4)).is_ok());
    assert!(matches!(f.group.try_go(waits(&f.gate, 4)), Err(TryGoError::AtLimit(_))));
}

#[test]
fn a_raised_limit_and_room_given_up_wake_ready() {
    let mut f = Fixture::new(1);
    f.group.queue(waits(&f.gate, 0));
    let handle = f.handle.clone();
    let mut ready = f.group.ready();
    assert!(f.task.poll(&mut ready).is_pending());
    handle.set_limit(Some(2));
    assert_eq!(f.task.wakes(), 1);
    assert!(is_ok(f.task.poll(&mut ready)));
    drop(ready);

    let slot = slot(&f);
    let mut ready = f.group.ready();
    assert!(f.task.poll(&mut ready).is_pending());
    drop(slot);
    assert_eq!(f.task.wakes(), 2);
    assert!(is_ok(f.task.poll(&mut ready)));
}

#[test]
fn ready_leaves_nothing_behind_when_it_is_dropped() {
    let mut f = Fixture::new(1);
    f.group.queue(waits(&f.gate, 0));
    assert!(f.task.poll(&mut f.group.ready()).is_pending());
    f.gate.open(0);
    assert!(is_ok(f.run()));
}

#[test]
fn a_stop_ends_ready() {
    for with_handle in [false, true] {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = Jobs::new().with_limit(1);
        let _handle = with_handle.then(|| group.handle());
        group.queue(waits(&gate, 0));
        let token = group.token().clone();
        let mut ready = group.ready();
        assert!(task.poll(&mut ready).is_pending());
        token.cancel();
        assert_eq!(task.wakes(), 1);
        assert!(is_stopped(task.poll(&mut ready)));
        assert!(task.poll(&mut ready).is_pending());
    }
}

// === reserve ===

#[test]
fn a_slot_keeps_room_until_its_child_comes() {
    let mut f = Fixture::new(1);
    let slot = slot(&f);
    assert!(matches!(f.handle.try_go(waits(&f.gate, 0)), Err(TryGoError::AtLimit(_))));
    assert_eq!((f.running(), f.queued()), (0, 0));
    assert!(f.poll().is_pending(), "it holds the group open");
    f.group.queue(waits(&f.gate, 1));
    assert_eq!(f.queued(), 1);
    assert!(slot.go(waits(&f.gate, 0)).is_ok());
    assert_eq!((f.task.wakes(), f.running(), f.queued()), (1, 1, 1));
    f.gate.open(0);
    f.gate.open(1);
    assert!(is_ok(f.run()));
}

#[test]
fn a_slot_holds_up_no_other_child() {
    let mut f = Fixture::new(3);
    let first = slot(&f);
    f.group.queue(f.child(0));
    let second = slot(&f);
    assert!(f.poll().is_pending());
    assert_eq!(f.log.take(), ["+0"]);
    f.gate.open(0);
    f.group.queue(f.child(1));
    assert!(f.poll().is_pending());
    assert_eq!(f.log.take(), ["-0", "+1"]);
    // They start in the order in which their children come.
    assert!(second.go(f.child(2)).is_ok());
    assert!(first.go(f.child(3)).is_ok());
    assert!(f.poll().is_pending());
    assert_eq!(f.log.take(), ["+2", "+3"]);
    (1..4).for_each(|n| f.gate.open(n));
    assert!(is_ok(f.run()));
}

#[test]
fn a_reserve_waits_in_the_queue_and_the_room_is_kept_for_it() {
    let mut f = Fixture::new(1);
    f.group.queue(waits(&f.gate, 0));
    assert!(f.poll().is_pending());
    let (task, mut reserve) = waiting(&f);
    f.handle.queue(f.child(2));
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert_eq!((task.wakes(), f.queued()), (1, 1));
    let Poll::Ready(Ok(slot)) = task.poll(&mut reserve) else { panic!("it has its turn") };
    assert!(task.poll(&mut reserve).is_pending(), "it is fused");
    assert!(slot.go(f.child(1)).is_ok());
    f.gate.open(1);
    f.gate.open(2);
    assert!(is_ok(f.run()));
    assert_eq!(f.log.take(), ["+1", "-1", "+2", "-2"]);
}

#[test]
fn a_reserve_or_slot_that_is_dropped_gives_its_room_to_the_next() {
    let mut f = Fixture::new(1);
    let held = slot(&f);
    let (first, reserve) = waiting(&f);
    let (second, mut next) = waiting(&f);
    drop(reserve);
    drop(held);
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    // It has its turn, and goes before it knows.
    let (third, mut last) = waiting(&f);
    let Poll::Ready(Ok(slot)) = second.poll(&mut next) else { panic!("it has its turn") };
    drop(slot);
    assert_eq!(third.wakes(), 1);
    drop(last);
    let (_, none) = (MockTask::new(), f.handle.reserve());
    drop(none);
    assert!(is_ok(f.poll()));
    last = f.handle.reserve();
    assert!(matches!(third.poll(&mut last), Poll::Ready(Err(_))));
}

#[test]
fn a_dropped_slot_wakes_a_group_that_it_held_open() {
    let mut f = Fixture::new(1);
    let slot = slot(&f);
    assert!(f.poll().is_pending());
    drop(slot);
    assert_eq!(f.task.wakes(), 1);
    assert!(is_ok(f.poll()));
}

#[test]
fn a_stop_takes_the_room_of_slots_and_gives_their_children_back() {
    let mut f = Fixture::new(2);
    let held = slot(&f);
    let other = slot(&f);
    let (task, mut reserve) = waiting(&f);
    let probe = Probe::new();
    f.handle.token().cancel();
    assert_eq!(task.wakes(), 1);
    assert!(matches!(task.poll(&mut reserve), Poll::Ready(Err(_))));
    let refused = held.go(probe.watch(ready(Ok(0)))).unwrap_err();
    assert_eq!((probe.drops(), f.handle.stats().dropped), (0, 0));
    drop(refused.into_inner());
    assert!(is_ok(f.poll()), "no slot holds a stopped group open");
    assert!(other.go(probe.watch(ready(Ok(0)))).is_err());
    let handle = f.handle.clone();
    drop(f);
    assert!(matches!(task.poll(&mut handle.reserve()), Poll::Ready(Err(_))));
}

#[test]
fn a_group_that_is_dropped_leaves_its_slots_without_room() {
    let f = Fixture::new(1);
    let slot = slot(&f);
    drop(f.group);
    assert!(slot.go(waits(&f.gate, 0)).is_err());
    assert_eq!(f.handle.stats().running, 0);
}

#[test]
fn a_loop_that_drops_its_slots_yields() {
    let group = Jobs::new();
    let handle = group.handle();
    let mut slots = 0;
    let dropping = async {
        while slots < 20_000 && handle.reserve().await.is_ok() {
            slots += 1;
        }
    };
    assert!(MockTask::new().poll(&mut pin!(dropping)).is_pending(), "it yields");
    assert_eq!(slots, 4096);
}

#[test]
fn a_slot_outlives_a_close() {
    let mut f = Fixture::new(1);
    let slot = slot(&f);
    f.handle.close();
    assert!(f.poll().is_pending());
    assert!(slot.go(waits(&f.gate, 0)).is_ok());
    f.gate.open(0);
    assert!(is_ok(f.run()));
    assert_eq!(f.handle.stats().ok, 1);
}

#[test]
fn a_heavy_child_of_a_slot_is_queued_unless_there_is_room() {
    let mut f = Fixture::new(3);
    let slots = (slot(&f), slot(&f));
    assert!(slots.0.go(task(waits(&f.gate, 0)).weight(2)).is_ok());
    assert_eq!((f.running(), f.queued()), (1, 0));
    assert!(slots.1.go(task(waits(&f.gate, 1)).weight(2)).is_ok());
    assert_eq!((f.running(), f.queued()), (1, 1));
    f.gate.open(0);
    f.gate.open(1);
    assert!(is_ok(f.run()));
}

#[test]
fn the_limit_holds_for_slots_when_it_was_lowered() {
    let mut f = Fixture::new(2);
    let slots = (slot(&f), slot(&f));
    f.handle.set_limit(Some(1));
    assert!(slots.0.go(f.child(0)).is_ok());
    assert_eq!((f.running(), f.queued()), (0, 1), "the other slot has the room");
    assert!(slots.1.go(f.child(1)).is_ok());
    assert!(f.poll().is_pending());
    assert_eq!((f.running(), f.queued()), (1, 1));
    f.gate.open(0);
    f.gate.open(1);
    assert!(is_ok(f.run()));
    assert_eq!(f.handle.stats().ok, 2);
}

#[test]
fn a_daemon_that_is_queued_in_place_of_a_slot_holds_nothing_open() {
    let mut f = Fixture::new(1);
    let slot = slot(&f);
    f.handle.set_limit(Some(0));
    assert!(f.poll().is_pending());
    assert!(slot.go(task(f.child(0)).daemon()).is_ok());
    assert_eq!((f.queued(), f.task.wakes()), (1, 1));
    assert!(is_ok(f.poll()));
}

#[test]
#[cfg(feature = "std")]
fn a_child_that_keeps_a_slot_and_waits_in_its_own_group_goes_on() {
    let mut f = Fixture::new(2);
    let (handle, log) = (f.handle.clone(), f.log.clone());
    f.group.queue(job(async move {
        let slot = handle.reserve().await.unwrap();
        let late = log.clone();
        assert!(
            handle
                .go(job(async move {
                    late.add("queued");
                    Ok(1)
                }))
                .await
                .is_ok()
        );
        log.add("went on");
        assert!(slot.go(job(ready(Ok(2)))).is_ok());
        Ok(0)
    }));
    assert!(is_ok(f.run()));
    assert_eq!((f.log.take(), f.handle.stats().ok), (vec!["went on".into(), "queued".into()], 3));
}

#[test]
#[cfg(feature = "std")]
fn a_reserve_inside_the_only_child_gets_a_slot_whose_child_is_queued() {
    let mut f = Fixture::new(1);
    let (handle, log) = (f.handle.clone(), f.log.clone());
    f.group.queue(job(async move {
        let slot = handle.reserve().await.unwrap();
        let late = log.clone();
        assert!(
            slot.go(job(async move {
                late.add("second");
                Ok(1)
            }))
            .is_ok()
        );
        log.add("first");
        Ok(0)
    }));
    assert!(is_ok(f.run()));
    assert_eq!((f.log.take(), f.handle.stats().ok), (vec!["first".into(), "second".into()], 2));
}

#[test]
#[cfg(feature = "std")]
fn room_that_comes_for_a_slot_that_had_none_is_kept() {
    let mut f = Fixture::new(1);
    let (handle, gate) = (f.handle.clone(), f.gate.clone());
    let sent = std::sync::Arc::new(std::sync::Mutex::new(None));
    let send = std::sync::Arc::clone(&sent);
    f.group.queue(job(async move {
        *send.lock().unwrap() = Some(handle.reserve().await.unwrap());
        gate.wait(0).await;
        Ok(0)
    }));
    assert!(f.run().is_pending());
    let slot = sent.lock().unwrap().take().unwrap();
    // Its caller is not to be polled: it waits for room, as a child in the queue does.
    let snapshot = f.group.snapshot();
    assert!(matches!(
        snapshot.children[1].state,
        ChildState::Offered { behind: 0, waits_for: WaitsFor::Room, .. }
    ));
    assert!(matches!(snapshot.causes()[0], Cause::Room { weight: 1, room: 1, .. }), "{snapshot}");
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert!(f.handle.try_go(waits(&f.gate, 1)).is_err(), "it is the slot's");
    f.handle.set_limit(Some(2));
    f.handle.queue(f.child(1));
    assert!(f.run().is_pending());
    assert_eq!(f.log.take(), ["+1"], "the slot holds up no other child");
    assert!(slot.go(f.child(2)).is_ok());
    f.gate.open(1);
    f.gate.open(2);
    assert!(is_ok(f.run()));
}

#[test]
fn a_slot_holds_a_permit_of_the_semaphore() {
    let semaphore = std::sync::Arc::new(async_lock::Semaphore::new(1));
    let mut f = Fixture::of(Jobs::new().with_semaphore(std::sync::Arc::clone(&semaphore)));
    let held = slot(&f);
    assert!(semaphore.try_acquire().is_none());
    drop(held);
    let permit = semaphore.try_acquire().expect("it is given back");
    let (task, mut reserve) = waiting(&f);
    let handle = f.handle.clone();
    assert!(f.poll().is_pending());
    drop(permit);
    assert!(f.run().is_pending());
    assert_eq!(task.wakes(), 1);
    let Poll::Ready(Ok(slot)) = task.poll(&mut reserve) else { panic!("it has its turn") };
    assert!(f.task.poll(&mut f.group.ready()).is_pending());
    assert!(slot.go(job(ready(Ok(1)))).is_ok());
    assert!(is_ok(f.task.run(&mut f.group.ready())), "it left the permit to the next");
    assert!(handle.try_go(job(ready(Ok(2)))).is_ok());
    assert!(is_ok(f.run()));
}
