//! A scope runs its body beside the children that the body adds.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};
#[cfg(feature = "std")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use crate::common::{
    DropCounter, Gate, Log, MockTask, Probe, count_polls, job, logged_child, yield_now,
};
use async_lock::Mutex;
use errgroup::{Boxed, Group, Handle, LocalBoxed, Reason};
use futures::future::FusedFuture;

type Kind = Boxed<'static, usize, &'static str>;

fn group() -> Group<Kind> {
    Group::new()
}

#[test]
fn a_scope_gives_the_bodys_value_and_the_groups_output() {
    let scope = group().scope(async |handle| {
        handle.queue(ready(Ok(1)));
        "value"
    });
    assert_eq!(MockTask::new().finish(scope), ("value", Ok(())));

    let scope = group().scope(async |handle| {
        handle.queue(ready(Err("failed")));
        "value"
    });
    assert_eq!(MockTask::new().finish(scope), ("value", Err("failed")));
}

#[test]
fn an_empty_body_of_an_empty_group_is_done_at_once() {
    assert_eq!(MockTask::new().finish(group().scope(async |_| ())), ((), Ok(())));
}

#[test]
fn a_closure_that_returns_a_future_is_a_body_too() {
    let scope = group().scope(|handle| async move {
        handle.queue(ready(Ok(1)));
        yield_now().await;
        handle.stats().ok
    });
    assert_eq!(MockTask::new().finish(scope), (1, Ok(())));

    async fn body(handle: Handle<Kind>) -> usize {
        handle.stats().running
    }
    assert_eq!(MockTask::new().finish(group().scope(body)), (0, Ok(())));
}

#[test]
fn a_scope_is_send_if_its_parts_are() {
    fn send<F: Future + Send>(future: F) -> F {
        future
    }
    let names = ["a".to_string(), "b".to_string()];
    let names = &names;
    let scope = send(Group::new().scope(|handle| async move {
        for name in names {
            handle.queue(async move {
                yield_now().await;
                if name.is_empty() { Err("no name") } else { Ok(1_usize) }
            });
        }
        names.len()
    }));
    assert_eq!(MockTask::new().finish(scope), (2, Ok(())));
}

#[test]
fn a_body_and_its_children_may_borrow_from_outside() {
    let (sum, names) = (Cell::new(0), RefCell::new(Vec::new()));
    let (sum, names) = (&sum, &names);
    let scope =
        Group::<LocalBoxed<'_, usize, &'static str>>::local().with_limit(1).scope(async |handle| {
            for n in 1..=3 {
                let child = async move {
                    sum.set(sum.get() + n);
                    names.borrow_mut().push(n);
                    Ok(n)
                };
                assert!(handle.go(child).await.is_ok());
            }
        });
    assert_eq!(MockTask::new().finish(scope), ((), Ok(())));
    assert_eq!((sum.get(), &*names.borrow()), (6, &vec![1, 2, 3]));
}

// === the body runs alongside ===

#[test]
fn children_go_on_while_the_body_awaits_something_else() {
    let (gate, log) = (Gate::new(), Log::new());
    let (door, child_log) = (gate.clone(), log.clone());
    let mut scope = pin!(group().scope(async move |handle| {
        handle.queue(logged_child(0, &door, &child_log));
        door.wait(9).await;
        child_log.add("body");
    }));
    let task = MockTask::new();
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    assert_eq!(log.take(), ["+0"]);
    gate.open(0);
    assert_eq!(task.wakes(), 1);
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    assert_eq!(log.take(), ["-0"]);
    gate.open(9);
    assert_eq!(task.wakes(), 2);
    assert_eq!(task.poll_pinned(scope.as_mut()), Poll::Ready(((), Ok(()))));
    assert_eq!(log.take(), ["body"]);
}

#[test]
fn a_child_that_holds_a_lock_which_the_body_wants_does_not_deadlock_it() {
    for limit in 1..=2 {
        let lock = Arc::new(Mutex::new(0));
        let inner = Arc::clone(&lock);
        let scope = group().with_limit(limit).scope(async move |handle| {
            let held = Arc::clone(&inner);
            handle.queue(async move {
                let mut value = held.lock().await;
                for _ in 0..5 {
                    yield_now().await;
                    *value += 1;
                }
                Ok(0)
            });
            // Lets the child take the lock.
            yield_now().await;
            *inner.lock().await
        });
        assert_eq!(MockTask::new().finish(scope), (5, Ok(())));
    }
}

