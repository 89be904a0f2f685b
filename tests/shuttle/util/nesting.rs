//! As the crate's `util::nesting`, for the threads of a schedule.

use std::cell::RefCell;
use std::collections::VecDeque;

struct Call {
    id: usize,
    deferred: VecDeque<Box<dyn FnOnce()>>,
}

shuttle::thread_local! {
    static CALLS: RefCell<Vec<Call>> = RefCell::new(Vec::new());
}

pub(crate) fn in_call(id: usize) -> bool {
    CALLS.with(|calls| calls.borrow().iter().any(|call| call.id == id))
}

pub(crate) fn call(id: usize, first: impl FnOnce()) {
    CALLS.with(|calls| calls.borrow_mut().push(Call { id, deferred: VecDeque::new() }));
    first();
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
        call();
    }
}

pub(crate) fn defer(id: usize, call: impl FnOnce() + 'static) {
    CALLS.with(|calls| {
        let mut calls = calls.borrow_mut();
        if let Some(outer) = calls.iter_mut().find(|outer| outer.id == id) {
            outer.deferred.push_back(Box::new(call));
        }
    });
}
