//! The example `metered`, started as a program.

use std::collections::BTreeMap;
use std::process::Command;

/// Returns the metrics that the program prints, by their names and labels.
fn metered(args: &[&str]) -> BTreeMap<String, f64> {
    let output = Command::new(env!("CARGO_BIN_EXE_metered")).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_string(), value.parse().unwrap())
    };
    samples.map(sample).collect()
}

fn of(metrics: &BTreeMap<String, f64>, name: &str) -> f64 {
    *metrics.get(name).unwrap_or_else(|| panic!("{name} is not in {metrics:?}"))
}

fn outcome(metrics: &BTreeMap<String, f64>, outcome: &str) -> f64 {
    of(metrics, &format!("errgroup_children_total{{group=\"jobs\",outcome=\"{outcome}\"}}"))
}

#[test]
fn outcomes_are_counted_and_times_are_in_histograms() {
    let metrics = metered(&["--jobs", "100", "--limit", "10", "--bad", "4"]);
    let outcomes = ["ok", "failed", "panicked", "dropped"].map(|it| outcome(&metrics, it));
    assert_eq!(outcomes, [75.0, 25.0, 0.0, 0.0]);
    // All that were queued have waited, and all have run.
    assert_eq!(of(&metrics, "errgroup_wait_seconds_count{group=\"jobs\"}"), 90.0);
    assert_eq!(of(&metrics, "errgroup_run_seconds_count{group=\"jobs\"}"), 100.0);
    // Each takes 2 ms at least: 10 at a time, so the last ones wait for 9 others.
    let below = |name: &str, bound: &str| {
        of(&metrics, &format!("errgroup_{name}_seconds_bucket{{group=\"jobs\",le=\"{bound}\"}}"))
    };
    assert_eq!(below("run", "0.001"), 0.0);
    assert!(below("wait", "0.01") < 90.0, "{metrics:?}");
    assert!(of(&metrics, "errgroup_run_seconds_sum{group=\"jobs\"}") >= 0.2);
    // Nothing is left.
    assert_eq!(of(&metrics, "errgroup_queued{group=\"jobs\"}"), 0.0);
    assert_eq!(of(&metrics, "errgroup_running{group=\"jobs\"}"), 0.0);
    assert_eq!(of(&metrics, "errgroup_rejected_total{group=\"jobs\"}"), 0.0);
}

#[test]
fn what_the_deadline_drops_leaves_the_gauges_and_is_counted() {
    let metrics = metered(&["--jobs", "10000", "--limit", "2", "--time", "50", "--bad", "0"]);
    let (ok, dropped) = (outcome(&metrics, "ok"), outcome(&metrics, "dropped"));
    assert_eq!((ok + dropped, outcome(&metrics, "failed")), (10_000.0, 0.0));
    assert!(dropped > 9_000.0, "{metrics:?}");
    // Those that were dropped from the queue have neither started nor run.
    let runs = of(&metrics, "errgroup_run_seconds_count{group=\"jobs\"}");
    assert!((ok..=ok + 2.0).contains(&runs), "{ok} {runs}");
    assert_eq!(of(&metrics, "errgroup_queued{group=\"jobs\"}"), 0.0);
    assert_eq!(of(&metrics, "errgroup_running{group=\"jobs\"}"), 0.0);
}

#[test]
fn without_jobs_there_is_nothing_to_count() {
    let metrics = metered(&["--jobs", "0"]);
    assert_eq!(outcome(&metrics, "ok"), 0.0);
}
