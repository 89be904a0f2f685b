use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::home::{Home, Way};
use super::job::{Ending, Job};
use crate::context;
use crate::panic::{catch, discard};
use crate::sync::Arc;

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
        // Whose child it is, and which, once it has been started.
        home: Option<(Arc<Home>, usize)>,
    }

    impl<F, T, E> PinnedDrop for Work<F, T, E> {
        fn drop(this: Pin<&mut Self>) {
            if this.future.is_some() {
                this.end(Ending::Lost);
            }
        }
    }
}

fn way(home: &Option<(Arc<Home>, usize)>) -> Option<Way<'_>> {
    home.as_ref().map(|(home, index)| Way { home, index: *index })
}

impl<F, T, E> Work<F, T, E> {
    pub(super) fn new(future: F, job: Arc<Job<T, E>>) -> Self {
        Self { future: Some(future), job, home: None }
    }

    pub(super) fn job(&self) -> &Arc<Job<T, E>> {
        &self.job
    }

    /// Says whose child it is, and which of them, before it is started.
    pub(super) fn send_out(self: Pin<&mut Self>, home: &Arc<Home>, index: usize) {
        *self.project().home = Some((Arc::clone(home), index));
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
        this.job.finish(outcome, way(this.home));
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
            let (group, index) = way(this.home).map_or((0, 0), |way| (way.home.id(), way.index));
            match catch(|| context::inside(group, index, || future.poll(cx))) {
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
