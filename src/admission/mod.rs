//! Who may run: the limit, the line, and the numbers, shared by a group and its handles.
//!
//! # Invariants
//!
//! - `used = running + reserved`. Of the children that count as `running`, those in `inbox`
//!   are admitted and not yet with the group's set; the others are in the set.
//! - The line is *settled* whenever the lock is free: its first entry does not fit, or is a
//!   waiter that was told so, or a feed has taken room for the child that it asks for now. A
//!   newcomer is admitted past the line only where it is empty,
//!   and a waiter only where it is first; so admission is in order.
//! - Where every running child waits in the line, and the first in line does not fit, one
//!   waiter has been told to put its child into the queue.
//! - Once `closed` is set, nothing is admitted and the line stays empty: the group has
//!   resolved or is gone.
//! - A cancelled token admits nothing either. What still is in the line then is dropped by
//!   the group's next poll, or by its drop.
//!
//! # Locks
//!
//! One, around [`State`]. No waker is woken, cloned or dropped, no child dropped or polled,
//! while it is held: what is to be woken or dropped is carried out of it. The token's own
//! lock is never taken inside it (`is_cancelled` is an atomic load).

mod end;
mod line;
mod nested;
mod place;
mod state;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Context;

pub(crate) use self::end::{End, EndWaiter};
pub(crate) use self::line::Place;
use self::line::{Entry, Waiter};
use self::nested::Nested;
pub(crate) use self::place::{Reservation, Stand};
use self::state::State;
use crate::bell::Bell;
use crate::kind::{Child, Kind, Seal};
use crate::lock::Lock;
use crate::panic::First;
use crate::{CancelToken, Stats, TryGoError, context};

/// What a group and its handles have in common.
pub(crate) struct Shared<C> {
    pub(crate) token: CancelToken,
    pub(crate) bell: Arc<Bell>,
    /// Whether there ever was a handle; without one, no child can wait for its own group.
    handed: AtomicBool,
    /// Whether the inbox holds anybody; written under the lock only.
    mailed: AtomicBool,
    state: Lock<State<C>>,
}

/// A child that may run.
pub(crate) struct Admitted<C> {
    pub(crate) child: C,
    /// Its place in the order of admission.
    pub(crate) index: usize,
}

/// On whose behalf the state is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// The group's own task, which looks into the inbox by itself.
    Owner,
    /// A handle, which has to ring.
    Handle,
}

/// The answer to somebody who wants room.
pub(crate) enum Answer<R> {
    Yes(R),
    /// Only into the queue, at the place where the waiter stands.
    ToQueue(Place),
    Wait,
    Stopped,
}

impl<R> Answer<R> {
    fn map<S>(self, f: impl FnOnce(R) -> S) -> Answer<S> {
        match self {
            Self::Yes(yes) => Answer::Yes(f(yes)),
            Self::ToQueue(place) => Answer::ToQueue(place),
            Self::Wait => Answer::Wait,
            Self::Stopped => Answer::Stopped,
        }
    }
}

/// How an admitted child gets into the group's set.
pub(crate) enum Start<C> {
    /// By way of the inbox.
    Mailed,
    /// At once, by its owner, who asked for it: nobody was in the inbox before it.
    Now(Admitted<C>),
}

/// How a child has ended.
#[derive(Clone, Copy)]
pub(crate) enum Ended {
    Ok,
    Failed,
    Dropped,
}

// === impl Shared ===

impl<C> Shared<C> {
    pub(crate) fn new(token: CancelToken) -> Arc<Self> {
        Arc::new(Self {
            token,
            bell: Bell::new(),
            handed: AtomicBool::new(false),
            mailed: AtomicBool::new(false),
            state: Lock::new(State::new()),
        })
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.state.lock().stats
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.state.lock().stats.limit
    }

    pub(crate) fn set_limit(&self, limit: Option<usize>, who: Who) {
        self.update(who, |state| state.stats.limit = limit);
    }

