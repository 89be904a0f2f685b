//! What keeps a group open while it is empty, and what closes it.

use alloc::sync::Arc;
use core::fmt;

use crate::admission::Core;
use crate::child::Kind;
use crate::group::Group;
use crate::handle::Handle;

/// Keeps a group open while it is empty. [`Group::hold`] and [`Handle::hold`] make one.
///
/// As long as one lives, the group does not resolve, unless it stops or is
/// [closed](Group::close). A hold does not keep the group in memory, nor does it poll it. After the
/// group's end it has no effect.
///
/// # Drop
///
/// Dropping the last hold of an empty group wakes the group, which then resolves.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, Hold};
/// use futures::FutureExt;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new();
/// let hold: Hold = group.hold();
/// group.queue(async { Ok(1) });
/// assert_eq!((&mut group).now_or_never(), None); // empty by now, and open
/// group.queue(async { Err("it was added later") });
/// drop(hold);
/// assert_eq!(group.await, Err("it was added later"));
/// # });
/// ```
#[must_use = "the group is held only while this lives"]
pub struct Hold {
    core: Arc<Core>,
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// Keeps the group open while it is empty, as long as the [`Hold`] or a clone of it lives.
    ///
    /// Without a hold, a group resolves when nothing runs and nothing waits. With one, an empty
    /// group is pending, and a child that is added later is polled. This makes it a set that lives
    /// as long as its owner: in an actor's loop, for example. To let such a group end, drop the
    /// holds, [`close`](Self::close) it, or cancel its token.
    ///
    /// While the group is held, [daemons](crate::Task::daemon) are not ended for being the only
    /// children left.
    ///
    /// A hold does not count as a child that waits or works. So it changes nothing for children
    /// that [wait for room](Handle#waiting-inside-a-child) in their own group.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let (handle, hold) = (group.handle(), group.hold());
    /// let adding = async move {
    ///     for n in 0..3 {
    ///         // Whatever this waits for, the group stays open.
    ///         handle.queue(async move { if n < 2 { Ok(()) } else { Err(n) } });
    ///     }
    ///     drop(hold);
    /// };
    /// let (output, ()) = futures::join!(group, adding);
    /// assert_eq!(output, Err(2));
    /// # });
    /// ```
    pub fn hold(&self) -> Hold {
        Hold::new(&self.base.admission.share().core)
    }

    /// Closes the group to newcomers, once and for all. What it has goes on to its end.
    ///
    /// From now on
    ///
    /// - [`go`](Self::go), [`try_go`](Self::try_go) and [`try_queue`](Self::try_queue) give the
    ///   child back;
    /// - [`queue`](Self::queue) drops it and counts it as dropped;
    /// - [`ready`](Self::ready) and [`reserve`](Handle::reserve) return `Stopped`;
    /// - a [`feed`](Self::feed) ends with the number of children so far.
    ///
    /// The same goes for those that
    /// wait in one of these, unless room was reserved for them; a `feed` ends even then.
    ///
    /// Children that run or are queued go on. Then the group resolves, even if there are
    /// [holds](Self::hold). The token is not cancelled by this, and
    /// [`is_stopped`](Self::is_stopped) stays `false`. A stop of a closed group is a stop like any
    /// other.
    ///
    /// tokio's `TaskTracker` has a `close` as well; there, more tasks may be added afterwards.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, TryGoError};
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(1);
    /// let _hold = group.hold();
    /// group.queue(async { Ok(1) });
    /// group.queue(async { Err("the last one") });
    /// group.close();
    /// assert!(matches!(group.try_go(async { Ok(2) }), Err(TryGoError::Closed(_))));
    /// assert!(!group.is_stopped());
    /// assert_eq!(group.await, Err("the last one"));
    /// # });
    /// ```
    pub fn close(&self) {
        self.base.admission.share().close();
    }

    /// Returns `true` if the group was [closed](Self::close) to newcomers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let group = Group::<Boxed<'_, (), ()>>::new();
    /// assert!(!group.is_closing());
    /// group.close();
    /// assert!(group.is_closing());
    /// ```
    pub fn is_closing(&self) -> bool {
        self.base.admission.is_closing()
    }
}

impl<C: Kind> Handle<C> {
    /// Keeps the group open while it is empty, as long as the [`Hold`] or a clone of it lives. See
    /// [`Group::hold`].
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let group = Group::new();
    /// let handle = group.handle();
    /// let hold = handle.hold();
    /// let adding = async move {
    ///     handle.queue(async { Err::<(), _>("added to an empty group") });
    ///     drop(hold);
    /// };
    /// assert_eq!(futures::join!(group, adding).0, Err("added to an empty group"));
    /// # });
    /// ```
    pub fn hold(&self) -> Hold {
        Hold::new(&self.shared.core)
    }

    /// Closes the group to newcomers, once and for all. What it has goes on to its end. See
    /// [`Group::close`].
    ///
    /// The group has ended when [`closed`](Self::closed) resolves.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let _hold = group.hold();
    /// let handle = group.handle();
    /// group.queue(async { Ok::<(), ()>(()) });
    /// let closing = async {
    ///     handle.close();
    ///     handle.closed().await;
    ///     handle.stats().ok
    /// };
    /// assert_eq!(futures::join!(group, closing), (Ok(()), 1));
    /// # });
    /// ```
    pub fn close(&self) {
        self.shared.close();
    }

    /// Returns `true` if the group was [closed](Self::close) to newcomers. (Its end is
    /// [`is_closed`](Self::is_closed).)
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let group = Group::<Boxed<'_, (), ()>>::new();
    /// group.handle().close();
    /// assert!(group.handle().is_closing() && !group.handle().is_closed());
    /// ```
    pub fn is_closing(&self) -> bool {
        self.shared.core.is_closing()
    }
}

impl Hold {
    fn new(core: &Arc<Core>) -> Self {
        core.hold();
        Self { core: Arc::clone(core) }
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        Self::new(&self.core)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.core.release_hold();
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold(..)")
    }
}
