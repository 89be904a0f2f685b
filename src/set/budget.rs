//! How much one poll of the owner's task does before it ends.
//!
//! A poll ends after [`POLLS`] polls of children. It also ends after [`YIELDS`] children in a row
//! that have yielded, with none finished between: then it is the executor that wants the task to
//! yield. tokio, for one, makes every resource pending once a task has used its budget, and no
//! child gets on before the task has ended its poll.
//!
//! A child has yielded if it woke itself while it was polled. But an executor may also keep the
//! wakers of such children, and wake them after the task's poll, as tokio's does. At first they
//! look like children that wait. So when a poll begins, those that became pending at the end of
//! the last one are looked at: if most of them have been woken meanwhile, then a child that is
//! pending counts as one that has yielded, and [`PENDED`] in a row end the poll, until a poll comes
//! to its end by itself.
//!
//! Before that, a poll would go through all children to no purpose. So it is a guess that the
//! executor wants the task to yield if [`RUN`] children or more, but not hundreds, were done one
//! after the other, and then [`YIELDS`] in a row were pending. That ends the poll, and the next one
//! suspects those that are pending. If fewer than [`RUN`] children are done in that one, the guess
//! was wrong.
//!
//! A child that is polled when the executor's budget is spent is polled in vain. So a poll ends
//! before that if the last two suggest where: in both, equally many children were polled up to the
//! last one that was done, and some of those after it were woken at once. One poll in [`LIMITED`]
//! goes on, to see if that still holds.

/// Polls end early, so that random schedules with few children meet their ends: `.ci/small-budget`.
const SMALL: bool = cfg!(errgroup_small_budget);

/// How many children one poll polls, however many are ready.
pub(crate) const POLLS: u16 = if SMALL { 7 } else { 4096 };

/// How many children in a row may yield.
const YIELDS: u8 = if SMALL { 3 } else { 32 };

/// How many may be pending in a row while these count as having yielded.
const PENDED: u8 = if SMALL { 2 } else { 8 };

/// After how many children that were done, one after the other, a guess is made.
const RUN: u8 = if SMALL { 2 } else { 64 };

/// How many polls in a row may end before the children that would be polled in vain.
const LIMITED: u8 = if SMALL { 2 } else { 64 };

/// What is left for one poll of the owner's task. (Small: it is copied in each poll.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// How many polls of children are left.
    pub(crate) polls: u16,
    /// How many children in a row were pending and have not yielded.
    pub(super) pended: u16,
    /// How many more children may yield before one finishes.
    pub(super) yields: u8,
    /// How many children of a set with several blocks were done, up to 255.
    done: u8,
    /// Those that are pending count as having yielded.
    suspects_pending: bool,
    flags: u8,
    /// How many polls of children the task's last poll had, up to the last child that was done.
    before: u16,
    /// For how many more polls of the task, this one included, `before` bounds `polls`.
    limited: u8,
}

