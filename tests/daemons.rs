//! Daemons: children that do not hold their group open.

mod common;

use std::task::Poll;

use common::{Gate, Job, Log, Probe, Task, job, thrown, waits};
use errgroup::{Boxed, CancelToken, Group, Handle, Reason, TryGoError, task};
use futures::stream;

type Kids = Boxed<'static, usize, &'static str>;

/// A daemon that notes that it has begun, and why it was told to end; gives `result` then.
fn listens(
    token: &CancelToken,
    log: &Log,
    result: Result<usize, &'static str>,
) -> errgroup::Task<Job> {
    let (token, log) = (token.clone(), log.clone());
    task(job(async move {
        log.add("on");
        let reason = token.cancelled().await;
        log.add(format!("{reason:?}"));
        result
    }))
    .daemon()
}

struct Scene {
    driver: Task,
    gate: Gate,
    log: Log,
    token: CancelToken,
    group: Group<Kids>,
    handle: Handle<Kids>,
}

impl Scene {
    fn new(group: Group<Kids>) -> Self {
        let (token, handle) = (group.token().clone(), group.handle());
        Self { driver: Task::new(), gate: Gate::new(), log: Log::new(), token, group, handle }
    }

    fn daemon(&self) -> errgroup::Task<Job> {
        listens(&self.token, &self.log, Ok(0))
    }

    fn run(&mut self) -> Poll<Result<(), &'static str>> {
        self.driver.run(&mut self.group)
    }
}

#[test]
fn a_daemon_alone_is_polled_and_told_to_end_by_the_first_poll_of_its_group() {
    let mut scene = Scene::new(Group::new());
    scene.group.queue(scene.daemon());
    scene.group.queue(scene.daemon());
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!(scene.log.take(), ["on", "on", "Finished", "Finished"]);
    assert_eq!(scene.token.reason(), Some(Reason::Finished));
    assert_eq!((scene.group.stats().ok, scene.group.stats().dropped), (2, 0));
}

#[test]
fn several_daemons_end_with_the_last_of_the_others() {
    let mut scene = Scene::new(Group::new());
    scene.group.queue(waits(&scene.gate, 0));
    scene.group.queue(scene.daemon());
    scene.group.queue(waits(&scene.gate, 1));
    scene.group.queue(scene.daemon());
    for n in 0..2 {
        assert!(scene.run().is_pending());
        assert_eq!(scene.log.take().len(), if n == 0 { 2 } else { 0 });
        scene.gate.open(n);
    }
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!(scene.log.take(), ["Finished", "Finished"]);
}

#[test]
fn a_go_or_a_feed_that_drives_the_group_ends_no_daemon() {
    let mut scene = Scene::new(Group::new().with_limit(2));
    scene.group.queue(scene.daemon());
    scene.group.queue(waits(&scene.gate, 0));
    {
        let mut go = scene.group.go(waits(&scene.gate, 1));
        assert!(scene.driver.run(&mut go).is_pending());
        scene.gate.open(0);
        assert!(scene.driver.run(&mut go).is_ready());
    }
    {
        let tap = common::Tap::new();
        let mut feed = scene.group.feed(tap.clone());
        scene.gate.open(1);
        // Nobody is left but the daemon, and the stream may bring more.
        assert!(scene.driver.run(&mut feed).is_pending());
        assert_eq!(scene.log.take(), ["on"]);
        tap.put(waits(&scene.gate, 2));
        tap.end();
        assert!(scene.driver.run(&mut feed).is_pending());
        scene.gate.open(2);
        assert!(scene.driver.run(&mut feed).is_ready());
    }
    assert!(!scene.token.is_cancelled());
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!(scene.log.take(), ["Finished"]);
    assert_eq!(scene.group.stats().ok, 4);
}

