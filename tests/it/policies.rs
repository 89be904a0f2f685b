//! The policies that come with the crate, and `Errors`.

use std::error::Error;
use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::task::Poll;

use crate::common::{
    DropCounter, Gate, Job, MockTask, Probe, Value, Values, fails, job, panic_message, waits,
};
use errgroup::{
    AllErrors, Boxed, CancelError, CancelToken, Child, ChildInfo, Children, Collect, Errors,
    FirstDone, FirstOk, Group, Policy, Reason, Settle, Verdict,
};

type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// Makes a scenario for groups of each kind.
macro_rules! each_kind {
    ($scenario:ident) => {
        $scenario(Group::new());
        $scenario(Group::local());
        $scenario(Group::unboxed());
    };
}

// === Collect ===

#[test]
fn collect_gives_the_values_in_the_order_of_admission() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = group.with_limit(3).collect();
        let token = group.token().clone();
        for n in 0..6 {
            group.queue(waits(&gate, n));
        }
        for n in [2, 3, 1, 5, 4] {
            assert!(task.run(&mut group).is_pending());
            gate.open(n);
        }
        assert!(task.run(&mut group).is_pending());
        gate.open(0);
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![0, 1, 2, 3, 4, 5])));
        assert_eq!(token.reason(), Some(Reason::Finished));
    }
    each_kind!(scenario);
}

#[test]
fn collect_works_for_none_one_and_many_children() {
    let task = MockTask::new();
    assert_eq!(task.finish(Jobs::new().collect()), Ok(vec![]));
    let mut one = Jobs::new().collect();
    one.queue(ready(Ok(7)));
    assert_eq!(task.finish(one), Ok(vec![7]));
    // The last one added finishes first.
    let gate = Gate::new();
    let mut crowd = Jobs::new().collect();
    for n in 0..500 {
        crowd.queue(waits(&gate, n));
    }
    for n in (0..500).rev() {
        assert!(task.run(&mut crowd).is_pending());
        gate.open(n);
    }
    assert_eq!(task.run(&mut crowd), Poll::Ready(Ok((0..500).collect())));
}

#[test]
fn collect_stops_at_the_first_err_and_drains_the_siblings() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, queued) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(4).collect();
        let token = group.token().clone();
        group.queue(waits(&gate, 0));
        group.queue(fails(&gate, 1, "first"));
        group.queue(fails(&gate, 2, "second"));
        group.queue(waits(&gate, 3));
        group.queue(queued.watch(ready(Ok(4))));
        gate.open(1);
        assert!(task.run(&mut group).is_pending());
        assert_eq!(token.reason(), Some(Reason::Failed));
        assert_eq!((queued.polls(), queued.drops()), (0, 1));
        for n in [3, 2] {
            gate.open(n);
            assert!(task.run(&mut group).is_pending());
        }
        gate.open(0);
        assert_eq!(task.run(&mut group), Poll::Ready(Err("first")));
    }
    each_kind!(scenario);
}

#[test]
fn collect_drops_its_values_at_the_err_and_later_ones_as_they_come() {
    let (task, gate, drops) = (MockTask::new(), Gate::new(), DropCounter::default());
    let child = |n: usize| {
        let (wait, value) = (gate.wait(n), drops.value("kept"));
        async move {
            wait.await;
            Ok(value)
        }
    };
    let mut group = Values::new().collect();
    for n in 0..5 {
        group.queue(child(n));
    }
    let wait = gate.wait(5);
    group.queue(async move {
        wait.await;
        Err(Value::new("broken", || ()))
    });
    gate.open(3);
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(drops.get(), 0, "the values are kept");
    gate.open(5);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(drops.get(), 2, "the values are no longer needed");
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    assert_eq!(drops.get(), 3);
    gate.open(2);
    gate.open(4);
    let Poll::Ready(Err(error)) = task.run(&mut group) else { panic!("it has failed") };
    assert_eq!(error.name, "broken");
    assert_eq!(drops.get(), 5);
    drop(group);
    assert_eq!(drops.get(), 5);
}

