//! A group's token: made when somebody asks for it, and rings the bell when it is cancelled.

use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::Context;

use crate::future::Cancelled;
use crate::reason::Reason;
use crate::token::CancelToken;
use crate::util::lock::LazyInit;
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::waker;

/// A token on which its group hangs.
pub(super) struct StopSignal {
    pub(super) token: CancelToken,
    /// Rings the bell when the token is cancelled.
    _watch: Cancelled,
}

// === impl Leash ===

impl StopSignal {
    pub(super) fn new(token: CancelToken, parent: &Arc<ParentWaker>) -> Self {
        let mut watch = token.cancelled();
        let waker = waker(Arc::clone(parent));
        // Once registered it rings; what it says, `is_stopped` says as well.
        let _ = Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
        Self { token, _watch: watch }
    }

    /// Whether somebody else has the token, or had it and has cancelled it.
    pub(super) fn is_given_out(&self) -> bool {
        // Two are the leash's own: the token and the watch.
        self.token.references() > 2 || self.token.is_cancelled()
    }
}

/// Whether a group has stopped: by its token, or, as long as it has none, by itself.
#[inline]
pub(super) fn is_stopped(token: &LazyInit<StopSignal>, stopped: &Option<Reason>) -> bool {
    match token.get() {
        Some(stop) => stop.token.is_cancelled(),
        None => stopped.is_some(),
    }
}
