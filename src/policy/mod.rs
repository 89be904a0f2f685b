//! Policies: what a group resolves to, and which results stop it.

mod all_errors;
pub(crate) mod built_in;
mod child_info;
mod collect;
mod errors;
mod failure;
mod first_done;
mod first_err;
mod first_ok;
mod settle;
mod with_reason;

use crate::reason::Reason;

pub use all_errors::AllErrors;
pub use child_info::ChildInfo;
pub use collect::Collect;
pub use errors::Errors;
pub use failure::{Failure, Named};
pub use first_done::FirstDone;
pub use first_err::FirstErr;
pub use first_ok::FirstOk;
pub use settle::Settle;
pub use with_reason::WithReason;

/// Decides what a group resolves to, and which of its children's results stop it.
///
/// A group calls [`on_child`](Self::on_child) for each child that finishes, in the order in which
/// they finish, and [`finish`](Self::finish) once at its end. It calls both on the thread that
/// polls it, and holds no lock meanwhile.
///
/// # The built-in policies
///
/// Children return a `Result<T, E>`. `Vec`s are in the order of admission, [`Errors`] in the order
/// in which the errors came.
///
/// | policy | set by | the group resolves to | the group stops at |
/// | --- | --- | --- | --- |
/// | [`FirstErr`] | (the default) | `Result<(), E>` | the first `Err` |
/// | [`Collect`] | [`collect`] | `Result<Vec<T>, E>` | the first `Err` |
/// | [`AllErrors`] | [`all_errors`] | `Result<(), Errors<E>>` | no result, or a number of errors |
/// | [`Settle`] | [`settle`] | `Vec<Result<T, E>>` | no result |
/// | [`FirstOk`] | [`first_ok`] | `Result<T, Errors<E>>` | the first `Ok` |
/// | [`FirstDone`] | [`first_done`] | `Option<Result<T, E>>` | the first result |
///
/// [`named`] makes their errors say which child has failed: `E` is then a [`Failure<E>`](Failure).
/// [`with_reason`] gives the token a reason of your own at the first error. [`with_policy`] sets a
/// policy of your own. Whatever the policy, a cancelled token or a panic
/// stops the group. A group that has stopped waits for the children that run, unless
/// [`drop_on_stop`](crate::Group::drop_on_stop) drops them.
///
/// [`collect`]: crate::Group::collect
/// [`all_errors`]: crate::Group::all_errors
/// [`settle`]: crate::Group::settle
/// [`first_ok`]: crate::Group::first_ok
/// [`first_done`]: crate::Group::first_done
/// [`named`]: crate::Group::named
/// [`with_reason`]: crate::Group::with_reason
/// [`with_policy`]: crate::Group::with_policy
///
/// # Panics
///
/// A panic of a policy is treated as a child's: the group stops, its children are drained (polled
/// on to their end), and the panic resumes out of the group's poll. A policy that has panicked is
/// not called again.
///
/// # Examples
///
/// A policy that counts bytes and stops at a quota:
///
/// ```
/// use errgroup::{ChildInfo, Group, Policy, Reason, Verdict};
///
/// struct Quota {
///     bytes: usize,
///     most: usize,
/// }
///
/// impl<E> Policy<usize, E> for Quota {
///     type Output = usize;
///
///     fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<usize, E>) -> Verdict {
///         self.bytes += result.unwrap_or(0);
///         if self.bytes < self.most { Verdict::Continue } else { Verdict::Stop(Reason::Done) }
///     }
///
///     fn finish(&mut self, _: &Reason) -> usize {
///         self.bytes
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(1).with_policy(Quota { bytes: 0, most: 100 });
/// for _ in 0..1000 {
///     if group.go(async { Ok::<_, std::io::Error>(40) }).await.is_err() {
///         break;
///     }
/// }
/// assert_eq!(group.await, 120);
/// # });
/// ```
///
/// A policy that gives what has come by the deadline, and says whether that is all:
///
/// ```
/// use std::time::Duration;
///
/// use errgroup::{ChildInfo, Group, Policy, Reason, Verdict};
/// use tokio::time::sleep;
///
/// struct InTime<T>(Vec<T>);
///
/// impl<T, E> Policy<T, E> for InTime<T> {
///     type Output = (Vec<T>, bool);
///
///     fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
///         self.0.extend(result);
///         Verdict::Continue
///     }
///
///     fn finish(&mut self, why: &Reason) -> (Vec<T>, bool) {
///         (std::mem::take(&mut self.0), *why != Reason::Deadline)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread()
/// #     .enable_time()
/// #     .start_paused(true)
/// #     .build()
/// #     .unwrap()
/// #     .block_on(async {
/// let mut group = Group::new()
///     .with_deadline(sleep(Duration::from_secs(2)))
///     .drop_on_stop() // what is late is dropped
///     .with_policy(InTime(Vec::new()));
/// for seconds in [1, 5] {
///     group.queue(async move {
///         sleep(Duration::from_secs(seconds)).await;
///         Ok::<_, std::io::Error>(seconds)
///     });
/// }
/// assert_eq!(group.await, (vec![1], false));
/// # });
/// ```
pub trait Policy<T, E> {
    /// What the group resolves to.
    type Output;

    /// Takes the result of a child that has finished, and returns whether the group goes on. The
    /// value of a [daemon](crate::Task::daemon) is no result.
    ///
    /// `child` says which one it is. After a stop this is still called for the children that were
    /// running, but the verdict is ignored. It is not called for a child that panicked or was
    /// dropped.
    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict;

    /// Records that the child of that index was dropped, so that no result of it is to come.
    #[doc(hidden)]
    fn skip(&mut self, _index: usize) {}

    /// Returns the group's output.
    ///
    /// `why` is what has ended the group: the reason of its token, or [`Reason::Finished`] if
    /// nothing has stopped it. It is called once, when no child runs any more. It is not called
    /// after a panic, nor if the group is dropped before it resolves.
    fn finish(&mut self, why: &Reason) -> Self::Output;

    /// Returns `true` if a child's `Ok` may stop the group. If not, the room of a spawned child
    /// that has returned `Ok` is free before the policy is told.
    #[doc(hidden)]
    fn may_stop_at_ok(&self) -> bool {
        true
    }
}

/// Says if a group goes on after a child has finished. [`Policy::on_child`] returns it.
///
/// # Examples
///
/// ```
/// use errgroup::{Reason, Verdict};
///
/// let enough = |found: usize| {
///     if found < 3 { Verdict::Continue } else { Verdict::Stop(Reason::Done) }
/// };
/// assert_eq!(enough(3), Verdict::Stop(Reason::Done));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// The group goes on.
    Continue,
    /// The group stops: its token is cancelled with this reason, it admits no more children, and
    /// it drains those that run (polls them on to their end), or
    /// [drops](crate::Group::drop_on_stop) them.
    Stop(Reason),
}
