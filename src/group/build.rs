//! How a group is made: constructors and builders.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::future::Future;

use async_lock::Semaphore;
use futures_util::future::{BoxFuture, LocalBoxFuture};

use super::gates::Gates;
use super::hooks::Grace;
use super::surround::ObservedPolls;
use super::{Base, Group, OnStop};
use crate::admission::{Admission, ClosedEvent, EndNotes, Inspector};
use crate::child::ask::Ask;
use crate::child::attach::Attach;
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::{Boxed, Children, LocalBoxed, Plain, Seal};
use crate::observe::Observer;
use crate::policy::{FirstErr, Policy};
use crate::set::BlockSet;
use crate::spawned::{Locality, Spawned, SpawnedLocal, SpawnedSet, Spawner};
use crate::token::CancelToken;
use crate::util::flagged::Flagged;
use crate::util::parent_waker::ParentWaker;

// === constructors ===

impl<'a, T, E> Group<Boxed<'a, T, E>> {
    /// Makes a group for futures of any type that are `Send`; each is boxed.
    ///
    /// The futures may borrow for `'a`.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let names = vec!["a".to_string(), "b".to_string()];
    /// let mut group = Group::new();
    /// for name in &names {
    ///     group.queue(async move { if name.len() == 1 { Ok(()) } else { Err(name) } });
    /// }
    /// group.queue(async { Ok(()) });
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    pub fn new() -> Self {
        Self::polled(FirstErr::new())
    }
}

impl<'a, T, E> Default for Group<Boxed<'a, T, E>> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T, E> Group<LocalBoxed<'a, T, E>> {
    /// Makes a group for futures of any type, `Send` or not; each is boxed.
    ///
    /// The futures may borrow for `'a`. The group is not `Send` either.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let seen = Rc::new(Cell::new(0));
    /// let mut group = Group::local();
    /// for n in 1..=3 {
    ///     let seen = Rc::clone(&seen);
    ///     group.queue(async move {
    ///         seen.set(seen.get() + n);
    ///         Ok::<_, ()>(())
    ///     });
    /// }
    /// assert_eq!(group.await, Ok(()));
    /// assert_eq!(seen.get(), 6);
    /// # });
    /// ```
    pub fn local() -> Self {
        Self::polled(FirstErr::new())
    }
}

impl<F, T, E> Group<Plain<F>>
where
    F: Future<Output = Result<T, E>>,
{
    /// Makes a group for futures of one type, which are held without a box.
    ///
    /// All futures that one `async fn` returns are of one type; so are those of one closure. A
    /// child can't hold a [`Handle`](crate::Handle) of this very group, because its type would
    /// contain itself. Such children need [`new`](Self::new).
    ///
    /// The children may borrow. What the group owns beside them, such as a
    /// [deadline](Self::with_deadline), may not: it is [`Send` and `'static`](crate::Attach).
    ///
    /// # Tasks as children
    ///
    /// A join handle that aborts its task when it is dropped is a future of one type, whatever the
    /// task is: one of `spawn`, `spawn_blocking` or `spawn_local`, on this runtime or another. As
    /// children, such tasks run in parallel from the moment they are spawned. The limit does not
    /// hold them back: [`Group::on`](Self::on) does. A panic of one is a value, the handle's error.
    ///
    /// ```
    /// use errgroup::Group;
    /// use tokio_util::task::AbortOnDropHandle;
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let mut group = Group::unboxed().settle();
    /// group.queue(AbortOnDropHandle::new(tokio::spawn(async { 7 })));
    /// group.queue(AbortOnDropHandle::new(tokio::task::spawn_blocking(|| 6 * 7)));
    /// group.queue(AbortOnDropHandle::new(tokio::spawn(async { panic!("only this one") })));
    /// let ended = group.await;
    /// assert_eq!((ended[0].as_ref().ok(), ended[1].as_ref().ok()), (Some(&7), Some(&42)));
    /// assert!(ended[2].as_ref().is_err_and(|error| error.is_panic()));
    /// # }
    /// ```
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// async fn check(n: u32) -> Result<(), u32> {
    ///     if n < 3 { Ok(()) } else { Err(n) }
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::unboxed().with_limit(2);
    /// for n in 0..5 {
    ///     if group.go(check(n)).await.is_err() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(group.await, Err(3));
    /// # });
    /// ```
    pub fn unboxed() -> Self {
        Self::polled(FirstErr::new())
    }
}

