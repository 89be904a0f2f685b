//! How a group holds its children: boxed, boxed without `Send`, or as they are.
//!
//! The shape of these impls is what lets a group stand in a spawned task whatever its
//! children borrow: `Kind`'s have no `where` clause, [`Children`] bounds methods only, and
//! the children's lifetime is bound in one place, [`Child`]; that of what stands beside them in
//! another, [`Attach`](crate::Attach).

use alloc::boxed::Box;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use pin_project_lite::pin_project;

use self::attach::{LocalScope, Scope, SendScope};
use self::set::ChildSet;
use self::task::{Options, Task};
use crate::set::BlockSet;

pub(crate) mod attach;
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

/// A way to hold children: [`Boxed`], [`LocalBoxed`], [`Plain`] or [`Spawned`](crate::Spawned).
///
/// Sealed: a group's constructors choose among them. Bounds of your own want [`Children`] for
/// the kind, and [`Child`] for what it takes.
pub trait Kind: Sealed + Sized {
    /// What a group may own beside its children.
    #[doc(hidden)]
    type Scope: Scope;
    /// The container of the children.
    #[doc(hidden)]
    type Set: ChildSet<Self>;
}

/// A [`Kind`] whose children's results are known: what a group needs to poll them.
pub trait Children: Kind {
    /// What a child returns when all went well.
    type Ok;
    /// What a child fails with.
    type Err;

    #[doc(hidden)]
    fn poll_child(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Ok, Self::Err>>;
}

/// What a group of kind `C` takes as a child: a future of a `Result` that `C` can hold, or a
/// [`Task`] of one.
///
/// Sealed: it holds for all of these.
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
pub trait Child<C: Kind>: Sized {
    #[doc(hidden)]
    fn into_child(self, seal: Seal) -> C;

    /// What was asked for it, if it is a [`Task`].
    #[doc(hidden)]
    #[inline(always)]
    fn options(&mut self, _: Seal) -> Option<&mut Options> {
        None
    }
}

/// Children of any type, each in a box, that may borrow for `'a` and are `Send`:
/// [`Group::new`](crate::Group::new).
pub struct Boxed<'a, T, E>(BoxFuture<'a, Result<T, E>>);

/// Children of any type, each in a box, that may borrow for `'a` and need not be `Send`:
/// [`Group::local`](crate::Group::local).
pub struct LocalBoxed<'a, T, E>(LocalBoxFuture<'a, Result<T, E>>);

pin_project! {
    /// Children of one type, held as they are: [`Group::unboxed`](crate::Group::unboxed).
    pub struct Plain<F> {
        #[pin]
        future: F,
    }
}

// === impl Task ===

impl<C: Kind, F: Future + Child<C>> Child<C> for Task<F> {
    #[inline(always)]
    fn into_child(self, seal: Seal) -> C {
        self.into_inner().into_child(seal)
    }

    #[inline(always)]
    fn options(&mut self, _: Seal) -> Option<&mut Options> {
        Some(self.options())
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
