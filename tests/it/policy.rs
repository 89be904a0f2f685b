//! What a policy sees of the children, and what its verdict does.

use std::error::Error;
use std::future::ready;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use crate::common::{
    Calls, CountOnDrop, DropCounter, Gate, Job, MockTask, Probe, fails, job, panic_message, waits,
};
use errgroup::{
    Boxed, Child, ChildInfo, Children, FirstErr, Group, Handle, Key, Policy, Reason, Verdict, task,
};
use futures::stream;

type Seen = Arc<Mutex<Vec<(usize, Result<usize, &'static str>)>>>;
type Jobs = Group<Boxed<'static, usize, &'static str>>;

/// A policy that logs the results, and stops when a child returns the number it waits for.
struct Recorder {
    seen: Seen,
    finished: Arc<Mutex<usize>>,
    stop: Box<dyn FnMut(usize) -> Verdict + Send>,
    _dropped: CountOnDrop,
}

impl Recorder {
    fn new(stop: impl FnMut(usize) -> Verdict + Send + 'static) -> Self {
        Self {
            seen: Seen::default(),
            finished: Arc::default(),
            stop: Box::new(stop),
            _dropped: DropCounter::default().guard(),
        }
    }

    fn patient() -> Self {
        Self::new(|_| Verdict::Continue)
    }
}

impl Policy<usize, &'static str> for Recorder {
    type Output = Vec<usize>;

    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<usize, &'static str>) -> Verdict {
        self.seen.lock().unwrap().push((child.index(), result));
        (self.stop)(child.index())
    }

    fn finish(&mut self, _: &Reason) -> Vec<usize> {
        *self.finished.lock().unwrap() += 1;
        self.seen.lock().unwrap().iter().map(|&(index, _)| index).collect()
    }
}

#[test]
fn the_policy_sees_each_child_as_it_finishes_with_its_index() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate) = (MockTask::new(), Gate::new());
        let recorder = Recorder::patient();
        let seen = Arc::clone(&recorder.seen);
        let mut group = group.with_limit(3).with_policy(recorder);
        for n in 0..2 {
            group.queue(waits(&gate, n));
        }
        group.queue(fails(&gate, 2, "broken"));
        group.queue(waits(&gate, 3));
        group.queue(waits(&gate, 4));
        assert!(task.poll(&mut group).is_pending());
        for (open, finished) in [(2, 1), (0, 2), (4, 3), (3, 4)] {
            assert_eq!(seen.lock().unwrap().len(), finished - 1);
            gate.open(open);
            assert!(task.poll(&mut group).is_pending());
            assert_eq!(seen.lock().unwrap().len(), finished);
        }
        gate.open(1);
        // An error stops the group only if the policy says so.
        assert_eq!(task.poll(&mut group), Poll::Ready(vec![2, 0, 4, 3, 1]));
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen, [(2, Err("broken")), (0, Ok(0)), (4, Ok(4)), (3, Ok(3)), (1, Ok(1))]);
        assert_eq!(group.token().reason(), Some(Reason::Finished));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn a_policy_is_told_the_key_and_the_name() {
    type Told = Arc<Mutex<Vec<(Option<Key>, Option<String>)>>>;
    let told = Told::default();
    let seen = Arc::clone(&told);
    let mut group = Group::new().with_policy(Calls::new(move |child, _| {
        let name = child.name().map(str::to_owned);
        seen.lock().unwrap().push((child.key().cloned(), name));
        Verdict::Continue
    }));
    group.queue(task(job(ready(Ok(0)))).key("a"));
    group.queue(task(job(ready(Err("broken")))).key(7).name("b"));
    group.queue(job(ready(Ok(2))));
    MockTask::new().finish(group);
    let key = |key: Key| Some(key);
    let expected = [(key("a".into()), None), (key(7.into()), Some("b".to_owned())), (None, None)];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn the_index_counts_admissions_from_every_source() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let recorder = Recorder::patient();
    let seen = Arc::clone(&recorder.seen);
    let mut group = Jobs::new().with_policy(recorder).with_limit(3);
    let handle = group.handle();
    assert!(task.finish(group.go(waits(&gate, 10))).is_ok());
    assert!(handle.try_go(waits(&gate, 11)).is_ok());
    assert!(group.try_go(waits(&gate, 12)).is_ok());
    // These wait and are admitted as room comes; the first is dropped.
    let mut gives_up = Box::pin(handle.go(ready(Ok(99))));
    assert!(task.poll(&mut gives_up).is_pending());
    group.queue(ready(Ok(13)));
    drop(gives_up);
    let children = stream::iter([job(ready(Ok(14))), job(ready(Ok(15)))]);
    gate.open(12);
    assert_eq!(task.finish(group.feed(children)), 2);
    gate.open(11);
    gate.open(10);
    let _ = task.finish(group);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    let expected: Vec<_> = (0..6).map(|n| (n, Ok(n + 10))).collect();
    assert_eq!(seen, expected);
}

