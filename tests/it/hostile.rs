//! Children, destructors and wakers that do what hurts most, at the worst moment.
//!
//! Many more are beside what they bear on: panics in `panics.rs`, wakers in `foreign_wakers.rs`,
//! `wakes.rs` and `token_wakers.rs`, observers in `observer_calls.rs`, deep trees of tokens in
//! `token_tree.rs`.

use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

use crate::common::{
    Bomb, CountOnDrop, DropCounter, Gate, Job, MockTask, OnDrop, Probe, is_ok, job, panic_message,
    poll_with, waits, waker_fn, yield_now,
};
use errgroup::{Boxed, CancelToken, ChildHandle, Event, Group, Reason, TryGoError, task};
use futures::executor::block_on;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// A place from which anything can be taken out and dropped.
type Place<T> = Arc<Mutex<Option<T>>>;

fn place<T>(value: impl Into<Option<T>>) -> Place<T> {
    Arc::new(Mutex::new(value.into()))
}

/// Takes out what is in a place, and drops it while the place is not locked.
fn empty<T>(place: &Place<T>) {
    let value = place.lock().unwrap().take();
    drop(value);
}

/// Makes a child that is pending for ever, and empties a place when it is dropped.
fn empties<T: Send + 'static>(place: &Place<T>) -> Job {
    let place = Arc::clone(place);
    let on_drop = OnDrop(move || empty(&place));
    job(async move {
        let _on_drop = on_drop;
        pending().await
    })
}

// --- groups that are dropped from within ---

