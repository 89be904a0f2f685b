//! How soon the first error comes out.

use super::crowd::{self, Plan};
use crate::common::children::{Outcome, yields};
use crate::common::work::Work;

const COUNT: usize = 100_000;
const FAILING: usize = 10;

async fn child(index: usize) -> Outcome {
    if index == FAILING {
        return Err(index);
    }
    yields(1).await
}

pub(crate) fn works() -> Vec<Work> {
    [("limit64/error", Some(64)), ("none100000/error", None)]
        .map(|(name, limit)| {
            let what = "child 10 of 100,000 fails, until the result is there and no child left";
            let plan = Plan { expected: Err(FAILING), ..Plan::new(name, what, limit, COUNT) };
            let mut work = crowd::work(plan, || (0..COUNT).map(child));
            work.units = 1;
            work.go.0 = limit.map_or("firsterror", |_| "limit64/firsterror").into();
            work.reference = "errgroup unboxed, `feed`";
            work.per("run")
        })
        .into()
}
