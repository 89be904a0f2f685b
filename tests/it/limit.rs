//! No more children run at the same time than the limit allows, and it may change at any time.

use std::future::{pending, ready};
use std::pin::{Pin, pin};
use std::task::Poll;

use crate::common::{
    Gate, Job, Log, Meter, MockTask, OnDrop, Probe, Random, job, panic_message, waits, yield_now,
};
use errgroup::{Boxed, Child, Children, Group, Handle, Stopped, TryGoError, task as task_of};
use futures::stream;

type Kind = Boxed<'static, usize, &'static str>;
type Jobs = Group<Kind>;

/// Makes a child that lives for a few polls and is counted during its life.
fn busy(meter: &Meter, polls: usize) -> Job {
    let meter = meter.clone();
    job(async move {
        let _inside = meter.enter();
        for _ in 1..polls {
            yield_now().await;
        }
        Ok(polls)
    })
}

fn ok(result: Result<(), Stopped<Job>>) -> bool {
    result.is_ok()
}

#[test]
fn no_more_children_are_alive_than_the_limit() {
    fn scenario<C>(group: Group<C>, limit: usize)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let meter = Meter::new();
        let mut group = group.with_limit(limit);
        for n in 0..30 {
            group.queue(busy(&meter, n % 4 + 2));
        }
        assert_eq!(MockTask::new().finish(group), Ok(()));
        assert_eq!((meter.peak(), meter.now()), (limit, 0));
    }
    for limit in [1, 2, 3, 7, 30] {
        scenario(Group::new(), limit);
        scenario(Group::local(), limit);
        scenario(Group::unboxed(), limit);
    }
}

#[test]
fn one_limit_holds_for_go_queue_feed_and_handles() {
    let meter = Meter::new();
    let group = Jobs::new().with_limit(2);
    let (first, second) = (group.handle(), group.handle());
    let adding = async {
        for n in 0..10 {
            assert!(ok(first.go(busy(&meter, n % 3 + 1)).await));
            first.queue(busy(&meter, 2));
        }
    };
    let feeding = second.feed(stream::iter((0..10).map(|n| busy(&meter, n % 4 + 1))));
    let all = async { futures::join!(adding, feeding, group) };
    assert_eq!(MockTask::new().finish(all), ((), 10, Ok(())));
    assert_eq!(meter.peak(), 2);
    assert_eq!(first.stats().ok, 30);
}

#[test]
fn go_and_feed_of_the_group_itself_keep_the_limit() {
    let meter = Meter::new();
    let mut group = Jobs::new().with_limit(2);
    let all = async {
        for n in 0..10 {
            assert!(ok(group.go(busy(&meter, n % 3 + 1)).await));
        }
        let children = stream::iter((0..10).map(|n| busy(&meter, n % 4 + 1)));
        assert_eq!(group.feed(children).await, 10);
        group.await
    };
    assert_eq!(MockTask::new().finish(all), Ok(()));
    assert_eq!(meter.peak(), 2);
}

#[test]
fn without_a_limit_all_children_run_at_once() {
    let (task, meter) = (MockTask::new(), Meter::new());
    let mut group = Jobs::new();
    assert_eq!(group.limit(), None);
    for _ in 0..500 {
        group.queue(busy(&meter, 2));
    }
    assert_eq!(group.stats().running, 500);
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(meter.peak(), 500);
}

#[test]
fn a_limit_of_zero_is_refused_and_the_message_says_what_to_do() {
    let message = panic_message(|| Jobs::new().with_limit(0));
    assert!(message.contains("at least 1"), "{message}");
    assert!(message.contains("with_limit"), "{message}");
}

