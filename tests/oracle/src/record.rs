//! What the world knows of groups, of their children and of what waits for room: what it has done
//! with them itself. How the crate keeps its promises plays no part here.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use errgroup::{CancelToken, Outcome};

use crate::executor::Latch;
use crate::kinds::{AnyHandle, Output};

/// The keys of children are less than this.
pub(crate) const KEYS: usize = 2;

pub(crate) struct ChildRecord {
    pub(crate) id: u32,
    pub(crate) group: Rc<GroupRecord>,
    pub(crate) options: ChildOptions,
    pub(crate) stage: Cell<Stage>,
    /// When it was offered.
    pub(crate) offered_at: Cell<usize>,
    /// It came by a `feed` or a reservation, so that its place in the queue is not known exactly.
    pub(crate) has_vague_place: Cell<bool>,
    /// It came by a `go` of the group itself.
    pub(crate) came_by_owner: Cell<bool>,
    /// The group's numbers contain it.
    pub(crate) is_counted: Cell<bool>,
    pub(crate) aborted: Cell<bool>,
    pub(crate) is_dropped: Cell<bool>,
    /// Its result was not read before the stream of results was gone.
    pub(crate) is_unread: Cell<bool>,
    /// It waits for the cancel of its group's token.
    pub(crate) awaits_cancel: Cell<bool>,
    /// What the observer was told of it last.
    pub(crate) told: Cell<Told>,
    pub(crate) woken: Arc<AtomicBool>,
}

#[derive(Debug)]
pub(crate) struct ChildOptions {
    pub(crate) weight: usize,
    pub(crate) priority: i32,
    pub(crate) key: Option<usize>,
    pub(crate) unique: bool,
    pub(crate) daemon: bool,
    pub(crate) until_stop: bool,
    pub(crate) joinable: bool,
    pub(crate) named: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Offered,
    Accepted,
    Running,
    Ok,
    Failed,
    Panicked,
    Dropped,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Told {
    #[default]
    Nothing,
    Queued,
    Started,
    Finished,
}

/// A `go`, `feed`, `reserve` or `ready` that was polled and has not returned.
pub(crate) struct Waiter {
    pub(crate) call: Call,
    pub(crate) polled_at: Cell<usize>,
    /// That of a `go`.
    pub(crate) child: Option<Rc<ChildRecord>>,
    /// The child within which it was polled last.
    pub(crate) inside: RefCell<Option<Rc<ChildRecord>>>,
    /// It is kept and not polled, on purpose.
    pub(crate) is_parked: Cell<bool>,
    /// What the stream of a `feed` waits for.
    pub(crate) stream_waits: Rc<RefCell<Option<Rc<Latch>>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Call {
    Go,
    Feed,
    Reserve,
    Ready,
}

/// What polls a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Driver {
    /// The group itself is awaited.
    Group,
    /// A `go`, `feed` or `ready` of it, or a scope.
    Call,
}

/// Which result of a child stops the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StopsAt {
    Error,
    Nothing,
    Result,
}

#[derive(Default)]
pub(crate) struct GateRecord {
    /// What the future of the gate waits for, if there is one.
    pub(crate) pending: RefCell<Option<Rc<Latch>>>,
    pub(crate) guards: Cell<usize>,
}

/// A limit, and what it was before.
pub(crate) struct LimitRecord(RefCell<Vec<(usize, Option<usize>)>>);

