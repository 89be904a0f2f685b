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
use core::task::{Context, Poll, Waker};

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use futures_util::future::FusedFuture;

use crate::admission::Ended;
use crate::panic::{First, Payload, catch, resume};
use crate::set::Finished;
use crate::{Children, Group, Kind, Policy, Reason, Verdict, context};

/// The room for newcomers that a group keeps after a burst of them.
const KEEP: usize = 1024;

/// How many children one poll of a group polls, however many are ready.
pub(crate) const POLLS: usize = 4096;

/// What came of driving the children.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driven {
    /// A child has finished: there may be room.
    Progress,
    /// Nobody is to be polled before somebody wakes.
    Idle,
    /// The budget is spent.
    Spent,
}

/// Polls the children until one has finished, nobody is ready, or the budget is spent.
pub(crate) fn advance<C, P, O>(group: &mut Group<C, P, O>, budget: &mut usize) -> Driven
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    let (id, handed_out) = (group.shared.id(), group.shared.is_handed_out());
    // Rounds in a row without anybody to poll, though somebody rang.
    let mut empty = 0;
    loop {
        if group.shared.is_stopped() {
            group.drain();
        }
        let finished = group.set.poll_round(budget, |child, &index, cx| {
            if handed_out {
                context::inside(id, index, || child.poll_child(cx))
            } else {
                child.poll_child(cx)
            }
        });
        if let Some(finished) = finished {
            report(group, finished);
            return Driven::Progress;
        }
        if *budget == 0 {
            return Driven::Spent;
        }
        let rung = group.shared.bell.take();
        if group.shared.has_mail() {
            group.take_in();
        }
        group.set.gather(rung);
        if !group.set.start_round() {
            // The ring may have been a cancel's: then the queue goes, and wakes who it may.
            if group.shared.is_stopped() && !group.drained {
                continue;
            }
            // A second look, for who rang meanwhile; not for ever, though others ring on:
            // where the bell is rung at the end of a poll, the task is woken.
            empty += 1;
            if empty > 2 || !group.shared.bell.is_rung() {
                return Driven::Idle;
            }
        }
    }
}

/// Reports how a child has ended, and gives its room away.
fn report<C, P, O>(group: &mut Group<C, P, O>, child: Finished<usize, Result<C::Ok, C::Err>>)
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    let index = child.meta;
    let ended = match child.result {
        Ok(result) => {
            let ended = if result.is_ok() { Ended::Ok } else { Ended::Failed };
            let policy = &mut group.policy;
            let heard = catch(|| match policy {
                Some(policy) => policy.on_child(index, result),
                // It has panicked before; the result goes as any other value.
                None => Verdict::Continue,
            });
            match heard {
                Ok(Verdict::Continue) => {}
                Ok(Verdict::Stop(reason)) => group.stop(reason),
                Err(payload) => {
                    group.panicked(payload);
                    group.drop_policy();
                }
            }
            ended
        }
        Err(payload) => {
            group.panicked(payload);
            Ended::Dropped
        }
    };
    group.panic.guard(|| group.shared.finish(index, ended));
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// Begins a poll of the group by the task of `cx`.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>) {
        self.shared.bell.open(cx);
        self.set.begin_turn();
        if self.watch.is_none() {
            let mut watch = self.shared.token.cancelled();
            let waker = Waker::from(Arc::clone(&self.shared.bell));
            // Once registered it rings; what it says, `is_stopped` says as well.
            let _ = Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
            self.watch = Some(watch);
        }
    }

    /// Polls the children until one has finished, nobody is ready, or the budget is spent.
    pub(crate) fn advance(&mut self, budget: &mut usize) -> Driven {
        (self.advance)(self, budget)
    }

    /// Ends a poll; one that ends pending with work left wakes its task.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>, pending: bool) {
        if self.resolved {
            return;
        }
        if pending && (self.shared.has_mail() || self.set.has_ready()) {
            self.shared.bell.ring();
        }
        self.shared.bell.close(cx, pending);
    }

    /// Moves what was admitted into the set.
    fn take_in(&mut self) {
        self.shared.take_inbox(&mut self.inbox);
        for admitted in self.inbox.drain(..) {
            self.set.insert(admitted.child, admitted.index);
        }
        if self.inbox.capacity() > KEEP {
            self.inbox = VecDeque::new();
        }
    }

    /// Cancels the token, unless somebody has, and drops what is queued.
    pub(crate) fn stop(&mut self, reason: Reason) {
        let token = &self.shared.token;
        self.panic.guard(|| token.cancel_with(reason));
        self.drain();
    }

    /// Notes a panic, and stops.
    pub(crate) fn panicked(&mut self, payload: Payload) {
        self.panic.keep(payload);
        self.stop(Reason::Panicked);
    }

    /// Drops what is queued, once, after a stop.
    fn drain(&mut self) {
        if core::mem::replace(&mut self.drained, true) {
            return;
        }
        let mut queued = self.shared.clear_line();
        // Each by itself: a destructor that panics keeps no other from running.
        while !matches!(self.panic.guard(|| queued.next().map(drop)), Some(None)) {}
        if self.panic.is_some() {
            self.panic.guard(|| self.shared.token.cancel_with(Reason::Panicked));
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
        if self.resolved || !self.set.is_empty() || !self.shared.try_close() {
            return Poll::Pending;
        }
        self.resolved = true;
        self.panic.guard(|| self.shared.bell.mute());
        // A cancel may have come just now.
        self.drain();
        let policy = self.policy.as_mut().filter(|_| !self.panic.is_some());
        let output = policy.and_then(|policy| self.panic.guard(|| (self.finish)(policy)));
        let panicked = self.panic.is_some();
        self.stop(if panicked { Reason::Panicked } else { Reason::Finished });
        self.panic.guard(|| self.shared.announce_end());
        match (self.panic.take(), output) {
            (Some(payload), _) => resume(payload),
            (None, Some(output)) => Poll::Ready(output),
            (None, None) => Poll::Pending,
        }
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
        let output = group.try_resolve();
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
    pub(crate) fn shut(&mut self) -> First {
        if core::mem::replace(&mut self.resolved, true) {
            return First::default();
        }
        // A panic that was caught and never came out goes with the group; one of a destructor
        // that runs here is thrown when all have run.
        self.panic.discard();
        let shared = &self.shared;
        self.panic.guard(|| shared.bell.mute());
        self.shared.close_now();
        let shared = &self.shared;
        self.panic.guard(|| shared.token.cancel_with(Reason::Dropped));
        while let Some((_, dropped)) = self.set.drop_one() {
            if let Err(payload) = dropped {
                self.panic.keep(payload);
            }
        }
        shared.take_inbox(&mut self.inbox);
        while let Some(admitted) = self.inbox.pop_front() {
            self.panic.guard(|| drop(admitted));
        }
        self.drain();
        self.drop_policy();
        let shared = &self.shared;
        self.panic.guard(|| shared.announce_end());
        core::mem::take(&mut self.panic)
    }
}

impl<C: Kind, P, O> Drop for Group<C, P, O> {
    fn drop(&mut self) {
        self.shut().throw();
    }
}
