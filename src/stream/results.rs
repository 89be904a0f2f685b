use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::FusedStream;
use pin_project_lite::pin_project;

use super::ResultBuffer;
use crate::admission::{Caller, Refused, Shared, Ticket, Vacancy};
use crate::child::key::Key;
use crate::child::{Child, Children, Kind};
use crate::error::TryGoError;
use crate::future::{Driver, Source};
use crate::group::Group;
use crate::group::poll::{self, Driven};
use crate::handle::Handle;
use crate::observe::Outcome;
use crate::policy::Policy;
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::panic::resume;
use crate::util::parent_waker::ParentWaker;

impl<C: Children, P, O> Group<C, P, O> {
    /// Turns the group into a stream of its children's results, in the order in which they finish
    /// or [in the order of admission](Results::in_order).
    ///
    /// The stream replaces the policy. No result stops it, unless it is told to [fail
    /// fast](Results::fail_fast). Children that were queued or admitted before are among those
    /// whose results it gives.
    ///
    /// # Panics
    ///
    /// Panics if a child has finished already, since its result went to the policy, or if the group
    /// has resolved. So before this call, add children only by a method that polls none, such as
    /// [`queue`](Self::queue). Afterwards, use [`Results::queue`], [`Results::feed`] or a
    /// [`Handle`](crate::Handle).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::TryStreamExt;
    ///
    /// # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
    /// # async fn run() -> Result<(), std::io::Error> {
    /// let mut group = Group::new().with_limit(2);
    /// for url in ["/a", "/bc", "/def"] {
    ///     group.queue(length(url));
    /// }
    /// let (mut lengths, mut sum) = (group.results(), 0);
    /// while let Some(length) = lengths.try_next().await? {
    ///     sum += length; // each as soon as it is known
    /// }
    /// assert_eq!(sum, 9);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(run()).unwrap();
    /// ```
    #[track_caller]
    pub fn results(self) -> Results<C, C::Ok, C::Err> {
        let stats = self.stats();
        assert!(
            !self.is_resolved() && stats.ok == 0 && stats.failed == 0,
            "call `results` before the group's first child has finished",
        );
        // A child keeps its room until its result has been fetched.
        let advance = poll::advance::<C, ResultBuffer<C::Ok, C::Err>, (), true>;
        let finish = <ResultBuffer<C::Ok, C::Err> as Policy<C::Ok, C::Err>>::finish;
        let group = self.replace_policy(ResultBuffer::new(), advance, finish);
        let inner = ResultGroup { group, blocked_results: 0 };
        Results { inner, source: None, step: Results::step }
    }
}

