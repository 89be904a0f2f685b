//! How groups are made, and which children and parents they take.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::marker::PhantomPinned;
use std::rc::Rc;
use std::task::Poll;

use crate::common::{
    Gate, Job, Log, MockTask, OrCancel, Probe, job, panic_message, unboxed, waits, yield_now,
};
use errgroup::{
    Boxed, CancelToken, Child, ChildInfo, Children, FirstErr, Group, Handle, LocalBoxed, Plain,
    Policy, Reason, Verdict,
};
use futures::future::FusedFuture;

/// A policy that counts the children.
#[derive(Default)]
struct Count(usize);

impl<T, E> Policy<T, E> for Count {
    type Output = usize;

    fn on_child(&mut self, _: &ChildInfo<'_>, _: Result<T, E>) -> Verdict {
        self.0 += 1;
        Verdict::Continue
    }

    fn finish(&mut self, _: &Reason) -> usize {
        self.0
    }
}

#[test]
fn the_builders_work_in_any_order_and_keep_what_was_set() {
    fn check<C>(mut group: Group<C, Count, usize>, parent: &CancelToken)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        assert_eq!(group.limit(), Some(2));
        for n in 0..3 {
            group.queue(waits(&gate, n));
        }
        assert_eq!(group.stats().running, 2);
        assert!(task.poll(&mut group).is_pending());
        parent.cancel_with(Reason::Deadline);
        assert_eq!(group.token().reason(), Some(Reason::Deadline));
        gate.open(0);
        gate.open(1);
        assert_eq!(task.poll(&mut group), Poll::Ready(2));
    }
    fn scenario<C>(make: impl Fn() -> Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let parents = [(); 6].map(|()| CancelToken::new());
        let [a, b, c, d, e, f] = &parents;
        check(make().with_limit(2).with_parent(a).with_policy(Count(0)), a);
        check(make().with_limit(2).with_policy(Count(0)).with_parent(b), b);
        check(make().with_parent(c).with_limit(2).with_policy(Count(0)), c);
        check(make().with_parent(d).with_policy(Count(0)).with_limit(2), d);
        check(make().with_policy(Count(0)).with_limit(2).with_parent(e), e);
        check(make().with_policy(Count(0)).with_parent(f).with_limit(2), f);
    }
    scenario(Group::new);
    scenario(Group::local);
    scenario(Group::unboxed);
}

#[test]
fn each_kind_refuses_a_limit_of_zero() {
    let messages = [
        panic_message(|| Group::<Boxed<'_, usize, &'static str>>::new().with_limit(0)),
        panic_message(|| Group::<LocalBoxed<'_, usize, &'static str>>::local().with_limit(0)),
        panic_message(|| Group::<Plain<Job>>::unboxed().with_limit(0)),
    ];
    for message in messages {
        assert!(message.contains("at least 1") && message.contains("with_limit"), "{message}");
    }
}

#[test]
fn the_last_limit_set_holds() {
    let group = Group::<Boxed<'_, usize, &'static str>>::new().with_limit(2).with_limit(5);
    assert_eq!(group.limit(), Some(5));
}

#[test]
fn new_takes_mixed_children_that_may_borrow() {
    let task = MockTask::new();
    let log = Log::new();
    let text = String::from("borrowed");
    let mut group = Group::new();
    group.queue(async {
        log.add(text.as_str());
        Ok(1_usize)
    });
    group.queue(ready(Ok(2)));
    group.queue(Box::pin(async { Ok(3) }));
    group.queue(std::future::poll_fn(|_| Poll::Ready(Err("broken"))));
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("broken")));
    assert_eq!(group.stats().ok, 3);
    drop(group);
    assert_eq!(log.take(), [text]);
}

