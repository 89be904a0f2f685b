//! Looks for starved tasks in a whole program, with the compiler flag `--cfg errgroup_watch` alone:
//! so `.ci/watch` checks that the detector finds none in the tests and the examples.
//!
//! It does for every group, by a thread and the real time, what a [`watchdog`](crate::watchdog())
//! does for one: what was woken, and was not polled for a whole interval, is reported. The report
//! goes to the file that `ERRGROUP_WATCH` names, so that it is not among what a program prints.

use std::fs::OpenOptions;
use std::io::Write;
use std::string::String;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use std::vec::Vec;

use super::parent_waker::ParentWaker;

const INTERVAL: Duration = Duration::from_millis(500);

/// The wakers, each with the name of the thread that made it: a test's is the test's name.
static WATCHED: Mutex<Vec<(Weak<ParentWaker>, String)>> = Mutex::new(Vec::new());

/// Watches a waker until it is gone.
pub(super) fn watch(parent: &Arc<ParentWaker>) {
    static THREAD: Once = Once::new();
    let Some(file) = std::env::var_os("ERRGROUP_WATCH") else { return };
    let name = thread::current().name().unwrap_or("?").into();
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::downgrade(parent), name));
    THREAD.call_once(|| {
        thread::spawn(move || {
            loop {
                thread::sleep(INTERVAL);
                let mut report = String::new();
                look(&mut report);
                if !report.is_empty() {
                    let file = OpenOptions::new().create(true).append(true).open(&file);
                    file.and_then(|mut it| it.write_all(report.as_bytes())).expect("it is written");
                }
            }
        });
    });
}

/// Reports what has starved since the last look, and marks what does now.
fn look(report: &mut String) {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.retain(|(parent, name)| {
        let Some(parent) = parent.upgrade() else { return false };
        if parent.is_marked() {
            let program = std::env::args().next().unwrap_or_default();
            *report += &std::format!("{program}: not polled since it was woken: {name}\n");
        }
        parent.mark_starved();
        true
    });
}
