//! The events that the observer is still to be told, recorded where the state changes: so their
//! order is that of the changes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use crate::observe::{Event, Outcome};
use crate::reason::Reason;

/// How many [`Event::Rejected`] are kept until the group is polled. A rejected child costs its
/// caller nothing, so their number has no other bound.
const MAX_REJECTED: usize = 1024;

#[derive(Default)]
pub(crate) struct EventLog {
    events: VecDeque<Event>,
    rejected: usize,
    stopped: bool,
}

pub(crate) type Name = Option<Arc<str>>;

impl EventLog {
    pub(crate) fn new() -> Box<Self> {
        Box::default()
    }

    pub(crate) fn queued(&mut self, name: Name) {
        self.events.push_back(Event::Queued { name });
    }

    pub(crate) fn started(&mut self, index: usize, name: Name) {
        self.events.push_back(Event::Started { index, name });
    }

    pub(crate) fn finished(&mut self, index: Option<usize>, name: Name, outcome: Outcome) {
        self.events.push_back(Event::Finished { index, name, outcome });
    }

    pub(crate) fn rejected(&mut self, stopped: bool, name: impl FnOnce() -> Name) {
        if self.rejected < MAX_REJECTED {
            self.rejected += 1;
            self.events.push_back(Event::Rejected { name: name(), stopped });
        }
    }

    /// Records a new limit, in place of one that was set just before: so their number is bounded.
    pub(crate) fn limit_changed(&mut self, limit: Option<usize>) {
        if let Some(Event::LimitChanged { limit: last }) = self.events.back_mut() {
            *last = limit;
            return;
        }
        self.events.push_back(Event::LimitChanged { limit });
    }

    /// Records the stop, once.
    pub(crate) fn stopped(&mut self, reason: impl FnOnce() -> Option<Reason>) {
        if !self.stopped {
            if let Some(reason) = reason() {
                self.stopped = true;
                self.events.push_back(Event::Stopped(reason));
            }
        }
    }

    /// Swaps the recorded events with `events`, which is empty.
    pub(crate) fn take(&mut self, events: &mut VecDeque<Event>) {
        self.rejected = 0;
        core::mem::swap(&mut self.events, events);
    }
}
