//! The events of a group, and the trait for code that is told them.

mod json_lines;
mod slow_polls;
#[cfg(feature = "tracing")]
mod tracing;

use alloc::sync::Arc;
use core::fmt;

pub use self::json_lines::JsonLines;
pub use self::slow_polls::{SlowPoll, SlowPolls};
#[cfg(feature = "tracing")]
pub use self::tracing::TracingObserver;

use crate::key::Key;
use crate::reason::Reason;
use crate::util::panic::{catch, discard, quietly, resume};

/// Is told what happens in a group; set by [`Group::with_observer`](crate::Group::with_observer).
///
/// A closure `|event: &Event| …` is an observer. So is a pair of observers. One that is to surround
/// the polls of the children, too, implements [`around`](Self::around).
///
/// # Order
///
/// The observer is told the events in the order in which they happened, on whatever thread that
/// was. It is called on the thread that polls or drops the group, at the latest by the group's next
/// poll. The poll that resolves the group, and the drop, return after all events were told. No lock
/// is held during the call, so an observer may hold a [`Handle`](crate::Handle) and call it. The
/// events that it causes so are told in a next round of calls. At the group's end there are at
/// most eight rounds, and what comes after them is not told. An event alone does not wake the
/// group. The events since the last poll are told in one go, however many there are.
///
/// The events of a child are `Queued` (if it had to wait in the queue), `Started` (told before it
/// is polled for the first time) and `Finished`. For each `Started` there is a `Finished`, since a
/// child that was started finishes or is dropped. A child that is dropped before it has started has
/// a `Finished` without an index.
///
/// If a child's failure stops the group, its `Finished` comes before `Stopped`, and those of its
/// siblings come after. So does the `Started` of a sibling that had room by then, behind a `go` or
/// a `feed` that had its turn.
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

    /// Returns what surrounds each poll of a child, or `None` if nothing does.
    ///
    /// It is called once, by [`with_observer`](crate::Group::with_observer). What it returns is
    /// called on the thread that polls the child: that is the group's, or for a child of
    /// [`Group::on`](crate::Group::on) one of the executor's.
    ///
    /// # Examples
    ///
    /// An observer that finds the children that block, by the time that a poll takes:
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use std::time::{Duration, Instant};
    ///
    /// use errgroup::{Event, Group, Observer, PollObserver, task};
    ///
    /// #[derive(Default)]
    /// struct Blocking(Mutex<Vec<String>>);
    ///
    /// impl PollObserver for Blocking {
    ///     fn around_poll(&self, index: usize, name: Option<&str>, poll: &mut dyn FnMut()) {
    ///         let start = Instant::now();
    ///         poll();
    ///         if start.elapsed() > Duration::from_millis(10) {
    ///             self.0.lock().unwrap().push(format!("#{index} {}", name.unwrap_or("")));
    ///         }
    ///     }
    /// }
    ///
    /// struct Watch(Arc<Blocking>);
    ///
    /// impl Observer for Watch {
    ///     fn on_event(&mut self, _: &Event) {}
    ///
    ///     fn around(&mut self) -> Option<Arc<dyn PollObserver>> {
    ///         Some(Arc::clone(&self.0) as _)
    ///     }
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let found = Arc::new(Blocking::default());
    /// let mut group = Group::new().with_observer(Watch(Arc::clone(&found)));
    /// group.queue(task(async { Ok::<(), ()>(()) }).name("quick"));
    /// group.queue(task(async { Ok(std::thread::sleep(Duration::from_millis(30))) }).name("slow"));
    /// assert_eq!(group.await, Ok(()));
    /// assert_eq!(*found.0.lock().unwrap(), ["#1 slow"]);
    /// # });
    /// ```
    fn around(&mut self) -> Option<Arc<dyn PollObserver>> {
        None
    }
}

