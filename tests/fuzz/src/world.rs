//! The tasks of a world, its executor, and its steps.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use async_lock::Semaphore;
use errgroup::CancelToken;
use futures::future::{FutureExt, LocalBoxFuture};

use crate::env::{Boom, Env, Owner, TaskState, What, env, try_env};
use crate::kid::{Kept, Waiting, forget_timers};
use crate::kinds::boom;
use crate::own::{guard, own_any};

/// The waker of a task.
struct TaskWaker(usize);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(env) = try_env() else {
            return;
        };
        let task = env.task(self.0);
        env.wake(self.0);
        if task.hostile && env.one_in(4) {
            env.note(|| format!("the waker of task {} acts", self.0));
            env.quick(0);
        }
    }
}

impl Env {
    // --- tasks ---

    /// Starts a task, which is polled when it has its turn.
    pub fn spawn(&self, what: What, future: LocalBoxFuture<'static, ()>) -> usize {
        // The semaphore wakes under its lock, so wakers do nothing but wake then.
        let hostile = self.semaphore.borrow().is_none() && self.one_in(6);
        let id = self.tasks.borrow().len();
        self.note(|| format!("task {id}: {what:?}"));
        self.tasks.borrow_mut().push(Rc::new(TaskState {
            what,
            future: RefCell::new(Some(future)),
            done: Cell::new(false),
            condemned: Cell::new(false),
            hostile,
            waker: RefCell::default(),
        }));
        self.wake(id);
        id
    }

    /// Notes that a task is woken.
    fn wake(&self, id: usize) {
        if !self.task(id).done.get() {
            self.woken.borrow_mut().insert(id);
        }
    }

