//! What a group whose token somebody else has cancelled resolves to.

use super::Group;
use crate::child::{Children, Kind};
use crate::reason::CancelError;

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
        self.amend = Some(|output, error| output.and_then(|_| Err(X::from(error))));
        self
    }
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// The output, now that the token is cancelled; `None` where that panicked.
    pub(super) fn amended(&mut self, output: O) -> Option<O> {
        let Some(amend) = self.amend else {
            return Some(output);
        };
        match self.admission.reason() {
            Some(reason) if !self.stopped_itself && self.stats().failed == 0 => {
                self.panic.guard(|| amend(output, CancelError::new(reason)))
            }
            _ => Some(output),
        }
    }
}
