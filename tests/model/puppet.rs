//! The children. Each does as it is told, and notes what it does.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use errgroup::future::Go;
use errgroup::{
    AllErrors, Boxed, ChildInfo, Collect, Failure, FirstDone, FirstErr, FirstOk, Group, Handle,
    Key, Named, Policy, Reason, Settle, Task, Verdict, WithReason, task,
};

use crate::promises::{Answer, Id, Outcome, Traits};
use crate::results::{Output, Rule};

/// What a child does when it is polled next.
#[derive(Clone, Debug)]
pub enum Order {
    Finish(Outcome),
    /// Wakes itself, and then perhaps finishes.
    Yield(Option<Outcome>),
    /// Adds a child to its own group, and waits in `go`. A child has one `go` at a time.
    Go(Traits),
    /// It was woken for nothing.
    Nothing,
}

/// What a child has done.
#[derive(Debug)]
pub enum Event {
    /// It is polled. The `bool` is `true` if the group had stopped then.
    Polled(Id, bool),
    Yielded(Id),
    /// It has polled its `go`.
    Went(Id, Answer),
    Asked(Id, Traits),
    /// It has dropped its `go`.
    GaveUp(Id),
    Panicked(Id),
    /// It returns `Ok`.
    Returned(Id),
    /// Its result has reached the policy. The `bool` is `true` for an `Ok`.
    Finished(Id, Info, bool),
    /// Its error is in the output of a named group.
    Failure(Id, Info),
    Dropped(Id),
    /// The grace has begun.
    Grace,
    /// The observer is told an event of the group.
    Observed(errgroup::Event),
    /// The policy is asked for the output, and told why the group has ended.
    Why(Reason),
}

/// What is told of a child beside its result and its name.
#[derive(Debug, PartialEq)]
pub struct Info {
    pub index: usize,
    pub key: Option<Key>,
}

type Returned = Result<Id, Id>;
type Waits = Go<Handle<Kids>, Kids, Task<Puppet>>;
pub type Kids = Boxed<'static, Id, Id>;
pub type Held = Group<Kids, NotingPolicy>;

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
    go: Option<Box<Waits>>,
}

impl Future for Puppet {
    type Output = Returned;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Returned> {
        let this = &mut *self;
        let stopped = this.maker.handle().is_stopped();
        this.maker.note(Event::Polled(this.id, stopped));
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
                    Outcome::Ok => {
                        this.maker.note(Event::Returned(this.id));
                        return Poll::Ready(Ok(this.id));
                    }
                    Outcome::Failed => return Poll::Ready(Err(this.id)),
                    Outcome::Panicked => {
                        this.maker.note(Event::Panicked(this.id));
                        // The panic hook prints nothing then.
                        resume_unwind(Box::new(this.id));
                    }
                }
            }
            Some(Order::Yield(then)) => {
                this.maker.note(Event::Yielded(this.id));
                this.wire.lock().unwrap().order = then.map(Order::Finish);
                cx.waker().wake_by_ref();
            }
            Some(Order::Go(traits)) if this.go.is_none() => {
                let child = dressed(this.maker.make(None), traits);
                this.maker.note(Event::Asked(this.id, traits));
                this.go = Some(Box::new(this.maker.handle().go(child)));
            }
            Some(Order::Go(_) | Order::Nothing) | None => {}
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
        // The `go` that it holds is dropped before the event is noted.
        self.go = None;
        self.maker.note(Event::Dropped(self.id));
    }
}

/// Returns a child with what is asked for it.
pub fn dressed(puppet: Puppet, traits: Traits) -> Task<Puppet> {
    let Traits { weight, priority, daemon, until_stop, key } = traits;
    let name = puppet.id.to_string();
    let child = task(puppet).name(name).weight(weight).priority(priority);
    let child = if daemon { child.daemon() } else { child };
    let child = if until_stop { child.until_stop() } else { child };
    if let Some(key) = key { child.key(key) } else { child }
}

pub fn answer<T, E>(poll: &Poll<Result<T, E>>) -> Answer {
    match poll {
        Poll::Ready(Ok(_)) => Answer::Ok,
        Poll::Ready(Err(_)) => Answer::Stopped,
        Poll::Pending => Answer::Wait,
    }
}

/// Makes children, collects what they note, and tells them what to do next.
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

    /// Gives a child an order, and wakes it by the waker with which it was last polled.
    pub fn order(&self, id: Id, order: Option<Order>) {
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

    /// Returns what has been noted since the last call.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap().events)
    }

    pub fn note(&self, event: Event) {
        self.0.lock().unwrap().events.push(event);
    }

    /// Sets the handle. `None` breaks the cycle through the children that hold it.
    pub fn set_handle(&self, handle: Option<Handle<Kids>>) {
        self.0.lock().unwrap().handle = handle;
    }

    fn handle(&self) -> Handle<Kids> {
        self.0.lock().unwrap().handle.clone().expect("the group was made")
    }
}

