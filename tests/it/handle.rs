//! What a handle promises: it adds children from elsewhere, in order and within the limit, and
//! no waiter is forgotten.

use std::future::{Future, pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::common::{
    Calls, DropCounter, Fixture, Gate, Job, Log, MockTask, Tap, is_ok, is_stopped, job,
    logged_child, waker_fn, yield_now,
};
use errgroup::{Boxed, Group, Handle, LocalBoxed, Plain, Reason, TryGoError, Verdict};
use futures::StreamExt;
use futures::future::FusedFuture;
use futures::stream;

type Kind = Boxed<'static, usize, &'static str>;
type Ready = std::future::Ready<Result<usize, &'static str>>;

// === the handle itself ===

#[test]
fn a_handle_is_clone_and_crosses_threads_if_its_children_may() {
    fn anywhere<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn clone<T: Clone>(_: &T) {}

    anywhere(&Group::<Kind>::new().handle());
    anywhere(&Group::<Plain<Job>>::unboxed().handle());
    clone(&Group::<LocalBoxed<'_, usize, &'static str>>::local().handle());
}

#[test]
fn go_and_feed_do_not_borrow_the_handle() {
    fn to_another_task<T: Send + 'static>(future: T) -> T {
        future
    }
    let (go, feed, closed) = {
        let group = Group::<Kind>::new();
        let handle = group.handle();
        (
            to_another_task(handle.go(async { Ok(1) })),
            to_another_task(handle.feed(stream::iter([ready(Ok(2))]))),
            to_another_task(handle.closed()),
        )
    };
    let task = MockTask::new();
    assert!(is_stopped(task.run(&mut { go })));
    assert_eq!(task.run(&mut { feed }), Poll::Ready(0));
    assert_eq!(task.run(&mut { closed }), Poll::Ready(()));
}

#[test]
fn clones_are_handles_of_the_same_group() {
    let mut f = Fixture::new(1);
    let (first, second) = (f.handle.clone(), f.handle.clone());
    drop(f.handle.clone());
    assert!(first.try_go(f.child(0)).is_ok());
    assert!(matches!(second.try_go(f.child(1)), Err(TryGoError::AtLimit(_))));
    assert_eq!(first.stats(), second.stats());
    assert_eq!(first.stats(), f.group.stats());
    assert_eq!(first.token(), second.token());
    assert_eq!(first.token(), f.group.token());
    second.set_limit(Some(7));
    assert_eq!((first.limit(), f.group.limit()), (Some(7), Some(7)));
    f.gate.open(0);
    assert!(f.poll().is_ready());
}

#[test]
fn children_that_borrow_are_added_through_a_handle_of_a_local_group() {
    let seen = std::cell::RefCell::new(Vec::new());
    let seen = &seen;
    let group = Group::local().with_limit(1);
    let handle = group.handle();
    for n in 0..3 {
        handle.queue(async move {
            seen.borrow_mut().push(n);
            Ok::<usize, &str>(0)
        });
    }
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(*seen.borrow(), [0, 1, 2]);
}

// === go ===

#[test]
fn with_room_a_go_admits_at_its_first_poll_and_polls_no_child() {
    let mut f = Fixture::new(2);
    let mut go = f.handle.go(f.child(0));
    assert_eq!(f.running(), 0);
    assert!(is_ok(MockTask::new().poll(&mut go)));
    assert_eq!(f.running(), 1);
    assert_eq!(f.log.take(), [""; 0]);
    assert!(f.poll().is_pending());
    assert_eq!(f.log.take(), ["+0"]);
}

#[test]
fn the_group_is_woken_once_for_a_child_that_a_handle_admits() {
    let mut f = Fixture::new(4);
    f.handle.queue(f.child(0));
    assert!(f.poll().is_pending());
    assert_eq!(f.task.wakes(), 0);

    assert!(is_ok(MockTask::new().poll(&mut f.handle.go(f.child(1)))));
    assert_eq!(f.task.wakes(), 1);
    assert!(f.handle.try_go(f.child(2)).is_ok());
    f.handle.queue(f.child(3));
    assert_eq!(f.task.wakes(), 1, "it was woken before");
    assert!(f.poll().is_pending());
    assert_eq!(f.log.take(), ["+0", "+1", "+2", "+3"]);
    assert_eq!(f.task.wakes(), 1);
}

#[test]
fn waiters_and_queries_do_not_wake_the_group() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    assert!(f.poll().is_pending());

    let other = MockTask::new();
    let mut go = f.handle.go(f.child(1));
    let mut behind = f.handle.go(f.child(2));
    assert!(other.poll(&mut go).is_pending());
    assert!(other.poll(&mut behind).is_pending());
    f.handle.queue(f.child(3));
    assert!(f.handle.try_go(f.child(4)).is_err());
    let mut feed = f.handle.feed(stream::iter([f.child(5)]));
    assert!(other.poll(&mut feed).is_pending());
    let _ = (f.handle.stats(), f.handle.limit(), f.handle.is_stopped());
    let _ = (f.handle.clone(), f.handle.closed());
    f.handle.set_limit(Some(1));
    drop(behind);
    drop(feed);
    assert_eq!(f.task.wakes(), 0);
    assert_eq!(other.wakes(), 0);
}

#[test]
fn the_child_of_a_waiting_go_is_not_accepted_yet() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let mut go = f.handle.go(f.child(1));
    assert!(MockTask::new().poll(&mut go).is_pending());
    let stats = f.handle.stats();
    assert_eq!((stats.running, stats.queued, stats.dropped), (1, 0, 0));
    drop(go);
    assert_eq!(f.handle.stats(), stats);
    f.gate.open(0);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    assert_eq!(f.log.take(), ["-1", "+0", "-0"]);
}

