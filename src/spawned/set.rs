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

use alloc::vec::Vec;
use core::fmt;

use super::{Spawned, Spawner};
use crate::child::set::ChildSet;
use crate::set::BlockSet;
use crate::util::parent_waker::ParentWaker;
use crate::util::sparse_queue::SparseQueue;
use crate::util::sync::Arc;

pub struct SpawnedSet<T, E> {
    spawner: Spawner,
    /// The children that run, by their indexes.
    children: SparseQueue<Spawned<T, E>>,
    /// The children that have reported.
    blocks: BlockSet<Spawned<T, E>>,
    /// Holds the reports that were taken, until they are collected.
    reports: Vec<usize>,
}

impl<T, E> SpawnedSet<T, E> {
    pub(crate) fn new(spawner: Spawner) -> Self {
        let (children, blocks) = (SparseQueue::default(), BlockSet::new());
        Self { spawner, children, blocks, reports: Vec::new() }
    }
}

impl<T, E> ChildSet<Spawned<T, E>> for SpawnedSet<T, E> {
    type Spawner = Spawner;

    fn empty(&self) -> Self {
        Self::new(self.spawner.clone())
    }

    fn blocks(&mut self) -> &mut BlockSet<Spawned<T, E>> {
        &mut self.blocks
    }

    /// Takes a child, and spawns it if that has not been done. No lock is held.
    fn insert(&mut self, mut child: Spawned<T, E>, index: usize, _: &Arc<ParentWaker>) {
        let spawn = child.start(self.spawner.completions(), index);
        self.children.push(index as u64, child);
        spawn.into_iter().for_each(|spawn| self.spawner.spawn(spawn));
    }

    fn has_completed(&self) -> bool {
        self.spawner.completions().has_reports()
    }

    fn take_completed(&mut self) {
        self.spawner.completions().take_reports(&mut self.reports);
    }

    fn collect_completed(&mut self, parent: &Arc<ParentWaker>) {
        for index in self.reports.drain(..) {
            if let Some(child) = self.children.remove(index as u64) {
                self.blocks.insert(child, index, parent);
            }
        }
    }

    fn has_spawned(&self) -> bool {
        !self.children.is_empty()
    }

    fn take_spawned(&mut self, index: usize) -> Option<Spawned<T, E>> {
        self.children.remove(index as u64)
    }

    fn drain_spawned(&mut self) -> Vec<(usize, Spawned<T, E>)> {
        let children = core::mem::take(&mut self.children);
        children.into_entries().map(|(index, child)| (index as usize, child)).collect()
    }
}

impl<T, E> fmt::Debug for SpawnedSet<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpawnedSet(..)")
    }
}
