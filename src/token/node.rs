//! The tree of tokens.
//!
//! A token is a reference to a [`Node`]. A child node holds its parent; a parent lists its
//! children, but does not hold them. So a node is freed when no token and no child of it is left.
//! A node that has children but no token is *tokenless*: it can no longer be cancelled by itself.
//! Such a node is *unlinked*: its children move to its parent, and it leaves the tree.
//!
//! # Invariants
//!
//! 1. Whenever the lock is free, `cancelled` is set if and only if `reason` is `Some`, and tells
//!    the same. Both are set once, by the call that marks the node, and are never reset.
//! 2. While neither of the two is cancelled or being freed, a node is in its parent's `children`,
//!    under its `key`, if and only if its `parent` is that parent.
//! 3. Each entry of `children` stands for a reference that the child holds. The reference is made
//!    before the entry, and given up after the entry is removed. (If the node is cancelled this
//!    need not hold, and references are not counted.) So a node with no more references than
//!    entries has no token. It never has one again, since tokens are made from tokens only. A
//!    count may include references that other code holds for a moment, such as a thread that is
//!    just dropping a token. Then a tokenless node passes for one that has a token, never the
//!    reverse.
//! 4. Nothing is added to the `children` or `wakers` of a cancelled node. None of its children
//!    that has children itself leaves the list until every descendant is marked and the list is
//!    cleared as a whole. So a cancelled node without children has no unmarked descendant, and a
//!    walk that meets a cancelled node with children continues through them.
//! 5. A tokenless node that was missed (by 3) is found by the next of its children that makes a
//!    child. So chains of tokenless nodes never grow.
//!
//! # Lock order
//!
//! A parent is locked before its child, and at most one node of each generation. Unlinking a node
//! locks its parent, the node, and one child at a time; nothing else holds two locks. Parents are
//! older than their children, and a node's later parents are older still. So the order is that of
//! age, and it is the same for all threads.
//!
//! Under a lock no waker is cloned, woken or dropped, and no reason is dropped. No reference to a
//! node is dropped unless another one is known to exist.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::task::Waker;
use core::{mem, ptr};

use crate::reason::Reason;
use crate::util::lock::Mutex;
use crate::util::panic::FirstPanic;
use crate::util::slab::Slab;
use crate::util::sync::{Arc, AtomicU8, AtomicUsize, Ordering, Weak};
use crate::util::task_waker::drop_quietly;
use crate::util::wake_all::wake_all;

#[derive(Default)]
pub(super) struct Node {
    /// 0, or the [mark](mark_of) of the reason. Stored with `Release` after the reason, and loaded
    /// with `Acquire`: a thread that sees the mark sees what the canceller did before.
    cancelled: AtomicU8,
    /// The length of `children`, stored under the lock. It is also read without the lock, as a
    /// hint; hence always `Relaxed`.
    child_count: AtomicUsize,
    /// Its key in the parent's `children`. It is guarded by the parent's lock, which
    /// synchronizes; hence always `Relaxed`.
    key: AtomicUsize,
    state: Mutex<NodeState>,
}

#[derive(Default)]
struct NodeState {
    reason: Option<Reason>,
    parent: Option<Arc<Node>>,
    children: Slab<Weak<Node>>,
    wakers: Slab<Waker>,
}

/// The mark of a reason with a value.
const VALUED: u8 = u8::MAX;

/// Returns what a cancelled node is marked with: 1 and up for the [plain](Reason::PLAIN) reasons.
fn mark_of(reason: &Reason) -> u8 {
    Reason::PLAIN.iter().position(|it| it == reason).map_or(VALUED, |at| at as u8 + 1)
}

// === The operations of a token ===

impl Node {
    /// Creates a node without a parent, cancelled from the start if there is a reason.
    fn cancelled(reason: Option<Reason>) -> Arc<Self> {
        let mut node = Arc::<Self>::default();
        if let Some(node) = Arc::get_mut(&mut node) {
            node.cancelled = AtomicU8::new(reason.as_ref().map_or(0, mark_of));
            node.state.get_mut().reason = reason;
        }
        node
    }

