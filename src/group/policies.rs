//! Builders for the policies that come with the crate.

use super::Group;
use crate::child::Children;
use crate::policy::built_in::{BuiltIn, FailFast};
use crate::policy::{AllErrors, Collect, FirstDone, FirstOk, Policy, Settle, WithReason};
use crate::reason::{CancelError, Reason};

impl<C: Children, P, O> Group<C, P, O> {
    /// Collects the children's values. See [`Collect`].
    ///
    /// The group resolves to all values in the order of admission, or to the first `Err`, at which
    /// it stops: the output of `try_join_all`.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child or has a policy already, like
    /// [`with_policy`](Self::with_policy).
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
    #[doc(alias("join_all", "try_join_all"))]
    #[track_caller]
    pub fn collect(self) -> Group<C, Collect<C::Ok, C::Err>> {
        self.set_policy(Collect::new())
    }

    /// Collects every error, and stops at none. See [`AllErrors`].
    ///
    /// The group resolves to `Ok(())`, or to all errors in the order in which they came.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child or has a policy already, like
    /// [`with_policy`](Self::with_policy).
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
        self.set_policy(AllErrors::new())
    }

    /// Collects every child's result, and stops at none, as JavaScript's `Promise.allSettled` does.
    /// See [`Settle`].
    ///
    /// The group resolves to all results in the order of admission.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child or has a policy already, like
    /// [`with_policy`](Self::with_policy).
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
    #[doc(alias = "allSettled")]
    #[track_caller]
    pub fn settle(self) -> Group<C, Settle<C::Ok, C::Err>> {
        self.set_policy(Settle::new())
    }

    /// Stops at the first `Ok`, as JavaScript's `Promise.any` does. See [`FirstOk`].
    ///
    /// The group resolves to that value, or, if no child succeeds, to all errors. It waits until
    /// the losers have ended, unless [`drop_on_stop`](Self::drop_on_stop) drops them. The stop
    /// cancels the group's token, so that value must not need the token any more.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child or has a policy already, like
    /// [`with_policy`](Self::with_policy).
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
    #[doc(alias("select_ok", "race_ok", "any"))]
    #[track_caller]
    pub fn first_ok(self) -> Group<C, FirstOk<C::Ok, C::Err>> {
        self.set_policy(FirstOk::new())
    }

    /// Stops at the first child to finish, be its result `Ok` or `Err`. See [`FirstDone`].
    ///
    /// The group resolves to that result, or to `None` if no child but daemons finished. It waits
    /// for the others as [`first_ok`](Self::first_ok) does.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child or has a policy already, like
    /// [`with_policy`](Self::with_policy).
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
    #[doc(alias("race", "select"))]
    #[track_caller]
    pub fn first_done(self) -> Group<C, FirstDone<C::Ok, C::Err>> {
        self.set_policy(FirstDone::new())
    }
}

impl<C: Children, E, O> Group<C, AllErrors<E>, O> {
    /// Stops at the first error. Those that come until the group's end are kept as well, as in
    /// Python's `ExceptionGroup`.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already. Panics if this or
    /// [`tolerate`](Self::tolerate) was called before.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().all_errors().fail_fast();
    /// let token = group.token().clone();
    /// group.queue(async move {
    ///     token.cancelled().await;
    ///     Err("the copy is not whole")
    /// });
    /// group.queue(async { Err::<(), _>("the disk is full") });
    /// let errors = group.await.unwrap_err();
    /// assert_eq!(errors.into_vec(), ["the disk is full", "the copy is not whole"]);
    /// # });
    /// ```
    #[track_caller]
    pub fn fail_fast(self) -> Self {
        self.tolerate(0)
    }

    /// Stops at the error after the `count`-th. All errors are kept, and are the output if there
    /// are any.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already. Panics if this or
    /// [`fail_fast`](Self::fail_fast) was called before.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(1).all_errors().tolerate(2);
    /// for n in 0..100 {
    ///     group.queue(async move { if n % 10 == 0 { Err(n) } else { Ok(()) } });
    /// }
    /// assert_eq!(group.await.unwrap_err().into_vec(), [0, 10, 20]);
    /// # });
    /// ```
    #[track_caller]
    pub fn tolerate(mut self, count: usize) -> Self {
        assert!(
            !self.base.admission.has_accepted(),
            "call `fail_fast` or `tolerate` before the group's first child",
        );
        self.policy = self.policy.take().map(|policy| policy.tolerate(count));
        self
    }
}

