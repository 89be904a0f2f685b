//! The state behind its lock, for a group that has handles.
//!
//! No waker is woken, cloned or dropped, no child dropped or polled, while the lock is held:
//! what is to be woken or dropped is carried out of it. The token's own lock is never taken
//! inside it (`is_cancelled` is an atomic load).

use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};

use super::line::{Entry, Inbox, Line, Waiter};
use super::roll::{Key, Roll};
use super::state::{Calls, State};
use super::{End, Ended, Place, Reservation};
use crate::bell::Bell;
use crate::future::Cancelled;
use crate::kind::{Child, Kind, Seal};
use crate::lock::Lock;
use crate::panic::First;
use crate::spawned::Spawner;
use crate::{CancelToken, Stats, TryGoError, context};

/// What a group and its handles have in common.
pub(crate) struct Shared<C> {
    pub(crate) token: CancelToken,
    pub(super) bell: Arc<Bell>,
    /// Whether there is a child that may go to the set; written under the lock only.
    mailed: AtomicBool,
    /// Whether a newcomer had to wait when the lock was free last; written under it only.
    crowded: AtomicBool,
    pub(super) state: Lock<State<C>>,
    roll: Arc<Roll>,
    /// Where the children run, if not where the group does.
    spawner: Option<Spawner<C>>,
    /// Wakes those who stand in line when the token is cancelled.
    _watch: Cancelled,
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

/// Wakes those who stand in line when the token is cancelled.
fn watch(token: &CancelToken, roll: &Arc<Roll>) -> Cancelled {
    let mut watch = token.cancelled();
    // Should the stop come just now: nobody stands in line yet, and who comes sees it.
    let waker = Waker::from(Arc::clone(roll));
    let _ = Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
    watch
}

// === impl Shared ===

impl<C> Shared<C> {
    /// `state` is a group's that had no handle until now.
    pub(super) fn new(
        token: CancelToken,
        bell: Arc<Bell>,
        state: State<C>,
        spawner: Option<Spawner<C>>,
    ) -> Arc<Self> {
        let mailed = AtomicBool::new(state.has_mail());
        let crowded = AtomicBool::new(!state.admits_newcomers());
        let roll = Arc::<Roll>::default();
        let watch = watch(&token, &roll);
        let state = Lock::new(state);
        Arc::new(Self { token, bell, mailed, crowded, state, roll, spawner, _watch: watch })
    }

    /// Hangs it on another token, before anybody else has it.
    pub(super) fn set_token(&mut self, token: CancelToken) {
        self._watch = watch(&token, &self.roll);
        self.token = token;
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
        let mut calls = Calls::default();
        let result = self.change(&mut calls, change);
        self.make(calls, who);
        result
    }

    /// Changes the state and settles the line. Whoever did makes the calls.
    fn change<R>(&self, calls: &mut Calls, change: impl FnOnce(&mut State<C>) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state);
        state.settle(self.is_stopped(), calls);
        self.start(&mut state, calls);
        self.note(&state);
        result
    }

    /// Lets those who have been admitted begin, if they run elsewhere: as one of the calls.
    fn start(&self, state: &mut State<C>, calls: &mut Calls) {
        if let Some(spawner) = &self.spawner {
            let start = |child: &mut C, index| spawner.start(child, self.id(), index);
            state.start(start, &mut calls.starts);
        }
    }

    /// Says to those who look without the lock what they may find.
    fn note(&self, state: &State<C>) {
        if state.has_mail() && !self.mailed.load(Ordering::Relaxed) {
            self.mailed.store(true, Ordering::Release);
        }
        let crowded = !state.admits_newcomers();
        if crowded != self.crowded.load(Ordering::Relaxed) {
            self.crowded.store(crowded, Ordering::Relaxed);
        }
    }

