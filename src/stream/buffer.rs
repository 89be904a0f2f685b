//! The results that have come and were not fetched yet.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::policy::{ChildInfo, Policy, Verdict};
use crate::reason::Reason;
use crate::util::in_order::InOrder;
use crate::util::sparse_queue::shrink;

/// The policy of a group that is a stream: keeps each result until it is fetched.
///
/// A child keeps its room until then, so there are never more results than children may run.
pub(crate) struct ResultBuffer<T, E> {
    /// In the order in which children finish, each with its child's index. If the others are
    /// `admitted`, only the errors of daemons, which have no place in the order of admission.
    finished: VecDeque<(usize, Result<T, E>)>,
    /// In the order of admission, if that was asked for.
    admitted: Option<InOrder<Result<T, E>>>,
    pub(super) fail_fast: bool,
}

impl<T, E> ResultBuffer<T, E> {
    pub(crate) fn new() -> Self {
        Self { finished: VecDeque::new(), admitted: None, fail_fast: false }
    }

    /// Gives the results in the order of admission from now on. None has come yet, and none is to
    /// come of the children that have `ended`.
    pub(super) fn in_order(&mut self, ended: Vec<usize>) {
        let admitted = self.admitted.insert(InOrder::new());
        ended.into_iter().for_each(|index| admitted.skip(index));
    }

    pub(super) fn is_in_order(&self) -> bool {
        self.admitted.is_some()
    }

    /// Returns how many results have come and were not fetched.
    pub(super) fn len(&self) -> usize {
        self.finished.len() + self.admitted.as_ref().map_or(0, InOrder::len)
    }

    /// Returns the indexes of the children whose results were not fetched.
    pub(super) fn indexes(&self) -> Vec<usize> {
        let admitted = self.admitted.iter().flat_map(InOrder::indexes);
        self.finished.iter().map(|(index, _)| *index).chain(admitted).collect()
    }

    /// Returns `true` if there is a result that may be fetched.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        !self.finished.is_empty() || self.admitted.as_ref().is_some_and(InOrder::has_next)
    }

    /// Fetches the next result, and the index of its child.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(usize, Result<T, E>)> {
        let Some(next) = self.finished.pop_front() else {
            return self.admitted.as_mut()?.next();
        };
        shrink(&mut self.finished);
        Some(next)
    }

    /// Waits no more for the results that are missing before the next one: no child is left that
    /// could give one.
    pub(super) fn skip_missing(&mut self) {
        self.admitted.iter_mut().for_each(InOrder::skip_missing);
    }

    /// Waits no more for the results of daemons, of which there may be none before the group's end.
    pub(super) fn skip_daemons(&mut self, mut is_daemon: impl FnMut(usize) -> bool) {
        let Some(results) = &mut self.admitted else { return };
        while let Some(index) = results.missing().filter(|&index| is_daemon(index)) {
            results.skip(index);
        }
    }
}

impl<T, E> Policy<T, E> for ResultBuffer<T, E> {
    type Output = ();

    #[inline]
    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        let stop = self.fail_fast && result.is_err();
        match &mut self.admitted {
            Some(admitted) if !child.is_daemon() => admitted.put(child.index(), result),
            _ => {
                self.skip(child.index());
                self.finished.push_back((child.index(), result));
            }
        }
        if stop { Verdict::Stop(Reason::Failed) } else { Verdict::Continue }
    }

    fn skip(&mut self, index: usize) {
        self.admitted.iter_mut().for_each(|admitted| admitted.skip(index));
    }

    fn finish(&mut self, _: &Reason) {}
}
