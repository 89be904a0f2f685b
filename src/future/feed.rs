//! `feed`: the children of a stream, asked for as there is room.

use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use super::inputs::{Inputs, Streamed};
use super::{ASKS, Cancelled, Driver};
use crate::admission::{Caller, Shared, Ticket};
use crate::child::{Child, Children, Kind};
use crate::group::Group;
use crate::group::drive::Driven;
use crate::handle::Handle;
use crate::set::Budget;
use crate::util::panic::{Payload, catch, discard, quietly, resume};
use crate::util::parent_waker::ParentWaker;

impl<C: Children, P, O> Group<C, P, O> {
    /// Admits the children of a stream, which is asked for the next one when there is room, and
    /// polls the running children meanwhile.
    ///
    /// It resolves to the number of children that the group accepted. It ends with the stream, or
    /// at once when the group stops or is [closed](Self::close), even if the stream is pending;
    /// then await the group. At most as many children of the stream exist at a time as may run. To
    /// feed an iterator, wrap it in `futures::stream::iter`.
    ///
    /// (`SinkExt::feed` of `futures` is another thing: it sends one item.)
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, so is the stream. The children admitted so far stay. To keep the
    /// stream, pass `&mut stream`.
    ///
    /// # Panics
    ///
    /// A panic of the stream leaves `feed` at once. The group goes on.
    ///
    /// # Fairness
    ///
    /// The stream is asked only if there is room and it is the turn of this `feed`. The `feed`
    /// waits in the group's queue with priority 0, whatever its children ask for. It asks at most
    /// 4,096 times a poll.
    ///
    /// The children that run are polled when there is no more room, and when the stream is pending
    /// or has ended. At the start they are also polled after 4, 12 and 28 children, and so on, so
    /// that an error among the first ones is noticed early. A loop of short feeds yields as one of
    /// [`go`](Self::go) does.
    ///
    /// The stream is asked before the [key](crate::Task::key) of its child is known. A child whose
    /// key has no room is queued behind its key, and the stream is asked for the next one. Such
    /// children count as if they ran: when as many run and are queued as the limit allows, the
    /// `feed` waits, and holds up nothing else. In a group without a limit there is no such bound.
    ///
    /// A stream that is pending holds neither room nor a position in the queue. When it wakes, the
    /// `feed` queues as a newcomer.
    ///
    /// # Hazards
    ///
    /// The stream must not itself wait for room in the group that it feeds. At the limit, the two
    /// would wait for one another.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream;
    ///
    /// # async fn fetch(url: &str) -> Result<(), std::io::Error> { Ok(()) }
    /// # futures::executor::block_on(async {
    /// let urls = ["/a", "/b", "/c"];
    /// let mut group = Group::new().with_limit(2);
    /// let admitted = group.feed(stream::iter(urls.iter().map(|url| fetch(url)))).await;
    /// assert_eq!(admitted, 3);
    /// group.await.unwrap();
    /// # });
    /// ```
    pub fn feed<S>(&mut self, stream: S) -> Feed<&mut Self, C, S>
    where
        S: Stream, // Is it an iterator? `feed(stream::iter(children))`, with `futures::stream`.
        S::Item: Child<C>,
    {
        Feed::new(self, stream)
    }
}

impl<C: Children> Handle<C> {
    /// Admits the children of a stream, which is asked for the next one when there is room.
    ///
    /// The group, not this future, polls the children meanwhile. The future borrows nothing of the
    /// handle. All else is as in [`Group::feed`](crate::Group::feed).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream;
    ///
    /// # futures::executor::block_on(async {
    /// let group = Group::new().with_limit(2);
    /// let feed = group.handle().feed(stream::iter((0..9).map(|n| async move { Ok::<_, ()>(n) })));
    /// assert_eq!(futures::join!(feed, group), (9, Ok(())));
    /// # });
    /// ```
    pub fn feed<S>(&self, stream: S) -> Feed<Self, C, S>
    where
        S: Stream, // Is it an iterator? `feed(stream::iter(children))`, with `futures::stream`.
        S::Item: Child<C>,
    {
        Feed::new(self.clone(), stream)
    }
}

