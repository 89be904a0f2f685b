//! Wakers that panic, or that use the token while they are woken or dropped.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use crate::common::{WakeCount, poll_with, waker_fn};
use errgroup::future::Cancelled;
use errgroup::{CancelToken, Reason};
use futures::executor::block_on;

#[test]
fn one_waker_that_panics_keeps_no_other_from_being_woken() {
    let token = CancelToken::new();
    let (bad, count) = (waker_fn(|| panic!("waker")), WakeCount::new());
    let mut waits = Vec::new();
    for waker in [count.clone().into(), bad, count.clone().into()] {
        let mut wait = token.cancelled();
        assert!(poll_with(&mut wait, &waker).is_pending());
        waits.push(wait);
    }
    assert!(catch_unwind(AssertUnwindSafe(|| token.cancel())).is_err());
    assert_eq!(count.get(), 2);
    assert!(!token.cancel());
}

// Without `std`, no panic can be caught, and the second aborts.
#[cfg(feature = "std")]
#[test]
fn a_waker_that_panics_keeps_no_other_from_being_woken() {
    let token = CancelToken::new();
    let child = token.child();
    let count = WakeCount::new();
    let mut waits = Vec::new();
    for n in 0..6 {
        let waker = match n % 3 {
            0 => count.clone().into(),
            _ => waker_fn(move || panic!("waker {n}")),
        };
        for token in [&token, &child] {
            let mut wait = token.cancelled();
            assert!(poll_with(&mut wait, &waker).is_pending());
            waits.push(wait);
        }
    }
    let panic = catch_unwind(AssertUnwindSafe(|| token.cancel())).unwrap_err();
    assert_eq!(count.get(), 4);
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "waker 1");
    assert!(child.is_cancelled());
    assert_eq!(token.reason(), Some(Reason::Cancelled));
    assert!(waits.iter_mut().all(|wait| poll_with(wait, Waker::noop()).is_ready()));
}

#[cfg(feature = "std")]
#[test]
fn a_waker_that_panics_while_a_guard_is_unwound_does_not_abort() {
    let token = CancelToken::new();
    let (bad, count) = (waker_fn(|| panic!("waker")), WakeCount::new());
    let (mut one, mut two) = (token.cancelled(), token.cancelled());
    assert!(poll_with(&mut one, &bad).is_pending());
    assert!(poll_with(&mut two, &count.clone().into()).is_pending());
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _guard = token.clone().drop_guard();
        panic!("body");
    }))
    .unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"body"));
    assert_eq!(count.get(), 1);
}

#[test]
fn a_waker_may_use_the_token_poll_its_task_or_drop_it() {
    let token = CancelToken::new();
    let slot = Arc::new(Mutex::new(None::<Cancelled>));
    let seen = WakeCount::new();
    // Polls the task inline.
    let polls = waker_fn({
        let (slot, seen) = (slot.clone(), seen.clone());
        move || {
            let mut wait = slot.lock().unwrap().take().unwrap();
            assert!(poll_with(&mut wait, Waker::noop()).is_ready());
            seen.wake_by_ref();
        }
    });
    *slot.lock().unwrap() = Some(token.cancelled());
    assert!(poll_with(slot.lock().unwrap().as_mut().unwrap(), &polls).is_pending());

    // Drops the task of another waiter that is to be woken as well.
    let victim = Arc::new(Mutex::new(Some(token.cancelled())));
    let drops = waker_fn({
        let (victim, seen) = (victim.clone(), seen.clone());
        move || {
            drop(victim.lock().unwrap().take());
            seen.wake_by_ref();
        }
    });
    let mut wait = token.cancelled();
    assert!(poll_with(&mut wait, &drops).is_pending());
    assert!(poll_with(victim.lock().unwrap().as_mut().unwrap(), &seen.clone().into()).is_pending());

    // Uses everything that takes the lock.
    let uses = waker_fn({
        let (token, seen) = (token.clone(), seen.clone());
        move || {
            assert!(!token.cancel());
            assert!(token.child().is_cancelled());
            assert_eq!(token.reason(), Some(Reason::Cancelled));
            assert_eq!(block_on(token.cancelled()), Reason::Cancelled);
            seen.wake_by_ref();
        }
    });
    let mut other = token.cancelled();
    assert!(poll_with(&mut other, &uses).is_pending());

    assert!(token.cancel());
    assert_eq!(seen.get(), 4);
}