#[test]
fn after_a_stop_the_policy_sees_the_children_and_its_verdict_is_ignored() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let (task, gate, queued) = (MockTask::new(), Gate::new(), Probe::new());
        let recorder = Recorder::new(|index| match index {
            0 => Verdict::Continue,
            1 => Verdict::Stop(Reason::Done),
            _ => Verdict::Stop(Reason::Deadline),
        });
        let seen = Arc::clone(&recorder.seen);
        let mut group = group.with_limit(3).with_policy(recorder);
        let token = group.token().clone();
        for n in 0..3 {
            group.queue(waits(&gate, n));
        }
        group.queue(queued.watch(ready(Ok(9))));
        assert!(task.poll(&mut group).is_pending());
        gate.open(1);
        assert!(task.poll(&mut group).is_pending());
        assert_eq!(token.reason(), Some(Reason::Done));
        assert!(group.is_stopped());
        // The policy does not see a dropped child.
        assert_eq!((queued.polls(), queued.drops()), (0, 1));
        gate.open(2);
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        assert_eq!(task.poll(&mut group), Poll::Ready(vec![1, 2, 0]));
        assert_eq!(seen.lock().unwrap().len(), 3);
        assert_eq!(token.reason(), Some(Reason::Done), "the first reason wins");
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
}

#[test]
fn after_a_cancel_the_policys_verdict_is_ignored_too() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let recorder = Recorder::new(|_| Verdict::Stop(Reason::Done));
    let mut group = Jobs::new().with_policy(recorder);
    group.queue(waits(&gate, 0));
    assert!(task.poll(&mut group).is_pending());
    group.token().cancel();
    gate.open(0);
    assert_eq!(task.poll(&mut group), Poll::Ready(vec![0]));
    assert_eq!(group.token().reason(), Some(Reason::Cancelled));
}

#[test]
fn a_reason_of_its_own_reaches_the_token() {
    let cause: Arc<dyn Error + Send + Sync> = Arc::from(Box::from("enough"));
    let reason = Reason::Cause(Arc::clone(&cause));
    let given = reason.clone();
    let mut group = Jobs::new().with_policy(Recorder::new(move |_| Verdict::Stop(given.clone())));
    group.queue(ready(Ok(1)));
    assert_eq!(MockTask::new().poll(&mut group), Poll::Ready(vec![0]));
    assert_eq!(group.token().reason(), Some(reason));
    let Some(Reason::Cause(that)) = group.token().reason() else {
        panic!("the reason is no cause");
    };
    assert!(Arc::ptr_eq(&cause, &that));
}

#[test]
fn finish_is_called_once_when_no_child_runs_any_more() {
    let (task, gate, probe) = (MockTask::new(), Gate::new(), Probe::new());
    let recorder = Recorder::patient();
    let finished = Arc::clone(&recorder.finished);
    let count = move || *finished.lock().unwrap();
    let mut group = Jobs::new().with_policy(recorder);
    let handle = group.handle();
    group.queue(probe.watch(waits(&gate, 0)));
    assert!(task.poll(&mut group).is_pending());
    group.token().cancel();
    assert!(task.poll(&mut group).is_pending());
    assert_eq!(count(), 0);
    gate.open(0);
    assert_eq!(task.poll(&mut group), Poll::Ready(vec![0]));
    assert_eq!((count(), probe.drops()), (1, 1));
    assert!(task.poll(&mut group).is_pending());
    handle.queue(ready(Ok(1)));
    drop(group);
    assert_eq!(count(), 1);
}

#[test]
fn finish_is_called_for_an_empty_group() {
    let recorder = Recorder::patient();
    let finished = Arc::clone(&recorder.finished);
    let mut group = Jobs::new().with_policy(recorder);
    assert_eq!(MockTask::new().poll(&mut group), Poll::Ready(vec![]));
    assert_eq!(*finished.lock().unwrap(), 1);
}