#[test]
fn a_newcomer_is_polled_only_when_the_child_before_it_is_dropped() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let log = Log::new();
        let mut group = group.with_limit(1);
        for n in 0..3 {
            let (start, end) = (log.clone(), log.clone());
            let gone = OnDrop(move || end.add(format!("{n} is gone")));
            // Not an `async` block, which would drop what it holds in its last poll already.
            group.queue(job(std::future::poll_fn(move |_| {
                let _ = &gone;
                start.add(format!("{n} is polled"));
                Poll::Ready(Ok(n))
            })));
        }
        assert_eq!(MockTask::new().finish(group), Ok(()));
        let expected: Vec<_> =
            (0..3).flat_map(|n| [format!("{n} is polled"), format!("{n} is gone")]).collect();
        assert_eq!(log.take(), expected);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn with_room_go_admits_at_its_first_poll_and_its_child_begins() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(3);
        for n in 0..3 {
            let admitted = task.poll_pinned(pin!(group.go(probe.watch(waits(&gate, n)))));
            assert!(matches!(admitted, Poll::Ready(Ok(()))));
            assert_eq!((group.stats().running, probe.polls()), (n + 1, n + 1));
        }
        (0..3).for_each(|n| gate.open(n));
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.polls(), task.wakes()), (6, 0));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_go_begins_its_child_though_others_came_later_and_many_yield() {
    for (later, before, priority) in [(1, 0, 0), (100, 0, 0), (0, 1, 1), (0, 100, 1)] {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = Jobs::new();
        // They take all that one poll may poll.
        for _ in 0..40 {
            group.queue(job(async {
                loop {
                    yield_now().await;
                }
            }));
        }
        assert!(task.poll(&mut group).is_pending());
        let handle = group.handle();
        handle.set_limit(Some(0));
        (0..before).for_each(|_| handle.queue(job(pending())));
        let own = task_of(probe.watch(pending())).priority(priority);
        let mut go = group.go(own);
        assert!(task.poll(&mut go).is_pending());
        (0..later).for_each(|_| handle.queue(job(pending())));
        handle.set_limit(None);
        assert!(matches!(task.poll(&mut go), Poll::Ready(Ok(()))));
        assert_eq!(probe.polls(), 1, "{later} came later, {before} before");
    }
}

#[test]
fn a_go_polls_each_child_once() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new();
    group.queue(probe.watch(waits(&gate, 0)));
    group.queue(waits(&gate, 1));
    assert!(task.run(&mut group).is_pending());
    // One that is woken before the `go`, and one by the newcomer.
    gate.open(1);
    let opens = gate.clone();
    let child = job(async move {
        opens.open(0);
        pending().await
    });
    assert!(matches!(task.poll(&mut group.go(child)), Poll::Ready(Ok(()))));
    assert_eq!((probe.polls(), group.stats().ok), (1, 1));
    assert!(task.run(&mut group).is_pending());
    assert_eq!((probe.polls(), group.stats().ok), (2, 2));
}

#[test]
fn a_go_that_is_not_polled_admits_no_child() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    drop(group.go(probe.watch(ready(Ok(1)))));
    drop(group.handle().go(probe.watch(ready(Ok(2)))));
    assert_eq!((probe.polls(), probe.drops()), (0, 2));
    assert_eq!(group.stats(), Default::default());
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn without_room_go_drives_the_running_children() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(2);
        group.queue(probe.watch(waits(&gate, 0)));
        group.queue(probe.watch(waits(&gate, 1)));
        let newcomer = Probe::new();
        {
            let mut go = pin!(group.go(newcomer.watch(ready(Ok(2)))));
            assert!(task.poll(&mut go).is_pending());
            assert_eq!((probe.polls(), task.wakes()), (2, 0));
            // No child was woken, so none is polled.
            assert!(task.poll(&mut go).is_pending());
            assert_eq!(probe.polls(), 2);
            gate.open(1);
            assert_eq!(task.wakes(), 1);
            assert!(matches!(task.poll(&mut go), Poll::Ready(Ok(()))));
            assert_eq!((probe.polls(), probe.drops()), (3, 1));
            assert_eq!((newcomer.polls(), newcomer.drops()), (1, 1), "it has begun");
            assert!(task.poll(&mut go).is_pending(), "it is over");
        }
        assert_eq!(group.stats().running, 1);
        gate.open(0);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_child_that_go_polled_runs_on_in_the_groups_own_poll() {
    let (driver, task, gate) = (MockTask::new(), MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    group.queue(waits(&gate, 0));
    assert!(driver.poll_pinned(pin!(group.go(waits(&gate, 1)))).is_pending());
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    assert_eq!((driver.wakes(), task.wakes()), (0, 1));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())), "the dropped `go` left no trace");
}

