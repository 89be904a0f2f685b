//! `hedge`: another attempt when one takes long.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use super::ASKS;
use super::producer::{Produced, Producer, impl_future};
use crate::child::Plain;
use crate::group::Group;
use crate::group::drive::Driven;
use crate::policy::{ChildInfo, Errors, FirstOk, Policy, Verdict};
use crate::reason::Reason;
use crate::set::Budget;
use crate::stats::Stats;
use crate::util::flagged::Flagged;
use crate::util::panic::FirstPanic;

/// Starts another attempt when the last one takes long or fails; the first `Ok` wins.
///
/// It starts `attempt(0)`, and beside it `delay(0)`. When `delay(n)` resolves, or when attempt `n`
/// fails while it is the newest, attempt `n + 1` is started beside those that run, up to `max` in
/// all. `delay(n)` is called when attempt `n` starts, except for the last attempt. The output of a
/// delay is dropped.
///
/// The first attempt to finish with `Ok` wins. The others and the delay are dropped before its
/// value is returned. An attempt that has finished wins over a delay that has resolved.
///
/// With a delay such as the 95th percentile of what an attempt takes, the slowest few answers are
/// replaced by quick ones for some 5 % more load. These are the *hedged requests* of Dean and
/// Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013. An attempt should do no
/// harm if it is made twice.
///
/// With `|_| std::future::pending::<()>()` for the delay, it is a plain retry: only a failure
/// starts the next attempt, and does so at once. An attempt that is to come after a pause begins
/// with it: `if n > 0 { sleep(backoff(n)).await }`.
///
/// No attempt is started before the first poll. One poll starts at most 4,096 attempts.
///
/// # Errors
///
/// Returns the [`Errors`] of all `max` attempts, in the order in which they came, if all of them
/// fail. It is empty if `max` is 0.
///
/// # Panics
///
/// If an attempt, a delay, `attempt`, `delay` or a destructor panics, the attempts that run are
/// dropped, since there is no token to tell them of it. Then the panic resumes out of the poll, as
/// with [`map`](crate::map()).
///
/// # Drop
///
/// Dropping it drops the attempts that run, then the delay.
///
/// # Examples
///
/// ```
/// use std::future::{pending, ready};
///
/// # fn sleep() -> impl Future<Output = ()> { ready(()) }
/// # futures::executor::block_on(async {
/// let servers = ["down", "hangs", "up"];
/// let ask = async |n: usize| match servers[n] {
///     "up" => Ok("the answer"),
///     "down" => Err("no such host"),
///     _ => pending().await,
/// };
/// // The first fails, which starts the second at once; the third is started after a while.
/// assert_eq!(errgroup::hedge(3, ask, |_| sleep()).await, Ok("the answer"));
///
/// let all = errgroup::hedge(1, ask, |_| sleep()).await.unwrap_err();
/// assert_eq!(all.into_vec(), ["no such host"]);
/// # });
/// ```
#[doc(alias("retry", "race", "backup request"))]
pub fn hedge<F, Fut, T, E, G, D>(max: usize, attempt: F, delay: G) -> Hedge<F, Fut, T, E, G, D>
where
    F: FnMut(usize) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    G: FnMut(usize) -> D,
    D: Future,
{
    let race = Race { first_ok: FirstOk::new(), failed: None };
    let group = Group::left_at_stop(usize::MAX, race);
    let makers = Some((attempt, delay));
    let attempts = Attempts { makers, max, started: 0, delay: None };
    Hedge { produced: Produced::new(group, attempts, Attempts::run) }
}

pin_project! {
    /// Future for [`hedge`](crate::hedge): gives the first value, or the errors of all attempts.
    ///
    /// `F` makes the attempts, which are `Fut`. `G` makes the delays, which are `D`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::{Pending, Ready, pending, ready};
    ///
    /// use errgroup::future::Hedge;
    ///
    /// type Attempt = Ready<Result<&'static str, String>>;
    /// type Delay = Pending<()>;
    /// type Attempts = fn(usize) -> Attempt;
    /// type Delays = fn(usize) -> Delay;
    /// type Asking = Hedge<Attempts, Attempt, &'static str, String, Delays, Delay>;
    ///
    /// # futures::executor::block_on(async {
    /// let asking: Asking = errgroup::hedge(2, |_| ready(Ok("the answer")), |_| pending());
    /// assert_eq!(asking.await, Ok("the answer"));
    /// # });
    /// ```
    #[must_use = "nothing is attempted unless this is polled: `.await` it"]
    pub struct Hedge<F, Fut, T, E, G, D> {
        #[pin]
        produced: Produced<Attempts<F, G, D>, Fut, Race<T, E>, Result<T, Errors<E>>>,
    }
}

