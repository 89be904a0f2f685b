//! Children that run as tasks of an executor, while their group waits for them.
//!
//! A child has two halves that meet in a [`TaskCell`](task_cell::TaskCell): the [`SpawnedFuture`],
//! which the executor polls, and the [`Spawned`], which stays with the group. The future waits in
//! the other half until the child is admitted. Then it is handed to the executor, when no lock is
//! held. When it is done it reports to the group's [`Completions`](completions::Completions). The
//! group then moves the other half into its set, polls it once, and has the result.

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

use self::future::SpawnedFuture;
pub(crate) use self::set::SpawnedSet;
pub(crate) use self::spawner::{AnyThread, Locality, OneThread, Spawner};
use self::spawner::{ChildCell, ChildFuture, Unspawned};
use self::task_cell::{Completion, Keep};
use crate::child::{Child, ChildResult, Children, Kind, Seal, Sealed};
use crate::util::panic::resume;
use crate::util::sync::Arc;

/// Children of any type that run in parallel, each a task of an executor:
/// [`Group::on`](crate::Group::on).
///
/// `L` says on which threads they run: any, unless it is [`SpawnedLocal`].
///
/// # Examples
///
/// ```
/// use errgroup::{Group, Spawned};
///
/// fn on_tokio() -> Group<Spawned<u64, String>> {
///     Group::on(tokio::spawn)
/// }
/// ```
pub struct Spawned<T, E, L: Locality = AnyThread> {
    stage: SpawnStage<T, E, L>,
}

/// Children of any type, `Send` or not, each a task of an executor that runs on the thread of the
/// group: [`Group::on_local`](crate::Group::on_local).
///
/// # Examples
///
/// ```
/// use errgroup::{Group, SpawnedLocal};
///
/// fn on_local_set() -> Group<SpawnedLocal<u64, String>> {
///     Group::on_local(tokio::task::spawn_local)
/// }
/// ```
pub type SpawnedLocal<T, E> = Spawned<T, E, OneThread>;

enum SpawnStage<T, E, L: Locality> {
    /// It waits to be admitted. `None` while it is being started.
    Unstarted(Option<ChildFuture<T, E, L>>),
    /// Its future was handed to the executor.
    Started {
        cell: Arc<ChildCell<T, E, L>>,
        /// Its result has been taken: there is no future to tell any more.
        is_over: bool,
    },
    /// It is no child, but [carries](crate::child::set::SpawnChild::wrap) the spawner.
    Spawner(Spawner<T, E, L>),
}

// === impl Spawned ===

impl<T, E, L: Locality> Spawned<T, E, L> {
    /// Returns `true` if it has ended on its executor.
    pub(super) fn is_complete(&self) -> bool {
        self.cell().is_some_and(|cell| cell.is_complete())
    }

    /// Lets it not report any more; it is dropped next. Returns `false` if it has ended.
    fn try_abandon(&self) -> bool {
        self.cell().is_none_or(|cell| cell.try_abandon())
    }

    /// Takes the future out, once the child is admitted, or returns `None` if that has been done.
    fn start(
        &mut self,
        spawner: &Spawner<T, E, L>,
        index: usize,
        name: Option<&Arc<str>>,
    ) -> Option<Unspawned<T, E, L>> {
        let SpawnStage::Unstarted(future) = &mut self.stage else {
            return None;
        };
        let unspawned = spawner.assign(future.take()?, index, name);
        self.stage = SpawnStage::Started { cell: Arc::clone(unspawned.cell()), is_over: false };
        Some(unspawned)
    }

    fn cell(&self) -> Option<&Arc<ChildCell<T, E, L>>> {
        match &self.stage {
            SpawnStage::Started { cell, .. } => Some(cell),
            _ => None,
        }
    }
}

impl<T, E, L: Locality> Sealed for Spawned<T, E, L> {}
impl<T, E, L: Locality> Kind for Spawned<T, E, L> {
    type Scope = L::Scope;
    type Set = SpawnedSet<T, E, L>;
}

impl<T, E, L: Locality> Children for Spawned<T, E, L> {
    type Ok = T;
    type Err = E;

    fn poll_child(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<T, E>> {
        let SpawnStage::Started { cell, is_over } = &mut self.stage else {
            return Poll::Pending;
        };
        debug_assert!(cell.is_complete(), "a child is polled that has not reported");
        match cell.take_completion() {
            None => Poll::Pending,
            Some(Completion::Finished(result)) => {
                *is_over = true;
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
    F::Output: ChildResult,
    T: Send + 'static,
    E: Send + 'static,
{
    fn into_child(self, _: Seal) -> Spawned<T, E> {
        let future: Pin<Box<_>> = Box::pin(SpawnedFuture::new(self));
        Spawned { stage: SpawnStage::Unstarted(Some(future as _)) }
    }
}

impl<F, T, E> Child<SpawnedLocal<T, E>> for F
where
    F: Future<Output = Result<T, E>> + 'static,
    F::Output: ChildResult,
    T: 'static,
    E: 'static,
{
    fn into_child(self, _: Seal) -> SpawnedLocal<T, E> {
        let future: Pin<Box<_>> = Box::pin(SpawnedFuture::new(self));
        Spawned { stage: SpawnStage::Unstarted(Some(future as _)) }
    }
}

// Nothing in it is pinned but by a box.
impl<T, E, L: Locality> Unpin for Spawned<T, E, L> {}

impl<T, E, L: Locality> Drop for Spawned<T, E, L> {
    fn drop(&mut self) {
        match &self.stage {
            SpawnStage::Started { cell, is_over: false } => cell.abandon(),
            SpawnStage::Started { cell, is_over: true } => cell.kept().clear(),
            _ => {}
        }
    }
}

impl<T, E, L: Locality> fmt::Debug for Spawned<T, E, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawned(..)")
    }
}