#[test]
fn a_go_that_was_never_polled_leaves_no_trace() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let before = f.handle.stats();
    let unpolled = f.handle.go(f.child(1));
    let mut polled = f.handle.go(f.child(2));
    assert!(MockTask::new().poll(&mut polled).is_pending());
    assert_eq!(f.handle.stats(), before);
    f.gate.open(0);
    assert!(f.poll().is_pending());
    assert!(is_ok(MockTask::new().poll(&mut polled)), "it is first in the queue");
    f.gate.open(2);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    drop(unpolled);
    assert_eq!(f.handle.stats().ok, 2);
    assert_eq!(f.handle.stats().dropped, 0);
}

#[test]
fn room_wakes_the_first_waiter_and_no_other() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let tasks = [MockTask::new(), MockTask::new(), MockTask::new()];
    let mut goes = [1, 2, 3].map(|n| f.handle.go(f.child(n)));
    for (task, go) in tasks.iter().zip(&mut goes) {
        assert!(task.poll(go).is_pending());
    }
    f.gate.open(0);
    assert!(f.poll().is_pending());
    assert_eq!(tasks.each_ref().map(MockTask::wakes), [1, 0, 0]);

    assert!(tasks[1].poll(&mut goes[1]).is_pending(), "no overtaking");
    assert!(is_ok(tasks[0].poll(&mut goes[0])));
    assert_eq!(tasks.each_ref().map(MockTask::wakes), [1, 0, 0]);
    assert_eq!(f.running(), 1);
}

#[test]
fn room_for_several_waiters_reaches_all_of_them() {
    let mut f = Fixture::new(3);
    for n in 0..3 {
        f.handle.queue(f.child(n));
    }
    let tasks = [MockTask::new(), MockTask::new(), MockTask::new()];
    let mut goes = [3, 4, 5].map(|n| f.handle.go(f.child(n)));
    for (task, go) in tasks.iter().zip(&mut goes) {
        assert!(task.poll(go).is_pending());
    }
    for n in 0..3 {
        f.gate.open(n);
    }
    assert!(f.poll().is_pending());
    // Each is polled only if it was woken.
    for (task, go) in tasks.iter().zip(&mut goes) {
        assert_eq!(task.wakes(), 1);
        assert!(is_ok(task.poll(go)));
    }
    assert_eq!(f.running(), 3);
}

#[test]
fn a_go_that_moves_to_another_task_wakes_the_one_that_polled_it_last() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let (first, second) = (MockTask::new(), MockTask::new());
    let mut go = f.handle.go(f.child(1));
    assert!(first.poll(&mut go).is_pending());
    assert!(second.poll(&mut go).is_pending());
    f.gate.open(0);
    assert!(f.poll().is_pending());
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert!(is_ok(second.poll(&mut go)));
}

#[test]
fn a_go_with_a_reservation_that_moves_to_another_task_is_admitted_there() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let mut go = f.handle.go(f.child(1));
    assert!(MockTask::new().poll(&mut go).is_pending());
    f.gate.open(0);
    assert!(f.poll().is_pending());
    assert!(is_ok(MockTask::new().poll(&mut go)));
}

#[test]
fn a_waiter_with_a_revoked_reservation_is_woken_again() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let task = MockTask::new();
    let mut go = f.handle.go(f.child(1));
    assert!(task.poll(&mut go).is_pending());
    f.gate.open(0);
    assert!(f.poll().is_pending());
    assert_eq!(task.wakes(), 1);

    f.handle.set_limit(Some(0));
    assert!(task.poll(&mut go).is_pending());
    f.handle.set_limit(Some(1));
    assert_eq!(task.wakes(), 2);
    assert!(is_ok(task.poll(&mut go)));
}

#[test]
fn a_stop_gives_the_child_back_unpolled() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let task = MockTask::new();
    let mut waits = f.handle.go(f.child(1));
    let mut fresh = f.handle.go(f.child(2));
    assert!(task.poll(&mut waits).is_pending());
    assert!(f.poll().is_pending());
    f.log.take();
    f.handle.token().cancel();
    for (number, go) in [(1, &mut waits), (2, &mut fresh)] {
        let Poll::Ready(Err(stopped)) = task.poll(go) else {
            panic!("it has stopped");
        };
        assert_eq!(f.log.take(), [""; 0], "neither polled nor dropped");
        let mut child = stopped.into_inner();
        f.gate.open(number);
        assert_eq!(task.poll(&mut child), Poll::Ready(Ok(number)));
        drop(child);
        f.log.take();
    }
    assert_eq!(f.handle.stats().dropped, 0);
}

#[test]
fn a_go_is_fused() {
    let f = Fixture::new(1);
    let task = MockTask::new();
    let mut go = f.handle.go(f.child(0));
    assert!(!go.is_terminated());
    assert!(is_ok(task.poll(&mut go)));
    assert!(go.is_terminated());
    assert!(task.poll(&mut go).is_pending());

    f.handle.token().cancel();
    let mut go = f.handle.go(f.child(1));
    assert!(is_stopped(task.poll(&mut go)));
    assert!(go.is_terminated());
    assert!(task.poll(&mut go).is_pending());
    assert_eq!(task.wakes(), 0);
}

// === try_go and queue ===

#[test]
fn try_go_gives_the_child_back_if_there_is_no_room() {
    let mut f = Fixture::new(1);
    assert!(f.handle.try_go(f.child(0)).is_ok());
    let Err(TryGoError::AtLimit(child)) = f.handle.try_go(f.child(1)) else {
        panic!("there is no room");
    };
    assert_eq!(f.log.take(), [""; 0]);
    f.gate.open(0);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    assert!(matches!(f.handle.try_go(child), Err(TryGoError::Stopped(_))));
}

#[test]
fn neither_try_go_nor_go_overtakes_a_waiter() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let task = MockTask::new();
    let mut go = f.handle.go(f.child(1));
    assert!(task.poll(&mut go).is_pending());
    f.gate.open(0);
    assert!(f.poll().is_pending());
    assert_eq!(f.running(), 0, "there is room");
    assert!(matches!(f.handle.try_go(f.child(2)), Err(TryGoError::AtLimit(_))));
    assert!(matches!(f.group.try_go(ready(Ok(3))), Err(TryGoError::AtLimit(_))));
    let newcomer = MockTask::new();
    let mut behind = f.handle.go(f.child(4));
    assert!(newcomer.poll(&mut behind).is_pending());
    assert!(is_ok(task.poll(&mut go)));
    assert_eq!(newcomer.wakes(), 0);
}

