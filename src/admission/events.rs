//! The events that the observer is still to be told, recorded where the state changes: so their
//! order is that of the changes.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::queue::ChildKey;
use crate::child::task::Options;
use crate::key::Key;
use crate::observe::{Event, Outcome};
use crate::reason::Reason;

/// How many [`Event::Rejected`] are kept until the group is polled. A rejected child costs its
/// caller nothing, so their number has no other bound.
const MAX_REJECTED: usize = 1024;

#[derive(Default)]
pub(crate) struct EventLog {
    events: Vec<Event>,
    /// The numbers of the children in the queue, and of those that have room and have not started.
    queued: BTreeMap<ChildKey, usize>,
    next_queue_index: usize,
    rejected: usize,
    stopped: bool,
}

pub(crate) type Name = Option<Arc<str>>;

impl EventLog {
    pub(crate) fn queued(&mut self, child: ChildKey, options: Option<&Options>) {
        let queue_index = self.next_queue_index;
        self.next_queue_index += 1;
        self.queued.insert(child, queue_index);
        let Options { weight, priority, daemon, .. } = *options.unwrap_or(&Options::DEFAULT);
        let (name, key) = (name(options), key(options));
        self.events.push(Event::Queued { queue_index, name, key, weight, priority, daemon });
    }

    /// Records the start of a child. Its key was taken out of its options.
    pub(crate) fn started(
        &mut self,
        index: usize,
        child: ChildKey,
        options: &Options,
        name: Name,
        key: Option<Key>,
    ) {
        let queue_index = self.queued.remove(&child);
        let Options { weight, priority, daemon, .. } = *options;
        let event = Event::Started { index, queue_index, name, key, weight, priority, daemon };
        self.events.push(event);
    }

    /// Records the start of a plain child without a name, which was not queued.
    pub(crate) fn started_at_once(&mut self, index: usize) {
        let Options { weight, priority, daemon, .. } = Options::DEFAULT;
        let (queue_index, name, key) = (None, None, None);
        let event = Event::Started { index, queue_index, name, key, weight, priority, daemon };
        self.events.push(event);
    }

    pub(crate) fn finished(&mut self, index: usize, name: Name, key: Option<Key>, how: Outcome) {
        let (index, queue_index) = (Some(index), None);
        self.events.push(Event::Finished { index, queue_index, name, key, outcome: how });
    }

    /// Records that a child was dropped which had not started.
    pub(crate) fn unstarted(&mut self, child: ChildKey, options: Option<&Options>) {
        let queue_index = self.queued.remove(&child);
        let (name, key, outcome) = (name(options), key(options), Outcome::Dropped);
        self.events.push(Event::Finished { index: None, queue_index, name, key, outcome });
    }

    pub(crate) fn rejected(&mut self, stopped: bool, options: Option<&Options>) {
        if self.rejected < MAX_REJECTED {
            self.rejected += 1;
            let (name, key) = (name(options), key(options));
            self.events.push(Event::Rejected { name, key, stopped });
        }
    }

    /// Records a new limit, in place of one that was set just before: so their number is bounded.
    pub(crate) fn limit_changed(&mut self, limit: Option<usize>) {
        if let Some(Event::LimitChanged { limit: last }) = self.events.last_mut() {
            *last = limit;
            return;
        }
        self.events.push(Event::LimitChanged { limit });
    }

    /// Records the stop, once.
    pub(crate) fn stopped(&mut self, reason: impl FnOnce() -> Option<Reason>) {
        if !self.stopped {
            if let Some(reason) = reason() {
                self.stopped = true;
                self.events.push(Event::Stopped(reason));
            }
        }
    }

    /// Swaps the recorded events with `events`, which is empty.
    pub(crate) fn take(&mut self, events: &mut Vec<Event>) {
        self.rejected = 0;
        core::mem::swap(&mut self.events, events);
    }
}

/// Returns the name that a child was given.
pub(crate) fn name(options: Option<&Options>) -> Name {
    options?.name.as_deref().map(Arc::from)
}

fn key(options: Option<&Options>) -> Option<Key> {
    options?.key.clone()
}
