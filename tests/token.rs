//! A single token: cancelling it, waiting for it, running under it.

use std::cell::Cell;
use std::collections::HashSet;
use std::error::Error;
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use errgroup::future::{Cancelled, Run};
use errgroup::{CancelError, CancelToken, DropGuard, Reason};
use futures::executor::block_on;
use futures::future::FusedFuture;

/// Counts its wake-ups.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Does something when woken, with the token in its hand.
struct OnWake<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn on_wake(f: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(OnWake(f)))
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Counts its drops.
struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn the_first_reason_wins_and_one_call_did_it() {
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
// What changes in a token does not change its hash.
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
fn everything_shows_itself() {
    let token = CancelToken::new();
    assert_eq!(format!("{token:?}"), "CancelToken { reason: None, .. }");
    let mut wait = token.cancelled();
    let mut run = token.run(pending::<()>());
    assert!(poll(&mut wait, Waker::noop()).is_pending());
    assert!(format!("{wait:?}").contains("registered: true"));
    token.cancel();
    assert_eq!(
        format!("{token:?}"),
        "CancelToken { reason: Some(Cancelled), .. }"
    );
    assert!(poll(&mut run, Waker::noop()).is_ready());
    assert!(format!("{run:?}").contains("done: true"));
    assert!(format!("{:?}", token.drop_guard()).starts_with("DropGuard"));
}

#[test]
fn each_waiter_is_woken_exactly_once() {
    let token = CancelToken::new();
    let counts: Vec<_> = (0..100).map(|_| Count::new()).collect();
    let mut waits: Vec<_> = counts.iter().map(|_| token.cancelled()).collect();
    for (wait, count) in waits.iter_mut().zip(&counts) {
        for _ in 0..3 {
            assert!(poll(wait, &count.clone().into()).is_pending());
        }
    }
    token.cancel();
    token.cancel();
    assert!(counts.iter().all(|count| count.get() == 1));
    for (wait, count) in waits.iter_mut().zip(&counts) {
        assert_eq!(
            poll(wait, &count.clone().into()),
            Poll::Ready(Reason::Cancelled)
        );
    }
    drop(waits);
    assert!(
        counts
            .iter()
            .all(|count| count.get() == 1 && Arc::strong_count(count) == 1)
    );
}

#[test]
fn a_wait_polled_after_its_end_stays_pending() {
    let token = CancelToken::new();
    let mut wait = token.cancelled();
    assert!(!wait.is_terminated());
    token.cancel();
    assert!(!wait.is_terminated());
    assert!(poll(&mut wait, Waker::noop()).is_ready());
    assert!(wait.is_terminated());
    assert!(poll(&mut wait, Waker::noop()).is_pending());
    assert_eq!(block_on(token.cancelled()), Reason::Cancelled);
}

#[test]
fn the_newest_waker_is_woken() {
    let token = CancelToken::new();
    let (old, new) = (Count::new(), Count::new());
    let mut wait = token.cancelled();
    assert!(poll(&mut wait, &old.clone().into()).is_pending());
    assert_eq!(Arc::strong_count(&old), 2);
    assert!(poll(&mut wait, &new.clone().into()).is_pending());
    assert_eq!(Arc::strong_count(&old), 1);
    token.cancel();
    assert_eq!((old.get(), new.get()), (0, 1));
}

#[test]
fn a_dropped_wait_leaves_nothing_behind() {
    let token = CancelToken::new();
    let count = Count::new();
    let mut waits: Vec<_> = (0..50).map(|_| token.cancelled()).collect();
    for wait in &mut waits {
        assert!(poll(wait, &count.clone().into()).is_pending());
    }
    assert_eq!(Arc::strong_count(&count), 51);
    // From the middle, so that holes are made and filled.
    for gone in [10, 30, 20, 0] {
        drop(waits.swap_remove(gone));
    }
    assert_eq!(Arc::strong_count(&count), 47);
    let mut late = token.cancelled();
    assert!(poll(&mut late, &count.clone().into()).is_pending());
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
    let count = Count::new();
    let mut polled = child.cancelled();
    let mut unpolled = child.cancelled();
    drop(child);
    assert!(poll(&mut polled, &count.clone().into()).is_pending());
    token.cancel();
    assert_eq!(count.get(), 1);
    assert!(poll(&mut polled, Waker::noop()).is_ready());
    assert!(poll(&mut unpolled, Waker::noop()).is_ready());
}

#[test]
fn a_waker_that_panics_keeps_no_other_from_being_woken() {
    let token = CancelToken::new();
    let child = token.child();
    let count = Count::new();
    let mut waits = Vec::new();
    for n in 0..6 {
        let waker = match n % 3 {
            0 => count.clone().into(),
            _ => on_wake(move || panic!("waker {n}")),
        };
        for token in [&token, &child] {
            let mut wait = token.cancelled();
            assert!(poll(&mut wait, &waker).is_pending());
            waits.push(wait);
        }
    }
    let panic = catch_unwind(AssertUnwindSafe(|| token.cancel())).unwrap_err();
    assert_eq!(count.get(), 4);
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "waker 1");
    assert!(child.is_cancelled());
    assert_eq!(token.reason(), Some(Reason::Cancelled));
    assert!(
        waits
            .iter_mut()
            .all(|wait| poll(wait, Waker::noop()).is_ready())
    );
}

