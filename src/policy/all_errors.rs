//! The policy that keeps all errors.

use core::fmt;

use super::{ChildInfo, Errors, Policy, Verdict};
use crate::reason::Reason;

/// Keeps every error, and stops the group at none, unless it is told to.
///
/// Set by [`Group::all_errors`](crate::Group::all_errors). All children run to their end, unless it
/// is to [fail fast](Self::fail_fast) or [tolerates](Self::tolerate) only some errors. The group
/// resolves to `Ok(())` if none failed, and otherwise to all the [`Errors`], in the order in
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
    pub(super) errors: Errors<E>,
    /// How many errors do not stop the group, if that is bounded.
    pub(super) tolerated: Option<usize>,
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
        Self { errors: Errors::default(), tolerated: None }
    }

    /// Stops the group at the first error. The errors that come until its end are kept as well.
    ///
    /// [`Group::fail_fast`](crate::Group::fail_fast) does this to the policy of a group.
    ///
    /// # Panics
    ///
    /// Panics if this or [`tolerate`](Self::tolerate) was called before.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{AllErrors, ChildInfo, Policy, Reason, Verdict};
    ///
    /// let mut policy = AllErrors::new().fail_fast();
    /// let verdict = policy.on_child(&ChildInfo::new(0), Err::<(), _>("one"));
    /// assert_eq!(verdict, Verdict::Stop(Reason::Failed));
    /// ```
    #[track_caller]
    pub fn fail_fast(self) -> Self {
        self.tolerate(0)
    }

    /// Stops the group at the error after the `count`-th. All errors are kept.
    ///
    /// [`Group::tolerate`](crate::Group::tolerate) does this to the policy of a group.
    ///
    /// # Panics
    ///
    /// Panics if this or [`fail_fast`](Self::fail_fast) was called before.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{AllErrors, ChildInfo, Policy, Reason, Verdict};
    ///
    /// let mut policy = AllErrors::new().tolerate(1);
    /// let verdicts = [0, 1].map(|n| policy.on_child(&ChildInfo::new(n), Err::<(), _>("broken")));
    /// assert_eq!(verdicts, [Verdict::Continue, Verdict::Stop(Reason::Failed)]);
    /// ```
    #[track_caller]
    pub fn tolerate(self, count: usize) -> Self {
        assert!(self.tolerated.is_none(), "call either `fail_fast` or `tolerate`, and once");
        Self { tolerated: Some(count), ..self }
    }
}

impl<E> Default for AllErrors<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Policy<T, E> for AllErrors<E> {
    type Output = Result<(), Errors<E>>;

    fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        let Err(error) = result else { return Verdict::Continue };
        self.errors.push(error);
        match self.tolerated {
            Some(tolerated) if self.errors.len() > tolerated => Verdict::Stop(Reason::Failed),
            _ => Verdict::Continue,
        }
    }

    fn finish(&mut self, _: &Reason) -> Self::Output {
        let errors = core::mem::take(&mut self.errors);
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
