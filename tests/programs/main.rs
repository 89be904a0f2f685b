//! The examples, started as programs.
//!
//! `cargo test` builds them first. `cargo test --test programs` does not: run
//! `cargo build --examples` before it.

mod nested;
mod small;
mod timeline;

use std::path::PathBuf;

/// Returns the path of an example, which cargo puts next to the folder of the tests.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let program = test.parent().unwrap().with_file_name("examples").join(file);
    assert!(program.exists(), "build it first: cargo build --example {name}");
    program
}
