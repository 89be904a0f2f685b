//! Gates: what children wait for beside room, and the guards that they keep.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{pending, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use crate::common::{
    DropCounter, Fixture, Gate, Log, MockTask, OnDrop, is_ok, job, logged_child, panic_message,
    waits, yield_now,
};
use errgroup::{Ask, Boxed, CancelToken, ChildHandle, Group, Key, LocalBoxed, TryGoError, task};
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until};

type Kind = Boxed<'static, usize, &'static str>;

fn paused<F: Future>(future: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

/// A gate of which each child waits at the next door, and whose guards log `.n` when they are
/// dropped.
fn doors(
    doors: &Gate,
    log: &Log,
) -> impl FnMut(&Ask<'_>) -> futures::future::BoxFuture<'static, OnDropBox> + Send + 'static {
    let (doors, log, mut next) = (doors.clone(), log.clone(), 0);
    move |ask: &Ask<'_>| {
        let number = next;
        next += 1;
        log.add(format!("?{number} {}", ask.name().unwrap_or("-")));
        let (open, log) = (doors.wait(number), log.clone());
        Box::pin(async move {
            open.await;
            let guard: OnDropBox = Box::new(OnDrop(move || log.add(format!(".{number}"))));
            guard
        })
    }
}

type OnDropBox = Box<dyn Send>;

/// A group with such a gate.
struct Scene {
    it: Fixture,
    doors: Gate,
}

impl Scene {
    fn new(group: Group<Kind>) -> Self {
        let (open, log) = (Gate::new(), Log::new());
        let mut it = Fixture::of(Group::new());
        let group = group.with_gate(doors(&open, &log));
        it.handle = group.handle();
        (it.group, it.log) = (group, log);
        Self { it, doors: open }
    }

    fn queue(&mut self, number: usize) {
        let child = self.it.child(number);
        self.it.group.queue(child);
    }

    /// Polls the group, and returns what has happened.
    fn run(&mut self) -> String {
        let _ = self.it.run();
        self.it.log.take().join(" ")
    }
}

#[test]
fn a_child_starts_when_its_gate_resolves_and_keeps_the_guard_until_it_ends() {
    let mut scene = Scene::new(Group::new());
    scene.queue(0);
    scene.queue(1);
    assert_eq!(scene.it.running(), 0, "the group is to be polled first");
    assert_eq!(scene.run(), "?0 -");
    scene.doors.open(0);
    assert_eq!(scene.run(), "?1 - +0");
    scene.it.gate.open(0);
    assert_eq!(scene.run(), "-0 .0");
    scene.doors.open(1);
    scene.it.gate.open(1);
    assert_eq!(scene.run(), "+1 -1 .1");
    assert_eq!(scene.it.handle.stats().ok, 2);
}

#[test]
fn a_gate_is_asked_only_when_the_first_that_waits_has_room() {
    let mut scene = Scene::new(Group::new().with_limit(1));
    (0..3).for_each(|n| scene.doors.open(n));
    (0..2).for_each(|n| scene.queue(n));
    assert_eq!(scene.run(), "?0 - +0");
    scene.it.gate.open(0);
    assert_eq!(scene.run(), "-0 .0 ?1 - +1");
}

#[test]
fn a_gate_is_told_of_the_child_and_its_guard_goes_to_the_first_when_it_resolves() {
    let mut scene = Scene::new(Group::new().with_limit(1));
    let child = task(scene.it.child(0)).name("first");
    scene.it.group.queue(child);
    assert_eq!(scene.run(), "?0 first");
    let child = task(scene.it.child(1)).name("urgent").priority(1);
    scene.it.group.queue(child);
    scene.doors.open(0);
    assert_eq!(scene.run(), "+1");
    scene.it.gate.open(1);
    assert_eq!(scene.run(), "-1 .0 ?1 first");
}

