//! One group on several executors, with one child at a time and with one for each core.
//!
//! ```sh
//! cargo run --release -p parallel
//! ```

use std::future::Future;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Instant;

use futures::executor::ThreadPool;
use futures::future::BoxFuture;
use futures::task::Spawn;
use parallel::{Hash, hash_all, length_on_smol, length_on_tokio, lengths};

/// Hashes the same parts one after another, then with one child at a time for each core.
async fn compare<S>(executor: &str, spawn: impl Fn() -> S, cores: usize)
where
    S: Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
{
    let parts: Vec<Vec<u8>> = (0..64).map(|n| vec![n; 1 << 20]).collect();
    let (alone, one) = timed(hash_all(spawn(), 1, parts.clone())).await;
    let (together, all) = timed(hash_all(spawn(), cores, parts)).await;
    assert_eq!(one, all);
    println!("{executor}: {:.2} times as fast with {cores} at a time", alone / together);
}

async fn timed<F>(hashing: F) -> (f64, Vec<Hash>)
where
    F: Future<Output = Result<Vec<Hash>, String>>,
{
    let start = Instant::now();
    let hashes = hashing.await.expect("no part is empty");
    (start.elapsed().as_secs_f64(), hashes)
}

fn main() -> std::io::Result<()> {
    let cores = available_parallelism()?.get();
    // smol's global executor has one thread, unless the variable SMOL_THREADS says otherwise. Safe
    // code can't set that from within: SMOL_THREADS=4 cargo run ...
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    runtime.block_on(compare("tokio", || |child| drop(tokio::spawn(child)), cores));
    smol::block_on(compare("smol", || |child| smol::spawn(child).detach(), cores));
    let spawn = || |child| drop(async_std::task::spawn(child));
    async_std::task::block_on(compare("async-std", spawn, cores));
    let pool = ThreadPool::new()?;
    let spawn = || {
        let pool = pool.clone();
        move |child: BoxFuture<'static, ()>| pool.spawn_obj(child.into()).expect("it runs")
    };
    futures::executor::block_on(compare("the pool of futures", spawn, cores));

    let files = || ["Cargo.toml", "README.md"].map(PathBuf::from).to_vec();
    let by_tokio = runtime.block_on(lengths(4, files(), length_on_tokio))?;
    let by_smol = smol::block_on(lengths(4, files(), length_on_smol))?;
    assert_eq!(by_tokio, by_smol);
    println!("blocking calls on threads for them: {} files", by_tokio.len());
    Ok(())
}
