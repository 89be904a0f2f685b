//! How an admitted child gets to its executor.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::pin::Pin;

use futures_util::future::BoxFuture;

use super::home::Way;
use super::job::Job;
use super::work::Work;
use super::{Home, Spawned};
use crate::bell::Bell;
use crate::panic::{Payload, catch};

/// The work of a child that has been admitted, on its way to the executor.
pub(crate) struct Start {
    work: BoxFuture<'static, ()>,
    job: Arc<dyn Launch + Send + Sync>,
    index: usize,
}

/// Work that nobody has started, whatever its future.
pub(super) trait Idle<T, E> {
    /// Gets it ready to go, as that child of that group.
    fn start(self: Pin<Box<Self>>, home: &Arc<Home>, index: usize) -> (Start, Arc<Job<T, E>>);
}

/// Those that one change has admitted, in order.
#[derive(Default)]
pub(crate) struct Starts {
    /// The first; mostly there is one.
    first: Option<Start>,
    more: Vec<Start>,
}

/// Hands the children of a group to their executor.
pub(crate) struct Spawner<C> {
    spawn: Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>,
    start: fn(&mut C, &Arc<Home>, usize) -> Option<Start>,
    home: Arc<Home>,
}

/// What a launcher knows of a job.
trait Launch {
    fn is_over(&self) -> bool;
    fn launched(&self, way: Way<'_>, thrown: Option<Payload>);
}

impl<T, E> Launch for Job<T, E> {
    fn is_over(&self) -> bool {
        Self::is_over(self)
    }

    fn launched(&self, way: Way<'_>, thrown: Option<Payload>) {
        Self::launched(self, way, thrown);
    }
}

// === impl Start ===

impl<F, T, E> Idle<T, E> for Work<F, T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    fn start(mut self: Pin<Box<Self>>, home: &Arc<Home>, index: usize) -> (Start, Arc<Job<T, E>>) {
        let job = Arc::new(Job::new());
        self.as_mut().send_out(&job, home, index);
        (Start { work: self, job: Arc::clone(&job) as _, index }, job)
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Start(..)")
    }
}

// === impl Starts ===

impl Starts {
    pub(crate) fn push(&mut self, start: Start) {
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some(start);
        } else {
            self.more.push(start);
        }
    }
}

// === impl Spawner ===

impl<T, E> Spawner<Spawned<T, E>> {
    pub(crate) fn new(
        spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
        bell: Arc<Bell>,
        gone: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { spawn: Arc::new(spawn), start: Spawned::start, home: Home::new(bell, gone) }
    }
}

impl<C> Clone for Spawner<C> {
    fn clone(&self) -> Self {
        Self { spawn: Arc::clone(&self.spawn), start: self.start, home: Arc::clone(&self.home) }
    }
}

impl<C> Spawner<C> {
    /// Where the children report.
    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Takes the work out of a child that has been admitted, as that one of the group; once.
    pub(crate) fn start(&self, child: &mut C, index: usize) -> Option<Start> {
        (self.start)(child, &self.home, index)
    }

    pub(crate) fn launch_all(&self, starts: Starts) {
        let Starts { first, more } = starts;
        first.into_iter().chain(more).for_each(|start| self.launch(start));
    }

    /// Hands over the work, under no lock. What the user's function panics with becomes the
    /// outcome of the child.
    pub(crate) fn launch(&self, start: Start) {
        let Start { work, job, index } = start;
        if !job.is_over() {
            let thrown = catch(|| (self.spawn)(work)).err();
            job.launched(Way { home: &self.home, index }, thrown);
        }
    }
}

// Its panics are caught, and nothing of the group is under way while it runs.
impl<C> UnwindSafe for Spawner<C> {}
impl<C> RefUnwindSafe for Spawner<C> {}
