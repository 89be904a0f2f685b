//! No child starves, and every poll ends.

use std::future::{pending, poll_fn, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::common::{Gate, Job, MockTask, OnDrop, Probe, job, waits, yield_now};
use errgroup::{Boxed, Child, Children, Group};
use futures::stream;

type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// The most polls of children in one poll of a group.
const MOST: usize = 4096;

/// Makes a child that wakes itself in each of its polls, for ever.
fn restless() -> Job {
    job(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
}

#[test]
fn ten_thousand_ready_children_take_three_polls() {
    fn scenario<C>(group: Group<C>, limit: Option<usize>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group;
        group.set_limit(limit);
        for n in 0..10_000 {
            group.queue(probe.watch(ready(Ok(n))));
        }
        for poll in 1..=2 {
            assert!(task.poll(&mut group).is_pending());
            assert_eq!(probe.polls(), poll * MOST);
            assert_eq!(task.wakes(), poll, "it wakes itself, and yields");
        }
        assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
        assert_eq!((probe.polls(), probe.drops(), task.wakes()), (10_000, 10_000, 2));
    }
    for limit in [None, Some(1), Some(64), Some(5000)] {
        scenario(Group::new(), limit);
        scenario(Group::local(), limit);
        scenario(Group::unboxed(), limit);
    }
}

#[test]
fn ten_thousand_newcomers_in_reused_slots_take_three_polls_too() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new();
    group.queue(pending());
    (0..10_000).for_each(|n| group.queue(waits(&gate, n)));
    assert!(task.run(&mut group).is_pending());
    (0..10_000).for_each(|n| gate.open(n));
    assert!(task.run(&mut group).is_pending());
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((group.stats().ok, group.stats().running), (10_000, 1));
    (0..10_000).for_each(|n| group.queue(probe.watch(ready(Ok(n)))));
    let before = task.wakes();
    for (poll, polled) in [(1, MOST), (2, 2 * MOST), (3, 10_000)] {
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((probe.polls(), task.wakes() - before), (polled, poll.min(2)));
    }
}

#[test]
fn five_thousand_woken_children_take_two_polls() {
    fn scenario<C>(group: Group<C>, sleepers: usize)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        (0..5000).for_each(|n| group.queue(probe.watch(waits(&gate, n))));
        (0..sleepers).for_each(|_| group.queue(job(pending())));
        assert!(task.run(&mut group).is_pending());
        assert!(task.poll(&mut group).is_pending());
        let before = task.wakes();
        (0..5000).for_each(|n| gate.open(n));
        assert_eq!((probe.polls(), task.wakes() - before), (5000, 1));
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((probe.polls(), task.wakes() - before), (5000 + MOST, 2));
        assert_eq!(task.poll(&mut group).is_ready(), sleepers == 0);
        assert_eq!((probe.drops(), task.wakes() - before), (5000, 2));
    }
    for sleepers in [0, 1, 5000] {
        scenario(Group::new(), sleepers);
        scenario(Group::local(), sleepers);
        scenario(Group::unboxed(), sleepers);
    }
}

#[test]
fn as_many_children_as_the_budget_take_one_poll() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    for n in 0..MOST {
        group.queue(probe.watch(ready(Ok(n))));
    }
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert!(task.wakes() <= 1, "{}", task.wakes());
}

#[test]
fn a_poll_of_go_is_bounded_too() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new().with_limit(1);
    for n in 0..10_000 {
        group.queue(probe.watch(ready(Ok(n))));
    }
    let mut go = pin!(group.go(probe.watch(ready(Ok(0)))));
    for poll in 1..=2 {
        assert!(task.poll(&mut go).is_pending());
        assert_eq!((probe.polls(), task.wakes()), (poll * MOST, poll));
    }
    assert!(task.poll(&mut go).is_ready());
    assert_eq!(task.wakes(), 2);
    // The child of the `go` has begun, too.
    assert!(probe.polls() <= 10_001);
}

#[test]
fn a_poll_of_feed_is_bounded_too() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new().with_limit(1);
    let children = (0..10_000).map(|n| probe.watch(ready(Ok(n))));
    let mut feed = pin!(group.feed(stream::iter(children)));
    let (mut polls, mut before) = (0, 0);
    loop {
        let poll = task.poll(&mut feed);
        polls += 1;
        assert!(probe.polls() - before <= MOST);
        before = probe.polls();
        if poll.is_ready() {
            break;
        }
        assert_eq!(task.wakes(), polls, "there is work left");
    }
    assert_eq!(polls, 3);
}

