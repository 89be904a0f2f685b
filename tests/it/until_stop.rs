//! `until_stop` and `drop_on_stop`: children that a stop drops.

use std::future::{pending, poll_fn, ready};
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use crate::common::{
    Bomb, DropCounter, Gate, Job, MockTask, OnDrop, OrCancel, Probe, fails, job, panic_message,
    waits, yield_now,
};
use crate::on::Pool;
use errgroup::{
    Boxed, CancelToken, Event, Group, Outcome, Plain, Reason, Spawned, Stats, Task, task,
};
use futures::StreamExt;

fn until_stop(child: Job) -> Task<Job> {
    task(child).until_stop()
}

/// Returns ok, failed and dropped, and checks that no more children are left.
#[track_caller]
fn ends(stats: Stats) -> [usize; 3] {
    assert_eq!((stats.queued, stats.running), (0, 0));
    [stats.ok, stats.failed, stats.dropped]
}

// === until_stop ===

#[test]
fn at_the_first_error_it_is_dropped_and_the_others_are_drained() {
    let (gate, mock, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let mut group = Group::new();
    let handle = group.handle();
    group.queue(until_stop(probe.watch(job(pending()))));
    group.queue(fails(&gate, 0, "broken"));
    group.queue(waits(&gate, 1));
    assert!(mock.run(&mut group).is_pending());
    gate.open(0);
    assert!(mock.poll(&mut group).is_pending());
    assert_eq!((probe.polls(), probe.drops()), (1, 1), "in the poll of the error");
    assert_eq!(handle.stats().running, 1);
    gate.open(1);
    assert_eq!(mock.run(&mut group), Poll::Ready(Err("broken")));
    assert_eq!(ends(handle.stats()), [1, 1, 1]);
}

#[test]
fn in_order_the_results_behind_it_are_given_while_others_are_drained() {
    let (gate, mock, pool) = (Gate::new(), MockTask::new(), Pool::new());
    let mut results = Group::on(pool.spawn()).results().in_order();
    results.queue(until_stop(job(pending())));
    results.queue(waits(&gate, 1));
    results.queue(waits(&gate, 2));
    pool.poll_all();
    assert!(mock.run(&mut results.next()).is_pending());
    gate.open(1);
    pool.poll_all();
    assert!(mock.run(&mut results.next()).is_pending());
    results.token().cancel();
    assert_eq!(mock.run(&mut results.next()), Poll::Ready(Some(Ok(1))));
    assert!(mock.run(&mut results.next()).is_pending());
    gate.open(2);
    pool.poll_all();
    assert_eq!(mock.run(&mut results.next()), Poll::Ready(Some(Ok(2))));
    assert_eq!(mock.run(&mut results.next()), Poll::Ready(None));
    assert_eq!(ends(results.stats()), [2, 0, 1]);

    // In a group that polls its children.
    let mut results = Group::new().results().in_order();
    results.queue(until_stop(job(pending())));
    results.queue(waits(&gate, 1));
    results.queue(waits(&gate, 3));
    assert!(mock.run(&mut results.next()).is_pending());
    results.token().cancel();
    assert_eq!(mock.run(&mut results.next()), Poll::Ready(Some(Ok(1))));
    assert!(mock.run(&mut results.next()).is_pending());
}

#[test]
fn in_order_the_results_behind_a_child_that_its_executor_dropped_after_the_stop_are_given() {
    let (gate, mock, pool) = (Gate::new(), MockTask::new(), Pool::new());
    let mut results = Group::on(pool.spawn()).results().in_order();
    results.queue(job(pending()));
    results.queue(waits(&gate, 1));
    results.queue(waits(&gate, 2));
    pool.poll_all();
    gate.open(1);
    pool.poll_all();
    assert!(mock.run(&mut results.next()).is_pending());
    results.token().cancel();
    pool.drop(0);
    assert_eq!(mock.run(&mut results.next()), Poll::Ready(Some(Ok(1))));
    assert!(mock.run(&mut results.next()).is_pending());
}

#[test]
fn every_reason_of_a_stop_drops_it() {
    type Start = fn(Group<Boxed<'static, usize, &'static str>>, &CancelToken) -> Reason;
    let stops: [Start; 5] = [
        |mut group, _| {
            group.queue(job(ready(Err("broken"))));
            let _ = MockTask::new().finish(group);
            Reason::Failed
        },
        |mut group, _| {
            group.queue(job(async { panic_any("a child") }));
            assert_eq!(panic_message(|| MockTask::new().finish(group)), "a child");
            Reason::Panicked
        },
        |mut group, parent| {
            let mock = MockTask::new();
            assert!(mock.run(&mut group).is_pending());
            parent.cancel_with(Reason::Done);
            assert_eq!(mock.wakes(), 1);
            assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));
            Reason::Done
        },
        |mut group, _| {
            let token = group.token().clone();
            group.queue(job(async move {
                token.cancel();
                Ok(0)
            }));
            assert_eq!(MockTask::new().finish(group), Ok(()));
            Reason::Cancelled
        },
        |group, _| {
            drop(group);
            Reason::Dropped
        },
    ];
    for start in stops {
        let (probe, parent) = (Probe::new(), CancelToken::new());
        let mut group = Group::new().with_parent(&parent);
        let handle = group.handle();
        group.queue(until_stop(probe.watch(job(pending()))));
        let reason = start(group, &parent);
        assert_eq!(handle.token().reason(), Some(reason.clone()));
        assert_eq!(probe.drops(), 1, "{reason}");
        assert_eq!(handle.stats().dropped, 1 + usize::from(reason == Reason::Panicked));
    }
}

