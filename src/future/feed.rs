use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_util::Stream;
use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use super::{Cancelled, Driver};
use crate::admission::{Answer, Desk, Room, Shared, Stand, Who};
use crate::child::Children;
use crate::child::{Child, Kind};
use crate::group::Group;
use crate::group::poll::{Driven, POLLS};
use crate::handle::Handle;
use crate::util::panic::{catch, discard, resume};
use crate::util::parent_waker::ParentWaker;
use crate::util::wake_flag::WakeFlag;

/// How often a stream is asked in one poll, however ready it is.
const ASKS: usize = 4096;

impl<C: Children, P, O> Group<C, P, O> {
    /// Admits the children of a stream, which is asked for the next one when there is room, and
    /// polls the running children meanwhile.
    ///
    /// It resolves to the number of children that the group accepted. It ends with the stream, or
    /// at once when the group stops, even if the stream is pending; then await the group. At most
    /// as many children of the stream exist at a time as may run. To feed an iterator, wrap it in
    /// `futures::stream::iter`.
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
        S: Stream,
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
        S: Stream,
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
        // Gone once it has ended.
        #[pin]
        stream: Option<S>,
        // The stream was pending when it was last asked: it holds no room and no place in
        // the line, and is left alone until it wakes.
        stalled: bool,
        signal: Arc<WakeFlag>,
        stream_waker: Waker,
        // What the stream's waker rings.
        parent: Arc<ParentWaker>,
        stand: Option<Stand<C>>,
        // Hears of a stop while a handle's feed waits for its stream. (A group's own hears by
        // its bell.)
        watch: Option<Cancelled>,
        admitted: usize,
        step: fn(Pin<&mut Feed<D, C, S>>, &mut Context<'_>) -> Poll<usize>,
    }
}

/// What the stream said.
enum Asked<A> {
    Child(A),
    Pending,
    ClosedEvent,
}

/// What came of a try to admit one child.
enum Tried {
    /// It is admitted.
    Admitted,
    /// The group has stopped while the stream was asked; the child is dropped.
    Refused,
    /// There is no room.
    Waits,
    /// The stream is pending.
    Stalled,
    /// The stream has ended, or the group has stopped.
    Over,
}

