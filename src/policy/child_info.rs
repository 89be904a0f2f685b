//! What a policy is told of a child.

use crate::admission::ChildRecord;
use crate::key::Key;

/// What a [`Policy`](crate::Policy) is told of a child beside its result.
///
/// Later versions may add methods. A policy that wraps another one passes it on.
///
/// # Examples
///
/// A policy that keeps the names of the children that failed:
///
/// ```
/// use errgroup::{ChildInfo, Group, Policy, Reason, Verdict, task};
///
/// #[derive(Default)]
/// struct Failed(Vec<String>);
///
/// impl<T, E> Policy<T, E> for Failed {
///     type Output = Vec<String>;
///
///     fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
///         if result.is_err() {
///             self.0.push(child.name().unwrap_or("(no name)").to_string());
///         }
///         Verdict::Continue
///     }
///
///     fn finish(&mut self, _: &Reason) -> Vec<String> {
///         std::mem::take(&mut self.0)
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_policy(Failed::default());
/// for host in ["a.example", "b.example"] {
///     let answer = if host.starts_with('a') { Ok(host) } else { Err("no answer") };
///     group.queue(task(async move { answer }).name(host));
/// }
/// assert_eq!(group.await, ["b.example"]);
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ChildInfo<'a> {
    index: usize,
    record: Option<&'a ChildRecord>,
}

impl<'a> ChildInfo<'a> {
    /// Creates the information about a child that has neither a name nor another option, for tests
    /// of a policy without a group.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{ChildInfo, FirstErr, Policy, Reason, Verdict};
    ///
    /// let mut policy = FirstErr::new();
    /// let verdict = policy.on_child(&ChildInfo::new(0), Err::<(), _>("broken"));
    /// assert_eq!(verdict, Verdict::Stop(Reason::Failed));
    /// ```
    pub fn new(index: usize) -> Self {
        Self { index, record: None }
    }

    /// Creates the information about a child of which admission has a record, if it has one.
    #[inline]
    pub(crate) fn with_record(index: usize, record: Option<&'a ChildRecord>) -> Self {
        Self { index, record }
    }

    /// Returns the child's position in the order of admission, from 0.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(errgroup::ChildInfo::new(7).index(), 7);
    /// ```
    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the [name](crate::Task::name) that the child was given, or `None` if it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(errgroup::ChildInfo::new(7).name(), None);
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.record?.name.as_deref()
    }

    /// Returns the child's [`Key`], or `None` if it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(errgroup::ChildInfo::new(7).key(), None);
    /// ```
    pub fn key(&self) -> Option<&Key> {
        self.record?.key.as_ref()
    }

    pub(crate) fn record(&self) -> Option<&'a ChildRecord> {
        self.record
    }

    pub(crate) fn is_daemon(&self) -> bool {
        self.record.is_some_and(|record| record.daemon)
    }
}
