//! `scope` and `try_scope`: a body that runs beside the children that it adds.

use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use crate::child::{Children, Kind};
use crate::group::Group;
use crate::group::drive::Driven;
use crate::handle::Handle;
use crate::reason::Reason;
use crate::util::flagged::Flagged;
use crate::util::panic::{catch, return_after};

impl<C: Children, P, O> Group<C, P, O> {
    /// Runs `body` beside the children, and resolves to its value and the group's output when all
    /// of them are done. What Trio calls a nursery.
    ///
    /// `body` gets a handle, through which it adds children. It does not count in the limit. The
    /// children go on whatever it awaits, so a child that holds a lock which the body wants can't
    /// deadlock it. The group stays open while the body runs.
    ///
    /// A stop does not drop the body: the scope waits for it. The handle's [`go`](Handle::go),
    /// [`feed`](Handle::feed) and [`reserve`](Handle::reserve) end at a stop. The body wraps any
    /// other wait that may not end in `handle.token().run(…)`.
    ///
    /// # Drop
    ///
    /// Dropping the scope cancels the token, then drops the children, then the body.
    ///
    /// # Panics
    ///
    /// Panics if the group has resolved before.
    ///
    /// A panic of the body is treated like a child's.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let (added, output) = Group::new()
    ///     .with_limit(2)
    ///     .scope(async |handle| {
    ///         let mut added = 0;
    ///         while added < 10 && handle.go(async { Ok::<(), ()>(()) }).await.is_ok() {
    ///             added += 1;
    ///         }
    ///         added
    ///     })
    ///     .await;
    /// assert_eq!((added, output), (10, Ok(())));
    /// # });
    /// ```
    #[doc(alias = "nursery")]
    #[track_caller]
    pub fn scope<B, Fut>(self, body: B) -> Scope<C, P, O, Fut, Fut::Output>
    where
        B: FnOnce(Handle<C>) -> Fut,
        Fut: Future,
    {
        assert!(!self.is_resolved(), "call `scope` before the group is awaited to its end");
        let body = body(self.handle());
        Scope::new(self, body, |_| false)
    }
}

impl<C: Children, P, X> Group<C, P, Result<(), X>> {
    /// Runs a `body` that may fail beside the children, and resolves to its value. See
    /// [`scope`](Self::scope).
    ///
    /// # Errors
    ///
    /// Returns the `Err` of the body, which stops the group
    /// ([`Reason::Failed`](crate::Reason::Failed)) under any policy. If a child had failed before
    /// the body did, and the group's output is an `Err`, returns that one instead.
    ///
    /// If the body returns `Ok`, returns the `Err` of the group's output, if it is one.
    ///
    /// # Panics
    ///
    /// Panics if the group has resolved before.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let result: Result<(), &str> = Group::new()
    ///     .try_scope(async |handle| {
    ///         handle.queue(async { Ok(()) });
    ///         Err("the body gave up")
    ///     })
    ///     .await;
    /// assert_eq!(result, Err("the body gave up"));
    /// # });
    /// ```
    ///
    /// A server and its client: if one fails, the other ends, and the failure is the result. When
    /// the client is done, the server ends too. So nothing asks which of them failed first, nor
    /// aborts the other.
    ///
    /// ```
    /// use errgroup::{Group, task};
    ///
    /// # async fn serve() -> Result<(), String> { Err("the port is taken".into()) }
    /// # async fn call() -> Result<u32, String> { std::future::pending().await }
    /// # futures::executor::block_on(async {
    /// let answer = Group::new()
    ///     .try_scope(async |handle| {
    ///         handle.queue(task(serve()).daemon().until_stop());
    ///         let called = handle.token().run(call()).await;
    ///         called.unwrap_or_else(|stopped| Err(stopped.to_string()))
    ///     })
    ///     .await;
    /// assert_eq!(answer, Err("the port is taken".to_string()));
    /// # });
    /// ```
    #[track_caller]
    pub fn try_scope<B, Fut, R>(self, body: B) -> TryScope<C, P, X, Fut, R>
    where
        B: FnOnce(Handle<C>) -> Fut,
        Fut: Future<Output = Result<R, X>>,
    {
        assert!(!self.is_resolved(), "call `try_scope` before the group is awaited to its end");
        let body = body(self.handle());
        TryScope::new(self, body, |value, ()| value)
    }
}

type CollectingScope<C, P, X, B, R, T> = TryScope<C, P, X, B, R, Vec<T>, (R, Vec<T>)>;

