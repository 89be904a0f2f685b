//! Keeps calls of the user's code from running one inside the other on a thread: a spawner may run
//! a child during the call, and that child may add another one, and so on.
//!
//! (Without `std` nothing is known of the calls of a thread, so they do run so.)

#[cfg(feature = "std")]
type Deferred = alloc::collections::VecDeque<alloc::boxed::Box<dyn FnOnce()>>;

#[cfg(feature = "std")]
std::thread_local! {
    static IN_CALL: core::cell::Cell<bool> = const { core::cell::Cell::new(false) };
    /// The calls that come after the one in progress.
    static DEFERRED: core::cell::RefCell<Deferred> =
        const { core::cell::RefCell::new(Deferred::new()) };
}

/// Returns `true` if a call is in progress on this thread, so that another is to be
/// [deferred](defer).
#[cfg(feature = "std")]
pub(crate) fn in_call() -> bool {
    IN_CALL.get()
}

/// Makes a call, which does not panic, and then those that were deferred meanwhile, in order.
#[cfg(feature = "std")]
pub(crate) fn call(first: impl FnOnce()) {
    IN_CALL.set(true);
    first();
    // When the thread ends and its locals are gone, nothing was deferred.
    let next = || DEFERRED.try_with(|deferred| deferred.borrow_mut().pop_front()).ok().flatten();
    while let Some(call) = next() {
        call();
    }
    IN_CALL.set(false);
}

/// Leaves a call to the one in progress, which makes it at its end.
#[cfg(feature = "std")]
pub(crate) fn defer(call: impl FnOnce() + 'static) {
    DEFERRED.with(|deferred| deferred.borrow_mut().push_back(alloc::boxed::Box::new(call)));
}

#[cfg(not(feature = "std"))]
pub(crate) fn in_call() -> bool {
    false
}

#[cfg(not(feature = "std"))]
pub(crate) fn call(first: impl FnOnce()) {
    first();
}

#[cfg(not(feature = "std"))]
pub(crate) fn defer(call: impl FnOnce() + 'static) {
    call();
}
