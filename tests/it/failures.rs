//! Errors that say which child has failed, and which errors stop a group, for which reason.

use std::error::Error;
use std::fmt;
use std::future::ready;
use std::io;
use std::task::Poll;

use crate::common::{Gate, Job, Log, MockTask, OrCancel, fails, job, panic_message, waits};
use errgroup::{
    AllErrors, Boxed, Child, ChildInfo, Children, Collect, Errors, Failure, FirstErr, Group, Named,
    Policy, Reason, Verdict, WithReason, task,
};

type Jobs = Group<Boxed<'static, usize, &'static str>>;
type Cancels = Group<Boxed<'static, usize, OrCancel>>;

/// Adds a child that succeeds, and two that fail, of which one has a name.
fn fill<C, P, O>(mut group: Group<C, P, O>) -> Group<C, P, O>
where
    C: Children,
    Job: Child<C>,
{
    let gate = Gate::new();
    for n in 0..3 {
        gate.open(n);
    }
    group.queue(waits(&gate, 0));
    group.queue(task(fails(&gate, 1, "broken")).name("one"));
    group.queue(fails(&gate, 2, "torn"));
    group
}

#[test]
fn each_built_in_policy_can_say_which_child_has_failed() {
    fn scenario<C>(make: impl Fn() -> Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let task = MockTask::new();
        let one = "child 1 (one): broken";
        let text = |failure: Failure<&'static str>| failure.to_string();
        let first: Result<(), String> = task.finish(fill(make().named())).map_err(text);
        assert_eq!(first, Err(one.into()));
        let collected = task.finish(fill(make().collect().named()));
        assert_eq!(collected.map_err(text), Err(one.into()));
        let all: Errors<Failure<_>> = task.finish(fill(make().all_errors().named())).unwrap_err();
        assert_eq!(all.to_string(), "2 errors: child 1 (one): broken; child 2: torn");
        let settled = task.finish(fill(make().settle().named()));
        let settled: Vec<_> = settled.into_iter().map(|result| result.map_err(text)).collect();
        assert_eq!(settled, [Ok(0), Err(one.into()), Err("child 2: torn".into())]);
        assert_eq!(task.finish(fill(make().first_ok().named())).unwrap(), 0);
        let mut group = make().first_done().named();
        group.queue(errgroup::task(fails(&opened(), 0, "broken")).name("zero"));
        let done = task.finish(group).unwrap().map_err(text);
        assert_eq!(done, Err("child 0 (zero): broken".into()));
    }
    fn opened() -> Gate {
        let gate = Gate::new();
        gate.open(0);
        gate
    }
    scenario(Group::new);
    scenario(Group::local);
    scenario(Group::unboxed);
}

#[cfg(feature = "std")]
#[test]
fn children_of_an_executor_have_names_too_and_a_daemons_value_goes_nowhere() {
    let group = || Group::on(|child| smol::spawn(child).detach());
    let mut failing = group().with_limit(1).named();
    failing.queue(task(async { Ok(0_usize) }).name("zero"));
    failing.queue(task(async { Err("broken") }).name("one"));
    let failure = smol::block_on(failing).unwrap_err();
    assert_eq!(failure.to_string(), "child 1 (one): broken");

    let mut collecting = group().collect();
    let token = collecting.token().clone();
    let daemon = async move {
        token.cancelled().await;
        Ok::<usize, &str>(0)
    };
    collecting.queue(task(daemon).daemon());
    collecting.queue(async { Ok(1) });
    assert_eq!(smol::block_on(collecting), Ok(vec![1]));
}

#[test]
fn a_failure_has_its_parts_and_is_equal_if_they_are() {
    let failure = || MockTask::new().finish(fill(Jobs::new().named())).unwrap_err();
    assert_eq!((failure().index(), failure().name()), (1, Some("one")));
    assert_eq!((failure().error(), failure().key()), (&"broken", None));
    assert_eq!(failure().into_inner(), "broken");
    assert_eq!(failure(), failure().clone());
    let mut group = Jobs::new().named();
    group.queue(ready(Ok(0)));
    group.queue(ready(Err("broken")));
    assert_ne!(MockTask::new().finish(group), Err(failure()), "it has another name");
    let debug = r#"Failure { index: 1, name: Some("one"), key: None, error: "broken" }"#;
    assert_eq!(format!("{:?}", failure()), debug);
}

