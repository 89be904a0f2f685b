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

use crate::child::task::{Options, Task};
use crate::observe::Observer;

pub(crate) mod attach;
pub(crate) mod task;

mod sealed {
    pub trait Sealed {
        /// Whether the children run elsewhere than in their group's polls.
        const ELSEWHERE: bool = false;
    }

    /// Nobody else can name it, so nobody else can write a method that takes it.
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
    /// A future that stands beside the children.
    #[doc(hidden)]
    type Timer: Future<Output = ()> + Unpin;
    /// What makes one when its time has come.
    #[doc(hidden)]
    type GraceFn: FnOnce() -> Self::Timer;
    /// An observer.
    #[doc(hidden)]
    type ObserverBox;
    #[doc(hidden)]
    fn observer(watcher: &mut Self::ObserverBox) -> &mut dyn Observer;
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

// === impl Boxed ===

impl<'a, T, E> Sealed for Boxed<'a, T, E> {}
impl<'a, T, E> Kind for Boxed<'a, T, E> {
    type Timer = BoxFuture<'a, ()>;
    type GraceFn = Box<dyn FnOnce() -> BoxFuture<'a, ()> + Send + 'a>;
    type ObserverBox = Box<dyn Observer + Send + 'a>;

    fn observer(watcher: &mut Self::ObserverBox) -> &mut dyn Observer {
        &mut **watcher
    }
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

impl<'a, F, T, E> Child<Boxed<'a, T, E>> for Task<F>
where
    F: Future<Output = Result<T, E>> + Send + 'a,
{
    fn into_child(self, seal: Seal) -> Boxed<'a, T, E> {
        self.into_inner().into_child(seal)
    }

    #[inline(always)]
    fn options(&mut self, _: Seal) -> Option<&mut Options> {
        Some(self.options())
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
    type Timer = LocalBoxFuture<'a, ()>;
    type GraceFn = Box<dyn FnOnce() -> LocalBoxFuture<'a, ()> + 'a>;
    type ObserverBox = Box<dyn Observer + 'a>;

    fn observer(watcher: &mut Self::ObserverBox) -> &mut dyn Observer {
        &mut **watcher
    }
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

impl<'a, F, T, E> Child<LocalBoxed<'a, T, E>> for Task<F>
where
    F: Future<Output = Result<T, E>> + 'a,
{
    fn into_child(self, seal: Seal) -> LocalBoxed<'a, T, E> {
        self.into_inner().into_child(seal)
    }

    #[inline(always)]
    fn options(&mut self, _: Seal) -> Option<&mut Options> {
        Some(self.options())
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
    type Timer = BoxFuture<'static, ()>;
    type GraceFn = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;
    type ObserverBox = Box<dyn Observer + Send>;

    fn observer(watcher: &mut Self::ObserverBox) -> &mut dyn Observer {
        &mut **watcher
    }
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

impl<F, T, E> Child<Plain<F>> for Task<F>
where
    F: Future<Output = Result<T, E>>,
{
    fn into_child(self, seal: Seal) -> Plain<F> {
        self.into_inner().into_child(seal)
    }

    #[inline(always)]
    fn options(&mut self, _: Seal) -> Option<&mut Options> {
        Some(self.options())
    }
}

impl<F> fmt::Debug for Plain<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(..)")
    }
}
