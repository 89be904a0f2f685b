//! The children that have ended outside of the group's polls, before the policy is told.

use crate::observe::Outcome;
use crate::stats::Stats;

/// The running children that have ended outside of the group's polls, as far as that is noted: the
/// policy is still to be told of them.
#[derive(Default)]
pub(super) struct Ended {
    ok: usize,
    failed: usize,
    dropped: usize,
    /// How many of them have freed their room. Which ones does not matter: all are plain.
    pub(super) roomless: usize,
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
    /// It runs no longer. If it is plain and has returned `Ok`, it takes no room either: an `Ok`
    /// does not stop the group.
    FreesRoom,
}

impl Ended {
    pub(super) fn count(&self) -> usize {
        self.ok + self.failed + self.dropped
    }

    /// Returns `true` if nothing is noted, and no child without room is left. (Another one may have
    /// [taken](Self::forget) the note of such a child.)
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.ok | self.failed | self.dropped | self.roomless == 0
    }

    /// Notes that a child has ended. Returns `true` if the policy goes on after it, and after all
    /// that are noted, if an `Ok` does not stop it.
    pub(super) fn note(&mut self, outcome: Outcome) -> bool {
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Failed => &mut self.failed,
            Outcome::Panicked | Outcome::Dropped => &mut self.dropped,
        } += 1;
        self.blocked |= outcome != Outcome::Ok;
        !self.blocked
    }

    /// Forgets a child of which the policy was told. Returns `false` if there is
    /// [nothing](Self::is_empty). One that was dropped instead may be taken for another one, until
    /// the policy is told of that.
    #[inline]
    pub(super) fn forget(&mut self, outcome: Outcome) -> bool {
        if self.is_empty() {
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
        true
    }

    /// Forgets all. Returns how many have freed their room.
    pub(super) fn forget_all(&mut self) -> usize {
        core::mem::take(self).roomless
    }

    /// Moves them from those that run to those that have ended.
    pub(super) fn apply(&self, stats: &mut Stats) {
        stats.running -= self.count();
        stats.ok += self.ok;
        stats.failed += self.failed;
        stats.dropped += self.dropped;
    }
}