impl<T, E> Group<Spawned<T, E>> {
    /// Makes a group whose children run in parallel: each is spawned as a task of an executor, and
    /// the group waits for it.
    ///
    /// `spawn` is called with a future for each child, when the child is admitted. It runs that
    /// future to its end on any thread: it spawns it, or sends it to threads of its own. It is
    /// called by the code that admits the child. If there is room, that is `go`, `try_go`, `queue`
    /// or `feed`, on the thread of a handle too. Otherwise it is usually the group's poll, which
    /// learns which children have finished. Or it is a call that makes room for children that
    /// wait: `set_limit`, `set_key_limit`, or the drop of a [`Slot`](crate::Slot) or of a `go` that
    /// has its turn.
    ///
    /// What `spawn` returns, be it a handle to the task or nothing, is kept until the child has
    /// ended, and dropped with it. So `Group::on(tokio::spawn)` and `Group::on(smol::spawn)` work
    /// as they stand, though smol's task is cancelled when it is dropped. For an executor of one
    /// thread there is [`on_local`](Group::on_local).
    ///
    /// Limits, the order of admission, policies, tokens, handles and scopes work as in any other
    /// group. The children live on their own, so they are `'static`, and so are their values and
    /// errors.
    ///
    /// # While the group is not polled
    ///
    /// The children that were admitted run on. One that has ended on its thread no longer counts as
    /// [running](crate::Stats::running), but is kept until it is taken in, which tells the policy
    /// of it. A poll of the group does that. So does its own [`go`](Self::go),
    /// [`try_go`](Self::try_go), [`ready`](Self::ready) or [`queue`](Self::queue), before it
    /// admits a child. But a `queue` takes in nothing, and only uses the room, while the group may
    /// still become a [stream of results](Self::results): no policy was set, and none was told of a
    /// child. One call of `try_go` or `queue` takes in 4,096 at most; those of a stream of results
    /// do so together, until its task has yielded. `go` and `ready` yield, and take in all. So a
    /// group that is only added to by `queue` may [keep all that has
    /// ended](crate::guide::hazards#parallel-children-that-have-ended-are-kept).
    ///
    /// A handle can't tell the policy, which may stop the group. So before that, a child's room is
    /// free for a handle's newcomer, and for what waits in the queue then, only in one case. The
    /// child has returned `Ok`, and it is plain: without a weight or another option that counts. No
    /// room is free before the policy was told
    ///
    /// - if the policy may stop at an `Ok`: [`first_ok`](Self::first_ok),
    ///   [`first_done`](Self::first_done) or one of your own;
    /// - after a failure;
    /// - in a group with an observer, which hears of each end before the start that follows from
    ///   it.
    ///
    /// # Drop
    ///
    /// A group that drains its children resolves when all are gone. Children that are cut off, by a
    /// drop of the group, a [grace](Self::with_grace), [`drop_on_stop`](Self::drop_on_stop) or
    /// [`until_stop`](crate::Task::until_stop), are woken. They are gone at their next poll,
    /// without being polled on. What `spawn` has returned for them is dropped at once. The group
    /// does not wait for them, and can't interrupt a child that is being polled. To wait for the
    /// children's end, cancel the token and await the group, or await
    /// [`closed`](crate::Handle::closed).
    ///
    /// `spawn` itself, and the executor that it may own, is dropped with the group, whatever
    /// handles are left.
    ///
    /// # Blocking work
    ///
    /// A child that computes for long holds up one thread of the executor, not its siblings on
    /// other threads. So a group can use all cores. Code that *waits* in blocking calls, for files
    /// or a database, belongs on threads for that purpose: let a child await
    /// `tokio::task::spawn_blocking(…)` or `smol::unblock(…)`, in a group of any kind. The limit
    /// then holds for these calls as well.
    ///
    /// # Panics
    ///
    /// A panic of a child does not reach the executor. It resumes out of the group, as in any other
    /// group. So does a panic of `spawn`, and its child counts as [dropped](crate::Stats::dropped).
    /// If the executor drops a child before it has finished, because it shuts down for example, the
    /// child counts as one that has panicked. If the group has stopped when it is told, the child
    /// was to end, and it only counts as [dropped](crate::Stats::dropped). A child that a stop
    /// drops is gone later, and may panic then: its panic resumes out of the group, too, unless the
    /// group has resolved before. Panics after the group has resolved or was dropped are discarded.
    ///
    /// To have a panic as a value, make [join handles the children](#tasks-as-children) of
    /// [`unboxed`](Self::unboxed).
    ///
    /// Without `std` nothing is caught: a child's panic unwinds into the executor.
    ///
    /// # Hazards
    ///
    /// `tokio::spawn` panics on a thread that is in no runtime, which ends the group. If a handle
    /// goes to such a thread, give the runtime's handle: `Group::on(move |child|
    /// runtime.spawn(child))`.
    ///
    /// A `spawn` that runs the future during the call (`block_on`) works, but then the children run
    /// one after another: a child of the same group that is admitted during the call, by that child
    /// for example, is spawned after it. A child that waits for a sibling which was admitted after
    /// it waits forever. (Without `std`, such a child is spawned inside the call, so a long chain
    /// of them overflows the stack.)
    ///
    /// # Examples
    ///
    /// On tokio:
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # #[tokio::main(flavor = "multi_thread", worker_threads = 2)]
    /// # async fn main() {
    /// let mut group = Group::on(tokio::spawn).with_limit(4).collect();
    /// for n in 1..=5_u64 {
    ///     // Up to four of them at the same time.
    ///     group.queue(async move { (1..=n).product::<u64>().checked_add(n).ok_or("too large") });
    /// }
    /// assert_eq!(group.await, Ok(vec![2, 4, 9, 28, 125]));
    /// # }
    /// ```
    ///
    /// On anything that implements `futures::task::Spawn`:
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::executor::ThreadPool;
    /// use futures::task::Spawn;
    ///
    /// # fn main() -> Result<(), std::io::Error> {
    /// let pool = ThreadPool::builder().pool_size(2).create()?;
    /// let mut group = Group::on(move |child| {
    ///     pool.spawn_obj(child.into()).expect("it has not shut down");
    /// });
    /// group.queue(async { Ok(()) });
    /// group.queue(async { Err("broken") });
    /// assert_eq!(futures::executor::block_on(group), Err("broken"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Blocking calls, three at a time:
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # smol::block_on(async {
    /// let mut group = Group::on(smol::spawn).with_limit(3);
    /// for _ in 0..9 {
    ///     group.queue(smol::unblock(|| std::fs::metadata("Cargo.toml").map(drop)));
    /// }
    /// group.await.unwrap();
    /// # });
    /// ```
    #[doc(alias("parallel", "spawn"))]
    pub fn on<S, R>(spawn: S) -> Self
    where
        S: Fn(BoxFuture<'static, ()>) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        Self::spawned(Arc::new(spawn))
    }
}

