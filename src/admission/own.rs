//! The group's side of admission: its own state, or what it shares with its handles; its
//! token, made when somebody asks for it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::Context;

use async_lock::Semaphore;

use super::abroad::Abroad;
use super::line::{Line, Load, Slot};
use super::log::Log;
use super::permits::{Permits, Source};
use super::row::shrink;
use super::settle::Calls;
use super::state::State;
use super::{Shared, Who};
use crate::bell::Bell;
use crate::future::Cancelled;
use crate::kind::{Child, Kind, Seal};
use crate::lock::{Lazy, Lock};
use crate::panic::{catch, discard};
use crate::set::Set;
use crate::spawned::Spawner;
use crate::sync::waker;
use crate::task::Options;
use crate::{CancelToken, Event, Outcome, Reason, Stats, TryGoError};

pub(crate) struct Admission<C: Kind> {
    pub(crate) bell: Arc<Bell>,
    token: Lazy<Leash>,
    /// Why the group stopped, where it did so before anybody asked for its token.
    stopped: Option<Reason>,
    /// Holds those who go from the outbox to the set; empty between.
    batch: VecDeque<C>,
    /// Where the children run, if not here; and those who do.
    abroad: Option<(Spawner<C>, Box<Abroad<C>>)>,
    /// Those to whom room was given while the children are polled, and who are told after.
    calls: Calls,
    /// The lock is for `&self` alone; whoever has the group to himself goes past it.
    access: Lock<Access<C>>,
}

#[expect(clippy::large_enum_variant, reason = "a box would cost each small group one more")]
enum Access<C: Kind> {
    Own(State<C>),
    Shared(Arc<Shared<C>>),
}

/// A token on which its group hangs.
struct Leash {
    token: CancelToken,
    /// Rings the bell when the token is cancelled.
    _watch: Cancelled,
}

/// What is known of a child that is not in the set.
pub(crate) enum Whose {
    /// It has started, and has this index.
    Started(usize),
    /// It has room, and stands behind one who is awaited.
    Waiting(Option<Box<Options>>),
}

/// Where a group's children are admitted.
pub(crate) enum Desk<'g, C: Kind> {
    /// By the group alone.
    Own(Own<'g, C>),
    /// By the group and its handles.
    Shared(&'g Arc<Shared<C>>),
}

pub(crate) struct Own<'g, C: Kind> {
    state: &'g mut State<C>,
    set: &'g mut Set<C>,
    bell: &'g Arc<Bell>,
    token: &'g Lazy<Leash>,
    stopped: &'g Option<Reason>,
}

pub(crate) enum Room {
    Yes,
    No,
    Stopped,
}

#[inline]
fn is_stopped(token: &Lazy<Leash>, stopped: &Option<Reason>) -> bool {
    match token.get() {
        Some(leash) => leash.token.is_cancelled(),
        None => stopped.is_some(),
    }
}

// === impl Leash ===

impl Leash {
    fn new(token: CancelToken, bell: &Arc<Bell>) -> Self {
        let mut watch = token.cancelled();
        let waker = waker(Arc::clone(bell));
        // Once registered it rings; what it says, `is_stopped` says as well.
        let _ = Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
        Self { token, _watch: watch }
    }

    /// Whether somebody else has the token, or had it and has cancelled it.
    fn is_given_out(&self) -> bool {
        // Two are the leash's own: the token and the watch.
        self.token.references() > 2 || self.token.is_cancelled()
    }
}

// === impl Admission ===

impl<C: Kind> Admission<C> {
    pub(crate) fn new() -> Self {
        let bell = Bell::new();
        Self {
            token: Lazy::new(|| Leash::new(CancelToken::new(), &bell)),
            stopped: None,
            batch: VecDeque::new(),
            abroad: None,
            calls: Calls::default(),
            access: Lock::new(Access::Own(State::new())),
            bell,
        }
    }

    /// For a group whose children run elsewhere.
    pub(crate) fn spawning(spawner: impl FnOnce(Arc<Bell>) -> Spawner<C>) -> Self {
        let mut admission = Self::new();
        let spawner = spawner(Arc::clone(&admission.bell));
        let abroad = Abroad::new(spawner.home());
        admission.abroad = Some((spawner, abroad));
        admission.share();
        admission
    }

