//! Where the children of a group that run elsewhere report that they are done.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::util::lock::Mutex;
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::{Arc, AtomicBool, AtomicUsize, Ordering};

/// The list of those who have reported since the group looked last; whoever is the first in it
/// rings the group's bell.
pub(crate) struct Completions {
    parent: Arc<ParentWaker>,
    done: Mutex<Vec<usize>>,
    /// Whether there is anybody in it; written under the lock only.
    any: AtomicBool,
    /// The group, until its end, and the children that were started and whose futures exist.
    alive: AtomicUsize,
    /// Called when the last of these has left.
    on_empty: Box<dyn Fn() + Send + Sync>,
}

/// How a child reports: to whom, and as which of them.
#[derive(Clone, Copy)]
pub(super) struct Reporter<'a> {
    pub(super) completions: &'a Completions,
    pub(super) index: usize,
}

impl Reporter<'_> {
    pub(super) fn report(self) {
        self.completions.report(self.index);
    }
}

impl Completions {
    pub(super) fn new(
        parent: Arc<ParentWaker>,
        on_empty: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            parent,
            done: Mutex::default(),
            any: AtomicBool::new(false),
            alive: AtomicUsize::new(1),
            on_empty: Box::new(on_empty),
        })
    }

    /// A child is started; the group has not come to its end.
    pub(super) fn add(&self) {
        self.alive.fetch_add(1, Ordering::Relaxed);
    }

    /// The group has come to its end, or the future of a child is on_empty.
    pub(crate) fn remove(&self) {
        // Release: what this one did is seen by the last. Acquire: by whom it is told.
        if self.alive.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.on_empty)();
        }
    }

    /// What the group is known by while one of its children is polled.
    pub(crate) fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Reports the child of that index, once. The waker of the group's task may panic in here.
    fn report(&self, index: usize) {
        let is_first = {
            let mut done = self.done.lock();
            done.push(index);
            let is_first = done.len() == 1;
            if is_first {
                self.any.store(true, Ordering::Relaxed);
            }
            is_first
        };
        // For those who come after it, the bell has been rung, or is about to be.
        if is_first {
            self.parent.notify();
        }
    }

    pub(crate) fn has_reports(&self) -> bool {
        // Whoever looks too early is rung for after the store.
        self.any.load(Ordering::Relaxed)
    }

    /// Takes the reports, in exchange for an empty list.
    pub(crate) fn take_reports(&self, done: &mut Vec<usize>) {
        debug_assert!(done.is_empty());
        if self.has_reports() {
            let mut reported = self.done.lock();
            self.any.store(false, Ordering::Relaxed);
            core::mem::swap(done, &mut *reported);
        }
    }
}
