//! A guard that cancels a token when it is dropped.

use super::CancelToken;
use crate::reason::Reason;

/// Cancels its token with [`Reason::Dropped`] when it is dropped.
///
/// Made by [`CancelToken::drop_guard`]. tokio-util's guard of that name does the same.
///
/// # Drop
///
/// Cancels the token, unless it is cancelled already. As with
/// [`cancel_with`](CancelToken::cancel_with), wakers run within the call, and the panic of one
/// comes out of it.
///
/// # Examples
///
/// ```
/// use errgroup::CancelToken;
///
/// let guard = CancelToken::new().drop_guard();
/// let token = guard.disarm();
/// assert!(!token.is_cancelled());
/// ```
#[derive(Debug)]
#[must_use = "a guard that is dropped at once cancels the token at once: bind it to a name"]
pub struct DropGuard {
    /// `None` once it is disarmed.
    token: Option<CancelToken>,
}

impl DropGuard {
    pub(super) fn new(token: CancelToken) -> Self {
        Self { token: Some(token) }
    }

    /// Returns the token, which the guard still cancels when it is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::CancelToken;
    /// let guard = CancelToken::new().drop_guard();
    /// let token = guard.token().clone();
    /// drop(guard);
    /// assert!(token.is_cancelled());
    /// ```
    pub fn token(&self) -> &CancelToken {
        match &self.token {
            Some(token) => token,
            None => unreachable!("only `disarm` takes the token, and it consumes the guard"),
        }
    }

    /// Returns the token without cancelling it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::CancelToken;
    /// fn open() -> Result<CancelToken, std::num::ParseIntError> {
    ///     let guard = CancelToken::new().drop_guard();
    ///     let _port: u16 = "8080".parse()?; // an early return cancels
    ///     Ok(guard.disarm())
    /// }
    /// assert!(!open().unwrap().is_cancelled());
    /// ```
    pub fn disarm(mut self) -> CancelToken {
        // `Some` until here: only this method takes the token, and it consumes the guard.
        self.token.take().unwrap_or_default()
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel_with(Reason::Dropped);
        }
    }
}
