//! Groups and handles as arguments.

use errgroup::future::Go;
use errgroup::{Boxed, BoxedGroup, Child, Children, Handle, Kind, Stopped};

/// Queues a child for each item, in whatever group of such children.
pub fn queue_all<'a, T, E, A>(
    group: &mut BoxedGroup<'a, T, E>,
    children: impl IntoIterator<Item = A>,
) where
    A: Child<Boxed<'a, T, E>>,
{
    for child in children {
        group.queue(child);
    }
}

/// Adds a child to a group of any kind. The future has a name.
pub fn add<C: Kind + Children, A: Child<C>>(handle: &Handle<C>, child: A) -> Go<Handle<C>, C, A> {
    handle.go(child)
}

/// Adds a child to a group of any kind, and returns `false` if the group has stopped.
pub async fn add_unless_stopped<C: Kind + Children>(
    handle: &Handle<C>,
    child: impl Child<C>,
) -> bool {
    !matches!(handle.go(child).await, Err(Stopped { .. }))
}