    pub(super) fn root() -> Arc<Self> {
        // Built in its allocation: `Arc::new` would build it on the stack and move it.
        Arc::default()
    }

    pub(super) fn child(this: &Arc<Self>) -> Arc<Self> {
        if this.is_cancelled() {
            return Self::cancelled(this.reason());
        }
        // Complete before the parent lists it, since a canceller may find it from then on.
        let mut node = Self::root();
        if let Some(node) = Arc::get_mut(&mut node) {
            node.state.get_mut().parent = Some(this.clone());
        }
        let mut state = this.state.lock();
        if let Some(reason) = &state.reason {
            let reason = reason.clone();
            drop(state);
            return Self::cancelled(Some(reason));
        }
        let key = state.children.insert(Arc::downgrade(&node));
        node.key.store(key, Ordering::Relaxed);
        this.child_count.store(state.children.len(), Ordering::Relaxed);
        let tokenless =
            state.parent.as_ref().filter(|parent| Self::seems_tokenless(parent, 0)).cloned();
        drop(state);
        if let Some(parent) = tokenless {
            this.unlink_ancestors(parent);
        }
        node
    }

    #[inline]
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire) != 0
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        // Only a reason with a value takes the lock.
        match self.cancelled.load(Ordering::Acquire) {
            0 => None,
            VALUED => self.state.lock().reason.clone(),
            mark => Reason::PLAIN.get(usize::from(mark) - 1).cloned(),
        }
    }

    pub(super) fn parent(&self) -> Option<Arc<Self>> {
        self.state.lock().parent.clone()
    }

    pub(super) fn cancel(this: &Arc<Self>, reason: Reason) -> bool {
        Walk::default().run(this, reason)
    }

    /// Returns `true` if it has children, as far as a look without the lock tells.
    pub(super) fn has_children(&self) -> bool {
        self.child_count.load(Ordering::Relaxed) > 0
    }

    /// Returns how many entries there are of children.
    #[cfg(loom)]
    pub(super) fn children(&self) -> usize {
        self.child_count.load(Ordering::Relaxed)
    }

    /// Registers `waker` to be woken when the token is cancelled.
    ///
    /// Returns `false` if the token is cancelled already. `key` is the waiter's key, which its
    /// first registration sets; a later one replaces the waker.
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
            // The lock is released before the waker is dropped.
            drop(state);
            return false;
        }
        match key.and_then(|key| state.wakers.get_mut(key)) {
            Some(registered) => {
                let replaced = mem::replace(registered, waker);
                drop(state);
                drop_quietly(replaced);
            }
            None => *key = Some(state.wakers.insert(waker)),
        }
        true
    }

    /// Removes a registered waker. Does nothing if the token was cancelled since.
    pub(super) fn deregister(&self, key: usize) {
        let mut state = self.state.lock();
        // A canceller has taken all wakers out: after it the list stays empty.
        let waker = state.wakers.remove(key);
        drop(state);
        drop_quietly(waker);
    }
}

// === Leaving the tree ===

impl Node {
    /// Returns `true` if all references are those of children, but for `own` of the caller.
    fn seems_tokenless(this: &Arc<Self>, own: usize) -> bool {
        Arc::strong_count(this) == this.child_count.load(Ordering::Relaxed) + own
    }

    /// Unlinks the node if the caller's token is the last. The token is about to be dropped, and
    /// still counts.
    #[inline]
    pub(super) fn release(this: &Arc<Self>) {
        // Most nodes have no children, and need only be freed.
        if this.child_count.load(Ordering::Relaxed) != 0 && Self::seems_tokenless(this, 1) {
            Self::unlink(this);
        }
    }

