//! Which children this thread is polling: so that a `go` can tell that it is polled by a child of
//! the very group in which it waits for room.
//!
//! (A task that a waker polls inline, within the poll of a child, is taken for a part of that
//! child. The worst consequence is that its child is queued although it could have waited.)

#[cfg(feature = "std")]
std::thread_local! {
    /// The child that is being polled.
    static CURRENT: core::cell::Cell<Option<Current>> = const { core::cell::Cell::new(None) };
    /// The children that are being polled further out, outermost first (a child may poll a group).
    static OUTER: core::cell::RefCell<alloc::vec::Vec<Current>> =
        const { core::cell::RefCell::new(alloc::vec::Vec::new()) };
}

#[cfg(feature = "std")]
#[derive(Clone, Copy)]
struct Current {
    group: usize,
    child: usize,
}

/// Marks this thread as polling a child of a group, until it is dropped. They are dropped in the
/// reverse of the order in which they were made.
pub(crate) struct Entered {
    #[cfg(feature = "std")]
    outer: Option<Current>,
}

/// Records that this thread polls that child of that group from now on.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn enter(group: usize, child: usize) -> Entered {
    let outer = CURRENT.replace(Some(Current { group, child }));
    if let Some(outer) = outer {
        enter_outer(outer);
    }
    Entered { outer }
}

#[cfg(feature = "std")]
impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        if self.outer.is_some() {
            leave_outer();
        }
    }
}

/// Records the child inside whose poll another one is polled. When the thread ends and its locals
/// are gone, nothing is recorded. Then only the rule for a nested `go` is lost.
#[cfg(feature = "std")]
#[cold]
fn enter_outer(outer: Current) {
    let _ = OUTER.try_with(|all| all.borrow_mut().push(outer));
}

#[cfg(feature = "std")]
#[cold]
fn leave_outer() {
    let _ = OUTER.try_with(|all| all.borrow_mut().pop());
}

/// Returns the child of that group that this thread is polling, or `None` if there is none.
#[cfg(feature = "std")]
pub(crate) fn current_child(group: usize) -> Option<usize> {
    let is_in_group = |current: &Current| current.group == group;
    // If there is no innermost child, there is none at all.
    let current = CURRENT.get()?;
    let found = if is_in_group(&current) {
        Some(current)
    } else {
        let find = |outer: &[Current]| outer.iter().copied().rfind(is_in_group);
        OUTER.try_with(|outer| find(&outer.borrow())).ok().flatten()
    };
    found.map(|current| current.child)
}

#[cfg(not(feature = "std"))]
pub(crate) fn enter(_: usize, _: usize) -> Entered {
    Entered {}
}

#[cfg(not(feature = "std"))]
pub(crate) fn current_child(_: usize) -> Option<usize> {
    None
}
