//! Children that run as tasks of an executor, while their group waits for them.
//!
//! A child has two halves that meet in a [`TaskCell`]: the [`SpawnedFuture`], a future that the executor
//! polls, and the [`Spawned`], which stays with the group. The work waits in the other half
//! until the child is admitted. Then it leaves as a [`Spawn`], which is run when no lock is
//! held. When it is done it reports to its [`Completions`]; and the group seats the other half in
//! its set, polls it once, and has the result.

mod completions;
mod future;
mod set;
mod spawner;
mod task_cell;

use alloc::boxed::Box;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::BoxFuture;

pub(crate) use self::completions::Completions;
use self::future::SpawnedFuture;
pub(crate) use self::set::SpawnedSet;
use self::spawner::Unstarted;
pub(crate) use self::spawner::{Spawn, Spawner, Spawns};
use self::task_cell::{Completion, TaskCell};
use crate::child::task::{Options, Task};
use crate::child::{Child, Children, Kind, Seal, Sealed};
use crate::observe::Observer;
use crate::util::panic::resume;
use crate::util::sync::Arc;

/// Children of any type that run in parallel, each a task of an executor:
/// [`Group::on`](crate::Group::on).
pub struct Spawned<T, E> {
    stage: Stage<T, E>,
}

enum Stage<T, E> {
    /// It waits to be admitted.
    Unstarted(Pin<Box<dyn Unstarted<T, E> + Send>>),
    /// It was handed to the executor.
    Started(Arc<TaskCell<T, E>>),
    /// The outcome has been taken: there is nobody to be told any more.
    Over,
}

// === impl Spawned ===

impl<T, E> Spawned<T, E> {
    /// Lets go of the work, the child having been admitted.
    fn start(&mut self, completions: &Arc<Completions>, index: usize) -> Option<Spawn> {
        let work = match core::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Unstarted(work) => work,
            stage => {
                self.stage = stage;
                return None;
            }
        };
        let (start, job) = work.start(completions, index);
        self.stage = Stage::Started(job);
        Some(start)
    }
}

impl<T, E> Sealed for Spawned<T, E> {
    const ELSEWHERE: bool = true;
}
impl<T, E> Kind for Spawned<T, E> {
    type Timer = BoxFuture<'static, ()>;
    type GraceFn = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;
    type ObserverBox = Box<dyn Observer + Send>;

    fn observer(watcher: &mut Self::ObserverBox) -> &mut dyn Observer {
        &mut **watcher
    }
}

impl<T, E> Children for Spawned<T, E> {
    type Ok = T;
    type Err = E;

    fn poll_child(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<T, E>> {
        let Stage::Started(job) = &self.stage else {
            return Poll::Pending;
        };
        debug_assert!(job.is_complete(), "a child is polled that has not reported");
        match job.take_completion() {
            None => Poll::Pending,
            Some(Completion::Finished(result)) => {
                self.stage = Stage::Over;
                Poll::Ready(result)
            }
            Some(Completion::Panicked(payload)) => resume(payload),
            Some(Completion::Lost) => {
                panic!("the executor dropped a child of `Group::on` before the child had finished")
            }
        }
    }
}

impl<F, T, E> Child<Spawned<T, E>> for F
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    fn into_child(self, _: Seal) -> Spawned<T, E> {
        Spawned { stage: Stage::Unstarted(Box::pin(SpawnedFuture::new(self))) }
    }
}

impl<F, T, E> Child<Spawned<T, E>> for Task<F>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    fn into_child(self, seal: Seal) -> Spawned<T, E> {
        self.into_inner().into_child(seal)
    }

    #[inline(always)]
    fn options(&mut self, _: Seal) -> Option<&mut Options> {
        Some(self.options())
    }
}

impl<T, E> Drop for Spawned<T, E> {
    fn drop(&mut self) {
        if let Stage::Started(job) = &self.stage {
            job.abandon();
        }
    }
}

impl<T, E> fmt::Debug for Spawned<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawned(..)")
    }
}
