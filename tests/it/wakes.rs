//! No wake-up is lost, and none is needless.

use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::common::{Gate, Job, MockTask, OnDrop, Probe, Tap, WakeCount, job, poll_with, waits};
use errgroup::{Boxed, Child, Children, Group, Handle};

type Jobs = Group<Boxed<'static, usize, &'static str>>;
type WakerCell = Arc<Mutex<Option<Waker>>>;

/// Makes a child that stores its waker and is never done.
fn shows_its_waker(cell: &WakerCell) -> Job {
    let cell = Arc::clone(cell);
    job(poll_fn(move |cx| {
        *cell.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }))
}

fn taken(cell: &WakerCell) -> Waker {
    cell.lock().unwrap().clone().expect("it was polled")
}

#[test]
fn a_parked_child_causes_no_wake_up_and_a_woken_one_causes_one() {
    fn scenario<C>(group: Group<C>, count: usize)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        for n in 0..count {
            group.queue(probe.watch(waits(&gate, n)));
        }
        for _ in 0..3 {
            assert!(task.poll(&mut group).is_pending());
        }
        assert_eq!((probe.polls(), task.wakes()), (count, 0));
        for n in 0..count {
            gate.open(n);
            assert_eq!(task.wakes(), n + 1);
            assert_eq!(task.poll(&mut group).is_ready(), n + 1 == count);
            assert_eq!((probe.polls(), task.wakes()), (count + n + 1, n + 1));
        }
    }
    for count in [1, 2, 3, 64, 65, 129] {
        scenario(Group::new(), count);
        scenario(Group::local(), count);
        scenario(Group::unboxed(), count);
    }
}

#[test]
fn all_wake_ups_at_once_are_one() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new();
    for n in 0..200 {
        group.queue(waits(&gate, n));
    }
    assert!(task.poll(&mut group).is_pending());
    (0..200).for_each(|n| gate.open(n));
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(task.wakes(), 1);
}

#[test]
fn a_child_that_yields_wakes_the_task_for_each_of_its_polls_at_most_once() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let task = MockTask::new();
        let mut group = group;
        let mut left = 5;
        group.queue(job(poll_fn(move |cx| {
            if left == 0 {
                return Poll::Ready(Ok(0));
            }
            left -= 1;
            for _ in 0..3 {
                cx.waker().wake_by_ref();
            }
            let by_value = cx.waker().clone();
            by_value.wake();
            Poll::Pending
        })));
        let mut polls = 1;
        while task.poll(&mut group).is_pending() {
            assert_eq!(task.wakes(), polls);
            polls += 1;
        }
        assert!(polls <= 6);
        assert_eq!(task.wakes(), polls - 1);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_child_that_wakes_itself_in_its_last_poll_causes_no_wake_up() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        group.queue(probe.watch(waits(&gate, 0)));
        for n in 0..3 {
            group.queue(job(poll_fn(move |cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(Ok(n))
            })));
        }
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((group.stats().ok, probe.polls(), task.wakes()), (3, 1, 0));
        // Neither does its successor in the slot.
        group.queue(probe.watch(waits(&gate, 1)));
        let before = task.wakes();
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((probe.polls(), task.wakes()), (2, before));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn the_successor_of_a_child_that_woke_itself_last_is_polled_once() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(1);
        group.queue(job(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(Ok(0))
        })));
        group.queue(probe.watch(waits(&gate, 0)));
        for _ in 0..3 {
            assert!(task.poll(&mut group).is_pending());
            assert_eq!((probe.polls(), task.wakes()), (1, 0));
        }
        gate.open(0);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.polls(), task.wakes()), (2, 1));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn the_waker_of_a_finished_child_does_not_wake_its_successor() {
    fn scenario<C>(group: Group<C>, limit: usize)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, cell, finish) = (MockTask::new(), WakerCell::default(), Gate::new());
        let mut group = group.with_limit(limit);
        // Parked siblings, which hold the group open.
        let mut stale = Vec::new();
        for _ in 1..limit {
            group.queue(job(pending()));
        }
        for round in 0..5 {
            let (writes, mut inner) = (Arc::clone(&cell), finish.wait(round));
            group.queue(job(poll_fn(move |cx| {
                *writes.lock().unwrap() = Some(cx.waker().clone());
                Pin::new(&mut inner).poll(cx).map(|()| Ok(0))
            })));
            assert!(task.poll(&mut group).is_pending());
            let newcomer = Probe::new();
            let gate = Gate::new();
            group.queue(newcomer.watch(waits(&gate, 0)));
            stale.push(taken(&cell));
            finish.open(round);
            assert!(task.poll(&mut group).is_pending());
            assert_eq!(newcomer.polls(), 1, "it has the slot of the finished child");
            let before = task.wakes();
            for waker in &stale {
                waker.wake_by_ref();
            }
            assert_eq!(task.wakes(), before, "there is no work");
            assert!(task.poll(&mut group).is_pending());
            assert_eq!(newcomer.polls(), 1, "it was not woken");
            gate.open(0);
            assert_eq!(task.wakes(), before + 1);
            let _ = task.poll(&mut group);
            assert_eq!((newcomer.polls(), newcomer.drops()), (2, 1));
            if limit == 1 {
                return;
            }
        }
    }
    for limit in [1, 2, 64, 65, 100] {
        scenario(Group::new(), limit);
        scenario(Group::local(), limit);
        scenario(Group::unboxed(), limit);
    }
}

