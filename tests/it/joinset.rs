//! What tokio promises of its `JoinSet`, kept by a thin shim over `Group::on` and `joinable`.
//!
//! The promises are those of its documentation; so are the names of the shim's methods. What it
//! can't express, and why:
//!
//! - `detach_all`: nothing outlives a group. Spawn such a task on the runtime itself.
//! - `join_next_with_id`: a task has the index of its child, which the group gives it when it
//!   starts; a handle does not know it. Let the child return what it is.
//! - `spawn_on`, `spawn_blocking`, `spawn_local`: a group has one spawner, which may choose the
//!   runtime. A child awaits `spawn_blocking`; as in tokio, blocking code that has begun can't be
//!   aborted.
//! - `join_next` spends no budget of tokio's: a `FuturesUnordered` yields by its own.

use std::any::Any;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, panic_any};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::common::{CountOnDrop, DropCounter, MockTask, OnDrop, poll_with, waker_and_count};
use errgroup::{ChildHandle, Group, Hold, Lost, Spawned, task};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::sleep;

// === the shim ===

type Payload = Box<dyn Any + Send>;

/// A set of tasks that are joined in the order in which they end.
struct JoinSet<T> {
    group: Group<Spawned<(), &'static str>>,
    /// Keeps the group open while it has no task.
    _hold: Hold,
    /// The tasks that were not joined.
    joining: FuturesUnordered<Joining<T>>,
}

/// A task's own end: its value, or the panic that it has caught.
type Ending<T> = Result<T, Payload>;

/// A handle that can be both awaited and kept to abort the task.
type Shared<T> = Arc<Mutex<ChildHandle<Ending<T>>>>;

struct Joining<T>(Shared<T>);

struct AbortHandle<T>(Shared<T>);

enum JoinError {
    Panic(Payload),
    Cancelled,
}

impl<T> Future for Joining<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut handle = self.0.lock().unwrap();
        Pin::new(&mut *handle).poll(cx).map(|ending| match ending {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(payload)) => Err(JoinError::Panic(payload)),
            Err(Lost::Aborted | Lost::Dropped) => Err(JoinError::Cancelled),
            Err(lost) => unreachable!("no task fails or panics: {lost}"),
        })
    }
}

impl<T> AbortHandle<T> {
    fn abort(&self) {
        self.0.lock().unwrap().abort();
    }

    fn is_finished(&self) -> bool {
        self.0.lock().unwrap().is_finished()
    }
}

impl JoinError {
    fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    fn panic(self) -> &'static str {
        match self {
            Self::Panic(payload) => *payload.downcast().expect("a plain message"),
            Self::Cancelled => panic!("it was cancelled"),
        }
    }
}

impl<T: Send + 'static> JoinSet<T> {
    fn new() -> Self {
        let group = Group::on(|child| drop(tokio::spawn(child)));
        Self { _hold: group.hold(), group, joining: FuturesUnordered::new() }
    }

    fn spawn(&mut self, future: impl Future<Output = T> + Send + 'static) -> AbortHandle<T> {
        let ending = AssertUnwindSafe(future).catch_unwind().map(Ok);
        let (child, handle) = task(ending).joinable();
        self.group.queue(child);
        let handle = Arc::new(Mutex::new(handle));
        self.joining.push(Joining(Arc::clone(&handle)));
        AbortHandle(handle)
    }

    fn len(&self) -> usize {
        self.joining.len()
    }

    fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        // The tasks run by themselves. The group is polled for what has ended, and to be woken.
        assert!(self.group.poll_unpin(cx).is_pending());
        self.joining.poll_next_unpin(cx)
    }

    async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.joining.next().now_or_never().flatten()
    }

    fn abort_all(&self) {
        self.joining.iter().for_each(|joining| joining.0.lock().unwrap().abort());
    }

    async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    async fn join_all(mut self) -> Vec<T> {
        let mut values = Vec::new();
        while let Some(ended) = self.join_next().await {
            match ended {
                Ok(value) => values.push(value),
                Err(JoinError::Panic(payload)) => std::panic::resume_unwind(payload),
                Err(JoinError::Cancelled) => panic!("a task was cancelled"),
            }
        }
        values
    }
}

