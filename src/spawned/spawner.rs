//! How an admitted child gets to its executor.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::pin::Pin;

use super::completions::{Completions, Reporter};
use super::future::{Assignment, SpawnedFuture};
use super::locality::{AnyThread, Locality, OneThread};
use super::task_cell::TaskCell;
use super::{SpawnStage, Spawned};
use crate::child::set::SpawnChild;
use crate::observe::{Outcome, PollObserver, both};
use crate::util::nesting;
use crate::util::panic::{Payload, catch};
use crate::util::parent_waker::ParentWaker;

/// The future of a child that has been admitted, on its way to the executor.
pub struct Spawn<L: Locality> {
    future: L::Future,
    cell: L::Report,
    index: usize,
}

/// The children of one change that are to be spawned, in order.
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub struct Spawns<L: Locality> {
    /// `None` if there are no children.
    spawner: Option<Spawner<L>>,
    /// Mostly there is at most one.
    first: Option<Spawn<L>>,
    more: Vec<Spawn<L>>,
}

/// Hands the children of a group to their executor.
pub struct Spawner<L: Locality> {
    spawn: L::SpawnFn,
    completions: Arc<Completions>,
    /// Surrounds the polls of the children: `inspector`, `observer`, or both.
    poll_observer: Option<Arc<dyn PollObserver>>,
    inspector: Option<Arc<dyn PollObserver>>,
    observer: Option<Arc<dyn PollObserver>>,
}

/// The two halves of a child that is started.
pub(super) type Started<T, E, L> = (Spawn<L>, Arc<TaskCell<T, E, <L as Locality>::Kept>>);

/// A future that has not been started, whatever its type.
pub trait Unstarted<T, E, L: Locality> {
    /// Assigns the future to a child of a group.
    #[doc(hidden)]
    fn start(
        self: Pin<Box<Self>>,
        spawner: &Spawner<L>,
        index: usize,
        name: Option<&Arc<str>>,
    ) -> Started<T, E, L>;
}

/// What a spawner does with the cell of a child.
pub trait SpawnReport<K> {
    #[doc(hidden)]
    fn is_abandoned(&self) -> bool;

    #[doc(hidden)]
    fn spawned(&self, reporter: Reporter<'_>, result: Result<Option<K>, Payload>);
}

impl<T, E, K> SpawnReport<K> for TaskCell<T, E, K> {
    fn is_abandoned(&self) -> bool {
        Self::is_abandoned(self)
    }

    fn spawned(&self, reporter: Reporter<'_>, result: Result<Option<K>, Payload>) {
        Self::spawned(self, reporter, result);
    }
}

// === impl Spawn, Spawns ===

/// Makes futures of a bound startable by the spawner of a locality. What differs is which trait
/// object they become.
macro_rules! impl_unstarted {
    ($locality:ty, $($send:ident)?) => {
        impl<F, T, E> Unstarted<T, E, $locality>
            for SpawnedFuture<F, T, E, <$locality as Locality>::Kept>
        where
            F: Future<Output = Result<T, E>> $(+ $send)? + 'static,
            T: $($send +)? 'static,
            E: $($send +)? 'static,
        {
            fn start(
                mut self: Pin<Box<Self>>,
                spawner: &Spawner<$locality>,
                index: usize,
                name: Option<&Arc<str>>,
            ) -> Started<T, E, $locality> {
                let assignment = spawner.assignment(index, name);
                let cell = Arc::clone(&assignment.cell);
                self.as_mut().assign(assignment);
                (Spawn { future: self, cell: Arc::clone(&cell) as _, index }, cell)
            }
        }
    };
}

impl_unstarted!(AnyThread, Send);
impl_unstarted!(OneThread,);

impl<L: Locality> Default for Spawns<L> {
    fn default() -> Self {
        Self { spawner: None, first: None, more: Vec::new() }
    }
}

// === impl Spawner ===

impl<L: Locality> Spawner<L> {
    pub(crate) fn new(
        spawn: L::SpawnFn,
        parent: Arc<ParentWaker>,
        on_empty: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let completions = Completions::new(parent, on_empty);
        Self { spawn, completions, poll_observer: None, inspector: None, observer: None }
    }

    pub(super) fn completions(&self) -> &Completions {
        &self.completions
    }