#[test]
fn a_gate_sees_name_key_and_weight_of_a_go_too() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut group = Group::local().with_gate({
        let seen = Rc::clone(&seen);
        move |ask: &Ask<'_>| {
            let name = ask.name().map(str::to_owned);
            seen.borrow_mut().push((name, ask.key().cloned(), ask.weight()));
            async {}
        }
    });
    let driver = MockTask::new();
    let child = || task(async { Ok::<usize, &str>(0) });
    assert!(is_ok(driver.run(&mut group.go(child().name("a").key(7).weight(3)))));
    assert!(group.try_go(child().name("b").key(8).weight(4)).is_ok());
    group.queue(child().name("c").key(9).weight(5));
    assert_eq!(driver.finish(group.feed(stream::iter([child().name("d")]))), 1);
    assert!(is_ok(driver.run(&mut group)));
    let key = |n: u8| Some(Key::from(n));
    let expected = [
        (Some("a".into()), key(7), 3),
        (Some("b".into()), key(8), 4),
        (Some("c".into()), key(9), 5),
        // A feed asks before it has the child; also for the one that turns out not to come.
        (None, None, 1),
        (None, None, 1),
    ];
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn try_go_polls_the_gate_once_and_keeps_its_future_for_the_next() {
    let mut scene = Scene::new(Group::new());
    let child = scene.it.child(0);
    let Err(TryGoError::AtLimit(child)) = scene.it.group.try_go(child) else {
        panic!("the gate is pending");
    };
    let Err(TryGoError::AtLimit(child)) = scene.it.group.try_go(child) else {
        panic!("it was not woken");
    };
    assert_eq!(scene.it.log.take(), ["?0 -"]);
    scene.doors.open(0);
    assert!(scene.it.group.try_go(child).is_ok());
    assert_eq!(scene.run(), "+0");
    // A handle can't ask.
    scene.doors.open(1);
    assert!(scene.it.handle.try_go(scene.it.child(1)).is_err());
    let child = scene.it.child(1);
    assert!(scene.it.group.try_go(child).is_ok());
    assert_eq!(scene.it.running(), 2);
}

#[test]
fn try_go_polls_a_gate_again_that_has_woken_itself() {
    let asked = Arc::new(AtomicUsize::new(0));
    let polls = Arc::clone(&asked);
    let mut group = Group::<Kind>::new().with_gate(move |_: &Ask<'_>| {
        let polls = Arc::clone(&polls);
        async move {
            polls.fetch_add(1, SeqCst);
            yield_now().await;
        }
    });
    let Err(TryGoError::AtLimit(child)) = group.try_go(job(ready(Ok(0)))) else {
        panic!("the gate has yielded");
    };
    assert!(group.try_go(child).is_ok());
    assert_eq!(asked.load(SeqCst), 1);
}

#[test]
fn try_go_asks_no_gate_of_a_group_that_refuses_the_child() {
    let asked = Arc::new(AtomicUsize::new(0));
    for stop in [true, false] {
        let count = Arc::clone(&asked);
        let mut group = Group::<Kind>::new().with_gate(move |_: &Ask<'_>| {
            count.fetch_add(1, SeqCst);
            ready(())
        });
        if stop {
            group.token().cancel();
        } else {
            group.close();
        }
        assert!(group.try_go(job(ready(Ok(0)))).is_err());
        assert_eq!(asked.load(SeqCst), 0);
    }
}

#[test]
fn several_gates_are_asked_one_after_another() {
    let (first, second, log) = (Gate::new(), Gate::new(), Log::new());
    let mut group = Group::new().with_gate(doors(&first, &log)).with_gate(doors(&second, &log));
    let driver = MockTask::new();
    group.queue(job(async { Ok(0) }));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["?0 -"]);
    first.open(0);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), ["?0 -"], "the second one's");
    second.open(0);
    assert!(is_ok(driver.run(&mut group)));
    assert_eq!(log.take(), [".0", ".0"]);
}

#[test]
fn a_stop_drops_the_future_that_waits_and_guards_without_a_child() {
    let (first, second, log) = (Gate::new(), Gate::new(), Log::new());
    let dropped = Log::new();
    let waits_and_logs = {
        let dropped = dropped.clone();
        move |_: &Ask<'_>| {
            let (second, dropped) = (second.clone(), dropped.clone());
            async move {
                let _guard = OnDrop(move || dropped.add("future"));
                second.wait(0).await;
            }
        }
    };
    first.open(0);
    let mut group = Group::new().with_gate(doors(&first, &log)).with_gate(waits_and_logs);
    let driver = MockTask::new();
    group.queue(job(async { Ok(0) }));
    assert!(driver.run(&mut group).is_pending());
    group.token().cancel();
    assert!(is_ok(driver.run(&mut group)));
    assert_eq!(log.take(), ["?0 -", ".0"]);
    assert_eq!(dropped.take(), ["future"]);
}

