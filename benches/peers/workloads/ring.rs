//! Many waiting children, of which one is woken at a time.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;

use super::crowd::{self, Plan};
use crate::common::block_on::when_idle;
use crate::common::children::Outcome;
use crate::common::workload::Workload;

const MEMBERS: usize = 1_000;
const WAKES: usize = 100_000;
/// The distance between children that are woken one after another, so that they are not
/// neighbours in memory.
const STEP: usize = 389;

pub(crate) fn workloads() -> Vec<Workload> {
    let passing = "1,000 children that wait; each one woken wakes another, 100,000 times";
    let passing = Plan::new("none1000/ring", passing, None, MEMBERS);
    let waiting = "1,000 children that wait; one is woken when none is awake, 100,000 times";
    let waiting = Plan::new("none1000/event", waiting, None, MEMBERS);
    // An idle thread wakes the next child, and there should be one such thread.
    let waiting = Plan { parallel: false, ..waiting };
    [crowd::workload(passing, passed_on), crowd::workload(waiting, woken_when_idle)]
        .map(|mut workload| {
            workload.units = WAKES;
            workload.per("wake")
        })
        .into()
}

struct Ring {
    members: Vec<Member>,
    /// The child that was woken last.
    at: AtomicUsize,
    /// How many wake-ups are left.
    left: AtomicUsize,
}

#[derive(Default)]
struct Member {
    turn: AtomicBool,
    waker: AtomicWaker,
}

impl Member {
    fn wake(&self) {
        self.turn.store(true, Ordering::Release);
        self.waker.wake();
    }

    async fn turn(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.turn.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Ring {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            members: (0..MEMBERS).map(|_| Member::default()).collect(),
            at: AtomicUsize::new(0),
            left: AtomicUsize::new(WAKES),
        })
    }

    /// Wakes the next child, or all of them at the end. Only one caller runs at a time.
    fn go_on(&self) {
        let left = self.left.load(Ordering::Relaxed) - 1;
        self.left.store(left, Ordering::Relaxed);
        if left == 0 {
            self.members.iter().for_each(Member::wake);
        } else {
            let next = (self.at.load(Ordering::Relaxed) + STEP) % MEMBERS;
            self.at.store(next, Ordering::Relaxed);
            self.members[next].wake();
        }
    }

    fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

fn passed_on() -> impl Iterator<Item = impl Future<Output = Outcome> + Send> + Send {
    let ring = Ring::new();
    ring.go_on();
    (0..MEMBERS).map(move |at| {
        let ring = Arc::clone(&ring);
        async move {
            loop {
                ring.members[at].turn().await;
                if ring.is_over() {
                    return Ok(());
                }
                ring.go_on();
            }
        }
    })
}

fn woken_when_idle() -> impl Iterator<Item = impl Future<Output = Outcome> + Send> + Send {
    let ring = Ring::new();
    let idle = Arc::clone(&ring);
    when_idle(move || {
        let wakes = !idle.is_over();
        if wakes {
            idle.go_on();
        }
        wakes
    });
    (0..MEMBERS).map(move |at| {
        let ring = Arc::clone(&ring);
        async move {
            while !ring.is_over() {
                ring.members[at].turn().await;
            }
            Ok(())
        }
    })
}
