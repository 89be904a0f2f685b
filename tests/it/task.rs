//! Options of children: weight, priority, name, daemon.

use std::cell::RefCell;

use crate::common::{Gate, MockTask, job, waits};
use errgroup::{CancelToken, Group, Reason, TryGoError, task};
use futures::stream;

#[test]
fn weights_fill_the_limit_and_no_light_child_overtakes_a_heavy_one() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(4);
    let child = |n: usize| {
        let gate = gate.clone();
        async move {
            gate.wait(n).await;
            Ok::<usize, &str>(0)
        }
    };
    group.queue(task(child(0)).weight(3));
    group.queue(task(child(1)).weight(2));
    group.queue(child(2));
    assert_eq!((group.stats().running, group.stats().queued), (1, 2));
    assert!(matches!(group.try_go(child(3)), Err(TryGoError::AtLimit(_))));
    assert!(driver.run(&mut group).is_pending());
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().running, group.stats().queued), (2, 0));
    gate.open(1);
    gate.open(2);
    assert!(driver.run(&mut group).is_ready());
}

#[test]
fn a_child_heavier_than_the_limit_runs_alone() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(2);
    for n in 0..3 {
        let gate = gate.clone();
        group.queue(
            task(async move {
                gate.wait(n).await;
                Ok::<usize, &str>(0)
            })
            .weight(if n == 1 { usize::MAX } else { 1 }),
        );
    }
    assert_eq!(group.stats().running, 1);
    for n in 0..3 {
        assert!(driver.run(&mut group).is_pending());
        assert_eq!(group.stats().running, 1, "{n}");
        gate.open(n);
    }
    assert!(driver.run(&mut group).is_ready());
}

#[test]
fn a_higher_priority_goes_first_among_waiters() {
    let driver = MockTask::new();
    let order = RefCell::new(Vec::new());
    let mut group = Group::local().with_limit(1);
    for (n, priority) in [0, -1, 5, 5, 0, 7].into_iter().enumerate() {
        let order = &order;
        group.queue(
            task(async move {
                order.borrow_mut().push(n);
                Ok::<usize, &str>(0)
            })
            .priority(priority),
        );
    }
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(*order.borrow(), [0, 5, 2, 3, 4, 1]);
}

#[test]
fn a_go_of_higher_priority_overtakes_the_queue() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let order = RefCell::new(Vec::new());
    let mut group = Group::local().with_limit(1);
    let child = |n: usize| {
        let (order, gate) = (&order, gate.clone());
        async move {
            gate.wait(n).await;
            order.borrow_mut().push(n);
            Ok::<usize, &str>(0)
        }
    };
    group.queue(child(0));
    group.queue(child(1));
    (0..3).for_each(|n| gate.open(n));
    {
        let mut go = group.go(task(child(2)).priority(1));
        assert!(driver.run(&mut go).is_ready());
    }
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(*order.borrow(), [0, 2, 1]);
}

#[test]
fn a_group_with_only_daemons_left_ends_when_it_is_polled() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new();
    let token = group.token().clone();
    let watched = token.clone();
    group.queue(
        task(async move {
            assert_eq!(token.cancelled().await, Reason::Finished);
            Err::<usize, _>("the daemon's")
        })
        .daemon(),
    );
    let open = gate.wait(0);
    group.queue(async move {
        open.await;
        Ok(0)
    });
    assert!(driver.run(&mut group).is_pending());
    assert!(!watched.is_cancelled());
    gate.open(0);
    assert!(driver.run(&mut group.go(async { Ok(0) })).is_ready());
    assert!(!watched.is_cancelled());
    assert_eq!(driver.run(&mut group), std::task::Poll::Ready(Err("the daemon's")));
}

/// One daemon takes all the room and another waits behind it, which once held the group for ever.
#[test]
fn a_daemon_in_the_queue_does_not_hold_the_group_open() {
    let driver = MockTask::new();
    for limit in [0, 1, 2] {
        let mut group = Group::new();
        group.set_limit(Some(limit));
        for _ in 0..3 {
            let token = group.token().clone();
            let child = async move {
                assert_eq!(token.cancelled().await, Reason::Finished);
                Ok::<usize, &str>(0)
            };
            group.queue(task(child).daemon().priority(limit as i32));
        }
        assert_eq!(driver.run(&mut group), std::task::Poll::Ready(Ok(())));
        assert_eq!((group.stats().ok, group.stats().dropped), (limit, 3 - limit));
    }
}