    /// Unlinks the tokenless ancestors of this node, from its `parent` upwards.
    #[cold]
    fn unlink_ancestors(&self, mut parent: Arc<Self>) {
        while Self::unlink(&parent) {
            let state = self.state.lock();
            let Some(next) = state.parent.as_ref().filter(|next| Self::seems_tokenless(next, 0))
            else {
                break;
            };
            let next = next.clone();
            drop(state);
            parent = next;
        }
    }

    /// Moves the children of a tokenless node to its parent, and takes it out of the tree.
    ///
    /// The caller holds one reference. Returns `false`, and does nothing, if the node has a token
    /// (or another thread holds a reference just now), or if it or its parent is cancelled.
    fn unlink(this: &Arc<Self>) -> bool {
        loop {
            let mut state = this.state.lock();
            if state.reason.is_some() || !Self::seems_tokenless(this, 1) {
                return false;
            }
            let Some(parent) = state.parent.clone() else {
                // A root: it can be reached neither from a parent nor by a token. It stays locked
                // until no child has it as its parent, for a child that looks for its entry.
                let children = mem::take(&mut state.children);
                this.child_count.store(0, Ordering::Relaxed);
                let mut moved = Vec::new();
                for entry in children.into_values() {
                    // A child that is being freed needs no change.
                    let Some(child) = entry.upgrade() else {
                        continue;
                    };
                    let link = child.state.lock().parent.take();
                    moved.push((child, link));
                }
                drop(state);
                // These may be the last references.
                drop(moved);
                return true;
            };
            drop(state);

            let mut above = parent.state.lock();
            if above.reason.is_some() {
                // A canceller has found this node, or is done with it.
                return false;
            }
            let key = this.key.load(Ordering::Relaxed);
            if !above.children.get(key).is_some_and(|node| ptr::eq(node.as_ptr(), &**this)) {
                // The parent was unlinked meanwhile: the node has another by now, or none.
                continue;
            }
            // Both locks are held until all children have their new parent. So a walk through
            // the tree, or a child that looks for its entry, sees the whole move or none of it.
            let mut state = this.state.lock();
            if state.reason.is_some() || !Self::seems_tokenless(this, 1) {
                return false;
            }
            let entry = above.children.remove(key);
            let link = state.parent.take();
            let children = mem::take(&mut state.children);
            this.child_count.store(0, Ordering::Relaxed);
            let mut moved = Vec::new();
            for entry in children.into_values() {
                // A child that is being freed has no children, so no walk needs to find it.
                let Some(child) = entry.upgrade() else {
                    continue;
                };
                let link = child.state.lock().parent.replace(parent.clone());
                child.key.store(above.children.insert(entry), Ordering::Relaxed);
                moved.push((child, link));
            }
            parent.child_count.store(above.children.len(), Ordering::Relaxed);
            drop(state);
            drop(above);
            // These may be the last references.
            drop((entry, link, moved));
            return true;
        }
    }
}

impl Drop for Node {
    /// Leaves the parent's list, and frees the ancestors that only this node held. There may be
    /// many, so this loops and does not recurse. If destructors of reasons panic, the first panic
    /// is thrown when all that is done.
    fn drop(&mut self) {
        let (mut panics, reason) = (FirstPanic::default(), self.state.get_mut().reason.take());
        let mut node: *const Self = self;
        let mut key = self.key.load(Ordering::Relaxed);
        let mut parent = self.state.get_mut().parent.take();
        while let Some(above) = parent {
            let mut state = above.state.lock();
            // The entry is gone already if the parent was unlinked or is cancelled.
            if state.children.get(key).is_some_and(|entry| ptr::eq(entry.as_ptr(), node)) {
                let entry = state.children.remove(key);
                above.child_count.store(state.children.len(), Ordering::Relaxed);
                drop(state);
                drop(entry);
            } else {
                drop(state);
            }

            node = Arc::as_ptr(&above);
            let Some(mut above) = Arc::into_inner(above) else {
                break;
            };
            key = above.key.load(Ordering::Relaxed);
            // Taken, so that its own drop has nothing to do.
            parent = above.state.get_mut().parent.take();
            panics.guard(|| drop(above));
        }
        if reason.is_some() {
            panics.guard(|| drop(reason));
        }
        panics.throw();
    }
}

