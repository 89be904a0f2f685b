//! `Results`: a group as a stream of its children's results.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::FusedStream;
use pin_project_lite::pin_project;

use super::ResultBuffer;
use crate::admission::{Caller, EndNotes, Refused};
use crate::child::set::ChildSet;
use crate::child::{Child, Children, Kind};
use crate::error::TryGoError;
use crate::future::{Driver, Side, Source};
use crate::group::Group;
use crate::group::drive::Driven;
use crate::group::poll::PolledBy;
use crate::handle::Handle;
use crate::hold::Hold;
use crate::key::Key;
use crate::observe::Outcome;
use crate::policy::Policy;
use crate::set::Budget;
use crate::snapshot::{ChildState, Snapshot};
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::panic::resume;

impl<C: Children, P, O> Group<C, P, O> {
    /// Turns the group into a stream of its children's results, in the order in which they finish
    /// or [in the order of admission](Results::in_order).
    ///
    /// The stream replaces the policy, and [`named`](Self::named) and
    /// [`err_on_cancel`](Self::err_on_cancel) with it: its errors are the children's own, and after
    /// a cancel it ends, and the token says why. No result stops it, unless it is told to [fail
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
    #[doc(alias("buffer_unordered", "join_next"))]
    #[track_caller]
    pub fn results(mut self) -> Results<C, C::Ok, C::Err> {
        assert!(
            !self.is_resolved() && !self.base.admission.has_told_policy(),
            "call `results` before the group's first child has finished",
        );
        // A child runs, and keeps its room, until its result has been fetched.
        self.base.admission.set_notes(EndNotes::Nothing);
        let advance = Group::<C, ResultBuffer<C::Ok, C::Err>, ()>::poll_children::<true>;
        let finish = <ResultBuffer<C::Ok, C::Err> as Policy<C::Ok, C::Err>>::finish;
        let group = self.replace_policy(ResultBuffer::new(), advance, finish);
        let inner = ResultGroup {
            group,
            blocked_results: 0,
            read_ahead: 0,
            lives_on: true,
            exhausted: false,
        };
        Results { inner, source: None, source_size: |_| (0, Some(0)), step: Results::step }
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
    /// # An empty stream
    ///
    /// A stream that is empty gives `None`, and is not over for that. Like futures'
    /// `FuturesUnordered`, it goes on with the children that are added afterwards. To have it
    /// pending instead while it is empty, [`hold`](Self::hold) it.
    ///
    /// It is over for good when it has stopped, when it was [closed](Self::close), or when it was
    /// [fed](#feeding-it) and has come to its end. Then [`try_queue`](Self::try_queue) gives the
    /// child back, and [`queue`](Self::queue) drops it.
    ///
    /// The [hazards](crate::guide::hazards) of a group are those of the stream too. It keeps
    /// results, so it is `Send` only if their values and errors are.
    ///
    /// # Hazards
    ///
    /// The children go on only while the stream is polled, not while the loop over it awaits
    /// anything else. If that takes long, make it a child, or send the results to another task.
    ///
    /// # Backpressure
    ///
    /// A child keeps its room from its admission until its result has been fetched. So at most as
    /// many children and results exist at a time as the limit says. When that many do, no child
    /// starts before a result is fetched. In [`stats`](Self::stats), a child whose result waits to
    /// be fetched still counts as running. [`buffered`](Self::buffered) lets a number of results
    /// wait without that. (A child of [`Group::on`](crate::Group::on) that had ended before the
    /// group became a stream may have given its room to another one.)
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
    /// then the results that were not fetched. The children of these results count as dropped, but
    /// for those whose results are [buffered](Self::buffered): these have finished.
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
        source_size: fn(&Source<C, S>) -> (usize, Option<usize>),
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
///
/// # Examples
///
/// ```
/// use errgroup::stream::{NoFeed, Results};
/// use errgroup::{Boxed, Group};
///
/// type Pages = Results<Boxed<'static, u32, String>, u32, String, NoFeed>; // the defaults
///
/// let pages: Pages = Group::new().results();
/// # drop(pages);
/// ```
#[derive(Debug)]
pub struct NoFeed(());

/// The group of [`Results`], which keeps results until they are fetched.
struct ResultGroup<C: Kind, T, E> {
    group: Group<C, ResultBuffer<T, E>, ()>,
    /// How many results the group knows to wait behind a missing one.
    blocked_results: usize,
    /// How many results may wait to be fetched without the room of their children.
    read_ahead: usize,
    /// It is not over for being empty: it was not fed.
    lives_on: bool,
    /// The last poll has found it empty.
    exhausted: bool,
}

impl<C: Kind, T, E> Results<C, T, E> {
    /// Gives the results in the order in which the children were admitted.
    ///
    /// A result waits for those before it, and its child keeps its room meanwhile. So if one child
    /// takes long, only those go ahead of it that have room beside it: at a limit of 8, seven. Then
    /// all wait for it. A child must not wait for something that a child admitted after it does.
    /// The error of a daemon does not wait.
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
        self.inner.assert_unread("in_order");
        // Of one that has panicked or was dropped, no result is to come.
        let ended: Vec<usize> = self.inner.group.ended().collect();
        if let Some(buffer) = self.inner.group.policy.as_mut() {
            buffer.in_order(ended);
        }
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
        self.inner.group.policy.iter_mut().for_each(|buffer| buffer.fail_fast = true);
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
    ///
    /// Results of both kinds:
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
    pub fn feed<S>(mut self, stream: S) -> Results<C, T, E, S>
    where
        S: Stream, // Is it an iterator? `feed(stream::iter(children))`, with `futures::stream`.
        S::Item: Child<C>,
    {
        let source = Some(Source::new(Arc::clone(&self.inner.group.base.admission.parent), stream));
        let group = self.inner.group.take();
        let inner = ResultGroup { group, lives_on: false, exhausted: false, ..self.inner };
        Results { inner, source, source_size: Source::size_hint, step: Results::step_fed }
    }
}

impl<C: Kind, T, E, S> Results<C, T, E, S> {
    /// Lets up to `limit` results wait to be fetched while their children keep no room.
    ///
    /// By default, a child keeps its room until its result has been fetched, so a slow reader holds
    /// up the children. With this, the children go on until `limit` results wait. More results than
    /// that keep their children's room, as without it. In the [order of admission](Self::in_order),
    /// as many more go ahead of a child that takes long.
    ///
    /// (`StreamExt::buffered` of `futures` is another thing: it runs the futures of a stream. That
    /// is [`feed`](Self::feed) and `in_order` here.)
    ///
    /// # Cost
    ///
    /// A result that waits takes about 600 instructions more than one that is fetched at once.
    ///
    /// # Panics
    ///
    /// Panics if a child has finished already.
    ///
    /// # Fairness
    ///
    /// While no more results wait than that, each poll of the stream polls the children that were
    /// woken before it gives a result. They run in the task that reads, so while it awaits
    /// something else they stand still, unless they are [spawned](crate::Group::on).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut results = Group::new().with_limit(1).results().buffered(8);
    /// for n in 0..5 {
    ///     results.queue(async move { Ok::<_, ()>(n) });
    /// }
    /// assert_eq!(results.next().await, Some(Ok(0)));
    /// // The others did not wait for the reader.
    /// assert_eq!((results.stats().ok, results.len()), (5, 4));
    /// # });
    /// ```
    #[track_caller]
    pub fn buffered(mut self, limit: usize) -> Self {
        self.inner.set_read_ahead(limit);
        self
    }

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
        let mut child = Some(child);
        let answer = self.inner.group.admit(&mut child);
        Refused::give_back(answer, child)
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
        // A child that is refused is dropped here, unlocked.
        let _ = self.inner.group.enqueue(&mut Some(child), false);
    }

    /// Adds a child like [`queue`](Self::queue), but gives it back if the stream takes it no more.
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
    /// use futures::stream::{self, StreamExt};
    ///
    /// # futures::executor::block_on(async {
    /// let child = |n| async move { Ok::<_, ()>(n) };
    /// let mut results = Group::unboxed().results().feed(stream::iter([child(1)]));
    /// assert!(results.try_queue(child(2)).is_ok());
    /// assert_eq!(results.by_ref().count().await, 2);
    /// // It was fed, so it is over when that has come to its end.
    /// assert!(matches!(results.try_queue(child(3)), Err(TryGoError::Closed(_))));
    /// # });
    /// ```
    pub fn try_queue<A: Child<C>>(&mut self, child: A) -> Result<(), TryGoError<A>> {
        let mut child = Some(child);
        let answer = self.inner.group.enqueue(&mut child, true);
        Refused::give_back(answer, child)
    }

    /// Keeps the stream open while it is empty, as long as the [`Hold`] or a clone of it lives: it
    /// is pending then instead of giving `None`. See [`Group::hold`].
    ///
    /// # Examples
    ///
    /// An actor that is told by messages what to do, and awaits the results as they come:
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::channel::mpsc;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// # let (sender, mut messages) = mpsc::unbounded::<u32>();
    /// # (1..=3).for_each(|n| sender.unbounded_send(n).unwrap());
    /// # drop(sender);
    /// let mut results = Group::new().with_limit(2).results();
    /// let _hold = results.hold();
    /// let mut sum = 0;
    /// loop {
    ///     futures::select! {
    ///         message = messages.next() => match message {
    ///             Some(n) => results.queue(async move { Ok::<_, ()>(n) }),
    ///             None => results.close(), // what is there goes on to its end
    ///         },
    ///         result = results.next() => match result {
    ///             Some(result) => sum += result.unwrap(),
    ///             None => break,
    ///         },
    ///     }
    /// }
    /// assert_eq!(sum, 6);
    /// # });
    /// ```
    pub fn hold(&self) -> Hold {
        self.inner.group.hold()
    }

    /// Closes the stream to newcomers, once and for all. What it has goes on to its end, and then
    /// it gives `None`. See [`Group::close`].
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, TryGoError};
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut results = Group::new().with_limit(1).results();
    /// let _hold = results.hold();
    /// results.extend((0..3).map(|n| async move { Ok::<_, ()>(n) }));
    /// results.close();
    /// assert_eq!(results.by_ref().count().await, 3);
    /// # });
    /// ```
    pub fn close(&self) {
        self.inner.group.close();
    }