/// The task's poll is over.
const ENDED: u8 = 1;
/// A guess has ended this poll, or those that are pending are suspected since one.
const GUESSED: u8 = 2;
/// The last two polls have the same number of polls [before](Budget::before).
const REPEATED: u8 = 4;
/// Children have yielded since the last one that was done, too few to end the poll.
const YIELDED: u8 = 8;

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            polls: POLLS,
            pended: 0,
            yields: YIELDS,
            done: 0,
            suspects_pending: false,
            flags: 0,
            before: 0,
            limited: 0,
        }
    }

    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.polls == 0 || self.yields == 0
    }

    /// Returns how many children may yield after one has finished.
    #[inline]
    pub(super) fn most_yields(&self) -> u8 {
        if self.suspects_pending { PENDED } else { YIELDS }
    }

    /// Counts the poll of a child that is pending, and was woken meanwhile or not.
    #[inline]
    pub(super) fn count_pending(&mut self, woken: bool) {
        self.polls -= 1;
        if woken || self.suspects_pending {
            self.yields -= 1;
        } else {
            self.pended = self.pended.saturating_add(1);
        }
    }

    /// Counts a child that is done.
    #[inline]
    pub(super) fn count_done(&mut self) {
        (self.yields, self.pended) = (self.most_yields(), 0);
    }

    /// Counts the children of a batch that were done, in a set with several blocks. Ends the poll
    /// if it is a good guess that the executor wants the task to yield.
    #[inline(never)]
    pub(super) fn count_done_of_many(&mut self, done: usize) {
        self.done = self.done.saturating_add(done as u8);
        let polled = self.most_polls().saturating_sub(self.polls);
        let in_two_rows = u16::from(self.done) + self.pended == polled;
        let is_good = self.done >= RUN && self.pended >= YIELDS.into() && in_two_rows;
        if is_good && !self.suspects_pending {
            (self.yields, self.polls) = (0, 0);
            self.flags |= GUESSED;
        }
    }

    /// Lets one child more be polled, and yield, if none may.
    pub(crate) fn permit_one(&mut self) {
        (self.polls, self.yields) = (self.polls.max(1), self.yields.max(1));
    }

    /// Returns how many children can be polled for certain.
    #[inline]
    pub(super) fn most(&self) -> u32 {
        u32::from(self.polls.min(self.yields.into()))
    }

    #[inline]
    pub(super) fn suspects_pending(&self) -> bool {
        self.suspects_pending
    }

    /// Returns how many polls of children the task's poll began with.
    fn most_polls(&self) -> u16 {
        if self.limited > 0 { self.before } else { POLLS }
    }

    /// Ends the task's poll: the budget is spent until it is renewed.
    #[inline(never)]
    pub(crate) fn end(&mut self) {
        if self.polls > POLLS - u16::from(RUN) {
            (self.before, self.limited) = (0, 0);
        } else if !self.has_ended() {
            self.count_before();
        }
        let was_wrong = self.flags & GUESSED != 0 && self.done < RUN;
        if self.yields != 0 || was_wrong {
            self.suspects_pending = false;
            self.flags &= !GUESSED;
        }
        self.flags |= ENDED;
        self.polls = 0;
    }

    /// Counts the polls up to the last child that was done.
    fn count_before(&mut self) {
        let yielded = if self.yields == 0 { 0 } else { self.most_yields() - self.yields };
        let after = self.pended + u16::from(yielded);
        let before = self.most_polls().saturating_sub(self.polls + after);
        self.flags |= if before == self.before { REPEATED } else { 0 };
        self.flags |= if yielded > 0 { YIELDED } else { 0 };
        self.before = before;
    }

    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.flags & ENDED != 0
    }

    /// Begins the task's next poll. `count_woken` returns how many children were woken since the
    /// last one.
    #[inline]
    pub(crate) fn renew(&mut self, count_woken: &mut dyn FnMut() -> usize) {
        let is_simple = self.before == 0 && self.pended < YIELDS.into();
        if is_simple && !self.suspects_pending && self.flags & GUESSED == 0 {
            *self = Self::new();
        } else {
            self.renew_by_last(count_woken);
        }
    }

    /// Renews the budget by what has become of the last one.
    #[inline(never)]
    fn renew_by_last(&mut self, count_woken: &mut dyn FnMut() -> usize) {
        let (pended, guessed) = (usize::from(self.pended), self.flags & GUESSED);
        let in_many = pended >= YIELDS.into();
        let repeats = self.flags & REPEATED != 0 && self.before >= RUN.into();
        let woken = if in_many || (repeats && pended > 0) { count_woken() } else { 0 };
        let are_woken = in_many && woken.saturating_mul(4) >= pended * 3;
        let suspects_pending = self.suspects_pending || guessed != 0 || are_woken;
        let yielded = self.flags & YIELDED != 0;
        let limited = match repeats {
            true if woken > 0 || yielded => LIMITED,
            true if pended == 0 => self.limited.saturating_sub(1),
            _ => 0,
        };
        let before = self.before;
        *self = Self { suspects_pending, flags: guessed, before, limited, ..Self::new() };
        self.polls = self.most_polls();
        self.yields = self.most_yields();
    }
}
