//! A child that is not `Send`, in a group whose children are.

use std::rc::Rc;

use errgroup::Group;

async fn run() -> Result<(), String> {
    let shared = Rc::new(5);
    let mut group = Group::new();
    group.queue(async move {
        drop(shared);
        Ok(())
    });
    group.await
}

fn main() {
    drop(run());
}
