//! Where the inputs of `map` and `for_each` come from, and a stream that is asked only when it was
//! woken.

use alloc::sync::Arc;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_util::Stream;
use pin_project_lite::pin_project;

use crate::util::parent_waker::ParentWaker;
use crate::util::wake_flag::WakeFlag;

/// The inputs of a `map` or a `for_each`.
pub(super) trait Inputs {
    type Input;

    /// Begins a poll.
    fn begin_poll(self: Pin<&mut Self>);

    /// Returns the next input; `Pending` if it is not there, or may not be asked for now.
    fn poll_next(self: Pin<&mut Self>, parent: &Arc<ParentWaker>) -> Poll<Option<Self::Input>>;

    /// Returns `true` if it was woken since it was pending.
    fn is_woken(&self) -> bool;
}

/// The inputs that an iterator makes.
pub(super) struct Iterated<I>(pub(super) I);

// The iterator is not pinned.
impl<I> Unpin for Iterated<I> {}

impl<I: Iterator> Inputs for Iterated<I> {
    type Input = I::Item;

    #[inline(always)]
    fn begin_poll(self: Pin<&mut Self>) {}

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, _: &Arc<ParentWaker>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }

    #[inline(always)]
    fn is_woken(&self) -> bool {
        false
    }
}

pin_project! {
    /// A stream that is asked again only after it was woken, and once a poll if it wakes itself.
    pub(super) struct Streamed<S> {
        #[pin]
        stream: S,
        // It was pending when it was last asked.
        pending: bool,
        // It woke itself while it was asked: it is not asked again in this poll.
        yielded: bool,
        // It is being asked, or has panicked.
        asked: bool,
        // Made when it is first asked.
        waker: Option<StreamWaker>,
    }
}

/// The waker of a stream, which notifies the task that asks for the stream's items.
struct StreamWaker {
    flag: Arc<WakeFlag>,
    waker: Waker,
}

impl Drop for StreamWaker {
    fn drop(&mut self) {
        self.flag.disarm();
    }
}

impl<S> Streamed<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, pending: false, yielded: false, asked: false, waker: None }
    }

    /// Returns `true` if it has woken itself in this poll.
    pub(super) fn has_yielded(&self) -> bool {
        self.yielded
    }

    /// Returns `true` if it has panicked, if that is asked for after a panic.
    pub(super) fn has_panicked(&self) -> bool {
        self.asked
    }

    /// Forgets that it was pending.
    pub(super) fn clear_pending(self: Pin<&mut Self>) {
        *self.project().pending = false;
    }
}

impl<S: Stream> Streamed<S> {
    /// Returns `true` if it is pending, and is not to be asked yet.
    pub(super) fn must_wait(&self) -> bool {
        self.yielded || (self.pending && !self.is_woken())
    }

    pub(super) fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }

    pub(super) fn ask(self: Pin<&mut Self>, parent: &Arc<ParentWaker>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let StreamWaker { flag, waker } = this.waker.get_or_insert_with(|| {
            let flag = WakeFlag::new(Arc::clone(parent));
            StreamWaker { waker: WakeFlag::waker(&flag), flag }
        });
        flag.take_woken();
        *this.asked = true;
        let next = this.stream.poll_next(&mut Context::from_waker(waker));
        *this.asked = false;
        *this.pending = next.is_pending();
        *this.yielded = *this.pending && flag.is_woken();
        next
    }
}

impl<S: Stream> Inputs for Streamed<S> {
    type Input = S::Item;

    fn begin_poll(self: Pin<&mut Self>) {
        *self.project().yielded = false;
    }

    fn poll_next(self: Pin<&mut Self>, parent: &Arc<ParentWaker>) -> Poll<Option<S::Item>> {
        if self.must_wait() { Poll::Pending } else { self.ask(parent) }
    }

    fn is_woken(&self) -> bool {
        self.waker.as_ref().is_some_and(|waker| waker.flag.is_woken())
    }
}
