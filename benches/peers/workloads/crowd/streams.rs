//! Combinators that run children.

use std::future::Future;
use std::num::NonZero;

use future_queue::StreamExt as _;
use futures::future::try_join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use futures_buffered::BufferedTryStreamExt;
use futures_concurrency::concurrent_stream::ConcurrentStream;
use futures_concurrency::stream::StreamExt as _;

use super::Crowd;
use crate::common::block_on::block_on;
use crate::common::children::Outcome;

pub(super) fn add<S, I>(crowd: &mut Crowd<S>, limit: Option<usize>)
where
    S: Fn() -> I + Clone + 'static,
    I: Iterator + Send + 'static,
    I::Item: Future<Output = Outcome> + Send + 'static,
{
    let unlimited = limit.unwrap_or(usize::MAX);
    crowd.add("futures `try_for_each_concurrent`", move |children| {
        let children = stream::iter(children.map(Ok));
        block_on(children.try_for_each_concurrent(limit, |child| child))
    });
    crowd.add("futures `buffer_unordered`, `try_collect`", move |children| {
        block_on(stream::iter(children).buffer_unordered(unlimited).try_collect())
    });
    crowd.add("futures-concurrency `co().limit()`", move |children| {
        let children = stream::iter(children).co().limit(limit.and_then(NonZero::new));
        block_on(children.try_for_each(async |child| child.await))
    });
    // The first of these allocates for its whole limit beforehand; the second needs a limit.
    if let Some(limit) = limit {
        crowd.add("futures-buffered `try_buffered_unordered`", move |children| {
            let children = stream::iter(children.map(Ok));
            block_on(children.try_buffered_unordered(limit).try_collect())
        });
        crowd.add("future-queue `future_queue`, `try_collect`", move |children| {
            let children = children.map(|child| (1, |_| child));
            block_on(stream::iter(children).future_queue(limit).try_collect())
        });
        crowd.add("futures `try_join_all`, async-lock permits", move |children| {
            let room = async_lock::Semaphore::new(limit);
            let children = children.map(async |child| {
                let _permit = room.acquire().await;
                child.await
            });
            block_on(try_join_all(children)).map(drop)
        });
    }
}