pin_project! {
    /// Future for [`Group::feed`](crate::Group::feed) and [`Handle::feed`](crate::Handle::feed):
    /// admits the children of a stream.
    ///
    /// `D` is what it was called on, `&mut Group` or [`Handle`](crate::Handle). `S` is the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::future::Feed;
    /// use errgroup::{Boxed, Group, Handle};
    /// use futures::future::BoxFuture;
    /// use futures::stream::{self, BoxStream, StreamExt};
    ///
    /// type Kind = Boxed<'static, (), String>;
    /// type Children = BoxStream<'static, BoxFuture<'static, Result<(), String>>>;
    ///
    /// # futures::executor::block_on(async {
    /// let group: Group<Kind> = Group::new();
    /// let children: Children = stream::empty().boxed();
    /// let feeding: Feed<Handle<Kind>, Kind, Children> = group.handle().feed(children);
    /// assert_eq!(feeding.await, 0);
    /// # });
    /// ```
    #[must_use = "the stream is only asked when this is polled: `.await` it"]
    pub struct Feed<D, C: Kind, S> {
        driver: D,
        #[pin]
        source: Source<C, S>,
        step: fn(Pin<&mut Feed<D, C, S>>, &mut Context<'_>) -> Poll<usize>,
    }
}

pin_project! {
    /// A stream of children, on its way into a group.
    pub(crate) struct Source<C: Kind, S> {
        // Gone once it has ended. While it is pending, it holds no room and no place in the queue.
        #[pin]
        stream: Option<Streamed<S>>,
        // What the stream's waker notifies.
        parent: Arc<ParentWaker>,
        ticket: Option<Ticket<C>>,
        // Is woken by a stop or a close while a handle's feed waits for its stream. (A group's own
        // is woken by its parent's waker.)
        watch: Option<Cancelled>,
        admitted: usize,
    }
}

/// How many children a feed admits before it polls them for the first time.
const FIRST_CHILDREN: usize = 4;

/// How often a stream is still asked in a poll.
struct Asks {
    /// Before the children that it has brought are polled.
    left: usize,
    /// After that.
    later: usize,
    /// How often it is asked between two polls of the children.
    batch: usize,
}

/// What came of a try to admit one child.
enum Step {
    /// The child is accepted, or dropped since the group stopped while the stream was asked.
    Child { accepted: bool },
    /// There is no room.
    NoRoom,
    /// The stream is pending.
    StreamPending,
    /// The stream has ended, or the group has stopped or is closed.
    Over,
}

impl Asks {
    /// At the start, few children are admitted before they are polled: so an error of those comes
    /// before the group is filled.
    fn new(is_start: bool) -> Self {
        let batch = if is_start { FIRST_CHILDREN } else { ASKS };
        Self { left: batch, later: ASKS - batch, batch }
    }

    /// Counts one. Returns `true` if the children are to be polled.
    #[inline]
    fn take(&mut self) -> bool {
        self.left -= 1;
        self.left == 0 && self.begin_batch()
    }

    /// Begins another batch, twice as long as the last. Returns `false` if there is none.
    #[cold]
    fn begin_batch(&mut self) -> bool {
        self.batch *= 2;
        self.left = self.batch.min(self.later);
        self.later -= self.left;
        self.left > 0
    }
}

#[expect(private_bounds, reason = "made and driven by this crate alone")]
impl<D, C, S> Feed<D, C, S>
where
    D: Driver<C>,
    C: Kind,
    S: Stream,
    S::Item: Child<C>,
{
    pub(crate) fn new(mut driver: D, stream: S) -> Self {
        let source = Source::new(driver.parent(), stream);
        Self { driver, source, step: Self::step }
    }

    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let mut this = self.project();
        if this.source.is_over() {
            return Poll::Pending;
        }
        // A loop of short feeds yields as one of `go` does.
        if this.source.admitted == 0 && this.driver.must_yield(cx) {
            return Poll::Pending;
        }
        let mut source = this.source.as_mut();
        let fed = this
            .driver
            .poll_with(cx, |driver, cx, budget| source.as_mut().poll(driver, cx, budget));
        match fed {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(*source.project().admitted),
            Poll::Ready(Err(payload)) => resume(payload),
        }
    }
}

/// Frees the room that the group keeps for a child of its own feed, if it keeps some.
fn give_up_room<D: Driver<C>, C: Kind>(driver: &mut D) {
    if D::CALLER == Caller::Group {
        driver.shared().into_iter().for_each(|shared| shared.calls.give_up_room());
    }
}