/// Runs a test on one thread, where time passes only when all tasks wait.
fn paused(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test);
}

/// Runs a test on two threads.
fn threads(test: impl Future<Output = ()>) {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap().block_on(test);
}

/// Makes a task that is pending until it is dropped, and counts that.
fn waits(drops: &DropCounter) -> impl Future<Output = u32> + Send + 'static {
    async fn hold(_guard: CountOnDrop) -> u32 {
        pending().await
    }
    hold(drops.guard())
}

#[track_caller]
fn value<T>(ended: Option<Result<T, JoinError>>) -> T {
    match ended {
        Some(Ok(value)) => value,
        Some(Err(_)) => panic!("the task has no value"),
        None => panic!("there is no task"),
    }
}

#[track_caller]
fn error<T>(ended: Option<Result<T, JoinError>>) -> JoinError {
    match ended {
        Some(Err(error)) => error,
        Some(Ok(_)) => panic!("the task has a value"),
        None => panic!("there is no task"),
    }
}

// === spawning and joining ===

#[test]
fn tasks_run_by_themselves_and_are_joined_as_they_end() {
    paused(async {
        let mut set = JoinSet::new();
        for n in [3, 1, 2] {
            set.spawn(async move {
                sleep(Duration::from_secs(n)).await;
                n
            });
        }
        assert_eq!(set.len(), 3);
        for n in 1..=3 {
            assert_eq!(value(set.join_next().await), n);
        }
        assert!(set.join_next().await.is_none());
        assert_eq!(set.len(), 0);
    });
}

#[test]
fn a_task_ends_though_the_set_is_not_polled() {
    threads(async {
        let mut set = JoinSet::new();
        let (sender, receiver) = oneshot::channel();
        let handle = set.spawn(async { sender.send(7).unwrap() });
        assert_eq!(receiver.await, Ok(7));
        value(set.join_next().await);
        assert!(handle.is_finished());
    });
}

#[test]
fn an_empty_set_gives_none_and_takes_tasks_again() {
    paused(async {
        let mut set = JoinSet::new();
        for n in 0..3 {
            assert!(set.join_next().await.is_none());
            assert!(set.try_join_next().is_none());
            set.spawn(async move { n });
            assert_eq!(value(set.join_next().await), n);
        }
    });
}

#[test]
fn a_task_may_be_spawned_for_each_that_was_joined() {
    threads(async {
        let mut set = JoinSet::new();
        (0..8).for_each(|n| drop(set.spawn(async move { n })));
        let mut sum = 0;
        for n in 8..100 {
            sum += value(set.join_next().await);
            set.spawn(async move {
                yield_now().await;
                n
            });
            assert_eq!(set.len(), 8);
        }
        assert_eq!(sum + set.join_all().await.iter().sum::<u32>(), (0..100).sum());
    });
}

#[test]
fn a_join_that_is_given_up_loses_no_task() {
    paused(async {
        let mut set = JoinSet::new();
        set.spawn(async {
            sleep(Duration::from_secs(2)).await;
            7
        });
        for _ in 0..3 {
            tokio::select! {
                biased;
                _ = set.join_next() => panic!("too early"),
                () = sleep(Duration::from_millis(500)) => {}
            }
        }
        assert_eq!(value(set.join_next().await), 7);
    });
}

#[test]
fn try_join_next_waits_for_nothing() {
    paused(async {
        let mut set = JoinSet::new();
        let (sender, receiver) = oneshot::channel();
        set.spawn(async { receiver.await.unwrap() });
        yield_now().await;
        assert!(set.try_join_next().is_none());
        sender.send(7).unwrap();
        yield_now().await;
        assert_eq!(value(set.try_join_next()), 7);
        assert!(set.try_join_next().is_none());
    });
}

