//! How a group runs: the one place in which the set, admission, the policy and the token meet.
//!
//! # Phases
//!
//! A group is [`Open`](GroupPhase::Open) while its token is not cancelled; then it admits. Once the
//! token is cancelled, whatever cancelled it, the group has *stopped*: it admits no more, and
//! polls on the children that run. Its queue is dropped by the next poll at the latest; then it is
//! [`Stopped`](GroupPhase::Stopped). It is [`Resolved`](GroupPhase::Resolved) when no child is left in
//! the set, in the queue or on its way, and [`Ended`](GroupPhase::Ended) once it has given its
//! output or resumed its panic; after that it stays pending.
//!
//! # Order at a child's end
//!
//! The child is dropped, the policy is told its result, a stop cancels the token and drops the
//! queue, and only then is the child's room given away; so a failure admits no other child.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use super::hooks::Hooks;
use super::{Base, Group, OnStop};
use crate::admission::{Admission, ChildRecord, GroupPhase, Shared};
use crate::child::set::{ChildSet, SpawnChild};
use crate::child::{Children, Kind};
use crate::observe::Outcome;
use crate::policy::{ChildInfo, Policy, Verdict};
use crate::reason::Reason;
use crate::set::{Batch, BlockSet, Budget, Part};
use crate::token::CancelFlag;
use crate::util::current;
use crate::util::panic::{FirstPanic, Payload, catch, discard, resume};
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

/// What polls a group, or the children of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolledBy {
    /// The group itself, or what owns it.
    Owner,
    /// A stream of results, which is polled on after each answer.
    Stream,
    /// A `go`, a `feed` or a `ready` of the group. Its task need not go on polling after the
    /// answer.
    Waiter,
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
    /// The same of a child that may end without a result.
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
    stop: Option<Arc<dyn CancelFlag>>,
    /// Some are dropped at the stop, or are aborted: the state knows which.
    shared: Option<Arc<Shared<C>>>,
}

impl<C: Kind> Endings<C> {
    /// A child that is spawned is in the blocks only when it is done; it is not dropped then.
    const DROPS: bool = !<C::Set as ChildSet<C>>::Spawner::SPAWNS;

    #[cold]
    fn of(base: &mut Base<C>) -> Self {
        let drops = base.on_stop == OnStop::Drop;
        // Without a token, nothing can stop the group during the round but the end of a child.
        let stop = base.admission.stop_flag().filter(|_| drops);
        Self { all: drops && base.is_stopped(), stop, shared: base.admission.shared().cloned() }
    }

    /// Returns `true` if a child is to be dropped instead of being polled.
    fn ends_now(&self, index: usize) -> bool {
        Self::DROPS
            && (self.all
                || self.stop.as_ref().is_some_and(|stop| stop.is_set())
                || self.shared.as_ref().is_some_and(|shared| shared.ends_now(index)))
    }

    /// Returns `true` if what a child has returned is no result.
    fn has_no_result(&self, index: usize) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.has_no_result(index))
    }
}

/// Polls the children, as far as `extent` says.
///
/// With `FETCHED`, a child that has finished keeps its room until its result is fetched from the
/// policy and [`Group::release`] is called.
pub(crate) fn advance<C, P, O, const FETCHED: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut Budget,
    extent: Extent,
) -> Driven
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    let mut drive = match extent {
        Extent::Progress => drive::<C, P, O, FETCHED>,
        Extent::Newcomer => drive_newcomer::<C, P, O, FETCHED>,
    };
    loop {
        let mut round = RoundState::new();
        // One guard for all the children of the poll; `running` tells whose panic it was.
        match catch(|| drive(group, budget, &mut round)) {
            Ok(driven) => return driven,
            Err(payload) => recover(group, budget, round, payload),
        }
        if extent == Extent::Progress || budget.polls == 0 {
            return Driven::Progress;
        }
        // After a sibling's panic, too, the child of a `go` is to begin.
        drive = drive_rest::<C, P, O, FETCHED>;
    }
}

