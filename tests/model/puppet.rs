//! The children: each does as it is told, and writes down what it does.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use errgroup::future::Go;
use errgroup::{Boxed, Group, Handle, Policy, Reason, Verdict};

use crate::promises::{Answer, Id, Outcome};

/// What a child does when it is polled next.
#[derive(Clone, Debug)]
pub enum Order {
    Finish(Outcome),
    /// Wakes itself.
    Yield,
    /// Adds a child to its own group, and waits in `go`; it does one at a time.
    Go,
    /// Nothing: it was woken for nothing.
    Nothing,
}

/// What a child has done.
#[derive(Debug, PartialEq)]
pub enum Event {
    Polled(Id),
    Yielded(Id),
    /// It has polled a `go`: for the first time, or again.
    Went(Id, Answer),
    Asked(Id),
    /// It has given up what it waits for.
    GaveUp(Id),
    Panicked(Id),
    /// Its result has reached the policy, with its index.
    Finished(Id, usize, bool),
    Dropped(Id),
}

type Returned = Result<Id, Id>;
pub type Kids = Boxed<'static, Id, Id>;
pub type Held = Group<Kids, Hears>;

#[derive(Default)]
struct Wire {
    order: Option<Order>,
    waker: Option<Waker>,
}

/// A child that does as it is told.
pub struct Puppet {
    pub id: Id,
    wire: Arc<Mutex<Wire>>,
    maker: Maker,
    go: Option<Box<Go<Handle<Kids>, Kids, Puppet>>>,
}

impl Future for Puppet {
    type Output = Returned;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Returned> {
        let this = &mut *self;
        this.maker.note(Event::Polled(this.id));
        let order = {
            let mut wire = this.wire.lock().unwrap();
            wire.waker = Some(cx.waker().clone());
            wire.order.take()
        };
        match order {
            Some(Order::Finish(outcome)) => {
                if this.go.take().is_some() {
                    this.maker.note(Event::GaveUp(this.id));
                }
                match outcome {
                    Outcome::Ok => return Poll::Ready(Ok(this.id)),
                    Outcome::Failed => return Poll::Ready(Err(this.id)),
                    Outcome::Panicked => {
                        this.maker.note(Event::Panicked(this.id));
                        // Without the message of the hook.
                        resume_unwind(Box::new(this.id));
                    }
                }
            }
            Some(Order::Yield) => {
                this.maker.note(Event::Yielded(this.id));
                cx.waker().wake_by_ref();
            }
            Some(Order::Go) if this.go.is_none() => {
                let child = this.maker.make(None);
                this.maker.note(Event::Asked(this.id));
                this.go = Some(Box::new(this.maker.handle().go(child)));
            }
            Some(Order::Go | Order::Nothing) | None => {}
        }
        if let Some(go) = &mut this.go {
            let answer = answer(&Pin::new(go).poll(cx));
            if answer != Answer::Wait {
                // A child that was given back is dropped here.
                this.go = None;
            }
            this.maker.note(Event::Went(this.id, answer));
        }
        Poll::Pending
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        // First what it holds.
        self.go = None;
        self.maker.note(Event::Dropped(self.id));
    }
}

pub fn answer<T, E>(poll: &Poll<Result<T, E>>) -> Answer {
    match poll {
        Poll::Ready(Ok(_)) => Answer::Ok,
        Poll::Ready(Err(_)) => Answer::Stopped,
        Poll::Pending => Answer::Wait,
    }
}

/// Makes children, hears of what they do, and tells them what to do next.
#[derive(Clone, Default)]
pub struct Maker(Arc<Mutex<Made>>);

#[derive(Default)]
struct Made {
    wires: Vec<Arc<Mutex<Wire>>>,
    events: Vec<Event>,
    /// For children that add children.
    handle: Option<Handle<Kids>>,
}

impl Maker {
    pub fn make(&self, order: Option<Order>) -> Puppet {
        let wire = Arc::new(Mutex::new(Wire { order, waker: None }));
        let wires = &mut self.0.lock().unwrap().wires;
        wires.push(Arc::clone(&wire));
        Puppet { id: wires.len() - 1, wire, maker: self.clone(), go: None }
    }

    /// Gives a child an order and wakes it, by the waker with which it was last polled.
    pub fn pull(&self, id: Id, order: Option<Order>) {
        let wire = Arc::clone(&self.0.lock().unwrap().wires[id]);
        let waker = {
            let mut wire = wire.lock().unwrap();
            wire.order = order;
            wire.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What has been done since the last call.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap().events)
    }

    fn note(&self, event: Event) {
        self.0.lock().unwrap().events.push(event);
    }

    /// `None` breaks the cycle of children that hold it.
    pub fn set_handle(&self, handle: Option<Handle<Kids>>) {
        self.0.lock().unwrap().handle = handle;
    }

    fn handle(&self) -> Handle<Kids> {
        self.0.lock().unwrap().handle.clone().expect("the group was made")
    }
}

/// The first error, as by default; and notes what it hears.
pub struct Hears(Maker, Option<Id>);

impl Hears {
    pub fn new(maker: &Maker) -> Self {
        Self(maker.clone(), None)
    }
}

impl Policy<Id, Id> for Hears {
    type Output = Result<(), Id>;

    fn on_child(&mut self, index: usize, result: Returned) -> Verdict {
        let (Ok(id) | Err(id)) = result;
        self.0.note(Event::Finished(id, index, result.is_ok()));
        if result.is_ok() {
            return Verdict::Continue;
        }
        self.1.get_or_insert(id);
        Verdict::Stop(Reason::Failed)
    }

    fn finish(&mut self) -> Self::Output {
        self.1.take().map_or(Ok(()), Err)
    }
}
