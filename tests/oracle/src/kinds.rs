//! The calls of groups, handles and streams of results, whatever their kind of children and their
//! policy.
//!
//! So all actors are compiled once, and a world can have groups of several kinds.

use std::rc::Rc;

use errgroup::future::Closed;
use errgroup::{
    CancelToken, Child, Children, Errors, Group, Handle, Hold, Joinable, Key, Policy, Results,
    Slot, Snapshot, Stats, Task, TryGoError,
};
use futures::future::LocalBoxFuture;
use futures::{FutureExt, Stream};

use crate::child::{ChildFuture, Offer, each};
use crate::feed::ChildStream;

/// Why a child was refused. The child is dropped.
pub(crate) type Refused = TryGoError<()>;

/// A call that answers `Ok` once the child is queued or begun, and `Err` if it was given back.
pub(crate) type Going<'a> = LocalBoxFuture<'a, Result<(), ()>>;

/// What a scope does with the group's handle.
pub(crate) type ScopeBody = Box<dyn FnOnce(Rc<dyn AnyHandle>) -> LocalBoxFuture<'static, ()>>;

pub(crate) type Reserving = LocalBoxFuture<'static, Result<Box<dyn AnySlot>, ()>>;

pub(crate) trait AnyHandle {
    fn queue(&self, offer: Offer);
    fn try_queue(&self, offer: Offer) -> Result<(), Refused>;
    fn try_go(&self, offer: Offer) -> Result<(), Refused>;
    fn go(&self, offer: Offer) -> Going<'static>;
    fn feed(&self, children: ChildStream) -> LocalBoxFuture<'static, usize>;
    fn reserve(&self) -> Reserving;
    fn hold(&self) -> Hold;
    fn close(&self);
    fn closed(&self) -> Closed;
    fn is_closed(&self) -> bool;
    fn is_stopped(&self) -> bool;
    fn token(&self) -> &CancelToken;
    fn set_limit(&self, limit: Option<usize>);
    fn set_key_limit(&self, key: &Key, limit: Option<usize>);
    fn stats(&self) -> Stats;
    fn snapshot(&self) -> Snapshot;
}

pub(crate) trait AnySlot {
    fn go(self: Box<Self>, offer: Offer) -> Result<(), ()>;
}

pub(crate) trait AnyGroup {
    fn handle(&self) -> Rc<dyn AnyHandle>;
    fn queue(&mut self, offer: Offer);
    fn try_go(&mut self, offer: Offer) -> Result<(), Refused>;
    fn go(&mut self, offer: Offer) -> Going<'_>;
    fn ready(&mut self) -> Going<'_>;
    fn feed(&mut self, children: ChildStream) -> LocalBoxFuture<'_, usize>;
    fn hold(&self) -> Hold;
    /// Awaits the group itself.
    fn join(&mut self) -> LocalBoxFuture<'_, Output>;
    fn scope(self: Box<Self>, body: ScopeBody) -> LocalBoxFuture<'static, Output>;
}

pub(crate) trait AnyResults: Stream<Item = Result<(), u32>> + Unpin {
    fn handle(&self) -> Rc<dyn AnyHandle>;
    fn queue(&mut self, offer: Offer);
    fn try_go(&mut self, offer: Offer) -> Result<(), Refused>;
}

/// What a group returns, by its policy.
#[derive(Debug)]
pub(crate) enum Output {
    FirstError(Result<(), u32>),
    AllErrors(Vec<u32>),
    FirstDone(Option<Result<(), u32>>),
}

impl From<Result<(), u32>> for Output {
    fn from(result: Result<(), u32>) -> Self {
        Self::FirstError(result)
    }
}

impl From<Result<(), Errors<u32>>> for Output {
    fn from(result: Result<(), Errors<u32>>) -> Self {
        Self::AllErrors(result.err().map_or_else(Vec::new, Errors::into_vec))
    }
}

impl From<Option<Result<(), u32>>> for Output {
    fn from(result: Option<Result<(), u32>>) -> Self {
        Self::FirstDone(result)
    }
}

fn drop_refused<A>(refused: TryGoError<A>) -> Refused {
    match refused {
        TryGoError::AtLimit(_) => TryGoError::AtLimit(()),
        TryGoError::Stopped(_) => TryGoError::Stopped(()),
        TryGoError::Closed(_) => TryGoError::Closed(()),
        _ => unreachable!("an answer that the world does not know"),
    }
}

