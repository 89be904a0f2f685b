//! Cancellation: the token, its tree, and the futures that wait for it.

mod cancelled;
mod guard;
mod node;
mod run;

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::{fmt, iter};

pub use self::cancelled::Cancelled;
pub use self::guard::DropGuard;
pub use self::run::Run;

use self::node::Node;
use crate::reason::Reason;
use crate::util::sync::Arc;

/// The ancestors of a token. Dropped, it may free them, and with them a reason of the user's.
pub(crate) struct Ancestors(Vec<Arc<Node>>);

impl Ancestors {
    /// Returns their [`id`](CancelToken::id)s, the nearest first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|node| Arc::as_ptr(node).addr())
    }
}

/// Signals cancellation to all its clones and to all its descendants.
///
/// A token is cancelled once and stays so. [`is_cancelled`] tests for it, [`cancelled`] waits for
/// it, and [`run`] drops a future when it comes. [`child`] makes a token below this one.
/// Cancelling a token cancels its descendants, never its ancestors.
///
/// Clones are one token: they are equal, and they are cancelled together. A clone costs one
/// reference count. The model is `CancellationToken` of tokio-util, to which this adds a
/// [`Reason`].
///
/// # Drop
///
/// Dropping a token cancels nothing; [`drop_guard`] makes a guard that does. Tokens may be dropped
/// in any order and on any thread. Dropping the last clone frees the token's memory and its entry
/// in its parent. If it has children, they move to its parent, one by one, so a cancelled ancestor
/// still reaches them.
///
/// [`child`]: Self::child
/// [`is_cancelled`]: Self::is_cancelled
/// [`cancelled`]: Self::cancelled
/// [`run`]: Self::run
/// [`drop_guard`]: Self::drop_guard
///
/// # Examples
///
/// ```
/// use errgroup::{CancelToken, Reason};
///
/// let server = CancelToken::new();
/// let connection = server.child();
/// let request = connection.child();
///
/// assert!(connection.cancel());
/// assert!(request.is_cancelled());
/// assert!(!server.is_cancelled());
///
/// assert!(server.cancel_with(Reason::Finished));
/// assert_eq!(request.reason(), Some(Reason::Cancelled));
/// ```
#[doc(alias("CancellationToken", "context"))]
#[derive(Clone)]
pub struct CancelToken(Arc<Node>);

impl CancelToken {
    /// Creates a token without a parent.
    ///
    /// # Examples
    ///
    /// ```
    /// let token = errgroup::CancelToken::new();
    /// assert!(!token.is_cancelled());
    /// ```
    pub fn new() -> Self {
        Self(Node::root())
    }

    /// Returns what identifies the token and its clones while one of them lives.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Returns the ancestors, the nearest first.
    pub(crate) fn ancestors(&self) -> Ancestors {
        let above = iter::successors(self.0.parent(), |node| node.parent());
        Ancestors(above.collect())
    }

    /// Returns `true` if a cancel of another token cancels this one.
    pub(crate) fn has_parent(&self) -> bool {
        self.0.parent().is_some()
    }

    /// Returns how many references there are: from its clones (this one included), its children,
    /// and the futures that wait for it.
    pub(crate) fn references(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Returns `true` if a token below this one is known, as far as a look without the lock tells.
    pub(crate) fn has_children(&self) -> bool {
        self.0.has_children()
    }

    #[cfg(loom)]
    pub(crate) fn children(&self) -> usize {
        self.0.children()
    }

    /// Creates a token that is cancelled when this one is, and that can be cancelled by itself.
    ///
    /// The child of a cancelled token is cancelled from the start, with the same reason.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::CancelToken;
    ///
    /// let parent = CancelToken::new();
    /// let (one, two) = (parent.child(), parent.child());
    /// one.cancel();
    /// assert!(!parent.is_cancelled() && !two.is_cancelled());
    /// parent.cancel();
    /// assert!(two.is_cancelled() && parent.child().is_cancelled());
    /// ```
    #[must_use = "a child token that is dropped has no effect"]
    pub fn child(&self) -> Self {
        Self(Node::child(&self.0))
    }

    /// Cancels this token and its descendants with [`Reason::Cancelled`].
    ///
    /// Returns `true` if this call cancelled the token, or `false` if it was cancelled before. For
    /// another reason, and for what this guarantees, see [`cancel_with`](Self::cancel_with).
    ///
    /// # Panics
    ///
    /// Panics if a waker panics, after all have been woken.
    ///
    /// # Examples
    ///
    /// ```
    /// let token = errgroup::CancelToken::new();
    /// assert!(token.cancel());
    /// assert!(!token.cancel());
    /// ```
    pub fn cancel(&self) -> bool {
        self.cancel_with(Reason::Cancelled)
    }

    /// Cancels this token and its descendants with the given reason.
    ///
    /// Returns `true` if this call cancelled the token, or `false` if it was cancelled before. The
    /// first reason wins, for each token: descendants that were cancelled before keep theirs.
    ///
    /// Whatever this returns, all descendants are cancelled by then. All are cancelled before the
    /// first waker is woken. Then the waker of each future that waits for a token which this call
    /// has cancelled is woken, once, on this thread. No lock is held meanwhile, so a waker may use
    /// the tokens, or poll its task at once.
    ///
    /// # Panics
    ///
    /// Panics if a waker panics, after all have been woken. If several wakers panic, the first
    /// panic resumes; if the thread is unwinding already, none does. (Without `std`, a second
    /// panic aborts.)
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{CancelToken, Reason};
    /// use std::sync::Arc;
    ///
    /// let token = CancelToken::new();
    /// let full = std::io::Error::other("disk full");
    /// assert!(token.cancel_with(Reason::Cause(Arc::new(full))));
    /// assert!(!token.cancel_with(Reason::Deadline));
    /// assert_eq!(token.reason().unwrap().to_string(), "disk full");
    /// ```
    pub fn cancel_with(&self, reason: Reason) -> bool {
        Node::cancel(&self.0, reason)
    }

    /// Returns `true` if the token is cancelled.
    ///
    /// This is one atomic load at any depth of the tree, cheap enough for each iteration of a
    /// loop. It is an acquire load: a caller that gets `true` sees what the canceller did before.
    ///
    /// # Examples
    ///
    /// ```
    /// # let token = errgroup::CancelToken::new();
    /// # token.cancel();
    /// let mut sum = 0_u64;
    /// for n in 0.. {
    ///     if token.is_cancelled() {
    ///         break;
    ///     }
    ///     sum += n;
    /// }
    /// ```
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns the reason why the token was cancelled, or `None` if it is not cancelled.
    ///
    /// Once [`is_cancelled`](Self::is_cancelled) has returned `true`, this is `Some`, and always
    /// the same. A token that was cancelled through an ancestor has that ancestor's reason.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{CancelToken, Reason};
    ///
    /// let token = CancelToken::new();
    /// assert_eq!(token.reason(), None);
    /// token.cancel();
    /// assert_eq!(token.reason(), Some(Reason::Cancelled));
    /// ```
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason()
    }

