//! The policy that keeps all errors.

use core::fmt;

use super::{Errors, Policy, Verdict};

/// Keeps every error, and never stops the group.
///
/// Set by [`Group::all_errors`](crate::Group::all_errors). All children run to their end. The
/// group resolves to `Ok(())` if none failed, and otherwise to all the [`Errors`], in the order in
/// which they came. The `Ok` values are dropped; [`Settle`](crate::Settle) keeps both. In Go, an
/// `ErrorPool` of conc does the same by default.
///
/// The group still stops if its token is cancelled or a child panics.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().all_errors();
/// for name in ["a.txt", "", "b.txt", "?"] {
///     group.queue(async move {
///         if name.len() > 1 { Ok(()) } else { Err(format!("{name:?} is no file")) }
///     });
/// }
/// let errors = group.await.unwrap_err();
/// assert_eq!(errors.len(), 2);
/// assert_eq!(errors.to_string(), r#"2 errors: "" is no file; "?" is no file"#);
/// # });
/// ```
#[derive(Clone)]
pub struct AllErrors<E> {
    errors: Errors<E>,
}

impl<E> AllErrors<E> {
    /// Creates the policy, with no error seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{AllErrors, Group};
    ///
    /// # futures::executor::block_on(async {
    /// // The same as `Group::new().all_errors()`.
    /// let mut group = Group::new().with_policy(AllErrors::new());
    /// group.queue(async { Err::<(), _>("one") });
    /// group.queue(async { Err("two") });
    /// assert_eq!(group.await.unwrap_err().into_vec(), ["one", "two"]);
    /// # });
    /// ```
    pub fn new() -> Self {
        Self { errors: Errors::none() }
    }
}

impl<E> Default for AllErrors<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Policy<T, E> for AllErrors<E> {
    type Output = Result<(), Errors<E>>;

    fn on_child(&mut self, _index: usize, result: Result<T, E>) -> Verdict {
        if let Err(error) = result {
            self.errors.push(error);
        }
        Verdict::Continue
    }

    fn finish(&mut self) -> Self::Output {
        let errors = self.errors.take();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn may_stop_at_ok(&self) -> bool {
        false
    }
}

impl<E> fmt::Debug for AllErrors<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllErrors").field("errors", &self.errors.len()).finish_non_exhaustive()
    }
}
