//! `closed`: the wait for the end of a group.

use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use crate::admission::{ClosedEvent, ClosedWaiter};
use crate::child::Kind;
use crate::handle::Handle;

impl<C: Kind> Handle<C> {
    /// Waits until the group has resolved or is gone, and all its children with it.
    ///
    /// Any number of tasks may wait. The future borrows nothing of the handle. It also waits for
    /// children of [`Group::on`](crate::Group::on) that a drop of the group, a grace,
    /// `drop_on_stop` or `until_stop` has cut off, which are gone at their next poll.
    ///
    /// # Hazards
    ///
    /// A child of the group, or the body of its scope, that awaits this waits for itself, for ever.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let closed = group.handle().closed();
    /// group.queue(async { Ok::<(), ()>(()) });
    /// let (output, ()) = futures::join!(group, closed);
    /// assert_eq!(output, Ok(()));
    /// # });
    /// ```
    #[doc(alias("wait", "join"))]
    pub fn closed(&self) -> Closed {
        Closed::new(self.shared.core.closed_event())
    }

    /// Returns `true` if the group has resolved or is gone, and all its children with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let group = Group::<Boxed<'_, (), ()>>::new();
    /// let handle = group.handle();
    /// assert!(!handle.is_closed());
    /// drop(group);
    /// assert!(handle.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.shared.core.is_closed()
    }
}

/// Future for [`Handle::closed`](crate::Handle::closed): resolves when the group has resolved or is
/// gone, and its children with it.
///
/// It is `'static` and `Send`.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
/// use errgroup::future::Closed;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new();
/// group.queue(async { Ok::<(), ()>(()) });
/// let closed: Closed = group.handle().closed();
/// drop(group);
/// closed.await;
/// # });
/// ```
#[must_use = "a future does nothing unless it is polled: `.await` it"]
pub struct Closed {
    /// Gone once it has resolved.
    waiter: Option<ClosedWaiter>,
}

impl Closed {
    pub(crate) fn new(event: Arc<ClosedEvent>) -> Self {
        Self { waiter: Some(ClosedWaiter::new(event)) }
    }
}

impl Future for Closed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(waiter) = &mut self.waiter else { return Poll::Pending };
        let closed = Pin::new(waiter).poll(cx);
        if closed.is_ready() {
            self.waiter = None;
        }
        closed
    }
}

impl FusedFuture for Closed {
    fn is_terminated(&self) -> bool {
        self.waiter.is_none()
    }
}

// A waker that panics does so outside of the event's lock.
impl UnwindSafe for Closed {}
impl RefUnwindSafe for Closed {}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").field("done", &self.waiter.is_none()).finish_non_exhaustive()
    }
}
