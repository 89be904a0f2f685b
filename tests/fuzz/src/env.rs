//! What a world consists of, and the bytes that decide what happens in it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use async_lock::{Semaphore, SemaphoreGuardArc};
use errgroup::{CancelToken, ChildHandle, Hold};
use futures::future::LocalBoxFuture;

use crate::kinds::{AnyHandle, AnySlot};

thread_local!(static ENV: RefCell<Option<Rc<Env>>> = const { RefCell::new(None) });

/// The panic of a child, a policy and so on, which the world wants.
pub struct Boom;

/// A world. Children, wakers and the like find it through a variable of the thread.
#[derive(Default)]
pub struct Env {
    bytes: RefCell<Vec<u8>>,
    at: Cell<usize>,
    pub groups: RefCell<Vec<Rc<Member>>>,
    pub kids: RefCell<Vec<Rc<KidState>>>,
    /// The children that are not dropped, and those of them that have ended.
    pub alive: RefCell<BTreeMap<usize, Rc<KidState>>>,
    pub ended: RefCell<BTreeSet<usize>>,
    pub tasks: RefCell<Vec<Rc<TaskState>>>,
    /// The tasks that are woken, and not done.
    pub woken: RefCell<BTreeSet<usize>>,
    /// Gates at which children wait, by number: the wakers, or `None` once it is open.
    gates: RefCell<Vec<Option<Vec<Waker>>>>,
    closed_gates: RefCell<Vec<usize>>,
    pub semaphore: RefCell<Option<Arc<Semaphore>>>,
    pub taken: RefCell<Vec<SemaphoreGuardArc>>,
    pub joins: RefCell<Vec<(usize, ChildHandle<()>)>>,
    pub slots: RefCell<Vec<(usize, Box<dyn AnySlot>)>>,
    pub holds: RefCell<Vec<(usize, Hold)>>,
    pub wakers: RefCell<Vec<Waker>>,
    pub roots: RefCell<Vec<CancelToken>>,
    /// How deep acts are in acts.
    pub depth: Cell<usize>,
    failure: RefCell<Option<String>>,
    /// Something has panicked.
    pub boomed: Cell<bool>,
    pub trace: Cell<bool>,
}

/// A group of the world.
pub struct Member {
    pub owner: Owner,
    /// Its children run on the world's executor.
    pub spawned: bool,
    pub handle: RefCell<Option<Rc<dyn AnyHandle>>>,
    /// It has a handle.
    pub handled: Cell<bool>,
    /// Its children that were polled and are not dropped.
    pub started: RefCell<BTreeMap<usize, Rc<KidState>>>,
    /// How many orders its owner has not followed yet.
    pub orders: Cell<usize>,
    pub waker: RefCell<Option<Waker>>,
    /// No more orders come when those are done.
    pub ends: Cell<bool>,
    pub doing: Cell<Doing>,
    pub gone: Cell<bool>,
    pub body_runs: Cell<bool>,
    pub gated: Cell<bool>,
    /// How many gates it has, futures of them that wait, and guards that they have given.
    pub gates: Cell<usize>,
    pub gate_futures: Cell<usize>,
    pub guards: Cell<usize>,
    pub shares: Cell<bool>,
    /// Its children end with the stop.
    pub drops: Cell<bool>,
    /// It is a stream of results.
    pub streams: Cell<bool>,
    /// It has had a child with a weight or a key.
    pub mixed: Cell<bool>,
    /// The highest limit that it ever had.
    pub limit: Cell<Option<usize>>,
    pub key_limit: Cell<Option<usize>>,
    /// How many futures wait in `go` at it.
    pub waiting: Cell<usize>,
    /// How many feeds of handles there are: one holds the group open while it waits for room.
    pub feeds: Cell<usize>,
    pub made: Cell<usize>,
    pub given_back: Cell<usize>,
    /// Whether all of its children were accepted is not known.
    pub unsure: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Task(usize),
    Kid(usize),
}

/// What the owner of a group does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// It does not poll the group.
    Nothing,
    /// It polls the group, to its end.
    Polls,
    /// It polls it in a `go`, a `feed`, a scope or the like.
    Drives,
}

/// A child.
pub struct KidState {
    pub group: usize,
    pub weight: usize,
    pub key: Option<u8>,
    pub daemon: bool,
    pub until_stop: bool,
    pub crowd: Option<usize>,
    pub started: Cell<bool>,
    pub woken: Cell<bool>,
    pub ended: Cell<Option<End>>,
    pub dropped: Cell<bool>,
    /// It was aborted in the queue.
    pub aborted: Cell<bool>,
    pub body: RefCell<Option<LocalBoxFuture<'static, Result<(), u32>>>>,
    pub waker: RefCell<Option<(Waker, Waker)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Ok,
    Failed,
    Panicked,
}

/// What a task waits for.
#[derive(Clone, Debug)]
pub enum What {
    Owner,
    Executor,
    Go(usize),
    Feed(usize),
    Reserve(usize),
    Closed(usize),
    Cancelled(CancelToken),
    Join(usize),
    Permit,
}

pub struct TaskState {
    pub what: What,
    pub future: RefCell<Option<LocalBoxFuture<'static, ()>>>,
    pub done: Cell<bool>,
    /// It is to be dropped, and is being polled.
    pub condemned: Cell<bool>,
    /// Its waker acts.
    pub hostile: bool,
    pub waker: RefCell<Option<Waker>>,
}

/// Returns the world of this thread.
pub fn env() -> Rc<Env> {
    try_env().expect("there is a world")
}

pub fn try_env() -> Option<Rc<Env>> {
    ENV.with(|env| env.borrow().clone())
}

