//! `SlowPolls`: which polls it reports, by a clock that the test sets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use errgroup::{Event, Group, SlowPolls, task};
use futures::future::BoxFuture;

use crate::common::{Job, MockTask, job, yield_now};

/// A clock that goes on only when it is told to.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn pass(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }

    fn read(&self) -> impl Fn() -> Duration + Send + Sync + 'static {
        let clock = self.clone();
        move || Duration::from_millis(clock.0.load(Ordering::SeqCst))
    }
}

/// Makes a child whose first poll takes so long, and its second so long.
fn takes(clock: &Clock, first: u64, second: u64) -> Job {
    let clock = clock.clone();
    job(async move {
        clock.pass(first);
        yield_now().await;
        clock.pass(second);
        Ok(0)
    })
}

type Reports = Arc<Mutex<Vec<String>>>;

fn slow_polls(clock: &Clock) -> (SlowPolls, Reports) {
    let reports = Reports::default();
    let list = reports.clone();
    let slow = SlowPolls::new(Duration::from_millis(10), clock.read(), move |poll| {
        assert!(poll.took() > Duration::from_millis(10));
        assert!(poll.to_string().starts_with(&format!("#{}", poll.index())));
        list.lock().unwrap().push(poll.to_string());
    });
    (slow, reports)
}

#[test]
fn a_poll_that_takes_longer_than_the_threshold_is_reported_with_its_child() {
    let (clock, task_) = (Clock::default(), MockTask::new());
    let (slow, reports) = slow_polls(&clock);
    let mut group = Group::new().with_observer(slow);
    group.queue(task(takes(&clock, 10, 11)).name("a"));
    group.queue(takes(&clock, 500, 0));
    group.queue(task(takes(&clock, 0, 10)).name("quick"));
    assert_eq!(task_.run(&mut group).map(|it| it.is_ok()), std::task::Poll::Ready(true));
    assert_eq!(*reports.lock().unwrap(), ["#1: a poll took 500ms", "#0 \"a\": a poll took 11ms"]);
}

#[test]
fn it_stands_beside_another_observer_and_the_name_of_the_group() {
    let (clock, task_) = (Clock::default(), MockTask::new());
    let (slow, reports) = slow_polls(&clock);
    let events = Arc::new(Mutex::new(0));
    let count = events.clone();
    let mut group = Group::new()
        .with_name("work")
        .with_observer((slow, move |_: &Event| *count.lock().unwrap() += 1));
    group.queue(task(takes(&clock, 20, 0)).name("a"));
    assert!(task_.poll(&mut group).is_pending());
    assert_eq!(group.snapshot().children[0].polls, Some(1));
    assert!(task_.poll(&mut group).is_ready());
    assert_eq!(*reports.lock().unwrap(), ["#0 \"a\": a poll took 20ms"]);
    assert!(*events.lock().unwrap() >= 2);
}

#[test]
fn the_polls_of_children_on_an_executor_are_timed_there() {
    let (clock, task_) = (Clock::default(), MockTask::new());
    let (slow, reports) = slow_polls(&clock);
    let spawned = Arc::new(Mutex::new(Vec::<BoxFuture<'static, ()>>::new()));
    let list = spawned.clone();
    let mut group = Group::on(move |it| list.lock().unwrap().push(it)).with_observer(slow);
    group.queue(task(takes(&clock, 20, 30)).name("a"));
    let mut spawned = std::mem::take(&mut *spawned.lock().unwrap());
    assert!(task_.run(&mut spawned[0]).is_ready());
    assert!(task_.run(&mut group).is_ready());
    let expected = ["#0 \"a\": a poll took 20ms", "#0 \"a\": a poll took 30ms"];
    assert_eq!(*reports.lock().unwrap(), expected);
}
