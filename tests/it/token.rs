//! A single token: cancelling it, and waiting for it.

use std::collections::HashSet;
use std::error::Error;
use std::future::{pending, ready};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::common::{WakeCount, poll_with};
use errgroup::future::{Cancelled, Run};
use errgroup::{CancelError, CancelToken, DropGuard, Reason};
use futures::executor::block_on;
use futures::future::FusedFuture;

#[test]
fn the_first_reason_wins_and_one_call_sets_it() {
    let token = CancelToken::new();
    assert!(!token.is_cancelled());
    assert_eq!(token.reason(), None);
    assert!(token.cancel_with(Reason::Deadline));
    assert!(!token.cancel_with(Reason::Failed));
    assert!(!token.clone().cancel());
    assert!(token.is_cancelled());
    assert_eq!(token.reason(), Some(Reason::Deadline));
}

#[test]
// The hash of a token does not depend on its mutable state.
#[allow(clippy::mutable_key_type)]
fn tokens_are_equal_by_identity() {
    let token = CancelToken::default();
    let child = token.child();
    assert_eq!(token, token.clone());
    assert_ne!(token, child);
    assert_ne!(token, CancelToken::new());
    let set: HashSet<_> = [token.clone(), token, child].into_iter().collect();
    assert_eq!(set.len(), 2);
    set.iter().for_each(|token| _ = token.cancel());
    assert!(set.iter().all(|token| set.contains(token)));
}

#[test]
fn everything_is_send_and_the_token_unwind_safe() {
    fn shared<T: Send + Sync + Unpin + 'static>() {}
    fn unwind<T: UnwindSafe + RefUnwindSafe>() {}
    shared::<CancelToken>();
    shared::<Cancelled>();
    shared::<DropGuard>();
    shared::<Reason>();
    shared::<CancelError>();
    shared::<Run<std::future::Ready<()>>>();
    unwind::<CancelToken>();
    unwind::<Cancelled>();
    unwind::<DropGuard>();
    fn send<T: Send>(_: &T) {}
    let text = String::from("borrowed");
    send(&CancelToken::new().run(async { text.len() }));
}

#[test]
fn everything_has_a_debug_form() {
    let token = CancelToken::new();
    assert_eq!(format!("{token:?}"), "CancelToken { reason: None, .. }");
    let mut wait = token.cancelled();
    let mut run = token.run(pending::<()>());
    assert!(poll_with(&mut wait, Waker::noop()).is_pending());
    assert!(format!("{wait:?}").contains("registered: true"));
    token.cancel();
    assert_eq!(format!("{token:?}"), "CancelToken { reason: Some(Cancelled), .. }");
    assert!(poll_with(&mut run, Waker::noop()).is_ready());
    assert!(format!("{run:?}").contains("done: true"));
    assert!(format!("{:?}", token.drop_guard()).starts_with("DropGuard"));
}

#[test]
fn each_waiter_is_woken_exactly_once() {
    let token = CancelToken::new();
    let counts: Vec<_> = (0..100).map(|_| WakeCount::new()).collect();
    let mut waits: Vec<_> = counts.iter().map(|_| token.cancelled()).collect();
    for (wait, count) in waits.iter_mut().zip(&counts) {
        for _ in 0..3 {
            assert!(poll_with(wait, &count.clone().into()).is_pending());
        }
    }
    token.cancel();
    token.cancel();
    assert!(counts.iter().all(|count| count.get() == 1));
    for (wait, count) in waits.iter_mut().zip(&counts) {
        assert_eq!(poll_with(wait, &count.clone().into()), Poll::Ready(Reason::Cancelled));
    }
    drop(waits);
    assert!(counts.iter().all(|count| count.get() == 1 && Arc::strong_count(count) == 1));
}

#[test]
fn a_wait_polled_after_its_end_stays_pending() {
    let token = CancelToken::new();
    let mut wait = token.cancelled();
    assert!(!wait.is_terminated());
    token.cancel();
    assert!(!wait.is_terminated());
    assert!(poll_with(&mut wait, Waker::noop()).is_ready());
    assert!(wait.is_terminated());
    assert!(poll_with(&mut wait, Waker::noop()).is_pending());
    assert_eq!(block_on(token.cancelled()), Reason::Cancelled);
}

