use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::map_driver::MapDriver;
use crate::group::Group;
use crate::policy::Collect;

/// Runs a future for each input, at most `limit` at a time, and returns their values in the order
/// of the inputs.
///
/// The future of an input is made only when there is room for it, so no more than `limit` of them
/// exist at a time. Only then is the next input taken, at most 4,096 of them a poll. No future is
/// made before the first poll. The futures may borrow, are of one type, and are not boxed.
///
/// # Errors
///
/// Returns the error of the first future to finish with one, in the order of polling. The other
/// futures are dropped before the error is returned, and no more are made, as with `try_join_all`.
///
/// The children of a [`Group`] are told through its token and drained instead. If the work has to
/// clean up, use a group, with [`collect`](Group::collect) and [`feed`](Group::feed).
///
/// # Panics
///
/// Panics if `limit` is 0, during the call.
///
/// A panic of a future is treated like an error: there is no token to tell the others of it, and
/// one that runs forever would hide it. So the others are dropped, and then the panic resumes out
/// of the poll, with its own payload. A panic of `f`, of the inputs or of a destructor is treated
/// in the same way. (With the feature `std`; without it, a panic unwinds where it happens.)
///
/// # Cancel safety
///
/// If it is dropped before it is done, the values that it has are lost.
///
/// # Fairness
///
/// As of a [`Group`]: one poll polls each woken future once a round, and at most 4,096 in all.
///
/// # Drop
///
/// Dropping it drops the futures that run, then the inputs.
///
/// # Examples
///
/// ```
/// async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
///
/// # async fn run() -> Result<(), std::io::Error> {
/// let urls = vec!["/a".to_string(), "/long".to_string(), "/bc".to_string()];
/// let lengths = errgroup::map(8, &urls, |url| length(url)).await?;
/// assert_eq!(lengths, [2, 5, 3]);
/// # Ok(())
/// # }
/// # futures::executor::block_on(run()).unwrap();
/// ```
///
/// The first error ends it:
///
/// ```
/// # futures::executor::block_on(async {
/// let texts = ["1", "two", "three"];
/// let numbers = errgroup::map(2, texts, async |text| text.parse::<u32>().map_err(|_| text));
/// assert_eq!(numbers.await, Err("two"));
/// # });
/// ```
#[track_caller]
pub fn map<I, F, Fut, T, E>(limit: usize, inputs: I, f: F) -> Map<I::IntoIter, F, Fut, T, E>
where
    I: IntoIterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    Map { driver: MapDriver::new(limit, inputs.into_iter(), f, Group::unboxed().collect()) }
}

/// Future for [`map`](crate::map()): gives the values of all inputs, or the first error.
///
/// `I` is the iterator of the inputs, `F` the function, and `Fut` the future that it makes.
///
/// # Examples
///
/// ```
/// use std::future::{Ready, ready};
///
/// use errgroup::future::Map;
///
/// type Made = Ready<Result<u32, String>>;
/// type Doubling = Map<std::ops::Range<u32>, fn(u32) -> Made, Made, u32, String>;
///
/// # futures::executor::block_on(async {
/// let doubling: Doubling = errgroup::map(2, 0..3, |n| ready(Ok(2 * n)));
/// assert_eq!(doubling.await, Ok(vec![0, 2, 4]));
/// # });
/// ```
#[must_use = "nothing is made of the inputs unless this is polled: `.await` it"]
pub struct Map<I, F, Fut, T, E> {
    driver: MapDriver<I, F, Fut, Collect<T, E>, Values<T, E>>,
}

type Values<T, E> = Result<Vec<T>, E>;

impl<I, F, Fut, T, E> Future for Map<I, F, Fut, T, E> {
    type Output = Values<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.driver.poll(cx)
    }
}

impl<I, F, Fut, T, E> FusedFuture for Map<I, F, Fut, T, E> {
    fn is_terminated(&self) -> bool {
        self.driver.is_terminated()
    }
}

impl<I, F, Fut, T, E> fmt::Debug for Map<I, F, Fut, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.driver.fmt("Map", f)
    }
}
