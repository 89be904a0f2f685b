//! Children that run on an executor while their group waits for them.

use std::future::{Future, pending, poll_fn, ready};
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
#[cfg(feature = "std")]
use std::task::{Wake, Waker};

use crate::common::{
    Bomb, DropCounter, Gate, Job, Log, Meter, MockTask, OnDrop, Probe, Tap, Value, fails, job,
    panic_message, poll_with, waits, waker_fn, yield_now,
};
use errgroup::{CancelToken, FirstErr, Group, Handle, Reason, Spawned, task as task_of};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};

type Spawns = Group<Spawned<usize, &'static str>>;
type Work = BoxFuture<'static, ()>;

/// An executor without threads: keeps the futures it is given and polls them on request.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Spot>>>);

/// A future and its task, or `None` once it is done.
type Spot = Option<(Work, Arc<MockTask>)>;

impl Pool {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn spawn(&self) -> impl Fn(Work) + Send + Sync + 'static {
        let pool = self.clone();
        move |work| pool.0.lock().unwrap().push(Some((work, Arc::new(MockTask::new()))))
    }

    fn group(&self) -> Spawns {
        Group::on(self.spawn())
    }

    /// Returns how many futures were ever spawned.
    pub(crate) fn spawned(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Returns how many futures are left.
    pub(crate) fn left(&self) -> usize {
        self.0.lock().unwrap().iter().flatten().count()
    }

    pub(crate) fn wakes(&self, at: usize) -> usize {
        self.0.lock().unwrap()[at].as_ref().expect("the future is not done").1.wakes()
    }

    /// Polls one future outside of the lock, and drops it when it is done.
    pub(crate) fn poll(&self, at: usize) {
        let taken = self.0.lock().unwrap()[at].take();
        if let Some((mut work, task)) = taken {
            if task.poll(&mut work).is_pending() {
                self.0.lock().unwrap()[at] = Some((work, task));
            }
        }
    }

    /// Polls each future once.
    pub(crate) fn poll_all(&self) {
        for at in 0..self.spawned() {
            self.poll(at);
        }
    }

    /// Drops one future.
    pub(crate) fn drop(&self, at: usize) {
        let taken = self.0.lock().unwrap()[at].take();
        drop(taken);
    }

    /// Drops all futures.
    pub(crate) fn shut_down(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        drop(all);
    }
}

/// Polls the executor and the group in turn until the group resolves.
#[track_caller]
fn finish<F: Future + Unpin>(pool: &Pool, task: &MockTask, group: &mut F) -> F::Output {
    for _ in 0..1_000 {
        if let Poll::Ready(output) = task.run(group) {
            return output;
        }
        pool.poll_all();
    }
    panic!("the group is still pending");
}

fn numbers(group: &Spawns) -> [usize; 5] {
    let stats = group.stats();
    [stats.queued, stats.running, stats.ok, stats.failed, stats.dropped]
}

// === starting ===

#[test]
fn a_child_is_spawned_when_it_is_admitted_and_not_before() {
    let (pool, task, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = pool.group().with_limit(2);
    assert!(group.try_go(waits(&gate, 0)).is_ok());
    assert_eq!(pool.spawned(), 1, "without a poll of the group");
    {
        let mut go = group.go(waits(&gate, 1));
        assert!(matches!(task.poll(&mut go), Poll::Ready(Ok(()))));
    }
    assert_eq!(pool.spawned(), 2);
    group.queue(waits(&gate, 2));
    group.handle().queue(waits(&gate, 3));
    assert!(group.try_go(waits(&gate, 4)).is_err());
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(pool.spawned(), 2, "no room");
    gate.open(1);
    pool.poll_all();
    assert_eq!(pool.spawned(), 2, "only the group gives the room of an ended child away");
    assert_eq!(task.wakes(), 1);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(pool.spawned(), 3);
    for n in [0, 2, 3] {
        gate.open(n);
    }
    assert_eq!(finish(&pool, &task, &mut group), Ok(()));
    assert_eq!(numbers(&group), [0, 0, 4, 0, 0]);
    assert_eq!((pool.spawned(), pool.left()), (4, 0));
}

#[test]
fn a_raised_limit_spawns_at_once_from_any_thread() {
    let (pool, gate) = (Pool::new(), Gate::new());
    let mut group = pool.group().with_limit(1);
    for n in 0..5 {
        group.queue(waits(&gate, n));
    }
    let handle = group.handle();
    std::thread::scope(|scope| {
        scope.spawn(|| handle.set_limit(Some(3)));
    });
    assert_eq!(pool.spawned(), 3);
    group.set_limit(None);
    assert_eq!(pool.spawned(), 5);
}

#[test]
fn a_raised_limit_spawns_at_once_in_a_group_without_a_handle() {
    for shared_later in [false, true] {
        let (pool, task, gate) = (Pool::new(), MockTask::new(), Gate::new());
        let mut group = pool.group().with_limit(1).collect();
        for n in 0..4 {
            group.queue(waits(&gate, n));
        }
        assert!(task.poll(&mut group).is_pending());
        group.set_limit(Some(3));
        assert_eq!((pool.spawned(), task.wakes()), (3, 1));
        // They report before the group has collected their results.
        (0..4).for_each(|n| gate.open(n));
        pool.poll_all();
        let handle = shared_later.then(|| group.handle());
        assert!(task.run(&mut group).is_pending());
        assert_eq!(pool.spawned(), 4);
        pool.poll_all();
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![0, 1, 2, 3])));
        drop(handle);
    }
}

#[test]
fn a_limit_that_is_raised_twice_between_two_polls_spawns_each_child_once() {
    let (pool, task, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = pool.group().with_limit(1).collect();
    for n in 0..6 {
        group.queue(waits(&gate, n));
    }
    assert!(task.poll(&mut group).is_pending());
    for (limit, spawned) in [(2, 2), (2, 2), (4, 4), (3, 4), (5, 5)] {
        group.set_limit(Some(limit));
        assert_eq!(pool.spawned(), spawned, "at limit {limit}");
        assert_eq!(group.stats().running, spawned);
    }
    (0..6).for_each(|n| gate.open(n));
    pool.poll_all();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(pool.spawned(), 6);
    pool.poll_all();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![0, 1, 2, 3, 4, 5])));
}

#[test]
fn a_spawner_that_panics_when_a_limit_is_raised_comes_out_of_the_group() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = moody(&pool, |_| true, false).with_limit(1);
    group.set_limit(Some(0));
    group.queue(pending());
    group.set_limit(Some(1));
    assert_eq!(numbers(&group), [0, 0, 0, 0, 1], "no lock is held");
    assert_eq!(panic_message(|| task.run(&mut group)), "no task for you");
    assert_eq!(numbers(&group), [0, 0, 0, 0, 1]);
}

