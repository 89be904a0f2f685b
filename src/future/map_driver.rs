//! One future for each input, made when there is room: what `map` and `for_each` share.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::ASKS;
use super::inputs::Inputs;
use crate::child::Plain;
use crate::group::Group;
use crate::group::drive::Driven;
use crate::policy::Policy;
use crate::set::Budget;
use crate::util::panic::{FirstPanic, catch};

pin_project! {
    /// A group, and what its children are made of.
    pub(super) struct MapDriver<N, F, Fut, P, O> {
        group: Group<Plain<Fut>, P, O>,
        // The inputs, and what makes futures of them.
        #[pin]
        source: MapSource<N, F>,
        step: fn(Pin<&mut MapDriver<N, F, Fut, P, O>>, &mut Context<'_>) -> Poll<O>,
    }

    impl<N, F, Fut, P, O> PinnedDrop for MapDriver<N, F, Fut, P, O> {
        fn drop(this: Pin<&mut Self>) {
            // First the children; and one panic of all.
            let this = this.project();
            let mut panics = this.group.abort();
            this.source.end(&mut panics);
            panics.throw();
        }
    }
}

pin_project! {
    /// Both are gone once there are no more inputs.
    struct MapSource<N, F> {
        #[pin]
        inputs: Option<N>,
        f: Option<F>,
    }
}

impl<N, F, Fut, P, O, T, E> MapDriver<N, F, Fut, P, O>
where
    N: Inputs,
    F: FnMut(N::Input) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    P: Policy<T, E, Output = O>,
{
    #[track_caller]
    #[inline]
    pub(super) fn new(limit: usize, inputs: N, f: F, policy: P) -> Self {
        assert!(limit > 0, "the limit must be at least 1; `usize::MAX` is as good as none");
        Self {
            group: Group::left_at_stop(limit, policy),
            source: MapSource { inputs: Some(inputs), f: Some(f) },
            step: Self::step,
        }
    }

    fn step(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        if self.is_terminated() {
            return Poll::Pending;
        }
        let mut this = self.project();
        this.group.poll_with(cx, |group, _, budget| {
            let over = catch(|| run(group, this.source.as_mut(), budget));
            let over = over.unwrap_or_else(|payload| {
                // The inputs', or the function's.
                group.panics().keep(payload);
                true
            });
            if over { group.finish_now(|panics| this.source.end(panics)) } else { Poll::Pending }
        })
    }
}

/// Makes the futures for which there is room, and polls them. Returns `true` when all is done, or
/// the group is to be dropped.
fn run<N, F, Fut, P, O, T, E>(
    group: &mut Group<Plain<Fut>, P, O>,
    mut source: Pin<&mut MapSource<N, F>>,
    budget: &mut Budget,
) -> bool
where
    N: Inputs,
    F: FnMut(N::Input) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut asks = ASKS;
    if let Some(inputs) = source.as_mut().project().inputs.as_pin_mut() {
        inputs.begin_poll();
    }
    loop {
        let lack = fill(group, source.as_mut(), &mut asks);
        let is_done = source.f.is_none() && !group.has_running();
        if is_done || group.panics().is_some() {
            return true;
        }
        match group.advance(budget) {
            Driven::Progress if group.is_stopped() => return true,
            Driven::Progress => {}
            Driven::Idle | Driven::Spent => {
                let is_woken = source.inputs.as_ref().is_some_and(N::is_woken);
                if lack == Lack::Asks || (lack == Lack::Input && is_woken) {
                    // The rest is asked for in the next poll.
                    group.parent().notify();
                }
                return false;
            }
        }
    }
}

/// What is missing to make one more future.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    Room,
    /// The inputs are pending, or have ended.
    Input,
    /// They have been asked as often as one poll may ask.
    Asks,
}

/// Makes futures while there is room. Returns what is missing for the next one.
#[inline]
fn fill<N, F, Fut, P, O, T, E>(
    group: &mut Group<Plain<Fut>, P, O>,
    mut source: Pin<&mut MapSource<N, F>>,
    asks: &mut usize,
) -> Lack
where
    N: Inputs,
    F: FnMut(N::Input) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let this = source.as_mut().project();
    let (Some(mut inputs), Some(f)) = (this.inputs.as_pin_mut(), this.f.as_mut()) else {
        return Lack::Input;
    };
    // The group has no handle, so there is a vacancy if there is room.
    while let Some(vacancy) = group.vacancy() {
        if *asks == 0 {
            return Lack::Asks;
        }
        *asks -= 1;
        match inputs.as_mut().poll_next(vacancy.parent()) {
            Poll::Ready(Some(input)) => vacancy.insert(f(input)),
            Poll::Ready(None) => {
                source.end(group.panics());
                return Lack::Input;
            }
            Poll::Pending => return Lack::Input,
        }
    }
    Lack::Room
}

impl<N, F, Fut, P, O> MapDriver<N, F, Fut, P, O> {
    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        (self.step)(self, cx)
    }

    pub(super) fn is_terminated(&self) -> bool {
        self.group.is_resolved()
    }

    pub(super) fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("stats", &self.group.stats())
            .field("done", &self.is_terminated())
            .finish_non_exhaustive()
    }
}

impl<N, F> MapSource<N, F> {
    /// Drops the inputs, then the function, even if the first drop panics.
    fn end(self: Pin<&mut Self>, panics: &mut FirstPanic) {
        let mut this = self.project();
        panics.guard(|| this.inputs.set(None));
        panics.guard(|| *this.f = None);
    }
}

/// Implements the traits of a future that is made of a `MapDriver`.
macro_rules! impl_map_future {
    ($name:ident<$($param:ident),*> -> $output:ty) => {
        impl<$($param),*> Future for $name<$($param),*> {
            type Output = $output;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                self.project().driver.poll(cx)
            }
        }

        impl<$($param),*> FusedFuture for $name<$($param),*> {
            fn is_terminated(&self) -> bool {
                self.driver.is_terminated()
            }
        }

        impl<$($param),*> fmt::Debug for $name<$($param),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.driver.fmt(stringify!($name), f)
            }
        }
    };
}
pub(super) use impl_map_future;