pin_project! {
    /// A group as a stream of its children's results: [`Group::results`].
    ///
    /// It gives each child's `Result` as it finishes, or [in the order of
    /// admission](Self::in_order). It gives `None` when a group would resolve: when nothing runs
    /// and nothing waits. A [`go`](Handle::go) of a handle that was polled and waits for room keeps
    /// the stream open, as it does a group. A handle by itself does not.
    ///
    /// The [hazards](crate#hazards) of a group are those of the stream too.
    ///
    /// # Hazards
    ///
    /// The children go on only while the stream is polled, not while the loop over it awaits
    /// anything else. If that takes long, make it a child, or send the results to another task.
    ///
    /// # Backpressure
    ///
    /// A child keeps its room from its admission until its result has been fetched. So at most as
    /// many children and results exist at a time as the limit says, and no child starts while no
    /// result is fetched. In [`stats`](Self::stats), a child whose result waits to be fetched still
    /// counts as running.
    ///
    /// # Feeding it
    ///
    /// [`feed`](Self::feed) adds the children of a stream, which is `S` then. Then it gives what
    /// `buffer_unordered` of `futures` gives, or `buffered` if it is [in order](Self::in_order);
    /// but it stops, drains and counts as a group does.
    ///
    /// The stream of children is asked as in [`Group::feed`](crate::Group::feed): only when there
    /// is room, which is when results have been fetched and nothing else waits. It is dropped at
    /// its end, or when the group stops. When the results are dropped, it is dropped after the
    /// group.
    ///
    /// If the stream of children panics, the panic leaves `poll_next` at once, and that stream is
    /// dropped. The children go on, and further polls give their results.
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::{self, StreamExt};
    ///
    /// # futures::executor::block_on(async {
    /// let children = (0..9).map(|n| async move { if n % 3 == 0 { Err(n) } else { Ok(n) } });
    /// let mut results = Group::unboxed().with_limit(2).results().feed(stream::iter(children));
    /// let (mut ok, mut failed) = (0, 0);
    /// while let Some(result) = results.next().await {
    ///     match result {
    ///         Ok(_) => ok += 1,
    ///         Err(_) => failed += 1,
    ///     }
    /// }
    /// assert_eq!((ok, failed), (6, 3));
    /// # });
    /// ```
    ///
    /// # Errors
    ///
    /// An `Err` is an item like any other, and does not stop the group, unless the stream is told
    /// to [fail fast](Self::fail_fast).
    ///
    /// # Cancellation
    ///
    /// A cancel of the token stops the stream as it stops a group. Nothing more is admitted, and
    /// what was queued is dropped. The running children are drained, and their results are still
    /// given.
    ///
    /// # Drop
    ///
    /// Dropping the stream drops the group: its token is cancelled, then the children are dropped,
    /// then the results that were not fetched. The children of these results count as dropped.
    ///
    /// So `?` in a loop over the stream drops the other children. To let them clean up, [fail
    /// fast](Self::fail_fast), and go on until the `None`.
    ///
    /// # Panics
    ///
    /// A panic of a child stops the group. Its siblings are drained, and their results are given.
    /// Then, in place of the `None`, the panic resumes out of `poll_next`. After that, the stream
    /// gives `None`. In the order of admission, the results behind a child that panicked come when
    /// all children have ended.
    ///
    /// # Cancel safety
    ///
    /// `next` (of `StreamExt`) may be dropped at any time, for example in `select!`: no result is
    /// lost.
    ///
    /// # Fairness
    ///
    /// If a result is ready, it is given, and no child is polled. Otherwise one poll polls each
    /// woken child once a round, at most 4,096 in all, until there is a result. So all results of a
    /// round, at most as many as may run, are given before any child is polled again, or for the
    /// first time.
    ///
    /// # Examples
    ///
    /// A crawl: what one child finds, others fetch.
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// async fn divisors(n: u32) -> Result<Vec<u32>, String> {
    ///     if n == 0 { Err("no zero".into()) } else { Ok((1..n).filter(|d| n % d == 0).collect()) }
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let mut found = Vec::new();
    /// let mut results = Group::new().with_limit(4).results();
    /// results.queue(divisors(12));
    /// while let Some(result) = results.next().await {
    ///     for divisor in result.expect("no zero is found") {
    ///         if !found.contains(&divisor) {
    ///             found.push(divisor);
    ///             results.queue(divisors(divisor));
    ///         }
    ///     }
    /// }
    /// assert_eq!(found, [1, 2, 3, 4, 6]);
    /// # });
    /// ```
    #[must_use = "the children are polled only while the stream is polled"]
    pub struct Results<
        C: Kind,
        T = <C as Children>::Ok,
        E = <C as Children>::Err,
        S = NoFeed,
    > {
        inner: ResultGroup<C, T, E>,
        // The stream of children, if there is one.
        #[pin]
        source: Option<Source<C, S>>,
        step: fn(Pin<&mut Results<C, T, E, S>>, &mut Context<'_>) -> Poll<Option<Result<T, E>>>,
    }

    impl<C: Kind, T, E, S> PinnedDrop for Results<C, T, E, S> {
        fn drop(this: Pin<&mut Self>) {
            // First the token and the children, then the stream; and one panic of them all.
            let mut this = this.project();
            let mut panics = this.inner.group.abort();
            panics.guard(|| this.source.set(None));
            panics.throw();
        }
    }
}

/// The absence of a stream that feeds [`Results`].
#[derive(Debug)]
pub struct NoFeed(());

/// The group of [`Results`], which keeps results until they are fetched.
struct ResultGroup<C: Kind, T, E> {
    group: Group<C, ResultBuffer<T, E>, ()>,
    /// How many results the group knows to wait behind a missing one.
    blocked_results: usize,
}

impl<C: Kind, T, E> Results<C, T, E> {
    /// Gives the results in the order in which the children were admitted.
    ///
    /// A result waits for those before it, and its child keeps its room meanwhile. So if one child
    /// takes long, at most as many as the limit go ahead of it, and then all wait for it. A child
    /// must not wait for something that a child admitted after it does.
    ///
    /// # Panics
    ///
    /// Panics if a child has finished already.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new();
    /// let (sender, receiver) = futures::channel::oneshot::channel();
    /// group.queue(async { Ok(receiver.await) });
    /// group.queue(async { Err(sender.send("from the second")) });
    /// let results: Vec<_> = group.results().in_order().collect().await;
    /// assert_eq!(results, [Ok(Ok("from the second")), Err(Ok(()))]);
    /// # });
    /// ```
    #[track_caller]
    pub fn in_order(mut self) -> Self {
        let Stats { ok, failed, .. } = self.stats();
        let buffer = self.inner.group.policy_mut();
        assert!(
            ok == 0 && failed == 0 && buffer.as_ref().is_some_and(|buffer| buffer.len() == 0),
            "call `in_order` before the first child has finished",
        );
        buffer.into_iter().for_each(ResultBuffer::in_order);
        self
    }

    /// Stops the group at the first `Err`.
    ///
    /// Its token is cancelled ([`Reason::Failed`](crate::Reason::Failed)), nothing more is
    /// admitted, and what was queued is dropped. The running children are told through the token,
    /// and drained. The `Err` is given, and so is every result that the others return, before it or
    /// after it. Then comes `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_limit(2);
    /// let token = group.token().clone();
    /// group.queue(async move {
    ///     let why = token.cancelled().await;
    ///     Ok(why.to_string())
    /// });
    /// group.queue(async { Err("the disk is full") });
    /// group.queue(async { unreachable!("it is dropped in the queue") });
    /// let mut results = group.results().fail_fast();
    /// assert_eq!(results.next().await, Some(Err("the disk is full")));
    /// assert!(results.next().await.is_some_and(|cleaned_up| cleaned_up.is_ok()));
    /// assert_eq!(results.next().await, None);
    /// # });
    /// ```
    pub fn fail_fast(mut self) -> Self {
        self.inner.group.policy_mut().into_iter().for_each(ResultBuffer::fail_fast);
        self
    }

    /// Adds the children of a stream, which is asked for the next one when there is room.
    ///
    /// The result is still a stream of results: see [Feeding it](Self#feeding-it). It ends when the
    /// stream of children has ended and no child is left. Fetching results makes room.
    ///
    /// # Examples
    ///
    /// What `buffer_unordered(8)` does; and with [`in_order`](Self::in_order), `buffered(8)`:
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::{self, TryStreamExt};
    ///
    /// # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
    /// # async fn run() -> Result<(), std::io::Error> {
    /// let urls = ["/long", "/a", "/bc"];
    /// let lengths = Group::new()
    ///     .with_limit(8)
    ///     .results()
    ///     .in_order()
    ///     .feed(stream::iter(urls.iter().map(|url| length(url))));
    /// assert_eq!(lengths.try_collect::<Vec<_>>().await?, [5, 2, 3]);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(run()).unwrap();
    /// ```
    pub fn feed<S>(mut self, stream: S) -> Results<C, T, E, S>
    where
        S: Stream,
        S::Item: Child<C>,
    {
        let source = Some(Source::new(Arc::clone(self.inner.group.parent()), stream));
        let inner = ResultGroup { group: self.inner.group.take(), ..self.inner };
        Results { inner, source, step: Results::step_fed }
    }
}

impl<C: Kind, T, E, S> Results<C, T, E, S> {
    /// Admits a child if there is room and nothing else waits for it; never waits. See
    /// [`Group::try_go`].
    ///
    /// # Errors
    ///
    /// Returns [`TryGoError`] with the child, which was never polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, TryGoError};
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut results = Group::new().with_limit(1).results();
    /// assert!(results.try_go(async { Ok::<_, ()>(1) }).is_ok());
    /// assert!(matches!(results.try_go(async { Ok(2) }), Err(TryGoError::AtLimit(_))));
    /// assert_eq!(results.next().await, Some(Ok(1)));
    /// assert!(results.try_go(async { Ok(3) }).is_ok());
    /// # });
    /// ```
    pub fn try_go<A: Child<C>>(&mut self, child: A) -> Result<(), TryGoError<A>> {
        self.inner.group.admit(child)
    }

    /// Adds a child: it is admitted at once if there is room, else when its turn comes. See
    /// [`Group::queue`].
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut results = Group::new().with_limit(1).results();
    /// results.queue(async { Ok::<_, ()>(3) });
    /// let mut sum = 0;
    /// while let Some(Ok(n)) = results.next().await {
    ///     sum += n;
    ///     if n > 0 {
    ///         results.queue(async move { Ok(n - 1) });
    ///     }
    /// }
    /// assert_eq!(sum, 6);
    /// # });
    /// ```
    pub fn queue<A: Child<C>>(&mut self, child: A) {
        self.inner.group.enqueue(child);
    }

    /// Returns a handle, which adds children from elsewhere. See [`Group::handle`].
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let results = Group::new().with_limit(2).results();
    /// let handle = results.handle();
    /// let adding = async move {
    ///     for n in 0..9 {
    ///         assert!(handle.go(async move { Ok::<_, ()>(n) }).await.is_ok());
    ///     }
    /// };
    /// assert_eq!(futures::join!(adding, results.count()).1, 9);
    /// # });
    /// ```
    pub fn handle(&self) -> Handle<C> {
        self.inner.group.handle()
    }

    /// Returns the group's token. See [`Group::token`].
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut results = Group::new().results();
    /// let token = results.token().clone();
    /// results.queue(async move { Ok::<_, ()>(token.cancelled().await) });
    /// results.token().cancel();
    /// assert!(matches!(results.next().await, Some(Ok(_))));
    /// assert_eq!(results.next().await, None);
    /// # });
    /// ```
    pub fn token(&self) -> &CancelToken {
        self.inner.group.token()
    }

    /// Returns how many children may run at a time, or `None` if there is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let results = Group::<Boxed<'_, (), ()>>::new().with_limit(3).results();
    /// assert_eq!(results.limit(), Some(3));
    /// ```
    pub fn limit(&self) -> Option<usize> {
        self.inner.group.limit()
    }

    /// Changes the limit, at any time. See [`Group::set_limit`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::Group;
    /// let mut results = Group::new().with_limit(1).results();
    /// results.queue(async { Ok::<(), ()>(()) });
    /// results.queue(async { Ok(()) });
    /// results.set_limit(None);
    /// assert_eq!(results.stats().running, 2);
    /// ```
    pub fn set_limit(&self, limit: Option<usize>) {
        self.inner.group.set_limit(limit);
    }

    /// Changes the limit of one key, at any time. See [`Group::set_key_limit`].
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Key, task};
    ///
    /// let mut results = Group::new().results();
    /// results.set_key_limit(&Key::from(7), Some(1));
    /// results.queue(task(async { Ok::<(), ()>(()) }).key(7));
    /// results.queue(task(async { Ok(()) }).key(7));
    /// assert_eq!(results.stats().running, 1);
    /// ```
    pub fn set_key_limit(&self, key: &Key, limit: Option<usize>) {
        self.inner.group.set_key_limit(key, limit);
    }

    /// Returns the group's numbers, taken at one moment.
    ///
    /// A child counts as `running` until its result has been fetched.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut results = Group::new().results();
    /// results.queue(async { Ok::<(), ()>(()) });
    /// results.queue(async { Ok(()) });
    /// results.next().await; // by now both have finished
    /// assert_eq!((results.stats().running, results.stats().ok), (1, 1));
    /// # });
    /// ```
    pub fn stats(&self) -> Stats {
        self.inner.group.stats()
    }

    /// Returns `true` if the group has stopped: its token is cancelled, and it admits no more
    /// children.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let results = Group::<Boxed<'_, (), ()>>::new().results();
    /// assert!(!results.is_stopped());
    /// results.token().cancel();
    /// assert!(results.is_stopped());
    /// ```
    pub fn is_stopped(&self) -> bool {
        self.inner.group.is_stopped()
    }

    /// Polls the children: no result is there to fetch.
    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, E>>> {
        let inner = self.project().inner;
        if inner.group.is_resolved() {
            return Poll::Ready(None);
        }
        inner.poll_with(cx, |inner, _, budget| inner.poll_result(budget))
    }
}

