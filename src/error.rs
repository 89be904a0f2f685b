//! The errors for a child that is not admitted; each gives the child back.

use core::error::Error;
use core::fmt;

/// The group has stopped, or was [closed](crate::Group::close), and admits no more children.
/// Contains the child, which was never polled.
///
/// [`Group::go`](crate::Group::go) and [`Handle::go`](crate::Handle::go) return it. It does not say
/// why the group stopped: the group's own output does. Leave the loop, and await the group.
///
/// So it is not an [`Error`], and `?` does not turn it into one in place of the child's:
///
/// ```compile_fail,E0277
/// use errgroup::Group;
///
/// async fn run() -> anyhow::Result<()> {
///     let mut group = Group::new();
///     group.go(async { Ok::<(), anyhow::Error>(()) }).await?;
///     group.await
/// }
/// ```
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new();
/// group.token().cancel();
/// let stopped = group.go(async { Ok::<_, &str>(7) }).await.unwrap_err();
/// assert_eq!(stopped.to_string(), "the group has stopped or was closed: await it to learn more");
/// assert_eq!(stopped.into_inner().await, Ok(7));
/// # });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stopped<F>(pub(crate) F);

impl<F> Stopped<F> {
    /// Returns the child as it was passed in.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::Group;
    /// # futures::executor::block_on(async {
    /// # let mut group = Group::new();
    /// # group.token().cancel();
    /// if let Err(stopped) = group.go(async { Ok::<_, &str>(7) }).await {
    ///     assert_eq!(stopped.into_inner().await, Ok(7));
    /// }
    /// # });
    /// ```
    pub fn into_inner(self) -> F {
        self.0
    }
}

impl<F> fmt::Debug for Stopped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopped(..)")
    }
}

impl<F> fmt::Display for Stopped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the group has stopped or was closed: await it to learn more")
    }
}

/// What no type is. The compiler looks for it at a `?` after `go`, and says this instead.
#[diagnostic::on_unimplemented(
    message = "a stopped group is no error",
    label = "a stopped group is no error: `let Ok(()) = … else {{ break }};`, and await the group, \
             whose output says why it stopped"
)]
pub trait IsError {}

#[doc(hidden)]
impl<F> Error for Stopped<F> where Self: IsError {}

/// Why [`try_go`](crate::Group::try_go) or [`try_queue`](crate::Group::try_queue) did not take a
/// child. Contains the child, which was never polled.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, TryGoError};
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(1);
/// assert!(group.try_go(async { Ok::<_, &str>(1) }).is_ok());
/// match group.try_go(async { Ok(2) }) {
///     Err(TryGoError::AtLimit(child)) => group.queue(child),
///     Err(_) => unreachable!("it was neither stopped nor closed"),
///     Ok(()) => unreachable!("the first child has not been polled"),
/// }
/// assert_eq!(group.await, Ok(()));
/// # });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryGoError<F> {
    /// There is no room, or callers or children that came before wait for it.
    ///
    /// `try_go` returns it as well
    ///
    /// - if there is no room for the child's [key](crate::Task::key), or the child is
    ///   [unique](crate::Task::unique) and another one has the key;
    /// - if a guard of a [gate](crate::Group::with_gate), or a permit of the
    ///   [semaphore](crate::Group::with_semaphore), is lacking.
    ///
    /// `try_queue` returns it only if as many children as
    /// [may wait](crate::Group::with_queue_limit) are in the queue, or if the child is unique and
    /// another one has its key.
    AtLimit(F),
    /// The group has stopped and admits no more.
    Stopped(F),
    /// The group was [closed](crate::Group::close) and takes no newcomers. Of `try_queue`: or the
    /// group has resolved, and nothing had stopped it.
    Closed(F),
}

impl<F> TryGoError<F> {
    /// Returns the child as it was passed in.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// group.token().cancel();
    /// let refused = group.try_go(async { Ok::<_, &str>(7) }).unwrap_err();
    /// assert_eq!(refused.into_inner().await, Ok(7));
    /// # });
    /// ```
    pub fn into_inner(self) -> F {
        match self {
            Self::AtLimit(child) | Self::Stopped(child) | Self::Closed(child) => child,
        }
    }
}

impl<F> fmt::Debug for TryGoError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLimit(_) => "AtLimit(..)",
            Self::Stopped(_) => "Stopped(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<F> fmt::Display for TryGoError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLimit(_) => "the group is at its limit",
            Self::Stopped(_) => "the group has stopped: await it to learn why",
            Self::Closed(_) => "the group takes no more children: it is closed, or has resolved",
        })
    }
}

impl<F> Error for TryGoError<F> {}
