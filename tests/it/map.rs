//! `map` and `for_each`: one future for each input, in order, within the limit, until an error.

use std::cell::Cell;
use std::future::{pending, ready};
use std::panic::{PanicHookInfo, catch_unwind, panic_any};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::task::Poll;

use crate::common::{
    Bomb, DropCounter, Gate, Log, Meter, MockTask, OnDrop, Probe, Value, count_polls, fails, job,
    logged_child, panic_message, value_job, waits, yield_now,
};
use errgroup::{for_each, map};
use futures::future::FusedFuture;

// === what comes out ===

#[test]
fn values_come_in_the_order_of_the_inputs_whichever_is_first() {
    for limit in [3, 5, 100, usize::MAX] {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut all = map(limit, 0..5, |n| waits(&gate, n));
        assert!(task.poll(&mut all).is_pending());
        for n in [2, 0, 1, 4, 3] {
            gate.open(n);
        }
        assert_eq!(task.poll(&mut all), Poll::Ready(Ok(vec![0, 1, 2, 3, 4])), "limit {limit}");
        assert_eq!(task.wakes(), 1);
    }
}

#[test]
fn map_works_for_none_one_and_many_inputs() {
    let task = MockTask::new();
    for limit in [1, 2, 64, 1000, usize::MAX] {
        for count in [0, 1, 2, 63, 64, 65, 1000, 10_000] {
            let all = map(limit, 0..count, |n| {
                job(async move {
                    if n % 3 == 0 {
                        yield_now().await;
                    }
                    Ok(n)
                })
            });
            assert_eq!(task.finish(all), Ok((0..count).collect::<Vec<usize>>()));
            let seen = Cell::new(0);
            let all = for_each(limit, 0..count, async |n: usize| {
                seen.set(seen.get() + 1);
                Ok::<_, &str>(n.to_string())
            });
            assert_eq!((task.finish(all), seen.get()), (Ok(()), count));
        }
    }
}

#[test]
fn the_first_err_comes_out_as_it_is() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let error = Rc::new(5);
    let result = map(2, 0..4, |n| {
        let (wait, error) = (gate.wait(n), Rc::clone(&error));
        async move {
            wait.await;
            if n == 0 { Ok(n) } else { Err(error) }
        }
    });
    let mut result = result;
    assert!(task.poll(&mut result).is_pending());
    gate.open(0);
    assert!(task.poll(&mut result).is_pending());
    gate.open(2);
    let Poll::Ready(Err(returned)) = task.poll(&mut result) else { panic!("it has failed") };
    assert!(Rc::ptr_eq(&returned, &error));
    drop(returned);
    assert_eq!(
        Rc::strong_count(&error),
        1,
        "the running futures, the inputs and the function are dropped"
    );
}

#[test]
fn the_error_drops_the_others_before_it_comes_out_and_polls_them_no_more() {
    type Job = crate::common::Job;
    fn scenario<T>(run: impl Fn(&mut dyn FnMut(usize) -> Job, &MockTask, &Gate, &Probe) -> T) {
        let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
        let made = Cell::new(0);
        run(
            &mut |n| {
                made.set(made.get() + 1);
                probe.watch(if n == 1 { fails(&gate, n, "broken") } else { waits(&gate, n) })
            },
            &task,
            &gate,
            &probe,
        );
        assert_eq!(made.get(), 4, "no more futures are made");
    }
    fn check<R: PartialEq + std::fmt::Debug>(
        all: &mut (impl FusedFuture<Output = R> + Unpin),
        broken: R,
        (task, gate, probe): (&MockTask, &Gate, &Probe),
    ) {
        assert!(task.poll(all).is_pending());
        assert_eq!(probe.polls(), 4);
        // All of them are woken, and the second is polled before the others.
        (0..4).for_each(|n| gate.open(n));
        assert!(!all.is_terminated());
        assert_eq!(task.poll(all), Poll::Ready(broken));
        assert_eq!((probe.polls(), probe.drops()), (6, 4));
        assert!(all.is_terminated());
        assert!(task.poll(all).is_pending());
        assert_eq!((probe.polls(), task.wakes()), (6, 1));
    }
    scenario(|make, task, gate, probe| {
        check(&mut map(4, 0..9, make), Err("broken"), (task, gate, probe));
    });
    scenario(|make, task, gate, probe| {
        check(&mut for_each(4, 0..9, make), Err("broken"), (task, gate, probe));
    });
}

#[test]
fn an_immediate_error_makes_no_more_futures_than_the_limit() {
    let (task, made) = (MockTask::new(), Cell::new(0));
    let all = map(3, 0_usize.., |n| {
        made.set(made.get() + 1);
        job(ready(if n == 1 { Err("broken") } else { Ok(n) }))
    });
    assert_eq!((task.finish(all), made.get()), (Err("broken"), 3));
}

