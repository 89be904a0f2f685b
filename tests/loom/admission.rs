//! The end of a group, between its task and those that add children, hold it, or close it.

#[allow(dead_code)]
#[path = "../../src/admission/ended.rs"]
mod ended;
#[allow(dead_code)]
#[path = "../../src/admission/joins.rs"]
mod joins;
#[allow(dead_code)]
#[path = "../../src/admission/load.rs"]
mod load;
#[path = "../../src/admission/nested.rs"]
mod nested;
#[allow(dead_code)]
#[path = "../../src/admission/passes.rs"]
mod passes;
#[allow(dead_code)]
#[path = "../../src/admission/queue.rs"]
mod queue;
#[allow(dead_code)]
#[path = "../../src/admission/state.rs"]
mod state;

/// What the state keeps for an end that is awaited; here it is not.
mod closed {
    pub(crate) struct ClosedEvent;
}

/// What the state tells an observer; here there is none.
#[allow(dead_code)]
mod events {
    use std::sync::Arc;

    use super::queue::ChildKey;
    use crate::child::task::Options;
    use crate::key::Key;
    use crate::observe::Outcome;

    pub(crate) type Name = Option<Arc<str>>;

    pub(crate) struct EventLog;

    pub(crate) fn name(_: Option<&Options>) -> Name {
        None
    }

    impl EventLog {
        pub(crate) fn queued(&mut self, _: ChildKey, _: Option<&Options>) {}
        pub(crate) fn started(
            &mut self,
            _: usize,
            _: ChildKey,
            _: &Options,
            _: Name,
            _: Option<Key>,
        ) {
        }
        pub(crate) fn started_at_once(&mut self, _: usize) {}
        pub(crate) fn finished(&mut self, _: usize, _: Name, _: Option<Key>, _: Outcome) {}
        pub(crate) fn unstarted(&mut self, _: ChildKey, _: Option<&Options>) {}
        pub(crate) fn rejected(&mut self, _: bool, _: Option<&Options>) {}
        pub(crate) fn limit_changed(&mut self, _: Option<usize>) {}
    }
}

/// What the state keeps for snapshots; here there are none.
mod inspector {
    pub(crate) struct Inspector;

    impl Inspector {
        pub(crate) fn start(&self, _: usize) {}
        pub(crate) fn finish(&self, _: usize) {}
        pub(crate) fn finish_unfetched(&self, _: usize) {}
        pub(crate) fn complete(&self, _: usize) {}
        pub(crate) fn clear(&self) {}
    }
}

/// The permits of a semaphore; here there is none.
mod permits {
    #[derive(Default)]
    pub(crate) struct Permits {
        pub(crate) wanted: bool,
        pub(crate) cancel_acquire: bool,
    }

    impl Permits {
        pub(crate) fn try_take(&mut self) -> bool {
            true
        }

        pub(crate) fn free(&mut self, _: usize) {}
    }
}

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use self::queue::{QueuedChild, Request};
use self::state::{Acquire, Caller, Effects, GroupPhase, State, WaiterPoll};
use crate::child::join::{AbortChild, JoinId, Lost};
use crate::joinable::{self, Does, Joined};
use crate::observe::Outcome;
use crate::reason::Reason;
use crate::task::{check, run};
use crate::token::{CancelToken, Cancelled};
use crate::util::parent_waker::ParentWaker;
use crate::util::sync;
use crate::util::wake_flag::notifier;

/// A group of children that are done when they are polled, but for one that may be joinable, and
/// its handles.
struct Group {
    parent: sync::Arc<ParentWaker>,
    token: CancelToken,
    state: Mutex<State>,
    /// Children were aborted in the queue.
    has_aborted: AtomicBool,
    /// The joinable child, while it waits.
    waiting: Mutex<Option<Joined>>,
}

/// The key of the joinable child; the others are all alike.
const JOINED: usize = 1;

/// The group's own side.
struct Owner {
    group: Arc<Group>,
    /// The joinable child, and its index, while it runs.
    running: Option<(usize, Joined)>,
    /// When the token is cancelled, they wake the group's task, and all waiters.
    _watch: [Cancelled; 2],
}

