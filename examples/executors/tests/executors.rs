//! One scenario on every executor. Nothing in it needs a certain runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use errgroup::{Boxed, Group, Handle, Reason};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Yields to the executor, whichever it is.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

async fn yields(count: usize) {
    for _ in 0..count {
        Yield(false).await;
    }
}

/// Counts children at work.
#[derive(Default)]
struct Marks {
    now: AtomicUsize,
    high: AtomicUsize,
    cleaned: AtomicUsize,
}

impl Marks {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.high.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    fn high(&self) -> usize {
        self.high.load(Ordering::SeqCst)
    }
}

async fn work(marks: &Marks, n: usize) -> Result<usize, String> {
    marks.enter();
    // Each `go` polls the running children once: these are there for at least four of them.
    yields(n % 5 + 4).await;
    marks.leave();
    Ok(n)
}

/// Runs all parts; `spawn` runs a future as a task of its own.
async fn scenario(spawn: impl Fn(Job)) {
    fan_out_keeps_the_limit().await;
    an_error_stops_the_others_which_clean_up().await;
    children_come_from_other_tasks(&spawn).await;
    a_scope_runs_beside_its_children(&spawn).await;
    a_group_moves_to_another_task(&spawn).await;
}

async fn fan_out_keeps_the_limit() {
    let marks = Marks::default();
    let mut group = Group::new().with_limit(4);
    for n in 0..100 {
        assert!(group.go(work(&marks, n)).await.is_ok());
    }
    assert_eq!(group.await, Ok(()));
    assert_eq!(marks.high(), 4);
}

async fn an_error_stops_the_others_which_clean_up() {
    let marks = Marks::default();
    let mut group = Group::new().with_limit(4);
    for n in 0..3 {
        let (token, marks) = (group.token().clone(), &marks);
        group.queue(async move {
            let reason = token.cancelled().await;
            yields(n).await;
            marks.cleaned.fetch_add(1, Ordering::SeqCst);
            Err(format!("interrupted: {reason:?}"))
        });
    }
    group.queue(async {
        yields(3).await;
        Err("the first error".to_string())
    });
    let stopped = group.go(work(&marks, 1)).await;
    assert!(stopped.is_err());
    assert_eq!(stopped.unwrap_err().into_inner().await, Ok(1), "given back");
    assert_eq!(group.await, Err("the first error".to_string()));
    assert_eq!(marks.cleaned.load(Ordering::SeqCst), 3);
}

async fn children_come_from_other_tasks(spawn: &impl Fn(Job)) {
    let marks = Arc::new(Marks::default());
    let group = Group::<Boxed<'static, usize, String>>::new().with_limit(3);
    let handle = group.handle();
    let adders = 3;
    let (sender, door) = door_for(adders);
    handle.queue(async move {
        door.await;
        Ok(0)
    });
    for task in 0..adders {
        let (handle, marks, sender) = (handle.clone(), Arc::clone(&marks), sender.clone());
        spawn(Box::pin(async move {
            for n in 0..20 {
                let child = {
                    let marks = Arc::clone(&marks);
                    async move { work(&marks, n).await }
                };
                if n % 4 == task {
                    handle.queue(child);
                } else {
                    assert!(handle.go(child).await.is_ok());
                }
            }
            sender.done();
        }));
    }
    assert_eq!(group.await, Ok(()));
    assert_eq!(handle.stats().ok, 61);
    assert!(marks.high() <= 3);
    handle.closed().await;
    assert_eq!(handle.token().reason(), Some(Reason::Finished));
}

/// Makes a door that opens when [`Done::done`] was called `count` times.
fn door_for(count: usize) -> (Done, impl Future<Output = ()> + Send) {
    let token = errgroup::CancelToken::new();
    let cancelled = token.cancelled();
    let left = Arc::new(AtomicUsize::new(count));
    let door = async move {
        cancelled.await;
    };
    (Done { token, left }, door)
}

#[derive(Clone)]
struct Done {
    token: errgroup::CancelToken,
    left: Arc<AtomicUsize>,
}

impl Done {
    fn done(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.token.cancel();
        }
    }
}

async fn a_scope_runs_beside_its_children(spawn: &impl Fn(Job)) {
    let lock = Arc::new(async_lock::Mutex::new(0));
    let inner = Arc::clone(&lock);
    let (value, output) = Group::<Boxed<'static, (), String>>::new()
        .with_limit(2)
        .scope(async |handle| {
            // A child that holds a lock which the body wants.
            let held = Arc::clone(&inner);
            handle.queue(async move {
                let mut value = held.lock().await;
                yields(5).await;
                *value += 1;
                Ok(())
            });
            yields(1).await;
            let value = *inner.lock().await;

            // A child that adds to its own group, and another task that does so.
            let within = handle.clone();
            let adding = async move {
                for _ in 0..10 {
                    let child = async {
                        yields(1).await;
                        Ok(())
                    };
                    within.go(child).await.map_err(|_| "stopped".to_string())?;
                }
                Ok(())
            };
            assert!(handle.go(adding).await.is_ok());
            let (done, door) = door_for(1);
            let elsewhere: Handle<_> = handle.clone();
            spawn(Box::pin(async move {
                assert!(elsewhere.go(async { Ok(()) }).await.is_ok());
                done.done();
            }));
            door.await;
            (value, handle)
        })
        .await;
    assert_eq!((value.0, output), (1, Ok(())));
    assert_eq!(value.1.stats().ok, 13);

    let result: Result<(), String> = Group::<Boxed<'static, (), String>>::new()
        .try_scope(async |handle| {
            let token = handle.token().clone();
            handle.queue(async move {
                token.cancelled().await;
                Err("interrupted".to_string())
            });
            yields(2).await;
            Err("the body failed".to_string())
        })
        .await;
    assert_eq!(result, Err("the body failed".to_string()));
}

async fn a_group_moves_to_another_task(spawn: &impl Fn(Job)) {
    let mut group = Group::<Boxed<'static, (), String>>::new().with_limit(1);
    // Polled a little here, then in another task.
    for n in 0..5 {
        let child = async move {
            yields(n).await;
            Ok(())
        };
        assert!(group.go(child).await.is_ok());
    }
    let handle = group.handle();
    spawn(Box::pin(async move {
        assert_eq!(group.await, Ok(()));
    }));
    handle.closed().await;
    assert_eq!(handle.stats().ok, 5);
}

/// Runs a job on a thread of its own, for executors that have no tasks.
fn on_a_thread(job: Job) {
    std::thread::spawn(|| futures::executor::block_on(job));
}

#[test]
fn on_tokio_current_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(scenario(|job| {
        tokio::spawn(job);
    }));
}

#[test]
fn on_tokio_threads_within_a_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    // Within a task: it has to be `Send`.
    let task = runtime.spawn(scenario(|job| {
        tokio::spawn(job);
    }));
    runtime.block_on(task).unwrap();
}

#[test]
fn on_smol() {
    smol::block_on(scenario(|job| smol::spawn(job).detach()));
}

#[test]
fn on_async_std() {
    async_std::task::block_on(scenario(|job| {
        async_std::task::spawn(job);
    }));
}

#[test]
fn on_the_executor_of_futures() {
    futures::executor::block_on(scenario(on_a_thread));

    // With tasks on the same thread.
    use futures::task::LocalSpawnExt;
    let mut pool = futures::executor::LocalPool::new();
    let spawner = pool.spawner();
    pool.run_until(scenario(|job| spawner.spawn_local(job).unwrap()));
}

#[test]
fn on_pollster() {
    pollster::block_on(scenario(on_a_thread));
}
