use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::map_driver::MapDriver;
use crate::group::Group;
use crate::policy::FirstErr;

/// Runs a future for each input, at most `limit` at a time.
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
#[track_caller]
pub fn for_each<I, F, Fut, T, E>(limit: usize, inputs: I, f: F) -> ForEach<I::IntoIter, F, Fut, E>
where
    I: IntoIterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    ForEach { driver: MapDriver::new(limit, inputs.into_iter(), f, Group::unboxed()) }
}

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
    driver: MapDriver<I, F, Fut, FirstErr<E>, Result<(), E>>,
}

impl<I, F, Fut, E> Future for ForEach<I, F, Fut, E> {
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.driver.poll(cx)
    }
}

impl<I, F, Fut, E> FusedFuture for ForEach<I, F, Fut, E> {
    fn is_terminated(&self) -> bool {
        self.driver.is_terminated()
    }
}

impl<I, F, Fut, E> fmt::Debug for ForEach<I, F, Fut, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.driver.fmt("ForEach", f)
    }
}
