//! The numbers as Markdown.

use super::workload::{FLOOR, is_ours};

/// A contender's row.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) min: f64,
    /// `None` if another program measured it.
    pub(crate) median: Option<f64>,
    /// Allocations for each unit, if they were counted.
    pub(crate) allocations: Option<f64>,
}

impl Row {
    pub(crate) fn is_ours(&self) -> bool {
        is_ours(&self.name)
    }
}

/// The numbers of a workload.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) reference: &'static str,
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// Returns the time of our contender that the peers are compared with.
    pub(crate) fn ours(&self) -> Option<f64> {
        self.rows.iter().find(|row| row.name == self.reference).map(|row| row.min)
    }

    /// Returns the time of our contender, divided by this one's.
    pub(crate) fn ratio(&self, row: &Row) -> Option<f64> {
        Some(self.ours()? / row.min)
    }

    pub(crate) fn markdown(&self) -> String {
        let mut lines = vec![[
            String::new(),
            format!("ns a {}, minimum", self.unit),
            "median".into(),
            "ours ÷ it".into(),
            format!("allocations a {}", self.unit),
        ]];
        for row in &self.rows {
            lines.push([
                bold_if_ours(&row.name),
                number(row.min),
                row.median.map_or_else(dash, number),
                self.ratio(row).map_or_else(dash, |ratio| format!("{ratio:.2}")),
                row.allocations.map_or_else(dash, few),
            ]);
        }
        format!("### {}: {}\n\n{}", self.name, self.title, grid(&lines))
    }
}

/// Makes our rows bold, so that they are found at a glance.
pub(crate) fn bold_if_ours(name: &str) -> String {
    if is_ours(name) { format!("**{name}**") } else { name.to_string() }
}

pub(crate) fn dash() -> String {
    "–".into()
}

/// Writes a number with three significant digits, or with all digits before the point.
pub(crate) fn number(number: f64) -> String {
    match number {
        n if n < 10.0 => format!("{n:.2}"),
        n if n < 100.0 => format!("{n:.1}"),
        n => thousands(n.round() as usize),
    }
}

/// Writes a number that may be 0 and is seldom large.
pub(crate) fn few(number: f64) -> String {
    if number < 100.0 { format!("{number:.2}") } else { thousands(number.round() as usize) }
}

/// Writes 1234567 as 1,234,567.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Lays out a table. Its first line is the heading; all columns but the first are numbers.
pub(crate) fn grid(lines: &[impl AsRef<[String]>]) -> String {
    let columns = lines.first().map_or(0, |line| line.as_ref().len());
    let cells = |column: usize| lines.iter().map(move |line| line.as_ref()[column].chars().count());
    let widths: Vec<_> =
        (0..columns).map(|column| cells(column).max().unwrap_or(0).max(2)).collect();
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        for (column, (cell, &width)) in line.as_ref().iter().zip(&widths).enumerate() {
            text.push_str(&match column {
                0 => format!("| {cell:<width$} "),
                _ => format!("| {cell:>width$} "),
            });
        }
        text.push_str("|\n");
        if at == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width - 1);
                text.push_str(&match column {
                    0 => format!("| -{dashes} "),
                    _ => format!("| {dashes}: "),
                });
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Makes a table with a row for each table: our contender beside the fastest peer.
pub(crate) fn summary(tables: &[Table]) -> String {
    let heading = ["workload", "ours, ns", "the fastest peer", "its ns", "ours ÷ it"];
    let mut lines = vec![heading.map(String::from)];
    for table in tables {
        let peers = table.rows.iter().filter(|row| !row.is_ours() && row.name != FLOOR);
        let fastest = peers.min_by(|one, other| one.min.total_cmp(&other.min));
        let (Some(ours), Some(fastest)) = (table.ours(), fastest) else { continue };
        lines.push([
            format!("{}, a {}", table.name, table.unit),
            number(ours),
            fastest.name.clone(),
            number(fastest.min),
            format!("{:.2}", ours / fastest.min),
        ]);
    }
    format!("### The fastest peer of each workload\n\n{}", grid(&lines))
}
