//! Wakers are code of the caller's: one may poll a task within its wake-up, or panic.

use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::common::{Bomb, Gate, Job, MockTask, job, poll_with, waits, waker_and_count, waker_fn};
use errgroup::{Boxed, Group, Reason, Semaphore};
use futures::stream;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// A task that is polled within its wake-up.
struct Inline {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    done: AtomicBool,
}

impl Inline {
    fn start(future: impl Future<Output = ()> + Send + 'static) -> Arc<Self> {
        let future = Mutex::new(Some(Box::pin(future) as _));
        let task = Arc::new(Self { future, done: AtomicBool::new(false) });
        Arc::clone(&task).wake();
        task
    }
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut future = self.future.lock().unwrap();
        let polled = future.as_mut().map(|f| f.as_mut().poll(&mut Context::from_waker(&waker)));
        if polled.is_some_and(|poll| poll.is_ready()) {
            *future = None;
            self.done.store(true, Ordering::SeqCst);
        }
    }
}

fn panics() -> Waker {
    waker_fn(|| std::panic::panic_any("a waker"))
}

/// Runs a call on another thread, and panics if it does not end.
fn ends<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(run()));
    receiver.recv_timeout(Duration::from_secs(30)).expect("the call hangs or has panicked")
}

#[test]
fn closed_may_be_polled_from_within_its_waker() {
    ends(|| {
        let group = Jobs::new();
        let handle = group.handle();
        let tasks = [Inline::start(handle.closed()), Inline::start(handle.closed())];
        drop(group);
        assert!(tasks.iter().all(|task| task.done.load(Ordering::SeqCst)));
    });
}

#[test]
fn a_waker_that_panics_at_the_end_keeps_no_other_from_being_woken() {
    let group = Jobs::new();
    let handle = group.handle();
    let (mut first, mut second) = (handle.closed(), handle.closed());
    let waker = panics();
    assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&waker)).is_pending());
    let task = MockTask::new();
    assert!(task.poll(&mut second).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(group))).is_err(), "it is not swallowed");
    assert_eq!(task.wakes(), 1);
    assert!(task.poll(&mut second).is_ready());
}

#[test]
fn a_waker_that_panics_at_the_stop_costs_the_group_no_output() {
    let waker = panics();
    let cx = &mut Context::from_waker(&waker);
    for output in [Ok(()), Err("broken")] {
        let task = MockTask::new();
        let mut group = Jobs::new().with_limit(1);
        let handle = group.handle();
        let mut cancelled = group.token().cancelled();
        assert!(Pin::new(&mut cancelled).poll(cx).is_pending());
        if let Err(error) = output {
            group.queue(job(std::future::ready(Err(error))));
            group.queue(job(pending()));
            let mut go = handle.go(job(pending()));
            assert!(Pin::new(&mut go).poll(cx).is_pending());
            assert_eq!(task.run(&mut group), Poll::Ready(output));
            assert!(matches!(task.poll(&mut go), Poll::Ready(Err(_))));
        } else {
            assert_eq!(task.run(&mut group), Poll::Ready(output));
        }
        assert!(task.poll(&mut cancelled).is_ready());
    }

    // At a deadline.
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_deadline(gate.wait(0));
    let mut cancelled = group.token().cancelled();
    assert!(Pin::new(&mut cancelled).poll(cx).is_pending());
    group.queue(waits(&gate, 1));
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    gate.open(1);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(task.poll(&mut cancelled), Poll::Ready(Reason::Deadline));
}

#[test]
fn a_waiter_with_a_panicking_waker_costs_the_one_before_it_nothing() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut own = group.go(job(std::future::ready(Ok(1))));
    assert!(task.poll(&mut own).is_pending());
    let mut other = handle.go(job(std::future::ready(Ok(2))));
    let waker = panics();
    assert!(Pin::new(&mut other).poll(&mut Context::from_waker(&waker)).is_pending());
    handle.set_limit(Some(3));
    assert!(matches!(task.run(&mut own), Poll::Ready(Ok(()))));
    drop(own);
    drop(other);
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(group.stats().ok, 2);
}

#[test]
fn a_waiter_of_the_semaphore_with_a_panicking_waker_costs_no_child_its_wake_up() {
    let (task, gate, semaphore) = (MockTask::new(), Gate::new(), Arc::new(Semaphore::new(3)));
    let permit = semaphore.try_acquire_arc();
    let mut group = Jobs::new().with_semaphore(Arc::clone(&semaphore));
    let opens = gate.clone();
    let start = gate.wait(0);
    // Its own permit goes to the third, so the group passes the other one on.
    group.queue(job(async move {
        start.await;
        opens.open(1);
        drop(permit);
        Ok(0)
    }));
    group.queue(waits(&gate, 1));
    group.queue(waits(&gate, 2));
    assert!(task.run(&mut group).is_pending());
    let mut other = Box::pin(semaphore.acquire_arc());
    let waker = panics();
    assert!(other.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert_eq!((group.stats().ok, group.stats().running), (2, 1));
    gate.open(2);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    // The semaphore's own list of those that wait is not fit for use after such a panic.
    std::mem::forget(other);
}

#[test]
fn a_handle_does_not_keep_the_task_of_a_group_that_has_ended() {
    let (waker, held) = waker_and_count();
    let (mut group, gate) = (Jobs::new(), Gate::new());
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    assert!(Pin::new(&mut group).poll(&mut Context::from_waker(&waker)).is_pending());
    // The wake-up comes in a poll, so it does not take the waker.
    let opened = gate.clone();
    group.queue(job(async move {
        opened.open(0);
        Ok(1)
    }));
    assert!(Pin::new(&mut group).poll(&mut Context::from_waker(&waker)).is_ready());
    drop(waker);
    assert_eq!(Arc::strong_count(&held), 1);
    drop((group, handle));
}

#[cfg(feature = "std")]
#[test]
fn a_waker_whose_destructor_panics_costs_no_future_its_answer() {
    /// A waker that does nothing until it is dropped.
    struct Bad {
        _bomb: Bomb,
    }
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {}
    }
    let bad = || Waker::from(Arc::new(Bad { _bomb: Bomb("the waker's") }));
    /// Polls a future once with a waker of which it keeps the last clone, then drops it.
    fn is_quiet(future: impl Future, waker: Waker) -> bool {
        let mut future = Box::pin(future);
        assert!(poll_with(&mut future, &waker).is_pending());
        drop(waker);
        catch_unwind(AssertUnwindSafe(|| drop(future))).is_ok()
    }

    let group = Jobs::new().with_limit(1);
    let handle = group.handle();
    handle.queue(job(pending()));
    assert!(is_quiet(handle.go(job(pending())), bad()));
    assert!(is_quiet(handle.reserve(), bad()));
    assert!(is_quiet(handle.feed(stream::iter([job(pending())])), bad()));
    assert!(is_quiet(handle.feed(stream::pending::<Job>()), bad()));
    assert!(is_quiet(handle.closed(), bad()));
    assert!(is_quiet(handle.token().cancelled(), bad()));

    let mut feed = Box::pin(handle.feed(stream::iter([job(pending())])));
    let waker = bad();
    assert!(poll_with(&mut feed, &waker).is_pending());
    drop(waker);
    handle.set_limit(None);
    let task = MockTask::new();
    assert_eq!(task.run(&mut feed), Poll::Ready(1));
    drop(feed);
}
