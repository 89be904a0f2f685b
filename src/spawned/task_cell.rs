//! What the two halves of a spawned child share.
//!
//! Three parties meet here, each on any thread: the *spawned future*, which an executor polls and
//! which holds the user's; the *spawning thread*, which calls the spawner; and the *group*, which
//! waits for the completion.
//!
//! # States
//!
//! Bits, which are set and never cleared:
//!
//! - `SPAWNED`, set by the spawning thread: the call of the spawner is over. It may have panicked,
//!   and then, with `std`, `SPAWNER_PANICKED` is set with it. What it has returned is kept.
//! - `DONE`, set by the spawned future after it has dropped the user's future, or by the spawning
//!   thread if the spawner has panicked: there is a completion. Set with it: `OK`, `FAILED` or
//!   `LOST`, or none of them if the child has panicked.
//! - `ABANDONED`, set by the group: it has dropped the child. The user's future is not polled any
//!   more.
//!
//! # Invariants
//!
//! - The completion is stored before `DONE` is set, and the group takes it only if `SPAWNED` is
//!   set too: then it is known whether the spawner has panicked. The party that sets the later of
//!   the two reports to the group.
//! - A child that panics after the group has dropped it, as its destructor may, does not report.
//!   Its panic is kept for the group's end. So is that of what the spawner returns too late.
//! - A spawner's panic replaces any other completion, and is not replaced by any. (What becomes of
//!   the spawned future if the spawner panics is not known. Mostly it is dropped before the panic
//!   is caught, which is a completion too.)
//! - A completion that is there once `ABANDONED` and `DONE` are both set is dropped by the party
//!   that sets the later of the two; likewise what the spawner has returned, with `ABANDONED` and
//!   `SPAWNED`. If the group takes the completion first, it drops that with the child. So the
//!   executor never does, which may be in the midst of the child's last poll.
//! - The spawned future looks at `ABANDONED` after it has registered its task's waker, and the
//!   group wakes the task after it has set `ABANDONED`. So neither misses the other.
//! - No value, future or waker of the user's is dropped, polled or woken under a lock: they protect
//!   only the completion and what the spawner has returned.

use core::any::Any;
use core::fmt;
use core::task::Waker;

use super::completions::Completions;
use crate::observe::Outcome;
use crate::util::lock::Mutex;
use crate::util::panic::{FirstPanic, Payload, catch, discard, quietly};
use crate::util::sync::{Arc, AtomicU8, Ordering};
use crate::util::task_waker::TaskWaker;

const SPAWNED: u8 = 1;
const DONE: u8 = 2;
const ABANDONED: u8 = 4;
const OK: u8 = 8;
const FAILED: u8 = 16;
const LOST: u8 = 32;
const SPAWNER_PANICKED: u8 = 64;

const COMPLETE: u8 = SPAWNED | DONE;

/// How a spawned child has ended.
pub(super) enum Completion<T, E> {
    Finished(Result<T, E>),
    /// The child has panicked, in its poll or its destructor; or the spawner has.
    Panicked(Payload),
    /// The executor has dropped the child before it was done.
    Lost,
}

/// `K` keeps what the spawner returns, of whatever type: it is a [`Kept`].
pub struct TaskCell<T, E, K: ?Sized> {
    /// Where the child reports, and its index.
    completions: Arc<Completions>,
    index: usize,
    state: AtomicU8,
    completion: Mutex<Option<Completion<T, E>>>,
    /// The task that polls the spawned future.
    task: TaskWaker,
    kept: K,
}

/// Keeps what a spawner returns, of whatever type.
pub trait Keep {
    /// Takes what the spawner has returned: an `Option` of its type.
    #[doc(hidden)]
    fn keep(&self, returned: &mut dyn Any);

    /// Drops what it keeps, which may panic.
    #[doc(hidden)]
    fn clear(&self);
}

/// Keeps an `R`.
pub(super) struct Kept<R>(Mutex<Option<R>>);

impl<R: 'static> Keep for Kept<R> {
    fn keep(&self, returned: &mut dyn Any) {
        if let Some(returned) = returned.downcast_mut::<Option<R>>() {
            *self.0.lock() = returned.take();
        }
    }

    fn clear(&self) {
        if core::mem::needs_drop::<R>() {
            let kept = self.0.lock().take();
            drop(kept);
        }
    }
}

/// Returns how a child has ended that has set these bits.
fn outcome(bits: u8) -> Outcome {
    match bits & (OK | FAILED | LOST | SPAWNER_PANICKED) {
        OK => Outcome::Ok,
        FAILED => Outcome::Failed,
        LOST => Outcome::Dropped,
        _ => Outcome::Panicked,
    }
}

impl<T, E> Completion<T, E> {
    /// Drops the result. Returns the panic of its destructor, or that of the child.
    fn into_panic(self) -> Option<Payload> {
        match self {
            Self::Finished(result) => catch(|| drop(result)).err(),
            Self::Panicked(payload) => Some(payload),
            Self::Lost => None,
        }
    }
}