    /// Makes the group's token a child of `parent`; false where the group has children, or
    /// somebody may have its token or a handle.
    pub(crate) fn set_parent(&mut self, parent: &CancelToken) -> bool {
        self.rebuild(|admission| {
            let given_out = admission.token.get().is_some_and(Leash::is_given_out);
            let untouched = !given_out && admission.stopped.is_none();
            if untouched {
                admission.token = Lazy::filled(Leash::new(parent.child(), &admission.bell));
            }
            untouched
        })
    }

    /// Takes a permit of the semaphore for each child; false where the group has children or
    /// handles.
    pub(crate) fn set_semaphore(&mut self, semaphore: Arc<Semaphore>) -> bool {
        self.rebuild(|admission| {
            admission.with(|state| state.permits = Some(Permits::new(semaphore)));
            true
        })
    }

    /// Notes from now on what happens; false where the group has children or handles.
    pub(crate) fn observe(&mut self) -> bool {
        self.rebuild(|admission| {
            admission.with(|state| state.log = Some(Log::new()));
            true
        })
    }

    /// Changes what is shared with handles; false where there are any, or children, or where
    /// `change` says so.
    fn rebuild(&mut self, change: impl FnOnce(&mut Self) -> bool) -> bool {
        if self.has_accepted() {
            return false;
        }
        let access = self.access.get_mut();
        match core::mem::replace(access, Access::Own(State::new())) {
            Access::Own(state) => *access = Access::Own(state),
            Access::Shared(shared) => match shared.into_state() {
                Ok(state) => *access = Access::Own(state),
                Err(shared) => {
                    *access = Access::Shared(shared);
                    return false;
                }
            },
        }
        let changed = change(self);
        let shares = self.with(|state| state.permits.is_some() || state.log.is_some());
        if shares || self.abroad.is_some() {
            self.share();
        }
        changed
    }

    pub(crate) fn token(&self) -> &CancelToken {
        let leash = self.token.get_or_init(|| {
            let token = CancelToken::new();
            if let Some(reason) = &self.stopped {
                token.cancel_with(reason.clone());
            }
            Leash::new(token, &self.bell)
        });
        &leash.token
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        is_stopped(&self.token, &self.stopped)
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        match self.token.get() {
            Some(leash) => leash.token.reason(),
            None => self.stopped.clone(),
        }
    }

    /// Cancels the token, unless somebody has; true where nobody had. A waker may panic in
    /// here.
    pub(crate) fn cancel(&mut self, reason: Reason) -> bool {
        match self.token.get() {
            Some(leash) => leash.token.cancel_with(reason),
            None => {
                let first = self.stopped.is_none();
                self.stopped.get_or_insert(reason);
                first
            }
        }
    }

    /// What handles share with the group, from now on if there was none.
    pub(crate) fn share(&self) -> Arc<Shared<C>> {
        let token = self.token();
        let mut access = self.access.lock();
        match &mut *access {
            Access::Shared(shared) => Arc::clone(shared),
            Access::Own(state) => {
                let state = core::mem::replace(state, State::new());
                let spawner = self.abroad.as_ref().map(|(spawner, _)| spawner.clone());
                let shared = Shared::new(token.clone(), Arc::clone(&self.bell), state, spawner);
                *access = Access::Shared(Arc::clone(&shared));
                shared
            }
        }
    }

    /// What the group shares with its handles, if it has any.
    #[inline]
    pub(crate) fn shared(&mut self) -> Option<&Arc<Shared<C>>> {
        match self.access.get_mut() {
            Access::Shared(shared) => Some(shared),
            Access::Own(_) => None,
        }
    }

    #[inline]
    pub(crate) fn desk<'g>(&'g mut self, set: &'g mut Set<C>) -> Desk<'g, C> {
        let Self { bell, token, stopped, access, .. } = self;
        match access.get_mut() {
            Access::Own(state) => Desk::Own(Own { state, set, bell, token, stopped }),
            Access::Shared(shared) => Desk::Shared(shared),
        }
    }

    /// A running child is gone; its room is free. Who may have it of a group's own queue is
    /// admitted by [`admit_next`](Self::admit_next), for all who leave in a round at once.
    #[inline]
    pub(crate) fn finish(&mut self, index: usize, outcome: Outcome) {
        match self.access.get_mut() {
            Access::Own(state) => state.end_plain(outcome),
            Access::Shared(shared) => shared.finish(index, outcome, &mut self.calls),
        }
    }

    /// Notes for the observer how a running child has ended; before its room is given away, and
    /// before a stop that comes of it.
    pub(crate) fn report(&mut self, index: usize, outcome: Outcome) {
        if let Some(shared) = self.shared() {
            shared.report(index, outcome);
        }
    }

