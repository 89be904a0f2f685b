//! Delivers events to the observer: before each round, and at each poll's end.

use core::task::{Context, Poll};

use super::Base;
use super::hooks::Hooks;
use crate::child::Kind;
use crate::child::attach::AsObserver;
use crate::child::set::{ChildSet, SpawnChild};
use crate::observe::around_poll;
use crate::reason::Reason;
use crate::util::panic::{catch, quietly, resume};

/// How many times an observer is told, at the group's end, of what it has just caused itself.
const MAX_ECHOES: usize = 8;

/// Capacity for this many events is kept from one delivery to the next.
const KEPT_EVENTS: usize = 1024;

impl<C: Kind> Hooks<C> {
    /// Polls a child, surrounded by what the group's observer and its name ask for.
    pub(super) fn around_poll<R>(
        &self,
        index: usize,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let mut answer = Poll::Pending;
        let surrounded = catch(|| {
            (self.calls.around_poll)(self, index, cx, &mut |cx| {
                answer = poll(cx);
                answer.is_ready()
            });
        });
        if let Err(payload) = surrounded {
            // The child has returned, and what surrounds its poll has panicked.
            quietly(|| drop(answer));
            resume(payload);
        }
        answer
    }

    /// Polls a child, surrounded by what the observer has asked for, and counted if the group has a
    /// name.
    pub(super) fn around_poll_of(
        &self,
        index: usize,
        cx: &mut Context<'_>,
        poll: &mut dyn FnMut(&mut Context<'_>) -> bool,
    ) -> bool {
        match &self.count_poll {
            None => self.surround_poll(index, || poll(cx)),
            Some(count_poll) => {
                count_poll(index, cx, &mut |cx| self.surround_poll(index, || poll(cx)))
            }
        }
    }

    fn surround_poll(&self, index: usize, poll: impl FnOnce() -> bool) -> bool {
        match &self.polls {
            None => poll(),
            Some(polls) => {
                let (observer, name) = polls.of(index);
                around_poll(observer, index, name, poll)
            }
        }
    }
}

impl<C: Kind> Base<C> {
    /// Tells the observer the events since the last call. Returns `true` if there were any.
    ///
    /// Events that it causes meanwhile are told next time, or this could go on for ever.
    pub(crate) fn deliver_events(&mut self) -> bool {
        let Some(hooks) = &mut *self.hooks else {
            return false;
        };
        let Hooks { observer, polls, events, .. } = &mut **hooks;
        let Some(boxed) = observer else {
            return false;
        };
        self.admission.take_events(events);
        if events.is_empty() {
            return false;
        }
        if let Some(polls) = polls {
            events.iter().for_each(|event| polls.record(event));
        }
        let told = catch(|| {
            let observer = boxed.as_observer();
            events.iter().for_each(|event| observer.on_event(event));
        });
        events.clear();
        events.shrink_to(KEPT_EVENTS);
        if let Err(payload) = told {
            self.panic.keep(payload);
            self.end_observing();
            self.stop(Reason::Panicked);
        }
        true
    }

    /// Tells the observer the remaining events, and drops it.
    pub(super) fn drop_observer(&mut self) {
        for _ in 0..MAX_ECHOES {
            if !self.deliver_events() {
                break;
            }
        }
        self.end_observing();
    }

    fn end_observing(&mut self) {
        self.admission.end_log();
        if let Some(hooks) = &mut *self.hooks {
            let (observer, polls) = (hooks.observer.take(), hooks.polls.take());
            self.panic.guard(|| drop(observer));
            self.panic.guard(|| drop(polls));
            if <C::Set as ChildSet<C>>::Spawner::SPAWNS {
                self.panic.guard(|| self.admission.end_poll_observer());
            }
        }
    }
}
