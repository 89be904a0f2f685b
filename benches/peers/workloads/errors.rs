//! How soon the first error comes out.

use super::crowd::{self, Plan};
use crate::common::children::{Outcome, yields};
use crate::common::workload::Workload;

const COUNT: usize = 100_000;
const FAILING: usize = 10;

async fn child(index: usize) -> Outcome {
    if index == FAILING {
        return Err(index);
    }
    yields(1).await
}

pub(crate) fn workloads() -> Vec<Workload> {
    [("limit64/error", Some(64)), ("none100000/error", None)]
        .map(|(name, limit)| {
            let what = "child 10 of 100,000 fails: until its error is out and no child is left";
            let plan = Plan { expected: Err(FAILING), ..Plan::new(name, what, limit, COUNT) };
            let mut workload = crowd::workload(plan, || (0..COUNT).map(child));
            workload.units = 1;
            workload.go.0 = limit.map_or("firsterror", |_| "limit64/firsterror").into();
            workload.reference = "errgroup unboxed, `feed`";
            workload.per("run")
        })
        .into()
}