#[test]
fn a_poll_of_feed_with_a_pending_stream_is_bounded_too() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    (0..10_000).for_each(|n| group.queue(probe.watch(ready(Ok(n)))));
    let mut feed = pin!(group.feed(stream::pending::<Job>()));
    for (poll, polled) in [(1, MOST), (2, 2 * MOST), (3, 10_000)] {
        assert!(task.poll(&mut feed).is_pending());
        assert_eq!((probe.polls(), task.wakes()), (polled, poll.min(2)));
    }
}

#[test]
fn a_poll_of_a_scope_is_bounded_too() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let adds = probe.clone();
    let mut scope = pin!(Jobs::new().with_limit(1).scope(|handle| async move {
        for n in 0..10_000 {
            handle.queue(adds.watch(ready(Ok(n))));
        }
        pending::<()>().await;
    }));
    let mut before = 0;
    for poll in 1..=3 {
        assert!(task.poll(&mut scope).is_pending());
        assert!(probe.polls() - before <= MOST);
        before = probe.polls();
        assert_eq!(task.wakes(), poll.min(2));
    }
    assert_eq!(probe.polls(), 10_000);
}

#[test]
fn a_poll_is_bounded_with_children_that_wake_themselves_for_ever() {
    fn scenario<C>(group: Group<C>, count: usize)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group;
        for _ in 0..count {
            group.queue(probe.watch(restless()));
        }
        for poll in 1..=3 {
            let before = probe.polls();
            assert!(task.poll(&mut group).is_pending());
            assert!((1..=MOST).contains(&(probe.polls() - before)));
            assert_eq!(task.wakes(), poll);
        }
    }
    for count in [1, 10, 100, 5000] {
        scenario(Group::new(), count);
        scenario(Group::local(), count);
        scenario(Group::unboxed(), count);
    }
}

#[test]
fn a_child_that_wakes_itself_for_ever_starves_no_sibling() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, noise, calm) = (MockTask::new(), Gate::new(), Probe::new(), Probe::new());
        let mut group = group;
        group.queue(noise.watch(restless()));
        for n in 0..70 {
            group.queue(calm.watch(waits(&gate, n)));
        }
        group.queue(noise.watch(restless()));
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(calm.polls(), 70);
        for n in 0..70 {
            gate.open(n);
            assert!(task.poll(&mut group).is_pending());
            assert_eq!((calm.polls(), calm.drops()), (71 + n, n + 1));
        }
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn five_thousand_restless_children_starve_no_sibling() {
    let (task, gate, calm) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new();
    for _ in 0..5000 {
        group.queue(restless());
    }
    group.queue(calm.watch(waits(&gate, 0)));
    // Each child has its turn before another has one too many. A few have it in each poll, since
    // all they do is to yield.
    let mut polls = 0;
    while calm.polls() == 0 {
        assert!(task.poll(&mut group).is_pending());
        polls += 1;
    }
    assert!(polls <= 5001 / 2, "{polls} polls");
    gate.open(0);
    for _ in 0..polls + 1 {
        assert!(task.poll(&mut group).is_pending());
    }
    assert_eq!((calm.polls(), calm.drops()), (2, 1));
}

#[test]
fn in_a_round_each_woken_child_is_polled_once() {
    // The polls of children that all yield are interleaved: no child is polled twice before
    // every child was polled once.
    fn scenario<C>(group: Group<C>, count: usize)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let polls: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut group = group;
        for n in 0..count {
            let polls = Arc::clone(&polls);
            group.queue(job(async move {
                for _ in 0..3 {
                    polls.lock().unwrap().push(n);
                    yield_now().await;
                }
                Ok(n)
            }));
        }
        assert_eq!(MockTask::new().finish(group), Ok(()));
        for round in polls.lock().unwrap().chunks_mut(count) {
            round.sort_unstable();
            assert!(round.iter().copied().eq(0..count));
        }
    }
    for count in [1, 2, 64, 65, 200] {
        scenario(Group::new(), count);
        scenario(Group::local(), count);
        scenario(Group::unboxed(), count);
    }
}

