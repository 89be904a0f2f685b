//! How an admitted child gets to its executor.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::pin::Pin;

use super::completions::Completions;
use super::future::{Assignment, ObservedChild, SpawnedFuture};
use super::locality::{AnyThread, Locality, OneThread};
use super::task_cell::{Keep, Kept, TaskCell};
use super::{SpawnStage, Spawned};
use crate::child::set::{EndReports, SpawnChild};
use crate::observe::PollObserver;
use crate::util::nesting;
use crate::util::panic::{Payload, catch};
use crate::util::parent_waker::ParentWaker;

/// The cell of a child, whatever the spawner returns.
pub(super) type ChildCell<T, E, L> = TaskCell<T, E, <L as Locality>::Kept>;

/// The future of a child that has been admitted, on its way to the executor.
pub(super) type ChildFuture<T, E, L> = Pin<Box<<L as Locality>::Unstarted<T, E>>>;

/// The children of one change that are to be spawned, in order.
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub struct Spawns<T, E, L: Locality> {
    /// `None` if there are no children.
    spawn: Option<L::SpawnFn<T, E>>,
    /// Mostly there is at most one.
    first: Option<Spawn<T, E, L>>,
    more: Vec<Spawn<T, E, L>>,
}

/// A child that is to be spawned.
type Spawn<T, E, L> = (ChildFuture<T, E, L>, Arc<ChildCell<T, E, L>>);

/// Hands the children of a group to their executor.
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub struct Spawner<T, E, L: Locality> {
    spawn: L::SpawnFn<T, E>,
    completions: Arc<Completions>,
}

/// The future of a child that is not at its executor, whatever its type.
pub trait Unstarted<T, E, L: Locality> {
    /// Assigns the future to a child of a group.
    #[doc(hidden)]
    fn assign(self: Pin<&mut Self>, cell: Arc<ChildCell<T, E, L>>, observer: Option<ObservedChild>);

    /// Returns it as the executor gets it.
    #[doc(hidden)]
    fn into_future(self: Pin<Box<Self>>) -> L::Future;

    /// [Defers](nesting::defer) the call of the spawner.
    #[doc(hidden)]
    fn defer(self: Pin<Box<Self>>, spawn: L::SpawnFn<T, E>, cell: Arc<ChildCell<T, E, L>>);
}

/// A function of the user's that spawns, whatever it returns.
pub trait SpawnFn<T, E, L: Locality> {
    /// Makes the cell of a child, which can keep what the function returns.
    #[doc(hidden)]
    fn new_cell(&self, completions: Arc<Completions>, index: usize) -> Arc<ChildCell<T, E, L>>;

    /// Calls the function. What it returns is put into `kept`, unless dropping it does nothing.
    #[doc(hidden)]
    fn call(&self, future: L::Future, kept: &L::Kept);
}

// === impl Unstarted, SpawnFn ===

/// Lets a locality spawn futures of a bound, by functions of a bound. What differs is which trait
/// objects they become.
macro_rules! impl_spawn {
    ($locality:ty, $($send:ident)?) => {
        impl<F, T, E> Unstarted<T, E, $locality>
            for SpawnedFuture<F, T, E, <$locality as Locality>::Kept>
        where
            F: Future<Output = Result<T, E>> $(+ $send)? + 'static,
            T: $($send +)? 'static,
            E: $($send +)? 'static,
        {
            fn assign(
                self: Pin<&mut Self>,
                cell: Arc<ChildCell<T, E, $locality>>,
                observer: Option<ObservedChild>,
            ) {
                self.assign(Assignment { cell, observer });
            }

            fn into_future(self: Pin<Box<Self>>) -> <$locality as Locality>::Future {
                self
            }

            fn defer(
                self: Pin<Box<Self>>,
                spawn: <$locality as Locality>::SpawnFn<T, E>,
                cell: Arc<ChildCell<T, E, $locality>>,
            ) {
                nesting::defer(cell.completions().id(), move || call(&*spawn, self, &cell));
            }
        }

        impl<S, R, T, E> SpawnFn<T, E, $locality> for S
        where
            S: Fn(<$locality as Locality>::Future) -> R,
            R: $($send +)? 'static,
        {
            fn new_cell(
                &self,
                completions: Arc<Completions>,
                index: usize,
            ) -> Arc<ChildCell<T, E, $locality>> {
                Arc::new(TaskCell::<T, E, Kept<R>>::new(completions, index))
            }

            fn call(
                &self,
                future: <$locality as Locality>::Future,
                kept: &<$locality as Locality>::Kept,
            ) {
                let returned = self(future);
                if core::mem::needs_drop::<R>() {
                    kept.keep(&mut Some(returned));
                }
            }
        }
    };
}

impl_spawn!(AnyThread, Send);
impl_spawn!(OneThread,);

// === impl Spawner ===

impl<T, E, L: Locality> Default for Spawns<T, E, L> {
    fn default() -> Self {
        Self { spawn: None, first: None, more: Vec::new() }
    }
}

impl<T, E, L: Locality> Spawner<T, E, L> {
    pub(crate) fn new(
        spawn: L::SpawnFn<T, E>,
        parent: Arc<ParentWaker>,
        on_empty: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { spawn, completions: Completions::new(parent, on_empty) }
    }

    pub(super) fn completions(&self) -> &Completions {
        &self.completions
    }

