//! What surrounds the polls of the children: `Observer::around`.

use std::future::{poll_fn, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::ThreadId;

#[cfg(feature = "std")]
use crate::common::panic_message;
use crate::common::{Gate, Log, MockTask, waits, yield_now};
use errgroup::{Event, Group, Observer, PollObserver, task};

/// Logs each poll: `<` and the child before it, `>` after it.
struct Brackets {
    name: &'static str,
    log: Log,
}

impl PollObserver for Brackets {
    fn around_poll(&self, index: usize, name: Option<&str>, poll: &mut dyn FnMut()) {
        self.log.add(format!("{}<{index} {}", self.name, name.unwrap_or("-")));
        poll();
        self.log.add(format!("{}>", self.name));
    }
}

struct Surrounds<P>(Arc<P>);

impl<P: PollObserver + 'static> Observer for Surrounds<P> {
    fn on_event(&mut self, _: &Event) {}

    fn around(&mut self) -> Option<Arc<dyn PollObserver>> {
        Some(Arc::clone(&self.0) as _)
    }
}

fn brackets(name: &'static str, log: &Log) -> Surrounds<Brackets> {
    Surrounds(Arc::new(Brackets { name, log: log.clone() }))
}

#[test]
fn each_poll_of_a_child_is_surrounded_and_has_its_index_and_name() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group = Group::new().with_limit(1).with_observer(brackets("", &log));
    group.queue(task(ready(Ok::<usize, &str>(0))).name("a"));
    let inner = log.clone();
    group.queue(async move {
        inner.add("first");
        yield_now().await;
        inner.add("second");
        Ok(1)
    });
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
    assert_eq!(log.take(), ["<0 a", ">", "<1 -", "first", ">", "<1 -", "second", ">"]);
}

#[test]
fn of_a_pair_the_first_is_outside() {
    let (driver, log) = (MockTask::new(), Log::new());
    let events = log.clone();
    let told = move |event: &Event| events.add(event.to_string());
    let observers = ((brackets("a", &log), told), brackets("b", &log));
    let mut group = Group::local().with_observer(observers);
    group.queue(ready(Ok::<usize, &str>(0)));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
    let expected = ["#0 started", "a<0 -", "b<0 -", "b>", "a>", "#0 finished: Ok"];
    assert_eq!(log.take()[..6], expected);
}

#[test]
fn one_that_does_not_poll_or_does_so_twice_changes_nothing() {
    struct Times(usize);
    impl PollObserver for Times {
        fn around_poll(&self, _: usize, _: Option<&str>, poll: &mut dyn FnMut()) {
            (0..self.0).for_each(|_| poll());
        }
    }
    for times in [0, 1, 2] {
        let (driver, polls) = (MockTask::new(), Arc::default());
        let mut group = Group::new().with_observer(Surrounds(Arc::new(Times(times))));
        group.queue(crate::common::count_polls(&polls, async {
            yield_now().await;
            Ok::<usize, &str>(0)
        }));
        assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
        assert_eq!(polls.load(std::sync::atomic::Ordering::SeqCst), 2);
    }
}

#[test]
#[cfg(feature = "std")]
fn its_panic_is_the_childs() {
    struct Panics;
    impl PollObserver for Panics {
        fn around_poll(&self, index: usize, _: Option<&str>, poll: &mut dyn FnMut()) {
            poll();
            if index == 1 {
                std::panic::panic_any("the observer's");
            }
        }
    }
    let (driver, gate) = (MockTask::new(), Gate::new());
    let mut group = Group::new().with_observer(Surrounds(Arc::new(Panics)));
    (0..3).for_each(|n| group.queue(waits(&gate, n)));
    (0..3).for_each(|n| gate.open(n));
    let panicked = panic_message(|| driver.run(&mut group));
    assert_eq!((panicked, group.stats().ok, group.stats().dropped), ("the observer's", 2, 1));
}

#[test]
fn the_inner_one_of_a_pair_surrounds_one_poll_whatever_the_outer_one_does() {
    struct Times(usize);
    impl PollObserver for Times {
        fn around_poll(&self, _: usize, _: Option<&str>, poll: &mut dyn FnMut()) {
            (0..self.0).for_each(|_| poll());
        }
    }
    for times in [0, 1, 2] {
        let (driver, log) = (MockTask::new(), Log::new());
        let observers = (Surrounds(Arc::new(Times(times))), brackets("", &log));
        let mut group = Group::new().with_observer(observers);
        let inner = log.clone();
        group.queue(async move {
            inner.add("poll");
            Ok::<(), ()>(())
        });
        assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
        assert_eq!(log.take(), ["<0 -", "poll", ">"]);
    }
}

#[test]
#[cfg(feature = "std")]
fn beside_its_panic_what_the_child_has_returned_may_panic_in_its_destructor() {
    use crate::common::Bomb;
    struct Panics;
    impl PollObserver for Panics {
        fn around_poll(&self, _: usize, _: Option<&str>, poll: &mut dyn FnMut()) {
            poll();
            std::panic::panic_any("the observer's");
        }
    }
    macro_rules! check {
        ($group:expr, $child:expr, $expected:expr) => {{
            let mut group = $group.with_observer(Surrounds(Arc::new(Panics)));
            group.queue($child);
            assert_eq!(panic_message(|| smol::block_on(group)), $expected);
        }};
    }
    let returns = || ready(Ok::<_, ()>(Bomb("the value")));
    check!(Group::new(), returns(), "the observer's");
    check!(Group::on(|work| smol::spawn(work).detach()), returns(), "the observer's");
    // The child's panic is the first.
    let panics = || poll_fn(|_| -> Poll<Result<(), ()>> { std::panic::panic_any("the child's") });
    check!(Group::new(), panics(), "the child's");
    check!(Group::on(|work| smol::spawn(work).detach()), panics(), "the child's");
}