    /// Waits until the token is cancelled, and returns the reason.
    ///
    /// The future borrows nothing. Creating it allocates nothing. Its waker is registered with the
    /// token from its first pending poll until the future resolves or is dropped.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: a new call waits for the same event and returns the same
    /// reason.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{CancelToken, Reason};
    /// use futures::{executor::block_on, future::join};
    ///
    /// let token = CancelToken::new();
    /// let (reason, _) = block_on(join(token.cancelled(), async { token.cancel() }));
    /// assert_eq!(reason, Reason::Cancelled);
    /// ```
    pub fn cancelled(&self) -> Cancelled {
        Cancelled::new(self.clone())
    }

    /// Runs a future until it completes or the token is cancelled, whichever comes first.
    ///
    /// If the token is cancelled before the first poll, the future is never polled. From then on,
    /// each poll polls the future first: if it completes, its output is returned even if the token
    /// is cancelled. Otherwise it is dropped in the poll that finds the token cancelled. The rules
    /// are those of tokio-util's `run_until_cancelled`.
    ///
    /// The returned future borrows nothing from the token.
    ///
    /// # Errors
    ///
    /// Returns a [`CancelError`](crate::CancelError) with the token's reason if the token is
    /// cancelled first.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe if the future is.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{CancelToken, Reason};
    /// use futures::{executor::block_on, future};
    ///
    /// let token = CancelToken::new();
    /// assert_eq!(block_on(token.run(async { 7 })), Ok(7));
    ///
    /// let endless = token.run(future::pending::<()>());
    /// token.cancel();
    /// assert_eq!(block_on(endless).unwrap_err().into_reason(), Reason::Cancelled);
    /// ```
    ///
    /// One child of a group that is told to end, and cleans up. (Its token is cancelled with the
    /// group's as well.) To drop one child without telling it, make it
    /// [`joinable`](crate::Task::joinable).
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # async fn load() {
    /// #     std::future::pending().await
    /// # }
    /// # async fn remove_what_came() {}
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let stop = group.token().child();
    /// let download = stop.clone();
    /// group.queue(async move {
    ///     if download.run(load()).await.is_err() {
    ///         remove_what_came().await;
    ///     }
    ///     Ok::<(), ()>(())
    /// });
    /// group.queue(async move { Ok(drop(stop.cancel())) }); // that child only
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    #[doc(alias("run_until_cancelled", "select"))]
    pub fn run<F: Future>(&self, future: F) -> Run<F> {
        Run::new(self.cancelled(), future)
    }

    /// Creates a guard that cancels the token with [`Reason::Dropped`] when it is dropped.
    ///
    /// Use it if a scope can be left in several ways: by `?`, by a panic, or because its future is
    /// dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{CancelToken, Reason};
    ///
    /// let token = CancelToken::new();
    /// {
    ///     let _guard = token.clone().drop_guard();
    /// }
    /// assert_eq!(token.reason(), Some(Reason::Dropped));
    /// ```
    pub fn drop_guard(self) -> DropGuard {
        DropGuard::new(self)
    }
}

impl Drop for CancelToken {
    fn drop(&mut self) {
        Node::release(&self.0);
    }
}

/// Waits until the token is cancelled, as [`cancelled`](CancelToken::cancelled) does.
///
/// # Examples
///
/// ```
/// use errgroup::{CancelToken, Reason};
///
/// # futures::executor::block_on(async {
/// let token = CancelToken::new();
/// token.cancel();
/// assert_eq!(token.await, Reason::Cancelled);
/// # });
/// ```
impl IntoFuture for CancelToken {
    type Output = Reason;
    type IntoFuture = Cancelled;

    fn into_future(self) -> Cancelled {
        Cancelled::new(self)
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken").field("reason", &self.reason()).finish_non_exhaustive()
    }
}

/// Compares by identity: a token equals its clones and no other token.
impl PartialEq for CancelToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CancelToken {}

impl Hash for CancelToken {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        Arc::as_ptr(&self.0).hash(hasher);
    }
}

// No user code runs under a node's lock, so a panic leaves no node half changed.
impl UnwindSafe for CancelToken {}
impl RefUnwindSafe for CancelToken {}
