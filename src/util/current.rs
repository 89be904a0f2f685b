//! Which children this thread is polling: so that a `go` can tell that it is polled by a child of
//! the very group in which it waits for room.
//!
//! (A task that a waker polls inline, within the poll of a child, is taken for a part of that
//! child. The worst consequence is that its child is queued although it could have waited.)

#[cfg(feature = "std")]
std::thread_local! {
    /// What this thread polls.
    static CURRENT: core::cell::Cell<Option<Current>> = const { core::cell::Cell::new(None) };
    /// What it polls further out, outermost first (a child may poll a group).
    static OUTER: core::cell::RefCell<alloc::vec::Vec<Current>> =
        const { core::cell::RefCell::new(alloc::vec::Vec::new()) };
}

#[cfg(feature = "std")]
#[derive(Clone, Copy)]
struct Current {
    group: usize,
    /// `None` between the polls of two children.
    child: Option<usize>,
}

/// Marks this thread as polling the children of a group, until it is dropped. They are dropped in
/// the reverse of the order in which they were made.
pub(crate) struct Entered {
    #[cfg(feature = "std")]
    group: usize,
    #[cfg(feature = "std")]
    outer: Option<Current>,
}

/// Records that this thread polls children of that group from now on.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn enter(group: usize) -> Entered {
    let outer = CURRENT.replace(Some(Current { group, child: None }));
    if let Some(outer) = outer {
        enter_outer(outer);
    }
    Entered { group, outer }
}

impl Entered {
    /// Calls `poll`, which polls that child of the group.
    #[inline]
    pub(crate) fn poll<R>(&self, child: usize, poll: impl FnOnce() -> R) -> R {
        // Not a guard: a panic leaves the group as well.
        self.set_child(Some(child));
        let polled = poll();
        self.set_child(None);
        polled
    }
}

#[cfg(feature = "std")]
impl Entered {
    #[inline]
    fn set_child(&self, child: Option<usize>) {
        CURRENT.set(Some(Current { group: self.group, child }));
    }
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

/// Records what is polled further out. When the thread ends and its locals are gone, nothing is
/// recorded. Then only the rule for a nested `go` is lost.
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
    // If nothing is polled innermost, nothing is at all.
    let current = CURRENT.get()?;
    let found = if is_in_group(&current) {
        Some(current)
    } else {
        let find = |outer: &[Current]| outer.iter().copied().rfind(is_in_group);
        OUTER.try_with(|outer| find(&outer.borrow())).ok().flatten()
    };
    found?.child
}

#[cfg(not(feature = "std"))]
pub(crate) fn enter(_: usize) -> Entered {
    Entered {}
}

#[cfg(not(feature = "std"))]
impl Entered {
    fn set_child(&self, _: Option<usize>) {}
}

#[cfg(not(feature = "std"))]
pub(crate) fn current_child(_: usize) -> Option<usize> {
    None
}