#[test]
fn local_takes_children_that_are_not_send() {
    let task = MockTask::new();
    let shared = Rc::new(RefCell::new(0));
    let mut group = Group::local();
    for n in 1..=3 {
        let shared = Rc::clone(&shared);
        group.queue(async move {
            *shared.borrow_mut() += n;
            Ok::<_, Rc<str>>(shared)
        });
    }
    let borrowed = &shared;
    let handle = group.handle();
    group.queue(async move {
        handle.queue(async move {
            *borrowed.borrow_mut() += 100;
            Err(Rc::from("broken"))
        });
        Ok(Rc::clone(borrowed))
    });
    assert_eq!(task.run(&mut group), Poll::Ready(Err(Rc::from("broken"))));
    assert_eq!(*shared.borrow(), 106);
    drop(group);
    assert_eq!(Rc::strong_count(&shared), 1);
}

#[test]
fn unboxed_takes_futures_of_one_type_and_does_not_move_them() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let mut group = Group::unboxed().with_limit(70);
    for n in 0..200 {
        let child = probe.watch(ready(Ok(n)));
        group.queue(unboxed::<1>(job(async {
            yield_now().await;
            child.await
        })));
    }
    // The group may move between its polls.
    assert!(task.poll(&mut group).is_pending());
    let mut group = Box::new(group);
    assert_eq!(task.run(&mut *group), Poll::Ready(Ok(())));
    assert_eq!(probe.polls(), 200);
}

#[test]
fn a_group_of_infallible_children_needs_only_their_annotation() {
    let mut group = Group::new();
    group.queue(async { Ok::<usize, Infallible>(0) });
    let Ok(()) = MockTask::new().finish(group);
}

#[test]
fn groups_and_handles_cross_threads_if_their_children_may() {
    fn send<T: Send>(_: &T) {}
    fn sync<T: Sync>(_: &T) {}
    fn driven<T: Unpin + FusedFuture>(_: &T) {}
    fn unpin<T: Unpin>() {}

    let group = Group::<Boxed<'_, usize, &str>>::new();
    let handle = group.handle();
    send(&group);
    driven(&group);
    send(&handle);
    sync(&handle);
    let group = Group::<Plain<Job>>::unboxed();
    send(&group);
    driven(&group);
    send(&group.handle());
    sync(&group.handle());
    driven(&Group::<LocalBoxed<'_, usize, &str>>::local());
    // A group is `Unpin` whatever it holds.
    unpin::<Group<Plain<PhantomPinned>, PhantomPinned, ()>>();
}

#[test]
fn a_groups_type_has_defaults() {
    struct Server<'a> {
        group: Group<Boxed<'a, usize, &'static str>>,
        counted: Group<Boxed<'a, usize, &'static str>, Count>,
        named: Group<Boxed<'a, usize, &'static str>, FirstErr<&'static str>>,
        handle: Handle<Boxed<'a, usize, &'static str>>,
    }
    let group = Group::new();
    let mut server = Server {
        handle: group.handle(),
        group,
        counted: Group::new().with_policy(Count(0)),
        named: Group::default(),
    };
    server.handle.queue(async { Err("broken") });
    server.counted.queue(async { Ok(0) });
    let task = MockTask::new();
    assert_eq!(task.poll(&mut server.group), Poll::Ready(Err("broken")));
    assert_eq!(task.poll(&mut server.counted), Poll::Ready(1));
    assert_eq!(task.poll(&mut server.named), Poll::Ready(Ok(())));
}

#[test]
fn a_group_goes_to_another_thread_with_its_running_children() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new();
    group.queue(waits(&gate, 0));
    assert!(task.poll(&mut group).is_pending());
    let thread = std::thread::spawn(move || futures::executor::block_on(group));
    gate.open(0);
    assert_eq!(thread.join().unwrap(), Ok(()));
}

#[test]
fn everything_has_a_debug_form() {
    let mut group = Group::new().with_limit(1);
    group.queue(ready(Ok::<usize, &str>(0)));
    let handle = group.handle();
    let forms = [
        format!("{group:?}"),
        format!("{handle:?}"),
        format!("{:?}", handle.stats()),
        format!("{:?}", handle.go(ready(Ok(0)))),
        format!("{:?}", handle.feed(futures::stream::iter([ready(Ok(0))]))),
        format!("{:?}", handle.closed()),
        format!("{:?}", group.go(ready(Ok(0)))),
    ];
    assert!(forms.iter().all(|form| !form.is_empty()));
}

