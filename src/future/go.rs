//! The futures of `go`, and the methods that make them.
//!
//! If a bound fails, some messages of the compiler print its line. So the comments on the bounds of
//! `go` and `queue` say what helps; `tests/ui` has the messages.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::Driver;
use crate::admission::{Add, Caller, Refused, Ticket};
use crate::child::{Child, Children, Kind};
use crate::error::{Stopped, TryGoError};
use crate::group::Group;
use crate::group::drive::Driven;
use crate::handle::Handle;

impl<C: Children, P, O> Group<C, P, O> {
    /// Waits for room, polling the running children meanwhile, then admits a child.
    ///
    /// If there is room, it admits the child at its first poll. At the limit it waits, as `Go` of
    /// Go's `errgroup` does after `SetLimit`.
    ///
    /// Before it returns, it polls the child, and once each those that were woken. So the child has
    /// begun, like a spawned task. If it fails at once, the group has stopped, and `go` still
    /// returns `Ok` for it. (If a `go` of a [`Handle`](crate::Handle) has had room reserved
    /// before, the child begins after the one of that `go`. A child of [`Group::on`](Self::on)
    /// begins when its executor polls it.)
    ///
    /// # Errors
    ///
    /// Returns [`Stopped`](crate::Stopped) with the child, which was never polled, if the group has
    /// stopped or was [closed](Self::close). The error says that there is no use in adding more
    /// children. *Why* the group stopped is what the group itself resolves to.
    ///
    /// Code that ignores this result loses the child, and goes on making children for nothing.
    /// These three ways are right:
    ///
    /// ```
    /// # use errgroup::Group;
    /// # async fn work(n: u32) -> Result<(), String> { Ok(()) }
    /// # futures::executor::block_on(async {
    /// # let mut group = Group::new();
    /// for n in 0..3 {
    ///     if group.go(work(n)).await.is_err() {
    ///         break;
    ///     }
    /// }
    /// for n in 0..3 {
    ///     let Ok(()) = group.go(work(n)).await else { break };
    /// }
    /// for n in 0..3 {
    ///     group.queue(work(n)); // never waits: fine if all the work is in memory anyway
    /// }
    /// # group.await
    /// # }).unwrap();
    /// ```
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it has admitted its child, the child is dropped, never
    /// polled. It leaves no trace in the group, and those behind it in the queue move up.
    ///
    /// # Fairness
    ///
    /// First come, first admitted, over `go`, `queue`, `feed` and all handles.
    ///
    /// A loop of `go` over children that are always ready is pending once in 4,096 children, before
    /// it admits the next one, so that the task polls its other futures, such as a timeout around
    /// the loop. So is one over children that only yield, after a few of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(1);
    /// assert!(group.go(async { Err("broken") }).await.is_ok());
    /// // The first has begun, and has stopped the group.
    /// let stopped = group.go(async { Ok(()) }).await.unwrap_err();
    /// assert_eq!(stopped.into_inner().await, Ok(()));
    /// assert_eq!(group.await, Err("broken"));
    /// # });
    /// ```
    #[doc(alias = "spawn")]
    pub fn go<A>(&mut self, child: A) -> Go<&mut Self, C, A>
    where
        A: Child<C>, // With `Group::on` no child may borrow: an executor keeps what it runs.
    {
        Go::new(self, child)
    }

    /// Admits a child if there is room and nothing else waits for it, as `TryGo` of Go's `errgroup`
    /// does.
    ///
    /// It never waits, and it never overtakes a child or a `go` that waits.
    ///
    /// # Errors
    ///
    /// Returns [`TryGoError`] with the child, which was never polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, TryGoError};
    ///
    /// let mut group = Group::new().with_limit(1);
    /// assert!(group.try_go(async { Ok::<(), ()>(()) }).is_ok());
    /// let refused = group.try_go(async { Ok(()) });
    /// assert!(matches!(refused, Err(TryGoError::AtLimit(_))));
    /// ```
    #[doc(alias = "TryGo")]
    pub fn try_go<A: Child<C>>(&mut self, child: A) -> Result<(), TryGoError<A>> {
        let mut child = Some(child);
        let answer = self.admit(&mut child);
        Refused::give_back(answer, child)
    }