/// Surrounds the polls of a group's children, on the threads on which these run; returned by
/// [`Observer::around`].
///
/// So it can time the polls, enter a span, or set a thread-local while a child runs.
///
/// # Panics
///
/// A panic of it is treated as one of the child that is polled, unless that has panicked before.
/// The handle of a [joinable](crate::Task::joinable) child then tells what the child itself came
/// to: its value, or [`Lost::Dropped`](crate::Lost::Dropped).
///
/// # Examples
///
/// Code that a child calls learns in which child it runs:
///
/// ```
/// use std::cell::RefCell;
/// use std::sync::Arc;
///
/// use errgroup::{Event, Group, Observer, PollObserver, task};
///
/// thread_local!(static CHILD: RefCell<String> = RefCell::default());
///
/// struct Within;
///
/// impl PollObserver for Within {
///     fn around_poll(&self, _index: usize, name: Option<&str>, poll: &mut dyn FnMut()) {
///         CHILD.set(name.unwrap_or("a child").to_string());
///         poll();
///         CHILD.take();
///     }
/// }
///
/// impl Observer for Within {
///     fn on_event(&mut self, _: &Event) {}
///
///     fn around(&mut self) -> Option<Arc<dyn PollObserver>> {
///         Some(Arc::new(Within))
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let mut group = Group::new().with_observer(Within);
/// group.queue(task(async { Err::<(), _>(CHILD.with_borrow(String::clone)) }).name("import"));
/// assert_eq!(group.await, Err("import".to_string()));
/// # });
/// ```
pub trait PollObserver: Send + Sync {
    /// Polls a child by calling `poll`, once.
    ///
    /// `index` is the child's number in the order of admission, and `name` its
    /// [name](crate::Task::name). Several threads may call this at the same time, for different
    /// children. No lock is held.
    ///
    /// A child of [`Group::on`](crate::Group::on) may be polled before the observer is told that it
    /// has started, since the group tells the events when it is polled itself. A poll that follows
    /// the drop of the group, and only drops the child, is not surrounded.
    ///
    /// If it returns without having called `poll`, the child is polled after it. A second call does
    /// nothing. A panic of the child does not unwind through it: `poll` returns, and the panic goes
    /// on when `around_poll` has returned. (Without `std` it does unwind.)
    fn around_poll(&self, index: usize, name: Option<&str>, poll: &mut dyn FnMut());
}

/// Polls a child, surrounded by an observer.
pub(crate) fn around_poll<R>(
    observer: &dyn PollObserver,
    index: usize,
    name: Option<&str>,
    poll: impl FnOnce() -> R,
) -> R {
    let (mut poll, mut answer) = (Some(poll), None);
    let surrounded = catch(|| {
        observer.around_poll(index, name, &mut || {
            if let Some(poll) = poll.take() {
                // The panic is the child's, and the observer might catch it.
                answer = Some(catch(poll));
            }
        });
    });
    match (surrounded, answer, poll) {
        (Ok(()), Some(Ok(answer)), _) => answer,
        (Ok(()), None, Some(poll)) => poll(),
        (Ok(()), None, None) => unreachable!("a poll that was begun has an answer"),
        // The child's panic was the first.
        (surrounded, Some(Err(payload)), _) => {
            let _ = surrounded.map_err(discard);
            resume(payload)
        }
        (Err(payload), answer, _) => {
            quietly(|| drop(answer));
            resume(payload)
        }
    }
}

impl<F: FnMut(&Event)> Observer for F {
    fn on_event(&mut self, event: &Event) {
        self(event);
    }
}

/// Both are told each event, the first observer first, and the first one's
/// [surroundings](Observer::around) are the outer ones.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_event(&mut self, event: &Event) {
        self.0.on_event(event);
        self.1.on_event(event);
    }

    fn around(&mut self) -> Option<Arc<dyn PollObserver>> {
        both(self.0.around(), self.1.around())
    }
}

/// Surrounds polls by both.
pub(crate) fn both(
    outer: Option<Arc<dyn PollObserver>>,
    inner: Option<Arc<dyn PollObserver>>,
) -> Option<Arc<dyn PollObserver>> {
    match (outer, inner) {
        (Some(outer), Some(inner)) => Some(Arc::new(Both { outer, inner })),
        (outer, inner) => outer.or(inner),
    }
}

struct Both {
    outer: Arc<dyn PollObserver>,
    inner: Arc<dyn PollObserver>,
}

