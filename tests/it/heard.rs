//! An executor that wants its task to yield is heard, and so are the task's other futures.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::common::{Gate, Job, MockTask, Probe, job, waits, yield_now};
use errgroup::{Boxed, Child, Children, Group, Handle, for_each, map, task as task_of};
use futures::executor::block_on;
use futures::future::{BoxFuture, FutureExt, join};
use futures::stream::{self, StreamExt};

type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// The most polls of children in one poll of a group.
const MOST: usize = 4096;

/// At most so many children in a row yield in one poll.
const FEW: usize = 64;

/// Makes a child that wakes itself in each of its polls, for ever.
fn restless() -> Job {
    job(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
}

/// Makes a child that yields so many times, then finishes.
fn yields(times: usize) -> Job {
    job(async move {
        for _ in 0..times {
            yield_now().await;
        }
        Ok(times)
    })
}

// === tokio's budget ===

const CHILDREN: usize = 10_000;

/// Makes children that each take two locks of tokio, one after the other.
#[derive(Clone, Default)]
struct Locks {
    locks: Arc<(tokio::sync::RwLock<()>, tokio::sync::RwLock<()>)>,
    probe: Probe,
}

impl Locks {
    fn child(&self) -> Job {
        let locks = Arc::clone(&self.locks);
        self.probe.watch(async move {
            drop(locks.0.read().await);
            drop(locks.1.read().await);
            Ok(0)
        })
    }

    fn children(&self) -> impl Iterator<Item = Job> + use<> {
        let locks = self.clone();
        (0..CHILDREN).map(move |_| locks.child())
    }
}

/// Checks that children which take a lock twice are polled twice at most, on average.
#[track_caller]
fn polls_few<F: Future>(work: impl FnOnce(Locks) -> F) {
    let locks = Locks::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(work(locks.clone()));
    let polls = locks.probe.polls();
    assert!((CHILDREN..2 * CHILDREN).contains(&polls), "{polls} polls of {CHILDREN} children");
}

/// With whatever is left of the budget.
#[test]
fn the_child_of_a_go_has_begun_though_a_sibling_that_yielded_stops_the_group() {
    fn ends_after_a_yield(panics: bool) -> Job {
        job(async move {
            yield_now().await;
            if panics { panic_any("a sibling's") } else { Err("a sibling's") }
        })
    }
    for (siblings, with_handle, panics) in
        [(1, false, false), (2, false, false), (1, true, false), (1, false, true), (2, true, true)]
    {
        for before in MOST - 12..MOST + 2 {
            let (task, probe) = (MockTask::new(), Probe::new());
            let mut group = Jobs::new();
            let _handle = with_handle.then(|| group.handle());
            let go = task.finish(async {
                for _ in 0..before {
                    assert!(group.go(job(ready(Ok(0)))).await.is_ok());
                }
                for _ in 0..siblings {
                    assert!(group.go(ends_after_a_yield(panics)).await.is_ok());
                }
                group.go(probe.watch(job(pending()))).await
            });
            assert_eq!(go.is_ok(), probe.polls() == 1, "{siblings} {with_handle} {before}");
            let _ = catch_unwind(AssertUnwindSafe(|| drop(group)));
        }
    }
}

#[test]
fn queued_children_that_take_tokios_locks_are_polled_twice_at_most() {
    polls_few(async |locks| {
        let mut group = Group::unboxed();
        group.extend(locks.children());
        group.await.unwrap();
    });
    polls_few(async |locks| {
        let group = Group::unboxed();
        group.handle().extend(locks.children());
        group.await.unwrap();
    });
}

#[test]
fn spawned_with_its_group_a_child_that_takes_tokios_lock_is_polled_once_mostly() {
    // There tokio keeps the wakers of those that are to yield until the task's poll is over.
    for handle in [false, true] {
        let probe = Probe::new();
        let permits = Arc::new(tokio::sync::Semaphore::new(CHILDREN));
        let mut group = Jobs::new();
        let handle = handle.then(|| group.handle());
        for _ in 0..CHILDREN {
            let permits = Arc::clone(&permits);
            let child = probe.watch(async move {
                drop(permits.acquire().await);
                Ok(0)
            });
            match &handle {
                None => group.queue(child),
                Some(handle) => handle.queue(child),
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { tokio::spawn(group).await }).unwrap().unwrap();
        let polls = probe.polls();
        assert!((CHILDREN..CHILDREN * 5 / 4).contains(&polls), "{polls} polls");
    }
}

/// Each holds up the others, and one that takes it when tokio's budget is spent keeps it until its
/// next poll.
#[test]
fn children_that_take_tokios_mutex_are_polled_twice_at_most() {
    // One in 128 would be polled three times; the first 128 are polled once.
    const CHILDREN: usize = 30_000;

    async fn mutex(limit: Option<usize>, fed: bool, probe: Probe) {
        let mutex = Arc::new(tokio::sync::Mutex::new(0));
        let child = |n| {
            let mutex = Arc::clone(&mutex);
            probe.watch(async move {
                *mutex.lock().await += 1;
                Ok(n)
            })
        };
        let mut group = Jobs::new();
        group.set_limit(limit);
        match fed {
            true => assert_eq!(group.feed(stream::iter((0..CHILDREN).map(child))).await, CHILDREN),
            false => group.extend((0..CHILDREN).map(child)),
        }
        group.await.unwrap();
    }
    let runtime = |threads| match threads {
        false => tokio::runtime::Builder::new_current_thread().build().unwrap(),
        true => tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap(),
    };
    for limit in [None, Some(64), Some(5_000)] {
        for (fed, threads, spawned) in
            [(false, false, false), (true, false, true), (false, true, false), (true, true, true)]
        {
            let probe = Probe::new();
            let (runtime, work) = (runtime(threads), mutex(limit, fed, probe.clone()));
            match spawned {
                true => runtime.block_on(async { tokio::spawn(work).await }).unwrap(),
                false => runtime.block_on(work),
            }
            let polls = probe.polls();
            assert!(polls <= 2 * CHILDREN, "{polls} polls: {limit:?} {fed} {threads} {spawned}");
        }
    }
}

#[test]
fn children_of_go_that_take_tokios_locks_are_polled_twice_at_most() {
    for limit in [None, Some(1), Some(64), Some(5_000)] {
        for handle in [false, true] {
            polls_few(async |locks| {
                let mut group = Group::unboxed();
                group.set_limit(limit);
                let _handle = handle.then(|| group.handle());
                for child in locks.children() {
                    group.go(child).await.unwrap();
                }
                group.await.unwrap();
            });
        }
    }
}

#[test]
fn children_of_feed_that_take_tokios_locks_are_polled_twice_at_most() {
    for limit in [None, Some(64), Some(5_000)] {
        polls_few(async |locks| {
            let mut group = Group::new();
            group.set_limit(limit);
            assert_eq!(group.feed(stream::iter(locks.children())).await, CHILDREN);
            group.await.unwrap();
        });
    }
}

#[test]
fn children_of_a_scope_that_take_tokios_locks_are_polled_twice_at_most() {
    for limit in [None, Some(64), Some(5_000)] {
        polls_few(async |locks| {
            let group = Group::new();
            group.set_limit(limit);
            let body = async |handle: errgroup::Handle<Boxed<'_, usize, &'static str>>| {
                for child in locks.children() {
                    handle.go(child).await.unwrap();
                }
            };
            group.scope(body).await.1.unwrap();
        });
    }
}

#[test]
fn children_with_results_that_take_tokios_locks_are_polled_twice_at_most() {
    for in_order in [false, true] {
        polls_few(async |locks| {
            let results = Group::new().with_limit(5_000).results();
            let results = if in_order { results.in_order() } else { results };
            let results = results.feed(stream::iter(locks.children()));
            assert_eq!(results.count().await, CHILDREN);
        });
    }
}

#[test]
fn children_of_map_that_take_tokios_locks_are_polled_twice_at_most() {
    polls_few(async |locks| map(5_000, 0..CHILDREN, |_| locks.child()).await.unwrap());
    polls_few(async |locks| for_each(5_000, 0..CHILDREN, |_| locks.child()).await.unwrap());
}

// === children that only yield ===

#[test]
fn a_poll_ends_after_a_few_children_that_only_yield() {
    fn scenario<C>(group: Group<C>, handle: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group;
        let _handle = handle.then(|| group.handle());
        for _ in 0..5_000 {
            group.queue(probe.watch(restless()));
        }
        for poll in 1..=200 {
            let before = probe.polls();
            assert!(task.poll(&mut group).is_pending());
            assert!((1..=FEW).contains(&(probe.polls() - before)));
            assert_eq!(task.wakes(), poll);
        }
    }
    for handle in [false, true] {
        scenario(Group::new(), handle);
        scenario(Group::local(), handle);
        scenario(Group::unboxed(), handle);
    }
}

#[test]
fn children_that_were_not_reached_come_first() {
    // Before any child is polled again, all are, whatever the polls of the group between.
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut group = Jobs::new();
    for n in 0..300 {
        let order = Arc::clone(&order);
        group.queue(job(poll_fn(move |cx| {
            order.lock().unwrap().push(n);
            cx.waker().wake_by_ref();
            Poll::Pending
        })));
    }
    let task = MockTask::new();
    while order.lock().unwrap().len() < 3_000 {
        assert!(task.poll(&mut group).is_pending());
    }
    // No child is ahead of another by more than one poll.
    let (order, mut polls) = (order.lock().unwrap(), [0; 300]);
    for n in order.iter().copied() {
        polls[n] += 1;
        assert!(polls[n] - polls.iter().min().unwrap() <= 2);
    }
    assert!(polls.iter().max().unwrap() - polls.iter().min().unwrap() <= 1);
}

#[test]
fn work_that_makes_progress_is_not_cut_short() {
    // Each second child finishes at its first poll.
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    for n in 0..10_000 {
        group.queue(probe.watch(if n % 2 == 0 { restless() } else { job(ready(Ok(n))) }));
    }
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((probe.polls(), task.wakes()), (MOST, 1));
    // Children that wait are no reason either.
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    (0..MOST / 2).for_each(|_| group.queue(probe.watch(pending())));
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((probe.polls(), task.wakes()), (MOST / 2, 0));
}

#[test]
fn children_that_wait_after_many_that_were_done_are_all_polled_after_two_wake_ups() {
    // As if an executor wanted the task to yield, which then turns out to be wrong.
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    (0..128).for_each(|n| group.queue(probe.watch(ready(Ok(n)))));
    (0..1_000).for_each(|_| group.queue(probe.watch(pending())));
    assert!(task.run(&mut group).is_pending());
    assert!(task.wakes() <= 2, "{} wake-ups", task.wakes());
    assert!((1_128..1_128 + 100).contains(&probe.polls()));
    assert!(task.poll(&mut group).is_pending());
    assert!(task.wakes() <= 2);
    // A few of them are done again and again.
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    (0..128).for_each(|n| group.queue(probe.watch(ready(Ok(n)))));
    for n in 0..4_500 {
        group.queue(probe.watch(if n > 64 && n % 9 == 0 {
            job(ready(Ok(n)))
        } else {
            job(pending())
        }));
    }
    assert!(task.run(&mut group).is_pending());
    assert!(task.wakes() <= 4, "{} wake-ups", task.wakes());
    assert!(probe.polls() < 128 + 4_500 + 200);
}

#[test]
fn a_go_that_waits_beside_children_that_only_yield_has_its_turn() {
    for handle in [false, true] {
        let task = MockTask::new();
        let mut group = Jobs::new().with_limit(200);
        let _handle = handle.then(|| group.handle());
        (0..199).for_each(|_| group.queue(restless()));
        group.queue(yields(3));
        let added = Probe::new();
        let mut go = group.go(added.watch(ready(Ok(0))));
        let mut polls = 0;
        while task.poll(&mut go).is_pending() {
            polls += 1;
            assert_eq!(task.wakes(), polls);
            assert!(polls < 1_000, "it has no turn");
        }
        assert_eq!(added.polls(), 1, "it has begun");
    }
}

// === the task's other futures ===

/// Polls `work` beside a neighbour that is always ready to go on. Returns how often that was
/// polled.
fn polls_of_a_neighbour(work: impl Future) -> usize {
    let (polls, over) = (Cell::new(0), Cell::new(false));
    let neighbour = poll_fn(|cx| {
        if over.get() {
            return Poll::Ready(());
        }
        polls.set(polls.get() + 1);
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    let work = async {
        work.await;
        over.set(true);
    };
    block_on(join(neighbour, work));
    polls.get()
}

#[test]
fn a_loop_of_go_over_ready_children_lets_the_tasks_other_futures_run() {
    async fn adds<C>(mut group: Group<C>, handle: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let _handle = handle.then(|| group.handle());
        for n in 0..20_000 {
            group.go(job(ready(Ok(n)))).await.ok().unwrap();
        }
        group.await.unwrap();
    }
    for handle in [false, true] {
        for limit in [1, 8, usize::MAX] {
            let polls = polls_of_a_neighbour(adds(Group::new().with_limit(limit), handle));
            assert!((20_000 / MOST..20).contains(&polls), "{polls} polls, limit {limit}");
        }
        let polls = polls_of_a_neighbour(adds(Group::unboxed(), handle));
        assert!((20_000 / MOST..20).contains(&polls), "{polls} polls");
    }
}

#[test]
fn a_loop_that_finds_room_by_a_handle_lets_the_children_and_the_tasks_other_futures_run() {
    for reserves in [false, true] {
        let begun = AtomicUsize::new(0);
        let polls = polls_of_a_neighbour(Group::new().scope(async |handle| {
            let mut added = 0;
            while begun.load(Ordering::SeqCst) == 0 {
                let child = async {
                    begun.fetch_add(1, Ordering::SeqCst);
                    Ok::<(), ()>(())
                };
                match reserves {
                    false => assert!(handle.go(child).await.is_ok()),
                    true => assert!(handle.reserve().await.unwrap().go(child).is_ok()),
                }
                added += 1;
                assert!(added <= MOST + 1, "no child has begun");
            }
        }));
        assert!(polls > 0);
    }
}

#[test]
fn a_loop_of_ready_that_finds_room_lets_the_children_and_the_tasks_other_futures_run() {
    for handle in [false, true] {
        let begun = AtomicUsize::new(0);
        let polls = polls_of_a_neighbour(async {
            let mut group = Group::new();
            let _handle = handle.then(|| group.handle());
            let mut added = 0;
            while begun.load(Ordering::SeqCst) == 0 {
                assert!(group.ready().await.is_ok());
                let child = async {
                    begun.fetch_add(1, Ordering::SeqCst);
                    Ok::<(), ()>(())
                };
                assert!(group.try_go(child).is_ok());
                added += 1;
                assert!(added <= MOST + 1, "no child has begun");
            }
        });
        assert!(polls > 0);
    }
}

#[test]
fn a_loop_of_next_over_ready_children_lets_the_tasks_other_futures_run() {
    for in_order in [false, true] {
        for limit in [1, 8, 10_000] {
            let polls = polls_of_a_neighbour(async move {
                let results = Jobs::new().with_limit(limit).results();
                let results = if in_order { results.in_order() } else { results };
                let children = (0..20_000).map(|n| job(ready(Ok(n))));
                let mut results = results.feed(stream::iter(children));
                while results.next().await.is_some() {}
            });
            assert!((20_000 / MOST..20).contains(&polls), "{polls} polls, limit {limit}");
        }
    }
}

#[test]
fn a_loop_of_go_is_pending_where_its_children_only_yield() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    let mut polls = 0;
    for added in 1..=1_000 {
        let mut go = group.go(probe.watch(restless()));
        while task.poll(&mut go).is_pending() {
            polls += 1;
            assert_eq!(task.wakes(), polls);
            assert!(probe.polls() <= FEW * (polls + 1));
        }
        assert!(probe.polls() >= added, "each has begun");
    }
}

#[test]
fn a_timeout_around_a_loop_of_go_fires() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let adding = async {
            let mut group = Jobs::new().with_limit(4);
            loop {
                group.go(job(ready(Ok(0)))).await.ok().unwrap();
            }
        };
        let limit = std::time::Duration::from_millis(5);
        assert!(tokio::time::timeout(limit, adding).await.is_err());
    });
}