#[test]
fn values_and_results_are_dropped_exactly_once() {
    let (task, drops) = (MockTask::new(), DropCounter::default());
    let value = || drops.value("counted");
    let values = task.finish(map(2, 0..5, |_| value_job(ready(Ok(value())))));
    assert_eq!(drops.get(), 0);
    drop(values);
    assert_eq!(drops.get(), 5);
    let result = |n| if n == 3 { Err(value()) } else { Ok(value()) };
    let error = task.finish(map(1, 0..5, |n| value_job(ready(result(n)))));
    assert_eq!(drops.get(), 8, "the values made before the error");
    drop(error);
    assert_eq!(drops.get(), 9);
    assert!(task.finish(for_each(2, 0..5, |_| value_job(ready(Ok(value()))))).is_ok());
    assert_eq!(drops.get(), 14);
}

// === when futures are made ===

#[test]
fn no_future_is_made_before_the_first_poll() {
    let (task, log) = (MockTask::new(), Log::new());
    let inputs = (0..2).inspect(|n| log.add(format!("asked {n}")));
    let mut all = map(2, inputs, |n| {
        log.add(format!("made {n}"));
        job(ready(Ok(n)))
    });
    assert_eq!(format!("{all:?}").matches("Map").count(), 1);
    assert!(log.take().is_empty());
    assert_eq!(task.poll(&mut all), Poll::Ready(Ok(vec![0, 1])));
    assert_eq!(log.take(), ["asked 0", "made 0", "asked 1", "made 1"]);
    drop(for_each(2, (0..2).inspect(|_| log.add("asked")), |n| job(ready(Ok(n)))));
    assert!(log.take().is_empty());
}

#[test]
fn no_more_futures_exist_than_the_limit() {
    for limit in [1, 2, 7, 64, 65] {
        let (task, made) = (MockTask::new(), Meter::new());
        let all = map(limit, 0..500, |n| {
            let inside = made.enter();
            job(async move {
                for _ in 0..n % 3 {
                    yield_now().await;
                }
                drop(inside);
                Ok(n)
            })
        });
        assert_eq!(task.finish(all), Ok((0..500).collect()));
        assert_eq!((made.peak(), made.now()), (limit, 0));
    }
}

#[test]
fn the_next_future_is_made_when_one_has_finished_and_is_dropped() {
    let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let mut all = map(2, 0..4, |n| logged_child::<&str>(n, &gate, &log));
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(log.take(), ["+0", "+1"]);
    gate.open(1);
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(log.take(), ["-1", "+2"]);
    gate.open(2);
    gate.open(0);
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(log.take(), ["-0", "-2", "+3"]);
    gate.open(3);
    assert_eq!(task.poll(&mut all), Poll::Ready(Ok(vec![0, 1, 2, 3])));
    assert_eq!(log.take(), ["-3"]);
}

#[test]
fn the_inputs_are_advanced_only_with_room_and_never_after_their_end() {
    let (task, gate, asked) = (MockTask::new(), Gate::new(), Cell::new(0));
    let mut left = 3_i32;
    let inputs = std::iter::from_fn(|| {
        asked.set(asked.get() + 1);
        assert!(asked.get() <= 4, "the iterator has ended");
        left -= 1;
        (left >= 0).then_some((2 - left) as usize)
    });
    let mut all = map(2, inputs, |n| waits(&gate, n));
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(asked.get(), 2);
    gate.open(0);
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(asked.get(), 3, "the end is seen only with room, as well");
    gate.open(1);
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(asked.get(), 4);
    gate.open(2);
    assert_eq!(task.poll(&mut all), Poll::Ready(Ok(vec![0, 1, 2])));
}

#[test]
fn one_poll_takes_at_most_4096_inputs_and_makes_at_most_4096_polls_then_yields() {
    let (task, asked) = (MockTask::new(), Cell::new(0));
    let polls = Arc::new(AtomicUsize::new(0));
    let inputs = (0..10_000).inspect(|_| asked.set(asked.get() + 1));
    let mut all = map(64, inputs, |n| job(count_polls(&polls, ready(Ok(n)))));
    let count = || polls.load(SeqCst);
    for n in 1..3 {
        assert!(task.poll(&mut all).is_pending());
        assert_eq!((asked.get(), count(), task.wakes()), (n * 4096, n * 4096, n));
    }
    assert_eq!(task.poll(&mut all), Poll::Ready(Ok((0..10_000).collect())));
    assert_eq!(task.wakes(), 2);

    // With room for all futures, and none of them ready.
    asked.set(0);
    let inputs = (0..5_000).inspect(|_| asked.set(asked.get() + 1));
    let mut all = map(usize::MAX, inputs, |_| job(pending()));
    let before = task.wakes();
    assert!(task.poll(&mut all).is_pending());
    assert_eq!((asked.get(), task.wakes() - before), (4096, 1));
    assert!(task.poll(&mut all).is_pending());
    assert_eq!((asked.get(), task.wakes() - before), (5000, 1));
}