#[test]
fn a_child_behind_a_reservation_starts_when_it_is_claimed_or_dropped() {
    for claims in [true, false] {
        let (pool, task, gate) = (Pool::new(), MockTask::new(), Gate::new());
        let mut group = pool.group().with_limit(1);
        let handle = group.handle();
        group.queue(waits(&gate, 0));
        let mut go = handle.go(waits(&gate, 1));
        let waiter = MockTask::new();
        assert!(waiter.poll(&mut go).is_pending());
        handle.queue(waits(&gate, 2));
        handle.set_limit(Some(3));
        assert_eq!((waiter.wakes(), pool.spawned()), (1, 1));
        if claims {
            assert!(matches!(waiter.poll(&mut go), Poll::Ready(Ok(()))));
            assert_eq!(pool.spawned(), 3);
        } else {
            drop(go);
            assert_eq!(pool.spawned(), 2);
        }
        for n in 0..3 {
            gate.open(n);
        }
        assert_eq!(finish(&pool, &task, &mut group), Ok(()));
    }
}

#[test]
fn a_child_that_a_stop_finds_behind_a_reservation_is_spawned_and_drained() {
    let (pool, task, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = pool.group().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    let mut go = handle.go(waits(&gate, 1));
    assert!(MockTask::new().poll(&mut go).is_pending());
    handle.queue(waits(&gate, 2));
    handle.set_limit(Some(3));
    handle.token().cancel();
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(pool.spawned(), 2);
    gate.open(0);
    gate.open(2);
    assert_eq!(finish(&pool, &task, &mut group), Ok(()));
    assert_eq!(numbers(&group), [0, 0, 2, 0, 0]);
}

#[test]
fn children_are_spawned_in_the_order_in_which_they_were_added() {
    let (pool, task, log) = (Pool::new(), MockTask::new(), Log::new());
    let mut group = pool.group().with_limit(2).collect();
    for n in 0..6 {
        let log = log.clone();
        group.queue(async move {
            log.add(n.to_string());
            yield_now().await;
            Ok(n)
        });
    }
    assert_eq!(finish(&pool, &task, &mut group), Ok((0..6).collect()));
    assert_eq!(log.take(), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn a_feed_polls_its_stream_only_when_there_is_room_to_spawn() {
    let (pool, task, tap) = (Pool::new(), MockTask::new(), Tap::new());
    let mut group = pool.group().with_limit(2);
    for n in 0..5 {
        tap.put(job(async move { Ok(n) }));
    }
    tap.end();
    let mut feed = Box::pin(group.feed(tap.clone()));
    assert!(task.poll_pinned(feed.as_mut()).is_pending());
    assert_eq!((tap.polls(), pool.spawned()), (2, 2));
    pool.poll_all();
    assert!(task.poll_pinned(feed.as_mut()).is_pending());
    assert_eq!((tap.polls(), pool.spawned()), (4, 4));
    pool.poll_all();
    assert_eq!(task.poll_pinned(feed.as_mut()), Poll::Ready(5));
    drop(feed);
    assert_eq!(finish(&pool, &task, &mut group), Ok(()));
}

#[test]
fn the_room_of_a_child_is_given_away_when_it_is_dropped() {
    let (pool, task, meter) = (Pool::new(), MockTask::new(), Meter::new());
    let mut group = pool.group().with_limit(3);
    for n in 0..20 {
        let meter = meter.clone();
        group.queue(async move {
            let _inside = meter.enter();
            for _ in 0..n % 4 {
                yield_now().await;
            }
            Ok(n)
        });
    }
    assert_eq!(finish(&pool, &task, &mut group), Ok(()));
    assert_eq!((meter.peak(), meter.now()), (3, 0));
}

#[test]
fn a_group_is_woken_once_for_all_children_that_end_between_two_polls() {
    let (pool, task, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = pool.group();
    for n in 0..100 {
        group.queue(waits(&gate, n));
    }
    assert!(task.poll(&mut group).is_pending());
    pool.poll_all();
    assert_eq!(task.wakes(), 0, "the executor polls them, not the group");
    for n in 0..99 {
        gate.open(n);
    }
    pool.poll_all();
    assert_eq!(task.wakes(), 1);
    assert!(task.poll(&mut group).is_pending());
    gate.open(99);
    pool.poll_all();
    assert_eq!(task.wakes(), 2);
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
}

// === results ===

#[test]
fn the_first_error_comes_out_when_the_others_have_ended() {
    let (pool, task, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = pool.group();
    let token = group.token().clone();
    let cleaned = Arc::new(AtomicBool::new(false));
    group.queue(fails(&gate, 0, "the first"));
    {
        let (token, cleaned) = (token.clone(), Arc::clone(&cleaned));
        group.queue(async move {
            assert_eq!(token.cancelled().await, Reason::Failed);
            yield_now().await;
            cleaned.store(true, Ordering::SeqCst);
            Err("the second")
        });
    }
    assert!(task.run(&mut group).is_pending());
    pool.poll_all();
    gate.open(0);
    pool.poll_all();
    assert!(!token.is_cancelled(), "the group has not seen the error");
    assert!(task.run(&mut group).is_pending());
    assert!(token.is_cancelled());
    assert_eq!(finish(&pool, &task, &mut group), Err("the first"));
    assert!(cleaned.load(Ordering::SeqCst));
    assert_eq!(numbers(&group), [0, 0, 0, 2, 0]);
}

#[test]
fn a_stop_drops_what_is_queued_without_spawning_it() {
    let (pool, task, probe) = (Pool::new(), MockTask::new(), Probe::new());
    let mut group = pool.group().with_limit(1);
    group.queue(async { Err("broken") });
    for _ in 0..3 {
        group.queue(probe.watch(pending()));
    }
    assert_eq!(finish(&pool, &task, &mut group), Err("broken"));
    assert_eq!((pool.spawned(), probe.polls(), probe.drops()), (1, 0, 3));
    assert_eq!(numbers(&group), [0, 0, 0, 1, 3]);
}

#[test]
fn a_child_is_dropped_before_the_policy_sees_its_result() {
    let (pool, task, log) = (Pool::new(), MockTask::new(), Log::new());
    let mut group = pool.group();
    let left = OnDrop({
        let log = log.clone();
        move || log.add("dropped")
    });
    // Held by the future itself, not by its body, which drops everything before it returns.
    let mut left = Some(left);
    group.queue(poll_fn(move |_| {
        let _ = &mut left;
        Poll::Ready(Ok(1))
    }));
    assert!(task.poll(&mut group).is_pending());
    pool.poll(0);
    log.add("polled");
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["dropped", "polled"]);
}

#[test]
fn a_scope_runs_beside_spawned_children() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let scope = pool.group().with_limit(2).scope(async |handle| {
        let mut added = 0;
        while added < 5 && handle.go(ready(Ok(added))).await.is_ok() {
            added += 1;
        }
        added
    });
    assert_eq!(finish(&pool, &task, &mut Box::pin(scope)), (5, Ok(())));
}

#[test]
fn a_parent_stops_the_group() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let parent = CancelToken::new();
    let mut group = pool.group().with_limit(2).with_parent(&parent);
    assert_eq!(group.limit(), Some(2));
    let token = group.token().clone();
    group.queue(async move {
        token.cancelled().await;
        Ok(0)
    });
    let handle = group.handle();
    let waits = handle.clone();
    group.queue(pending());
    let mut go = waits.go(ready(Ok(0)));
    let waiter = MockTask::new();
    assert!(waiter.poll(&mut go).is_pending());
    parent.cancel();
    assert_eq!(waiter.wakes(), 1);
    assert!(matches!(waiter.poll(&mut go), Poll::Ready(Err(_))));
    assert!(handle.is_stopped());
    assert!(task.run(&mut group).is_pending());
    pool.poll_all();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(numbers(&group), [0, 1, 1, 0, 0]);
}

#[test]
fn with_parent_comes_before_a_token_a_handle_or_a_child() {
    let (pool, parent) = (Pool::new(), CancelToken::new());
    let group = pool.group();
    let _handle = group.handle();
    assert!(panics(|| drop(group.with_parent(&parent))));
    let group = pool.group();
    let _token = group.token().clone();
    assert!(panics(|| drop(group.with_parent(&parent))));
    let mut group = pool.group();
    group.queue(pending());
    assert!(panics(|| drop(group.with_parent(&parent))));
}

fn panics(call: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err()
}

#[test]
fn children_that_have_ended_and_were_not_told_yet_run_no_longer() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = pool.group();
    (0..5_000).for_each(|n| group.queue(ready(Ok(n))));
    pool.poll_all();
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((group.stats().running, group.stats().ok), (0, 5_000));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(group.stats().ok, 5_000);
}

#[test]
fn a_spawned_child_of_a_stream_runs_until_its_result_is_fetched() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut results = pool.group().results();
    (0..3).for_each(|n| results.queue(ready(Ok(n))));
    pool.poll_all();
    for n in 0..3 {
        assert_eq!((results.stats().running, results.stats().ok), (3 - n, n));
        assert_eq!(task.poll(&mut results.next()), Poll::Ready(Some(Ok(n))));
    }
}