fn drive<C, P, O, const FETCHED: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut Budget,
    round: &mut RoundState<Result<C::Ok, C::Err>>,
) -> Driven
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    // Rounds in a row without a child to poll, though the task was notified.
    let mut empty = 0;
    while !budget.is_spent() {
        if !group.base.next_round() {
            // The notification may have been a cancel's: then the queue is dropped, and wakes
            // what it may.
            if group.is_stopped() && group.base.admission.phase() == GroupPhase::Open {
                continue;
            }
            if group.base.poll_deadline_after_round() {
                continue;
            }
            // A second look, for notifications meanwhile; not for ever, though others come: the
            // task is woken if there is one at the end of a poll.
            empty += 1;
            if empty > 2 || !group.base.admission.parent.is_notified() {
                return Driven::Idle;
            }
            continue;
        }
        let is_plain = group.base.is_plain();
        if drive_round::<C, P, O, FETCHED>(group, budget, round, (Part::Round, is_plain)) {
            return Driven::Progress;
        }
        if !group.base.set.blocks().has_next() && group.base.is_plain() && !group.base.is_notified()
        {
            return if budget.is_spent() { Driven::Spent } else { Driven::Idle };
        }
    }
    Driven::Spent
}

/// Goes through a round, and sees to it that the child that was admitted last has begun. There is
/// budget for one child at least.
fn drive_newcomer<C, P, O, const FETCHED: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut Budget,
    round: &mut RoundState<Result<C::Ok, C::Err>>,
) -> Driven
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    // Most are, and then nothing else is to be looked at.
    let is_bare = group.base.is_bare();
    if !is_bare && !group.base.is_calm() {
        group.base.prepare_round();
        group.base.take_in();
    }
    let is_plain = is_bare || group.base.is_plain();
    if group.base.set.blocks().is_simple_turn(budget) && !group.base.is_notified() {
        // Most are.
        drive_round::<C, P, O, FETCHED>(group, budget, round, (Part::Turn, is_plain));
        let is_over = !group.base.set.blocks().is_in_round();
        if is_over && (is_bare || !group.base.admission.may_start_own()) {
            return Driven::Idle;
        }
        // A sibling has stopped the group. That may also have freed the child that was admitted
        // last from what was before it.
    } else {
        group.base.set.blocks().begin_turn();
    }
    drive_rest::<C, P, O, FETCHED>(group, budget, round)
}

/// Goes through the round that was begun, if there is one, and through another one, and sees to it
/// that the child that was admitted last has begun. There is budget for one child at least.
#[inline(never)]
fn drive_rest<C, P, O, const FETCHED: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut Budget,
    round: &mut RoundState<Result<C::Ok, C::Err>>,
) -> Driven
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    let blocks = group.base.set.blocks();
    // A stop or a panic may have cut a turn short that has the child, and fits the budget.
    if blocks.has_newcomer() || !blocks.is_in_round() {
        round.keep_poll(budget);
    }
    let mut is_freed = false;
    loop {
        let mut rounds = 1 + usize::from(group.base.set.blocks().is_in_round());
        while rounds > 0 && !budget.is_spent() {
            let blocks = group.base.set.blocks();
            let begins = match is_freed {
                false => group.base.next_round(),
                true => blocks.is_in_round() || blocks.start_round(ReadyBlocks::default()),
            };
            if !begins {
                break;
            }
            let is_plain = group.base.is_plain();
            drive_round::<C, P, O, FETCHED>(group, budget, round, (Part::Round, is_plain));
            rounds -= 1;
        }
        // What was before the child of the `go` may have been given up just now, or dropped by a
        // stop, which adds the children that end with it to a round of their own.
        is_freed = group.base.admission.may_start_own();
        if !is_freed {
            break;
        }
        group.base.take_in();
        if budget.is_spent() {
            break;
        }
    }
    let is_left = budget.is_spent() && group.base.set.blocks().has_newcomer();
    round.return_poll(budget);
    if is_left {
        poll_newest::<C, P, O, FETCHED>(group, budget, round);
    }
    Driven::Idle
}

