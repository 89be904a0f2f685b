//! What a group polls and tells beside its children: the deadline, the grace, the gates (in
//! `gates.rs`), and the observer (whose events `observer.rs` delivers).
//!
//! A timer is polled only when it was woken, and once a poll of the group if it wakes itself; so
//! each has a flag of its own that notifies the group's task. The grace is polled before each
//! round. The deadline is polled after it, unless the group has come to its end by then, and before
//! the queue gets room. So children that were woken and are done are so in time, however late the
//! group is polled. Both are dropped before the policy is asked for the output, or after the
//! children if the group is dropped.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::pin::Pin;
use core::task::Context;

use super::gates::Gates;
use super::surround::{CountPoll, SurroundPolls};
use super::{Base, OnStop};
use crate::child::Kind;
use crate::child::attach::AttachScope;
use crate::child::set::ChildSet;
use crate::child::task::Options;
use crate::observe::Event;
use crate::reason::Reason;
use crate::util::flagged::Flagged;
use crate::util::panic::{catch, quietly};

type TimerOf<C> = <<C as Kind>::Scope as AttachScope>::Timer;
type ObserverOf<C> = <<C as Kind>::Scope as AttachScope>::Observer;

pub(crate) struct Hooks<C: Kind> {
    pub(super) calls: HookCalls<C>,
    /// Gone once it has passed, has panicked, or the group has stopped.
    pub(super) deadline: Option<Flagged<TimerOf<C>>>,
    pub(super) grace: Grace<C::Scope>,
    /// Gone once it has panicked.
    pub(super) observer: Option<ObserverOf<C>>,
    /// Surrounds the children's polls.
    pub(super) polls: Option<Box<dyn SurroundPolls>>,
    pub(super) gates: Option<Box<Gates<C::Scope>>>,
    /// Counts the polls of the children that the group polls, if it has a name.
    pub(super) count_poll: Option<CountPoll>,
    /// Holds the events that are being delivered; empty between.
    pub(super) events: Vec<Event>,
}

/// The hooks of a group, or none. They are dropped by `HookCalls::drop`, so a program without hooks
/// does not contain the code for that.
pub(super) struct OptionalHooks<C: Kind>(ManuallyDrop<Option<Box<Hooks<C>>>>);

/// What a group calls of its hooks. It is reached by these pointers, so a program without hooks
/// does not contain it.
pub(super) struct HookCalls<C: Kind> {
    pub(super) poll_grace_after_stop: HookCall<C>,
    pub(super) poll_deadline: HookCall<C, bool>,
    pub(super) must_poll_hooks: HookCall<C, bool>,
    pub(super) drop_hooks: HookCall<C>,
    pub(super) abort_running: HookCall<C>,
    pub(super) poll_gates: HookCall<C>,
    pub(super) poll_gates_for: fn(&mut Base<C>, Option<&mut Options>),
    pub(super) must_drop_guards: HookCall<C, bool>,
    pub(super) drop_guards: HookCall<C>,
    pub(super) deliver_events: HookCall<C, bool>,
    pub(super) drop_observer: HookCall<C>,
    pub(super) around_poll: AroundPoll<C>,
    drop: fn(Box<Hooks<C>>),
}

type HookCall<C, R = ()> = fn(&mut Base<C>) -> R;

type AroundPoll<C> =
    fn(&Hooks<C>, usize, &mut Context<'_>, &mut dyn FnMut(&mut Context<'_>) -> bool) -> bool;

/// How long children may run on after a stop.
pub(super) enum Grace<S: AttachScope> {
    /// Without a bound.
    Endless,
    /// The group has not stopped, or no child has run since.
    Waiting(S::GraceFn),
    Running(Flagged<S::Timer>),
    /// No longer. (A child may come late, admitted on another thread while the token was being
    /// cancelled.)
    Over,
}

// === impl Hooks ===

