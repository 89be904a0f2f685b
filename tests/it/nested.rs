//! Children that wait for room in their own group: the group never deadlocks on itself, and the
//! limit still holds.

use std::future::{pending, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::common::{
    CountOnDrop, DropCounter, Gate, Log, Meter, MockTask, Tap, logged_child, yield_now,
};
use errgroup::future::Go;
use errgroup::{Boxed, Child, Group, Handle, task};
use futures::future::{BoxFuture, Either, join_all, select};
use futures::{FutureExt, join, stream};

type Kind = Boxed<'static, usize, &'static str>;

fn group(limit: usize) -> (Group<Kind>, Handle<Kind>) {
    let group = Group::new().with_limit(limit);
    let handle = group.handle();
    (group, handle)
}

/// Makes a node of a tree, which adds its children by `go` and is then done.
fn node(
    handle: Handle<Kind>,
    alive: Meter,
    fan: usize,
    depth: usize,
) -> BoxFuture<'static, Result<usize, &'static str>> {
    async move {
        let _alive = alive.enter();
        if depth > 0 {
            for _ in 0..fan {
                let child = node(handle.clone(), alive.clone(), fan, depth - 1);
                handle.go(child).await.map_err(|_| "it has stopped")?;
                yield_now().await;
            }
        }
        Ok(0)
    }
    .boxed()
}

/// Where a child puts a `go` that an outsider takes.
type Slot<F> = Arc<Mutex<Option<Go<Handle<Kind>, Kind, F>>>>;

/// A child that polls a `go` once, which has to wait, and puts it into the slot. Then it waits
/// for `end`.
async fn hands_a_go_out<F>(
    handle: Handle<Kind>,
    child: F,
    slot: Slot<F>,
    end: impl Future<Output = ()> + Send,
) -> Result<usize, &'static str>
where
    F: Child<Kind> + Send + Unpin,
{
    let mut go = handle.go(child);
    assert!(futures::poll!(&mut go).is_pending());
    *slot.lock().unwrap() = Some(go);
    end.await;
    Ok(0)
}

/// A child that waits for `begin` and then in a `go`.
async fn waits_in_a_go(
    handle: Handle<Kind>,
    begin: impl Future<Output = ()> + Send,
) -> Result<usize, &'static str> {
    begin.await;
    handle.go(ready(Ok(3))).await.map(|()| 1).map_err(|_| "stopped")
}

#[test]
fn a_child_that_has_the_only_handle_never_waits_for_itself() {
    let (group, only) = group(1);
    let mut group = group.collect();
    group.queue(async move {
        only.go(ready(Ok(2))).await.map_err(|_| "stopped")?;
        Ok(1)
    });
    assert_eq!(MockTask::new().finish(group), Ok(vec![1, 2]));
}

#[test]
fn a_slot_that_was_given_back_keeps_no_child_waiting() {
    let (group, handle) = group(1);
    let slot = MockTask::new().finish(handle.reserve());
    assert!(slot.is_ok());
    drop(slot);
    let mut group = group.collect();
    group.queue(async move {
        handle.go(ready(Ok(2))).await.map_err(|_| "stopped")?;
        Ok(1)
    });
    assert_eq!(MockTask::new().finish(group), Ok(vec![1, 2]));
}

#[test]
fn a_child_may_go_on_its_own_group_at_any_limit() {
    for limit in 1..=3 {
        let (mut group, handle) = group(limit);
        let alive = Meter::default();
        group.queue(node(handle.clone(), alive.clone(), 2, 3));
        assert_eq!(MockTask::new().finish(group), Ok(()), "limit {limit}");
        assert_eq!(handle.stats().ok, 15);
        assert!(alive.peak() <= limit, "limit {limit}: {}", alive.peak());
    }
}

#[test]
fn a_tree_of_thousands_of_children_ends_within_the_limit() {
    for (limit, fan, depth, nodes) in [(1, 2, 11, 4095), (2, 3, 7, 3280), (3, 8, 4, 4681)] {
        let (mut group, handle) = group(limit);
        let alive = Meter::default();
        group.queue(node(handle.clone(), alive.clone(), fan, depth));
        assert_eq!(MockTask::new().finish(group), Ok(()));
        assert_eq!(handle.stats().ok, nodes);
        assert_eq!(alive.peak(), limit);
    }
}

#[test]
fn a_chain_of_thousands_of_children_ends() {
    let (mut group, handle) = group(1);
    let alive = Meter::default();
    group.queue(node(handle.clone(), alive.clone(), 1, 5000));
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(handle.stats().ok, 5001);
    assert_eq!(alive.peak(), 1);
}