    /// Adds a child: it is admitted at once if there is room, else when its turn comes.
    ///
    /// It never waits and never fails. The child is dropped without being polled, and counted in
    /// [`Stats::dropped`](crate::Stats::dropped)
    ///
    /// - if the group has stopped, was closed or has resolved;
    /// - if its queue [is full](Self::with_queue_limit);
    /// - if the group stops before the child is admitted.
    ///
    /// An admitted child begins even if the group stops before it is polled; with
    /// [`drop_on_stop`](Self::drop_on_stop) it is dropped then.
    ///
    /// A queued child is held in memory at its full size. If children are made faster than they
    /// finish, use [`go`](Self::go) or [`feed`](Self::feed), which slow down the code that makes
    /// them.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(2);
    /// for n in 0..100 {
    ///     group.queue(async move { if n < 50 { Ok(()) } else { Err(n) } });
    /// }
    /// assert_eq!(group.await, Err(50));
    /// # });
    /// ```
    #[doc(alias("spawn", "push"))]
    pub fn queue<A>(&mut self, child: A)
    where
        A: Child<C>, // With `Group::on` no child may borrow: an executor keeps what it runs.
    {
        // A child that is refused is dropped here, unlocked.
        let _ = self.enqueue(&mut Some(child), false);
    }

    /// Adds a child like [`queue`](Self::queue), but gives it back if the group takes it no more.
    ///
    /// A child that is queued may still be dropped by a stop.
    ///
    /// # Errors
    ///
    /// Returns [`TryGoError`] with the child, which was never polled:
    /// [`Stopped`](TryGoError::Stopped) if the group has stopped; [`Closed`](TryGoError::Closed) if
    /// it was [closed](Self::close) or has resolved; [`AtLimit`](TryGoError::AtLimit) if as many
    /// children wait as [may](Self::with_queue_limit), or if the child is
    /// [unique](crate::Task::unique) and another one of its key runs or waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, TryGoError};
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(1);
    /// for n in 0..3 {
    ///     assert!(group.try_queue(async move { Ok::<_, ()>(n) }).is_ok());
    /// }
    /// assert_eq!((&mut group).await, Ok(()));
    /// let refused = group.try_queue(async { Ok(3) }).unwrap_err();
    /// assert!(matches!(refused, TryGoError::Closed(_)));
    /// assert_eq!(refused.into_inner().await, Ok(3));
    /// # });
    /// ```
    pub fn try_queue<A: Child<C>>(&mut self, child: A) -> Result<(), TryGoError<A>> {
        let mut child = Some(child);
        let answer = self.enqueue(&mut child, true);
        Refused::give_back(answer, child)
    }
}

impl<C: Children> Handle<C> {
    /// Waits for room, then admits a child. The group, not this future, polls the children
    /// meanwhile.
    ///
    /// The future borrows nothing of the handle, so it can be spawned as a task. If there is room,
    /// it admits the child at its first poll. The child begins when the group is polled next.
    ///
    /// # Errors
    ///
    /// Returns [`Stopped`](crate::Stopped) with the child, which was never polled, if the group has
    /// stopped, was [closed](Self::close) or is gone. Each of these wakes every `go` that waits.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it has admitted its child, the child is dropped, never
    /// polled. It leaves no trace in the group, and those behind it in the queue move up.
    ///
    /// # Fairness
    ///
    /// First come, first started, over everything that waits for the group.
    ///
    /// When the turn of a waiting `go` comes, room is reserved for it until it is polled. A child
    /// that comes later may be accepted before that, but it does not start before the child of this
    /// `go`. So a `go` that was polled once and is never polled again holds up all that came after
    /// it, and holds the group open, until a stop. Poll it on, or drop it.
    ///
    /// A loop of `go` that always finds room is pending once in 4,096 children, if the group is not
    /// polled meanwhile. So the task polls the group, if that is in the same task, and its other
    /// futures.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let group = Group::new().with_limit(1);
    /// let handle = group.handle();
    /// let adding = async move {
    ///     for n in 0..3 {
    ///         let Ok(()) = handle.go(async move { Ok::<_, ()>(n) }).await else { break };
    ///     }
    /// };
    /// let ((), output) = futures::join!(adding, group);
    /// assert_eq!(output, Ok(()));
    /// # });
    /// ```
    #[doc(alias = "spawn")]
    pub fn go<A>(&self, child: A) -> Go<Self, C, A>
    where
        A: Child<C>, // One that adds its own type: `fn …(…) -> impl Future<Output = …> + Send`.
    {
        Go::new(self.clone(), child)
    }

    /// Admits a child if there is room and nothing else waits for it. See [`Group::try_go`].
    ///
    /// A handle can't poll a [gate](Group::with_gate). In a group with gates this admits a child
    /// only if a guard is left that was got for one of its weight.
    ///
    /// # Errors
    ///
    /// Returns [`TryGoError`] with the child, which was never polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, TryGoError};
    ///
    /// let group = Group::new().with_limit(1);
    /// let handle = group.handle();
    /// assert!(handle.try_go(async { Ok::<(), ()>(()) }).is_ok());
    /// let refused = handle.try_go(async { Ok(()) });
    /// assert!(matches!(refused, Err(TryGoError::AtLimit(_))));
    /// ```
    pub fn try_go<A: Child<C>>(&self, child: A) -> Result<(), TryGoError<A>> {
        let mut child = Some(child);
        let answer = self.shared.add(Caller::Handle, Add::TryGo, &mut child);
        Refused::give_back(answer, child)
    }

