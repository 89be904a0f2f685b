//! `try_scope`: the body may fail. What stops the scope, and which error is the result.

use std::cell::RefCell;
use std::future::{Future, ready};
#[cfg(feature = "std")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::common::{DropCounter, Gate, Log, MockTask, Values, logged_child, yield_now};
use errgroup::{Boxed, ChildInfo, Group, Handle, Policy, Reason, Verdict};
use futures::future::FusedFuture;

type Kind = Boxed<'static, usize, &'static str>;

fn group() -> Group<Kind> {
    Group::new()
}

/// A child that fails in its clean-up after a stop.
async fn fails_when_told(handle: Handle<Kind>, error: &'static str) -> Result<usize, &'static str> {
    handle.token().cancelled().await;
    Err(error)
}

#[test]
fn if_all_succeed_the_scope_gives_the_bodys_value() {
    let scope = group().try_scope(async |handle| {
        handle.queue(ready(Ok(1)));
        Ok("value")
    });
    assert_eq!(MockTask::new().finish(scope), Ok("value"));
}

#[test]
fn a_closure_that_returns_a_future_is_a_body_too_and_the_scope_is_send() {
    fn send<F: Future + Send>(future: F) -> F {
        future
    }
    let scope = send(group().with_limit(1).try_scope(|handle| async move {
        for n in 0..3 {
            handle.go(ready(Ok(n))).await.map_err(|_| "stopped")?;
            yield_now().await;
        }
        Ok(handle)
    }));
    let handle = MockTask::new().finish(scope).unwrap();
    assert_eq!(handle.stats().ok, 3);
}

#[test]
fn a_childs_error_is_the_result_if_the_body_succeeds() {
    let scope = group().try_scope(async |handle| {
        handle.queue(ready(Err("the child failed")));
        Ok(())
    });
    assert_eq!(MockTask::new().finish(scope), Err("the child failed"));

    // After the body as well.
    let gate = Gate::new();
    let door = gate.clone();
    let mut scope = pin!(group().try_scope(async move |handle| {
        handle.queue(async move {
            door.wait(0).await;
            Err("the child failed")
        });
        Ok(())
    }));
    let task = MockTask::new();
    assert!(task.run(&mut scope).is_pending());
    gate.open(0);
    assert_eq!(task.run(&mut scope), Poll::Ready(Err("the child failed")));
}

#[test]
fn the_bodys_error_stops_the_group_and_is_the_result() {
    let (gate, log) = (Gate::new(), Log::new());
    let keep = RefCell::new(None);
    let (door, child_log, slot) = (gate.clone(), log.clone(), &keep);
    let mut scope = pin!(group().with_limit(1).try_scope(async move |handle| {
        handle.queue(logged_child(0, &door, &child_log));
        handle.queue(logged_child(1, &door, &child_log));
        *slot.borrow_mut() = Some(handle);
        door.wait(9).await;
        Err::<(), _>("the body failed")
    }));
    let task = MockTask::new();
    assert!(task.run(&mut scope).is_pending());
    let handle = keep.borrow_mut().take().unwrap();
    assert!(!handle.is_stopped());
    gate.open(9);
    assert!(task.run(&mut scope).is_pending(), "a signal, not a kill");
    assert!(!scope.is_terminated());
    assert_eq!(handle.token().reason(), Some(Reason::Failed));
    assert_eq!(log.take(), ["+0", "-1"]);
    assert!(handle.try_go(ready(Ok(2))).is_err());
    gate.open(0);
    assert_eq!(task.run(&mut scope), Poll::Ready(Err("the body failed")));
    assert_eq!(log.take(), ["-0"]);
    assert!(scope.is_terminated());
    assert!(task.run(&mut scope).is_pending());
    let stats = handle.stats();
    assert_eq!((stats.ok, stats.failed, stats.dropped), (1, 0, 1), "the body is no child");
}

#[test]
fn the_bodys_error_outranks_those_that_it_causes() {
    let scope = group().try_scope(async |handle| {
        handle.queue(fails_when_told(handle.clone(), "interrupted"));
        handle.queue(fails_when_told(handle.clone(), "interrupted too"));
        yield_now().await;
        Err::<(), _>("the body failed")
    });
    assert_eq!(MockTask::new().finish(scope), Err("the body failed"));
}

#[test]
fn a_childs_error_before_the_bodys_is_the_result() {
    let scope = group().try_scope(async |handle| {
        handle.queue(ready(Err("the child failed")));
        handle.token().cancelled().await;
        Err::<(), _>("the body failed")
    });
    assert_eq!(MockTask::new().finish(scope), Err("the child failed"));
}

#[test]
fn a_body_that_fails_because_the_group_stopped_does_not_hide_the_reason() {
    let scope = group().with_limit(1).try_scope(async |handle| {
        for n in 0..10 {
            let child = ready(if n == 3 { Err("the child failed") } else { Ok(n) });
            handle.go(child).await.map_err(|_| "it has stopped")?;
        }
        Ok(())
    });
    assert_eq!(MockTask::new().finish(scope), Err("the child failed"));
}

#[test]
fn the_bodys_error_is_the_result_after_a_cancel_from_outside() {
    let keep = RefCell::new(None);
    let scope = group().try_scope(async |handle| {
        *keep.borrow_mut() = Some(handle.token().clone());
        handle.queue(fails_when_told(handle.clone(), "interrupted"));
        yield_now().await;
        Err::<(), _>(if handle.token().cancel() { "the body failed" } else { "not the first" })
    });
    assert_eq!(MockTask::new().finish(scope), Err("the body failed"));
    let token = keep.borrow_mut().take().unwrap();
    assert_eq!(token.reason(), Some(Reason::Cancelled), "the first reason stays");
}

#[test]
fn a_cancel_alone_is_no_error() {
    let scope = group().try_scope(async |handle| {
        handle.queue(async { Ok(1) });
        handle.token().cancel();
        Ok(7)
    });
    assert_eq!(MockTask::new().finish(scope), Ok(7));
}

#[test]
fn the_error_that_loses_is_dropped_once() {
    for child_first in [false, true] {
        let drops = DropCounter::default();
        let error = |text| drops.value(text);
        let scope = Values::new().try_scope(async |handle| {
            let (token, failed) = (handle.token().clone(), error("child"));
            let child = async move {
                if !child_first {
                    token.cancelled().await;
                }
                Err(failed)
            };
            handle.queue(child);
            if child_first {
                handle.token().cancelled().await;
            } else {
                yield_now().await;
            }
            Err::<(), _>(error("body"))
        });
        let result = MockTask::new().finish(scope);
        assert_eq!(drops.get(), 1);
        let Err(error) = result else { panic!("both failed") };
        assert_eq!(error.name, if child_first { "child" } else { "body" });
        drop(error);
        assert_eq!(drops.get(), 2);
    }
}

// === other policies ===

/// An error of another type than the children's.
#[derive(Debug, PartialEq)]
enum Verdicts {
    TooMany(usize),
    Body,
}

/// A policy that never stops, and fails if more than `most` children failed.
struct AtMost {
    most: usize,
    failed: usize,
    log: Log,
}

impl Policy<usize, &'static str> for AtMost {
    type Output = Result<(), Verdicts>;

    fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<usize, &'static str>) -> Verdict {
        self.failed += usize::from(result.is_err());
        self.log.add(format!("{result:?}"));
        Verdict::Continue
    }

    fn finish(&mut self, _: &Reason) -> Self::Output {
        self.log.add("finish");
        if self.failed > self.most { Err(Verdicts::TooMany(self.failed)) } else { Ok(()) }
    }
}

