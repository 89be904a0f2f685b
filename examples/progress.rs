//! A progress bar made of a group's statistics.
//!
//! ```sh
//! cargo run --release --example progress           # digests this crate's own sources
//! cargo run --release --example progress -- DIR
//! ```
//!
//! The children know nothing of the bar. It reads [`Handle::stats`](errgroup::Handle::stats) ten
//! times a second, beside the group, and ends with it. (The example `checksum` shows the other
//! way: a bar that counts bytes, moved by the children themselves.)

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use errgroup::{Children, Group, Handle, Kind};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use smol::Timer;
use smol::future::{or, zip};
use walkdir::WalkDir;

/// Shows the progress of a group until its end.
async fn show<C: Kind + Children>(handle: Handle<C>, bar: ProgressBar) {
    while !handle.is_closed() {
        update(&handle, &bar);
        let tick = async {
            Timer::after(Duration::from_millis(100)).await;
        };
        or(handle.closed(), tick).await;
    }
    update(&handle, &bar);
    bar.abandon();
}

fn update<C: Kind + Children>(handle: &Handle<C>, bar: &ProgressBar) {
    let stats = handle.stats();
    let done = stats.ok + stats.failed + stats.dropped;
    // The children accepted so far; there may be more while the bar runs.
    bar.set_length((done + stats.running + stats.queued) as u64);
    bar.set_position(done as u64);
    bar.set_message(format!(
        "{} running, {} waiting, {} failed",
        stats.running, stats.queued, stats.failed
    ));
}

/// Digests a file on another thread.
async fn digest(path: PathBuf) -> io::Result<()> {
    let digest = smol::unblock(move || {
        let mut hasher = Sha256::new();
        io::copy(&mut File::open(path)?, &mut hasher)?;
        Ok(hasher.finalize())
    });
    digest.await.map(drop)
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"), PathBuf::from);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}, {msg}")?;
    let bar = ProgressBar::new(0).with_style(style);

    let mut group = Group::new().with_limit(4).all_errors();
    for entry in WalkDir::new(root) {
        let entry = entry?;
        if entry.file_type().is_file() {
            group.queue(digest(entry.into_path()));
        }
    }
    let handle = group.handle();
    let (output, ()) = smol::block_on(zip(group, show(handle.clone(), bar)));
    println!("{} files digested", handle.stats().ok);
    Ok(output?)
}
