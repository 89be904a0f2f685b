//! The charts of `docs/`.

use crate::common::chart::bars::{Bar, Bars, bars};
use crate::common::table::Table;
use crate::common::workload::FLOOR;
use crate::memory::Bytes;

/// The workloads that are shown, and their titles.
const SHOWN: [(&str, &str); 6] = [
    ("limit64/ready", "64 at a time, children that are ready"),
    ("none20000/ready", "all at once, children that are ready"),
    ("limit64/yield1", "64 at a time, children that yield once"),
    ("none20000/yield1", "all at once, children that yield once"),
    ("limit64/yield4", "64 at a time, children that yield four times"),
    ("none20000/yield4", "all at once, children that yield four times"),
];

pub(crate) fn times(tables: &[Table]) -> String {
    let panels = SHOWN.iter().filter_map(|(name, title)| {
        let table = tables.iter().find(|table| table.name == *name)?;
        let rows = table.rows.iter().filter(|row| is_shown(&row.name));
        let bars = rows.map(|row| Bar { name: row.name.clone(), value: row.min }).collect();
        Some(Bars { title: (*title).into(), bars })
    });
    let note = "nanoseconds a child, 20,000 children, one thread; lower is better";
    bars("What a child costs", note, 2, panels.collect())
}

/// Returns `true` for the contenders that use one thread, but not for the floor.
fn is_shown(name: &str) -> bool {
    name != FLOOR && !name.ends_with("2 threads") && !name.ends_with("2 CPUs")
}

pub(crate) fn memory(rows: &[Bytes]) -> String {
    let bar =
        |row: &Bytes| Some(Bar { name: row.name.clone(), value: row.resident.or(row.asked)? });
    let panel = Bars {
        title: "1,000,000 waiting children".into(),
        bars: rows.iter().filter_map(bar).collect(),
    };
    let note = "bytes of resident memory a child, beyond the child itself; lower is better";
    bars("What a waiting child costs", note, 1, vec![panel])
}
