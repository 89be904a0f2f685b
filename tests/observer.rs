//! What an observer is told, and in which order.

mod common;

use common::{Gate, Task};
use errgroup::{Event, Group, task};

#[test]
fn events_come_in_the_order_of_what_happened() {
    let (driver, gate) = (Task::new(), Gate::new());
    let mut log = Vec::new();
    let mut group = Group::new().with_limit(2).with_observer(|event: &Event| {
        log.push(event.to_string());
    });
    let child = |n: usize| {
        let gate = gate.clone();
        async move {
            gate.wait(n).await;
            if n == 1 { Err(n) } else { Ok(()) }
        }
    };
    for n in 0..4 {
        group.queue(task(child(n)).name(format!("{n}")));
    }
    assert!(group.try_go(child(9)).is_err());
    assert!(driver.run(&mut group).is_pending());
    gate.open(0);
    assert!(driver.run(&mut group).is_pending());
    group.set_limit(Some(3));
    gate.open(1);
    assert!(driver.run(&mut group).is_pending());
    gate.open(2);
    gate.open(3);
    assert!(driver.run(&mut group).is_ready());
    drop(group);
    assert_eq!(
        log,
        [
            "#0 (0) started",
            "#1 (1) started",
            "(2) queued",
            "(3) queued",
            "rejected: no room",
            "#0 (0) finished: Ok",
            "#2 (2) started",
            "limit: 3",
            "#3 (3) started",
            "#1 (1) finished: Failed",
            "stopped: a child failed",
            "#2 (2) finished: Ok",
            "#3 (3) finished: Ok",
        ]
    );
}

#[test]
fn a_dropped_group_tells_of_all_who_go_with_it() {
    let driver = Task::new();
    let mut log = Vec::new();
    let mut group = Group::new().with_limit(1).with_observer(|event: &Event| {
        log.push(event.to_string());
    });
    group.queue(std::future::pending::<Result<(), ()>>());
    group.queue(task(async { Ok(()) }).name("second"));
    assert!(driver.run(&mut group).is_pending());
    drop(group);
    assert_eq!(
        log,
        [
            "#0 started",
            "(second) queued",
            "stopped: the owner was dropped",
            "#0 finished: Dropped",
            "(second) finished: Dropped",
        ]
    );
}
