//! The policy that keeps all values, or the first error.

use alloc::vec::Vec;
use core::fmt;

use super::{ChildInfo, Policy, Verdict};
use crate::reason::Reason;
use crate::util::in_order::Collected;

/// Keeps the children's values in the order of admission, and stops the group at the first `Err`.
///
/// Set by [`Group::collect`](crate::Group::collect). The group resolves to the error of the first
/// child that finishes with one, or else to all values. At that error the values kept so far are
/// dropped; those that come later are dropped as they come. `try_join_all` of `futures` gives the
/// same result, but drops the siblings at the first error. Here the token is cancelled, and the
/// siblings are drained: polled on to their end.
///
/// If the group is cancelled and no child returns an error, the values are those of the children
/// that finished, without gaps. There may be fewer values than children then; the token and
/// [`Stats`](crate::Stats) tell whether there are. With
/// [`err_on_cancel`](crate::Group::err_on_cancel) such a cancel is an error.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
/// # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
/// # async fn run() -> Result<(), std::io::Error> {
/// let urls = ["/a", "/long", "/bc"];
/// let mut group = Group::new().with_limit(2).collect();
/// for url in urls {
///     if group.go(length(url)).await.is_err() {
///         break;
///     }
/// }
/// assert_eq!(group.await?, [2, 5, 3]);
/// # Ok(())
/// # }
/// # futures::executor::block_on(run()).unwrap();
/// ```
#[derive(Clone)]
pub struct Collect<T, E> {
    values: Collected<T>,
    first: Option<E>,
}

impl<T, E> Collect<T, E> {
    /// Creates the policy, with no result seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Collect, Group};
    ///
    /// # futures::executor::block_on(async {
    /// // The same as `Group::new().collect()`.
    /// let mut group = Group::new().with_policy(Collect::new());
    /// group.queue(async { Ok::<_, &str>(1) });
    /// group.queue(async { Ok(2) });
    /// assert_eq!(group.await, Ok(vec![1, 2]));
    /// # });
    /// ```
    pub fn new() -> Self {
        Self { values: Collected::new(), first: None }
    }

    #[cold]
    fn fail(&mut self, error: E) -> Verdict {
        self.first = Some(error);
        self.values = Collected::new();
        Verdict::Stop(Reason::Failed)
    }
}

impl<T, E> Default for Collect<T, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Policy<T, E> for Collect<T, E> {
    type Output = Result<Vec<T>, E>;

    #[inline]
    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        match result {
            _ if self.first.is_some() => Verdict::Continue,
            Ok(value) => {
                self.values.put(child.index(), value);
                Verdict::Continue
            }
            Err(error) => self.fail(error),
        }
    }

    fn finish(&mut self, _: &Reason) -> Self::Output {
        match self.first.take() {
            Some(error) => Err(error),
            None => Ok(self.values.take()),
        }
    }

    fn may_stop_at_ok(&self) -> bool {
        false
    }
}

impl<T, E> fmt::Debug for Collect<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collect")
            .field("values", &self.values.len())
            .field("failed", &self.first.is_some())
            .finish_non_exhaustive()
    }
}
