//! How the cost of a child, and the memory, grow with the size of the workload.
//!
//! `cargo bench --bench growth`, with the flags of `peers`.

// This benchmark needs only a part of the shared code.
#[allow(dead_code)]
#[path = "../common/mod.rs"]
mod common;
mod series;

use clap::Parser;

use common::args::Args;
use common::chart::lines::{Line, Lines, lines};
use common::counts::{self, Counts};
use common::measure::{Effort, Times, measure};
use common::table::{bold_if_ours, dash, grid, number, thousands};
use common::{docs, machine};
use series::Series;

/// A contender's numbers, size by size.
struct Growth {
    contender: String,
    /// `None` at the sizes that are too much for it.
    times: Vec<Option<Times>>,
    /// The most bytes live at a time, if they were counted.
    peaks: Vec<Option<u64>>,
}

const PICTURE: &str = "![Cost as the work grows](growth.svg)";

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let head = format!("# Cost as the work grows\n\n{}\n", machine::description());
    let mut page = String::new();
    let counts = counts::count("growth", &args.only);
    let effort = Effort::new(args.quick);
    let mut panels = Vec::new();
    for mut series in series::all() {
        series.points.retain(|(_, workload)| args.wants(&workload.name));
        if series.points.is_empty() {
            continue;
        }
        eprintln!("measuring {}", series.name);
        let growth = grow(&mut series, effort, &counts);
        page.push_str(&times(&series, &growth));
        page.push_str(&peaks(&series, &growth));
        panels.push(panel(&series, &growth));
    }
    println!("{head}{page}");
    if args.docs {
        docs::write("growth.md", &format!("{head}\n{PICTURE}\n{page}"))?;
        let note = "nanoseconds, the minimum of all rounds; lower is better, and flat is best";
        docs::write("growth.svg", &lines("Cost as the work grows", note, &panels))?;
    }
    Ok(())
}

fn grow(series: &mut Series, effort: Effort, counts: &Counts) -> Vec<Growth> {
    let mut growth: Vec<Growth> = Vec::new();
    let sizes = series.points.len();
    for (size, (_, workload)) in series.points.iter_mut().enumerate() {
        let times = measure(workload, effort);
        for (contender, times) in workload.contenders.iter().zip(times) {
            let name = &contender.name;
            let known = growth.iter().position(|growth| growth.contender == *name);
            let at = known.unwrap_or_else(|| {
                let (times, peaks) = (vec![None; sizes], vec![None; sizes]);
                growth.push(Growth { contender: name.clone(), times, peaks });
                growth.len() - 1
            });
            growth[at].times[size] = Some(times);
            let count = counts.get(&workload.name, name);
            growth[at].peaks[size] = count.map(|count| count.peak);
        }
    }
    growth
}

/// A table with a column for each size.
fn table(heading: &str, series: &Series, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut head = vec![series.size.to_string()];
    head.extend(series.points.iter().map(|&(size, _)| thousands(size)));
    let lines: Vec<_> = [head].into_iter().chain(rows).collect();
    format!("\n{heading}\n\n{}", grid(&lines))
}

fn times(series: &Series, growth: &[Growth]) -> String {
    let heading = format!(
        "## {}\n\nNanoseconds a {}: the minimum, and the median.",
        series.title, series.unit
    );
    let rows = growth.iter().map(|growth| {
        let cells = growth.times.iter();
        let cells = cells.map(|times| {
            times.map_or_else(dash, |it| format!("{}, {}", number(it.min), number(it.median)))
        });
        [bold_if_ours(&growth.contender)].into_iter().chain(cells).collect()
    });
    table(&heading, series, rows)
}

fn peaks(series: &Series, growth: &[Growth]) -> String {
    if growth.iter().all(|growth| growth.peaks.iter().all(Option::is_none)) {
        return String::new();
    }
    let rows = growth.iter().map(|growth| {
        let cells = growth.peaks.iter();
        let cells = cells.map(|peak| peak.map_or_else(dash, |peak| thousands(peak as usize)));
        [bold_if_ours(&growth.contender)].into_iter().chain(cells).collect()
    });
    table("The most bytes live at a time.", series, rows)
}

fn panel(series: &Series, growth: &[Growth]) -> Lines {
    let sizes = || series.points.iter().map(|&(size, _)| size as f64);
    let line = |growth: &Growth| Line {
        name: growth.contender.clone(),
        points: sizes()
            .zip(&growth.times)
            .filter_map(|(size, times)| Some((size, times.as_ref()?.min)))
            .collect(),
    };
    Lines {
        title: series.title.into(),
        across: series.size.into(),
        up: format!("ns a {}", series.unit),
        lines: growth.iter().map(line).collect(),
    }
}