impl Env {
    pub fn install(bytes: &[u8], trace: bool) -> Rc<Self> {
        let env = Rc::new(Self::default());
        *env.bytes.borrow_mut() = bytes.to_vec();
        env.trace.set(trace);
        ENV.with(|slot| *slot.borrow_mut() = Some(Rc::clone(&env)));
        env
    }

    pub fn uninstall() {
        let env = ENV.with(|slot| slot.borrow_mut().take());
        drop(env);
    }

    // --- the bytes ---

    /// Returns the next byte; 0 after the last.
    pub fn byte(&self) -> u8 {
        let at = self.at.get();
        let byte = self.bytes.borrow().get(at).copied();
        self.at.set(at + usize::from(byte.is_some()));
        byte.unwrap_or(0)
    }

    pub fn below(&self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    pub fn one_in(&self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn is_out(&self) -> bool {
        self.at.get() >= self.bytes.borrow().len()
    }

    // --- failures ---

    /// Notes a broken promise. A panic would be caught by a group.
    #[track_caller]
    pub fn fail(&self, what: impl FnOnce() -> String) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_none() {
            *failure = Some(format!("{} ({})", what(), std::panic::Location::caller()));
        }
    }

    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    pub fn note(&self, what: impl FnOnce() -> String) {
        if self.trace.get() {
            println!("{:indent$}{}", "", what(), indent = 2 * self.depth.get());
        }
    }

    // --- what there is ---

    pub fn group(&self, at: usize) -> Rc<Member> {
        Rc::clone(&self.groups.borrow()[at])
    }

    pub fn kid(&self, id: usize) -> Rc<KidState> {
        Rc::clone(&self.kids.borrow()[id])
    }

    pub fn add_kid(&self, kid: KidState) -> usize {
        let (mut kids, kid) = (self.kids.borrow_mut(), Rc::new(kid));
        let id = kids.len();
        self.alive.borrow_mut().insert(id, Rc::clone(&kid));
        kids.push(kid);
        id
    }

    pub fn task(&self, id: usize) -> Rc<TaskState> {
        Rc::clone(&self.tasks.borrow()[id])
    }

    pub fn handle(&self, at: usize) -> Option<Rc<dyn AnyHandle>> {
        self.group(at).handle.borrow().clone()
    }

    // --- gates ---

    pub fn new_gate(&self) -> usize {
        let mut gates = self.gates.borrow_mut();
        gates.push(Some(Vec::new()));
        self.closed_gates.borrow_mut().push(gates.len() - 1);
        gates.len() - 1
    }

    /// Returns `true` if the gate is open, and else keeps the waker.
    pub fn pass_gate(&self, number: usize, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut gates = self.gates.borrow_mut();
        match &mut gates[number] {
            Some(wakers) => wakers.push(waker),
            None => {
                drop(gates);
                return true;
            }
        }
        false
    }

    /// Opens a gate. Returns `false` if none is closed.
    pub fn open(&self, pick: usize) -> bool {
        let number = {
            let mut closed = self.closed_gates.borrow_mut();
            if closed.is_empty() {
                return false;
            }
            let at = pick % closed.len();
            closed.remove(at)
        };
        self.note(|| format!("opens gate {number}"));
        let wakers = self.gates.borrow_mut()[number].take();
        WakeAll(wakers.into_iter().flatten().collect());
        true
    }

    // --- permits ---

    pub fn take(&self) {
        let semaphore = self.semaphore.borrow().clone();
        let permit = semaphore.and_then(|semaphore| semaphore.try_acquire_arc());
        self.taken.borrow_mut().extend(permit);
    }

    pub fn give(&self) -> bool {
        let permit = self.taken.borrow_mut().pop();
        permit.is_some()
    }

    pub fn free(&self) -> usize {
        self.semaphore.borrow().as_ref().map_or(0, |semaphore| semaphore.available_permits())
    }
}

/// Wakes all when it is dropped, though one panics.
struct WakeAll(Vec<Waker>);

impl Drop for WakeAll {
    fn drop(&mut self) {
        let mut panic: Option<Box<dyn Any + Send>> = None;
        for waker in std::mem::take(&mut self.0) {
            let woken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
            panic = panic.or(woken.err());
        }
        if let Some(panic) = panic {
            if !std::thread::panicking() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Member {
    pub fn new(owner: Owner, spawned: bool) -> Self {
        Self {
            owner,
            spawned,
            handle: RefCell::default(),
            handled: Cell::new(false),
            started: RefCell::default(),
            orders: Cell::new(0),
            waker: RefCell::default(),
            ends: Cell::new(false),
            doing: Cell::new(Doing::Nothing),
            gone: Cell::new(false),
            body_runs: Cell::new(false),
            gated: Cell::new(false),
            gates: Cell::new(0),
            gate_futures: Cell::new(0),
            guards: Cell::new(0),
            shares: Cell::new(false),
            drops: Cell::new(false),
            streams: Cell::new(false),
            mixed: Cell::new(false),
            limit: Cell::new(Some(0)),
            key_limit: Cell::new(Some(0)),
            waiting: Cell::new(0),
            feeds: Cell::new(0),
            made: Cell::new(0),
            given_back: Cell::new(0),
            unsure: Cell::new(false),
        }
    }

    pub fn order(&self) {
        self.orders.set(self.orders.get() + 1);
        let waker = self.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }

    pub fn end(&self) {
        self.ends.set(true);
        let waker = self.waker.borrow_mut().take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Notes a limit that it has from now on.
    pub fn raise(highest: &Cell<Option<usize>>, limit: Option<usize>) {
        highest.set(highest.get().zip(limit).map(|(one, other)| one.max(other)));
    }
}
