//! What a group takes that is no child and stands beside them: a deadline, a grace, an observer.
//!
//! As with children, the lifetime and `Send` are bound in one place, [`Attach`], and what a
//! group holds is a type of its [`Kind`], which needs no bound.

use alloc::boxed::Box;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use pin_project_lite::pin_project;

use crate::child::Seal;
use crate::child::{Boxed, Kind, LocalBoxed, Plain};
use crate::observe::Observer;
use crate::spawned::Spawned;

/// What a group of kind `C` can hold beside its children: the future of
/// [`with_deadline`](crate::Group::with_deadline), the closure and the future of
/// [`with_grace`](crate::Group::with_grace), the observer of
/// [`with_observer`](crate::Group::with_observer).
///
/// Sealed; it holds for every type that lives as long as the group's children may, and that is
/// as `Send` as they are:
///
/// | kind | takes what is |
/// | --- | --- |
/// | [`Boxed<'a, T, E>`](Boxed), of [`Group::new`](crate::Group::new) | `Send + 'a` |
/// | [`LocalBoxed<'a, T, E>`](LocalBoxed), of [`Group::local`](crate::Group::local) | `'a` |
/// | [`Plain<F>`](Plain), of [`Group::unboxed`](crate::Group::unboxed) | `Send + 'static` |
/// | [`Spawned<T, E>`](Spawned), of [`Group::on`](crate::Group::on) | `Send + 'static` |
///
/// # Examples
///
/// A function that takes what `with_deadline` takes:
///
/// ```
/// use errgroup::{Beside, Children, Group};
///
/// fn bounded<C: Children>(group: Group<C>, time: impl Future + Beside<C>) -> Group<C> {
///     group.with_limit(8).with_deadline(time)
/// }
/// # let _ = bounded(Group::<errgroup::Boxed<'_, (), ()>>::new(), async {});
/// ```
pub trait Attach<C: Kind>: Sized {
    #[doc(hidden)]
    fn into_timer(self, seal: Seal) -> C::Timer
    where
        Self: Future;

    #[doc(hidden)]
    fn into_grace<F>(self, seal: Seal) -> C::GraceFn
    where
        Self: FnOnce() -> F,
        F: Future + Attach<C>;

    #[doc(hidden)]
    fn into_observer(self, seal: Seal) -> C::ObserverBox
    where
        Self: Observer;
}

pin_project! {
    /// A future without its output.
    struct Ended<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Ended<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx).map(drop)
    }
}

impl<'a, X, T, E> Attach<Boxed<'a, T, E>> for X
where
    X: Send + 'a,
{
    fn into_timer(self, _: Seal) -> BoxFuture<'a, ()>
    where
        X: Future,
    {
        Box::pin(Ended { future: self })
    }

    fn into_grace<F>(self, seal: Seal) -> Box<dyn FnOnce() -> BoxFuture<'a, ()> + Send + 'a>
    where
        X: FnOnce() -> F,
        F: Future + Attach<Boxed<'a, T, E>>,
    {
        Box::new(move || self().into_timer(seal))
    }

    fn into_observer(self, _: Seal) -> Box<dyn Observer + Send + 'a>
    where
        X: Observer,
    {
        Box::new(self)
    }
}

impl<'a, X, T, E> Attach<LocalBoxed<'a, T, E>> for X
where
    X: 'a,
{
    fn into_timer(self, _: Seal) -> LocalBoxFuture<'a, ()>
    where
        X: Future,
    {
        Box::pin(Ended { future: self })
    }

    fn into_grace<F>(self, seal: Seal) -> Box<dyn FnOnce() -> LocalBoxFuture<'a, ()> + 'a>
    where
        X: FnOnce() -> F,
        F: Future + Attach<LocalBoxed<'a, T, E>>,
    {
        Box::new(move || self().into_timer(seal))
    }

    fn into_observer(self, _: Seal) -> Box<dyn Observer + 'a>
    where
        X: Observer,
    {
        Box::new(self)
    }
}

impl<X, K> Attach<Plain<K>> for X
where
    X: Send + 'static,
{
    fn into_timer(self, _: Seal) -> BoxFuture<'static, ()>
    where
        X: Future,
    {
        Box::pin(Ended { future: self })
    }

    fn into_grace<F>(self, seal: Seal) -> Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>
    where
        X: FnOnce() -> F,
        F: Future + Attach<Plain<K>>,
    {
        Box::new(move || self().into_timer(seal))
    }

    fn into_observer(self, _: Seal) -> Box<dyn Observer + Send>
    where
        X: Observer,
    {
        Box::new(self)
    }
}

impl<X, T, E> Attach<Spawned<T, E>> for X
where
    X: Send + 'static,
{
    fn into_timer(self, _: Seal) -> BoxFuture<'static, ()>
    where
        X: Future,
    {
        Box::pin(Ended { future: self })
    }

    fn into_grace<F>(self, seal: Seal) -> Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>
    where
        X: FnOnce() -> F,
        F: Future + Attach<Spawned<T, E>>,
    {
        Box::new(move || self().into_timer(seal))
    }

    fn into_observer(self, _: Seal) -> Box<dyn Observer + Send>
    where
        X: Observer,
    {
        Box::new(self)
    }
}