#[test]
fn queue_does_not_overtake_a_waiter() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let task = MockTask::new();
    let mut go = f.handle.go(f.child(1));
    assert!(task.poll(&mut go).is_pending());
    f.gate.open(0);
    assert!(f.poll().is_pending());
    f.handle.queue(f.child(2));
    assert_eq!((f.running(), f.queued()), (0, 1));
    f.log.take();
    assert!(is_ok(task.poll(&mut go)));
    f.gate.open(1);
    assert!(f.poll().is_pending());
    assert_eq!(f.log.take(), ["+1", "-1", "+2"]);
}

#[test]
fn queue_admits_at_the_call_if_there_is_room() {
    let f = Fixture::new(2);
    for n in 0..3 {
        f.handle.queue(f.child(n));
    }
    assert_eq!((f.running(), f.queued()), (2, 1));
}

#[test]
fn children_queued_when_the_group_stops_are_dropped_unpolled_and_counted() {
    let mut f = Fixture::new(1);
    for n in 0..3 {
        f.handle.queue(f.child(n));
    }
    assert!(f.poll().is_pending());
    f.handle.token().cancel();
    f.handle.queue(f.child(3));
    assert_eq!(f.log.take(), ["+0", "-3"], "after a stop: dropped at the call");
    assert!(f.poll().is_pending());
    assert_eq!(f.log.take(), ["-1", "-2"]);
    let stats = f.handle.stats();
    assert_eq!((stats.running, stats.queued, stats.dropped), (1, 0, 3));
    f.gate.open(0);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    assert_eq!((f.handle.stats().ok, f.handle.stats().dropped), (1, 3));
}

// === feed ===

#[test]
fn a_feed_polls_its_stream_only_when_there_is_room() {
    let mut f = Fixture::new(2);
    let made = AtomicUsize::new(0);
    let (gate, log) = (&f.gate, &f.log);
    let items = stream::iter((0..5).map(|n| {
        made.fetch_add(1, Ordering::SeqCst);
        logged_child(n, gate, log)
    }));
    let made = || made.load(Ordering::SeqCst);
    let task = MockTask::new();
    let mut feed = pin!(f.handle.feed(items));
    assert_eq!(made(), 0);
    assert!(task.poll_pinned(feed.as_mut()).is_pending());
    assert_eq!(made(), 2);
    for n in 0..5 {
        assert!(f.task.poll(&mut f.group).is_pending());
        assert_eq!((made(), f.handle.stats().running), ((n + 2).min(5), 2.min(5 - n)));
        f.gate.open(n);
        let wakes = task.wakes();
        assert!(f.task.poll(&mut f.group).is_pending());
        assert_eq!(made(), (n + 2).min(5), "the stream was not polled yet");
        assert_eq!(task.wakes(), wakes + 1);
        let fed = task.poll_pinned(feed.as_mut());
        if n < 3 {
            assert!(fed.is_pending());
        } else if n == 3 {
            assert_eq!(fed, Poll::Ready(5), "the end is seen with room");
            break;
        }
    }
    f.gate.open(4);
    assert_eq!(f.task.poll(&mut f.group), Poll::Ready(Ok(())));
    assert_eq!(f.handle.stats().ok, 5);
}

#[test]
fn a_feed_with_a_pending_stream_holds_no_room_and_no_position() {
    let mut f = Fixture::new(1);
    let task = MockTask::new();
    let tap = Tap::new();
    let mut feed = f.handle.feed(tap.clone());
    assert!(task.poll(&mut feed).is_pending());
    assert_eq!(tap.polls(), 1);
    assert!(f.handle.try_go(f.child(0)).is_ok(), "there is no waiter");

    // It is queued as a newcomer once its stream has woken it.
    f.handle.queue(f.child(1));
    tap.put(f.child(2));
    assert_eq!(task.wakes(), 1);
    assert!(task.poll(&mut feed).is_pending());
    assert_eq!(tap.polls(), 1, "there is no room");
    f.handle.queue(f.child(3));
    for n in 0..4 {
        f.gate.open(n);
        let _ = f.task.run(&mut f.group);
        let _ = task.poll(&mut feed);
    }
    assert_eq!(f.log.take(), ["+0", "-0", "+1", "-1", "+2", "-2", "+3", "-3"]);
}

#[test]
fn a_stream_that_ends_late_is_seen_to_end_only_with_room() {
    let mut f = Fixture::new(1);
    let task = MockTask::new();
    let tap = Tap::<Ready>::new();
    let mut feed = f.handle.feed(tap.clone());
    assert!(task.poll(&mut feed).is_pending());
    f.handle.queue(f.child(0));
    tap.end();
    assert!(task.poll(&mut feed).is_pending());
    assert_eq!(tap.polls(), 1);
    f.gate.open(0);
    assert!(f.poll().is_pending(), "the feed waits for room");
    assert_eq!(task.poll(&mut feed), Poll::Ready(0));
    assert_eq!(f.task.wakes(), 1, "it was the last that held the group open");
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
}

#[test]
fn a_feed_does_not_poll_its_stream_again_before_a_wake_up() {
    let f = Fixture::new(1);
    let task = MockTask::new();
    let tap = Tap::<Ready>::new();
    let mut feed = f.handle.feed(tap.clone());
    for _ in 0..3 {
        assert!(task.poll(&mut feed).is_pending());
    }
    assert_eq!(tap.polls(), 1);
}

#[test]
fn a_feed_polls_its_stream_a_bounded_number_of_times_a_poll() {
    let group = Group::unboxed();
    let handle = group.handle();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let endless = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::SeqCst);
        job(ready(Ok(0)))
    });
    let task = MockTask::new();
    let mut feed = handle.feed(endless);
    for polls in 1..=3 {
        assert!(task.poll(&mut feed).is_pending());
        assert_eq!(asked.load(Ordering::SeqCst), 4096 * polls);
        assert_eq!(task.wakes(), polls, "it has yielded");
    }
    drop(group);
    assert_eq!(task.poll(&mut feed), Poll::Ready(3 * 4096));
}

