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

use crate::snapshot::Snapshot;
use crate::token::CancelToken;
use crate::util::lock::Mutex;

/// A group that has a name.
pub(super) trait NamedGroup: Send + Sync {
    fn token(&self) -> &CancelToken;

    /// Takes a snapshot with the named groups below this one, on so many levels.
    fn inspect_down_to(&self, levels: usize) -> Snapshot;
}

static NAMED: Mutex<Registry> = Mutex::new_const(Registry {
    groups: BTreeMap::new(),
    numbers: BTreeMap::new(),
    top: BTreeSet::new(),
    last: 0,
});

/// The groups that have a name, each by a number that is given once.
struct Registry {
    groups: BTreeMap<u64, Registered>,
    /// The numbers by what identifies the tokens of the groups.
    numbers: BTreeMap<usize, u64>,
    /// The groups that are below no other.
    top: BTreeSet<u64>,
    /// The last number that was given.
    last: u64,
}

/// What the registry knows of a group.
struct Registered {
    token: usize,
    parent: Option<u64>,
    below: BTreeSet<u64>,
    group: Weak<dyn NamedGroup>,
}

/// The groups that were looked at, with their numbers. They may have no other owner by now.
pub(super) type Looked = Vec<(u64, Arc<dyn NamedGroup>)>;

/// An entry of the registry, which is removed when this is dropped.
pub(crate) struct Registration(u64);

impl Registration {
    /// Adds a group. Also returns what is to be dropped without a lock.
    pub(super) fn new(group: &Arc<dyn NamedGroup>) -> (Self, Looked) {
        let number = {
            let mut registry = NAMED.lock();
            registry.last += 1;
            registry.last
        };
        (Self(number), Self::enter(number, group, BTreeSet::new()))
    }

    /// Replaces the entry of a group that was rebuilt. The groups below it stay there. Returns what
    /// is to be dropped without a lock.
    pub(super) fn renew(&mut self, group: &Arc<dyn NamedGroup>) -> Looked {
        let before = NAMED.lock().remove(self.0);
        Self::enter(self.0, group, before.map(|it| it.below).unwrap_or_default())
    }

    fn enter(number: u64, group: &Arc<dyn NamedGroup>, below: BTreeSet<u64>) -> Looked {
        let (token, ancestors) = (group.token().id(), group.token().ancestors());
        let near = {
            let mut registry = NAMED.lock();
            // One whose token is gone may have left an entry, as long as its children are not.
            let is_alive = |number: &u64| {
                registry.groups.get(number).is_some_and(|it| it.group.strong_count() > 0)
            };
            let above = ancestors.ids().filter_map(|id| registry.numbers.get(&id).copied());
            let parent = above.into_iter().find(is_alive);
            let entry = Registered { token, parent, below, group: Arc::downgrade(group) };
            // The tokens of most groups have no children yet.
            let near = if group.token().has_children() {
                registry.groups_of(registry.next_to(parent))
            } else {
                Vec::new()
            };
            registry.insert(number, entry);
            near
        };
        let is_below = |(_, other): &&(u64, Arc<dyn NamedGroup>)| {
            other.token().ancestors().ids().any(|ancestor| ancestor == token)
        };
        for (other, _) in near.iter().filter(is_below) {
            NAMED.lock().move_below(*other, number);
        }
        near
    }

    /// Returns the groups below this one.
    pub(super) fn below(&self) -> Vec<Arc<dyn NamedGroup>> {
        let registry = NAMED.lock();
        let below = registry.groups.get(&self.0).map(|entry| registry.groups_of(&entry.below));
        below.into_iter().flatten().map(|(_, group)| group).collect()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let entry = NAMED.lock().leave(self.0);
        drop(entry);
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

    fn groups_of(&self, numbers: &BTreeSet<u64>) -> Looked {
        let group = |number: &u64| Some((*number, self.groups.get(number)?.group.upgrade()?));
        numbers.iter().filter_map(group).collect()
    }

    fn insert(&mut self, number: u64, entry: Registered) {
        self.next_to_mut(entry.parent).insert(number);
        self.numbers.insert(entry.token, number);
        self.groups.insert(number, entry);
    }

    /// Takes out a group, and leaves those below it as they are.
    fn remove(&mut self, number: u64) -> Option<Registered> {
        let entry = self.groups.remove(&number)?;
        self.next_to_mut(entry.parent).remove(&number);
        // Another group may have a token at the same place by now.
        if self.numbers.get(&entry.token) == Some(&number) {
            self.numbers.remove(&entry.token);
        }
        Some(entry)
    }

    /// Takes out a group. Those below it are below the next one from now on.
    fn leave(&mut self, number: u64) -> Option<Registered> {
        let entry = self.remove(number)?;
        for below in &entry.below {
            if let Some(it) = self.groups.get_mut(below) {
                it.parent = entry.parent;
            }
        }
        self.next_to_mut(entry.parent).extend(&entry.below);
        Some(entry)
    }

    /// Moves a group below another one with the same parent.
    fn move_below(&mut self, number: u64, other: u64) {
        let parents = [number, other].map(|it| self.groups.get(&it).map(|it| it.parent));
        if parents[0].is_none() || parents[0] != parents[1] {
            return;
        }
        if let Some(mut entry) = self.remove(number) {
            entry.parent = Some(other);
            self.insert(number, entry);
        }
    }
}
