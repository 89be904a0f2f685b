//! Several errors as one.

use alloc::vec::{self, Vec};
use core::error::Error;
use core::fmt;
use core::slice;

/// The errors of several children, in the order in which they came.
///
/// What a group with [`AllErrors`](crate::AllErrors) or [`FirstOk`](crate::FirstOk) fails with.
/// It is empty only where nothing failed: with `FirstOk`, where no child finished.
///
/// Shown, it is on one line: one error as it is; several as their number, then each, as in
/// `3 errors: a; b; c`, however many they are. `{:#}` shows each in its `{:#}` form. As an
/// [`Error`], its [`source`](Error::source) is the first of them; iterate for each one's own
/// chain. For that the children's error has to be an `Error` itself, which a `Box<dyn Error>`
/// is not.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().all_errors();
/// for text in ["1", "two", "3", ""] {
///     group.queue(async { text.parse::<u32>() });
/// }
/// let errors = group.await.unwrap_err();
/// assert_eq!(
///     errors.to_string(),
///     "2 errors: invalid digit found in string; cannot parse integer from empty string",
/// );
/// for error in &errors {
///     eprintln!("{error}: {:?}", error.kind());
/// }
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors<E>(Vec<E>);

impl<E> Errors<E> {
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, error: E) {
        self.0.push(error);
    }

    pub(super) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::none())
    }

    /// How many there are.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let mut group = errgroup::Group::new().all_errors();
    /// group.queue(async { Err::<(), _>("one") });
    /// group.queue(async { Err("two") });
    /// assert_eq!(group.await.unwrap_err().len(), 2);
    /// # });
    /// ```
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: nothing failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let group = errgroup::Group::<errgroup::Boxed<'_, (), &str>>::new().first_ok();
    /// // Nobody succeeded, and nobody failed: there were no children.
    /// assert!(group.await.unwrap_err().is_empty());
    /// # });
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that came first.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let mut group = errgroup::Group::new().all_errors();
    /// group.queue(async { Err::<(), _>("one") });
    /// group.queue(async { Err("two") });
    /// assert_eq!(group.await.unwrap_err().first(), Some(&"one"));
    /// # });
    /// ```
    pub fn first(&self) -> Option<&E> {
        self.0.first()
    }

    /// Goes through them, in the order in which they came.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let mut group = errgroup::Group::new().all_errors();
    /// group.queue(async { Err::<(), _>("one") });
    /// group.queue(async { Err("two") });
    /// let errors = group.await.unwrap_err();
    /// assert!(errors.iter().any(|error| error.starts_with("tw")));
    /// # });
    /// ```
    pub fn iter(&self) -> slice::Iter<'_, E> {
        self.0.iter()
    }

    /// Gives them out as they are kept.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let mut group = errgroup::Group::new().all_errors();
    /// group.queue(async { Err::<(), _>("one") });
    /// group.queue(async { Err("two") });
    /// assert_eq!(group.await.unwrap_err().into_vec(), ["one", "two"]);
    /// # });
    /// ```
    pub fn into_vec(self) -> Vec<E> {
        self.0
    }
}

impl<E> IntoIterator for Errors<E> {
    type Item = E;
    type IntoIter = vec::IntoIter<E>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, E> IntoIterator for &'a Errors<E> {
    type Item = &'a E;
    type IntoIter = slice::Iter<'a, E>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<E: fmt::Display> fmt::Display for Errors<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            0 => return f.write_str("no errors"),
            1 => {}
            several => write!(f, "{several} errors: ")?,
        }
        for (n, error) in self.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            if f.alternate() {
                write!(f, "{error:#}")?;
            } else {
                write!(f, "{error}")?;
            }
        }
        Ok(())
    }
}

impl<E: Error + 'static> Error for Errors<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.first().map(|error| error as _)
    }
}
