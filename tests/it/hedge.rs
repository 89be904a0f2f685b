//! `hedge`: another attempt when the last one takes long or fails; the first `Ok` wins.

use std::cell::Cell;
use std::future::{Future, pending, ready};
use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use crate::common::{
    Bomb, DropCounter, Gate, Job, Log, MockTask, OnDrop, Probe, count_polls, fails, job,
    panic_message, waits, yield_now,
};
use errgroup::{Errors, hedge};
use futures::future::FusedFuture;

/// Attempts and delays that wait at gates and are logged.
#[derive(Clone, Default)]
struct Scene {
    /// Attempt `n` succeeds when its door here opens.
    won: Gate,
    /// Attempt `n` fails when its door here opens.
    lost: Gate,
    delays: Gate,
    log: Log,
    probe: Probe,
    delay_drops: DropCounter,
}

impl Scene {
    fn attempt(&self, n: usize) -> Job {
        self.log.add(format!("attempt {n}"));
        let (won, lost) = (self.won.wait(n), self.lost.wait(n));
        self.probe.watch(async move {
            match futures::future::select(won, lost).await {
                futures::future::Either::Left(_) => Ok(n),
                futures::future::Either::Right(_) => Err("lost"),
            }
        })
    }

    fn delay(&self, n: usize) -> impl Future<Output = usize> {
        self.log.add(format!("delay {n}"));
        let (wait, guard) = (self.delays.wait(n), self.delay_drops.guard());
        async move {
            wait.await;
            drop(guard);
            n
        }
    }

    fn hedge(&self, max: usize) -> impl FusedFuture<Output = Result<usize, Errors<&'static str>>> {
        hedge(max, |n| self.attempt(n), |n| self.delay(n))
    }
}

macro_rules! pinned {
    ($hedge:ident = $make:expr) => {
        let mut $hedge = Box::pin($make);
    };
}

#[test]
fn an_attempt_that_succeeds_needs_no_other() {
    let (task, scene) = (MockTask::new(), Scene::default());
    pinned!(hedge = scene.hedge(3));
    assert!(scene.log.take().is_empty(), "nothing is started before the first poll");
    assert!(task.poll(&mut hedge).is_pending());
    assert_eq!(scene.log.take(), ["attempt 0", "delay 0"]);
    scene.won.open(0);
    assert!(!hedge.is_terminated());
    assert_eq!(task.poll(&mut hedge), Poll::Ready(Ok(0)));
    assert!(scene.log.take().is_empty());
    assert_eq!((scene.probe.drops(), scene.delay_drops.get()), (1, 1));
    assert!(hedge.is_terminated());
    scene.delays.open(0);
    assert!(task.poll(&mut hedge).is_pending());
    assert!(scene.log.take().is_empty());
}

#[test]
fn a_delay_that_resolves_starts_the_next_attempt_beside_the_last() {
    let (task, scene) = (MockTask::new(), Scene::default());
    pinned!(hedge = scene.hedge(3));
    assert!(task.poll(&mut hedge).is_pending());
    assert_eq!(scene.log.take(), ["attempt 0", "delay 0"]);
    scene.delays.open(0);
    assert_eq!(task.wakes(), 1);
    assert!(task.poll(&mut hedge).is_pending());
    assert_eq!(scene.log.take(), ["attempt 1", "delay 1"]);
    assert_eq!((scene.probe.polls(), scene.probe.drops()), (2, 0), "the first goes on, unpolled");
    scene.delays.open(1);
    assert!(task.poll(&mut hedge).is_pending());
    assert_eq!(scene.log.take(), ["attempt 2"], "no delay after the last");
    assert_eq!(scene.delay_drops.get(), 2);
    scene.won.open(1);
    assert_eq!(task.poll(&mut hedge), Poll::Ready(Ok(1)));
    assert_eq!(scene.probe.drops(), 3, "the others are dropped");
    assert_eq!(task.wakes(), 3);
}