/// Polls the child that a `go` has brought, after those that came later, if it has never been
/// polled. These are few mostly: they were admitted together with it.
#[cold]
#[inline(never)]
fn poll_newest<C, P, O, const FETCHED: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut Budget,
    round: &mut RoundState<Result<C::Ok, C::Err>>,
) where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    let own = group.base.admission.own_index();
    for _ in 0..MOST_NEWER {
        let Some(newest) = group.base.set.blocks().newest() else { return };
        if own.is_some_and(|own| newest < own) {
            return;
        }
        budget.permit_one();
        let is_plain = group.base.is_plain();
        drive_round::<C, P, O, FETCHED>(group, budget, round, (Part::Newest, is_plain));
        if own.is_none_or(|own| newest == own) {
            return;
        }
    }
}

/// Goes on with the round to its end, or until the budget is spent; or polls another part of the
/// children. `is_plain` tells whether the group [is](Base::is_plain). Returns `true` if children
/// have finished.
#[inline]
fn drive_round<C, P, O, const FETCHED: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut Budget,
    round: &mut RoundState<Result<C::Ok, C::Err>>,
    (part, is_plain): (Part, bool),
) -> bool
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    if !is_plain {
        return drive_full_round::<C, P, O, FETCHED>(group, budget, round, part);
    }
    if group.base.set.blocks().is_lone(part) {
        return drive_lone::<C, P, O, FETCHED>(group, budget, round, part);
    }
    let mut progress = false;
    loop {
        let Group { base, policy, .. } = &mut *group;
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
            && group.base.apply_stop::<FETCHED>(&mut round.stop) != OnStop::Drain
        {
            return true;
        }
        group.base.admission.admit_next(&mut group.base.set);
        if over || part != Part::Round || budget.is_spent() {
            return progress;
        }
    }
}

/// Does so in a group that is not plain.
#[inline(never)]
fn drive_full_round<C, P, O, const FETCHED: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut Budget,
    round: &mut RoundState<Result<C::Ok, C::Err>>,
    part: Part,
) -> bool
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    let mut progress = false;
    let shared = group.base.admission.shared();
    // A child can ask for room in its group by a handle, which is a reference beside the group's
    // own. It is recognized by this.
    let has_handles = |shared: &&Arc<Shared<C>>| Arc::strong_count(shared) > 1;
    let id = shared.filter(has_handles).map(|shared| shared.core.id());
    let has_endings = shared.is_some_and(|shared| shared.core.has_endings());
    let may_drop = has_endings || group.base.on_stop == OnStop::Drop;
    let endings = if may_drop { Some(Endings::of(&mut group.base)) } else { None };
    loop {
        let Group { base, policy, .. } = &mut *group;
        let Base { set, admission, hooks, .. } = base;
        let hooks = hooks.as_deref();
        let observed = hooks.is_some_and(|hooks| hooks.is_observed());
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
                    return poll_with_extras(child, index, cx, hooks, endings.as_ref(), id);
                }
                let _entered = id.map(|id| current::enter(id, index));
                child.poll_child(cx).map(Some)
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
                finish::<C, P, FETCHED, false>(admission, policy, (running, stop), index, result)
            },
        );
        round.running = UserCode::Group;
        // The others may be dropped with the stop, at the next look.
        let is_last = round.stop.is_some()
            && group.base.apply_stop::<FETCHED>(&mut round.stop) != OnStop::Drain;
        if group.base.hooks.is_some() {
            group.base.call_hook(|calls| calls.drop_guards);
            if over && !is_last {
                group.base.poll_deadline_after_round();
            }
        }
        // What the children had that have ended is given back now, after a stop as well.
        group.base.admission.admit_next(&mut group.base.set);
        if is_last || over || part != Part::Round || budget.is_spent() {
            return progress;
        }
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
    id: Option<usize>,
) -> Poll<Option<Result<C::Ok, C::Err>>> {
    if endings.is_some_and(|endings| endings.ends_now(index)) {
        return Poll::Ready(None);
    }
    let polled = {
        let _entered = id.map(|id| current::enter(id, index));
        match hooks {
            None => child.poll_child(cx),
            Some(hooks) => hooks.around_poll(index, cx, |cx| child.as_mut().poll_child(cx)),
        }
    };
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

/// Does what [`drive_round`] does if there is but one child to be polled, in a group that
/// [is plain](Base::is_plain).
fn drive_lone<C, P, O, const FETCHED: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut Budget,
    round: &mut RoundState<Result<C::Ok, C::Err>>,
    part: Part,
) -> bool
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    let Group { base, policy, .. } = &mut *group;
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
        group.base.apply_stop::<FETCHED>(&mut round.stop);
    }
    group.base.admission.admit_next(&mut group.base.set);
    progress
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

