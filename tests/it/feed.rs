//! A feed polls its stream only when there is room, and ends with the stream or with the group.

use std::cell::Cell;
use std::future::{pending, ready};
use std::panic::panic_any;
use std::pin::pin;
use std::task::Poll;

use crate::common::{
    DropCounter, Gate, Job, Log, Meter, MockTask, Probe, fails, job, panic_message, waits,
};
use crate::on::Pool;
use errgroup::{Boxed, Child, Children, Group, Reason, Spawned, TryGoError, task as task_of};
use futures::future::{FusedFuture, FutureExt};
use futures::stream;

type Jobs = Group<Boxed<'static, usize, &'static str>>;
type Tap = crate::common::Tap<Job>;

#[test]
fn all_of_a_streams_children_are_admitted_and_counted() {
    fn scenario<C>(group: Group<C>, limit: Option<usize>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group;
        group.set_limit(limit);
        let children = (0..100).map(|n| probe.watch(ready(Ok(n))));
        assert_eq!(task.finish(group.feed(stream::iter(children))), 100);
        let handle = group.handle();
        let children = (0..50).map(|n| probe.watch(ready(Ok(n))));
        let feed = handle.feed(stream::iter(children));
        let both = async { futures::join!(feed, group) };
        assert_eq!(task.finish(both), (50, Ok(())));
        assert_eq!((probe.polls(), probe.drops(), handle.stats().ok), (150, 150, 150));
    }
    for limit in [None, Some(1), Some(7), Some(100)] {
        scenario(Group::new(), limit);
        scenario(Group::local(), limit);
        scenario(Group::unboxed(), limit);
    }
}

