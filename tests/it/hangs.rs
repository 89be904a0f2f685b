//! Programs that hang, and what the snapshot and the watchdog say of them.

use std::future::{Future, pending, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use errgroup::snapshot::{Cause, ChildState, Snapshot};
use errgroup::{Boxed, Group, Handle, task, watchdog};
use futures::channel::oneshot;
use futures::stream::{self, StreamExt};
use futures::{FutureExt, select_biased};

use crate::common::{Gate, Job, MockTask, job, panic_message, waits, yield_now};

type Kind = Boxed<'static, usize, &'static str>;
type Lock = Arc<async_lock::Mutex<()>>;

/// Makes a child that holds the lock until its door is open.
fn holds(lock: &Lock, gate: &Gate, door: usize) -> Job {
    let (lock, gate) = (lock.clone(), gate.wait(door));
    job(async move {
        let _held = lock.lock().await;
        gate.await;
        Ok(door)
    })
}

/// Polls the owner of a group until it hangs.
#[track_caller]
fn assert_hangs<F: Future + Unpin>(task: &MockTask, owner: &mut F) {
    assert!(task.run(owner).is_pending());
    let before = task.wakes();
    assert!(task.poll(owner).is_pending());
    assert_eq!(task.wakes(), before, "a wake-up would let it go on");
}

#[track_caller]
fn assert_starved(handle: &Handle<Kind>) {
    let snapshot = handle.snapshot();
    assert!(handle.is_starved() && snapshot.is_starved);
    assert_eq!(snapshot.causes()[0], Cause::Starved);
    assert_shows(&snapshot, "the task that owns it awaits something else");
    // The child that holds the lock is named.
    assert_shows(&snapshot, "\"holder\": woken, and not polled since");
}

#[track_caller]
fn assert_shows(snapshot: &Snapshot, text: &str) {
    assert!(snapshot.to_string().contains(text), "{text:?} is not in:\n{snapshot}");
}

// === futurelock: the owner waits for what a child holds ===

#[test]
fn a_branch_of_a_select_waits_for_a_lock_that_a_child_holds() {
    let (gate, lock, task_) = (Gate::new(), Lock::default(), MockTask::new());
    let mut group = Group::<Kind>::new().with_name("workers");
    let handle = group.handle();
    group.queue(task(holds(&lock, &gate, 0)).name("holder"));
    let mut timer = gate.wait(1).fuse();
    let of_owner = lock.clone();
    let mut owner = Box::pin(async move {
        select_biased! {
            _ = &mut group => {}
            () = timer => drop(of_owner.lock().await),
        }
        group.await
    });
    assert_hangs(&task_, &mut owner);
    assert!(!handle.is_starved());
    gate.open(1);
    assert_hangs(&task_, &mut owner);
    gate.open(0);
    assert_hangs(&task_, &mut owner);
    assert_starved(&handle);
}

#[test]
fn the_body_of_a_loop_over_results_waits_for_a_lock_that_a_child_holds() {
    let (gate, lock, task_) = (Gate::new(), Lock::default(), MockTask::new());
    let mut results = Group::<Kind>::new().with_name("workers").results();
    let handle = results.handle();
    results.queue(task(holds(&lock, &gate, 0)).name("holder"));
    results.queue(job(async { Ok(7) }));
    let of_owner = lock.clone();
    let mut owner = Box::pin(async move {
        while results.next().await.is_some() {
            drop(of_owner.lock().await);
        }
    });
    assert_hangs(&task_, &mut owner);
    gate.open(0);
    assert_hangs(&task_, &mut owner);
    assert_starved(&handle);
}

#[test]
fn a_future_by_hand_polls_the_group_no_more_once_it_waits_for_the_lock() {
    let (gate, lock, task_) = (Gate::new(), Lock::default(), MockTask::new());
    let mut group = Group::<Kind>::new().with_name("workers");
    let handle = group.handle();
    group.queue(task(holds(&lock, &gate, 0)).name("holder"));
    let mut locking = None;
    let of_owner = lock.clone();
    let mut owner = std::future::poll_fn(move |cx| {
        if locking.is_none() {
            assert!(group.poll_unpin(cx).is_pending());
            let lock = of_owner.clone();
            locking = Some(Box::pin(async move { drop(lock.lock().await) }));
        }
        Pin::new(locking.as_mut().unwrap()).poll(cx)
    });
    assert_hangs(&task_, &mut owner);
    gate.open(0);
    assert_hangs(&task_, &mut owner);
    assert_starved(&handle);
}

#[test]
fn the_owner_waits_for_a_lock_between_two_calls_of_go() {
    let (gate, lock, task_) = (Gate::new(), Lock::default(), MockTask::new());
    let mut group = Group::<Kind>::new().with_name("workers");
    let handle = group.handle();
    let holder = task(holds(&lock, &gate, 0)).name("holder");
    let of_owner = lock.clone();
    let mut owner = Box::pin(async move {
        assert!(group.go(holder).await.is_ok());
        drop(of_owner.lock().await);
        group.await
    });
    assert_hangs(&task_, &mut owner);
    gate.open(0);
    assert_hangs(&task_, &mut owner);
    assert_starved(&handle);
}

#[test]
fn the_body_beside_a_buffer_of_children_waits_for_a_permit_that_one_of_them_has() {
    // As with `buffer_unordered`: all that the body awaits has to come from outside.
    let (gate, lock, task_) = (Gate::new(), Lock::default(), MockTask::new());
    let quick = task(job(async { Ok(1) })).name("quick");
    let children = [quick, task(holds(&lock, &gate, 0)).name("holder")];
    let results = Group::<Kind>::new().with_name("workers").with_limit(2).results();
    let handle = results.handle();
    let of_body = lock.clone();
    let mut owner = Box::pin(results.feed(stream::iter(children)).for_each(move |_| {
        let lock = of_body.clone();
        async move { drop(lock.lock().await) }
    }));
    assert_hangs(&task_, &mut owner);
    gate.open(0);
    assert_hangs(&task_, &mut owner);
    assert_starved(&handle);
}

// === what holds up a group that is polled ===

#[test]
fn a_go_that_was_granted_room_is_polled_no_more() {
    let (gate, task_) = (Gate::new(), MockTask::new());
    let mut group = Group::<Kind>::new().with_name("workers").with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut forgotten = handle.go(task(waits(&gate, 1)).name("forgotten"));
    assert!(task_.poll(&mut forgotten).is_pending());
    group.queue(task(waits(&gate, 2)).name("behind"));
    gate.open(0);
    gate.open(2);
    assert_hangs(&task_, &mut group);

    let snapshot = handle.snapshot();
    assert_eq!(snapshot.children[0].state, ChildState::Granted);
    assert_shows(&snapshot, "\"forgotten\": was granted room, and has not been polled since");
    assert_shows(&snapshot, "! room was granted to 1 waiting call, not polled since");
    assert_shows(&snapshot, "\"behind\": queued first, waits for room");
    drop(forgotten);
    assert!(task_.run(&mut group).is_ready());
}

#[test]
fn a_child_starts_only_after_a_go_that_was_granted_room_before_it() {
    let (gate, task_) = (Gate::new(), MockTask::new());
    let mut group = Group::<Kind>::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut forgotten = handle.go(waits(&gate, 1));
    assert!(task_.poll(&mut forgotten).is_pending());
    group.queue(task(waits(&gate, 2)).name("behind"));
    group.set_limit(Some(3));
    assert_hangs(&task_, &mut group);
    assert_shows(&handle.snapshot(), "1 child waits behind it");
    assert_shows(&group.snapshot(), "\"behind\": has room, and waits for a caller before it");
    assert_eq!(group.snapshot().omitted, 0);
}

#[test]
fn daemons_may_be_of_any_weight() {
    let mut group = Group::<Kind>::new();
    for _ in 0..2 {
        group.queue(task(job(pending())).daemon().weight(usize::MAX));
    }
    group.set_limit(Some(1));
    group.queue(job(async { Ok(1) }));
    assert_hangs(&MockTask::new(), &mut group);
    assert!(group.snapshot().causes().contains(&Cause::Daemons));
}

#[test]
fn a_daemon_takes_the_only_room() {
    let task_ = MockTask::new();
    let mut group = Group::<Kind>::new().with_limit(1);
    let token = group.token().clone();
    let daemon = task(job(async move {
        token.cancelled().await;
        Ok(0)
    }));
    group.queue(daemon.name("reporter").daemon());
    group.queue(task(job(async { Ok(1) })).name("work"));
    assert_hangs(&task_, &mut group);
    let snapshot = group.handle().snapshot();
    assert!(snapshot.causes().contains(&Cause::Daemons), "{snapshot}");
    assert_shows(&snapshot, "daemons take the room");
    assert_shows(&snapshot, "#0, daemon: runs");
    assert_shows(&group.snapshot(), "#0, daemon: waits");
}

#[test]
fn a_child_waits_for_another_one_that_its_own_key_holds_up() {
    let task_ = MockTask::new();
    let mut group = Group::<Kind>::new().with_name("pages").with_key_limit(1);
    let handle = group.handle();
    let (answer, question) = oneshot::channel::<usize>();
    let parent = job(async move { question.await.map_err(|_| "gone") });
    group.queue(task(parent).name("parent").key("a.example"));
    let child = job(async move {
        _ = answer.send(1);
        Ok(1)
    });
    group.queue(task(child).name("child").key("a.example"));
    assert_hangs(&task_, &mut group);
    let snapshot = handle.snapshot();
    assert_shows(&snapshot, "! the key a.example has no room: 1 of 1 is taken; 1 waits");
    assert_shows(&snapshot, "! 1 child waits for something outside of the group");
    assert_shows(&snapshot, "#0 \"parent\", key a.example: waits, polled once");
    assert_shows(&snapshot, "\"child\", key a.example: queued first, waits for its key");
}

#[test]
fn a_gate_stays_shut() {
    let task_ = MockTask::new();
    let mut group = Group::<Kind>::new().with_gate(|_: &errgroup::Ask<'_>| pending::<()>());
    group.queue(task(job(async { Ok(1) })).name("kept out"));
    assert_hangs(&task_, &mut group);
    assert_shows(&group.snapshot(), "! the first of those that wait waits at a gate");
    assert_shows(&group.handle().snapshot(), "\"kept out\": queued first, waits for a gate");
}

#[test]
fn a_slot_that_is_kept_holds_the_room() {
    let task_ = MockTask::new();
    let mut group = Group::<Kind>::new().with_limit(1);
    let handle = group.handle();
    let Poll::Ready(Ok(slot)) = task_.poll(&mut Box::pin(handle.reserve())) else {
        panic!("there is room");
    };
    group.queue(job(async { Ok(1) }));
    assert_hangs(&task_, &mut group);
    assert_shows(&handle.snapshot(), "! 1 slot keeps room");
    assert_shows(&handle.snapshot(), "└ a child: queued first, waits for room");
    drop(slot);
    assert!(task_.run(&mut group).is_ready());
}

#[test]
fn admission_is_paused() {
    let task_ = MockTask::new();
    let mut group = Group::<Kind>::new();
    group.set_limit(Some(0));
    group.queue(job(async { Ok(1) }));
    assert_hangs(&task_, &mut group);
    assert_shows(&group.snapshot(), "! admission is paused");
}

#[test]
fn a_stopped_group_waits_for_a_child_that_does_not_listen() {
    let task_ = MockTask::new();
    let mut group = Group::<Kind>::new().with_name("workers");
    group.queue(task(job(pending())).name("deaf"));
    group.queue(job(async { Err("failed") }));
    assert_hangs(&task_, &mut group);
    let snapshot = group.handle().snapshot();
    assert_shows(&snapshot, "! the group has stopped (a child failed), and 1 child has not ended");
    assert_shows(&snapshot, "#0 \"deaf\": waits");
}

#[test]
fn a_group_that_was_not_polled_since_its_children_started_is_named() {
    let (gate, driver) = (Gate::new(), MockTask::new());
    let mut group = Group::<Kind>::new();
    assert_eq!(group.snapshot().causes(), []);
    (0..2).for_each(|n| group.queue(waits(&gate, n)));
    let causes = group.snapshot().causes();
    assert!(matches!(causes[..], [Cause::Unpolled { children: 2, .. }]), "{causes:?}");
    assert!(driver.run(&mut group).is_pending());
    let causes = group.snapshot().causes();
    assert!(matches!(causes[..], [Cause::Children { waiting: 2, .. }]), "{causes:?}");
    group.token().cancel();
    let causes = group.snapshot().causes();
    let [Cause::Starved, Cause::Draining { running: 2, .. }, Cause::Children { .. }] = causes[..]
    else {
        panic!("{causes:?}");
    };
}

#[test]
fn a_stopped_group_without_children_is_not_said_to_drain() {
    let group = Group::<Kind>::new();
    group.token().cancel();
    let causes = group.snapshot().causes();
    assert!(matches!(causes[..], [Cause::Starved]), "{causes:?}");
}

#[test]
fn results_that_are_not_fetched_are_named_if_they_take_all_room() {
    for (weight, running) in [(2, 0), (1, 1)] {
        let (gate, driver) = (Gate::new(), MockTask::new());
        let mut results = Group::<Kind>::new().with_limit(2).with_name("downloads").results();
        results.queue(task(job(ready(Ok(0)))).weight(0));
        results.queue(task(job(ready(Ok(1)))).weight(weight));
        (0..running).for_each(|n| results.queue(waits(&gate, n)));
        results.queue(waits(&gate, 9));
        // One result is fetched, and another one is not.
        assert!(driver.poll(&mut results.next()).is_ready());
        let causes = results.snapshot().causes();
        if running == 0 {
            assert!(matches!(causes[..], [Cause::Unfetched { results: 1, .. }]), "{causes:?}");
        } else {
            let [Cause::Room { room: 2, .. }, Cause::Children { waiting: 1, .. }] = causes[..]
            else {
                panic!("{causes:?}");
            };
        }
    }
}

// === the watchdog ===

struct Watched {
    group: Group<Kind>,
    gate: Gate,
    task: MockTask,
    reports: Arc<Mutex<Vec<Snapshot>>>,
    dog: Pin<Box<dyn Future<Output = ()> + Send>>,
    intervals: usize,
}

/// The doors of the children come after those of the timers.
const CHILD: usize = 1000;

impl Watched {
    fn new() -> Self {
        let mut group = Group::new();
        let (gate, reports) = (Gate::new(), Arc::new(Mutex::new(Vec::new())));
        let (list, doors) = (reports.clone(), gate.clone());
        let mut next = 0;
        let timer = move || {
            next += 1;
            let (doors, door) = (doors.clone(), next);
            async move { doors.wait(door).await }
        };
        let dog = watchdog(&group.handle(), timer, move |it| list.lock().unwrap().push(it));
        (CHILD..CHILD + 9).for_each(|door| group.queue(waits(&gate, door)));
        let task = MockTask::new();
        assert!(task.poll(&mut group).is_pending());
        let mut this = Self { group, gate, task, reports, dog: Box::pin(dog), intervals: 0 };
        assert!(this.poll_dog().is_pending());
        this
    }

    fn poll_dog(&mut self) -> Poll<()> {
        self.task.run(&mut self.dog)
    }

    /// Ends the interval; returns how many reports there have been.
    fn pass(&mut self) -> usize {
        self.intervals += 1;
        self.gate.open(self.intervals);
        assert!(self.poll_dog().is_pending());
        self.reports.lock().unwrap().len()
    }

    fn wake(&self, child: usize) {
        self.gate.open(CHILD + child);
    }

    fn poll(&mut self) {
        assert!(self.task.poll(&mut self.group).is_pending());
    }
}

#[test]
fn a_group_that_is_woken_and_not_polled_for_an_interval_is_reported() {
    let mut it = Watched::new();
    assert_eq!(it.pass(), 0);
    it.wake(0);
    // Woken within the interval.
    assert_eq!(it.pass(), 0);
    assert_eq!(it.pass(), 1);
    assert!(it.reports.lock().unwrap()[0].is_starved);
    // Again, as long as it lasts.
    assert_eq!(it.pass(), 2);
    it.poll();
    assert_eq!((it.pass(), it.pass()), (2, 2));
}

#[test]
fn a_group_that_is_polled_and_woken_again_is_not_reported() {
    let mut it = Watched::new();
    for child in 0..4 {
        it.wake(child);
        assert_eq!(it.pass(), 0);
        it.poll();
    }
    it.wake(5);
    assert_eq!(it.pass(), 0);
    it.poll();
    it.wake(6);
    assert_eq!(it.pass(), 0);
    // A `go` polls the group as well.
    assert!(it.task.finish(it.group.go(job(pending()))).is_ok());
    it.wake(7);
    assert_eq!(it.pass(), 0);
    assert_eq!(it.pass(), 1);
}

#[test]
fn a_group_that_has_woken_its_own_task_and_is_not_polled_is_reported() {
    let mut it = Watched::new();
    it.group.queue(job(async {
        loop {
            yield_now().await;
        }
    }));
    it.poll();
    assert_eq!((it.pass(), it.pass()), (0, 1));
    it.poll();
    assert_eq!((it.pass(), it.pass()), (1, 2));
}

#[test]
fn a_group_that_never_gets_through_its_children_in_a_poll_is_not_reported() {
    for children in [20, 5000] {
        let mut it = Watched::new();
        for _ in 0..children {
            it.group.queue(job(async {
                loop {
                    yield_now().await;
                }
            }));
        }
        // A poll may be in the middle of a round, and takes no notification then.
        for _ in 0..50 {
            it.poll();
            assert_eq!(it.pass(), 0);
        }
        assert_eq!(it.pass(), 1);
    }
}

#[test]
fn an_open_stream_that_is_empty_is_not_reported() {
    let (gate, task, watcher) = (Gate::new(), MockTask::new(), MockTask::new());
    let mut results = Group::<Kind>::new().results();
    let handle = results.handle();
    let reports = AtomicUsize::new(0);
    let mut next = 0;
    let doors = gate.clone();
    let interval = || {
        next += 1;
        let (doors, door) = (doors.clone(), next);
        async move { doors.wait(door).await }
    };
    let report = |_: Snapshot| _ = reports.fetch_add(1, SeqCst);
    let mut dog = pin!(watchdog(&handle, interval, report));
    // The last hold of an empty stream is dropped. Its reader has left it.
    assert_eq!(task.poll(&mut results.next()), Poll::Ready(None));
    drop(results.hold());
    assert!(!handle.is_starved() && !results.snapshot().is_starved);
    assert!(watcher.run(&mut dog).is_pending());
    gate.open(1);
    assert!(watcher.run(&mut dog).is_pending());
    assert_eq!(reports.load(SeqCst), 0);
    gate.open(2);
    assert!(watcher.run(&mut dog).is_pending());
    // A child has come: it stands still.
    handle.queue(job(async { Ok(1) }));
    assert!(handle.is_starved() && results.snapshot().is_starved);
    assert!(watcher.run(&mut dog).is_pending());
    for (interval, reported) in [(3, 0), (4, 1)] {
        gate.open(interval);
        assert!(watcher.run(&mut dog).is_pending());
        assert_eq!(reports.load(SeqCst), reported);
    }
}

#[test]
fn the_watchdog_ends_with_the_group() {
    let mut it = Watched::new();
    (0..9).for_each(|child| it.wake(child));
    assert!(it.task.run(&mut it.group).is_ready());
    assert!(it.poll_dog().is_ready());
    assert!(it.poll_dog().is_pending());
    assert_eq!(it.reports.lock().unwrap().len(), 0);

    let mut it = Watched::new();
    it.group = Group::new();
    assert!(it.poll_dog().is_ready());
}

#[test]
fn a_stopped_group_without_children_waits_for_none() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::<Kind>::new();
    group.queue(waits(&gate, 0));
    assert!(task.poll(&mut group).is_pending());
    group.token().cancel();
    let drains = |cause: &Cause| matches!(cause, Cause::Draining { running: 1, .. });
    assert!(group.snapshot().causes().iter().any(drains));

    let empty = Group::<Kind>::new();
    empty.token().cancel();
    let drains = |cause: &Cause| matches!(cause, Cause::Draining { .. });
    assert!(!empty.snapshot().causes().iter().any(drains));
}

#[test]
fn a_watchdog_is_not_misled_by_another_one_with_shorter_intervals() {
    for by_go in [false, true] {
        let mut it = Watched::new();
        let (doors, ended) = (it.gate.clone(), Arc::new(AtomicUsize::new(0)));
        let (mut next, count) = (500, ended.clone());
        let timer = move || {
            next += 1;
            let (doors, door) = (doors.clone(), next);
            async move { doors.wait(door).await }
        };
        let mut quick =
            Box::pin(watchdog(&it.group.handle(), timer, move |_| _ = count.fetch_add(1, SeqCst)));
        it.wake(0);
        // The long interval begins while the group starves.
        assert_eq!(it.pass(), 0);
        assert!(it.task.run(&mut quick).is_pending());
        if by_go {
            assert!(it.task.finish(it.group.go(job(pending()))).is_ok());
        } else {
            it.poll();
        }
        it.wake(1);
        for door in [501, 502] {
            it.gate.open(door);
            assert!(it.task.run(&mut quick).is_pending());
        }
        // It was polled in the long interval, and not in the last of the short ones.
        assert_eq!((it.pass(), ended.load(SeqCst)), (0, 1));
        assert_eq!(it.pass(), 1);
    }
}

// === what is no child ===

#[test]
fn the_body_of_a_scope_is_named_if_nothing_else_is_left_or_the_group_has_stopped() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut inside = None;
    let mut scope = Box::pin(Group::<Kind>::new().scope(|handle| {
        inside = Some(handle.clone());
        handle.queue(waits(&gate, 0));
        handle.queue(errgroup::task(job(pending())).daemon());
        let door = gate.wait(1);
        async move {
            door.await;
            drop(handle);
        }
    }));
    let handle = inside.unwrap();
    assert_hangs(&task, &mut scope);
    assert!(!handle.snapshot().causes().contains(&Cause::Body), "a child runs");
    gate.open(0);
    assert_hangs(&task, &mut scope);
    assert!(handle.snapshot().causes().contains(&Cause::Body));
    assert_shows(&handle.snapshot(), "! the body of the scope has not ended");
    handle.token().cancel();
    assert_hangs(&task, &mut scope);
    assert!(handle.snapshot().causes().contains(&Cause::Body));
    gate.open(1);
    assert_hangs(&task, &mut scope);
    assert!(!handle.snapshot().causes().contains(&Cause::Body), "the daemon is left");

    let mut inside = None;
    let dropped = Group::<Kind>::new().scope(|handle| {
        inside = Some(handle);
        pending::<()>()
    });
    assert!(inside.as_ref().unwrap().snapshot().has_body);
    drop(dropped);
    assert!(!inside.unwrap().snapshot().has_body);
}

