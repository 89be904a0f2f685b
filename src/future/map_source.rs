//! One future for each input, made when there is room: what `map` and `for_each` share.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::Poll;

use pin_project_lite::pin_project;

use super::ASKS;
use super::inputs::Inputs;
use super::producer::{Produced, Producer};
use crate::child::Plain;
use crate::group::Group;
use crate::group::drive::Driven;
use crate::policy::Policy;
use crate::set::Budget;
use crate::stats::Stats;
use crate::util::panic::FirstPanic;

/// A group whose children are made of inputs.
pub(super) type Mapped<N, F, Fut, P, O> = Produced<MapSource<N, F>, Fut, P, O>;

pin_project! {
    /// The inputs, and what makes futures of them. Both are gone once there are no more inputs.
    pub(super) struct MapSource<N, F> {
        #[pin]
        inputs: Option<N>,
        f: Option<F>,
    }
}

/// Returns a group that runs `f` for each of the inputs.
#[track_caller]
#[inline]
pub(super) fn mapped<N, F, Fut, P, O, T, E>(
    limit: usize,
    inputs: N,
    f: F,
    policy: P,
) -> Mapped<N, F, Fut, P, O>
where
    N: Inputs,
    F: FnMut(N::Input) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    P: Policy<T, E, Output = O>,
{
    assert!(limit > 0, "the limit must be at least 1; `usize::MAX` is as good as none");
    let source = MapSource { inputs: Some(inputs), f: Some(f) };
    Produced::new(Group::left_at_stop(limit, policy), source, run)
}

/// Makes the futures for which there is room, and polls them. Returns `true` when all is done, or
/// the group is to be dropped.
fn run<N, F, Fut, P, O, T, E>(
    mut source: Pin<&mut MapSource<N, F>>,
    group: &mut Group<Plain<Fut>, P, O>,
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
        let is_done = source.f.is_none() && !group.base.has_running();
        if is_done || group.base.panic.is_some() {
            return true;
        }
        match group.advance(budget) {
            Driven::Progress if group.is_stopped() => return true,
            Driven::Progress => {}
            Driven::Idle | Driven::Spent => {
                let is_woken = source.inputs.as_ref().is_some_and(N::is_woken);
                if lack == Lack::Asks || (lack == Lack::Input && is_woken) {
                    // The rest is asked for in the next poll.
                    group.base.admission.parent.notify();
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
    while let Some(vacancy) = group.base.vacancy() {
        if *asks == 0 {
            return Lack::Asks;
        }
        *asks -= 1;
        match inputs.as_mut().poll_next(vacancy.parent()) {
            Poll::Ready(Some(input)) => vacancy.insert(f(input)),
            Poll::Ready(None) => {
                source.end(&mut group.base.panic);
                return Lack::Input;
            }
            Poll::Pending => return Lack::Input,
        }
    }
    Lack::Room
}

impl<N, F> Producer for MapSource<N, F> {
    fn end(self: Pin<&mut Self>, panics: &mut FirstPanic) {
        let mut this = self.project();
        panics.guard(|| this.inputs.set(None));
        panics.guard(|| *this.f = None);
    }

    fn show(&self, stats: Stats, fields: &mut fmt::DebugStruct<'_, '_>) {
        fields.field("stats", &stats);
    }
}
