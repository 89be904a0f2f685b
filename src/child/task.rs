//! What a child may ask for beside being run.

use alloc::borrow::Cow;
use core::fmt;

/// Wraps a future, so that options can be set for it; goes wherever a child goes.
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
    Task { future, options: Options::default() }
}

/// A future with options, as a child of a group; made by [`task`].
///
/// It is not a future itself. A [`Stopped`](crate::Stopped) or
/// [`AtLimit`](crate::TryGoError::AtLimit) hands it back, options and all.
///
/// # Who goes first
///
/// Those who wait stand in one line: higher [priority](Self::priority) first, among equals
/// first come, first served. Nobody slips past one who stands before him, however little room
/// he needs: room that becomes free is kept for the first until it is enough for him. So,
/// among equals, neither heavy children nor light ones starve. Those of a lower priority wait for
/// as long as there are any of a higher one.
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
    future: F,
    options: Options,
}

/// What was asked for a child.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) weight: usize,
    pub(crate) priority: i32,
    pub(crate) daemon: bool,
    pub(crate) name: Option<Cow<'static, str>>,
}

impl<F> Task<F> {
    /// Gives the child a name, for an [observer](crate::Observer).
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

    /// Sets how much of the group's limit the child takes; 1 where it isn't set, and 0 counts as
    /// 1.
    ///
    /// A child that is heavier than the limit runs alone. A lighter one never slips past a
    /// heavier that waits before it. What `golang.org/x/sync/semaphore.Weighted` does, where
    /// an acquisition beyond the whole size would wait for ever.
    ///
    /// A stream that is [fed](crate::Group::feed) is asked for a child when there is room for one
    /// of weight 1; where the child is heavier, and does not fit, it waits in the queue where the
    /// `feed` stood, at priority 0, or at its own where that is higher.
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
        self.options.weight = weight.max(1);
        self
    }

    /// Sets who is admitted first among those that wait: the higher, and among equals who came
    /// first. 0 where it isn't set.
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
    /// assert_eq!(*order.borrow(), [0, 5, -1]); // the first found room, and did not wait
    /// # });
    /// ```
    pub fn priority(mut self, priority: i32) -> Self {
        self.options.priority = priority;
        self
    }

    /// Lets the group end without this child: where only daemons are left, the group stops, with
    /// [`Reason::Finished`](crate::Reason::Finished), and polls them to their end.
    ///
    /// So a daemon has to listen to the group's token, or the group waits for it
    /// [for as long as the grace is](crate::Group::with_grace). It takes room as any child does:
    /// under a limit of 1 it leaves none for anyone else. A daemon that waits in the queue holds
    /// the group open no more than one that runs: the stop drops it. The stop comes when the group itself
    /// is polled; not while its [`go`](crate::Group::go) or [`feed`](crate::Group::feed)
    /// drives it, nor while a [scope](crate::Group::scope)'s body runs, as more children may come then.
    /// A daemon's result counts as any other's, after the stop too. What Trio's users
    /// do with a cancel at the end of a nursery's body, and what ox calls `fork`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Group, Reason, task};
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let token = group.token().clone();
    /// group.queue(task(async move {
    ///     // Reports progress, say, as long as there is anything to report.
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

    /// Gives back the future without its options.
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
}

impl Options {
    /// Whether admission has nothing to know of it but, for an observer, its name.
    pub(crate) fn is_plain(&self) -> bool {
        self.weight == 1 && self.priority == 0 && !self.daemon
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { weight: 1, priority: 0, daemon: false, name: None }
    }
}

impl<F> fmt::Debug for Task<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { weight, priority, daemon, name } = &self.options;
        f.debug_struct("Task")
            .field("name", name)
            .field("weight", weight)
            .field("priority", priority)
            .field("daemon", daemon)
            .finish_non_exhaustive()
    }
}
