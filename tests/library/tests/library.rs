//! Each part of the library does what it says, is `Send`, and brings no runtime along.

use std::convert::Infallible;
use std::env;
use std::future::{pending, poll_fn, ready};
use std::io;
use std::process::Command;
use std::task::{Context, Poll};

use errgroup::{Group, SpawnedGroup};
use futures::executor::block_on;
use futures::{FutureExt, TryStreamExt, stream};
use library::adaptor::ConcurrentlyExt;
use library::argument::{add, add_unless_stopped, queue_all};
use library::field::Uploads;
use library::object::Jobs;
use library::service::{Error, Grouped};
use tower_service::Service;

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn no_runtime_is_in_the_tree() {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--edges=normal,build", "--prefix=none", "--package=library"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"errgroup"), "{names:?}");
    let runtimes = ["tokio", "smol", "async-std", "async-executor", "async-io", "mio", "polling"];
    assert!(!runtimes.iter().any(|name| names.contains(name)), "{names:?}");
    assert!(!names.contains(&"futures-executor"), "{names:?}");
}

#[test]
fn a_group_in_a_field_lends_its_children_what_the_caller_has() {
    let sizes = vec![3, 4];
    let mut uploads = is_send(Uploads::new(1));
    for size in &sizes {
        uploads.add(format!("upload {size}"), async move { Ok(*size) });
    }
    assert_eq!(block_on(is_send(uploads.into_future())).unwrap(), 7);

    let mut uploads = Uploads::new(1);
    uploads.add("the empty one", ready(Err(io::ErrorKind::InvalidData.into())));
    let failure = block_on(uploads.into_future()).unwrap_err();
    assert_eq!(failure.to_string(), "child 0 (the empty one): invalid data");
}

#[test]
fn groups_and_handles_are_arguments() {
    let mut group = Group::new().with_limit(1);
    let _open = group.hold();
    queue_all(&mut group, (0..3).map(|_| ready(Ok::<(), String>(()))));
    let handle = group.handle();
    let more = async {
        assert!(is_send(add(&handle, ready(Ok(())))).await.is_ok());
        assert!(is_send(add_unless_stopped(&handle, ready(Err("broken".into())))).await);
        handle.closed().await;
        assert!(!add_unless_stopped(&handle, ready(Ok(()))).await);
    };
    let (result, ()) = block_on(futures::future::join(group, more));
    assert_eq!(result, Err("broken".to_string()));
}

#[test]
fn a_handle_is_a_trait_object() {
    let group = Group::new();
    let spawned: SpawnedGroup<(), String> = Group::on(|job| std::thread::spawn(|| block_on(job)));
    let jobs: [Box<dyn Jobs<String>>; 2] = [Box::new(group.handle()), Box::new(spawned.handle())];
    for jobs in &jobs {
        assert!(jobs.add(Box::pin(ready(Ok(())))).is_ok());
    }
    assert_eq!(block_on(group), Ok(()));
    assert_eq!(block_on(spawned), Ok(()));
    for jobs in &jobs {
        let job = jobs.add(Box::pin(ready(Ok(())))).expect_err("the group is over");
        assert_eq!(block_on(job), Ok(()));
    }
}

/// Answers even numbers, fails for odd ones, and hangs for zero.
#[derive(Clone, Debug)]
struct Halves;

impl Service<u32> for Halves {
    type Response = u32;
    type Error = String;
    type Future = futures::future::BoxFuture<'static, Result<u32, String>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, n: u32) -> Self::Future {
        async move {
            match n {
                0 => pending().await,
                n if n % 2 == 0 => Ok(n / 2),
                n => Err(format!("{n} is odd")),
            }
        }
        .boxed()
    }
}

#[test]
fn a_service_waits_for_room_in_the_group_and_ends_with_it() {
    let mut group = is_send(Group::new().with_limit(1).with_error::<Infallible>().drop_on_stop());
    let mut service = is_send(Grouped::new(Halves, group.handle()));
    let _hold = group.hold();

    let ready = |service: &mut Grouped<Halves>| {
        poll_fn(|cx| service.poll_ready(cx)).now_or_never().map(|ready| ready.is_ok())
    };
    assert_eq!(ready(&mut service), Some(true));
    let answer = is_send(service.call(8));
    let mut other = service.clone();
    assert_eq!(ready(&mut other), None, "the limit is 1");

    assert!((&mut group).now_or_never().is_none());
    assert_eq!(answer.now_or_never().unwrap().unwrap(), 4);
    assert_eq!(ready(&mut other), Some(true));
    let answer = other.call(7);
    assert!((&mut group).now_or_never().is_none());
    assert!(matches!(answer.now_or_never(), Some(Err(Error::Inner(_)))));

    assert_eq!(ready(&mut other), Some(true));
    let hangs = other.call(0);
    group.token().cancel();
    assert_eq!((&mut group).now_or_never(), Some(Ok(())));
    assert!(matches!(hangs.now_or_never(), Some(Err(Error::Stopped))));
    assert_eq!(ready(&mut other), Some(false));
}

#[test]
fn an_adaptor_of_streams_keeps_the_order_and_gives_errors() {
    let futures = (1..=5).map(|n| ready(if n < 4 { Ok(n) } else { Err("four") }));
    let mut results = is_send(stream::iter(futures).concurrently(2));
    let mut seen = Vec::new();
    let end = block_on(async {
        while let Some(n) = results.try_next().await? {
            seen.push(n);
        }
        Ok(())
    });
    assert_eq!((seen, end), (vec![1, 2, 3], Err("four")));
}
