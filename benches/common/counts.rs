//! How often contenders allocate, and how much. Another process counts that: an allocator that
//! counts would slow down contenders that allocate while the clock runs.

use std::collections::HashMap;
use std::env;
use std::process::{Command, Stdio};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Count {
    pub(crate) allocations: u64,
    /// The most bytes that were live at a time.
    pub(crate) peak: u64,
    /// The bytes that were live when the part was over.
    pub(crate) live: i64,
}

/// The counts by workload and contender.
#[derive(Default)]
pub(crate) struct Counts(HashMap<(String, String), Count>);

impl Counts {
    pub(crate) fn get(&self, workload: &str, contender: &str) -> Option<Count> {
        self.0.get(&(workload.to_string(), contender.to_string())).copied()
    }
}

/// What the counting process prints for a contender.
pub(crate) fn line(workload: &str, contender: &str, count: Count) -> String {
    format!("{workload}\t{contender}\t{}\t{}\t{}", count.allocations, count.peak, count.live)
}

fn parse(line: &str) -> Option<((String, String), Count)> {
    let mut fields = line.split('\t');
    let mut next = || fields.next();
    let key = (next()?.to_string(), next()?.to_string());
    let count = Count {
        allocations: next()?.parse().ok()?,
        peak: next()?.parse().ok()?,
        live: next()?.parse().ok()?,
    };
    Some((key, count))
}

/// Counts the workloads of a benchmark that have `only` in their names. Returns no counts if cargo
/// can't run.
pub(crate) fn count(of: &str, only: &str) -> Counts {
    eprintln!("counting allocations, in another process");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // That of this process, so that nothing is built twice.
    let profile = if cfg!(debug_assertions) { "dev" } else { "bench" };
    let output = Command::new(cargo)
        .args(["bench", "--quiet", "--profile", profile, "--bench", "counts"])
        .args(["--", "--of", of, "--only", only])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Counts(text.lines().filter_map(parse).collect())
        }
        Ok(output) => {
            eprintln!("allocations are not counted: {}", output.status);
            Counts::default()
        }
        Err(error) => {
            eprintln!("allocations are not counted: {error}");
            Counts::default()
        }
    }
}
