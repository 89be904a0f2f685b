//! Waking many wakers, some of which may panic.

use alloc::vec::{self, Vec};
use core::task::Waker;

use crate::util::slab::{self, Slab};

/// Wakes all wakers.
///
/// A waker that panics does not keep the others from being woken. The first panic resumes once
/// all have been woken.
pub(crate) fn wake_all(wakers: Vec<Slab<Waker>>) {
    if !wakers.is_empty() {
        let mut list = WakeList { current: Slab::new().into_iter(), rest: wakers.into_iter() };
        list.wake();
    }
}

/// The wakers still to be woken.
struct WakeList {
    current: slab::IntoIter<Waker>,
    rest: vec::IntoIter<Slab<Waker>>,
}

impl WakeList {
    fn wake_until_panic(&mut self) {
        loop {
            // Each waker is taken out before it is woken, so one that panics is not woken again.
            for waker in self.current.by_ref() {
                waker.wake();
            }
            match self.rest.next() {
                Some(next) => self.current = next.into_iter(),
                None => return,
            }
        }
    }
}

#[cfg(feature = "std")]
impl WakeList {
    fn wake(&mut self) {
        let mut panics = crate::util::panic::FirstPanic::default();
        while panics.guard(|| self.wake_until_panic()).is_none() {}
        // Throws nothing if the thread is unwinding already: a second panic would abort.
        panics.throw();
    }
}

#[cfg(not(feature = "std"))]
impl WakeList {
    fn wake(&mut self) {
        self.wake_until_panic();
    }
}

/// Wakes what a panic left over: without `std` nothing catches it.
#[cfg(not(feature = "std"))]
impl Drop for WakeList {
    fn drop(&mut self) {
        self.wake_until_panic();
    }
}
