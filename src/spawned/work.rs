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
    /// executor. The future is dropped before its outcome is told. Until it is started, it is
    /// dropped as any future is.
    pub(super) struct Work<F, T, E> {
        // Gone once it is done, or was dropped on behalf of the group.
        #[pin]
        future: Option<F>,
        // Once it has been started.
        post: Option<Post<T, E>>,
    }

    impl<F, T, E> PinnedDrop for Work<F, T, E> {
        fn drop(this: Pin<&mut Self>) {
            if this.future.is_some() && this.post.is_some() {
                this.end(Ending::Lost);
            }
        }
    }
}

/// Whose child it is, and which of them.
struct Post<T, E> {
    job: Arc<Job<T, E>>,
    home: Arc<Home>,
    index: usize,
}

impl<F, T, E> Work<F, T, E> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Some(future), post: None }
    }

    /// Tells it whose child it is, and which of them: before it goes to the spawner.
    pub(super) fn send_out(
        self: Pin<&mut Self>,
        job: &Arc<Job<T, E>>,
        home: &Arc<Home>,
        index: usize,
    ) {
        home.enter();
        let post = Post { job: Arc::clone(job), home: Arc::clone(home), index };
        *self.project().post = Some(post);
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
        if let Some(Post { job, home, index }) = this.post {
            // Before the outcome is told: whoever has it finds the future gone. Foreign wakers may
            // panic in here.
            let _ = catch(|| home.leave()).map_err(discard);
            job.finish(Way { home, index: *index }, outcome);
        }
    }
}

impl<F, T, E> Future for Work<F, T, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let (Some(future), Some(post)) = (this.future.as_pin_mut(), this.post) else {
            return Poll::Ready(());
        };
        let job = &post.job;
        let outcome = if job.is_over() {
            Ending::Lost
        } else {
            let polled = || context::inside(post.home.id(), post.index, || future.poll(cx));
            match catch(polled) {
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