/// Restores the group's invariants after user code panicked.
#[cold]
fn recover<C: Kind, P, O, R>(
    group: &mut Group<C, P, O>,
    budget: &mut Budget,
    mut round: RoundState<R>,
    payload: Payload,
) {
    round.return_poll(budget);
    let told = match round.running {
        UserCode::Child => None,
        UserCode::Policy(outcome) | UserCode::Value(outcome) => Some(outcome),
        // No user code has panicked: the group is broken, and says so.
        UserCode::Group => resume(payload),
    };
    let blocks = group.base.set.blocks();
    let (key, index) = blocks.interrupted(&round.batch);
    blocks.recover_counts(&round.batch, budget);
    if told.is_none() {
        // The value goes with the destructor's panic, which may be its own.
        let _ = catch(|| drop((round.returned, round.returned_if_any))).map_err(discard);
        if let Err(second) = catch(|| blocks.remove(key)) {
            discard(second);
            blocks.remove(key);
        }
        group.base.admission.log_finished(index, Outcome::Panicked);
    }
    group.base.admission.give_freed_room();
    group.panicked(payload);
    if matches!(round.running, UserCode::Policy(_)) {
        group.drop_policy();
    }
    group.base.admission.finish(index, told.unwrap_or(Outcome::Panicked));
    group.base.call_hook(|calls| calls.drop_guards);
    group.base.admission.admit_next(&mut group.base.set);
}

// === polling ===

impl<C: Kind, P, O> Group<C, P, O> {
    /// Polls the group by the task of `cx`, with what is left of the budget of the task's poll.
    pub(crate) fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>, &mut Budget) -> Poll<R>,
    ) -> Poll<R> {
        self.base.begin_poll();
        let mut budget = self.base.budget;
        let answer = poll(self, cx, &mut budget);
        self.base.budget = budget;
        self.base.end_poll(cx, answer.is_pending(), PolledBy::Owner);
        answer
    }

    /// Does the same for a `go` or a `feed` of the group, or of a type that owns one.
    pub(crate) fn poll_through<X, R>(
        owner: &mut X,
        group: impl Fn(&mut X) -> &mut Self,
        polled_by: PolledBy,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut X, &mut Context<'_>, &mut Budget) -> Poll<R>,
    ) -> Poll<R> {
        group(owner).base.begin_poll();
        let mut budget = group(owner).base.budget;
        let answer = poll(owner, cx, &mut budget);
        group(owner).base.budget = budget;
        group(owner).base.end_poll(cx, answer.is_pending(), polled_by);
        answer
    }

    /// Returns `true` if a loop of ready `go`s or `next`s has spent the budget of the task's poll:
    /// the task yields, so that it polls its other futures, and is woken at once.
    #[inline]
    pub(crate) fn must_yield(&mut self, cx: &Context<'_>) -> bool {
        self.base.must_yield(cx)
    }

    /// Takes one poll from the budget of the task's poll, if one is left.
    pub(crate) fn spend_poll(&mut self) {
        let budget = &mut self.base.budget;
        budget.polls = budget.polls.saturating_sub(1);
    }

    /// Polls the child that a `go` has admitted, and goes through a round. There is budget for one
    /// child at least.
    #[inline]
    pub(crate) fn start_newcomer(&mut self, cx: &mut Context<'_>) {
        if self.base.hooks.is_some() || self.base.admission.has_semaphore() {
            let _ = Self::poll_through(
                self,
                |group| group,
                PolledBy::Waiter,
                cx,
                |group, _, budget| {
                    group.drive_newcomer(budget);
                    Poll::Ready(())
                },
            );
        } else {
            // The task goes on, so it need not be told of what wakes the children.
            let mut budget = self.base.budget;
            self.drive_newcomer(&mut budget);
            self.base.budget = budget;
        }
    }

    pub(crate) fn drive_newcomer(&mut self, budget: &mut Budget) {
        (self.advance)(self, budget, Extent::Newcomer);
    }

    /// Polls the children until some have finished, none is ready, or the budget is spent.
    pub(crate) fn advance(&mut self, budget: &mut Budget) -> Driven {
        (self.advance)(self, budget, Extent::Progress)
    }

    /// Resolves, after the children were polled, if that was the end.
    pub(crate) fn conclude(&mut self, budget: &mut Budget) -> Poll<O> {
        loop {
            self.end_daemons(budget);
            let resolved = self.try_resolve();
            if resolved.is_ready() || !self.base.poll_deadline() {
                return resolved;
            }
            while self.advance(budget) == Driven::Progress {}
        }
    }

    /// Ends the daemons if nothing else is left.
    pub(crate) fn end_daemons(&mut self, budget: &mut Budget) {
        self.base.call_hook(|calls| calls.deliver_events);
        if self.base.admission.has_only_daemons() {
            self.stop(Reason::Finished);
            while self.advance(budget) == Driven::Progress {}
        }
    }
}

