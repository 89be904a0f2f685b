//! A task's waker that panics, in its clone, its wake-up or its destructor, loses no wake-up.
//!
//! These tests are in this package because a waker that panics in its clone needs `unsafe`.

#[allow(dead_code)]
#[path = "../it/common.rs"]
mod common;

use std::future::{Future, ready};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use crate::common::{Gate, Job, MockTask, Tap, job, waits};
use errgroup::{Boxed, Group};
use futures::stream::StreamExt;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// When a waker panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Cloned,
    Woken,
    /// A clone of it is dropped.
    Dropped,
}

const EACH: [When; 3] = [When::Cloned, When::Woken, When::Dropped];

fn panics() -> ! {
    std::panic::resume_unwind(Box::new("a waker"))
}

struct PanicsWhenWoken;

impl Wake for PanicsWhenWoken {
    fn wake(self: Arc<Self>) {
        panics();
    }
}

/// A table whose data is not looked at. `TABLE` clones by panicking, `CLONED` drops by panicking.
const TABLE: RawWakerVTable = RawWakerVTable::new(|_| panics(), |_| {}, |_| {}, |_| {});
const ORIGINAL: RawWakerVTable = RawWakerVTable::new(|_| CLONE, |_| {}, |_| {}, |_| {});
const CLONED: RawWakerVTable = RawWakerVTable::new(|_| CLONE, |_| {}, |_| {}, |_| panics());
const CLONE: RawWaker = RawWaker::new(std::ptr::null(), &CLONED);

fn bad_waker(when: When) -> ManuallyDrop<Waker> {
    let table = match when {
        When::Cloned => &TABLE,
        When::Dropped => &ORIGINAL,
        When::Woken => return ManuallyDrop::new(Arc::new(PanicsWhenWoken).into()),
    };
    // SAFETY: the functions of the tables ignore the data.
    ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), table)) })
}