#[test]
fn a_waiting_childs_destructor_may_drop_the_group_that_it_waits_at() {
    let (gate, probe, mock) = (Gate::new(), Probe::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    let own = place::<Jobs>(None);
    group.queue(probe.watch(waits(&gate, 0)));
    group.queue(probe.watch(waits(&gate, 1)));
    let (mut first, mut second) =
        (handle.go(empties(&own)), handle.go(probe.watch(waits(&gate, 2))));
    assert!(mock.poll(&mut first).is_pending());
    assert!(mock.poll(&mut second).is_pending());
    assert!(mock.run(&mut group).is_pending());
    *own.lock().unwrap() = Some(group);
    drop(first);
    assert!(own.lock().unwrap().is_none());
    assert_eq!(probe.drops(), 2);
    assert!(matches!(mock.run(&mut second), Poll::Ready(Err(_))));
    assert_eq!((probe.drops(), handle.stats().dropped), (3, 2));
    block_on(handle.closed());
}

#[test]
fn a_refused_childs_destructor_may_drop_the_group_that_refused_it() {
    let group = Jobs::new();
    let handle = group.handle();
    handle.close();
    let own = place(group);
    match handle.try_go(empties(&own)) {
        Err(TryGoError::Closed(child)) => drop(child),
        _ => panic!("it is closed"),
    }
    assert!(own.lock().unwrap().is_none());
    assert_eq!(handle.token().reason(), Some(Reason::Dropped));
    let again = place(Jobs::new());
    handle.queue(empties(&again));
    assert!(again.lock().unwrap().is_none(), "a child that comes too late is dropped at once");
}

#[test]
fn a_child_on_an_executor_may_drop_its_own_group_in_its_poll_and_in_its_destructor() {
    for in_poll in [true, false] {
        let spawned = Arc::new(Mutex::new(Vec::new()));
        let executor = Arc::clone(&spawned);
        let mut group = Group::on(move |future| executor.lock().unwrap().push(Some(future)));
        let closed = group.handle().closed();
        let own = place(None);
        let (inner, drops) = (Arc::clone(&own), DropCounter::default());
        let (first, second) = (drops.guard(), drops.guard());
        let child = async move {
            let _first = first;
            if in_poll {
                empty(&inner);
                return Ok(0);
            }
            let _on_drop = OnDrop(move || empty(&inner));
            Err::<usize, &str>("it ends")
        };
        group.queue(child);
        group.queue(async move {
            let _second = second;
            pending().await
        });
        assert!(MockTask::new().poll(&mut group).is_pending());
        *own.lock().unwrap() = Some(group);
        let count = spawned.lock().unwrap().len();
        for at in (0..count).chain(0..count) {
            let future = spawned.lock().unwrap()[at].take();
            let Some(mut future) = future else { continue };
            if MockTask::new().poll(&mut future).is_pending() {
                spawned.lock().unwrap()[at] = Some(future);
            }
        }
        assert!(own.lock().unwrap().is_none());
        assert_eq!(drops.get(), 2, "in_poll: {in_poll}");
        block_on(closed);
    }
}

#[test]
fn a_waker_may_drop_the_group_that_it_is_woken_for() {
    let (own, probe) = (place::<Jobs>(None), Probe::new());
    let waker = {
        let own = Arc::clone(&own);
        waker_fn(move || empty(&own))
    };
    let mut group = Jobs::new();
    let handle = group.handle();
    group.queue(probe.watch(job(pending())));
    assert!(poll_with(&mut group, &waker).is_pending());
    *own.lock().unwrap() = Some(group);
    // The newcomer wakes the group.
    handle.queue(probe.watch(job(pending())));
    assert!(own.lock().unwrap().is_none());
    assert_eq!((probe.drops(), probe.polls()), (2, 1));
    assert_eq!(handle.stats().dropped, 2);
}

#[test]
fn a_childs_waker_may_drop_the_group_from_within_its_wake_up() {
    let (own, gate, probe) = (place::<Jobs>(None), Gate::new(), Probe::new());
    let waker = {
        let own = Arc::clone(&own);
        waker_fn(move || empty(&own))
    };
    let mut group = Jobs::new();
    (0..200).for_each(|number| group.queue(probe.watch(waits(&gate, number))));
    assert!(poll_with(&mut group, &waker).is_pending());
    *own.lock().unwrap() = Some(group);
    gate.open(100);
    assert_eq!(probe.drops(), 200);
    (0..200).for_each(|number| gate.open(number));
    assert_eq!(probe.polls(), 200);
}

#[test]
fn a_waiters_waker_may_drop_the_go_that_it_is_woken_for() {
    type Wait = Pin<Box<dyn Future<Output = bool> + Send>>;
    let (gate, probe, task) = (Gate::new(), Probe::new(), MockTask::new());
    let mut group = Jobs::new().with_limit(1);
    let handle = group.handle();
    group.queue(waits(&gate, 0));
    assert!(task.run(&mut group).is_pending());
    let own = place::<Wait>(None);
    let go = handle.go(probe.watch(job(ready(Ok(1)))));
    let mut wait: Wait = Box::pin(async move { go.await.is_ok() });
    let waker = {
        let own = Arc::clone(&own);
        waker_fn(move || empty(&own))
    };
    assert!(poll_with(&mut wait, &waker).is_pending());
    *own.lock().unwrap() = Some(wait);
    let mut next = handle.go(job(ready(Ok(2))));
    assert!(task.poll(&mut next).is_pending());
    // The room goes to the first that waits, is given up, and goes to the next.
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert_eq!((probe.drops(), probe.polls()), (1, 0));
    assert!(task.run(&mut next).is_ready());
    assert!(is_ok(task.run(&mut group)));
    assert_eq!(handle.stats().ok, 2);
}

// --- children that reach for themselves ---

#[test]
fn a_child_may_drop_or_abort_its_own_handle_in_its_poll() {
    for aborts in [false, true] {
        let own = place::<ChildHandle<usize>>(None);
        let (inner, drops) = (Arc::clone(&own), DropCounter::default());
        let dropped: CountOnDrop = drops.guard();
        let (child, handle) = task(job(async move {
            let _dropped = dropped;
            let handle = inner.lock().unwrap().take().unwrap();
            if aborts {
                handle.abort()
            } else {
                drop(handle.abort_on_drop())
            }
            pending().await
        }))
        .joinable();
        *own.lock().unwrap() = Some(handle);
        let mut group = Group::new();
        let handle = group.handle();
        group.queue(child);
        assert!(is_ok(MockTask::new().run(&mut group)));
        assert_eq!((drops.get(), handle.stats().dropped), (1, 1));
    }
}

#[test]
fn a_childs_destructor_may_abort_a_sibling_and_drop_the_last_handle() {
    let (gate, task_, drops) = (Gate::new(), MockTask::new(), DropCounter::default());
    let mut group = Group::<Boxed<'static, (), &'static str>>::new();
    let last = place(group.handle());
    let (dropped, wait) = (drops.guard(), gate.wait(0));
    let (sibling, sibling_handle) = task(async move {
        let _dropped = dropped;
        pending().await
    })
    .joinable::<(), &'static str>();
    let aborts = {
        let last = Arc::clone(&last);
        OnDrop(move || {
            sibling_handle.abort();
            empty(&last);
        })
    };
    group.queue(sibling);
    group.queue(async move {
        let _aborts = aborts;
        wait.await;
        Ok(())
    });
    assert!(task_.run(&mut group).is_pending());
    gate.open(0);
    assert!(is_ok(task_.run(&mut group)));
    assert!(last.lock().unwrap().is_none());
    assert_eq!((drops.get(), group.stats().dropped), (1, 1));
}

#[test]
fn a_child_whose_waker_is_cloned_a_million_times_is_polled_once_for_all_of_them() {
    let wakers = Arc::new(Mutex::new(Vec::new()));
    let (probe, task) = (Probe::new(), MockTask::new());
    let mut group = Jobs::new();
    let kept = Arc::clone(&wakers);
    group.queue(probe.watch(job(std::future::poll_fn(move |cx: &mut Context<'_>| {
        let mut kept = kept.lock().unwrap();
        if kept.is_empty() {
            kept.extend((0..1_000_000).map(|_| cx.waker().clone()));
            return Poll::Pending;
        }
        Poll::Ready(Ok(0))
    }))));
    assert!(task.poll(&mut group).is_pending());
    let (first, rest) = {
        let mut wakers = wakers.lock().unwrap();
        let rest = wakers.split_off(500_000);
        let first = std::mem::replace(&mut *wakers, vec![rest[0].clone()]);
        (first, rest)
    };
    first.into_iter().for_each(std::task::Waker::wake);
    assert_eq!(task.wakes(), 1);
    assert!(is_ok(task.poll(&mut group)));
    assert_eq!(probe.polls(), 2);
    rest.into_iter().for_each(std::task::Waker::wake);
    assert_eq!(task.wakes(), 1, "a child that has ended wakes no task");
}

