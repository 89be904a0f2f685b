//! The end of a group, between its task and those that add children, hold it, or close it.

#[allow(dead_code)]
#[path = "../../src/admission/ended.rs"]
mod ended;
#[allow(dead_code)]
#[path = "../../src/admission/joins.rs"]
mod joins;
#[allow(dead_code)]
#[path = "../../src/admission/keys.rs"]
mod keys;
#[allow(dead_code)]
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

use std::sync::Arc;
use std::task::{Context, Poll};

use loom::sync::Mutex;
use loom::thread;

use self::queue::{QueuedChild, Request};
use self::state::{Acquire, Caller, Effects, Phase, Poller, State};
use crate::observe::Outcome;
use crate::task::{check, run};
use crate::util::parent_waker::ParentWaker;
use crate::util::sync;

/// A group of children that are done when they are polled, and its handles.
struct Group {
    parent: sync::Arc<ParentWaker>,
    state: Mutex<State>,
}

impl Group {
    fn new(limit: usize) -> Arc<Self> {
        let mut state = State::new();
        state.start_with_limit(limit);
        Arc::new(Self { parent: ParentWaker::new(), state: Mutex::new(state) })
    }

    /// Changes the state, as the crate does by `Shared::with` and `Core::update_as`.
    fn with<R>(&self, caller: Caller, change: impl FnOnce(&mut State, &mut Effects) -> R) -> R {
        let mut effects = Effects::default();
        let result = {
            let mut state = self.state.lock().unwrap();
            state.give_freed_room(&mut effects);
            let result = change(&mut state, &mut effects);
            state.process_queue(false, &mut effects);
            state.take_told(&mut effects);
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

    /// Polls the group: takes in the children that have started, which are done then, until there
    /// is none, and resolves if that was the end.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.parent.replace_taken(cx);
        self.parent.begin_poll();
        loop {
            self.parent.take_ready();
            let done = self.with(Caller::Group, |state, _| {
                std::iter::from_fn(|| state.pop_ready()).collect::<Vec<_>>()
            });
            for (index, _) in &done {
                self.state.lock().unwrap().finish(*index, Outcome::Ok, false);
            }
            self.with(Caller::Group, |_, _| ());
            if done.is_empty() && !self.parent.is_notified() {
                break;
            }
        }
        let (closed, left) = {
            let mut state = self.state.lock().unwrap();
            (state.try_close(false), state.has_ready())
        };
        if left {
            self.parent.notify();
        }
        self.parent.end_poll(cx, !closed);
        if closed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Runs the group to its end. Returns how many children it has run.
    fn run(&self) -> usize {
        run(|cx| self.poll(cx));
        let stats = self.state.lock().unwrap().stats();
        assert_eq!((stats.running, stats.queued), (0, 0));
        stats.ok
    }

    /// Waits in a `go`, on a thread. The thread returns `true` if the child was admitted.
    fn go(self: &Arc<Self>) -> thread::JoinHandle<bool> {
        let group = Arc::clone(self);
        thread::spawn(move || {
            let (mut key, mut admitted) = (None, None);
            run(|cx| {
                let task = cx.waker();
                let clone = Some(task.clone());
                let mut poller = Poller { caller: Caller::Handle, task, clone, group: 0 };
                let answer = group.with(Caller::Handle, |state, effects| {
                    if state.phase() >= Phase::Closed
                        || (key.is_none() && state.refusal(false).is_some())
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
        })
    }

    /// Queues a child. Returns `true` if it was taken.
    fn queue(&self) -> bool {
        self.with(Caller::Handle, |state, _| {
            if state.queue_refusal(false).is_some() {
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
        self.with(Caller::Handle, |state, _| state.hold());
    }

    fn release_hold(&self) {
        self.with(Caller::Handle, |state, _| state.release_hold());
    }
}

fn child() -> QueuedChild {
    QueuedChild { key: 0, options: None, join: None }
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
        let group = Group::new(1);
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
        let group = Group::new(1);
        group.hold();
        assert!(group.queue());
        let (go, close) = (group.go(), on_thread(&group, Group::close));
        let run = group.run();
        close.join().unwrap();
        assert_eq!(run, 1 + usize::from(go.join().unwrap()));
    });
}

#[test]
fn a_close_and_two_that_queue() {
    check(2, || {
        let group = Group::new(1);
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
        let group = Group::new(1);
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
    check(3, || {
        let group = Group::new(1);
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
fn a_hold_that_goes_and_a_close() {
    check(3, || {
        let group = Group::new(1);
        group.hold();
        let release = on_thread(&group, Group::release_hold);
        let close = on_thread(&group, Group::close);
        assert_eq!(group.run(), 0);
        release.join().unwrap();
        close.join().unwrap();
    });
}
