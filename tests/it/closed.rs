//! `closed` resolves when all the group's children are dropped, and not before.

use std::future::{pending, ready};
#[cfg(feature = "std")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

#[cfg(feature = "std")]
use crate::common::DropCounter;
use crate::common::{Gate, Log, MockTask, logged_child, waker_fn};
use errgroup::{Boxed, Group, Handle};
use futures::FutureExt;
use futures::future::FusedFuture;

type Kind = Boxed<'static, usize, &'static str>;

fn group() -> (Group<Kind>, Handle<Kind>) {
    let group = Group::new();
    let handle = group.handle();
    (group, handle)
}

#[test]
fn closed_resolves_when_the_group_has_resolved() {
    let (mut group, handle) = group();
    let gate = Gate::new();
    handle.queue(logged_child(0, &gate, &Log::new()));
    let (task, waits) = (MockTask::new(), MockTask::new());
    let mut closed = handle.closed();
    assert!(waits.poll(&mut closed).is_pending());
    assert!(task.poll(&mut group).is_pending());
    assert!(!handle.is_closed());
    assert_eq!(waits.wakes(), 0);
    gate.open(0);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(waits.wakes(), 1);
    assert!(handle.is_closed());
    assert!(waits.poll(&mut closed).is_ready());
}

#[test]
fn closed_resolves_when_the_group_is_dropped() {
    let (mut group, handle) = group();
    handle.queue(pending());
    let (task, waits) = (MockTask::new(), MockTask::new());
    let mut closed = handle.closed();
    assert!(task.poll(&mut group).is_pending());
    assert!(waits.poll(&mut closed).is_pending());
    drop(group);
    assert!(handle.is_closed());
    assert_eq!(waits.wakes(), 1);
    assert!(waits.poll(&mut closed).is_ready());
}

#[test]
fn a_group_that_was_never_polled_is_closed_by_its_drop() {
    let (group, handle) = group();
    let waits = MockTask::new();
    let mut closed = handle.closed();
    assert!(waits.poll(&mut closed).is_pending());
    drop(group);
    assert_eq!(waits.wakes(), 1);
    assert!(waits.poll(&mut closed).is_ready());
}

#[test]
fn each_of_many_waiters_is_woken_once() {
    let (group, handle) = group();
    let waits: Vec<_> = (0..50).map(|_| MockTask::new()).collect();
    let mut closed: Vec<_> = waits.iter().map(|_| handle.clone().closed()).collect();
    for (task, closed) in waits.iter().zip(&mut closed) {
        assert!(task.poll(closed).is_pending());
        assert!(task.poll(closed).is_pending());
    }
    // Some waiters are dropped.
    closed.truncate(40);
    assert_eq!(MockTask::new().finish(group), Ok(()));
    for (n, task) in waits.iter().enumerate() {
        assert_eq!(task.wakes(), usize::from(n < 40));
    }
    for (task, mut closed) in waits.iter().zip(closed) {
        assert!(task.poll(&mut closed).is_ready());
    }
}

#[test]
fn closed_is_ready_at_once_after_the_end() {
    let (group, handle) = group();
    let early = handle.closed();
    assert_eq!(MockTask::new().finish(group), Ok(()));
    MockTask::new().finish(early);
    MockTask::new().finish(handle.closed());

    let (group, handle) = self::group();
    drop(group);
    assert!(handle.is_closed());
    MockTask::new().finish(handle.closed());
    MockTask::new().finish(handle.closed());
}

#[test]
fn closed_neither_holds_the_group_open_nor_needs_its_handle() {
    let (group, handle) = group();
    let task = MockTask::new();
    let mut closed = handle.closed();
    drop(handle);
    assert!(task.poll(&mut closed).is_pending());
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert!(task.poll(&mut closed).is_ready());
}

#[test]
fn closed_wakes_the_task_that_polled_it_last() {
    let (group, handle) = group();
    let (first, second) = (MockTask::new(), MockTask::new());
    let mut closed = handle.closed();
    assert!(first.poll(&mut closed).is_pending());
    assert!(second.poll(&mut closed).is_pending());
    drop(group);
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
}

#[test]
fn closed_is_fused() {
    let (group, handle) = group();
    let task = MockTask::new();
    let mut closed = handle.closed();
    assert!(!closed.is_terminated());
    drop(group);
    assert!(!closed.is_terminated());
    assert!(task.poll(&mut closed).is_ready());
    assert!(closed.is_terminated());
    assert!(task.poll(&mut closed).is_pending());
}

#[test]
fn a_stop_alone_does_not_close_the_group() {
    let (mut group, handle) = group();
    let gate = Gate::new();
    handle.queue(logged_child(0, &gate, &Log::new()));
    let (task, waits) = (MockTask::new(), MockTask::new());
    let mut closed = handle.closed();
    assert!(waits.poll(&mut closed).is_pending());
    assert!(task.poll(&mut group).is_pending());
    handle.token().cancel();
    assert!(task.poll(&mut group).is_pending());
    assert!(!handle.is_closed());
    assert_eq!(waits.wakes(), 0);
    gate.open(0);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(waits.wakes(), 1);
}

/// Logs, when it is dropped, whether the group is closed.
struct Witness(Handle<Kind>, Log);

impl Drop for Witness {
    fn drop(&mut self) {
        let waits = self.0.closed().now_or_never().is_none();
        self.1.add(format!("{} {waits}", self.0.is_closed()));
    }
}

