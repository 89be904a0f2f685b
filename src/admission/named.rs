//! The groups that have a name, for the snapshots of those above them.
//!
//! A group is below the nearest one whose token is above its own. It stays there until that one is
//! gone, and is then below the next; or until one with a token between the two gets a name.
//!
//! # Locks
//!
//! Inside the lock of the registry, nothing is locked, and nothing of the user's is dropped.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use super::shared_core::Core;
use crate::util::lock::Mutex;

static NAMED: Mutex<Registry> = Mutex::new_const(Registry {
    groups: BTreeMap::new(),
    numbers: BTreeMap::new(),
    top: BTreeSet::new(),
    last: 0,
});

/// The groups that have a name, each by a number that is given once.
struct Registry {
    groups: BTreeMap<u64, NamedGroup>,
    /// The numbers by what identifies the tokens of the groups.
    numbers: BTreeMap<usize, u64>,
    /// The groups that are below no other.
    top: BTreeSet<u64>,
    /// The last number that was given.
    last: u64,
}

struct NamedGroup {
    token: usize,
    parent: Option<u64>,
    below: BTreeSet<u64>,
    core: Weak<Core>,
}

/// The groups that were looked at, with their numbers. They may have no other owner by now.
pub(super) type Looked = Vec<(u64, Arc<Core>)>;

/// An entry of the registry, which is removed when this is dropped.
pub(crate) struct Registration(u64);

impl Registration {
    /// Adds a group. Also returns what is to be dropped without a lock.
    pub(super) fn new(core: &Arc<Core>) -> (Self, Looked) {
        let number = {
            let mut registry = NAMED.lock();
            registry.last += 1;
            registry.last
        };
        (Self(number), Self::enter(number, core, BTreeSet::new()))
    }

    /// Replaces the entry of a group that was rebuilt. The groups below it stay there. Returns what
    /// is to be dropped without a lock.
    pub(super) fn renew(&mut self, core: &Arc<Core>) -> Looked {
        let before = NAMED.lock().remove(self.0);
        Self::enter(self.0, core, before.map(|it| it.below).unwrap_or_default())
    }

    fn enter(number: u64, core: &Arc<Core>, below: BTreeSet<u64>) -> Looked {
        let (token, ancestors) = (core.token().id(), core.token().ancestors());
        let near = {
            let mut registry = NAMED.lock();
            // One whose token is gone may have left an entry, as long as its children are not.
            let is_alive = |number: &u64| {
                registry.groups.get(number).is_some_and(|it| it.core.strong_count() > 0)
            };
            let above = ancestors.ids().filter_map(|id| registry.numbers.get(&id).copied());
            let parent = above.into_iter().find(is_alive);
            let group = NamedGroup { token, parent, below, core: Arc::downgrade(core) };
            // The tokens of most groups have no children yet.
            let near = if core.token().has_children() {
                registry.cores_of(registry.next_to(parent))
            } else {
                Vec::new()
            };
            registry.insert(number, group);
            near
        };
        let is_below = |(_, core): &&(u64, Arc<Core>)| {
            core.token().ancestors().ids().any(|ancestor| ancestor == token)
        };
        for (other, _) in near.iter().filter(is_below) {
            NAMED.lock().move_below(*other, number);
        }
        near
    }

    /// Returns the groups below this one.
    pub(super) fn below(&self) -> Vec<Arc<Core>> {
        let registry = NAMED.lock();
        let below = registry.groups.get(&self.0).map(|group| registry.cores_of(&group.below));
        below.into_iter().flatten().map(|(_, core)| core).collect()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let group = NAMED.lock().leave(self.0);
        drop(group);
    }
}

impl Registry {
    /// Returns the groups that are next below that one, or below none.
    fn next_to(&self, parent: Option<u64>) -> &BTreeSet<u64> {
        let parent = parent.and_then(|parent| self.groups.get(&parent));
        parent.map_or(&self.top, |parent| &parent.below)
    }

    fn next_to_mut(&mut self, parent: Option<u64>) -> &mut BTreeSet<u64> {
        let parent = parent.and_then(|parent| self.groups.get_mut(&parent));
        parent.map_or(&mut self.top, |parent| &mut parent.below)
    }

    fn cores_of(&self, numbers: &BTreeSet<u64>) -> Looked {
        let core = |number: &u64| Some((*number, self.groups.get(number)?.core.upgrade()?));
        numbers.iter().filter_map(core).collect()
    }

    fn insert(&mut self, number: u64, group: NamedGroup) {
        self.next_to_mut(group.parent).insert(number);
        self.numbers.insert(group.token, number);
        self.groups.insert(number, group);
    }

    /// Takes out a group, and leaves those below it as they are.
    fn remove(&mut self, number: u64) -> Option<NamedGroup> {
        let group = self.groups.remove(&number)?;
        self.next_to_mut(group.parent).remove(&number);
        // Another group may have a token at the same place by now.
        if self.numbers.get(&group.token) == Some(&number) {
            self.numbers.remove(&group.token);
        }
        Some(group)
    }

    /// Takes out a group. Those below it are below the next one from now on.
    fn leave(&mut self, number: u64) -> Option<NamedGroup> {
        let group = self.remove(number)?;
        for below in &group.below {
            if let Some(it) = self.groups.get_mut(below) {
                it.parent = group.parent;
            }
        }
        self.next_to_mut(group.parent).extend(&group.below);
        Some(group)
    }

    /// Moves a group below another one with the same parent.
    fn move_below(&mut self, number: u64, other: u64) {
        let parents = [number, other].map(|it| self.groups.get(&it).map(|it| it.parent));
        if parents[0].is_none() || parents[0] != parents[1] {
            return;
        }
        if let Some(mut group) = self.remove(number) {
            group.parent = Some(other);
            self.insert(number, group);
        }
    }
}