#[test]
fn a_stream_of_a_group_whose_children_have_ended_counts_them_as_running() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = pool.group().with_limit(2);
    let handle = group.handle();
    (0..2).for_each(|n| group.queue(ready(Ok(n))));
    pool.poll_all();
    assert_eq!((handle.stats().running, handle.stats().ok), (0, 2));
    let mut results = group.results();
    assert_eq!((handle.stats().running, handle.stats().ok), (2, 0));
    assert!(handle.try_go(ready(Ok(2))).is_err());
    for n in 0..2 {
        assert_eq!(task.poll(&mut results.next()), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(task.poll(&mut results.next()), Poll::Ready(None));
}

#[test]
fn after_an_error_was_told_children_that_end_free_their_room_at_once_again() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = pool.group().all_errors().with_limit(1);
    let handle = group.handle();
    let add = |result| {
        assert!(handle.try_go(ready(result)).is_ok());
        assert!(handle.try_go(ready(Ok(9))).is_err());
        pool.poll_all();
    };
    add(Err("broken"));
    assert!(handle.try_go(ready(Ok(9))).is_err(), "an error may stop the group");
    let hold = handle.hold();
    assert!(task.run(&mut group).is_pending());
    for _ in 0..3 {
        add(Ok(1));
    }
    drop(hold);
    assert!(task.run(&mut group).is_ready());
}

// === dropping ===

#[test]
fn a_dropped_groups_children_are_woken_and_dropped_without_another_poll() {
    let (pool, task, probe) = (Pool::new(), MockTask::new(), Probe::new());
    let mut group = pool.group().with_limit(2);
    let token = group.token().clone();
    for _ in 0..3 {
        group.queue(probe.watch(pending()));
    }
    assert!(task.poll(&mut group).is_pending());
    pool.poll(0);
    assert_eq!((probe.polls(), pool.wakes(0)), (1, 0));
    drop(group);
    assert_eq!(token.reason(), Some(Reason::Dropped));
    assert_eq!(probe.drops(), 1, "the child that was never spawned");
    assert_eq!(pool.wakes(0), 1);
    pool.poll_all();
    assert_eq!((probe.polls(), probe.drops(), pool.left()), (1, 3, 0));
}

#[test]
fn a_child_that_drops_its_own_group_is_dropped_at_the_end_of_that_poll() {
    let (pool, probe) = (Pool::new(), Probe::new());
    let group = Arc::new(Mutex::new(Some(pool.group())));
    let mine = Arc::clone(&group);
    let child = probe.watch(poll_fn(move |_| {
        drop(mine.lock().unwrap().take());
        Poll::Pending
    }));
    group.lock().unwrap().as_mut().unwrap().queue(child);
    pool.poll(0);
    assert_eq!((probe.polls(), probe.drops(), pool.left()), (1, 1, 0));
}

#[test]
fn a_result_returned_to_a_dropped_group_is_dropped_with_it() {
    let (pool, task, drops) = (Pool::new(), MockTask::new(), DropCounter::default());
    for poll_it in [true, false] {
        let mut group: Group<Spawned<Value, &str>> = Group::on(pool.spawn());
        group.queue(ready(Ok(drops.value("kept"))));
        assert!(task.poll(&mut group).is_pending());
        if poll_it {
            pool.poll_all();
        }
        let before = drops.get();
        drop(group);
        assert_eq!(drops.get(), before + usize::from(poll_it));
        pool.poll_all();
        assert_eq!(drops.get(), before + 1);
    }
}

