//! `for_each` and `for_each_stream`: a future for each input, without results.

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
use crate::policy::FirstErr;

/// Runs a future for each input, at most `limit` at a time. `usize::MAX` is no limit.
///
/// It is [`map`](crate::map()), except that the values, of any type, are dropped as they come.
///
/// # Errors
///
/// Returns the error of the first future to finish with one. The other futures are dropped before
/// it is returned, as with [`map`](crate::map()).
///
/// # Panics
///
/// Panics if `limit` is 0, during the call.
///
/// If a future, `f`, the inputs or a destructor panics, the futures that run are dropped. Then the
/// panic resumes out of the poll, as with [`map`](crate::map()).
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
///
/// # futures::executor::block_on(async {
/// let sum = Cell::new(0);
/// let added = errgroup::for_each(4, 1..=10, async |n| {
///     if n > 9 {
///         return Err("that is too much");
///     }
///     sum.set(sum.get() + n);
///     Ok(sum.get())
/// });
/// assert_eq!(added.await, Err("that is too much"));
/// assert_eq!(sum.get(), 45);
/// # });
/// ```
#[doc(alias = "for_each_concurrent")]
#[track_caller]
pub fn for_each<I, F, Fut, T, E>(limit: usize, inputs: I, f: F) -> ForEach<I::IntoIter, F, Fut, E>
where
    I: IntoIterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let inputs = Iterated(inputs.into_iter());
    ForEach { produced: mapped(limit, inputs, f, FirstErr::new()) }
}

/// Runs a future for each input that a stream gives, at most `limit` at a time. `usize::MAX` is no
/// limit.
///
/// It is [`map_stream`](crate::map_stream), except that the values, of any type, are dropped as
/// they come. So the stream need not end, and it may bring any number of inputs.
///
/// Unlike `try_for_each_concurrent` of `futures` it polls a future only if that was woken, and the
/// stream only if there is room and it was woken.
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
/// # Examples
///
/// ```
/// use futures::stream;
///
/// # async fn answer(request: u32) -> Result<(), u32> { if request < 7 { Ok(()) } else { Err(7) } }
/// # futures::executor::block_on(async {
/// let requests = stream::iter(0..);
/// let served = errgroup::for_each_stream(4, requests, |request| answer(request));
/// assert_eq!(served.await, Err(7));
/// # });
/// ```
#[doc(alias = "for_each_concurrent")]
#[track_caller]
pub fn for_each_stream<S, F, Fut, T, E>(
    limit: usize,
    stream: S,
    f: F,
) -> ForEachStream<S, F, Fut, E>
where
    S: Stream,
    F: FnMut(S::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let inputs = Streamed::new(stream);
    ForEachStream { produced: mapped(limit, inputs, f, FirstErr::new()) }
}

pin_project! {
    /// Future for [`for_each`]: resolves when all futures are done, or at the first error.
    ///
    /// `I` is the iterator of the inputs, `F` the function, and `Fut` the future that it makes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::{Ready, ready};
    ///
    /// use errgroup::future::ForEach;
    ///
    /// type Made = Ready<Result<(), String>>;
    /// type Checking = ForEach<std::ops::Range<u32>, fn(u32) -> Made, Made, String>;
    ///
    /// # futures::executor::block_on(async {
    /// let checking: Checking = errgroup::for_each(2, 0..3, |_| ready(Ok(())));
    /// assert_eq!(checking.await, Ok(()));
    /// # });
    /// ```
    #[must_use = "nothing is made of the inputs unless this is polled: `.await` it"]
    pub struct ForEach<I, F, Fut, E> {
        #[pin]
        produced: Mapped<Iterated<I>, F, Fut, FirstErr<E>, Result<(), E>>,
    }
}

pin_project! {
    /// Future for [`for_each_stream`]: resolves when the stream has ended and all futures are done,
    /// or at the first error.
    ///
    /// `S` is the stream of the inputs, `F` the function, and `Fut` the future that it makes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::{Ready, ready};
    ///
    /// use errgroup::future::ForEachStream;
    /// use futures::stream;
    ///
    /// type Made = Ready<Result<(), String>>;
    /// type Inputs = stream::Iter<std::ops::Range<u32>>;
    /// type Checking = ForEachStream<Inputs, fn(u32) -> Made, Made, String>;
    ///
    /// # futures::executor::block_on(async {
    /// let checking: Checking =
    ///     errgroup::for_each_stream(2, stream::iter(0..3), |_| ready(Ok(())));
    /// assert_eq!(checking.await, Ok(()));
    /// # });
    /// ```
    #[must_use = "nothing is made of the inputs unless this is polled: `.await` it"]
    pub struct ForEachStream<S, F, Fut, E> {
        #[pin]
        produced: Mapped<Streamed<S>, F, Fut, FirstErr<E>, Result<(), E>>,
    }
}

impl_future!(ForEach<I, F, Fut, E> -> Result<(), E>);
impl_future!(ForEachStream<S, F, Fut, E> -> Result<(), E>);
