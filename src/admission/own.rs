//! The group's side of admission: its own state, or what it shares with its handles; its
//! token, made when somebody asks for it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use super::desk::{Desk, Own, receive};
use super::line::{Slot, WaitQueue};
use super::settle::Effects;
use super::state::State;
use super::stop::{StopSignal, is_stopped};
use super::{Shared, Who};
use crate::child::Kind;
use crate::child::task::Options;
use crate::observe::Outcome;
use crate::reason::Reason;
use crate::set::BlockSet;
use crate::spawned::SpawnedSet;
use crate::spawned::{Spawner, Spawns};
use crate::stats::Stats;
use crate::token::CancelToken;
use crate::util::lock::{LazyInit, Mutex};
use crate::util::parent_waker::ParentWaker;

pub(crate) struct Admission<C: Kind> {
    pub(crate) parent: Arc<ParentWaker>,
    pub(super) token: LazyInit<StopSignal>,
    /// Why the group stopped, where it did so before anybody asked for its token.
    pub(super) stopped: Option<Reason>,
    /// Holds those who go from the outbox to the set; empty between.
    pub(super) batch: VecDeque<C>,
    /// Where the children run, if not here; and those who do.
    pub(super) spawned: Option<Box<SpawnedSet<C>>>,
    /// Those to whom room was given while the children are polled, and who are told after.
    pub(super) effects: Effects,
    /// The lock is for `&self` alone; whoever has the group to himself goes past it.
    pub(super) access: Mutex<Access<C>>,
}

#[expect(clippy::large_enum_variant, reason = "a box would cost each small group one more")]
pub(super) enum Access<C: Kind> {
    Own(State<C>),
    Shared(Arc<Shared<C>>),
}

/// What is known of a child that is not in the set.
pub(crate) enum Whose {
    /// It has started, and has this index.
    Started(usize),
    /// It has room, and stands behind one who is awaited.
    Waiting(Option<Box<Options>>),
}

// === impl Admission ===

impl<C: Kind> Admission<C> {
    pub(crate) fn new() -> Self {
        let parent = ParentWaker::new();
        Self {
            token: LazyInit::new(|| StopSignal::new(CancelToken::new(), &parent)),
            stopped: None,
            batch: VecDeque::new(),
            spawned: None,
            effects: Effects::default(),
            access: Mutex::new(Access::Own(State::new())),
            parent,
        }
    }

    pub(crate) fn token(&self) -> &CancelToken {
        let stop = self.token.get_or_init(|| {
            let token = CancelToken::new();
            if let Some(reason) = &self.stopped {
                token.cancel_with(reason.clone());
            }
            StopSignal::new(token, &self.parent)
        });
        &stop.token
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        is_stopped(&self.token, &self.stopped)
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        match self.token.get() {
            Some(stop) => stop.token.reason(),
            None => self.stopped.clone(),
        }
    }

