//! The memory of a group follows the children that are there, whatever has been there before.

use std::future::{Future, Pending, pending, poll_fn, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use errgroup::{CancelToken, Group, Plain, Task, task};
use futures::executor::block_on;
use futures::stream::StreamExt;

/// Yields once; then is done, unless it is one of those that are left.
struct Child {
    yielded: bool,
    left: bool,
}

impl Future for Child {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !std::mem::replace(&mut self.yielded, true) {
            cx.waker().wake_by_ref();
        } else if !self.left {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

const MANY: usize = 100_000;

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns the bytes that stay allocated.
fn kept(work: impl FnOnce()) -> i64 {
    measure(work).bytes_current
}

/// Runs many children at once, of which those stay that `left` says. Returns the bytes that stay.
fn after_a_burst(handle: bool, left: impl Fn(usize) -> bool) -> (i64, usize) {
    let mut group: Option<Group<Plain<Child>>> = None;
    let bytes = kept(|| {
        let group = group.insert(Group::unboxed());
        let handle = handle.then(|| group.handle());
        for n in 0..MANY {
            let child = Child { yielded: false, left: left(n) };
            match &handle {
                Some(handle) => handle.queue(child),
                None => group.queue(child),
            }
        }
        let left = (0..MANY).filter(|n| left(*n)).count();
        while group.stats().running > left {
            assert!(poll(group).is_pending());
        }
    });
    let running = group.unwrap().stats().running;
    (bytes, running)
}

#[test]
fn few_that_are_left_of_many_children_take_little() {
    for handle in [false, true] {
        for last in [0, 1, MANY / 2, MANY - 1] {
            let (bytes, left) = after_a_burst(handle, |n| n.abs_diff(last) < 2);
            assert!((2..=3).contains(&left));
            assert!(bytes < 100_000, "{bytes} bytes for the {last}th of {MANY}, handle: {handle}");
        }
    }
}

#[test]
fn one_in_a_thousand_that_is_left_takes_what_its_slots_take() {
    for handle in [false, true] {
        let (bytes, left) = after_a_burst(handle, |n| n % 1000 == 7);
        // Each has slots for eight, in a block of its own.
        assert!(bytes < 60_000 + 1_500 * left as i64, "{bytes} bytes for {left}");
    }
}

#[test]
fn children_that_were_queued_leave_nothing_behind() {
    let mut group = None;
    let bytes = kept(|| {
        let group = group.insert(Group::unboxed().with_limit(1));
        let _handle = group.handle();
        for n in 0..MANY {
            group.queue(Child { yielded: true, left: n == MANY - 2 });
        }
        while group.stats().queued > 1 {
            assert!(poll(group).is_pending());
        }
    });
    assert!(bytes < 200_000, "{bytes} bytes");
    drop(group);
}

#[test]
fn keys_whose_children_are_gone_leave_nothing_behind() {
    keys_leave_nothing_behind(None, false);
}

#[test]
fn keys_whose_children_ran_one_after_the_other_leave_nothing_behind() {
    keys_leave_nothing_behind(Some(1), false);
}

#[test]
fn keys_of_a_queue_that_a_stop_drops_leave_nothing_behind() {
    keys_leave_nothing_behind(Some(1), true);
}

fn keys_leave_nothing_behind(limit: Option<usize>, stop: bool) {
    let mut group = None;
    let bytes = kept(|| {
        let group = group.insert(Group::unboxed().with_key_limit(1));
        group.set_limit(limit);
        let hold = group.hold();
        let child = || Child { yielded: true, left: false };
        (0..MANY).for_each(|n| group.queue(task(child()).key(n)));
        // A second one of some of the keys waits for its key.
        (0..MANY / 10).for_each(|n| group.queue(task(child()).key(format!("{n}")).unique()));
        (0..MANY / 10).for_each(|n| group.queue(task(child()).key(n)));
        if stop {
            group.token().cancel();
        }
        while group.stats().running + group.stats().queued > 0 {
            let _ = poll(group);
        }
        drop(hold);
    });
    // As a queue without keys does, it keeps capacity for 1,024 entries, and so do its parts.
    assert!(bytes < 250_000, "{bytes} bytes, limit: {limit:?}, a stop: {stop}");
}

#[test]
fn a_key_of_its_own_takes_little_memory_while_its_child_waits() {
    let queued = |options: fn(Task<Child>, usize) -> Task<Child>| {
        let mut group = None;
        let bytes = kept(|| {
            let group = group.insert(Group::unboxed().with_limit(1).with_key_limit(1));
            for n in 0..MANY {
                group.queue(options(task(Child { yielded: true, left: false }), n));
            }
        });
        bytes / MANY as i64
    };
    let (weighted, keyed) = (queued(|child, _| child.weight(2)), queued(|child, n| child.key(n)));
    assert!(keyed < weighted + 250, "{keyed} bytes, and {weighted} with a weight");
}

#[test]
fn waiting_gos_that_are_gone_leave_nothing_behind() {
    for last in [0, MANY / 2, MANY - 1] {
        let (mut group, mut left) = (None, None);
        let bytes = kept(|| {
            let group = group.insert(Group::new().with_limit(1));
            let handle = group.handle();
            group.queue(pending::<Result<(), ()>>());
            let mut gos: Vec<_> = (0..MANY).map(|_| handle.go(pending())).collect();
            gos.iter_mut().for_each(|go| assert!(poll(go).is_pending()));
            left = Some(gos.swap_remove(last));
        });
        assert!(bytes < 150_000, "{bytes} bytes for the {last}th");
        drop((group, left));
    }
}

#[test]
fn a_burst_of_spawned_children_that_have_ended_leaves_nothing_behind() {
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let mut group = None;
    let bytes = kept(|| {
        let spawned = Arc::clone(&tasks);
        let group = group.insert(Group::on(move |child| spawned.lock().unwrap().push(child)));
        let hold = group.hold();
        (0..MANY).for_each(|_| group.queue(ready(Ok::<(), ()>(()))));
        let all = std::mem::take(&mut *tasks.lock().unwrap());
        all.into_iter().for_each(|mut task| assert!(poll(&mut task).is_ready()));
        // Each poll tells the policy of 4,096 children.
        (0..MANY / 1000).for_each(|_| assert!(poll(group).is_pending()));
        drop(hold);
    });
    assert!(bytes < 300_000, "{bytes} bytes");
}

#[test]
fn children_that_were_aborted_in_the_queue_leave_nothing_behind() {
    let mut group = None;
    let bytes = kept(|| {
        let group = group.insert(Group::new());
        let hold = group.hold();
        group.set_limit(Some(0));
        for _ in 0..MANY {
            let (child, handle) = task(ready(Ok::<u32, ()>(1))).joinable();
            group.queue(child);
            handle.abort();
        }
        assert!(poll(group).is_pending());
        assert_eq!(group.stats().dropped, MANY);
        drop(hold);
    });
    assert!(bytes < 300_000, "{bytes} bytes");
}

#[test]
fn slots_that_come_and_go_behind_a_go_that_has_its_turn_leave_nothing_behind() {
    let mut group = Group::new().with_limit(1);
    let handle = group.handle();
    group.queue(pending::<Result<(), ()>>());
    let mut go = handle.go(pending());
    assert!(poll(&mut group).is_pending() && poll(&mut go).is_pending());
    // It has its turn from now on, and is not polled.
    handle.set_limit(Some(8));
    // Now and then it yields, though there is room.
    let slot = || {
        let mut reserve = handle.reserve();
        let mut polls = (0..2).map(|_| poll(&mut reserve));
        let slot = polls.find_map(|poll| match poll {
            Poll::Ready(slot) => slot.ok(),
            Poll::Pending => None,
        });
        slot.expect("there is room")
    };
    // At each time there are two of them.
    let bytes = kept(|| {
        let mut last = slot();
        (0..MANY).for_each(|_| last = slot());
    });
    assert!(bytes < 10_000, "{bytes} bytes");
    drop(go);
}

#[test]
fn waits_for_a_token_that_are_gone_leave_nothing_behind() {
    for last in [0, MANY / 2, MANY - 1] {
        let token = CancelToken::new();
        let (mut wait, mut child) = (None, None);
        let bytes = kept(|| {
            let mut waits: Vec<_> = (0..MANY).map(|_| token.cancelled()).collect();
            waits.iter_mut().for_each(|wait| assert!(poll(wait).is_pending()));
            wait = Some(waits.swap_remove(last));
            let mut children: Vec<_> = (0..MANY).map(|_| token.child()).collect();
            child = Some(children.swap_remove(last));
        });
        assert!(bytes < 100_000, "{bytes} bytes for the {last}th");
        drop((wait, child));
    }
}

#[test]
fn large_children_take_memory_while_they_run() {
    let mut group = None;
    let bytes = kept(|| {
        let group = group.insert(Group::unboxed());
        for n in 0..100 {
            let large = [0_u8; 10_000];
            group.queue(async move {
                if n == 50 {
                    pending::<()>().await;
                }
                poll_fn(|_| Poll::Ready(())).await;
                std::hint::black_box(&large);
                Ok::<(), ()>(())
            });
        }
        assert!(poll(group).is_pending());
    });
    assert!(bytes < 100_000, "{bytes} bytes");
    drop(group);
}

#[test]
fn a_waker_that_outlives_its_block_is_harmless() {
    type Wakers = Arc<Mutex<Vec<Waker>>>;
    let wakers = Wakers::default();
    let child = |wakers: &Wakers, left: bool| {
        let (wakers, mut polls) = (Arc::clone(wakers), 0);
        poll_fn(move |cx| {
            polls += 1;
            assert!(polls <= 2, "polled without a wake");
            if !left {
                wakers.lock().unwrap().push(cx.waker().clone());
            }
            if polls == 1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if left { Poll::Pending } else { Poll::Ready(Ok::<(), ()>(())) }
        })
    };
    let mut group = Group::unboxed();
    for round in 0..3 {
        for n in 0..20_000 {
            group.queue(child(&wakers, n == 0 && round == 0));
        }
        while group.stats().running > 1 {
            assert!(poll(&mut group).is_pending());
        }
        // The blocks have been given back; others have their numbers, or soon will.
        wakers.lock().unwrap().iter().for_each(Waker::wake_by_ref);
        assert!(poll(&mut group).is_pending());
    }
    let wakers = std::mem::take(&mut *wakers.lock().unwrap());
    drop(group);
    wakers.into_iter().for_each(Waker::wake);
}

#[test]
fn a_group_that_was_dropped_leaves_nothing_behind_though_a_handle_is_left() {
    type Waits = Task<Pending<Result<u32, ()>>>;
    let options: [fn(Waits) -> Waits; 5] = [
        |child| child.key("a"),
        |child| child.weight(2),
        |child| child.daemon(),
        |child| child.until_stop(),
        |child| child.name("a").priority(1),
    ];
    for option in options {
        let mut handle = None;
        let bytes = kept(|| {
            let mut group: Group<Plain<Pending<Result<u32, ()>>>> = Group::unboxed();
            handle = Some(group.handle());
            (0..MANY).for_each(|_| group.queue(option(task(pending()))));
            assert!(poll(&mut group).is_pending());
        });
        assert!(bytes < 30_000, "{bytes} bytes");
    }
}

#[test]
fn children_without_a_result_take_no_memory_beside_those_that_are_kept() {
    type Large = Result<[u8; 1024], ()>;
    let mut group = None;
    let bytes = kept(|| {
        let group = group.insert(Group::new().with_limit(4).collect());
        let hold = group.hold();
        for _ in 0..MANY {
            group.queue(task(ready(Large::Ok([0; 1024]))).daemon());
        }
        (0..MANY / 1000).for_each(|_| assert!(poll(group).is_pending()));
        group.queue(ready(Large::Ok([1; 1024])));
        assert!(poll(group).is_pending());
        drop(hold);
    });
    assert!(bytes < 300_000, "{bytes} bytes");
    assert_eq!(block_on(group.unwrap()), Ok(vec![[1; 1024]]));

    let mut results = None;
    let bytes = kept(|| {
        let mut group = Group::new();
        group.queue(pending());
        for _ in 0..MANY {
            group.queue(task(ready(Large::Ok([0; 1024]))).daemon());
        }
        let results = results.insert(group.results().in_order());
        (0..MANY / 1000).for_each(|_| assert!(poll(&mut results.next()).is_pending()));
        results.queue(ready(Large::Ok([1; 1024])));
        assert!(poll(&mut results.next()).is_pending());
        assert_eq!(results.stats().running, 2);
    });
    assert!(bytes < 300_000, "{bytes} bytes");
}