#[test]
fn a_stop_ends_a_feed_even_if_its_stream_is_pending() {
    for waits in [false, true] {
        let mut f = Fixture::new(1);
        let drops = DropCounter::default();
        let guard = drops.guard();
        let task = MockTask::new();
        let items = stream::iter([f.child(0)]).chain(stream::pending()).map(move |child| {
            let _ = &guard;
            child
        });
        let mut feed = f.handle.feed(items);
        if !waits {
            f.handle.set_limit(None);
        }
        assert!(task.poll(&mut feed).is_pending());
        assert!(f.poll().is_pending());
        f.handle.token().cancel();
        assert_eq!(task.wakes(), 1);
        assert_eq!(task.poll(&mut feed), Poll::Ready(1));
        assert!(feed.is_terminated());
        assert!(task.poll(&mut feed).is_pending());
        drop(feed);
        assert_eq!(drops.get(), 1);
    }
}

#[cfg(feature = "std")]
#[test]
fn a_stream_that_panics_leaves_the_feed_and_holds_nothing() {
    let mut f = Fixture::new(1);
    let task = MockTask::new();
    let mut feed = f.handle.feed(stream::poll_fn(|_| -> Poll<Option<Ready>> {
        panic!("the stream is broken");
    }));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.poll(&mut feed)));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "the stream is broken");
    assert!(!f.handle.is_stopped());
    assert!(task.poll(&mut feed).is_pending());
    assert!(f.handle.try_go(f.child(0)).is_ok(), "the room is back");
    f.gate.open(0);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
}

#[test]
fn a_stream_may_use_the_handle() {
    let mut f = Fixture::new(1);
    let handle = f.handle.clone();
    let items = stream::iter(0..3).map(move |n| {
        // The room that the feed holds during the poll of its stream is taken.
        assert!(handle.try_go(ready(Ok(9))).is_err());
        handle.queue(ready(Ok(10 + n)));
        ready(Ok(n))
    });
    let task = MockTask::new();
    let mut feed = pin!(f.handle.feed(items));
    for _ in 0..3 {
        let _ = task.poll_pinned(feed.as_mut());
        let _ = f.task.run(&mut f.group);
    }
    assert!(task.poll_pinned(feed.as_mut()).is_pending() || f.handle.stats().ok == 6);
    let _ = f.task.run(&mut f.group);
    let _ = task.poll_pinned(feed.as_mut());
    let _ = f.task.run(&mut f.group);
    assert_eq!(f.handle.stats().ok, 6);
}

// === what holds a group open ===

#[test]
fn a_handle_by_itself_does_not_keep_its_group_open() {
    let mut f = Fixture::new(1);
    let clone = f.handle.clone();
    let go = f.handle.go(f.child(0));
    let feed = f.handle.feed(stream::iter([f.child(1)]));
    let closed = f.handle.closed();
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    drop((clone, go, feed, closed));
}

#[test]
fn a_waiter_in_a_polled_go_holds_the_group_open() {
    let mut f = Fixture::new(1);
    let task = MockTask::new();
    f.handle.queue(f.child(0));
    let mut go = f.handle.go(f.child(1));
    assert!(task.poll(&mut go).is_pending());
    f.gate.open(0);
    f.gate.open(1);
    assert!(f.poll().is_pending());
    assert_eq!(f.running(), 0);
    assert!(is_ok(task.poll(&mut go)));
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    assert_eq!(f.handle.stats().ok, 2);
}

#[test]
fn a_waiter_in_a_polled_feed_holds_the_group_open() {
    let mut f = Fixture::new(1);
    let task = MockTask::new();
    f.handle.queue(f.child(0));
    let mut feed = f.handle.feed(stream::iter([f.child(1)]));
    assert!(task.poll(&mut feed).is_pending());
    f.gate.open(0);
    f.gate.open(1);
    assert!(f.poll().is_pending());
    assert!(task.poll(&mut feed).is_pending());
    assert!(f.poll().is_pending(), "the feed waits for room to poll its stream again");
    assert_eq!(task.poll(&mut feed), Poll::Ready(1));
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    assert_eq!(f.handle.stats().ok, 2);
}

#[test]
fn a_feed_with_a_pending_stream_does_not_hold_the_group_open() {
    let mut f = Fixture::new(1);
    let task = MockTask::new();
    let tap = Tap::<Ready>::new();
    let mut feed = f.handle.feed(tap.clone());
    assert!(task.poll(&mut feed).is_pending());
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    assert_eq!(task.wakes(), 1, "it is woken by the end");
    assert_eq!(task.poll(&mut feed), Poll::Ready(0));
    assert_eq!(tap.polls(), 1);
}

#[test]
fn a_waiter_holds_a_paused_group_open_until_a_stop() {
    let mut f = Fixture::new(1);
    f.handle.set_limit(Some(0));
    let task = MockTask::new();
    let mut go = f.handle.go(f.child(0));
    assert!(task.poll(&mut go).is_pending());
    assert!(f.poll().is_pending());
    f.handle.token().cancel();
    assert_eq!(f.task.wakes(), 1);
    assert_eq!(f.poll(), Poll::Ready(Ok(())), "even before the go is dropped");
    assert_eq!(task.wakes(), 1);
    assert!(is_stopped(task.poll(&mut go)));
}

#[test]
fn a_queued_child_holds_a_paused_group_open() {
    let mut f = Fixture::new(1);
    f.handle.set_limit(Some(0));
    f.handle.queue(f.child(0));
    assert!(f.poll().is_pending());
    f.gate.open(0);
    f.handle.set_limit(Some(1));
    assert_eq!(f.task.wakes(), 1);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
}

