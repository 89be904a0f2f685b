//! How an admitted child gets to its executor.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::pin::Pin;

use futures_util::future::BoxFuture;

use super::completions::Reporter;
use super::future::SpawnedFuture;
use super::task_cell::TaskCell;
use super::{Completions, Spawned};
use crate::util::panic::{Payload, catch};
use crate::util::parent_waker::ParentWaker;

/// The work of a child that has been admitted, on its way to the executor.
pub(crate) struct Spawn {
    work: BoxFuture<'static, ()>,
    job: Arc<dyn SpawnReport + Send + Sync>,
    index: usize,
}

/// Work that nobody has started, whatever its future.
pub(super) trait Unstarted<T, E> {
    /// Gets it ready to go, as that child of that group.
    fn start(
        self: Pin<Box<Self>>,
        completions: &Arc<Completions>,
        index: usize,
    ) -> (Spawn, Arc<TaskCell<T, E>>);
}

/// Those that one change has admitted, in order.
#[derive(Default)]
pub(crate) struct Spawns {
    /// The first; mostly there is one.
    first: Option<Spawn>,
    more: Vec<Spawn>,
}

/// Hands the children of a group to their executor.
pub(crate) struct Spawner<C> {
    spawn: Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>,
    start: fn(&mut C, &Arc<Completions>, usize) -> Option<Spawn>,
    completions: Arc<Completions>,
}

/// What a launcher knows of a job.
trait SpawnReport {
    fn is_abandoned(&self) -> bool;
    fn spawned(&self, way: Reporter<'_>, thrown: Option<Payload>);
}

impl<T, E> SpawnReport for TaskCell<T, E> {
    fn is_abandoned(&self) -> bool {
        Self::is_abandoned(self)
    }

    fn spawned(&self, way: Reporter<'_>, thrown: Option<Payload>) {
        Self::spawned(self, way, thrown);
    }
}

// === impl Start ===

impl<F, T, E> Unstarted<T, E> for SpawnedFuture<F, T, E>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    fn start(
        mut self: Pin<Box<Self>>,
        completions: &Arc<Completions>,
        index: usize,
    ) -> (Spawn, Arc<TaskCell<T, E>>) {
        let job = Arc::new(TaskCell::new());
        self.as_mut().assign(&job, completions, index);
        (Spawn { work: self, job: Arc::clone(&job) as _, index }, job)
    }
}

impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawn(..)")
    }
}

// === impl Starts ===

impl Spawns {
    pub(crate) fn push(&mut self, start: Spawn) {
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
        parent: Arc<ParentWaker>,
        gone: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            spawn: Arc::new(spawn),
            start: Spawned::start,
            completions: Completions::new(parent, gone),
        }
    }
}

impl<C> Clone for Spawner<C> {
    fn clone(&self) -> Self {
        Self {
            spawn: Arc::clone(&self.spawn),
            start: self.start,
            completions: Arc::clone(&self.completions),
        }
    }
}

impl<C> Spawner<C> {
    /// Where the children report.
    pub(crate) fn completions(&self) -> &Arc<Completions> {
        &self.completions
    }

    /// Takes the work out of a child that has been admitted, as that one of the group; once.
    pub(crate) fn start(&self, child: &mut C, index: usize) -> Option<Spawn> {
        (self.start)(child, &self.completions, index)
    }

    pub(crate) fn spawn_all(&self, starts: Spawns) {
        let Spawns { first, more } = starts;
        first.into_iter().chain(more).for_each(|start| self.spawn(start));
    }

    /// Hands over the work, under no lock. What the user's function panics with becomes the
    /// outcome of the child.
    pub(crate) fn spawn(&self, start: Spawn) {
        let Spawn { work, job, index } = start;
        if !job.is_abandoned() {
            let thrown = catch(|| (self.spawn)(work)).err();
            job.spawned(Reporter { completions: &self.completions, index }, thrown);
        }
    }
}

// Its panics are caught, and nothing of the group is under way while it runs.
impl<C> UnwindSafe for Spawner<C> {}
impl<C> RefUnwindSafe for Spawner<C> {}
