//! A group's token: made when it is first asked for; cancelled, it wakes the group's task.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::Context;

use crate::reason::Reason;
use crate::token::{CancelToken, Cancelled};
use crate::util::dropped_by::DroppedBy;
use crate::util::lock::LazyInit;
use crate::util::parent_waker::ParentWaker;
use crate::util::rare_box::RareBox;
use crate::util::wake_flag::notifier;

/// Says that a group has stopped: by its token or, as long as it has none, by itself.
pub(super) struct StopSignal {
    token: LazyInit<Box<GroupToken>>,
    /// Why the group stopped, if it did so before its token was asked for.
    reason: Option<Unasked>,
}

/// The reason of a group without a token.
enum Unasked {
    /// Its place among the [plain](Reason::PLAIN) ones.
    Plain(u8),
    Other(RareBox<Reason>),
}

/// The token of a group. What it calls of the tree of tokens it reaches by pointers, so a program
/// that asks for no token does not contain that.
struct GroupToken {
    /// The token, and what wakes the group's task when it is cancelled.
    parts: DroppedBy<(CancelToken, Cancelled)>,
    calls: TokenCalls,
}

struct TokenCalls {
    clone: fn(&CancelToken) -> DroppedBy<CancelToken>,
    reason: fn(&CancelToken) -> Option<Reason>,
    cancel_with: fn(&CancelToken, Reason) -> bool,
}

// === impl StopSignal ===

impl StopSignal {
    pub(super) fn new(parent: &Arc<ParentWaker>) -> Self {
        let make = || GroupToken::boxed(CancelToken::new(), parent);
        Self { token: LazyInit::new(make), reason: None }
    }

    /// Makes the token a child of another one. Returns `false` if it has been given out, or is a
    /// child already.
    pub(super) fn set_parent_token(
        &mut self,
        token: &CancelToken,
        parent: &Arc<ParentWaker>,
    ) -> bool {
        let untouched =
            self.reason.is_none() && !self.token.get().is_some_and(|it| is_given_out(it.token()));
        if untouched {
            self.token = LazyInit::with_value(GroupToken::boxed(token.child(), parent));
        }
        untouched
    }

    pub(super) fn token(&self, parent: &Arc<ParentWaker>) -> &CancelToken {
        let made = self.token.get_or_init(|| {
            let token = CancelToken::new();
            if let Some(reason) = self.own_reason() {
                token.cancel_with(reason);
            }
            GroupToken::boxed(token, parent)
        });
        made.token()
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        match self.token.get() {
            Some(made) => made.token().is_cancelled(),
            None => self.reason.is_some(),
        }
    }

    /// Returns `true` if the token has been asked for.
    pub(super) fn has_token(&self) -> bool {
        self.token.get().is_some()
    }

    /// Returns the token, or `None` if it has not been asked for.
    pub(super) fn made_token(&self) -> Option<DroppedBy<CancelToken>> {
        self.token.get().map(|made| (made.calls.clone)(made.token()))
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        match self.token.get() {
            Some(made) => (made.calls.reason)(made.token()),
            None => self.own_reason(),
        }
    }

    fn own_reason(&self) -> Option<Reason> {
        Some(match self.reason.as_ref()? {
            Unasked::Plain(place) => Reason::PLAIN[usize::from(*place)].clone(),
            Unasked::Other(reason) => Reason::clone(reason.as_ref()?),
        })
    }

    /// Cancels the token. Returns `true` if it was not cancelled before. A waker may panic in
    /// here.
    pub(super) fn set(&mut self, reason: Reason) -> bool {
        if let Some(made) = self.token.get() {
            return (made.calls.cancel_with)(made.token(), reason);
        }
        if self.reason.is_some() {
            return false;
        }
        self.reason = Some(match Reason::PLAIN.iter().position(|it| *it == reason) {
            Some(place) => Unasked::Plain(place as u8),
            None => Unasked::Other(RareBox::some(reason)),
        });
        true
    }
}

// === impl GroupToken ===

impl GroupToken {
    fn boxed(token: CancelToken, parent: &Arc<ParentWaker>) -> Box<Self> {
        let mut watch = token.cancelled();
        let waker = notifier(parent);
        // Only registers the waker: whether the token is cancelled, `is_set` says.
        let _ = Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
        let calls = TokenCalls {
            clone: |token| DroppedBy::new(token.clone(), drop),
            reason: CancelToken::reason,
            cancel_with: CancelToken::cancel_with,
        };
        Box::new(Self { parts: DroppedBy::new((token, watch), drop), calls })
    }

    #[inline]
    fn token(&self) -> &CancelToken {
        &self.parts.0
    }
}

/// Returns `true` if other code has the token, or can cancel it, or has done so.
fn is_given_out(token: &CancelToken) -> bool {
    // Two references are its own: the token and the watch.
    token.references() > 2 || token.is_cancelled() || token.has_parent()
}
