//! What children cost in memory, counted.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use allocation_counter::measure;
use errgroup::Group;
use futures::executor::block_on;
use futures::stream;

/// Yields some times, then is done.
struct Yields(u32);

impl Future for Yields {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.0 == 0 {
            return Poll::Ready(Ok(()));
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn an_unboxed_child_that_follows_another_allocates_nothing() {
    for yields in [0, 1, 4] {
        let mut group = Group::unboxed().with_limit(64);
        block_on(group.feed(stream::iter((0..1_000).map(|_| Yields(yields)))));
        let counted = measure(|| {
            for _ in 0..10_000 {
                assert!(block_on(group.go(Yields(yields))).is_ok());
            }
        });
        assert_eq!(counted.count_total, 0, "with {yields} yields");
        assert_eq!(block_on(group), Ok(()));
    }
}

#[test]
fn a_boxed_child_that_follows_another_allocates_its_box() {
    let mut group = Group::new().with_limit(64);
    block_on(group.feed(stream::iter((0..1_000).map(|_| Yields(1)))));
    let counted = measure(|| {
        for _ in 0..10_000 {
            assert!(block_on(group.go(Yields(1))).is_ok());
        }
    });
    assert_eq!(counted.count_total, 10_000);
    assert_eq!(block_on(group), Ok(()));
}

#[test]
fn memory_does_not_grow_with_the_children_that_have_been() {
    let peak = |count: usize| {
        let counted = measure(|| {
            let mut group = Group::unboxed().with_limit(64);
            block_on(async {
                group.feed(stream::iter((0..count).map(|_| Yields(1)))).await;
                group.await
            })
            .unwrap();
        });
        assert_eq!(counted.bytes_current, 0);
        counted.bytes_max
    };
    // What the thread itself keeps is made by the first.
    block_on(async {});
    let few = peak(1_000);
    assert_eq!(peak(100_000), few);
}
