//! One function with a group in it, awaited under every executor.
//!
//! ```sh
//! cargo run -p executors
//! ```
//!
//! The group knows none of them; the task that awaits it polls it. `tests/executors.rs` runs a
//! longer scenario on each of them.

use std::thread;

use errgroup::Group;

/// Looks for the first word that is no number, two at a time.
async fn parse(words: &[&str]) -> Result<(), String> {
    let mut group = Group::new().with_limit(2);
    for word in words {
        let child = async move {
            let number: Result<u32, _> = word.parse();
            number.map_err(|error| format!("{word}: {error}, on {:?}", thread::current().id()))
        };
        if group.go(child).await.is_err() {
            break;
        }
    }
    group.await
}

fn main() {
    let words = ["1", "2", "three", "4"];
    let tell = |executor: &str, result: Result<(), String>| match result {
        Ok(()) => println!("{executor}: all are numbers"),
        Err(error) => println!("{executor}: {error}"),
    };

    let one = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    tell("tokio, current thread", one.block_on(parse(&words)));
    let many = tokio::runtime::Runtime::new().expect("a runtime");
    let task = many.spawn(async move { parse(&words).await });
    tell("tokio, many threads", many.block_on(task).expect("no panic"));
    tell("smol", smol::block_on(parse(&words)));
    tell("async-std", async_std::task::block_on(parse(&words)));
    tell("futures", futures::executor::block_on(parse(&words)));
    tell("pollster", pollster::block_on(parse(&words)));
}
