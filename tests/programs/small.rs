//! The small examples, started as programs.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::program;

// === adaptive ===

/// Returns the number between two words.
fn number(text: &str, before: &str, after: &str) -> u32 {
    let (_, rest) = text.split_once(before).unwrap();
    let (number, _) = rest.split_once(after).unwrap();
    number.trim().parse().unwrap()
}

#[test]
fn the_limit_reaches_the_knee_and_loses_a_fifth_at_most() {
    // The example measures time, and the machine may be busy, so it has three tries.
    for last in [false, false, true] {
        let output = Command::new(program("adaptive")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let share = number(&text, "answers a second, ", " % of the best");
        let limit = number(&text, "in the second half mostly ", "\n");
        if share >= 80 && (7..=14).contains(&limit) {
            return;
        }
        // Even on a very busy machine it has to beat the worst limits.
        assert!(!last || (share >= 50 && (4..=20).contains(&limit)), "{text}");
    }
}

// === progress ===

#[test]
fn the_bar_ends_with_the_group() {
    let root = tempfile::tempdir().unwrap();
    (0..30).for_each(|n| std::fs::write(root.path().join(n.to_string()), "abc").unwrap());
    let output = Command::new(program("progress")).arg(root.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "30 files digested\n");
}

// === downloads ===

#[test]
fn one_download_is_stopped_by_its_id_and_the_others_go_on() {
    let commands = "start small 3\nstart huge 999999\nstart queued 999999\nstart last 2\n\
                    stop 3\nstop 2\nstop 9\n";
    let said = manage(commands);
    for line in [
        "1 small: 3 kB",
        "2 huge: the child was aborted, after",
        "3 queued: the child was aborted, after 0 kB",
        "4 last: 2 kB",
        "9: there is no such download",
    ] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn quit_drops_all_downloads() {
    let said = manage("start huge 999999\nlist\nstart queued 999999\nquit\nstart late 1\n");
    for line in ["1 huge: loading, ", "1 huge: the child was dropped", "2 queued: the child was"] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!said.contains("late"), "{said}");
}

/// Runs the example with these commands, and returns what it prints.
fn manage(commands: &str) -> String {
    let mut program = Command::new(program("downloads"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    program.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

// === actor ===

#[test]
fn the_actor_answers_every_request_and_drops_no_lookup() {
    let output = Command::new(program("actor")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (answers, summary) = text.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(answers, "ada: 3\ngrace: 5\nada: 3\nedsger: 6\nada: 3\nedsger: 6");
    // Those for the same name share one, unless the machine was too busy.
    assert!((5..=7).contains(&number(summary, "", " lookups")), "{summary}");
    assert!(summary.ends_with(", 0 dropped"), "{summary}");
}
