//! Children that run as tasks of an executor, while their group waits for them.
//!
//! A child has two halves that meet in a [`TaskCell`]: the [`SpawnedFuture`], which the executor
//! polls, and the [`Spawned`], which stays with the group. The future waits in the other half until
//! the child is admitted. Then it leaves as a [`Spawn`], which is handed to the executor when no
//! lock is held. When it is done it reports to the group's [`Completions`]. The group then moves
//! the other half into its set, polls it once, and has the result.

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

pub(crate) use self::completions::Completions;
use self::future::SpawnedFuture;
pub(crate) use self::set::SpawnedSet;
use self::spawner::Unstarted;
pub(crate) use self::spawner::{Spawn, Spawner};
use self::task_cell::{Completion, TaskCell};
use crate::child::attach::SendScope;
use crate::child::{Child, Children, Kind, Seal, Sealed};
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
    /// Its future was handed to the executor.
    Started(Arc<TaskCell<T, E>>),
    /// Its result has been taken: there is no future to tell any more.
    Taken,
}

// === impl Spawned ===

impl<T, E> Spawned<T, E> {
    /// Takes the future out, once the child is admitted; `None` if that has been done.
    fn start(&mut self, completions: &Arc<Completions>, index: usize) -> Option<Spawn> {
        let future = match core::mem::replace(&mut self.stage, Stage::Taken) {
            Stage::Unstarted(future) => future,
            stage => {
                self.stage = stage;
                return None;
            }
        };
        let (spawn, cell) = future.start(completions, index);
        self.stage = Stage::Started(cell);
        Some(spawn)
    }
}

impl<T, E> Sealed for Spawned<T, E> {}
impl<T, E> Kind for Spawned<T, E> {
    type Scope = SendScope<'static>;
    type Set = SpawnedSet<T, E>;
}

impl<T, E> Children for Spawned<T, E> {
    type Ok = T;
    type Err = E;

    fn poll_child(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<T, E>> {
        let Stage::Started(cell) = &self.stage else {
            return Poll::Pending;
        };
        debug_assert!(cell.is_complete(), "a child is polled that has not reported");
        match cell.take_completion() {
            None => Poll::Pending,
            Some(Completion::Finished(result)) => {
                self.stage = Stage::Taken;
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

impl<T, E> Drop for Spawned<T, E> {
    fn drop(&mut self) {
        if let Stage::Started(cell) = &self.stage {
            cell.abandon();
        }
    }
}

impl<T, E> fmt::Debug for Spawned<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawned(..)")
    }
}