#[test]
fn a_stop_drops_what_waits_at_the_gates_though_a_child_runs_on() {
    let (first, second, hold) = (Gate::new(), Gate::new(), Gate::new());
    let (log, dropped) = (Log::new(), Log::new());
    let mut number = 0;
    let waits_and_logs = {
        let (second, dropped) = (second.clone(), dropped.clone());
        move |_: &Ask<'_>| {
            let (second, dropped, at) = (second.clone(), dropped.clone(), number);
            number += 1;
            async move {
                let _guard = OnDrop(move || dropped.add("future"));
                second.wait(at).await;
            }
        }
    };
    second.open(0);
    (0..2).for_each(|n| first.open(n));
    let mut group = Group::new().with_gate(doors(&first, &log)).with_gate(waits_and_logs);
    let driver = MockTask::new();
    (0..2).for_each(|n| group.queue(waits(&hold, n)));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((log.take().join(" "), dropped.take().len()), ("?0 - ?1 -".into(), 1));
    group.token().cancel();
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(log.take(), [".1"], "the guard of the first gate");
    assert_eq!(dropped.take(), ["future"]);
    hold.open(0);
    assert!(is_ok(driver.run(&mut group)));
    assert_eq!(log.take(), [".0"]);
}

/// Adds a child at whose gate `stop` is called, beside one that runs on and a slot. Returns how
/// many guards, in the gate's futures or given, are left when the group's task sleeps.
fn left_after_a_stop_at_a_gate(is_pending: bool, stop: fn(&CancelToken)) -> usize {
    let (driver, dropped, made) = (MockTask::new(), DropCounter::default(), Cell::new(0));
    // Once it is there, the gate stops the group.
    let token: RefCell<Option<CancelToken>> = RefCell::default();
    let (token, made, drops) = (&token, &made, &dropped);
    let mut group = Group::<LocalBoxed<'_, usize, &str>>::local().with_gate(move |_| {
        made.set(made.get() + 1);
        let guard = drops.guard();
        async move {
            let token = token.borrow().clone();
            if let Some(token) = token {
                stop(&token);
                if is_pending {
                    pending::<()>().await;
                }
            }
            guard
        }
    });
    let mut reserve = group.handle().reserve();
    group.queue(pending::<Result<usize, &str>>());
    assert!(driver.poll(&mut reserve).is_pending());
    assert!(driver.run(&mut group).is_pending());
    let Poll::Ready(Ok(_slot)) = driver.poll(&mut reserve) else { panic!("there is room") };
    *token.borrow_mut() = Some(group.token().clone());
    group.queue(pending::<Result<usize, &str>>());
    assert!(driver.run(&mut group).is_pending());
    assert!(group.is_stopped());
    made.get() - dropped.get()
}

#[test]
fn a_stop_by_a_gate_drops_what_waits_at_the_gates_before_the_task_sleeps() {
    // The guard of the child that runs on.
    assert_eq!(left_after_a_stop_at_a_gate(true, |token| _ = token.cancel()), 1);
    assert_eq!(left_after_a_stop_at_a_gate(false, |token| _ = token.cancel()), 1);
    let panics = |_: &CancelToken| std::panic::panic_any("of a gate");
    assert_eq!(left_after_a_stop_at_a_gate(false, panics), 1);
}

#[test]
fn a_queued_child_that_a_gate_aborts_is_dropped_before_the_task_sleeps() {
    let (driver, drops) = (MockTask::new(), DropCounter::default());
    let victim: Rc<RefCell<Option<ChildHandle<usize>>>> = Rc::default();
    let handle = Rc::clone(&victim);
    let mut group = Group::<LocalBoxed<'_, (), &str>>::local().with_limit(2).with_gate(move |_| {
        if let Some(handle) = handle.borrow().as_ref() {
            handle.abort();
        }
        pending::<()>()
    });
    group.queue(pending::<Result<(), &str>>());
    group.queue(pending::<Result<(), &str>>());
    let guard = drops.guard();
    let (child, handle) = task(async move {
        let _guard = guard;
        pending::<Result<usize, &str>>().await
    })
    .joinable();
    group.queue(child);
    *victim.borrow_mut() = Some(handle);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().queued, drops.get()), (2, 1));
}

