//! Counts the allocations of the other benchmarks' workloads, which print them. Each line has a
//! workload, a contender, the allocations, the most bytes live at a time, and the bytes live at
//! the end.

// This benchmark needs only a part of the shared code.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../peers/workloads/mod.rs"]
mod peers;
#[allow(dead_code)]
#[path = "../growth/series.rs"]
mod series;

use allocation_counter::AllocationInfo;
use clap::Parser;

use common::args::Args;
use common::counts::{Count, line};
use common::workload::{Meter, Workload};

#[derive(Default)]
struct Counter(AllocationInfo);

impl Meter for Counter {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        self.0 += allocation_counter::measure(part);
    }
}

fn main() {
    let args = Args::parse();
    let is_of = |benchmark| args.of.as_deref().is_none_or(|of| of == benchmark);
    let beside_peers = peers::timed().chain([peers::memory::workload()]);
    let growing = series::all().into_iter().flat_map(|series| series.points);
    let growing = growing.map(|(_, workload)| workload);
    let workloads =
        beside_peers.filter(|_| is_of("peers")).chain(growing.filter(|_| is_of("growth")));
    for mut workload in workloads.filter(|workload| args.wants(&workload.name)) {
        count(&mut workload);
    }
}

fn count(workload: &mut Workload) {
    for contender in &mut workload.contenders {
        // Once before, for what is allocated once in the life of the process.
        (contender.run)(&mut Counter::default());
        let mut counter = Counter::default();
        (contender.run)(&mut counter);
        let info = counter.0;
        let count =
            Count { allocations: info.count_total, peak: info.bytes_max, live: info.bytes_current };
        println!("{}", line(&workload.name, &contender.name, count));
    }
}
