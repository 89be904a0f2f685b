use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_util::Stream;
use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use super::{Cancelled, Drive};
use crate::admission::{Answer, Stand, Who};
use crate::bell::{Bell, Signal};
use crate::group::run::{Driven, POLLS};
use crate::panic::{catch, discard, resume};
use crate::{Child, Kind};

/// How often a stream is asked in one poll, however ready it is.
const ASKS: usize = 4096;

pin_project! {
    /// The future of [`Group::feed`](crate::Group::feed) and
    /// [`Handle::feed`](crate::Handle::feed): admits the children of a stream.
    ///
    /// `D` is what it was called on, `&mut Group` or [`Handle`](crate::Handle); `S` the
    /// stream.
    #[must_use = "the stream is only asked when this is polled: `.await` it"]
    pub struct Feed<D, C: Kind, S> {
        driver: D,
        // Gone once it has ended.
        #[pin]
        stream: Option<S>,
        // The stream was pending when it was last asked: it holds no room and no place in
        // the line, and is left alone until it wakes.
        stalled: bool,
        signal: Arc<Signal>,
        stream_waker: Waker,
        // Of a handle's feed: what the stream's waker rings. A group's has the group's.
        bell: Option<Arc<Bell>>,
        stand: Option<Stand<C>>,
        // Hears of a stop while a handle's feed waits. (A group's own hears by its bell.)
        watch: Option<Cancelled>,
        admitted: usize,
        step: fn(Pin<&mut Feed<D, C, S>>, &mut Context<'_>) -> Poll<usize>,
    }
}

/// What the stream said.
enum Asked<A> {
    Child(A),
    Pending,
    End,
}

#[expect(private_bounds, reason = "made and driven by this crate alone")]
impl<D, C, S> Feed<D, C, S>
where
    D: Drive<C>,
    C: Kind,
    S: Stream,
    S::Item: Child<C>,
{
    pub(crate) fn new(driver: D, stream: S) -> Self {
        let bell = (driver.who() == Who::Handle).then(Bell::new);
        let signal = Signal::new(Arc::clone(bell.as_ref().unwrap_or(&driver.shared().bell)));
        Self {
            driver,
            stream: Some(stream),
            stalled: false,
            stream_waker: signal.waker(),
            signal,
            bell,
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
        match &this.bell {
            Some(bell) => {
                bell.open(cx);
                // What rang is seen by the signal.
                bell.take();
            }
            None => this.driver.begin(cx),
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
        if !ended && this.bell.is_some() {
            let token = &this.driver.shared().token;
            let watch = this.watch.get_or_insert_with(|| token.cancelled());
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
        let shared = Arc::clone(self.driver.shared());
        let who = self.driver.who();
        // Nobody was left to poll, or to be polled by a handle. What was polled before may have
        // made it this feed's turn; so it looks once more, last.
        let mut quiet = who == Who::Handle;
        loop {
            let this = self.as_mut().project();
            if shared.is_stopped() {
                return Poll::Ready(());
            }
            let may_ask = asks > 0 && !yielded && (!*this.stalled || this.signal.is_woken());
            if may_ask {
                let mut place = Stand::place(this.stand);
                let answer = shared.reserve(who, &mut place, cx);
                Stand::set(this.stand, &shared, place);
                let asked = match answer {
                    Answer::Stopped => return Poll::Ready(()),
                    Answer::Wait => {
                        // It stands in line now, and asks when its turn comes.
                        *this.stalled = false;
                        None
                    }
                    Answer::Yes(room) => {
                        asks -= 1;
                        let asked = self.as_mut().ask();
                        if let Asked::Child(child) = asked {
                            let this = self.as_mut().project();
                            if let Some(start) = room.admit(child) {
                                *this.admitted += 1;
                                this.driver.start(start);
                                quiet = who == Who::Handle;
                            }
                            continue;
                        }
                        Some(asked)
                    }
                    Answer::ToQueue(place) => {
                        asks -= 1;
                        let asked = self.as_mut().ask();
                        if let Asked::Child(child) = asked {
                            let this = self.as_mut().project();
                            if let Err(child) = shared.queue_at(who, place, child) {
                                // The stop came between; it is dropped, and counted.
                                shared.queue(who, child);
                                return Poll::Ready(());
                            }
                            Stand::set(this.stand, &shared, None);
                            *this.admitted += 1;
                            quiet = who == Who::Handle;
                            continue;
                        }
                        // Neither room nor a place is held for a child that isn't there.
                        *self.as_mut().project().stand = None;
                        Some(asked)
                    }
                };
                match asked {
                    Some(Asked::End) => return Poll::Ready(()),
                    Some(_) => {
                        let this = self.as_mut().project();
                        *this.stalled = true;
                        yielded = this.signal.is_woken();
                    }
                    None => {}
                }
            }
            let this = self.as_mut().project();
            if quiet {
                if yielded || asks == 0 {
                    // More to ask for, in the next poll.
                    this.bell.as_ref().unwrap_or(&shared.bell).ring();
                }
                return Poll::Pending;
            }
            quiet = this.driver.advance(&mut budget) != Driven::Progress;
        }
    }

    fn ask(self: Pin<&mut Self>) -> Asked<S::Item> {
        let this = self.project();
        *this.stalled = false;
        this.signal.take();
        let Some(stream) = this.stream.as_pin_mut() else {
            return Asked::End;
        };
        match stream.poll_next(&mut Context::from_waker(this.stream_waker)) {
            Poll::Ready(Some(child)) => Asked::Child(child),
            Poll::Ready(None) => Asked::End,
            Poll::Pending => Asked::Pending,
        }
    }

    /// Ends for good.
    fn leave(self: Pin<&mut Self>) {
        let mut this = self.project();
        *this.stand = None;
        *this.watch = None;
        this.stream.set(None);
    }

    fn close(self: Pin<&mut Self>, cx: &mut Context<'_>, pending: bool) {
        let this = self.project();
        match this.bell {
            Some(bell) => bell.close(cx, pending),
            None => this.driver.end(cx, pending),
        }
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