#[test]
fn a_stale_waker_that_wakes_while_the_newcomer_is_polled_does_nothing() {
    let (task, cell) = (MockTask::new(), WakerCell::default());
    let mut group = Jobs::new().with_limit(1);
    let writes = Arc::clone(&cell);
    group.queue(poll_fn(move |cx| {
        *writes.lock().unwrap() = Some(cx.waker().clone());
        Poll::Ready(Ok(0))
    }));
    let probe = Probe::new();
    let stale = Arc::clone(&cell);
    group.queue(probe.watch(poll_fn(move |_| {
        taken(&stale).wake();
        Poll::Pending
    })));
    for _ in 0..3 {
        assert!(task.poll(&mut group).is_pending());
    }
    assert_eq!((probe.polls(), task.wakes()), (1, 0));
}

#[test]
fn a_stale_waker_that_wakes_before_the_newcomers_first_poll_does_not_poll_it_twice() {
    let (task, cell, probe) = (MockTask::new(), WakerCell::default(), Probe::new());
    let mut group = Jobs::new();
    group.queue(pending());
    let writes = Arc::clone(&cell);
    group.queue(poll_fn(move |cx| {
        *writes.lock().unwrap() = Some(cx.waker().clone());
        Poll::Ready(Ok(0))
    }));
    assert!(task.poll(&mut group).is_pending());
    group.queue(probe.watch(pending()));
    taken(&cell).wake();
    for _ in 0..3 {
        assert!(task.poll(&mut group).is_pending());
    }
    assert_eq!(probe.polls(), 1);
}

#[test]
fn a_waker_that_a_child_left_at_its_first_poll_wakes_no_child_behind_it() {
    // Siblings that keep the wakers that they get, before the child and behind the other.
    for (before, behind) in [(0, 0), (0, 1), (1, 0), (3, 3), (70, 0)] {
        let (task, gate, probe, cell) =
            (MockTask::new(), Gate::new(), Probe::new(), WakerCell::default());
        let mut group = Jobs::new();
        (0..before).for_each(|n| group.queue(waits(&gate, n)));
        let leaves = Arc::clone(&cell);
        group.queue(job(poll_fn(move |cx| {
            *leaves.lock().unwrap() = Some(cx.waker().clone());
            Poll::Ready(Ok(0))
        })));
        // It asks for no wake-up.
        group.queue(probe.watch(pending()));
        (0..behind).for_each(|n| group.queue(waits(&gate, 100 + n)));
        assert!(task.run(&mut group).is_pending());
        let (stale, wakes) = (taken(&cell), task.wakes());
        stale.wake_by_ref();
        assert_eq!(task.wakes(), wakes);
        assert!(task.run(&mut group).is_pending());
        assert_eq!(probe.polls(), 1);
        // The siblings are woken as ever.
        (0..before).for_each(|n| gate.open(n));
        (0..behind).for_each(|n| gate.open(100 + n));
        assert!(task.run(&mut group).is_pending());
        assert_eq!((group.stats().ok, probe.polls()), (1 + before + behind, 1));
    }
}

