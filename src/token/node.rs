//! The tree of tokens.
//!
//! A token is a reference to a [`Node`]. Children hold their parent; a parent knows its
//! children, but does not hold them. So a node is freed when neither a token nor a child
//! of it is left, and one of which only children are left is taken out of the tree: nobody
//! can cancel it by itself any more, and its children go to its parent.
//!
//! # Invariants
//!
//! 1. `cancelled` is true if and only if `reason` is `Some`, whenever the lock is free.
//!    Both are set once, by the one who marks the node, and never taken back.
//! 2. While neither of the two is cancelled or being freed, a node is in its parent's
//!    `children`, under its `key`, if and only if its `parent` is that parent.
//! 3. Each entry of `children` stands for a reference that the child holds: made before the
//!    entry, given up after it. (Unless the node is cancelled; then nobody counts.) So a node
//!    with no more references than entries has no token, and never will again, as tokens
//!    are made from tokens only; and whoever counts one reference too many (a token just
//!    being dropped on another thread) takes an orphan for a token's node, never the reverse.
//! 4. Nothing is added to the `children` or `wakers` of a cancelled node, and none of its
//!    children that has children itself leaves the list, until every descendant
//!    is marked and the list is cleared as a whole. So a cancelled node without children has
//!    no unmarked descendant, and a walk that meets one with children goes on through them.
//! 5. An orphan that was missed (by 3) is found by the next of its children that makes a
//!    child, so chains of such never grow.
//!
//! # Lock order
//!
//! A parent before its child, at most one of each generation: parent, orphan and child
//! when an orphan leaves the tree; nothing else takes two. Parents are older than their
//! children, and what a node gets for a parent later is older still: the order is that of
//! age, and the same for all threads.
//!
//! Under a lock no waker is cloned, woken or dropped, no reason is dropped, and no node
//! is released but where someone is known to hold it besides.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::Waker;

use crate::reason::Reason;
use crate::util::lock::Mutex;
use crate::util::slab::Slab;

use super::wake::wake_all;

#[derive(Default)]
pub(super) struct Node {
    /// Stored with `Release` after the reason, loaded with `Acquire`: what its canceller
    /// did before is seen by those who see the flag.
    cancelled: AtomicBool,
    /// The length of `children`, stored under the lock. Read without it as a hint, hence
    /// always `Relaxed`.
    kids: AtomicUsize,
    /// Its key among the parent's children. Guarded by the parent's lock, which does
    /// the synchronizing; hence always `Relaxed`.
    key: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reason: Option<Reason>,
    parent: Option<Arc<Node>>,
    children: Slab<Weak<Node>>,
    wakers: Slab<Waker>,
}

// === What tokens do ===

impl Node {
    /// A node with nothing above it, that was cancelled before it was born.
    fn cancelled(reason: Option<Reason>) -> Arc<Self> {
        let mut node = Arc::<Self>::default();
        if let Some(node) = Arc::get_mut(&mut node) {
            *node.cancelled.get_mut() = reason.is_some();
            node.state.get_mut().reason = reason;
        }
        node
    }

    pub(super) fn root() -> Arc<Self> {
        // Made where it is to stay: `Arc::new` would make it on the stack and move it.
        Arc::default()
    }

    pub(super) fn child(self: &Arc<Self>) -> Arc<Self> {
        if self.is_cancelled() {
            return Self::cancelled(self.reason());
        }
        // Whole before it can be found: a canceller needs nothing more of it.
        let mut node = Self::root();
        if let Some(node) = Arc::get_mut(&mut node) {
            node.state.get_mut().parent = Some(self.clone());
        }
        let mut state = self.state.lock();
        if let Some(reason) = &state.reason {
            let reason = reason.clone();
            drop(state);
            return Self::cancelled(Some(reason));
        }
        let key = state.children.insert(Arc::downgrade(&node));
        node.key.store(key, Ordering::Relaxed);
        self.kids.store(state.children.len(), Ordering::Relaxed);
        let orphan = state.parent.as_ref().filter(|parent| parent.seems_orphan(0)).cloned();
        drop(state);
        if let Some(orphan) = orphan {
            self.tidy(orphan);
        }
        node
    }

