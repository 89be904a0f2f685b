//! Permits of a semaphore that groups share, one for each child that has room.
//!
//! # Invariants
//!
//! - `held = spare +` the children of the group that have room, whenever the state is settled.
//!   Then nobody in line can use what is spare: it is given back at once; or, while children
//!   are polled, after the round, so that those who come in the meantime find it.
//! - `wanted` says that the first in line fits and lacks a permit alone. Then the group, whenever
//!   it is polled, waits for one.
//!
//! # Fairness
//!
//! The permit of a child that ends goes to the group's own line, without the semaphore's
//! knowing; but [`REUSE`] times in a row at most, over however many polls. Then what is spare
//! goes back, and the group asks again in its next poll, behind the tasks that were woken
//! meanwhile: so a group with much to do doesn't keep the permits from the others.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use async_lock::Semaphore;
use async_lock::futures::AcquireArc;

use crate::util::lock::Mutex;
use crate::util::parent_waker::ParentWaker;
use crate::util::wake_flag::WakeFlag;

/// How many permits a group takes over from its own children before it is the others' turn.
const REUSE: usize = 32;

pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    held: usize,
    /// Those of them that belong to nobody at the moment.
    spare: usize,
    /// How many were used again since it was the others' turn.
    reused: usize,
    /// It is the others' turn, until the next poll.
    paused: bool,
    pub(super) wanted: bool,
}

/// Where the permits come from, and who stands in line there.
///
/// Whoever finds that the group lacks no permit any more leaves that line in its stead: it may
/// not be polled for long, and whoever stands behind it would not hear of a permit.
pub(super) struct Source {
    semaphore: Arc<Semaphore>,
    /// Not here while it is polled, which is not done under the lock, nor is its drop.
    acquiring: Mutex<Option<Acquiring>>,
}

/// Waits for a permit in the stead of the first in line.
struct Acquiring {
    future: Pin<Box<AcquireArc>>,
    signal: Arc<WakeFlag>,
    waker: Waker,
}

// === impl Permits ===

impl Permits {
    pub(super) fn new(semaphore: Arc<Semaphore>) -> Self {
        Self { semaphore, held: 0, spare: 0, reused: 0, paused: false, wanted: false }
    }

    pub(super) fn semaphore(&self) -> &Arc<Semaphore> {
        &self.semaphore
    }

    /// Takes one for a child. Wakes nobody.
    pub(super) fn take(&mut self) -> bool {
        if self.spare > 0 {
            self.paused |= self.reused >= REUSE;
            if !self.paused {
                self.spare -= 1;
                self.reused += 1;
                return true;
            }
        }
        if self.paused {
            return false;
        }
        let Some(permit) = self.semaphore.try_acquire() else {
            return false;
        };
        permit.forget();
        self.held += 1;
        true
    }

    /// A new poll begins: the others have had their turn.
    pub(super) fn begin_poll(&mut self) {
        if core::mem::take(&mut self.paused) {
            self.reused = 0;
        }
    }

    /// A poll ends. Who comes before the next need not wait for it, where nobody does.
    pub(super) fn end_poll(&mut self) {
        if !self.wanted {
            self.begin_poll();
        }
    }

    /// Whether the group may ask for one in this poll.
    pub(super) fn may_wait(&self) -> bool {
        self.wanted && !self.paused
    }

    /// That many children who had one are gone.
    pub(super) fn free(&mut self, count: usize) {
        self.spare += count;
    }

    /// One more has come.
    pub(super) fn add(&mut self) {
        self.held += 1;
        self.spare += 1;
    }

    /// All children are gone.
    pub(super) fn free_all(&mut self) {
        self.spare = self.held;
    }

    /// How many are to be given back to the semaphore, once the lock is free.
    pub(super) fn give_back(&mut self) -> usize {
        self.held -= self.spare;
        core::mem::take(&mut self.spare)
    }
}

// === impl Source ===

impl Source {
    pub(super) fn new(semaphore: &Arc<Semaphore>) -> Box<Self> {
        Box::new(Self { semaphore: Arc::clone(semaphore), acquiring: Mutex::default() })
    }

    pub(super) fn add_permits(&self, count: usize) {
        self.semaphore.add_permits(count);
    }

    /// Waits for a permit. Whether one has come; it is the caller's then.
    pub(super) fn acquire(&self, parent: &Arc<ParentWaker>) -> bool {
        let before = self.acquiring.lock().take();
        let mut acquiring = before.unwrap_or_else(|| Acquiring::new(&self.semaphore, parent));
        let has_come = acquiring.poll();
        if !has_come {
            *self.acquiring.lock() = Some(acquiring);
        }
        has_come
    }

    /// Whether it waits, and nobody has told it to look since it last did.
    pub(super) fn is_waiting(&self) -> bool {
        self.acquiring.lock().as_ref().is_some_and(|acquiring| !acquiring.signal.is_woken())
    }

    /// Waits no more. Whoever stands behind in the semaphore's line is told.
    pub(super) fn leave(&self) {
        let acquiring = self.acquiring.lock().take();
        drop(acquiring);
    }
}

// === impl Acquiring ===

impl Acquiring {
    fn new(semaphore: &Arc<Semaphore>, parent: &Arc<ParentWaker>) -> Self {
        let signal = WakeFlag::new(Arc::clone(parent));
        Self { future: Box::pin(semaphore.acquire_arc()), waker: WakeFlag::waker(&signal), signal }
    }

    /// Whether a permit has come; it is the caller's then.
    fn poll(&mut self) -> bool {
        if !self.signal.take_woken() {
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
