//! The workloads, a file for each kind of them. A peer is one entry in such a file, or in
//! `crowd` for the workloads with many children.

mod crowd;
mod errors;
mod handle;
mod limits;
mod map;
pub(crate) mod memory;
mod mixed;
mod options;
mod parallel;
mod resources;
mod results;
mod ring;
mod small;
mod tokens;
mod woken;

use crate::common::workload::Workload;

/// The workloads that are timed.
pub(crate) fn timed() -> impl Iterator<Item = Workload> {
    [
        limits::workloads,
        map::workloads,
        mixed::workloads,
        woken::workloads,
        ring::workloads,
        errors::workloads,
    ]
    .into_iter()
    .chain([
        small::workloads,
        handle::workloads,
        parallel::workloads,
        tokens::workloads,
        results::workloads,
        resources::workloads,
        options::workloads,
    ])
    .flat_map(|workloads| workloads())
}
