//! `value`: a child of a future that has no error.

use core::convert::Infallible;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use crate::util::panic::return_after;

/// Makes a child of a future that has no error: of any future, rather than one of a `Result`.
///
/// The child's value is the future's output, and its error is [`Infallible`]. So the result of a
/// group or a [`map`](crate::map()) of such children can only be `Ok`, and `let Ok(…) = …` takes
/// it apart.
///
/// # Cancel safety
///
/// As of the future itself.
///
/// # Drop
///
/// The future is dropped as soon as it is done.
///
/// # Examples
///
/// ```
/// use errgroup::{map, value};
///
/// # async fn length(url: &str) -> usize { url.len() }
/// # futures::executor::block_on(async {
/// let urls = ["/a", "/long", "/bc"];
/// let Ok(lengths) = map(2, urls, |url| value(length(url))).await;
/// assert_eq!(lengths, [2, 5, 3]);
/// # });
/// ```
///
/// In a group whose other children may fail, map the value instead:
///
/// ```
/// use errgroup::Group;
///
/// # async fn length(url: &str) -> usize { url.len() }
/// # futures::executor::block_on(async {
/// let mut group = Group::new();
/// group.queue(async { Ok(length("/a").await) });
/// group.queue(async { Err("broken") });
/// assert_eq!(group.await, Err("broken"));
/// # });
/// ```
pub fn value<F: Future>(future: F) -> Value<F> {
    Value { future: Some(future) }
}

pin_project! {
    /// Future for [`value`]: `Ok` of what the future `F` returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::future::{Ready, ready};
    ///
    /// use errgroup::future::Value;
    /// use errgroup::{Group, Plain, value};
    ///
    /// # futures::executor::block_on(async {
    /// let child: Value<Ready<u32>> = value(ready(7));
    /// let mut group: Group<Plain<Value<Ready<u32>>>> = Group::unboxed();
    /// group.queue(child);
    /// let result: Result<(), Infallible> = group.await;
    /// let Ok(()) = result;
    /// # });
    /// ```
    #[derive(Clone, Debug)]
    #[must_use = "a future does nothing unless it is polled: pass it to `go` or `queue`"]
    pub struct Value<F> {
        // `None` once it is done.
        #[pin]
        future: Option<F>,
    }
}

impl<F: Future> Future for Value<F> {
    type Output = Result<F::Output, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut future = self.project().future;
        let Some(running) = future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        running.poll(cx).map(|output| Ok(return_after(output, || future.set(None))))
    }
}

impl<F: Future> FusedFuture for Value<F> {
    fn is_terminated(&self) -> bool {
        self.future.is_none()
    }
}