impl<C: Kind, S> Source<C, S> {
    pub(crate) fn new(parent: Arc<ParentWaker>, stream: S) -> Self {
        Self { stream: Some(Streamed::new(stream)), parent, ticket: None, watch: None, admitted: 0 }
    }

    /// Returns `true` if the stream has ended, or the group has stopped.
    pub(crate) fn is_over(&self) -> bool {
        self.stream.is_none()
    }

    /// Drops the stream, and gives up its place in the queue.
    pub(crate) fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.ticket = None;
        *this.watch = None;
        this.stream.set(None);
    }
}

impl<C, S> Source<C, S>
where
    C: Kind,
    S: Stream,
    S::Item: Child<C>,
{
    /// Returns how many children the stream says that it has left.
    pub(crate) fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.as_ref().map_or((0, Some(0)), Streamed::size_hint)
    }

    /// Admits children until the stream is over; a panic of the stream comes out as a value.
    pub(crate) fn poll<D: Driver<C>>(
        mut self: Pin<&mut Self>,
        driver: &mut D,
        cx: &mut Context<'_>,
        budget: &mut Budget,
    ) -> Poll<Result<(), Payload>> {
        if D::CALLER == Caller::Handle {
            self.parent.begin_poll();
            // What notified it before is seen by the flag.
            self.parent.take_ready();
        }
        let mut fed = match catch(|| self.as_mut().admit(driver, cx, budget)) {
            Ok(fed) => fed.map(Ok),
            Err(payload) if self.stream.as_ref().is_some_and(Streamed::has_panicked) => {
                give_up_room(driver);
                Poll::Ready(Err(payload))
            }
            // The clone of the task's waker has panicked: no stream is asked then. The next poll
            // goes on.
            Err(payload) => {
                if D::CALLER == Caller::Handle {
                    let end = || self.parent.end_poll(cx, (true, false));
                    quietly(end);
                }
                resume(payload)
            }
        };
        let this = self.as_mut().project();
        if Ticket::is_waiting(this.ticket) {
            // A waiter in the queue is woken by both.
            *this.watch = None;
        } else if fed.is_pending() && D::CALLER == Caller::Handle {
            if let (None, Some(shared)) = (&this.watch, driver.shared()) {
                *this.watch = Some(shared.core.newcomers().cancelled());
            }
            if let Some(watch) = this.watch {
                fed = Pin::new(watch).poll(cx).map(|_| Ok(()));
            }
        }
        if fed.is_ready() {
            // A stream that has panicked is not asked again; its first panic counts.
            let ended = catch(|| self.as_mut().end());
            fed = match (fed, ended) {
                (Poll::Ready(Ok(())), Err(payload)) => Poll::Ready(Err(payload)),
                (fed, ended) => {
                    let _ = ended.map_err(discard);
                    fed
                }
            };
        }
        if D::CALLER == Caller::Handle {
            self.parent.end_poll(cx, (fed.is_pending(), false));
        }
        fed
    }

    /// Admits what can be admitted, and polls the children meanwhile.
    fn admit<D: Driver<C>>(
        mut self: Pin<&mut Self>,
        driver: &mut D,
        cx: &mut Context<'_>,
        budget: &mut Budget,
    ) -> Poll<()> {
        let mut asks = Asks::new(self.admitted == 0);
        if let Some(stream) = self.as_mut().project().stream.as_pin_mut() {
            stream.begin_poll();
        }
        // No child is left to poll. The children polled before may have made it this feed's turn,
        // so it looks once more, last.
        let mut idle = D::CALLER == Caller::Handle;
        loop {
            let must_wait = self.stream.as_ref().is_some_and(Streamed::must_wait);
            if asks.left > 0 && !must_wait {
                match self.as_mut().admit_one(driver, cx) {
                    Step::Child { accepted: true } => {
                        *self.as_mut().project().admitted += 1;
                        idle = D::CALLER == Caller::Handle;
                        if let (Caller::Handle, Some(shared)) = (D::CALLER, driver.shared()) {
                            shared.core.count_entry();
                        }
                        if asks.take() {
                            driver.advance(budget);
                        }
                        continue;
                    }
                    Step::Child { accepted: false } => continue,
                    // Once there is room, or it has its turn in the queue, it asks.
                    Step::NoRoom => {
                        let stream = self.as_mut().project().stream.as_pin_mut();
                        stream.into_iter().for_each(Streamed::clear_pending);
                    }
                    Step::StreamPending => _ = asks.take(),
                    Step::Over => {
                        if self.admitted == 0 {
                            driver.count_empty_feed(budget);
                        }
                        // The last children begin, or a loop of short feeds would poll none.
                        if D::CALLER == Caller::Group && self.admitted > 0 && !idle {
                            driver.advance(budget);
                        }
                        return Poll::Ready(());
                    }
                }
            } else if driver.is_stopped() || driver.is_closing() {
                return Poll::Ready(());
            }
            if idle {
                if asks.left == 0 || self.stream.as_ref().is_some_and(Streamed::has_yielded) {
                    // More to ask for, in the next poll.
                    self.parent.notify();
                }
                return Poll::Pending;
            }
            idle = driver.advance(budget) != Driven::Progress;
        }
    }

    #[inline]
    fn admit_one<D: Driver<C>>(mut self: Pin<&mut Self>, driver: &mut D, cx: &Context<'_>) -> Step {
        let Some(shared) = driver.shared() else {
            return self.admit_local(driver);
        };
        let ticket = self.as_mut().project().ticket;
        let is_first = D::CALLER == Caller::Group && !Ticket::is_waiting(ticket);
        if is_first && shared.calls.keep_room() {
            let step = self.admit_asked(driver);
            if !matches!(step, Step::Child { .. }) {
                // No room is held for a child that isn't there.
                give_up_room(driver);
            }
            return step;
        }
        let shared = Arc::clone(shared);
        self.admit_shared(&shared, D::CALLER, cx)
    }

    /// Admits one child for which the group keeps room, if it is a plain one.
    fn admit_asked<D: Driver<C>>(self: Pin<&mut Self>, driver: &mut D) -> Step {
        match self.ask() {
            Poll::Ready(Some(child)) => Step::Child { accepted: driver.accept(child) },
            Poll::Ready(None) => Step::Over,
            Poll::Pending => Step::StreamPending,
        }
    }

    /// Admits one child to a group that has no handle.
    fn admit_local<D: Driver<C>>(self: Pin<&mut Self>, driver: &mut D) -> Step {
        let Some(vacancy) = driver.vacancy() else {
            return if driver.is_stopped() { Step::Over } else { Step::NoRoom };
        };
        let mut child = match self.ask() {
            Poll::Ready(Some(child)) => child,
            Poll::Ready(None) => return Step::Over,
            Poll::Pending => return Step::StreamPending,
        };
        if vacancy.takes(&mut child) {
            vacancy.insert(child);
            return Step::Child { accepted: true };
        }
        // A child with options, which may need more room than there is; or the stream has stopped
        // the group.
        Step::Child { accepted: driver.accept(child) }
    }

    /// Admits one child beside other tasks that may want room.
    fn admit_shared(
        mut self: Pin<&mut Self>,
        shared: &Arc<Shared<C>>,
        caller: Caller,
        cx: &Context<'_>,
    ) -> Step {
        match shared.poll_feed(caller, self.as_mut().project().ticket, cx) {
            Poll::Ready(Err(_)) => return Step::Over,
            Poll::Pending => return Step::NoRoom,
            Poll::Ready(Ok(())) => {}
        }
        let asked = self.as_mut().ask();
        match (asked, self.project().ticket) {
            (Poll::Ready(Some(child)), Some(ticket)) => {
                Step::Child { accepted: ticket.fill(caller, child) }
            }
            (Poll::Ready(_), _) => Step::Over,
            // No room is held for a child that isn't there.
            (Poll::Pending, ticket) => {
                *ticket = None;
                Step::StreamPending
            }
        }
    }

    fn ask(self: Pin<&mut Self>) -> Poll<Option<S::Item>> {
        let this = self.project();
        this.stream.as_pin_mut().map_or(Poll::Ready(None), |stream| stream.ask(this.parent))
    }
}

impl<D, C: Kind, S> Future for Feed<D, C, S> {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        (self.step)(self, cx)
    }
}

impl<D, C: Kind, S> FusedFuture for Feed<D, C, S> {
    fn is_terminated(&self) -> bool {
        self.source.is_over()
    }
}

impl<D, C: Kind, S> fmt::Debug for Feed<D, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("admitted", &self.source.admitted)
            .field("done", &self.source.is_over())
            .finish_non_exhaustive()
    }
}
