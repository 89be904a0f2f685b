//! The scenarios.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use errgroup::{Boxed, CancelError, CancelToken, Group, Handle, Reason};
use futures::future::{BoxFuture, FutureExt, LocalBoxFuture, pending};

/// Runs a future as another task.
type Spawn = fn(BoxFuture<'static, ()>);

/// The scenarios that need no more than that the group is awaited.
pub(crate) const AWAITED: [fn(Spawn) -> BoxFuture<'static, ()>; 6] = [
    |_| limit().boxed(),
    |_| first_error().boxed(),
    |spawn| cancel(spawn).boxed(),
    |spawn| other_tasks(spawn).boxed(),
    |spawn| scope(spawn).boxed(),
    |spawn| moved(spawn).boxed(),
];

/// Yields to the executor, whichever it is.
async fn yields(count: usize) {
    for _ in 0..count {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// Counts children at work.
#[derive(Default)]
struct Marks {
    now: AtomicUsize,
    high: AtomicUsize,
    cleaned: AtomicUsize,
}

impl Marks {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.high.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    fn high(&self) -> usize {
        self.high.load(Ordering::SeqCst)
    }

    fn clean(&self) {
        self.cleaned.fetch_add(1, Ordering::SeqCst);
    }

    fn cleaned(&self) -> usize {
        self.cleaned.load(Ordering::SeqCst)
    }
}

async fn work(marks: &Marks, n: usize) -> Result<usize, String> {
    marks.enter();
    // Each `go` polls the running children once: these are there for at least four of them.
    yields(n % 5 + 4).await;
    marks.leave();
    Ok(n)
}

/// Makes a barrier: the future resolves when [`Done::done`] was called `count` times.
fn barrier(count: usize) -> (Done, impl Future<Output = ()> + Send) {
    let token = CancelToken::new();
    let cancelled = token.cancelled();
    let left = Arc::new(AtomicUsize::new(count));
    let all = async move {
        cancelled.await;
    };
    (Done { token, left }, all)
}

#[derive(Clone)]
struct Done {
    token: CancelToken,
    left: Arc<AtomicUsize>,
}

impl Done {
    fn done(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.token.cancel();
        }
    }
}

/// A hundred children, four at a time.
async fn limit() {
    let marks = Marks::default();
    let mut group = Group::new().with_limit(4);
    for n in 0..100 {
        assert!(group.go(work(&marks, n)).await.is_ok());
    }
    assert_eq!(group.await, Ok(()));
    assert_eq!(marks.high(), 4);
}

/// A child fails; the others are told, and clean up.
async fn first_error() {
    let marks = Marks::default();
    let mut group = Group::new().with_limit(4);
    for n in 0..3 {
        let (token, marks) = (group.token().clone(), &marks);
        group.queue(async move {
            let reason = token.cancelled().await;
            yields(n).await;
            marks.clean();
            Err(format!("interrupted: {reason:?}"))
        });
    }
    group.queue(async {
        yields(3).await;
        Err("the first error".to_string())
    });
    let stopped = group.go(work(&marks, 1)).await;
    assert!(stopped.is_err());
    assert_eq!(stopped.unwrap_err().into_inner().await, Ok(1), "given back");
    assert_eq!(group.await, Err("the first error".to_string()));
    assert_eq!(marks.cleaned(), 3);
}

/// Another task cancels the parent of the group's token.
async fn cancel(spawn: Spawn) {
    let parent = CancelToken::new();
    let marks = Arc::new(Marks::default());
    let mut group = Group::new().with_parent(&parent).err_on_cancel();
    for _ in 0..3 {
        let (token, marks) = (group.token().clone(), Arc::clone(&marks));
        group.queue(async move {
            assert_eq!(token.run(pending::<()>()).await, Err(Reason::Deadline.into()));
            yields(2).await;
            marks.clean();
            Ok::<_, CancelError>(())
        });
    }
    spawn(Box::pin(async move {
        yields(3).await;
        parent.cancel_with(Reason::Deadline);
    }));
    assert_eq!(group.await.unwrap_err().reason(), &Reason::Deadline);
    assert_eq!(marks.cleaned(), 3);
}

/// Other tasks add children by a handle, and learn of the group's end.
async fn other_tasks(spawn: Spawn) {
    let marks = Arc::new(Marks::default());
    let group = Group::<Boxed<'static, usize, String>>::new().with_limit(3);
    let handle = group.handle();
    let adders = 3;
    let (sender, all_done) = barrier(adders);
    handle.queue(async move {
        all_done.await;
        Ok(0)
    });
    for task in 0..adders {
        let (handle, marks, sender) = (handle.clone(), Arc::clone(&marks), sender.clone());
        spawn(Box::pin(async move {
            for n in 0..20 {
                let marks = Arc::clone(&marks);
                let child = async move { work(&marks, n).await };
                if n % 4 == task {
                    handle.queue(child);
                } else {
                    assert!(handle.go(child).await.is_ok());
                }
            }
            sender.done();
        }));
    }
    assert_eq!(group.await, Ok(()));
    assert_eq!(handle.stats().ok, 61);
    assert!(marks.high() <= 3);
    handle.closed().await;
    assert_eq!(handle.token().reason(), Some(Reason::Finished));
}

/// The body of a scope and the children go on beside one another.
async fn scope(spawn: Spawn) {
    let lock = Arc::new(futures::lock::Mutex::new(0));
    let inner = Arc::clone(&lock);
    let (value, output) = Group::<Boxed<'static, (), String>>::new()
        .with_limit(2)
        .scope(async |handle| {
            // A child that holds a lock which the body wants.
            let held = Arc::clone(&inner);
            handle.queue(async move {
                let mut value = held.lock().await;
                yields(5).await;
                *value += 1;
                Ok(())
            });
            yields(1).await;
            let value = *inner.lock().await;

            // A child that adds to its own group, and another task that does so.
            let within = handle.clone();
            let adding = async move {
                for _ in 0..10 {
                    let child = async {
                        yields(1).await;
                        Ok(())
                    };
                    within.go(child).await.map_err(|_| "stopped".to_string())?;
                }
                Ok(())
            };
            assert!(handle.go(adding).await.is_ok());
            let (done, all_done) = barrier(1);
            let elsewhere: Handle<_> = handle.clone();
            spawn(Box::pin(async move {
                assert!(elsewhere.go(async { Ok(()) }).await.is_ok());
                done.done();
            }));
            all_done.await;
            (value, handle)
        })
        .await;
    assert_eq!((value.0, output), (1, Ok(())));
    assert_eq!(value.1.stats().ok, 13);

    let result: Result<(), String> = Group::<Boxed<'static, (), String>>::new()
        .try_scope(async |handle| {
            let token = handle.token().clone();
            handle.queue(async move {
                token.cancelled().await;
                Err("interrupted".to_string())
            });
            yields(2).await;
            Err("the body failed".to_string())
        })
        .await;
    assert_eq!(result, Err("the body failed".to_string()));
}

/// A group is polled a little here, then in another task.
async fn moved(spawn: Spawn) {
    let mut group = Group::<Boxed<'static, (), String>>::new().with_limit(1);
    for n in 0..5 {
        let child = async move {
            yields(n).await;
            Ok(())
        };
        assert!(group.go(child).await.is_ok());
    }
    let handle = group.handle();
    spawn(Box::pin(async move {
        assert_eq!(group.await, Ok(()));
    }));
    handle.closed().await;
    assert_eq!(handle.stats().ok, 5);
}

/// A deadline and a grace, both by the executor's own timer.
pub(crate) fn deadline(
    sleep: fn(Duration) -> LocalBoxFuture<'static, ()>,
) -> LocalBoxFuture<'static, ()> {
    async move {
        // Much later than it takes: the group resolves before.
        let mut group = Group::local().with_deadline(sleep(Duration::from_secs(3600)));
        group.queue(async move {
            sleep(Duration::from_millis(1)).await;
            Ok::<_, CancelError>(())
        });
        assert_eq!(group.await, Ok(()));

        let marks = Marks::default();
        let mut group = Group::local()
            .with_deadline(sleep(Duration::from_millis(5)))
            .with_grace(|| sleep(Duration::from_millis(5)))
            .err_on_cancel();
        let (token, told) = (group.token().clone(), &marks);
        group.queue(async move {
            token.cancelled().await;
            told.clean();
            Ok::<_, CancelError>(())
        });
        group.queue(pending());
        let error = (&mut group).await.unwrap_err();
        assert_eq!(error.reason(), &Reason::Deadline);
        assert_eq!((marks.cleaned(), group.stats().ok, group.stats().dropped), (1, 1, 1));
    }
    .boxed_local()
}

/// Children that are tasks of the executor.
pub(crate) fn on(spawn: Spawn) -> BoxFuture<'static, ()> {
    async move {
        let marks = Arc::new(Marks::default());
        let mut group = Group::on(spawn).with_limit(3).collect();
        for n in 0..50 {
            let marks = Arc::clone(&marks);
            assert!(group.go(async move { work(&marks, n).await }).await.is_ok());
        }
        assert_eq!(group.await, Ok((0..50).collect()));
        assert!(marks.high() <= 3);

        // The first error, and siblings that clean up.
        let mut group = Group::on(spawn);
        for _ in 0..3 {
            let (token, marks) = (group.token().clone(), Arc::clone(&marks));
            group.queue(async move {
                token.cancelled().await;
                marks.clean();
                Ok(())
            });
        }
        group.queue(async {
            yields(2).await;
            Err("broken")
        });
        assert_eq!(group.await, Err("broken"));
        assert_eq!(marks.cleaned(), 3);

        // A group that is dropped takes its children along.
        let (dropped, all_dropped) = barrier(3);
        struct Guard(Done);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.done();
            }
        }
        let mut group = Group::on(spawn);
        for _ in 0..3 {
            let guard = Guard(dropped.clone());
            group.queue(async move {
                let _guard = guard;
                pending::<Result<(), String>>().await
            });
        }
        assert!((&mut group).now_or_never().is_none());
        drop(group);
        all_dropped.await;
    }
    .boxed()
}

/// The same on one thread, for children that are not `Send`.
pub(crate) fn on_local(spawn: fn(LocalBoxFuture<'static, ()>)) -> LocalBoxFuture<'static, ()> {
    async move {
        let marks = Rc::new(Marks::default());
        let mut group = Group::on_local(spawn).with_limit(3).collect();
        for n in 0..50 {
            let marks = Rc::clone(&marks);
            assert!(group.go(async move { work(&marks, n).await }).await.is_ok());
        }
        assert_eq!(group.await, Ok((0..50).collect()));
        assert!(marks.high() <= 3);
        assert_eq!(Rc::strong_count(&marks), 1, "the children are gone");

        let mut group = Group::on_local(spawn);
        let (token, told) = (group.token().clone(), Rc::clone(&marks));
        group.queue(async move {
            token.cancelled().await;
            told.clean();
            Ok(())
        });
        group.queue(async {
            yields(2).await;
            Err("broken")
        });
        assert_eq!(group.await, Err("broken"));
        assert_eq!(marks.cleaned(), 1);
    }
    .boxed_local()
}
