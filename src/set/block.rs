//! As many seats for children as a word has bits (64, mostly), and what is known of each.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::pin::Pin;

use super::flag::{Flag, Word, bits};
use super::row::{Row, Seat};

/// How many seats a block has: the bits of its word.
pub(super) const SEATS: usize = usize::BITS as usize;

/// No block: the end of a [`Chain`].
pub(super) const NONE: u32 = u32::MAX;

pub(super) struct Block<C> {
    pub(super) word: Arc<Word>,
    /// What children are polled with that have no flag: most never keep a waker. One that
    /// does takes it along.
    spare: Option<Arc<Flag>>,
    /// The first row by itself, so that a small group allocates no list of them.
    first: Row<C>,
    rows: Vec<Row<C>>,
    /// Seats without a child.
    pub(super) open: usize,
    /// Children that this round still polls.
    pub(super) ready: usize,
    /// Children that were woken in their own poll in this turn, and wait for the next.
    pub(super) late: usize,
    /// Children who were never polled, oldest first: a ring.
    fresh: [u8; SEATS],
    fresh_head: u8,
    fresh_len: u8,
    /// The next block of the round.
    pub(super) next: u32,
    /// The next block with `late` children.
    pub(super) next_late: u32,
}

impl<C> Block<C> {
    pub(super) fn new(word: Arc<Word>) -> Self {
        Self {
            word,
            spare: None,
            first: Row::new(),
            rows: Vec::new(),
            open: usize::MAX,
            ready: 0,
            late: 0,
            fresh: [0; SEATS],
            fresh_head: 0,
            fresh_len: 0,
            next: NONE,
            next_late: NONE,
        }
    }

    /// The seat in which somebody sits.
    #[inline]
    pub(super) fn seat(&mut self, at: usize) -> Pin<&mut Seat<C>> {
        self.seat_and_spare(at).0
    }

    #[inline]
    pub(super) fn seat_and_spare(&mut self, at: usize) -> (Pin<&mut Seat<C>>, Spare<'_>) {
        let row = match (at / Row::<C>::SEATS).checked_sub(1) {
            None => &mut self.first,
            Some(row) => &mut self.rows[row],
        };
        (row.seat(at % Row::<C>::SEATS), Spare { flag: &mut self.spare, word: &self.word, at })
    }

    /// Seats a child in the lowest open seat; there is one.
    #[inline]
    pub(super) fn insert(&mut self, child: C, index: usize) {
        let at = self.open.trailing_zeros() as usize;
        self.open &= self.open - 1;
        if at / Row::<C>::SEATS > self.rows.len() {
            self.rows.push(Row::new());
        }
        let seat = self.seat(at).project();
        let mut place = seat.child;
        place.set(Some(child));
        *seat.index = index;
        let tail = (usize::from(self.fresh_head) + usize::from(self.fresh_len)) % SEATS;
        self.fresh[tail] = at as u8;
        self.fresh_len += 1;
    }

    /// The oldest child that was never polled.
    #[inline]
    pub(super) fn next_fresh(&mut self) -> usize {
        debug_assert!(self.fresh_len > 0);
        let at = self.fresh[usize::from(self.fresh_head) % SEATS];
        self.fresh_head = (self.fresh_head + 1) % SEATS as u8;
        self.fresh_len -= 1;
        usize::from(at)
    }

    /// Takes the bits of the children who were woken since the last call; also a bit may
    /// come from a waker that outlived its child.
    pub(super) fn take_woken(&mut self) -> usize {
        let set = self.word.take() & !self.open;
        bits(set)
            .filter(|&at| self.seat(at).flag.as_ref().is_some_and(|flag| flag.is_woken()))
            .fold(0, |mask, at| mask | 1 << at)
    }
}

/// The flag for the poll of a child that has none.
pub(super) struct Spare<'b> {
    flag: &'b mut Option<Arc<Flag>>,
    word: &'b Arc<Word>,
    at: usize,
}

impl Spare<'_> {
    #[inline]
    pub(super) fn get(&mut self) -> &Arc<Flag> {
        let flag = self.flag.get_or_insert_with(|| Flag::new(self.word));
        flag.assign(self.at);
        flag
    }

    /// The flag, where the child that was polled with it has kept a waker.
    #[inline]
    pub(super) fn take_if_kept(&mut self) -> Option<Arc<Flag>> {
        self.flag.take_if(|flag| !flag.is_sole())
    }

    /// Makes sure that the next child who is polled with it is alone with it.
    #[inline]
    pub(super) fn renew(&mut self) {
        if let Some(flag) = self.take_if_kept() {
            flag.renew();
        }
    }
}
