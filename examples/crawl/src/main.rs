//! Crawls a site over HTTP: children of a group that add children to it.
//!
//! Every page is a child. Once it has been read, it queues a child for each link that is new. The
//! group ends when no child runs and none waits. On the way it shows:
//!
//! - a [`Handle`](errgroup::Handle) inside the children, and the group's limit as the limit
//!   on requests ([`crawl`]);
//! - politeness: a limit on the requests to each host, whose name is the key of a visit, and a gate
//!   that bounds the requests in a second;
//! - children that borrow from their caller and share a `RefCell`: they all run in one task, so
//!   nothing needs a lock or an `Arc`;
//! - which failures are errors of the group and which are not: a dead link is a result; a start
//!   page that can't be read, or an output that can't be written, ends the crawl.
//!
//! ```sh
//! cargo run -p crawl                   # a site that the example itself serves on loopback
//! cargo run -p crawl -- --limit 8 --per-host 2 --rate 100
//! cargo run -p crawl -- --url http://127.0.0.1:8000/
//! ```
//!
//! It stays on the scheme, host and port of the start page; `--url` may be given several times. The
//! exit code is 0 after a crawl, with dead links or without; 1 if a start page could not be read; 2
//! for bad arguments.
#![forbid(unsafe_code)]

mod crawl;
mod fetch;
mod links;
mod site;

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use url::Url;

use crate::crawl::{Crawl, Limits};
use crate::fetch::Fetcher;
use crate::site::Site;

/// Crawls a site and lists its dead links.
#[derive(Parser)]
struct Args {
    /// Where to start, once or several times; without it, a site is served on loopback and crawled
    #[arg(long, value_parser = http_url)]
    url: Vec<Url>,
    /// The most requests at once
    #[arg(long, default_value = "8", value_parser = limit)]
    limit: NonZeroUsize,
    /// The most requests at once to one host
    #[arg(long, value_parser = limit)]
    per_host: Option<NonZeroUsize>,
    /// The most requests in a second
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// How many seconds a page may take
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    timeout: Duration,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            // The first line says what is wrong; the usage after it would only hide that.
            eprintln!("{}", error.to_string().lines().next().unwrap_or_default());
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(args: Args) -> anyhow::Result<()> {
    let (mut starts, mut site) = (args.url, None);
    if starts.is_empty() {
        let served = site.insert(Site::serve().await?);
        starts.push(served.url().clone());
    }
    let limit = args.limit.get();
    let names: Vec<_> = starts.iter().map(Url::as_str).collect();
    writeln!(io::stdout(), "crawling {}", names.join(", "))?;

    let crawl = Crawl::new(starts, Fetcher::new(args.timeout));
    let per_host = args.per_host.map(NonZeroUsize::get);
    crawl.run(Limits { in_all: limit, per_host, rate: args.rate }).await?;

    let mut out = io::stdout().lock();
    let (pages, dead) = (crawl.pages(), crawl.dead_links());
    if !dead.is_empty() {
        writeln!(out, "dead links:")?;
    }
    for link in &dead {
        writeln!(out, "  {link}")?;
    }
    write!(out, "{pages} pages, {} dead links", dead.len())?;
    // Another site doesn't say which requests it saw.
    if let Some(site) = site {
        let seen = site.seen();
        writeln!(out, ", most requests at once: {} (limit {limit})", seen.most)?;
        writeln!(
            out,
            "the site was asked {} times for {} different pages",
            seen.requests, seen.different
        )?;
    } else {
        writeln!(out, " (limit {limit})")?;
    }
    Ok(())
}

fn http_url(arg: &str) -> Result<Url, String> {
    let url = Url::parse(arg).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" => Ok(url),
        other => Err(format!("{other} is not supported, only http is")),
    }
}

fn limit(arg: &str) -> Result<NonZeroUsize, &'static str> {
    arg.parse().map_err(|_| "must be a whole number from 1")
}

fn rate(arg: &str) -> Result<f64, &'static str> {
    let rate = arg.parse().ok().filter(|rate| (0.001..=1e6).contains(rate));
    rate.ok_or("must be a number from 0.001 to 1000000")
}

fn seconds(arg: &str) -> Result<Duration, &'static str> {
    let seconds = arg.parse().ok().filter(|&seconds| seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or("must be a number of seconds above 0")
}