#[test]
fn the_body_does_not_count_in_the_limit() {
    let gate = Gate::new();
    let door = gate.clone();
    let mut scope = pin!(group().with_limit(1).scope(async |handle| {
        assert_eq!(handle.stats().running, 0);
        assert!(handle.try_go(ready(Ok(1))).is_ok());
        assert!(handle.try_go(ready(Ok(2))).is_err());
        door.wait(0).await;
        assert!(handle.try_go(ready(Ok(3))).is_ok());
        handle.stats().running
    }));
    let task = MockTask::new();
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    gate.open(0);
    assert_eq!(task.poll_pinned(scope.as_mut()), Poll::Ready((1, Ok(()))));
}

#[test]
fn the_group_stays_open_while_the_body_runs() {
    let gate = Gate::new();
    let door = gate.clone();
    let keep = RefCell::new(None);
    let slot = &keep;
    let mut scope = pin!(group().scope(async |handle| {
        *slot.borrow_mut() = Some(handle.clone());
        door.wait(0).await;
        handle.queue(ready(Ok(1)));
    }));
    let task = MockTask::new();
    for _ in 0..3 {
        assert!(task.poll_pinned(scope.as_mut()).is_pending());
    }
    let handle = slot.borrow().clone().unwrap();
    assert!(!handle.is_stopped() && !handle.is_closed());
    // From outside as well.
    assert!(handle.try_go(ready(Ok(2))).is_ok());
    assert_eq!(task.wakes(), 1);
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    assert_eq!(handle.stats().ok, 1);
    gate.open(0);
    assert_eq!(task.poll_pinned(scope.as_mut()), Poll::Ready(((), Ok(()))));
    assert_eq!(handle.stats().ok, 2);
    assert!(handle.is_closed());
    assert_eq!(handle.token().reason(), Some(Reason::Finished));
}

#[test]
fn a_stop_does_not_end_the_body() {
    let gate = Gate::new();
    let door = gate.clone();
    let mut scope = pin!(group().scope(async |handle| {
        handle.queue(ready(Err("failed")));
        let reason = handle.token().cancelled().await;
        assert!(handle.go(ready(Ok(0))).await.is_err());
        door.wait(0).await;
        reason
    }));
    let task = MockTask::new();
    for _ in 0..3 {
        assert!(task.run(&mut scope).is_pending());
    }
    gate.open(0);
    assert_eq!(task.poll_pinned(scope.as_mut()), Poll::Ready((Reason::Failed, Err("failed"))));
}

#[test]
fn a_scope_waits_for_the_children_after_its_body_is_done() {
    let (gate, log) = (Gate::new(), Log::new());
    let mut scope = pin!(group().with_limit(1).scope(async |handle| {
        handle.queue(logged_child(0, &gate, &log));
        handle.queue(logged_child(1, &gate, &log));
    }));
    let task = MockTask::new();
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    assert_eq!(log.take(), ["+0"]);
    gate.open(0);
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    gate.open(1);
    assert_eq!(task.poll_pinned(scope.as_mut()), Poll::Ready(((), Ok(()))));
    assert_eq!(log.take(), ["-0", "+1", "-1"]);
}

#[test]
fn a_scope_waits_for_waiters_in_a_handles_go_after_its_body_is_done() {
    let (gate, log) = (Gate::new(), Log::new());
    let keep = RefCell::new(None);
    let mut scope = pin!(group().with_limit(1).scope(async |handle| {
        handle.queue(logged_child(0, &gate, &log));
        *keep.borrow_mut() = Some(handle);
    }));
    let (task, outside) = (MockTask::new(), MockTask::new());
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    let handle = keep.borrow_mut().take().unwrap();
    let mut go = handle.go(logged_child(1, &gate, &log));
    assert!(outside.poll(&mut go).is_pending());
    gate.open(0);
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    assert!(matches!(outside.poll(&mut go), Poll::Ready(Ok(()))));
    gate.open(1);
    assert_eq!(task.poll_pinned(scope.as_mut()), Poll::Ready(((), Ok(()))));
}

#[test]
fn the_body_is_dropped_as_soon_as_it_is_done() {
    let (gate, log, drops) = (Gate::new(), Log::new(), DropCounter::default());
    let guard = drops.guard();
    let (door, child_log) = (gate.clone(), log.clone());
    let mut scope = pin!(group().scope(|handle| {
        handle.queue(logged_child(0, &door, &child_log));
        let mut polled = false;
        std::future::poll_fn(move |_| {
            let _ = &guard;
            if std::mem::replace(&mut polled, true) { Poll::Pending } else { Poll::Ready(7) }
        })
    }));
    let task = MockTask::new();
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    assert_eq!(drops.get(), 1);
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    gate.open(0);
    assert_eq!(task.poll_pinned(scope.as_mut()), Poll::Ready((7, Ok(()))));
}

