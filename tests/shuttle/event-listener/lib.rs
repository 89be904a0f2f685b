//! An event that wakes all that listen, under its lock, as that of the crate `event-listener` does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::sync::Mutex;

/// The listeners that were not notified.
type Listeners = Arc<Mutex<Vec<Arc<Mutex<Listener>>>>>;

#[derive(Default)]
pub struct Event(Listeners);

#[derive(Default)]
struct Listener {
    notified: bool,
    waker: Option<Waker>,
}

/// A listener; if it is dropped, it is notified no more.
pub struct EventListener {
    listener: Arc<Mutex<Listener>>,
    listeners: Listeners,
}

impl Event {
    /// Notifies all that listen, whatever the number.
    pub fn notify(&self, _all: usize) {
        let mut listeners = self.0.lock().unwrap();
        for listener in listeners.drain(..) {
            let mut listener = listener.lock().unwrap();
            listener.notified = true;
            listener.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    pub fn listen(&self) -> EventListener {
        let listener = Arc::default();
        self.0.lock().unwrap().push(Arc::clone(&listener));
        EventListener { listener, listeners: Arc::clone(&self.0) }
    }
}

impl Future for EventListener {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut listener = self.listener.lock().unwrap();
        if listener.notified {
            return Poll::Ready(());
        }
        listener.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for EventListener {
    fn drop(&mut self) {
        let mut listeners = self.listeners.lock().unwrap();
        listeners.retain(|listener| !Arc::ptr_eq(listener, &self.listener));
    }
}
