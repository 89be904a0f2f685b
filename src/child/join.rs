//! A handle of one child: it is told the child's value, or how the child was lost, and aborts it.
//!
//! The child, a [`Joinable`], and its [`ChildHandle`] meet in a [`JoinCell`], which is one
//! allocation. Admission meets the child in the cell's [`JoinLink`], which depends on no type.
//!
//! # How a child is aborted
//!
//! `ABORTED` is set, and admission is asked to take the child out of the queue. If it is not there,
//! its task is woken, and its next poll drops the user's future. Then it has no result to return:
//! it returns `Ok(())`, after it has told admission that this is none.
//!
//! # Invariants
//!
//! - The ending is stored once, before `DONE` is set, and after the user's future was dropped; but
//!   a queued child has its ending at once, and the group drops it.
//! - The child looks at `ABORTED` after it has registered its task's waker, and the handle wakes
//!   the task after it has set `ABORTED`. So neither misses the other. It is the same with `DONE`
//!   and the task of the handle.
//! - Admission links the child before it looks at `ABORTED`, and the handle looks for the link
//!   after it has set `ABORTED`. So one of them takes a queued child out.
//! - No value, future or waker of the user's is dropped, polled or woken under a lock.

use core::error::Error;
use core::fmt;
use core::future::Future;
use core::num::NonZeroU64;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_util::future::{FusedFuture, TryFuture};
use pin_project_lite::pin_project;

use crate::util::lock::Mutex;
use crate::util::panic::{FirstPanic, catch, quietly, resume};
use crate::util::sync::{Arc, AtomicU8, Ordering};
use crate::util::task_waker::TaskWaker;

const ABORTED: u8 = 1;
const DONE: u8 = 2;

/// Names a joinable child in its group.
pub(crate) type JoinId = NonZeroU64;

/// What a joinable child asks of the admission of its group.
pub(crate) trait AbortChild: Send + Sync {
    /// Takes the child out of the queue. Returns `false` if it is not there.
    fn abort_queued(&self, id: JoinId) -> bool;

    /// Records that the result which the running child is about to return is none.
    fn void_result(&self, id: JoinId);
}

/// The part of a [`JoinCell`] that does not depend on the type of the value.
pub struct JoinLink {
    /// `ABORTED` and `DONE`, which are never cleared.
    state: AtomicU8,
    /// The task that polls the child.
    task: TaskWaker,
    /// Where the child was accepted. `None` before, and when it has ended.
    group: Mutex<Option<Membership>>,
}

type Membership = (alloc::sync::Arc<dyn AbortChild>, JoinId);

/// What a joinable child and its handle share.
pub(crate) struct JoinCell<T> {
    link: JoinLink,
    /// How the child has ended, until the handle takes it.
    ending: Mutex<Option<Result<T, Lost>>>,
    /// The task that polls the handle.
    reader: TaskWaker,
}

pin_project! {
    /// The child of a [`ChildHandle`]: a future `F` that gives its value, a `T`, to the handle.
    ///
    /// [`Task::joinable`](crate::Task::joinable) makes it. Its output is a `Result<(), E>`: for the
    /// group the value is `()`, while an error is the group's, as any child's is.
    ///
    /// When it is aborted while it is not a child of a group, it ends with `Ok(())`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::{Ready, ready};
    ///
    /// use errgroup::{Group, Joinable, Plain, task};
    ///
    /// # futures::executor::block_on(async {
    /// type Download = Ready<Result<Vec<u8>, String>>;
    ///
    /// let mut group: Group<Plain<Joinable<Download>>> = Group::unboxed();
    /// let download: Download = ready(Ok(vec![1, 2, 3]));
    /// let (child, handle) = task(download).joinable();
    /// group.queue(child);
    /// assert_eq!(group.await, Ok(()));
    /// assert_eq!(handle.await, Ok(vec![1, 2, 3]));
    /// # });
    /// ```
    #[must_use = "a child does nothing unless a group takes it"]
    pub struct Joinable<F, T = <F as TryFuture>::Ok> {
        // `None` once it is done.
        #[pin]
        pub(crate) future: Option<F>,
        pub(crate) cell: Arc<JoinCell<T>>,
        // What the handle is told if the child is dropped now.
        pub(crate) if_dropped: Lost,
    }

    impl<F, T> PinnedDrop for Joinable<F, T> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let mut panic = FirstPanic::default();
            panic.guard(|| this.future.set(None));
            let lost = match *this.if_dropped {
                _ if panic.is_some() => Lost::Panicked,
                Lost::Dropped if this.cell.link.is_aborted() => Lost::Aborted,
                lost => lost,
            };
            this.cell.complete(Err(lost));
            panic.throw();
        }
    }
}

