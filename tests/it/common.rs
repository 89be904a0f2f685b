//! Helpers with which the tests poll a group by hand, and see what it does.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use errgroup::{Boxed, CancelError, ChildInfo, Group, Handle, Policy, Reason, Verdict};

/// A waker that counts its wake-ups.
#[derive(Default)]
pub(crate) struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl WakeCount {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls a future once with a waker.
pub(crate) fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// A task without an executor: polls what it is given, and counts its wake-ups.
pub(crate) struct MockTask {
    count: Arc<WakeCount>,
    waker: Waker,
}

impl MockTask {
    pub(crate) fn new() -> Self {
        let count = WakeCount::new();
        Self { waker: Arc::clone(&count).into(), count }
    }

    pub(crate) fn poll<F: Future + Unpin>(&self, future: &mut F) -> Poll<F::Output> {
        poll_with(future, &self.waker)
    }

    pub(crate) fn poll_pinned<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }

    pub(crate) fn wakes(&self) -> usize {
        self.count.get()
    }

    /// Polls as an executor does: once, and again after each wake-up that comes during a poll.
    pub(crate) fn run<F: Future + Unpin>(&self, future: &mut F) -> Poll<F::Output> {
        loop {
            let before = self.wakes();
            let poll = self.poll(future);
            if poll.is_ready() || self.wakes() == before {
                return poll;
            }
        }
    }

    /// Runs a future to its end, and panics if it needs a wake-up from elsewhere.
    #[track_caller]
    pub(crate) fn finish<F: Future>(&self, future: F) -> F::Output {
        match self.run(&mut pin!(future)) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future is still pending"),
        }
    }
}

/// A generator of pseudo-random numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// A gate with numbered doors at which children wait.
///
/// Each door keeps one waker: of two futures that wait at the same door, only the one polled
/// last is woken.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<std::sync::Mutex<GateState>>);

#[derive(Default)]
struct GateState {
    open: std::collections::BTreeSet<usize>,
    waiting: std::collections::BTreeMap<usize, Waker>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns a future that is pending until the door with this number is open.
    pub(crate) fn wait(&self, number: usize) -> impl Future<Output = ()> + Send + Unpin + 'static {
        let gate = self.clone();
        std::future::poll_fn(move |cx| {
            let mut state = gate.0.lock().unwrap();
            if state.open.contains(&number) {
                Poll::Ready(())
            } else {
                state.waiting.insert(number, cx.waker().clone());
                Poll::Pending
            }
        })
    }

    /// Opens a door and wakes the future that waits at it.
    pub(crate) fn open(&self, number: usize) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.open.insert(number);
            state.waiting.remove(&number)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns a clone of the waker that waits at a door.
    pub(crate) fn waker(&self, number: usize) -> Option<Waker> {
        self.0.lock().unwrap().waiting.get(&number).cloned()
    }
}

/// Makes two children that wake one another, so that each is polled alone. In the poll of that
/// number one of them calls `end`, and is done; the other is done in the next one.
pub(crate) fn ping_pong(
    last: usize,
    end: fn(),
) -> [impl Future<Output = Result<usize, &'static str>>; 2] {
    let polls = Rc::new(Cell::new(0));
    let wakers: Rc<[RefCell<Option<Waker>>; 2]> = Rc::default();
    [0, 1].map(|number| {
        let (polls, wakers) = (Rc::clone(&polls), Rc::clone(&wakers));
        poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            *wakers[number].borrow_mut() = Some(cx.waker().clone());
            if let Some(other) = wakers[1 - number].borrow_mut().take() {
                other.wake();
            }
            if polls.get() == last {
                end();
            }
            if polls.get() < last { Poll::Pending } else { Poll::Ready(Ok(number)) }
        })
    })
}

/// Yields once: wakes its own task and is pending.
pub(crate) fn yield_now() -> impl Future<Output = ()> + Send + Unpin {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Counts drops.
#[derive(Clone, Default)]
pub(crate) struct DropCounter(Arc<AtomicUsize>);

impl DropCounter {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Returns a value that counts its drop.
    pub(crate) fn guard(&self) -> CountOnDrop {
        CountOnDrop(self.clone())
    }

    /// Returns a value with a name that counts its drop.
    pub(crate) fn value(&self, name: &'static str) -> Value {
        let guard = self.guard();
        Value::new(name, move || {
            let _ = &guard;
        })
    }
}

pub(crate) struct CountOnDrop(DropCounter);

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<std::sync::Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Counts the polls of a future.
pub(crate) fn count_polls<F: Future>(
    polls: &Arc<AtomicUsize>,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    let polls = Arc::clone(polls);
    async move {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            polls.fetch_add(1, Ordering::SeqCst);
            future.as_mut().poll(cx)
        })
        .await
    }
}

