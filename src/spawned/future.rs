//! The half of a spawned child that runs on its executor.

use alloc::sync::Arc as PlainArc;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::task_cell::{Completion, Keep, TaskCell};
use crate::observe::{PollObserver, around_poll};
use crate::util::current;
use crate::util::panic::{catch, discard, quietly};
use crate::util::sync::Arc;

pin_project! {
    /// The half of a child that an executor polls.
    ///
    /// A panic of the user's future is a completion, and does not reach the executor. The user's
    /// future is dropped before its completion is stored. Until this is assigned, its drop does
    /// nothing else.
    pub(super) struct SpawnedFuture<F, T, E, K>
    where
        K: Keep,
        K: ?Sized,
    {
        // The user's; `None` once it is done, or was dropped on behalf of the group.
        #[pin]
        future: Option<F>,
        // `Some` once it has been admitted.
        assignment: Option<Assignment<T, E, K>>,
    }

    impl<F, T, E, K> PinnedDrop for SpawnedFuture<F, T, E, K>
    where
        K: Keep,
        K: ?Sized,
    {
        fn drop(this: Pin<&mut Self>) {
            if this.future.is_some() && this.assignment.is_some() {
                this.complete(Completion::Lost);
            }
        }
    }
}

/// What the future shares with the group's half, and what observes its polls.
pub(super) struct Assignment<T, E, K: ?Sized> {
    pub(super) cell: Arc<TaskCell<T, E, K>>,
    pub(super) observer: Option<ObservedChild>,
}

/// What surrounds the polls of a child, and the child's name.
pub(super) type ObservedChild = (PlainArc<dyn PollObserver>, Option<PlainArc<str>>);

impl<F, T, E, K: Keep + ?Sized> SpawnedFuture<F, T, E, K> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Some(future), assignment: None }
    }

    /// Assigns it to a child of a group, before it goes to the spawner.
    pub(super) fn assign(self: Pin<&mut Self>, assignment: Assignment<T, E, K>) {
        *self.project().assignment = Some(assignment);
    }

    /// Drops the user's future, then stores the completion.
    fn complete(self: Pin<&mut Self>, mut completion: Completion<T, E>) {
        let mut this = self.project();
        if let Err(payload) = catch(|| this.future.set(None)) {
            // The child's first panic is the one that counts.
            if matches!(completion, Completion::Panicked(_)) {
                discard(payload);
            } else if let Completion::Finished(result) =
                core::mem::replace(&mut completion, Completion::Panicked(payload))
            {
                quietly(|| drop(result));
            }
        }
        if let Some(Assignment { cell, observer }) = this.assignment {
            let cell = &**cell;
            if observer.is_some() {
                // It may be the last reference.
                quietly(|| *observer = None);
            }
            // Before the completion is stored: once the group has it, the future is no longer
            // counted. Foreign wakers may panic in here.
            quietly(|| cell.completions().remove());
            cell.complete(completion);
        }
    }
}

impl<F, T, E, K> Future for SpawnedFuture<F, T, E, K>
where
    F: Future<Output = Result<T, E>>,
    K: Keep + ?Sized,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let (Some(future), Some(assignment)) = (this.future.as_pin_mut(), this.assignment) else {
            return Poll::Ready(());
        };
        let Assignment { cell, observer } = assignment;
        let cell = &**cell;
        let completion = if cell.is_abandoned() {
            Completion::Lost
        } else {
            let (group, index) = (cell.completions().group_id(), cell.index());
            let poll = || current::enter(group).poll(index, || future.poll(cx));
            let polled = catch(|| match observer {
                None => poll(),
                Some((observer, name)) => around_poll(&**observer, index, name.as_deref(), poll),
            });
            match polled {
                Ok(Poll::Ready(result)) => Completion::Finished(result),
                Ok(Poll::Pending) if cell.register(cx.waker()) => return Poll::Pending,
                Ok(Poll::Pending) => Completion::Lost,
                Err(payload) => Completion::Panicked(payload),
            }
        };
        self.complete(completion);
        Poll::Ready(())
    }
}
