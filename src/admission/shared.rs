//! The state behind its lock, for a group that has handles.
//!
//! No waker is woken, cloned or dropped, no child dropped or polled, while the lock is held:
//! what is to be woken or dropped is carried out of it. The token's own lock is never taken
//! inside it (`is_cancelled` is an atomic load).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Context;

use super::line::{Entry, Waiter};
use super::state::State;
use super::{Admitted, End, Ended, Place, Reservation};
use crate::bell::Bell;
use crate::kind::{Child, Kind, Seal};
use crate::lock::Lock;
use crate::panic::First;
use crate::{CancelToken, Stats, TryGoError, context};

/// What a group and its handles have in common.
pub(crate) struct Shared<C> {
    pub(crate) token: CancelToken,
    pub(super) bell: Arc<Bell>,
    /// Whether the inbox holds anybody; written under the lock only.
    mailed: AtomicBool,
    pub(super) state: Lock<State<C>>,
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

// === impl Shared ===

impl<C> Shared<C> {
    /// `state` is a group's that had no handle until now.
    pub(super) fn new(token: CancelToken, bell: Arc<Bell>, state: State<C>) -> Arc<Self> {
        let mailed = AtomicBool::new(!state.inbox.is_empty());
        Arc::new(Self { token, bell, mailed, state: Lock::new(state) })
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.state.lock().stats()
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.state.lock().stats.limit
    }

    pub(crate) fn set_limit(&self, limit: Option<usize>, who: Who) {
        self.update(who, |state| state.stats.limit = limit);
    }

    /// What the group is known by while one of its children is polled.
    pub(crate) fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Changes the state, settles the line, and tells whom it concerns.
    pub(super) fn update<R>(&self, who: Who, change: impl FnOnce(&mut State<C>) -> R) -> R {
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

    /// Admits a child of whoever waits in `go`, or gives him a place in the line.
    pub(crate) fn go<A>(
        &self,
        who: Who,
        place: &mut Option<Place>,
        cx: &Context<'_>,
        child: &mut Option<A>,
    ) -> Answer<()>
    where
        C: Kind,
        A: Child<C>,
    {
        self.take_turn(who, place, cx, |state| {
            if let Some(child) = child.take() {
                state.admit(child.into_child(Seal::new()));
            }
        })
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
        let child = context::child_of(self.id());
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
    pub(super) fn leave(&self, place: Place) {
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

    /// Takes the admitted children out, for the group's set.
    pub(crate) fn take_inbox(&self) -> VecDeque<Admitted<C>> {
        let mut state = self.state.lock();
        self.mailed.store(false, Ordering::Release);
        core::mem::take(&mut state.inbox)
    }

    /// A running child is gone; its room is free.
    pub(crate) fn finish(&self, index: usize, ended: Ended) {
        self.update(Who::Owner, |state| {
            state.end(ended);
            state.nested.forget(index);
        });
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
