//! This crate's groups.

use std::future::Future;

use errgroup::{Child, Children, Group};
use futures::stream;

use super::Crowd;
use crate::common::block_on::block_on;
use crate::common::children::{Failure, Outcome};

pub(super) fn add<S, I>(crowd: &mut Crowd<S>, limit: Option<usize>)
where
    S: Fn() -> I + Clone + 'static,
    I: Iterator + Send + 'static,
    I::Item: Future<Output = Outcome> + Send + 'static,
{
    crowd.add("errgroup unboxed, `go`", move |children| {
        block_on(go(limited(Group::unboxed(), limit), children))
    });
    crowd.add("errgroup unboxed, `feed`", move |children| {
        block_on(feed(limited(Group::unboxed(), limit), children))
    });
    crowd.add("errgroup boxed, `go`", move |children| {
        block_on(go(limited(Group::new(), limit), children))
    });
    crowd.add("errgroup boxed, `feed`", move |children| {
        block_on(feed(limited(Group::new(), limit), children))
    });
    if limit.is_none() {
        crowd.add("errgroup unboxed, `queue`", |children| {
            block_on(queue(Group::unboxed(), children))
        });
        crowd.add("errgroup boxed, `queue`", |children| block_on(queue(Group::new(), children)));
    }
}

pub(crate) fn limited<C: Children, P, O>(
    group: Group<C, P, O>,
    limit: Option<usize>,
) -> Group<C, P, O> {
    match limit {
        Some(limit) => group.with_limit(limit),
        None => group,
    }
}

async fn go<C>(mut group: Group<C>, children: impl Iterator<Item: Child<C>>) -> Outcome
where
    C: Children<Ok = (), Err = Failure>,
{
    for child in children {
        if group.go(child).await.is_err() {
            break;
        }
    }
    group.await
}

pub(crate) async fn feed<C>(mut group: Group<C>, children: impl Iterator<Item: Child<C>>) -> Outcome
where
    C: Children<Ok = (), Err = Failure>,
{
    group.feed(stream::iter(children)).await;
    group.await
}

pub(crate) async fn queue<C>(
    mut group: Group<C>,
    children: impl Iterator<Item: Child<C>>,
) -> Outcome
where
    C: Children<Ok = (), Err = Failure>,
{
    for child in children {
        group.queue(child);
    }
    group.await
}