#[test]
fn a_value_that_panics_when_a_dropped_group_has_no_use_for_it_does_not_reach_the_executor() {
    let pool = Pool::new();
    let group: Group<Spawned<Value, &str>> = Group::on(pool.spawn());
    let group = Arc::new(Mutex::new(Some(group)));
    let mine = Arc::clone(&group);
    let child = async move {
        drop(mine.lock().unwrap().take());
        Ok(Value::bomb("a value that no group takes"))
    };
    group.lock().unwrap().as_mut().unwrap().queue(child);
    pool.poll(0);
    assert_eq!(pool.left(), 0);
}

#[test]
fn a_handle_that_outlives_the_group_spawns_nothing() {
    let pool = Pool::new();
    let group = pool.group();
    let handle = group.handle();
    drop(group);
    handle.queue(ready(Ok(1)));
    assert!(handle.try_go(ready(Ok(1))).is_err());
    assert_eq!(pool.spawned(), 0);
}

// === panics of children ===

#[test]
fn a_panic_comes_out_with_its_own_payload_when_the_siblings_have_ended() {
    let (pool, task, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = pool.group();
    let token = group.token().clone();
    group.queue(async { panic_any("my own") });
    group.queue(waits(&gate, 0));
    group.queue(async { Err("an error counts less") });
    assert!(task.run(&mut group).is_pending());
    pool.poll_all();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(token.reason(), Some(Reason::Panicked));
    assert_eq!(numbers(&group), [0, 1, 0, 1, 1]);
    gate.open(0);
    pool.poll_all();
    assert_eq!(panic_message(|| task.run(&mut group)), "my own");
    assert_eq!(numbers(&group), [0, 0, 1, 1, 1]);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(pool.left(), 0, "the executor saw no panic");
}

#[test]
fn a_panic_of_a_destructor_comes_out_too() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = pool.group();
    let mut bomb = Some(Bomb("a destructor's"));
    group.queue(poll_fn(move |_| {
        let _ = &mut bomb;
        Poll::Ready(Ok(1))
    }));
    assert_eq!(panic_message(|| finish(&pool, &task, &mut group)), "a destructor's");

    // After a panic of the poll, that panic counts.
    let mut group = pool.group();
    let mut bomb = Some(Bomb("the second"));
    group.queue(poll_fn(move |_| {
        let _ = &mut bomb;
        panic_any("the first")
    }));
    assert_eq!(panic_message(|| finish(&pool, &task, &mut group)), "the first");

    // The value's panic is thrown when the policy drops it.
    let mut group: Group<Spawned<Value, &str>> = Group::on(pool.spawn());
    group.queue(async { Ok(Value::bomb("a value's")) });
    assert_eq!(panic_message(|| finish(&pool, &task, &mut group)), "a value's");
}

#[test]
fn a_panic_of_a_queued_childs_destructor_comes_out() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = pool.group().with_limit(1);
    let gate = Gate::new();
    group.queue(waits(&gate, 0));
    let bomb = Bomb("never started");
    group.queue(async move {
        let _bomb = bomb;
        Ok(0)
    });
    group.token().cancel();
    gate.open(0);
    assert_eq!(panic_message(|| finish(&pool, &task, &mut group)), "never started");

    let mut group = pool.group().with_limit(1);
    group.queue(pending());
    let bomb = Bomb("dropped with the group");
    group.queue(async move {
        let _bomb = bomb;
        Ok(0)
    });
    assert_eq!(panic_message(|| drop(group)), "dropped with the group");
}

#[test]
fn panics_after_the_group_is_dropped_do_not_reach_the_executor() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group: Group<Spawned<Value, &str>> = Group::on(pool.spawn());
    let bomb = Bomb("a future's");
    group.queue(async move {
        let _bomb = bomb;
        pending().await
    });
    group.queue(async { panic_any("not taken") });
    assert!(task.poll(&mut group).is_pending());
    pool.poll(1);
    drop(group);
    pool.poll_all();
    assert_eq!(pool.left(), 0);

    let mut group: Group<Spawned<Value, &str>> = Group::on(pool.spawn());
    group.queue(async { Ok(Value::bomb("a value that was not taken")) });
    let before = pool.spawned() - 1;
    pool.poll(before);
    assert_eq!(panic_message(|| drop(group)), "a value that was not taken");
}

// === panics of the executor ===

#[test]
fn an_executor_that_drops_an_unfinished_child_counts_as_its_panic() {
    for polled in [true, false] {
        let (pool, task, probe) = (Pool::new(), MockTask::new(), Probe::new());
        let mut group = pool.group().with_limit(2);
        for _ in 0..3 {
            group.queue(probe.watch(pending()));
        }
        if polled {
            assert!(task.poll(&mut group).is_pending());
            pool.poll_all();
        }
        pool.shut_down();
        let message = panic_message(|| finish(&pool, &task, &mut group));
        assert!(message.contains("executor dropped a child"), "{message}");
        assert_eq!(probe.drops(), 3);
        assert_eq!(numbers(&group), [0, 0, 0, 0, 3]);
    }
}

/// Returns a group that spawns on the pool, but panics at the calls that `when` names.
fn moody(pool: &Pool, when: impl Fn(usize) -> bool + Send + Sync + 'static, keeps: bool) -> Spawns {
    let (spawn, calls) = (pool.spawn(), AtomicUsize::new(0));
    Group::on(move |work| {
        if !when(calls.fetch_add(1, Ordering::SeqCst)) {
            spawn(work);
            return;
        }
        if keeps {
            spawn(work);
        }
        panic_any("no task for you");
    })
}

#[test]
fn a_spawner_that_panics_is_caught_and_comes_out_of_the_group() {
    for keeps in [true, false] {
        for polls in [true, false] {
            let (pool, task, gate, probe) =
                (Pool::new(), MockTask::new(), Gate::new(), Probe::new());
            let mut group = moody(&pool, |call| call == 1, keeps);
            group.queue(probe.watch(waits(&gate, 0)));
            group.queue(probe.watch(pending()));
            group.queue(probe.watch(waits(&gate, 2)));
            assert_eq!(numbers(&group), [0, 2, 0, 0, 1], "no lock is held");
            if polls {
                pool.poll_all();
            }
            assert!(task.run(&mut group).is_pending());
            assert_eq!(group.token().reason(), Some(Reason::Panicked));
            assert_eq!(numbers(&group), [0, 2, 0, 0, 1]);
            pool.poll_all();
            assert_eq!(probe.drops(), 1);
            gate.open(0);
            gate.open(2);
            assert_eq!(panic_message(|| finish(&pool, &task, &mut group)), "no task for you");
            assert_eq!(numbers(&group), [0, 0, 2, 0, 1]);
            assert_eq!((probe.drops(), pool.left()), (3, 0));
        }
    }
}

