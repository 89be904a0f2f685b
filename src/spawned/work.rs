use alloc::sync::Arc;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::job::{Ending, Job};
use crate::panic::{catch, discard};

pin_project! {
    /// The half of a child that an executor polls.
    ///
    /// Whatever the future does, a panic of its is an outcome, and does not reach the
    /// executor. The future is dropped before its outcome is told.
    pub(super) struct Work<F, T, E> {
        // Gone once it is done, or was dropped on behalf of the group.
        #[pin]
        future: Option<F>,
        job: Arc<Job<T, E>>,
    }

    impl<F, T, E> PinnedDrop for Work<F, T, E> {
        fn drop(this: Pin<&mut Self>) {
            if this.future.is_some() {
                this.end(Ending::Lost);
            }
        }
    }
}

impl<F, T, E> Work<F, T, E> {
    pub(super) fn new(future: F, job: Arc<Job<T, E>>) -> Self {
        Self { future: Some(future), job }
    }

    /// Drops the future, then tells the outcome.
    fn end(self: Pin<&mut Self>, mut outcome: Ending<T, E>) {
        let mut this = self.project();
        if let Err(payload) = catch(|| this.future.set(None)) {
            // The child's first panic is the one that counts.
            if matches!(outcome, Ending::Panicked(_)) {
                discard(payload);
            } else if let Ending::Finished(result) =
                core::mem::replace(&mut outcome, Ending::Panicked(payload))
            {
                let _ = catch(|| drop(result)).map_err(discard);
            }
        }
        this.job.finish(outcome);
    }
}

impl<F, T, E> Future for Work<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let Some(future) = this.future.as_pin_mut() else {
            return Poll::Ready(());
        };
        let job = this.job;
        let outcome = if job.is_over() {
            Ending::Lost
        } else {
            match catch(|| job.inside(|| future.poll(cx))) {
                Ok(Poll::Ready(result)) => Ending::Finished(result),
                Ok(Poll::Pending) if job.wait(cx.waker()) => return Poll::Pending,
                Ok(Poll::Pending) => Ending::Lost,
                Err(payload) => Ending::Panicked(payload),
            }
        };
        self.end(outcome);
        Poll::Ready(())
    }
}
