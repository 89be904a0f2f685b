//! What an operation costs does not grow with the number of children that wait.
//!
//! The cost is counted in instructions, by valgrind, so that it depends neither on the machine nor
//! on its load; without valgrind nothing is tested. Each case is measured at two sizes: what takes
//! logarithmic time passes, and what takes linear time does not.

use std::collections::BTreeMap;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::{env, fs, mem};

use common::{Fixture, Job, MockTask, job, waits};
use errgroup::{Boxed, ChildHandle, Group, Hold, Key, Semaphore, Slot, Spawned, Task, task};
use futures::stream::{self, FuturesUnordered, StreamExt};

#[path = "it/common.rs"]
#[allow(dead_code)]
mod common;

/// How many children wait in the small and in the large run of a case.
const SIZES: [usize; 2] = [200, 1600];

/// At most so many times the cost of the small run may be that of the large one.
const GROWTH: f64 = 1.8;

/// The sizes of the cases with a whole life of many children.
const MANY: [usize; 2] = [1_000, 8_000];

/// At most so many times the cost of a child with a weight may be that of one with a key of its
/// own, in a group with a limit by key and a build without optimizations; `benches/instructions`
/// has the figures with them.
const KEY_BESIDE_WEIGHT: f64 = 1.9;

/// How many times an operation is done, unless it is done once for each child.
const TIMES: usize = 24;

/// Begins the lines in which a run tells what it measures.
const MARK: &str = "measured";

type Kind = Boxed<'static, usize, &'static str>;
type Entry = Pin<Box<dyn Future<Output = ()>>>;

/// Calls what is measured; valgrind knows the function by its name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
    std::hint::black_box(());
}

/// A run of a case, at one size.
struct Run {
    case: &'static str,
    size: usize,
}

impl Run {
    /// Measures work that does an operation so many times.
    fn measure(&self, operation: &str, times: usize, mut work: impl FnMut()) {
        println!("\n{MARK}\t{}\t{times}\t{}: {operation}", self.size, self.case);
        measured(&mut work);
    }

    /// Measures what a limit admits that is raised above all that wait.
    fn measure_raised(&self, make: MakeLine) {
        let mut scene = make(self.size);
        self.measure("all are admitted for which a raised limit makes room", self.size, || {
            scene.it.handle.set_limit(Some(10 * self.size));
            scene.settle();
        });
    }
}

/// Numbers in an order that looks random.
fn shuffled(len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    let mut seed = 1_u64;
    for n in (1..len).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(n, (seed >> 33) as usize % (n + 1));
    }
    order
}

/// A group with children that run, and a line of others.
struct Scene {
    it: Fixture,
    /// The numbers of the children that have begun and not ended, in this order.
    begun: Arc<Mutex<Vec<usize>>>,
    children: usize,
    /// The futures in the line.
    entries: Vec<Option<Entry>>,
    /// Those of them that were woken.
    woken: Arc<Mutex<Vec<usize>>>,
}

struct WakeEntry(usize, Arc<Mutex<Vec<usize>>>);

impl std::task::Wake for WakeEntry {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

impl Scene {
    fn new(group: Group<Kind>) -> Self {
        Self {
            it: Fixture::of(group),
            begun: Arc::default(),
            children: 0,
            entries: Vec::new(),
            woken: Arc::default(),
        }
    }

    fn limited(limit: usize) -> Self {
        Self::new(Group::new().with_limit(limit))
    }

    /// Makes a child that waits until it is [ended](Self::end).
    fn child(&mut self) -> Job {
        let number = self.children;
        self.children += 1;
        let (begun, door) = (Arc::clone(&self.begun), self.it.gate.wait(number));
        job(async move {
            begun.lock().unwrap().push(number);
            door.await;
            Ok(number)
        })
    }

    /// Makes a child that waits in a `go`, and then until it is ended.
    fn nested(&mut self) -> Job {
        let (handle, inner, outer) = (self.it.handle.clone(), self.child(), self.child());
        job(async move {
            handle.go(inner).await.map_err(|_| "stopped")?;
            outer.await
        })
    }

