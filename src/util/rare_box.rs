//! A part that few values have, in a box.

use alloc::boxed::Box;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

/// A part in a box, or none. It is dropped by a function of its own: the code that drops a value by
/// itself is compiled into each unit of a program that may drop it.
pub(crate) struct RareBox<T>(ManuallyDrop<Option<Box<T>>>);

impl<T> RareBox<T> {
    pub(crate) const fn none() -> Self {
        Self(ManuallyDrop::new(None))
    }

    pub(crate) fn some(part: T) -> Self {
        Self(ManuallyDrop::new(Some(Box::new(part))))
    }
}

impl<T> Default for RareBox<T> {
    fn default() -> Self {
        Self::none()
    }
}

impl<T: fmt::Debug> fmt::Debug for RareBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Deref for RareBox<T> {
    type Target = Option<Box<T>>;

    #[inline(always)]
    fn deref(&self) -> &Option<Box<T>> {
        &self.0
    }
}

impl<T> DerefMut for RareBox<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Option<Box<T>> {
        &mut self.0
    }
}

impl<T> Drop for RareBox<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(part) = self.take() {
            drop_part(part);
        }
    }
}

#[cold]
#[inline(never)]
fn drop_part<T>(part: Box<T>) {
    drop(part);
}
