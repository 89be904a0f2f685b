//! The observer: set by a builder, told before each round and at each poll's end.

use super::Group;
use super::timers::Timers;
use crate::child::Kind;

use crate::reason::Reason;
use crate::util::panic::catch;

/// How often an observer is told of what it has done itself, at the group's end.
const ECHOES: usize = 8;

/// Room for so many events is kept from one time to the next.
const KEPT: usize = 1024;

impl<C: Kind> Timers<C> {
    pub(super) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Lets the observer, if there is one, stand around the poll of a child.
    pub(super) fn watch<R>(&mut self, index: usize, poll: impl FnOnce() -> R) -> R {
        let Some(watcher) = &mut self.observer else {
            return poll();
        };
        let (mut poll, mut answer) = (Some(poll), None);
        C::observer(watcher).around(index, &mut || {
            if let Some(poll) = poll.take() {
                answer = Some(poll());
            }
        });
        match (answer, poll) {
            (Some(answer), _) => answer,
            (None, Some(poll)) => poll(),
            (None, None) => unreachable!("a poll that was begun has returned"),
        }
    }
}

impl<C: Kind, P, O> Group<C, P, O> {
    /// Tells the observer what has happened since the last call. Whether there was anything.
    ///
    /// What it does itself meanwhile it is told next time, or it could go on for ever.
    pub(crate) fn tell(&mut self) -> bool {
        let Some(timers) = &mut self.timers else {
            return false;
        };
        let Timers { observer, events, .. } = &mut **timers;
        let Some(watcher) = observer else {
            return false;
        };
        self.admission.take_events(events);
        if events.is_empty() {
            return false;
        }
        let told = catch(|| {
            let observer = C::observer(watcher);
            events.iter().for_each(|event| observer.on_event(event));
        });
        events.clear();
        events.shrink_to(KEPT);
        if let Err(payload) = told {
            self.admission.end_log();
            let observer = observer.take();
            self.panic.keep(payload);
            self.panic.guard(|| drop(observer));
            self.stop(Reason::Panicked);
        }
        true
    }

    /// Tells the observer the rest, and drops it.
    pub(super) fn dismiss_observer(&mut self) {
        for _ in 0..ECHOES {
            if !self.tell() {
                break;
            }
        }
        self.admission.end_log();
        if let Some(timers) = &mut self.timers {
            let observer = timers.observer.take();
            self.panic.guard(|| drop(observer));
        }
    }
}