#[test]
fn collect_after_a_cancel_gives_the_values_of_finished_children() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(2).collect();
    for n in 0..4 {
        group.queue(waits(&gate, n));
    }
    assert!(task.run(&mut group).is_pending());
    group.token().cancel();
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(vec![0, 1])));
    assert_eq!(group.token().reason(), Some(Reason::Cancelled));
}

#[test]
fn a_destructor_that_panics_among_the_dropped_values_stops_the_group_once() {
    let (task, drops) = (MockTask::new(), DropCounter::default());
    let mut group = Values::new().collect();
    for panics in [false, true, false] {
        let guard = drops.guard();
        group.queue(ready(Ok(Value::new("kept", move || {
            let _ = &guard;
            if panics {
                std::panic::panic_any("in a destructor");
            }
        }))));
    }
    group.queue(ready(Err(Value::new("broken", || ()))));
    assert_eq!(panic_message(|| task.run(&mut group).is_ready()), "in a destructor");
    assert_eq!(group.token().reason(), Some(Reason::Panicked));
    drop(group);
    assert_eq!(drops.get(), 3);
}

// === AllErrors ===

#[test]
fn all_errors_runs_all_children_and_gives_the_errors_as_they_came() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, last) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(3).all_errors();
        let token = group.token().clone();
        group.queue(fails(&gate, 0, "zero"));
        group.queue(waits(&gate, 1));
        group.queue(fails(&gate, 2, "two"));
        group.queue(last.watch(fails(&gate, 3, "three")));
        for n in [2, 3, 1] {
            gate.open(n);
            assert!(task.run(&mut group).is_pending());
            assert!(!token.is_cancelled());
        }
        assert_eq!(last.drops(), 1, "it was admitted after an error");
        gate.open(0);
        let Poll::Ready(Err(errors)) = task.run(&mut group) else { panic!("it has failed") };
        assert_eq!(errors.into_vec(), ["two", "three", "zero"]);
        assert_eq!(token.reason(), Some(Reason::Finished));
    }
    each_kind!(scenario);
}

#[test]
fn all_errors_is_ok_if_no_child_failed() {
    let task = MockTask::new();
    assert_eq!(task.finish(Jobs::new().all_errors()), Ok(()));
    let mut group = Jobs::new().all_errors();
    group.queue(ready(Ok(1)));
    group.queue(ready(Ok(2)));
    assert_eq!(task.finish(group), Ok(()));
    let mut group = Jobs::new().all_errors();
    group.queue(ready(Err("alone")));
    assert_eq!(task.finish(group).unwrap_err().into_vec(), ["alone"]);
    let group = Jobs::new().all_errors();
    group.token().cancel();
    assert_eq!(task.finish(group), Ok(()));
}

// === Settle ===

#[test]
fn settle_gives_every_result_in_the_order_of_admission() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = group.with_limit(2).settle();
        let token = group.token().clone();
        group.queue(waits(&gate, 0));
        group.queue(fails(&gate, 1, "one"));
        group.queue(waits(&gate, 2));
        group.queue(fails(&gate, 3, "three"));
        for n in [1, 2, 3] {
            gate.open(n);
            assert!(task.run(&mut group).is_pending());
            assert!(!token.is_cancelled());
        }
        gate.open(0);
        let expected = vec![Ok(0), Err("one"), Ok(2), Err("three")];
        assert_eq!(task.run(&mut group), Poll::Ready(expected));
        assert_eq!(token.reason(), Some(Reason::Finished));
    }
    each_kind!(scenario);
}

#[test]
fn settle_gives_no_result_one_result_and_the_results_after_a_cancel() {
    let (task, gate) = (MockTask::new(), Gate::new());
    assert_eq!(task.finish(Jobs::new().settle()), []);
    let mut one = Jobs::new().settle();
    one.queue(ready(Err("alone")));
    assert_eq!(task.finish(one), [Err("alone")]);
    let mut group = Jobs::new().with_limit(2).settle();
    group.queue(waits(&gate, 0));
    group.queue(fails(&gate, 1, "one"));
    group.queue(waits(&gate, 2));
    assert!(task.run(&mut group).is_pending());
    group.token().cancel();
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(vec![Ok(0), Err("one")]));
}