// === a child of `go` begins before the `go` returns ===

/// Makes a child that asks for room by a handle at its first poll. Once it is woken, it drops this
/// `go`, or `feed`, and yields or waits for ever.
fn gives_up(handle: &Handle<Boxed<'static, usize, &'static str>>, feeds: bool) -> Job {
    let mut waiter = Some(match feeds {
        false => handle.go(job(ready(Ok(0)))).map(drop).boxed(),
        true => handle.feed(stream::iter([job(ready(Ok(0)))])).map(drop).boxed(),
    });
    let mut first = true;
    job(poll_fn(move |cx| {
        if core::mem::take(&mut first) {
            assert!(waiter.as_mut().is_some_and(|it| it.poll_unpin(cx).is_pending()));
        } else {
            waiter = None;
        }
        Poll::Pending
    }))
}

#[test]
fn the_child_of_a_go_begins_though_what_came_before_it_is_given_up_in_the_same_round() {
    for feeds in [false, true] {
        for others in [0, 100] {
            for waits in [false, true] {
                let (task, probe) = (MockTask::new(), Probe::new());
                let mut group = Jobs::new().with_limit(others + 1);
                let handle = group.handle();
                (0..others).for_each(|_| group.queue(job(pending())));
                group.queue(gives_up(&handle, feeds));
                assert!(task.run(&mut group).is_pending());
                let mut go = group.go(probe.watch(pending()));
                assert!(!waits || task.run(&mut go).is_pending());
                // Room for both.
                handle.set_limit(Some(others + 3));
                assert!(task.poll(&mut go).is_ready());
                assert_eq!(probe.polls(), 1, "feeds: {feeds}, others: {others}, waits: {waits}");
            }
        }
    }
}

