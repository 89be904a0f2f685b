use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::Driver;
use crate::admission::{Answer, Desk, Room, Stand, Who};
use crate::child::{Child, Kind};
use crate::error::Stopped;
use crate::group::run::{Driven, POLLS};

/// Admitted, refused, or waiting.
type Admission<A> = Poll<Result<(), Stopped<A>>>;

/// The future of [`Group::go`](crate::Group::go) and [`Handle::go`](crate::Handle::go):
/// waits for room and admits a child.
///
/// `D` is what it was called on, `&mut Group` or [`Handle`](crate::Handle); `A` the child as
/// it was passed in.
#[must_use = "the child is only admitted when this is polled: `.await` it, or use `queue`, which never waits"]
pub struct Go<D, C: Kind, A> {
    driver: D,
    /// Gone once admitted or given back.
    child: Option<A>,
    /// Its place in the line, where it has to wait.
    stand: Option<Stand<C>>,
    step: fn(&mut Self, &mut Context<'_>) -> Admission<A>,
}

#[expect(private_bounds, reason = "made and driven by this crate alone")]
impl<D, C, A> Go<D, C, A>
where
    D: Driver<C>,
    C: Kind,
    A: Child<C>,
{
    pub(crate) fn new(driver: D, child: A) -> Self {
        Self { driver, child: Some(child), stand: None, step: Self::step }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Admission<A> {
        if self.enter() {
            return Poll::Ready(Ok(()));
        }
        self.ask_and_wait(cx)
    }

    /// Admits the child where that takes no more than a look: there is room, and nobody but
    /// the group itself could want it.
    #[inline(always)]
    fn enter(&mut self) -> bool {
        let Some(child) = &mut self.child else {
            return false;
        };
        if let Desk::Own(mut own) = self.driver.desk_for(child) {
            if let Room::Yes = own.room() {
                if let Some(child) = self.child.take() {
                    own.enter(child);
                    return true;
                }
            }
        }
        false
    }

    #[inline(never)]
    fn ask_and_wait(&mut self, cx: &mut Context<'_>) -> Admission<A> {
        if self.child.is_none() {
            return Poll::Pending;
        }
        let mut admission = self.ask(cx);
        if admission.is_pending() {
            admission = self.wait(cx);
        }
        if admission.is_ready() {
            self.stand = None;
        }
        admission
    }

    /// There is no room yet.
    fn wait(&mut self, cx: &mut Context<'_>) -> Admission<A> {
        let mut answer = Poll::Pending;
        if D::WHO == Who::Owner {
            self.driver.begin(cx);
            let mut budget = POLLS;
            while answer.is_pending() {
                let driven = self.driver.advance(&mut budget);
                // Whom it polled before may have made room; so it asks once more, last.
                answer = self.ask(cx);
                if driven != Driven::Progress {
                    break;
                }
            }
            self.driver.end(cx, answer.is_pending());
        }
        answer
    }

    fn ask(&mut self, cx: &mut Context<'_>) -> Admission<A> {
        match self.driver.desk() {
            Desk::Own(mut own) => match own.room() {
                Room::Stopped => self.refused(),
                Room::No => Poll::Pending,
                Room::Yes => {
                    let _ = self.enter();
                    Poll::Ready(Ok(()))
                }
            },
            Desk::Shared(_) => self.ask_among_others(cx),
        }
    }

    /// Where others may want room too.
    #[inline(never)]
    fn ask_among_others(&mut self, cx: &mut Context<'_>) -> Admission<A> {
        let Desk::Shared(shared) = self.driver.desk() else {
            return Poll::Pending;
        };
        let mut place = Stand::place(&self.stand);
        let answer = shared.go(D::WHO, &mut place, cx, &mut self.child);
        Stand::set(&mut self.stand, shared, place);
        match answer {
            Answer::Wait => Poll::Pending,
            Answer::Yes(()) => Poll::Ready(Ok(())),
            Answer::Stopped => self.refused(),
            Answer::ToQueue(place) => {
                let Some(child) = self.child.take() else {
                    return Poll::Pending;
                };
                match shared.queue_at(D::WHO, place, child) {
                    Ok(()) => {
                        // The place is the child's now.
                        Stand::set(&mut self.stand, shared, None);
                        Poll::Ready(Ok(()))
                    }
                    Err(child) => {
                        self.child = Some(child);
                        self.refused()
                    }
                }
            }
        }
    }

    fn refused(&mut self) -> Admission<A> {
        if let (Some(child), Desk::Shared(shared)) = (&mut self.child, self.driver.desk()) {
            shared.note_refused(child);
        }
        self.child.take().map_or(Poll::Pending, |child| Poll::Ready(Err(Stopped(child))))
    }
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
            .field("waits", &Stand::place(&self.stand).is_some())
            .field("done", &self.child.is_none())
            .finish_non_exhaustive()
    }
}