    /// The same of a child that was admitted, and dropped before it started.
    pub(crate) fn report_unstarted(&mut self, options: Option<Box<Options>>) {
        if let Some(shared) = self.shared() {
            shared.report_unstarted(options);
        }
    }

    /// Admits those of the group's own queue for whom there is room now; or tells those who
    /// have been given room since.
    #[inline]
    pub(crate) fn admit_next(&mut self, set: &mut Set<C>) {
        match self.access.get_mut() {
            Access::Own(state) => {
                if !state.line.is_empty() {
                    let stopped = is_stopped(&self.token, &self.stopped);
                    state.settle(stopped, &mut Calls::default());
                    state.take_in(set, &self.bell);
                }
            }
            Access::Shared(shared) => {
                shared.make(core::mem::take(&mut self.calls), Who::Owner);
                if shared.source().is_some() {
                    // The permits of those who have left, if nobody had use for them.
                    shared.update(Who::Owner, |_| ());
                }
            }
        }
    }

    /// Notes who has finished, and keeps his room until another one's result has been fetched:
    /// so many, these. False where nobody can wait within a child at all.
    pub(crate) fn hold(&mut self, count: usize, indexes: impl Iterator<Item = usize>) -> bool {
        let Access::Shared(shared) = self.access.get_mut() else {
            return false;
        };
        shared.update(Who::Owner, |state| state.hold(count, indexes));
        true
    }

    /// A child has finished, of whose end the observer has heard, and keeps its room.
    #[inline]
    pub(crate) fn keep(&mut self, index: usize) {
        if let Access::Shared(shared) = self.access.get_mut() {
            shared.state.lock().keep(index);
        }
    }

    /// Moves the admitted children into the set.
    #[inline]
    pub(crate) fn take_in(&mut self, set: &mut Set<C>) {
        match self.access.get_mut() {
            Access::Own(state) => state.take_in(set, &self.bell),
            Access::Shared(shared) => {
                if let Some((_, abroad)) = &mut self.abroad {
                    return abroad.take_in(shared, &mut self.batch, set, &self.bell);
                }
                if !shared.has_mail() {
                    return;
                }
                let first = shared.take_outbox(&mut self.batch);
                for (index, child) in (first..).zip(self.batch.drain(..)) {
                    set.insert(child, index, &self.bell);
                }
                shrink(&mut self.batch);
            }
        }
    }

    /// Whether there are children to be taken in.
    pub(crate) fn has_mail(&mut self) -> bool {
        let reported = self.abroad.as_ref().is_some_and(|(_, abroad)| abroad.has_reports());
        reported
            || match self.access.get_mut() {
                Access::Own(state) => state.has_mail(),
                Access::Shared(shared) => shared.has_mail(),
            }
    }

    /// Whether there are children who are in the group's set neither yet nor any more.
    pub(crate) fn has_others(&mut self) -> bool {
        self.has_mail() || self.abroad.as_ref().is_some_and(|(_, abroad)| !abroad.is_empty())
    }

