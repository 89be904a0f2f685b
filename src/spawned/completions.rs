//! Where the children of a group that run elsewhere report that they are done.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::util::lock::Mutex;
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::{Arc, AtomicBool, AtomicUsize, Ordering};

/// The indices of the children that have reported since the group looked last. The first report
/// notifies the group.
pub(crate) struct Completions {
    parent: Arc<ParentWaker>,
    reports: Mutex<Vec<usize>>,
    /// There are reports; written under the lock only.
    has_reports: AtomicBool,
    /// Counts the group, until its end, and the futures of the children that were started, until
    /// they are dropped.
    alive: AtomicUsize,
    /// Called when none of these is left.
    on_empty: Box<dyn Fn() + Send + Sync>,
}

/// Where a child reports that it is done, and its index.
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
            reports: Mutex::default(),
            has_reports: AtomicBool::new(false),
            alive: AtomicUsize::new(1),
            on_empty: Box::new(on_empty),
        })
    }

    /// Counts a child that is started. The group has not come to its end.
    pub(super) fn add(&self) {
        self.alive.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one less: a child's future is dropped, or the group has come to its end.
    pub(crate) fn remove(&self) {
        // Release: what this one did before is seen by the call of `on_empty`, which the last one
        // makes after an acquire.
        if self.alive.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.on_empty)();
        }
    }

    /// Returns what identifies the group while one of its children is polled.
    pub(crate) fn id(&self) -> usize {
        self.parent.id()
    }

    /// Reports the child of that index, once. The waker of the group's task may panic in here.
    fn report(&self, index: usize) {
        let is_first = {
            let mut reports = self.reports.lock();
            reports.push(index);
            let is_first = reports.len() == 1;
            if is_first {
                self.has_reports.store(true, Ordering::Relaxed);
            }
            is_first
        };
        // For a later report the group has been notified, or is about to be.
        if is_first {
            self.parent.notify();
        }
    }

    pub(crate) fn has_reports(&self) -> bool {
        // If the group looks too early, it is notified after the store.
        self.has_reports.load(Ordering::Relaxed)
    }

    /// Takes the reports, in exchange for an empty list.
    pub(crate) fn take_reports(&self, list: &mut Vec<usize>) {
        debug_assert!(list.is_empty());
        if self.has_reports() {
            let mut reports = self.reports.lock();
            self.has_reports.store(false, Ordering::Relaxed);
            core::mem::swap(list, &mut *reports);
        }
    }
}
