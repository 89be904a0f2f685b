//! Children that run elsewhere: the halves of one, and how they report. The spawner's call and the
//! group's loop are written again, after `spawned/start.rs` and `admission/abroad.rs`.

#[allow(dead_code)]
#[path = "../../src/spawned/home.rs"]
mod home;
#[allow(dead_code)]
#[path = "../../src/spawned/job.rs"]
mod job;
#[allow(dead_code)]
#[path = "../../src/spawned/work.rs"]
mod work;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use loom::thread::{self, JoinHandle};

use self::home::{Home, Way};
use self::job::{Ending, Job};
use self::work::Work;
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::Arc;
use crate::child::task::{check, run};

type Future_ = Pin<Box<dyn Future<Output = Result<Value, ()>> + Send>>;
type Outcome = Ending<Value, ()>;
type Payload = &'static str;

/// Counts, beside the model, how many there are.
struct Count(std::sync::Arc<AtomicUsize>);

impl Count {
    fn new() -> Self {
        Self(std::sync::Arc::default())
    }

    fn value(&self) -> Value {
        self.0.fetch_add(1, Ordering::Relaxed);
        Value(std::sync::Arc::clone(&self.0))
    }

    fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Dropped twice, it would count below zero.
struct Value(std::sync::Arc<AtomicUsize>);

impl Drop for Value {
    fn drop(&mut self) {
        assert_ne!(self.0.fetch_sub(1, Ordering::Relaxed), 0, "dropped twice");
    }
}

/// What a child does.
#[derive(Clone, Copy)]
enum Does {
    Ends,
    /// It is woken by itself once.
    Yields,
    /// Until somebody else ends it.
    Waits,
    /// Its executor drops it without a poll.
    Vanishes,
}

/// What the spawner does with it, beside what it does itself.
#[derive(Clone, Copy)]
enum Spawner {
    Returns,
    Panics,
}

/// A child that has been admitted.
struct Child {
    job: Arc<Job<Value, ()>>,
    home: Arc<Home>,
    index: usize,
    work: Kept,
    does: Does,
}

/// Work that is not dropped where its model has failed: its destructor is a part of that.
struct Kept(Option<Pin<Box<Work<Future_, Value, ()>>>>);

impl Kept {
    fn run(&mut self) {
        if let Some(work) = &mut self.0 {
            run(|cx| work.as_mut().poll(cx));
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.0.take());
        }
    }
}

impl Child {
    fn new(home: &Arc<Home>, index: usize, does: Does, count: &Count) -> Self {
        let job = Arc::new(Job::new());
        // One in the future, which is its value when it ends.
        let mut value = Some(count.value());
        let mut yields = matches!(does, Does::Yields);
        let future = poll_fn(move |cx| {
            if std::mem::take(&mut yields) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match does {
                Does::Waits => Poll::Pending,
                _ => Poll::Ready(Ok(value.take().expect("polled after its end"))),
            }
        });
        let mut work = Box::pin(Work::new(Box::pin(future) as Future_));
        work.as_mut().send_out(&job, home, index);
        Self { job, home: Arc::clone(home), index, work: Kept(Some(work)), does }
    }

    fn job(&self) -> Arc<Job<Value, ()>> {
        Arc::clone(&self.job)
    }

    /// The call of the spawner, with the work on a thread of its own.
    fn launch(self, spawner: Spawner) {
        if self.job.is_over() {
            return;
        }
        let Self { job, home, index, mut work, does } = self;
        let executor = thread::spawn(move || {
            if !matches!(does, Does::Vanishes) {
                work.run();
            }
        });
        let thrown = match spawner {
            Spawner::Returns => None,
            Spawner::Panics => Some(Box::new("the spawner's") as _),
        };
        job.launched(Way { home: &home, index }, thrown);
        join(executor);
    }

    fn launch_elsewhere(self, spawner: Spawner) -> JoinHandle<()> {
        thread::spawn(move || self.launch(spawner))
    }
}

fn join(thread: JoinHandle<()>) {
    thread.join().expect("it does not panic");
}

/// As a group, until all have reported.
fn outcomes(home: &Arc<Home>, parent: &Arc<ParentWaker>, jobs: &[Arc<Job<Value, ()>>]) -> Vec<Outcome> {
    let mut ended: Vec<Option<Outcome>> = jobs.iter().map(|_| None).collect();
    let mut done = Vec::new();
    run(|cx| {
        parent.begin_poll(cx);
        loop {
            parent.take_ready();
            home.take(&mut done);
            if done.is_empty() && !parent.is_notified() {
                break;
            }
            for index in done.drain(..) {
                assert!(jobs[index].is_settled(), "too early");
                let outcome = jobs[index].take().expect("it was told");
                // Thrown, it leaves a child that is dropped: work whose spawner has panicked
                // may end after that.
                if !is_value(&outcome) {
                    jobs[index].give_up();
                }
                assert!(ended[index].replace(outcome).is_none(), "told twice");
            }
        }
        let over = ended.iter().all(Option::is_some);
        if !over && home.has_reports() {
            parent.notify();
        }
        parent.end_poll(cx, !over);
        if over { Poll::Ready(()) } else { Poll::Pending }
    });
    ended.into_iter().flatten().collect()
}

