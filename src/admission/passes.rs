//! Passes: what a child needs, beside room, in a group that has gates.
//!
//! A pass stands for the guards of all gates, which are of the user's types; the group keeps them
//! under the number of the pass. It makes one when the head of the queue has room and lacks only
//! that. A child or a reservation has a pass from the moment when it gets room. The pass is over
//! when the child has ended, or when the reservation comes to nothing. A *spare* pass belongs to
//! none yet: it goes to the next child or reservation of the weight for which it was made.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::queue::Request;
use crate::child::ask::Ask;
use crate::key::Key;

/// The number of a pass.
pub(crate) type Pass = usize;

#[derive(Default)]
pub(crate) struct Passes {
    /// The group has gates.
    pub(crate) are_needed: bool,
    /// Those that the head of the queue is to get, or a child on offer, each with its weight.
    spare: Vec<(usize, Pass)>,
    /// The one that goes to the child whose room was taken just now, with its weight.
    taken: Option<(usize, Pass)>,
    /// The head of the queue fits and lacks a pass.
    pub(crate) wanted: bool,
    /// Those that are over, for the group to drop their guards.
    pub(crate) over: Vec<Pass>,
    /// The group's task is to be notified of those that are over.
    pub(crate) notify: bool,
}

/// What gates are told of the head of the queue, or of a child on offer.
pub(crate) struct Asked {
    name: Option<Arc<str>>,
    key: Option<Key>,
    weight: usize,
}

impl Passes {
    /// Takes a spare pass for a child of that weight that has room, if there is one.
    pub(crate) fn try_take(&mut self, weight: usize) -> bool {
        debug_assert!(self.taken.is_none(), "a pass is given before the next is taken");
        let at = self.spare.iter().position(|(of, _)| *of == weight);
        self.taken = at.map(|at| self.spare.remove(at));
        self.taken.is_some()
    }

    /// Returns the pass that was taken, for the child to keep.
    pub(crate) fn give(&mut self) -> Option<Pass> {
        self.taken.take().map(|(_, pass)| pass)
    }

    /// Puts the pass back that was taken just now, if no child has it yet.
    #[inline]
    pub(crate) fn put_back(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.spare.push(taken);
        }
    }

    /// Records that a pass is over since its reservation has come to nothing.
    pub(crate) fn give_up(&mut self, pass: Option<Pass>) {
        self.notify |= pass.is_some();
        self.over.extend(pass);
    }

    /// Returns `true` if there is a spare pass for a child of that weight.
    pub(crate) fn has_spare(&self, weight: usize) -> bool {
        self.spare.iter().any(|(of, _)| *of == weight)
    }

    /// Adds a spare pass for a child of that weight.
    pub(crate) fn add(&mut self, weight: usize, pass: Pass) {
        self.spare.push((weight, pass));
    }

    /// Records that the spare passes are over.
    pub(crate) fn end_spare(&mut self) {
        self.put_back();
        self.over.extend(self.spare.drain(..).map(|(_, pass)| pass));
    }

    /// Ends the spare passes but for one of the weight that is `kept`. The group's task is to be
    /// notified.
    #[inline]
    pub(crate) fn give_up_spare(&mut self, kept: Option<usize>) {
        if self.spare.len() > usize::from(kept.is_some()) {
            let kept = self.spare.iter().position(|(of, _)| Some(*of) == kept);
            let kept = kept.map(|at| self.spare.remove(at));
            self.notify |= !self.spare.is_empty();
            self.end_spare();
            self.spare.extend(kept);
        }
    }
}

impl Asked {
    pub(crate) fn new(request: Request<'_>) -> Self {
        let Request { weight, key, name, .. } = request;
        Self { name: name.map(Arc::from), key: key.cloned(), weight }
    }

    pub(crate) fn as_ask(&self) -> Ask<'_> {
        Ask { name: self.name.as_deref(), key: self.key.as_ref(), weight: self.weight }
    }
}