#[test]
fn the_last_token_may_be_dropped_while_its_waker_runs() {
    let token = CancelToken::new();
    let slot = Arc::new(Mutex::new(Vec::new()));
    let waker = waker_fn({
        let slot = slot.clone();
        move || drop(std::mem::take(&mut *slot.lock().unwrap()))
    });
    let child = token.child();
    let mut wait = child.cancelled();
    assert!(poll_with(&mut wait, &waker).is_pending());
    slot.lock().unwrap().extend([token.child(), child, token.clone()]);
    drop(token.drop_guard());
    assert!(slot.lock().unwrap().is_empty());
    assert!(poll_with(&mut wait, Waker::noop()).is_ready());
}

/// Uses and drops a token when its last waker is dropped.
struct UseOnDrop(Mutex<Option<CancelToken>>, Arc<AtomicUsize>);

impl Wake for UseOnDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for UseOnDrop {
    fn drop(&mut self) {
        let token = self.0.get_mut().unwrap().take().unwrap();
        let mut wait = token.cancelled();
        let _ = poll_with(&mut wait, Waker::noop());
        drop(token.child());
        token.cancel_with(Reason::Finished);
        self.1.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_waker_may_use_the_token_while_it_is_dropped() {
    let drops = Arc::new(AtomicUsize::new(0));
    let waker = |token: &CancelToken| {
        Waker::from(Arc::new(UseOnDrop(Mutex::new(Some(token.clone())), drops.clone())))
    };

    // The wait is deregistered.
    let token = CancelToken::new();
    let mut wait = token.cancelled();
    assert!(poll_with(&mut wait, &waker(&token)).is_pending());
    drop(wait);
    assert_eq!((drops.load(SeqCst), token.reason()), (1, Some(Reason::Finished)));

    // The waker is replaced.
    let token = CancelToken::new();
    let mut wait = token.cancelled();
    assert!(poll_with(&mut wait, &waker(&token)).is_pending());
    assert!(poll_with(&mut wait, Waker::noop()).is_pending());
    assert_eq!((drops.load(SeqCst), token.reason()), (2, Some(Reason::Finished)));

    // The waker is woken.
    let token = CancelToken::new();
    let mut wait = token.cancelled();
    assert!(poll_with(&mut wait, &waker(&token)).is_pending());
    token.cancel();
    assert_eq!((drops.load(SeqCst), token.reason()), (3, Some(Reason::Cancelled)));
}

#[test]
fn a_cause_may_use_the_token_when_it_is_dropped() {
    #[derive(Debug)]
    struct Cause(CancelToken, Arc<AtomicUsize>);
    impl std::fmt::Display for Cause {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cause")
        }
    }
    impl Error for Cause {}
    impl Drop for Cause {
        fn drop(&mut self) {
            assert!(!self.0.cancel());
            drop(self.0.child());
            self.1.fetch_add(1, SeqCst);
        }
    }

    let drops = Arc::new(AtomicUsize::new(0));
    let token = CancelToken::new();
    token.cancel();
    // It is too late to be the reason, so it is dropped at once.
    assert!(!token.cancel_with(Reason::Cause(Arc::new(Cause(token.clone(), drops.clone())))));
    assert_eq!(drops.load(SeqCst), 1);
    // It is the reason of other tokens, and dropped with the last of them.
    let parent = CancelToken::new();
    let children: Vec<_> = (0..10).map(|_| parent.child()).collect();
    parent.cancel_with(Reason::Cause(Arc::new(Cause(token, drops.clone()))));
    drop(parent);
    assert_eq!(drops.load(SeqCst), 1);
    drop(children);
    assert_eq!(drops.load(SeqCst), 2);
}