    /// Queues children that run.
    fn run(&mut self, count: usize) {
        for _ in 0..count {
            let child = self.child();
            self.it.group.queue(child);
        }
        self.settle();
    }

    fn add(&mut self, entry: impl Future<Output = ()> + 'static) {
        self.entries.push(Some(Box::pin(entry)));
        self.poll_entry(self.entries.len() - 1);
    }

    fn go(&mut self, child: Task<Job>) {
        let go = self.it.handle.go(child);
        self.add(async move { drop(go.await) });
    }

    fn poll_entry(&mut self, at: usize) {
        if let Some(entry) = &mut self.entries[at] {
            let waker = Waker::from(Arc::new(WakeEntry(at, Arc::clone(&self.woken))));
            if entry.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.entries[at] = None;
            }
        }
    }

    /// Polls all that was woken, until nothing is.
    fn settle(&mut self) {
        loop {
            assert!(self.it.run().is_pending());
            let woken = mem::take(&mut *self.woken.lock().unwrap());
            if woken.is_empty() {
                return;
            }
            woken.into_iter().for_each(|at| self.poll_entry(at));
        }
    }

    /// Lets the child end that has begun last.
    fn end(&mut self) {
        let number = self.begun.lock().unwrap().pop().expect("a child runs");
        self.it.gate.open(number);
        self.settle();
    }
}

// === lines ===

/// Makes a line of so many entries; at least one child runs, and ends when it is told.
type MakeLine = fn(usize) -> Scene;

