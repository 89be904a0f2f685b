//! What the two halves of a spawned child share.
//!
//! Three parties meet here, each on any thread: the *spawned future*, which an executor polls and
//! which holds the user's; the *spawning thread*, which calls the spawner; and the *group*, which
//! waits for the completion.
//!
//! # States
//!
//! Three bits, which are set and never cleared:
//!
//! - `SPAWNED`, set by the spawning thread: the call of the spawner is over. It may have panicked.
//! - `DONE`, set by the spawned future after it has dropped the user's future, or by the spawning
//!   thread if the spawner has panicked: there is a completion.
//! - `ABANDONED`, set by the group: it has dropped the child. The user's future is not polled any
//!   more.
//!
//! # Invariants
//!
//! - The completion is stored before `DONE` is set, and the group takes it only if `SPAWNED` is
//!   set too: then it is known whether the spawner has panicked. The party that sets the later of
//!   the two reports to the group.
//! - A spawner's panic replaces any other completion, and is not replaced by any. (What becomes of
//!   the spawned future if the spawner panics is not known. Mostly it is dropped before the panic
//!   is caught, which is a completion too.)
//! - Once `ABANDONED` and `DONE` are set, the party that set the later of the two drops the
//!   completion.
//! - The spawned future looks at `ABANDONED` after it has registered its task's waker, and the
//!   group wakes the task after it has set `ABANDONED`. So neither misses the other.
//! - No value, future or waker of the user's is dropped, polled or woken under the lock, which
//!   protects only the completion.

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
    /// The executor has dropped the child before it was done.
    Lost,
}

pub(super) struct TaskCell<T, E> {
    state: AtomicU8,
    completion: Mutex<Option<Completion<T, E>>>,
    /// The task that polls the spawned future.
    task: AtomicWaker,
}

/// Drops an unwanted completion, and discards the panic of its destructor.
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

    /// Returns `true` if the group has dropped the child.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Sets bits. If they are the last ones that were missing, reports or drops the completion.
    fn set(&self, bits: u8, reporter: Reporter<'_>) {
        // Release: a party that sees the bits sees the completion. Acquire: the party that sets
        // the later bit of two sees what the other one has done.
        let before = self.state.fetch_or(bits, Ordering::AcqRel);
        let now = before | bits;
        if now & ABANDONED != 0 {
            if now & DONE != 0 {
                drop_quietly(self.take_completion());
            }
        } else if now & COMPLETE == COMPLETE && before & COMPLETE != COMPLETE {
            // The waker of a task may panic. That is its executor's fault, and is not to become a
            // panic of this executor's, or of the spawning thread.
            let _ = catch(|| reporter.report()).map_err(discard);
        }
    }

    // --- called by the spawned future

    /// Registers the waker of the task. Returns `false` if the group has dropped the child.
    pub(super) fn register(&self, waker: &Waker) -> bool {
        self.task.register(waker);
        !self.is_abandoned()
    }

    /// Stores the completion. The user's future has been dropped.
    pub(super) fn complete(&self, reporter: Reporter<'_>, completion: Completion<T, E>) {
        let unwanted = {
            let mut stored = self.completion.lock();
            match &*stored {
                None => stored.replace(completion),
                Some(_) => Some(completion),
            }
        };
        drop_quietly(unwanted);
        self.set(DONE, reporter);
    }

    // --- called by the spawning thread

    /// Records that the call of the spawner is over, and its panic.
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

    // --- called by the group

    /// Returns `true` if the completion may be taken.
    pub(super) fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) & COMPLETE == COMPLETE
    }

    /// Tells the spawned future that the group has dropped the child, and has no use for the
    /// completion.
    pub(super) fn abandon(&self) {
        let before = self.state.fetch_or(ABANDONED, Ordering::AcqRel);
        let _ = catch(|| self.task.wake()).map_err(discard);
        if before & DONE != 0 {
            match self.take_completion() {
                // A panic of the result's destructor is the child's, and goes to the group.
                Some(Completion::Finished(result)) => drop(result),
                other => drop_quietly(other),
            }
        }
    }
}
