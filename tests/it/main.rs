//! What the crate promises, one module a topic.
//!
//! All topics are one binary, so that it is linked once. One topic runs by itself with
//! `cargo test --test it nested::`, one test with the rest of its path. `common.rs` has the helpers
//! with which the tests poll a group by hand.
//!
//! Beside this folder are the tests that can't share its process. `allocations.rs` replaces the
//! allocator, `token_memory.rs` measures the memory of its whole process, and `programs/` starts
//! the examples. `tracing.rs` and `serde.rs` need features: apart, they are built without these
//! here. With `serde_json`, which `json_lines.rs` reads with, `== []` would be ambiguous here.
//!
//! The tests here share one process. None may change its environment or its current directory,
//! and a panic hook that one sets passes on the panics of the others.

mod common;

mod buffered;
mod builders;
mod closed;
mod coming_from;
mod composing;
mod crowds;
mod daemons;
mod deadline;
mod debug;
mod drop;
mod ended;
#[cfg(feature = "std")]
mod engine;
mod err_on_cancel;
mod errors;
mod extend;
mod failures;
mod fairness;
mod feed;
mod first_error;
#[cfg(feature = "std")]
mod foreign_wakers;
mod future_queue;
#[cfg(feature = "std")]
mod futures_unordered;
mod gates;
mod grace;
mod handle;
mod handle_threads;
mod hangs;
mod heard;
mod hedge;
#[cfg(feature = "std")]
mod hostile;
mod joinable;
mod joinset;
mod keys;
mod large;
mod limit;
mod map;
mod map_stream;
#[cfg(feature = "std")]
mod nested;
mod observer;
mod observer_calls;
mod on;
mod on_local;
mod open;
mod order;
mod panics;
mod policies;
mod policy;
mod poll_observer;
mod priorities;
mod queue;
mod reservations;
mod reserve;
mod results;
mod scope;
mod semaphore;
mod slow_polls;
mod snapshot;
mod spawner;
mod stats;
mod stop;
mod surface;
mod task;
mod token;
mod token_run;
mod token_threads;
mod token_tree;
mod token_wakers;
mod try_scope;
mod until_stop;
mod wakes;
mod weights;