#[test]
fn the_newest_attempts_failure_starts_the_next_at_once_and_an_older_ones_does_not() {
    let (task, scene) = (MockTask::new(), Scene::default());
    pinned!(hedge = scene.hedge(4));
    assert!(task.poll(&mut hedge).is_pending());
    scene.lost.open(0);
    assert!(task.poll(&mut hedge).is_pending());
    assert_eq!(scene.log.take(), ["attempt 0", "delay 0", "attempt 1", "delay 1"]);
    assert_eq!(scene.delay_drops.get(), 1, "the old delay is dropped");
    scene.delays.open(0);
    assert!(task.poll(&mut hedge).is_pending());
    scene.delays.open(1);
    assert!(task.poll(&mut hedge).is_pending());
    assert_eq!(scene.log.take(), ["attempt 2", "delay 2"]);
    scene.lost.open(1);
    assert!(task.poll(&mut hedge).is_pending());
    assert!(scene.log.take().is_empty(), "an older one has failed");
    scene.lost.open(2);
    assert!(task.poll(&mut hedge).is_pending());
    assert_eq!(scene.log.take(), ["attempt 3"]);
    scene.won.open(3);
    assert_eq!(task.poll(&mut hedge), Poll::Ready(Ok(3)));
}

#[test]
fn an_older_failure_after_the_newest_in_the_same_poll_hides_nothing() {
    // In either order of the polls.
    for (older, newest) in [(1, 2), (2, 3)] {
        let (task, scene) = (MockTask::new(), Scene::default());
        pinned!(hedge = scene.hedge(5));
        scene.delays.open(0);
        assert!(task.poll(&mut hedge).is_pending());
        // Its slot is free for a newer attempt.
        scene.lost.open(0);
        assert!(task.poll(&mut hedge).is_pending());
        for n in 1..newest {
            scene.delays.open(n);
            assert!(task.poll(&mut hedge).is_pending());
        }
        scene.log.take();
        scene.lost.open(older);
        scene.lost.open(newest);
        assert!(task.poll(&mut hedge).is_pending());
        assert_eq!(scene.log.take()[0], format!("attempt {}", newest + 1));
    }
}

#[test]
fn all_errors_come_out_in_the_order_of_the_failures() {
    let (task, gate, delays) = (MockTask::new(), Gate::new(), Gate::new());
    let errors = ["zero", "one", "two"];
    let mut all = Box::pin(hedge(3, |n| fails(&gate, n, errors[n]), |n| delays.wait(n)));
    assert!(task.poll(&mut all).is_pending());
    delays.open(0);
    delays.open(1);
    assert!(task.poll(&mut all).is_pending());
    for n in [2, 0] {
        gate.open(n);
        assert!(task.poll(&mut all).is_pending());
    }
    gate.open(1);
    let Poll::Ready(Err(all)) = task.poll(&mut all) else { panic!("all have failed") };
    assert_eq!(all.into_vec(), ["two", "zero", "one"]);
}

#[test]
fn attempts_that_fail_at_once_are_all_made_in_one_poll() {
    let (task, log) = (MockTask::new(), Log::new());
    let all = hedge(
        3,
        |n| job(ready(Err(["zero", "one", "two"][n]))),
        |n| {
            log.add(format!("delay {n}"));
            pending::<()>()
        },
    );
    assert_eq!(task.finish(all).unwrap_err().into_vec(), ["zero", "one", "two"]);
    assert_eq!(log.take(), ["delay 0", "delay 1"]);
    assert_eq!(task.wakes(), 0);
}

#[test]
fn no_attempts_are_no_errors() {
    let task = MockTask::new();
    let none =
        hedge(0, |_| -> Job { unreachable!() }, |_| -> std::future::Ready<()> { unreachable!() });
    assert!(task.finish(none).unwrap_err().is_empty());
}

#[test]
fn one_attempt_has_no_delay() {
    let task = MockTask::new();
    let delay = |_| -> std::future::Ready<()> { unreachable!() };
    assert_eq!(task.finish(hedge(1, |n| job(ready(Ok(n))), delay)), Ok(0));
    let all = task.finish(hedge(1, |_| job(ready(Err("zero"))), delay));
    assert_eq!(all.unwrap_err().into_vec(), ["zero"]);
}