impl<C: Kind> Hooks<C> {
    pub(super) fn new() -> Self {
        let (grace, events) = (Grace::Endless, Vec::new());
        let (deadline, observer, polls, gates, count_poll) = (None, None, None, None, None);
        let calls = HookCalls {
            poll_grace_after_stop: Base::poll_grace_after_stop,
            poll_deadline: Base::check_deadline,
            must_poll_hooks: Base::must_poll_hooks,
            drop_hooks: Base::drop_hooks,
            abort_running: Base::abort_running,
            poll_gates: Base::poll_gates,
            poll_gates_for: Base::poll_gates_for_one,
            must_drop_guards: Base::must_drop_guards,
            drop_guards: Base::drop_guards,
            deliver_events: Base::deliver_events,
            drop_observer: Base::drop_observer,
            around_poll: Self::around_poll_of,
            drop,
        };
        Self { calls, deadline, grace, observer, polls, gates, count_poll, events }
    }

    /// Returns `true` if the group polls more than its children: a timer, or gates.
    #[inline]
    fn has_futures(&self) -> bool {
        self.deadline.is_some() || self.gates.is_some() || !matches!(self.grace, Grace::Endless)
    }

    /// Returns `true` if code runs around the polls of children.
    #[inline]
    pub(super) fn surrounds_polls(&self) -> bool {
        self.polls.is_some() || self.count_poll.is_some()
    }

    /// Begins a poll of the group.
    pub(super) fn begin_poll(&mut self) {
        let Self { deadline, grace, gates, .. } = self;
        let running = if let Grace::Running(timer) = grace { Some(timer) } else { None };
        deadline.iter_mut().chain(running).for_each(|timer| Pin::new(timer).begin_poll());
        gates.iter_mut().for_each(|gates| gates.begin_poll());
    }
}

// === impl OptionalHooks ===

impl<C: Kind> OptionalHooks<C> {
    pub(super) const NONE: Self = Self(ManuallyDrop::new(None));
}

impl<C: Kind> Deref for OptionalHooks<C> {
    type Target = Option<Box<Hooks<C>>>;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<C: Kind> DerefMut for OptionalHooks<C> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<C: Kind> Drop for OptionalHooks<C> {
    #[inline]
    fn drop(&mut self) {
        if let Some(hooks) = self.take() {
            (hooks.calls.drop)(hooks);
        }
    }
}

// === impl Base ===

impl<C: Kind> Base<C> {
    /// Polls the grace, after a stop.
    #[cold]
    #[inline(never)]
    pub(super) fn poll_grace_after_stop(&mut self) {
        // Apart from the group meanwhile, which may have to be stopped.
        let Some(mut hooks) = self.hooks.take() else {
            return;
        };
        let Hooks { deadline, grace, .. } = &mut *hooks;
        if self.admission.is_stopped() {
            if deadline.is_some() {
                self.drop_part(deadline.take());
            }
            // What is left then runs.
            self.drop_queued();
            self.poll_grace(grace);
        }
        *self.hooks = Some(hooks);
    }

    /// Returns `true` if the group polls a timer or gates beside its children. (An observer is only
    /// called.)
    #[inline]
    pub(super) fn has_futures(&self) -> bool {
        self.hooks.as_ref().is_some_and(|hooks| hooks.has_futures())
    }

    /// Returns `true` if more is done for each child than to poll it.
    #[cold]
    #[inline(never)]
    pub(super) fn hooks_concern_children(&self) -> bool {
        // A group that drops its children at a stop has hooks.
        self.hooks.as_ref().is_some_and(|hooks| {
            let Hooks { observer, gates, .. } = &**hooks;
            observer.is_some()
                || gates.is_some()
                || hooks.surrounds_polls()
                || (self.on_stop == OnStop::Drop && self.admission.may_stop_in_round())
        })
    }