#[test]
fn an_empty_stream_feeds_no_child() {
    let task = MockTask::new();
    let mut group = Jobs::new();
    assert_eq!(task.finish(group.feed(stream::empty::<Job>())), 0);
    assert_eq!(task.finish(group.handle().feed(stream::empty::<Job>())), 0);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn the_stream_is_polled_only_when_there_is_room() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, tap) = (MockTask::new(), Gate::new(), Tap::new());
        (0..5).for_each(|n| tap.put(waits(&gate, n)));
        tap.end();
        let mut group = group.with_limit(2);
        {
            let mut feed = pin!(group.feed(tap.clone()));
            for n in 0..4 {
                assert!(task.poll(&mut feed).is_pending());
                assert_eq!(tap.polls(), n + 2);
                gate.open(n);
            }
            // The end is seen only with room, as well.
            assert_eq!(task.poll(&mut feed), Poll::Ready(5));
            assert_eq!(tap.polls(), 6);
        }
        gate.open(4);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn the_end_of_a_stream_is_seen_only_with_room() {
    let (task, feeding, gate, tap) = (MockTask::new(), MockTask::new(), Gate::new(), Tap::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    tap.end();
    let mut feed = pin!(handle.feed(tap.clone()));
    assert!(feeding.poll(&mut feed).is_pending());
    assert_eq!(tap.polls(), 0);
    gate.open(0);
    assert!(task.poll(&mut group).is_pending(), "it waits for room");
    assert_eq!(feeding.wakes(), 1);
    assert_eq!(feeding.poll(&mut feed), Poll::Ready(0));
    assert_eq!(task.wakes(), 1, "no feed waits any more");
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn no_more_children_exist_at_a_time_than_may_run() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, made) = (MockTask::new(), Meter::new());
        let mut group = group.with_limit(3);
        let handle = group.handle();
        let make = |n: usize| {
            let exists = made.enter();
            let mut polls = 0;
            job(std::future::poll_fn(move |cx| {
                let _ = &exists;
                polls += 1;
                cx.waker().wake_by_ref();
                if polls > n % 3 { Poll::Ready(Ok(n)) } else { Poll::Pending }
            }))
        };
        assert_eq!(task.finish(group.feed(stream::iter((0..50).map(make)))), 50);
        assert!(made.peak() <= 3, "{}", made.peak());
        let feed = handle.feed(stream::iter((0..50).map(make)));
        let both = async { futures::join!(feed, group) };
        assert_eq!(task.finish(both), (50, Ok(())));
        assert!(made.peak() <= 3, "{}", made.peak());
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_pending_stream_holds_no_room() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, feeding, tap, gate) =
            (MockTask::new(), MockTask::new(), Tap::new(), Gate::new());
        let mut group = group.with_limit(1);
        let handle = group.handle();
        let mut feed = pin!(handle.feed(tap.clone()));
        assert!(feeding.poll(&mut feed).is_pending());
        assert_eq!(tap.polls(), 1);
        // There is room for other children at once.
        assert!(group.try_go(waits(&gate, 0)).is_ok());
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        // Nor does it hold the group open.
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!(feeding.wakes(), 1);
        assert_eq!(feeding.poll(&mut feed), Poll::Ready(0));
        assert_eq!(tap.polls(), 1);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_feed_woken_by_its_stream_queues_as_a_newcomer() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, feeding, tap, gate) =
            (MockTask::new(), MockTask::new(), Tap::new(), Gate::new());
        let log = Log::new();
        let logs = |what: &'static str| {
            let log = log.clone();
            job(async move {
                log.add(what);
                Ok(0)
            })
        };
        let mut group = group.with_limit(1);
        let handle = group.handle();
        let mut feed = pin!(handle.feed(tap.clone()));
        assert!(feeding.poll(&mut feed).is_pending());
        group.queue(waits(&gate, 0));
        group.queue(logs("queued before it woke"));
        tap.put(logs("fed"));
        assert_eq!(feeding.wakes(), 1);
        assert!(feeding.poll(&mut feed).is_pending());
        assert_eq!(tap.polls(), 1, "there is no room");
        group.queue(logs("queued after it woke"));
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        assert!(task.run(&mut group).is_pending());
        assert_eq!(log.take(), ["queued before it woke"]);
        assert_eq!(feeding.wakes(), 2);
        assert!(feeding.poll(&mut feed).is_pending());
        assert!(task.run(&mut group).is_pending(), "it queues for its next child");
        assert_eq!(log.take(), ["fed", "queued after it woke"]);
        assert_eq!(feeding.wakes(), 3);
        assert!(feeding.poll(&mut feed).is_pending());
        assert_eq!(tap.polls(), 3);
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
        assert_eq!(feeding.poll(&mut feed), Poll::Ready(1));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn the_groups_own_feed_drives_the_children_while_its_stream_is_pending() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, tap, gate, probe) = (MockTask::new(), Tap::new(), Gate::new(), Probe::new());
        let mut group = group;
        group.queue(probe.watch(waits(&gate, 0)));
        group.queue(probe.watch(waits(&gate, 1)));
        let mut feed = pin!(group.feed(tap.clone()));
        assert!(task.poll(&mut feed).is_pending());
        assert_eq!((probe.polls(), tap.polls(), task.wakes()), (2, 1, 0));
        gate.open(0);
        assert_eq!(task.wakes(), 1);
        assert!(task.poll(&mut feed).is_pending());
        // The stream was not woken and is not polled.
        assert_eq!((probe.polls(), probe.drops(), tap.polls(), task.wakes()), (3, 1, 1, 1));
        tap.put(probe.watch(waits(&gate, 2)));
        assert_eq!(task.wakes(), 2);
        assert!(task.poll(&mut feed).is_pending());
        assert_eq!((probe.polls(), tap.polls(), task.wakes()), (4, 3, 2));
        tap.end();
        assert_eq!(task.wakes(), 3);
        assert_eq!(task.poll(&mut feed), Poll::Ready(1));
        assert_eq!(tap.polls(), 4);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_feed_ends_at_once_when_the_group_stops_even_if_its_stream_is_pending() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, tap, sibling) = (MockTask::new(), Gate::new(), Tap::new(), Probe::new());
        let mut group = group;
        group.queue(fails(&gate, 0, "broken"));
        tap.put(sibling.watch(waits(&gate, 1)));
        {
            let mut feed = pin!(group.feed(tap.clone()));
            assert!(task.poll(&mut feed).is_pending());
            assert!(!feed.is_terminated());
            gate.open(0);
            assert_eq!(task.poll(&mut feed), Poll::Ready(1));
            assert!(feed.is_terminated());
            for _ in 0..2 {
                assert!(task.poll(&mut feed).is_pending(), "it is over");
            }
        }
        assert_eq!((sibling.drops(), tap.polls()), (0, 2));
        gate.open(1);
        assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_feed_of_a_stopped_group_never_polls_its_stream() {
    let (task, tap) = (MockTask::new(), Tap::new());
    let mut group = Jobs::new();
    group.token().cancel();
    assert_eq!(task.finish(group.feed(tap.clone())), 0);
    assert_eq!(task.finish(group.handle().feed(tap.clone())), 0);
    assert_eq!(tap.polls(), 0);
}