#[test]
fn the_gates_are_dropped_when_the_group_has_resolved() {
    let (drops, driver) = (DropCounter::default(), MockTask::new());
    let of_gate = drops.guard();
    let mut group = Group::new().with_gate(move |_: &Ask<'_>| {
        let _of_gate = &of_gate;
        ready(())
    });
    let gate = Gate::new();
    group.queue(waits(&gate, 0));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!(drops.get(), 0);
    gate.open(0);
    assert!(is_ok(driver.run(&mut group)));
    assert_eq!(drops.get(), 1, "though the group is not dropped");
}

#[test]
fn a_group_with_gates_waits_for_no_permit_that_no_child_lacks() {
    let semaphore = Arc::new(async_lock::Semaphore::new(1));
    let held = semaphore.try_acquire_arc().unwrap();
    let group = Group::new().with_gate(|_: &Ask<'_>| ready(())).with_semaphore(semaphore);
    let mut f = Fixture::of(group);
    let _hold = f.handle.hold();
    f.handle.set_limit(Some(3));
    assert!(f.run().is_pending());
    let wakes = f.task.wakes();
    drop(held);
    assert_eq!(f.task.wakes(), wakes, "there is no child");
}

#[test]
fn a_dropped_group_drops_guards_after_their_children() {
    let mut scene = Scene::new(Group::new());
    (0..2).for_each(|n| scene.doors.open(n));
    (0..3).for_each(|n| scene.queue(n));
    assert_eq!(scene.run(), "?0 - ?1 - ?2 - +0 +1");
    drop(std::mem::replace(&mut scene.it.group, Group::new()));
    let log = scene.it.log.take().join(" ");
    assert!(log.starts_with('-') && log.ends_with(".0 .1"), "{log}");
}

#[test]
fn a_go_that_is_dropped_at_the_gate_leaves_its_turn_to_the_next() {
    let mut scene = Scene::new(Group::new());
    let (handle, tasks) = (scene.it.handle.clone(), [MockTask::new(), MockTask::new()]);
    let mut first = handle.go(scene.it.child(0));
    let mut second = handle.go(scene.it.child(1));
    assert!(tasks[0].poll(&mut first).is_pending());
    assert!(tasks[1].poll(&mut second).is_pending());
    assert_eq!(scene.run(), "?0 -");
    drop(first);
    scene.doors.open(0);
    assert_eq!(scene.run(), "-0");
    assert_eq!(tasks[1].wakes(), 1);
    // One that has its turn gives its guard back, for which the gate was asked on its behalf.
    drop(second);
    assert_eq!(scene.run(), "-1 .0");
}

#[test]
fn a_guard_of_a_turn_that_comes_to_nothing_is_given_back_by_a_group_that_sleeps() {
    let permits = Arc::new(Semaphore::new(1));
    let gated = || {
        let permits = Arc::clone(&permits);
        Group::<Kind>::new().with_gate(move |_| Arc::clone(&permits).acquire_owned())
    };
    let (driver, caller) = (MockTask::new(), MockTask::new());
    let (mut group, mut other) = (gated(), gated());
    let (handle, _hold) = (group.handle(), group.hold());
    for takes_slot in [false, true] {
        let mut reserving = handle.reserve();
        assert!(caller.poll(&mut reserving).is_pending());
        assert!(driver.poll(&mut group).is_pending());
        let slot = takes_slot.then(|| caller.finish(&mut reserving));
        assert_eq!(permits.available_permits(), 0);
        let wakes = driver.wakes();
        drop((reserving, slot));
        assert_eq!(driver.wakes(), wakes + 1);
        assert!(driver.poll(&mut group).is_pending());
        assert_eq!(permits.available_permits(), 1);
    }
    other.queue(job(ready(Ok(0))));
    assert_eq!(MockTask::new().finish(&mut other), Ok(()));
}

#[test]
fn a_go_of_the_group_that_loses_the_room_in_its_key_gives_its_guard_back_before_the_task_sleeps() {
    let permits = Arc::new(Semaphore::new(1));
    let (gate, driver) = (Gate::new(), MockTask::new());
    let mut group = Group::<Kind>::new().with_key_limit(1).with_gate({
        let permits = Arc::clone(&permits);
        move |ask| {
            let (permits, has_key) = (Arc::clone(&permits), ask.key().is_some());
            async move {
                match has_key {
                    true => permits.acquire_owned().await.ok(),
                    false => None,
                }
            }
        }
    });
    let handle = group.handle();
    let door = gate.wait(0);
    let keeps = permits.clone().try_acquire_owned().unwrap();
    group.queue(job(async move {
        door.await;
        handle.set_key_limit(&Key::from("a"), Some(0));
        pending().await
    }));
    let mut go = group.go(task(job(pending())).key("a"));
    assert!(driver.run(&mut go).is_pending());
    // In one poll the gate gives its guard, and then the key is paused.
    drop(keeps);
    gate.open(0);
    assert!(driver.run(&mut go).is_pending());
    assert_eq!(permits.available_permits(), 1);
}

#[test]
fn ready_passes_the_gate_for_the_next_child_of_its_weight_alone() {
    let weights = Arc::new(Mutex::new(Vec::new()));
    let (asked, driver) = (Arc::clone(&weights), MockTask::new());
    let mut group = Group::<Kind>::new().with_limit(9).with_gate(move |ask| {
        asked.lock().unwrap().push(ask.weight());
        yield_now()
    });
    assert_eq!(driver.finish(group.ready()), Ok(()));
    assert_eq!(*weights.lock().unwrap(), [1]);
    let heavy = task(job(pending())).weight(5);
    assert!(matches!(group.try_go(heavy), Err(TryGoError::AtLimit(_))), "its future is pending");
    assert_eq!(*weights.lock().unwrap(), [1, 5]);
    assert!(group.try_go(task(job(pending()))).is_ok());
    assert_eq!(*weights.lock().unwrap(), [1, 5]);
    assert_eq!(group.stats().running, 1);
}

#[test]
fn no_child_runs_by_guards_that_were_given_to_lighter_ones() {
    let budget = Arc::new(Semaphore::new(100));
    let permits = Arc::clone(&budget);
    let mut group = Group::<Kind>::new()
        .with_gate(move |ask| Arc::clone(&permits).acquire_many_owned(ask.weight() as u32));
    let (handle, _hold, driver) = (group.handle(), group.hold(), MockTask::new());
    let child = |weight| task(job(pending())).weight(weight);
    let mut light: Vec<_> = (0..10).map(|_| handle.go(child(10))).collect();
    for go in &mut light {
        assert!(MockTask::new().poll(go).is_pending());
    }
    assert!(driver.poll(&mut group).is_pending());
    assert_eq!(budget.available_permits(), 0);
    drop(light);
    (0..10).for_each(|_| group.queue(child(100)));
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().running, budget.available_permits()), (1, 0));
}

