//! Permits of a semaphore that groups share, one for each child that has room.
//!
//! # Invariants
//!
//! - `held` is `spare` plus the number of the group's children and reservations that have room,
//!   whenever the queue has been processed. The queue has no use for what is spare then, so it is
//!   given back: at once, or after the round while children are polled, for newcomers to find.
//! - `wanted` says that the head of the queue fits and lacks only a permit. Then the group,
//!   whenever it is polled, waits for one.
//!
//! # Fairness
//!
//! The permit of a child that ends goes to the group's own queue, unknown to the semaphore; but
//! at most [`REUSE`] times in a row, over however many polls. Then the spare permits go back, and
//! the group asks again after a further poll, behind the tasks that were woken meanwhile. So a
//! group with much to do does not keep the permits from other groups.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use async_lock::Semaphore;
use async_lock::futures::AcquireArc;

use crate::util::lock::Mutex;
use crate::util::panic::quietly;
use crate::util::parent_waker::ParentWaker;
use crate::util::wake_flag::WakeFlag;

/// How many permits a group takes over from its own children before other groups have a turn.
const REUSE: usize = 32;

/// In how many polls it then leaves the permits alone: the one that gives them back and the next.
/// The task that is told of one may be this group's, and poll it before the other group.
const PAUSE: usize = 2;

pub(crate) struct Permits {
    semaphore: Arc<Semaphore>,
    held: usize,
    /// The permits among `held` that no child has at the moment.
    spare: usize,
    /// How many were used again since other groups had a turn.
    reused: usize,
    /// In how many polls other groups have their turn.
    paused: usize,
    pub(crate) wanted: bool,
    /// The group need not wait for a permit any more, and the wait is to be cancelled.
    pub(crate) cancel_acquire: bool,
}

/// Where the permits come from, and the wait for one.
///
/// A caller that finds that the group lacks no permit any more cancels the wait on its behalf:
/// the group may not be polled for long, and waiters behind it would not hear of a permit.
pub(crate) struct PermitSource {
    semaphore: Arc<Semaphore>,
    /// Taken out while it is polled or dropped, which is not done under the lock.
    pending: Mutex<Option<PendingAcquire>>,
}

/// A wait for a permit on behalf of the head of the queue.
struct PendingAcquire {
    future: Pin<Box<AcquireArc>>,
    flag: Arc<WakeFlag>,
    waker: Waker,
}

// === impl Permits ===

impl Permits {
    pub(crate) fn new(semaphore: Arc<Semaphore>) -> Self {
        Self {
            semaphore,
            held: 0,
            spare: 0,
            reused: 0,
            paused: 0,
            wanted: false,
            cancel_acquire: false,
        }
    }

    pub(crate) fn semaphore(&self) -> &Arc<Semaphore> {
        &self.semaphore
    }

    /// Takes one for a child, if there is one. Wakes no task.
    pub(crate) fn try_take(&mut self) -> bool {
        if self.spare > 0 {
            if self.reused >= REUSE && self.paused == 0 {
                self.paused = PAUSE;
            }
            if self.paused == 0 {
                self.spare -= 1;
                self.reused += 1;
                return true;
            }
        }
        if self.paused > 0 {
            return false;
        }
        let Some(permit) = self.semaphore.try_acquire() else {
            return false;
        };
        permit.forget();
        self.held += 1;
        true
    }

    /// Begins a poll: other groups may have had their turn.
    pub(crate) fn begin_poll(&mut self) {
        self.end_pause(1);
    }

    fn end_pause(&mut self, polls: usize) {
        if self.paused > 0 {
            self.paused = self.paused.saturating_sub(polls);
            if self.paused == 0 {
                self.reused = 0;
            }
        }
    }

    /// Ends a poll. A newcomer before the next poll need not wait for it if no child waits.
    pub(crate) fn end_poll(&mut self) {
        if !self.wanted {
            self.end_pause(PAUSE);
        }
    }

    /// Returns `true` if the group is to wait for a permit in this poll.
    pub(crate) fn may_wait(&self) -> bool {
        self.wanted && self.paused == 0
    }

    /// Takes over the permits of so many children, which are gone.
    pub(crate) fn free(&mut self, count: usize) {
        self.spare += count;
    }

    /// Takes over the permits of all children.
    pub(crate) fn free_all(&mut self) {
        self.spare = self.held;
    }

    /// Takes over a permit that was acquired.
    pub(crate) fn add(&mut self) {
        self.held += 1;
        self.spare += 1;
    }

    /// Takes out what is spare; returns how many are to be given back to the semaphore.
    pub(crate) fn take_spare(&mut self) -> usize {
        self.held -= self.spare;
        core::mem::take(&mut self.spare)
    }
}

// === impl PermitSource ===

impl PermitSource {
    pub(crate) fn new(semaphore: &Arc<Semaphore>) -> Box<Self> {
        Box::new(Self { semaphore: Arc::clone(semaphore), pending: Mutex::default() })
    }

    pub(crate) fn add_permits(&self, count: usize) {
        self.semaphore.add_permits(count);
    }

    /// Waits for a permit. Returns `true` if it has come; it is the caller's then.
    pub(crate) fn poll_acquire(&self, parent: &Arc<ParentWaker>) -> bool {
        let before = self.pending.lock().take();
        let mut pending = before.unwrap_or_else(|| PendingAcquire::new(&self.semaphore, parent));
        let acquired = pending.poll();
        if !acquired {
            *self.pending.lock() = Some(pending);
        }
        acquired
    }

    /// Returns `true` if it waits, and was not woken since it was polled last.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pending.lock().as_ref().is_some_and(|pending| !pending.flag.is_woken())
    }

    /// Waits no more. The next waiter of the semaphore is told; a waker of it that panics is its
    /// executor's fault.
    pub(crate) fn cancel(&self) {
        let pending = self.pending.lock().take();
        quietly(|| drop(pending));
    }
}

// === impl PendingAcquire ===

impl PendingAcquire {
    fn new(semaphore: &Arc<Semaphore>, parent: &Arc<ParentWaker>) -> Self {
        let flag = WakeFlag::new(Arc::clone(parent));
        Self { future: Box::pin(semaphore.acquire_arc()), waker: WakeFlag::waker(&flag), flag }
    }

    /// Returns `true` if a permit has come; it is the caller's then.
    fn poll(&mut self) -> bool {
        if !self.flag.take_woken() {
            return false;
        }
        match self.future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(permit) => {
                permit.forget();
                true
            }
            Poll::Pending => false,
        }
    }
}

#[cfg(test)]
impl Permits {
    /// Returns how many permits the group has, and how many of them no child has.
    pub(super) fn held_and_spare(&self) -> (usize, usize) {
        (self.held, self.spare)
    }
}
