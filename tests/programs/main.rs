//! The examples, started as programs.

mod nested;
mod small;

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// The examples that are started here. `soak`, which is not, takes long to build.
const PROGRAMS: [&str; 5] = ["actor", "adaptive", "downloads", "nested", "progress"];

/// The folder of the examples. `cargo test --tests` does not build them, so it is done here.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().unwrap();
    // It is target/debug/deps/programs-….
    let profile = test.ancestors().nth(2).unwrap();
    let target = profile.parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--target-dir"]).arg(target);
    build.args(PROGRAMS.iter().flat_map(|name| ["--example", name]));
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    // Those of this test, so that the crate is not built anew without them.
    for (is_on, feature) in [
        (cfg!(feature = "serde"), "serde"),
        (cfg!(feature = "testing"), "testing"),
        (cfg!(feature = "tracing"), "tracing"),
    ] {
        if is_on {
            build.args(["--features", feature]);
        }
    }
    assert!(build.status().unwrap().success(), "the examples are not built");
    profile.join("examples")
});

/// Returns the path of an example.
fn program(name: &str) -> PathBuf {
    assert!(PROGRAMS.contains(&name), "{name} is not built");
    let program = EXAMPLES.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "there is no {}", program.display());
    program
}
