//! The group's side of admission: its own state, or what it shares with its handles; its
//! token, made when somebody asks for it.

use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::Context;

use super::line::{Entry, Inbox, child, queued};
use super::state::{Calls, State};
use super::{Ended, Shared, Who};
use crate::bell::Bell;
use crate::future::Cancelled;
use crate::kind::{Child, Kind, Seal};
use crate::lock::{Lazy, Lock};
use crate::set::Set;
use crate::sync::waker;
use crate::{CancelToken, Reason, Stats, TryGoError};

pub(crate) struct Admission<C> {
    pub(crate) bell: Arc<Bell>,
    token: Lazy<Leash>,
    /// Why the group stopped, where it did so before anybody asked for its token.
    stopped: Option<Reason>,
    /// Holds those who go from the inbox to the set; empty between.
    batch: Inbox<C>,
    /// Those to whom room was given while the children are polled, and who are told after.
    calls: Calls,
    /// The lock is for `&self` alone; whoever has the group to himself goes past it.
    access: Lock<Access<C>>,
}

#[expect(clippy::large_enum_variant, reason = "a box would cost each small group one more")]
enum Access<C> {
    Own(State<C>),
    Shared(Arc<Shared<C>>),
}

/// A token on which its group hangs.
struct Leash {
    token: CancelToken,
    /// Rings the bell when the token is cancelled.
    _watch: Cancelled,
}

/// Where a group's children are admitted.
pub(crate) enum Desk<'g, C> {
    /// By the group alone.
    Own(Own<'g, C>),
    /// By the group and its handles.
    Shared(&'g Arc<Shared<C>>),
}

pub(crate) struct Own<'g, C> {
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

impl<C> Admission<C> {
    pub(crate) fn new() -> Self {
        let bell = Bell::new();
        Self {
            token: Lazy::new(|| Leash::new(CancelToken::new(), &bell)),
            stopped: None,
            batch: Inbox::default(),
            calls: Calls::default(),
            access: Lock::new(Access::Own(State::new())),
            bell,
        }
    }

    /// Makes the group's token a child of `parent`; false where the group has children, or
    /// somebody may have its token or a handle.
    pub(crate) fn set_parent(&mut self, parent: &CancelToken) -> bool {
        let given_out = self.token.get().is_some_and(Leash::is_given_out);
        let untouched =
            !given_out && self.stopped.is_none() && self.shared().is_none() && !self.has_accepted();
        if untouched {
            self.token = Lazy::filled(Leash::new(parent.child(), &self.bell));
        }
        untouched
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

    /// Cancels the token, unless somebody has. A waker may panic in here.
    pub(crate) fn cancel(&mut self, reason: Reason) {
        match self.token.get() {
            Some(leash) => {
                leash.token.cancel_with(reason);
            }
            None => {
                self.stopped.get_or_insert(reason);
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
                let shared = Shared::new(token.clone(), Arc::clone(&self.bell), state);
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
    pub(crate) fn finish(&mut self, index: usize, ended: Ended) {
        match self.access.get_mut() {
            Access::Own(state) => state.end(ended),
            Access::Shared(shared) => shared.finish(index, ended, &mut self.calls),
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
            Access::Shared(shared) => shared.make(core::mem::take(&mut self.calls), Who::Owner),
        }
    }

    /// Notes who has finished, and keeps his room until another one's result has been fetched:
    /// so many, these. Nobody can wait for that room within this other one. False where nobody
    /// can wait within a child at all.
    pub(crate) fn hold(&mut self, count: usize, indexes: impl Iterator<Item = usize>) -> bool {
        let Access::Shared(shared) = self.access.get_mut() else {
            return false;
        };
        shared.update(Who::Owner, |state| {
            state.held = count;
            if state.nested.children() > 0 {
                indexes.for_each(|index| state.nested.forget(index));
            }
        });
        true
    }

    /// Moves the admitted children into the set.
    #[inline]
    pub(crate) fn take_in(&mut self, set: &mut Set<C>) {
        match self.access.get_mut() {
            Access::Own(state) => state.take_in(set, &self.bell),
            Access::Shared(shared) if shared.has_mail() => {
                let first = shared.take_inbox(&mut self.batch);
                for (index, child) in (first..).zip(self.batch.drain().filter_map(child)) {
                    set.insert(child, index, &self.bell);
                }
                self.batch.shrink();
            }
            Access::Shared(_) => {}
        }
    }

    /// Whether there are admitted children to be taken in.
    pub(crate) fn has_mail(&mut self) -> bool {
        match self.access.get_mut() {
            Access::Own(state) => !state.inbox.is_empty(),
            Access::Shared(shared) => shared.has_mail(),
        }
    }

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
                let ring = !state.inbox.is_empty();
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
        queued(match self.access.get_mut() {
            Access::Own(state) => state.clear_line(),
            Access::Shared(shared) => shared.clear_line(),
        })
    }

    /// Closes the group if nothing runs and nothing waits.
    pub(crate) fn try_close(&mut self) -> bool {
        let stopped = self.is_stopped();
        self.with(|state| state.try_close(stopped))
    }

    /// Closes the group whatever runs: admission ends here. What ran counts as dropped. Gives
    /// those who were admitted and are not in the set.
    pub(crate) fn close_now(&mut self) -> impl Iterator<Item = C> + use<C> {
        self.with(State::close_now).into_values().filter_map(child)
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
            Self::Shared(shared) => shared.queue(Who::Owner, child),
            Self::Own(mut own) => match own.room() {
                Room::Yes => own.enter(child),
                Room::No => {
                    own.state.stats.queued += 1;
                    own.state.stand(Entry::Queued(child.into_child(Seal::new())));
                }
                Room::Stopped => own.state.stats.dropped += 1,
            },
        }
    }
}

impl<C> Own<'_, C> {
    #[inline]
    fn is_stopped(&self) -> bool {
        is_stopped(self.token, self.stopped)
    }
}

impl<C: Kind> Own<'_, C> {
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
        if !self.inbox.is_empty() {
            self.empty_inbox(set, bell);
        }
    }

    /// Whether a newcomer may enter a group without handles, and how many may after it.
    #[inline(never)]
    fn look_for_room(&mut self, set: &mut Set<C>, bell: &Arc<Bell>) -> Room {
        if self.closed {
            return Room::Stopped;
        }
        self.take_in(set, bell);
        if !self.line.is_empty() || !self.fits() {
            return Room::No;
        }
        self.quick = self.stats.limit.map_or(usize::MAX, |limit| limit - self.used);
        Room::Yes
    }

    #[cold]
    fn empty_inbox(&mut self, set: &mut Set<C>, bell: &Arc<Bell>) {
        for child in self.inbox.drain().filter_map(child) {
            set.insert(child, self.next_index, bell);
            self.next_index += 1;
        }
        self.inbox.shrink();
    }
}
