//! Who stands beside a group's children while it runs: the deadline, the grace and the observer
//! (of whom more in `watch.rs`).
//!
//! Each of the first two is polled only when it was woken, once a poll of the group where it wakes itself; so
//! each has a signal of its own that rings the group's bell. They are looked after at the head
//! of each round, and gone, with whatever their destructors throw, before the group's policy
//! is asked for the output, or after the children where the group is dropped.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::Context;

use crate::child::Kind;
use crate::group::Group;
use crate::observe::{Event, Outcome};
use crate::reason::Reason;
use crate::set::BlockSet;
use crate::util::panic::catch;
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::waker_ref;
use crate::util::wake_flag::WakeFlag;

pub(crate) struct Timers<C: Kind> {
    /// Gone once it has passed, has panicked, or the group has stopped.
    deadline: Option<Timer<C::Timer>>,
    grace: Grace<C>,
    /// Gone once it has panicked.
    pub(super) observer: Option<C::ObserverBox>,
    /// Holds what the observer is told; empty between.
    pub(super) events: VecDeque<Event>,
}

/// How long children may go on after a stop.
enum Grace<C: Kind> {
    /// For as long as they like.
    Endless,
    /// The group has not stopped, or nobody has run since.
    Waiting(C::GraceFn),
    Running(Timer<C::Timer>),
    /// No longer. (A child may come late: admitted on another thread while the token was
    /// being cancelled.)
    Over,
}

/// A future that is polled when it was woken.
struct Timer<F> {
    future: F,
    signal: Arc<WakeFlag>,
    /// It woke itself while it was polled: not again in this turn.
    yielded: bool,
}

// === impl Company ===

impl<C: Kind> Timers<C> {
    pub(super) fn new() -> Self {
        Self { deadline: None, grace: Grace::Endless, observer: None, events: VecDeque::new() }
    }

    pub(super) fn set_deadline(&mut self, deadline: C::Timer, parent: &Arc<ParentWaker>) {
        self.deadline = Some(Timer::new(deadline, parent));
    }

    pub(super) fn set_grace(&mut self, grace: C::GraceFn) {
        self.grace = Grace::Waiting(grace);
    }

    /// Begins a poll of the group.
    pub(super) fn begin_turn(&mut self) {
        if let Some(deadline) = &mut self.deadline {
            deadline.yielded = false;
        }
        if let Grace::Running(timer) = &mut self.grace {
            timer.yielded = false;
        }
    }
}

// === impl Timer ===

impl<F> Timer<F> {
    fn new(future: F, parent: &Arc<ParentWaker>) -> Self {
        Self { future, signal: WakeFlag::new(Arc::clone(parent)), yielded: false }
    }
}

impl<F: Future<Output = ()> + Unpin> Timer<F> {
    /// Polls it if it was woken; whether it is done.
    fn poll(&mut self) -> bool {
        if self.yielded || !self.signal.take_woken() {
            return false;
        }
        let waker = waker_ref(&self.signal);
        let done = Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker)).is_ready();
        self.yielded = self.signal.is_woken();
        done
    }
}

impl<F> Drop for Timer<F> {
    fn drop(&mut self) {
        self.signal.disarm();
    }
}

// === impl Group ===

impl<C: Kind, P, O> Group<C, P, O> {
    /// Looks after who stands beside the children.
    #[cold]
    #[inline(never)]
    pub(super) fn attend(&mut self) {
        // Apart from the group meanwhile, which may have to be stopped.
        let Some(mut timers) = self.timers.take() else {
            return;
        };
        let Timers { deadline, grace, .. } = &mut *timers;
        self.attend_deadline(deadline);
        if self.admission.is_stopped() {
            // So that who is left runs.
            self.drain();
            self.attend_grace(grace);
        }
        self.timers = Some(timers);
    }

    fn attend_deadline(&mut self, deadline: &mut Option<Timer<C::Timer>>) {
        let Some(timer) = deadline else {
            return;
        };
        if !self.admission.is_stopped() {
            match catch(|| timer.poll()) {
                Ok(false) => return,
                Ok(true) => {
                    self.panic.guard(|| self.admission.cancel(Reason::Deadline));
                    self.admission.report_stop();
                }
                Err(payload) => self.panicked(payload),
            }
        }
        self.discharge(deadline.take());
    }

    fn attend_grace(&mut self, grace: &mut Grace<C>) {
        if matches!(grace, Grace::Waiting(_)) && self.has_running() {
            if let Grace::Waiting(start) = core::mem::replace(grace, Grace::Endless) {
                match catch(start) {
                    Ok(timer) => *grace = Grace::Running(Timer::new(timer, &self.admission.parent)),
                    Err(payload) => self.panicked(payload),
                }
            }
        }
        if let Grace::Running(timer) = grace {
            let after = match catch(|| timer.poll()) {
                Ok(false) => return,
                Ok(true) => Grace::Over,
                Err(payload) => {
                    self.panicked(payload);
                    Grace::Endless
                }
            };
            let before = core::mem::replace(grace, after);
            self.discharge(before);
        }
        if matches!(grace, Grace::Over) && self.has_running() {
            self.cut_off();
        }
    }

    /// Drops what has done its part.
    fn discharge<T>(&mut self, part: T) {
        if let Err(payload) = catch(|| drop(part)) {
            self.panicked(payload);
        }
    }

    /// Drops the children that still run, after a stop.
    fn cut_off(&mut self) {
        self.admission.take_in(&mut self.set);
        // Of those who run elsewhere, the set has who is done: they have a result to be heard of,
        // or a panic.
        if !self.admission.is_elsewhere() {
            self.cut_off_here();
        }
        for (index, child) in self.admission.recall() {
            self.discharge(child);
            self.admission.report(index, Outcome::Dropped);
            self.admission.finish(index, Outcome::Dropped);
        }
        self.admission.admit_next(&mut self.set);
    }

    fn cut_off_here(&mut self) {
        // A set of which somebody is in the midst of a round is not to be mended: the group goes
        // on with a new one, whose blocks the wakers of the old one may ring for nothing.
        let mut set = core::mem::replace(&mut self.set, BlockSet::new());
        while let Some((index, dropped)) = set.drop_one() {
            self.admission.report(index, Outcome::Dropped);
            if let Err(payload) = dropped {
                self.panicked(payload);
            }
            self.admission.finish(index, Outcome::Dropped);
        }
    }

    /// Whether children run, be they taken in or not.
    pub(crate) fn has_running(&mut self) -> bool {
        !self.set.is_empty() || self.admission.has_others()
    }

    /// Whether the next poll has to [`attend`](Self::attend), though nobody ring.
    #[cold]
    #[inline(never)]
    pub(super) fn is_to_attend(&mut self) -> bool {
        let (stopped, running) = (self.admission.is_stopped(), self.has_running());
        let Some(Timers { deadline, grace, .. }) = self.timers.as_deref() else {
            return false;
        };
        let is_woken = |timer: &Timer<_>| timer.signal.is_woken();
        match grace {
            Grace::Waiting(_) | Grace::Over if stopped => running,
            Grace::Running(timer) => is_woken(timer),
            _ => !stopped && deadline.as_ref().is_some_and(is_woken),
        }
    }

    /// Drops the deadline and the grace, when the children are gone.
    #[cold]
    pub(super) fn dismiss(&mut self) {
        let Some(timers) = &mut self.timers else {
            return;
        };
        let Timers { deadline, grace, .. } = &mut **timers;
        // Each by itself: one whose destructor panics keeps no other from being dropped.
        self.panic.guard(|| *deadline = None);
        self.panic.guard(|| *grace = Grace::Endless);
    }
}
