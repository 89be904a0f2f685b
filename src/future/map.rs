use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::map_driver::MapDriver;
use crate::group::Group;
use crate::policy::Collect;

/// Runs a future for each input, at most `limit` at a time, and gives their values in the order
/// of the inputs.
///
/// The future of an input is made only when there is room for it, so that no more than `limit`
/// exist at a time; the inputs are asked for the next one then, at most 4,096 times a poll.
/// Nothing is made before the first poll. The futures may borrow, are of one type, and are not
/// boxed.
///
/// Dropped, it drops the futures that run, then the inputs.
///
/// # Errors
///
/// The error of the first future to finish with one, in the order of polling. The others are
/// dropped where they stand, before the error comes out, and no more are made: as with
/// `try_join_all`, and other than with a [`Group`], whose children are told by its token and
/// polled to their end. Work that has to clean up wants a group, with
/// [`collect`](Group::collect) and [`feed`](Group::feed).
///
/// # Panics
///
/// Where `limit` is 0, at the call.
///
/// A panic of one of the futures is as an error: nobody can tell the others to come to an end, and
/// one that runs for ever would hide it, so they are dropped where they stand, and then it
/// goes on, with its own payload, out of the poll. So does a panic of `f`, of the inputs, or of a
/// destructor. (With the feature `std`; without it a panic unwinds where it happens.)
///
/// # Cancel safety
///
/// Dropped before it is done, it loses the values that it has.
///
/// # Fairness
///
/// As of a [`Group`]: each woken future once a round, at most 4,096 a poll.
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

/// The future of [`map`](crate::map()): the values of all inputs, or the first error.
///
/// `I` is the iterator of the inputs, `F` the function, `Fut` what it makes.
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