#[test]
fn a_cancel_of_a_named_group_is_a_failure_of_no_child() {
    let cancelled = || {
        let group = Cancels::new().named().err_on_cancel();
        group.token().cancel();
        MockTask::new().finish(group).unwrap_err()
    };
    assert_eq!((cancelled().to_string().as_str(), cancelled().index()), ("cancelled", usize::MAX));
    assert_eq!(cancelled().name(), None);
    assert_eq!(cancelled().into_inner().into_reason(), Reason::Cancelled);
    let mut group = Cancels::new().all_errors().named().err_on_cancel();
    group.queue(ready(Ok(1)));
    group.token().cancel();
    let errors = MockTask::new().finish(group).unwrap_err();
    assert_eq!(errors.to_string(), "1 error: cancelled");
}

/// An error with a source, which it does not show itself.
#[derive(Debug)]
struct Unread(io::Error);

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file is unread")
    }
}

impl Error for Unread {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn a_failure_is_an_error_that_shows_nothing_twice() {
    let mut group = Group::new().named();
    let unread = || Unread(io::Error::other("the disk is gone"));
    group.queue(task(async move { Err::<(), _>(unread()) }).name("a.txt"));
    let error = anyhow::Error::from(MockTask::new().finish(group).unwrap_err());
    assert_eq!(format!("{error:#}"), "child 0 (a.txt): the file is unread: the disk is gone");

    // Of an error that is no `Error`, in `Errors`, which are one.
    let mut policy = Named(AllErrors::new());
    let torn = Err::<(), _>(anyhow::anyhow!("torn").context("broken"));
    let _ = policy.on_child(&ChildInfo::new(0), torn);
    let output = Policy::<(), anyhow::Error>::finish(&mut policy, &Reason::Finished);
    let error = anyhow::Error::from(output.unwrap_err());
    assert_eq!(format!("{error:#}"), "1 error: child 0: broken");
}

#[test]
fn a_policy_of_ones_own_has_failures_if_it_is_wrapped() {
    struct Log1(Log);
    impl<T> Policy<T, Failure<&'static str>> for Log1 {
        type Output = Reason;
        fn on_child(
            &mut self,
            child: &ChildInfo<'_>,
            result: Result<T, Failure<&'static str>>,
        ) -> Verdict {
            match result {
                Ok(_) => self.0.add(format!("{} is done", child.index())),
                Err(failure) => self.0.add(failure.to_string()),
            }
            Verdict::Continue
        }
        fn finish(&mut self, why: &Reason) -> Reason {
            why.clone()
        }
    }
    let log = Log::new();
    let group = fill(Jobs::new().with_policy(Named(Log1(log.clone()))));
    assert_eq!(MockTask::new().finish(group), Reason::Finished);
    assert_eq!(log.take(), ["0 is done", "child 1 (one): broken", "child 2: torn"]);
}

#[test]
fn all_errors_that_fail_fast_keep_those_that_come_until_the_end() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = group.with_limit(2).all_errors().fail_fast();
        group.queue(fails(&gate, 0, "first"));
        group.queue(fails(&gate, 1, "while draining"));
        group.queue(fails(&gate, 2, "never started"));
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(group.token().reason(), Some(Reason::Failed));
        assert_eq!(group.stats().dropped, 1);
        gate.open(1);
        let Poll::Ready(Err(errors)) = task.poll(&mut group) else { panic!("it has not failed") };
        assert_eq!(errors.into_vec(), ["first", "while draining"]);
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn all_errors_that_tolerate_some_stop_at_the_next() {
    for (tolerated, expected) in [(0, 1), (2, 3), (9, 9)] {
        let mut group = Jobs::new().with_limit(1).all_errors().tolerate(tolerated);
        for n in 0..18 {
            group.queue(ready(if n % 2 == 0 { Err("broken") } else { Ok(n) }));
        }
        let token = group.token().clone();
        let handle = group.handle();
        assert_eq!(MockTask::new().finish(group).unwrap_err().len(), expected);
        let stopped = expected <= 3;
        assert_eq!(token.reason(), Some(if stopped { Reason::Failed } else { Reason::Finished }));
        assert_eq!(handle.stats().ok, if stopped { expected - 1 } else { 9 });
    }
    // Without an error all is well.
    assert_eq!(MockTask::new().finish(Jobs::new().all_errors().tolerate(3)), Ok(()));
    // By the policy's own methods, and with names.
    let group = fill(Jobs::new().with_policy(AllErrors::new().fail_fast()));
    assert_eq!(MockTask::new().finish(group).unwrap_err().len(), 2, "both have begun");
    let mut group = Jobs::new().with_limit(1).all_errors().tolerate(1).named();
    group.extend((0..5).map(|_| ready(Err("broken"))));
    assert_eq!(MockTask::new().finish(group).unwrap_err().len(), 2);
}

