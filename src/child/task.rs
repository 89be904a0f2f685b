//! Options of a child: its name, key, weight and priority, whether it is a daemon, and whether it
//! ends with the stop.

use alloc::borrow::Cow;
use core::fmt;
use core::future::Future;

use super::join::{ChildHandle, JoinCell, JoinLink, Joinable, Lost};

use crate::key::Key;

/// Wraps a future, so that options can be set for it. The result is passed wherever a child is.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, task};
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(4);
/// group.queue(async { Ok::<_, &str>(()) });
/// group.queue(task(async { Ok(()) }).name("large file").weight(3));
/// group.queue(task(async { Ok(()) }).priority(1));
/// assert_eq!(group.await, Ok(()));
/// # });
/// ```
pub fn task<F>(future: F) -> Task<F> {
    Task { future, options: Options::default(), link: None }
}

/// A future with options, as a child of a group; made by [`task`].
///
/// It is not a future itself. If the group refuses it, a [`Stopped`](crate::Stopped) or a
/// [`TryGoError`](crate::TryGoError) gives it back with its options.
///
/// # Order
///
/// All that wait for room are in one queue: higher [priority](Self::priority) first, and first
/// come, first served among equals. Nothing overtakes the head of the queue, however little room
/// it needs: room that becomes free is kept for the head until it is enough. So among equals,
/// neither heavy children nor light ones starve. Children of a lower priority wait as long as there
/// are any of a higher one.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, TryGoError, task};
///
/// let mut group = Group::new().with_limit(2);
/// assert!(group.try_go(task(async { Ok::<(), ()>(()) }).weight(2)).is_ok());
/// let refused = group.try_go(task(async { Ok(()) }).name("second")).unwrap_err();
/// group.queue(refused.into_inner()); // it has its name still
/// ```
#[derive(Clone, Default)]
#[must_use = "a child does nothing unless a group takes it: pass it to `go` or `queue`"]
pub struct Task<F> {
    pub(super) future: F,
    options: Options,
    /// Finds the link to its handle, if the future is a [`Joinable`].
    link: Option<fn(&F) -> &JoinLink>,
}

/// The options of a child.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) weight: usize,
    pub(crate) priority: i32,
    pub(crate) daemon: bool,
    pub(crate) key: Option<Key>,
    pub(crate) unique: bool,
    pub(crate) until_stop: bool,
    pub(crate) name: Option<Cow<'static, str>>,
}

