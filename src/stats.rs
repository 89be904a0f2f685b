//! The numbers of a group.

/// How many children a group has, and what became of the others, at one moment.
///
/// Every child that was ever accepted is in exactly one of `queued`, `running`, `ok`,
/// `failed` and `dropped`. One that waits in `go` is not accepted yet.
///
/// # A progress bar
///
/// Whoever has a [`Handle`](crate::Handle) may look at any time, from any thread, without a word
/// to the children: `ok + failed + dropped` are done, and `running + queued` are to come. A bar
/// that looks ten times a second stands beside the group (`join!`), or is a
/// [daemon](crate::Task::daemon) in it, until [`closed`](crate::Handle::closed); see the example
/// `progress`.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(2);
/// for n in 0..5 {
///     group.queue(async move { if n < 4 { Ok(n) } else { Err("four") } });
/// }
/// assert_eq!((group.stats().running, group.stats().queued), (2, 3));
/// let handle = group.handle();
/// assert_eq!(group.await, Err("four"));
/// assert_eq!((handle.stats().ok, handle.stats().failed), (4, 1));
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many may run at a time; `None` is no limit.
    pub limit: Option<usize>,
    /// Accepted by `queue` (or by the rule for a nested `go`), and waiting for room.
    pub queued: usize,
    /// Admitted and not finished.
    pub running: usize,
    /// Finished with `Ok`.
    pub ok: usize,
    /// Finished with `Err`.
    pub failed: usize,
    /// Ended by somebody else: queued or running when a stop, a grace, a panic or the group's
    /// drop ended it, or panicked itself, or given to `queue` after a stop, or by a `feed`'s stream
    /// while one came.
    pub dropped: usize,
}