impl Owner {
    fn new(limit: usize) -> Self {
        let mut state = State::default();
        state.start_with_limit(limit);
        let group = Arc::new(Group {
            parent: ParentWaker::new(),
            token: CancelToken::new(),
            state: Mutex::new(state),
            has_aborted: AtomicBool::new(false),
            waiting: Mutex::new(None),
        });
        let watch = |waker: Waker| {
            let mut watch = group.token.cancelled();
            assert!(Pin::new(&mut watch).poll(&mut Context::from_waker(&waker)).is_pending());
            watch
        };
        let watch = [watch(notifier(&group.parent)), watch(Waker::from(Arc::clone(&group)))];
        Self { group, running: None, _watch: watch }
    }

    /// Polls the group: takes in the children that have started, which are done then, until there
    /// is none, and resolves if that was the end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { group, running, .. } = self;
        group.parent.begin_poll();
        loop {
            group.parent.take_ready();
            let stopped = group.token.is_cancelled();
            if stopped || group.has_aborted.load(Ordering::Relaxed) {
                group.drop_queue(stopped);
            }
            let started = group.with(Caller::Group, |state, _| {
                std::iter::from_fn(|| state.starts.pop_started()).collect::<Vec<_>>()
            });
            for &(index, key) in &started {
                if key == JOINED {
                    let child = group.waiting.lock().unwrap().take();
                    *running = Some((index, child.expect("it waits")));
                } else {
                    group.finish(index, Outcome::Ok);
                }
            }
            if let Some((index, child)) = running {
                if let Poll::Ready(result) = child.as_mut().poll(cx) {
                    assert_eq!(result, Ok(()));
                    let lost = group.state.lock().unwrap().has_no_result(*index);
                    group.finish(*index, if lost { Outcome::Dropped } else { Outcome::Ok });
                    *running = None;
                }
            }
            group.with(Caller::Group, |_, _| ());
            if started.is_empty() && !group.parent.is_notified() {
                break;
            }
        }
        let (closed, left) = {
            let mut state = group.state.lock().unwrap();
            (state.try_resolve(group.token.is_cancelled()), state.starts.has_started())
        };
        if closed {
            // A cancel, or an abort in the queue, may have come just now.
            let stopped = group.token.is_cancelled();
            if stopped || group.has_aborted.load(Ordering::Relaxed) {
                group.drop_queue(stopped);
            }
            group.token.cancel_with(Reason::Finished);
        }
        if left {
            group.parent.leave_work();
        }
        group.parent.end_poll(cx, (!closed, true));
        if closed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Runs the group to its end. Returns how many children it has run.
    fn run(mut self) -> usize {
        run(|cx| self.poll(cx));
        self.stats().0
    }

    /// Drops the group, as it is.
    fn drop(mut self) {
        self.group.token.cancel_with(Reason::Dropped);
        let mut keys = Vec::new();
        self.group.with(Caller::Group, |state, _| {
            let mut dropped = Vec::new();
            state.abort(&mut dropped);
            keys.extend(dropped.into_iter().map(|(_, key)| key));
        });
        drop(self.running.take());
        self.group.drop_keys(keys);
        self.group.drop_queue(true);
    }

    /// Returns how many children the group has run, and how many it has dropped.
    fn stats(&self) -> (usize, usize) {
        self.group.stats()
    }
}

impl std::ops::Deref for Owner {
    type Target = Arc<Group>;

    fn deref(&self) -> &Arc<Group> {
        &self.group
    }
}

impl Group {
    /// Changes the state, as the crate does by `Shared::with` and `Core::update_as`.
    fn with<R>(&self, caller: Caller, change: impl FnOnce(&mut State, &mut Effects) -> R) -> R {
        let mut effects = Effects::default();
        let result = {
            let mut state = self.state.lock().unwrap();
            state.give_freed_room(&mut effects);
            let result = change(&mut state, &mut effects);
            state.process_queue(self.token.is_cancelled(), &mut effects);
            if state.has_aborted() {
                self.has_aborted.store(true, Ordering::Relaxed);
                effects.notify = true;
            }
            state.take_to_wake(&mut effects);
            result
        };
        if effects.notify && caller == Caller::Handle {
            self.parent.notify();
        }
        for waker in effects.wake.first.into_iter().chain(effects.wake.more) {
            waker.wake();
        }
        drop(effects.discard);
        result
    }