#[test]
fn a_waker_that_a_child_has_kept_to_its_end_wakes_neither_its_successor_nor_the_task() {
    for (before, beside) in [(0, 0), (0, 1), (1, 1), (3, 3), (70, 1)] {
        let (task, gate, probe, cell) =
            (MockTask::new(), Gate::new(), Probe::new(), WakerCell::default());
        let mut group = Jobs::new();
        (0..before).for_each(|n| group.queue(waits(&gate, n)));
        let (keeps, mut wait) = (Arc::clone(&cell), gate.wait(1_000));
        group.queue(job(poll_fn(move |cx| {
            *keeps.lock().unwrap() = Some(cx.waker().clone());
            Pin::new(&mut wait).poll(cx).map(|()| Ok(0))
        })));
        (0..beside).for_each(|n| group.queue(waits(&gate, 100 + n)));
        group.queue(waits(&gate, 2_000));
        assert!(task.run(&mut group).is_pending());
        // They end in one batch, and the child is not alone then.
        gate.open(1_000);
        (0..beside).for_each(|n| gate.open(100 + n));
        assert!(task.run(&mut group).is_pending());
        group.queue(probe.watch(pending()));
        assert!(task.run(&mut group).is_pending());
        let (stale, wakes) = (taken(&cell), task.wakes());
        stale.wake();
        assert_eq!(task.wakes(), wakes);
        assert!(task.run(&mut group).is_pending());
        assert_eq!(probe.polls(), 1);
    }
}

#[test]
fn a_waker_that_the_child_of_a_go_left_wakes_no_child_after_it() {
    // Siblings that keep the wakers that they get.
    for siblings in [0, 1, 70] {
        let (task, gate, probe, cell) =
            (MockTask::new(), Gate::new(), Probe::new(), WakerCell::default());
        let mut group = Jobs::new();
        (0..siblings).for_each(|n| group.queue(waits(&gate, n)));
        assert!(siblings == 0 || task.run(&mut group).is_pending());
        for _ in 0..3 {
            let leaves = Arc::clone(&cell);
            let child = job(poll_fn(move |cx| {
                *leaves.lock().unwrap() = Some(cx.waker().clone());
                Poll::Ready(Ok(0))
            }));
            assert!(task.run(&mut group.go(child)).is_ready());
            assert!(task.run(&mut group.go(probe.watch(pending()))).is_ready());
            assert!(task.run(&mut group).is_pending());
            let (stale, wakes, polls) = (taken(&cell), task.wakes(), probe.polls());
            stale.wake();
            assert_eq!(task.wakes(), wakes);
            assert!(task.run(&mut group).is_pending());
            assert_eq!(probe.polls(), polls);
        }
        (0..siblings).for_each(|n| gate.open(n));
        assert!(task.run(&mut group).is_pending());
        assert_eq!((group.stats().ok, probe.polls()), (3 + siblings, 3));
    }
}

#[test]
fn wakers_outlive_their_group_and_do_no_harm() {
    let (task, cell) = (MockTask::new(), WakerCell::default());
    let mut group = Jobs::new();
    group.queue(shows_its_waker(&cell));
    assert!(task.poll(&mut group).is_pending());
    drop(group);
    let waker = taken(&cell);
    waker.wake_by_ref();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    assert_eq!(task.wakes(), 0);

    // A group that has resolved, as well.
    let mut group = Jobs::new();
    let writes = Arc::clone(&cell);
    group.queue(poll_fn(move |cx| {
        *writes.lock().unwrap() = Some(cx.waker().clone());
        Poll::Ready(Ok(0))
    }));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    taken(&cell).wake();
    assert_eq!(task.wakes(), 0);
}

#[test]
fn the_task_that_polled_last_is_woken() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (old, new, gate) = (MockTask::new(), MockTask::new(), Gate::new());
        let mut group = group;
        group.queue(job(pending()));
        group.queue(waits(&gate, 0));
        group.queue(waits(&gate, 1));
        assert!(old.poll(&mut group).is_pending());
        // A group may move between two polls.
        let mut group = Box::new(group);
        assert!(new.poll(&mut *group).is_pending());
        gate.open(0);
        assert_eq!((old.wakes(), new.wakes()), (0, 1));
        assert!(old.poll(&mut *group).is_pending());
        gate.open(1);
        assert_eq!((old.wakes(), new.wakes()), (1, 1));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_child_that_wakes_a_sibling_during_its_poll_causes_no_needless_wake_up() {
    fn scenario<C>(group: Group<C>, earlier: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        group.queue(job(pending()));
        let opens = gate.clone();
        let sibling = probe.watch(waits(&gate, 1));
        let own = gate.wait(0);
        let waking = job(async move {
            own.await;
            opens.open(1);
            Ok(0)
        });
        if earlier {
            group.queue(sibling);
            group.queue(waking);
        } else {
            group.queue(waking);
            group.queue(sibling);
        }
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        assert_eq!(task.wakes(), 1);
        assert!(task.run(&mut group).is_pending());
        assert_eq!((probe.polls(), probe.drops(), group.stats().ok), (2, 1, 2));
        // Without work left, no task is woken.
        let before = task.wakes();
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(task.wakes(), before);
    }
    for earlier in [true, false] {
        scenario(Group::new(), earlier);
        scenario(Group::local(), earlier);
        scenario(Group::unboxed(), earlier);
    }
}

