//! A large child is moved as few times as can be on its way to its slot.

use std::future::poll_fn;
use std::task::Poll;
use std::thread;

use errgroup::{Group, map, task};
use futures::executor::block_on;
use futures::stream;

/// Makes a child of 100 KB.
async fn large() -> Result<usize, &'static str> {
    let bytes = [1_u8; 100_000];
    poll_fn(|_| Poll::Ready(())).await;
    assert!(std::hint::black_box(&bytes).iter().all(|byte| *byte == 1));
    Ok(0)
}

/// Runs `add` on a stack of 2 MiB, as the threads of many runtimes have.
fn fits_the_stack(add: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(2 << 20).spawn(add);
    thread.unwrap().join().unwrap();
}

#[test]
fn a_large_child_is_queued_on_a_small_stack() {
    fits_the_stack(|| {
        let mut group = Group::unboxed();
        group.queue(large());
        block_on(group).unwrap();
    });
    fits_the_stack(|| {
        let mut group = Group::new();
        group.queue(large());
        block_on(group).unwrap();
    });
}

#[test]
fn a_large_child_that_waits_in_the_queue_fits_a_small_stack() {
    fits_the_stack(|| {
        let mut group = Group::unboxed().with_limit(1);
        (0..3).for_each(|_| group.queue(large()));
        block_on(group).unwrap();
    });
}

#[test]
fn a_large_child_is_tried_on_a_small_stack() {
    fits_the_stack(|| {
        let mut group = Group::unboxed();
        assert!(group.try_go(large()).is_ok());
        block_on(group).unwrap();
    });
}

#[test]
fn a_large_child_of_go_fits_a_small_stack() {
    fits_the_stack(|| {
        let mut group = Group::unboxed();
        block_on(Box::pin(async { assert!(group.go(large()).await.is_ok()) }));
        block_on(group).unwrap();
    });
    fits_the_stack(|| {
        let mut group = Group::new();
        block_on(Box::pin(async { assert!(group.go(large()).await.is_ok()) }));
        block_on(group).unwrap();
    });
}

#[test]
fn a_large_joinable_child_fits_a_small_stack() {
    fits_the_stack(|| {
        let mut group = Group::new();
        block_on(Box::pin(async {
            let (child, handle) = task(large()).joinable();
            assert!(group.go(child).await.is_ok());
            assert!(group.await.is_ok());
            assert!(handle.await.is_ok());
        }));
    });
}

#[test]
fn a_large_child_of_feed_or_map_fits_a_small_stack() {
    fits_the_stack(|| {
        let mut group = Group::unboxed();
        let children = stream::iter((0..2).map(|_| large()));
        block_on(Box::pin(async { assert_eq!(group.feed(children).await, 2) }));
        block_on(group).unwrap();
    });
    fits_the_stack(|| assert!(block_on(map(2, 0..3, |_| large())).is_ok()));
}

#[test]
fn a_large_child_of_a_handle_fits_a_small_stack() {
    fits_the_stack(|| {
        let group = Group::new();
        let handle = group.handle();
        block_on(Box::pin(async { assert!(handle.go(large()).await.is_ok()) }));
        block_on(group).unwrap();
    });
    fits_the_stack(|| {
        let group = Group::unboxed();
        group.handle().queue(large());
        block_on(group).unwrap();
    });
}