#[test]
fn try_go_admits_with_room_and_gives_the_child_back_without() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group.with_limit(1);
        assert!(group.try_go(probe.watch(ready(Ok(1)))).is_ok());
        let refused = Probe::new();
        let Err(TryGoError::AtLimit(child)) = group.try_go(refused.watch(ready(Ok(2)))) else {
            panic!("there is no room");
        };
        let Err(TryGoError::AtLimit(child)) = group.handle().try_go(child) else {
            panic!("there is no room");
        };
        assert_eq!((probe.polls(), refused.polls(), refused.drops()), (0, 0, 0));
        assert_eq!(task.finish(child), Ok(2));
        assert_eq!(task.finish(&mut group), Ok(()));
        assert_eq!((group.stats().ok, refused.polls()), (1, 1));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_raised_limit_admits_waiters_at_once() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = group.with_limit(1);
        for n in 0..6 {
            group.queue(waits(&gate, n));
        }
        assert!(task.poll(&mut group).is_pending());
        group.handle().set_limit(Some(3));
        // Before any poll:
        assert_eq!((group.stats().running, group.stats().queued), (3, 3));
        assert_eq!(group.limit(), Some(3));
        assert_eq!(task.wakes(), 1);
        group.set_limit(None);
        assert_eq!((group.stats().running, group.stats().queued), (6, 0));
        assert_eq!((group.limit(), group.stats().limit), (None, None));
        (0..6).for_each(|n| gate.open(n));
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn children_that_a_raised_limit_admitted_take_room_before_they_are_polled() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(1);
        for n in 0..3 {
            group.queue(probe.watch(waits(&gate, n)));
        }
        assert!(task.poll(&mut group).is_pending());
        group.set_limit(Some(3));
        assert_eq!((group.stats().running, probe.polls()), (3, 1));
        let Err(TryGoError::AtLimit(child)) = group.try_go(job(ready(Ok(3)))) else {
            panic!("there is no room");
        };
        // With room for one more, they are taken in before it.
        group.set_limit(Some(4));
        assert!(group.try_go(child).is_ok());
        assert!(group.try_go(job(ready(Ok(4)))).is_err());
        assert_eq!((group.stats().running, group.stats().queued, probe.polls()), (4, 0, 1));
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((group.stats().running, probe.polls()), (3, 3));
        (0..3).for_each(|n| gate.open(n));
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!(group.stats().ok, 4);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_limit_that_is_raised_twice_between_polls_admits_each_child_once() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1).collect();
    (0..5).for_each(|n| group.queue(waits(&gate, n)));
    assert!(task.poll(&mut group).is_pending());
    for (limit, running) in [(Some(2), 2), (Some(4), 4), (None, 5)] {
        group.set_limit(limit);
        assert_eq!((group.stats().running, group.stats().queued), (running, 5 - running));
    }
    assert!(task.poll(&mut group).is_pending());
    (0..5).for_each(|n| gate.open(n));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(vec![0, 1, 2, 3, 4])));
}

