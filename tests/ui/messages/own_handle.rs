//! An `async fn` that adds its own futures: it has to declare that they are `Send`.

use errgroup::{Boxed, Group, Handle};

async fn visit(pages: Handle<Boxed<'static, (), String>>, depth: u32) -> Result<(), String> {
    if depth < 5 {
        pages.queue(visit(pages.clone(), depth + 1));
    }
    Ok(())
}

async fn run() -> Result<(), String> {
    let mut group = Group::new();
    let handle = group.handle();
    group.queue(visit(handle, 0));
    group.await
}

fn main() {
    drop(run());
}
