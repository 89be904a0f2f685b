//! The order in which children that have room start, and those that wait to go to the set.
//!
//! A child starts as soon as it has room, unless a reservation came before it: then it waits in a
//! slot behind that. A child's index is given when it starts, so the indexes have no gaps.

use alloc::collections::VecDeque;

use crate::admission::passes::Pass;
use crate::admission::queue::{ChildKey, QueuedChild, WaiterKey};
use crate::util::sparse_queue::{SparseQueue, shrink};

#[derive(Default)]
pub(crate) struct Starts {
    /// Children and reservations that have room, by the numbers of their slots. The first is a
    /// reservation whenever the queue has been processed.
    slots: SparseQueue<StartSlot>,
    /// The number of the next slot.
    next_slot: u64,
    /// Children that have started and are not in the set yet. Their indexes are the last given, so
    /// they go to the set before any other child starts there.
    started: VecDeque<ChildKey>,
    /// How many of `started`, from its front, were passed to the executor.
    spawned: usize,
    next_index: usize,
}

/// A place in the order of starts.
pub(super) enum StartSlot {
    /// A child, with its pass.
    Child(QueuedChild, Option<Pass>),
    Reserved(WaiterKey),
}

impl Starts {
    /// Returns the order of a group in which so many children have started.
    pub(super) fn resume(next_index: usize) -> Self {
        Self { next_index, ..Self::default() }
    }

    // --- slots

    /// Returns `true` if no reservation is before the next child.
    #[inline]
    pub(super) fn is_clear(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the number of the next slot.
    pub(super) fn next_slot(&self) -> u64 {
        self.next_slot
    }

    /// Adds what has room and starts behind a reservation, or is one.
    pub(super) fn push(&mut self, start: StartSlot) {
        self.slots.push(self.next_slot, start);
        self.next_slot += 1;
    }

    /// Returns `true` if a slot has not started.
    pub(super) fn contains(&self, slot: u64) -> bool {
        self.slots.get(slot).is_some()
    }

    /// Puts a child into the slot of its reservation. Gives it back if that is not there.
    pub(super) fn fill(
        &mut self,
        slot: u64,
        child: QueuedChild,
        pass: Option<Pass>,
    ) -> Result<(), QueuedChild> {
        match self.slots.get_mut(slot) {
            Some(start) => *start = StartSlot::Child(child, pass),
            None => return Err(child),
        }
        Ok(())
    }

    /// Removes a reservation.
    pub(super) fn remove(&mut self, slot: u64) {
        self.slots.remove(slot);
    }

    /// Returns the last slot below that number.
    pub(super) fn last_below(&mut self, slot: u64) -> Option<(u64, &StartSlot)> {
        self.slots.last_below(slot)
    }

    /// Takes out the first slot if a child is in it: the child, and its pass.
    pub(super) fn pop_child(&mut self) -> Option<(QueuedChild, Option<Pass>)> {
        let (_, StartSlot::Child(..)) = self.slots.first()? else { return None };
        let (_, StartSlot::Child(child, pass)) = self.slots.pop()? else { return None };
        Some((child, pass))
    }

    /// Takes out the first slot.
    pub(super) fn pop(&mut self) -> Option<StartSlot> {
        self.slots.pop().map(|(_, start)| start)
    }

    /// Returns the slots, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &StartSlot> + Clone {
        self.slots.iter().map(|(_, start)| start)
    }

    // --- children that start

    /// Starts a child. Returns its index.
    #[inline]
    pub(super) fn start(&mut self, child: ChildKey) -> usize {
        self.started.push_back(child);
        self.next_index += 1;
        self.next_index - 1
    }

    /// Starts a child that goes to the set at once, past those that have started: there are none.
    #[inline]
    pub(super) fn start_in_set(&mut self) -> usize {
        debug_assert!(!self.has_started(), "they go to the set first");
        self.next_index += 1;
        self.next_index - 1
    }

    /// Returns how many children have started.
    pub(super) fn count(&self) -> usize {
        self.next_index
    }

    /// Returns the index of the first child that waits to go to the set, or of the next to start.
    #[inline]
    pub(crate) fn first_started(&self) -> usize {
        self.next_index - self.started.len()
    }

    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        !self.started.is_empty()
    }

    /// Returns how many children wait to go to the set, and how many of them, the first ones, were
    /// passed to the executor.
    pub(super) fn started_and_spawned(&self) -> (usize, usize) {
        (self.started.len(), self.spawned)
    }

    /// Takes out the next child that has started: its index and key.
    #[inline]
    pub(crate) fn pop_started(&mut self) -> Option<(usize, ChildKey)> {
        let index = self.first_started();
        let key = self.started.pop_front()?;
        self.spawned = self.spawned.saturating_sub(1);
        shrink(&mut self.started);
        Some((index, key))
    }

    /// Returns the children that run outside of the group's polls and wait to go to its set, with
    /// their indexes.
    pub(crate) fn spawned(&self) -> impl Iterator<Item = (usize, ChildKey)> {
        (self.first_started()..).zip(self.started.iter().copied().take(self.spawned))
    }

    /// Returns the children that were not passed to the executor, with their indexes. From now on
    /// they count as passed.
    pub(super) fn take_unspawned(&mut self) -> impl Iterator<Item = (usize, ChildKey)> {
        let first = self.first_started();
        let spawned = core::mem::replace(&mut self.spawned, self.started.len());
        (first + spawned..).zip(self.started.range(spawned..).copied())
    }
}

#[cfg(test)]
impl Starts {
    pub(super) fn get(&self, slot: u64) -> Option<&StartSlot> {
        self.slots.get(slot)
    }
}
