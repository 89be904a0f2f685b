//! Limits by key: which children run, which wait, and for what.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use crate::common::{
    Fixture, Gate, Job, Log, MockTask, OnDrop, Random, is_ok, job, panic_message, waits, yield_now,
};
use errgroup::{Boxed, Event, Group, Key, Task, TryGoError, task};
use futures::stream;

type Kind = Boxed<'static, usize, &'static str>;

/// A group whose children log when they begin and end.
struct Scene {
    it: Fixture,
    running: BTreeSet<usize>,
    /// The children in the order in which they began.
    begun: Vec<usize>,
}

impl Scene {
    fn new(group: Group<Kind>) -> Self {
        Self { it: Fixture::of(group), running: BTreeSet::new(), begun: Vec::new() }
    }

    fn child(&self, number: usize, key: impl Into<Key>) -> Task<Job> {
        task(self.it.child(number)).key(key)
    }

    fn queue(&mut self, number: usize, key: impl Into<Key>) {
        let child = self.child(number, key);
        self.it.group.queue(child);
    }

    /// Polls the group, and returns the numbers of the children that run.
    fn run(&mut self) -> Vec<usize> {
        assert!(self.it.run().is_pending());
        for line in self.it.log.take() {
            let number = line[1..].parse().unwrap();
            if line.starts_with('+') {
                self.running.insert(number);
                self.begun.push(number);
            } else {
                self.running.remove(&number);
            }
        }
        self.running.iter().copied().collect()
    }

    /// Lets these children end, and returns the numbers of those that run then.
    fn end(&mut self, numbers: impl IntoIterator<Item = usize>) -> Vec<usize> {
        numbers.into_iter().for_each(|number| self.it.gate.open(number));
        self.run()
    }
}

fn limited(limit: usize, key_limit: usize) -> Scene {
    Scene::new(Group::new().with_limit(limit).with_key_limit(key_limit))
}

#[test]
fn a_full_key_delays_no_child_of_another_key_or_without_one() {
    let mut scene = limited(10, 2);
    (0..5).for_each(|n| scene.queue(n, "a"));
    (5..8).for_each(|n| scene.queue(n, "b"));
    let plain = scene.it.child(8);
    scene.it.group.queue(plain);
    assert_eq!(scene.run(), [0, 1, 5, 6, 8]);
    assert_eq!(scene.end([1]), [0, 2, 5, 6, 8]);
    assert_eq!(scene.end([5, 6]), [0, 2, 7, 8]);
    assert_eq!(scene.end([0, 2, 7, 8]), [3, 4]);
    assert_eq!(scene.it.handle.stats().queued, 0);
    scene.it.gate.open(3);
    scene.it.gate.open(4);
    assert!(is_ok(scene.it.run()));
}

#[test]
fn a_weight_counts_in_the_group_and_in_the_key() {
    let mut scene = limited(6, 4);
    for (n, weight) in [(0, 3), (1, 2), (2, 1)] {
        let child = scene.child(n, "a").weight(weight);
        scene.it.group.queue(child);
    }
    assert_eq!(scene.run(), [0], "no light child passes a heavier one of its key");
    let child = scene.child(3, "b").weight(4);
    scene.it.group.queue(child);
    assert_eq!(scene.run(), [0], "there is no room in the group");
    assert_eq!(scene.end([0]), [1, 2], "the order of the whole queue");
    assert_eq!(scene.end([2]), [1, 3]);
}

#[test]
fn a_child_heavier_than_its_key_is_alone_in_it() {
    let mut scene = limited(10, 2);
    scene.queue(0, 1);
    let child = scene.child(1, 1).weight(5);
    scene.it.group.queue(child);
    scene.queue(2, 1);
    scene.queue(3, 2);
    assert_eq!(scene.run(), [0, 3]);
    assert_eq!(scene.end([0]), [1, 3]);
    assert_eq!(scene.end([1]), [2, 3]);
}

#[test]
fn within_a_key_priority_counts_and_then_the_arrival() {
    let mut scene = limited(10, 1);
    for (n, priority) in [0, 0, 0, 7, 7, -1].into_iter().enumerate() {
        let child = scene.child(n, "a").priority(priority);
        scene.it.group.queue(child);
    }
    scene.run();
    (0..5).for_each(|n| _ = scene.end([[0, 3, 4, 1, 2][n]]));
    assert_eq!(scene.begun, [0, 3, 4, 1, 2, 5]);
}

