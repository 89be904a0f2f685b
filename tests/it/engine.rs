//! The wakers that the engine lends to children, and the path of a child that is alone: what is
//! left of them after an end, a panic, and a change of the number of children.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use crate::common::{
    Bomb, Calls, Gate, Job, MockTask, OnDrop, Probe, job, panic_message, unboxed, waits, yield_now,
};
use errgroup::{Boxed, Child, Children, Group};
use futures::StreamExt;

type Kind = Boxed<'static, usize, &'static str>;
type WakerCell = Arc<Mutex<Option<Waker>>>;

/// Makes a child that keeps its waker in a cell, waits at a door, and then does as `end` says.
fn keeps_its_waker(
    cell: &WakerCell,
    gate: &Gate,
    number: usize,
    mut end: impl FnMut() -> Result<usize, &'static str> + Send + 'static,
) -> Job {
    let (cell, mut wait) = (Arc::clone(cell), gate.wait(number));
    job(poll_fn(move |cx| {
        *cell.lock().unwrap() = Some(cx.waker().clone());
        Pin::new(&mut wait).poll(cx).map(|()| end())
    }))
}

fn taken(cell: &WakerCell) -> Waker {
    cell.lock().unwrap().take().expect("it was polled")
}

#[test]
fn after_a_panic_of_the_policy_a_stale_waker_reaches_no_child() {
    /// `before` siblings keep no waker, `siblings` do.
    fn scenario(before: usize, siblings: usize) {
        let (task, gate, cell) = (MockTask::new(), Gate::new(), WakerCell::default());
        let mut group = Group::new().with_policy(Calls::new(|_, _| panic!("the policy")));
        let newcomer = Arc::new(Mutex::new(None::<Box<dyn FnOnce() + Send>>));
        let adds = Arc::clone(&newcomer);
        (0..before).for_each(|_| group.queue(job(pending())));
        group.queue(keeps_its_waker(&cell, &gate, 0, move || {
            adds.lock().unwrap().take().unwrap()();
            Ok(0)
        }));
        for n in 0..siblings {
            group.queue(waits(&gate, 10 + n));
        }
        assert!(task.poll(&mut group).is_pending());
        let stale = taken(&cell);

        // The child gets a successor in its last poll.
        let (handle, probe) = (group.handle(), Probe::new());
        let (watched, mut finishes) = (probe.clone(), gate.wait(1));
        *newcomer.lock().unwrap() = Some(Box::new(move || {
            let mut polled = false;
            handle.queue(watched.watch(poll_fn(move |cx| {
                // At first it asks for no wake-up.
                match std::mem::replace(&mut polled, true) {
                    false => Poll::Pending,
                    true => Pin::new(&mut finishes).poll(cx).map(|()| Ok(1)),
                }
            })));
        }));
        gate.open(0);
        for _ in 0..3 {
            assert!(task.poll(&mut group).is_pending());
        }
        assert_eq!(probe.polls(), 1);
        let wakes = task.wakes();
        stale.wake();
        *cell.lock().unwrap() = None;
        assert_eq!(task.wakes(), wakes, "there is no work");
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(probe.polls(), 1, "it was not woken");
        drop(group);
        assert_eq!(probe.drops(), 1);
    }
    for before in [0, 3] {
        scenario(before, 0);
        scenario(before, 1);
        scenario(before, 70);
    }
}