pub(crate) struct GroupRecord {
    pub(crate) id: usize,
    /// Its children are tasks of the executor.
    pub(crate) is_spawned: bool,
    /// The child that owns it.
    pub(crate) owner: Option<Rc<ChildRecord>>,
    pub(crate) limit: LimitRecord,
    pub(crate) key_limits: [LimitRecord; KEYS],
    pub(crate) queue_limit: Option<usize>,
    pub(crate) stops_at: StopsAt,
    pub(crate) drops_on_stop: bool,
    pub(crate) has_semaphore: bool,
    pub(crate) gates: Vec<Rc<GateRecord>>,
    pub(crate) deadline: Option<Rc<Latch>>,
    pub(crate) grace: Option<Rc<Latch>>,
    /// The token whose cancel stops the group.
    pub(crate) parent: Option<CancelToken>,
    pub(crate) handle: RefCell<Option<Rc<dyn AnyHandle>>>,
    pub(crate) driver: Cell<Option<Driver>>,
    pub(crate) children: RefCell<Vec<Rc<ChildRecord>>>,
    pub(crate) waiters: RefCell<Vec<Rc<Waiter>>>,
    /// Reservations that have room.
    pub(crate) slots: Cell<usize>,
    /// Those that were made within a child, which may be without room.
    pub(crate) nested_slots: Cell<usize>,
    /// A `try_go` or a `ready` may have left a guard of a gate for the next child.
    pub(crate) may_spare_guard: Cell<bool>,
    pub(crate) holds: Cell<usize>,
    pub(crate) is_closed: Cell<bool>,
    /// A child has ended in a way that stops the group.
    pub(crate) is_stopped: Cell<bool>,
    /// It has resolved, or was dropped.
    pub(crate) has_ended: Cell<bool>,
    pub(crate) errors: RefCell<Vec<u32>>,
    pub(crate) first_result: Cell<Option<Result<(), u32>>>,
    pub(crate) panicked: Cell<bool>,
    pub(crate) is_stream: Cell<bool>,
    /// Children whose results the stream has not given yet.
    pub(crate) unread: RefCell<VecDeque<Rc<ChildRecord>>>,
}

// === impl ChildRecord ===

impl ChildRecord {
    /// Returns `true` if it is polled once it is woken.
    pub(crate) fn is_polled(&self) -> bool {
        self.is_in(Stage::Running) && (self.group.is_spawned || self.group.is_driven())
    }

    pub(crate) fn is_in(&self, stage: Stage) -> bool {
        self.stage.get() == stage
    }

    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.stage.get(), Stage::Offered | Stage::Accepted | Stage::Running)
    }

    /// Records that the group's numbers contain it from now on.
    pub(crate) fn accept(&self) {
        self.is_counted.set(true);
        if self.is_in(Stage::Offered) {
            self.stage.set(Stage::Accepted);
        }
    }

    /// Returns how it has ended, or `None` if it has not.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match self.stage.get() {
            Stage::Ok => Some(Outcome::Ok),
            Stage::Failed => Some(Outcome::Failed),
            Stage::Panicked => Some(Outcome::Panicked),
            Stage::Dropped => Some(Outcome::Dropped),
            _ => None,
        }
    }
}

impl ChildOptions {
    /// Returns `true` if it is a child without any option.
    pub(crate) fn is_plain(&self) -> bool {
        (self.weight, self.priority, self.key) == (1, 0, None)
            && !(self.daemon || self.until_stop || self.joinable || self.named)
    }
}

// === impl Waiter ===

impl Waiter {
    pub(crate) fn new(call: Call, child: Option<Rc<ChildRecord>>) -> Self {
        Self {
            call,
            polled_at: Cell::default(),
            child,
            inside: RefCell::default(),
            is_parked: Cell::default(),
            stream_waits: Rc::default(),
        }
    }

    /// Returns `false` for a `feed` whose stream is pending.
    pub(crate) fn is_in_line(&self) -> bool {
        self.stream_waits.borrow().as_ref().is_none_or(|latch| latch.is_open())
    }

    /// Returns `true` if it is not polled though it is woken.
    pub(crate) fn is_parked(&self) -> bool {
        let inside = self.inside.borrow();
        self.is_parked.get() || inside.as_ref().is_some_and(|child| !child.is_polled())
    }

    /// Returns `true` if it was polled last within that child.
    pub(crate) fn is_inside(&self, child: &Rc<ChildRecord>) -> bool {
        self.inside.borrow().as_ref().is_some_and(|inside| Rc::ptr_eq(inside, child))
    }
}

// === impl LimitRecord ===

impl LimitRecord {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self(RefCell::new(vec![(0, limit)]))
    }

    pub(crate) fn set(&self, now: usize, limit: Option<usize>) {
        self.0.borrow_mut().push((now, limit));
    }

    pub(crate) fn current(&self) -> Option<usize> {
        self.0.borrow().last().and_then(|last| last.1)
    }

    /// Returns the highest limit that there was at that time or later.
    pub(crate) fn highest_since(&self, time: usize) -> Option<usize> {
        let limits = self.0.borrow();
        let first = limits.iter().rposition(|(since, _)| *since <= time).unwrap_or(0);
        limits[first..].iter().try_fold(0, |highest, (_, limit)| Some(highest.max((*limit)?)))
    }

    pub(crate) fn was_lowered(&self) -> bool {
        let size = |limit: Option<usize>| limit.unwrap_or(usize::MAX);
        self.0.borrow().windows(2).any(|pair| size(pair[1].1) < size(pair[0].1))
    }
}