#[test]
fn the_reason_of_the_stop_can_carry_the_error() {
    fn scenario<C>(make: impl Fn() -> Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let cause = |error: &&'static str| Reason::cause(*error);
        fn why<C, P, O>(group: Group<C, P, O>) -> String
        where
            C: Children,
            Job: Child<C>,
        {
            let group = fill(group);
            let token = group.token().clone();
            let _ = MockTask::new().finish(group);
            token.reason().unwrap().to_string()
        }
        assert_eq!(why(make().with_reason(cause)), "broken");
        assert_eq!(why(make().collect().with_reason(cause)), "broken");
        assert_eq!(why(make().with_reason(cause).named()), "broken");
        assert_eq!(why(make().collect().named().with_reason(cause)), "broken");
        // A group that no child stops has the usual reason.
        let group = make().with_reason(cause);
        let token = group.token().clone();
        assert_eq!(MockTask::new().finish(group), Ok(()));
        assert_eq!(token.reason(), Some(Reason::Finished));
    }
    scenario(Group::new);
    scenario(Group::local);
    scenario(Group::unboxed);
}

#[test]
fn the_reason_is_made_from_the_error_that_stops_the_group() {
    let policy =
        WithReason::new(AllErrors::new().tolerate(1), |error: &&str| Reason::cause(*error));
    let mut group = Jobs::new().with_policy(policy);
    let (task, token) = (MockTask::new(), group.token().clone());
    for error in ["first", "second", "third"] {
        group.queue(job(ready(Err(error))));
    }
    assert!(task.poll(&mut group).is_ready());
    assert_eq!(token.reason().unwrap().to_string(), "second");
}

#[test]
fn the_reason_is_asked_for_once_and_may_borrow() {
    let (log, gate) = (Log::new(), Gate::new());
    let note = |error: &&'static str| {
        log.add(*error);
        Reason::Done
    };
    let mut group = Group::new().with_reason(note);
    let task = MockTask::new();
    for (n, error) in ["first", "second"].into_iter().enumerate() {
        group.queue(fails(&gate, n, error));
    }
    assert!(task.poll(&mut group).is_pending());
    gate.open(1);
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(group.token().reason(), Some(Reason::Done));
    gate.open(0);
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("second")));
    assert_eq!(log.take(), ["second"]);
}

#[cfg(feature = "std")]
#[test]
fn a_panic_of_the_reason_is_as_a_childs() {
    let group = fill(Jobs::new().with_reason(|_| std::panic::panic_any("oh no")));
    let token = group.token().clone();
    assert_eq!(panic_message(|| MockTask::new().finish(group)), "oh no");
    assert_eq!(token.reason(), Some(Reason::Panicked));
}

#[test]
fn builders_that_would_undo_one_another_say_the_order() {
    let twice: [fn(); 6] = [
        || drop(Jobs::new().collect().settle()),
        || drop(Jobs::new().with_policy(FirstErr::new()).first_ok()),
        || drop(Jobs::new().all_errors().with_policy(Collect::new())),
        || drop(Jobs::new().named().collect()),
        || drop(Jobs::new().with_reason(|_| Reason::Done).all_errors()),
        || drop(Jobs::new().first_done().first_done()),
    ];
    for build in twice {
        let message = panic_message(build);
        assert!(message.contains("one policy: set it once"), "{message}");
    }
    let too_late: [fn(); 4] = [
        || drop(Cancels::new().err_on_cancel().collect()),
        || drop(Cancels::new().err_on_cancel().with_policy(AllErrors::new())),
        || drop(Cancels::new().err_on_cancel().named()),
        || drop(Cancels::new().collect().err_on_cancel().with_reason(|_| Reason::Done)),
    ];
    for build in too_late {
        let message = panic_message(build);
        assert!(message.contains("call `err_on_cancel` after the policy's builder"), "{message}");
    }
    let bounds: [fn(); 3] = [
        || drop(Jobs::new().all_errors().tolerate(3).fail_fast()),
        || drop(Jobs::new().all_errors().fail_fast().tolerate(3)),
        || drop(AllErrors::<()>::new().tolerate(1).tolerate(2)),
    ];
    for build in bounds {
        let message = panic_message(build);
        assert!(message.contains("either `fail_fast` or `tolerate`"), "{message}");
    }
    // What undoes nothing is allowed.
    drop(Cancels::new().collect().named());
    drop(Cancels::new().collect().err_on_cancel().with_limit(3));
    let policy = WithReason::new(FirstErr::new(), |_: &&str| Reason::Done);
    drop(Jobs::new().with_policy(policy));
}
