//! Children that wait for room in their own group: who they are, and when all do.

use alloc::collections::BTreeMap;

use super::line::Place;

/// The waiters in the line that stand inside a running child of the group.
#[derive(Default)]
pub(super) struct Nested {
    /// Which child (by its index) each of these waiters stands in.
    waiters: BTreeMap<Place, usize>,
    /// How many of them each waiting child holds; never 0.
    children: BTreeMap<usize, usize>,
}

impl Nested {
    /// How many children wait.
    pub(super) fn children(&self) -> usize {
        self.children.len()
    }

    /// Notes that the waiter stands in that child, or in none any more.
    pub(super) fn set(&mut self, place: Place, child: Option<usize>) {
        if self.waiters.get(&place).copied() == child {
            return;
        }
        self.remove(place);
        if let Some(child) = child {
            self.waiters.insert(place, child);
            *self.children.entry(child).or_default() += 1;
        }
    }

    /// The waiter has left the line, or waits no more.
    pub(super) fn remove(&mut self, place: Place) {
        let Some(child) = self.waiters.remove(&place) else {
            return;
        };
        if let Some(count) = self.children.get_mut(&child) {
            *count -= 1;
            if *count == 0 {
                self.children.remove(&child);
            }
        }
    }

    /// The child runs no more; a waiter that it has left to somebody else stands in none.
    #[inline]
    pub(super) fn forget(&mut self, child: usize) {
        if !self.children.is_empty() && self.children.remove(&child).is_some() {
            self.waiters.retain(|_, of| *of != child);
        }
    }

    /// The waiter that came first.
    pub(super) fn oldest(&self) -> Option<Place> {
        self.waiters.first_key_value().map(|(&place, _)| place)
    }
}
