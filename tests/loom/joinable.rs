//! A joinable child and its handle: the child ends, is dropped or leaves the queue while another
//! thread aborts it. The queue is written again, after `admission/joins.rs`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use loom::thread;

use crate::child::join::{AbortChild, ChildHandle, JoinCell, JoinId, Joinable, Lost};
use crate::task::{check, run};
use crate::util::lock::Mutex;
use crate::util::sync::{Arc, AtomicUsize, Ordering};

pub(crate) type Joined = Pin<Box<Joinable<BoxFuture, usize>>>;
pub(crate) type Handle = ChildHandle<usize>;
pub(crate) type BoxFuture = Pin<Box<dyn Future<Output = Result<usize, ()>> + Send>>;

/// A queue for one child.
#[derive(Default)]
struct Queue(Mutex<Place>);

#[derive(Default)]
struct Place {
    queued: bool,
    /// The running child has ended without a result.
    aborted: bool,
}

impl AbortChild for Queue {
    fn abort_queued(&self, _: JoinId) -> bool {
        std::mem::take(&mut self.0.lock().queued)
    }

    fn void_result(&self, _: JoinId) {
        assert!(!std::mem::replace(&mut self.0.lock().aborted, true), "aborted twice");
    }
}

impl Queue {
    /// Accepts a child. Returns `false` if it was aborted before.
    fn accept(self: &std::sync::Arc<Self>, child: &Joinable<BoxFuture, usize>) -> bool {
        let mut place = self.0.lock();
        place.queued = !child.link().attach(std::sync::Arc::clone(self) as _, JoinId::MIN);
        place.queued
    }

    /// Takes the child out, to run. Returns `false` if it is not there any more.
    fn admit(&self) -> bool {
        std::mem::take(&mut self.0.lock().queued)
    }
}

/// What a child does.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    /// It is done at its first poll.
    Ends,
    /// It wakes itself once.
    Yields,
    /// It is pending until it is dropped.
    Waits,
}

/// Makes a child and its handle.
pub(crate) fn child(does: Does) -> (Joined, Handle) {
    let mut yields = matches!(does, Does::Yields);
    let future = poll_fn(move |cx| {
        if std::mem::take(&mut yields) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if matches!(does, Does::Waits) { Poll::Pending } else { Poll::Ready(Ok::<usize, ()>(7)) }
    });
    let (cell, future) = (JoinCell::new(), Some(Box::pin(future) as BoxFuture));
    let handle = ChildHandle::new(&cell);
    (Box::pin(Joinable { future, cell, if_dropped: Lost::Dropped }), handle)
}

/// Makes the same, and a queue for it.
fn child_and_queue(does: Does) -> (Joined, Handle, std::sync::Arc<Queue>) {
    let (child, handle) = child(does);
    (child, handle, std::sync::Arc::default())
}

/// Polls a child to its end.
fn finish(mut child: Joined) {
    run(|cx| match child.as_mut().poll(cx) {
        Poll::Ready(result) => {
            assert_eq!(result, Ok(()));
            Poll::Ready(())
        }
        Poll::Pending => Poll::Pending,
    });
}

/// Waits for a child's end.
pub(crate) fn join(mut handle: Handle) -> Result<usize, Lost> {
    let mut ending = None;
    run(|cx| match Pin::new(&mut handle).poll(cx) {
        Poll::Ready(result) => {
            ending = Some(result);
            Poll::Ready(())
        }
        Poll::Pending => Poll::Pending,
    });
    ending.expect("it was ready")
}

/// A child runs while its handle aborts it and waits for its end.
fn aborted_while_it_runs(does: Does, may_end: bool) {
    check(3, move || {
        let (child, handle, queue) = child_and_queue(does);
        assert!(queue.accept(&child) && queue.admit());
        let executor = thread::spawn(move || finish(child));
        handle.abort();
        let ending = join(handle);
        executor.join().expect("it does not panic");
        match ending {
            Ok(7) => assert!(may_end && !queue.0.lock().aborted),
            ending => assert!(ending == Err(Lost::Aborted) && queue.0.lock().aborted),
        }
    });
}

#[test]
fn a_child_is_aborted_while_it_ends() {
    aborted_while_it_runs(Does::Ends, true);
}

#[test]
fn a_child_is_aborted_while_it_yields() {
    aborted_while_it_runs(Does::Yields, true);
}

#[test]
fn a_child_is_aborted_while_it_begins_to_wait() {
    aborted_while_it_runs(Does::Waits, false);
}

#[test]
fn a_handle_waits_while_the_child_ends() {
    check(3, || {
        let (child, handle, _) = child_and_queue(Does::Yields);
        let data = Arc::new(AtomicUsize::new(0));
        let executor = {
            let data = Arc::clone(&data);
            thread::spawn(move || {
                // What the child's thread did before is seen with the value.
                data.store(1, Ordering::Relaxed);
                finish(child);
            })
        };
        assert_eq!(join(handle), Ok(7));
        assert_eq!(data.load(Ordering::Relaxed), 1);
        executor.join().expect("it does not panic");
    });
}

#[test]
fn a_child_is_aborted_while_its_group_drops_it() {
    check(3, || {
        let (mut child, handle, queue) = child_and_queue(Does::Waits);
        assert!(queue.accept(&child) && queue.admit());
        let executor = thread::spawn(move || {
            let waker = futures_util::task::noop_waker();
            let _ = child.as_mut().poll(&mut std::task::Context::from_waker(&waker));
            drop(child);
        });
        handle.abort();
        assert!(matches!(join(handle), Err(Lost::Aborted | Lost::Dropped)));
        executor.join().expect("it does not panic");
    });
}

#[test]
fn a_child_is_aborted_while_it_leaves_the_queue() {
    check(3, || {
        let (child, handle, queue) = child_and_queue(Does::Waits);
        assert!(queue.accept(&child));
        let group = {
            let queue = std::sync::Arc::clone(&queue);
            thread::spawn(move || {
                if queue.admit() {
                    finish(child);
                } else {
                    drop(child);
                }
            })
        };
        handle.abort();
        assert_eq!(join(handle), Err(Lost::Aborted));
        group.join().expect("it does not panic");
        assert!(!queue.admit());
    });
}

#[test]
fn a_child_is_aborted_while_it_is_accepted() {
    check(3, || {
        let (child, handle, queue) = child_and_queue(Does::Waits);
        let group = {
            let queue = std::sync::Arc::clone(&queue);
            thread::spawn(move || {
                queue.accept(&child);
                child
            })
        };
        handle.abort();
        let child = group.join().expect("it does not panic");
        assert!(!queue.admit(), "it keeps its place though it was aborted");
        drop(child);
        assert_eq!(join(handle), Err(Lost::Aborted));
    });
}

#[test]
fn a_handle_is_dropped_while_the_child_ends() {
    check(3, || {
        let (child, handle, queue) = child_and_queue(Does::Waits);
        assert!(queue.accept(&child) && queue.admit());
        let mut handle = handle.abort_on_drop();
        let executor = thread::spawn(move || finish(child));
        let waker = futures_util::task::noop_waker();
        let _ = Pin::new(&mut handle).poll(&mut std::task::Context::from_waker(&waker));
        drop(handle);
        executor.join().expect("it does not panic");
    });
}
