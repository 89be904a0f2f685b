//! What a spawner returns, where a child runs in its call, and an executor that goes away.

use std::future::{pending, ready};
use std::panic::panic_any;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;

#[cfg(feature = "std")]
use crate::common::panic_message;
use crate::common::{Bomb, DropCounter, Gate, MockTask, OnDrop, waits};
use errgroup::{Group, Reason, Spawned};
use futures::future::BoxFuture;

type Spawns = Group<Spawned<usize, &'static str>>;
type Work = BoxFuture<'static, ()>;

/// An executor that polls its futures on request.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Work>>>);

impl Pool {
    fn push(&self, work: Work) {
        self.0.lock().unwrap().push(work);
    }

    fn poll_all(&self) {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap());
        all.retain_mut(|work| MockTask::new().poll(work).is_pending());
        self.0.lock().unwrap().extend(all);
    }

    fn shut_down(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        drop(all);
    }
}

/// Returns a group whose spawner returns a guard for each child.
fn guarded(pool: &Pool, drops: &DropCounter) -> Spawns {
    let (pool, drops) = (pool.clone(), drops.clone());
    Group::on(move |work| {
        pool.push(work);
        drops.guard()
    })
}

// === what a spawner returns ===

#[test]
fn what_the_spawner_returned_is_kept_until_the_child_has_ended() {
    let (pool, drops) = (Pool::default(), DropCounter::default());
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = guarded(&pool, &drops);
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    assert!(task.run(&mut group).is_pending());
    pool.poll_all();
    assert_eq!(drops.get(), 0);
    gate.open(1);
    pool.poll_all();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(drops.get(), 1);
    gate.open(0);
    pool.poll_all();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(drops.get(), 2);
}

#[test]
fn what_the_spawner_returned_is_dropped_with_the_group_and_at_the_end_of_a_grace() {
    let (pool, drops, task) = (Pool::default(), DropCounter::default(), MockTask::new());
    let mut group = guarded(&pool, &drops);
    group.queue(pending());
    drop(group);
    assert_eq!(drops.get(), 1);

    let mut group = guarded(&pool, &drops).with_grace(async || ());
    group.queue(pending());
    group.token().cancel();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((drops.get(), group.stats().dropped), (2, 1));
}

#[test]
fn what_a_spawner_returns_after_its_group_was_dropped_is_dropped_too() {
    let (drops, slot) = (DropCounter::default(), Arc::new(Mutex::new(None::<Spawns>)));
    let returned = drops.clone();
    let emptied = Arc::clone(&slot);
    let mut group: Spawns = Group::on(move |_work| {
        let group = emptied.lock().unwrap().take();
        drop(group);
        returned.guard()
    });
    let handle = group.handle();
    group.set_limit(Some(0));
    group.queue(pending());
    *slot.lock().unwrap() = Some(group);
    handle.set_limit(None);
    assert_eq!(drops.get(), 1);
}

#[test]
#[cfg(feature = "std")]
fn a_destructor_of_what_the_spawner_returned_panics_as_a_childs() {
    let (pool, task) = (Pool::default(), MockTask::new());
    for ends in [true, false] {
        let spawn = pool.clone();
        let mut group: Spawns = Group::on(move |work| {
            spawn.push(work);
            Bomb("the spawner's")
        });
        if ends {
            group.queue(ready(Ok(1)));
        } else {
            group = group.with_grace(async || ());
            group.queue(pending());
            group.token().cancel();
        }
        pool.poll_all();
        assert_eq!(panic_message(|| task.run(&mut group)), "the spawner's");
        assert_eq!(group.stats().dropped, 1);
    }
}