/// Polls once by a task with a bad waker. A panic may come out, or not.
fn poll_badly<R>(when: When, poll: impl FnOnce(&mut Context<'_>) -> Poll<R>) {
    let waker = bad_waker(when);
    let polled = catch_unwind(AssertUnwindSafe(|| poll(&mut Context::from_waker(&waker))));
    assert!(!matches!(polled, Ok(Poll::Ready(_))));
}

#[test]
fn a_panic_of_a_wakers_clone_comes_out_of_a_poll_that_is_pending() {
    let mut group = Jobs::new();
    group.queue(waits(&Gate::new(), 0));
    let waker = bad_waker(When::Cloned);
    let poll = || Pin::new(&mut group).poll(&mut Context::from_waker(&waker));
    assert!(catch_unwind(AssertUnwindSafe(poll)).is_err());
}

#[test]
fn a_group_goes_on_after_a_poll_by_a_task_with_a_bad_waker() {
    for when in EACH {
        for handle in [false, true] {
            for woken_before in [true, false] {
                let gate = Gate::new();
                let mut group = Jobs::new();
                let _handle = handle.then(|| group.handle());
                group.queue(waits(&gate, 0));
                group.queue(waits(&gate, 1));
                let task = MockTask::new();
                assert!(task.poll(&mut group).is_pending());
                if woken_before {
                    gate.open(0);
                }
                poll_badly(when, |cx| Pin::new(&mut group).poll(cx));
                // Nothing panics into the code that wakes a child.
                gate.open(0);
                gate.open(1);
                assert_eq!(MockTask::new().poll(&mut group), Poll::Ready(Ok(())), "{when:?}");
            }
        }
    }
}

#[test]
fn the_task_after_one_with_a_bad_waker_is_woken() {
    for when in EACH {
        let gate = Gate::new();
        let mut group = Jobs::new();
        group.queue(waits(&gate, 0));
        assert!(MockTask::new().poll(&mut group).is_pending());
        poll_badly(when, |cx| Pin::new(&mut group).poll(cx));
        let task = MockTask::new();
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        assert_eq!(task.wakes(), 1, "{when:?}");
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    }
}

#[test]
fn a_scope_goes_on_after_a_poll_by_a_task_with_a_bad_waker() {
    for when in EACH {
        let gate = Gate::new();
        let (body, child) = (gate.wait(0), waits(&gate, 1));
        let mut scope = pin!(Jobs::new().scope(|handle| async move {
            handle.queue(child);
            body.await;
        }));
        assert!(MockTask::new().poll_pinned(scope.as_mut()).is_pending());
        gate.open(0);
        poll_badly(when, |cx| scope.as_mut().poll(cx));
        gate.open(1);
        assert_eq!(MockTask::new().finish(scope), ((), Ok(())), "{when:?}");
    }
}

#[test]
fn a_feed_goes_on_after_a_poll_by_a_task_with_a_bad_waker() {
    for when in EACH {
        for own in [false, true] {
            let (gate, tap) = (Gate::new(), Tap::<Job>::new());
            let mut group = Jobs::new();
            let handle = group.handle();
            {
                let mut feed: Pin<Box<dyn Future<Output = usize>>> = if own {
                    Box::pin(group.feed(tap.clone()))
                } else {
                    Box::pin(handle.feed(tap.clone()))
                };
                let task = MockTask::new();
                assert!(task.poll(&mut feed).is_pending());
                tap.put(waits(&gate, 0));
                if when != When::Woken {
                    poll_badly(when, |cx| feed.as_mut().poll(cx));
                }
                tap.end();
                assert_eq!(MockTask::new().poll(&mut feed), Poll::Ready(1), "{when:?}");
            }
            gate.open(0);
            assert_eq!(MockTask::new().finish(group), Ok(()));
        }
    }
}

#[test]
fn a_feed_that_waits_for_room_goes_on_after_a_poll_by_a_task_with_a_bad_waker() {
    for when in EACH {
        let gate = Gate::new();
        let mut group = Jobs::new().with_limit(1);
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        assert!(MockTask::new().poll(&mut group).is_pending());
        let mut feed = handle.feed(futures::stream::iter([job(ready(Ok(1))), job(ready(Ok(2)))]));
        poll_badly(when, |cx| Pin::new(&mut feed).poll(cx));
        let task = MockTask::new();
        assert!(task.poll(&mut feed).is_pending());
        gate.open(0);
        assert!(MockTask::new().poll(&mut group).is_pending());
        assert_eq!(task.wakes(), 1, "{when:?}");
        let both = futures::future::join(feed, group);
        assert_eq!(MockTask::new().finish(both), (2, Ok(())));
    }
}

#[test]
fn a_childs_handle_goes_on_after_a_poll_by_a_task_with_a_bad_waker() {
    for when in EACH {
        let gate = Gate::new();
        let mut group = Group::<Boxed<'static, (), &'static str>>::new();
        let (child, mut handle) = errgroup::task(waits(&gate, 0)).joinable();
        group.queue(child);
        poll_badly(when, |cx| Pin::new(&mut handle).poll(cx));
        let task = MockTask::new();
        assert!(task.poll(&mut handle).is_pending());
        gate.open(0);
        assert_eq!(MockTask::new().poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((task.wakes(), task.poll(&mut handle)), (1, Poll::Ready(Ok(0))), "{when:?}");
    }
}

#[test]
fn a_stream_of_results_goes_on_after_a_poll_by_a_task_with_a_bad_waker() {
    for when in EACH {
        let gate = Gate::new();
        let mut results = Jobs::new().results();
        results.queue(waits(&gate, 0));
        assert!(MockTask::new().poll(&mut results.next()).is_pending());
        poll_badly(when, |cx| results.poll_next_unpin(cx));
        gate.open(0);
        assert_eq!(MockTask::new().poll(&mut results.next()), Poll::Ready(Some(Ok(0))));
    }
}

#[test]
fn a_poll_by_a_task_with_a_bad_waker_gives_the_result_that_there_is() {
    for when in EACH {
        for woken_before in [false, true] {
            let gate = Gate::new();
            let mut results = Jobs::new().results();
            results.queue(waits(&gate, 0));
            if woken_before {
                assert!(MockTask::new().poll(&mut results.next()).is_pending());
            }
            gate.open(0);
            let waker = bad_waker(when);
            let polled = results.poll_next_unpin(&mut Context::from_waker(&waker));
            assert_eq!(polled, Poll::Ready(Some(Ok(0))), "{when:?}");
            assert_eq!(MockTask::new().poll(&mut results.next()), Poll::Ready(None));
        }
    }
}

#[test]
fn a_go_goes_on_after_a_poll_by_a_task_with_a_bad_waker() {
    for when in EACH {
        for own in [false, true] {
            let gate = Gate::new();
            let mut group = Jobs::new().with_limit(1);
            let handle = group.handle();
            group.queue(waits(&gate, 0));
            assert!(MockTask::new().poll(&mut group).is_pending());
            if own {
                let mut go = group.go(job(ready(Ok(1))));
                poll_badly(when, |cx| Pin::new(&mut go).poll(cx));
                gate.open(0);
                assert!(matches!(MockTask::new().poll(&mut go), Poll::Ready(Ok(()))));
            } else {
                let mut go = handle.go(job(ready(Ok(1))));
                assert!(MockTask::new().poll(&mut go).is_pending());
                poll_badly(when, |cx| Pin::new(&mut go).poll(cx));
                gate.open(0);
                assert!(MockTask::new().poll(&mut group).is_pending());
                assert!(matches!(MockTask::new().poll(&mut go), Poll::Ready(Ok(()))));
            }
            assert_eq!(MockTask::new().finish(group), Ok(()), "{when:?}");
        }
    }
}

#[test]
fn a_waiter_for_the_end_goes_on_after_a_poll_by_a_task_with_a_bad_waker() {
    for when in EACH {
        let group = Jobs::new();
        let handle = group.handle();
        let (mut bad, mut other) = (handle.closed(), handle.closed());
        assert!(MockTask::new().poll(&mut bad).is_pending());
        let task = MockTask::new();
        assert!(task.poll(&mut other).is_pending());
        poll_badly(when, |cx| Pin::new(&mut bad).poll(cx));
        let again = MockTask::new();
        assert!(again.poll(&mut bad).is_pending());
        drop(group);
        assert_eq!((task.wakes(), again.wakes()), (1, 1), "{when:?}");
        assert!(again.poll(&mut bad).is_ready());
        assert!(task.poll(&mut other).is_ready());
    }
}

#[test]
fn a_bad_waker_of_a_waiter_for_the_end_does_not_replace_the_output() {
    for when in [When::Woken, When::Dropped] {
        let mut group = Jobs::new();
        let handle = group.handle();
        let (mut bad, mut other) = (handle.closed(), handle.closed());
        poll_badly(when, |cx| Pin::new(&mut bad).poll(cx));
        let task = MockTask::new();
        assert!(task.poll(&mut other).is_pending());
        group.queue(job(ready(Err("the cause"))));
        assert_eq!(MockTask::new().poll(&mut group), Poll::Ready(Err("the cause")), "{when:?}");
        assert_eq!(task.wakes(), 1);
        assert!(task.poll(&mut other).is_ready());
    }
}