impl<C, T, E, S> Results<C, T, E, S>
where
    C: Kind,
    S: Stream,
    S::Item: Child<C>,
{
    /// Asks the stream for children, and polls them: no result is there to fetch.
    fn step_fed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, E>>> {
        let mut this = self.project();
        if this.inner.group.is_resolved() {
            return Poll::Ready(None);
        }
        let next = this.inner.poll_with(cx, |inner, cx, budget| {
            if let Some(source) = this.source.as_mut().as_pin_mut().filter(|it| !it.is_over()) {
                match source.poll(inner, cx, budget) {
                    Poll::Ready(Err(payload)) => return Poll::Ready(Err(payload)),
                    Poll::Ready(Ok(())) => {}
                    Poll::Pending => {
                        return inner.fetch().map_or(Poll::Pending, |it| Poll::Ready(Ok(Some(it))));
                    }
                }
            }
            inner.poll_result(budget).map(Ok)
        });
        match next {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(next)) => Poll::Ready(next),
            Poll::Ready(Err(payload)) => resume(payload),
        }
    }
}

impl<C: Kind, T, E> ResultGroup<C, T, E> {
    fn buffer(&self) -> Option<&ResultBuffer<T, E>> {
        self.group.policy()
    }

    fn has_next(&self) -> bool {
        self.buffer().is_some_and(ResultBuffer::has_next)
    }

