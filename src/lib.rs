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
//! **The siblings are told, not dropped.** At the first error the other children are told through
//! the group's [token](CancelToken), polled until they finish, and waited for: see [When a child
//! fails](#when-a-child-fails). [`drop_on_stop`](Group::drop_on_stop) drops them instead, as
//! `try_join_all` does.
//!
//! The crate has no runtime and no timer of its own, and it spawns nothing unless you [give it a
//! spawner](Group::on). So it works under tokio, smol, async-std or a `block_on` of your own,
//! inside other combinators, and in libraries that must not pick a runtime. Children may borrow
//! from the caller's stack. Nothing outlives the group: when it resolves, its children are gone,
//! and dropping it drops them.
//!
//! # When a child fails
//!
//! By default the first child to finish with an `Err` decides, and its error is returned as it is.
//! At that moment the group *stops*:
//!
//! - it admits no more children, and drops those in its queue without polling them;
//! - its [token](CancelToken) is cancelled, with a [`Reason`];
//! - the children that run are *drained*: polled until they finish, so that they can clean up.
//!
//! A child that should end early listens to the token:
//!
//! ```
//! use errgroup::{Group, Reason};
//!
//! # futures::executor::block_on(async {
//! let mut group = Group::new();
//! let token = group.token().clone();
//! group.queue(async move {
//!     // Runs until another child fails.
//!     let why = token.cancelled().await;
//!     assert_eq!(why, Reason::Failed);
//!     Ok(())
//! });
//! group.queue(async { Err("the disk is full") });
//! assert_eq!(group.await, Err("the disk is full"));
//! # });
//! ```
//!
//! [`CancelToken::run`] wraps any future so that it ends when the token is cancelled.
//!
//! Besides a child's result, three things stop a group:
//!
//! - **A cancel.** Any holder of the token may cancel it. With [`with_parent`](Group::with_parent),
//!   a cancel of the parent token cancels it too: tokens form a tree. A cancel by itself is no
//!   error, unless [`err_on_cancel`](Group::err_on_cancel) makes it one.
//! - **A deadline.** [`with_deadline`](Group::with_deadline) stops the group when a future
//!   resolves, such as the timer of any runtime.
//! - **A panic** of a child. The siblings are drained, and then the panic resumes out of the
//!   group's poll, with its own payload.
//!
//! [`with_grace`](Group::with_grace) bounds the time that children have after a stop: when it is
//! over, those that still run are dropped. A child that has nothing to clean up can be
//! [`until_stop`](Task::until_stop): it is dropped at the stop. With
//! [`drop_on_stop`](Group::drop_on_stop) all children are.
//!
//! To end *one* child, make it [`joinable`](Task::joinable): its [`ChildHandle`] aborts it, and is
//! told its value.
//!
//! # Adding children
//!
//! - [`go`](Group::go) waits for room, and polls the running children meanwhile. This is
//!   backpressure for the code that makes the work.
//! - [`try_go`](Group::try_go) never waits. Without room it gives the child back.
//! - [`queue`](Group::queue) never waits either. Without room the child waits in the group's queue.
//! - [`feed`](Group::feed) takes a stream, and asks it for the next child when there is room.
//! - A [`Handle`] does all four from inside a child, from another task or from another thread. A
//!   child may even [wait for room in its own group](Handle#waiting-inside-a-child).
//!
//! All of them share one queue: first come, first admitted. Each takes a [`task`](task()) in place
//! of a future: a future with options, such as a [weight](Task::weight), a
//! [priority](Task::priority), a name or a [handle of its own](Task::joinable). A
//! [daemon](Task::daemon) is a child that does not hold the group open. Several groups, and other
//! code, can share one limit through a [semaphore](Group::with_semaphore).
//!
//! # A body beside its children
//!
//! Between two calls of `go`, no child is polled. If the code that adds the children awaits other
//! things as well, make it the body of a [`scope`](Group::scope). The body runs beside the
//! children, and they go on whatever it awaits.
//!
//! ```
//! use errgroup::Group;
//!
//! # async fn next_job() -> Option<u32> { None }
//! # async fn work(job: u32) -> Result<(), String> { Ok(()) }
//! # futures::executor::block_on(async {
//! let result: Result<(), String> = Group::new()
//!     .with_limit(4)
//!     .try_scope(async |handle| {
//!         // `run` ends the wait for a job when the group stops.
//!         while let Ok(Some(job)) = handle.token().run(next_job()).await {
//!             if handle.go(work(job)).await.is_err() {
//!                 break;
//!             }
//!         }
//!         Ok(())
//!     })
//!     .await;
//! # result
//! # }).unwrap();
//! ```
//!
//! # What comes out
//!
//! A [`Policy`] decides what the children's results add up to, and which results stop the group.
//! [`FirstErr`], the default, gives the first `Err` or `Ok(())`, and drops the `Ok` values. One
//! builder, called before the first child, sets another:
//!
//! - [`collect`](Group::collect): all values, in the order of admission, or the first error;
//! - [`all_errors`](Group::all_errors): every error; no result stops the group, unless it is to
//!   [fail fast](Group::fail_fast) or [tolerates](Group::tolerate) only some;
//! - [`settle`](Group::settle): every result; no result stops the group;
//! - [`first_ok`](Group::first_ok): the first value, or all errors;
//! - [`first_done`](Group::first_done): the first result, be it a value or an error;
//! - [`with_policy`](Group::with_policy): whatever a policy of your own makes of them.
//!
//! [`Policy`] has a table of their outputs. [`named`](Group::named) makes their errors say which
//! child has failed.
//!
//! ```
//! use errgroup::Group;
//!
//! # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
//! # async fn run(urls: &[&str]) -> Result<(), std::io::Error> {
//! let mut group = Group::new().with_limit(8).collect();
//! for url in urls {
//!     if group.go(length(url)).await.is_err() {
//!         break;
//!     }
//! }
//! let lengths: Vec<usize> = group.await?; // in the order of the urls
//! # assert_eq!(lengths, [2, 3]);
//! # Ok(())
//! # }
//! # futures::executor::block_on(run(&["/a", "/bc"])).unwrap();
//! ```
//!
//! Under any policy, a cancelled token or a panic stops the group, and the running children are
//! drained.
//!
//! [`results`](Group::results) turns the group into a stream of its children's results: in the
//! order in which they finish, or [in the order of admission](stream::Results::in_order). The
//! stream can be [fed](stream::Results::feed) by a stream of children.
//!
//! ```
//! use errgroup::Group;
//! use futures::stream::{self, TryStreamExt};
//!
//! # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
//! # async fn run(urls: &[&str]) -> Result<(), std::io::Error> {
//! let children = stream::iter(urls.iter().map(|url| length(url)));
//! let mut lengths = Group::new().with_limit(8).results().feed(children);
//! while let Some(length) = lengths.try_next().await? {
//!     println!("{length}");
//! }
//! # Ok(())
//! # }
//! # futures::executor::block_on(run(&["/a", "/bc"])).unwrap();
//! ```
//!
//! # Sets that live on
//!
//! A group resolves when nothing runs and nothing waits. A set in an actor's loop is empty now and
//! then. A [`Hold`] keeps it open meanwhile, and [`close`](Group::close) ends it: newcomers are
//! refused, and what is there goes on to its end. [`try_queue`](Group::try_queue) gives back the
//! child that the group takes no more. A stream of results that is empty goes on with what is added
//! later, held or not.
//!
//! In a `select!` loop a [`go`](Group::go) that does not come first takes its child with it.
//! [`ready`](Group::ready) waits for room alone, and [`Handle::reserve`] keeps the room in a
//! [`Slot`], so that the child can be made when there is room for it.
//!
//! ```
//! use errgroup::Group;
//! use futures::channel::mpsc;
//! use futures::stream::StreamExt;
//!
//! # async fn answer(request: u32) -> Result<u32, String> { Ok(request) }
//! # async fn run(mut requests: mpsc::Receiver<u32>) {
//! let mut answers = Group::new().with_limit(8).results();
//! let _hold = answers.hold();
//! loop {
//!     futures::select! {
//!         request = requests.next() => match request {
//!             Some(request) => answers.queue(answer(request)),
//!             None => answers.close(), // the rest is answered, and then comes `None`
//!         },
//!         answer = answers.next() => match answer {
//!             Some(answer) => println!("{answer:?}"),
//!             None => break,
//!         },
//!     }
//! }
//! # assert_eq!((answers.stats().ok, answers.stats().dropped), (2, 0));
//! # }
//! # let (mut sender, requests) = mpsc::channel(2);
//! # (1..=2).for_each(|n| sender.try_send(n).unwrap());
//! # drop(sender);
//! # futures::executor::block_on(run(requests));
//! ```
//!
//! # Watching
//!
//! [`stats`](Group::stats) returns the group's numbers at one moment, which is enough for a
//! progress bar. An [`Observer`] is told every [`Event`] in order: which child is queued, starts or
//! finishes, and how. It may hold a [`Handle`] and act on what it is told, so a limit can follow
//! the load. It may also [surround each poll](Observer::around) of a child, on the thread that
//! polls it: to enter a span, or to find a child that blocks.
//!
//! [`snapshot`](Group::snapshot) returns what goes on in a group: its children, and what they wait
//! for. It knows most of a group that was given a [name](Group::with_name). A
//! [`watchdog`](watchdog()) reports a group that was woken and is not polled. [My group
//! hangs](snapshot#my-group-hangs) is the page for such cases. [`SlowPolls`] finds children that
//! block.
//!
//! # In parallel
//!
//! The children of [`Group::on`] run as tasks of an executor, on all its threads, and the group
//! waits for them. Limits, policies, tokens and handles work as in any other group.
//! [`Group::on_local`] is for an executor of one thread, and for children that are not `Send`.
//!
//! # Without a group
//!
//! If only the values are wanted, [`map`](map()) and [`for_each`] run a future for each input, and
//! [`hedge`] starts another attempt when one takes long. [`map_stream`] and [`for_each_stream`]
//! take their inputs from a stream. They have no token that other code could hold. So they drop the
//! futures that still run: at the first error, or, for `hedge`, at the first value.
//!
//! ```
//! # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
//! # async fn run(urls: &[&str]) -> Result<(), std::io::Error> {
//! let lengths: Vec<usize> = errgroup::map(8, urls, |url| length(url)).await?; // in order
//! # assert_eq!(lengths, [2, 3]);
//! # Ok(())
//! # }
//! # futures::executor::block_on(run(&["/a", "/bc"])).unwrap();
//! ```
//!
//! # Naming the types
//!
//! The types are inferred if the group's output is used. If they are not (`E0282`), name one of
//! them: `Group::new().with_error::<MyError>()`, or `Ok::<_, MyError>(())` in a child. As a field
//! or an argument, a group is a `Group<Boxed<'a, T, E>>`, and with a policy a
//! `Group<Boxed<'a, T, E>, Collect<T, E>>`, say. Its handle is a `Handle<Boxed<'a, T, E>>`. A
//! function that passes children on to either takes an `impl Child<Boxed<'a, T, E>>`.
//!
//! ```
//! use errgroup::{Boxed, Group};
//!
//! struct Uploads<'a> {
//!     group: Group<Boxed<'a, (), std::io::Error>>,
//! }
//!
//! impl<'a> Uploads<'a> {
//!     fn add(&mut self, file: &'a str) {
//!         self.group.queue(async move { println!("uploading {file}"); Ok(()) });
//!     }
//! }
//! # let mut uploads = Uploads { group: Group::new() };
//! # uploads.add("a");
//! # futures::executor::block_on(uploads.group).unwrap();
//! ```
//!
//! # Hazards
//!
//! - **A group that is not polled does nothing**, like any future. Its children run while the group
//!   itself is awaited, or a [`go`](Group::go), [`feed`](Group::feed) or [`scope`](Group::scope) of
//!   it. While the caller awaits anything else, they stand still, with the locks and connections
//!   that they hold. If the caller waits for one of these, it waits forever. Use a `scope`, or
//!   `join!` the two. A [`watchdog`](watchdog()) reports such a group, and a
//!   [snapshot](snapshot#my-group-hangs) says why.
//! - **`let _ = group.go(child);`** without `.await` drops the child, never polled. With `.await`,
//!   `let _ =` loses the child that a stopped group gives back, and the news that it has stopped.
//!   [`go`](Group::go) shows three ways to write it.
//! - **`group.go(child).await?`** does not compile in a function that returns an `anyhow::Result`:
//!   [`Stopped`] is not an error, since the child's error comes out of the group itself.
//! - **A stop is a signal, not a kill.** A child that does not listen to the token runs to its own
//!   end, and the group waits for it. A [grace](Group::with_grace) bounds that time. With
//!   [`until_stop`](Task::until_stop) a child ends with the stop, and with
//!   [`drop_on_stop`](Group::drop_on_stop) all children do.
//! - **An `Ok` may be incomplete.** After a cancel or a deadline the output is made of the results
//!   that there are. [`err_on_cancel`](Group::err_on_cancel) makes an error of such a stop.
//! - **A stop does not end the body of a scope.** The body should await whatever may take long
//!   within `handle.token().run(…)`.
//! - **The children share one task.** They run concurrently, not in parallel: all on the thread
//!   that polls the group. For more cores, use [`Group::on`].
//! - **Blocking code blocks all of them.** A child that computes for long, or calls blocking I/O,
//!   holds up its siblings. Hand such work to threads (`spawn_blocking`, `unblock`), and let the
//!   child await the answer.
//! - **What the children borrow must be declared before the group**, because variables are dropped
//!   in reverse order. The group's token counts: move a clone of it into each child.
//! - **A handle's `go` that was polled once must be polled on or dropped.** Until then, or until a
//!   stop, it holds up every child that came after it, and holds the group open. See
//!   [`Handle::go`](Handle::go).
//! - **Parents may hold all the room.** A child that waits *for room* in its own group is helped
//!   out, but not one that waits for a child that it has added to *do* something. If all that run
//!   wait so, none of those that they added is ever admitted. Run these in a group of their own, or
//!   don't wait.
//! - **A daemon takes room like any child.** Under a limit of 1 it leaves none for others.
//! - **A resolved group is over.** It takes no more children, and awaited again it stays pending.
//!   [`queue`](Group::queue) then drops its child, and [`try_queue`](Group::try_queue) gives it
//!   back. A [hold](Group::hold) keeps an empty group from resolving.
//!
//! # Features
//!
//! - `std` (default): panics of children are caught, the siblings are drained, and the panic
//!   resumes. A child may wait in `go` for room in its own group. Without `std`, the crate is
//!   `no_std` with `alloc`: a panic unwinds where it happens, and children add others by `queue`.
//! - `serde`: a [`Snapshot`] is `Serialize`.
//! - `tracing`: `TracingObserver`, which gives each child a span of the crate `tracing`.
//!
//! # Coming from elsewhere
//!
//! `docs/coming-from.md` in the repository compares this crate with Go's `errgroup` and its
//! relatives, tokio's `JoinSet`, the combinators of `futures`, Trio's nurseries, Java's
//! `StructuredTaskScope` and others.
#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

