//! What happens in a group, told one event at a time.

#[cfg(feature = "tracing")]
mod tracing;

use alloc::sync::Arc;
use core::fmt;

#[cfg(feature = "tracing")]
pub use self::tracing::TracingObserver;

use crate::reason::Reason;

/// Hears what happens in a group; set by [`Group::with_observer`](crate::Group::with_observer).
///
/// A closure is one: `|event: &Event| …`. Two of them are one as well: `(one, other)`.
///
/// # Order
///
/// Events come in the order in which things happened, whichever thread did them. They are told on
/// the thread that polls the group or drops it, at the latest by the group's next poll, and all
/// of them before the poll that resolves the group returns, or the drop does. No lock is held
/// meanwhile, so an observer may hold a [`Handle`](crate::Handle), and call it. An event alone
/// does not wake the group.
///
/// A child's story is `Queued` (where it had to wait in the queue), `Started`, told before it is
/// polled for the first time, and `Finished`. A child that fails has finished before the group
/// has stopped; its siblings come after. Each child that was started finishes, or is dropped:
/// there is a `Finished` for each `Started`. One that is dropped before it has started has a
/// `Finished` without an index.
///
/// # A handle for an observer
///
/// It is made after the observer is set, so it comes later, by a cell: see the example
/// `adaptive`, whose observer changes the group's limit.
///
/// # Panics
///
/// A panic of an observer is treated as a child's: the group stops, and the panic resumes
/// out of the group's poll. The observer hears of nothing more.
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
    /// Hears of one event.
    fn on_event(&mut self, event: &Event);

    /// Polls a child, by calling `poll` once; for an observer that enters a span meanwhile.
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

/// Both hear of everything, the first one first.
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
/// More kinds of events may come, and more fields: match with `..`.
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
    /// A child was accepted, and has to wait in the queue.
    #[non_exhaustive]
    Queued {
        /// The child's name.
        name: Option<Arc<str>>,
    },
    /// A child was admitted: it is polled from now on.
    #[non_exhaustive]
    Started {
        /// Its place in the order of admission.
        index: usize,
        /// The child's name.
        name: Option<Arc<str>>,
    },
    /// A child has ended, or was dropped.
    #[non_exhaustive]
    Finished {
        /// Its place in the order of admission; `None` where it was dropped before.
        index: Option<usize>,
        /// The child's name.
        name: Option<Arc<str>>,
        /// How it ended.
        outcome: Outcome,
    },
    /// A child was not accepted. Of more than 1,024 between two polls of the group the rest is
    /// not told.
    #[non_exhaustive]
    Rejected {
        /// The child's name.
        name: Option<Arc<str>>,
        /// Whether that was because the group had stopped; else it was at its limit.
        stopped: bool,
    },
    /// The limit was set to another number.
    #[non_exhaustive]
    LimitChanged {
        /// How many may run from now on; `None` is no limit.
        limit: Option<usize>,
    },
    /// The group has stopped; once for each group.
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
    /// Returns how a child has ended that returned `result`.
    pub(crate) fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Ok } else { Self::Failed }
    }
}

impl Event {
    /// The child's place in the order of admission, from 0; `None` where it wasn't admitted, and
    /// where the event is not a child's.
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

    /// The child's [name](crate::Task::name), where it has one.
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
