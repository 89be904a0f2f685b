//! Work that keeps a core busy, spread over several cores; and calls that block.

use std::future::Future;
use std::io;
use std::path::PathBuf;

use errgroup::{Group, Spawned};
use futures::future::BoxFuture;
use futures::stream;
use sha2::{Digest, Sha256};

/// The hash of a part.
pub type Hash = [u8; 32];

/// Hashes each part, at most `limit` of them at a time, each as a task of the executor behind
/// `spawn`. Returns the hashes in the order of the parts.
pub async fn hash_all(
    spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
    limit: usize,
    parts: Vec<Vec<u8>>,
) -> Result<Vec<Hash>, String> {
    let mut group = Group::on(spawn).with_limit(limit).collect();
    for (number, part) in parts.into_iter().enumerate() {
        let child = async move {
            if part.is_empty() {
                return Err(format!("part {number} is empty"));
            }
            Ok(Sha256::digest(&part).into())
        };
        // It waits for room, and fails once a part was empty.
        if group.go(child).await.is_err() {
            break;
        }
    }
    group.await
}

/// Returns the length of each file, and reads at most `limit` of them at a time. Reading blocks, so
/// `read` does it on threads that may block.
///
/// The children only wait, so they need no tasks of their own; a group of any kind will do.
pub async fn lengths<F>(
    limit: usize,
    files: Vec<PathBuf>,
    read: impl Fn(PathBuf) -> F,
) -> io::Result<Vec<u64>>
where
    F: Future<Output = io::Result<u64>> + Send,
{
    let mut group = Group::unboxed().with_limit(limit).collect();
    group.feed(stream::iter(files.into_iter().map(read))).await;
    group.await
}

/// Returns the length of a file. It blocks.
pub fn length(file: PathBuf) -> io::Result<u64> {
    Ok(std::fs::read(file)?.len() as u64)
}

/// Calls `length` on tokio's threads for blocking calls. A panic resumes in the awaiting task.
pub async fn length_on_tokio(file: PathBuf) -> io::Result<u64> {
    match tokio::task::spawn_blocking(|| length(file)).await {
        Ok(length) => length,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            Err(cancelled) => Err(io::Error::other(cancelled)),
        },
    }
}

/// Calls `length` on smol's threads for blocking calls.
pub async fn length_on_smol(file: PathBuf) -> io::Result<u64> {
    smol::unblock(|| length(file)).await
}

/// Makes a group whose children are tasks of tokio.
pub fn on_tokio<T, E>() -> Group<Spawned<T, E>> {
    Group::on(|child| drop(tokio::spawn(child)))
}
