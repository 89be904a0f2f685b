//! The group: what it takes, and what can be asked of it. How one is made is in `build.rs`,
//! `policies.rs`, `time.rs`, `watch.rs` and `amend.rs`, how it runs in `run.rs`, what runs beside
//! the children in `timers.rs`, and how it becomes a stream in `results.rs`.

mod amend;
mod build;
mod extend;
mod policies;
mod results;
pub(crate) mod run;
mod time;
mod timers;
mod watch;

use alloc::boxed::Box;
use core::fmt;
use core::future::Future;

use futures_util::Stream;

use self::timers::Timers;
use crate::admission::{Admission, Desk};
use crate::child::Seal;
use crate::child::{Child, Children, Kind};
use crate::error::TryGoError;
use crate::future::{Feed, Go, Scope, TryScope};
use crate::handle::Handle;
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
    pub(crate) advance: fn(&mut Self, &mut usize) -> run::Driven,
    pub(crate) finish: fn(&mut P) -> O,
}

// === children ===

impl<C: Children, P, O> Group<C, P, O> {
    /// Waits for room, polling the running children meanwhile, then admits a child.
    ///
    /// With room, it admits at its first poll, and polls nobody.
    ///
    /// # Errors
    ///
    /// [`Stopped`](crate::Stopped), with the child, never polled, where the group has stopped.
    /// It says that there is no use in going on; *why* it stopped, the group tells when it is
    /// awaited. Whoever throws this result away loses the child, and goes on making more for
    /// nothing. Nor does `?` do, which makes this error the caller's in place of the child's, and
    /// drops the group. Three ways that are right:
    ///
    /// ```
    /// # use errgroup::Group;
    /// # async fn work(n: u32) -> Result<(), String> { Ok(()) }
    /// # futures::executor::block_on(async {
    /// # let mut group = Group::new();
    /// for n in 0..3 {
    ///     if group.go(work(n)).await.is_err() {
    ///         break;
    ///     }
    /// }
    /// for n in 0..3 {
    ///     let Ok(()) = group.go(work(n)).await else { break };
    /// }
    /// for n in 0..3 {
    ///     group.queue(work(n)); // never waits: fine where all the work is in memory anyway
    /// }
    /// # group.await
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropped before admission, it leaves no trace: the child was never polled, and those
    /// behind it in line move up.
    ///
    /// # Fairness
    ///
    /// First come, first admitted, over `go`, `queue`, `feed` and all handles.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(1);
    /// assert!(group.go(async { Err("broken") }).await.is_ok());
    /// // The second waits for the first to finish; which stops the group.
    /// let stopped = group.go(async { Ok(()) }).await.unwrap_err();
    /// assert_eq!(stopped.into_inner().await, Ok(()));
    /// assert_eq!(group.await, Err("broken"));
    /// # });
    /// ```
    pub fn go<A: Child<C>>(&mut self, child: A) -> Go<&mut Self, C, A> {
        Go::new(self, child)
    }

    /// Admits a child if there is room and nobody waits for it; never waits.
    ///
    /// # Errors
    ///
    /// [`TryGoError`], with the child, never polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, TryGoError};
    ///
    /// let mut group = Group::new().with_limit(1);
    /// assert!(group.try_go(async { Ok::<(), ()>(()) }).is_ok());
    /// let refused = group.try_go(async { Ok(()) });
    /// assert!(matches!(refused, Err(TryGoError::AtLimit(_))));
    /// ```
    pub fn try_go<A: Child<C>>(&mut self, mut child: A) -> Result<(), TryGoError<A>> {
        self.desk_for(&mut child).try_go(child)
    }

    /// Hands a child over: it is admitted now where there is room, else in its turn.
    ///
    /// Never waits and never fails. Where the group stops first, or has stopped, the child
    /// is dropped without being polled, and counted in [`Stats::dropped`]. What is queued is
    /// held in memory, at its full size: where children are made faster than they finish, [`go`](Self::go) and
    /// [`feed`](Self::feed) hold their maker back.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(2);
    /// for n in 0..100 {
    ///     group.queue(async move { if n < 50 { Ok(()) } else { Err(n) } });
    /// }
    /// assert_eq!(group.await, Err(50));
    /// # });
    /// ```
    pub fn queue<A: Child<C>>(&mut self, mut child: A) {
        self.desk_for(&mut child).queue(child);
    }

