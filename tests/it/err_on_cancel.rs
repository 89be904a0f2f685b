//! `err_on_cancel`: the output of a group that was stopped from outside is an error.

use std::future::{pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::common::OrCancel as Error;
use crate::common::{DropCounter, Gate, MockTask, Value, Values, panic_message, yield_now};
use errgroup::{Boxed, CancelError, CancelToken, ChildInfo, Group, Policy, Reason, Verdict};

type Group1 = Group<Boxed<'static, usize, Error>>;

async fn number(number: usize) -> Result<usize, Error> {
    Ok(number)
}

async fn broken() -> Result<usize, Error> {
    Err(Error::Own("broken"))
}

/// Returns the reason in an output that has one.
#[track_caller]
fn reason<R: std::fmt::Debug>(output: Result<R, Error>) -> Reason {
    match output {
        Err(error) => error.into_reason(),
        Ok(value) => panic!("{value:?}"),
    }
}

#[test]
fn any_cancel_from_outside_becomes_an_error_with_its_reason() {
    let task = MockTask::new();
    let cause = Reason::cause("SIGTERM");
    for why in [Reason::Cancelled, Reason::Failed, Reason::Finished, Reason::Dropped, cause] {
        // From outside.
        let mut group = Group1::new().err_on_cancel();
        group.queue(number(1));
        group.token().cancel_with(why.clone());
        assert_eq!(reason(task.finish(group)), why);
        // By a parent.
        let parent = CancelToken::new();
        let mut group = Group1::new().with_parent(&parent).err_on_cancel();
        group.queue(number(1));
        parent.cancel_with(why.clone());
        assert_eq!(reason(task.finish(group)), why);
        // By a child, which counts as outside.
        let mut group = Group1::new().err_on_cancel();
        let (handle, by_child) = (group.handle(), why.clone());
        group.queue(async move {
            handle.token().cancel_with(by_child);
            Ok(1)
        });
        assert_eq!(reason(task.finish(group)), why);
        // Before there was a group.
        let group = Group1::new().with_parent(&parent).err_on_cancel();
        assert_eq!(reason(task.finish(group)), why);
    }
}

#[test]
fn the_deadline_counts_as_a_cancel_from_outside() {
    for with_token in [false, true] {
        let (gate, task) = (Gate::new(), MockTask::new());
        let mut group = Group1::new().with_deadline(gate.wait(0)).err_on_cancel();
        let _token = with_token.then(|| group.token().clone());
        let wait = gate.wait(1);
        group.queue(async move {
            wait.await;
            Ok(1)
        });
        assert!(task.run(&mut group).is_pending());
        gate.open(0);
        assert!(task.run(&mut group).is_pending());
        gate.open(1);
        let Poll::Ready(output) = task.run(&mut group) else { panic!("it waits") };
        assert_eq!(reason(output), Reason::Deadline);
    }
}

#[test]
fn a_group_that_is_not_cancelled_gives_its_policys_output() {
    let task = MockTask::new();
    let mut group = Group1::new().collect().err_on_cancel();
    group.queue(number(1));
    assert_eq!(task.finish(group), Ok(vec![1]));
    // With a token and a handle.
    let mut group = Group1::new().collect().err_on_cancel();
    let handle = group.handle();
    group.queue(number(1));
    assert_eq!(task.finish(group), Ok(vec![1]));
    assert_eq!(handle.token().reason(), Some(Reason::Finished));
    // A cancel after the end is too late.
    let mut group = Group1::new().err_on_cancel();
    let token = group.token().clone();
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    assert!(!token.cancel());
}

#[test]
fn without_err_on_cancel_a_cancel_is_no_error() {
    let mut group = Group1::new().collect();
    group.queue(number(1));
    group.token().cancel();
    assert_eq!(MockTask::new().finish(group), Ok(vec![1]));
}

#[test]
fn a_childs_error_comes_out_whether_before_or_after_the_cancel() {
    for before in [true, false] {
        let task = MockTask::new();
        let mut group = Group1::new().err_on_cancel();
        let token = group.token().clone();
        group.queue(async move {
            if !before {
                token.cancel();
                yield_now().await;
            }
            broken().await
        });
        let token = group.token().clone();
        group.queue(async move {
            yield_now().await;
            token.cancel();
            Ok(1)
        });
        assert_eq!(task.finish(group), Err(Error::Own("broken")));
    }
}

#[test]
fn a_stop_by_the_group_itself_is_no_cancel() {
    /// A policy that stops after one child.
    struct One;
    impl Policy<usize, Error> for One {
        type Output = Result<usize, Error>;
        fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<usize, Error>) -> Verdict {
            drop(result);
            Verdict::Stop(Reason::Cancelled)
        }
        fn finish(&mut self, _: &Reason) -> Self::Output {
            Ok(1)
        }
    }
    for with_token in [false, true] {
        let mut group = Group1::new().with_limit(1).with_policy(One).err_on_cancel();
        let _token = with_token.then(|| group.token().clone());
        group.queue(number(1));
        group.queue(number(2));
        assert_eq!(MockTask::new().finish(group), Ok(1));
    }
    // Nor if the token is cancelled after the group has stopped.
    let mut group = Group1::new().with_policy(One).err_on_cancel();
    let token = group.token().clone();
    group.queue(number(1));
    let listener = token.clone();
    group.queue(async move {
        listener.cancelled().await;
        listener.cancel_with(Reason::Deadline);
        Ok(2)
    });
    assert_eq!(MockTask::new().finish(group), Ok(1));
}

