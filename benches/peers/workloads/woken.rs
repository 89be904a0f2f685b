//! Children that another thread wakes.

use std::future::Future;
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;

use futures::channel::oneshot;

use super::crowd::{self, Plan};
use crate::common::children::Outcome;
use crate::common::workload::Workload;

const COUNT: usize = 10_000;

pub(crate) fn workloads() -> Vec<Workload> {
    let asking = "10,000 children, each of which asks another thread to wake it";
    let waiting = "10,000 children that another thread wakes when they all wait";
    let asks = || (0..COUNT).map(asks);
    vec![
        crowd::workload(Plan::new("limit64/woken", asking, Some(64), COUNT), asks),
        crowd::workload(Plan::new("limit1000/woken", asking, Some(1_000), COUNT), asks),
        crowd::workload(Plan::new("none10000/woken", waiting, None, COUNT), waits),
    ]
}

/// A thread that completes every channel that it is given.
static COMPLETER: LazyLock<Sender<Vec<oneshot::Sender<()>>>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Vec<oneshot::Sender<()>>>();
    thread::spawn(move || {
        for sender in receiver.into_iter().flatten() {
            // The child may be gone meanwhile.
            let _ = sender.send(());
        }
    });
    sender
});

fn complete(senders: Vec<oneshot::Sender<()>>) {
    COMPLETER.send(senders).expect("the thread lives as long as the process");
}

async fn asks(index: usize) -> Outcome {
    let (sender, receiver) = oneshot::channel();
    complete(vec![sender]);
    receiver.await.map_err(|_| index)
}

/// Makes children of which the last one, when it is polled, has all of them completed.
fn waits() -> impl Iterator<Item = impl Future<Output = Outcome> + Send> + Send {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..COUNT).map(|_| oneshot::channel()).unzip();
    let mut senders = Some(senders);
    receivers.into_iter().enumerate().map(move |(index, receiver)| {
        let all = if index + 1 == COUNT { senders.take() } else { None };
        async move {
            if let Some(all) = all {
                complete(all);
            }
            receiver.await.map_err(|_| index)
        }
    })
}
