//! A child that returns no `Result`.

use errgroup::Group;

async fn run() -> Result<(), String> {
    let mut group = Group::new();
    group.queue(async { 5 });
    group.await
}

fn main() {
    drop(run());
}