#[test]
fn a_hold_is_named_beside_daemons() {
    let task = MockTask::new();
    let mut group = Group::<Kind>::new();
    group.queue(errgroup::task(job(pending())).daemon());
    let hold = group.hold();
    assert_hangs(&task, &mut group);
    assert_shows(&group.snapshot(), "1 hold keeps it open");
    drop(hold);
    let _ = task.run(&mut group);
    assert!(group.is_stopped());
}

#[test]
fn daemons_that_take_a_part_of_the_room_are_named_if_nothing_else_takes_any() {
    let mut group = Group::<Kind>::new().with_limit(3);
    (0..2).for_each(|_| group.queue(task(job(pending())).daemon()));
    group.queue(task(job(ready(Ok(1)))).weight(3));
    assert_hangs(&MockTask::new(), &mut group);
    assert_shows(&group.snapshot(), "! daemons take the room, and none of them ends");
}

#[test]
fn a_text_of_several_lines_is_shown_in_one() {
    let mut group = Group::<Kind>::new().with_name("a\n! b").with_key_limit(1);
    for _ in 0..2 {
        group.queue(task(job(pending())).key("c\n! the group is fine\r\n"));
    }
    assert!(MockTask::new().poll(&mut group).is_pending());
    let lines = |group: &Group<Kind>| group.snapshot().to_string().lines().count();
    assert_eq!(lines(&group), 1 + group.snapshot().causes().len() + 2, "{}", group.snapshot());
    assert_shows(&group.snapshot(), r"the key c\n! the group is fine\r\n has no room");
    group.token().cancel_with(errgroup::Reason::cause("d\n! e"));
    assert!(MockTask::new().poll(&mut group).is_pending());
    assert_shows(&group.snapshot(), r"(d\n! e)");
    assert_eq!(lines(&group), 1 + group.snapshot().causes().len() + 1, "{}", group.snapshot());
}

