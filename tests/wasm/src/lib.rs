//! A group in a program for the web, whose only executor is the event loop of JavaScript.
//!
//! `run.mjs` gives it two functions, a timer and a print, and calls it when a timer is due.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use errgroup::{CancelError, Group, Reason, task};

#[link(wasm_import_module = "host")]
unsafe extern "C" {
    /// Lets the host call `fire(id)` after some milliseconds.
    safe fn set_timeout(id: u32, milliseconds: u32);
    /// Prints a line.
    fn print(text: *const u8, length: usize);
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct Timers {
    next: u32,
    /// Those that were asked for, with their wakers, and `None` once they are due.
    waiting: BTreeMap<u32, Option<Waker>>,
}

thread_local! {
    static MAIN: RefCell<Option<Task>> = const { RefCell::new(None) };
    static TIMERS: RefCell<Timers> = RefCell::default();
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls the program as long as it wakes itself.
fn run() {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Arc::clone(&woken).into();
    MAIN.with_borrow_mut(|main| {
        while woken.0.swap(false, Ordering::Relaxed) {
            let Some(future) = main else { return };
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *main = None;
            }
        }
    });
}

#[unsafe(no_mangle)]
pub extern "C" fn start() {
    MAIN.set(Some(Box::pin(program())));
    run();
}

#[unsafe(no_mangle)]
pub extern "C" fn fire(id: u32) {
    // A timer that was dropped is no longer there.
    let waker = TIMERS.with_borrow_mut(|timers| timers.waiting.get_mut(&id).and_then(Option::take));
    if let Some(waker) = waker {
        waker.wake();
        run();
    }
}

fn say(line: &str) {
    // The host reads the text before it returns.
    unsafe { print(line.as_ptr(), line.len()) }
}

struct Sleep(u32);

impl Drop for Sleep {
    fn drop(&mut self) {
        TIMERS.with_borrow_mut(|timers| timers.waiting.remove(&self.0));
    }
}

async fn sleep(milliseconds: u32) {
    let mut sleep = None;
    poll_fn(|cx| {
        TIMERS.with_borrow_mut(|timers| match &sleep {
            None => {
                timers.next += 1;
                timers.waiting.insert(timers.next, Some(cx.waker().clone()));
                sleep = Some(Sleep(timers.next));
                set_timeout(timers.next, milliseconds);
                Poll::Pending
            }
            Some(Sleep(id)) => match timers.waiting.get_mut(id) {
                Some(Some(waker)) => {
                    waker.clone_from(cx.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            },
        })
    })
    .await;
}

async fn program() {
    // Values in order, two at a time.
    let squares = errgroup::map(2, [3, 1, 2], async |n: u32| {
        sleep(n * 5).await;
        Ok::<_, String>(n * n)
    });
    say(&format!("squares: {:?}", squares.await));

    // The first error; its sibling cleans up.
    let mut group = Group::local().with_limit(4).named();
    let token = group.token().clone();
    group.queue(async move {
        let reason = token.cancelled().await;
        say(&format!("told: {reason}"));
        Ok(())
    });
    group.queue(
        task(async {
            sleep(10).await;
            Err("no answer".to_string())
        })
        .name("fetch"),
    );
    say(&format!("failed: {}", group.await.unwrap_err()));

    // A deadline by the timer of the host.
    let mut group = Group::local().with_deadline(sleep(10)).drop_on_stop().err_on_cancel();
    group.queue(async {
        sleep(1_000).await;
        Ok::<(), CancelError>(())
    });
    let error = group.await.unwrap_err();
    assert_eq!(error.reason(), &Reason::Deadline);
    say(&format!("{error}"));
    say("done");
}
