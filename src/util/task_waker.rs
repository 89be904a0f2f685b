//! The waker of a task that waits, kept for those that wake it.

use core::task::Waker;

use super::lock::Mutex;
use super::panic::quietly;
use super::sync::{AtomicUsize, Ordering};

/// Keeps the waker of the task that waits. A waker is user code: none is cloned, woken or dropped
/// under the lock, and one that panics leaves nothing half done. One thread registers at a time;
/// any thread wakes.
#[derive(Debug, Default)]
pub(crate) struct TaskWaker {
    task: Mutex<Option<Waker>>,
    /// The addresses of the waker's data and of its functions, written under the lock; `vtable` is
    /// 0 if there is no waker. So a task that is registered is recognized without the lock.
    data: AtomicUsize,
    vtable: AtomicUsize,
}

impl TaskWaker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Keeps a clone of `waker` in place of the last one. If the clone panics, nothing has changed.
    pub(crate) fn register(&self, waker: &Waker) {
        if !self.is_registered(waker) {
            self.replace(waker);
        }
    }

    /// Returns `true` if the task of `waker` was registered last, and has not been woken since.
    fn is_registered(&self, waker: &Waker) -> bool {
        // A thread that has taken the waker, though that is not seen here yet, wakes the task with
        // it: the task polls again, and sees it then.
        self.vtable.load(Ordering::Acquire) == core::ptr::from_ref(waker.vtable()).addr()
            && self.data.load(Ordering::Relaxed) == waker.data().addr()
    }

    /// Keeps a clone of `waker` in place of the last one.
    fn replace(&self, waker: &Waker) {
        let clone = waker.clone();
        let before = {
            let mut task = self.task.lock();
            self.data.store(clone.data().addr(), Ordering::Relaxed);
            self.vtable.store(core::ptr::from_ref(clone.vtable()).addr(), Ordering::Release);
            task.replace(clone)
        };
        drop_quietly(before);
    }

    pub(crate) fn take(&self) -> Option<Waker> {
        let mut task = self.task.lock();
        self.vtable.store(0, Ordering::Relaxed);
        task.take()
    }

    /// Wakes the task that was registered last, unless that has been done.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.take() {
            // A waker that panics is its executor's fault, and the executor has heard of it. It
            // must not cost the caller anything, which may be a child.
            quietly(|| waker.wake());
        }
    }

    /// Drops the waker: nothing will wake the task.
    pub(crate) fn clear(&self) {
        // By the thread that registers: if it sees none here, none is kept, or one is being woken.
        if self.vtable.load(Ordering::Relaxed) != 0 {
            drop_quietly(self.take());
        }
    }
}

impl Drop for TaskWaker {
    fn drop(&mut self) {
        drop_quietly(self.task.get_mut().take());
    }
}

/// Drops a waker that is not needed any more. If its destructor panics, that is the fault of its
/// executor, and not of the task that goes on.
pub(crate) fn drop_quietly(waker: impl Into<Option<Waker>>) {
    if let Some(waker) = waker.into() {
        quietly(|| drop(waker));
    }
}
