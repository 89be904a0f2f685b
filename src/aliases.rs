//! Short names of the types that stand in fields and signatures.

use crate::child::Boxed;
use crate::group::Group;
use crate::handle::Handle;
use crate::policy::FirstErr;
use crate::spawned::Spawned;

/// A group of [`Group::new`](crate::Group::new), for a field or a signature; `P` is its policy.
///
/// # Examples
///
/// ```
/// use errgroup::{AllErrors, BoxedGroup};
///
/// struct Uploads<'a> {
///     group: BoxedGroup<'a, (), String, AllErrors<String>>,
/// }
///
/// let mut uploads = Uploads { group: BoxedGroup::new().with_limit(2).all_errors() };
/// uploads.group.queue(async { Ok(()) });
/// # assert!(futures::executor::block_on(uploads.group).is_ok());
/// ```
pub type BoxedGroup<'a, T, E, P = FirstErr<E>> = Group<Boxed<'a, T, E>, P>;

/// The handle of a [`BoxedGroup`].
///
/// # Examples
///
/// ```
/// use errgroup::{BoxedHandle, Group};
///
/// fn greet(group: &BoxedHandle<'static, (), String>) {
///     group.queue(async { println!("hello"); Ok(()) });
/// }
///
/// let group = Group::new();
/// greet(&group.handle());
/// # assert!(futures::executor::block_on(group).is_ok());
/// ```
pub type BoxedHandle<'a, T, E> = Handle<Boxed<'a, T, E>>;

/// A group of [`Group::on`](crate::Group::on), for a field or a signature; `P` is its policy.
///
/// # Examples
///
/// ```
/// use errgroup::{Group, SpawnedGroup};
///
/// struct Workers {
///     group: SpawnedGroup<(), String>,
/// }
///
/// let mut workers = Workers { group: Group::on(smol::spawn).with_limit(2) };
/// workers.group.queue(async { Ok(()) });
/// # assert!(smol::block_on(workers.group).is_ok());
/// ```
pub type SpawnedGroup<T, E, P = FirstErr<E>> = Group<Spawned<T, E>, P>;

/// The handle of a [`SpawnedGroup`].
///
/// # Examples
///
/// ```
/// use errgroup::{Group, SpawnedHandle};
///
/// fn greet(group: &SpawnedHandle<(), String>) {
///     group.queue(async { println!("hello"); Ok(()) });
/// }
///
/// let group = Group::on(smol::spawn);
/// greet(&group.handle());
/// # assert!(smol::block_on(group).is_ok());
/// ```
pub type SpawnedHandle<T, E> = Handle<Spawned<T, E>>;
