//! What a child costs in memory while it waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use errgroup::Group;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use futures_buffered::FuturesUnorderedBounded;
use futures_concurrency::future::FutureGroup;
use tokio::task::JoinSet;

use crate::common::children::Outcome;
use crate::common::runtime::ONE_THREAD;
use crate::common::workload::{Workload, measured};

const COUNT: usize = 1_000_000;

/// The bytes of the child itself.
pub(crate) const CHILD: usize = size_of::<Parked>();

/// A child that keeps its waker, as one that waits for a socket does, and is never woken.
struct Parked {
    waker: Option<Waker>,
    _state: [u64; 6],
}

static WAITING: AtomicUsize = AtomicUsize::new(0);

impl Parked {
    fn new() -> Self {
        Self { waker: None, _state: [0; 6] }
    }
}

impl Future for Parked {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if self.waker.replace(cx.waker().clone()).is_none() {
            WAITING.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Pending
    }
}

pub(crate) fn workload() -> Workload {
    let title = "1,000,000 children that wait: bytes a child, beyond the child itself";
    let mut workload = Workload::new("parked/bytes", title, COUNT, "errgroup unboxed");
    park(
        &mut workload,
        "errgroup unboxed",
        |children| {
            let mut group = Group::unboxed();
            children.for_each(|child| group.queue(child));
            Box::pin(group)
        },
        |group, cx| group.as_mut().poll(cx).is_pending(),
    );
    park(
        &mut workload,
        "errgroup boxed",
        |children| {
            let mut group = Group::new();
            children.for_each(|child| group.queue(child));
            Box::pin(group)
        },
        |group, cx| group.as_mut().poll(cx).is_pending(),
    );
    park(
        &mut workload,
        "futures `FuturesUnordered`",
        |children| children.collect::<FuturesUnordered<_>>(),
        |set, cx| set.poll_next_unpin(cx).is_pending(),
    );
    park(
        &mut workload,
        "futures-buffered `FuturesUnorderedBounded`",
        |children| {
            let mut set = FuturesUnorderedBounded::new(COUNT);
            children.for_each(|child| set.push(child));
            set
        },
        |set, cx| set.poll_next_unpin(cx).is_pending(),
    );
    park(
        &mut workload,
        "futures-buffered `FuturesUnordered`",
        |children| children.collect::<futures_buffered::FuturesUnordered<_>>(),
        |set, cx| set.poll_next_unpin(cx).is_pending(),
    );
    park(
        &mut workload,
        "futures-concurrency `FutureGroup`",
        |children| children.collect::<FutureGroup<_>>(),
        |group, cx| group.poll_next_unpin(cx).is_pending(),
    );
    workload.add_parts("tokio `JoinSet`", |meter| {
        drop(measured(meter, || {
            WAITING.store(0, Ordering::Relaxed);
            let mut set = JoinSet::new();
            for _ in 0..COUNT {
                set.spawn_on(Parked::new(), ONE_THREAD.handle());
            }
            ONE_THREAD.block_on(async {
                while WAITING.load(Ordering::Relaxed) < COUNT {
                    tokio::task::yield_now().await;
                }
            });
            set
        }));
        // Their memory is freed when the runtime sees that they were aborted.
        ONE_THREAD.block_on(async {
            while ONE_THREAD.metrics().num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        });
    });
    workload
}

/// Adds a set: `fill` makes it, and `poll` returns `true` if it is pending.
fn park<T>(
    workload: &mut Workload,
    name: &str,
    fill: impl Fn(&mut dyn Iterator<Item = Parked>) -> T + 'static,
    poll: impl Fn(&mut T, &mut Context<'_>) -> bool + 'static,
) {
    workload.add_parts(name, move |meter| {
        let mut cx = Context::from_waker(Waker::noop());
        drop(measured(meter, || {
            WAITING.store(0, Ordering::Relaxed);
            let mut set = fill(&mut (0..COUNT).map(|_| Parked::new()));
            // A set need not poll them all at once.
            while WAITING.load(Ordering::Relaxed) < COUNT {
                assert!(poll(&mut set, &mut cx), "no child is ever done");
            }
            set
        }));
    });
}
