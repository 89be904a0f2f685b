//! Tokens used by many threads at once.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Waker};
use std::thread;

use crate::common::{Random, WakeCount};
use errgroup::{CancelToken, Reason};
use futures::executor::block_on;

fn pending<F: Future + Unpin>(future: &mut F, waker: &Waker) -> bool {
    Pin::new(future).poll(&mut Context::from_waker(waker)).is_pending()
}

/// Runs `f` on the given number of threads, all started at once.
fn race<T: Send>(threads: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        let (f, barrier) = (&f, &barrier);
        let all: Vec<_> = (0..threads)
            .map(|n| {
                scope.spawn(move || {
                    barrier.wait();
                    f(n)
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[derive(Debug)]
struct Marker(#[allow(dead_code)] Arc<()>);

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("marker")
    }
}

impl std::error::Error for Marker {}

#[test]
fn one_of_many_cancels_wins_and_all_see_every_token_marked() {
    for _ in 0..500 {
        let root = CancelToken::new();
        let middle = root.child();
        let leaves: Vec<_> = (0..20).map(|_| middle.child().child()).collect();
        let won = race(4, |n| {
            // Threads that cancel the branch race with threads that cancel the root.
            let token = [&root, &middle][n % 2];
            let won = token.cancel_with([Reason::Failed, Reason::Done][n % 2].clone());
            assert!(token.is_cancelled() && token.reason().is_some());
            assert!(leaves.iter().all(CancelToken::is_cancelled));
            won
        });
        assert_eq!(won.iter().step_by(2).filter(|won| **won).count(), 1);
        assert_eq!(root.reason(), Some(Reason::Failed));
        for leaf in &leaves {
            assert_eq!(leaf.reason(), middle.reason());
        }
    }
}

#[test]
fn a_cancel_that_comes_too_late_finds_all_descendants_marked_as_well() {
    for _ in 0..20 {
        let root = CancelToken::new();
        let leaves: Vec<_> = (0..5_000).map(|_| root.child().child()).collect();
        race(2, |_| {
            root.cancel();
            assert!(leaves.iter().all(CancelToken::is_cancelled));
        });
    }
}

#[test]
fn a_reason_is_there_as_soon_as_the_flag_is() {
    for _ in 0..500 {
        let root = CancelToken::new();
        let child = root.child();
        race(3, |n| {
            if n == 0 {
                root.cancel_with(Reason::Deadline);
            } else {
                while !child.is_cancelled() {
                    thread::yield_now();
                }
                assert_eq!(child.reason(), Some(Reason::Deadline));
            }
        });
    }
}

#[test]
fn no_wake_up_is_lost_to_a_racing_cancel() {
    let rounds = 300;
    for _ in 0..rounds {
        let root = CancelToken::new();
        let child = root.child();
        race(3, |n| {
            if n == 0 {
                root.cancel();
            } else {
                // Hangs if one is lost.
                assert_eq!(block_on(child.cancelled()), Reason::Cancelled);
            }
        });
    }
}

#[test]
fn waits_that_come_and_go_while_the_token_is_cancelled_leave_nothing() {
    for _ in 0..200 {
        let token = CancelToken::new();
        let count = WakeCount::new();
        let registered = AtomicUsize::new(0);
        race(4, |n| {
            if n == 0 {
                token.cancel();
                return;
            }
            let waker = count.clone().into();
            let mut kept = Vec::new();
            for turn in 0..50 {
                let mut wait = token.cancelled();
                if pending(&mut wait, &waker) && turn % 2 == 0 {
                    registered.fetch_add(1, SeqCst);
                    kept.push(wait);
                }
            }
            while !token.is_cancelled() {
                thread::yield_now();
            }
            assert!(kept.iter_mut().all(|wait| !pending(wait, &waker)));
        });
        // Waits dropped in time were not woken; the others were, once each.
        assert!(count.get() >= registered.load(SeqCst));
        assert_eq!(Arc::strong_count(&count), 1);
    }
}

#[test]
fn children_made_while_the_parent_is_cancelled_are_all_cancelled() {
    for _ in 0..300 {
        let root = CancelToken::new();
        let made = race(4, |n| {
            if n == 0 {
                root.cancel_with(Reason::Deadline);
                return Vec::new();
            }
            let mut token = root.clone();
            (0..50)
                .map(|turn| {
                    let child = token.child();
                    // Chains that lose their upper end, and bushes.
                    token = if turn % 3 == 0 { root.clone() } else { child.clone() };
                    child
                })
                .collect()
        });
        for token in made.iter().flatten() {
            assert_eq!(token.reason(), Some(Reason::Deadline));
        }
    }
}

#[test]
fn tokens_dropped_between_root_and_leaf_never_hide_the_leaf() {
    for round in 0..500 {
        let root = CancelToken::new();
        let mut chain = vec![root.child()];
        for _ in 0..10 {
            chain.push(chain[chain.len() - 1].child());
        }
        let leaf = chain[chain.len() - 1].child();
        // Each middle token has two owners, on two threads.
        let owners = [Mutex::new(chain.clone()), Mutex::new(chain)];
        race(3, |n| {
            let Some(owner) = owners.get(n) else {
                if round % 2 == 0 {
                    thread::yield_now();
                }
                root.cancel_with(Reason::Done);
                // The reason is there at once.
                assert_eq!(leaf.reason(), Some(Reason::Done));
                return;
            };
            let mut tokens = std::mem::take(&mut *owner.lock().unwrap());
            match (round / 2) % 3 {
                0 => tokens.reverse(),
                1 => tokens.rotate_left(5),
                _ => {}
            }
            tokens.into_iter().for_each(drop);
        });
    }
}

#[test]
fn many_tokens_dropped_while_their_parent_is_cancelled_never_hide_their_children() {
    for round in 0..40 {
        let root = CancelToken::new();
        let mut middle: Vec<_> = (0..3_000).map(|_| root.child()).collect();
        let leaves: Vec<_> = middle.iter().map(CancelToken::child).collect();
        if round % 2 == 0 {
            middle.reverse();
        }
        let middle = Mutex::new(middle);
        race(2, |n| {
            if n == 0 {
                drop(std::mem::take(&mut *middle.lock().unwrap()));
            } else {
                root.cancel_with(Reason::Done);
                assert!(leaves.iter().all(CancelToken::is_cancelled));
            }
        });
    }
}

#[test]
fn every_descendant_is_cancelled_and_everything_freed_whatever_the_threads_do() {
    let causes: Vec<_> = (0..4).map(|_| Arc::new(())).collect();
    let count = WakeCount::new();
    for round in 0..200_u64 {
        let root = CancelToken::new();
        let shared: Vec<_> = (0..8).map(|_| Mutex::new(root.child())).collect();
        race(4, |n| {
            let mut random = Random(round * 7 + n as u64);
            let waker: Waker = count.clone().into();
            let mut waits = Vec::new();
            for _ in 0..100 {
                let from = shared[random.below(8)].lock().unwrap().clone();
                let to = &shared[random.below(8)];
                match random.below(12) {
                    0..=5 => *to.lock().unwrap() = from.child(),
                    6 => *to.lock().unwrap() = from,
                    7 => *to.lock().unwrap() = root.child(),
                    8 => {
                        waits.pop();
                    }
                    9 if random.below(10) == 0 => {
                        let below: Vec<_> = (0..3).map(|_| from.child().child()).collect();
                        from.cancel_with(Reason::Cause(Arc::new(Marker(causes[n].clone()))));
                        assert!(below.iter().all(CancelToken::is_cancelled));
                    }
                    _ => {
                        let mut wait = from.cancelled();
                        if pending(&mut wait, &waker) {
                            waits.push(wait);
                        }
                    }
                }
            }
            if n == 0 {
                root.cancel_with(Reason::Finished);
                for token in &shared {
                    assert!(token.lock().unwrap().is_cancelled());
                }
            }
        });
        for token in &shared {
            let reason = token.lock().unwrap().reason();
            let reason = reason.expect("not reached");
            assert!(matches!(reason, Reason::Finished | Reason::Cause(_)), "{reason:?}");
        }
    }
    assert!(causes.iter().all(|cause| Arc::strong_count(cause) == 1));
    assert_eq!(Arc::strong_count(&count), 1);
}