#[test]
#[cfg(feature = "std")]
fn a_destructor_of_what_a_spawner_returns_for_a_child_that_was_cut_off_panics_as_a_childs() {
    let (pool, task, gate) = (Pool::default(), MockTask::new(), Gate::new());
    let slot = Arc::new(Mutex::new(None::<Spawns>));
    let (spawn, of_call) = (pool.clone(), Arc::clone(&slot));
    let mut group: Spawns = Group::on(move |work| {
        let Some(mut group) = of_call.lock().unwrap().take() else {
            spawn.push(work);
            return None;
        };
        group.token().cancel();
        assert!(MockTask::new().run(&mut group).is_pending());
        *of_call.lock().unwrap() = Some(group);
        Some(Bomb("the spawner's"))
    });
    group.queue(waits(&gate, 0));
    let handle = group.handle();
    group.set_limit(Some(1));
    group.queue(errgroup::task(pending()).until_stop());
    *slot.lock().unwrap() = Some(group);
    handle.set_limit(None);
    let mut group = slot.lock().unwrap().take().expect("the spawner has put it back");
    assert_eq!((group.stats().running, group.stats().dropped), (1, 1));
    gate.open(0);
    pool.poll_all();
    assert_eq!(panic_message(|| task.run(&mut group)), "the spawner's");
}

#[test]
fn a_spawner_is_dropped_with_its_group_whatever_handles_are_left() {
    for (resolves, asks_later) in [(true, false), (true, true), (false, false)] {
        let (pool, task, drops) = (Pool::default(), MockTask::new(), DropCounter::default());
        let own = Arc::new(OnceLock::new());
        let (spawn, guard, handles) = (pool.clone(), drops.guard(), Arc::clone(&own));
        let mut group: Spawns = Group::on(move |work| {
            let _ = (&guard, &handles);
            spawn.push(work);
        });
        let handle = own.get_or_init(|| group.handle()).clone();
        handle.queue(ready(Ok(0)));
        pool.poll_all();
        assert!(!resolves || task.run(&mut group).is_ready());
        let late = asks_later.then(|| {
            let mut other: Spawns = Group::on({
                let guard = drops.guard();
                move |_| _ = &guard
            });
            assert!(task.run(&mut other).is_ready());
            other.handle()
        });
        assert_eq!(drops.get(), usize::from(asks_later));
        drop(group);
        assert_eq!(drops.get(), 1 + usize::from(asks_later));
        drop(late);
        assert!(handle.is_closed());
        handle.queue(ready(Ok(1)));
        assert_eq!((handle.stats().running, handle.snapshot().children.len()), (0, 0));
    }
}

#[test]
fn the_spawn_functions_of_runtimes_are_spawners_as_they_stand() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut group = Group::on(tokio::spawn).with_limit(2).collect();
        for n in 0..5 {
            group.queue(async move {
                tokio::task::yield_now().await;
                Ok::<usize, &str>(n)
            });
        }
        assert_eq!(group.await, Ok(vec![0, 1, 2, 3, 4]));
    });
    smol::block_on(async {
        let mut group = Group::on(smol::spawn).with_limit(2).collect();
        for n in 0..5 {
            group.queue(async move {
                smol::future::yield_now().await;
                Ok::<usize, &str>(n)
            });
        }
        assert_eq!(group.await, Ok(vec![0, 1, 2, 3, 4]));
    });
}

#[test]
fn a_task_that_cancels_on_drop_ends_with_its_group() {
    let executor = Arc::new(smol::Executor::new());
    let spawner = Arc::clone(&executor);
    let mut group: Spawns = Group::on(move |work| spawner.spawn(work));
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&dropped);
    let guard = OnDrop(move || seen.store(true, SeqCst));
    group.queue(async move {
        let _guard = guard;
        pending().await
    });
    while executor.try_tick() {}
    assert!(!dropped.load(SeqCst));
    drop(group);
    while executor.try_tick() {}
    assert!(dropped.load(SeqCst) && executor.is_empty());
}

// === an executor that goes away ===

#[test]
#[cfg(feature = "std")]
fn an_executor_that_goes_away_after_a_stop_is_no_panic() {
    for reported_first in [false, true] {
        let (pool, task) = (Pool::default(), MockTask::new());
        let spawn = pool.clone();
        let log = Arc::new(Mutex::new(Vec::new()));
        let events = Arc::clone(&log);
        let mut group: Spawns = Group::on(move |work| spawn.push(work)).with_observer(
            move |event: &errgroup::Event| {
                events.lock().unwrap().push(event.to_string());
            },
        );
        group.queue(ready(Ok(0)));
        group.queue(pending());
        group.queue(pending());
        assert!(task.run(&mut group).is_pending());
        pool.poll_all();
        group.token().cancel();
        if reported_first {
            assert!(task.run(&mut group).is_pending());
        }
        pool.shut_down();
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
        let stats = group.stats();
        assert_eq!((stats.running, stats.ok, stats.dropped), (0, 1, 2));
        let log = log.lock().unwrap();
        let dropped = log.iter().filter(|entry| entry.ends_with("finished: Dropped"));
        assert_eq!(dropped.count(), 2, "{log:?}");
    }
}