#[test]
fn an_attempt_that_is_done_wins_over_a_delay_that_has_resolved() {
    let (task, scene) = (MockTask::new(), Scene::default());
    pinned!(hedge = scene.hedge(3));
    assert!(task.poll(&mut hedge).is_pending());
    scene.delays.open(0);
    scene.won.open(0);
    assert_eq!(task.wakes(), 1);
    assert_eq!(task.poll(&mut hedge), Poll::Ready(Ok(0)));
    assert_eq!(scene.log.take(), ["attempt 0", "delay 0"]);
    // In the first poll as well.
    let log = Log::new();
    let first = errgroup::hedge(
        3,
        |n| job(ready(Ok(n))),
        |_| {
            let log = log.clone();
            async move { log.add("polled") }
        },
    );
    assert_eq!(task.finish(first), Ok(0));
    assert!(log.take().is_empty());
}

#[test]
fn the_winner_is_not_outdone_in_the_same_round() {
    let (task, scene) = (MockTask::new(), Scene::default());
    pinned!(hedge = scene.hedge(3));
    scene.delays.open(0);
    scene.delays.open(1);
    assert!(task.poll(&mut hedge).is_pending());
    assert_eq!(scene.probe.polls(), 3);
    (0..3).for_each(|n| scene.won.open(n));
    assert_eq!(task.poll(&mut hedge), Poll::Ready(Ok(0)));
    assert_eq!((scene.probe.polls(), scene.probe.drops()), (4, 3), "the others are not polled on");
}

#[test]
fn a_delay_is_polled_only_when_it_was_woken() {
    let (task, gate, delays) = (MockTask::new(), Gate::new(), Gate::new());
    let polls = Arc::new(AtomicUsize::new(0));
    let mut all = Box::pin(hedge(2, |n| waits(&gate, n), |n| count_polls(&polls, delays.wait(n))));
    for _ in 0..3 {
        assert!(task.poll(&mut all).is_pending());
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    }
    // An attempt that has yielded is polled once in each poll of the hedge.
    let polls = Arc::new(AtomicUsize::new(0));
    let mut all = Box::pin(hedge(
        2,
        |n| waits(&gate, n),
        |_| {
            count_polls(&polls, async {
                yield_now().await;
                yield_now().await;
            })
        },
    ));
    for n in 1..3 {
        assert!(task.poll(&mut all).is_pending());
        assert_eq!((polls.load(Ordering::SeqCst), task.wakes()), (n, n));
    }
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(task.wakes(), 2);
    gate.open(1);
    assert_eq!(task.poll(&mut all), Poll::Ready(Ok(1)), "the second was started");
}

#[test]
fn a_waker_of_an_old_delay_does_not_poll_the_new_one() {
    let (task, gate, fails_at) = (MockTask::new(), Gate::new(), Gate::new());
    let kept: std::cell::RefCell<Vec<Waker>> = Default::default();
    let polls = Cell::new(0);
    let delay = |_| {
        std::future::poll_fn(|cx| {
            polls.set(polls.get() + 1);
            kept.borrow_mut().push(cx.waker().clone());
            Poll::<()>::Pending
        })
    };
    let mut all = Box::pin(hedge(
        3,
        |n| if n == 0 { fails(&fails_at, 0, "lost") } else { waits(&gate, n) },
        delay,
    ));
    assert!(task.poll(&mut all).is_pending());
    fails_at.open(0);
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(polls.get(), 2);
    kept.borrow()[0].wake_by_ref();
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(polls.get(), 2);
    kept.borrow()[1].wake_by_ref();
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(polls.get(), 3);
}

#[test]
fn one_poll_starts_4096_attempts_at_most_then_yields() {
    let (task, started) = (MockTask::new(), Cell::new(0));
    let attempt = |_| {
        started.set(started.get() + 1);
        job(pending())
    };
    let mut all = Box::pin(hedge(usize::MAX, attempt, |_| ready(())));
    for n in 1..4 {
        assert!(task.poll(&mut all).is_pending());
        assert_eq!((started.get(), task.wakes()), (n * 4096, n));
    }
    started.set(0);
    let attempt = |n| {
        started.set(started.get() + 1);
        job(ready(if n < 10_000 { Err("") } else { Ok(n) }))
    };
    let mut all = Box::pin(hedge(usize::MAX, attempt, |_| pending::<()>()));
    assert!(task.poll(&mut all).is_pending());
    assert_eq!((started.get(), task.wakes()), (4096, 4));
    assert_eq!(task.run(&mut all), Poll::Ready(Ok(10_000)));
}

