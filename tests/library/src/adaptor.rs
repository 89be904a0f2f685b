//! An adaptor of streams: the futures of any stream, a few at a time.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use errgroup::stream::Results;
use errgroup::{Group, Plain};
use futures_core::Stream;
use pin_project_lite::pin_project;

/// Gives every stream of futures the method [`concurrently`](Self::concurrently).
pub trait ConcurrentlyExt<T, E>: Stream + Sized
where
    Self::Item: Future<Output = Result<T, E>>,
{
    /// Runs the futures of the stream, so many at a time, and gives their results in order.
    fn concurrently(self, limit: usize) -> Concurrently<Self, T, E> {
        Concurrently { results: Group::unboxed().with_limit(limit).results().in_order().feed(self) }
    }
}

impl<S: Stream, T, E> ConcurrentlyExt<T, E> for S where S::Item: Future<Output = Result<T, E>> {}

pin_project! {
    /// Stream for [`ConcurrentlyExt::concurrently`].
    pub struct Concurrently<S: Stream, T, E> {
        #[pin]
        results: Results<Plain<S::Item>, T, E, S>,
    }
}

impl<S: Stream, T, E> Stream for Concurrently<S, T, E> {
    type Item = Result<T, E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().results.poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.results.size_hint()
    }
}

impl<S: Stream, T, E> fmt::Debug for Concurrently<S, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concurrently").finish_non_exhaustive()
    }
}
