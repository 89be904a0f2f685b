//! Run a bounded set of fallible futures together, on any executor.
//!
//! A [`Group`] is a future that holds other futures, its children. Awaiting it drives them:
//! it polls those that are woken, admits new ones only while fewer than its limit run, and
//! resolves when all are done, to the first error or `Ok(())`, unless it is asked for
//! [something else](#what-comes-out).
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
//! It knows no runtime, no timer but the one it is given, and spawns only
//! [where you tell it](Group::on), so it works under tokio, smol, async-std or a `block_on` of
//! your own, within other combinators, and in libraries that must not pick a runtime. Children
//! may borrow from the caller's stack. Nothing outlives the group: when it resolves all its children are gone, and dropping it drops them.
//!
//! # When a child fails
//!
//! The first child to finish with an `Err` decides, unless another [policy](#what-comes-out)
//! is set; its error comes out as it is. At that
//! moment the group *stops*: nothing more is admitted, what was queued is dropped, and the
//! group's [token](CancelToken) is cancelled. Its other children are not dropped where they
//! stand: they are told, and polled on until they finish, so that they can clean up. One
//! that wants to end early listens to the token:
//!
//! ```
//! use errgroup::{Group, Reason};
//!
//! # futures::executor::block_on(async {
//! let mut group = Group::new();
//! let token = group.token().clone();
//! group.queue(async move {
//!     // Runs until somebody else fails.
//!     let why = token.cancelled().await;
//!     assert_eq!(why, Reason::Failed);
//!     Ok(())
//! });
//! group.queue(async { Err("the disk is full") });
//! assert_eq!(group.await, Err("the disk is full"));
//! # });
//! ```
//!
//! [`CancelToken::run`] does the same around any future. Whoever else holds the token may
//! cancel it too, and stops the group by that; which is no error by itself. With
//! [`with_parent`](Group::with_parent) a group's token hangs below another: tokens are
//! trees, and each knows the [`Reason`] why it was cancelled. With
//! [`err_on_cancel`](Group::err_on_cancel) a cancel is an error after all.
//!
//! [`with_deadline`](Group::with_deadline) stops a group when a future resolves: any runtime's
//! timer. And [`with_grace`](Group::with_grace) bounds the time after a stop: first a signal,
//! then, for those who don't heed it, the end.
//!
//! A child that panics stops the group as well. The siblings are polled to their end, and
//! then the panic goes on out of the group, with its own payload.
//!
//! # Adding children
//!
//! - [`go`](Group::go) waits for room, and drives the running children meanwhile:
//!   backpressure for whoever makes the work.
//! - [`try_go`](Group::try_go) never waits; without room it gives the child back.
//! - [`queue`](Group::queue) never waits either; without room the child stands in line.
//! - [`feed`](Group::feed) takes a stream and asks it for a child when there is room.
//! - A [`Handle`] does all four from elsewhere: from within a child, from another task or
//!   thread. A child may even wait for room in its own group; it never deadlocks on itself.
//!
//! All of them are one line: first come, first admitted. Wherever a child is taken, a
//! [`task`](task()) of one is too, which may have a [weight](Task::weight), a
//! [priority](Task::priority) and a name, or be a [daemon](Task::daemon), for whom the group
//! does not stay open. Several groups, and other code, may share one limit by a
//! [semaphore](Group::with_semaphore).
//!
//! # A body beside its children
//!
//! Between two calls of `go`, nobody polls the children. Where the code that adds them does
//! other things as well, let it be the body of a [`scope`](Group::scope): it runs beside the
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
//! By default a group's output is the first `Err` or `Ok(())`, and the children's `Ok` values are
//! dropped. One call, before the first child, sets another *policy*:
//!
//! | builder | the group resolves to | a child's result stops it |
//! | --- | --- | --- |
//! | (the default, [`FirstErr`]) | `Result<(), E>` | at the first `Err` |
//! | [`collect`](Group::collect) | `Result<Vec<T>, E>`, in the order of admission | at the first `Err` |
//! | [`all_errors`](Group::all_errors) | `Result<(), Errors<E>>` | never |
//! | [`settle`](Group::settle) | `Vec<Result<T, E>>`, in the order of admission | never |
//! | [`first_ok`](Group::first_ok) | `Result<T, Errors<E>>` | at the first `Ok` |
//! | [`first_done`](Group::first_done) | `Option<Result<T, E>>` | at the first to finish |
//! | [`with_policy`](Group::with_policy) | what your [`Policy`] makes | when it says so |
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
//! let lengths: Vec<usize> = group.await?; // as the urls are, whoever was first
//! # assert_eq!(lengths, [2, 3]);
//! # Ok(())
//! # }
//! # futures::executor::block_on(run(&["/a", "/bc"])).unwrap();
//! ```
//!
//! Whatever the policy, a cancelled token or a panic stops the group, and what runs is polled to
//! its end.
//!
//! Where the results are wanted one by one, as they come, the group becomes a stream of them,
//! by [`results`](Group::results): in the order in which children finish, or
//! [in the order of admission](stream::Results::in_order); and it may be
//! [fed](stream::Results::feed) with a stream of children.
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
//! # Watching
//!
//! [`stats`](Group::stats) are the numbers of one moment: enough for a progress bar. An
//! [`Observer`] hears each [`Event`], in order: who is queued, starts and finishes, and how. It
//! may hold a [`Handle`] and act on what it hears; so a limit can follow the load.
//!
//! # In parallel
//!
//! The children of [`Group::on`] run as tasks of an executor, on all its threads; the group
//! waits for them. All else is the same.
//!
//! # Without a group
//!
//! Where all that is wanted is the values, [`map`](map()) and [`for_each`] run a future for each
//! input, and [`hedge`] makes another attempt where one takes long. Nobody holds a token of
//! theirs; so at the first error, or at `hedge`'s first value, they drop those that still run.
//!
//! ```
//! # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
//! # async fn run(urls: &[&str]) -> Result<(), std::io::Error> {
//! let lengths: Vec<usize> = errgroup::map(8, urls, |url| length(url)).await?; // as the urls are
//! # assert_eq!(lengths, [2, 3]);
//! # Ok(())
//! # }
//! # futures::executor::block_on(run(&["/a", "/bc"])).unwrap();
//! ```
//!
//! # Naming the types
//!
//! Inference finds the types where the group's output is used. Where it doesn't (`E0282`), say
//! one of them: `Ok::<_, MyError>(())` in a child, or `Group::<Boxed<(), MyError>>::new()`. As
//! a field or an argument a group is a `Group<Boxed<'a, T, E>>`, its handle a
//! `Handle<Boxed<'a, T, E>>`, and what either takes an `impl Child<Boxed<'a, T, E>>`.
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
//! # What to watch out for
//!
//! - **The children share one task.** They run concurrently, not in parallel: all on the
//!   thread that polls the group at the moment. For more cores there is [`Group::on`], whose
//!   children are tasks of an executor.
//! - **Blocking code blocks them all.** A child that computes for long or calls blocking I/O
//!   holds up its siblings and the group. Hand such work to threads (`spawn_blocking`,
//!   `unblock`) and let the child await the answer.
//! - **A group that is not polled does nothing**, as any future. Held across an `.await` of
//!   something else, its children stand still, with the locks and connections that they
//!   hold; if that something needs one of these, it is a deadlock. Use
//!   [`scope`](Group::scope), or `join!` the two.
//! - **`let _ = group.go(child);`** without `.await` drops the child, never polled. And
//!   `let _ = group.go(child).await;` throws away the child that a stopped group gives back,
//!   and the news that it has stopped. [`go`](Group::go) shows three ways that don't.
//! - **`group.go(child).await?`** makes "the group has stopped" the error of your function, in
//!   place of the child's, and drops the group. Leave the loop, and await the group.
//! - **A stop does not cut off a scope's body.** Let it await what may take long within
//!   `handle.token().run(…)`.
//! - **What children borrow is declared before the group**, which is dropped first. For the
//!   token, clone it into each child.
//! - **A `go` of a handle that was polled once and is never polled again** holds up all who
//!   came after it, and holds the group open, until a stop. Drop it, or poll it on.
//! - **A daemon takes room as any child does**; under a limit of 1 it leaves none for anyone.
//! - **A stop is a signal, not a kill.** A child that does not listen to the token runs to
//!   its own end, and the group waits for it. To cut it off, set a
//!   [grace](Group::with_grace), or drop the group.
//!
//! # Features
//!
//! - `std` (default): panics of children are caught, siblings drained, the panic resumed; a
//!   child may wait in `go` for its own group. Without it the crate is `no_std` with
//!   `alloc`: a panic unwinds where it happens, and children add others by `queue`.
//! - `tracing`: `TracingObserver`, which gives each child a span of the crate `tracing`.
//!
//! # Coming from elsewhere
//!
//! `docs/coming-from.md` in the repository sets Go's `errgroup` and its relatives, tokio's
//! `JoinSet`, the combinators of `futures`, Trio's nurseries, Java's `StructuredTaskScope` and
//! others side by side with what answers them here.
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
mod observe;
mod policy;
mod reason;
mod set;
mod spawned;
mod stats;
pub mod stream;
mod token;
mod util;

pub use child::attach::Attach;
pub use child::task::{Task, task};
pub use child::{Boxed, Child, Children, Kind, LocalBoxed, Plain};
pub use error::{Stopped, TryGoError};
pub use future::{for_each, hedge, map};
pub use group::Group;
pub use handle::Handle;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub use observe::TracingObserver;
pub use observe::{Event, Observer, Outcome};
pub use policy::{
    AllErrors, Collect, Errors, FirstDone, FirstErr, FirstOk, Policy, Settle, Verdict,
};
pub use reason::{CancelError, Reason};
pub use spawned::Spawned;
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
