//! A semaphore that groups share.

mod common;

use std::sync::Arc;

use async_lock::Semaphore;
use common::{Gate, Task};
use errgroup::{Group, TryGoError};

#[test]
fn a_child_with_room_and_no_permit_waits_and_the_group_waits_for_the_permit() {
    let (driver, gate) = (Task::new(), Gate::new());
    let cap = Arc::new(Semaphore::new(1));
    let mut group = Group::new().with_semaphore(Arc::clone(&cap));
    let held = cap.try_acquire().unwrap();
    let open = gate.wait(0);
    assert!(matches!(group.try_go(async { Ok::<_, ()>(()) }), Err(TryGoError::AtLimit(_))));
    group.queue(async move {
        open.await;
        Ok(())
    });
    assert_eq!((group.stats().running, group.stats().queued), (0, 1));
    assert!(driver.run(&mut group).is_pending());
    let wakes = driver.wakes();
    drop(held);
    assert_eq!(driver.wakes(), wakes + 1);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().running, group.stats().queued), (1, 0));
    assert!(cap.try_acquire().is_none());
    gate.open(0);
    assert!(driver.run(&mut group).is_ready());
    assert!(cap.try_acquire().is_some());
}

#[test]
fn ten_groups_of_ten_stay_under_a_cap_of_twenty() {
    let cap = Arc::new(Semaphore::new(20));
    let running = std::cell::Cell::new(0);
    let most = std::cell::Cell::new(0);
    let groups = (0..10).map(|_| {
        let mut group = Group::local().with_limit(10).with_semaphore(Arc::clone(&cap));
        for _ in 0..100 {
            let (running, most) = (&running, &most);
            group.queue(async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                common::yield_now().await;
                running.set(running.get() - 1);
                Ok::<_, ()>(())
            });
        }
        group
    });
    Task::new().finish(futures::future::try_join_all(groups)).unwrap();
    assert_eq!(most.get(), 20);
    assert_eq!(cap.available_permits(), 20);
}

#[test]
fn a_group_lets_go_of_the_permit_it_waits_for_when_nobody_needs_it_any_more() {
    let (driver, other) = (Task::new(), Task::new());
    let cap = Arc::new(Semaphore::new(1));
    let mut group = Group::new().with_semaphore(Arc::clone(&cap));
    let handle = group.handle();
    let held = cap.try_acquire().unwrap();
    let mut go = Box::pin(handle.go(async { Ok::<_, ()>(()) }));
    assert!(other.poll(&mut go).is_pending());
    assert!(driver.run(&mut group).is_pending());
    // Somebody who waits behind the group.
    let mut behind = Box::pin(cap.acquire());
    assert!(other.poll(&mut behind).is_pending());
    drop(held); // tells the group
    let wakes = other.wakes();
    drop(go);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(other.wakes(), wakes + 1);
    assert!(other.poll(&mut behind).is_ready());
}
