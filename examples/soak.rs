//! Random work for as long as it is told to, with the promises checked all along:
//! `cargo run --release --example soak -- --minutes 10`.
//!
//! Groups run on tokio's threads, one after another on each of four tasks: some poll their children
//! themselves, some hand them to tokio. Tasks add children through handles, children add others,
//! fail, yield and sleep, groups are cancelled and dropped. Each child is counted when it is made,
//! begins, and is dropped. Every ten seconds the counters and the memory of the process are
//! printed. It panics if a count is wrong, and if the memory grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use errgroup::{Boxed, Children, Group, Handle, Spawned, Stats, task};
use tokio::task::JoinSet;

/// What has been counted since the start, of all groups.
#[derive(Default)]
struct Counts {
    groups: AtomicU64,
    children: AtomicU64,
    polled: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// The children of one group.
struct Run {
    total: &'static Counts,
    limit: usize,
    made: AtomicUsize,
    dropped: AtomicUsize,
    running: AtomicUsize,
}

/// Counts the drop of a child.
struct Made(Arc<Run>);

impl Drop for Made {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Relaxed);
        self.0.total.dropped.fetch_add(1, Relaxed);
    }
}

/// Counts a child that runs.
struct Running<'a>(&'a Run);

impl<'a> Running<'a> {
    fn new(run: &'a Run) -> Self {
        let running = run.running.fetch_add(1, Relaxed) + 1;
        assert!(running <= run.limit, "{running} children run, the limit is {}", run.limit);
        Self(run)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

/// Numbers that look random.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % n
    }

    fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX >> 20).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
}

type Work = std::pin::Pin<Box<dyn Future<Output = Result<(), u32>> + Send>>;

/// A child of either kind of group.
trait Kind: Children<Ok = (), Err = u32> + Sized + 'static {
    fn queue(handle: &Handle<Self>, work: Work, random: &mut Random);
    fn go(handle: Handle<Self>, work: Work) -> impl Future<Output = bool> + Send;
}

macro_rules! kind {
    ($kind:ty) => {
        impl Kind for $kind {
            fn queue(handle: &Handle<Self>, work: Work, random: &mut Random) {
                match random.below(8) {
                    0 => handle.queue(task(work).priority(random.below(3) as i32)),
                    1 => handle.queue(task(work).key(random.below(5)).name("a child")),
                    2 => handle.queue(task(work).until_stop()),
                    _ => handle.queue(work),
                }
            }

            async fn go(handle: Handle<Self>, work: Work) -> bool {
                handle.go(work).await.is_ok()
            }
        }
    };
}

