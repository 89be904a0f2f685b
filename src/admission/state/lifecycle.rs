//! How far a group has come, and whether it accepts children.

use alloc::sync::Arc;

use super::Refused;
use crate::admission::closed::ClosedEvent;

/// How far a group has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GroupPhase {
    /// It admits children, unless its token is cancelled.
    #[default]
    Open,
    /// Its token is cancelled, and its queue has been dropped.
    Stopped,
    /// It has resolved, or is being dropped.
    Resolved,
    /// Its children are gone, too.
    Ended,
}

#[derive(Default)]
pub(crate) struct Lifecycle {
    phase: GroupPhase,
    /// Newcomers are refused; what was accepted goes on.
    closing: bool,
    /// The group has resolved, and nothing had stopped it.
    finished: bool,
    /// How many callers hold the group open while it is empty.
    holds: usize,
    /// A watchdog looks at the state.
    watched: bool,
    /// Made when it is first asked for.
    pub(crate) closed_event: Option<Arc<ClosedEvent>>,
}

impl Lifecycle {
    pub(crate) fn phase(&self) -> GroupPhase {
        self.phase
    }

    pub(crate) fn set_phase(&mut self, phase: GroupPhase) {
        self.phase = phase;
    }

    /// Takes note of a stop.
    pub(super) fn stop(&mut self) {
        self.phase = self.phase.max(GroupPhase::Stopped);
    }

    /// Takes note that the group has resolved.
    pub(super) fn resolve(&mut self, stopped: bool) {
        self.phase = GroupPhase::Resolved;
        self.finished = !stopped;
    }

    /// Sets whether the group has resolved and nothing had stopped it.
    pub(crate) fn set_finished(&mut self, finished: bool) {
        self.finished = finished;
    }

    /// Returns `true` if the group has resolved, or is being dropped.
    #[inline]
    pub(crate) fn is_resolved(&self) -> bool {
        self.phase >= GroupPhase::Resolved
    }

    /// Refuses newcomers from now on. Returns `false` if they were refused before.
    pub(super) fn close(&mut self) -> bool {
        !core::mem::replace(&mut self.closing, true)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Holds the group open while it is empty.
    pub(crate) fn hold(&mut self) {
        self.holds += 1;
    }

    /// Releases a hold. Returns `true` if it was the last one.
    pub(super) fn release_hold(&mut self) -> bool {
        self.holds -= 1;
        self.holds == 0
    }

    pub(super) fn holds(&self) -> usize {
        self.holds
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds > 0 && !self.closing
    }

    /// Records that a watchdog looks at the state.
    pub(crate) fn watch(&mut self) {
        self.watched = true;
    }

    /// Returns `true` if the group is held or watched, or was closed.
    pub(crate) fn is_given_out(&self) -> bool {
        self.holds > 0 || self.watched || self.closing
    }

    /// Returns why a newcomer is refused, or `None` if it is accepted.
    #[inline]
    pub(super) fn refusal(&self, stopped: bool) -> Option<Refused> {
        // A stop comes before a close, unless it is the one of the group's own end.
        if self.closing && (self.finished || !stopped) {
            Some(Refused::Closed)
        } else {
            (stopped || self.is_resolved()).then_some(Refused::Stopped)
        }
    }

    /// Returns why a child without room is not queued, or `None` if the queue may take it.
    #[inline]
    pub(super) fn queue_refusal(&self, stopped: bool) -> Option<Refused> {
        if self.finished { Some(Refused::Closed) } else { self.refusal(stopped) }
    }
}
