//! The example `query`, started as a program.

use std::process::{Command, Output};

fn query(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_query")).args(args).output().unwrap()
}

/// Returns the lines of what it wrote.
fn said(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn the_statements_are_in_order_and_no_more_connections_are_used_than_there_are() {
    for connections in ["1", "3"] {
        let output = query(&["--accounts", "150", "--connections", connections]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let mut lines = said(&output);
        assert_eq!(lines.pop().unwrap(), "150 statements written");

        let used = lines.pop().unwrap();
        let idle = format!("{connections} of {connections} connections idle, at most ");
        let most = used.strip_prefix(&idle).unwrap();
        let most: usize = most.split(' ').next().unwrap().parse().unwrap();
        assert!((1..=connections.parse().unwrap()).contains(&most), "{used}");

        assert_eq!(lines.len(), 150);
        let mut sum = 0;
        for (account, line) in lines.iter().enumerate() {
            assert!(line.starts_with(&format!("account {account}: ")), "{line}");
            let balance = line.rsplit(' ').next().unwrap();
            sum += balance.parse::<i64>().unwrap();
        }
        assert_eq!(sum, 0, "what one pays, another one gets");
    }
}

#[test]
fn the_first_error_rolls_back_and_every_connection_comes_back() {
    let output = query(&["--accounts", "100", "--missing", "50"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.starts_with("error: account 50: it does not exist: "), "{error}");
    // No statement, though 50 of them were written before the error.
    let lines = said(&output);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("4 of 4 connections idle"), "{lines:?}");
}

#[test]
fn no_accounts_are_no_work() {
    let output = query(&["--accounts", "0"]);
    assert_eq!(said(&output).last().unwrap(), "0 statements written");
}