#[test]
fn the_last_waiter_that_held_the_group_open_wakes_it_when_it_is_dropped() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let tasks = [MockTask::new(), MockTask::new()];
    let mut first = f.handle.go(f.child(1));
    let mut second = f.handle.go(f.child(2));
    assert!(tasks[0].poll(&mut first).is_pending());
    assert!(tasks[1].poll(&mut second).is_pending());
    f.gate.open(0);
    assert!(f.poll().is_pending());
    let wakes = f.task.wakes();
    drop(first);
    assert_eq!(tasks[1].wakes(), 1, "the next moves up");
    assert_eq!(f.task.wakes(), wakes, "the other waiter holds it open");
    drop(second);
    assert_eq!(f.task.wakes(), wakes + 1);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
}

#[test]
fn a_waiting_feed_that_is_dropped_wakes_the_group_it_held_open() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let task = MockTask::new();
    let mut feed = f.handle.feed(stream::iter([f.child(1)]));
    assert!(task.poll(&mut feed).is_pending());
    f.gate.open(0);
    assert!(f.poll().is_pending());
    let wakes = f.task.wakes();
    drop(feed);
    assert_eq!(f.task.wakes(), wakes + 1);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
}

#[test]
fn a_feed_that_stalls_wakes_the_group_it_held_open() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let task = MockTask::new();
    let mut feed = f.handle.feed(stream::pending::<Ready>());
    assert!(task.poll(&mut feed).is_pending());
    f.gate.open(0);
    assert!(f.poll().is_pending());
    let wakes = f.task.wakes();
    assert!(task.poll(&mut feed).is_pending());
    assert_eq!(f.task.wakes(), wakes + 1);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    assert_eq!(task.poll(&mut feed), Poll::Ready(0));
}

// === the queue ===

#[test]
fn admission_is_in_order_over_the_group_and_its_handles() {
    let mut f = Fixture::new(1);
    let other = f.handle.clone();
    let task = MockTask::new();
    f.group.queue(f.child(0));
    let mut go = f.handle.go(f.child(1));
    assert!(task.poll(&mut go).is_pending());
    f.group.queue(logged_child(2, &f.gate, &f.log));
    let mut feed = other.feed(stream::iter([f.child(3), f.child(8)]));
    assert!(task.poll(&mut feed).is_pending());
    other.queue(f.child(4));
    let mut last = other.go(f.child(6));
    {
        let child = logged_child(5, &f.gate, &f.log);
        let mut own = f.group.go(child);
        assert!(f.task.poll(&mut own).is_pending());
        assert!(task.poll(&mut last).is_pending());
        f.handle.queue(logged_child(7, &f.gate, &f.log));
        let mut admitted = [false; 4];
        for n in 0..9 {
            f.gate.open(n);
            for _ in 0..8 {
                admitted[0] |= is_ok(task.poll(&mut go));
                admitted[1] |= task.poll(&mut feed).is_ready();
                admitted[2] |= !own.is_terminated() && is_ok(f.task.poll(&mut own));
                admitted[3] |= is_ok(task.poll(&mut last));
            }
        }
        // Once the group's own `go` is done, only the group polls the children.
        assert!(admitted[0] && admitted[2]);
    }
    for _ in 0..8 {
        let _ = f.task.run(&mut f.group);
        let _ = task.poll(&mut last);
        let _ = task.poll(&mut feed);
    }
    let entered = f.log.take();
    let entered: Vec<_> = entered.iter().filter_map(|entry| entry.strip_prefix('+')).collect();
    // The feed's second child came when the feed was polled again: behind the rest.
    assert_eq!(entered, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[test]
fn a_feeds_child_is_admitted_before_later_waiters() {
    let mut f = Fixture::new(2);
    let task = MockTask::new();
    f.handle.queue(f.child(0));
    f.handle.queue(f.child(1));
    let mut feed = f.handle.feed(stream::iter([f.child(2)]));
    assert!(task.poll(&mut feed).is_pending());
    f.handle.queue(f.child(3));
    f.gate.open(0);
    f.gate.open(1);
    assert!(f.poll().is_pending());
    f.log.take();
    // There is room for both.
    assert_eq!(task.poll(&mut feed), Poll::Pending);
    assert_eq!((f.running(), f.queued()), (2, 0));
    assert!(f.poll().is_pending());
    assert_eq!(f.log.take(), ["+2", "+3"]);
}

#[test]
fn a_child_that_claims_while_an_earlier_feed_polls_its_stream_starts_after_the_feeds_child() {
    let mut f = Fixture::new(2);
    let (task, other) = (MockTask::new(), Arc::new(MockTask::new()));
    f.handle.queue(f.child(0));
    f.handle.queue(f.child(1));
    let behind = Arc::new(std::sync::Mutex::new(None));
    let (waiting, behind_task) = (Arc::clone(&behind), Arc::clone(&other));
    let child = f.child(2);
    let mut feed = f.handle.feed(stream::iter([child]).map(move |child| {
        if let Some(go) = waiting.lock().unwrap().as_mut() {
            assert!(is_ok(behind_task.poll(go)), "there is room for both");
        }
        child
    }));
    assert!(task.poll(&mut feed).is_pending());
    let mut go = f.handle.go(f.child(3));
    assert!(other.poll(&mut go).is_pending());
    *behind.lock().unwrap() = Some(go);
    f.gate.open(0);
    f.gate.open(1);
    assert!(f.poll().is_pending());
    assert_eq!(other.wakes(), 1);
    let _ = task.poll(&mut feed);
    assert_eq!((f.running(), other.wakes()), (2, 1));
    f.log.take();
    assert!(f.poll().is_pending());
    assert_eq!(f.log.take(), ["+2", "+3"]);
}

#[test]
fn the_index_is_the_position_in_the_order_of_admission() {
    let (log, gate) = (Log::new(), Gate::new());
    let told = log.clone();
    let indices = Calls::new(move |child, result| {
        told.add(format!("{}: {}", child.index(), result.unwrap()));
        Verdict::Continue
    });
    let group: Group<Kind, _> = Group::new().with_limit(2).with_policy(indices);
    let mut group = group;
    let handle = group.handle();
    let task = MockTask::new();
    let child = |n| {
        let wait = gate.wait(n);
        async move {
            wait.await;
            Ok(n)
        }
    };
    assert!(handle.try_go(child(10)).is_ok());
    group.queue(child(11));
    let mut go = handle.go(child(12));
    assert!(task.poll(&mut go).is_pending());
    group.queue(child(13));
    gate.open(11);
    assert!(task.poll(&mut group).is_pending());
    assert!(is_ok(task.poll(&mut go)));
    for n in [10, 13, 12] {
        gate.open(n);
        let _ = task.run(&mut group);
    }
    assert_eq!(log.take(), ["1: 11", "0: 10", "3: 13", "2: 12"]);
}

#[test]
fn a_dropped_waiter_lets_those_behind_it_move_up() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let tasks = [MockTask::new(), MockTask::new()];
    let mut first = f.handle.go(f.child(1));
    assert!(tasks[0].poll(&mut first).is_pending());
    f.handle.queue(f.child(2));
    let mut third = f.handle.go(f.child(3));
    assert!(tasks[1].poll(&mut third).is_pending());
    f.gate.open(0);
    f.gate.open(2);
    assert!(f.poll().is_pending());
    assert_eq!((f.running(), f.queued()), (0, 1));

    let wakes = f.task.wakes();
    drop(first);
    assert_eq!((f.running(), f.queued()), (1, 0), "at once");
    assert_eq!(f.task.wakes(), wakes + 1);
    assert!(f.poll().is_pending());
    assert_eq!(tasks[1].wakes(), 1);
    assert!(is_ok(tasks[1].poll(&mut third)));
}

#[test]
fn a_waiter_dropped_from_the_middle_of_the_queue_wakes_no_other() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    assert!(f.poll().is_pending());
    let task = MockTask::new();
    let mut goes = [1, 2, 3].map(|n| f.handle.go(f.child(n)));
    for go in &mut goes {
        assert!(task.poll(go).is_pending());
    }
    let [mut first, second, mut third] = goes;
    drop(second);
    assert_eq!((task.wakes(), f.task.wakes()), (0, 0));
    f.gate.open(0);
    f.gate.open(1);
    assert!(f.poll().is_pending());
    assert!(is_ok(task.poll(&mut first)));
    assert!(f.poll().is_pending());
    assert!(is_ok(task.poll(&mut third)));
}

