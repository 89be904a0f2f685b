//! The groups that have a name, for the snapshots of those above them.
//!
//! # Locks
//!
//! Inside the lock of the registry, nothing is locked, and nothing of the user's is dropped.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use super::shared_core::Core;
use crate::util::lock::Mutex;

/// The groups that have a name, by what identifies their tokens.
static NAMED: Mutex<Registry> = Mutex::new_const(Registry { groups: BTreeMap::new(), last: 0 });

struct Registry {
    groups: BTreeMap<usize, NamedGroup>,
    /// The last number that was given.
    last: u64,
}

struct NamedGroup {
    /// Is given once.
    number: u64,
    /// The number of the nearest group above it.
    parent: Option<u64>,
    core: Weak<Core>,
}

/// An entry of the registry, which is removed when this is dropped.
pub(crate) struct Registration {
    token: usize,
    number: u64,
}

impl Registration {
    /// Adds a group, below the nearest one whose token is above its own.
    pub(super) fn new(core: &Arc<Core>) -> Self {
        let mut registry = NAMED.lock();
        registry.last += 1;
        let number = registry.last;
        drop(registry);
        Self::with_number(number, core)
    }

    /// Replaces the entry of a group that was rebuilt. The groups below it stay there.
    pub(super) fn renew(&mut self, core: &Arc<Core>) {
        let before = core::mem::replace(self, Self::with_number(self.number, core));
        if before.token == self.token {
            // Its entry is the new one by now.
            core::mem::forget(before);
        }
    }

    fn with_number(number: u64, core: &Arc<Core>) -> Self {
        let (token, ancestors) = (core.token().id(), core.token().ancestors());
        let core = Arc::downgrade(core);
        let groups = &mut NAMED.lock().groups;
        // One whose token is gone may have left an entry, as long as its children are not.
        let is_alive = |entry: &&NamedGroup| entry.core.strong_count() > 0;
        let mut above = ancestors.ids().filter_map(|id| groups.get(&id).filter(is_alive));
        let parent = above.next().map(|entry| entry.number);
        groups.insert(token, NamedGroup { number, parent, core });
        Self { token, number }
    }

    /// Returns the groups below this one.
    pub(super) fn below(&self) -> Vec<Arc<Core>> {
        let registry = NAMED.lock();
        let below = registry.groups.values().filter(|it| it.parent == Some(self.number));
        below.filter_map(|it| it.core.upgrade()).collect()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut registry = NAMED.lock();
        let is_own = |entry: &NamedGroup| entry.number == self.number;
        let entry = match registry.groups.get(&self.token).is_some_and(is_own) {
            true => registry.groups.remove(&self.token),
            false => None,
        };
        drop(registry);
        drop(entry);
    }
}