// === FirstOk ===

#[test]
fn first_ok_stops_at_the_first_ok_and_drains_the_siblings() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, queued) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(4).first_ok();
        let token = group.token().clone();
        group.queue(fails(&gate, 0, "zero"));
        group.queue(waits(&gate, 1));
        group.queue(waits(&gate, 2));
        group.queue(fails(&gate, 3, "three"));
        group.queue(queued.watch(waits(&gate, 4)));
        gate.open(0);
        assert!(task.run(&mut group).is_pending());
        assert!(!token.is_cancelled());
        gate.open(2);
        assert!(task.run(&mut group).is_pending());
        assert_eq!(token.reason(), Some(Reason::Done));
        assert_eq!(queued.drops(), 0, "an error makes room");
        gate.open(1);
        gate.open(3);
        assert!(task.run(&mut group).is_pending());
        gate.open(4);
        assert_eq!(task.run(&mut group), Poll::Ready(Ok(2)));
        assert_eq!((token.reason(), queued.drops()), (Some(Reason::Done), 1));
    }
    each_kind!(scenario);
}

#[test]
fn first_ok_gives_all_errors_if_no_child_succeeds() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().with_limit(2).first_ok();
    for (n, error) in ["zero", "one", "two"].into_iter().enumerate() {
        group.queue(fails(&gate, n, error));
    }
    for n in [1, 2] {
        gate.open(n);
        assert!(task.run(&mut group).is_pending());
    }
    gate.open(0);
    let Poll::Ready(Err(errors)) = task.run(&mut group) else { panic!("no child succeeded") };
    assert_eq!(errors.into_vec(), ["one", "two", "zero"]);
    assert_eq!(group.token().reason(), Some(Reason::Finished));

    // An empty group has no errors.
    assert!(task.finish(Jobs::new().first_ok()).unwrap_err().is_empty());
    let mut one = Jobs::new().first_ok();
    one.queue(ready(Ok(7)));
    assert_eq!(task.finish(one), Ok(7));
}

#[test]
fn first_ok_counts_a_success_after_a_cancel() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().first_ok();
    group.queue(waits(&gate, 0));
    group.queue(fails(&gate, 1, "one"));
    assert!(task.run(&mut group).is_pending());
    group.token().cancel();
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(0)));
    assert_eq!(group.token().reason(), Some(Reason::Cancelled));
}

#[test]
fn first_ok_drops_the_errors_at_the_ok_and_later_results_as_they_come() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let (errors, values) = (DropCounter::default(), DropCounter::default());
    let mut group = Values::new().first_ok();
    for n in 0..4 {
        let (wait, error, value) = (gate.wait(n), errors.value("error"), values.value("value"));
        group.queue(async move {
            wait.await;
            if n % 2 == 0 { Err(error) } else { Ok(value) }
        });
    }
    gate.open(0);
    assert!(task.run(&mut group).is_pending());
    // The result that was not returned is dropped with its child.
    assert_eq!((errors.get(), values.get()), (0, 1));
    gate.open(1);
    assert!(task.run(&mut group).is_pending());
    assert_eq!((errors.get(), values.get()), (2, 1));
    gate.open(2);
    assert!(task.run(&mut group).is_pending());
    assert_eq!((errors.get(), values.get()), (3, 2));
    gate.open(3);
    let Poll::Ready(Ok(first)) = task.run(&mut group) else { panic!("one succeeded") };
    assert_eq!((errors.get(), values.get()), (4, 3));
    drop(first);
    drop(group);
    assert_eq!((errors.get(), values.get()), (4, 4));
}

// === FirstDone ===

