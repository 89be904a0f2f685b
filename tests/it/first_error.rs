//! The first child to finish with an error decides, and its error comes out untouched.

use std::future::{poll_fn, ready};
use std::pin::pin;
use std::task::Poll;

use crate::common::{
    DropCounter, Gate, Job, Log, MockTask, Probe, Values, fails, job, waits, yield_now,
};
use errgroup::{Boxed, Child, Children, Group, Reason, TryGoError};

type Jobs = Group<Boxed<'static, usize, &'static str>>;

#[test]
fn the_first_child_to_finish_with_an_error_decides() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = group;
        group.queue(fails(&gate, 0, "admitted first"));
        group.queue(waits(&gate, 1));
        group.queue(fails(&gate, 2, "finished first"));
        assert!(task.poll(&mut group).is_pending());
        gate.open(2);
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        gate.open(1);
        assert_eq!(task.poll(&mut group), Poll::Ready(Err("finished first")));
        assert_eq!((group.stats().ok, group.stats().failed), (1, 2));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn of_two_errors_in_one_poll_the_one_polled_first_decides() {
    let task = MockTask::new();
    for failing in [10, 70, 130] {
        let mut group = Jobs::new();
        for n in 0..200 {
            group.queue(job(async move {
                match n {
                    n if n < failing => Ok(n),
                    n if n == failing => Err("the first"),
                    _ => Err("a later one"),
                }
            }));
        }
        assert_eq!(task.poll(&mut group), Poll::Ready(Err("the first")));
    }
}

#[test]
fn an_error_that_yields_once_comes_after_one_that_does_not() {
    let mut group = Jobs::new();
    group.queue(job(async {
        yield_now().await;
        Err("slow")
    }));
    group.queue(ready(Err("fast")));
    assert_eq!(MockTask::new().finish(group), Err("fast"));
}

#[test]
fn the_error_is_returned_as_it_is() {
    // The errors are neither `Clone` nor `Debug`.
    let (this, other) = (DropCounter::default(), DropCounter::default());
    let (failure, later) = (this.value("this"), other.value("the other"));
    let mut group = Values::new();
    group.queue(async { Err(failure) });
    group.queue(async { Err(later) });
    let Err(error) = MockTask::new().finish(group) else {
        panic!("a child has failed");
    };
    assert_eq!((error.name, this.get(), other.get()), ("this", 0, 1));
}