    pub(super) fn make(&self, calls: Calls, who: Who) {
        // A waker that panics is its executor's fault, who has heard of it; it must not cost
        // anybody his child or his wake-up.
        let mut panic = First::default();
        if calls.ring && who == Who::Handle {
            panic.guard(|| self.bell.ring());
        }
        if let Some(waker) = calls.first.and_then(|key| self.roll.remove(key)) {
            panic.guard(|| waker.wake());
        }
        if !calls.more.is_empty() {
            panic.guard(|| self.roll.wake(calls.more));
        }
        panic.discard();
        // Last: a spawner may run the child in the call, which may wait for who was woken.
        if let Some(spawner) = &self.spawner {
            spawner.launch(calls.starts);
        }
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
        self.take_turn(who, place, cx, |state, at| {
            if let Some(child) = child.take() {
                // It was granted a moment ago, or is still.
                let _ = state.fill(at, child.into_child(Seal::new()));
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
        let answer = self.take_turn(who, place, cx, |_, at| at);
        answer.map(|at| Reservation { shared: self, who, place: Some(at) })
    }

    /// Calls `take` with the place for which the caller has been granted room, just now or
    /// while he waited; else he waits.
    fn take_turn<R>(
        &self,
        who: Who,
        place: &mut Option<Place>,
        cx: &Context<'_>,
        mut take: impl FnMut(&mut State<C>, Place) -> R,
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
                    if state.admits_newcomers() {
                        let at = state.grant_newcomer();
                        return Some(Answer::Yes(take(state, at)));
                    }
                    if !ready {
                        return None;
                    }
                    let waiter = Waiter { key: key.take(), told: false, to_queue: false };
                    let at = state.stand(Entry::Waiter(waiter));
                    state.nested.set(at, child);
                    *place = Some(at);
                    return Some(Answer::Wait);
                };
                if let Some(told) = state.take_grant(at) {
                    (*place, old) = (None, told);
                    return Some(Answer::Yes(take(state, at)));
                }
                Some(match state.line.get_mut(at) {
                    // The stop or the end has cleared the line.
                    None | Some(Entry::Queued(_)) => Answer::Stopped,
                    Some(Entry::Waiter(waiter)) if waiter.to_queue => Answer::ToQueue(at),
                    Some(Entry::Waiter(_)) if !ready => return None,
                    Some(Entry::Waiter(waiter)) => {
                        old = core::mem::replace(&mut waiter.key, key.take());
                        waiter.told = false;
                        state.nested.set(at, child);
                        Answer::Wait
                    }
                })
            });
            if answer.is_none() {
                key = Some(self.roll.add(cx.waker().clone()));
                ready = true;
                continue;
            }
            self.forget(key);
            self.forget(old);
            return answer.unwrap_or(Answer::Wait);
        }
    }

    /// Puts a child into the queue at the place of its waiter. Gives it back where a stop
    /// has come between.
    pub(crate) fn queue_at<A: Child<C>>(&self, who: Who, place: Place, child: A) -> Result<(), A>
    where
        C: Kind,
    {
        let mut key = None;
        let queued = self.update(who, |state| {
            if state.closed || self.is_stopped() {
                return Err(child);
            }
            if let Some(told) = state.take_grant(place) {
                // Room has come since it was told to use the queue.
                key = told;
                let _ = state.fill(place, child.into_child(Seal::new()));
                return Ok(());
            }
            match state.line.get_mut(place) {
                Some(entry @ Entry::Waiter(_)) => {
                    let child = Entry::Queued(child.into_child(Seal::new()));
                    if let Entry::Waiter(waiter) = core::mem::replace(entry, child) {
                        key = waiter.key;
                    }
                    state.stats.queued += 1;
                    Ok(())
                }
                _ => Err(child),
            }
        });
        self.forget(key);
        queued
    }

    /// Brings the child for which room was granted. Where the group has stopped meanwhile it
    /// comes back, and counts as dropped.
    pub(super) fn fill<A: Child<C>>(&self, who: Who, place: Place, child: A) -> Result<(), A>
    where
        C: Kind,
    {
        self.update(who, |state| {
            if state.closed || self.is_stopped() {
                state.give_back(place);
                state.left = true;
                state.stats.dropped += 1;
                return Err(child);
            }
            let _ = state.fill(place, child.into_child(Seal::new()));
            Ok(())
        })
    }

    /// Gives up a place in the line, or the room that was granted there.
    pub(super) fn leave(&self, who: Who, place: Place) {
        let mut _dropped_unlocked = None;
        let key = self.update(who, |state| {
            state.left = true;
            state.nested.remove(place);
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

    pub(crate) fn try_go<A: Child<C>>(&self, who: Who, child: A) -> Result<(), TryGoError<A>>
    where
        C: Kind,
    {
        self.update(who, |state| {
            if state.closed || self.is_stopped() {
                return Err(TryGoError::Stopped(child));
            }
            if !state.admits_newcomers() {
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
            if state.admits_newcomers() {
                state.admit(child.into_child(Seal::new()));
            } else {
                state.stats.queued += 1;
                state.stand(Entry::Queued(child.into_child(Seal::new())));
            }
            None
        });
    }

    /// Whether there are children that may go to the set.
    pub(crate) fn has_mail(&self) -> bool {
        // Acquire: who rang for them did so after the store.
        self.mailed.load(Ordering::Acquire)
    }

    /// Moves the children that may go to the set into `batch`; gives the index of the first.
    pub(super) fn take_inbox(&self, batch: &mut Inbox<C>) -> usize {
        let mut state = self.state.lock();
        self.mailed.store(false, Ordering::Release);
        state.take_inbox(batch)
    }

    /// Clears the line after a stop, and takes back what was granted.
    pub(super) fn clear_line(&self) -> Line<C> {
        let mut calls = Calls::default();
        let line = {
            let mut state = self.state.lock();
            let line = state.clear_line();
            // Those who stood behind one who was awaited.
            self.start(&mut state, &mut calls);
            self.note(&state);
            line
        };
        self.make(calls, Who::Owner);
        line
    }

    /// A running child is gone; its room goes to the next in line, who are told later: so a
    /// poll of the group that makes room for many wakes them together, and each finds room for
    /// more than one child.
    pub(super) fn finish(&self, index: usize, ended: Ended, calls: &mut Calls) {
        self.change(calls, |state| {
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
