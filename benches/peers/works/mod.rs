//! The works, a file for each kind of them. A peer is one entry in it; for those with many
//! children, in `crowd`.

mod crowd;
mod errors;
mod handle;
mod limits;
mod map;
pub(crate) mod memory;
mod mixed;
mod parallel;
mod results;
mod ring;
mod small;
mod tokens;
mod woken;

use crate::common::work::Work;

/// The works that are timed.
pub(crate) fn timed() -> impl Iterator<Item = Work> {
    [limits::works, map::works, mixed::works, woken::works, ring::works, errors::works]
        .into_iter()
        .chain([small::works, handle::works, parallel::works, tokens::works, results::works])
        .flat_map(|works| works())
}
