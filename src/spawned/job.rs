//! What the two halves of a spawned child have in common.
//!
//! Three meet here, each on whatever thread it is: the *work*, which an executor polls; the
//! *launcher*, who calls the spawner; and the *group*, which waits for the outcome.
//!
//! # States
//!
//! Three bits, which are set and never cleared:
//!
//! - `LAUNCHED`, by the launcher: the call of the spawner is over. It may have panicked.
//! - `DONE`, by the work, whose future is gone then, or by the launcher if the spawner has
//!   panicked: there is an outcome.
//! - `OVER`, by the group: it has dropped the child. The work is not polled on.
//!
//! # Invariants
//!
//! - The outcome is stored before `DONE` is set, and the group takes it only when `LAUNCHED` is
//!   set too: by then it is known whether the spawner has panicked. Whoever sets the later of
//!   the two wakes the group.
//! - A spawner's panic takes the place of any other outcome, and no other takes its. (What
//!   becomes of the work of a call that has panicked, nobody knows: mostly it is dropped, which
//!   is an outcome too, before the panic is caught.)
//! - Once `OVER` and `DONE` are set, the outcome is dropped by whoever set the later of them.
//! - The work looks for `OVER` after it has registered its waker, and the group wakes that one
//!   after it has set `OVER`; likewise with the group's waker and what it waits for. So
//!   neither misses the other.
//! - Nothing of the user's is polled, dropped or woken under the lock, which is around the
//!   outcome alone.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;

use crate::context;
use crate::lock::Lock;
use crate::panic::{Payload, catch, discard};

const LAUNCHED: u8 = 1;
const DONE: u8 = 2;
const OVER: u8 = 4;

/// How a spawned child has ended.
pub(super) enum Outcome<T, E> {
    Finished(Result<T, E>),
    /// The child has panicked, in its poll or its destructor; or the spawner has.
    Panicked(Payload),
    /// The executor has dropped it before it was done.
    Lost,
}

pub(super) struct Job<T, E> {
    state: AtomicU8,
    outcome: Lock<Option<Outcome<T, E>>>,
    /// The child's, in the group's set.
    child: AtomicWaker,
    /// The work's task.
    work: AtomicWaker,
    /// Which child of which group it is; written before the work is handed to the spawner.
    group: AtomicUsize,
    index: AtomicUsize,
}

/// Drops what nobody wants, with whatever panic comes of it.
fn bury<T, E>(outcome: Option<Outcome<T, E>>) {
    match outcome {
        Some(Outcome::Finished(result)) => {
            let _ = catch(|| drop(result)).map_err(discard);
        }
        Some(Outcome::Panicked(payload)) => discard(payload),
        Some(Outcome::Lost) | None => {}
    }
}

impl<T, E> Job<T, E> {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU8::new(0),
            outcome: Lock::new(None),
            child: AtomicWaker::new(),
            work: AtomicWaker::new(),
            group: AtomicUsize::new(0),
            index: AtomicUsize::new(0),
        }
    }

    pub(super) fn take(&self) -> Option<Outcome<T, E>> {
        self.outcome.lock().take()
    }

    /// Notes which child it is, before it is started.
    pub(super) fn seat(&self, group: usize, index: usize) {
        self.group.store(group, Ordering::Relaxed);
        self.index.store(index, Ordering::Relaxed);
    }

    /// Whether the group has dropped the child.
    pub(super) fn is_over(&self) -> bool {
        self.state.load(Ordering::Acquire) & OVER != 0
    }

    /// Sets bits, and does what falls to the one who sets them.
    fn mark(&self, bits: u8) {
        const BOTH: u8 = LAUNCHED | DONE;
        // Release: who sees the bits sees the outcome. Acquire: who sets the later bit of two
        // sees what the other has done.
        let before = self.state.fetch_or(bits, Ordering::AcqRel);
        let now = before | bits;
        if now & OVER != 0 {
            if now & DONE != 0 {
                bury(self.take());
            }
        } else if now & BOTH == BOTH && before & BOTH != BOTH {
            // The waker of a task may panic, which is its executor's fault, and not to be a
            // panic of this one's.
            let _ = catch(|| self.child.wake()).map_err(discard);
        }
    }

    // --- the work

    /// Runs `f` as a part of the child's poll.
    pub(super) fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        let group = self.group.load(Ordering::Relaxed);
        context::inside(group, self.index.load(Ordering::Relaxed), f)
    }

    /// Leaves the waker of the work's task; false where the group has dropped the child.
    pub(super) fn wait(&self, waker: &Waker) -> bool {
        self.work.register(waker);
        !self.is_over()
    }

    /// The work is gone, and this is what came of it.
    pub(super) fn finish(&self, outcome: Outcome<T, E>) {
        let unwanted = {
            let mut stored = self.outcome.lock();
            match *stored {
                None => stored.replace(outcome),
                Some(_) => Some(outcome),
            }
        };
        bury(unwanted);
        self.mark(DONE);
    }

    // --- the launcher

    /// The call of the spawner is over, and this is what it has thrown.
    pub(super) fn launched(&self, thrown: Option<Payload>) {
        match thrown {
            None => self.mark(LAUNCHED),
            Some(payload) => {
                let before = self.outcome.lock().replace(Outcome::Panicked(payload));
                bury(before);
                self.mark(LAUNCHED | DONE);
            }
        }
    }

    // --- the group

    fn is_settled(&self) -> bool {
        const BOTH: u8 = LAUNCHED | DONE;
        self.state.load(Ordering::Acquire) & BOTH == BOTH
    }

    /// Waits for the outcome.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Outcome<T, E>> {
        if !self.is_settled() {
            self.child.register(cx.waker());
            if !self.is_settled() {
                return Poll::Pending;
            }
        }
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// The child is dropped, and nobody wants the outcome: tells the work.
    pub(super) fn give_up(&self) {
        let before = self.state.fetch_or(OVER, Ordering::AcqRel);
        let _ = catch(|| self.work.wake()).map_err(discard);
        drop(self.child.take());
        if before & DONE != 0 {
            match self.take() {
                // Its destructor's panic is the child's, and goes to the group.
                Some(Outcome::Finished(result)) => drop(result),
                other => bury(other),
            }
        }
    }
}
