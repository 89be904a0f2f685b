//! What is checked when no task is woken: a group that does not go on has a reason, its numbers
//! are right, and no task waits for what has come.

use std::rc::Rc;

use errgroup::Lost;
use futures::FutureExt;

use super::admission::Entry;
use crate::record::{ChildRecord, Driver, GateRecord, GroupRecord, Stage};
use crate::world::{Awaited, World};

impl World {
    pub(crate) fn check_standstill(&self) {
        let groups = self.groups.borrow().clone();
        for group in &groups {
            self.check_group(group);
        }
        self.check_join_handles();
        for awaited in &*self.awaited.borrow() {
            match &**awaited {
                Awaited::Closed(group) if group.has_ended.get() => {
                    self.fault(format_args!("g{}: a task waits for its end", group.id));
                }
                Awaited::Child(child) if child.is_over() => {
                    self.fault(format_args!("a task waits for child {}", child.id));
                }
                _ => {}
            }
        }
        let is_shared = groups.iter().any(|group| group.has_semaphore);
        if is_shared && self.permits_awaited.get() > 0 && self.permit_is_free() {
            self.fault("a task waits for a permit that is free");
        }
    }

    /// Returns `true` if no group keeps a permit that it can't use, and one is free.
    pub(super) fn permit_is_free(&self) -> bool {
        let groups = self.groups.borrow();
        let mut shared = groups.iter().filter(|group| group.has_semaphore);
        shared.all(|group| group.has_ended.get() || group.is_driven())
            && self.semaphore.try_acquire().is_some()
    }

    fn check_join_handles(&self) {
        let handles = std::mem::take(&mut *self.join_handles.borrow_mut());
        for (child, mut handle) in handles {
            let (stage, aborted) = (child.stage.get(), child.aborted.get());
            let Some(end) = (&mut handle).now_or_never() else {
                if child.is_over() {
                    self.fault(format_args!("child {}, {stage:?}, is not joined", child.id));
                }
                self.join_handles.borrow_mut().push((child, handle));
                continue;
            };
            let is_right = match end {
                Ok(()) => stage == Stage::Ok,
                Err(Lost::Failed) => stage == Stage::Failed,
                Err(Lost::Panicked) => stage == Stage::Panicked,
                Err(Lost::Aborted) => {
                    aborted && matches!(stage, Stage::Dropped | Stage::Offered | Stage::Accepted)
                }
                Err(Lost::Dropped) => stage == Stage::Dropped && !aborted,
                Err(_) => false,
            };
            if !is_right {
                self.fault(format_args!("child {}, {stage:?}, is joined: {end:?}", child.id));
            }
        }
    }

    fn check_group(&self, group: &GroupRecord) {
        let fault = |what: &str| self.fault(format_args!("g{}: {what}", group.id));
        let has_stopped = group.has_stopped();
        let is_parked = group.waiters.borrow().iter().any(|waiter| waiter.is_parked());
        // A lowered limit takes room back that was reserved before the close.
        let takes_none = has_stopped || group.is_closed.get() && !self.features.limits;
        if takes_none && group.waiters.borrow().iter().any(|waiter| !waiter.is_parked()) {
            fault("a call waits after the end");
        }
        self.check_numbers(group, is_parked);
        if let Some(handle) = group.handle() {
            let is_told = handle.is_closed() && handle.closed().now_or_never().is_some();
            if is_told != group.has_ended.get() {
                fault("its handle is wrong about its end");
            }
        }
        if group.has_ended.get() {
            self.check_ended(group);
            return;
        }
        if !group.is_driven() {
            return;
        }
        let running = group.running();
        if running.iter().any(|child| child.aborted.get()) {
            fault("a child was aborted and runs");
        }
        if has_stopped {
            self.check_stopped(group, &running);
            return;
        }
        if group.is_late() && !running.is_empty() && group.handle().is_some() {
            fault("goes on after the deadline");
        }
        if !is_parked && !group.may_have_stopped() {
            let entries = group.entries(self.features.schedule || cfg!(errgroup_small_budget));
            self.check_admission(group, &entries);
            self.check_open(group, &running, &entries);
            self.check_guards(group, &running, &entries);
        }
    }

    fn check_ended(&self, group: &GroupRecord) {
        if group.count(|child| !child.is_dropped.get()) > 0 {
            self.fault(format_args!("g{}: a child outlives it", group.id));
        }
        let is_left = |gate: &GateRecord| gate.guards.get() > 0 || gate.pending.borrow().is_some();
        if group.gates.iter().any(|gate| is_left(gate)) {
            self.fault(format_args!("g{}: a guard outlives it", group.id));
        }
    }

