//! As the crate's `util::current`, for the threads of a schedule.

use std::cell::RefCell;

shuttle::thread_local! {
    /// The group and the number of each child that is being polled, outermost first.
    static POLLED: RefCell<Vec<(usize, usize)>> = RefCell::new(Vec::new());
}

/// A poll of a child, as long as this lives.
pub(crate) struct Entered;

pub(crate) fn enter(group: usize, child: usize) -> Entered {
    let _ = POLLED.try_with(|polled| polled.borrow_mut().push((group, child)));
    Entered
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = POLLED.try_with(|polled| polled.borrow_mut().pop());
    }
}

pub(crate) fn current_child(group: usize) -> Option<usize> {
    let find = |polled: &RefCell<Vec<(usize, usize)>>| {
        polled.borrow().iter().rfind(|polled| polled.0 == group).map(|polled| polled.1)
    };
    POLLED.try_with(find).ok().flatten()
}
