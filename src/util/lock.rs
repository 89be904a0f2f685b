//! The one kind of lock of the crate, which is locked for a few instructions at a time.
//!
//! No user code (a waker, a destructor, a policy, a child) runs while it is locked, so no user
//! code can poison it or deadlock on it. (One exception: a subscriber of `tracing` is told of a
//! child's new span under the lock of that span alone.) With `std` it is the standard library's
//! mutex; without, `async-lock`'s, for which threads spin.

use crate::util::sync;
pub(crate) use crate::util::sync::MutexGuard;

/// A mutex that is locked only for a short time, and never while user code runs.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Makes one for a `static`.
    #[cfg(not(loom))]
    pub(crate) const fn new_const(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    #[cfg(feature = "std")]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // Poison would only mean that memory ran out while it was locked.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(not(feature = "std"))]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        loop {
            if let Some(guard) = self.0.try_lock() {
                return guard;
            }
            core::hint::spin_loop();
        }
    }

    pub(crate) fn into_inner(self) -> T {
        #[cfg(feature = "std")]
        return self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        #[cfg(not(feature = "std"))]
        return self.0.into_inner();
    }

    /// Returns the value, without locking: the caller has the only reference.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        #[cfg(feature = "std")]
        return self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        #[cfg(not(feature = "std"))]
        return self.0.get_mut();
    }
}

/// A value that is made when it is first asked for. (Without `std` there is nothing on which a
/// thread could wait while another one makes it, so it is made at once.)
#[derive(Debug)]
pub(crate) struct LazyInit<T> {
    #[cfg(feature = "std")]
    value: std::sync::OnceLock<T>,
    #[cfg(not(feature = "std"))]
    value: T,
}

#[cfg(feature = "std")]
impl<T> LazyInit<T> {
    pub(crate) fn new(_: impl FnOnce() -> T) -> Self {
        Self { value: std::sync::OnceLock::new() }
    }

    pub(crate) fn with_value(value: T) -> Self {
        Self { value: value.into() }
    }

    /// Returns the value, or `None` if it has not been asked for.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.value.get_or_init(make)
    }
}

#[cfg(not(feature = "std"))]
impl<T> LazyInit<T> {
    pub(crate) fn new(make: impl FnOnce() -> T) -> Self {
        Self { value: make() }
    }

    pub(crate) fn with_value(value: T) -> Self {
        Self { value }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        Some(&self.value)
    }

    pub(crate) fn get_or_init(&self, _: impl FnOnce() -> T) -> &T {
        &self.value
    }
}