    /// Fetches the next result, and gives its child's room away.
    #[inline]
    fn fetch(&mut self) -> Option<Result<T, E>> {
        let (index, result) = self.group.policy_mut()?.next()?;
        if self.blocked_results != 0 {
            self.unblock_results();
        }
        self.group.release(index, Outcome::of(&result));
        Some(result)
    }

    /// Polls the children until there is a result to fetch, or the group ends.
    fn poll_result(&mut self, budget: &mut usize) -> Poll<Option<Result<T, E>>> {
        loop {
            while self.advance(budget) == Driven::Progress {}
            if let Some(result) = self.fetch() {
                return Poll::Ready(Some(result));
            }
            let ended = self.group.conclude(budget);
            // That may have polled daemons for the last time.
            self.skip_missing();
            if ended.is_ready() || !self.has_next() {
                return ended.map(|()| None);
            }
        }
    }

    /// Tells the group how many results wait behind one that is missing. Returns `true` if that
    /// is news to it: then a child that waits in a nested `go` may go on.
    fn block_results(&mut self) -> bool {
        let Some(buffer) = self.group.policy().filter(|buffer| buffer.is_in_order()) else {
            return false;
        };
        let count = buffer.len();
        if count == self.blocked_results || !self.group.admission().set_blocked_results(count) {
            return false;
        }
        self.blocked_results = count;
        true
    }