#[test]
fn a_child_that_panics_alone_leaves_its_siblings_and_numbers_as_they_are() {
    /// How the child panics: in its poll, or in its destructor after it has returned.
    fn scenario<C>(group: Group<C>, siblings: usize, in_poll: bool, first_poll: bool)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, cell) = (MockTask::new(), Gate::new(), WakerCell::default());
        let mut group = group;
        let probe = Probe::new();
        for n in 0..siblings {
            group.queue(probe.watch(waits(&gate, 10 + n)));
        }
        assert!(siblings == 0 || task.poll(&mut group).is_pending());
        let bomb = if in_poll { None } else { Some(Bomb("its end")) };
        let child = keeps_its_waker(&cell, &gate, 0, move || {
            let _bomb = &bomb;
            match in_poll {
                true => std::panic::panic_any("its end"),
                false => Ok(0),
            }
        });
        group.queue(child);
        if first_poll {
            gate.open(0);
        } else {
            assert!(task.poll(&mut group).is_pending());
            gate.open(0);
        }
        if siblings == 0 {
            assert_eq!(panic_message(|| task.poll(&mut group)), "its end");
            taken(&cell).wake();
            assert_eq!(group.stats().dropped, 1);
            return;
        }
        assert!(task.poll(&mut group).is_pending());
        let wakes = task.wakes();
        taken(&cell).wake();
        assert_eq!(task.wakes(), wakes, "it is gone");
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(probe.polls(), siblings);
        assert_eq!((group.stats().running, group.stats().dropped), (siblings, 1));
        for n in 0..siblings {
            assert_eq!(probe.drops(), n);
            gate.open(10 + n);
            if n + 1 < siblings {
                assert!(task.poll(&mut group).is_pending());
            }
        }
        assert_eq!(panic_message(|| task.poll(&mut group)), "its end");
        assert_eq!((probe.polls(), probe.drops()), (2 * siblings, siblings));
        assert_eq!((group.stats().ok, group.stats().dropped), (siblings, 1));
    }
    for siblings in [0, 1, 2, 63, 64, 70] {
        for (in_poll, first_poll) in [(true, true), (true, false), (false, true), (false, false)] {
            scenario(Group::new(), siblings, in_poll, first_poll);
            scenario(Group::unboxed(), siblings, in_poll, first_poll);
        }
    }
}

#[test]
fn a_group_that_grows_and_becomes_empty_again_and_again_heeds_no_stale_waker() {
    fn scenario<const SIZE: usize>() {
        let task = MockTask::new();
        let mut results = Group::unboxed().results();
        let mut stale: Vec<Waker> = Vec::new();
        for count in [1, 65, 1, 2, 130, 1, 64, 66, 1] {
            let (gate, polls) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
            for n in 0..count {
                let (polls, mut wait) = (Arc::clone(&polls), gate.wait(n));
                results.queue(unboxed::<SIZE>(job(poll_fn(move |cx| {
                    polls.fetch_add(1, SeqCst);
                    Pin::new(&mut wait).poll(cx).map(|()| Ok(n))
                }))));
            }
            assert!(task.poll(&mut results.next()).is_pending());
            assert_eq!(polls.load(SeqCst), count);
            let wakes = task.wakes();
            stale.iter().for_each(Waker::wake_by_ref);
            assert_eq!(task.wakes(), wakes, "there is no work");
            assert!(task.poll(&mut results.next()).is_pending());
            assert_eq!(polls.load(SeqCst), count, "none was woken");
            for done in 0..count {
                let n = done * 7 % count;
                // Of some no clone is left, so that what was lent is lent again.
                stale.extend(gate.waker(n).filter(|_| done % 3 == 0));
                gate.open(n);
                assert_eq!(task.wakes(), wakes + done + 1);
                let next = task.poll(&mut results.next());
                assert_eq!(next, Poll::Ready(Some(Ok(n))));
                assert!(done + 1 == count || task.poll(&mut results.next()).is_pending());
                assert_eq!(polls.load(SeqCst), count + done + 1);
            }
            assert_eq!(task.poll(&mut results.next()), Poll::Ready(None));
        }
    }
    // Of these sizes a set retains several blocks, one, or none.
    scenario::<1>();
    scenario::<3_000>();
    scenario::<10_000>();
}

