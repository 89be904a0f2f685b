//! The room that children take by their weights.

/// What the weights of children that have room add to their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// How many of them have a weight of 0.
    weightless: usize,
    /// What the others take beyond one each.
    extra: u128,
}

impl Load {
    #[inline]
    pub(super) fn add(&mut self, weight: usize) {
        self.weightless += usize::from(weight == 0);
        self.extra += weight.saturating_sub(1) as u128;
    }

    #[inline]
    pub(super) fn remove(&mut self, weight: usize) {
        self.weightless -= usize::from(weight == 0);
        self.extra -= weight.saturating_sub(1) as u128;
    }

    /// Returns how many of so many children take room.
    #[inline]
    pub(super) fn weighty(&self, occupied: usize) -> usize {
        occupied - self.weightless
    }

    /// Returns the room that so many children take.
    #[inline]
    pub(super) fn taken(&self, occupied: usize) -> u128 {
        self.weighty(occupied) as u128 + self.extra
    }

    /// Returns `true` if there is room beside so many children.
    #[inline]
    pub(super) fn fits(&self, limit: Option<usize>, occupied: usize, weight: usize) -> bool {
        let Some(at_most) = limit else { return true };
        if self.extra == 0 && weight == 1 {
            return self.weighty(occupied) < at_most;
        }
        fits(limit, self.taken(occupied), weight)
    }

    #[cfg(test)]
    pub(super) fn extra(&self) -> u128 {
        self.extra
    }
}

/// Returns `true` if children that take so much room leave some for another one. A child that is
/// heavier than the limit runs alone, but for those without a weight. A limit of 0 admits none, not
/// even those.
pub(super) fn fits(limit: Option<usize>, taken: u128, weight: usize) -> bool {
    limit.is_none_or(|limit| {
        limit > 0 && (weight == 0 || taken == 0 || taken + weight as u128 <= limit as u128)
    })
}
