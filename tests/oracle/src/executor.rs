//! An executor of one thread, whose wakers note that they were used, and what its tasks wait for.
//!
//! The world polls a task only if it was woken, but for a few polls without a cause, which a future
//! has to bear.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::LocalBoxFuture;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) struct Task {
    pub(crate) name: &'static str,
    /// `None` while it is polled, and once it has ended.
    future: RefCell<Option<LocalBoxFuture<'static, ()>>>,
    woken: RefCell<Arc<Woken>>,
}

#[derive(Default)]
pub(crate) struct Executor {
    tasks: RefCell<Vec<Rc<Task>>>,
    wakers: RefCell<Vec<Weak<Woken>>>,
}

impl Executor {
    fn new_waker(&self) -> Arc<Woken> {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.wakers.borrow_mut().push(Arc::downgrade(&woken));
        woken
    }

    pub(crate) fn spawn(&self, name: &'static str, future: LocalBoxFuture<'static, ()>) {
        let (future, woken) = (RefCell::new(Some(future)), RefCell::new(self.new_waker()));
        self.tasks.borrow_mut().push(Rc::new(Task { name, future, woken }));
    }

    pub(crate) fn alive(&self) -> Vec<Rc<Task>> {
        let is_alive = |task: &&Rc<Task>| task.future.borrow().is_some();
        self.tasks.borrow().iter().filter(is_alive).cloned().collect()
    }

    pub(crate) fn woken(&self) -> Vec<Rc<Task>> {
        let mut tasks = self.alive();
        tasks.retain(|task| task.woken.borrow().0.load(Ordering::SeqCst));
        tasks
    }

    /// Polls a task, with a new waker or with the one of its last poll.
    pub(crate) fn poll(&self, task: &Task, new_waker: bool) {
        if new_waker {
            *task.woken.borrow_mut() = self.new_waker();
        }
        let woken = task.woken.borrow().clone();
        woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(woken);
        let Some(mut future) = task.future.borrow_mut().take() else {
            return;
        };
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            *task.future.borrow_mut() = Some(future);
        }
    }

    pub(crate) fn drop_task(&self, task: &Task) {
        let future = task.future.borrow_mut().take();
        drop(future);
    }

    /// Drops all tasks, and those that their destructors spawn.
    pub(crate) fn clear(&self) {
        while !self.tasks.borrow().is_empty() {
            let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            tasks.iter().for_each(|task| self.drop_task(task));
        }
    }

    /// Returns how many wakers are left, once all tasks are dropped.
    pub(crate) fn leaked_wakers(&self) -> usize {
        self.wakers.borrow().iter().filter(|waker| waker.strong_count() > 0).count()
    }
}

/// Opens once, and wakes what waits for it.
#[derive(Default)]
pub(crate) struct Latch {
    is_open: Cell<bool>,
    waiting: RefCell<Vec<(usize, Waker)>>,
    next: Cell<usize>,
}

impl Latch {
    pub(crate) fn open(&self) {
        self.is_open.set(true);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open.get()
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    pub(crate) fn wait(self: &Rc<Self>) -> Wait {
        let id = self.next.get();
        self.next.set(id + 1);
        Wait { latch: self.clone(), id }
    }

    /// Returns the waker, which is to be dropped once `waiting` is free.
    fn take_waker(&self, id: usize) -> Option<Waker> {
        let mut waiting = self.waiting.borrow_mut();
        let at = waiting.iter().position(|waiting| waiting.0 == id)?;
        Some(waiting.swap_remove(at).1)
    }
}

pub(crate) struct Wait {
    latch: Rc<Latch>,
    id: usize,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.latch.is_open() {
            return Poll::Ready(());
        }
        let before = self.latch.take_waker(self.id);
        self.latch.waiting.borrow_mut().push((self.id, cx.waker().clone()));
        drop(before);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        drop(self.latch.take_waker(self.id));
    }
}

/// Is pending once, after it has woken its task.
#[derive(Default)]
pub(crate) struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