impl PollObserver for Both {
    fn around_poll(&self, index: usize, name: Option<&str>, poll: &mut dyn FnMut()) {
        let inner = || around_poll(&*self.inner, index, name, poll);
        around_poll(&*self.outer, index, name, inner);
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
        /// The child's number in the order of these events, from 0. It tells children of the same
        /// name apart.
        queue_index: usize,
        /// The child's name.
        name: Option<Arc<str>>,
        /// The child's [key](crate::Task::key).
        key: Option<Key>,
        /// The child's [weight](crate::Task::weight).
        weight: usize,
        /// The child's [priority](crate::Task::priority).
        priority: i32,
        /// It is a [daemon](crate::Task::daemon).
        daemon: bool,
    },
    /// A child was admitted, and is polled from now on.
    #[non_exhaustive]
    Started {
        /// The child's number in the order of admission, from 0.
        index: usize,
        /// The child's number in the order of `Queued`, or `None` if it was not queued. A child
        /// whose caller has waited in `go` was not.
        queue_index: Option<usize>,
        /// The child's name.
        name: Option<Arc<str>>,
        /// The child's [key](crate::Task::key).
        key: Option<Key>,
        /// The child's [weight](crate::Task::weight).
        weight: usize,
        /// The child's [priority](crate::Task::priority).
        priority: i32,
        /// It is a [daemon](crate::Task::daemon).
        daemon: bool,
    },
    /// A child has finished, or was dropped.
    #[non_exhaustive]
    Finished {
        /// The child's number in the order of admission, or `None` if it was dropped before it
        /// started.
        index: Option<usize>,
        /// The child's number in the order of `Queued`, if it was dropped from the queue, or
        /// `None`.
        queue_index: Option<usize>,
        /// The child's name.
        name: Option<Arc<str>>,
        /// The child's [key](crate::Task::key).
        key: Option<Key>,
        /// How it ended.
        outcome: Outcome,
    },
    /// A child was not accepted. If that happens more than 1,024 times between two polls of the
    /// group, the rest is not told.
    #[non_exhaustive]
    Rejected {
        /// The child's name.
        name: Option<Arc<str>>,
        /// The child's [key](crate::Task::key).
        key: Option<Key>,
        /// `true` if the group had stopped or was closed. `false` if it was
        /// [at a limit](crate::TryGoError::AtLimit).
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
    /// It was dropped before its end. So is a child of [`Group::on`](crate::Group::on) that has
    /// ended by itself, if the group is dropped before it has taken the result.
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
        self.name_and_key()?.0.as_deref()
    }

    /// Returns the child's [key](crate::Task::key), or `None` if it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Event, Reason};
    ///
    /// assert_eq!(Event::Stopped(Reason::Done).key(), None);
    /// ```
    pub fn key(&self) -> Option<&Key> {
        self.name_and_key()?.1.as_ref()
    }

    /// Returns the child's number in the order in which children were queued, from 0, or `None` if
    /// it was not queued or the event is of another kind.
    ///
    /// `Queued` has it, and so has the event by which the child leaves the queue: `Started`, or
    /// `Finished` if it was dropped before. So an observer can tell how long it has waited.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Event, Group};
    ///
    /// # futures::executor::block_on(async {
    /// let mut left = Vec::new();
    /// let mut group = Group::new().with_limit(1).with_observer(|event: &Event| match event {
    ///     Event::Started { .. } => left.push(event.queue_index()),
    ///     _ => {}
    /// });
    /// for _ in 0..3 {
    ///     group.queue(async { Ok::<(), ()>(()) });
    /// }
    /// assert_eq!(group.await, Ok(()));
    /// assert_eq!(left, [None, Some(0), Some(1)]);
    /// # });
    /// ```
    pub fn queue_index(&self) -> Option<usize> {
        match self {
            Self::Queued { queue_index, .. } => Some(*queue_index),
            Self::Started { queue_index, .. } | Self::Finished { queue_index, .. } => *queue_index,
            _ => None,
        }
    }

    fn name_and_key(&self) -> Option<(&Option<Arc<str>>, &Option<Key>)> {
        match self {
            Self::Queued { name, key, .. }
            | Self::Started { name, key, .. }
            | Self::Finished { name, key, .. }
            | Self::Rejected { name, key, .. } => Some((name, key)),
            Self::LimitChanged { .. } | Self::Stopped(_) => None,
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