#[test]
fn a_scope_is_fused() {
    let mut scope = pin!(group().scope(async |handle| handle.queue(ready(Ok(1)))));
    let task = MockTask::new();
    assert!(!scope.is_terminated());
    assert!(task.run(&mut scope).is_ready());
    assert!(scope.is_terminated());
    assert!(task.run(&mut scope).is_pending());
    assert_eq!(task.wakes(), 0);
}

// === wake-ups ===

#[test]
fn the_body_is_polled_only_when_woken() {
    let gate = Gate::new();
    let polls = Arc::new(AtomicUsize::new(0));
    let body = Arc::clone(&polls);
    let door = gate.clone();
    let mut scope = pin!(group().with_limit(2).scope(|handle| {
        for n in 0..3 {
            let wait = door.wait(n);
            handle.queue(async move {
                wait.await;
                Ok(n)
            });
        }
        count_polls(&body, door.wait(9))
    }));
    let task = MockTask::new();
    let polls = || polls.load(Ordering::SeqCst);
    assert_eq!(polls(), 0);
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    for n in 0..3 {
        gate.open(n);
        assert!(task.poll_pinned(scope.as_mut()).is_pending());
    }
    assert_eq!(polls(), 1);
    assert_eq!(task.wakes(), 3);
    gate.open(9);
    assert_eq!(task.wakes(), 4);
    assert!(task.poll_pinned(scope.as_mut()).is_ready());
    assert_eq!(polls(), 2);
}

#[test]
fn children_are_polled_only_when_woken_even_if_the_body_is_polled() {
    let gate = Gate::new();
    let polls = Arc::new(AtomicUsize::new(0));
    let child = count_polls(&polls, gate.wait(0));
    let door = gate.clone();
    let mut scope = pin!(Group::new().scope(async move |handle| {
        handle.queue(async move {
            child.await;
            Ok::<usize, &str>(0)
        });
        for n in 1..5 {
            door.wait(n).await;
        }
    }));
    let task = MockTask::new();
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    for n in 1..5 {
        gate.open(n);
        assert!(task.poll_pinned(scope.as_mut()).is_pending());
    }
    assert_eq!(polls.load(Ordering::SeqCst), 1);
    assert_eq!(task.wakes(), 4);
    gate.open(0);
    assert!(task.poll_pinned(scope.as_mut()).is_ready());
}

#[test]
fn a_body_that_yields_is_polled_again_in_the_next_poll() {
    let log = Log::new();
    let mut scope = pin!(group().scope(async |handle| {
        for n in 0..3 {
            log.add(format!("body {n}"));
            let child_log = log.clone();
            handle.queue(async move {
                child_log.add(format!("child {n}"));
                Ok(n)
            });
            yield_now().await;
        }
    }));
    let task = MockTask::new();
    for n in 0..3 {
        assert!(task.poll_pinned(scope.as_mut()).is_pending());
        assert_eq!(log.take(), [format!("body {n}"), format!("child {n}")]);
        assert_eq!(task.wakes(), n + 1);
    }
    assert!(task.poll_pinned(scope.as_mut()).is_ready());
}

#[test]
fn the_body_and_the_children_serve_each_other_without_a_wake_up() {
    let gate = Gate::new();
    let door = gate.clone();
    let scope = group().with_limit(1).scope(async |handle| {
        for n in 0..50 {
            let open = door.clone();
            let child = async move {
                open.open(n);
                Ok(n)
            };
            assert!(handle.go(child).await.is_ok());
            door.wait(n).await;
        }
    });
    let task = MockTask::new();
    assert!(task.poll_pinned(pin!(scope)).is_ready());
    assert_eq!(task.wakes(), 0);
}

#[test]
fn a_body_that_a_child_wakes_goes_on_in_the_same_poll() {
    let gate = Gate::new();
    let (door, open) = (gate.clone(), gate.clone());
    let mut scope = pin!(group().scope(async move |handle| {
        let wait = door.wait(9);
        handle.queue(async move {
            open.open(0);
            wait.await;
            Ok(0)
        });
        door.wait(0).await;
        door.open(9);
    }));
    let task = MockTask::new();
    assert_eq!(task.poll_pinned(scope.as_mut()), Poll::Ready(((), Ok(()))));
    assert_eq!(task.wakes(), 0);
}

