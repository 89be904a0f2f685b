//! The default policy, which keeps the first error.

use super::{ChildInfo, Policy, Verdict};
use crate::reason::Reason;

/// Stops the group at the first `Err`, and keeps that error. This is the default policy.
///
/// The group resolves to the error of the first child that finishes with one, or else to
/// `Ok(())`. All other results are dropped. Go's `errgroup` does the same if it is made by
/// `WithContext`.
///
/// A group that is cancelled while no child returns an error resolves to `Ok(())`. With
/// [`err_on_cancel`](crate::Group::err_on_cancel) such a cancel is an error.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new();
/// group.queue(async { Ok(1) });
/// group.queue(async { Err("no such host") });
/// group.queue(async { Err("too late") });
/// assert_eq!(group.await, Err("no such host"));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct FirstErr<E> {
    first: Option<E>,
}

impl<E> FirstErr<E> {
    /// Creates the policy, with no error seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{FirstErr, Group};
    ///
    /// # futures::executor::block_on(async {
    /// // The same as `Group::new()` alone.
    /// let mut group = Group::new().with_policy(FirstErr::new());
    /// group.queue(async { Err::<(), _>("failed") });
    /// assert_eq!(group.await, Err("failed"));
    /// # });
    /// ```
    pub fn new() -> Self {
        Self { first: None }
    }
}

impl<E> Default for FirstErr<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Policy<T, E> for FirstErr<E> {
    type Output = Result<(), E>;

    fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        match result {
            Err(error) if self.first.is_none() => {
                self.first = Some(error);
                Verdict::Stop(Reason::Failed)
            }
            _ => Verdict::Continue,
        }
    }

    fn finish(&mut self, _: &Reason) -> Self::Output {
        self.first.take().map_or(Ok(()), Err)
    }

    fn may_stop_at_ok(&self) -> bool {
        false
    }
}
