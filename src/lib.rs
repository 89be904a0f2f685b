//! Run a bounded set of fallible futures together, on any executor.
//!
//! A [`Group`] is a future that holds other futures, its *children*. While it is awaited, it polls
//! the children that were woken, and it admits new ones as long as fewer than its limit run. It
//! resolves when all of them are done: by default to the first error, or to `Ok(())`.
//!
//! ```
//! use errgroup::Group;
//!
//! # async fn fetch(url: &str) -> Result<(), std::io::Error> { Ok(()) }
//! # async fn run(urls: &[&str]) -> Result<(), std::io::Error> {
//! let mut group = Group::new().with_limit(8);
//! for url in urls {
//!     if group.go(fetch(url)).await.is_err() {
//!         break; // it has stopped: no more work
//!     }
//! }
//! group.await?; // the first error, or Ok(())
//! # Ok(())
//! # }
//! # futures::executor::block_on(run(&["/a", "/b"])).unwrap();
//! ```
//!
//! - **The siblings are told, not dropped.** At the first error the group's [token](CancelToken)
//!   tells the other children, and they are polled until they finish: see
//!   [cancellation](guide::cancellation). [`drop_on_stop`](Group::drop_on_stop) drops them instead,
//!   as `try_join_all` does.
//! - **Nothing outlives the group.** When it resolves, its children are gone, and dropping it drops
//!   them. So they may borrow from the caller's stack. (Children of [`Group::on`] may not, and
//!   those that it cuts off are gone at their next poll.)
//! - **Any executor.** The crate has no runtime and no timer of its own. It spawns nothing unless
//!   you [give it a spawner](Group::on).
//!
//! # The parts
//!
//! | | |
//! | --- | --- |
//! | [`Group`] | the future that holds the children: [`go`](Group::go), [`queue`](Group::queue), [`feed`](Group::feed) ([which one?](guide::admission#how-do-i-add-a-child)), [`scope`](Group::scope) |
//! | [`Handle`] | adds children from inside a child, another task or another thread |
//! | [`task`](task()) | a child with options: a name, a weight, a priority, a [key](Key), a [handle of its own](ChildHandle) |
//! | [`CancelToken`] | tells children to end, and why: a tree of tokens with [reasons](Reason) |
//! | [`Policy`] | decides what comes out, and what stops the group |
//! | [`Results`] | a group as a stream of its children's results |
//! | [`Observer`] | is told every [`Event`] |
//! | [`Snapshot`] | what goes on in a group, and what it waits for; a [`watchdog`](watchdog()) asks for it |
//! | [`map`](map()), [`for_each`], [`hedge`] | a future for each input, or one attempt more, in one line |
//!
//! # The guide
//!
//! Read [first steps](guide::first_steps) now and the [hazards](guide::hazards) once. The other
//! pages of the [guide] are for when you need them.
//!
//! - **Start**: [first steps](guide::first_steps), [which constructor](guide::constructors),
//!   [cookbook](guide::cookbook).
//! - **Ends**: [errors and policies](guide::errors),
//!   [cancellation and graceful shutdown](guide::cancellation).
//! - **Flow**: [backpressure, limits, keys, gates](guide::admission), [results](guide::results),
//!   [sets in `select!` loops](guide::sets), [parallel children](guide::parallel).
//! - **Care**: [hazards](guide::hazards), [my group hangs](guide::hangs),
//!   [observing](guide::observing), [testing](guide::testing),
//!   [groups in libraries](guide::libraries).
//! - **Coming from**: [Go](guide::from_go), [other crates](guide::from_rust) (tokio's `JoinSet`,
//!   the combinators of `futures`), [elsewhere](guide::from_elsewhere) (Trio, Java, Kotlin).
//!
//! The repository has whole programs in `examples/`.
//!
//! # When not to use it
//!
//! - **A few futures, known beforehand**: `try_join!` of `futures` or tokio.
//! - **Work that computes**: a pool of threads. A child can [await its
//!   answer](guide::parallel#blocking-work). [`Group::on`] uses all cores, and needs an executor
//!   that has them.
//! - **Tasks that outlive the code that starts them**: your runtime's `spawn`.
//! - **A program that must be small**: a group adds more than 100 KB to it,
//!   `FuturesUnordered` 10.
//!
//! # Features
//!
//! - `std` (default): panics of children are caught, the siblings are drained, and the panic
//!   resumes. A child may wait in `go` for room in its own group.
//! - `serde`: a [`Snapshot`] is `Serialize`.
//! - `testing`: the module `testing`, with what tests poll groups with, and `Group::with_schedule`,
//!   which polls the children in an order that a seed determines: see [the guide](guide::testing).
//! - `tracing`: `TracingObserver`, which gives each child a span of the crate `tracing`.
//!
//! Without `std` the crate is `no_std` and needs `alloc`. A panic then unwinds where it happens.
//! A child that waits in `go` for room in its own group waits for ever if all its siblings do, so
//! such children use `queue`. A [`CancelError`] does not convert into an `io::Error`.
#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod admission;
mod aliases;
mod child;
mod error;
pub mod future;
mod group;
#[cfg(any(doc, doctest))]
pub mod guide;
mod handle;
mod hold;
mod key;
mod observe;
mod policy;
mod reason;
mod set;
mod slot;
pub mod snapshot;
mod spawned;
mod stats;
pub mod stream;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
mod token;
mod util;

pub use aliases::{BoxedGroup, BoxedHandle, SpawnedGroup, SpawnedHandle};
#[doc(no_inline)]
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
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub use observe::TracingObserver;
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
#[doc(no_inline)]
pub use stream::Results;
pub use token::{CancelToken, DropGuard};

/// The README's snippets, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
