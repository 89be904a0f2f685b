//! What is checked when a child is first polled: the limits and the order.

use std::rc::Rc;

use crate::record::{ChildRecord, GroupRecord, Stage};
use crate::world::World;

impl World {
    /// Checks a child that is about to be polled for the first time.
    pub(crate) fn check_start(&self, child: &Rc<ChildRecord>) {
        let group = &child.group;
        self.log(format_args!("g{}: child {} starts", group.id, child.id));
        if group.has_ended.get() {
            self.fault(format_args!("child {} is polled after the group's end", child.id));
        }
        self.check_limit(child);
        self.check_key(child);
        if group.has_semaphore {
            self.check_permits();
        }
        if !group.is_spawned && !self.features.schedule && !child.has_vague_place.get() {
            self.check_order(child);
        }
    }

    fn check_limit(&self, child: &ChildRecord) {
        let group = &child.group;
        let others = group.with_room();
        // A lowered limit leaves those that run as they are.
        let limit = group.limit.highest_since(earliest(child, &others));
        let mut weights = weights(child, &others);
        weights.extend(vec![1; group.sure_slots()]);
        if !is_within(limit, &weights) {
            self.fault(format_args!("above the limit {limit:?}: {weights:?}"));
        }
    }

    fn check_key(&self, child: &ChildRecord) {
        let group = &child.group;
        let Some(key) = child.options.key else { return };
        let mut same = group.running();
        same.retain(|other| other.options.key == Some(key));
        let limit = group.key_limits[key].highest_since(earliest(child, &group.running()));
        let weights = weights(child, &same);
        if !is_within(limit, &weights) {
            self.fault(format_args!("above the limit {limit:?} of key {key}: {weights:?}"));
        }
        // One that came later may be polled first: by an executor, by a schedule, at a poll's end.
        let any_order = group.is_spawned || self.features.schedule || cfg!(errgroup_small_budget);
        if child.options.unique && same.iter().any(|other| other.options.unique || !any_order) {
            self.fault(format_args!("unique child {} is beside {}", child.id, same[0].id));
        }
    }

    fn check_permits(&self) {
        let groups = self.groups.borrow();
        // Spawned children that a stop cuts off give their permits back before they are dropped.
        let shared = groups
            .iter()
            .filter(|group| group.has_semaphore && !(group.is_spawned && group.may_have_stopped()));
        let running: usize = shared.map(|it| it.running().len() + it.sure_slots()).sum();
        if running + 1 + self.permits_held.get() > self.permits.get() {
            self.fault(format_args!("above the {} permits", self.permits.get()));
        }
    }

    /// Checks that the child overtakes no other that could run in its place.
    fn check_order(&self, child: &ChildRecord) {
        let group = &child.group;
        // At the end of a poll the children that were admitted last begin first, up to that of the
        // owner's `go`.
        if cfg!(errgroup_small_budget) && owner_goes(group) {
            return;
        }
        for other in &*group.children.borrow() {
            let (mine, theirs) = (&child.options, &other.options);
            let is_before = waits(group, other)
                && !other.aborted.get()
                && !other.has_vague_place.get()
                && other.offered_at.get() < child.offered_at.get()
                && theirs.priority >= mine.priority;
            // One of another key may lack room in that key.
            let is_of_other_key = theirs.key.is_some() && theirs.key != mine.key;
            // A lowered limit takes room in the key back after it was granted.
            let is_set_back = theirs.key.is_some_and(|key| group.key_limits[key].was_lowered());
            // The child of the owner's `go` begins before that returns.
            let begins_first = child.came_by_owner.get() && theirs.unique;
            // A `go` of the owner that is called at the end of a poll takes its place at the next.
            let is_late = cfg!(errgroup_small_budget) && other.came_by_owner.get();
            if is_before && !is_of_other_key && !is_set_back && !begins_first && !is_late {
                self.fault(format_args!("child {} overtakes child {}", child.id, other.id));
            }
        }
    }
}

/// Returns `true` if the owner awaits a `go`.
fn owner_goes(group: &GroupRecord) -> bool {
    let waiters = group.waiters.borrow();
    let mut children = waiters.iter().filter_map(|waiter| waiter.child.as_ref());
    children.any(|child| child.came_by_owner.get())
}

/// Returns `true` if the child is in the queue.
fn waits(group: &GroupRecord, child: &Rc<ChildRecord>) -> bool {
    let waiters = group.waiters.borrow();
    let mut offered = waiters.iter().filter_map(|waiter| waiter.child.as_ref());
    match child.stage.get() {
        Stage::Accepted => true,
        Stage::Offered => {
            offered.any(|offered| Rc::ptr_eq(offered, child))
                && !group.is_closed.get()
                && !group.may_have_stopped()
        }
        _ => false,
    }
}

/// Returns when the first of them was offered.
fn earliest(child: &ChildRecord, others: &[Rc<ChildRecord>]) -> usize {
    let others = others.iter().map(|other| other.offered_at.get());
    others.min().unwrap_or(usize::MAX).min(child.offered_at.get())
}

fn weights(child: &ChildRecord, others: &[Rc<ChildRecord>]) -> Vec<usize> {
    let others = others.iter().map(|other| other.options.weight);
    others.chain([child.options.weight]).collect()
}

/// Returns `true` if children of these weights may run together. One alone may be heavier.
fn is_within(limit: Option<usize>, weights: &[usize]) -> bool {
    let heavy = weights.iter().filter(|weight| **weight > 0).count();
    limit.is_none_or(|limit| weights.iter().sum::<usize>() <= limit || heavy <= 1)
}
