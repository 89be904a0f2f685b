//! The ways in which a child comes into a group, by a handle or by its owner.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use errgroup::TryGoError;

use super::{Actor, script};
use crate::child::{ChildFuture, Offer};
use crate::feed::ChildStream;
use crate::kinds::{AnyHandle, Going, Refused};
use crate::record::{Call, ChildOptions, ChildRecord, KEYS, Stage, Told, Waiter};
use crate::waiting::{Counted, Waiting, until};

impl Actor {
    /// Makes a child for the group, which has no options if it is `plain`.
    pub(crate) fn new_child(&self, plain: bool) -> ChildFuture {
        let Self { world, group, depth } = self;
        let record = Rc::new(ChildRecord {
            id: world.children.borrow().len() as u32,
            group: group.clone(),
            options: self.choose_options(plain),
            stage: Cell::new(Stage::Offered),
            offered_at: Cell::new(world.tick()),
            has_vague_place: Cell::default(),
            came_by_owner: Cell::default(),
            is_counted: Cell::default(),
            aborted: Cell::default(),
            is_dropped: Cell::default(),
            is_unread: Cell::default(),
            awaits_cancel: Cell::default(),
            told: Cell::new(Told::Nothing),
            woken: Arc::default(),
        });
        world.children.borrow_mut().push(record.clone());
        group.children.borrow_mut().push(record.clone());
        self.log(format_args!("  child {} has {:?}", record.id, record.options));
        let actor = Self { depth: depth + 1, ..self.clone() };
        ChildFuture::new(actor.clone(), record.clone(), Box::pin(script::run(actor, record)))
    }

    fn choose_options(&self, plain: bool) -> ChildOptions {
        let (world, features) = (&self.world, &self.world.features);
        let chance = |feature: bool, one_in| !plain && feature && world.chance(one_in);
        let key = chance(features.keys, 2).then(|| world.below(KEYS));
        ChildOptions {
            weight: if chance(features.weights, 2) { world.choose([2, 0, 3, 5]) } else { 1 },
            priority: if chance(features.priorities, 2) { world.choose([1, -1, 2]) } else { 0 },
            key,
            unique: key.is_some() && chance(features.unique, 2),
            daemon: chance(features.daemons, 4),
            until_stop: chance(features.until_stop, 3),
            joinable: chance(features.joinable, 2),
            named: features.names && (features.observer || chance(true, 2)),
        }
    }

    pub(super) fn queue(&self, queue: impl FnOnce(Offer)) {
        let child = self.new_child(false);
        child.record.accept();
        self.log(format_args!("queue child {}", child.record.id));
        queue(Offer::new(child, &self.world));
    }

    /// Offers a child that is not to wait for room, by a `try_go` or a `try_queue`.
    pub(super) fn try_go(
        &self,
        plain: bool,
        try_go: impl FnOnce(Offer) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let group = &self.group;
        let child = self.new_child(plain);
        let record = child.record.clone();
        if !group.gates.is_empty() {
            group.may_spare_guard.set(true);
        }
        let (had_stopped, has_room) = (group.has_stopped(), self.has_room_for_sure(&record));
        let answer = try_go(Offer::new(child, &self.world));
        self.log(format_args!("try child {}: {answer:?}", record.id));
        let is_right = match answer {
            Ok(()) => !had_stopped,
            Err(TryGoError::AtLimit(())) => {
                !has_room && !group.has_stopped() && !group.is_closed.get()
            }
            Err(TryGoError::Stopped(())) => group.may_have_stopped(),
            Err(_) => group.is_closed.get() || group.has_ended.get(),
        };
        if !is_right {
            self.fault(format_args!("a try of child {} answers {answer:?}", record.id));
        }
        if answer.is_ok() {
            record.accept();
        }
        answer
    }

    /// Returns `true` if nothing waits, there is nothing but room to wait for, and there is some.
    fn has_room_for_sure(&self, child: &ChildRecord) -> bool {
        let group = &self.group;
        let Some(handle) = group.handle() else { return false };
        let stats = handle.stats();
        let in_group = group.count_in(Stage::Accepted) + group.count_in(Stage::Running);
        let children = group.children.borrow();
        let has_room =
            |it: &&Rc<ChildRecord>| matches!(it.stage.get(), Stage::Accepted | Stage::Running);
        let taken: usize = children.iter().filter(has_room).map(|it| it.options.weight).sum();
        let limit = group.limit.current();
        !group.is_spawned
            // Those that end in a poll keep their room until that is over.
            && stats.running + stats.queued == in_group
            && stats.queued == 0
            && group.waiters.borrow().is_empty()
            && group.all_slots() == 0
            && group.gates.is_empty()
            && !group.has_semaphore
            && child.options.key.is_none()
            && !children.iter().any(|child| child.aborted.get())
            && limit.is_none_or(|limit| limit > 0 && taken + child.options.weight <= limit)
    }