#[test]
fn a_wake_up_from_another_thread_during_a_poll_is_not_lost() {
    fn scenario<C>(group: Group<C>, before: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        let elsewhere = gate.clone();
        let own = gate.wait(0);
        let waking = job(async move {
            own.await;
            std::thread::spawn(move || elsewhere.open(1)).join().unwrap();
            pending().await
        });
        if before {
            group.queue(waking);
            group.queue(probe.watch(waits(&gate, 1)));
        } else {
            group.queue(probe.watch(waits(&gate, 1)));
            group.queue(waking);
        }
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        assert!(task.run(&mut group).is_pending());
        assert_eq!((probe.polls(), probe.drops()), (2, 1));
    }
    for before in [true, false] {
        scenario(Group::new(), before);
        scenario(Group::local(), before);
        scenario(Group::unboxed(), before);
    }
}

#[test]
fn a_child_woken_from_another_thread_in_its_own_poll_is_polled_again() {
    let task = MockTask::new();
    let mut group = Jobs::new();
    let mut polls = 0;
    group.queue(poll_fn(move |cx| {
        polls += 1;
        if polls == 20 {
            return Poll::Ready(Ok(polls));
        }
        let waker = cx.waker().clone();
        std::thread::spawn(move || waker.wake()).join().unwrap();
        Poll::Pending
    }));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_wake_up_of_a_sibling_by_a_destructor_is_not_lost() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new();
    group.queue(probe.watch(waits(&gate, 1)));
    let opens = gate.clone();
    let gone = OnDrop(move || opens.open(1));
    let mut inner = gate.wait(0);
    group.queue(poll_fn(move |cx| {
        let _ = &gone;
        Pin::new(&mut inner).poll(cx).map(|()| Ok(0))
    }));
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_newcomer_wakes_the_group_only_if_there_is_room() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, going) = (MockTask::new(), Gate::new(), MockTask::new());
        let mut group = group.with_limit(2);
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(task.wakes(), 0);
        handle.queue(waits(&gate, 1));
        assert_eq!(task.wakes(), 1, "there is a child to be polled");
        assert!(task.poll(&mut group).is_pending());
        // There is no room, so there is nothing to do.
        handle.queue(waits(&gate, 2));
        assert!(handle.try_go(waits(&gate, 3)).is_err());
        let mut go = pin!(handle.go(waits(&gate, 3)));
        assert!(going.poll(&mut go).is_pending());
        assert_eq!(task.wakes(), 1);
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        assert_eq!(task.wakes(), 2);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((task.wakes(), going.wakes()), (2, 0), "the queued child was before it");
        gate.open(1);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((task.wakes(), going.wakes()), (3, 1));
        assert!(going.poll(&mut go).is_ready());
        assert_eq!(task.wakes(), 4);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_child_added_by_any_call_of_a_handle_wakes_the_group() {
    let (task, going) = (MockTask::new(), MockTask::new());
    let mut group = Jobs::new();
    let handle = group.handle();
    group.queue(pending());
    assert!(task.poll(&mut group).is_pending());
    assert!(handle.try_go(pending()).is_ok());
    assert_eq!(task.wakes(), 1);
    assert!(task.poll(&mut group).is_pending());
    assert!(going.poll(&mut pin!(handle.go(pending()))).is_ready());
    assert_eq!((task.wakes(), going.wakes()), (2, 0));
    assert!(task.poll(&mut group).is_pending());
    std::thread::scope(|threads| {
        threads.spawn(|| handle.queue(pending()));
    });
    assert_eq!(task.wakes(), 3);
}

