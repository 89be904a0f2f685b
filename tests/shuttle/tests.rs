//! Mixes of calls from several threads, in random orders of their steps.
//!
//! The threads are shuttle's. If a wake-up is lost, all of them wait in the end, which shuttle
//! reports, with the schedule that led there. What each scenario checks beside that: each `go` and
//! each handle of a child has its answer, and each child is dropped once, before its group has
//! ended. The counts of that are atomics of the standard library, so that they change no schedule.
//!
//! `SHUTTLE_SCHEDULES=20000 cargo test --profile checked -p shuttle-model` tries more of them.
//!
//! # What it was seen to find
//!
//! Each of these changes, made in the sources, failed one scenario at least in 600 schedules of it:
//! no notification of the group's task when a child is ready; no second look at the end when the
//! last hold goes; waiters that are not woken for room; an end that is told before it is noted; a
//! token's waiter that does not look again after its waker is kept; a child's handle that is not
//! woken; an abort, or a group that is dropped, that does not wake the task of a spawned child.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use shuttle_model::{
    Boxed, CancelToken, Child, ChildHandle, Children, Group, Handle, Hold, Joinable, Reason,
    Spawned, Task, TryGoError, task,
};

type Output = Result<(), &'static str>;
type Plain = Boxed<'static, (), &'static str>;
type OnThreads = Spawned<(), &'static str>;

/// Tries a scenario in random orders, and in orders with few switches at chosen places.
fn check(scenario: impl Fn() + Clone + Send + Sync + 'static) {
    let schedules = std::env::var("SHUTTLE_SCHEDULES").ok();
    let schedules = schedules.map_or(300, |text| text.parse().expect("a number of schedules"));
    shuttle::check_random(scenario.clone(), schedules);
    shuttle::check_pct(scenario, schedules, 3);
}

// === children ===

/// Counts the children of a scenario.
#[derive(Clone, Default)]
struct Counts(Arc<[AtomicUsize; 4]>);

const MADE: usize = 0;
const DROPPED: usize = 1;
const RUNNING: usize = 2;
const PEAK: usize = 3;

impl Counts {
    fn get(&self, what: usize) -> usize {
        self.0[what].load(Ordering::SeqCst)
    }

    /// Makes a child that is pending the given number of times, and woken from another thread.
    fn child(&self, pending: usize, output: Output) -> Counted {
        self.0[MADE].fetch_add(1, Ordering::SeqCst);
        Counted { counts: self.clone(), pending, output, polled: false, woken: Arc::default() }
    }

    fn ok(&self, pending: usize) -> Counted {
        self.child(pending, Ok(()))
    }

    #[track_caller]
    fn check_dropped(&self) {
        assert_eq!(self.get(MADE), self.get(DROPPED), "each child is dropped");
    }
}

struct Counted {
    counts: Counts,
    pending: usize,
    output: Output,
    polled: bool,
    /// The last thread that was to wake it has done so.
    woken: Arc<AtomicUsize>,
}

