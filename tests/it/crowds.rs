//! Groups of more children than one block of the set holds, and children of every size.

use std::collections::BTreeSet;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::common::{
    Gate, Job, Log, MockTask, Probe, is_ok, job, logged_child, unboxed, waits, yield_now,
};
use errgroup::{Boxed, Child, Children, Group};
use futures::StreamExt;

type Kind = Boxed<'static, usize, &'static str>;

/// Makes a child that yields until it is told to end.
fn yields(ends: &Arc<AtomicBool>) -> Job {
    let ends = Arc::clone(ends);
    job(async move {
        while !ends.load(SeqCst) {
            yield_now().await;
        }
        Ok(0)
    })
}

/// Returns each number below `count` once, in a scattered order.
fn scattered(count: usize) -> impl Iterator<Item = usize> {
    // 7,919 is a prime and divides none of the counts below.
    (0..count).map(move |n| n * 7_919 % count)
}

#[test]
fn of_ten_thousand_parked_children_only_the_woken_one_is_polled() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let count = 10_000;
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        for n in 0..count {
            group.queue(probe.watch(waits(&gate, n)));
        }
        assert!(task.run(&mut group).is_pending());
        assert_eq!(probe.polls(), count);
        for (done, n) in scattered(count).enumerate() {
            let (polls, wakes) = (probe.polls(), task.wakes());
            gate.open(n);
            assert_eq!(task.wakes(), wakes + 1);
            let last = done + 1 == count;
            assert_eq!(task.poll(&mut group).is_ready(), last);
            assert_eq!(probe.polls(), polls + 1, "number {n}");
            assert_eq!(probe.drops(), done + 1);
            assert_eq!(task.wakes(), wakes + 1, "woken without need, number {n}");
        }
    }
    scenario(Group::new());
    scenario(Group::unboxed());
}

/// So many that the last ones are neither in a block nor in a region with a bit of its own.
#[test]
fn of_eighty_thousand_parked_children_only_the_woken_ones_are_polled() {
    let count = 80_000;
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::unboxed();
    for n in 0..count {
        group.queue(probe.watch(waits(&gate, n)));
    }
    assert!(task.run(&mut group).is_pending());
    assert_eq!(probe.polls(), count);
    let mut numbers = scattered(count);
    for (done, n) in numbers.by_ref().take(500).enumerate() {
        gate.open(n);
        assert!(task.run(&mut group).is_pending());
        assert_eq!((probe.polls(), probe.drops()), (count + done + 1, done + 1), "number {n}");
    }
    // Two at a time, in different parts.
    for _ in 0..200 {
        let (polls, pair) = (probe.polls(), [numbers.next(), numbers.next()]);
        pair.into_iter().flatten().for_each(|n| gate.open(n));
        assert!(task.run(&mut group).is_pending());
        assert_eq!(probe.polls(), polls + 2, "{pair:?}");
    }
    numbers.for_each(|n| gate.open(n));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (2 * count, count));
}

#[test]
fn twenty_thousand_children_woken_at_once_are_polled_once() {
    let count = 20_000;
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::unboxed();
    for n in 0..count {
        group.queue(probe.watch(waits(&gate, n)));
    }
    assert!(task.run(&mut group).is_pending());
    let wakes = task.wakes();
    for n in scattered(count) {
        gate.open(n);
    }
    assert_eq!(task.wakes(), wakes + 1);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(probe.polls(), 2 * count);
}

#[test]
fn newcomers_reuse_slots_and_start_in_order() {
    fn scenario<C>(group: Group<C>, limit: usize)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let count = 4 * limit;
        let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
        let mut group = group.with_limit(limit);
        for n in 0..count {
            let (wait, log) = (gate.wait(n), log.clone());
            group.queue(job(async move {
                log.add(n.to_string());
                wait.await;
                Ok(n)
            }));
        }
        let mut running = Vec::new();
        let mut started = 0;
        let mut rounds = 0;
        while task.run(&mut group).is_pending() {
            for entry in log.take() {
                assert_eq!(entry, started.to_string(), "limit {limit}");
                running.push(started);
                started += 1;
            }
            // Some end at once, in another order than they were added.
            rounds += 1;
            for _ in 0..running.len().min(1 + rounds % 7) {
                let leaver = running.swap_remove(rounds * 31 % running.len());
                gate.open(leaver);
            }
        }
        assert_eq!(started, count);
    }
    for limit in [3, 8, 63, 64, 65, 130] {
        scenario(Group::new(), limit);
        scenario(Group::unboxed(), limit);
    }
}

