//! Draws which children of a group ran when, from a record of its events: the picture in the
//! README.
//!
//! ```sh
//! cargo run --release -p timeline docs/timeline.svg    # without a path: to stdout
//! cargo run --release -p timeline -- --from run.jsonl run.svg
//! program | cargo run --release -p timeline -- --from - run.svg
//! ```
//!
//! A record is what the observer [`JsonLines`] writes. The picture shows the running children, each
//! as high as its weight, and the waiting ones above them; the colours of their keys; the limit and
//! its changes; how each child ended; the stop. Under the pointer, each child says its times, and
//! how long it has waited.
//!
//! Without `--from`, the program records work of its own, which is real, and whose times are
//! measured. Children digest files of this repository, a KiB at a time, at the pace of a slow
//! connection. Some have a weight of two, one has a priority, one is a daemon, and the limit is
//! raised while they run. One finds another digest than it expects, and fails. The others are told,
//! and have a grace to clean up; one that doesn't listen is dropped at its end. `--record FILE`
//! keeps the record.
//!
//! `record.rs` reads the record, and `picture.rs` draws it.

mod picture;
mod record;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use errgroup::{CancelToken, Group, JsonLines, Task, task};
use sha2::{Digest, Sha256};
use smol::Timer;
use walkdir::WalkDir;

/// Draws which children of a group ran when.
#[derive(Parser)]
struct Args {
    /// The file for the picture, an SVG; without it, it goes to stdout
    out: Option<PathBuf>,
    /// The record to draw, as lines of JSON; `-` is stdin
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Keeps the record of the work that this program does itself
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    record: Option<PathBuf>,
}

/// How long a KiB takes.
const PACE: Duration = Duration::from_millis(10);

/// How long children may run after the stop.
const GRACE: Duration = Duration::from_millis(300);

/// A file to digest, again and again, up to a number of KiB.
#[derive(Clone, Copy)]
struct Source {
    name: &'static str,
    kib: usize,
    weight: usize,
    /// `true` if it stops when it is told to.
    listens: bool,
    /// How its digest should begin, if that is known.
    digest: Option<&'static str>,
}

const fn file(name: &'static str, kib: usize, weight: usize) -> Source {
    Source { name, kib, weight, listens: true, digest: None }
}

/// The files that are queued at the beginning.
const SOURCES: [Source; 10] = [
    file("lib.rs", 36, 1),
    file("slab.rs", 46, 2),
    file("node.rs", 40, 1),
    file("handle.rs", 50, 2),
    file("lock.rs", 36, 1),
    Source { listens: false, ..file("stats.rs", 99, 2) },
    Source { digest: Some("0000"), ..file("task.rs", 20, 1) },
    file("error.rs", 60, 1),
    file("panic.rs", 40, 2),
    file("guard.rs", 10, 1),
];

const URGENT: Source = file("reason.rs", 22, 1);

impl Source {
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
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src");
        let mut files = WalkDir::new(root).into_iter().filter_map(Result::ok);
        let file = files.find(|file| file.file_name() == self.name);
        fs::read(file.ok_or(io::ErrorKind::NotFound)?.path())
    }
}

/// Runs the group; returns its record.
async fn record_own() -> String {
    let lines = Arc::new(Mutex::new(String::new()));
    let begin = Instant::now();
    let (writes, notes) = (Arc::clone(&lines), Arc::clone(&lines));
    let observer = JsonLines::new(
        move || begin.elapsed(),
        move |line: &str| add_line(&writes, format_args!("{line}")),
    );
    let grace = move || async move {
        Timer::after(GRACE).await;
        let at = begin.elapsed().as_secs_f64();
        let note = r#""event":"note","text":"grace over""#;
        add_line(&notes, format_args!("{{\"at\":{at},{note}}}"));
    };
    let group = Group::new().with_limit(4).with_grace(grace).with_observer(observer.with_limit(4));
    let token = group.token().clone();
    let ((), output) = group
        .scope(async |handle| {
            let reports = token.clone();
            let reporter = async move {
                reports.cancelled().await;
                Ok(())
            };
            handle.queue(task(reporter).name("a daemon").daemon());
            for source in SOURCES {
                handle.queue(source.into_task(token.clone()));
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
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *lines)
}

fn add_line(lines: &Mutex<String>, line: std::fmt::Arguments<'_>) {
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = writeln!(lines, "{line}");
}

/// Reads a record, or makes one; draws it. An error says what was wrong with which file.
fn run(args: &Args) -> Result<(), String> {
    let moments = match &args.from {
        Some(path) if path.as_os_str() == "-" => {
            record::read(io::stdin().lock()).map_err(|error| format!("stdin: {error}"))?
        }
        Some(path) => File::open(path)
            .map_err(record::Error::Io)
            .and_then(|file| record::read(BufReader::new(file)))
            .map_err(|error| format!("{}: {error}", path.display()))?,
        None => {
            let lines = smol::block_on(record_own());
            if let Some(path) = &args.record {
                fs::write(path, &lines).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            record::read(lines.as_bytes()).map_err(|error| error.to_string())?
        }
    };
    let svg = picture::draw(&moments);
    match &args.out {
        Some(path) => fs::write(path, svg).map_err(|error| format!("{}: {error}", path.display())),
        None => io::stdout().write_all(svg.as_bytes()).map_err(|error| format!("stdout: {error}")),
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("timeline: {error}");
            ExitCode::FAILURE
        }
    }
}
