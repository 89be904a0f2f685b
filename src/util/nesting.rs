//! Keeps the calls of one spawner from running one inside the other on a thread: a spawner may run
//! a child during the call, and that child may add another one to its group, and so on.
//!
//! The calls of different spawners do run one inside the other: a child may own a group of its own,
//! and await it during the call.
//!
//! (Without `std` nothing is known of the calls of a thread, so all run so.)

#[cfg(feature = "std")]
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
#[cfg(feature = "std")]
use core::cell::RefCell;

#[cfg(feature = "std")]
use super::panic::{catch, discard};

/// A call in progress.
#[cfg(feature = "std")]
struct Call {
    /// The spawner's.
    id: usize,
    /// The calls that come after it.
    deferred: VecDeque<Box<dyn FnOnce()>>,
}

#[cfg(feature = "std")]
std::thread_local! {
    /// The calls in progress on this thread, the innermost last.
    static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
}

/// Returns `true` if a call of that spawner is in progress on this thread, so that another is to be
/// [deferred](defer).
#[cfg(feature = "std")]
pub(crate) fn in_call(id: usize) -> bool {
    // When the thread ends, its locals may be gone; then each call is made at once.
    CALLS.try_with(|calls| calls.borrow().iter().any(|call| call.id == id)).unwrap_or(false)
}

/// Makes a call of that spawner, which does not panic, and then those that were deferred meanwhile,
/// in order.
#[cfg(feature = "std")]
pub(crate) fn call(id: usize, first: impl FnOnce()) {
    let begun = CALLS.try_with(|calls| {
        calls.borrow_mut().push(Call { id, deferred: VecDeque::new() });
    });
    first();
    if begun.is_err() {
        return;
    }
    // The calls that were made inside this one have ended, so this one is the last.
    let next = || {
        CALLS.with(|calls| {
            let mut calls = calls.borrow_mut();
            let next = calls.last_mut()?.deferred.pop_front();
            if next.is_none() {
                calls.pop();
            }
            next
        })
    };
    while let Some(call) = next() {
        // If its group is gone, the spawner goes with the call. A panic of its destructor is none
        // of the caller's, whose children are yet to be spawned.
        let _ = catch(call).map_err(discard);
    }
}

/// Leaves a call to the one of that spawner in progress, which makes it at its end.
#[cfg(feature = "std")]
pub(crate) fn defer(id: usize, call: impl FnOnce() + 'static) {
    CALLS.with(|calls| {
        let mut calls = calls.borrow_mut();
        if let Some(outer) = calls.iter_mut().find(|outer| outer.id == id) {
            outer.deferred.push_back(Box::new(call));
        }
    });
}

#[cfg(not(feature = "std"))]
pub(crate) fn in_call(_: usize) -> bool {
    false
}

#[cfg(not(feature = "std"))]
pub(crate) fn call(_: usize, first: impl FnOnce()) {
    first();
}

#[cfg(not(feature = "std"))]
pub(crate) fn defer(_: usize, call: impl FnOnce() + 'static) {
    call();
}