#[test]
fn a_child_produced_while_the_group_stops_is_dropped_unpolled_and_not_counted() {
    fn scenario<C>(group: Group<C>, own: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group;
        let (token, handle) = (group.token().clone(), group.handle());
        let mut asked = 0;
        let children = stream::poll_fn(|_| {
            asked += 1;
            if asked == 3 {
                token.cancel();
            }
            Poll::Ready(Some(probe.watch(ready(Ok(asked)))))
        });
        let fed = if own {
            task.finish(group.feed(children))
        } else {
            task.finish(handle.feed(children))
        };
        assert_eq!((fed, asked), (2, 3));
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.polls(), probe.drops(), handle.stats().ok), (2, 3, 2));
    }
    for own in [true, false] {
        scenario(Group::new(), own);
        scenario(Group::local(), own);
        scenario(Group::unboxed(), own);
    }
}

#[test]
fn a_stream_is_polled_at_most_4096_times_a_poll() {
    fn scenario<C>(group: Group<C>, own: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, tap) = (MockTask::new(), Tap::new());
        (0..10_000).for_each(|_| tap.put(job(pending())));
        tap.end();
        let mut group = group;
        let handle = group.handle();
        let mut feed: std::pin::Pin<Box<dyn Future<Output = usize> + '_>> = if own {
            Box::pin(group.feed(tap.clone()))
        } else {
            Box::pin(handle.feed(tap.clone()))
        };
        for poll in 1..=2 {
            assert!(task.poll(&mut feed).is_pending());
            assert_eq!((tap.polls(), task.wakes()), (poll * 4096, poll), "it yields");
        }
        assert_eq!(task.poll(&mut feed), Poll::Ready(10_000));
        assert_eq!((tap.polls(), task.wakes()), (10_001, 2));
    }
    for own in [true, false] {
        scenario(Group::new(), own);
        scenario(Group::local(), own);
        scenario(Group::unboxed(), own);
    }
}

#[test]
fn a_stream_that_wakes_itself_and_stays_pending_starves_no_child() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut asked = 0;
    let restless = stream::poll_fn(|cx| {
        asked += 1;
        cx.waker().wake_by_ref();
        Poll::<Option<Job>>::Pending
    });
    let mut group = Jobs::new();
    group.queue(probe.watch(waits(&gate, 0)));
    {
        let mut feed = pin!(group.feed(restless));
        assert!(task.poll(&mut feed).is_pending());
        assert_eq!((probe.polls(), task.wakes()), (1, 1));
        gate.open(0);
        assert!(task.poll(&mut feed).is_pending());
        assert_eq!((probe.polls(), probe.drops(), task.wakes()), (2, 1, 2));
    }
    assert!((2..=2 * 4096).contains(&asked));

    let mut asked = 0;
    let restless = stream::poll_fn(|cx| {
        asked += 1;
        cx.waker().wake_by_ref();
        Poll::<Option<Job>>::Pending
    });
    let (group, task) = (Jobs::new(), MockTask::new());
    {
        let mut feed = pin!(group.handle().feed(restless));
        assert!(task.poll(&mut feed).is_pending());
        assert_eq!(task.wakes(), 1);
    }
    assert!((1..=4096).contains(&asked));
}

#[test]
fn a_stream_that_was_not_woken_is_not_polled() {
    let (task, tap, feeding) = (MockTask::new(), Tap::new(), MockTask::new());
    let group = Jobs::new();
    let handle = group.handle();
    let mut feed = pin!(handle.feed(tap.clone()));
    for _ in 0..5 {
        assert!(feeding.poll(&mut feed).is_pending());
        assert!(task.poll(&mut feed).is_pending());
    }
    assert_eq!(tap.polls(), 1);
    tap.end();
    assert_eq!((feeding.wakes(), task.wakes()), (0, 1), "the task that polled last is woken");
    assert_eq!(task.poll(&mut feed), Poll::Ready(0));
    drop(group);
}

