//! As the crate's `util::current`, for the threads of a schedule.

use std::cell::RefCell;

shuttle::thread_local! {
    /// Each group whose children are being polled, outermost first, and the number of its child.
    static POLLED: RefCell<Vec<(usize, Option<usize>)>> = RefCell::new(Vec::new());
}

/// A group's children are being polled, as long as this lives.
pub(crate) struct Entered;

pub(crate) fn enter(group: usize) -> Entered {
    let _ = POLLED.try_with(|polled| polled.borrow_mut().push((group, None)));
    Entered
}

impl Entered {
    pub(crate) fn poll<R>(&self, child: usize, poll: impl FnOnce() -> R) -> R {
        let set_child = |child| {
            let set = |polled: &RefCell<Vec<(usize, Option<usize>)>>| {
                polled.borrow_mut().last_mut().into_iter().for_each(|last| last.1 = child);
            };
            let _ = POLLED.try_with(set);
        };
        set_child(Some(child));
        let polled = poll();
        set_child(None);
        polled
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = POLLED.try_with(|polled| polled.borrow_mut().pop());
    }
}

pub(crate) fn current_child(group: usize) -> Option<usize> {
    let find = |polled: &RefCell<Vec<(usize, Option<usize>)>>| {
        polled.borrow().iter().rfind(|polled| polled.0 == group).and_then(|polled| polled.1)
    };
    POLLED.try_with(find).ok().flatten()
}
