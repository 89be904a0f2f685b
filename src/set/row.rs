//! Where children sit: pinned in a box, eight together where they are small.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::pin::Pin;

use pin_project_lite::pin_project;

use super::flag::Flag;

/// Children up to this size, in bytes, share a box with seven others. Larger ones gain
/// little, and a group that holds one of them should not pay for eight.
const SMALL: usize = 512;

pin_project! {
    /// A place for one child after another.
    pub(super) struct Seat<C> {
        #[pin]
        pub(super) child: Option<C>,
        // The child's place in the order of admission.
        pub(super) index: usize,
        // What wakes the child; `None` as long as no child here has kept a waker.
        pub(super) flag: Option<Arc<Flag>>,
    }
}

pin_project! {
    pub(super) struct Eight<C> {
        #[pin] a: Seat<C>,
        #[pin] b: Seat<C>,
        #[pin] c: Seat<C>,
        #[pin] d: Seat<C>,
        #[pin] e: Seat<C>,
        #[pin] f: Seat<C>,
        #[pin] g: Seat<C>,
        #[pin] h: Seat<C>,
    }
}

/// Seats that were allocated together.
pub(super) enum Row<C> {
    One(Pin<Box<Seat<C>>>),
    Eight(Pin<Box<Eight<C>>>),
}

impl<C> Seat<C> {
    const fn new() -> Self {
        Self { child: None, index: 0, flag: None }
    }
}

impl<C> Row<C> {
    /// How many seats a row of this kind of children has.
    pub(super) const SEATS: usize = if size_of::<C>() <= SMALL { 8 } else { 1 };

    pub(super) fn new() -> Self {
        let seat = const { || Seat::new() };
        if Self::SEATS == 1 {
            return Self::One(Box::pin(seat()));
        }
        Self::Eight(Box::pin(Eight {
            a: seat(),
            b: seat(),
            c: seat(),
            d: seat(),
            e: seat(),
            f: seat(),
            g: seat(),
            h: seat(),
        }))
    }

    /// The seat at that place in the row, below [`SEATS`](Self::SEATS).
    #[inline]
    pub(super) fn seat(&mut self, at: usize) -> Pin<&mut Seat<C>> {
        match self {
            Self::One(seat) => seat.as_mut(),
            Self::Eight(seats) => {
                let seats = seats.as_mut().project();
                match at & 7 {
                    0 => seats.a,
                    1 => seats.b,
                    2 => seats.c,
                    3 => seats.d,
                    4 => seats.e,
                    5 => seats.f,
                    6 => seats.g,
                    _ => seats.h,
                }
            }
        }
    }
}
