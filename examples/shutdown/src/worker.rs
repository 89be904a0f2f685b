//! The background worker.

use std::convert::Infallible;
use std::time::Duration;

use errgroup::{Boxed, CancelToken, Handle};
use tokio::time::{interval, timeout};

use crate::{Cause, say};

/// Counts the connections once a second, until the token is cancelled or it fails.
///
/// # Errors
///
/// If it is told to fail, after that time.
pub(crate) async fn run(
    open: Handle<Boxed<'static, (), Infallible>>,
    token: CancelToken,
    fails_after: Option<Duration>,
) -> Result<(), Cause> {
    let mut rounds = 0;
    let work = async {
        let mut seconds = interval(Duration::from_secs(1));
        loop {
            seconds.tick().await;
            rounds += 1;
            let stats = open.stats();
            say(format_args!("worker: connections: {} open, {} closed", stats.running, stats.ok));
        }
    };
    let work = timeout(fails_after.unwrap_or(Duration::MAX), work);
    if token.run(work).await.is_ok() {
        // The work has no end of its own, so its time was up.
        return Err(Cause::Worker(fails_after.unwrap_or_default()));
    }
    // A real worker would clean up here.
    say(format_args!("worker: stopped; rounds done: {rounds}"));
    Ok(())
}