const LINES: &[(&str, MakeLine)] = &[
    ("children", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64 + size);
        scene
    }),
    ("daemons before a child", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for _ in 0..size {
            let daemon = task(scene.child()).daemon();
            scene.it.group.queue(daemon);
        }
        scene.run(1);
        scene
    }),
    ("prioritized children", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for n in shuffled(size) {
            let child = task(scene.child()).priority(n as i32);
            scene.it.group.queue(child);
        }
        scene
    }),
    ("weighted children", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for n in 0..size {
            let child = task(scene.child()).weight(n % 3);
            scene.it.group.queue(child);
        }
        scene
    }),
    ("children of one key", |size| {
        let mut scene = Scene::new(Group::new().with_key_limit(1));
        for _ in 0..=size {
            let child = task(scene.child()).key("one");
            scene.it.group.queue(child);
        }
        scene.settle();
        scene
    }),
    ("children of as many keys, which have room", |size| {
        let mut scene = Scene::new(Group::new().with_limit(64).with_key_limit(1));
        scene.run(64);
        for n in 0..size {
            let child = task(scene.child()).key(n);
            scene.it.group.queue(child);
        }
        scene
    }),
    ("children of as many keys, which are full", |size| {
        let mut scene = Scene::new(Group::new().with_key_limit(1));
        for n in (0..size).chain(0..size) {
            let child = task(scene.child()).key(n);
            scene.it.group.queue(child);
        }
        scene.settle();
        scene
    }),
    ("unique children of one key", |size| {
        let mut scene = Scene::new(Group::new());
        for _ in 0..=size {
            let child = task(scene.child()).key("one").unique();
            scene.it.group.queue(child);
        }
        scene.settle();
        scene
    }),
    ("unique gos of one key", |size| {
        let mut scene = Scene::new(Group::new());
        for _ in 0..=size {
            let child = task(scene.child()).key("one").unique();
            scene.go(child);
        }
        scene.settle();
        scene
    }),
    ("prioritized and weighted children of some keys", |size| {
        let mut scene = Scene::new(Group::new().with_limit(64).with_key_limit(8));
        scene.run(64);
        for n in shuffled(size) {
            let child = task(scene.child()).key(n % 16).priority(n as i32 % 5).weight(n % 3);
            scene.it.group.queue(child);
        }
        scene
    }),
    ("gos of daemons", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for _ in 0..size {
            let daemon = task(scene.child()).daemon();
            scene.go(daemon);
        }
        scene
    }),
    ("daemons among children and gos", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for n in 0..size {
            let child = task(scene.child()).priority(n as i32 % 2);
            let child = if n % 4 < 2 { child.daemon() } else { child };
            if n % 3 == 0 { scene.go(child) } else { scene.it.group.queue(child) }
        }
        scene
    }),
    ("waiting gos", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for _ in 0..size {
            let child = task(scene.child());
            scene.go(child);
        }
        scene
    }),
    ("prioritized gos", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for n in shuffled(size) {
            let child = task(scene.child()).priority(n as i32 % 100);
            scene.go(child);
        }
        scene
    }),
    ("weighted gos", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for n in 0..size {
            let child = task(scene.child()).weight(n % 3);
            scene.go(child);
        }
        scene
    }),
    ("keyed gos", |size| {
        let mut scene = Scene::new(Group::new().with_limit(64).with_key_limit(2));
        scene.run(64);
        for n in 0..size {
            let child = task(scene.child()).key(n / 8);
            scene.go(child);
        }
        scene
    }),
    ("gos of one key", |size| {
        let mut scene = Scene::new(Group::new().with_key_limit(1));
        for _ in 0..=size {
            let child = task(scene.child()).key("one");
            scene.go(child);
        }
        scene.settle();
        scene
    }),
    ("gos inside as many children", |size| {
        let mut scene = Scene::limited(size + 1);
        for _ in 0..size {
            let child = scene.nested();
            scene.it.group.queue(child);
        }
        scene.run(1);
        scene
    }),
    ("gos inside one child", |size| {
        let mut scene = Scene::limited(65);
        let handle = scene.it.handle.clone();
        let gos: FuturesUnordered<_> = (0..size).map(|_| handle.go(scene.child())).collect();
        scene.run(64);
        scene.it.group.queue(job(async move {
            gos.collect::<Vec<_>>().await;
            Ok(0)
        }));
        scene.settle();
        scene
    }),
    ("gos inside a child with a daemon and a hold", |size| {
        let mut scene = Scene::limited(3);
        let handle = scene.it.handle.clone();
        let gos: FuturesUnordered<_> = (0..size).map(|_| handle.go(scene.child())).collect();
        scene.it.group.queue(task(job(pending())).daemon());
        scene.run(1);
        mem::forget(scene.it.handle.hold());
        scene.it.group.queue(job(async move {
            gos.collect::<Vec<_>>().await;
            Ok(0)
        }));
        scene.settle();
        scene
    }),
    ("reservations", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for _ in 0..size {
            let (reserve, child) = (scene.it.handle.reserve(), scene.child());
            scene.add(async move {
                if let Ok(slot) = reserve.await {
                    assert!(slot.go(child).is_ok());
                }
            });
        }
        scene
    }),
    ("feeds", |size| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for _ in 0..size {
            let children = [scene.child(), scene.child()];
            let feed = scene.it.handle.feed(stream::iter(children));
            scene.add(async move { _ = feed.await });
        }
        scene
    }),
    ("feeds of keyed children", |size| {
        let mut scene = Scene::new(Group::new().with_limit(64).with_key_limit(1));
        scene.run(8);
        for n in 0..size {
            let children = [scene.child(), scene.child()].map(|child| task(child).key(n % 16));
            let feed = scene.it.handle.feed(stream::iter(children));
            scene.add(async move { _ = feed.await });
        }
        scene.settle();
        scene
    }),
    ("children without a permit", |size| {
        let mut scene = Scene::new(Group::new().with_semaphore(Arc::new(Semaphore::new(64))));
        scene.run(64 + size);
        scene
    }),
    ("gos without a permit", |size| {
        let mut scene = Scene::new(Group::new().with_semaphore(Arc::new(Semaphore::new(64))));
        scene.run(64);
        for _ in 0..size {
            let child = task(scene.child());
            scene.go(child);
        }
        scene
    }),
    ("children at a gate", |size| {
        let permits = Arc::new(Semaphore::new(64));
        let gate = move |_: &errgroup::Ask<'_>| permits.acquire_arc();
        let mut scene = Scene::new(Group::new().with_gate(gate));
        scene.run(64 + size);
        scene
    }),
    ("gos at a gate", |size| {
        let permits = Arc::new(Semaphore::new(64));
        let gate = move |_: &errgroup::Ask<'_>| permits.acquire_arc();
        let mut scene = Scene::new(Group::new().with_gate(gate));
        scene.run(64);
        for _ in 0..size {
            let child = task(scene.child());
            scene.go(child);
        }
        scene
    }),
    ("children of a full queue", |size| {
        let mut scene = Scene::new(Group::new().with_limit(64).with_queue_limit(size));
        scene.run(64 + size);
        scene
    }),
    ("children that are observed", |size| {
        let mut scene =
            Scene::new(Group::new().with_limit(64).with_observer(|event: &errgroup::Event| {
                std::hint::black_box(event);
            }));
        for _ in 0..64 + size {
            let child = task(scene.child()).name("observed");
            scene.it.group.queue(child);
        }
        scene.settle();
        scene
    }),
];