    /// Returns `true` if the stream was [closed](Self::close) to newcomers.
    ///
    /// # Examples
    ///
    /// ```
    /// # use errgroup::{Boxed, Group};
    /// let results = Group::<Boxed<'_, (), ()>>::new().results();
    /// results.close();
    /// assert!(results.is_closing());
    /// ```
    pub fn is_closing(&self) -> bool {
        self.inner.group.is_closing()
    }

    /// Returns how many children run or are queued, and how many results wait to be fetched.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut results = Group::new().with_limit(2).results();
    /// results.extend((0..5).map(|n| async move { Ok::<_, ()>(n) }));
    /// assert_eq!(results.len(), 5);
    /// results.next().await;
    /// assert_eq!(results.len(), 4);
    /// # });
    /// ```
    pub fn len(&self) -> usize {
        self.inner.len()
    }

    /// Returns `true` if no child runs or is queued, and no result waits to be fetched.
    ///
    /// An empty stream is not over, unless it has stopped, was [closed](Self::close), or was
    /// [fed](Self::feed) and has come to its end.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut results = Group::new().results();
    /// results.queue(async { Ok::<_, ()>(1) });
    /// assert!(!results.is_empty());
    /// results.next().await;
    /// assert!(results.is_empty());
    /// # });
    /// ```
    pub fn is_empty(&self) -> bool {
        self.inner.len() == 0
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
    /// A child counts as `running` until its result has been fetched, or waits as one of those
    /// that are [`buffered`](Self::buffered).
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

    /// Returns what is going on in the group: its children, and what they wait for. See
    /// [`Group::snapshot`].
    ///
    /// A child that has finished is listed until its result has been fetched.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, snapshot::ChildState};
    /// use futures::stream::StreamExt;
    ///
    /// # futures::executor::block_on(async {
    /// let mut results = Group::new().results();
    /// results.queue(async { Ok::<(), ()>(()) });
    /// results.queue(async { Ok(()) });
    /// results.next().await; // by now both have finished
    /// assert_eq!(results.snapshot().children[0].state, ChildState::Unfetched);
    /// # });
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        let group = &self.inner.group;
        let unfetched = group.policy.as_ref().map_or_else(Vec::new, |buffer| buffer.indexes());
        let unfetched =
            unfetched.into_iter().filter(|index| group.base.admission.keeps_room(*index));
        group.inspect(unfetched.map(|index| (index, ChildState::Unfetched)).collect())
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
    /// Panics if a child has finished before that method was called.
    #[track_caller]
    fn assert_unread(&self, method: &str) {
        let Stats { ok, failed, .. } = self.group.stats();
        assert!(
            ok == 0 && failed == 0 && self.unread() == 0,
            "call `{method}` before the first child has finished",
        );
    }

    #[track_caller]
    fn set_read_ahead(&mut self, limit: usize) {
        self.assert_unread("buffered");
        self.read_ahead = limit;
        self.group.base.admission.set_read_ahead(limit);
    }

    /// Returns how many results have come and were not fetched.
    fn unread(&self) -> usize {
        self.group.policy.as_ref().map_or(0, ResultBuffer::len)
    }

    /// Returns how many children and results there are.
    fn len(&self) -> usize {
        let Stats { running, queued, .. } = self.group.stats();
        // The others count as running, since they keep their room.
        running + queued + self.unread().min(self.read_ahead)
    }

    /// Returns `true` if a result may be fetched, and so many wait that a child keeps room for one:
    /// then no child is polled before it is fetched.
    #[inline]
    fn must_be_read(&self) -> bool {
        self.group
            .policy
            .as_ref()
            .is_some_and(|buffer| buffer.has_next() && buffer.len() > self.read_ahead)
    }

    /// Fetches the next result, and gives its child's room away.
    #[inline]
    fn fetch(&mut self) -> Option<Result<T, E>> {
        let (index, result) = self.group.policy.as_mut()?.next()?;
        self.exhausted = false;
        if self.blocked_results != 0 {
            self.unblock_results();
        }
        self.group.release(index, Outcome::of(&result));
        Some(result)
    }

    /// Polls the children until there is a result to fetch, or the group ends.
    fn poll_result(&mut self, budget: &mut Budget) -> Poll<Option<Result<T, E>>> {
        loop {
            while self.advance(budget) == Driven::Progress {}
            if let Some(result) = self.fetch() {
                return Poll::Ready(Some(result));
            }
            // This may poll daemons for the last time.
            self.group.end_daemons(budget);
            self.skip_missing();
            if self.group.policy.as_ref().is_some_and(ResultBuffer::has_next) {
                continue;
            }
            // One look: what a handle does meanwhile must not end a group that lives on.
            let is_idle = if self.lives_on { self.group.base.admission.is_idle() } else { None };
            let ended = match is_idle {
                Some(true) => Poll::Ready(()),
                Some(false) => Poll::Pending,
                None => self.group.try_resolve(),
            };
            self.exhausted = ended.is_ready();
            return ended.map(|()| None);
        }
    }

    /// Tells the group how many results wait behind one that is missing. Returns `true` if that
    /// is news to it: then a child that waits in a nested `go` may go on.
    fn block_results(&mut self) -> bool {
        let Some(buffer) = self.group.policy.as_ref().filter(|buffer| buffer.is_in_order()) else {
            return false;
        };
        let count = buffer.len().saturating_sub(self.read_ahead);
        if count == self.blocked_results || !self.group.base.admission.set_blocked_results(count) {
            return false;
        }
        self.blocked_results = count;
        true
    }

    #[cold]
    fn unblock_results(&mut self) {
        self.blocked_results = 0;
        self.group.base.admission.set_blocked_results(0);
    }

    /// Waits no more for results of children that were dropped; of all, once no child runs.
    fn skip_missing(&mut self) {
        for index in self.group.base.set.take_dropped() {
            self.group.policy.iter_mut().for_each(|buffer| buffer.skip(index));
        }
        if !self.group.base.has_running() {
            self.group.policy.iter_mut().for_each(ResultBuffer::skip_missing);
        } else if let Some(buffer) = &mut self.group.policy {
            let admission = &mut self.group.base.admission;
            buffer.skip_daemons(|index| admission.record_of(index).is_some_and(|it| it.daemon));
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
    fn side(&mut self) -> Side<'_, C> {
        Side::Group(&mut self.group.base)
    }

    fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>, &mut Budget) -> Poll<R>,
    ) -> Poll<R> {
        Group::poll_through(self, |inner| &mut inner.group, PolledBy::Stream, cx, poll)
    }

