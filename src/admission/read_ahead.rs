//! Results that are ahead of their reader: up to a number of them, their children keep no room.

use alloc::collections::BTreeMap;

use crate::observe::Outcome;

/// The results that were not fetched, and the children among theirs that keep their room: as many
/// as there are results beyond the limit.
pub(crate) struct ReadAhead {
    limit: usize,
    unread: usize,
    /// The children that keep their room, by their index.
    holders: BTreeMap<usize, Outcome>,
}

impl ReadAhead {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, unread: 0, holders: BTreeMap::new() }
    }

    /// Records a child's result. Returns `true` if the child frees its room.
    pub(crate) fn put(&mut self, index: usize, outcome: Outcome) -> bool {
        self.unread += 1;
        let free = self.unread <= self.limit;
        if !free {
            self.holders.insert(index, outcome);
        }
        free
    }

    /// Returns `true` if a child whose result was not fetched keeps its room.
    pub(crate) fn is_holder(&self, index: usize) -> bool {
        self.holders.contains_key(&index)
    }

    /// Records that a child's result was fetched. Returns a child that frees its room now, if one
    /// kept it: that child, or else the oldest.
    pub(crate) fn take(&mut self, index: usize) -> Option<(usize, Outcome)> {
        self.unread -= 1;
        match self.holders.remove(&index) {
            Some(outcome) => Some((index, outcome)),
            None => self.holders.pop_first(),
        }
    }
}
