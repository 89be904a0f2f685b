//! Which children this thread polls at the moment: so a `go` can know that it stands inside
//! a child of the very group that it waits for.
//!
//! (A task that a waker polls inline, within the poll of a child, is taken for a part of that
//! child. The worst that comes of it is a child in the queue whose maker could have waited.)

#[cfg(feature = "std")]
std::thread_local! {
    /// The child that is being polled.
    static CURRENT: core::cell::Cell<Option<Current>> = const { core::cell::Cell::new(None) };
    /// Those within whose polls that one is polled, outermost first (a child may hold a group).
    static OUTER: core::cell::RefCell<alloc::vec::Vec<Current>> =
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
pub(crate) fn enter<R>(group: usize, child: usize, f: impl FnOnce() -> R) -> R {
    struct Leave(Option<Current>);
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.set(self.0);
            if self.0.is_some() {
                let _ = OUTER.try_with(|outer| outer.borrow_mut().pop());
            }
        }
    }
    let before = CURRENT.replace(Some(Current { group, child }));
    if let Some(before) = before {
        // Where the thread ends and its locals are gone, nothing is noted, and nothing is lost
        // but the rule for a nested `go`.
        let _ = OUTER.try_with(|outer| outer.borrow_mut().push(before));
    }
    let _leave = Leave(before);
    f()
}

/// The child of that group within whose poll the caller stands.
#[cfg(feature = "std")]
pub(crate) fn current_child(group: usize) -> Option<usize> {
    let is_meant = |current: &Current| current.group == group;
    // Nobody is outside where nobody is inside.
    let current = CURRENT.get()?;
    let found = if is_meant(&current) {
        Some(current)
    } else {
        let find = |outer: &[Current]| outer.iter().copied().rfind(is_meant);
        OUTER.try_with(|outer| find(&outer.borrow())).ok().flatten()
    };
    found.map(|current| current.child)
}

#[cfg(not(feature = "std"))]
pub(crate) fn enter<R>(_: usize, _: usize, f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(not(feature = "std"))]
pub(crate) fn current_child(_: usize) -> Option<usize> {
    None
}
