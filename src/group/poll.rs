//! How a group runs: the one place where the set, admission, the policy and the token meet.
//!
//! # States
//!
//! A group is *open* while its token is not cancelled; then it admits. It has *stopped* once
//! the token is, by whomever; then it admits no more, has dropped its queue (by the next poll
//! at the latest), and polls on what runs. It is *resolved* once it has given its output or
//! thrown its panic, with nobody left in the set, in the inbox or in line; after that it only
//! stays pending.
//!
//! # Order at a child's end
//!
//! The child is dropped, the policy hears its result, a stop cancels the token and clears the
//! line, and only then is its room given away; so a failure admits nobody.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;

use crate::admission::Whose;
use crate::child::{Children, Kind};
use crate::group::Group;
use crate::observe::Outcome;
use crate::policy::{Policy, Verdict};
use crate::reason::Reason;
use crate::util::current;
use crate::util::panic::{FirstPanic, Payload, catch, discard, resume};

/// How many children one poll of a group polls, however many are ready.
pub(crate) const POLLS: usize = 4096;

/// What came of driving the children.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driven {
    /// Children have finished: there may be room.
    Progress,
    /// Nobody is to be polled before somebody wakes.
    Idle,
    /// The budget is spent.
    Spent,
}

/// Whose code runs at the moment; so, who has panicked.
#[derive(Clone, Copy)]
enum Stage {
    Ours,
    /// The poll or the destructor of the set's current child.
    Child,
    /// The policy's, which hears of a child that is gone: the current one.
    Policy(Outcome),
}

/// How far the children's turns have come, kept where a panic doesn't reach.
struct Turn<R> {
    stage: Stage,
    /// What the current child has returned, while its destructor runs.
    returned: Option<R>,
    /// The policy wants a stop, having heard of that child.
    stop: Option<(Reason, usize, Outcome)>,
}

/// Polls the children until some have finished, nobody is ready, or the budget is spent. A
/// round that was begun is gone through to its end.
///
/// With `KEEP`, a child that has finished keeps its room: whoever fetches its result from the
/// policy gives it back.
pub(crate) fn advance<C, P, O, const KEEP: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut usize,
) -> Driven
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    let mut turn = Turn { stage: Stage::Ours, returned: None, stop: None };
    // One guard for all the children of the poll; the stage tells whose panic it was.
    match catch(|| drive::<C, P, O, KEEP>(group, budget, &mut turn)) {
        Ok(driven) => driven,
        Err(payload) => {
            recover(group, budget, turn, payload);
            Driven::Progress
        }
    }
}

fn drive<C, P, O, const KEEP: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut usize,
    turn: &mut Turn<Result<C::Ok, C::Err>>,
) -> Driven
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    // Rounds in a row without anybody to poll, though somebody rang.
    let mut empty = 0;
    while *budget != 0 {
        if group.timers.is_some() {
            group.attend();
        }
        if group.admission.is_stopped() {
            group.drain();
        }
        if group.admission.has_semaphore() {
            // A foreign waker that panics is its executor's fault.
            let _ = catch(|| group.admission.acquire()).map_err(discard);
        }
        if !group.set.is_in_round() {
            let news = core::mem::take(&mut group.news).merge(group.admission.parent.take_ready());
            group.admission.take_in(&mut group.set);
            if group.timers.is_some() {
                // Before anybody is polled whom it took in.
                group.tell();
                if group.admission.is_stopped() {
                    group.drain();
                }
            }
            if !group.set.start_round(news) {
                // The ring may have been a cancel's: then the queue goes, and wakes who it may.
                if group.admission.is_stopped() && !group.drained {
                    continue;
                }
                // A second look, for who rang meanwhile; not for ever, though others ring on:
                // where the bell is rung at the end of a poll, the task is woken.
                empty += 1;
                if empty > 2 || !group.admission.parent.is_notified() {
                    return Driven::Idle;
                }
                continue;
            }
        }
        if drive_round::<C, P, O, KEEP>(group, budget, turn) {
            return Driven::Progress;
        }
    }
    Driven::Spent
}

