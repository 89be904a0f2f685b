//! What all actors of a world share, and what occurs in it.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;

use errgroup::{CancelToken, ChildHandle, Semaphore};

use crate::executor::{Executor, Latch};
use crate::record::{ChildRecord, GroupRecord};
use crate::tape::Tape;

pub(crate) struct World {
    pub(crate) tape: RefCell<Tape>,
    pub(crate) features: Features,
    traces: bool,
    /// The first thing that was found to be wrong.
    fault: RefCell<Option<String>>,
    clock: Cell<usize>,
    pub(crate) executor: Executor,
    pub(crate) groups: RefCell<Vec<Rc<GroupRecord>>>,
    pub(crate) children: RefCell<Vec<Rc<ChildRecord>>>,
    pub(crate) latches: RefCell<Vec<Rc<Latch>>>,
    /// New latches are open, since the world is to end.
    pub(crate) opens_latches: Cell<bool>,
    /// The children that are being polled, the innermost last.
    pub(crate) polling: RefCell<Vec<Rc<ChildRecord>>>,
    pub(crate) awaited: RefCell<Vec<Rc<Awaited>>>,
    /// Parents of the tokens of groups.
    pub(crate) tokens: RefCell<Vec<CancelToken>>,
    pub(crate) join_handles: RefCell<Vec<(Rc<ChildRecord>, ChildHandle<()>)>>,
    pub(crate) semaphore: Arc<Semaphore>,
    pub(crate) permits: Cell<usize>,
    /// How many permits tasks hold, and for how many they wait.
    pub(crate) permits_held: Cell<usize>,
    pub(crate) permits_awaited: Cell<usize>,
}

/// What a task waits for.
pub(crate) enum Awaited {
    /// The end of a group.
    Closed(Rc<GroupRecord>),
    /// The handle of a joinable child.
    Child(Rc<ChildRecord>),
}

/// What occurs in a world.
///
/// Each is drawn, so that most worlds have few of them: a bug that needs two of them is hidden by
/// the others.
#[derive(Debug)]
pub(crate) struct Features {
    pub(crate) kinds: Kinds,
    pub(crate) weights: bool,
    pub(crate) priorities: bool,
    pub(crate) keys: bool,
    pub(crate) unique: bool,
    pub(crate) daemons: bool,
    pub(crate) until_stop: bool,
    pub(crate) joinable: bool,
    pub(crate) gates: usize,
    pub(crate) semaphore: bool,
    pub(crate) queue_limit: bool,
    pub(crate) holds: bool,
    /// Cancels and closes.
    pub(crate) ends: bool,
    pub(crate) errors: bool,
    pub(crate) panics: bool,
    /// Limits change.
    pub(crate) limits: bool,
    /// Children own groups.
    pub(crate) nested: bool,
    /// Futures are kept without being polled.
    pub(crate) parks: bool,
    /// Deadlines and graces.
    pub(crate) timers: bool,
    /// Groups and tasks are dropped, children aborted.
    pub(crate) drops: bool,
    /// Destructors of children act.
    pub(crate) destructors: bool,
    pub(crate) observer: bool,
    pub(crate) names: bool,
    /// `Group::with_schedule` decides the order of polls.
    pub(crate) schedule: bool,
    pub(crate) results: bool,
    pub(crate) scopes: bool,
}

/// How the children of groups are polled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kinds {
    /// By the group: `Group::local`.
    Polled,
    /// By the executor: `Group::on_local`.
    Spawned,
    /// Each group has one of the two.
    Mixed,
}

