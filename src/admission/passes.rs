//! Passes: what a child needs, beside room, in a group that has gates.
//!
//! A pass stands for the guards of all gates, which are of the user's types; the group keeps them
//! under the number of the pass. It makes one when the head of the queue has room and lacks only
//! that. A pass belongs to a child or a reservation from the moment when it gets room, and is over
//! when the child has ended, or the reservation is given up. It is given to no other: the gates
//! were asked for that one.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::queue::Request;
use crate::child::ask::Ask;
use crate::key::Key;

/// The number of a pass.
pub(crate) type Pass = usize;

#[derive(Default)]
pub(crate) struct Passes {
    /// Those that the head of the queue is to get, or a child on offer.
    spare: VecDeque<Pass>,
    /// The one that goes to the child whose room was taken just now.
    taken: Option<Pass>,
    /// The head of the queue fits and lacks a pass.
    pub(crate) wanted: bool,
    /// Those that are over, for the group to drop their guards.
    pub(crate) over: Vec<Pass>,
    /// The group is to be woken for that.
    pub(crate) notify: bool,
}

/// What is known of the head of the queue, on whose behalf the gates are asked.
pub(crate) struct Asked {
    name: Option<Arc<str>>,
    key: Option<Key>,
    weight: usize,
}

impl Passes {
    /// Takes a spare pass for a child that has room, if there is one.
    pub(crate) fn try_take(&mut self) -> bool {
        debug_assert!(self.taken.is_none(), "a pass is given before the next is taken");
        self.taken = self.spare.pop_front();
        self.taken.is_some()
    }

    /// Returns the pass that was taken, for the child to keep.
    pub(crate) fn give(&mut self) -> Option<Pass> {
        self.taken.take()
    }

    /// Puts the pass back that was taken just now.
    pub(crate) fn put_back(&mut self) {
        self.taken.take().into_iter().for_each(|pass| self.spare.push_front(pass));
    }

    /// Records that the pass of a reservation is over, which has come to nothing.
    pub(crate) fn give_up(&mut self, pass: Option<Pass>) {
        self.notify |= pass.is_some();
        self.over.extend(pass);
    }

    pub(crate) fn has_spare(&self) -> bool {
        !self.spare.is_empty()
    }

    pub(crate) fn add(&mut self, pass: Pass) {
        self.spare.push_back(pass);
    }

    /// Records that all passes are over which no child has.
    pub(crate) fn end_spare(&mut self) {
        self.put_back();
        self.over.extend(self.spare.drain(..));
    }
}

impl Asked {
    pub(crate) fn new(request: Request<'_>, name: Option<Arc<str>>) -> Self {
        Self { name, key: request.key.cloned(), weight: request.weight }
    }

    pub(crate) fn as_ask(&self) -> Ask<'_> {
        Ask { name: self.name.as_deref(), key: self.key.as_ref(), weight: self.weight }
    }
}
