//! What the crate's own `util::sync` has, with the mutex and the atomics of shuttle.

pub(crate) use alloc::sync::{Arc, Weak};

pub(crate) use futures_util::task::{ArcWake, AtomicWaker, WakerRef, waker, waker_ref};
pub(crate) use shuttle::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence,
};
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
