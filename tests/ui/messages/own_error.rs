//! A `?` on `go`, in a function with an error type of its own. The message is about `From` and that
//! type alone: no attribute of this crate can change what the compiler says of the two, and an
//! `impl` of `From<Stopped<F>>` for all errors would overlap with the one of `std` for `T` itself.

use errgroup::Group;

enum ReadError {
    Io(std::io::Error),
}

async fn run() -> Result<(), ReadError> {
    let mut group = Group::new();
    group.go(async { std::fs::read("names").map(drop).map_err(ReadError::Io) }).await?;
    group.await
}

fn main() {
    drop(run());
}