impl<C: Children, P, T, X> Group<C, P, Result<Vec<T>, X>> {
    /// Runs a `body` that may fail beside the children of a group that collects, and resolves to
    /// its value and theirs. See [`scope`](Self::scope).
    ///
    /// # Errors
    ///
    /// Returns the `Err` of the body, which stops the group
    /// ([`Reason::Failed`](crate::Reason::Failed)). If a child had failed before the body did,
    /// returns its error instead. If the body returns `Ok`, returns the error of the child that has
    /// failed, if there is one.
    ///
    /// # Panics
    ///
    /// Panics if the group has resolved before.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::Group;
    ///
    /// # futures::executor::block_on(async {
    /// let result: Result<_, &str> = Group::new()
    ///     .collect()
    ///     .try_scope(async |handle| {
    ///         for n in 1..=3 {
    ///             handle.queue(async move { Ok(n * n) });
    ///         }
    ///         Ok("squares")
    ///     })
    ///     .await;
    /// assert_eq!(result, Ok(("squares", vec![1, 4, 9])));
    /// # });
    /// ```
    #[track_caller]
    pub fn try_scope<B, Fut, R>(self, body: B) -> CollectingScope<C, P, X, Fut, R, T>
    where
        B: FnOnce(Handle<C>) -> Fut,
        Fut: Future<Output = Result<R, X>>,
    {
        assert!(!self.is_resolved(), "call `try_scope` before the group is awaited to its end");
        let body = body(self.handle());
        TryScope::new(self, body, |value, values| (value, values))
    }
}