impl<T, E> Group<SpawnedLocal<T, E>> {
    /// Makes a group whose children run as tasks of an executor of the same thread: they need not
    /// be `Send`.
    ///
    /// It is [`on`](Group::on) for an executor such as tokio's `LocalSet`, smol's `LocalExecutor`
    /// or the `LocalPool` of `futures`. All that is said there of `spawn`, of drops, panics and
    /// hazards holds here as well. The children, their values and errors are `'static`. Neither the
    /// group nor its handles are `Send`.
    ///
    /// Unlike the children of [`local`](Group::local), these go on while the group is not polled.
    ///
    /// # Examples
    ///
    /// On tokio's `LocalSet`:
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// use errgroup::Group;
    /// use tokio::task::{LocalSet, spawn_local};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// LocalSet::new()
    ///     .run_until(async {
    ///         let seen = Rc::new(Cell::new(0));
    ///         let mut group = Group::on_local(spawn_local).with_limit(2);
    ///         for n in 1..=3 {
    ///             let seen = Rc::clone(&seen);
    ///             group.queue(async move {
    ///                 seen.set(seen.get() + n);
    ///                 Ok::<_, ()>(())
    ///             });
    ///         }
    ///         assert_eq!(group.await, Ok(()));
    ///         assert_eq!(seen.get(), 6);
    ///     })
    ///     .await;
    /// # }
    /// ```
    ///
    /// On smol's `LocalExecutor`:
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// use errgroup::Group;
    /// use smol::LocalExecutor;
    ///
    /// let executor = Rc::new(LocalExecutor::new());
    /// let spawner = Rc::clone(&executor);
    /// let mut group = Group::on_local(move |child| spawner.spawn(child)).collect();
    /// group.queue(async { Ok::<_, ()>(Rc::new(1)) });
    /// assert_eq!(smol::block_on(executor.run(group)), Ok(vec![Rc::new(1)]));
    /// ```
    pub fn on_local<S, R>(spawn: S) -> Self
    where
        S: Fn(LocalBoxFuture<'static, ()>) -> R + 'static,
        R: 'static,
    {
        Self::spawned(Rc::new(spawn))
    }
}

impl<T, E, L: Locality> Group<Spawned<T, E, L>> {
    /// Makes a group whose children are tasks of an executor.
    fn spawned(spawn: L::SpawnFn<T, E>) -> Self {
        let (parent, event) = (ParentWaker::new(), Arc::<ClosedEvent>::default());
        let on_empty = {
            let event = Arc::clone(&event);
            move || event.set()
        };
        let spawner = Spawner::new(spawn, Arc::clone(&parent), on_empty);
        let mut admission = Admission::new(spawner.clone(), parent, None);
        admission.set_closed_event(event);
        admission.set_notes(EndNotes::FreesRoom);
        Self::assemble(admission, SpawnedSet::new(spawner), FirstErr::new())
    }
}

impl<C, P, O> Group<C, P, O>
where
    C: Children<Set = BlockSet<C>>,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    /// Makes a group that polls its children itself.
    #[inline]
    fn polled(policy: P) -> Self {
        Self::assemble(Admission::new((), ParentWaker::new(), None), BlockSet::new(), policy)
    }

    /// Makes a group with a limit, whose poll ends when the policy stops it; see
    /// [`finish_now`](Self::finish_now).
    #[inline]
    pub(crate) fn left_at_stop(limit: usize, policy: P) -> Self {
        let admission = Admission::new((), ParentWaker::new(), Some(limit));
        let mut group = Self::assemble(admission, BlockSet::new(), policy);
        group.base.on_stop = OnStop::Leave;
        group
    }
}

impl<C, P, O> Group<C, P, O>
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    fn assemble(admission: Admission<C>, set: C::Set, policy: P) -> Self {
        Self {
            base: Base::new(admission, set),
            policy: Some(policy),
            on_cancel: None,
            advance: Self::poll_children::<false>,
            finish: P::finish,
        }
    }
}

// === builders ===

impl<C: Children, P, O> Group<C, P, O> {
    /// Sets how many children may run at a time, as `SetLimit` of Go's `errgroup` does.
    ///
    /// Without it there is no limit.
    ///
    /// # Cost
    ///
    /// None: the limit is a number that is compared with another.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is 0: no child could ever run.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// let mut group = Group::new().with_limit(2);
    /// for _ in 0..5 {
    ///     group.queue(async { Ok::<(), ()>(()) });
    /// }
    /// assert_eq!(group.stats().running, 2);
    /// ```
    #[doc(alias("semaphore", "concurrency", "SetLimit"))]
    // Inlined, or one more unit of a program would contain the code that drops a group.
    #[track_caller]
    #[inline]
    pub fn with_limit(mut self, limit: usize) -> Self {
        assert!(limit > 0, "the limit must be at least 1; for no limit, leave out `with_limit`");
        self.base.admission.start_with_limit(limit);
        self
    }

    /// Sets how many children may wait in the queue. Without it there is no bound.
    ///
    /// If so many wait, [`try_queue`](Self::try_queue) gives its child back, with
    /// [`AtLimit`](crate::TryGoError::AtLimit), and [`queue`](Self::queue) drops it. A dropped one
    /// counts in [`Stats::dropped`](crate::Stats::dropped), and an observer is told that it was
    /// rejected. With a bound of 0, a child that finds no room is never queued.
    ///
    /// The bound is for children that come by these two methods. A caller that waits in
    /// [`go`](Self::go), [`feed`](Self::feed) or [`reserve`](crate::Handle::reserve) is not
    /// counted. The child of a `go` that waits [inside a
    /// child](crate::Handle#waiting-inside-a-child) is queued even if the queue is full.
    ///
    /// # Cost
    ///
    /// The group shares its state, as a [`handle`](Self::handle) makes it do: a child takes about
    /// 630 instructions more. The number itself costs a comparison.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, TryGoError};
    ///
    /// let mut group = Group::new().with_limit(1).with_queue_limit(1);
    /// for _ in 0..2 {
    ///     assert!(group.try_queue(async { Ok::<(), ()>(()) }).is_ok());
    /// }
    /// let refused = group.try_queue(async { Ok(()) });
    /// assert!(matches!(refused, Err(TryGoError::AtLimit(_))));
    /// assert_eq!((group.stats().running, group.stats().queued), (1, 1));
    /// ```
    pub fn with_queue_limit(self, limit: usize) -> Self {
        let shared = self.base.admission.share();
        shared.core.with_state(|state| state.queue_limit = Some(limit));
        self
    }

