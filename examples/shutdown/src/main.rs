//! A server, a signal listener and a worker in one group: whoever ends first ends the others.
//!
//! ```text
//! cargo run -p shutdown -- --port 8080 --grace 5000
//! ```
//!
//! and, in another terminal, two requests, the first of which is answered though the second
//! ends it:
//!
//! ```text
//! curl 'http://127.0.0.1:8080/slow?ms=3000' & sleep 1
//! curl http://127.0.0.1:8080/shutdown
//! ```
//!
//! The three are children of one [`Group`], and nothing is spawned: all of it runs in the
//! task of `main`. It ends
//!
//! - with exit code 0 when `GET /shutdown`, SIGINT or SIGTERM asks for it. Who hears that
//!   cancels the group's token, with a [`Reason::Cause`] that says so.
//! - with exit code 1 when the worker fails, which `--worker-fails-after MS` makes it do. It
//!   just returns its error: the group's policy, [`TellFirstErr`], cancels the token with it.
//!
//! The first reason wins, so that the token says who it was. All three watch the token, and
//! end in their own ways. The server closes its port and the idle connections, and lets
//! requests that are being answered have their whole answer, for at most `--grace MS`. It can,
//! because its connections are children of a second group, bounded, whose token is a child of
//! the first one's: when the time is up it drops that group, and what is still open is cut.
//!
//! A signal that comes while it ends cuts everything at once, by dropping the whole group,
//! with the exit code of a program that the signal killed: 130 for SIGINT, 143 for SIGTERM.
//!
//! The first line on stdout says where it listens, the last one who ended it and why. What
//! can't be started, a port that is in use or a bad flag, is one line on stderr and exit
//! code 2.

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
use errgroup::{CancelToken, Group, Policy, Reason, Verdict};

use server::Connections;
use signals::{Signal, Signals};

/// A server, a signal listener and a worker that shut one another down.
#[derive(Parser)]
#[command(allow_negative_numbers = true)] // they are bad values then, not unknown flags
struct Options {
    /// The port on 127.0.0.1 to listen on; 0 takes a free one.
    #[arg(long, value_name = "P", default_value_t = 0)]
    port: u16,
    /// For how many milliseconds requests may go on when it ends.
    #[arg(long, value_name = "MS", default_value = "5000", value_parser = milliseconds)]
    grace: Duration,
    /// Makes the worker fail after so many milliseconds.
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
            // Whoever has closed stdout wants no help.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    run(options).await.unwrap_or_else(|error| {
        complain(&format!("error: {error:#}"));
        ExitCode::from(2)
    })
}

/// Runs until somebody ends it; fails only where it can't start.
async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let listener = server::listen(options.port).await?;
    // Before the first line: who has read it may send a signal.
    let signals = Signals::install().context("cannot listen for signals")?;
    say(format_args!("listening on http://{}", listener.local_addr()?));

    let mut group = Group::new().with_policy(TellFirstErr(Ok(())));
    let token = group.token().clone();
    let connections = Connections::new().with_limit(server::MOST_CONNECTIONS).with_parent(&token);
    // Tells the connections' numbers, now and when the group is long gone.
    let open = connections.handle();
    group.queue(server::run(connections, listener, token.clone(), options.grace));
    group.queue(signals::run(signals, token.clone()));
    group.queue(worker::run(open.clone(), token.clone(), options.worker_fails_after));

    let (result, cut_by) = tokio::select! {
        biased;
        result = &mut group => (result, None),
        signal = signal_while_ending(&token, options.grace) => (Ok(()), Some(signal)),
    };
    // After a second signal, children are left. They end here.
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
    // A new listener hears nothing of the signal that was first.
    let Ok(mut signals) = Signals::install() else {
        return std::future::pending().await;
    };
    say(format_args!(
        "ending ({reason}): requests have {} ms; a signal ends it at once",
        grace.as_millis()
    ));
    signals.next().await
}

/// Who ends the program, and why.
#[derive(Debug)]
enum Cause {
    Signal(Signal),
    Request(SocketAddr),
    /// The worker's failure: the one that is an error.
    Worker(Duration),
}

impl Cause {
    /// Ends the program by its group's token, unless somebody was faster.
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

/// Stops at the first `Err`, as the default policy does; but the reason that all who watch
/// the token are given is the error itself, not just that there was one.
struct TellFirstErr(Result<(), Arc<Cause>>);

impl Policy<(), Cause> for TellFirstErr {
    type Output = Result<(), Arc<Cause>>;

    fn on_child(&mut self, _index: usize, result: Result<(), Cause>) -> Verdict {
        match result {
            Err(cause) if self.0.is_ok() => {
                let cause = Arc::new(cause);
                self.0 = Err(Arc::clone(&cause));
                Verdict::Stop(Reason::Cause(cause))
            }
            _ => Verdict::Continue,
        }
    }

    fn finish(&mut self) -> Self::Output {
        self.0.clone()
    }
}

/// Prints a line at once. That nobody reads it is no reason to end.
fn say(line: fmt::Arguments<'_>) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Prints a line on stderr.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
