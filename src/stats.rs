//! The counts of a group's children.

/// How many children a group has, and how the others have ended, at one moment.
///
/// Every child that was ever accepted counts in exactly one of `queued`, `running`, `ok`, `failed`
/// and `dropped`. A child that waits in `go` is not accepted yet. A child that is refused and
/// not handed back counts as `dropped`, too.
///
/// # A progress bar
///
/// A [`Handle`](crate::Handle) returns the numbers at any time, on any thread, and the children
/// need not report anything: `ok + failed + dropped` are done, `running + queued` are not. The code
/// that draws a bar, ten times a second for example, runs beside the group (`join!`) until
/// [`closed`](crate::Handle::closed), or is a [daemon](crate::Task::daemon) of the group. See the
/// example `progress`.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// How many children may run at a time, or `None` if there is no limit.
    pub limit: Option<usize>,
    /// Accepted, and waiting for room in the queue. A `go` [inside a
    /// child](crate::Handle#waiting-inside-a-child) may put its child there, too.
    pub queued: usize,
    /// Admitted and not finished.
    pub running: usize,
    /// Finished with `Ok`.
    pub ok: usize,
    /// Finished with `Err`.
    pub failed: usize,
    /// Ended without a result:
    ///
    /// - It panicked, or it was [aborted](crate::ChildHandle::abort).
    /// - It was dropped with the group, or by a stop: from the queue, by
    ///   [`until_stop`](crate::Task::until_stop), [`drop_on_stop`](crate::Group::drop_on_stop) or a
    ///   grace that was over.
    /// - Its result was unread when the stream of results was dropped, or ended by a panic.
    /// - It has ended on its executor, and a group with an observer was dropped before it had taken
    ///   the result: the observer is told of no result that the policy has not heard.
    /// - `queue` refused it, since the group had stopped, was closed or had resolved, or since its
    ///   queue was full. Or it came from the stream of a `feed` while the group stopped.
    pub dropped: usize,
}