/// Measures what there is to do beside a line.
fn measure_line(run: &Run, make: MakeLine) {
    let scene = &mut make(run.size);
    run.measure("a child is queued, and another ends", TIMES, || {
        for _ in 0..TIMES {
            let child = scene.child();
            scene.it.group.queue(child);
            scene.end();
        }
    });
    run.measure("a go is polled and dropped", TIMES, || {
        for n in 0..TIMES {
            let child = task(scene.child()).priority(n as i32 % 3);
            let mut go = scene.it.handle.go(child);
            let _ = scene.it.task.poll(&mut go);
            drop(go);
            scene.settle();
        }
    });
    run.measure("children and gos are refused or dropped", TIMES, || {
        for _ in 0..TIMES {
            let child = scene.child();
            drop(scene.it.handle.try_go(child));
            let child = task(scene.child()).key("one").unique();
            drop(scene.it.handle.try_go(child));
            let mut ready = scene.it.group.ready();
            let _ = scene.it.task.poll(&mut ready);
            std::hint::black_box(scene.it.handle.stats());
        }
    });
    run.measure("it is held open", TIMES, || {
        for _ in 0..TIMES {
            let hold: Hold = scene.it.handle.hold();
            scene.settle();
            drop(hold);
            scene.settle();
        }
    });
    run.measure("a key's limit is changed", TIMES, || {
        let key = Key::from("another");
        for n in 0..TIMES {
            scene.it.handle.set_key_limit(&key, Some(n));
            scene.settle();
        }
    });
    let limit = scene.it.handle.limit().unwrap_or(scene.it.handle.stats().running);
    run.measure("the limit is lowered and raised", TIMES, || {
        for n in 0..TIMES {
            scene.it.handle.set_limit(Some(limit - n % 2));
            scene.settle();
        }
    });
    run.measure("the limit is raised by one at a time", TIMES, || {
        for n in 0..TIMES {
            scene.it.handle.set_limit(Some(limit + n));
            scene.settle();
        }
    });
    if !scene.entries.is_empty() {
        let order = shuffled(scene.entries.len());
        run.measure("futures are dropped in any order", order.len(), || {
            order.iter().for_each(|&at| scene.entries[at] = None);
            scene.settle();
        });
    }
    if !scene.entries.is_empty() {
        let scene = &mut make(run.size);
        run.measure("futures are told of a stop", scene.entries.len(), || {
            scene.it.handle.token().cancel();
            scene.settle();
        });
    }
    run.measure_raised(make);
    scene.it.handle.set_limit(Some(1));
    let queued = scene.it.handle.stats().queued;
    if queued > run.size / 2 {
        run.measure("children are dropped by a stop", queued, || {
            scene.it.handle.token().cancel();
            let _ = scene.it.run();
        });
    }
}

// === other cases ===