#[test]
fn an_error_among_the_first_children_ends_a_feed_before_the_group_is_filled() {
    for limit in [Some(64), None] {
        let (task, mut asked) = (MockTask::new(), 0);
        let mut group = Group::unboxed();
        group.set_limit(limit);
        let children = (0..1_000_usize).map(|n| {
            asked += 1;
            job(ready(if n == 3 { Err("broken") } else { Ok(n) }))
        });
        let admitted = task.finish(group.feed(stream::iter(children)));
        assert!(admitted < 8, "{admitted} children were admitted before the first was polled");
        assert_eq!(admitted, asked);
        assert_eq!(task.finish(group), Err("broken"));
    }
}

#[test]
fn a_stream_that_has_ended_is_not_polled_again() {
    let (task, tap) = (MockTask::new(), Tap::new());
    let mut group = Jobs::new();
    tap.end();
    let mut feed = pin!(group.feed(tap.clone()));
    assert_eq!(task.poll(&mut feed), Poll::Ready(0));
    for _ in 0..3 {
        assert!(task.poll(&mut feed).is_pending());
    }
    assert_eq!((tap.polls(), task.wakes()), (1, 0));
}

#[test]
fn a_streams_panic_leaves_feed_at_once_and_the_group_runs_on() {
    fn scenario<C>(group: Group<C>, own: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(2);
        let handle = group.handle();
        let mut asked = 0;
        let mut given = probe.clone();
        let wait = gate.clone();
        let children = stream::poll_fn(move |_| {
            asked += 1;
            if asked == 2 {
                panic_any("in the stream");
            }
            Poll::Ready(Some(std::mem::take(&mut given).watch(waits(&wait, 0))))
        });
        if own {
            let mut feed = pin!(group.feed(children));
            assert_eq!(panic_message(|| task.poll(&mut feed)), "in the stream");
            assert!(feed.is_terminated());
            assert!(task.poll(&mut feed).is_pending(), "it is over");
        } else {
            let mut feed = pin!(handle.feed(children));
            assert_eq!(panic_message(|| task.poll(&mut feed)), "in the stream");
            assert!(feed.is_terminated());
            assert!(task.poll(&mut feed).is_pending(), "it is over");
        }
        // No room is lost, nothing is locked, nothing has stopped.
        assert!(!group.is_stopped());
        assert_eq!(group.stats().running, 1);
        assert!(group.try_go(probe.watch(ready(Ok(1)))).is_ok());
        assert!(task.run(&mut group).is_pending());
        assert_eq!(probe.polls(), 2);
        gate.open(0);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.drops(), group.token().reason()), (2, Some(Reason::Finished)));
    }
    for own in [true, false] {
        scenario(Group::new(), own);
        scenario(Group::local(), own);
        scenario(Group::unboxed(), own);
    }
}