impl<C> AnyHandle for Handle<C>
where
    C: Children<Ok = (), Err = u32> + 'static,
    ChildFuture: Child<C>,
    Task<ChildFuture>: Child<C>,
    Task<Joinable<ChildFuture>>: Child<C>,
{
    fn queue(&self, offer: Offer) {
        each!(offer, child => self.queue(child));
    }

    fn try_queue(&self, offer: Offer) -> Result<(), Refused> {
        each!(offer, child => self.try_queue(child).map_err(drop_refused))
    }

    fn try_go(&self, offer: Offer) -> Result<(), Refused> {
        each!(offer, child => self.try_go(child).map_err(drop_refused))
    }

    fn go(&self, offer: Offer) -> Going<'static> {
        each!(offer, child => self.go(child).map(|went| went.map_err(drop)).boxed_local())
    }

    fn feed(&self, children: ChildStream) -> LocalBoxFuture<'static, usize> {
        self.feed(children).boxed_local()
    }

    fn reserve(&self) -> Reserving {
        let boxed = |slot| Box::new(slot) as Box<dyn AnySlot>;
        self.reserve().map(move |slot| slot.map(boxed).map_err(drop)).boxed_local()
    }

    fn hold(&self) -> Hold {
        self.hold()
    }

    fn close(&self) {
        self.close();
    }

    fn closed(&self) -> Closed {
        self.closed()
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped()
    }

    fn token(&self) -> &CancelToken {
        self.token()
    }

    fn set_limit(&self, limit: Option<usize>) {
        self.set_limit(limit);
    }

    fn set_key_limit(&self, key: &Key, limit: Option<usize>) {
        self.set_key_limit(key, limit);
    }

    fn stats(&self) -> Stats {
        self.stats()
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot()
    }
}

impl<C> AnySlot for Slot<C>
where
    C: Children<Ok = (), Err = u32> + 'static,
    ChildFuture: Child<C>,
    Task<ChildFuture>: Child<C>,
    Task<Joinable<ChildFuture>>: Child<C>,
{
    fn go(self: Box<Self>, offer: Offer) -> Result<(), ()> {
        each!(offer, child => (*self).go(child).map_err(drop))
    }
}

impl<C, P> AnyGroup for Group<C, P, P::Output>
where
    C: Children<Ok = (), Err = u32> + 'static,
    P: Policy<(), u32, Output: Into<Output>> + 'static,
    ChildFuture: Child<C>,
    Task<ChildFuture>: Child<C>,
    Task<Joinable<ChildFuture>>: Child<C>,
{
    fn handle(&self) -> Rc<dyn AnyHandle> {
        Rc::new(self.handle())
    }

    fn queue(&mut self, offer: Offer) {
        each!(offer, child => self.queue(child));
    }

    fn try_go(&mut self, offer: Offer) -> Result<(), Refused> {
        each!(offer, child => self.try_go(child).map_err(drop_refused))
    }

    fn go(&mut self, offer: Offer) -> Going<'_> {
        each!(offer, child => self.go(child).map(|went| went.map_err(drop)).boxed_local())
    }

    fn ready(&mut self) -> Going<'_> {
        self.ready().map(|ready| ready.map(drop).map_err(drop)).boxed_local()
    }

    fn feed(&mut self, children: ChildStream) -> LocalBoxFuture<'_, usize> {
        self.feed(children).boxed_local()
    }

    fn hold(&self) -> Hold {
        self.hold()
    }

    fn join(&mut self) -> LocalBoxFuture<'_, Output> {
        self.map(Into::into).boxed_local()
    }

    fn scope(self: Box<Self>, body: ScopeBody) -> LocalBoxFuture<'static, Output> {
        let scope = (*self).scope(|handle| body(Rc::new(handle)));
        scope.map(|(_, output)| output.into()).boxed_local()
    }
}

impl<C> AnyResults for Results<C, (), u32>
where
    C: Children<Ok = (), Err = u32> + 'static,
    Self: Stream<Item = Result<(), u32>> + Unpin,
    ChildFuture: Child<C>,
    Task<ChildFuture>: Child<C>,
    Task<Joinable<ChildFuture>>: Child<C>,
{
    fn handle(&self) -> Rc<dyn AnyHandle> {
        Rc::new(self.handle())
    }

    fn queue(&mut self, offer: Offer) {
        each!(offer, child => self.queue(child));
    }

    fn try_go(&mut self, offer: Offer) -> Result<(), Refused> {
        each!(offer, child => self.try_go(child).map_err(drop_refused))
    }
}