#[test]
fn a_slot_that_is_freed_before_a_newcomer_is_polled_lets_no_later_child_overtake_it() {
    let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut group = Group::<Kind>::new().with_limit(67);
    // One after another, so that each is in the next slot: two parts of the set, of which the first
    // has 64 children.
    for n in 0..66 {
        let (first, second) = (gate.wait(n), gate.wait(100 + n));
        group.queue(job(async move {
            first.await;
            if n < 64 {
                yield_now().await;
                second.await;
            }
            Ok(n)
        }));
        assert!(task.run(&mut group).is_pending());
    }
    // As many yield as end a poll, so that the round is left before the last of those woken.
    (0..32).chain([64]).for_each(|n| gate.open(n));
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(group.stats().ok, 0);
    assert!(group.try_go(logged_child(200, &gate, &log)).is_ok());
    group.queue(logged_child(201, &gate, &log));
    assert!(task.run(&mut group).is_pending());
    assert_eq!((group.stats().ok, log.take()), (1, vec!["+200".into(), "+201".into()]));
}

#[test]
fn small_and_large_children_are_stored_alike() {
    fn scenario<const SIZE: usize>() {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = Group::unboxed().with_limit(70);
        for n in 0..200 {
            group.queue(unboxed::<SIZE>(waits(&gate, n)));
        }
        assert!(task.run(&mut group).is_pending());
        for n in scattered(200) {
            gate.open(n);
            let _ = task.run(&mut group);
        }
        assert_eq!(group.stats().ok, 200);
    }
    scenario::<1>();
    scenario::<400>();
    scenario::<500>();
    scenario::<10_000>();
}

#[test]
fn a_waker_kept_briefly_by_another_thread_still_wakes() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (wakers, inbox) = mpsc::channel::<Waker>();
        let waking = thread::spawn(move || inbox.into_iter().for_each(Waker::wake));
        let mut group = group.with_limit(8);
        let polls = Arc::new(AtomicUsize::new(0));
        let count = 20_000;
        for n in 0..count {
            let wakers = wakers.clone();
            let mut sent = false;
            // Wakes and drops the waker during the poll in which it was cloned, or just after.
            let polls = Arc::clone(&polls);
            let child = poll_fn(move |cx| {
                polls.fetch_add(1, SeqCst);
                if core::mem::replace(&mut sent, true) {
                    return Poll::Ready(Ok(n));
                }
                wakers.send(cx.waker().clone()).unwrap();
                Poll::Pending
            });
            group.queue(job(child));
        }
        drop(wakers);
        futures::executor::block_on(group).unwrap();
        waking.join().unwrap();
        assert_eq!(polls.load(SeqCst), 2 * count);
    }
    scenario(Group::new());
    scenario(Group::unboxed());
}

#[test]
fn children_that_yield_cost_parked_siblings_no_poll() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::new();
    for n in 0..300 {
        group.queue(probe.watch(waits(&gate, n)));
        group.queue(job(async {
            for _ in 0..3 {
                yield_now().await;
            }
            Ok(0)
        }));
    }
    assert!(task.run(&mut group).is_pending());
    assert_eq!(probe.polls(), 300);
    assert_eq!(group.stats().ok, 300);
    (0..300).for_each(|n| gate.open(n));
    assert!(task.run(&mut group).is_ready());
    assert_eq!(probe.polls(), 600);
}

#[test]
fn the_first_wake_up_in_a_part_of_the_set_that_was_added_reaches_its_child() {
    // With as many children, the last one is in the last block with a bit in the waker of the
    // group's task, in the first one without, and in the first two of further words of bits.
    for count in [3_904, 3_905, 8_001, 12_097] {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = Group::unboxed();
        for n in 0..count {
            group.queue(probe.watch(waits(&gate, n)));
        }
        assert!(task.run(&mut group).is_pending());
        for (done, n) in [count - 1, count - 2, 0].into_iter().enumerate() {
            let wakes = task.wakes();
            gate.open(n);
            assert_eq!(task.wakes(), wakes + 1);
            assert!(task.poll(&mut group).is_pending());
            assert_eq!((probe.polls(), probe.drops()), (count + done + 1, done + 1));
        }
    }
}

