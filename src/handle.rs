//! Adding children to a group from elsewhere.

use alloc::sync::Arc;
use core::fmt;
use core::panic::{RefUnwindSafe, UnwindSafe};

use crate::admission::Shared;
use crate::child::Kind;
use crate::group::Group;
use crate::key::Key;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::token::CancelToken;

/// Adds children to a [`Group`](crate::Group) from elsewhere: from inside a child, from the body of
/// a scope, or from another task or thread.
///
/// [`Group::handle`](crate::Group::handle) makes one, and a [`scope`](crate::Group::scope) passes
/// one to its body. Its clones are handles to the same group. A handle is `Send + Sync` if the
/// group's children are `Send`.
///
/// A handle does not poll the group. So if the code that owns the group awaits a [`go`](Self::go)
/// of its handle, and the limit is reached, it waits for ever. ([A
/// table](crate::guide::admission#how-do-i-add-a-child) compares the ways to add a child.)
///
/// Nor does a handle keep the group open: a group without children resolves even if there are
/// handles. After that it takes no child: `go` and `try_go` answer `Stopped`, and so does
/// [`try_queue`](Self::try_queue), or `Closed` if nothing had stopped the group. (If the group was
/// [closed](Self::close), `try_go` answers `Closed`, too.)
///
/// A [`go`](Self::go) or [`feed`](Self::feed) that was polled and waits for room does keep the
/// group open, until a stop.
///
/// # Waiting inside a child
///
/// A child may wait in [`go`](Self::go) for room in its own group. If all running children did, the
/// group would be deadlocked. So when every running child, apart from
/// [daemons](crate::Task::daemon), waits for room, the oldest of these waiters goes on. Its child
/// is moved to the queue, as [`queue`](Self::queue) would put it there, and its `go` returns `Ok`.
/// The limit is still kept, and waiting for room never deadlocks. (A daemon that waits is not
/// helped like this: it may wait until the group ends. All this needs the feature `std`. Without
/// it, children use `queue`.)
///
/// That is so whatever they wait for, since it is not known whether it will ever be there: a guard
/// of a [gate](crate::Group::with_gate), a permit that others hold, or room while the
/// [limit](Self::set_limit) is 0. So these do not delay a `go` or a `feed` in a child if all other
/// running children wait for room, too. In the body of a [scope](crate::Group::scope) they do.
///
/// This does not help a child that waits for anything else of a child that it has added: a message,
/// a lock, or its [value](crate::ChildHandle). If the children that run take all the room, and each
/// waits so, none of the added ones is admitted. Run these in a group of their own.
///
/// A child that waits keeps the room that it takes itself. If children do little but add others,
/// `queue` leaves more of the limit to those that work. An `async fn` that awaits a `go` of its own
/// future has to box that future, like any recursive `async fn`: `handle.go(Box::pin(visit(…)))`.
///
/// # Examples
///
/// A crawl, in which children add children. A function whose future adds futures of its own type
/// has to declare that it is `Send`. For an `async fn` the compiler cannot find that out ("cannot
/// satisfy … `Send`"). With [`Group::local`](crate::Group::local), a plain `async fn` works.
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
    /// Returns a handle, which adds children from elsewhere.
    ///
    /// # Cost
    ///
    /// The group shares its state from then on, behind a lock: a child takes 550 to 800
    /// instructions more.
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
        Handle { shared: self.base.admission.share() }
    }
}

impl<C: Kind> Handle<C> {
    /// Returns the group's token: the same as [`Group::token`](crate::Group::token).
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
        self.shared.core.token()
    }

    /// Returns how many children may run at a time, or `None` if there is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// let group = errgroup::Group::<errgroup::Boxed<'_, (), ()>>::new().with_limit(4);
    /// assert_eq!(group.handle().limit(), Some(4));
    /// ```
    pub fn limit(&self) -> Option<usize> {
        self.shared.core.with_state(|state| state.room.limit())
    }

    /// Changes the limit, at any time and from any task.
    ///
    /// A higher limit admits children that wait at once. A lower one lets the running children
    /// finish. `Some(0)` pauses admission, and `None` takes the limit away.
    ///
    /// A lower limit also takes back room that was reserved for a waiting `go` or `feed` and is not
    /// used yet. The newest reservation goes first. One with an accepted child behind it is kept.
    ///
    /// # Cost
    ///
    /// A higher limit admits in this one call all that it makes room for, under the group's lock,
    /// and the group's next poll takes them in. The time grows with their number; to bound it,
    /// raise the limit step by step. A lower limit takes 64 reservations back at a time: in this
    /// call, in those that follow, and in the group's polls. Until then, nothing that waits gets
    /// room.
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

    /// Changes the limit of one [key](crate::Task::key), at any time and from any task. See
    /// [`Group::set_key_limit`].
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Key, task};
    ///
    /// let mut group = Group::new().with_key_limit(1);
    /// let handle = group.handle();
    /// for _ in 0..4 {
    ///     group.queue(task(async { Ok::<(), ()>(()) }).key("slow.example"));
    /// }
    /// assert_eq!(group.stats().running, 1);
    /// handle.set_key_limit(&Key::from("slow.example"), Some(3));
    /// assert_eq!(group.stats().running, 3);
    /// ```
    pub fn set_key_limit(&self, key: &Key, limit: Option<usize>) {
        self.shared.set_key_limit(key, limit);
    }

    /// Returns the group's numbers, taken at one moment; after the group's end, the last ones.
    ///
    /// For a progress bar, see [`Stats`](crate::Stats#a-progress-bar).
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
        self.shared.calls.stats()
    }

    /// Returns what is going on in the group: its children, and what they wait for.
    ///
    /// A handle knows all children that wait. Of those that run it knows most if the group has a
    /// [name](crate::Group::with_name); see [`Snapshot`].
    ///
    /// It takes the group's lock, and lists at most 1,000 children.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, task};
    ///
    /// let mut group = Group::new().with_name("imports").with_limit(1);
    /// let handle = group.handle();
    /// group.queue(task(async { Ok::<(), ()>(()) }).name("first"));
    /// group.queue(task(async { Ok(()) }).name("second"));
    /// let snapshot = handle.snapshot();
    /// assert_eq!(snapshot.name.as_deref(), Some("imports"));
    /// assert_eq!(snapshot.children[1].name.as_deref(), Some("second"));
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        self.shared.inspect(&[])
    }

    /// Returns `true` if the group was woken and has not been polled since.
    ///
    /// This is briefly true before every poll. If it stays so, the task that owns the group awaits
    /// something else, and the children stand still, with the locks and connections that they hold.
    /// It is `false` while the group is polled, while it is open and empty, and once it has
    /// resolved.
    ///
    /// [`watchdog`](crate::watchdog) tells the two apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let handle = group.handle();
    /// assert!(!handle.is_starved());
    /// handle.queue(async { Ok::<(), ()>(()) });
    /// assert!(handle.is_starved());
    /// assert_eq!((&mut group).await, Ok(()));
    /// assert!(!handle.is_starved());
    /// # });
    /// ```
    pub fn is_starved(&self) -> bool {
        let core = &self.shared.core;
        core.parent().is_starved() && !core.is_vacant()
    }

    /// Returns `true` if the group has stopped: its token is cancelled, and it admits no more
    /// children.
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

// The group drops a child that panics, so no handle sees one again.
impl<C: Kind> UnwindSafe for Handle<C> {}
impl<C: Kind> RefUnwindSafe for Handle<C> {}

impl<C: Kind> fmt::Debug for Handle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