#[test]
fn a_child_behind_its_key_holds_no_gate() {
    let mut scene = Scene::new(Group::new().with_key_limit(1));
    (0..3).for_each(|n| scene.doors.open(n));
    for (n, key) in [(0, "a"), (1, "a"), (2, "b")] {
        let child = task(scene.it.child(n)).key(key);
        scene.it.group.queue(child);
    }
    assert_eq!(scene.run(), "?0 - ?1 - +0 +2");
    scene.it.gate.open(0);
    assert_eq!(scene.run(), "-0 .0 ?2 - +1");
}

#[test]
fn the_groups_own_go_and_feed_pass_the_gate() {
    let driver = MockTask::new();
    let passed = AtomicUsize::new(0);
    let mut group = Group::new().with_limit(2).with_gate(|_| {
        passed.fetch_add(1, SeqCst);
        yield_now()
    });
    for _ in 0..5 {
        assert!(is_ok(driver.run(&mut group.go(async { Ok::<usize, &str>(0) }))));
    }
    let children = (0..5).map(|_| async { Ok(0) });
    assert_eq!(driver.finish(group.feed(stream::iter(children))), 5);
    assert!(is_ok(driver.run(&mut group)));
    assert_eq!(passed.load(SeqCst), 11, "the feed needs one to see that its stream has ended");
}