    fn finish(&self, index: usize, outcome: Outcome) {
        let mut state = self.state.lock().unwrap();
        let stopped = self.token.is_cancelled();
        state.finish(index, outcome, stopped);
    }

    /// Drops what was aborted in the queue; after a stop, all that is queued.
    fn drop_queue(&self, stopped: bool) {
        let mut keys = Vec::new();
        self.with(Caller::Group, |state, _| {
            state.take_aborted(&mut keys);
            self.has_aborted.store(false, Ordering::Relaxed);
            if stopped {
                state.stop(&mut keys);
            }
        });
        self.drop_keys(keys);
    }

    fn drop_keys(&self, keys: Vec<usize>) {
        for key in keys {
            if key == JOINED {
                let child = self.waiting.lock().unwrap().take();
                drop(child.expect("it waits"));
            }
        }
    }

    /// Returns how many children have run, and how many were dropped; none is left.
    fn stats(&self) -> (usize, usize) {
        let stats = self.state.lock().unwrap().stats();
        assert_eq!((stats.running, stats.queued), (0, 0));
        assert!(self.waiting.lock().unwrap().is_none(), "it is counted and not dropped");
        (stats.ok, stats.dropped)
    }

    /// Waits in a `go`, on a thread. The thread returns `true` if the child was admitted.
    fn go(self: &Arc<Self>) -> thread::JoinHandle<bool> {
        let group = Arc::clone(self);
        thread::spawn(move || group.wait_in_go())
    }

    /// Waits in a `go`. Returns `true` if the child was admitted.
    fn wait_in_go(&self) -> bool {
        let group = self;
        let (mut key, mut admitted) = (None, None);
        run(|cx| {
            let task = cx.waker();
            let clone = Some(task.clone());
            let mut poller = WaiterPoll { caller: Caller::Handle, task, clone, group: 0 };
            let answer = group.with(Caller::Handle, |state, effects| {
                if state.lifecycle.phase >= GroupPhase::Resolved
                    || group.token.is_cancelled()
                    || (key.is_none() && state.lifecycle.refusal(false).is_some())
                {
                    return Acquire::Stopped;
                }
                if let Some(key) = key {
                    let answer = state.poll_waiter(key, &mut poller);
                    if answer == Acquire::Ready {
                        state.fill(key, child(), effects);
                    }
                    return answer;
                }
                if state.try_take_room(Request::PLAIN) {
                    state.admit(child());
                    return Acquire::Ready;
                }
                key = state.wait(Request::PLAIN, &mut poller);
                Acquire::Pending
            });
            drop(poller.clone);
            admitted = match answer {
                Acquire::Ready => Some(true),
                Acquire::Stopped => Some(false),
                Acquire::Pending | Acquire::NeedsWaker => return Poll::Pending,
            };
            Poll::Ready(())
        });
        if let (Some(key), Some(false)) = (key, admitted) {
            group.with(Caller::Handle, |state, effects| state.abandon(key, effects));
        }
        admitted == Some(true)
    }

    /// Polls a `go` once, which has to wait, and drops it.
    fn leave_go(&self) {
        let waker = Waker::noop();
        let mut poller = WaiterPoll {
            caller: Caller::Handle,
            task: waker,
            clone: Some(waker.clone()),
            group: 0,
        };
        let key = self.with(Caller::Handle, |state, _| {
            assert!(!state.try_take_room(Request::PLAIN));
            state.wait(Request::PLAIN, &mut poller)
        });
        let key = key.expect("it has a clone of the waker");
        self.with(Caller::Handle, |state, effects| state.abandon(key, effects));
    }

    /// Queues a child. Returns `true` if it was taken.
    fn queue(&self) -> bool {
        self.with(Caller::Handle, |state, _| {
            if state.queue_refusal(self.token.is_cancelled()).is_some() {
                return false;
            }
            if state.try_take_room(Request::PLAIN) {
                state.admit(child());
            } else {
                state.enqueue(child());
            }
            true
        })
    }

    fn close(&self) {
        self.with(Caller::Handle, State::refuse_newcomers);
    }

