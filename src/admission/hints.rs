//! What readers without the lock know of the state.

use super::queue::ChildKey;
use super::state::State;
use crate::util::sync::{AtomicBool, AtomicUsize, Ordering};

/// Copies of what the state says. They are written under its lock. A reader may see an old copy;
/// what it does then is right, or a notification follows the store.
#[derive(Default)]
pub(crate) struct Hints {
    has_started: AtomicBool,
    must_wait: AtomicBool,
    group_turn: AtomicBool,
    has_records: AtomicBool,
    has_endings: AtomicBool,
    has_aborted: AtomicBool,
    must_process: AtomicBool,
    is_revoking: AtomicBool,
}

/// The child that a `go` of the group has brought last. Only the group's task uses it.
pub(crate) struct OwnChild {
    /// The key of the child until it goes to the set, then [`NONE`].
    key: AtomicUsize,
    /// Its index from then on.
    index: AtomicUsize,
}

const NONE: usize = usize::MAX;

// === impl Hints ===

impl Hints {
    /// Returns the hints of a state that is about to be shared.
    pub(super) fn of(state: &State) -> Self {
        let hints = Self::default();
        hints.has_started.store(state.starts.has_started(), Ordering::Relaxed);
        hints.must_wait.store(!state.admits_newcomers(), Ordering::Relaxed);
        hints
    }

    /// Updates them after the queue was processed.
    #[inline]
    pub(super) fn update(&self, state: &State) {
        if state.starts.has_started() {
            self.has_started.store(true, Ordering::Release);
        }
        self.update_room(state);
        self.group_turn.store(state.group_turn, Ordering::Relaxed);
        self.has_records.store(state.has_records(), Ordering::Relaxed);
        self.must_process.store(false, Ordering::Relaxed);
        self.is_revoking.store(state.is_revoking, Ordering::Relaxed);
        if state.has_aborted() {
            self.has_aborted.store(true, Ordering::Relaxed);
        }
    }

    /// Updates them after a child has taken room, or has freed it and nothing waits.
    #[inline]
    pub(super) fn update_room(&self, state: &State) {
        self.must_wait.store(!state.admits_newcomers(), Ordering::Relaxed);
    }

    /// Updates them after a child has started and nothing else has changed.
    #[inline]
    pub(super) fn record_started(&self, state: &State) {
        self.has_started.store(true, Ordering::Release);
        self.update_room(state);
        self.has_records.store(state.has_records(), Ordering::Relaxed);
    }

    /// Updates them after a child has ended.
    #[inline]
    pub(super) fn record_finished(&self, state: &State) {
        // Mostly they say so already.
        if self.must_wait() {
            self.update_room(state);
        }
        if self.has_records() {
            self.has_records.store(state.has_records(), Ordering::Relaxed);
        }
    }

    /// Records that the queue is to be processed: children have ended, and something may wait.
    #[inline]
    pub(super) fn record_freed_room(&self) {
        self.must_process.store(true, Ordering::Relaxed);
    }

    /// Updates them when the children that have started go to the set.
    #[inline]
    pub(super) fn record_taken(&self, state: &State) {
        self.has_started.store(false, Ordering::Release);
        self.has_endings.store(state.has_endings(), Ordering::Relaxed);
    }

    /// Updates them when the children that were aborted in the queue are taken out.
    pub(super) fn record_aborted_taken(&self) {
        self.has_aborted.store(false, Ordering::Relaxed);
    }

    /// Returns `true` if children have started that may go to the set.
    #[inline]
    pub(crate) fn has_started(&self) -> bool {
        // Acquire: the task that notified of the children did so after the store.
        self.has_started.load(Ordering::Acquire)
    }

    /// Returns `true` if a newcomer had to wait when the lock was last free.
    #[inline]
    pub(super) fn must_wait(&self) -> bool {
        self.must_wait.load(Ordering::Relaxed)
    }

    /// Returns `true` if a waiter of the group's own task has its turn and was not polled since.
    pub(super) fn has_group_turn(&self) -> bool {
        self.group_turn.load(Ordering::Relaxed)
    }

    /// Returns `true` if the policy may have to be told more of a child in the set than its index:
    /// the child was taken in under the lock, after the store.
    #[inline]
    pub(crate) fn has_records(&self) -> bool {
        self.has_records.load(Ordering::Relaxed)
    }

    /// Returns `true` if the set may have children that end without a result.
    #[inline]
    pub(crate) fn has_endings(&self) -> bool {
        self.has_endings.load(Ordering::Relaxed)
    }

    /// Returns `true` if children were aborted in the queue, for the group to drop. If the group
    /// looks too early, it is notified after the store.
    #[inline]
    pub(crate) fn has_aborted(&self) -> bool {
        self.has_aborted.load(Ordering::Relaxed)
    }

    /// Returns `true` if children have ended since the queue was last processed, and something may
    /// wait.
    #[inline]
    pub(super) fn must_process(&self) -> bool {
        self.must_process.load(Ordering::Relaxed)
    }

    /// Returns `true` if more reservations are to be taken back.
    pub(super) fn is_revoking(&self) -> bool {
        self.is_revoking.load(Ordering::Relaxed)
    }
}

// === impl OwnChild ===

impl OwnChild {
    /// Remembers a child that waits to go to the set.
    #[inline]
    pub(super) fn set_key(&self, key: ChildKey) {
        self.key.store(key, Ordering::Relaxed);
        self.index.store(NONE, Ordering::Relaxed);
    }

    /// Remembers a child that is in the set.
    #[inline]
    pub(super) fn set_index(&self, index: usize) {
        self.key.store(NONE, Ordering::Relaxed);
        self.index.store(index, Ordering::Relaxed);
    }

    /// Records a child that goes to the set.
    #[inline]
    pub(super) fn record_taken(&self, key: ChildKey, index: usize) {
        if self.key.load(Ordering::Relaxed) == key {
            self.set_index(index);
        }
    }

    /// Returns the index of the child, if it has gone to the set.
    pub(super) fn index(&self) -> Option<usize> {
        Some(self.index.load(Ordering::Relaxed)).filter(|index| *index != NONE)
    }

    /// Returns `true` if the child has not gone to the set yet.
    pub(super) fn waits(&self) -> bool {
        self.key.load(Ordering::Relaxed) != NONE
    }
}

impl Default for OwnChild {
    fn default() -> Self {
        Self { key: AtomicUsize::new(NONE), index: AtomicUsize::new(NONE) }
    }
}