#[test]
fn a_waiter_with_a_reservation_is_woken_once() {
    let (task, going, gate) = (MockTask::new(), MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut go = pin!(handle.go(waits(&gate, 1)));
    assert!(going.poll(&mut go).is_pending());
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((task.wakes(), going.wakes()), (1, 1));
    // All of this waits behind it and causes no work.
    handle.queue(pending());
    assert!(handle.try_go(pending()).is_err());
    handle.set_limit(Some(2));
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((task.wakes(), going.wakes()), (1, 1));
    assert!(going.poll(&mut go).is_ready());
    assert_eq!((task.wakes(), group.stats().running), (2, 2));
}

#[test]
fn queries_of_the_group_cause_no_wake_up() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(2);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    assert!(task.poll(&mut group).is_pending());
    let _ = (handle.stats(), handle.limit(), handle.is_stopped(), handle.token().clone());
    handle.set_limit(Some(5));
    handle.set_limit(Some(1));
    handle.set_limit(Some(0));
    handle.set_limit(None);
    drop(handle.clone());
    assert_eq!(task.wakes(), 0, "no waiter waits for room");
    drop(handle);
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_resolved_group_wakes_no_task() {
    let task = MockTask::new();
    let mut group = Jobs::new();
    let handle = group.handle();
    assert!(task.poll(&mut group).is_ready());
    handle.queue(pending());
    handle.set_limit(Some(3));
    handle.set_limit(None);
    handle.token().cancel();
    drop(group);
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_resolved_group_keeps_no_waker() {
    let (count, gate) = (WakeCount::new(), Gate::new());
    let waker = Waker::from(Arc::clone(&count));
    let mut group = Jobs::new();
    group.queue(waits(&gate, 0));
    assert!(poll_with(&mut group, &waker).is_pending());
    assert!(Arc::strong_count(&count) > 2);
    gate.open(0);
    assert!(poll_with(&mut group, &waker).is_ready());
    assert_eq!(Arc::strong_count(&count), 2, "the waker, and the count itself");
    assert!(poll_with(&mut group, &waker).is_pending());
    assert_eq!(Arc::strong_count(&count), 2);
}

/// A waker that reads the group's stats while it wakes and when it is dropped.
struct Curious {
    handle: Handle<Boxed<'static, usize, &'static str>>,
    wakes: Arc<AtomicUsize>,
}

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, SeqCst);
        let _ = self.handle.stats();
        self.handle.set_limit(self.handle.limit());
        let _ = self.handle.try_go(ready(Ok(0)));
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        let _ = self.handle.stats();
        self.handle.queue(ready(Ok(0)));
    }
}

#[test]
fn no_lock_is_held_while_a_waker_runs_or_is_dropped() {
    let gate = Gate::new();
    let mut group = Jobs::new().with_limit(1);
    let (handle, wakes) = (group.handle(), Arc::<AtomicUsize>::default());
    let curious =
        || Waker::from(Arc::new(Curious { handle: handle.clone(), wakes: Arc::clone(&wakes) }));
    group.queue(waits(&gate, 0));
    let mut first = pin!(handle.go(waits(&gate, 1)));
    let mut second = Box::pin(handle.go(waits(&gate, 2)));
    for _ in 0..2 {
        // Each poll drops the waker of the poll before it.
        assert!(Pin::new(&mut group).poll(&mut Context::from_waker(&curious())).is_pending());
        assert!(first.as_mut().poll(&mut Context::from_waker(&curious())).is_pending());
        assert!(second.as_mut().poll(&mut Context::from_waker(&curious())).is_pending());
    }
    assert_eq!(wakes.load(SeqCst), 0);
    gate.open(0);
    assert_eq!(wakes.load(SeqCst), 1);
    assert!(Pin::new(&mut group).poll(&mut Context::from_waker(&curious())).is_pending());
    assert_eq!(wakes.load(SeqCst), 2);
    drop(second);
    assert!(first.as_mut().poll(&mut Context::from_waker(&curious())).is_ready());
    handle.set_limit(None);
    handle.token().cancel();
    let _ = Pin::new(&mut group).poll(&mut Context::from_waker(&curious()));
    gate.open(1);
    drop(group);
    assert_eq!((handle.stats().running, handle.stats().queued), (0, 0));
}

