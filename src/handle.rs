//! Adding children to a group from elsewhere.

use alloc::sync::Arc;
use core::fmt;

use futures_util::Stream;

use crate::admission::{Shared, Who};
use crate::child::{Child, Children, Kind};
use crate::error::TryGoError;
use crate::future::{Closed, Feed, Go};
use crate::stats::Stats;
use crate::token::CancelToken;

/// Adds children to a [`Group`](crate::Group) from inside a child, from a scope's body, from
/// another task or thread.
///
/// Made by [`Group::handle`](crate::Group::handle), and passed to the body of a
/// [`scope`](crate::Group::scope). Clones are handles to the same group. A handle does not
/// poll the group and does not keep it open: a group without children resolves though there
/// are handles, and after that each answers [`Stopped`](crate::Stopped). What does keep it
/// open, until a stop, is somebody who waits for room in a `go` or `feed` that was polled.
///
/// # Waiting within a child
///
/// A child may wait in [`go`](Self::go) for room in its own group. Where all the running
/// children do, none could ever get any; so the one that has waited longest is let go on:
/// its child is put into the queue, as by [`queue`](Self::queue), and its `go` returns `Ok`.
/// The limit is kept, and the group never deadlocks on itself. (This needs the feature
/// `std`. Without it, children use `queue`.)
///
/// A child that waits keeps the room that it takes itself. Where children do little but add
/// others, [`queue`](Self::queue) leaves more of the limit to those that work; and a function
/// that awaits a `go` of its own future has to box that one, as any recursion of an
/// `async fn`: `handle.go(Box::pin(visit(…)))`.
///
/// # Examples
///
/// A crawl: children that add children. (A function whose future adds its like says that it
/// is `Send`; from an `async fn` the compiler can't find out: "cannot satisfy … `Send`". With
/// [`Group::local`](crate::Group::local) a plain `async fn` does.)
///
/// ```
/// use errgroup::{Boxed, Group, Handle};
///
/// type Pages = Handle<Boxed<'static, (), String>>;
///
/// fn visit(pages: Pages, depth: u32) -> impl Future<Output = Result<(), String>> + Send {
///     async move {
///         if depth < 5 {
///             for _ in 0..2 {
///                 pages.queue(visit(pages.clone(), depth + 1));
///             }
///         }
///         Ok(())
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(3);
/// let handle = group.handle();
/// group.queue(visit(handle.clone(), 0));
/// assert_eq!(group.await, Ok(()));
/// assert_eq!(handle.stats().ok, 63);
/// # });
/// ```
pub struct Handle<C: Kind> {
    pub(crate) shared: Arc<Shared<C>>,
}

impl<C: Kind> Handle<C> {
    pub(crate) fn new(shared: Arc<Shared<C>>) -> Self {
        Self { shared }
    }

    /// The group's token; the same as [`Group::token`](crate::Group::token).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Reason};
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let handle = group.handle();
    /// group.queue(async move {
    ///     handle.token().cancel();
    ///     Ok::<_, ()>(())
    /// });
    /// let token = group.token().clone();
    /// assert_eq!(group.await, Ok(()));
    /// assert_eq!(token.reason(), Some(Reason::Cancelled));
    /// # });
    /// ```
    pub fn token(&self) -> &CancelToken {
        &self.shared.token
    }

    /// How many children may run at a time; `None` is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = errgroup::Group::<errgroup::Boxed<'_, (), ()>>::new().with_limit(4);
    /// assert_eq!(group.handle().limit(), Some(4));
    /// ```
    pub fn limit(&self) -> Option<usize> {
        self.shared.limit()
    }

    /// Changes the limit, at any time and from any task: raised, it admits those who wait at
    /// once; lowered, it lets the running finish. `Some(0)` pauses admission. (Room that is
    /// kept for one whose turn had come is taken back, unless a child was accepted behind it.)
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::Group;
    /// let mut group = Group::new().with_limit(1);
    /// let handle = group.handle();
    /// for n in 0..10 {
    ///     group.queue(async move { Ok::<_, ()>(n) });
    /// }
    /// handle.set_limit(Some(4));
    /// assert_eq!(handle.stats().running, 4);
    /// ```
    pub fn set_limit(&self, limit: Option<usize>) {
        self.shared.set_limit(limit, Who::Handle);
    }