/// Makes a child that logs `+n` at its first poll, waits at its door, and logs `-n` when it is
/// dropped.
///
/// A child that was never polled logs only `-n`.
pub(crate) fn logged_child<E: 'static>(
    number: usize,
    gate: &Gate,
    log: &Log,
) -> futures::future::BoxFuture<'static, Result<usize, E>> {
    struct LogOnDrop(usize, Log);
    impl Drop for LogOnDrop {
        fn drop(&mut self) {
            self.1.add(format!("-{}", self.0));
        }
    }
    let log = LogOnDrop(number, log.clone());
    let mut wait = gate.wait(number);
    let mut polled = false;
    Box::pin(std::future::poll_fn(move |cx| {
        if !std::mem::replace(&mut polled, true) {
            log.1.add(format!("+{number}"));
        }
        Pin::new(&mut wait).poll(cx).map(|()| Ok(number))
    }))
}

/// A stream of items that are put in by hand, which counts its polls.
pub(crate) struct Tap<T>(Arc<std::sync::Mutex<TapState<T>>>);

struct TapState<T> {
    items: std::collections::VecDeque<T>,
    ended: bool,
    polls: usize,
    waker: Option<Waker>,
}

impl<T> Clone for Tap<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Tap<T> {
    fn default() -> Self {
        let items = std::collections::VecDeque::new();
        let state = TapState { items, ended: false, polls: 0, waker: None };
        Self(Arc::new(std::sync::Mutex::new(state)))
    }
}

impl<T> Tap<T> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn put(&self, item: T) {
        self.change(|state| state.items.push_back(item));
    }

    pub(crate) fn end(&self) {
        self.change(|state| state.ended = true);
    }

    pub(crate) fn polls(&self) -> usize {
        self.0.lock().unwrap().polls
    }

    fn change(&self, change: impl FnOnce(&mut TapState<T>)) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> futures::Stream for Tap<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.lock().unwrap();
        state.polls += 1;
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Returns a waker that calls a function.
pub(crate) fn waker_fn(wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Call<F>(F);
    impl<F: Fn() + Send + Sync + 'static> Wake for Call<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Arc::new(Call(wake)).into()
}

/// A child of one type, for groups of every kind.
pub(crate) type Job = Pin<Box<dyn Future<Output = Result<usize, &'static str>> + Send>>;

pub(crate) fn job(
    future: impl Future<Output = Result<usize, &'static str>> + Send + 'static,
) -> Job {
    Box::pin(future)
}

/// Makes a child that waits at its door, then returns its number.
pub(crate) fn waits(gate: &Gate, number: usize) -> Job {
    let gate = gate.wait(number);
    job(async move {
        gate.await;
        Ok(number)
    })
}

/// Makes a child that waits at its door, then fails.
pub(crate) fn fails(gate: &Gate, number: usize, error: &'static str) -> Job {
    let gate = gate.wait(number);
    job(async move {
        gate.await;
        Err(error)
    })
}

/// Makes a child that is not boxed, has that size at least, and refers to itself: it panics if it
/// is moved while it runs.
pub(crate) async fn unboxed<const SIZE: usize>(work: Job) -> Result<usize, &'static str> {
    let bytes = [1_u8; SIZE];
    // Held while it waits.
    let here = &bytes;
    let result = work.await;
    assert!(std::ptr::eq(here, &raw const bytes));
    assert!(bytes.iter().all(|byte| *byte == 1));
    result
}

/// Counts the polls and the drops of the children that it watches.
#[derive(Clone, Default)]
pub(crate) struct Probe {
    polls: Arc<AtomicUsize>,
    drops: DropCounter,
}

impl Probe {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }

    /// Returns how many of the children, the futures themselves, are dropped.
    pub(crate) fn drops(&self) -> usize {
        self.drops.get()
    }

    pub(crate) fn watch(
        &self,
        child: impl Future<Output = Result<usize, &'static str>> + Send + 'static,
    ) -> Job {
        Box::pin(Probed {
            child: Box::pin(child),
            polls: Arc::clone(&self.polls),
            _dropped: self.drops.guard(),
        })
    }
}

struct Probed {
    child: Job,
    polls: Arc<AtomicUsize>,
    _dropped: CountOnDrop,
}

impl Future for Probed {
    type Output = Result<usize, &'static str>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        self.child.as_mut().poll(cx)
    }
}

/// Counts the callers that are inside at the same time.
#[derive(Clone, Default)]
pub(crate) struct Meter(Arc<(AtomicUsize, AtomicUsize)>);

impl Meter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Counts one caller more until the returned value is dropped.
    pub(crate) fn enter(&self) -> Inside {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        Inside(self.clone())
    }

    pub(crate) fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    /// Returns the most callers that were ever inside at the same time.
    pub(crate) fn peak(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

pub(crate) struct Inside(Meter);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Panics when it is dropped.
#[derive(Debug)]
pub(crate) struct Bomb(pub(crate) &'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(self.0);
    }
}

