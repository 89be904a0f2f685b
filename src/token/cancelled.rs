//! The wait for the cancel of a token.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::CancelToken;
use crate::reason::Reason;

/// The future of [`CancelToken::cancelled`].
///
/// Resolves to the [`Reason`] once the token is cancelled. If polled after that, it stays pending.
///
/// It owns a clone of the token, so it borrows nothing.
///
/// # Drop
///
/// Dropping it removes its waker from the token.
///
/// # Examples
///
/// ```
/// use errgroup::future::Cancelled;
/// use errgroup::{CancelToken, Reason};
/// use futures::executor::block_on;
///
/// let token = CancelToken::new();
/// let cancelled: Cancelled = token.cancelled();
/// token.cancel();
/// assert_eq!(block_on(cancelled), Reason::Cancelled);
/// ```
#[must_use = "a future does nothing unless it is polled: `.await` it"]
pub struct Cancelled {
    /// `None` once it has resolved.
    token: Option<CancelToken>,
    /// The key of its waker in the token, once it has been pending.
    key: Option<usize>,
}

impl Cancelled {
    pub(super) fn new(token: CancelToken) -> Self {
        Self { token: Some(token), key: None }
    }

    /// Returns `true` if a poll would resolve it now.
    pub(super) fn is_ready(&self) -> bool {
        self.token.as_ref().is_some_and(CancelToken::is_cancelled)
    }

    /// Removes its waker from the token and terminates it, as a drop does.
    pub(super) fn terminate(&mut self) {
        let Some(token) = self.token.take() else {
            return;
        };
        if let Some(key) = self.key.take() {
            token.0.deregister(key);
        }
    }
}

impl Future for Cancelled {
    type Output = Reason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = self.get_mut();
        let Some(token) = &this.token else {
            return Poll::Pending;
        };
        if !token.is_cancelled() && token.0.register(&mut this.key, cx.waker()) {
            return Poll::Pending;
        }
        let reason = token.reason();
        // The canceller has taken the waker out, so there is no key to give back.
        this.key = None;
        this.token = None;
        reason.map_or(Poll::Pending, Poll::Ready)
    }
}

impl FusedFuture for Cancelled {
    fn is_terminated(&self) -> bool {
        self.token.is_none()
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.terminate();
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled")
            .field("token", &self.token)
            .field("registered", &self.key.is_some())
            .finish()
    }
}
