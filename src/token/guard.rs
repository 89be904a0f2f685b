use super::CancelToken;
use crate::reason::Reason;

/// Cancels its token when dropped, with [`Reason::Dropped`].
///
/// Made by [`CancelToken::drop_guard`].
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
#[must_use = "dropped at once, it cancels the token at once: bind it to a name"]
pub struct DropGuard {
    /// `None` once it is disarmed.
    token: Option<CancelToken>,
}

impl DropGuard {
    pub(super) fn new(token: CancelToken) -> Self {
        Self { token: Some(token) }
    }

    /// Gives the token back, without cancelling it.
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
        // Full until now: only this method empties it, and takes the guard away.
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