    fn assignment<T, E>(&self, index: usize, name: Option<&Arc<str>>) -> Assignment<T, E, L::Kept> {
        self.completions.add();
        let observer = self.poll_observer.as_ref();
        Assignment {
            cell: Arc::new(TaskCell::new()),
            completions: Arc::clone(&self.completions),
            index,
            observer: observer.map(|it| (Arc::clone(it), name.cloned())),
        }
    }

    /// Hands a future to the executor; after the call of this spawner that is in progress on this
    /// thread, if there is one: the executor may run a child during the call, and the child adds
    /// another one.
    pub(super) fn spawn(&self, spawn: Spawn<L>) {
        let id = Arc::as_ptr(&self.completions).addr();
        let mut spawn = Some(spawn);
        nesting::call(id, || spawn.take().into_iter().for_each(|spawn| self.call(spawn)));
        if let Some(spawn) = spawn {
            let spawner = self.clone();
            nesting::defer(id, move || spawner.call(spawn));
        }
    }

    /// Calls the user's function. What it panics with becomes the completion of the child.
    fn call(&self, spawn: Spawn<L>) {
        let Spawn { future, cell, index } = spawn;
        if !cell.is_abandoned() {
            let result = catch(|| (*self.spawn)(future));
            cell.spawned(Reporter { completions: &self.completions, index }, result);
        }
    }
}

impl<L: Locality, T, E> SpawnChild<Spawned<T, E, L>> for Spawner<L> {
    const SPAWNS: bool = true;
    type Spawns = Spawns<L>;

    fn start(
        &self,
        child: &mut Spawned<T, E, L>,
        index: usize,
        name: Option<&Arc<str>>,
        spawns: &mut Spawns<L>,
    ) {
        let Some(spawn) = child.start(self, index, name) else {
            return;
        };
        if spawns.first.is_none() {
            spawns.spawner = Some(self.clone());
            spawns.first = Some(spawn);
        } else {
            spawns.more.push(spawn);
        }
    }

    fn spawn_all(spawns: Spawns<L>) {
        let Spawns { spawner, first, more } = spawns;
        if let Some(spawner) = spawner {
            first.into_iter().chain(more).for_each(|spawn| spawner.spawn(spawn));
        }
    }

    /// The children are gone when their futures are, which the executor drops.
    fn group_ended(&self) -> bool {
        self.completions.remove();
        true
    }

    fn note_ended(&self, note: &mut dyn FnMut(usize, Outcome)) {
        self.completions.note(note);
    }

    fn has_ended(&self, child: &Spawned<T, E, L>) -> bool {
        child.is_complete()
    }

    fn forget_notes(&self) {
        self.completions.forget_notes();
    }

    fn observe_polls(&mut self, observer: Option<&Arc<dyn PollObserver>>) {
        self.observer = observer.cloned();
        self.poll_observer = both(self.inspector.clone(), self.observer.clone());
    }

    fn inspect_polls(&mut self, inspector: &Arc<dyn PollObserver>) {
        self.inspector = Some(Arc::clone(inspector));
        self.poll_observer = both(self.inspector.clone(), self.observer.clone());
    }

    fn wrap(&self) -> Option<Spawned<T, E, L>> {
        Some(Spawned { stage: SpawnStage::Spawner(self.clone()) })
    }

    fn unwrap(wrapped: &Spawned<T, E, L>) -> Option<&Self> {
        match &wrapped.stage {
            SpawnStage::Spawner(spawner) => Some(spawner),
            _ => None,
        }
    }
}

impl<L: Locality> Clone for Spawner<L> {
    fn clone(&self) -> Self {
        Self {
            spawn: self.spawn.clone(),
            completions: Arc::clone(&self.completions),
            poll_observer: self.poll_observer.clone(),
            inspector: self.inspector.clone(),
            observer: self.observer.clone(),
        }
    }
}

impl<L: Locality> fmt::Debug for Spawn<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawn(..)")
    }
}

impl<L: Locality> fmt::Debug for Spawns<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawns(..)")
    }
}

impl<L: Locality> fmt::Debug for Spawner<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner(..)")
    }
}

// Its panics are caught, and nothing of the group is under way while it runs.
impl<L: Locality> UnwindSafe for Spawner<L> {}
impl<L: Locality> RefUnwindSafe for Spawner<L> {}