pin_project! {
    /// Future for [`Group::scope`](crate::Group::scope): runs a body beside the children that it
    /// adds.
    ///
    /// `B` is the body's future and `R` its value. `C`, `P` and `O` are the group's.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::future::Scope;
    /// use errgroup::{Boxed, FirstErr, Group};
    /// use futures::future::{BoxFuture, FutureExt};
    ///
    /// type Output = Result<(), String>;
    /// type Counting = Scope<
    ///     Boxed<'static, (), String>,
    ///     FirstErr<String>,
    ///     Output,
    ///     BoxFuture<'static, usize>,
    ///     usize,
    /// >;
    ///
    /// # futures::executor::block_on(async {
    /// let counting: Counting = Group::new().scope(|handle| {
    ///     async move {
    ///         handle.queue(async { Ok(()) });
    ///         1
    ///     }
    ///     .boxed()
    /// });
    /// assert_eq!(counting.await, (1, Ok(())));
    /// # });
    /// ```
    #[must_use = "neither the body nor the children run unless this is polled: `.await` it"]
    pub struct Scope<C: Kind, P, O, B, R> {
        group: Group<C, P, O>,
        #[pin]
        body: Option<Flagged<B>>,
        value: Option<R>,
        // Returns `true` if what the body returned stops the group.
        fails: fn(&R) -> bool,
        // A child had failed before the body did.
        child_failed_first: bool,
        step: fn(Pin<&mut Scope<C, P, O, B, R>>, &mut Context<'_>) -> Poll<(R, O)>,
    }

    impl<C: Kind, P, O, B, R> PinnedDrop for Scope<C, P, O, B, R> {
        fn drop(this: Pin<&mut Self>) {
            // First the token and the children, then the body; and one panic of them all.
            let mut this = this.project();
            let mut panics = this.group.abort();
            note_body(this.group, false);
            panics.guard(|| this.body.set(None));
            panics.guard(|| *this.value = None);
            panics.throw();
        }
    }
}

impl<C: Kind, P, O, B, R> Scope<C, P, O, B, R>
where
    B: Future<Output = R>,
{
    pub(crate) fn new(mut group: Group<C, P, O>, body: B, fails: fn(&R) -> bool) -> Self {
        note_body(&mut group, true);
        let body = Some(Flagged::new(body, &group.base.admission.parent));
        Self { group, body, value: None, fails, child_failed_first: false, step: Self::step }
    }

    fn step(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(R, O)> {
        if self.group.is_resolved() {
            return Poll::Pending;
        }
        let mut this = self.as_mut().project();
        let polled = this.group.poll_with(cx, |group, _, budget| {
            let is_due = |body: &Option<_>| body.as_ref().is_some_and(Flagged::is_due);
            this.body.as_mut().as_pin_mut().into_iter().for_each(Flagged::begin_poll);
            loop {
                if budget.polls > 0 && is_due(&this.body) {
                    budget.polls -= 1;
                    if let Some(value) = poll_body(group, this.body.as_mut()) {
                        if (this.fails)(&value) {
                            *this.child_failed_first = group.stats().failed > 0;
                            group.base.stop(Reason::Failed);
                        }
                        *this.value = Some(value);
                    }
                    if this.body.is_none() {
                        note_body(group, false);
                    }
                }
                match group.advance(budget) {
                    Driven::Progress => {}
                    Driven::Idle if is_due(&this.body) => {}
                    Driven::Idle | Driven::Spent => break,
                }
            }
            match &*this.body {
                None => return group.conclude(budget),
                Some(body) if body.is_woken() => group.base.admission.parent.notify(),
                Some(_) => {}
            }
            Poll::Pending
        });
        match polled {
            Poll::Ready(output) => {
                this.value.take().map_or(Poll::Pending, |value| Poll::Ready((value, output)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Notes for snapshots that the body begins or has ended.
fn note_body<C: Kind, P, O>(group: &mut Group<C, P, O>, runs: bool) {
    // The body has a handle.
    group.base.admission.shared().into_iter().for_each(|shared| shared.core.set_body(runs));
}

/// Polls a scope's body, and drops it when it is done. A panic of it is as a child's.
fn poll_body<C: Kind, P, O, B: Future>(
    group: &mut Group<C, P, O>,
    mut body: Pin<&mut Option<Flagged<B>>>,
) -> Option<B::Output> {
    let polled = catch(|| body.as_mut().as_pin_mut().map(Flagged::poll));
    let value = match polled {
        Ok(Some(Poll::Pending) | None) => return None,
        Ok(Some(Poll::Ready(value))) => Some(value),
        Err(payload) => {
            group.base.panicked(payload);
            None
        }
    };
    if let Err(payload) = catch(|| body.set(None)) {
        group.base.panicked(payload);
    }
    value
}

impl<C: Kind, P, O, B, R> Future for Scope<C, P, O, B, R> {
    type Output = (R, O);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(R, O)> {
        (self.step)(self, cx)
    }
}

impl<C: Kind, P, O, B, R> FusedFuture for Scope<C, P, O, B, R> {
    fn is_terminated(&self) -> bool {
        self.group.is_resolved()
    }
}

impl<C: Kind, P, O, B, R> fmt::Debug for Scope<C, P, O, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("body", &if self.body.is_some() { "running" } else { "done" })
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// Future for [`Group::try_scope`](crate::Group::try_scope): a [`Scope`] whose body may fail.
    ///
    /// `B` is the body's future, which gives a `Result<R, X>`. `C` and `P` are the group's, and so
    /// is `V`, what its output gives if it is `Ok`. `J` is what comes of `R` and `V`.
    ///
    /// # Examples
    ///
    /// ```
    /// use errgroup::future::TryScope;
    /// use errgroup::{Boxed, FirstErr, Group};
    /// use futures::future::{BoxFuture, FutureExt};
    ///
    /// type Serving = TryScope<
    ///     Boxed<'static, (), String>,
    ///     FirstErr<String>,
    ///     String,
    ///     BoxFuture<'static, Result<u32, String>>,
    ///     u32,
    /// >;
    ///
    /// # futures::executor::block_on(async {
    /// let serving: Serving = Group::new().try_scope(|_| async { Ok(7) }.boxed());
    /// assert_eq!(serving.await, Ok(7));
    /// # });
    /// ```
    #[must_use = "neither the body nor the children run unless this is polled: `.await` it"]
    pub struct TryScope<C: Kind, P, X, B, R, V = (), J = R> {
        #[pin]
        scope: Scope<C, P, Result<V, X>, B, Result<R, X>>,
        join: fn(R, V) -> J,
    }
}

impl<C: Kind, P, X, B, R, V, J> TryScope<C, P, X, B, R, V, J>
where
    B: Future<Output = Result<R, X>>,
{
    fn new(group: Group<C, P, Result<V, X>>, body: B, join: fn(R, V) -> J) -> Self {
        Self { scope: Scope::new(group, body, Result::is_err), join }
    }
}

impl<C: Kind, P, X, B, R, V, J> Future for TryScope<C, P, X, B, R, V, J> {
    type Output = Result<J, X>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut scope, join) = (this.scope, this.join);
        scope.as_mut().poll(cx).map(|(value, output)| match (value, output) {
            (Ok(value), Ok(values)) => Ok(join(value, values)),
            (Ok(unused), Err(error)) => Err(return_after(error, || drop(unused))),
            (Err(second), Err(error)) if scope.child_failed_first => {
                Err(return_after(error, || drop(second)))
            }
            (Err(error), second) => Err(return_after(error, || drop(second))),
        })
    }
}

impl<C: Kind, P, X, B, R, V, J> FusedFuture for TryScope<C, P, X, B, R, V, J> {
    fn is_terminated(&self) -> bool {
        self.scope.is_terminated()
    }
}

impl<C: Kind, P, X, B, R, V, J> fmt::Debug for TryScope<C, P, X, B, R, V, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryScope").field(&self.scope).finish()
    }
}