#[test]
fn a_spawner_that_panics_when_the_group_gives_room_is_caught_there() {
    let (pool, task, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = moody(&pool, |call| call >= 2, false).with_limit(2);
    for n in 0..5 {
        group.queue(waits(&gate, n));
    }
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    pool.poll_all();
    assert!(task.run(&mut group).is_pending());
    // The third spawn's panic has stopped the group before the fourth.
    assert_eq!(numbers(&group), [0, 1, 1, 0, 3]);
    gate.open(1);
    assert_eq!(panic_message(|| finish(&pool, &task, &mut group)), "no task for you");
}

#[test]
fn a_spawner_that_panics_in_a_handles_call_on_another_thread_does_not_panic_there() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = moody(&pool, |_| true, false);
    let handle = group.handle();
    assert!(task.poll(&mut group).is_ready(), "empty");
    let mut group = moody(&pool, |_| true, false);
    group.queue(ready(Ok(1)));
    drop(handle);
    let handle = group.handle();
    let thread = std::thread::spawn(move || {
        handle.queue(ready(Ok(1)));
        let admitted = handle.try_go(ready(Ok(1))).is_ok();
        let go = futures::executor::block_on(handle.go(ready(Ok(1)))).is_ok();
        admitted && go
    });
    assert!(thread.join().unwrap());
    assert_eq!(panic_message(|| finish(&pool, &task, &mut group)), "no task for you");
    assert_eq!(numbers(&group), [0, 0, 0, 0, 4]);
}

#[test]
fn a_spawner_that_panics_after_it_ran_the_child_wins_over_the_childs_result() {
    let task = MockTask::new();
    let mut group: Spawns = Group::on(|work| {
        futures::executor::block_on(work);
        panic_any("too late");
    });
    group.queue(async { Ok(1) });
    assert_eq!(panic_message(|| task.run(&mut group)), "too late");
    assert_eq!(numbers(&group), [0, 0, 0, 0, 1]);
}

#[test]
fn a_child_still_in_its_spawners_call_has_not_ended() {
    let meet = Arc::new(std::sync::Barrier::new(2));
    let there = Arc::clone(&meet);
    let mut group: Spawns = Group::on(move |work| {
        futures::executor::block_on(work);
        there.wait();
        there.wait();
        panic_any("in the end");
    });
    let (task, handle) = (MockTask::new(), group.handle());
    let thread = std::thread::spawn(move || handle.queue(ready(Ok(1))));
    meet.wait();
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(numbers(&group), [0, 1, 0, 0, 0]);
    meet.wait();
    thread.join().unwrap();
    assert_eq!(panic_message(|| task.run(&mut group)), "in the end");
}

#[test]
fn work_that_runs_on_after_its_spawner_panicked_changes_nothing() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = moody(&pool, |_| true, true);
    group.queue(ready(Ok(1)));
    pool.poll_all();
    assert_eq!(panic_message(|| task.run(&mut group)), "no task for you");
    assert_eq!(numbers(&group), [0, 0, 0, 0, 1]);
}

#[test]
fn a_spawner_that_drops_the_group_gets_no_more_children() {
    let (probe, calls) = (Probe::new(), Arc::new(AtomicUsize::new(0)));
    let group: Arc<Mutex<Option<Spawns>>> = Arc::default();
    let (mine, called) = (Arc::clone(&group), Arc::clone(&calls));
    let mut made: Spawns = Group::on(move |_| {
        called.fetch_add(1, Ordering::SeqCst);
        let dropped = mine.lock().unwrap().take();
        drop(dropped);
    });
    made.set_limit(Some(0));
    for _ in 0..3 {
        made.queue(probe.watch(pending()));
    }
    let handle = made.handle();
    *group.lock().unwrap() = Some(made);
    handle.set_limit(None);
    assert_eq!((calls.load(Ordering::SeqCst), probe.polls(), probe.drops()), (1, 0, 3));
}

#[test]
fn a_spawners_panic_is_dropped_with_its_group() {
    let pool = Pool::new();
    let mut group = moody(&pool, |_| true, true);
    group.queue(pending());
    drop(group);
    pool.poll_all();
    assert_eq!(pool.left(), 0);
}

// === odd executors ===

#[test]
fn a_spawner_that_runs_the_child_in_the_call_does_not_deadlock() {
    let task = MockTask::new();
    let mut group = Group::on(futures::executor::block_on).with_limit(2).collect();
    let handle = group.handle();
    for n in 0..4 {
        let handle = handle.clone();
        group.queue(async move {
            assert!(handle.stats().running > 0);
            if n == 3 {
                handle.queue(async { Ok(10) });
            }
            Ok::<usize, &str>(n)
        });
    }
    assert_eq!(task.finish(group), Ok(vec![0, 1, 2, 3, 10]));

    // A child waits for room in its own group, and no other child can make some.
    let mut group: Spawns = Group::on(futures::executor::block_on).with_limit(1);
    let handle = group.handle();
    group.queue(async move {
        assert!(handle.go(async { Ok(2) }).await.is_ok());
        Ok(1)
    });
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(numbers(&group), [0, 0, 2, 0, 0]);
}

#[test]
fn wake_ups_come_before_a_spawner_blocks() {
    // The spawner waits for the waiter that was given room by the same call.
    let woken = Arc::new((Mutex::new(false), std::sync::Condvar::new()));
    let blocks = Arc::clone(&woken);
    let calls = AtomicUsize::new(0);
    let mut group: Spawns = Group::on(move |work| {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            let guard = blocks.0.lock().unwrap();
            let timeout = std::time::Duration::from_secs(20);
            let woken = blocks.1.wait_timeout_while(guard, timeout, |woken| !*woken).unwrap();
            assert!(!woken.1.timed_out(), "the waiter was not woken");
        }
        futures::executor::block_on(work);
    })
    .with_limit(1);
    let handle = group.handle();
    group.set_limit(Some(0));
    group.queue(ready(Ok(0)));
    let mut go = handle.go(ready(Ok(1)));
    let waker = waker_fn(move || {
        *woken.0.lock().unwrap() = true;
        woken.1.notify_all();
    });
    assert!(Pin::new(&mut go).poll(&mut Context::from_waker(&waker)).is_pending());
    group.set_limit(Some(3));
    assert!(MockTask::new().poll(&mut go).is_ready());
    assert_eq!(MockTask::new().run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn work_that_is_polled_after_its_end_or_forgotten_does_no_harm() {
    let task = MockTask::new();
    let kept: Arc<Mutex<Vec<Work>>> = Arc::default();
    let mut group: Spawns = {
        let kept = Arc::clone(&kept);
        Group::on(move |work| kept.lock().unwrap().push(work))
    };
    group.queue(ready(Ok(1)));
    let mut work = kept.lock().unwrap().pop().unwrap();
    assert!(task.poll(&mut work).is_ready());
    assert!(task.poll(&mut work).is_ready());
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert!(task.poll(&mut work).is_ready());
}

// === nested ===

#[test]
fn a_spawned_child_that_waits_for_room_in_its_own_group_never_deadlocks() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = pool.group().with_limit(2);
    let handle = group.handle();
    for n in 0..4 {
        let handle = handle.clone();
        group.queue(async move {
            for m in 0..3 {
                let answer = handle.go(async move { Ok(m) }).await;
                assert!(answer.is_ok());
            }
            Ok(n)
        });
    }
    assert_eq!(finish(&pool, &task, &mut group), Ok(()));
    assert_eq!(numbers(&group), [0, 0, 16, 0, 0]);
}