#[test]
fn the_waiters_behind_a_streams_panic_move_up() {
    let (task, feeding, going, gate) =
        (MockTask::new(), MockTask::new(), MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut feed = Box::pin(
        handle.feed(stream::poll_fn(|_| -> Poll<Option<Job>> { panic_any("in the stream") })),
    );
    let mut go = pin!(handle.go(waits(&gate, 1)));
    assert!(feeding.poll(&mut feed).is_pending());
    assert!(going.poll(&mut go).is_pending());
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((feeding.wakes(), going.wakes()), (1, 0));
    assert_eq!(panic_message(|| feeding.poll(&mut feed)), "in the stream");
    assert_eq!(going.wakes(), 1, "even before the feed is dropped");
    assert!(going.poll(&mut go).is_ready());
    gate.open(1);
    assert_eq!(task.finish(group), Ok(()));
}

#[test]
fn a_dropped_feed_drops_its_stream_and_keeps_the_children() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, dropped, probe) =
            (MockTask::new(), Gate::new(), DropCounter::default(), Probe::new());
        let mut group = group.with_limit(2);
        let mut n = 0;
        let guard = dropped.guard();
        let children = stream::poll_fn(|_| {
            let _ = &guard;
            n += 1;
            Poll::Ready(Some(probe.watch(waits(&gate, n))))
        });
        {
            let mut feed = pin!(group.feed(children));
            assert!(task.poll(&mut feed).is_pending());
        }
        drop(guard);
        assert_eq!((dropped.get(), probe.drops(), group.stats().running), (1, 0, 2));
        gate.open(1);
        gate.open(2);
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!(probe.drops(), 2);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_dropped_feed_lets_the_waiters_behind_it_move_up() {
    let (task, feeding, going, gate) =
        (MockTask::new(), MockTask::new(), MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut feed = Box::pin(handle.feed(stream::iter([waits(&gate, 1)])));
    let mut go = pin!(handle.go(waits(&gate, 2)));
    assert!(feeding.poll(&mut feed).is_pending());
    assert!(going.poll(&mut go).is_pending());
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    // It has a reservation and is dropped.
    assert_eq!((feeding.wakes(), going.wakes()), (1, 0));
    drop(feed);
    assert_eq!(going.wakes(), 1);
    assert!(going.poll(&mut go).is_ready());
    gate.open(2);
    assert_eq!(task.finish(group), Ok(()));
}

#[test]
fn a_feed_that_waits_for_room_holds_the_group_open() {
    let (task, feeding, gate) = (MockTask::new(), MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut feed = pin!(handle.feed(stream::iter([waits(&gate, 1), waits(&gate, 2)])));
    assert!(feeding.poll(&mut feed).is_pending());
    gate.open(0);
    gate.open(1);
    gate.open(2);
    assert!(task.run(&mut group).is_pending());
    assert!(feeding.run(&mut feed).is_pending());
    assert!(task.run(&mut group).is_pending());
    assert_eq!(feeding.run(&mut feed), Poll::Pending);
    assert!(task.run(&mut group).is_pending(), "it waits for room to poll its stream again");
    assert_eq!(feeding.poll(&mut feed), Poll::Ready(2));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_group_polled_while_a_feed_polls_its_stream_stays_open() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let group = std::cell::RefCell::new(Jobs::new().with_limit(1));
    let handle = group.borrow().handle();
    let mut asked = 0;
    let children = stream::poll_fn(|_| {
        asked += 1;
        // As another thread might.
        assert!(task.poll(&mut *group.borrow_mut()).is_pending());
        assert!(handle.try_go(probe.watch(ready(Ok(9)))).is_err(), "the room is taken");
        Poll::Ready((asked == 1).then(|| probe.watch(ready(Ok(1)))))
    });
    let feeding = MockTask::new();
    let mut feed = pin!(handle.feed(children));
    assert!(feeding.poll(&mut feed).is_pending());
    assert!(task.run(&mut *group.borrow_mut()).is_pending());
    assert_eq!(feeding.poll(&mut feed), Poll::Ready(1));
    assert_eq!(task.poll(&mut *group.borrow_mut()), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (1, 3));
}

#[test]
fn two_feeds_take_turns() {
    let (task, log) = (MockTask::new(), Log::new());
    let group = Jobs::new().with_limit(1);
    let (one, two) = (group.handle(), group.handle());
    let logs = |name: &'static str| {
        let log = log.clone();
        move |n: usize| {
            let log = log.clone();
            job(async move {
                log.add(format!("{name}{n}"));
                Ok(n)
            })
        }
    };
    let first = one.feed(stream::iter((0..4).map(logs("a"))));
    let second = two.feed(stream::iter((0..4).map(logs("b"))));
    let all = async { futures::join!(first, second, group) };
    assert_eq!(task.finish(all), (4, 4, Ok(())));
    // The first feed found room at once and was queued again before the second feed was.
    assert_eq!(log.take(), ["a0", "a1", "b0", "a2", "b1", "a3", "b2", "b3"]);
}

#[test]
fn a_feed_that_waits_for_room_does_not_wake_itself() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (feeding, tap, gate) = (MockTask::new(), Tap::new(), Gate::new());
        let mut group = group.with_limit(1);
        let handle = group.handle();
        let mut feed = pin!(handle.feed(tap.clone()));
        assert!(feeding.poll(&mut feed).is_pending());
        group.queue(waits(&gate, 0));
        // Its stream has woken it; now it waits for room.
        tap.put(waits(&gate, 1));
        assert_eq!(feeding.wakes(), 1);
        for _ in 0..5 {
            assert!(feeding.poll(&mut feed).is_pending());
            assert_eq!(feeding.wakes(), 1);
        }
        // The same while its stream is pending, after it was woken once.
        handle.set_limit(Some(3));
        assert_eq!(feeding.wakes(), 2);
        for _ in 0..5 {
            assert!(feeding.poll(&mut feed).is_pending());
            assert_eq!((feeding.wakes(), tap.polls()), (2, 3));
        }
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_loop_of_feeds_without_a_child_yields() {
    let fed = Cell::new(0);
    let empty = || stream::empty::<std::future::Ready<Result<(), ()>>>();
    let mut group = Group::unboxed();
    let feeds = async {
        while fed.get() < 20_000 && group.feed(empty()).await == 0 {
            fed.set(fed.get() + 1);
        }
    };
    assert!(feeds.now_or_never().is_none(), "it yields");
    assert!(fed.take() <= 4096);

    let scope = Group::unboxed().scope(async |handle| {
        while fed.get() < 20_000 && handle.feed(empty()).await == 0 {
            fed.set(fed.get() + 1);
        }
    });
    assert!(scope.now_or_never().is_none(), "it yields");
    assert!(fed.get() <= 4096);
}

#[test]
fn a_loop_of_short_feeds_polls_their_children_and_yields() {
    const FEEDS: usize = 20_000;
    let fed = Cell::new(0);
    let fails = || stream::iter([async { Err::<(), _>("no") }]);
    let mut group = Group::new();
    let feeds = async {
        while fed.get() < FEEDS && group.feed(fails()).await == 1 {
            fed.set(fed.get() + 1);
        }
    };
    assert!(feeds.now_or_never().is_some());
    assert_eq!(fed.take(), 1, "the first error stops the group");

    let scope = Group::new().scope(async |handle| {
        while fed.get() < FEEDS && handle.feed(fails()).await == 1 {
            fed.set(fed.get() + 1);
        }
    });
    assert!(scope.now_or_never().is_none(), "it yields");
    assert!(fed.get() <= 4096);
}

// === room that is kept while the group's own feed asks its stream ===

/// Makes a child that records its start.
fn starts(log: &Log, name: &'static str) -> Job {
    let log = log.clone();
    job(async move {
        log.add(name);
        Ok(0)
    })
}

#[test]
fn no_other_child_takes_the_room_for_which_a_stream_is_asked() {
    let (task, log) = (MockTask::new(), Log::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    let mut asked = 0;
    let children = stream::poll_fn(|_| {
        asked += 1;
        if asked > 1 {
            return Poll::Ready(None);
        }
        assert!(matches!(handle.try_go(starts(&log, "refused")), Err(TryGoError::AtLimit(_))));
        handle.queue(starts(&log, "queued"));
        let stats = handle.stats();
        assert_eq!((stats.running, stats.queued), (0, 1), "room that is kept is no child");
        Poll::Ready(Some(starts(&log, "fed")))
    });
    assert_eq!(task.finish(group.feed(children)), 1);
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(log.take(), ["fed", "queued"]);
}

#[test]
fn children_that_a_stream_adds_while_it_is_asked_start_before_its_own() {
    let (task, log) = (MockTask::new(), Log::new());
    let mut group = Jobs::new().with_limit(3);
    let handle = group.handle();
    let mut asked = 0;
    let children = stream::poll_fn(|_| {
        asked += 1;
        (asked == 1).then(|| handle.try_go(starts(&log, "added")).expect("there is room"));
        Poll::Ready((asked <= 2).then(|| starts(&log, if asked == 1 { "first" } else { "second" })))
    });
    assert_eq!(task.finish(group.feed(children)), 2);
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(log.take(), ["added", "first", "second"]);
}

#[test]
fn room_goes_to_those_that_wait_if_the_stream_that_is_asked_has_no_child() {
    for end in ["pending", "ended", "panic"] {
        let (task, going, gate) = (MockTask::new(), MockTask::new(), Gate::new());
        let mut group = Jobs::new().with_limit(1);
        let handle = group.handle();
        let mut go = Box::pin(handle.go(waits(&gate, 7)));
        let children = stream::poll_fn(|_| {
            assert!(going.poll(&mut go).is_pending(), "the room is kept");
            match end {
                "pending" => Poll::Pending,
                "ended" => Poll::Ready(None::<Job>),
                _ => panic_any("in the stream"),
            }
        });
        {
            let mut feed = pin!(group.feed(children));
            match end {
                "pending" => assert!(task.poll(&mut feed).is_pending()),
                "ended" => assert_eq!(task.poll(&mut feed), Poll::Ready(0)),
                _ => assert_eq!(panic_message(|| task.poll(&mut feed)), "in the stream"),
            }
        }
        assert_eq!((going.wakes(), handle.stats().running), (1, 0), "{end}");
        assert!(going.poll(&mut go).is_ready(), "{end}");
        gate.open(7);
        assert_eq!(task.finish(group), Ok(()));
    }
}

#[test]
fn a_heavy_child_gives_the_room_back_for_which_its_stream_was_asked() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(2);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    {
        let heavy = task_of(waits(&gate, 1)).weight(2);
        let mut feed = pin!(group.feed(stream::iter([heavy])));
        assert!(task.poll(&mut feed).is_pending(), "the end is seen with room");
        let stats = handle.stats();
        assert_eq!((stats.running, stats.queued), (1, 1), "it does not fit");
    }
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((handle.stats().running, handle.stats().ok), (1, 1));
    assert!(handle.try_go(waits(&gate, 2)).is_err(), "it takes the whole limit");
    gate.open(1);
    assert_eq!(task.finish(group), Ok(()));
}

#[test]
fn a_group_that_is_closed_while_its_feed_asks_takes_the_child() {
    let (task, log) = (MockTask::new(), Log::new());
    let mut group = Jobs::new();
    let handle = group.handle();
    let mut asked = 0;
    let children = stream::poll_fn(|_| {
        asked += 1;
        handle.close();
        Poll::Ready(Some(starts(&log, "fed")))
    });
    assert_eq!(task.finish(group.feed(children)), 1, "the room was its own before");
    assert_eq!((asked, task.finish(group)), (1, Ok(())));
    assert_eq!(log.take(), ["fed"]);
}

#[test]
fn a_fed_child_starts_behind_a_reservation_that_is_not_claimed() {
    let (task, going, gate, log) = (MockTask::new(), MockTask::new(), Gate::new(), Log::new());
    let mut group = Jobs::new().with_limit(2);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    let mut go = Box::pin(handle.go(starts(&log, "went")));
    assert!(going.poll(&mut go).is_pending());
    gate.open(0);
    gate.open(1);
    assert!(task.poll(&mut group).is_pending(), "room is reserved");
    assert_eq!(going.wakes(), 1);
    {
        let mut feed = pin!(group.feed(stream::iter([starts(&log, "fed")])));
        assert!(task.poll(&mut feed).is_pending(), "the end is seen with room");
    }
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((handle.stats().running, log.take()), (1, vec![]), "it waits");
    assert!(going.poll(&mut go).is_ready());
    assert_eq!(task.finish(group), Ok(()));
    assert_eq!(log.take(), ["went", "fed"]);
}

#[test]
fn a_child_that_waits_inside_itself_waits_on_while_room_is_kept() {
    let (task, pool) = (MockTask::new(), Pool::new());
    let mut group = Group::<Spawned<usize, &'static str>>::on(pool.spawn()).with_limit(2);
    let handle = group.handle();
    let outer = handle.clone();
    group.queue(async move {
        outer.go(async { Ok(1) }).await.map_err(|_| "it has stopped")?;
        Ok(0)
    });
    assert!(task.poll(&mut group).is_pending());
    let mut asked = 0;
    let children = stream::poll_fn(|_| {
        asked += 1;
        // As if another thread did so meanwhile.
        pool.poll(0);
        assert_eq!((pool.wakes(0), handle.stats().queued), (0, 0), "the room may be given back");
        Poll::<Option<Job>>::Ready(None)
    });
    assert_eq!(task.finish(group.feed(children)), 0);
    assert_eq!((asked, pool.wakes(0)), (1, 1), "it is");
    pool.poll_all();
    pool.poll_all();
    assert_eq!(task.finish(group), Ok(()));
}