#[test]
fn a_waker_that_panics_while_a_guard_is_unwound_does_not_abort() {
    let token = CancelToken::new();
    let (bad, count) = (on_wake(|| panic!("waker")), Count::new());
    let (mut one, mut two) = (token.cancelled(), token.cancelled());
    assert!(poll(&mut one, &bad).is_pending());
    assert!(poll(&mut two, &count.clone().into()).is_pending());
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
    let seen = Count::new();
    // Polls the task inline.
    let polls = on_wake({
        let (slot, seen) = (slot.clone(), seen.clone());
        move || {
            let mut wait = slot.lock().unwrap().take().unwrap();
            assert!(poll(&mut wait, Waker::noop()).is_ready());
            seen.wake_by_ref();
        }
    });
    *slot.lock().unwrap() = Some(token.cancelled());
    assert!(poll(slot.lock().unwrap().as_mut().unwrap(), &polls).is_pending());

    // Drops the task of another waiter, that is to be woken as well.
    let victim = Arc::new(Mutex::new(Some(token.cancelled())));
    let drops = on_wake({
        let (victim, seen) = (victim.clone(), seen.clone());
        move || {
            drop(victim.lock().unwrap().take());
            seen.wake_by_ref();
        }
    });
    let mut wait = token.cancelled();
    assert!(poll(&mut wait, &drops).is_pending());
    assert!(
        poll(
            victim.lock().unwrap().as_mut().unwrap(),
            &seen.clone().into()
        )
        .is_pending()
    );

    // Uses everything that takes the lock.
    let uses = on_wake({
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
    assert!(poll(&mut other, &uses).is_pending());

    assert!(token.cancel());
    assert_eq!(seen.get(), 4);
}

#[test]
fn the_last_token_may_go_while_its_waker_runs() {
    let token = CancelToken::new();
    let slot = Arc::new(Mutex::new(Vec::new()));
    let waker = on_wake({
        let slot = slot.clone();
        move || drop(std::mem::take(&mut *slot.lock().unwrap()))
    });
    let child = token.child();
    let mut wait = child.cancelled();
    assert!(poll(&mut wait, &waker).is_pending());
    slot.lock()
        .unwrap()
        .extend([token.child(), child, token.clone()]);
    drop(token.drop_guard());
    assert!(slot.lock().unwrap().is_empty());
    assert!(poll(&mut wait, Waker::noop()).is_ready());
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
        let _ = poll(&mut wait, Waker::noop());
        drop(token.child());
        token.cancel_with(Reason::Finished);
        self.1.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_waker_may_use_the_token_while_it_is_dropped() {
    let drops = Arc::new(AtomicUsize::new(0));
    let waker = |token: &CancelToken| {
        Waker::from(Arc::new(UseOnDrop(
            Mutex::new(Some(token.clone())),
            drops.clone(),
        )))
    };

    // Deregistered.
    let token = CancelToken::new();
    let mut wait = token.cancelled();
    assert!(poll(&mut wait, &waker(&token)).is_pending());
    drop(wait);
    assert_eq!(
        (drops.load(SeqCst), token.reason()),
        (1, Some(Reason::Finished))
    );

    // Replaced.
    let token = CancelToken::new();
    let mut wait = token.cancelled();
    assert!(poll(&mut wait, &waker(&token)).is_pending());
    assert!(poll(&mut wait, Waker::noop()).is_pending());
    assert_eq!(
        (drops.load(SeqCst), token.reason()),
        (2, Some(Reason::Finished))
    );

    // Woken.
    let token = CancelToken::new();
    let mut wait = token.cancelled();
    assert!(poll(&mut wait, &waker(&token)).is_pending());
    token.cancel();
    assert_eq!(
        (drops.load(SeqCst), token.reason()),
        (3, Some(Reason::Cancelled))
    );
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
    // Too late to be the reason, so it goes at once.
    assert!(!token.cancel_with(Reason::Cause(Arc::new(Cause(token.clone(), drops.clone())))));
    assert_eq!(drops.load(SeqCst), 1);
    // The reason of others, and gone with the last of them.
    let parent = CancelToken::new();
    let children: Vec<_> = (0..10).map(|_| parent.child()).collect();
    parent.cancel_with(Reason::Cause(Arc::new(Cause(token, drops.clone()))));
    drop(parent);
    assert_eq!(drops.load(SeqCst), 1);
    drop(children);
    assert_eq!(drops.load(SeqCst), 2);
}

#[test]
fn run_gives_the_output_of_a_future_that_ends() {
    let token = CancelToken::new();
    assert_eq!(block_on(token.run(async { 7 })), Ok(7));
    // Borrows nothing of the token.
    let run = CancelToken::new().run(ready("text"));
    assert_eq!(block_on(run), Ok("text"));
}

#[test]
fn run_under_a_cancelled_token_never_polls_the_future() {
    let token = CancelToken::new();
    let drops = Arc::new(AtomicUsize::new(0));
    let marker = OnDrop(drops.clone());
    let mut run = pin!(token.run(async move {
        let _marker = marker;
        panic!("polled");
    }));
    token.cancel_with(Reason::Deadline);
    assert!(!run.is_terminated());
    let output: Poll<Result<(), _>> = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error)) = output else {
        panic!("{output:?}")
    };
    assert_eq!(error.reason(), &Reason::Deadline);
    assert_eq!(drops.load(SeqCst), 1, "dropped in the poll");
    assert!(run.is_terminated());
}

#[test]
fn run_lets_a_finished_future_win_over_a_cancelled_token() {
    let token = CancelToken::new();
    let polls = Cell::new(0);
    let mut run = token.run(poll_fn(|_| {
        polls.set(polls.get() + 1);
        if polls.get() == 2 {
            Poll::Ready(7)
        } else {
            Poll::Pending
        }
    }));
    assert!(poll(&mut run, Waker::noop()).is_pending());
    token.cancel();
    assert_eq!(poll(&mut run, Waker::noop()), Poll::Ready(Ok(7)));

    // Also where it is the future itself that cancels.
    let token = CancelToken::new();
    assert_eq!(block_on(token.run(async { token.cancel() })), Ok(true));
}

#[test]
fn run_drops_the_future_in_the_poll_that_sees_the_token_cancelled() {
    let token = CancelToken::new();
    let drops = Arc::new(AtomicUsize::new(0));
    let count = Count::new();
    let marker = OnDrop(drops.clone());
    let mut run = Box::pin(token.run(async move {
        let _marker = marker;
        pending::<()>().await;
    }));
    assert!(poll(&mut run, &count.clone().into()).is_pending());
    token.cancel();
    assert_eq!((count.get(), drops.load(SeqCst)), (1, 0));
    assert!(matches!(
        poll(&mut run, &count.clone().into()),
        Poll::Ready(Err(_))
    ));
    assert_eq!(drops.load(SeqCst), 1);
    // Fused.
    assert!(run.is_terminated());
    assert!(poll(&mut run, Waker::noop()).is_pending());
}

#[test]
fn run_sees_a_token_that_its_future_cancels() {
    let token = CancelToken::new();
    let inner = token.clone();
    let mut run = token.run(poll_fn(move |_| {
        inner.cancel();
        Poll::<()>::Pending
    }));
    assert!(matches!(poll(&mut run, Waker::noop()), Poll::Ready(Err(_))));
}

#[test]
fn run_deregisters_when_its_future_ends_or_it_is_dropped() {
    let token = CancelToken::new();
    let count = Count::new();
    let done = Rc::new(Cell::new(false));
    let future = |done: Rc<Cell<bool>>| {
        poll_fn(move |_| {
            if done.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    };
    let (mut one, mut two) = (
        token.run(future(done.clone())),
        token.run(future(done.clone())),
    );
    assert!(poll(&mut one, &count.clone().into()).is_pending());
    assert!(poll(&mut two, &count.clone().into()).is_pending());
    assert_eq!(Arc::strong_count(&count), 3);
    done.set(true);
    assert_eq!(poll(&mut one, Waker::noop()), Poll::Ready(Ok(())));
    assert_eq!(Arc::strong_count(&count), 2);
    assert!(one.is_terminated() && poll(&mut one, Waker::noop()).is_pending());
    drop(two);
    assert_eq!(Arc::strong_count(&count), 1);
    token.cancel();
    assert_eq!(count.get(), 0);
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
fn a_cancel_error_shows_the_reason_and_has_the_cause_as_its_source() {
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
    assert!(caused.source().unwrap().is::<std::io::Error>());
    assert!(matches!(caused.into_reason(), Reason::Cause(_)));
}