#[test]
fn a_child_that_ran_before_there_was_a_handle_is_known_to_it() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let (send, receive) = futures::channel::oneshot::channel::<Handle<Spawned<_, _>>>();
    let mut group = pool.group().with_limit(1);
    group.queue(async move {
        let handle = receive.await.expect("the handle is sent");
        assert!(handle.go(async { Ok(2) }).await.is_ok());
        Ok(1)
    });
    pool.poll_all();
    assert!(send.send(group.handle()).is_ok());
    assert_eq!(finish(&pool, &task, &mut group), Ok(()));
    assert_eq!(numbers(&group), [0, 0, 2, 0, 0]);
}

#[test]
fn children_of_children_on_other_threads_never_deadlock() {
    fn tree(handle: errgroup::Handle<Spawned<usize, &'static str>>, depth: usize) -> Job {
        job(async move {
            if depth > 0 {
                for _ in 0..2 {
                    let child = tree(handle.clone(), depth - 1);
                    assert!(handle.go(child).await.is_ok());
                }
            }
            Ok(depth)
        })
    }
    for limit in [1, 2, 5] {
        let runtime = runtime(2);
        let group: Spawns = Group::on(tokio_spawn).with_limit(limit);
        let handle = group.handle();
        let output = runtime.block_on(async move {
            handle.queue(tree(handle.clone(), 7));
            group.await?;
            Ok::<_, &str>(handle.stats().ok)
        });
        assert_eq!(output, Ok(255));
    }
}

// === executors ===

fn runtime(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).build().unwrap()
}

fn tokio_spawn(work: Work) {
    tokio::spawn(work);
}

/// Runs a few hundred children, some of which yield, at most three at a time.
async fn crowd(spawn: impl Fn(Work) + Send + Sync + 'static) {
    let meter = Meter::new();
    let mut group = Group::on(spawn).with_limit(3).collect();
    for n in 0..300 {
        let meter = meter.clone();
        let child = async move {
            let _inside = meter.enter();
            for _ in 0..n % 3 {
                yield_now().await;
            }
            Ok::<usize, &str>(n)
        };
        if n % 5 == 0 {
            group.queue(child);
        } else {
            assert!(group.go(child).await.is_ok());
        }
    }
    assert_eq!(group.await, Ok((0..300).collect()));
    assert!(meter.peak() <= 3, "{}", meter.peak());
    assert_eq!(meter.now(), 0);
}

#[test]
fn on_tokio() {
    runtime(2).block_on(crowd(tokio_spawn));
    let runtime = runtime(2);
    runtime.block_on(async { tokio::spawn(crowd(tokio_spawn)).await.unwrap() });
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    one.block_on(crowd(tokio_spawn));
}

#[test]
fn on_smol() {
    smol::block_on(crowd(|work| smol::spawn(work).detach()));
}

#[test]
fn on_the_thread_pool_of_futures() {
    use futures::task::Spawn;
    let pool = futures::executor::ThreadPool::builder().pool_size(2).create().unwrap();
    futures::executor::block_on(crowd(move |work| {
        pool.spawn_obj(work.into()).expect("the pool runs");
    }));
}

#[test]
fn on_plain_threads() {
    let (sender, receiver) = std::sync::mpsc::channel::<Work>();
    let receiver = Arc::new(Mutex::new(receiver));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let receiver = Arc::clone(&receiver);
            std::thread::spawn(move || {
                loop {
                    let work = receiver.lock().unwrap().recv();
                    let Ok(work) = work else { break };
                    futures::executor::block_on(work);
                }
            })
        })
        .collect();
    futures::executor::block_on(crowd(move |work| sender.send(work).expect("they listen")));
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_shutdown_of_tokio_is_noticed() {
    let runtime = runtime(1);
    let spawner = runtime.handle().clone();
    let mut group: Spawns = Group::on(move |work| drop(spawner.spawn(work)));
    group.queue(pending());
    drop(runtime);
    let message = panic_message(|| futures::executor::block_on(&mut group));
    assert!(message.contains("executor dropped"), "{message}");
    // A future spawned on it afterwards is dropped in the call.
    assert_eq!(numbers(&group), [0, 0, 0, 0, 1]);
}

#[test]
fn a_group_that_is_dropped_while_its_children_run_on_threads_leaves_none() {
    let runtime = runtime(2);
    let drops = DropCounter::default();
    runtime.block_on(async {
        for round in 0..200 {
            let mut group: Spawns = Group::on(tokio_spawn).with_limit(4);
            for n in 0..8 {
                let guard = drops.guard();
                group.queue(async move {
                    let _guard = guard;
                    for _ in 0..n {
                        yield_now().await;
                    }
                    if n % 3 == 0 { pending().await } else { Ok(n) }
                });
            }
            let mut group = pin!(group);
            for _ in 0..round % 4 {
                let _ = futures::poll!(&mut group);
                yield_now().await;
            }
        }
    });
    drop(runtime);
    assert_eq!(drops.get(), 200 * 8);
}

#[test]
fn a_stop_is_seen_by_children_on_other_threads() {
    runtime(2).block_on(async {
        let mut group = Group::on(tokio_spawn).settle();
        for n in 0..50_usize {
            let token = group.token().clone();
            group.queue(async move {
                if n == 49 {
                    return Err("it did not wait");
                }
                assert_eq!(token.cancelled().await, Reason::Cancelled);
                Ok(n)
            });
        }
        let token = group.token().clone();
        tokio::spawn(async move { token.cancel() });
        let results = group.await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 49);
    });
}

