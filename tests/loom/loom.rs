//! The wake-ups under loom: every interleaving of a task that polls and of threads that wake
//! it, within a bound on the switches, and every value that a load may see.
//!
//! The `ParentWaker`, the `ChildWaker`s and `ReadyBits`, the blocks, the regions, the set, the
//! `WakeFlag`, the tree of tokens, the halves of a spawned child, and a joinable child with its
//! handle are the crate's own sources; [`sync`](util::sync) puts loom's atomics and mutex below
//! them, with an `Arc` and an `AtomicWaker` made of those. Of admission, it is the `State`. What is
//! written again is the group's loop around the set ([`engine`]), the set's loop around blocks that
//! are in regions ([`overflow`]), the spawner's call and the group's wait for spawned children
//! ([`spawned`]), and the lock around the state and what is done after it is released
//! ([`admission`]). The data that a child waits for is written and read `Relaxed`, so that a
//! wake-up is good only if it carries it. If a wake-up is lost, all threads are blocked, which loom
//! reports.
//!
//! # What it was seen to find
//!
//! `.ci/broken` breaks the sources on purpose, one bug at a time, and expects a test to fail: a
//! wait that misses its cancel, a close that wakes no waiter, an abort that is forgotten, and
//! others. Before it was written, each of these changes, made in the sources, failed one test at
//! least:
//!
//! - `ParentWaker`: `set` without release, or with the wake-up before the bits are set;
//!   `begin_poll` without acquire, by a load and a store, without registering the task, or
//!   dropping the earlier notifications; `take_ready` by a load and a store; `end_poll` without
//!   its look at `NOTIFIED`, or with the look first;
//! - `WakeState`: `begin_poll` by a load and a store, or relaxed, or clearing nothing; `end_poll`
//!   by a store, or without its look at `woken`, or at `yielded`; `is_unique` without its fence;
//!   `recycle` that always returns `true`; `reset_for` that leaves `woken` set; `wake` that sets
//!   the bit first, or without release, or that takes a count of two for one;
//! - `ReadyBits`: `set` or `take_bits` relaxed, `take_bits` by a load and a store;
//! - `Block`: the look for a clone of the waker after `end_poll`; a kept waker not moved to the
//!   child's slot, or only if the child was not woken; a shared waker or a slot's own left to the
//!   next child though there is a clone; bits believed without a look at `woken`;
//! - `RegionFuture`: one that does not register its waker, or does so after its bits were taken;
//!   blocks looked at before the region's bits were taken; an `AtomicWaker` that registers by a
//!   store;
//! - `WakeFlag`: `take_woken` by a load and a store, or without acquire; a wake-up without
//!   release, or that notifies before it has set `woken`;
//! - `TaskCell`: a completion that replaces a spawner's panic, or that the panic does not replace;
//!   reported twice, or before the spawner's call is over; dropped by neither of the two parties
//!   that may come later; `DONE` not set for a spawner's panic, or set before there is a
//!   completion; a future that looks at `ABANDONED` before it registers its task, or is not woken
//!   for it; what the spawner has returned dropped by neither of the two parties that may come
//!   later;
//! - `Completions`: a notification before the report.
//!
//! # What it does not see
//!
//! - A needless wake-up of the task, or a needless notification: `recycle` may leave `woken` clear.
//! - Relaxed bits of a `TaskCell`: the locks around the completion and the reports order all that
//!   is read after them.
//! - A relaxed `end_poll`, since the lock of the task's waker orders which task is registered.
//! - The inside of `FuturesUnordered`: its atomics are not loom's.
//! - More than loom models: a load never sees a store that is yet to come, and `SeqCst`, which
//!   none of these sources use, is not stronger than acquire and release.

// `overflow` compiles parts of the set a second time.
#![allow(clippy::duplicate_mod)]

extern crate alloc;

mod admission;
mod child;
mod engine;
mod joinable;
mod overflow;
mod spawned;
mod task;
mod tests;
mod tokens;
mod util;

#[allow(dead_code)]
#[path = "../../src/error.rs"]
mod error;
#[allow(dead_code)]
#[path = "../../src/key.rs"]
mod key;
#[allow(dead_code)]
#[path = "../../src/reason.rs"]
mod reason;
#[allow(dead_code)]
#[path = "../../src/set/mod.rs"]
mod set;
#[allow(dead_code)]
#[path = "../../src/stats.rs"]
mod stats;
#[allow(dead_code, unused_imports)]
#[path = "../../src/token/mod.rs"]
mod token;

/// What the halves of a spawned child and the state need of the crate's `observe`. No poll is
/// observed here.
mod observe {
    use std::sync::Arc;

    #[allow(dead_code)]
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Outcome {
        Ok,
        Failed,
        Panicked,
        Dropped,
    }

    pub(crate) trait PollObserver: Send + Sync {}

    #[allow(dead_code)]
    pub(crate) fn both(
        outer: Option<Arc<dyn PollObserver>>,
        inner: Option<Arc<dyn PollObserver>>,
    ) -> Option<Arc<dyn PollObserver>> {
        outer.or(inner)
    }

    pub(crate) fn around_poll<R>(
        _: &dyn PollObserver,
        _: usize,
        _: Option<&str>,
        poll: impl FnOnce() -> R,
    ) -> R {
        poll()
    }
}
