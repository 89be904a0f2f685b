//! Children that run elsewhere: the halves of one, and how they report. The spawner's call and the
//! group's loop are written again, after `spawned/spawner.rs` and `spawned/set.rs`.

#[allow(dead_code)]
#[path = "../../src/spawned/completions.rs"]
mod completions;
#[allow(dead_code)]
#[path = "../../src/spawned/future.rs"]
mod future;
#[allow(dead_code)]
#[path = "../../src/spawned/task_cell.rs"]
mod task_cell;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use loom::thread::{self, JoinHandle};

use self::completions::Completions;
use self::future::{Assignment, SpawnedFuture};
use self::task_cell::{Completion, Keep, Kept, TaskCell};
use crate::observe::Outcome;
use crate::task::{check, run};
use crate::util::parent_waker::ParentWaker;
use crate::util::sync::Arc;

type BoxFuture = Pin<Box<dyn Future<Output = Result<Value, ()>> + Send>>;
type Payload = &'static str;

/// Counts, beside the model, how many values there are.
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
    /// It is done at its first poll.
    Ends,
    /// It wakes itself once.
    Yields,
    /// It is pending until it is dropped.
    Waits,
    /// Its executor drops it without a poll.
    Vanishes,
}

/// What the spawner's call does besides running the child.
#[derive(Clone, Copy)]
enum Spawner {
    Returns,
    /// It returns a value, which is kept.
    ReturnsValue,
    Panics,
}

type Cell = TaskCell<Value, (), Kept<Value>>;

/// A child that has been admitted.
struct Child {
    cell: Arc<Cell>,
    future: ModelFuture,
    does: Does,
    /// What the spawner may return.
    returned: Value,
}

/// A child's future. It is leaked if its model has failed, since its destructor uses the model.
struct ModelFuture(Option<Pin<Box<Spawned>>>);

type Spawned = SpawnedFuture<BoxFuture, Value, (), Kept<Value>>;

impl ModelFuture {
    fn run(&mut self) {
        if let Some(future) = &mut self.0 {
            run(|cx| future.as_mut().poll(cx));
        }
    }
}

impl Drop for ModelFuture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.0.take());
        }
    }
}

impl Child {
    fn new(completions: &Arc<Completions>, index: usize, does: Does, count: &Count) -> Self {
        let cell = Arc::new(Cell::new(Arc::clone(completions), index));
        // The future holds one value, and returns it when it is done.
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
        let mut future = Box::pin(SpawnedFuture::new(Box::pin(future) as BoxFuture));
        completions.add();
        future.as_mut().assign(Assignment { cell: Arc::clone(&cell), observer: None });
        let (future, returned) = (ModelFuture(Some(future)), count.value());
        Self { cell, future, does, returned }
    }

    fn cell(&self) -> Arc<Cell> {
        Arc::clone(&self.cell)
    }

    /// Calls the spawner, which runs the future on a thread of its own.
    fn spawn(self, spawner: Spawner) {
        let Self { cell, mut future, does, returned } = self;
        if cell.is_abandoned() {
            drop(future);
            cell.spawned(Ok(()));
            return;
        }
        let executor = thread::spawn(move || {
            if !matches!(does, Does::Vanishes) {
                future.run();
            }
        });
        let result = match spawner {
            Spawner::Returns => Ok(()),
            Spawner::ReturnsValue => {
                cell.kept().keep(&mut Some(returned));
                Ok(())
            }
            Spawner::Panics => Err(Box::new("the spawner's") as _),
        };
        cell.spawned(result);
        join(executor);
    }

    /// Calls the spawner on another thread.
    fn spawn_elsewhere(self, spawner: Spawner) -> JoinHandle<()> {
        thread::spawn(move || self.spawn(spawner))
    }
}

fn join(thread: JoinHandle<()>) {
    thread.join().expect("it does not panic");
}

/// Waits as a group does, until all children have reported.
fn await_all(
    completions: &Arc<Completions>,
    parent: &Arc<ParentWaker>,
    cells: &[Arc<Cell>],
) -> Vec<Completion<Value, ()>> {
    let mut taken: Vec<Option<Completion<Value, ()>>> = cells.iter().map(|_| None).collect();
    let mut reports = std::collections::VecDeque::new();
    run(|cx| {
        parent.begin_poll();
        loop {
            parent.take_ready();
            completions.take_reports(&mut reports, &mut |_, _| ());
            if reports.is_empty() && !parent.is_notified() {
                break;
            }
            for (index, outcome) in reports.drain(..) {
                assert!(cells[index].is_complete(), "too early");
                let completion = cells[index].take_completion().expect("it was reported");
                cells[index].kept().clear();
                assert_eq!(outcome == Outcome::Ok, is_value(&completion));
                // A group resumes a panic, and drops the child. If the spawner has panicked, the
                // future may end after that.
                if !is_value(&completion) {
                    cells[index].abandon();
                }
                assert!(taken[index].replace(completion).is_none(), "reported twice");
            }
        }
        let over = taken.iter().all(Option::is_some);
        if !over && completions.has_reports() {
            parent.leave_work();
        }
        parent.end_poll(cx, (!over, true));
        if over { Poll::Ready(()) } else { Poll::Pending }
    });
    taken.into_iter().flatten().collect()
}