#[expect(private_bounds, reason = "made and driven by this crate alone")]
impl<D, C, S> Feed<D, C, S>
where
    D: Driver<C>,
    C: Kind,
    S: Stream,
    S::Item: Child<C>,
{
    pub(crate) fn new(driver: D, stream: S) -> Self {
        let parent = driver.parent();
        let signal = WakeFlag::new(Arc::clone(&parent));
        Self {
            driver,
            stream: Some(stream),
            stalled: false,
            stream_waker: WakeFlag::waker(&signal),
            signal,
            parent,
            stand: None,
            watch: None,
            admitted: 0,
            step: Self::step,
        }
    }

    fn step(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        if self.stream.is_none() {
            return Poll::Pending;
        }
        let this = self.as_mut().project();
        match D::WHO {
            Who::Owner => this.driver.begin(cx),
            Who::Handle => {
                // What rang is seen by the signal.
                this.parent.begin_poll(cx);
            }
        }
        let outcome = match catch(|| self.as_mut().admit(cx)) {
            Ok(outcome) => outcome,
            Err(payload) => {
                // A stream that has panicked is not asked again.
                let _ = catch(|| self.as_mut().leave()).map_err(discard);
                self.as_mut().close(cx, false);
                resume(payload)
            }
        };
        let this = self.as_mut().project();
        let mut ended = outcome.is_ready();
        if Stand::place(this.stand).is_some() {
            // Who stands in line hears of a stop there.
            *this.watch = None;
        } else if !ended && D::WHO == Who::Handle {
            let watch = this.watch.get_or_insert_with(|| this.driver.token().cancelled());
            ended = Pin::new(watch).poll(cx).is_ready();
        }
        let admitted = *this.admitted;
        let left = if ended { catch(|| self.as_mut().leave()) } else { Ok(()) };
        self.close(cx, !ended);
        if let Err(payload) = left {
            resume(payload);
        }
        if ended { Poll::Ready(admitted) } else { Poll::Pending }
    }

    /// Admits what can be admitted, and drives the children meanwhile.
    fn admit(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut budget = POLLS;
        let mut asks = ASKS;
        // A stream that wakes itself while it is asked has yielded: not again in this poll.
        let mut yielded = false;
        // Once it is among others, it stays so.
        let mut shared = None;
        // Nobody was left to poll, or to be polled by a handle. What was polled before may have
        // made it this feed's turn; so it looks once more, last.
        let mut quiet = D::WHO == Who::Handle;
        loop {
            let this = self.as_mut().project();
            if this.driver.is_stopped() {
                return Poll::Ready(());
            }
            let may_ask = asks > 0 && !yielded && (!*this.stalled || this.signal.is_woken());
            if may_ask {
                if let (None, Desk::Shared(desk)) = (&shared, this.driver.desk()) {
                    shared = Some(Arc::clone(desk));
                }
                let tried = match &shared {
                    None => self.as_mut().admit_own(),
                    Some(shared) => self.as_mut().admit_shared(shared, cx),
                };
                match tried {
                    Tried::Admitted => {
                        asks -= 1;
                        *self.as_mut().project().admitted += 1;
                        quiet = D::WHO == Who::Handle;
                        continue;
                    }
                    Tried::Refused => continue,
                    // Once there is room, or it has its turn in line, it asks.
                    Tried::Waits => *self.as_mut().project().stalled = false,
                    Tried::Stalled => {
                        asks -= 1;
                        let this = self.as_mut().project();
                        *this.stalled = true;
                        yielded = this.signal.is_woken();
                    }
                    Tried::Over => return Poll::Ready(()),
                }
            }
            let this = self.as_mut().project();
            if quiet {
                if yielded || asks == 0 {
                    // More to ask for, in the next poll.
                    this.parent.notify();
                }
                return Poll::Pending;
            }
            quiet = this.driver.advance(&mut budget) != Driven::Progress;
        }
    }

    /// Admits one child to a group that has no handle.
    fn admit_own(mut self: Pin<&mut Self>) -> Tried {
        if let Desk::Own(mut own) = self.as_mut().project().driver.desk() {
            match own.room() {
                Room::Yes => {}
                Room::No => return Tried::Waits,
                Room::Stopped => return Tried::Over,
            }
        }
        let mut child = match self.as_mut().ask() {
            Asked::Child(child) => child,
            Asked::Pending => return Tried::Stalled,
            Asked::ClosedEvent => return Tried::Over,
        };
        let accepted = match self.project().driver.desk_for(&mut child) {
            // One with options, which may need more room than there is.
            Desk::Shared(shared) => shared.bring(D::WHO, child),
            Desk::Own(mut own) => match own.room() {
                Room::Yes => {
                    own.enter(child);
                    true
                }
                // The stream has stopped the group.
                Room::No | Room::Stopped => {
                    Desk::Own(own).queue(child);
                    false
                }
            },
        };
        if accepted { Tried::Admitted } else { Tried::Refused }
    }

    /// Admits one child beside others who may want room.
    fn admit_shared(mut self: Pin<&mut Self>, shared: &Arc<Shared<C>>, cx: &Context<'_>) -> Tried {
        let this = self.as_mut().project();
        let mut place = Stand::place(this.stand);
        let answer = shared.reserve(D::WHO, &mut place, cx);
        Stand::set(this.stand, shared, place);
        match answer {
            Answer::Stopped => Tried::Over,
            Answer::Wait => Tried::Waits,
            Answer::Yes(room) => match self.ask() {
                Asked::Child(child) => {
                    if room.admit(child) {
                        Tried::Admitted
                    } else {
                        Tried::Refused
                    }
                }
                Asked::Pending => Tried::Stalled,
                Asked::ClosedEvent => Tried::Over,
            },
            Answer::ToQueue(place) => match self.as_mut().ask() {
                Asked::Child(child) => {
                    if let Err(child) = shared.queue_at(D::WHO, place, child) {
                        // The stop came between; it is dropped, and counted.
                        shared.queue(D::WHO, child);
                        return Tried::Over;
                    }
                    Stand::set(self.project().stand, shared, None);
                    Tried::Admitted
                }
                // Neither room nor a place is held for a child that isn't there.
                Asked::Pending => {
                    *self.project().stand = None;
                    Tried::Stalled
                }
                Asked::ClosedEvent => Tried::Over,
            },
        }
    }

    fn ask(self: Pin<&mut Self>) -> Asked<S::Item> {
        let this = self.project();
        *this.stalled = false;
        this.signal.take();
        let Some(stream) = this.stream.as_pin_mut() else {
            return Asked::ClosedEvent;
        };
        match stream.poll_next(&mut Context::from_waker(this.stream_waker)) {
            Poll::Ready(Some(child)) => Asked::Child(child),
            Poll::Ready(None) => Asked::ClosedEvent,
            Poll::Pending => Asked::Pending,
        }
    }

    fn close(self: Pin<&mut Self>, cx: &mut Context<'_>, pending: bool) {
        let this = self.project();
        match D::WHO {
            Who::Owner => this.driver.end(cx, pending),
            Who::Handle => this.parent.end_poll(cx, pending),
        }
    }
}

impl<D, C: Kind, S> Feed<D, C, S> {
    /// What it feeds.
    pub(crate) fn driver(&self) -> &D {
        &self.driver
    }

    pub(crate) fn driver_mut(self: Pin<&mut Self>) -> &mut D {
        self.project().driver
    }

    /// Ends for good.
    pub(crate) fn leave(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.stand = None;
        *this.watch = None;
        this.stream.set(None);
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
        self.stream.is_none()
    }
}

impl<D, C: Kind, S> fmt::Debug for Feed<D, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("admitted", &self.admitted)
            .field("done", &self.stream.is_none())
            .finish_non_exhaustive()
    }
}
