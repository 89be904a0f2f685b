//! The future of a child, which records how it is polled, and the ways in which it is offered.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use errgroup::{Joinable, Key, Task, task};
use futures::future::LocalBoxFuture;

use crate::actor::Actor;
use crate::record::{ChildRecord, Stage};
use crate::world::World;

/// The payload of the panics of children and gates.
pub(crate) struct Panic;

/// Panics without a message.
pub(crate) fn panic_now() -> ! {
    resume_unwind(Box::new(Panic))
}

pub(crate) struct ChildFuture {
    pub(crate) record: Rc<ChildRecord>,
    actor: Actor,
    script: Option<LocalBoxFuture<'static, Result<(), u32>>>,
}

struct ChildWaker {
    woken: Arc<AtomicBool>,
    waker: Waker,
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.waker.wake_by_ref();
    }
}

impl ChildFuture {
    pub(crate) fn new(
        actor: Actor,
        record: Rc<ChildRecord>,
        script: LocalBoxFuture<'static, Result<(), u32>>,
    ) -> Self {
        Self { record, actor, script: Some(script) }
    }

    /// Checks that it may be polled now.
    fn begin_poll(&self) {
        let record = &self.record;
        match record.stage.get() {
            Stage::Offered | Stage::Accepted => {
                self.actor.world.check_start(record);
                record.stage.set(Stage::Running);
            }
            // An executor may poll a task that was not woken.
            Stage::Running if !record.group.is_spawned && !record.woken.load(Ordering::SeqCst) => {
                self.actor.fault(format_args!("child {} is polled unwoken", record.id));
            }
            Stage::Running => {}
            stage => {
                self.actor.fault(format_args!("child {} is polled, though {stage:?}", record.id));
            }
        }
        record.woken.store(false, Ordering::SeqCst);
    }

    /// Records its end.
    fn end(&self, result: Option<Result<(), u32>>) {
        let (record, group) = (&self.record, &self.record.group);
        let stage = match result {
            Some(Ok(())) => Stage::Ok,
            Some(Err(_)) => Stage::Failed,
            None => Stage::Panicked,
        };
        record.stage.set(stage);
        self.actor.log(format_args!("child {} ends: {stage:?}", record.id));
        let daemon = record.options.daemon;
        match result {
            Some(result) => {
                if group.is_stream.get() && !(daemon && result.is_ok()) {
                    group.unread.borrow_mut().push_back(record.clone());
                }
                group.record_result(result, daemon);
            }
            None => group.record_panic(),
        }
    }
}

impl Future for ChildFuture {
    type Output = Result<(), u32>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.begin_poll();
        let this = &mut *self;
        let waker = ChildWaker { woken: this.record.woken.clone(), waker: cx.waker().clone() };
        let waker = Waker::from(Arc::new(waker));
        this.actor.world.polling.borrow_mut().push(this.record.clone());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let script = this.script.as_mut().expect("a script until the drop");
            script.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        this.actor.world.polling.borrow_mut().pop();
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(result)) => {
                this.end(Some(result));
                Poll::Ready(result)
            }
            Err(payload) => {
                this.end(None);
                resume_unwind(payload)
            }
        }
    }
}

impl Drop for ChildFuture {
    fn drop(&mut self) {
        let record = &self.record;
        let before = record.stage.get();
        if !record.is_over() {
            record.stage.set(Stage::Dropped);
            self.actor.log(format_args!("child {} is dropped, {before:?}", record.id));
        }
        drop(self.script.take());
        record.is_dropped.set(true);
        let world = &self.actor.world;
        if world.features.destructors && world.chance(3) && !std::thread::panicking() {
            self.actor.act_in_destructor();
        }
    }
}

pub(crate) fn key(number: usize) -> Key {
    Key::from(number)
}

/// A child as a group is offered it.
pub(crate) enum Offer {
    Bare(ChildFuture),
    Task(Task<ChildFuture>),
    Joinable(Task<Joinable<ChildFuture>>),
}

impl Offer {
    pub(crate) fn new(child: ChildFuture, world: &World) -> Self {
        let record = child.record.clone();
        if record.options.joinable {
            let (task, handle) = with_options(child).joinable();
            world.join_handles.borrow_mut().push((record, handle));
            Self::Joinable(task)
        } else if record.options.is_plain() {
            Self::Bare(child)
        } else {
            Self::Task(with_options(child))
        }
    }
}

/// Evaluates an expression for the child of an [`Offer`], whatever its type.
macro_rules! each {
    ($offer:expr, $child:ident => $result:expr) => {
        match $offer {
            $crate::child::Offer::Bare($child) => $result,
            $crate::child::Offer::Task($child) => $result,
            $crate::child::Offer::Joinable($child) => $result,
        }
    };
}
pub(crate) use each;

pub(crate) fn with_options(child: ChildFuture) -> Task<ChildFuture> {
    let record = child.record.clone();
    let options = &record.options;
    let mut task = task(child);
    if options.weight != 1 {
        task = task.weight(options.weight);
    }
    if options.priority != 0 {
        task = task.priority(options.priority);
    }
    if let Some(number) = options.key {
        task = task.key(key(number));
        if options.unique {
            task = task.unique();
        }
    }
    if options.daemon {
        task = task.daemon();
    }
    if options.until_stop {
        task = task.until_stop();
    }
    if options.named {
        task = task.name(record.id.to_string());
    }
    task
}
