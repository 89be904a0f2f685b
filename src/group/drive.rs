//! How the children of a group are polled, round by round, and what becomes of each that is done.
//!
//! # Order at a child's end
//!
//! The child is dropped, the policy is told its result, a stop cancels the token and drops the
//! queue, and only then is the child's room given away; so a failure admits no other child.

use alloc::sync::Arc;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::hooks::Hooks;
use super::{Base, Group, OnStop};
use crate::admission::{Admission, ChildRecord, GroupPhase, Shared};
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::{Children, Kind};
use crate::observe::Outcome;
use crate::policy::{ChildInfo, Policy, Verdict};
use crate::reason::Reason;
use crate::set::{Batch, Budget, Part};
use crate::token::CancelToken;
use crate::util::current::{self, Entered};
use crate::util::dropped_by::DroppedBy;
use crate::util::panic::{Payload, catch, discard, quietly, resume};
use crate::util::parent_waker::ReadyBlocks;

/// What came of polling the children.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driven {
    /// Children have finished: there may be room.
    Progress,
    /// No child is to be polled before one is woken.
    Idle,
    /// The budget is spent.
    Spent,
}

/// How far the children are polled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Until some have finished, none is ready, or the budget is spent. A round that was begun is
    /// gone through to its end.
    Progress,
    /// The child that was admitted last, then a round of those that were woken.
    Newcomer,
}

/// At most this many newer children are polled before the child of a `go`, at the end of a poll.
const MOST_NEWER: usize = 4096;

/// Whose code runs at the moment; a panic is its.
#[derive(Clone, Copy)]
enum UserCode {
    Group,
    /// The poll or the destructor of the set's current child.
    Child,
    /// The policy, which is told of the current child; the child is gone.
    Policy(Outcome),
    /// The destructor of a daemon's value; the child is gone.
    Value(Outcome),
}

/// How far a round has come, kept outside of what a panic unwinds.
struct RoundState<R> {
    running: UserCode,
    /// The children that are being polled.
    batch: Batch,
    /// What the current child has returned, while its destructor runs.
    returned: Option<R>,
    /// What the current child has returned, if some children may end without a result.
    returned_if_any: Option<Option<R>>,
    /// The policy's verdict on that child is to stop.
    stop: Option<(Reason, usize, Outcome)>,
    /// A poll of the budget is kept for the child of a `go`.
    keeps_poll: bool,
}

impl<R> RoundState<R> {
    fn new() -> Self {
        let (running, batch) = (UserCode::Group, Batch::default());
        let (returned, returned_if_any) = (None, None);
        Self { running, batch, returned, returned_if_any, stop: None, keeps_poll: false }
    }

    /// Keeps a poll for the child of a `go`.
    fn keep_poll(&mut self, budget: &mut Budget) {
        self.keeps_poll = true;
        budget.polls -= 1;
    }

    /// Returns the poll that is kept, if one is.
    fn return_poll(&mut self, budget: &mut Budget) {
        budget.polls += u16::from(core::mem::take(&mut self.keeps_poll));
    }
}

/// How children of a round may end without a result.
struct Endings<C: Kind> {
    /// All are dropped.
    all: bool,
    /// All are dropped from the cancel of this on.
    token: Option<DroppedBy<CancelToken>>,
    /// Some are dropped at the stop, or are aborted: the state knows which.
    shared: Option<Arc<Shared<C>>>,
    /// Some may be aborted.
    are_joinable: bool,
}

impl<C: Kind> Endings<C> {
    /// A child that is spawned is in the blocks only when it is done; it is not dropped then.
    const DROPS: bool = !<C::Set as ChildSet<C>>::Spawner::SPAWNS;

    #[cold]
    fn of(base: &mut Base<C>) -> Self {
        let drops = base.on_stop == OnStop::Drop;
        // Without a token, nothing can stop the group during the round but the end of a child.
        let token = drops.then(|| base.admission.made_token()).flatten();
        let shared = base.admission.shared().cloned();
        let are_joinable = shared.as_ref().is_some_and(|shared| shared.calls.has_joinable());
        Self { all: drops && base.is_stopped(), token, shared, are_joinable }
    }

