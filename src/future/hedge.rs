use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use futures_util::future::FusedFuture;
use pin_project_lite::pin_project;

use super::ASKS;
use crate::child::Plain;
use crate::group::Group;
use crate::group::poll::{Driven, POLLS};
use crate::policy::{Errors, FirstOk, Policy, Verdict};
use crate::util::panic::{FirstPanic, catch};
use crate::util::wake_flag::WakeFlag;

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
/// harm if it is made twice. With a delay that never resolves, it is a plain retry.
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
pub fn hedge<F, Fut, T, E, G, D>(max: usize, attempt: F, delay: G) -> Hedge<F, Fut, T, E, G, D>
where
    F: FnMut(usize) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    G: FnMut(usize) -> D,
    D: Future,
{
    let race = Race { first_ok: FirstOk::new(), failed: None };
    let mut group = Group::unboxed().with_policy(race);
    group.leaves_at_stop = true;
    let signal = WakeFlag::new(Arc::clone(&group.admission.parent));
    let makers = Some((attempt, delay));
    Hedge { group, makers, max, started: 0, delay: None, elapsed: false, signal, step: Hedge::step }
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
        group: Group<Plain<Fut>, Race<T, E>, Result<T, Errors<E>>>,
        // What makes the attempts and the delays. Gone at the end.
        makers: Option<(F, G)>,
        max: usize,
        started: usize,
        // After the newest attempt.
        #[pin]
        delay: Option<D>,
        // It has resolved: the next attempt is due.
        elapsed: bool,
        // One for each delay.
        signal: Arc<WakeFlag>,
        step: fn(Pin<&mut Hedge<F, Fut, T, E, G, D>>, &mut Context<'_>)
            -> Poll<Result<T, Errors<E>>>,
    }

    impl<F, Fut, T, E, G, D> PinnedDrop for Hedge<F, Fut, T, E, G, D> {
        fn drop(this: Pin<&mut Self>) {
            // First the attempts; and one panic of all.
            let this = this.project();
            let mut panics = this.group.shut();
            leave(this.delay, this.makers, &mut panics);
            panics.throw();
        }
    }
}

/// The first value, or all errors; and who has failed.
struct Race<T, E> {
    first_ok: FirstOk<T, E>,
    /// The newest of the attempts that have failed.
    failed: Option<usize>,
}

// === impl Race ===

impl<T, E> Policy<T, E> for Race<T, E> {
    type Output = Result<T, Errors<E>>;

    /// The attempts are admitted in order, all of them; so `index` is the attempt's number.
    fn on_child(&mut self, index: usize, result: Result<T, E>) -> Verdict {
        if result.is_err() {
            self.failed = self.failed.max(Some(index));
        }
        self.first_ok.on_child(index, result)
    }

    fn finish(&mut self) -> Self::Output {
        Policy::<T, E>::finish(&mut self.first_ok)
    }
}

// === impl Hedge ===

impl<F, Fut, T, E, G, D> Hedge<F, Fut, T, E, G, D>
where
    F: FnMut(usize) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    G: FnMut(usize) -> D,
    D: Future,
{
    fn step(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Errors<E>>> {
        if self.is_terminated() {
            return Poll::Pending;
        }
        self.as_mut().project().group.begin(cx);
        let over = catch(|| self.as_mut().run());
        let this = self.project();
        let over = match over {
            Ok(over) => over,
            // A delay's, or that of who makes attempts and delays.
            Err(payload) => {
                this.group.panic.keep(payload);
                true
            }
        };
        if over {
            let (group, delay, makers) = (this.group, this.delay, this.makers);
            return group.finish_now(|panics| leave(delay, makers, panics));
        }
        this.group.end(cx, true);
        Poll::Pending
    }

    /// Starts the attempts that are due, and drives them. Whether it is over.
    fn run(mut self: Pin<&mut Self>) -> bool {
        let (mut budget, mut asks) = (POLLS, ASKS);
        loop {
            if self.is_due() {
                if asks == 0 {
                    // The rest is started in the next poll.
                    self.group.admission.parent.notify();
                    return false;
                }
                asks -= 1;
                self.as_mut().start();
            }
            let this = self.as_mut().project();
            match this.group.advance(&mut budget) {
                Driven::Progress if this.group.is_stopped() => return true,
                Driven::Progress => continue,
                Driven::Idle | Driven::Spent => {}
            }
            // The attempts come first: one that is done needs no other. What a delay that yields
            // rings stays in the bell, for the next poll.
            if !self.as_mut().poll_delay() {
                break;
            }
        }
        self.started == self.max && self.group.set.is_empty()
    }

    /// Whether the next attempt is to be started.
    fn is_due(&self) -> bool {
        let failed = self.group.policy.as_ref().and_then(|race| race.failed);
        let newest = self.started.checked_sub(1);
        // At the beginning both are none.
        self.started < self.max && (self.elapsed || failed == newest)
    }

    fn start(self: Pin<&mut Self>) {
        let mut this = self.project();
        let Some((attempt, delay)) = this.makers else { return };
        let number = *this.started;
        *this.started += 1;
        *this.elapsed = false;
        this.delay.set(None);
        this.group.queue(attempt(number));
        if *this.started < *this.max {
            // What is left of the last one's wakers is not for this one.
            *this.signal = WakeFlag::new(Arc::clone(&this.group.admission.parent));
            this.delay.set(Some(delay(number)));
        }
    }

    /// Polls the delay, if it was woken. Whether it has resolved.
    fn poll_delay(self: Pin<&mut Self>) -> bool {
        let mut this = self.project();
        let Some(delay) = this.delay.as_mut().as_pin_mut() else { return false };
        if !this.signal.take() {
            return false;
        }
        let waker = WakeFlag::waker(this.signal);
        *this.elapsed = delay.poll(&mut Context::from_waker(&waker)).is_ready();
        if *this.elapsed {
            this.delay.set(None);
        }
        *this.elapsed
    }
}

/// Drops the delay and what makes them, each by itself: one that panics keeps no other from it.
fn leave<F, G, D>(
    mut delay: Pin<&mut Option<D>>,
    makers: &mut Option<(F, G)>,
    panics: &mut FirstPanic,
) {
    panics.guard(|| delay.set(None));
    if let Some((attempt, delay)) = makers.take() {
        panics.guard(|| drop(attempt));
        panics.guard(|| drop(delay));
    }
}

impl<F, Fut, T, E, G, D> Future for Hedge<F, Fut, T, E, G, D> {
    type Output = Result<T, Errors<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        (self.step)(self, cx)
    }
}

impl<F, Fut, T, E, G, D> FusedFuture for Hedge<F, Fut, T, E, G, D> {
    fn is_terminated(&self) -> bool {
        self.group.is_resolved()
    }
}

impl<F, Fut, T, E, G, D> fmt::Debug for Hedge<F, Fut, T, E, G, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedge")
            .field("started", &self.started)
            .field("max", &self.max)
            .field("done", &self.is_terminated())
            .finish_non_exhaustive()
    }
}
