//! `Group::on_local`: children that are not `Send`, on the executors of one thread.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::rc::Rc;
use std::task::Poll;

use crate::common::{Gate, MockTask, yield_now};
use errgroup::{Group, Handle, SpawnedLocal, TryGoError};
use futures::future::LocalBoxFuture;
use futures::stream::TryStreamExt;
use futures::task::LocalSpawnExt;

type Works = Rc<RefCell<Vec<LocalBoxFuture<'static, ()>>>>;

/// Polls each future once.
fn poll_all(works: &Works) {
    let mut all = works.take();
    all.retain_mut(|work| MockTask::new().poll(work).is_pending());
    works.borrow_mut().extend(all);
}

/// Returns a group that keeps the futures for the test to poll.
fn on(works: &Works) -> Group<SpawnedLocal<Rc<usize>, Rc<str>>> {
    let works = Rc::clone(works);
    Group::on_local(move |work| works.borrow_mut().push(work))
}

/// Adds ten children, two of them from inside others, and awaits the group.
async fn crowd(group: Group<SpawnedLocal<Rc<usize>, Rc<str>>>) {
    let mut group = group.with_limit(3).collect();
    let (sum, handle) = (Rc::new(Cell::new(0)), group.handle());
    for n in 0..8 {
        let (sum, handle) = (Rc::clone(&sum), handle.clone());
        let child = async move {
            yield_now().await;
            sum.set(sum.get() + n);
            if n < 2 {
                handle.go(ready(Ok(Rc::new(n)))).await.expect("it has not stopped");
            }
            Ok(Rc::new(n))
        };
        assert!(group.go(child).await.is_ok());
    }
    assert_eq!(group.await.unwrap().len(), 10);
    assert_eq!(sum.get(), 28);
}

#[test]
fn on_the_local_set_of_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let set = tokio::task::LocalSet::new();
    set.block_on(&runtime, async { crowd(Group::on_local(tokio::task::spawn_local)).await });
}

#[test]
fn on_the_local_executor_of_smol() {
    let executor = Rc::new(smol::LocalExecutor::new());
    let spawner = Rc::clone(&executor);
    let group = Group::on_local(move |work| spawner.spawn(work));
    smol::block_on(executor.run(crowd(group)));
}

#[test]
fn on_the_local_pool_of_futures() {
    let mut pool = futures::executor::LocalPool::new();
    let spawner = pool.spawner();
    let group = Group::on_local(move |work| spawner.spawn_local(work));
    pool.run_until(crowd(group));
}

#[test]
fn a_child_is_spawned_when_it_is_admitted_by_the_group_or_a_handle() {
    let (works, task) = (Works::default(), MockTask::new());
    let mut group = on(&works).with_limit(2);
    let handle = group.handle();
    group.queue(ready(Ok(Rc::new(1))));
    assert_eq!(works.borrow().len(), 1);
    handle.queue(async { Ok(Rc::new(2)) });
    handle.queue(async { Ok(Rc::new(3)) });
    assert_eq!(works.borrow().len(), 2);
    poll_all(&works);
    assert!(handle.try_go(async { Err("broken".into()) }).is_ok());
    assert_eq!((works.borrow().len(), handle.stats().ok), (2, 2), "3 came first");
    assert!(handle.try_go(pending()).is_err());
    poll_all(&works);
    assert!(handle.try_go(pending()).is_ok(), "the room of 3");
    assert!(matches!(group.try_go(pending()), Err(TryGoError::Stopped(_))));
    let stats = handle.stats();
    assert_eq!((stats.running, stats.ok, stats.failed), (1, 3, 1));
    assert!(task.run(&mut group).is_pending());
    drop(group);
    poll_all(&works);
    assert!(works.borrow().is_empty());
}

#[test]
fn a_panic_of_a_child_comes_out_of_the_group() {
    let (works, task) = (Works::default(), MockTask::new());
    let mut group = on(&works);
    group.queue(async { std::panic::panic_any("a child's") });
    poll_all(&works);
    #[cfg(feature = "std")]
    assert_eq!(crate::common::panic_message(|| task.run(&mut group)), "a child's");
    drop(task);
}

#[test]
fn what_the_spawner_returns_need_not_be_send_and_is_kept() {
    let (works, task, gate) = (Works::default(), MockTask::new(), Gate::new());
    let (spawn, kept) = (Rc::clone(&works), Rc::new(()));
    let returned = Rc::clone(&kept);
    let mut group: Group<SpawnedLocal<Rc<usize>, Rc<str>>> = Group::on_local(move |work| {
        spawn.borrow_mut().push(work);
        Rc::clone(&returned)
    });
    let wait = gate.wait(0);
    group.queue(async move {
        wait.await;
        Ok(Rc::new(0))
    });
    assert_eq!(Rc::strong_count(&kept), 3);
    gate.open(0);
    poll_all(&works);
    assert_eq!(task.run(&mut group), Poll::Ready(Ok(())));
    drop(group);
    assert_eq!(Rc::strong_count(&kept), 1);
}

#[test]
fn policies_scopes_streams_deadlines_and_observers_need_not_be_send() {
    let executor = Rc::new(smol::LocalExecutor::new());
    let seen = Rc::new(Cell::new(0));
    let on = || {
        let spawner = Rc::clone(&executor);
        let seen = Rc::clone(&seen);
        Group::on_local(move |work| spawner.spawn(work))
            .with_observer(move |_: &errgroup::Event| seen.set(seen.get() + 1))
    };
    let run = async {
        let shared = Rc::new(Cell::new(0));
        let add = |handle: &Handle<SpawnedLocal<Rc<usize>, Rc<str>>>, n| {
            let shared = Rc::clone(&shared);
            handle.queue(async move {
                shared.set(shared.get() + n);
                Ok(Rc::new(n))
            });
        };
        let (_, output) = on().settle().scope(async |handle| add(&handle, 1)).await;
        assert_eq!(output, [Ok(Rc::new(1))]);
        let results = on().results();
        add(&results.handle(), 2);
        assert_eq!(results.try_collect::<Vec<_>>().await, Ok(vec![Rc::new(2)]));
        let deadline = {
            let shared = Rc::clone(&shared);
            async move {
                while shared.get() < 6 {
                    yield_now().await
                }
            }
        };
        let mut group = on().with_deadline(deadline);
        let token = group.token().clone();
        add(&group.handle(), 3);
        group.queue(async move {
            token.cancelled().await;
            Ok(Rc::new(4))
        });
        assert_eq!(group.await, Ok(()));
        shared.get()
    };
    assert_eq!(smol::block_on(executor.run(run)), 6);
    assert_eq!(seen.get(), 4 * 2 + 3);
}