    /// Cancels the token, unless somebody has; true where nobody had. A waker may panic in
    /// here.
    pub(crate) fn cancel(&mut self, reason: Reason) -> bool {
        match self.token.get() {
            Some(stop) => stop.token.cancel_with(reason),
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
                let spawner = self.spawner().cloned();
                let shared = Shared::new(token.clone(), Arc::clone(&self.parent), state, spawner);
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
    pub(crate) fn desk<'g>(&'g mut self, set: &'g mut BlockSet<C>) -> Desk<'g, C> {
        let Self { parent, token, stopped, access, spawned, .. } = self;
        match access.get_mut() {
            Access::Own(state) => Desk::Own(Own { state, set, parent, token, stopped, spawned }),
            Access::Shared(shared) => Desk::Shared(shared),
        }
    }

    /// A running child is gone; its room is free. Who may have it of a group's own queue is
    /// admitted by [`admit_next`](Self::admit_next), for all who leave in a round at once.
    #[inline]
    pub(crate) fn finish(&mut self, index: usize, outcome: Outcome) {
        match self.access.get_mut() {
            Access::Own(state) => state.end_plain(outcome),
            Access::Shared(shared) => shared.finish(index, outcome, &mut self.effects),
        }
    }

    /// Admits those of the group's own queue for whom there is room now; or tells those who
    /// have been given room since.
    #[inline]
    pub(crate) fn admit_next(&mut self, set: &mut BlockSet<C>) {
        match self.access.get_mut() {
            Access::Own(state) => {
                if !state.line.is_empty() {
                    let stopped = is_stopped(&self.token, &self.stopped);
                    state.settle(stopped, &mut Effects::default());
                    state.take_in(set, &self.parent, &mut self.spawned);
                }
            }
            Access::Shared(shared) => {
                shared.make(core::mem::take(&mut self.effects), Who::Owner);
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
    pub(crate) fn take_in(&mut self, set: &mut BlockSet<C>) {
        if C::ELSEWHERE {
            self.spawned.iter_mut().for_each(|spawned| spawned.hear());
        }
        match self.access.get_mut() {
            Access::Own(state) => state.take_in(set, &self.parent, &mut self.spawned),
            Access::Shared(shared) => {
                if shared.has_mail() {
                    let first = shared.take_outbox(&mut self.batch);
                    receive(first, &mut self.batch, set, &self.parent, &mut self.spawned);
                }
            }
        }
        if C::ELSEWHERE {
            self.spawned.iter_mut().for_each(|spawned| spawned.seat(set, &self.parent));
        }
    }

    /// Whether there are children to be taken in.
    pub(crate) fn has_mail(&mut self) -> bool {
        let reported = self.spawned.as_ref().is_some_and(|spawned| spawned.has_reports());
        reported
            || match self.access.get_mut() {
                Access::Own(state) => state.has_mail(),
                Access::Shared(shared) => shared.has_mail(),
            }
    }

    /// Whether there are children who are in the group's set neither yet nor any more.
    pub(crate) fn has_others(&mut self) -> bool {
        self.has_mail() || self.spawned.as_ref().is_some_and(|spawned| !spawned.is_empty())
    }

    /// Whether the children run elsewhere.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.spawned.is_some()
    }

    /// Calls those back who run elsewhere, with their indices.
    pub(crate) fn recall(&mut self) -> impl Iterator<Item = (usize, C)> + use<C> {
        self.spawned.as_mut().map(|spawned| spawned.leave()).into_iter().flatten()
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

    pub(super) fn with<R>(&mut self, f: impl FnOnce(&mut State<C>) -> R) -> R {
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
                state.settle(self.is_stopped(), &mut Effects::default());
                let ring = state.has_mail();
                let mut starts = Spawns::default();
                let spawner = self.spawner();
                if let Some(spawner) = spawner {
                    state.send(spawner, &mut starts);
                }
                drop(access);
                if ring {
                    // As from elsewhere: the group may be polled elsewhere than where `&self`
                    // came from.
                    self.parent.notify();
                }
                if let Some(spawner) = spawner {
                    spawner.spawn_all(starts);
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
        let line: WaitQueue<C> = match self.access.get_mut() {
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
        let spawned = self.recall().map(|(index, child)| (Whose::Started(index), child));
        let (first, started, inbox) = match self.access.get_mut() {
            Access::Own(state) => state.close_now(),
            Access::Shared(shared) => shared.close_now(),
        };
        let waiting = inbox.into_values().filter_map(|slot| match slot {
            Slot::Child(load) => Some((Whose::Waiting(load.options), load.child)),
            Slot::Granted(_) | Slot::Taken(_) => None,
        });
        spawned.chain((first..).map(Whose::Started).zip(started)).chain(waiting)
    }

    pub(super) fn spawner(&self) -> Option<&Spawner<C>> {
        self.spawned.as_ref().map(|spawned| &spawned.spawner)
    }

    /// Tells those who wait in `closed`, after everything else of the end.
    pub(crate) fn announce_end(&mut self) {
        if let Some(spawner) = self.spawner() {
            // Whose children are gone when their futures are.
            return spawner.completions().remove();
        }
        let end = self.with(|state| {
            state.ended = true;
            state.end.clone()
        });
        if let Some(end) = end {
            end.reach();
        }
    }
}
