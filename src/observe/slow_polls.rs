//! Finds the children whose polls take too long.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use super::{Event, Observer, PollObserver};

/// An observer that reports the polls of children which take longer than a threshold.
///
/// Such a child blocks its thread. Unless the group is one of [`on`](crate::Group::on), it blocks
/// its siblings with it.
///
/// It has no clock of its own. `clock` returns the time since a fixed moment, and must never
/// decrease. Both functions are called on the thread that polls the child. A pair of
/// observers is one observer: `(SlowPolls::new(…), other)`.
///
/// # Panics
///
/// A panic of `clock` or `report` is treated like one of the child that is polled.
///
/// # Examples
///
/// ```
/// use std::sync::Mutex;
/// use std::time::{Duration, Instant};
///
/// use errgroup::{Group, SlowPolls, task};
///
/// # futures::executor::block_on(async {
/// let found = std::sync::Arc::new(Mutex::new(Vec::new()));
/// let (start, list) = (Instant::now(), found.clone());
/// let slow = SlowPolls::new(Duration::from_millis(10), move || start.elapsed(), move |poll| {
///     list.lock().unwrap().push(poll.name().unwrap_or("").to_string());
/// });
/// let mut group = Group::new().with_observer(slow);
/// group.queue(task(async { Ok::<(), ()>(()) }).name("quick"));
/// group.queue(task(async { Ok(std::thread::sleep(Duration::from_millis(30))) }).name("slow"));
/// assert_eq!(group.await, Ok(()));
/// assert_eq!(*found.lock().unwrap(), ["slow"]);
/// # });
/// ```
pub struct SlowPolls(Arc<dyn PollObserver>);

/// A poll that took longer than the threshold of [`SlowPolls`].
///
/// `Display` names the child.
///
/// # Examples
///
/// ```
/// use errgroup::SlowPoll;
///
/// fn log(poll: &SlowPoll<'_>) {
///     eprintln!("{poll}"); // #3 "parse": a poll took 17ms
/// }
/// # let _ = log;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SlowPoll<'a> {
    index: usize,
    name: Option<&'a str>,
    took: Duration,
}

struct Timed<K, R> {
    threshold: Duration,
    clock: K,
    report: R,
}

impl SlowPolls {
    /// Makes an observer that calls `report` for each poll that takes longer than `threshold`, by
    /// `clock`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use errgroup::{Group, SlowPolls};
    ///
    /// let start = Instant::now();
    /// let slow = SlowPolls::new(
    ///     Duration::from_millis(1),
    ///     move || start.elapsed(),
    ///     |poll| eprintln!("{poll}"), // #3 "parse": a poll took 17ms
    /// );
    /// let group = Group::new().with_observer(slow);
    /// # let _ = group.with_error::<()>().try_go(async { Ok(()) });
    /// ```
    pub fn new<K, R>(threshold: Duration, clock: K, report: R) -> Self
    where
        K: Fn() -> Duration + Send + Sync + 'static,
        R: Fn(&SlowPoll<'_>) + Send + Sync + 'static,
    {
        Self(Arc::new(Timed { threshold, clock, report }))
    }
}

impl Observer for SlowPolls {
    fn on_event(&mut self, _: &Event) {}

    fn around(&mut self) -> Option<Arc<dyn PollObserver>> {
        Some(Arc::clone(&self.0))
    }
}

impl<K, R> PollObserver for Timed<K, R>
where
    K: Fn() -> Duration + Send + Sync,
    R: Fn(&SlowPoll<'_>) + Send + Sync,
{
    fn around_poll(&self, index: usize, name: Option<&str>, poll: &mut dyn FnMut()) {
        let start = (self.clock)();
        poll();
        let took = (self.clock)().saturating_sub(start);
        if took > self.threshold {
            (self.report)(&SlowPoll { index, name, took });
        }
    }
}

impl fmt::Debug for SlowPolls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowPolls(..)")
    }
}

impl<'a> SlowPoll<'a> {
    /// Returns the child's number in the order of admission, from 0.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// # use std::time::Duration;
    /// # use errgroup::{Group, SlowPolls};
    /// # let time = AtomicU64::new(0);
    /// # let clock = move || Duration::from_secs(time.fetch_add(1, Relaxed));
    /// let slow = SlowPolls::new(Duration::from_millis(10), clock, |poll| {
    ///     assert_eq!(poll.index(), 0); // the first child that was admitted
    /// });
    /// # let mut group = Group::new().with_observer(slow);
    /// # group.queue(async { Ok::<(), ()>(()) });
    /// # assert_eq!(futures::executor::block_on(group), Ok(()));
    /// ```
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the child's [name](crate::Task::name), or `None` if it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// # use std::time::Duration;
    /// # use errgroup::{Group, SlowPolls, task};
    /// # let time = AtomicU64::new(0);
    /// # let clock = move || Duration::from_secs(time.fetch_add(1, Relaxed));
    /// let slow = SlowPolls::new(Duration::from_millis(10), clock, |poll| {
    ///     assert_eq!(poll.name(), Some("parse"));
    /// });
    /// # let mut group = Group::new().with_observer(slow);
    /// # group.queue(task(async { Ok::<(), ()>(()) }).name("parse"));
    /// # assert_eq!(futures::executor::block_on(group), Ok(()));
    /// ```
    pub fn name(&self) -> Option<&'a str> {
        self.name
    }

    /// Returns how long the poll took.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    /// # use std::time::Duration;
    /// # use errgroup::{Group, SlowPolls};
    /// # let time = AtomicU64::new(0);
    /// # let clock = move || Duration::from_secs(time.fetch_add(1, Relaxed));
    /// let slow = SlowPolls::new(Duration::from_millis(10), clock, |poll| {
    ///     assert!(poll.took() > Duration::from_millis(10));
    /// });
    /// # let mut group = Group::new().with_observer(slow);
    /// # group.queue(async { Ok::<(), ()>(()) });
    /// # assert_eq!(futures::executor::block_on(group), Ok(()));
    /// ```
    pub fn took(&self) -> Duration {
        self.took
    }
}

impl fmt::Display for SlowPoll<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.index)?;
        if let Some(name) = self.name {
            write!(f, " {name:?}")?;
        }
        write!(f, ": a poll took {:?}", self.took)
    }
}
