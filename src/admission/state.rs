//! The state behind the lock, and what keeps the line settled.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::task::Waker;

use super::end::End;
use super::line::{Entry, Line, Waiter};
use super::nested::Nested;
use super::{Admitted, Ended};
use crate::Stats;

pub(super) struct State<C> {
    /// `queued` to `dropped` and the limit, as users see them; but who runs is counted in
    /// `used`.
    pub(super) stats: Stats,
    /// Room that is taken.
    pub(super) used: usize,
    /// How many may enter a group without handles with no further look; there may be room for
    /// more.
    pub(super) quick: usize,
    /// Room that a `feed` holds while it asks its stream.
    pub(super) reserved: usize,
    /// The index of the next child to be admitted.
    pub(super) next_index: usize,
    pub(super) line: Line<C>,
    pub(super) nested: Nested,
    /// Admitted, on their way to the group's set, in order.
    pub(super) inbox: VecDeque<Admitted<C>>,
    /// Somebody who held the group open may have gone; for `settle` to look at.
    pub(super) left: bool,
    pub(super) closed: bool,
    /// The end has been announced: the children are gone too.
    pub(super) ended: bool,
    /// Made for the first who waits for it.
    pub(super) end: Option<Arc<End>>,
}

/// Who is to be told of a change once the lock is free. At most one waiter: the first in line
/// goes before the next is told, and one that waits within a child is told to use the queue
/// only where the first in line has no room.
#[derive(Default)]
#[must_use]
pub(super) struct Calls {
    pub(super) waker: Option<Waker>,
    pub(super) ring: bool,
}

// === impl State ===

impl<C> State<C> {
    pub(super) fn new() -> Self {
        Self {
            stats: Stats::default(),
            used: 0,
            quick: 0,
            reserved: 0,
            next_index: 0,
            line: Line::default(),
            nested: Nested::default(),
            inbox: VecDeque::new(),
            left: false,
            closed: false,
            ended: false,
            end: None,
        }
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.used - self.reserved
    }

    /// The numbers for users.
    pub(super) fn stats(&self) -> Stats {
        Stats { running: self.running(), ..self.stats }
    }

    /// Whether there is room for one more.
    #[inline]
    pub(super) fn fits(&self) -> bool {
        self.stats.limit.is_none_or(|limit| self.used < limit)
    }

    /// Takes room for a child that runs from now on; gives its index.
    #[inline]
    pub(super) fn enter(&mut self) -> usize {
        self.used += 1;
        self.next_index()
    }

    /// The index of a child that is admitted.
    #[inline]
    pub(super) fn next_index(&mut self) -> usize {
        let index = self.next_index;
        self.next_index += 1;
        index
    }

    /// Admits a child into the inbox.
    pub(super) fn admit(&mut self, child: C) {
        let index = self.enter();
        self.inbox.push_back(Admitted { child, index });
    }

    /// A running child is gone; its room is free.
    #[inline]
    pub(super) fn end(&mut self, ended: Ended) {
        self.used -= 1;
        *match ended {
            Ended::Ok => &mut self.stats.ok,
            Ended::Failed => &mut self.stats.failed,
            Ended::Dropped => &mut self.stats.dropped,
        } += 1;
    }

    /// Clears the line after a stop; the children that stood in it are to be dropped.
    pub(super) fn clear_line(&mut self) -> Line<C> {
        self.stats.dropped += core::mem::take(&mut self.stats.queued);
        self.nested = Nested::default();
        core::mem::take(&mut self.line)
    }

    /// Closes the group if nothing runs and nothing waits.
    pub(super) fn try_close(&mut self, stopped: bool) -> bool {
        self.closed = self.used == 0 && (stopped || self.line.is_empty());
        self.quick = 0;
        self.closed
    }

    /// Closes the group whatever runs: admission ends here. What ran counts as dropped.
    pub(super) fn close_now(&mut self) {
        self.closed = true;
        self.quick = 0;
        self.stats.dropped += self.running();
        self.used = self.reserved;
    }

    /// Whether a child was ever accepted.
    pub(super) fn has_accepted(&self) -> bool {
        self.next_index > 0 || self.stats.queued > 0 || self.stats.dropped > 0
    }

    /// Restores the invariants of the line after a change.
    pub(super) fn settle(&mut self, stopped: bool) -> Calls {
        let mut calls = Calls::default();
        if !stopped && !self.closed {
            // Who stands in line came after a feed that asks its stream now: its child goes first.
            while self.reserved == 0 && self.fits() {
                match self.line.first() {
                    Some(Entry::Waiter(waiter)) => {
                        waiter.call(&mut calls);
                        break;
                    }
                    Some(Entry::Queued(_)) => {
                        if let Some(Entry::Queued(child)) = self.line.pop() {
                            self.stats.queued -= 1;
                            self.admit(child);
                        }
                    }
                    None => break,
                }
            }
            self.settle_nested(&mut calls);
        }
        // New children to poll, or an end to come to.
        let left = core::mem::take(&mut self.left);
        calls.ring |=
            !self.inbox.is_empty() || (left && self.used == 0 && (stopped || self.line.is_empty()));
        calls
    }

    fn settle_nested(&mut self, calls: &mut Calls) {
        let stuck = self.nested.children() > 0
            && self.nested.children() == self.running()
            && self.reserved == 0
            && !self.fits();
        if !stuck {
            return;
        }
        if let Some(place) = self.nested.oldest() {
            // It goes on now; so its child no longer counts as waiting for this one.
            self.nested.remove(place);
            if let Some(waiter) = self.line.waiter(place) {
                waiter.to_queue = true;
                waiter.call(calls);
            }
        }
    }
}

// === impl Waiter ===

impl Waiter {
    /// Tells it, once, to come.
    fn call(&mut self, calls: &mut Calls) {
        if !core::mem::replace(&mut self.told, true) {
            calls.waker = self.waker.take();
            calls.ring |= calls.waker.is_none();
        }
    }
}
