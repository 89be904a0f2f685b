//! Handing over many children at once.

use crate::child::{Child, Children, Kind};
use crate::group::Group;
use crate::handle::Handle;
use crate::stream::Results;

/// [Queues](Self::queue) each child that the iterator makes, in its order.
///
/// All of them are made here and now; where that is too much to hold in memory,
/// [`feed`](Self::feed) makes each when there is room. A panic of the iterator leaves those queued
/// that it had made.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(2).collect();
/// group.extend(["/a", "/bc", "/def"].map(length));
/// assert_eq!(group.await.unwrap(), [2, 3, 4]);
/// # });
/// ```
impl<C: Children, P, O, A: Child<C>> Extend<A> for Group<C, P, O> {
    fn extend<I: IntoIterator<Item = A>>(&mut self, children: I) {
        children.into_iter().for_each(|child| self.queue(child));
    }
}

/// [Queues](Self::queue) each child that the iterator makes, in its order.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # async fn visit(page: u32) -> Result<u32, String> { Ok(page) }
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(2).collect();
/// let mut handle = group.handle();
/// group.queue(async move {
///     handle.extend((1..4).map(visit)); // what it found
///     Ok(0)
/// });
/// assert_eq!(group.await.unwrap(), [0, 1, 2, 3]);
/// # });
/// ```
impl<C: Children, A: Child<C>> Extend<A> for Handle<C> {
    fn extend<I: IntoIterator<Item = A>>(&mut self, children: I) {
        children.into_iter().for_each(|child| self.queue(child));
    }
}

/// [Queues](Self::queue) each child that the iterator makes, in its order.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
/// use futures::stream::TryStreamExt;
///
/// # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
/// # futures::executor::block_on(async {
/// let mut results = Group::new().with_limit(2).results();
/// results.extend(["/a", "/bc"].map(length));
/// assert_eq!(results.try_collect::<Vec<_>>().await.unwrap(), [2, 3]);
/// # });
/// ```
impl<C: Kind, T, E, A: Child<C>> Extend<A> for Results<C, T, E> {
    fn extend<I: IntoIterator<Item = A>>(&mut self, children: I) {
        children.into_iter().for_each(|child| self.queue(child));
    }
}