#[test]
fn a_scope_ends_its_daemons_when_its_body_and_the_others_are_done() {
    let (driver, gate, log) = (Task::new(), Gate::new(), Log::new());
    let group = Group::<Kids>::new();
    let (token, open) = (group.token().clone(), gate.wait(0));
    let daemon = listens(&token, &log, Ok(0));
    let late = waits(&gate, 1);
    let mut scope = Box::pin(group.scope(|handle: Handle<Kids>| async move {
        handle.go(daemon).await.unwrap();
        open.await;
        handle.go(late).await.unwrap();
        7
    }));
    assert!(driver.run(&mut scope).is_pending());
    assert!(driver.run(&mut scope).is_pending());
    assert_eq!(log.take(), ["on"]);
    gate.open(0);
    assert!(driver.run(&mut scope).is_pending());
    assert!(log.take().is_empty());
    gate.open(1);
    assert_eq!(driver.run(&mut scope), Poll::Ready((7, Ok(()))));
    assert_eq!(log.take(), ["Finished"]);
}

#[test]
fn who_waits_at_a_handle_holds_the_group_beside_a_daemon() {
    let mut scene = Scene::new(Group::new().with_limit(2));
    scene.group.queue(scene.daemon());
    scene.group.queue(waits(&scene.gate, 0));
    let (waiter, mut go) = (Task::new(), scene.handle.go(waits(&scene.gate, 1)));
    assert!(waiter.poll(&mut go).is_pending());
    scene.gate.open(0);
    // He is granted room, and has not come.
    assert!(scene.run().is_pending());
    assert_eq!((waiter.wakes(), scene.token.is_cancelled()), (1, false));
    let wakes = scene.driver.wakes();
    drop(go);
    // Nobody is left but the daemon: the group is woken, to end.
    assert_eq!(scene.driver.wakes(), wakes + 1);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!(scene.log.take(), ["on", "Finished"]);
}

#[test]
fn a_queue_that_is_paused_holds_the_group_beside_a_daemon() {
    let mut scene = Scene::new(Group::new());
    scene.group.queue(scene.daemon());
    scene.group.set_limit(Some(0));
    scene.group.queue(waits(&scene.gate, 0));
    assert!(scene.run().is_pending());
    assert!(!scene.token.is_cancelled());
    scene.group.set_limit(Some(2));
    assert!(scene.run().is_pending());
    scene.gate.open(0);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!(scene.group.stats().ok, 2);
}

#[test]
fn a_queued_daemon_is_admitted_and_told_before_the_group_ends() {
    let mut scene = Scene::new(Group::new().with_limit(1));
    scene.group.queue(waits(&scene.gate, 0));
    scene.group.queue(scene.daemon());
    assert!(scene.run().is_pending());
    assert!(scene.log.take().is_empty());
    scene.gate.open(0);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!(scene.log.take(), ["on", "Finished"]);
}

#[test]
fn a_daemon_adds_children_and_the_group_goes_on_as_long_as_it_does() {
    let mut scene = Scene::new(Group::new());
    let (handle, gate) = (scene.handle.clone(), scene.gate.clone());
    let token = scene.token.clone();
    scene.group.queue(
        task(job(async move {
            for n in 0..3 {
                gate.wait(n).await;
                handle.queue(waits(&gate, n + 11));
            }
            token.cancelled().await;
            // No more work after that.
            assert!(matches!(handle.try_go(waits(&gate, 0)), Err(TryGoError::Stopped(_))));
            Ok(9)
        }))
        .daemon(),
    );
    scene.group.queue(waits(&scene.gate, 10));
    assert!(scene.run().is_pending());
    for n in 0..3 {
        scene.gate.open(n);
        assert!(scene.run().is_pending(), "{n}");
        scene.gate.open(n + 10);
        assert!(scene.run().is_pending(), "{n}");
        assert!(!scene.token.is_cancelled());
    }
    scene.gate.open(13);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!(scene.group.stats().ok, 5);
}

