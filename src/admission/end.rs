//! How a group ends.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::local::take_first;
use super::shared::SpawnerOf;
use super::state::GroupPhase;
use super::{Admission, Storage};
use crate::child::Kind;
use crate::child::set::{ChildSet, SpawnChild};

impl<C: Kind> Admission<C> {
    pub(crate) fn is_closing(&self) -> bool {
        self.read(|_| false, |state| state.lifecycle.closing)
    }

    /// Returns `true` if nothing runs and nothing waits, or `None` if newcomers are refused.
    pub(crate) fn is_idle(&self) -> Option<bool> {
        let stopped = self.is_stopped();
        self.read(|local| local.is_idle(stopped), |state| state.is_idle(stopped))
    }

    /// Returns the admission of a group whose parts another one takes over: the group is dropped
    /// without a trace.
    pub(crate) fn retired(&self) -> Self {
        let retired = Self::new(self.spawner.clone(), Arc::clone(&self.parent), None);
        Self { phase: GroupPhase::Ended, ..retired }
    }

    /// Records a stop. Returns `false` if it is known that nothing waits that is to be
    /// [dropped](Self::drop_queue).
    #[inline]
    pub(crate) fn record_stop(&mut self) -> bool {
        if self.is_stopped() {
            self.phase = self.phase.max(GroupPhase::Stopped);
        }
        match self.storage.get_mut() {
            Storage::Local(local) => local.has_waiting(),
            Storage::Shared(_) => true,
        }
    }

    /// Moves the children that were aborted in the queue to `dropped`; after a stop, all that were
    /// queued.
    pub(crate) fn drop_queue(&mut self, dropped: &mut Vec<C>) {
        let stopped = self.is_stopped();
        match self.storage.get_mut() {
            Storage::Local(local) => local.drop_queue(dropped),
            Storage::Shared(shared) => (shared.operations.drop_queue)(shared, stopped, dropped),
        }
    }

    /// Adds the children of the set that end with the stop to the round, which drops them.
    pub(crate) fn add_ending(&mut self, set: &mut C::Set) {
        if let Storage::Shared(shared) = self.storage.get_mut() {
            (shared.operations.add_ending)(shared, set);
        }
    }

    /// Returns `true` if nothing runs, nothing waits, and no other code can add anything.
    #[inline]
    pub(crate) fn has_run_out(&mut self) -> bool {
        matches!(self.storage.get_mut(), Storage::Local(local) if local.is_over())
    }

    /// Returns `true` if the group need not wait: at most daemons run, and nothing waits. After a
    /// stop: if nothing runs.
    pub(crate) fn is_over(&mut self) -> bool {
        match self.storage.get_mut() {
            Storage::Local(local) => local.is_over(),
            Storage::Shared(shared) => shared.calls.is_over(),
        }
    }

    /// Resolves the group if nothing runs and nothing waits.
    pub(crate) fn try_resolve(&mut self) -> bool {
        let stopped = self.is_stopped();
        let resolved = match self.storage.get_mut() {
            Storage::Local(local) => local.try_resolve(stopped),
            Storage::Shared(shared) => shared.calls.try_resolve(),
        };
        if resolved {
            self.phase = GroupPhase::Resolved;
            self.cancel_acquire();
        }
        resolved
    }

    /// Ends the group whatever runs; it counts as dropped. Moves the children that are not in the
    /// blocks of the set to `children`, for the caller to drop. Returns what logs the next of them
    /// as dropped, in the same order, or `None` if the state is the group's own: then there is no
    /// log.
    pub(crate) fn abort(
        &mut self,
        set: &mut C::Set,
        children: &mut Vec<C>,
    ) -> Option<Box<dyn FnMut()>> {
        if <SpawnerOf<C>>::SPAWNS {
            // What has ended by now is not dropped.
            self.stats();
        }
        self.phase = GroupPhase::Resolved;
        self.cancel_acquire();
        let mut started = Vec::new();
        if <SpawnerOf<C>>::SPAWNS {
            for (index, child) in set.drain_spawned() {
                started.push(index);
                children.push(child);
            }
        }
        match self.storage.get_mut() {
            Storage::Local(local) => {
                local.start_admitted(|_, waiting| children.push(take_first(waiting)));
                None
            }
            Storage::Shared(shared) => Some((shared.operations.abort)(shared, started, children)),
        }
    }

    /// Returns `true` if no other code waits for the end, or could.
    #[inline]
    pub(crate) fn ends_unheard(&mut self) -> bool {
        matches!(self.storage.get_mut(), Storage::Local(_)) && !<SpawnerOf<C>>::SPAWNS
    }

    /// Announces the end to callers of `closed`, after everything else. The group's handles let go
    /// of the spawner.
    pub(crate) fn announce_end(&mut self) {
        if <SpawnerOf<C>>::SPAWNS {
            if let Storage::Shared(shared) = self.storage.get_mut() {
                shared.drop_spawner();
            }
            // The end is announced when the futures are gone, which the executor drops.
            self.spawner.group_ended();
            return;
        }
        self.phase = GroupPhase::Ended;
        self.calls().into_iter().for_each(|calls| calls.announce_end());
    }
}
