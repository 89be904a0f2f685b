//! What the group's own side notes for its observer, and how that is told.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::own::Admission;
use crate::child::Kind;
use crate::child::task::Options;
use crate::observe::{Event, Outcome};

impl<C: Kind> Admission<C> {
    /// Notes for the observer how a running child has ended; before its room is given away, and
    /// before a stop that comes of it.
    pub(crate) fn report(&mut self, index: usize, outcome: Outcome) {
        if let Some(shared) = self.shared() {
            shared.report(index, outcome);
        }
    }

    /// The same of a child that was admitted, and dropped before it started.
    pub(crate) fn report_unstarted(&mut self, options: Option<Box<Options>>) {
        if let Some(shared) = self.shared() {
            shared.report_unstarted(options);
        }
    }

    /// Notes for the observer that the group has stopped.
    pub(crate) fn report_stop(&mut self) {
        if let Some(shared) = self.shared() {
            shared.report_stop();
        }
    }

    /// Swaps what the observer is to be told, oldest first, with `events`, which is empty.
    pub(crate) fn take_events(&mut self, events: &mut VecDeque<Event>) {
        if let Some(shared) = self.shared() {
            shared.take_events(events);
        }
    }

    /// Notes nothing more for the observer.
    pub(crate) fn end_log(&mut self) {
        if let Some(shared) = self.shared() {
            shared.end_log();
        }
    }
}
