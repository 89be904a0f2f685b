use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::FusedFuture;
use futures_util::stream::FusedStream;
use pin_project_lite::pin_project;

use super::Results;
use crate::child::{Child, Children, Kind};
use crate::future::Feed;
use crate::handle::Handle;
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::panic::{catch, resume};

pin_project! {
    /// [`Results`] that a stream feeds with children: [`Results::feed`].
    ///
    /// All that [`Results`] says holds for it, and what [`Group::feed`](crate::Group::feed) says
    /// of its stream: it is asked only when there is room, which is when results have been
    /// fetched and no other waits.
    ///
    /// # Drop
    ///
    /// First the group is dropped, then the stream.
    ///
    /// # Panics
    ///
    /// A child's panic resumes at the end, as that of [`Results`] does. A panic of the stream of
    /// children leaves `poll_next` at once, and that stream is dropped; the children go on, and
    /// who polls on gets their results.
    ///
    /// # Examples
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
    #[must_use = "the children are polled only while the stream is polled"]
    pub struct FedResults<C: Kind, S, T = <C as Children>::Ok, E = <C as Children>::Err> {
        #[pin]
        feed: Feed<Results<C, T, E>, C, S>,
    }

    impl<C: Kind, S, T, E> PinnedDrop for FedResults<C, S, T, E> {
        fn drop(this: Pin<&mut Self>) {
            // First the token and the children, then the stream; and one panic of them all.
            let mut this = this.project();
            let mut panics = this.feed.as_mut().driver_mut().group.shut();
            panics.guard(|| this.feed.leave());
            panics.throw();
        }
    }
}

impl<C, S, T, E> FedResults<C, S, T, E>
where
    C: Kind,
    S: Stream,
    S::Item: Child<C>,
{
    pub(super) fn new(results: Results<C, T, E>, stream: S) -> Self {
        Self { feed: Feed::new(results, stream) }
    }
}

impl<C: Kind, S, T, E> FedResults<C, S, T, E> {
    fn results(&self) -> &Results<C, T, E> {
        self.feed.driver()
    }

    /// Makes a handle, for adding children from elsewhere. See
    /// [`Group::handle`](crate::Group::handle).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::{self, StreamExt};
    ///
    /// # futures::executor::block_on(async {
    /// let children = stream::iter([1, 2]).map(|n| async move { Ok::<_, ()>(n) });
    /// let results = Group::new().results().feed(children);
    /// results.handle().queue(async { Ok(3) });
    /// assert_eq!(results.count().await, 3);
    /// # });
    /// ```
    pub fn handle(&self) -> Handle<C> {
        self.results().handle()
    }

    /// The group's token. See [`Group::token`](crate::Group::token).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::{self, StreamExt};
    ///
    /// # futures::executor::block_on(async {
    /// let endless = stream::repeat(()).map(|()| async { Ok::<_, ()>("more") });
    /// let mut results = Group::new().with_limit(1).results().feed(endless);
    /// assert_eq!(results.next().await, Some(Ok("more")));
    /// results.token().cancel();
    /// assert_eq!(results.next().await, None);
    /// # });
    /// ```
    pub fn token(&self) -> &CancelToken {
        self.results().token()
    }

    /// How many children may run at a time; `None` is no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream;
    ///
    /// let children = stream::iter([async { Ok::<(), ()>(()) }]);
    /// let results = Group::new().with_limit(4).results().feed(children);
    /// assert_eq!(results.limit(), Some(4));
    /// ```
    pub fn limit(&self) -> Option<usize> {
        self.results().limit()
    }

    /// Changes the limit at any time. See [`Group::set_limit`](crate::Group::set_limit).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::{self, StreamExt};
    ///
    /// # futures::executor::block_on(async {
    /// let children = stream::iter(0..9).map(|n| async move { Ok::<_, ()>(n) });
    /// let mut results = Group::new().with_limit(1).results().feed(children);
    /// results.next().await;
    /// results.set_limit(Some(4));
    /// results.next().await;
    /// assert_eq!(results.stats().running, 3);
    /// # });
    /// ```
    pub fn set_limit(&self, limit: Option<usize>) {
        self.results().set_limit(limit);
    }

    /// The group's numbers, as [`Results::stats`].
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::{self, StreamExt};
    ///
    /// # futures::executor::block_on(async {
    /// let children = stream::iter(0..9).map(|n| async move { Ok::<_, ()>(n) });
    /// let mut results = Group::new().with_limit(4).results().feed(children);
    /// results.next().await;
    /// assert_eq!((results.stats().running, results.stats().ok), (3, 1));
    /// # });
    /// ```
    pub fn stats(&self) -> Stats {
        self.results().stats()
    }

    /// Whether the group admits no more children: its token is cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::{self, StreamExt};
    ///
    /// # futures::executor::block_on(async {
    /// let children = stream::iter(0..9).map(|n| async move { if n < 3 { Ok(n) } else { Err(n) } });
    /// let mut results = Group::new().with_limit(1).results().fail_fast().feed(children);
    /// while let Some(Ok(_)) = results.next().await {}
    /// assert!(results.is_stopped());
    /// # });
    /// ```
    pub fn is_stopped(&self) -> bool {
        self.results().is_stopped()
    }
}

impl<C: Kind, S, T, E> FedResults<C, S, T, E> {
    /// Asks for children and polls them: no result waits.
    #[inline(never)]
    fn ask_and_poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, E>>> {
        let mut feed = self.project().feed;
        let results = feed.as_mut().driver_mut();
        if results.group.is_resolved() {
            return Poll::Ready(None);
        }
        results.begin_poll(cx);
        let fed = catch(|| feed.as_mut().poll(cx));
        let is_fed = feed.is_terminated();
        let results = feed.driver_mut();
        if let Err(payload) = fed {
            results.group.end(cx, false);
            resume(payload);
        }
        let next = match results.fetch() {
            None if is_fed => results.drive(),
            None => Poll::Pending,
            result => Poll::Ready(result),
        };
        results.group.end(cx, next.is_pending());
        next
    }
}

impl<C: Kind, S, T, E> Stream for FedResults<C, S, T, E> {
    type Item = Result<T, E>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.as_mut().project().feed.driver_mut().fetch() {
            None => self.ask_and_poll(cx),
            result => Poll::Ready(result),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.results().size_hint()
    }
}

impl<C: Kind, S, T, E> FusedStream for FedResults<C, S, T, E> {
    fn is_terminated(&self) -> bool {
        self.results().is_terminated()
    }
}

impl<C: Kind, S, T, E> fmt::Debug for FedResults<C, S, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("FedResults");
        fields.field("fed", &self.feed.is_terminated());
        self.results().fmt_fields(&mut fields);
        fields.finish()
    }
}
