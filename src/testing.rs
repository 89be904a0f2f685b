//! What tests poll groups with: wake-ups are counted, children wait at gates, drops are counted.
//!
//! Nothing here has a runtime, a thread or a clock. A [`Poller`] polls a future by hand, and counts
//! the wake-ups of its task. A [`Gate`] holds a child up until the test opens it. A [`DropCounter`]
//! tells how many of its guards were dropped. [`seeds`] runs a test once for each of many seeds of
//! [`Group::with_schedule`](crate::Group::with_schedule).
//!
//! The module needs the feature `testing`, which belongs into the `dev-dependencies`.
//!
//! # Examples
//!
//! ```
//! use errgroup::testing::{Gate, Poller};
//! use errgroup::Group;
//!
//! let gate = Gate::new();
//! let mut group = Group::new().with_limit(1);
//! group.queue(async { Ok::<(), ()>(gate.wait().await) });
//! group.queue(async { Ok(()) });
//!
//! let task = Poller::new();
//! assert!(task.poll(&mut group).is_pending());
//! assert_eq!((group.stats().running, group.stats().queued), (1, 1));
//!
//! gate.open();
//! assert_eq!(task.wakes(), 1);
//! assert_eq!(task.finish(group), Ok(()));
//! ```

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};

use crate::util::lock::Mutex;
use crate::util::wake_all::wake_all;

/// A waker that counts its wake-ups.
///
/// # Examples
///
/// ```
/// use errgroup::testing::WakeCounter;
///
/// let counter = WakeCounter::new();
/// let waker = counter.waker();
/// waker.wake_by_ref();
/// waker.wake();
/// assert_eq!(counter.count(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct WakeCounter(Arc<Wakes>);

#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl WakeCounter {
    /// Makes a counter without wake-ups.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(errgroup::testing::WakeCounter::new().count(), 0);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a waker. Each of its wake-ups, and of its clones', counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::task::Context;
    ///
    /// use errgroup::Group;
    /// use errgroup::testing::{Gate, WakeCounter};
    /// use futures::FutureExt;
    ///
    /// let (counter, gate) = (WakeCounter::new(), Gate::new());
    /// let waker = counter.waker();
    /// let mut group = Group::new();
    /// group.queue(async { Ok::<(), ()>(gate.wait().await) });
    /// assert!(group.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    /// gate.open();
    /// assert_eq!(counter.count(), 1);
    /// ```
    pub fn waker(&self) -> Waker {
        Arc::clone(&self.0).into()
    }

    /// Returns the number of wake-ups.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::testing::WakeCounter;
    ///
    /// let counter = WakeCounter::new();
    /// counter.clone().waker().wake();
    /// assert_eq!(counter.count(), 1);
    /// ```
    pub fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task without an executor: polls by hand, and counts its wake-ups.
///
/// # Examples
///
/// ```
/// use core::task::Poll;
///
/// use errgroup::testing::Poller;
/// use errgroup::value;
///
/// let task = Poller::new();
/// let mut group = errgroup::Group::new().collect();
/// group.queue(value(async { 7 }));
/// assert_eq!(task.poll(&mut group), Poll::Ready(Ok(vec![7])));
/// assert_eq!(task.wakes(), 0);
/// ```
#[derive(Debug)]
pub struct Poller {
    count: WakeCounter,
    waker: Waker,
}

impl Poller {
    /// Makes a task that was never woken.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(errgroup::testing::Poller::new().wakes(), 0);
    /// ```
    pub fn new() -> Self {
        let count = WakeCounter::new();
        Self { waker: count.waker(), count }
    }

    /// Returns the waker of the task.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::task::Context;
    ///
    /// use errgroup::testing::Poller;
    /// use futures::stream::{self, StreamExt};
    ///
    /// // What is no future is polled by hand.
    /// let task = Poller::new();
    /// let mut numbers = stream::iter([1]);
    /// let polled = numbers.poll_next_unpin(&mut Context::from_waker(task.waker()));
    /// assert!(polled.is_ready());
    /// ```
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Returns how often the task was woken.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use errgroup::testing::{Gate, Poller};
    ///
    /// let (gate, task) = (Gate::new(), Poller::new());
    /// let mut group = Group::new();
    /// for _ in 0..3 {
    ///     group.queue(async { Ok::<(), ()>(gate.wait().await) });
    /// }
    /// assert!(task.poll(&mut group).is_pending());
    /// gate.open();
    /// assert_eq!(task.wakes(), 1); // once for the three children
    /// ```
    pub fn wakes(&self) -> usize {
        self.count.count()
    }

