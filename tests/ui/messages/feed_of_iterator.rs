//! An array of children that is fed as if it were a stream.

use errgroup::Group;

async fn fetch(_: u32) -> Result<(), String> {
    Ok(())
}

async fn run() -> Result<(), String> {
    let mut group = Group::new();
    group.feed([fetch(1), fetch(2)]).await;
    group.await
}

fn main() {
    drop(run());
}