#[test]
fn first_done_stops_at_the_first_child_that_finishes_and_drains_the_siblings() {
    fn scenario<C>(group: Group<C>, first: usize)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, queued) = (MockTask::new(), Gate::new(), Probe::new());
        let mut group = group.with_limit(4).first_done();
        let token = group.token().clone();
        group.queue(waits(&gate, 0));
        group.queue(fails(&gate, 1, "one"));
        group.queue(waits(&gate, 2));
        group.queue(fails(&gate, 3, "three"));
        group.queue(queued.watch(ready(Ok(4))));
        let (result, reason) =
            if first == 1 { (Err("one"), Reason::Failed) } else { (Ok(2), Reason::Done) };
        gate.open(first);
        assert!(task.run(&mut group).is_pending());
        assert_eq!(token.reason(), Some(reason.clone()));
        assert_eq!((queued.polls(), queued.drops()), (0, 1));
        gate.open(0);
        gate.open(3);
        assert!(task.run(&mut group).is_pending());
        gate.open(1);
        gate.open(2);
        assert_eq!(task.run(&mut group), Poll::Ready(Some(result)));
        assert_eq!(token.reason(), Some(reason));
    }
    for first in [1, 2] {
        scenario(Group::new(), first);
        scenario(Group::local(), first);
        scenario(Group::unboxed(), first);
    }
}

#[test]
fn first_done_gives_none_if_no_child_finished() {
    let (task, probe) = (MockTask::new(), Probe::new());
    assert_eq!(task.finish(Jobs::new().first_done()), None);
    let mut group = Jobs::new().with_limit(1).first_done();
    group.set_limit(Some(0));
    group.queue(probe.watch(ready(Ok(1))));
    group.token().cancel();
    assert_eq!(task.finish(group), None);
    assert_eq!((probe.polls(), probe.drops()), (0, 1));
    let mut one = Jobs::new().first_done();
    one.queue(ready(Ok(7)));
    assert_eq!(task.finish(one), Some(Ok(7)));
}

#[test]
fn first_done_counts_a_child_that_finishes_after_a_cancel() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Jobs::new().first_done();
    group.queue(fails(&gate, 0, "late"));
    assert!(task.run(&mut group).is_pending());
    group.token().cancel();
    gate.open(0);
    assert_eq!(task.run(&mut group), Poll::Ready(Some(Err("late"))));
    assert_eq!(group.token().reason(), Some(Reason::Cancelled));
}

// === all of them ===

#[test]
fn results_are_dropped_exactly_once_with_the_output_or_with_the_group() {
    fn scenario<P, O>(make: impl Fn(Values) -> Group<Boxed<'static, Value, Value>, P, O>) {
        let (task, gate, drops) = (MockTask::new(), Gate::new(), DropCounter::default());
        let add = |group: &mut Group<_, P, O>| {
            for n in 0..6 {
                let (wait, value) = (gate.wait(n), drops.value("result"));
                group.queue(async move {
                    wait.await;
                    if n % 2 == 0 { Ok(value) } else { Err(value) }
                });
            }
        };
        let mut group = make(Group::new());
        add(&mut group);
        for n in 0..3 {
            gate.open(n);
        }
        assert!(task.run(&mut group).is_pending());
        drop(group);
        assert_eq!(drops.get(), 6, "dropped midway");
        for n in 3..6 {
            gate.open(n);
        }
        let mut group = make(Group::new());
        add(&mut group);
        let Poll::Ready(output) = task.run(&mut group) else { panic!("all gates are open") };
        drop(group);
        drop(output);
        assert_eq!(drops.get(), 12, "at the end of the group");
    }
    scenario(|group| group.collect());
    scenario(|group| group.all_errors());
    scenario(|group| group.settle());
    scenario(|group| group.first_ok());
    scenario(|group| group.first_done());
}

#[test]
fn children_and_their_errors_may_borrow() {
    let task = MockTask::new();
    let texts = [String::from("1"), String::from("two"), String::from("")];
    // Of the type of other tests' children, but for their lifetimes.
    type Parse<'a> = Pin<Box<dyn Future<Output = Result<usize, &'a str>> + Send + 'a>>;
    fn parse(text: &str) -> Parse<'_> {
        Box::pin(async move { text.parse().map_err(|_| text) })
    }
    let fill = |n: usize| texts[..n].iter().map(|text| parse(text.as_str()));
    fn add<C: Children, P, O, A: Child<C>>(
        mut group: Group<C, P, O>,
        children: impl Iterator<Item = A>,
    ) -> Group<C, P, O> {
        children.for_each(|child| group.queue(child));
        group
    }
    assert_eq!(task.finish(add(Group::new().collect(), fill(1))), Ok(vec![1]));
    assert_eq!(task.finish(add(Group::unboxed().collect(), fill(3))), Err("two"));
    let errors = task.finish(add(Group::local().all_errors(), fill(3))).unwrap_err();
    assert_eq!(errors.into_vec(), ["two", ""]);
    assert_eq!(task.finish(add(Group::new().settle(), fill(2))), [Ok(1), Err("two")]);
    assert_eq!(task.finish(add(Group::unboxed().first_ok(), fill(3))), Ok(1));
    assert_eq!(task.finish(add(Group::new().first_done(), fill(3))), Some(Ok(1)));
}

