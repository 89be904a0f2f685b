//! The engine: holds the children, polls those that were woken, tells who has finished.
//!
//! It knows nothing of limits, policies or tokens. Children live in blocks of 64 slots that
//! the set owns; a slot and its waker serve one child after another. A child's waker sets a
//! bit in its block's word, and the first bit rings the block's entry in a
//! `FuturesUnordered`, so that finding who is awake costs only what is awake.
//!
//! Polling goes in *turns* and *rounds*. A turn is one poll of the set's owner. A round is
//! fixed when it starts: all who have been woken by then, then all who were admitted and
//! never polled, in order of admission; each is polled once. A turn has as many rounds as
//! there is news for, except that a child that woke itself while it was polled has yielded:
//! it comes up again in the next turn. A turn may end within a round; the next goes on there.
//!
//! # Invariants
//!
//! - A slot is occupied exactly where `meta` is `Some`; its `child` is then `Some` too.
//! - The slots in `free` are empty, each stands there once; `len` counts the others.
//! - A block stands in `round` exactly while its `ready` is not 0, in `late` exactly while
//!   its `late` is not 0.
//! - `ready`, `late` and `fresh` name occupied slots only.

mod block;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use self::block::{Block, Ding, SLOTS, Slot, bits};
use crate::lock::Lock;
use crate::panic::{Payload, catch};

/// Blocks that an emptied set keeps for the children to come.
const KEEP: usize = 16;

/// A child that is no longer in the set.
pub(crate) struct Finished<M, R> {
    pub(crate) meta: M,
    /// What it returned, or what it (or its destructor) panicked with.
    pub(crate) result: Result<R, Payload>,
}

pub(crate) struct Set<C, M> {
    blocks: Vec<Block<C, M>>,
    free: Vec<usize>,
    len: usize,
    /// Admitted and not yet polled, oldest first.
    fresh: VecDeque<usize>,
    /// How many of `fresh` belong to this round.
    fresh_in_round: usize,
    /// The blocks that this round still has to visit.
    round: VecDeque<usize>,
    /// The blocks with children that yielded in `late_turn`.
    late: Vec<usize>,
    late_turn: u32,
    turn: u32,
    dings: FuturesUnordered<Ding>,
    /// The blocks whose ding has rung.
    rung: Arc<Lock<Vec<usize>>>,
    /// A block was added whose ding has not been polled yet.
    grown: bool,
    /// Wakes the owner.
    waker: Waker,
}

impl<C, M> Set<C, M> {
    /// An empty set that wakes `waker` when there is something to [`gather`](Self::gather).
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            blocks: Vec::new(),
            free: Vec::new(),
            len: 0,
            fresh: VecDeque::new(),
            fresh_in_round: 0,
            round: VecDeque::new(),
            late: Vec::new(),
            late_turn: 0,
            turn: 0,
            dings: FuturesUnordered::new(),
            rung: Arc::default(),
            grown: false,
            waker,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Admits a child; it is polled in the next round.
    pub(crate) fn insert(&mut self, child: C, meta: M) {
        let place = self.free.pop().unwrap_or_else(|| self.grow());
        let slot = self.slot(place);
        slot.child.set(Some(child));
        slot.meta = Some(meta);
        slot.yielded = 0;
        self.fresh.push_back(place);
        self.len += 1;
    }

    /// Begins a turn: who yielded in an earlier one may be polled again.
    pub(crate) fn begin_turn(&mut self) {
        // 0 is the turn of those who never yielded.
        self.turn = self.turn.checked_add(1).unwrap_or(1);
    }

    /// Learns which blocks have been woken; `rung` says whether the waker was woken since
    /// the last call.
    pub(crate) fn gather(&mut self, rung: bool) {
        if !rung && !self.grown {
            return;
        }
        self.grown = false;
        // Never ready, and it ends: a ding does not wake itself. (It may wake the owner for
        // nothing, after it has polled as many dings as there are; the next call is cheap.)
        let _ = self.dings.poll_next_unpin(&mut Context::from_waker(&self.waker));
    }

    /// Fixes the next round, after the last one is over. False where nobody is to be polled
    /// in this turn.
    pub(crate) fn start_round(&mut self) -> bool {
        debug_assert!(self.round.is_empty() && self.fresh_in_round == 0);
        if self.late_turn != self.turn {
            for block in self.late.drain(..) {
                let late = core::mem::take(&mut self.blocks[block].late);
                self.blocks[block].ready = late;
                self.round.push_back(block);
            }
            self.late_turn = self.turn;
        }
        let mut rung = self.rung.lock();
        for number in rung.drain(..) {
            let block = &mut self.blocks[number];
            let (had_ready, had_late) = (block.ready != 0, block.late != 0);
            for slot in bits(block.take_woken()) {
                if block.slots[slot].yielded == self.turn {
                    block.late |= 1 << slot;
                } else {
                    block.ready |= 1 << slot;
                }
            }
            if !had_ready && block.ready != 0 {
                self.round.push_back(number);
            }
            if !had_late && block.late != 0 {
                self.late.push(number);
            }
        }
        self.fresh_in_round = self.fresh.len();
        !self.round.is_empty() || self.fresh_in_round != 0
    }

