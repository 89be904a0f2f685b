//! What the tests poll by hand with.
#![allow(dead_code)]

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

/// A door that children wait at, each behind a number of its own.
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
pub fn visitor<E>(
    number: usize,
    gate: &Gate,
    log: &Log,
) -> impl Future<Output = Result<usize, E>> + Send + Unpin + 'static
where
    E: 'static,
{
    struct Leave(usize, Log);
    impl Drop for Leave {
        fn drop(&mut self) {
            self.1.add(format!("-{}", self.0));
        }
    }
    let leave = Leave(number, log.clone());
    let mut wait = gate.wait(number);
    let mut came = false;
    std::future::poll_fn(move |cx| {
        if !std::mem::replace(&mut came, true) {
            leave.1.add(format!("+{number}"));
        }
        Pin::new(&mut wait).poll(cx).map(|()| Ok(number))
    })
}

/// A stream whose items are put in by hand, and which tells how often it was asked.
#[derive(Clone)]
pub struct Tap<T>(Arc<std::sync::Mutex<TapState<T>>>);

struct TapState<T> {
    items: std::collections::VecDeque<T>,
    ended: bool,
    asked: usize,
    waker: Option<Waker>,
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