#[test]
fn a_deep_tree_of_named_groups_is_listed_on_some_levels() {
    let root = Group::<Kind>::new().with_name("root");
    let mut groups = vec![root];
    for _ in 0..2_000 {
        let above = groups.last().unwrap().token().clone();
        groups.push(Group::<Kind>::new().with_parent(&above).with_name("below"));
    }
    let snapshot = groups[0].snapshot();
    let below = std::iter::successors(Some(&snapshot), |it| it.groups.first());
    assert_eq!(below.count(), 1 + 64);
    assert_eq!(snapshot.to_string().lines().count(), 1 + 64);
}

#[test]
fn a_group_that_is_watched_is_given_no_name_any_more() {
    let group = Group::<Kind>::new();
    let dog = watchdog(&group.handle(), || ready(()), |_| {});
    let message = panic_message(|| group.with_name("workers"));
    assert!(message.contains("with_name"), "{message}");
    drop(dog);
}

#[test]
fn children_wait_for_the_key_of_a_daemon() {
    let task_ = MockTask::new();
    let mut group = Group::<Kind>::new().with_key_limit(1);
    group.queue(task(job(pending())).key("log").daemon());
    group.queue(task(job(ready(Ok(0)))).key("log"));
    assert_hangs(&task_, &mut group);
    assert_shows(
        &group.snapshot(),
        "! the key log has no room: 1 of 1 is taken; 1 waits, and only daemons have it, which end \
         with the group",
    );

    // Another child of the key ends in time.
    group.set_key_limit(&"log".into(), Some(2));
    group.queue(task(job(pending())).key("log"));
    group.queue(task(job(pending())).key("log"));
    assert!(task_.run(&mut group).is_pending());
    let snapshot = group.snapshot();
    assert_shows(&snapshot, "2 of 2 is taken; 1 waits");
    assert!(!snapshot.to_string().contains("only daemons"), "{snapshot}");
}