#[test]
fn a_dropped_go_of_the_group_lets_a_handles_go_move_up() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let other = MockTask::new();
    let mut behind = f.handle.go(f.child(1));
    {
        let mut own = f.group.go(ready(Ok(9)));
        assert!(f.task.poll(&mut own).is_pending());
        assert!(other.poll(&mut behind).is_pending());
        f.gate.open(0);
        // The group's own `go` is not polled again.
    }
    assert!(f.poll().is_pending());
    assert_eq!(other.wakes(), 1);
    assert!(is_ok(other.poll(&mut behind)));
}

#[test]
fn a_go_of_the_group_queues_behind_a_handles_go_and_is_woken_in_its_turn() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    let other = MockTask::new();
    let mut ahead = f.handle.go(f.child(1));
    assert!(other.poll(&mut ahead).is_pending());
    let mut own = f.group.go(ready(Ok(2)));
    assert!(f.task.poll(&mut own).is_pending());
    f.gate.open(0);
    assert!(f.task.poll(&mut own).is_pending());
    assert_eq!(other.wakes(), 1);
    let wakes = f.task.wakes();
    drop(ahead);
    assert_eq!(f.task.wakes(), wakes + 1);
    assert!(is_ok(f.task.poll(&mut own)));
}

// === the limit ===

#[test]
fn a_raised_limit_admits_waiters_at_once() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    f.handle.queue(f.child(1));
    f.handle.queue(f.child(2));
    let task = MockTask::new();
    let mut go = f.handle.go(f.child(3));
    assert!(task.poll(&mut go).is_pending());
    assert!(f.poll().is_pending());

    f.handle.set_limit(Some(2));
    assert_eq!((f.running(), f.queued()), (2, 1));
    assert_eq!((f.task.wakes(), task.wakes()), (1, 0));
    f.handle.set_limit(None);
    assert_eq!((f.running(), f.queued()), (3, 0));
    assert_eq!((f.task.wakes(), task.wakes()), (1, 1));
    assert!(is_ok(task.poll(&mut go)));
    assert_eq!(f.handle.limit(), None);
    assert_eq!(f.handle.stats().limit, None);
}

#[test]
fn a_lowered_limit_lets_running_children_finish() {
    let mut f = Fixture::new(3);
    for n in 0..5 {
        f.handle.queue(f.child(n));
    }
    assert!(f.poll().is_pending());
    f.handle.set_limit(Some(1));
    assert_eq!((f.running(), f.queued()), (3, 2));
    for (n, running) in [(0, 2), (1, 1), (2, 1), (3, 1)] {
        f.gate.open(n);
        assert!(f.poll().is_pending());
        assert_eq!(f.running(), running);
    }
    f.gate.open(4);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    assert_eq!(f.handle.stats().ok, 5);
}

#[test]
fn a_limit_of_0_pauses_admission() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    f.handle.set_limit(Some(0));
    assert_eq!(f.handle.limit(), Some(0));
    f.handle.queue(f.child(1));
    assert!(f.handle.try_go(f.child(2)).is_err());
    f.gate.open(0);
    assert!(f.poll().is_pending());
    assert_eq!((f.running(), f.queued()), (0, 1));
    f.gate.open(1);
    f.handle.set_limit(Some(1));
    assert_eq!(f.task.wakes(), 1);
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
}

#[test]
fn a_child_that_raises_the_limit_lets_the_groups_own_go_through() {
    let mut f = Fixture::new(1);
    let (handle, gate) = (f.handle.clone(), f.gate.clone());
    f.group.queue(async move {
        gate.wait(0).await;
        handle.set_limit(Some(2));
        gate.wait(1).await;
        Ok(0)
    });
    let mut go = f.group.go(ready(Ok(1)));
    assert!(f.task.run(&mut go).is_pending());
    f.gate.open(0);
    assert!(is_ok(f.task.run(&mut go)), "there is room now");
}