#[test]
fn each_policy_may_be_named_and_keeps_what_the_other_builders_set() {
    type Kind = Boxed<'static, usize, &'static str>;
    struct Named {
        collect: Group<Kind, Collect<usize, &'static str>>,
        all: Group<Kind, AllErrors<&'static str>>,
        settle: Group<Kind, Settle<usize, &'static str>>,
        ok: Group<Kind, FirstOk<usize, &'static str>>,
        done: Group<Kind, FirstDone<usize, &'static str>>,
    }
    let named = Named {
        collect: Group::new().with_limit(1).collect(),
        all: Group::new().with_limit(2).all_errors(),
        settle: Group::new().with_limit(3).settle(),
        ok: Group::new().with_limit(4).first_ok(),
        done: Group::new().first_done().with_limit(5),
    };
    let Named { collect, all, settle, ok, done } = &named;
    let limits = [collect.limit(), all.limit(), settle.limit(), ok.limit(), done.limit()];
    assert_eq!(limits, [1, 2, 3, 4, 5].map(Some));
    assert!(!named.ok.is_stopped());
}

#[test]
fn a_scopes_body_works_with_each_policy() {
    let task = MockTask::new();
    let scope = Jobs::new().collect().scope(async |handle| {
        handle.go(ready(Ok(1))).await.unwrap();
        handle.go(ready(Ok(2))).await.unwrap();
        "body"
    });
    assert_eq!(task.finish(scope), ("body", Ok(vec![1, 2])));
    let scope = Jobs::new().first_done().scope(async |handle| {
        handle.go(ready(Err("broken"))).await.unwrap();
        handle.token().cancelled().await
    });
    assert_eq!(task.finish(scope), (Reason::Failed, Some(Err("broken"))));
}

#[test]
fn no_policy_is_set_after_a_child() {
    fn busy() -> Jobs {
        let mut group = Jobs::new();
        group.queue(job(ready(Ok(1))));
        group
    }
    let calls: [fn(); 5] = [
        || drop(busy().collect()),
        || drop(busy().all_errors()),
        || drop(busy().settle()),
        || drop(busy().first_ok()),
        || drop(busy().first_done()),
    ];
    for call in calls {
        assert!(panic_message(call).contains("before the group's first child"));
    }
}