#[test]
fn at_the_limit_the_task_is_not_woken_for_nothing() {
    let task = MockTask::new();
    let mut all = map(1000, 0..5_000, |_| job(pending()));
    for _ in 0..3 {
        assert!(task.poll(&mut all).is_pending());
        assert_eq!(task.wakes(), 0);
    }
}

#[test]
fn only_a_woken_future_is_polled() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut all = map(100, 0..100, |n| probe.watch(waits(&gate, n)));
    assert!(task.poll(&mut all).is_pending());
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(probe.polls(), 100);
    gate.open(50);
    assert!(task.poll(&mut all).is_pending());
    assert_eq!((probe.polls(), probe.drops(), task.wakes()), (101, 1, 1));
}

// === drop ===

#[test]
fn a_dropped_map_drops_its_futures_then_the_inputs_and_the_function() {
    let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let inputs_gone = OnDrop(|| log.add("inputs"));
    let function_gone = OnDrop(|| log.add("function"));
    let inputs = (0..9).inspect(move |_| {
        let _ = &inputs_gone;
    });
    let (at, to) = (&gate, &log);
    let mut all = map(2, inputs, move |n| {
        let _ = &function_gone;
        logged_child::<&str>(n, at, to)
    });
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(log.take(), ["+0", "+1"]);
    drop(all);
    let mut gone = log.take();
    assert_eq!(gone.split_off(2), ["inputs", "function"]);
    gone.sort();
    assert_eq!(gone, ["-0", "-1"]);
}

#[test]
fn destructors_that_panic_together_are_one_panic_and_lose_no_future() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let inputs_bomb = Bomb("inputs");
    let function_bomb = Bomb("function");
    let inputs = (0..9).inspect(move |_| {
        let _ = &inputs_bomb;
    });
    let watched = &probe;
    let mut all = map(3, inputs, move |n| {
        let _ = &function_bomb;
        watched.watch(async move {
            let _bomb = (n == 1).then(|| Bomb("child"));
            pending().await
        })
    });
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(panic_message(|| drop(all)), "child");
    assert_eq!(probe.drops(), 3);
}

#[test]
fn an_error_drops_the_running_futures_then_the_inputs_and_the_function_before_it_comes_out() {
    let (task, gate, log) = (MockTask::new(), Gate::new(), Log::new());
    let inputs_gone = OnDrop(|| log.add("inputs"));
    let function_gone = OnDrop(|| log.add("function"));
    let inputs = (0..9).inspect(move |_| {
        let _ = &inputs_gone;
    });
    let (at, to) = (&gate, &log);
    let mut all = for_each(2, inputs, move |n| {
        let _ = &function_gone;
        let wait = logged_child::<&str>(n, at, to);
        job(async move { if wait.await? == 1 { Err("broken") } else { Ok(n) } })
    });
    assert!(task.poll(&mut all).is_pending());
    gate.open(1);
    assert_eq!(task.poll(&mut all), Poll::Ready(Err("broken")));
    assert_eq!(log.take(), ["+0", "+1", "-1", "-0", "inputs", "function"]);
}

#[test]
fn the_inputs_and_the_function_are_dropped_with_their_last_future() {
    let (task, log) = (MockTask::new(), Log::new());
    let gone = OnDrop(|| log.add("function"));
    let mut all = map(9, 0..1, move |_| {
        let _ = &gone;
        job(pending())
    });
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(log.take(), ["function"]);

    let bombs = (Bomb("inputs"), Bomb("function"));
    let inputs_bomb = bombs.0;
    let function_bomb = bombs.1;
    let probe = Probe::new();
    let inputs = (0..1).inspect(move |_| {
        let _ = &inputs_bomb;
    });
    let mut all = map(9, inputs, |n| {
        let _ = &function_bomb;
        probe.watch(async move { if n == 0 { pending().await } else { Ok(n) } })
    });
    assert_eq!(panic_message(|| task.poll(&mut all)), "inputs");
    assert_eq!(probe.drops(), 1, "a panic ends it");
    drop(all);
    std::mem::forget(function_bomb);
}

// === panics ===

