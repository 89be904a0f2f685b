//! A group behind a trait object: code that adds jobs, and knows nothing of groups.

use std::fmt;

use errgroup::{BoxedHandle, SpawnedHandle};
use futures_core::future::BoxFuture;

/// A job.
pub type Job<E> = BoxFuture<'static, Result<(), E>>;

/// Takes jobs.
pub trait Jobs<E>: fmt::Debug + Send + Sync {
    /// Takes a job, or gives it back if no more are taken.
    fn add(&self, job: Job<E>) -> Result<(), Job<E>>;
}

impl<E: 'static> Jobs<E> for BoxedHandle<'static, (), E> {
    fn add(&self, job: Job<E>) -> Result<(), Job<E>> {
        self.try_queue(job).map_err(|refused| refused.into_inner())
    }
}

impl<E: Send + 'static> Jobs<E> for SpawnedHandle<(), E> {
    fn add(&self, job: Job<E>) -> Result<(), Job<E>> {
        self.try_queue(job).map_err(|refused| refused.into_inner())
    }
}
