//! The tree of tokens: a cancel, and threads that look, wait, make children and drop tokens.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::reason::Reason;
use crate::task::{Task, check, run};
use crate::token::{CancelToken, Cancelled};

/// Written before a cancel. It has no ordering of its own, so it is seen only if the cancel
/// carries it.
#[derive(Clone)]
struct Data(Arc<AtomicUsize>);

impl Data {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }

    fn set(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

/// Waits until the token is cancelled.
fn wait(token: &CancelToken) -> Reason {
    let mut cancelled = token.cancelled();
    finish(&mut cancelled)
}

fn finish(cancelled: &mut Cancelled) -> Reason {
    let mut reason = None;
    run(|cx| match Pin::new(&mut *cancelled).poll(cx) {
        Poll::Ready(why) => {
            reason = Some(why);
            Poll::Ready(())
        }
        Poll::Pending => Poll::Pending,
    });
    reason.expect("it was ready")
}

/// Returns how many tokens are above this one.
fn depth(token: &CancelToken) -> usize {
    token.ancestors().ids().count()
}

fn on_thread<R: 'static>(call: impl FnOnce() -> R + 'static) -> thread::JoinHandle<R> {
    thread::spawn(call)
}

fn cancel_on_thread(token: &CancelToken) -> thread::JoinHandle<bool> {
    let token = token.clone();
    on_thread(move || token.cancel())
}

// === those that look and wait ===

#[test]
fn a_cancel_and_a_look() {
    check(None, || {
        let (token, data) = (CancelToken::new(), Data::new());
        let cancel = on_thread({
            let (token, data) = (token.clone(), data.clone());
            move || {
                data.set();
                assert!(token.cancel());
            }
        });
        if token.is_cancelled() {
            assert!(data.is_set(), "does not carry what was done before");
            assert_eq!(token.reason(), Some(Reason::Cancelled));
        }
        cancel.join().unwrap();
    });
}

#[test]
fn a_cancel_and_a_wait() {
    check(None, || {
        let (token, data) = (CancelToken::new(), Data::new());
        let cancel = on_thread({
            let (token, data) = (token.clone(), data.clone());
            move || {
                data.set();
                assert!(token.cancel());
            }
        });
        assert_eq!(wait(&token), Reason::Cancelled);
        assert!(data.is_set(), "does not carry what was done before");
        cancel.join().unwrap();
    });
}

#[test]
fn a_cancel_and_a_wait_that_moves_to_another_task() {
    check(3, || {
        let token = CancelToken::new();
        let cancel = cancel_on_thread(&token);
        let mut cancelled = token.cancelled();
        let first = Task::new().waker();
        if Pin::new(&mut cancelled).poll(&mut Context::from_waker(&first)).is_pending() {
            assert_eq!(finish(&mut cancelled), Reason::Cancelled);
        }
        assert!(cancel.join().unwrap());
    });
}

#[test]
fn a_cancel_and_a_wait_that_is_dropped() {
    check(3, || {
        let token = CancelToken::new();
        let task = Task::new();
        let drops = on_thread({
            let (token, task) = (token.clone(), Arc::clone(&task));
            move || {
                let mut cancelled = token.cancelled();
                let _ = Pin::new(&mut cancelled).poll(&mut Context::from_waker(&task.waker()));
            }
        });
        let waits = on_thread({
            let token = token.clone();
            move || wait(&token)
        });
        assert!(token.cancel());
        drops.join().unwrap();
        assert_eq!(waits.join().unwrap(), Reason::Cancelled);
        assert_eq!(Arc::strong_count(&task), 1, "its waker is left");
        assert_eq!(token.references(), 1);
    });
}

#[test]
fn two_waits_that_are_dropped() {
    check(3, || {
        let token = CancelToken::new();
        let drops = || {
            let token = token.clone();
            let task = Task::new();
            on_thread(move || {
                let mut cancelled = token.cancelled();
                let waker = task.waker();
                assert!(
                    Pin::new(&mut cancelled).poll(&mut Context::from_waker(&waker)).is_pending()
                );
                drop((cancelled, waker));
                assert_eq!(Arc::strong_count(&task), 1, "its waker is left");
            })
        };
        let drops = [drops(), drops()];
        drops.into_iter().for_each(|drops| drops.join().unwrap());
        assert_eq!(token.references(), 1);
    });
}

#[test]
fn two_cancels() {
    check(3, || {
        let token = CancelToken::new();
        let leaf = token.child();
        let other = on_thread({
            let (token, leaf) = (token.clone(), leaf.clone());
            move || {
                let won = token.cancel_with(Reason::Done);
                assert!(leaf.is_cancelled(), "not marked yet");
                won
            }
        });
        let won = token.cancel_with(Reason::Failed);
        assert!(leaf.is_cancelled(), "not marked yet");
        assert_ne!(won, other.join().unwrap());
        let reason = Some(if won { Reason::Failed } else { Reason::Done });
        assert_eq!((token.reason(), leaf.reason()), (reason.clone(), reason));
    });
}

