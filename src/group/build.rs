//! How a group is made: constructors and builders.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;

use async_lock::Semaphore;
use futures_util::future::BoxFuture;

use super::hooks::Hooks;
use super::{Group, poll};
use crate::admission::{Admission, ClosedEvent};
use crate::child::Children;
use crate::child::Seal;
use crate::child::attach::Attach;
use crate::child::{Boxed, LocalBoxed, Plain};
use crate::observe::Observer;
use crate::policy::{FirstErr, Policy};
use crate::set::BlockSet;
use crate::spawned::{Spawned, SpawnedSet, Spawner};
use crate::token::CancelToken;
use crate::util::panic::FirstPanic;
use crate::util::parent_waker::{ParentWaker, ReadyBlocks};

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
    /// learns which children have finished.
    ///
    /// Limits, the order of admission, policies, tokens, handles and scopes work as in any other
    /// group. The children live on their own, so they are `'static`, and so are their values and
    /// errors.
    ///
    /// While the group is not polled, the children that were admitted run on, but the room of those
    /// that finish is not given to others.
    ///
    /// # Drop
    ///
    /// When the group resolves by itself, all its children are gone. Children that a drop of the
    /// group or a [grace](Self::with_grace) ends are woken, and are gone at their next poll,
    /// without being polled on. Neither waits for that, and neither can interrupt a child that is
    /// being polled. To wait for the children's end, cancel the token and await the group, or await
    /// [`closed`](crate::Handle::closed).
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
    /// child counts as one that has panicked. After the group was dropped, panics of its children
    /// are discarded.
    ///
    /// Without `std` nothing is caught: a child's panic unwinds into the executor.
    ///
    /// # Hazards
    ///
    /// A `spawn` that runs the future during the call (`block_on`) works, but then the children run
    /// one after another. A child that waits for a sibling which was admitted after it waits
    /// forever.
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
    /// let mut group = Group::on(|child| drop(tokio::spawn(child))).with_limit(4).collect();
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
    /// let mut group = Group::on(|child| smol::spawn(child).detach()).with_limit(3);
    /// for _ in 0..9 {
    ///     group.queue(smol::unblock(|| std::fs::metadata("Cargo.toml").map(drop)));
    /// }
    /// group.await.unwrap();
    /// # });
    /// ```
    pub fn on<S>(spawn: S) -> Self
    where
        S: Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
    {
        let (parent, event) = (ParentWaker::new(), Arc::<ClosedEvent>::default());
        let on_empty = {
            let event = Arc::clone(&event);
            move || event.set()
        };
        let spawner = Spawner::new(spawn, Arc::clone(&parent), on_empty);
        let mut admission = Admission::new(spawner.clone(), parent);
        admission.set_closed_event(event);
        Self::assemble(admission, SpawnedSet::new(spawner), FirstErr::new())
    }
}

impl<C, P, O> Group<C, P, O>
where
    C: Children<Set = BlockSet<C>>,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    /// Makes a group that polls its children itself.
    fn polled(policy: P) -> Self {
        Self::assemble(Admission::new((), ParentWaker::new()), BlockSet::new(), policy)
    }
}

impl<C, P, O> Group<C, P, O>
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    fn assemble(admission: Admission<C>, set: C::Set, policy: P) -> Self {
        Self {
            admission,
            set,
            ready: ReadyBlocks::default(),
            policy: Some(policy),
            panic: FirstPanic::default(),
            hooks: None,
            stopped_by_group: false,
            on_cancel: None,
            abort_on_stop: false,
            advance: poll::advance::<C, P, O, false>,
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
    #[track_caller]
    pub fn with_limit(mut self, limit: usize) -> Self {
        assert!(limit > 0, "the limit must be at least 1; for no limit, leave out `with_limit`");
        self.admission.start_with_limit(limit);
        self
    }

    /// Sets how many children of each [key](crate::Task::key) may run at a time, beside the limit
    /// of the group.
    ///
    /// Without it there is no such limit, unless [`set_key_limit`](Self::set_key_limit) sets one
    /// for a key. Children without a key are not concerned.
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
    #[track_caller]
    pub fn with_key_limit(mut self, limit: usize) -> Self {
        assert!(
            limit > 0,
            "the limit of a key must be at least 1; for no limit, leave out `with_key_limit`"
        );
        self.admission.set_key_limits(limit);
        self
    }

    /// Makes the group's token a child of `token`, so that a cancel of `token` stops the group.
    ///
    /// Cancelling the group's own token does not cancel `token`.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, or if its own token or a handle was given
    /// out: these would not belong to `token`.
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
        let untouched = self.admission.set_parent(token);
        assert!(
            untouched,
            "call `with_parent` before the group's first child, `token` or `handle`"
        );
        self
    }

    /// Shares a semaphore with other groups and other code: each running child holds one permit of
    /// it, beside the group's own limit.
    ///
    /// A child that has room but no permit waits as it would for room, at its position in the
    /// queue, and [`try_go`](Self::try_go) says [`AtLimit`](crate::TryGoError::AtLimit). The group,
    /// when it is polled, waits for the permit on the child's behalf. A child holds one permit
    /// whatever its [weight](crate::Task::weight). A permit that no waiting child can use goes back
    /// at once. All permits go back when the group is dropped.
    ///
    /// While the group waits for a permit, it holds a position in the semaphore's queue, like any
    /// future that waits for one. If the group is not polled then, tasks behind it are not woken.
    /// Poll such a group, or drop it.
    ///
    /// `async_lock` wakes the tasks that wait for a permit while it holds a lock of its own. A
    /// waker that polls or drops its task inline deadlocks if that task waits for the same
    /// semaphore.
    ///
    /// # Fairness
    ///
    /// When a child ends, its permit goes to the next child in the group's own queue, but at most
    /// 32 times in a row. Then the free permits go back, and the group asks again in its next poll,
    /// when the tasks that waited have been woken.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, or if a handle was made.
    ///
    /// # Examples
    ///
    /// At most two requests at a time, of all groups together:
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use async_lock::Semaphore;
    /// use errgroup::Group;
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
    #[track_caller]
    pub fn with_semaphore(mut self, semaphore: Arc<Semaphore>) -> Self {
        let untouched = self.admission.set_semaphore(semaphore);
        assert!(untouched, "call `with_semaphore` before the group's first child or `handle`");
        self
    }

    /// Sets the policy: what the children's results add up to, instead of [`FirstErr`].
    ///
    /// The policies that come with the crate have builders of their own:
    /// [`collect`](Self::collect), [`all_errors`](Self::all_errors), [`settle`](Self::settle),
    /// [`first_ok`](Self::first_ok) and [`first_done`](Self::first_done). If several policies are
    /// set, the last one holds.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already, since the policy has to be told of all of
    /// them, or if it has resolved.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Policy, Verdict};
    ///
    /// #[derive(Default)]
    /// struct Sum(u64);
    ///
    /// impl<E> Policy<u64, E> for Sum {
    ///     type Output = u64;
    ///
    ///     fn on_child(&mut self, _index: usize, result: Result<u64, E>) -> Verdict {
    ///         self.0 += result.unwrap_or(0);
    ///         Verdict::Continue
    ///     }
    ///
    ///     fn finish(&mut self) -> u64 {
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
    pub fn with_policy<Q>(self, policy: Q) -> Group<C, Q, Q::Output>
    where
        Q: Policy<C::Ok, C::Err>,
    {
        assert!(
            self.is_new(),
            "set the policy (`with_policy`, `collect`, ...) before the group's first child",
        );
        self.replace_policy(policy, poll::advance::<C, Q, Q::Output, false>, Q::finish)
    }
}

