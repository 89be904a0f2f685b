//! Waking many, of whom some may panic.

use alloc::vec::{self, Vec};
use core::task::Waker;

use crate::util::slab::{self, Slab};

/// Wakes all. If some panic, the others are woken nevertheless, and the first
/// panic goes on from here.
pub(crate) fn wake_all(wakers: Vec<Slab<Waker>>) {
    if !wakers.is_empty() {
        let mut rest = Rest { now: Slab::new().into_iter(), later: wakers.into_iter() };
        rest.wake();
    }
}

/// Who is still to be woken.
struct Rest {
    now: slab::IntoIter<Waker>,
    later: vec::IntoIter<Slab<Waker>>,
}

impl Rest {
    fn wake_until_panic(&mut self) {
        loop {
            // Taken out first, so that one that panics isn't woken again.
            for waker in self.now.by_ref() {
                waker.wake();
            }
            match self.later.next() {
                Some(next) => self.now = next.into_iter(),
                None => return,
            }
        }
    }
}

#[cfg(feature = "std")]
impl Rest {
    fn wake(&mut self) {
        let mut panics = crate::util::panic::FirstPanic::default();
        while panics.guard(|| self.wake_until_panic()).is_none() {}
        // A second panic in one thread would abort; the one under way is enough then.
        panics.throw();
    }
}

#[cfg(not(feature = "std"))]
impl Rest {
    fn wake(&mut self) {
        self.wake_until_panic();
    }
}

/// Goes on where a panic broke off, as nothing can catch it.
#[cfg(not(feature = "std"))]
impl Drop for Rest {
    fn drop(&mut self) {
        self.wake_until_panic();
    }
}