impl<C: Kind> Base<C> {
    #[inline]
    fn must_yield(&mut self, cx: &Context<'_>) -> bool {
        self.budget.is_spent() && self.yield_task(cx)
    }

    #[cold]
    fn yield_task(&mut self, cx: &Context<'_>) -> bool {
        if self.budget.has_ended() {
            self.renew_budget();
            return false;
        }
        self.budget.end();
        cx.waker().wake_by_ref();
        true
    }

    #[inline]
    fn renew_budget(&mut self) {
        let parent = &self.admission.parent;
        self.budget.renew(|| self.set.blocks().count_woken(parent.peek_ready()));
    }

    fn begin_poll(&mut self) {
        self.admission.parent.begin_poll();
        if self.budget.has_ended() {
            self.renew_budget();
        } else if self.budget.is_spent() {
            self.put_off();
        }
        self.set.blocks().begin_turn();
        self.admission.begin_poll();
        if let Some(hooks) = &mut self.hooks {
            hooks.begin_poll();
        }
    }

    /// Leaves all to the next poll: a `go`, a `feed` or a `ready` before this one has spent the
    /// budget, and had its answer. Only a stop is heard now.
    #[cold]
    fn put_off(&mut self) {
        if !self.is_bare() || self.is_stopped() {
            self.admission.parent.leave_work();
        }
        if self.is_stopped() {
            self.drop_stopped();
        }
    }

    /// Returns `true` if nothing but the policy sees to the children that run: no hooks, and
    /// nothing that admission has to know of them before they end.
    #[inline]
    fn is_plain(&mut self) -> bool {
        // A group that drops its children at a stop has hooks.
        self.hooks.is_none() && self.admission.runs_plain_children()
    }

    /// Returns `true` if the group has neither hooks nor handles.
    #[inline]
    fn is_bare(&mut self) -> bool {
        self.hooks.is_none() && self.admission.shared().is_none()
    }

    /// Returns `true` if it is known at a glance that nothing comes before a round.
    #[inline]
    fn is_calm(&mut self) -> bool {
        let spawns = <C::Set as ChildSet<C>>::Spawner::SPAWNS;
        let shared = self.admission.shared();
        let is_calm = shared.is_none_or(|shared| shared.core.is_calm() && !spawns);
        is_calm && self.hooks.is_none() && !self.is_stopped()
    }

    /// Does what comes before a round, and starts it, unless one goes on. Returns `false` if no
    /// child is to be polled.
    #[inline]
    fn next_round(&mut self) -> bool {
        let goes_on = self.set.blocks().is_in_round();
        // First: what user code or another thread does from here on notifies anew.
        let ready = match goes_on {
            true => ReadyBlocks::default(),
            false => self.admission.parent.take_ready(),
        };
        if !self.is_bare() || self.is_stopped() {
            self.prepare_round();
        }
        // The children of the round may have been dropped.
        (goes_on && self.set.blocks().is_in_round()) || self.start_round(ready)
    }

    /// Does what comes before a round: timers, a stop, gates, a permit.
    fn prepare_round(&mut self) {
        self.call_hook(|calls| calls.poll_timers);
        if self.is_stopped() {
            self.drop_stopped();
        }
        self.drop_aborted();
        self.call_hook(|calls| calls.poll_gates);
        if self.admission.has_semaphore() {
            self.admission.acquire_permits();
        }
    }

