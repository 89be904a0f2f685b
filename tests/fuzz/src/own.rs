//! What owns a group: a task, or a child of another group.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use errgroup::{Group, TryGoError};
use futures::future::{FusedFuture, FutureExt, LocalBoxFuture};
use futures::stream::{FusedStream, Stream, StreamExt};

use crate::env::{Doing, Env, Member, Owner};
use crate::kid::{Waiting, wait, yield_now};
use crate::kinds::{
    Flavor, HandleOf, Local, New, On, OnLocal, Stops, Unboxed, UnboxedJoinable, answered, offer,
};

/// Notes that a group is gone.
struct Gone(Rc<Env>, usize);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.note(|| format!("group {} is gone", self.1));
        let member = self.0.group(self.1);
        member.doing.set(Doing::Nothing);
        member.gone.set(true);
    }
}

/// What comes next for an owner.
enum Next {
    Order,
    /// No order is left, and none comes.
    Last,
}

impl Member {
    fn poll_order(&self, cx: &Context<'_>) -> Poll<Next> {
        match self.orders.get() {
            0 if self.ends.get() => return Poll::Ready(Next::Last),
            0 => {}
            orders => {
                self.orders.set(orders - 1);
                return Poll::Ready(Next::Order);
            }
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Makes a group of any kind, and owns it until its end.
pub fn own_any(env: Rc<Env>, owner: Owner) -> LocalBoxFuture<'static, ()> {
    match env.below(9) {
        0..=2 => own::<New>(env, owner).boxed_local(),
        3 => own::<Local>(env, owner).boxed_local(),
        4 => own::<Unboxed>(env, owner).boxed_local(),
        5 => own::<UnboxedJoinable>(env, owner).boxed_local(),
        6 | 7 => own::<On>(env, owner).boxed_local(),
        _ => own::<OnLocal>(env, owner).boxed_local(),
    }
}

fn own<F: Flavor>(env: Rc<Env>, owner: Owner) -> impl Future<Output = ()> {
    let member = Rc::new(Member::new(owner, F::SPAWNED));
    let at = {
        let mut groups = env.groups.borrow_mut();
        groups.push(Rc::clone(&member));
        groups.len() - 1
    };
    let nested = matches!(owner, Owner::Kid(_));
    member.shares.set(!nested && env.semaphore.borrow().is_some() && env.one_in(2));
    if nested {
        member.orders.set(1 + env.below(5));
        member.ends.set(true);
    }
    let gone = Gone(Rc::clone(&env), at);
    async move {
        // It is dropped last.
        let _gone = gone;
        member.handled.set(env.below(4) != 1);
        let group = F::group(&env, at);
        if member.handled.get() {
            keep_handle::<F>(&member, &group, at);
        }
        match env.below(5) {
            0 | 1 => follow::<F, _, _>(env, at, group).await,
            2 => {
                let rule = env.below(3);
                follow::<F, _, _>(env, at, group.with_policy(Stops { at, rule })).await;
            }
            3 => follow::<F, _, _>(env, at, group.collect()).await,
            _ => read::<F>(env, at, group).await,
        }
    }
}

fn keep_handle<F: Flavor>(member: &Member, group: &Group<F::Kids>, at: usize) {
    *member.handle.borrow_mut() = Some(Rc::new(HandleOf::<F>(group.handle(), at)));
}

/// Awaits a future that drives the group, until the next order.
async fn drive(member: &Member, future: impl Future) {
    let mut future = pin!(future);
    member.doing.set(Doing::Drives);
    poll_fn(|cx| match member.orders.get() > 0 {
        true if member.poll_order(cx).is_ready() => Poll::Ready(()),
        _ => {
            let _ = member.poll_order(cx).map(drop);
            future.as_mut().poll(cx).map(drop)
        }
    })
    .await;
    member.doing.set(Doing::Nothing);
}

/// Follows the orders for a group, and polls it when there is none.
async fn follow<F: Flavor, P, O>(env: Rc<Env>, at: usize, mut group: Group<F::Kids, P, O>)
where
    Group<F::Kids, P, O>: Future,
{
    let member = env.group(at);
    let mut next = poll_fn(|cx| member.poll_order(cx)).await;
    loop {
        let order = if let Next::Order = next { env.below(20) } else { 0 };
        env.note(|| format!("group {at}: order {order}"));
        match order {
            1 | 2 => offer!(F, at, |child| group.queue(child)),
            3 => offer!(F, at, |child| answered(
                &member,
                group.try_go(child),
                TryGoError::into_inner
            )),
            4 => offer!(F, at, |child| answered(
                &member,
                group.try_queue(child),
                TryGoError::into_inner
            )),
            5..=7 => offer!(F, at, |child| {
                let waiting = Waiting::new(&member);
                let go = group.go(child);
                drive(&member, go.map(|admitted| waiting.answered(admitted.is_ok()))).await;
            }),
            8 | 9 => {
                member.unsure.set(true);
                let stream = env.stream(at).map(F::one);
                drive(&member, group.feed(stream)).await;
            }
            10 => {
                drive(&member, group.ready()).await;
                offer!(F, at, |child| answered(
                    &member,
                    group.try_go(child),
                    TryGoError::into_inner
                ));
            }
            11 if !group.is_terminated() => {
                let body = body(Rc::clone(&env), at);
                return scope::<F, P, O>(env, at, group, body).await;
            }
            12 if env.one_in(2) => return env.note(|| format!("group {at} is dropped")),
            13 => {
                // Very many children.
                let few = env.kids.borrow().len() < 6000;
                let count = if few { 40 * (1 + env.below(128)) } else { 2 };
                let gates = env.new_gate();
                env.new_gate();
                env.new_gate();
                env.note(|| format!("group {at}: {count} children, gates from {gates}"));
                for _ in 0..count {
                    group.queue(F::one(env.new_crowd_kid(at, gates)));
                }
            }
            14 => {
                let hold = group.hold();
                env.holds.borrow_mut().push((at, hold));
            }
            15 if env.one_in(3) => group.close(),
            16 => {
                let limit = (!env.one_in(3)).then(|| env.below(4));
                let limit = limit.filter(|limit| *limit > 0 || member.handled.get());
                Member::raise(&member.limit, limit);
                group.set_limit(limit);
            }
            17 => {
                let root = group.token().clone();
                env.roots.borrow_mut().push(root);
            }
            18 => env.quick(at),
            _ => {}
        }
        member.doing.set(Doing::Polls);
        let polled = poll_fn(|cx| match member.orders.get() > 0 {
            true => member.poll_order(cx).map(Some),
            false => {
                let _ = member.poll_order(cx).map(drop);
                Pin::new(&mut group).poll(cx).map(|_| None)
            }
        })
        .await;
        member.doing.set(Doing::Nothing);
        match polled {
            Some(order) => next = order,
            None => return,
        }
    }
}

/// The body of a scope.
async fn body(env: Rc<Env>, at: usize) {
    for _ in 0..env.below(8) {
        match env.below(7) {
            0 => yield_now().await,
            1 => wait(env.new_gate()).await,
            2 | 3 => env.go(at).await,
            4 => env.quick(at),
            5 => {
                if let Some(handle) = env.handle(at) {
                    handle.feed().await;
                }
            }
            _ => env.handle(at).into_iter().for_each(|handle| handle.queue()),
        }
    }
}

async fn scope<F: Flavor, P, O>(
    env: Rc<Env>,
    at: usize,
    group: Group<F::Kids, P, O>,
    body: impl Future<Output = ()>,
) where
    Group<F::Kids, P, O>: Future,
{
    let member = env.group(at);
    let runs = BodyRuns(Rc::clone(&member));
    member.body_runs.set(true);
    let scope = group.scope(move |_handle| async move {
        let _runs = runs;
        body.await;
    });
    member.doing.set(Doing::Polls);
    scope.await;
}

struct BodyRuns(Rc<Member>);

impl Drop for BodyRuns {
    fn drop(&mut self) {
        self.0.body_runs.set(false);
    }
}

/// Reads the results of a group as a stream.
async fn read<F: Flavor>(env: Rc<Env>, at: usize, group: Group<F::Kids>) {
    let member = env.group(at);
    member.streams.set(true);
    let mut results = group.results();
    if env.one_in(3) {
        results = results.in_order();
    }
    if env.one_in(4) {
        results = results.fail_fast();
    }
    if env.one_in(3) {
        results = results.buffered(env.below(4));
    }
    if env.one_in(3) {
        member.unsure.set(true);
        let fed = results.feed(env.stream(at).map(F::one));
        let mut fed = pin!(fed);
        member.doing.set(Doing::Drives);
        let paused = Cell::new(false);
        poll_fn(|cx| {
            // With an order the reader pauses, and with the next it goes on.
            if let Poll::Ready(Next::Order) = member.poll_order(cx) {
                paused.set(!paused.get());
            }
            if paused.get() && !member.ends.get() {
                member.doing.set(Doing::Nothing);
                let _ = member.poll_order(cx).map(|_| cx.waker().wake_by_ref());
                return Poll::Pending;
            }
            member.doing.set(Doing::Drives);
            let poll = fed.as_mut().poll_next(cx);
            match poll {
                Poll::Ready(Some(_)) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Ready(None) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        return;
    }
    let mut next = poll_fn(|cx| member.poll_order(cx)).await;
    loop {
        let order = if let Next::Order = next { env.below(12) } else { 0 };
        env.note(|| format!("results {at}: order {order}"));
        match order {
            1..=3 => offer!(F, at, |child| results.queue(child)),
            4 => offer!(F, at, |child| answered(
                &member,
                results.try_go(child),
                TryGoError::into_inner
            )),
            5 => offer!(F, at, |child| answered(
                &member,
                results.try_queue(child),
                TryGoError::into_inner
            )),
            6 => {
                let hold = results.hold();
                env.holds.borrow_mut().push((at, hold));
            }
            7 if env.one_in(2) => results.close(),
            8 if env.one_in(3) => return,
            9 => env.quick(at),
            10 => {
                // A reader that pauses.
                next = poll_fn(|cx| member.poll_order(cx)).await;
                continue;
            }
            _ => {}
        }
        loop {
            member.doing.set(Doing::Drives);
            let polled = poll_fn(|cx| match member.orders.get() > 0 {
                true => member.poll_order(cx).map(Err),
                false => {
                    let _ = member.poll_order(cx).map(drop);
                    results.poll_next_unpin(cx).map(Ok)
                }
            })
            .await;
            member.doing.set(Doing::Nothing);
            match polled {
                Ok(Some(_)) => {}
                // It is empty.
                Ok(None) if member.ends.get() => return,
                Ok(None) => {
                    let _ = results.is_terminated();
                    next = poll_fn(|cx| member.poll_order(cx)).await;
                    break;
                }
                Err(order) => {
                    next = order;
                    break;
                }
            }
        }
    }
}

/// Runs what may panic, and returns its panic.
pub fn guard<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
    std::panic::catch_unwind(AssertUnwindSafe(f))
}
