//! One future for each input, made when there is room: what `map` and `for_each` share.

use core::fmt;
use core::future::Future;
use core::task::{Context, Poll};

use super::ASKS;
use crate::admission::{Desk, Room};
use crate::child::Plain;
use crate::group::Group;
use crate::group::poll::{Driven, POLLS};
use crate::util::panic::{FirstPanic, catch};

/// A group, and what its children are made of.
pub(super) struct Each<I, F, Fut, P, O> {
    group: Group<Plain<Fut>, P, O>,
    /// The inputs, and what makes futures of them. Gone once there are no more.
    source: Option<(I, F)>,
    step: fn(&mut Self, &mut Context<'_>) -> Poll<O>,
}

impl<I, F, Fut, P, O, T, E> Each<I, F, Fut, P, O>
where
    I: Iterator,
    F: FnMut(I::Item) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    #[track_caller]
    pub(super) fn new(limit: usize, inputs: I, f: F, group: Group<Plain<Fut>, P, O>) -> Self {
        assert!(limit > 0, "the limit must be at least 1; `usize::MAX` is as good as none");
        let mut group = group.with_limit(limit);
        group.leaves_at_stop = true;
        Self { group, source: Some((inputs, f)), step: Self::step }
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<O> {
        if self.is_terminated() {
            return Poll::Pending;
        }
        self.group.begin(cx);
        let over = match catch(|| self.run()) {
            Ok(over) => over,
            // The inputs', or the function's.
            Err(payload) => {
                self.group.panic.keep(payload);
                true
            }
        };
        if over {
            let Self { group, source, .. } = self;
            return group.finish_now(|panic| leave(source, panic));
        }
        self.group.end(cx, true);
        Poll::Pending
    }

    /// Makes the futures for which there is room, and drives them. Whether it is over.
    fn run(&mut self) -> bool {
        let (mut budget, mut asks) = (POLLS, ASKS);
        loop {
            let more = self.fill(&mut asks);
            if self.group.panic.is_some() {
                return true;
            }
            match self.group.advance(&mut budget) {
                Driven::Progress if self.group.is_stopped() => return true,
                Driven::Progress => {}
                Driven::Idle | Driven::Spent => {
                    if more {
                        // The rest is asked for in the next poll.
                        self.group.admission.parent.notify();
                    }
                    return self.source.is_none() && self.group.set.is_empty();
                }
            }
        }
    }

    /// Makes futures while there is room. Whether there still is, for want of asks.
    #[inline]
    fn fill(&mut self, asks: &mut usize) -> bool {
        let Some((inputs, f)) = &mut self.source else { return false };
        // It has no handle; so its admission is its own.
        let Desk::Own(mut own) = self.group.desk() else { return false };
        while let Room::Yes = own.room() {
            if *asks == 0 {
                return true;
            }
            *asks -= 1;
            let Some(input) = inputs.next() else {
                leave(&mut self.source, &mut self.group.panic);
                return false;
            };
            own.enter(f(input));
        }
        false
    }
}

impl<I, F, Fut, P, O> Each<I, F, Fut, P, O> {
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
impl<I, F, Fut, P, O> Unpin for Each<I, F, Fut, P, O> {}

impl<I, F, Fut, P, O> Drop for Each<I, F, Fut, P, O> {
    fn drop(&mut self) {
        // First the children; and one panic of all.
        let mut panics = self.group.shut();
        leave(&mut self.source, &mut panics);
        panics.throw();
    }
}

/// Drops the inputs and the function, each by itself: one that panics keeps no other from it.
fn leave<I, F>(source: &mut Option<(I, F)>, panics: &mut FirstPanic) {
    if let Some((inputs, f)) = source.take() {
        panics.guard(|| drop(inputs));
        panics.guard(|| drop(f));
    }
}
