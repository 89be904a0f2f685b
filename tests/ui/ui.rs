//! What the compiler says of common mistakes: each message is beside its program, in `messages/`.
//!
//! The messages are those of one compiler. Others word them differently, so they are not compared
//! there. After a change, `TRYBUILD=overwrite cargo test -p ui -- --ignored` writes them anew.

use std::process::Command;

/// The version of the compiler that the messages come from.
const COMPILER: &str = "rustc 1.95.";

#[test]
#[ignore = "rustc shortens types by the length of the folder's path: cargo test -p ui -- --ignored"]
fn common_mistakes_are_explained() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("there is a compiler");
    if !String::from_utf8_lossy(&version.stdout).starts_with(COMPILER) {
        return;
    }
    trybuild::TestCases::new().compile_fail("messages/*.rs");
}