fn at_most(most: usize, log: &Log) -> Group<Kind, AtMost> {
    group().with_policy(AtMost { most, failed: 0, log: log.clone() })
}

#[test]
fn under_a_custom_policy_the_outputs_error_is_the_result_if_the_body_succeeds() {
    for (most, expected) in [(1, Err(Verdicts::TooMany(2))), (2, Ok(7))] {
        let log = Log::new();
        let scope = at_most(most, &log).try_scope(async |handle| {
            for n in 0..3 {
                handle.queue(ready(if n > 0 { Err("failed") } else { Ok(n) }));
            }
            Ok(7)
        });
        assert_eq!(MockTask::new().finish(scope), expected);
        let said = log.take();
        assert_eq!(said.len(), 4);
        assert_eq!(said[3], "finish");
    }
}

#[test]
fn under_a_policy_that_never_stops_the_bodys_error_stops_the_group() {
    let log = Log::new();
    let scope = at_most(9, &log).with_limit(1).try_scope(async |handle| {
        handle.queue(fails_when_told(handle.clone(), "interrupted"));
        handle.queue(ready(Ok(1)));
        yield_now().await;
        Err::<(), _>(Verdicts::Body)
    });
    assert_eq!(MockTask::new().finish(scope), Err(Verdicts::Body));
    assert_eq!(log.take(), ["Err(\"interrupted\")", "finish"], "the queue was dropped");
}