    /// Starts a round of the children of which `ready` tells, and of those that have started.
    #[inline]
    fn start_round(&mut self, ready: ReadyBlocks) -> bool {
        self.take_in();
        self.set.blocks().start_round(ready)
    }

    /// Moves the children that have started into the set.
    fn take_in(&mut self) {
        self.admission.take_in(&mut self.set);
        if self.set.has_lost() {
            self.drop_lost();
        }
        let spawns = <C::Set as ChildSet<C>>::Spawner::SPAWNS;
        if spawns && self.is_stopped() && self.admission.has_endings() {
            // One that was taken in just now does not come into a round.
            self.end_children();
        }
        if self.hooks.is_some() {
            // Before the children that were taken in are polled.
            self.call_hook(|calls| calls.deliver_events);
            if self.is_stopped() {
                self.drop_stopped();
            }
        }
    }

    /// Ends the children that end with the stop: drops those that run elsewhere, and adds the
    /// others to the round, which drops them. Those that were never polled, or are not in the set
    /// yet, are in a round to come anyway.
    #[cold]
    fn end_children(&mut self) {
        let indexes = self.admission.until_stop();
        if indexes.is_empty() {
            return;
        }
        if !<C::Set as ChildSet<C>>::Spawner::SPAWNS {
            let is_meant = &mut |index| indexes.binary_search(&index).is_ok();
            return self.set.blocks().add_to_round(is_meant);
        }
        // One that has reported by now is in the blocks, and one that is about to comes there; its
        // result is told.
        let take = |index| Some((index, self.set.take_spawned(index)?));
        let children = indexes.into_iter().filter_map(take).collect();
        self.drop_spawned(children);
    }

    /// Returns `true` if children may have been woken, or have come or completed meanwhile.
    fn is_notified(&mut self) -> bool {
        self.admission.parent.is_notified() || self.admission.has_ready(&self.set)
    }

    /// Returns `true` if it is known at a glance that no child is left and none can come.
    #[inline]
    fn has_run_out(&mut self) -> bool {
        self.set.blocks().is_empty() && self.admission.has_run_out()
    }

    /// Ends a poll. One that ends pending with work left wakes its task.
    fn end_poll(&mut self, cx: &mut Context<'_>, pending: bool, polled_by: PolledBy) {
        if self.is_resolved() {
            return;
        }
        let passed = pending && {
            self.budget.end();
            self.poll_deadline() && self.is_stopped()
        };
        let has_work = self.admission.end_poll(polled_by != PolledBy::Owner);
        if pending && (passed || has_work || self.has_work()) {
            self.admission.parent.leave_work();
        }
        let goes_on_polling = polled_by != PolledBy::Waiter;
        self.admission.parent.end_poll(cx, (pending, goes_on_polling));
        if !pending && self.call_hook(|calls| calls.must_drop_guards).unwrap_or(false) {
            // The task may not poll the group again by itself.
            self.admission.parent.notify();
        }
    }

    /// Returns `true` if something is to be polled at once.
    fn has_work(&mut self) -> bool {
        self.admission.has_ready(&self.set)
            || self.set.blocks().has_ready()
            || self.call_hook(|calls| calls.must_poll_timers).unwrap_or(false)
    }
}

// === stopping ===

impl<C: Kind, P, O> Group<C, P, O> {
    #[inline(never)]
    fn drop_policy(&mut self) {
        let policy = self.policy.take();
        if core::mem::needs_drop::<P>() {
            self.base.panic.guard(|| drop(policy));
        }
    }
}

impl<C: Kind> Base<C> {
    /// Cancels the token, unless that has been done, and drops what is queued.
    #[inline(never)]
    pub(crate) fn stop(&mut self, reason: Reason) {
        self.cancel(reason);
        self.drop_queued();
    }

    /// Cancels the token, unless that has been done.
    fn cancel(&mut self, reason: Reason) {
        match reason {
            Reason::Cause(_) => self.cancel_for_cause(reason),
            _ => self.cancel_quietly(reason),
        }
    }

