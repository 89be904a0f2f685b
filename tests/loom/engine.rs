//! The children of a group, and the loop that polls them.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::set::{Batch, BlockSet, Budget, Part};
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::Arc;

/// What a child does when it is polled.
pub(crate) type Child<'a> = Box<dyn FnMut(&mut Context<'_>) -> Poll<()> + 'a>;

std::thread_local! {
    /// Other code has the `ParentWaker` too, as the handles of a group do. Then it is not lent to
    /// the children of the first block.
    pub(crate) static HAS_HANDLES: Cell<bool> = const { Cell::new(false) };
}

/// The part of a group that polls: the real set and the real `ParentWaker`, without admission.
pub(crate) struct Engine<'a> {
    pub(crate) parent: Arc<ParentWaker>,
    set: BlockSet<Child<'a>>,
    children: usize,
    _handle: Option<Arc<ParentWaker>>,
}

impl<'a> Engine<'a> {
    pub(crate) fn new() -> Self {
        let parent = ParentWaker::new();
        Self {
            _handle: HAS_HANDLES.get().then(|| Arc::clone(&parent)),
            parent,
            set: BlockSet::new(),
            children: 0,
        }
    }

    pub(crate) fn insert(&mut self, child: impl FnMut(&mut Context<'_>) -> Poll<()> + 'a) {
        self.set.insert(Box::new(child), self.children, &self.parent);
        self.children += 1;
    }

    /// Polls as a group does; the group resolves when it has no child left.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.begin();
        self.advance();
        let pending = !self.set.is_empty();
        self.end(cx, pending);
        if pending { Poll::Pending } else { Poll::Ready(()) }
    }

    pub(crate) fn begin(&mut self) {
        self.parent.begin_poll();
        self.set.begin_tick();
    }

    /// Polls the children as the group's loop does, until none is ready.
    pub(crate) fn advance(&mut self) {
        let mut empty = 0;
        loop {
            if !self.set.is_in_round() {
                let ready = self.parent.take_ready();
                if !self.set.start_round(ready) {
                    empty += 1;
                    if empty > 2 || !self.parent.is_notified() {
                        return;
                    }
                    continue;
                }
            }
            empty = 0;
            let poll = |child: Pin<&mut Child<'a>>, _, cx: &mut Context<'_>| child.get_mut()(cx);
            let over = self.set.poll_round(
                Part::Round,
                &mut Batch::default(),
                &mut { Budget::new() },
                &mut None,
                poll,
                |_, ()| true,
            );
            assert!(over, "the round ended early");
        }
    }

    pub(crate) fn end(&mut self, cx: &mut Context<'_>, pending: bool) {
        if pending && self.set.has_ready() {
            self.parent.leave_work();
        }
        self.parent.end_poll(cx, (pending, true));
    }
}