#[test]
fn a_child_that_raises_the_limit_lets_the_groups_own_feed_go_on() {
    let mut f = Fixture::new(1);
    let (handle, gate) = (f.handle.clone(), f.gate.clone());
    f.group.queue(async move {
        gate.wait(0).await;
        handle.set_limit(None);
        gate.wait(1).await;
        Ok(0)
    });
    let mut feed = f.group.feed(stream::iter([ready(Ok(1)), ready(Ok(2))]));
    assert!(f.task.run(&mut feed).is_pending());
    f.gate.open(0);
    assert_eq!(f.task.run(&mut feed), Poll::Ready(2), "there is room now");
}

#[test]
fn a_child_that_drops_a_waiter_lets_the_groups_own_go_through() {
    let mut f = Fixture::new(1);
    let mut ahead = f.handle.go(ready(Ok(9)));
    f.handle.set_limit(Some(0));
    assert!(MockTask::new().poll(&mut ahead).is_pending());
    f.handle.set_limit(Some(1));
    // `ahead` is queued and has a reservation. A child that runs already drops it.
    let (handle, gate) = (f.handle.clone(), f.gate.clone());
    drop(ahead);
    let mut ahead = handle.go(ready(Ok(9)));
    let slot = Arc::new(std::sync::Mutex::new(None));
    let held = Arc::clone(&slot);
    f.group.queue(async move {
        gate.wait(0).await;
        drop(held.lock().unwrap().take());
        gate.wait(1).await;
        Ok(0)
    });
    assert!(MockTask::new().poll(&mut ahead).is_pending());
    *slot.lock().unwrap() = Some(ahead);
    let mut own = f.group.go(ready(Ok(1)));
    assert!(f.task.run(&mut own).is_pending());
    handle.set_limit(Some(2));
    assert!(f.task.run(&mut own).is_pending(), "the other is first");
    f.gate.open(0);
    assert!(is_ok(f.task.run(&mut own)), "it is first in the queue");
}

// === a stop ===

#[test]
fn a_cancel_alone_wakes_all_waiters() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    assert!(f.poll().is_pending());
    let tasks = [MockTask::new(), MockTask::new(), MockTask::new(), MockTask::new()];
    let mut first = f.handle.go(f.child(1));
    let mut second = f.handle.go(f.child(2));
    let mut waits = f.handle.feed(stream::iter([f.child(3)]));
    assert!(tasks[0].poll(&mut first).is_pending());
    assert!(tasks[1].poll(&mut second).is_pending());
    assert!(tasks[2].poll(&mut waits).is_pending());
    f.handle.set_limit(None);
    // A fourth waits for its stream.
    drop((first, second, waits));
    let mut stalled = f.handle.feed(stream::pending::<Ready>());
    assert!(tasks[3].poll(&mut stalled).is_pending());
    f.handle.set_limit(Some(1));
    let mut first = f.handle.go(f.child(1));
    let mut second = f.handle.go(f.child(2));
    let mut waits = f.handle.feed(stream::iter([f.child(3)]));
    assert!(tasks[0].poll(&mut first).is_pending());
    assert!(tasks[1].poll(&mut second).is_pending());
    assert!(tasks[2].poll(&mut waits).is_pending());
    let before = tasks.each_ref().map(MockTask::wakes);

    assert!(f.group.token().cancel());
    let after = tasks.each_ref().map(MockTask::wakes);
    for (before, after) in before.into_iter().zip(after) {
        assert!(after > before, "without a poll of the group");
    }
    assert!(f.handle.is_stopped());
    assert!(is_stopped(tasks[0].poll(&mut first)));
    assert!(is_stopped(tasks[1].poll(&mut second)));
    assert_eq!(tasks[2].poll(&mut waits), Poll::Ready(0));
    assert_eq!(tasks[3].poll(&mut stalled), Poll::Ready(0));
}

#[test]
fn an_error_stops_the_waiters_before_its_room_is_given_away() {
    let mut f = Fixture::new(1);
    let gate = f.gate.clone();
    f.handle.queue(async move {
        gate.wait(0).await;
        Err("failed")
    });
    let task = MockTask::new();
    let mut go = f.handle.go(f.child(1));
    assert!(task.poll(&mut go).is_pending());
    f.handle.queue(f.child(2));
    assert!(f.poll().is_pending());
    f.gate.open(0);
    assert_eq!(f.poll(), Poll::Ready(Err("failed")));
    assert_eq!(task.wakes(), 1);
    assert!(is_stopped(task.poll(&mut go)));
    assert_eq!(f.log.take(), ["-2", "-1"]);
    let stats = f.handle.stats();
    assert_eq!((stats.ok, stats.failed, stats.dropped), (0, 1, 1));
    assert_eq!(f.handle.token().reason(), Some(Reason::Failed));
}

#[test]
fn a_handle_of_a_stopped_group_answers_at_once() {
    let f = Fixture::new(1);
    assert!(!f.handle.is_stopped());
    f.handle.token().cancel();
    assert!(f.handle.is_stopped() && f.group.is_stopped());
    let refused = f.handle.try_go(f.child(0));
    assert!(matches!(refused, Err(TryGoError::Stopped(_))));
    drop(refused);
    f.handle.queue(f.child(1));
    assert_eq!(f.log.take(), ["-0", "-1"]);
    assert_eq!(f.handle.stats().dropped, 1, "a child that try_go gave back is not counted");
}

#[test]
fn once_the_group_has_resolved_a_handle_answers_stopped() {
    let mut f = Fixture::new(1);
    f.gate.open(0);
    f.handle.queue(f.child(0));
    assert_eq!(f.poll(), Poll::Ready(Ok(())));
    assert_answers_stopped(&f.handle);
    assert_eq!(f.handle.token().reason(), Some(Reason::Finished));
    let stats = f.handle.stats();
    assert_eq!((stats.ok, stats.dropped, stats.running), (1, 1, 0));
    drop(f.group);
    assert_eq!(f.handle.stats(), stats);
    assert_answers_stopped(&f.handle);
}

