//! The container of a group's children.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::set::BlockSet;
use crate::util::parent_waker::ParentWaker;

/// Holds the children of a group: in blocks that the group polls, or as tasks of an executor until
/// they are done.
pub trait ChildSet<C>: Sized {
    #[doc(hidden)]
    type Spawner: SpawnChild<C>;

    /// Returns a set without children.
    #[doc(hidden)]
    fn empty(&self) -> Self;

    /// Returns the children that the group polls.
    #[doc(hidden)]
    fn blocks(&mut self) -> &mut BlockSet<C>;

    /// Takes a child that has started.
    #[doc(hidden)]
    fn insert(&mut self, child: C, index: usize, parent: &Arc<ParentWaker>);

    /// Does the same for a child that is made when its slot is there.
    #[doc(hidden)]
    #[inline(always)]
    fn insert_with(&mut self, make: impl FnOnce() -> C, index: usize, parent: &Arc<ParentWaker>) {
        self.insert(make(), index, parent);
    }

    /// Returns `true` if children have completed outside of the group's polls.
    #[doc(hidden)]
    fn has_completed(&self) -> bool {
        false
    }

    /// Takes the reports of completed children. The children that have started by now are to be
    /// [inserted](Self::insert) before these are [collected](Self::collect_completed).
    #[doc(hidden)]
    fn take_completed(&mut self) {}

    /// Moves the children whose reports were taken to those that the group polls.
    #[doc(hidden)]
    fn collect_completed(&mut self, _: &Arc<ParentWaker>) {}

    /// Returns `true` if a child runs outside of the group's polls.
    #[doc(hidden)]
    fn has_spawned(&self) -> bool {
        false
    }

    /// Takes out the children that run outside of the group's polls, with their indexes.
    #[doc(hidden)]
    fn drain_spawned(&mut self) -> Vec<(usize, C)> {
        Vec::new()
    }
}

/// Starts admitted children outside of the group's polls. It is `Send` and `Sync`, so that a handle
/// is, in code that is generic over the children, if they are `Send`.
pub trait SpawnChild<C>: Clone + Send + Sync {
    /// `true` if children are started at all.
    const SPAWNS: bool;

    /// The children of one change that have started, on their way to the executor.
    type Spawns: Default;

    /// Takes the future out of a child that has started, unless that has been done.
    #[doc(hidden)]
    fn start(&self, child: &mut C, index: usize, spawns: &mut Self::Spawns);

    /// Hands the futures to the executor. No lock is held.
    #[doc(hidden)]
    fn spawn_all(&self, spawns: Self::Spawns);

    /// Records that the group has ended. Returns `false` if its children are gone with it.
    #[doc(hidden)]
    fn group_ended(&self) -> bool;
}

/// Children run in the group's polls.
impl<C> SpawnChild<C> for () {
    const SPAWNS: bool = false;
    type Spawns = ();

    fn start(&self, _: &mut C, _: usize, (): &mut ()) {}

    fn spawn_all(&self, (): ()) {}

    fn group_ended(&self) -> bool {
        false
    }
}

impl<C> ChildSet<C> for BlockSet<C> {
    type Spawner = ();

    fn empty(&self) -> Self {
        Self::new()
    }

    #[inline(always)]
    fn blocks(&mut self) -> &mut BlockSet<C> {
        self
    }

    #[inline(always)]
    fn insert(&mut self, child: C, index: usize, parent: &Arc<ParentWaker>) {
        Self::insert(self, child, index, parent);
    }

    #[inline(always)]
    fn insert_with(&mut self, make: impl FnOnce() -> C, index: usize, parent: &Arc<ParentWaker>) {
        Self::insert_with(self, make, index, parent);
    }
}
