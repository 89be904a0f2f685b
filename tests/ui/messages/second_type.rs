//! A second type of child in a group of unboxed children.

use errgroup::Group;

async fn run() -> Result<(), String> {
    let mut group = Group::unboxed();
    group.queue(async { Ok(1) });
    group.queue(async { Ok(2) });
    group.await
}

fn main() {
    drop(run());
}
