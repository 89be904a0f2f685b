//! Why a token was cancelled, and the error that says so.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::error::Error;
use core::fmt;
use core::ptr;

/// Says why a [`CancelToken`](crate::CancelToken) was cancelled.
///
/// Two reasons are equal if they are of the same kind; two [`Cause`](Reason::Cause)s if
/// they share one error, not if the errors look alike.
///
/// # Examples
///
/// ```
/// use errgroup::{CancelToken, Reason};
///
/// let token = CancelToken::new();
/// token.cancel_with(Reason::Deadline);
/// match token.reason() {
///     Some(Reason::Deadline) => {}
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Someone called [`cancel`](crate::CancelToken::cancel).
    Cancelled,
    /// A child failed.
    Failed,
    /// A child panicked.
    Panicked,
    /// What was wanted is there; the rest is no longer needed.
    Done,
    /// The time was up.
    Deadline,
    /// The work that the token belonged to has ended.
    Finished,
    /// The owner of the work, or a [`DropGuard`](crate::DropGuard), was dropped.
    Dropped,
    /// The caller's own error.
    Cause(Arc<dyn Error + Send + Sync>),
}

impl Reason {
    /// Makes a [`Cause`](Self::Cause) of an error, or of a text.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{CancelToken, Reason};
    ///
    /// let token = CancelToken::new();
    /// token.cancel_with(Reason::cause("SIGTERM"));
    /// assert_eq!(token.reason().unwrap().to_string(), "SIGTERM");
    /// ```
    pub fn cause(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Cause(Arc::from(error.into()))
    }
}

impl PartialEq for Reason {
    fn eq(&self, other: &Self) -> bool {
        use Reason::*;
        match (self, other) {
            // By address alone: one type may have several vtables.
            (Cause(a), Cause(b)) => ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b)),
            (Cancelled, Cancelled)
            | (Failed, Failed)
            | (Panicked, Panicked)
            | (Done, Done)
            | (Deadline, Deadline)
            | (Finished, Finished)
            | (Dropped, Dropped) => true,
            _ => false,
        }
    }
}

impl Eq for Reason {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Cancelled => "cancelled",
            Self::Failed => "a child failed",
            Self::Panicked => "a child panicked",
            Self::Done => "the rest is no longer needed",
            Self::Deadline => "the deadline has passed",
            Self::Finished => "the work has finished",
            Self::Dropped => "the owner was dropped",
            Self::Cause(error) => return fmt::Display::fmt(error, f),
        };
        f.pad(text)
    }
}

/// The error of work that a cancelled token cut short.
///
/// Its [`source`](Error::source) is the error of a [`Reason::Cause`]; so is what it shows.
///
/// # Examples
///
/// ```
/// use errgroup::{CancelToken, Reason};
/// use futures::executor::block_on;
///
/// let token = CancelToken::new();
/// token.cancel_with(Reason::Deadline);
/// let error = block_on(token.run(async { 1 })).unwrap_err();
/// assert_eq!(error.reason(), &Reason::Deadline);
/// assert_eq!(error.to_string(), "cancelled: the deadline has passed");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelError {
    reason: Reason,
}

impl CancelError {
    pub(crate) const fn new(reason: Reason) -> Self {
        Self { reason }
    }

    /// Says why the token was cancelled.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Gives the reason, by value.
    pub fn into_reason(self) -> Reason {
        self.reason
    }
}

impl fmt::Display for CancelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Cancelled => f.pad("cancelled"),
            Reason::Cause(error) => fmt::Display::fmt(error, f),
            reason => write!(f, "cancelled: {reason}"),
        }
    }
}

impl Error for CancelError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Cause(error) => Some(&**error),
            _ => None,
        }
    }
}
