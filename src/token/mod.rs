//! A token that tells many, at once, to stop.

mod cancelled;
mod guard;
mod node;
mod run;
mod wake;

use alloc::sync::Arc;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::panic::{RefUnwindSafe, UnwindSafe};

pub use self::cancelled::Cancelled;
pub use self::guard::DropGuard;
pub use self::run::Run;
pub(crate) use self::wake::wake_all;

use self::node::Node;
use crate::reason::Reason;

/// Tells whoever holds a clone of it, or of one made by [`child`](Self::child), to stop.
///
/// Cancelling is a signal, given once and never taken back: [`is_cancelled`] looks at
/// it, [`cancelled`] waits for it, [`run`] drops a future when it comes. It goes down the
/// tree of tokens, never up.
///
/// Clones are one token: equal, and cancelled together. A clone costs one reference count.
/// Dropping a token says nothing to the others (see [`drop_guard`] for that), and a
/// descendant is reached although the tokens between have been dropped. Tokens may be
/// dropped in any order, on any thread; each frees its memory, and its place in the tree,
/// when the last clone goes. If it has children then, they are handed to its parent one by
/// one.
///
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
#[derive(Clone)]
pub struct CancelToken(Arc<Node>);

impl CancelToken {
    /// Makes a token without a parent.
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

    /// How many there are: clones, children, futures that wait for it, and this one.
    pub(crate) fn references(&self) -> usize {
        self.0.references()
    }

    /// Makes a token that is cancelled when this one is, and can be cancelled by itself.
    ///
    /// The child of a cancelled token is born cancelled, with its reason.
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
    #[must_use = "a child is of use only to whoever holds it"]
    pub fn child(&self) -> Self {
        Self(self.0.child())
    }

    /// Cancels this token and its descendants, with [`Reason::Cancelled`].
    ///
    /// The same as [`cancel_with`](Self::cancel_with), for when there is no more to say.
    ///
    /// # Panics
    ///
    /// If a waker panics, after all have been woken.
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

    /// Cancels this token and its descendants, and says why; true for the one call that
    /// did it.
    ///
    /// The first reason wins, for each token: descendants that were cancelled before keep
    /// theirs. When this returns, true or false, all descendants are cancelled. They are so
    /// before the first waker runs; then everyone who waits for one of them is woken, once,
    /// on this thread. No lock is held meanwhile, so a waker may do what it likes with
    /// the tokens, such as polling its task at once.
    ///
    /// # Panics
    ///
    /// If a waker panics, after all have been woken. If several do, the first panic goes
    /// on; if the thread is panicking already, none does. (Without `std`, a second panic
    /// aborts.)
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
        self.0.cancel(reason)
    }

    /// Says whether the token is cancelled.
    ///
    /// One atomic load, however deep in the tree: cheap enough for a loop's every turn.
    /// What the canceller did before is visible to whoever sees true.
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

    /// Says why the token was cancelled; `None` if it is not.
    ///
    /// Once [`is_cancelled`](Self::is_cancelled) is true, this is `Some`, and always
    /// the same. A token that an ancestor's cancelling reached has that ancestor's reason.
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

    /// Waits until the token is cancelled, and gives the reason.
    ///
    /// The future borrows nothing. Making it allocates nothing; it is registered with
    /// the token from its first poll until it is dropped or done.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: whoever waits again sees the same.
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

    /// Runs a future until it is done or the token is cancelled, whichever comes first.
    ///
    /// A token that is cancelled already never polls the future. After that, the future
    /// is asked first at each poll, and if it is done then its output counts, cancelled or
    /// not. If it isn't, it is dropped in the poll that sees the token cancelled.
    /// What is returned borrows nothing of the token.
    ///
    /// # Cancel safety
    ///
    /// As that of the future.
    ///
    /// # Errors
    ///
    /// [`CancelError`](crate::CancelError), with the token's reason, if it is cancelled
    /// first.
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
    pub fn run<F: Future>(&self, future: F) -> Run<F> {
        Run::new(self.cancelled(), future)
    }

    /// Makes a guard that cancels the token when dropped, with [`Reason::Dropped`].
    ///
    /// For a scope that may be left in many ways: by `?`, by a panic, by its
    /// future being dropped.
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
        self.0.release();
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

/// By identity: a token equals its clones.
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

// Nothing of the user's runs under its locks, so a panic leaves nothing half done.
impl UnwindSafe for CancelToken {}
impl RefUnwindSafe for CancelToken {}