impl Future for Counted {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        let counts = self.counts.clone();
        if !self.polled {
            self.polled = true;
            let running = counts.0[RUNNING].fetch_add(1, Ordering::SeqCst) + 1;
            counts.0[PEAK].fetch_max(running, Ordering::SeqCst);
        } else if self.woken.load(Ordering::SeqCst) == 0 {
            return Poll::Pending;
        }
        if self.pending == 0 {
            return Poll::Ready(self.output);
        }
        self.pending -= 1;
        self.woken = Arc::default();
        let (waker, woken) = (cx.waker().clone(), Arc::clone(&self.woken));
        thread::spawn(move || {
            woken.store(1, Ordering::SeqCst);
            waker.wake();
        });
        Poll::Pending
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.polled {
            self.counts.0[RUNNING].fetch_sub(1, Ordering::SeqCst);
        }
        self.counts.0[DROPPED].fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future a few times, however often it is woken, and drops it.
fn poll_and_drop(future: impl Future, polls: usize) -> bool {
    let mut future = pin!(future);
    (0..polls).any(|_| {
        thread::yield_now();
        future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    })
}

fn join<T>(threads: impl IntoIterator<Item = thread::JoinHandle<T>>) {
    for thread in threads {
        thread.join().expect("the thread has not panicked");
    }
}

/// The threads of the children of a group.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<thread::JoinHandle<()>>>>);

impl Pool {
    /// Waits until all of them have ended.
    fn join(self) {
        let pop = || self.0.lock().unwrap().pop();
        while let Some(thread) = pop() {
            join([thread]);
        }
    }
}

/// Returns a group whose children run on threads of their own.
fn on_threads() -> (Group<OnThreads>, Pool) {
    let pool = Pool::default();
    let threads = pool.clone();
    let spawn = move |work| {
        let thread = thread::spawn(move || block_on(work));
        threads.0.lock().unwrap().push(thread);
    };
    (Group::on::<_, ()>(spawn), pool)
}

// === admission ===

#[test]
fn threads_add_children_while_the_owner_waits() {
    check(|| {
        let counts = Counts::default();
        let group = Group::<Plain>::new().with_limit(2);
        let threads: Vec<_> = (0..3)
            .map(|at| {
                let (handle, hold, counts) = (group.handle(), group.hold(), counts.clone());
                thread::spawn(move || {
                    block_on(handle.go(counts.ok(at))).expect("the group is open");
                    handle.queue(counts.ok(1));
                    if let Err(refused) = handle.try_go(counts.ok(0)) {
                        assert!(matches!(refused, TryGoError::AtLimit(_)));
                    }
                    drop(hold);
                })
            })
            .collect();
        assert_eq!(block_on(group), Ok(()));
        assert!(counts.get(PEAK) <= 2);
        join(threads);
        counts.check_dropped();
    });
}

#[test]
fn limits_change_while_children_wait_for_room() {
    check(|| {
        let counts = Counts::default();
        let group = Group::<Plain>::new().with_limit(1);
        let adds = (0..2).map(|_| {
            let (handle, hold, counts) = (group.handle(), group.hold(), counts.clone());
            thread::spawn(move || {
                let slot = block_on(handle.reserve()).expect("the group is open");
                assert!(slot.go(counts.ok(1)).is_ok());
                block_on(handle.go(counts.ok(1))).expect("the group is open");
                drop(hold);
            })
        });
        let adds: Vec<_> = adds.collect();
        let limits: Vec<_> = [[0, 2], [1, 3]]
            .map(|limits| {
                let (handle, hold) = (group.handle(), group.hold());
                thread::spawn(move || {
                    limits.into_iter().for_each(|limit| handle.set_limit(Some(limit)));
                    drop(hold);
                })
            })
            .into();
        assert_eq!(block_on(group), Ok(()));
        assert!(counts.get(PEAK) <= 3);
        join(adds.into_iter().chain(limits));
        counts.check_dropped();
    });
}

#[test]
fn a_close_answers_all_that_wait() {
    check(|| {
        let counts = Counts::default();
        let group = Group::<Plain>::new().with_limit(1);
        let hold = group.hold();
        let adds: Vec<_> = (0..3)
            .map(|at| {
                let (handle, counts) = (group.handle(), counts.clone());
                thread::spawn(move || {
                    drop(block_on(handle.go(counts.ok(at))));
                    handle.queue(counts.ok(0));
                    block_on(handle.closed());
                    assert!(block_on(handle.go(counts.ok(0))).is_err());
                })
            })
            .collect();
        let handle = group.handle();
        let closes = thread::spawn(move || {
            handle.close();
            drop(hold);
        });
        assert_eq!(block_on(group), Ok(()));
        join(adds.into_iter().chain([closes]));
        counts.check_dropped();
    });
}

#[test]
fn a_child_adds_children_to_its_own_full_group() {
    check(|| {
        let counts = Counts::default();
        let group = Group::<Plain>::new().with_limit(1);
        for _ in 0..2 {
            let (handle, counts) = (group.handle(), counts.clone());
            group.handle().queue(async move {
                counts.ok(1).await?;
                handle.go(counts.ok(1)).await.map_err(|_| "refused")
            });
        }
        let (handle, hold, others) = (group.handle(), group.hold(), counts.clone());
        let adds = thread::spawn(move || {
            block_on(handle.go(others.ok(1))).expect("the group is open");
            drop(hold);
        });
        assert_eq!(block_on(group), Ok(()));
        join([adds]);
        counts.check_dropped();
    });
}

// === stops and drops ===

#[test]
fn a_cancel_an_error_and_newcomers() {
    check(|| {
        let counts = Counts::default();
        let token = CancelToken::new();
        let group = Group::<Plain>::new().with_limit(2).with_parent(&token);
        let hold = group.hold();
        let adds: Vec<_> = (0..2)
            .map(|at| {
                let (handle, counts) = (group.handle(), counts.clone());
                thread::spawn(move || {
                    let output = if at == 0 { Err("failed") } else { Ok(()) };
                    drop(block_on(handle.go(counts.child(at, output))));
                    drop(block_on(handle.go(counts.ok(1))));
                    block_on(handle.token().cancelled());
                    block_on(handle.closed());
                    assert!(block_on(handle.go(counts.ok(0))).is_err());
                })
            })
            .collect();
        let cancels = thread::spawn(move || {
            token.child().cancel();
            token.cancel();
            drop(hold);
        });
        let _ = block_on(group);
        assert_eq!(counts.get(RUNNING), 0);
        join(adds.into_iter().chain([cancels]));
        counts.check_dropped();
    });
}

#[test]
fn a_group_is_dropped_while_threads_add_children() {
    check(|| {
        let counts = Counts::default();
        let group = Group::<Plain>::new().with_limit(1);
        let threads: Vec<_> = (0..3)
            .map(|at| {
                let (handle, hold, counts) = (group.handle(), group.hold(), counts.clone());
                thread::spawn(move || {
                    handle.queue(counts.ok(1));
                    let waits = handle.reserve();
                    drop(block_on(handle.go(counts.ok(at))));
                    drop(block_on(waits).map(|slot| slot.go(counts.ok(1))));
                    block_on(handle.closed());
                    drop(hold);
                })
            })
            .collect();
        let polls = thread_rng().gen_range(0..4);
        assert!(!poll_and_drop(group, polls), "it is held open");
        join(threads);
        counts.check_dropped();
    });
}

// === children with handles ===

#[test]
fn aborts_meet_the_end_of_their_children() {
    check(|| {
        let counts = Counts::default();
        let mut group = Group::<Plain>::new().with_limit(2);
        let mut handles = Vec::new();
        for at in 0..3 {
            let counts = counts.clone();
            let child = async move { counts.ok(at).await.map(|()| at) };
            let (child, handle) = task(child).joinable();
            group.queue(child);
            handles.push((at, handle));
        }
        let threads: Vec<_> = handles
            .into_iter()
            .map(|(at, handle): (usize, ChildHandle<usize>)| {
                thread::spawn(move || {
                    if at == 0 {
                        return drop(handle.abort_on_drop());
                    }
                    handle.abort();
                    let answer = block_on(handle);
                    assert!(answer.is_err() || answer.is_ok_and(|value| value == at));
                })
            })
            .collect();
        assert_eq!(block_on(group), Ok(()));
        join(threads);
        counts.check_dropped();
    });
}

#[test]
fn children_on_threads_end_with_their_group() {
    check(|| {
        let counts = Counts::default();
        let (group, pool) = on_threads();
        let mut group = group.with_limit(2);
        for at in 0..3 {
            group.queue(counts.child(at, if at == 2 { Err("failed") } else { Ok(()) }));
        }
        let (child, joined) = task(counts.ok(1)).joinable();
        group.queue(child);
        let (handle, counted) = (group.handle(), counts.clone());
        let adds = thread::spawn(move || {
            handle.queue(counted.ok(0));
            drop(block_on(handle.go(counted.ok(0))));
            joined.abort();
            let _ = block_on(joined);
        });
        assert_eq!(block_on(group), Err("failed"));
        assert_eq!(counts.get(RUNNING), 0);
        join([adds]);
        pool.join();
        counts.check_dropped();
    });
}

#[test]
fn a_stop_counts_children_once_that_end_while_it_drops_them() {
    fn counts_each_once(until_stop: bool, with: fn(Group<OnThreads>) -> Group<OnThreads>) {
        let counts = Counts::default();
        let (group, pool) = on_threads();
        let mut group = with(group);
        let handle = group.handle();
        for _ in 0..2 {
            let child = task(counts.ok(0));
            group.queue(if until_stop { child.until_stop() } else { child });
        }
        let token = group.token().clone();
        let cancels = thread::spawn(move || token.cancel());
        assert_eq!(block_on(group), Ok(()));
        join([cancels]);
        pool.join();
        let stats = handle.stats();
        assert_eq!((stats.running, stats.ok + stats.dropped), (0, 2), "{stats:?}");
        counts.check_dropped();
    }
    check(|| counts_each_once(true, |group| group));
    check(|| counts_each_once(false, Group::drop_on_stop));
    check(|| counts_each_once(false, |group| group.with_grace(|| std::future::ready(()))));
}

#[test]
fn an_abort_and_a_drop_end_children_that_nothing_else_wakes() {
    check(|| {
        let (mut aborted, pool) = on_threads();
        let (child, joined) = task(pending::<Output>()).joinable();
        aborted.queue(child);
        let (mut dropped, others) = on_threads();
        dropped.queue(pending::<Output>());
        let aborts = thread::spawn(move || {
            joined.abort();
            assert!(block_on(joined).is_err());
        });
        let drops = thread::spawn(move || poll_and_drop(dropped, 2));
        assert_eq!(block_on(aborted), Ok(()));
        join([aborts]);
        drops.join().expect("the thread has not panicked");
        pool.join();
        others.join();
    });
}

// === tokens ===

#[test]
fn tokens_are_made_cancelled_and_dropped() {
    check(|| {
        let root = CancelToken::new();
        let middle = root.child();
        let waits: Vec<_> = [root.child(), middle.child(), middle.clone()]
            .map(|token| {
                thread::spawn(move || {
                    let child = token.child();
                    drop(token.child());
                    drop(token);
                    let early = child.cancelled();
                    block_on(child.child().cancelled());
                    block_on(early);
                    assert!(child.is_cancelled());
                    assert!(child.child().is_cancelled());
                })
            })
            .into();
        let guard = middle.child().drop_guard();
        let drops = thread::spawn(move || {
            drop(middle);
            drop(guard);
        });
        let cancels = thread::spawn(move || {
            assert!(root.cancel_with(Reason::cause("over")));
            assert!(!root.cancel());
        });
        join(waits.into_iter().chain([drops, cancels]));
    });
}

// === mixes ===

/// What the threads of a mix share beside the group.
#[derive(Clone, Default)]
struct Mix {
    counts: Counts,
    joined: Arc<Mutex<Vec<ChildHandle<()>>>>,
}

impl Mix {
    fn child(&self) -> Counted {
        let fails = thread_rng().gen_range(0..24) == 0;
        let pending = thread_rng().gen_range(0..3);
        self.counts.child(pending, if fails { Err("failed") } else { Ok(()) })
    }

