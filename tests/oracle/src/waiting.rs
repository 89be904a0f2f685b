//! What watches the futures that the crate returns.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures::future::{Either, LocalBoxFuture, select};

use crate::executor::Latch;
use crate::record::{Driver, GroupRecord, Waiter};
use crate::world::{Awaited, World};

/// A call that waits for room, which its group's record lists from its first poll to its end.
pub(crate) struct Waiting<'a, T> {
    pub(crate) waiter: Rc<Waiter>,
    group: Rc<GroupRecord>,
    world: Rc<World>,
    future: Option<LocalBoxFuture<'a, T>>,
    was_polled: bool,
}

impl<'a, T> Waiting<'a, T> {
    pub(crate) fn new(
        world: &Rc<World>,
        group: &Rc<GroupRecord>,
        waiter: Waiter,
        future: LocalBoxFuture<'a, T>,
    ) -> Self {
        Self {
            waiter: Rc::new(waiter),
            group: group.clone(),
            world: world.clone(),
            future: Some(future),
            was_polled: false,
        }
    }
}

impl<T> Waiting<'_, T> {
    fn unlist(&self) {
        self.group.waiters.borrow_mut().retain(|waiter| !Rc::ptr_eq(waiter, &self.waiter));
    }
}

impl<T> Future for Waiting<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        *this.waiter.inside.borrow_mut() = this.world.polling.borrow().last().cloned();
        if !std::mem::replace(&mut this.was_polled, true) {
            let now = this.world.tick();
            this.waiter.polled_at.set(now);
            if let Some(child) = &this.waiter.child {
                child.offered_at.set(now);
            }
            this.group.waiters.borrow_mut().push(this.waiter.clone());
        }
        let future = this.future.as_mut().expect("a future that has not ended");
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            this.unlist();
            this.future = None;
        }
        polled
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        self.future = None;
        self.unlist();
    }
}

/// What polls a group, which its record says until it is dropped.
pub(crate) struct Driving<F> {
    group: Rc<GroupRecord>,
    driver: Driver,
    future: Pin<Box<F>>,
}

impl<F: Future> Driving<F> {
    pub(crate) fn new(group: &Rc<GroupRecord>, driver: Driver, future: F) -> Self {
        Self { group: group.clone(), driver, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Driving<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.group.driver.set(Some(self.driver));
        self.future.as_mut().poll(cx)
    }
}

impl<F> Drop for Driving<F> {
    fn drop(&mut self) {
        self.group.driver.set(None);
    }
}

/// Says what a task waits for, until it is dropped.
pub(crate) struct Awaiting<'a> {
    world: &'a World,
    awaited: Rc<Awaited>,
}

impl<'a> Awaiting<'a> {
    pub(crate) fn new(world: &'a World, awaited: Awaited) -> Self {
        let awaited = Rc::new(awaited);
        world.awaited.borrow_mut().push(awaited.clone());
        Self { world, awaited }
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.world.awaited.borrow_mut().retain(|awaited| !Rc::ptr_eq(awaited, &self.awaited));
    }
}

/// Counts one more, until it is dropped.
pub(crate) struct Counted<'a>(&'a Cell<usize>);

impl<'a> Counted<'a> {
    pub(crate) fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Returns the output, or `None` if the latch opens first; then the future is dropped.
pub(crate) async fn until<F: Future>(future: F, latch: Rc<Latch>) -> Option<F::Output> {
    match select(Box::pin(future), latch.wait()).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// Returns the output, or `None` if it is pending; then it is left as it is.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