#[test]
fn a_waiter_among_queued_daemons_holds_the_group_open_until_it_leaves() {
    let (driver, other) = (MockTask::new(), MockTask::new());
    let mut group = Group::new().with_limit(1);
    let handle = group.handle();
    for _ in 0..2 {
        let token = group.token().clone();
        let child = async move {
            token.cancelled().await;
            Ok::<usize, &str>(0)
        };
        group.queue(task(child).daemon());
    }
    let mut go = handle.go(async { Ok(0) });
    assert!(other.poll(&mut go).is_pending());
    assert!(driver.run(&mut group).is_pending());
    assert!(!group.is_stopped());
    let wakes = driver.wakes();
    drop(go);
    assert_eq!(driver.wakes(), wakes + 1);
    assert!(driver.run(&mut group).is_ready());
}

#[test]
fn a_fed_child_that_needs_more_room_waits_in_the_queue() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(3);
    let children = (0..4).map(|n| {
        let gate = gate.clone();
        task(async move {
            gate.wait(n).await;
            Ok::<usize, &str>(0)
        })
        .weight(2)
    });
    {
        let mut feed = group.feed(stream::iter(children));
        assert!(driver.run(&mut feed).is_pending());
        gate.open(0);
        assert!(driver.run(&mut feed).is_pending());
    }
    assert_eq!((group.stats().ok, group.stats().running, group.stats().queued), (1, 1, 1));
    gate.open(1);
    gate.open(2);
    assert!(driver.run(&mut group).is_ready());
}

#[test]
fn a_child_that_is_given_back_keeps_its_options() {
    let driver = MockTask::new();
    let options = r#"Task { name: Some("n"), weight: 3, priority: -2, daemon: true, .. }"#;
    let child = || task(job(async { Ok(0) })).name("n").weight(3).priority(-2).daemon();
    assert_eq!(format!("{:?}", child()), options);

    // Without a handle, which keeps the plain fast path, and with one.
    for shared in [false, true] {
        let mut group = Group::new().with_limit(3);
        let handle = shared.then(|| group.handle());
        group.queue(job(std::future::pending()));
        let Err(TryGoError::AtLimit(refused)) = group.try_go(child()) else { panic!("no room") };
        assert_eq!(format!("{refused:?}"), options);
        {
            let mut go = group.go(refused);
            assert!(driver.run(&mut go).is_pending());
        }
        let waiting = handle.as_ref().map(|handle| {
            let mut go = handle.go(child());
            assert!(driver.poll(&mut go).is_pending());
            go
        });
        group.token().cancel();
        let Err(TryGoError::Stopped(refused)) = group.try_go(child()) else { panic!("stopped") };
        assert_eq!(format!("{refused:?}"), options);
        let refused = driver.finish(group.go(refused)).unwrap_err().into_inner();
        assert_eq!(format!("{refused:?}"), options);
        if let Some(go) = waiting {
            let refused = driver.finish(go).unwrap_err().into_inner();
            assert_eq!(format!("{refused:?}"), options);
            let refused = driver.finish(handle.unwrap().go(refused)).unwrap_err().into_inner();
            assert_eq!(format!("{refused:?}"), options);
        }
        // Another group takes it with its options.
        let mut other = Group::new().with_limit(3);
        other.queue(refused);
        assert!(other.try_go(job(async { Ok(0) })).is_err());
    }
}

#[test]
fn the_last_value_of_an_option_counts_and_the_future_comes_out_again() {
    let child = task(async { 7 }).weight(5).weight(0).priority(1).priority(2).name("a").name("b");
    assert_eq!(
        format!("{child:?}"),
        r#"Task { name: Some("b"), weight: 0, priority: 2, daemon: false, .. }"#
    );
    assert_eq!(MockTask::new().finish(child.into_inner()), 7);
    let child = task(async { 7 }).until_stop();
    assert!(format!("{child:?}").contains("until_stop: true"));
}

#[test]
fn a_group_that_began_with_plain_children_goes_on_with_options() {
    let (driver, gate) = (MockTask::new(), Gate::new());
    let parent = CancelToken::new();
    let mut group = Group::new().with_parent(&parent).with_limit(4).collect();
    for n in 0..6 {
        group.queue(waits(&gate, n));
    }
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    // From here on the group counts the weight of each child.
    group.queue(task(waits(&gate, 6)).weight(2).priority(1));
    group.queue(waits(&gate, 7));
    assert_eq!((group.stats().running, group.stats().queued, group.stats().ok), (4, 3, 1));
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().running, group.stats().queued), (3, 3));
    gate.open(2);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().running, group.stats().queued), (3, 2));
    (3..8).for_each(|n| gate.open(n));
    assert_eq!(driver.run(&mut group), std::task::Poll::Ready(Ok(vec![0, 1, 2, 3, 4, 6, 5, 7])));
}