#[test]
fn a_panic_of_one_future_drops_the_others_and_goes_on_to_the_caller() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let made = Cell::new(0);
    let mut all = map(3, 0..9, |n| {
        made.set(made.get() + 1);
        let wait = gate.wait(n);
        probe.watch(async move {
            wait.await;
            if n == 1 { panic_any("of a child") } else { Ok(n) }
        })
    });
    assert!(task.poll(&mut all).is_pending());
    (0..3).for_each(|n| gate.open(n));
    assert_eq!(panic_message(|| task.poll(&mut all)), "of a child");
    // The future after it was woken and is not polled on: there is no token to tell it to end.
    assert_eq!((probe.polls(), probe.drops(), made.get()), (5, 3, 3));
    assert!(all.is_terminated());
    assert!(task.poll(&mut all).is_pending());
    assert_eq!((probe.polls(), made.get()), (5, 3));
    drop(all);
    assert_eq!(probe.drops(), 3);
}

#[test]
fn a_panic_of_the_function_or_the_inputs_leaves_at_once() {
    fn scenario(all: &mut (impl FusedFuture + Unpin), probe: &Probe, asked: &Cell<usize>) {
        let task = MockTask::new();
        let payload = panic_message(|| task.poll(all));
        assert_eq!(payload, "made in vain");
        assert_eq!(asked.get(), 3);
        assert_eq!(
            (probe.polls(), probe.drops()),
            (0, 2),
            "the futures made before are dropped unpolled"
        );
        assert!(all.is_terminated());
        assert!(task.poll(all).is_pending());
        assert_eq!((asked.get(), task.wakes()), (3, 0));
    }
    let (probe, asked) = (Probe::new(), Cell::new(0));
    let make = |n: usize| {
        asked.set(asked.get() + 1);
        if n == 2 {
            panic_any("made in vain");
        }
        probe.watch(pending())
    };
    scenario(&mut map(5, 0..9, make), &probe, &asked);
    let (probe, asked) = (Probe::new(), Cell::new(0));
    let inputs = (0..9).inspect(|&n| {
        asked.set(asked.get() + 1);
        if n == 2 {
            panic_any("made in vain");
        }
    });
    scenario(&mut for_each(5, inputs, |_| probe.watch(pending())), &probe, &asked);
}

#[test]
fn a_panic_among_the_dropped_siblings_outranks_the_error_once() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let mut all = map(4, 0..9, |n| {
        let wait = gate.wait(n);
        probe.watch(async move {
            let _bomb = (n == 1 || n == 2).then(|| Bomb("a sibling's"));
            wait.await;
            Err("broken")
        })
    });
    assert!(task.poll(&mut all).is_pending());
    gate.open(3);
    assert_eq!(panic_message(|| task.poll(&mut all)), "a sibling's");
    assert_eq!(probe.drops(), 4);
    assert!(task.poll(&mut all).is_pending());
}

#[test]
fn a_panic_of_a_future_outranks_those_of_the_siblings_and_of_the_error() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut all = map(3, 0..3, |n| {
        let wait = gate.wait(n);
        job(async move {
            let _bomb = (n == 1).then(|| Bomb("a sibling's"));
            wait.await;
            if n == 2 { panic_any("of a child") } else { Ok(n) }
        })
    });
    assert!(task.poll(&mut all).is_pending());
    gate.open(2);
    assert_eq!(panic_message(|| task.poll(&mut all)), "of a child");

    // The error can't come out, and its destructor panics too.
    let mut all = map(3, 0..2, |n| {
        value_job(async move {
            let _bomb = (n == 1).then(|| Bomb("a sibling's"));
            if n == 0 {
                yield_now().await;
                return Err(Value::bomb("the error's"));
            }
            pending().await
        })
    });
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(panic_message(|| task.poll(&mut all).map_err(std::mem::forget)), "a sibling's");
}

#[test]
#[should_panic = "the limit must be at least 1"]
fn a_limit_of_zero_is_refused_by_map() {
    drop(map(0, [1], |n| job(ready(Ok(n)))));
}

#[test]
#[should_panic = "the limit must be at least 1"]
fn a_limit_of_zero_is_refused_by_for_each() {
    drop(for_each(0, [1], |n| job(ready(Ok(n)))));
}

#[test]
fn the_refusal_of_a_limit_of_zero_names_the_line_of_the_call() {
    let (here, line) = (std::thread::current().id(), Arc::new(AtomicU32::new(0)));
    let hook: Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> = std::panic::take_hook().into();
    std::panic::set_hook(Box::new({
        let (hook, line) = (Arc::clone(&hook), Arc::clone(&line));
        move |info| match info.location() {
            Some(at) if std::thread::current().id() == here => line.store(at.line(), SeqCst),
            // A panic of another test.
            _ => hook(info),
        }
    }));
    let value = |n: usize| job(ready(Ok(n)));
    let refused = [
        catch_unwind(|| drop(map(0, [1], value))).map_err(|_| line!()),
        catch_unwind(|| drop(for_each(0, [1], value))).map_err(|_| line!()),
    ];
    std::panic::set_hook(Box::new(move |info| hook(info)));
    assert_eq!(refused, [Err(line.load(SeqCst) - 1), Err(line.load(SeqCst))]);
}
