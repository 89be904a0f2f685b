//! Tokens and their descendants, on one thread.

#[cfg(feature = "std")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};

use crate::common::poll_with;
#[cfg(feature = "std")]
use crate::common::{WakeCount, waker_fn};
use errgroup::{CancelToken, Reason};

/// Runs `f` on a stack that is too small for 100,000 nested calls.
fn on_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 10).spawn(f).unwrap().join().unwrap();
}

const DEEP: usize = 100_000;

fn chain(root: &CancelToken, depth: usize) -> Vec<CancelToken> {
    let mut all = vec![root.clone()];
    for _ in 0..depth {
        all.push(all[all.len() - 1].child());
    }
    all
}

/// Returns the same items in another order, which is the same each time.
fn shuffled<T>(mut all: Vec<T>) -> Vec<T> {
    let mut seed = 1_u64;
    for n in (1..all.len()).rev() {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        all.swap(n, (seed >> 33) as usize % (n + 1));
    }
    all
}

#[test]
fn a_cancel_goes_down_and_never_up() {
    let root = CancelToken::new();
    let (one, two) = (root.child(), root.child());
    let (deep, sibling) = (one.child().child(), two.child());
    assert!(one.cancel_with(Reason::Done));
    assert_eq!(deep.reason(), Some(Reason::Done));
    assert!(!root.is_cancelled() && !two.is_cancelled() && !sibling.is_cancelled());
    assert!(root.cancel());
    assert!(two.is_cancelled() && sibling.is_cancelled());
}

#[test]
fn a_descendant_has_the_reason_of_its_nearest_cancelled_ancestor() {
    let root = CancelToken::new();
    let all = chain(&root, 6);
    all[4].cancel_with(Reason::Deadline);
    all[2].cancel_with(Reason::Failed);
    root.cancel_with(Reason::Finished);
    let reasons: Vec<_> = all.iter().map(|token| token.reason().unwrap()).collect();
    use Reason::*;
    assert_eq!(reasons, [Finished, Finished, Failed, Failed, Deadline, Deadline, Deadline]);
}

#[test]
fn a_child_of_a_cancelled_token_is_born_cancelled_with_its_reason() {
    let root = CancelToken::new();
    let middle = root.child();
    middle.cancel_with(Reason::Deadline);
    root.cancel_with(Reason::Failed);
    let child = middle.child();
    assert!(child.is_cancelled());
    assert_eq!(child.reason(), Some(Reason::Deadline));
    assert_eq!(child.child().reason(), Some(Reason::Deadline));
    assert_eq!(root.child().reason(), Some(Reason::Failed));
    assert!(!child.cancel());
}

#[test]
fn a_grandchild_is_reached_even_if_the_tokens_between_are_dropped() {
    for clones in [0, 3] {
        let root = CancelToken::new();
        let middle = root.child();
        let others = vec![middle.clone(); clones];
        let low = middle.child();
        let grandchildren = [low.child(), low.child()];
        drop(middle);
        drop(low);
        drop(others);
        let late = grandchildren[0].child();
        root.cancel_with(Reason::Failed);
        for token in grandchildren.iter().chain([&late]) {
            assert_eq!(token.reason(), Some(Reason::Failed));
        }
    }
}

#[test]
fn a_token_stays_in_the_tree_as_long_as_a_clone_or_a_wait_is_left() {
    let root = CancelToken::new();
    let middle = root.child();
    let (clone, wait) = (middle.clone(), root.child());
    let below = [middle.child(), wait.child()];
    let mut wait = { wait }.cancelled();
    drop(middle);
    // Each new child and each drop could take the token out of the tree.
    let more: Vec<_> = below.iter().map(CancelToken::child).collect();
    drop(clone.child());
    drop(clone.clone());
    root.cancel_with(Reason::Done);
    assert_eq!(clone.reason(), Some(Reason::Done));
    assert_eq!(poll_with(&mut wait, Waker::noop()), Poll::Ready(Reason::Done));
    assert!(below.iter().chain(&more).all(CancelToken::is_cancelled));
}

#[test]
fn descendants_of_a_dropped_root_live_on_by_themselves() {
    let root = CancelToken::new();
    let (one, two) = (root.child(), root.child());
    let (low_one, low_two) = (one.child(), two.child());
    drop(root);
    one.cancel();
    assert!(low_one.is_cancelled() && !two.is_cancelled() && !low_two.is_cancelled());
    drop(one);
    drop(two);
    assert!(low_two.cancel());
}

