//! A future beside the children that is polled only when it was woken.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::util::parent_waker::ParentWaker;
use crate::util::sync::{Arc, waker_ref};
use crate::util::wake_flag::WakeFlag;

pin_project! {
    /// A future with a flag: it is polled when it was woken, and once a poll of the group's task if
    /// it wakes itself.
    pub(crate) struct Flagged<F> {
        #[pin]
        future: F,
        flag: Arc<WakeFlag>,
        // It woke itself while it was polled: it is not polled again in this poll.
        yielded: bool,
    }

    impl<F> PinnedDrop for Flagged<F> {
        fn drop(this: Pin<&mut Self>) {
            this.flag.disarm();
        }
    }
}

impl<F> Flagged<F> {
    pub(crate) fn new(future: F, parent: &Arc<ParentWaker>) -> Self {
        Self { future, flag: WakeFlag::new(Arc::clone(parent)), yielded: false }
    }

    /// Begins a poll of the group's task.
    pub(crate) fn begin_poll(self: Pin<&mut Self>) {
        *self.project().yielded = false;
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.flag.is_woken()
    }

    /// Returns `true` if it is to be polled.
    pub(crate) fn is_due(&self) -> bool {
        !self.yielded && self.is_woken()
    }
}

impl<F: Future> Flagged<F> {
    /// Polls it if it is due.
    pub(crate) fn poll(self: Pin<&mut Self>) -> Poll<F::Output> {
        let this = self.project();
        if *this.yielded || !this.flag.take_woken() {
            return Poll::Pending;
        }
        let waker = waker_ref(this.flag);
        let output = this.future.poll(&mut Context::from_waker(&waker));
        *this.yielded = this.flag.is_woken();
        output
    }
}