// --- observers ---

#[test]
fn an_observer_that_stops_the_group_between_two_rounds_spares_no_child() {
    for count in [1, 200] {
        let (probe, mock, token) = (Probe::new(), MockTask::new(), CancelToken::new());
        let cancels = token.clone();
        let mut group = Jobs::new().with_parent(&token).with_observer(move |event: &Event| {
            if matches!(event, Event::Started { .. }) && event.name() == Some("the last") {
                cancels.cancel();
            }
        });
        let handle = group.handle();
        // One has yielded when the next poll begins, and the others wait for ever.
        let yields = job(async {
            loop {
                yield_now().await;
            }
        });
        group.queue(task(probe.watch(yields)).until_stop());
        (0..count).for_each(|_| group.queue(task(probe.watch(job(pending()))).until_stop()));
        assert!(mock.poll(&mut group).is_pending());
        group.queue(task(probe.watch(job(ready(Ok(0))))).name("the last"));
        assert!(is_ok(mock.run(&mut group)));
        assert_eq!(probe.drops(), count + 2);
        let stats = handle.stats();
        assert_eq!((stats.ok, stats.dropped), (1, count + 1));
    }
}

// --- a million in the line ---

/// Runs it on a stack on which a recursion over a million children overflows.
fn on_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(256 << 10).spawn(f);
    thread.unwrap().join().unwrap();
}

const MILLION: usize = 1_000_000;

