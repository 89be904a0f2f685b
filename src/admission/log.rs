//! What has happened and was not told to the observer yet, noted where the state is changed:
//! so the order is that of the changes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use crate::observe::{Event, Outcome};
use crate::reason::Reason;

/// So many [`Event::Rejected`] are kept until the group is polled: a rejected child costs
/// nothing, so there is no bound to how many there are.
const REJECTED: usize = 1024;

#[derive(Default)]
pub(super) struct Log {
    events: VecDeque<Event>,
    rejected: usize,
    stopped: bool,
}

pub(super) type Name = Option<Arc<str>>;

impl Log {
    pub(super) fn new() -> Box<Self> {
        Box::default()
    }

    pub(super) fn queued(&mut self, name: Name) {
        self.events.push_back(Event::Queued { name });
    }

    pub(super) fn started(&mut self, index: usize, name: Name) {
        self.events.push_back(Event::Started { index, name });
    }

    pub(super) fn finished(&mut self, index: Option<usize>, name: Name, outcome: Outcome) {
        self.events.push_back(Event::Finished { index, name, outcome });
    }

    pub(super) fn rejected(&mut self, stopped: bool, name: impl FnOnce() -> Name) {
        if self.rejected < REJECTED {
            self.rejected += 1;
            self.events.push_back(Event::Rejected { name: name(), stopped });
        }
    }

    pub(super) fn limit_changed(&mut self, limit: Option<usize>) {
        self.events.push_back(Event::LimitChanged { limit });
    }

    /// Notes the stop, once.
    pub(super) fn stopped(&mut self, reason: impl FnOnce() -> Option<Reason>) {
        if !self.stopped {
            if let Some(reason) = reason() {
                self.stopped = true;
                self.events.push_back(Event::Stopped(reason));
            }
        }
    }

    /// Swaps what is to be told with `events`, which is empty.
    pub(super) fn take(&mut self, events: &mut VecDeque<Event>) {
        self.rejected = 0;
        core::mem::swap(&mut self.events, events);
    }
}
