//! The container of a group's children.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::observe::{Outcome, PollObserver};
use crate::set::{BlockSet, Progress};
use crate::util::panic::Payload;
use crate::util::parent_waker::ParentWaker;

/// Holds the children of a group: in blocks that the group polls, or as tasks of an executor until
/// they are done.
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
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

    /// Takes a child that has started, and is made when its slot is there.
    #[doc(hidden)]
    #[inline(always)]
    fn insert_with(&mut self, make: impl FnOnce() -> C, index: usize, parent: &Arc<ParentWaker>) {
        self.insert(make(), index, parent);
    }

    /// Takes the children that may go to the set.
    #[doc(hidden)]
    fn insert_all(&mut self, take_started: &mut TakeStarted<'_, C>, parent: &Arc<ParentWaker>) {
        take_started(&mut |index, child| self.insert(child, index, parent));
    }

    /// Returns `true` if children have completed outside of the group's polls.
    #[doc(hidden)]
    fn has_completed(&self) -> bool {
        false
    }

    /// Takes the reports of completed children, after `note` was called with each that was not
    /// [noted](EndReports::note). The children that have started by now are to be
    /// [inserted](Self::insert) before these are [collected](Self::collect_completed).
    #[doc(hidden)]
    fn take_completed(&mut self, _: &mut dyn FnMut(usize, Outcome)) {}

    /// Moves the children whose reports were taken to those that the group polls. If the group has
    /// stopped, those that their executor has dropped are [lost](Self::take_lost) instead.
    #[doc(hidden)]
    fn collect_completed(&mut self, _: &Arc<ParentWaker>, _stopped: bool) {}

    #[doc(hidden)]
    fn has_lost(&self) -> bool {
        false
    }

    /// Takes out the children that their executor dropped after the group had stopped, with their
    /// indexes.
    #[doc(hidden)]
    fn take_lost(&mut self) -> Vec<(usize, C)> {
        Vec::new()
    }

    /// Records that a child was dropped that ran outside of the group's polls.
    #[doc(hidden)]
    fn record_missing(&mut self, _index: usize) {}

    /// Returns the indexes of the children of which that was recorded since the last call.
    #[doc(hidden)]
    fn take_dropped(&mut self) -> Vec<usize> {
        Vec::new()
    }

    /// Takes the first panic of a child that panicked outside of the group's polls, after the group
    /// had dropped it. Those that come later are discarded.
    #[doc(hidden)]
    fn take_late_panic(&mut self) -> Option<Payload> {
        None
    }

    /// Returns `true` if a child runs outside of the group's polls.
    #[doc(hidden)]
    fn has_spawned(&self) -> bool {
        false
    }

    /// Returns `true` if one of these children has not ended there.
    #[doc(hidden)]
    fn has_unended(&self) -> bool {
        false
    }

    /// Takes out the child of that index, or returns `None` if it does not run outside of the
    /// group's polls, or has ended there.
    #[doc(hidden)]
    fn take_spawned(&mut self, _index: usize) -> Option<C> {
        None
    }

    /// Takes out the children that run outside of the group's polls, but for those that have ended
    /// there.
    #[doc(hidden)]
    fn abandon_spawned(&mut self) -> Vec<(usize, C)> {
        Vec::new()
    }

    /// Takes out the children that run outside of the group's polls, with their indexes.
    #[doc(hidden)]
    fn drain_spawned(&mut self) -> Vec<(usize, C)> {
        Vec::new()
    }

    /// Calls `visit` with the index of each child, and how far it has come.
    #[doc(hidden)]
    fn inspect(&self, visit: &mut dyn FnMut(usize, Progress));
}

/// Calls its argument with each child that may go to the set, under the locks of the admission.
pub(crate) type TakeStarted<'a, C> = dyn FnMut(&mut dyn FnMut(usize, C)) + 'a;

/// Where the children that run outside of the group's polls report their ends.
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub trait EndReports: Send + Sync {
    /// Calls `note` with each child that has ended, and how, unless that has been done.
    #[doc(hidden)]
    fn note(&self, note: &mut dyn FnMut(usize, Outcome));
}

/// Starts admitted children outside of the group's polls.
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub trait SpawnChild<C>: Clone {
    /// `true` if children are started at all.
    const SPAWNS: bool;

    /// The children of one change that have started, on their way to the executor.
    type Spawns: Default;

    /// Takes the future out of a child that has started, unless that has been done.
    #[doc(hidden)]
    fn start(
        &self,
        child: &mut C,
        index: usize,
        name: Option<&Arc<str>>,
        spawns: &mut Self::Spawns,
    );

    /// Hands the futures to the executor. No lock is held.
    #[doc(hidden)]
    fn spawn_all(spawns: Self::Spawns);

    /// Records that the group has ended; futures of its children may be left.
    #[doc(hidden)]
    fn group_ended(&self) {}

    /// Returns where the children report, if they run outside of the group's polls.
    #[doc(hidden)]
    fn reports(&self) -> Option<Arc<dyn EndReports>> {
        None
    }

    /// Returns `true` if a child has ended that was started.
    #[doc(hidden)]
    fn has_ended(_: &C) -> bool {
        false
    }

    /// Notes the children that have ended anew, if they are not [taken](ChildSet::take_completed).
    #[doc(hidden)]
    fn forget_notes(&self) {}

    /// Surrounds the polls of the children that are started from now on.
    #[doc(hidden)]
    fn observe_polls(&self, _: Option<&Arc<dyn PollObserver>>) {}

    /// Counts the polls of the children that are started from now on.
    #[doc(hidden)]
    fn inspect_polls(&self, _: &Arc<dyn PollObserver>) {}

    /// Wraps it as a child, for the handles of a group: they are `Send` exactly if the children
    /// are, in code that is generic over these, too. `None` if it starts nothing.
    #[doc(hidden)]
    fn wrap(&self) -> Option<C> {
        None
    }

    /// Returns the one that was [wrapped](Self::wrap), or `None` if `wrapped` is a child.
    #[doc(hidden)]
    fn unwrap(_wrapped: &C) -> Option<&Self> {
        None
    }
}

/// Children run in the group's polls.
impl<C> SpawnChild<C> for () {
    const SPAWNS: bool = false;
    type Spawns = ();

    fn start(&self, _: &mut C, _: usize, _: Option<&Arc<str>>, (): &mut ()) {}

    fn spawn_all((): ()) {}
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

    fn inspect(&self, visit: &mut dyn FnMut(usize, Progress)) {
        Self::inspect(self, visit);
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