#[test]
fn finish_is_not_called_after_a_drop_or_a_panic() {
    let (task, gate) = (MockTask::new(), Gate::new());
    let recorder = Recorder::patient();
    let (seen, finished) = (Arc::clone(&recorder.seen), Arc::clone(&recorder.finished));
    let mut group = Jobs::new().with_policy(recorder);
    group.queue(waits(&gate, 0));
    group.queue(waits(&gate, 1));
    gate.open(0);
    assert!(task.poll(&mut group).is_pending());
    drop(group);
    assert_eq!(*seen.lock().unwrap(), [(0, Ok(0))], "the policy does not see dropped children");
    assert_eq!(*finished.lock().unwrap(), 0);

    let recorder = Recorder::patient();
    let (seen, finished) = (Arc::clone(&recorder.seen), Arc::clone(&recorder.finished));
    let mut group = Jobs::new().with_policy(recorder);
    group.queue(async { std::panic::panic_any("oh no") });
    group.queue(ready(Ok(1)));
    assert_eq!(panic_message(|| task.poll(&mut group)), "oh no");
    assert_eq!(*seen.lock().unwrap(), [(1, Ok(1))], "it sees the siblings");
    assert_eq!(*finished.lock().unwrap(), 0);
}

#[test]
fn a_policy_is_dropped_with_its_group() {
    let drops = DropCounter::default();
    let policy = || Recorder { _dropped: drops.guard(), ..Recorder::patient() };
    drop(Jobs::new().with_policy(policy()));
    assert_eq!(drops.get(), 1);
    let mut group = Jobs::new().with_policy(policy());
    assert!(MockTask::new().poll(&mut group).is_ready());
    drop(group);
    assert_eq!(drops.get(), 2);
    // With the group that is not made, since a policy was set.
    panic_message(|| Jobs::new().with_policy(policy()).with_policy(policy()));
    assert_eq!(drops.get(), 4);
}

/// A policy that adds a child for each that ends, up to three, and reads the stats.
struct Curious {
    handle: Option<Handle<Boxed<'static, usize, &'static str>>>,
    left: usize,
}

impl Policy<usize, &'static str> for Curious {
    type Output = usize;

    fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<usize, &'static str>) -> Verdict {
        let handle = self.handle.as_ref().unwrap();
        let _ = handle.stats();
        if self.left > 0 {
            self.left -= 1;
            handle.queue(ready(result));
        } else {
            handle.token().cancel();
            assert!(handle.try_go(ready(result)).is_err());
        }
        Verdict::Continue
    }

    fn finish(&mut self, _: &Reason) -> usize {
        let handle = self.handle.take().unwrap();
        handle.queue(ready(Ok(0)));
        handle.stats().ok
    }
}

#[test]
fn a_policy_may_use_a_handle() {
    let task = MockTask::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    /// A policy that gets its handle at its first call.
    struct Late(std::sync::mpsc::Receiver<Handle<Boxed<'static, usize, &'static str>>>, Curious);
    impl Policy<usize, &'static str> for Late {
        type Output = usize;
        fn on_child(
            &mut self,
            child: &ChildInfo<'_>,
            result: Result<usize, &'static str>,
        ) -> Verdict {
            if let Ok(handle) = self.0.try_recv() {
                self.1.handle = Some(handle);
            }
            self.1.on_child(child, result)
        }
        fn finish(&mut self, why: &Reason) -> usize {
            self.1.finish(why)
        }
    }
    let late = Late(receiver, Curious { handle: None, left: 3 });
    let mut group = Jobs::new().with_limit(1).with_policy(late);
    sender.send(group.handle()).unwrap();
    group.queue(ready(Ok(0)));
    assert_eq!(task.run(&mut group), Poll::Ready(4));
}

#[test]
fn first_err_is_the_default_and_may_be_named() {
    let task = MockTask::new();
    let mut group = Group::new().with_policy(FirstErr::new());
    group.queue(async { Err::<usize, _>("first") });
    group.queue(async { Err("second") });
    assert_eq!(task.poll(&mut group), Poll::Ready(Err("first")));
    let mut group = Group::<Boxed<'_, usize, &str>, FirstErr<&str>>::new();
    assert_eq!(task.poll(&mut group), Poll::Ready(Ok(())));
    // Used by itself:
    let mut policy = FirstErr::default();
    assert_eq!(policy.on_child(&ChildInfo::new(0), Ok(1)), Verdict::Continue);
    assert_eq!(
        policy.on_child(&ChildInfo::new(1), Err::<usize, _>("one")),
        Verdict::Stop(Reason::Failed)
    );
    let _ = Policy::<(), _>::on_child(&mut policy, &ChildInfo::new(2), Err("two"));
    assert_eq!(Policy::<(), _>::finish(&mut policy, &Reason::Finished), Err("one"));
}

