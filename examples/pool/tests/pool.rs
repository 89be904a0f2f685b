//! The example `pool`, started as a program.

use std::process::{Command, Output};

fn pool(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pool")).args(args).output().unwrap()
}

/// Returns the words of what it wrote, line by line.
fn said(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn all_transfers_are_made_with_no_more_connections_than_there_are() {
    for connections in ["1", "3"] {
        let output = pool(&["--transfers", "120", "--connections", connections]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let lines = said(&output);
        let [connections_line, sum, paid] = &lines[..] else { panic!("{output:?}") };
        let idle = format!("{connections} of {connections} connections idle, at most ");
        let most = connections_line.strip_prefix(&idle).unwrap();
        let most: usize = most.split(' ').next().unwrap().parse().unwrap();
        assert!((1..=connections.parse().unwrap()).contains(&most), "{connections_line}");
        assert_eq!(sum, "all accounts have 2000 of 2000 together");
        let paid = paid.strip_suffix(" of 120 transfers paid").unwrap();
        assert!((1..120).contains(&paid.parse::<usize>().unwrap()), "some are refused: {paid}");
    }
}

#[test]
fn a_transfer_that_fails_ends_it_and_every_connection_comes_back() {
    let output = pool(&["--transfers", "100", "--bad", "50"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error, "error: transfer 50: there is no account 20\n");
    let lines = said(&output);
    assert!(lines[0].starts_with("4 of 4 connections idle"), "{lines:?}");
    assert_eq!(lines[1..], ["all accounts have 2000 of 2000 together"]);
}

#[test]
fn no_transfers_are_no_work() {
    let output = pool(&["--transfers", "0"]);
    assert_eq!(said(&output)[2], "0 of 0 transfers paid");
}
