//! Tasks of tokio.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Crowd;
use crate::common::children::Outcome;
use crate::common::runtime::{ONE_THREAD, TWO_THREADS};

pub(super) fn add<S, I>(crowd: &mut Crowd<S>, limit: Option<usize>, parallel: bool)
where
    S: Fn() -> I + Clone + 'static,
    I: Iterator + Send + 'static,
    I::Item: Future<Output = Outcome> + Send + 'static,
{
    crowd.add("tokio `JoinSet`", move |children| ONE_THREAD.block_on(join_set(children, limit)));
    if parallel {
        crowd.add("tokio `JoinSet`, 2 threads", move |children| {
            TWO_THREADS.block_on(join_set(children, limit))
        });
    }
    // Without a limit there are no permits.
    let Some(limit) = limit else { return };
    crowd.add("tokio `JoinSet`, owned permits", move |children| {
        ONE_THREAD.block_on(join_set_with_permits(children, limit))
    });
    if parallel {
        crowd.add("tokio `JoinSet`, owned permits, 2 threads", move |children| {
            TWO_THREADS.block_on(join_set_with_permits(children, limit))
        });
    }
    crowd.add("tokio-util `TaskTracker`, owned permits", move |children| {
        ONE_THREAD.block_on(tracker_with_permits(children, limit))
    });
}

pub(crate) async fn join_set<F>(children: impl Iterator<Item = F>, limit: Option<usize>) -> Outcome
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut set: JoinSet<Outcome> = JoinSet::new();
    for child in children {
        if Some(set.len()) == limit {
            let outcome = set.join_next().await.expect("it is full").expect("no child panics");
            if outcome.is_err() {
                set.shutdown().await;
                return outcome;
            }
        }
        set.spawn(child);
    }
    join_all(set).await
}

pub(crate) async fn join_set_with_permits<F>(
    children: impl Iterator<Item = F>,
    limit: usize,
) -> Outcome
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut set: JoinSet<Outcome> = JoinSet::new();
    let room = Arc::new(Semaphore::new(limit));
    for child in children {
        let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
        set.spawn(async move {
            let outcome = child.await;
            drop(permit);
            outcome
        });
        // Otherwise the tasks that have ended would pile up, and errors be seen late.
        while let Some(outcome) = set.try_join_next() {
            let outcome = outcome.expect("no child panics");
            if outcome.is_err() {
                set.shutdown().await;
                return outcome;
            }
        }
    }
    join_all(set).await
}

/// Joins the tasks up to the first error. As with the other contenders, no child is left then.
async fn join_all(mut set: JoinSet<Outcome>) -> Outcome {
    while let Some(outcome) = set.join_next().await {
        let outcome = outcome.expect("no child panics");
        if outcome.is_err() {
            set.shutdown().await;
            return outcome;
        }
    }
    Ok(())
}

pub(crate) async fn tracker_with_permits<F>(
    children: impl Iterator<Item = F>,
    limit: usize,
) -> Outcome
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let tracker = TaskTracker::new();
    let room = Arc::new(Semaphore::new(limit));
    let token = CancellationToken::new();
    let first = Arc::new(OnceLock::new());
    for child in children {
        let permit = Arc::clone(&room).acquire_owned().await.expect("it is never closed");
        if token.is_cancelled() {
            break;
        }
        let (token, first) = (token.clone(), Arc::clone(&first));
        tracker.spawn(async move {
            if let Err(failure) = child.await {
                let _ = first.set(failure);
                token.cancel();
            }
            drop(permit);
        });
    }
    tracker.close();
    tracker.wait().await;
    first.get().map_or(Ok(()), |&failure| Err(failure))
}
