//! The storage of children: pinned in boxes, eight together if they are small.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::{ManuallyDrop, replace, take};
use core::pin::Pin;

use pin_project_lite::pin_project;

use super::child_waker::ChildWaker;
use crate::util::sync::Arc;

/// How many slots a block has: one for each of its ready bits.
pub(super) const SLOTS: usize = usize::BITS as usize;

/// Children up to this size, in bytes, share a box with seven others. Larger ones gain
/// little, and a group with a single one of them should not pay for eight.
const SMALL: usize = 512;

/// How many slots take this many bytes: `0` if one takes more.
pub(super) const fn slots_in<C>(bytes: usize) -> usize {
    bytes / size_of::<ChildSlot<C>>()
}

pin_project! {
    /// Storage for one child after another.
    #[project = SlotMut]
    pub(super) struct ChildSlot<C> {
        #[pin]
        pub(super) child: Option<C>,
        // The child's number in the order of admission.
        pub(super) index: usize,
        // What wakes the child; `None` until a child in this slot has kept a waker.
        pub(super) waker: Option<Arc<ChildWaker>>,
    }
}

pin_project! {
    /// Two values side by side. Nested pairs are an array of pinned values; each bit of an index
    /// selects a half, without a branch. (A pinned array can't be projected to its elements without
    /// `unsafe`.)
    struct Pair<T> {
        #[pin]
        low: T,
        #[pin]
        high: T,
    }
}

type Eight<C> = Pair<Pair<Pair<ChildSlot<C>>>>;

/// Slots that were allocated together: one or eight, as the size of the children asks for; none
/// before they are needed.
///
/// They are dropped by a function of their own: the code that drops a value by itself is compiled
/// into each unit of a program that may drop it.
struct Chunk<C> {
    one: ManuallyDrop<Option<Pin<Box<ChildSlot<C>>>>>,
    eight: ManuallyDrop<Option<Pin<Box<Eight<C>>>>>,
}

/// The slots of a block, as many as were needed so far. They are dropped by a function of their
/// own, as a [`Chunk`] is.
pub(super) struct Slots<C> {
    /// Apart from the others, so that a small group allocates no list of them.
    first: ManuallyDrop<Chunk<C>>,
    others: ManuallyDrop<Vec<Chunk<C>>>,
}

impl<C> ChildSlot<C> {
    const fn new() -> Self {
        Self { child: None, index: 0, waker: None }
    }
}

impl<C> Chunk<C> {
    /// How many slots a chunk has, for children of this size.
    const LEN: usize = if size_of::<C>() <= SMALL { 8 } else { 1 };

    const NONE: Self = Self { one: ManuallyDrop::new(None), eight: ManuallyDrop::new(None) };

    fn allocate(&mut self) {
        // Apart: without optimizations, one function would take stack for nine children.
        if Self::LEN == 1 { self.allocate_one() } else { self.allocate_eight() }
    }

    fn allocate_one(&mut self) {
        *self.one = Some(Box::pin(ChildSlot::new()));
    }

    fn allocate_eight(&mut self) {
        *self.eight = Some(Box::pin(Pair::new(Self::four)));
    }

    /// Returns four slots. Apart: the code that makes one would be compiled eight times.
    #[inline(never)]
    fn four() -> Pair<Pair<ChildSlot<C>>> {
        Pair::new(|| Pair::new(ChildSlot::new))
    }

    fn is_allocated(&self) -> bool {
        if Self::LEN == 1 { self.one.is_some() } else { self.eight.is_some() }
    }

    /// Returns the slot of that number in the block, of which only the last three bits count.
    #[inline]
    fn slot(&mut self, at: usize) -> Option<SlotMut<'_, C>> {
        if Self::LEN == 1 {
            return Some(self.one.as_mut()?.as_mut().project());
        }
        let eight = self.eight.as_mut()?.as_mut();
        Some(eight.half(at & 4).half(at & 2).half(at & 1).project())
    }

    /// Returns the same, to be looked at.
    fn peek(&self, at: usize) -> Option<&ChildSlot<C>> {
        if Self::LEN == 1 {
            self.one.as_deref()
        } else {
            self.eight.as_deref().map(|it| it.peek(at & 4).peek(at & 2).peek(at & 1))
        }
    }
}