#[test]
fn children_of_an_executor_and_of_one_type_pass_gates_too() {
    let (log, open) = (Log::new(), Gate::new());
    (0..2).for_each(|n| open.open(n));
    let spawned = Arc::new(Mutex::new(Vec::new()));
    let mut group = {
        let spawned = Arc::clone(&spawned);
        Group::on(move |child| spawned.lock().unwrap().push(child)).with_gate(doors(&open, &log))
    };
    let driver = MockTask::new();
    (0..2).for_each(|n| group.queue(async move { Ok::<usize, &str>(n) }));
    assert!(driver.run(&mut group).is_pending());
    for mut child in std::mem::take(&mut *spawned.lock().unwrap()) {
        let _ = driver.run(&mut child);
    }
    assert!(driver.run(&mut group).is_ready());
    assert_eq!(log.take().join(" "), "?0 - ?1 - .0 .1");

    let mut group = Group::unboxed().with_gate(|_| std::future::ready(1));
    group.queue(job(async { Ok(0) }));
    assert!(is_ok(driver.run(&mut group)));
}

#[test]
fn results_that_wait_to_be_read_hold_no_guard() {
    let (log, open) = (Log::new(), Gate::new());
    (0..2).for_each(|n| open.open(n));
    let driver = MockTask::new();
    let mut results = Group::new().with_limit(2).with_gate(doors(&open, &log)).results();
    (0..2).for_each(|n| results.queue(async move { Ok::<usize, &str>(n) }));
    assert_eq!(driver.finish(results.next()), Some(Ok(0)));
    assert_eq!(log.take().join(" "), "?0 - ?1 - .0 .1");
    assert_eq!(driver.finish(results.next()), Some(Ok(1)));
}

#[test]
fn a_reservation_has_its_guard() {
    let mut scene = Scene::new(Group::new());
    scene.doors.open(0);
    let task = MockTask::new();
    let mut reserve = scene.it.handle.reserve();
    assert!(task.run(&mut reserve).is_pending());
    assert_eq!(scene.run(), "?0 -");
    let Poll::Ready(Ok(slot)) = task.run(&mut reserve) else { panic!("it has room") };
    assert!(slot.go(scene.it.child(0)).is_ok());
    scene.it.gate.open(0);
    assert_eq!(scene.run(), "+0 -0 .0");
}

#[test]
fn a_permit_and_a_gate_are_both_needed() {
    let semaphore = Arc::new(async_lock::Semaphore::new(1));
    let mut scene = Scene::new(Group::new().with_semaphore(Arc::clone(&semaphore)));
    (0..2).for_each(|n| scene.doors.open(n));
    let permit = semaphore.try_acquire().unwrap();
    (0..2).for_each(|n| scene.queue(n));
    assert_eq!(scene.run(), "?0 -");
    drop(permit);
    assert_eq!(scene.run(), "+0 ?1 -");
    scene.it.gate.open(0);
    assert_eq!(scene.run(), "-0 .0 +1");
}

#[test]
fn a_panic_of_a_gate_its_future_or_a_guard_is_a_childs() {
    let gates: [fn(Group<Kind>) -> Group<Kind>; 3] = [
        |group| group.with_gate(|_| -> std::future::Ready<()> { panic!("broken") }),
        |group| group.with_gate(|_| async { panic!("broken") }),
        |group| group.with_gate(|_| async { OnDrop(|| panic!("broken")) }),
    ];
    for with_gate in gates {
        let (driver, log) = (MockTask::new(), Log::new());
        let open = Gate::new();
        open.open(0);
        open.open(1);
        let mut group = with_gate(Group::new().with_limit(1));
        let handle = group.handle();
        (0..2).for_each(|n| group.queue(logged_child(n, &open, &log)));
        assert_eq!(panic_message(|| driver.run(&mut group)), "broken");
        assert_eq!(handle.token().reason(), Some(errgroup::Reason::Panicked));
        let stats = handle.stats();
        assert_eq!((stats.ok + stats.dropped, stats.running), (2, 0));
        assert!(handle.is_closed());
    }
}

#[test]
fn a_gate_comes_before_the_first_child() {
    let message = panic_message(|| {
        let mut group = Group::<Kind>::new();
        group.queue(waits(&Gate::new(), 0));
        group.with_gate(|_| async {})
    });
    assert!(message.starts_with("call `with_gate` before"), "{message}");
}

// --- what gates are for

