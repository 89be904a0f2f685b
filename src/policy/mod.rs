//! What the children's results add up to: the trait, and the policies that come with the crate.

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

/// Says what a group makes of its children's results, and when it has seen enough.
///
/// A group calls [`on_child`](Self::on_child) for each child that finishes, in the order in
/// which they do, and [`finish`](Self::finish) once at its end. Both run on whichever thread
/// polls the group, under no lock.
///
/// These come with the crate, each with a builder of its own:
///
/// | policy | set by | the group resolves to | stops at |
/// | --- | --- | --- | --- |
/// | [`FirstErr`] | the default | `Result<(), E>` | the first `Err` |
/// | [`Collect`] | [`collect`](crate::Group::collect) | `Result<Vec<T>, E>`, in the order of admission | the first `Err` |
/// | [`AllErrors`] | [`all_errors`](crate::Group::all_errors) | `Result<(), Errors<E>>` | no result |
/// | [`Settle`] | [`settle`](crate::Group::settle) | `Vec<Result<T, E>>`, in the order of admission | no result |
/// | [`FirstOk`] | [`first_ok`](crate::Group::first_ok) | `Result<T, Errors<E>>` | the first `Ok` |
/// | [`FirstDone`] | [`first_done`](crate::Group::first_done) | `Option<Result<T, E>>` | the first child to finish |
///
/// A policy of your own is set by [`with_policy`](crate::Group::with_policy).
///
/// # Panics
///
/// A panic of a policy is treated as a child's: the group stops, its children are polled to
/// their end, and the panic resumes out of the group's poll. A policy that has panicked is
/// called no more.
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

    /// Hears how a child ended; `index` is its place in the order of admission, from 0.
    ///
    /// After a stop it is called still, for the children that were running; its verdict is
    /// no longer heard then. Children that are dropped are never reported.
    fn on_child(&mut self, index: usize, result: Result<T, E>) -> Verdict;

    /// Makes the group's output. Called once, when nothing runs any more; not after a panic,
    /// nor where the group is dropped.
    fn finish(&mut self) -> Self::Output;
}

/// Whether a group goes on after a child has finished.
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
    /// The group stops: its token is cancelled with this reason, nothing more is admitted,
    /// and what runs is polled to its end.
    Stop(Reason),
}
