//! What admission knows of joinable children, for those that are aborted.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::queue::{ChildKey, Position};
use crate::child::join::JoinId;
use crate::key::Key;
use crate::util::sparse_queue::SparseQueue;

#[derive(Default)]
pub(crate) struct Joins {
    /// The last name that was given, or 0.
    last: u64,
    /// The positions of those in the queue, and their keys.
    queued: SparseQueue<(Position, Option<Key>)>,
    /// The child that comes next, if it was aborted before it came.
    early: Option<JoinId>,
    /// Running children whose result is none.
    aborted: BTreeSet<JoinId>,
    /// Children that have left the queue, for the group to drop.
    pub(super) dropped: Vec<ChildKey>,
}

impl Joins {
    /// Names the joinable child that comes next.
    pub(crate) fn next_id(&mut self) -> JoinId {
        self.last += 1;
        JoinId::MIN.saturating_add(self.last - 1)
    }

    /// Records that the child which comes next has been aborted: it waits for no room.
    pub(crate) fn abort_early(&mut self, id: JoinId) {
        self.early = Some(id);
    }

    /// Records the position of a child. Returns `false` if it was aborted before it came.
    pub(super) fn enqueue(&mut self, id: JoinId, position: Position, key: Option<Key>) -> bool {
        let waits = self.early != Some(id);
        if waits {
            self.queued.push(id.get(), (position, key));
        }
        waits
    }

    /// Returns the position and the key of a child that is to leave the queue, or `None` if it is
    /// not there.
    pub(super) fn leave_queue(&mut self, id: JoinId) -> Option<(Position, Option<Key>)> {
        self.queued.remove(id.get())
    }

    /// Records that the result of a running child is none.
    pub(crate) fn void_result(&mut self, id: JoinId) {
        self.aborted.insert(id);
    }

    /// Returns `true` if the result of a running child is none.
    pub(super) fn is_aborted(&self, id: JoinId) -> bool {
        self.aborted.contains(&id)
    }

    /// Returns the same, once.
    pub(super) fn take_aborted(&mut self, id: JoinId) -> bool {
        self.aborted.remove(&id)
    }

    /// Forgets all the running children.
    pub(super) fn forget_running(&mut self) {
        self.aborted.clear();
    }
}