    /// Polls a future once. One that is not `Unpin` is pinned before (`core::pin::pin!`), and then
    /// `&mut` of the pinned reference is given.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::pin::pin;
    ///
    /// use errgroup::testing::{Gate, Poller};
    ///
    /// let (gate, task) = (Gate::new(), Poller::new());
    /// let mut work = pin!(async {
    ///     gate.wait().await;
    ///     7
    /// });
    /// assert!(task.poll(&mut work).is_pending());
    /// gate.open();
    /// assert!(task.poll(&mut work).is_ready());
    /// ```
    pub fn poll<F: Future + Unpin>(&self, future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(&self.waker))
    }

    /// Polls a future as an executor does: once, and again as long as the task was woken during
    /// the poll.
    ///
    /// It does not return if the future wakes the task in each of its polls.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use errgroup::testing::{Gate, Poller};
    ///
    /// let (gate, task) = (Gate::new(), Poller::new());
    /// let mut group = Group::new();
    /// group.queue(async {
    ///     smol::future::yield_now().await; // wakes its own task
    ///     Ok::<(), ()>(gate.wait().await)
    /// });
    /// assert!(task.run(&mut group).is_pending());
    /// assert_eq!(gate.waiting(), 1); // it was polled a second time
    /// ```
    pub fn run<F: Future + Unpin>(&self, future: &mut F) -> Poll<F::Output> {
        loop {
            let before = self.wakes();
            let polled = self.poll(future);
            if polled.is_ready() || self.wakes() == before {
                return polled;
            }
        }
    }

    /// Runs a future to its end.
    ///
    /// # Panics
    ///
    /// Panics if the future is pending and nothing has woken the task during its last poll: it
    /// waits for something outside, or has lost a wake-up.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::testing::{Gate, Poller};
    /// use errgroup::{Group, value};
    ///
    /// let output = Poller::new().finish(errgroup::map(2, 0..3, |n| value(async move { n * n })));
    /// assert_eq!(output, Ok(vec![0, 1, 4]));
    ///
    /// let hangs = std::panic::catch_unwind(|| {
    ///     let mut group = Group::new();
    ///     group.queue(async { Ok::<(), ()>(Gate::new().wait().await) });
    ///     Poller::new().finish(group)
    /// });
    /// assert!(hangs.is_err());
    /// ```
    #[track_caller]
    pub fn finish<F: Future>(&self, future: F) -> F::Output {
        match self.run(&mut pin!(future)) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future is pending, and its task was not woken"),
        }
    }
}

impl Default for Poller {
    fn default() -> Self {
        Self::new()
    }
}

/// Holds futures up until it is opened.
///
/// Clones are the same gate. It stays open.
///
/// # Examples
///
/// ```
/// use errgroup::testing::{Gate, Poller};
///
/// let (gate, task) = (Gate::new(), Poller::new());
/// let mut wait = gate.wait();
/// assert!(task.poll(&mut wait).is_pending());
/// gate.open();
/// assert_eq!(task.wakes(), 1);
/// assert!(task.poll(&mut wait).is_ready());
/// ```
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<GateState>>);

#[derive(Default)]
struct GateState {
    is_open: bool,
    /// The wakers of the waits that are pending, with a number for each wait.
    waiting: Vec<(usize, Waker)>,
    next: usize,
}

impl Gate {
    /// Makes a gate that is shut.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!errgroup::testing::Gate::new().is_open());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate, and wakes all that wait, in the order in which they came.
    ///
    /// # Panics
    ///
    /// Panics if a waker does, when all have been woken.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::testing::{Gate, Poller};
    ///
    /// let gate = Gate::new();
    /// gate.open();
    /// Poller::new().finish(gate.wait()); // it stays open
    /// ```
    pub fn open(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.is_open = true;
            core::mem::take(&mut state.waiting)
        };
        wake_all(waiting.into_iter().map(|(_, waker)| waker));
    }

    /// Returns `true` if the gate was opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::testing::Gate;
    ///
    /// let gate = Gate::new();
    /// let same = gate.clone();
    /// assert!(!gate.is_open());
    /// same.open();
    /// assert!(gate.is_open());
    /// ```
    pub fn is_open(&self) -> bool {
        self.0.lock().is_open
    }

    /// Returns how many futures wait: they were polled, and neither ended nor dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use errgroup::testing::{Gate, Poller};
    ///
    /// // How many children are at work, at a limit of 2?
    /// let (gate, task) = (Gate::new(), Poller::new());
    /// let mut group = Group::new().with_limit(2);
    /// for _ in 0..5 {
    ///     group.queue(async { Ok::<(), ()>(gate.wait().await) });
    /// }
    /// assert!(task.run(&mut group).is_pending());
    /// assert_eq!(gate.waiting(), 2);
    /// ```
    pub fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }

    /// Returns a future that is pending until the gate is open.
    ///
    /// Dropping it gives up the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::testing::{Gate, Poller};
    ///
    /// let (gate, task) = (Gate::new(), Poller::new());
    /// let mut wait = gate.wait();
    /// assert!(task.poll(&mut wait).is_pending());
    /// assert_eq!(gate.waiting(), 1);
    /// drop(wait);
    /// assert_eq!(gate.waiting(), 0);
    /// ```
    pub fn wait(&self) -> Wait {
        let number = {
            let mut state = self.0.lock();
            state.next += 1;
            state.next
        };
        Wait { gate: self.clone(), number }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is_open, waiting) = (self.is_open(), self.waiting());
        f.debug_struct("Gate").field("is_open", &is_open).field("waiting", &waiting).finish()
    }
}