/// The handle of one child: a future of the child's value, which can also [abort](Self::abort) it.
///
/// [`Task::joinable`](crate::Task::joinable) makes it. It resolves to the child's value when the
/// child has finished, or to [`Lost`] if there is no value. By then the child's future has been
/// dropped. (The one exception: a child that is aborted in the queue is dropped by the group's next
/// poll.)
///
/// It does not poll the child: the group does. So await it while the group is polled, from another
/// child, another task or the body of a [scope](crate::Group::scope), or after the group.
///
/// It may be awaited by any task, and needs no runtime. It is `Send` if the value is, whatever the
/// child is, and borrows nothing of the group.
///
/// # Drop
///
/// Dropping the handle changes nothing: the child goes on, and its value is dropped. After
/// [`abort_on_drop`](Self::abort_on_drop), it aborts the child.
///
/// # Cancel safety
///
/// `(&mut handle).await` may be dropped at any time, and be tried again. Once it has resolved, it
/// stays pending.
///
/// # Fairness
///
/// It is woken once, when the child has ended.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, task};
///
/// # async fn load(name: &str) -> Result<String, std::io::Error> { Ok(name.to_uppercase()) }
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(4);
/// let (config, config_handle) = task(load("config")).joinable();
/// let (users, users_handle) = task(load("users")).joinable();
/// group.queue(config);
/// group.queue(users);
/// let (done, config, users) = futures::join!(group, config_handle, users_handle);
/// done?; // the first error
/// assert_eq!((config.unwrap(), users.unwrap()), ("CONFIG".to_string(), "USERS".to_string()));
/// # Ok::<_, std::io::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "dropping the handle lets the child go on, and drops its value"]
pub struct ChildHandle<T> {
    cell: Arc<JoinCell<T>>,
    aborts_on_drop: bool,
}

/// Why a [`ChildHandle`] has no value.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, Lost, task};
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new();
/// let (child, handle) = task(async { Err::<(), _>("the disk is full") }).joinable();
/// group.queue(child);
/// assert_eq!(group.await, Err("the disk is full"));
/// assert_eq!(handle.await, Err(Lost::Failed));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lost {
    /// The child returned an error, which went to the group.
    Failed,
    /// The child panicked, and the panic went to the group.
    Panicked,
    /// The child was dropped: by a stop, by a grace, or with its group; or it was never admitted.
    Dropped,
    /// The child was [aborted](ChildHandle::abort).
    Aborted,
}

// === impl JoinLink ===

impl JoinLink {
    /// Links the child to the group that accepts it. Returns `true` if it has been aborted.
    pub(crate) fn attach(&self, group: alloc::sync::Arc<dyn AbortChild>, id: JoinId) -> bool {
        *self.group.lock() = Some((group, id));
        self.is_aborted()
    }

    fn membership(&self) -> Option<Membership> {
        self.group.lock().clone()
    }

    fn is_aborted(&self) -> bool {
        self.state.load(Ordering::Acquire) & ABORTED != 0
    }

    fn is_done(&self) -> bool {
        // Acquire: what the child did before its end is seen by a caller that sees the end.
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    /// Registers the waker of the child's task. Returns `false` if the child has been aborted.
    fn register(&self, waker: &Waker) -> bool {
        // A foreign waker that panics is its executor's fault, not the child's. The next poll
        // registers another one.
        quietly(|| self.task.register(waker));
        !self.is_aborted()
    }
}

impl fmt::Debug for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinLink(..)")
    }
}

// === impl JoinCell ===

impl<T> JoinCell<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            link: JoinLink {
                state: AtomicU8::new(0),
                task: TaskWaker::new(),
                group: Mutex::new(None),
            },
            ending: Mutex::new(None),
            reader: TaskWaker::new(),
        })
    }

    /// Stores how the child has ended, unless that has been done, and wakes the handle.
    fn complete(&self, ending: Result<T, Lost>) {
        let unwanted = {
            let mut stored = self.ending.lock();
            if self.link.is_done() {
                Some(ending)
            } else {
                *stored = Some(ending);
                // Release: a reader that sees it sees what the child has done.
                self.link.state.fetch_or(DONE, Ordering::AcqRel);
                None
            }
        };
        if unwanted.is_some() {
            return;
        }
        let group = self.link.group.lock().take();
        drop(group);
        self.link.task.clear();
        self.reader.wake();
    }

    fn abort(&self) {
        if self.link.state.fetch_or(ABORTED, Ordering::AcqRel) & (ABORTED | DONE) != 0 {
            return;
        }
        match self.link.membership() {
            Some((group, id)) if group.abort_queued(id) => self.complete(Err(Lost::Aborted)),
            _ => self.link.task.wake(),
        }
    }
}

// === impl Joinable ===

