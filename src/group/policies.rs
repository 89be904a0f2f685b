//! Builders for the policies that come with the crate.

use super::Group;
use crate::child::Children;
use crate::child::Kind;
use crate::policy::{AllErrors, Collect, FirstDone, FirstOk, Settle};
use crate::reason::CancelError;

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

impl<C: Children, P, R, X> Group<C, P, Result<R, X>> {
    /// Makes it an error that somebody else has cancelled the group's token: by itself, that
    /// is none, and the output is what the children's results make, though some children were
    /// never started and others came to an early end.
    ///
    /// With it, where the token was cancelled before the group resolved, from outside, by a
    /// parent, by a child or by the [deadline](Self::with_deadline), and no child has returned
    /// an `Err`, an output that is `Ok` gives way to `Err(X::from(CancelError))`; and
    /// [`CancelError::reason`] says why. An output that is an `Err` stays, and so does the
    /// output of a group that stopped by itself: because a child failed, or the policy has
    /// what it wants.
    ///
    /// It goes with any policy whose output is a `Result`. Call it after the policy's builder:
    /// a policy that is set later takes it away.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{CancelError, CancelToken, Group};
    ///
    /// # futures::executor::block_on(async {
    /// let shutdown = CancelToken::new();
    /// let mut group = Group::new().with_parent(&shutdown).with_limit(1).collect().err_on_cancel();
    /// for n in 0..3 {
    ///     let shutdown = shutdown.clone();
    ///     group.queue(async move {
    ///         shutdown.cancel();
    ///         Ok::<_, CancelError>(n)
    ///     });
    /// }
    /// // Not `Ok(vec![0])`: two children were never started.
    /// assert_eq!(group.await.unwrap_err().to_string(), "cancelled");
    /// # });
    /// ```
    pub fn err_on_cancel(mut self) -> Self
    where
        X: From<CancelError>,
    {
        self.on_cancel = Some(|output, error| output.and_then(|_| Err(X::from(error))));
        self
    }
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// The output, now that the token is cancelled; `None` where that panicked.
    pub(super) fn apply_on_cancel(&mut self, output: O) -> Option<O> {
        let Some(on_cancel) = self.on_cancel else {
            return Some(output);
        };
        match self.admission.reason() {
            Some(reason) if !self.stopped_by_group && self.stats().failed == 0 => {
                self.panic.guard(|| on_cancel(output, CancelError::new(reason)))
            }
            _ => Some(output),
        }
    }
}