#[test]
fn once_the_group_is_gone_a_handle_answers_stopped() {
    let mut f = Fixture::new(1);
    f.handle.queue(f.child(0));
    f.handle.queue(f.child(1));
    let tasks = [MockTask::new(), MockTask::new()];
    let mut go = f.handle.go(f.child(2));
    let mut feed = f.handle.feed(stream::iter([f.child(3)]));
    assert!(tasks[0].poll(&mut go).is_pending());
    assert!(tasks[1].poll(&mut feed).is_pending());
    assert!(f.poll().is_pending());
    drop(f.group);
    assert_eq!(f.log.take(), ["+0", "-0", "-1"]);
    assert_eq!(tasks.each_ref().map(MockTask::wakes), [1, 1]);
    assert!(is_stopped(tasks[0].poll(&mut go)));
    assert_eq!(tasks[1].poll(&mut feed), Poll::Ready(0));
    assert_eq!(f.handle.token().reason(), Some(Reason::Dropped));
    let stats = f.handle.stats();
    assert_eq!((stats.running, stats.queued, stats.dropped), (0, 0, 2));
    assert_answers_stopped(&f.handle);
}

#[track_caller]
fn assert_answers_stopped(handle: &Handle<Kind>) {
    let task = MockTask::new();
    assert!(handle.is_stopped());
    assert!(is_stopped(task.poll(&mut handle.go(ready(Ok(0))))));
    assert!(matches!(handle.try_go(ready(Ok(0))), Err(TryGoError::Stopped(_))));
    let before = handle.stats().dropped;
    let drops = DropCounter::default();
    let guard = drops.guard();
    handle.queue(async move {
        let _guard = guard;
        Ok(0)
    });
    assert_eq!((drops.get(), handle.stats().dropped), (1, before + 1));
    let tap = Tap::<Ready>::new();
    assert_eq!(task.poll(&mut handle.feed(tap.clone())), Poll::Ready(0));
    assert_eq!(tap.polls(), 0);
    handle.set_limit(Some(3));
    assert_eq!(handle.limit(), Some(3));
}

#[test]
fn children_that_hold_handles_are_dropped_with_their_group() {
    let drops = DropCounter::default();
    let mut f = Fixture::new(1);
    for _ in 0..3 {
        let (handle, guard) = (f.handle.clone(), drops.guard());
        f.handle.queue(async move {
            let _held = (handle, guard);
            pending().await
        });
    }
    assert!(f.poll().is_pending());
    drop(f.group);
    assert_eq!(drops.get(), 3);
}

// === no lock is held while foreign code runs ===

#[test]
fn a_waker_may_use_the_handle() {
    let mut f = Fixture::new(1);
    let calls = Arc::new(AtomicUsize::new(0));
    let waker = {
        let (handle, calls) = (f.handle.clone(), Arc::clone(&calls));
        waker_fn(move || {
            let _ = (handle.stats(), handle.limit(), handle.is_closed());
            let _ = handle.try_go(pending());
            handle.set_limit(handle.limit());
            calls.fetch_add(1, Ordering::SeqCst);
        })
    };
    let mut cx = Context::from_waker(&waker);
    let mut go = pin!(f.handle.go(f.child(1)));
    let group = pin!(&mut f.group);
    assert!(f.handle.try_go(logged_child(0, &f.gate, &f.log)).is_ok());
    assert!(go.as_mut().poll(&mut cx).is_pending());
    assert!(group.poll(&mut cx).is_pending());
    f.gate.open(0);
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the group's");
    assert!(f.group.run_once(&mut cx).is_pending());
    assert_eq!(calls.load(Ordering::SeqCst), 2, "the go's");
    f.handle.token().cancel();
    assert!(calls.load(Ordering::SeqCst) > 2);
}

/// Polls a future once without `pin!`.
trait RunOnce: Future + Unpin {
    fn run_once(&mut self, cx: &mut Context<'_>) -> Poll<Self::Output> {
        std::pin::Pin::new(self).poll(cx)
    }
}
impl<F: Future + Unpin> RunOnce for F {}

#[test]
fn a_destructor_of_a_child_may_use_the_handle() {
    struct Farewell(Handle<Kind>, Log);
    impl Drop for Farewell {
        fn drop(&mut self) {
            let stats = self.0.stats();
            self.0.queue(ready(Ok(0)));
            let refused = self.0.try_go(ready(Ok(0))).is_err();
            self.1.add(format!("{} {refused}", stats.dropped));
        }
    }
    let mut f = Fixture::new(1);
    for _ in 0..2 {
        let farewell = Farewell(f.handle.clone(), f.log.clone());
        f.handle.queue(async move {
            let _farewell = farewell;
            pending().await
        });
    }
    let farewell = Farewell(f.handle.clone(), f.log.clone());
    let mut go = f.handle.go(async move {
        let _farewell = farewell;
        pending().await
    });
    assert!(MockTask::new().poll(&mut go).is_pending());
    assert!(f.poll().is_pending());
    drop(go);
    assert_eq!(f.log.take(), ["0 true"]);
    assert_eq!(f.handle.stats().queued, 2, "the children it added are queued");
    drop(f.group);
    assert_eq!(f.log.take().len(), 2);
    assert!(f.handle.is_closed());
}

#[test]
fn children_that_yield_run_on_while_handles_add_more() {
    let mut f = Fixture::new(2);
    for n in 0..20 {
        let handle = f.handle.clone();
        f.handle.queue(async move {
            for _ in 0..n % 4 {
                yield_now().await;
            }
            if n % 2 == 0 {
                handle.queue(async {
                    yield_now().await;
                    Ok(0)
                });
            }
            Ok(n)
        });
    }
    assert_eq!(f.task.run(&mut f.group), Poll::Ready(Ok(())));
    assert_eq!(f.handle.stats().ok, 30);
}
