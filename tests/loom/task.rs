//! The task that polls, and its runtime.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Notify;

/// A task that blocks its thread until it is woken. If no thread is left that can wake it, loom
/// reports a deadlock.
pub(crate) struct Task(Notify);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify();
    }
}

impl Task {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Notify::new()))
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Polls until `poll` is ready, and only when woken.
    pub(crate) fn run(self: &Arc<Self>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
        let waker = self.waker();
        while poll(&mut Context::from_waker(&waker)).is_pending() {
            self.0.wait();
        }
    }
}

pub(crate) fn run(poll: impl FnMut(&mut Context<'_>) -> Poll<()>) {
    Task::new().run(poll);
}

/// Checks all interleavings in which at most `switches` times a thread is left that could go on;
/// with `None`, all interleavings.
pub(crate) fn check(switches: impl Into<Option<usize>>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = switches.into();
    builder.max_branches = 10_000;
    builder.check(model);
}