#[test]
fn a_deadline_drops_it_and_err_on_cancel_tells() {
    let (gate, mock) = (Gate::new(), MockTask::new());
    let mut group = Group::new().with_deadline(gate.wait(0)).err_on_cancel();
    group.queue(task(pending::<Result<usize, OrCancel>>()).until_stop());
    assert!(mock.run(&mut group).is_pending());
    gate.open(0);
    let Poll::Ready(Err(error)) = mock.poll(&mut group) else { panic!("it has not ended") };
    assert_eq!(error.into_reason(), Reason::Deadline);
}

#[test]
fn it_is_not_polled_after_a_stop_that_comes_in_the_same_round() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new();
    let handle = group.handle();
    let token = group.token().clone();
    group.queue(job(async move {
        token.cancel();
        Ok(0)
    }));
    group.queue(until_stop(probe.watch(job(ready(Ok(1))))));
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    assert_eq!(ends(handle.stats()), [1, 0, 1]);
}

#[test]
fn one_that_has_finished_in_time_counts() {
    let mock = MockTask::new();
    let mut group = Group::new().settle();
    let (handle, token) = (group.handle(), group.token().clone());
    group.queue(until_stop(job(ready(Err("first")))));
    group.queue(job(async move {
        token.cancel();
        Ok(1)
    }));
    group.queue(until_stop(job(ready(Err("second")))));
    assert_eq!(mock.finish(group), [Err("first"), Ok(1)]);
    assert_eq!(ends(handle.stats()), [1, 1, 1]);
}

#[test]
fn a_child_that_has_yielded_is_dropped_in_the_next_poll() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new();
    let token = group.token().clone();
    group.queue(until_stop(probe.watch(job(async {
        yield_now().await;
        unreachable!("it is dropped")
    }))));
    group.queue(job(async move {
        token.cancel();
        Ok(0)
    }));
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (1, 1));
}

#[test]
fn a_daemon_ends_with_the_last_of_the_others() {
    let mock = MockTask::new();
    let mut group = Group::new();
    let handle = group.handle();
    group.queue(until_stop(job(pending())).daemon());
    group.queue(job(ready(Ok(1))));
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())), "in one poll");
    assert_eq!(ends(handle.stats()), [1, 0, 1]);
    assert_eq!(handle.token().reason(), Some(Reason::Finished));
}

