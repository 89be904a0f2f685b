//! The end of a group, seen from outside.
//!
//! `event-listener` wakes, clones and drops wakers under a lock of its own. So it is not given the
//! user's waker but a [`WakerRelay`], which only records the waker that is to be woken. It is woken
//! once the event has notified all listeners, under no lock.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use event_listener::{Event, EventListener};

use crate::util::lock::Mutex;
use crate::util::sync::{AtomicBool, Ordering};
use crate::util::task_waker::TaskWaker;
use crate::util::wake_all::wake_all;

/// The event of a group's end.
#[derive(Default)]
pub(crate) struct ClosedEvent {
    is_set: AtomicBool,
    event: Event,
    /// The wakers of the listeners that were notified.
    to_wake: Mutex<Vec<Waker>>,
}

/// A future that waits for the end.
pub(crate) struct ClosedWaiter {
    event: Arc<ClosedEvent>,
    listener: Option<(EventListener, Arc<WakerRelay>)>,
}

/// The waker that the event is given.
struct WakerRelay {
    event: Arc<ClosedEvent>,
    task: TaskWaker,
}

impl ClosedEvent {
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self) {
        // Release: code that sees the end sees all that came before it.
        self.is_set.store(true, Ordering::Release);
        self.event.notify(usize::MAX);
        let wakers = core::mem::take(&mut *self.to_wake.lock());
        wake_all(wakers);
    }
}

impl ClosedWaiter {
    pub(crate) fn new(event: Arc<ClosedEvent>) -> Self {
        Self { event, listener: None }
    }
}

impl Future for ClosedWaiter {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.event.is_set() {
                this.listener = None;
                return Poll::Ready(());
            }
            let Some((listener, relay)) = &mut this.listener else {
                // Listen, then look again: the end may have come between.
                let relay = WakerRelay { event: Arc::clone(&this.event), task: TaskWaker::new() };
                this.listener = Some((this.event.event.listen(), Arc::new(relay)));
                continue;
            };
            relay.task.register(cx.waker());
            let waker = Waker::from(Arc::clone(relay));
            match Pin::new(listener).poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => this.listener = None,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Wake for WakerRelay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = self.task.take() {
            self.event.to_wake.lock().push(waker);
        }
    }
}