impl<C> Slots<C> {
    pub(super) fn new() -> Self {
        let (first, others) = (Chunk::NONE, Vec::new());
        Self { first: ManuallyDrop::new(first), others: ManuallyDrop::new(others) }
    }

    /// Returns a slot, or `None` if its chunk is not allocated.
    #[inline]
    pub(super) fn get(&mut self, at: usize) -> Option<SlotMut<'_, C>> {
        match (at / Chunk::<C>::LEN).checked_sub(1) {
            None => self.first.slot(at),
            Some(chunk) => self.others.get_mut(chunk)?.slot(at),
        }
    }

    /// Returns a slot of a chunk that is allocated.
    #[inline]
    pub(super) fn slot(&mut self, at: usize) -> SlotMut<'_, C> {
        match self.get(at) {
            Some(slot) => slot,
            None => unreachable!("a chunk was given back that has children"),
        }
    }

    /// Returns the index of the child in a slot, and its own waker.
    pub(super) fn peek(&self, at: usize) -> (usize, Option<&Arc<ChildWaker>>) {
        let chunk = match (at / Chunk::<C>::LEN).checked_sub(1) {
            None => &*self.first,
            Some(chunk) => &self.others[chunk],
        };
        match chunk.peek(at) {
            Some(slot) => (slot.index, slot.waker.as_ref()),
            None => unreachable!("a chunk was given back that has children"),
        }
    }

    /// Allocates the chunk of a slot.
    #[cold]
    #[inline(never)]
    pub(super) fn allocate(&mut self, at: usize) {
        match (at / Chunk::<C>::LEN).checked_sub(1) {
            None => self.first.allocate(),
            Some(chunk) => {
                if chunk >= self.others.len() {
                    // To twice the length, or to all that a block has.
                    let len = (2 * chunk).clamp(3, SLOTS / Chunk::<C>::LEN - 1);
                    self.resize_others(len);
                }
                self.others[chunk].allocate();
            }
        }
    }

    /// Gives the chunks back that have no child; `vacant` has a bit for each slot without one.
    pub(super) fn trim(&mut self, vacant: usize) {
        let is_vacant = |chunk: usize| {
            let slots = usize::MAX >> (SLOTS - Chunk::<C>::LEN) << (chunk * Chunk::<C>::LEN);
            vacant & slots == slots
        };
        let Self { first, others } = self;
        for (at, chunk) in core::iter::once(&mut **first).chain(others.iter_mut()).enumerate() {
            if is_vacant(at) {
                *chunk = Chunk::NONE;
            }
        }
        let last = self.others.iter().rposition(Chunk::is_allocated);
        self.resize_others(last.map_or(0, |last| last + 1));
    }

    fn resize_others(&mut self, len: usize) {
        if len == self.others.len() {
            return;
        }
        // Without spare capacity.
        let mut others = Vec::with_capacity(len);
        while others.len() < len {
            let chunk = self.others.get_mut(others.len());
            others.push(chunk.map_or(Chunk::NONE, |chunk| replace(chunk, Chunk::NONE)));
        }
        *self.others = others;
    }
}

impl<C> Drop for Chunk<C> {
    #[inline(never)]
    fn drop(&mut self) {
        drop((self.one.take(), self.eight.take()));
    }
}

impl<C> Drop for Slots<C> {
    #[inline(never)]
    fn drop(&mut self) {
        // If a destructor of the first panics, the others are dropped still.
        drop((replace(&mut *self.first, Chunk::NONE), take(&mut *self.others)));
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

    fn peek(&self, high: usize) -> &T {
        if high == 0 { &self.low } else { &self.high }
    }
}
