//! What the owner of a group does with it, and what the group returns.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use errgroup::TryGoError;
use futures::FutureExt;

use super::Actor;
use crate::child::{ChildFuture, Offer, Panic};
use crate::executor::Latch;
use crate::feed::ChildStream;
use crate::kinds::{AnyGroup, AnyHandle, Output};
use crate::record::{Call, Driver, GroupRecord, Stage, Told, Waiter};
use crate::waiting::{Counted, Driving, Waiting, poll_once, until};

/// Records the end of a group, once that is gone.
pub(super) struct RecordsEnd<'a>(pub(super) &'a Actor);

impl Drop for RecordsEnd<'_> {
    fn drop(&mut self) {
        let group = &self.0.group;
        group.has_ended.set(true);
        let unread = std::mem::take(&mut *group.unread.borrow_mut());
        unread.iter().for_each(|child| child.is_unread.set(true));
        self.0.log("is gone");
    }
}

impl Actor {
    /// Uses a group until it has resolved or is dropped.
    pub(super) async fn own(&self, group: Box<dyn AnyGroup>) {
        let end = RecordsEnd(self);
        let driven = AssertUnwindSafe(self.drive(group)).catch_unwind().await;
        drop(end);
        match driven {
            Ok(Some(output)) => self.check_output(&output),
            Ok(None) => {}
            Err(payload) => self.check_panic(&*payload),
        }
        self.check_nothing_runs();
    }

    /// Checks that a panic is one of the world's.
    pub(super) fn check_panic(&self, payload: &(dyn std::any::Any + Send)) {
        if !payload.is::<Panic>() {
            self.fault(format_args!("panics: {}", crate::life::message(payload)));
        }
    }

    fn check_output(&self, output: &Output) {
        self.log(format_args!("resolves with {output:?}"));
        let group = &self.group;
        // The group sees the results of spawned children in an order of its own, and not all.
        let is_unsure = group.is_spawned
            && (group.errors.borrow().len() > 1 || matches!(output, Output::FirstDone(_)));
        if group.panicked.get() {
            // A spawned child may panic after the group's end has been decided.
            if !group.is_spawned {
                self.fault("a panic is lost");
            }
        } else if !is_unsure && !group.is_right(output) {
            self.fault(format_args!("returns {output:?} after {:?}", group.errors));
        }
        if self.world.features.observer {
            for child in group.children.borrow().iter().filter(|child| child.options.named) {
                if !matches!(child.told.get(), Told::Nothing | Told::Finished) {
                    self.fault(format_args!("the observer misses the end of child {}", child.id));
                }
            }
        }
    }

    /// Checks that all children are dropped that the group itself polls.
    fn check_nothing_runs(&self) {
        if self.group.is_spawned {
            return;
        }
        for child in &*self.group.children.borrow() {
            if child.is_counted.get() && !child.is_dropped.get() {
                self.fault(format_args!("child {} outlives the group", child.id));
            }
        }
    }

    /// Returns what the group returns, or `None` once it is dropped.
    async fn drive(&self, mut group: Box<dyn AnyGroup>) -> Option<Output> {
        let (world, record) = (&*self.world, &self.group);
        let features = &world.features;
        if !world.chance(4) {
            self.make_handle(&*group);
        }
        for _ in 0..7 {
            match world.below(16) {
                0 => break,
                1 | 2 => self.queue(|offer| group.queue(offer)),
                3 => drop(self.try_go(false, |offer| group.try_go(offer))),
                4 | 5 => self.go_as_owner(&mut *group, None).await,
                6 => self.go_as_owner(&mut *group, Some(world.latch())).await,
                7 | 8 => self.await_ready(&mut *group).await,
                9 => self.feed_as_owner(&mut *group).await,
                10 => self.make_handle(&*group),
                11 if features.parks => {
                    self.log("is not polled for a while");
                    world.latch().wait().await;
                }
                12 if features.parks => {
                    self.log("is polled once");
                    let mut driving = Driving::new(record, Driver::Group, group.join());
                    let output = poll_once(&mut driving).await;
                    if output.is_some() {
                        return output;
                    }
                }
                13 => {
                    self.log("is awaited for a while");
                    let driving = Driving::new(record, Driver::Group, group.join());
                    let output = until(driving, world.latch()).await;
                    if output.is_some() {
                        return output;
                    }
                }
                14 if features.drops && world.chance(2) => {
                    self.log("is dropped");
                    return None;
                }
                15 if features.holds => self.hold_in_task(&*group),
                _ => {}
            }
        }
        if features.scopes && record.handle().is_some() {
            self.log("becomes a scope");
            let actor = self.clone();
            let body = move |handle: Rc<dyn AnyHandle>| {
                Box::pin(async move {
                    for _ in 0..actor.world.below(4) {
                        actor.clone().act(handle.clone()).await;
                    }
                }) as _
            };
            let scope = group.scope(Box::new(body));
            return Some(Driving::new(record, Driver::Call, scope).await);
        }
        self.log("is awaited");
        Some(Driving::new(record, Driver::Group, group.join()).await)
    }

