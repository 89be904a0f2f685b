//! Mirrors a folder for hours: a worker takes jobs from a channel, and is drained at the end.
//!
//! It shows three parts in one group, a scanner, a signal listener and a worker; the worker's own
//! group, whose body takes at most one job more from the channel than there is room for, so that
//! memory stays flat; failures that are logged and end nothing; and an end in order. After SIGTERM
//! or Ctrl-C the scanner is dropped, the jobs that are left are done, for at most `--grace`
//! seconds, and then the program ends.
//!
//! ```sh
//! cargo run -p mirror -- FROM TO             # looks for changes once a second
//! ```
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use errgroup::{CancelToken, Group, Reason, task};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{interval, sleep};
use walkdir::WalkDir;

/// Mirrors a folder until it is told to end.
#[derive(Clone, Parser)]
struct Args {
    from: PathBuf,
    to: PathBuf,
    /// How many milliseconds there are between two looks for changes
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Copies all files each time, changed or not
    #[arg(long)]
    all: bool,
    /// How many seconds the jobs that are left may take at the end
    #[arg(long, default_value_t = 30)]
    grace: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let args = Args::parse();
    let grace = Duration::from_secs(args.grace);
    let (jobs, received) = channel(64);
    let mut parts = Group::new().with_grace(move || sleep(grace));
    parts.queue(task(scan(args.clone(), jobs)).until_stop());
    parts.queue(task(listen(parts.token().clone())).until_stop());
    parts.queue(work(received, args));
    let result = (&mut parts).await;
    let why = parts.token().reason().unwrap_or(Reason::Finished);
    // The scanner is always dropped.
    println!("ended: {why}{}", if parts.stats().dropped > 1 { ", jobs were cut" } else { "" });
    result
}

/// A file to copy, by its path below both folders; `None` ends a round.
type Job = Option<PathBuf>;

/// Looks for files that are newer than their copies, and waits while the channel is full.
async fn scan(args: Args, jobs: Sender<Job>) -> io::Result<()> {
    let mut ticks = interval(Duration::from_millis(args.every));
    loop {
        ticks.tick().await;
        for entry in WalkDir::new(&args.from).sort_by_file_name() {
            let Ok(entry) = entry.inspect_err(|error| println!("{error}")) else { continue };
            let Ok(path) = entry.path().strip_prefix(&args.from) else { continue };
            let is_newer = args.all || modified(entry.path()) > modified(&args.to.join(path));
            if entry.file_type().is_file() && is_newer {
                // The worker is there as long as this is.
                let _ = jobs.send(Some(path.to_path_buf())).await;
            }
        }
        let _ = jobs.send(None).await;
    }
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// Copies files, eight at a time, until the scanner is gone and the channel is empty.
async fn work(mut jobs: Receiver<Job>, args: Args) -> io::Result<()> {
    println!("started");
    let (mut round, mut before) = (0, 0);
    let copies = Group::new().with_limit(8).with_error::<Infallible>();
    let ((), Ok(())) = copies
        .scope(async |handle| {
            while let Some(job) = jobs.recv().await {
                let Some(path) = job else {
                    // What the earlier rounds have begun may still run.
                    let done = handle.stats().ok;
                    round += 1;
                    println!("round {round}: {} done", done - before);
                    before = done;
                    continue;
                };
                let (from, to) = (args.from.join(&path), args.to.join(&path));
                let copy = async move {
                    if let Err(error) = copy(&from, &to).await {
                        println!("{}: {error}", from.display());
                    }
                    Ok(())
                };
                // Never two copies of a file at a time.
                let copy = task(copy).key(path.to_string_lossy().into_owned()).unique();
                let Ok(()) = handle.go(copy).await else { break };
            }
        })
        .await;
    println!("drained");
    Ok(())
}

/// Copies a file to a temporary name first, so that a copy is never half a file.
async fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".unfinished");
    tokio::fs::copy(from, &unfinished).await?;
    tokio::fs::rename(&unfinished, to).await
}

/// Cancels the token at the first signal.
async fn listen(token: CancelToken) -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => {}
            result = tokio::signal::ctrl_c() => result?,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    token.cancel();
    Ok(())
}