    /// Returns `true` if a child is to be dropped instead of being polled.
    fn ends_now(&self, index: usize) -> bool {
        Self::DROPS
            && (self.all
                || self.token.as_ref().is_some_and(|token| token.is_cancelled())
                || self.shared.as_ref().is_some_and(|shared| shared.calls.ends_now(index)))
    }

    /// Returns `true` if what a child has returned is no result.
    fn has_no_result(&self, index: usize) -> bool {
        self.are_joinable
            && self.shared.as_ref().is_some_and(|shared| shared.calls.has_no_result(index))
    }
}

// === impl Group ===

impl<C, P, O> Group<C, P, O>
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    /// Polls the children, as far as `extent` says.
    ///
    /// With `FETCHED`, a child that has finished keeps its room until its result is fetched from
    /// the policy and [`Group::release`] is called.
    pub(crate) fn poll_children<const FETCHED: bool>(
        &mut self,
        budget: &mut Budget,
        extent: Extent,
    ) -> Driven {
        let mut drive = match extent {
            Extent::Progress => Self::drive_rounds::<FETCHED>,
            Extent::Newcomer => Self::drive_to_newcomer::<FETCHED>,
        };
        loop {
            let mut round = RoundState::new();
            // One guard for all the children of the poll; `running` tells whose panic it was.
            match catch(|| drive(self, budget, &mut round)) {
                Ok(driven) => return driven,
                Err(payload) => self.recover(budget, &mut round, payload),
            }
            if extent == Extent::Progress {
                return Driven::Progress;
            }
            // After a sibling's panic, too, the child of a `go` is to begin.
            budget.permit_one();
            drive = Self::drive_rest::<FETCHED>;
        }
    }

    fn drive_rounds<const FETCHED: bool>(
        &mut self,
        budget: &mut Budget,
        round: &mut RoundState<Result<C::Ok, C::Err>>,
    ) -> Driven {
        // Rounds in a row without a child to poll, though the task was notified.
        let mut empty = 0;
        while !budget.is_spent() {
            if !self.base.next_round() {
                // The notification may have been a cancel's: then the queue is dropped, and wakes
                // what it may.
                if self.is_stopped() && self.base.admission.phase == GroupPhase::Open {
                    continue;
                }
                if self.base.poll_deadline_after_round() {
                    continue;
                }
                // A second look, for notifications meanwhile; not for ever, though others come: the
                // task is woken if there is one at the end of a poll.
                empty += 1;
                if empty > 2 || !self.base.admission.parent.is_notified() {
                    return Driven::Idle;
                }
                continue;
            }
            if self.drive_round::<FETCHED>(budget, round, Part::Round) {
                return Driven::Progress;
            }
            if !self.base.set.blocks().has_next()
                && self.base.is_plain()
                && !self.base.is_notified()
            {
                return if budget.is_spent() { Driven::Spent } else { Driven::Idle };
            }
        }
        Driven::Spent
    }

    /// Goes through a round, and sees to it that the child that was admitted last has begun. There
    /// is budget for one child at least.
    fn drive_to_newcomer<const FETCHED: bool>(
        &mut self,
        budget: &mut Budget,
        round: &mut RoundState<Result<C::Ok, C::Err>>,
    ) -> Driven {
        // Most groups are bare: then nothing comes before the round.
        let is_bare = self.base.is_bare();
        if !is_bare && !self.base.is_calm() {
            self.base.prepare_round();
            self.base.take_in();
        }
        if self.base.set.blocks().is_simple_tick(budget) && !self.base.is_notified() {
            // Most ticks are simple.
            self.drive_round::<FETCHED>(budget, round, Part::Tick);
            let is_over = !self.base.set.blocks().is_in_round();
            if is_over && (is_bare || !self.base.admission.may_start_own()) {
                return Driven::Idle;
            }
            // A sibling has stopped the group. That may also have freed the child that was admitted
            // last from what was before it.
        } else {
            self.base.set.blocks().begin_tick();
        }
        self.drive_rest::<FETCHED>(budget, round)
    }

    /// Goes through the round that was begun, if there is one, and through another one, and sees to
    /// it that the child that was admitted last has begun. There is budget for one child at least.
    #[inline(never)]
    fn drive_rest<const FETCHED: bool>(
        &mut self,
        budget: &mut Budget,
        round: &mut RoundState<Result<C::Ok, C::Err>>,
    ) -> Driven {
        // An executor polls the children that are spawned; in the blocks are those that are done.
        let polls_newcomer = !<C::Set as ChildSet<C>>::Spawner::SPAWNS;
        let blocks = self.base.set.blocks();
        // A stop or a panic may have cut a tick short that has the child, and fits the budget.
        if polls_newcomer && (blocks.has_newcomer() || !blocks.is_in_round()) {
            round.keep_poll(budget);
        }
        let mut is_freed = false;
        loop {
            let mut rounds = 1 + usize::from(self.base.set.blocks().is_in_round());
            while rounds > 0 && !budget.is_spent() {
                let blocks = self.base.set.blocks();
                let begins = match is_freed {
                    false => self.base.next_round(),
                    true => blocks.is_in_round() || blocks.start_round(ReadyBlocks::default()),
                };
                if !begins {
                    break;
                }
                self.drive_round::<FETCHED>(budget, round, Part::Round);
                rounds -= 1;
            }
            // What was before the child of the `go` may have been given up just now, or dropped by
            // a stop, which adds the children that end with it to a round of their own.
            is_freed = self.base.admission.may_start_own();
            if !is_freed {
                break;
            }
            self.base.take_in();
            if budget.is_spent() {
                break;
            }
        }
        let is_left = polls_newcomer && budget.is_spent() && self.base.set.blocks().has_newcomer();
        round.return_poll(budget);
        if is_left {
            self.poll_newest::<FETCHED>(budget, round);
        }
        Driven::Idle
    }

    /// Polls the child that a `go` has brought, after those that came later, if it has never been
    /// polled. These are few mostly: they were admitted together with it.
    #[cold]
    #[inline(never)]
    fn poll_newest<const FETCHED: bool>(
        &mut self,
        budget: &mut Budget,
        round: &mut RoundState<Result<C::Ok, C::Err>>,
    ) {
        let own = self.base.admission.own_index();
        // They begin in the order of their indexes, so it has begun if only newer ones have not.
        let has_begun = |oldest| own.is_some_and(|own| own < oldest);
        if self.base.set.blocks().oldest_newcomer().is_none_or(has_begun) {
            return;
        }
        for _ in 0..MOST_NEWER {
            let Some(newest) = self.base.set.blocks().newest() else { return };
            if own.is_some_and(|own| newest < own) {
                return;
            }
            budget.permit_one();
            self.drive_round::<FETCHED>(budget, round, Part::Newest);
            if own.is_none_or(|own| newest == own) {
                return;
            }
        }
    }

    /// Goes on with the round to its end, or until the budget is spent; or polls another part of
    /// the children. Returns `true` if children have finished.
    fn drive_round<const FETCHED: bool>(
        &mut self,
        budget: &mut Budget,
        round: &mut RoundState<Result<C::Ok, C::Err>>,
        part: Part,
    ) -> bool {
        if !self.base.is_plain() {
            return self.drive_full_round::<FETCHED>(budget, round, part);
        }
        if self.base.hooks.is_none() && self.base.set.blocks().is_lone(part) {
            return self.drive_lone::<FETCHED>(budget, round, part);
        }
        let mut progress = false;
        loop {
            let Group { base, policy, .. } = &mut *self;
            let Base { set, admission, .. } = base;
            let RoundState { running, batch, returned, stop, .. } = &mut *round;
            *running = UserCode::Child;
            let over = set.blocks().poll_round(
                part,
                batch,
                budget,
                returned,
                |child, _, cx| child.poll_child(cx),
                |index, result| {
                    progress = true;
                    finish::<C, P, FETCHED, true>(admission, policy, (running, stop), index, result)
                },
            );
            round.running = UserCode::Group;
            if round.stop.is_some()
                && self.base.apply_stop::<FETCHED>(&mut round.stop) != OnStop::Drain
            {
                return true;
            }
            if over && self.base.hooks.is_some() {
                self.base.poll_deadline_after_round();
            }
            self.base.admission.admit_next(&mut self.base.set);
            if over || part != Part::Round || budget.is_spent() {
                return progress;
            }
        }
    }

    /// Does what [`drive_round`](Self::drive_round) does in a group that is not plain: it has
    /// hooks, or shares its state, by which children may be dropped or have to be remembered.
    #[inline(never)]
    fn drive_full_round<const FETCHED: bool>(
        &mut self,
        budget: &mut Budget,
        round: &mut RoundState<Result<C::Ok, C::Err>>,
        part: Part,
    ) -> bool {
        let mut progress = false;
        let may_drop = self.base.admission.has_endings() || self.base.on_stop == OnStop::Drop;
        let endings = if may_drop { Some(Endings::of(&mut self.base)) } else { None };
        // A child may ask for room in its group by a handle. It is recognized by this.
        let entered = current::enter(self.base.admission.parent.id());
        loop {
            let Group { base, policy, .. } = &mut *self;
            let Base { set, admission, hooks, .. } = base;
            let hooks = hooks.as_deref();
            let observed = hooks.is_some_and(|hooks| hooks.observer.is_some());
            let hooks = hooks.filter(|hooks| hooks.surrounds_polls());
            let has_extras = hooks.is_some() || endings.is_some();
            let RoundState { running, batch, returned_if_any, stop, .. } = &mut *round;
            *running = UserCode::Child;
            let over = set.blocks().poll_round(
                part,
                batch,
                budget,
                returned_if_any,
                |child, index, cx| {
                    if has_extras {
                        let endings = endings.as_ref();
                        return poll_with_extras(child, index, cx, hooks, endings, &entered);
                    }
                    entered.poll(index, || child.poll_child(cx)).map(Some)
                },
                |index, result| {
                    progress = true;
                    let Some(result) = result else {
                        finish_without_result(admission, policy, index);
                        return true;
                    };
                    if observed {
                        // First: the policy may stop the group.
                        admission.log_finished(index, Outcome::of(&result));
                    }
                    finish::<C, P, FETCHED, false>(
                        admission,
                        policy,
                        (running, stop),
                        index,
                        result,
                    )
                },
            );
            round.running = UserCode::Group;
            // The others may be dropped with the stop, at the next look.
            let is_last = round.stop.is_some()
                && self.base.apply_stop::<FETCHED>(&mut round.stop) != OnStop::Drain;
            if self.base.has_futures() {
                self.base.end_batch_of_hooks(over && !is_last);
            }
            // What the children had that have ended is given back now, after a stop as well.
            self.base.admission.admit_next(&mut self.base.set);
            if is_last || over || part != Part::Round || budget.is_spent() {
                return progress;
            }
        }
    }

    /// Does what [`drive_round`](Self::drive_round) does if there is but one child to be polled, in
    /// a group that [is plain](Base::is_plain) and has no timers.
    fn drive_lone<const FETCHED: bool>(
        &mut self,
        budget: &mut Budget,
        round: &mut RoundState<Result<C::Ok, C::Err>>,
        part: Part,
    ) -> bool {
        let Group { base, policy, .. } = &mut *self;
        let Base { set, admission, .. } = base;
        let RoundState { running, batch, returned, stop, .. } = &mut *round;
        *running = UserCode::Child;
        let mut progress = false;
        set.blocks().poll_lone(
            part,
            batch,
            budget,
            returned,
            |child, cx| child.poll_child(cx),
            |index, result| {
                progress = true;
                finish::<C, P, FETCHED, true>(admission, policy, (running, stop), index, result);
            },
        );
        round.running = UserCode::Group;
        if round.stop.is_some() {
            self.base.apply_stop::<FETCHED>(&mut round.stop);
        }
        self.base.admission.admit_next(&mut self.base.set);
        progress
    }
}

