//! `map` and `map_stream`: the results of a future for each input, in order.

use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use super::inputs::{Iterated, Streamed};
use super::map_source::{Mapped, mapped};
use super::producer::impl_future;
use crate::policy::Collect;

/// Runs a future for each input, at most `limit` at a time, and returns their values in the order
/// of the inputs. `usize::MAX` is no limit.
///
/// The future of an input is made only when there is room for it, so no more than `limit` of them
/// exist at a time. Only then is the next input taken, at most 4,096 of them a poll. No future is
/// made before the first poll. The futures may borrow, are of one type, and are not boxed.
///
/// For inputs that come from a stream there is [`map_stream`]; for futures of plain values, not of
/// a `Result`, [`value`](crate::value).
///
/// # Errors
///
/// Returns the error of the first future to finish with one, in the order of polling. The other
/// futures are dropped before the error is returned, and no more are made, as with `try_join_all`.
///
/// The children of a [`Group`](crate::Group) are told through its token and drained instead. If the
/// work has to clean up, use a group, with [`collect`](crate::Group::collect) and
/// [`feed`](crate::Group::feed).
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
/// As of a [`Group`](crate::Group): one poll polls each woken future once a round, and at most
/// 4,096 in all.
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
#[doc(alias("buffered", "join_all", "parallel"))]
#[track_caller]
pub fn map<I, F, Fut, T, E>(limit: usize, inputs: I, f: F) -> Map<I::IntoIter, F, Fut, T, E>
where
    I: IntoIterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let inputs = Iterated(inputs.into_iter());
    Map { produced: mapped(limit, inputs, f, Collect::new()) }
}

/// Runs a future for each input that a stream gives, at most `limit` at a time, and returns their
/// values in the order of the inputs. `usize::MAX` is no limit.
///
/// It is [`map`](crate::map()) of a stream: the stream is asked for the next input only when there
/// is room for its future, at most 4,096 times a poll. While the stream is pending, the futures run
/// on. It is dropped as soon as it has ended.
///
/// # Errors
///
/// Returns the error of the first future to finish with one. The other futures are dropped before
/// it is returned, and the stream is not asked again.
///
/// # Panics
///
/// Panics if `limit` is 0, during the call.
///
/// If a future, `f`, the stream or a destructor panics, the futures that run are dropped. Then the
/// panic resumes out of the poll, as with [`map`](crate::map()).
///
/// # Cancel safety
///
/// If it is dropped before it is done, the values that it has are lost, and so are the inputs that
/// it has taken. To keep the rest of the stream, pass `&mut stream`.
///
/// # Fairness
///
/// As of [`map`](crate::map()). A stream that wakes itself while it is asked is asked again in the
/// next poll.
///
/// # Drop
///
/// Dropping it drops the futures that run, then the stream.
///
/// # Examples
///
/// ```
/// use futures::channel::mpsc;
///
/// # async fn length(url: String) -> Result<usize, std::io::Error> { Ok(url.len()) }
/// # async fn run() -> Result<(), std::io::Error> {
/// let (send, urls) = mpsc::unbounded();
/// for url in ["/a", "/long", "/bc"] {
///     send.unbounded_send(url.to_string()).unwrap();
/// }
/// drop(send); // so that the stream ends
/// let lengths = errgroup::map_stream(8, urls, |url| length(url)).await?;
/// assert_eq!(lengths, [2, 5, 3]);
/// # Ok(())
/// # }
/// # futures::executor::block_on(run()).unwrap();
/// ```
#[doc(alias = "buffered")]
#[track_caller]
pub fn map_stream<S, F, Fut, T, E>(limit: usize, stream: S, f: F) -> MapStream<S, F, Fut, T, E>
where
    S: Stream,
    F: FnMut(S::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let inputs = Streamed::new(stream);
    MapStream { produced: mapped(limit, inputs, f, Collect::new()) }
}

pin_project! {
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
        #[pin]
        produced: Mapped<Iterated<I>, F, Fut, Collect<T, E>, Values<T, E>>,
    }
}

pin_project! {
    /// Future for [`map_stream`]: gives the values of all inputs, or the first error.
    ///
    /// `S` is the stream of the inputs, `F` the function, and `Fut` the future that it makes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::{Ready, ready};
    ///
    /// use errgroup::future::MapStream;
    /// use futures::stream;
    ///
    /// type Made = Ready<Result<u32, String>>;
    /// type Inputs = stream::Iter<std::ops::Range<u32>>;
    /// type Doubling = MapStream<Inputs, fn(u32) -> Made, Made, u32, String>;
    ///
    /// # futures::executor::block_on(async {
    /// let doubling: Doubling =
    ///     errgroup::map_stream(2, stream::iter(0..3), |n| ready(Ok(2 * n)));
    /// assert_eq!(doubling.await, Ok(vec![0, 2, 4]));
    /// # });
    /// ```
    #[must_use = "nothing is made of the inputs unless this is polled: `.await` it"]
    pub struct MapStream<S, F, Fut, T, E> {
        #[pin]
        produced: Mapped<Streamed<S>, F, Fut, Collect<T, E>, Values<T, E>>,
    }
}

type Values<T, E> = Result<Vec<T>, E>;

impl_future!(Map<I, F, Fut, T, E> -> Values<T, E>);
impl_future!(MapStream<S, F, Fut, T, E> -> Values<T, E>);