#[test]
fn a_set_may_grow_after_wake_ups_in_all_its_parts() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::unboxed();
    let mut added = 0;
    for (ended, running) in [3_904, 3_905, 8_001, 12_097].into_iter().enumerate() {
        while added < running + ended {
            group.queue(probe.watch(waits(&gate, added)));
            added += 1;
        }
        assert!(task.run(&mut group).is_pending());
        let (polls, wakes) = (probe.polls(), task.wakes());
        gate.open(added - 1);
        assert_eq!(task.wakes(), wakes + 1);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((probe.polls(), probe.drops()), (polls + 1, ended + 1));
    }
}

#[test]
fn a_go_among_many_children_starts_those_before_it_first() {
    for before in [1, 2, 70] {
        let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
        let mut group = Group::<Kind>::new();
        (0..200).for_each(|n| group.queue(waits(&gate, n)));
        assert!(task.run(&mut group).is_pending());
        for number in 0..before {
            group.queue(logged_child(number, &gate, &log));
        }
        assert!(is_ok(task.poll(&mut group.go(logged_child(before, &gate, &log)))));
        let expected: Vec<_> = (0..=before).map(|number| format!("+{number}")).collect();
        assert_eq!(log.take(), expected);
    }
}

#[test]
fn a_go_among_more_woken_children_than_a_poll_takes_starts_its_child() {
    let (task, gate, probe, newcomer) = (MockTask::new(), Gate::new(), Probe::new(), Probe::new());
    let mut group = Group::<Kind>::new();
    (0..5_000).for_each(|n| group.queue(probe.watch(waits(&gate, n))));
    assert!(task.run(&mut group).is_pending());
    (0..5_000).for_each(|n| gate.open(n));
    assert!(is_ok(task.poll(&mut group.go(newcomer.watch(pending())))));
    assert_eq!(newcomer.polls(), 1);
    assert_eq!(probe.polls(), 5_000 + 4_095, "a poll polls 4,096 children");
    assert!(task.run(&mut group).is_pending());
    assert_eq!((group.stats().ok, newcomer.polls()), (5_000, 1));
}

#[test]
fn each_go_starts_its_child_however_many_yield() {
    // Of the children, one in so many waits instead, so that the budget ends at any of them.
    for (parked, waits_one_in) in [0, 70].into_iter().flat_map(|it| (2..12).map(move |n| (it, n))) {
        let task = MockTask::new();
        let mut group = Group::<Kind>::new();
        (0..parked).for_each(|_| group.queue(job(pending())));
        assert!(parked == 0 || task.run(&mut group).is_pending());
        for count in 1..40 {
            let (probe, yields) = (Probe::new(), count % waits_one_in != 0);
            let child = probe.watch(async move {
                if yields {
                    loop {
                        yield_now().await;
                    }
                }
                pending().await
            });
            assert!(is_ok(task.run(&mut group.go(child))));
            assert!(probe.polls() > 0, "child {count} of {waits_one_in}, beside {parked}");
        }
    }
}

#[test]
fn a_go_forgets_no_child_that_has_yielded_elsewhere_in_a_large_set() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::<Kind>::new();
    // Three parts of 64 children; the last has room for one more, and the first for three.
    (0..191).for_each(|n| group.queue(waits(&gate, n)));
    assert!(task.run(&mut group).is_pending());
    (5..8).for_each(|n| gate.open(n));
    assert!(task.run(&mut group).is_pending());
    let ends = Arc::new(AtomicBool::new(false));
    for _ in 0..3 {
        assert!(is_ok(task.poll(&mut group.go(yields(&ends)))));
    }
    ends.store(true, SeqCst);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(group.stats().ok, 6);
}