fn home() -> (Arc<ParentWaker>, Arc<Home>) {
    let parent = ParentWaker::new();
    let home = Home::new(Arc::clone(&parent), || {});
    (parent, home)
}

/// One child whose outcome the group waits for.
fn awaited(does: Does, spawner: Spawner, is_right: fn(&Outcome) -> bool) {
    check(3, move || {
        let (count, (parent, home)) = (Count::new(), home());
        let child = Child::new(&home, 0, does, &count);
        let job = child.job();
        let launcher = child.launch_elsewhere(spawner);
        let outcomes = outcomes(&home, &parent, &[Arc::clone(&job)]);
        assert!(outcomes.iter().all(is_right));
        join(launcher);
        assert!(job.take().is_none(), "a second outcome");
        assert_eq!(count.left(), outcomes.iter().filter(|outcome| is_value(outcome)).count());
    });
}

fn is_value(outcome: &Outcome) -> bool {
    matches!(outcome, Ending::Finished(Ok(_)))
}

fn is_thrown(outcome: &Outcome) -> bool {
    match outcome {
        Ending::Panicked(payload) => payload.downcast_ref() == Some(&("the spawner's" as Payload)),
        _ => false,
    }
}

/// One child that the group drops, whatever it has come to.
fn dropped(does: Does, spawner: Spawner) {
    check(3, move || {
        let (count, (_bell, home)) = (Count::new(), home());
        let child = Child::new(&home, 0, does, &count);
        let job = child.job();
        let launcher = child.launch_elsewhere(spawner);
        job.give_up();
        // The work is over, with nobody else to end it.
        join(launcher);
        assert!(job.take().is_none(), "an outcome that nobody drops");
        assert_eq!(count.left(), 0);
    });
}

// === a child that is awaited ===

#[test]
fn work_that_ends_while_the_spawner_is_called() {
    awaited(Does::Ends, Spawner::Returns, is_value);
}

#[test]
fn work_that_is_polled_twice_while_the_spawner_is_called() {
    awaited(Does::Yields, Spawner::Returns, is_value);
}

#[test]
fn work_that_is_dropped_while_the_spawner_is_called() {
    awaited(Does::Vanishes, Spawner::Returns, |outcome| matches!(outcome, Ending::Lost));
}

#[test]
fn a_spawner_that_panics_while_the_work_ends() {
    awaited(Does::Ends, Spawner::Panics, is_thrown);
}

#[test]
fn a_spawner_that_panics_while_the_work_is_dropped() {
    awaited(Does::Vanishes, Spawner::Panics, is_thrown);
}

#[test]
fn a_spawner_that_panics_while_the_work_waits() {
    awaited(Does::Waits, Spawner::Panics, is_thrown);
}

#[test]
fn two_children_that_report_to_one_group() {
    check(2, || {
        let (count, (parent, home)) = (Count::new(), home());
        let children = [0, 1].map(|index| Child::new(&home, index, Does::Ends, &count));
        let jobs = [children[0].job(), children[1].job()];
        let executors = children.map(|child| {
            thread::spawn(move || {
                let Child { job, home, index, mut work, .. } = child;
                job.launched(Way { home: &home, index }, None);
                work.run();
            })
        });
        let outcomes = outcomes(&home, &parent, &jobs);
        assert!(outcomes.iter().all(is_value));
        executors.into_iter().for_each(join);
        assert!(!home.has_reports());
        assert_eq!(count.left(), 2);
    });
}

// === a child that is dropped by its group ===

#[test]
fn a_child_that_is_dropped_while_it_waits() {
    dropped(Does::Waits, Spawner::Returns);
}

#[test]
fn a_child_that_is_dropped_while_it_ends() {
    dropped(Does::Ends, Spawner::Returns);
}

#[test]
fn a_child_that_is_dropped_while_it_yields() {
    dropped(Does::Yields, Spawner::Returns);
}

#[test]
fn a_child_that_is_dropped_while_its_executor_drops_it() {
    dropped(Does::Vanishes, Spawner::Returns);
}

#[test]
fn a_child_that_is_dropped_while_its_spawner_panics() {
    dropped(Does::Ends, Spawner::Panics);
}