#[test]
fn a_go_within_a_child_admits_at_once_if_there_is_room() {
    let (mut group, handle) = group(2);
    let log = Log::new();
    let (inner, gate) = (log.clone(), Gate::new());
    let door = gate.clone();
    let at = handle.clone();
    group.queue(async move {
        assert!(at.go(logged_child(1, &door, &inner)).await.is_ok());
        inner.add(format!("{} {}", at.stats().running, at.stats().queued));
        door.wait(0).await;
        Ok(0)
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["2 0", "+1"]);
    gate.open(0);
    gate.open(1);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_child_of_another_group_waits_as_an_outsider_does() {
    let (mut here, handle) = group(1);
    let (mut there, other) = group(1);
    let (gate, log, task) = (Gate::new(), Log::new(), MockTask::new());
    // The first child of its group, as the one that goes is.
    here.queue(logged_child(0, &gate, &log));
    assert!(task.run(&mut here).is_pending());
    there.queue({
        let handle = handle.clone();
        async move { handle.go(ready(Ok(1))).await.map(|()| 0).map_err(|_| "stopped") }
    });
    assert!(task.run(&mut there).is_pending());
    assert!(task.run(&mut here).is_pending());
    assert!(task.run(&mut there).is_pending(), "the child here may still end");
    gate.open(0);
    assert!(task.run(&mut here).is_pending(), "it is the turn of the one that waits");
    assert_eq!(task.run(&mut there), Poll::Ready(Ok(())));
    assert_eq!(task.run(&mut here), Poll::Ready(Ok(())));
    assert_eq!((handle.stats().ok, other.stats().ok), (2, 1));
}

#[test]
fn a_child_waits_like_an_outsider_while_a_sibling_can_still_make_room() {
    let (mut group, handle) = group(2);
    let (gate, log) = (Gate::new(), Log::new());
    group.queue(logged_child(0, &gate, &log));
    let (at, door, child_log) = (handle.clone(), gate.clone(), log.clone());
    group.queue(async move {
        assert!(at.go(logged_child(2, &door, &child_log)).await.is_ok());
        child_log.add("went on");
        Ok(1)
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["+0"]);
    assert_eq!(handle.stats().queued, 0, "it waits");
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["-0", "went on", "+2"]);
    gate.open(2);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn if_all_children_wait_the_oldest_goes_on_and_its_child_is_queued() {
    let (mut group, handle) = group(2);
    let (gate, log) = (Gate::new(), Log::new());
    for n in [0, 1] {
        let (at, door, child_log) = (handle.clone(), gate.clone(), log.clone());
        group.queue(async move {
            door.wait(n).await;
            assert!(at.go(logged_child(10 + n, &door, &child_log)).await.is_ok());
            child_log.add(format!("{n} goes on: {} queued", at.stats().queued));
            door.wait(20 + n).await;
            Ok(n)
        });
    }
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    // The second to be admitted is the first to wait.
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), [""; 0]);
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["1 goes on: 1 queued"], "the other waits on");
    let stats = handle.stats();
    assert_eq!((stats.running, stats.queued), (2, 1));

    // The queued child has its waiter's position, before the other waiter's.
    gate.open(21);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["+11"]);
    gate.open(11);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["-11", "0 goes on: 0 queued", "+10"]);
    gate.open(20);
    gate.open(10);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 4);
}

#[test]
fn the_oldest_waiting_child_goes_on_even_if_an_outsider_is_first_in_the_queue() {
    let (mut group, handle) = group(1);
    let (gate, log) = (Gate::new(), Log::new());
    let (at, door, child_log) = (handle.clone(), gate.clone(), log.clone());
    group.queue(async move {
        door.wait(0).await;
        assert!(at.go(logged_child(2, &door, &child_log)).await.is_ok());
        child_log.add("went on");
        Ok(0)
    });
    let (task, outside) = (MockTask::new(), MockTask::new());
    assert!(task.run(&mut group).is_pending());
    let mut first = handle.go(logged_child(1, &gate, &log));
    assert!(outside.poll(&mut first).is_pending());
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["went on"]);
    assert_eq!(handle.stats().queued, 1);
    assert_eq!(outside.wakes(), 1, "the child's end has made room");

    // The outsider keeps its position before the child that was queued.
    assert_eq!(handle.stats().running, 0);
    assert!(matches!(outside.poll(&mut first), Poll::Ready(Ok(()))));
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["+1"]);
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["-1", "+2"]);
    gate.open(2);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_lone_outsider_is_never_put_into_the_queue() {
    let (mut group, handle) = group(1);
    let gate = Gate::new();
    let door = gate.clone();
    group.queue(async move {
        door.wait(0).await;
        Ok(0)
    });
    let (task, outside) = (MockTask::new(), MockTask::new());
    let mut go = handle.go(ready(Ok(1)));
    assert!(outside.poll(&mut go).is_pending());
    assert!(task.run(&mut group).is_pending());
    for _ in 0..3 {
        assert!(outside.poll(&mut go).is_pending());
        assert!(task.run(&mut group).is_pending());
    }
    assert_eq!((handle.stats().queued, outside.wakes()), (0, 0));
}

