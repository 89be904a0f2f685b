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
    /// If the group has stopped is asked of the token.
    pub(crate) phase: GroupPhase,
    /// Newcomers are refused; what was accepted goes on.
    pub(crate) closing: bool,
    /// The group has resolved, and nothing had stopped it.
    pub(crate) finished: bool,
    /// How many callers hold the group open while it is empty.
    pub(crate) holds: usize,
    /// A watchdog looks at the state.
    pub(crate) watched: bool,
    /// Made when it is first asked for.
    pub(crate) closed_event: Option<Arc<ClosedEvent>>,
}

impl Lifecycle {
    /// Returns `true` if the group has resolved, or is being dropped.
    #[inline]
    pub(crate) fn is_resolved(&self) -> bool {
        self.phase >= GroupPhase::Resolved
    }

    /// Returns `true` if what was accepted may still be admitted.
    #[inline]
    pub(crate) fn admits(&self, stopped: bool) -> bool {
        !stopped && !self.is_resolved()
    }

    /// Releases a hold. Returns `true` if it was the last one.
    pub(super) fn release_hold(&mut self) -> bool {
        self.holds -= 1;
        self.holds == 0
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds > 0 && !self.closing
    }

    /// Returns `true` if the group is held or watched, or was closed.
    pub(crate) fn is_given_out(&self) -> bool {
        self.holds > 0 || self.watched || self.closing
    }

    /// Returns why newcomers are refused, or `None` if they are accepted.
    #[inline]
    pub(crate) fn refusal(&self, stopped: bool) -> Option<Refused> {
        // A stop comes before a close, unless it is the one of the group's own end.
        if self.closing && (self.finished || !stopped) {
            Some(Refused::Closed)
        } else {
            (!self.admits(stopped)).then_some(Refused::Stopped)
        }
    }
}
