//! How a group is made: constructors and builders.

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
    /// Makes a group for futures of any type that are `Send` and may borrow for `'a`; each
    /// is boxed.
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
    /// Makes a group for futures that need not be `Send`; each is boxed, and the group isn't
    /// `Send` either.
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
    /// Makes a group for futures of one type, held without a box a child.
    ///
    /// What one `async fn` returns is of one type; so is what one closure makes. A child
    /// can't hold a [`Handle`](crate::Handle) of this very group (its type would contain itself): such
    /// children need [`new`](Self::new).
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
    /// Makes a group whose children run in parallel: each is spawned as a task of an executor,
    /// and the group waits for it.
    ///
    /// `spawn` is called with a future for each child, when the child is admitted, and runs it
    /// to its end, on whatever thread: it spawns it, or sends it to threads of its own. It is
    /// called by whoever admits: by `go`, `try_go` or `queue` where there is room, on a
    /// handle's thread too; else mostly by the group's poll, which hears of those who finish.
    /// All else is as in any group: the limit and the order of admission, the policy, the
    /// token, handles, scopes. As the children live on their own, they are `'static`, and so
    /// are their values and errors.
    ///
    /// A group that is not polled gives no room away, but what has been admitted runs on. When
    /// the group resolves, all its children are gone. When it is *dropped* before, its token is
    /// cancelled, and those who run are woken and gone at their next poll, without being polled
    /// on. The drop does not wait for that, nor can it interrupt a child that is being polled.
    /// Who wants to see the end of them cancels the token, and awaits the group.
    ///
    /// # Blocking work
    ///
    /// A child that computes for long holds up a thread of the executor, not its siblings on
    /// other threads: so a group uses all cores. What *waits* in blocking calls, for files or a
    /// database, belongs on threads for that: let a child await
    /// `tokio::task::spawn_blocking(…)` or `smol::unblock(…)`, in a group of any kind. The
    /// limit then holds for these as well.
    ///
    /// # Panics
    ///
    /// A panic of a child does not reach the executor; it comes out of the group, as in any
    /// other. So does one of `spawn`, whose child then counts as
    /// [dropped](crate::Stats::dropped); and a child that the executor drops before it was
    /// done, because it shuts down, is taken for one that has panicked. After the group has
    /// been dropped, nobody hears of panics.
    ///
    /// Without `std` nothing is caught: a child's panic unwinds into the executor.
    ///
    /// # Hazards
    ///
    /// A `spawn` that runs the future in the call (`block_on`) works; but its children run one
    /// after another then, and one that waits for a sibling which was admitted after it waits
    /// for ever.
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
    /// Lets at most `limit` children run at a time. Without it there is no limit.
    ///
    /// # Panics
    ///
    /// Where `limit` is 0, which would let nobody run.
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

    /// Makes the group's token a child of `token`: who cancels that one stops this group.
    ///
    /// # Panics
    ///
    /// Where the group has children already, or its own token or a handle was given out:
    /// they would belong to another token than the group's.
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

    /// Lets each running child hold a permit of a semaphore, which other groups and other code
    /// may share, beside the group's own limit.
    ///
    /// A child that has room and no permit waits as one that has no room does: in its place, and
    /// [`try_go`](Self::try_go) says [`AtLimit`](crate::TryGoError::AtLimit). The group, whenever it is polled,
    /// waits for the permit in its stead. A group that isn't polled takes none; but, as
    /// any future that waits for one, it stands in the semaphore's line, and who stands behind it
    /// hears of a permit after it: poll such a group, or drop it. A child holds one
    /// permit whatever its [weight](crate::Task::weight). A permit that nobody in line can use
    /// goes back at once, and so do all when the group is dropped.
    ///
    /// # Fairness
    ///
    /// As a child ends its permit goes to the next in the group's own line, but 32 times in a row
    /// at most: then what is free goes back, and the group asks again in its next poll, when those
    /// who waited have been woken.
    ///
    /// `async_lock` wakes who waits for a permit while it holds a lock of its own: wakers that poll
    /// or drop a task that waits on the same semaphore, there and then, would deadlock.
    ///
    /// # Panics
    ///
    /// Where the group has children already, or a handle was made.
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

    /// Sets what the children's results add up to, instead of [`FirstErr`].
    ///
    /// For the policies that come with the crate there are builders: [`collect`](Self::collect),
    /// [`all_errors`](Self::all_errors), [`settle`](Self::settle),
    /// [`first_ok`](Self::first_ok), [`first_done`](Self::first_done). The last policy that is
    /// set holds.
    ///
    /// # Panics
    ///
    /// Where the group has children already: the policy has to hear of all of them.
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
    /// Stops the group when a future resolves before it, whatever to: cancels the token with
    /// [`Reason::Deadline`](crate::Reason::Deadline).
    ///
    /// The future is any runtime's timer, or anything else: a signal, a channel that closes.
    /// The group polls it beside its children, and only when it was woken; so do its
    /// [`go`](Self::go) and [`feed`](Self::feed) while they wait, and a
    /// [`scope`](Self::scope). It is dropped when it has resolved, when the group has stopped,
    /// or with the group.
    ///
    /// A deadline is a stop like any other: what runs is told by the token and polled on to
    /// its end, unless [`with_grace`](Self::with_grace) bounds that too; and it is no error by
    /// itself, unless [`err_on_cancel`](Self::err_on_cancel) makes it one. The last deadline
    /// that is set holds; for several, `select` them.
    ///
    /// # Panics
    ///
    /// Where the group has children already.
    ///
    /// A panic of the future is treated as a child's.
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

    /// Bounds the time that the children have after a stop: once the group has stopped, for
    /// whatever reason, and children still run, calls `f`; when the future that it gives
    /// resolves, the children that still run are dropped where they stand, and the group
    /// resolves as it would have.
    ///
    /// So a stop has two phases: a signal, by the token, after which a child may clean up; and
    /// an end, for one that doesn't come to its own. Without a grace the second never comes.
    /// With one that is ready at once (`|| async {}`), the first is gone: then a failure drops the
    /// siblings, as `try_join_all` does.
    ///
    /// Children that are dropped count as [`dropped`](crate::Stats::dropped), and the policy
    /// does not hear of them. The body of a [`scope`](Self::scope) is not cut off. `f` is not
    /// called where nobody runs at the stop, and not more than once. The last grace that is
    /// set holds.
    ///
    /// # Panics
    ///
    /// Where the group has children already.
    ///
    /// A panic of `f` or of its future is treated as a child's; the children that run are then
    /// polled to their end, however long that takes.
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
    /// Tells an observer what happens in the group: who is queued, starts, finishes, is
    /// rejected; when the limit changes, and the stop. See [`Observer`].
    ///
    /// The last observer that is set holds. A group without one pays nothing for it.
    ///
    /// # Panics
    ///
    /// Where the group has children already, or a handle was made.
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
