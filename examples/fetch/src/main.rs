//! Downloads the files of a list: some at a time, a few from each host, so many starts a second.
//!
//! It shows a limit by key (the host), a gate (the rate), a deadline, errors that say which file
//! failed while the others go on, retries by `backon`, and bars by `indicatif`: one for each file
//! and one for all. A download that was interrupted goes on where it ended, and a file counts only
//! if its checksum is right.
//!
//! ```sh
//! cargo run -p fetch                               # files that it serves itself, on loopback
//! cargo run -p fetch -- LIST --out DIR --per-host 4 --rate 50 --deadline 60
//! ```
//!
//! A line of LIST is an URL, then the SHA-256 of the file in hexadecimal digits, if it is known.
//! The exit code is 0 if all files are there, 1 if one is missing, and 2 for bad arguments.
#![forbid(unsafe_code)]

mod download;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use errgroup::{Group, Reason, task};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep, sleep_until};

use crate::download::{Client, File};

/// Downloads the files of a list.
#[derive(Parser)]
struct Args {
    /// The list; without it, files are served on loopback and downloaded
    list: Option<PathBuf>,
    /// Where the files go
    #[arg(long, default_value = "target/fetched", value_name = "DIR")]
    out: PathBuf,
    /// The most downloads at a time
    #[arg(long, default_value_t = 8, value_parser = from_1)]
    limit: usize,
    /// The most downloads at a time from each host
    #[arg(long, default_value_t = 2, value_parser = from_1)]
    per_host: usize,
    /// The most downloads that start in a second
    #[arg(long, default_value_t = 50, value_parser = from_1)]
    rate: usize,
    /// How many seconds all of it may take
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    deadline: u64,
}

fn from_1(arg: &str) -> Result<usize, &'static str> {
    arg.parse().ok().filter(|&n| n > 0).ok_or("must be a whole number from 1")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(Args::parse()).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

async fn run(args: Args) -> Result<ExitCode> {
    let list = match &args.list {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => server::serve().await?,
    };
    let files = list.lines().map(File::parse).collect::<Result<Vec<_>>>()?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;

    let bars = MultiProgress::new();
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} files, {elapsed}")?;
    let all = bars.add(ProgressBar::new(files.len() as u64).with_style(style));
    let client = Client::new(&args.out, &bars);

    let pause = Duration::from_secs(1) / u32::try_from(args.rate)?;
    let mut next = Instant::now();
    let mut group = Group::new()
        .with_limit(args.limit)
        .with_key_limit(args.per_host)
        .with_gate(move |_| {
            let turn = next.max(Instant::now());
            next = turn + pause;
            sleep_until(turn)
        })
        .with_deadline(sleep(Duration::from_secs(args.deadline)))
        .drop_on_stop() // what has come is on the disk, for the next time; told below
        .all_errors()
        .named();
    for file in &files {
        let child = async {
            let how = client.fetch(file).await?;
            bars.println(format!("{}: {how}", file.name))?;
            if bars.is_hidden() {
                println!("{}: {how}", file.name);
            }
            all.inc(1);
            anyhow::Ok(())
        };
        group.queue(task(child).name(file.url.clone()).key(file.host.clone()));
    }
    let result = (&mut group).await;
    all.abandon();

    for failure in result.err().into_iter().flatten() {
        eprintln!("{}: {:#}", failure.name().unwrap_or_default(), failure.error());
    }
    if group.token().reason() == Some(Reason::Deadline) {
        eprintln!("the deadline has passed");
    }
    let there = group.stats().ok;
    println!("{there} of {} files are there", files.len());
    Ok(if there == files.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
