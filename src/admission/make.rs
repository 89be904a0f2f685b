//! How a group's admission is made, by its constructors and builders.

use alloc::sync::Arc;

use async_lock::Semaphore;

use super::ClosedEvent;
use super::log::Log;
use super::own::{Access, Admission};
use super::permits::Permits;
use super::state::State;
use super::stop::StopSignal;
use crate::child::Kind;
use crate::spawned::SpawnedSet;
use crate::spawned::Spawner;
use crate::token::CancelToken;
use crate::util::lock::LazyInit;
use crate::util::parent_waker::ParentWaker;

impl<C: Kind> Admission<C> {
    /// For a group whose children run elsewhere.
    pub(crate) fn spawning(
        spawner: impl FnOnce(Arc<ParentWaker>, Arc<ClosedEvent>) -> Spawner<C>,
    ) -> Self {
        let mut admission = Self::new();
        let end = Arc::<ClosedEvent>::default();
        let spawner = spawner(Arc::clone(&admission.parent), Arc::clone(&end));
        admission.with(|state| state.end = Some(end));
        admission.spawned = Some(SpawnedSet::new(spawner));
        admission
    }

    /// Makes the group's token a child of `parent`; false where the group has children, or
    /// somebody may have its token or a handle.
    pub(crate) fn set_parent(&mut self, parent: &CancelToken) -> bool {
        self.rebuild(|admission| {
            let given_out = admission.token.get().is_some_and(StopSignal::is_given_out);
            let untouched = !given_out && admission.stopped.is_none();
            if untouched {
                admission.token =
                    LazyInit::with_value(StopSignal::new(parent.child(), &admission.parent));
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
        if shares {
            self.share();
        }
        changed
    }
}