    fn hold(&self) {
        self.with(Caller::Handle, |state, _| state.lifecycle.holds += 1);
    }

    fn release_hold(&self) {
        self.with(Caller::Handle, |state, _| state.release_hold());
    }

    fn set_limit(&self, limit: usize) {
        self.with(Caller::Handle, |state, _| state.set_limit(Some(limit)));
    }

    /// Queues the joinable child.
    fn queue_joined(self: &Arc<Self>, joined: Joined) {
        self.with(Caller::Handle, |state, _| {
            let id = state.joins().next_id();
            if joined.link().attach(Arc::clone(self) as _, id) {
                state.joins().abort_early(id);
            }
            let child = QueuedChild { join: Some(id), ..QueuedChild::plain(JOINED) };
            assert!(self.waiting.lock().unwrap().replace(joined).is_none());
            if state.try_take_room(Request::PLAIN) {
                state.admit(child);
            } else {
                state.enqueue(child);
            }
        });
    }
}

impl AbortChild for Group {
    fn abort_queued(&self, id: JoinId) -> bool {
        self.with(Caller::Handle, |state, _| state.abort_queued(id))
    }

    fn void_result(&self, id: JoinId) {
        self.state.lock().unwrap().joins().void_result(id);
    }
}

/// Woken by a stop, it wakes all waiters.
impl Wake for Group {
    fn wake(self: Arc<Self>) {
        let has_freed_room = self.state.lock().unwrap().has_freed_room;
        if has_freed_room {
            self.with(Caller::Handle, |_, _| ());
        }
        let mut effects = Effects::default();
        self.state.lock().unwrap().take_wakers(&mut effects);
        for waker in effects.wake.first.into_iter().chain(effects.wake.more) {
            waker.wake();
        }
    }
}

fn child() -> QueuedChild {
    QueuedChild::plain(0)
}

/// Runs a call on a thread.
fn on_thread<R: 'static>(
    group: &Arc<Group>,
    call: impl FnOnce(&Group) -> R + 'static,
) -> thread::JoinHandle<R> {
    let group = Arc::clone(group);
    thread::spawn(move || call(&group))
}

#[test]
fn a_close_and_a_go_that_has_room() {
    check(3, || {
        let group = Owner::new(1);
        group.hold();
        let (go, close) = (group.go(), on_thread(&group, Group::close));
        let run = group.run();
        close.join().unwrap();
        assert_eq!(run, usize::from(go.join().unwrap()));
    });
}

#[test]
fn a_close_and_a_go_that_waits_for_room() {
    check(2, || {
        let group = Owner::new(1);
        group.hold();
        assert!(group.queue());
        let (go, close) = (group.go(), on_thread(&group, Group::close));
        let run = group.run();
        close.join().unwrap();
        assert_eq!(run, 1 + usize::from(go.join().unwrap()));
    });
}

#[test]
fn a_close_and_a_go_of_a_group_that_goes_on() {
    check(2, || {
        let group = Owner::new(0);
        assert!(group.queue());
        let goes = on_thread(&group, |group| {
            assert!(!group.wait_in_go());
            // Only now the group may end.
            group.set_limit(1);
        });
        let close = on_thread(&group, Group::close);
        assert_eq!(group.run(), 1);
        goes.join().unwrap();
        close.join().unwrap();
    });
}

#[test]
fn a_close_and_two_that_queue() {
    check(2, || {
        let group = Owner::new(1);
        group.hold();
        let queue = on_thread(&group, |group| usize::from(group.queue()));
        let closes = on_thread(&group, |group| {
            let queued = group.queue();
            group.close();
            assert!(!group.queue());
            usize::from(queued)
        });
        let run = group.run();
        assert_eq!(run, queue.join().unwrap() + closes.join().unwrap());
    });
}

#[test]
fn a_close_and_the_end() {
    check(3, || {
        let group = Owner::new(1);
        assert!(group.queue());
        let close = on_thread(&group, |group| {
            group.close();
            group.queue()
        });
        assert_eq!(group.run(), 1);
        assert!(!close.join().unwrap());
    });
}