#[test]
fn the_error_of_a_policy_to_which_no_child_returned_one_is_replaced() {
    /// A policy that never stops and ends in an error.
    struct Never;
    impl Policy<usize, Error> for Never {
        type Output = Result<(), Error>;
        fn on_child(&mut self, _: &ChildInfo<'_>, _: Result<usize, Error>) -> Verdict {
            Verdict::Continue
        }
        fn finish(&mut self, _: &Reason) -> Self::Output {
            Err(Error::Own("too few"))
        }
    }
    let outcome = |cancel: bool, child| {
        let mut group = Group1::new().with_policy(Never).err_on_cancel();
        group.queue(child);
        let token = group.token().clone();
        if cancel {
            token.cancel();
        }
        MockTask::new().finish(group)
    };
    assert_eq!(reason(outcome(true, number(1))), Reason::Cancelled);
    let error = outcome(false, number(1));
    assert_eq!(error, Err(Error::Own("too few")), "it was not cancelled");
}

#[test]
fn a_race_that_was_cancelled_before_its_first_result_says_so() {
    for queued in [0, 2] {
        let mut group = Group1::new().first_ok().err_on_cancel();
        (0..queued).for_each(|n| group.queue(number(n)));
        group.token().cancel();
        let Err(errors) = MockTask::new().finish(group) else { panic!("it was cancelled") };
        let reasons: Vec<_> = errors.into_iter().map(Error::into_reason).collect();
        assert_eq!(reasons, [Reason::Cancelled]);
    }
    // With an error of a child, the errors are what they are.
    let mut group = Group1::new().first_ok().err_on_cancel();
    let token = group.token().clone();
    group.queue(async move {
        token.cancel();
        Err(Error::Own("broken"))
    });
    let Err(errors) = MockTask::new().finish(group) else { panic!("no child succeeded") };
    assert_eq!(errors.into_iter().collect::<Vec<_>>(), [Error::Own("broken")]);
}

#[test]
fn a_policy_that_forgives_a_failed_child_is_left_alone() {
    /// A policy that adds up the values.
    #[derive(Default)]
    struct Sum(usize);
    impl Policy<usize, Error> for Sum {
        type Output = Result<usize, Error>;
        fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<usize, Error>) -> Verdict {
            self.0 += result.unwrap_or(0);
            Verdict::Continue
        }
        fn finish(&mut self, _: &Reason) -> Self::Output {
            Ok(self.0)
        }
    }
    let sum = |failing: bool| {
        let mut group = Group1::new().with_policy(Sum::default()).err_on_cancel();
        group.queue(number(3));
        if failing {
            group.queue(broken());
        }
        group.token().cancel();
        MockTask::new().finish(group)
    };
    assert_eq!(sum(true), Ok(3));
    assert_eq!(reason(sum(false)), Reason::Cancelled);
}

/// A conversion that panics. No other test makes a value of a cancel.
impl From<CancelError> for Value {
    fn from(_: CancelError) -> Self {
        std::panic::panic_any("the conversion");
    }
}

#[test]
fn the_replaced_value_is_dropped_and_a_panic_of_the_conversion_comes_out() {
    let drops = DropCounter::default();
    let mut group = Values::new().collect().err_on_cancel();
    let handle = group.handle();
    let kept = drops.value("kept");
    group.queue(async move { Ok(kept) });
    group.token().cancel();
    let task = MockTask::new();
    assert_eq!(panic_message(|| task.run(&mut group)), "the conversion");
    assert_eq!(drops.get(), 1);
    assert!(handle.is_closed());
    assert!(task.poll(&mut group).is_pending());
}