#[test]
fn a_second_parent_or_semaphore_is_refused() {
    type Jobs = Group<errgroup::Boxed<'static, usize, &'static str>>;
    let (first, second) = (errgroup::CancelToken::new(), errgroup::CancelToken::new());
    let parents = || Jobs::new().with_parent(&first).with_parent(&second);
    let semaphore = || std::sync::Arc::new(errgroup::Semaphore::new(1));
    let semaphores = || Jobs::new().with_semaphore(semaphore()).with_semaphore(semaphore());
    for call in [&parents as &dyn Fn() -> Jobs, &semaphores] {
        let call = std::panic::AssertUnwindSafe(call);
        let message = std::panic::catch_unwind(call).map(drop).unwrap_err();
        let message = message.downcast_ref::<&str>().copied().unwrap_or_default();
        assert!(message.ends_with("and once"), "{message}");
    }
}

#[test]
fn with_parent_undoes_no_cancel_and_detaches_no_token() {
    let parent = errgroup::CancelToken::new();
    let cancelled = Group::<errgroup::Boxed<'static, usize, &'static str>>::new();
    cancelled.token().cancel();
    let given = Group::<errgroup::Boxed<'static, usize, &'static str>>::new();
    let child = given.token().child();
    for group in [cancelled, given] {
        let call = std::panic::AssertUnwindSafe(|| group.with_parent(&parent));
        let message = std::panic::catch_unwind(call).map(drop).unwrap_err();
        let message = message.downcast_ref::<&str>().copied().unwrap_or_default();
        assert!(message.contains("before the group's first child"), "{message}");
    }
    drop(child);
}

#[test]
#[should_panic = "before the group is awaited to its end"]
fn a_scope_of_a_group_that_has_resolved_is_refused() {
    let mut group = Group::<errgroup::Boxed<'static, usize, &'static str>>::new();
    assert!(MockTask::new().poll(&mut group).is_ready());
    drop(group.scope(async |_| ()));
}

#[test]
fn a_resolved_group_takes_no_parent() {
    let task = MockTask::new();
    let mut group = Group::<Boxed<'_, usize, &'static str>>::new();
    assert!(task.poll(&mut group).is_ready());
    let message = panic_message(|| drop(group.with_parent(&CancelToken::new())));
    assert!(message.contains("with_parent"), "{message}");
}

#[test]
fn the_type_of_the_errors_can_be_named_alone() {
    let cancelled = CancelToken::new();
    cancelled.cancel();
    let mut group = Group::new().with_limit(2).with_error::<OrCancel>();
    group.queue(async move {
        cancelled.run(pending::<()>()).await?;
        Ok(1_usize)
    });
    let error = MockTask::new().finish(group).unwrap_err();
    assert_eq!(error.into_reason(), Reason::Cancelled);
    let shared = Rc::new(RefCell::new(7));
    let mut group = Group::local().with_error::<Rc<str>>().collect();
    group.queue(async { Ok(Rc::clone(&shared)) });
    assert_eq!(MockTask::new().finish(group), Ok(vec![Rc::clone(&shared)]));
}

#[test]
#[should_panic(expected = "first child")]
fn a_child_that_was_refused_counts_as_one_that_a_policy_would_miss() {
    let mut group = Group::new();
    group.token().cancel();
    group.queue(job(ready(Ok(1))));
    drop(group.collect());
}

#[test]
#[should_panic(expected = "first child")]
fn a_child_behind_a_waiter_counts_as_one_that_a_policy_would_miss() {
    let task = MockTask::new();
    let mut group = Group::new();
    group.set_limit(Some(0));
    let handle = group.handle();
    let mut go = handle.go(job(pending()));
    assert!(task.poll(&mut go).is_pending());
    group.set_limit(Some(2));
    // It has room, and starts after the other one.
    group.queue(job(pending()));
    drop(group.collect());
}