#[test]
fn streams_feed_spawned_children_from_tasks() {
    runtime(2).block_on(async {
        let group = Group::on(tokio_spawn).with_limit(4);
        let feeds = (0..4).map(|_| {
            let children = stream::iter((0..100_usize).map(|n| async move {
                yield_now().await;
                if n < 1000 { Ok(n) } else { Err("never") }
            }));
            tokio::spawn(group.handle().feed(children))
        });
        let feeds: Vec<_> = feeds.collect();
        let (counts, output) = group.scope(async |_| futures::future::join_all(feeds).await).await;
        assert_eq!(output, Ok(()));
        assert_eq!(counts.into_iter().map(|count| count.unwrap()).sum::<usize>(), 400);
    });
}

#[test]
fn a_dropped_group_is_closed_when_its_spawned_children_are_dropped_too() {
    let (pool, task) = (Pool::new(), MockTask::new());
    let mut group = pool.group();
    group.queue(std::future::pending());
    group.queue(std::future::pending());
    let handle = group.handle();
    let mut closed = handle.closed();
    assert!(task.run(&mut group).is_pending());
    drop(group);
    assert!(handle.is_stopped());
    assert!(task.poll(&mut closed).is_pending() && !handle.is_closed());
    pool.poll(0);
    assert!(task.poll(&mut closed).is_pending() && !handle.is_closed());
    pool.poll(1);
    assert!(handle.is_closed());
    assert!(task.run(&mut closed).is_ready());
}

// === the end of a grace ===

#[test]
fn a_panic_of_the_spawner_or_of_a_finished_child_comes_out_even_if_the_grace_is_over() {
    let (task, pool) = (MockTask::new(), Pool::new());
    let mut group = moody(&pool, |_| true, false).with_grace(|| ready(()));
    group.queue(job(ready(Ok(0))));
    group.token().cancel();
    assert_eq!(panic_message(|| task.run(&mut group)), "no task for you");
    let mut group = pool.group().with_grace(|| ready(()));
    group.queue(job(poll_fn(|_| panic_any("at work"))));
    group.queue(job(pending()));
    pool.poll_all();
    group.token().cancel();
    assert_eq!(panic_message(|| task.run(&mut group)), "at work");
    assert_eq!(numbers(&group), [0, 0, 0, 0, 2]);
}

#[test]
fn the_result_of_a_finished_child_counts_even_if_the_grace_is_over() {
    let (task, pool) = (MockTask::new(), Pool::new());
    let mut group = pool.group().with_grace(|| ready(()));
    group.queue(job(ready(Err("failed"))));
    group.queue(job(pending()));
    group.queue(job(ready(Ok(2))));
    pool.poll_all();
    group.token().cancel();
    // It had failed before the group was stopped; only one child still runs.
    assert_eq!(task.run(&mut group), Poll::Ready(Err("failed")));
    assert_eq!(numbers(&group), [0, 0, 1, 1, 1]);
}

#[test]
fn an_observer_is_told_of_the_children_that_a_grace_cuts_off() {
    let (task, pool, log) = (MockTask::new(), Pool::new(), Log::new());
    let told = log.clone();
    let observer = move |event: &errgroup::Event| told.add(event.to_string());
    let mut group = pool.group().with_grace(|| ready(())).with_observer(observer);
    group.queue(job(pending()));
    group.queue(job(ready(Ok(1))));
    pool.poll_all();
    group.token().cancel();
    assert!(task.run(&mut group).is_ready());
    assert_eq!(
        log.take(),
        [
            "#0 started",
            "#1 started",
            "stopped: cancelled",
            "#0 finished: Dropped",
            "#1 finished: Ok"
        ]
    );
}

#[test]
fn a_child_that_ends_while_a_stop_drops_the_one_before_it_is_counted_once() {
    fn counts_each_once(until_stop: bool, is_shared: bool, with: fn(Spawns) -> Spawns) {
        let (pool, task, gate) = (Arc::new(Pool::new()), MockTask::new(), Gate::new());
        let (spawn, of) = (pool.spawn(), Arc::clone(&pool));
        let group: Spawns = Group::on(move |work| {
            spawn(work);
            PollsAll(Some(Arc::clone(&of)))
        });
        let mut group = with(group);
        let handle = is_shared.then(|| group.handle());
        for n in 0..3 {
            let child = task_of(waits(&gate, n));
            group.queue(if until_stop { child.until_stop() } else { child });
        }
        pool.poll_all();
        assert!(task.run(&mut group).is_pending());
        group.token().cancel();
        // They can end, and are polled while the first is dropped.
        (0..3).for_each(|n| gate.open(n));
        assert!(task.run(&mut group).is_ready());
        for _ in 0..2 {
            let stats = handle.as_ref().map_or_else(|| group.stats(), Handle::stats);
            assert_eq!((stats.running, stats.ok + stats.dropped), (0, 3), "{stats:?}");
        }
    }
    for is_shared in [false, true] {
        counts_each_once(false, is_shared, |group| group.with_grace(|| ready(())));
        counts_each_once(false, is_shared, Group::drop_on_stop);
        counts_each_once(true, is_shared, |group| group);
    }
}

/// Polls all futures of a pool when it is dropped with the first child.
struct PollsAll(Option<Arc<Pool>>);

impl Drop for PollsAll {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            pool.poll_all();
        }
    }
}

#[test]
fn a_queue_of_a_full_group_does_not_poll_its_deadline() {
    let (pool, gate, task) = (Pool::new(), Gate::new(), MockTask::new());
    let mut group = pool.group().with_limit(1).with_deadline(gate.wait(0));
    group.queue(pending());
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    group.queue(pending());
    assert!(!group.token().is_cancelled(), "only a poll ends the group");
    assert!(task.poll(&mut group).is_pending());
    assert!(group.token().is_cancelled());
}

#[cfg(feature = "std")]
#[test]
fn a_tasks_waker_whose_destructor_panics_leaves_the_next_one_to_be_woken() {
    /// A waker that does nothing until it is dropped.
    struct Bad {
        _bomb: Bomb,
    }
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {}
    }

    for joinable in [false, true] {
        let (work, drops, task) =
            (Arc::new(Mutex::new(Vec::new())), DropCounter::default(), MockTask::new());
        let spawned = Arc::clone(&work);
        let mut group: Group<Spawned<(), ()>> =
            Group::on(move |it: Work| spawned.lock().unwrap().push(it));
        let guard = drops.guard();
        let child = async move {
            let _guard = guard;
            pending().await
        };
        let handle = match joinable {
            false => {
                group.queue(child);
                None
            }
            true => {
                let (child, handle) = task_of(child).joinable();
                group.queue(child);
                Some(handle)
            }
        };
        let mut work = work.lock().unwrap().pop().unwrap();
        let bad = Waker::from(Arc::new(Bad { _bomb: Bomb("the waker's") }));
        assert!(poll_with(&mut work, &bad).is_pending());
        drop(bad);
        assert!(task.poll(&mut work).is_pending(), "it replaces the other one");
        assert_eq!(task.wakes(), 0);
        match &handle {
            Some(handle) => handle.abort(),
            None => drop(group),
        }
        assert_eq!(task.wakes(), 1);
        let _ = task.poll(&mut work);
        assert_eq!(drops.get(), 1);
    }
}