impl_future!(Hedge<F, Fut, T, E, G, D> -> Result<T, Errors<E>>);

pin_project! {
    /// The attempts, beside those that the group has.
    struct Attempts<F, G, D> {
        // What makes the attempts and the delays. Gone at the end.
        makers: Option<(F, G)>,
        max: usize,
        started: usize,
        // After the newest attempt. Gone once it has resolved: the next attempt is due.
        #[pin]
        delay: Option<Flagged<D>>,
    }
}

/// The first value, or all errors; and the newest attempt that has failed.
struct Race<T, E> {
    first_ok: FirstOk<T, E>,
    /// The newest of the attempts that have failed.
    failed: Option<usize>,
}

// === impl Race ===

impl<T, E> Policy<T, E> for Race<T, E> {
    type Output = Result<T, Errors<E>>;

    /// The attempts are admitted in order, all of them; so a child's index is the attempt's number.
    fn on_child(&mut self, child: &ChildInfo<'_>, result: Result<T, E>) -> Verdict {
        if result.is_err() {
            self.failed = self.failed.max(Some(child.index()));
        }
        self.first_ok.on_child(child, result)
    }

    fn finish(&mut self, why: &Reason) -> Self::Output {
        Policy::<T, E>::finish(&mut self.first_ok, why)
    }
}

// === impl Attempts ===

type RaceGroup<Fut, T, E> = Group<Plain<Fut>, Race<T, E>, Result<T, Errors<E>>>;

impl<F, G, D> Attempts<F, G, D> {
    /// Starts the attempts that are due, and polls them. Returns `true` when all is done, or the
    /// group is to be dropped.
    fn run<Fut, T, E>(
        mut self: Pin<&mut Self>,
        group: &mut RaceGroup<Fut, T, E>,
        budget: &mut Budget,
    ) -> bool
    where
        F: FnMut(usize) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: FnMut(usize) -> D,
        D: Future,
    {
        let mut asks = ASKS;
        self.as_mut().project().delay.as_pin_mut().into_iter().for_each(Flagged::begin_poll);
        loop {
            if self.is_due(group) {
                if asks == 0 {
                    // The rest is started in the next poll.
                    group.base.admission.parent.notify();
                    return false;
                }
                asks -= 1;
                self.as_mut().start(group);
            }
            match group.advance(budget) {
                Driven::Progress if group.is_stopped() => return true,
                Driven::Progress => continue,
                // The rest comes first, too, in the next poll.
                Driven::Spent if group.base.set.has_next() => break,
                Driven::Idle | Driven::Spent => {}
            }
            // The attempts come first: one that is done needs no other. The wake-up of a delay
            // that yields stays with the parent's waker, for the next poll.
            if !self.as_mut().poll_delay() {
                break;
            }
        }
        self.started == self.max && !group.base.has_running()
    }

    /// Returns `true` if the next attempt is to be started.
    fn is_due<Fut, T, E>(&self, group: &RaceGroup<Fut, T, E>) -> bool {
        let failed = group.policy.as_ref().and_then(|race| race.failed);
        let newest = self.started.checked_sub(1);
        self.started < self.max && (self.delay.is_none() || failed == newest)
    }

    fn start<Fut, T, E>(self: Pin<&mut Self>, group: &mut RaceGroup<Fut, T, E>)
    where
        F: FnMut(usize) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: FnMut(usize) -> D,
    {
        let mut this = self.project();
        let Some((attempt, delay)) = this.makers else { return };
        let number = *this.started;
        *this.started += 1;
        this.delay.set(None);
        let _ = group.enqueue(&mut Some(attempt(number)), false);
        if *this.started < *this.max {
            this.delay.set(Some(Flagged::new(delay(number), &group.base.admission.parent)));
        }
    }

    /// Polls the delay, if it was woken. Returns `true` if it has resolved.
    fn poll_delay(self: Pin<&mut Self>) -> bool
    where
        D: Future,
    {
        let mut delay = self.project().delay;
        let resolves = delay.as_mut().as_pin_mut().is_some_and(|delay| delay.poll().is_ready());
        if resolves {
            delay.set(None);
        }
        resolves
    }
}

impl<F, G, D> Producer for Attempts<F, G, D> {
    fn end(self: Pin<&mut Self>, panics: &mut FirstPanic) {
        let mut this = self.project();
        panics.guard(|| this.delay.set(None));
        if let Some((attempt, delay)) = this.makers.take() {
            panics.guard(|| drop(attempt));
            panics.guard(|| drop(delay));
        }
    }

    fn show(&self, _: Stats, fields: &mut fmt::DebugStruct<'_, '_>) {
        fields.field("started", &self.started).field("max", &self.max);
    }
}
