//! Children that run elsewhere, while they do.
//!
//! They need no polls before they are done; so they come into the group's set only then, and
//! leave it at their first poll. Nobody needs a waker for them: their reports ring the bell.
//!
//! # Invariants
//!
//! - Each child that has started is in the outbox, here, or in the set; and in the outbox or here
//!   before it reports.
//! - The reports are taken before the outbox is: so whoever has reported is found.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Spawner;
use crate::child::Kind;
use crate::set::BlockSet;
use crate::util::parent_waker::ParentWaker;
use crate::util::sparse_queue::{SparseQueue, shrink};

pub(crate) struct SpawnedSet<C> {
    pub(crate) spawner: Spawner<C>,
    /// By their indices.
    children: SparseQueue<C>,
    /// Holds the reports while they are gone through; empty between.
    done: Vec<usize>,
}

impl<C: Kind> SpawnedSet<C> {
    pub(crate) fn new(spawner: Spawner<C>) -> Box<Self> {
        Box::new(Self { spawner, children: SparseQueue::default(), done: Vec::new() })
    }

    pub(crate) fn has_reports(&self) -> bool {
        self.spawner.completions().has_reports()
    }

    /// Takes one who was admitted, and starts it if nobody has. No lock is held.
    pub(crate) fn enter(&mut self, mut child: C, index: usize) {
        let start = self.spawner.start(&mut child, index);
        self.children.push(index as u64, child);
        if let Some(start) = start {
            self.spawner.spawn(start);
        }
    }

    /// The same for all of a batch, of whom this is the first one's index.
    pub(crate) fn receive(&mut self, first: usize, batch: &mut VecDeque<C>) {
        for (index, child) in (first..).zip(batch.drain(..)) {
            self.enter(child, index);
        }
        shrink(batch);
    }

    /// Takes the reports. Those who are admitted by now are to be received before these are
    /// [seated](Self::seat).
    pub(crate) fn hear(&mut self) {
        self.spawner.completions().take_reports(&mut self.done);
    }

    /// Moves into the set who has reported.
    pub(crate) fn seat(&mut self, set: &mut BlockSet<C>, parent: &Arc<ParentWaker>) {
        for index in self.done.drain(..) {
            if let Some(child) = self.children.remove(index as u64) {
                set.insert(child, index, parent);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Gives all who are here, with their indices.
    pub(crate) fn leave(&mut self) -> impl Iterator<Item = (usize, C)> + use<C> {
        let children = core::mem::take(&mut self.children);
        children.into_entries().map(|(index, child)| (index as usize, child))
    }
}
