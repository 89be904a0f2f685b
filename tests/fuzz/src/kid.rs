//! The children, and what else a group polls. What they do is not in them but in the world, so
//! they are `Send`, whatever they do.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use errgroup::{Key, Task, task};
use futures::future::{FutureExt, LocalBoxFuture, join};
use futures::stream::{self, Stream};

use crate::env::{End, Env, KidState, Member, Owner, env, try_env};
use crate::kinds::boom;
use crate::own::own_any;

/// A child. Dropping it is noted.
pub struct Kid(pub usize);

/// Notes that it was woken, and wakes.
struct KidWaker(usize, Waker);

impl Wake for KidWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(env) = try_env() {
            env.kid(self.0).woken.set(true);
        }
        self.1.wake_by_ref();
    }
}

/// A future, or the closure of a gate and the like, of which the world has the rest.
pub struct Timer {
    group: usize,
    key: Option<usize>,
}

pub fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

pub fn wait(number: usize) -> impl Future<Output = ()> {
    poll_fn(move |cx| match env().pass_gate(number, cx.waker()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
}

/// Counts a `go` that waits, until it is dropped.
pub struct Waiting(pub Rc<Member>, bool);

impl Waiting {
    pub fn new(member: &Rc<Member>) -> Self {
        member.waiting.set(member.waiting.get() + 1);
        Self(Rc::clone(member), false)
    }

    /// The `go` has been answered.
    pub fn answered(mut self, admitted: bool) {
        self.1 = true;
        if !admitted {
            self.0.given_back.set(self.0.given_back.get() + 1);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
        if !self.1 {
            self.0.unsure.set(true);
        }
    }
}

// === impl Kid ===

impl Future for Kid {
    type Output = Result<(), u32>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (env, id) = (env(), self.0);
        let kid = env.kid(id);
        env.note(|| format!("child {id} is polled"));
        if kid.ended.get().is_some() || kid.dropped.get() {
            env.fail(|| format!("child {id} is polled after its end"));
        }
        if kid.started.get() && !kid.woken.get() {
            env.fail(|| format!("child {id} is polled and was not woken"));
        }
        if !kid.started.replace(true) {
            env.check_limits(id);
            env.group(kid.group).started.borrow_mut().insert(id, Rc::clone(&kid));
            *kid.body.borrow_mut() = Some(body(Rc::clone(&env), id).boxed_local());
        }
        kid.woken.set(false);
        let waker = {
            let mut known = kid.waker.borrow_mut();
            match &*known {
                Some((outer, waker)) if outer.will_wake(cx.waker()) => waker.clone(),
                _ => {
                    let waker = Waker::from(Arc::new(KidWaker(id, cx.waker().clone())));
                    *known = Some((cx.waker().clone(), waker.clone()));
                    waker
                }
            }
        };
        let Some(mut body) = kid.body.borrow_mut().take() else {
            env.fail(|| format!("child {id} is polled while it is polled"));
            return Poll::Pending;
        };
        let polled =
            catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(&mut Context::from_waker(&waker))));
        let end = match &polled {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(Ok(()))) => Some(End::Ok),
            Ok(Poll::Ready(Err(_))) => Some(End::Failed),
            Err(_) => Some(End::Panicked),
        };
        env.note(|| format!("child {id}: {end:?}"));
        // The body may own a group, so it is dropped before the child has ended.
        *kid.body.borrow_mut() = Some(body);
        kid.ended.set(end);
        env.ended.borrow_mut().extend(end.map(|_| id));
        match polled {
            Ok(poll) => poll,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Drop for Kid {
    fn drop(&mut self) {
        let Some(env) = try_env() else {
            return;
        };
        let kid = env.kid(self.0);
        env.note(|| format!("child {} is dropped", self.0));
        if kid.dropped.replace(true) {
            env.fail(|| format!("child {} is dropped twice", self.0));
        }
        env.alive.borrow_mut().remove(&self.0);
        env.ended.borrow_mut().remove(&self.0);
        env.group(kid.group).started.borrow_mut().remove(&self.0);
        let (body, waker) = (kid.body.borrow_mut().take(), kid.waker.borrow_mut().take());
        if env.one_in(8) {
            env.wakers.borrow_mut().extend(waker.map(|(_, waker)| waker));
        }
        if env.one_in(6) && kid.crowd.is_none() {
            env.quick(kid.group);
        }
        drop(body);
    }
}

impl Env {
    /// Makes a child of that group, and says if it is to be joinable.
    pub fn new_kid(&self, group: usize) -> (Task<Kid>, bool) {
        let (plain, joinable) = (self.below(3) != 1, self.one_in(4));
        let member = self.group(group);
        let mut kid = KidState::new(group, None);
        let id = self.kids.borrow().len();
        let mut child = task(Kid(id));
        let mut options = String::new();
        if !plain {
            if self.one_in(4) {
                kid.weight = self.below(4);
                child = child.weight(kid.weight);
                member.mixed.set(true);
            }
            if self.one_in(3) {
                let priority = self.below(3) as i32 - 1;
                child = child.priority(priority);
            }
            if self.one_in(3) {
                let key = self.below(3) as u8;
                kid.key = Some(key);
                child = child.key(Key::from(u32::from(key)));
                member.mixed.set(true);
                if self.one_in(3) {
                    child = child.unique();
                }
            }
            if self.one_in(6) {
                kid.daemon = true;
                child = child.daemon();
            }
            if self.one_in(4) {
                kid.until_stop = true;
                child = child.until_stop();
            }
            if self.one_in(4) {
                child = child.name(format!("child {id}"));
            }
            if self.trace.get() {
                options = format!("{child:?}");
            }
        }
        member.made.set(member.made.get() + 1);
        self.note(|| format!("makes child {id} of group {group}, joinable: {joinable} {options}"));
        self.add_kid(kid);
        (child, joinable)
    }

    /// Makes a child that is one of very many: most wait at one of three gates, from that number.
    pub fn new_crowd_kid(&self, group: usize, gates: usize) -> Task<Kid> {
        let member = self.group(group);
        member.made.set(member.made.get() + 1);
        task(Kid(self.add_kid(KidState::new(group, Some(gates)))))
    }

    /// Makes a stream of children of that group. It is pending now and then.
    pub fn stream(&self, group: usize) -> impl Stream<Item = Task<Kid>> + 'static {
        let count = self.below(6);
        stream::unfold(count, move |left| async move {
            let env = env();
            if left == 0 {
                return None;
            }
            match env.below(6) {
                1 => yield_now().await,
                2 => wait(env.new_gate()).await,
                3 => env.quick(group),
                _ => {}
            }
            Some((env.new_kid(group).0, left - 1))
        })
    }

    /// Waits in a `go` of a handle of that group.
    pub async fn go(&self, group: usize) {
        let member = self.group(group);
        if let Some(handle) = self.handle(group) {
            let waiting = Waiting::new(&member);
            let admitted = handle.go().await;
            self.note(|| format!("a go of group {group}: {admitted}"));
            waiting.answered(admitted);
        }
    }

    pub fn timer(&self, group: usize) -> Timer {
        Timer { group, key: None }
    }
}

impl KidState {
    fn new(group: usize, crowd: Option<usize>) -> Self {
        Self {
            group,
            weight: 1,
            key: None,
            daemon: false,
            until_stop: false,
            crowd,
            started: false.into(),
            woken: false.into(),
            ended: None.into(),
            dropped: false.into(),
            aborted: false.into(),
            body: None.into(),
            waker: None.into(),
        }
    }
}

/// Does what a child does until its end.
async fn body(env: Rc<Env>, id: usize) -> Result<(), u32> {
    let kid = env.kid(id);
    if let Some(gates) = kid.crowd {
        match id % 4 {
            0 => yield_now().await,
            at => wait(gates + at - 1).await,
        }
        return Ok(());
    }
    let (group, waits) = (kid.group, !kid.daemon);
    loop {
        match env.below(24) {
            0..=3 => return Ok(()),
            4 if env.one_in(2) => return Err(id as u32),
            5 | 6 => yield_now().await,
            7..=11 => wait(env.new_gate()).await,
            12..=15 => env.quick(group),
            16 | 17 if waits => env.go(group).await,
            18 if waits => {
                if let Some(handle) = env.handle(group) {
                    handle.feed().await;
                }
            }
            19 if waits => {
                join(env.go(group), env.go(group)).await;
            }
            20 if waits && env.depth.get() < 4 && env.groups.borrow().len() < 12 => {
                own_any(Rc::clone(&env), Owner::Kid(id)).await;
            }
            21 if env.one_in(2) => boom(),
            22 => {
                // A waker of it is kept, and it waits for another.
                let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                env.wakers.borrow_mut().push(waker);
            }
            23 => {
                // Two waits, of which one is dropped.
                let (first, second) = (env.new_gate(), env.new_gate());
                futures::future::select(wait(first).boxed_local(), wait(second).boxed_local())
                    .await;
            }
            _ => {}
        }
    }
}

// === impl Timer ===

/// What a deadline, a grace or a gate does, by its number.
type Timers = std::cell::RefCell<Vec<Option<LocalBoxFuture<'static, ()>>>>;

thread_local!(static TIMERS: Timers = const { Timers::new(Vec::new()) });

pub fn forget_timers() {
    let timers = TIMERS.with(|timers| std::mem::take(&mut *timers.borrow_mut()));
    drop(timers);
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let group = self.group;
        let key = *self.key.get_or_insert_with(|| {
            let env = env();
            let body = async move {
                for _ in 0..env.below(5) {
                    match env.below(6) {
                        0 => yield_now().await,
                        1..=3 => wait(env.new_gate()).await,
                        _ => env.quick(group),
                    }
                }
            };
            TIMERS.with(|timers| {
                let mut timers = timers.borrow_mut();
                timers.push(Some(body.boxed_local()));
                timers.len() - 1
            })
        });
        let body = TIMERS.with(|timers| timers.borrow_mut()[key].take());
        let Some(mut body) = body else {
            env().fail(|| "a timer is polled after its end".into());
            return Poll::Pending;
        };
        let poll = body.as_mut().poll(cx);
        if poll.is_pending() {
            TIMERS.with(|timers| timers.borrow_mut()[key] = Some(body));
        }
        poll
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let Some(env) = try_env() else {
            return;
        };
        if let Some(key) = self.key {
            let body =
                TIMERS.with(|timers| timers.borrow_mut().get_mut(key).and_then(Option::take));
            drop(body);
        }
        if env.one_in(12) {
            env.quick(self.group);
        }
    }
}

/// What a gate gives a child to keep, and what a spawner returns: its destructor acts.
pub struct Kept(pub usize);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(env) = try_env() {
            if env.one_in(6) {
                env.quick(self.0);
            }
        }
    }
}

/// A part of a gate, which counts.
pub struct Counted(usize, fn(&Member) -> &Cell<usize>);

impl Counted {
    pub fn new(group: usize, count: fn(&Member) -> &Cell<usize>) -> Self {
        let member = env().group(group);
        count(&member).set(count(&member).get() + 1);
        Self(group, count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(env) = try_env() {
            let member = env.group(self.0);
            let count = (self.1)(&member);
            count.set(count.get() - 1);
        }
    }
}
