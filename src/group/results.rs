//! How a group becomes a stream of its children's results.

use super::{Group, run};
use crate::admission::Admission;
use crate::child::Children;
use crate::set::BlockSet;
use crate::stream::{ResultBuffer, Results};

impl<C: Children, P, O> Group<C, P, O> {
    /// Makes the group a stream of its children's results, in the order in which they finish;
    /// or [in the order of admission](Results::in_order).
    ///
    /// The stream takes the place of the policy. It stops at no result unless it is told to
    /// [fail fast](Results::fail_fast). Children that were queued or admitted before are among
    /// those whose results it gives.
    ///
    /// # Panics
    ///
    /// Where a child has finished already (its result is the policy's, and would be missing), or
    /// the group was awaited to its end. So add children before only by what polls nobody, as
    /// [`queue`](Self::queue) does; or after, by [`Results::queue`], a [`Handle`](crate::Handle),
    /// or [`Results::feed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    /// use futures::stream::TryStreamExt;
    ///
    /// # async fn length(url: &str) -> Result<usize, std::io::Error> { Ok(url.len()) }
    /// # async fn run() -> Result<(), std::io::Error> {
    /// let mut group = Group::new().with_limit(2);
    /// for url in ["/a", "/bc", "/def"] {
    ///     group.queue(length(url));
    /// }
    /// let (mut lengths, mut sum) = (group.results(), 0);
    /// while let Some(length) = lengths.try_next().await? {
    ///     sum += length; // each as soon as it is known
    /// }
    /// assert_eq!(sum, 9);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(run()).unwrap();
    /// ```
    #[track_caller]
    pub fn results(mut self) -> Results<C, C::Ok, C::Err> {
        let stats = self.stats();
        assert!(
            !self.resolved && stats.ok == 0 && stats.failed == 0,
            "call `results` before the group's first child has finished",
        );
        let admission = core::mem::replace(&mut self.admission, Admission::new());
        let mut group = Group::assemble(admission, ResultBuffer::new());
        // A child keeps its room until its result has been fetched.
        group.advance = run::advance::<_, _, _, true>;
        // The group lives on in the new one: this one is to be dropped without a trace.
        self.resolved = true;
        group.set = core::mem::replace(&mut self.set, BlockSet::new());
        group.news = core::mem::take(&mut self.news);
        group.panic = core::mem::take(&mut self.panic);
        group.drained = self.drained;
        group.timers = self.timers.take();
        group.stopped_itself = self.stopped_itself;
        Results::new(group)
    }
}