    /// Notes that a handle exists, so that children are known while they are polled.
    pub(crate) fn hand_out(&self) {
        self.handed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_handed_out(&self) -> bool {
        // Relaxed: whoever calls through a handle got it from the one who stored this.
        self.handed.load(Ordering::Relaxed)
    }

    /// Whether a child was ever accepted.
    pub(crate) fn has_accepted(&self) -> bool {
        let state = self.state.lock();
        state.next_index > 0 || state.stats.queued > 0 || state.stats.dropped > 0
    }

    /// Whether nobody but its group knows of it yet.
    pub(crate) fn is_untouched(&self) -> bool {
        !(self.has_accepted()
            || self.is_handed_out()
            || self.token.is_shared()
            || self.token.is_cancelled())
    }

    /// What the group is known by while one of its children is polled.
    pub(crate) fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Changes the state, settles the line, and tells whom it concerns.
    fn update<R>(&self, who: Who, change: impl FnOnce(&mut State<C>) -> R) -> R {
        let (result, calls) = {
            let mut state = self.state.lock();
            let result = change(&mut state);
            let calls = state.settle(self.is_stopped());
            if !state.inbox.is_empty() {
                self.mailed.store(true, Ordering::Release);
            }
            (result, calls)
        };
        // A waker that panics is its executor's fault, who has heard of it; it must not cost
        // anybody his child or his wake-up.
        let mut panic = First::default();
        if calls.ring && who == Who::Handle {
            panic.guard(|| self.bell.ring());
        }
        if let Some(waker) = calls.waker {
            panic.guard(|| waker.wake());
        }
        panic.discard();
        result
    }

    /// The child (by index) within whose poll the caller stands.
    fn current_child(&self) -> Option<usize> {
        if self.is_handed_out() { context::child_of(self.id()) } else { None }
    }

    /// Admits a child of whoever waits in `go`, or gives him a place in the line.
    pub(crate) fn go<A>(
        &self,
        who: Who,
        place: &mut Option<Place>,
        cx: &Context<'_>,
        child: &mut Option<A>,
    ) -> Answer<Start<C>>
    where
        C: Kind,
        A: Child<C>,
    {
        let mut start = Start::Mailed;
        let answer = self.take_turn(who, place, cx, |state| {
            if let Some(child) = child.take() {
                state.used += 1;
                start = state.start(child.into_child(Seal::new()), who);
            }
        });
        answer.map(|()| start)
    }

    /// Takes room for a child that is yet to be asked for, or a place in the line.
    pub(crate) fn reserve(
        &self,
        who: Who,
        place: &mut Option<Place>,
        cx: &Context<'_>,
    ) -> Answer<Reservation<'_, C>> {
        let answer = self.take_turn(who, place, cx, |state| {
            state.used += 1;
            state.reserved += 1;
        });
        answer.map(|()| Reservation { shared: self, who, held: true })
    }

    /// Calls `take` where it is the caller's turn and there is room; else he waits.
    fn take_turn(
        &self,
        who: Who,
        place: &mut Option<Place>,
        cx: &Context<'_>,
        take: impl FnOnce(&mut State<C>),
    ) -> Answer<()> {
        let child = self.current_child();
        // Cloned before and dropped after the lock; the entry that it replaces, likewise.
        let mut _gone = None;
        let mut waker = match who {
            Who::Owner => None,
            Who::Handle => Some(cx.waker().clone()),
        };
        self.update(who, |state| {
            if state.closed || self.is_stopped() {
                return Answer::Stopped;
            }
            let fits = state.fits();
            let Some(at) = *place else {
                if fits && state.line.is_empty() {
                    take(state);
                    return Answer::Yes(());
                }
                let waiter = Waiter { waker: waker.take(), told: false, to_queue: false };
                let at = state.line.push(Entry::Waiter(waiter));
                state.nested.set(at, child);
                *place = Some(at);
                return Answer::Wait;
            };
            let (first, asking) = (state.line.is_first(at), state.reserved > 0);
            match state.line.waiter(at) {
                // The stop or the end has cleared the line.
                None => Answer::Stopped,
                Some(_) if fits && first && !asking => {
                    _gone = state.line.remove(at);
                    state.nested.remove(at);
                    *place = None;
                    take(state);
                    Answer::Yes(())
                }
                Some(waiter) if waiter.to_queue => Answer::ToQueue(at),
                Some(waiter) => {
                    core::mem::swap(&mut waiter.waker, &mut waker);
                    waiter.told = false;
                    state.nested.set(at, child);
                    Answer::Wait
                }
            }
        })
    }