#[test]
fn a_raised_limit_wakes_waiters_in_go_and_feed() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let (going, feeding) = (MockTask::new(), MockTask::new());
    let mut go = pin!(handle.go(waits(&gate, 1)));
    let mut feed = pin!(handle.feed(stream::iter([waits(&gate, 2)])));
    assert!(going.poll(&mut go).is_pending());
    assert!(feeding.poll(&mut feed).is_pending());
    assert!(task.poll(&mut group).is_pending());
    std::thread::scope(|threads| {
        threads.spawn(|| handle.set_limit(Some(3)));
    });
    assert_eq!(going.wakes(), 1);
    assert!(matches!(going.poll(&mut go), Poll::Ready(Ok(()))));
    // There is room for the feed as well.
    assert_eq!(feeding.wakes(), 1);
    let _ = feeding.run(&mut feed);
    assert_eq!(group.stats().running, 3);
}

#[test]
fn a_lowered_limit_lets_running_children_finish_and_admits_when_there_is_room_again() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = group.with_limit(3);
        for n in 0..5 {
            group.queue(waits(&gate, n));
        }
        assert!(task.poll(&mut group).is_pending());
        group.set_limit(Some(1));
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((group.stats().running, group.stats().queued), (3, 2));
        for (open, running) in [(0, 2), (1, 1)] {
            gate.open(open);
            assert!(task.poll(&mut group).is_pending());
            assert_eq!((group.stats().running, group.stats().queued), (running, 2));
        }
        assert!(matches!(group.try_go(waits(&gate, 9)), Err(TryGoError::AtLimit(_))));
        gate.open(2);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((group.stats().running, group.stats().queued), (1, 1));
        gate.open(3);
        gate.open(4);
        assert_eq!(task.finish(group), Ok(()));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_limit_of_some_zero_pauses_admission() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        group.queue(waits(&gate, 0));
        group.set_limit(Some(0));
        assert_eq!(group.limit(), Some(0));
        group.queue(probe.watch(ready(Ok(1))));
        assert!(matches!(group.try_go(waits(&gate, 9)), Err(TryGoError::AtLimit(_))));
        gate.open(0);
        assert!(task.poll(&mut group).is_pending(), "the queued child holds it open");
        assert_eq!((group.stats().ok, group.stats().queued), (1, 1));
        assert_eq!(task.wakes(), 0);
        {
            let going = MockTask::new();
            let handle = group.handle();
            let mut go = pin!(handle.go(probe.watch(ready(Ok(2)))));
            assert!(going.poll(&mut go).is_pending());
            assert!(task.poll(&mut group).is_pending());
            group.set_limit(Some(1));
            assert_eq!((group.stats().running, probe.polls()), (1, 0));
            assert_eq!(task.wakes(), 1);
            assert!(task.poll(&mut group).is_pending(), "one waiter is left");
            assert_eq!(going.wakes(), 1);
            assert!(matches!(going.poll(&mut go), Poll::Ready(Ok(()))));
        }
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.polls(), probe.drops()), (2, 2));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_paused_group_without_waiters_resolves() {
    let task = MockTask::new();
    let mut group = Jobs::new();
    group.set_limit(Some(0));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_lowered_limit_revokes_reserved_room() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let going = MockTask::new();
    let mut go = pin!(handle.go(probe.watch(ready(Ok(1)))));
    assert!(going.poll(&mut go).is_pending());
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    // The waiter has a reservation and has not claimed it yet.
    assert_eq!(going.wakes(), 1);
    handle.set_limit(Some(0));
    assert!(going.poll(&mut go).is_pending(), "no child may run now");
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((going.wakes(), probe.polls()), (1, 0));
    handle.set_limit(Some(1));
    assert_eq!(going.wakes(), 2, "it is woken once more");
    assert!(going.poll(&mut go).is_ready());
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(probe.polls(), 1);
}