impl<F, T> Joinable<F, T> {
    pub(crate) fn link(&self) -> &JoinLink {
        &self.cell.link
    }
}

impl<F, T, E> Future for Joinable<F, T>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let link = &this.cell.link;
        // If this unwinds, the child has panicked.
        *this.if_dropped = Lost::Panicked;
        let result = match link.is_aborted() {
            true => None,
            false => match future.poll(cx) {
                Poll::Ready(result) => Some(result),
                // Only now: a child that is ready at once leaves no waker.
                Poll::Pending if link.register(cx.waker()) => {
                    *this.if_dropped = Lost::Dropped;
                    return Poll::Pending;
                }
                Poll::Pending => None,
            },
        };
        if let Err(payload) = catch(|| this.future.set(None)) {
            quietly(|| drop(result));
            resume(payload);
        }
        let (ending, returned) = match result {
            Some(Ok(value)) => (Ok(value), Ok(())),
            Some(Err(error)) => (Err(Lost::Failed), Err(error)),
            None => {
                if let Some((group, id)) = link.membership() {
                    group.void_result(id);
                }
                (Err(Lost::Aborted), Ok(()))
            }
        };
        this.cell.complete(ending);
        Poll::Ready(returned)
    }
}

impl<F, T> fmt::Debug for Joinable<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Joinable(..)")
    }
}

// === impl ChildHandle ===

impl<T> ChildHandle<T> {
    pub(crate) fn new(cell: &Arc<JoinCell<T>>) -> Self {
        Self { cell: Arc::clone(cell), aborts_on_drop: false }
    }

    /// Aborts the child: it is dropped, not polled on, and counts as
    /// [`dropped`](crate::Stats::dropped).
    ///
    /// This is no failure: the policy is not told of it, and the group goes on. The child's room is
    /// given to the next.
    ///
    /// A queued child gives up its place at once, and the handle resolves. The child's future is
    /// dropped by the group's next poll, since it may belong to the group's thread. A child that
    /// runs is woken, and is dropped in place of its next poll. One that has not been accepted by a
    /// group is dropped in place of its first poll, once it is. If the child has finished, nothing
    /// happens; nor if it finishes in the poll that goes on just now.
    ///
    /// To *tell* a child to finish, give it a [token](crate::CancelToken) of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Lost, task};
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let (download, handle) = task(std::future::pending::<Result<(), ()>>()).joinable();
    /// group.queue(download);
    /// group.queue(async move {
    ///     handle.abort(); // the user has lost patience
    ///     assert_eq!(handle.await, Err(Lost::Aborted));
    ///     Ok(())
    /// });
    /// assert_eq!((&mut group).await, Ok(()));
    /// assert_eq!((group.stats().ok, group.stats().dropped), (1, 1));
    /// # });
    /// ```
    #[doc(alias = "cancel")]
    pub fn abort(&self) {
        self.cell.abort();
    }

    /// Returns `true` if the child has ended, so that the handle resolves at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Group, task};
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let (child, handle) = task(async { Ok::<_, ()>(7) }).joinable();
    /// group.queue(child);
    /// assert!(!handle.is_finished());
    /// assert_eq!(group.await, Ok(()));
    /// assert!(handle.is_finished());
    /// # assert_eq!(handle.await, Ok(7));
    /// # });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.cell.link.is_done()
    }

    /// Makes the drop of the handle [abort](Self::abort) the child.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Group, task};
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let (child, handle) = task(std::future::pending::<Result<(), ()>>()).joinable();
    /// group.queue(child);
    /// drop(handle.abort_on_drop());
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    pub fn abort_on_drop(mut self) -> Self {
        self.aborts_on_drop = true;
        self
    }
}

impl<T> Future for ChildHandle<T> {
    type Output = Result<T, Lost>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Lost>> {
        let cell = &self.cell;
        if !cell.link.is_done() {
            cell.reader.register(cx.waker());
            if !cell.link.is_done() {
                return Poll::Pending;
            }
        }
        // Pending if it has been taken.
        cell.ending.lock().take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> FusedFuture for ChildHandle<T> {
    fn is_terminated(&self) -> bool {
        self.is_finished() && self.cell.ending.lock().is_none()
    }
}

// The value is not pinned.
impl<T> Unpin for ChildHandle<T> {}

impl<T> Drop for ChildHandle<T> {
    fn drop(&mut self) {
        if self.aborts_on_drop {
            self.abort();
        }
        self.cell.reader.clear();
    }
}

impl<T> fmt::Debug for ChildHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildHandle").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

// === impl Lost ===

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the child failed: its error is the group's",
            Self::Panicked => "the child panicked",
            Self::Dropped => "the child was dropped before it had finished",
            Self::Aborted => "the child was aborted",
        })
    }
}

impl Error for Lost {}