#[test]
fn threads_that_wake_children_at_any_moment_lose_no_wake_up() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        const CHILDREN: usize = 70;
        const ROUNDS: usize = 200;
        // Each child asks for a wake-up from another thread and relies on it.
        let (send, receive) = std::sync::mpsc::channel::<(Arc<AtomicUsize>, Waker)>();
        let mut group = group;
        for _ in 0..CHILDREN {
            let (send, answered) = (send.clone(), Arc::<AtomicUsize>::default());
            let mut asked = 0;
            group.queue(job(poll_fn(move |cx| {
                if answered.load(SeqCst) == asked {
                    if asked == ROUNDS {
                        return Poll::Ready(Ok(asked));
                    }
                    asked += 1;
                    send.send((Arc::clone(&answered), cx.waker().clone())).unwrap();
                }
                Poll::Pending
            })));
        }
        drop(send);
        let receive = Mutex::new(receive);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    loop {
                        let asked = receive.lock().unwrap().recv();
                        let Ok((answered, waker)) = asked else { break };
                        answered.fetch_add(1, SeqCst);
                        waker.wake();
                    }
                });
            }
            assert_eq!(futures::executor::block_on(&mut group), Ok(()));
            drop(group);
        });
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn threads_that_add_children_at_any_moment_lose_none() {
    let probe = Probe::new();
    let (task_done, group) = (Gate::new(), Jobs::new().with_limit(3));
    let handle = group.handle();
    handle.queue(waits(&task_done, 0));
    std::thread::scope(|threads| {
        let adding: Vec<_> = (0..3)
            .map(|n| {
                let (handle, probe) = (handle.clone(), probe.clone());
                threads.spawn(move || {
                    for i in 0..300 {
                        let child = probe.watch(ready(Ok(i)));
                        if (i + n) % 2 == 0 {
                            handle.queue(child);
                        } else {
                            futures::executor::block_on(handle.go(child)).unwrap();
                        }
                    }
                })
            })
            .collect();
        threads.spawn(move || {
            adding.into_iter().for_each(|thread| thread.join().unwrap());
            task_done.open(0);
        });
        assert_eq!(futures::executor::block_on(group), Ok(()));
    });
    assert_eq!((probe.polls(), probe.drops(), handle.stats().ok), (900, 900, 901));
}

#[test]
fn a_group_whose_own_go_was_forgotten_does_not_wake_itself_for_it() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(1);
    let _handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut go = Box::pin(group.go(waits(&gate, 1)));
    assert!(task.poll(&mut go).is_pending());
    std::mem::forget(go);
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    let wakes = task.wakes();
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(task.wakes(), wakes);
}

#[test]
fn what_a_feeds_stream_has_left_behind_wakes_the_group_no_more() {
    for fed_by_handle in [false, true] {
        let (task, other, tap) = (MockTask::new(), MockTask::new(), Tap::new());
        let mut group = Group::new();
        let handle = group.handle();
        group.queue(job(pending()));
        if fed_by_handle {
            assert!(other.poll(&mut handle.feed(tap.clone())).is_pending());
        } else {
            assert!(task.poll(&mut group.feed(tap.clone())).is_pending());
        }
        assert!(task.poll(&mut group).is_pending());
        tap.put(job(ready(Ok(1))));
        assert_eq!((task.wakes(), other.wakes()), (0, 0));
    }
}

#[test]
fn what_the_body_of_a_scope_has_left_behind_wakes_the_scope_no_more() {
    let (task, cell) = (MockTask::new(), WakerCell::default());
    let keeps = Arc::clone(&cell);
    let mut scope = pin!(Jobs::new().scope(|handle| {
        handle.queue(job(pending()));
        // It is done when it is polled again.
        poll_fn(move |cx| match keeps.lock().unwrap().replace(cx.waker().clone()) {
            None => Poll::Pending,
            Some(_) => Poll::Ready(()),
        })
    }));
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    taken(&cell).wake();
    assert_eq!(task.wakes(), 1);
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    taken(&cell).wake();
    assert_eq!(task.wakes(), 1);
}

#[test]
fn a_deadline_that_is_pending_wakes_no_scope() {
    let task = MockTask::new();
    let mut scope = pin!(Jobs::new().with_deadline(pending::<()>()).scope(|_| pending::<()>()));
    for _ in 0..3 {
        assert!(task.poll_pinned(scope.as_mut()).is_pending());
        assert_eq!(task.wakes(), 0);
    }
}