/// A loop of `go` that always finds room tells the policy what has ended, for however long. It lets
/// the task's other futures run now and then.
#[test]
fn a_long_loop_of_go_takes_in_what_has_ended_though_there_is_room() {
    for case in 0..8 {
        let (limit, has_handle, batch) = (8 + 8 * case, case & 2 == 2, 1 + case / 4 * 2);
        let (task, pool, drops) = (MockTask::new(), Pool::new(), DropCounter::default());
        let mut group = Group::on(pool.spawn()).with_error::<()>();
        if case & 1 == 1 {
            group = group.with_limit(limit);
        }
        let handle = has_handle.then(|| group.handle());
        let mut yields = 0;
        for n in 0..9_000 {
            let value = drops.guard();
            let mut go = group.go(async move { Ok(value) });
            while task.poll(&mut go).is_pending() {
                assert!(task.wakes() > yields, "it was not woken, at {n}, case {case}");
                yields = task.wakes();
            }
            if (n + 1) % batch == 0 {
                (n + 1 - batch..=n).for_each(|at| pool.poll(at));
            }
            let kept = n + 1 - drops.get();
            assert!(kept <= batch, "{kept} values are kept, at {n}, case {case}");
        }
        assert!((1..=6).contains(&yields), "{yields} yields, case {case}");
        drop(handle);
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    }
}

#[test]
fn a_child_is_not_admitted_after_one_that_has_failed_on_its_executor() {
    for limit in [None, Some(8)] {
        for way in ["go", "try_go", "ready"] {
            let (task, pool) = (MockTask::new(), Pool::new());
            let mut group = pool.group();
            if let Some(limit) = limit {
                group = group.with_limit(limit);
            }
            assert!(task.poll(&mut group.go(ready(Err("failed")))).is_ready());
            pool.poll(0);
            let is_refused = match way {
                "go" => task.poll(&mut group.go(ready(Ok(1)))).map(|it| it.is_err()),
                "try_go" => Poll::Ready(group.try_go(ready(Ok(1))).is_err()),
                _ => task.poll(&mut group.ready()).map(|it| it.is_err()),
            };
            assert_eq!(is_refused, Poll::Ready(true), "{way}, limit: {limit:?}");
            assert_eq!(pool.spawned(), 1, "{way}, limit: {limit:?}");
            assert_eq!(task.run(&mut group), Poll::Ready(Err("failed")));
        }
    }
}

#[test]
fn results_may_be_buffered_after_a_queue() {
    let pool = Pool::new();
    let mut results = pool.group().results();
    results.queue(ready(Ok(0)));
    pool.poll(0);
    results.queue(ready(Ok(1)));
    let _ = results.buffered(4);
}

#[test]
fn results_may_be_put_in_order_after_a_try_go() {
    let pool = Pool::new();
    let mut results = pool.group().results();
    assert!(results.try_go(ready(Ok(0))).is_ok());
    pool.poll(0);
    assert!(results.try_go(ready(Ok(1))).is_ok());
    let _ = results.in_order();
}

#[test]
fn no_child_is_admitted_after_a_failed_one_however_many_have_ended() {
    let full = |count| {
        let pool = Pool::new();
        let mut group = pool.group().with_policy(FirstErr::new());
        for n in 1..count {
            group.queue(async move { Ok(n) });
        }
        group.queue(ready(Err("failed")));
        pool.poll_all();
        (MockTask::new(), group)
    };
    for count in [4_096, 4_097, 9_000] {
        let (task, mut group) = full(count);
        assert!(task.finish(group.go(ready(Ok(1)))).is_err(), "go, {count}");
        let (task, mut group) = full(count);
        assert!(task.finish(group.ready()).is_err(), "ready, {count}");
        // These never wait, so a call takes in no more than a poll does.
        let calls = count.div_ceil(4_096);
        let (_, mut group) = full(count);
        let last = (0..calls).map(|_| group.try_go(ready(Ok(1)))).last();
        assert!(last.is_some_and(|it| it.is_err()), "try_go, {count}");
        let (_, mut group) = full(count);
        let last = (0..calls).map(|_| group.try_queue(ready(Ok(1)))).last();
        assert!(last.is_some_and(|it| it.is_err()), "try_queue, {count}");
    }
}

#[test]
fn a_loop_of_go_yields_though_no_child_ends() {
    let pool = Pool::new();
    let (task, mut group) = (MockTask::new(), pool.group());
    let mut adding = Box::pin(async {
        loop {
            assert!(group.go(ready(Ok(1))).await.is_ok());
            assert!(pool.spawned() <= 20_000, "it does not yield");
        }
    });
    for polls in 1..=3 {
        let _: Poll<()> = task.poll(&mut adding);
        assert_eq!((task.wakes(), pool.spawned()), (polls, polls * 4_096));
    }
}

#[test]
fn a_loop_of_queue_and_next_yields_though_each_child_ends_at_once() {
    let group: Spawns = Group::on(|work| _ = futures::FutureExt::now_or_never(work));
    let (task, read) = (MockTask::new(), AtomicUsize::new(0));
    let mut reading = Box::pin(async {
        let mut results = group.results();
        results.queue(ready(Ok(1)));
        assert_eq!(results.next().await, Some(Ok(1)));
        results.queue(ready(Ok(1)));
        loop {
            // This takes in the last one, so there is a result to fetch at any time.
            results.queue(ready(Ok(1)));
            assert_eq!(results.next().await, Some(Ok(1)));
            let count = read.fetch_add(1, Ordering::Relaxed);
            assert!(count <= 20_000, "it does not yield");
        }
    });
    for polls in 1..=3 {
        let before = task.wakes();
        let _: Poll<()> = task.poll(&mut reading);
        assert!(task.wakes() > before);
        assert!(read.load(Ordering::Relaxed) <= polls * 4_096);
    }
}
