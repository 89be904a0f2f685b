//! The group: what it takes, and what can be asked of it. How one is made is in `build.rs`,
//! `policies.rs`, `time.rs`, `watch.rs` and `amend.rs`, how it runs in `run.rs`, what runs beside
//! the children in `timers.rs`, and how it becomes a stream in `results.rs`.

mod build;
mod observer;
mod policies;
pub(crate) mod poll;
mod timers;

use alloc::boxed::Box;
use core::fmt;

use self::timers::Timers;
use crate::admission::{Admission, Desk};
use crate::child::Seal;
use crate::child::{Child, Children, Kind};
use crate::policy::{FirstErr, Policy};
use crate::reason::CancelError;
use crate::set::BlockSet;
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::panic::FirstPanic;
use crate::util::parent_waker::ReadyBlocks;

/// A bounded set of fallible futures that run together, in the task that awaits it.
///
/// A group is a future. It holds its children, polls those that are woken, admits new ones
/// only while fewer than its [limit](Self::with_limit) run, and resolves when nothing runs
/// and nothing waits, to what its [policy](Policy) makes of the children's results: by
/// default the first `Err`, or `Ok(())`; the children's `Ok` values are dropped then
/// ([`collect`](Self::collect) keeps them). It spawns nothing and needs no runtime.
///
/// `C` says how children are held: [`Boxed`](crate::Boxed) for [`new`](Self::new),
/// [`LocalBoxed`](crate::LocalBoxed) for [`local`](Self::local), [`Plain`](crate::Plain) for
/// [`unboxed`](Self::unboxed), [`Spawned`](crate::Spawned) for [`on`](Self::on). `P` is the policy, `O` its output; both have defaults, so that a
/// type is `Group<Boxed<'a, T, E>>`.
///
/// # Errors
///
/// By default the first child to finish with an `Err`, in the order of polling, decides, and its
/// error is returned untouched. At that moment the group *stops*: its [token](Self::token) is
/// cancelled, nothing more is admitted, what was queued is dropped without being polled. The
/// children that run are not dropped; they are told, by the token, and polled to their end,
/// so that they can clean up. [`all_errors`](Self::all_errors), [`settle`](Self::settle),
/// [`first_ok`](Self::first_ok) and [`first_done`](Self::first_done) decide otherwise.
///
/// # Cancellation
///
/// Whoever cancels the token stops the group; a [deadline](Self::with_deadline) may be he. That
/// alone is no error, unless [`err_on_cancel`](Self::err_on_cancel) makes it one. How long the
/// children that run may go on after a stop, [`with_grace`](Self::with_grace) says.
///
/// # Drop
///
/// Dropping a group cancels its token ([`Reason::Dropped`](crate::Reason::Dropped)) and then
/// drops the children. Nothing outlives it.
///
/// # Panics
///
/// A child's panic stops the group ([`Reason::Panicked`](crate::Reason::Panicked)); its
/// siblings are polled to their end, then the panic resumes, with its own payload, out of the
/// group's poll. It outranks an `Err`. The same holds for a panic of a child's destructor and
/// of the policy. (With the feature `std`; without it a panic is not caught.)
///
/// # Fairness
///
/// One poll polls each woken child once a round and at most 4,096 children in all, then wakes
/// itself and yields. A child that wakes itself while it is polled comes up again in the
/// group's next poll. No child is polled that was not woken.
///
/// # Hazards
///
/// - **A group that is not polled does nothing.** Its children go on while somebody awaits
///   the group, or a [`go`](Self::go), [`feed`](Self::feed) or [`scope`](Self::scope) of it;
///   not while the caller awaits anything else between two `go`s. A child that holds a lock
///   which the caller wants then deadlocks it; [`scope`](Self::scope) can't.
/// - **The children share one task**: they run concurrently, not in parallel, and one that
///   blocks the thread blocks them all.
/// - **`let _ = group.go(child)`** without `.await` drops the child unpolled; and with
///   `.await`, a result that is thrown away loses the child that a stopped group gave back.
///   **`group.go(child).await?`** returns from the function with "the group has stopped" in
///   place of the error, and drops the group with its children. See [`go`](Self::go).
/// - **What the children borrow must be declared before the group**, its token among it: give
///   each child a clone.
/// - **A resolved group is over**: it takes no more children, and awaited again it stays
///   pending.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
/// # async fn fetch(url: &str) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn run(urls: Vec<String>) -> Result<(), std::io::Error> {
/// let mut group = Group::new().with_limit(8);
/// for url in &urls {
///     if group.go(fetch(url)).await.is_err() {
///         break; // it has stopped: no more work
///     }
/// }
/// group.await?; // the first error, or Ok(())
/// # Ok(())
/// # }
/// # futures::executor::block_on(run(vec!["a".into()])).unwrap();
/// ```
#[must_use = "a group polls its children only while it is polled: `.await` it"]
pub struct Group<
    C: Kind,
    P = FirstErr<<C as Children>::Err>,
    O = <P as Policy<<C as Children>::Ok, <C as Children>::Err>>::Output,
