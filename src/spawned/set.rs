//! The children of a group that run as tasks of an executor.
//!
//! They need no polls before they are done. So a child comes into the blocks only then, and leaves
//! them at its first poll. No waker is needed for it: its report notifies the group's task.
//!
//! # Invariants
//!
//! - Each child that has started is on its way to this set, in `children`, or in `blocks`; and
//!   on its way or in `children` before it reports.
//! - Reports are taken before the children on their way are. So the child of a report is found.
//! - A child in `lost` has been dropped by its executor after the group had stopped.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use super::Spawned;
use super::completions::Report;
use super::spawner::{Locality, Spawner};
use crate::child::set::{ChildSet, TakeStarted};
use crate::observe::Outcome;
use crate::set::{BlockSet, Progress};
use crate::util::panic::Payload;
use crate::util::parent_waker::ParentWaker;
use crate::util::sparse_queue::{SparseQueue, shrink};
use crate::util::sync::Arc;

pub struct SpawnedSet<T, E, L: Locality> {
    spawner: Spawner<T, E, L>,
    /// The children that run, by their indexes.
    children: SparseQueue<Spawned<T, E, L>>,
    /// The children that have reported.
    blocks: BlockSet<Spawned<T, E, L>>,
    lost: Vec<(usize, Spawned<T, E, L>)>,
    /// The indexes of children that were dropped, for the order of a stream.
    dropped: Vec<usize>,
    /// Holds the reports that were taken, until they are collected.
    reports: VecDeque<Report>,
}

impl<T, E, L: Locality> SpawnedSet<T, E, L> {
    pub(crate) fn new(spawner: Spawner<T, E, L>) -> Self {
        let (children, blocks) = (SparseQueue::default(), BlockSet::new());
        let (lost, dropped) = (Vec::new(), Vec::new());
        let reports = VecDeque::new();
        Self { spawner, children, blocks, lost, dropped, reports }
    }
}

impl<T, E, L: Locality> ChildSet<Spawned<T, E, L>> for SpawnedSet<T, E, L> {
    type Spawner = Spawner<T, E, L>;

    fn empty(&self) -> Self {
        Self::new(self.spawner.clone())
    }

    fn blocks(&mut self) -> &mut BlockSet<Spawned<T, E, L>> {
        &mut self.blocks
    }

    /// Takes a child, and spawns it if that has not been done. No lock is held.
    fn insert(&mut self, mut child: Spawned<T, E, L>, index: usize, _: &Arc<ParentWaker>) {
        let unspawned = child.start(&self.spawner, index, None);
        // First: without `std`, a panic of the spawner unwinds from here.
        self.children.push(index as u64, child);
        if let Some(unspawned) = unspawned {
            self.spawner.spawn(unspawned);
        }
    }

    fn insert_all(
        &mut self,
        take_started: &mut TakeStarted<'_, Spawned<T, E, L>>,
        _: &Arc<ParentWaker>,
    ) {
        // They were passed to the executor, or are when the locks are free.
        take_started(&mut |index, child| self.children.push(index as u64, child));
    }

    fn has_completed(&self) -> bool {
        self.spawner.completions().has_reports()
    }

    fn take_completed(&mut self, note: &mut dyn FnMut(usize, Outcome)) {
        self.spawner.completions().take_reports(&mut self.reports, note);
    }

    fn collect_completed(&mut self, parent: &Arc<ParentWaker>, stopped: bool) {
        for (index, outcome) in self.reports.drain(..) {
            let Some(child) = self.children.remove(index as u64) else {
                continue;
            };
            if stopped && outcome == Outcome::Dropped {
                self.lost.push((index, child));
            } else {
                self.blocks.insert(child, index, parent);
            }
        }
        shrink(&mut self.reports);
    }

    fn take_late_panic(&mut self) -> Option<Payload> {
        self.spawner.completions().take_late_panic()
    }

    fn has_spawned(&self) -> bool {
        !self.children.is_empty() || self.has_lost()
    }

    fn has_unended(&self) -> bool {
        self.children.iter().any(|(_, child)| !child.is_complete())
    }

    fn take_spawned(&mut self, index: usize) -> Option<Spawned<T, E, L>> {
        // One that ends at this moment stays until its report is taken, and is counted by that:
        // a report without a child would be counted, and never be forgotten.
        let child = self.children.get(index as u64)?;
        if child.try_abandon() { self.children.remove(index as u64) } else { None }
    }

    fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    fn take_lost(&mut self) -> Vec<(usize, Spawned<T, E, L>)> {
        core::mem::take(&mut self.lost)
    }

    fn record_missing(&mut self, index: usize) {
        self.dropped.push(index);
    }

    fn take_dropped(&mut self) -> Vec<usize> {
        core::mem::take(&mut self.dropped)
    }

    fn abandon_spawned(&mut self) -> Vec<(usize, Spawned<T, E, L>)> {
        let children = core::mem::take(&mut self.children).into_entries();
        let mut abandoned = Vec::new();
        for (index, child) in children {
            if child.try_abandon() {
                abandoned.push((index as usize, child));
            } else {
                // As in `take_spawned`.
                self.children.push(index, child);
            }
        }
        abandoned
    }

    fn drain_spawned(&mut self) -> Vec<(usize, Spawned<T, E, L>)> {
        let children = core::mem::take(&mut self.children).into_entries();
        let mut drained = self.take_lost();
        drained.extend(children.map(|(index, child)| (index as usize, child)));
        drained
    }

    fn inspect(&self, visit: &mut dyn FnMut(usize, Progress)) {
        self.children.iter().for_each(|(index, child)| {
            let is_over = child.is_complete();
            visit(index as usize, if is_over { Progress::Completed } else { Progress::Spawned });
        });
        self.blocks.inspect(&mut |index, _| visit(index, Progress::Completed));
        self.lost.iter().for_each(|(index, _)| visit(*index, Progress::Completed));
    }
}

impl<T, E, L: Locality> fmt::Debug for SpawnedSet<T, E, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpawnedSet(..)")
    }
}