    #[inline]
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        // A token not cancelled needs no lock to say so.
        if !self.is_cancelled() {
            return None;
        }
        self.state.lock().reason.clone()
    }

    pub(super) fn cancel(self: &Arc<Self>, reason: Reason) -> bool {
        Walk::default().run(self, reason)
    }

    /// How many tokens and children hold the node.
    pub(super) fn references(self: &Arc<Self>) -> usize {
        Arc::strong_count(self)
    }

    /// Sees to it that `waker` is woken when the token is cancelled; false if it is already.
    /// `key` is this waiter's place, from its first registration on.
    pub(super) fn register(&self, key: &mut Option<usize>, waker: &Waker) -> bool {
        if let Some(key) = *key {
            let state = self.state.lock();
            if state.reason.is_some() {
                return false;
            }
            if state.wakers.get(key).is_some_and(|known| known.will_wake(waker)) {
                return true;
            }
        }

        let waker = waker.clone();
        let mut state = self.state.lock();
        if state.reason.is_some() {
            // The lock goes first, then the waker.
            drop(state);
            return false;
        }
        match key.and_then(|key| state.wakers.get_mut(key)) {
            Some(place) => {
                let before = mem::replace(place, waker);
                drop(state);
                drop(before);
            }
            None => *key = Some(state.wakers.insert(waker)),
        }
        true
    }

    /// Undoes a registration. Nothing happens if the token was cancelled since.
    pub(super) fn deregister(&self, key: usize) {
        let mut state = self.state.lock();
        // A canceller has taken all wakers out: the list is empty.
        let waker = state.wakers.remove(key);
        drop(state);
        drop(waker);
    }
}

// === Leaving the tree ===

impl Node {
    /// Whether there are as many references as children, and `own` besides.
    fn seems_orphan(self: &Arc<Self>, own: usize) -> bool {
        Arc::strong_count(self) == self.kids.load(Ordering::Relaxed) + own
    }

    /// Called for each token that is dropped, while it still counts.
    #[inline]
    pub(super) fn release(self: &Arc<Self>) {
        // Childless, for most: then it has only to be freed.
        if self.kids.load(Ordering::Relaxed) != 0 && self.seems_orphan(1) {
            self.step_out();
        }
    }

    /// Takes the orphans above this node out, the nearest first.
    #[cold]
    fn tidy(&self, mut orphan: Arc<Self>) {
        while orphan.step_out() {
            let state = self.state.lock();
            let Some(next) = state.parent.as_ref().filter(|parent| parent.seems_orphan(0)) else {
                break;
            };
            let next = next.clone();
            drop(state);
            orphan = next;
        }
    }

    /// Hands the children of an orphan to its parent. The caller holds one reference.
    ///
    /// Returns false, and does nothing, if the node is no orphan (or there is one more to
    /// count it just now), or if it or its parent is cancelled.
    fn step_out(self: &Arc<Self>) -> bool {
        loop {
            let mut state = self.state.lock();
            if state.reason.is_some() || !self.seems_orphan(1) {
                return false;
            }
            let Some(parent) = state.parent.clone() else {
                // A root: nobody can come by it any more, from above or by a token.
                let children = mem::take(&mut state.children);
                self.kids.store(0, Ordering::Relaxed);
                drop(state);
                for child in children {
                    // One that is being freed needs nothing.
                    if let Some(child) = child.upgrade() {
                        let link = child.state.lock().parent.take();
                        drop(link);
                    }
                }
                return true;
            };
            drop(state);

            let mut above = parent.state.lock();
            if above.reason.is_some() {
                // A canceller has this node on its list, or is done with it.
                return false;
            }
            let key = self.key.load(Ordering::Relaxed);
            if !above.children.get(key).is_some_and(|node| ptr::eq(node.as_ptr(), &**self)) {
                // The parent left before, and this node has another by now, or none.
                continue;
            }
            // Held until all have their new parent: whoever walks through the tree, or
            // looks for its entry here, sees all of this or nothing.
            let mut state = self.state.lock();
            if state.reason.is_some() || !self.seems_orphan(1) {
                return false;
            }
            let entry = above.children.remove(key);
            let link = state.parent.take();
            let children = mem::take(&mut state.children);
            self.kids.store(0, Ordering::Relaxed);
            let mut moved = Vec::new();
            for entry in children {
                // One that is being freed has no children: nobody needs to find it.
                let Some(child) = entry.upgrade() else {
                    continue;
                };
                let link = child.state.lock().parent.replace(parent.clone());
                child.key.store(above.children.insert(entry), Ordering::Relaxed);
                moved.push((child, link));
            }
            parent.kids.store(above.children.len(), Ordering::Relaxed);
            drop(state);
            drop(above);
            // Possibly the last to hold them.
            drop((entry, link, moved));
            return true;
        }
    }
}

