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
    results: Buffered<Result<T, E>>,
    fail_fast: bool,
}

enum Buffered<R> {
    /// In the order in which children finish, each with its child's index.
    Finished(VecDeque<(usize, R)>),
    /// In the order of admission; before them the errors of daemons, which have no place in it.
    Admitted(InOrder<R>, VecDeque<(usize, R)>),
}

impl<T, E> ResultBuffer<T, E> {
    pub(crate) fn new() -> Self {
        Self { results: Buffered::Finished(VecDeque::new()), fail_fast: false }
    }

    /// Gives the results in the order of admission from now on. None has come yet, and none is to
    /// come of the children that have `ended`.
    pub(super) fn in_order(&mut self, ended: Vec<usize>) {
        let mut results = InOrder::new();
        ended.into_iter().for_each(|index| results.skip(index));
        self.results = Buffered::Admitted(results, VecDeque::new());
    }

    pub(super) fn is_in_order(&self) -> bool {
        matches!(self.results, Buffered::Admitted(..))
    }

    pub(super) fn fail_fast(&mut self) {
        self.fail_fast = true;
    }

    /// Returns how many results have come and were not fetched.
    pub(super) fn len(&self) -> usize {
        match &self.results {
            Buffered::Finished(results) => results.len(),
            Buffered::Admitted(results, daemons) => results.len() + daemons.len(),
        }
    }

    /// Returns the indexes of the children whose results were not fetched.
    pub(super) fn indexes(&self) -> Vec<usize> {
        match &self.results {
            Buffered::Finished(results) => results.iter().map(|(index, _)| *index).collect(),
            Buffered::Admitted(results, daemons) => {
                daemons.iter().map(|(index, _)| *index).chain(results.indexes()).collect()
            }
        }
    }

    /// Returns `true` if there is a result that may be fetched.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        match &self.results {
            Buffered::Finished(results) => !results.is_empty(),
            Buffered::Admitted(results, daemons) => !daemons.is_empty() || results.has_next(),
        }
    }

    /// Fetches the next result, and the index of its child.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(usize, Result<T, E>)> {
        match &mut self.results {
            Buffered::Finished(results) => {
                let next = results.pop_front();
                shrink(results);
                next
            }
            Buffered::Admitted(results, daemons) => daemons.pop_front().or_else(|| results.next()),
        }
    }

    /// Waits no more for the results that are missing before the next one: no child is left that
    /// could give one.
    pub(super) fn skip_missing(&mut self) {
        if let Buffered::Admitted(results, _) = &mut self.results {
            results.skip_missing();
        }
    }

    /// Waits no more for the results of daemons, of which there may be none before the group's end.
    pub(super) fn skip_daemons(&mut self, mut is_daemon: impl FnMut(usize) -> bool) {
        if let Buffered::Admitted(results, _) = &mut self.results {
            while let Some(index) = results.missing().filter(|&index| is_daemon(index)) {
                results.skip(index);
            }
        }
    }
}

impl<T, E> Policy<T, E> for ResultBuffer<T, E> {
    type Output = ();

    #[inline]
    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        let (index, is_daemon) = (child.index(), child.is_daemon());
        let stop = self.fail_fast && result.is_err();
        if let (Buffered::Admitted(results, _), true) = (&mut self.results, is_daemon) {
            results.skip(index);
        }
        match &mut self.results {
            Buffered::Finished(results) => results.push_back((index, result)),
            Buffered::Admitted(_, daemons) if is_daemon => daemons.push_back((index, result)),
            Buffered::Admitted(results, _) => results.put(index, result),
        }
        if stop { Verdict::Stop(Reason::Failed) } else { Verdict::Continue }
    }

    fn skip(&mut self, index: usize) {
        if let Buffered::Admitted(results, _) = &mut self.results {
            results.skip(index);
        }
    }

    fn finish(&mut self, _: &Reason) {}
}