#[test]
fn a_hold_that_goes_and_a_child_that_comes() {
    check(2, || {
        let group = Owner::new(1);
        group.hold();
        let other = on_thread(&group, |group| {
            group.hold();
            group.release_hold();
        });
        let adds = on_thread(&group, |group| {
            assert!(group.queue(), "it is held");
            group.release_hold();
        });
        assert_eq!(group.run(), 1);
        other.join().unwrap();
        adds.join().unwrap();
    });
}

#[test]
fn a_waiter_that_leaves_and_the_end() {
    check(3, || {
        let group = Owner::new(0);
        group.hold();
        let leaves = on_thread(&group, |group| {
            group.leave_go();
        });
        let release = on_thread(&group, Group::release_hold);
        assert_eq!(group.run(), 0);
        leaves.join().unwrap();
        release.join().unwrap();
    });
}

#[test]
fn a_hold_that_goes_and_a_close() {
    check(2, || {
        let group = Owner::new(1);
        group.hold();
        let release = on_thread(&group, Group::release_hold);
        let close = on_thread(&group, Group::close);
        assert_eq!(group.run(), 0);
        release.join().unwrap();
        close.join().unwrap();
    });
}

// === a stop, and a drop ===

#[test]
fn a_stop_and_a_go_that_has_room() {
    check(2, || {
        let group = Owner::new(1);
        group.hold();
        let (go, token) = (group.go(), group.token.clone());
        let stop = thread::spawn(move || assert!(token.cancel()));
        let run = group.run();
        assert_eq!(run, usize::from(go.join().unwrap()));
        stop.join().unwrap();
    });
}

#[test]
fn a_stop_and_a_go_that_waits_for_room() {
    check(2, || {
        let group = Owner::new(0);
        group.hold();
        let (go, token) = (group.go(), group.token.clone());
        let stop = thread::spawn(move || assert!(token.cancel()));
        assert_eq!(group.run(), 0);
        assert!(!go.join().unwrap());
        stop.join().unwrap();
    });
}

#[test]
fn a_stop_and_one_that_queues() {
    check(2, || {
        let group = Owner::new(1);
        group.hold();
        assert!(group.queue());
        let (queue, shared) = (on_thread(&group, Group::queue), Arc::clone(&group));
        let token = group.token.clone();
        let stop = thread::spawn(move || assert!(token.cancel()));
        group.run();
        let (ok, dropped) = shared.stats();
        assert_eq!(ok + dropped, 1 + usize::from(queue.join().unwrap()));
        stop.join().unwrap();
    });
}

#[test]
fn a_drop_and_a_go_that_has_room() {
    check(3, || {
        let group = Owner::new(1);
        let (go, shared) = (group.go(), Arc::clone(&group));
        group.drop();
        let admitted = go.join().unwrap();
        assert_eq!(shared.stats(), (0, usize::from(admitted)));
    });
}

#[test]
fn a_drop_and_a_go_that_waits_for_room() {
    check(3, || {
        let group = Owner::new(1);
        assert!(group.queue());
        let (go, shared) = (group.go(), Arc::clone(&group));
        group.drop();
        assert!(!go.join().unwrap());
        assert_eq!(shared.stats(), (0, 1));
    });
}

#[test]
fn a_drop_and_two_that_queue() {
    check(2, || {
        let group = Owner::new(1);
        let queues = [on_thread(&group, Group::queue), on_thread(&group, Group::queue)];
        let shared = Arc::clone(&group);
        group.drop();
        let queued: usize = queues.map(|queue| usize::from(queue.join().unwrap())).iter().sum();
        assert_eq!(shared.stats(), (0, queued));
    });
}

// === the limit ===

#[test]
fn a_raised_limit_and_a_go_that_waits() {
    check(3, || {
        let group = Owner::new(0);
        group.hold();
        let goes = on_thread(&group, |group| {
            assert!(group.wait_in_go());
            group.close();
        });
        let raise = on_thread(&group, |group| group.set_limit(1));
        assert_eq!(group.run(), 1);
        goes.join().unwrap();
        raise.join().unwrap();
    });
}