    /// Puts a child into the queue at the place of its waiter. Gives it back where a stop
    /// has come between.
    pub(crate) fn queue_at<A: Child<C>>(&self, who: Who, place: Place, child: A) -> Result<(), A>
    where
        C: Kind,
    {
        let mut old = None;
        self.update(who, |state| {
            if state.closed || self.is_stopped() || state.line.waiter(place).is_none() {
                return Err(child);
            }
            old = state.line.replace(place, child.into_child(Seal::new()));
            state.stats.queued += 1;
            Ok(())
        })
    }

    /// Gives up a place in the line. Whoever did, the group's task is told of what follows: a
    /// `go` is dropped at any time.
    fn leave(&self, place: Place) {
        let _dropped_unlocked = self.update(Who::Handle, |state| {
            state.left = true;
            state.nested.remove(place);
            state.line.remove(place)
        });
    }

    pub(crate) fn try_go<A: Child<C>>(&self, who: Who, child: A) -> Result<(), TryGoError<A>>
    where
        C: Kind,
    {
        self.update(who, |state| {
            if state.closed || self.is_stopped() {
                return Err(TryGoError::Stopped(child));
            }
            if !state.line.is_empty() || !state.fits() {
                return Err(TryGoError::AtLimit(child));
            }
            state.admit(child.into_child(Seal::new()));
            Ok(())
        })
    }

    pub(crate) fn queue<A: Child<C>>(&self, who: Who, child: A)
    where
        C: Kind,
    {
        let _dropped_unlocked = self.update(who, |state| {
            if state.closed || self.is_stopped() {
                state.stats.dropped += 1;
                return Some(child);
            }
            if state.line.is_empty() && state.fits() {
                state.admit(child.into_child(Seal::new()));
            } else {
                state.stats.queued += 1;
                state.line.push(Entry::Queued(child.into_child(Seal::new())));
            }
            None
        });
    }

    /// Whether there are children in the inbox.
    pub(crate) fn has_mail(&self) -> bool {
        // Acquire: who rang for them did so after the store.
        self.mailed.load(Ordering::Acquire)
    }

    /// Moves the admitted children into `to`, which is empty.
    pub(crate) fn take_inbox(&self, to: &mut VecDeque<Admitted<C>>) {
        debug_assert!(to.is_empty());
        let mut state = self.state.lock();
        core::mem::swap(&mut state.inbox, to);
        self.mailed.store(false, Ordering::Release);
    }

    /// A running child is gone; its room is free.
    pub(crate) fn finish(&self, index: usize, ended: Ended) {
        self.update(Who::Owner, |state| {
            state.used -= 1;
            state.stats.running -= 1;
            *match ended {
                Ended::Ok => &mut state.stats.ok,
                Ended::Failed => &mut state.stats.failed,
                Ended::Dropped => &mut state.stats.dropped,
            } += 1;
            state.nested.forget(index);
        });
    }

    /// Clears the line after a stop; the children that stood in it are to be dropped.
    pub(crate) fn clear_line(&self) -> impl Iterator<Item = C> + use<C> {
        let line = {
            let mut state = self.state.lock();
            state.stats.dropped += core::mem::take(&mut state.stats.queued);
            state.nested = Nested::default();
            core::mem::take(&mut state.line)
        };
        line.into_queued()
    }

    /// Closes the group if nothing runs and nothing waits.
    pub(crate) fn try_close(&self) -> bool {
        let mut state = self.state.lock();
        if state.used > 0 || !(state.line.is_empty() || self.is_stopped()) {
            return false;
        }
        state.closed = true;
        true
    }

    /// Closes the group whatever runs: admission ends here. What ran counts as dropped.
    pub(crate) fn close_now(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.stats.dropped += core::mem::take(&mut state.stats.running);
        state.used = state.reserved;
    }

    /// Tells those who wait in `closed`, after everything else of the end.
    pub(crate) fn announce_end(&self) {
        let end = {
            let mut state = self.state.lock();
            state.ended = true;
            state.end.clone()
        };
        if let Some(end) = end {
            end.reach();
        }
    }

    pub(crate) fn end(&self) -> Arc<End> {
        let (end, ended) = {
            let mut state = self.state.lock();
            (Arc::clone(state.end.get_or_insert_default()), state.ended)
        };
        if ended {
            end.reach();
        }
        end
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state.lock().ended
    }
}