    /// Sets how many children of each [key](crate::Task::key) may run at a time, beside the limit
    /// of the group.
    ///
    /// Without it there is no such limit, unless [`set_key_limit`](Self::set_key_limit) sets one
    /// for a key. Children without a key are not concerned.
    ///
    /// # Cost
    ///
    /// The group shares its state, as a [`handle`](Self::handle) makes it do: a child takes about
    /// 630 instructions more, with a key or without one. [`Task::key`](crate::Task::key) says
    /// what a key costs.
    ///
    /// # Panics
    ///
    /// Panics if `limit` is 0: no child that has a key could ever run.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, task};
    ///
    /// let mut group = Group::new().with_limit(8).with_key_limit(2);
    /// for user in ["ann", "ann", "ann", "bob"] {
    ///     group.queue(task(async { Ok::<(), ()>(()) }).key(user));
    /// }
    /// assert_eq!((group.stats().running, group.stats().queued), (3, 1));
    /// ```
    #[doc(alias = "per host")]
    #[track_caller]
    pub fn with_key_limit(self, limit: usize) -> Self {
        assert!(
            limit > 0,
            "the limit of a key must be at least 1; for no limit, leave out `with_key_limit`"
        );
        self.base.admission.share().calls.update(&mut |state| state.queue.set_key_limits(limit));
        self
    }

    /// Makes the group's token a child of `token`, so that a cancel of `token` stops the group.
    ///
    /// After such a stop an `Ok` output may be incomplete, unless
    /// [`err_on_cancel`](Self::err_on_cancel) makes the cancel an error. Cancelling the group's own
    /// token does not cancel `token`.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, has resolved or was closed, or if other
    /// code has its own token, a handle or a [hold](Self::hold): these would not belong to `token`.
    /// Panics if the group has a parent: it would be forgotten.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{CancelToken, Group, Reason};
    ///
    /// # futures::executor::block_on(async {
    /// let shutdown = CancelToken::new();
    /// let mut group = Group::new().with_parent(&shutdown);
    /// let token = group.token().clone();
    /// group.queue(async move { token.cancelled().await; Ok::<(), ()>(()) });
    /// shutdown.cancel();
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    #[track_caller]
    pub fn with_parent(mut self, token: &CancelToken) -> Self {
        let untouched = self.base.admission.set_parent_token(token);
        assert!(
            untouched,
            "call `with_parent` before the group's first child, `token` or `handle`, and once"
        );
        self
    }

    /// Shares a [`Semaphore`] with other groups and other code: each running child holds one permit
    /// of it, beside the group's own limit.
    ///
    /// A child that has room but no permit waits as it would for room, at its position in the
    /// queue, and [`try_go`](Self::try_go) says [`AtLimit`](crate::TryGoError::AtLimit). The group,
    /// when it is polled, waits for the permit on the child's behalf. A child holds one permit
    /// whatever its [weight](crate::Task::weight). A permit that no waiting child can use goes back
    /// at once. If a stop, a grace that is over or the group's drop ends a child of
    /// [`Group::on`](crate::Group::on), its permit goes back at once, while the executor has yet to
    /// drop the child's future. Such a child may still be in the middle of a poll.
    ///
    /// While the group waits for a permit, it holds a position in the semaphore's queue, like any
    /// future that waits for one. If the group is not polled then, tasks behind it are not woken.
    /// Poll such a group, or drop it.
    ///
    /// # Hazards
    ///
    /// Do not share a semaphore between a group and groups inside its children: the children hold
    /// all permits, and wait for inner groups that get none. Give the permits to the innermost
    /// groups only. (Children that wait for *room* in their own group do not deadlock.)
    ///
    /// `async_lock` wakes the tasks that wait for a permit while it holds a lock of its own. A
    /// waker that polls or drops its task inline deadlocks if that task waits for the same
    /// semaphore.
    ///
    /// # Fairness
    ///
    /// When a child ends, its permit goes to the next child in the group's own queue, but at most
    /// 32 times in a row. Then the free permits go back, and the group asks again when it has been
    /// polled once more, so that the tasks that were woken for them come first. A task that was
    /// woken and is not polled until then has to wait for the next time.
    ///
    /// # Cost
    ///
    /// The group shares its state, as a [`handle`](Self::handle) makes it do: with the permit, a
    /// child takes about 1,500 instructions more.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, has resolved or was closed, or if there is
    /// a handle, a [hold](Self::hold) or a watchdog. Panics if it has a semaphore: that one would
    /// be forgotten.
    ///
    /// # Examples
    ///
    /// At most two requests at a time, of all groups together:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use errgroup::{Group, Semaphore};
    ///
    /// # async fn fetch(url: &str) -> Result<(), std::io::Error> { Ok(()) }
    /// # futures::executor::block_on(async {
    /// let cap = Arc::new(Semaphore::new(2));
    /// let crawl = async |host: &'static str| {
    ///     let mut group = Group::new().with_limit(8).with_semaphore(Arc::clone(&cap));
    ///     for _ in 0..10 {
    ///         if group.go(fetch(host)).await.is_err() {
    ///             break;
    ///         }
    ///     }
    ///     group.await
    /// };
    /// let (a, b) = futures::join!(crawl("a.example"), crawl("b.example"));
    /// assert!(a.is_ok() && b.is_ok());
    /// # });
    /// ```
    #[doc(alias = "permit")]
    #[track_caller]
    pub fn with_semaphore(mut self, semaphore: Arc<Semaphore>) -> Self {
        let untouched = self.base.admission.set_semaphore(semaphore);
        assert!(
            untouched,
            "call `with_semaphore` before the group's first child or `handle`, and once"
        );
        self
    }

