//! As the crate's `util::nesting`, for the threads of a schedule.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

shuttle::thread_local! {
    static IN_CALL: Cell<bool> = Cell::new(false);
    static DEFERRED: RefCell<VecDeque<Box<dyn FnOnce()>>> = RefCell::new(VecDeque::new());
}

pub(crate) fn in_call() -> bool {
    IN_CALL.with(Cell::get)
}

pub(crate) fn call(first: impl FnOnce()) {
    IN_CALL.with(|in_call| in_call.set(true));
    first();
    let next = || DEFERRED.with(|deferred| deferred.borrow_mut().pop_front());
    while let Some(call) = next() {
        call();
    }
    IN_CALL.with(|in_call| in_call.set(false));
}

pub(crate) fn defer(call: impl FnOnce() + 'static) {
    DEFERRED.with(|deferred| deferred.borrow_mut().push_back(Box::new(call)));
}
