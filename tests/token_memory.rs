//! The memory of the process does not grow with the tokens that come and go.
//!
//! The tests measure the pages that the process has in memory. So they need Linux and a process of
//! their own, and run one after the other.

#![cfg(target_os = "linux")]

use std::fs;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Waker};

use errgroup::CancelToken;

static ALONE: Mutex<()> = Mutex::new(());

/// Returns the bytes that the process has in memory.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    // 4 KiB are the smallest pages there are.
    pages * 4096
}

/// Asserts that a hundred thousand turns take less than eleven bytes each.
fn does_not_grow(turn: impl FnMut()) {
    does_not_grow_in(100_000, turn);
}

/// Asserts that the given number of turns takes less than a megabyte.
fn does_not_grow_in(turns: usize, mut turn: impl FnMut()) {
    let _alone = ALONE.lock().unwrap_or_else(|broken| broken.into_inner());
    for _ in 0..turns / 1_000 {
        turn();
    }
    let before = resident();
    for _ in 0..turns {
        turn();
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes");
}

#[test]
fn many_children_of_one_token_use_no_memory() {
    let root = CancelToken::new();
    does_not_grow(|| drop(root.child()));
}

#[test]
fn many_children_of_which_some_live_on_use_no_memory() {
    let root = CancelToken::new();
    let mut living = std::collections::VecDeque::new();
    does_not_grow(|| {
        living.push_back(root.child());
        if living.len() > 100 {
            drop(living.pop_front());
        }
    });
}

#[test]
fn cancelling_many_children_one_by_one_uses_no_memory() {
    let root = CancelToken::new();
    does_not_grow(|| {
        let child = root.child();
        let below = child.child();
        child.cancel();
        assert!(below.is_cancelled());
    });
}

#[test]
fn many_waits_use_no_memory() {
    let root = CancelToken::new();
    does_not_grow(|| {
        let mut wait = root.cancelled();
        assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
}

#[test]
fn replacing_a_token_by_its_child_uses_no_memory() {
    let root = CancelToken::new();
    let mut token = root.child();
    does_not_grow(|| token = token.child());
    root.cancel();
    assert!(token.is_cancelled());
}

#[test]
fn a_leaf_does_not_keep_the_thousand_tokens_above_it() {
    let root = CancelToken::new();
    let mut leaves = Vec::new();
    does_not_grow_in(1_000, || {
        let mut chain = vec![root.child()];
        for _ in 0..1_000 {
            chain.push(chain[chain.len() - 1].child());
        }
        leaves.extend(chain.pop());
    });
    root.cancel();
    assert!(leaves.iter().all(CancelToken::is_cancelled));
}

#[test]
fn replacing_a_root_by_its_child_uses_no_memory() {
    let mut token = CancelToken::new();
    does_not_grow(|| token = token.child());
}

#[test]
fn replacing_a_token_with_a_leaf_by_its_child_uses_no_memory() {
    let mut token = CancelToken::new();
    let mut leaf = token.child();
    does_not_grow(|| {
        token = token.child();
        leaf = token.child();
    });
    token.cancel();
    assert!(leaf.is_cancelled());
}

#[test]
fn replacing_a_cancelled_token_by_its_child_uses_no_memory() {
    let mut token = CancelToken::new();
    token.cancel();
    does_not_grow(|| token = token.child());
}