impl<F> Task<F> {
    /// Gives the child a name, which an [observer](crate::Observer) is told, and which
    /// [`named`](crate::Group::named) errors show.
    ///
    /// It is a literal or a `String`. Clone a borrowed one: `name(url.to_string())`. With
    /// `name(url)` the compiler says of `url` that it escapes, or that it "must outlive `'static`".
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Group, task};
    /// let mut group = Group::new();
    /// group.queue(task(async { Ok::<(), ()>(()) }).name("listener"));
    /// for n in 0..3 {
    ///     group.queue(task(async { Ok(()) }).name(format!("worker {n}")));
    /// }
    /// ```
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Sets how much of the group's limit the child takes. The default is 1. A child of weight 0
    /// takes none, and waits only for its turn; a limit of 0 holds it back, too.
    ///
    /// A child that is heavier than the limit runs alone, so it never runs while a
    /// [daemon](Self::daemon) with a weight does. A light child never overtakes a heavy one that
    /// waits before it. Go's `semaphore.Weighted` (`golang.org/x/sync`) does the same, except
    /// that there an acquisition of more than the whole size never succeeds.
    ///
    /// A stream that is [fed](crate::Group::feed) is asked for a child when there is room for one
    /// of weight 1. If the child is heavier and does not fit, it is queued at the position of the
    /// `feed`, with priority 0 or its own, whichever is higher.
    ///
    /// # Cost
    ///
    /// A child with a weight other than 1 takes about 400 instructions more than one without
    /// options; about 1,100 if the group has a handle, or children with other options.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Group, task};
    /// // At most a gigabyte of buffers at a time.
    /// let mut group = Group::new().with_limit(1 << 30);
    /// for megabytes in [300, 700, 400] {
    ///     group.queue(task(async { Ok::<(), ()>(()) }).weight(megabytes << 20));
    /// }
    /// assert_eq!((group.stats().running, group.stats().queued), (2, 1));
    /// ```
    pub fn weight(mut self, weight: usize) -> Self {
        self.options.weight = weight;
        self
    }

    /// Sets the child's priority in the queue. The default is 0.
    ///
    /// Among the children and callers that wait, a higher priority is admitted first. Among equals,
    /// the first to come is.
    ///
    /// # Cost
    ///
    /// A child with a priority other than 0 takes about 850 instructions more than one without
    /// options. If children of more than nine priorities wait at a time, a child of a further
    /// priority takes more, by the logarithm of the number of children with further priorities.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Group, task};
    /// # futures::executor::block_on(async {
    /// let order = std::cell::RefCell::new(Vec::new());
    /// let mut group = Group::local().with_limit(1);
    /// for priority in [0, -1, 5] {
    ///     let order = &order;
    ///     group.queue(
    ///         task(async move { Ok::<(), ()>(order.borrow_mut().push(priority)) })
    ///             .priority(priority),
    ///     );
    /// }
    /// group.await.unwrap();
    /// assert_eq!(*order.borrow(), [0, 5, -1]); // the first did not have to wait
    /// # });
    /// ```
    pub fn priority(mut self, priority: i32) -> Self {
        self.options.priority = priority;
        self
    }

    /// Makes the child a daemon, which does not hold the group open.
    ///
    /// When only daemons are left, the group stops, with
    /// [`Reason::Finished`](crate::Reason::Finished), and drains them: it polls them until they
    /// finish. So a daemon has to listen to the group's token. If it does not, the group waits for
    /// it, at most for the [grace](crate::Group::with_grace) if there is one.
    ///
    /// Its error counts like any other's, also after the stop. Its `Ok` value goes neither to the
    /// policy nor to a stream of results, and is dropped.
    ///
    /// A daemon takes room like any child: under a limit of 1 it leaves none for others. A daemon
    /// in the queue does not hold the group open either: the stop drops it, unless the room of the
    /// last other child has admitted it.
    ///
    /// The stop comes when the group itself is polled. It does not come while a
    /// [`go`](crate::Group::go) or a [`feed`](crate::Group::feed) drives the group, nor while the
    /// body of a [scope](crate::Group::scope) runs, because more children may come then.
    ///
    /// In Trio, the same is done by cancelling the nursery at the end of its body. The Scala
    /// library ox calls such a child a `fork`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Group, Reason, task};
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let token = group.token().clone();
    /// group.queue(task(async move {
    ///     // For example: reports progress until the others have finished.
    ///     assert_eq!(token.cancelled().await, Reason::Finished);
    ///     Ok::<(), ()>(())
    /// }).daemon());
    /// group.queue(async { Ok(()) });
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    pub fn daemon(mut self) -> Self {
        self.options.daemon = true;
        self
    }

    /// Sets the child's key: what it works on, such as a host or a user.
    ///
    /// A group [limits](crate::Group::with_key_limit) how many children of each key run at a time.
    /// A child runs if there is room in the group and in its key; its weight counts in both. If it
    /// is heavier than its key's limit, it is the only one of its key that runs.
    ///
    /// A child whose key has no room does not delay children of other keys, nor those without one.
    /// Among children of the same key, the [order](Self#order) is as in the whole queue: higher
    /// priority first, then first come, first served, and no light child overtakes a heavy one.
    /// Among all that their keys have room for, it is the same order. When the first of these lacks
    /// room in the group, the room that becomes free is kept for it.
    ///
    /// # Cost
    ///
    /// A child that is the only one of its key takes about 2,500 instructions, however many keys
    /// there are; one without options takes 430. The table of keys doubles and halves with their
    /// number; such a step takes time linear in it. Consecutive integers are stored close together,
    /// so with a million keys they are found faster than others. A key costs memory as long as
    /// children of it run or wait. At most 128 idle keys are kept beside these.
    ///
    /// # Hazards
    ///
    /// A child that waits in a [`go`](crate::Handle::go) for room in its own key, which it takes
    /// itself, waits until every other running child waits as well or has ended. Let it call
    /// [`queue`](crate::Handle::queue).
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Group, task};
    /// # async fn fetch(host: &str, page: u32) -> Result<(), ()> { Ok(()) }
    /// // 50 requests at a time, and at most 3 to the same host.
    /// let mut group = Group::new().with_limit(50).with_key_limit(3);
    /// for page in 0..10 {
    ///     for host in ["a.example", "b.example"] {
    ///         group.queue(task(fetch(host, page)).key(host));
    ///     }
    /// }
    /// assert_eq!(group.stats().running, 6);
    /// ```
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.options.key = Some(key.into());
        self
    }

    /// Lets the child run only if no other child of its [key](Self::key) runs.
    ///
    /// While a child of its key runs or waits, [`try_go`](crate::Group::try_go) and
    /// [`try_queue`](crate::Group::try_queue) refuse it with
    /// [`AtLimit`](crate::TryGoError::AtLimit). [`go`](crate::Group::go) and
    /// [`queue`](crate::Group::queue) let it wait until the others have ended, as if its key had a
    /// limit of 1. It does not keep later children of its key from running beside it, unless they
    /// are unique too; one that a `go` brings may even be polled first. Without a key it has no
    /// effect. It does not skip a second child: for that, keep a set of what has been added.
    ///
    /// # Cost
    ///
    /// No more than its key.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Group, TryGoError, task};
    /// # async fn refresh(table: &str) -> Result<(), ()> { Ok(()) }
    /// let mut group = Group::new();
    /// let again = |table| task(refresh(table)).key(table).unique();
    /// assert!(group.try_go(again("users")).is_ok());
    /// assert!(group.try_go(again("orders")).is_ok());
    /// // The tables are being refreshed: once at a time is enough.
    /// assert!(matches!(group.try_go(again("users")), Err(TryGoError::AtLimit(_))));
    /// ```
    pub fn unique(mut self) -> Self {
        self.options.unique = true;
        self
    }

    /// Makes the child end with the stop: it is dropped then, instead of being polled on.
    ///
    /// Its result is missing in the output. After a child's error that is no matter. After a cancel
    /// or a deadline an `Ok` output may be incomplete:
    /// [`err_on_cancel`](crate::Group::err_on_cancel) makes an error of these.
    ///
    /// This is for work that has nothing to clean up, such as a download that is of no use any
    /// more. When the group stops, for whatever reason, its next poll drops the child; if thousands
    /// are to be dropped, the polls after it drop the rest. The child counts as
    /// [`dropped`](crate::Stats::dropped). The policy is not told of it. The other children are
    /// drained as ever. [`drop_on_stop`](crate::Group::drop_on_stop) does the same to all children
    /// of a group.
    ///
    /// [`token.run(future)`](crate::CancelToken::run) also ends a future at the stop, but makes a
    /// `CancelError` of it, which the child has to turn into a result of its own.
    ///
    /// A child of [`Group::on`](crate::Group::on) is told by that poll of the group, and is gone at
    /// its own next poll, without being polled on.
    ///
    /// # Cost
    ///
    /// A child takes about 2,000 instructions more than one without options. The stop takes time
    /// for each child that it drops.
    ///
    /// # Panics
    ///
    /// A panic of the child's destructor is treated like any other panic of a child.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, task};
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let handle = group.handle();
    /// group.queue(task(std::future::pending()).until_stop()); // listens to nothing
    /// group.queue(async { Err::<(), _>("the disk is full") });
    /// assert_eq!(group.await, Err("the disk is full"));
    /// assert_eq!((handle.stats().failed, handle.stats().dropped), (1, 1));
    /// # });
    /// ```
    pub fn until_stop(mut self) -> Self {
        self.options.until_stop = true;
        self
    }

    /// Makes a handle of the child, which receives the child's value and can abort it.
    ///
    /// The child's value, a `T`, goes to the [`ChildHandle`]. For the group, the child's value is
    /// `()`, so the group is a `BoxedGroup<'a, (), E>`, for example; its error is the group's, as
    /// any child's is. The options that were set are kept, and more can be set afterwards. Dropping
    /// the handle changes nothing.
    ///
    /// # Cost
    ///
    /// A child takes one allocation, and about 3,200 instructions more than one without options.
    /// The first joinable child makes the group share its state, as a
    /// [`handle`](crate::Group::handle) does.
    ///
    /// # Examples
    ///
    /// Downloads that are stopped by their names:
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// use errgroup::{Group, Lost, task};
    ///
    /// # async fn download(url: &str) -> Result<Vec<u8>, std::io::Error> {
    /// #     if url == "/huge" { std::future::pending().await } else { Ok(url.into()) }
    /// # }
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(4);
    /// let mut downloads = HashMap::new();
    /// for url in ["/huge", "/small"] {
    ///     let (child, handle) = task(download(url)).name(url).joinable();
    ///     group.queue(child);
    ///     downloads.insert(url, handle);
    /// }
    /// downloads["/huge"].abort(); // this one only
    /// group.await?; // the first error
    /// assert_eq!(downloads.remove("/huge").unwrap().await, Err(Lost::Aborted));
    /// assert_eq!(downloads.remove("/small").unwrap().await.unwrap(), b"/small");
    /// # Ok::<_, std::io::Error>(())
    /// # }).unwrap();
    /// ```
    #[doc(alias("abort", "JoinHandle", "AbortHandle"))]
    pub fn joinable<T, E>(self) -> (Task<Joinable<F, T>>, ChildHandle<T>)
    where
        F: Future<Output = Result<T, E>>,
    {
        let cell = JoinCell::new();
        let handle = ChildHandle::new(&cell);
        // In its place: a large future is copied as few times as can be.
        let child = Task {
            future: Joinable { future: Some(self.future), cell, if_dropped: Lost::Dropped },
            options: self.options,
            link: Some(Joinable::link),
        };
        (child, handle)
    }

    /// Returns the future without its options.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::task;
    /// # futures::executor::block_on(async {
    /// assert_eq!(task(async { 7 }).name("seven").into_inner().await, 7);
    /// # });
    /// ```
    pub fn into_inner(self) -> F {
        self.future
    }

    pub(crate) fn options(&mut self) -> &mut Options {
        &mut self.options
    }

    pub(crate) fn link(&self) -> Option<&JoinLink> {
        self.link.map(|link| link(&self.future))
    }
}

