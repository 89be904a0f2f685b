//! `reserve`: room for a child to come.

use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use crate::admission::{Caller, Shared, Ticket, Want};
use crate::child::Kind;
use crate::error::Stopped;
use crate::handle::Handle;
use crate::slot::Slot;

impl<C: Kind> Handle<C> {
    /// Waits for room for one plain child, and holds it in a [`Slot`]. The child is given to the
    /// slot once it has been made.
    ///
    /// In a `select!` loop, a [`go`](Self::go) that does not come first is dropped, and its child
    /// with it. With this, there is no child before there is room for it.
    ///
    /// The group, not this future, polls the children meanwhile. The future borrows nothing of the
    /// handle. With room, it resolves at its first poll.
    ///
    /// # Errors
    ///
    /// Returns [`Stopped`] if the group has stopped or is gone, or if it is
    /// [closed](Self::close), or is closed while this waits.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, it leaves no trace in the group, and those behind it in the queue
    /// move up. In a loop around `select!`, poll the same future on: a new one begins at the end of
    /// the queue.
    ///
    /// # Fairness
    ///
    /// It waits in the group's queue, as a `go` does: first come, first admitted. Like a `go`, it
    /// must be polled on or dropped once it was polled. A slot, once there is one, holds up no
    /// other child. A loop that always finds room is pending once in 4,096 children, if the group
    /// is not polled meanwhile.
    ///
    /// # Examples
    ///
    /// A connection is opened only when a child may run that uses it:
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # async fn connect(n: u32) -> u32 { n }
    /// # futures::executor::block_on(async {
    /// let group = Group::new().with_limit(2);
    /// let handle = group.handle();
    /// let adding = async move {
    ///     for n in 0..9 {
    ///         let Ok(slot) = handle.reserve().await else { break };
    ///         let connection = connect(n).await;
    ///         if slot.go(async move { Ok::<_, ()>(connection) }).is_err() {
    ///             break;
    ///         }
    ///     }
    ///     handle.stats().ok
    /// };
    /// assert_eq!(futures::join!(adding, group).1, Ok(()));
    /// # });
    /// ```
    pub fn reserve(&self) -> Reserve<C> {
        Reserve { shared: Some(Arc::clone(&self.shared)), ticket: None }
    }
}

/// Future for [`Handle::reserve`](crate::Handle::reserve): waits for room, and keeps it.
///
/// # Examples
///
/// ```
/// use errgroup::future::Reserve;
/// use errgroup::{Boxed, Group};
///
/// # futures::executor::block_on(async {
/// let group = Group::new();
/// let reserving: Reserve<Boxed<'_, (), ()>> = group.handle().reserve();
/// let slot = reserving.await.unwrap();
/// assert!(slot.go(async { Ok(()) }).is_ok());
/// # });
/// ```
#[must_use = "room is only waited for when this is polled: `.await` it"]
pub struct Reserve<C: Kind> {
    /// Gone once it has resolved.
    shared: Option<Arc<Shared<C>>>,
    /// Its place in the queue, if it has to wait.
    ticket: Option<Ticket<C>>,
}

impl<C: Kind> Future for Reserve<C> {
    type Output = Result<Slot<C>, Stopped<()>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, ticket } = &mut *self;
        let Some(reserving) = shared else { return Poll::Pending };
        if reserving.core.must_yield(cx) {
            return Poll::Pending;
        }
        let answer = match reserving.poll(Caller::Handle, Want::Slot, ticket, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(answer) => answer,
        };
        reserving.core.count_entry();
        *shared = None;
        Poll::Ready(match (answer, ticket.take()) {
            (Ok(()), Some(ticket)) => Ok(Slot::new(ticket)),
            _ => Err(Stopped(())),
        })
    }
}

impl<C: Kind> FusedFuture for Reserve<C> {
    fn is_terminated(&self) -> bool {
        self.shared.is_none()
    }
}

impl<C: Kind> fmt::Debug for Reserve<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve")
            .field("waits", &Ticket::is_waiting(&self.ticket))
            .field("done", &self.shared.is_none())
            .finish_non_exhaustive()
    }
}
