//! The table of the memory that waiting children take.

use std::env;
use std::process::Command;

use crate::common::counts::Counts;
use crate::common::go::Figures;
use crate::common::machine;
use crate::common::table::{bold_if_ours, dash, few, grid, number};
use crate::common::workload::{Meter, Workload};
use crate::workloads::memory::CHILD;

/// A contender's bytes for each child, beyond the child itself.
pub(crate) struct Bytes {
    pub(crate) name: String,
    /// The bytes that were asked of the allocator.
    pub(crate) asked: Option<f64>,
    /// The most of them at a time, while the set grew.
    pub(crate) peak: Option<f64>,
    /// The bytes by which the process has grown.
    pub(crate) resident: Option<f64>,
    pub(crate) allocations: Option<f64>,
}

pub(crate) fn measure(workload: &Workload, counts: &Counts, go: &Figures) -> Vec<Bytes> {
    let each = |bytes: f64| bytes / workload.units as f64;
    let beyond = |bytes: f64| each(bytes) - CHILD as f64;
    let mut rows: Vec<_> = (workload.contenders.iter())
        .map(|contender| {
            let count = counts.get(&workload.name, &contender.name);
            Bytes {
                name: contender.name.clone(),
                asked: count.map(|count| beyond(count.live as f64)),
                peak: count.map(|count| beyond(count.peak as f64)),
                resident: in_another_process(&contender.name).map(beyond),
                allocations: count.map(|count| each(count.allocations as f64)),
            }
        })
        .collect();
    rows.extend(go.get("parked/bytes").map(|bytes| Bytes {
        name: "Go, a goroutine".into(),
        asked: None,
        peak: None,
        resident: Some(bytes),
        allocations: None,
    }));
    rows
}

pub(crate) fn markdown(workload: &Workload, rows: &[Bytes]) -> String {
    let mut lines = vec![
        ["", "resident", "asked for", "asked for, at the peak", "allocations a child"]
            .map(String::from),
    ];
    for row in rows {
        let name = bold_if_ours(&row.name);
        let cell = |bytes: Option<f64>| bytes.map_or_else(dash, number);
        let allocations = row.allocations.map_or_else(dash, few);
        lines.push([name, cell(row.resident), cell(row.asked), cell(row.peak), allocations]);
    }
    format!("### {}: {}\n\n{}", workload.name, workload.title, grid(&lines))
}

/// Starts this program anew for a contender, so that no other contender's memory is reused.
fn in_another_process(contender: &str) -> Option<f64> {
    let program = env::current_exe().ok()?;
    let output = Command::new(program).args(["--resident", contender]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Runs a contender in that process, and prints by how many bytes it has grown.
pub(crate) fn print_resident(mut workload: Workload, contender: &str) {
    let mut growth = Growth(None);
    for found in workload.contenders.iter_mut().filter(|found| found.name == contender) {
        (found.run)(&mut growth);
    }
    if let Some(bytes) = growth.0 {
        println!("{bytes}");
    }
}

struct Growth(Option<u64>);

impl Meter for Growth {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        let before = machine::resident();
        part();
        self.0 =
            machine::resident().zip(before).map(|(after, before)| after.saturating_sub(before));
    }
}
