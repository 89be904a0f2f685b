//! Several errors as one.

use alloc::vec::{self, Vec};
use core::error::Error;
use core::{fmt, slice};

use crate::reason::CancelError;

/// The errors of several children, in the order in which they came.
///
/// A group with [`AllErrors`](crate::AllErrors) or [`FirstOk`](crate::FirstOk) fails with it, and
/// so does [`hedge`](crate::hedge). It is empty only if nothing failed: if no child of a group with
/// `FirstOk` finished, or if a `hedge` may make no attempt. You can also make one from a `Vec`, or
/// collect one.
///
/// `Display` writes one line, however many errors there are: their number, then each of them, as
/// in `1 error: a` and `3 errors: a; b; c`. `{:#}` writes each error in its own `{:#}` form.
///
/// It is an [`Error`] for any `E` that has `Debug` and `Display`, such as an `anyhow::Error` or a
/// `Box<dyn Error>`. It has no [`source`](Error::source), since it writes each error itself:
/// iterate to reach their sources.
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
    pub(super) fn push(&mut self, error: E) {
        self.0.push(error);
    }

    /// Returns how many errors there are.
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

    /// Returns `true` if there is no error, so nothing failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let group = errgroup::Group::<errgroup::Boxed<'_, (), &str>>::new().first_ok();
    /// // There were no children: none succeeded, and none failed.
    /// assert!(group.await.unwrap_err().is_empty());
    /// # });
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the error that came first, or `None` if there is none.
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

    /// Returns an iterator over the errors, in the order in which they came.
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

    /// Returns the errors as the `Vec` that holds them, in the order in which they came.
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

/// Collects errors in the order of the iterator.
///
/// # Examples
///
/// A check that returns all that is wrong with its inputs:
///
/// ```
/// use errgroup::Errors;
///
/// fn check(names: &[&str]) -> Result<(), Errors<String>> {
///     let empty = names.iter().enumerate().filter(|(_, name)| name.is_empty());
///     let errors: Errors<_> = empty.map(|(n, _)| format!("name {n} is empty")).collect();
///     if errors.is_empty() { Ok(()) } else { Err(errors) }
/// }
///
/// let errors = check(&["a", "", "c", ""]).unwrap_err();
/// assert_eq!(errors.to_string(), "2 errors: name 1 is empty; name 3 is empty");
/// ```
impl<E> FromIterator<E> for Errors<E> {
    fn from_iter<I: IntoIterator<Item = E>>(errors: I) -> Self {
        Self(errors.into_iter().collect())
    }
}

impl<E> Default for Errors<E> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Adds errors behind those that have come before.
///
/// # Examples
///
/// ```
/// use errgroup::Errors;
///
/// let mut errors = Errors::default();
/// errors.extend(["one", "two"]);
/// errors.extend(["three"]);
/// assert_eq!(errors.to_string(), "3 errors: one; two; three");
/// ```
impl<E> Extend<E> for Errors<E> {
    fn extend<I: IntoIterator<Item = E>>(&mut self, errors: I) {
        self.0.extend(errors);
    }
}

/// Wraps a `Vec` of errors as it is; [`Errors::into_vec`] returns it.
///
/// # Examples
///
/// ```
/// use errgroup::Errors;
///
/// assert_eq!(Errors::from(vec!["one", "two"]).to_string(), "2 errors: one; two");
/// ```
impl<E> From<Vec<E>> for Errors<E> {
    fn from(errors: Vec<E>) -> Self {
        Self(errors)
    }
}

/// Converts the cancellation to one error, so that a function that returns `Errors` can return it
/// by `?`.
///
/// # Examples
///
/// ```
/// use errgroup::{CancelToken, Errors};
///
/// type AnyError = Box<dyn std::error::Error + Send + Sync>;
///
/// async fn check(token: &CancelToken) -> Result<(), Errors<AnyError>> {
///     // `?` turns a `CancelError` into an `Errors`.
///     token.run(async { Err(Errors::from(vec!["one".into(), "two".into()])) }).await?
/// }
///
/// # futures::executor::block_on(async {
/// let token = CancelToken::new();
/// assert_eq!(check(&token).await.unwrap_err().len(), 2);
/// token.cancel();
/// let errors = check(&token).await.unwrap_err();
/// assert_eq!((errors.len(), errors.to_string()), (1, "1 error: cancelled".to_string()));
/// # });
/// ```
impl<E: From<CancelError>> From<CancelError> for Errors<E> {
    fn from(error: CancelError) -> Self {
        Self(Vec::from([E::from(error)]))
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
            1 => f.write_str("1 error: ")?,
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

impl<E: fmt::Debug + fmt::Display> Error for Errors<E> {}