    /// Does so for a reason with a destructor, which may panic if the reason comes too late.
    #[cold]
    fn cancel_for_cause(&mut self, reason: Reason) {
        self.cancel_quietly(reason.clone());
        self.panic.guard(|| drop(reason));
    }

    /// Cancels the token, and discards all panics.
    fn cancel_quietly(&mut self, reason: Reason) {
        // The waker of a waiter may panic, which is none of the group's. It was woken by this call.
        let cancelled = catch(|| self.admission.cancel(reason)).unwrap_or_else(|payload| {
            discard(payload);
            true
        });
        if cancelled {
            self.stopped_by_group = true;
            if self.on_stop == OnStop::Drop {
                // The children are dropped at the next look, which a group without a token would
                // not take.
                self.admission.parent.notify();
            }
        }
    }

    /// Stops as the policy has decided at the end of a child, and counts that child. Returns what
    /// becomes of the others.
    #[cold]
    fn apply_stop<const FETCHED: bool>(
        &mut self,
        stop: &mut Option<(Reason, usize, Outcome)>,
    ) -> OnStop {
        if let Some((reason, index, outcome)) = stop.take() {
            self.admission.give_freed_room();
            self.stop(reason);
            if FETCHED {
                self.admission.finish_unfetched(index, outcome);
            } else {
                self.admission.finish(index, outcome);
            }
        }
        self.on_stop
    }

    /// Keeps a panic of user code, and stops.
    pub(crate) fn panicked(&mut self, payload: Payload) {
        self.panic.keep(payload);
        self.stop(Reason::Panicked);
    }

    /// Drops what a stop is to drop at once: the queue, and perhaps the children that run.
    fn drop_stopped(&mut self) {
        self.drop_queued();
        if self.on_stop == OnStop::Drop && self.has_running() {
            self.abort_running();
        }
        if self.admission.has_endings() {
            self.end_children();
        }
    }

    /// Drops what is queued after a stop, unless that has been done.
    pub(super) fn drop_queued(&mut self) {
        if self.admission.phase() != GroupPhase::Stopped {
            self.drop_waiting();
        }
    }

    /// Drops the children that were aborted in the queue, if there are any.
    #[inline]
    pub(super) fn drop_aborted(&mut self) {
        if self.admission.shared().is_some_and(|shared| shared.core.has_aborted()) {
            self.drop_waiting();
        }
    }

    /// Drops the children that were aborted in the queue; after a stop, all that are queued.
    #[inline]
    fn drop_waiting(&mut self) {
        if self.admission.note_stop() {
            self.drop_each_waiting();
        }
    }

    #[inline(never)]
    fn drop_each_waiting(&mut self) {
        let mut queued = Vec::new();
        self.admission.drop_queue(&mut queued);
        let mut queued = queued.into_iter();
        // One at a time: a destructor that panics keeps no other from running.
        while !matches!(self.panic.guard(|| queued.next().map(drop)), Some(None)) {}
        if self.panic.is_some() {
            self.cancel(Reason::Panicked);
        }
    }
}

// === ending ===

impl<C: Kind, P, O> Group<C, P, O> {
    /// Resolves if nothing runs and nothing waits: to the output, or by the panic.
    pub(crate) fn try_resolve(&mut self) -> Poll<O> {
        if self.is_resolved()
            || !self.base.set.blocks().is_empty()
            || !self.base.admission.try_resolve()
        {
            return Poll::Pending;
        }
        self.base.admission.parent.disarm();
        // A cancel, or an abort in the queue, may have come just now.
        self.base.drop_waiting();
        self.base.call_hook(|calls| calls.drop_timers);
        let why = self.base.end_reason();
        let policy = self.policy.as_mut().filter(|_| !self.base.panic.is_some());
        let output =
            policy.and_then(|policy| self.base.panic.guard(|| (self.finish)(policy, &why)));
        let panicked = self.base.panic.is_some();
        self.stop(if panicked { Reason::Panicked } else { Reason::Finished });
        let output = output.and_then(|output| self.apply_on_cancel(output));
        self.base.call_hook(|calls| calls.drop_observer);
        if self.base.admission.ends_unheard() {
            // Most groups do.
            self.base.admission.end();
        } else {
            // As in `cancel`: the output is not replaced.
            let _ = catch(|| self.base.admission.announce_end()).map_err(discard);
        }
        self.give_out(output)
    }