#[test]
fn the_newest_waker_is_woken() {
    let token = CancelToken::new();
    let (old, new) = (WakeCount::new(), WakeCount::new());
    let mut wait = token.cancelled();
    assert!(poll_with(&mut wait, &old.clone().into()).is_pending());
    assert_eq!(Arc::strong_count(&old), 2);
    assert!(poll_with(&mut wait, &new.clone().into()).is_pending());
    assert_eq!(Arc::strong_count(&old), 1);
    token.cancel();
    assert_eq!((old.get(), new.get()), (0, 1));
}

#[test]
fn a_dropped_wait_leaves_nothing_behind() {
    let token = CancelToken::new();
    let count = WakeCount::new();
    let mut waits: Vec<_> = (0..50).map(|_| token.cancelled()).collect();
    for wait in &mut waits {
        assert!(poll_with(wait, &count.clone().into()).is_pending());
    }
    assert_eq!(Arc::strong_count(&count), 51);
    // From the middle, so that gaps arise and are filled.
    for gone in [10, 30, 20, 0] {
        drop(waits.swap_remove(gone));
    }
    assert_eq!(Arc::strong_count(&count), 47);
    let mut late = token.cancelled();
    assert!(poll_with(&mut late, &count.clone().into()).is_pending());
    assert_eq!(Arc::strong_count(&count), 48);
    token.cancel();
    assert_eq!(count.get(), 47);
    drop(waits);
    assert_eq!(Arc::strong_count(&count), 1);
}

#[test]
fn a_wait_keeps_its_token() {
    let token = CancelToken::new();
    let child = token.child();
    let count = WakeCount::new();
    let mut polled = child.cancelled();
    let mut unpolled = child.cancelled();
    drop(child);
    assert!(poll_with(&mut polled, &count.clone().into()).is_pending());
    token.cancel();
    assert_eq!(count.get(), 1);
    assert!(poll_with(&mut polled, Waker::noop()).is_ready());
    assert!(poll_with(&mut unpolled, Waker::noop()).is_ready());
}

#[test]
fn a_guard_cancels_unless_disarmed() {
    let token = CancelToken::new();
    let guard = token.clone().drop_guard();
    assert_eq!(guard.disarm(), token);
    assert!(!token.is_cancelled());
    drop(token.clone().drop_guard());
    assert_eq!(token.reason(), Some(Reason::Dropped));
}

#[test]
fn reasons_are_equal_by_kind_and_causes_by_pointer() {
    let cause = |text: &str| Reason::Cause(Arc::new(std::io::Error::other(text)));
    let (one, two) = (cause("full"), cause("full"));
    assert_eq!(one, one.clone());
    assert_ne!(one, two);
    assert_ne!(one, Reason::Failed);
    let plain = [
        Reason::Cancelled,
        Reason::Failed,
        Reason::Panicked,
        Reason::Done,
        Reason::Deadline,
        Reason::Finished,
        Reason::Dropped,
    ];
    for (i, a) in plain.iter().enumerate() {
        for (j, b) in plain.iter().enumerate() {
            assert_eq!(a == b, i == j);
        }
        let text = a.to_string();
        assert_eq!(text, text.to_lowercase());
        assert!(!text.is_empty() && !text.ends_with('.'));
    }
    assert_eq!(one.to_string(), "full");
}

#[test]
fn a_cancel_error_shows_the_reason_or_stands_for_the_cause() {
    let error = |reason: Reason| {
        let token = CancelToken::new();
        token.cancel_with(reason);
        block_on(token.run(ready(()))).unwrap_err()
    };
    let plain = error(Reason::Cancelled);
    assert_eq!(plain.to_string(), "cancelled");
    assert!(plain.source().is_none());
    assert_eq!(plain, plain.clone());
    assert_ne!(plain, error(Reason::Deadline));

    let caused = error(Reason::Cause(Arc::new(std::io::Error::other("disk full"))));
    assert_eq!(caused.to_string(), "disk full");
    assert!(caused.source().is_none(), "the cause has none, and is not its own");
    assert!(matches!(caused.into_reason(), Reason::Cause(_)));
}
