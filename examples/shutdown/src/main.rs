//! A server, a signal listener and a worker in one group: the first to end ends the others.
//!
//! ```text
//! cargo run -p shutdown -- --port 8080 --grace 5000
//! ```
//!
//! and, in another terminal, two requests. The first is answered although the second ends the
//! program:
//!
//! ```text
//! curl 'http://127.0.0.1:8080/slow?ms=3000' & sleep 1
//! curl http://127.0.0.1:8080/shutdown
//! ```
//!
//! The three are children of one [`Group`], and nothing is spawned: all of it runs in the task of
//! `main`. The program ends
//!
//! - with exit code 0 after `GET /shutdown`, SIGINT or SIGTERM. The child that receives it cancels
//!   the group's token, with a [`Reason::Cause`] that says so.
//! - with exit code 1 when the worker fails, which `--worker-fails-after MS` makes it do. It just
//!   returns its error; the group's policy, [`TellFirstErr`], cancels the token with it.
//!
//! The first reason wins, so the token says what ended the program. All three children watch the
//! token, and each ends in its own way. The server closes its port and the idle connections, and
//! finishes the answers that it has begun, for at most `--grace MS`. To that end its connections
//! are children of a second, bounded group, whose token is a child of the first one's. When the
//! time is up it drops that group, and the connections that are still open are cut.
//!
//! A second signal cuts everything at once, by dropping the whole group. The exit code is that of
//! a program that the signal killed: 130 for SIGINT, 143 for SIGTERM.
//!
//! The first line on stdout says where it listens, the last one what ended it. If it can't start,
//! as with a bad flag or a port in use, it prints one line on stderr, and the exit code is 2.

mod server;
mod signals;
mod worker;

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::ParseIntError;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use errgroup::{CancelToken, ChildInfo, Group, Policy, Reason, Verdict};

use server::Connections;
use signals::{Signal, Signals};

/// A server, a signal listener and a worker that shut one another down.
#[derive(Parser)]
#[command(allow_negative_numbers = true)] // so they are bad values, not unknown flags
struct Options {
    /// The port on 127.0.0.1 to listen on; 0 takes a free one.
    #[arg(long, value_name = "P", default_value_t = 0)]
    port: u16,
    /// How many milliseconds requests may take once the program ends.
    #[arg(long, value_name = "MS", default_value = "5000", value_parser = milliseconds)]
    grace: Duration,
    /// Makes the worker fail after this many milliseconds.
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    worker_fails_after: Option<Duration>,
}

fn milliseconds(text: &str) -> Result<Duration, ParseIntError> {
    text.parse().map(Duration::from_millis)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            complain(text.lines().next().unwrap_or_default());
            return ExitCode::from(2);
        }
        Err(help) => {
            // If stdout is closed, no help is wanted.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    run(options).await.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        ExitCode::from(2)
    })
}

/// Runs until a child, a request or a signal ends it; fails only if it can't start.
async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let listener = server::listen(options.port).await?;
    // Before the first line, since a program that has read it may send a signal.
    let signals = Signals::install().context("cannot listen for signals")?;
    say(format_args!("listening on http://{}", listener.local_addr()?));

    let mut group = Group::new().with_policy(TellFirstErr(Ok(())));
    let token = group.token().clone();
    let connections = Connections::new().with_limit(server::MOST_CONNECTIONS).with_parent(&token);
    // For the connections' numbers, even when their group is gone.
    let open = connections.handle();
    group.queue(server::run(connections, listener, token.clone(), options.grace));
    group.queue(signals::run(signals, token.clone()));
    group.queue(worker::run(open.clone(), token.clone(), options.worker_fails_after));

    let (result, cut_by) = tokio::select! {
        biased;
        result = &mut group => (result, None),
        signal = signal_while_ending(&token, options.grace) => (Ok(()), Some(signal)),
    };
    // After a second signal there are children left. They end here.
    drop(group);

    let reason = token.reason().unwrap_or(Reason::Finished);
    let mut last = format!("ended by {reason}");
    match &result {
        Err(failure) if reason != Reason::Cause(failure.clone()) => {
            last += &format!("; meanwhile {failure}");
        }
        _ => {}
    }
    if let Some(signal) = cut_by {
        last += &format!(", then at once by {signal}");
    }
    match open.stats().dropped {
        0 => {}
        1 => last += "; 1 connection was cut",
        n => last += &format!("; {n} connections were cut"),
    }
    say(format_args!("{last}"));
    Ok(match (cut_by, result) {
        (Some(signal), _) => ExitCode::from(signal.exit_code()),
        (None, Ok(())) => ExitCode::SUCCESS,
        (None, Err(_)) => ExitCode::FAILURE,
    })
}

/// Waits for the group to be stopped, and then for a signal.
async fn signal_while_ending(token: &CancelToken, grace: Duration) -> Signal {
    let reason = token.cancelled().await;
    // A new listener does not receive the first signal.
    let Ok(mut signals) = Signals::install() else {
        return std::future::pending().await;
    };
    say(format_args!(
        "ending ({reason}): requests have {} ms; a signal ends it at once",
        grace.as_millis()
    ));
    signals.next().await
}

/// What ends the program.
#[derive(Debug)]
enum Cause {
    Signal(Signal),
    Request(SocketAddr),
    /// The worker's failure, the only one that is an error.
    Worker(Duration),
}

impl Cause {
    /// Ends the program by its group's token, unless another cause was first.
    fn cancel(self, token: &CancelToken) {
        token.cancel_with(Reason::Cause(Arc::new(self)));
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "{signal}"),
            Self::Request(peer) => write!(f, "GET /shutdown from {peer}"),
            Self::Worker(after) => write!(f, "the worker: it failed after {after:?}"),
        }
    }
}

impl Error for Cause {}

/// Stops at the first `Err`, as the default policy does. But the reason that the token gives is the
/// error itself, not just that there was one.
struct TellFirstErr(Result<(), Arc<Cause>>);

impl Policy<(), Cause> for TellFirstErr {
    type Output = Result<(), Arc<Cause>>;

    fn on_child(&mut self, _: &ChildInfo<'_>, result: Result<(), Cause>) -> Verdict {
        match result {
            Err(cause) if self.0.is_ok() => {
                let cause = Arc::new(cause);
                self.0 = Err(Arc::clone(&cause));
                Verdict::Stop(Reason::Cause(cause))
            }
            _ => Verdict::Continue,
        }
    }

    fn finish(&mut self, _: &Reason) -> Self::Output {
        self.0.clone()
    }
}

/// Prints a line at once. A closed stdout is no reason to end.
fn say(line: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Prints a line on stderr.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
