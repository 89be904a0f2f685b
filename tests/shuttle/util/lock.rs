//! As the crate's `util::lock`: a thread that waits for a `OnceLock` would stop all threads of a
//! schedule.

use std::sync::{OnceLock, PoisonError};

use crate::util::sync;
pub(crate) use crate::util::sync::MutexGuard;

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub(crate) const fn new_const(value: T) -> Self {
        Self::new(value)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct LazyInit<T> {
    value: OnceLock<T>,
    /// Locked by the thread that makes the value.
    making: Mutex<()>,
}

impl<T> LazyInit<T> {
    pub(crate) fn new(_: impl FnOnce() -> T) -> Self {
        Self { value: OnceLock::new(), making: Mutex::new(()) }
    }

    pub(crate) fn with_value(value: T) -> Self {
        Self { value: value.into(), making: Mutex::new(()) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let _making = self.value.get().is_none().then(|| self.making.lock());
        if self.value.get().is_none() {
            let value = make();
            return self.value.get_or_init(|| value);
        }
        self.value.get().expect("it was made")
    }
}
