//! What a group with a name keeps of its running children: how often each was polled, and whether
//! it was woken since.
//!
//! The group polls a child through its [`ChildProbe`], which stands between the child and the waker
//! of its slot. The polls of a child that an executor runs are surrounded.
//!
//! # Locks
//!
//! The lock around the children is taken inside those of the state, and none is taken inside it.
//! That around the registration is taken when no other is, and the registry's inside it. Under
//! neither does user code run.

use alloc::vec::Vec;
use core::task::Context;

use super::named::{NamedGroup, Registration};
use crate::observe::PollObserver;
use crate::util::lock::Mutex;
use crate::util::sparse_queue::SparseQueue;
use crate::util::sync::{Arc, ArcWake, AtomicU8, AtomicUsize, Ordering, waker_ref};
use crate::util::task_waker::TaskWaker;

const WOKEN: u8 = 1;
const POLLING: u8 = 2;
/// It has finished, and its result was not fetched.
const UNFETCHED: u8 = 4;
/// It has ended on its executor.
const COMPLETED: u8 = 8;

pub(crate) struct Inspector {
    pub(super) name: Arc<str>,
    /// The running children, by their indexes.
    children: Mutex<SparseQueue<Arc<ChildProbe>>>,
    /// The group's, which has its token.
    registration: Mutex<Option<Registration>>,
}

#[derive(Default)]
struct ChildProbe {
    polls: AtomicUsize,
    /// `WOKEN`, `POLLING`, `UNFETCHED` and `COMPLETED`.
    state: AtomicU8,
    /// The waker of the child's slot.
    slot: TaskWaker,
}

/// What is known of a running child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probed {
    pub(crate) polls: usize,
    pub(crate) is_woken: bool,
    pub(crate) is_polled: bool,
    pub(crate) is_unfetched: bool,
    pub(crate) is_completed: bool,
}

// === impl Inspector ===

impl Inspector {
    pub(super) fn new(name: Arc<str>) -> Arc<Self> {
        Arc::new(Self { name, children: Mutex::default(), registration: Mutex::default() })
    }

    /// Enters the group into the list of those that have a name, again if it was rebuilt.
    pub(super) fn register(&self, group: &Arc<dyn NamedGroup>) {
        let looked = {
            let mut registration = self.registration.lock();
            match &mut *registration {
                Some(registration) => registration.renew(group),
                None => {
                    let (entry, looked) = Registration::new(group);
                    *registration = Some(entry);
                    looked
                }
            }
        };
        drop(looked);
    }

    /// Returns the groups that have a name and are next below this one.
    pub(super) fn groups_below(&self) -> Vec<Arc<dyn NamedGroup>> {
        self.registration.lock().as_ref().map_or_else(Vec::new, Registration::below)
    }

    /// Records a child that starts: its index is higher than all others.
    pub(super) fn start(&self, index: usize) {
        let probe = Arc::new(ChildProbe::default());
        self.children.lock().push(index as u64, probe);
    }

    /// Forgets a child that is gone.
    pub(super) fn finish(&self, index: usize) {
        let probe = self.children.lock().remove(index as u64);
        drop(probe);
    }

    /// Records that a child has finished, and that its result was not fetched.
    pub(super) fn finish_unfetched(&self, index: usize) {
        self.mark(index, UNFETCHED);
    }

    /// Records that a child has ended on its executor.
    pub(super) fn complete(&self, index: usize) {
        self.mark(index, COMPLETED);
    }

    fn mark(&self, index: usize, mark: u8) {
        if let Some(child) = self.probe(index) {
            child.state.fetch_or(mark, Ordering::Relaxed);
        }
    }

    /// Forgets all children.
    pub(super) fn clear(&self) {
        let children = core::mem::take(&mut *self.children.lock());
        drop(children);
    }

    fn probe(&self, index: usize) -> Option<Arc<ChildProbe>> {
        self.children.lock().get(index as u64).cloned()
    }

    pub(super) fn look(&self, index: usize) -> Option<Probed> {
        self.probe(index).map(|child| child.look())
    }

    /// Polls a child by the waker of its slot, and counts that. `poll` returns `true` if the child
    /// is done, as this does.
    #[cold]
    #[inline(never)]
    pub(crate) fn poll(
        &self,
        index: usize,
        cx: &mut Context<'_>,
        poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> bool {
        let Some(child) = self.probe(index) else {
            return poll(cx);
        };
        child.slot.register(cx.waker());
        child.begin_poll();
        let is_done = poll(&mut Context::from_waker(&waker_ref(&child)));
        child.end_poll();
        if is_done {
            // Or the slot would find a clone of its waker, and make another one.
            child.slot.clear();
        }
        is_done
    }
}

impl PollObserver for Inspector {
    fn around_poll(&self, index: usize, _: Option<&str>, poll: &mut dyn FnMut()) {
        let child = self.probe(index);
        child.iter().for_each(|child| child.begin_poll());
        poll();
        child.iter().for_each(|child| child.end_poll());
    }
}

// === impl ChildProbe ===

impl ChildProbe {
    fn begin_poll(&self) {
        self.polls.fetch_add(1, Ordering::Relaxed);
        // Acquire: the child sees what was done before it was woken.
        self.state.swap(POLLING, Ordering::AcqRel);
    }

    fn end_poll(&self) {
        self.state.fetch_and(!POLLING, Ordering::Relaxed);
    }

    fn look(&self) -> Probed {
        let state = self.state.load(Ordering::Relaxed);
        Probed {
            polls: self.polls.load(Ordering::Relaxed),
            is_woken: state & WOKEN != 0,
            is_polled: state & POLLING != 0,
            is_unfetched: state & UNFETCHED != 0,
            is_completed: state & COMPLETED != 0,
        }
    }
}

impl ArcWake for ChildProbe {
    fn wake_by_ref(child: &Arc<Self>) {
        child.state.fetch_or(WOKEN, Ordering::AcqRel);
        child.slot.wake();
    }
}