// === time ===

impl<C: Children, P, O> Group<C, P, O> {
    /// Stops the group when `deadline` resolves, if the group has not resolved before, as
    /// `context.WithDeadline` does in Go.
    ///
    /// The token is cancelled with [`Reason::Deadline`](crate::Reason::Deadline). `deadline` is the
    /// timer of any runtime or any other future, such as a signal or a channel that closes; its
    /// output is dropped.
    ///
    /// A deadline is a stop like any other. The running children are told through the token and
    /// drained, unless [`with_grace`](Self::with_grace) bounds that time too. It is no error by
    /// itself, unless [`err_on_cancel`](Self::err_on_cancel) makes it one. If several deadlines are
    /// set, the last one holds; to have several, `select` them.
    ///
    /// The group polls `deadline` beside its children, and only if it was woken. So do
    /// [`go`](Self::go) and [`feed`](Self::feed) while they wait, and a [`scope`](Self::scope).
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
    #[track_caller]
    pub fn with_deadline<D>(mut self, deadline: D) -> Self
    where
        D: Future + Attach<C>,
    {
        assert!(self.is_new(), "call `with_deadline` before the group's first child");
        let deadline = deadline.into_timer(Seal::new());
        let hooks = self.hooks.get_or_insert_with(|| Box::new(Hooks::new()));
        hooks.set_deadline(deadline, &self.admission.parent);
        self
    }

    /// Bounds the time that children have after a stop.
    ///
    /// Once the group has stopped, for any reason, and children still run, `f` is called. When the
    /// future that it returns resolves, the children that still run are dropped. Then the group
    /// resolves as it would have.
    ///
    /// So a stop has two phases. The first is a signal through the token, after which a child may
    /// clean up. The second is the end of the children that have not finished. Without a grace,
    /// there is no second phase. With a grace that is ready at once (`|| async {}`), there is no
    /// first: a failure drops the siblings, as `try_join_all` does.
    ///
    /// Children that are dropped count as [`dropped`](crate::Stats::dropped), and the policy is not
    /// told of them. The body of a [`scope`](Self::scope) is not dropped. `f` is called at most
    /// once, and only if children run after the stop. If several graces are set, the last one
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
    #[track_caller]
    pub fn with_grace<G, F>(mut self, f: G) -> Self
    where
        G: FnOnce() -> F + Attach<C>,
        F: Future + Attach<C>,
    {
        assert!(self.is_new(), "call `with_grace` before the group's first child");
        let grace = f.into_grace_fn(Seal::new());
        let hooks = self.hooks.get_or_insert_with(|| Box::new(Hooks::new()));
        hooks.set_grace(grace);
        self
    }

    /// Returns `true` if the group never had a child, and has not resolved.
    fn is_new(&self) -> bool {
        !self.admission.has_accepted() && !self.is_resolved()
    }
}

// === observing ===

impl<C: Children, P, O> Group<C, P, O> {
    /// Sets an observer, which is told what happens in the group. See [`Observer`].
    ///
    /// It is told which children are queued, start, finish or are rejected, when the limit changes,
    /// and when the group stops. If several observers are set, the last one holds. A group without
    /// an observer has no cost for it.
    ///
    /// # Panics
    ///
    /// Panics if the group has accepted a child already or has resolved, or if a handle was made.
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
    pub fn with_observer<W>(mut self, observer: W) -> Self
    where
        W: Observer + Attach<C>,
    {
        let untouched = !self.is_resolved() && self.admission.observe();
        assert!(untouched, "call `with_observer` before the group's first child or `handle`");
        let observer = observer.into_observer(Seal::new());
        let hooks = self.hooks.get_or_insert_with(|| Box::new(Hooks::new()));
        hooks.observer = Some(observer);
        self
    }
}
