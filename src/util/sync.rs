//! The atomics, wakers and locks that take part in wake-ups, in one place, so that a model checker
//! can replace them by its own (`tests/loom` does).

#[cfg(not(feature = "std"))]
pub(crate) use async_lock::{Mutex, MutexGuard};
#[cfg(feature = "std")]
pub(crate) use std::sync::{Mutex, MutexGuard};

pub(crate) use alloc::sync::{Arc, Weak};
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence,
};
pub(crate) use futures_util::task::{ArcWake, AtomicWaker, WakerRef, waker, waker_ref};