/// A policy of the crate that notes each result, [named](errgroup::Group::named) or not.
pub struct NotingPolicy(Maker, Errors);

enum Errors {
    Plain(Inner<Id>),
    Named(Named<Inner<Failure<Id>>>),
}

enum Inner<E> {
    FirstErr(FirstErr<E>),
    WithReason(WithReason<FirstErr<E>, fn(&E) -> Reason>),
    Collect(Collect<Id, E>),
    AllErrors(AllErrors<E>),
    Settle(Settle<Id, E>),
    FirstOk(FirstOk<Id, E>),
    FirstDone(FirstDone<Id, E>),
}

impl<E> Inner<E> {
    fn new(rule: Rule) -> Self {
        match rule {
            Rule::FirstErr => Self::FirstErr(FirstErr::new()),
            Rule::WithReason => {
                Self::WithReason(WithReason::new(FirstErr::new(), |_| Rule::REASON))
            }
            Rule::Tolerate(0) => Self::AllErrors(AllErrors::new().fail_fast()),
            Rule::Tolerate(most) => Self::AllErrors(AllErrors::new().tolerate(most)),
            Rule::Collect => Self::Collect(Collect::new()),
            Rule::AllErrors => Self::AllErrors(AllErrors::new()),
            Rule::Settle => Self::Settle(Settle::new()),
            Rule::FirstOk => Self::FirstOk(FirstOk::new()),
            Rule::FirstDone => Self::FirstDone(FirstDone::new()),
        }
    }
}

impl<E> Policy<Id, E> for Inner<E> {
    type Output = Output<E>;

    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<Id, E>) -> Verdict {
        match self {
            Self::FirstErr(policy) => policy.on_child(child, result),
            Self::WithReason(policy) => policy.on_child(child, result),
            Self::Collect(policy) => policy.on_child(child, result),
            Self::AllErrors(policy) => policy.on_child(child, result),
            Self::Settle(policy) => policy.on_child(child, result),
            Self::FirstOk(policy) => policy.on_child(child, result),
            Self::FirstDone(policy) => policy.on_child(child, result),
        }
    }

    fn finish(&mut self, why: &Reason) -> Output<E> {
        match self {
            Self::FirstErr(policy) => Output::FirstErr(Policy::<Id, E>::finish(policy, why)),
            Self::WithReason(policy) => Output::FirstErr(Policy::<Id, E>::finish(policy, why)),
            Self::Collect(policy) => Output::Collect(policy.finish(why)),
            Self::AllErrors(policy) => {
                let output = Policy::<Id, E>::finish(policy, why);
                Output::AllErrors(output.map_err(|errors| errors.into_vec()))
            }
            Self::Settle(policy) => Output::Settle(policy.finish(why)),
            Self::FirstOk(policy) => {
                Output::FirstOk(policy.finish(why).map_err(|errors| errors.into_vec()))
            }
            Self::FirstDone(policy) => Output::FirstDone(policy.finish(why)),
        }
    }
}

impl NotingPolicy {
    pub fn new(maker: &Maker, rule: Rule, named: bool) -> Self {
        let errors = if named {
            Errors::Named(Named(Inner::new(rule)))
        } else {
            Errors::Plain(Inner::new(rule))
        };
        Self(maker.clone(), errors)
    }
}

impl Policy<Id, Id> for NotingPolicy {
    type Output = Output;

    fn on_child(&mut self, child: &ChildInfo<'_>, result: Returned) -> Verdict {
        let (Ok(id) | Err(id)) = result;
        assert_eq!(child.name(), Some(&*id.to_string()), "the name");
        let info = Info { index: child.index(), key: child.key().cloned() };
        self.0.note(Event::Finished(id, info, result.is_ok()));
        match &mut self.1 {
            Errors::Plain(policy) => policy.on_child(child, result),
            Errors::Named(policy) => policy.on_child(child, result),
        }
    }

    fn finish(&mut self, why: &Reason) -> Output {
        self.0.note(Event::Why(why.clone()));
        match &mut self.1 {
            Errors::Plain(policy) => policy.finish(why),
            Errors::Named(policy) => policy.finish(why).map_err(|failure| {
                let (id, index) = (*failure.error(), failure.index());
                // **An error says whose it is.**
                assert_eq!(failure.name(), Some(&*id.to_string()), "the name");
                assert_eq!(failure.to_string(), format!("child {index} ({id}): {id}"));
                self.0.note(Event::Failure(id, Info { index, key: failure.key().cloned() }));
                id
            }),
        }
    }
}