    /// Polls a task, unless it is being polled.
    pub fn poll_task(&self, id: usize) {
        let task = self.task(id);
        let Some(mut future) = task.future.borrow_mut().take() else {
            return;
        };
        self.note(|| format!("polls task {id}"));
        self.woken.borrow_mut().remove(&id);
        let waker = {
            let mut known = task.waker.borrow_mut();
            match &*known {
                Some(waker) if !self.one_in(5) => waker.clone(),
                _ => known.insert(Waker::from(Arc::new(TaskWaker(id)))).clone(),
            }
        };
        let depth = self.depth.get();
        let polled = guard(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        self.depth.set(depth);
        let ended = match polled {
            Ok(Poll::Pending) => task.condemned.get(),
            Ok(Poll::Ready(())) => true,
            Err(panic) => {
                self.expect(panic);
                true
            }
        };
        if ended {
            self.finish_task(id, future);
        } else {
            *task.future.borrow_mut() = Some(future);
        }
    }

    fn finish_task(&self, id: usize, future: LocalBoxFuture<'static, ()>) {
        self.note(|| format!("task {id} is dropped"));
        let depth = self.depth.get();
        let dropped = guard(|| drop(future));
        self.depth.set(depth);
        self.task(id).done.set(true);
        self.woken.borrow_mut().remove(&id);
        dropped.err().into_iter().for_each(|panic| self.expect(panic));
    }

    /// Checks that a panic is one that the world wanted.
    #[track_caller]
    pub fn expect(&self, panic: Box<dyn Any + Send>) {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or(panic.downcast_ref::<String>().map(|text| &**text));
        let wanted = panic.is::<Boom>()
            || text.is_some_and(|text| text.starts_with("the executor dropped a child"));
        if !wanted {
            let text = text.unwrap_or("?").to_owned();
            self.fail(|| format!("a panic: {text}"));
        }
    }

    /// Drops a task that owns no group.
    pub fn drop_task(&self, pick: usize) {
        let count = self.tasks.borrow().len();
        for at in (0..count).map(|at| (at + pick) % count) {
            let task = self.task(at);
            if task.done.get() || (matches!(task.what, What::Owner) && pick % 8 != 0) {
                continue;
            }
            task.condemned.set(true);
            let future = task.future.borrow_mut().take();
            if let Some(future) = future {
                self.finish_task(at, future);
            }
            return;
        }
    }

    /// Polls a task that was woken, and is not being polled. Returns `false` if there is none.
    pub fn try_poll_woken(&self, pick: usize) -> bool {
        let first = pick.checked_rem(self.tasks.borrow().len()).unwrap_or(0);
        let at = {
            let woken = self.woken.borrow();
            let mut all = woken.range(first..).chain(woken.range(..first)).copied();
            all.find(|&at| self.task(at).future.borrow().is_some())
        };
        at.into_iter().for_each(|at| self.poll_task(at));
        at.is_some()
    }

    pub fn poll_woken(&self, pick: usize) {
        self.try_poll_woken(pick);
    }

    // --- the executor of `Group::on` ---

    /// Takes a future, runs it, polls it at once, drops it, or panics.
    pub fn execute(&self, at: usize, future: LocalBoxFuture<'static, ()>) -> Kept {
        match self.below(24) {
            20 => {
                self.note(|| "the executor drops a child".into());
                drop(future);
            }
            21 => boom(),
            22 if self.semaphore.borrow().is_none() && self.depth.get() < 3 => {
                let id = self.spawn(What::Executor, future);
                self.poll_task(id);
            }
            23 => self.quick(at),
            _ => {
                self.spawn(What::Executor, future);
            }
        }
        Kept(at)
    }

    // --- steps ---

    /// Starts a task that owns a new group.
    fn start_group(&self) {
        let id = self.tasks.borrow().len();
        let future = own_any(env(), Owner::Task(id));
        self.spawn(What::Owner, future);
    }

    fn step(&self) {
        let at = self.below(self.groups.borrow().len());
        let member = self.group(at);
        let handle = self.handle(at);
        match self.below(32) {
            0..=8 => member.order(),
            9..=16 => self.poll_woken(self.below(8)),
            17 => self.rest(),
            18 | 19 => {
                self.open(self.below(8));
            }
            20 | 21 if handle.is_some() => {
                let env = env();
                let future = async move { env.go(at).await };
                let id = self.spawn(What::Go(at), future.boxed_local());
                self.poll_task(id);
            }
            22 => {
                if let Some(handle) = handle {
                    let feed = handle.feed().map(drop).boxed_local();
                    let id = self.spawn(What::Feed(at), feed);
                    self.poll_task(id);
                }
            }
            23 => {
                if let Some(handle) = handle {
                    let env = env();
                    let future = async move {
                        let waiting = Waiting::new(&env.group(at));
                        let slot = handle.reserve().await;
                        waiting.answered(true);
                        env.slots.borrow_mut().extend(slot.map(|slot| (at, slot)));
                    };
                    let id = self.spawn(What::Reserve(at), future.boxed_local());
                    self.poll_task(id);
                }
            }
            24 => {
                if let Some(handle) = handle {
                    let (closed, env) = (handle.closed(), env());
                    let future = async move {
                        closed.await;
                        env.check_closed(at);
                    };
                    self.spawn(What::Closed(at), future.boxed_local());
                }
            }
            25 => {
                let token = match handle {
                    Some(handle) => handle.token(),
                    None => self.roots.borrow()[0].clone(),
                };
                let token = if self.one_in(3) { token.child() } else { token };
                let cancelled = token.cancelled().map(drop).boxed_local();
                self.spawn(What::Cancelled(token), cancelled);
            }
            26 => {
                if let Some((kid, handle)) = self.pick(&self.joins) {
                    // Dropped before its answer, it may abort the child.
                    self.group(self.kid(kid).group).unsure.set(true);
                    let env = env();
                    let future = handle.map(move |answer| env.check_join(kid, answer));
                    self.spawn(What::Join(kid), future.boxed_local());
                }
            }
            27 => {
                if let Some(semaphore) = self.semaphore.borrow().clone() {
                    let env = env();
                    let future = async move {
                        let permit = semaphore.acquire_arc().await;
                        env.taken.borrow_mut().push(permit);
                    };
                    self.spawn(What::Permit, future.boxed_local());
                }
            }
            28..=30 => self.quick(at),
            31 if self.groups.borrow().len() < 8 => self.start_group(),
            _ => {}
        }
    }

    /// Polls all tasks that were woken, until none is.
    fn rest(&self) {
        let mut polls = 0_usize;
        while self.try_poll_woken(self.below(8)) {
            polls += 1;
            self.check();
            if self.failure().is_some() {
                return;
            }
            if polls > 200_000 {
                return self.fail(|| "the tasks never come to rest".into());
            }
        }
        self.check_at_rest();
    }

    /// Opens all gates, gives back what is taken, and lets everything end.
    fn end(&self) {
        for round in 0..5000 {
            for at in 0..self.groups.borrow().len() {
                self.group(at).end();
            }
            self.rest();
            if self.failure().is_some() || self.tasks.borrow().iter().all(|task| task.done.get()) {
                break;
            }
            if round > 4000 {
                let left: Vec<_> = {
                    let tasks = self.tasks.borrow();
                    let left = tasks.iter().enumerate().filter(|(_, task)| !task.done.get());
                    left.map(|(id, task)| (id, task.what.clone())).collect()
                };
                return self.fail(|| format!("it never ends: {left:?}"));
            }
            let (holds, slots) = (self.holds.take(), self.slots.take());
            drop((holds, slots));
            while self.give() {}
            while self.open(0) {}
            for at in 0..self.groups.borrow().len() {
                if let Some(handle) = self.handle(at) {
                    if handle.limit() == Some(0) {
                        handle.set_limit(Some(1));
                    }
                }
            }
            // Tokens on which tasks wait, and that no call cancels.
            let root = self.roots.borrow()[0].clone();
            if round > 50 {
                root.cancel();
            }
            // A token whose group is gone, and a child of one.
            let waits: Vec<_> = (0..self.tasks.borrow().len())
                .filter(|&id| matches!(self.task(id).what, What::Cancelled(_)))
                .filter(|_| round > 60)
                .collect();
            for id in waits {
                if let What::Cancelled(token) = &self.task(id).what {
                    token.cancel();
                }
            }
        }
    }

    /// Drops all that is left, and checks that every child is.
    fn leave(&self) {
        for id in 0..self.tasks.borrow().len() {
            let future = self.task(id).future.borrow_mut().take();
            drop(guard(|| drop(future)));
        }
        drop((self.joins.take(), self.slots.take(), self.holds.take(), self.wakers.take()));
        for at in 0..self.groups.borrow().len() {
            let handle = self.group(at).handle.borrow_mut().take();
            drop(handle);
        }
        forget_timers();
    }
}

/// Makes a world of bytes and runs it.
///
/// # Panics
///
/// Panics if a promise is broken.
pub fn run(bytes: &[u8], trace: bool) {
    let env = Env::install(bytes, trace);
    let done = guard(|| {
        env.roots.borrow_mut().push(CancelToken::new());
        if env.one_in(3) {
            *env.semaphore.borrow_mut() = Some(Arc::new(Semaphore::new(1 + env.below(3))));
        }
        for _ in 0..1 + env.below(3) {
            env.start_group();
        }
        while !env.is_out() && env.failure().is_none() {
            let step = guard(|| env.step());
            env.depth.set(0);
            step.err().into_iter().for_each(|panic| env.expect(panic));
            env.check();
            if env.woken.borrow().is_empty() {
                env.check_at_rest();
            }
        }
        if env.failure().is_none() {
            env.end();
        }
        if env.failure().is_none() {
            env.check_end();
        }
    });
    done.err().into_iter().for_each(|panic| env.expect(panic));
    let failure = env.failure();
    drop(guard(|| env.leave()));
    Env::uninstall();
    if let Some(failure) = failure {
        panic!("{failure}");
    }
}
