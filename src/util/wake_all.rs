//! Waking many wakers, some of which may panic.

use core::task::Waker;

/// Wakes all wakers.
///
/// A waker that panics does not keep the others from being woken. The first panic resumes once
/// all have been woken.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    WakeList(&mut wakers.into_iter()).wake();
}

/// The wakers still to be woken.
struct WakeList<'a>(&'a mut dyn Iterator<Item = Waker>);

impl WakeList<'_> {
    fn wake_until_panic(&mut self) {
        // Each waker is taken out before it is woken, so one that panics is not woken again.
        self.0.for_each(Waker::wake);
    }
}

#[cfg(feature = "std")]
impl WakeList<'_> {
    fn wake(&mut self) {
        let mut panics = crate::util::panic::FirstPanic::default();
        while panics.guard(|| self.wake_until_panic()).is_none() {}
        // Throws nothing if the thread is unwinding already: a second panic would abort.
        panics.throw();
    }
}

#[cfg(not(feature = "std"))]
impl WakeList<'_> {
    fn wake(&mut self) {
        self.wake_until_panic();
    }
}

/// Wakes what a panic left over: without `std` nothing catches it.
#[cfg(not(feature = "std"))]
impl Drop for WakeList<'_> {
    fn drop(&mut self) {
        self.wake_until_panic();
    }
}