#[test]
fn no_child_is_polled_that_was_not_woken() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group;
        for n in 0..200 {
            group.queue(probe.watch(waits(&gate, n)));
        }
        group.queue(probe.watch(restless()));
        assert!(task.poll(&mut group).is_pending());
        let restless = probe.polls() - 200;
        for _ in 0..10 {
            assert!(task.poll(&mut group).is_pending());
        }
        let all = probe.polls() - 200;
        assert_eq!(all, 11 * restless, "the other children are not polled");
        // A newcomer wakes no child either.
        group.queue(probe.watch(pending()));
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(probe.polls() - 201, 12 * restless);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_group_polled_without_a_wake_up_polls_no_child() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new();
    for n in 0..100 {
        group.queue(probe.watch(waits(&gate, n)));
    }
    for _ in 0..5 {
        // By another task each time.
        assert!(task.poll(&mut group).is_pending());
        assert!(MockTask::new().poll(&mut group).is_pending());
    }
    assert_eq!(probe.polls(), 100);
}

/// Makes two children that wake each other in each of their polls.
fn ping_pong(polls: &Probe) -> [Job; 2] {
    let wakers: Arc<Mutex<[Option<Waker>; 2]>> = Arc::default();
    [0, 1].map(|me| {
        let wakers = Arc::clone(&wakers);
        polls.watch(poll_fn(move |cx| {
            let other = {
                let mut wakers = wakers.lock().unwrap();
                wakers[me] = Some(cx.waker().clone());
                wakers[1 - me].clone()
            };
            if let Some(other) = other {
                other.wake();
            }
            Poll::Pending
        }))
    })
}

#[test]
fn children_that_wake_each_other_for_ever_starve_no_sibling() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, calm, noise) = (MockTask::new(), Gate::new(), Probe::new(), Probe::new());
        let mut group = group;
        let [ping, pong] = ping_pong(&noise);
        group.queue(ping);
        group.queue(calm.watch(waits(&gate, 0)));
        group.queue(pong);
        for poll in 1..=5 {
            let before = noise.polls();
            assert!(task.poll(&mut group).is_pending());
            assert!((1..=MOST).contains(&(noise.polls() - before)));
            assert_eq!(task.wakes(), poll);
        }
        gate.open(0);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!((calm.polls(), calm.drops()), (2, 1));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn children_that_add_children_for_ever_do_not_block_the_task() {
    fn add(handle: errgroup::Handle<Boxed<'static, usize, &'static str>>, probe: Probe) -> Job {
        let more = probe.clone();
        probe.watch(async move {
            handle.queue(add(handle.clone(), more));
            Ok(0)
        })
    }
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Jobs::new();
    let handle = group.handle();
    group.queue(add(handle, probe.clone()));
    for poll in 1..=3 {
        let before = probe.polls();
        assert!(task.poll(&mut group).is_pending());
        assert!((1..=MOST).contains(&(probe.polls() - before)));
        assert_eq!(task.wakes(), poll);
    }
    group.token().cancel();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_thread_that_wakes_a_child_without_end_does_not_block_the_task() {
    let probe = Probe::new();
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let (set, stop) = (Arc::clone(&waker), AtomicBool::new(false));
    let mut group = Jobs::new();
    group.queue(probe.watch(poll_fn(move |cx| {
        *set.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    })));
    let task = MockTask::new();
    assert!(task.poll(&mut group).is_pending());
    let waker = waker.lock().unwrap().clone().unwrap();
    std::thread::scope(|threads| {
        let _stop = OnDrop(|| stop.store(true, SeqCst));
        threads.spawn(|| {
            while !stop.load(SeqCst) {
                waker.wake_by_ref();
            }
        });
        for _ in 0..200 {
            let before = probe.polls();
            assert!(task.poll(&mut group).is_pending());
            assert!(probe.polls() - before <= MOST);
        }
    });
}

#[test]
fn a_sibling_has_its_turn_while_other_children_replace_each_other() {
    // Limit 2: one slot has a new child all the time, and the child in the other is woken once.
    let (task, gate, calm) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Jobs::new().with_limit(2);
    group.queue(calm.watch(waits(&gate, 0)));
    let done = Arc::new(AtomicUsize::new(0));
    for n in 0..20_000 {
        let (done, gate) = (Arc::clone(&done), gate.clone());
        group.queue(job(async move {
            if done.fetch_add(1, SeqCst) == 100 {
                gate.open(0);
            }
            Ok(n)
        }));
    }
    assert!(task.poll(&mut group).is_pending());
    assert_eq!((calm.polls(), calm.drops()), (2, 1), "in the same poll");
    assert!(done.load(SeqCst) < 5000);
}

#[test]
fn a_wake_up_before_a_poll_that_spends_its_budget_on_an_old_round_is_not_lost() {
    for extra in [MOST - 1, MOST, MOST + 1] {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = Group::new();
        group.queue(probe.watch(waits(&gate, 0)));
        for _ in 1..MOST + extra {
            group.queue(job(pending()));
        }
        assert!(task.poll(&mut group).is_pending());
        // The round is not over: the next poll goes on with it.
        gate.open(0);
        assert!(task.run(&mut group).is_pending());
        assert_eq!((probe.polls(), probe.drops()), (2, 1), "{extra} extra");
    }
}

#[test]
fn a_child_that_yields_in_an_earlier_polls_round_is_polled_once_in_this_one() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new();
    for _ in 0..MOST {
        group.queue(job(pending()));
    }
    group.queue(probe.watch(restless()));
    assert!(task.poll(&mut group).is_pending());
    for polls in 1..4 {
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(probe.polls(), polls);
    }
}

