//! The end of a group, seen from outside.
//!
//! `event-listener` wakes, clones and drops wakers under a lock of its own. So what it is
//! given is not the user's waker but a [`WakerRelay`], which only notes who is to be woken; that is
//! done when the event has told all, under no lock.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};

use event_listener::{Event, EventListener};
use futures_util::task::AtomicWaker;

use crate::token::wake_all;
use crate::util::lock::Mutex;
use crate::util::slab::Slab;

/// The end of a group, for those who wait for it.
#[derive(Default)]
pub(crate) struct ClosedEvent {
    reached: AtomicBool,
    event: Event,
    /// Those who were told of the end and are to be woken.
    told: Mutex<Slab<Waker>>,
}

/// One who waits for the end.
pub(crate) struct ClosedWaiter {
    end: Arc<ClosedEvent>,
    listener: Option<(EventListener, Arc<WakerRelay>)>,
}

/// The waker that an event is given.
struct WakerRelay {
    end: Arc<ClosedEvent>,
    task: AtomicWaker,
}

impl ClosedEvent {
    pub(super) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Acquire)
    }

    pub(crate) fn reach(&self) {
        // Release: who sees the end sees all that came before it.
        self.reached.store(true, Ordering::Release);
        self.event.notify(usize::MAX);
        let told = core::mem::take(&mut *self.told.lock());
        wake_all([told].into());
    }
}

impl ClosedWaiter {
    pub(crate) fn new(end: Arc<ClosedEvent>) -> Self {
        Self { end, listener: None }
    }
}

impl Future for ClosedWaiter {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.end.is_reached() {
                this.listener = None;
                return Poll::Ready(());
            }
            let Some((listener, relay)) = &mut this.listener else {
                // Listen, then look again: the end may have come between.
                let relay = WakerRelay { end: Arc::clone(&this.end), task: AtomicWaker::new() };
                this.listener = Some((this.end.event.listen(), Arc::new(relay)));
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
            self.end.told.lock().insert(waker);
        }
    }
}