    /// Does something at random.
    fn act<K: Children>(&self, handle: &Handle<K>)
    where
        Counted: Child<K>,
        Task<Joinable<Counted, ()>>: Child<K>,
    {
        match thread_rng().gen_range(0..20) {
            0..=2 => drop(block_on(handle.go(self.child()))),
            3..=4 => handle.queue(self.child()),
            5 => drop(handle.try_go(self.child())),
            6 => drop(block_on(handle.reserve()).map(|slot| slot.go(self.child()))),
            7 => drop(poll_and_drop(handle.go(self.child()), 1)),
            8 => drop(poll_and_drop(handle.reserve(), 1)),
            9..=10 => handle.set_limit(Some(thread_rng().gen_range(1..4))),
            11 => handle.set_limit(None),
            12..=13 => {
                let (child, joined) = task(self.child()).joinable();
                handle.queue(child);
                self.joined.lock().unwrap().push(joined);
            }
            14 => {
                let joined = self.joined.lock().unwrap().pop();
                drop(joined.map(|joined| joined.abort_on_drop()));
            }
            15 => {
                let joined = self.joined.lock().unwrap().pop();
                if let Some(joined) = joined {
                    joined.abort();
                    let _ = block_on(joined);
                }
            }
            16 => drop(block_on(handle.token().child().run(Counts::default().ok(2)))),
            17 => drop(handle.stats()),
            18 if thread_rng().gen_range(0..3) == 0 => handle.close(),
            19 if thread_rng().gen_range(0..3) == 0 => drop(handle.token().cancel()),
            _ => drop(poll_and_drop(handle.closed(), 1)),
        }
    }