impl Features {
    fn draw(tape: &mut Tape) -> Self {
        let kinds = [Kinds::Polled, Kinds::Spawned, Kinds::Mixed][tape.below(3)];
        let mut chance = |one_in: usize| tape.below(one_in) == one_in - 1;
        Self {
            kinds,
            weights: chance(3),
            priorities: chance(4),
            keys: chance(3),
            unique: chance(2),
            daemons: chance(4),
            until_stop: chance(5),
            joinable: chance(3),
            gates: if chance(3) { 1 + usize::from(chance(3)) } else { 0 },
            semaphore: chance(4),
            queue_limit: chance(5),
            holds: chance(3),
            ends: chance(3),
            errors: chance(3),
            panics: chance(6),
            limits: chance(3),
            nested: chance(3),
            parks: chance(3),
            timers: chance(5),
            drops: chance(3),
            destructors: chance(6),
            observer: chance(5),
            names: chance(3),
            schedule: chance(6),
            results: chance(2),
            scopes: chance(3),
        }
    }
}

impl World {
    pub(crate) fn new(bytes: &[u8], traces: bool) -> Self {
        let mut tape = Tape::new(bytes);
        let features = Features::draw(&mut tape);
        let permits = 1 + tape.below(3);
        let world = Self {
            tape: RefCell::new(tape),
            features,
            traces,
            fault: RefCell::default(),
            clock: Cell::new(1),
            executor: Executor::default(),
            groups: RefCell::default(),
            children: RefCell::default(),
            latches: RefCell::default(),
            opens_latches: Cell::default(),
            polling: RefCell::default(),
            awaited: RefCell::default(),
            tokens: RefCell::default(),
            join_handles: RefCell::default(),
            semaphore: Arc::new(Semaphore::new(permits)),
            permits: Cell::new(permits),
            permits_held: Cell::default(),
            permits_awaited: Cell::default(),
        };
        world.log(format_args!("{:?}, {permits} permits", world.features));
        world
    }

    /// Returns a number below `bound`, as the bytes say.
    pub(crate) fn below(&self, bound: usize) -> usize {
        self.tape.borrow_mut().below(bound)
    }

    /// Returns one of these, as the bytes say.
    pub(crate) fn choose<T: Copy, const N: usize>(&self, choices: [T; N]) -> T {
        choices[self.below(N)]
    }

    /// Returns `true` once in so many times; never, once the bytes are used up.
    pub(crate) fn chance(&self, one_in: usize) -> bool {
        self.below(one_in) == one_in - 1
    }

    /// Returns a time that is later than all before it.
    pub(crate) fn tick(&self) -> usize {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    pub(crate) fn log(&self, what: impl Display) {
        if self.traces {
            println!("{:4}  {what}", self.clock.get());
        }
    }

    /// Records that something is wrong, which ends the world.
    pub(crate) fn fault(&self, what: impl Display) {
        self.log(format_args!("FAULT: {what}"));
        self.fault.borrow_mut().get_or_insert_with(|| what.to_string());
    }

    pub(crate) fn has_fault(&self) -> bool {
        self.fault.borrow().is_some()
    }

    pub(crate) fn take_fault(&self) -> Option<String> {
        self.fault.take()
    }

    /// Returns a latch that the world opens sooner or later.
    pub(crate) fn latch(&self) -> Rc<Latch> {
        let latch = Rc::new(Latch::default());
        if self.opens_latches.get() {
            latch.open();
        } else {
            self.latches.borrow_mut().push(latch.clone());
        }
        latch
    }

    /// Opens one of the latches.
    pub(crate) fn open_latch(&self) {
        let mut latches = self.latches.borrow_mut();
        latches.retain(|latch| !latch.is_open());
        if latches.is_empty() {
            return;
        }
        let latch = latches[self.below(latches.len())].clone();
        drop(latches);
        latch.open();
    }

    /// Aborts one of the joinable children.
    pub(crate) fn abort_child(&self) {
        let mut handles = self.join_handles.borrow_mut();
        if handles.is_empty() {
            return;
        }
        let at = self.below(handles.len());
        // The abort drops the child, whose destructor may use the others.
        let (child, handle) = handles.swap_remove(at);
        drop(handles);
        self.log(format_args!("child {} is aborted", child.id));
        if !handle.is_finished() {
            child.aborted.set(true);
        }
        handle.abort();
        self.join_handles.borrow_mut().push((child, handle));
    }
}
