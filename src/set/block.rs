//! As many seats for children as a word has bits (64, mostly), and what is known of each.

use core::mem::needs_drop;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::child_waker::{ChildWaker, ReadyBits};
use super::slots::{SlotMut, Slots};
use crate::util::sync::{Arc, ArcWake, waker_ref};

/// How many seats a block has: the bits of its word.
pub(super) const SLOTS: usize = usize::BITS as usize;

/// No block: the end of a [`BlockList`](super::lists::BlockList).
pub(super) const NONE: u32 = u32::MAX;

/// The children of one block that are polled one after another.
#[derive(Clone, Copy, Default)]
pub(super) struct Batch {
    pub(super) block: usize,
    /// Whether they have never been polled.
    pub(super) fresh: bool,
    /// How many there are.
    pub(super) count: usize,
    /// Whose turn it is.
    pub(super) seat: usize,
    /// How many have been polled. This and the next are told at the end; where that does not
    /// come, because of a panic, by [`interrupted`](Block::interrupted).
    pub(super) polled: usize,
    /// How many of these have left the block.
    pub(super) freed: usize,
    /// The block's `fresh` or `ready`, before the first of them was polled.
    pub(super) todo: usize,
    /// The block's `open`, likewise.
    pub(super) open: usize,
}

pub(super) struct Block<C> {
    pub(super) bits: Arc<ReadyBits>,
    /// Lent to children for a poll who have no flag of their own, as most never keep a waker.
    /// One that does keeps it for good. Nobody else holds it between two polls.
    spare: Arc<ChildWaker>,
    rows: Slots<C>,
    /// Seats without a child.
    open: usize,
    /// Those of them that are behind all the children who were never polled, and so may take
    /// the next: it is polled after them then.
    takes: usize,
    /// Children who were never polled.
    fresh: usize,
    /// Children that this round still polls.
    pub(super) ready: usize,
    /// Children that were woken in their own poll in this turn, and wait for the next.
    pub(super) late: usize,
    /// The next block of the round.
    pub(super) next: u32,
    /// Children that had yielded when this turn began, for the next round.
    pub(super) due: usize,
    /// The next block with `late` children.
    pub(super) next_late: u32,
    /// The next block with `due` children.
    pub(super) next_due: u32,
    /// Stands among those with `late` children.
    pub(super) is_late: bool,
    /// Stands among those that take children.
    pub(super) vacant: bool,
}

impl<C> Block<C> {
    pub(super) fn new(bits: Arc<ReadyBits>) -> Self {
        Self {
            spare: ChildWaker::new(&bits),
            bits,
            rows: Slots::new(),
            open: usize::MAX,
            takes: usize::MAX,
            fresh: 0,
            ready: 0,
            late: 0,
            due: 0,
            next: NONE,
            next_late: NONE,
            next_due: NONE,
            is_late: false,
            vacant: false,
        }
    }