    /// Runs threads that act on a group, which ends or is dropped.
    fn run<K>(&self, group: impl Future<Output = Output>, handle: Handle<K>, holds: [Hold; 3])
    where
        K: Children + Send + 'static,
        Handle<K>: Send,
        Counted: Child<K>,
        Task<Joinable<Counted, ()>>: Child<K>,
    {
        let threads: Vec<_> = holds
            .into_iter()
            .map(|hold| {
                let (mix, handle) = (self.clone(), handle.clone());
                thread::spawn(move || {
                    (0..3).for_each(|_| mix.act(&handle));
                    drop(hold);
                    mix.act(&handle);
                })
            })
            .collect();
        if thread_rng().gen_range(0..3) == 0 {
            poll_and_drop(group, thread_rng().gen_range(0..8));
        } else {
            let _ = block_on(group);
        }
        block_on(handle.closed());
        join(threads);
        let joined = std::mem::take(&mut *self.joined.lock().unwrap());
        for joined in joined {
            let _ = block_on(joined);
        }
    }
}

#[test]
fn a_mix_of_all_calls() {
    check(|| {
        let mix = Mix::default();
        let group = Group::<Plain>::new().with_limit(2);
        let (handle, holds) = (group.handle(), [group.hold(), group.hold(), group.hold()]);
        mix.run(group, handle, holds);
        mix.counts.check_dropped();
    });
}

#[test]
fn a_mix_of_all_calls_on_threads() {
    check(|| {
        let mix = Mix::default();
        let (group, pool) = on_threads();
        let group = group.with_limit(2);
        let (handle, holds) = (group.handle(), [group.hold(), group.hold(), group.hold()]);
        mix.run(group, handle, holds);
        pool.join();
        mix.counts.check_dropped();
    });
}
