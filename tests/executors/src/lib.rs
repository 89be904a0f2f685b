//! One suite of scenarios, for every executor. Nothing in it knows which one it runs on.
//!
//! An executor implements [`Executor`]; [`passes`] runs the suite on it and returns its row of the
//! table in the README, and [`check_table`] compares the rows with that table. `tests/` has the
//! executors that are quick to build, the package `more` those that are not.

#![forbid(unsafe_code)]

mod suite;

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

use futures::future::{BoxFuture, LocalBoxFuture};

/// Nothing takes this long unless it hangs.
const HANGS: Duration = Duration::from_secs(60);

/// What an executor can do.
pub trait Executor: 'static {
    /// Its name in the table.
    const NAME: &'static str;

    /// Spawns a task, on any thread, if the executor has tasks that are `Send`.
    const SPAWN: Option<fn(BoxFuture<'static, ()>)> = None;

    /// Spawns a task on the same thread, if the executor has tasks that are not `Send`.
    const SPAWN_LOCAL: Option<fn(LocalBoxFuture<'static, ()>)> = None;

    /// Waits, if the executor has a timer.
    const SLEEP: Option<fn(Duration) -> LocalBoxFuture<'static, ()>> = None;

    /// Runs a future to its end on this thread.
    fn block_on(future: LocalBoxFuture<'static, ()>);

    /// Runs a future that is `Send` to its end: as a task, if the executor has threads.
    fn block_on_task(future: BoxFuture<'static, ()>) {
        Self::block_on(future);
    }
}

/// Runs the suite on an executor, and returns its row of the table.
///
/// # Panics
///
/// Panics if a scenario fails or hangs.
pub fn passes<E: Executor>() -> String {
    let spawn = E::SPAWN.unwrap_or(on_a_thread);
    for scenario in suite::AWAITED {
        finishes::<E>(move || E::block_on_task(scenario(spawn)));
    }
    if let Some(sleep) = E::SLEEP {
        finishes::<E>(move || E::block_on(suite::deadline(sleep)));
    }
    if let Some(spawn) = E::SPAWN {
        finishes::<E>(move || E::block_on_task(suite::on(spawn)));
    }
    if let Some(spawn) = E::SPAWN_LOCAL {
        finishes::<E>(move || E::block_on(suite::on_local(spawn)));
    }
    let cell = |has: bool| if has { "✓" } else { "–" };
    format!(
        "| {} | ✓ | {} | {} | {} |",
        E::NAME,
        cell(E::SLEEP.is_some()),
        cell(E::SPAWN.is_some()),
        cell(E::SPAWN_LOCAL.is_some()),
    )
}

/// Runs a scenario on a thread of its own, so that a hanging one fails.
fn finishes<E: Executor>(scenario: impl FnOnce() + Send + 'static) {
    let (ended, end) = mpsc::channel();
    let thread = thread::spawn(move || {
        scenario();
        // The receiver is gone if it took too long.
        let _ = ended.send(());
    });
    match end.recv_timeout(HANGS) {
        Ok(()) => {}
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{}: a scenario hangs", E::NAME),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            thread.join().unwrap();
        }
    }
}

/// Runs a future on a thread of its own, for executors without tasks.
fn on_a_thread(future: BoxFuture<'static, ()>) {
    thread::spawn(|| futures::executor::block_on(future));
}

/// Compares the rows with those of the table in the README; with `UPDATE` in the environment,
/// writes them there.
///
/// # Panics
///
/// Panics if a row of these executors differs, or if there is no such table.
pub fn check_table(rows: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("<!-- executors").expect("the table");
    let (mark, rest) = rest.split_once("-->\n").expect("the end of the first mark");
    let (table, after) = rest.split_once("<!-- end of executors -->").expect("the last mark");

    let name = |row: &str| row.split('|').nth(1).map(|cell| cell.trim().to_string());
    let mut lines: Vec<String> = table.lines().skip(2).map(String::from).collect();
    for row in rows {
        match lines.iter_mut().find(|line| name(line) == name(row)) {
            Some(line) => line.clone_from(row),
            None => lines.push(row.clone()),
        }
    }
    let head = "| | limit, first error, cancel, other tasks, scope | deadline by its timer | \
                `Group::on` | `on_local` |\n| --- | :-: | :-: | :-: | :-: |\n";
    let new = format!(
        "{before}<!-- executors{mark}-->\n{head}{}\n<!-- end of executors -->{after}",
        lines.join("\n")
    );
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, new).unwrap();
    } else {
        assert!(new == readme, "UPDATE=1 writes the table of the README anew");
    }
}