#[test]
fn each_of_many_is_dropped_and_the_others_among_them_are_not() {
    let (mock, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::new();
    let handle = group.handle();
    for n in 0..300 {
        if n % 3 == 0 {
            group.queue(waits(&gate, n));
        } else {
            group.queue(until_stop(probe.watch(job(pending()))));
        }
    }
    assert!(mock.run(&mut group).is_pending());
    group.token().cancel();
    assert!(mock.poll(&mut group).is_pending());
    assert_eq!((probe.polls(), probe.drops()), (200, 200));
    assert_eq!(handle.stats().running, 100);
    (0..300).step_by(3).for_each(|n| gate.open(n));
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(ends(handle.stats()), [100, 0, 200]);
}

#[test]
fn its_weight_and_a_later_child_of_its_slot_are_as_ever() {
    let (mock, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_limit(4);
    let handle = group.handle();
    group.queue(until_stop(job(ready(Ok(0)))).weight(4));
    group.queue(waits(&gate, 1));
    assert!(mock.run(&mut group).is_pending());
    assert_eq!((handle.stats().ok, handle.stats().running), (1, 1));
    group.token().cancel();
    assert!(mock.run(&mut group).is_pending(), "it is another child");
    gate.open(1);
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_panic_of_its_destructor_is_a_childs() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new();
    let handle = group.handle();
    for child in 0..3 {
        let bomb = (child == 1).then(|| Bomb("in a destructor"));
        group.queue(until_stop(probe.watch(job(async move {
            let _bomb = bomb;
            pending().await
        }))));
    }
    assert!(mock.run(&mut group).is_pending());
    group.token().cancel();
    assert_eq!(panic_message(|| mock.run(&mut group)), "in a destructor");
    assert_eq!(probe.drops(), 3);
    assert_eq!(ends(handle.stats()), [0, 0, 3]);
}

#[test]
fn an_observer_hears_that_it_was_dropped() {
    let mock = MockTask::new();
    let mut ends = Vec::new();
    let mut group = Group::new().with_observer(|event: &Event| {
        if let Event::Finished { index, name, outcome, .. } = event {
            ends.push((*index, name.as_deref().map(str::to_owned), *outcome));
        }
    });
    group.queue(task(pending()).until_stop().name("download"));
    group.queue(async { Err::<usize, _>("broken") });
    assert_eq!(mock.finish(group), Err("broken"));
    let expected =
        [(Some(1), None, Outcome::Failed), (Some(0), Some("download".into()), Outcome::Dropped)];
    assert_eq!(ends, expected);
}

#[test]
fn a_stream_goes_on_with_the_results_that_there_are() {
    let (gate, mock) = (Gate::new(), MockTask::new());
    let mut group = Group::new();
    group.queue(until_stop(job(ready(Ok(0)))));
    group.queue(until_stop(job(pending())));
    group.queue(waits(&gate, 2));
    let mut results = group.results().in_order();
    assert_eq!(mock.poll(&mut results.next()), Poll::Ready(Some(Ok(0))));
    assert!(mock.poll(&mut results.next()).is_pending());
    results.token().cancel();
    gate.open(2);
    let before = mock.wakes();
    assert_eq!(mock.poll(&mut results.next()), Poll::Ready(Some(Ok(2))));
    assert!(before > 0);
    assert_eq!(mock.poll(&mut results.next()), Poll::Ready(None));
    assert_eq!(ends(results.stats()), [2, 0, 1]);
}

#[test]
fn a_finished_child_whose_result_waits_is_not_dropped() {
    let mock = MockTask::new();
    let mut group = Group::new();
    for n in 0..3 {
        group.queue(until_stop(job(ready(Ok(n)))));
    }
    let mut results = group.results();
    assert_eq!(mock.poll(&mut results.next()), Poll::Ready(Some(Ok(0))));
    results.token().cancel();
    assert_eq!(mock.finish(results.by_ref().collect::<Vec<_>>()), [Ok(1), Ok(2)]);
    assert_eq!(ends(results.stats()), [3, 0, 0]);
}

#[test]
fn children_without_a_box_and_without_send_end_as_well() {
    let mock = MockTask::new();
    let mut group: Group<Plain<Job>> = Group::unboxed();
    group.queue(until_stop(job(pending())));
    assert!(mock.run(&mut group).is_pending());
    group.token().cancel();
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));

    let not_send = std::rc::Rc::new(());
    let mut group = Group::local();
    group.queue(task(pending::<Result<usize, &str>>()).until_stop());
    group.queue(async move { Ok(std::rc::Rc::strong_count(&not_send)) });
    assert!(mock.run(&mut group).is_pending());
    group.token().cancel();
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn one_on_an_executor_is_gone_at_its_next_poll_and_not_polled_on() {
    let (pool, mock, gate, probe) = (Pool::new(), MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::on(pool.spawn());
    let handle = group.handle();
    group.queue(until_stop(probe.watch(job(pending()))));
    group.queue(fails(&gate, 1, "broken"));
    group.queue(waits(&gate, 2));
    pool.poll_all();
    assert!(mock.run(&mut group).is_pending());
    gate.open(1);
    pool.poll(1);
    let wakes = pool.wakes(0);
    assert!(mock.run(&mut group).is_pending(), "the third is drained");
    assert_eq!((handle.stats().dropped, handle.stats().running), (1, 1));
    assert_eq!((pool.wakes(0), probe.drops()), (wakes + 1, 0));
    pool.poll(0);
    assert_eq!((probe.polls(), probe.drops()), (1, 1));
    gate.open(2);
    pool.poll_all();
    assert_eq!(mock.run(&mut group), Poll::Ready(Err("broken")));
    assert_eq!(pool.left(), 0);
}

#[test]
fn the_result_of_one_that_has_ended_on_an_executor_is_told() {
    let (pool, mock) = (Pool::new(), MockTask::new());
    let mut group = Group::on(pool.spawn()).settle();
    let handle = group.handle();
    group.queue(until_stop(job(ready(Ok(1)))));
    pool.poll_all();
    group.token().cancel();
    assert_eq!(mock.run(&mut group), Poll::Ready(vec![Ok(1)]));
    assert_eq!(ends(handle.stats()), [1, 0, 0]);
}

#[test]
fn one_that_was_never_polled_is_dropped_once() {
    for count in [1, 3, 200] {
        let (mock, probe, gate) = (MockTask::new(), Probe::new(), Gate::new());
        let mut group = Group::new();
        group.queue(waits(&gate, 0));
        group.queue(until_stop(probe.watch(job(pending()))));
        assert!(mock.run(&mut group).is_pending());
        (0..count).for_each(|_| group.queue(until_stop(probe.watch(job(pending())))));
        group.token().cancel();
        assert!(mock.run(&mut group).is_pending());
        assert_eq!((probe.polls(), probe.drops()), (1, 1 + count));
        assert_eq!((group.stats().running, group.stats().dropped), (1, 1 + count));
        gate.open(0);
        assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    }
}

#[test]
fn one_that_has_yielded_is_dropped_once() {
    for count in [1, 3, 200] {
        let (mock, probe, gate) = (MockTask::new(), Probe::new(), Gate::new());
        let mut group = Group::new();
        group.queue(waits(&gate, 0));
        let yields = || {
            until_stop(probe.watch(job(poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Pending
            }))))
        };
        (0..count).for_each(|_| group.queue(yields()));
        // They are woken, and some of them have not been polled again.
        (0..7).for_each(|_| assert!(mock.poll(&mut group).is_pending()));
        let polls = probe.polls();
        group.token().cancel();
        assert!(mock.run(&mut group).is_pending());
        assert_eq!((probe.polls(), probe.drops()), (polls, count));
        assert_eq!((group.stats().running, group.stats().dropped), (1, count));
        gate.open(0);
        assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    }
}