    /// Adds a child: it is admitted at once if there is room, else when its turn comes. See
    /// [`Group::queue`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::Group;
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(1);
    /// let handle = group.handle();
    /// group.queue(async move {
    ///     handle.queue(async { Err("the child's child") });
    ///     Ok(())
    /// });
    /// assert_eq!(group.await, Err("the child's child"));
    /// # });
    /// ```
    pub fn queue<A>(&self, child: A)
    where
        A: Child<C>, // One that adds its own type: `fn …(…) -> impl Future<Output = …> + Send`.
    {
        // A child that is refused is dropped here, unlocked.
        let _ = self.shared.add(Caller::Handle, Add::Queue { keeps: false }, &mut Some(child));
    }

    /// Adds a child like [`queue`](Self::queue), but gives it back if the group takes it no more.
    /// See [`Group::try_queue`].
    ///
    /// # Errors
    ///
    /// Returns [`TryGoError`] with the child, which was never polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, TryGoError};
    ///
    /// let group = Group::new();
    /// let handle = group.handle();
    /// assert!(handle.try_queue(async { Ok::<(), ()>(()) }).is_ok());
    /// drop(group);
    /// assert!(matches!(handle.try_queue(async { Ok(()) }), Err(TryGoError::Stopped(_))));
    /// ```
    pub fn try_queue<A: Child<C>>(&self, child: A) -> Result<(), TryGoError<A>> {
        let mut child = Some(child);
        let answer = self.shared.add(Caller::Handle, Add::Queue { keeps: true }, &mut child);
        Refused::give_back(answer, child)
    }
}

/// [Queues](Self::queue) each child that the iterator makes, in its order.
///
/// All children are made during the call. If that is too much to hold in memory,
/// [`feed`](Self::feed) makes each one when there is room. If the iterator panics, the children
/// that it made before stay queued.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(2).collect();
/// group.extend(["/a", "/bc", "/def"].map(length));
/// assert_eq!(group.await.unwrap(), [2, 3, 4]);
/// # });
/// ```
impl<C: Children, P, O, A: Child<C>> Extend<A> for Group<C, P, O> {
    fn extend<I: IntoIterator<Item = A>>(&mut self, children: I) {
        children.into_iter().for_each(|child| self.queue(child));
    }
}

/// [Queues](Self::queue) each child that the iterator makes, in its order.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
///
/// # async fn visit(page: u32) -> Result<u32, String> { Ok(page) }
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_limit(2).collect();
/// let mut handle = group.handle();
/// group.queue(async move {
///     handle.extend((1..4).map(visit)); // what it found
///     Ok(0)
/// });
/// assert_eq!(group.await.unwrap(), [0, 1, 2, 3]);
/// # });
/// ```
impl<C: Children, A: Child<C>> Extend<A> for Handle<C> {
    fn extend<I: IntoIterator<Item = A>>(&mut self, children: I) {
        children.into_iter().for_each(|child| self.queue(child));
    }
}

/// A child that is admitted, or given back.
type Admitted<A> = Result<(), Stopped<A>>;

/// Future for [`Group::go`](crate::Group::go) and [`Handle::go`](crate::Handle::go): waits for room
/// and admits a child.
///
/// `D` is what it was called on, `&mut Group` or [`Handle`](crate::Handle). `A` is the child as it
/// was passed in.
///
/// # Examples
///
/// ```
/// use errgroup::future::Go;
/// use errgroup::{Boxed, Group, Handle};
/// use futures::future::BoxFuture;
///
/// type Kind = Boxed<'static, (), String>;
/// type Child = BoxFuture<'static, Result<(), String>>;
///
/// # futures::executor::block_on(async {
/// let group: Group<Kind> = Group::new();
/// let adding: Go<Handle<Kind>, Kind, Child> = group.handle().go(Box::pin(async { Ok(()) }));
/// assert!(adding.await.is_ok());
/// assert_eq!(group.await, Ok(()));
/// # });
/// ```
#[must_use = "the child is only admitted when this is polled: `.await` it, or use `queue`, which never waits"]
pub struct Go<D, C: Kind, A> {
    driver: D,
    /// Gone once admitted or given back.
    child: Option<A>,
    /// Its place in the queue, if it has to wait.
    ticket: Option<Ticket<C>>,
    step: fn(&mut Self, &mut Context<'_>) -> Poll<Admitted<A>>,
}

#[expect(private_bounds, reason = "made and driven by this crate alone")]
impl<D, C, A> Go<D, C, A>
where
    D: Driver<C>,
    C: Kind,
    A: Child<C>,
{
    pub(crate) fn new(driver: D, child: A) -> Self {
        Self { driver, child: Some(child), ticket: None, step: Self::step }
    }

    #[inline]
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Admitted<A>> {
        if self.driver.must_yield(cx) {
            return Poll::Pending;
        }
        self.driver.take_ends();
        // That may have spent the budget, and left some.
        if self.driver.must_yield(cx) {
            return Poll::Pending;
        }
        if self.enter() {
            self.driver.start_newcomer(cx);
            return Poll::Ready(Ok(()));
        }
        self.step_slow(cx)
    }

    /// Admits the child if that takes no more than a look: there is room, and no other task
    /// could want it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn enter(&mut self) -> bool {
        let Some(child) = &mut self.child else {
            return false;
        };
        let Some(vacancy) = self.driver.vacancy_for(child) else {
            return false;
        };
        vacancy.insert_from(&mut self.child);
        true
    }

