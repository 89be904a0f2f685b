//! This crate beside its peers, on the same workloads, in the same process.
//!
//! `cargo bench --bench peers`, with `-- --quick` for rough numbers, `-- --only limit64` for some
//! of the workloads, and `-- --docs` to write `docs/`.

// This benchmark needs only a part of the shared code.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;
mod memory;
mod pictures;
mod workloads;

use clap::Parser;

use common::args::Args;
use common::counts::{self, Counts};
use common::go::{self, Figures};
use common::measure::{Effort, measure};
use common::table::{Row, Table, summary};
use common::workload::Workload;
use common::{docs, machine};

const HEADING: &str = "\
**ours ÷ it** is the minimum time of our contender, the one with the ratio 1.00, divided by that of
the row: below 1 we are faster. All contenders of a table did the same work in one process, in
turn, round after round. Allocations are those of the thread that runs the workload, counted in
another process.";

const PICTURES: &str = "\
![What a child costs](peers.svg)

![What a waiting child costs](memory.svg)";

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(contender) = &args.resident {
        memory::print_resident(workloads::memory::workload(), contender);
        return Ok(());
    }
    let counts = counts::count("peers", &args.only);
    // Go's program takes most of a minute, and always does all of its workloads.
    let go = if args.quick || !args.only.is_empty() { Figures::default() } else { go::run() };
    let machine = machine::description();
    let head = format!("# This crate beside its peers\n\n{HEADING}\n\n{machine}{}\n", go.version());
    println!("{head}");

    let effort = Effort::new(args.quick);
    let mut tables = Vec::new();
    for mut workload in workloads::timed().filter(|workload| args.wants(&workload.name)) {
        let table = table(&mut workload, effort, &counts, &go);
        println!("{}", table.markdown());
        tables.push(table);
    }
    let mut parked = Vec::new();
    let mut parked_table = String::new();
    let workload = workloads::memory::workload();
    if args.wants(&workload.name) {
        parked = memory::measure(&workload, &counts, &go);
        parked_table = memory::markdown(&workload, &parked);
        println!("{parked_table}");
    }
    println!("{}", summary(&tables));

    if args.docs {
        let mut page = format!("{head}\n{PICTURES}\n\n{}", summary(&tables));
        for table in &tables {
            page.push_str(&format!("\n{}", table.markdown()));
        }
        docs::write("peers.md", &format!("{page}\n{parked_table}"))?;
        docs::write("peers.svg", &pictures::times(&tables))?;
        docs::write("memory.svg", &pictures::memory(&parked))?;
    }
    Ok(())
}

fn table(workload: &mut Workload, effort: Effort, counts: &Counts, go: &Figures) -> Table {
    let times = measure(workload, effort);
    let mut rows = Vec::new();
    for (contender, times) in workload.contenders.iter().zip(times) {
        let count = counts.get(&workload.name, &contender.name);
        rows.push(Row {
            name: contender.name.clone(),
            min: times.min,
            median: Some(times.median),
            allocations: count.map(|count| count.allocations as f64 / workload.units as f64),
        });
    }
    for (suffix, name) in [("1cpu", "Go `errgroup`, 1 CPU"), ("2cpu", "Go `errgroup`, 2 CPUs")] {
        let (figure, units) = &workload.go;
        if let Some(figure) = go.get(&format!("{figure}/{suffix}")) {
            let min = figure / *units as f64;
            rows.push(Row { name: name.into(), min, median: None, allocations: None });
        }
    }
    Table {
        name: workload.name.clone(),
        title: workload.title.clone(),
        unit: workload.unit,
        reference: workload.reference,
        rows,
    }
}
