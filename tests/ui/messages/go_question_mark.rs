//! A `?` on `go`: a stopped group is no error; the group's own result says what happened.

use std::error::Error;

use errgroup::Group;

async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut group = Group::new();
    group.go(async { Ok::<(), Box<dyn Error + Send + Sync>>(()) }).await?;
    group.await
}

fn main() {
    drop(run());
}
