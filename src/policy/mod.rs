//! Policies: what a group resolves to, and which results stop it.

mod all_errors;
mod collect;
mod errors;
mod first_done;
mod first_err;
mod first_ok;
mod settle;

use crate::reason::Reason;

pub use all_errors::AllErrors;
pub use collect::Collect;
pub use errors::Errors;
pub use first_done::FirstDone;
pub use first_err::FirstErr;
pub use first_ok::FirstOk;
pub use settle::Settle;

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
/// | [`AllErrors`] | [`all_errors`] | `Result<(), Errors<E>>` | no result |
/// | [`Settle`] | [`settle`] | `Vec<Result<T, E>>` | no result |
/// | [`FirstOk`] | [`first_ok`] | `Result<T, Errors<E>>` | the first `Ok` |
/// | [`FirstDone`] | [`first_done`] | `Option<Result<T, E>>` | the first result |
///
/// [`with_policy`] sets a policy of your own. Whatever the policy, a cancelled token or a panic
/// stops the group.
///
/// [`collect`]: crate::Group::collect
/// [`all_errors`]: crate::Group::all_errors
/// [`settle`]: crate::Group::settle
/// [`first_ok`]: crate::Group::first_ok
/// [`first_done`]: crate::Group::first_done
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
/// use errgroup::{Group, Policy, Reason, Verdict};
///
/// struct Quota {
///     bytes: usize,
///     most: usize,
/// }
///
/// impl<E> Policy<usize, E> for Quota {
///     type Output = usize;
///
///     fn on_child(&mut self, _index: usize, result: Result<usize, E>) -> Verdict {
///         self.bytes += result.unwrap_or(0);
///         if self.bytes < self.most { Verdict::Continue } else { Verdict::Stop(Reason::Done) }
///     }
///
///     fn finish(&mut self) -> usize {
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
pub trait Policy<T, E> {
    /// What the group resolves to.
    type Output;

    /// Takes the result of a child that has finished, and returns whether the group goes on.
    ///
    /// `index` is the child's position in the order of admission, from 0. After a stop this is
    /// still called for the children that were running, but the verdict is ignored. It is not
    /// called for a child that panicked or was dropped.
    fn on_child(&mut self, index: usize, result: Result<T, E>) -> Verdict;

    /// Returns the group's output.
    ///
    /// It is called once, when no child runs any more. It is not called after a panic, nor if the
    /// group is dropped before it resolves.
    fn finish(&mut self) -> Self::Output;

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
pub enum Verdict {
    /// The group goes on.
    Continue,
    /// The group stops: its token is cancelled with this reason, it admits no more children, and
    /// it drains those that run (polls them on to their end).
    Stop(Reason),
}
