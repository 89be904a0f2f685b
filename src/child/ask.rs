//! What a gate is told of the child on whose behalf it is asked.

use crate::key::Key;

/// The child on whose behalf a [gate](crate::Group::with_gate) is asked.
///
/// It is the first of those that wait, and has room. The child of a [`feed`](crate::Group::feed)
/// or a [`reserve`](crate::Handle::reserve) is not known yet: it is taken for a child without
/// options.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use errgroup::{Ask, Group, task};
/// use tokio::sync::Semaphore;
///
/// # futures::executor::block_on(async {
/// // Each child takes as many kilobytes as it weighs.
/// let memory = Arc::new(Semaphore::new(1024));
/// let mut group = Group::new().with_gate(|ask: &Ask<'_>| {
///     Arc::clone(&memory).acquire_many_owned(ask.weight() as u32)
/// });
/// for kilobytes in [300, 800, 200] {
///     group.queue(task(async { Ok::<(), ()>(()) }).weight(kilobytes));
/// }
/// assert_eq!(group.await, Ok(()));
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) key: Option<&'a Key>,
    pub(crate) weight: usize,
}

impl<'a> Ask<'a> {
    /// Returns the child's [name](crate::Task::name), or `None` if it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Ask, Group, task};
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_gate(|ask: &Ask<'_>| {
    ///     assert_eq!(ask.name(), Some("import"));
    ///     async {}
    /// });
    /// group.queue(task(async { Ok::<(), ()>(()) }).name("import"));
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    pub fn name(&self) -> Option<&'a str> {
        self.name
    }

    /// Returns the child's [key](crate::Task::key), or `None` if it has none.
    ///
    /// No child passes one that waits at a gate, whatever its key. So a gate that lets one host
    /// wait holds up all of them. To space out the children of each host, set a
    /// [key limit](crate::Group::with_key_limit) of 1, and let each child end with the pause.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Ask, Group, Key, task};
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_gate(|ask: &Ask<'_>| {
    ///     assert_eq!(ask.key(), Some(&Key::from("a.example")));
    ///     async {}
    /// });
    /// group.queue(task(async { Ok::<(), ()>(()) }).key("a.example"));
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    pub fn key(&self) -> Option<&'a Key> {
        self.key
    }

    /// Returns the child's [weight](crate::Task::weight).
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Ask, Group};
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_gate(|ask: &Ask<'_>| {
    ///     assert_eq!(ask.weight(), 1);
    ///     async {}
    /// });
    /// group.queue(async { Ok::<(), ()>(()) });
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    pub fn weight(&self) -> usize {
        self.weight
    }
}
