//! Children are added on many threads while the group is driven on one: the limit holds, no
//! child is lost, and the group always ends.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use errgroup::{Boxed, Group, Handle, Reason, TryGoError};
use futures::executor::block_on;
use futures::stream;

type Kind = Boxed<'static, usize, &'static str>;

/// Runs a call on a thread of its own, and panics if it does not end.
#[track_caller]
fn ends<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, result) = mpsc::channel();
    let runner = thread::spawn(move || {
        let _ = sender.send(run());
    });
    match result.recv_timeout(Duration::from_secs(120)) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(runner.join().expect_err("the thread has panicked"))
        }
    }
}

/// Counts the children that were polled and have not finished, and the most that ever were.
#[derive(Clone, Default)]
struct Alive(Arc<Counts>);

#[derive(Default)]
struct Counts {
    now: AtomicUsize,
    peak: AtomicUsize,
    polled: AtomicUsize,
}

impl Alive {
    /// Makes a child that yields the given number of times.
    fn child(&self, yields: usize) -> Child {
        Child { alive: self.clone(), yields, polled: false }
    }

    fn peak(&self) -> usize {
        self.0.peak.load(Ordering::SeqCst)
    }

    fn polled(&self) -> usize {
        self.0.polled.load(Ordering::SeqCst)
    }
}

struct Child {
    alive: Alive,
    yields: usize,
    polled: bool,
}

impl Future for Child {
    type Output = Result<usize, &'static str>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.polled {
            self.polled = true;
            let counts = &self.alive.0;
            counts.polled.fetch_add(1, Ordering::SeqCst);
            let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
            counts.peak.fetch_max(now, Ordering::SeqCst);
        }
        if self.yields == 0 {
            return Poll::Ready(Ok(0));
        }
        self.yields -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.polled {
            self.alive.0.now.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Makes a child that holds the group open until the others have been added.
fn doorkeeper(count: usize) -> (Keeper, impl Future<Output = Result<usize, &'static str>> + Send) {
    let token = errgroup::CancelToken::new();
    let left = Arc::new(AtomicUsize::new(count));
    let open = token.cancelled();
    let door = async move {
        open.await;
        Ok(0)
    };
    (Keeper { token, left }, door)
}

#[derive(Clone)]
struct Keeper {
    token: errgroup::CancelToken,
    left: Arc<AtomicUsize>,
}

impl Keeper {
    /// Notes that one thread is done. After the last one, the doorkeeper ends.
    fn done(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.token.cancel();
        }
    }
}

const THREADS: usize = 4;

#[test]
fn no_child_is_lost_and_the_limit_holds_however_children_are_added() {
    ends(|| {
        for round in 0..60 {
            let each = 50;
            // The doorkeeper takes room as well.
            let limit = 1 + round % 4;
            let mut group = Group::<Kind>::new().with_limit(limit + 1);
            let handle = group.handle();
            let (keeper, door) = doorkeeper(THREADS);
            group.queue(door);
            let alive = Alive::default();
            let start = Arc::new(Barrier::new(THREADS));
            let adding: Vec<_> = (0..THREADS)
                .map(|way| {
                    let (handle, alive, keeper) = (handle.clone(), alive.clone(), keeper.clone());
                    let start = Arc::clone(&start);
                    thread::spawn(move || {
                        start.wait();
                        add(way, each, &handle, &alive);
                        keeper.done();
                    })
                })
                .collect();
            assert_eq!(block_on(group), Ok(()));
            for thread in adding {
                thread.join().unwrap();
            }
            let stats = handle.stats();
            assert_eq!(stats.ok, THREADS * each + 1);
            assert_eq!((stats.running, stats.queued, stats.dropped, stats.failed), (0, 0, 0, 0));
            assert_eq!(alive.polled(), THREADS * each);
            assert!(alive.peak() <= limit + 1, "{} above {limit}", alive.peak());
        }
    });
}

fn add(way: usize, count: usize, handle: &Handle<Kind>, alive: &Alive) {
    match way % 4 {
        0 => {
            for n in 0..count {
                block_on(handle.go(alive.child(n % 3))).expect("it is open");
            }
        }
        1 => {
            for n in 0..count {
                let mut child = alive.child(n % 3);
                loop {
                    match handle.try_go(child) {
                        Ok(()) => break,
                        Err(TryGoError::AtLimit(back)) => child = back,
                        Err(_) => panic!("it is open"),
                    }
                    thread::yield_now();
                }
            }
        }
        2 => {
            for n in 0..count {
                handle.queue(alive.child(n % 3));
            }
        }
        _ => {
            let children = (0..count).map(|n| alive.child(n % 3));
            assert_eq!(block_on(handle.feed(stream::iter(children))), count);
        }
    }
}

