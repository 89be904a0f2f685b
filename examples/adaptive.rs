//! Finds the limit at which a server answers the most requests, and stays there, with nothing but
//! `set_limit` and an observer.
//!
//! ```sh
//! cargo run --release --example adaptive
//! ```
//!
//! A server on this machine answers at one speed as long as it has at most [`KNEE`] requests at a
//! time. The more it has beyond that, the slower it gets, so more requests at a time mean fewer
//! answers. The client does not know this knee.
//!
//! The method is TCP's: additive increase, multiplicative decrease (Chiu and Jain, "Analysis of
//! the Increase and Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989),
//! with delay as the signal, as in TCP Vegas (Brakmo, O'Malley and Peterson, 1994): if answers take
//! longer than at best, requests wait in the server, and one more at a time makes it worse. The
//! group does the rest: a raised limit admits waiting children at once, a lowered one lets the
//! running ones finish.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use errgroup::{Boxed, Event, Group, Handle, Observer, Outcome};
use futures::stream;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{LocalExecutor, Timer};

/// How many requests at a time the server can handle at full speed.
const KNEE: usize = 10;

/// How long an answer takes then.
const SERVICE: Duration = Duration::from_millis(40);

type Requests = Boxed<'static, (), io::Error>;

// === the client ===

/// Sets the group's limit according to how long its children take.
struct Aimd {
    /// Set when the group exists.
    group: Arc<OnceLock<Handle<Requests>>>,
    begin: Instant,
    began: BTreeMap<usize, Instant>,
    /// The shortest time that any child took.
    best: Duration,
    /// The times of the children that began after the last change.
    window: Vec<Duration>,
    since: Instant,
    record: Arc<Mutex<Record>>,
}

/// What happened, and when.
#[derive(Default)]
struct Record {
    limits: Vec<(Duration, usize)>,
    answers: Vec<Duration>,
}

impl Aimd {
    /// Records an answer, and returns the new limit. It changes once as many answers have come as
    /// are requested at a time.
    fn learn(&mut self, took: Duration, limit: usize) -> usize {
        self.best = self.best.min(took);
        self.window.push(took);
        if self.window.len() < limit {
            return limit;
        }
        self.window.sort_unstable();
        let median = self.window[self.window.len() / 2];
        self.window.clear();
        self.since = Instant::now();
        if median > self.best.mul_f64(1.25) { (limit * 3 / 4).max(1) } else { limit + 1 }
    }
}

impl Observer for Aimd {
    fn on_event(&mut self, event: &Event) {
        let now = Instant::now();
        let Some(group) = self.group.get().cloned() else {
            return;
        };
        match event {
            Event::Started { index, .. } => {
                self.began.insert(*index, now);
            }
            Event::Finished { index: Some(index), outcome: Outcome::Ok, .. } => {
                let record = Arc::clone(&self.record);
                let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
                record.answers.push(now - self.begin);
                let (Some(began), Some(limit)) = (self.began.remove(index), group.limit()) else {
                    return;
                };
                if began >= self.since {
                    let better = self.learn(now - began, limit);
                    if better != limit {
                        group.set_limit(Some(better));
                        record.limits.push((now - self.begin, better));
                    }
                }
            }
            _ => {}
        }
    }
}

async fn ask(server: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(b"?").await?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await
}

/// Asks again and again, for as long as `time`. Its end is none too early, so the deadline is no
/// error.
async fn ask_adaptively(server: SocketAddr, time: Duration) -> io::Result<Record> {
    let (slot, record) = (Arc::new(OnceLock::new()), Arc::<Mutex<Record>>::default());
    let now = Instant::now();
    let mut group =
        Group::new().with_limit(1).with_deadline(Timer::after(time)).with_observer(Aimd {
            group: Arc::clone(&slot),
            begin: now,
            began: BTreeMap::new(),
            best: Duration::MAX,
            window: Vec::new(),
            since: now,
            record: Arc::clone(&record),
        });
    let _ = slot.set(group.handle());
    group.feed(stream::repeat_with(|| ask(server))).await;
    group.await?;
    let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *record))
}

/// Does the same with a fixed limit; returns the answers per second.
async fn ask_at(limit: usize, server: SocketAddr, time: Duration) -> io::Result<f64> {
    let mut group = Group::new().with_limit(limit).with_deadline(Timer::after(time));
    group.feed(stream::repeat_with(|| ask(server))).await;
    let answers = group.stats().ok;
    group.await?;
    Ok(answers as f64 / time.as_secs_f64())
}

// === the server ===

/// Answers requests on a thread of its own.
fn serve() -> io::Result<SocketAddr> {
    let listener = smol::block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let busy = AtomicUsize::new(0);
        let executor = LocalExecutor::new();
        smol::block_on(executor.run(async {
            while let Ok((stream, _)) = listener.accept().await {
                executor.spawn(answer(stream, &busy)).detach();
            }
        }));
    });
    Ok(address)
}

async fn answer(mut stream: TcpStream, busy: &AtomicUsize) -> io::Result<()> {
    stream.read_exact(&mut [0]).await?;
    let count = busy.fetch_add(1, Ordering::Relaxed) + 1;
    // Beyond the knee, requests slow one another down.
    let load = (count as f64 / KNEE as f64).max(1.0);
    Timer::after(SERVICE.mul_f64(load * load)).await;
    busy.fetch_sub(1, Ordering::Relaxed);
    stream.write_all(b"!").await
}

fn main() -> io::Result<()> {
    let server = serve()?;
    println!("the server handles {KNEE} at a time\n");
    let mut best = 0.0_f64;
    for limit in [KNEE / 2, KNEE, 2 * KNEE] {
        let rate = smol::block_on(ask_at(limit, server, Duration::from_millis(600)))?;
        println!("limit {limit:>2}: {rate:>4.0} answers a second");
        best = best.max(rate);
    }
    let time = Duration::from_millis(2000);
    let Record { limits, answers } = smol::block_on(ask_adaptively(server, time))?;
    let learnt = time / 2;
    let answers = answers.iter().filter(|at| (learnt..time).contains(at)).count();
    let rate = answers as f64 / (time - learnt).as_secs_f64();
    println!("adaptive: {rate:>4.0} answers a second, {:.0} % of the best", 100.0 * rate / best);

    println!("\nhow the limit moved:");
    for (at, limit) in &limits {
        println!("{:>5} ms {limit:>3} {}", at.as_millis(), "#".repeat(*limit));
    }
    let mut late: Vec<_> =
        limits.iter().filter(|(at, _)| *at >= learnt).map(|(_, limit)| *limit).collect();
    late.sort_unstable();
    let median = late.get(late.len() / 2).copied().unwrap_or_default();
    println!("\nin the second half mostly {median}");
    Ok(())
}