    fn check_stopped(&self, group: &GroupRecord, running: &[Rc<ChildRecord>]) {
        let fault = |what: &str| self.fault(format_args!("g{}: {what}", group.id));
        if group.children.borrow().iter().any(|child| child.is_in(Stage::Accepted)) {
            fault("a child is queued after the stop");
        }
        if running.is_empty() && group.driver.get() == Some(Driver::Group) {
            fault("has stopped, is empty, and does not end");
        }
        if running.iter().any(|child| child.awaits_cancel.get()) {
            fault("a child is not told of the stop");
        }
        let grace_is_over = group.grace.as_ref().is_some_and(|latch| latch.is_open());
        let cuts_all = group.drops_on_stop || grace_is_over;
        if running.iter().any(|child| cuts_all || child.options.until_stop) {
            fault("a child is not cut off");
        }
    }

    /// Checks that the group is held open by something.
    fn check_open(&self, group: &GroupRecord, running: &[Rc<ChildRecord>], entries: &[Entry]) {
        let is_held = group.holds.get() > 0 && !group.is_closed.get();
        let has_work = running.iter().any(|child| !child.options.daemon)
            || !group.unread.borrow().is_empty()
            || !entries.is_empty()
            || group.all_slots() > 0;
        // Without a handle the stop that only daemons are left for does not show.
        let is_known = running.is_empty() || group.handle().is_some();
        if group.driver.get() == Some(Driver::Group) && !is_held && !has_work && is_known {
            self.fault(format_args!("g{}: has nothing left, and does not end", group.id));
        }
    }

    /// Checks that each running child has a guard of each gate, and few others have one.
    fn check_guards(&self, group: &GroupRecord, running: &[Rc<ChildRecord>], entries: &[Entry]) {
        for (at, gate) in group.gates.iter().enumerate() {
            let guards = gate.guards.get();
            let least = running.len() + group.sure_slots();
            // The first in the queue may wait for the next gate, or for a permit.
            let is_delayed =
                at + 1 < group.gates.len() || group.has_semaphore && !entries.is_empty();
            let most = least
                + group.nested_slots.get()
                + group.unread.borrow().len()
                + usize::from(is_delayed)
                + usize::from(group.may_spare_guard.get());
            if guards < least || guards > most {
                self.fault(format_args!(
                    "g{}: gate {at} has {guards} guards, not {least} to {most}",
                    group.id
                ));
            }
        }
    }

    /// Checks the counts, the limit and the room that a handle tells.
    fn check_numbers(&self, group: &GroupRecord, is_parked: bool) {
        let Some(handle) = group.handle() else { return };
        let has_ended = group.has_ended.get();
        if !has_ended && !group.is_driven() {
            return;
        }
        let stats = handle.stats();
        let told = [stats.queued, stats.running, stats.ok, stats.failed, stats.dropped];
        // An aborted child leaves the queue at once, and lives until the next poll.
        let aborted = group.count(|child| child.aborted.get() && child.is_in(Stage::Accepted));
        let unread = group.unread.borrow();
        let unread_in = |stage| unread.iter().filter(|child| child.is_in(stage)).count();
        let known = [
            group.count_in(Stage::Accepted) - aborted,
            group.count_in(Stage::Running) + unread.len(),
            group.count_in(Stage::Ok) - unread_in(Stage::Ok),
            group.count_in(Stage::Failed) - unread_in(Stage::Failed),
            group.count_in(Stage::Dropped) + group.count_in(Stage::Panicked) + aborted,
        ];
        let sum = |numbers: &[usize]| numbers.iter().sum::<usize>();
        let is_right = told == known
            // A child of `on_local` that has ended counts as dropped if the group is dropped
            // before it has seen that.
            || group.is_spawned
                && has_ended
                && told[..2] == known[..2]
                && told[2] <= known[2]
                && told[3] <= known[3]
                && sum(&told) == sum(&known)
            // A call that is not polled keeps a child from being admitted, or from being dropped.
            || is_parked && aborted > 0
            || is_parked && told[2..] == known[2..] && sum(&told) == sum(&known);
        if !is_right {
            self.fault(format_args!(
                "g{}: queued, running, ok, failed and dropped are {told:?}, not {known:?}",
                group.id
            ));
        }
        if stats.limit != group.limit.current() {
            self.fault(format_args!("g{}: tells the limit {:?}", group.id, stats.limit));
        }
        if !has_ended && !is_parked {
            let running = group.running();
            let children = running.iter().chain(&*unread).map(|child| child.options.weight);
            let least = children.sum::<usize>() + group.sure_slots();
            let room = handle.snapshot().room;
            if room < least || room > least + group.nested_slots.get() {
                self.fault(format_args!("g{}: tells the room {room}, not {least}", group.id));
            }
        }
    }
}