#[test]
fn the_child_of_a_go_begins_though_what_came_before_it_is_given_up_while_many_yield() {
    for (feeds, waits) in [(false, false), (true, false), (false, true), (true, true)] {
        for others in [1, 10, 63, 64, 65, 100, 128, 200] {
            let (task, probe) = (MockTask::new(), Probe::new());
            let mut group = Jobs::new().with_limit(others);
            let handle = group.handle();
            // The first child that is polled once there is a waiter drops it.
            let waiter: Arc<Mutex<Option<BoxFuture<'static, ()>>>> = Arc::default();
            for _ in 0..others {
                let waiter = Arc::clone(&waiter);
                group.queue(job(poll_fn(move |cx| {
                    let given_up = waiter.lock().unwrap().take();
                    drop(given_up);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })));
            }
            assert!(task.poll(&mut group).is_pending());
            let mut waiting = match feeds {
                false => handle.go(job(ready(Ok(0)))).map(drop).boxed(),
                true => handle.feed(stream::iter([job(ready(Ok(0)))])).map(drop).boxed(),
            };
            assert!(MockTask::new().poll(&mut waiting).is_pending());
            let mut go = group.go(probe.watch(pending()));
            assert!(!waits || task.poll(&mut go).is_pending());
            *waiter.lock().unwrap() = Some(waiting);
            // Room for both.
            handle.set_limit(Some(others + 2));
            while task.poll(&mut go).is_pending() {}
            assert!(waiter.lock().unwrap().is_none());
            assert!(probe.polls() == 1, "feeds: {feeds}, waits: {waits}, others: {others}");
        }
    }
}