#[test]
#[cfg(feature = "std")]
fn its_destructors_panic_does_not_reach_the_executor() {
    struct Panics;
    impl PollObserver for Panics {
        fn around_poll(&self, _: usize, _: Option<&str>, poll: &mut dyn FnMut()) {
            poll();
        }
    }
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::panic_any("the observer's destructor");
        }
    }
    let tasks = Arc::new(Mutex::new(Vec::new()));
    let spawned = Arc::clone(&tasks);
    let mut group = Group::on(move |work| spawned.lock().unwrap().push(work))
        .with_observer(Surrounds(Arc::new(Panics)));
    let handle = group.handle();
    group.queue(ready(Ok::<usize, ()>(0)));
    let mut task = tasks.lock().unwrap().pop().unwrap();
    drop(group);
    assert!(!handle.is_closed(), "the executor still has the future");
    // It has the last reference.
    assert!(MockTask::new().poll(&mut task).is_ready());
    drop(task);
    assert!(handle.is_closed());
}

#[test]
#[cfg(feature = "std")]
fn the_childs_panic_comes_out_though_it_is_caught_around_the_poll() {
    struct Catches;
    impl PollObserver for Catches {
        fn around_poll(&self, _: usize, _: Option<&str>, poll: &mut dyn FnMut()) {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll));
        }
    }
    let mut group = Group::new().with_observer(Surrounds(Arc::new(Catches)));
    group.queue(async { std::panic::panic_any("the child's own") });
    group.queue(async { Ok::<(), ()>(()) });
    assert_eq!(panic_message(|| MockTask::new().run(&mut group)), "the child's own");
}

#[test]
fn a_spawned_child_is_surrounded_on_the_thread_that_polls_it_and_before_it_is_told_of() {
    struct Threads(Mutex<Vec<(ThreadId, String)>>);
    impl PollObserver for Threads {
        fn around_poll(&self, index: usize, name: Option<&str>, poll: &mut dyn FnMut()) {
            let entry = format!("{index} {}", name.unwrap_or("-"));
            self.0.lock().unwrap().push((std::thread::current().id(), entry));
            poll();
        }
    }
    for by_handle in [false, true] {
        let threads = Arc::new(Threads(Mutex::default()));
        let mut group = Group::on(|work| {
            std::thread::spawn(|| smol::block_on(work)).join().unwrap();
        })
        .with_observer(Surrounds(Arc::clone(&threads)));
        let child = task(ready(Ok::<usize, &str>(0))).name("a");
        if by_handle {
            group.handle().queue(child)
        } else {
            group.queue(child)
        }
        group.queue(ready(Ok(1)));
        assert_eq!(smol::block_on(&mut group), Ok(()));
        let seen = threads.0.lock().unwrap();
        assert!(seen.iter().all(|(thread, _)| *thread != std::thread::current().id()));
        let entries: Vec<_> = seen.iter().map(|(_, entry)| entry.as_str()).collect();
        assert_eq!(entries, ["0 a", "1 -"]);
    }
}

#[test]
fn a_spawned_child_that_blocks_is_found() {
    /// A clock of milliseconds, which only the children move on.
    type Clock = Arc<AtomicU64>;
    struct Busy(Clock, Log);
    impl PollObserver for Busy {
        fn around_poll(&self, index: usize, name: Option<&str>, poll: &mut dyn FnMut()) {
            let start = self.0.load(Ordering::SeqCst);
            poll();
            if self.0.load(Ordering::SeqCst) - start > 20 {
                self.1.add(format!("{index} {}", name.unwrap_or("-")));
            }
        }
    }
    let (clock, log) = (Clock::default(), Log::new());
    let observer = Surrounds(Arc::new(Busy(Arc::clone(&clock), log.clone())));
    let mut group = Group::on(smol::spawn).with_limit(1).with_observer(observer);
    for (name, takes) in [("blocks", 60), ("yields soon", 1)] {
        let clock = Arc::clone(&clock);
        let work = async move {
            clock.fetch_add(takes, Ordering::SeqCst);
            Ok::<usize, &str>(0)
        };
        group.queue(task(work).name(name));
    }
    assert_eq!(smol::block_on(group), Ok(()));
    assert_eq!(log.take(), ["0 blocks"]);
}

#[test]
fn the_last_observer_that_is_set_holds() {
    let (driver, log) = (MockTask::new(), Log::new());
    let mut group =
        Group::on(smol::block_on).with_observer(brackets("", &log)).with_observer(|_: &Event| {});
    group.queue(ready(Ok::<usize, &str>(0)));
    assert_eq!(driver.run(&mut group), Poll::Ready(Ok(())));
    assert!(log.take().is_empty());
}

#[test]
fn it_is_dropped_when_the_group_has_resolved_though_a_handle_is_left() {
    let (driver, log) = (MockTask::new(), Log::new());
    let seen = Arc::new(Brackets { name: "", log });
    let observer = || Surrounds(Arc::clone(&seen));
    let mut spawned = Group::on(smol::block_on).with_observer(observer());
    let mut polled = Group::new().with_observer(observer());
    let handles = (spawned.handle(), polled.handle());
    spawned.queue(ready(Ok::<usize, &str>(0)));
    polled.queue(ready(Ok::<usize, &str>(0)));
    assert_eq!(driver.run(&mut spawned), Poll::Ready(Ok(())));
    assert_eq!(driver.run(&mut polled), Poll::Ready(Ok(())));
    assert_eq!(Arc::strong_count(&seen), 1);
    drop((handles, spawned, polled));
}