    /// Whether some child is known to be ready: left over from this turn's rounds, never
    /// polled, or has yielded.
    pub(crate) fn has_ready(&self) -> bool {
        !self.round.is_empty() || !self.fresh.is_empty() || !self.late.is_empty()
    }

    /// Goes on with the round until a child finishes, and gives it back, dropped already.
    /// `None` when the round is over or the budget, one for each child polled, is spent.
    pub(crate) fn poll_round<R>(
        &mut self,
        budget: &mut usize,
        mut poll: impl FnMut(Pin<&mut C>, &M, &mut Context<'_>) -> Poll<R>,
    ) -> Option<Finished<M, R>> {
        while *budget > 0 {
            let place = self.next_in_round()?;
            *budget -= 1;
            let turn = self.turn;
            let slot = self.slot(place);
            slot.clear_woken();
            let (Some(child), Some(meta)) = (slot.child.as_mut().as_pin_mut(), &slot.meta) else {
                debug_assert!(false, "an empty slot was ready");
                continue;
            };
            let mut cx = Context::from_waker(&slot.waker);
            let result = match catch(|| poll(child, meta, &mut cx)) {
                Ok(Poll::Pending) => {
                    if slot.is_woken() {
                        slot.yielded = turn;
                    }
                    continue;
                }
                Ok(Poll::Ready(result)) => Ok(result),
                Err(payload) => Err(payload),
            };
            let (meta, dropped) = self.evict(place)?;
            let result = match (result, dropped) {
                (Ok(result), Ok(())) => Ok(result),
                (Err(payload), Ok(())) => Err(payload),
                (Err(payload), Err(second)) => {
                    crate::panic::discard(second);
                    Err(payload)
                }
                // The value goes with the destructor's panic, which may be its own.
                (Ok(result), Err(payload)) => {
                    let _ = catch(|| drop(result)).map_err(crate::panic::discard);
                    Err(payload)
                }
            };
            return Some(Finished { meta, result });
        }
        None
    }

    /// Drops one of the children, whoever it is; with what its destructor panicked with.
    pub(crate) fn drop_one(&mut self) -> Option<(M, Result<(), Payload>)> {
        while let Some(block) = self.blocks.last() {
            let number = self.blocks.len() - 1;
            if let Some(slot) = block.slots.iter().rposition(|slot| slot.meta.is_some()) {
                return self.evict(number * SLOTS + slot);
            }
            self.blocks.pop();
        }
        self.reset();
        None
    }

    fn next_in_round(&mut self) -> Option<usize> {
        if let Some(&number) = self.round.front() {
            let block = &mut self.blocks[number];
            let slot = block.ready.trailing_zeros() as usize;
            block.ready &= block.ready - 1;
            if block.ready == 0 {
                self.round.pop_front();
            }
            return Some(number * SLOTS + slot);
        }
        self.fresh_in_round = self.fresh_in_round.checked_sub(1)?;
        self.fresh.pop_front()
    }

    /// Drops the child in a slot and frees the slot, whatever the child's destructor does.
    fn evict(&mut self, place: usize) -> Option<(M, Result<(), Payload>)> {
        let slot = self.slot(place);
        let meta = slot.meta.take()?;
        // An assignment that unwinds from the old value's destructor has stored the new one.
        let dropped = catch(|| slot.child.set(None));
        slot.renew();
        self.free.push(place);
        self.len -= 1;
        if self.len == 0 && self.blocks.len() > KEEP {
            self.reset();
        }
        Some((meta, dropped))
    }

    /// Gives all memory back. Nobody is in the set.
    fn reset(&mut self) {
        self.blocks = Vec::new();
        self.free = Vec::new();
        self.fresh = VecDeque::new();
        self.fresh_in_round = 0;
        self.round = VecDeque::new();
        self.late = Vec::new();
        self.dings = FuturesUnordered::new();
        self.rung = Arc::default();
        self.grown = false;
    }

    fn slot(&mut self, place: usize) -> &mut Slot<C, M> {
        &mut self.blocks[place / SLOTS].slots[place % SLOTS]
    }

    /// Makes a new slot, and a block where the last one is full.
    fn grow(&mut self) -> usize {
        if self.blocks.last().is_none_or(|block| block.slots.len() == SLOTS) {
            let block = Block::new();
            self.dings.push(Ding {
                word: Arc::clone(&block.word),
                block: self.blocks.len(),
                rung: Arc::clone(&self.rung),
            });
            self.blocks.push(block);
            self.grown = true;
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        let slot = block.slots.len();
        block.slots.push(Slot::new(&block.word, slot));
        number * SLOTS + slot
    }
}