#[test]
fn a_dropped_hedge_drops_the_attempts_then_the_delay_then_the_closures() {
    let (task, log) = (MockTask::new(), Log::new());
    let gone = OnDrop(|| log.add("makers"));
    let log = &log;
    let mut all = Box::pin(hedge(
        2,
        move |n| {
            let _ = &gone;
            let log = log.clone();
            let gone = OnDrop(move || log.add(format!("attempt {n}")));
            job(async move {
                let _gone = gone;
                pending().await
            })
        },
        |_| {
            let gone = OnDrop(|| log.add("delay"));
            async move {
                let _gone = gone;
                pending::<()>().await
            }
        },
    ));
    assert!(task.poll(&mut all).is_pending());
    assert!(format!("{all:?}").contains("started: 1"));
    drop(all);
    assert_eq!(log.take(), ["attempt 0", "delay", "makers"]);
}

#[test]
fn destructors_that_panic_together_are_one_panic() {
    let task = MockTask::new();
    let mut all = Box::pin(hedge(
        2,
        |_| {
            job(async {
                let _bomb = Bomb("attempt");
                pending().await
            })
        },
        |_| async {
            let _bomb = Bomb("delay");
            pending::<()>().await
        },
    ));
    assert!(task.poll(&mut all).is_pending());
    assert_eq!(panic_message(|| drop(all)), "attempt");
}

#[test]
fn a_panic_of_any_part_drops_the_attempts_and_goes_on_to_the_caller() {
    #[derive(Clone, Copy, PartialEq)]
    enum Part {
        Attempt,
        Delay,
        MakeAttempt,
        MakeDelay,
        DropDelay,
    }
    use Part::*;
    for part in [Attempt, Delay, MakeAttempt, MakeDelay, DropDelay] {
        let (task, probe, delays, gate) = (MockTask::new(), Probe::new(), Gate::new(), Gate::new());
        let may = |it: Part, n| {
            if it == part && n == 1 {
                panic_any("of it");
            }
        };
        let mut all = Box::pin(hedge(
            4,
            |n| {
                may(MakeAttempt, n);
                let wait = gate.wait(n);
                probe.watch(async move {
                    wait.await;
                    if part == Attempt { panic_any("of it") } else { Err("lost") }
                })
            },
            |n| {
                may(MakeDelay, n);
                let wait = delays.wait(n);
                async move {
                    let _bomb = (part == DropDelay && n == 1).then(|| Bomb("of it"));
                    wait.await;
                    if part == Delay && n == 1 {
                        panic_any("of it");
                    }
                }
            },
        ));
        assert!(task.poll(&mut all).is_pending());
        delays.open(0);
        if !matches!(part, MakeAttempt | MakeDelay) {
            assert!(task.poll(&mut all).is_pending());
            if part == Delay {
                delays.open(1);
            } else {
                gate.open(1);
            }
        }
        assert_eq!(panic_message(|| task.poll(&mut all)), "of it");
        let made = if part == MakeAttempt { 1 } else { 2 };
        assert_eq!(probe.drops(), made, "no attempt is left");
        assert!(all.is_terminated());
        assert!(task.poll(&mut all).is_pending());
        drop(all);
        assert_eq!(probe.drops(), made);
    }
}

#[test]
fn an_attempt_that_is_done_needs_no_other_though_many_yield() {
    let (task, gate, made) = (MockTask::new(), Gate::new(), Cell::new(0));
    let attempt = |n: usize| {
        made.set(made.get() + 1);
        let wait = gate.wait(0);
        async move {
            if n < 32 {
                loop {
                    yield_now().await;
                }
            }
            wait.await;
            Ok::<_, ()>(n)
        }
    };
    let delay = |n: usize| {
        let time = gate.wait(1);
        async move {
            if n >= 32 {
                time.await;
            }
        }
    };
    let mut hedge = std::pin::pin!(hedge(1000, attempt, delay));
    for _ in 0..20 {
        assert!(task.poll(&mut hedge).is_pending());
    }
    assert_eq!(made.get(), 33);
    // First the attempt is done, then the delay is over.
    gate.open(0);
    gate.open(1);
    let output = loop {
        if let Poll::Ready(output) = task.poll(&mut hedge) {
            break output;
        }
    };
    assert_eq!((output, made.get()), (Ok(32), 33));
}
