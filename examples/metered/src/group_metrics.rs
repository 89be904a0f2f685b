//! An observer that keeps the metrics of a group, for whatever recorder the program has installed.

use std::collections::BTreeMap;
use std::time::Instant;

use errgroup::{Event, Observer, Outcome};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// The names of the metrics. Each has a label `group`.
pub(crate) const QUEUED: &str = "errgroup_queued";
pub(crate) const RUNNING: &str = "errgroup_running";
pub(crate) const WAIT: &str = "errgroup_wait_seconds";
pub(crate) const RUN: &str = "errgroup_run_seconds";
pub(crate) const CHILDREN: &str = "errgroup_children_total";
pub(crate) const REJECTED: &str = "errgroup_rejected_total";

/// Keeps the metrics of a group. Several groups may have the same label: their numbers are added.
///
/// | metric | is |
/// | --- | --- |
/// | the gauge `errgroup_queued` | how many children wait in the queue |
/// | the gauge `errgroup_running` | how many run |
/// | the histogram `errgroup_wait_seconds` | how long children that were queued have waited, until they started |
/// | the histogram `errgroup_run_seconds` | how long children have run, whatever came of them |
/// | the counter `errgroup_children_total` | how many have ended; the label `outcome` is `ok`, `failed`, `panicked` or `dropped` |
/// | the counter `errgroup_rejected_total` | how many were not accepted |
///
/// A group tells its events when it is polled, so a time is as exact as the group is polled soon.
pub(crate) struct GroupMetrics {
    queued: Gauge,
    running: Gauge,
    wait: Histogram,
    run: Histogram,
    rejected: Counter,
    outcomes: [Counter; 4],
    /// When the children in the queue have come, by their number there.
    queued_at: BTreeMap<usize, Instant>,
    /// When the running children have started, by their index.
    started_at: BTreeMap<usize, Instant>,
}

impl GroupMetrics {
    /// Makes an observer for a group with this label. The recorder has to be installed before.
    pub(crate) fn new(group: &'static str) -> Self {
        let outcomes = ["ok", "failed", "panicked", "dropped"];
        Self {
            queued: gauge!(QUEUED, "group" => group),
            running: gauge!(RUNNING, "group" => group),
            wait: histogram!(WAIT, "group" => group),
            run: histogram!(RUN, "group" => group),
            rejected: counter!(REJECTED, "group" => group),
            outcomes: outcomes.map(|it| counter!(CHILDREN, "group" => group, "outcome" => it)),
            queued_at: BTreeMap::new(),
            started_at: BTreeMap::new(),
        }
    }

    /// Takes a child out of the queue; returns when it has come.
    fn leave_queue(&mut self, queue_index: Option<usize>) -> Option<Instant> {
        let queued_at = self.queued_at.remove(&queue_index?)?;
        self.queued.decrement(1);
        Some(queued_at)
    }

    fn count(&self, outcome: Outcome) {
        let [ok, failed, panicked, dropped] = &self.outcomes;
        match outcome {
            Outcome::Ok => ok.increment(1),
            Outcome::Failed => failed.increment(1),
            Outcome::Panicked => panicked.increment(1),
            _ => dropped.increment(1),
        }
    }
}

impl Observer for GroupMetrics {
    fn on_event(&mut self, event: &Event) {
        let now = Instant::now();
        match event {
            Event::Queued { queue_index, .. } => {
                self.queued_at.insert(*queue_index, now);
                self.queued.increment(1);
            }
            Event::Started { index, queue_index, .. } => {
                if let Some(queued_at) = self.leave_queue(*queue_index) {
                    self.wait.record(now - queued_at);
                }
                self.started_at.insert(*index, now);
                self.running.increment(1);
            }
            Event::Finished { index, queue_index, outcome, .. } => {
                self.leave_queue(*queue_index);
                if let Some(started_at) = index.and_then(|it| self.started_at.remove(&it)) {
                    self.run.record(now - started_at);
                    self.running.decrement(1);
                }
                self.count(*outcome);
            }
            Event::Rejected { .. } => self.rejected.increment(1),
            _ => {}
        }
    }
}

/// What is left if the group's observer panicked, or one beside it: the gauges don't keep it.
impl Drop for GroupMetrics {
    fn drop(&mut self) {
        self.queued.decrement(self.queued_at.len() as f64);
        self.running.decrement(self.started_at.len() as f64);
    }
}