type Case = (&'static str, fn(&Run));

const CASES: &[Case] = &[
    ("joinable children", |run| {
        let mut group = Group::<Boxed<'static, (), ()>>::new().with_limit(64);
        let task = MockTask::new();
        let joins = |group: &mut Group<_>, count| -> Vec<ChildHandle<()>> {
            let children = (0..count).map(|_| {
                let (child, join) = errgroup::task(pending::<Result<(), ()>>()).joinable();
                group.queue(child);
                join
            });
            children.collect()
        };
        let _running = joins(&mut group, 64);
        let queued = joins(&mut group, run.size);
        assert!(task.run(&mut group).is_pending());
        let order = shuffled(run.size);
        run.measure("queued ones are aborted in any order", run.size, || {
            order.iter().for_each(|&at| queued[at].abort());
            assert!(task.run(&mut group).is_pending());
        });
        let mut group = Group::new();
        let running = joins(&mut group, run.size + 1);
        assert!(task.run(&mut group).is_pending());
        run.measure("running ones are aborted in any order", run.size, || {
            for &at in &order {
                running[at].abort();
                assert!(task.run(&mut group).is_pending());
            }
        });
    }),
    ("named groups below another", |run| {
        let top = Group::<Kind>::new().with_name("top");
        let make = || Group::<Kind>::new().with_parent(top.token()).with_name("one of many");
        let below: Vec<_> = (0..run.size).map(|_| make()).collect();
        run.measure("all are in a snapshot", run.size, || {
            assert_eq!(top.snapshot().groups.len(), below.len());
        });
        run.measure("one is made and dropped", TIMES, || (0..TIMES).for_each(|_| drop(make())));
    }),
    ("results in order", |run| {
        // The first is slow, the second waits in a nested go, and the others have finished.
        let scene = Scene::limited(1);
        let (gate, count) = (scene.it.gate.clone(), run.size + TIMES);
        let mut results = Group::<Kind>::new().with_limit(count + 2).results().in_order();
        let (handle, inner) = (results.handle(), waits(&gate, count + 2));
        results.queue(waits(&gate, 0));
        results.queue(job(async move {
            futures::pending!();
            handle.go(inner).await.map(|()| 1).map_err(|_| "stopped")
        }));
        (0..count).for_each(|n| results.queue(waits(&gate, n + 2)));
        let task = MockTask::new();
        let mut end = |n: usize| {
            gate.open(n + 2);
            assert!(task.run(&mut results.next()).is_pending());
        };
        (0..run.size).for_each(&mut end);
        run.measure("one finishes", TIMES, || (run.size..count).for_each(&mut end));
        gate.open(0);
        assert!(task.run(&mut results.next()).is_ready());
    }),
    ("results that are ahead of the reader", |run| {
        for in_order in [false, true] {
            let results = Group::<Kind>::new().with_limit(8).results().buffered(run.size / 2);
            let mut results = if in_order { results.in_order() } else { results };
            (0..run.size).for_each(|n| results.queue(job(ready(Ok(n)))));
            let task = MockTask::new();
            assert!(task.run(&mut results.next()).is_ready());
            let operation = if in_order { "one is fetched in order" } else { "one is fetched" };
            run.measure(operation, TIMES, || {
                (0..TIMES).for_each(|_| assert!(task.run(&mut results.next()).is_ready()));
            });
        }
    }),
    ("one child that polls all gos at each poll", |run| {
        let mut scene = Scene::limited(1);
        let gos: Vec<_> = (0..run.size).map(|_| scene.it.handle.go(job(ready(Ok(0))))).collect();
        scene.it.group.queue(job(async move {
            gos.into_iter().collect::<FuturesUnordered<_>>().collect::<Vec<_>>().await;
            Ok(0)
        }));
        run.measure("each is admitted", run.size, || assert!(scene.it.run().is_ready()));
    }),
    ("gos that children have handed on", |run| {
        let mut scene = Scene::limited(run.size);
        let (sender, mut gos) = futures::channel::mpsc::unbounded();
        let door = scene.it.gate.wait(usize::MAX);
        let begin = futures::FutureExt::shared(door);
        for _ in 0..run.size {
            let (handle, inner, outer) = (scene.it.handle.clone(), scene.child(), scene.child());
            let (sender, begin) = (sender.clone(), begin.clone());
            scene.it.group.queue(job(async move {
                begin.await;
                let mut go = handle.go(inner);
                assert!(futures::poll!(&mut go).is_pending());
                assert!(sender.unbounded_send(go).is_ok());
                outer.await
            }));
        }
        scene.settle();
        scene.it.gate.open(usize::MAX);
        scene.settle();
        let mut kept = Vec::new();
        while let Ok(go) = gos.try_recv() {
            kept.push(go);
        }
        assert_eq!(kept.len(), run.size);
        scene.it.handle.set_limit(Some(1));
        let (few, most) = (run.size / 8, run.size - run.size / 8);
        let order = shuffled(run.size);
        let end = |scene: &mut Scene, range: std::ops::Range<usize>| {
            for &at in &order[range] {
                let number = scene.begun.lock().unwrap()[at];
                scene.it.gate.open(number);
                scene.settle();
            }
        };
        run.measure("the children end", most, || end(&mut scene, 0..most));
        let mut kept = kept.into_iter();
        run.measure("a go is dropped, and a child ends", few, || {
            for at in most..run.size {
                drop(kept.next());
                end(&mut scene, at..at + 1);
                if at + 2 == run.size {
                    return;
                }
            }
        });
    }),
    ("a limit that is raised for all", |run| {
        let mut scene = Scene::limited(1);
        scene.run(1 + run.size);
        run.measure("a child is admitted", run.size, || {
            scene.it.handle.set_limit(None);
            scene.settle();
        });
        let mut scene = Scene::limited(1);
        scene.run(1);
        for _ in 0..run.size {
            let child = task(scene.child());
            scene.go(child);
        }
        run.measure("a go is admitted", run.size, || {
            scene.it.handle.set_limit(None);
            scene.settle();
        });
    }),
    ("gos that are given up before one without a weight", |run| {
        let mut scene = Scene::limited(1);
        scene.run(1);
        let child = task(scene.child());
        scene.go(child);
        for _ in 0..run.size {
            let child = scene.child();
            scene.it.group.queue(child);
        }
        for weight in (0..run.size).map(|_| 1).chain([0]) {
            let child = task(scene.child()).weight(weight);
            scene.go(child);
        }
        // Each gets its turn.
        scene.it.handle.set_limit(Some(10 * run.size));
        scene.it.handle.set_limit(Some(1));
        run.measure("one is dropped, and a child refused", run.size, || {
            for at in 1..=run.size {
                scene.entries[at] = None;
                assert!(scene.it.handle.try_go(scene.it.child(0)).is_err());
            }
        });
    }),
    ("gos that have their turn and do not come", |run| {
        let mut scene = Scene::limited(1);
        scene.run(1);
        for _ in 0..run.size {
            let child = task(scene.child());
            scene.go(child);
        }
        // Each gets its turn, and is woken.
        scene.it.handle.set_limit(None);
        run.measure("the limit is toggled", TIMES, || {
            (0..TIMES).for_each(|n| scene.it.handle.set_limit([Some(1), None][n % 2]));
        });
        run.measure("the limit is toggled, and the group polled", TIMES, || {
            for n in 0..TIMES {
                scene.it.handle.set_limit([Some(1), None][n % 2]);
                let _ = scene.it.task.poll(&mut scene.it.group);
            }
        });
        scene.settle();
    }),
    ("holds that are kept", |run| {
        let mut scene = Scene::limited(1);
        let mut holds: Vec<_> = (0..run.size).map(|_| Some(scene.it.handle.hold())).collect();
        scene.run(1);
        let order = shuffled(run.size);
        run.measure("they are dropped in any order", run.size, || {
            for &at in &order {
                holds[at] = None;
                scene.settle();
            }
        });
    }),
    ("waits for a token, and tokens below it", |run| {
        let token = errgroup::CancelToken::new();
        let task = MockTask::new();
        let waits = |token: &errgroup::CancelToken| -> Vec<_> {
            let wait = |_| {
                let mut wait = token.cancelled();
                assert!(task.poll(&mut wait).is_pending());
                Some((wait, token.child()))
            };
            (0..run.size).map(wait).collect()
        };
        let order = shuffled(run.size);
        let mut dropped = waits(&token);
        run.measure("they are dropped in any order", run.size, || {
            order.iter().for_each(|&at| dropped[at] = None);
        });
        let _told = waits(&token);
        run.measure("they are told of a cancel", run.size, || {
            token.cancel();
        });
    }),
    ("gos of a group that is closed", |run| {
        let mut scene = Scene::limited(1);
        scene.run(1);
        for _ in 0..run.size {
            let child = task(scene.child());
            scene.go(child);
        }
        run.measure("a go is given back", run.size, || {
            scene.it.handle.close();
            scene.settle();
        });
    }),
    ("the limit of a key", |run| {
        let mut scene = Scene::limited(64);
        scene.run(64);
        for n in 0..run.size {
            let child = task(scene.child()).key(n % 2);
            scene.go(child);
        }
        run.measure("toggled, with no room in the group", TIMES, || {
            for n in 0..TIMES {
                scene.it.handle.set_key_limit(&Key::from(0), [Some(0), None][n % 2]);
            }
        });
    }),
    ("slots that are kept", |run| {
        let mut scene = Scene::limited(2 * run.size);
        let mut slots: Vec<Option<Slot<Kind>>> = Vec::new();
        for _ in 0..run.size {
            let reserved = scene.it.task.finish(scene.it.handle.reserve());
            slots.push(reserved.ok());
        }
        scene.run(1);
        let order = shuffled(run.size);
        run.measure("they are dropped in any order", run.size, || {
            order.iter().for_each(|&at| drop(slots[at].take()));
            scene.settle();
        });
    }),
    ("running children with options", |run| {
        let mut scene = Scene::new(Group::new());
        for n in 0..run.size {
            let child = task(scene.child()).weight(n % 3).name("n").key(n);
            let child = if n % 5 == 0 { child.until_stop() } else { child };
            scene.it.group.queue(child);
        }
        scene.run(1);
        let order = shuffled(run.size);
        run.measure("they end in any order", run.size, || {
            for &number in &order {
                scene.it.gate.open(number);
                scene.settle();
            }
        });
    }),
    ("running children that end with the stop", |run| {
        let mut scene = Scene::new(Group::new());
        for _ in 0..run.size {
            let child = task(scene.child()).until_stop();
            scene.it.group.queue(child);
        }
        scene.run(TIMES);
        run.measure("one ends", run.size, || {
            scene.it.handle.token().cancel();
            scene.settle();
        });
        run.measure("another child ends after that", TIMES - 1, || {
            (1..TIMES).for_each(|_| scene.end());
        });
    }),
    ("a group without handles", |run| {
        let gate = common::Gate::new();
        let mut group = Group::<Kind>::new().with_limit(TIMES);
        (0..TIMES + run.size).for_each(|n| group.queue(waits(&gate, n)));
        let task = MockTask::new();
        assert!(task.run(&mut group).is_pending());
        run.measure("one ends, and the limit changes", TIMES, || {
            for n in 0..TIMES {
                gate.open(n);
                assert!(task.run(&mut group).is_pending());
                group.set_limit(Some(TIMES + n % 2));
            }
        });
    }),
    ("a group whose children are spawned", |run| {
        // The executor is full: no child that it has begins.
        let mut group = Group::<Spawned<usize, &'static str>>::on(drop);
        group.set_limit(Some(0));
        (0..run.size).for_each(|n| group.queue(job(ready(Ok(n)))));
        group.set_limit(Some(run.size));
        run.measure("the limit is changed", TIMES, || {
            (0..TIMES).for_each(|n| group.set_limit(Some(run.size - n)));
        });
    }),
    ("tasks that wait for the end of a group", |run| {
        let scene = Scene::limited(1);
        let mut closed: Vec<_> = (0..run.size).map(|_| Some(scene.it.handle.closed())).collect();
        let task = MockTask::new();
        closed.iter_mut().flatten().for_each(|it| assert!(task.poll(it).is_pending()));
        let order = shuffled(run.size);
        run.measure("they are dropped in any order", run.size, || {
            order.iter().for_each(|&at| closed[at] = None);
        });
    }),
];

/// Cases that are compared with one another.
const LIVES: &[Case] = &[
    (KEYED, |run| {
        run.measure("from its queue to its end", run.size, || {
            let mut group = Group::<Kind>::new().with_limit(64).with_key_limit(1);
            for n in 0..run.size {
                group.queue(task(job(ready(Ok(n)))).key(n));
            }
            assert!(MockTask::new().run(&mut group).is_ready());
        });
    }),
    (WEIGHTED, |run| {
        run.measure("from its queue to its end", run.size, || {
            let mut group = Group::<Kind>::new().with_limit(64).with_key_limit(1);
            for n in 0..run.size {
                group.queue(task(job(ready(Ok(n)))).weight(2));
            }
            assert!(MockTask::new().run(&mut group).is_ready());
        });
    }),
];

const KEYED: &str = "a child with a key of its own";
const WEIGHTED: &str = "a child with a weight";

// === the test ===

/// Measures all cases, at both sizes. Valgrind runs this.
fn measure_all(only: &str) {
    for &(case, make) in LINES.iter().filter(|(case, _)| case.contains(only)) {
        for size in SIZES {
            measure_line(&Run { case, size }, make);
        }
    }
    for &(case, measure) in CASES.iter().filter(|(case, _)| case.contains(only)) {
        for size in SIZES {
            measure(&Run { case, size });
        }
    }
    for &(case, measure) in LIVES.iter().filter(|(case, _)| case.contains(only)) {
        for size in MANY {
            measure(&Run { case, size });
        }
    }
}

/// Returns the instructions of each operation at both sizes, or `None` without valgrind.
fn count() -> Option<BTreeMap<String, Vec<f64>>> {
    let dir = tempfile::tempdir().expect("a directory for what valgrind writes");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args(["--toggle-collect=growth::measured", "--dump-after=growth::measured"])
        .arg(format!("--callgrind-out-file={}/out", dir.path().display()))
        .arg(env::current_exe().expect("the path of the test"))
        .args(["--exact", "no_operation_is_linear_in_the_line", "--nocapture"])
        .args(["--test-threads", "1"])
        .env(CHILD, "1")
        .output();
    let output = match output {
        Ok(output) => output,
        Err(_) => return None,
    };
    let (out, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{log}");
    let mut counts = BTreeMap::<String, Vec<f64>>::new();
    let lines = out.lines().filter_map(|line| line.strip_prefix(MARK));
    for (at, line) in lines.enumerate() {
        let mut fields = line.split('\t').skip(1);
        let mut field = || fields.next().expect("three fields");
        let (_size, times, name) = (field(), field(), field());
        let path = dir.path().join(format!("out.{}", at + 1));
        let dump = fs::read_to_string(path).expect("a dump of what was measured");
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: f64 = total.expect("a total").parse().expect("a number");
        let times: f64 = times.parse().expect("a number");
        counts.entry(name.to_owned()).or_default().push(total / times);
    }
    Some(counts)
}

/// Tells a process that valgrind runs it.
const CHILD: &str = "GROWTH_CHILD";

/// Selects the cases whose names contain this.
const ONLY: &str = "GROWTH_ONLY";

#[test]
fn no_operation_is_linear_in_the_line() {
    if env::var_os(CHILD).is_some() {
        return measure_all(&env::var(ONLY).unwrap_or_default());
    }
    let Some(counts) = count() else {
        eprintln!("valgrind is not there: nothing was measured");
        return;
    };
    let mut linear = Vec::new();
    for (name, costs) in &counts {
        let (few, many) = (costs[0], costs[costs.len() - 1]);
        let growth = many / few;
        println!("{growth:6.2} {few:10.0} {many:10.0}  {name}");
        if growth > GROWTH {
            linear.push(name);
        }
    }
    assert!(linear.is_empty(), "these grow: {linear:#?}");
    let costs = |case| counts.get(&format!("{case}: from its queue to its end"));
    for (keyed, weighted) in
        costs(KEYED).into_iter().flatten().zip(costs(WEIGHTED).into_iter().flatten())
    {
        let times = keyed / weighted;
        assert!(times < KEY_BESIDE_WEIGHT, "a key costs {times:.2} times what a weight does");
    }
}
