//! What the two halves of a spawned child have in common.
//!
//! Three meet here, each on whatever thread it is: the *work*, which an executor polls; the
//! *launcher*, who calls the spawner; and the *group*, which waits for the completion.
//!
//! # States
//!
//! Three bits, which are set and never cleared:
//!
//! - `SPAWNED`, by the launcher: the call of the spawner is over. It may have panicked.
//! - `DONE`, by the work, whose future is gone then, or by the launcher if the spawner has
//!   panicked: there is an completion.
//! - `ABANDONED`, by the group: it has dropped the child. The work is not polled on.
//!
//! # Invariants
//!
//! - The completion is stored before `DONE` is set, and the group takes it only when `SPAWNED` is
//!   set too: by then it is known whether the spawner has panicked. Whoever sets the later of
//!   the two reports to the group.
//! - A spawner's panic takes the place of any other completion, and no other takes its. (What
//!   becomes of the work of a call that has panicked, nobody knows: mostly it is dropped, which
//!   is an completion too, before the panic is caught.)
//! - Once `ABANDONED` and `DONE` are set, the completion is dropped by whoever set the later of them.
//! - The work looks for `ABANDONED` after it has registered its waker, and the group wakes that one
//!   after it has set `ABANDONED`. So neither misses the other.
//! - Nothing of the user's is polled, dropped or woken under the lock, which is around the
//!   completion alone.

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
    completion: Mutex<Option<Completion<T, E>>>,
    /// The work's task.
    task: AtomicWaker,
}

/// Drops what nobody wants, with whatever panic comes of it.
fn drop_quietly<T, E>(completion: Option<Completion<T, E>>) {
    match completion {
        Some(Completion::Finished(result)) => {
            let _ = catch(|| drop(result)).map_err(discard);
        }
        Some(Completion::Panicked(payload)) => discard(payload),
        Some(Completion::Lost) | None => {}
    }
}

impl<T, E> TaskCell<T, E> {
    pub(super) fn new() -> Self {
        Self { state: AtomicU8::new(0), completion: Mutex::new(None), task: AtomicWaker::new() }
    }

    pub(super) fn take_completion(&self) -> Option<Completion<T, E>> {
        self.completion.lock().take()
    }

    /// Whether the group has dropped the child.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Sets bits, and does what falls to the one who sets them.
    fn set(&self, bits: u8, reporter: Reporter<'_>) {
        // Release: who sees the bits sees the completion. Acquire: who sets the later bit of two
        // sees what the other has done.
        let before = self.state.fetch_or(bits, Ordering::AcqRel);
        let now = before | bits;
        if now & ABANDONED != 0 {
            if now & DONE != 0 {
                drop_quietly(self.take_completion());
            }
        } else if now & COMPLETE == COMPLETE && before & COMPLETE != COMPLETE {
            // The waker of a task may panic, which is its executor's fault, and not to be a
            // panic of this one's.
            let _ = catch(|| reporter.report()).map_err(discard);
        }
    }

    // --- the work

    /// Leaves the waker of the work's task; false where the group has dropped the child.
    pub(super) fn register(&self, waker: &Waker) -> bool {
        self.task.register(waker);
        !self.is_abandoned()
    }

    /// The work is gone, and this is what came of it.
    pub(super) fn complete(&self, reporter: Reporter<'_>, completion: Completion<T, E>) {
        let unwanted = {
            let mut slot = self.completion.lock();
            match &*slot {
                None => slot.replace(completion),
                Some(_) => Some(completion),
            }
        };
        drop_quietly(unwanted);
        self.set(DONE, reporter);
    }

    // --- the launcher

    /// The call of the spawner is over, and this is what it has panic.
    pub(super) fn spawned(&self, reporter: Reporter<'_>, panic: Option<Payload>) {
        match panic {
            None => self.set(SPAWNED, reporter),
            Some(payload) => {
                let before = self.completion.lock().replace(Completion::Panicked(payload));
                drop_quietly(before);
                self.set(SPAWNED | DONE, reporter);
            }
        }
    }

    // --- the group

    /// Whether the completion may be taken.
    pub(super) fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) & COMPLETE == COMPLETE
    }

    /// The child is dropped, and nobody wants the completion: tells the work.
    pub(super) fn abandon(&self) {
        let before = self.state.fetch_or(ABANDONED, Ordering::AcqRel);
        let _ = catch(|| self.task.wake()).map_err(discard);
        if before & DONE != 0 {
            match self.take_completion() {
                // Its destructor's panic is the child's, and goes to the group.
                Some(Completion::Finished(result)) => drop(result),
                other => drop_quietly(other),
            }
        }
    }
}
