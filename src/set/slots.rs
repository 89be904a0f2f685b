//! Where children sit: pinned in a box, eight together where they are small.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::pin::Pin;

use pin_project_lite::pin_project;

use super::child_waker::ChildWaker;
use crate::util::sync::Arc;

/// Children up to this size, in bytes, share a box with seven others. Larger ones gain
/// little, and a group that holds one of them should not pay for eight.
const SMALL: usize = 512;

pin_project! {
    /// A place for one child after another.
    #[project = SlotMut]
    pub(super) struct Slot<C> {
        #[pin]
        pub(super) child: Option<C>,
        // The child's place in the order of admission.
        pub(super) index: usize,
        // What wakes the child; `None` as long as no child here has kept a waker.
        pub(super) waker: Option<Arc<ChildWaker>>,
    }
}

pin_project! {
    /// Two side by side: pinned places that are found by number, bit for bit. (There is no
    /// way into a pinned array without `unsafe`.)
    pub(super) struct Pair<T> {
        #[pin]
        low: T,
        #[pin]
        high: T,
    }
}

type Eight<C> = Pair<Pair<Pair<Slot<C>>>>;

/// Seats that were allocated together.
enum Chunk<C> {
    One(Pin<Box<Slot<C>>>),
    Eight(Pin<Box<Eight<C>>>),
}

/// The seats of a block, as many as were needed so far.
pub(super) struct Slots<C> {
    /// By itself, so that a small group allocates no list of them.
    first: Chunk<C>,
    others: Vec<Chunk<C>>,
}

impl<C> Slot<C> {
    const fn new() -> Self {
        Self { child: None, index: 0, waker: None }
    }
}

impl<C> Chunk<C> {
    /// How many seats a row of this kind of children has.
    const SLOTS: usize = if size_of::<C>() <= SMALL { 8 } else { 1 };

    fn new() -> Self {
        if Self::SLOTS == 1 {
            return Self::One(Box::pin(Slot::new()));
        }
        Self::Eight(Box::pin(Pair::new(|| Pair::new(|| Pair::new(Slot::new)))))
    }

    /// The seat whose number ends like that.
    #[inline]
    fn seat(&mut self, at: usize) -> SlotMut<'_, C> {
        let seat = match self {
            Self::One(seat) => seat.as_mut(),
            Self::Eight(slots) => slots.as_mut().half(at & 4).half(at & 2).half(at & 1),
        };
        seat.project()
    }
}

impl<C> Slots<C> {
    pub(super) fn new() -> Self {
        Self { first: Chunk::new(), others: Vec::new() }
    }

    /// A seat that has been made.
    #[inline]
    pub(super) fn seat(&mut self, at: usize) -> SlotMut<'_, C> {
        match (at / Chunk::<C>::SLOTS).checked_sub(1) {
            None => self.first.seat(at),
            Some(row) => self.others[row].seat(at),
        }
    }

    /// A seat, made now if it is the first of its row.
    #[inline]
    pub(super) fn seat_or_add(&mut self, at: usize) -> SlotMut<'_, C> {
        match (at / Chunk::<C>::SLOTS).checked_sub(1) {
            None => self.first.seat(at),
            Some(row) => {
                if row >= self.others.len() {
                    self.add(row);
                }
                self.others[row].seat(at)
            }
        }
    }

    /// Makes the rows up to that one.
    #[cold]
    fn add(&mut self, row: usize) {
        while row >= self.others.len() {
            self.others.push(Chunk::new());
        }
    }
}

impl<T> Pair<T> {
    fn new(make: impl Fn() -> T) -> Self {
        Self { low: make(), high: make() }
    }

    #[inline]
    fn half(self: Pin<&mut Self>, high: usize) -> Pin<&mut T> {
        let this = self.project();
        if high == 0 { this.low } else { this.high }
    }
}
