//! The policy that keeps all results.

use alloc::vec::Vec;
use core::fmt;

use super::{ChildInfo, Policy, Verdict};
use crate::reason::Reason;
use crate::util::in_order::Collected;

/// Keeps every child's result in the order of admission, and never stops the group.
///
/// Set by [`Group::settle`](crate::Group::settle). All children run to their end, as with
/// JavaScript's `Promise.allSettled`.
///
/// The group still stops if its token is cancelled or a child panics. If it is cancelled, the
/// results are those of the children that finished, without gaps; a child that was dropped has
/// none.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(2).settle();
/// for text in ["1", "two", "3"] {
///     group.queue(async move { text.parse::<u32>().map_err(|_| text) });
/// }
/// assert_eq!(group.await, [Ok(1), Err("two"), Ok(3)]);
/// # });
/// ```
#[derive(Clone)]
pub struct Settle<T, E> {
    results: Collected<Result<T, E>>,
}

impl<T, E> Settle<T, E> {
    /// Creates the policy, with no result seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Settle};
    ///
    /// # futures::executor::block_on(async {
    /// // The same as `Group::new().settle()`.
    /// let mut group = Group::new().with_policy(Settle::new());
    /// group.queue(async { Err("one") });
    /// group.queue(async { Ok(2) });
    /// assert_eq!(group.await, [Err("one"), Ok(2)]);
    /// # });
    /// ```
    pub fn new() -> Self {
        Self { results: Collected::new() }
    }
}

impl<T, E> Default for Settle<T, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Policy<T, E> for Settle<T, E> {
    type Output = Vec<Result<T, E>>;

    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        self.results.put(child.index(), result);
        Verdict::Continue
    }

    fn finish(&mut self, _: &Reason) -> Self::Output {
        self.results.take()
    }

    fn may_stop_at_ok(&self) -> bool {
        false
    }
}

impl<T, E> fmt::Debug for Settle<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settle").field("results", &self.results.len()).finish_non_exhaustive()
    }
}
