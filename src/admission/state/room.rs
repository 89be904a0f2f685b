//! The room that children take, and what each needs beside it: a permit of the semaphore, a pass of
//! the gates.
//!
//! A child or a reservation takes room by [`Room::take`], after [`Room::take_beside`] has taken
//! what it needs beside room. The room of its key is counted by the queue.

use alloc::vec::Vec;

use super::Effects;
use crate::admission::load::Load;
use crate::admission::passes::{Pass, Passes};
use crate::admission::permits::Permits;

#[derive(Default)]
pub(crate) struct Room {
    limit: Option<usize>,
    /// How many running children and reservations have room.
    occupied: usize,
    /// What their weights add.
    load: Load,
    /// Of a group with a semaphore: one for each of `occupied`.
    pub(crate) permits: Option<Permits>,
    pub(crate) passes: Passes,
}

impl Room {
    /// Returns the room of a group that goes on with so many children of weight 1.
    pub(super) fn resume(limit: Option<usize>, occupied: usize) -> Self {
        Self { limit, occupied, ..Self::default() }
    }

    /// Records the weight of one of these children.
    pub(super) fn resume_weight(&mut self, weight: usize) {
        self.load.add(weight);
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// Sets the limit. Returns `true` if it was another one.
    pub(super) fn set_limit(&mut self, limit: Option<usize>) -> bool {
        core::mem::replace(&mut self.limit, limit) != limit
    }

    #[inline]
    pub(super) fn occupied(&self) -> usize {
        self.occupied
    }

    #[inline]
    pub(super) fn fits(&self, weight: usize) -> bool {
        self.load.fits(self.limit, self.occupied, weight)
    }

    /// Returns the room that is taken.
    pub(super) fn taken(&self) -> u128 {
        self.load.taken(self.occupied)
    }

    /// Returns `true` if there is room for one more child beside what is taken and so many others.
    pub(super) fn fits_beside(&self, others: usize) -> bool {
        self.limit.is_none_or(|limit| self.taken() + (others as u128) < limit as u128)
    }

    /// Returns `true` if more room is taken than there is, but for a child that runs alone.
    pub(super) fn is_over_limit(&self) -> bool {
        self.limit.is_some_and(|limit| match limit {
            0 => self.occupied > 0,
            _ => self.taken() > limit as u128 && self.load.weighty(self.occupied) > 1,
        })
    }

    // --- room

    #[inline]
    pub(crate) fn take(&mut self, weight: usize) {
        self.occupied += 1;
        self.load.add(weight);
    }

    /// Frees room whose permit is kept.
    #[inline]
    pub(super) fn put_back(&mut self, weight: usize) {
        self.occupied -= 1;
        self.load.remove(weight);
    }

    /// Frees the room of a child of weight 1 in a group that has neither semaphore nor gates.
    #[inline]
    pub(super) fn free_plain(&mut self) {
        debug_assert!(!self.needs_beside());
        self.occupied -= 1;
    }

    /// Takes room anew for so many children of weight 1 that have kept their permits.
    pub(super) fn retake(&mut self, children: usize) {
        self.occupied += children;
    }

    /// Frees all room. The permits are kept until the children are dropped.
    pub(super) fn clear(&mut self) {
        (self.occupied, self.load) = (0, Load::default());
    }

    // --- what is needed beside room

    /// Returns `true` if a child needs a permit or a pass beside room.
    #[inline]
    pub(crate) fn needs_beside(&self) -> bool {
        self.permits.is_some() || self.passes.are_needed
    }

    /// Takes what a child needs beside room: a pass of the gates, and a permit.
    #[inline]
    pub(super) fn take_beside(&mut self, weight: usize) -> bool {
        if self.passes.are_needed && !self.passes.try_take(weight) {
            return false;
        }
        let taken = self.permits.as_mut().is_none_or(Permits::try_take);
        if !taken {
            self.passes.put_back();
        }
        taken
    }

    /// Gives back what a child needed beside room: the permit, and the pass if no child has it yet.
    #[inline]
    pub(super) fn give_beside_back(&mut self) {
        self.passes.put_back();
        self.free_permits(1);
    }

    /// Records whether the head of the queue, which is of that weight, lacks nothing but what is
    /// needed beside room.
    pub(super) fn record_lack(
        &mut self,
        mut lacks: bool,
        head: impl FnOnce() -> Option<usize>,
        effects: &mut Effects,
    ) {
        let passes = &mut self.passes;
        if passes.are_needed {
            // The group asks the gates from now on, or no longer.
            let head = head();
            let lacks_pass = lacks && head.is_some_and(|weight| !passes.has_spare(weight));
            lacks &= !lacks_pass;
            if let Some(weight) = head {
                // No child passes the head, so only the one that it has while it lacks a permit is
                // of use.
                passes.give_up_spare(lacks.then_some(weight));
            }
            effects.notify |= core::mem::replace(&mut passes.wanted, lacks_pass) != lacks_pass;
            effects.notify |= core::mem::take(&mut passes.notify);
        }
        if let Some(permits) = &mut self.permits {
            // The group waits for a permit from now on, or no longer.
            let before = core::mem::replace(&mut permits.wanted, lacks);
            effects.notify |= before != lacks;
            permits.cancel_acquire |= before && !lacks;
        }
    }

    pub(crate) fn lacks_permit(&self) -> bool {
        self.permits.as_ref().is_some_and(|permits| permits.wanted)
    }

    pub(crate) fn lacks_pass(&self) -> bool {
        self.passes.wanted
    }

    /// Frees the permits of so many children or reservations.
    #[inline]
    pub(super) fn free_permits(&mut self, count: usize) {
        if let Some(permits) = &mut self.permits {
            permits.free(count);
        }
    }

    /// Moves the passes that are over to `ended`. Spare ones are over, too, unless the head of the
    /// queue waits for a permit, and has the pass for it.
    pub(crate) fn take_ended_passes(&mut self, ended: &mut Vec<Pass>) {
        if !self.lacks_permit() {
            self.passes.end_spare();
        }
        ended.append(&mut self.passes.over);
    }
}

#[cfg(test)]
impl Room {
    /// Returns what the weights add to the number of children.
    pub(super) fn extra(&self) -> u128 {
        self.load.extra()
    }
}
