//! The same scenario on every executor.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Barrier};

use errgroup::Group;
use futures::executor::ThreadPool;
use futures::future::BoxFuture;
use futures::task::Spawn;
use parallel::{hash_all, length, length_on_smol, length_on_tokio, lengths, on_tokio};

type Work = BoxFuture<'static, ()>;

async fn scenario<S>(spawn: S)
where
    S: Fn(Work) + Clone + Send + Sync + 'static,
{
    let parts: Vec<Vec<u8>> = (1..=20).map(|n| vec![n; 10_000]).collect();
    let one = hash_all(spawn.clone(), 1, parts.clone()).await.unwrap();
    let all = hash_all(spawn.clone(), 8, parts.clone()).await.unwrap();
    assert_eq!((one.len(), &one), (20, &all), "in the order of the parts");

    // Only one part fails: if several did, any of them could be the first.
    let broken = [parts, vec![Vec::new()]].concat();
    assert_eq!(hash_all(spawn, 8, broken).await, Err("part 20 is empty".into()));
}

/// Runs children that wait for one another in pairs, each blocking its thread: two of them must
/// run at once.
async fn two_at_once(spawn: impl Fn(Work) + Send + Sync + 'static) {
    let both = Arc::new(Barrier::new(2));
    let mut group = Group::on(spawn).with_limit(2);
    for _ in 0..10 {
        let both = Arc::clone(&both);
        group.queue(async move {
            both.wait();
            Ok::<_, String>(())
        });
    }
    assert_eq!(group.await, Ok(()));
}

fn tokio() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap()
}

#[test]
fn on_tokio_threads() {
    let spawn = |child| drop(tokio::spawn(child));
    tokio().block_on(scenario(spawn));
    tokio().block_on(two_at_once(spawn));
}

#[test]
fn on_smol() {
    smol::block_on(scenario(|child| smol::spawn(child).detach()));
}

#[test]
fn on_an_executor_of_smol_with_two_threads() {
    let executor = Arc::new(smol::Executor::new());
    let (stop, stopped) = smol::channel::unbounded::<()>();
    let threads = [(); 2].map(|()| {
        let (executor, stopped) = (Arc::clone(&executor), stopped.clone());
        std::thread::spawn(move || {
            let _ = smol::block_on(executor.run(stopped.recv()));
        })
    });
    smol::block_on(two_at_once(move |child| executor.spawn(child).detach()));
    drop(stop);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn on_async_std() {
    async_std::task::block_on(scenario(|child| drop(async_std::task::spawn(child))));
}

#[test]
fn on_the_pool_of_futures() {
    let pool = ThreadPool::builder().pool_size(2).create().unwrap();
    let spawn = move |child: Work| pool.spawn_obj(child.into()).unwrap();
    futures::executor::block_on(scenario(spawn.clone()));
    futures::executor::block_on(two_at_once(spawn));
}

fn files() -> Vec<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    [here.join("Cargo.toml"), here.join("src/lib.rs")].to_vec()
}

#[test]
fn blocking_calls_wait_on_threads_of_their_own() {
    async fn check<F>(read: impl Fn(PathBuf) -> F)
    where
        F: Future<Output = std::io::Result<u64>> + Send,
    {
        let expected: Vec<_> = files().into_iter().map(|file| length(file).unwrap()).collect();
        assert_eq!(lengths(2, files(), &read).await.unwrap(), expected);
        let missing = vec![PathBuf::from("no such file")];
        assert!(lengths(2, missing, read).await.is_err());
    }
    tokio().block_on(check(length_on_tokio));
    smol::block_on(check(length_on_smol));
}

#[test]
fn blocking_calls_of_spawned_children_keep_the_limit() {
    let runtime = tokio();
    let most = runtime.block_on(async {
        let mut group = on_tokio().with_limit(3).collect();
        let inside = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for _ in 0..20 {
            let inside = Arc::clone(&inside);
            group.queue(async move {
                let call = tokio::task::spawn_blocking(move || {
                    use std::sync::atomic::Ordering::SeqCst;
                    let now = inside.fetch_add(1, SeqCst) + 1;
                    std::thread::yield_now();
                    inside.fetch_sub(1, SeqCst);
                    now
                });
                call.await.map_err(|error| error.to_string())
            });
        }
        group.await.unwrap().into_iter().max()
    });
    assert!(most <= Some(3), "{most:?}");
}