#[test]
fn a_cancel_of_the_root_and_one_in_the_middle() {
    check(2, || {
        let root = CancelToken::new();
        let middle = root.child();
        let leaf = middle.child();
        let above = on_thread({
            let (root, leaf) = (root.clone(), leaf.clone());
            move || {
                assert!(root.cancel_with(Reason::Done));
                assert!(leaf.is_cancelled(), "not marked yet");
            }
        });
        let won = middle.cancel_with(Reason::Failed);
        assert!(leaf.is_cancelled(), "not marked yet");
        let reason = if won { Reason::Failed } else { Reason::Done };
        assert_eq!((middle.reason(), leaf.reason()), (Some(reason.clone()), Some(reason)));
        above.join().unwrap();
    });
}

// === tokens that come ===

#[test]
fn a_cancel_and_a_child_that_is_made() {
    check(3, || {
        let root = CancelToken::new();
        let cancel = cancel_on_thread(&root);
        let child = root.child();
        assert_eq!(wait(&child), Reason::Cancelled);
        assert!(cancel.join().unwrap());
    });
}

#[test]
fn a_cancel_of_the_root_and_a_child_that_is_made_below() {
    check(3, || {
        let root = CancelToken::new();
        let middle = root.child();
        let cancel = cancel_on_thread(&root);
        let leaf = middle.child();
        assert_eq!(wait(&leaf), Reason::Cancelled);
        assert!(cancel.join().unwrap());
    });
}

#[test]
fn two_children_that_are_made_and_dropped() {
    check(3, || {
        let root = CancelToken::new();
        let other = on_thread({
            let root = root.clone();
            move || drop(root.child())
        });
        let child = root.child();
        other.join().unwrap();
        assert_eq!(root.children(), 1);
        drop(child);
        assert_eq!((root.children(), root.references()), (0, 1));
    });
}

// === tokens that go ===

#[test]
fn a_cancel_of_the_root_while_the_middle_goes() {
    check(2, || {
        let root = CancelToken::new();
        let middle = root.child();
        let leaf = middle.child();
        let goes = on_thread(move || drop(middle));
        let cancel = on_thread({
            let (root, leaf) = (root.clone(), leaf.clone());
            move || {
                assert!(root.cancel());
                assert!(leaf.is_cancelled(), "not marked yet");
            }
        });
        assert_eq!(wait(&leaf), Reason::Cancelled);
        goes.join().unwrap();
        cancel.join().unwrap();
        drop(leaf);
        assert_eq!((root.children(), root.references()), (0, 1));
    });
}

#[test]
fn two_that_go_one_below_the_other() {
    check(3, || {
        let root = CancelToken::new();
        let high = root.child();
        let low = high.child();
        let leaf = low.child();
        let goes = on_thread(move || drop(high));
        drop(low);
        goes.join().unwrap();
        // A node that both have missed is found now.
        let below = leaf.child();
        assert_eq!((depth(&leaf), root.children(), root.references()), (1, 1, 2));
        assert!(root.cancel());
        assert!(leaf.is_cancelled() && below.is_cancelled());
    });
}

#[test]
fn the_last_child_goes_while_its_parent_goes() {
    check(None, || {
        let root = CancelToken::new();
        let middle = root.child();
        let leaf = middle.child();
        let goes = on_thread(move || drop(middle));
        drop(leaf);
        goes.join().unwrap();
        assert_eq!((root.children(), root.references()), (0, 1));
    });
}

#[test]
fn a_child_is_made_while_a_token_above_goes() {
    check(3, || {
        let root = CancelToken::new();
        let middle = root.child();
        let leaf = middle.child();
        let goes = on_thread(move || drop(middle));
        let below = leaf.child();
        goes.join().unwrap();
        assert!(root.cancel());
        assert!(leaf.is_cancelled() && below.is_cancelled());
        drop((leaf, below));
        assert_eq!((root.children(), root.references()), (0, 1));
    });
}

#[test]
fn the_root_goes_while_the_middle_goes() {
    check(3, || {
        let root = CancelToken::new();
        let middle = root.child();
        let leaf = middle.child();
        let goes = on_thread(move || drop(root));
        drop(middle);
        goes.join().unwrap();
        let below = leaf.child();
        assert_eq!(depth(&leaf), 0);
        assert!(leaf.cancel() && below.is_cancelled());
    });
}