/// A result of a child that does something when it is dropped, so that it matters where it is.
///
/// It is what an `Ok` or an `Err` holds, of one type for all tests.
pub(crate) struct Value {
    pub(crate) name: &'static str,
    _on_drop: OnDrop<Box<dyn FnMut() + Send>>,
}

impl Value {
    /// Makes a value that calls a function when it is dropped.
    pub(crate) fn new(name: &'static str, on_drop: impl FnMut() + Send + 'static) -> Self {
        Self { name, _on_drop: OnDrop(Box::new(on_drop)) }
    }

    /// Makes a value that panics when it is dropped.
    pub(crate) fn bomb(message: &'static str) -> Self {
        Self::new(message, move || std::panic::panic_any(message))
    }
}

/// A group whose children return such values.
pub(crate) type Values = Group<Boxed<'static, Value, Value>>;

/// A policy that calls a function with each result, and has no output.
pub(crate) struct Calls(Box<OnChild>);

type OnChild = dyn FnMut(&ChildInfo<'_>, Result<usize, &'static str>) -> Verdict + Send;

impl Calls {
    pub(crate) fn new(
        on_child: impl FnMut(&ChildInfo<'_>, Result<usize, &'static str>) -> Verdict + Send + 'static,
    ) -> Self {
        Self(Box::new(on_child))
    }
}

impl Policy<usize, &'static str> for Calls {
    type Output = ();

    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<usize, &'static str>) -> Verdict {
        (self.0)(child, result)
    }

    fn finish(&mut self, _: &Reason) {}
}

/// A child of one type that returns such a value, for groups of every kind.
pub(crate) type ValueJob = Pin<Box<dyn Future<Output = Result<Value, Value>> + Send>>;

pub(crate) fn value_job(
    future: impl Future<Output = Result<Value, Value>> + Send + 'static,
) -> ValueJob {
    Box::pin(future)
}

/// An error of children that a cancel can become: the other ones are a `&str`, which it can't.
#[derive(Debug, PartialEq)]
pub(crate) enum OrCancel {
    Own(&'static str),
    Cancelled(CancelError),
}

impl OrCancel {
    /// Returns the reason of the cancel.
    #[track_caller]
    pub(crate) fn into_reason(self) -> Reason {
        match self {
            Self::Cancelled(error) => error.into_reason(),
            Self::Own(error) => panic!("a child's own error: {error}"),
        }
    }
}

impl From<CancelError> for OrCancel {
    fn from(error: CancelError) -> Self {
        Self::Cancelled(error)
    }
}

impl std::fmt::Display for OrCancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Own(error) => f.write_str(error),
            Self::Cancelled(error) => error.fmt(f),
        }
    }
}

/// Calls a function when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Returns the message with which a call panics, and panics if the call does not.
#[track_caller]
pub(crate) fn panic_message<T>(call: impl FnOnce() -> T) -> &'static str {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => *payload.downcast().expect("a panic with a plain message"),
    }
}

/// Returns a waker and its count of wake-ups.
///
/// The strong count of the `Arc` is one more than the number of clones of the waker.
pub(crate) fn waker_and_count() -> (Waker, Arc<WakeCount>) {
    let count = WakeCount::new();
    (Arc::clone(&count).into(), count)
}

/// A group of boxed children with its handle, and the task, the gate and the log of its tests.
pub(crate) struct Fixture {
    pub(crate) group: Group<Kind>,
    pub(crate) handle: Handle<Kind>,
    pub(crate) gate: Gate,
    pub(crate) log: Log,
    pub(crate) task: MockTask,
}

type Kind = Boxed<'static, usize, &'static str>;

impl Fixture {
    pub(crate) fn new(limit: usize) -> Self {
        Self::of(Group::new().with_limit(limit))
    }

    pub(crate) fn of(group: Group<Kind>) -> Self {
        let handle = group.handle();
        Self { group, handle, gate: Gate::new(), log: Log::new(), task: MockTask::new() }
    }

    /// Makes a child that logs its first poll and its drop, and waits at its door between.
    pub(crate) fn child(&self, number: usize) -> Job {
        logged_child(number, &self.gate, &self.log)
    }

    /// Polls the group once.
    pub(crate) fn poll(&mut self) -> Poll<Result<(), &'static str>> {
        self.task.poll(&mut self.group)
    }

    /// Polls the group as an executor does.
    pub(crate) fn run(&mut self) -> Poll<Result<(), &'static str>> {
        self.task.run(&mut self.group)
    }

    pub(crate) fn running(&self) -> usize {
        self.handle.stats().running
    }

    pub(crate) fn queued(&self) -> usize {
        self.handle.stats().queued
    }
}

pub(crate) fn is_ok<T>(poll: Poll<Result<(), T>>) -> bool {
    matches!(poll, Poll::Ready(Ok(())))
}

pub(crate) fn is_stopped<T>(poll: Poll<Result<(), T>>) -> bool {
    matches!(poll, Poll::Ready(Err(_)))
}
