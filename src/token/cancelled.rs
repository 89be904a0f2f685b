use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::CancelToken;
use crate::reason::Reason;

/// The future of [`CancelToken::cancelled`].
///
/// Resolves to the reason. Polled after that, it stays pending.
#[must_use = "a future does nothing unless it is polled: `.await` it"]
pub struct Cancelled {
    /// `None` once it has resolved.
    token: Option<CancelToken>,
    /// Its place among the token's wakers, if it has been pending before.
    key: Option<usize>,
}

impl Cancelled {
    pub(super) fn new(token: CancelToken) -> Self {
        Self { token: Some(token), key: None }
    }

    /// Says whether a poll would resolve it now.
    pub(super) fn is_ready(&self) -> bool {
        self.token.as_ref().is_some_and(CancelToken::is_cancelled)
    }

    /// Deregisters and ends it; the same as dropping it.
    pub(super) fn end(&mut self) {
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
        // The canceller has taken the waker out: no place to give back.
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
        self.end();
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
