//! Draws which children of a group ran when: the picture in the README.
//!
//! ```sh
//! cargo run --release --example timeline docs/timeline.svg    # without a path: to stdout
//! ```
//!
//! The work is real, and the times are measured. Children digest files of this repository, a KiB
//! at a time, at the pace of a slow connection. Some have a weight of two, one has a priority, one
//! is a daemon, and the limit is raised while they run. One finds another digest than it expects,
//! and fails. The others are told, and have a grace to clean up; one that doesn't listen is
//! dropped at its end.
//!
//! The picture shows nothing but the events of an [`Observer`](errgroup::Observer). `picture.rs`
//! draws them.

mod picture;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use errgroup::{CancelToken, Event, Group, Task, task};
use sha2::{Digest, Sha256};
use smol::Timer;
use walkdir::WalkDir;

use crate::picture::{Legend, Moment};

/// How long a KiB takes.
const PACE: Duration = Duration::from_millis(10);

/// How long children may run after the stop.
const GRACE: Duration = Duration::from_millis(300);

/// A file to digest, again and again, up to a number of KiB.
#[derive(Clone, Copy)]
struct File {
    name: &'static str,
    kib: usize,
    weight: usize,
    /// `true` if it stops when it is told to.
    listens: bool,
    /// How its digest should begin, if that is known.
    digest: Option<&'static str>,
}

const fn file(name: &'static str, kib: usize, weight: usize) -> File {
    File { name, kib, weight, listens: true, digest: None }
}

/// The files that are queued at the beginning.
const FILES: [File; 10] = [
    file("lib.rs", 36, 1),
    file("slab.rs", 46, 2),
    file("node.rs", 40, 1),
    file("handle.rs", 50, 2),
    file("lock.rs", 36, 1),
    File { listens: false, ..file("stats.rs", 99, 2) },
    File { digest: Some("0000"), ..file("task.rs", 20, 1) },
    file("error.rs", 60, 1),
    file("panic.rs", 40, 2),
    file("guard.rs", 10, 1),
];

const URGENT: File = file("reason.rs", 22, 1);

impl File {
    fn into_task(
        self,
        token: CancelToken,
    ) -> Task<impl Future<Output = Result<(), String>> + Send> {
        task(self.digest(token)).name(self.name).weight(self.weight)
    }

    async fn digest(self, token: CancelToken) -> Result<(), String> {
        let content = self.read().map_err(|error| format!("{}: {error}", self.name))?;
        let mut hasher = Sha256::new();
        for block in content.chunks(1024).cycle().take(self.kib) {
            if self.listens && token.is_cancelled() {
                Timer::after(12 * PACE).await; // it cleans up
                return Ok(());
            }
            hasher.update(block);
            Timer::after(PACE).await;
        }
        let found = format!("{:x}", hasher.finalize());
        match self.digest {
            Some(expected) if !found.starts_with(expected) => {
                Err(format!("{} is not what it was", self.name))
            }
            _ => Ok(()),
        }
    }

    /// Reads the file, whichever folder of `src/` it is in.
    fn read(&self) -> io::Result<Vec<u8>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = WalkDir::new(root).into_iter().filter_map(Result::ok);
        let file = files.find(|file| file.file_name() == self.name);
        fs::read(file.ok_or(io::ErrorKind::NotFound)?.path())
    }
}

/// Runs the group; returns the events of its observer, with their times.
async fn record() -> Vec<Moment> {
    let moments = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&moments);
    let begin = Instant::now();
    let group = Group::new().with_limit(4).with_grace(|| Timer::after(GRACE)).with_observer(
        move |event: &Event| {
            let moment = Moment { at: begin.elapsed(), event: event.clone() };
            record.lock().unwrap_or_else(PoisonError::into_inner).push(moment);
        },
    );
    let token = group.token().clone();
    let ((), output) = group
        .scope(async |handle| {
            let reports = token.clone();
            let reporter = async move {
                reports.cancelled().await;
                Ok(())
            };
            handle.queue(task(reporter).name("a daemon").daemon());
            for file in FILES {
                handle.queue(file.into_task(token.clone()));
            }
            Timer::after(12 * PACE).await;
            handle.queue(URGENT.into_task(token.clone()).priority(1));
            Timer::after(52 * PACE).await;
            handle.set_limit(Some(6));
        })
        .await;
    if let Err(error) = output {
        eprintln!("timeline: {error}, as intended");
    }
    let mut moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *moments)
}

fn main() -> ExitCode {
    let moments = smol::block_on(record());
    let weight =
        |name: &str| FILES.iter().find(|file| file.name == name).map_or(1, |file| file.weight);
    let legend = Legend { limit: 4, grace: GRACE, weight: &weight, urgent: URGENT.name };
    let svg = picture::draw(&moments, &legend);
    let written = match std::env::args_os().nth(1) {
        Some(path) => fs::write(path, svg),
        None => {
            use std::io::Write;
            std::io::stdout().write_all(svg.as_bytes())
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("timeline: {error}");
            ExitCode::FAILURE
        }
    }
}
