//! A future beside a group that reports when the group is not polled.

use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use super::Closed;
use crate::admission::Core;
use crate::child::Kind;
use crate::handle::Handle;
use crate::snapshot::Snapshot;
use crate::util::parent_waker::Mark;

/// Watches a group, and reports when the group was woken and was not polled for a whole interval.
/// Its children stand still then, while the task that owns the group awaits something else.
///
/// `interval` makes the timer of one interval after the other. At the end of each interval for the
/// whole of which the group has starved, `report` is called with a
/// [snapshot](crate::Handle::snapshot); that is again and again while it starves. The future
/// resolves when the group has resolved or is gone.
///
/// The watchdog has to run in a task of its own, or in a `join!` around the task that may starve
/// the group. It borrows nothing of the group, and does not keep the group open. It costs the group
/// nothing.
///
/// A group that was never polled counts as woken only once a handle has added a child. A group that
/// is polled at least once an interval is never reported, however long its children take. (A stream
/// of results that gives one which it has does not poll its group.) A child that blocks its thread
/// isn't found: the group is being polled then. See [`SlowPolls`](crate::SlowPolls).
///
/// # Panics
///
/// A panic of `interval`, of its future or of `report` comes out of the poll of the watchdog.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use errgroup::{Group, watchdog};
///
/// # async fn serve(id: u32) -> Result<(), String> { Ok(()) }
/// # async fn run() -> Result<(), String> {
/// let mut group = Group::new().with_name("connections");
/// tokio::spawn(watchdog(
///     &group.handle(),
///     || tokio::time::sleep(Duration::from_secs(5)),
///     |snapshot| eprintln!("not polled for 5 seconds\n{snapshot}"),
/// ));
/// group.queue(serve(1));
/// group.await
/// # }
/// ```
pub fn watchdog<C, T, F, R>(handle: &Handle<C>, interval: T, report: R) -> Watchdog<T, F, R>
where
    C: Kind,
    T: FnMut() -> F,
    F: Future,
    R: FnMut(Snapshot),
{
    let core = Arc::clone(&handle.shared.core);
    core.with_state(|state| state.lifecycle.watched = true);
    Watchdog { core, closed: handle.closed(), interval, timer: None, mark: None, report }
}

pin_project! {
    /// The future of [`watchdog`].
    ///
    /// # Examples
    ///
    /// One that may be named, for a field:
    ///
    /// ```
    /// use std::future::{Ready, ready};
    ///
    /// use errgroup::future::Watchdog;
    /// use errgroup::snapshot::Snapshot;
    /// use errgroup::{Group, watchdog};
    ///
    /// struct Service {
    ///     watchdog: Watchdog<fn() -> Ready<()>, Ready<()>, fn(Snapshot)>,
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let watchdog = watchdog(
    ///     &group.handle(),
    ///     (|| ready(())) as fn() -> _, // a timer, in a program
    ///     (|snapshot| eprintln!("{snapshot}")) as fn(_),
    /// );
    /// let service = Service { watchdog };
    /// group.queue(async { Ok::<(), ()>(()) });
    /// assert_eq!(group.await, Ok(()));
    /// service.watchdog.await; // it ends with the group
    /// # });
    /// ```
    #[must_use = "a future does nothing unless it is polled: `spawn` it"]
    pub struct Watchdog<T, F, R> {
        core: Arc<Core>,
        closed: Closed,
        interval: T,
        // `None` before the first interval, and once the group is closed.
        #[pin]
        timer: Option<F>,
        // If the group starved when the interval began.
        mark: Option<Mark>,
        report: R,
    }
}

impl<T, F, R> Future for Watchdog<T, F, R>
where
    T: FnMut() -> F,
    F: Future,
    R: FnMut(Snapshot),
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.closed.is_terminated() {
            return Poll::Pending;
        }
        if Pin::new(&mut *this.closed).poll(cx).is_ready() {
            this.timer.set(None);
            return Poll::Ready(());
        }
        let parent = this.core.parent();
        if this.timer.is_none() {
            *this.mark = if this.core.is_vacant() { None } else { parent.mark_starved() };
            this.timer.set(Some((this.interval)()));
        }
        let passed = this.timer.as_mut().as_pin_mut().is_some_and(|it| it.poll(cx).is_ready());
        if passed {
            // The next interval begins in the next poll, so that timers that are ready at once do
            // not keep the task.
            this.timer.set(None);
            cx.waker().wake_by_ref();
            let has_starved = this.mark.is_some_and(|mark| parent.is_marked(mark));
            if has_starved && !this.core.is_vacant() {
                (this.report)(this.core.inspect(&[]));
            }
        }
        Poll::Pending
    }
}

impl<T, F, R> FusedFuture for Watchdog<T, F, R>
where
    T: FnMut() -> F,
    F: Future,
    R: FnMut(Snapshot),
{
    fn is_terminated(&self) -> bool {
        self.closed.is_terminated()
    }
}

impl<T, F, R> fmt::Debug for Watchdog<T, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").field("closed", &self.closed).finish_non_exhaustive()
    }
}