// === drop_on_stop ===

#[test]
fn at_the_first_error_all_are_dropped_and_the_group_resolves_in_that_poll() {
    let (gate, mock, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let mut group = Group::new().drop_on_stop();
    group.queue(probe.watch(job(pending())));
    group.queue(fails(&gate, 0, "broken"));
    group.queue(probe.watch(waits(&gate, 1)));
    assert!(mock.run(&mut group).is_pending());
    gate.open(0);
    gate.open(1);
    assert_eq!(mock.poll(&mut group), Poll::Ready(Err("broken")));
    assert_eq!((probe.polls(), probe.drops()), (2, 2), "not even one that was woken is polled");
    assert_eq!(ends(group.stats()), [0, 1, 2]);
}

#[test]
fn a_cancel_and_a_deadline_drop_all() {
    let (gate, mock, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let mut group = Group::new().drop_on_stop().with_deadline(gate.wait(0));
    group.queue(probe.watch(job(pending())));
    assert!(mock.run(&mut group).is_pending());
    gate.open(0);
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!(probe.drops(), 1);

    let mut group = Group::new().collect().drop_on_stop();
    group.queue(probe.watch(job(pending())));
    group.queue(job(ready(Ok(1))));
    assert!(mock.run(&mut group).is_pending());
    let before = mock.wakes();
    group.token().cancel();
    assert_eq!(mock.wakes(), before + 1);
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(vec![1])));
    assert_eq!(probe.drops(), 2);
}