    #[cold]
    fn unblock_results(&mut self) {
        self.blocked_results = 0;
        self.group.admission().set_blocked_results(0);
    }

    /// Waits no more for results of children that were dropped, once no child runs.
    fn skip_missing(&mut self) {
        if !self.group.has_running() {
            self.group.policy_mut().into_iter().for_each(ResultBuffer::skip_missing);
        }
    }
}

/// [Queues](Self::queue) each child that the iterator makes, in its order.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
/// use futures::stream::TryStreamExt;
///
/// # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
/// # futures::executor::block_on(async {
/// let mut results = Group::new().with_limit(2).results();
/// results.extend(["/a", "/bc"].map(length));
/// assert_eq!(results.try_collect::<Vec<_>>().await.unwrap(), [2, 3]);
/// # });
/// ```
impl<C: Kind, T, E, S, A: Child<C>> Extend<A> for Results<C, T, E, S> {
    fn extend<I: IntoIterator<Item = A>>(&mut self, children: I) {
        children.into_iter().for_each(|child| self.queue(child));
    }
}

impl<C: Kind, T, E> Driver<C> for ResultGroup<C, T, E> {
    const CALLER: Caller = Caller::Group;

    #[inline(always)]
    fn prepare<A: Child<C>>(&mut self, child: &mut A) {
        self.group.admission().prepare(child);
    }