#[test]
#[cfg(feature = "std")]
fn an_executor_that_goes_away_before_a_stop_is_a_panic_though_the_group_is_stopped_by_it() {
    let (pool, task) = (Pool::default(), MockTask::new());
    let spawn = pool.clone();
    let mut group: Spawns = Group::on(move |work| spawn.push(work));
    group.queue(pending());
    group.queue(pending());
    pool.shut_down();
    assert!(panic_message_of(|| task.run(&mut group)).contains("executor dropped a child"));
    assert_eq!(group.token().reason(), Some(Reason::Panicked));
    assert_eq!(group.stats().dropped, 2);
}

#[cfg(feature = "std")]
fn panic_message_of<T>(call: impl FnOnce() -> T) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).err().unwrap();
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).into(),
    }
}

#[test]
fn a_runtime_that_shuts_down_after_a_stop_lets_the_group_resolve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let spawner = runtime.handle().clone();
    let mut group: Spawns = Group::on(move |work| spawner.spawn(work));
    group.queue(pending());
    group.token().cancel();
    drop(runtime);
    assert_eq!(futures::executor::block_on(&mut group), Ok(()));
    assert_eq!(group.stats().dropped, 1);
}

// === a spawner that runs the child in the call ===

#[test]
#[cfg(feature = "std")]
fn children_that_a_child_adds_in_its_spawners_call_run_after_it_and_not_inside() {
    const COUNT: usize = 100_000;
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&inside), Arc::clone(&most));
    let mut group: Spawns = Group::on(move |work| {
        peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        smol::block_on(work);
        now.fetch_sub(1, SeqCst);
    });
    let handle = group.handle();
    fn child(
        handle: errgroup::Handle<Spawned<usize, &'static str>>,
        n: usize,
    ) -> crate::common::Job {
        Box::pin(async move {
            if n < COUNT {
                handle.queue(child(handle.clone(), n + 1));
            }
            Ok(n)
        })
    }
    group.queue(child(handle.clone(), 1));
    assert_eq!(handle.stats().ok, COUNT);
    assert_eq!((inside.load(SeqCst), most.load(SeqCst)), (0, 1));
    assert_eq!(MockTask::new().run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_child_that_runs_in_its_spawners_call_may_await_a_group_of_its_own() {
    let mut outer = Spawns::on(smol::block_on).collect();
    for _ in 0..2 {
        outer.queue(async {
            let mut inner = Spawns::on(smol::block_on).collect();
            (1..=2).for_each(|n| inner.queue(ready(Ok(n))));
            // Its children have run: a task that waited for them here would wait for ever.
            let Poll::Ready(Ok(all)) = MockTask::new().poll(&mut inner) else {
                return Err("the inner group waits");
            };
            Ok(all.iter().sum())
        });
    }
    assert_eq!(MockTask::new().poll(&mut outer), Poll::Ready(Ok(vec![3, 3])));
}

#[test]
fn a_group_in_whose_call_another_has_run_may_be_added_to_after_that() {
    let mut outer = Spawns::on(smol::block_on).collect();
    outer.queue(async {
        let mut middle = Spawns::on(smol::block_on);
        middle.queue(async {
            let mut inner = Spawns::on(smol::block_on);
            inner.queue(ready(Ok(1)));
            Ok(inner.stats().ok)
        });
        // Its call has ended: nothing is put off.
        middle.queue(ready(Ok(2)));
        Ok(middle.stats().ok)
    });
    assert_eq!(MockTask::new().poll(&mut outer), Poll::Ready(Ok(vec![2])));
}

#[test]
fn what_two_nested_calls_have_put_off_is_spawned_by_each_at_its_end() {
    let mut outer = Spawns::on(smol::block_on);
    let handle = outer.handle();
    let of_inner = Arc::new(AtomicUsize::new(0));
    let inner_ok = Arc::clone(&of_inner);
    outer.queue(async move {
        handle.queue(ready(Ok(1)));
        let mut inner = Spawns::on(smol::block_on);
        let own = inner.handle();
        let above = handle.clone();
        inner.queue(async move {
            own.queue(ready(Ok(2)));
            above.queue(ready(Ok(3)));
            own.queue(ready(Ok(4)));
            Ok(5)
        });
        inner_ok.store(inner.stats().ok, SeqCst);
        handle.queue(ready(Ok(6)));
        Ok(7)
    });
    assert_eq!((of_inner.load(SeqCst), outer.stats().ok), (3, 4));
}

#[test]
#[cfg(feature = "std")]
fn children_of_two_groups_that_add_one_another_in_their_spawners_calls_overflow_no_stack() {
    const COUNT: usize = 100_000;
    let mut groups = [Spawns::on(smol::block_on), Spawns::on(smol::block_on)];
    let handles = groups.each_ref().map(Group::handle);
    fn child(
        handles: [errgroup::Handle<Spawned<usize, &'static str>>; 2],
        n: usize,
    ) -> crate::common::Job {
        Box::pin(async move {
            if n < COUNT {
                handles[n % 2].queue(child(handles.clone(), n + 1));
            }
            Ok(n)
        })
    }
    groups[0].queue(child(handles.clone(), 1));
    assert_eq!(handles[0].stats().ok + handles[1].stats().ok, COUNT);
    for group in &mut groups {
        assert_eq!(MockTask::new().run(group), Poll::Ready(Ok(())));
    }
}

#[test]
#[cfg(feature = "std")]
fn a_spawner_whose_destructor_panics_within_a_call_keeps_no_other_group_from_spawning() {
    let mut outer = Spawns::on(smol::block_on);
    outer.queue(async {
        let bomb = OnDrop(|| panic_any("a spawner's destructor"));
        let mut inner = Spawns::on(move |work| {
            let _ = &bomb;
            drop(work);
        });
        inner.queue(ready(Ok(1)));
        drop(inner);
        Ok(2)
    });
    assert_eq!(panic_message(|| MockTask::new().run(&mut outer)), "a spawner's destructor");
    let mut later = Spawns::on(smol::block_on).collect();
    later.queue(ready(Ok(3)));
    assert_eq!(MockTask::new().poll(&mut later), Poll::Ready(Ok(vec![3])));
}

#[test]
#[cfg(feature = "std")]
fn a_child_that_is_added_in_a_call_while_its_thread_ends_is_spawned() {
    fn work() -> usize {
        let run = |mut work: Work| assert!(MockTask::new().poll(&mut work).is_ready());
        let mut group = Spawns::on(run).collect();
        let handle = group.handle();
        group.queue(async move {
            handle.queue(ready(Ok(1)));
            Ok(2)
        });
        let Poll::Ready(Ok(all)) = MockTask::new().poll(&mut group) else {
            panic!("a child is lost");
        };
        all.len()
    }
    static DONE: AtomicUsize = AtomicUsize::new(0);
    std::thread_local! {
        static AT_EXIT: OnDrop<fn()> =
            const { OnDrop(|| _ = DONE.fetch_add(work(), SeqCst)) };
    }
    std::thread::spawn(|| {
        // Made first, it is dropped last.
        AT_EXIT.with(|_| ());
        assert_eq!(work(), 2);
    })
    .join()
    .unwrap();
    assert_eq!(DONE.load(SeqCst), 2);
}

#[test]
#[cfg(feature = "std")]
fn a_child_that_was_put_off_is_spawned_though_the_spawner_panics_before_it() {
    let calls = AtomicUsize::new(0);
    let mut group: Spawns = Group::on(move |work| {
        smol::block_on(work);
        if calls.fetch_add(1, SeqCst) == 0 {
            panic_any("the spawner's");
        }
    });
    let handle = group.handle();
    group.queue(async move {
        handle.queue(ready(Ok(2)));
        Ok(1)
    });
    let stats = group.stats();
    assert_eq!((stats.running, stats.ok, stats.dropped), (0, 1, 1));
    assert_eq!(panic_message(|| MockTask::new().run(&mut group)), "the spawner's");
}