#[test]
fn all_descendants_are_marked_before_the_first_waker_runs() {
    struct Check(Mutex<Vec<CancelToken>>, AtomicUsize);
    impl Wake for Check {
        fn wake(self: Arc<Self>) {
            assert!(self.0.lock().unwrap().iter().all(CancelToken::is_cancelled));
            self.1.fetch_add(1, SeqCst);
        }
    }

    let root = CancelToken::new();
    let mut all = vec![root.clone()];
    for n in 0..200 {
        all.push(all[n / 3].child());
    }
    let check = Arc::new(Check(Mutex::new(Vec::new()), AtomicUsize::new(0)));
    let waker = Waker::from(check.clone());
    let mut waits: Vec<_> = all.iter().map(CancelToken::cancelled).collect();
    assert!(waits.iter_mut().all(|wait| poll_with(wait, &waker).is_pending()));
    // Some middle nodes are dropped; their descendants count as well.
    for n in [60, 50, 20, 7, 3, 2] {
        drop(waits.remove(n));
        drop(all.remove(n));
    }
    check.0.lock().unwrap().extend(all.iter().cloned());
    root.cancel();
    assert_eq!(check.1.load(SeqCst), waits.len());
    check.0.lock().unwrap().clear();
}

// Without `std`, no panic can be caught, and the second aborts.
#[cfg(feature = "std")]
#[test]
fn a_waker_that_panics_in_a_branch_keeps_no_other_from_being_woken() {
    let root = CancelToken::new();
    let good = WakeCount::new();
    let children: Vec<_> = (0..50).map(|_| root.child()).collect();
    let mut waits = Vec::new();
    for child in &children {
        for waker in [waker_fn(|| panic!("bad waker")), Waker::from(good.clone())] {
            let mut wait = child.cancelled();
            assert!(poll_with(&mut wait, &waker).is_pending());
            waits.push(wait);
        }
    }
    assert!(catch_unwind(AssertUnwindSafe(|| root.cancel())).is_err());
    assert_eq!(good.get(), 50);
    assert!(children.iter().all(CancelToken::is_cancelled));
}

#[test]
fn a_deep_chain_is_cancelled_without_recursion() {
    on_small_stack(|| {
        let root = CancelToken::new();
        let all = chain(&root, DEEP);
        root.cancel_with(Reason::Deadline);
        assert!(all.iter().all(CancelToken::is_cancelled));
        assert_eq!(all[DEEP].reason(), Some(Reason::Deadline));
        drop(shuffled(all));
    });
}

#[test]
fn a_deep_chain_is_dropped_in_any_order_without_recursion() {
    on_small_stack(|| {
        for cancel in [false, true] {
            let orders: [fn(Vec<CancelToken>) -> Vec<CancelToken>; 3] =
                [|all| all, |all| all.into_iter().rev().collect(), shuffled];
            for order in orders {
                let root = CancelToken::new();
                let all = chain(&root, DEEP);
                let last = all[DEEP].clone();
                if cancel {
                    root.cancel();
                }
                for token in order(all) {
                    drop(token);
                }
                assert_eq!(last.is_cancelled(), cancel);
                root.cancel();
                assert!(last.is_cancelled());
            }
        }
    });
}

#[test]
fn the_end_of_a_deep_chain_may_outlive_the_rest() {
    on_small_stack(|| {
        let root = CancelToken::new();
        // The upper end is dropped first, then the rest from below.
        let mut all = chain(&root, DEEP);
        let last = all.pop().unwrap();
        drop(root);
        all.drain(..DEEP / 2);
        while all.pop().is_some() {}
        assert!(!last.is_cancelled());
        assert!(last.cancel());
    });
}

#[test]
fn the_children_of_dropped_tokens_are_handed_up_again_and_again() {
    let root = CancelToken::new();
    let mut leaves = Vec::new();
    let mut token = root.child();
    for _ in 0..1_000 {
        leaves.push(token.child());
        token = token.child();
    }
    drop(token);
    assert!(leaves[500].cancel());
    assert_eq!(leaves.iter().filter(|leaf| leaf.is_cancelled()).count(), 1);
    root.cancel();
    assert!(leaves.iter().all(CancelToken::is_cancelled));
}

#[cfg(feature = "std")]
#[test]
fn a_reason_whose_destructor_panics_leaves_the_tree_as_it_should_be() {
    #[derive(Debug)]
    struct Cause;
    impl std::fmt::Display for Cause {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("cause")
        }
    }
    impl std::error::Error for Cause {}
    impl Drop for Cause {
        fn drop(&mut self) {
            panic!("the reason's");
        }
    }

    // The last token, or any of its ancestors that go with it, has a reason.
    for above in 0..4 {
        let root = CancelToken::new();
        let mut chain = vec![root.child()];
        (0..above).for_each(|at| chain.push(chain[at].child()));
        for token in chain.iter().rev() {
            token.cancel_with(Reason::cause(Cause));
        }
        let last = chain.pop().unwrap();
        chain.into_iter().for_each(drop);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(last))).is_err());
        // If an entry were left, the root would pass for one without a token.
        let child = root.child();
        let grandchild = child.child();
        root.cancel();
        assert!(child.is_cancelled() && grandchild.is_cancelled());
    }
}