#[test]
fn a_verdict_while_go_drives_gives_the_child_back() {
    let (task, probe) = (MockTask::new(), Probe::new());
    let recorder = Recorder::new(|_| Verdict::Stop(Reason::Done));
    let mut group = Jobs::new().with_limit(1).with_policy(recorder);
    group.queue(ready(Ok(1)));
    {
        let mut go = pin!(group.go(probe.watch(ready(Ok(2)))));
        assert!(matches!(task.poll(&mut go), Poll::Ready(Err(_))));
    }
    assert_eq!(probe.polls(), 0);
    assert_eq!(task.poll(&mut group), Poll::Ready(vec![0]));
}

/// A policy that keeps what it is told of each child, and why the group has ended.
#[derive(Default)]
struct Told(Vec<(usize, Option<String>)>);

impl<T, E> Policy<T, E> for Told {
    type Output = (Vec<(usize, Option<String>)>, Reason);

    fn on_child(&mut self, child: &ChildInfo<'_>, _: Result<T, E>) -> Verdict {
        self.0.push((child.index(), child.name().map(String::from)));
        Verdict::Continue
    }

    fn finish(&mut self, why: &Reason) -> Self::Output {
        (std::mem::take(&mut self.0), why.clone())
    }
}

#[test]
fn the_policy_is_told_a_childs_name() {
    fn scenario<C>(group: Group<C>)
    where
        C: Children<Ok = usize, Err = &'static str>,
        Job: Child<C>,
    {
        let task = MockTask::new();
        let mut group = group.with_limit(2).with_policy(Told::default());
        group.queue(job(ready(Ok(0))));
        for name in ["one", "two", "three"] {
            group.queue(errgroup::task(job(ready(Err("broken")))).name(name));
        }
        group.queue(errgroup::task(job(ready(Ok(4)))).weight(2));
        group.handle().queue(errgroup::task(job(ready(Ok(5)))).name(String::from("five")));
        let names = [None, Some("one"), Some("two"), Some("three"), None, Some("five")];
        let expected = names.into_iter().map(|name| name.map(String::from)).enumerate().collect();
        assert_eq!(task.run(&mut group), Poll::Ready((expected, Reason::Finished)));
    }
    scenario(Group::new());
    scenario(Group::local());
    scenario(Group::unboxed());
    scenario(Group::new().with_observer(|_: &errgroup::Event| {}));
}

#[test]
fn a_policy_that_is_set_after_the_first_handle_is_told_names_too() {
    let group = Jobs::new();
    let handle = group.handle();
    let mut group = group.with_policy(Told::default());
    handle.queue(errgroup::task(ready(Ok(1))).name("one"));
    let (told, _) = MockTask::new().finish(&mut group);
    assert_eq!(told, [(0, Some("one".into()))]);
}

#[test]
fn finish_is_told_what_has_ended_the_group() {
    fn told(stop: impl FnOnce(&mut Group<Boxed<'static, usize, &'static str>, Told>)) -> Reason {
        let (task, gate) = (MockTask::new(), Gate::new());
        let mut group = Jobs::new().with_policy(Told::default());
        group.queue(waits(&gate, 0));
        stop(&mut group);
        assert!(task.poll(&mut group).is_pending());
        gate.open(0);
        task.finish(&mut group).1
    }
    assert_eq!(told(|_| ()), Reason::Finished);
    assert_eq!(told(|group| assert!(group.token().cancel())), Reason::Cancelled);
    let cause = Reason::cause("enough");
    assert_eq!(told(|group| assert!(group.token().cancel_with(cause.clone()))), cause);

    // The verdict of the policy, through one that wraps it.
    struct StopAt<P>(usize, P);
    impl<T, E, P: Policy<T, E>> Policy<T, E> for StopAt<P> {
        type Output = P::Output;
        fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
            let verdict = self.1.on_child(child, result);
            if child.index() == self.0 { Verdict::Stop(Reason::Done) } else { verdict }
        }
        fn finish(&mut self, why: &Reason) -> P::Output {
            self.1.finish(why)
        }
    }
    let mut group = Jobs::new().with_deadline(ready(())).with_policy(StopAt(0, Told::default()));
    let gate = Gate::new();
    group.queue(waits(&gate, 0));
    let task = MockTask::new();
    assert!(task.poll(&mut group).is_pending());
    gate.open(0);
    assert_eq!(task.finish(&mut group).1, Reason::Deadline);
    let mut group = Jobs::new().with_policy(StopAt(0, Told::default()));
    group.queue(ready(Ok(0)));
    assert_eq!(task.finish(&mut group).1, Reason::Done);
}
