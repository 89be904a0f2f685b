//! One future for each input, made when there is room: what `map` and `for_each` share.

use core::fmt;
use core::future::Future;
use core::task::{Context, Poll};

use super::ASKS;
use crate::child::Plain;
use crate::group::Group;
use crate::group::poll::Driven;
use crate::set::Budget;
use crate::util::panic::{FirstPanic, catch};

/// A group, and what its children are made of.
pub(super) struct MapDriver<I, F, Fut, P, O> {
    group: Group<Plain<Fut>, P, O>,
    /// The inputs, and what makes futures of them. Gone once there are no more.
    source: Option<(I, F)>,
    step: fn(&mut Self, &mut Context<'_>) -> Poll<O>,
}

impl<I, F, Fut, P, O, T, E> MapDriver<I, F, Fut, P, O>
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    #[track_caller]
    pub(super) fn new(limit: usize, inputs: I, f: F, group: Group<Plain<Fut>, P, O>) -> Self {
        assert!(limit > 0, "the limit must be at least 1; `usize::MAX` is as good as none");
        let group = group.with_limit(limit).abort_on_stop();
        Self { group, source: Some((inputs, f)), step: Self::step }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<O> {
        if self.is_terminated() {
            return Poll::Pending;
        }
        let Self { group, source, .. } = self;
        group.poll_with(cx, |group, _, budget| {
            let over = catch(|| run(group, source, budget)).unwrap_or_else(|payload| {
                // The inputs', or the function's.
                group.panics().keep(payload);
                true
            });
            if over {
                group.finish_now(|panics| drop_source(source, panics))
            } else {
                Poll::Pending
            }
        })
    }
}

/// Makes the futures for which there is room, and polls them. Returns `true` when all is done, or
/// the group is to be dropped.
fn run<I, F, Fut, P, O, T, E>(
    group: &mut Group<Plain<Fut>, P, O>,
    source: &mut Option<(I, F)>,
    budget: &mut Budget,
) -> bool
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut asks = ASKS;
    loop {
        let more = fill(group, source, &mut asks);
        if group.panics().is_some() {
            return true;
        }
        match group.advance(budget) {
            Driven::Progress if group.is_stopped() => return true,
            Driven::Progress => {}
            Driven::Idle | Driven::Spent => {
                if more {
                    // The rest is asked for in the next poll.
                    group.parent().notify();
                }
                return source.is_none() && !group.has_running();
            }
        }
    }
}

/// Makes futures while there is room. Returns `true` if there is more room than may be asked for.
#[inline]
fn fill<I, F, Fut, P, O, T, E>(
    group: &mut Group<Plain<Fut>, P, O>,
    source: &mut Option<(I, F)>,
    asks: &mut usize,
) -> bool
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let Some((inputs, f)) = source else { return false };
    // The group has no handle, so there is a vacancy if there is room.
    while let Some(vacancy) = group.vacancy() {
        if *asks == 0 {
            return true;
        }
        *asks -= 1;
        let Some(input) = inputs.next() else {
            drop_source(source, group.panics());
            return false;
        };
        vacancy.insert(f(input));
    }
    false
}

impl<I, F, Fut, P, O> MapDriver<I, F, Fut, P, O> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<O> {
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

// The group does not move its children; the inputs and the function are not pinned.
impl<I, F, Fut, P, O> Unpin for MapDriver<I, F, Fut, P, O> {}

impl<I, F, Fut, P, O> Drop for MapDriver<I, F, Fut, P, O> {
    fn drop(&mut self) {
        // First the children; and one panic of all.
        let mut panics = self.group.abort();
        drop_source(&mut self.source, &mut panics);
        panics.throw();
    }
}

/// Drops the inputs, then the function, even if the first drop panics.
fn drop_source<I, F>(source: &mut Option<(I, F)>, panics: &mut FirstPanic) {
    if let Some((inputs, f)) = source.take() {
        panics.guard(|| drop(inputs));
        panics.guard(|| drop(f));
    }
}