/// Waits for a gate to be opened; made by [`Gate::wait`].
///
/// # Examples
///
/// ```
/// use errgroup::testing::{Gate, Poller, Wait};
///
/// let gate = Gate::new();
/// let waits: [Wait; 2] = [gate.wait(), gate.wait()];
/// gate.open();
/// Poller::new().finish(futures::future::join_all(waits));
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct Wait {
    gate: Gate,
    number: usize,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Outside of the lock: a waker is the user's code.
        let waker = cx.waker().clone();
        let mut state = self.gate.0.lock();
        if state.is_open {
            drop(state);
            return Poll::Ready(());
        }
        let earlier = match state.waiting.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, earlier)) => Some(core::mem::replace(earlier, waker)),
            None => {
                state.waiting.push((self.number, waker));
                None
            }
        };
        drop(state);
        drop(earlier);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut state = self.gate.0.lock();
        let at = state.waiting.iter().position(|(number, _)| *number == self.number);
        let waker = at.map(|at| state.waiting.remove(at));
        drop(state);
        drop(waker);
    }
}

/// Counts the drops of its guards.
///
/// # Examples
///
/// ```
/// use errgroup::Group;
/// use errgroup::testing::DropCounter;
///
/// let drops = DropCounter::new();
/// let mut group = Group::new();
/// let guard = drops.guard();
/// group.queue(async move {
///     let _guard = guard;
///     std::future::pending::<Result<(), ()>>().await
/// });
/// assert_eq!(drops.count(), 0);
/// drop(group);
/// assert_eq!(drops.count(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct DropCounter(Arc<AtomicUsize>);

impl DropCounter {
    /// Makes a counter without drops.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(errgroup::testing::DropCounter::new().count(), 0);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a value whose drop counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::testing::{DropCounter, Poller};
    /// use errgroup::{Group, task};
    ///
    /// // Which children does a stop drop?
    /// let drops = DropCounter::new();
    /// let mut group = Group::new();
    /// let guard = drops.guard();
    /// let child = async move {
    ///     let _guard = guard;
    ///     std::future::pending::<Result<(), &str>>().await
    /// };
    /// group.queue(task(child).until_stop());
    /// group.queue(async { Err("broken") });
    /// assert_eq!(Poller::new().finish(group), Err("broken"));
    /// assert_eq!(drops.count(), 1);
    /// ```
    pub fn guard(&self) -> CountedDrop {
        CountedDrop(self.clone())
    }

    /// Returns how many guards were dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::testing::DropCounter;
    ///
    /// let drops = DropCounter::new();
    /// let (first, _second) = (drops.guard(), drops.guard());
    /// drop(first);
    /// assert_eq!(drops.count(), 1);
    /// ```
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A value whose drop is counted; made by [`DropCounter::guard`].
///
/// # Examples
///
/// ```
/// use errgroup::testing::{CountedDrop, DropCounter};
///
/// struct Connection {
///     _counted: CountedDrop,
/// }
///
/// let drops = DropCounter::new();
/// drop(Connection { _counted: drops.guard() });
/// assert_eq!(drops.count(), 1);
/// ```
#[derive(Debug)]
pub struct CountedDrop(DropCounter);

impl Drop for CountedDrop {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs a test once for each seed, and says which one made it panic.
///
/// `test` makes its groups with [`with_schedule(seed)`](crate::Group::with_schedule). To run it
/// again with the seed that failed, give that seed alone: `seeds([7], test)`.
///
/// # Panics
///
/// Panics if `test` does, with `seed 7: ` before the message. No further seed is run.
///
/// # Examples
///
/// ```
/// use errgroup::testing::{Poller, seeds};
/// use errgroup::Group;
///
/// seeds(0..50, |seed| {
///     let mut group = Group::new().with_limit(2).collect().with_schedule(seed);
///     for n in 0..5 {
///         group.queue(async move { Ok::<_, ()>(n) });
///     }
///     assert_eq!(Poller::new().finish(group), Ok(vec![0, 1, 2, 3, 4]));
/// });
/// ```
#[cfg(feature = "std")]
#[cfg_attr(docsrs, doc(cfg(feature = "std")))]
#[track_caller]
pub fn seeds(seeds: impl IntoIterator<Item = u64>, mut test: impl FnMut(u64)) {
    for seed in seeds {
        if let Err(payload) = crate::util::panic::catch(|| test(seed)) {
            let message = match payload.downcast_ref::<&str>() {
                Some(message) => message,
                None => payload.downcast_ref::<alloc::string::String>().map_or("a panic", |it| it),
            };
            panic!("seed {seed}: {message}");
        }
    }
}
