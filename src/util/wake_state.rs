//! What the waker of a child knows of its child.
//!
//! # Invariants
//!
//! - A waker is `woken` from a wake-up until the next poll of its child begins. The thread that
//!   sets `woken` sets the child's ready bit next; while it is set, further wake-ups do nothing.
//! - A waker of which there is no clone is *unique*: only the poll that lends it can wake by it.

use crate::util::sync::{AtomicBool, AtomicU8, Ordering};

#[derive(Debug, Default)]
pub(crate) struct WakeState {
    woken: AtomicBool,
    /// The child woke itself in the poll that goes on, when there was no clone of its waker. Apart
    /// from `woken`, so that this needs no read-modify-write: only the poll writes and reads it.
    yielded: AtomicBool,
    /// The child's ready bit. Fixed before the poll in which a clone may be made.
    bit: AtomicU8,
}

impl WakeState {
    /// Begins a poll of the child with that bit, to which the waker is lent. It is unique.
    #[inline]
    pub(crate) fn reset_for(&self, bit: usize) {
        // Relaxed: a clone is made after this, in the poll that follows.
        self.bit.store(bit as u8, Ordering::Relaxed);
        self.woken.store(false, Ordering::Relaxed);
        self.yielded.store(false, Ordering::Relaxed);
    }

    /// Begins a poll of the child that has kept the waker: a wake-up from here on counts anew.
    #[inline]
    pub(crate) fn begin_poll(&self, is_unique: bool) {
        if is_unique {
            self.woken.store(false, Ordering::Relaxed);
        } else {
            // Acquire: the child sees what was done before it was woken. An exchange, since
            // it must be the last wake-up that it reads from.
            self.woken.swap(false, Ordering::AcqRel);
        }
    }

    /// Ends a poll that was pending. Returns `true` if the child was woken meanwhile; it then
    /// counts as woken.
    #[inline]
    pub(crate) fn end_poll(&self, is_unique: impl FnOnce() -> bool) -> bool {
        // Relaxed: a child that is woken is polled again, and that begins with an acquire.
        if !self.yielded.load(Ordering::Relaxed) {
            return self.woken.load(Ordering::Relaxed);
        }
        self.yielded.store(false, Ordering::Relaxed);
        if is_unique() {
            self.woken.store(true, Ordering::Relaxed);
        } else {
            // An exchange: it must not hide what another wake-up has released.
            self.woken.swap(true, Ordering::AcqRel);
        }
        true
    }

    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Relaxed)
    }

    /// Makes the waker fit for the next child, if it is unique. Otherwise it must not be used again
    /// before it is.
    #[inline]
    pub(crate) fn recycle(&self, is_unique: bool) {
        self.yielded.store(false, Ordering::Relaxed);
        // Woken for good if it can't be used again: a wake-up by a clone stops there, and wakes
        // no task.
        self.woken.store(!is_unique, Ordering::Relaxed);
    }

    /// Records a wake-up. Returns the bit that is to be set, if any.
    #[inline]
    pub(crate) fn wake(&self, is_unique: bool) -> Option<u8> {
        if is_unique {
            // So this is the waker that was lent for the poll that goes on, which looks at
            // `yielded` when it ends.
            self.yielded.store(true, Ordering::Relaxed);
            return None;
        }
        // First `woken`, then the bit: a thread that takes the bit sees `woken`.
        let is_first = !self.woken.swap(true, Ordering::AcqRel);
        is_first.then(|| self.bit.load(Ordering::Relaxed))
    }
}