#[test]
fn the_stop_that_ends_a_daemon_cannot_be_too_early_for_what_it_adds_in_the_same_poll() {
    // The last child finishes, and the daemon is woken by it in the same poll.
    let mut scene = Scene::new(Group::new());
    let (handle, gate) = (scene.handle.clone(), scene.gate.clone());
    let (said, hears) = futures::channel::oneshot::channel();
    let token = scene.token.clone();
    scene.group.queue(
        task(job(async move {
            hears.await.unwrap();
            handle.queue(waits(&gate, 1));
            token.cancelled().await;
            Ok(0)
        }))
        .daemon(),
    );
    let open = scene.gate.wait(0);
    scene.group.queue(job(async move {
        open.await;
        said.send(()).unwrap();
        Ok(1)
    }));
    assert!(scene.run().is_pending());
    scene.gate.open(0);
    assert!(scene.run().is_pending());
    assert_eq!((scene.group.stats().running, scene.token.is_cancelled()), (2, false));
    scene.gate.open(1);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
}

#[test]
fn children_beside_a_daemon_never_wait_for_each_other_for_ever() {
    for limit in 2..5 {
        let mut scene = Scene::new(Group::new().with_limit(limit));
        scene.group.queue(scene.daemon());
        for n in 0..limit {
            let (handle, gate) = (scene.handle.clone(), scene.gate.clone());
            scene.group.queue(job(async move {
                handle.go(waits(&gate, 0)).await.unwrap();
                Ok(n)
            }));
        }
        scene.gate.open(0);
        assert_eq!(scene.run(), Poll::Ready(Ok(())), "limit {limit}");
        assert_eq!(scene.group.stats().ok, 2 * limit + 1);
    }
}

#[test]
fn a_daemon_that_waits_in_go_is_not_counted_among_those_who_can_go_on() {
    // Nor is it told to use the queue: it gets its room when a child has finished.
    let mut scene = Scene::new(Group::new().with_limit(2));
    let (handle, gate, log) = (scene.handle.clone(), scene.gate.clone(), scene.log.clone());
    let token = scene.token.clone();
    scene.group.queue(
        task(job(async move {
            handle.go(waits(&gate, 0)).await.unwrap();
            log.add("the daemon's is in");
            token.cancelled().await;
            Ok(0)
        }))
        .daemon(),
    );
    let (handle, gate, log) = (scene.handle.clone(), scene.gate.clone(), scene.log.clone());
    scene.group.queue(job(async move {
        gate.wait(1).await;
        handle.go(waits(&gate, 0)).await.unwrap();
        log.add("the child's is in the queue");
        gate.wait(2).await;
        Ok(1)
    }));
    assert!(scene.run().is_pending());
    assert!(scene.log.take().is_empty());
    scene.gate.open(1);
    assert!(scene.run().is_pending());
    assert_eq!(scene.log.take(), ["the child's is in the queue"]);
    assert_eq!((scene.group.stats().running, scene.group.stats().queued), (2, 1));
    scene.gate.open(2);
    assert!(scene.run().is_pending());
    // The daemon came first.
    assert_eq!(scene.log.take(), ["the daemon's is in"]);
    scene.gate.open(0);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!(scene.group.stats().ok, 4);
}

#[test]
fn a_daemon_under_limit_1_leaves_no_room_until_it_ends_or_somebody_stops_the_group() {
    let mut scene = Scene::new(Group::new().with_limit(1));
    let open = scene.gate.wait(0);
    scene.group.queue(
        task(job(async move {
            open.await;
            Ok(0)
        }))
        .daemon(),
    );
    scene.group.queue(waits(&scene.gate, 1));
    assert!(scene.run().is_pending());
    assert!(!scene.token.is_cancelled());
    scene.gate.open(0);
    assert!(scene.run().is_pending());
    assert_eq!((scene.group.stats().running, scene.group.stats().ok), (1, 1));
    scene.token.cancel();
    scene.gate.open(1);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
}