#[test]
fn a_policy_used_by_itself_keeps_what_decided() {
    let failed = Verdict::Stop(Reason::Failed);
    let done = Verdict::Stop(Reason::Done);

    let mut collect = Collect::default();
    assert_eq!(collect.on_child(&ChildInfo::new(3), Ok(3)), Verdict::Continue);
    assert_eq!(collect.on_child(&ChildInfo::new(1), Ok(1)), Verdict::Continue);
    let mut whole = collect.clone();
    assert_eq!(whole.finish(&Reason::Finished), Ok(vec![1, 3]), "gaps are left out");
    assert_eq!(collect.on_child(&ChildInfo::new(0), Err("zero")), failed);
    assert_eq!(collect.on_child(&ChildInfo::new(2), Err("two")), Verdict::Continue);
    assert_eq!(collect.on_child(&ChildInfo::new(4), Ok(4)), Verdict::Continue);
    assert_eq!(collect.finish(&Reason::Finished), Err("zero"));

    let mut all = AllErrors::default();
    assert_eq!(all.on_child(&ChildInfo::new(1), Err::<(), _>("one")), Verdict::Continue);
    assert_eq!(
        Policy::<(), _>::finish(&mut all, &Reason::Finished).unwrap_err().into_vec(),
        ["one"]
    );

    let mut settle = Settle::default();
    assert_eq!(settle.on_child(&ChildInfo::new(2), Err::<usize, _>("two")), Verdict::Continue);
    assert_eq!(settle.on_child(&ChildInfo::new(0), Ok(0)), Verdict::Continue);
    assert_eq!(settle.finish(&Reason::Finished), [Ok(0), Err("two")]);

    let mut ok = FirstOk::default();
    assert_eq!(ok.on_child(&ChildInfo::new(0), Err("zero")), Verdict::Continue);
    assert_eq!(ok.on_child(&ChildInfo::new(1), Ok(1)), done);
    assert_eq!(ok.on_child(&ChildInfo::new(2), Ok(2)), Verdict::Continue);
    assert_eq!(ok.on_child(&ChildInfo::new(3), Err("three")), Verdict::Continue);
    assert_eq!(ok.finish(&Reason::Finished), Ok(1));

    let mut first = FirstDone::default();
    assert_eq!(first.on_child(&ChildInfo::new(1), Err("one")), failed);
    assert_eq!(first.on_child(&ChildInfo::new(0), Ok(0)), Verdict::Continue);
    assert_eq!(first.finish(&Reason::Finished), Some(Err("one")));
    let mut first = FirstDone::default();
    assert_eq!(first.on_child(&ChildInfo::new(1), Ok::<_, &str>(1)), done);
    assert_eq!(first.finish(&Reason::Finished), Some(Ok(1)));
}

#[test]
fn all_policies_have_a_debug_form_whatever_they_hold() {
    struct Mute;
    let (mut collect, mut settle) = (Collect::new(), Settle::new());
    let _ = collect.on_child(&ChildInfo::new(1), Ok::<_, Mute>(Mute));
    let _ = settle.on_child(&ChildInfo::new(1), Ok::<_, Mute>(Mute));
    let (mut ok, mut all) = (FirstOk::new(), AllErrors::new());
    let _ = ok.on_child(&ChildInfo::new(0), Err::<Mute, _>(Mute));
    let _ = all.on_child(&ChildInfo::new(0), Err::<Mute, _>(Mute));
    let done = FirstDone::<Mute, Mute>::new();
    let forms = [
        format!("{collect:?}"),
        format!("{settle:?}"),
        format!("{ok:?}"),
        format!("{all:?}"),
        format!("{done:?}"),
    ];
    let expected = [
        "Collect { values: 1, failed: false, .. }",
        "Settle { results: 1, .. }",
        "FirstOk { succeeded: false, errors: 1, .. }",
        "AllErrors { errors: 1, .. }",
        "FirstDone { finished: false, .. }",
    ];
    assert_eq!(forms, expected);
}

#[test]
fn policies_are_send_and_sync_if_what_they_keep_is() {
    fn both<T: Send + Sync>() {}
    both::<Collect<usize, String>>();
    both::<AllErrors<String>>();
    both::<Settle<usize, String>>();
    both::<FirstOk<usize, String>>();
    both::<FirstDone<usize, String>>();
    both::<Errors<String>>();
}

// === Errors ===

fn errors<E>(errors: impl IntoIterator<Item = E>) -> Errors<E> {
    let mut policy = FirstOk::new();
    for error in errors {
        let _ = policy.on_child(&ChildInfo::new(0), Err::<(), E>(error));
    }
    policy.finish(&Reason::Finished).unwrap_err()
}

/// An error with a cause, which its alternate form displays.
#[derive(Debug, PartialEq)]
struct Caused(&'static str, fmt::Error);

impl fmt::Display for Caused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { write!(f, "{}: {}", self.0, self.1) } else { f.write_str(self.0) }
    }
}

impl Error for Caused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.1)
    }
}

