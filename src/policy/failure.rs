//! Errors that say which child has failed.

use core::error::Error;
use core::fmt;

use super::{ChildInfo, Policy, Verdict};
use crate::admission::ChildRecord;
use crate::key::Key;
use crate::reason::{CancelError, Reason};

/// The error of a child, and which child it was.
///
/// A group that is [`named`](crate::Group::named) fails with it. `Display` writes one line: the
/// child's index, its name if it has one, and the error.
///
/// It is an [`Error`] if `E` is one. Its [`source`](Error::source) is the source of `E`, since it
/// writes `E` itself. `anyhow::Error` and `Box<dyn Error>` are none, so `?` does not convert a
/// failure of these: take the error out with [`into_inner`](Self::into_inner).
///
/// # Examples
///
/// ```
/// use errgroup::{Group, task};
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().named();
/// for (host, port) in [("a.example", "80"), ("b.example", "http")] {
///     let child = async move { port.parse::<u16>() };
///     group.queue(task(child).name(host));
/// }
/// let failure = group.await.unwrap_err();
/// assert_eq!(failure.to_string(), "child 1 (b.example): invalid digit found in string");
/// assert_eq!((failure.index(), failure.name()), (1, Some("b.example")));
/// # });
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Failure<E> {
    /// `None` if it is a cancel, and no child's.
    index: Option<usize>,
    record: ChildRecord,
    error: E,
}

impl<E> Failure<E> {
    /// Returns the child's position in the order of admission, from 0, or `usize::MAX` if it is the
    /// error of [`err_on_cancel`](crate::Group::err_on_cancel) and no child's.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let mut group = errgroup::Group::new().named();
    /// group.extend([async { Err::<(), _>("broken") }]);
    /// assert_eq!(group.await.unwrap_err().index(), 0);
    /// # });
    /// ```
    pub fn index(&self) -> usize {
        self.index.unwrap_or(usize::MAX)
    }

    /// Returns the [name](crate::Task::name) that the child was given, or `None` if it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let mut group = errgroup::Group::new().named();
    /// group.queue(errgroup::task(async { Err::<(), _>("broken") }).name("fetch"));
    /// assert_eq!(group.await.unwrap_err().name(), Some("fetch"));
    /// # });
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.record.name.as_deref()
    }

    /// Returns the child's [`Key`], or `None` if it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let mut group = errgroup::Group::new().named();
    /// group.queue(errgroup::task(async { Err::<(), _>("broken") }).key("b.example"));
    /// assert_eq!(group.await.unwrap_err().key(), Some(&"b.example".into()));
    /// # });
    /// ```
    pub fn key(&self) -> Option<&Key> {
        self.record.key.as_ref()
    }

    /// Returns the error that the child returned.
    ///
    /// # Examples
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let mut group = errgroup::Group::new().named();
    /// group.extend([async { Err::<(), _>("broken") }]);
    /// assert_eq!(group.await.unwrap_err().error(), &"broken");
    /// # });
    /// ```
    pub fn error(&self) -> &E {
        &self.error
    }

    /// Returns the error by value.
    ///
    /// # Examples
    ///
    /// With `anyhow`, the child becomes the context of its error:
    ///
    /// ```
    /// use errgroup::{Group, task};
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().named();
    /// let child = async { Err::<(), _>(anyhow::anyhow!("refused")) };
    /// group.queue(task(child).name("fetch /b"));
    /// let result: anyhow::Result<()> = group.await.map_err(|failure| {
    ///     let name = failure.name().unwrap_or_default().to_string();
    ///     failure.into_inner().context(name)
    /// });
    /// assert_eq!(format!("{:#}", result.unwrap_err()), "fetch /b: refused");
    /// # });
    /// ```
    ///
    /// Without the child:
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let mut group = errgroup::Group::new().named();
    /// group.extend([async { Err::<(), _>("broken") }]);
    /// assert_eq!(group.await.map_err(|failure| failure.into_inner()), Err("broken"));
    /// # });
    /// ```
    pub fn into_inner(self) -> E {
        self.error
    }
}

impl<E: fmt::Debug> fmt::Debug for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("index", &self.index())
            .field("name", &self.name())
            .field("key", &self.key())
            .field("error", &self.error)
            .finish()
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index, self.name()) {
            (Some(index), Some(name)) => write!(f, "child {index} ({name}): ")?,
            (Some(index), None) => write!(f, "child {index}: ")?,
            (None, _) => {}
        }
        self.error.fmt(f)
    }
}

impl<E: Error> Error for Failure<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Makes a failure that is no child's, for [`err_on_cancel`](crate::Group::err_on_cancel).
///
/// # Examples
///
/// ```
/// use errgroup::{CancelError, Group, Reason};
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_error::<CancelError>().named().err_on_cancel();
/// group.token().cancel_with(Reason::Deadline);
/// group.queue(async { Ok(()) });
/// assert_eq!(group.await.unwrap_err().to_string(), "cancelled: the deadline has passed");
/// # });
/// ```
impl<E: From<CancelError>> From<CancelError> for Failure<E> {
    fn from(error: CancelError) -> Self {
        Self { index: None, record: ChildRecord::default(), error: E::from(error) }
    }
}

/// Gives a policy errors that say which child has failed.
///
/// It is a policy for children with errors `E` if the policy in it is one for `Failure<E>`.
/// [`Group::named`](crate::Group::named) does this with the policies that come with the crate.
///
/// # Examples
///
/// ```
/// use errgroup::{ChildInfo, Failure, Group, Named, Policy, Reason, Verdict, task};
///
/// /// Writes each failure to a log.
/// struct Log(Vec<String>);
///
/// impl<T> Policy<T, Failure<&'static str>> for Log {
///     type Output = Vec<String>;
///
///     fn on_child(
///         &mut self,
///         _: &ChildInfo<'_>,
///         result: Result<T, Failure<&'static str>>,
///     ) -> Verdict {
///         self.0.extend(result.err().map(|failure| failure.to_string()));
///         Verdict::Continue
///     }
///
///     fn finish(&mut self, _: &Reason) -> Vec<String> {
///         std::mem::take(&mut self.0)
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_policy(Named(Log(Vec::new())));
/// group.queue(task(async { Err::<(), _>("no answer") }).name("fetch /a"));
/// assert_eq!(group.await, ["child 0 (fetch /a): no answer"]);
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Named<P>(pub P);

impl<T, E, P: Policy<T, Failure<E>>> Policy<T, E> for Named<P> {
    type Output = P::Output;

    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        let result = result.map_err(|error| {
            let record = child.record().cloned().unwrap_or_default();
            Failure { index: Some(child.index()), record, error }
        });
        self.0.on_child(child, result)
    }

    fn skip(&mut self, index: usize) {
        self.0.skip(index);
    }

    fn finish(&mut self, why: &Reason) -> P::Output {
        self.0.finish(why)
    }

    fn may_stop_at_ok(&self) -> bool {
        self.0.may_stop_at_ok()
    }
}
