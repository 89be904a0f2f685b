//! The feature `testing`: schedules, and what tests poll groups with.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Poll, Waker};

use async_lock::Mutex;
use errgroup::testing::{DropCounter, Gate, Poller, WakeCounter, seeds};
use errgroup::{Group, LocalBoxed, Reason, Stopped};
use futures::StreamExt;

type Local<'a, T> = Group<LocalBoxed<'a, T, &'static str>>;

/// Makes a group, with a schedule if there is a seed.
fn group<'a, T>(seed: Option<u64>) -> Local<'a, T> {
    match seed {
        None => Group::local(),
        Some(seed) => Group::local().with_schedule(seed),
    }
}

/// Wakes its own task and is pending, so many times.
fn yields(mut times: usize) -> impl Future<Output = ()> {
    poll_fn(move |cx| match times {
        0 => Poll::Ready(()),
        _ => {
            times -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
}

// === programs with a bug that the order of a plain group hides ===

/// The second child expects that the first one was polled before it.
fn reads_what_another_has_set(seed: Option<u64>) {
    let config = RefCell::new(None);
    let mut group = group(seed);
    group.queue(async {
        *config.borrow_mut() = Some("a config");
        Ok(())
    });
    group.queue(async { config.borrow().map(drop).ok_or("there is no config") });
    assert_eq!(Poller::new().finish(group), Ok(()));
}

/// The second child takes long enough, as a rule.
fn expects_another_to_be_faster(seed: Option<u64>) {
    let is_done = Cell::new(false);
    let mut group = group(seed);
    group.queue(async {
        yields(2).await;
        is_done.set(true);
        Ok(())
    });
    group.queue(async {
        yields(5).await;
        if is_done.get() { Ok(()) } else { Err("it was not done") }
    });
    assert_eq!(Poller::new().finish(group), Ok(()));
}

/// A notification that comes before the wait is lost.
fn loses_a_notification(seed: Option<u64>) {
    let waiting = RefCell::new(None::<Waker>);
    let mut group = group(seed);
    group.queue(async {
        let mut polled = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            *waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        Ok(())
    });
    group.queue(async {
        if let Some(waker) = waiting.borrow_mut().take() {
            waker.wake();
        }
        Ok(())
    });
    assert_eq!(Poller::new().finish(group), Ok(()));
}

/// Two children lock the same two locks, in different orders, at different times as a rule.
fn locks_in_two_orders(seed: Option<u64>) {
    let (left, right) = (Mutex::new(()), Mutex::new(()));
    let mut group = group(seed);
    group.queue(async {
        let _left = left.lock().await;
        yields(1).await;
        let _right = right.lock().await;
        Ok(())
    });
    group.queue(async {
        yields(3).await;
        let _right = right.lock().await;
        yields(1).await;
        let _left = left.lock().await;
        Ok(())
    });
    assert_eq!(Poller::new().finish(group), Ok(()));
}

/// Checks that a program never fails without a schedule, and fails with one of the first seeds.
#[track_caller]
fn is_found(program: fn(Option<u64>)) {
    for _ in 0..1000 {
        program(None);
    }
    let found = (0..100).find(|&seed| catch_unwind(|| program(Some(seed))).is_err());
    let seed = found.expect("no seed has found the bug");
    // The seed is enough to see it again.
    for _ in 0..3 {
        assert!(catch_unwind(|| program(Some(seed))).is_err());
    }
}

#[test]
fn a_schedule_finds_a_child_that_needs_another_to_be_polled_before_it() {
    is_found(reads_what_another_has_set);
}

#[test]
fn a_schedule_finds_a_child_that_needs_another_to_be_faster() {
    is_found(expects_another_to_be_faster);
}

#[test]
fn a_schedule_finds_a_lost_notification() {
    is_found(loses_a_notification);
}

#[test]
fn a_schedule_finds_a_deadlock() {
    is_found(locks_in_two_orders);
}

// === what a schedule changes ===

/// Returns the order in which children were polled, and how often the group was.
fn trace(seed: Option<u64>, children: usize, times: usize) -> (Vec<usize>, usize) {
    let polled = RefCell::new(Vec::new());
    let mut group = group(seed);
    for n in 0..children {
        let polled = &polled;
        group.queue(async move {
            for _ in 0..times {
                polled.borrow_mut().push(n);
                yields(1).await;
            }
            Ok(())
        });
    }
    let task = Poller::new();
    assert_eq!(task.finish(&mut group), Ok(()));
    assert_eq!(group.stats().ok, children);
    drop(group);
    (polled.into_inner(), task.wakes())
}

#[test]
fn a_seed_determines_the_order() {
    let orders: BTreeSet<_> = (0..20).map(|seed| trace(Some(seed), 5, 4).0).collect();
    assert_eq!(orders.len(), 20);
    for seed in 0..20 {
        assert_eq!(trace(Some(seed), 5, 4), trace(Some(seed), 5, 4));
    }
}

#[test]
fn without_a_schedule_children_are_polled_in_their_order() {
    let (order, _) = trace(None, 3, 2);
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    let (order, _) = trace(None, 200, 1);
    assert!(order.is_sorted());
}

#[test]
fn every_child_is_polled_as_often_as_it_is_woken() {
    // One block, and many of them.
    for children in [1, 2, 64, 65, 300, 5000] {
        seeds(0..if children > 1000 { 2 } else { 20 }, |seed| {
            let (mut order, _) = trace(Some(seed), children, 3);
            assert!(children == 1 || !order.is_sorted());
            order.sort_unstable();
            assert!(order.iter().copied().eq((0..children).flat_map(|n| [n; 3])));
        });
    }
}

#[test]
fn a_child_that_was_woken_may_be_polled_a_round_later() {
    // Each of two children wakes the other; in step, they take turns.
    let out_of_step = |seed| {
        let (order, _) = trace(seed, 2, 6);
        order.chunks(2).any(|pair| pair[0] == pair[1])
    };
    assert!(!out_of_step(None));
    assert!((0..20).any(|seed| out_of_step(Some(seed))));
}

#[test]
fn each_of_the_children_may_be_delayed() {
    // Returns by how many polls one child was ahead of the other, at most.
    let lead = |seed, ahead| {
        let (order, _) = trace(Some(seed), 2, 6);
        let steps = order.iter().map(|child| if *child == ahead { 1 } else { -1 });
        let leads = steps.scan(0, |lead, step| {
            *lead += step;
            Some(*lead)
        });
        leads.max().unwrap_or(0)
    };
    // In step, it is one at most.
    assert!((0..50).any(|seed| lead(seed, 0) > 1));
    assert!((0..50).any(|seed| lead(seed, 1) > 1));
}

#[test]
fn the_budget_may_be_spent_early() {
    // The children never yield, so a plain group is polled once.
    let polls = |seed| {
        let mut group = group(seed);
        (0..40).for_each(|_| group.queue(async { Ok(()) }));
        let task = Poller::new();
        assert_eq!(task.finish(group), Ok(()));
        1 + task.wakes()
    };
    assert_eq!(polls(None), 1);
    assert!((0..20).any(|seed| polls(Some(seed)) > 1));
}

#[test]
fn most_of_the_budget_is_spent_as_a_rule() {
    seeds(0..50, |seed| {
        let mut group = group(Some(seed));
        (0..40).for_each(|_| group.queue(async { Ok(()) }));
        let task = Poller::new();
        assert_eq!(task.finish(group), Ok(()));
        assert!(task.wakes() < 15, "one in sixteen polls ends early");
    });
}

#[test]
fn each_order_is_as_likely_as_any_other() {
    const SEEDS: usize = 1200;
    let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
    for seed in 0..SEEDS as u64 {
        let (order, _) = trace(Some(seed), 3, 2);
        let nth = |nth| {
            let place =
                |n| order.iter().enumerate().filter(|it| *it.1 == n).nth(nth).map(|it| it.0);
            let mut children = [0, 1, 2];
            children.sort_by_key(|n| place(*n));
            children
        };
        *first.entry(nth(0)).or_insert(0) += 1;
        *second.entry(nth(1)).or_insert(0) += 1;
    }
    // Of the first polls, which no child delays, each of the six orders comes 200 times, about.
    assert_eq!(first.len(), 6);
    assert!(first.values().all(|count| (140..260).contains(count)), "{first:?}");
    assert_eq!(second.len(), 6);
    assert!(second.values().all(|count| *count > 60), "{second:?}");
}

#[test]
fn a_new_child_may_be_polled_before_one_that_was_woken_or_after_it() {
    let new_first = |seed| {
        let (gate, log) = (Gate::new(), RefCell::new(Vec::new()));
        let mut group = group(Some(seed));
        group.queue(async {
            gate.wait().await;
            log.borrow_mut().push("woken");
            Ok(())
        });
        let task = Poller::new();
        assert!(task.run(&mut group).is_pending());
        gate.open();
        group.queue(async {
            log.borrow_mut().push("new");
            Ok(())
        });
        assert_eq!(task.finish(group), Ok(()));
        log.into_inner()[0] == "new"
    };
    let count = (0..200).filter(|seed| new_first(*seed)).count();
    assert!((60..160).contains(&count), "{count} of 200");
}

#[test]
fn no_wake_up_is_lost() {
    seeds(0..100, |seed| {
        let gates: Vec<_> = (0..100).map(|_| Gate::new()).collect();
        let mut group = group(Some(seed)).with_limit(1 + seed as usize).collect();
        for (n, gate) in gates.iter().enumerate() {
            group.queue(async move {
                gate.wait().await;
                yields(n % 3).await;
                Ok(n)
            });
        }
        let task = Poller::new();
        assert!(task.run(&mut group).is_pending());
        for (n, gate) in gates.iter().enumerate() {
            let before = task.wakes();
            let waits = gate.waiting() == 1;
            gate.open();
            assert_eq!(task.wakes() > before, waits);
            if n < 99 {
                assert!(task.run(&mut group).is_pending());
            }
        }
        assert_eq!(task.finish(group), Ok((0..100).collect()));
    });
}

#[test]
fn a_go_polls_its_child_before_it_returns() {
    seeds(0..100, |seed| {
        let started = Cell::new(0);
        let task = Poller::new();
        let mut group = group(Some(seed)).with_limit(20);
        let ran = task.finish(async {
            for n in 1..=100 {
                group
                    .go(async {
                        started.set(started.get() + 1);
                        yields(3).await;
                        Ok(())
                    })
                    .await?;
                assert_eq!(started.get(), n);
            }
            Ok::<(), Stopped<_>>(())
        });
        assert!(ran.is_ok());
        assert_eq!(task.finish(group), Ok(()));
    });
}

#[test]
fn a_stream_of_results_has_a_schedule() {
    let firsts: BTreeSet<usize> = (0..20)
        .map(|seed| {
            let mut group = group(Some(seed));
            (0..4).for_each(|n| group.queue(async move { Ok(n) }));
            let results = Poller::new().finish(group.results().collect::<Vec<_>>());
            let mut numbers: Vec<_> = results.into_iter().map(Result::unwrap).collect();
            let first = numbers[0];
            numbers.sort_unstable();
            assert_eq!(numbers, [0, 1, 2, 3]);
            first
        })
        .collect();
    assert!(firsts.len() > 1);
}

#[test]
fn a_stop_ends_the_children_under_each_schedule() {
    seeds(0..100, |seed| {
        let drops = DropCounter::new();
        let mut group = group::<()>(Some(seed)).with_limit(8).drop_on_stop();
        for n in 0..20 {
            let guard = drops.guard();
            group.queue(async move {
                let _guard = guard;
                yields(n).await;
                if n == 5 { Err("five") } else { std::future::pending().await }
            });
        }
        let task = Poller::new();
        assert_eq!(task.finish(&mut group), Err::<(), _>("five"));
        assert_eq!(drops.count(), 20);
        assert!(matches!(group.token().reason(), Some(Reason::Failed)));
    });
}

#[test]
fn a_panic_under_a_schedule_resumes_after_the_siblings_have_ended() {
    for children in [3, 100] {
        seeds(0..50, |seed| {
            let ended = Cell::new(0);
            let mut group = group::<()>(Some(seed));
            for n in 0..children {
                let ended = &ended;
                group.queue(async move {
                    yields(n % 4).await;
                    assert!(n != 1, "one");
                    ended.set(ended.get() + 1);
                    Ok(())
                });
            }
            let panicked = catch_unwind(AssertUnwindSafe(|| Poller::new().finish(&mut group)));
            assert!(panicked.is_err());
            assert_eq!(ended.get(), children - 1);
        });
    }
}

#[test]
fn handles_and_keys_work_under_each_schedule() {
    seeds(0..100, |seed| {
        let mut group = Group::new().with_limit(3).with_key_limit(1).with_schedule(seed);
        let handle = group.handle();
        for n in 0..12_u32 {
            let handle = handle.clone();
            let child = async move {
                yields(n as usize % 3).await;
                handle.queue(async { Ok::<(), ()>(()) });
                Ok(())
            };
            group.queue(errgroup::task(child).key(n % 4));
        }
        drop(handle);
        assert_eq!(Poller::new().finish(&mut group), Ok(()));
        assert_eq!(group.stats().ok, 24);
    });
}

// === the helpers ===

#[test]
fn seeds_says_which_seed_has_failed() {
    let mut seen = Vec::new();
    let payload = catch_unwind(AssertUnwindSafe(|| {
        seeds(3..10, |seed| {
            seen.push(seed);
            assert!(seed != 5, "it is {seed}");
        });
    }));
    assert_eq!(*payload.unwrap_err().downcast::<String>().unwrap(), "seed 5: it is 5");
    assert_eq!(seen, [3, 4, 5]);

    let payload = catch_unwind(|| seeds([7], |_| std::panic::panic_any(1_u8)));
    assert_eq!(*payload.unwrap_err().downcast::<String>().unwrap(), "seed 7: a panic");
    let payload = catch_unwind(|| seeds([8], |_| panic!("plain")));
    assert_eq!(*payload.unwrap_err().downcast::<String>().unwrap(), "seed 8: plain");
}

#[test]
fn debug_prints_the_name_of_a_gate() {
    assert!(format!("{:?}", Gate::new()).starts_with("Gate"));
}

#[test]
fn a_gate_wakes_all_that_wait() {
    let gate = Gate::new();
    let (one, two, three) = (Poller::new(), Poller::new(), Poller::new());
    let (mut first, mut second, mut third) = (gate.wait(), gate.wait(), gate.wait());
    assert_eq!(gate.waiting(), 0);
    assert!(one.poll(&mut first).is_pending());
    assert!(two.poll(&mut first).is_pending()); // moved to another task
    assert!(two.poll(&mut second).is_pending());
    assert!(three.poll(&mut third).is_pending());
    assert_eq!(gate.waiting(), 3);
    drop(third);
    assert_eq!((gate.waiting(), gate.is_open()), (2, false));
    gate.clone().open();
    assert_eq!((one.wakes(), two.wakes(), three.wakes()), (0, 2, 0));
    assert_eq!((gate.waiting(), gate.is_open()), (0, true));
    assert!(one.poll(&mut first).is_ready() && two.poll(&mut second).is_ready());
    assert!(one.poll(&mut gate.wait()).is_ready());
}

#[test]
fn a_poller_polls_again_only_after_a_wake_up() {
    let task = Poller::new();
    assert!(task.run(&mut std::future::pending::<()>()).is_pending());
    assert_eq!(task.wakes(), 0);
    task.finish(yields(3));
    assert_eq!(task.wakes(), 3);
    let hung = catch_unwind(AssertUnwindSafe(|| task.finish(std::future::pending::<()>())));
    assert!(hung.is_err());
    task.waker().wake_by_ref();
    assert_eq!(task.wakes(), 4);
}

#[test]
fn a_wake_counter_and_a_drop_counter_count() {
    let counter = WakeCounter::new();
    let waker = counter.clone().waker();
    waker.wake_by_ref();
    let clone = waker.clone();
    clone.wake();
    drop(waker);
    assert_eq!(counter.count(), 2);
    let drops = DropCounter::new();
    let (one, _two) = (drops.guard(), drops.guard());
    drop(one);
    assert_eq!(drops.count(), 1);
}

#[test]
fn opening_a_gate_wakes_all_that_wait_though_a_waker_panics() {
    struct Bomb;

    impl std::task::Wake for Bomb {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("a waker");
        }
    }

    let (gate, task) = (Gate::new(), Poller::new());
    let (mut first, mut second) = (gate.wait(), gate.wait());
    let bomb = std::task::Waker::from(std::sync::Arc::new(Bomb));
    let mut cx = std::task::Context::from_waker(&bomb);
    assert!(std::pin::Pin::new(&mut first).poll(&mut cx).is_pending());
    assert!(task.poll(&mut second).is_pending());
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| gate.open()));
    assert!(opened.is_err());
    assert_eq!(task.wakes(), 1);
}
