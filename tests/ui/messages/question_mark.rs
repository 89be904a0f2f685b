//! A `?` in a child and a `?` on the group: nothing says which error the children have.

use errgroup::Group;

async fn run() -> Result<(), std::io::Error> {
    let mut group = Group::new();
    group.queue(async {
        std::fs::read("names")?;
        Ok(())
    });
    group.await?;
    Ok(())
}

fn main() {
    drop(run());
}