#[test]
fn a_lowered_limit_holds_though_hundreds_of_gos_have_their_turn() {
    for early in [0, 1, 7, 300] {
        let (task, meter) = (MockTask::new(), Meter::new());
        let mut group = Jobs::new().with_limit(1);
        group.set_limit(Some(0));
        let handle = group.handle();
        let mut gos: Vec<_> =
            (0..300).map(|_| (MockTask::new(), 0, Box::pin(handle.go(busy(&meter, 2))))).collect();
        for (going, _, go) in &mut gos {
            assert!(going.poll(go).is_pending());
        }
        assert!(task.poll(&mut group).is_pending());
        handle.set_limit(None);
        assert!(gos.iter().all(|(going, ..)| going.wakes() == 1), "each has its turn");
        handle.set_limit(Some(2));
        assert!(task.wakes() > 0, "the group takes back what the call has not");
        // Some come before the group is polled, at which it is not known which two keep their turn.
        for (going, seen, go) in &mut gos[..early] {
            *seen = going.wakes();
            assert!(going.poll(go).is_pending());
        }
        // From now on nothing is polled that was not woken.
        let mut seen = 0;
        while !gos.is_empty() {
            let before = (task.wakes(), gos.len());
            if seen != task.wakes() {
                seen = task.wakes();
                assert!(task.poll(&mut group).is_pending() || gos.is_empty());
            }
            let mut polled = false;
            gos.retain_mut(|(going, seen, go)| {
                if *seen == going.wakes() {
                    return true;
                }
                (*seen, polled) = (going.wakes(), true);
                going.poll(go).is_pending()
            });
            let progress = polled || before != (task.wakes(), gos.len());
            assert!(progress, "{} of them wait for ever", gos.len());
        }
        assert_eq!(task.finish(group), Ok(()));
        assert_eq!(meter.peak(), 2, "{early} came early");
    }
}

type BoxedGo = Pin<Box<dyn Future<Output = Result<(), Stopped<Job>>>>>;

/// Makes a paused group at which so many `go`s of a handle wait.
fn paused(waiting: usize, child: impl Fn() -> Job) -> (Jobs, Handle<Kind>, Vec<BoxedGo>) {
    let group = Jobs::new();
    let handle = group.handle();
    handle.set_limit(Some(0));
    let mut gos: Vec<BoxedGo> =
        (0..waiting).map(|_| Box::pin(handle.go(child())) as BoxedGo).collect();
    let going = MockTask::new();
    gos.iter_mut().for_each(|go| assert!(going.poll(go).is_pending()));
    (group, handle, gos)
}

#[test]
fn a_child_whose_go_loses_its_turn_among_hundreds_is_still_known_to_wait() {
    for others in [0, 40, 130, 300] {
        let (task, going, gate) = (MockTask::new(), MockTask::new(), Gate::new());
        let mut group = Jobs::new().with_limit(2);
        let (handle, inner) = (group.handle(), group.handle());
        group.queue(job(async move {
            inner.go(job(ready(Ok(1)))).await.map_err(|_| "stopped")?;
            Ok(0)
        }));
        group.queue(waits(&gate, 0));
        assert!(task.run(&mut group).is_pending());
        let mut gos: Vec<_> = (0..others).map(|_| Box::pin(handle.go(job(ready(Ok(3)))))).collect();
        gos.iter_mut().for_each(|go| assert!(going.poll(go).is_pending()));
        // Each has its turn, and the child is polled before it is known which lose it.
        handle.set_limit(None);
        handle.set_limit(Some(1));
        assert!(task.run(&mut group).is_pending());
        gate.open(0);
        let ends = (0..1_000).any(|_| {
            gos.retain_mut(|go| going.poll(go).is_pending());
            task.run(&mut group).is_ready()
        });
        assert!(ends, "with {others} others the child waits for ever");
    }
}

