//! Which children this thread polls at the moment: so a `go` can know that it stands inside
//! a child of the very group that it waits for.
//!
//! (A task that a waker polls inline, within the poll of a child, is taken for a part of that
//! child. The worst that comes of it is a child in the queue whose maker could have waited.)

#[cfg(feature = "std")]
std::thread_local! {
    /// The children that are being polled, outermost first (a child may hold a group).
    static STACK: core::cell::RefCell<alloc::vec::Vec<Current>> =
        const { core::cell::RefCell::new(alloc::vec::Vec::new()) };
}

#[cfg(feature = "std")]
#[derive(Clone, Copy)]
struct Current {
    group: usize,
    child: usize,
}

/// Runs `f` as a part of the poll of a group's child.
#[cfg(feature = "std")]
pub(crate) fn inside<R>(group: usize, child: usize, f: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            let _ = STACK.try_with(|stack| stack.borrow_mut().pop());
        }
    }
    // Where the thread ends and its locals are gone, nothing is noted, and nothing is lost
    // but the rule for a nested `go`.
    let entered = STACK.try_with(|stack| stack.borrow_mut().push(Current { group, child }));
    let _leave = entered.is_ok().then_some(Leave);
    f()
}

/// The child of that group within whose poll the caller stands.
#[cfg(feature = "std")]
pub(crate) fn child_of(group: usize) -> Option<usize> {
    STACK
        .try_with(|stack| {
            let stack = stack.borrow();
            stack.iter().rev().find(|current| current.group == group).map(|current| current.child)
        })
        .ok()
        .flatten()
}

#[cfg(not(feature = "std"))]
pub(crate) fn inside<R>(_: usize, _: usize, f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(not(feature = "std"))]
pub(crate) fn child_of(_: usize) -> Option<usize> {
    None
}