    /// Lets each child wait for something beside room: for a rate, for memory, for a connection of
    /// a pool.
    ///
    /// When the first of those that wait has room, in the group and in its key, `f` is called, and
    /// the group waits for the future that it returns, whenever it is polled. The future's output
    /// is kept with the child and dropped when the child has ended. Commonly it is a guard: a
    /// permit, a connection. It goes to the child that is the first of those that wait when the
    /// future resolves. Usually this is the child that `f` was told of, but one of a higher
    /// priority may have come since.
    ///
    /// A gate that awaits several things is written `|ask| async { … }`, or `async move` with what
    /// it needs of `ask`. It is not an `async` closure, whose future would borrow the [`Ask`].
    ///
    /// Several gates are asked in the order in which they were set, each when the one before it has
    /// given its guard. The children's order is as without a gate: no child passes one that waits
    /// at a gate.
    ///
    /// [`try_go`](Self::try_go) polls the future once. If it is pending, the answer is
    /// [`AtLimit`](crate::TryGoError::AtLimit), and the future is kept for the next child. A
    /// [handle's](crate::Handle::try_go) can't poll it: it admits a child only if a guard is left
    /// that was got for one of its weight. [`queue`](Self::queue) admits its child in a later poll
    /// of the group.
    ///
    /// A [`feed`](Self::feed) passes the gates before it asks its stream. So a gate is not told of
    /// its child. When the stream has none to give, pending or at its end, the guard is dropped,
    /// and the gate is asked anew for the next child.
    ///
    /// A waiting `go` or [`reserve`](crate::Handle::reserve) that has its turn has its guard, too.
    /// If it is dropped then, or its room is taken back, the group is woken, and drops the guard.
    /// The guard goes to no other child.
    ///
    /// While the future is pending it may hold a position in a queue of its own, such as that of a
    /// semaphore. If nothing waits in the group any more, the future is kept, and is not polled
    /// until a child comes.
    ///
    /// # Drop
    ///
    /// A guard is dropped after its child, before the child's room is given away; that of a child
    /// of [`Group::on`](crate::Group::on) when the group is told of the child's end. If a stop or
    /// the group's drop ends such a child, its guard goes at once, while the executor has yet to
    /// drop the child's future. When the group stops, its next poll drops the future that waits,
    /// and guards that no child has.
    ///
    /// # Cost
    ///
    /// A child takes about 3,500 instructions more, and what `f` and its future take.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, has resolved or was closed, or if there is
    /// a handle, a [hold](Self::hold) or a watchdog.
    ///
    /// A panic of `f`, of its future or of a guard's destructor is treated like a child's.
    ///
    /// # Examples
    ///
    /// At most ten children in any second:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use errgroup::Group;
    /// use tokio::time::{Instant, sleep_until};
    ///
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time()
    /// #     .start_paused(true)
    /// #     .build()
    /// #     .unwrap()
    /// #     .block_on(async {
    /// let started = Instant::now();
    /// let mut next = started;
    /// let mut group = Group::new().with_gate(|_| {
    ///     let turn = next.max(Instant::now());
    ///     next = turn + Duration::from_millis(100);
    ///     sleep_until(turn)
    /// });
    /// for _ in 0..31 {
    ///     group.queue(async { Ok::<(), ()>(()) });
    /// }
    /// group.await.unwrap();
    /// assert_eq!(started.elapsed().as_secs(), 3);
    /// # });
    /// ```
    ///
    /// A permit of a semaphore of tokio for each child, while it runs:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use errgroup::Group;
    /// use tokio::sync::Semaphore;
    ///
    /// # futures::executor::block_on(async {
    /// let permits = Arc::new(Semaphore::new(2));
    /// let mut group = Group::new().with_gate(|_| Arc::clone(&permits).acquire_owned());
    /// for _ in 0..9 {
    ///     group.queue(async { Ok::<(), ()>(()) });
    /// }
    /// group.await.unwrap();
    /// assert_eq!(permits.available_permits(), 2);
    /// # });
    /// ```
    ///
    /// The child does not get the guard. So a gate may count connections, as in the example
    /// `query`, and the child takes one out of the pool, which is never empty then.
    #[doc(alias("rate limit", "throttle", "budget"))]
    #[track_caller]
    pub fn with_gate<F, G>(mut self, f: F) -> Self
    where
        F: FnMut(&Ask<'_>) -> G + Attach<C>,
        G: Future<Output: Attach<C>> + Attach<C>,
    {
        let untouched = self.base.admission.demand_passes();
        assert!(untouched, "call `with_gate` before the group's first child or `handle`");
        let hooks = self.base.hooks_mut();
        let Gates { gates, .. } = &mut **hooks.gates.get_or_insert_with(|| Box::new(Gates::new()));
        gates.push(f.into_gate_fn(Seal::new()));
        self
    }

    /// Sets the policy: what the children's results add up to, instead of [`FirstErr`].
    ///
    /// The policies that come with the crate have builders of their own:
    /// [`collect`](Self::collect), [`all_errors`](Self::all_errors), [`settle`](Self::settle),
    /// [`first_ok`](Self::first_ok) and [`first_done`](Self::first_done).
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, since the policy has to be told of all of
    /// them, or if it has resolved. Panics if a policy was set before, or
    /// [`err_on_cancel`](Self::err_on_cancel): it would be undone.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{ChildInfo, Group, Policy, Reason, Verdict};
    ///
    /// #[derive(Default)]
    /// struct Sum(u64);
    ///
    /// impl<E> Policy<u64, E> for Sum {
    ///     type Output = u64;
    ///
    ///     fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<u64, E>) -> Verdict {
    ///         self.0 += result.unwrap_or(0);
    ///         Verdict::Continue
    ///     }
    ///
    ///     fn finish(&mut self, _: &Reason) -> u64 {
    ///         self.0
    ///     }
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_policy(Sum::default());
    /// for n in 1..=4 {
    ///     group.queue(async move { if n == 3 { Err("three") } else { Ok(n) } });
    /// }
    /// assert_eq!(group.await, 7);
    /// # });
    /// ```
    #[track_caller]
    pub fn with_policy<Q>(mut self, policy: Q) -> Group<C, Q, Q::Output>
    where
        Q: Policy<C::Ok, C::Err>,
    {
        self.base.admission.keep_names();
        self.set_policy(policy)
    }

    /// Sets the policy, which may be one that does not ask for the children's names.
    #[track_caller]
    pub(super) fn set_policy<Q>(self, policy: Q) -> Group<C, Q, Q::Output>
    where
        Q: Policy<C::Ok, C::Err>,
    {
        assert!(
            !self.base.has_policy,
            "a group has one policy: set it once (`with_policy`, `collect`, ...), before `named` and \
             `with_reason`, which change it"
        );
        self.map_policy(|_| policy)
    }

    /// Replaces the policy by what `map` makes of it.
    #[track_caller]
    pub(super) fn map_policy<Q>(mut self, map: impl FnOnce(P) -> Q) -> Group<C, Q, Q::Output>
    where
        Q: Policy<C::Ok, C::Err>,
    {
        assert!(
            self.is_new(),
            "set the policy (`with_policy`, `collect`, ...) before the group's first child",
        );
        assert!(
            self.on_cancel.is_none(),
            "call `err_on_cancel` after the policy's builders, which would undo it",
        );
        match self.policy.take().map(map) {
            Some(policy) => {
                if <C::Set as ChildSet<C>>::Spawner::SPAWNS {
                    let stops = policy.may_stop_at_ok();
                    let notes = if stops { EndNotes::Ended } else { EndNotes::FreesRoom };
                    self.base.admission.set_notes(notes);
                }
                self.replace_policy(policy, Group::poll_children::<false>, Q::finish)
            }
            None => unreachable!("the policy of a new group has not panicked"),
        }
    }
}

impl<C: Children, P, O> Group<C, P, O> {
    /// Names the type of the children's errors, and leaves all else to be inferred.
    ///
    /// The type of their values must follow from a child. See
    /// [which constructor](crate::guide::constructors#when-the-type-cannot-be-inferred).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_error::<std::io::Error>();
    /// group.queue(async {
    ///     let mut file = std::fs::File::open("Cargo.toml")?;
    ///     std::io::copy(&mut file, &mut std::io::sink())?;
    ///     Ok(())
    /// });
    /// assert!(group.await.is_ok());
    /// # });
    /// ```
    pub fn with_error<E>(self) -> Self
    where
        C: Children<Err = E>,
    {
        self
    }
}

// === time ===

impl<C: Children, P, O> Group<C, P, O> {
    /// Stops the group when `deadline` resolves, if the group has not resolved before, as
    /// `context.WithDeadline` does in Go.
    ///
    /// After such a stop an `Ok` output may be incomplete: children never started, or ended early.
    /// So set [`err_on_cancel`](Self::err_on_cancel) beside it, after the policy, which makes the
    /// deadline an error, unless a partial result is what you want. A child that does not listen to
    /// the token is waited for, however late: [`drop_on_stop`](Self::drop_on_stop) drops it.
    ///
    /// The token is cancelled with [`Reason::Deadline`](crate::Reason::Deadline). `deadline` is the
    /// timer of any runtime or any other future, such as a signal or a channel that closes; its
    /// output is dropped.
    ///
    /// A deadline is a stop like any other. The running children are told through the token and
    /// drained, unless [`with_grace`](Self::with_grace) bounds that time. If several deadlines
    /// are set, the last one holds; to have several, `select` them.
    ///
    /// The group polls `deadline` beside its children, and only if it was woken. So do
    /// [`go`](Self::go) and [`feed`](Self::feed) while they wait, and a [`scope`](Self::scope). The
    /// children that were woken come first: one that is done by then is so in time, even if the
    /// group is polled late. If none is left, the group resolves as if the deadline had not passed.
    /// Children that are always ready can't postpone the deadline: it is checked at the end of each
    /// poll, even if that has not reached all of them. One poll polls 4,096 children, or fewer if
    /// they yield.
    ///
    /// # Drop
    ///
    /// `deadline` is dropped when it has resolved, when the group has stopped, or with the group.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, or has resolved.
    ///
    /// A panic of the future is treated like a child's.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use errgroup::{CancelError, Group, Reason};
    /// use tokio::time::sleep;
    ///
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time()
    /// #     .start_paused(true)
    /// #     .build()
    /// #     .unwrap()
    /// #     .block_on(async {
    /// let mut group = Group::new().with_deadline(sleep(Duration::from_secs(30))).err_on_cancel();
    /// let token = group.token().clone();
    /// group.queue(async move {
    ///     while token.run(sleep(Duration::from_secs(1))).await.is_ok() {}
    ///     Ok::<(), CancelError>(())
    /// });
    /// assert_eq!(group.await.unwrap_err().reason(), &Reason::Deadline);
    /// # });
    /// ```
    #[doc(alias = "timeout")]
    #[track_caller]
    pub fn with_deadline<D>(mut self, deadline: D) -> Self
    where
        D: Future + Attach<C>,
    {
        assert!(self.is_new(), "call `with_deadline` before the group's first child");
        let deadline = deadline.into_timer(Seal::new());
        let deadline = Flagged::new(deadline, &self.base.admission.parent);
        self.base.hooks_mut().deadline = Some(deadline);
        self
    }