impl Drop for Node {
    /// Leaves the parent's list, and frees the ancestors that only this node held: in a
    /// loop, as there may be many.
    fn drop(&mut self) {
        let mut node: *const Self = self;
        let mut key = *self.key.get_mut();
        let mut parent = self.state.get_mut().parent.take();
        while let Some(above) = parent {
            let mut state = above.state.lock();
            // Gone already if the parent stepped out, or is cancelled.
            if state.children.get(key).is_some_and(|entry| ptr::eq(entry.as_ptr(), node)) {
                let entry = state.children.remove(key);
                above.kids.store(state.children.len(), Ordering::Relaxed);
                drop(state);
                drop(entry);
            } else {
                drop(state);
            }

            node = Arc::as_ptr(&above);
            let Some(mut above) = Arc::into_inner(above) else {
                return;
            };
            key = *above.key.get_mut();
            // So that its own drop, at the end of this turn, has nothing to do.
            parent = above.state.get_mut().parent.take();
        }
    }
}

// === Cancelling ===

/// The way of one canceller through the tree, one lock at a time.
#[derive(Default)]
struct Walk {
    /// Those found below, in the order in which they are visited. Released last: it may be a
    /// reason's last use, and run the destructor of a user's error.
    found: Vec<Found>,
    /// Why: one entry for this walk, and one for each other's that it has run into.
    reasons: Vec<Reason>,
    /// The wakers of the nodes that this walk has marked.
    wakers: Vec<Slab<Waker>>,
}

struct Found {
    node: Arc<Node>,
    /// The place of its parent's reason.
    reason: usize,
    /// It has children itself.
    is_branch: bool,
}

impl Walk {
    /// Cancels `top` and all below; true if `top` was not before.
    ///
    /// If it was, someone else may be at it still. Then this walk does the same
    /// work beside that one, so that after either's return every descendant is marked.
    fn run(mut self, top: &Arc<Node>, reason: Reason) -> bool {
        self.reasons.push(reason);
        let won = self.visit(top, 0);
        let mut next = 0;
        while let Some(Found { node, reason, .. }) = self.found.get(next) {
            let (node, reason, before) = (node.clone(), *reason, self.found.len());
            self.visit(&node, reason);
            self.found[next].is_branch = self.found.len() != before;
            next += 1;
        }

        // All are marked, so nobody needs the lists any more.
        let branches = self.found.iter().filter(|found| found.is_branch).map(|found| &found.node);
        for node in branches.chain([top]) {
            let mut state = node.state.lock();
            let children = mem::take(&mut state.children);
            node.kids.store(0, Ordering::Relaxed);
            drop(state);
            drop(children);
        }
        wake_all(self.wakers);
        won
    }

    /// Marks one node, unless it is; notes its wakers and children. Says whether this
    /// call marked it.
    fn visit(&mut self, node: &Arc<Node>, reason: usize) -> bool {
        let mut guard = node.state.lock();
        let state = &mut *guard;
        let won = state.reason.is_none();
        let mut wakers = Slab::new();
        if won {
            wakers = mem::take(&mut state.wakers);
        }
        // The nearest ancestor's reason counts below, which is not always this walk's.
        let own = state.reason.get_or_insert_with(|| self.reasons[reason].clone());
        // Pairs with the load in `is_cancelled`.
        node.cancelled.store(true, Ordering::Release);
        if !state.children.is_empty() {
            let mut reason = reason;
            if !won {
                reason = self.reasons.len();
                self.reasons.push(own.clone());
            }
            let children = state.children.iter().filter_map(Weak::upgrade);
            let found = |node| Found { node, reason, is_branch: false };
            self.found.extend(children.map(found));
        }
        drop(guard);
        if !wakers.is_empty() {
            self.wakers.push(wakers);
        }
        won
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orphans_that_were_missed_leave_when_their_child_makes_a_child() {
        let root = Node::root();
        let top = root.child();
        let middle = top.child();
        let low = middle.child();
        let orphans = [Arc::downgrade(&top), Arc::downgrade(&middle)];
        // No `release`: as if, each time, another thread's token had still counted.
        drop((top, middle));
        assert!(orphans.iter().all(|node| node.strong_count() == 1));

        let lowest = low.child();
        assert!(orphans.iter().all(|node| node.strong_count() == 0));
        assert_eq!(root.kids.load(Ordering::Relaxed), 1);
        assert!(root.cancel(Reason::Done));
        assert_eq!(lowest.reason(), Some(Reason::Done));
    }
}
