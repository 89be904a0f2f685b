//! The machine that the numbers were measured on.

use std::env::consts;
use std::fs;
use std::process::Command;
use std::thread;

/// Describes the machine in a line of Markdown.
pub(crate) fn description() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let plural = if cores == 1 { "" } else { "s" };
    format!(
        "Measured on: {}, {cores} core{plural}; {} ({}); {}.",
        field("/proc/cpuinfo", "model name", ':').unwrap_or_else(|| "a processor unknown".into()),
        field("/etc/os-release", "PRETTY_NAME", '=').unwrap_or_else(|| consts::OS.into()),
        consts::ARCH,
        compiler().unwrap_or_else(|| "a compiler unknown".into()),
    )
}

/// Reads the first `key: value` of a file.
fn field(path: &str, key: &str, separator: char) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim().trim_matches('"').to_string())
    })
}

fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}

/// Returns how many bytes of the process are in memory, or `None` if the system does not tell.
pub(crate) fn resident() -> Option<u64> {
    let line = field("/proc/self/status", "VmRSS", ':')?;
    let kibibytes: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
