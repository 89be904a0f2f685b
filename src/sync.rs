//! The atomics and wakers of what wakes, in one place: so that a model checker can put its own
//! there (`tests/loom` does).

pub(crate) use alloc::sync::Arc;
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};
pub(crate) use futures_util::task::{ArcWake, AtomicWaker, waker, waker_ref};