#[test]
fn a_panic_outranks_the_cancel_error() {
    let mut group = Group1::new().err_on_cancel();
    group.queue(async { std::panic::panic_any("a child") });
    group.token().cancel();
    assert_eq!(panic_message(|| MockTask::new().finish(group)), "a child");
}

#[test]
fn a_cancelled_scope_gives_the_error_beside_the_bodys_value() {
    let scope = Group1::new().err_on_cancel().scope(async |handle| {
        handle.queue(number(1));
        handle.token().cancel();
        "the body"
    });
    let (body, output) = MockTask::new().finish(scope);
    assert_eq!(body, "the body");
    assert_eq!(reason(output), Reason::Cancelled);
}

#[test]
fn a_try_scope_gives_the_bodys_error_or_else_the_cancels() {
    let parent = CancelToken::new();
    let cancels = parent.clone();
    let scope = Group1::new().with_parent(&parent).err_on_cancel().try_scope(async |handle| {
        cancels.cancel_with(Reason::Deadline);
        assert!(handle.is_stopped());
        Ok("the body")
    });
    assert_eq!(reason(MockTask::new().finish(scope)), Reason::Deadline);

    // The body's own error is no cancel from outside ...
    let scope =
        Group1::new().err_on_cancel().try_scope(async |_| Err::<(), _>(Error::Own("the body")));
    assert_eq!(MockTask::new().finish(scope), Err(Error::Own("the body")));

    // ... and outranks one.
    let scope = Group1::new().err_on_cancel().try_scope(async |handle| {
        handle.token().cancel();
        Err::<(), _>(Error::Own("the body"))
    });
    assert_eq!(MockTask::new().finish(scope), Err(Error::Own("the body")));

    // A deadline stops a body that waits for the token.
    let (gate, task) = (Gate::new(), MockTask::new());
    let scope = Group1::new().with_deadline(gate.wait(0)).err_on_cancel().try_scope(
        async |handle| -> Result<(), Error> { Ok(handle.token().run(pending::<()>()).await?) },
    );
    let mut scope = pin!(scope);
    assert!(task.run(&mut scope.as_mut()).is_pending());
    gate.open(0);
    let Poll::Ready(output) = task.run(&mut scope.as_mut()) else { panic!("it waits") };
    assert_eq!(reason(output), Reason::Deadline);
}

#[test]
fn a_child_that_the_grace_cut_off_makes_the_cancel_an_error() {
    let (gate, task) = (Gate::new(), MockTask::new());
    let mut group = Group1::new()
        .with_grace(|| ready(()))
        .with_deadline(gate.wait(0))
        .collect()
        .err_on_cancel();
    group.queue(number(1));
    group.queue(pending());
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    let Poll::Ready(output) = task.run(&mut group) else { panic!("it waits") };
    assert_eq!(reason(output), Reason::Deadline);
}

#[test]
#[should_panic(expected = "call `err_on_cancel` after the policy's builders")]
fn a_policy_that_is_set_later_is_refused() {
    drop(Group1::new().err_on_cancel().collect());
}

#[test]
fn err_on_cancel_works_with_boxed_errors_and_gives_the_reason() {
    type AnyError = Box<dyn std::error::Error + Send + Sync>;
    let mut group = Group::new().err_on_cancel();
    group.queue(async { Ok::<usize, AnyError>(1) });
    let full = Arc::new(std::io::Error::other("disk full"));
    group.token().cancel_with(Reason::Cause(full));
    let error = MockTask::new().finish(group).unwrap_err();
    assert_eq!(error.to_string(), "disk full");
    assert!(error.downcast_ref::<CancelError>().is_some());
}

#[cfg(feature = "std")]
#[test]
fn no_error_is_lost_if_the_destructor_of_the_output_panics() {
    struct Counted(#[expect(dead_code)] crate::common::CountOnDrop);

    thread_local! {
        static DROPS: DropCounter = DropCounter::default();
        static MADE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    impl From<CancelError> for Counted {
        fn from(_: CancelError) -> Self {
            MADE.set(MADE.get() + 1);
            Self(DROPS.with(DropCounter::guard))
        }
    }

    let task = MockTask::new();
    let mut group = Group::<Boxed<'static, Value, Counted>>::new().collect().err_on_cancel();
    let token = group.token().clone();
    group.queue(async move {
        token.cancel();
        Ok(Value::bomb("value"))
    });
    assert_eq!(panic_message(|| task.finish(group)), "value");
    assert_eq!(DROPS.with(DropCounter::get), MADE.get());
}