#[test]
fn a_feed_that_has_its_turn_among_hundreds_ends_at_a_close_though_the_group_is_paused() {
    let group = Jobs::new();
    let handle = group.handle();
    handle.set_limit(Some(0));
    let (task, feeding, going) = (MockTask::new(), MockTask::new(), MockTask::new());
    let mut feed = pin!(handle.feed(stream::iter([job(ready(Ok(1)))])));
    assert!(feeding.poll(&mut feed).is_pending());
    let mut gos: Vec<_> = (0..200).map(|_| Box::pin(handle.go(job(ready(Ok(3)))))).collect();
    gos.iter_mut().for_each(|go| assert!(going.poll(go).is_pending()));
    handle.set_limit(None);
    handle.set_limit(Some(0));
    assert!(feeding.poll(&mut feed).is_pending());
    let wakes = feeding.wakes();
    handle.close();
    assert!(feeding.wakes() > wakes);
    assert_eq!(feeding.poll(&mut feed), Poll::Ready(0));
    assert!(gos.iter_mut().all(|go| matches!(going.poll(go), Poll::Ready(Err(_)))));
    assert_eq!(task.finish(group), Ok(()));
}

#[test]
fn a_child_that_takes_no_room_keeps_no_lowered_limit_from_being_kept() {
    for has_slot in [false, true] {
        let (task, going, meter) = (MockTask::new(), MockTask::new(), Meter::new());
        let (mut group, handle, mut gos) = paused(200, || busy(&meter, 2));
        let slot = has_slot.then(|| {
            let mut reserve = pin!(handle.reserve());
            assert!(going.poll(&mut reserve).is_pending());
            handle.set_limit(None);
            going.poll(&mut reserve)
        });
        handle.set_limit(None);
        handle.set_limit(Some(1));
        // It goes behind those whose turn is still to be taken back.
        let light = task_of(ready(Ok(0))).weight(0).priority(1);
        match slot {
            Some(Poll::Ready(Ok(slot))) => assert!(slot.go(light).is_ok()),
            Some(_) => panic!("there was room"),
            None => handle.queue(light),
        }
        for _ in 0..2_000 {
            let _ = task.run(&mut group);
            gos.retain_mut(|go| going.poll(go).is_pending());
        }
        assert_eq!((gos.len(), meter.peak()), (0, 1), "with a slot: {has_slot}");
    }
}

#[test]
fn a_reservation_that_takes_no_room_keeps_none_before_it_from_being_taken_back() {
    let task = MockTask::new();
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(job(pending()));
    assert!(task.poll(&mut group).is_pending());
    let mut first = handle.go(task_of(job(pending())));
    let mut weightless = [0, 0].map(|weight| handle.go(task_of(job(pending())).weight(weight)));
    assert!(task.poll(&mut first).is_pending());
    weightless.iter_mut().for_each(|go| assert!(task.poll(go).is_pending()));
    // They have their turn, and are not polled before they lose it.
    handle.set_limit(Some(2));
    handle.set_limit(Some(1));
    assert!(task.poll(&mut first).is_pending());
    weightless.iter_mut().for_each(|go| assert!(task.poll(go).is_pending(), "it overtakes"));
    assert_eq!(group.stats().running, 1);
    handle.set_limit(Some(2));
    assert!(task.poll(&mut first).is_ready());
    weightless.iter_mut().for_each(|go| assert!(task.poll(go).is_ready()));
}

#[test]
fn hundreds_of_them_keep_it_neither_and_stay_behind_it() {
    let task = MockTask::new();
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    let gate = Gate::new();
    let end = gate.wait(0);
    group.queue(job(async move {
        end.await;
        Ok(1)
    }));
    assert!(task.poll(&mut group).is_pending());
    let mut first = handle.go(task_of(job(pending())));
    let light = |_| Box::pin(handle.go(task_of(job(pending())).weight(0)));
    let mut weightless: Vec<_> = (0..300).map(light).collect();
    assert!(task.poll(&mut first).is_pending());
    weightless.iter_mut().for_each(|go| assert!(task.poll(go).is_pending()));
    handle.set_limit(Some(2));
    handle.set_limit(Some(1));
    // Before it is known whether it keeps its turn.
    assert!(task.poll(&mut weightless[100]).is_pending());
    (0..20).for_each(|_| assert!(task.poll(&mut group).is_pending()));
    assert!(task.poll(&mut first).is_pending(), "beyond the limit");
    weightless.iter_mut().for_each(|go| assert!(task.poll(go).is_pending(), "it overtakes"));
    assert_eq!(group.stats().running, 1);
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    assert!(task.poll(&mut first).is_ready());
    weightless.iter_mut().for_each(|go| assert!(task.poll(go).is_ready()));
}

