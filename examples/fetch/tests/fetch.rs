//! Starts the program on its own files, on files that are partly there, and on lists with failures.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn fetch(out: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fetch")).arg("--out").arg(out).args(args).output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((&*stderr, output.status.code()), ("", Some(0)));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns what is said of the files.
fn lines(stdout: &str) -> Vec<&str> {
    let mut lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.pop(), Some("12 of 12 files are there"));
    lines.sort_unstable();
    lines
}

#[test]
fn all_files_come_though_some_answers_fail_or_break_off() {
    let out = TempDir::new().unwrap();
    let stdout = succeeds(&fetch(out.path(), &[]));
    let lines_of_first = lines(&stdout);
    assert_eq!(lines_of_first.len(), 12);
    let resumed = |line: &&&str| line.contains("went on after 60000");
    assert_eq!(lines_of_first.iter().filter(resumed).count(), 3, "{lines_of_first:?}");

    // They are verified: the second time, all are there; a damaged one comes anew.
    fs::write(out.path().join("a0.bin"), "damaged").unwrap();
    let stdout = succeeds(&fetch(out.path(), &["--limit", "1", "--per-host", "1"]));
    for line in lines(&stdout) {
        assert_eq!(line.ends_with("was there"), !line.starts_with("a0.bin"), "{line}");
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 12, "no unfinished files");
}

#[test]
fn a_download_goes_on_where_an_earlier_run_has_ended() {
    let out = TempDir::new().unwrap();
    succeeds(&fetch(out.path(), &[]));
    let whole = fs::read(out.path().join("b0.bin")).unwrap();
    fs::remove_file(out.path().join("b0.bin")).unwrap();
    fs::write(out.path().join("b0.bin.part"), &whole[..100_000]).unwrap();
    // This one is as long as it should be, and wrong.
    let wrong = vec![0; fs::read(out.path().join("b1.bin")).unwrap().len()];
    fs::rename(out.path().join("b1.bin"), out.path().join("kept")).unwrap();
    fs::write(out.path().join("b1.bin.part"), wrong).unwrap();

    let output = fetch(out.path(), &[]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = format!("b0.bin: {} bytes, went on after 100000", whole.len());
    assert!(stdout.contains(&line), "{stdout}");
    assert_eq!(fs::read(out.path().join("b0.bin")).unwrap(), whole);

    // The wrong one is no file, and is gone, so that the next run begins anew.
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("b1.bin: another checksum"), "{stderr}");
    succeeds(&fetch(out.path(), &[]));
    let kept = fs::read(out.path().join("kept")).unwrap();
    assert_eq!(fs::read(out.path().join("b1.bin")).unwrap(), kept);
}

#[test]
fn a_failure_names_its_url_and_the_others_go_on() {
    let out = TempDir::new().unwrap();
    let list = out.path().join("list");
    // Nothing listens there.
    fs::write(&list, "http://127.0.0.1:1/x\nhttp://127.0.0.1:1/y\n").unwrap();
    let output = fetch(out.path(), &[list.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("http://127.0.0.1:1/x: ") && stderr.contains("/y: "), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0 of 2 files are there\n");
}

#[test]
fn the_deadline_ends_what_is_not_there() {
    let out = TempDir::new().unwrap();
    let output = fetch(out.path(), &["--deadline", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the deadline has passed"));
}

#[test]
fn bad_input_is_told() {
    let out = TempDir::new().unwrap();
    let list = out.path().join("list");
    fs::write(&list, "not-an-url\n").unwrap();
    let told = [fetch(out.path(), &["--limit", "0"]), fetch(out.path(), &[list.to_str().unwrap()])];
    for output in told {
        assert_eq!(output.status.code(), Some(2));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
}
