//! What is set while a group is being made.

use alloc::boxed::Box;
use alloc::sync::Arc;

use async_lock::Semaphore;

use super::ended::EndNotes;
use super::inspector::Inspector;
use super::local::Local;
use super::permits::Permits;
use super::state::{GroupPhase, State};
use super::{Admission, ClosedEvent, Storage};
use crate::child::Kind;
use crate::child::set::SpawnChild;
use crate::observe::PollObserver;
use crate::token::CancelToken;

impl<C: Kind> Admission<C> {
    /// Sets the limit of a group that is being made.
    pub(crate) fn start_with_limit(&mut self, limit: usize) {
        match self.storage.get_mut() {
            Storage::Local(local) => {
                local.set_limit(Some(limit));
                self.give_freed_room();
            }
            Storage::Shared(shared) => {
                shared.calls.update(&mut |state| state.start_with_limit(limit))
            }
        }
    }

    /// Makes the group's token a child of `token`. Returns `false` if the group has children, or
    /// other code may have its token or a handle.
    pub(crate) fn set_parent_token(&mut self, token: &CancelToken) -> bool {
        match self.storage.get_mut() {
            Storage::Local(local) => {
                !local.has_accepted() && self.stop.set_parent_token(token, &self.parent)
            }
            Storage::Shared(_) => {
                let mut changed = false;
                self.rebuild(|admission, _| {
                    changed = admission.stop.set_parent_token(token, &admission.parent)
                }) && changed
            }
        }
    }

    /// Takes a permit of the semaphore for each child. Returns `false` if the group has children
    /// or handles, or another semaphore.
    pub(crate) fn set_semaphore(&mut self, semaphore: Arc<Semaphore>) -> bool {
        let mut is_first = false;
        self.rebuild(|_, state| {
            is_first = state.room.permits.is_none();
            state.room.permits.get_or_insert_with(|| Permits::new(semaphore));
        }) && is_first
    }

    /// Demands a pass for each child. Returns `false` if the group has children or handles.
    pub(crate) fn demand_passes(&mut self) -> bool {
        self.rebuild(|_, state| state.room.passes.are_needed = true)
    }

    /// Records events from now on. `polls` surrounds the polls of children that run outside of the
    /// group's. Returns `false` if the group has children or handles.
    pub(crate) fn observe(&mut self, polls: Option<&Arc<dyn PollObserver>>) -> bool {
        self.rebuild(|admission, state| {
            state.log = Some(Box::default());
            admission.keeps_names = true;
            admission.spawner.observe_polls(polls);
        })
    }

    /// Gives the group a name, and keeps from now on what a snapshot tells of its children. Returns
    /// `None` if the group has children or handles.
    pub(crate) fn inspect_children(&mut self, name: Arc<str>) -> Option<Arc<Inspector>> {
        let inspector = Inspector::new(name);
        let changed = self.rebuild(|admission, state| {
            admission.spawner.inspect_polls(&(Arc::clone(&inspector) as _));
            state.inspector = Some(Arc::clone(&inspector));
            admission.keeps_names = true;
        });
        changed.then_some(inspector)
    }

    /// Counts a child that has ended outside of the group's polls as running until the policy is
    /// told, or not; and whether its room is free for handles before that.
    pub(crate) fn set_notes(&mut self, notes: EndNotes) {
        self.notes = notes;
        match self.storage.get_mut() {
            Storage::Local(local) => local.forget_notes(),
            Storage::Shared(shared) => shared.core.with_state(|state| state.set_notes(notes)),
        }
    }

    /// Keeps the names of running children from now on, for a policy that may ask for them.
    pub(crate) fn keep_names(&mut self) {
        self.keeps_names = true;
        self.with_state(|state| state.keeps_names = true);
    }

    /// Sets the event of the end of a group that is being made. It is otherwise made on demand.
    pub(crate) fn set_closed_event(&mut self, event: Arc<ClosedEvent>) {
        if let Storage::Local(local) = self.storage.get_mut() {
            local.set_closed_event(event);
        }
    }

    /// Changes what is shared with handles, of a group that is being made. Returns `false` if it
    /// has children or handles.
    fn rebuild(&mut self, change: impl FnOnce(&mut Self, &mut State)) -> bool {
        if self.phase >= GroupPhase::Resolved
            || self.has_accepted()
            || self.read(|_| false, |state| state.lifecycle.is_given_out())
        {
            return false;
        }
        let fresh = Storage::Local(Local::new());
        let (mut state, children) = match core::mem::replace(self.storage.get_mut(), fresh) {
            Storage::Local(local) => self.state_of(local),
            Storage::Shared(shared) => match shared.into_inner() {
                Ok(parts) => parts,
                Err(shared) => {
                    *self.storage.get_mut() = Storage::Shared(shared);
                    return false;
                }
            },
        };
        change(self, &mut state);
        let shared = self.shared_with(self.token(), state, children);
        *self.storage.get_mut() = Storage::Shared(shared);
        true
    }
}
