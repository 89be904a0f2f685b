//! What the tests poll by hand with.
#![allow(dead_code, unreachable_pub)]

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often it was woken.
#[derive(Default)]
pub struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A task without an executor: polls what it is given, and counts its wake-ups.
pub struct Task {
    count: Arc<Count>,
    waker: Waker,
}

impl Task {
    pub fn new() -> Self {
        let count = Arc::<Count>::default();
        Self { waker: Arc::clone(&count).into(), count }
    }

    pub fn poll<F: Future + Unpin>(&self, future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(&self.waker))
    }

    pub fn poll_pinned<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }

    pub fn wakes(&self) -> usize {
        self.count.get()
    }

    /// Polls as an executor would: once, and again as long as it was woken.
    pub fn run<F: Future + Unpin>(&self, future: &mut F) -> Poll<F::Output> {
        loop {
            let before = self.wakes();
            let poll = self.poll(future);
            if poll.is_ready() || self.wakes() == before {
                return poll;
            }
        }
    }

    /// Runs what must come to its end without anybody's help.
    #[track_caller]
    pub fn finish<F: Future>(&self, future: F) -> F::Output {
        match self.run(&mut pin!(future)) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits for somebody"),
        }
    }
}

/// A door that children wait at, each behind a number of its own: of two who wait at the same,
/// the later alone is woken.
#[derive(Clone, Default)]
pub struct Gate(Arc<std::sync::Mutex<GateState>>);

#[derive(Default)]
struct GateState {
    open: std::collections::BTreeSet<usize>,
    waiting: std::collections::BTreeMap<usize, Waker>,
}

impl Gate {
    pub fn new() -> Self {
        Self::default()
    }

    /// Pending until the number is let through.
    pub fn wait(&self, number: usize) -> impl Future<Output = ()> + Send + Unpin + 'static {
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

    pub fn open(&self, number: usize) {
        let waker = {
            let mut state = self.0.lock().unwrap();
            state.open.insert(number);
            state.waiting.remove(&number)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The waker with which the number was last polled, left where it is.
    pub fn waker(&self, number: usize) -> Option<Waker> {
        self.0.lock().unwrap().waiting.get(&number).cloned()
    }
}

/// Yields once: wakes itself and is pending.
pub fn yield_now() -> impl Future<Output = ()> + Send + Unpin {
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
pub struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Something whose drop is counted.
    pub fn token(&self) -> DropToken {
        DropToken(self.clone())
    }
}

pub struct DropToken(Drops);

impl Drop for DropToken {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<std::sync::Mutex<Vec<String>>>);

impl Log {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&self, entry: impl Into<String>) {
        self.0.lock().unwrap().push(entry.into());
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Counts how often the future inside is polled.
pub fn counted<F: Future>(polls: &Arc<AtomicUsize>, future: F) -> impl Future<Output = F::Output> {
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

/// Keeps an `Rc` alive, so as not to be `Send`.
pub fn local<T>(value: T) -> Rc<RefCell<T>> {
    Rc::new(RefCell::new(value))
}

/// A child that is let in (`+n`), waits at its gate, and goes (`-n`, at its drop).
///
/// One that was never polled says `-n` alone.
pub fn visitor<E: 'static>(
    number: usize,
    gate: &Gate,
    log: &Log,
) -> futures::future::BoxFuture<'static, Result<usize, E>> {
    struct Leave(usize, Log);
    impl Drop for Leave {
        fn drop(&mut self) {
            self.1.add(format!("-{}", self.0));
        }
    }
    let leave = Leave(number, log.clone());
    let mut wait = gate.wait(number);
    let mut came = false;
    Box::pin(std::future::poll_fn(move |cx| {
        if !std::mem::replace(&mut came, true) {
            leave.1.add(format!("+{number}"));
        }
        Pin::new(&mut wait).poll(cx).map(|()| Ok(number))
    }))
}

/// A stream whose items are put in by hand, and which tells how often it was asked.
pub struct Tap<T>(Arc<std::sync::Mutex<TapState<T>>>);

struct TapState<T> {
    items: std::collections::VecDeque<T>,
    ended: bool,
    asked: usize,
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
        let state = TapState { items, ended: false, asked: 0, waker: None };
        Self(Arc::new(std::sync::Mutex::new(state)))
    }
}

impl<T> Tap<T> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn put(&self, item: T) {
        self.change(|state| state.items.push_back(item));
    }

    pub fn end(&self) {
        self.change(|state| state.ended = true);
    }

    pub fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
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
        state.asked += 1;
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

/// A waker that runs a function.
pub fn waker_fn(wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Call<F>(F);
    impl<F: Fn() + Send + Sync + 'static> Wake for Call<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Arc::new(Call(wake)).into()
}

/// A child of one type for groups of every kind.
pub type Job = Pin<Box<dyn Future<Output = Result<usize, &'static str>> + Send>>;

pub fn job(future: impl Future<Output = Result<usize, &'static str>> + Send + 'static) -> Job {
    Box::pin(future)
}

/// A child that waits at a gate, then gives its number.
pub fn waits(gate: &Gate, number: usize) -> Job {
    let gate = gate.wait(number);
    job(async move {
        gate.await;
        Ok(number)
    })
}

/// A child that waits at a gate, then fails.
pub fn fails(gate: &Gate, number: usize, error: &'static str) -> Job {
    let gate = gate.wait(number);
    job(async move {
        gate.await;
        Err(error)
    })
}

/// Watches children: how often they are polled, and how many are dropped.
#[derive(Clone, Default)]
pub struct Probe {
    polls: Arc<AtomicUsize>,
    drops: Drops,
}

impl Probe {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }

    /// How many children are gone: the futures themselves, not what they hold.
    pub fn drops(&self) -> usize {
        self.drops.get()
    }

    pub fn watch(
        &self,
        child: impl Future<Output = Result<usize, &'static str>> + Send + 'static,
    ) -> Job {
        Box::pin(Probed {
            child: Box::pin(child),
            polls: Arc::clone(&self.polls),
            _dropped: self.drops.token(),
        })
    }
}

struct Probed {
    child: Job,
    polls: Arc<AtomicUsize>,
    _dropped: DropToken,
}

impl Future for Probed {
    type Output = Result<usize, &'static str>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        self.child.as_mut().poll(cx)
    }
}

/// Counts who is inside at a time.
#[derive(Clone, Default)]
pub struct Meter(Arc<(AtomicUsize, AtomicUsize)>);

impl Meter {
    pub fn new() -> Self {
        Self::default()
    }

    /// One more, until what is returned is dropped.
    pub fn enter(&self) -> Inside {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        Inside(self.clone())
    }

    pub fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    /// The most that there ever were.
    pub fn peak(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

pub struct Inside(Meter);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Panics when it is dropped.
pub struct Bomb(pub &'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(self.0);
    }
}

/// Does something when it is dropped.
pub struct OnDrop<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What a call panics with; where it does not, that is the panic.
#[track_caller]
pub fn thrown<T>(call: impl FnOnce() -> T) -> &'static str {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        Ok(_) => panic!("it did not panic"),
        Err(payload) => *payload.downcast().expect("a panic with a plain message"),
    }
}

/// A waker, and what tells how many hold a clone of it.
pub fn waiter() -> (Waker, Arc<Count>) {
    let count = Arc::<Count>::default();
    (Arc::clone(&count).into(), count)
}