    pub(super) fn go(&self, handle: &dyn AnyHandle) -> Waiting<'static, ()> {
        let child = self.new_child(false);
        let record = child.record.clone();
        self.log(format_args!("go child {}", record.id));
        self.check_go(&record, handle.go(Offer::new(child, &self.world)))
    }

    /// Watches a `go` of that child.
    pub(super) fn check_go<'a>(
        &self,
        child: &Rc<ChildRecord>,
        mut going: Going<'a>,
    ) -> Waiting<'a, ()> {
        let (actor, record) = (self.clone(), child.clone());
        let mut had_stopped = None;
        let checked = poll_fn(move |cx| {
            let group = &actor.group;
            let had_stopped = *had_stopped.get_or_insert_with(|| group.has_stopped());
            let Poll::Ready(answer) = going.as_mut().poll(cx) else {
                if cfg!(errgroup_small_budget) {
                    // It may have yielded, and takes its place at its next poll.
                    record.has_vague_place.set(true);
                }
                return Poll::Pending;
            };
            actor.log(format_args!("child {} went: {answer:?}", record.id));
            let is_right = match answer {
                Ok(()) => !had_stopped,
                Err(()) => group.may_have_stopped() || group.is_closed.get(),
            };
            if !is_right {
                actor.fault(format_args!("a go of child {} answers {answer:?}", record.id));
            }
            if answer.is_ok() {
                record.accept();
            }
            Poll::Ready(())
        });
        let waiter = Waiter::new(Call::Go, Some(child.clone()));
        Waiting::new(&self.world, &self.group, waiter, Box::pin(checked))
    }

    pub(super) async fn feed(&self, handle: &dyn AnyHandle) {
        self.log("feed");
        let waiter = Waiter::new(Call::Feed, None);
        let (children, given) = ChildStream::new(self, &waiter);
        let feed = Waiting::new(&self.world, &self.group, waiter, handle.feed(children));
        self.check_fed(feed.await, given.get());
    }

    /// Checks what a `feed` returns whose stream has given so many children.
    pub(super) fn check_fed(&self, fed: usize, given: usize) {
        self.log(format_args!("fed {fed}"));
        if fed > given || fed < given && !self.group.may_have_stopped() {
            self.fault(format_args!("a feed was given {given} and returns {fed}"));
        }
    }

    /// Reserves room, and fills it or not.
    pub(super) async fn reserve(&self, handle: &dyn AnyHandle) {
        let (world, group) = (&self.world, &self.group);
        self.log("reserve");
        let waiter = Waiter::new(Call::Reserve, None);
        let reserve = Waiting::new(world, group, waiter, handle.reserve());
        let waiter = reserve.waiter.clone();
        let answer = if world.chance(4) {
            let Some(answer) = until(reserve, world.latch()).await else { return };
            answer
        } else {
            reserve.await
        };
        let Ok(slot) = answer else {
            if !group.may_have_stopped() && !group.is_closed.get() {
                self.fault("a reserve is refused");
            }
            return;
        };
        self.log("reserved");
        let is_nested = waiter.inside.borrow().is_some();
        let counted = Counted::new(if is_nested { &group.nested_slots } else { &group.slots });
        if world.chance(2) {
            world.latch().wait().await;
        }
        if world.below(3) == 2 {
            self.log("a slot is dropped");
            drop(counted);
            drop(slot);
            return;
        }
        let child = self.new_child(false);
        let record = child.record.clone();
        record.offered_at.set(waiter.polled_at.get());
        record.has_vague_place.set(true);
        self.log(format_args!("a slot is filled with child {}", record.id));
        drop(counted);
        match slot.go(Offer::new(child, world)) {
            Ok(()) => record.accept(),
            Err(()) if group.may_have_stopped() => {}
            Err(()) => self.fault("a slot is refused"),
        }
    }
}
