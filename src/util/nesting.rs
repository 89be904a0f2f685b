//! Keeps the calls of a group's spawner from running one inside the other on a thread: a spawner
//! may run a child during the call, and that child may add another one to its group, and so on.
//!
//! The calls for different groups do run one inside the other: a child may own a group of its own,
//! and await it during the call. A group is known by the
//! [id](super::parent_waker::ParentWaker::id) of its parent waker, which is not 0.
//!
//! (Without `std` nothing is known of the calls of a thread, so all run so.)

#[cfg(feature = "std")]
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
#[cfg(feature = "std")]
use core::cell::{Cell, RefCell};

#[cfg(feature = "std")]
use super::panic::quietly;

/// The calls that come after the one in progress for that group.
#[cfg(feature = "std")]
struct Deferred {
    group: usize,
    calls: VecDeque<Box<dyn FnOnce()>>,
}

#[cfg(feature = "std")]
std::thread_local! {
    /// The group of the innermost call in progress on this thread; 0 if there is none.
    static INNERMOST: Cell<usize> = const { Cell::new(0) };
    /// Those of the calls around it. (Mostly there is none, and this is not looked at.)
    static OUTER: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static DEFERRED: RefCell<Vec<Deferred>> = const { RefCell::new(Vec::new()) };
    /// How many calls are deferred.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Makes a call for that group, which does not panic, and then those that were deferred meanwhile,
/// in order. Makes none if one is in progress on this thread: then it is to be [deferred](defer).
#[cfg(feature = "std")]
pub(crate) fn call(group: usize, first: impl FnOnce()) {
    let outer = INNERMOST.get();
    if outer != 0 {
        // When the thread ends, its locals may be gone; then each call is made at once.
        let in_progress = |outer: &RefCell<Vec<usize>>| outer.borrow().contains(&group);
        if outer == group || OUTER.try_with(in_progress).unwrap_or(false) {
            return;
        }
        let _ = OUTER.try_with(|calls| calls.borrow_mut().push(outer));
    }
    INNERMOST.set(group);
    first();
    while COUNT.get() > 0 {
        let Some(call) = next(group) else { break };
        // If its group is gone, the spawner goes with the call. A panic of its destructor is none
        // of the caller's, whose children are yet to be spawned.
        quietly(call);
    }
    INNERMOST.set(outer);
    if outer != 0 {
        let _ = OUTER.try_with(|calls| calls.borrow_mut().pop());
    }
}

/// Takes out the next call for that group that was deferred.
#[cfg(feature = "std")]
#[cold]
fn next(group: usize) -> Option<Box<dyn FnOnce()>> {
    let next = DEFERRED.try_with(|deferred| {
        let mut deferred = deferred.borrow_mut();
        let at = deferred.iter().position(|it| it.group == group)?;
        let calls = &mut deferred[at].calls;
        let next = calls.pop_front();
        if calls.is_empty() {
            deferred.swap_remove(at);
        }
        COUNT.set(COUNT.get() - usize::from(next.is_some()));
        next
    });
    next.ok().flatten()
}

/// Leaves a call to the one for that group in progress, which makes it at its end. When the thread
/// ends and its locals are gone, it makes the call at once.
#[cfg(feature = "std")]
pub(crate) fn defer(group: usize, call: impl FnOnce() + 'static) {
    let mut call: Option<Box<dyn FnOnce()>> = Some(Box::new(call));
    let _ = DEFERRED.try_with(|deferred| {
        let mut deferred = deferred.borrow_mut();
        let calls = call.take();
        COUNT.set(COUNT.get() + 1);
        match deferred.iter_mut().find(|it| it.group == group) {
            Some(it) => it.calls.extend(calls),
            None => deferred.push(Deferred { group, calls: calls.into_iter().collect() }),
        }
    });
    if let Some(call) = call {
        call();
    }
}

#[cfg(not(feature = "std"))]
pub(crate) fn call(_: usize, first: impl FnOnce()) {
    first();
}

#[cfg(not(feature = "std"))]
pub(crate) fn defer(_: usize, call: impl FnOnce() + 'static) {
    call();
}
