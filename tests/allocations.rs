//! The allocations that children cost.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use errgroup::{Boxed, Group, Spawned, task};
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::poll_fn;
use futures::stream::{self, StreamExt};

/// A child that is pending until its flag is set.
struct Parked(Arc<Mutex<(bool, Option<Waker>)>>);

impl Future for Parked {
    type Output = Result<(), ()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(Ok(()));
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// A child that yields the given number of times.
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

/// One allocation is for the children, one for their wakers.
#[test]
fn a_small_group_makes_two_allocations() {
    for children in [1, 3, 8] {
        for yields in [0, 1, 4] {
            let counted = measure(|| {
                let mut group = Group::unboxed();
                (0..children).for_each(|_| group.queue(Yields(yields)));
                let mut cx = Context::from_waker(Waker::noop());
                let polls = (1..).find(|_| Pin::new(&mut group).poll(&mut cx).is_ready());
                assert_eq!(polls, Some(1 + yields));
            });
            assert_eq!(counted.count_total, 2, "{children} children, {yields} yields");
        }
    }
}

/// What few groups need is not in each of them.
#[test]
fn a_group_is_small() {
    fn size<T>(_: T) -> usize {
        size_of::<T>()
    }
    let mut group = Group::unboxed();
    group.queue(Yields(0));
    assert!(size(group) <= 320);
    assert!(size(Group::<Boxed<'_, (), ()>>::new()) <= 320);
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

/// One is the child's box, and one is what it shares with its group, which has room for what the
/// spawner returns.
#[test]
fn a_spawned_child_allocates_twice_whatever_its_spawner_returns() {
    /// A value that is to be dropped.
    struct Returned(#[allow(dead_code)] u64);

    impl Drop for Returned {
        fn drop(&mut self) {}
    }

    /// Runs a child in the call.
    fn run(child: futures::future::BoxFuture<'static, ()>) -> Returned {
        assert_eq!(child.now_or_never(), Some(()));
        Returned(1)
    }

    fn allocations(mut group: Group<Spawned<(), ()>>) -> u64 {
        let mut add = || assert!(block_on(group.go(Yields(0))).is_ok());
        (0..1_000).for_each(|_| add());
        measure(|| (0..10_000).for_each(|_| add())).count_total
    }

    let dropped = allocations(Group::on(|child| drop(run(child))));
    // Some more are those of lists.
    assert!((20_000..20_100).contains(&dropped), "{dropped}");
    assert_eq!(allocations(Group::on(run)), dropped);
}

#[test]
fn a_joinable_child_allocates_what_it_shares_with_its_handle() {
    fn allocations(mut add: impl FnMut()) -> u64 {
        (0..1_000).for_each(|_| add());
        measure(|| (0..10_000).for_each(|_| add())).count_total
    }
    // Beside a group that shares its state as well.
    let mut group = Group::unboxed().with_limit(64);
    let handle = group.handle();
    let plain = allocations(|| assert!(block_on(group.go(Yields(1))).is_ok()));
    drop(handle);
    let mut group = Group::unboxed().with_limit(64);
    let joinable = allocations(|| {
        assert!(block_on(group.go(task(Yields(1)).joinable().0)).is_ok());
    });
    // One more may be that of a list that the joinable children made longer.
    assert!((10_000..10_010).contains(&(joinable - plain)), "{joinable} beside {plain}");
}

#[test]
fn memory_does_not_grow_with_the_number_of_finished_children() {
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
    // The first call allocates what the thread itself keeps.
    block_on(async {});
    let few = peak(1_000);
    assert_eq!(peak(100_000), few);
}

#[test]
fn a_slot_freed_before_an_unpolled_child_is_used_again() {
    let mut group = Group::unboxed();
    let doors: Vec<_> = (0..66).map(|_| Arc::<Mutex<_>>::default()).collect();
    let open = |number: usize| {
        let waker = {
            let mut door: std::sync::MutexGuard<'_, (bool, Option<Waker>)> =
                doors[number].lock().unwrap();
            door.0 = true;
            door.1.take()
        };
        waker.expect("it is parked").wake();
    };
    let poll = |group: &mut Group<_>| {
        block_on(poll_fn(|cx| {
            assert!(Pin::new(&mut *group).poll(cx).is_pending());
            Poll::Ready(())
        }));
    };
    // All the slots of a block are taken; one becomes vacant and gets another child.
    (0..64).for_each(|number| group.queue(Parked(Arc::clone(&doors[number]))));
    poll(&mut group);
    open(60);
    poll(&mut group);
    group.queue(Parked(Arc::clone(&doors[64])));
    // Before that child is polled for the first time, an earlier slot becomes vacant.
    open(5);
    poll(&mut group);
    let counted = measure(|| group.queue(Parked(Arc::clone(&doors[65]))));
    assert_eq!(counted.count_total, 0, "another block was allocated");
}

#[test]
fn results_allocate_nothing_per_child() {
    for (yields, in_order) in [(0, false), (1, false), (4, false), (0, true), (1, true)] {
        let mut results = Group::unboxed().with_limit(64).results();
        if in_order {
            results = results.in_order();
        }
        let mut results = results.feed(stream::iter((0..20_000).map(|_| Yields(yields))));
        block_on(results.by_ref().take(5_000).count());
        let counted =
            measure(|| assert_eq!(block_on(results.by_ref().take(10_000).count()), 10_000));
        assert_eq!(counted.count_total, 0, "with {yields} yields");
        assert_eq!(block_on(results.count()), 5_000);
    }
}