#[test]
fn a_limit_that_keeps_changing_loses_no_child() {
    ends(|| {
        for _ in 0..40 {
            let most = 5;
            let mut group = Group::<Kind>::new().with_limit(2);
            let handle = group.handle();
            let (keeper, door) = doorkeeper(3);
            group.queue(door);
            let alive = Alive::default();
            let adding: Vec<_> = [0, 2, 3]
                .into_iter()
                .map(|way| {
                    let (handle, alive, keeper) = (handle.clone(), alive.clone(), keeper.clone());
                    thread::spawn(move || {
                        add(way, 60, &handle, &alive);
                        keeper.done();
                    })
                })
                .collect();
            let changing = {
                let handle = handle.clone();
                thread::spawn(move || {
                    let mut changes = 0;
                    while !handle.is_closed() {
                        handle.set_limit(Some(changes % (most + 1)));
                        changes += 1;
                        thread::yield_now();
                        // The pause ends.
                        handle.set_limit(Some(2));
                    }
                })
            };
            assert_eq!(block_on(group), Ok(()));
            for thread in adding {
                thread.join().unwrap();
            }
            changing.join().unwrap();
            assert_eq!(handle.stats().ok, 181);
            assert!(alive.peak() <= most);
        }
    });
}

#[test]
fn a_raised_limit_reaches_a_group_that_waits_in_its_own_go_or_feed() {
    ends(|| {
        for round in 0..300 {
            let mut group = Group::<Kind>::new().with_limit(1);
            let handle = group.handle();
            let (keeper, door) = doorkeeper(1);
            group.queue(door);
            let raising = thread::spawn(move || {
                if round % 3 == 0 {
                    thread::yield_now();
                }
                handle.set_limit(Some(2));
            });
            if round % 2 == 0 {
                block_on(group.go(ready(Ok(0)))).unwrap();
            } else {
                assert_eq!(block_on(group.feed(stream::iter([ready(Ok(0)), ready(Ok(0))]))), 2);
            }
            keeper.done();
            assert_eq!(block_on(group), Ok(()));
            raising.join().unwrap();
        }
    });
}

#[test]
fn a_cancel_from_another_thread_ends_all_waiters_and_every_child_is_accounted_for() {
    ends(|| {
        for round in 0..50 {
            let group = Group::<Kind>::new().with_limit(2);
            let handle = group.handle();
            let token = handle.token().clone();
            let alive = Alive::default();
            let (keeper, door) = doorkeeper(1);
            handle.queue(door);
            let adding: Vec<_> = (0..3)
                .map(|way| {
                    let (handle, alive) = (handle.clone(), alive.clone());
                    thread::spawn(move || match way {
                        0 => (0..)
                            .take_while(|n| block_on(handle.go(alive.child(n % 3))).is_ok())
                            .count(),
                        1 => block_on(handle.feed(stream::iter((0..).map(|n| alive.child(n % 3))))),
                        _ => {
                            let queued = (0..).take_while(|n| {
                                handle.queue(alive.child(n % 3));
                                !handle.is_stopped()
                            });
                            queued.count() + 1
                        }
                    })
                })
                .collect();
            let cancelling = thread::spawn(move || {
                for _ in 0..round % 5 {
                    thread::yield_now();
                }
                assert!(token.cancel());
                keeper.done();
            });
            assert_eq!(block_on(group), Ok(()));
            cancelling.join().unwrap();
            let added: usize = adding.into_iter().map(|thread| thread.join().unwrap()).sum();
            let stats = handle.stats();
            // A child that a `feed` took from its stream as the stop came is dropped, not admitted.
            let accepted = stats.ok + stats.dropped;
            assert!(accepted == added + 1 || accepted == added + 2, "{stats:?} {added}");
            assert_eq!((stats.running, stats.queued, stats.failed), (0, 0, 0));
            assert_eq!(alive.polled() + 1, stats.ok, "every polled child has finished");
            assert!(alive.peak() <= 2);
            assert_eq!(handle.token().reason(), Some(Reason::Cancelled));
            assert!(handle.is_closed());
        }
    });
}