/// Drops an unwanted completion, and discards its panic.
fn drop_quietly<T, E>(completion: Option<Completion<T, E>>) {
    completion.and_then(Completion::into_panic).into_iter().for_each(discard);
}

impl<T, E, K: ?Sized> fmt::Debug for TaskCell<T, E, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskCell(..)")
    }
}

impl<T, E, R> TaskCell<T, E, Kept<R>> {
    /// Makes the cell of a child whose spawner returns an `R`.
    pub(super) fn new(completions: Arc<Completions>, index: usize) -> Self {
        Self {
            completions,
            index,
            state: AtomicU8::new(0),
            completion: Mutex::new(None),
            task: TaskWaker::new(),
            kept: Kept(Mutex::new(None)),
        }
    }
}

impl<T, E, K: Keep + ?Sized> TaskCell<T, E, K> {
    pub(super) fn completions(&self) -> &Completions {
        &self.completions
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Returns what keeps what the spawner returns.
    pub(super) fn kept(&self) -> &K {
        &self.kept
    }

    pub(super) fn take_completion(&self) -> Option<Completion<T, E>> {
        self.completion.lock().take()
    }

    /// Returns `true` if the group has dropped the child.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) & ABANDONED != 0
    }

    /// Sets bits. If they are the last ones that were missing, reports or drops the completion.
    /// Returns `true` if the group has dropped the child.
    fn set(&self, bits: u8) -> bool {
        // Release: a party that sees the bits sees the completion. Acquire: the party that sets
        // the later bit of two sees what the other one has done.
        let before = self.state.fetch_or(bits, Ordering::AcqRel);
        let now = before | bits;
        if now & ABANDONED != 0 {
            let panic = self.take_completion().and_then(Completion::into_panic);
            panic.into_iter().for_each(|payload| self.completions.keep_late_panic(payload));
        } else if now & COMPLETE == COMPLETE && before & COMPLETE != COMPLETE {
            // The waker of a task may panic. That is its executor's fault, and is not to become a
            // panic of this executor's, or of the spawning thread.
            quietly(|| self.completions.report((self.index, outcome(now))));
        }
        now & ABANDONED != 0
    }

    // --- called by the spawned future

    /// Registers the waker of the task. Returns `false` if the group has dropped the child.
    pub(super) fn register(&self, waker: &Waker) -> bool {
        self.task.register(waker);
        !self.is_abandoned()
    }

    /// Stores the completion. The user's future has been dropped.
    pub(super) fn complete(&self, completion: Completion<T, E>) {
        let bits = match &completion {
            Completion::Finished(Ok(_)) => DONE | OK,
            Completion::Finished(Err(_)) => DONE | FAILED,
            Completion::Lost => DONE | LOST,
            Completion::Panicked(_) => DONE,
        };
        let unwanted = {
            let mut stored = self.completion.lock();
            match &*stored {
                None => stored.replace(completion),
                Some(_) => Some(completion),
            }
        };
        drop_quietly(unwanted);
        self.set(bits);
    }

    // --- called by the spawning thread

    /// Records that the call of the spawner is over, and its panic. What it has returned is
    /// [kept](Keep::keep) before.
    pub(super) fn spawned(&self, result: Result<(), Payload>) {
        let abandoned = match result {
            Ok(()) => self.set(SPAWNED),
            Err(payload) => {
                let panicked = Completion::Panicked(payload);
                let before = self.completion.lock().replace(panicked);
                drop_quietly(before);
                self.set(SPAWNED | DONE | SPAWNER_PANICKED)
            }
        };
        if abandoned {
            let panic = catch(|| self.kept.clear()).err();
            panic.into_iter().for_each(|payload| self.completions.keep_late_panic(payload));
        }
    }

    // --- called by the group

    /// Returns `true` if the completion may be taken.
    pub(super) fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) & COMPLETE == COMPLETE
    }

    /// Lets the child not report any more, if it is not complete: the group drops it next. Returns
    /// `false` if it is, and has reported or is about to.
    pub(super) fn try_abandon(&self) -> bool {
        let abandoned = |bits| (bits & COMPLETE != COMPLETE).then_some(bits | ABANDONED);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, abandoned).is_ok()
    }

    /// Tells the spawned future that the group has dropped the child, and has no use for the
    /// completion.
    pub(super) fn abandon(&self) {
        let before = self.state.fetch_or(ABANDONED, Ordering::AcqRel);
        self.task.wake();
        let mut panic = FirstPanic::default();
        match self.take_completion() {
            // It had panicked, and goes with its group.
            Some(Completion::Panicked(payload)) if before & ABANDONED == 0 => discard(payload),
            // A panic of the result's destructor is the child's, and goes to the group. So does
            // that of a child which has panicked since it was abandoned.
            other => {
                let unwanted = other.and_then(Completion::into_panic);
                unwanted.into_iter().for_each(|payload| panic.keep(payload));
            }
        }
        panic.guard(|| self.kept.clear());
        panic.throw();
    }
}
