//! Builders for the policies that come with the crate.

use super::Group;
use crate::child::Children;
use crate::policy::{AllErrors, Collect, FirstDone, FirstOk, Settle};

impl<C: Children, P, O> Group<C, P, O> {
    /// Keeps the children's values: the group resolves to all of them, in the order of
    /// admission, or to the first `Err`, at which it stops. See [`Collect`].
    ///
    /// # Panics
    ///
    /// Where the group has children already, as [`with_policy`](Self::with_policy).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(2).collect();
    /// for n in [3, 1, 2] {
    ///     group.queue(async move { if n > 0 { Ok(n * 10) } else { Err("not positive") } });
    /// }
    /// assert_eq!(group.await, Ok(vec![30, 10, 20]));
    /// # });
    /// ```
    #[track_caller]
    pub fn collect(self) -> Group<C, Collect<C::Ok, C::Err>> {
        self.with_policy(Collect::new())
    }

    /// Keeps every error, and stops at none: the group resolves to `Ok(())`, or to all the
    /// errors in the order in which they came. See [`AllErrors`].
    ///
    /// # Panics
    ///
    /// Where the group has children already, as [`with_policy`](Self::with_policy).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().all_errors();
    /// for n in 0..4 {
    ///     group.queue(async move { if n % 2 == 0 { Ok(()) } else { Err(n) } });
    /// }
    /// assert_eq!(group.await.unwrap_err().to_string(), "2 errors: 1; 3");
    /// # });
    /// ```
    #[track_caller]
    pub fn all_errors(self) -> Group<C, AllErrors<C::Err>> {
        self.with_policy(AllErrors::new())
    }

    /// Keeps every child's result, and stops at none: the group resolves to all of them, in
    /// the order of admission. See [`Settle`].
    ///
    /// # Panics
    ///
    /// Where the group has children already, as [`with_policy`](Self::with_policy).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().settle();
    /// for n in 0..3 {
    ///     group.queue(async move { if n % 2 == 0 { Ok(n) } else { Err("odd") } });
    /// }
    /// assert_eq!(group.await, [Ok(0), Err("odd"), Ok(2)]);
    /// # });
    /// ```
    #[track_caller]
    pub fn settle(self) -> Group<C, Settle<C::Ok, C::Err>> {
        self.with_policy(Settle::new())
    }

    /// Stops at the first `Ok`, to which the group resolves; where no child succeeds, to all
    /// the errors. See [`FirstOk`].
    ///
    /// # Panics
    ///
    /// Where the group has children already, as [`with_policy`](Self::with_policy).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().first_ok();
    /// for mirror in ["a", "b", "c"] {
    ///     group.queue(async move { if mirror == "a" { Err("no answer") } else { Ok(mirror) } });
    /// }
    /// assert_eq!(group.await, Ok("b"));
    /// # });
    /// ```
    #[track_caller]
    pub fn first_ok(self) -> Group<C, FirstOk<C::Ok, C::Err>> {
        self.with_policy(FirstOk::new())
    }

    /// Stops at the first child to finish, to whose result the group resolves; to `None` where
    /// none finished. See [`FirstDone`].
    ///
    /// # Panics
    ///
    /// Where the group has children already, as [`with_policy`](Self::with_policy).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().first_done();
    /// let token = group.token().clone();
    /// group.queue(async move {
    ///     token.cancelled().await; // the server serves until then
    ///     Ok("served")
    /// });
    /// group.queue(async { Err("SIGTERM") });
    /// assert_eq!(group.await, Some(Err("SIGTERM")));
    /// # });
    /// ```
    #[track_caller]
    pub fn first_done(self) -> Group<C, FirstDone<C::Ok, C::Err>> {
        self.with_policy(FirstDone::new())
    }
}