// === Cancelling ===

/// One canceller's walk through the tree, which holds one lock at a time.
#[derive(Default)]
struct Walk {
    /// The descendants that are yet to be visited, in this order.
    found: VecDeque<Found>,
    /// Those that were visited and have children, then the others. They are released at the end:
    /// that may drop the last reference to a reason, and so run a user's destructor.
    branches: Vec<Arc<Node>>,
    leaves: Vec<Arc<Node>>,
    /// The reason of this walk, then those of the cancelled nodes with children that it has met.
    reasons: Vec<Reason>,
    /// The wakers of the nodes that this walk has marked.
    wakers: Vec<Slab<Waker>>,
}

struct Found {
    node: Arc<Node>,
    /// The index of its parent's reason in [`Walk::reasons`].
    reason: usize,
}

impl Walk {
    /// Cancels `top` and its descendants. Returns `true` if `top` was not cancelled before.
    ///
    /// If it was, another thread may still be walking. Then this walk does the same work beside
    /// that one, so that every descendant is marked when either of them returns.
    fn run(mut self, top: &Arc<Node>, reason: Reason) -> bool {
        self.reasons.push(reason);
        let won = self.visit(top, 0);
        while let Some(Found { node, reason }) = self.found.pop_front() {
            let before = self.found.len();
            self.visit(&node, reason);
            let is_branch = self.found.len() != before;
            let visited = if is_branch { &mut self.branches } else { &mut self.leaves };
            visited.push(node);
        }

        // All are marked, so no walk needs the lists any more.
        for node in self.branches.iter().chain([top]) {
            let mut state = node.state.lock();
            let children = mem::take(&mut state.children);
            node.child_count.store(0, Ordering::Relaxed);
            drop(state);
            drop(children);
        }
        wake_all(self.wakers.into_iter().flat_map(Slab::into_values));
        won
    }

    /// Marks one node, unless it is marked, and collects its wakers and its children. Returns
    /// `true` if this call marked it.
    fn visit(&mut self, node: &Arc<Node>, reason: usize) -> bool {
        let mut guard = node.state.lock();
        let state = &mut *guard;
        let won = state.reason.is_none();
        let mut wakers = Slab::new();
        if won {
            wakers = mem::take(&mut state.wakers);
        }
        // The children get this node's reason, which need not be this walk's.
        let own = state.reason.get_or_insert_with(|| self.reasons[reason].clone());
        // Pairs with the loads in `is_cancelled` and `reason`.
        node.cancelled.store(mark_of(own), Ordering::Release);
        if !state.children.is_empty() {
            let mut reason = reason;
            if !won {
                reason = self.reasons.len();
                self.reasons.push(own.clone());
            }
            let children = state.children.iter().filter_map(Weak::upgrade);
            let found = |node| Found { node, reason };
            self.found.extend(children.map(found));
        }
        drop(guard);
        if !wakers.is_empty() {
            self.wakers.push(wakers);
        }
        won
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn missed_tokenless_nodes_are_unlinked_when_their_child_makes_a_child() {
        let root = Node::root();
        let top = Node::child(&root);
        let middle = Node::child(&top);
        let low = Node::child(&middle);
        let tokenless = [Arc::downgrade(&top), Arc::downgrade(&middle)];
        // Without `release`: as if, each time, a token on another thread had still counted.
        drop((top, middle));
        assert!(tokenless.iter().all(|node| node.strong_count() == 1));

        let lowest = Node::child(&low);
        assert!(tokenless.iter().all(|node| node.strong_count() == 0));
        assert_eq!(root.child_count.load(Ordering::Relaxed), 1);
        assert!(Node::cancel(&root, Reason::Done));
        assert_eq!(lowest.reason(), Some(Reason::Done));
    }
}
