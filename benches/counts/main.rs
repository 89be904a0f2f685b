//! Counts the allocations of the other benchmarks' work, for them to print. Lines of work,
//! contender, allocations, the most bytes live at a time, the bytes live at the end.

// This one needs a part only of what they share.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../peers/works/mod.rs"]
mod peers;
#[allow(dead_code)]
#[path = "../growth/series.rs"]
mod series;

use allocation_counter::AllocationInfo;
use clap::Parser;

use common::args::Args;
use common::counts::{Count, line};
use common::work::{Meter, Work};

#[derive(Default)]
struct Counter(AllocationInfo);

impl Meter for Counter {
    fn measure(&mut self, part: &mut dyn FnMut()) {
        self.0 += allocation_counter::measure(part);
    }
}

fn main() {
    let args = Args::parse();
    let growing = series::all().into_iter().flat_map(|series| series.points);
    let works = peers::timed().chain([peers::memory::work()]).chain(growing.map(|(_, work)| work));
    for mut work in works.filter(|work| args.wants(&work.name)) {
        count(&mut work);
    }
}

fn count(work: &mut Work) {
    for contender in &mut work.contenders {
        // Once before: what is allocated once for ever is nobody's.
        (contender.run)(&mut Counter::default());
        let mut counter = Counter::default();
        (contender.run)(&mut counter);
        let info = counter.0;
        let count =
            Count { allocations: info.count_total, peak: info.bytes_max, live: info.bytes_current };
        println!("{}", line(&work.name, &contender.name, count));
    }
}
