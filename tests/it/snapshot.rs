//! What a snapshot tells, of groups with a name and without, from the group, a handle and a stream.

use std::future::{pending, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use errgroup::snapshot::{Cause, ChildSnapshot, ChildState, Phase, Snapshot, WaitsFor};
use errgroup::{Boxed, Event, Group, Key, Reason, Semaphore, Spawned, task, watchdog};
use futures::StreamExt;
use futures::future::BoxFuture;

use crate::common::{Fixture, Gate, Job, MockTask, job, panic_message, waits, yield_now};
use crate::on::Pool;

type Kind = Boxed<'static, usize, &'static str>;

fn states(snapshot: &Snapshot) -> Vec<(Option<usize>, ChildState)> {
    snapshot.children.iter().map(|child| (child.index, child.state)).collect()
}

fn names(snapshot: &Snapshot) -> Vec<Option<&str>> {
    snapshot.children.iter().map(|child| child.name.as_deref()).collect()
}

fn polls(snapshot: &Snapshot) -> Vec<Option<usize>> {
    snapshot.children.iter().map(|child| child.polls).collect()
}

/// Asserts that the children after the first `skip` wait, in the queue or in a `go`, for that.
#[track_caller]
fn assert_waits_for(snapshot: &Snapshot, skip: usize, expected: &[WaitsFor]) {
    let waits_for = |(behind, child): (usize, &ChildSnapshot)| match child.state {
        ChildState::Queued { behind: before, waits_for, .. }
        | ChildState::Offered { behind: before, waits_for, .. } => {
            assert_eq!(before, behind);
            waits_for
        }
        state => panic!("it is {state:?}"),
    };
    let waiting = snapshot.children.iter().skip(skip).enumerate();
    assert_eq!(waiting.map(waits_for).collect::<Vec<_>>(), expected);
}

#[test]
fn a_group_without_a_name_knows_each_child_that_was_woken() {
    for woken in 0..3 {
        let (gate, task) = (Gate::new(), MockTask::new());
        let mut group = Group::<Kind>::new();
        (0..3).for_each(|number| group.queue(waits(&gate, number)));
        // It can't be woken.
        group.queue(job(pending()));
        assert!(task.poll(&mut group).is_pending());
        gate.open(woken);
        let expected = (0..4).map(|at| {
            let state = if at == woken { ChildState::Woken } else { ChildState::Waiting };
            (Some(at), state)
        });
        assert_eq!(states(&group.snapshot()), expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_group_without_a_handle_tells_its_phase() {
    let mut group = Group::<Kind>::new();
    let (gate, driver) = (Gate::new(), MockTask::new());
    group.queue(waits(&gate, 0));
    assert_eq!(group.snapshot().phase, Phase::Open);
    gate.open(0);
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(group.snapshot().phase, Phase::Ended);
    assert_eq!(group.snapshot().causes(), []);
    let mut group = Group::<Kind>::new();
    group.queue(waits(&Gate::new(), 0));
    group.token().cancel();
    assert_eq!(group.snapshot().phase, Phase::Stopped);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(group.snapshot().phase, Phase::Stopped);
}

#[test]
fn a_group_without_a_name_knows_which_children_were_woken() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut group = Group::<Kind>::new().with_limit(3);
    for number in 0..5 {
        group.queue(waits(&gate, number));
    }
    let unpolled = |index| (Some(index), ChildState::Unpolled);
    assert_eq!(states(&group.snapshot())[..3], [unpolled(0), unpolled(1), unpolled(2)]);
    assert_waits_for(&group.snapshot(), 3, &[WaitsFor::Room, WaitsFor::Turn]);

    assert!(task.poll(&mut group).is_pending());
    gate.open(1);
    let snapshot = group.snapshot();
    let running = [
        (Some(0), ChildState::Waiting),
        (Some(1), ChildState::Woken),
        (Some(2), ChildState::Waiting),
    ];
    assert_eq!(states(&snapshot)[..3], running);
    assert!(snapshot.is_starved && !snapshot.is_polled);
    assert_eq!((snapshot.room, snapshot.omitted, &snapshot.name), (3, 0, &None));
    assert_eq!(polls(&snapshot), [None; 5]);

    // The same with a handle, which itself knows less.
    let handle = group.handle();
    assert_eq!(states(&group.snapshot()), states(&snapshot));
    assert_eq!(handle.snapshot().omitted, 3);
    assert_waits_for(&handle.snapshot(), 0, &[WaitsFor::Room, WaitsFor::Turn]);

    assert!(task.poll(&mut group).is_pending());
    assert!(!group.snapshot().is_starved);
    let third = (Some(3), ChildState::Waiting);
    assert_eq!(states(&group.snapshot())[..3], [running[0], running[2], third]);
}

#[test]
fn a_child_that_has_yielded_counts_as_woken() {
    let task = MockTask::new();
    let mut group = Group::<Kind>::new();
    group.queue(job(async {
        yield_now().await;
        pending().await
    }));
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(states(&group.snapshot()), [(Some(0), ChildState::Woken)]);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(states(&group.snapshot()), [(Some(0), ChildState::Waiting)]);
}

#[test]
fn callers_that_have_room_and_slots_are_listed_in_part() {
    for (gos, slots) in [(900, 900), (1500, 0), (0, 1500), (400, 300)] {
        let (task, group) = (MockTask::new(), Group::<Kind>::new());
        let handle = group.handle();
        handle.set_limit(Some(0));
        let mut gos: Vec<_> = (0..gos).map(|_| handle.go(job(pending()))).collect();
        gos.iter_mut().for_each(|go| assert!(task.poll(go).is_pending()));
        handle.set_limit(None);
        let slots: Vec<_> =
            (0..slots).map(|_| task.finish(handle.reserve()).expect("there is room")).collect();
        let (snapshot, all) = (handle.snapshot(), gos.len() + slots.len());
        let listed = all.min(1000);
        assert_eq!((snapshot.children.len(), snapshot.omitted), (listed, all - listed));
    }
}

#[test]
fn large_groups_are_listed_in_part() {
    let task = MockTask::new();
    let mut group = Group::<Kind>::new().with_limit(5000);
    (0..9000).for_each(|_| group.queue(job(pending())));
    assert!(task.run(&mut group).is_pending());
    for snapshot in [group.snapshot(), {
        _ = group.handle();
        group.snapshot()
    }] {
        assert_eq!((snapshot.children.len(), snapshot.omitted), (1000, 8000));
        assert!(states(&snapshot).iter().enumerate().all(|(n, it)| it.0 == Some(n)));
    }
    let snapshot = group.handle().snapshot();
    assert_eq!((snapshot.children.len(), snapshot.omitted), (1000, 8000));
}

#[test]
fn the_handle_of_a_group_with_a_name_knows_all_of_its_children() {
    let (gate, task_) = (Gate::new(), MockTask::new());
    let mut group = Group::<Kind>::new().with_limit(5).with_name("work");
    let handle = group.handle();
    group.queue(task(waits(&gate, 0)).name("a").priority(3));
    group.queue(waits(&gate, 1));
    group.queue(task(waits(&gate, 2)).name("c").weight(2).key("k").daemon());
    group.queue(task(waits(&gate, 3)).name("d").weight(2).priority(-1));
    let snapshot = handle.snapshot();
    assert_eq!(snapshot.name.as_deref(), Some("work"));
    assert_eq!(names(&snapshot), [Some("a"), None, Some("c"), Some("d")]);
    assert_eq!(polls(&snapshot), [Some(0), Some(0), Some(0), None]);
    assert_eq!(snapshot.children[0].priority, 3);
    let (c, d) = (&snapshot.children[2], &snapshot.children[3]);
    assert_eq!((c.weight, &c.key, c.daemon), (2, &Some(Key::from("k")), true));
    assert_eq!((d.weight, d.priority, d.index), (2, -1, None));
    assert_waits_for(&snapshot, 3, &[WaitsFor::Room]);
    assert_eq!(snapshot, group.snapshot());

    assert!(task_.poll(&mut group).is_pending());
    gate.open(1);
    let snapshot = handle.snapshot();
    let state = |at: usize| snapshot.children[at].state;
    assert_eq!([state(0), state(1)], [ChildState::Waiting, ChildState::Woken]);
    assert_eq!(polls(&snapshot), [Some(1), Some(1), Some(1), None]);
    assert_eq!(snapshot, group.snapshot());

    assert!(task_.poll(&mut group).is_pending());
    assert_eq!(names(&handle.snapshot()), [Some("a"), Some("c"), Some("d")]);
    [0, 2, 3].into_iter().for_each(|number| gate.open(number));
    assert!(task_.run(&mut group).is_ready());
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.phase, snapshot.children.len()), (Phase::Ended, 0));
    assert!(!snapshot.is_starved && !snapshot.is_polled && snapshot.causes().is_empty());
}

#[test]
fn a_wake_up_from_anywhere_reaches_a_child_of_a_group_with_a_name() {
    let task = MockTask::new();
    let mut group = Group::<Kind>::new().with_name("work");
    let (mut senders, receivers): (Vec<_>, Vec<_>) =
        (0..200).map(|_| futures::channel::oneshot::channel::<usize>()).unzip();
    for receiver in receivers {
        group.queue(job(async move { receiver.await.map_err(|_| "gone") }));
    }
    let thread = std::thread::spawn(move || {
        while let Some(sender) = senders.pop() {
            sender.send(1).unwrap();
        }
    });
    assert_eq!(futures::executor::block_on(&mut group), Ok(()));
    thread.join().unwrap();
    assert_eq!(group.stats().ok, 200);
    drop(task);
}

#[test]
fn a_snapshot_that_a_child_takes_finds_it_being_polled() {
    let task = MockTask::new();
    let mut group = Group::<Kind>::new().with_name("work");
    let (handle, taken) = (group.handle(), Arc::new(Mutex::new(None)));
    let inside = taken.clone();
    group.queue(job(async move {
        *inside.lock().unwrap() = Some(handle.snapshot());
        Ok(0)
    }));
    assert!(task.poll(&mut group).is_ready());
    let snapshot = taken.lock().unwrap().take().unwrap();
    assert!(snapshot.is_polled && !snapshot.is_starved);
    assert_eq!(states(&snapshot), [(Some(0), ChildState::Polled)]);
    assert!(snapshot.to_string().contains("a child is being polled: #0"), "{snapshot}");
}

#[test]
fn children_on_an_executor_are_told_apart_from_those_that_have_ended() {
    let spawned = Arc::new(Mutex::new(Vec::<BoxFuture<'static, ()>>::new()));
    let list = spawned.clone();
    let mut group = Group::on(move |future| list.lock().unwrap().push(future)).with_name("tasks");
    let (gate, task_) = (Gate::new(), MockTask::new());
    group.queue(task(waits(&gate, 0)).name("a"));
    group.queue(task(waits(&gate, 1)).name("b"));
    assert!(task_.poll(&mut group).is_pending());
    let mut spawned = std::mem::take(&mut *spawned.lock().unwrap());
    for _ in 0..2 {
        spawned.iter_mut().for_each(|future| assert!(task_.poll(future).is_pending()));
    }
    gate.open(1);
    assert!(task_.poll(&mut spawned[1]).is_ready());
    let snapshot = group.snapshot();
    let expected = [(Some(0), ChildState::Spawned), (Some(1), ChildState::Completed)];
    assert_eq!(states(&snapshot), expected);
    assert_eq!(polls(&snapshot), [Some(2), Some(3)]);
    assert_eq!(names(&snapshot), [Some("a"), Some("b")]);
    assert!(snapshot.is_starved);
    assert_eq!(polls(&group.handle().snapshot()), [Some(2), Some(3)]);

    assert!(task_.poll(&mut group).is_pending());
    assert_eq!(states(&group.snapshot()), expected[..1]);
}

#[test]
fn the_polls_of_spawned_children_are_counted_beside_an_observer() {
    for name_first in [true, false] {
        let spawned = Arc::new(Mutex::new(Vec::<BoxFuture<'static, ()>>::new()));
        let list = spawned.clone();
        let group = Group::on(move |future| list.lock().unwrap().push(future));
        let seen = Arc::new(Mutex::new(0));
        struct Count(Arc<Mutex<usize>>);
        impl errgroup::PollObserver for Count {
            fn around_poll(&self, _: usize, _: Option<&str>, poll: &mut dyn FnMut()) {
                *self.0.lock().unwrap() += 1;
                poll();
            }
        }
        struct Around(Arc<Count>);
        impl errgroup::Observer for Around {
            fn on_event(&mut self, _: &Event) {}
            fn around(&mut self) -> Option<Arc<dyn errgroup::PollObserver>> {
                Some(self.0.clone())
            }
        }
        let observer = Around(Arc::new(Count(seen.clone())));
        let mut group = match name_first {
            true => group.with_name("tasks").with_observer(observer),
            false => group.with_observer(observer).with_name("tasks"),
        };
        group.queue(job(pending()));
        let task = MockTask::new();
        assert!(task.poll(&mut group).is_pending());
        assert!(task.poll(&mut spawned.lock().unwrap()[0]).is_pending());
        assert_eq!((polls(&group.snapshot()), *seen.lock().unwrap()), (vec![Some(1)], 1));
    }
}

#[test]
fn a_result_that_is_not_fetched_is_listed() {
    let (gate, task) = (Gate::new(), MockTask::new());
    for (in_order, named) in [(false, false), (false, true), (true, false), (true, true)] {
        let group = Group::<Kind>::new().with_limit(3);
        let group = if named { group.with_name("stream") } else { group };
        let results = group.results();
        let mut results = if in_order { results.in_order() } else { results };
        let handle = results.handle();
        results.queue(job(async { Ok(1) }));
        results.queue(job(async { Ok(2) }));
        results.queue(waits(&gate, 7));
        results.queue(waits(&gate, 8));
        assert!(task.poll(&mut results.next()).is_ready());
        let expected = [
            (Some(1), ChildState::Unfetched),
            (Some(2), ChildState::Waiting),
            (Some(3), ChildState::Unpolled),
        ];
        assert_eq!(states(&results.snapshot()), expected);
        if named {
            assert_eq!(states(&handle.snapshot()), expected);
        }
    }
}

#[test]
fn results_that_keep_all_the_room_are_a_cause() {
    let task = MockTask::new();
    let mut results = Group::<Kind>::new().with_limit(2).results();
    (0..4).for_each(|n| results.queue(job(async move { Ok(n) })));
    assert!(task.poll(&mut results.next()).is_ready());
    assert!(task.poll(&mut results.next()).is_ready());
    assert!(task.poll(&mut results.next()).is_ready());
    // The fourth has finished and was not fetched.
    (4..7).for_each(|n| results.queue(job(async move { Ok(n) })));
    let _handle = results.handle();
    results.set_limit(Some(1));
    let text = results.snapshot().to_string();
    assert!(text.contains("result is not fetched") || text.contains("lacks room"), "{text}");
}

#[test]
fn of_a_stopped_stream_only_children_that_have_not_ended_are_drained() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut results = Group::<Kind>::new().results();
    (0..3).for_each(|n| results.queue(job(async move { Ok(n) })));
    results.queue(waits(&gate, 7));
    assert!(task.poll(&mut results.next()).is_ready());
    results.token().cancel();
    let draining = |causes: Vec<Cause>| {
        causes.into_iter().find_map(|cause| match cause {
            Cause::Draining { running, .. } => Some(running),
            _ => None,
        })
    };
    assert_eq!(draining(results.snapshot().causes()), Some(1));
    gate.open(7);
    (0..2).for_each(|_| assert!(task.poll(&mut results.next()).is_ready()));
    assert!(task.poll(&mut results.next()).is_ready());

    // Now only results are left.
    let mut results = Group::<Kind>::new().results();
    (0..2).for_each(|n| results.queue(job(async move { Ok(n) })));
    assert!(task.poll(&mut results.next()).is_ready());
    let snapshot = results.snapshot();
    assert!(matches!(snapshot.causes()[..], [Cause::Unfetched { results: 1, .. }]), "{snapshot}");
    assert!(snapshot.to_string().contains("1 result is not fetched, and keeps its child's room"));
    results.token().cancel();
    assert_eq!(draining(results.snapshot().causes()), None);
}

#[test]
fn the_phase_and_the_holds_are_told() {
    let task = MockTask::new();
    let mut group = Group::<Kind>::new();
    let handle = group.handle();
    let hold = group.hold();
    assert_eq!((handle.snapshot().phase, handle.snapshot().holds), (Phase::Open, 1));
    assert!(task.poll(&mut group).is_pending());
    assert!(group.snapshot().to_string().contains("1 hold keeps it open"));
    group.queue(job(pending()));
    group.close();
    assert_eq!(handle.snapshot().phase, Phase::Closing);
    group.token().cancel();
    let snapshot = handle.snapshot();
    assert_eq!(
        (snapshot.phase, snapshot.reason.clone()),
        (Phase::Stopped, Some(Reason::Cancelled))
    );
    assert!(snapshot.to_string().contains("1 child has not ended"), "{snapshot}");
    drop((group, hold));
    assert_eq!(handle.snapshot().phase, Phase::Ended);
}

#[test]
fn what_waits_says_for_what() {
    // A key.
    let mut group = Group::<Kind>::new().with_key_limit(1);
    for (name, key) in [("a", "k"), ("b", "k"), ("c", "k"), ("d", "l")] {
        group.queue(task(job(pending())).key(key).name(name));
    }
    let snapshot = group.snapshot();
    assert_waits_for(&snapshot, 2, &[WaitsFor::Key, WaitsFor::Key]);
    assert_eq!(snapshot.keys.len(), 1);
    let key = &snapshot.keys[0];
    assert_eq!((&key.key, key.limit, key.room, key.waiting), (&"k".into(), Some(1), 1, 2));

    // A turn behind another child of the key, which waits for the group.
    for limit in [None, Some(5)] {
        let mut group = Group::<Kind>::new().with_limit(1);
        group.queue(job(pending()));
        (0..3).for_each(|_| group.queue(task(job(pending())).key("k")));
        if let Some(limit) = limit {
            group.set_key_limit(&Key::from("k"), Some(limit));
        }
        assert!(MockTask::new().run(&mut group).is_pending());
        let snapshot = group.snapshot();
        assert_waits_for(&snapshot, 1, &[WaitsFor::Room, WaitsFor::Turn, WaitsFor::Turn]);
        assert_eq!(snapshot.keys, []);
        assert!(matches!(snapshot.causes()[..], [Cause::Room { .. }, _]), "{snapshot}");
    }

    // A permit.
    let semaphore = Arc::new(Semaphore::new(1));
    let mut group = Group::<Kind>::new().with_semaphore(semaphore);
    (0..3).for_each(|_| group.queue(job(pending())));
    assert_waits_for(&group.snapshot(), 1, &[WaitsFor::Permit, WaitsFor::Turn]);

    // A gate.
    let mut group = Group::<Kind>::new().with_gate(|_: &errgroup::Ask<'_>| pending::<()>());
    group.queue(task(job(pending())).name("asked"));
    assert_waits_for(&group.snapshot(), 0, &[WaitsFor::Gate]);
    assert_eq!(names(&group.snapshot()), [Some("asked")]);

    // A `go` of a handle; its child's name is known if the group has a name.
    let mut group = Group::<Kind>::new().with_limit(1).with_name("work");
    group.queue(job(pending()));
    let task_ = MockTask::new();
    let mut go = group.handle().go(task(job(pending())).name("later").priority(2));
    assert!(task_.poll(&mut go).is_pending());
    let snapshot = group.snapshot();
    assert_waits_for(&snapshot, 1, &[WaitsFor::Room]);
    assert_eq!((names(&snapshot)[1], snapshot.children[1].priority), (Some("later"), 2));
}

#[test]
fn a_child_that_has_passed_a_gate_is_listed_with_its_priority() {
    let mut group = Group::<Kind>::new().with_gate(|_: &errgroup::Ask<'_>| async {});
    group.queue(task(job(pending())).priority(2).weight(3));
    assert!(MockTask::new().run(&mut group).is_pending());
    let child = &group.snapshot().children[0];
    assert_eq!((child.priority, child.weight), (2, 3));
}

#[test]
fn a_group_below_appears_if_both_have_a_name() {
    let task = MockTask::new();
    let outer = Group::<Kind>::new().with_name("outer");
    let other = Group::<Kind>::new().with_name("other");
    // In either order of the builders, and through a token and a group without a name between.
    let first = Group::<Kind>::new().with_name("first").with_parent(outer.token());
    let between = Group::<Kind>::new().with_parent(&outer.token().child());
    let second = Group::<Kind>::new().with_parent(between.token()).with_name("second");
    let mut third = Group::<Kind>::new().with_parent(second.token()).with_name("third");
    third.queue(job(pending()));
    assert!(task.poll(&mut third).is_pending());

    let snapshot = outer.snapshot();
    let below = |snapshot: &Snapshot| {
        let names = snapshot.groups.iter().map(|group| group.name.clone().unwrap().to_string());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(below(&snapshot), ["first", "second"]);
    assert_eq!(below(&second.snapshot()), ["third"]);
    assert_eq!(below(&other.snapshot()), [""; 0]);
    let text = outer.handle().snapshot().to_string();
    assert!(text.contains("└ group \"third\": open, 1 running, 0 queued"), "{text}");

    // A group that is built on keeps what is below it.
    let outer = outer.with_semaphore(Arc::new(Semaphore::new(1)));
    assert_eq!(below(&outer.snapshot()), ["first", "second"]);

    // It is still there after a stop, and no longer when it is gone.
    outer.token().cancel();
    assert_eq!(below(&outer.snapshot()), ["first", "second"]);
    drop(first);
    assert_eq!(below(&outer.snapshot()), ["second"]);
    // What was below it comes below the next.
    drop(second);
    assert_eq!(below(&outer.snapshot()), ["third"]);
    drop(third);
    assert_eq!(below(&outer.snapshot()), [""; 0]);
}

#[test]
fn a_group_is_below_the_nearest_one_whenever_that_gets_its_name() {
    let names = |snapshot: Snapshot| -> Vec<_> {
        snapshot.groups.iter().map(|group| group.name.clone().unwrap().to_string()).collect()
    };
    let top = Group::<Kind>::new().with_name("top");
    let (between, other) = [(); 2].map(|()| Group::<Kind>::new().with_parent(top.token())).into();
    let _lower = Group::<Kind>::new().with_parent(between.token()).with_name("lower");
    let _beside = Group::<Kind>::new().with_parent(other.token()).with_name("beside");
    assert_eq!(names(top.snapshot()), ["lower", "beside"]);
    let between = between.with_name("between");
    assert_eq!(names(between.snapshot()), ["lower"]);
    assert_eq!(names(top.snapshot()), ["beside", "between"]);
    // Before the one above it, too.
    let above = Group::<Kind>::new();
    let _below = Group::<Kind>::new().with_parent(above.token()).with_name("below");
    assert_eq!(names(above.with_name("above").snapshot()), ["below"]);
    drop(between);
    assert_eq!(names(top.snapshot()), ["lower", "beside"]);
}

#[test]
fn a_child_that_ends_in_another_way_is_listed_no_more() {
    let (gate, task_) = (Gate::new(), MockTask::new());
    let doors = gate.clone();
    let grace = move || async move { doors.wait(9).await };
    let group = Group::<Boxed<'static, (), &'static str>>::new();
    let mut group = group.with_name("work").with_grace(grace).settle();
    let handle = group.handle();
    let (child, aborted) = task(job(pending())).name("aborted").joinable();
    group.queue(child);
    group.queue(task(pending()).name("until stop").until_stop());
    group.queue(task(pending()).name("deaf"));
    assert!(task_.poll(&mut group).is_pending());
    aborted.abort();
    assert!(task_.poll(&mut group).is_pending());
    assert_eq!(names(&handle.snapshot()), [Some("until stop"), Some("deaf")]);
    group.token().cancel();
    assert!(task_.poll(&mut group).is_pending());
    assert_eq!(names(&handle.snapshot()), [Some("deaf")]);
    gate.open(9);
    assert!(task_.poll(&mut group).is_ready());
    assert_eq!(names(&handle.snapshot()), [None; 0]);
}

#[test]
fn a_panic_comes_out_of_a_group_with_a_name() {
    let task_ = MockTask::new();
    let mut group = Group::<Kind>::new().with_name("work");
    let handle = group.handle();
    group.queue(task(job(async { std::panic::panic_any("boom") })).name("bad"));
    assert_eq!(panic_message(|| task_.poll(&mut group)), "boom");
    assert_eq!(handle.snapshot().phase, Phase::Ended);
}

#[test]
fn a_name_is_given_before_the_first_child() {
    let expected = "call `with_name` before the group's first child or `handle`";
    assert_eq!(
        panic_message(|| {
            let mut group = Group::<Kind>::new();
            group.queue(job(pending()));
            drop(group.with_name("late"));
        }),
        expected
    );
    assert_eq!(
        panic_message(|| {
            let group = Group::<Kind>::new();
            let _handle = group.handle();
            drop(group.with_name("late"));
        }),
        expected
    );
}

#[test]
fn a_child_of_a_group_with_a_name_leaves_nothing_behind() {
    let task = MockTask::new();
    let mut group = Group::<Kind>::new().with_name("work").with_limit(10);
    for n in 0..1000 {
        let child: Job = job(async move {
            yield_now().await;
            Ok(n)
        });
        group.queue(child);
    }
    assert!(task.run(&mut group).is_ready());
    assert_eq!(group.stats().ok, 1000);
    assert_eq!(group.handle().snapshot().children.len(), 0);
}

#[test]
fn a_key_counts_children_of_each_priority_that_wait_for_it() {
    let mut group = Group::<Kind>::new().with_key_limit(1).with_name("keys");
    let gate = Gate::new();
    for (number, priority) in [0, 0, 0, 0, 5, 3].into_iter().enumerate() {
        group.queue(task(waits(&gate, number)).key("a").priority(priority));
    }
    let snapshot = group.snapshot();
    assert_eq!(snapshot.keys.len(), 1);
    assert_eq!((snapshot.keys[0].waiting, snapshot.keys[0].room), (5, 1));
}

#[test]
fn a_caller_that_waits_is_told_from_a_child() {
    let mut f = Fixture::new(1);
    let child = f.child(0);
    f.group.queue(child);
    assert!(f.run().is_pending());
    let mut go = f.handle.go(f.child(1));
    assert!(MockTask::new().poll(&mut go).is_pending());
    let text = f.group.snapshot().to_string();
    assert!(text.contains("a caller: "), "{text}");
    f.gate.open(0);
    assert!(f.run().is_pending());
    let text = f.group.snapshot().to_string();
    assert!(text.contains("a caller: ") && !text.contains("a child: "), "{text}");
}

#[test]
fn a_handle_knows_the_children_of_an_executor_as_spawned() {
    let pool = Pool::new();
    let mut group: Group<Spawned<usize, &str>> = Group::on(pool.spawn()).with_name("tasks");
    let handle = group.handle();
    group.queue(pending());
    assert!(MockTask::new().poll(&mut group).is_pending());
    pool.poll_all();
    assert_eq!(states(&handle.snapshot()), [(Some(0), ChildState::Spawned)]);
}

#[test]
fn a_child_that_has_ended_on_its_executor_is_listed_so_before_the_group_takes_it_in() {
    for has_name in [false, true] {
        let pool = Pool::new();
        let group: Group<Spawned<usize, &str>> = Group::on(pool.spawn());
        let mut group = if has_name { group.with_name("tasks") } else { group };
        let handle = group.handle();
        group.queue(async { Ok(0) });
        group.queue(pending());
        pool.poll_all();
        let expected = [(Some(0), ChildState::Completed), (Some(1), ChildState::Spawned)];
        assert_eq!(states(&handle.snapshot()), expected);
        assert_eq!(states(&group.snapshot()), expected);
    }
}

#[test]
fn a_handle_counts_children_that_have_ended_on_their_executor_as_such_after_they_were_taken_in() {
    for has_name in [false, true] {
        let (pool, task) = (Pool::new(), MockTask::new());
        let group: Group<Spawned<usize, &str>> = Group::on(pool.spawn());
        let mut group = if has_name { group.with_name("tasks") } else { group };
        let (handle, reports) = (group.handle(), Arc::new(Mutex::new(Vec::new())));
        group.queue(async { Ok(0) });
        group.queue(pending());
        assert!(task.poll(&mut group).is_pending());
        let list = Arc::clone(&reports);
        let report = move |snapshot| list.lock().unwrap().push(snapshot);
        let mut dog = pin!(watchdog(&handle, || ready(()), report));
        pool.poll_all();
        (0..4).for_each(|_| assert!(MockTask::new().poll(&mut dog).is_pending()));
        let reports = std::mem::take(&mut *reports.lock().unwrap());
        for snapshot in reports.iter().take(1).chain([&handle.snapshot()]) {
            assert_eq!((snapshot.stats.running, snapshot.stats.ok), (1, 1));
            if has_name {
                let expected = [(Some(0), ChildState::Completed), (Some(1), ChildState::Spawned)];
                assert_eq!((&states(snapshot)[..], snapshot.omitted), (&expected[..], 0));
            } else {
                assert_eq!((snapshot.children.len(), snapshot.omitted), (0, 1));
            }
        }
        assert!(!reports.is_empty(), "the group was woken and is not polled");
    }
}

#[test]
fn children_that_have_ended_on_their_executor_are_not_among_those_left_out() {
    for is_shared in [false, true] {
        let pool = Pool::new();
        let mut group: Group<Spawned<usize, &str>> = Group::on(pool.spawn());
        let handle = is_shared.then(|| group.handle());
        (0..10).for_each(|n| group.queue(ready(Ok(n))));
        (10..1100).for_each(|_| group.queue(pending()));
        assert!(MockTask::new().poll(&mut group).is_pending());
        pool.poll_all();
        let snapshot = group.snapshot();
        assert_eq!((snapshot.stats.running, snapshot.children.len()), (1090, 1000));
        assert_eq!(snapshot.omitted, 100);
        drop(handle);
    }
}

#[test]
fn results_that_are_buffered_and_keep_no_room_are_no_cause_of_its_lack() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut results = Group::<Kind>::new().with_limit(2).results().in_order().buffered(2);
    results.queue(waits(&gate, 0));
    (0..5).for_each(|_| results.queue(job(async { Ok(1) })));
    assert!(task.run(&mut results.next()).is_pending());
    let snapshot = results.snapshot();
    let expected = [(Some(0), ChildState::Waiting), (Some(3), ChildState::Unfetched)];
    assert_eq!(states(&snapshot)[..2], expected);
    assert_eq!((snapshot.stats.running, snapshot.stats.queued), (2, 2));
    assert_eq!(snapshot.children.len(), 4);
    assert!(matches!(snapshot.causes()[0], Cause::Room { weight: 1, room: 2, .. }));
}

#[test]
fn a_snapshot_after_a_stop_counts_those_that_are_queued() {
    for is_shared in [false, true] {
        let mut group = Group::<Boxed<'static, usize, &'static str>>::new().with_limit(1);
        let handle = is_shared.then(|| group.handle());
        (0..3).for_each(|n| group.queue(job(ready(Ok(n)))));
        group.token().cancel();
        let snapshot = group.snapshot();
        assert_eq!((snapshot.stats.running, snapshot.stats.queued), (1, 2), "{is_shared}");
        assert_eq!(snapshot.children.len() + snapshot.omitted, 3, "{is_shared}");
        drop(handle);
    }
}