#[test]
fn the_groups_own_go_is_told_of_the_turn_that_it_keeps_among_hundreds() {
    let (mut group, handle, mut gos) = paused(100, || job(ready(Ok(3))));
    let (task, going) = (MockTask::new(), MockTask::new());
    let mut go = pin!(group.go(job(ready(Ok(9)))));
    assert!(task.poll(&mut go).is_pending());
    let mut later: Vec<_> = (0..200).map(|_| Box::pin(handle.go(job(ready(Ok(3)))))).collect();
    later.iter_mut().for_each(|go| assert!(going.poll(go).is_pending()));
    handle.set_limit(None);
    handle.set_limit(Some(1));
    let mut seen = 0;
    for _ in 0..2_000 {
        if seen != task.wakes() {
            seen = task.wakes();
            if let Poll::Ready(answer) = task.poll(&mut go) {
                return assert!(ok(answer));
            }
        }
        gos.retain_mut(|go| going.poll(go).is_pending());
        later.retain_mut(|go| going.poll(go).is_pending());
    }
    panic!("it waits for ever");
}

#[test]
fn the_limit_may_change_from_another_thread_while_children_run() {
    let meter = Meter::new();
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    for _ in 0..2000 {
        group.queue(busy(&meter, 3));
    }
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 0..200 {
                handle.set_limit(Some(round % 5));
                std::thread::yield_now();
            }
            handle.set_limit(Some(5));
        });
        assert_eq!(futures::executor::block_on(group), Ok(()));
    });
    assert!(meter.peak() <= 5, "{}", meter.peak());
    assert_eq!((handle.stats().ok, handle.stats().running), (2000, 0));
}

#[test]
fn a_child_may_change_its_groups_limit() {
    let task = MockTask::new();
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(job(async move {
        handle.set_limit(Some(3));
        assert_eq!(handle.stats().running, 3);
        handle.set_limit(Some(0));
        handle.set_limit(None);
        assert_eq!(handle.stats().running, 6);
        Ok(0)
    }));
    for n in 1..6 {
        group.queue(ready(Ok(n)));
    }
    assert_eq!(task.finish(group), Ok(()));
}

#[test]
fn a_child_that_raises_the_limit_admits_a_waiter_in_the_groups_own_go_or_feed() {
    fn raises(gate: &Gate, handle: &errgroup::Handle<Boxed<'static, usize, &'static str>>) -> Job {
        let (wait, handle) = (gate.wait(0), handle.clone());
        job(async move {
            wait.await;
            handle.set_limit(Some(2));
            pending().await
        })
    }
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(raises(&gate, &handle));
    {
        let mut go = pin!(group.go(pending()));
        assert!(task.poll(&mut go).is_pending());
        gate.open(0);
        assert!(task.run(&mut go).is_ready());
    }
    assert_eq!(handle.stats().running, 2);

    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(raises(&gate, &handle));
    let mut feed = pin!(group.feed(stream::repeat_with(pending)));
    assert!(task.poll(&mut feed).is_pending());
    gate.open(0);
    assert!(task.run(&mut feed).is_pending());
    assert_eq!(handle.stats().running, 2);
}

#[test]
fn a_running_child_that_never_finishes_keeps_its_room() {
    let task = MockTask::new();
    let mut group = Jobs::new().with_limit(1);
    group.queue(pending());
    let go = group.go(ready(Ok(1)));
    assert!(task.run(&mut pin!(go)).is_pending());
    assert_eq!(group.stats().running, 1);
}