impl<C: Children, P: BuiltIn, O> Group<C, P, O> {
    /// Makes the errors say which child has failed: each is a [`Failure`].
    ///
    /// Call it after the builder of the policy, which may be any that comes with the crate. The
    /// output is the policy's, with `Failure<E>` in place of `E`. For a policy of your own, wrap it
    /// in [`Named`](crate::Named).
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, or if [`err_on_cancel`] was called before.
    ///
    /// [`err_on_cancel`]: Self::err_on_cancel
    /// [`Failure`]: crate::Failure
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, task};
    ///
    /// # async fn fetch(url: &str) -> Result<(), String> {
    /// #     if url == "/b" { Err("not found".into()) } else { Ok(()) }
    /// # }
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().all_errors().named();
    /// for url in ["/a", "/b", "/c"] {
    ///     group.queue(task(fetch(url)).name(url));
    /// }
    /// assert_eq!(group.await.unwrap_err().to_string(), "1 error: child 1 (/b): not found");
    /// # });
    /// ```
    #[track_caller]
    pub fn named(mut self) -> Group<C, P::Named>
    where
        P::Named: Policy<C::Ok, C::Err>,
    {
        self.base.admission.keep_names();
        self.map_policy(P::into_named)
    }
}

impl<C: Children, P: FailFast, O> Group<C, P, O> {
    /// Cancels the token, at the first `Err`, with the reason that `reason` makes of the error, in
    /// place of [`Reason::Failed`]: so the siblings can learn why, as from Go's `context.Cause`.
    ///
    /// It works with the default policy and with [`collect`](Self::collect). Call it after these.
    /// `reason` is given the child's own error, in a [named](Self::named) group as well.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, or if [`err_on_cancel`] was called before.
    ///
    /// A panic of `reason` is treated like a child's.
    ///
    /// [`err_on_cancel`]: Self::err_on_cancel
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Reason};
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_reason(|error: &&str| Reason::cause(*error));
    /// let token = group.token().clone();
    /// group.queue(async move {
    ///     assert_eq!(token.cancelled().await.to_string(), "the disk is full");
    ///     Ok(())
    /// });
    /// group.queue(async { Err("the disk is full") });
    /// assert_eq!(group.await, Err("the disk is full"));
    /// # });
    /// ```
    #[track_caller]
    pub fn with_reason<F>(self, reason: F) -> Group<C, WithReason<P, F>>
    where
        P: Policy<C::Ok, C::Err>,
        F: Fn(&C::Err) -> Reason,
    {
        self.map_policy(|policy| WithReason::new(policy, reason))
    }
}

impl<C: Children, P, R, X> Group<C, P, Result<R, X>> {
    /// Turns a cancel from outside into an error. Call it after the policy's builder.
    ///
    /// By itself, a cancel of the group's token is no error. The output is what the children's
    /// results make, even if some children never started and others ended early.
    ///
    /// With this builder, the output becomes `Err(X::from(CancelError))` under two conditions:
    ///
    /// - the token was cancelled before the group resolved, by other code, a parent, a child or the
    ///   [deadline](Self::with_deadline);
    /// - no child returned an `Err`.
    ///
    /// [`CancelError::reason`] then says why. What the policy has made of the children's results is
    /// dropped, even if it is an `Err`: that of [`first_ok`](Self::first_ok) would be an empty
    /// list. The output stays as it is if a child returned an `Err`, or if the group stopped by
    /// itself because the policy has what it wants.
    ///
    /// It works with any policy whose output is a `Result`. A policy's builder that is called later
    /// panics.
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
        self.on_cancel = Some(|group, output| match group.base.admission.reason() {
            Some(reason) if !group.base.stopped_by_group && group.stats().failed == 0 => {
                group.base.panic.guard(|| {
                    // Dropped first: if its destructor panics, no error is made.
                    drop(output);
                    Err(X::from(CancelError::from(reason)))
                })
            }
            _ => Some(output),
        });
        self
    }
}
