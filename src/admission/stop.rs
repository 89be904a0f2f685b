//! A group's token: made when it is first asked for; cancelled, it wakes the group's task.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::Context;

use crate::reason::Reason;
use crate::token::{CancelToken, Cancelled};
use crate::util::lock::LazyInit;
use crate::util::parent_waker::ParentWaker;
use crate::util::wake_flag::notifier;

/// Says that a group has stopped: by its token or, as long as it has none, by itself.
pub(super) struct StopSignal {
    token: LazyInit<Box<GroupToken>>,
    /// Why the group stopped, if it did so before its token was asked for: the reason's place among
    /// the [plain](Reason::PLAIN) ones. For another reason the token is made.
    reason: Option<u8>,
}

struct GroupToken {
    token: CancelToken,
    /// Wakes the group's task when the token is cancelled.
    _watch: Cancelled,
}

// === impl StopSignal ===

impl StopSignal {
    pub(super) fn new(parent: &Arc<ParentWaker>) -> Self {
        let make = || Box::new(GroupToken::new(CancelToken::new(), parent));
        Self { token: LazyInit::new(make), reason: None }
    }

    /// Makes the token a child of another one. Returns `false` if it has been given out.
    pub(super) fn set_parent(&mut self, token: &CancelToken, parent: &Arc<ParentWaker>) -> bool {
        let untouched =
            self.reason.is_none() && !self.token.get().is_some_and(|made| made.is_given_out());
        if untouched {
            self.token = LazyInit::with_value(Box::new(GroupToken::new(token.child(), parent)));
        }
        untouched
    }

    pub(super) fn token(&self, parent: &Arc<ParentWaker>) -> &CancelToken {
        let made = self.token.get_or_init(|| {
            let token = CancelToken::new();
            if let Some(reason) = self.plain_reason() {
                token.cancel_with(reason);
            }
            Box::new(GroupToken::new(token, parent))
        });
        &made.token
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        match self.token.get() {
            Some(made) => made.token.is_cancelled(),
            None => self.reason.is_some(),
        }
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        match self.token.get() {
            Some(made) => made.token.reason(),
            None => self.plain_reason(),
        }
    }

    fn plain_reason(&self) -> Option<Reason> {
        Some(Reason::PLAIN[usize::from(self.reason?)].clone())
    }

    /// Cancels the token. Returns `true` if it was not cancelled before. A waker may panic in
    /// here.
    pub(super) fn set(&mut self, reason: Reason, parent: &Arc<ParentWaker>) -> bool {
        if self.token.get().is_none() {
            if self.reason.is_some() {
                return false;
            }
            if let Some(plain) = Reason::PLAIN.iter().position(|it| *it == reason) {
                self.reason = Some(plain as u8);
                return true;
            }
        }
        self.token(parent).cancel_with(reason)
    }
}

// === impl GroupToken ===

impl GroupToken {
    fn new(token: CancelToken, parent: &Arc<ParentWaker>) -> Self {
        let mut watch = token.cancelled();
        let waker = notifier(parent);
        // Only registers the waker: whether the token is cancelled, `is_set` says.
        let _ = Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
        Self { token, _watch: watch }
    }

    /// Returns `true` if other code has the token, or has cancelled it.
    fn is_given_out(&self) -> bool {
        // Two references are its own: the token and the watch.
        self.token.references() > 2 || self.token.is_cancelled()
    }
}