mod admission;
mod child;
mod error;
pub mod future;
mod group;
mod handle;
mod hold;
mod observe;
mod policy;
mod reason;
mod set;
mod slot;
pub mod snapshot;
mod spawned;
mod stats;
pub mod stream;
mod token;
mod util;

#[doc(no_inline)]
pub use async_lock::Semaphore;
pub use child::ask::Ask;
pub use child::attach::Attach;
pub use child::join::{ChildHandle, Joinable, Lost};
pub use child::key::Key;
pub use child::task::{Task, task};
pub use child::{Boxed, Child, Children, Kind, LocalBoxed, Plain};
pub use error::{Stopped, TryGoError};
pub use future::{for_each, for_each_stream, hedge, map, map_stream, value, watchdog};
pub use group::Group;
pub use handle::Handle;
pub use hold::Hold;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub use observe::TracingObserver;
pub use observe::{Event, Observer, Outcome, PollObserver, SlowPoll, SlowPolls};
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

/// The README's snippets, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

// What users of other systems know, beside what it is here: compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/coming-from/go.md")]
struct ComingFromGo;
#[cfg(doctest)]
#[doc = include_str!("../docs/coming-from/rust.md")]
struct ComingFromRust;
#[cfg(doctest)]
#[doc = include_str!("../docs/coming-from/elsewhere.md")]
struct ComingFromElsewhere;