#[test]
fn a_go_in_the_first_of_the_parts_with_children_that_have_yielded_forgets_none_of_the_others() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::<Kind>::new();
    let ends = Arc::new(AtomicBool::new(false));
    // Two parts of 64 children; the second has room for one more.
    group.queue(waits(&gate, 0));
    let (door, child) = (gate.wait(1), yields(&ends));
    group.queue(job(async move {
        door.await;
        child.await
    }));
    (2..127).for_each(|n| group.queue(waits(&gate, n)));
    assert!(task.run(&mut group).is_pending());
    // In one round, the first part gets room, one of its children yields, then one of the second.
    (0..2).for_each(|n| gate.open(n));
    assert!(is_ok(task.poll(&mut group.go(yields(&ends)))));
    assert!(is_ok(task.poll(&mut group.go(yields(&ends)))));
    ends.store(true, SeqCst);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(group.stats().ok, 4);
}

#[test]
fn a_go_that_has_used_the_budget_up_forgets_none_of_the_children_that_have_yielded() {
    let (task, ends) = (MockTask::new(), Arc::new(AtomicBool::new(false)));
    let mut group = Group::<Kind>::new();
    // In each part of the set more children yield than one poll polls.
    (0..150).for_each(|_| group.queue(yields(&ends)));
    for count in 0..60 {
        let probe = Probe::new();
        let mut go = group.go(probe.watch(yields(&ends)));
        assert!(is_ok(task.run(&mut go)));
        assert!(probe.polls() > 0, "child {count}");
    }
    ends.store(true, SeqCst);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(group.stats().ok, 210);
}

#[test]
fn a_newcomer_behind_a_child_whose_error_stops_its_go_is_drained() {
    for parked in [0, 70] {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = Group::<Kind>::new();
        (0..parked).for_each(|n| group.queue(waits(&gate, n)));
        assert!(parked == 0 || task.run(&mut group).is_pending());
        let fails = job(async {
            yield_now().await;
            Err("broken")
        });
        assert!(is_ok(task.poll(&mut group.go(fails))));
        assert!(is_ok(task.poll(&mut group.go(probe.watch(waits(&gate, 100))))));
        assert!(group.is_stopped());
        assert!(task.run(&mut group).is_pending());
        assert_eq!(probe.polls(), 1);
        (0..=100).for_each(|n| gate.open(n));
        assert_eq!(task.run(&mut group), Poll::Ready(Err("broken")));
        assert_eq!(group.stats().ok, parked + 1);
    }
}

#[test]
fn a_set_that_has_given_memory_back_grows_again() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::<Kind>::new();
    (0..3_000).for_each(|n| group.queue(waits(&gate, n)));
    assert!(task.run(&mut group).is_pending());
    // Some are left in many parts of the set.
    (0..3_000).filter(|n| n % 300 != 7).for_each(|n| gate.open(n));
    assert!(task.run(&mut group).is_pending());
    assert_eq!(group.stats().running, 10);
    (3_000..5_000).for_each(|n| group.queue(waits(&gate, n)));
    assert!(task.run(&mut group).is_pending());
    assert_eq!(group.stats().running, 2_010);
    (0..5_000).for_each(|n| gate.open(n));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn large_children_outlive_one_another() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::unboxed();
    (0..3).for_each(|n| group.queue(unboxed::<10_000>(waits(&gate, n))));
    assert!(task.run(&mut group).is_pending());
    for n in [1, 0, 2] {
        assert_eq!(group.stats().running, 3 - group.stats().ok);
        gate.open(n);
        assert_eq!(task.run(&mut group).is_ready(), n == 2);
    }
    assert_eq!(group.stats().ok, 3);
}

/// A bit of a region may be left in the parent's waker when the set gives all memory back.
#[test]
fn a_wake_up_of_a_region_that_is_gone_is_harmless() {
    // Large, so that a set without children retains no block.
    fn child(ends: bool) -> impl Future<Output = Result<usize, ()>> {
        let large = [0_u8; 5_000];
        poll_fn(move |cx| {
            // By a clone: a waker that was only lent sets no bit.
            let waker = cx.waker().clone();
            waker.wake();
            if ends { Poll::Ready(Ok(usize::from(large[7]))) } else { Poll::Pending }
        })
    }
    // Two regions, then one.
    let (task, count) = (MockTask::new(), 7_200);
    let mut results = Group::unboxed().results();
    (0..count).for_each(|_| results.queue(child(true)));
    // The last child ends in a poll that gives a result, and leaves its wake-up to the next one.
    let mut fetched = 0;
    while fetched < count {
        fetched += usize::from(task.poll(&mut results.next()).is_ready());
    }
    (0..3_000).for_each(|_| results.queue(child(false)));
    assert!(task.poll(&mut results.next()).is_pending());
}

