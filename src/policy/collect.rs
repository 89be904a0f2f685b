//! All values, or the first error.

use alloc::vec::Vec;
use core::fmt;

use super::{Policy, Verdict};
use crate::reason::Reason;
use crate::util::in_order::InOrder;

/// Keeps the children's values, in the order of admission; stops at the first `Err`.
///
/// Set by [`Group::collect`](crate::Group::collect). The first child to finish with an error
/// decides, and its error is the group's; the values kept so far are dropped then, and those of
/// the children that still run as they come. `try_join_all` gives the same, but drops the
/// siblings where they stand; here they are told, and polled to their end.
///
/// A group that was cancelled without any child's returning an error gives the values of the
/// children that finished, without gaps. It may have fewer values than it was given children;
/// the token, or [`Stats`](crate::Stats), tells whether it was.
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
    values: InOrder<T>,
    first: Option<E>,
}

impl<T, E> Collect<T, E> {
    /// Makes the policy, with nothing seen.
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
        Self { values: InOrder::new(), first: None }
    }
}

impl<T, E> Default for Collect<T, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Policy<T, E> for Collect<T, E> {
    type Output = Result<Vec<T>, E>;

    fn on_child(&mut self, index: usize, result: Result<T, E>) -> Verdict {
        match result {
            _ if self.first.is_some() => Verdict::Continue,
            Ok(value) => {
                self.values.put(index, value);
                Verdict::Continue
            }
            Err(error) => {
                self.first = Some(error);
                self.values = InOrder::new();
                Verdict::Stop(Reason::Failed)
            }
        }
    }

    fn finish(&mut self) -> Self::Output {
        match self.first.take() {
            Some(error) => Err(error),
            None => Ok(self.values.take_all()),
        }
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