#[test]
fn one_poll_of_a_scope_is_bounded_however_much_is_ready() {
    let polls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&polls);
    let mut scope = pin!(Group::new().scope(|handle| async move {
        for _ in 0..10_000 {
            let seen = Arc::clone(&seen);
            handle.queue(async move {
                seen.fetch_add(1, Ordering::SeqCst);
                Ok::<usize, &str>(0)
            });
        }
    }));
    let task = MockTask::new();
    let mut before = 0;
    while task.poll_pinned(scope.as_mut()).is_pending() {
        let now = polls.load(Ordering::SeqCst);
        assert!(now - before <= 4096 && now > before);
        before = now;
    }
    assert_eq!((polls.load(Ordering::SeqCst), task.wakes()), (10_000, 2));
}

#[test]
fn a_body_that_is_woken_when_the_budget_is_spent_is_polled_in_the_next_poll() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::<Kind>::new();
    for _ in 0..5_000 {
        let opens = gate.clone();
        group.queue(job(async move {
            opens.open(0);
            Ok(0)
        }));
    }
    let wait = gate.wait(0);
    let mut scope = pin!(group.scope(async |_| wait.await));
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    let ends = task.poll_pinned(scope.as_mut());
    assert!(matches!(ends, Poll::Ready(((), Ok(())))));
}

#[test]
fn a_poll_of_a_body_counts_as_one_of_a_child() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::<Kind>::new();
    (0..5_000).for_each(|_| group.queue(probe.watch(ready(Ok(0)))));
    let wait = gate.wait(0);
    let mut scope = pin!(group.scope(async |_| wait.await));
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    assert_eq!(probe.polls(), 4_095);
}

// === panics ===

#[cfg(feature = "std")]
#[test]
fn a_panic_of_the_body_stops_the_group_and_resumes_after_the_children() {
    let (gate, log) = (Gate::new(), Log::new());
    let (door, child_log) = (gate.clone(), log.clone());
    let keep = RefCell::new(None);
    let slot = &keep;
    let mut scope = pin!(group().with_limit(1).scope(async |handle| {
        *slot.borrow_mut() = Some(handle.clone());
        handle.queue(logged_child(0, &door, &child_log));
        handle.queue(logged_child(1, &door, &child_log));
        door.wait(9).await;
        panic!("the body is broken");
    }));
    let task = MockTask::new();
    let mut poll = || catch_unwind(AssertUnwindSafe(|| task.poll_pinned(scope.as_mut())));
    assert!(poll().unwrap().is_pending());
    gate.open(9);
    assert!(poll().unwrap().is_pending(), "a child is running");
    let handle = slot.borrow_mut().take().unwrap();
    assert_eq!(handle.token().reason(), Some(Reason::Panicked));
    assert_eq!(log.take(), ["+0", "-1"]);
    gate.open(0);
    let payload = poll().unwrap_err();
    assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "the body is broken");
    assert_eq!(log.take(), ["-0"]);
    assert!(poll().unwrap().is_pending());
    assert!(handle.is_closed());
    let stats = handle.stats();
    assert_eq!((stats.ok, stats.dropped), (1, 1), "the body is no child");
}

#[cfg(feature = "std")]
#[test]
fn a_panic_of_the_body_outranks_an_error() {
    let mut scope = pin!(group().scope(async |handle| {
        handle.queue(ready(Err("failed")));
        handle.token().cancelled().await;
        panic!("the body is broken");
    }));
    let task = MockTask::new();
    let caught = catch_unwind(AssertUnwindSafe(|| task.run(&mut scope)));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "the body is broken");
    assert!(scope.is_terminated());
}

#[cfg(feature = "std")]
#[test]
fn the_first_panic_resumes_whether_a_childs_or_the_bodys() {
    let mut scope = pin!(group().scope(async |handle| {
        handle.queue(async { panic!("the child is broken") });
        handle.token().cancelled().await;
        panic!("the body is broken");
    }));
    let task = MockTask::new();
    let caught = catch_unwind(AssertUnwindSafe(|| task.run(&mut scope)));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "the child is broken");
}

#[cfg(feature = "std")]
#[test]
fn a_panic_of_a_child_waits_for_the_body() {
    let gate = Gate::new();
    let door = gate.clone();
    let mut scope = pin!(group().scope(async |handle| {
        handle.queue(async { panic!("the child is broken") });
        door.wait(0).await;
    }));
    let task = MockTask::new();
    let mut poll = || catch_unwind(AssertUnwindSafe(|| task.poll_pinned(scope.as_mut())));
    assert!(poll().unwrap().is_pending());
    gate.open(0);
    assert_eq!(*poll().unwrap_err().downcast_ref::<&str>().unwrap(), "the child is broken");
}

