//! The whole crate under shuttle, which decides when a thread goes on and another waits.
//!
//! All modules are the crate's own sources. Below them, `util::sync` has shuttle's mutex and
//! atomics, and `util::current` and `util::nesting` its thread-locals: the threads of a schedule
//! are one thread of the system. So that none of them blocks it, `util::lock` is written again
//! without waiting in a `OnceLock`, and so is what the crate needs of `event-listener`.
//!
//! Threads change at the locks and atomics of `util::sync` only. So these are done in one step:
//! the counts of an `Arc`, the `AtomicWaker`, and whatever `FuturesUnordered` does. Loads and
//! stores are sequentially consistent. For what depends on such steps, and on weaker orderings,
//! there is `tests/loom`.

#![forbid(unsafe_code)]

extern crate alloc;

#[path = "../../src/admission/mod.rs"]
mod admission;
#[path = "../../src/aliases.rs"]
mod aliases;
#[path = "../../src/child/mod.rs"]
mod child;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/future/mod.rs"]
pub mod future;
#[path = "../../src/group/mod.rs"]
mod group;
#[path = "../../src/handle.rs"]
mod handle;
#[path = "../../src/hold.rs"]
mod hold;
#[path = "../../src/key.rs"]
mod key;
#[path = "../../src/observe/mod.rs"]
mod observe;
#[path = "../../src/policy/mod.rs"]
mod policy;
#[path = "../../src/reason.rs"]
mod reason;
#[path = "../../src/set/mod.rs"]
mod set;
#[path = "../../src/slot.rs"]
mod slot;
#[path = "../../src/snapshot/mod.rs"]
pub mod snapshot;
#[path = "../../src/spawned/mod.rs"]
mod spawned;
#[path = "../../src/stats.rs"]
mod stats;
#[path = "../../src/stream/mod.rs"]
pub mod stream;
#[path = "../../src/token/mod.rs"]
mod token;
mod util;

pub use aliases::{BoxedGroup, BoxedHandle, SpawnedGroup, SpawnedHandle};
pub use async_lock::Semaphore;
pub use child::ask::Ask;
pub use child::attach::Attach;
pub use child::join::{ChildHandle, Joinable, Lost};
pub use child::task::{Task, task};
pub use child::{Boxed, Child, Children, Kind, LocalBoxed, Plain};
pub use error::{Stopped, TryGoError};
pub use future::{for_each, for_each_stream, hedge, map, map_stream, value, watchdog};
pub use group::Group;
pub use handle::Handle;
pub use hold::Hold;
pub use key::Key;
pub use observe::{Event, JsonLines, Observer, Outcome, PollObserver, SlowPoll, SlowPolls};
pub use policy::{
    AllErrors, ChildInfo, Collect, Errors, Failure, FirstDone, FirstErr, FirstOk, Named, Policy,
    Settle, Verdict, WithReason,
};
pub use reason::{CancelError, Reason};
pub use slot::Slot;
pub use snapshot::Snapshot;
pub use spawned::{Spawned, SpawnedLocal};
pub use stats::Stats;
pub use token::{CancelToken, DropGuard};