/// Polls a child of a group that has hooks, or children that may end without a result.
#[inline(never)]
fn poll_with_extras<C: Children>(
    mut child: Pin<&mut C>,
    index: usize,
    cx: &mut Context<'_>,
    hooks: Option<&Hooks<C>>,
    endings: Option<&Endings<C>>,
    entered: &Entered,
) -> Poll<Option<Result<C::Ok, C::Err>>> {
    if endings.is_some_and(|endings| endings.ends_now(index)) {
        return Poll::Ready(None);
    }
    let polled = entered.poll(index, || match hooks {
        None => child.poll_child(cx),
        Some(hooks) => hooks.around_poll(index, cx, |cx| child.as_mut().poll_child(cx)),
    });
    polled.map(|result| {
        let is_none = endings.is_some_and(|endings| endings.has_no_result(index));
        (!is_none).then_some(result)
    })
}

/// Tells the policy of a child that is done, and counts it. Returns `false` if that is left to do
/// since the policy stops the group.
#[inline(always)]
fn finish<C, P, const FETCHED: bool, const PLAIN: bool>(
    admission: &mut Admission<C>,
    policy: &mut Option<P>,
    (running, stop): (&mut UserCode, &mut Option<(Reason, usize, Outcome)>),
    index: usize,
    result: Result<C::Ok, C::Err>,
) -> bool
where
    C: Children,
    P: Policy<C::Ok, C::Err>,
{
    let outcome = Outcome::of(&result);
    *running = UserCode::Policy(outcome);
    let (is_result, verdict) = if PLAIN {
        (true, tell_policy(policy, index, None, result))
    } else {
        let record = admission.record_of(index);
        // The value of a daemon is no result.
        let is_result = outcome == Outcome::Failed || !record.as_ref().is_some_and(|it| it.daemon);
        let verdict = if is_result {
            tell_policy(policy, index, record.as_ref(), result)
        } else {
            *running = UserCode::Value(outcome);
            if FETCHED {
                // The stream has no place for it in its order.
                policy.iter_mut().for_each(|policy| policy.skip(index));
            }
            drop(result);
            Verdict::Continue
        };
        (is_result, verdict)
    };
    if let Verdict::Stop(reason) = verdict {
        *stop = Some((reason, index, outcome));
        return false;
    }
    *running = UserCode::Child;
    if FETCHED && is_result {
        admission.finish_unfetched(index, outcome);
    } else {
        admission.finish(index, outcome);
    }
    true
}