// === impl GroupRecord ===

impl GroupRecord {
    pub(crate) fn handle(&self) -> Option<Rc<dyn AnyHandle>> {
        self.handle.borrow().clone()
    }

    pub(crate) fn has_stopped(&self) -> bool {
        let told = match &*self.handle.borrow() {
            Some(handle) => handle.is_stopped(),
            None => !self.is_spawned && self.is_stopped.get(),
        };
        let parent = self.parent.as_ref().is_some_and(|token| token.is_cancelled());
        self.has_ended.get() || told || parent
    }

    /// Returns `true` if it has stopped, or if a child's end may yet reach its policy, or if there
    /// is no handle that could tell.
    pub(crate) fn may_have_stopped(&self) -> bool {
        let is_untold = || {
            self.handle.borrow().is_none()
                && (self.is_late() || self.children.borrow().iter().any(|it| it.options.daemon))
        };
        self.is_stopped.get() || self.has_stopped() || is_untold()
    }

    /// Returns `true` if its deadline has passed.
    pub(crate) fn is_late(&self) -> bool {
        self.deadline.as_ref().is_some_and(|latch| latch.is_open())
    }

    /// Returns `true` if it is polled once it is woken.
    pub(crate) fn is_driven(&self) -> bool {
        self.driver.get().is_some() && self.owner.as_ref().is_none_or(|child| child.is_polled())
    }

    pub(crate) fn running(&self) -> Vec<Rc<ChildRecord>> {
        let children = self.children.borrow();
        children.iter().filter(|child| child.is_in(Stage::Running)).cloned().collect()
    }

    /// Returns the children that have room: those that run, and those whose results keep it.
    pub(crate) fn with_room(&self) -> Vec<Rc<ChildRecord>> {
        let mut children = self.running();
        children.extend(self.unread.borrow().iter().cloned());
        children
    }

    /// Returns how many of the children that it counts are in that stage.
    pub(crate) fn count_in(&self, stage: Stage) -> usize {
        let stage_of = |child: &ChildRecord| {
            if child.is_unread.get() { Stage::Dropped } else { child.stage.get() }
        };
        self.count(|child| stage_of(child) == stage)
    }

    /// Returns how many of the children that it counts are such.
    pub(crate) fn count(&self, is_such: impl Fn(&ChildRecord) -> bool) -> usize {
        let children = self.children.borrow();
        children.iter().filter(|child| child.is_counted.get() && is_such(child)).count()
    }

    /// Returns how many reservations have room for sure; a stop takes it from all.
    pub(crate) fn sure_slots(&self) -> usize {
        if self.has_stopped() { 0 } else { self.slots.get() }
    }

    pub(crate) fn all_slots(&self) -> usize {
        self.sure_slots() + self.nested_slots.get()
    }

    /// Records what a child returns, and that the group stops if it is to.
    ///
    /// The policy is told of it in the group's poll, for spawned children later.
    pub(crate) fn record_result(&self, result: Result<(), u32>, daemon: bool) {
        let is_for_policy = !(daemon && result.is_ok());
        if let Err(error) = result {
            self.errors.borrow_mut().push(error);
        }
        let stops = match self.stops_at {
            StopsAt::Error => result.is_err(),
            StopsAt::Nothing => false,
            StopsAt::Result => is_for_policy,
        };
        if stops {
            self.is_stopped.set(true);
        }
        if is_for_policy && self.first_result.get().is_none() {
            self.first_result.set(Some(result));
        }
    }

    pub(crate) fn record_panic(&self) {
        self.panicked.set(true);
        self.is_stopped.set(true);
    }

    /// Returns `true` if that is what the results of its children make of its policy.
    pub(crate) fn is_right(&self, output: &Output) -> bool {
        match output {
            Output::FirstError(result) => result.err() == self.errors.borrow().first().copied(),
            Output::AllErrors(errors) => *errors == *self.errors.borrow(),
            Output::FirstDone(result) => *result == self.first_result.get(),
        }
    }
}
