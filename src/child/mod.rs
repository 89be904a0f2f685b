//! How a group holds its children: boxed, boxed without `Send`, or as they are.
//!
//! The shape of these impls lets a spawned task contain a group, whatever the group's children
//! borrow. The impls of `Kind` have no `where` clause, and [`Children`] bounds methods only. The
//! children's lifetime is bound in one place, [`Child`]; that of the deadline, the grace, the gates
//! and the observer in another, [`Attach`](crate::Attach).

use alloc::boxed::Box;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use pin_project_lite::pin_project;

use self::attach::{AttachScope, LocalScope, SendScope};
use self::join::JoinLink;
use self::set::ChildSet;
use self::task::{Options, Task};
use crate::set::BlockSet;

pub(crate) mod ask;
pub(crate) mod attach;
pub(crate) mod join;
pub(crate) mod set;
pub(crate) mod task;

mod sealed {
    pub trait Sealed {}

    /// Keeps a method uncallable from outside: no other crate can name this type.
    #[derive(Debug)]
    pub struct Seal(());

    impl Seal {
        pub(crate) fn new() -> Self {
            Self(())
        }
    }
}
pub(crate) use sealed::{Seal, Sealed};

/// A way to hold children: [`Boxed`], [`LocalBoxed`], [`Plain`], [`Spawned`](crate::Spawned) or
/// [`SpawnedLocal`](crate::SpawnedLocal).
///
/// A group's constructor chooses one of them. A bound of your own is usually [`Children`], which is
/// this trait with the type of the children's results. The trait is sealed.
///
/// # Examples
///
/// A type that holds a handle to any group:
///
/// ```
/// use errgroup::{Handle, Kind};
///
/// struct Pool<C: Kind> {
///     handle: Handle<C>,
/// }
///
/// impl<C: Kind> Pool<C> {
///     fn shrink(&self) {
///         self.handle.set_limit(Some(1));
///     }
/// }
/// # let group = errgroup::Group::<errgroup::Boxed<'_, (), ()>>::new();
/// # Pool { handle: group.handle() }.shrink();
/// # assert_eq!(group.limit(), Some(1));
/// ```
pub trait Kind: Sealed + Sized {
    /// What a group may own beside its children.
    #[doc(hidden)]
    type Scope: AttachScope;
    /// The container of the children.
    #[doc(hidden)]
    type Set: ChildSet<Self>;
}

/// A [`Kind`] with `Ok` and `Err`, the types of its children's results: what a group needs to poll
/// them.
///
/// # Examples
///
/// A function that takes a handle to any group:
///
/// ```
/// use errgroup::{Children, Handle};
///
/// fn busy<C: Children>(handle: &Handle<C>) -> bool {
///     handle.stats().running > 0
/// }
/// # let mut group = errgroup::Group::new();
/// # group.queue(async { Ok::<(), ()>(()) });
/// # assert!(busy(&group.handle()));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` doesn't say how a group holds its children",
    label = "not a kind of children",
    note = "the type of `Group::new()` is `BoxedGroup<'a, T, E>`, short for `Group<Boxed<'a, T, E>>`; \
            that of `Group::on(..)` is `SpawnedGroup<T, E>`",
    note = "the others are `Group<LocalBoxed<'a, T, E>>`, `Group<Plain<F>>` and \
            `Group<SpawnedLocal<T, E>>`"
)]
pub trait Children: Kind {
    /// What a child returns if it succeeds.
    type Ok;
    /// What a child returns if it fails.
    type Err;

    #[doc(hidden)]
    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Ok, Self::Err>>;
}

/// What a group of kind `C` takes as a child: a future of a `Result` that `C` can hold, or a
/// [`Task`] of one.
///
/// It is implemented for all of these, and sealed.
///
/// # Examples
///
/// A function that takes what `go` takes:
///
/// ```
/// use errgroup::{Child, Children, Handle};
///
/// fn add<C: Children>(handle: &Handle<C>, child: impl Child<C>) -> bool {
///     handle.try_go(child).is_ok()
/// }
/// # let group = errgroup::Group::new();
/// # assert!(add(&group.handle(), async { Ok::<(), ()>(()) }));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a child of this group, which holds `{C}`",
    label = "the group takes no such child",
    note = "a child is a future of a `Result`, or a `task(..)` of one",
    note = "`Group::unboxed()` takes futures of one type only, that of its first child; \
            `Group::new()` takes futures of any type",
    note = "`Group::new()` and `Group::on` take futures that are `Send`; \
            `Group::local()` and `Group::on_local` take any",
    note = "for the group, the value of a `joinable()` child is `()`: the handle gets its value"
)]
pub trait Child<C: Kind>: Sized {
    #[doc(hidden)]
    fn into_child(self, seal: Seal) -> C;

    /// Returns its options, or `None` if it is not a [`Task`].
    #[doc(hidden)]
    #[inline(always)]
    fn options(&mut self, _: Seal) -> Option<&mut Options> {
        None
    }

    /// Returns the link to its handle, or `None` if it is not joinable.
    #[doc(hidden)]
    #[inline(always)]
    fn link(&self, _: Seal) -> Option<&JoinLink> {
        None
    }
}

