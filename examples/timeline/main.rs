//! Draws who ran when in a group: the picture in the README.
//!
//! ```sh
//! cargo run --release --example timeline docs/timeline.svg    # without a path: to stdout
//! ```
//!
//! The work is real, the instants are measured: children digest files of this repository, a KiB
//! at a time, at the pace of a slow line. Some weigh two, one has a priority, one is a daemon; the
//! limit is raised while they run; one expects another digest than it finds, and fails. The
//! others are told, and have a grace to put away what they have; one that doesn't listen is cut
//! off.
//!
//! All that the picture shows, an [`Observer`](errgroup::Observer) has heard. `picture.rs` draws
//! it.

mod picture;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use errgroup::{CancelToken, Event, Group, Task, task};
use sha2::{Digest, Sha256};
use smol::Timer;

use crate::picture::{Legend, Moment};

/// How long a KiB takes.
const PACE: Duration = Duration::from_millis(10);

/// How long children may run after the stop.
const GRACE: Duration = Duration::from_millis(300);

/// A file to digest, over and over, until that makes so many KiB.
#[derive(Clone, Copy)]
struct File {
    path: &'static str,
    kib: usize,
    weight: usize,
    /// Whether it stops when it is told to.
    listens: bool,
    /// What its digest should begin with, if that is known.
    digest: Option<&'static str>,
}

const fn file(path: &'static str, kib: usize, weight: usize) -> File {
    File { path, kib, weight, listens: true, digest: None }
}

/// What is queued at the beginning.
const FILES: [File; 10] = [
    file("lib.rs", 36, 1),
    file("slab.rs", 46, 2),
    file("kind.rs", 40, 1),
    file("handle.rs", 50, 2),
    file("bell.rs", 36, 1),
    File { listens: false, ..file("stats.rs", 99, 2) },
    File { digest: Some("0000"), ..file("task.rs", 20, 1) },
    file("error.rs", 60, 1),
    file("panic.rs", 40, 2),
    file("signal.rs", 10, 1),
];

const URGENT: File = file("reason.rs", 22, 1);

impl File {
    fn into_task(
        self,
        token: CancelToken,
    ) -> Task<impl Future<Output = Result<(), String>> + Send> {
        task(self.digest(token)).name(self.path).weight(self.weight)
    }

    async fn digest(self, token: CancelToken) -> Result<(), String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(self.path);
        let content = fs::read(path).map_err(|error| format!("{}: {error}", self.path))?;
        let mut hasher = Sha256::new();
        for block in content.chunks(1024).cycle().take(self.kib) {
            if self.listens && token.is_cancelled() {
                Timer::after(12 * PACE).await; // puts away what it has
                return Ok(());
            }
            hasher.update(block);
            Timer::after(PACE).await;
        }
        let found = format!("{:x}", hasher.finalize());
        match self.digest {
            Some(expected) if !found.starts_with(expected) => {
                Err(format!("{} is not what it was", self.path))
            }
            _ => Ok(()),
        }
    }
}

/// Runs the group; gives what its observer heard, and when.
async fn record() -> Vec<Moment> {
    let moments = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&moments);
    let begin = Instant::now();
    let group = Group::new().with_limit(4).with_grace(|| Timer::after(GRACE)).with_observer(
        move |event: &Event| {
            let moment = Moment { at: begin.elapsed(), event: event.clone() };
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(moment);
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
        eprintln!("timeline: {error}, as was to be");
    }
    let mut moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *moments)
}

fn main() -> ExitCode {
    let moments = smol::block_on(record());
    let weight =
        |name: &str| FILES.iter().find(|file| file.path == name).map_or(1, |file| file.weight);
    let legend = Legend { limit: 4, grace: GRACE, weight: &weight, urgent: URGENT.path };
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
