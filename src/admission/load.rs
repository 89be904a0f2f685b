//! The room that children take by their weights.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::util::sparse_queue::{SparseQueue, shrink};

/// What the weights of children that have room add to their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// How many of them have a weight of 0.
    weightless: usize,
    /// What the others take beyond one each.
    extra: u128,
}

impl Load {
    #[inline]
    pub(super) fn add(&mut self, weight: usize) {
        self.weightless += usize::from(weight == 0);
        self.extra += weight.saturating_sub(1) as u128;
    }

    #[inline]
    pub(super) fn remove(&mut self, weight: usize) {
        self.weightless -= usize::from(weight == 0);
        self.extra -= weight.saturating_sub(1) as u128;
    }

    /// Returns how many of so many children take room.
    #[inline]
    pub(super) fn weighty(&self, occupied: usize) -> usize {
        occupied - self.weightless
    }

    /// Returns the room that so many children take.
    #[inline]
    pub(super) fn taken(&self, occupied: usize) -> u128 {
        self.weighty(occupied) as u128 + self.extra
    }

    /// Returns `true` if there is room beside so many children.
    #[inline]
    pub(super) fn fits(&self, limit: Option<usize>, occupied: usize, weight: usize) -> bool {
        let Some(at_most) = limit else { return true };
        if self.extra == 0 && weight == 1 {
            return self.weighty(occupied) < at_most;
        }
        fits(limit, self.taken(occupied), weight)
    }

    #[cfg(test)]
    pub(super) fn extra(&self) -> u128 {
        self.extra
    }
}

/// Returns `true` if children that take so much room leave some for another one. A child that is
/// heavier than the limit runs alone, but for those without a weight. A limit of 0 admits none, not
/// even those.
pub(super) fn fits(limit: Option<usize>, taken: u128, weight: usize) -> bool {
    limit.is_none_or(|limit| {
        limit > 0 && (weight == 0 || taken == 0 || taken + weight as u128 <= limit as u128)
    })
}

/// What is known of children because they may have weights. (A trait, so that a program without
/// weights has none of this code.)
pub(super) trait ChildWeights: Send + Sync {
    /// Returns what the weights of the children that have room add to their number.
    fn load(&self) -> Load;

    fn of_running(&self, index: usize) -> Option<usize>;

    fn of_waiting(&self, at: usize) -> Option<usize>;

    /// Records a newcomer that waits.
    fn enqueue(&mut self, weight: usize);

    /// Records a newcomer that starts.
    fn start_newcomer(&mut self, index: usize, weight: usize);

    /// Admits the children that wait, from the front, as long as there is room. `admitted` is how
    /// many were admitted before; returns the new number. `running` is how many have started.
    fn admit(&mut self, admitted: usize, limit: Option<usize>, running: usize) -> usize;

    /// Records that so many of the children that wait start, with that index and the next ones.
    fn start(&mut self, index: usize, count: usize);

    /// Frees the room that a child takes beyond its number.
    fn finish(&mut self, index: usize);

    /// Forgets all children that wait, but for so many.
    fn truncate(&mut self, len: usize);

    /// Returns the weight of each child that waits, and the weights of those that run and have
    /// another one than 1, with their indexes.
    fn into_parts(self: Box<Self>) -> (VecDeque<usize>, Vec<(usize, usize)>);
}

/// Implements [`ChildWeights`].
pub(super) struct Weights {
    /// The weight of each child that waits.
    waiting: VecDeque<usize>,
    /// The weights of the running children that have another one than 1, by their indexes.
    running: SparseQueue<usize>,
    load: Load,
}

impl Weights {
    /// Begins with so many children that wait, of weight 1.
    pub(super) fn new(waiting: usize) -> Self {
        let waiting = core::iter::repeat_n(1, waiting).collect();
        Self { waiting, running: SparseQueue::default(), load: Load::default() }
    }
}

impl ChildWeights for Weights {
    fn load(&self) -> Load {
        self.load
    }

    fn of_running(&self, index: usize) -> Option<usize> {
        self.running.get(index as u64).copied()
    }

    fn of_waiting(&self, at: usize) -> Option<usize> {
        self.waiting.get(at).copied()
    }

    fn enqueue(&mut self, weight: usize) {
        self.waiting.push_back(weight);
    }

    fn start_newcomer(&mut self, index: usize, weight: usize) {
        self.running.push(index as u64, weight);
        self.load.add(weight);
    }

    fn admit(&mut self, mut admitted: usize, limit: Option<usize>, running: usize) -> usize {
        for weight in self.waiting.range(admitted..) {
            if !self.load.fits(limit, running + admitted, *weight) {
                break;
            }
            self.load.add(*weight);
            admitted += 1;
        }
        admitted
    }

    fn start(&mut self, index: usize, count: usize) {
        for (index, weight) in (index..).zip(self.waiting.drain(..count)) {
            if weight != 1 {
                self.running.push(index as u64, weight);
            }
        }
        shrink(&mut self.waiting);
    }

    fn finish(&mut self, index: usize) {
        if let Some(weight) = self.running.remove(index as u64) {
            self.load.remove(weight);
        }
    }

    fn truncate(&mut self, len: usize) {
        self.waiting.truncate(len);
    }

    fn into_parts(self: Box<Self>) -> (VecDeque<usize>, Vec<(usize, usize)>) {
        let running = self.running.into_entries();
        (self.waiting, running.map(|(index, weight)| (index as usize, weight)).collect())
    }
}