    /// Bounds how long children may go on after a stop. Those that still run when the time is over
    /// are dropped.
    ///
    /// Their results are missing in the output. After a child's error that is no matter. After a
    /// cancel or a deadline an `Ok` output may be incomplete:
    /// [`err_on_cancel`](Self::err_on_cancel) makes an error of these.
    ///
    /// Once the group has stopped, for any reason, and children still run, `f` is called. When the
    /// future that it returns resolves, the children that still run are dropped. Then the group
    /// resolves as it would have.
    ///
    /// So a stop has two phases. The first is a signal through the token, after which a child may
    /// clean up. The second is the end of the children that have not finished. Without a grace,
    /// there is no second phase. With [`drop_on_stop`](Self::drop_on_stop), there is no first.
    ///
    /// Children that are dropped count as [`dropped`](crate::Stats::dropped), and the policy is not
    /// told of them. The body of a [`scope`](Self::scope) is not dropped. `f` is called at most
    /// once, and only if children run when the group stops. If several graces are set, the last one
    /// holds.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, or has resolved.
    ///
    /// A panic of `f` or of its future is treated like a child's. The running children are then
    /// drained, however long that takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use errgroup::Group;
    /// use tokio::time::sleep;
    ///
    /// # tokio::runtime::Builder::new_current_thread()
    /// #     .enable_time()
    /// #     .start_paused(true)
    /// #     .build()
    /// #     .unwrap()
    /// #     .block_on(async {
    /// let mut group = Group::new().with_grace(|| sleep(Duration::from_secs(3)));
    /// let (handle, token) = (group.handle(), group.token().clone());
    /// group.queue(async move {
    ///     token.cancelled().await;
    ///     sleep(Duration::from_secs(1)).await; // cleans up
    ///     Ok(())
    /// });
    /// group.queue(async {
    ///     sleep(Duration::MAX).await; // doesn't listen
    ///     Ok(())
    /// });
    /// group.queue(async { Err("the disk is full") });
    /// assert_eq!(group.await, Err("the disk is full")); // after three seconds
    /// assert_eq!((handle.stats().ok, handle.stats().dropped), (1, 1));
    /// # });
    /// ```
    #[doc(alias("graceful", "shutdown"))]
    #[track_caller]
    pub fn with_grace<G, F>(mut self, f: G) -> Self
    where
        G: FnOnce() -> F + Attach<C>,
        F: Future + Attach<C>,
    {
        assert!(self.is_new(), "call `with_grace` before the group's first child");
        let grace = f.into_grace_fn(Seal::new());
        self.base.hooks_mut().grace = Grace::Waiting(grace);
        self.check_grace();
        self
    }

