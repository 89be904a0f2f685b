//! Results that have come and were not fetched yet.

use alloc::collections::VecDeque;

use crate::policy::{Policy, Verdict};
use crate::reason::Reason;

/// The policy of a group that is a stream: keeps each result until it is fetched.
///
/// A child keeps its room until then; so there are never more results than may run.
pub(crate) struct ResultBuffer<T, E> {
    results: Results<Result<T, E>>,
    fail_fast: bool,
}

enum Results<R> {
    /// As they come, each with its child's index.
    Finished(VecDeque<(usize, R)>),
    /// By the order of admission.
    Admitted(Window<R>),
}

/// The results of the children from one on, in the order of admission. The last is never
/// missing.
struct Window<R> {
    results: VecDeque<Option<R>>,
    /// The index of the first.
    next: usize,
    /// How many are not missing.
    count: usize,
}

// === impl Outlet ===

impl<T, E> ResultBuffer<T, E> {
    pub(crate) fn new() -> Self {
        Self { results: Results::Finished(VecDeque::new()), fail_fast: false }
    }

    /// Gives the results in the order of admission from now on. None has come yet.
    pub(super) fn in_order(&mut self) {
        self.results = Results::Admitted(Window { results: VecDeque::new(), next: 0, count: 0 });
    }

    pub(super) fn is_in_order(&self) -> bool {
        matches!(self.results, Results::Admitted(_))
    }

    pub(super) fn fail_fast(&mut self) {
        self.fail_fast = true;
    }

    /// How many results have come and were not fetched.
    pub(super) fn len(&self) -> usize {
        match &self.results {
            Results::Finished(results) => results.len(),
            Results::Admitted(window) => window.count,
        }
    }

    /// Whether there is a result that may be fetched.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        match &self.results {
            Results::Finished(results) => !results.is_empty(),
            Results::Admitted(window) => matches!(window.results.front(), Some(Some(_))),
        }
    }

    /// Fetches the next result, and the index of its child.
    #[inline]
    pub(super) fn next(&mut self) -> Option<(usize, Result<T, E>)> {
        match &mut self.results {
            Results::Finished(results) => results.pop_front(),
            Results::Admitted(window) => window.next(),
        }
    }

    /// Waits no more for those that are missing before the next result: no child is left that
    /// could give one.
    pub(super) fn skip_missing(&mut self) {
        if let Results::Admitted(window) = &mut self.results {
            while let Some(None) = window.results.front() {
                window.results.pop_front();
                window.next += 1;
            }
        }
    }

    /// The indexes of the children whose results wait for that of another, which is missing.
    pub(super) fn held(&self) -> impl Iterator<Item = usize> + '_ {
        let window = match &self.results {
            Results::Finished(_) => None,
            Results::Admitted(window) => Some(window),
        };
        window.into_iter().flat_map(|Window { results, next, .. }| {
            (*next..).zip(results).filter(|(_, result)| result.is_some()).map(|(index, _)| index)
        })
    }
}

impl<T, E> Policy<T, E> for ResultBuffer<T, E> {
    type Output = ();

    #[inline]
    fn on_child(&mut self, index: usize, result: Result<T, E>) -> Verdict {
        let stop = self.fail_fast && result.is_err();
        match &mut self.results {
            Results::Finished(results) => results.push_back((index, result)),
            Results::Admitted(window) => window.put(index, result),
        }
        if stop { Verdict::Stop(Reason::Failed) } else { Verdict::Continue }
    }

    fn finish(&mut self) {}
}

// === impl Window ===

impl<R> Window<R> {
    #[inline]
    fn put(&mut self, index: usize, result: R) {
        self.count += 1;
        let at = index - self.next;
        // Mostly the next to come is the next in order.
        if at == self.results.len() {
            self.results.push_back(Some(result));
            return;
        }
        if at > self.results.len() {
            self.results.resize_with(at + 1, || None);
        }
        if let Some(place) = self.results.get_mut(at) {
            *place = Some(result);
        }
    }

    #[inline]
    fn next(&mut self) -> Option<(usize, R)> {
        let Some(Some(_)) = self.results.front() else {
            return None;
        };
        let result = self.results.pop_front().flatten()?;
        self.count -= 1;
        let index = self.next;
        self.next += 1;
        Some((index, result))
    }
}
