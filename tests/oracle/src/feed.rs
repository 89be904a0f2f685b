//! The stream of children that a `feed` takes.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use errgroup::Task;
use futures::Stream;

use crate::actor::Actor;
use crate::child::{ChildFuture, with_options};
use crate::executor::{Latch, Wait};
use crate::record::Waiter;

/// Gives some children, and is pending now and then.
pub(crate) struct ChildStream {
    actor: Actor,
    left: usize,
    /// When it was made, or gave the last child.
    waits_since: usize,
    given: Rc<Cell<usize>>,
    wait: Option<Wait>,
    /// Where it says what it waits for.
    waits_for: Rc<RefCell<Option<Rc<Latch>>>>,
}

impl ChildStream {
    /// Returns a stream for that waiter, and the count of what it has given.
    pub(crate) fn new(actor: &Actor, waiter: &Waiter) -> (Self, Rc<Cell<usize>>) {
        let given = Rc::new(Cell::new(0));
        let stream = Self {
            actor: actor.clone(),
            left: 1 + actor.world.below(4),
            waits_since: actor.world.tick(),
            given: given.clone(),
            wait: None,
            waits_for: waiter.stream_waits.clone(),
        };
        (stream, given)
    }
}

impl Stream for ChildStream {
    type Item = Task<ChildFuture>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(wait) = &mut this.wait {
                if Pin::new(wait).poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.wait = None;
            }
            *this.waits_for.borrow_mut() = None;
            if this.left == 0 {
                return Poll::Ready(None);
            }
            if this.actor.world.chance(4) {
                let latch = this.actor.world.latch();
                this.wait = Some(latch.wait());
                *this.waits_for.borrow_mut() = Some(latch);
                continue;
            }
            this.left -= 1;
            this.given.set(this.given.get() + 1);
            let child = this.actor.new_child(false);
            // Its room may have been reserved at any time since the child before it.
            child.record.offered_at.set(this.waits_since);
            this.waits_since = this.actor.world.tick();
            child.record.has_vague_place.set(true);
            child.record.accept();
            this.actor.log(format_args!("is fed child {}", child.record.id));
            return Poll::Ready(Some(with_options(child)));
        }
    }
}
