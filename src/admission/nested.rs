//! Waiters that are polled inside a running child of their own group: once every running child
//! contains one, waiting could never end.

use alloc::collections::BTreeMap;

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
}

impl Nested {
    /// Returns how many running children contain a waiter.
    #[inline]
    pub(crate) fn blocked_children(&self) -> usize {
        self.children.len()
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
