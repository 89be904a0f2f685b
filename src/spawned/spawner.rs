//! How an admitted child gets to its executor.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::pin::Pin;

use futures_util::future::BoxFuture;

use super::Spawned;
use super::completions::{Completions, Reporter};
use super::future::SpawnedFuture;
use super::task_cell::TaskCell;
use crate::child::set::SpawnChild;
use crate::util::panic::{Payload, catch};
use crate::util::parent_waker::ParentWaker;

/// The future of a child that has been admitted, on its way to the executor.
pub(crate) struct Spawn {
    future: BoxFuture<'static, ()>,
    cell: Arc<dyn SpawnReport + Send + Sync>,
    index: usize,
}

/// The children of one change that are to be spawned, in order.
#[derive(Debug, Default)]
pub struct Spawns {
    /// Mostly there is at most one.
    first: Option<Spawn>,
    more: Vec<Spawn>,
}

/// Hands the children of a group to their executor.
#[derive(Clone)]
pub struct Spawner {
    spawn: Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>,
    completions: Arc<Completions>,
}

/// A future that has not been started, whatever its type.
pub(super) trait Unstarted<T, E> {
    /// Assigns the future to a child of a group.
    fn start(
        self: Pin<Box<Self>>,
        completions: &Arc<Completions>,
        index: usize,
    ) -> (Spawn, Arc<TaskCell<T, E>>);
}

/// What a spawner does with the cell of a child.
trait SpawnReport {
    fn is_abandoned(&self) -> bool;
    fn spawned(&self, reporter: Reporter<'_>, panic: Option<Payload>);
}

impl<T, E> SpawnReport for TaskCell<T, E> {
    fn is_abandoned(&self) -> bool {
        Self::is_abandoned(self)
    }

    fn spawned(&self, reporter: Reporter<'_>, panic: Option<Payload>) {
        Self::spawned(self, reporter, panic);
    }
}

// === impl Spawn ===

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
        let cell = Arc::new(TaskCell::new());
        self.as_mut().assign(&cell, completions, index);
        (Spawn { future: self, cell: Arc::clone(&cell) as _, index }, cell)
    }
}

impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawn(..)")
    }
}

// === impl Spawner ===

impl Spawner {
    pub(crate) fn new(
        spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
        parent: Arc<ParentWaker>,
        on_empty: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { spawn: Arc::new(spawn), completions: Completions::new(parent, on_empty) }
    }

    pub(super) fn completions(&self) -> &Arc<Completions> {
        &self.completions
    }

    /// Hands a future to the executor. What the user's function panics with becomes the
    /// completion of the child.
    pub(super) fn spawn(&self, spawn: Spawn) {
        let Spawn { future, cell, index } = spawn;
        if !cell.is_abandoned() {
            let panic = catch(|| (self.spawn)(future)).err();
            cell.spawned(Reporter { completions: &self.completions, index }, panic);
        }
    }
}

impl<T, E> SpawnChild<Spawned<T, E>> for Spawner {
    const SPAWNS: bool = true;
    type Spawns = Spawns;

    fn start(&self, child: &mut Spawned<T, E>, index: usize, spawns: &mut Spawns) {
        let Some(spawn) = child.start(&self.completions, index) else {
            return;
        };
        if spawns.first.is_none() {
            spawns.first = Some(spawn);
        } else {
            spawns.more.push(spawn);
        }
    }

    fn spawn_all(&self, spawns: Spawns) {
        let Spawns { first, more } = spawns;
        first.into_iter().chain(more).for_each(|spawn| self.spawn(spawn));
    }

    /// The children are gone when their futures are, which the executor drops.
    fn group_ended(&self) -> bool {
        self.completions.remove();
        true
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner(..)")
    }
}

// Its panics are caught, and nothing of the group is under way while it runs.
impl UnwindSafe for Spawner {}
impl RefUnwindSafe for Spawner {}
