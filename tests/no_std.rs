//! What differs without the feature `std`: cargo test --no-default-features --test no_std
#![cfg(not(feature = "std"))]

use std::panic::{AssertUnwindSafe, catch_unwind};

use errgroup::{Boxed, Group, Handle, Spawned};
use futures::FutureExt;

type Numbers = Handle<Boxed<'static, u32, String>>;

#[test]
fn a_child_that_waits_for_room_held_by_itself_waits_until_the_group_is_dropped() {
    let group = Group::new().with_limit(1).collect();
    let handle: Numbers = group.handle();
    let inner = handle.clone();
    handle.queue(async move {
        inner.go(async { Ok(1) }).await.map_err(|_| "stopped".to_string())?;
        Ok(0)
    });
    let mut group = group;
    for _ in 0..9 {
        assert!((&mut group).now_or_never().is_none());
    }
    assert_eq!(handle.stats().running, 1);

    // More room ends the wait, and so would a stop.
    handle.set_limit(Some(2));
    assert_eq!(group.now_or_never(), Some(Ok(vec![0, 1])));
}

#[test]
fn a_stop_ends_the_wait_of_a_nested_go() {
    let group = Group::new().with_limit(1);
    let handle: Numbers = group.handle();
    let inner = handle.clone();
    handle.queue(async move {
        inner.go(async { Ok(1) }).await.map_err(|_| "stopped".to_string())?;
        Ok(0)
    });
    let mut group = group;
    assert!((&mut group).now_or_never().is_none());
    handle.token().cancel();
    assert_eq!(group.now_or_never(), Some(Err("stopped".to_string())));
}

#[test]
fn a_child_adds_others_by_queue() {
    let group = Group::new().with_limit(1).collect();
    let handle: Numbers = group.handle();
    let inner = handle.clone();
    handle.queue(async move {
        inner.queue(async { Ok(1) });
        Ok(0)
    });
    assert_eq!(group.now_or_never(), Some(Ok(vec![0, 1])));
}

#[test]
fn a_panic_leaves_the_poll_at_once() {
    let mut group = Group::new();
    group.queue(async { panic!("from a child") });
    group.queue(async { Ok::<(), ()>(()) });
    let poll = AssertUnwindSafe(|| (&mut group).now_or_never());
    assert!(catch_unwind(poll).is_err());
    drop(group);
}

#[test]
fn a_spawner_that_panics_loses_its_child() {
    let mut group: Group<Spawned<u32, String>> = Group::on(|_| panic!("no task for you"));
    let queue = AssertUnwindSafe(|| group.queue(async { Ok(0) }));
    assert!(catch_unwind(queue).is_err());
    let poll = AssertUnwindSafe(|| (&mut group).now_or_never());
    assert!(catch_unwind(poll).is_err(), "it does not wait for the child");
}

#[test]
fn a_spawner_that_panics_loses_the_children_that_come_after_it_in_the_same_call() {
    for has_handle in [false, true] {
        let mut group: Group<Spawned<u32, String>> = Group::on(|_| panic!("no task for you"));
        let handle = has_handle.then(|| group.handle());
        group.set_limit(Some(0));
        (0..3).for_each(|n| group.queue(async move { Ok(n) }));
        assert!(catch_unwind(AssertUnwindSafe(|| group.set_limit(None))).is_err());
        for _ in 0..3 {
            let poll = AssertUnwindSafe(|| (&mut group).now_or_never());
            assert!(catch_unwind(poll).is_err(), "each is lost");
        }
        assert_eq!(group.stats().running, 0);
        drop(handle);
    }
}