#[test]
fn a_semaphore_of_another_runtime_bounds_several_groups() {
    paused(async {
        let permits = Arc::new(Semaphore::new(3));
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (now, most) = (&now, &most);
        let run = |count| {
            let permits = Arc::clone(&permits);
            let mut group = Group::new().with_gate(move |_| Arc::clone(&permits).acquire_owned());
            for n in 0..count {
                group.queue(async move {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    sleep(Duration::from_millis(n % 7)).await;
                    now.fetch_sub(1, SeqCst);
                    Ok::<usize, &str>(0)
                });
            }
            group
        };
        assert_eq!(futures::join!(run(20), run(30)), (Ok(()), Ok(())));
        assert_eq!(most.load(SeqCst), 3);
        assert_eq!(permits.available_permits(), 3);
    });
}

/// Lets `count` pass in any window of that length.
struct Rate {
    window: Duration,
    last: VecDeque<Instant>,
}

impl Rate {
    fn next(&mut self) -> tokio::time::Sleep {
        let oldest = self.last.pop_front().unwrap();
        let turn = Instant::now().max(oldest + self.window);
        self.last.push_back(turn);
        sleep_until(turn)
    }
}

#[test]
fn no_window_of_a_rate_holds_more_than_it_may() {
    const COUNT: usize = 5;
    const WINDOW: Duration = Duration::from_secs(1);
    paused(async {
        let long_ago = Instant::now() - WINDOW;
        let mut rate = Rate { window: WINDOW, last: vec![long_ago; COUNT].into() };
        let started = Arc::new(Mutex::new(Vec::new()));
        let mut group = Group::new().with_limit(20).with_gate(move |_| rate.next());
        for n in 0..60_u64 {
            let started = Arc::clone(&started);
            let child = async move {
                started.lock().unwrap().push(Instant::now());
                sleep(Duration::from_millis(n * 37 % 900)).await;
                Ok::<usize, &str>(0)
            };
            assert!(group.go(child).await.is_ok());
            if n % 9 == 0 {
                sleep(Duration::from_millis(n * 11)).await;
            }
        }
        group.await.unwrap();
        let started = started.lock().unwrap();
        assert_eq!(started.len(), 60);
        for window in started.windows(COUNT + 1) {
            assert!(window[COUNT] - window[0] >= WINDOW);
        }
        // And it is used: 60 can't take longer than what was slept, and the windows.
        assert!(*started.last().unwrap() - started[0] < Duration::from_secs(16));
    });
}

#[test]
fn a_budget_of_bytes_is_never_exceeded_and_no_child_starves() {
    paused(async {
        let budget = Arc::new(Semaphore::new(100));
        let used = Arc::new(AtomicUsize::new(0));
        let mut group = Group::new().collect().with_gate({
            let budget = Arc::clone(&budget);
            move |ask: &Ask<'_>| Arc::clone(&budget).acquire_many_owned(ask.weight() as u32)
        });
        for n in 0..50 {
            let (used, weight) = (Arc::clone(&used), 1 + n * 29 % 100);
            let child = async move {
                assert!(used.fetch_add(weight, SeqCst) + weight <= 100);
                sleep(Duration::from_millis(5)).await;
                used.fetch_sub(weight, SeqCst);
                Ok::<_, &str>(n)
            };
            group.queue(task(child).weight(weight));
        }
        assert_eq!(group.await, Ok((0..50).collect()), "in the order in which they came");
    });
}

#[test]
fn a_connection_travels_with_its_child() {
    paused(async {
        let pool = Arc::new(Mutex::new(vec!["one", "two"]));
        let idle = Arc::new(Semaphore::new(2));
        let in_use = Arc::new(AtomicUsize::new(0));
        let mut group = Group::new().with_gate({
            let (pool, idle, in_use) = (Arc::clone(&pool), Arc::clone(&idle), Arc::clone(&in_use));
            move |_| {
                let (pool, idle, in_use) =
                    (Arc::clone(&pool), Arc::clone(&idle), Arc::clone(&in_use));
                async move {
                    let permit = idle.acquire_owned().await.unwrap();
                    let connection = pool.lock().unwrap().pop().expect("there is one");
                    in_use.fetch_add(1, SeqCst);
                    let back = OnDrop(move || {
                        pool.lock().unwrap().push(connection);
                        in_use.fetch_sub(1, SeqCst);
                    });
                    (back, permit)
                }
            }
        });
        let handle = group.handle();
        for n in 0..20 {
            let (handle, in_use) = (handle.clone(), Arc::clone(&in_use));
            let child = async move {
                assert!(in_use.load(SeqCst) >= 1 && handle.stats().running <= 2);
                sleep(Duration::from_millis(n % 3)).await;
                Ok::<usize, &str>(0)
            };
            assert!(group.go(child).await.is_ok());
        }
        group.await.unwrap();
        assert_eq!((pool.lock().unwrap().len(), idle.available_permits()), (2, 2));
    });
}

