//! Starts the program, changes files under it, and ends it.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

struct Mirror {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Mirror {
    fn start(from: &Path, to: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mirror"))
            .args([from, to])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads lines until one is as wanted.
    #[track_caller]
    fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        self.lines.by_ref().map(Result::unwrap).find(|line| wanted(line)).expect("it has ended")
    }

    /// Ends it, and returns the lines since.
    fn terminate(mut self) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let lines = self.lines.by_ref().map(Result::unwrap).collect();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        lines
    }
}

#[test]
fn changes_are_copied_failures_are_logged_and_a_signal_drains_it() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir(from.path().join("sub")).unwrap();
    for name in ["a", "b", "sub/c"] {
        fs::write(from.path().join(name), name).unwrap();
    }
    // A folder is in the way of this one.
    fs::write(from.path().join("blocked"), "").unwrap();
    fs::create_dir(to.path().join("blocked")).unwrap();
    fs::write(to.path().join("blocked/x"), "").unwrap();

    let mut mirror = Mirror::start(from.path(), to.path(), &["--every", "20", "--all"]);
    mirror.wait_for(|line| line.contains("blocked: "));
    mirror.wait_for(|line| line.starts_with("round 3:"));
    for name in ["a", "b", "sub/c"] {
        assert_eq!(fs::read_to_string(to.path().join(name)).unwrap(), name);
    }

    fs::write(from.path().join("a"), "changed").unwrap();
    let later = mirror.wait_for(|line| line.starts_with("round "));
    let round: u32 = later["round ".len()..].split(':').next().unwrap().parse().unwrap();
    mirror.wait_for(|line| line.starts_with(&format!("round {}:", round + 3)));
    assert_eq!(fs::read_to_string(to.path().join("a")).unwrap(), "changed");

    let lines = mirror.terminate();
    let end = lines.len() - 2;
    assert_eq!(lines[end..], ["drained", "ended: cancelled"], "{lines:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn memory_stays_flat() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for n in 0..40 {
        fs::write(from.path().join(n.to_string()), "").unwrap();
    }
    let mut mirror = Mirror::start(from.path(), to.path(), &["--every", "1", "--all"]);
    let pages = |mirror: &Mirror| -> i64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", mirror.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse().unwrap()
    };
    mirror.wait_for(|line| line.starts_with("round 25:"));
    let early = pages(&mirror);
    mirror.wait_for(|line| line.starts_with("round 125:")); // 4,000 copies later
    let late = pages(&mirror);
    assert!(late - early < 512, "{early} pages, then {late}"); // 2 MiB
    mirror.terminate();
}