#[test]
fn errors_display_their_number_and_each_error() {
    assert_eq!(errors::<&str>([]).to_string(), "no errors");
    assert_eq!(errors(["broken"]).to_string(), "1 error: broken");
    assert_eq!(errors(["a", "b"]).to_string(), "2 errors: a; b");
    assert_eq!(errors(["a", "b", "c"]).to_string(), "3 errors: a; b; c");
    let thousand = errors(0..1000).to_string();
    assert!(thousand.starts_with("1000 errors: 0; 1; 2; "), "{thousand}");
    assert!(thousand.ends_with("; 998; 999"), "{thousand}");
    assert_eq!(thousand.matches("; ").count(), 999);
    let long = errors([Caused("a", fmt::Error), Caused("b", fmt::Error)]);
    assert_eq!(long.to_string(), "2 errors: a; b");
    let cause = fmt::Error;
    assert_eq!(format!("{long:#}"), format!("2 errors: a: {cause}; b: {cause}"));
    assert_eq!(format!("{:?}", errors(["a", "b"])), r#"Errors(["a", "b"])"#);
}

#[test]
fn errors_are_iterated_in_order_owned_and_borrowed() {
    let some = errors(["a", "b", "c"]);
    assert_eq!((some.len(), some.is_empty(), some.first()), (3, false, Some(&"a")));
    assert!(some.iter().eq(["a", "b", "c"].iter()));
    let mut seen = vec![];
    for error in &some {
        seen.push(*error);
    }
    assert_eq!(seen, ["a", "b", "c"]);
    assert_eq!(some.clone().into_vec(), seen);
    assert!(some.into_iter().rev().eq(["c", "b", "a"]));
    let none = errors::<&str>([]);
    assert_eq!((none.len(), none.is_empty(), none.first()), (0, true, None));
}

#[test]
fn errors_are_made_from_a_vec_or_an_iterator() {
    assert_eq!(Errors::from(vec!["a", "b"]), errors(["a", "b"]));
    let collected: Errors<_> = (0..1000).collect();
    assert_eq!(collected, errors(0..1000));
    assert_eq!(Errors::from(collected.into_vec()).first(), Some(&0));
    assert!(Errors::<()>::from_iter([]).is_empty());
    // All errors of many results.
    let results = [Ok(1), Err("a"), Ok(2), Err("b")];
    assert_eq!(results.into_iter().filter_map(Result::err).collect::<Errors<_>>().len(), 2);
}

#[test]
fn errors_grow_from_none() {
    let mut some = Errors::default();
    assert!(some.is_empty());
    some.extend(["a", "b"]);
    some.extend(vec!["c"]);
    assert_eq!(some, errors(["a", "b", "c"]));
}

#[test]
fn a_cancel_is_one_error_of_any_type_that_converts() {
    fn cancel(token: &CancelToken) -> CancelError {
        token.cancel_with(Reason::Deadline);
        MockTask::new().finish(token.run(std::future::pending::<()>())).unwrap_err()
    }
    let token = CancelToken::new();
    let itself = Errors::<CancelError>::from(cancel(&token));
    assert_eq!(
        (itself.len(), itself.first().map(CancelError::reason)),
        (1, token.reason().as_ref())
    );
    assert_eq!(itself.to_string(), format!("1 error: {}", cancel(&token)));
    // `?` converts it, whatever the children's error is.
    let any = || -> Result<(), Errors<Box<dyn Error + Send + Sync>>> { Err(cancel(&token))? };
    let any = any().unwrap_err();
    assert!(any.iter().all(|error| error.is::<CancelError>()));
    assert_eq!(any.to_string(), itself.to_string());
}

#[test]
fn errors_are_an_error_that_shows_nothing_twice() {
    let some = errors([Caused("a", fmt::Error), Caused("b", fmt::Error)]);
    assert!(some.iter().all(|error| error.source().is_some_and(|cause| cause.is::<fmt::Error>())));
    assert!(some.source().is_none());
    let boxed: Box<dyn Error + Send + Sync> = some.into();
    assert!(boxed.is::<Errors<Caused>>());
    let of_any = errors([anyhow::anyhow!("a").context("b"), anyhow::anyhow!("c")]);
    assert_eq!(format!("{:#}", anyhow::Error::from(of_any)), "2 errors: b; c");
    let boxed = || Box::<dyn Error + Send + Sync>::from("a");
    assert_eq!(format!("{:#}", anyhow::Error::from(errors([boxed()]))), "1 error: a");
}
