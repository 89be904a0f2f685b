//! What the children's results add up to.

use crate::Reason;

/// Says what a group makes of its children's results, and when it has seen enough.
///
/// A group calls [`on_child`](Self::on_child) for each child that finishes, in the order in
/// which they do, and [`finish`](Self::finish) once at its end. Both run on whichever thread
/// polls the group, under no lock.
///
/// # Panics
///
/// A panic of a policy is treated as a child's: the group stops, its children are polled to
/// their end, and the panic resumes out of the group's poll. A policy that has panicked is
/// called no more.
///
/// # Examples
///
/// Whoever ends first, with an error or without, ends all (a server, its signals, its worker):
///
/// ```
/// use errgroup::{Group, Policy, Reason, Verdict};
///
/// struct FirstEnd<E>(Option<Result<(), E>>);
///
/// impl<E> Policy<(), E> for FirstEnd<E> {
///     type Output = Option<Result<(), E>>;
///
///     fn on_child(&mut self, _index: usize, result: Result<(), E>) -> Verdict {
///         let reason = if result.is_ok() { Reason::Done } else { Reason::Failed };
///         self.0.get_or_insert(result);
///         Verdict::Stop(reason)
///     }
///
///     fn finish(&mut self) -> Self::Output {
///         self.0.take()
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_policy(FirstEnd(None));
/// for name in ["server", "signals"] {
///     let token = group.token().clone();
///     group.queue(async move {
///         token.cancelled().await;
///         Err(name)
///     });
/// }
/// group.queue(async { Ok(()) }); // the worker is done
/// assert_eq!(group.await, Some(Ok(())));
/// # });
/// ```
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

/// The default policy: stops at the first `Err`, which is the group's.
///
/// What Go's `errgroup` does with a context: the first child to finish with an error decides,
/// the later ones' results are dropped. A group that was cancelled without any child's
/// returning an error gives `Ok(())`.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new();
/// group.queue(async { Ok(1) });
/// group.queue(async { Err("no such host") });
/// group.queue(async { Err("too late") });
/// assert_eq!(group.await, Err("no such host"));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct FirstErr<E> {
    first: Option<E>,
}

impl<E> FirstErr<E> {
    /// Makes the policy, with no error seen.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{FirstErr, Group};
    ///
    /// # futures::executor::block_on(async {
    /// // The same as `Group::new()` alone.
    /// let mut group = Group::new().with_policy(FirstErr::new());
    /// group.queue(async { Err::<(), _>("failed") });
    /// assert_eq!(group.await, Err("failed"));
    /// # });
    /// ```
    pub fn new() -> Self {
        Self { first: None }
    }
}

impl<E> Default for FirstErr<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, E> Policy<T, E> for FirstErr<E> {
    type Output = Result<(), E>;

    fn on_child(&mut self, _index: usize, result: Result<T, E>) -> Verdict {
        match result {
            Err(error) if self.first.is_none() => {
                self.first = Some(error);
                Verdict::Stop(Reason::Failed)
            }
            _ => Verdict::Continue,
        }
    }

    fn finish(&mut self) -> Self::Output {
        self.first.take().map_or(Ok(()), Err)
    }
}