/// Makes a group of children that wait, and polls each once. Then wakes so many of them outside of
/// the group's poll, as an executor does that keeps wakers. Returns how many of them the next poll
/// polls.
fn polled_of_woken(children: usize, woken: usize) -> usize {
    let (wakers, polls) = (Arc::new(Mutex::new(Vec::<Waker>::new())), Probe::new());
    let (task, mut group) = (MockTask::new(), Jobs::new());
    for _ in 0..children {
        let wakers = Arc::clone(&wakers);
        group.queue(job(polls.watch(poll_fn(move |cx| {
            wakers.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        }))));
    }
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(polls.polls(), children);
    let all = std::mem::take(&mut *wakers.lock().unwrap());
    all.iter().take(woken).for_each(Waker::wake_by_ref);
    assert!(task.poll(&mut group).is_pending());
    polls.polls() - children
}

#[test]
fn a_poll_ends_early_if_an_executor_wakes_those_that_wait_between_the_polls() {
    // In one block of children, and in several.
    for children in [40, 200] {
        assert_eq!(polled_of_woken(children, children), 8);
        assert_eq!(polled_of_woken(children, children / 2), children / 2);
        assert_eq!(polled_of_woken(children, 0), 0);
    }
    // So few may wait by themselves.
    assert_eq!(polled_of_woken(20, 20), 20);
}

#[test]
fn a_go_whose_child_has_begun_polls_no_other_beyond_the_budget() {
    // The go's child is at various places of the round in which the budget is spent.
    for count in MOST - 7..MOST + 2 {
        let (task, probe) = (MockTask::new(), Probe::new());
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut group = Jobs::new();
        let handle = group.handle();
        // The first go ends in the middle of a round.
        (0..MOST - 1).for_each(|n| group.queue(probe.watch(ready(Ok(n)))));
        let (begun, of_children) = (Arc::clone(&order), probe.clone());
        group.queue(probe.watch(async move {
            for n in 0..3000 {
                let begun = Arc::clone(&begun);
                handle.queue(of_children.watch(async move {
                    begun.lock().unwrap().push(n);
                    Ok(n)
                }));
            }
            Ok(0)
        }));
        (0..count).for_each(|n| group.queue(probe.watch(ready(Ok(n)))));
        assert!(task.poll(&mut group.go(probe.watch(ready(Ok(0))))).is_ready());
        let mut go = pin!(group.go(probe.watch(ready(Ok(0)))));
        loop {
            let before = probe.polls();
            let is_ready = task.poll(&mut go).is_ready();
            assert!(probe.polls() - before <= MOST, "{count}");
            if is_ready {
                break;
            }
        }
        assert!(task.run(&mut group).is_ready());
        assert!(order.lock().unwrap().is_sorted(), "{count}");
    }
}