#[test]
fn what_a_key_has_room_for_starts_in_the_order_of_the_whole_queue() {
    let mut scene = limited(2, 1);
    scene.queue(0, "a");
    scene.queue(1, "b");
    for (n, key, priority) in [(2, "a", 0), (3, "c", 0), (4, "b", 1), (5, "d", 1), (6, "a", 2)] {
        let child = scene.child(n, key).priority(priority);
        scene.it.group.queue(child);
    }
    scene.run();
    for n in [1, 4, 5, 3, 0, 6] {
        scene.end([n]);
    }
    assert_eq!(scene.begun, [0, 1, 4, 5, 3, 6, 2]);
}

#[test]
fn room_is_kept_for_a_heavy_child_that_lacks_only_the_groups() {
    let mut scene = limited(3, 2);
    (0..3).for_each(|n| scene.queue(n, n));
    let heavy = scene.child(3, "h").weight(2);
    scene.it.group.queue(heavy);
    (4..8).for_each(|n| scene.queue(n, n));
    assert_eq!(scene.run(), [0, 1, 2]);
    assert_eq!(scene.end([0]), [1, 2], "one is free, and is kept");
    assert_eq!(scene.end([1]), [2, 3]);
}

#[test]
fn the_limit_of_one_key_is_changed_at_any_time() {
    let mut scene = limited(20, 2);
    let (a, handle) = (Key::from("a"), scene.it.handle.clone());
    (0..8).for_each(|n| scene.queue(n, "a"));
    scene.queue(8, "b");
    scene.queue(9, "b");
    scene.queue(10, "b");
    assert_eq!(scene.run(), [0, 1, 8, 9]);
    handle.set_key_limit(&a, Some(4));
    assert_eq!(handle.stats().running, 6, "at once");
    assert_eq!(scene.run(), [0, 1, 2, 3, 8, 9]);
    scene.it.group.set_key_limit(&a, Some(1));
    assert_eq!(scene.end([0, 1, 2]), [3, 8, 9]);
    handle.set_key_limit(&a, Some(0));
    assert_eq!(scene.end([3]), [8, 9]);
    handle.set_key_limit(&a, Some(2));
    assert_eq!(scene.run(), [4, 5, 8, 9]);
    handle.set_key_limit(&a, None);
    assert_eq!(scene.run(), [4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_lower_limit_of_a_key_holds_for_a_waiter_that_has_room() {
    let mut scene = limited(9, 1);
    scene.queue(0, "a");
    scene.run();
    let (handle, task) = (scene.it.handle.clone(), MockTask::new());
    let mut go = handle.go(scene.child(1, "a"));
    assert!(task.poll(&mut go).is_pending());
    scene.end([0]);
    assert_eq!(task.wakes(), 1, "it has room");
    handle.set_key_limit(&Key::from("a"), Some(0));
    assert!(is_ok(task.poll(&mut go)));
    assert_eq!(scene.run(), [], "but it is paused");
    handle.set_key_limit(&Key::from("a"), Some(1));
    assert_eq!(scene.run(), [1]);
}

#[test]
fn a_key_may_have_a_limit_where_the_others_have_none() {
    let mut scene = Scene::new(Group::new());
    scene.it.group.set_key_limit(&Key::from(80), Some(1));
    for n in 0..6 {
        scene.queue(n, if n % 2 == 0 { 80 } else { 81 });
    }
    assert_eq!(scene.run(), [0, 1, 3, 5]);
}

#[test]
fn try_go_heeds_its_key_and_is_not_delayed_by_another() {
    let mut scene = limited(9, 1);
    (0..2).for_each(|n| scene.queue(n, "a"));
    let refused = scene.it.handle.try_go(scene.child(2, "a"));
    assert!(matches!(refused, Err(TryGoError::AtLimit(_))));
    assert!(scene.it.handle.try_go(scene.child(3, "b")).is_ok());
    let plain = scene.it.child(4);
    assert!(scene.it.group.try_go(plain).is_ok());
    assert_eq!(scene.run(), [0, 3, 4]);
}

#[test]
fn try_go_overtakes_no_child_of_its_key() {
    let mut scene = limited(9, 2);
    scene.queue(0, "a");
    let heavy = scene.child(1, "a").weight(2);
    scene.it.group.queue(heavy);
    // There is room for it, but one waits.
    let urgent = scene.child(2, "a").priority(5);
    assert!(scene.it.group.try_go(urgent).is_err());
    assert_eq!(scene.run(), [0]);
}

#[test]
fn a_go_waits_for_its_key_and_leaves_no_trace_when_it_is_dropped() {
    let mut scene = limited(9, 1);
    scene.queue(0, "a");
    scene.run();
    let (handle, tasks) = (scene.it.handle.clone(), [(); 3].map(|()| MockTask::new()));
    let mut gos = [1, 2, 3].map(|n| Some(handle.go(scene.child(n, "a"))));
    for (go, task) in gos.iter_mut().zip(&tasks) {
        assert!(task.poll(go.as_mut().unwrap()).is_pending());
    }
    assert!(is_ok(MockTask::new().poll(&mut handle.go(scene.child(4, "b")))));
    gos[0] = None;
    assert_eq!(scene.end([0]), [4]);
    assert_eq!([0, 1, 2].map(|n| tasks[n].wakes()), [0, 1, 0]);
    // The room that is reserved goes to the next.
    gos[1] = None;
    assert_eq!(tasks[2].wakes(), 1);
    assert!(is_ok(tasks[2].poll(gos[2].as_mut().unwrap())));
    assert_eq!(scene.run(), [3, 4]);
    assert_eq!(scene.end([3]), [4]);
    assert!(scene.it.handle.try_go(scene.child(5, "a")).is_ok(), "nothing waits any more");
}

#[test]
fn the_groups_own_go_polls_the_children_until_its_key_has_room() {
    let driver = MockTask::new();
    let mut group = Group::new().with_key_limit(1);
    for n in 0..3 {
        let child = task(async move {
            yield_now().await;
            Ok::<usize, &str>(n)
        });
        assert!(driver.finish(group.go(child.key("a"))).is_ok());
        assert_eq!((group.stats().running, group.stats().ok), (1, n));
    }
    assert!(is_ok(driver.run(&mut group)));
}

#[test]
fn a_unique_child_is_refused_while_another_of_its_key_runs_or_waits() {
    let mut scene = Scene::new(Group::new().with_limit(2));
    let again = |scene: &Scene, n| scene.child(n, "a").unique();
    assert!(scene.it.group.try_go(again(&scene, 0)).is_ok());
    assert!(matches!(scene.it.group.try_go(again(&scene, 1)), Err(TryGoError::AtLimit(_))));
    assert!(scene.it.group.try_go(scene.child(2, "b").unique()).is_ok());
    // A third one waits for room in the group.
    scene.queue(3, "c");
    scene.it.handle.set_limit(None);
    scene.it.handle.set_limit(Some(2));
    assert_eq!(scene.run(), [0, 2, 3]);
    let child = again(&scene, 4);
    scene.it.group.queue(child);
    assert_eq!(scene.end([2, 3]), [0], "it waits as with a limit of 1");
    assert!(scene.it.handle.try_go(again(&scene, 5)).is_err());
    assert_eq!(scene.end([0]), [4]);
}

#[test]
fn after_a_stop_a_unique_child_is_refused_for_that() {
    let mut scene = limited(10, 5);
    scene.queue(0, "a");
    scene.run();
    scene.it.handle.token().cancel();
    let child = scene.child(1, "a").unique();
    assert!(matches!(scene.it.group.try_queue(child), Err(TryGoError::Stopped(_))));
    let child = scene.child(2, "a").unique();
    assert!(matches!(scene.it.group.try_go(child), Err(TryGoError::Stopped(_))));
}

#[test]
fn a_unique_child_holds_up_no_other_and_without_a_key_none_at_all() {
    let mut scene = Scene::new(Group::new());
    for n in 0..2 {
        let child = task(scene.it.child(n)).unique();
        assert!(scene.it.group.try_go(child).is_ok());
    }
    let child = scene.child(2, "a").unique();
    scene.it.group.queue(child);
    scene.queue(3, "a");
    let child = scene.child(4, "a").unique();
    scene.it.group.queue(child);
    assert_eq!(scene.run(), [0, 1, 2, 3]);
    assert_eq!(scene.end([2]), [0, 1, 3]);
    assert_eq!(scene.end([3]), [0, 1, 4]);
}

#[test]
fn a_stop_drops_what_waits_for_its_key() {
    let mut scene = limited(9, 1);
    (0..3).for_each(|n| scene.queue(n, "a"));
    let (handle, task) = (scene.it.handle.clone(), MockTask::new());
    let mut go = handle.go(scene.child(3, "a"));
    assert!(task.poll(&mut go).is_pending());
    handle.token().cancel();
    assert_eq!(task.wakes(), 1);
    assert!(matches!(task.poll(&mut go), Poll::Ready(Err(_))));
    scene.run();
    assert_eq!((handle.stats().running, handle.stats().dropped), (1, 2));
    scene.it.gate.open(0);
    assert!(is_ok(scene.it.run()));
}

#[test]
fn a_paused_key_holds_the_group_open_but_not_for_daemons() {
    let mut scene = limited(9, 1);
    scene.it.handle.set_key_limit(&Key::from("a"), Some(0));
    scene.queue(0, "a");
    assert_eq!(scene.run(), []);
    scene.it.handle.set_key_limit(&Key::from("a"), Some(1));
    let daemon = scene.child(1, "a").daemon();
    scene.it.group.queue(daemon);
    assert_eq!(scene.run(), [0]);
    scene.it.gate.open(0);
    scene.it.gate.open(1);
    assert!(is_ok(scene.it.run()));
    assert_eq!(scene.it.handle.stats().ok, 2);

    let mut scene = limited(9, 1);
    scene.it.handle.set_key_limit(&Key::from("a"), Some(0));
    let daemon = scene.child(1, "a").daemon();
    scene.it.group.queue(daemon);
    assert!(is_ok(scene.it.run()), "a queued daemon holds nothing open");
    assert_eq!(scene.it.handle.stats().dropped, 1);
}

#[cfg(feature = "std")]
#[test]
fn a_child_that_waits_for_its_own_key_does_not_block_the_group_for_ever() {
    let driver = MockTask::new();
    let mut group = Group::new().with_limit(8).with_key_limit(1).collect();
    let handle = group.handle();
    group.queue(
        task(async move {
            let added = handle.go(task(async { Ok::<usize, &str>(1) }).key("a")).await;
            assert!(added.is_ok());
            Ok(0)
        })
        .key("a"),
    );
    assert_eq!(driver.finish(group), Ok(vec![0, 1]));
}

#[test]
fn a_keyed_child_needs_a_permit_as_any_other() {
    let semaphore = Arc::new(async_lock::Semaphore::new(2));
    let mut scene =
        Scene::new(Group::new().with_key_limit(1).with_semaphore(Arc::clone(&semaphore)));
    scene.queue(0, "a");
    scene.queue(1, "a");
    scene.queue(2, "b");
    scene.queue(3, "c");
    assert_eq!(scene.run(), [0, 2]);
    assert_eq!(scene.end([2]), [0, 3], "the permit goes past the child whose key is full");
    assert_eq!(scene.end([0]), [1, 3]);
    scene.it.gate.open(1);
    scene.it.gate.open(3);
    assert!(is_ok(scene.it.run()));
    drop(scene);
    assert!(semaphore.try_acquire().is_some());
}

#[test]
fn spawned_children_have_keys() {
    let pool = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let spawned = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut group = {
        let spawned = Arc::clone(&spawned);
        Group::on(move |child| spawned.lock().unwrap().push(child)).with_key_limit(1)
    };
    let gate = crate::common::Gate::new();
    for n in 0..4 {
        group.queue(task(waits(&gate, n)).key(n % 2));
    }
    let driver = MockTask::new();
    for n in 0..4 {
        gate.open(n);
    }
    for started in [2, 4] {
        pool.borrow_mut().append(&mut spawned.lock().unwrap());
        for child in pool.borrow_mut().iter_mut() {
            let _ = driver.run(child);
        }
        let _ = driver.run(&mut group);
        assert_eq!(group.stats().ok, started);
    }
}

#[test]
fn a_limit_of_zero_for_each_key_is_refused() {
    let message = panic_message(|| Group::<Kind>::new().with_key_limit(0));
    assert!(message.starts_with("the limit of a key must be at least 1"), "{message}");
}

#[test]
fn fed_children_heed_their_keys() {
    let mut scene = limited(9, 1);
    let children: Vec<_> = (0..5).map(|n| scene.child(n, n % 2)).collect();
    let mut feed = scene.it.handle.feed(stream::iter(children));
    assert_eq!(scene.it.task.run(&mut feed), Poll::Ready(5));
    assert_eq!(scene.run(), [0, 1]);
    assert_eq!(scene.end([1]), [0, 3]);
    assert_eq!(scene.end([0]), [2, 3]);
}

#[test]
fn a_feed_holds_no_more_children_than_may_run() {
    let mut scene = limited(4, 1);
    let (asked, task) = (Arc::new(AtomicUsize::new(0)), MockTask::new());
    let children: Vec<_> = (0..9).map(|n| scene.child(n, "a")).collect();
    let counted = children.into_iter().inspect({
        let asked = Arc::clone(&asked);
        move |_| _ = asked.fetch_add(1, SeqCst)
    });
    let mut feed = scene.it.handle.feed(stream::iter(counted));
    assert!(task.run(&mut feed).is_pending());
    assert_eq!((scene.run(), asked.load(SeqCst)), (vec![0], 4));
    // The feed that waits holds up nothing else.
    for n in 10..13 {
        scene.queue(n, "b");
    }
    let plain = scene.it.child(13);
    assert!(scene.it.group.try_go(plain).is_ok());
    assert_eq!(scene.run(), [0, 10, 13]);
    assert_eq!(scene.end([0]), [1, 10, 13]);
    assert!(task.run(&mut feed).is_pending());
    assert_eq!(asked.load(SeqCst), 4, "two run beside them");
    assert_eq!(scene.end([10, 11, 12, 13]), [1]);
    assert_eq!(task.wakes(), 1);
    assert!(task.run(&mut feed).is_pending());
    assert_eq!(asked.load(SeqCst), 5);
    scene.it.handle.set_limit(None);
    assert_eq!(task.run(&mut feed), Poll::Ready(9));
    assert_eq!(scene.run(), [1]);
    assert_eq!(scene.it.handle.stats().queued, 7);
}

#[test]
fn the_groups_own_feed_goes_on_as_its_children_start() {
    let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let children = (0..40).map(|n| {
        let (most, now) = (Arc::clone(&most), Arc::clone(&now));
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        let exists = OnDrop(move || _ = now.fetch_sub(1, SeqCst));
        let child = task(async move {
            let _exists = exists;
            yield_now().await;
            Ok::<usize, &str>(n)
        });
        child.key(n / 10)
    });
    let mut group = Group::new().with_limit(3).with_key_limit(1).collect();
    let driver = MockTask::new();
    assert_eq!(driver.finish(group.feed(stream::iter(children))), 40);
    assert_eq!(driver.finish(group).map(|all| all.len()), Ok(40));
    assert_eq!(most.load(SeqCst), 3);
}

#[test]
fn of_feeds_that_wait_for_keys_the_first_to_come_is_asked_first() {
    let mut scene = limited(2, 1);
    scene.queue(0, "a");
    let tasks = [MockTask::new(), MockTask::new(), MockTask::new()];
    // Its second child waits for the key, so with it there are as many as may run.
    let child = scene.child(1, "a");
    let mut fed = scene.it.handle.feed(stream::iter([child]));
    assert!(tasks[0].run(&mut fed).is_pending());
    drop(fed);
    assert_eq!((scene.run(), scene.it.handle.stats().queued), (vec![0], 1));
    let children = [scene.child(2, "b"), scene.child(3, "c")];
    let mut feeds = children.map(|child| scene.it.handle.feed(stream::iter([child])));
    assert!((0..2).all(|n| tasks[n + 1].run(&mut feeds[n]).is_pending()));
    scene.it.handle.set_limit(Some(3));
    assert_eq!([tasks[1].wakes(), tasks[2].wakes()], [1, 0]);
    assert!(tasks[1].run(&mut feeds[0]).is_pending(), "it waits for room to ask for more");
    assert_eq!(scene.run(), [0, 2]);
    scene.it.handle.set_limit(Some(4));
    assert_eq!([tasks[1].wakes(), tasks[2].wakes()], [1, 1]);
    assert!(tasks[2].run(&mut feeds[1]).is_pending());
    assert_eq!(scene.run(), [0, 2, 3]);
}

#[test]
fn a_feed_that_waits_for_keys_can_be_dropped_and_stopped() {
    for stop in [false, true] {
        let mut scene = limited(2, 1);
        let task = MockTask::new();
        let children: Vec<_> = (0..9).map(|n| scene.child(n, "a")).collect();
        let mut feed = scene.it.handle.feed(stream::iter(children));
        assert!(task.run(&mut feed).is_pending());
        scene.run();
        if stop {
            scene.it.handle.token().cancel();
            assert_eq!(task.run(&mut feed), Poll::Ready(2));
        } else {
            drop(feed);
        }
        scene.it.gate.open(0);
        scene.it.gate.open(1);
        assert!(is_ok(scene.it.run()));
        let stats = scene.it.handle.stats();
        assert_eq!(stats.ok + stats.dropped, 2);
    }
}

// --- random schedules, against a simple model

#[derive(Clone, Copy)]
struct Child {
    number: usize,
    key: Option<usize>,
    weight: usize,
    priority: i32,
    unique: bool,
}

/// Says who may run, by looking at everything each time.
#[derive(Default)]
struct Model {
    limit: usize,
    key_limit: usize,
    own_limits: BTreeMap<usize, Option<usize>>,
    waiting: Vec<Child>,
    running: Vec<Child>,
}

fn fits(limit: usize, running: &[Child], weight: usize) -> bool {
    let taken: usize = running.iter().map(|child| child.weight).sum();
    taken + weight <= limit || (taken == 0 && limit > 0)
}

impl Model {
    fn fits_key(&self, child: &Child) -> bool {
        let Some(key) = child.key else { return true };
        let same = self.running.iter().filter(|it| it.key == child.key);
        let of_key: Vec<_> = same.copied().collect();
        let limit = self.own_limits.get(&key).copied().unwrap_or(Some(self.key_limit));
        (of_key.is_empty() || !child.unique)
            && fits(limit.unwrap_or(usize::MAX), &of_key, child.weight)
    }

    fn settle(&mut self) {
        loop {
            let before = |a: &Child, b: &Child| (-a.priority, a.number) < (-b.priority, b.number);
            let head = self
                .waiting
                .iter()
                .filter(|it| {
                    it.key.is_none()
                        || !self.waiting.iter().any(|o| o.key == it.key && before(o, it))
                })
                .filter(|it| self.fits_key(it))
                .min_by_key(|it| (-it.priority, it.number))
                .copied();
            match head {
                Some(head) if fits(self.limit, &self.running, head.weight) => {
                    self.waiting.retain(|it| it.number != head.number);
                    self.running.push(head);
                }
                _ => return,
            }
        }
    }
}

#[test]
fn keys_of_one_digest_that_were_forgotten_are_limited_when_they_come_again() {
    const KEYS: usize = 300;
    let key = |n: usize| Key::from((n as i128) << 64);
    let mut scene = Scene::new(Group::new().with_key_limit(1));
    // It holds the group open.
    scene.it.group.queue(job(std::future::pending()));
    for n in 0..KEYS {
        scene.it.group.queue(task(job(ready(Ok(n)))).key(key(n)));
        assert!(scene.run().is_empty());
    }
    (0..2 * KEYS).for_each(|n| scene.queue(n, key(n / 2)));
    assert_eq!(scene.run(), (0..2 * KEYS).step_by(2).collect::<Vec<_>>());
    assert_eq!(scene.end((0..2 * KEYS).step_by(2)), (1..2 * KEYS).step_by(2).collect::<Vec<_>>());
}

#[test]
fn random_schedules_go_as_a_simple_model_says() {
    for seed in 1..=150 {
        // Every second time all keys have the same digest, by which they are found.
        schedule(
            seed,
            |key| if seed % 2 == 0 { key.into() } else { Key::from((key as i128) << 64) },
        );
    }
}

fn schedule(seed: u64, key_of: impl Fn(usize) -> Key) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut model =
        Model { limit: 2 + random.below(6), key_limit: 1 + random.below(3), ..Model::default() };
    let mut scene = limited(model.limit, model.key_limit);
    let waker = MockTask::new();
    let mut gos = BTreeMap::new();
    // It holds the group open.
    let first = scene.it.child(0);
    scene.it.group.queue(first);
    let first = Child { number: 0, key: None, weight: 1, priority: 0, unique: false };
    model.running.push(first);
    for number in 1..120 {
        match random.below(10) {
            0..4 => {
                let child = Child {
                    number,
                    key: (random.below(4) > 0).then(|| random.below(4)),
                    weight: 1 + random.below(3) * random.below(2),
                    priority: random.below(3) as i32 * random.below(2) as i32,
                    unique: random.below(8) == 0,
                };
                let mut job =
                    task(scene.it.child(number)).weight(child.weight).priority(child.priority);
                if let Some(key) = child.key {
                    job = job.key(key_of(key));
                }
                if child.unique {
                    job = job.unique();
                }
                model.waiting.push(child);
                if child.unique && child.key.is_none() {
                    model.waiting.last_mut().unwrap().unique = false;
                }
                if random.below(2) == 0 {
                    scene.it.group.queue(job);
                } else {
                    gos.insert(number, scene.it.handle.go(job));
                }
            }
            4..7 if model.running.len() > 1 => {
                let at = 1 + random.below(model.running.len() - 1);
                scene.it.gate.open(model.running.remove(at).number);
            }
            7 => {
                let dropped = gos.keys().nth(random.below(gos.len().max(1))).copied();
                if let Some(number) = dropped.filter(|n| !scene.running.contains(n)) {
                    gos.remove(&number);
                    model.waiting.retain(|it| it.number != number);
                }
            }
            8 => {
                model.limit = 1 + random.below(8);
                scene.it.handle.set_limit(Some(model.limit));
            }
            _ => {
                let (key, limit) = (random.below(4), random.below(5));
                let limit = (limit < 4).then_some(limit);
                model.own_limits.insert(key, limit);
                scene.it.group.set_key_limit(&key_of(key), limit);
            }
        }
        model.settle();
        for _ in 0..3 {
            scene.run();
            gos.retain(|_, go| waker.poll(go).is_pending());
        }
        let mut expected: Vec<_> = model.running.iter().map(|it| it.number).collect();
        expected.sort();
        assert_eq!(scene.run(), expected, "seed {seed}, step {number}");
        let waiting = scene.it.handle.stats().queued + gos.len();
        assert_eq!(waiting, model.waiting.len(), "seed {seed}, step {number}");
    }
}

#[test]
fn a_head_whose_key_loses_its_room_is_passed_by() {
    let f = &mut Fixture::new(1);
    let key = Key::from("a");
    let busy = f.child(0);
    f.group.queue(busy);
    for number in 1..3 {
        let child = task(f.child(number)).key("a");
        f.group.queue(child);
    }
    let child = f.child(3);
    f.group.queue(child);
    assert!(f.run().is_pending());
    assert_eq!(f.log.take(), ["+0"]);
    f.handle.set_key_limit(&key, Some(0));
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert_eq!(f.log.take(), ["-0", "+3"]);
    f.handle.set_key_limit(&key, None);
    f.gate.open(3);
    f.gate.open(1);
    assert!(f.run().is_pending());
    assert_eq!(f.log.take(), ["-3", "+1", "-1", "+2"]);
    f.gate.open(2);
    assert!(is_ok(f.run()));
}

#[test]
fn a_go_that_brings_its_child_after_its_key_lost_the_room_queues_it() {
    let f = &mut Fixture::new(9);
    let key = Key::from("a");
    f.handle.set_key_limit(&key, Some(1));
    let first = task(f.child(0)).key("a");
    f.group.queue(first);
    let outsider = MockTask::new();
    let mut go = f.handle.go(task(f.child(1)).key("a"));
    assert!(outsider.poll(&mut go).is_pending());
    f.handle.set_key_limit(&key, Some(2));
    assert_eq!(outsider.wakes(), 1, "it has its turn");
    f.handle.set_key_limit(&key, Some(1));
    assert!(is_ok(outsider.poll(&mut go)));
    assert!(f.run().is_pending());
    assert_eq!(f.log.take(), ["+0"], "no more than the key's limit");
    assert_eq!((f.running(), f.queued()), (1, 1));
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert_eq!(f.log.take(), ["-0", "+1"]);
}

/// A fed child of the key waits at the feed's position, which is earlier.
#[test]
fn a_go_that_has_its_turn_in_its_key_keeps_it_though_a_fed_child_waits_before_it() {
    let mut scene = Scene::new(Group::new().with_limit(1).with_key_limit(1));
    let (feeder, outsider) = (MockTask::new(), MockTask::new());
    scene.queue(0, "b");
    assert_eq!(scene.run(), [0]);
    let handle = scene.it.handle.clone();
    let mut feed = handle.feed(stream::iter([scene.child(1, "a")]));
    assert!(feeder.poll(&mut feed).is_pending());
    let mut go = handle.go(scene.child(2, "a"));
    assert!(outsider.poll(&mut go).is_pending());
    handle.set_limit(Some(3));
    let _ = feeder.poll(&mut feed);
    assert!(is_ok(outsider.poll(&mut go)));
    assert_eq!(scene.run(), [0, 2]);
}

#[test]
fn a_go_of_the_group_that_has_lost_the_room_in_its_key_waits_on() {
    let (gate, driver, key) = (Gate::new(), MockTask::new(), Key::from("a"));
    let mut group = Group::<Kind>::new().with_key_limit(1);
    let handle = group.handle();
    group.queue(task(waits(&gate, 0)).key("a"));
    let (pauses, door) = (handle.clone(), gate.wait(1));
    group.queue(job(async move {
        door.await;
        pauses.set_key_limit(&Key::from("a"), Some(0));
        Ok(1)
    }));
    {
        let mut go = group.go(task(job(ready(Ok(2)))).key("a"));
        assert!(driver.poll(&mut go).is_pending());
        (0..2).for_each(|n| gate.open(n));
        assert!(driver.run(&mut go).is_pending(), "its key is paused");
        handle.set_key_limit(&key, Some(1));
        assert!(is_ok(driver.run(&mut go)));
    }
    assert_eq!((group.stats().ok, group.stats().queued), (3, 0));
    assert!(is_ok(driver.run(&mut group)));
}

#[test]
fn a_go_without_a_weight_begins_beside_a_child_that_is_heavier_than_their_key() {
    let (driver, begun) = (MockTask::new(), Arc::new(AtomicUsize::new(0)));
    let mut group = Group::<Kind>::new().with_limit(2).with_key_limit(1);
    let handle = group.handle();
    let rests = |weight| task(job(pending())).weight(weight);
    group.queue(rests(2).key("a"));
    group.queue(rests(1));
    {
        let counts = Arc::clone(&begun);
        let child = job(async move {
            counts.fetch_add(1, SeqCst);
            pending().await
        });
        let mut go = group.go(task(child).key("a").weight(0));
        assert!(driver.poll(&mut go).is_pending());
        handle.set_limit(Some(3));
        handle.queue(rests(3).priority(1));
        assert!(is_ok(driver.poll(&mut go)));
    }
    assert_eq!(begun.load(SeqCst), 1);
}

#[test]
fn a_go_that_has_its_turn_in_its_key_queues_no_child() {
    // The weight of the child that waits: it fits beside the first, or runs alone.
    for (weight, alone) in [(1, false), (5, true)] {
        let log = Log::new();
        let seen = log.clone();
        let group = Group::new().with_key_limit(2).with_observer(move |event: &Event| {
            if let Event::Queued { .. } = event {
                seen.add("queued");
            }
        });
        let f = &mut Fixture::of(group);
        for number in 0..2 {
            let child = task(f.child(number)).key("a");
            f.group.queue(child);
        }
        assert!(f.run().is_pending());
        let outsider = MockTask::new();
        let mut go = f.handle.go(task(f.child(2)).key("a").weight(weight));
        assert!(outsider.poll(&mut go).is_pending());
        f.gate.open(0);
        if alone {
            f.gate.open(1);
        }
        assert!(f.run().is_pending());
        assert_eq!(outsider.wakes(), 1);
        assert!(is_ok(outsider.poll(&mut go)));
        assert!(f.run().is_pending());
        assert_eq!(log.take(), [""; 0]);
        assert_eq!(f.queued(), 0);
    }
}

#[test]
fn a_unique_child_is_refused_while_one_of_its_key_waits() {
    let f = &mut Fixture::new(1);
    let busy = f.child(0);
    f.group.queue(busy);
    let unique = |number| task(f.child(number)).key("a").unique();
    assert!(f.handle.try_queue(unique(1)).is_ok());
    assert!(matches!(f.handle.try_queue(unique(2)), Err(TryGoError::AtLimit(_))));
    assert_eq!(f.queued(), 1);
}

#[test]
fn a_key_is_remembered_while_a_child_of_it_runs_whatever_comes_and_goes() {
    let f = &mut Fixture::of(Group::new().with_key_limit(1));
    let (first, second, third) = (f.child(0), f.child(1), f.child(2));
    f.group.queue(task(first).key("a"));
    // One that leaves the queue of its key.
    let mut go = f.handle.go(task(second).key("a"));
    assert!(MockTask::new().poll(&mut go).is_pending());
    drop(go);
    assert!(f.run().is_pending());
    for n in 0..300_u32 {
        f.group.queue(task(job(ready(Ok(7)))).key(n));
    }
    assert!(f.run().is_pending());
    f.log.take();
    f.group.queue(task(third).key("a"));
    assert!(f.run().is_pending());
    assert_eq!((f.log.take(), f.queued()), (vec![], 1));
    f.gate.open(0);
    assert!(f.run().is_pending());
    assert_eq!(f.log.take(), ["-0", "+2"]);
}

#[test]
fn a_limit_of_keys_that_comes_after_children_holds_for_theirs() {
    let mut group = Group::<Kind>::new().with_limit(1);
    let (gate, driver) = (Gate::new(), MockTask::new());
    group.queue(waits(&gate, 0));
    (1..4).for_each(|n| group.queue(task(waits(&gate, n)).key("a")));
    let mut group = group.with_key_limit(2);
    group.set_limit(None);
    assert!(driver.run(&mut group).is_pending());
    assert_eq!((group.stats().running, group.stats().queued), (3, 1));
}

#[test]
fn a_unique_child_does_not_begin_beside_one_that_room_was_reserved_for_before_its_key_was_known() {
    for (feed_first, queued) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut scene = Scene::new(Group::new().with_limit(2));
        let handle = scene.it.group.handle();
        scene.queue(0, "a");
        scene.queue(1, "b");
        let unique = || scene.child(3, "a").unique();
        // In the queue: a feed, which has a child of the same key, and then a unique child.
        let (fed, other) = (scene.child(2, "a"), unique());
        let mut feed = Box::pin(handle.feed(stream::iter([fed])));
        assert!(MockTask::new().poll(&mut feed).is_pending());
        let mut go = (!queued).then(|| Box::pin(handle.go(unique())));
        match &mut go {
            Some(go) => assert!(MockTask::new().poll(go).is_pending()),
            None => handle.queue(other),
        }
        assert_eq!(scene.run(), [0, 1]);
        (0..2).for_each(|n| scene.it.gate.open(n));
        assert_eq!(scene.run(), []);
        let mut poll_feed = || _ = MockTask::new().poll(&mut feed);
        let mut poll_go = || go.iter_mut().for_each(|go| _ = MockTask::new().poll(go));
        if feed_first {
            poll_feed();
            poll_go();
        } else {
            poll_go();
            poll_feed();
        }
        scene.run();
        assert_eq!(scene.begun, [0, 1, 3, 2], "the unique child begins alone");
    }
}