    fn make_handle(&self, group: &dyn AnyGroup) {
        self.log("makes a handle");
        *self.group.handle.borrow_mut() = Some(group.handle());
    }

    fn hold_in_task(&self, group: &dyn AnyGroup) {
        self.log("is held");
        let (actor, hold) = (self.clone(), group.hold());
        let hold = async move {
            let counted = Counted::new(&actor.group.holds);
            actor.world.latch().wait().await;
            drop(counted);
            drop(hold);
        };
        self.world.executor.spawn("hold", Box::pin(hold));
    }

    /// Awaits a `go` of the group itself, or gives it up when the latch opens.
    async fn go_as_owner(&self, group: &mut dyn AnyGroup, latch: Option<Rc<Latch>>) {
        let child: ChildFuture = self.new_child(false);
        let record = child.record.clone();
        record.came_by_owner.set(true);
        self.log(format_args!("own go of child {}", record.id));
        let going = self.check_go(&record, group.go(Offer::new(child, &self.world)));
        let going = Driving::new(&self.group, Driver::Call, going);
        match latch {
            Some(latch) => drop(until(going, latch).await),
            None => going.await,
        }
        let group: &GroupRecord = &self.group;
        let is_cut_off =
            group.may_have_stopped() && (group.drops_on_stop || record.options.until_stop);
        // Documented: the child begins after that of a `go` which has been granted room before.
        let is_exempt = group.is_spawned
            || !group.waiters.borrow().is_empty()
            || is_cut_off
            || record.aborted.get();
        if record.is_in(Stage::Accepted) && !is_exempt {
            self.fault(format_args!("child {} went, and has not begun", record.id));
        }
    }

    /// Awaits room, or gives it up, and takes it or not.
    async fn await_ready(&self, group: &mut dyn AnyGroup) {
        let (world, record) = (&self.world, &self.group);
        self.log("ready");
        let waiter = Waiter::new(Call::Ready, None);
        let ready = Waiting::new(world, record, waiter, group.ready());
        let ready = Driving::new(record, Driver::Call, ready);
        let answer =
            if world.chance(3) { until(ready, world.latch()).await } else { Some(ready.await) };
        match answer {
            None => {}
            Some(Err(())) if record.may_have_stopped() || record.is_closed.get() => {}
            Some(Err(())) => self.fault("is not ready, and goes on"),
            Some(Ok(())) => {
                self.log("is ready");
                if !record.gates.is_empty() {
                    record.may_spare_guard.set(true);
                }
                if world.chance(4) {
                    return;
                }
                let answer = self.try_go(true, |offer| group.try_go(offer));
                if matches!(answer, Err(TryGoError::AtLimit(()))) {
                    self.fault("is ready, and at its limit");
                }
            }
        }
    }

    async fn feed_as_owner(&self, group: &mut dyn AnyGroup) {
        let (world, record) = (&self.world, &self.group);
        self.log("own feed");
        let waiter = Waiter::new(Call::Feed, None);
        let (children, given) = ChildStream::new(self, &waiter);
        let feed = Waiting::new(world, record, waiter, group.feed(children));
        let feed = Driving::new(record, Driver::Call, feed);
        let fed = if world.chance(3) { until(feed, world.latch()).await } else { Some(feed.await) };
        if let Some(fed) = fed {
            self.check_fed(fed, given.get());
        }
    }
}