#[test]
fn a_childs_earlier_error_counts_only_if_the_output_is_an_error() {
    for (most, expected) in [(0, Verdicts::TooMany(1)), (1, Verdicts::Body)] {
        let (log, gate) = (Log::new(), Gate::new());
        let door = gate.clone();
        let mut scope = pin!(at_most(most, &log).try_scope(async move |handle| {
            handle.queue(ready(Err("failed")));
            door.wait(0).await;
            assert!(!handle.is_stopped());
            Err::<(), _>(Verdicts::Body)
        }));
        let task = MockTask::new();
        assert!(task.run(&mut scope).is_pending());
        gate.open(0);
        assert_eq!(task.run(&mut scope), Poll::Ready(Err(expected)));
    }
}

#[test]
fn children_that_fail_after_the_body_do_not_make_the_outputs_error_the_result() {
    let log = Log::new();
    let scope = at_most(0, &log).try_scope(async |handle| {
        handle.queue(fails_when_told(handle.clone(), "interrupted"));
        yield_now().await;
        Err::<(), _>(Verdicts::Body)
    });
    assert_eq!(MockTask::new().finish(scope), Err(Verdicts::Body));
}

#[test]
fn an_output_that_is_an_error_without_a_failure_does_not_outrank_the_bodys() {
    struct Never;
    impl Policy<usize, &'static str> for Never {
        type Output = Result<(), &'static str>;
        fn on_child(&mut self, _: &ChildInfo<'_>, _: Result<usize, &'static str>) -> Verdict {
            Verdict::Continue
        }
        fn finish(&mut self, _: &Reason) -> Self::Output {
            Err("never content")
        }
    }
    let scope = group().with_policy(Never).try_scope(async |_| Ok(()));
    assert_eq!(MockTask::new().finish(scope), Err("never content"));
    let scope = group().with_policy(Never).try_scope(async |handle| {
        handle.queue(ready(Ok(1)));
        yield_now().await;
        Err::<(), _>("the body failed")
    });
    assert_eq!(MockTask::new().finish(scope), Err("the body failed"));
}

#[test]
fn after_a_policy_stopped_at_an_ok_the_bodys_error_is_the_result() {
    struct FirstOk;
    impl Policy<usize, &'static str> for FirstOk {
        type Output = Result<(), &'static str>;
        fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<usize, &'static str>) -> Verdict {
            if result.is_ok() { Verdict::Stop(Reason::Done) } else { Verdict::Continue }
        }
        fn finish(&mut self, _: &Reason) -> Self::Output {
            Ok(())
        }
    }
    let scope = group().with_policy(FirstOk).try_scope(async |handle| {
        handle.queue(ready(Ok(1)));
        let reason = handle.token().cancelled().await;
        assert_eq!(reason, Reason::Done);
        Err::<(), _>("the body failed")
    });
    assert_eq!(MockTask::new().finish(scope), Err("the body failed"));
}

// === panics and drops ===

#[cfg(feature = "std")]
#[test]
fn a_panic_outranks_both_errors() {
    let scope = group().try_scope(async |handle| {
        handle.queue(ready(Err("the child failed")));
        let token = handle.token().clone();
        handle.queue(async move {
            token.cancelled().await;
            panic!("the clean-up is broken");
        });
        handle.token().cancelled().await;
        Err::<(), _>("the body failed")
    });
    let caught = catch_unwind(AssertUnwindSafe(|| MockTask::new().finish(scope)));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "the clean-up is broken");
}

