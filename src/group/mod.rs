//! The group, and what can be asked of it. How one is made is in `build.rs` and `policies.rs`, how
//! it runs in `poll.rs`, what it polls and tells beside the children in `hooks.rs` and
//! `observer.rs`. The methods that return futures are beside these, in `future/`.

mod build;
mod hooks;
mod observer;
mod policies;
pub(crate) mod poll;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use self::hooks::Hooks;
use crate::admission::{Admission, Shared, Vacancy};
use crate::child::set::ChildSet;
use crate::child::{Child, Children, Kind};
use crate::error::TryGoError;
use crate::observe::Outcome;
use crate::policy::{FirstErr, Policy};
use crate::reason::CancelError;
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::panic::FirstPanic;
use crate::util::parent_waker::{ParentWaker, ReadyBlocks};

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
    admission: Admission<C>,
    /// The running children.
    set: C::Set,
    /// The blocks with woken children that the poll in progress has not looked at.
    ready: ReadyBlocks,
    /// Gone once it has panicked.
    policy: Option<P>,
    /// The first panic of user code.
    panic: FirstPanic,
    /// The deadline, the grace and the observer, if there are any.
    hooks: Option<Box<Hooks<C>>>,
    /// It was the group itself that cancelled its token, and not for its deadline.
    stopped_by_group: bool,
    /// Maps the output if other code did.
    on_cancel: Option<fn(O, CancelError) -> O>,
    /// If the policy stops the group, its poll ends there, and siblings are polled no more: the
    /// owner of the group is about to drop them.
    abort_on_stop: bool,
    /// How the group is polled and finished, captured where the bounds were known.
    advance: fn(&mut Self, &mut usize) -> poll::Driven,
    finish: fn(&mut P) -> O,
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
        self.admission.limit()
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

// === what its futures need of it ===

impl<C: Kind, P, O> Group<C, P, O> {
    pub(crate) fn parent(&self) -> &Arc<ParentWaker> {
        &self.admission.parent
    }

    pub(crate) fn admission(&mut self) -> &mut Admission<C> {
        &mut self.admission
    }

    /// Returns what the group shares with its handles.
    pub(crate) fn share(&self) -> Arc<Shared<C>> {
        self.admission.share()
    }

    /// Returns the room that there is for a plain child, if the group has no handles.
    #[inline(always)]
    pub(crate) fn vacancy(&mut self) -> Option<Vacancy<'_, C>> {
        self.admission.vacancy(&mut self.set)
    }

    /// Admits a child if it need not wait.
    #[inline]
    pub(crate) fn admit<A: Child<C>>(&mut self, mut child: A) -> Result<(), TryGoError<A>> {
        self.admission.prepare(&mut child);
        match self.vacancy() {
            Some(vacancy) => {
                vacancy.insert(child);
                Ok(())
            }
            None => self.admission.with(|access| access.try_go(child)),
        }
    }

    /// Admits a child, now or in its turn; drops one that comes too late.
    #[inline]
    pub(crate) fn enqueue<A: Child<C>>(&mut self, mut child: A) {
        self.admission.prepare(&mut child);
        match self.vacancy() {
            Some(vacancy) => vacancy.insert(child),
            None => drop(self.admission.with(|access| access.queue(child))),
        }
    }

    /// Frees the room of a finished child whose result was fetched.
    pub(crate) fn release(&mut self, index: usize, outcome: Outcome) {
        self.admission.finish(index, outcome);
        self.admission.admit_next(&mut self.set);
        if self.hooks.is_some() {
            // No child is polled as long as there are results to fetch, which may be long.
            self.deliver_events();
        }
    }

    pub(crate) fn policy(&self) -> Option<&P> {
        self.policy.as_ref()
    }

    pub(crate) fn policy_mut(&mut self) -> Option<&mut P> {
        self.policy.as_mut()
    }

    /// Returns where panics of user code are kept, for the end.
    pub(crate) fn panics(&mut self) -> &mut FirstPanic {
        &mut self.panic
    }

    /// Lets the policy's stop end the poll; see [`finish_now`](Self::finish_now).
    pub(crate) fn abort_on_stop(mut self) -> Self {
        self.abort_on_stop = true;
        self
    }

    /// Takes the group out; what is left in its place is dropped without a trace.
    pub(crate) fn take(&mut self) -> Self {
        let retired = Self {
            admission: self.admission.retired(),
            set: self.set.empty(),
            ready: ReadyBlocks::default(),
            policy: None,
            panic: FirstPanic::default(),
            hooks: None,
            ..*self
        };
        core::mem::replace(self, retired)
    }

    /// Returns the group with another policy, and the way to poll it that goes with it.
    pub(crate) fn replace_policy<Q, R>(
        mut self,
        policy: Q,
        advance: fn(&mut Group<C, Q, R>, &mut usize) -> poll::Driven,
        finish: fn(&mut Q) -> R,
    ) -> Group<C, Q, R> {
        let (retired, empty) = (self.admission.retired(), self.set.empty());
        Group {
            admission: core::mem::replace(&mut self.admission, retired),
            set: core::mem::replace(&mut self.set, empty),
            ready: self.ready,
            policy: Some(policy),
            panic: core::mem::take(&mut self.panic),
            hooks: self.hooks.take(),
            stopped_by_group: self.stopped_by_group,
            on_cancel: None,
            abort_on_stop: false,
            advance,
            finish,
        }
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
