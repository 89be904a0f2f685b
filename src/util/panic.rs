//! Catching panics of the user's code, which needs `std`.

use alloc::boxed::Box;
use core::any::Any;

use crate::util::rare_box::RareBox;

/// The value with which a panic unwinds.
pub(crate) type Payload = Box<dyn Any + Send + 'static>;

/// Runs `f`, and returns its panic as a value.
///
/// No caller has state that a panic in `f` could leave half changed, which is why unwind safety
/// is asserted here for all of them.
#[cfg(feature = "std")]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f))
}

#[cfg(not(feature = "std"))]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    Ok(f())
}

/// Calls `f`, and discards its panic.
pub(crate) fn quietly<R>(f: impl FnOnce() -> R) {
    let _ = catch(f).map_err(discard);
}

/// Throws a caught panic again, with the same payload and without a second message.
#[cfg(feature = "std")]
pub(crate) fn resume(payload: Payload) -> ! {
    std::panic::resume_unwind(payload)
}

#[cfg(not(feature = "std"))]
pub(crate) fn resume(_: Payload) -> ! {
    unreachable!("nothing is caught without `std`")
}

/// Returns `true` if the thread unwinds already, so that another panic would abort the process.
pub(crate) fn unwinding() -> bool {
    #[cfg(feature = "std")]
    return std::thread::panicking();
    #[cfg(not(feature = "std"))]
    return false;
}

/// The first panic of several; later ones are discarded. (Boxed once more, so that it is small as
/// long as there is none.)
#[derive(Debug, Default)]
pub(crate) struct FirstPanic(RareBox<Payload>);

impl FirstPanic {
    /// Runs `f`, and keeps its panic if it is the first.
    pub(crate) fn guard<R>(&mut self, f: impl FnOnce() -> R) -> Option<R> {
        // Without closures: it is compiled for each `f`.
        match catch(f) {
            Ok(value) => Some(value),
            Err(payload) => {
                self.keep(payload);
                None
            }
        }
    }

    pub(crate) fn keep(&mut self, payload: Payload) {
        if self.0.is_none() {
            *self.0 = Some(Box::new(payload));
        } else {
            discard(payload);
        }
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn take(&mut self) -> Option<Payload> {
        self.0.take().map(|payload| *payload)
    }

    /// Drops the panic that was kept.
    pub(crate) fn discard(&mut self) {
        if let Some(payload) = self.take() {
            discard(payload);
        }
    }

    /// Throws the panic that was kept, unless the thread unwinds already: for destructors.
    pub(crate) fn throw(&mut self) {
        if let Some(payload) = self.take() {
            if unwinding() { discard(payload) } else { resume(payload) }
        }
    }
}

/// Calls `f`, then returns `value`. If `f` panics, the value is dropped before the unwinding, in
/// which a panic of its destructor would abort the process.
pub(crate) fn return_after<T>(value: T, f: impl FnOnce()) -> T {
    if let Err(payload) = catch(f) {
        quietly(|| drop(value));
        resume(payload);
    }
    value
}

/// Drops a payload that will not be thrown again. If its destructor panics, the payload of that
/// panic is leaked, since its own destructor might panic again.
pub(crate) fn discard(payload: Payload) {
    if let Err(second) = catch(|| drop(payload)) {
        core::mem::forget(second);
    }
}
