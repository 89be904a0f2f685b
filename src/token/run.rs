//! A future that ends with the cancel of a token.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use super::Cancelled;
use crate::reason::CancelError;
use crate::util::panic::return_after;

pin_project! {
    /// The future of [`CancelToken::run`](crate::CancelToken::run).
    ///
    /// If polled after it has resolved, it stays pending.
    ///
    /// # Drop
    ///
    /// Dropping it drops the inner future and removes its waker from the token.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::CancelToken;
    /// use errgroup::future::Run;
    /// use futures::executor::block_on;
    /// use std::future::{Ready, ready};
    ///
    /// let run: Run<Ready<u32>> = CancelToken::new().run(ready(7));
    /// assert_eq!(block_on(run), Ok(7));
    /// ```
    #[must_use = "a future does nothing unless it is polled: `.await` it"]
    pub struct Run<F> {
        // `None` once it has resolved.
        #[pin]
        future: Option<F>,
        cancelled: Cancelled,
        polled: bool,
    }
}

impl<F> Run<F> {
    pub(super) fn new(cancelled: Cancelled, future: F) -> Self {
        Self { future: Some(future), cancelled, polled: false }
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, CancelError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        // If the token is cancelled before the first poll, the future is never polled.
        if *this.polled || !this.cancelled.is_ready() {
            *this.polled = true;
            if let Poll::Ready(output) = future.poll(cx) {
                this.cancelled.terminate();
                return Poll::Ready(Ok(return_after(output, || this.future.set(None))));
            }
        }
        match Pin::new(this.cancelled).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(reason) => {
                this.future.set(None);
                Poll::Ready(Err(CancelError::from(reason)))
            }
        }
    }
}

impl<F: Future> FusedFuture for Run<F> {
    fn is_terminated(&self) -> bool {
        self.future.is_none()
    }
}

impl<F> fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("cancelled", &self.cancelled)
            .field("done", &self.future.is_none())
            .finish_non_exhaustive()
    }
}
