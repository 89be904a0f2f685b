//! On which threads the children of a group run: what differs between `Group::on` and
//! `Group::on_local`.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::ops::Deref;

use futures_util::future::{BoxFuture, LocalBoxFuture};

use super::spawner::{SpawnReport, Unstarted};
use crate::child::attach::{Anything, AttachScope, LocalScope, SendScope};

/// Where children run. It has no lifetime, so that a spawned task can contain the group.
pub trait Locality: Sized + 'static {
    /// What a group owns beside its children.
    type Scope: AttachScope;
    /// A future for the executor.
    type Future;
    /// What the spawner has returned for it.
    type Kept;
    /// The spawner.
    type SpawnFn: Clone + Deref<Target: Fn(Self::Future) -> Option<Self::Kept>>;
    /// The group's side of a child that is spawned, whatever its type.
    type Report: Deref<Target: SpawnReport<Self::Kept>>;
    /// A future that has not been started, whatever its type.
    type Unstarted<T, E>: ?Sized + Unstarted<T, E, Self>;
}

/// On any thread: [`Group::on`](crate::Group::on).
#[derive(Debug)]
pub struct AnyThread;

/// On the thread of the group: [`Group::on_local`](crate::Group::on_local).
#[derive(Debug)]
pub struct OneThread;

impl Locality for AnyThread {
    type Scope = SendScope<'static>;
    type Future = BoxFuture<'static, ()>;
    type Kept = Box<dyn Anything + Send>;
    type SpawnFn = Arc<dyn Fn(Self::Future) -> Option<Self::Kept> + Send + Sync>;
    type Report = Arc<dyn SpawnReport<Self::Kept> + Send + Sync>;
    type Unstarted<T, E> = dyn Unstarted<T, E, Self> + Send;
}

impl Locality for OneThread {
    type Scope = LocalScope<'static>;
    type Future = LocalBoxFuture<'static, ()>;
    type Kept = Box<dyn Anything>;
    type SpawnFn = Rc<dyn Fn(Self::Future) -> Option<Self::Kept>>;
    type Report = Arc<dyn SpawnReport<Self::Kept>>;
    type Unstarted<T, E> = dyn Unstarted<T, E, Self>;
}