    /// Assigns the future of a child that is admitted. Returns its cell.
    pub(super) fn assign(
        &self,
        future: &mut ChildFuture<T, E, L>,
        index: usize,
        name: Option<&Arc<str>>,
    ) -> Arc<ChildCell<T, E, L>> {
        self.completions.add();
        let cell = self.spawn.new_cell(Arc::clone(&self.completions), index);
        let observer = self.completions.poll_observer().map(|it| (it, name.cloned()));
        future.as_mut().assign(Arc::clone(&cell), observer);
        cell
    }

    /// Hands a future to the executor.
    pub(super) fn spawn(&self, future: ChildFuture<T, E, L>, cell: &Arc<ChildCell<T, E, L>>) {
        spawn::<T, E, L>(&self.spawn, future, cell);
    }
}

/// Hands a future to the executor; after the call for its group that is in progress on this thread,
/// if there is one: the executor may run a child during the call, and the child adds another one.
fn spawn<T, E, L: Locality>(
    spawn: &L::SpawnFn<T, E>,
    future: ChildFuture<T, E, L>,
    cell: &Arc<ChildCell<T, E, L>>,
) {
    let mut future = Some(future);
    nesting::call(cell.completions().id(), || {
        future.take().into_iter().for_each(|future| call(&**spawn, future, cell));
    });
    if let Some(future) = future {
        future.defer(spawn.clone(), Arc::clone(cell));
    }
}

/// Calls the user's function. What it panics with becomes the completion of the child.
fn call<T, E, L: Locality>(
    spawn: &(impl SpawnFn<T, E, L> + ?Sized),
    future: ChildFuture<T, E, L>,
    cell: &ChildCell<T, E, L>,
) {
    if !cell.is_abandoned() {
        let mut in_progress = Call { cell, result: Ok(()) };
        in_progress.result = catch(|| spawn.call(future.into_future(), cell.kept()));
    }
}

/// The children that come after one that is being spawned. Dropped, it loses them. (Without `std` a
/// panic of the user's function unwinds past them.)
struct Unspawned<T, E, L: Locality>(alloc::vec::IntoIter<Spawn<T, E, L>>);

impl<T, E, L: Locality> Drop for Unspawned<T, E, L> {
    fn drop(&mut self) {
        for (future, cell) in self.0.by_ref() {
            drop(future);
            cell.spawned(Ok(()));
        }
    }
}

/// A call of the user's function. Dropped, it says that the call is over. (Without `std` a panic of
/// the function is not caught, and unwinds past it; the child is lost then, with its future.)
struct Call<'a, T, E, K: Keep + ?Sized> {
    cell: &'a TaskCell<T, E, K>,
    result: Result<(), Payload>,
}

impl<T, E, K: Keep + ?Sized> Drop for Call<'_, T, E, K> {
    fn drop(&mut self) {
        self.cell.spawned(core::mem::replace(&mut self.result, Ok(())));
    }
}

impl<T, E, L: Locality> SpawnChild<Spawned<T, E, L>> for Spawner<T, E, L> {
    const SPAWNS: bool = true;
    type Spawns = Spawns<T, E, L>;

    fn start(
        &self,
        child: &mut Spawned<T, E, L>,
        index: usize,
        name: Option<&Arc<str>>,
        spawns: &mut Spawns<T, E, L>,
    ) {
        let Some((future, cell)) = child.start(self, index, name) else {
            return;
        };
        let spawn = (future, Arc::clone(cell));
        if spawns.first.is_none() {
            spawns.spawn = Some(self.spawn.clone());
            spawns.first = Some(spawn);
        } else {
            spawns.more.push(spawn);
        }
    }

    fn spawn_all(spawns: Spawns<T, E, L>) {
        let Spawns { spawn: Some(spawn_fn), first: Some((future, cell)), more } = spawns else {
            return;
        };
        let mut left = Unspawned::<T, E, L>(more.into_iter());
        spawn::<T, E, L>(&spawn_fn, future, &cell);
        for (future, cell) in left.0.by_ref() {
            spawn::<T, E, L>(&spawn_fn, future, &cell);
        }
    }

    /// The children are gone when their futures are, which the executor drops.
    fn group_ended(&self) -> bool {
        self.completions.remove();
        true
    }

    fn reports(&self) -> Option<Arc<dyn EndReports>> {
        Some(Arc::clone(&self.completions) as _)
    }

    fn has_ended(&self, child: &Spawned<T, E, L>) -> bool {
        child.is_complete()
    }

    fn forget_notes(&self) {
        self.completions.forget_notes();
    }

    fn observe_polls(&self, observer: Option<&Arc<dyn PollObserver>>) {
        self.completions.set_observers(|it| it.observer = observer.cloned());
    }

    fn inspect_polls(&self, inspector: &Arc<dyn PollObserver>) {
        self.completions.set_observers(|it| it.inspector = Some(Arc::clone(inspector)));
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

impl<T, E, L: Locality> Clone for Spawner<T, E, L> {
    fn clone(&self) -> Self {
        Self { spawn: self.spawn.clone(), completions: Arc::clone(&self.completions) }
    }
}

impl<T, E, L: Locality> fmt::Debug for Spawns<T, E, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawns(..)")
    }
}

impl<T, E, L: Locality> fmt::Debug for Spawner<T, E, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spawner(..)")
    }
}

// Its panics are caught, and nothing of the group is under way while it runs.
impl<T, E, L: Locality> UnwindSafe for Spawner<T, E, L> {}
impl<T, E, L: Locality> RefUnwindSafe for Spawner<T, E, L> {}
