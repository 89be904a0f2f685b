//! On which threads the children of a group run: what differs between `Group::on` and
//! `Group::on_local`.

use alloc::rc::Rc;
use alloc::sync::Arc;
use core::ops::Deref;

use futures_util::future::{BoxFuture, LocalBoxFuture};

use super::spawner::{SpawnFn, Unstarted};
use super::task_cell::Keep;
use crate::child::attach::{AttachScope, LocalScope, SendScope};

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