    #[inline(always)]
    fn vacancy(&mut self) -> Option<Vacancy<'_, C>> {
        self.group.vacancy()
    }

    fn accept<A: Child<C>>(&mut self, child: A) -> bool {
        self.group.admission().accept(child)
    }

    #[inline]
    fn shared(&mut self) -> Option<&Arc<Shared<C>>> {
        self.group.admission().shared()
    }

    fn poll_go<A: Child<C>>(
        &mut self,
        ticket: &mut Option<Ticket<C>>,
        child: &mut Option<A>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        self.group.admission().poll_go(ticket, child, cx)
    }

    fn token(&self) -> &CancelToken {
        self.group.token()
    }

    #[inline]
    fn is_stopped(&self) -> bool {
        self.group.is_stopped()
    }

    fn parent(&self) -> Arc<ParentWaker> {
        Arc::clone(self.group.parent())
    }

    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>, &mut usize) -> Poll<R>,
    ) -> Poll<R> {
        Group::poll_through(self, |inner| &mut inner.group, cx, poll)
    }

    fn advance(&mut self, budget: &mut usize) -> Driven {
        if self.has_next() {
            return Driven::Idle;
        }
        let driven = self.group.advance(budget);
        self.skip_missing();
        if self.has_next() {
            return Driven::Idle;
        }
        if driven == Driven::Idle && self.block_results() { Driven::Progress } else { driven }
    }
}

impl<C: Kind, T, E, S> Stream for Results<C, T, E, S> {
    type Item = Result<T, E>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.as_mut().project().inner.fetch() {
            None => (self.step)(self, cx),
            result => Poll::Ready(result),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let most = self.inner.group.is_resolved().then_some(0);
        (self.inner.buffer().map_or(0, ResultBuffer::len), most)
    }
}

impl<C: Kind, T, E, S> FusedStream for Results<C, T, E, S> {
    fn is_terminated(&self) -> bool {
        self.inner.group.is_resolved()
    }
}

impl<C: Kind, T, E, S> fmt::Debug for Results<C, T, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Results");
        if let Some(source) = &self.source {
            fields.field("fed", &source.is_over());
        }
        fields
            .field("waiting", &self.inner.buffer().map_or(0, ResultBuffer::len))
            .field("group", &self.inner.group)
            .finish()
    }
}