#[test]
fn closed_resolves_only_after_all_children_are_dropped() {
    // The group ends resolved, stopped, or dropped.
    for end in 0..3 {
        let (group, handle) = group();
        let (log, gate) = (Log::new(), Gate::new());
        let mut group = group.with_limit_of(2);
        for n in 0..4 {
            let (witness, wait) = (Witness(handle.clone(), log.clone()), gate.wait(n));
            handle.queue(async move {
                let _witness = witness;
                wait.await;
                Ok(n)
            });
        }
        let (task, waits) = (MockTask::new(), MockTask::new());
        let mut closed = handle.closed();
        assert!(waits.poll(&mut closed).is_pending());
        assert!(task.poll(&mut group).is_pending());
        match end {
            0 => (0..4).for_each(|n| gate.open(n)),
            1 => {
                handle.token().cancel();
                (0..2).for_each(|n| gate.open(n));
            }
            _ => {}
        }
        if end < 2 {
            assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
        } else {
            drop(group);
        }
        assert_eq!(log.take(), vec!["false true"; 4]);
        assert!(waits.poll(&mut closed).is_ready());
    }
}

trait WithLimitOf {
    fn with_limit_of(self, limit: usize) -> Self;
}

impl WithLimitOf for Group<Kind> {
    /// Sets the limit of a group that has a handle already.
    fn with_limit_of(self, limit: usize) -> Self {
        self.set_limit(Some(limit));
        self
    }
}

#[cfg(feature = "std")]
#[test]
fn a_group_that_ends_in_a_panic_is_closed() {
    let (mut group, handle) = group();
    let (gate, log) = (Gate::new(), Log::new());
    handle.queue(async { panic!("broken") });
    let (witness, wait) = (Witness(handle.clone(), log.clone()), gate.wait(0));
    handle.queue(async move {
        let _witness = witness;
        wait.await;
        Ok(0)
    });
    let (task, waits) = (MockTask::new(), MockTask::new());
    let mut closed = handle.closed();
    assert!(waits.poll(&mut closed).is_pending());
    assert!(task.poll(&mut group).is_pending());
    assert!(!handle.is_closed());
    gate.open(0);
    let caught = catch_unwind(AssertUnwindSafe(|| task.poll(&mut group)));
    assert!(caught.is_err());
    assert!(handle.is_closed());
    assert_eq!(waits.wakes(), 1);
    assert!(waits.poll(&mut closed).is_ready());
    assert_eq!(log.take(), ["false true"]);
}

#[cfg(feature = "std")]
#[test]
fn a_drop_in_which_a_destructor_panics_closes_the_group() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the destructor is broken");
        }
    }
    let (mut group, handle) = group();
    let drops = DropCounter::default();
    for n in 0..3 {
        let guard = drops.guard();
        let bomb = (n == 1).then(|| Bomb);
        handle.queue(async move {
            let _held = (guard, bomb);
            pending().await
        });
    }
    let (task, waits) = (MockTask::new(), MockTask::new());
    let mut closed = handle.closed();
    assert!(waits.poll(&mut closed).is_pending());
    assert!(task.poll(&mut group).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| drop(group))).is_err());
    assert_eq!(drops.get(), 3);
    assert!(handle.is_closed());
    assert_eq!(waits.wakes(), 1);
    assert!(waits.poll(&mut closed).is_ready());
}

#[test]
fn the_group_is_closed_and_stopped_before_closed_wakes() {
    let (mut group, handle) = group();
    handle.queue(ready(Ok(1)));
    let stats = Arc::new(std::sync::Mutex::new(None));
    let (seen, at) = (Arc::clone(&stats), handle.clone());
    let waker = waker_fn(move || {
        *seen.lock().unwrap() = Some((at.is_closed(), at.is_stopped(), at.stats().running));
    });
    let mut closed = handle.closed();
    assert!(closed.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(MockTask::new().run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(*stats.lock().unwrap(), Some((true, true, 0)));
}

#[test]
fn a_scope_closes_when_its_body_and_its_children_are_done() {
    let gate = Gate::new();
    let (door, waits) = (gate.clone(), MockTask::new());
    let mut keep = None;
    let slot = &mut keep;
    let mut scope = Box::pin(Group::<Kind>::new().scope(|handle| {
        *slot = Some(handle);
        async move { door.wait(0).await }
    }));
    let task = MockTask::new();
    assert!(task.poll(&mut scope).is_pending());
    let handle = keep.unwrap();
    let mut closed = handle.closed();
    assert!(waits.poll(&mut closed).is_pending());
    gate.open(0);
    assert_eq!(task.poll(&mut scope), Poll::Ready(((), Ok(()))));
    assert_eq!(waits.wakes(), 1);
    assert!(handle.is_closed());
}

#[test]
fn threads_that_wait_from_any_moment_see_the_end() {
    for round in 0..200 {
        let (group, handle) = group();
        let (sender, done) = mpsc::channel();
        for _ in 0..3 {
            let (handle, sender) = (handle.clone(), sender.clone());
            thread::spawn(move || {
                futures::executor::block_on(handle.closed());
                assert!(handle.is_closed());
                sender.send(()).unwrap();
            });
        }
        handle.queue(ready(Ok(round)));
        if round % 2 == 0 {
            assert_eq!(futures::executor::block_on(group), Ok(()));
        } else {
            drop(group);
        }
        for _ in 0..3 {
            done.recv_timeout(Duration::from_secs(20)).expect("every thread sees the end");
        }
    }
}
