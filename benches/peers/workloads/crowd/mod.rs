//! The contenders that run many children of one type, under a limit or without one.

mod ours;
mod sets;
mod streams;
mod tasks;

use std::future::Future;

use crate::common::children::Outcome;
use crate::common::table::thousands;
use crate::common::workload::Workload;

pub(crate) use ours::{feed, limited, queue};
pub(crate) use tasks::{join_set, join_set_with_permits, tracker_with_permits};

/// The description of a workload.
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) limit: Option<usize>,
    pub(crate) count: usize,
    /// `true` if a second thread may take part.
    pub(crate) parallel: bool,
    pub(crate) expected: Outcome,
}

impl Plan {
    pub(crate) fn new(
        name: impl Into<String>,
        what: impl Into<String>,
        limit: Option<usize>,
        count: usize,
    ) -> Self {
        // With one child at a time, a second thread only wakes the first.
        let parallel = limit != Some(1);
        Self { name: name.into(), what: what.into(), limit, count, parallel, expected: Ok(()) }
    }
}

/// Makes the workload of running all children of `source`, which makes equal ones each time.
pub(crate) fn workload<S, I>(plan: Plan, source: S) -> Workload
where
    S: Fn() -> I + Clone + 'static,
    I: Iterator + Send + 'static,
    I::Item: Future<Output = Outcome> + Send + 'static,
{
    let mut crowd = Crowd::new(&plan, source);
    ours::add(&mut crowd, plan.limit);
    peers(&mut crowd, &plan);
    crowd.workload
}

/// Adds the peers.
pub(crate) fn peers<S, I>(crowd: &mut Crowd<S>, plan: &Plan)
where
    S: Fn() -> I + Clone + 'static,
    I: Iterator + Send + 'static,
    I::Item: Future<Output = Outcome> + Send + 'static,
{
    streams::add(crowd, plan.limit);
    sets::add(crowd, plan.limit.unwrap_or(usize::MAX), plan.count);
    tasks::add(crowd, plan.limit, plan.parallel);
}

pub(crate) struct Crowd<S> {
    pub(crate) workload: Workload,
    source: S,
    expected: Outcome,
}

impl<S, I> Crowd<S>
where
    S: Fn() -> I + Clone + 'static,
    I: 'static,
{
    pub(crate) fn new(plan: &Plan, source: S) -> Self {
        let what = &plan.what;
        let title = match plan.limit {
            Some(limit) => format!("{what}, at most {} at a time", thousands(limit)),
            None => format!("{what}, all at once"),
        };
        let reference = match plan.limit {
            Some(_) => "errgroup unboxed, `feed`",
            None => "errgroup unboxed, `queue`",
        };
        let workload = Workload::new(&plan.name, title, plan.count, reference);
        Self { workload, source, expected: plan.expected }
    }

    /// Adds a contender: a function that runs the children.
    pub(crate) fn add(&mut self, name: &str, run: impl Fn(I) -> Outcome + 'static) {
        self.workload.add_prepared(name, self.source.clone(), run, self.expected);
    }
}
