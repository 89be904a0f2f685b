//! As the crate's `util::nesting`, for the threads of a schedule.

use std::cell::RefCell;
use std::collections::VecDeque;

struct Call {
    group: usize,
    deferred: VecDeque<Box<dyn FnOnce()>>,
}

shuttle::thread_local! {
    static CALLS: RefCell<Vec<Call>> = RefCell::new(Vec::new());
}

pub(crate) fn call(group: usize, first: impl FnOnce()) {
    let is_first = CALLS.with(|calls| {
        let mut calls = calls.borrow_mut();
        let is_first = calls.iter().all(|call| call.group != group);
        if is_first {
            calls.push(Call { group, deferred: VecDeque::new() });
        }
        is_first
    });
    if !is_first {
        return;
    }
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

pub(crate) fn defer(group: usize, call: impl FnOnce() + 'static) {
    CALLS.with(|calls| {
        let mut calls = calls.borrow_mut();
        if let Some(outer) = calls.iter_mut().find(|outer| outer.group == group) {
            outer.deferred.push_back(Box::new(call));
        }
    });
}
