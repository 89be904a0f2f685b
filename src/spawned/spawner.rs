//! How an admitted child gets to its executor, and on which threads it runs there: what differs
//! between `Group::on` and `Group::on_local`.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::ops::Deref;
use core::panic::{RefUnwindSafe, UnwindSafe};
use core::pin::Pin;

use futures_util::future::{BoxFuture, LocalBoxFuture};

use super::completions::Completions;
use super::future::{Assignment, ObservedChild, SpawnedFuture};
use super::task_cell::{Keep, Kept, TaskCell};
use super::{SpawnStage, Spawned};
use crate::child::attach::{AttachScope, LocalScope, SendScope};
use crate::child::set::{EndReports, SpawnChild};
use crate::observe::PollObserver;
use crate::util::nesting;
use crate::util::panic::{Payload, catch};
use crate::util::parent_waker::ParentWaker;

/// Where children run. It has no lifetime, so that a spawned task can contain the group.
pub trait Locality: Sized + 'static {
    /// What a group owns beside its children.
    type Scope: AttachScope;
    /// A future for the executor.
    type Future;
    /// What keeps what a spawner returns, whatever its type.
    type Kept: ?Sized + Keep;
    /// The spawner.
    type SpawnFn<T, E>: Clone + Deref<Target: SpawnFn<T, E, Self>>;
    /// A future that has not been started, whatever its type.
    type Unstarted<T, E>: ?Sized + Unstarted<T, E, Self>;
}

/// On any thread: [`Group::on`](crate::Group::on).
#[derive(Debug)]
pub struct AnyThread;

/// On the thread of the group: [`Group::on_local`](crate::Group::on_local).
#[derive(Debug)]
pub struct OneThread;

/// The cell of a child, whatever the spawner returns.
pub(super) type ChildCell<T, E, L> = TaskCell<T, E, <L as Locality>::Kept>;

/// The future of a child that has been admitted, on its way to the executor.
pub(super) type ChildFuture<T, E, L> = Pin<Box<<L as Locality>::Unstarted<T, E>>>;

/// A child that has started, and is yet to be spawned.
///
/// Its drop records that the call of the spawner is over. If it is dropped before the call, the
/// child is lost. (Without `std` a panic of the spawner is not caught, and unwinds past it.)
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub struct Unspawned<T, E, L: Locality> {
    /// `None` once it was passed to the spawner.
    future: Option<ChildFuture<T, E, L>>,
    cell: Arc<ChildCell<T, E, L>>,
    /// How the call has ended.
    result: Result<(), Payload>,
}

/// The children of one change that are to be spawned, in order.
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub struct Spawns<T, E, L: Locality> {
    /// `None` if there are no children.
    spawn_fn: Option<L::SpawnFn<T, E>>,
    /// Mostly there is at most one.
    first: Option<Unspawned<T, E, L>>,
    more: Vec<Unspawned<T, E, L>>,
}

/// Hands the children of a group to their executor.
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub struct Spawner<T, E, L: Locality> {
    spawn_fn: L::SpawnFn<T, E>,
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

    /// [Defers](nesting::defer) the call for the child, whose future this was.
    #[doc(hidden)]
    fn defer(self: Pin<Box<Self>>, child: Unspawned<T, E, L>, spawn_fn: L::SpawnFn<T, E>);
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

// === impl Locality ===

impl Locality for AnyThread {
    type Scope = SendScope<'static>;
    type Future = BoxFuture<'static, ()>;
    type Kept = dyn Keep + Send + Sync;
    type SpawnFn<T, E> = Arc<dyn SpawnFn<T, E, Self> + Send + Sync>;
    type Unstarted<T, E> = dyn Unstarted<T, E, Self> + Send;
}

impl Locality for OneThread {
    type Scope = LocalScope<'static>;
    type Future = LocalBoxFuture<'static, ()>;
    type Kept = dyn Keep;
    type SpawnFn<T, E> = Rc<dyn SpawnFn<T, E, Self>>;
    type Unstarted<T, E> = dyn Unstarted<T, E, Self>;
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
                mut child: Unspawned<T, E, $locality>,
                spawn_fn: <$locality as Locality>::SpawnFn<T, E>,
            ) {
                child.future = Some(self);
                nesting::defer(child.group_id(), move || child.call(&*spawn_fn));
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
        Self { spawn_fn: None, first: None, more: Vec::new() }
    }
}

