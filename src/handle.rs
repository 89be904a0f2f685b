//! Adding children to a group from elsewhere.

use alloc::sync::Arc;
use core::fmt;

use crate::admission::Shared;
use crate::child::Kind;
use crate::group::Group;
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
        Handle { shared: self.share() }
    }
}

impl<C: Kind> Handle<C> {
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
        &self.shared.core.token
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
        self.shared.core.read(|state| state.limit())
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
        self.shared.set_limit(limit);
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
        self.shared.core.read(|state| state.stats())
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
        self.shared.core.is_stopped()
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
