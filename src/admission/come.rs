//! Those who come to a shared admission: with a child, or to wait until it is their turn to bring
//! one.

use core::sync::atomic::Ordering;
use core::task::Context;

use super::line::{Entry, Load, Want};
use super::roll::Key;
use super::state::State;
use super::{Place, Reservation, Shared, Who};
use crate::kind::{Child, Kind, Seal};
use crate::{TryGoError, context};

/// The answer to somebody who wants room.
pub(crate) enum Answer<R> {
    Yes(R),
    /// Only into the queue, at the place where the waiter stands.
    ToQueue(Place),
    Wait,
    Stopped,
}

/// How somebody has come to his turn.
enum Turn {
    /// There was room when he came, and a permit, which is his.
    Newcomer,
    /// He waited there, and has been granted room.
    Granted(Place),
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

impl<C: Kind> Shared<C> {
    /// Admits a child of whoever waits in `go`, or gives him a place in the line.
    pub(crate) fn go<A>(
        &self,
        who: Who,
        place: &mut Option<Place>,
        cx: &Context<'_>,
        child: &mut Option<A>,
    ) -> Answer<()>
    where
        A: Child<C>,
    {
        let want = child.as_mut().map_or(Want::PLAIN, Want::of);
        self.take_turn(who, want, place, cx, |state, turn| {
            let Some(child) = child.take() else {
                return;
            };
            match turn {
                Turn::Newcomer => state.admit(Load::new(child)),
                // The room is his still.
                Turn::Granted(at) => {
                    let _ = state.fill(at, Load::new(child));
                }
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
        let answer = self.take_turn(who, Want::PLAIN, place, cx, |state, turn| match turn {
            Turn::Newcomer => state.grant_newcomer(Want::PLAIN),
            Turn::Granted(at) => at,
        });
        answer.map(|at| Reservation { shared: self, who, place: Some(at) })
    }

    /// Calls `take` where the caller may have room, just now or because it was granted while he
    /// waited; else he waits.
    fn take_turn<R>(
        &self,
        who: Who,
        want: Want,
        place: &mut Option<Place>,
        cx: &Context<'_>,
        mut take: impl FnMut(&mut State<C>, Turn) -> R,
    ) -> Answer<R> {
        let child = context::child_of(self.id());
        // Its waker; and the one before it, whom nobody need wake any more once it has come.
        let (mut key, mut old) = (None, None);
        // Most who come have room, and need no waker: who stands in line has been woken for
        // it. So it looks without one, unless there was no room a moment ago.
        let mut ready = who == Who::Owner;
        if !ready && place.is_none() && self.crowded.load(Ordering::Relaxed) {
            key = Some(self.roll.add(cx.waker().clone()));
            ready = true;
        }
        loop {
            let answer = self.update(who, |state| {
                // After the waker was added: so a stop that is not seen here wakes it.
                if state.closed || self.is_stopped() {
                    return Some(Answer::Stopped);
                }
                let Some(at) = *place else {
                    if state.lets_in(want) {
                        return Some(Answer::Yes(take(state, Turn::Newcomer)));
                    }
                    if !ready {
                        return None;
                    }
                    let at = state.wait(want, key.take());
                    state.waits_within(at, child);
                    *place = Some(at);
                    return Some(Answer::Wait);
                };
                if let Some(told) = state.take_grant(at) {
                    (*place, old) = (None, told);
                    return Some(Answer::Yes(take(state, Turn::Granted(at))));
                }
                Some(match state.line.get_mut(at) {
                    // The stop or the end has cleared the line.
                    None | Some(Entry::Queued(_)) => Answer::Stopped,
                    Some(Entry::Waiter(waiter)) if waiter.to_queue => Answer::ToQueue(at),
                    Some(Entry::Waiter(waiter)) if !ready => {
                        // He is here: need not be told, if it is his turn now.
                        waiter.told = true;
                        return None;
                    }
                    Some(Entry::Waiter(waiter)) => {
                        old = core::mem::replace(&mut waiter.key, key.take());
                        waiter.told = false;
                        state.waits_within(at, child);
                        Answer::Wait
                    }
                })
            });
            if answer.is_none() {
                key = Some(self.roll.add(cx.waker().clone()));
                ready = true;
                continue;
            }
            if who == Who::Owner && matches!(answer, Some(Answer::Wait)) && self.has_granted(*place)
            {
                // A permit came between this look and the change of the line after it. Nothing
                // wakes the group's own task for that, so it looks again.
                continue;
            }
            self.forget(key);
            self.forget(old);
            return answer.unwrap_or(Answer::Wait);
        }
    }

    /// Returns `true` if the waiter there has been granted room.
    fn has_granted(&self, place: Option<Place>) -> bool {
        place.is_some_and(|place| self.state.lock().is_granted(place))
    }

    /// Puts a child into the queue at the place of its waiter. Gives it back where a stop
    /// has come between.
    pub(crate) fn queue_at<A: Child<C>>(&self, who: Who, place: Place, child: A) -> Result<(), A> {
        let mut child = Some(child);
        let key = self.update(who, |state| {
            if state.closed || self.is_stopped() || !state.awaits(place) {
                return None;
            }
            let load = Load::new(child.take()?);
            if let Some(told) = state.take_grant(place) {
                // Room has come since it was told to use the queue.
                let _ = state.fill(place, load);
                return told;
            }
            state.queue_at(place, load)
        });
        self.forget(key);
        child.map_or(Ok(()), Err)
    }

    /// Brings the child for which room was granted; it may be queued, where it needs more.
    /// False where the group has stopped meanwhile: it is dropped, and counts as dropped.
    pub(super) fn fill<A: Child<C>>(&self, who: Who, place: Place, child: A) -> bool {
        let mut child = Some(child);
        self.update(who, |state| {
            if state.closed || self.is_stopped() {
                state.give_back(place);
                state.left = true;
                let options = child.as_mut().and_then(|child| child.options(Seal::new()));
                state.refuse(options);
            } else if let Some(child) = child.take() {
                let _ = state.fill(place, Load::new(child));
            }
        });
        // One that was refused is dropped here, unlocked.
        child.is_none()
    }

    /// Admits a child that was asked for because there is room, or queues one that needs more;
    /// false, and the child is dropped and counted so, where the group has stopped meanwhile.
    pub(crate) fn bring<A: Child<C>>(&self, who: Who, child: A) -> bool {
        let place = self.update(who, |state| {
            let stopped = state.closed || self.is_stopped();
            let room = !stopped && state.lets_in(Want::PLAIN);
            room.then(|| state.grant_newcomer(Want::PLAIN))
        });
        match place {
            Some(place) => self.fill(who, place, child),
            None => self.queue(who, child),
        }
    }

    /// Gives up a place in the line, or the room that was granted there.
    pub(super) fn leave(&self, who: Who, place: Place) {
        let mut _dropped_unlocked = None;
        let key = self.update(who, |state| {
            state.left = true;
            state.waits_no_more(place);
            match state.line.remove(place) {
                Some(Entry::Waiter(waiter)) => return waiter.key,
                queued => _dropped_unlocked = queued,
            }
            state.give_back(place)
        });
        self.forget(key);
    }

    /// Drops the waker of one who waits no more.
    fn forget(&self, key: Option<Key>) {
        drop(key.and_then(|key| self.roll.remove(key)));
    }

    pub(crate) fn try_go<A: Child<C>>(&self, who: Who, mut child: A) -> Result<(), TryGoError<A>> {
        let want = Want::of(&mut child);
        self.update(who, |state| {
            let stopped = state.closed || self.is_stopped();
            // It overtakes nobody, whatever its priority: it is not one of those who wait.
            if !stopped && state.line.is_empty() && state.lets_in(want) {
                state.admit(Load::new(child));
                return Ok(());
            }
            state.reject(stopped, child.options(Seal::new()));
            Err(if stopped { TryGoError::Stopped(child) } else { TryGoError::AtLimit(child) })
        })
    }

    /// Whether the child was accepted.
    pub(crate) fn queue<A: Child<C>>(&self, who: Who, mut child: A) -> bool {
        let want = Want::of(&mut child);
        let dropped_unlocked = self.update(who, |state| {
            if state.closed || self.is_stopped() {
                state.refuse(child.options(Seal::new()));
                return Some(child);
            }
            let load = Load::new(child);
            if state.lets_in(want) {
                state.admit(load)
            } else {
                state.queue(load)
            }
            None
        });
        dropped_unlocked.is_none()
    }

    /// Tells the observer of a child that was given back by a `go`.
    pub(crate) fn note_refused<A: Child<C>>(&self, child: &mut A) {
        self.report_with(|state| state.reject(true, child.options(Seal::new())));
    }
}