#[test]
fn a_converted_child_is_not_polled_before_there_is_room() {
    let (mut group, handle) = group(1);
    let (gate, log) = (Gate::new(), Log::new());
    let (at, door, child_log) = (handle.clone(), gate.clone(), log.clone());
    group.queue(async move {
        for n in 1..4 {
            assert!(at.go(logged_child(n, &door, &child_log)).await.is_ok());
            assert_eq!(at.stats().queued, n);
            yield_now().await;
        }
        child_log.add("done");
        Ok(0)
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["done", "+1"]);
    for n in 1..4 {
        gate.open(n);
    }
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["-1", "+2", "-2", "+3", "-3"]);
}

#[test]
fn a_stop_drops_the_child_that_was_put_into_the_queue() {
    let (mut group, handle) = group(1);
    let (gate, drops) = (Gate::new(), DropCounter::default());
    let (at, door, guard) = (handle.clone(), gate.clone(), drops.guard());
    group.queue(async move {
        let child = async move {
            let _guard = guard;
            Ok(1)
        };
        assert!(at.go(child).await.is_ok());
        door.wait(0).await;
        Ok(0)
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!((handle.stats().queued, drops.get()), (1, 0));
    handle.token().cancel();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(drops.get(), 1);
    let stats = handle.stats();
    assert_eq!((stats.running, stats.queued, stats.dropped), (1, 0, 1));
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_stop_gives_a_child_that_waits_its_own_child_back() {
    let (mut group, handle) = group(2);
    let (gate, log) = (Gate::new(), Log::new());
    group.queue(logged_child(0, &gate, &log));
    let (at, door, child_log) = (handle.clone(), gate.clone(), log.clone());
    group.queue(async move {
        let stopped = at.go(logged_child(1, &door, &child_log)).await.unwrap_err();
        child_log.add("stopped");
        stopped.into_inner().await
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    handle.token().cancel();
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["+0", "stopped", "+1", "-1"]);
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_stop_between_the_rule_and_the_next_poll_gives_the_child_back() {
    let (mut group, handle) = group(1);
    let slot = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&slot);
    let at = handle.clone();
    group.queue(async move {
        let mut go = at.go(ready(Ok(1)));
        assert!(futures::poll!(&mut go).is_pending());
        // It has a reservation already, and claims it after the stop.
        at.token().cancel();
        *keep.lock().unwrap() = Some(go.await.is_err());
        Ok(0)
    });
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(*slot.lock().unwrap(), Some(true));
    assert_eq!((handle.stats().ok, handle.stats().dropped), (1, 0));
}

// === feed ===

#[test]
fn a_feed_within_a_child_advances_its_stream_child_by_child() {
    for limit in 1..=3 {
        let (mut group, handle) = group(limit);
        let (at, alive) = (handle.clone(), Meter::default());
        let guard = alive.clone();
        group.queue(async move {
            let _alive = guard.enter();
            let children = (0..100).map(|n| {
                let alive = guard.clone();
                async move {
                    let _alive = alive.enter();
                    yield_now().await;
                    Ok(n)
                }
            });
            assert_eq!(at.feed(stream::iter(children)).await, 100);
            Ok(0)
        });
        assert_eq!(MockTask::new().finish(group), Ok(()), "limit {limit}");
        assert_eq!(handle.stats().ok, 101);
        assert_eq!(alive.peak(), limit);
    }
}

#[test]
fn a_feed_that_all_children_wait_for_takes_one_child_and_queues_it() {
    let (mut group, handle) = group(1);
    let tap = Tap::new();
    let (at, source) = (handle.clone(), tap.clone());
    tap.put(ready(Ok(1)));
    let gate = Gate::new();
    let door = gate.clone();
    group.queue(async move {
        let mut feed = at.feed(source);
        // While the child waits only in the feed, the feed goes on until its stream is pending.
        let waits = futures::future::select(&mut feed, door.wait(0)).await;
        assert!(matches!(waits, Either::Right(_)));
        Ok(0)
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(tap.polls(), 2, "one child, and then pending");
    assert_eq!(handle.stats().queued, 1);
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 2);
}

#[test]
fn a_feed_that_has_no_child_for_the_queue_holds_no_position() {
    let (mut group, handle) = group(1);
    let tap = Tap::new();
    let (at, source) = (handle.clone(), tap.clone());
    group.queue(async move { Ok(at.feed(source).await) });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(tap.polls(), 1);
    handle.set_limit(Some(2));
    assert!(handle.try_go(ready(Ok(1))).is_ok(), "there is no waiter");
    assert!(task.run(&mut group).is_pending());
    tap.put(ready(Ok(2)));
    tap.end();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 3);
}

#[test]
fn a_child_that_a_feed_makes_while_the_group_is_stopped_is_dropped_unpolled() {
    // The stream stops the group: with room, and when all running children wait.
    for limit in [1, 2] {
        let (mut group, handle) = group(limit);
        let (gate, log) = (Gate::new(), Log::new());
        let (at, door, child_log) = (handle.clone(), gate.clone(), log.clone());
        group.queue(async move {
            let token = at.token().clone();
            let children = stream::iter((0..3).map(|n| {
                token.cancel();
                logged_child(n, &door, &child_log)
            }));
            child_log.add(format!("admitted: {}", at.feed(children).await));
            Ok(9)
        });
        assert_eq!(MockTask::new().finish(group), Ok(()));
        assert_eq!(log.take(), ["-0", "admitted: 0"]);
        assert_eq!((handle.stats().ok, handle.stats().running), (1, 0));
    }
}

#[test]
fn feeds_within_feeds_end() {
    fn branch(
        handle: Handle<Kind>,
        alive: Meter,
        depth: usize,
    ) -> BoxFuture<'static, Result<usize, &'static str>> {
        async move {
            let _alive = alive.enter();
            if depth > 0 {
                let at = handle.clone();
                let alive = alive.clone();
                let next = (0..3).map(move |_| branch(at.clone(), alive.clone(), depth - 1));
                assert_eq!(handle.feed(stream::iter(next)).await, 3);
            }
            Ok(0)
        }
        .boxed()
    }
    for limit in 1..=4 {
        let (mut group, handle) = group(limit);
        let alive = Meter::default();
        group.queue(branch(handle.clone(), alive.clone(), 5));
        assert_eq!(MockTask::new().finish(group), Ok(()));
        assert_eq!(handle.stats().ok, 364);
        assert_eq!(alive.peak(), limit);
    }
}

#[test]
fn a_child_that_waits_for_a_stream_does_not_wait_for_room() {
    // Two run: one waits in `go`, the other for its stream. That one can still go on, so
    // nothing is put into the queue.
    let (mut group, handle) = group(2);
    let tap = Tap::new();
    let (at, source) = (handle.clone(), tap.clone());
    group.queue(async move { Ok(at.feed(source).await) });
    let at = handle.clone();
    group.queue(async move { at.go(ready(Ok(2))).await.map(|()| 0).map_err(|_| "stopped") });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(handle.stats().queued, 0);
    // With an item it is queued behind the other, and now all children wait.
    tap.put(ready(Ok(1)));
    tap.end();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 4);
}

// === which child waits ===

#[test]
fn a_child_that_joins_two_goes_ends() {
    for limit in 1..=3 {
        let (mut group, handle) = group(limit);
        for _ in 0..3 {
            let at = handle.clone();
            group.queue(async move {
                let (first, second) = join!(
                    at.go(async {
                        yield_now().await;
                        Ok(1)
                    }),
                    at.go(ready(Ok(2))),
                );
                assert!(first.is_ok() && second.is_ok());
                Ok(0)
            });
        }
        assert_eq!(MockTask::new().finish(group), Ok(()), "limit {limit}");
        assert_eq!(handle.stats().ok, 9);
    }
}

#[test]
fn a_child_that_waits_in_many_goes_counts_once() {
    // One child with ten waits is not two children: the other can still make room.
    let (mut group, handle) = group(2);
    let (gate, log) = (Gate::new(), Log::new());
    group.queue(logged_child(0, &gate, &log));
    let at = handle.clone();
    group.queue(async move {
        let goes = join_all((0..10).map(|_| at.go(ready(Ok(1))))).await;
        assert!(goes.iter().all(Result::is_ok));
        Ok(0)
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(handle.stats().queued, 0);
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 12);
}

#[test]
fn a_child_that_selects_between_two_goes_drops_the_other_without_a_trace() {
    let (mut group, handle) = group(1);
    let (at, drops) = (handle.clone(), DropCounter::default());
    let (first, second) = (drops.guard(), drops.guard());
    group.queue(async move {
        let go = |guard: CountOnDrop| {
            at.go(async move {
                let _guard = guard;
                Ok(1)
            })
        };
        let (first, second) = (go(first), go(second));
        match select(first, second).await {
            Either::Left((admitted, other)) | Either::Right((admitted, other)) => {
                assert!(admitted.is_ok());
                drop(other);
            }
        }
        Ok(0)
    });
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(handle.stats().ok, 2);
    assert_eq!(drops.get(), 2);
}

#[test]
fn a_child_that_gives_up_waiting_lets_the_others_wait_on() {
    let (mut group, handle) = group(2);
    let gate = Gate::new();
    let (at, door) = (handle.clone(), gate.clone());
    group.queue(async move {
        let go = at.go(ready(Ok(9)));
        let given_up = select(go, door.wait(0)).await;
        assert!(matches!(given_up, Either::Right(_)));
        door.wait(1).await;
        Ok(0)
    });
    let (at, door) = (handle.clone(), gate.clone());
    group.queue(async move {
        door.wait(2).await;
        at.go(ready(Ok(3))).await.map(|()| 1).map_err(|_| "stopped")
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    gate.open(2);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(handle.stats().queued, 0, "one child waits, the other does not");
    gate.open(1);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 3);
}

#[test]
fn a_child_that_gave_up_and_waits_again_counts_as_waiting() {
    let (mut group, handle) = group(2);
    let gate = Gate::new();
    let (at, door) = (handle.clone(), gate.clone());
    group.queue(async move {
        let given_up = select(at.go(ready(Ok(9))), door.wait(0)).await;
        assert!(matches!(given_up, Either::Right(_)));
        drop(given_up);
        at.go(ready(Ok(2))).await.map(|()| 0).map_err(|_| "stopped")
    });
    let (at, door) = (handle.clone(), gate.clone());
    group.queue(async move {
        door.wait(1).await;
        at.go(ready(Ok(3))).await.map(|()| 1).map_err(|_| "stopped")
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    gate.open(1);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 4);
}

#[test]
fn a_child_that_ends_may_leave_only_waiting_siblings() {
    // The third child is the only one that does not wait; when it ends with no room left
    // by a lowered limit, one of the others has to go on.
    let (mut group, handle) = group(3);
    let gate = Gate::new();
    for _ in 0..2 {
        let at = handle.clone();
        group.queue(async move { at.go(ready(Ok(1))).await.map(|()| 0).map_err(|_| "stopped") });
    }
    let door = gate.clone();
    group.queue(async move {
        door.wait(0).await;
        Ok(2)
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(handle.stats().queued, 0);
    handle.set_limit(Some(1));
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 5);
}

#[test]
fn a_limit_lowered_to_0_while_children_wait_only_pauses() {
    let (mut group, handle) = group(1);
    let (gate, log) = (Gate::new(), Log::new());
    let (at, door, child_log) = (handle.clone(), gate.clone(), log.clone());
    group.queue(async move {
        door.wait(0).await;
        assert!(at.go(logged_child(1, &door, &child_log)).await.is_ok());
        child_log.add("went on");
        Ok(0)
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    handle.set_limit(Some(0));
    gate.open(0);
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(log.take(), ["went on"]);
    let stats = handle.stats();
    assert_eq!((stats.running, stats.queued, stats.ok), (0, 1, 1));
    handle.set_limit(Some(1));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["+1", "-1"]);
}

#[test]
fn a_limit_lowered_below_the_number_of_running_waiters_is_noticed() {
    let (mut group, handle) = group(3);
    let gate = Gate::new();
    for n in 0..3 {
        let (at, door) = (handle.clone(), gate.clone());
        group.queue(async move {
            door.wait(n).await;
            at.go(ready(Ok(9))).await.map(|()| n).map_err(|_| "stopped")
        });
    }
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    handle.set_limit(Some(1));
    for n in 0..3 {
        gate.open(n);
    }
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 6);
}

#[test]
fn a_go_that_a_child_moves_to_another_task_waits_as_an_outsider() {
    let (mut group, handle) = group(1);
    let (gate, log) = (Gate::new(), Log::new());
    let slot = Arc::new(Mutex::new(None));
    let (at, door, child_log, out) = (handle.clone(), gate.clone(), log.clone(), Arc::clone(&slot));
    group.queue(async move {
        *out.lock().unwrap() = Some(at.go(logged_child(1, &door, &child_log)));
        door.wait(0).await;
        Ok(0)
    });
    let (task, outside) = (MockTask::new(), MockTask::new());
    assert!(task.run(&mut group).is_pending());
    let mut go = slot.lock().unwrap().take().unwrap();
    assert!(outside.poll(&mut go).is_pending());
    assert!(task.run(&mut group).is_pending());
    assert_eq!(handle.stats().queued, 0, "the child itself does not wait in it");
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert!(matches!(outside.poll(&mut go), Poll::Ready(Ok(()))));
    gate.open(1);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_go_that_waited_in_a_child_and_moves_out_waits_as_an_outsider() {
    // Two children run. One polls a `go` once and gives it away. When an outsider polls it, it
    // no longer counts as that child's, so not all children wait when the other one does.
    let (mut group, handle) = group(2);
    let gate = Gate::new();
    let slot = Slot::default();
    // The `go` has to wait: the other child has not been polled yet, so not all children wait.
    let child = ready(Ok(2));
    group.queue(hands_a_go_out(handle.clone(), child, Arc::clone(&slot), gate.wait(0)));
    group.queue(waits_in_a_go(handle.clone(), gate.wait(1)));
    let (task, outside) = (MockTask::new(), MockTask::new());
    assert!(task.run(&mut group).is_pending());
    let mut go = slot.lock().unwrap().take().unwrap();
    assert!(outside.poll(&mut go).is_pending());
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(handle.stats().queued, 0);
    assert!(outside.poll(&mut go).is_pending());
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert!(matches!(outside.poll(&mut go), Poll::Ready(Ok(()))));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 4);
}

#[test]
fn a_go_that_outlives_its_child_waits_as_an_outsider() {
    let (mut group, handle) = group(2);
    let (gate, log) = (Gate::new(), Log::new());
    group.queue(logged_child(0, &gate, &log));
    let slot = Slot::default();
    let child = logged_child(1, &gate, &log);
    group.queue(hands_a_go_out(handle.clone(), child, Arc::clone(&slot), ready(())));
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert_eq!(handle.stats().running, 1);
    let mut go = slot.lock().unwrap().take().unwrap();
    assert!(matches!(MockTask::new().poll(&mut go), Poll::Ready(Ok(()))));
    gate.open(0);
    gate.open(1);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_go_that_outlives_its_child_is_not_put_into_the_queue() {
    let (mut group, handle) = group(2);
    let (gate, log) = (Gate::new(), Log::new());
    group.queue(logged_child(0, &gate, &log));
    let slot = Slot::default();
    let child = ready(Ok(2));
    group.queue(hands_a_go_out(handle.clone(), child, Arc::clone(&slot), gate.wait(1)));
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    handle.set_limit(Some(1));
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    // The child that runs does not wait.
    let mut go = slot.lock().unwrap().take().unwrap();
    assert!(MockTask::new().poll(&mut go).is_pending());
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert!(matches!(MockTask::new().poll(&mut go), Poll::Ready(Ok(()))));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
}

#[test]
fn a_go_that_outlives_its_child_does_not_hide_that_all_other_children_wait() {
    let (mut group, handle) = group(2);
    let gate = Gate::new();
    let slot = Slot::default();
    let child = ready(Ok(2));
    // The `go` is not polled again for now.
    group.queue(hands_a_go_out(handle.clone(), child, Arc::clone(&slot), gate.wait(0)));
    group.queue(waits_in_a_go(handle.clone(), gate.wait(1)));
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    handle.set_limit(Some(1));
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    let stats = handle.stats();
    assert_eq!((stats.running, stats.queued, stats.ok), (0, 1, 2), "the second went on");
    let mut go = slot.lock().unwrap().take().unwrap();
    assert!(matches!(MockTask::new().poll(&mut go), Poll::Ready(Ok(()))));
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 4);
}

#[test]
fn a_group_within_a_child_may_go_on_the_outer_one() {
    for (outer, inner) in [(1, 1), (1, 3), (2, 2)] {
        let (mut group, handle) = group(outer);
        let alive = Meter::default();
        for _ in 0..3 {
            let (at, alive) = (handle.clone(), alive.clone());
            group.queue(async move {
                let _alive = alive.enter();
                let mut within = Group::new().with_limit(inner);
                for _ in 0..4 {
                    let (at, alive) = (at.clone(), alive.clone());
                    within.queue(async move {
                        let child = async move {
                            let _alive = alive.enter();
                            yield_now().await;
                            Ok(1)
                        };
                        at.go(child).await.map(|()| 0_usize).map_err(|_| "stopped")
                    });
                }
                within.await.map(|()| 0)
            });
        }
        assert_eq!(MockTask::new().finish(group), Ok(()));
        assert_eq!(handle.stats().ok, 15);
        assert_eq!(alive.peak(), outer);
    }
}

#[test]
fn a_waiter_within_a_child_of_the_inner_group_is_no_waiter_of_the_outer() {
    let (mut group, handle) = group(1);
    group.queue(async {
        let (mut within, at) = self::group(1);
        let inner = at.clone();
        within
            .queue(async move { inner.go(ready(Ok(1))).await.map(|()| 0).map_err(|_| "stopped") });
        within.await?;
        Ok(at.stats().ok)
    });
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(handle.stats().queued + handle.stats().dropped, 0);
}

#[test]
fn a_scopes_body_is_no_child_and_waits_as_an_outsider() {
    let (gate, log) = (Gate::new(), Log::new());
    let (door, child_log) = (&gate, &log);
    let mut scope = pin!(Group::<Kind>::new().with_limit(1).scope(async |handle| {
        handle.queue(logged_child(0, door, child_log));
        assert!(handle.go(logged_child(1, door, child_log)).await.is_ok());
        child_log.add(format!("queued: {}", handle.stats().queued));
    }));
    let task = MockTask::new();
    for _ in 0..3 {
        assert!(task.poll_pinned(scope.as_mut()).is_pending());
    }
    assert_eq!(log.take(), ["+0"]);
    gate.open(0);
    assert!(task.poll_pinned(scope.as_mut()).is_pending());
    assert_eq!(log.take(), ["-0", "queued: 0", "+1"]);
    gate.open(1);
    assert_eq!(task.poll_pinned(scope.as_mut()), Poll::Ready(((), Ok(()))));
}

#[test]
fn a_body_that_waits_first_does_not_block_the_children() {
    // The body is first in the queue, and all children wait behind it.
    let scope = Group::<Kind>::new().with_limit(1).try_scope(async |handle| {
        let at = handle.clone();
        handle.queue(async move {
            for _ in 0..5 {
                yield_now().await;
            }
            at.go(ready(Ok(2))).await.map(|()| 0).map_err(|_| "stopped")
        });
        handle.go(ready(Ok(1))).await.map_err(|_| "stopped")?;
        Ok(handle)
    });
    let handle = MockTask::new().finish(scope).unwrap();
    assert_eq!(handle.stats().ok, 3);
}

#[test]
fn a_scope_within_a_child_waits_for_the_outer_group_as_its_child() {
    let (mut group, handle) = group(1);
    let at = handle.clone();
    group.queue(async move {
        Group::<Kind>::new()
            .try_scope(async |_inner| {
                at.go(ready(Ok(1))).await.map_err(|_| "stopped")?;
                Ok(0)
            })
            .await
    });
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(handle.stats().ok, 2);
}

#[test]
fn children_that_wait_behind_the_groups_own_go_go_on() {
    let (mut group, handle) = group(1);
    let gate = Gate::new();
    let (at, door) = (handle.clone(), gate.clone());
    group.queue(async move {
        door.wait(0).await;
        at.go(ready(Ok(2))).await.map(|()| 0).map_err(|_| "stopped")
    });
    let task = MockTask::new();
    {
        let mut own = group.go(ready(Ok(1)));
        assert!(task.run(&mut own).is_pending());
        gate.open(0);
        assert!(matches!(task.run(&mut own), Poll::Ready(Ok(()))));
    }
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 3);
}

#[test]
fn a_child_that_polls_its_goes_through_a_set_of_its_own_is_still_that_child() {
    use futures::stream::{FuturesUnordered, StreamExt};
    let (mut group, handle) = group(1);
    let at = handle.clone();
    group.queue(async move {
        let goes: FuturesUnordered<_> = (0..200).map(|_| at.go(ready(Ok(1)))).collect();
        assert!(goes.all(|went| ready(went.is_ok())).await);
        Ok(0)
    });
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(handle.stats().ok, 201);
}

#[test]
fn a_local_group_and_one_that_borrows_follow_the_same_rule() {
    let seen = std::cell::Cell::new(0);
    let seen = &seen;
    let mut group = Group::local().with_limit(1);
    let handle = group.handle();
    let at = handle.clone();
    group.queue(async move {
        for _ in 0..3 {
            let child = async move {
                seen.set(seen.get() + 1);
                Ok::<usize, &str>(0)
            };
            assert!(at.go(child).await.is_ok());
        }
        Ok(0)
    });
    assert_eq!(MockTask::new().finish(group), Ok(()));
    assert_eq!(seen.get(), 3);
}

#[test]
fn a_panic_within_a_waiting_child_leaves_nothing_behind() {
    let (mut group, handle) = group(1);
    let at = handle.clone();
    group.queue(async move {
        let mut go = at.go(pending());
        assert!(futures::poll!(&mut go).is_pending());
        panic!("in the middle of it");
    });
    let caught =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| MockTask::new().finish(group)));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "in the middle of it");
    assert!(handle.is_closed());

    // The thread's next group is not affected.
    let (mut group, handle) = self::group(1);
    let gate = Gate::new();
    let door = gate.clone();
    group.queue(async move {
        door.wait(0).await;
        Ok(0)
    });
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    assert!(task.poll(&mut handle.go(pending())).is_pending());
    assert_eq!(handle.stats().queued, 0);
}

#[test]
fn a_go_that_waited_outside_and_moves_into_a_child_waits_as_that_child() {
    let (mut group, handle) = group(1);
    let (at, outside) = (handle.clone(), MockTask::new());
    let gate = Gate::new();
    let door = gate.clone();
    // The `go` is first polled outside, then handed to the child, which waits in it.
    let mut go = at.go(ready(Ok(1)));
    let taken = Arc::new(Mutex::new(None));
    let slot: Arc<Mutex<Option<BoxFuture<'static, bool>>>> = Arc::clone(&taken);
    group.queue(async move {
        door.wait(0).await;
        let go = slot.lock().unwrap().take().unwrap();
        assert!(go.await);
        Ok(0)
    });
    assert!(outside.poll(&mut go).is_pending());
    *taken.lock().unwrap() = Some(async move { go.await.is_ok() }.boxed());
    let task = MockTask::new();
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 2);
}

/// A child ends, and so room is there for the `go` within another. A third child takes the room
/// back by a lower limit, before the second was woken for it. **The second waits as before**, so
/// the rule above holds.
#[test]
fn a_turn_that_is_lost_before_the_child_is_woken_leaves_the_child_waiting() {
    let (mut group, handle) = group(3);
    let gate = Gate::new();
    let inner = handle.clone();
    group.queue(async move {
        inner.go(ready(Ok(1))).await.map_err(|_| "it has stopped")?;
        Ok(0)
    });
    let end = gate.wait(0);
    group.queue(async move {
        end.await;
        Ok(2)
    });
    let (end, inner) = (gate.wait(1), handle.clone());
    group.queue(async move {
        end.await;
        inner.set_limit(Some(1));
        Ok(3)
    });
    let task = MockTask::new();
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    gate.open(1);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 4);
}

#[test]
fn a_slot_that_was_used_hides_no_deadlock() {
    let (mut group, handle) = group(1);
    let mock = MockTask::new();
    let Poll::Ready(Ok(slot)) = mock.poll(&mut handle.reserve()) else { panic!("there is room") };
    let at = handle.clone();
    let child = async move {
        at.go(ready(Ok(1))).await.map_err(|_| "stopped")?;
        Ok(0)
    };
    assert!(slot.go(child).is_ok());
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(handle.stats().ok, 2);
}

#[test]
fn a_feed_inside_a_child_queues_its_child_with_the_childs_priority() {
    let (mut group, handle) = group(1);
    let (gate, log, mock) = (Gate::new(), Log::new(), MockTask::new());
    let (at, door, of) = (handle.clone(), gate.clone(), log.clone());
    group.queue(async move {
        let child = task(logged_child(1, &door, &of)).priority(2);
        let fed = at.feed(stream::iter([child])).await;
        of.add("fed");
        door.wait(0).await;
        Ok(fed)
    });
    assert!(mock.run(&mut group).is_pending());
    for number in 2..4 {
        let child = task(logged_child(number, &gate, &log)).priority(1);
        group.queue(child);
    }
    (0..4).for_each(|n| gate.open(n));
    assert_eq!(mock.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["fed", "+1", "-1", "+2", "-2", "+3", "-3"]);
}
