//! Waiters that are polled inside a running child of their own group: once every running child
//! contains one, waiting could never end.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::queue::WaiterKey;

/// The waiters in the queue that are inside running children.
///
/// A child that ends is forgotten at once, while a waiter that it leaves to other code stays in
/// `waiters` until it is [the oldest](Self::oldest).
#[derive(Default)]
pub(crate) struct Nested {
    /// The waiters, by their arrival.
    waiters: BTreeMap<u64, WaiterKey>,
    /// How many of them each running child contains, by its index; never 0.
    children: BTreeMap<u64, usize>,
    /// The waiters that have got their turn and are not woken yet, with the running children that
    /// they blocked.
    to_wake: Vec<(WaiterKey, usize)>,
}

impl Nested {
    /// Returns how many running children contain a waiter.
    #[inline]
    pub(crate) fn blocked_children(&self) -> usize {
        self.children.len()
    }

    /// Returns `true` if no running child is known here.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty() && self.to_wake.is_empty()
    }

    /// Records that a waiter is inside that child.
    pub(crate) fn insert(&mut self, arrival: u64, key: WaiterKey, child: usize) {
        self.waiters.insert(arrival, key);
        *self.children.entry(child as u64).or_default() += 1;
    }

    /// Records that a waiter is inside that child no longer.
    pub(crate) fn remove(&mut self, arrival: u64, child: usize) {
        self.waiters.remove(&arrival);
        if let Some(count) = self.children.get_mut(&(child as u64)) {
            *count -= 1;
            if *count == 0 {
                self.children.remove(&(child as u64));
            }
        }
    }

    /// Records that a child runs no more.
    #[inline]
    pub(crate) fn forget_child(&mut self, child: usize) {
        if !self.children.is_empty() {
            self.children.remove(&(child as u64));
        }
        if !self.to_wake.is_empty() {
            self.to_wake.retain(|(_, of)| *of != child);
        }
    }

    /// Records that a waiter inside that child is to be woken, if the child still runs.
    pub(crate) fn add_wake(&mut self, key: WaiterKey, child: usize) {
        if self.children.contains_key(&(child as u64)) {
            self.to_wake.push((key, child));
        }
    }

    /// Records that a waiter is not to be woken after all. Returns the child that it blocked, if
    /// that still runs.
    pub(crate) fn remove_wake(&mut self, key: WaiterKey) -> Option<usize> {
        // Room is taken back from the newest first, so that it is the last most of the time.
        let at = self.to_wake.iter().rposition(|(waiter, _)| *waiter == key)?;
        Some(self.to_wake.swap_remove(at).1)
    }

    /// Records that all waiters that were to be woken are.
    #[inline]
    pub(crate) fn clear_wakes(&mut self) {
        if !self.to_wake.is_empty() {
            self.to_wake = Vec::new();
        }
    }

    /// Returns the oldest waiter; `child_of` names the child in which a waiter was last polled.
    pub(crate) fn oldest(
        &mut self,
        child_of: impl Fn(WaiterKey) -> Option<usize>,
    ) -> Option<WaiterKey> {
        loop {
            let (&arrival, &key) = self.waiters.first_key_value()?;
            if child_of(key).is_some_and(|child| self.children.contains_key(&(child as u64))) {
                return Some(key);
            }
            self.waiters.remove(&arrival);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
impl Nested {
    /// Returns how many waiters that child contains, or `None` if it contains none or is gone.
    pub(super) fn count(&self, child: usize) -> Option<usize> {
        self.children.get(&(child as u64)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_blocked_until_its_last_waiter_has_left() {
        let mut nested = Nested::default();
        nested.insert(1, 10, 5);
        nested.insert(2, 20, 5);
        nested.insert(3, 30, 6);
        assert_eq!((nested.blocked_children(), nested.count(5)), (2, Some(2)));
        nested.remove(1, 5);
        assert_eq!((nested.blocked_children(), nested.count(5)), (2, Some(1)));
        nested.remove(2, 5);
        assert_eq!((nested.blocked_children(), nested.count(5)), (1, None));
        nested.clear();
        assert_eq!(nested.blocked_children(), 0);
    }

    #[test]
    fn the_oldest_waiter_is_one_whose_child_still_runs() {
        let mut nested = Nested::default();
        let child_of = |key| Some([0, 1, 2][key]);
        nested.insert(7, 2, 2);
        nested.insert(3, 0, 0);
        nested.insert(5, 1, 1);
        assert_eq!(nested.oldest(child_of), Some(0));
        nested.forget_child(0);
        assert_eq!(nested.oldest(child_of), Some(1));
        nested.remove(5, 1);
        assert_eq!(nested.oldest(child_of), Some(2));
        nested.forget_child(2);
        assert_eq!(nested.oldest(child_of), None);
    }

    #[test]
    fn a_waiter_that_is_not_woken_after_all_blocks_its_child_if_that_still_runs() {
        let mut nested = Nested::default();
        for (key, child) in [(10, 5), (20, 6), (30, 6)] {
            nested.insert(key as u64, key, child);
            nested.add_wake(key, child);
        }
        nested.forget_child(5);
        assert_eq!((nested.remove_wake(10), nested.remove_wake(20)), (None, Some(6)));
        nested.add_wake(10, 5);
        assert_eq!(nested.remove_wake(10), None, "its child is gone");
        nested.clear_wakes();
        assert_eq!(nested.remove_wake(30), None, "it has been woken");
    }
}
