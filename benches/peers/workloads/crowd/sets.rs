//! Sets of futures, each in a loop that keeps the limit.

use std::future::{Future, poll_fn};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use futures_bounded::{Delay, FuturesSet};
use futures_buffered::FuturesUnorderedBounded;
use futures_concurrency::future::FutureGroup;

use super::Crowd;
use crate::common::block_on::block_on;
use crate::common::children::Outcome;
use crate::common::runtime::WITH_TIMER;

/// The most children of `FuturesSet`, which goes through all of them for each that is added.
const FEW: usize = 64;

pub(super) fn add<S, I>(crowd: &mut Crowd<S>, limit: usize, count: usize)
where
    S: Fn() -> I + Clone + 'static,
    I: Iterator + Send + 'static,
    I::Item: Future<Output = Outcome> + Send + 'static,
{
    crowd.add("futures `FuturesUnordered`", move |children| {
        block_on(async {
            let mut set = FuturesUnordered::new();
            for child in children {
                if set.len() == limit {
                    set.next().await.expect("it is full")?;
                }
                set.push(child);
            }
            while let Some(outcome) = set.next().await {
                outcome?;
            }
            Ok(())
        })
    });
    crowd.add("futures-buffered `FuturesUnorderedBounded`", move |children| {
        block_on(async {
            let mut set = FuturesUnorderedBounded::new(limit.min(count));
            for child in children {
                if set.len() == limit {
                    set.next().await.expect("it is full")?;
                }
                set.push(child);
            }
            while let Some(outcome) = set.next().await {
                outcome?;
            }
            Ok(())
        })
    });
    crowd.add("futures-buffered `FuturesUnordered`", move |children| {
        block_on(async {
            let mut set = futures_buffered::FuturesUnordered::new();
            for child in children {
                if set.len() == limit {
                    set.next().await.expect("it is full")?;
                }
                set.push(child);
            }
            while let Some(outcome) = set.next().await {
                outcome?;
            }
            Ok(())
        })
    });
    crowd.add("unicycle `FuturesUnordered`", move |children| {
        block_on(async {
            let mut set = unicycle::FuturesUnordered::new();
            for child in children {
                if set.len() == limit {
                    set.next().await.expect("it is full")?;
                }
                set.push(child);
            }
            while let Some(outcome) = set.next().await {
                outcome?;
            }
            Ok(())
        })
    });
    if limit <= FEW {
        crowd.add("futures-bounded `FuturesSet`", move |children| {
            // Each child has a timeout; a timer of tokio costs nothing before it is polled.
            WITH_TIMER.block_on(async {
                let minute = || Delay::tokio(Duration::from_secs(60));
                let mut set = FuturesSet::new(minute, limit);
                for child in children {
                    if set.len() == limit {
                        poll_fn(|cx| set.poll_unpin(cx)).await.expect("in time")?;
                    }
                    assert!(set.try_push(child).is_ok(), "it has room");
                }
                while !set.is_empty() {
                    poll_fn(|cx| set.poll_unpin(cx)).await.expect("in time")?;
                }
                Ok(())
            })
        });
    }
    crowd.add("futures-concurrency `FutureGroup` of boxes", move |children| {
        block_on(async {
            let mut group = FutureGroup::with_capacity(limit.min(count));
            for child in children {
                if group.len() == limit {
                    group.next().await.expect("it is full")?;
                }
                group.insert(Box::pin(child)); // it takes only futures that are `Unpin`
            }
            while let Some(outcome) = group.next().await {
                outcome?;
            }
            Ok(())
        })
    });
}