#[test]
fn a_group_dropped_while_threads_add_children_lets_them_go() {
    ends(|| {
        for round in 0..50 {
            let group = Group::<Kind>::new().with_limit(1);
            let handle = group.handle();
            let alive = Alive::default();
            handle.queue(std::future::pending());
            let adding: Vec<_> = (0..3)
                .map(|way| {
                    let (handle, alive) = (handle.clone(), alive.clone());
                    thread::spawn(move || match way {
                        0 => assert!(block_on(handle.go(alive.child(0))).is_err()),
                        1 => {
                            let children = stream::iter((0..9).map(|_| alive.child(0)));
                            assert_eq!(block_on(handle.feed(children)), 0);
                        }
                        _ => block_on(handle.closed()),
                    })
                })
                .collect();
            let dropping = thread::spawn(move || {
                for _ in 0..round {
                    thread::yield_now();
                }
                drop(group);
            });
            for thread in adding {
                thread.join().unwrap();
            }
            dropping.join().unwrap();
            assert_eq!(alive.polled(), 0);
            assert_eq!(handle.stats().dropped, 1);
        }
    });
}

#[test]
fn waiters_dropped_on_other_threads_leave_the_queue_to_the_rest() {
    ends(|| {
        for _ in 0..100 {
            let mut group = Group::<Kind>::new().with_limit(2);
            let handle = group.handle();
            let (keeper, door) = doorkeeper(3);
            group.queue(door);
            let alive = Alive::default();
            let adding: Vec<_> = (0..3)
                .map(|_| {
                    let (handle, alive, keeper) = (handle.clone(), alive.clone(), keeper.clone());
                    thread::spawn(move || {
                        let mut added = 0;
                        for n in 0..60 {
                            let mut go = handle.go(alive.child(n % 2));
                            if n % 3 == 0 {
                                // Polled once, and dropped wherever it is in the queue.
                                let poll = block_on(async { futures::poll!(&mut go) });
                                added += usize::from(poll.is_ready());
                            } else {
                                block_on(go).unwrap();
                                added += 1;
                            }
                        }
                        keeper.done();
                        added
                    })
                })
                .collect();
            assert_eq!(block_on(group), Ok(()));
            let added: usize = adding.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(handle.stats().ok, added + 1);
            assert_eq!(alive.polled(), added);
            assert!(alive.peak() <= 2);
        }
    });
}

#[test]
fn the_last_waiter_that_holds_the_group_open_wakes_it_from_any_thread() {
    ends(|| {
        for round in 0..300 {
            let group = Group::<Kind>::new();
            let handle = group.handle();
            handle.set_limit(Some(0));
            let start = Arc::new(Barrier::new(2));
            let (ready_to_go, begun) = (Arc::clone(&start), handle.clone());
            let leaving = thread::spawn(move || {
                let mut go = begun.go(ready(Ok(0)));
                assert!(block_on(async { futures::poll!(&mut go) }).is_pending());
                ready_to_go.wait();
                if round % 2 == 0 {
                    thread::yield_now();
                }
                drop(go);
            });
            start.wait();
            assert_eq!(block_on(group), Ok(()));
            leaving.join().unwrap();
        }
    });
}

#[cfg(feature = "std")]
#[test]
fn children_that_go_on_their_own_group_end_beside_other_threads() {
    fn node(handle: Handle<Kind>, alive: Alive, depth: usize) -> BoxedChild {
        Box::pin(async move {
            alive.child(1).await?;
            for _ in 0..if depth > 0 { 2 } else { 0 } {
                let child = node(handle.clone(), alive.clone(), depth - 1);
                handle.go(child).await.map_err(|_| "stopped")?;
            }
            Ok(0)
        })
    }
    type BoxedChild = Pin<Box<dyn Future<Output = Result<usize, &'static str>> + Send>>;
    ends(|| {
        for round in 0..30 {
            let limit = 1 + round % 3;
            let mut group = Group::<Kind>::new().with_limit(limit);
            let handle = group.handle();
            let alive = Alive::default();
            group.queue(node(handle.clone(), alive.clone(), 6));
            let adding: Vec<_> = (0..2)
                .map(|_| {
                    let (handle, alive) = (handle.clone(), alive.clone());
                    thread::spawn(move || {
                        (0..50).filter(|_| block_on(handle.go(alive.child(1))).is_ok()).count()
                    })
                })
                .collect();
            assert_eq!(block_on(group), Ok(()));
            let added: usize = adding.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(handle.stats().ok, 127 + added);
        }
    });
}
