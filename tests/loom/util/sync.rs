//! The model's `crate::util::sync`: loom's atomics, and on top of them what the crate takes from
//! other crates, in the same steps and with the same orderings as the original.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::task::{RawWaker, RawWakerVTable, Waker};

use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence,
};
pub(crate) use loom::sync::{Mutex, MutexGuard};

pub(crate) use super::arc::{Arc, Weak};

// === wakers ===

/// As `futures_util::task::ArcWake`.
pub(crate) trait ArcWake: Send + Sync + 'static {
    fn wake_by_ref(arc_self: &Arc<Self>)
    where
        Self: Sized;
}

struct Table<W>(W);

impl<W: ArcWake> Table<W> {
    const TABLE: RawWakerVTable =
        RawWakerVTable::new(Self::clone, Self::wake, Self::wake_by_ref, Self::drop);

    // SAFETY, of all four: the data of such a waker comes from `Arc::into_raw`, or from a
    // borrowed `Arc` that outlives it; what is only borrowed here is not dropped.

    unsafe fn clone(data: *const ()) -> RawWaker {
        let arc = ManuallyDrop::new(unsafe { Arc::<W>::from_raw(data) });
        RawWaker::new(Arc::into_raw(Arc::clone(&arc)), &Self::TABLE)
    }

    unsafe fn wake(data: *const ()) {
        let arc = unsafe { Arc::<W>::from_raw(data) };
        W::wake_by_ref(&arc);
    }

    unsafe fn wake_by_ref(data: *const ()) {
        let arc = ManuallyDrop::new(unsafe { Arc::<W>::from_raw(data) });
        W::wake_by_ref(&arc);
    }

    unsafe fn drop(data: *const ()) {
        drop(unsafe { Arc::<W>::from_raw(data) });
    }
}

/// As `futures_util::task::waker`.
pub(crate) fn waker<W: ArcWake>(arc: Arc<W>) -> Waker {
    // SAFETY: the table's functions do what `RawWaker` asks for.
    unsafe { Waker::new(Arc::into_raw(arc), &Table::<W>::TABLE) }
}

/// As `futures_util::task::waker_ref`: a waker that is not counted.
pub(crate) fn waker_ref<W: ArcWake>(arc: &Arc<W>) -> WakerRef<'_> {
    let data = Arc::as_raw(arc);
    // SAFETY: as above, and it is not dropped.
    let waker = ManuallyDrop::new(unsafe { Waker::new(data, &Table::<W>::TABLE) });
    WakerRef { waker, _arc: PhantomData }
}

pub(crate) struct WakerRef<'a> {
    waker: ManuallyDrop<Waker>,
    _arc: PhantomData<&'a ()>,
}

impl Deref for WakerRef<'_> {
    type Target = Waker;

    fn deref(&self) -> &Waker {
        &self.waker
    }
}

// === AtomicWaker ===

const WAITING: usize = 0;
const REGISTERING: usize = 1;
const WAKING: usize = 2;

/// As `futures_util::task::AtomicWaker`, step by step.
#[derive(Debug)]
pub(crate) struct AtomicWaker {
    state: AtomicUsize,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the thread that has changed the state from `WAITING` has exclusive access to the waker,
// until it changes the state back.
unsafe impl Send for AtomicWaker {}
unsafe impl Sync for AtomicWaker {}

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self { state: AtomicUsize::new(WAITING), waker: UnsafeCell::new(None) }
    }

    pub(crate) fn register(&self, waker: &Waker) {
        let begun =
            self.state.compare_exchange(WAITING, REGISTERING, Ordering::Acquire, Ordering::Acquire);
        match begun {
            Ok(_) => {
                self.with(|old| match old {
                    Some(old) if old.will_wake(waker) => {}
                    old => *old = Some(waker.clone()),
                });
                let ended = self.state.compare_exchange(
                    REGISTERING,
                    WAITING,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                );
                if ended.is_err() {
                    let waker = self.with(Option::take);
                    self.state.swap(WAITING, Ordering::AcqRel);
                    waker.expect("it was registered just now").wake();
                }
            }
            Err(WAKING) => {
                waker.wake_by_ref();
                // So the task polls again, until the other thread has left `WAKING`; loom must let
                // that thread go on.
                loom::thread::yield_now();
            }
            Err(_) => unreachable!("two register at a time"),
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.take() {
            waker.wake();
        }
    }

    pub(crate) fn take(&self) -> Option<Waker> {
        if self.state.fetch_or(WAKING, Ordering::AcqRel) != WAITING {
            return None;
        }
        let waker = self.with(Option::take);
        self.state.swap(WAITING, Ordering::Release);
        waker
    }

    fn with<R>(&self, f: impl FnOnce(&mut Option<Waker>) -> R) -> R {
        // SAFETY: see `Sync`; and loom checks it.
        self.waker.with_mut(|waker| f(unsafe { &mut *waker }))
    }
}