    /// Admits the children of a stream, asked for one by one as there is room, polling the
    /// running ones meanwhile; resolves to how many it has admitted.
    ///
    /// At most as many children exist at a time as may run. It ends with the stream, or, at
    /// once, when the group stops, though the stream be pending; then await the group. For an
    /// iterator, wrap it in `futures::stream::iter`.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the stream; the children admitted so far stay. To keep the stream,
    /// pass `&mut stream`.
    ///
    /// # Panics
    ///
    /// A panic of the stream leaves `feed` at once; the group goes on.
    ///
    /// # Fairness
    ///
    /// The stream is asked only when there is room and it is this feed's turn in the line, in which
    /// it stands with priority 0, whatever its children ask for. A
    /// stream that is pending holds neither; when it wakes, the feed stands in line anew. It
    /// is asked at most 4,096 times a poll. A stream must not itself wait for room in the
    /// group that it feeds: at the limit the two would wait for one another.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream;
    ///
    /// # async fn fetch(url: &str) -> Result<(), std::io::Error> { Ok(()) }
    /// # futures::executor::block_on(async {
    /// let urls = ["/a", "/b", "/c"];
    /// let mut group = Group::new().with_limit(2);
    /// let admitted = group.feed(stream::iter(urls.iter().map(|url| fetch(url)))).await;
    /// assert_eq!(admitted, 3);
    /// group.await.unwrap();
    /// # });
    /// ```
    pub fn feed<S>(&mut self, stream: S) -> Feed<&mut Self, C, S>
    where
        S: Stream,
        S::Item: Child<C>,
    {
        Feed::new(self, stream)
    }

    /// Runs `body` beside the children that it adds through the handle it is given; resolves
    /// to the body's value and the group's output when all are done.
    ///
    /// The body does not count in the limit. The children go on while it awaits anything at
    /// all, so that one that holds a lock which the body wants can't deadlock it. The group
    /// stays open while the body runs. A panic of the body is treated as a child's.
    ///
    /// A stop does not drop the body; the scope waits for it. So where it awaits anything but
    /// the handle's [`go`](Handle::go) and [`feed`](Handle::feed), which hear of a stop, it
    /// awaits that within `handle.token().run(…)`, unless it shall come to its own end.
    ///
    /// Dropping the scope cancels the token, then drops the children, then the body.
    ///
    /// # Panics
    ///
    /// Where the group was awaited to its end before: there is nothing left to run beside.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let (added, output) = Group::new()
    ///     .with_limit(2)
    ///     .scope(async |handle| {
    ///         let mut added = 0;
    ///         while added < 10 && handle.go(async { Ok::<(), ()>(()) }).await.is_ok() {
    ///             added += 1;
    ///         }
    ///         added
    ///     })
    ///     .await;
    /// assert_eq!((added, output), (10, Ok(())));
    /// # });
    /// ```
    #[track_caller]
    pub fn scope<B, Fut>(self, body: B) -> Scope<C, P, O, Fut, Fut::Output>
    where
        B: FnOnce(Handle<C>) -> Fut,
        Fut: Future,
    {
        assert!(!self.resolved, "call `scope` before the group is awaited to its end");
        let body = body(self.handle());
        Scope::new(self, body, |_| false)
    }
}

impl<C: Children, P, X> Group<C, P, Result<(), X>> {
    /// Runs a `body` that may fail beside the children that it adds, as
    /// [`scope`](Self::scope) does.
    ///
    /// # Errors
    ///
    /// An `Err` of the body stops the group ([`Reason::Failed`](crate::Reason::Failed)),
    /// under any policy, and is the result; unless a child had failed before it and the
    /// group's output is an `Err`, which then is. Where the body gives `Ok`, an `Err` of the
    /// output is the result.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let result: Result<(), &str> = Group::new()
    ///     .try_scope(async |handle| {
    ///         handle.queue(async { Ok(()) });
    ///         Err("the body gave up")
    ///     })
    ///     .await;
    /// assert_eq!(result, Err("the body gave up"));
    /// # });
    /// ```
    #[track_caller]
    pub fn try_scope<B, Fut, R>(self, body: B) -> TryScope<C, P, X, Fut, R>
    where
        B: FnOnce(Handle<C>) -> Fut,
        Fut: Future<Output = Result<R, X>>,
    {
        assert!(!self.resolved, "call `try_scope` before the group is awaited to its end");
        let body = body(self.handle());
        TryScope::new(self, body)
    }
}

// === what can be asked of any group ===

impl<C: Kind, P, O> Group<C, P, O> {
    /// Makes a handle, for adding children from elsewhere.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let handle = group.handle();
    /// group.queue(async move {
    ///     handle.queue(async { Err("from within") });
    ///     Ok(())
    /// });
    /// assert_eq!(group.await, Err("from within"));
    /// # });
    /// ```
    pub fn handle(&self) -> Handle<C> {
        Handle::new(self.admission.share())
    }

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
