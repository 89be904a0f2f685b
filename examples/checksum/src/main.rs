//! Digests every file below a folder, a few at a time on all processors, and prints what
//! `sha256sum` prints, in path order.
//!
//! ```sh
//! cargo run --release -p checksum                # the current folder
//! cargo run --release -p checksum -- --limit 4 --keep-going DIR
//! cargo run --release -p checksum -- DIR | sha256sum --check --quiet
//! ```
//!
//! [`digest_all`] is the part that uses errgroup. A group with a limit is fed a stream. It asks
//! the stream for a child only when there is room for it, so a tree of any size is never in
//! memory. The children share one task, so each moves its blocking calls to a thread. The first
//! child that fails stops the group, and the group's token tells the threads.
//!
//! `report.rs` shows a [`Policy`](errgroup::Policy): it receives the result of each child, prints
//! the lines in order, and says when to stop. `files.rs` finds the files.
//!
//! Below a folder, regular files are digested. Links are not followed, and devices, sockets and
//! pipes are skipped, as is the file that the output goes to. Paths are ordered by their bytes, as
//! `LC_ALL=C sort` does, and written as by coreutils 9: a backslash in front of the line says that
//! `\\`, `\n` and `\r` stand for such bytes.
//!
//! The exit code is 0; 1 if a file or a folder could not be read; or 2 for arguments that make no
//! sense. A reader that closes the pipe early is no error.

mod files;
mod report;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, bail};
use clap::Parser;
use errgroup::{CancelToken, Group};
use futures_lite::{StreamExt, future};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use crate::files::FoundFile;
use crate::report::{Line, Report};

/// Digests every file below a folder and prints what `sha256sum` prints, in path order.
#[derive(Parser)]
#[command(name = "checksum")]
struct Args {
    /// A folder, or a single file
    #[arg(default_value = ".")]
    path: PathBuf,

    /// Digest at most N files at a time (twice the processors; the pool has 500 threads)
    #[arg(long, value_name = "N", value_parser = at_least_one, hide_default_value = true)]
    #[arg(default_value_t = twice_the_processors())]
    limit: usize,

    /// Go on past what can't be read, and list it at the end
    #[arg(long)]
    keep_going: bool,
}

/// Feeds the files at `root` to a group that digests `limit` of them at a time.
async fn digest_all(root: PathBuf, limit: usize, report: Report) -> Vec<anyhow::Error> {
    let bar = report.bar();
    let mut group = Group::unboxed().with_limit(limit).with_policy(report);
    let token = group.token().clone();

    let children = files::below(root).map(|file| {
        let (token, bar) = (token.clone(), bar.clone());
        async move {
            let file = file?; // a folder that can't be read is a child that fails
            blocking::unblock(move || digest(file, &token, &bar)).await // on a thread of a pool
        }
    });

    group.feed(children).await; // to the last file, or until the group stops
    group.await // the errors, as the report collected them
}

/// Digests a file into a line of output. Blocks its thread, and looks at the token meanwhile, so
/// that a stopped group does not wait for the rest of a large file.
fn digest(file: FoundFile, token: &CancelToken, bar: &ProgressBar) -> anyhow::Result<Line> {
    let mut content = File::open(&file.path).with_context(|| files::shown(&file.path))?;
    let mut hasher = Sha256::new();
    let mut block = [0; 1 << 15];
    while !token.is_cancelled() {
        match content.read(&mut block) {
            Ok(0) => return Ok(Line::new(&format!("{:x}", hasher.finalize()), file)),
            Ok(length) => {
                hasher.update(&block[..length]);
                bar.inc(length as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(|| files::shown(&file.path)),
        }
    }
    bail!("{} was left unfinished", files::shown(&file.path))
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(help) if !help.use_stderr() => help.exit(),
        Err(error) => {
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            return complain(first.trim_start_matches("error: "), 2);
        }
    };
    if let Err(error) = fs::metadata(&args.path) {
        return complain(format_args!("{}: {error}", files::shown(&args.path)), 2);
    }
    let report = Report::new(args.keep_going);
    let errors = future::block_on(digest_all(args.path, args.limit, report));
    let mut code = ExitCode::SUCCESS;
    for error in &errors {
        code = complain(format_args!("{error:#}"), 1);
    }
    code
}

/// Writes a line to stderr; it does not matter if that is closed too.
fn complain(what: impl std::fmt::Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "checksum: {what}");
    ExitCode::from(code)
}

fn at_least_one(limit: &str) -> Result<usize, String> {
    match limit.parse() {
        Ok(0) => Err("at least one file must be let in at a time".into()),
        Ok(limit) => Ok(limit),
        Err(error) => Err(format!("{error}")),
    }
}

fn twice_the_processors() -> usize {
    2 * thread::available_parallelism().map_or(1, usize::from)
}
