//! The modules of `tests/it` whose tests start threads, for ThreadSanitizer.

#[path = "../it/common.rs"]
#[allow(dead_code)]
mod common;

#[path = "../it/closed.rs"]
mod closed;
#[path = "../it/crowds.rs"]
mod crowds;
#[path = "../it/deadline.rs"]
mod deadline;
#[path = "../it/fairness.rs"]
mod fairness;
#[path = "../it/foreign_wakers.rs"]
mod foreign_wakers;
#[path = "../it/futures_unordered.rs"]
mod futures_unordered;
#[path = "../it/handle_threads.rs"]
mod handle_threads;
#[path = "../it/joinable.rs"]
mod joinable;
#[path = "../it/joinset.rs"]
mod joinset;
#[path = "../it/limit.rs"]
mod limit;
#[path = "../it/observer.rs"]
mod observer;
#[path = "../it/on.rs"]
mod on;
#[path = "../it/poll_observer.rs"]
mod poll_observer;
#[path = "../it/results.rs"]
mod results;
#[path = "../it/semaphore.rs"]
mod semaphore;
#[path = "../it/snapshot.rs"]
mod snapshot;
#[path = "../it/spawner.rs"]
mod spawner;
#[path = "../it/stats.rs"]
mod stats;
#[path = "../it/stop.rs"]
mod stop;
#[path = "../it/token_threads.rs"]
mod token_threads;
#[path = "../it/wakes.rs"]
mod wakes;
