//! A value that is dropped by a pointer to a function.

use core::mem::{ManuallyDrop, replace};
use core::ops::{Deref, DerefMut};

/// A value whose code to drop it is reached by a pointer, so a program that makes no such value
/// does not contain that code.
pub(crate) struct DroppedBy<T> {
    /// `None` once it is being dropped.
    value: ManuallyDrop<Option<T>>,
    drop: fn(T),
}

impl<T> DroppedBy<T> {
    pub(crate) fn new(value: T, drop: fn(T)) -> Self {
        Self { value: ManuallyDrop::new(Some(value)), drop }
    }
}

impl<T> Deref for DroppedBy<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &*self.value {
            Some(value) => value,
            None => unreachable!("it is being dropped"),
        }
    }
}

impl<T> DerefMut for DroppedBy<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match &mut *self.value {
            Some(value) => value,
            None => unreachable!("it is being dropped"),
        }
    }
}

impl<T> Drop for DroppedBy<T> {
    #[inline(never)]
    fn drop(&mut self) {
        let value = replace(&mut self.value, ManuallyDrop::new(None));
        if let Some(value) = ManuallyDrop::into_inner(value) {
            (self.drop)(value);
        }
    }
}
