//! `CancelToken::run`: a future under a token.

use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::common::{DropCounter, WakeCount, poll_with};
use errgroup::{CancelToken, Reason};
use futures::executor::block_on;
use futures::future::FusedFuture;

#[test]
fn run_gives_the_output_of_a_future_that_ends() {
    let token = CancelToken::new();
    assert_eq!(block_on(token.run(async { 7 })), Ok(7));
    // The future borrows nothing of the token.
    let run = CancelToken::new().run(ready("text"));
    assert_eq!(block_on(run), Ok("text"));
}

#[test]
fn run_under_a_cancelled_token_never_polls_the_future() {
    let token = CancelToken::new();
    let drops = DropCounter::default();
    let marker = drops.guard();
    let mut run = pin!(token.run(async move {
        let _marker = marker;
        panic!("polled");
    }));
    token.cancel_with(Reason::Deadline);
    assert!(!run.is_terminated());
    let output: Poll<Result<(), _>> = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(error)) = output else { panic!("{output:?}") };
    assert_eq!(error.reason(), &Reason::Deadline);
    assert_eq!(drops.get(), 1, "dropped in the poll");
    assert!(run.is_terminated());
}

#[test]
fn run_lets_a_finished_future_win_over_a_cancelled_token() {
    let token = CancelToken::new();
    let polls = Cell::new(0);
    let mut run = token.run(poll_fn(|_| {
        polls.set(polls.get() + 1);
        if polls.get() == 2 { Poll::Ready(7) } else { Poll::Pending }
    }));
    assert!(poll_with(&mut run, Waker::noop()).is_pending());
    token.cancel();
    assert_eq!(poll_with(&mut run, Waker::noop()), Poll::Ready(Ok(7)));

    // Also if the future itself cancels.
    let token = CancelToken::new();
    assert_eq!(block_on(token.run(async { token.cancel() })), Ok(true));
}

#[test]
fn run_drops_the_future_in_the_poll_that_sees_the_token_cancelled() {
    let token = CancelToken::new();
    let drops = DropCounter::default();
    let count = WakeCount::new();
    let marker = drops.guard();
    let mut run = Box::pin(token.run(async move {
        let _marker = marker;
        pending::<()>().await;
    }));
    assert!(poll_with(&mut run, &count.clone().into()).is_pending());
    token.cancel();
    assert_eq!((count.get(), drops.get()), (1, 0));
    assert!(matches!(poll_with(&mut run, &count.clone().into()), Poll::Ready(Err(_))));
    assert_eq!(drops.get(), 1);
    // The future is fused.
    assert!(run.is_terminated());
    assert!(poll_with(&mut run, Waker::noop()).is_pending());
}

#[test]
fn run_sees_a_token_that_its_future_cancels() {
    let token = CancelToken::new();
    let inner = token.clone();
    let mut run = token.run(poll_fn(move |_| {
        inner.cancel();
        Poll::<()>::Pending
    }));
    assert!(matches!(poll_with(&mut run, Waker::noop()), Poll::Ready(Err(_))));
}

#[test]
fn run_deregisters_when_its_future_ends_or_it_is_dropped() {
    let token = CancelToken::new();
    let count = WakeCount::new();
    let done = Rc::new(Cell::new(false));
    let future = |done: Rc<Cell<bool>>| {
        poll_fn(move |_| if done.get() { Poll::Ready(()) } else { Poll::Pending })
    };
    let (mut one, mut two) = (token.run(future(done.clone())), token.run(future(done.clone())));
    assert!(poll_with(&mut one, &count.clone().into()).is_pending());
    assert!(poll_with(&mut two, &count.clone().into()).is_pending());
    assert_eq!(Arc::strong_count(&count), 3);
    done.set(true);
    assert_eq!(poll_with(&mut one, Waker::noop()), Poll::Ready(Ok(())));
    assert_eq!(Arc::strong_count(&count), 2);
    assert!(one.is_terminated() && poll_with(&mut one, Waker::noop()).is_pending());
    drop(two);
    assert_eq!(Arc::strong_count(&count), 1);
    token.cancel();
    assert_eq!(count.get(), 0);
}