kind!(Boxed<'static, (), u32>);
kind!(Spawned<(), u32>);

/// Makes a child that does something at random.
fn child<K: Kind>(run: &Arc<Run>, handle: &Handle<K>, random: &mut Random) -> Work
where
    Handle<K>: Send + Sync,
{
    run.made.fetch_add(1, Relaxed);
    run.total.children.fetch_add(1, Relaxed);
    let (made, handle, mut random) = (Made(Arc::clone(run)), handle.clone(), random.fork());
    Box::pin(async move {
        let run = Arc::clone(&made.0);
        let _running = Running::new(&run);
        run.total.polled.fetch_add(1, Relaxed);
        match random.below(200) {
            0 => tokio::time::sleep(Duration::from_micros(random.below(500))).await,
            1..=3 => {
                let added = child(&run, &handle, &mut random);
                K::queue(&handle, added, &mut random);
            }
            4 => {
                let added = child(&run, &handle, &mut random);
                K::go(handle.clone(), added).await;
            }
            5..=60 => {
                for _ in 0..random.below(4) {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
        drop(made);
        if random.below(50_000) == 0 {
            run.total.failed.fetch_add(1, Relaxed);
            return Err(7);
        }
        Ok(())
    })
}

/// Runs one group to its end.
async fn one<K: Kind>(group: Group<K>, limit: usize, total: &'static Counts, random: &mut Random)
where
    Handle<K>: Send + Sync,
    Group<K>: Future<Output = Result<(), u32>> + Send + Unpin,
{
    let count = |_| AtomicUsize::new(0);
    let [made, dropped, running] = [(); 3].map(count);
    let run = Arc::new(Run { total, limit, made, dropped, running });
    let mut group = group.with_limit(limit).with_key_limit(1 + random.below(8) as usize);
    let (handle, hold) = (group.handle(), group.hold());
    let producers: Vec<_> = (0..3)
        .map(|_| {
            let (run, handle, mut random) = (Arc::clone(&run), handle.clone(), random.fork());
            let hold = hold.clone();
            tokio::spawn(async move {
                for _ in 0..random.below(20_000) {
                    let added = child(&run, &handle, &mut random);
                    if random.below(4) == 0 {
                        K::queue(&handle, added, &mut random);
                    } else if !K::go(handle.clone(), added).await {
                        break;
                    }
                }
                drop(hold);
            })
        })
        .collect();
    drop(hold);
    let fate = random.below(10);
    if fate < 2 {
        let patience = Duration::from_millis(random.below(20));
        if tokio::time::timeout(patience, &mut group).await.is_err() && fate == 0 {
            handle.token().cancel();
            let _ = (&mut group).await;
        }
    } else {
        let _ = (&mut group).await;
    }
    drop(group);
    for producer in producers {
        producer.await.expect("a producer that does not panic");
    }
    handle.closed().await;
    let stats = handle.stats();
    let Stats { queued, running, ok, failed, dropped, .. } = stats;
    assert_eq!((queued, running), (0, 0), "{stats:?}");
    let (made, ended) = (run.made.load(Relaxed), run.dropped.load(Relaxed));
    assert_eq!(made, ended, "each child is dropped once: {stats:?}");
    assert!(ok + failed + dropped <= made, "{made} were made: {stats:?}");
    total.groups.fetch_add(1, Relaxed);
}

/// Returns the memory of the process in MiB; 0 if the system does not tell.
fn memory() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096 / (1 << 20)
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let minutes = match (args.next().as_deref(), args.next()) {
        (Some("--minutes"), Some(minutes)) => minutes.parse().expect("a number of minutes"),
        _ => 1.0,
    };
    let total: &'static Counts = Box::leak(Box::default());
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(60.0 * minutes);
    let mut workers = JoinSet::new();
    for worker in 1..5_u64 {
        workers.spawn(async move {
            let mut random = Random(worker.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            while Instant::now() < until {
                let limit = 1 + random.below(200) as usize;
                if random.below(2) == 0 {
                    one(Group::new(), limit, total, &mut random).await;
                } else {
                    one(Group::on(tokio::spawn), limit, total, &mut random).await;
                }
            }
        });
    }
    println!("seconds   groups     children       polled  failed      dropped    MiB");
    let print = || {
        let (seconds, of) = (start.elapsed().as_secs(), |count: &AtomicU64| count.load(Relaxed));
        println!(
            "{seconds:7} {:8} {:12} {:12} {:7} {:12} {:6}",
            of(&total.groups),
            of(&total.children),
            of(&total.polled),
            of(&total.failed),
            of(&total.dropped),
            memory(),
        );
    };
    // The memory grows until the largest groups were there.
    let mut peaks = [0_u64; 2];
    let half = Duration::from_secs_f64(30.0 * minutes);
    let mut printed = start;
    while !workers.is_empty() {
        let tick = tokio::time::timeout(Duration::from_secs(1), workers.join_next()).await;
        if let Ok(Some(ended)) = tick {
            ended.expect("a worker that does not panic");
        }
        let peak = &mut peaks[usize::from(start.elapsed() > half)];
        *peak = memory().max(*peak);
        if printed.elapsed() >= Duration::from_secs(10) {
            printed = Instant::now();
            print();
        }
    }
    print();
    let [first, second] = peaks;
    assert!(second <= first + first / 4 + 16, "the memory has grown from {first} to {second} MiB");
    println!("the most memory: {first} MiB in the first half, {second} MiB in the second");
}
