//! A child that borrows, in a group whose children run on an executor.

use errgroup::Group;

async fn check(name: &str) -> Result<(), String> {
    if name.is_empty() { Err("no name".to_string()) } else { Ok(()) }
}

async fn run() -> Result<(), String> {
    let name = String::from("a");
    let mut group = Group::on(tokio::spawn);
    group.queue(check(&name));
    group.await
}

fn main() {
    drop(run());
}
