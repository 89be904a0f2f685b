//! Keeps the metrics of a group through the crate `metrics`, and prints them as Prometheus reads
//! them.
//!
//! ```sh
//! cargo run -p metered
//! cargo run -p metered -- --jobs 2000 --limit 50 --time 1000
//! ```
//!
//! `group_metrics.rs` is the part to copy: an observer that says how many children wait and run,
//! how long, and how they end. `metrics` passes this on to the recorder that a program installs,
//! as `log` does with messages. Here it is that of Prometheus; a server would answer `/metrics`
//! with what is printed at the end.
//!
//! The jobs take a few milliseconds each; some fail, which does not stop the others. When the time
//! is over, those that are left are dropped.
#![forbid(unsafe_code)]

mod group_metrics;

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use errgroup::{Group, task};
use metrics::describe_counter;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use smol::Timer;

use crate::group_metrics::{CHILDREN, GroupMetrics, RUN, WAIT};

/// The upper bounds of the histograms' buckets, in seconds.
const BUCKETS: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// Runs jobs in a group, and prints its metrics.
#[derive(Parser)]
struct Args {
    /// How many jobs there are
    #[arg(long, default_value = "300")]
    jobs: u64,
    /// How many run at a time
    #[arg(long, default_value = "10")]
    limit: usize,
    /// Every so manieth job fails; 0: none
    #[arg(long, default_value = "7")]
    bad: u64,
    /// After so many milliseconds, the jobs that are left are dropped
    #[arg(long, default_value = "5000")]
    time: u64,
}

/// Makes the recorder of this program.
fn install() -> Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(WAIT.into()), &BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(RUN.into()), &BUCKETS)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    describe_counter!(CHILDREN, "How many children have ended, by their outcome.");
    Ok(handle)
}

async fn job(number: u64, args: &Args) -> Result<u64, u64> {
    Timer::after(Duration::from_micros(2000 + number % 5 * 1000)).await;
    if args.bad > 0 && number % args.bad == args.bad - 1 { Err(number) } else { Ok(number) }
}

async fn run(args: &Args) -> usize {
    let mut group = Group::new()
        .with_limit(args.limit)
        .with_deadline(Timer::after(Duration::from_millis(args.time)))
        .drop_on_stop()
        .settle()
        .with_observer(GroupMetrics::new("jobs"));
    for number in 0..args.jobs {
        group.queue(task(job(number, args)).name(format!("job {number}")));
    }
    group.await.len()
}

fn main() -> Result<()> {
    let args = Args::parse();
    let metrics = install()?;
    let ended = smol::block_on(run(&args));
    eprintln!("{ended} of {} jobs have ended", args.jobs);
    print!("{}", metrics.render());
    Ok(())
}
