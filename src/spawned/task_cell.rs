//! What the two halves of a spawned child have in common.
//!
//! Three meet here, each on whatever thread it is: the *work*, which an executor polls; the
//! *launcher*, who calls the spawner; and the *group*, which waits for the outcome.
//!
//! # States
//!
//! Three bits, which are set and never cleared:
//!
//! - `SPAWNED`, by the launcher: the call of the spawner is over. It may have panicked.
//! - `DONE`, by the work, whose future is gone then, or by the launcher if the spawner has
//!   panicked: there is an outcome.
//! - `ABANDONED`, by the group: it has dropped the child. The work is not polled on.
//!
//! # Invariants
//!
//! - The outcome is stored before `DONE` is set, and the group takes it only when `SPAWNED` is
//!   set too: by then it is known whether the spawner has panicked. Whoever sets the later of
//!   the two reports to the group.
//! - A spawner's panic takes the place of any other outcome, and no other takes its. (What
//!   becomes of the work of a call that has panicked, nobody knows: mostly it is dropped, which
//!   is an outcome too, before the panic is caught.)
//! - Once `ABANDONED` and `DONE` are set, the outcome is dropped by whoever set the later of them.
//! - The work looks for `ABANDONED` after it has registered its waker, and the group wakes that one
//!   after it has set `ABANDONED`. So neither misses the other.
//! - Nothing of the user's is polled, dropped or woken under the lock, which is around the
//!   outcome alone.

use core::task::Waker;

use super::completions::Reporter;
use crate::util::lock::Mutex;
use crate::util::panic::{Payload, catch, discard};
use crate::util::sync::{AtomicU8, AtomicWaker, Ordering};

const SPAWNED: u8 = 1;
const DONE: u8 = 2;
const ABANDONED: u8 = 4;

const COMPLETE: u8 = SPAWNED | DONE;

/// How a spawned child has ended.
pub(super) enum Completion<T, E> {
    Finished(Result<T, E>),
    /// The child has panicked, in its poll or its destructor; or the spawner has.
    Panicked(Payload),
    /// The executor has dropped it before it was done.
    Lost,
}

pub(super) struct TaskCell<T, E> {
    state: AtomicU8,
    outcome: Mutex<Option<Completion<T, E>>>,
    /// The work's task.
    work: AtomicWaker,
}

/// Drops what nobody wants, with whatever panic comes of it.
fn drop_quietly<T, E>(outcome: Option<Completion<T, E>>) {
    match outcome {
        Some(Completion::Finished(result)) => {
            let _ = catch(|| drop(result)).map_err(discard);
        }
        Some(Completion::Panicked(payload)) => discard(payload),
        Some(Completion::Lost) | None => {}
    }
}

impl<T, E> TaskCell<T, E> {
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(0), outcome: Mutex::new(None), work: AtomicWaker::new() }
    }

    pub(super) fn take(&self) -> Option<Completion<T, E>> {
        self.outcome.lock().take()
    }

    /// Whether the group has dropped the child.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Sets bits, and does what falls to the one who sets them.
    fn mark(&self, bits: u8, way: Reporter<'_>) {
        // Release: who sees the bits sees the outcome. Acquire: who sets the later bit of two
        // sees what the other has done.
        let before = self.state.fetch_or(bits, Ordering::AcqRel);
        let now = before | bits;
        if now & ABANDONED != 0 {
            if now & DONE != 0 {
                drop_quietly(self.take());
            }
        } else if now & COMPLETE == COMPLETE && before & COMPLETE != COMPLETE {
            // The waker of a task may panic, which is its executor's fault, and not to be a
            // panic of this one's.
            let _ = catch(|| way.report()).map_err(discard);
        }
    }

    // --- the work

    /// Leaves the waker of the work's task; false where the group has dropped the child.
    pub(super) fn wait(&self, waker: &Waker) -> bool {
        self.work.register(waker);
        !self.is_abandoned()
    }

    /// The work is gone, and this is what came of it.
    pub(super) fn finish(&self, way: Reporter<'_>, outcome: Completion<T, E>) {
        let unwanted = {
            let mut slot = self.outcome.lock();
            match &*slot {
                None => slot.replace(outcome),
                Some(_) => Some(outcome),
            }
        };
        drop_quietly(unwanted);
        self.mark(DONE, way);
    }

    // --- the launcher

    /// The call of the spawner is over, and this is what it has thrown.
    pub(super) fn spawned(&self, way: Reporter<'_>, thrown: Option<Payload>) {
        match thrown {
            None => self.mark(SPAWNED, way),
            Some(payload) => {
                let before = self.outcome.lock().replace(Completion::Panicked(payload));
                drop_quietly(before);
                self.mark(SPAWNED | DONE, way);
            }
        }
    }

    // --- the group

    /// Whether the outcome may be taken.
    pub(super) fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) & COMPLETE == COMPLETE
    }

    /// The child is dropped, and nobody wants the outcome: tells the work.
    pub(super) fn abandon(&self) {
        let before = self.state.fetch_or(ABANDONED, Ordering::AcqRel);
        let _ = catch(|| self.work.wake()).map_err(discard);
        if before & DONE != 0 {
            match self.take() {
                // Its destructor's panic is the child's, and goes to the group.
                Some(Completion::Finished(result)) => drop(result),
                other => drop_quietly(other),
            }
        }
    }
}
