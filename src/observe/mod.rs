//! The events of a group, and the trait for code that is told them.

#[cfg(feature = "tracing")]
mod tracing;

use alloc::sync::Arc;
use core::fmt;

#[cfg(feature = "tracing")]
pub use self::tracing::TracingObserver;

use crate::reason::Reason;

/// Is told what happens in a group; set by [`Group::with_observer`](crate::Group::with_observer).
///
/// A closure `|event: &Event| …` is an observer. So is a pair of observers.
///
/// # Order
///
/// The observer is told the events in the order in which they happened, on whatever thread that
/// was. It is called on the thread that polls or drops the group: at the latest by the group's next
/// poll, and with all events before the poll that resolves the group, or the drop, returns. No lock
/// is held during the call, so an observer may hold a [`Handle`](crate::Handle) and call it. The
/// events that it causes so are told in a next round of calls. At the group's end there are at
/// most eight rounds, and what comes after them is not told. An event alone does not wake the
/// group.
///
/// The events of a child are `Queued` (if it had to wait in the queue), `Started` (told before it
/// is polled for the first time) and `Finished`. For each `Started` there is a `Finished`, since a
/// child that was started finishes or is dropped. A child that is dropped before it has started has
/// a `Finished` without an index.
///
/// If a child's failure stops the group, its `Finished` comes before `Stopped`, and those of its
/// siblings come after.
///
/// # A handle for an observer
///
/// A handle can only be made after the observer is set. So the observer gets it later, through a
/// cell. See the example `adaptive`, whose observer changes the group's limit.
///
/// # Panics
///
/// A panic of an observer is treated like a child's: the group stops, and the panic resumes out of
/// the group's poll. A panic while the group is dropped resumes out of the drop, unless the thread
/// is unwinding already. The observer is told nothing more.
///
/// # Examples
///
/// ```
/// use errgroup::{Event, Group, task};
///
/// # futures::executor::block_on(async {
/// let mut log = Vec::new();
/// let mut group = Group::new().with_observer(|event: &Event| log.push(event.to_string()));
/// group.queue(task(async { Ok(()) }).name("a"));
/// group.queue(task(async { Err("failed") }).name("b"));
/// assert_eq!(group.await, Err("failed"));
/// assert_eq!(log, [
///     "#0 (a) started",
///     "#1 (b) started",
///     "#0 (a) finished: Ok",
///     "#1 (b) finished: Failed",
///     "stopped: a child failed",
/// ]);
/// # });
/// ```
pub trait Observer {
    /// Is told one event.
    fn on_event(&mut self, event: &Event);

    /// Polls a child by calling `poll` once. An observer can enter a span meanwhile.
    #[doc(hidden)]
    fn around(&mut self, _index: usize, poll: &mut dyn FnMut()) {
        poll();
    }
}

impl<F: FnMut(&Event)> Observer for F {
    fn on_event(&mut self, event: &Event) {
        self(event);
    }
}

/// Both are told each event, the first observer first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_event(&mut self, event: &Event) {
        self.0.on_event(event);
        self.1.on_event(event);
    }

    fn around(&mut self, index: usize, poll: &mut dyn FnMut()) {
        let (first, second) = self;
        first.around(index, &mut || second.around(index, poll));
    }
}

/// Something that happened in a group.
///
/// Later versions may add events and fields, so match with `..`.
///
/// # Examples
///
/// ```
/// use errgroup::{Event, Outcome};
///
/// fn is_bad(event: &Event) -> bool {
///     match event {
///         Event::Finished { outcome, .. } => !matches!(outcome, Outcome::Ok),
///         Event::Rejected { .. } => true,
///         _ => false,
///     }
/// }
/// # let _ = is_bad;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A child was accepted and waits in the queue.
    #[non_exhaustive]
    Queued {
        /// The child's name.
        name: Option<Arc<str>>,
    },
    /// A child was admitted, and is polled from now on.
    #[non_exhaustive]
    Started {
        /// The child's number in the order of admission, from 0.
        index: usize,
        /// The child's name.
        name: Option<Arc<str>>,
    },
    /// A child has finished, or was dropped.
    #[non_exhaustive]
    Finished {
        /// The child's number in the order of admission, or `None` if it was dropped before it
        /// started.
        index: Option<usize>,
        /// The child's name.
        name: Option<Arc<str>>,
        /// How it ended.
        outcome: Outcome,
    },
    /// A child was not accepted. If that happens more than 1,024 times between two polls of the
    /// group, the rest is not told.
    #[non_exhaustive]
    Rejected {
        /// The child's name.
        name: Option<Arc<str>>,
        /// `true` if the group had stopped or was closed, `false` if it or its queue was full.
        stopped: bool,
    },
    /// The limit was changed. If it is changed several times in a row between two polls of the
    /// group, only the last is told.
    #[non_exhaustive]
    LimitChanged {
        /// How many children may run from now on, or `None` if there is no limit.
        limit: Option<usize>,
    },
    /// The group has stopped. This comes once for each group.
    Stopped(Reason),
}

/// How a child ended.
///
/// # Examples
///
/// ```
/// assert_eq!(format!("{:?}", errgroup::Outcome::Dropped), "Dropped");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It returned `Ok`.
    Ok,
    /// It returned `Err`.
    Failed,
    /// It panicked.
    Panicked,
    /// It was dropped before its end.
    Dropped,
}

impl Outcome {
    /// Returns the outcome of a child that returned `result`.
    pub(crate) fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Ok } else { Self::Failed }
    }
}

impl Event {
    /// Returns the child's number in the order of admission, from 0, or `None` if it has not
    /// started or the event is not a child's.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Event, Reason};
    ///
    /// assert_eq!(Event::Stopped(Reason::Done).index(), None);
    /// ```
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::Started { index, .. } => Some(*index),
            Self::Finished { index, .. } => *index,
            _ => None,
        }
    }

    /// Returns the child's [name](crate::Task::name), or `None` if it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Event, Reason};
    ///
    /// assert_eq!(Event::Stopped(Reason::Done).name(), None);
    /// ```
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Queued { name, .. }
            | Self::Started { name, .. }
            | Self::Finished { name, .. }
            | Self::Rejected { name, .. } => name.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index(), self.name()) {
            (Some(index), Some(name)) => write!(f, "#{index} ({name}) ")?,
            (Some(index), None) => write!(f, "#{index} ")?,
            (None, Some(name)) => write!(f, "({name}) ")?,
            (None, None) => {}
        }
        match self {
            Self::Queued { .. } => f.write_str("queued"),
            Self::Started { .. } => f.write_str("started"),
            Self::Finished { outcome, .. } => write!(f, "finished: {outcome:?}"),
            Self::Rejected { stopped: true, .. } => f.write_str("rejected: the group has stopped"),
            Self::Rejected { .. } => f.write_str("rejected: no room"),
            Self::LimitChanged { limit: Some(limit) } => write!(f, "limit: {limit}"),
            Self::LimitChanged { limit: None } => f.write_str("limit: none"),
            Self::Stopped(reason) => write!(f, "stopped: {reason}"),
        }
    }
}
