//! What readers without the lock know of the state.

use super::queue::ChildKey;
use super::state::State;
use crate::util::sync::{AtomicU8, AtomicUsize, Ordering};

/// Flags that say what the state says. They are written under its lock. A reader may see old ones;
/// what it does then is right, or a notification follows the store.
#[derive(Default)]
pub(crate) struct Hints(AtomicU8);

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
    /// Children have started that may go to the set.
    pub(crate) const STARTED: u8 = 1;
    /// A newcomer has to wait.
    pub(super) const MUST_WAIT: u8 = 1 << 1;
    /// A waiter of the group's own task has its turn or is refused, and was not polled since.
    pub(super) const GROUP_TURN: u8 = 1 << 2;
    /// The policy may have to be told more of a child in the set than its index.
    pub(super) const RECORDS: u8 = 1 << 3;
    /// The set may have children that end without a result.
    pub(crate) const ENDINGS: u8 = 1 << 4;
    /// Children were aborted in the queue, for the group to drop.
    pub(crate) const ABORTED: u8 = 1 << 5;
    /// More reservations are to be taken back.
    pub(super) const REVOKING: u8 = 1 << 6;
    /// Children have ended since the queue was last processed, and something may wait.
    pub(super) const FREED_ROOM: u8 = 1 << 7;

    /// What is updated after the queue was processed.
    pub(super) const PROCESSED: u8 = !Self::ENDINGS;

    /// Updates these flags after a change of the state. `FREED_ROOM` is cleared if it is one of
    /// them.
    #[inline(always)]
    pub(super) fn update(&self, which: u8, state: &State) {
        let is_set = |flag, is_set: &dyn Fn() -> bool| match which & flag {
            0 => 0,
            _ => u8::from(is_set()) * flag,
        };
        let others = self.0.load(Ordering::Relaxed) & !which;
        let flags = others
            | is_set(Self::STARTED, &|| state.starts.has_started())
            | is_set(Self::MUST_WAIT, &|| !state.admits_newcomers())
            | is_set(Self::GROUP_TURN, &|| state.group_turn)
            | is_set(Self::RECORDS, &|| state.has_records())
            | is_set(Self::ENDINGS, &|| state.has_endings())
            | is_set(Self::ABORTED, &|| state.has_aborted())
            | is_set(Self::REVOKING, &|| state.is_revoking);
        // Release, and acquire: a task that is notified after the store sees it.
        self.0.store(flags, Ordering::Release);
    }

    /// Records that children have ended, and something may wait.
    #[inline]
    pub(super) fn record_freed_room(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) | Self::FREED_ROOM, Ordering::Release);
    }

    /// Returns `true` if one of these flags is set.
    #[inline]
    pub(crate) fn has(&self, flags: u8) -> bool {
        self.0.load(Ordering::Acquire) & flags != 0
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