    /// Drops the running children when the group stops, instead of draining them.
    ///
    /// Their results are missing in the output. After a child's error that is no matter. After a
    /// cancel or a deadline an `Ok` output may be incomplete:
    /// [`err_on_cancel`](Self::err_on_cancel) makes an error of these.
    ///
    /// At the first error, a cancel or the [deadline](Self::with_deadline), the children that still
    /// run are dropped, and the group resolves in that poll. This is what `try_join_all` and a
    /// dropped `JoinSet` do. It suits children that have nothing to clean up, or whose destructors
    /// do it. For some children only, see [`until_stop`](crate::Task::until_stop).
    ///
    /// Children that are dropped count as [`dropped`](crate::Stats::dropped), and the policy is not
    /// told of them. The body of a [`scope`](Self::scope) is not dropped.
    ///
    /// The children of [`Group::on`](Self::on) are told in that poll, and are gone at their next
    /// one, without being polled on. The group does not wait for that. The result of one that has
    /// finished by then still counts.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, or has resolved, or if it has a
    /// [grace](Self::with_grace): there would be no child for it.
    ///
    /// A panic of a child's destructor is treated like any other panic of a child. A panic of a
    /// child is a stop, too: its siblings are dropped, and then it resumes.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().drop_on_stop();
    /// let handle = group.handle();
    /// group.queue(std::future::pending()); // listens to nothing
    /// group.queue(async { Err::<(), _>("the disk is full") });
    /// assert_eq!(group.await, Err("the disk is full"));
    /// assert_eq!((handle.stats().failed, handle.stats().dropped), (1, 1));
    /// # });
    /// ```
    #[doc(alias("abort_all", "abort"))]
    #[track_caller]
    pub fn drop_on_stop(mut self) -> Self {
        assert!(self.is_new(), "call `drop_on_stop` before the group's first child");
        self.base.on_stop = OnStop::Drop;
        // So the group is not taken for a plain one.
        self.base.hooks_mut();
        self.check_grace();
        self
    }

    #[track_caller]
    fn check_grace(&self) {
        let grace = self.base.hooks.as_ref().map(|hooks| &hooks.grace);
        assert!(
            !matches!(grace, Some(Grace::Waiting(_))) || self.base.on_stop != OnStop::Drop,
            "a group either drops its children when it stops or gives them a grace: \
             leave out `drop_on_stop` or `with_grace`",
        );
    }