impl<T, E, L: Locality> Spawner<T, E, L> {
    pub(crate) fn new(
        spawn_fn: L::SpawnFn<T, E>,
        parent: Arc<ParentWaker>,
        on_empty: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { spawn_fn, completions: Completions::new(parent, on_empty) }
    }

    pub(super) fn completions(&self) -> &Completions {
        &self.completions
    }

    /// Assigns a future to the child that is admitted.
    pub(super) fn assign(
        &self,
        mut future: ChildFuture<T, E, L>,
        index: usize,
        name: Option<&Arc<str>>,
    ) -> Unspawned<T, E, L> {
        self.completions.add();
        let cell = self.spawn_fn.new_cell(Arc::clone(&self.completions), index);
        let observer = self.completions.poll_observer().map(|it| (it, name.cloned()));
        future.as_mut().assign(Arc::clone(&cell), observer);
        Unspawned { future: Some(future), cell, result: Ok(()) }
    }

    /// Hands a child to the executor.
    pub(super) fn spawn(&self, child: Unspawned<T, E, L>) {
        child.spawn(&self.spawn_fn);
    }
}

// === impl Unspawned ===

impl<T, E, L: Locality> Unspawned<T, E, L> {
    pub(super) fn cell(&self) -> &Arc<ChildCell<T, E, L>> {
        &self.cell
    }

    fn group_id(&self) -> usize {
        self.cell.completions().group_id()
    }

    /// Hands it to the executor; after the call for its group that is in progress on this thread,
    /// if there is one: the executor may run a child during the call, and the child adds another
    /// one.
    fn spawn(self, spawn_fn: &L::SpawnFn<T, E>) {
        let group = self.group_id();
        let mut child = Some(self);
        nesting::call(group, || child.take().into_iter().for_each(|it| it.call(&**spawn_fn)));
        if let Some(mut child) = child {
            if let Some(future) = child.future.take() {
                future.defer(child, spawn_fn.clone());
            }
        }
    }

    /// Calls the user's function, unless the group has dropped the child. What it panics with
    /// becomes the completion of the child.
    fn call(mut self, spawn_fn: &(impl SpawnFn<T, E, L> + ?Sized)) {
        if let (Some(future), false) = (self.future.take(), self.cell.is_abandoned()) {
            self.result = catch(|| spawn_fn.call(future.into_future(), self.cell.kept()));
        }
    }
}

impl<T, E, L: Locality> Drop for Unspawned<T, E, L> {
    fn drop(&mut self) {
        drop(self.future.take());
        self.cell.spawned(core::mem::replace(&mut self.result, Ok(())));
    }
}

// === impl Spawner as SpawnChild ===

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
        let Some(unspawned) = child.start(self, index, name) else {
            return;
        };
        if spawns.first.is_none() {
            spawns.spawn_fn = Some(self.spawn_fn.clone());
            spawns.first = Some(unspawned);
        } else {
            spawns.more.push(unspawned);
        }
    }

    fn spawn_all(spawns: Spawns<T, E, L>) {
        if let Some(spawn_fn) = spawns.spawn_fn {
            let children = spawns.first.into_iter().chain(spawns.more);
            children.for_each(|child| child.spawn(&spawn_fn));
        }
    }

    fn group_ended(&self) {
        self.completions.remove();
    }

    fn reports(&self) -> Option<Arc<dyn EndReports>> {
        Some(Arc::clone(&self.completions) as _)
    }

    fn has_ended(child: &Spawned<T, E, L>) -> bool {
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
        Self { spawn_fn: self.spawn_fn.clone(), completions: Arc::clone(&self.completions) }
    }
}

impl<T, E, L: Locality> fmt::Debug for Unspawned<T, E, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unspawned(..)")
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