#[test]
fn the_group_stops_at_the_first_error() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
        let mut group = group.with_limit(3);
        let token = group.token().clone();
        let handle = group.handle();
        let sees = |name: &'static str, number| {
            let (log, token) = (log.clone(), token.clone());
            let mut polled = gate.wait(number);
            job(poll_fn(move |cx| {
                log.add(format!("{name} sees {:?}", token.reason()));
                std::pin::Pin::new(&mut polled).poll(cx).map(|()| Ok(1))
            }))
        };
        group.queue(sees("the one before", 8));
        group.queue(job(ready(Err("broken"))));
        group.queue(sees("the one after", 9));
        let queued = Probe::new();
        group.queue(queued.watch(waits(&gate, 9)));
        let (going, waiting) = (MockTask::new(), Probe::new());
        let mut go = pin!(handle.go(waiting.watch(ready(Ok(7)))));
        assert!(going.poll(&mut go).is_pending());

        assert!(task.poll(&mut group).is_pending());
        assert_eq!(log.take(), ["the one before sees None", "the one after sees Some(Failed)"]);
        assert_eq!(token.reason(), Some(Reason::Failed));
        assert!(group.is_stopped() && handle.is_stopped());
        // The queued child is dropped unpolled.
        assert_eq!((queued.polls(), queued.drops()), (0, 1));
        let stats = group.stats();
        assert_eq!((stats.running, stats.queued, stats.failed, stats.dropped), (2, 0, 1, 1));
        // The waiter in `go` is woken and gets its child back, never polled.
        assert_eq!(going.wakes(), 1);
        let Poll::Ready(Err(stopped)) = going.poll(&mut go) else {
            panic!("the group has stopped");
        };
        assert_eq!((waiting.polls(), waiting.drops()), (0, 0));
        assert_eq!(task.finish(stopped.into_inner()), Ok(7));
        assert!(matches!(group.try_go(waits(&gate, 8)), Err(TryGoError::Stopped(_))));
        assert!(matches!(handle.try_go(waits(&gate, 8)), Err(TryGoError::Stopped(_))));
        gate.open(8);
        gate.open(9);
        assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
        assert_eq!(token.reason(), Some(Reason::Failed));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_failure_admits_no_child_into_the_room_it_leaves() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, probe) = (MockTask::new(), Probe::new());
        let mut group = group.with_limit(2);
        group.queue(job(ready(Ok(0))));
        group.queue(job(ready(Err("broken"))));
        for n in 0..10 {
            group.queue(probe.watch(ready(Ok(n))));
        }
        assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
        let stats = group.stats();
        // The `Ok` before it may have admitted a child, which is polled to its end.
        assert_eq!(stats.ok - 1, probe.polls());
        assert!(probe.polls() <= 1, "{}", probe.polls());
        assert_eq!((probe.drops(), stats.failed), (10, 1));
        assert_eq!(stats.dropped, 10 - probe.polls());
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn the_groups_own_go_gets_its_child_back_when_a_sibling_fails() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(2);
        group.queue(waits(&gate, 0));
        group.queue(fails(&gate, 1, "broken"));
        let child = {
            let mut go = pin!(group.go(probe.watch(ready(Ok(7)))));
            assert!(task.poll(&mut go).is_pending());
            gate.open(1);
            let Poll::Ready(Err(stopped)) = task.poll(&mut go) else {
                panic!("it has stopped");
            };
            assert!(task.poll(&mut go).is_pending(), "it is over");
            stopped.into_inner()
        };
        assert_eq!((probe.polls(), probe.drops()), (0, 0));
        assert_eq!(task.finish(child), Ok(7));
        assert!(task.poll(&mut group).is_pending(), "one child still runs");
        gate.open(0);
        assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn an_error_seen_while_go_drives_comes_out_of_the_group() {
    let task = MockTask::new();
    let mut group = Jobs::new().with_limit(1);
    group.queue(ready(Err("broken")));
    assert!(task.finish(group.go(ready(Ok(1)))).is_err());
    assert!(task.finish(group.go(ready(Ok(1)))).is_err());
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
}

#[test]
fn the_other_childrens_results_are_dropped_once_and_in_time() {
    let (values, errors, gate, task) =
        (DropCounter::default(), DropCounter::default(), Gate::new(), MockTask::new());
    let mut group = Values::new();
    for (n, name) in ["0", "1", "2", "3", "4"].into_iter().enumerate() {
        let (gate, value, error) = (gate.wait(n), values.value(name), errors.value(name));
        group.queue(async move {
            gate.await;
            if n < 2 { Ok(value) } else { Err(error) }
        });
    }
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    // The child held the guard of an error, too, and is dropped.
    assert_eq!((values.get(), errors.get()), (1, 1));
    for n in [3, 1, 4, 2] {
        gate.open(n);
        if n != 2 {
            assert!(task.poll(&mut group).is_pending());
        }
    }
    let Poll::Ready(Err(error)) = task.poll(&mut group) else {
        panic!("a child has failed");
    };
    assert_eq!(error.name, "3", "it has failed first");
    assert_eq!((values.get(), errors.get()), (5, 4));
    drop(error);
    assert_eq!(errors.get(), 5);
}

#[test]
fn an_error_of_a_child_that_was_queued_behind_others_is_found() {
    let mut group = Jobs::new().with_limit(3);
    for n in 0..1000 {
        group.queue(job(async move { if n == 777 { Err("777") } else { Ok(n) } }));
    }
    let handle = group.handle();
    assert_eq!(MockTask::new().finish(group), Err("777"));
    let stats = handle.stats();
    assert_eq!((stats.failed, stats.running, stats.queued), (1, 0, 0));
    assert_eq!(stats.ok + stats.dropped, 999);
    assert!((777..780).contains(&stats.ok), "{stats:?}");
}