#[test]
fn no_child_is_polled_after_a_sibling_has_cancelled_the_token() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new().drop_on_stop();
    let token = group.token().clone();
    group.queue(job(async move {
        token.cancel();
        Ok(0)
    }));
    group.queue(probe.watch(job(ready(Err("too late")))));
    assert_eq!(mock.poll(&mut group), Poll::Ready(Ok(())));
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
}

#[test]
fn a_panic_of_a_child_drops_the_siblings_and_then_resumes() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new().drop_on_stop();
    group.queue(probe.watch(job(pending())));
    group.queue(job(async { panic_any("a child") }));
    group.queue(probe.watch(job(async {
        let _bomb = Bomb("one more");
        pending().await
    })));
    assert_eq!(panic_message(|| mock.poll(&mut group)), "a child");
    assert_eq!(probe.drops(), 2);
    assert_eq!(ends(group.stats()), [0, 0, 3]);
}

#[test]
fn go_feed_and_results_drop_all_as_well() {
    let (mock, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::new().with_limit(2).drop_on_stop();
    group.queue(probe.watch(job(pending())));
    group.queue(job(async {
        yield_now().await;
        Err("broken")
    }));
    assert!(mock.run(&mut group.go(waits(&Gate::new(), 0))).is_ready());
    assert_eq!(mock.finish(group), Err("broken"));
    assert_eq!(probe.drops(), 1);

    let mut group = Group::new().drop_on_stop();
    group.queue(probe.watch(job(pending())));
    group.queue(job(ready(Err("broken"))));
    group.queue(probe.watch(job(ready(Ok(1)))));
    let results = group.results().fail_fast();
    assert_eq!(mock.finish(results.collect::<Vec<_>>()), [Err("broken")]);
    assert_eq!(probe.drops(), 3);
}

#[test]
fn the_body_of_a_scope_is_not_dropped() {
    let (gate, mock, probe) = (Gate::new(), MockTask::new(), Probe::new());
    let group = Group::new().drop_on_stop();
    let wait = gate.wait(0);
    let scope = group.scope(|handle| {
        handle.queue(probe.watch(job(pending())));
        handle.queue(job(ready(Err("broken"))));
        wait
    });
    let mut scope = Box::pin(scope);
    assert!(mock.run(&mut scope).is_pending());
    assert_eq!(probe.drops(), 1);
    gate.open(0);
    assert_eq!(mock.run(&mut scope), Poll::Ready(((), Err("broken"))));
}

#[test]
fn those_on_an_executor_are_told() {
    let (pool, mock, gate, probe) = (Pool::new(), MockTask::new(), Gate::new(), Probe::new());
    let mut group = Group::on(pool.spawn()).drop_on_stop();
    group.queue(probe.watch(job(pending())));
    group.queue(fails(&gate, 0, "broken"));
    pool.poll_all();
    assert!(mock.run(&mut group).is_pending());
    gate.open(0);
    pool.poll(1);
    assert_eq!(mock.poll(&mut group), Poll::Ready(Err("broken")));
    assert_eq!(ends(group.stats()), [0, 1, 1]);
    pool.poll(0);
    assert_eq!((probe.polls(), probe.drops()), (1, 1));
}

/// Memory of children that have gone is given back, so those that are left are far apart.
#[test]
fn the_last_of_many_children_end_as_well() {
    const MANY: usize = 20_000;
    let which: [fn(usize) -> bool; 3] = [|n| n >= MANY - 10, |n| n < 10, |n| n % 2_000 == 0];
    for is_left in which {
        let (gate, mock) = (Gate::new(), MockTask::new());
        let drops = DropCounter::default();
        let mut group = Group::unboxed();
        for n in 0..MANY {
            let (wait, guard) = (gate.wait(n), drops.guard());
            let work = async move {
                let _guard = guard;
                wait.await;
                Ok::<usize, &'static str>(n)
            };
            group.queue(task(job(work)).until_stop());
        }
        assert!(mock.run(&mut group).is_pending());
        (0..MANY).filter(|n| !is_left(*n)).for_each(|n| gate.open(n));
        assert!(mock.run(&mut group).is_pending());
        assert_eq!(group.stats().running, 10);
        group.token().cancel();
        assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
        assert_eq!((drops.get(), group.stats().dropped), (MANY, 10));
    }
}

#[test]
fn a_child_may_cancel_from_its_destructor() {
    let mock = MockTask::new();
    let drops = Arc::<AtomicUsize>::default();
    let mut group = Group::new().drop_on_stop();
    for _ in 0..3 {
        let (token, drops) = (group.token().clone(), Arc::clone(&drops));
        let guard = OnDrop(move || {
            token.cancel();
            drops.fetch_add(1, Ordering::SeqCst);
        });
        group.queue(job(async move {
            let _guard = guard;
            yield_now().await;
            Err("broken")
        }));
    }
    assert_eq!(mock.finish(group), Err("broken"));
    assert_eq!(drops.load(Ordering::SeqCst), 3);
}

#[test]
fn a_group_with_a_deadline_or_an_observer_may_drop_its_children_at_the_stop() {
    let mock = MockTask::new();
    let mut group =
        Group::new().with_deadline(ready(())).with_observer(|_: &Event| {}).drop_on_stop();
    group.queue(job(pending()));
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(ends(group.stats()), [0, 0, 1]);
}

#[test]
fn it_excludes_a_grace_and_comes_before_the_first_child() {
    let wrong = "a group either drops its children when it stops or gives them a grace: \
                 leave out `drop_on_stop` or `with_grace`";
    let group = || Group::<Boxed<'_, usize, &'static str>>::new();
    let message = panic_message(|| group().with_grace(pending::<()>).drop_on_stop());
    assert_eq!(message, wrong);
    let message = panic_message(|| group().drop_on_stop().with_grace(pending::<()>));
    assert_eq!(message, wrong);
    let message = panic_message(|| {
        let mut group = group();
        group.queue(async { Ok(0) });
        group.drop_on_stop()
    });
    assert_eq!(message, "call `drop_on_stop` before the group's first child");
}

// === panics of what was cut off on its executor ===

/// Never ends, and panics with that message when it is dropped.
fn bomb(message: &'static str) -> Job {
    job(async move {
        let _guard = OnDrop(move || panic_any(message));
        pending().await
    })
}

type OnPool = Group<Spawned<usize, &'static str>>;

/// Cuts off two children that panic when their executor drops them, and one that ends when the gate
/// is opened.
fn cut_off() -> (Pool, MockTask, Gate, OnPool) {
    let (pool, mock, gate) = (Pool::new(), MockTask::new(), Gate::new());
    let mut group = Group::on(pool.spawn());
    group.queue(until_stop(bomb("first")));
    group.queue(until_stop(bomb("second")));
    group.queue(waits(&gate, 0));
    pool.poll_all();
    assert!(mock.run(&mut group).is_pending());
    group.token().cancel();
    assert!(mock.run(&mut group).is_pending());
    assert_eq!(pool.left(), 3, "they are dropped when their executor polls them");
    (pool, mock, gate, group)
}

#[test]
fn what_panics_on_its_executor_after_it_was_cut_off_panics_out_of_its_group() {
    let (pool, mock, gate, mut group) = cut_off();
    let handle = group.handle();
    pool.poll_all();
    assert!(mock.run(&mut group).is_pending(), "its sibling still runs");
    gate.open(0);
    pool.poll_all();
    assert_eq!(panic_message(|| mock.run(&mut group)), "first");
    assert_eq!(ends(handle.stats()), [1, 0, 2]);
    assert!(mock.poll(&mut group).is_pending(), "once");
}

#[test]
fn what_panics_on_its_executor_after_its_group_has_ended_is_discarded() {
    // The group resolves in the poll that cuts it off.
    let (pool, mock) = (Pool::new(), MockTask::new());
    let mut group: OnPool = Group::on(pool.spawn()).drop_on_stop();
    group.queue(bomb("late"));
    pool.poll_all();
    group.token().cancel();
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    pool.poll_all();
    assert_eq!(pool.left(), 0);
    assert!(mock.poll(&mut group).is_pending());

    // The group is dropped, before it panics or after that.
    for panics_before in [false, true] {
        let (pool, _, gate, group) = cut_off();
        if panics_before {
            pool.poll_all();
        }
        drop(group);
        gate.open(0);
        pool.poll_all();
        assert_eq!(pool.left(), 0);
    }
}
