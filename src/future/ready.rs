//! `ready`: the wait until a child would be admitted.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::Driver;
use crate::admission::Ticket;
use crate::child::Kind;
use crate::error::Stopped;
use crate::group::Group;
use crate::group::drive::Driven;

impl<C: Kind, P, O> Group<C, P, O> {
    /// Waits until a plain child would be admitted, and polls the running children meanwhile.
    ///
    /// After it, the next [`try_go`](Self::try_go) of a plain child is admitted, if nothing else
    /// takes the room meanwhile. In a `select!` loop, a [`go`](Self::go) that does not come first
    /// is dropped, and its child with it. With this, the child is made only when there is room.
    ///
    /// To keep the room, use [`Handle::reserve`](crate::Handle::reserve).
    ///
    /// # Errors
    ///
    /// Returns [`Stopped`] if the group has stopped or was [closed](Self::close).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if it is dropped. If it has waited, in a group with a
    /// [handle](crate::Handle), room may be kept for it until it is polled: drop it if it is not
    /// polled on.
    ///
    /// # Fairness
    ///
    /// As `try_go` does, it overtakes nothing. All that waits in the queue comes first, whatever
    /// its priority, and so does what is added before the queue is empty. If tasks with a
    /// [handle](crate::Handle) keep adding children, it may wait for as long as they do.
    ///
    /// A loop of `ready` and `try_go` that always finds room is pending once in 4,096 children, and
    /// polls them then.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # async fn fetch(url: String) -> Result<(), String> { Ok(()) }
    /// # futures::executor::block_on(async {
    /// let mut urls = vec!["/a".to_string(), "/b".to_string(), "/c".to_string()];
    /// let mut group = Group::new().with_limit(2);
    /// while group.ready().await.is_ok() {
    ///     // Only now that there is room.
    ///     let Some(url) = urls.pop() else { break };
    ///     assert!(group.try_go(fetch(url)).is_ok());
    /// }
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    pub fn ready(&mut self) -> Ready<'_, C, P, O> {
        Ready { group: self, ticket: None, yielded: false, done: false }
    }

    /// Looks once whether a plain child would be admitted.
    fn poll_ready(
        &mut self,
        ticket: &mut Option<Ticket<C>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Stopped<()>>> {
        if self.base.vacancy().is_some() {
            return Poll::Ready(Ok(()));
        }
        self.base.admission.poll_ready(ticket, cx).map_err(|_| Stopped(()))
    }
}

/// Future for [`Group::ready`](crate::Group::ready): waits until a plain child would be admitted.
///
/// `C`, `P` and `O` are the group's.
///
/// # Examples
///
/// ```
/// use errgroup::future::Ready;
/// use errgroup::{Boxed, FirstErr, Group};
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new();
/// let ready: Ready<'_, Boxed<'_, (), ()>, FirstErr<()>, Result<(), ()>> = group.ready();
/// assert!(ready.await.is_ok());
/// # });
/// ```
#[must_use = "a future does nothing unless it is polled: `.await` it"]
pub struct Ready<'g, C: Kind, P, O> {
    group: &'g mut Group<C, P, O>,
    /// Its place in the queue, if it has to wait.
    ticket: Option<Ticket<C>>,
    yielded: bool,
    done: bool,
}

impl<C: Kind, P, O> Future for Ready<'_, C, P, O> {
    type Output = Result<(), Stopped<()>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { group, ticket, yielded, done } = &mut *self;
        if *done {
            return Poll::Pending;
        }
        let mut answer = Poll::Pending;
        // After a yield the children are polled, though there may be room.
        if !core::mem::take(yielded) {
            *yielded = group.base.must_yield(cx);
            if *yielded {
                return Poll::Pending;
            }
            // As `try_go` does: these may make room for a child that waits, or stop the group.
            group.take_ends();
            if group.base.must_yield(cx) {
                // The next poll takes in what is left before it looks for room.
                return Poll::Pending;
            }
            answer = group.poll_ready(ticket, cx);
        }
        if answer.is_ready() {
            group.spend_poll();
        } else {
            answer = Driver::poll_with(group, cx, |group, cx, budget| {
                loop {
                    let driven = group.advance(budget);
                    // The children that were polled may have made room: it looks again, last.
                    let answer = group.poll_ready(ticket, cx);
                    if answer.is_ready() || driven != Driven::Progress {
                        return answer;
                    }
                }
            });
        }
        if answer.is_ready() {
            (*ticket, *done) = (None, true);
        }
        answer
    }
}

impl<C: Kind, P, O> FusedFuture for Ready<'_, C, P, O> {
    fn is_terminated(&self) -> bool {
        self.done
    }
}

impl<C: Kind, P, O> fmt::Debug for Ready<'_, C, P, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("waits", &Ticket::is_waiting(&self.ticket))
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