/// What a test sees of a child that waits, and what it tells it.
#[derive(Default)]
struct Seat {
    waker: Option<Waker>,
    polls: usize,
    ends: bool,
    is_dropped: bool,
}

/// Keeps the waker with which it is polled, until it is told to end.
struct Seated {
    seats: Arc<Mutex<Vec<Seat>>>,
    at: usize,
}

impl Future for Seated {
    type Output = Result<usize, &'static str>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let seat = &mut self.seats.lock().unwrap()[self.at];
        seat.polls += 1;
        seat.waker = Some(cx.waker().clone());
        if seat.ends { Poll::Ready(Ok(self.at)) } else { Poll::Pending }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.seats.lock().unwrap()[self.at].is_dropped = true;
    }
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// Adds so many children, wakes some now and then, and ends all but `left`, round after round. The
/// wakers of some that have ended are kept, and woken later, when others may have their slots.
fn grow_and_shrink(seed: u64, rounds: &[(usize, usize)]) {
    let (task, seats, mut numbers) =
        (MockTask::new(), Arc::<Mutex<Vec<Seat>>>::default(), Numbers(seed));
    let mut group = Group::new();
    let _open = group.handle();
    let (mut alive, mut stale) = (Vec::new(), Vec::<Waker>::new());
    for &(add, left) in rounds {
        for _ in 0..add {
            let at = seats.lock().unwrap().len();
            seats.lock().unwrap().push(Seat::default());
            alive.push(at);
            group.queue(job(Seated { seats: Arc::clone(&seats), at }));
        }
        assert!(task.run(&mut group).is_pending());
        for _ in 0..4 {
            let before: Vec<_> = seats.lock().unwrap().iter().map(|seat| seat.polls).collect();
            let mut woken = BTreeSet::new();
            for _ in 0..numbers.below(300) {
                let at = alive[numbers.below(alive.len())];
                let waker = seats.lock().unwrap()[at].waker.clone().unwrap();
                waker.wake();
                woken.insert(at);
                if !stale.is_empty() {
                    stale[numbers.below(stale.len())].wake_by_ref();
                }
            }
            assert!(task.run(&mut group).is_pending());
            for (at, (seat, before)) in seats.lock().unwrap().iter().zip(before).enumerate() {
                assert_eq!(seat.polls - before, usize::from(woken.contains(&at)), "number {at}");
            }
        }
        while alive.len() > left {
            let at = alive.swap_remove(numbers.below(alive.len()));
            let waker = {
                let seat = &mut seats.lock().unwrap()[at];
                seat.ends = true;
                seat.waker.take().unwrap()
            };
            waker.wake_by_ref();
            stale.extend((numbers.below(4) == 0).then_some(waker));
            if numbers.below(1_000) == 0 {
                let _ = task.run(&mut group);
            }
        }
        let _ = task.run(&mut group);
        assert!(seats.lock().unwrap().iter().all(|seat| seat.is_dropped == seat.ends));
        stale.truncate(200);
    }
    drop(group);
    assert!(seats.lock().unwrap().iter().all(|seat| seat.is_dropped));
    stale.iter().for_each(Waker::wake_by_ref);
}

#[test]
fn a_crowd_that_grows_and_shrinks_polls_just_the_children_that_were_woken() {
    // As many blocks as have a bit of the task's waker, and more; the set is reset between.
    for seed in 0..8 {
        grow_and_shrink(seed, &[(200, 3), (6_000, 60), (3_000, 1), (7_000, 500), (100, 1)]);
    }
    // More children than the regions with such a bit hold.
    grow_and_shrink(9, &[(69_000, 300), (3_000, 1)]);
}