/// Goes on with the round to its end, or until the budget is spent. Whether some have finished.
fn drive_round<C, P, O, const KEEP: bool>(
    group: &mut Group<C, P, O>,
    budget: &mut usize,
    turn: &mut Turn<Result<C::Ok, C::Err>>,
) -> bool
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    let mut progress = false;
    // Children of a group that has handles may ask for room in it, and are to be known then.
    let known = group.admission.shared().map(|shared| shared.id());
    loop {
        let Group { set, admission, policy, timers, .. } = &mut *group;
        let mut timers = timers.as_deref_mut();
        let observed = timers.as_ref().is_some_and(|timers| timers.is_observed());
        let Turn { stage, returned, stop } = &mut *turn;
        *stage = Stage::Child;
        let over = set.poll_round(
            budget,
            returned,
            |child, index, cx| match known {
                None => child.poll_child(cx),
                Some(id) => current::enter(id, index, || match &mut timers {
                    None => child.poll_child(cx),
                    Some(timers) => timers.watch(index, || child.poll_child(cx)),
                }),
            },
            |index, result| {
                progress = true;
                let ended = if result.is_ok() { Outcome::Ok } else { Outcome::Failed };
                if observed {
                    // First: the policy may stop the group.
                    admission.report(index, ended);
                }
                *stage = Stage::Policy(ended);
                let verdict = match policy {
                    Some(policy) => policy.on_child(index, result),
                    // It has panicked, and hears of nobody; the result goes as any value.
                    None => {
                        drop(result);
                        Verdict::Continue
                    }
                };
                if let Verdict::Stop(reason) = verdict {
                    *stop = Some((reason, index, ended));
                    return false;
                }
                *stage = Stage::Child;
                if KEEP {
                    admission.keep(index);
                } else {
                    admission.finish(index, ended);
                }
                true
            },
        );
        turn.stage = Stage::Ours;
        if let Some((reason, index, ended)) = turn.stop.take() {
            group.stop(reason);
            if KEEP {
                group.admission.keep(index);
            } else {
                group.admission.finish(index, ended);
            }
            if group.leaves_at_stop {
                return true;
            }
        }
        group.admission.admit_next(&mut group.set);
        if over || *budget == 0 {
            return progress;
        }
    }
}

/// Puts a group in order in which somebody has panicked.
#[cold]
fn recover<C: Kind, P, O, R>(
    group: &mut Group<C, P, O>,
    budget: &mut usize,
    turn: Turn<R>,
    payload: Payload,
) {
    let heard = match turn.stage {
        Stage::Child => None,
        Stage::Policy(ended) => Some(ended),
        // Not by any user's code: the group is broken, and says so.
        Stage::Ours => resume(payload),
    };
    let (place, index) = group.set.interrupted();
    *budget -= group.set.recover_counts();
    if heard.is_none() {
        // The value goes with the destructor's panic, which may be its own.
        let _ = catch(|| drop(turn.returned)).map_err(discard);
        if let Err(second) = catch(|| group.set.remove(place)) {
            discard(second);
            group.set.remove(place);
        }
    }
    let ended = heard.unwrap_or(Outcome::Panicked);
    if heard.is_none() {
        group.admission.report(index, ended);
    }
    group.panicked(payload);
    if heard.is_some() {
        group.drop_policy();
    }
    group.admission.finish(index, ended);
    group.admission.admit_next(&mut group.set);
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// Begins a poll of the group by the task of `cx`.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>) {
        self.news = self.news.merge(self.admission.parent.begin_poll(cx));
        self.set.begin_turn();
        self.admission.begin_poll();
        if let Some(timers) = &mut self.timers {
            timers.begin_turn();
        }
    }

    /// Polls the children until some have finished, nobody is ready, or the budget is spent.
    pub(crate) fn advance(&mut self, budget: &mut usize) -> Driven {
        (self.advance)(self, budget)
    }

    /// Resolves, after the children were polled, if that was the end. Where only daemons are
    /// left, it is time for them to end.
    pub(crate) fn conclude(&mut self, budget: &mut usize) -> Poll<O> {
        self.tell();
        if self.admission.has_daemons_only() {
            self.stop(Reason::Finished);
            while self.advance(budget) == Driven::Progress {}
        }
        self.try_resolve()
    }

    /// Ends a poll; one that ends pending with work left wakes its task.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>, pending: bool) {
        if self.resolved {
            return;
        }
        // News that came before a round which took the whole poll are still to be looked at.
        let left = self.news.any()
            || self.admission.has_mail()
            || self.set.has_ready()
            || self.admission.has_to_acquire()
            || (self.timers.is_some() && self.is_to_attend());
        if pending && left {
            self.admission.parent.notify();
        }
        self.admission.end_poll();
        self.admission.parent.end_poll(cx, pending);
    }

    /// Cancels the token, unless somebody has, and drops what is queued.
    pub(crate) fn stop(&mut self, reason: Reason) {
        self.cancel(reason);
        self.drain();
    }

    /// Cancels the token, unless somebody has.
    fn cancel(&mut self, reason: Reason) {
        let cancelled = self.panic.guard(|| self.admission.cancel(reason));
        self.stopped_itself |= cancelled == Some(true);
        self.admission.report_stop();
    }

    /// Notes a panic, and stops.
    pub(crate) fn panicked(&mut self, payload: Payload) {
        self.panic.keep(payload);
        self.stop(Reason::Panicked);
    }

    /// Drops what is queued, once, after a stop.
    pub(super) fn drain(&mut self) {
        if core::mem::replace(&mut self.drained, true) || self.admission.has_no_line() {
            return;
        }
        let mut queued = self.admission.clear_line();
        // Each by itself: a destructor that panics keeps no other from running.
        while !matches!(self.panic.guard(|| queued.next().map(drop)), Some(None)) {}
        if self.panic.is_some() {
            self.cancel(Reason::Panicked);
        }
    }

    fn drop_policy(&mut self) {
        let policy = self.policy.take();
        self.panic.guard(|| drop(policy));
    }

    pub(crate) fn is_resolved(&self) -> bool {
        self.resolved
    }

    /// Resolves if nothing runs and nothing waits: with the output, or the panic.
    pub(crate) fn try_resolve(&mut self) -> Poll<O> {
        if self.resolved || !self.set.is_empty() || !self.admission.try_close() {
            return Poll::Pending;
        }
        self.resolved = true;
        self.panic.guard(|| self.admission.parent.disarm());
        // A cancel may have come just now.
        self.drain();
        if self.timers.is_some() {
            self.dismiss();
        }
        let policy = self.policy.as_mut().filter(|_| !self.panic.is_some());
        let output = policy.and_then(|policy| self.panic.guard(|| (self.finish)(policy)));
        let panicked = self.panic.is_some();
        self.stop(if panicked { Reason::Panicked } else { Reason::Finished });
        let output = output.and_then(|output| self.amended(output));
        self.dismiss_observer();
        self.panic.guard(|| self.admission.announce_end());
        if let Some(payload) = self.panic.take() {
            // By itself: thrown while another unwinds, a panic of its destructor would abort.
            let _ = catch(|| drop(output)).map_err(discard);
            resume(payload);
        }
        output.map_or(Poll::Pending, Poll::Ready)
    }
}