    /// Calls what `pick` picks, if there are hooks.
    #[inline]
    pub(super) fn call_hook<R>(&mut self, pick: fn(&HookCalls<C>) -> HookCall<C, R>) -> Option<R> {
        let call = pick(&self.hooks.as_ref()?.calls);
        Some(call(self))
    }

    /// Polls the deadline after a round, unless the group need not wait any more. Returns `true` if
    /// it was polled.
    #[cold]
    pub(super) fn poll_deadline_after_round(&mut self) -> bool {
        self.has_futures() && !self.admission.is_over() && self.poll_deadline()
    }

    /// Polls the deadline if it was woken. Returns `true` if it was polled.
    pub(super) fn poll_deadline(&mut self) -> bool {
        self.call_hook(|calls| calls.poll_deadline).unwrap_or(false)
    }

    #[cold]
    fn check_deadline(&mut self) -> bool {
        let hooks = self.hooks.as_mut().filter(|_| !self.admission.is_stopped());
        let deadline = hooks.and_then(|hooks| hooks.deadline.as_mut());
        let Some(timer) = deadline.filter(|timer| timer.is_due()) else {
            return false;
        };
        match catch(|| Pin::new(timer).poll().is_ready()) {
            Ok(false) => return true,
            Ok(true) => {
                self.admission.withhold_freed_room();
                // The waker of a waiter may panic, which is none of the group's.
                quietly(|| self.admission.cancel(Reason::Deadline));
            }
            Err(payload) => self.panicked(payload),
        }
        let deadline = self.hooks.as_mut().and_then(|hooks| hooks.deadline.take());
        self.drop_part(deadline);
        true
    }

    fn poll_grace(&mut self, grace: &mut Grace<C::Scope>) {
        if matches!(grace, Grace::Waiting(_)) && self.has_unended() {
            if let Grace::Waiting(start) = core::mem::replace(grace, Grace::Endless) {
                match catch(start) {
                    Ok(timer) => {
                        *grace = Grace::Running(Flagged::new(timer, &self.admission.parent))
                    }
                    Err(payload) => self.panicked(payload),
                }
            }
        }
        if let Grace::Running(timer) = grace {
            let after = match catch(|| Pin::new(timer).poll().is_ready()) {
                Ok(false) => return,
                Ok(true) => Grace::Over,
                Err(payload) => {
                    self.panicked(payload);
                    Grace::Endless
                }
            };
            let before = core::mem::replace(grace, after);
            self.drop_part(before);
        }
        if matches!(grace, Grace::Over) && self.has_running() {
            self.abort_running();
        }
    }

    /// Returns `true` if a timer or a gate is to be polled now, or a guard that is over dropped.
    #[cold]
    #[inline(never)]
    pub(super) fn must_poll_hooks(&mut self) -> bool {
        let stopped = self.admission.is_stopped();
        if self.must_drop_guards() || (!stopped && self.must_poll_gates()) {
            return true;
        }
        let Some(Hooks { deadline, grace, .. }) = self.hooks.as_deref() else {
            return false;
        };
        match grace {
            // A child that has ended on its executor notifies the group when it reports.
            Grace::Waiting(_) | Grace::Over if stopped => {
                !self.set.blocks().is_empty()
                    || self.set.has_unended()
                    || self.admission.has_started(&self.set)
            }
            Grace::Running(timer) => timer.is_woken(),
            _ => !stopped && deadline.as_ref().is_some_and(Flagged::is_woken),
        }
    }

    /// Drops the deadline, the grace and the gates, when the children are gone.
    #[cold]
    pub(super) fn drop_hooks(&mut self) {
        let Some(hooks) = &mut *self.hooks else {
            return;
        };
        let Hooks { deadline, grace, .. } = &mut **hooks;
        // One at a time: a destructor that panics keeps no other from running.
        self.panic.guard(|| *deadline = None);
        self.panic.guard(|| *grace = Grace::Endless);
        self.drop_gates();
    }
}