#[cfg(feature = "std")]
#[test]
fn a_panic_of_the_bodys_destructor_counts_as_the_bodys() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the destructor is broken");
        }
    }
    let drops = DropCounter::default();
    let guard = drops.guard();
    let mut scope = pin!(group().scope(|handle| {
        let bomb = Bomb;
        handle.queue(async move {
            let _guard = guard;
            Ok(0)
        });
        std::future::poll_fn(move |_| {
            let _ = &bomb;
            Poll::Ready(())
        })
    }));
    let task = MockTask::new();
    let caught = catch_unwind(AssertUnwindSafe(|| task.run(&mut scope)));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "the destructor is broken");
    assert_eq!(drops.get(), 1);
}

// === drop ===

#[test]
fn a_dropped_scope_drops_children_and_body_with_the_token_cancelled_first() {
    struct Leaves(&'static str, Handle<Kind>, Log);
    impl Drop for Leaves {
        fn drop(&mut self) {
            self.2.add(format!("{}: {:?}", self.0, self.1.token().reason()));
        }
    }
    let log = Log::new();
    let child_log = log.clone();
    let task = MockTask::new();
    {
        let mut scope = pin!(group().with_limit(1).scope(|handle| async move {
            for name in ["running", "queued"] {
                let leaves = Leaves(name, handle.clone(), child_log.clone());
                handle.queue(async move {
                    let _leaves = leaves;
                    pending().await
                });
            }
            let _leaves = Leaves("body", handle, child_log);
            pending::<()>().await;
        }));
        assert!(task.poll_pinned(scope.as_mut()).is_pending());
    }
    let mut said = log.take();
    said.sort();
    assert_eq!(said, ["body: Some(Dropped)", "queued: Some(Dropped)", "running: Some(Dropped)"]);
}

#[test]
fn a_scope_that_was_never_polled_drops_its_body_and_the_children_it_added() {
    let drops = DropCounter::default();
    let (first, second) = (drops.guard(), drops.guard());
    let mut handles = None;
    let scope = group().scope(|handle| {
        handles = Some(handle.clone());
        handle.queue(async move {
            let _first = first;
            Ok(0)
        });
        async move {
            let _second = second;
        }
    });
    drop(scope);
    assert_eq!(drops.get(), 2);
    let handle = handles.unwrap();
    assert!(handle.is_closed());
    assert_eq!(handle.token().reason(), Some(Reason::Dropped));
    assert_eq!(handle.stats().dropped, 1);
}

#[test]
fn a_body_that_waits_in_go_is_dropped_with_its_child() {
    let drops = DropCounter::default();
    let guard = drops.guard();
    let task = MockTask::new();
    {
        let mut scope = pin!(group().with_limit(1).scope(async |handle| {
            handle.queue(pending());
            let child = async move {
                let _guard = guard;
                Ok(0)
            };
            let _ = handle.go(child).await;
        }));
        assert!(task.poll_pinned(scope.as_mut()).is_pending());
        assert_eq!(drops.get(), 0);
    }
    assert_eq!(drops.get(), 1);
}

#[test]
fn scopes_nest() {
    let scope = group().with_limit(1).scope(async |outer| {
        let inner = group().with_limit(1).scope(async |inner| {
            for n in 0..3 {
                assert!(outer.go(ready(Ok(n))).await.is_ok());
                assert!(inner.go(ready(Ok(n))).await.is_ok());
            }
            inner
        });
        let (inner, output) = inner.await;
        assert_eq!((inner.stats().ok, output), (3, Ok(())));
        outer
    });
    let (outer, output) = MockTask::new().finish(scope);
    assert_eq!((outer.stats().ok, output), (3, Ok(())));
}

#[cfg(feature = "std")]
#[test]
fn a_dropped_scope_throws_once_even_if_a_child_and_the_body_panic_in_their_destructors() {
    struct Bomb(&'static str);

    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(self.0);
        }
    }

    let task = MockTask::new();
    let mut scope = Box::pin(Group::new().scope(|handle| async move {
        let bomb = Bomb("the child");
        handle.queue(async move {
            let _bomb = bomb;
            std::future::pending::<Result<usize, &str>>().await
        });
        let _bomb = Bomb("the body");
        std::future::pending::<()>().await;
    }));
    assert!(task.poll(&mut scope).is_pending());
    let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(scope)));
    assert_eq!(thrown.unwrap_err().downcast_ref::<&str>(), Some(&"the child"));
}