impl<C: Kind, P, O> Future for Group<C, P, O> {
    type Output = O;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        let group = &mut *self;
        if group.resolved {
            return Poll::Pending;
        }
        group.begin(cx);
        let mut budget = POLLS;
        while group.advance(&mut budget) == Driven::Progress {}
        let output = group.conclude(&mut budget);
        group.end(cx, output.is_pending());
        output
    }
}

impl<C: Kind, P, O> FusedFuture for Group<C, P, O> {
    fn is_terminated(&self) -> bool {
        self.resolved
    }
}

// The children are pinned in the set, which does not move them; the policy is not pinned.
impl<C: Kind, P, O> Unpin for Group<C, P, O> {}

impl<C: Kind, P, O> Group<C, P, O> {
    /// Ends a group that has not resolved: cancels its token, then drops its children. Gives
    /// back the first panic of their destructors.
    pub(crate) fn shut(&mut self) -> FirstPanic {
        if core::mem::replace(&mut self.resolved, true) {
            return FirstPanic::default();
        }
        // A panic that was caught and never came out goes with the group; one of a destructor
        // that runs here is thrown when all have run.
        self.panic.discard();
        self.panic.guard(|| self.admission.parent.disarm());
        self.cancel(Reason::Dropped);
        let mailed = self.admission.close_now();
        while let Some((index, dropped)) = self.set.drop_one() {
            if let Err(payload) = dropped {
                self.panic.keep(payload);
            }
            self.admission.report(index, Outcome::Dropped);
        }
        for (whose, child) in mailed {
            self.panic.guard(|| drop(child));
            match whose {
                Whose::Started(index) => self.admission.report(index, Outcome::Dropped),
                Whose::Waiting(options) => self.admission.report_unstarted(options),
            }
        }
        self.drain();
        self.panic.guard(|| self.admission.give_permits_back());
        self.dismiss();
        self.dismiss_observer();
        self.drop_policy();
        self.panic.guard(|| self.admission.announce_end());
        core::mem::take(&mut self.panic)
    }
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// Ends the group, whoever still runs: makes its output of what the policy has heard by now,
    /// drops the children, then calls `leave`, which drops what stood beside them. The first panic
    /// of it all, or the one that the group keeps, goes on when nobody is left.
    pub(crate) fn finish_now(&mut self, leave: impl FnOnce(&mut FirstPanic)) -> Poll<O> {
        let finish = self.finish;
        let mut panic = core::mem::take(&mut self.panic);
        let policy = self.policy.as_mut().filter(|_| !panic.is_some());
        let output = policy.and_then(|policy| panic.guard(|| finish(policy)));
        if let Some(payload) = self.shut().take() {
            panic.keep(payload);
        }
        leave(&mut panic);
        match panic.take() {
            None => output.map_or(Poll::Pending, Poll::Ready),
            Some(payload) => {
                // Before the unwinding, in which a panic of its destructor would abort.
                let _ = catch(|| drop(output)).map_err(discard);
                resume(payload)
            }
        }
    }
}

impl<C: Kind, P, O> Drop for Group<C, P, O> {
    fn drop(&mut self) {
        self.shut().throw();
    }
}