#[test]
fn join_all_gives_every_value() {
    threads(async {
        let mut set = JoinSet::new();
        (0..50).for_each(|n| drop(set.spawn(async move { n })));
        let mut values = set.join_all().await;
        values.sort_unstable();
        assert_eq!(values, (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn the_task_that_polled_last_is_woken() {
    paused(async {
        let mut set = JoinSet::new();
        let (sender, receiver) = oneshot::channel();
        set.spawn(async { receiver.await.unwrap() });
        let ((first, firsts), (second, seconds)) = (waker_and_count(), waker_and_count());
        for waker in [&first, &second] {
            assert!(set.poll_join_next(&mut Context::from_waker(waker)).is_pending());
        }
        let before = (firsts.get(), seconds.get());
        sender.send(7).unwrap();
        yield_now().await;
        assert_eq!(firsts.get(), before.0);
        assert!(seconds.get() > before.1);
        assert_eq!(value(set.try_join_next()), 7);
    });
}

// === panics ===

#[test]
fn a_panic_is_the_tasks_own_and_the_others_go_on() {
    paused(async {
        let mut set = JoinSet::new();
        set.spawn(async { panic_any("a task") });
        set.spawn(async {
            sleep(Duration::from_secs(1)).await;
            7
        });
        assert_eq!(error(set.join_next().await).panic(), "a task");
        assert_eq!(value(set.join_next().await), 7);
        assert!(set.join_next().await.is_none());
    });
}

#[test]
fn join_all_panics_with_a_tasks_panic_and_ends_the_others() {
    paused(async {
        let drops = DropCounter::default();
        let mut set = JoinSet::new();
        set.spawn(waits(&drops));
        set.spawn(async { panic_any("a task") });
        let joined = AssertUnwindSafe(set.join_all()).catch_unwind().await;
        assert_eq!(joined.unwrap_err().downcast_ref(), Some(&"a task"));
        yield_now().await;
        assert_eq!(drops.get(), 1);
    });
}

// === aborting ===

#[test]
fn one_task_is_aborted_by_its_handle() {
    threads(async {
        let drops = DropCounter::default();
        let mut set = JoinSet::new();
        let aborts: Vec<_> = (0..10).map(|_| set.spawn(waits(&drops))).collect();
        for n in [3, 7] {
            aborts[n].abort();
            assert!(error(set.join_next().await).is_cancelled());
            assert!(aborts[n].is_finished());
        }
        assert_eq!((drops.get(), set.len()), (2, 8));
        assert!(!aborts[0].is_finished());
        set.shutdown().await;
        assert_eq!((drops.get(), set.len()), (10, 0));
    });
}

#[test]
fn abort_all_leaves_the_values_of_those_that_have_ended() {
    paused(async {
        let drops = DropCounter::default();
        let mut set = JoinSet::new();
        (0..5).for_each(|_| drop(set.spawn(async { 7 })));
        (0..5).for_each(|_| drop(set.spawn(waits(&drops))));
        yield_now().await;
        set.abort_all();
        let (mut values, mut cancelled) = (0, 0);
        while let Some(ended) = set.join_next().await {
            match ended {
                Ok(value) => values += value,
                Err(error) => cancelled += u32::from(error.is_cancelled()),
            }
        }
        assert_eq!((values, cancelled, drops.get()), (35, 5, 5));
    });
}

#[test]
fn a_task_that_is_aborted_before_it_ran_does_not_run() {
    paused(async {
        let mut set = JoinSet::new();
        let abort = set.spawn(async { panic_any("it runs") });
        abort.abort();
        assert!(error(set.join_next().await).is_cancelled());
        let _: Option<Result<(), _>> = set.try_join_next();
    });
}

#[test]
fn a_task_that_has_ended_is_not_aborted() {
    paused(async {
        let mut set = JoinSet::new();
        let abort = set.spawn(async { 7 });
        yield_now().await;
        assert!(abort.is_finished());
        abort.abort();
        assert_eq!(value(set.join_next().await), 7);
        drop(set);
        abort.abort();
        assert!(abort.is_finished());
    });
}

#[test]
fn a_shutdown_waits_for_the_end_of_the_tasks() {
    threads(async {
        let drops = DropCounter::default();
        let mut set = JoinSet::new();
        for _ in 0..20 {
            set.spawn(waits(&drops));
        }
        set.shutdown().await;
        assert_eq!(drops.get(), 20);
        set.spawn(async { 7 });
        assert_eq!(value(set.join_next().await), 7);
    });
}

#[test]
fn a_dropped_set_aborts_its_tasks() {
    paused(async {
        let drops = DropCounter::default();
        let mut set = JoinSet::new();
        let handle = set.spawn(waits(&drops));
        set.spawn(waits(&drops));
        yield_now().await;
        drop(set);
        assert!(!handle.is_finished());
        yield_now().await;
        assert_eq!(drops.get(), 2);
        assert!(handle.is_finished());
    });
}

#[test]
fn a_future_is_dropped_before_its_task_is_joined() {
    threads(async {
        for _ in 0..100 {
            let mut set = JoinSet::new();
            let drops = DropCounter::default();
            let guard = drops.guard();
            set.spawn(async move {
                let _guard = guard;
                yield_now().await;
            });
            value(set.join_next().await);
            assert_eq!(drops.get(), 1);
        }
    });
}

/// In tokio it is joined as a panic; here a destructor's panic comes out of the group.
#[test]
fn a_destructor_that_panics_comes_out_of_the_join() {
    paused(async {
        let mut set = JoinSet::new();
        let abort = set.spawn(async {
            let _bomb = OnDrop(|| panic_any("a destructor"));
            pending().await
        });
        yield_now().await;
        abort.abort();
        let joined: Result<Option<Result<(), _>>, _> =
            AssertUnwindSafe(set.join_next()).catch_unwind().await;
        assert_eq!(joined.err().unwrap().downcast_ref(), Some(&"a destructor"));
    });
}

// === the runtime ===

#[test]
fn tasks_of_a_runtime_that_is_gone_are_cancelled() {
    let drops = DropCounter::default();
    let runtime = Builder::new_current_thread().build().unwrap();
    let mut set = {
        let _guard = runtime.enter();
        let mut set = JoinSet::new();
        set.spawn(waits(&drops));
        set.spawn(waits(&drops));
        set
    };
    drop(runtime);
    assert_eq!(drops.get(), 2);
    for _ in 0..2 {
        assert!(error(set.try_join_next()).is_cancelled());
    }
    assert!(set.try_join_next().is_none());
}

#[test]
fn a_set_may_move_to_another_task() {
    fn is_send<X: Send>(x: X) -> X {
        x
    }
    threads(async {
        let mut set = is_send(JoinSet::new());
        set.spawn(async { 7 });
        let joined = tokio::spawn(async move { value(set.join_next().await) });
        assert_eq!(joined.await.unwrap(), 7);
    });
}

#[test]
fn a_set_that_is_polled_by_hand_is_woken_for_each_end() {
    paused(async {
        let mock = MockTask::new();
        let mut set = JoinSet::new();
        let gates: Vec<_> = (0..3)
            .map(|_| {
                let (sender, receiver) = oneshot::channel::<u32>();
                set.spawn(async { receiver.await.unwrap() });
                sender
            })
            .collect();
        for (n, gate) in gates.into_iter().enumerate() {
            assert!(mock.poll(&mut Box::pin(set.join_next())).is_pending());
            let before = mock.wakes();
            gate.send(n as u32).unwrap();
            yield_now().await;
            assert!(mock.wakes() > before);
            let (waker, _) = waker_and_count();
            let next = poll_with(&mut Box::pin(set.join_next()), &waker);
            assert!(matches!(next, Poll::Ready(Some(Ok(value))) if value == n as u32));
        }
    });
}
