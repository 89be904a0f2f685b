//! What acts in a world: children, their destructors, the owners of groups, and other tasks.
//!
//! Each records what it does, and checks the answers.

mod group;
mod offer;
mod owner;
mod reader;
mod script;
mod tasks;

use std::fmt::Display;
use std::rc::Rc;

use futures::future::LocalBoxFuture;

pub(crate) use self::group::run_group;
pub(crate) use self::tasks::{act_on_groups, take_permits};
use crate::kinds::AnyHandle;
use crate::record::{GroupRecord, KEYS, Stage};
use crate::waiting::{Awaiting, Counted, poll_once, until};
use crate::world::{Awaited, World};

/// Something that acts on a group.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) world: Rc<World>,
    pub(crate) group: Rc<GroupRecord>,
    /// How many actors have led to this one, which bounds them.
    depth: usize,
}

/// As deep as this, actors only wait.
const MAX_DEPTH: usize = 4;

impl Actor {
    pub(crate) fn log(&self, what: impl Display) {
        self.world.log(format_args!("g{}: {what}", self.group.id));
    }

    pub(crate) fn fault(&self, what: impl Display) {
        self.world.fault(format_args!("g{}: {what}", self.group.id));
    }

    /// Returns an actor on the same group or on another one, with a handle of it.
    fn choose_group(&self) -> Option<(Self, Rc<dyn AnyHandle>)> {
        let Self { world, group, depth } = self;
        if !world.chance(4) {
            return Some((self.clone(), group.handle()?));
        }
        choose_group(world, *depth)
    }

    /// Does something by a handle of the group.
    fn act(self, handle: Rc<dyn AnyHandle>) -> LocalBoxFuture<'static, ()> {
        Box::pin(async move {
            let world = &*self.world;
            match world.below(21) {
                0 => self.queue(|offer| handle.queue(offer)),
                1 => drop(self.try_go(false, |offer| handle.try_go(offer))),
                2 | 3 => self.go(&*handle).await,
                4 => drop(until(self.go(&*handle), world.latch()).await),
                5 | 6 => self.reserve(&*handle).await,
                7 => self.feed(&*handle).await,
                8 => drop(until(self.feed(&*handle), world.latch()).await),
                9 => self.set_limit(&*handle),
                10 => self.set_key_limit(&*handle),
                11 if world.features.ends => {
                    self.log("is cancelled");
                    handle.token().cancel();
                }
                12 if world.features.ends => {
                    self.log("is closed");
                    self.group.is_closed.set(true);
                    handle.close();
                }
                13 if world.features.holds => {
                    self.log("is held");
                    let hold = handle.hold();
                    let counted = Counted::new(&self.group.holds);
                    world.latch().wait().await;
                    drop(counted);
                    drop(hold);
                }
                14 => drop(self.try_go(false, |offer| handle.try_queue(offer))),
                15 if world.features.parks => self.park_go(&*handle).await,
                16 => {
                    futures::join!(self.go(&*handle), self.go(&*handle));
                }
                17 => {
                    let mut going = self.go(&*handle);
                    if poll_once(&mut going).await.is_none() {
                        world.executor.spawn("a go that was polled elsewhere", Box::pin(going));
                    }
                }
                18 if world.polling.borrow().is_empty() => {
                    let _awaiting = Awaiting::new(world, Awaited::Closed(self.group.clone()));
                    until(handle.closed(), world.latch()).await;
                }
                19 if world.polling.borrow().is_empty() => join_child(world).await,
                20 if world.features.ends => {
                    let token = world.tokens.borrow().last().cloned();
                    if let Some(token) = token {
                        world.log("a parent token is cancelled");
                        token.cancel();
                    }
                }
                _ if world.features.drops => world.abort_child(),
                _ => {}
            }
        })
    }

    /// Does something that a destructor can do.
    pub(crate) fn act_in_destructor(&self) {
        let actor = Self { depth: MAX_DEPTH, ..self.clone() };
        let Some(handle) = self.group.handle() else { return };
        let world = &self.world;
        self.log("a destructor acts");
        match world.below(5) {
            0 => actor.queue(|offer| handle.queue(offer)),
            1 => world.open_latch(),
            2 => actor.set_limit(&*handle),
            3 => drop(actor.try_go(false, |offer| handle.try_go(offer))),
            _ if world.features.drops => world.abort_child(),
            _ => {}
        }
    }

    /// Polls a `go` once, and not for a while after that.
    async fn park_go(&self, handle: &dyn AnyHandle) {
        let mut going = self.go(handle);
        if poll_once(&mut going).await.is_some() {
            return;
        }
        going.waiter.is_parked.set(true);
        self.world.latch().wait().await;
        going.waiter.is_parked.set(false);
        if self.world.chance(2) {
            going.await;
        }
    }

    fn set_limit(&self, handle: &dyn AnyHandle) {
        if self.world.features.limits {
            let limit = self.world.choose([Some(1), Some(2), Some(0), Some(4), None]);
            self.log(format_args!("limit {limit:?}"));
            self.group.limit.set(self.world.tick(), limit);
            handle.set_limit(limit);
        }
    }

    fn set_key_limit(&self, handle: &dyn AnyHandle) {
        if self.world.features.limits && self.world.features.keys {
            let key = self.world.below(KEYS);
            let limit = self.world.choose([Some(1), Some(2), Some(0), Some(4), None]);
            self.log(format_args!("limit {limit:?} of key {key}"));
            self.group.key_limits[key].set(self.world.tick(), limit);
            handle.set_key_limit(&crate::child::key(key), limit);
        }
    }
}

/// Returns an actor on one of the groups that have a handle, or `None` if that one has none.
fn choose_group(world: &Rc<World>, depth: usize) -> Option<(Actor, Rc<dyn AnyHandle>)> {
    let groups = world.groups.borrow();
    if groups.is_empty() {
        return None;
    }
    let group = groups[world.below(groups.len())].clone();
    let handle = group.handle()?;
    Some((Actor { world: world.clone(), group, depth }, handle))
}

/// Awaits a joinable child for a while.
async fn join_child(world: &World) {
    let joined = world.join_handles.borrow_mut().pop();
    let Some((child, mut handle)) = joined else { return };
    let awaiting = Awaiting::new(world, Awaited::Child(child.clone()));
    let end = until(&mut handle, world.latch()).await;
    drop(awaiting);
    match end {
        None => world.join_handles.borrow_mut().push((child, handle)),
        Some(Ok(())) if !child.is_in(Stage::Ok) => {
            world.fault(format_args!("child {} is joined, and has not ended so", child.id));
        }
        Some(_) => {}
    }
}
