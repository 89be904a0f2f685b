//! What a group owns beside its children: a deadline, a grace, an observer, gates.
//!
//! The lifetime and `Send` are bound in one place for each of the two scopes, [`Within`]. What a
//! group holds is a type of its [`AttachScope`], which needs no bound.

use alloc::boxed::Box;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt, LocalBoxFuture};
use pin_project_lite::pin_project;

use super::ask::Ask;
use super::{Kind, Seal};
use crate::observe::Observer;

/// What a group of kind `C` can own beside its children: the future of
/// [`with_deadline`](crate::Group::with_deadline), the closure and the future of
/// [`with_grace`](crate::Group::with_grace), the observer of
/// [`with_observer`](crate::Group::with_observer), the closure, the futures and the guards of
/// [`with_gate`](crate::Group::with_gate).
///
/// It is implemented for every type that meets the bounds of the group's children, and sealed:
///
/// | kind | can own what is |
/// | --- | --- |
/// | [`Boxed<'a, T, E>`](crate::Boxed), of [`Group::new`](crate::Group::new) | `Send + 'a` |
/// | [`LocalBoxed<'a, T, E>`](crate::LocalBoxed), of [`Group::local`](crate::Group::local) | `'a` |
/// | [`Plain<F>`](crate::Plain), of [`Group::unboxed`](crate::Group::unboxed) | `Send + 'static` |
/// | [`Spawned<T, E>`](crate::Spawned), of [`Group::on`](crate::Group::on) | `Send + 'static` |
/// | [`SpawnedLocal<T, E>`](crate::SpawnedLocal), of [`Group::on_local`](crate::Group::on_local) | `'static` |
///
/// # Examples
///
/// A function that takes what `with_deadline` takes:
///
/// ```
/// use errgroup::{Attach, CancelError, Children, Group};
///
/// fn bounded<C>(group: Group<C>, time: impl Future + Attach<C>) -> Group<C>
/// where
///     C: Children<Err: From<CancelError>>,
/// {
///     group.with_limit(8).with_deadline(time).err_on_cancel()
/// }
/// # let _ = bounded(Group::<errgroup::Boxed<'_, (), CancelError>>::new(), async {});
/// ```
pub trait Attach<C: Kind>: Within<C::Scope> {}

impl<C: Kind, X: Within<C::Scope>> Attach<C> for X {}

/// The bounds of what a group owns beside its children: a lifetime, and `Send` or not.
pub trait AttachScope {
    /// A future without an output.
    type Timer: Future<Output = ()> + Unpin;
    /// Makes the future of a grace.
    type GraceFn: FnOnce() -> Self::Timer;
    type Observer: AsObserver;
    /// What a gate gives a child to keep.
    type Guard;
    type GateFuture: Future<Output = Self::Guard> + Unpin;
    /// Makes the future of a gate for each child.
    type GateFn: FnMut(&Ask<'_>) -> Self::GateFuture;
}

/// A value of any type, kept to be dropped.
pub trait Anything {}

impl<T> Anything for T {}

/// A boxed observer.
#[allow(unreachable_pub)] // an interface names it, which Rust 1.85 does not see
pub trait AsObserver {
    fn as_observer(&mut self) -> &mut dyn Observer;
}

/// The scope of children that are `Send` and may borrow for `'a`.
#[derive(Debug)]
pub struct SendScope<'a>(PhantomData<&'a ()>);

/// The scope of children that may borrow for `'a` and need not be `Send`.
#[derive(Debug)]
pub struct LocalScope<'a>(PhantomData<&'a ()>);

/// A type that a group of scope `S` can own.
pub trait Within<S: AttachScope>: Sized {
    #[doc(hidden)]
    fn into_timer(self, seal: Seal) -> S::Timer
    where
        Self: Future;

    #[doc(hidden)]
    fn into_grace_fn<F>(self, seal: Seal) -> S::GraceFn
    where
        Self: FnOnce() -> F,
        F: Future + Within<S>;

    #[doc(hidden)]
    fn into_observer(self, seal: Seal) -> S::Observer
    where
        Self: Observer;

    #[doc(hidden)]
    fn into_guard(self, seal: Seal) -> S::Guard;

    #[doc(hidden)]
    fn into_gate_future(self, seal: Seal) -> S::GateFuture
    where
        Self: Future<Output: Within<S>>;

    #[doc(hidden)]
    fn into_gate_fn<F>(self, seal: Seal) -> S::GateFn
    where
        Self: FnMut(&Ask<'_>) -> F,
        F: Future<Output: Within<S>> + Within<S>;
}

pin_project! {
    /// A future without its output.
    struct WithoutOutput<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for WithoutOutput<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx).map(drop)
    }
}

// === impl SendScope, LocalScope ===

macro_rules! impl_scope {
    ($scope:ident, $future:ident, $($send:ident)?) => {
        impl<'a> AttachScope for $scope<'a> {
            type Timer = $future<'a, ()>;
            type GraceFn = Box<dyn FnOnce() -> $future<'a, ()> $(+ $send)? + 'a>;
            type Observer = Box<dyn Observer $(+ $send)? + 'a>;
            type Guard = Box<dyn Anything $(+ $send)? + 'a>;
            type GateFuture = $future<'a, Self::Guard>;
            type GateFn = Box<dyn FnMut(&Ask<'_>) -> Self::GateFuture $(+ $send)? + 'a>;
        }

        impl<'a> AsObserver for Box<dyn Observer $(+ $send)? + 'a> {
            fn as_observer(&mut self) -> &mut dyn Observer {
                &mut **self
            }
        }

        impl<'a, X: $($send +)? 'a> Within<$scope<'a>> for X {
            fn into_timer(self, _: Seal) -> $future<'a, ()>
            where
                X: Future,
            {
                Box::pin(WithoutOutput { future: self })
            }

            fn into_grace_fn<F>(self, seal: Seal) -> <$scope<'a> as AttachScope>::GraceFn
            where
                X: FnOnce() -> F,
                F: Future + Within<$scope<'a>>,
            {
                Box::new(move || self().into_timer(seal))
            }

            fn into_observer(self, _: Seal) -> <$scope<'a> as AttachScope>::Observer
            where
                X: Observer,
            {
                Box::new(self)
            }

            fn into_guard(self, _: Seal) -> <$scope<'a> as AttachScope>::Guard {
                Box::new(self)
            }

            fn into_gate_future(self, seal: Seal) -> <$scope<'a> as AttachScope>::GateFuture
            where
                X: Future<Output: Within<$scope<'a>>>,
            {
                Box::pin(self.map(move |guard| guard.into_guard(seal)))
            }

            fn into_gate_fn<F>(mut self, _: Seal) -> <$scope<'a> as AttachScope>::GateFn
            where
                X: FnMut(&Ask<'_>) -> F,
                F: Future<Output: Within<$scope<'a>>> + Within<$scope<'a>>,
            {
                Box::new(move |ask| self(ask).into_gate_future(Seal::new()))
            }
        }
    };
}

impl_scope!(SendScope, BoxFuture, Send);
impl_scope!(LocalScope, LocalBoxFuture,);