#[test]
fn a_lowered_limit_refuses_the_next_try_go() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(5);
    (0..2).for_each(|n| assert!(group.try_go(waits(&gate, n)).is_ok()));
    group.set_limit(Some(3));
    assert!(group.try_go(waits(&gate, 2)).is_ok());
    assert!(matches!(group.try_go(waits(&gate, 9)), Err(TryGoError::AtLimit(_))));
    (0..3).for_each(|n| gate.open(n));
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn whatever_its_limit_was_a_group_without_handles_admits_exactly_if_there_is_room() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = Jobs::new();
        assert!(group.try_go(waits(&gate, 0)).is_ok());
        let (mut limit, mut queued, mut next) = (None, Vec::new(), 1);
        // The children that run, each with its weight.
        let mut running = vec![(0, 1)];
        let taken = |running: &[(usize, usize)]| running.iter().map(|it| it.1).sum::<usize>();
        for _ in 0..200 {
            match random.below(10) {
                0 => {
                    limit = [None, Some(0), Some(1), Some(1), Some(2), Some(9)][random.below(6)];
                    group.set_limit(limit);
                }
                1 => {
                    queued.push(next);
                    group.queue(waits(&gate, next));
                    next += 1;
                }
                2..6 => {
                    let weight = if seed % 3 == 0 && random.below(20) == 0 { 2 } else { 1 };
                    let fits = limit.is_none_or(|limit| taken(&running) + weight <= limit);
                    let child = task_of(waits(&gate, next)).weight(weight);
                    assert_eq!(group.try_go(child).is_ok(), fits && queued.is_empty());
                    if fits && queued.is_empty() {
                        running.push((next, weight));
                    }
                    next += 1;
                }
                _ if running.is_empty() => {}
                // One that waits keeps the group from resolving.
                _ if limit == Some(0) && running.len() == 1 && queued.is_empty() => {}
                _ => {
                    let (child, _) = running.swap_remove(random.below(running.len()));
                    gate.open(child);
                    if running.is_empty() && queued.is_empty() {
                        assert!(task.run(&mut group.go(waits(&gate, next))).is_ready());
                        running.push((next, 1));
                        next += 1;
                    }
                }
            }
            // Those that were queued start first.
            while !queued.is_empty() && limit.is_none_or(|limit| taken(&running) < limit) {
                running.push((queued.remove(0), 1));
            }
            assert!(task.run(&mut group).is_pending());
            let stats = group.stats();
            assert_eq!((stats.running, stats.queued), (running.len(), queued.len()));
        }
    }
}

#[test]
fn a_builder_that_makes_room_gives_it_to_the_queue() {
    // The first child waits for the second.
    fn queue(group: &mut Jobs, gate: &Gate, key: Option<&'static str>) {
        let opens = gate.clone();
        let children = [
            waits(gate, 0),
            job(async move {
                opens.open(0);
                Ok(0)
            }),
        ];
        for child in children {
            match key {
                None => group.queue(child),
                Some(key) => group.queue(task_of(child).key(key)),
            }
        }
    }

    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    queue(&mut group, &gate, None);
    let mut group = group.with_limit(2);
    assert_eq!((group.stats().running, group.stats().queued), (2, 0));
    assert!(task.run(&mut group).is_ready());

    // Its state is shared after that.
    let gate = Gate::new();
    let mut group = Jobs::new().with_limit(1);
    queue(&mut group, &gate, None);
    let mut group = group.with_limit(2);
    let _handle = group.handle();
    assert!(task.run(&mut group).is_ready());

    // It is shared before.
    let gate = Gate::new();
    let mut group = Jobs::new().with_limit(1);
    let _handle = group.handle();
    queue(&mut group, &gate, None);
    assert!(task.run(&mut group.with_limit(2)).is_ready());

    let gate = Gate::new();
    let mut group = Jobs::new().with_key_limit(1);
    queue(&mut group, &gate, Some("a"));
    assert!(task.run(&mut group.with_key_limit(2)).is_ready());
}
