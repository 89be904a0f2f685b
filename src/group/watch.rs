//! The observer: set by a builder, told before each round and at each poll's end.

use alloc::boxed::Box;

use super::Group;
use super::timers::Timers;
use crate::child::Seal;
use crate::child::attach::Attach;
use crate::child::{Children, Kind};
use crate::observe::Observer;
use crate::reason::Reason;
use crate::util::panic::catch;

/// How often an observer is told of what it has done itself, at the group's end.
const ECHOES: usize = 8;

/// Room for so many events is kept from one time to the next.
const KEPT: usize = 1024;

impl<C: Children, P, O> Group<C, P, O> {
    /// Tells an observer what happens in the group: who is queued, starts, finishes, is
    /// rejected; when the limit changes, and the stop. See [`Observer`].
    ///
    /// The last observer that is set holds. A group without one pays nothing for it.
    ///
    /// # Panics
    ///
    /// Where the group has children already, or a handle was made.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Event, Group};
    ///
    /// # futures::executor::block_on(async {
    /// let mut running = 0;
    /// let mut most = 0;
    /// let mut group = Group::new().with_limit(3).with_observer(|event: &Event| {
    ///     match event {
    ///         Event::Started { .. } => running += 1,
    ///         Event::Finished { index: Some(_), .. } => running -= 1,
    ///         _ => {}
    ///     }
    ///     most = most.max(running);
    /// });
    /// for n in 0..10 {
    ///     group.queue(async move { Ok::<_, ()>(n) });
    /// }
    /// group.await.unwrap();
    /// assert_eq!((running, most), (0, 3));
    /// # });
    /// ```
    #[track_caller]
    pub fn with_observer<W>(mut self, observer: W) -> Self
    where
        W: Observer + Attach<C>,
    {
        let untouched = !self.resolved && self.admission.observe();
        assert!(untouched, "call `with_observer` before the group's first child or `handle`");
        let observer = observer.into_observer(Seal::new());
        let timers = self.timers.get_or_insert_with(|| Box::new(Timers::new()));
        timers.observer = Some(observer);
        self
    }
}

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