fn completions() -> (Arc<ParentWaker>, Arc<Completions>) {
    let parent = ParentWaker::new();
    let completions = Completions::new(Arc::clone(&parent), || {});
    (parent, completions)
}

/// The group waits for the completion of one child.
fn awaited(does: Does, spawner: Spawner, is_right: fn(&Completion<Value, ()>) -> bool) {
    check(3, move || {
        let (count, (parent, completions)) = (Count::new(), completions());
        let child = Child::new(&completions, 0, does, &count);
        let cell = child.cell();
        let spawning = child.spawn_elsewhere(spawner);
        let taken = await_all(&completions, &parent, &[Arc::clone(&cell)]);
        assert!(taken.iter().all(is_right));
        join(spawning);
        assert!(cell.take_completion().is_none(), "a second completion");
        assert_eq!(count.left(), taken.iter().filter(|completion| is_value(completion)).count());
    });
}

fn is_value(completion: &Completion<Value, ()>) -> bool {
    matches!(completion, Completion::Finished(Ok(_)))
}

fn is_spawners_panic(completion: &Completion<Value, ()>) -> bool {
    match completion {
        Completion::Panicked(payload) => {
            payload.downcast_ref() == Some(&("the spawner's" as Payload))
        }
        _ => false,
    }
}

/// The group drops its one child, at any moment.
fn dropped(does: Does, spawner: Spawner) {
    check(3, move || {
        let (count, (_parent, completions)) = (Count::new(), completions());
        let child = Child::new(&completions, 0, does, &count);
        let cell = child.cell();
        let spawning = child.spawn_elsewhere(spawner);
        cell.abandon();
        // The future ends, though nothing else ends it.
        join(spawning);
        assert!(cell.take_completion().is_none(), "a completion that is not dropped");
        assert_eq!(count.left(), 0);
    });
}

// === a child that is awaited ===

#[test]
fn a_future_that_ends_while_the_spawner_is_called() {
    awaited(Does::Ends, Spawner::Returns, is_value);
}

#[test]
fn a_future_that_ends_while_the_spawner_returns_a_value() {
    awaited(Does::Ends, Spawner::ReturnsValue, is_value);
}

#[test]
fn a_future_that_is_polled_twice_while_the_spawner_is_called() {
    awaited(Does::Yields, Spawner::Returns, is_value);
}

#[test]
fn a_future_that_is_dropped_while_the_spawner_is_called() {
    let is_lost = |completion: &_| matches!(completion, Completion::Lost);
    awaited(Does::Vanishes, Spawner::Returns, is_lost);
}

#[test]
fn a_spawner_that_panics_while_the_future_ends() {
    awaited(Does::Ends, Spawner::Panics, is_spawners_panic);
}

#[test]
fn a_spawner_that_panics_while_the_future_is_dropped() {
    awaited(Does::Vanishes, Spawner::Panics, is_spawners_panic);
}

#[test]
fn a_spawner_that_panics_while_the_future_waits() {
    awaited(Does::Waits, Spawner::Panics, is_spawners_panic);
}

#[test]
fn two_children_that_report_to_one_group() {
    check(2, || {
        let (count, (parent, completions)) = (Count::new(), completions());
        let children = [0, 1].map(|index| Child::new(&completions, index, Does::Ends, &count));
        let cells = [children[0].cell(), children[1].cell()];
        let executors = children.map(|child| {
            thread::spawn(move || {
                let Child { cell, mut future, .. } = child;
                cell.spawned(Ok(()));
                future.run();
            })
        });
        let taken = await_all(&completions, &parent, &cells);
        assert!(taken.iter().all(is_value));
        executors.into_iter().for_each(join);
        assert!(!completions.has_reports());
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
fn a_child_that_is_dropped_while_its_spawner_returns_a_value() {
    dropped(Does::Waits, Spawner::ReturnsValue);
}

#[test]
fn a_child_that_is_dropped_while_its_spawner_panics() {
    dropped(Does::Ends, Spawner::Panics);
}
