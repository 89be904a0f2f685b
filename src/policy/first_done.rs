//! The policy that keeps the first result.

use core::fmt;

use super::{ChildInfo, Policy, Verdict};
use crate::reason::Reason;

/// Stops the group at the first child to finish, with `Ok` or with `Err`, and keeps its result.
///
/// Set by [`Group::first_done`](crate::Group::first_done). Use it for parts of a program none of
/// which should go on without the others: a server, its signal handler, its worker.
///
/// The group stops with [`Reason::Done`] for an `Ok`, and with [`Reason::Failed`] for an `Err`.
/// The siblings are drained (polled on to their end), and their results are dropped. In Go,
/// oklog/run treats its actors so. JavaScript's `Promise.race` gives the same result, but does not
/// wait for the others.
///
/// The group resolves to `None` if no child but daemons finished: it had none, or all were dropped.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().first_done();
/// for name in ["server", "signals"] {
///     let token = group.token().clone();
///     group.queue(async move {
///         token.cancelled().await; // then it shuts down
///         Err(name)
///     });
/// }
/// group.queue(async { Ok("the worker is done") });
/// assert_eq!(group.await, Some(Ok("the worker is done")));
/// # });
/// ```
#[derive(Clone)]
pub struct FirstDone<T, E> {
    first: Option<Result<T, E>>,
}

impl<T, E> FirstDone<T, E> {
    /// Creates the policy, with no result seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{FirstDone, Group};
    ///
    /// # futures::executor::block_on(async {
    /// // The same as `Group::new().first_done()`.
    /// let mut group = Group::new().with_policy(FirstDone::new());
    /// group.queue(async { Err::<(), _>("broken") });
    /// group.queue(async { Ok(()) });
    /// assert_eq!(group.await, Some(Err("broken")));
    /// # });
    /// ```
    pub fn new() -> Self {
        Self { first: None }
    }
}

impl<T, E> Default for FirstDone<T, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Policy<T, E> for FirstDone<T, E> {
    type Output = Option<Result<T, E>>;

    fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        if self.first.is_some() {
            return Verdict::Continue;
        }
        let reason = if result.is_ok() { Reason::Done } else { Reason::Failed };
        self.first = Some(result);
        Verdict::Stop(reason)
    }

    fn finish(&mut self, _: &Reason) -> Self::Output {
        self.first.take()
    }
}

impl<T, E> fmt::Debug for FirstDone<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstDone").field("finished", &self.first.is_some()).finish_non_exhaustive()
    }
}
