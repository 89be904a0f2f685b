//! The policy that keeps the first value, or all errors.

use core::fmt;

use super::{ChildInfo, Errors, Policy, Verdict};
use crate::reason::Reason;

/// Stops the group at the first `Ok`, and keeps that value; fails only if no child succeeds.
///
/// Set by [`Group::first_ok`](crate::Group::first_ok). An `Err` does not stop the group. At the
/// first `Ok` the group stops with [`Reason::Done`], and the errors that came before are dropped.
/// The siblings are drained (polled on to their end), and their results are dropped. JavaScript's
/// `Promise.any` gives the same result, but does not wait for the others.
/// [`drop_on_stop`](crate::Group::drop_on_stop) drops them.
///
/// The token is cancelled while the value lives on. So a value must not hang on the group's token:
/// a connection that listens to it, for example, would end with the others. Give it another token.
///
/// If no child succeeds, the group resolves to all the [`Errors`], in the order in which they
/// came. They are empty if no child but daemons finished: the group had none, or was
/// cancelled first.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().first_ok();
/// for mirror in ["down", "up", "slow"] {
///     let token = group.token().clone();
///     group.queue(async move {
///         match mirror {
///             "down" => Err("no answer"),
///             "up" => Ok("the file"),
///             // Ends when the token is cancelled.
///             _ => token.run(std::future::pending()).await.unwrap_or(Err("cancelled")),
///         }
///     });
/// }
/// assert_eq!(group.await, Ok("the file"));
/// # });
/// ```
#[derive(Clone)]
pub struct FirstOk<T, E> {
    first: Option<T>,
    errors: Errors<E>,
}

impl<T, E> FirstOk<T, E> {
    /// Creates the policy, with no result seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{FirstOk, Group};
    ///
    /// # futures::executor::block_on(async {
    /// // The same as `Group::new().first_ok()`.
    /// let mut group = Group::new().with_policy(FirstOk::new());
    /// group.queue(async { Err::<(), _>("one") });
    /// group.queue(async { Err("two") });
    /// assert_eq!(group.await.unwrap_err().into_vec(), ["one", "two"]);
    /// # });
    /// ```
    pub fn new() -> Self {
        Self { first: None, errors: Errors::default() }
    }
}

impl<T, E> Default for FirstOk<T, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Policy<T, E> for FirstOk<T, E> {
    type Output = Result<T, Errors<E>>;

    fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        match result {
            _ if self.first.is_some() => Verdict::Continue,
            Ok(value) => {
                self.first = Some(value);
                self.errors = Errors::default();
                Verdict::Stop(Reason::Done)
            }
            Err(error) => {
                self.errors.push(error);
                Verdict::Continue
            }
        }
    }

    fn finish(&mut self, _: &Reason) -> Self::Output {
        match self.first.take() {
            Some(value) => Ok(value),
            None => Err(core::mem::take(&mut self.errors)),
        }
    }
}

impl<T, E> fmt::Debug for FirstOk<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstOk")
            .field("succeeded", &self.first.is_some())
            .field("errors", &self.errors.len())
            .finish_non_exhaustive()
    }
}
