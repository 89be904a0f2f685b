//! Cancel tokens: ours and tokio-util's.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};

use errgroup::CancelToken;
use tokio_util::sync::CancellationToken;

use crate::common::block_on::block_on;
use crate::common::children::yields;
use crate::common::workload::{Meter, Workload, measured};

/// How often a run does its operation.
const TIMES: usize = 10_000;
const DEPTH: usize = 1_000;

const OURS: &str = "errgroup `CancelToken`";
const THEIRS: &str = "tokio-util `CancellationToken`";

pub(crate) fn workloads() -> Vec<Workload> {
    macro_rules! workload {
        ($name:literal, $title:literal, $times:expr, $unit:literal, $run:ident) => {{
            let mut workload = Workload::new($name, $title, $times, OURS).per($unit);
            workload.add_parts(OURS, $run::<CancelToken>);
            workload.add_parts(THEIRS, $run::<CancellationToken>);
            workload
        }};
    }
    vec![
        workload!("token/look", "`is_cancelled`", TIMES, "call", look),
        workload!("token/clone", "a clone made and dropped", TIMES, "clone", clone),
        workload!("token/child", "a child made and dropped", TIMES, "child", child),
        workload!("token/wait", "a wait registered and dropped", TIMES, "wait", wait),
        workload!("token/cancel", "10,000 waiters cancelled", TIMES, "waiter", cancel),
        workload!(
            "token/run-ready",
            "`run` around a future that is ready",
            TIMES,
            "run",
            run_ready
        ),
        workload!(
            "token/run-yield1",
            "`run` around one that yields once",
            TIMES,
            "run",
            run_yielding
        ),
        workload!("token/tree", "a tree 1,000 deep cancelled at its root", DEPTH, "token", tree),
    ]
}

/// The operations that both tokens have.
trait Token: Clone + 'static {
    fn new() -> Self;
    fn child(&self) -> Self;
    fn cancel(&self);
    fn is_cancelled(&self) -> bool;
    fn cancelled(&self) -> impl Future;
    fn run<F: Future>(&self, future: F) -> impl Future;
}

impl Token for CancelToken {
    fn new() -> Self {
        Self::new()
    }

    fn child(&self) -> Self {
        self.child()
    }

    fn cancel(&self) {
        self.cancel();
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn cancelled(&self) -> impl Future {
        self.cancelled()
    }

    fn run<F: Future>(&self, future: F) -> impl Future {
        self.run(future)
    }
}

impl Token for CancellationToken {
    fn new() -> Self {
        Self::new()
    }

    fn child(&self) -> Self {
        self.child_token()
    }

    fn cancel(&self) {
        self.cancel();
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn cancelled(&self) -> impl Future {
        self.cancelled()
    }

    fn run<F: Future>(&self, future: F) -> impl Future {
        self.run_until_cancelled(future)
    }
}

fn look<T: Token>(meter: &mut dyn Meter) {
    let token = T::new();
    measured(meter, || {
        for _ in 0..TIMES {
            black_box(black_box(&token).is_cancelled());
        }
    });
}

fn clone<T: Token>(meter: &mut dyn Meter) {
    let token = T::new();
    measured(meter, || {
        for _ in 0..TIMES {
            drop(black_box(black_box(&token).clone()));
        }
    });
}

fn child<T: Token>(meter: &mut dyn Meter) {
    let token = T::new();
    measured(meter, || {
        for _ in 0..TIMES {
            drop(black_box(black_box(&token).child()));
        }
    });
}

fn wait<T: Token>(meter: &mut dyn Meter) {
    let token = T::new();
    let mut cx = Context::from_waker(Waker::noop());
    measured(meter, || {
        for _ in 0..TIMES {
            let wait = pin!(token.cancelled());
            assert!(wait.poll(&mut cx).is_pending());
        }
    });
}

fn cancel<T: Token>(meter: &mut dyn Meter) {
    let token = T::new();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waits: Vec<_> = (0..TIMES).map(|_| Box::pin(token.cancelled())).collect();
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut cx).is_pending());
    }
    measured(meter, || {
        token.cancel();
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut cx).is_ready());
        }
    });
}

fn run_ready<T: Token>(meter: &mut dyn Meter) {
    run::<T>(meter, 0);
}

fn run_yielding<T: Token>(meter: &mut dyn Meter) {
    run::<T>(meter, 1);
}

fn run<T: Token>(meter: &mut dyn Meter, times: u32) {
    let token = T::new();
    measured(meter, || {
        block_on(async {
            for _ in 0..TIMES {
                black_box(token.run(yields(times)).await);
            }
        });
    });
}

fn tree<T: Token>(meter: &mut dyn Meter) {
    let mut tree = vec![T::new()];
    while tree.len() < DEPTH {
        tree.push(tree[tree.len() - 1].child());
    }
    measured(meter, || tree[0].cancel());
    assert!(tree[DEPTH - 1].is_cancelled());
}
