//! Why a token was cancelled, and the error of work that a cancelled token ended.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::error::Error;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::{fmt, ptr};

/// Why a [`CancelToken`](crate::CancelToken) was cancelled.
///
/// Two reasons are equal if they are the same variant. Two [`Cause`](Reason::Cause)s are equal only
/// if they share one error: errors are compared by address, not by value.
///
/// `Display` writes a lower-case phrase without a full stop. For a `Cause` it writes the error.
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
    /// [`CancelToken::cancel`](crate::CancelToken::cancel) was called.
    Cancelled,
    /// A child returned an error that stopped its group, or the body of a
    /// [`try_scope`](crate::Group::try_scope) returned one.
    Failed,
    /// A child panicked, or other code that the group calls, such as its policy.
    Panicked,
    /// What was wanted is there, and the rest is no longer needed: a policy such as
    /// [`FirstOk`](crate::FirstOk) has stopped its group early. If the work has simply ended, the
    /// reason is [`Finished`](Self::Finished).
    Done,
    /// The [deadline](crate::Group::with_deadline) has passed.
    Deadline,
    /// The work has ended: its group has resolved, or only [daemons](crate::Task::daemon) are left
    /// in it. If it was ended early, since what was wanted is there, the reason is
    /// [`Done`](Self::Done).
    Finished,
    /// A group or a [`DropGuard`](crate::DropGuard) was dropped.
    Dropped,
    /// An error of the caller's own, as from [`cause`](Self::cause).
    Cause(Arc<dyn Error + Send + Sync>),
}

impl Reason {
    /// The reasons without a value.
    pub(crate) const PLAIN: &[Self] = &[
        Self::Finished,
        Self::Failed,
        Self::Dropped,
        Self::Done,
        Self::Deadline,
        Self::Panicked,
        Self::Cancelled,
    ];

    /// Creates a [`Cause`](Self::Cause) from an error or a string.
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
            // By the address alone: the vtable pointers of one type may differ.
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

// A panic of a `Cause`'s methods leaves every token as it is.
impl UnwindSafe for Reason {}
impl RefUnwindSafe for Reason {}

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

/// The error of work that was ended by a cancelled token.
///
/// [`CancelToken::run`](crate::CancelToken::run) returns it, and
/// [`Group::err_on_cancel`](crate::Group::err_on_cancel) makes a group's error from it.
///
/// If the reason is a [`Reason::Cause`], this stands for the caller's error: `Display` writes that
/// error, and its [`source`](Error::source) is the source here. For other reasons there is no
/// source, and `Display` writes `cancelled` (for [`Reason::Cancelled`]), or `cancelled: ` and the
/// reason.
///
/// With `std` it converts into a [`std::io::Error`]: a deadline is a
/// [`TimedOut`](std::io::ErrorKind::TimedOut), all else is an
/// [`Interrupted`](std::io::ErrorKind::Interrupted).
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
    /// Returns the reason why the token was cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{CancelToken, Reason};
    /// # futures::executor::block_on(async {
    /// let token = CancelToken::new();
    /// token.cancel();
    /// let error = token.run(async { 1 }).await.unwrap_err();
    /// assert_eq!(error.reason(), &Reason::Cancelled);
    /// # });
    /// ```
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Returns the reason by value.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{CancelToken, Reason};
    /// # futures::executor::block_on(async {
    /// let token = CancelToken::new();
    /// token.cancel_with(Reason::cause("SIGTERM"));
    /// let error = token.run(async { 1 }).await.unwrap_err();
    /// assert_eq!(error.into_reason().to_string(), "SIGTERM");
    /// # });
    /// ```
    pub fn into_reason(self) -> Reason {
        self.reason
    }
}

/// Makes the error of work that was ended for this reason.
///
/// # Examples
///
/// ```
/// use errgroup::{CancelError, Reason};
///
/// assert_eq!(CancelError::from(Reason::cause("SIGTERM")).to_string(), "SIGTERM");
/// ```
impl From<Reason> for CancelError {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

/// Makes an error of the kind `TimedOut` for a deadline, or else `Interrupted`.
///
/// # Examples
///
/// ```
/// use std::io::{self, ErrorKind};
///
/// use errgroup::{CancelToken, Reason};
///
/// async fn read(token: &CancelToken) -> io::Result<Vec<u8>> {
///     token.run(async { Ok(vec![1]) }).await?
/// }
///
/// # futures::executor::block_on(async {
/// let token = CancelToken::new();
/// assert_eq!(read(&token).await.unwrap(), [1]);
/// token.cancel_with(Reason::Deadline);
/// assert_eq!(read(&token).await.unwrap_err().kind(), ErrorKind::TimedOut);
/// # });
/// ```
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
impl From<CancelError> for std::io::Error {
    fn from(error: CancelError) -> Self {
        let kind = match error.reason {
            Reason::Deadline => std::io::ErrorKind::TimedOut,
            _ => std::io::ErrorKind::Interrupted,
        };
        Self::new(kind, error)
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
            Reason::Cause(error) => error.source(),
            _ => None,
        }
    }
}