    /// Whether there is a seat that takes a child.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.takes != 0
    }

    /// Lets all open seats take children again, if nobody has to be behind anybody.
    pub(super) fn make_room(&mut self) {
        if self.fresh == 0 {
            self.takes = self.open;
        }
    }

    /// The seats in which somebody sits.
    pub(super) fn taken(&self) -> usize {
        !self.open
    }

    /// Seats a child; there is a seat that takes one.
    #[inline]
    pub(super) fn insert(&mut self, child: C, index: usize) {
        let at = self.takes.trailing_zeros() as usize;
        let seat = self.takes & self.takes.wrapping_neg();
        self.takes ^= seat;
        self.open ^= seat;
        self.fresh |= seat;
        let mut seat = self.rows.seat_or_add(at);
        seat.child.set(Some(child));
        *seat.index = index;
    }

    /// Goes on with a bunch until it is over or `ended` says so; true in the first case.
    #[inline]
    pub(super) fn poll<R>(
        &mut self,
        bunch: &mut Batch,
        returned: &mut Option<R>,
        poll: &mut impl FnMut(Pin<&mut C>, usize, &mut Context<'_>) -> Poll<R>,
        ended: &mut impl FnMut(usize, R) -> bool,
    ) -> bool {
        let Self { bits, spare, rows, open, fresh, ready, late, .. } = self;
        let todo = if bunch.fresh { fresh } else { ready };
        (bunch.todo, bunch.open) = (*todo, *open);
        // Kept in the block as well, where it outlasts a panic.
        let mut left = *todo;
        let (mut count, mut freed) = (bunch.count, 0);
        let mut go_on = true;
        while go_on && count != 0 {
            let waker = waker_ref(spare);
            let mut lent = Context::from_waker(&waker);
            // The seat whose child has kept the waker that it was lent, once one does.
            let mut kept = None;
            while go_on && count != 0 {
                count -= 1;
                let at = left.trailing_zeros() as usize;
                let bit = left & left.wrapping_neg();
                left ^= bit;
                *todo = left;
                bunch.seat = at;
                let mut seat = rows.seat(at);
                let Some(child) = seat.child.as_mut().as_pin_mut() else {
                    debug_assert!(false, "an open seat was to be polled");
                    continue;
                };
                let answer = match seat.waker {
                    None => {
                        spare.lend(at);
                        poll(child, *seat.index, &mut lent)
                    }
                    Some(waker) => {
                        ChildWaker::begin_poll(waker);
                        let waker = waker_ref(waker);
                        poll(child, *seat.index, &mut Context::from_waker(&waker))
                    }
                };
                let Poll::Ready(value) = answer else {
                    // First who has the flag, then whether it was woken: once nobody else
                    // has it, nobody wakes it after the look.
                    let keeps = seat.waker.is_none() && !ChildWaker::is_sole(spare);
                    if ChildWaker::end_poll(seat.waker.as_ref().unwrap_or(spare)) {
                        *late |= bit;
                    }
                    if keeps {
                        kept = Some(at);
                        break;
                    }
                    continue;
                };
                if needs_drop::<C>() {
                    // What it returned must outlast a panic of its destructor.
                    *returned = Some(value);
                    let index = seat.vacate();
                    *open |= bit;
                    freed += 1;
                    go_on = returned.take().is_none_or(|value| ended(index, value));
                } else {
                    let index = seat.vacate();
                    *open |= bit;
                    freed += 1;
                    go_on = ended(index, value);
                }
                if !ChildWaker::is_sole(spare) {
                    // It has left it to somebody who must not reach the seat's next child.
                    ChildWaker::renew(spare);
                    break;
                }
            }
            if kept.is_some() || !ChildWaker::is_sole(spare) {
                let spare = core::mem::replace(spare, ChildWaker::new(bits));
                if let Some(at) = kept {
                    // Whoever had it may have woken it and let go by now.
                    *rows.seat(at).waker = Some(spare);
                }
            }
        }
        (bunch.polled, bunch.freed) = (bunch.count - count, freed);
        go_on
    }

    /// Tells how far a bunch had come when a panic ended it.
    pub(super) fn interrupted(&mut self, bunch: &mut Batch) {
        // The child may have left the lent flag to somebody.
        self.renew_spare();
        let todo = if bunch.fresh { self.fresh } else { self.ready };
        bunch.polled = (bunch.todo & !todo).count_ones() as usize;
        bunch.freed = (self.open & !bunch.open).count_ones() as usize;
    }

    /// The index of the child that sits there, or was the last to.
    pub(super) fn index(&mut self, at: usize) -> usize {
        *self.rows.seat(at).index
    }

    /// Drops a child.
    pub(super) fn remove(&mut self, at: usize) {
        self.rows.seat(at).vacate();
        self.open |= 1 << at;
        self.renew_spare();
    }

    fn renew_spare(&mut self) {
        if !ChildWaker::renew(&self.spare) {
            self.spare = ChildWaker::new(&self.bits);
        }
    }

    /// Takes the bits of the children who were woken since the last call, but for those who
    /// have yielded, and are polled again anyway. A bit may also come from a waker that outlived its child.
    pub(super) fn take_woken(&mut self) -> usize {
        let set = self.bits.take() & !(self.open | self.late | self.due);
        bits(set)
            .filter(|&at| self.rows.seat(at).waker.as_ref().is_some_and(|waker| waker.is_woken()))
            .fold(0, |mask, at| mask | 1 << at)
    }
}

impl<C> SlotMut<'_, C> {
    /// Drops the child, sees to it that wakers which it left somewhere don't reach the seat's
    /// next, and gives the child's index.
    #[inline]
    fn vacate(mut self) -> usize {
        // An assignment that unwinds from the old value's destructor has stored the new one.
        self.child.set(None);
        if self.waker.as_ref().is_some_and(|waker| !ChildWaker::renew(waker)) {
            *self.waker = None;
        }
        *self.index
    }
}

impl ArcWake for ChildWaker {
    #[inline]
    fn wake_by_ref(waker: &Arc<Self>) {
        Self::wake(waker);
    }
}

/// The places of the bits that are set in `mask`, lowest first.
pub(super) fn bits(mut mask: usize) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        Some(bit as usize)
    })
}
