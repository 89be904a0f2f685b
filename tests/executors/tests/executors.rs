//! The suite on the executors that are quick to build, and their rows of the table in the README.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Wake};
use std::thread::{self, Thread};
use std::time::Duration;

use executors::{Executor, check_table, passes};
use futures::executor::{LocalPool, LocalSpawner, ThreadPool};
use futures::future::{BoxFuture, FutureExt, LocalBoxFuture};
use futures::task::LocalSpawnExt;
use smol::LocalExecutor;

#[test]
fn each_passes_the_suite_and_has_its_row_in_the_readme() {
    check_table(&[
        passes::<TokioCurrentThread>(),
        passes::<TokioThreads>(),
        passes::<TokioLocalSet>(),
        passes::<Smol>(),
        passes::<SmolLocalExecutor>(),
        passes::<AsyncStd>(),
        passes::<FuturesBlockOn>(),
        passes::<FuturesLocalPool>(),
        passes::<FuturesThreadPool>(),
        passes::<Pollster>(),
        passes::<HandWritten>(),
    ]);
}

fn tokio_sleep(time: Duration) -> LocalBoxFuture<'static, ()> {
    tokio::time::sleep(time).boxed_local()
}

struct TokioCurrentThread;

impl Executor for TokioCurrentThread {
    const NAME: &'static str = "tokio, current thread";
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> = Some(|future| drop(tokio::spawn(future)));
    const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> = Some(tokio_sleep);

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future);
    }
}

struct TokioThreads;

impl Executor for TokioThreads {
    const NAME: &'static str = "tokio, many threads";
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> = Some(|future| drop(tokio::spawn(future)));
    const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> = Some(tokio_sleep);

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap()
            .block_on(future);
    }

    fn block_on_task(future: BoxFuture<'static, ()>) {
        Self::block_on(async { tokio::spawn(future).await.unwrap() }.boxed_local());
    }
}

struct TokioLocalSet;

impl Executor for TokioLocalSet {
    const NAME: &'static str = "tokio, `LocalSet`";
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> = Some(|future| drop(tokio::spawn(future)));
    const SPAWN_LOCAL: Option<fn(LocalBoxFuture<'static, ()>)> =
        Some(|future| drop(tokio::task::spawn_local(future)));
    const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> = Some(tokio_sleep);

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        let tasks = tokio::task::LocalSet::new();
        let future = async move { tasks.run_until(future).await };
        TokioCurrentThread::block_on(future.boxed_local());
    }
}

fn smol_sleep(time: Duration) -> LocalBoxFuture<'static, ()> {
    smol::Timer::after(time).map(drop).boxed_local()
}

struct Smol;

impl Executor for Smol {
    const NAME: &'static str = "smol";
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> = Some(|future| smol::spawn(future).detach());
    const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> = Some(smol_sleep);

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        smol::block_on(future);
    }

    fn block_on_task(future: BoxFuture<'static, ()>) {
        smol::block_on(smol::spawn(future));
    }
}

struct SmolLocalExecutor;

thread_local! {
    static LOCAL_EXECUTOR: Rc<LocalExecutor<'static>> = Rc::new(LocalExecutor::new());
    static LOCAL_POOL: RefCell<Option<LocalSpawner>> = const { RefCell::new(None) };
}

impl Executor for SmolLocalExecutor {
    const NAME: &'static str = "async-executor, `LocalExecutor`";
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> =
        Some(|future| LOCAL_EXECUTOR.with(|executor| executor.spawn(future).detach()));
    const SPAWN_LOCAL: Option<fn(LocalBoxFuture<'static, ()>)> =
        Some(|future| LOCAL_EXECUTOR.with(|executor| executor.spawn(future).detach()));
    const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> = Some(smol_sleep);

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        let executor = LOCAL_EXECUTOR.with(Rc::clone);
        smol::block_on(executor.run(future));
    }
}

struct AsyncStd;

impl Executor for AsyncStd {
    const NAME: &'static str = "async-std";
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> =
        Some(|future| drop(async_std::task::spawn(future)));
    const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> =
        Some(|time| async_std::task::sleep(time).boxed_local());

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        async_std::task::block_on(future);
    }

    fn block_on_task(future: BoxFuture<'static, ()>) {
        async_std::task::block_on(async_std::task::spawn(future));
    }
}

struct FuturesBlockOn;

impl Executor for FuturesBlockOn {
    const NAME: &'static str = "futures, `block_on`";

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        futures::executor::block_on(future);
    }
}

struct FuturesLocalPool;

fn local_spawn(future: LocalBoxFuture<'static, ()>) {
    LOCAL_POOL.with_borrow(|spawner| {
        spawner.as_ref().expect("it runs").spawn_local(future).expect("it has not shut down");
    });
}

impl Executor for FuturesLocalPool {
    const NAME: &'static str = "futures, `LocalPool`";
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> = Some(|future| local_spawn(future));
    const SPAWN_LOCAL: Option<fn(LocalBoxFuture<'static, ()>)> = Some(local_spawn);

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        let mut pool = LocalPool::new();
        LOCAL_POOL.set(Some(pool.spawner()));
        pool.run_until(future);
    }
}

struct FuturesThreadPool;

static POOL: LazyLock<ThreadPool> =
    LazyLock::new(|| ThreadPool::builder().pool_size(2).create().unwrap());

impl Executor for FuturesThreadPool {
    const NAME: &'static str = "futures, `ThreadPool`";
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> = Some(|future| POOL.spawn_ok(future));

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        futures::executor::block_on(future);
    }

    fn block_on_task(future: BoxFuture<'static, ()>) {
        let (task, output) = future.remote_handle();
        POOL.spawn_ok(task);
        futures::executor::block_on(output);
    }
}

struct Pollster;

impl Executor for Pollster {
    const NAME: &'static str = "pollster";

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        pollster::block_on(future);
    }
}

struct HandWritten;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Executor for HandWritten {
    const NAME: &'static str = "a `block_on` of twenty lines";

    fn block_on(future: LocalBoxFuture<'static, ()>) {
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        while future.as_mut().poll(&mut context).is_pending() {
            thread::park();
        }
    }
}