    /// Whether the children run elsewhere.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.abroad.is_some()
    }

    /// Calls those back who run elsewhere, with their indices.
    pub(crate) fn recall(&mut self) -> impl Iterator<Item = (usize, C)> + use<C> {
        self.abroad.as_mut().map(|(_, abroad)| abroad.leave()).into_iter().flatten()
    }

    // --- permits ---

    #[inline]
    pub(crate) fn has_semaphore(&mut self) -> bool {
        self.shared().is_some_and(|shared| shared.source().is_some())
    }

    /// Begins a poll: where other groups share the semaphore, they have had their turn.
    pub(crate) fn begin_poll(&mut self) {
        self.with_permits(|_, permits| permits.begin_poll());
    }

    pub(crate) fn end_poll(&mut self) {
        self.with_permits(|_, permits| permits.end_poll());
    }

    /// Gives all permits back, when the children of a group that is closed are gone.
    pub(crate) fn give_permits_back(&mut self) {
        if let Access::Shared(shared) = self.access.get_mut() {
            if shared.source().is_some() {
                shared.update(Who::Owner, |state| {
                    if let Some(permits) = &mut state.permits {
                        permits.free_all();
                    }
                });
            }
        }
    }

    /// Waits for a permit in the stead of the first in line, if he lacks one; not for longer.
    pub(crate) fn acquire(&mut self) {
        // There may be more for those behind him: then the wait begins anew.
        while let Some(shared) = self.lacks_permit() {
            let Some(source) = shared.source() else {
                return;
            };
            if source.acquire(&self.bell) {
                shared.update(Who::Owner, |state| {
                    if let Some(permits) = &mut state.permits {
                        permits.add();
                    }
                });
            } else if self.lacks_permit().is_some() {
                return;
            }
            // Else he has left meanwhile, on another thread, which found nobody waiting.
        }
        // Whoever waits behind it in the semaphore's own line is told now.
        self.with_source(|source| source.leave());
    }

    /// Leaves the semaphore's line, when nobody polls it any more: so who stands behind is told.
    fn stop_acquiring(&mut self) {
        // A foreign waker that panics is its executor's fault.
        let _ = catch(|| self.with_source(|source| source.leave())).map_err(discard);
    }

    fn lacks_permit(&mut self) -> Option<Arc<Shared<C>>> {
        self.with_permits(|shared, permits| permits.may_wait().then(|| Arc::clone(shared)))?
    }

    /// Whether the first in line lacks a permit, and nobody waits for it in his stead, or it may
    /// have come.
    pub(crate) fn has_to_acquire(&mut self) -> bool {
        // A ring that came after the last look may have been taken with those for the children.
        let waits = self.with_source(|source| source.is_waiting());
        waits == Some(false) && self.shared().is_some_and(|shared| shared.lacks_permit())
    }

    fn with_source<R>(&mut self, f: impl FnOnce(&Source) -> R) -> Option<R> {
        self.shared()?.source().map(f)
    }

    fn with_permits<R>(&mut self, f: impl FnOnce(&Arc<Shared<C>>, &mut Permits) -> R) -> Option<R> {
        let Access::Shared(shared) = self.access.get_mut() else {
            return None;
        };
        shared.source()?;
        shared.state.lock().permits.as_mut().map(|permits| f(shared, permits))
    }

    // --- the observer ---

    /// Notes for the observer that the group has stopped.
    pub(crate) fn report_stop(&mut self) {
        if let Some(shared) = self.shared() {
            shared.report_stop();
        }
    }

    /// Swaps what the observer is to be told, oldest first, with `events`, which is empty.
    pub(crate) fn take_events(&mut self, events: &mut VecDeque<Event>) {
        if let Some(shared) = self.shared() {
            shared.take_events(events);
        }
    }

    /// Notes nothing more for the observer.
    pub(crate) fn end_log(&mut self) {
        if let Some(shared) = self.shared() {
            shared.end_log();
        }
    }

    /// Whether only daemons are left.
    pub(crate) fn has_daemons_only(&mut self) -> bool {
        match self.access.get_mut() {
            Access::Own(_) => false,
            Access::Shared(shared) => {
                !shared.is_stopped() && shared.state.lock().has_daemons_only()
            }
        }
    }

    // --- the rest ---

    fn with<R>(&mut self, f: impl FnOnce(&mut State<C>) -> R) -> R {
        match self.access.get_mut() {
            Access::Own(state) => f(state),
            Access::Shared(shared) => f(&mut shared.state.lock()),
        }
    }

    fn look<R>(&self, f: impl FnOnce(&State<C>) -> R) -> R {
        match &*self.access.lock() {
            Access::Own(state) => f(state),
            Access::Shared(shared) => f(&shared.state.lock()),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.look(State::stats)
    }

    pub(crate) fn has_accepted(&self) -> bool {
        self.look(State::has_accepted)
    }

    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        let mut access = self.access.lock();
        match &mut *access {
            Access::Own(state) => {
                state.stats.limit = limit;
                state.quick = 0;
                // Nobody is in line but queued children; whoever polls finds them admitted.
                state.settle(self.is_stopped(), &mut Calls::default());
                let ring = state.has_mail();
                drop(access);
                if ring {
                    // As from elsewhere: the group may be polled elsewhere than where `&self`
                    // came from.
                    self.bell.ring();
                }
            }
            Access::Shared(shared) => {
                let shared = Arc::clone(shared);
                drop(access);
                shared.set_limit(limit, Who::Handle);
            }
        }
    }

    /// Sets the limit of a group that is being made.
    pub(crate) fn start_with_limit(&mut self, limit: usize) {
        self.with(|state| {
            state.stats.limit = Some(limit);
            state.quick = 0;
        });
    }

    /// Whether nobody is in line, nor can be.
    pub(crate) fn has_no_line(&mut self) -> bool {
        matches!(self.access.get_mut(), Access::Own(state) if state.line.is_empty())
    }

    /// Clears the line after a stop; the children that stood in it are to be dropped.
    pub(crate) fn clear_line(&mut self) -> impl Iterator<Item = C> + use<C> {
        let line: Line<C> = match self.access.get_mut() {
            Access::Own(state) => state.clear_line(),
            Access::Shared(shared) => shared.clear_line(),
        };
        line.queued().map(|load| load.child)
    }

    /// Closes the group if nothing runs and nothing waits.
    pub(crate) fn try_close(&mut self) -> bool {
        let stopped = self.is_stopped();
        let closed = self.with(|state| state.try_close(stopped));
        if closed {
            self.stop_acquiring();
        }
        closed
    }

    /// Closes the group whatever runs: admission ends here. What ran counts as dropped. Gives
    /// those who were admitted and are not in the set.
    pub(crate) fn close_now(&mut self) -> impl Iterator<Item = (Whose, C)> + use<C> {
        self.stop_acquiring();
        let abroad = self.recall().map(|(index, child)| (Whose::Started(index), child));
        let (first, started, inbox) = match self.access.get_mut() {
            Access::Own(state) => state.close_now(),
            Access::Shared(shared) => shared.close_now(),
        };
        let waiting = inbox.into_values().filter_map(|slot| match slot {
            Slot::Child(load) => Some((Whose::Waiting(load.options), load.child)),
            Slot::Granted(_) | Slot::Taken(_) => None,
        });
        abroad.chain((first..).map(Whose::Started).zip(started)).chain(waiting)
    }

    /// Tells those who wait in `closed`, after everything else of the end.
    pub(crate) fn announce_end(&mut self) {
        let end = self.with(|state| {
            state.ended = true;
            state.end.clone()
        });
        if let Some(end) = end {
            end.reach();
        }
    }
}