    /// Returns `true` if the group never had a child, and has not resolved.
    fn is_new(&self) -> bool {
        !self.base.admission.has_accepted() && !self.is_resolved()
    }
}

// === observing ===

impl<C: Children, P, O> Group<C, P, O> {
    /// Gives the group a name, and keeps what its [snapshots](Self::snapshot) tell of its children.
    ///
    /// The snapshots then know the children's names and priorities, how often each was polled, and,
    /// if a [handle](crate::Handle::snapshot) takes them, which children were woken. A group with a
    /// name appears in the snapshot of the nearest group with a name whose token is above its own,
    /// as [`with_parent`](Self::with_parent) makes it.
    ///
    /// Several groups may have the same name.
    ///
    /// # Cost
    ///
    /// The group shares its state, as a [`handle`](Self::handle) makes it do. Each child costs an
    /// allocation, and each of its polls two locks. A group without a name has no cost for it. If
    /// the group's token has a child by then, the time grows with the number of named groups below
    /// the same parent: name the group first.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, has resolved or was closed, or if there is
    /// a handle, a [hold](Self::hold) or a watchdog.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Boxed, Group, task};
    ///
    /// # futures::executor::block_on(async {
    /// let mut server = Group::new().with_name("server");
    /// let token = server.token().clone();
    /// server.queue(task(async move {
    ///     let requests = Group::<Boxed<'_, (), ()>>::new().with_name("requests");
    ///     let mut requests = requests.with_parent(&token);
    ///     requests.queue(std::future::pending());
    ///     requests.await
    /// }).name("connection 1"));
    /// assert!(futures::poll!(&mut server).is_pending());
    ///
    /// let snapshot = server.handle().snapshot();
    /// assert_eq!(snapshot.children[0].name.as_deref(), Some("connection 1"));
    /// assert_eq!(snapshot.groups[0].name.as_deref(), Some("requests"));
    /// # });
    /// ```
    #[track_caller]
    pub fn with_name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        let name = Arc::from(&*name.into());
        let Some(inspector) = self.base.admission.inspect_children(name) else {
            panic!("call `with_name` before the group's first child or `handle`");
        };
        // The group's own polls of spawned children only take their results.
        if !<C::Set as ChildSet<C>>::Spawner::SPAWNS {
            self.base.hooks_mut().count_poll =
                Some(Box::new(move |index, cx, poll| Inspector::poll(&inspector, index, cx, poll)));
        }
        self
    }

    /// Polls the children in an order that `seed` determines, for tests.
    ///
    /// The order is one that the group's promises permit, and that it may never take by itself. In
    /// each round the children are polled in a shuffled order, those that were never polled
    /// between the others. A child that was woken may be polled some rounds later; about a
    /// quarter of the children are slow in this way. The group's poll may end early; then it wakes
    /// its own task. The same seed and the same wake-ups give the same order. Another schedule
    /// replaces the one that was set before.
    ///
    /// The children still start in the order of admission, as far as room, numbers and
    /// [events](crate::Event) go, and a [`go`](Self::go) still polls its child before it returns.
    /// Children that an executor polls ([`on`](Self::on)) are polled in the executor's order; the
    /// group takes their results in a shuffled one.
    ///
    /// [`testing::seeds`](crate::testing::seeds) runs a test with many seeds.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use errgroup::testing::Poller;
    ///
    /// let order = |seed| {
    ///     let mut group = Group::new().collect().with_schedule(seed);
    ///     let counter = std::sync::atomic::AtomicUsize::new(0);
    ///     for _ in 0..8 {
    ///         let counter = &counter;
    ///         group.queue(async move {
    ///             Ok::<_, ()>(counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    ///         });
    ///     }
    ///     Poller::new().finish(group).unwrap()
    /// };
    /// assert_eq!(order(1), order(1));
    /// assert_ne!(order(1), order(2));
    /// ```
    #[cfg(feature = "testing")]
    #[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
    pub fn with_schedule(mut self, seed: u64) -> Self {
        self.base.set.blocks().set_schedule(seed);
        self
    }

    /// Sets an observer, which is told what happens in the group. See [`Observer`].
    ///
    /// It is told which children are queued, start, finish or are rejected, when the limit changes,
    /// and when the group stops. If several observers are set, the last one holds.
    ///
    /// # Cost
    ///
    /// A child takes about 1,100 instructions more, or 2,400 if it is queued, and what the observer
    /// takes. A group without an observer has no cost for it.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, has resolved or was closed, or if there is
    /// a handle, a [hold](Self::hold) or a watchdog.
    ///
    /// A panic of the observer is treated like a child's.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Event, Group};
    ///
    /// # futures::executor::block_on(async {
    /// let mut running = 0;
    /// let mut most = 0;
    /// let mut group = Group::new().with_limit(3).with_observer(|event: &Event| {
    ///     match event {
    ///         Event::Started { .. } => running += 1,
    ///         Event::Finished { index: Some(_), .. } => running -= 1,
    ///         _ => {}
    ///     }
    ///     most = most.max(running);
    /// });
    /// for n in 0..10 {
    ///     group.queue(async move { Ok::<_, ()>(n) });
    /// }
    /// group.await.unwrap();
    /// assert_eq!((running, most), (0, 3));
    /// # });
    /// ```
    #[track_caller]
    pub fn with_observer<W>(mut self, mut observer: W) -> Self
    where
        W: Observer + Attach<C>,
    {
        let polls = observer.around();
        let untouched = self.base.admission.observe(polls.as_ref());
        assert!(untouched, "call `with_observer` before the group's first child or `handle`");
        let observer = observer.into_observer(Seal::new());
        let hooks = self.base.hooks_mut();
        hooks.observer = Some(observer);
        // The group's own polls of spawned children only take their results.
        let polled = !<C::Set as ChildSet<C>>::Spawner::SPAWNS;
        hooks.polls = polls.filter(|_| polled).map(ObservedPolls::boxed);
        self
    }
}