#[test]
fn the_child_of_a_go_begins_though_a_child_that_has_just_begun_gives_up_what_was_before_it() {
    type Waiters = Arc<Mutex<[Option<BoxFuture<'static, ()>>; 2]>>;
    let (task, probe, waiters) = (MockTask::new(), Probe::new(), Waiters::default());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    let drops = |n: usize| {
        let waiters = Arc::clone(&waiters);
        job(poll_fn(move |_| {
            let given_up = waiters.lock().unwrap()[n].take();
            drop(given_up);
            Poll::Pending
        }))
    };
    let waits = || {
        let mut go = handle.go(job(pending())).map(drop).boxed();
        assert!(MockTask::new().poll(&mut go).is_pending());
        Some(go)
    };
    // The second child starts after the first waiter, and drops the other one.
    group.queue(drops(0));
    let first = waits();
    group.queue(drops(1));
    *waiters.lock().unwrap() = [first, waits()];
    handle.set_limit(Some(5));
    assert!(task.poll(&mut group.go(probe.watch(pending()))).is_ready());
    assert!(waiters.lock().unwrap().iter().all(Option::is_none));
    assert_eq!(probe.polls(), 1);
}

#[test]
fn the_child_of_a_go_begins_though_a_queued_child_of_a_key_starts_in_its_round() {
    let (task, probe, gate) = (MockTask::new(), Probe::new(), Gate::new());
    let mut group = Jobs::new().with_limit(MOST + 10).with_key_limit(1);
    // The first round polls more children than one poll may, so the newest are not reached.
    group.queue(task_of(waits(&gate, 0)).key("a"));
    (1..MOST + 10).for_each(|n| group.queue(waits(&gate, n)));
    for _ in 0..2 {
        assert!(task.poll(&mut group).is_pending());
    }
    group.queue(job(pending()));
    group.queue(task_of(job(pending())).key("a"));
    group.set_limit(None);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(group.stats().queued, 1);
    (0..MOST + 10).for_each(|n| gate.open(n));
    assert!(task.poll(&mut group.go(probe.watch(pending()))).is_ready());
    assert_eq!((probe.polls(), group.stats().queued), (1, 0));
}
