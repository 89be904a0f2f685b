//! How a child that is woken makes itself known: its waker is marked, its bit is set in the ready
//! bits of its block, the block's bit one level up, and at the top the task of the group is woken.
//!
//! The level above is notified only when the first bit is set. So many wake-ups share the cost of
//! one notification, and no child has to be searched for. The ready bits of the first block are in
//! the [`ParentWaker`], which also serves the children of that block as their waker as long as
//! none of them keeps one. So a small group allocates nothing else for its wakers.
//!
//! # Invariants
//!
//! - If ready bits are not 0, the level above has been notified, or the thread that set the first
//!   of them is about to notify it: bits are set from below, and taken from above. So a bit that
//!   is set while they are taken is either taken too, or is the first again, and notified of anew.
//! - A bit means: look at the waker. It may be stale: if the waker is not woken, its child has
//!   nothing to do.

use crate::util::parent_waker::{ParentWaker, take_bits};
use crate::util::sync::{
    Arc, ArcWake, AtomicUsize, AtomicWaker, Ordering, WakerRef, fence, waker_ref,
};
use crate::util::wake_state::WakeState;

/// What the waker of a child points to.
pub(super) struct ChildWaker {
    state: WakeState,
    target: Target,
}

/// The ready bits of a child's block.
enum Target {
    First(Arc<ParentWaker>),
    Other(Arc<ReadyBits>),
}

/// A waker with which a child is polled.
#[derive(Clone, Copy)]
pub(super) enum Lent<'a> {
    Parent(&'a Arc<ParentWaker>),
    Child(&'a Arc<ChildWaker>),
}

/// A bit for each slot of a block, or for each block of a region.
pub(super) struct ReadyBits {
    bits: AtomicUsize,
    parent: Parent,
}

/// What is notified when the first bit is set.
pub(super) enum Parent {
    /// Of the bits of a block, or of a region: the task of the group.
    Task { waker: Arc<ParentWaker>, bit: u8 },
    /// Of a block's bits: those of its region.
    Region { bits: Arc<ReadyBits>, bit: u8 },
    /// Of the bits of a region without a bit in the `ParentWaker`: its future.
    Future(AtomicWaker),
}

/// Returns `true` if there is no clone, so that nothing can wake the child outside of its poll:
/// `count` is the number of references beside which there is none.
#[inline]
fn is_unique<T>(this: &Arc<T>, count: usize) -> bool {
    let unique = Arc::strong_count(this) == count;
    if unique {
        // Pairs with the release by which the last clone was dropped, so that its wake-up,
        // if it made one, lies before what follows.
        fence(Ordering::Acquire);
    }
    unique
}

// === impl ChildWaker ===

impl ChildWaker {
    /// Creates the waker of a child in a block: `bits` are its ready bits, unless it is the first.
    pub(super) fn new(bits: Option<&Arc<ReadyBits>>, parent: &Arc<ParentWaker>) -> Arc<Self> {
        let target = match bits {
            None => Target::First(Arc::clone(parent)),
            Some(bits) => Target::Other(Arc::clone(bits)),
        };
        Arc::new(Self { state: WakeState::default(), target })
    }

    #[inline]
    pub(super) fn is_woken(&self) -> bool {
        self.state.is_woken()
    }
}

impl ArcWake for ChildWaker {
    #[inline]
    fn wake_by_ref(waker: &Arc<Self>) {
        // A clone would make the count two at least.
        if let Some(bit) = waker.state.wake(Arc::strong_count(waker) == 1) {
            match &waker.target {
                Target::First(parent) => parent.set_first_bit(bit),
                Target::Other(bits) => bits.set(bit),
            }
        }
    }
}

// === impl Lent ===

impl<'a> Lent<'a> {
    /// Chooses what a block lends to a child: the `ParentWaker` if it is the first block, which has
    /// no `bits` of its own, and nothing else has it; otherwise the waker that the block shares.
    #[inline]
    pub(super) fn choose(
        bits: Option<&Arc<ReadyBits>>,
        parent: &'a Arc<ParentWaker>,
        is_free: bool,
        shared: &'a mut Option<Arc<ChildWaker>>,
    ) -> Self {
        if bits.is_none() && is_free && Self::Parent(parent).is_unique() {
            return Self::Parent(parent);
        }
        Self::Child(shared.get_or_insert_with(|| ChildWaker::new(bits, parent)))
    }

    #[inline]
    pub(super) fn waker(self) -> WakerRef<'a> {
        match self {
            Self::Parent(waker) => waker_ref(waker),
            Self::Child(waker) => waker_ref(waker),
        }
    }

    #[inline]
    fn state(self) -> &'a WakeState {
        match self {
            Self::Parent(waker) => waker.first_waker(),
            Self::Child(waker) => &waker.state,
        }
    }

    /// Returns `true` if no clone is left.
    #[inline]
    pub(super) fn is_unique(self) -> bool {
        match self {
            Self::Parent(waker) => is_unique(waker, ParentWaker::OWNERS),
            Self::Child(waker) => is_unique(waker, 1),
        }
    }

    /// Begins a poll of the child with that bit. No clone is left.
    #[inline]
    pub(super) fn reset_for(self, bit: usize) {
        self.state().reset_for(bit);
    }

    /// Begins a poll of the child that has kept the waker.
    #[inline]
    pub(super) fn begin_poll(self) {
        self.state().begin_poll(self.is_unique());
    }

    /// Ends a poll that was pending. Returns `true` if the child was woken meanwhile. With
    /// `is_unique`, it is known that no clone is left.
    #[inline]
    pub(super) fn end_poll(self, is_unique: bool) -> bool {
        self.state().end_poll(|| is_unique || self.is_unique())
    }

    #[inline]
    pub(super) fn is_woken(self) -> bool {
        self.state().is_woken()
    }

    /// Makes the waker fit for the next child. Returns `false` if a clone is left: then it must
    /// not be used before that is gone.
    #[inline]
    pub(super) fn recycle(self) -> bool {
        let unique = self.is_unique();
        self.state().recycle(unique);
        unique
    }
}

// === impl ReadyBits ===

impl ReadyBits {
    #[inline(never)]
    pub(super) fn new(parent: Parent) -> Arc<Self> {
        Arc::new(Self { bits: AtomicUsize::new(0), parent })
    }

    pub(super) fn parent(&self) -> &Parent {
        &self.parent
    }

    fn set(&self, bit: u8) {
        // Release: a thread that takes the bit sees the waker's `woken`, or the bits below.
        if self.bits.fetch_or(1 << bit, Ordering::AcqRel) != 0 {
            return;
        }
        match &self.parent {
            Parent::Task { waker, bit } => waker.notify_block(*bit),
            Parent::Region { bits, bit } => bits.set(*bit),
            Parent::Future(waker) => waker.wake(),
        }
    }

    /// Returns the bits that are set now.
    pub(super) fn peek(&self) -> usize {
        self.bits.load(Ordering::Relaxed)
    }

    /// Takes the bits that were set since the last call.
    pub(super) fn take_bits(&self) -> usize {
        take_bits(&self.bits)
    }
}