    fn advance(&mut self, budget: &mut Budget) -> Driven {
        if self.must_be_read() {
            return Driven::Idle;
        }
        let driven = self.group.advance(budget);
        self.skip_missing();
        if self.must_be_read() {
            return Driven::Idle;
        }
        if driven != Driven::Progress && self.block_results() { Driven::Progress } else { driven }
    }
}

impl<C: Kind, T, E, S> Stream for Results<C, T, E, S> {
    type Item = Result<T, E>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let inner = self.as_mut().project().inner;
        let result = if inner.must_be_read() { inner.fetch() } else { None };
        match result {
            None => (self.step)(self, cx),
            result => Poll::Ready(result),
        }
    }

    /// If a stream feeds it, the bounds are those of that stream and of the children that it has,
    /// as long as the group does not stop; after [`close`](Self::close), those of its children.
    /// There is no upper bound if handles may add more. Each child counts as one that gives a
    /// result; a daemon that returns `Ok` gives none, nor does a child that is aborted, and then
    /// fewer come than the lower bound says.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let inner = &self.inner;
        match &self.source {
            _ if inner.group.is_resolved() => (0, Some(0)),
            Some(source) if !inner.group.is_stopped() => {
                let len = inner.len();
                // A closed group asks the stream no more.
                let (fewest, most) = match inner.group.is_closing() {
                    true => (0, Some(0)),
                    false => (self.source_size)(source),
                };
                let most = most.filter(|_| !inner.group.base.admission.is_shared());
                (fewest.saturating_add(len), most.and_then(|most| most.checked_add(len)))
            }
            _ => (inner.unread(), None),
        }
    }
}

impl<C: Kind, T, E, S> FusedStream for Results<C, T, E, S> {
    fn is_terminated(&self) -> bool {
        let Self { inner, .. } = self;
        inner.group.is_resolved()
            || (inner.exhausted && inner.group.base.admission.is_idle() == Some(true))
    }
}

impl<C: Kind, T, E, S> fmt::Debug for Results<C, T, E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Results");
        if let Some(source) = &self.source {
            fields.field("fed", &source.is_over());
        }
        fields.field("waiting", &self.inner.unread()).field("group", &self.inner.group).finish()
    }
}
