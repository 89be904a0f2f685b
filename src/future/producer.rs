//! A group beside what makes its children, as one future: what `map`, `for_each` and `hedge` share.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::child::Plain;
use crate::group::Group;
use crate::set::Budget;
use crate::stats::Stats;
use crate::util::panic::{FirstPanic, catch};

/// What makes the children of a group.
pub(super) trait Producer {
    /// Drops all that is left of it, even if one of these drops panics.
    fn end(self: Pin<&mut Self>, panics: &mut FirstPanic);

    /// Shows how far it has come.
    fn show(&self, stats: Stats, fields: &mut fmt::DebugStruct<'_, '_>);
}

/// Makes and polls the children. Returns `true` when all is done, or the group is to be dropped.
pub(super) type RunProducer<S, Fut, P, O> =
    fn(Pin<&mut S>, &mut Group<Plain<Fut>, P, O>, &mut Budget) -> bool;

pin_project! {
    /// A group, and what makes its children.
    pub(super) struct Produced<S: Producer, Fut, P, O> {
        group: Group<Plain<Fut>, P, O>,
        #[pin]
        producer: S,
        run: RunProducer<S, Fut, P, O>,
    }

    impl<S: Producer, Fut, P, O> PinnedDrop for Produced<S, Fut, P, O> {
        fn drop(this: Pin<&mut Self>) {
            // First the children; and one panic of all.
            let this = this.project();
            let mut panics = this.group.abort();
            this.producer.end(&mut panics);
            panics.throw();
        }
    }
}

impl<S: Producer, Fut, P, O> Produced<S, Fut, P, O> {
    #[inline]
    pub(super) fn new(
        group: Group<Plain<Fut>, P, O>,
        producer: S,
        run: RunProducer<S, Fut, P, O>,
    ) -> Self {
        Self { group, producer, run }
    }

    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        if self.is_terminated() {
            return Poll::Pending;
        }
        let mut this = self.project();
        this.group.poll_with(cx, |group, _, budget| {
            let over = catch(|| (this.run)(this.producer.as_mut(), group, budget));
            let over = over.unwrap_or_else(|payload| {
                // The producer's.
                group.base.panic.keep(payload);
                true
            });
            if over { group.finish_now(|panics| this.producer.end(panics)) } else { Poll::Pending }
        })
    }

    pub(super) fn is_terminated(&self) -> bool {
        self.group.is_resolved()
    }

    pub(super) fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct(name);
        self.producer.show(self.group.stats(), &mut fields);
        fields.field("done", &self.is_terminated()).finish_non_exhaustive()
    }
}

/// Implements the traits of a future that is made of a [`Produced`].
macro_rules! impl_future {
    ($name:ident<$($param:ident),*> -> $output:ty) => {
        impl<$($param),*> Future for $name<$($param),*> {
            type Output = $output;

            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                self.project().produced.poll(cx)
            }
        }

        impl<$($param),*> FusedFuture for $name<$($param),*> {
            fn is_terminated(&self) -> bool {
                self.produced.is_terminated()
            }
        }

        impl<$($param),*> fmt::Debug for $name<$($param),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.produced.fmt(stringify!($name), f)
            }
        }
    };
}
pub(super) use impl_future;