#[test]
fn a_waker_that_was_lent_is_lent_again_when_no_clone_of_it_is_left() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut results = Group::<Kind>::new().results();
    // Keeps the group from being empty, and never keeps a waker.
    results.queue(job(poll_fn(|_| Poll::Pending)));
    assert!(task.poll(&mut results.next()).is_pending());
    let mut stale: Option<Waker> = None;
    for round in 0..6 {
        let probe = Probe::new();
        results.queue(probe.watch(waits(&gate, round)));
        assert!(task.poll(&mut results.next()).is_pending());
        let (own, wakes) = (gate.waker(round).unwrap(), task.wakes());
        if let Some(stale) = stale.take_if(|_| round % 2 == 0) {
            // The last clone of the last one's.
            stale.wake();
        }
        assert!(task.poll(&mut results.next()).is_pending());
        assert_eq!((probe.polls(), task.wakes()), (1, wakes), "it was not woken");
        own.wake_by_ref();
        assert_eq!(task.wakes(), wakes + 1);
        assert!(task.poll(&mut results.next()).is_pending());
        assert_eq!(probe.polls(), 2);
        gate.open(round);
        assert_eq!(task.poll(&mut results.next()), Poll::Ready(Some(Ok(round))));
        assert_eq!((probe.polls(), probe.drops()), (3, 1));
        stale = Some(own);
    }
}

#[test]
fn a_child_may_give_its_waker_up_and_yield() {
    fn scenario(siblings: usize) {
        let (task, cell, probe) = (MockTask::new(), WakerCell::default(), Probe::new());
        let mut group = Group::<Kind>::new();
        for _ in 0..siblings {
            group.queue(job(poll_fn(|_| Poll::Pending)));
        }
        let keeps = Arc::clone(&cell);
        group.queue(probe.watch(async move {
            for _ in 0..3 {
                // Parks with a clone, which is dropped before the next poll.
                let mut parked = false;
                poll_fn(|cx| {
                    *keeps.lock().unwrap() = Some(cx.waker().clone());
                    if std::mem::replace(&mut parked, true) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                *keeps.lock().unwrap() = None;
                yield_now().await;
                // By a clone that is dropped at once.
                let mut yielded = false;
                poll_fn(|cx| {
                    if std::mem::replace(&mut yielded, true) {
                        return Poll::Ready(());
                    }
                    let clone = cx.waker().clone();
                    clone.wake();
                    Poll::Pending
                })
                .await;
            }
            Ok(0)
        }));
        assert!(task.run(&mut group).is_pending());
        for round in 0..3 {
            let polls = probe.polls();
            assert!(task.run(&mut group).is_pending());
            assert_eq!(probe.polls(), polls, "round {round}: it was not woken");
            taken(&cell).wake();
            let _ = task.run(&mut group);
        }
        assert_eq!(probe.drops(), 1);
    }
    scenario(0);
    scenario(1);
    scenario(64);
}

#[test]
fn a_destructor_that_wakes_its_own_waker_wakes_nothing_else() {
    fn scenario(siblings: usize) {
        let (task, gate, cell) = (MockTask::new(), Gate::new(), WakerCell::default());
        let mut results = Group::<Kind>::new().results();
        let probe = Probe::new();
        for n in 0..siblings {
            results.queue(probe.watch(waits(&gate, 10 + n)));
        }
        let own = Arc::clone(&cell);
        let wakes_it = OnDrop(move || {
            let waker = own.lock().unwrap().clone();
            waker.into_iter().for_each(Waker::wake);
        });
        results.queue(keeps_its_waker(&cell, &gate, 0, move || {
            let _wakes_it = &wakes_it;
            Ok(0)
        }));
        assert!(task.poll(&mut results.next()).is_pending());
        gate.open(0);
        assert_eq!(task.poll(&mut results.next()), Poll::Ready(Some(Ok(0))));
        results.queue(probe.watch(waits(&gate, 1)));
        for _ in 0..3 {
            assert!(task.poll(&mut results.next()).is_pending());
        }
        assert_eq!(probe.polls(), siblings + 1);
    }
    scenario(0);
    scenario(1);
    scenario(64);
}
