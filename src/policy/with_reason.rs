//! A policy whose stop has a reason of the caller's.

use super::{ChildInfo, Policy, Verdict};
use crate::reason::Reason;

/// Makes the reason of the stop from the error that causes it.
///
/// Set by [`Group::with_reason`](crate::Group::with_reason). The policy in it decides all else.
///
/// # Examples
///
/// ```
/// use errgroup::{FirstErr, Group, Reason, WithReason};
///
/// # futures::executor::block_on(async {
/// // The same as `Group::new().with_reason(…)`.
/// let policy = WithReason::new(FirstErr::new(), |error: &&str| Reason::cause(*error));
/// let mut group = Group::new().with_policy(policy);
/// let token = group.token().clone();
/// group.queue(async { Err::<(), _>("the disk is full") });
/// assert!(group.await.is_err());
/// assert_eq!(token.reason().unwrap().to_string(), "the disk is full");
/// # });
/// ```
#[derive(Clone)]
pub struct WithReason<P, F> {
    pub(super) policy: P,
    /// Gone once an error has stopped the group.
    pub(super) reason: Option<F>,
}

impl<P, F> WithReason<P, F> {
    /// Creates the policy: `reason` is called with each error until one stops the group.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Collect, Reason, WithReason};
    ///
    /// let policy = WithReason::new(Collect::<(), u8>::new(), |code: &u8| match code {
    ///     0 => Reason::Done,
    ///     _ => Reason::Failed,
    /// });
    /// # let _ = policy;
    /// ```
    pub fn new(policy: P, reason: F) -> Self {
        Self { policy, reason: Some(reason) }
    }
}

impl<T, E, P, F> Policy<T, E> for WithReason<P, F>
where
    P: Policy<T, E>,
    F: Fn(&E) -> Reason,
{
    type Output = P::Output;

    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        // Before the policy takes the error.
        let error = result.as_ref().err().zip(self.reason.as_ref());
        let reason = error.map(|(error, reason)| reason(error));
        match (self.policy.on_child(child, result), reason) {
            (Verdict::Stop(_), Some(reason)) => {
                self.reason = None;
                Verdict::Stop(reason)
            }
            (verdict, _) => verdict,
        }
    }

    fn skip(&mut self, index: usize) {
        self.policy.skip(index);
    }

    fn finish(&mut self, why: &Reason) -> P::Output {
        self.policy.finish(why)
    }

    fn may_stop_at_ok(&self) -> bool {
        self.policy.may_stop_at_ok()
    }
}

impl<P: core::fmt::Debug, F> core::fmt::Debug for WithReason<P, F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WithReason").field("policy", &self.policy).finish_non_exhaustive()
    }
}
