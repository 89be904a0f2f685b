//! The running children that have ended outside of the group's polls, before the policy is told.

use crate::observe::Outcome;
use crate::stats::Stats;

/// The children that have ended on their executor, as far as that is noted.
#[derive(Default)]
pub(crate) struct Ended {
    notes: EndNotes,
    ok: usize,
    failed: usize,
    dropped: usize,
    /// How many of them have freed their room. Which ones does not matter: all are plain.
    roomless: usize,
    /// A child has ended in such a way that the policy may stop the group when it is told.
    /// Children that end later keep their room until then.
    blocked: bool,
}

/// What is noted of a child that has ended outside of the group's polls, before the policy is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EndNotes {
    /// Nothing: it runs.
    #[default]
    Nothing,
    /// It runs no longer.
    Ended,
    /// Nor does it take room, if it is plain and has returned `Ok`, which does not stop the group.
    FreesRoom,
}

impl Ended {
    pub(crate) fn new(notes: EndNotes) -> Self {
        Self { notes, ..Self::default() }
    }

    pub(crate) fn roomless(&self) -> usize {
        self.roomless
    }

    fn count(&self) -> usize {
        self.ok + self.failed + self.dropped
    }

    /// Moves the children from those that run to those that have ended.
    pub(crate) fn correct(&self, stats: Stats) -> Stats {
        Stats {
            running: stats.running - self.count(),
            ok: stats.ok + self.ok,
            failed: stats.failed + self.failed,
            dropped: stats.dropped + self.dropped,
            ..stats
        }
    }

    /// Notes a child that has ended. Returns `true` if its room is free; `is_plain` says that it
    /// may be, as far as the child is concerned.
    pub(crate) fn note(&mut self, outcome: Outcome, is_plain: bool) -> bool {
        if self.notes == EndNotes::Nothing {
            return false;
        }
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Failed => &mut self.failed,
            Outcome::Panicked | Outcome::Dropped => &mut self.dropped,
        } += 1;
        let frees_room = self.notes == EndNotes::FreesRoom
            && is_plain
            && outcome == Outcome::Ok
            && !self.blocked;
        self.roomless += usize::from(frees_room);
        self.blocked |= outcome != Outcome::Ok;
        frees_room
    }

    /// Forgets a child of which the policy was told. Returns `true` if its room has been freed. One
    /// that was dropped instead may be taken for another one, until the policy is told of that.
    #[inline]
    pub(crate) fn forget(&mut self, outcome: Outcome, is_plain: bool) -> bool {
        if self.notes == EndNotes::Nothing || self.count() == 0 {
            return false;
        }
        let Self { ok, failed, dropped, .. } = self;
        let noted = match outcome {
            Outcome::Ok => [ok, failed, dropped],
            Outcome::Failed => [failed, ok, dropped],
            Outcome::Panicked | Outcome::Dropped => [dropped, ok, failed],
        };
        if let Some(count) = noted.into_iter().find(|count| **count > 0) {
            *count -= 1;
        }
        self.blocked &= self.count() > 0;
        let had_room = is_plain && self.roomless > 0;
        self.roomless -= usize::from(had_room);
        had_room
    }

    /// Takes out how many have returned `Ok` and how many `Err`.
    pub(crate) fn take(&mut self) -> (usize, usize) {
        let Self { ok, failed, .. } = core::mem::take(self);
        (ok, failed)
    }
}