/// What a child returns. It says nothing that the bounds beside it do not, but the compiler does.
#[diagnostic::on_unimplemented(
    message = "a child of a group returns a `Result`, and this one returns `{Self}`",
    label = "returns `{Self}`",
    note = "`errgroup::value(future)` makes a child of a future that has no error"
)]
pub trait ChildResult {}

impl<T, E> ChildResult for Result<T, E> {}

/// Children of any type that are `Send` and may borrow for `'a`, each in a box:
/// [`Group::new`](crate::Group::new).
///
/// # Examples
///
/// ```
/// use errgroup::{Boxed, Group};
///
/// fn checks<'a>(names: &'a [String]) -> Group<Boxed<'a, (), &'a str>> {
///     let mut group = Group::new();
///     for name in names {
///         group.queue(async move { if name.is_empty() { Err("no name") } else { Ok(()) } });
///     }
///     group
/// }
/// # assert_eq!(futures::executor::block_on(checks(&[String::new()])), Err("no name"));
/// ```
pub struct Boxed<'a, T, E>(BoxFuture<'a, Result<T, E>>);

/// Children of any type, `Send` or not, that may borrow for `'a`, each in a box:
/// [`Group::local`](crate::Group::local).
///
/// # Examples
///
/// ```
/// use std::cell::RefCell;
///
/// use errgroup::{Group, LocalBoxed};
///
/// fn lines<'a>(text: &'a RefCell<String>) -> Group<LocalBoxed<'a, (), String>> {
///     let mut group = Group::local();
///     group.queue(async { Ok(text.borrow_mut().push('\n')) });
///     group
/// }
/// # assert_eq!(futures::executor::block_on(lines(&RefCell::default())), Ok(()));
/// ```
pub struct LocalBoxed<'a, T, E>(LocalBoxFuture<'a, Result<T, E>>);

pin_project! {
    /// Children of one type `F`, held without a box: [`Group::unboxed`](crate::Group::unboxed).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::{Ready, ready};
    ///
    /// use errgroup::{Group, Plain};
    ///
    /// let mut group: Group<Plain<Ready<Result<(), String>>>> = Group::unboxed();
    /// group.queue(ready(Ok(())));
    /// # assert_eq!(futures::executor::block_on(group), Ok(()));
    /// ```
    pub struct Plain<F> {
        #[pin]
        future: F,
    }
}

// === impl Task ===

impl<C: Kind, F: Future + Child<C>> Child<C> for Task<F> {
    #[inline(always)]
    fn into_child(self, seal: Seal) -> C {
        self.future.into_child(seal)
    }

    #[inline(always)]
    fn options(&mut self, _: Seal) -> Option<&mut Options> {
        Some(self.options())
    }

    #[inline(always)]
    fn link(&self, _: Seal) -> Option<&JoinLink> {
        self.link()
    }
}

// === impl Boxed ===

impl<'a, T, E> Sealed for Boxed<'a, T, E> {}
impl<'a, T, E> Kind for Boxed<'a, T, E> {
    type Scope = SendScope<'a>;
    type Set = BlockSet<Self>;
}

impl<'a, T, E> Children for Boxed<'a, T, E> {
    type Ok = T;
    type Err = E;

    fn poll_child(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        self.0.as_mut().poll(cx)
    }
}

impl<'a, F, T, E> Child<Boxed<'a, T, E>> for F
where
    F: Future<Output = Result<T, E>> + Send + 'a,
    F::Output: ChildResult,
{
    fn into_child(self, _: Seal) -> Boxed<'a, T, E> {
        Boxed(Box::pin(self))
    }
}

impl<'a, T, E> fmt::Debug for Boxed<'a, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Boxed(..)")
    }
}

// === impl LocalBoxed ===

impl<'a, T, E> Sealed for LocalBoxed<'a, T, E> {}
impl<'a, T, E> Kind for LocalBoxed<'a, T, E> {
    type Scope = LocalScope<'a>;
    type Set = BlockSet<Self>;
}

impl<'a, T, E> Children for LocalBoxed<'a, T, E> {
    type Ok = T;
    type Err = E;

    fn poll_child(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        self.0.as_mut().poll(cx)
    }
}

impl<'a, F, T, E> Child<LocalBoxed<'a, T, E>> for F
where
    F: Future<Output = Result<T, E>> + 'a,
    F::Output: ChildResult,
{
    fn into_child(self, _: Seal) -> LocalBoxed<'a, T, E> {
        LocalBoxed(Box::pin(self))
    }
}

impl<'a, T, E> fmt::Debug for LocalBoxed<'a, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalBoxed(..)")
    }
}

// === impl Plain ===

impl<F> Sealed for Plain<F> {}
impl<F> Kind for Plain<F> {
    type Scope = SendScope<'static>;
    type Set = BlockSet<Self>;
}

impl<F, T, E> Children for Plain<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Ok = T;
    type Err = E;

    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        self.project().future.poll(cx)
    }
}

impl<F, T, E> Child<Plain<F>> for F
where
    F: Future<Output = Result<T, E>>,
    F::Output: ChildResult,
{
    fn into_child(self, _: Seal) -> Plain<F> {
        Plain { future: self }
    }
}

impl<F> fmt::Debug for Plain<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(..)")
    }
}
