//! How a group is made: constructors and builders.

use core::future::Future;

use super::{Group, run};
use crate::admission::Admission;
use crate::bell::News;
use crate::kind::{Boxed, LocalBoxed, Plain};
use crate::panic::First;
use crate::set::Set;
use crate::{CancelToken, Children, FirstErr, Policy};

// === constructors ===

impl<'a, T, E> Group<Boxed<'a, T, E>> {
    /// Makes a group for futures of any type that are `Send` and may borrow for `'a`; each
    /// is boxed.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let names = vec!["a".to_string(), "b".to_string()];
    /// let mut group = Group::new();
    /// for name in &names {
    ///     group.queue(async move { if name.len() == 1 { Ok(()) } else { Err(name) } });
    /// }
    /// group.queue(async { Ok(()) });
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    pub fn new() -> Self {
        Self::with(FirstErr::new())
    }
}

impl<'a, T, E> Default for Group<Boxed<'a, T, E>> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, T, E> Group<LocalBoxed<'a, T, E>> {
    /// Makes a group for futures that need not be `Send`; each is boxed, and the group isn't
    /// `Send` either.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    ///
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let seen = Rc::new(Cell::new(0));
    /// let mut group = Group::local();
    /// for n in 1..=3 {
    ///     let seen = Rc::clone(&seen);
    ///     group.queue(async move {
    ///         seen.set(seen.get() + n);
    ///         Ok::<_, ()>(())
    ///     });
    /// }
    /// assert_eq!(group.await, Ok(()));
    /// assert_eq!(seen.get(), 6);
    /// # });
    /// ```
    pub fn local() -> Self {
        Self::with(FirstErr::new())
    }
}

impl<F, T, E> Group<Plain<F>>
where
    F: Future<Output = Result<T, E>>,
{
    /// Makes a group for futures of one type, held without a box a child.
    ///
    /// What one `async fn` returns is of one type; so is what one closure makes. A child
    /// can't hold a [`Handle`](crate::Handle) of this very group (its type would contain itself): such
    /// children need [`new`](Self::new).
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// async fn check(n: u32) -> Result<(), u32> {
    ///     if n < 3 { Ok(()) } else { Err(n) }
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::unboxed().with_limit(2);
    /// for n in 0..5 {
    ///     if group.go(check(n)).await.is_err() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(group.await, Err(3));
    /// # });
    /// ```
    pub fn unboxed() -> Self {
        Self::with(FirstErr::new())
    }
}

impl<C, P, O> Group<C, P, O>
where
    C: Children,
    P: Policy<C::Ok, C::Err, Output = O>,
{
    fn with(policy: P) -> Self {
        Self::assemble(Admission::new(), policy)
    }

    pub(super) fn assemble(admission: Admission<C>, policy: P) -> Self {
        Self {
            admission,
            set: Set::new(),
            news: News::default(),
            policy: Some(policy),
            panic: First::default(),
            drained: false,
            resolved: false,
            advance: run::advance::<C, P, O, false>,
            finish: P::finish,
        }
    }
}

// === builders ===

impl<C: Children, P, O> Group<C, P, O> {
    /// Lets at most `limit` children run at a time. Without it there is no limit.
    ///
    /// # Panics
    ///
    /// Where `limit` is 0, which would let nobody run.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// let mut group = Group::new().with_limit(2);
    /// for _ in 0..5 {
    ///     group.queue(async { Ok::<(), ()>(()) });
    /// }
    /// assert_eq!(group.stats().running, 2);
    /// ```
    #[track_caller]
    pub fn with_limit(mut self, limit: usize) -> Self {
        assert!(limit > 0, "the limit must be at least 1; for no limit, leave out `with_limit`");
        self.admission.start_with_limit(limit);
        self
    }

    /// Makes the group's token a child of `token`: who cancels that one stops this group.
    ///
    /// # Panics
    ///
    /// Where the group has children already, or its own token or a handle was given out:
    /// they would belong to another token than the group's.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{CancelToken, Group, Reason};
    ///
    /// # futures::executor::block_on(async {
    /// let shutdown = CancelToken::new();
    /// let mut group = Group::new().with_parent(&shutdown);
    /// let token = group.token().clone();
    /// group.queue(async move { token.cancelled().await; Ok::<(), ()>(()) });
    /// shutdown.cancel();
    /// assert_eq!(group.await, Ok(()));
    /// # });
    /// ```
    #[track_caller]
    pub fn with_parent(mut self, token: &CancelToken) -> Self {
        let untouched = self.admission.set_parent(token);
        assert!(
            untouched,
            "call `with_parent` before the group's first child, `token` or `handle`"
        );
        self
    }

    /// Sets what the children's results add up to, instead of [`FirstErr`].
    ///
    /// For the policies that come with the crate there are builders: [`collect`](Self::collect),
    /// [`all_errors`](Self::all_errors), [`settle`](Self::settle),
    /// [`first_ok`](Self::first_ok), [`first_done`](Self::first_done). The last policy that is
    /// set holds.
    ///
    /// # Panics
    ///
    /// Where the group has children already: the policy has to hear of all of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::{Group, Policy, Verdict};
    ///
    /// #[derive(Default)]
    /// struct Sum(u64);
    ///
    /// impl<E> Policy<u64, E> for Sum {
    ///     type Output = u64;
    ///
    ///     fn on_child(&mut self, _index: usize, result: Result<u64, E>) -> Verdict {
    ///         self.0 += result.unwrap_or(0);
    ///         Verdict::Continue
    ///     }
    ///
    ///     fn finish(&mut self) -> u64 {
    ///         self.0
    ///     }
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let mut group = Group::new().with_policy(Sum::default());
    /// for n in 1..=4 {
    ///     group.queue(async move { if n == 3 { Err("three") } else { Ok(n) } });
    /// }
    /// assert_eq!(group.await, 7);
    /// # });
    /// ```
    #[track_caller]
    pub fn with_policy<Q>(mut self, policy: Q) -> Group<C, Q, Q::Output>
    where
        Q: Policy<C::Ok, C::Err>,
    {
        assert!(
            !self.admission.has_accepted() && !self.resolved,
            "set the policy (`with_policy`, `collect`, ...) before the group's first child",
        );
        // The group lives on in the new one: this one is to be dropped without a trace.
        self.resolved = true;
        Group::assemble(core::mem::replace(&mut self.admission, Admission::new()), policy)
    }
}
