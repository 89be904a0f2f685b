//! What is known of running children; of plain ones nothing.

use alloc::vec::Vec;

use super::ChildRecord;
use crate::admission::events::Name;
use crate::admission::passes::Pass;
use crate::admission::queue::KeyId;
use crate::child::join::JoinId;
use crate::key::Key;
use crate::util::sparse_queue::SparseQueue;

#[derive(Default)]
pub(crate) struct RunningChildren {
    /// By their indexes.
    known: SparseQueue<Running>,
    /// How many of them are daemons.
    daemons: usize,
    /// How many of them end with the stop.
    until_stop: usize,
}

/// A running child that is not like most.
pub(super) struct Running {
    pub(super) weight: usize,
    pub(super) priority: i32,
    pub(super) daemon: bool,
    pub(super) key: Option<Key>,
    pub(super) key_id: Option<KeyId>,
    pub(super) pass: Option<Pass>,
    /// It is dropped at the stop.
    pub(super) until_stop: bool,
    /// Its name, if it is joinable.
    pub(super) join: Option<JoinId>,
    /// Kept for an observer or a snapshot, or for a policy that may ask for it.
    pub(super) name: Name,
}

impl Running {
    pub(super) const PLAIN: Self = Self {
        weight: 1,
        priority: 0,
        daemon: false,
        key: None,
        key_id: None,
        pass: None,
        until_stop: false,
        join: None,
        name: None,
    };

    /// Returns `true` if it is as a child without options, but for its name and its priority.
    pub(super) fn is_plain(&self) -> bool {
        self.weight == 1
            && !self.daemon
            && !self.until_stop
            && self.key.is_none()
            && self.pass.is_none()
            && self.join.is_none()
    }
}

impl RunningChildren {
    /// Returns `true` if nothing is known of any child.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn daemons(&self) -> usize {
        self.daemons
    }

    /// Returns `true` if some end with the stop.
    pub(super) fn has_until_stop(&self) -> bool {
        self.until_stop > 0
    }

    pub(super) fn get(&self, index: usize) -> Option<&Running> {
        self.known.get(index as u64)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Running)> + Clone {
        self.known.iter().map(|(index, child)| (index as usize, child))
    }

    /// Adds what is known of a child that starts. They come in order.
    #[inline]
    pub(super) fn add(&mut self, index: usize, child: Running) {
        self.daemons += usize::from(child.daemon);
        self.until_stop += usize::from(child.until_stop);
        self.known.push(index as u64, child);
    }

    /// Adds the same of a child that has neither option that is counted.
    #[inline]
    pub(super) fn add_uncounted(&mut self, index: usize, child: Running) {
        debug_assert!(!child.daemon && !child.until_stop);
        self.known.push(index as u64, child);
    }

    /// Removes a child that has ended. Returns what `last` returns of it, or `None` if nothing is
    /// known of it.
    #[inline]
    pub(super) fn remove<R>(
        &mut self,
        index: usize,
        last: impl FnOnce(&mut Running) -> R,
    ) -> Option<R> {
        let Self { known, daemons, until_stop } = self;
        known.remove_with(index as u64, |child| {
            *daemons -= usize::from(child.daemon);
            *until_stop -= usize::from(child.until_stop);
            last(child)
        })
    }

    /// Records that a child has finished, though it keeps its room: it is a daemon no longer, and
    /// no stop can drop it. Returns its pass, or `None` if nothing is known of the child.
    pub(super) fn finish_unfetched(&mut self, index: usize) -> Option<Option<Pass>> {
        let child = self.known.get_mut(index as u64)?;
        self.daemons -= usize::from(core::mem::take(&mut child.daemon));
        self.until_stop -= usize::from(core::mem::take(&mut child.until_stop));
        Some(child.pass.take())
    }

    /// Returns what the policy is told of a child that has finished.
    pub(crate) fn record(&self, index: usize) -> Option<ChildRecord> {
        let child = self.get(index)?;
        Some(ChildRecord { name: child.name.clone(), key: child.key.clone(), daemon: child.daemon })
    }

    /// Returns the indexes of the children that end with the stop, lowest first.
    pub(crate) fn until_stop(&self) -> Vec<usize> {
        if self.until_stop == 0 {
            // Most looks find none, and there are as many as rounds after the stop.
            return Vec::new();
        }
        self.iter().filter(|(_, child)| child.until_stop).map(|(index, _)| index).collect()
    }

    /// Counts the children as ended, all at once.
    pub(super) fn count_none(&mut self) {
        (self.daemons, self.until_stop) = (0, 0);
    }
}