fn a_million(limit: usize) -> Group<errgroup::Plain<Job>> {
    let mut group = Group::unboxed().with_limit(limit);
    (0..MILLION).for_each(|_| group.queue(job(ready(Ok(0)))));
    group
}

#[test]
fn a_million_queued_children_are_dropped_on_a_small_stack() {
    on_small_stack(|| {
        let group = a_million(1);
        let handle = group.handle();
        assert_eq!(handle.stats().queued, MILLION - 1);
        drop(group);
        assert_eq!(handle.stats().dropped, MILLION);
    });
}

#[test]
fn a_million_queued_children_are_let_in_or_ended_on_a_small_stack() {
    on_small_stack(|| {
        let task = MockTask::new();
        let mut group = a_million(1);
        let handle = group.handle();
        handle.set_limit(None);
        assert_eq!(handle.stats().running, MILLION);
        assert!(matches!(task.run(&mut group), Poll::Ready(Ok(()))));
        assert_eq!(handle.stats().ok, MILLION);

        let mut group = a_million(1);
        let handle = group.handle();
        handle.close();
        handle.token().cancel();
        assert!(task.run(&mut group).is_ready());
        // The one that ran is polled on.
        assert_eq!((handle.stats().ok, handle.stats().dropped), (1, MILLION - 1));
    });
}

// --- groups in groups ---

type Nested = Pin<Box<dyn Future<Output = Result<usize, &'static str>> + Send>>;

/// Nests that many groups: each is owned by the only child of the one around it.
fn nest(depth: usize, innermost: Job) -> Nested {
    (0..depth).fold(innermost, |inner, _| {
        let mut group = Jobs::new();
        group.queue(inner);
        Box::pin(async move { group.await.map(|()| 0) })
    })
}

/// A poll of a group polls its children, so it needs stack for each group around a child: a few
/// kilobytes in a debug build. The drop of a group likewise drops the groups in it.
#[test]
fn groups_nested_as_deep_as_polls_allow_end_and_are_dropped() {
    const DEPTH: usize = 10_000;
    const STACK: usize = 16 << 10;
    let run = || {
        let (gate, task) = (Gate::new(), MockTask::new());
        let mut nested = nest(DEPTH, waits(&gate, 0));
        assert!(task.poll(&mut nested).is_pending());
        gate.open(0);
        assert_eq!(task.wakes(), 1, "the wake-up reaches the outermost task at once");
        assert_eq!(task.run(&mut nested), Poll::Ready(Ok(0)));

        let probe = Probe::new();
        let mut nested = nest(DEPTH, probe.watch(waits(&gate, 1)));
        assert!(task.poll(&mut nested).is_pending());
        drop(nested);
        assert_eq!(probe.drops(), 1);
    };
    thread::Builder::new().stack_size(DEPTH * STACK).spawn(run).unwrap().join().unwrap();
}

#[cfg(feature = "std")]
#[test]
fn a_reason_that_comes_too_late_and_panics_in_its_destructor_is_heard_of() {
    use std::error::Error;
    use std::fmt;

    use errgroup::{CancelError, ChildInfo, Policy, Verdict};

    #[derive(Debug)]
    struct Cause {
        _bomb: Bomb,
    }
    impl fmt::Display for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cause")
        }
    }
    impl Error for Cause {}

    struct StopsLate;
    impl Policy<(), CancelError> for StopsLate {
        type Output = Result<(), CancelError>;

        fn on_child(&mut self, _: &ChildInfo<'_>, _: Result<(), CancelError>) -> Verdict {
            Verdict::Stop(Reason::cause(Cause { _bomb: Bomb("the reason's") }))
        }

        fn finish(&mut self, _: &Reason) -> Result<(), CancelError> {
            Ok(())
        }
    }

    let mut group = Group::new().with_policy(StopsLate).err_on_cancel();
    let token = group.token().clone();
    group.queue(async move {
        token.cancel();
        Ok(())
    });
    assert_eq!(panic_message(|| block_on(&mut group)), "the reason's");
}
