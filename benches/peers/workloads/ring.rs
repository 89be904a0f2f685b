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

const SEATS: usize = 1_000;
const WAKES: usize = 100_000;
/// The distance between children that are woken one after another, so that they are not
/// neighbours in memory.
const STEP: usize = 389;

pub(crate) fn workloads() -> Vec<Workload> {
    let passing = "1,000 children that wait; each one woken wakes another, 100,000 times";
    let passing = Plan::new("none1000/ring", passing, None, SEATS);
    let waiting = "1,000 children that wait; one is woken when none is awake, 100,000 times";
    let waiting = Plan::new("none1000/event", waiting, None, SEATS);
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
    seats: Vec<Seat>,
    /// The child that was woken last.
    at: AtomicUsize,
    /// How many wake-ups are left.
    left: AtomicUsize,
}

#[derive(Default)]
struct Seat {
    turn: AtomicBool,
    waker: AtomicWaker,
}

impl Seat {
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
            seats: (0..SEATS).map(|_| Seat::default()).collect(),
            at: AtomicUsize::new(0),
            left: AtomicUsize::new(WAKES),
        })
    }

    /// Wakes the next child, or all of them at the end. Only one caller runs at a time.
    fn go_on(&self) {
        let left = self.left.load(Ordering::Relaxed) - 1;
        self.left.store(left, Ordering::Relaxed);
        if left == 0 {
            self.seats.iter().for_each(Seat::wake);
        } else {
            let next = (self.at.load(Ordering::Relaxed) + STEP) % SEATS;
            self.at.store(next, Ordering::Relaxed);
            self.seats[next].wake();
        }
    }

    fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}

fn passed_on() -> impl Iterator<Item = impl Future<Output = Outcome> + Send> + Send {
    let ring = Ring::new();
    ring.go_on();
    (0..SEATS).map(move |at| {
        let ring = Arc::clone(&ring);
        async move {
            loop {
                ring.seats[at].turn().await;
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
    (0..SEATS).map(move |at| {
        let ring = Arc::clone(&ring);
        async move {
            while !ring.is_over() {
                ring.seats[at].turn().await;
            }
            Ok(())
        }
    })
}