#[test]
fn a_limit_that_is_lowered_and_raised_and_a_go() {
    check(2, || {
        let group = Owner::new(1);
        group.hold();
        assert!(group.queue());
        let goes = on_thread(&group, |group| {
            assert!(group.wait_in_go());
            group.close();
        });
        let changes = on_thread(&group, |group| {
            group.set_limit(0);
            group.set_limit(1);
        });
        assert_eq!(group.run(), 2);
        goes.join().unwrap();
        changes.join().unwrap();
    });
}

#[test]
fn a_raised_limit_and_a_close() {
    check(2, || {
        let group = Owner::new(0);
        assert!(group.queue());
        let raise = on_thread(&group, |group| group.set_limit(1));
        let close = on_thread(&group, Group::close);
        assert_eq!(group.run(), 1);
        close.join().unwrap();
        raise.join().unwrap();
    });
}

#[test]
fn a_raised_limit_and_a_drop() {
    check(3, || {
        let group = Owner::new(0);
        assert!(group.queue());
        let (raise, shared) = (on_thread(&group, |group| group.set_limit(1)), Arc::clone(&group));
        group.drop();
        raise.join().unwrap();
        assert_eq!(shared.stats(), (0, 1));
    });
}

// === a joinable child ===

/// Aborts the joinable child, and waits for its end.
fn abort_on_thread(handle: joinable::Handle) -> thread::JoinHandle<Result<usize, Lost>> {
    thread::spawn(move || {
        handle.abort();
        joinable::join(handle)
    })
}

/// Checks that what the handle was told is what was counted.
fn is_counted(shared: &Group, ending: Result<usize, Lost>, others: usize) {
    let (ok, dropped) = shared.stats();
    match ending {
        Ok(7) => assert_eq!((ok + dropped, ok > 0), (1 + others, true)),
        Err(Lost::Aborted | Lost::Dropped) => {
            assert_eq!((ok + dropped, dropped > 0), (1 + others, true));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_abort_and_the_end_of_the_child() {
    check(3, || {
        let group = Owner::new(1);
        let (joined, handle) = joinable::child(Does::Yields);
        group.queue_joined(joined);
        let (abort, shared) = (abort_on_thread(handle), Arc::clone(&group));
        group.run();
        is_counted(&shared, abort.join().unwrap(), 0);
    });
}

#[test]
fn an_abort_and_its_turn() {
    check(3, || {
        let group = Owner::new(1);
        let (joined, handle) = joinable::child(Does::Waits);
        assert!(group.queue());
        group.queue_joined(joined);
        let (abort, shared) = (abort_on_thread(handle), Arc::clone(&group));
        group.run();
        assert_eq!(abort.join().unwrap(), Err(Lost::Aborted));
        assert_eq!(shared.stats(), (1, 1));
    });
}

#[test]
fn an_abort_and_an_arrival() {
    check(3, || {
        let group = Owner::new(0);
        let (joined, handle) = joinable::child(Does::Waits);
        let (abort, shared) = (abort_on_thread(handle), Arc::clone(&group));
        group.queue_joined(joined);
        // It takes no room, so it need not have its turn to end.
        group.run();
        assert_eq!(abort.join().unwrap(), Err(Lost::Aborted));
        assert_eq!(shared.stats(), (0, 1));
    });
}

#[test]
fn an_abort_and_a_stop() {
    check(2, || {
        let group = Owner::new(1);
        let (joined, handle) = joinable::child(Does::Yields);
        assert!(group.queue());
        group.queue_joined(joined);
        let (abort, shared) = (abort_on_thread(handle), Arc::clone(&group));
        let token = group.token.clone();
        let stop = thread::spawn(move || token.cancel());
        group.run();
        is_counted(&shared, abort.join().unwrap(), 1);
        stop.join().unwrap();
    });
}

#[test]
fn an_abort_and_a_drop() {
    check(3, || {
        for limit in [0, 1] {
            let group = Owner::new(limit);
            let (joined, handle) = joinable::child(Does::Waits);
            group.queue_joined(joined);
            let (abort, shared) = (abort_on_thread(handle), Arc::clone(&group));
            group.drop();
            let ending = abort.join().unwrap();
            assert!(matches!(ending, Err(Lost::Aborted | Lost::Dropped)));
            assert_eq!(shared.stats(), (0, 1));
        }
    });
}