// === impl Desk ===

impl<C: Kind> Desk<'_, C> {
    pub(crate) fn try_go<A: Child<C>>(self, child: A) -> Result<(), TryGoError<A>> {
        match self {
            Self::Shared(shared) => shared.try_go(Who::Owner, child),
            Self::Own(mut own) => match own.room() {
                Room::Yes => {
                    own.enter(child);
                    Ok(())
                }
                Room::No => Err(TryGoError::AtLimit(child)),
                Room::Stopped => Err(TryGoError::Stopped(child)),
            },
        }
    }

    pub(crate) fn queue<A: Child<C>>(self, child: A) {
        match self {
            Self::Shared(shared) => {
                shared.queue(Who::Owner, child);
            }
            Self::Own(mut own) => match own.room() {
                Room::Yes => own.enter(child),
                Room::No => own.state.queue(Load::new(child)),
                Room::Stopped => own.state.stats.dropped += 1,
            },
        }
    }
}

impl<C: Kind> Own<'_, C> {
    #[inline]
    fn is_stopped(&self) -> bool {
        is_stopped(self.token, self.stopped)
    }

    #[inline]
    pub(crate) fn room(&mut self) -> Room {
        if self.is_stopped() {
            Room::Stopped
        } else if self.state.quick != 0 {
            Room::Yes
        } else {
            self.state.look_for_room(self.set, self.bell)
        }
    }

    /// Admits a child for whom there is room.
    #[inline(always)]
    pub(crate) fn enter<A: Child<C>>(&mut self, child: A) {
        self.state.quick -= 1;
        let index = self.state.enter();
        self.set.insert(child.into_child(Seal::new()), index, self.bell);
    }
}

// === impl State ===

impl<C> State<C> {
    /// Moves the admitted children into the set.
    #[inline]
    fn take_in(&mut self, set: &mut Set<C>, bell: &Arc<Bell>) {
        if self.has_mail() {
            self.empty_outbox(set, bell);
        }
    }

    /// Whether a newcomer may enter a group without handles, and how many may after it.
    #[inline(never)]
    fn look_for_room(&mut self, set: &mut Set<C>, bell: &Arc<Bell>) -> Room {
        if self.closed {
            return Room::Stopped;
        }
        self.take_in(set, bell);
        if !self.admits_newcomers() {
            return Room::No;
        }
        self.quick = self.room();
        Room::Yes
    }

    #[cold]
    fn empty_outbox(&mut self, set: &mut Set<C>, bell: &Arc<Bell>) {
        let mut batch = VecDeque::new();
        let first = self.take_outbox(&mut batch);
        for (index, child) in (first..).zip(batch.drain(..)) {
            set.insert(child, index, bell);
        }
        shrink(&mut batch);
        // It keeps its room.
        self.take_outbox(&mut batch);
    }
}