> {
    pub(crate) admission: Admission<C>,
    /// The running children.
    pub(crate) set: BlockSet<C>,
    /// What has rung before the poll that goes on.
    pub(crate) news: ReadyBlocks,
    /// Gone once it has panicked.
    pub(crate) policy: Option<P>,
    /// The first panic of a child or of the policy.
    pub(crate) panic: FirstPanic,
    /// Who stands beside the children; in most groups nobody does.
    pub(crate) timers: Option<Box<Timers<C>>>,
    /// It was the group itself that cancelled its token, and not on its deadline's word.
    pub(crate) stopped_itself: bool,
    /// What becomes of the output where somebody else did.
    pub(crate) amend: Option<fn(O, CancelError) -> O>,
    /// The queue has been dropped after a stop.
    pub(crate) drained: bool,
    /// The output, or the panic, has been given out, or the group is gone.
    pub(crate) resolved: bool,
    /// Where the policy stops it, its poll ends there, and siblings are polled no more: whoever
    /// has the group is about to drop them.
    pub(crate) leaves_at_stop: bool,
    /// How the group is driven and ended, captured where the bounds were known.
    pub(crate) advance: fn(&mut Self, &mut usize) -> poll::Driven,
    pub(crate) finish: fn(&mut P) -> O,
}

// === what can be asked of any group ===

impl<C: Kind, P, O> Group<C, P, O> {
    /// The group's cancel token: cancelled when the group stops, resolves or is dropped, and
    /// whoever cancels it stops the group.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Reason};
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let token = group.token().clone();
    /// group.queue(async move { Ok(token.cancelled().await) });
    /// group.queue(async { Err("the cause") });
    /// let token = group.token().clone();
    /// assert_eq!(group.await, Err("the cause"));
    /// assert_eq!(token.reason(), Some(Reason::Failed));
    /// # });
    /// ```
    pub fn token(&self) -> &CancelToken {
        self.admission.token()
    }

    /// How many children may run at a time; `None` is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let group = Group::<Boxed<'_, (), ()>>::new();
    /// assert_eq!(group.limit(), None);
    /// assert_eq!(group.with_limit(3).limit(), Some(3));
    /// ```
    pub fn limit(&self) -> Option<usize> {
        self.admission.stats().limit
    }

    /// Changes the limit at any time: raised, it admits those who wait at once; lowered, it
    /// lets the running finish. `Some(0)` pauses admission, `None` takes the limit away.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// let mut group = Group::new().with_limit(1);
    /// for _ in 0..5 {
    ///     group.queue(async { Ok::<(), ()>(()) });
    /// }
    /// group.set_limit(Some(3));
    /// assert_eq!((group.stats().running, group.stats().queued), (3, 2));
    /// ```
    pub fn set_limit(&self, limit: Option<usize>) {
        self.admission.set_limit(limit);
    }

    /// The group's numbers, taken at one moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// let mut group = Group::new().with_limit(1);
    /// group.queue(async { Ok::<(), ()>(()) });
    /// group.queue(async { Ok(()) });
    /// let stats = group.stats();
    /// assert_eq!((stats.limit, stats.running, stats.queued), (Some(1), 1, 1));
    /// ```
    pub fn stats(&self) -> Stats {
        self.admission.stats()
    }

    /// Whether the group admits no more children: its token is cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let group = Group::<Boxed<'_, (), ()>>::new();
    /// assert!(!group.is_stopped());
    /// group.token().cancel();
    /// assert!(group.is_stopped());
    /// ```
    pub fn is_stopped(&self) -> bool {
        self.admission.is_stopped()
    }
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// Where children are admitted.
    #[inline]
    pub(crate) fn desk(&mut self) -> Desk<'_, C> {
        self.admission.desk(&mut self.set)
    }

    /// Where that child is admitted: among others, if it wants more than plain room.
    #[inline]
    pub(crate) fn desk_for<A: Child<C>>(&mut self, child: &mut A) -> Desk<'_, C> {
        if child.options(Seal::new()).is_some_and(|options| !options.is_plain()) {
            self.admission.share();
        }
        self.desk()
    }
}

impl<C: Kind, P, O> fmt::Debug for Group<C, P, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("stats", &self.stats())
            .field("stopped", &self.admission.reason())
            .finish_non_exhaustive()
    }
}