#[cfg(feature = "std")]
#[test]
fn a_panic_of_the_body_resumes_after_the_children() {
    let drops = DropCounter::default();
    let guard = drops.guard();
    let scope = group().try_scope(async |handle| {
        let at = handle.clone();
        handle.queue(async move {
            let _guard = guard;
            fails_when_told(at, "interrupted").await
        });
        yield_now().await;
        if drops.get() == 0 {
            panic!("the body is broken");
        }
        Ok(())
    });
    let mut scope = pin!(scope);
    let caught = catch_unwind(AssertUnwindSafe(|| MockTask::new().run(&mut scope)));
    assert_eq!(*caught.unwrap_err().downcast_ref::<&str>().unwrap(), "the body is broken");
    assert_eq!(drops.get(), 1, "the child was polled to its end");
}

#[test]
fn a_dropped_try_scope_drops_body_and_children() {
    let drops = DropCounter::default();
    let (first, second) = (drops.guard(), drops.guard());
    let keep = RefCell::new(None);
    let task = MockTask::new();
    {
        let mut scope = pin!(group().try_scope(async |handle| {
            let _first = first;
            handle.queue(async move {
                let _second = second;
                std::future::pending().await
            });
            *keep.borrow_mut() = Some(handle);
            std::future::pending::<Result<(), &'static str>>().await
        }));
        assert!(task.run(&mut scope).is_pending());
        assert_eq!(drops.get(), 0);
    }
    assert_eq!(drops.get(), 2);
    let handle = keep.borrow_mut().take().unwrap();
    assert_eq!(handle.token().reason(), Some(Reason::Dropped));
}

#[test]
fn a_group_that_collects_gives_the_bodys_value_and_its_own() {
    let task = MockTask::new();
    let scope = group().with_limit(1).collect().try_scope(async |handle| {
        for n in 0..3 {
            handle.queue(ready(Ok(n)));
        }
        Ok("body")
    });
    assert_eq!(task.finish(scope), Ok(("body", vec![0, 1, 2])));
    let scope = group().collect().try_scope(async |handle| {
        handle.queue(ready(Err("a child")));
        Ok(())
    });
    assert_eq!(task.finish(scope), Err("a child"));
    let scope = group().collect().try_scope(async |handle| {
        handle.queue(fails_when_told(handle.clone(), "a child"));
        Err::<(), _>("the body")
    });
    assert_eq!(task.finish(scope), Err("the body"));
    let scope = group().collect().try_scope(async |handle| {
        handle.queue(ready(Err("a child")));
        handle.token().cancelled().await;
        Err::<(), _>("the body")
    });
    assert_eq!(task.finish(scope), Err("a child"));
    // Named.
    let scope = group().collect().named().try_scope(async |handle| {
        handle.queue(ready(Ok(1)));
        Ok(handle.stats().running)
    });
    assert_eq!(task.finish(scope), Ok((1, vec![1])));
}

#[test]
fn a_scope_is_terminated_once_it_has_given_its_value() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let wait = gate.wait(0);
    let mut scope = pin!(group().try_scope(async |handle| {
        handle.queue(ready(Ok(1)));
        wait.await;
        Ok("value")
    }));
    assert!(!scope.is_terminated());
    assert!(task.run(&mut scope).is_pending());
    assert!(!scope.is_terminated());
    gate.open(0);
    assert_eq!(task.run(&mut scope), Poll::Ready(Ok("value")));
    assert!(scope.is_terminated());
    assert!(task.run(&mut scope).is_pending());
}

#[cfg(feature = "std")]
#[test]
fn the_result_is_dropped_if_the_destructor_of_the_other_one_panics() {
    use crate::common::{Value, panic_message};

    // The body's value, or its error, beside a child's error; and which of them is a bomb.
    for (body_fails, child_first) in [(false, false), (true, false), (true, true)] {
        let (task, drops) = (MockTask::new(), DropCounter::default());
        let counted = || drops.value("result");
        let child_wins = !body_fails || child_first;
        let of_body = if child_wins { Value::bomb("second") } else { counted() };
        let of_child = if child_wins { counted() } else { Value::bomb("second") };
        let scope = crate::common::Values::new().try_scope(async move |handle| {
            let token = handle.token().clone();
            handle.queue(async move {
                if !child_wins {
                    token.cancelled().await;
                }
                Err(of_child)
            });
            if child_wins {
                handle.token().cancelled().await;
            }
            if body_fails { Err(of_body) } else { Ok(of_body) }
        });
        let message = panic_message(|| task.finish(scope));
        assert_eq!((message, drops.get()), ("second", 1), "{body_fails} {child_first}");
    }
}
