//! The wake-ups under loom: every interleaving of a task that polls and of threads that wake
//! it, within a bound on the switches, and every value that a load may see.
//!
//! The bell, the flags and words, the blocks, the regions, the set, the signal and the halves of
//! a spawned child are the crate's own sources; [`sync`] puts loom's atomics and mutex below
//! them, with an `Arc` and an `AtomicWaker` made of those. What is written again is the group's
//! loop around the set ([`engine`], after `group/run.rs`), the set's around far blocks ([`far`]),
//! and who launches and awaits spawned children ([`spawned`]). The data that a child waits for
//! is written and read `Relaxed`, so that a wake-up is good only if it carries it. A wake-up
//! that is lost leaves everybody asleep, which loom reports.
//!
//! # What it was seen to find
//!
//! Each of these, made in the sources, failed one test at least:
//!
//! - bell: `set` without release, or waking before it has set; `open` without acquire, by a
//!   load and a store, without registering, or dropping what rang before; `take` by a load
//!   and a store; `close` without its look at `RUNG`, or with the look first;
//! - flag: `begin_poll` by a load and a store, or relaxed, or clearing nothing; `end_poll` by
//!   a store, or without its look at `woken`, or at `yielded`; `is_sole` without its fence;
//!   `renew` that always fits; `lend` that leaves `woken` set; `wake` that sets the bit first,
//!   or without release, or takes two for one;
//! - word: `set` or `take` relaxed, `take` by a load and a store;
//! - block: who keeps the flag looked at after `end_poll`; a flag not adopted, or only where
//!   the child was not woken; a lent or a kept flag left to the next child though somebody has
//!   a clone; bits believed without a look at the flag;
//! - region: an entry that does not register, or does so after its bits were taken; blocks
//!   looked at before the region's bits were taken; an `AtomicWaker` that registers by a store;
//! - signal: `take` by a load and a store, or without acquire; `wake` without release, or
//!   ringing before it has set;
//! - job: an outcome that takes the place of a payload, or keeps its own from it; reported twice,
//!   or before the spawner's call is over; buried by neither of those who may come later; `DONE`
//!   not set for a spawner's panic, or set before there is an outcome; work that looks for `OVER`
//!   before it registers, or is not woken for it;
//! - home: a ring before the report.
//!
//! # What it does not see
//!
//! - A needless wake-up of the task, or a needless ring: `renew` may leave `woken` clear.
//! - Relaxed bits of a job: the locks around the outcome and the reports order all that is read
//!   after them.
//! - A relaxed `close`, while the `AtomicWaker` orders who is registered by itself.
//! - The inside of `FuturesUnordered`, whose atomics are not loom's.
//! - More than loom models: a load never sees a store that is yet to come, and `SeqCst`, which
//!   none of these sources use, is not stronger than acquire and release.

// The parts of the set are there twice, see `overflow`.
#![allow(clippy::duplicate_mod)]

extern crate alloc;

mod engine;
mod overflow;
mod spawned;
mod task;
mod tests;
mod util;

#[allow(dead_code)]
#[path = "../../src/set/mod.rs"]
mod set;
