//! Many children, under a limit and without one.

use super::crowd::{self, Plan};
use crate::common::block_on::block_on;
use crate::common::children::yields;
use crate::common::table::thousands;
use crate::common::workload::{FLOOR, Workload};

/// Go's program has the same names.
const LIMITS: [(&str, Option<usize>, usize); 5] = [
    ("limit1", Some(1), 20_000),
    ("limit64", Some(64), 20_000),
    ("limit1000", Some(1_000), 20_000),
    ("none20000", None, 20_000),
    ("none200000", None, 200_000),
];

const KINDS: [(&str, &str, u32); 3] = [
    ("ready", "that are ready", 0),
    ("yield1", "that yield once", 1),
    ("yield4", "that yield four times", 4),
];

pub(crate) fn workloads() -> Vec<Workload> {
    let mut workloads = Vec::new();
    for (key, limit, count) in LIMITS {
        for (kind, what, times) in KINDS {
            let title = format!("{} children {what}", thousands(count));
            let plan = Plan::new(format!("{key}/{kind}"), title, limit, count);
            let mut workload =
                crowd::workload(plan, move || (0..count).map(move |_| yields(times)));
            workload.add(FLOOR, move || {
                block_on(async {
                    for _ in 0..count {
                        yields(times).await.expect("it does not fail");
                    }
                });
            });
            workloads.push(workload);
        }
    }
    workloads
}
