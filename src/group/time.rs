//! Builders for what bounds a group's time.

use alloc::boxed::Box;
use core::future::Future;

use super::Group;
use super::timers::Timers;
use crate::child::Children;
use crate::child::Seal;
use crate::child::attach::Attach;

impl<C: Children, P, O> Group<C, P, O> {
    /// Stops the group when a future resolves before it, whatever to: cancels the token with
    /// [`Reason::Deadline`](crate::Reason::Deadline).
    ///
    /// The future is any runtime's timer, or anything else: a signal, a channel that closes.
    /// The group polls it beside its children, and only when it was woken; so do its
    /// [`go`](Self::go) and [`feed`](Self::feed) while they wait, and a
    /// [`scope`](Self::scope). It is dropped when it has resolved, when the group has stopped,
    /// or with the group.
    ///
    /// A deadline is a stop like any other: what runs is told by the token and polled on to
    /// its end, unless [`with_grace`](Self::with_grace) bounds that too; and it is no error by
    /// itself, unless [`err_on_cancel`](Self::err_on_cancel) makes it one. The last deadline
    /// that is set holds; for several, `select` them.
    ///
    /// # Panics
    ///
    /// Where the group has children already.
    ///
    /// A panic of the future is treated as a child's.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use errgroup::{CancelError, Group, Reason};
    /// use tokio::time::sleep;
    ///
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time()
    /// #     .start_paused(true)
    /// #     .build()
    /// #     .unwrap()
    /// #     .block_on(async {
    /// let mut group = Group::new().with_deadline(sleep(Duration::from_secs(30))).err_on_cancel();
    /// let token = group.token().clone();
    /// group.queue(async move {
    ///     while token.run(sleep(Duration::from_secs(1))).await.is_ok() {}
    ///     Ok::<(), CancelError>(())
    /// });
    /// assert_eq!(group.await.unwrap_err().reason(), &Reason::Deadline);
    /// # });
    /// ```
    #[track_caller]
    pub fn with_deadline<D>(mut self, deadline: D) -> Self
    where
        D: Future + Attach<C>,
    {
        assert!(self.is_new(), "call `with_deadline` before the group's first child");
        let deadline = deadline.into_timer(Seal::new());
        let timers = self.timers.get_or_insert_with(|| Box::new(Timers::new()));
        timers.set_deadline(deadline, &self.admission.parent);
        self
    }

    /// Bounds the time that the children have after a stop: once the group has stopped, for
    /// whatever reason, and children still run, calls `f`; when the future that it gives
    /// resolves, the children that still run are dropped where they stand, and the group
    /// resolves as it would have.
    ///
    /// So a stop has two phases: a signal, by the token, after which a child may clean up; and
    /// an end, for one that doesn't come to its own. Without a grace the second never comes.
    /// With one that is ready at once (`|| async {}`), the first is gone: then a failure drops the
    /// siblings, as `try_join_all` does.
    ///
    /// Children that are dropped count as [`dropped`](crate::Stats::dropped), and the policy
    /// does not hear of them. The body of a [`scope`](Self::scope) is not cut off. `f` is not
    /// called where nobody runs at the stop, and not more than once. The last grace that is
    /// set holds.
    ///
    /// # Panics
    ///
    /// Where the group has children already.
    ///
    /// A panic of `f` or of its future is treated as a child's; the children that run are then
    /// polled to their end, however long that takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use errgroup::Group;
    /// use tokio::time::sleep;
    ///
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time()
    /// #     .start_paused(true)
    /// #     .build()
    /// #     .unwrap()
    /// #     .block_on(async {
    /// let mut group = Group::new().with_grace(|| sleep(Duration::from_secs(3)));
    /// let (handle, token) = (group.handle(), group.token().clone());
    /// group.queue(async move {
    ///     token.cancelled().await;
    ///     sleep(Duration::from_secs(1)).await; // cleans up
    ///     Ok(())
    /// });
    /// group.queue(async {
    ///     sleep(Duration::MAX).await; // doesn't listen
    ///     Ok(())
    /// });
    /// group.queue(async { Err("the disk is full") });
    /// assert_eq!(group.await, Err("the disk is full")); // after three seconds
    /// assert_eq!((handle.stats().ok, handle.stats().dropped), (1, 1));
    /// # });
    /// ```
    #[track_caller]
    pub fn with_grace<G, F>(mut self, f: G) -> Self
    where
        G: FnOnce() -> F + Attach<C>,
        F: Future + Attach<C>,
    {
        assert!(self.is_new(), "call `with_grace` before the group's first child");
        let grace = f.into_grace(Seal::new());
        let timers = self.timers.get_or_insert_with(|| Box::new(Timers::new()));
        timers.set_grace(grace);
        self
    }

    /// Whether it never had a child, nor came to an end without one.
    fn is_new(&self) -> bool {
        !self.admission.has_accepted() && !self.resolved
    }
}
