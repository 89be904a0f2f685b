//! Where the children of a group that run elsewhere report that they are done.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc as PlainArc;
use core::fmt;

use crate::child::set::EndReports;
use crate::observe::{Outcome, PollObserver, both};
use crate::util::lock::Mutex;
use crate::util::panic::{Payload, discard};
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::{Arc, AtomicBool, AtomicUsize, Ordering};

/// The children that have reported since the group looked last. The first report notifies the
/// group.
pub struct Completions {
    parent: Arc<ParentWaker>,
    reports: Mutex<Reports>,
    /// There are reports; written under the lock only.
    has_reports: AtomicBool,
    /// Counts the group, until its end, and the futures of the children that were started, until
    /// they are dropped.
    alive: AtomicUsize,
    /// What surrounds the polls of the children that are started from now on.
    observers: Mutex<PollObservers>,
    /// There are observers; written under their lock only.
    has_observers: AtomicBool,
    /// Called when none of these is left.
    on_empty: Box<dyn Fn() + Send + Sync>,
}

/// What surrounds the polls of children.
#[derive(Default)]
pub(super) struct PollObservers {
    pub(super) inspector: Option<PlainArc<dyn PollObserver>>,
    pub(super) observer: Option<PlainArc<dyn PollObserver>>,
    /// Both of these, or the one that there is.
    all: Option<PlainArc<dyn PollObserver>>,
}

/// The index of a child that is done, and how it has ended.
pub(crate) type Report = (usize, Outcome);

#[derive(Default)]
struct Reports {
    list: VecDeque<Report>,
    /// How many of them, from the first, have been noted.
    noted: usize,
    /// The first panic of a child that the group had dropped.
    late_panic: Option<Payload>,
    /// The group has asked for it, and does so once.
    discards_panics: bool,
}

impl fmt::Debug for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completions(..)")
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
            observers: Mutex::default(),
            has_observers: AtomicBool::new(false),
            on_empty: Box::new(on_empty),
        })
    }

    /// Changes what surrounds the polls of the children that are started from now on.
    pub(super) fn set_observers(&self, set: impl FnOnce(&mut PollObservers)) {
        // Its destructor may be the user's: it has the last reference to what `set` replaces.
        let before = {
            let mut observers = self.observers.lock();
            set(&mut observers);
            let all = both(observers.inspector.clone(), observers.observer.clone());
            self.has_observers.store(all.is_some(), Ordering::Relaxed);
            core::mem::replace(&mut observers.all, all)
        };
        drop(before);
    }

    /// Returns what surrounds the polls of a child that starts now.
    pub(super) fn poll_observer(&self) -> Option<PlainArc<dyn PollObserver>> {
        // Relaxed: they are set before the group has children or handles.
        self.has_observers.load(Ordering::Relaxed).then(|| self.observers.lock().all.clone())?
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

    /// Returns what identifies the group while one of its children is polled or spawned.
    pub(crate) fn group_id(&self) -> usize {
        self.parent.id()
    }

    /// Reports a child, once. The waker of the group's task may panic in here.
    pub(super) fn report(&self, report: Report) {
        let is_first = {
            let mut reports = self.reports.lock();
            reports.list.push_back(report);
            let is_first = reports.list.len() == 1;
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

    /// Keeps the panic of a child that the group had dropped, if it is the first one, and the group
    /// has not [asked](Self::take_late_panic) for it yet.
    pub(super) fn keep_late_panic(&self, payload: Payload) {
        let unwanted = {
            let mut reports = self.reports.lock();
            if reports.discards_panics || reports.late_panic.is_some() {
                Some(payload)
            } else {
                reports.late_panic = Some(payload);
                None
            }
        };
        unwanted.into_iter().for_each(discard);
    }

    /// Takes the panic that was kept. Those that come later are discarded.
    pub(super) fn take_late_panic(&self) -> Option<Payload> {
        let mut reports = self.reports.lock();
        reports.discards_panics = true;
        reports.late_panic.take()
    }

    pub(crate) fn has_reports(&self) -> bool {
        // If the group looks too early, it is notified after the store.
        self.has_reports.load(Ordering::Relaxed)
    }

    /// Lets the next call of [`note`](Self::note) begin with the first report.
    pub(crate) fn forget_notes(&self) {
        self.reports.lock().noted = 0;
    }

    /// Takes the reports, in exchange for an empty list, after all of them are noted.
    pub(crate) fn take_reports(
        &self,
        list: &mut VecDeque<Report>,
        note: &mut dyn FnMut(usize, Outcome),
    ) {
        debug_assert!(list.is_empty());
        if self.has_reports() {
            let mut reports = self.reports.lock();
            reports.note(note);
            reports.noted = 0;
            self.has_reports.store(false, Ordering::Relaxed);
            core::mem::swap(list, &mut reports.list);
        }
    }
}

impl EndReports for Completions {
    /// Calls `note` with each report for which that has not been done. The lock is held.
    fn note(&self, note: &mut dyn FnMut(usize, Outcome)) {
        if self.has_reports() {
            self.reports.lock().note(note);
        }
    }
}

impl Reports {
    fn note(&mut self, note: &mut dyn FnMut(usize, Outcome)) {
        for &(index, outcome) in self.list.range(self.noted..) {
            note(index, outcome);
        }
        self.noted = self.list.len();
    }
}