    #[inline(never)]
    fn step_slow(&mut self, cx: &mut Context<'_>) -> Poll<Admitted<A>> {
        if self.child.is_none() {
            return Poll::Pending;
        }
        let answer = self.ask_or_wait(cx);
        if answer.is_ready() {
            self.ticket = None;
        }
        answer
    }

    #[inline]
    fn ask_or_wait(&mut self, cx: &mut Context<'_>) -> Poll<Admitted<A>> {
        let Self { driver, child, ticket, .. } = self;
        if !waits_for_children(driver) {
            let answer = ask_others(driver, child, ticket, cx);
            if let Poll::Ready(Ok(())) = answer {
                self.driver.start_newcomer(cx);
            }
            if answer.is_ready() || D::CALLER != Caller::Group {
                return answer;
            }
        }
        self.wait(cx)
    }

    /// Polls the children until there is room.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Admitted<A>> {
        let Self { driver, child, ticket, .. } = self;
        driver.poll_with(cx, |driver, cx, budget| {
            loop {
                let driven = driver.advance(budget);
                if budget.is_spent() {
                    // A child that is admitted now could not begin. The next poll asks first.
                    driver.parent().notify();
                    return Poll::Pending;
                }
                // Children that have finished have made room.
                let answer = match driven {
                    Driven::Progress => ask(driver, child, ticket, cx),
                    _ if waits_for_children(driver) => Poll::Pending,
                    _ => ask_others(driver, child, ticket, cx),
                };
                if let Poll::Ready(Ok(())) = answer {
                    driver.drive_newcomer(budget);
                }
                if answer.is_ready() || driven != Driven::Progress {
                    return answer;
                }
            }
        })
    }
}

/// Returns `true` if nothing but the end of a child can make room: the group has no handles, and
/// has not stopped.
#[inline]
fn waits_for_children<D: Driver<C>, C: Kind>(driver: &mut D) -> bool {
    driver.shared().is_none() && !driver.is_stopped()
}

/// Looks for room once, and admits the child if there is some.
fn ask<D: Driver<C>, C: Kind, A: Child<C>>(
    driver: &mut D,
    child: &mut Option<A>,
    ticket: &mut Option<Ticket<C>>,
    cx: &Context<'_>,
) -> Poll<Admitted<A>> {
    if let Some(vacancy) = child.as_mut().and_then(|child| driver.vacancy_for(child)) {
        vacancy.insert_from(child);
        return Poll::Ready(Ok(()));
    }
    ask_others(driver, child, ticket, cx)
}

/// Looks once for room that other tasks may want, and admits the child if there is some. For a
/// group without handles, it only looks whether the group has stopped.
#[inline(never)]
fn ask_others<D: Driver<C>, C: Kind, A: Child<C>>(
    driver: &mut D,
    child: &mut Option<A>,
    ticket: &mut Option<Ticket<C>>,
    cx: &Context<'_>,
) -> Poll<Admitted<A>> {
    match driver.poll_go(ticket, child, cx) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
        Poll::Ready(Err(_)) => give_back(child),
    }
}

/// Gives the child back. Apart: without optimizations, a large one would take more of the stack.
fn give_back<A>(child: &mut Option<A>) -> Poll<Admitted<A>> {
    child.take().map_or(Poll::Pending, |child| Poll::Ready(Err(Stopped(child))))
}

// A child in here was never polled, and so never pinned.
impl<D, C: Kind, A> Unpin for Go<D, C, A> {}

impl<D, C: Kind, A> Future for Go<D, C, A> {
    type Output = Result<(), Stopped<A>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        (self.step)(&mut self, cx)
    }
}

impl<D, C: Kind, A> FusedFuture for Go<D, C, A> {
    fn is_terminated(&self) -> bool {
        self.child.is_none()
    }
}

impl<D, C: Kind, A> fmt::Debug for Go<D, C, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Go")
            .field("waits", &Ticket::is_waiting(&self.ticket))
            .field("done", &self.child.is_none())
            .finish_non_exhaustive()
    }
}
