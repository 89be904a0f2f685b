//! An `Arc` and a `Weak` whose count is an atomic of the model.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr;

use loom::sync::atomic::{AtomicUsize, Ordering, fence};

/// As the standard library's, step by step. (loom's own synchronizes when its count is read, which
/// would hide a missing fence.)
#[derive(Debug)]
pub(crate) struct Arc<T: ?Sized> {
    /// Owns the memory, and frees it; its own counts are outside of the model.
    inner: ManuallyDrop<std::sync::Arc<Inner<T>>>,
}

#[derive(Debug)]
struct Inner<T: ?Sized> {
    /// The count may be read when the value is gone.
    count: std::sync::Arc<AtomicUsize>,
    value: T,
}

impl<T: Default> Default for Arc<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Arc<T> {
    pub(crate) fn new(value: T) -> Self {
        let count = std::sync::Arc::new(AtomicUsize::new(1));
        Self { inner: ManuallyDrop::new(std::sync::Arc::new(Inner { count, value })) }
    }

    pub(crate) fn strong_count(this: &Self) -> usize {
        this.inner.count.load(Ordering::Relaxed)
    }

    pub(crate) fn as_ptr(this: &Self) -> *const T {
        &raw const this.inner.value
    }

    pub(crate) fn ptr_eq(this: &Self, other: &Self) -> bool {
        ptr::eq(Self::as_ptr(this), Self::as_ptr(other))
    }

    /// Only for a reference that is the first and the only one.
    pub(crate) fn get_mut(this: &mut Self) -> Option<&mut T> {
        std::sync::Arc::get_mut(&mut this.inner).map(|inner| &mut inner.value)
    }

    pub(crate) fn downgrade(this: &Self) -> Weak<T> {
        let count = std::sync::Arc::clone(&this.inner.count);
        Weak { count, inner: std::sync::Arc::downgrade(&this.inner) }
    }

    pub(crate) fn into_inner(this: Self) -> Option<T> {
        let mut this = ManuallyDrop::new(this);
        // SAFETY: it is neither used nor dropped again.
        let inner = unsafe { ManuallyDrop::take(&mut this.inner) };
        if inner.count.fetch_sub(1, Ordering::Release) != 1 {
            return None;
        }
        fence(Ordering::Acquire);
        std::sync::Arc::into_inner(inner).map(|inner| inner.value)
    }

    pub(super) fn into_raw(this: Self) -> *const () {
        let mut this = ManuallyDrop::new(this);
        // SAFETY: it is neither used nor dropped again.
        let inner = unsafe { ManuallyDrop::take(&mut this.inner) };
        std::sync::Arc::into_raw(inner).cast()
    }

    pub(super) fn as_raw(this: &Self) -> *const () {
        std::sync::Arc::as_ptr(&this.inner).cast()
    }

    /// # Safety
    ///
    /// As that of `Arc::from_raw`: of the same type, and once for each `into_raw`.
    pub(super) unsafe fn from_raw(raw: *const ()) -> Self {
        // SAFETY: the caller's promise.
        Self { inner: ManuallyDrop::new(unsafe { std::sync::Arc::from_raw(raw.cast()) }) }
    }
}

impl<T: ?Sized> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner.value
    }
}

impl<T: ?Sized> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.inner.count.fetch_add(1, Ordering::Relaxed);
        Self { inner: self.inner.clone() }
    }
}

impl<T: ?Sized> Drop for Arc<T> {
    fn drop(&mut self) {
        // A model that has failed is over: its atomics must not be used, and so the value is not
        // dropped, which may use some.
        if std::thread::panicking() {
            return;
        }
        if self.inner.count.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
        }
        // SAFETY: it is neither used nor dropped again.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
    }
}

#[derive(Debug)]
pub(crate) struct Weak<T> {
    count: std::sync::Arc<AtomicUsize>,
    inner: std::sync::Weak<Inner<T>>,
}

impl<T> Weak<T> {
    pub(crate) fn upgrade(&self) -> Option<Arc<T>> {
        let mut count = self.count.load(Ordering::Relaxed);
        while count != 0 {
            let changed = self.count.compare_exchange_weak(
                count,
                count + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match changed {
                // No other thread runs between this and the exchange.
                Ok(_) => {
                    let inner = self.inner.upgrade().expect("it is counted");
                    return Some(Arc { inner: ManuallyDrop::new(inner) });
                }
                Err(now) => count = now,
            }
        }
        None
    }

    pub(crate) fn as_ptr(&self) -> *const T {
        let inner = self.inner.as_ptr();
        // SAFETY: the memory is there while this is, and the value is not read.
        unsafe { &raw const (*inner).value }
    }
}
