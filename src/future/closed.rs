use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use crate::admission::{ClosedEvent, ClosedWaiter};

/// The future of [`Handle::closed`](crate::Handle::closed): resolves when the group has
/// resolved or is gone, and its children with it.
#[must_use = "a future does nothing unless it is polled: `.await` it"]
pub struct Closed {
    /// Gone once it has resolved.
    end: Option<ClosedWaiter>,
}

impl Closed {
    pub(crate) fn new(end: Arc<ClosedEvent>) -> Self {
        Self { end: Some(ClosedWaiter::new(end)) }
    }
}

impl Future for Closed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(end) = &mut self.end else { return Poll::Pending };
        let closed = Pin::new(end).poll(cx);
        if closed.is_ready() {
            self.end = None;
        }
        closed
    }
}

impl FusedFuture for Closed {
    fn is_terminated(&self) -> bool {
        self.end.is_none()
    }
}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").field("done", &self.end.is_none()).finish_non_exhaustive()
    }
}
