//! An actor that owns a set of lookups, which is empty now and then.
//!
//! ```sh
//! cargo run --release --example actor
//! ```
//!
//! Clients send names to the actor, and it answers with what a slow directory says. Requests for
//! the same name share one lookup, and at most two lookups run at a time. The set of lookups is a
//! stream of their results, which the loop polls beside the channel. It is held, so that it is
//! pending while there is nothing to look up, instead of at its end. When the last client is gone
//! the set is closed: what was asked for is answered, and then the loop ends.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use errgroup::{Group, Stats};
use futures::future::join_all;
use futures::stream::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

struct Request {
    name: &'static str,
    reply: oneshot::Sender<usize>,
}

/// Asks the directory for a name's number. Every name has one.
async fn look_up(name: &'static str) -> Result<(&'static str, usize), Infallible> {
    sleep(Duration::from_millis(10)).await;
    Ok((name, name.len()))
}

/// Answers requests until all senders are gone. Returns the statistics of the lookups.
async fn answer(mut requests: mpsc::Receiver<Request>) -> Stats {
    let mut lookups = Group::new().with_limit(2).results();
    let _hold = lookups.hold();
    let mut waiting: HashMap<_, Vec<_>> = HashMap::new();
    loop {
        tokio::select! {
            request = requests.recv(), if !lookups.is_closing() => match request {
                Some(Request { name, reply }) => {
                    let replies = waiting.entry(name).or_default();
                    if replies.is_empty() {
                        lookups.queue(look_up(name));
                    }
                    replies.push(reply);
                }
                None => lookups.close(),
            },
            result = lookups.next() => match result {
                Some(Ok((name, number))) => {
                    for reply in waiting.remove(name).into_iter().flatten() {
                        // A client that has gone needs no answer.
                        let _ = reply.send(number);
                    }
                }
                Some(Err(never)) => match never {},
                None => return lookups.stats(),
            },
        }
    }
}

async fn ask(
    requests: &mpsc::Sender<Request>,
    name: &'static str,
) -> Option<(&'static str, usize)> {
    let (reply, number) = oneshot::channel();
    requests.send(Request { name, reply }).await.ok()?;
    Some((name, number.await.ok()?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (sender, receiver) = mpsc::channel(8);
    let client = async move {
        for names in [["ada", "grace", "ada"], ["edsger", "ada", "edsger"]] {
            for (name, number) in
                join_all(names.map(|name| ask(&sender, name))).await.into_iter().flatten()
            {
                println!("{name}: {number}");
            }
            // The actor has nothing to do meanwhile.
            sleep(Duration::from_millis(20)).await;
        }
        // Sent, and not waited for.
        let (reply, _) = oneshot::channel();
        let _ = sender.send(Request { name: "barbara", reply }).await;
    };
    let ((), stats) = futures::join!(client, answer(receiver));
    println!("{} lookups, {} dropped", stats.ok, stats.dropped);
}