/// Returns the policy's verdict on the result of a child.
#[inline(always)]
fn tell_policy<T, E, P: Policy<T, E>>(
    policy: &mut Option<P>,
    index: usize,
    record: Option<&ChildRecord>,
    result: Result<T, E>,
) -> Verdict {
    match policy {
        Some(policy) => policy.on_child(&ChildInfo::with_record(index, record), result),
        // A policy that has panicked is told nothing more.
        None => {
            drop(result);
            Verdict::Continue
        }
    }
}

/// Counts a child that was dropped, or aborted.
#[cold]
#[inline(never)]
fn finish_without_result<C: Children, P: Policy<C::Ok, C::Err>>(
    admission: &mut Admission<C>,
    policy: &mut Option<P>,
    index: usize,
) {
    if let Some(policy) = policy {
        policy.skip(index);
    }
    admission.log_finished(index, Outcome::Dropped);
    admission.finish(index, Outcome::Dropped);
}

impl<C: Kind> Base<C> {
    /// Does what the hooks ask for after children were polled: at the end of a round, polls the
    /// deadline.
    #[cold]
    #[inline(never)]
    fn end_batch_of_hooks(&mut self, is_end: bool) {
        self.call_hook(|calls| calls.drop_guards);
        if is_end {
            self.poll_deadline_after_round();
        }
    }
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// Restores the group's invariants after user code panicked.
    #[cold]
    fn recover<R>(&mut self, budget: &mut Budget, round: &mut RoundState<R>, payload: Payload) {
        round.return_poll(budget);
        let told = match round.running {
            UserCode::Child => None,
            UserCode::Policy(outcome) | UserCode::Value(outcome) => Some(outcome),
            // No user code has panicked: the group is broken, and says so.
            UserCode::Group => resume(payload),
        };
        let blocks = self.base.set.blocks();
        let (key, index) = blocks.interrupted(&round.batch);
        blocks.recover_counts(&round.batch, budget);
        if told.is_none() {
            // The value goes with the destructor's panic, which may be its own.
            quietly(|| drop((round.returned.take(), round.returned_if_any.take())));
            if let Err(second) = catch(|| blocks.remove(key)) {
                discard(second);
                blocks.remove(key);
            }
            self.base.admission.log_finished(index, Outcome::Panicked);
        }
        self.base.admission.give_freed_room();
        self.base.panicked(payload);
        if matches!(round.running, UserCode::Policy(_)) {
            self.drop_policy();
        }
        self.base.admission.finish(index, told.unwrap_or(Outcome::Panicked));
        self.base.call_hook(|calls| calls.drop_guards);
        self.base.admission.admit_next(&mut self.base.set);
    }
}