    /// Resolves to the output, or resumes the panic that the group keeps.
    fn give_out(&mut self, output: Option<O>) -> Poll<O> {
        if let Some(payload) = self.base.panic.take() {
            // Before the unwinding, in which a panic of a destructor would abort.
            self.base.panic.guard(|| drop(output));
            self.drop_policy();
            self.base.panic.discard();
            resume(payload);
        }
        output.map_or(Poll::Pending, Poll::Ready)
    }

    /// Ends the group, whatever runs: makes its output of what the policy was told by now, drops
    /// the children, then calls `drop_rest`, which drops what is beside them. The first panic of
    /// all that, or the one that the group keeps, resumes when nothing is left.
    pub(crate) fn finish_now(&mut self, drop_rest: impl FnOnce(&mut FirstPanic)) -> Poll<O> {
        let (finish, why) = (self.finish, self.base.end_reason());
        let mut panic = core::mem::take(&mut self.base.panic);
        let policy = self.policy.as_mut().filter(|_| !panic.is_some());
        let output = policy.and_then(|policy| panic.guard(|| finish(policy, &why)));
        if let Some(payload) = self.abort().take() {
            panic.keep(payload);
        }
        drop_rest(&mut panic);
        self.base.panic = panic;
        self.give_out(output)
    }

    /// Ends a group that has not resolved: cancels its token, then drops its children. Returns
    /// the first panic of their destructors.
    pub(crate) fn abort(&mut self) -> FirstPanic {
        if self.is_resolved() {
            return FirstPanic::default();
        }
        // A panic that was caught and never came out goes with the group. One of a destructor
        // that runs here is resumed when all have run.
        self.base.panic.discard();
        self.base.admission.parent.disarm();
        self.base.panic.guard(|| self.base.admission.cancel(Reason::Dropped));
        if self.base.has_run_out() {
            self.base.admission.resolve_empty();
        } else {
            self.base.drop_children();
        }
        self.base.panic.guard(|| self.base.admission.give_permits_back());
        self.base.call_hook(|calls| calls.drop_timers);
        self.base.call_hook(|calls| calls.drop_observer);
        self.drop_policy();
        self.base.panic.guard(|| self.base.admission.announce_end());
        core::mem::take(&mut self.base.panic)
    }
}

impl<C: Kind> Base<C> {
    /// Returns `true` if the group has given its output or its panic, or is gone.
    pub(crate) fn is_resolved(&self) -> bool {
        self.admission.phase() >= GroupPhase::Resolved
    }

    /// Returns what has ended the group.
    fn end_reason(&self) -> Reason {
        self.admission.reason().unwrap_or(Reason::Finished)
    }

    /// Drops all children.
    #[inline(never)]
    fn drop_children(&mut self) {
        let unpolled = self.admission.abort(&mut self.set);
        let blocks = core::mem::replace(self.set.blocks(), BlockSet::new());
        blocks.drop_all(&mut |index, dropped| {
            if let Err(payload) = dropped {
                self.panic.keep(payload);
            }
            self.admission.log_finished(index, Outcome::Dropped);
        });
        for (whose, child) in unpolled {
            self.panic.guard(|| drop(child));
            self.admission.log_dropped(&whose);
        }
        self.admission.forget_running();
        self.drop_queued();
    }
}

impl<C: Kind, P, O> Future for Group<C, P, O> {
    type Output = O;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        if self.is_resolved() {
            return Poll::Pending;
        }
        self.poll_with(cx, |group, _, budget| {
            while group.advance(budget) == Driven::Progress && !group.base.has_run_out() {}
            group.conclude(budget)
        })
    }
}

impl<C: Kind, P, O> FusedFuture for Group<C, P, O> {
    fn is_terminated(&self) -> bool {
        self.is_resolved()
    }
}

// The children are pinned in the set, which does not move them; the policy is not pinned.
impl<C: Kind, P, O> Unpin for Group<C, P, O> {}

impl<C: Kind, P, O> Drop for Group<C, P, O> {
    fn drop(&mut self) {
        self.abort().throw();
    }
}