#[test]
fn a_group_with_a_gate_is_sent_to_another_task() {
    paused(async {
        let permits = Arc::new(Semaphore::new(1));
        let group = async move {
            let mut group = Group::new().with_gate(|_| Arc::clone(&permits).acquire_owned());
            group.queue(async { Ok::<usize, &str>(0) });
            group.await
        };
        tokio::spawn(group).await.unwrap().unwrap();
    });
}

#[test]
fn a_guard_that_a_ready_has_no_use_for_holds_up_no_child_of_another_weight() {
    let (mock, gate) = (MockTask::new(), Gate::new());
    let permits = Arc::new(Semaphore::new(2));
    let mut group: Group<Kind> = Group::new().with_gate({
        let permits = Arc::clone(&permits);
        move |_: &Ask<'_>| Arc::clone(&permits).acquire_owned()
    });
    let handle = group.handle();
    let (first_gate, second_gate) = (gate.clone(), gate.clone());
    let first = job(async move {
        handle.queue(
            task(job(async move {
                second_gate.open(0);
                Ok(0)
            }))
            .weight(2),
        );
        first_gate.wait(0).await;
        Ok(0)
    });
    // The guard that the second `ready` gets is of no use to the child of a weight of 2, which is
    // queued meanwhile.
    assert_eq!(mock.finish(group.ready()), Ok(()));
    assert!(group.try_go(first).is_ok());
    assert_eq!(mock.finish(group.ready()), Ok(()));
    assert_eq!(mock.finish(&mut group), Ok(()));
    assert_eq!(permits.available_permits(), 2);
}

#[test]
fn a_ready_that_waits_behind_a_child_without_room_keeps_no_guard() {
    let mock = MockTask::new();
    let permits = Arc::new(Semaphore::new(2));
    let mut group: Group<Kind> = Group::new().with_limit(2).with_gate({
        let permits = Arc::clone(&permits);
        move |_: &Ask<'_>| Arc::clone(&permits).acquire_owned()
    });
    let handle = group.handle();
    let of_child = Arc::clone(&permits);
    group.queue(job(async move {
        handle.queue(task(job(ready(Ok(0)))).weight(2));
        // It has one of the two permits. The guard that `ready` got meanwhile has the other one,
        // and is of no use to it: there is no room for the child that was queued.
        drop(of_child.acquire().await);
        Ok(0)
    }));
    assert_eq!(mock.finish(group.ready()), Ok(()));
    assert_eq!(mock.finish(&mut group), Ok(()));
    assert_eq!(permits.available_permits(), 2);
}

#[test]
fn a_child_that_lacks_a_permit_keeps_one_guard_and_the_others_go() {
    let (task_, drops) = (MockTask::new(), DropCounter::default());
    let permits = Arc::new(errgroup::Semaphore::new(0));
    let (made, of_gate) = (Arc::new(AtomicUsize::new(0)), drops.clone());
    let counter = Arc::clone(&made);
    let mut group: Group<Kind> =
        Group::new().with_semaphore(Arc::clone(&permits)).with_gate(move |_: &Ask<'_>| {
            counter.fetch_add(1, SeqCst);
            ready(of_gate.guard())
        });
    for weight in [2, 0, 1] {
        assert!(group.try_go(task(job(ready(Ok(0)))).weight(weight)).is_err());
    }
    group.queue(job(ready(Ok(0))));
    assert!(task_.run(&mut group).is_pending());
    assert_eq!(made.load(SeqCst) - drops.get(), 1);
    permits.add_permits(1);
    assert_eq!(task_.finish(&mut group), Ok(()));
    assert_eq!(made.load(SeqCst), drops.get());
}