#[test]
fn a_daemon_that_fails_or_panics_after_the_stop_counts() {
    let mut scene = Scene::new(Group::new());
    scene.group.queue(listens(&scene.token, &scene.log, Err("late")));
    scene.group.queue(waits(&scene.gate, 0));
    scene.gate.open(0);
    assert_eq!(scene.run(), Poll::Ready(Err("late")));
    assert_eq!(scene.token.reason(), Some(Reason::Finished));
    assert_eq!(scene.group.stats().failed, 1);

    let mut scene = Scene::new(Group::new());
    let token = scene.token.clone();
    scene.group.queue(
        task(job(async move {
            token.cancelled().await;
            std::panic::panic_any("late")
        }))
        .daemon(),
    );
    scene.group.queue(scene.daemon());
    assert_eq!(thrown(|| scene.run()), "late");
    assert_eq!(scene.log.take(), ["on", "Finished"]);
    assert_eq!((scene.group.stats().ok, scene.group.stats().dropped), (1, 1));
}

#[test]
fn a_daemon_that_fails_while_others_run_stops_them() {
    let mut scene = Scene::new(Group::new());
    scene.group.queue(task(common::fails(&scene.gate, 0, "early")).daemon());
    scene.group.queue(waits(&scene.gate, 1));
    assert!(scene.run().is_pending());
    scene.gate.open(0);
    assert!(scene.run().is_pending());
    assert_eq!(scene.token.reason(), Some(Reason::Failed));
    scene.gate.open(1);
    assert_eq!(scene.run(), Poll::Ready(Err("early")));
}

#[test]
fn a_daemon_that_ends_by_itself_holds_nothing() {
    let mut scene = Scene::new(Group::new());
    scene.group.queue(task(waits(&scene.gate, 0)).daemon());
    scene.group.queue(waits(&scene.gate, 1));
    assert!(scene.run().is_pending());
    scene.gate.open(0);
    assert!(scene.run().is_pending());
    assert!(!scene.token.is_cancelled());
    scene.gate.open(1);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
}

#[test]
fn a_daemon_that_does_not_listen_is_waited_for_as_long_as_the_grace_is() {
    let gate = Gate::new();
    let over = gate.wait(9);
    let mut scene = Scene::new(Group::new().with_grace(move || over));
    let probe = Probe::new();
    scene.group.queue(task(probe.watch(waits(&scene.gate, 0))).daemon());
    assert!(scene.run().is_pending());
    assert_eq!(scene.token.reason(), Some(Reason::Finished));
    assert_eq!(probe.drops(), 0);
    gate.open(9);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!((probe.drops(), scene.group.stats().dropped), (1, 1));
}

#[test]
fn a_stalled_feed_of_a_handle_does_not_hold_a_group_of_daemons() {
    let mut scene = Scene::new(Group::new());
    scene.group.queue(scene.daemon());
    let mut feed = scene.handle.feed(stream::pending::<Job>());
    let feeder = Task::new();
    assert!(feeder.poll(&mut feed).is_pending());
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
    assert_eq!((feeder.wakes(), feeder.poll(&mut feed)), (1, Poll::Ready(0)));
}

#[test]
fn a_heavy_daemon_of_high_priority_is_all_three() {
    let mut scene = Scene::new(Group::new().with_limit(3));
    scene.group.queue(waits(&scene.gate, 0));
    scene.group.queue(task(waits(&scene.gate, 1)).weight(3));
    scene.group.queue(scene.daemon().weight(2).priority(1));
    assert!(scene.run().is_pending());
    assert_eq!(scene.log.take(), ["on"]);
    assert!(matches!(scene.group.try_go(waits(&scene.gate, 2)), Err(TryGoError::AtLimit(_))));
    scene.gate.open(0);
    assert!(scene.run().is_pending());
    // It leaves too little for the one that waits.
    assert_eq!((scene.group.stats().running, scene.group.stats().queued), (1, 1));
    scene.group.set_limit(Some(5));
    assert!(scene.run().is_pending());
    scene.gate.open(1);
    assert_eq!(scene.run(), Poll::Ready(Ok(())));
}