    /// The group's numbers, taken at one moment; after its end, the last ones. For a progress
    /// bar, say: see [`Stats`](crate::Stats#a-progress-bar).
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::Group;
    /// let mut group = Group::new();
    /// let handle = group.handle();
    /// group.queue(async { Ok::<(), ()>(()) });
    /// drop(group);
    /// assert_eq!(handle.stats().dropped, 1);
    /// ```
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Whether the group admits no more children: its token is cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let group = Group::<Boxed<'_, (), ()>>::new();
    /// let handle = group.handle();
    /// assert!(!handle.is_stopped());
    /// drop(group);
    /// assert!(handle.is_stopped());
    /// ```
    pub fn is_stopped(&self) -> bool {
        self.shared.is_stopped()
    }

    /// Waits until the group has resolved or is gone, and all its children with it: those of
    /// [`Group::on`](crate::Group::on) that a drop or a grace has ended are gone at their next poll.
    ///
    /// Any number may wait; the future borrows nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let closed = group.handle().closed();
    /// group.queue(async { Ok::<(), ()>(()) });
    /// let (output, ()) = futures::join!(group, closed);
    /// assert_eq!(output, Ok(()));
    /// # });
    /// ```
    pub fn closed(&self) -> Closed {
        Closed::new(self.shared.end())
    }

    /// Whether the group has resolved or is gone, and all its children with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let group = Group::<Boxed<'_, (), ()>>::new();
    /// let handle = group.handle();
    /// assert!(!handle.is_closed());
    /// drop(group);
    /// assert!(handle.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.shared.is_ended()
    }
}

impl<C: Children> Handle<C> {
    /// Waits for room, then admits a child; the group, not this future, polls the children
    /// meanwhile.
    ///
    /// The future borrows nothing of the handle. With room, the child is admitted at its
    /// first poll.
    ///
    /// # Errors
    ///
    /// [`Stopped`](crate::Stopped), with the child, never polled, where the group has stopped
    /// or is gone. A stop wakes those who wait.
    ///
    /// # Cancel safety
    ///
    /// Dropped before admission, it leaves no trace, and those behind it in line move up.
    ///
    /// # Fairness
    ///
    /// First come, first started, over everything that waits for the group. Room is kept for
    /// a `go` whose turn has come; a child that comes later may be accepted before it is
    /// polled, but does not start before its child. So a `go` that was polled once and is
    /// never polled again holds up all who came after it, and holds the group open, until a
    /// stop: drop it, or poll it on.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let group = Group::new().with_limit(1);
    /// let handle = group.handle();
    /// let adding = async move {
    ///     for n in 0..3 {
    ///         let Ok(()) = handle.go(async move { Ok::<_, ()>(n) }).await else { break };
    ///     }
    /// };
    /// let ((), output) = futures::join!(adding, group);
    /// assert_eq!(output, Ok(()));
    /// # });
    /// ```
    pub fn go<A: Child<C>>(&self, child: A) -> Go<Self, C, A> {
        Go::new(self.clone(), child)
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
    /// let group = Group::new().with_limit(1);
    /// let handle = group.handle();
    /// assert!(handle.try_go(async { Ok::<(), ()>(()) }).is_ok());
    /// let refused = handle.try_go(async { Ok(()) });
    /// assert!(matches!(refused, Err(TryGoError::AtLimit(_))));
    /// ```
    pub fn try_go<A: Child<C>>(&self, child: A) -> Result<(), TryGoError<A>> {
        self.shared.try_go(Who::Handle, child)
    }

    /// Hands a child over: it is admitted now where there is room, else in its turn.
    ///
    /// Never waits and never fails. Where the group stops first, or has stopped, the child
    /// is dropped without being polled, and counted in [`Stats::dropped`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::Group;
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(1);
    /// let handle = group.handle();
    /// group.queue(async move {
    ///     handle.queue(async { Err("the child's child") });
    ///     Ok(())
    /// });
    /// assert_eq!(group.await, Err("the child's child"));
    /// # });
    /// ```
    pub fn queue<A: Child<C>>(&self, child: A) {
        self.shared.queue(Who::Handle, child);
    }

    /// Admits the children of a stream, asked for one by one as there is room; resolves to
    /// how many it has admitted, when the stream has ended or the group has stopped.
    ///
    /// As [`Group::feed`](crate::Group::feed), but the group, not this future, polls the
    /// children meanwhile; and it borrows nothing of the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream;
    ///
    /// # futures::executor::block_on(async {
    /// let group = Group::new().with_limit(2);
    /// let feed = group.handle().feed(stream::iter((0..9).map(|n| async move { Ok::<_, ()>(n) })));
    /// assert_eq!(futures::join!(feed, group), (9, Ok(())));
    /// # });
    /// ```
    pub fn feed<S>(&self, stream: S) -> Feed<Self, C, S>
    where
        S: Stream,
        S::Item: Child<C>,
    {
        Feed::new(self.clone(), stream)
    }
}

impl<C: Kind> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C: Kind> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