impl Options {
    pub(crate) const DEFAULT: Self = Self {
        weight: 1,
        priority: 0,
        daemon: false,
        key: None,
        unique: false,
        until_stop: false,
        name: None,
    };

    /// Returns `true` if no option is set.
    pub(crate) fn are_default(&self) -> bool {
        self.is_plain() && self.name.is_none()
    }

    /// Returns `true` if at most a weight, a priority and a key, which may be unique, are set.
    pub(crate) fn fit_inline(&self) -> bool {
        !self.daemon && !self.until_stop && self.name.is_none()
    }

    /// Returns `true` if at most a weight is set.
    pub(crate) fn has_at_most_weight(&self) -> bool {
        self.needs_no_order() && self.name.is_none()
    }

    /// Returns `true` if the options do not concern admission: at most a name is set.
    pub(crate) fn is_plain(&self) -> bool {
        self.weight == 1 && self.needs_no_order()
    }

    /// Returns `true` if at most a weight and a name are set.
    fn needs_no_order(&self) -> bool {
        self.priority == 0 && !self.daemon && !self.until_stop && self.key.is_none()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl<F> fmt::Debug for Task<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { weight, priority, daemon, until_stop, key, unique, name } = &self.options;
        let mut task = f.debug_struct("Task");
        task.field("name", name)
            .field("weight", weight)
            .field("priority", priority)
            .field("daemon", daemon);
        if *until_stop {
            task.field("until_stop", until_stop);
        }
        if let Some(key) = key {
            task.field("key", key).field("unique", unique);
        }
        task.finish_non_exhaustive()
    }
}
